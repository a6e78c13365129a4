# SPDX-License-Identifier: Apache-2.0
# Home: the project infra-twins. In a copy keep this line and __version__: they say what you have.
"""Plain synchronous classes over MySQL, Postgres, Redis, S3 and SMS, with proven fakes.

An interface ("port") is one base class here, and its docstrings are the contract. The port holds
everything that is not storage: validation, key rules, TTL arithmetic and masking. A backend
supplies small underscore primitives. The same contract tests run against the real adapter and
its fake in the twin module ``fakes``.

Importing this module loads the standard library only. A driver is imported when its adapter is
constructed. Text of a subclass of ``str``, such as a member of an enumeration, counts as its plain
text in every parameter, setting and document.

Each section uses only the sections above it. The last two are exceptions. Contents, in this order
in both files (search for the banner ``# === name``):

=================  ================================================================================
errors             InfrastructureError and the classes that derive from it
clock              Clock, SystemClock
values             new_id, normalize_phone, mask_phone, hash_phone; what texts, numbers, documents
                   and columns may hold
configuration      Config, DatabaseConfig, CacheConfig (RedisCacheConfig, RedisEventBusConfig),
                   S3StorageConfig, SmsConfig, VerificationConfig
call policy        Call, Observer, Health, PoolStats, Attempt, CircuitBreaker, CallPolicy: every
                   outbound call goes through it
sockets            how sockets are opened, TLS, forks, the pool of connections, ``close()``
database           Database, ConnectionPool, create_pool
schema migrations  SCHEMA, Migration, MigrationStatus, Migrator, read_migrations, split_statements
records            FILLED, PhoneUser, RefreshToken, Device, Issued, Rotation, User, Credentials,
                   Organization, Member, Membership, Benchmark, BenchmarkVersion, Submission,
                   LeaderboardEntry, Query, Page
repositories       Repository, SqlRepository; PhoneUserRepository, TokenRepository, on MySQL;
                   UserRepository, OrganizationRepository, BenchmarkRepository,
                   SubmissionRepository, on Postgres
redis              KeyValueClient, Listener, RedisClient
cache              CacheProvider, RedisCacheProvider, CacheLock, RateLimit, CacheKey, MISSING
verification       generate_code, VerificationCache
storage            StoragePath, ObjectSummary, ObjectMetadata, DeleteResult, StorageProvider,
                   S3StorageProvider
messaging          EventChannel, Event, BenchmarkEvent, SubmissionEvent, UserEvent, SystemEvent,
                   Message, Subscription, EventPublisher, EventSubscriber, EventBus, RedisEventBus;
                   EventStream, Consumer, DeadLetter, RedisEventStream, NatsEventStream
sms                SmsService, MockSmsService, TwilioSmsService, SnsSmsService, FailoverSmsService,
                   create_sms_service
data moves         Move, RowMove, ObjectMove, MoveReport, Verification; TableSource, QuerySource,
                   SqliteSource, CsvSource, JsonLinesSource, IterableSource; TableTarget,
                   RepositoryTarget, Replace; table_ddl
outbox and audit   Outbox, Inbox; AuditLog, AuditEntry, AuditReport, redact_document
observability      PrometheusObserver, OpenTelemetryObserver
infrastructure     Infrastructure, the bundle; ServiceHealth, HealthReport
command line       main: python -m infra
=================  ================================================================================
"""

from __future__ import annotations

import bisect
import builtins
import contextlib
import contextvars
import copy
import enum
import errno
import functools
import importlib
import inspect
import io
import itertools
import json
import logging
import math
import operator
import os
import re
import select
import selectors
import socket
import sys
import threading
import time
import types
import unicodedata
import uuid
import warnings
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING as _NO_DEFAULT
from dataclasses import asdict, astuple, dataclass, field, fields, is_dataclass, replace
from datetime import date, datetime, timedelta, timezone
from datetime import time as day_time
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation
from typing import (
    TYPE_CHECKING,
    Any,
    AnyStr,
    BinaryIO,
    ClassVar,
    Generic,
    Literal,
    NamedTuple,
    NoReturn,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future
    from pathlib import Path

    from _typeshed import DataclassInstance

# Under `python -m infra`, later imports of infra return this module.
if __name__ == "__main__":
    sys.modules[__spec__.name if __spec__ else "infra"] = sys.modules[__name__]

__version__ = "0.1.0"
__all__ = [
    "FILLED", "MISSING", "SCHEMA", "Above", "AnyOf", "AtLeast", "AtMost", "Attempt", "AuditEntry",
    "AuditLog", "AuditReport", "Below", "Benchmark", "BenchmarkEvent", "BenchmarkRepository",
    "BenchmarkVersion", "Between", "CacheConfig", "CacheError", "CacheKey", "CacheLock",
    "CacheProvider", "Call", "CallPolicy", "Check", "CircuitBreaker", "CircuitOpenError", "Clock",
    "Config", "ConfigurationError", "ConflictError", "ConnectionPool", "Consumer", "Contains",
    "Credentials", "CsvSource", "Database", "DatabaseConfig", "DatabaseError", "DeadLetter",
    "DeleteResult", "Device", "Event", "EventBus", "EventChannel", "EventPublisher", "EventStream",
    "EventSubscriber", "FailoverSmsService", "ForeignKey", "Health", "HealthReport", "Inbox",
    "Infrastructure", "InfrastructureError", "Issued", "IterableSource", "JsonLinesSource",
    "KeyValueClient", "LeaderboardEntry", "Listener", "Member", "Membership", "Message",
    "MessagingError", "Migration", "MigrationStatus", "Migrator", "MockSmsService", "Move",
    "MoveCounts", "MoveError", "MoveReport", "MySQLBenchmarkRepository",
    "MySQLOrganizationRepository", "MySQLPhoneUserRepository", "MySQLSubmissionRepository",
    "MySQLTokenRepository", "MySQLUserRepository", "NatsConfig", "NatsEventStream", "Not",
    "NotFoundError", "ObjectMetadata", "ObjectMove", "ObjectSummary", "Observer", "OneOf",
    "OpenTelemetryObserver", "Organization", "OrganizationRepository", "Outbox", "Page",
    "PhoneUser", "PhoneUserRepository", "PoolStats", "PoolTimeoutError",
    "PostgresBenchmarkRepository", "PostgresOrganizationRepository", "PostgresPhoneUserRepository",
    "PostgresSubmissionRepository", "PostgresTokenRepository", "PostgresUserRepository",
    "PrometheusObserver", "Query", "QuerySource", "RateLimit", "RateLimitedError",
    "RedisCacheConfig", "RedisCacheProvider", "RedisClient", "RedisEventBus", "RedisEventBusConfig",
    "RedisEventStream", "RefreshToken", "Replace", "Repository", "RepositoryTarget", "Rotation",
    "RowMove", "S3StorageConfig", "S3StorageProvider", "SerializationError", "ServiceHealth",
    "SmsConfig", "SmsError", "SmsService", "SnsSmsService", "Source", "SqlRepository",
    "SqliteSource", "StartsWith", "StorageError", "StoragePath", "StorageProvider", "Submission",
    "SubmissionEvent", "SubmissionRepository", "Subscription", "SystemClock", "SystemEvent",
    "TableSource", "TableTarget", "Target", "TokenRepository", "TwilioSmsService", "Upserted",
    "User", "UserEvent", "UserRepository", "ValidationError", "Verification", "VerificationCache",
    "VerificationConfig", "create_pool", "create_sms_service", "ddl", "generate_code", "hash_phone",
    "main", "mask_phone", "new_id", "normalize_phone", "provided", "read_migrations",
    "redact_document", "split_statements", "table_ddl",
]  # fmt: skip

E = TypeVar("E", bound="Event")
R = TypeVar("R")  # a record
_Own = TypeVar("_Own", bound="Repository[Any]")
T = TypeVar("T")

logger = logging.getLogger("infra")
logger.addHandler(logging.NullHandler())


# === errors =======================================================================================


class InfrastructureError(Exception):
    """Base class of every error that this library raises.

    Each class takes a message and, by name, the attributes below and its own.

    Attributes:
        service: "redis", "sms", …; None if no service is involved.
        operation: the method that failed, for example "get".
        retryable: True if the same call may succeed later. The first call may have had an effect:
            only the call policy knows which operations are safe to repeat. Unless given, True for
            ConnectionError, TimeoutError, PoolTimeoutError and RateLimitedError.
        code: the service's own code, if it gave one: a SQLSTATE of Postgres ("42P01"), an error
            number of MySQL (1146), a word of S3 ("AccessDenied"), Redis's first word ("WRONGTYPE").

    Messages never quote a driver's exception: its text may hold URLs, keys and rows.
    """

    retryable: bool = False
    service: str | None = None
    operation: str | None = None
    code: str | int | None = None
    #: the row of an INSERT of many rows that the server refuses; 0: it does not say
    _row = 0
    #: whether no answer came. See ``_is_unanswered``.
    _unanswered = False
    #: whether the service may have acted on the call
    _sent = False

    def __init__(
        self,
        message: str = "",
        *,
        service: str | None = None,
        operation: str | None = None,
        retryable: bool | None = None,
        code: str | int | None = None,
    ) -> None:
        super().__init__(message)
        given = {"service": service, "operation": operation, "retryable": retryable, "code": code}
        vars(self).update({name: value for name, value in given.items() if value is not None})


class ConfigurationError(InfrastructureError):
    """A setting is wrong or missing, or a driver is not installed. The message says which."""


class ConnectionError(InfrastructureError, builtins.ConnectionError):
    """The service is unreachable, refused the login or ended the connection.

    A client that was closed raises it too.
    """

    retryable = True


class _RetryLaterError(InfrastructureError):
    def __init__(self, message: str = "", *, retry_after: float = 0.0, **details: Any) -> None:
        super().__init__(message, **details)
        self.retry_after = retry_after


class CircuitOpenError(_RetryLaterError, ConnectionError):
    """Nothing was sent: earlier calls got no answer. See :class:`CircuitBreaker`.

    Attributes:
        retry_after: the seconds until a call may ask the service again.
    """

    retryable = False


class TimeoutError(InfrastructureError, builtins.TimeoutError):
    """The service did not answer in time. A write may have taken effect nevertheless."""

    retryable = True


class PoolTimeoutError(TimeoutError):
    """Every connection was in use until the deadline. The message has the pool's size."""


class DatabaseError(InfrastructureError):
    """A database refused a statement.

    ``code`` is None if this library or a fake refused it. If ``insert_many`` does not find a table
    or column, it is the code that the server uses.
    """


class ConflictError(DatabaseError):
    """A write violates a constraint.

    Attributes:
        constraint: the constraint's declared name, equal on every backend.
        kind: "unique", "foreign_key", "check" or "not_null".
    """

    def __init__(
        self,
        message: str = "",
        *,
        constraint: str | None = None,
        kind: str | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message, **details)
        self.constraint = constraint
        self.kind = kind


class CacheError(InfrastructureError):
    """Redis answered a command with an error, or a cache got no answer from it."""


class StorageError(InfrastructureError):
    """The object store refused a request."""

    code: str | None  # pyright: ignore[reportIncompatibleVariableOverride]


class MessagingError(InfrastructureError):
    """An event could not be published, subscribed to or appended.

    Attributes:
        outcome: "rejected", or "unknown": no answer came, and a stream may have stored the event.
    """

    def __init__(self, message: str = "", *, outcome: str = "rejected", **details: Any) -> None:
        super().__init__(message, **details)
        self.outcome = outcome


class SmsError(InfrastructureError):
    """The provider rejected a message, or its answer does not say.

    Attributes:
        outcome: "rejected" (the message was not sent) or "unknown" (no usable answer: the message
            may have been sent, and this library does not send it again).
        retry_after: the seconds to wait, or None if the provider did not ask for a pause.
    """

    code: str | None  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        message: str = "",
        *,
        outcome: str = "rejected",
        retry_after: float | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message, **details)
        self.outcome = outcome
        self.retry_after = retry_after


class MoveError(InfrastructureError):
    """A data move cannot start or continue. Batches that are committed stay.

    Attributes:
        key: the key of the row at fault ("id=7"), or None.
        column: the column at fault, or None.
    """

    def __init__(
        self,
        message: str = "",
        *,
        key: str | None = None,
        column: str | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message, **details)
        self.key = key
        self.column = column


class SerializationError(InfrastructureError):
    """A value cannot be written to, or read from, the format of its store."""

    _unreadable = False  # whether it is about the payload of a Message


class NotFoundError(InfrastructureError):
    """The record or object to change or fetch does not exist; ``resource`` names its type."""

    def __init__(self, message: str = "", *, resource: str | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.resource = resource


class ValidationError(InfrastructureError, ValueError):
    """An argument is invalid, and nothing was sent.

    The message says what was expected and does not quote the value.
    """


class RateLimitedError(_RetryLaterError):
    """Too many requests. Retry after ``retry_after`` seconds."""

    retryable = True


# === clock ========================================================================================


class Clock(ABC):
    """The source of time for classes of this library. Tests replace it."""

    @abstractmethod
    def now(self) -> datetime:
        """Return the current time as an aware datetime in UTC."""

    @abstractmethod
    def monotonic(self) -> float:
        """Return seconds since an arbitrary start; they never decrease."""

    @abstractmethod
    def sleep(self, seconds: float) -> None:
        """Wait that many seconds. Used for backoff, not to wait for another thread."""


class SystemClock(Clock):
    """The system's clock."""

    def now(self) -> datetime:
        return datetime.now(timezone.utc)

    #: Waits for other threads use this function, because tests may replace ``time.monotonic``: a
    #: wait that changes its clock may never end.
    monotonic: Callable[..., float] = staticmethod(time.monotonic)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def _clock(clock: Clock | None, default: Clock | None = None) -> Clock:
    """Return the clock, else the default. Any object with a Clock's methods will do."""
    if clock is None:
        return default or SystemClock()
    methods = (getattr(clock, name, None) for name in ("now", "monotonic", "sleep"))
    if isinstance(clock, type) or not all(map(callable, methods)):
        raise ConfigurationError("clock should be a Clock, such as SystemClock()")
    return clock


# === values =======================================================================================


class _ValueType(NamedTuple):
    """A type of the values that this library checks, stores and sends."""

    #: what a value should be, for messages
    words: str
    #: the kind of the column that holds it, a key of ``_COLUMN_KINDS``
    column_kind: str
    #: makes a plain value of a subclass's instance
    plain: Callable[[Any], Any] | None = None


_MICROSECOND = timedelta(microseconds=1)
_VALUE_TYPES: Mapping[Any, _ValueType] = {
    str: _ValueType("text", "text", str.__str__),
    bool: _ValueType("True or False", "flag"),
    int: _ValueType("a whole number", "integer", int.__pos__),
    float: _ValueType("a finite number", "float", float.__pos__),
    Decimal: _ValueType("a finite Decimal", "decimal", Decimal),
    bytes: _ValueType("bytes", "bytes", lambda value: bytes(memoryview(value))),
    datetime: _ValueType(
        "an aware datetime", "moment", lambda value: datetime.combine(value.date(), value.timetz())
    ),
    date: _ValueType("a date", "date", lambda value: date(value.year, value.month, value.day)),
    day_time: _ValueType("a time", "time"),
    timedelta: _ValueType("a timedelta", "duration"),
    uuid.UUID: _ValueType("a uuid.UUID", "id", lambda value: uuid.UUID(int=value.int)),
    dict: _ValueType("a dict", "document"),
    list: _ValueType("a list", "document"),
}


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """Return the types that an annotation allows."""
    return get_args(hint) if get_origin(hint) in (Union, type(int | None)) else (hint,)


def _value_type(subclass: type) -> type:
    """Return the first base class that a column can hold: str for an enumeration of str."""
    return next((base for base in subclass.__mro__ if base in _VALUE_TYPES), object)


def _plain(value: Any) -> Any:
    """Convert an instance of a subclass, such as an enumeration's member, to its plain value.

    A subclass may define its own str(), format() and == ("Colour.RED"). Other values are returned
    unchanged.
    """
    if value is None or value.__class__ in _VALUE_TYPES:
        return value
    known = _VALUE_TYPES.get(_value_type(value.__class__))
    return value if known is None or known.plain is None else known.plain(value)


class _ByValue:
    """Equality, hash and repr by class and fields, as ``@dataclass`` generates them.

    To generate them for each class would take a quarter of the time of ``import infra``.
    """

    def _by_value(self) -> tuple[Any, ...]:
        own = fields(self)  # type: ignore[arg-type]
        return tuple(getattr(self, one.name) for one in own if one.compare)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _ByValue) or other.__class__ is not self.__class__:
            return NotImplemented
        return self._by_value() == other._by_value()

    def __hash__(self) -> int:
        return hash(self._by_value())

    def __repr__(self) -> str:
        own = fields(self)  # type: ignore[arg-type]
        values = (f"{one.name}={self._text_of(one)}" for one in own if one.repr)
        return f"{type(self).__qualname__}({', '.join(values)})"

    def _text_of(self, field: Any) -> str:
        return repr(getattr(self, field.name))


class _LazyPattern:
    """A regular expression that is compiled on first use, so that ``import infra`` stays fast."""

    def __init__(self, *pattern: Any) -> None:
        self._pattern = pattern

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # copy and pickle look for special methods
            raise AttributeError(name)
        found = getattr(re.compile(*self._pattern), name)  # re caches patterns
        setattr(self, name, found)
        return found


def _lazy(source: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    return cast("re.Pattern[AnyStr]", _LazyPattern(source, flags))


class _Validator(NamedTuple):
    """Parses and checks the value of one setting."""

    #: words for messages
    expected: str
    valid: Callable[[Any], bool]
    #: converts the text of an environment variable
    parse: Callable[[str], Any] = str
    #: says why a value is invalid, without quoting it
    problem: Callable[[Any], str] = lambda value: ""

    def require(self, name: str, value: T) -> T:
        """Return a setting's value. Raises ConfigurationError if it is invalid."""
        if not self.valid(value):
            problem = self.problem(value)
            raise ConfigurationError(
                f"{name} should be {self.expected}" + (f". But {problem}" if problem else "")
            )
        return value

    def read(self, variable: str, text: str) -> Any:
        """Return the value of an environment variable. Raises ConfigurationError."""
        with contextlib.suppress(ValueError, KeyError):
            return self.parse(text)
        raise ConfigurationError(f"{variable} should be {self.expected}")

    def check(self, name: str, value: T) -> T:
        """Return an argument's value. Raises ValidationError if it is invalid."""
        if not self.valid(value):
            raise ValidationError(f"{name} should be {self.expected}")
        return value


def _is_number(value: object, lowest: float, highest: float) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and lowest <= value <= highest
    )


def _is_text(value: object, shortest: int = 1) -> bool:
    """Return whether the value is text with at least that many bytes in UTF-8.

    An environment variable that is not UTF-8 has surrogates, which cannot be encoded.
    """
    try:
        return isinstance(value, str) and len(value.encode()) >= shortest
    except UnicodeEncodeError:
        return False


def _parse_count(text: str) -> int:
    if not re.fullmatch("[0-9]+", text):
        raise ValueError
    return int(text)


def _counts_from(lowest: int) -> _Validator:
    expected = f"a whole number of at least {lowest}"
    return _Validator(expected, lambda v: type(v) is int and v >= lowest, _parse_count)


_TEXT = _Validator("non-empty text", _is_text)
_COUNT, _COUNT_OR_0 = map(_counts_from, (1, 0))
_YEAR = 365 * 86400.0  # far below the limits of sockets, threads and Redis


def _seconds(bounds: str = "", lowest: float = 0, highest: float = _YEAR) -> _Validator:
    expected = f"a number of seconds{bounds}"
    return _Validator(expected, lambda v: _is_number(v, lowest, highest), float)


_SECONDS = _seconds()
_WAIT_OR_0 = _seconds(", at least 0, at most a year")
_WAIT = _seconds(" above 0, at most a year", 1e-6)
_TTL_OR_0 = _seconds(", at least 0, at most a century", highest=100 * _YEAR)
_SWITCH = _Validator(
    "true or false", lambda v: type(v) is bool, {"true": True, "false": False}.__getitem__
)
_MAPPING = _Validator("a dict or another mapping", lambda v: isinstance(v, Mapping))
_FLAG = _SWITCH._replace(expected="True or False")
_HASH_KEY = _Validator("at least 32 bytes of secret text", lambda v: _is_text(v, 32))
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


_IS_SAFE = uuid.SafeUUID.unknown  # the look-up in an enum takes as long as the rest of _uuid_of
# A slot's own function takes half the time of object.__setattr__.
_set_int = vars(uuid.UUID)["int"].__set__
_set_is_safe = vars(uuid.UUID)["is_safe"].__set__


def new_id(clock: Clock | None = None) -> uuid.UUID:
    """Return a version 7 UUID (RFC 9562 §5.7), so that ids sort by time.

    It starts with the Unix time in milliseconds. The next 12 bits hold the fraction of the
    millisecond (§6.2, method 3), and 62 bits are random. With a clock that stands still, as in
    tests, each id is greater than the one before (method 2).
    """
    random_bits = int.from_bytes(os.urandom(8), "big")
    if clock is None or clock.__class__ is SystemClock:
        made = object.__new__(uuid.UUID)  # its constructor takes a twentieth of a fake's create
        _set_int(made, _id_of_time(time.time_ns()) | random_bits >> 2)
        _set_is_safe(made, _IS_SAFE)
        return made
    value = _id_of_time((_clock(clock).now() - _EPOCH) // _MICROSECOND * 1000)
    with _newest_guard:
        last = _newest.get(clock, 0)
        same_time = last >> 62 == value >> 62
        # The shift of the random bits leaves room to count.
        found = last + 1 + (random_bits >> 32) if same_time else value | random_bits >> 3
        # A signal handler may have made a greater id in the meantime.
        _newest[clock] = max(found, _newest.get(clock, 0))
    return uuid.UUID(int=found)


def _id_of_time(nanoseconds: int) -> int:
    """Return the bits of a version 7 UUID that are not random."""
    ticks = (nanoseconds << 12) // 1_000_000  # milliseconds, with 12 bits of their fraction
    return (ticks >> 12 & (1 << 48) - 1) << 80 | 7 << 76 | (ticks & 4095) << 64 | 2 << 62


#: the latest id of each clock
_newest: weakref.WeakKeyDictionary[Clock, int] = weakref.WeakKeyDictionary()
_newest_guard = threading.RLock()  # a signal handler may call new_id while the lock is held


def normalize_phone(phone: str) -> str:
    """Return the number in E.164: "+", then 7 to 15 ASCII digits of which the first is not 0.

    Blanks and the visual separators of RFC 3966 ("-", ".", "(", ")") are removed. Raises
    ValidationError, which does not quote the number, for anything else. That includes "(0)", the
    trunk prefix: it is dialled inside the country only, so it would make another number.
    """
    text = _plain(phone) if isinstance(phone, str) else ""
    if re.search(r"\([ .-]*0+[ .)-]", text):
        raise ValidationError(
            "phone should be a number in E.164 without the (0) that is dialled inside its country"
        )
    number = re.sub(r"[ .()-]", "", text)
    if not re.fullmatch(r"\+[1-9][0-9]{6,14}", number):
        raise ValidationError(
            "phone should be a number in E.164 with its country code, such as +14155550100"
        )
    return number


def mask_phone(phone: str) -> str:
    """Return the form of a number that may be logged: its last four digits."""
    return "***" + normalize_phone(phone)[-4:]


def _key_bytes(key: str | bytes, variable: str = "PHONE_HASH_KEY") -> bytes:
    key = _plain(key)
    if isinstance(key, bytes) and len(key) >= 32:
        return key
    if isinstance(key, str) and _HASH_KEY.valid(key):
        return key.encode()
    raise ConfigurationError(f"the hash key should be {_HASH_KEY.expected} ({variable})")


def hash_phone(phone: str, key: str | bytes | None = None) -> str:
    """Return the number's HMAC-SHA-256 under ``key`` (32 bytes or more), as 64 hexadecimal digits.

    Without a key it is SHA-256, which anybody can reverse by trying all numbers. Raises
    ValidationError as :func:`normalize_phone` does, and ConfigurationError for a shorter key.
    """
    number = normalize_phone(phone)
    if key is not None:
        return _hmac_digits(_key_bytes(key), number)
    return _sha256(number.encode())


def _sha256(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def _hmac_digits(key: bytes, text: str) -> str:
    import hmac

    return hmac.new(key, text.encode(), "sha256").hexdigest()


_SURROGATE = _lazy("[\ud800-\udfff]")
# Characters of Default_Ignorable_Code_Point (Unicode Standard, 5.21) that str.isprintable()
# accepts, and the blank of Braille.
_UNSEEN = _lazy(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)


def _check_text(
    name: str, text: str, *, blank_ends: bool = True, empty: bool = True, longest: int = 0
) -> str:
    """Return the text as a plain str that every backend stores in the same way.

    ``longest`` counts code points; 0: no bound. Raises ValidationError.
    """
    if not isinstance(text, str):
        raise ValidationError(f"{name} should be a str")
    text = _plain(text)
    if not empty and not text:
        raise ValidationError(f"{name} should not be empty")
    if "\0" in text:
        raise ValidationError(f"{name} should not hold a NUL character")
    if not text.isascii() and _SURROGATE.search(text):
        raise ValidationError(f"{name} should not hold a lone surrogate: it has no UTF-8 form")
    if not blank_ends and text != text.strip():
        raise ValidationError(f"{name} should not begin or end with a blank")
    if longest and len(text) > longest:
        raise ValidationError(f"{name} should have at most {longest} characters")
    return text


def _check_key(key: str, name: str = "key") -> str:
    # Fast path: printable ASCII without a blank passes every rule below.
    if key.__class__ is str and key and key.isascii() and key.isprintable() and " " not in key:
        return key
    return _check_text(name, key, blank_ends=False, empty=False)


def _check_value(value: str, name: str = "value") -> str:
    if value.__class__ is str and value.isascii() and "\0" not in value:
        return value
    return _check_text(name, value)


def _check_range(
    name: str,
    value: Any,
    lowest: int,
    highest: int,
    error: type[InfrastructureError] = ValidationError,
) -> None:
    if type(value) is not int or not lowest <= value <= highest:
        raise error(f"{name} should be a whole number from {lowest} to {highest}")


def _plain_keys(items: Mapping[Any, Any]) -> dict[Any, Any]:
    return {_plain(key): value for key, value in items.items()}


def _check_many(name: str, items: Iterable[T]) -> list[T]:
    """Return the items as a list. Raises ValidationError also for a str, which is iterable too."""
    if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
        raise ValidationError(
            f"{name} should be a list or another iterable of them, not a single one"
        )
    return list(items)


def _check_choice(name: str, value: Any, *choices: str) -> str:
    """Return the text as a plain str. Raises ConfigurationError if it is none of the choices."""
    text: str = _plain(value)
    if text not in choices:
        raise ConfigurationError(f"{name} should be {', '.join(choices[:-1])} or {choices[-1]}")
    return text


def _folded(text: str) -> str:
    """Return a text that is equal for texts that differ only in case or composition.

    Canonical caseless matching, Unicode Standard, 3.13, D145.
    """
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


class _Document(NamedTuple):
    text: str
    value: Any  # that is read from the text


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_decode = json.JSONDecoder().raw_decode  # for a text without blanks around it
_ESCAPED_NUL = _lazy(r"(?<!\\)(?:\\\\)*\\u0000")
_DEEPEST = 100  # levels of a document: far below the depth at which Python's stack may overflow


def _is_deeper(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels + 1):
        parents: list[Iterable[Any]] = [item for item in layer if isinstance(item, list)]
        parents += [item.values() for item in layer if isinstance(item, dict)]
        if not parents:
            return False
        layer = [*itertools.chain.from_iterable(parents)]
    return True


def _plain_document(value: Any) -> Any:
    """Return the document of plain values. Raises ValueError if two keys are the same text."""
    if isinstance(value, dict):
        found = {_plain(key): _plain_document(item) for key, item in value.items()}
        if len(found) != len(value):
            raise ValueError
        return found
    return [*map(_plain_document, value)] if isinstance(value, list) else _plain(value)


def _document(name: str, value: Any) -> _Document:
    """Encode a value as JSON.

    Raises SerializationError if the value would be read back as another one. RFC 8259 has no NaN,
    no tuples, and only texts as keys.
    """
    try:
        text = _encode(value)
        found = _decode(text)[0]
        same = found == value or found == _plain_document(value)
    except (TypeError, ValueError, RecursionError):
        text, found, same = "", None, False
    if not same:
        raise SerializationError(
            f"{name} should be JSON: dicts with keys of text, lists, text, finite numbers, True, "
            "False and None"
        )
    may_be_deep = len(text) > _DEEPEST and text.count("[") + text.count("{") > _DEEPEST
    if may_be_deep and _is_deeper(found, _DEEPEST):
        raise SerializationError(f"{name} should be nested in at most {_DEEPEST} levels")
    if not text.isascii():
        _check_text(name, text)
    if "\\u0000" in text and _ESCAPED_NUL.search(text):
        raise ValidationError(f"{name} should not hold a NUL character")
    return _Document(text, found)


def _no_constant(constant: str) -> NoReturn:
    raise ValueError  # RFC 8259 has neither NaN nor Infinity


_decode_strictly = json.JSONDecoder(parse_constant=_no_constant).raw_decode


def _parse_json(text: str) -> Any:
    """Decode strict JSON. Raises ValueError or RecursionError for anything else."""
    text = text.strip(" \t\r\n")
    value, end = _decode_strictly(text)
    if end != len(text):
        raise ValueError
    return value


def _milliseconds(seconds: float, name: str = "seconds") -> int:
    """Return a duration in whole milliseconds, rounded up. Raises ValidationError."""
    if not _is_number(seconds, 0, 100 * _YEAR) or seconds == 0:
        raise ValidationError(f"{name} should be a number of seconds above 0, at most a century")
    return _whole_milliseconds(seconds)


def _whole_milliseconds(seconds: float) -> int:
    if isinstance(seconds, int):
        return seconds * 1000
    # From its decimal digits: 8.05 * 1000 as a float is a little more than 8050.
    return math.ceil(Decimal(float.__repr__(seconds)).scaleb(3, _DIGITS))


#: Independent of the caller's context. Raises if a digit would be lost. A column has at most 1000
#: digits (Postgres: NUMERIC(1000)).
_DIGITS = Context(prec=1000, traps=[Inexact, InvalidOperation])


def _later(moment: datetime, duration: timedelta) -> datetime:
    """Return the sum, but at most the last moment of the year 9999, where datetimes end."""
    try:
        return moment + duration
    except OverflowError:
        return datetime.max.replace(tzinfo=timezone.utc)


def _to_utc(value: datetime, name: str = "a datetime") -> datetime:
    """Return the same moment in UTC. Raises ValidationError if the value is naive."""
    if value.__class__ is not datetime:
        value = _plain(value)
    if value.tzinfo is timezone.utc:
        return value
    offset = value.utcoffset()
    if offset is None:
        raise ValidationError(f"{name} should be aware, for example datetime.now(timezone.utc)")
    try:
        return value.astimezone(timezone.utc)
    except OverflowError:
        raise ValidationError(f"{name} should be between the years 1 and 9999 in UTC") from None


def _check_finite(value: Any) -> Any:
    if not (value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)):
        raise ValidationError("a number should be finite")
    return value


class _ColumnType(NamedTuple):
    """The type of a column: a key of ``_COLUMN_KINDS``, and the bounds of its values."""

    kind: str
    #: characters of a text, bytes, digits of a decimal, bits of an int; None: no bound
    size: int | None = None
    #: digits after the point, of a decimal or of seconds; None: no bound
    scale: int | None = None
    #: bytes of a text in UTF-8; None: no bound
    octets: int | None = None
    ascii: bool = False
    unsigned: bool = False
    #: the engine has neither NaN nor infinity
    finite: bool = True
    #: The server pads shorter bytes, so they must have exactly this size. It cuts off blanks at
    #: the end of a text, so a text must not end with one.
    fixed: bool = False
    #: durations are multiples of it
    unit: timedelta | None = None
    #: the type of an array's elements
    element: Any = None
    #: The values of MySQL's ENUM and SET. MySQL reads digits that match none as a value's index
    #: (https://dev.mysql.com/doc/refman/8.4/en/enum.html#enum-indexes).
    choices: frozenset[str] = frozenset()


_Fit: TypeAlias = Callable[[str, _ColumnType, Sequence[Any]], Sequence[Any]]


def _misfit(name: str) -> DatabaseError:
    return DatabaseError(f"a value does not fit its column: {name}")


def _fit_as_is(name: str, column: _ColumnType, values: Sequence[Any]) -> Sequence[Any]:
    return values


def _fit_texts(name: str, column: _ColumnType, values: Sequence[str]) -> Sequence[str]:
    joined = "".join(values)
    if "\0" in joined or not joined.isascii():
        for text in values:
            _check_text(name, text)
        if column.ascii:
            raise _misfit(name)
    # Without an error, servers cut off white space beyond the size.
    if column.size is not None and max(map(len, values)) > column.size:
        raise _misfit(name)
    if column.octets is not None and max(len(text.encode()) for text in values) > column.octets:
        raise _misfit(name)
    if column.fixed and any(text.endswith(" ") for text in values):
        raise _misfit(name)
    if column.choices:
        others = {text.lower() for text in values} - column.choices
        parts = {part for text in others for part in text.split(",")} - column.choices
        if any(part.strip().startswith(tuple("+-0123456789")) for part in parts):
            raise _misfit(name)
    return values


def _fit_ids_as_texts(name: str, column: _ColumnType, values: Sequence[uuid.UUID]) -> Sequence[str]:
    return _fit_texts(name, column, [*map(str, values)])


def _fit_bytes(name: str, column: _ColumnType, values: Sequence[bytes]) -> Sequence[bytes]:
    if column.size is not None:
        sizes = [*map(len, values)]
        if max(sizes) > column.size or (column.fixed and min(sizes) < column.size):
            raise _misfit(name)
    return values


def _fit_flags(name: str, column: _ColumnType, values: Sequence[int]) -> Sequence[bool]:
    """Accept 0 and 1 too: MySQL reads its BOOLEAN so."""
    if not {*values} <= {0, 1}:
        raise ValidationError(f"{name} should be True or False")
    return [*map(bool, values)]


def _fit_integers(name: str, column: _ColumnType, values: Sequence[int]) -> Sequence[int]:
    bound = 1 << (column.size or 32) - (not column.unsigned)
    low, high = min(values), max(values)
    if low < (0 if column.unsigned else -bound) or high >= bound:
        _check_digits(name, low, high)
        raise _misfit(name)
    return values


def _check_digits(name: str, *values: int) -> None:
    """Refuse an int that Python cannot write as text (sys.set_int_max_str_digits)."""
    try:
        for value in values:
            str(value)
    except ValueError:
        raise ValidationError(f"{name} should be a number that a column can hold") from None


def _fit_any_integers(name: str, column: _ColumnType, values: Sequence[int]) -> Sequence[int]:
    _check_digits(name, *values)
    return values


def _fit_whole_decimals(name: str, column: _ColumnType, values: Sequence[Decimal]) -> Sequence[int]:
    """Accept whole decimals: a sum of integers is a decimal on MySQL."""
    for value in values:
        if value.is_finite() and value.adjusted() > 100:
            raise _misfit(name)
        if not value.is_finite() or value != int(value):
            raise ValidationError(f"{name} should be a whole number")
    return _fit_integers(name, column, [*map(int, values)])


def _fit_years(name: str, column: _ColumnType, values: Sequence[int]) -> Sequence[int]:
    """Refuse years such as 26, which MySQL takes for 2026."""
    if any(value and not 1901 <= value <= 2155 for value in values):
        raise _misfit(name)
    return values


def _fit_floats(name: str, column: _ColumnType, values: Sequence[float]) -> Sequence[float]:
    if column.finite and not all(map(math.isfinite, values)):
        raise ValidationError(f"{name} should be a finite number")
    scale = column.scale
    if scale is not None and any(round(value, scale) != value for value in values):
        raise _misfit(name)
    if column.finite and 0.0 in values:  # MySQL's literals have no negative zero
        return [value + 0.0 for value in values]
    return values


def _fit_integers_as_floats(
    name: str, column: _ColumnType, values: Sequence[int]
) -> Sequence[float]:
    _check_digits(name, *values)
    with contextlib.suppress(OverflowError):
        floats = [*map(float, values)]
        if floats == [*values]:
            return floats
    raise _misfit(name)


def _exact_decimal(value: Decimal, precision: int | None, scale: int | None) -> Decimal | None:
    """Return the number as such a column stores it, or None if it does not fit."""
    if (precision is None and scale is None) or not value.is_finite():
        return value
    digits = scale or 0
    if value and precision is not None and value.adjusted() >= precision - digits:
        return None
    one = Decimal((0, (1,), -digits))
    try:
        return _DIGITS.quantize(value or Decimal(0), one)  # zero has no sign in SQL
    except DecimalException:
        return None


def _fit_decimals(name: str, column: _ColumnType, values: Sequence[Decimal]) -> Sequence[Decimal]:
    for value in values:
        if not value.is_finite() and (column.finite or not value.is_nan() or value.is_snan()):
            raise ValidationError(f"{name} should be a finite number")
    exact = [_exact_decimal(value, column.size, column.scale) for value in values]
    fitting = _without_none(exact)
    if len(fitting) < len(exact):
        raise _misfit(name)
    return fitting


def _fit_integers_as_decimals(
    name: str, column: _ColumnType, values: Sequence[int]
) -> Sequence[Decimal]:
    _check_digits(name, *values)
    return _fit_decimals(name, column, [*map(Decimal, values)])


def _fit_fractions(name: str, column: _ColumnType, values: Sequence[Any]) -> Sequence[Any]:
    """Refuse datetimes or times with more digits of a second than the column has."""
    step = _fraction(column.scale)
    if step > 1 and any(value.microsecond % step for value in values):
        raise _misfit(name)
    return values


def _fraction(digits: int | None) -> int:
    """Return the resolution, in microseconds, of seconds with that many decimal digits."""
    return 1 if digits is None else int(10 ** (6 - digits))


def _fit_moments(name: str, column: _ColumnType, values: Sequence[datetime]) -> Sequence[datetime]:
    if any(value.tzinfo is not timezone.utc for value in values):
        values = [_to_utc(value, name) for value in values]
    return _fit_fractions(name, column, values)


def _fit_local_moments(
    name: str, column: _ColumnType, values: Sequence[datetime]
) -> Sequence[datetime]:
    """Fit a column without a time zone: aware datetimes are stored as UTC."""
    local = [
        value if value.utcoffset() is None else _to_utc(value, name).replace(tzinfo=None)
        for value in values
    ]
    return _fit_fractions(name, column, local)


def _fit_times(name: str, column: _ColumnType, values: Sequence[day_time]) -> Sequence[day_time]:
    if any(value.tzinfo is not None for value in values):
        raise ValidationError(f"{name} should be a time without a time zone")
    return _fit_fractions(name, column, values)


def _fit_durations(
    name: str, column: _ColumnType, values: Sequence[timedelta]
) -> Sequence[timedelta]:
    step, bound, unit = _fraction(column.scale), column.size, column.unit
    for value in values:
        if value.microseconds % step or (bound is not None and abs(value).total_seconds() >= bound):
            raise _misfit(name)
        if unit is not None and value % unit:
            raise _misfit(name)
    return values


def _fit_times_as_durations(
    name: str, column: _ColumnType, values: Sequence[day_time]
) -> Sequence[timedelta]:
    """Convert to timedelta, as MySQL reads its TIME."""
    times = _fit_times(name, column, values)
    midnight = datetime.min
    durations = [datetime.combine(midnight, value) - midnight for value in times]
    return _fit_durations(name, column, durations)


def _uuid_of(text: str) -> uuid.UUID:
    """Return ``uuid.UUID(text)`` in a third of its time: a tenth of a page of 100 records."""
    digits = text.replace("-", "")
    if len(digits) != 32:
        return uuid.UUID(text)
    made = object.__new__(uuid.UUID)
    _set_int(made, int(digits, 16))
    _set_is_safe(made, _IS_SAFE)
    return made


def _fit_ids(name: str, column: _ColumnType, values: Sequence[str]) -> Sequence[uuid.UUID]:
    with contextlib.suppress(ValueError):
        return [*map(_uuid_of, values)]
    # Outside an except block: the context of the error would quote the value.
    raise ValidationError(f"{name} should be a uuid.UUID, or the text of one")


def _fit_documents(name: str, column: _ColumnType, values: Sequence[Any]) -> Sequence[_Document]:
    return [_document(name, value) for value in values]


def _fit_arrays(name: str, column: _ColumnType, values: Sequence[Any]) -> Sequence[Any]:
    for element in itertools.chain.from_iterable(values):
        if isinstance(element, list):
            _fit_arrays(name, column, [element])
        elif element is not None:
            held = _value_type(type(element)) in _COLUMN_KINDS[column.element.kind][1]
            fitting = column.element if held else _ColumnType("any", finite=False)
            _fitted_column(name, fitting, [element])
    return values


def _fit_ranges(name: str, column: _ColumnType, values: Sequence[Any]) -> Sequence[Any]:
    """Accept ranges of the driver's class, which is not imported here, by their attributes."""
    for value in values:
        if not all(hasattr(value, name) for name in ("lower", "upper", "lower_inc", "isempty")):
            raise ValidationError(f"{name} should be a range, not of type {type(value).__name__}")
    return values


_TEXTS: Mapping[type, _Fit] = {str: _fit_texts, uuid.UUID: _fit_ids_as_texts}
_DECIMALS: Mapping[type, _Fit] = {Decimal: _fit_decimals, int: _fit_integers_as_decimals}
_DOCUMENTS: Mapping[type, _Fit] = dict.fromkeys((dict, list), _fit_documents)
_BITS: Mapping[type, _Fit] = {bytes: _fit_as_is, bool: _fit_as_is, int: _fit_any_integers}
#: The values that a column of a kind accepts: words for messages, and a check for each type. Other
#: types raise ValidationError.
_COLUMN_KINDS: Mapping[str, tuple[str, Mapping[type, _Fit]]] = {
    "text": ("text", _TEXTS),
    # LONGTEXT on MySQL, where repositories store documents too
    "long text": ("text, or a document as a dict or list", {**_TEXTS, **_DOCUMENTS}),
    "flag": ("True or False", {bool: _fit_as_is, int: _fit_flags}),
    "integer": ("a whole number", {int: _fit_integers, Decimal: _fit_whole_decimals}),
    # MySQL's YEAR and BIT
    "year": ("a year", {int: _fit_years}),
    "bits": ("bytes, or a whole number", _BITS),
    "float": ("a number", {float: _fit_floats, int: _fit_integers_as_floats}),
    "decimal": ("a Decimal", _DECIMALS),
    # read as text with a currency's sign
    "money": ("a Decimal, or its text", {**_DECIMALS, str: _fit_texts}),
    "bytes": ("bytes", {bytes: _fit_bytes}),
    "moment": ("an aware datetime", {datetime: _fit_moments}),
    "local moment": ("a datetime", {datetime: _fit_local_moments}),
    "date": ("a date", {date: _fit_as_is}),
    "time": ("a time", {day_time: _fit_times}),
    "zoned time": ("a time", {day_time: _fit_fractions}),
    "duration": ("a timedelta", {timedelta: _fit_durations}),
    # MySQL's TIME
    "time or duration": (
        "a time or timedelta",
        {day_time: _fit_times_as_durations, timedelta: _fit_durations},
    ),
    "id": ("a uuid.UUID", {uuid.UUID: _fit_as_is, str: _fit_ids}),
    "document": ("a document as a dict or list, not its text", _DOCUMENTS),
    "array": ("a list", {list: _fit_arrays}),
    "range": ("a range, or its text", {str: _fit_texts, object: _fit_ranges}),
    # a type that this library does not know: the server decides
    "any": (
        "of a type that a column holds",
        {
            **_TEXTS,
            **_BITS,
            float: _fit_floats,
            Decimal: _fit_decimals,
            datetime: _fit_local_moments,
            date: _fit_as_is,
            day_time: _fit_fractions,
            timedelta: _fit_durations,
            dict: _fit_documents,
        },
    ),
}


def _without_none(values: Iterable[T | None]) -> list[T]:
    return [value for value in values if value is not None]


def _with_none(values: Iterable[Any], others: Iterable[T], none: T) -> list[T]:
    """Return ``none`` for each value that is None, and the next of ``others`` for each other."""
    following = iter(others)
    return [none if value is None else next(following) for value in values]


def _fitted_column(name: str, column: _ColumnType, values: Sequence[Any]) -> Sequence[Any]:
    """Return the values as the column stores them.

    Raises ValidationError for a type that the column does not accept, DatabaseError for a value
    that does not fit.
    """
    words, fits = _COLUMN_KINDS[column.kind]
    types = [*dict.fromkeys(map(type, values))]
    if len(types) == 1 and types[0] in fits:  # nearly always
        return fits[types[0]](name, column, values)
    if type(None) in types:
        return _with_none(values, _fitted_column(name, column, _without_none(values)), None)
    fitted = list(values)
    for value_class in types:
        known = _value_type(value_class)
        if known not in fits:
            raise ValidationError(f"{name} should be {words}, not of type {value_class.__name__}")
        places = [at for at, value in enumerate(values) if type(value) is value_class]
        plain = [_plain(values[at]) for at in places]
        for at, value in zip(places, fits[known](name, column, plain)):
            fitted[at] = value
    return fitted


# === configuration ================================================================================


class _Url(NamedTuple):
    """The percent-decoded parts of a service's URL. Drivers get the parts, never the URL."""

    scheme: str
    host: str
    port: int | None
    user: str | None
    password: str | None
    path: str
    options: Mapping[str, str]

    def __repr__(self) -> str:
        return f"_Url({self.scheme!r}, {self.host!r}, …)"  # no secrets

    @classmethod
    def parse(cls, url: object) -> _Url:
        """Return the parts. Raises ValueError, which does not quote the URL."""
        import urllib.parse

        if not isinstance(url, str):
            raise ValueError("it should be text")
        if re.search(r"[\s\x00-\x1f\x7f#]", url):
            raise ValueError(f"it holds a blank, a # or a control character: {_ENCODED}")
        try:
            url.encode()
            parts = urllib.parse.urlsplit(url)
            texts = (parts.username, parts.password, parts.hostname, parts.path[1:])
            user, password, host, path = (
                urllib.parse.unquote(text, errors="strict") if text else text for text in texts
            )
        except ValueError:
            raise ValueError(f"it is no URL: {_ENCODED}") from None
        cls._check_host(parts, host)
        try:
            pairs = urllib.parse.parse_qsl(
                parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)
            )
        except ValueError:
            raise ValueError("its options should be name=value each, with & between them") from None
        options = dict(pairs)
        if len(options) != len(pairs):
            raise ValueError("it has an option twice")
        if any("\0" in text for text in (user, password, path, *options.values()) if text):
            raise ValueError("it holds a NUL (%00), which no service takes")
        assert host
        return cls(parts.scheme, host, parts.port, user or None, password, path or "", options)

    @staticmethod
    def _check_host(parts: Any, host: str | None) -> None:
        if "@" in parts.path + parts.query:
            raise ValueError(f"an @ stands behind the host: {_ENCODED}")
        if not parts.scheme or not host:
            raise ValueError(_NO_HOST)
        if "," in parts.netloc.rpartition("@")[2]:
            raise ValueError("it names more than one host")
        try:
            port = parts.port
        except ValueError:
            port = 0
        if port == 0:
            raise ValueError(f"its port should be a number from 1 to 65535, or {_ENCODED}")
        if not _is_host(host):
            raise ValueError(_ODD_HOST)


_NO_HOST = "it names no host"
_ODD_HOST = "its host should be a name or an address"


def _is_host(host: str) -> bool:
    """Return whether it is a socket's path, or a name whose labels have 1 to 63 bytes each."""
    if host.startswith("/"):
        return "\0" not in host
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return not re.search(r"[\s\x00-\x1f\x7f/?#@]", host)


#: https://www.rfc-editor.org/rfc/rfc3986#section-2.2
_ENCODED = (
    "in the user and the password, % : / ? # [ ] @ and blanks are written percent-encoded "
    "(%25 %3A %2F %3F %23 %5B %5D %40 %20)"
)


#: a pattern for what stands behind the host, and one for the value of each option
_UrlForm: TypeAlias = tuple[str, Mapping[str, str]]
_BARE_URL: _UrlForm = ("", {})


def _url_problem(value: Any, forms: Mapping[str, _UrlForm]) -> str:
    """Return what is wrong with the URL, in words that do not quote it, or ""."""
    try:
        url = _Url.parse(value)
    except ValueError as exc:
        return str(exc)
    if url.scheme not in forms:
        return f"its scheme is not {' or '.join(forms)}"
    path, known = forms[url.scheme]
    if url.host.startswith("/") and url.scheme not in _ENGINES:
        return "it names the path of a socket, which only databases take"
    if not re.fullmatch(path, url.path):
        return "what stands behind its host is not of that form"
    if not url.options.keys() <= known.keys():
        return f"its options should be among: {', '.join(known)}" if known else "it has options"
    for name, text in url.options.items():
        if not re.fullmatch(known[name], text):
            words = known[name].replace("|", ", ")
            return f"its option {name} should {'not be empty' if words == '.+' else f'be {words}'}"
    return ""


_ENGINES = {"mysql": "mysql", "mariadb": "mysql", "postgresql": "postgres", "postgres": "postgres"}
_PORTS = {"mysql": 3306, "postgres": 5432}
_TLS_FILES = dict.fromkeys(("sslrootcert", "sslcert", "sslkey"), ".+")
_TLS_OPTIONS = {"sslmode": "disable|prefer|require|verify-ca|verify-full", **_TLS_FILES}
#: The options of a database's URL, without those that this library sets itself.
_ENGINE_OPTIONS = {
    "mysql": {**_TLS_OPTIONS, "charset": "utf8mb4"},  # the only charset that is used
    "postgres": {
        **_TLS_OPTIONS,
        "channel_binding": "disable|prefer|require",
        "application_name": ".+",
        "options": ".+",
        "target_session_attrs": "any|read-write|read-only|primary|standby|prefer-standby",
    },
}
_DATABASE_URLS: Mapping[str, _UrlForm] = {
    scheme: ("[^/]+", _ENGINE_OPTIONS[engine]) for scheme, engine in _ENGINES.items()
}
_PREFIX = _Validator(
    "text without blanks at either end and without a NUL",
    lambda v: _is_text(v, 0) and v == v.strip() and "\0" not in v,
)
_CREDENTIAL = _Validator(
    "text without line breaks, and without blanks at either end",
    lambda v: _is_text(v) and v == v.strip() and not re.search(r"[\x00-\x1f\x7f]", v),
)
_SMS_PROVIDER = _Validator(
    "one of mock, twilio, aws_sns", lambda v: v in ("mock", "twilio", "aws_sns")
)
_REDIS_TLS = {**_TLS_OPTIONS, "sslmode": "require|verify-ca|verify-full"}
_REDIS_URLS: Mapping[str, _UrlForm] = {
    "redis": ("[0-9]{0,5}", {}),
    "rediss": ("[0-9]{0,5}", _REDIS_TLS),
    "redis+cluster": ("0?", {}),
    "rediss+cluster": ("0?", _REDIS_TLS),
}


def _redis_problem(value: Any) -> str:
    problem = _url_problem(value, _REDIS_URLS)
    if problem == "it has options":
        return "it has options, which are for TLS: with rediss:// or rediss+cluster://"
    if problem:
        return problem
    url = _Url.parse(value)
    if url.user and not url.password:
        return "it names a user without a password; a password alone has a colon before it"
    return ""


def _database_problem(value: Any) -> str:
    problem = _url_problem(value, _DATABASE_URLS)
    if problem in (_NO_HOST, _ODD_HOST):
        problem += (
            "; the directory of a socket is percent-encoded in its place "
            "(postgresql://user@%2Frun%2Fpostgresql/database)"
        )
    return problem


def _endpoint_problem(value: Any) -> str:
    problem = _url_problem(value, dict.fromkeys(("https", "http"), _BARE_URL))
    if problem or "@" not in value:
        return problem
    return "it holds a user: keys have settings of their own"


def _s3_endpoint_problem(value: Any) -> str:
    problem = _endpoint_problem(value)
    if not problem and _HOST_OF_BUCKET.fullmatch(_Url.parse(value).host):
        return "it names the bucket"
    return problem


def _url_validator(problem: Callable[[Any], str], expected: str) -> _Validator:
    return _Validator(expected, lambda v: not problem(v), problem=problem)


_REDIS_URL = _url_validator(
    _redis_problem,
    "redis://[[user]:password@]host[:port][/database number] (a user needs a password; a password "
    "alone has a colon before it, redis://:password@host) or, for a Redis Cluster, "
    "redis+cluster://…host[:port]; with TLS rediss://… or rediss+cluster://…, optionally with "
    "?sslmode=verify-full (the default), verify-ca or require, &sslrootcert=, &sslcert=, &sslkey= "
    "(files)",
)
_NATS_URL = _url_validator(
    lambda v: _url_problem(v, dict.fromkeys(("nats", "tls"), _BARE_URL)),
    "nats://[user:password@]host[:port], or with TLS tls://…",
)
_EVENTS_URL = _url_validator(
    lambda v: (_NATS_URL if str(v)[:4] in ("nats", "tls:") else _REDIS_URL).problem(v),
    f"{_NATS_URL.expected} or {_REDIS_URL.expected}",
)
_DATABASE_URL = _url_validator(
    _database_problem,
    "mysql://user:password@host[:port]/database or "
    "postgresql://user:password@host[:port]/database, optionally with ?sslmode=disable, prefer, "
    "require, verify-ca or verify-full, &sslrootcert=, &sslcert=, &sslkey= (files)",
)
_S3_ENDPOINT = _url_validator(
    _s3_endpoint_problem,
    "https://host[:port] or, for a store of your own network such as MinIO, http://host[:port], "
    "without a path and without the bucket",
)
_AWS_HOST = _lazy(r"\.amazonaws\.com(?:\.cn)?$")
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
_HOST_OF_BUCKET = _lazy(
    r".+\.s3(?:-fips|-accelerate)?(?:\.dualstack)?(?:[.-][a-z0-9-]+)?\.amazonaws\.com(?:\.cn)?",
    re.IGNORECASE,
)


def _setting(
    default: Any, validator: _Validator, variable: str = "", *, secret: bool = False
) -> Any:
    """Declare a setting. ``variable``: its environment variables; the first that is set counts."""
    metadata = {"validator": validator, "variables": variable.split(), "secret": secret}
    return field(default=default, metadata=metadata)


def _variable(env: Mapping[str, str], name: str) -> str:
    """Return the text of an environment variable, "" if it is not set."""
    text = _plain(env.get(name))
    if text is not None and not isinstance(text, str):
        raise ConfigurationError(f"{name} should be text")
    return text.strip() if text else ""


@dataclass(frozen=True, eq=False, repr=False)
class _Settings(_ByValue):
    """Settings that check themselves, hide secrets in ``repr`` and read environment variables."""

    def __post_init__(self) -> None:
        for setting in fields(self):
            validator = setting.metadata.get("validator")
            value = _plain(getattr(self, setting.name))
            object.__setattr__(self, setting.name, value)
            unset = value is None and setting.default is None
            if validator and not unset:
                variables = " or ".join(setting.metadata["variables"])
                named = f"{type(self).__name__}.{setting.name}"
                validator.require(f"{named} ({variables})" if variables else named, value)

    def _text_of(self, field: Any) -> str:
        value = getattr(self, field.name)
        if field.metadata.get("secret") and value is not None:
            value = "***"
        elif isinstance(value, str):
            value = re.sub("(?s)://.*@", "://***@", value)
        return repr(value)

    @classmethod
    def _read(cls, env: Mapping[str, str]) -> dict[str, Any]:
        """Return the parsed fields that ``env`` sets. An empty variable counts as unset."""
        found = {}
        for setting in fields(cls):
            for variable in setting.metadata.get("variables", ()):
                if text := _variable(env, variable):
                    found[setting.name] = setting.metadata["validator"].read(variable, text)
                    break
        return found


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class _CallSettings(_Settings):
    """What the settings of all services have. Times are in seconds.

    Attributes:
        breaker_failures: the attempts in a row without an answer that open a
            :class:`CircuitBreaker` (on a cluster one for each node); 0: there is none.
        breaker_reset: the breaker's ``reset_after``.
        slow: a call that takes longer is logged as a WARNING; 0: none is.
    """

    breaker_failures: int = _setting(0, _COUNT_OR_0, "BREAKER_FAILURES")
    breaker_reset: float = _setting(30.0, _WAIT, "BREAKER_RESET")
    slow: float = _setting(0.0, _TTL_OR_0, "SLOW_CALLS")


@dataclass(frozen=True, eq=False, repr=False)
class DatabaseConfig(_CallSettings):
    """A MySQL, MariaDB or Postgres database, as the URL's scheme says. All times are in seconds.

    ``interruptible``: Ctrl-C ends a statement on Postgres, a copy or a login at once; without it,
    psycopg2 waits for its end. MySQL and MariaDB always end a statement at once. Nothing is
    cancelled in other threads, for other signals, or if SIGINT has a handler of your own. During a
    statement the main thread uses ``signal.set_wakeup_fd``; a descriptor set earlier still gets its
    bytes. The request to cancel goes over a second connection, which is not encrypted. It holds no
    data, and names the session by a random number from the server.

    ``error_detail`` adds the server's text, which quotes rows and values, to each error: for
    development only. Without it, a message names tables, columns and positions in the statement.

    ``log_sql`` logs each statement at DEBUG, with placeholders for values, and without its strings
    and comments. ``warm`` opens ``min_connections`` at the start, in another thread.
    """

    url: str = _setting(None, _DATABASE_URL)
    max_connections: int = _setting(10, _COUNT, "DATABASE_MAX_CONNECTIONS")
    min_connections: int = _setting(2, _COUNT_OR_0, "DATABASE_MIN_CONNECTIONS")
    connect_timeout: float = _setting(5.0, _WAIT)
    acquire_timeout: float = _setting(30.0, _WAIT)
    query_timeout: float = _setting(30.0, _WAIT)
    idle_timeout: float = _setting(600.0, _WAIT)
    max_lifetime: float = _setting(1800.0, _WAIT)
    interruptible: bool = _setting(True, _SWITCH, "DATABASE_INTERRUPTIBLE")
    error_detail: bool = _setting(False, _SWITCH, "DATABASE_ERROR_DETAIL")
    log_sql: bool = _setting(False, _SWITCH, "DATABASE_LOG_SQL")
    warm: bool = _setting(False, _SWITCH, "DATABASE_WARM")

    def __post_init__(self) -> None:
        if self.url is None:
            raise ConfigurationError(f"DatabaseConfig.url should be {_DATABASE_URL.expected}")
        super().__post_init__()
        # 2 is the default: a pool of 1 connection need not set it.
        if self.min_connections > max(2, self.max_connections):
            raise ConfigurationError(
                "DatabaseConfig.min_connections (DATABASE_MIN_CONNECTIONS) should be at most "
                "max_connections"
            )

    @property
    def engine(self) -> str:
        """Return "mysql" (also for MariaDB) or "postgres"."""
        return _ENGINES[_Url.parse(self.url).scheme]


@dataclass(frozen=True, eq=False, repr=False)
class CacheConfig(_CallSettings):
    """A Redis server or Redis Cluster. All times are in seconds.

    Attributes:
        pool_size: the maximum of connections to each server, without those of listeners.
        socket_timeout: bounds one wait for the server.
        deadline: bounds a whole call, with its retries and its wait for a free connection.
        default_ttl: the cache's; 0: no expiry.
        prefix: precedes each key of the bundle's cache, so that its ``delete_pattern`` reaches
            neither verification codes nor your own keys.
        channel_prefix: precedes each channel of the bundle's bus: all databases of a server share
            their channels.
    """

    url: str = _setting("redis://localhost:6379", _REDIS_URL, "REDIS_URL")
    pool_size: int = _setting(5, _COUNT, "REDIS_POOL_SIZE")
    default_ttl: float = _setting(3600.0, _TTL_OR_0)
    connect_timeout: float = _setting(1.0, _WAIT)
    socket_timeout: float = _setting(2.0, _WAIT)
    deadline: float = _setting(5.0, _WAIT)
    retries: int = _setting(3, _COUNT_OR_0)
    prefix: str = _setting("cache:", _PREFIX, "CACHE_PREFIX")
    channel_prefix: str = _setting("", _PREFIX, "CHANNEL_PREFIX")


# The cache and the event bus share one client, so its configuration has three names.
RedisCacheConfig = CacheConfig
RedisEventBusConfig = CacheConfig


@dataclass(frozen=True, eq=False, repr=False)
class NatsConfig(_CallSettings):
    """A NATS server with JetStream. All times are in seconds.

    Attributes:
        connect_timeout: bounds one connection attempt.
        deadline: bounds a whole call, with its retries.
    """

    url: str = _setting("nats://localhost:4222", _NATS_URL)
    connect_timeout: float = _setting(2.0, _WAIT)
    deadline: float = _setting(5.0, _WAIT)
    retries: int = _setting(3, _COUNT_OR_0)


@dataclass(frozen=True, eq=False, repr=False)
class VerificationConfig(_Settings):
    """The limits of verification codes; see :class:`VerificationCache`.

    Times are in seconds. 0 turns ``resend_after``, ``max_codes`` or ``max_guesses`` off.
    """

    code_ttl: float = _setting(300.0, _WAIT, "VERIFICATION_CODE_TTL")
    max_attempts: int = _setting(3, _COUNT, "VERIFICATION_MAX_ATTEMPTS")
    resend_after: float = _setting(30.0, _TTL_OR_0, "VERIFICATION_RESEND_AFTER")
    max_codes: int = _setting(5, _COUNT_OR_0, "VERIFICATION_MAX_CODES")
    window: float = _setting(3600.0, _WAIT, "VERIFICATION_WINDOW")
    max_guesses: int = _setting(10, _COUNT_OR_0, "VERIFICATION_MAX_GUESSES")


@dataclass(frozen=True, eq=False, repr=False)
class S3StorageConfig(_CallSettings):
    """An S3 store: AWS, or another one at ``endpoint``. Without keys, boto3's own chain finds them.

    Plain http is allowed: it shows the objects to anybody on the network, but never sends the
    secret key. All times are in seconds.

    Attributes:
        endpoint: a URL without a path, and without the bucket, which would become a part of each
            object's key.
        public_endpoint: the URL at which clients reach the store, for presigned URLs, if it is not
            ``endpoint``.
        connect_timeout: bounds one connection attempt.
        read_timeout: bounds one wait for the server. No call is retried later than
            ``connect_timeout + read_timeout`` seconds after its start.
        keeps_folders: whether the store keeps objects as files in folders, as MinIO's gateway to a
            file system does. ``delete_batch`` then also removes each folder that it emptied, which
            the store would still list, with one or two requests.
    """

    region: str = _setting("us-east-1", _TEXT, "AWS_REGION AWS_DEFAULT_REGION")
    endpoint: str | None = _setting(None, _S3_ENDPOINT, "S3_ENDPOINT")
    public_endpoint: str | None = _setting(None, _S3_ENDPOINT)
    access_key: str | None = _setting(None, _CREDENTIAL, "AWS_ACCESS_KEY_ID", secret=True)
    secret_key: str | None = _setting(None, _CREDENTIAL, "AWS_SECRET_ACCESS_KEY", secret=True)
    session_token: str | None = _setting(None, _CREDENTIAL, "AWS_SESSION_TOKEN", secret=True)
    connect_timeout: float = _setting(5.0, _WAIT)
    read_timeout: float = _setting(30.0, _WAIT)
    keeps_folders: bool = _setting(False, _SWITCH, "S3_KEEPS_FOLDERS")

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.access_key is None) != (self.secret_key is None) or (
            self.session_token and not self.access_key
        ):
            raise ConfigurationError(
                "S3StorageConfig needs both or neither of access_key (AWS_ACCESS_KEY_ID) and "
                "secret_key (AWS_SECRET_ACCESS_KEY), and session_token (AWS_SESSION_TOKEN) only "
                "with both"
            )


@dataclass(frozen=True, eq=False, repr=False)
class SmsConfig(_CallSettings):
    """An SMS provider. There is no default: sending without one raises ConfigurationError.

    ``timeout`` bounds the sending of one message, in seconds. Only an answer of SNS in small pieces
    may exceed it: boto3 gives no access to its socket. ``region`` is SNS's.
    """

    provider: str | None = _setting(None, _SMS_PROVIDER, "SMS_PROVIDER")
    api_key: str | None = _setting(None, _TEXT, "SMS_API_KEY", secret=True)
    api_secret: str | None = _setting(None, _TEXT, "SMS_API_SECRET", secret=True)
    account_sid: str | None = _setting(None, _TEXT, "SMS_ACCOUNT_SID", secret=True)
    sender: str | None = _setting(None, _TEXT, "SMS_FROM", secret=True)
    timeout: float = _setting(10.0, _WAIT)
    region: str = _setting("us-east-1", _TEXT, "SNS_REGION AWS_REGION AWS_DEFAULT_REGION")


@dataclass(frozen=True, eq=False, repr=False)
class Config(_Settings):
    """The configuration of :class:`Infrastructure`."""

    mysql: DatabaseConfig | None = None
    postgres: DatabaseConfig | None = None
    cache: CacheConfig = field(default_factory=CacheConfig)
    storage: S3StorageConfig = field(default_factory=S3StorageConfig)
    sms: SmsConfig = field(default_factory=SmsConfig)
    phone_hash_key: str | None = _setting(None, _HASH_KEY, "PHONE_HASH_KEY", secret=True)
    audit_key: str | None = _setting(None, _HASH_KEY, "AUDIT_KEY", secret=True)
    #: of the event stream; None: that of ``cache``
    events_url: str | None = _setting(None, _EVENTS_URL, "EVENTS_URL", secret=True)
    verification: VerificationConfig = field(default_factory=VerificationConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, kind in self._parts().items():
            if not isinstance(getattr(self, name), kind):
                raise ConfigurationError(f"Config.{name} should be of class {kind.__name__}")
        for engine in _PORTS:
            database = getattr(self, engine)
            fits = isinstance(database, DatabaseConfig) and database.engine == engine
            if database is not None and not fits:
                raise ConfigurationError(
                    f"Config.{engine} should be a DatabaseConfig with a URL of that engine"
                )

    @classmethod
    def _parts(cls) -> dict[str, Any]:
        """Return the class of the settings of each service that has defaults."""
        return {one.name: one.default_factory for one in fields(cls) if one.default is _NO_DEFAULT}

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Config:
        """Read the variables of docs/configuration.md, from ``os.environ`` or from ``env``.

        Raises ConfigurationError, which names the variable at fault.
        """
        # No default value: ``help`` would print the environment's secrets.
        env = os.environ if env is None else env
        if not isinstance(env, Mapping):
            raise ConfigurationError("env should map names of variables to their texts")
        parts = cls._databases(env)
        for name, part in cls._parts().items():
            parts[name] = part(**part._read(env))
        return cls(**cls._read(env), **parts)

    @classmethod
    def _databases(cls, env: Mapping[str, str]) -> dict[str, Any]:
        found: dict[str, tuple[str, str, _Url]] = {}
        variables = {"MYSQL_URL": "mysql", "POSTGRES_URL": "postgres", "DATABASE_URL": None}
        for variable, wanted in variables.items():
            if not (url := _variable(env, variable)):
                continue
            database = cls._database_url(variable, url, wanted)
            other, _, same = found.setdefault(database.scheme, (variable, url, database))
            if same != database:
                pairs = zip(_Url._fields, same, database)
                names = [name for name, one, another in pairs if one != another]
                different = ", ".join(names).replace("path", "database")
                raise ConfigurationError(
                    f"{variable} and {other} differ ({different}): set one of them"
                )
        options = DatabaseConfig._read(env)
        return {engine: DatabaseConfig(url=url, **options) for engine, (_, url, _) in found.items()}

    @staticmethod
    def _database_url(variable: str, url: str, wanted: str | None) -> _Url:
        """Return the URL's parts with engine and port: equal for all spellings of one database."""
        problem = _database_problem(url)
        if not problem:
            parts = _Url.parse(url)
            engine = _ENGINES[parts.scheme]
            if wanted in (None, engine):
                return parts._replace(scheme=engine, port=parts.port or _PORTS[engine])
            problem = f"its scheme is that of another engine: {engine.upper()}_URL takes it"
        schemes = "://… or ".join(
            scheme for scheme, engine in _ENGINES.items() if wanted in (None, engine)
        )
        raise ConfigurationError(
            f"{variable} should be a URL {schemes}://user:password@host[:port]/database. "
            f"But {problem}"
        )


# === call policy ==================================================================================


def _is_deferred(function: Any, *, generators: bool = False) -> bool:
    """Return whether a call would not run the function's body: an async function or a generator.

    The check looks at a wrapper only, which may run the function that it wraps. With ``generators``
    a generator counts as a function that returns an iterator.
    """
    while isinstance(function, functools.partial):
        function = function.func
    if not (inspect.isroutine(function) or isinstance(function, type)):
        function = getattr(type(function), "__call__", None)  # noqa: B004
    return (
        inspect.iscoroutinefunction(function)
        or inspect.isasyncgenfunction(function)
        or (not generators and inspect.isgeneratorfunction(function))
    )


def _check_function(
    name: str,
    function: Any,
    takes: str,
    error: type[InfrastructureError] = ValidationError,
    *,
    generators: bool = False,
) -> None:
    """Raise ``error`` unless the value is a function whose call runs it."""
    if not callable(function):
        raise error(f"{name} should be a function that takes {takes}")
    if _is_deferred(function, generators=generators):
        kinds = "an async function" if generators else "an async function or a generator"
        raise error(
            f"{name} should be a plain function that takes {takes}: of {kinds} nothing would run"
        )


def _not_awaitable(result: T) -> T:
    """Return the result of a caller's function. Raises ValidationError if it is awaitable."""
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()  # prevents Python's warning that it was never awaited
        raise ValidationError("a function returned an awaitable: nothing awaits it here")
    return result


def _not_deferred(result: T) -> T:
    """Return the result. Raises ValidationError for an awaitable, and for a generator.

    ``contextlib.contextmanager`` wraps a generator, which counts too.
    """
    generator = getattr(result, "gen", result)
    if inspect.isgenerator(generator) or inspect.isasyncgen(generator):
        raise ValidationError("a function returned a generator: nothing runs it here")
    return _not_awaitable(result)


def _warn(
    service: str, operation: str, outcome: str, message: str, *values: Any, **more: Any
) -> None:
    """Log a WARNING with these details."""
    details = {"service": service, "operation": operation, "outcome": outcome, **more}
    logger.warning(message, *values, extra=details, stacklevel=2)


def _notify(name: str, function: Callable[..., Any], *arguments: Any) -> bool:
    """Call a caller's function; return whether it succeeded. What it raises is logged only."""
    try:
        _not_deferred(function(*arguments))
    except Exception:
        logger.warning("%s raised", name, exc_info=True)
        return False
    return True


@dataclass(frozen=True, eq=False, repr=False)
class Call(_ByValue):
    """One attempt at an outbound call, as the observer sees it. It holds no key and no value.

    ``outcome`` is "ok" or the error's class name, ``seconds`` the duration of this attempt.
    ``attempt`` counts from 1. ``retried``: another attempt of the same call follows. ``server`` is
    the configured host and port, or a socket's path, where the adapter knows it.
    """

    service: str
    operation: str
    outcome: str
    seconds: float
    attempt: int
    retried: bool = False
    server: str = ""


class Observer:
    """Takes what adapters do, for metrics and traces. Override the methods that you need.

    A plain function that takes a :class:`Call` will do for calls alone, and a list for several
    observers. Any thread may call the methods. They should return soon. What an observer raises
    breaks no call: the first exception is logged.
    """

    def call(self, call: Call) -> None:
        """Take one attempt at an outbound call, after its end and in its thread."""

    def count(self, service: str, name: str, amount: int = 1) -> None:
        """Add to a number of events.

        ``name`` is "retries", "cache_hits", "cache_misses", "reconnects" (of a listener),
        "handler_errors", or "rows_moved" (of the service "storage": objects).
        """

    def watch(self, name: str, source: Callable[[], Mapping[str, float]]) -> None:
        """Take a function that returns current figures by name. Call it when somebody looks.

        ``name`` is the service, a dot, and "pool" (figures of :class:`PoolStats`) or "breaker" (how
        many are "closed", "open" and "half_open"). Several sources may have one name: add up their
        figures. There are none once the adapter is gone.
        """

    def traceparent(self) -> str | None:
        """Return the current span, as W3C Trace Context has it, for an event that is published."""

    def handling(self, message: Message) -> None:
        """Take a message before each handler of an event bus that gets it, in its thread."""

    def handled(self, message: Message, outcome: str) -> None:
        """Take the message after that handler. ``outcome`` is "ok" or the error's class name."""


_Observing: TypeAlias = Union[
    Observer, Callable[[Call], object], "Sequence[Observer | Callable[[Call], object]]"
]


def _function_observer(function: Any) -> Observer:
    if isinstance(function, type):
        raise ConfigurationError("observer should be an object, not its class")
    _check_function("observer", function, "a Call", ConfigurationError)
    observer = Observer()
    observer.call = function  # type: ignore[method-assign]
    return observer


class _Observers(Observer):
    """Several observers as one that never raises."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers
        self._failed: set[int] = set()  # ids of those that have raised

    def call(self, call: Call) -> None:
        for observer in self._observers:  # as ``_tell``, which takes longer
            try:
                result: Any = observer.call(call)  # type: ignore[func-returns-value]
                if result is not None:
                    _not_deferred(result)
            except Exception:
                self._note_failure(observer)

    def count(self, service: str, name: str, amount: int = 1) -> None:
        if amount:
            self._tell("count", service, name, amount)

    def watch(self, name: str, source: Callable[[], Mapping[str, float]]) -> None:
        self._tell("watch", name, source)

    def traceparent(self) -> str | None:
        return next(iter(self._tell("traceparent")), None)

    def handling(self, message: Message) -> None:
        self._tell("handling", message)

    def handled(self, message: Message, outcome: str) -> None:
        self._tell("handled", message, outcome)

    def _tell(self, method: str, *arguments: Any) -> list[Any]:
        """Call the method of each observer. Return what they return, without None."""
        found = []
        for observer in self._observers:
            try:
                result = getattr(observer, method)(*arguments)
                if result is not None:
                    found.append(_not_deferred(result))
            except Exception:
                self._note_failure(observer)
        return found

    def _note_failure(self, observer: Observer) -> None:
        if id(observer) not in self._failed:
            self._failed.add(id(observer))
            logger.warning("the observer raised, which is logged once", exc_info=True)


def _observers(observer: _Observing | None) -> _Observers | None:
    """Return what adapters call; None: nobody observes. Raises ConfigurationError."""
    if observer is None or isinstance(observer, _Observers):
        return observer
    given: Any = observer if isinstance(observer, (list, tuple)) else [observer]
    found = [one if isinstance(one, Observer) else _function_observer(one) for one in given]
    return _Observers(found) if found else None


def _count(observer: Observer | None, service: str, name: str, amount: int = 1) -> None:
    if observer is not None:
        observer.count(service, name, amount)


def _watch(observer: Observer | None, service: str, adapter: Any) -> None:
    """Let the observer ask for the adapter's figures. It does not keep the adapter alive."""
    for kind in ("pool", "breaker"):
        source = functools.partial(_figures, weakref.ref(adapter), kind)
        if observer is not None and source():
            observer.watch(f"{service}.{kind}", source)


_BREAKER_STATES = ("closed", "half_open", "open")  # the worst comes last


def _figures(adapter: Callable[[], Any], kind: str) -> Mapping[str, float]:
    found = adapter()
    if kind == "pool":
        stats = vars(found.stats()) if hasattr(found, "stats") else {}
        return {name: value for name, value in stats.items() if value is not None}
    states = [one.state for one in found._breakers().values()] if found is not None else []
    return {state: states.count(state) for state in _BREAKER_STATES if states}


@dataclass(frozen=True, eq=False, repr=False)
class Health(_ByValue):
    """A service's name, its server's name and version, and the seconds of a round trip."""

    service: str
    server: str
    latency: float


@dataclass(frozen=True, eq=False, repr=False)
class PoolStats(_ByValue):
    """Counts of a pool's connections, and of the calls that wait for one.

    ``max_connections`` is None if there is no limit, as in a fake. Two stats are equal if the first
    five are.

    Attributes:
        longest_wait: the longest time that a call has waited for a connection, in seconds.
        opened, closed: connections that were opened and closed so far.
        timed_out: calls that got no connection in time.
    """

    max_connections: int | None
    open: int
    in_use: int
    idle: int
    waiting: int
    longest_wait: float = field(default=0.0, compare=False)
    opened: int = field(default=0, compare=False)
    closed: int = field(default=0, compare=False)
    timed_out: int = field(default=0, compare=False)


_NO_PERIODS: Mapping[CircuitBreaker, int] = types.MappingProxyType({})


class Attempt:
    """One attempt at a call, which a :class:`CallPolicy` makes.

    Args:
        deadline: when the call has to end, in the seconds that ``monotonic`` returns.
        monotonic: that of the policy's clock.

    Attributes:
        deadline: as given.
        sent: the adapter sets it just before it sends the first byte that the service may act on.
        shared: True: the call goes to several servers, and some may not have executed it.
        final: True: do not retry, even if the error is retryable.
        note: data of the adapter for its ``translate``.
    """

    sent = shared = final = _passes = False
    note: Any = None
    #: by breaker: its period when it let the attempt pass
    _periods: Mapping[CircuitBreaker, int] = _NO_PERIODS

    def __init__(self, deadline: float, monotonic: Callable[[], float]) -> None:
        self.deadline = deadline
        self._monotonic = monotonic

    def now(self) -> float:
        """Return the policy clock's monotonic seconds."""
        return self._monotonic()

    def remaining(self) -> float:
        """Return the seconds that are left. Raises TimeoutError if there are none."""
        left = self.deadline - self._monotonic()
        if left <= 0:
            raise TimeoutError("the deadline passed")
        return left

    def _check_breakers(self, node: object = None) -> None:
        """Raise CircuitOpenError if one has opened while the call waited for a connection."""
        for breaker, period in self._periods.items():
            is_open = breaker._until is not None and breaker._period != period
            if is_open and breaker._node in (None, node) and not self._passes:
                raise breaker._refusal()


_fork_aware: weakref.WeakSet[Any] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for owner in list(_fork_aware):
        owner._forget_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


class CircuitBreaker:
    """Refuses calls to a service that does not answer, so that they fail at once.

    It is closed at first. After ``failures`` calls in a row without an answer it opens: calls
    raise CircuitOpenError, and nothing is sent. After ``reset_after`` seconds it is half open: one
    call at a time passes, as a probe. An answer closes the breaker. Without one it stays open for
    another ``reset_after`` seconds.

    Adapters make theirs if their configuration has ``breaker_failures``. For calls of your own, in
    any number of threads and tasks, use ``with breaker:`` or ``breaker.call(fn)``.

    Args:
        failures: how many calls in a row.
        reset_after: in seconds.
        clock: measures them.
        service: the name for errors and logs.
        unanswered: the exceptions that mean that no answer came. Any other one is an answer. Of
            this library's errors, ConnectionError and TimeoutError count if ``retryable``.

    Raises ConfigurationError for an invalid argument.
    """

    _node: Any = None  # the address of the node of a cluster that it is for

    def __init__(
        self,
        failures: int = 5,
        reset_after: float = 30.0,
        *,
        clock: Clock | None = None,
        service: str = "the service",
        unanswered: tuple[type[Exception], ...] = (builtins.ConnectionError, builtins.TimeoutError),
    ) -> None:
        self._failures = _COUNT.require("failures", failures)
        self._reset_after = _WAIT.require("reset_after", reset_after)
        self._service = _TEXT.require("service", service)
        kinds = unanswered if isinstance(unanswered, tuple) else (None,)
        if not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds):
            raise ConfigurationError("unanswered should be a tuple of classes of exceptions")
        self._kinds, self._monotonic = unanswered, _clock(clock).monotonic
        self._count = self._period = 0  # failures in a row; how often it has opened and closed
        self._until: float | None = None  # when the first probe may pass; None: it is closed
        #: the ``with`` blocks that this thread or task is in
        self._entered: contextvars.ContextVar[tuple[Attempt, ...]] = contextvars.ContextVar(
            "infra-breaker", default=()
        )
        self._forget_parent()
        _fork_aware.add(self)

    def _forget_parent(self) -> None:
        self._lock = threading.RLock()  # guards changes; re-entrant, for signal handlers
        #: A weak reference: an interrupted attempt is garbage, and the next may be the probe.
        self._probe: Callable[[], Attempt | None] = lambda: None

    @property
    def state(self) -> str:
        """Return "closed", "open" or "half_open"."""
        if self._until is None:
            return "closed"
        return "open" if self.retry_after else "half_open"

    @property
    def retry_after(self) -> float:
        """Return the seconds until a probe may pass; 0.0 if it is not open."""
        until = self._until  # once: another thread may close it
        left = 0.0 if until is None else until - self._monotonic()
        return left if left > 1e-6 else 0.0  # less is lost when clocks round

    def call(self, fn: Callable[[], T]) -> T:
        """Return the result of ``fn()``. Raises CircuitOpenError instead of calling it."""
        _check_function("fn", fn, "no arguments")
        with self:
            return _not_deferred(fn())

    def __enter__(self) -> CircuitBreaker:
        """Begin a call. Raises CircuitOpenError if the breaker does not let it pass."""
        entered, attempt = self._entered.get(), self._probe()
        # A block in the probe's passes. So does the next if an interrupt has lost the probe's end.
        if attempt is None or attempt not in entered:
            attempt = Attempt(math.inf, self._monotonic)
            self._admit(attempt)
        self._entered.set((*entered, attempt))
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        *outer, attempt = self._entered.get()
        self._entered.set(tuple(outer))
        unanswered: bool | None = isinstance(error, self._kinds)
        if isinstance(error, InfrastructureError):
            unanswered = _is_unanswered(error)
        elif not isinstance(error, Exception | None):
            unanswered = None  # Ctrl-C
        self._settle(attempt, unanswered)

    def _admit(self, attempt: Attempt) -> None:
        """Let an attempt pass, whose result counts in this period. Raises CircuitOpenError."""
        period = self._period
        if self._until is not None and not attempt._passes:
            with self._lock:
                if self._until is not None:
                    if self.retry_after or self._probe() is not None:
                        raise self._refusal()
                    self._probe = weakref.ref(attempt)
                period = self._period
        attempt._periods = {**attempt._periods, self: period}

    def _refusal(self) -> CircuitOpenError:
        left, service = self.retry_after, self._service
        when = f"the next probe is in {left:.3g} s" if left else "a probe is under way"
        message = f"{service} did not answer several times in a row, so nothing was sent: {when}"
        return CircuitOpenError(message, service=service, retry_after=left or 1.0)

    def _settle(self, attempt: Attempt, unanswered: bool | None) -> None:
        if unanswered is False and not self._count and self._until is None:
            return  # the usual case takes no lock
        with self._lock:
            was_open, is_probe = self._until is not None, self._probe() is attempt
            if is_probe:
                self._probe = lambda: None
            # A late result says nothing about the service as it is now.
            if unanswered is None or attempt._periods[self] != self._period:
                return
            self._count = self._count + 1 if unanswered else 0
            if not unanswered:
                changes, self._until = was_open, None
            elif changes := is_probe or (not was_open and self._count >= self._failures):
                self._until = self._monotonic() + self._reset_after
            self._period += changes
        if changes:
            service, outcome = self._service, "open" if unanswered else "closed"
            _warn(service, "breaker", outcome, "the circuit of %s is %s", service, outcome)


#: errors that tell nothing about the service
_UNRELATED = (ConfigurationError, PoolTimeoutError, SerializationError, ValidationError)


def _is_unanswered(error: InfrastructureError) -> bool | None:
    """Return whether no answer came; None if the error tells nothing about the service."""
    is_lost = isinstance(error, (ConnectionError, TimeoutError))
    is_final = is_lost and not error.retryable
    return None if is_final or isinstance(error, _UNRELATED) else is_lost or error._unanswered


def _new_breaker(config: _CallSettings, service: str, clock: Clock) -> CircuitBreaker | None:
    failures, reset = config.breaker_failures, config.breaker_reset
    return CircuitBreaker(failures, reset, clock=clock, service=service) if failures else None


#: operations that a breaker lets pass: a lock's release (it would stay), and the question itself
_UNGUARDED = frozenset({"compare_and_delete", "health_check"})
_ENDLESS = frozenset({"listen", "wait"})  # operations that last as long as the caller wants


class CallPolicy:
    """Run outbound calls with a total deadline, retries, error mapping, a breaker and an observer.

    A call that was not sent is retried. A call that was sent is retried only if its operation is in
    ``repeatable`` or the call is marked as repeatable: repeating any other operation could change
    its result or the data. The pause before attempt n+1 is drawn evenly from 0 to min(backoff_max,
    backoff * 2**(n-1)) seconds ("full jitter").

    Args:
        service: the name for errors, logs and the observer.
        translate: takes an exception and the attempt, and returns the error to raise instead; None
            lets the exception pass through.
        repeatable: the operations that are safe to repeat.
        deadline: the seconds that a call may take, with its retries.
        retries: how often a call is retried at most.
        clock: for the deadline and the pauses.
        observer: see :class:`Observer`.
        backoff, backoff_max: in seconds.
        breaker: counts each attempt, and refuses calls while it is open.
        slow: a call that takes more seconds is logged as a WARNING; 0: none is.
        server: for ``Call.server``.

    Raises ConfigurationError for an invalid argument.
    """

    def __init__(
        self,
        service: str,
        *,
        translate: Callable[[Exception, Attempt], InfrastructureError | None],
        repeatable: frozenset[str],
        deadline: float,
        retries: int,
        clock: Clock,
        observer: _Observing | None = None,
        backoff: float = 0.05,
        backoff_max: float = 1.0,
        breaker: CircuitBreaker | None = None,
        slow: float = 0.0,
        server: str = "",
    ) -> None:
        self._clock = _clock(clock)
        self._monotonic = self._clock.monotonic
        self._observer = _observers(observer)
        _check_function("translate", translate, "an exception and an attempt", ConfigurationError)
        seconds = "backoff and backoff_max should be numbers of seconds"
        rules = {
            "service should be a name": _is_text(service),
            "repeatable should be a set of operations": isinstance(repeatable, (set, frozenset)),
            "retries should be a whole number, 0 or more": _COUNT_OR_0.valid(retries),
            seconds: _SECONDS.valid(backoff) and _SECONDS.valid(backoff_max),
            "breaker should be a CircuitBreaker": isinstance(breaker, CircuitBreaker | None),
            "server should be a host and a port": isinstance(server, str),
        }
        for rule, is_kept in rules.items():
            if not is_kept:
                raise ConfigurationError(rule)
        self.deadline = _SECONDS.require("deadline", deadline)
        self._slow = _SECONDS.require("slow", slow)
        self.service = service
        self.repeatable = repeatable
        self.retries = retries
        self.backoff = backoff
        self.backoff_max = backoff_max
        self._translate = translate
        self.breaker = breaker
        self._server = server

    def until(self) -> float:
        """Return the deadline of a call that starts now, for several ``call``s that share it."""
        return self._monotonic() + self.deadline

    def call(
        self,
        operation: str,
        attempt: Callable[[Attempt], T],
        *,
        retries: int | None = None,
        until: float | None = None,
        repeatable: bool = False,
        unguarded: bool = False,
    ) -> T:
        """Run ``attempt`` until it succeeds, and return its result.

        ``retries`` and ``until`` replace those of the policy. ``repeatable``: a sent call may be
        retried. ``unguarded``: the call passes an open breaker. Raises InfrastructureError for a
        driver's exception; any other passes through.
        """
        monotonic, breaker = self._monotonic, self.breaker
        began = started = monotonic()
        deadline = started + self.deadline if until is None else until
        number, last = 1, None  # the attempt, and the error of the one before
        while True:
            current = Attempt(deadline, monotonic)
            current._passes = unguarded or operation in _UNGUARDED
            try:
                if breaker is not None:
                    breaker._admit(current)
                result = attempt(current)
            except BaseException as exc:
                failure = exc
            else:
                if current._periods is not _NO_PERIODS:
                    self._answered(current)
                if self._observer or self._slow or logger.isEnabledFor(logging.DEBUG):
                    now = monotonic()
                    self._report(operation, "ok", now - started, number)
                    if self._slow:
                        self._log_if_slow(operation, now - began)
                return result
            # Outside the except block, because __context__ would keep the driver's text.
            error = self._error_of(failure, current, operation)
            self._settle(current, failure, error)
            now = monotonic()
            pause = self.pause(number)
            may_repeat = repeatable or operation in self.repeatable or not current.sent
            is_last = (
                not may_repeat
                or current.final
                or number > (self.retries if retries is None else retries)
                or now + pause >= deadline
            )
            if error is not None:
                error = self._more_telling(error, last, current)
                is_last = is_last or not error.retryable
                self._report(operation, type(error).__name__, now - started, number, not is_last)
            if error is None or is_last:
                self._log_if_slow(operation, now - began)
                try:
                    raise failure if error is None else error
                finally:  # the traceback keeps this frame's variables: sockets and results
                    del error, failure, last
            self._log_retry(operation, error, number, pause)
            self._clock.sleep(pause)
            started = monotonic()
            number, last = number + 1, error

    @staticmethod
    def _answered(attempt: Attempt) -> None:
        for breaker in attempt._periods:
            breaker._settle(attempt, False)

    def _run_part(self, attempt: Attempt, work: Callable[[], T]) -> T:
        """Return the result of a part of an attempt.

        If it fails, the breakers know before another call can get what this one holds.
        """
        try:
            return work()
        except Exception as exc:
            failure = exc
        error = self._error_of(failure, attempt, "")
        self._settle(attempt, failure, error)
        attempt._periods = _NO_PERIODS
        try:
            raise failure if error is None else error
        finally:  # the traceback keeps this frame's variables
            del error, failure

    @staticmethod
    def _more_telling(
        error: InfrastructureError, last: InfrastructureError | None, attempt: Attempt
    ) -> InfrastructureError:
        """Return the error, or the previous one if this attempt ran out of time unsent."""
        if last is None:
            return error
        error._sent = error._sent or last._sent
        if isinstance(error, CircuitOpenError):  # another call has opened the breaker meanwhile
            error.__cause__ = last
        is_late = attempt.now() >= attempt.deadline and isinstance(error, TimeoutError)
        return last if is_late and not attempt.sent else error

    def _settle(
        self, attempt: Attempt, failure: BaseException, error: InfrastructureError | None
    ) -> None:
        """Tell the breakers about a failed attempt. One that opens the policy's is not retried."""
        unanswered = None if error is None else _is_unanswered(error)
        if error is failure and isinstance(error, TimeoutError) and not attempt.sent:
            unanswered = None  # the deadline has passed before the service was asked
        for breaker in attempt._periods:
            is_other = breaker._node not in (None, attempt.note)  # a node that may have answered
            breaker._settle(attempt, None if is_other and unanswered else unanswered)
            if unanswered and breaker is self.breaker and breaker._until is not None:
                attempt.final = True

    def _log_if_slow(self, operation: str, seconds: float) -> None:
        if 0 < self._slow < seconds and operation not in _ENDLESS:
            service, message = self.service, "%s %s took %.3f s"
            _warn(service, operation, "slow", message, service, operation, seconds, seconds=seconds)

    def _error_of(
        self, failure: BaseException, attempt: Attempt, operation: str
    ) -> InfrastructureError | None:
        """Return the error that the caller gets, or None if the failure passes through.

        Call it outside the except block: ``_causes`` ignores the exception that is being handled.
        """
        error = None
        if isinstance(failure, InfrastructureError):
            error = failure
        elif isinstance(failure, Exception):
            error = self._translate(failure, attempt)
        self._forget_variables(failure)
        if error is None:
            return None
        if isinstance(error, ConnectionError) and _is_permanent(failure):
            error.retryable = False
        if error is not failure:
            error.__cause__ = _scrubbed(failure)
        error.service = error.service or self.service
        error.operation = error.operation or operation
        error._sent = attempt.sent
        return error

    def _forget_variables(self, failure: BaseException) -> None:
        """Drop the local variables of the functions that failed.

        They hold passwords and signed headers, which error collectors would store.
        """
        import traceback

        for cause in _causes(failure):
            traceback.clear_frames(cause.__traceback__)

    def pause(self, failures: int) -> float:
        """Return the seconds to wait after that many failures in a row."""
        import random

        return random.uniform(0, min(self.backoff_max, self.backoff * 2.0 ** min(failures - 1, 30)))

    def _log_retry(
        self, operation: str, error: InfrastructureError, number: int, pause: float
    ) -> None:
        service, message = self.service, "%s %s: %s, trying again in %.3f s"
        values = service, operation, type(error).__name__, pause
        _warn(service, operation, "retry", message, *values, attempt=number)
        _count(self._observer, service, "retries")

    def _report(
        self, operation: str, outcome: str, seconds: float, number: int, retried: bool = False
    ) -> None:
        call = object.__new__(Call)
        # Half the time of ``Call(…)``: a frozen dataclass sets its fields one by one.
        call.__dict__.update(
            service=self.service,
            operation=operation,
            outcome=outcome,
            seconds=seconds,
            attempt=number,
            retried=retried,
            server=self._server,
        )
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s %s: %s", self.service, operation, outcome, extra=vars(call))
        if self._observer is not None:
            self._observer.call(call)


class _RunPolicy(CallPolicy):
    """The policy of whole transactions.

    Other exceptions than this library's come from the caller's code, and keep their variables for
    the caller's debugger.
    """

    def _forget_variables(self, failure: BaseException) -> None:
        if isinstance(failure, InfrastructureError):
            super()._forget_variables(failure)


def _scrubbed(exc: BaseException) -> BaseException:
    """Remove the text of a driver's exception, which may quote a URL, a key or a whole row.

    The class, a numeric code and the traceback remain. The exception is changed in place where
    possible, because its attributes cannot be copied in general.
    """
    # The text of an errno is the system's own.
    if not (isinstance(exc, OSError) and exc.errno is not None):
        code = [value for value in exc.args[:1] if isinstance(value, int)]
        exc.args = (*code, "[text withheld]")
    # psycopg2's exceptions hold the server's answer with its rows, which cannot be removed.
    if hasattr(exc, "pgcode"):
        bare = type(exc)(*exc.args).with_traceback(exc.__traceback__)
        bare.__setstate__({"pgcode": getattr(exc, "pgcode", None)})
        exc = bare
    exc.__cause__ = exc.__context__ = None
    for name, value in [*vars(exc).items()]:  # repr needs some of the attributes
        if isinstance(value, (str, bytes)):
            vars(exc)[name] = "[text withheld]" if isinstance(value, str) else b""
        elif not isinstance(value, (int, float, enum.Enum, type(None))):
            del vars(exc)[name]
    return exc


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    """Yield the exception and its causes, without the exception that the caller was handling."""
    handled = sys.exc_info()[1]
    while exc is not None and exc is not handled:
        yield exc
        exc = exc.__cause__ or exc.__context__


_OTHER_HOST = "its certificate was refused (it is for another host)"
_SEE_CERTIFICATE = ": see sslcert and sslkey"
_REFUSED_CERTIFICATE = "it refused the client certificate of sslcert"
_REFUSED_HANDSHAKE = (
    f"it refused the handshake, and may want a client certificate{_SEE_CERTIFICATE}"
)
#: The meaning of OpenSSL's reasons and libpq's texts. All need another setting or certificate.
_TLS_REFUSALS = {
    "certificate verify failed": (
        "its certificate was refused (not signed by what sslrootcert names, or expired)"
    ),
    "does not match host name": _OTHER_HOST,
    "root certificate file": (
        "sslmode=verify-full and verify-ca need sslrootcert, the authority's certificate"
    ),
    "private key file": "sslkey should name a file that only its owner may read",
    "does not support SSL": "it offers no TLS",
    "wrong version number": "what answers there is no TLS",
    "valid client certificate|certificate required": (
        f"it wants a client certificate{_SEE_CERTIFICATE}"
    ),
    "alert handshake failure": _REFUSED_HANDSHAKE,
    "alert (unknown ca|(bad |unsupported )?cert)": _REFUSED_CERTIFICATE,
}


def _tls_refusal(exc: BaseException) -> str:
    """Return why TLS fails on every attempt, or ""."""
    for cause in _causes(exc):
        reason = getattr(cause, "verify_message", None)
        if reason is not None:  # ssl's: quotes only the host's name
            return f"its certificate was refused ({reason.rstrip('.')})"
        if type(cause).__name__ == "CertificateError":  # urllib3's: it checks the host itself
            return _OTHER_HOST
        if type(cause).__module__ == "ssl":
            return _tls_words(str(getattr(cause, "reason", "")).replace("_", " "))
    return ""


_NO_TUNNEL = "Tunnel connection failed: "  # the text of http.client
_NO_HTTP = "no HTTP"


def _proxy_refusal(exc: BaseException) -> str:
    """Return the status with which a proxy refused the connection, or ""."""
    for cause in _causes(exc):
        found = re.match(rf"{_NO_TUNNEL}(\d{{3}}|{_NO_HTTP})", str(cause))
        if type(cause) is OSError and found:
            return found[1]
        if type(cause).__name__ == "BadStatusLine" and _was_unsent(cause):
            return _NO_HTTP
    return ""


def _is_permanent(exc: BaseException) -> bool:
    """Return whether only another setting helps."""
    return bool(_tls_refusal(exc)) or _proxy_refusal(exc)[:1] not in ("", "5")


def _tls_words(text: str) -> str:
    found = (words for reason, words in _TLS_REFUSALS.items() if re.search(reason, text, re.I))
    return next(found, "")


def _is_cut(exc: BaseException) -> bool:
    """Return whether http.client has received a part of an answer."""
    classes = map(type, _causes(exc))
    names = [cause.__name__ for cause in classes if cause.__module__ == "http.client"]
    return bool(names) and "RemoteDisconnected" not in names


def _os_reason(exc: BaseException, *, has_sslcert: bool = False) -> str:
    """Return the system's text for the first OSError in the chain of causes, or "".

    Drivers wrap such an error without its number. ``has_sslcert``: whether the service has settings
    for a client certificate.
    """
    if status := _proxy_refusal(exc):
        return f": the proxy of HTTPS_PROXY refuses the connection ({status})"
    if refusal := _tls_refusal(exc):
        if not has_sslcert:
            refusal = _REFUSED_HANDSHAKE if refusal == _REFUSED_CERTIFICATE else refusal
            refusal = refusal.replace(_SEE_CERTIFICATE, ", for which there is no setting")
        return f": {refusal}"
    for cause in _causes(exc):
        if isinstance(cause, socket.gaierror):
            return ": host name not found"
        if type(cause).__module__ == "ssl":
            return f": no TLS connection ({getattr(cause, 'reason', None) or type(cause).__name__})"
        if isinstance(cause, builtins.TimeoutError) and "handshake" in str(cause):
            return ": it is silent to a TLS handshake, as a port without TLS may be"
        if isinstance(cause, OSError) and cause.errno:
            return f": {os.strerror(cause.errno)}"
    return ""


#: the attempt whose deadline bounds the answer that a connection of ``_whole_answers`` waits for
_answer_attempt: contextvars.ContextVar[Attempt | None] = contextvars.ContextVar(
    "_answer_attempt", default=None
)


def _was_unsent(exc: BaseException) -> bool:
    """Return whether a connection of ``_whole_answers`` failed before it sent its request."""
    return any(hasattr(cause, "_before_request") for cause in _causes(exc))


def _start_thread(target: Callable[[], None], name: str) -> threading.Thread | None:
    """Start a daemon thread. None: Python shuts down, when 3.12 and later start no thread."""
    thread = threading.Thread(target=target, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        if "interpreter shutdown" not in str(error):
            raise
        return None
    return thread


def _twin_socket(original: Any) -> socket.socket:
    """Return another socket object for the same connection, without its TLS layer.

    Raises OSError if the original is closed.
    """
    return socket.socket(fileno=os.dup(original.fileno()))


def _wake_waiter(waiter: threading.Lock) -> None:
    with contextlib.suppress(RuntimeError):  # it is awake already
        waiter.release()


class _WatchedSocket:
    """An object with a socket's ``fileno``, and the seconds that a server has for its answer."""

    expired = False  # True: the watchdog has shut the socket down

    def __init__(self, raw: Any, patience: float = 0.0) -> None:
        self.raw = raw
        self.patience = patience


class _Watchdog:
    """One daemon thread that shuts down a socket when its read deadline has passed.

    psycopg2 waits in C without a read timeout. That of http.client restarts with each byte.
    ``watch`` and ``unwatch`` take no lock: single operations of a dict are atomic.
    """

    def __init__(self) -> None:
        self._forget_parent()
        _fork_aware.add(self)

    def _forget_parent(self) -> None:
        self._due: dict[_WatchedSocket, float] = {}
        self._wakes_at = math.inf
        self._thread: threading.Thread | None = None
        # Plain locks: an interrupt inside a Condition, which is Python code, would leave it locked.
        self._changed = threading.Lock()  # released to wake the thread
        self._changed.acquire()
        self._shutting = threading.RLock()  # held while sockets are shut down

    def watch(self, watched: _WatchedSocket) -> None:
        due = SystemClock.monotonic() + watched.patience
        self._due[watched] = due
        if due < self._wakes_at:
            thread = self._thread
            if thread is None or not thread.is_alive():  # a second thread does no harm
                # If there is none, the server's own timeouts remain.
                self._thread = _start_thread(self._run, "infra-watchdog")
            _wake_waiter(self._changed)

    def unwatch(self, watched: _WatchedSocket) -> None:
        if self._due.pop(watched, None) is None:
            # The socket is being shut down: its owner must not close the descriptor now.
            with self._shutting:
                pass

    def _run(self) -> None:
        while True:
            self._wakes_at = math.inf  # a ``watch`` during the loop releases the lock
            now = SystemClock.monotonic()
            for watched, due in list(self._due.items()):
                if due <= now:
                    self._shut(watched)
            self._wakes_at = wakes_at = min(list(self._due.values()), default=math.inf)
            left = wakes_at - SystemClock.monotonic()
            self._changed.acquire(timeout=-1 if left == math.inf else max(0.0, left))

    def _shut(self, watched: _WatchedSocket) -> None:
        with self._shutting:
            if self._due.pop(watched, None) is None:
                return
            watched.expired = True
            with contextlib.suppress(Exception), _twin_socket(watched.raw) as twin:
                twin.shutdown(socket.SHUT_RDWR)


_watchdog = _Watchdog()


class _ErrorRule(NamedTuple):
    """How to report a driver's error: as an ``error_class`` that says "<server> <message>"."""

    error_class: type[InfrastructureError]
    message: str
    retryable: bool = False
    may_have_acted: bool = True  # the server may have executed what was sent
    constraint_kind: str | None = None  # the ``kind`` of a ConflictError
    #: the server accepts no writes; a new connection may reach one that does
    read_only: bool = False


_no_connection = functools.partial(_ErrorRule, ConnectionError, may_have_acted=False)
_outage = functools.partial(_no_connection, retryable=True)
_refusal = functools.partial(_ErrorRule, DatabaseError)
_NO_ANSWER = _ErrorRule(TimeoutError, "did not answer in time", retryable=True)


def _find_rule(rules: Mapping[Any, T], keys: Iterable[Any]) -> T | None:
    """Return the rule of the first of ``keys``: codes, or the classes of an exception (__mro__)."""
    return next((rules[key] for key in keys if key in rules), None)


# === sockets ======================================================================================


def _is_file(value: Any, method: str, *, binary: bool) -> bool:
    """Return whether the value is an open file, or a similar object, with that method."""
    other = io.TextIOBase if binary else (io.RawIOBase, io.BufferedIOBase)
    usable = callable(getattr(value, method, None))
    return usable and not isinstance(value, (type, other))


def _import_driver(module: str, package: str, needed_by: str) -> Any:
    """Import a driver. Raises ConfigurationError, which names the pip package."""
    try:
        return importlib.import_module(module)
    except Exception as exc:
        remedy = "needs a package that is not installed: pip install"
        if not isinstance(exc, ImportError):  # one of its files is damaged or has another version
            remedy = f"cannot import {module} ({type(exc).__name__}): pip install --force-reinstall"
        raise ConfigurationError(f"{needed_by} {remedy} '{package}'") from exc


def _path(path: str | os.PathLike[str]) -> Path:
    """Return it as a Path. Only here pathlib is imported: it takes 6 % of ``import infra``."""
    from pathlib import Path

    return Path(path)


def _check_path(name: str, path: Any) -> str:
    """Return the path as text.

    Numbers are refused: ``open`` would take one for a file descriptor, and close it later.
    """
    text = _plain(os.fspath(path)) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConfigurationError(f"{name} should be the path of a file, as text or as a Path")
    return text


def _check_readable(name: str, path: str) -> None:
    _check_path(name, path)
    try:
        open(path, "rb").close()
    except (OSError, UnicodeEncodeError) as exc:
        why = getattr(exc, "strerror", "") or "its name is no text of this system"
        raise ConfigurationError(f"{name} should name a readable PEM file: {why}") from exc


def _tls_context(options: Mapping[str, str], mode: str, authority: str = "sslrootcert") -> Any:
    """Return an ``SSLContext`` for options with libpq's names.

    See https://www.postgresql.org/docs/current/libpq-ssl.html. ``authority`` is the name of
    sslrootcert in messages.
    """
    import ssl

    files = {name: options[name] for name in _TLS_FILES if options.get(name, "system") != "system"}
    for name, path in files.items():
        _check_readable(authority if name == "sslrootcert" else name, path)
    at_fault = authority
    # As in libpq, a given authority verifies the server in every mode.
    verified = mode in ("verify-ca", "verify-full") or "sslrootcert" in options
    try:
        if verified:
            context = ssl.create_default_context(cafile=files.get("sslrootcert"))
            context.check_hostname = mode == "verify-full"
        else:
            context = _unverified_context()
        if "sslrootcert" in files:
            # The certificates that MySQL generates do not follow RFC 5280 strictly.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if "sslcert" in options:
            at_fault = "sslcert and sslkey"
            # Without a password, OpenSSL would ask for the one of an encrypted key at the terminal.
            context.load_cert_chain(options["sslcert"], options.get("sslkey"), password="")
    except OSError as exc:
        raise ConfigurationError(
            f"{at_fault} should name PEM files that fit, without a password"
        ) from exc
    return context


def _unverified_context() -> Any:
    """Return an ``SSLContext`` that accepts any certificate.

    It does not load the system's authorities, which takes 50 ms (measured with OpenSSL 3).
    """
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _open_socket(
    host: str, port: int, attempt: Attempt, longest: float = math.inf
) -> socket.socket:
    """Open a TCP connection within the deadline, ``longest`` seconds for each address."""
    failure = OSError("no address")
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for number, (family, socket_type, protocol, _, address) in enumerate(addresses, 1):
        raw = None
        share = 1 if number == len(addresses) else 2  # half of the time is for later addresses
        timeout = min(longest, attempt.remaining() / share)
        try:
            raw = socket.socket(family, socket_type, protocol)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            raw.settimeout(timeout)
            raw.connect(address)
            return raw
        except BaseException as exc:
            if raw is not None:
                raw.close()
            if not isinstance(exc, OSError):
                raise
            failure = exc
    raise failure


class _WholeLines(io.BufferedReader):
    """The bytes of an answer. Raises ``IncompleteRead`` if the stream ends within a line.

    http.client takes the end of the stream for the end of the headers, or of a chunked body.
    """

    _begun = False

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        if not line.endswith(b"\n") and len(line) != size and (line or self._begun):
            import http.client

            raise http.client.IncompleteRead(line)
        self._begun = True
        return line


def _whole_answer(response_class: Any, *arguments: Any, **options: Any) -> Any:
    answer = response_class(*arguments, **options)
    answer.fp = _WholeLines(answer.fp.detach())  # nothing was read yet
    return answer


class _WholeAnswers:
    """A mixin for HTTP connections, such as http.client's, that raise if an answer is cut."""

    response_class: Any
    sock: Any

    def connect(self) -> None:
        parent: Any = super()
        try:
            parent.connect()
        except Exception as exc:
            exc._before_request = True  # type: ignore[attr-defined]  # see _was_unsent
            raise

    def send(self, data: Any) -> None:
        """Send the data. Raises BrokenPipeError if the server has closed the connection.

        After that error urllib3 reads the answer, in which the server may say why.
        """
        import ssl

        parent: Any = super()
        try:
            parent.send(data)
        except ssl.SSLEOFError as exc:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from exc

    def getresponse(self) -> Any:
        parent: Any = super()
        attempt, usual = _answer_attempt.get(), self.response_class
        if attempt is not None:
            # The time to connect and to send counts too.
            self.timeout = max(0.001, attempt.deadline - attempt.now())
            self.sock.settimeout(self.timeout)
        self.response_class = functools.partial(_whole_answer, usual)
        try:
            return parent.getresponse()
        finally:
            self.response_class = usual


@functools.lru_cache(8)
def _whole_answers(connection: Any) -> Any:
    return type("WholeAnswers", (_WholeAnswers, connection), {})


def _closed(what: str, **details: Any) -> ConnectionError:
    return ConnectionError(f"{what} is closed", retryable=False, **details)


def _close_all(services: Iterable[Any]) -> None:
    """Close those that can be closed, the last one first, even if one raises."""
    with contextlib.ExitStack() as stack:
        for service in services:
            if callable(close := getattr(service, "close", None)):
                stack.callback(close)


class _Slot(Generic[T]):
    """The right to one resource of a pool, and the resource once it is open.

    A slot is in the pool's idle list or in one caller's lease. If an interrupt (an exception from
    a signal handler) loses it, the pool, which counts live slots, has room for another.
    """

    __slots__ = ("__weakref__", "era", "resources")

    def __init__(self, era: object) -> None:
        self.era = era  # differs in a forked child, whose pool does not take the slot back
        self.resources: list[T] = []  # none or one


class _Lease(list[_Slot[T]]):
    """One caller's claim on a pool: a list of no slot at first, then of one.

    It exists before the caller takes a slot: ``release`` finds the slot in it after Ctrl-C.
    """

    #: held until the pool wakes the waiter; an Event is not safe to interrupt
    signal: threading.Lock | None = None

    __eq__ = object.__eq__  # the queue holds each waiter, also if all of them are empty

    @property
    def resource(self) -> T | None:
        return self[0].resources[0] if self and self[0].resources else None


@dataclass(eq=False, repr=False)
class _Pool(Generic[T]):
    """A pool of at most ``max_size`` resources. The one that was returned last is lent first.

    The caller makes sure that an interrupt loses nothing: two nested ``finally`` blocks call
    ``release``. The outer one, with ``broken=True``, has an effect only if an interrupt ended the
    inner one.

    The pool has no lock, because an interrupt could leave it locked. Each change is one atomic
    operation of a list or deque. One expression moves a slot, so it never has two owners.

    No waiter is lost: a thread that returns a resource checks the queue afterwards, and a waiter
    that joins the queue checks for a free slot afterwards. If an interrupt has lost a slot, a
    waiter notices within a second. Waiters are served first come, first served: a new caller takes
    an idle resource only if the queue is empty, and only the first waiter may take one.

    After a fork the child starts with an empty pool: the sockets belong to the parent.
    """

    name: str
    max_size: int
    connect: Callable[[Attempt], T]
    disconnect: Callable[[T], None]
    is_dead: Callable[[T], bool]
    #: whether an idle resource may be closed; the last ``keep`` always stay
    is_stale: Callable[[T], bool] = lambda resource: False
    keep: int = 0

    LOOK_AGAIN = 1.0  # seconds
    closed = False

    def __post_init__(self) -> None:
        self._reset()
        _fork_aware.add(self)

    def _reset(self) -> None:
        self._slots: list[weakref.ref[_Slot[T]]] = []
        self._idle: list[_Slot[T]] = []
        #: The waiters in order of arrival. An interrupted one that does not leave is garbage.
        self._queue: deque[weakref.ref[_Lease[T]]] = deque()
        self._history = types.SimpleNamespace(longest_wait=0.0, opened=0, closed=0, timed_out=0)

    def _forget_parent(self) -> None:
        idle = self._idle
        self._reset()
        for slot in idle:
            self.disconnect(slot.resources[0])  # must close only this process's descriptor

    @property
    def size(self) -> int:
        """Return how many resources are open or being opened."""
        return min(len(self._slots), self.max_size)

    def check_open(self) -> None:
        if self.closed:
            raise _closed(self.name)

    def take(self, lease: _Lease[T]) -> T | None:
        """Put an idle resource into ``lease`` and return it; None: call ``acquire``."""
        if self._queue:
            return None
        try:
            lease.append(self._idle.pop())  # from here on the lease owns the slot
        except IndexError:  # nothing is idle
            return None
        resource = lease[0].resources[0]
        if not self.is_dead(resource):
            return resource
        self._close(lease[0])
        return None

    def _close(self, slot: _Slot[T]) -> None:
        if slot.resources:
            self.disconnect(slot.resources.pop())
            self._history.closed += 1

    def acquire(self, lease: _Lease[T], attempt: Attempt) -> T:
        """Put a live resource into ``lease`` and return it.

        Raises PoolTimeoutError at the deadline, and any exception of ``connect``.
        """
        resource = None if lease else self.take(lease)
        if resource is not None:
            return resource
        if not lease:
            self._wait(lease, attempt)
        slot = lease[0]
        if slot.resources and not self.is_dead(slot.resources[0]):
            return slot.resources[0]
        return self.renew(lease, attempt)

    def renew(self, lease: _Lease[T], attempt: Attempt) -> T:
        slot = lease[0]
        self._close(slot)
        slot.resources.append(self.connect(attempt))
        self._history.opened += 1
        return slot.resources[0]

    def _wait(self, lease: _Lease[T], attempt: Attempt) -> None:
        self.check_open()
        if not self._queue and self._open(lease):
            return
        started = SystemClock.monotonic()
        until = started + attempt.remaining()
        lease.signal = signal = threading.Lock()
        signal.acquire()
        self._queue.append(weakref.ref(lease, self._queue.remove))
        try:
            while not self._serve(lease):
                left = until - SystemClock.monotonic()
                if left <= 0:
                    self._history.timed_out += 1
                    raise PoolTimeoutError(
                        f"{self.name}: no connection became free: {self.size} of {self.max_size} "
                        "in use"
                    )
                signal.acquire(timeout=min(left, self.LOOK_AGAIN))
        finally:
            self._leave_queue(lease)
            waited = SystemClock.monotonic() - started
            self._history.longest_wait = max(waited, self._history.longest_wait)

    def _serve(self, lease: _Lease[T]) -> bool:
        """Give a waiter a slot if it is the first in the queue and a slot is free."""
        self.check_open()
        # The queue is empty in a child that was forked meanwhile.
        if not self._queue or self._queue[0]() is not lease:
            return False
        try:
            lease.append(self._idle.pop())  # from here on the lease owns the slot
        except IndexError:
            return self._open(lease)
        return True

    def _open(self, lease: _Lease[T]) -> bool:
        """Give ``lease`` a new slot if there are fewer than ``max_size``.

        If several threads do so at once, the first ``max_size`` in the list of slots succeed.
        """
        slots = self._slots
        lease.append(_Slot(slots))
        slots.append(weakref.ref(lease[0], slots.remove))
        if slots.index(weakref.ref(lease[0])) < self.max_size:
            return True
        self._drop(lease)
        self._wake()  # a waiter may have counted this slot
        return False

    def _wake(self) -> None:
        if self._idle or len(self._slots) < self.max_size:
            self._wake_at(0)

    def _wake_at(self, index: int) -> None:
        with contextlib.suppress(IndexError):  # waiters have left
            waiter = self._queue[index]()
            if waiter is not None and waiter.signal is not None:
                _wake_waiter(waiter.signal)

    def _leave_queue(self, lease: _Lease[T]) -> None:
        with contextlib.suppress(ValueError):  # it has left already
            self._queue.remove(weakref.ref(lease))
        if self._queue:
            self._wake()

    def release(self, lease: _Lease[T], broken: bool = False) -> None:
        """Return the resource in ``lease`` to the pool. A second call does nothing.

        A broken resource is closed, and the next waiter may open one.
        """
        if lease:
            slot = lease[0]
            if broken or not slot.resources or slot.era is not self._slots:
                self._close(slot)
                self._drop(lease)
            else:
                self._idle.append(lease.pop())  # from here on the pool owns the slot
            if self.closed or len(self._slots) > self.keep:
                self._tidy()
        if self._queue:
            if lease.signal is not None:
                self._leave_queue(lease)
            else:
                self._wake()

    def _drop(self, lease: _Lease[T]) -> None:
        with contextlib.suppress(ValueError):  # it is from before a fork, or was removed already
            self._slots.remove(weakref.ref(lease[0]))
        lease.clear()

    def _tidy(self) -> None:
        """Close the resource that was idle longest if it is stale; all if the pool is closed."""
        lease: _Lease[T] = _Lease()
        while True:
            try:
                if not self.closed and not self.is_stale(self._idle[0].resources[0]):
                    return
                lease.append(self._idle.pop(0))
                self._close(lease[0])
            except IndexError:  # nothing is idle, or another thread was faster
                return
            finally:
                if lease:
                    self._drop(lease)
            if not self.closed:
                return

    def stats(self) -> PoolStats:
        size, idle = self.size, len(self._idle)
        current = size, max(0, size - idle), idle, len(self._queue)
        return PoolStats(self.max_size, *current, **vars(self._history))

    def close(self) -> None:
        self.closed = True
        for index in range(len(self._queue)):
            self._wake_at(index)
        self._tidy()


def _interrupt_again() -> None:
    """Send the main thread a second Ctrl-C: the first hit a destructor, which swallowed it."""
    import signal

    main = threading.main_thread().ident
    assert main is not None
    while _is_in_destructor(sys._current_frames().get(main)):
        time.sleep(0.001)
    if callable(signal.getsignal(signal.SIGINT)):
        signal.pthread_kill(main, signal.SIGINT)


def _is_in_destructor(frame: Any) -> bool:
    while frame is not None:
        if frame.f_code is _Closeable.__del__.__code__:
            return True
        frame = frame.f_back
    return False


class _FakeOnlyAttribute:
    """An attribute ``down`` that raises AttributeError on real adapters.

    A test that sets it there by mistake would test nothing. Subclasses in other modules may have an
    attribute of that name.
    """

    def __get__(self, instance: object, owner: type) -> Any:
        if instance is not None and "down" in vars(instance):
            return vars(instance)["down"]
        raise self._refused(owner)

    def __set__(self, instance: object, value: object) -> None:
        if type(instance).__module__ == __name__:
            raise self._refused(type(instance))
        vars(instance)["down"] = value

    def _refused(self, owner: type) -> AttributeError:
        return AttributeError(
            f"{owner.__name__} has no attribute 'down': set it on a fake, such as "
            "FakeRedisClient or the redis of a FakeInfrastructure; a real server has to be stopped"
        )


class _Closeable(ABC):
    """A base class with ``close`` and ``with``. A forgotten ``close`` gives a ResourceWarning."""

    if not TYPE_CHECKING:  # a type checker reports the missing attribute itself
        down = _FakeOnlyAttribute()

    @abstractmethod
    def close(self) -> None:
        """Release sockets and threads. A second call does nothing."""

    def _holds(self) -> bool:
        """Return whether there is something to close."""
        return False

    def _breakers(self) -> Mapping[str, CircuitBreaker]:
        """Return the circuit breakers, by the name of the part that each is for, or ""."""
        breaker = getattr(getattr(self, "_policy", None), "breaker", None)
        return {} if breaker is None else {"": breaker}

    def __enter__(self: T) -> T:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            self._close_forgotten()
        except KeyboardInterrupt:
            if threading.current_thread() is not threading.main_thread():
                raise
            threading.Thread(target=_interrupt_again, daemon=True).start()

    def _close_forgotten(self) -> None:
        try:
            forgotten = self._holds()
        except AttributeError:  # the constructor failed
            return
        if forgotten:
            warnings.warn(
                f"{type(self).__name__} was not closed", ResourceWarning, source=self, stacklevel=2
            )
            self.close()


# === database =====================================================================================


_Row: TypeAlias = tuple[Any, ...]
_Names: TypeAlias = Sequence[str]  # of columns
_Key: TypeAlias = tuple[Any, ...]  # of a table
_Columns: TypeAlias = Sequence[Sequence[Any]]
_Converter: TypeAlias = Callable[[Any], Any]
_Fetch: TypeAlias = Callable[[Any], T]  # reads a cursor
#: a dataclass that rows are made into
_Into = TypeVar("_Into", bound="DataclassInstance")


class _SignalPipe:
    """A socket pair for ``signal.set_wakeup_fd`` and a daemon thread that reads it.

    Python writes a signal's number to the socket at once. The signal's handler runs later, in the
    main thread. The thread reads a socket because gevent turns the thread into a coroutine:
    reading a pipe would block the others.
    """

    def __init__(self) -> None:
        import signal

        self.set_wakeup_fd = signal.set_wakeup_fd
        self.previous = -1  # the program's own wakeup descriptor; it receives the bytes too
        self.running: list[_Session] = []  # those that the main thread waits for, innermost last
        self.lock = threading.Lock()  # held while a session is being stopped
        self.reader, self.writer = socket.socketpair()
        self.reader.settimeout(None)
        self.writer.settimeout(0)
        self.descriptor = self.writer.fileno()

    def close(self) -> None:
        """Close both ends. Only for a pipe that has no reader."""
        self.reader.close()
        self.writer.close()

    def run(self) -> None:
        import signal

        while numbers := self.reader.recv(64):
            if self.previous >= 0:
                with contextlib.suppress(OSError):
                    os.write(self.previous, numbers)
            # The program's own handler may want the statement to go on.
            is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
            if is_default and signal.SIGINT in numbers:
                self._stop()
        self.reader.close()

    def _stop(self) -> None:
        with self.lock:
            try:
                session = self.running.pop()
            except IndexError:  # the statement has ended
                return
            session.interrupted = True
            try:
                twin = _twin_socket(session.raw)
            except Exception:  # the connection has just ended
                return
        threading.Thread(target=_cancel, args=(session.raw, twin), daemon=True).start()

    def drop(self) -> None:
        """End the reader thread. Bytes that it has not read yet no longer stop a session."""
        self.running.clear()
        current = self.set_wakeup_fd(-1)
        if current != self.descriptor:
            self.set_wakeup_fd(current)
        self.writer.close()


def _cancel(raw: Any, twin: socket.socket) -> None:
    """Cancel a statement of psycopg2, then shut down its socket, which ``twin`` duplicates."""
    with twin, contextlib.suppress(Exception):
        due = SystemClock.monotonic() + 0.3
        if _is_responsive(twin):
            raw.cancel()
            time.sleep(max(0.0, due - SystemClock.monotonic()))
        twin.shutdown(socket.SHUT_RDWR)  # ends the wait even if the server ignores the cancel


def _is_responsive(twin: socket.socket) -> bool:
    """Return whether Postgres replies to an SSLRequest within 0.2 seconds.

    If the server hangs, ``cancel()`` would block every thread: psycopg2 holds Python's GIL.
    """
    try:
        with socket.socket(twin.family, socket.SOCK_STREAM) as probe:
            probe.settimeout(0.2)
            probe.connect(twin.getpeername())
            probe.sendall(b"\0\0\0\x08\x04\xd2\x16\x2f")  # SSLRequest
            return probe.recv(1) in (b"S", b"N")
    except OSError:
        return False


class _Interrupts:
    """Lets Ctrl-C stop a statement of psycopg2 in the main thread. psycopg2 waits in C."""

    def __init__(self) -> None:
        self._pipe: _SignalPipe | None = None
        self._forget_parent()
        _fork_aware.add(self)

    def _forget_parent(self) -> None:
        pipe, self._pipe = self._pipe, None
        self._main = threading.main_thread().ident
        if pipe is not None:
            pipe.drop()
            pipe.reader.close()

    def _open(self) -> _SignalPipe | None:
        pipe = _SignalPipe()
        try:
            pipe.set_wakeup_fd(pipe.set_wakeup_fd(-1))
            if _start_thread(pipe.run, "infra-interrupts") is not None:
                self._pipe = pipe
                return pipe
        except ValueError:  # this is not Python's main interpreter
            self._main = None
        except RuntimeError:
            pipe.close()
            raise
        pipe.close()
        return None

    def call(self, session: _Session, work: Callable[..., Any], sql: str, data: Any) -> None:
        """Run ``work``. Ctrl-C stops the session, which cannot be used afterwards."""
        is_main = threading.get_ident() == self._main
        pipe = (self._pipe or self._open()) if is_main else None
        if pipe is None:
            work(sql, data)
            return
        running, set_wakeup_fd = pipe.running, pipe.set_wakeup_fd
        nested, previous, was_raised = bool(running), pipe.previous, session.interrupted
        try:
            try:
                running.append(session)
                previous = set_wakeup_fd(pipe.descriptor)
                if previous != pipe.descriptor:
                    pipe.previous = previous
                work(sql, data)
            finally:
                try:
                    set_wakeup_fd(previous)
                except (OSError, ValueError):  # the program has closed it
                    set_wakeup_fd(-1)
        except Exception:
            raise
        except BaseException:
            was_raised = True
            if not nested:  # the signal's byte may still arrive: use another pipe next time
                self._pipe = None
                pipe.drop()
            raise
        finally:
            try:
                running.remove(session)
            except ValueError:
                with pipe.lock:  # wait for _stop: the caller may close the connection afterwards
                    pass
            # psycopg2 swallows the handler's KeyboardInterrupt if it comes while rows are decoded.
            if session.interrupted and not was_raised:
                raise KeyboardInterrupt from None


_interrupts = _Interrupts()


def _interruptibly(work: Callable[[], T]) -> T:
    """Run ``work``. The main thread runs it in a helper thread, so that Ctrl-C ends the wait."""
    if threading.current_thread() is not threading.main_thread():
        return work()
    from concurrent.futures import Future

    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as failure:
            outcome.set_exception(failure)

    if _start_thread(run, "infra-connect") is None:
        return work()
    return outcome.result()


def _this_task() -> object:
    """Return the asyncio task that runs in this thread, or None."""
    current_task = getattr(sys.modules.get("asyncio"), "current_task", None)
    if current_task is None:  # asyncio is not imported
        return None
    try:
        return current_task()
    except RuntimeError:  # this thread has no event loop
        return None


class _Block:
    """An open transaction, with the depth of its nested blocks and the error that doomed it.

    It belongs to the thread and asyncio task that began it. A copied context carries it to other
    threads (``asyncio.to_thread``) and tasks (``create_task``), so both are compared.
    """

    def __init__(self) -> None:
        self.depth = 0  # 0: not begun, or over
        self.lost = 0  # nested blocks that ended in another thread or task
        self.doom: InfrastructureError | None = None
        self.doom_depth = 0  # the end of the block at this depth lifts the doom
        self.handle: Any = None  # the backend's connection
        self.thread = threading.get_ident()
        self.task: Any = _this_task()
        self.on_done: Callable[[object], None] | None = None  # a done callback of the task
        self.guards: dict[int, Any] = {}  # weak references to _Transactions that are not left yet

    def is_ours(self) -> bool:
        return self.thread == threading.get_ident() and self.task is _this_task()


class _OpenBlocks:
    """The open blocks of one thread. They are rolled back when the thread ends."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._databases: dict[_Block, _Transactions] = {}

    def add(self, block: _Block, database: _Transactions) -> None:
        if self._process != os.getpid():  # a forked child: these blocks are the parent's
            self._process, self._databases = os.getpid(), {}
        self._databases[block] = database

    def discard(self, block: _Block) -> None:
        self._databases.pop(block, None)

    def __del__(self) -> None:
        # In a forked child the parent's other threads end too, and their locks stay held.
        if sys.is_finalizing() or self._process != os.getpid():
            return
        for block, database in list(self._databases.items()):
            database._reclaim(block)


class _ThisThread(threading.local):
    def __init__(self) -> None:
        self.open = _OpenBlocks()


_thread_local = _ThisThread()


class _Exit:
    """A descriptor for ``__exit__`` that sets ``_leaves``.

    A ``with`` statement looks up ``__exit__`` before it calls ``__enter__``. A direct call of
    ``__enter__`` does not, and its caller may drop the object.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self._function
        instance._leaves = True
        return self._function.__get__(instance)


class _Transaction:
    """The context manager that ``Database.transaction`` returns.

    Ctrl-C can interrupt ``__exit__`` before its first step. Then the callback of the block's weak
    reference to this object ends the block.
    """

    def __init__(self, database: _Transactions) -> None:
        self._database = database
        self._leaves = False  # a ``with`` statement holds this object: see _Exit

    def __enter__(self) -> None:
        database = self._database
        # The block exists before the transaction begins: an interrupt cannot lose it.
        block = self._block = database._current() or _Block()
        depth = block.depth
        try:
            database._enter(block)
            self._depth = block.depth
            if self._leaves:
                guard = functools.partial(database._end_interrupted_block, block)
                block.guards[id(self)] = weakref.ref(self, guard)
        except BaseException:
            block.guards.pop(id(self), None)
            if not depth:
                database._finish(block)
            elif block.depth:  # the transaction is not over
                block.depth = depth
            raise

    @_Exit
    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        database, block, innermost = self._database, self._block, True
        try:
            block.guards.pop(id(self), None)
            innermost = block is database._own_block() and block.depth == self._depth
            if innermost:
                database._leave(block, error)
        except BaseException as caught:  # Ctrl-C may have interrupted _leave
            block.guards.pop(id(self), None)
            if innermost and self._depth == 1:
                database._finish(block)
            elif innermost and not isinstance(caught, InfrastructureError):
                block.depth = self._depth - 1
                interrupted = DatabaseError("the end of a nested block was interrupted")
                database._doom(block, interrupted, outermost=True)
            raise
        if not innermost:
            database._leave_out_of_order(block, error)


_NAME_SHAPE = "[A-Za-z_][A-Za-z0-9_]{0,62}"
_NAME = _lazy(_NAME_SHAPE)
_TABLE_NAME = _lazy(rf"({_NAME_SHAPE}\.)?{_NAME_SHAPE}")
# A statement that begins or ends a transaction. MySQL executes the text in /*! */.
_TRANSACTION = _lazy(
    r"(?i)(?:/\*M?!\d*\s*)?(?:begin(?!\s+not\b)|start\s+transaction|commit|end|abort"
    r"|prepare\s+transaction|rollback(?!\s+(?:(?:work|transaction)\s+)?to\b))\b"
)
# The largest batch of insert_many: rows, and bytes of their text.
_BATCH_ROWS, _BATCH_BYTES = 25_000, 1 << 23


class _Transactions(_Closeable):
    """The rules of transactions, for every backend. The outermost block has depth 1."""

    engine: str

    def __init__(self) -> None:
        self._forget_parent()

    def _forget_parent(self) -> None:
        #: The block of each thread, asyncio task and greenlet (PEP 567). It may be over, or of
        #: another task.
        self._blocks: contextvars.ContextVar[_Block | None] = contextvars.ContextVar(
            "infra-block", default=None
        )

    def _own_block(self) -> _Block | None:
        block = self._blocks.get()
        return block if block is not None and block.depth and block.is_ours() else None

    def _current(self) -> _Block | None:
        """Return the caller's open block. Raises DatabaseError in that of another task."""
        block = self._blocks.get()
        if block is None or not block.depth:
            return None
        if not block.is_ours():
            raise self._database_error(
                "transaction",
                "this code was started inside a transaction() that another task or thread began, "
                "and cannot take part: run the whole block in one task and thread, or start this "
                "after its end",
            )
        return block

    def _database_error(self, operation: str, message: str, **details: Any) -> DatabaseError:
        return DatabaseError(message, service=self.engine, operation=operation, **details)

    def _outside(self, operation: str, reason: str) -> None:
        """Raise DatabaseError inside a transaction."""
        if self._current() is not None:
            raise self._database_error(operation, f"{operation} {reason}: call it outside")

    def _enter(self, block: _Block) -> None:
        if block.depth:
            self._check(block)
            self._savepoint(block, "SAVEPOINT")
            block.depth += 1
            return
        self._begin(block)
        block.depth = 1
        self._blocks.set(block)
        _thread_local.open.add(block, self)
        if block.task is not None:
            block.on_done = functools.partial(self._task_done, block)
            block.task.add_done_callback(block.on_done)

    def _leave(self, block: _Block, error: BaseException | None) -> None:
        depth, doom = block.depth, block.doom
        succeeded = error is None and doom is None
        try:
            if depth == 1:
                self._end(block, "COMMIT" if succeeded else "ROLLBACK")
            elif doom is None or block.doom_depth >= depth:
                block.doom = None
                block.depth -= 1
                command = "RELEASE SAVEPOINT" if succeeded else "ROLLBACK TO SAVEPOINT"
                self._savepoint(block, command)
        except InfrastructureError:
            # A failed rollback closed the connection, so the server rolls back: report the cause.
            if succeeded:
                raise
        finally:
            if depth == 1:
                self._finish(block)
            else:
                block.depth = depth - 1
        if error is None and doom is not None:
            self._refuse(doom, "was rolled back")

    def _leave_out_of_order(self, block: _Block, error: BaseException | None) -> None:
        """End a block in a forked child, in another thread or task, or before an inner block."""
        earlier = block.doom
        if block.depth:
            out_of_order = DatabaseError("its blocks did not end in the reverse order")
            self._doom(block, out_of_order, outermost=True)
            if block is self._own_block():
                block.depth -= 1
                if not block.depth:
                    self._drop(block)
            else:
                block.lost += 1  # the owner's next statement ends the transaction
        if error is not None:
            return
        if earlier is not None:
            self._refuse(earlier, "was rolled back")
        raise DatabaseError(
            "this transaction is not the innermost one of this thread", service=self.engine
        )

    def _end_interrupted_block(self, block: _Block, _: object) -> None:
        if not sys.is_finalizing():
            self._leave_out_of_order(block, DatabaseError("the end of a block was interrupted"))

    def _drop(self, block: _Block) -> None:
        """Roll back a doomed transaction whose blocks have all ended, out of order."""
        try:
            self._end(block, "ROLLBACK")
        except InfrastructureError:
            pass  # the connection was closed, so the server rolls back
        finally:
            self._finish(block)

    def _finish(self, block: _Block) -> None:
        """Forget a block that is over, and release its connection. Idempotent."""
        block.depth = 0
        if self._blocks.get() is block:  # in copied contexts the block's depth of 0 counts
            self._blocks.set(None)
        _thread_local.open.discard(block)
        on_done, block.on_done = block.on_done, None
        if on_done is not None:
            block.task.remove_done_callback(on_done)
        self._abandon(block)

    def _task_done(self, block: _Block, task: object) -> None:
        _thread_local.open.discard(block)
        self._reclaim(block)

    def _reclaim(self, block: _Block) -> None:
        """Roll back a transaction whose thread or task has ended inside it."""
        if block.depth:
            block.depth = 0
            self._abandon(block)

    def _check(self, block: _Block) -> None:
        if block.doom is not None:
            if block.lost >= block.depth:
                self._drop(block)
            self._refuse(
                block.doom, "cannot go on: let this exception leave its block, or begin again"
            )

    def _refuse(self, doom: InfrastructureError, outcome: str) -> NoReturn:
        reason = f"{type(doom).__name__}: {doom}"
        message = f"the transaction {outcome}, because of an earlier {reason}"
        raise self._database_error("transaction", message, retryable=False) from doom

    def _doom(self, block: _Block, error: InfrastructureError, *, outermost: bool) -> None:
        """Doom the block if this error of a statement that the server received ends it.

        ``outermost``: the session or the whole transaction is lost.
        """
        retry = isinstance(error, DatabaseError) and error.retryable
        if outermost or (retry and self.engine == "mysql"):
            block.doom, block.doom_depth = error, 1
        elif self.engine == "postgres" and block.doom is None:
            block.doom, block.doom_depth = error, block.depth

    @abstractmethod
    def _begin(self, block: _Block) -> None: ...
    @abstractmethod
    def _end(self, block: _Block, command: str) -> None: ...
    @abstractmethod
    def _savepoint(self, block: _Block, command: str) -> None: ...
    @abstractmethod
    def _abandon(self, block: _Block) -> None: ...


class Database(_Transactions):
    """SQL, transactions and bulk inserts: the interface that domain code and repositories use.

    Outside ``transaction()`` each call commits by itself. Threads may share a Database.

    SQL has the placeholders ``%s`` (params: a list or tuple) or ``%(name)s`` (a dict), and ``%%``
    for a percent sign if there are params. Parameters are None, bool, int, float, Decimal, str,
    bytes, aware datetimes, dates, times, timedeltas, UUIDs, a dict for a JSON document, a tuple for
    ``IN %s``, and on Postgres a list for an array, naive datetimes for TIMESTAMP, and ranges.
    ValidationError names a parameter that the engine does not take. Rows are tuples. Datetimes are
    aware, in UTC, except for Postgres's TIMESTAMP. A ``FakeDatabase`` runs no SQL:
    ``execute``, ``fetch_one``, ``fetch_all`` and ``stream`` raise ConfigurationError.

    A transaction belongs to the thread, and under asyncio to the task, that began it; others have
    their own. In a task created inside the block, or a function that ``asyncio.to_thread`` runs,
    calls raise DatabaseError while the block is open. If a thread or task ends inside a block, the
    transaction is rolled back.

    All methods raise ConnectionError, TimeoutError, PoolTimeoutError, ConflictError (a violated
    constraint) and DatabaseError (any other refusal; ``retryable`` after a deadlock, a
    serialization failure or a lock timeout).

    Attributes:
        engine: "mysql" (MariaDB too) or "postgres".
    """

    #: the class of the repositories on this backend
    _backend: ClassVar[type]
    #: the base classes of those that ``Repository.on`` returns
    _bases_on: ClassVar[tuple[type, ...]]

    def __init__(self, clock: Clock, deadline: float, observer: _Observing | None = None) -> None:
        """Take what a backend has: its clock, the seconds of a ``run``, and an observer of it.

        Raises ConfigurationError for an invalid argument.
        """
        super().__init__()
        self._clock = clock
        self._observer: Observer | None = _observers(observer)
        self._runs = _RunPolicy(
            self.engine,
            translate=lambda *_: None,
            repeatable=frozenset({"run"}),
            deadline=deadline,
            retries=5,
            clock=clock,
            observer=self._observer,
        )

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        """Return a context manager that commits at its end, and rolls back if it raises.

        A block inside a block is a savepoint. The isolation level is READ COMMITTED.

        An error may end the transaction on the server. Then every further statement in the block
        raises DatabaseError without reaching the server, and so does leaving the block normally.
        After a deadlock, a lost connection or an implicit commit (DDL on MySQL), this lasts until
        the outermost block ends. After other errors it lasts on Postgres until the innermost block
        ends; MySQL continues the transaction.
        """
        return _Transaction(self)  # pyright: ignore[reportReturnType]  # it ignores _Exit.__get__

    def run(self, fn: Callable[[], T], *, conflicts: bool = False) -> T:
        """Run ``fn()`` in a transaction and return its result.

        After a retryable DatabaseError (deadlock, serialization failure, lock timeout) it runs
        again, up to five times and within the database's total deadline (``acquire_timeout`` of a
        pool): ``fn`` should have no effects outside the database. Inside a transaction it runs
        once, in a savepoint: only the outermost block can be repeated.

        ``conflicts``: it also runs again, at once and up to a thousand times, after a ConflictError
        of ``<table>_as_read``: another caller has changed a record in the meantime. ``fn`` has to
        read the record itself.
        """
        _check_function("fn", fn, "no arguments")
        _FLAG.check("conflicts", conflicts)
        if self._current() is not None:
            with self.transaction():
                return _not_deferred(fn())

        def attempt(current: Attempt) -> T:
            try:
                with self.transaction():
                    return _not_deferred(fn())
            except InfrastructureError as error:
                current.final = not isinstance(error, DatabaseError)
                raise

        until = self._runs.until()
        for _ in range(1000 if conflicts else 0):
            try:
                return self._runs.call("run", attempt, until=until)
            except ConflictError as error:
                is_stale_read = (error.constraint or "").endswith("_as_read")
                if not is_stale_read or self._clock.monotonic() >= until:
                    raise
        return self._runs.call("run", attempt, until=until)

    def execute(self, sql: str, params: Any = None) -> int:
        """Run one statement and return how many rows it affected (UPDATE: how many it matched).

        Changes by SET, USE and LOCK TABLES last until the end of the transaction block. Outside a
        block they end with the statement, because its connection is closed; docs/databases.md lists
        all such statements. Temporary tables stay, and so do settings that a function changes in a
        SELECT. The server rounds and converts values to fit their columns; ``insert_many`` does
        not.
        """
        return self._statement("execute", _check_sql(sql), params, _row_count)

    @overload
    def fetch_one(
        self, sql: str, params: Any = None, *, into: None = None
    ) -> tuple[Any, ...] | None: ...
    @overload
    def fetch_one(
        self, sql: str, params: Any = None, *, into: type[dict[str, Any]]
    ) -> dict[str, Any] | None: ...
    @overload
    def fetch_one(self, sql: str, params: Any = None, *, into: type[_Into]) -> _Into | None: ...
    def fetch_one(self, sql: str, params: Any = None, *, into: type[Any] | None = None) -> Any:
        """Return the first row, or None if there is none. ``into``: see ``fetch_all``."""
        sql = _check_sql(sql)
        if into is None:
            return self._statement("fetch_one", sql, params, _first_row)
        _check_into(into)
        names, rows = self._statement("fetch_one", sql, params, _first_named_row)
        return next(self._made("fetch_one", into, names, rows), None)

    @overload
    def fetch_all(
        self, sql: str, params: Any = None, *, into: None = None
    ) -> list[tuple[Any, ...]]: ...
    @overload
    def fetch_all(
        self, sql: str, params: Any = None, *, into: type[dict[str, Any]]
    ) -> list[dict[str, Any]]: ...
    @overload
    def fetch_all(self, sql: str, params: Any = None, *, into: type[_Into]) -> list[_Into]: ...
    def fetch_all(
        self, sql: str, params: Any = None, *, into: type[Any] | None = None
    ) -> list[Any]:
        """Return all rows, in memory. Use ``stream`` for many rows.

        ``into``: None for tuples, ``dict``, or a dataclass, which is called with the columns by
        name. The values are those of the tuples: a dataclass converts none.

        Raises SerializationError after the statement has run if two columns have the same name, the
        dataclass does not take a column, or it needs one that the statement does not return. The
        message names the column. In a transaction the statement can be rolled back.
        """
        sql = _check_sql(sql)
        if into is None:
            return self._statement("fetch_all", sql, params, _all_rows)
        _check_into(into)
        names, rows = self._statement("fetch_all", sql, params, _named_rows)
        return [*self._made("fetch_all", into, names, rows)]

    @overload
    def stream(
        self, sql: str, params: Any = None, batch_size: int = 1000, *, into: None = None
    ) -> Iterator[tuple[Any, ...]]: ...
    @overload
    def stream(
        self, sql: str, params: Any = None, batch_size: int = 1000, *, into: type[dict[str, Any]]
    ) -> Iterator[dict[str, Any]]: ...
    @overload
    def stream(
        self, sql: str, params: Any = None, batch_size: int = 1000, *, into: type[_Into]
    ) -> Iterator[_Into]: ...
    def stream(
        self, sql: str, params: Any = None, batch_size: int = 1000, *, into: type[Any] | None = None
    ) -> Iterator[Any]:
        """Yield the rows of a query, and hold ``batch_size`` of them in memory at a time.

        ``into``: see ``fetch_all``; the error of a wrong column comes before the first row.

        It uses a connection of the pool until the iterator ends or is closed, without
        ``query_timeout``. Raises TimeoutError after ``idle_timeout`` seconds of silence, and
        DatabaseError inside this thread's transaction, which it would not see.
        """
        _COUNT.check("batch_size", batch_size)
        self._outside("stream", "uses a connection of its own, so it cannot see this transaction")
        if into is not None:
            _check_into(into)
        return self._rows_streamed(_check_sql(sql), params, batch_size, into)

    def insert_many(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
        """Insert all rows or none, and return their number. Far faster than single INSERTs.

        ``rows`` is read in batches, each before the connection is used, so a generator may query
        the same database. ``query_timeout`` does not apply.

        Each batch is checked against the column types in the server's catalogue before its first
        row is sent. Values may be text, bool, int, float, Decimal, bytes, aware datetimes, dates,
        times, timedeltas, UUIDs, a dict or list for a document (not its JSON text), and any value
        that ``fetch_*`` and ``stream`` return. Only REAL and MySQL's FLOAT round a value.

        Raises ValidationError for a name that is not a plain identifier, a row of the wrong length
        or a value of the wrong type, SerializationError for a document that is not JSON, and
        DatabaseError for a value beyond the column's size or scale. The message names the column.
        """
        operation = "insert_many"
        table, names = self._labelled(operation, self._target, table, columns)
        if not names or isinstance(rows, (str, bytes)) or not isinstance(rows, Iterable):
            message = "insert_many needs columns, and rows to read"
            raise ValidationError(message, service=self.engine, operation=operation)
        source, count = iter(rows), 0
        # A small batch first: its size in bytes decides how many rows the next ones have.
        batch = list(itertools.islice(source, _BATCH_ROWS // 25))
        if batch:
            with self.transaction(), self._unlimited():
                types = self._column_types(table, names)
                while batch:
                    fitted = self._labelled(operation, self._fitted, names, types, batch)
                    size = self._insert_rows(table, names, fitted)
                    count += len(batch)
                    fitting = _BATCH_BYTES * len(batch) // (size or 1)
                    batch = list(itertools.islice(source, max(1, min(_BATCH_ROWS, fitting))))
        return count

    @staticmethod
    def _target(table: str, columns: Sequence[str]) -> tuple[str, list[str]]:
        """Check the names of ``insert_many``."""
        table, names = _plain(table), [*map(_plain, _check_many("columns", columns))]
        are_texts = all(isinstance(name, str) for name in (table, *names))
        if not (are_texts and _TABLE_NAME.fullmatch(table) and all(map(_NAME.fullmatch, names))):
            raise ValidationError(
                "table and columns should be plain identifiers: letters, digits, underscores"
            )
        if len(set(names)) != len(names):
            raise ValidationError("columns should differ")
        return table, names

    @staticmethod
    def _fitted(
        names: _Names, types: Sequence[_ColumnType], rows: Sequence[Sequence[Any]]
    ) -> list[Sequence[Any]]:
        """Return the rows by columns, each value as its column stores it."""
        for row_type in set(map(type, rows)):
            if not issubclass(row_type, Sequence) or issubclass(row_type, (str, bytes)):
                raise ValidationError(
                    "each row should be a tuple or list of values, in the order of columns"
                )
        if set(map(len, rows)) != {len(names)}:
            raise ValidationError(f"each row should have {len(names)} values, one for each column")
        return [*map(_fitted_column, names, types, zip(*rows))]

    def _labelled(self, operation: str, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function whose errors lack the service and the operation."""
        try:
            return function(*arguments)
        except InfrastructureError as error:
            error.service, error.operation = self.engine, operation
            raise

    @abstractmethod
    def health_check(self) -> Health:
        """Ask the server for its version."""

    @abstractmethod
    def stats(self) -> PoolStats:
        """Return the current figures of the pool, without a call to the server."""

    def _unlimited(self) -> contextlib.AbstractContextManager[None]:
        """Suspend ``query_timeout`` for this thread's transaction."""
        return contextlib.nullcontext()

    @abstractmethod
    def _statement(
        self, operation: str, sql: str, params: Any, fetch: _Fetch[T], *, repeatable: bool = False
    ) -> T:
        """Run a statement and return what ``fetch`` reads from its cursor."""

    @abstractmethod
    def _rows_streamed(
        self, sql: str, params: Any, batch_size: int, into: type[Any] | None
    ) -> Iterator[Any]:
        """Yield the rows of a query. The arguments are checked, except the parameters."""

    def _made(
        self, operation: str, into: Any, names: _Names, rows: Iterable[_Row]
    ) -> Iterator[Any]:
        """Return an iterator over the rows as what ``into`` asks for.

        The dataclass is called outside the call policy: its exceptions belong to the caller.
        """
        if not names:
            return iter(())  # the statement returns no rows
        return map(self._labelled(operation, _row_maker, into, tuple(names)), rows)

    @abstractmethod
    def _column_types(self, table: str, names: _Names) -> Sequence[_ColumnType]:
        """Return the columns' types. Raises DatabaseError if the table or a column is missing."""

    @abstractmethod
    def _insert_rows(self, table: str, names: _Names, columns: _Columns) -> int:
        """Insert the rows, given as columns, and return the number of bytes of their text."""

    # For data moves

    @abstractmethod
    def _rows_of(self, table: str) -> _TableRows: ...
    @abstractmethod
    def _make_table(self, port: Any, statement: Callable[[], str]) -> None:
        """Create a repository's table if it does not exist. ``statement`` returns the SQL."""

    @contextlib.contextmanager
    def _locked(
        self, lock: str, lock_timeout: float
    ) -> Iterator[Callable[[Callable[[], T]], Future[T]]]:
        """Hold the lock of that name. Yield a function that runs work in a thread of its own.

        That thread's transactions run on the connection that holds the lock. The end of the block
        waits for the work. After Ctrl-C it cuts the connection if that takes ``_LAST_WAIT``.
        Raises TimeoutError if another runner keeps the lock for ``lock_timeout`` seconds.
        """
        from concurrent.futures import ThreadPoolExecutor

        with self._lock(lock, lock_timeout) as (context, unlock, cut):
            worker, timer = ThreadPoolExecutor(1, "infra-move"), threading.Timer(_LAST_WAIT, cut)
            timer.daemon = True

            def run(work: Callable[[], T]) -> Future[T]:
                return worker.submit(context.run, work)

            try:
                yield run
            except Exception:
                raise
            except BaseException:
                timer.start()
                raise
            finally:
                worker.submit(unlock)  # there, because another Ctrl-C may end this wait
                worker.shutdown()
                timer.cancel()

    @abstractmethod
    def _lock(
        self, lock: str, lock_timeout: float
    ) -> contextlib.AbstractContextManager[
        tuple[contextvars.Context, Callable[[], object], Callable[[], object]]
    ]:
        """Hold a lock. Yield a context whose transactions run on its connection.

        And two functions: one unlocks, one cuts the connection.
        """

    def _is_held(self, lock_timeout: float, holder: str = "") -> TimeoutError:
        return TimeoutError(
            f"another runner{holder} holds the lock for more than {lock_timeout:g} s",
            service=self.engine,
            operation="move",
            retryable=False,
        )

    def _check_constraints(self) -> None:
        """Check deferred constraints now instead of at COMMIT. Called inside a transaction."""


_LAST_WAIT = 5.0  # seconds that a batch has to end after Ctrl-C


def _check_database(database: Any) -> Database:
    if not isinstance(database, Database):
        raise ConfigurationError("database should be a ConnectionPool or a FakeDatabase")
    return database


class _TableShape(NamedTuple):
    """The columns and the primary key of a table, for data moves."""

    columns: Mapping[str, _ColumnType]  # in the table's order
    key: tuple[str, ...]  # the columns of the primary key
    nullable: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()  # an INSERT may omit them
    computed: frozenset[str] = frozenset()  # the server computes them: an INSERT must omit them
    #: by column: see ``_Catalogue.converter``
    readings: Mapping[str, _Converter | None] = {}
    unordered: frozenset[str] = frozenset()  # a page cannot start after one of their values
    transactional: bool = True
    #: by column: the type and the default as the catalogue writes them
    texts: Mapping[str, Sequence[Any]] = {}


class _Portion(NamedTuple):
    """Rows of a table that follow a key, in the order of the primary key."""

    rows: Sequence[Any]  # tuples, or dicts
    keys: Sequence[_Key]
    #: the key behind which the next portion begins; None: there is no row
    until: _Key | None
    last: bool
    size: int = 0
    #: the rows as the server has written them, instead of rows and keys
    rendered: bytes | None = None
    #: the key behind which such a portion begins
    after: Sequence[Any] | None = None
    #: by column: its values, and their texts if the server has written them
    columns: Mapping[str, tuple[Sequence[Any], Sequence[str]]] = {}
    #: set by the source of a move: the names of the key, and where the next portion begins
    key_names: _Names = ()
    position: Any = None

    def key(self, at: int) -> str:
        return _key_words(self.key_names, self.keys[at])


def _key_words(names: _Names, values: Sequence[Any]) -> str:
    """Return a key for a message: "id=7"."""
    return ", ".join(f"{name}={value}" for name, value in zip(names, values))


def _portion(rows: Sequence[Any], keys: Sequence[_Key], limit: int, **more: Any) -> _Portion:
    until = keys[-1] if keys else None
    return _Portion(rows, keys, until, len(rows) < limit, len(rows), **more)


class _TableRows(ABC):
    """Reads and writes the rows of one table, for data moves."""

    @abstractmethod
    def shape(self) -> _TableShape:
        """Read the shape from the catalogue. Raises DatabaseError if there is no such table."""

    @abstractmethod
    def count(self) -> int: ...

    @abstractmethod
    def page(self, names: _Names, after: Sequence[Any] | None, limit: int) -> _Portion:
        """Return the next ``limit`` rows."""

    @abstractmethod
    def find(self, names: _Names, keys: Sequence[_Key]) -> dict[_Key, _Row]:
        """Return the rows with these primary keys, by the key as given."""

    @abstractmethod
    def update(self, names: _Names, rows: Sequence[tuple[_Key, Sequence[Any]]]) -> None:
        """Set these columns of the rows with these primary keys. Called inside a transaction."""

    @abstractmethod
    def pass_ids(self) -> None:
        """Make the server's next generated id greater than every id in the table."""

    def indexes(self) -> Sequence[_Row]:
        """Return the SQL that drops and makes each index. See ``_Catalogue.indexes``."""
        return ()

    def alter(self, statements: Iterable[str]) -> None:
        """Execute statements on a connection of their own, without a limit of time."""
        raise NotImplementedError  # a fake has no indexes


# The first word of a marker or of a misspelt marker. A misspelt word counts only if the whole line
# matches _MARKER_SHAPE.
_MARKER_WORD = _lazy(
    r"[mM](?<!\w[mM])[iIgG][a-zA-Z]{2,10}(?:(?=[^\w\n\r]{0,9}_?[0-9])|(?<=-- migration)(?= ))"
)
_MARKER_WORDS = ("migration", "migrations", "migrate")
# No part can match the first character of the next one, so the time is not exponential.
_MARKER_END = r"[^\w\n\r]*(?=[\n\r]|\Z)"
_MARKER_SHAPE = _lazy(
    r"(?i)[a-z]+[^\w\n\r]{0,9}_?[0-9]+(?:[^\w\n\r]{1,99}|_)\w[\w-]{0,99}(?<=\w)[^\w\n\r]{1,99}"
    r"(?:mysql|mariadb|postgres(?:ql)?)(?:[^\w\n\r]{1,99}no\W?transaction)?" + _MARKER_END
)
# "migrate 2 columns" is prose; "migrate 2" and "migration 2 users" are misspelt markers.
_MARKER_SHORT = _lazy(
    r"(?i)(?:migrations?[^\w\n\r]{0,9}_?[0-9]+(?:(?:[^\w\n\r]{1,99}|_)\w[\w-]{0,99}(?<=\w))?"
    r"|migrate[^\w\n\r]{0,9}_?[0-9]+(?:[ \t]{0,9}[:.)_-][ \t]{0,9}\w{1,100})?)" + _MARKER_END
)
#: the start of a line, or of a comment behind a statement, with the signs before the marker's word
_MARKER_START = _lazy(r"(?:(\A|[\n\r])|;[ \t]*(?=--|\#|//|/\*))([^\w\n\r]*)\Z")


def _next_marker(text: str, at: int) -> int:
    """Return the position of the next marker, correct or misspelt, or the end of the text."""
    for found in _MARKER_WORD.finditer(text, at):
        place = _marker_place(text, found.start(), found[0].lower())
        if place >= at:
            return place
    return len(text)


def _marker_place(text: str, at: int, word: str) -> int:
    """Return where the marker begins whose ``word`` is at that position, or -1 if it is prose."""
    opening = _MARKER_START.search(text[max(0, at - 100) : at])
    if opening is None:
        return -1
    start = at - len(opening[2])
    signs = opening[2] if opening[1] is not None else ""
    if signs == "-- " and text.startswith("migration ", at):
        return start
    is_comment = re.fullmatch(r"(?!/\*)[^'\"`(),=]+", signs.strip(" \t\ufeff"))
    if is_comment and _MARKER_SHORT.match(text, at):
        return start
    if not _MARKER_SHAPE.match(text, at):
        return -1
    from difflib import get_close_matches

    return start if get_close_matches(word, _MARKER_WORDS, 1, 0.7) else -1


#: ASCII characters that a Postgres name cannot hold; it may hold a dollar sign
_SIGNS = r"\0-#%-/:-@\[-\^`{-\x7f"
#: the name between the signs of a dollar quote
_TAG_NAME = rf"(?:(?![0-9])[^{_SIGNS}$]+)?"
# The patterns of statements end with their repeated group, so they never backtrack. Repetitions
# take memory: their number is limited, and the callers loop.
_EMPTY_STATEMENTS = _lazy(r"[\s;]*;")


def _quoted(quote: str, escapes: bool | None) -> str:
    """Return a pattern for a quoted string. It reads a doubled quote as two adjacent strings.

    ``escapes``: whether a backslash escapes. None: a string with a backslash does not match.
    """
    if escapes:
        return rf"{quote}[^{quote}\\]*(?:\\.[^{quote}\\]*){{0,50}}{quote}"
    return rf"{quote}[^{quote}]*{quote}" if escapes is False else rf"{quote}[^{quote}\\]*{quote}"


@functools.cache
def _repeated(*alternatives: str) -> _Scanner:
    return re.compile(f"(?:{'|'.join(filter(None, alternatives))}){{0,2000}}", re.DOTALL)


#: a pattern that matches at every position, so that ``match`` never returns None
_Scanner: TypeAlias = Any
#: whether a backslash escapes in single quotes, and in double quotes; None: unknown
_Escapes = tuple[bool | None, bool | None]


class _Script(ABC):
    """Splits a script into its statements, from position ``at`` on.

    Patterns pass over simple text in long steps. Where they stop, ``_pass_special`` goes on.

    ``strict``: the script is a migration file. A marker ends it, and ``at`` is then the marker's
    position. Commands of a client program raise ValidationError.
    ``breaks``: in this file a lone carriage return ends a line, and so a comment.
    ``escapes``: those at the start, if they are not the server's default.
    """

    #: the first characters of comments and of client commands
    comment_signs: ClassVar[str]
    #: a pattern for the statements that ``_examine`` has to see; it begins with a set, for speed
    words: ClassVar[re.Pattern[str]]
    default_escapes: ClassVar[_Escapes]
    #: the server's setting that decides it
    setting: ClassVar[str]
    #: the message for a command of the engine's client program
    command_advice: ClassVar[str]

    def __init__(
        self,
        sql: str,
        at: int = 0,
        *,
        strict: bool = False,
        breaks: bool = False,
        escapes: _Escapes | None = None,
    ) -> None:
        self.sql = sql
        self.at = at
        self._strict = strict
        self._breaks = breaks
        self._find_limit(at)
        self._broken: list[int] = []  # carriage returns that end a comment
        #: by MySQL's user variables, which may hold a saved sql_mode
        self._saved: dict[str, _Escapes] = {}
        self._settle(0, escapes or self.default_escapes)

    @staticmethod
    @functools.cache
    @abstractmethod
    def patterns(escapes: _Escapes, strict: bool, breaks: bool) -> tuple[_Scanner, _Scanner]:
        """Return a pattern for the space before a statement, and one for the statement."""

    @abstractmethod
    def _pass_comment(self, at: int) -> int:
        """Return the end of the comment that begins at ``at``, or ``at`` if none does."""

    @abstractmethod
    def _examine(self, first: int, end: int) -> int:
        """Examine a statement that has one of ``words`` in it, and return its real end."""

    def spans(self) -> Iterator[tuple[int, int]]:
        """Yield the start and end of each statement. Comments before it belong to it."""
        sql = self.sql
        word = self._find_word(self.at)
        while True:
            first = self._blank.match(sql, self.at, self._limit).end()
            if not sql[first : first + 1].isalpha():
                first = self.first_word()
            end = self._pass_body(first)
            if word < end:
                end = self._examine(first, end)
                word = self._find_word(end)
            if first < end:
                yield self.at, end
            self._broken.clear()
            self.at = end
            if end == self._limit:
                return
            found = _EMPTY_STATEMENTS.match(sql, end, self._limit) if first == end else None
            self.at = found.end() if found else end + 1

    def settle_after(self, sql: str) -> _Escapes:
        """Read ``sql`` as the next statement, and return where backslashes escape in it.

        If that is unknown, they do not.
        """
        single, double = self._escapes
        self.sql, self.at = sql, 0
        self._find_limit(0)
        for _ in self.spans():
            pass
        return bool(single), bool(double)

    def skip_literal(self, found: re.Match[str]) -> tuple[str, int]:
        """Return what replaces a string, comment or quoted name in a statement's code, and its end.

        One that is never closed ends with the text.
        """
        opened, at = found[0], found.start()
        if "!" in opened:  # MySQL executes the text in /*! */
            return " ", found.end()
        try:
            end = self._pass_special(at)
        except ValidationError:
            end = len(self.sql)
        if opened[0] in "/-#":
            return " ", end
        # Double quotes without escapes may be a name of ANSI_QUOTES.
        is_name = opened == "`" or (opened == '"' and not self._escapes[1])
        return self.sql[at:end] if is_name else "''", end

    def text(self, start: int, end: int) -> str:
        """Return a statement as it is sent. Carriage returns that end a comment become newlines."""
        starts = [start, *(at + 1 for at in self._broken)]
        parts = [self.sql[at:to] for at, to in zip(starts, [*self._broken, end])]
        return "\n".join(parts).strip()

    def _find_limit(self, at: int) -> None:
        self._limit = _next_marker(self.sql, at) if self._strict else len(self.sql)

    def _find_word(self, at: int) -> int:
        found = self.words.search(self.sql, at)
        return found.start() if found else len(self.sql)

    def first_word(self) -> int:
        """Return where the statement's first word begins, after space and comments."""
        at = self.at
        while True:
            end: int = self._blank.match(self.sql, at, self._limit).end()
            if end < self._limit and self.sql[end] in self.comment_signs:
                end = self._pass_comment(end)
                if end > self._limit:
                    self._find_limit(end)
            if end == at:
                return end
            at = end

    def _pass_body(self, at: int) -> int:
        sql = self.sql
        while True:
            at = self._body.match(sql, at, self._limit).end()
            if at == self._limit or sql[at] == ";":
                return at
            at = self._pass_special(at)
            if at > self._limit:
                self._find_limit(at)

    def _pass_special(self, at: int) -> int:
        """Return the end of the string, name or comment that stopped the statement's pattern.

        If only the limit of repetitions stopped it, return ``at``.
        """
        character = self.sql[at]
        if character in "'\"":
            return self._pass_quoted(at, self._escapes["'\"".index(character)])
        if self._strict and character == "\ufeff":
            self._refuse(at, "the byte order mark", "is no SQL: only a file may begin with one")
        if self._strict and character == "\\":
            self._refuse(at, _COMMAND.match(self.sql, at)[0], self.command_advice)
        return self._pass_comment(at)

    def _pass_quoted(self, at: int, escapes: bool | None) -> int:
        sql, quote, end = self.sql, self.sql[at], at + 1
        if escapes is None and (found := re.compile(rf"[^{quote}\\]*\\").match(sql, end)):
            reason = f"escapes, because of line {_line(sql, self._settled_at)}"
            advice = f"give {self.setting} a plain value there"
            what = "it is not known whether the backslash"
            self._refuse(found.end(), what, f"{reason}: {advice}")
        if escapes:
            inside = _repeated(rf"[^{quote}\\]+", r"\\.", quote * 2)
            while (further := inside.match(sql, end).end()) > end:
                end = further
        return self._after(quote, end, at)

    def _after(self, mark: str, at: int, opened: int) -> int:
        """Return the end of the next ``mark``, which closes what is open since ``opened``."""
        found = self.sql.find(mark, at)
        if found < 0:
            self._refuse_open(opened)
        return found + len(mark)

    def _refuse_open(self, opened: int) -> NoReturn:
        self._refuse(opened, "a quote or comment that opens", "is never closed")

    def _settle(self, at: int, escapes: _Escapes) -> None:
        """Use ``escapes`` from now on. ``at``: the statement that sets them."""
        self._settled_at = at  # for errors
        self._escapes = escapes
        self._blank, self._body = self.patterns(escapes, self._strict, self._breaks)

    def _refuse(self, at: int, what: str, advice: str) -> NoReturn:
        raise ValidationError(f"{what} in line {_line(self.sql, at)} {advice}")


_COMMAND: _Scanner = _lazy(r"\\[A-Za-z!?.;]?[a-z_]{0,30}")


class _MySqlScript(_Script):
    """The syntax of MySQL and MariaDB. They execute the text in /*! */, so it is read as code.

    MySQL reads /*M! */ as a comment. mariadb-dump writes version 999999, which no server has.
    """

    comment_signs = "/-#"
    words = _lazy("[sSgGdD](?i:ql_mode|ql_log_b|tid_[ps]|elimi)")
    default_escapes = (True, True)
    setting = "sql_mode"
    command_advice = (
        "is a command of the mysql client, not SQL: leave it out, and end statements with a "
        "semicolon"
    )
    #: MariaDB's SET STATEMENT is excluded: it applies only to the statement that follows it
    head = _lazy(r"(?i)(?:/\*M?!\d*\s*)?(DELIMITER|SET(?!\s+STATEMENT))\b")
    replication = _lazy(r"(?i)\b(gtid_purged|gtid_slave_pos|sql_log_bin)`?\s{0,99}:?=")
    assignment = _lazy(
        r"(?i)(?:\b(global|persist(?:_only)?)\s{1,99})?"
        r"(@{0,2}(?:\w{1,64}\s{0,9}\.\s{0,9})?`?\w{1,64}`?)\s{0,99}:?=\s{0,99}"
        r"('[^']*'|\"[^\"]*\"|@{0,2}[\w.]{1,99}|)"
    )
    #: modes that include ANSI_QUOTES
    ansi = frozenset(["ANSI", "ANSI_QUOTES", "DB2", "MAXDB", "MSSQL", "ORACLE", "POSTGRESQL"])
    executable = _lazy(r"/\*M?!(?!999999)")
    line_comment = r"(?:\#|--(?=[\0- \x7f]|\Z))"
    whole_comment = line_comment + r"[^\n]*"
    #: whether the quotes in executable comments are closed
    _reads_inside = True

    @staticmethod
    @functools.cache
    def patterns(escapes: _Escapes, strict: bool, breaks: bool) -> tuple[_Scanner, _Scanner]:
        comment = "" if breaks else _MySqlScript.whole_comment
        blank = _repeated(r"\s+", comment, r"/\*(?!M?!(?!999999)).*?\*/")
        stops = r";\\\ufeff" if strict else ";"
        return blank, _MySqlScript._body_pattern(escapes, breaks, stops)

    @staticmethod
    def _body_pattern(escapes: _Escapes, breaks: bool, stops: str) -> _Scanner:
        return _repeated(
            rf"[^'\"`#/\-{stops}]+",
            _quoted("'", escapes[0]),
            _quoted('"', escapes[1]),
            "`[^`]*`",
            r"\\N|\*(?!/)",  # for ``stops`` with a backslash or a star
            "" if breaks else _MySqlScript.whole_comment,
            r"-(?!-(?:[\0- \x7f]|\Z))",
            r"/(?:(?!\*)|\*(?:(?!M?!(?!999999)).*?|M?![^*/'\"`#;\\\-]*)\*/)",
        )

    def _pass_comment(self, at: int) -> int:
        sql = self.sql
        if sql.startswith("/*", at):
            if self.executable.match(sql, at):
                return at
            return self._after("*/", at + 2, at)
        rest = r"[^\n\r]*" if self._breaks else r"[^\n]*"
        found = re.compile(self.line_comment + rest).match(sql, at)
        if found is None:
            return at
        end = found.end()
        if self._breaks and sql.startswith("\r", end) and not sql.startswith("\r\n", end):
            self._broken.append(end)
        return end

    def _pass_special(self, at: int) -> int:
        if self.sql[at] == "`":
            return self._pass_quoted(at, False)
        if self.executable.match(self.sql, at):
            return self._pass_executable(at)
        if self.sql.startswith("\\N", at):  # NULL, as mariadb-dump writes it
            return at
        return super()._pass_special(at)

    def _pass_executable(self, at: int) -> int:
        try:
            if self._reads_inside:
                return self._pass_inside(at)
        except ValidationError:
            # A quote in a comment for another server's version may stay open: read no more of them.
            self._reads_inside = False
        return self._after("*/", at + 3, at)

    def _pass_inside(self, at: int) -> int:
        inside = self._body_pattern(self._escapes, self._breaks, "*")
        end = at + 3
        while not self.sql.startswith("*/", end):
            end = inside.match(self.sql, end).end()
            if end == len(self.sql):
                self._refuse_open(at)
            if self.sql[end] == "/":
                end = self._after("*/", end + 2, end)
            else:
                end = self._pass_special(end)
        return end + 2

    def _examine(self, first: int, end: int) -> int:
        found = self.head.match(self.sql, first, end)
        if found is None:
            return end
        if found[1].upper() == "SET":
            self._examine_set(first, self.sql[first : min(end, first + 10_000)])
        elif self._strict:
            self._refuse(
                found.start(1),
                "DELIMITER",
                "is a command of the mysql client, for stored programs: dump with "
                "--skip-triggers, and without --routines and --events",
            )
        return end

    def _examine_set(self, first: int, statement: str) -> None:
        found = self.replication.search(statement)
        if found and self._strict:
            self._refuse(
                first + found.start(1),
                found[1].upper(),
                "is for a replica, and needs rights that a migration should not: dump with "
                "--set-gtid-purged=OFF (mysqldump), without --gtid (mariadb-dump)",
            )
        for found in self.assignment.finditer(statement):
            scope, target, value = found[1], found[2].lower().replace("`", ""), found[3]
            if scope or target.startswith(("@@global", "@@persist")):
                continue  # it is not the session's
            escapes = self._escapes_of(value, statement[found.start(3) :])
            if target.startswith("@") and not target.startswith("@@"):
                self._saved[target] = escapes
            elif target.endswith("sql_mode"):
                self._settle(first, escapes)

    def _escapes_of(self, value: str, rest: str) -> _Escapes:
        """Return the escapes that sql_mode = ``value`` gives. ``rest``: the text from there on."""
        if value[:1] in ("'", '"'):
            modes = {mode.strip() for mode in value[1:-1].upper().split(",")}
            single = "NO_BACKSLASH_ESCAPES" not in modes
            return single, single and not modes & self.ansi
        name = value.lower()
        if name in self._saved:
            return self._saved[name]
        if name == "default":
            return self.default_escapes
        if name in ("@@sql_mode", "@@session.sql_mode", "@@local.sql_mode"):
            return self._escapes
        if re.search(r"NO_BACKSLASH_ESCAPES|\bANSI|^[1-9]", rest, re.IGNORECASE):
            return None, None
        return self._escapes  # an expression that does not touch these modes


class _PostgresScript(_Script):
    """The syntax of Postgres.

    As in psql, a function's body may hold statements between BEGIN and END, and a rule's actions
    may be in parentheses.
    """

    comment_signs = "/-\\"
    words = _lazy("[sSaArR](?i:tandard_con|tdin|tomic|ule[^a-z])")
    default_escapes = (False, False)
    setting = "standard_conforming_strings"
    command_advice = (
        "is a command of psql, not SQL: leave it out; \\connect comes from pg_dump --create and "
        "pg_dumpall"
    )
    copy = _lazy(r"(?is)COPY\b.*\bFROM\s{1,99}STDIN\b")
    program = _lazy(r"(?i)CREATE\s+(?:OR\s+REPLACE\s+)?(FUNCTION|PROCEDURE|RULE)\b")
    change = _lazy(
        r"(?is)(?:(?:SET|RESET)\b.*|.*set_config\s{0,9}\(\s{0,9}')standard_conforming_strings"
    )
    #: such a change to a value in plain words; the group is one that makes a backslash escape
    plain_change = _lazy(
        r"(?i)(?:RESET|SET(?:\s+SESSION)?)\s+\"?standard_conforming_strings\"?"
        r"(?:\s*(?:=|\bTO\b)\s*'?(?:(off?|0|f(a(l(se?)?)?)?|no?)"
        r"|default|on|1|t(r(ue?)?)?|y(es?)?)'?)?"
    )
    restrict = _lazy(r"(?<![^\r\n])\\(?:un)?restrict\b[^\r\n]*")
    prefix = _lazy(rf"(?<![^{_SIGNS}])[eE]\Z")
    line_comment = _lazy(r"--[^\r\n]*")
    gap: _Scanner = _lazy(r"(?:\s+|--[^\r\n]*){0,2000}")
    tag = _lazy(rf"\${_TAG_NAME}\$")
    #: a comment that has no other in it
    comment = r"/\*[^*/]*(?:(?:\*(?!/)|/(?!\*))[^*/]*){0,50}\*/"
    comment_mark = _lazy(r"/\*|\*/")
    word = _lazy(rf"(?![0-9$])[^{_SIGNS}]+")

    @staticmethod
    @functools.cache
    def patterns(escapes: _Escapes, strict: bool, breaks: bool) -> tuple[_Scanner, _Scanner]:
        blank = _repeated(r"\s+", r"--[^\r\n]*", _PostgresScript.comment)
        return blank, _PostgresScript._body_pattern(escapes, r";\\\ufeff" if strict else ";")

    @staticmethod
    def _body_pattern(escapes: _Escapes, stops: str) -> _Scanner:
        signs, quoted = _SIGNS, _quoted("'", escapes[0])
        if escapes[0] is False:
            quoted = rf"'(?:(?<![eE]')|(?<=[^{signs}][eE]'))[^']*'"
        return _repeated(
            rf"[^'\"$/\-{stops}]+",
            quoted,
            '"[^"]*"',
            rf"\$(?:(?<=[^{signs}$]\$)\$*|(?!{_TAG_NAME}\$))",
            r"-(?:-[^\r\n]*)?",
            rf"/(?!\*)|{_PostgresScript.comment}",
        )

    def _pass_comment(self, at: int) -> int:
        sql = self.sql
        if found := self.line_comment.match(sql, at):
            return found.end()
        if sql.startswith("/*", at):
            return self._pass_nested(at)
        if self._strict and (found := self.restrict.match(sql, at)):
            self.at = at = found.end()  # pg_dump writes \restrict for psql: it is not sent
        return at

    def _pass_nested(self, opened: int) -> int:
        depth = 0
        for mark in self.comment_mark.finditer(self.sql, opened):
            depth += 1 if mark[0] == "/*" else -1
            if not depth:
                return mark.end()
        self._refuse_open(opened)

    def _pass_special(self, at: int) -> int:
        sql = self.sql
        if sql[at] == "'" and self.prefix.search(sql, max(0, at - 2), at):
            return self._pass_escaped(at)
        if tag := self.tag.match(sql, at):
            return self._after(tag[0], tag.end(), at)
        return super()._pass_special(at)

    def _pass_escaped(self, at: int) -> int:
        """Return the end of an E'' string and of its continuations on further lines."""
        sql = self.sql
        while True:
            end = at = self._pass_quoted(at, True)
            while (further := self.gap.match(sql, at).end()) > at:
                at = further
            if not (sql.startswith("'", at) and re.search("[\r\n]", sql[end:at])):
                return end

    def _examine(self, first: int, end: int) -> int:
        sql = self.sql
        if self._strict and self.copy.match(sql, first, end):
            self._refuse(
                first,
                "COPY … FROM stdin",
                "is followed by rows, not SQL: dump with pg_dump --inserts",
            )
        if found := self.program.match(sql, first, end):
            return self._program_end(first, found[1].upper() == "RULE")
        if self.change.match(sql, first, end):
            plain = self.plain_change.fullmatch(sql[first:end].rstrip())
            self._settle(first, (bool(plain[1]) if plain else None, False))
        return end

    def _program_end(self, at: int, is_rule: bool) -> int:
        """Return the closing semicolon as psql finds it.

        It is outside of a rule's parentheses, after an END for every BEGIN and CASE.
        """
        sql, blocks, brackets = self.sql, 0, 0
        stops = r";()A-Za-z_\x80-\U0010ffff" + (r"\\" if self._strict else "")
        pattern = self._body_pattern(self._escapes, stops)
        while True:
            at = pattern.match(sql, at, self._limit).end()
            if at == self._limit or (sql[at] == ";" and not blocks and not (is_rule and brackets)):
                return at
            if found := self.word.match(sql, at, self._limit):
                name, at = found[0].lower(), found.end()
                if not brackets:
                    blocks += name == "begin" or (name == "case" and blocks > 0)
                    blocks -= name == "end" and blocks > 0
            elif sql[at] in "();":
                brackets += {"(": 1, ")": -1, ";": 0}[sql[at]]
                at += 1
            else:
                at = self._pass_special(at)
                if at > self._limit:
                    self._find_limit(at)


_SCRIPTS: Mapping[str, type[_Script]] = {"mysql": _MySqlScript, "postgres": _PostgresScript}


def _script(sql: str, engine: str, at: int = 0, **options: Any) -> _Script:
    if not isinstance(engine, str) or engine not in _SCRIPTS:
        raise ValidationError('engine should be "mysql" or "postgres"')
    return _SCRIPTS[engine](sql, at, **options)


def _line(text: str, at: int) -> int:
    """Return the line number of a position. "\\n", "\\r" and "\\r\\n" each end a line."""
    return len(re.findall(r"\r\n?|\n", text[:at])) + 1


def _controls_transaction(sql: str, engine: str) -> bool:
    try:
        return _TRANSACTION.match(sql, _script(sql, engine).first_word()) is not None
    except ValidationError:  # an unclosed comment: the server refuses it
        return False


class _Syntax(ABC):
    """An engine's syntax, as far as this library reads statements."""

    script: ClassVar[type[_Script]]
    quote: ClassVar[str]
    #: the start of a string, comment or quoted name
    literal_start: ClassVar[re.Pattern[str]]
    #: a run of strings without backslashes, and the code between them
    plain_strings: ClassVar[re.Pattern[str]]
    history_name: ClassVar[re.Pattern[str]]
    #: statements that only change the session; a resumed migration repeats them
    session_statement: ClassVar[re.Pattern[str]]
    #: code that may change the session beyond its statement
    session_change: ClassVar[re.Pattern[str]]
    #: one of these is in every such statement that does not begin with such code
    session_change_signs: ClassVar[tuple[str, ...]]
    #: statements that end a transaction and may begin the next one
    transaction_end: ClassVar[re.Pattern[str]]
    #: statements, in capitals, that a migration must not contain, and the reason
    refused: ClassVar[re.Pattern[str]]
    refusal: ClassVar[str]

    def __init__(self) -> None:
        #: by short statement: whether it may change its session, which every call asks
        self.known_changes: dict[str, bool] = {}

    def name(self, name: str) -> str:
        """Quote an identifier, which may be a reserved word."""
        return ".".join(f"{self.quote}{part}{self.quote}" for part in name.split("."))

    def code(self, sql: str, escapes: _Escapes | None = None) -> Iterator[str]:
        """Yield the parts of a statement without its strings and comments.

        ``escapes``: see _Script.
        """
        script, at = self.script(sql, escapes=escapes), 0
        while found := self.literal_start.search(sql, at):
            yield sql[at : found.start()]
            if run := self.plain_strings.match(sql, found.start()):  # 20 times faster in a dump
                yield re.sub("'[^']*'", "''", run[0])
                at = run.end()
            else:
                replacement, at = script.skip_literal(found)
                yield replacement
        yield sql[at:]

    def start_of_code(self, sql: str) -> str:
        """Return the beginning of a statement's code: about 200 characters, without comments."""
        start = ""
        for part in self.code(sql):
            start = (start + part).lstrip()
            if len(start) > 200:
                break
        return start

    def masked(self, sql: str) -> str:
        """Return the statement with each character of its strings and comments replaced."""
        script, masked = self.script(sql), ""
        while found := self.literal_start.search(sql, len(masked)):
            replacement, end = script.skip_literal(found)
            skipped = sql[found.start() : end]
            masked += sql[len(masked) : found.start()]
            masked += skipped if replacement == skipped else replacement[:1] * len(skipped)
        return masked + sql[len(masked) :]

    def may_change_session(self, sql: str) -> bool:
        """Return whether a statement may change its session, for example a setting."""
        if any(map(sql.lower().__contains__, self.session_change_signs)):
            found = self.session_change.search("".join(self.code(sql)))
        else:
            found = self.session_change.match(sql)
        if len(sql) < 2000:
            if len(self.known_changes) >= 1000:
                self.known_changes.clear()
            self.known_changes[sql] = found is not None
        return found is not None

    def executed_strings(self, sql: str) -> Sequence[str]:
        """Return the strings in a statement that the server executes as code, as in DO."""
        return ()


class _MySqlSyntax(_Syntax):
    script = _MySqlScript
    quote = "`"
    literal_start = _lazy(rf"['\"`]|{_MySqlScript.line_comment}|/\*(?:M?!\d*)?")
    plain_strings = _lazy(r"""(?:'[^'\\]*'[^'"`#/\-]*){1,2000}""")
    history_name = _lazy(
        r'(?i)(?<![\w$`"])schema_migrations(?![\w$`"])|(?<![`"])([`"])schema_migrations\1(?![`"])'
    )
    session_statement = _lazy(
        r"(?i)SET\s+(?!(?:GLOBAL|PERSIST(?:_ONLY)?|PASSWORD|DEFAULT)\b|@@(?:global|persist))|"
        r"(?:USE|(?:UN)?LOCK\s+TABLES?)\b"
    )
    # A semicolon inside a statement means a block (BEGIN NOT ATOMIC) of MariaDB.
    session_change = _lazy(
        r"(?i)\A\s*(?:SET|USE|LOCK|UNLOCK|CALL|EXECUTE|PREPARE|HANDLER|FLUSH)\b|;\s*\S"
        r"|(?<!@)@(?!@)"
    )
    session_change_signs = (";", "@", "--", "/*", "#")
    transaction_end = _TRANSACTION
    refused = _lazy(r"XA\b")
    refusal = "a transaction of XA outlives its connection: begin one with START TRANSACTION"
    #: the table that a statement writes to
    write_target = _lazy(
        r"(?i)(?:INSERT|REPLACE|UPDATE)(?:\s|(?:LOW_PRIORITY|HIGH_PRIORITY|DELAYED|INTO)\b)+"
        r"(?:(?:`[^`]*`|\w+)\s*\.\s*)?`?((?<=`)[^`]+|\w+)"
    )

    def written_table(self, sql: str) -> str | None:
        found = self.write_target.match(self.start_of_code(sql))
        return found[1] if found else None


class _PostgresSyntax(_Syntax):
    script = _PostgresScript
    quote = '"'
    literal_start = _lazy(rf"['\"]|--|/\*|(?<![^{_SIGNS}])\${_TAG_NAME}\$")
    plain_strings = _lazy(r"""(?:(?<![eE])'[^'\\]*'[^'"$/\-]*){1,2000}""")
    history_name = _lazy(
        r'(?<![\w$"])(?i:schema_migrations)(?![\w$"])|(?<!")"schema_migrations"(?!")'
    )
    session_statement = _lazy(
        r"(?i)SET\s+(?!(?:LOCAL|TRANSACTION|CONSTRAINTS)\b)|RESET\b"
        r"|SELECT\s+(?:pg_catalog\.)?set_config\b"
    )
    session_change = _lazy(
        r"(?is)(?:\A|;)\s*(?:SET\s+(?!(?:LOCAL|TRANSACTION|CONSTRAINTS)\b)"
        r"|(?:RESET|DISCARD|DO|EXECUTE|CALL|LISTEN|PREPARE|LOAD|DECLARE\b.*\bWITH\s+HOLD)\b)"
        r"|set_config|\bUPDATE\s+(?:ONLY\s+)?[\w.\"]*pg_settings\b"
    )
    session_change_signs = (";", "set_config", "pg_settings", "--", "/*")
    transaction_end = _lazy(
        r"(?i)(?:COMMIT|END|ABORT|ROLLBACK(?!\s+(?:(?:WORK|TRANSACTION)\s+)?TO\b))\b"
    )
    refused = _lazy(r"PREPARE\s+TRANSACTION\b")
    refusal = "a prepared transaction outlives its connection: end it with COMMIT"

    def executed_strings(self, sql: str) -> Sequence[str]:
        is_do = re.match(r"(?i)DO\b", self.start_of_code(sql))
        body = re.search(r"(?s)\$\w*\$(.*)\$\w*\$", sql)
        return body.groups() if is_do and body else ()


_conflict = functools.partial(_ErrorRule, ConflictError)
_UNIQUE = _conflict("holds such a row already", constraint_kind="unique")
_FOREIGN_KEY = _conflict(
    "has no such parent row, or rows that still refer to this one", constraint_kind="foreign_key"
)
_CHECK = _conflict("does not allow such a row", constraint_kind="check")
_NOT_NULL = _conflict("requires a value for this column", constraint_kind="not_null")
_LOCKED = _refusal("waited too long for another transaction's lock", retryable=True)
_TOO_SLOW = _ErrorRule(TimeoutError, "stopped the statement after query_timeout")
_LOST = _ErrorRule(ConnectionError, "could not be reached, or ended the connection", retryable=True)
_BUSY = _outage("takes no further connections at present")
_UNREACHABLE = _outage("could not be reached")
_LOGIN = _no_connection("refused the login: check user, password, database and host")
_NO_DATABASE = _no_connection("has no such database")
_MISFIT = _refusal("refused a value that does not fit its column or type")
_NO_MORE_IDS = _refusal("has no further id: the column holds no greater one")
_SYNTAX = _refusal("could not read the statement")
_UNKNOWN_NAME = _refusal("knows no table or column of that name (are all migrations applied?)")
_UNKNOWN = _refusal("knows nothing of that name")
_DISK_FULL = _refusal("has no room left on its disk, or in its table space")
_NO_MEMORY = _refusal("has too little memory for that")
_NO_COPY = _refusal(
    "cannot receive the rows: insert_many uses COPY, which psycopg2 does not support under a wait "
    "callback (set_wait_callback, as psycogreen sets it)",
    may_have_acted=False,
)
_FORBIDDEN = _refusal("does not permit this user to do that")
_READ_ONLY = _refusal(
    "takes no writes: the server, the user or the transaction is read-only",
    may_have_acted=False,
    read_only=True,
)
_REFUSED = _refusal("refused the statement")
#: Codes of MySQL (numbers) and of Postgres (SQLSTATEs; two characters are a class), and their rule
#: https://mariadb.com/kb/en/mariadb-error-code-reference,
#: https://dev.mysql.com/doc/mysql-errors/8.4/en/,
#: https://www.postgresql.org/docs/current/errcodes-appendix.html
_ROWS_OF_RULES: Sequence[tuple[Any, ...]] = (
    (1022, 1062, 1586, "23505", _UNIQUE),
    (1216, 1217, 1451, 1452, "23001", "23503", _FOREIGN_KEY),
    (3819, 4025, "23514", _CHECK),
    (1048, 1364, "23502", _NOT_NULL),
    (1020, 1213, "40001", "40P01",
     _refusal("ended the transaction in favour of another: run it again", retryable=True)),
    (1205, "55P03", _LOCKED),
    (1317, 1969, 3024, "57014", _TOO_SLOW),
    (0, 1043, 1053, 1077, 1078, 1079, 1152, *range(1154, 1162), 1184, 1927, 2006, 2013,
     2055, 4031, "08", "25P03", "57P01", "57P02", "57P05", _LOST),
    (1040, 1135, 1203, 1226, "53300", "57P03", _BUSY),
    (2002, 2003, 2005, _UNREACHABLE),
    (1042, _outage("cannot look up the name of this client's address")),
    (3032, _outage("is in offline mode")),
    (1129,
     _no_connection("has blocked this client's address after failed logins: see FLUSH HOSTS")),
    (1044, 1045, 1130, 1251, 1524, 1698, 2059, 2061, "28", _LOGIN),
    (1820, 1862, _no_connection("wants a new password for this user: see ALTER USER")),
    (3118, 4151, _no_connection("has locked this user: see ALTER USER … ACCOUNT UNLOCK")),
    (3159, _no_connection("takes no connection without TLS: set sslmode=require")),
    (1049, "3D", _NO_DATABASE),
    (2026, _no_connection("could not be reached: it offers no TLS")),
    (1264, 1265, 1292, 1366, 1406, 1411, 1690, "22001", "22003", "22007", "22008",
     "22018", "22021", "22026", "22P02", "22P03", "22P05", _MISFIT),
    (167, 1467, "2200H", _NO_MORE_IDS),
    (1365, "22012", _refusal("does not divide by zero")),
    (1139, *range(3688, 3698), 3700, "2201B", _refusal("could not read a regular expression")),
    (1231, 1298, 1649, 3685, 3686, "22",
     _refusal("refused a value that a function, an operator or a setting cannot have")),
    (1582, "42883",
     _refusal("has no function or operator of that name for arguments of that number and type")),
    (1136, _refusal("takes as many values as there are columns")),
    (1153, _refusal("takes no row or statement of that size: see max_allowed_packet")),
    (1064, 1149, "42601", _SYNTAX),
    (1050, "42P07", _refusal("has a table or index of that name already")),
    (1051, 1054, 1146, "42P01", "42703", _UNKNOWN_NAME),
    (1008, 1091, 1109, 1176, 1193, 1305, "42704", "3F000", _UNKNOWN),
    ("55P04",
     _refusal("lets nothing use a new value of an enum before its ALTER TYPE is committed")),
    (1021, 1114, "53100", _DISK_FULL),
    (1037, 1038, 1041, "53200", _NO_MEMORY),
    ("25001", _refusal("does not run this statement inside a transaction")),
    (1142, 1143, 1227, 1370, "42501", _FORBIDDEN),
    (1836, "25006", _READ_ONLY),
)  # fmt: skip
_RULES: Mapping[Any, _ErrorRule] = {code: rule for *codes, rule in _ROWS_OF_RULES for code in codes}
#: replaces rules for login codes on an open session: CREATE DATABASE and USE raise them too
_RULES_OF_OPEN_SESSIONS = {_LOGIN: _FORBIDDEN, _NO_DATABASE: _UNKNOWN}


_NO_BACKEND = _outage(
    "is a pooler or proxy that gets no connection to the server behind it: see its log"
)
_NO_ROOM = _outage("has too little memory for another connection at present")
#: replaces rules for statement codes at a login, where no statement was sent
_AT_LOGIN = {
    _REFUSED: _no_connection("refused the login: see its manual or its log for the reason"),
    _NO_MEMORY: _NO_ROOM,
}
_NO_ROLE = _no_connection("has no such user (role)")
_FOREIGN_WORDS = _no_connection(
    "refused the login, in words that this library does not know: see the server's log, or set its "
    "lc_messages to 'C' (English) to read the reason here"
)
#: a pattern for a message, the SQLSTATE, and the rule, or its message if a retry does not help
_Logins: TypeAlias = Sequence[tuple[str, str | None, _ErrorRule | str]]
#: The server's messages. At a login libpq does not give the SQLSTATE. In its text the message
#: follows the severity and two spaces.
#: https://github.com/postgres/postgres: src/backend/libpq/auth.c, utils/init/postinit.c,
#: tcop/backend_startup.c
_POSTGRES_LOGINS: _Logins = (
    # PgBouncer, which quotes the server's message
    (r"server login has been failing|pgbouncer cannot connect|server conn crashed"
     r"|query_wait_timeout|client_login_timeout", None, _NO_BACKEND),
    (r"(?:password|SASL) authentication failed|empty password returned",
     "28P01", "refused the login: user or password is wrong"),
    (r'role (?:".*"|\d+) does not exist|no such user', "28000", _NO_ROLE),
    (r'role ".*" is not permitted to log in',
     "28000", "does not let this user log in: see ALTER ROLE … LOGIN"),
    (r"no pg_hba\.conf entry|pg_hba\.conf rejects",
     "28000", "refused the login: its pg_hba.conf has no rule that lets in this user, database, "
              "address and encryption (sslmode)"),
    (r"\S+ (?:bearer )?authentication failed",
     "28000", "refused the login: see the method in pg_hba.conf for this user"),
    (r'database (?:".*"|\d+) does not exist|no such database', "3D000", _NO_DATABASE),
    (r'permission denied for database ".*"',
     "42501", "does not let this user into that database: see GRANT CONNECT"),
    (r'database ".*" is not currently accepting|cannot connect to invalid database',
     "55000", "takes no connections to that database: see ALTER DATABASE … ALLOW_CONNECTIONS"),
    (r"sorry, too many clients|too many connections for|remaining connection slots are reserved"
     r"|no more connections allowed|client connections exceeded", "53300", _BUSY),
    (r"out of (?:shared )?memory", "53200", _NO_ROOM),
    (r"could not fork new process|out of file descriptors", "53000", _BUSY),
    # https://github.com/postgres/postgres: src/backend/utils/misc/guc.c, tcop/postgres.c
    (r"unrecognized configuration parameter|invalid configuration parameter name",
     "42704", "refused the login: the URL's options name a setting that it does not know"),
    (r"invalid value for parameter|-?[\d.]+\S*(?: \w+)? is outside the valid range for parameter"
     r'|parameter ".*" requires',
     "22023", "refused the login: the URL's options give a setting a value that it cannot have"),
    (r'parameter ".*" cannot be changed|permission denied to set',
     "55P02", "refused the login: the URL's options change a setting that this user may not"),
    (r"\S.* requires a value|invalid command-line argument",
     "42601", "cannot read the URL's options: write each as -c name=value"),
    (r"unsupported startup parameter",  # PgBouncer
     None, "is a pooler that takes no such options in a URL: see ignore_startup_parameters"),
    (r"the database system is (?:starting up|in recovery|not )",
     "57P03", _outage("is starting up")),
    (r"the database system is shutting down|terminating connection due to administrator",
     "57P03", _outage("is shutting down")),
    (r"terminating connection because of crash|canceling authentication due to timeout",
     "57P02", _outage("ended the login")),
    (r"\S", None, _FOREIGN_WORDS),
)  # fmt: skip
#: libpq's own messages about a login
_LIBPQ_LOGINS: _Logins = (
    ("could not fork new process", None, _BUSY),  # the server's message, sent before the login
    ("no password supplied", None, "asks for a password, and the URL has none"),
    ("channel binding (?:is )?required",
     None, "does not support channel_binding=require: it needs TLS (sslmode=require) and a login "
           "by scram-sha-256"),
    ("session is not read-only|server is not in hot standby",
     None, "takes writes, which the URL's target_session_attrs does not allow"),
    ("session is read-only|server is in hot standby|could not make a writable connection", None,
     _outage("takes no writes at present, and the URL's target_session_attrs does not allow that")),
    ("authentication method|SCRAM authentication|channel binding",
     None, "requires a login method that libpq does not support: see pg_hba.conf"),
    ("could not (?:translate|resolve) host",
     None, _outage("could not be reached: host name not found")),
    ("server closed the connection|unexpected eof|EOF detected",
     None, _outage("could not be reached: it ended the connection")),
    ("timeout expired", None, _NO_ANSWER),
)  # fmt: skip
_NETWORK_ERRORS = (
    errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT,
    errno.EPIPE, errno.ENOENT, errno.EACCES,
)  # fmt: skip


def _postgres_login(text: str) -> tuple[str | None, _ErrorRule]:
    """Return the code and the rule for a failed login, by the words of the server or of libpq.

    The server's come first: libpq also reports each address that has no server.
    """
    for before, logins in ((":  ", _POSTGRES_LOGINS), ("", _LIBPQ_LOGINS)):
        for pattern, code, rule in logins:
            if re.search(f"{before}(?:{pattern})", text):
                return code, _no_connection(rule) if isinstance(rule, str) else rule
    for reason in map(os.strerror, _NETWORK_ERRORS):
        if reason in text:
            return None, _outage(f"could not be reached: {reason}")
    return None, _UNREACHABLE


def _readiness(descriptor: int) -> Callable[[int], Any]:
    """Return a function that waits some milliseconds, and returns whether there is data to read.

    By poll() if there is one: select() takes no descriptor above 1023.
    """
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return poll.poll
    return lambda milliseconds: select.select([descriptor], [], [], milliseconds / 1000)[0]


class _Session(_WatchedSocket, ABC):
    """A connection of the driver, with its state in the pool."""

    def __init__(self, dialect: _Dialect, raw: Any, descriptor: int, now: float) -> None:
        super().__init__(raw)
        self.dialect = dialect
        self.driver = dialect.driver
        self.interruptible = dialect.config.interruptible
        self.log_sql = dialect.config.log_sql
        self.known_changes = dialect.syntax.known_changes
        self.process = os.getpid()
        self.idle_since = now
        self.retires_at = now + dialect.config.max_lifetime
        self.limited = True  # query_timeout applies
        self.is_new = True  # it has not been in the pool yet
        self.generation = 0  # the pool's generation when it was opened
        self.read_only = False  # it has refused a write
        self.interrupted = False  # Ctrl-C stopped it: a cancel request may still be on its way
        self.is_readable = _readiness(descriptor)

    @abstractmethod
    def execute(self, cursor: Any, sql: Any, params: Any = None) -> None: ...
    @abstractmethod
    def limit(self, limited: bool) -> None:
        """Set or lift query_timeout, on the server and in the client."""

    @abstractmethod
    def set_read_timeout(self, seconds: float) -> None: ...
    @abstractmethod
    def is_open(self) -> bool: ...
    @abstractmethod
    def is_idle(self) -> bool: ...
    @abstractmethod
    def in_transaction(self) -> bool: ...
    @abstractmethod
    def transaction_survives(self) -> bool:
        """Return whether the server still has the transaction after an error."""

    @abstractmethod
    def close(self) -> None: ...
    @abstractmethod
    def detach(self) -> int:
        """Let the driver's object be dropped without I/O. Return its descriptor, or -1."""

    @abstractmethod
    def read_columns(self, table: str, names: _Names) -> Sequence[_ColumnType | None]: ...
    @abstractmethod
    def insert_rows(
        self, table: str, names: _Names, columns: _Columns, numbered: bool = False
    ) -> tuple[int, Sequence[int]]:
        """Insert rows, and return the bytes of their text.

        If ``numbered``, the server makes the values of the last column: return them too, in order.
        """

    @abstractmethod
    def insert_rendered(self, table: str, names: _Names, rendered: bytes) -> None:
        """Insert rows that a server has written as text."""

    @abstractmethod
    def open_stream(self, statement: Any) -> Any: ...
    @abstractmethod
    def fetch(self, cursor: Any, count: int) -> Sequence[_Row]: ...

    def announce(self, attempt: Attempt, sql: str, params: Any, before: int = 0) -> None:
        """Note a statement that the attempt is about to send."""
        attempt.note = self, sql, params, before
        attempt.sent = True
        if self.log_sql:
            _log_sql(self.dialect, sql)
        changes = self.known_changes.get(sql)
        if changes is None:
            changes = self.dialect.syntax.may_change_session(sql)
        if changes:
            self.retires_at = 0.0  # the next borrower must not get its settings

    def target(self, table: str, names: _Names) -> str:
        """Return what INSERT and COPY write to."""
        name = self.dialect.name
        return f"{name(table)} ({', '.join(map(name, names))})"

    def perform(self, sql: str, params: Any, fetch: _Fetch[T]) -> T:
        cursor = self.raw.cursor()
        self.execute(cursor, sql, params)
        return fetch(cursor)

    def select(self, sql: str, params: Any = None) -> Sequence[_Row]:
        return self.perform(sql, params, _all_rows)

    def disconnect(self) -> None:
        if self.process == os.getpid():
            self.close()
            return
        # In a forked child, closing would end the parent's session, or wait for ever for a lock of
        # the driver. So redirect the descriptor to /dev/null and keep the driver's object.
        descriptor = self.detach()
        if descriptor >= 0:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, descriptor, inheritable=False)
            os.close(null)
        _inherited.append(self.raw)

    @abstractmethod
    def cut(self) -> None:
        """Stop the statement, so that the thread that waits for it gets an error."""

    def set_client_timeout(self, limited: bool) -> None:
        self.limited = limited
        config = self.dialect.config
        seconds = config.query_timeout + self.dialect.grace if limited else config.idle_timeout
        self.set_read_timeout(seconds)

    def timed_out(self) -> bool:
        """After a timeout, stop the statement if the server has no limit. Return whether it did."""
        return False

    def is_autocommit(self) -> bool:
        return True

    def is_locking(self, table: str) -> bool:
        """Return whether LOCK TABLES is in force. ``table``: one that is not locked itself."""
        return False


#: the parent's connections, kept in a forked child: their destructors take locks
_inherited: list[Any] = []
_LONGEST = 2**31 - 1  # the most milliseconds that poll, libpq and Postgres accept: 24 days


def _timeout(seconds: float) -> int:
    return min(_whole_milliseconds(seconds), _LONGEST)


#: in "numeric(10,2)", "timestamp(0) with time zone", "int(10) unsigned"
_TYPE_NUMBERS = _lazy(r"\((\d+)(?:,(-?\d+))?\)")
# Kinds of columns: the number in parentheses is a length, or the digits of seconds.
_SIZED = frozenset({"text", "bytes"})
_SCALED = frozenset(
    {"moment", "local moment", "time", "zoned time", "duration", "time or duration"}
)


def _of_kind(kind: str, *names: str, **bounds: Any) -> dict[str, _ColumnType]:
    return dict.fromkeys(names, _ColumnType(kind, **bounds))


def _mysql_date(text: str) -> date | str:
    """Read a DATE, or a DATETIME in UTC. "0000-00-00" stays text."""
    try:
        return datetime.fromisoformat(text + "+00:00") if " " in text else date.fromisoformat(text)
    except ValueError:
        return text


class _Rendering(NamedTuple):
    """How a server writes the values of a kind of column as text that both engines read."""

    #: the expression, with {} for the column
    sql: str = "{}"
    #: is true for values that only Python can judge
    doubt: str = ""
    #: reads the text as the driver would; None: the value is the text
    read: _Converter | None = None


#: What servers write between values, between rows, for NULL, and before the digits of bytes. Where
#: a text holds one of them, their numbers do not come out right.
_VALUE_END, _ROW_END, _NULL_MARK, _BYTES_MARK = b"\x01", b"\x02", b"\x03", b"\x04"


class _Catalogue(ABC):
    """The queries of an engine's catalogue, and the column types in it."""

    #: For moves: how the server writes the kinds of columns, a value or NULL, and all rows.
    renderings: ClassVar[Mapping[str, _Rendering]]
    rendered_value: ClassVar[str]
    rendered_rows: ClassVar[str]

    #: for moves: a table's columns (name, nullable, optional, computed, type, default), the columns
    #: of its primary key, whether it is transactional, and lines with its indexes and constraints
    table_columns: ClassVar[str]
    table_rules: ClassVar[str]
    table_key: ClassVar[str]
    table_transactional: ClassVar[str]
    #: the name of a column's sequence; "": inserted ids advance the sequence themselves
    sequence_of = ""
    #: gives a session the memory to make large indexes, unless it has more; "": nothing does
    index_memory = ""
    #: by the name of the type
    column_types: ClassVar[Mapping[str, _ColumnType]]
    #: by kind: see ``exact_expression``
    exact: ClassVar[Mapping[str, str]] = {}

    def __init__(self, name: Callable[[str], str]) -> None:
        self._name = name  # quotes a name

    def column_type(self, text: str) -> _ColumnType:
        """Return the type that the catalogue writes as ``text``, such as "numeric(10,2)"."""
        found, types = _TYPE_NUMBERS.search(text), self.column_types
        known = types.get(text) or types.get(_TYPE_NUMBERS.sub("", text))
        if known is None or found is None:
            return known or _ColumnType("any", finite=False)
        size, scale = int(found[1]), int(found[2] or 0)
        if known.kind in ("decimal", "float"):  # or MySQL's DOUBLE(7,3)
            return known._replace(size=size, scale=scale)
        if known.kind in _SIZED:
            return known._replace(size=size)
        return known._replace(scale=size) if known.kind in _SCALED else known

    @abstractmethod
    def table_params(self, table: str) -> list[Any]:
        """Return the parameters that name a table in queries of the catalogue."""

    @abstractmethod
    def indexes(self, ask: Callable[..., list[_Row]], table: str) -> list[_Row]:
        """Return the SQL that drops and makes each index and constraint, foreign keys last.

        Without the primary key, and those that keys of other tables need.
        """

    def key_expression(self, name: str, column: _ColumnType) -> str:
        """Return the expression by which a key's column is compared and sorted."""
        return self._name(name)

    def exact_expression(self, name: str, column: _ColumnType) -> str:
        """Return the expression that reads a column without loss of digits."""
        return self.exact.get(column.kind, "{}").format(self._name(name))

    def converter(self, column: _ColumnType, catalogue_type: str) -> _Converter | None:
        """Return a function that converts the driver's value, or None if it needs no conversion."""
        return None


#: a condition on queries of MySQL's catalogue, with the parameters of ``table_params``
_IS_TABLE = "table_schema = COALESCE(%s, DATABASE()) AND table_name = %s"


class _MySqlCatalogue(_Catalogue):
    # The server prints a FLOAT with six digits, but an expression with it is a DOUBLE.
    exact: ClassVar = {"float": "({} + 0e0)"}
    renderings: ClassVar = {
        **dict.fromkeys(("text", "long text", "id"), _Rendering("CONVERT({} USING utf8mb4)")),
        **dict.fromkeys(("integer", "year"), _Rendering(read=int)),
        "flag": _Rendering(doubt="{} NOT IN (0, 1)", read=int),
        "decimal": _Rendering(read=Decimal),
        "float": _Rendering(exact["float"], read=float),
        "bytes": _Rendering("CONCAT('\x04', HEX({}))", read=lambda text: bytes.fromhex(text[1:])),
        **dict.fromkeys(("date", "moment"), _Rendering(read=_mysql_date)),
    }
    rendered_value = "IFNULL({value}, '\x03')"
    rendered_rows = "GROUP_CONCAT(CAST(CONCAT_WS('\x01', {}) AS BINARY) SEPARATOR '\x02')"
    table_columns = (
        "SELECT column_name, is_nullable = 'YES', "
        "is_nullable = 'YES' OR column_default IS NOT NULL OR extra <> '', "
        "extra REGEXP '(VIRTUAL|STORED|PERSISTENT) GENERATED', "
        "concat_ws(' COLLATE ', column_type, collation_name), "
        # MySQL tells a text from an expression in ``extra``, MariaDB by quotes.
        "CASE WHEN extra LIKE 'auto_inc%%' THEN 'nextval' WHEN column_default = 'NULL' THEN NULL "
        "WHEN version() LIKE '%%MariaDB%%' OR extra LIKE 'DEFAULT_GEN%%' THEN column_default "
        "WHEN column_default IS NOT NULL THEN quote(column_default) END "
        f"FROM information_schema.columns WHERE {_IS_TABLE} ORDER BY ordinal_position"
    )
    table_rules = "SHOW CREATE TABLE {}"
    table_key = (
        "SELECT column_name FROM information_schema.statistics WHERE index_name = 'PRIMARY' "
        f"AND {_IS_TABLE} ORDER BY seq_in_index"
    )
    table_transactional = (
        "SELECT count(*) FROM information_schema.tables JOIN information_schema.engines "
        f"USING (engine) WHERE transactions = 'YES' AND {_IS_TABLE}"
    )
    #: by flavour: the table's JSON columns, which MariaDB's catalogue calls LONGTEXT
    json_columns: ClassVar = {
        "MariaDB": "SELECT constraint_name FROM information_schema.check_constraints "
        "WHERE constraint_schema = COALESCE(%s, DATABASE()) AND table_name = %s "
        "AND check_clause LIKE 'json_valid(%%'"
    }
    # https://dev.mysql.com/doc/refman/8.4/en/data-types.html; this library stores ids as CHAR(36)
    column_types: ClassVar = {
        **_of_kind("flag", "tinyint(1)"),
        **_of_kind("id", "char(36)", "uuid"),
        **_of_kind("text", "char", "enum", "set", fixed=True),
        **_of_kind("text", "varchar"),
        **_of_kind("text", "tinytext", octets=(1 << 8) - 1),
        **_of_kind("text", "text", octets=(1 << 16) - 1),
        **_of_kind("text", "mediumtext", octets=(1 << 24) - 1),
        **_of_kind("long text", "longtext"),
        **_of_kind("document", "json"),
        **_of_kind("bytes", "binary", fixed=True),
        **_of_kind("bytes", "varbinary", "longblob"),
        **_of_kind("bytes", "tinyblob", size=(1 << 8) - 1),
        **_of_kind("bytes", "blob", size=(1 << 16) - 1),
        **_of_kind("bytes", "mediumblob", size=(1 << 24) - 1),
        **_of_kind("bits", "bit"),
        **_of_kind("year", "year"),
        **_of_kind("float", "float", "double", "float unsigned", "double unsigned"),
        **_of_kind("decimal", "decimal", "decimal unsigned"),
        **_of_kind("date", "date"),
        **_of_kind("moment", "datetime", "timestamp", scale=0),
        # from -838:59:59 to 838:59:59
        **_of_kind("time or duration", "time", size=839 * 3600, scale=0),
        **{
            name + sign: _ColumnType("integer", bits, unsigned=bool(sign))
            for name, bits in (
                ("tinyint", 8), ("smallint", 16), ("mediumint", 24), ("int", 32), ("bigint", 64),
            )
            for sign in ("", " unsigned")
        },
    }  # fmt: skip

    #: a line of SHOW CREATE TABLE
    index_line = _lazy(
        r"^  ((?:UNIQUE |FULLTEXT |SPATIAL )?KEY|CONSTRAINT) (`(?:[^`]|``)+`) (.*?),?$",
        re.MULTILINE,
    )

    def table_params(self, table: str) -> list[Any]:
        schema, _, name = table.rpartition(".")
        return [schema or None, name]

    def indexes(self, ask: Callable[..., list[_Row]], table: str) -> list[_Row]:
        ((_, text, *_),) = ask(f"SHOW CREATE TABLE {self._name(table)}")
        found: list[_Row] = []
        for kind, name, rest in self.index_line.findall(text):
            word = "INDEX" if kind != "CONSTRAINT" else rest.partition(" (")[0]
            if word in ("INDEX", "FOREIGN KEY"):  # others are checks
                alter = f"ALTER TABLE {self._name(table)}"
                found.append((f"{alter} DROP {word} {name}", f"{alter} ADD {kind} {name} {rest}"))
        return found

    def key_expression(self, name: str, column: _ColumnType) -> str:
        # An ENUM is sorted by its numbers, but compared with a string by its text.
        return f"CAST({self._name(name)} AS UNSIGNED)" if column.choices else self._name(name)

    def converter(self, column: _ColumnType, catalogue_type: str) -> _Converter | None:
        if column.kind == "bits":
            return lambda value: int.from_bytes(value, "big")
        # MariaDB sends JSON as LONGTEXT.
        is_text = column.kind == "document" and catalogue_type.startswith("longtext")
        return _parse_json if is_text else None

    def catalogued(self, text: str, collation: str) -> _ColumnType:
        found = re.findall(r"'((?:[^']|'')*)'", text)
        if found:  # "enum('a','b')"
            text = text.partition("(")[0]
        choices = frozenset(choice.replace("''", "'").lower() for choice in found)
        column = self.column_type(text.removesuffix(" zerofill"))._replace(choices=choices)
        if column.octets is not None and not collation.startswith("utf8"):
            column = column._replace(size=column.octets, octets=None)
        return column._replace(ascii=collation.startswith("ascii_"))


_NO_DATE = "{} NOT BETWEEN '0001-01-01' AND '9999-12-31 23:59:59.999999'"


class _PostgresCatalogue(_Catalogue):
    renderings: ClassVar = {
        **dict.fromkeys(("text", "id", "integer", "decimal", "float"), _Rendering("concat({})")),
        "flag": _Rendering("concat({}::int)"),
        "bytes": _Rendering("concat(E'\\x04', encode({}, 'hex'))"),
        "moment": _Rendering("concat({} AT TIME ZONE 'UTC')", doubt=_NO_DATE),
        **dict.fromkeys(("local moment", "date"), _Rendering("concat({})", doubt=_NO_DATE)),
    }
    # CAST would cut the blanks at the end of a CHAR.
    rendered_value = "CASE WHEN {column} IS NULL THEN E'\\x03' ELSE {value} END"
    rendered_rows = "string_agg(concat_ws(E'\\x01', {}), E'\\x02')"
    table_columns = (
        "SELECT attname, NOT attnotnull, NOT attnotnull OR atthasdef OR attidentity <> '', "
        "attgenerated <> '', format_type(atttypid, atttypmod), "
        "CASE attidentity WHEN '' THEN pg_get_expr(adbin, adrelid) ELSE 'nextval' END "
        "FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum "
        "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    )
    table_rules = (
        "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = '{0}'::regclass AND NOT "
        "indisprimary UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = '{0}'::regclass AND contype IN ('c', 'f', 'x') ORDER BY 1"
    )
    table_key = (
        "SELECT attname FROM pg_index JOIN pg_attribute ON attrelid = indrelid "
        "AND attnum = ANY (indkey) WHERE indrelid = to_regclass(%s) AND indisprimary "
        "ORDER BY array_position(indkey::int2[], attnum)"
    )
    table_transactional = "SELECT count(to_regclass(%s))"
    sequence_of = "SELECT pg_get_serial_sequence(%s, %s)"
    index_memory = (
        "SELECT set_config('maintenance_work_mem', '256MB', false) "
        "WHERE pg_size_bytes(current_setting('maintenance_work_mem')) < pg_size_bytes('256MB')"
    )
    #: the types of a table's columns; those of domains and arrays are resolved
    column_query = (
        "WITH RECURSIVE held AS (SELECT attname, atttypid AS type, atttypmod AS size, '' AS ends "
        "FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped "
        "UNION ALL SELECT attname, CASE typtype WHEN 'd' THEN typbasetype ELSE typelem END, "
        "CASE typtype WHEN 'd' THEN typtypmod ELSE size END, "
        "CASE typtype WHEN 'd' THEN ends ELSE '[]' END FROM held JOIN pg_type t ON t.oid = type "
        "WHERE typtype = 'd' OR typelem <> 0 AND typarray = 0) "
        "SELECT attname, format_type(type, size) || ends FROM held JOIN pg_type t ON t.oid = type "
        "WHERE typtype <> 'd' AND (typelem = 0 OR typarray <> 0)"
    )
    # https://www.postgresql.org/docs/current/datatype.html, as format_type() writes them
    column_types: ClassVar = {
        **_of_kind("text", "character varying", "character", "text"),
        **_of_kind("text", "name", octets=63),
        **_of_kind("text", '"char"', octets=1),
        **_of_kind("flag", "boolean"),
        **_of_kind("integer", "smallint", size=16),
        **_of_kind("integer", "integer", size=32),
        **_of_kind("integer", "bigint", size=64),
        **_of_kind("float", "real", "double precision", finite=False),
        **_of_kind("decimal", "numeric", finite=False),
        **_of_kind("money", "money", scale=2),
        **_of_kind("bytes", "bytea"),
        **_of_kind("moment", "timestamp with time zone"),
        **_of_kind("local moment", "timestamp without time zone"),
        **_of_kind("date", "date"),
        **_of_kind("time", "time without time zone"),
        **_of_kind("zoned time", "time with time zone"),
        **_of_kind("duration", "interval", "interval second"),
        **_of_kind("duration", "interval minute", unit=timedelta(minutes=1)),
        **_of_kind("duration", "interval hour", unit=timedelta(hours=1)),
        **_of_kind("duration", "interval day", unit=timedelta(days=1)),
        # Months and years are not durations: only zero fits.
        **_of_kind("duration", "interval month", "interval year", unit=timedelta.max),
        **_of_kind("id", "uuid"),
        **_of_kind("document", "json", "jsonb"),
        **_of_kind(
            "range", "int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange"
        ),
    }

    table_indexes = (
        "SELECT format('ALTER TABLE %%s DROP CONSTRAINT %%I', conrelid::regclass, conname), "
        "format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s', conrelid::regclass, conname, "
        "pg_get_constraintdef(oid)), contype = 'f' AS last FROM pg_constraint own "
        "WHERE conrelid = to_regclass(%s) AND (contype = 'f' OR contype = 'u' AND NOT EXISTS "
        "(SELECT FROM pg_constraint WHERE contype = 'f' AND conindid = own.conindid)) "
        "UNION ALL SELECT format('DROP INDEX %%s', indexrelid::regclass), "
        "pg_get_indexdef(indexrelid), false FROM pg_index WHERE indrelid = to_regclass(%s) "
        "AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid) ORDER BY last"
    )

    def table_params(self, table: str) -> list[Any]:
        return [self._name(table)]

    def indexes(self, ask: Callable[..., list[_Row]], table: str) -> list[_Row]:
        return [row[:2] for row in ask(self.table_indexes, 2 * self.table_params(table))]

    def catalogued(self, text: str) -> _ColumnType:
        text = re.sub("^interval .+ to ", "interval ", text)  # "interval day to minute"
        column = self.column_type(text.removesuffix("[]"))
        return _ColumnType("array", element=column) if text.endswith("[]") else column


_PLACEHOLDER = _lazy(r"%(?:%|s|\((.*?)\)s)?", re.DOTALL)
#: a name in a statement, perhaps qualified by its table and schema
_PART_SHAPE = r"(?:[^\W\d][\w$]*|`[^`]*`|\"[^\"]*\")"
_PATH_SHAPE = rf"{_PART_SHAPE}(?:\.{_PART_SHAPE})*"
_NAME_PATH = _lazy(rf"(?<!'){_PATH_SHAPE}(?!')")
#: a statement for which Postgres can declare a cursor
_QUERY = _lazy(r"(?i)[\s(]*(?:SELECT|VALUES|WITH|TABLE)\b")
_BODY = _lazy(
    r"(?is)\bBEGIN\s+(?:NOT\s+)?ATOMIC\b.*"
    r"|\bCREATE\b.*?\b(?:PROCEDURE|FUNCTION|TRIGGER|EVENT)\b.*?\bBEGIN\b.*"
)


def _position(sql: str, at: int) -> str:
    lines = re.split(r"\r\n?|\n", sql[:at])
    return f"line {len(lines)}, column {len(lines[-1]) + 1}"


def _name_at(name: str, sql: str, at: int) -> str:
    quoted = name if name[:1] in ('"', "`") else f'"{name}"'
    return f"{quoted}, {_position(sql, at)}"


def _placeholder_error(sql: str, params: Any, reason: str) -> ValidationError:
    """Return the error for parameters that do not fit the placeholders; it quotes no value.

    ``reason``: used if the placeholders show no better one.
    """
    is_dict = isinstance(params, Mapping)
    marks = [mark for mark in _PLACEHOLDER.finditer(sql) if mark[0] != "%%"]
    if stray := next((mark for mark in marks if mark[0] == "%"), None):
        reason = (
            f"a percent sign at {_position(sql, stray.start())} is no placeholder: with params it "
            "is written %%"
        )
    elif is_dict and (missing := [mark[1] for mark in marks if mark[1] and mark[1] not in params]):
        reason = f"params should have {missing[0]}"
    elif any((mark[0] == "%s") if is_dict else mark[1] for mark in marks):
        reason = "%s takes a list or tuple, %(name)s a dict"
    elif not is_dict and len(marks) != len(params or ()):
        reason = f"it has {len(marks)}, and params has {len(params or ())}"
    return ValidationError(f"the parameters do not fit the placeholders of the statement: {reason}")


class _Sent(NamedTuple):
    """The statement that an attempt sent, for its errors. Without a session it was a login."""

    session: _Session | None = None
    sql: str = ""
    params: Any = None
    before: int = 0  # characters sent before the statement
    is_ours: bool = False  # this library wrote the statement: positions in it tell nothing


class _ErrorReader(ABC):
    """Finds the rule for a driver's error, and the name or position that the error is about."""

    #: the codes for a missing table and a missing column
    missing_name_codes: ClassVar[Sequence[Any]]
    #: messages for a RuntimeError of the driver, by the missing package that it names
    missing_packages: ClassVar[Mapping[str, str]] = {}
    #: a hint for a BEGIN without END: the cause may be that a migration file was split
    missing_end_hint = ""

    def __init__(self, driver: Any, options: Mapping[str, str], syntax: _Syntax) -> None:
        self._driver = driver
        self._options = options  # of the URL
        self._syntax = syntax

    def rule_of(self, exc: BaseException) -> tuple[Any, _ErrorRule]:
        if any(isinstance(cause, builtins.TimeoutError) for cause in _causes(exc)):
            return None, _NO_ANSWER
        return self._rule_by_code(exc)

    @abstractmethod
    def _rule_by_code(self, exc: BaseException) -> tuple[Any, _ErrorRule]: ...

    def row(self, exc: Any) -> int:
        """Return the number of the row that the server refuses, or 0."""
        return 0

    def login_rule(self, exc: BaseException) -> tuple[Any, _ErrorRule]:
        code, rule = self.rule_of(exc)
        return code, _AT_LOGIN.get(rule, rule)

    @abstractmethod
    def constraint(self, exc: Any, kind: str, sql: str) -> str | None: ...

    def server_text(self, exc: Any) -> str:
        """Return the server's text, for ``error_detail`` only: it may quote rows."""
        return str(exc.args[-1] if exc.args else exc).strip()

    @abstractmethod
    def subject(self, exc: Any, sent: _Sent) -> str:
        """Return the name or the position that an error is about, never a value."""

    def syntax_hint(self, sent: _Sent) -> str:
        """Return a hint if a streamed statement is no query, or if a body has no END."""
        if sent.before and not _QUERY.match(self._syntax.start_of_code(sent.sql)):
            return "; stream takes queries alone: give this to execute or fetch_all"
        body = _BODY.search(self._syntax.masked(sent.sql))
        has_end = body is None or re.search(r"(?i)\bEND\b[\w\s$]*;?\s*\Z", body[0])
        return "" if has_end else f"; its BEGIN has no END{self.missing_end_hint}"

    def named(self, sent: _Sent, names: Iterable[str]) -> str:
        """Return the first of ``names`` that is in the statement's code, with its position, or "".

        A server's message also quotes values. Those are never in code.
        """
        code = self._syntax.masked(sent.sql)
        for name in names:
            for part in filter(None, (name, name.rpartition(".")[2])):
                found = re.search(rf"(?i)(?<![\w$'.]){re.escape(part)}(?![\w$'])", code)
                if found:
                    place = found.start()
                    return f'"{part}"' if sent.is_ours else _name_at(part, sent.sql, place)
        return ""


class _MySqlErrorReader(_ErrorReader):
    _syntax: _MySqlSyntax
    missing_packages: ClassVar = {
        "cryptography": "the server asks for caching_sha2_password: install PyMySQL[rsa], or use "
        "TLS; a wrong password may be the cause too",
        "pynacl": "the server asks for ed25519: install PyMySQL[ed25519]",
    }
    missing_end_hint = (
        ": a file of migrations is cut at each semicolon; create the program with execute()"
    )
    missing_name_codes = (1146, 1054)
    #: rules that require these words in the text: 1290, for one, is raised for any server option
    worded_rules: ClassVar = {
        1290: ("read-only", _READ_ONLY),
        1030: ("error 28", _DISK_FULL),  # ENOSPC
        1047: ("WSREP", _outage("is a node of a cluster that is not ready yet")),
        9001: ("hostgroup", _NO_BACKEND),  # ProxySQL
    }
    #: the column at the end of the server's text, after the value
    unfit_column = _lazy(r" for column (?:'([^']*)'|((?:`[^`]*`\.?)+)) at row \d+\Z")
    syntax_error = _lazy(r" near '(.*)' at line (\d+)\Z", re.DOTALL)
    quoted_names = _lazy(r"(?<!\w)'([^']*)'|`([^`]*)`|(?:FUNCTION|PROCEDURE) (\S+) does not exist")

    def _rule_by_code(self, exc: BaseException) -> tuple[Any, _ErrorRule]:
        code = exc.args[0] if exc.args and isinstance(exc.args[0], int) else None
        if code is None:
            refusals = self._driver.err.ProgrammingError, self._driver.err.DataError
            return None, _REFUSED if isinstance(exc, refusals) else _LOST
        words, rule = self.worded_rules.get(code, ("", _RULES.get(code, _REFUSED)))
        return code, rule if words in str(exc.args[-1]) else _REFUSED

    def login_rule(self, exc: BaseException) -> tuple[Any, _ErrorRule]:
        code, rule = super().login_rule(exc)
        # If a user with REQUIRE SSL connects without TLS, the code is that of a wrong password.
        if code == 1045 and self._options.get("sslmode") == "disable":
            hint = "or whether the user has to come with TLS: sslmode=disable is set"
            rule = rule._replace(message=f"{rule.message}, {hint}")
        return code, rule

    def constraint(self, exc: Any, kind: str, sql: str) -> str | None:
        text = str(exc.args[1])
        table = self._syntax.written_table(sql)
        if kind == "not_null":
            column = re.search("'([^']*)'", text)
            return f"{table}_{column[1]}_not_null" if column and table else None
        if kind == "unique":  # the text quotes a value, which may hold "for key": take the last one
            _, marked, name = text.rpartition("for key '")
            if not marked:
                return None
            owner, _, name = name.rstrip("'").rpartition(".")
            if name != "PRIMARY":
                return name
            table = owner or table
            return f"{table}_pkey" if table else None
        found = re.search("CONSTRAINT `([^`]*)`", text) or re.search(
            "constraint '([^']*)'", text, re.IGNORECASE
        )
        return found[1].rpartition(".")[2] if found else None

    def subject(self, exc: Any, sent: _Sent) -> str:
        text = str(exc.args[-1] if exc.args else "")
        if found := self.unfit_column.search(text):
            column = found[1] or found[2].strip("`").rpartition("`")[2]
            return f'column "{column}"'
        if found := self.syntax_error.search(text):
            return self._syntax_error_position(sent.sql, found[1], int(found[2]))
        if exc.args[0] == 1136:  # its text has no name
            return self.named(sent, [self._syntax.written_table(sent.sql) or ""])
        return self.named(sent, map("".join, self.quoted_names.findall(text)))

    def _syntax_error_position(self, sql: str, rest: str, line: int) -> str:
        """Return where the parser stopped. ``rest``: the next 80 characters, with values."""
        code, start = self._syntax.masked(sql), 0
        for _ in range(line - 1):
            start = sql.find("\n", start) + 1
        word = _NAME_PATH.match(rest)
        end = (sql + "\n").find("\n", start)
        shape = rf"(?<![\w$']){re.escape(word[0])}(?![\w$'])" if word else "(?!)"
        found = re.compile(shape).search(code, start, end)
        if found is None:
            return f"line {line}"
        return _name_at(found[0], sql, found.start())


class _PostgresErrorReader(_ErrorReader):
    missing_name_codes = ("42P01", "42703")
    #: the type in the server's text; the value comes after it
    unfit_type = _lazy(
        r"(?:value too long for type|invalid input syntax for type|invalid input value for enum) "
        r'([^:]+?)(?:: "|\Z)|(smallint|integer|bigint) out of range\Z',
        re.DOTALL,
    )
    #: the words are in the server's language
    row_of_copy = _lazy(r"^COPY \S+, \D*(\d+)", re.MULTILINE)
    unfit_column = _lazy(r'COPY .*?, line \d+, column ([^:]+?)(?:: "|\Z)', re.DOTALL)
    quoted_names = _lazy(r"""["«„“] ?([^"«»„“”]+?) ?["»“”]|(?<=column )([\w.$]+)""")

    def row(self, exc: Any) -> int:
        diagnostics = getattr(exc, "diag", None)
        found = self.row_of_copy.search(getattr(diagnostics, "context", None) or "")
        return int(found[1]) if found else 0

    def _rule_by_code(self, exc: BaseException) -> tuple[Any, _ErrorRule]:
        code = getattr(exc, "pgcode", None)
        if code is None:
            refusal = _tls_words(str(exc)) if isinstance(exc, self._driver.OperationalError) else ""
            if refusal:  # libpq gives no code
                return None, _no_connection(f"could not be reached: {refusal}")
            if "asynchronous callback" in str(exc):
                return None, _NO_COPY
            losses = self._driver.OperationalError, self._driver.InterfaceError
            is_lost = isinstance(exc, losses) or type(exc) is self._driver.DatabaseError
            return None, _LOST if is_lost else _REFUSED
        return code, _find_rule(_RULES, (code, code[:2])) or _REFUSED

    def login_rule(self, exc: BaseException) -> tuple[Any, _ErrorRule]:
        code, rule = super().login_rule(exc)
        if code is None and rule is _LOST:
            code, rule = _postgres_login(str(exc))
        if "options" in self._options and rule in (_FOREIGN_WORDS, _NO_ROLE):
            rule = rule._replace(message=f"{rule.message}; the URL's options may be the cause")
        return code, rule

    def constraint(self, exc: Any, kind: str, sql: str) -> str | None:
        found = exc.diag
        name: str | None = found.constraint_name
        return f"{found.table_name}_{found.column_name}_not_null" if kind == "not_null" else name

    def server_text(self, exc: Any) -> str:
        return (getattr(exc, "pgerror", None) or super().server_text(exc)).strip()

    def subject(self, exc: Any, sent: _Sent) -> str:
        diag = getattr(exc, "diag", None)
        if diag is None or not sent.sql:
            return ""
        text = diag.message_primary or ""
        column = self.unfit_column.match(diag.context or "")
        if diag.statement_position:
            subject = self._origin(sent, int(diag.statement_position) - 1 - sent.before)
        elif column and self.named(sent, [column[1]]):
            subject = f'column "{column[1]}"'
        elif diag.column_name:
            subject = f'column "{diag.column_name}"'
        else:
            subject = self.named(sent, map("".join, self.quoted_names.findall(text)))
        kind = self.unfit_type.match(text)
        type_name = f"type {kind[1] or kind[2]}" if kind else ""
        return ", ".join(filter(None, (subject, type_name)))

    def _origin(self, sent: _Sent, at: int) -> str:
        """Return the parameter, or the position in ``sql``, at position ``at`` of the sent text."""
        sql, params, last = sent.sql, sent.params, 0  # ``last``: the end of the last placeholder
        marks = _PLACEHOLDER.finditer(sql) if sent.params is not None else ()
        cursor: Any = sent.session.raw.cursor() if sent.session else None
        number = 0
        for mark in marks:
            if at < mark.start() - last:
                break
            at -= mark.start() - last
            if mark[0] == "%%":
                width = 1
            else:
                key = mark[1] if mark[1] is not None else number
                number += 1
                width = len(cursor.mogrify("%s", [params[key]]).decode())
                if at < width:
                    return f"parameter {mark[1] or number}"
            at, last = at - width, mark.end()
        at += last
        name = _NAME_PATH.match(self._syntax.masked(sql), at)
        return _name_at(name[0], sql, at) if name else _position(sql, at)


def _document_text(value: Any) -> str:
    return _document("a document", value).text


_CONVERTERS: Mapping[type, _Converter | None] = {
    type(None): None,
    bool: None,
    int: None,
    str: lambda v: _check_value(v, "a parameter"),
    bytes: None,
    uuid.UUID: str,
    dict: _document_text,
    _Document: lambda v: v.text,
}


class _Dialect(ABC):
    """An engine's driver, how its sessions are opened, and SQL for them."""

    engine: ClassVar[str]
    syntax_class: ClassVar[type[_Syntax]]
    catalogue_class: ClassVar[type[_Catalogue]]
    errors_class: ClassVar[type[_ErrorReader]]
    #: the driver's module and its pip package
    module: ClassVar[str]
    package: ClassVar[str]
    #: by exact type: a function that prepares a parameter for the driver; None: pass it unchanged
    converters: ClassVar[dict[type, _Converter | None]]
    #: by a field's type: a function that converts the driver's value, if it has another type
    readers: ClassVar[Mapping[type, _Converter]] = {}
    #: Rolls back to a savepoint and releases it. MySQL keeps it until one of that name replaces it.
    undo = "ROLLBACK TO SAVEPOINT {name}"
    #: whether a rollback also undoes SET
    settings_roll_back: ClassVar[bool]
    #: extra seconds that the client waits for the server to stop a statement by itself
    grace = 2.0
    #: for migrations: the types of columns, and the schema in which tables are created
    types: ClassVar[Mapping[str, str]]
    current_schema: ClassVar[str]
    #: for migrations and moves: a lock that a connection holds, and the id of that connection
    try_lock: ClassVar[str]
    unlock: ClassVar[str]
    lock_holder: ClassVar[str]
    #: whether an index serves ``(a, b) > (x, y)``
    row_comparison: ClassVar[bool]
    #: checks deferred constraints; "": the engine has none
    check_constraints = ""
    #: for the connection that writes the history: a short lock timeout, and no idle timeout
    history_session: ClassVar[str]
    #: for a migration's connection: settings that must not come from the server's globals
    migration_session = "SELECT 1"
    #: For migrations in one transaction, which only Postgres has: returns the statements that reset
    #: the session to its settings.
    resets: Callable[[], str]
    #: the last warnings, and the code of the warning for an incomplete rollback
    warnings = "SELECT 1 LIMIT 0"
    incomplete_rollback = 0
    #: the option that makes a dump omit the history
    dump_without: ClassVar[str]
    stream_prefix = ""
    #: whether rows that the server writes as text are read faster than by the driver
    splits = False
    #: ends an INSERT of which ``made_id`` reads the id that the server made
    returning = ""
    #: Ends an INSERT that changes the row with the same key, and returns the row and whether it is
    #: new. "": the engine takes any unique key for that.
    on_conflict = ""

    def __init__(self, config: DatabaseConfig) -> None:
        self.converters = {**self.converters, tuple: self.convert_many}  # type: ignore[misc]
        self.syntax = self.syntax_class()
        self.name = self.syntax.name
        self.catalogue = self.catalogue_class(self.name)
        self.config = config
        self.url = _Url.parse(config.url)
        self.port = self.url.port or _PORTS[self.engine]
        self.driver = _import_driver(self.module, self.package, f"a {self.engine} ConnectionPool")
        self.errors = self.errors_class(self.driver, self.url.options, self.syntax)
        self.tls_context: Any = None
        options = self.url.options
        if options.keys() & {*_TLS_FILES}:  # libpq would check the files late, and without a code
            self.tls_context = _tls_context(options, options.get("sslmode", "prefer"))

    def convert(self, params: Any) -> Any:
        """Return the parameters as the driver accepts them. Raises ValidationError."""
        if params is None:
            return None
        if isinstance(params, (list, tuple)):
            known = self.converters
            converted = []
            try:
                for value in params:  # a comprehension is a call, until Python 3.12
                    converter = known[value.__class__]
                    converted.append(value if converter is None else converter(value))
                return converted
            except (InfrastructureError, KeyError):
                return list(self.convert_named(enumerate(params, 1)).values())
        if isinstance(params, Mapping):
            return self.convert_named(params.items())
        raise ValidationError("params should be a list or tuple for %s, or a dict for %(name)s")

    def convert_named(self, params: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
        """Convert parameters. The message of an error names the parameter."""
        converted = {}
        for name, value in params:
            try:
                converted[_plain(name)] = self.convert_one(value)
            except InfrastructureError as error:
                raise type(error)(f"parameter {name}: {error}") from None
        return converted

    def convert_one(self, value: Any) -> Any:
        kind = value.__class__
        if kind not in self.converters:  # a subclass, such as an enumeration of str
            known = [base for base in self.converters if isinstance(value, base)]
            if not known:
                raise ValidationError(
                    f"a value should not be of type {kind.__name__}: {self.engine} takes none"
                )
            kind, value = known[0], _plain(value)
        converter = self.converters[kind]
        return value if converter is None else converter(value)

    def convert_many(self, values: Any) -> Any:
        """Convert a tuple for ``IN %s``."""
        if not values:
            raise ValidationError("a tuple for IN should not be empty")
        return tuple(self.convert_one(value) for value in values)

    def bind(self, cursor: Any, sql: str, params: Any) -> Any:
        """Return the statement with its parameters filled in, as the driver sends it."""
        if params is None:
            return sql
        if type(params) is dict and "%s" in sql.replace("%%", ""):
            raise _placeholder_error(sql, params, "")  # PyMySQL would fill in the whole dict
        try:
            return cursor.mogrify(sql, params)
        except (TypeError, ValueError, LookupError, self.driver.ProgrammingError) as exc:
            reason = type(exc).__name__
        raise _placeholder_error(sql, params, reason)

    @abstractmethod
    def connect(self, seconds: float, now: float) -> _Session: ...
    @abstractmethod
    def made_id(self, cursor: Any) -> int: ...

    def lock_name(self, schema: str) -> str:
        """Return the name of the lock for migrations. Postgres's locks are local to a database."""
        return "infra schema_migrations"

    def from_rendered(self, rendered: bytes) -> bytes:
        """Return what a server has written as ``insert_rendered`` takes it, in any thread."""
        return rendered

    @abstractmethod
    def server_name(self, version: str) -> str: ...

    @property
    def address(self) -> str:
        return f"{self.url.host}:{self.port}"


def _strings(column: Sequence[Any]) -> Sequence[str]:
    return list(map(str, column))


class _RowTexts:
    """Writes rows as the text of INSERT or COPY."""

    #: by exact type: a function that writes a column of such values
    writers: Mapping[type, Callable[[Sequence[Any]], Sequence[str]]]

    def rows(self, columns: _Columns) -> Iterator[tuple[str, ...]]:
        return zip(*map(self.column, columns))

    def column(self, values: Sequence[Any]) -> Sequence[str]:
        """Return a column's values as texts, by one writer if they have one type."""
        types = {*map(type, values)}
        if len(types) == 2 and type(None) in types:
            null, written = self.value(None), self.column(_without_none(values))
            return _with_none(values, written, null)
        writer = self.writers.get(types.pop()) if len(types) == 1 else None
        return writer(values) if writer is not None else [*map(self.value, values)]

    def value(self, value: Any) -> str:
        found = _plain(value)
        # psycopg2's classes of ranges have a common base.
        writer = _find_rule(self.writers, type(found).__mro__)
        if writer is None:
            raise ValidationError(f"a value should not be of type {type(value).__name__}")
        return writer((found,))[0]


def _escaped(
    column: Sequence[str], special: re.Pattern[str], escape: Callable[[str], str]
) -> Sequence[str]:
    """Return a column's texts, escaped if any of them has a special character."""
    return [escape(text) for text in column] if special.search("".join(column)) else column


_MYSQL_SPECIAL = _lazy(r"""[\\'"\n\r\x1a]""")


def _mysql_time(value: timedelta) -> str:
    """Return the text of a TIME. PyMySQL writes negative timedeltas wrongly."""
    seconds, rest = divmod(abs(value), timedelta(seconds=1))
    hours, minutes = divmod(seconds // 60, 60)
    sign = "-" if value < timedelta() else ""
    return f"{sign}{hours:02d}:{minutes:02d}:{seconds % 60:02d}.{rest.microseconds:06d}"


def _local_time(value: day_time) -> str:
    if value.tzinfo is not None:
        raise ValidationError("a time should be without a time zone")
    return value.isoformat()


def _read_document(value: Any) -> Any:
    """Parse JSON text of a LONGTEXT column. The driver parses JSON columns."""
    return json.loads(value) if isinstance(value, str) else value


def _open_unix_socket(path: str, timeout: float) -> socket.socket:
    """Connect to a Unix socket. PyMySQL would leave the socket open after a failure."""
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        raw.settimeout(timeout)
        raw.connect(path)
    except BaseException:
        raw.close()
        raise
    return raw


class _MySqlResult:
    """What this library adds to PyMySQL's result (tried on 1.1 and 1.2)."""

    #: Reads no rest of a stream. PyMySQL's destructors of results and cursors would, also after
    #: Ctrl-C. ``bool``: in Python code that a destructor calls, Ctrl-C would be lost.
    _finish_unbuffered_query = bool

    def _read_row_from_packet(self: Any, packet: Any) -> tuple[Any, ...]:
        """Read a row in one step: a page of 100 records takes 10 % less client CPU."""
        data, start, row = packet._data, packet._position, []
        for encoding, convert in self.converters:
            start += 1
            end = start + data[start - 1]
            value = data[start:end]
            if end - start > 250:  # NULL, or a long value
                packet._position = start - 1
                value = packet.read_length_coded_string()
                end = packet._position
            if value is not None:
                value = value if encoding is None else value.decode(encoding)
                value = value if convert is None else convert(value)
            row.append(value)
            start = end
        return tuple(row)


class _MySqlConnection(cast("Any", object)):  # type: ignore[misc]
    """What this library adds to PyMySQL's connection (tried on 1.1 and 1.2)."""

    #: called with the connection before it reads a reply; None: the server limits statements
    await_answer: Callable[[Any], None] | None = None
    #: whether the statement was stopped; None: that was not tried
    stopped: bool | None = None
    peer: Any = None  # the server's address
    _result_class: Any
    _read_timeout: float

    def connect(self, sock: Any = None) -> None:
        if sock is None and self.unix_socket:
            sock = _open_unix_socket(self.unix_socket, self.connect_timeout)
            self._secure = True  # PyMySQL may send a plain password over a Unix socket
        super().connect(sock)

    def query(self, sql: Any, unbuffered: bool = False) -> Any:
        read_timeout, self.stopped = self._read_timeout, None
        try:
            return super().query(sql, unbuffered)
        except Exception:
            raise
        except BaseException:  # Ctrl-C: the next statement would read this one's reply
            self._force_close()
            raise
        finally:
            self._read_timeout = read_timeout

    def _read_query_result(self, unbuffered: bool = False) -> Any:
        self._result = None
        result = self._result_class(self)
        if unbuffered:
            result.init_unbuffered_query()
        else:
            result.read()
        self._result = result
        if result.server_status is not None:
            self.server_status = result.server_status
        return result.affected_rows

    def _create_ssl_ctx(self, ssl: Any) -> Any:
        return super()._create_ssl_ctx(ssl) if ssl else _unverified_context()

    def _execute_command(self, command: Any, sql: Any) -> None:
        super()._execute_command(command, sql)
        if self.await_answer is not None:  # no part of the reply is buffered yet
            self.await_answer(self)


class _InsertTexts(_RowTexts):
    def __init__(self, convert: _Converter, escape: Callable[[str], str]) -> None:
        self._escape = escape
        self.writers = {
            str: self._quoted,
            int: _strings,
            type(None): lambda column: ["NULL"] * len(column),
            bool: lambda column: ["1" if value else "0" for value in column],
            float: lambda column: [repr(_check_finite(value)) for value in column],
            bytes: lambda column: [f"x'{value.hex()}'" for value in column],
            **dict.fromkeys(
                (datetime, uuid.UUID, date, Decimal, day_time, timedelta),
                lambda column: [f"'{convert(value)}'" for value in column],
            ),
            _Document: lambda column: self._quoted([value.text for value in column]),
        }

    def _quoted(self, column: Sequence[str]) -> Sequence[str]:
        return [f"'{text}'" for text in _escaped(column, _MYSQL_SPECIAL, self._escape)]


class _MySqlSession(_Session):
    dialect: _MySqlDialect
    #: by flavour: the server's own time limit, and whether it covers every statement
    limits: ClassVar = {
        "MariaDB": ("max_statement_time={seconds}", True),
        "MySQL": ("max_execution_time={milliseconds}", False),  # SELECT only
    }
    #: statements that return rows and never end a transaction
    reads = _lazy(r"(?i)[\s(]*(?:SELECT|SHOW|WITH|EXPLAIN|DESC|DESCRIBE|VALUES|TABLE)\b")

    def flavour(self) -> str:
        return "MariaDB" if "MariaDB" in self.raw.get_server_info() else "MySQL"

    def limit(self, limited: bool) -> None:
        seconds = self.dialect.config.query_timeout if limited else 0
        limit, covers_all = self.limits[self.flavour()]
        limit = limit.format(seconds=seconds, milliseconds=_whole_milliseconds(seconds))
        reader_pause = 60 if limited else math.ceil(self.dialect.config.idle_timeout)  # seconds
        self.raw.query(f"SET {limit}, net_write_timeout={reader_pause}")
        self.raw.await_answer = self.dialect.await_answer if limited and not covers_all else None
        self.raw.stopped = None
        self.set_client_timeout(limited)

    def set_read_timeout(self, seconds: float) -> None:
        self.raw._read_timeout = self.raw._write_timeout = seconds

    def execute(self, cursor: Any, sql: Any, params: Any = None) -> None:
        cursor.execute(self.dialect.bind(cursor, sql, params))
        if self.raw.stopped:  # the statement finished first: the KILL must not hit the next one
            with contextlib.suppress(self.driver.Error):
                self.raw.query("DO 0")
        if cursor.description is not None and not self.reads.match(sql):
            # PyMySQL reads no server status from rows. This also discards a CALL's further results.
            self.raw.query("DO 0")

    def transaction_survives(self) -> bool:
        self.raw.query("DO 0")  # an error carries no server status
        return self.in_transaction()

    def timed_out(self) -> bool:
        # MySQL continues a statement whose client has disconnected.
        raw = self.raw
        if self.limited and raw.await_answer is None:  # the server's own limit covers it
            return False
        if raw.stopped is None:
            raw.stopped = self.dialect.kill("CONNECTION", raw)
        return self.limited and bool(raw.stopped)

    def cut(self) -> None:
        if not self.timed_out():
            with contextlib.suppress(Exception), _twin_socket(self.raw._sock) as twin:
                twin.shutdown(socket.SHUT_RDWR)

    def is_autocommit(self) -> bool:
        return bool(self.raw.server_status & 2)

    def is_locking(self, table: str) -> bool:
        try:
            self.raw.query(f"SELECT 1 FROM {table} LIMIT 0")
        except self.driver.Error as exc:  # 1100: the table is not locked, but others are
            return bool(exc.args[:1] == (1100,))
        return False

    def is_open(self) -> bool:
        return bool(self.raw.open)

    def is_idle(self) -> bool:
        raw = self.raw  # status bits: 1 in a transaction, 2 autocommit, 8 more results to come
        if raw._sock is None or raw.server_status & 11 != 2:
            return False
        result = raw._result  # the next borrower would read a CALL's remaining results
        return result is None or not (result.unbuffered_active or result.has_next)

    def in_transaction(self) -> bool:
        return bool(self.raw.server_status & 1)

    def close(self) -> None:
        try:
            self.detach()
        finally:
            self.raw._force_close()  # without COM_QUIT, which could block

    def detach(self) -> int:
        raw = self.raw
        if raw._result is not None:  # its destructor must not read the rest of a stream
            raw._result.unbuffered_active = False
        return raw._sock.fileno() if raw._sock is not None else -1

    def read_columns(self, table: str, names: _Names) -> Sequence[_ColumnType | None]:
        wanted = [name.lower() for name in names]  # MySQL ignores the case of column names
        catalogue = self.dialect.catalogue
        rows = self.select(f"SHOW FULL COLUMNS FROM {self.dialect.name(table)}")
        found = {
            name.lower(): catalogue.catalogued(text, collation or "")
            for name, text, collation, *_ in rows
            if name.lower() in wanted
        }
        json_columns = catalogue.json_columns.get(self.flavour())
        if json_columns and any(column.kind == "long text" for column in found.values()):
            for (name,) in self.select(json_columns, catalogue.table_params(table)):
                if name.lower() in found:
                    found[name.lower()] = catalogue.column_types["json"]
        return [found.get(name) for name in wanted]

    def insert_rows(
        self, table: str, names: _Names, columns: _Columns, numbered: bool = False
    ) -> tuple[int, Sequence[int]]:
        """Send INSERT statements of many rows, each well below max_allowed_packet."""
        cursor, total, ids, step = self.raw.cursor(), 0, list[int](), 1
        if numbered:
            ((step,),) = self.select("SELECT @@auto_increment_increment")
        head = f"INSERT INTO {self.target(table, names)} VALUES ("
        for size, texts in self._portions(columns, self._largest() - len(head)):
            cursor.execute(head + "), (".join(texts) + ")")
            total += size
            # Ids of one statement have no gaps: InnoDB knows their number before the first one.
            first = cursor.lastrowid
            ids += range(first, first + step * len(texts), step) if numbered else ()
        return total, ids

    def _largest(self) -> int:
        if not self.dialect.largest:
            ((self.dialect.largest,),) = self.select("SELECT @@max_allowed_packet - 1024")
        return self.dialect.largest

    def _portions(self, columns: _Columns, most: int) -> Iterator[tuple[int, list[str]]]:
        """Yield the texts of rows, about a megabyte at a time, each with its bytes."""
        texts = list(map(", ".join, self.dialect.texts.rows(columns)))
        start = size = 0
        for at, text in enumerate(texts):
            length = len(text) if text.isascii() else len(text.encode())
            if length > most:
                raise self.driver.err.DataError(1153, "")
            if size and size + length > min(most, 1 << 20):
                yield size, texts[start:at]
                start, size = at, 0
            size += length + 4
        yield size, texts[start:]

    def insert_rendered(self, table: str, names: _Names, rendered: bytes) -> None:
        head = f"INSERT INTO {self.target(table, names)} VALUES ('"
        statement = head.encode() + _replaced(rendered, _TO_VALUES) + b"')"
        statement = statement.replace(b"'\x03'", b"NULL").replace(b"'\x04", b"x'")
        if len(statement) > self._largest():
            cut = rendered.rfind(_ROW_END, 0, len(rendered) // 2)
            if cut < 0:
                raise self.driver.err.DataError(1153, "")
            for half in (rendered[:cut], rendered[cut + 1 :]):
                self.insert_rendered(table, names, half)
            return
        cursor = self.raw.cursor()
        cursor.execute(statement)
        if cursor.warning_count:  # the server has changed a value
            raise self.driver.err.DataError(1265, "")

    def open_stream(self, statement: Any) -> Any:
        cursor = self.raw.cursor(self.dialect.streaming)
        cursor.execute(statement)
        return cursor

    def fetch(self, cursor: Any, count: int) -> Sequence[_Row]:
        return list(cursor.fetchmany(count))


class _MySqlDialect(_Dialect):
    """MySQL and MariaDB over PyMySQL."""

    engine = "mysql"
    syntax_class = _MySqlSyntax
    errors_class = _MySqlErrorReader
    catalogue_class = _MySqlCatalogue
    catalogue: _MySqlCatalogue
    module = "pymysql"
    package = "PyMySQL[rsa]>=1.1"
    settings_roll_back = False
    #: the bytes of the largest statement that the server takes; 0: not known yet
    largest = 0
    #: seconds after query_timeout until the client kills a statement that the server does not limit
    kill_after = 0.1
    #: seconds for the login of the connection that sends KILL
    kill_patience = 3.0
    converters: ClassVar = {
        **_CONVERTERS,
        float: _check_finite,
        Decimal: _check_finite,
        datetime: lambda v: _to_utc(v).replace(tzinfo=None).isoformat(" "),
        date: None,
        day_time: _local_time,
        timedelta: _mysql_time,
    }
    readers: ClassVar = {
        bool: bool,
        uuid.UUID: _uuid_of,
        dict: _read_document,
        list: _read_document,
    }
    types: ClassVar = {"moment": "DATETIME(6)", "text": "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"}
    current_schema = "database()"
    try_lock = "SELECT GET_LOCK(%s, 0)"
    unlock = "SELECT RELEASE_LOCK(%s)"
    lock_holder = "SELECT IS_USED_LOCK(%s)"
    row_comparison = False  # MySQL would read the whole index
    splits = True
    history_session = "SET lock_wait_timeout=10, wait_timeout=31536000"
    migration_session = "SET foreign_key_checks=1, unique_checks=1"
    warnings = "SHOW WARNINGS"
    incomplete_rollback = 1196  # a table of an engine without transactions
    dump_without = "--ignore-table=DATABASE.schema_migrations"
    # English messages, because the names of constraints are read from them
    session = (
        "SET autocommit=1, time_zone='+00:00', lc_messages='en_US', "
        "innodb_lock_wait_timeout={lock_seconds}, sql_mode='STRICT_ALL_TABLES,NO_ZERO_IN_DATE,"
        "NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', "
        # for moves, and for tags: MariaDB cuts off a longer JSON_ARRAYAGG, too
        "group_concat_max_len=CAST(GREATEST(@@group_concat_max_len, @@max_allowed_packet) "
        "AS UNSIGNED)"
    )
    isolation = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"

    def __init__(self, config: DatabaseConfig) -> None:
        super().__init__(config)
        driver, options = self.driver, self.url.options
        self.streaming = driver.cursors.SSCursor
        self.texts = _InsertTexts(self.convert_one, driver.converters.escape_string)
        # https://www.postgresql.org/docs/current/libpq-ssl.html
        mode = options.get("sslmode", "prefer")
        self._prefers_tls = mode == "prefer"
        self._tls: dict[str, Any] = {}  # PyMySQL's arguments
        if mode == "disable":
            self._tls = {"ssl_disabled": True}
        elif not self._prefers_tls:
            self._tls = {"ssl": self.tls_context or _tls_context(options, mode)}
        theirs = driver.connections
        result = type("_Result", (_MySqlResult, theirs.MySQLResult), {})
        classes = _MySqlConnection, theirs.Connection
        self._connection: Any = type("_Connection", classes, {"_result_class": result})
        types = driver.constants.FIELD_TYPE
        self._conversions = {
            **driver.converters.conversions,
            types.DATETIME: _mysql_date,
            types.TIMESTAMP: _mysql_date,
            types.JSON: json.loads,  # not on MariaDB, which sends JSON as LONGTEXT
        }

    @property
    def address(self) -> str:
        return self.url.host if self.url.host.startswith("/") else super().address

    def connect(self, seconds: float, now: float) -> _Session:
        raw = self._log_in(seconds)
        session = _MySqlSession(self, raw, raw._sock.fileno(), now)
        try:
            # Whole seconds, and if possible less than query_timeout, which must not win.
            lock_seconds = max(1, math.ceil(self.config.query_timeout) - 1)
            raw.query(self.session.format(lock_seconds=lock_seconds))
            raw.query(self.isolation)
            session.limit(True)
        except BaseException:
            session.disconnect()
            raise
        return session

    def _log_in(self, seconds: float) -> Any:
        url, driver, tls = self.url, self.driver, self._tls
        if self._prefers_tls:
            self._tls = {}
        try:
            raw = self._connection(
                host=url.host,
                port=self.port,
                unix_socket=url.host if url.host.startswith("/") else None,
                user=url.user,
                password=(url.password or "").encode(),
                database=url.path,
                charset="utf8mb4",
                autocommit=True,
                client_flag=driver.constants.CLIENT.FOUND_ROWS,
                connect_timeout=seconds,
                read_timeout=seconds,
                write_timeout=seconds,
                local_infile=False,
                conv=self._conversions,
                **tls,
            )
        except driver.err.OperationalError as exc:
            # PyMySQL before 1.2 logs in without TLS. Oracle MySQL reports that as a bad handshake.
            if "ssl" in tls and exc.args[0] == 1043:
                raise driver.err.OperationalError(2026, "") from None
            raise
        except OSError as exc:  # of a Unix socket
            raise driver.err.OperationalError(2003, "") from exc
        raw.peer = raw._sock.getpeername()
        encrypted = hasattr(raw._sock, "getpeercert")
        if self._prefers_tls:  # later logins need not find out again whether the server has TLS
            self._tls = {"ssl": raw.ctx} if encrypted else {"ssl_disabled": True}
        if "ssl" in tls and not encrypted:  # PyMySQL before 1.2 continues without TLS
            raw._force_close()
            raise driver.err.OperationalError(2026, "")
        return raw

    def made_id(self, cursor: Any) -> int:
        return int(cursor.lastrowid)

    def await_answer(self, raw: Any) -> None:
        """Wait for the reply. After query_timeout kill the statement: it replies with an error."""
        milliseconds = _timeout(self.config.query_timeout + self.kill_after)
        if _readiness(raw._sock.fileno())(milliseconds):
            return
        raw.stopped = self.kill("QUERY", raw)
        # The server rolls back before it replies. If it refused the KILL, it sends no reply.
        raw._read_timeout = self.grace if raw.stopped else 0.001

    def kill(self, target: str, raw: Any) -> bool:
        """Send KILL QUERY or KILL CONNECTION for ``raw``; return whether the server accepted it."""
        control = None
        try:
            control = self._log_in(min(self.kill_patience, self.config.connect_timeout))
            # A host name may have several servers: on another one the id is another client's.
            if control.peer != raw.peer:
                raise OSError
            control.query(f"KILL {target} {raw.thread_id():d}")
        except (self.driver.Error, OSError) as exc:
            logger.warning(
                "mysql: a statement that timed out may still run (%s)", type(exc).__name__
            )
            return False
        except BaseException as exc:  # from a signal handler; not every caller is a CallPolicy
            import traceback

            traceback.clear_frames(exc.__traceback__)
            raise
        finally:
            if control is not None:
                control._force_close()
        return True

    def lock_name(self, schema: str) -> str:
        # Locks are global to the server, and their names have at most 64 characters.
        import hashlib

        return "infra " + hashlib.sha1(schema.encode(), usedforsecurity=False).hexdigest()

    def server_name(self, version: str) -> str:
        return f"{'MariaDB' if 'MariaDB' in version else 'MySQL'} {version.partition('-')[0]}"


def _replaced(text: bytes, pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    for old, new in pairs:
        text = text.replace(old, new)
    return text


#: make VALUES and COPY of what servers write, in this order
_TO_VALUES = ((b"\\", b"\\\\"), (b"'", b"\\'"), (_VALUE_END, b"','"), (_ROW_END, b"'),('"))
_TO_COPY = (
    (b"\\", b"\\\\"), (b"\t", b"\\t"), (b"\n", b"\\n"), (b"\r", b"\\r"),
    (_VALUE_END, b"\t"), (_ROW_END, b"\n"), (_NULL_MARK, b"\\N"), (_BYTES_MARK, b"\\\\x"),
)  # fmt: skip


_COPY_SPECIAL = _lazy(r"[\\\n\r\t]")


def _copy_escaped(text: str) -> str:
    """Return a text as COPY reads it. This is twelve times as fast as ``str.translate``."""
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace("\r", "\\r").replace("\t", "\\t")


def _postgres_interval(value: timedelta) -> str:
    return f"{value.days} days {value.seconds}.{value.microseconds:06d} seconds"


def _postgres_array(value: Any) -> str:
    # https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
    if isinstance(value, list):
        return "{" + ",".join(map(_postgres_array, value)) + "}"
    if value is None:
        return "NULL"
    text = _ARRAY_TEXTS.get(_value_type(type(value)), str)(_plain(value))
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _postgres_range(value: Any) -> str:
    # https://www.postgresql.org/docs/current/rangetypes.html#RANGETYPES-IO
    if not hasattr(value, "isempty"):
        raise ValidationError("a list among the parameters holds what is no element of an array")
    if value.isempty:
        return "empty"
    ends = ["" if end is None else _postgres_array(end) for end in (value.lower, value.upper)]
    return "(["[value.lower_inc] + ",".join(ends) + ")]"[value.upper_inc]


def _holds_untyped(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_holds_untyped, value))
    kind = _value_type(type(value))
    return kind in (uuid.UUID, dict) or (kind is object and hasattr(value, "isempty"))


#: functions that write an element of an array, for types that need another one than ``str``
_ARRAY_TEXTS: Mapping[type, Callable[[Any], str]] = {
    bytes: lambda value: "\\x" + value.hex(),
    datetime: datetime.isoformat,
    timedelta: _postgres_interval,
    dict: _document_text,
    object: _postgres_range,
}
#: The text of an empty array. The form feed is invalid in JSON: no document gets an empty object.
_EMPTY_ARRAY = "\f{}"


class _CopyTexts(_RowTexts):
    ROWS = 1000  # in one read of a _CopySource

    def __init__(self, a_range: type) -> None:
        self.writers = {
            str: lambda column: _escaped(column, _COPY_SPECIAL, _copy_escaped),
            bool: lambda column: ["t" if value else "f" for value in column],
            type(None): lambda column: ["\\N"] * len(column),
            bytes: lambda column: ["\\\\x" + value.hex() for value in column],
            datetime: lambda column: list(map(datetime.isoformat, column)),
            timedelta: lambda column: list(map(_postgres_interval, column)),
            list: lambda column: [_copy_escaped(_postgres_array(v)) for v in column],
            a_range: lambda column: [_copy_escaped(_postgres_range(v)) for v in column],
            _Document: lambda column: self.writers[str]([value.text for value in column]),
            **dict.fromkeys((int, float, uuid.UUID, date, Decimal, day_time), _strings),
        }

    def lines(self, columns: _Columns) -> Iterator[bytes]:
        for start in range(0, len(columns[0]), self.ROWS):
            rows = self.rows([column[start : start + self.ROWS] for column in columns])
            yield ("\n".join(map("\t".join, rows)) + "\n").encode()


# On its own: by way of _type_reader it would take a tenth longer.
def _read_bytes(text: str | None, _: object) -> bytes | None:
    return None if text is None else bytes.fromhex(text[2:])


def _type_reader(read: _Converter) -> Callable[[str | None, object], Any]:
    """Return the function by which psycopg2 reads a type whose texts ``read`` converts."""
    return lambda text, _: None if text is None else read(text)


class _PostgresSession(_Session):
    dialect: _PostgresDialect
    next_ids = "SELECT nextval(pg_get_serial_sequence(%s, %s)) FROM generate_series(1, %s)"

    def limit(self, limited: bool) -> None:
        seconds = self.dialect.config.query_timeout if limited else 0
        self.execute(self.raw.cursor(), f"SET statement_timeout = {_timeout(seconds)}")
        self.set_client_timeout(limited)

    def set_read_timeout(self, seconds: float) -> None:
        self.patience = seconds

    def execute(self, cursor: Any, sql: Any, params: Any = None) -> None:
        _watchdog.watch(self)
        try:
            if self.interruptible:
                _interrupts.call(self, cursor.execute, sql, params)
            else:
                cursor.execute(sql, params)
            return
        except self.driver.Error as exc:
            if self.expired:  # psycopg2 reports only a closed connection, without a code
                raise builtins.TimeoutError from exc
            raise
        except (TypeError, ValueError, LookupError) as exc:  # psycopg2 has sent nothing yet
            reason = type(exc).__name__
        finally:
            _watchdog.unwatch(self)
        raise _placeholder_error(sql, params, reason)

    def cut(self) -> None:
        with contextlib.suppress(Exception):  # the connection has just ended
            _cancel(self.raw, _twin_socket(self.raw))

    def is_open(self) -> bool:
        return not self.raw.closed

    def is_idle(self) -> bool:
        raw = self.raw
        if raw.closed or self.interrupted:
            return False
        return raw.autocommit is True and not raw.get_transaction_status()

    def in_transaction(self) -> bool:
        return bool(self.raw.get_transaction_status() == 2)

    def transaction_survives(self) -> bool:
        return self.raw.get_transaction_status() in (2, 3)

    def close(self) -> None:
        if not self.raw.closed:
            self.raw.close()

    def detach(self) -> int:
        return -1 if self.raw.closed else self.raw.fileno()

    def read_columns(self, table: str, names: _Names) -> Sequence[_ColumnType | None]:
        catalogue = self.dialect.catalogue
        rows = self.select(catalogue.column_query, [self.dialect.name(table)])
        found = {name: catalogue.catalogued(text) for name, text in rows}
        return [found.get(name) for name in names] if found else []  # []: there is no such table

    def insert_rows(
        self, table: str, names: _Names, columns: _Columns, numbered: bool = False
    ) -> tuple[int, Sequence[int]]:
        ids: list[int] = []
        if numbered:
            place = [self.dialect.name(table), names[-1], len(columns[-1])]
            ids = [id for (id,) in self.select(self.next_ids, place)]
            columns = [*columns[:-1], ids]
        source = _CopySource(self.dialect.texts.lines(columns))
        try:
            self._copy(table, names, source)
        except self.driver.Error:
            if source.failure is None:
                raise
        if source.failure is not None:
            raise source.failure
        return source.size, ids

    def insert_rendered(self, table: str, names: _Names, rendered: bytes) -> None:
        self._copy(table, names, io.BytesIO(rendered))

    def _copy(self, table: str, names: _Names, source: Any) -> None:
        command = f"COPY {self.target(table, names)} FROM STDIN"
        copy = functools.partial(self.raw.cursor().copy_expert, size=1 << 18)
        self.execute(types.SimpleNamespace(execute=copy), command, source)  # as a cursor

    def open_stream(self, statement: Any) -> Any:
        cursor = self.raw.cursor()
        text = statement if isinstance(statement, bytes) else statement.encode()
        self.execute(cursor, "BEGIN")
        self.execute(cursor, self.dialect.stream_prefix.encode() + text)
        return cursor

    def fetch(self, cursor: Any, count: int) -> Sequence[_Row]:
        self.execute(cursor, f"FETCH FORWARD {count} FROM infra_stream")
        rows: list[_Row] = cursor.fetchall()
        if len(rows) < count:
            self.execute(self.raw.cursor(), "ROLLBACK")  # `cursor` keeps its columns
        return rows


class _PostgresDialect(_Dialect):
    """Postgres over psycopg2."""

    engine = "postgres"
    syntax_class = _PostgresSyntax
    errors_class = _PostgresErrorReader
    catalogue_class = _PostgresCatalogue
    catalogue: _PostgresCatalogue
    module = "psycopg2"
    package = "psycopg2-binary>=2.9"
    settings_roll_back = True
    undo = "ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}"
    stream_prefix = "DECLARE infra_stream NO SCROLL CURSOR FOR "
    returning = " RETURNING {}"
    on_conflict = " ON CONFLICT ({key}) DO UPDATE SET {settings} RETURNING {shown}, (xmax = 0)"
    types: ClassVar = {"moment": "TIMESTAMPTZ", "text": 'COLLATE "C"'}
    current_schema = "current_schema()"
    try_lock = "SELECT pg_try_advisory_lock(hashtext(%s))::int"
    unlock = "SELECT pg_advisory_unlock(hashtext(%s))"
    lock_holder = (  # https://www.postgresql.org/docs/current/view-pg-locks.html
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 "
        "AND (classid::bigint << 32) | objid::bigint = hashtext(%s)"
    )
    row_comparison = True
    check_constraints = "SET CONSTRAINTS ALL IMMEDIATE"
    # Postgres 13 does not have this setting.
    history_session = (
        "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'"
    )
    dump_without = "--exclude-table=schema_migrations"
    converters: ClassVar = {
        **_CONVERTERS,
        float: None,
        # psycopg2 would send an infinite Decimal as NaN.
        Decimal: lambda v: v if v.is_nan() and not v.is_snan() else _check_finite(v),
        datetime: lambda v: v if v.utcoffset() is None else _to_utc(v),  # TIMESTAMP has no zone
        date: None,
        day_time: day_time.isoformat,
        timedelta: None,
    }
    session = (
        "SET TIME ZONE 'UTC'; SET standard_conforming_strings = on; SET bytea_output = 'hex'; "
        "SET default_transaction_isolation = 'read committed'; "
        "SET statement_timeout = {milliseconds}; SET lock_timeout = {lock}"
    )

    def __init__(self, config: DatabaseConfig) -> None:
        super().__init__(config)
        self.converters[list] = self.convert_list
        a_range = importlib.import_module("psycopg2.extras").Range
        self.converters[a_range] = None
        ext = self.driver.extensions
        to_uuid = ext.new_type((2950,), "UUID", _type_reader(_uuid_of))
        to_bytes = ext.new_type((17,), "BYTES", _read_bytes)
        self._types = [
            to_uuid, to_bytes, ext.new_type((114,), "JSON", _type_reader(json.loads)),
            ext.new_array_type((2951,), "UUID[]", to_uuid),
            ext.new_array_type((1001,), "BYTEA[]", to_bytes),
        ]  # fmt: skip
        self.texts = _CopyTexts(a_range)

    def convert_list(self, values: Any) -> Any:
        """Convert a list for an array. psycopg2 would send ids, documents and ranges as texts."""
        if not values:
            return _EMPTY_ARRAY
        converted = [self.convert_one(value) if value != [] else value for value in values]
        return _postgres_array(values) if _holds_untyped(values) else converted

    def connect(self, seconds: float, now: float) -> _Session:
        url, driver = self.url, self.driver
        whole_seconds = max(2, math.ceil(seconds))  # libpq takes whole seconds, 2 at least
        due = SystemClock.monotonic() + whole_seconds - 0.1
        connect = functools.partial(
            driver.connect,
            host=url.host,
            port=self.port,
            user=url.user,
            password=url.password,
            dbname=url.path,
            connect_timeout=whole_seconds,
            client_encoding="UTF8",
            keepalives=1,
            keepalives_idle=30,
            keepalives_interval=10,
            keepalives_count=3,
            tcp_user_timeout=_timeout(self.config.query_timeout + self.grace),
            **url.options,
        )
        try:
            raw = _interruptibly(connect) if self.config.interruptible else connect()
        except driver.OperationalError as exc:
            if SystemClock.monotonic() >= due:
                raise builtins.TimeoutError from exc  # psycopg2 gives no code for a timeout
            raise
        session = _PostgresSession(self, raw, raw.fileno(), now)
        session.set_read_timeout(seconds)
        try:
            raw.autocommit = True
            for type_reader in self._types:
                driver.extensions.register_type(type_reader, raw)
            session.execute(raw.cursor(), self._settings(self.config.query_timeout))
            session.set_client_timeout(True)
        except BaseException:
            session.disconnect()
            raise
        return session

    def made_id(self, cursor: Any) -> int:
        return int(cursor.fetchone()[0])

    def resets(self) -> str:
        return f"RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; {self._settings(0)}"

    def _settings(self, seconds: float) -> str:
        """Return the session's settings. ``seconds``: the limit for a statement; 0: no limit."""
        # Less than query_timeout: a wait for a lock always raises the lock timeout.
        lock = max(1, _timeout(self.config.query_timeout) * 9 // 10)
        return self.session.format(milliseconds=_timeout(seconds), lock=lock)

    def from_rendered(self, rendered: bytes) -> bytes:
        return _replaced(rendered, _TO_COPY) + b"\n"

    def server_name(self, version: str) -> str:
        return " ".join(version.split()[:2])


class _CopySource:
    """The file from which psycopg2 reads the lines of a COPY.

    They are made on demand while the server works on earlier ones. That saves a third of the time
    of a COPY of 100,000 rows (bench/pool.py).
    """

    def __init__(self, lines: Iterator[bytes]) -> None:
        self.size = 0  # bytes that were read
        #: the exception of ``read``, because psycopg2 only quotes its text
        self.failure: BaseException | None = None
        self._lines = lines

    def read(self, _: int) -> bytes:
        try:
            data = next(self._lines, b"")
        except BaseException as failure:
            self.failure = failure
            raise
        self.size += len(data)
        return data


_DIALECTS: dict[str, type[_Dialect]] = {"mysql": _MySqlDialect, "postgres": _PostgresDialect}


class _SessionLease(_Lease[_Session]):
    """A claim on a session as a context manager, which ``ConnectionPool.connection`` returns."""

    __slots__ = ("_pool", "_timeout", "session")
    session: _Session
    is_lent_again = True

    def __init__(self, pool: _SqlStatements, timeout: float | None = None) -> None:
        self._pool = pool
        self._timeout = timeout

    def __enter__(self) -> Any:
        sessions = self._pool._sessions
        try:
            session = sessions.take(self) or sessions.wait(self, self._timeout)
            self.session = session
            return session.raw
        except BaseException:
            try:
                sessions.release(self, broken=True)
            finally:
                sessions.release(self, broken=True)
            raise

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        sessions, session, sound = self._pool._sessions, self.session, False
        try:
            try:
                # Any other exception may have interrupted a reply.
                is_usual = error is None or isinstance(error, session.driver.Error)
                if is_usual and self.is_lent_again:
                    if error is not None:
                        session.read_only = session.dialect.errors.rule_of(error)[1].read_only
                    sound = session.is_idle() or sessions.roll_back(session)
            finally:
                sessions.give_back(self, session, sound)
        finally:
            if self:  # Ctrl-C has interrupted give_back
                sessions.release(self, broken=True)


class _LockLease(_SessionLease):
    """A claim on the session that holds a lock. It outlives the transactions that run on it."""

    __slots__ = ()
    is_lent_again = False  # its locks end with the session


def _row_count(cursor: Any) -> int:
    return max(0, int(cursor.rowcount))


def _first_row(cursor: Any) -> _Row | None:
    return cursor.fetchone() if cursor.description else None


def _no_id(cursor: Any) -> None:
    """Read nothing."""


def _row_and_warnings(cursor: Any) -> tuple[_Row, int]:
    return cursor.fetchone(), getattr(cursor, "warning_count", 0)


def _all_rows(cursor: Any) -> list[_Row]:
    return list(cursor.fetchall()) if cursor.description else []


def _column_names(cursor: Any) -> list[str]:
    return [column[0] for column in cursor.description or ()]


def _first_named_row(cursor: Any) -> tuple[list[str], list[_Row]]:
    row = _first_row(cursor)
    return _column_names(cursor), [] if row is None else [row]


def _named_rows(cursor: Any) -> tuple[list[str], list[_Row]]:
    return _column_names(cursor), _all_rows(cursor)


def _check_into(into: Any) -> None:
    is_class = isinstance(into, type) and is_dataclass(into)
    if into is not dict and not is_class:
        raise ValidationError("into should be a dataclass, or dict")


@functools.lru_cache(256)  # a signature takes 40 microseconds
def _row_maker(into: type[Any], names: tuple[str, ...]) -> Callable[[_Row], Any]:
    """Return the function that makes a dict, or an instance of the dataclass, from a row.

    Raises SerializationError if the columns do not fit.
    """
    for at, name in enumerate(names):
        if name in names[:at]:
            raise SerializationError(f'two columns are called "{name}": rename one of them with AS')
    if into is dict:
        return lambda row: dict(zip(names, row))
    try:
        inspect.signature(into).bind(**dict.fromkeys(names))
    except TypeError as error:
        raise SerializationError(f"the columns do not fit {into.__name__}: {error}") from None
    return lambda row: into(**dict(zip(names, row)))


_UNREPRESENTABLE = (ValueError, OverflowError, RecursionError)


def _unrepresentable(kind: str) -> SerializationError:
    return SerializationError(
        f"a value of the result has no form in Python ({kind}): convert it in the statement"
    )


def _fetched(session: _Session, cursor: Any, count: int) -> Sequence[_Row]:
    try:
        return session.fetch(cursor, count)
    except InfrastructureError:
        raise
    except _UNREPRESENTABLE as exc:
        kind = type(exc).__name__
    raise _unrepresentable(kind)  # outside: the context may quote it


def _converted(rows: Iterable[Any], readers: Sequence[tuple[int, _Converter]]) -> list[_Row]:
    """Return rows with each reader applied to the value at its position; None stays None."""
    converted = []
    for row in rows:
        values = list(row)
        for at, reader in readers:
            if values[at] is not None:
                values[at] = reader(values[at])
        converted.append(tuple(values))
    return converted


def _check_sql(sql: Any) -> str:
    sql = _plain(sql)
    if not isinstance(sql, str) or not sql or sql.isspace():
        raise ValidationError("sql should be a statement")
    return _check_value(sql, "sql")


def _perform(sql: str, params: Any, fetch: _Fetch[T], attempt: Attempt, session: _Session) -> T:
    """Send a statement over the session and return what ``fetch`` reads from its cursor."""
    session.announce(attempt, sql, params)
    cursor = session.raw.cursor()
    try:
        session.execute(cursor, sql, params)
        return fetch(cursor)
    except session.driver.Error as exc:
        _note_refusal(exc, attempt, session)
        raise
    except InfrastructureError:
        raise
    except _UNREPRESENTABLE as exc:
        kind = type(exc).__name__
    raise _unrepresentable(kind)  # outside: the context may quote it, a date or half a document


_LITERAL_NUMBER = _lazy(r"(?<![\w$%])\d[\w.]*")


def _log_sql(dialect: _Dialect, sql: str) -> None:
    """Log a statement at DEBUG, without the strings, numbers and comments that it holds."""
    if logger.isEnabledFor(logging.DEBUG):
        template = _LITERAL_NUMBER.sub("?", "".join(dialect.syntax.code(sql)))
        extra = {"service": dialect.engine, "operation": "sql"}
        logger.debug("%s: %s", dialect.engine, " ".join(template.split()), extra=extra)


def _note_refusal(exc: Exception, attempt: Attempt, session: _Session) -> None:
    """Record that the server refuses writes. A retry then helps only if the session is not new."""
    if session.dialect.errors.rule_of(exc)[1].read_only:
        session.read_only = True
        attempt.final = session.is_new


def _sql_error(dialect: _Dialect, exc: Exception, attempt: Attempt) -> InfrastructureError | None:
    """Return the error, without the server's text, or None if the driver did not raise ``exc``."""
    errors = dialect.errors
    if isinstance(exc, RuntimeError):
        packages = errors.missing_packages
        advice = next((words for name, words in packages.items() if name in str(exc)), None)
        return ConfigurationError(advice) if advice is not None else None
    if not isinstance(exc, (dialect.driver.Error, OSError)):
        return None
    sent = _Sent(*(attempt.note or ()))
    code, rule = _sql_error_rule(dialect, exc, attempt, sent)
    details: dict[str, Any] = {"retryable": rule.retryable, "code": code}
    if rule.read_only and sent.session is not None:
        details["retryable"] = not attempt.final
    subject: str | None = ""
    if rule.constraint_kind is not None:
        subject = errors.constraint(exc, rule.constraint_kind, sent.sql)
        details.update(kind=rule.constraint_kind, constraint=subject)
    elif rule.error_class is DatabaseError:
        # psycopg2 quotes parameters through the connection, which may be closed by now.
        with contextlib.suppress(dialect.driver.Error, ValueError, LookupError):
            subject = errors.subject(exc, sent)
            if subject and rule is _SYNTAX:
                subject += errors.syntax_hint(sent)
    words = f"{dialect.engine} at {dialect.address} {rule.message}"
    words += f": {subject}" if subject else ""
    words += _os_reason(exc, has_sslcert=True) + (f" (code {code})" if code else "")
    if dialect.config.error_detail and (text := errors.server_text(exc)):
        words += f"; the server says: {text}"
    error = rule.error_class(words, **details)
    error._row = errors.row(exc)
    return error


def _sql_error_rule(
    dialect: _Dialect, exc: Exception, attempt: Attempt, sent: _Sent
) -> tuple[Any, _ErrorRule]:
    """Return the error's code and rule, and note on the attempt whether a retry helps."""
    session = sent.session
    if attempt.note is not None and session is None:
        code, rule = dialect.errors.login_rule(exc)
    else:
        code, rule = dialect.errors.rule_of(exc)
        rule = _RULES_OF_OPEN_SESSIONS.get(rule, rule)
    attempt.sent = attempt.sent and rule.may_have_acted
    if rule.error_class is TimeoutError:
        attempt.final = True  # the attempt has used up its time
        if code is None and session is not None and attempt.sent and session.timed_out():
            rule = _TOO_SLOW
    return code, rule


class _Sessions(_Pool[_Session]):
    """The driver connections of one ConnectionPool: opens, checks, lends and takes them back."""

    def __init__(self, dialect: _Dialect, policy: CallPolicy, clock: Clock) -> None:
        self._config = config = dialect.config
        self._dialect = dialect
        self._policy = policy
        self._monotonic = clock.monotonic
        self._idle_timeout = config.idle_timeout
        self._opened: weakref.WeakSet[_Session] = weakref.WeakSet()
        self._generation = 0  # counts failovers: sessions of an earlier generation are replaced
        super().__init__(
            "ConnectionPool",
            config.max_connections,
            connect=self.open,
            disconnect=_Session.disconnect,
            is_dead=self._is_dead,
            is_stale=self._is_stale,
            keep=config.min_connections,
        )

    def _forget_parent(self) -> None:
        for session in list(self._opened):
            session.disconnect()
        super()._forget_parent()

    def open(self, attempt: Attempt) -> _Session:
        self.check_open()
        attempt._check_breakers()
        seconds = min(self._config.connect_timeout, attempt.remaining())
        generation = self._generation  # as it is before the login, which may take long
        attempt.note = _Sent()
        login = functools.partial(self._dialect.connect, seconds, self._monotonic())
        session = self._policy._run_part(attempt, login)
        session.generation = generation
        self._opened.add(session)
        return session

    def wait(self, lease: _Lease[_Session], timeout: float | None = None) -> _Session:
        """Return a session for a lease for which ``take`` had none, within ``timeout`` seconds."""
        until = None if timeout is None else self._monotonic() + timeout
        acquire = functools.partial(self.acquire, lease)
        return self._policy.call("connection", acquire, until=until)

    def give_back(self, lease: _Lease[_Session], session: _Session | None, sound: bool) -> None:
        """Return the session to the pool. It is closed unless the next borrower can use it."""
        if session is not None:
            session.idle_since = now = self._monotonic()
            if now >= session.retires_at or not session.limited:
                sound = False
            if session.is_new or session.read_only:
                sound = sound and session.is_new
                session.is_new = session.read_only = False
        self.release(lease, not sound)

    def control(self, session: _Session, operation: str) -> None:
        """Send BEGIN, COMMIT or ROLLBACK, once."""
        perform = functools.partial(_perform, operation.upper(), None, _row_count, session=session)
        self._policy.call(operation, perform, retries=0, unguarded=True)

    def roll_back(self, session: _Session) -> bool:
        """End the transaction that a borrower left open, and return whether that worked."""
        try:
            self.control(session, "rollback")
        except InfrastructureError:
            return False
        return session.is_idle()

    def replace_older(self, session: _Session) -> None:
        """After a failover: let the pool replace all sessions but this one."""
        self._generation += 1
        session.generation = self._generation

    def _is_dead(self, session: _Session) -> bool:
        if session.is_readable(0):  # to an idle client a server sends only its goodbye
            engine = self._dialect.engine
            message = "%s ended a connection while it was idle: it is replaced"
            _warn(engine, "connection", "reconnect", message, engine)
            return True
        if session.generation != self._generation:
            return True
        now = self._monotonic()
        idle = now - session.idle_since
        if now >= session.retires_at or idle > self._idle_timeout:
            return True
        return idle >= 30 and not self._answers(session)

    def _is_stale(self, session: _Session) -> bool:
        return self._monotonic() - session.idle_since > self._idle_timeout

    def _answers(self, session: _Session) -> bool:
        try:
            session.set_read_timeout(self._config.connect_timeout)
            session.select("SELECT 1")
            session.set_client_timeout(True)
        except (session.driver.Error, OSError):
            return False
        return True


class _SqlStatements(Database):
    """Runs statements, each on a pooled session of its own or in this thread's transaction."""

    def __init__(
        self,
        config: DatabaseConfig,
        *,
        clock: Clock | None = None,
        observer: _Observing | None = None,
    ) -> None:
        """Check the settings; connect on first use.

        For ``observer`` see :class:`Observer`. Raises ConfigurationError for an invalid argument, a
        driver that is not installed or a TLS file that is not readable.
        """
        if config is None:
            raise ConfigurationError(
                "there is no database: MYSQL_URL or POSTGRES_URL is not set, and DATABASE_URL is "
                "not set or names one of the other engine"
            )
        if not isinstance(config, DatabaseConfig):
            raise ConfigurationError(
                "ConnectionPool takes a DatabaseConfig: ConnectionPool(DatabaseConfig(url=…))"
            )
        clock = _clock(clock)
        self.config = config
        self.engine = config.engine
        super().__init__(clock, config.acquire_timeout, observer)
        self._dialect = _DIALECTS[self.engine](config)
        self._policy = CallPolicy(
            self.engine,
            translate=functools.partial(_sql_error, self._dialect),
            repeatable=frozenset({"connection", "begin", "health_check"}),
            deadline=config.acquire_timeout,
            retries=3,
            clock=clock,
            observer=self._observer,
            breaker=_new_breaker(config, self.engine, clock),
            slow=config.slow,
            server=self._dialect.address,
        )
        self._sessions = _Sessions(self._dialect, self._policy, clock)
        #: the session that holds a lock: this context's transactions run on it
        self._locking: contextvars.ContextVar[_LockLease | None] = contextvars.ContextVar(
            "infra-locking", default=None
        )
        _fork_aware.add(self)
        _watch(self._observer, self.engine, self)
        if config.warm:
            _start_thread(self._warm, "infra-warm")

    def _warm(self) -> None:
        """Open ``min_connections``. A failure is logged: the pool opens them when needed."""
        with contextlib.ExitStack() as lent:
            try:
                for _ in range(min(self.config.min_connections, self.config.max_connections)):
                    lent.enter_context(_SessionLease(self))
            except InfrastructureError:
                message = "%s: no connection was opened in advance"
                logger.warning(message, self.engine, exc_info=True)

    def _statement(
        self, operation: str, sql: str, params: Any, fetch: _Fetch[T], *, repeatable: bool = False
    ) -> T:
        try:
            params = self._dialect.convert(params)
        except InfrastructureError as error:
            error.service, error.operation = self.engine, operation
            raise
        block = self._blocks.get() and self._current()  # the usual statement is in no block
        if block is not None:
            return self._statement_within(block, operation, sql, params, fetch)
        sessions = self._sessions
        refused = False  # by a session that takes no writes

        def attempt(current: Attempt) -> T:
            nonlocal refused
            lease: _Lease[_Session] = _Lease()
            session, sound = None, False
            try:
                try:
                    session = sessions.take(lease) or sessions.acquire(lease, current)
                    if refused and not session.is_new:
                        session = sessions.renew(lease, current)
                    try:
                        result = _perform(sql, params, fetch, current, session)
                    except (session.driver.Error, ValidationError):
                        sound = session.is_idle()
                        refused = session.read_only
                        raise
                    if refused:
                        sessions.replace_older(session)
                    sound = session.is_idle()
                    if not sound:
                        raise DatabaseError(
                            "the statement left a transaction open, and was rolled back: "
                            "use transaction()"
                        )
                    return result
                finally:
                    sessions.give_back(lease, session, sound)
            finally:
                if lease:  # Ctrl-C has interrupted give_back
                    sessions.release(lease, broken=True)

        return self._policy.call(operation, attempt, repeatable=repeatable)

    def _statement_within(
        self, block: _Block, operation: str, sql: str, params: Any, fetch: _Fetch[T]
    ) -> T:
        self._check(block)
        if _controls_transaction(sql, self.engine):
            raise self._database_error(
                operation,
                "BEGIN, COMMIT and ROLLBACK are transaction()'s own: begin and end a block instead",
            )
        perform = functools.partial(_perform, sql, params, fetch)
        return self._within(block, operation, perform)

    def _within(self, block: _Block, operation: str, work: Callable[[Attempt, _Session], T]) -> T:
        """Run a step of this thread's transaction, which the caller has checked.

        It is never retried: the statements before it would be missing.
        """
        session: _Session = block.handle.resource
        try:
            result = self._policy.call(
                operation, lambda attempt: work(attempt, session), retries=0, unguarded=True
            )
        except ValidationError:
            raise  # nothing was sent
        except InfrastructureError as error:
            is_open, goes_on = session.is_open(), False
            with contextlib.suppress(session.driver.Error, OSError):
                goes_on = is_open and session.transaction_survives()
            self._doom(block, error, outermost=not goes_on)
            if is_open and not goes_on and not error.retryable:  # DDL commits before it fails
                raise self._ended(operation) from error
            raise
        except BaseException:  # Ctrl-C, which may have interrupted a reply
            session.disconnect()
            self._doom(block, ConnectionError("a statement was interrupted"), outermost=True)
            raise
        if not session.in_transaction():
            ended = self._ended(operation)
            self._doom(block, ended, outermost=True)
            raise ended
        return result

    def _ended(self, operation: str) -> DatabaseError:
        return self._database_error(
            operation,
            "the statement ended the transaction, and what came before it is committed: "
            "DDL and COMMIT do that",
        )


class _SqlTransactions(_SqlStatements):
    """Transactions of ``Database`` on pooled sessions, and the steps of ``insert_many`` in one."""

    def _begin(self, block: _Block) -> None:
        block.handle = lease = self._locking.get()
        if lease is None:
            self._policy.call("begin", functools.partial(self._begin_anywhere, block))
        elif lease.resource is not None:
            self._sessions.control(lease.resource, "begin")
        else:
            raise ConnectionError("the connection that holds the lock is lost", service=self.engine)

    def _begin_anywhere(self, block: _Block, attempt: Attempt) -> None:
        sessions = self._sessions
        lease: _Lease[_Session] = _Lease()
        block.handle = lease
        try:
            session = sessions.take(lease) or sessions.acquire(lease, attempt)
            _perform("BEGIN", None, _row_count, attempt, session)
        except BaseException:
            sessions.release(lease, broken=True)
            raise

    def _end(self, block: _Block, command: str) -> None:
        session = block.handle.resource
        if command == "COMMIT" or session.is_open():
            self._sessions.control(session, command.lower())

    def _savepoint(self, block: _Block, command: str) -> None:
        name = f"level_{block.depth}"
        sql = f"{command} {name}"
        if command == "ROLLBACK TO SAVEPOINT":
            sql = self._dialect.undo.format(name=name)
        self._within(block, "savepoint", functools.partial(_perform, sql, None, _row_count))

    def _abandon(self, block: _Block) -> None:
        sessions, lease = self._sessions, block.handle
        session = lease.resource if lease else None
        if session is None:
            return
        if isinstance(lease, _LockLease):
            if not session.is_idle():
                session.disconnect()
            return
        if session.read_only and not session.is_new:
            sessions.replace_older(session)  # `run` may begin again: not on another old session
        sound = session.is_idle() and not session.read_only
        sessions.give_back(lease, session, sound)

    def _open_block(self) -> _Block:
        """Return the transaction that ``insert_many`` has begun."""
        block = self._current()
        if block is None:
            raise DatabaseError("the transaction has ended", service=self.engine)
        self._check(block)
        return block

    def _column_types(self, table: str, names: _Names) -> Sequence[_ColumnType]:
        found = self._insert_step("insert_many", lambda s: s.read_columns(table, names), table)
        absent = [name for name, column in zip(names, found) if column is None]
        if absent or not found:
            raise self._no_such("insert_many", table, *absent[:1])
        return _without_none(found)

    def _no_such(self, operation: str, table: str, *column: str) -> DatabaseError:
        """Return the error for a name that is not in the catalogue, with the server's code."""
        code = self._dialect.errors.missing_name_codes[len(column)]
        about = f'"{column[0]}" in {table}' if column else f'"{table}"'
        message = f"{self.engine} {_UNKNOWN_NAME.message}: {about} (code {code})"
        return self._database_error(operation, message, code=code)

    def _insert_rows(self, table: str, names: _Names, columns: _Columns) -> int:
        return self._insert_batch("insert_many", table, names, columns)[0]

    def _insert_batch(
        self, operation: str, table: str, names: _Names, columns: _Columns, numbered: bool = False
    ) -> tuple[int, Sequence[int]]:
        def insert(session: _Session) -> tuple[int, Sequence[int]]:
            return session.insert_rows(table, names, columns, numbered)

        return self._insert_step(operation, insert, table, names)

    def _insert_rendered(self, table: str, names: _Names, rendered: bytes) -> None:
        insert = operator.methodcaller("insert_rendered", table, names, rendered)
        self._insert_step("move", insert, table, names)

    def _insert_step(
        self, operation: str, step: Callable[[_Session], T], table: str, names: _Names = ()
    ) -> T:
        """Run a step of an INSERT in the open transaction. ``names``: the columns at fault."""

        def send(attempt: Attempt, session: _Session) -> T:
            shown = f" ({', '.join(names)})" if names else ""
            attempt.note = _Sent(session, f"INSERT INTO {table}{shown}", is_ours=True)
            attempt.sent = True
            try:
                return step(session)
            except session.driver.Error as exc:
                _note_refusal(exc, attempt, session)
                raise

        return self._within(self._open_block(), operation, send)

    @contextlib.contextmanager
    def _unlimited(self) -> Iterator[None]:
        block = self._open_block()
        session: _Session = block.handle.resource
        limited = session.limited
        if limited:
            self._within(block, "insert_many", lambda _, s: s.limit(False))
        failed = True
        try:
            yield
            failed = False
        finally:
            if limited and failed and self._dialect.settings_roll_back:
                session.set_client_timeout(True)
            elif limited and block.doom is None:
                self._within(block, "insert_many", lambda _, s: s.limit(True))


class ConnectionPool(_SqlTransactions):
    """MySQL, MariaDB or Postgres by raw SQL, over PyMySQL or psycopg2.

    Tried on MySQL 9.7, MariaDB 10.11, Postgres 15 and 18.

    Threads share at most ``config.max_connections`` connections, which are opened when they are
    needed. Callers that have to wait are served first come, first served. The pool checks a
    connection before it lends it. It replaces one that has died, is older than ``max_lifetime`` or
    was idle for ``idle_timeout``; one that was idle for 30 s has to answer first. When connections
    are given back, those idle for ``idle_timeout`` are closed, down to ``min_connections``.

    A call waits at most ``acquire_timeout`` for a connection, and ``query_timeout`` for each
    statement, which the server then stops too. A statement that could not be sent is retried. A
    sent one is not, except reads of repositories.

    After a failover the old server may still run, but take no writes. The pool drops a connection
    that refuses a write for that reason, and sends the write once more over a new one. If that one
    refuses it too, the pool keeps it and raises DatabaseError. In a transaction the error is raised
    at once and the connection is dropped at the end; the error is ``retryable``, so ``run`` begins
    again on a new connection.
    """

    def close(self) -> None:
        """Close idle connections. One that is in use is closed when it is given back."""
        self._sessions.close()

    def _holds(self) -> bool:
        return self._sessions.size > 0

    def _rows_streamed(
        self, sql: str, params: Any, batch_size: int, into: type[Any] | None
    ) -> Iterator[Any]:
        params = self._labelled("stream", self._dialect.convert, params)
        return self._stream(sql, params, batch_size, into)

    def _stream(
        self, sql: str, params: Any, batch_size: int, into: type[Any] | None
    ) -> Iterator[Any]:
        dialect, lease = self._dialect, _SessionLease(self)
        call = functools.partial(self._policy.call, "stream", retries=0, unguarded=True)
        with lease:
            session = lease.session

            def open_cursor(attempt: Attempt) -> Any:
                session.announce(attempt, sql, params, len(dialect.stream_prefix))
                return session.open_stream(dialect.bind(session.raw.cursor(), sql, params))

            call(lambda _: session.limit(False))
            cursor: Any = call(open_cursor)
            batch: Sequence[_Row] = [()] * batch_size
            while len(batch) == batch_size:
                batch = call(lambda _: _fetched(session, cursor, batch_size))
                if into is None:
                    yield from batch
                else:
                    yield from self._made("stream", into, _column_names(cursor), batch)
            call(lambda _: session.limit(True))

    def connection(self, timeout: float | None = None) -> contextlib.AbstractContextManager[Any]:
        """Lend the driver's own connection: ``with pool.connection() as raw:``.

        It is in autocommit mode and raises the driver's exceptions. It is never the connection of
        this thread's transaction. A transaction left open is rolled back; settings changed with SET
        stay. Waits at most ``timeout`` seconds for it (None: ``acquire_timeout``).
        """
        if timeout is not None:
            _SECONDS.check("timeout", timeout)
        return _SessionLease(self, timeout)

    def health_check(self) -> Health:
        started = time.perf_counter()
        row = self._statement("health_check", "SELECT version()", None, _first_row)
        if row is None:
            raise self._database_error("health_check", f"{self.engine} did not say its version")
        return Health(self.engine, self._dialect.server_name(row[0]), time.perf_counter() - started)

    def stats(self) -> PoolStats:
        return self._sessions.stats()

    # Migrations and data moves

    @contextlib.contextmanager
    def _migration_session(self, busy: Sequence[str]) -> Iterator[_RunnerSession]:
        """Open a connection for one migration, outside the pool, which may be in full use.

        It holds the lock ``busy``: a server goes on with a statement whose runner was killed.
        """
        session = self._policy.call("connection", self._sessions.open)
        lent = _RunnerSession(self, session)
        try:
            lent.lift_limit()
            lent.execute(self._dialect.migration_session)
            lent.try_lock(busy)
            yield lent
            lent.unlock(busy)
        except InfrastructureError:
            lent.unlock(busy)
            raise
        except BaseException:  # Ctrl-C
            session.timed_out()
            raise
        finally:
            session.disconnect()

    @contextlib.contextmanager
    def _lock(self, lock: str, lock_timeout: float) -> Iterator[Any]:
        if self.config.max_connections < 2:
            raise ConfigurationError("a data move needs a pool with at least two max_connections")
        names, lease = [self._lock_name(lock)], _LockLease(self)
        with lease:
            holder = _RunnerSession(self, lease.session)
            if not holder.await_lock(names, self._clock, self._clock.monotonic() + lock_timeout):
                others = holder.fetch_all(self._dialect.lock_holder, names)
                number = f" (the server's connection {others[0][0]})" if others else ""
                raise self._is_held(lock_timeout, number)
            context = contextvars.copy_context()
            context.run(self._locking.set, lease)
            yield context, functools.partial(holder.unlock, names), lease.session.cut

    def _lock_name(self, lock: str) -> str:
        ((schema,),) = self.fetch_all(f"SELECT {self._dialect.current_schema}")
        return _sha256(f"infra {schema} {lock}".encode())[:40]

    def _rows_of(self, table: str) -> _TableRows:
        return _SqlTable(self, table)

    def _make_table(self, port: Any, statement: Callable[[], str]) -> None:
        try:
            self.fetch_all(f"SELECT 1 FROM {port.table} LIMIT 0")
        except DatabaseError as error:
            if error.code != self._dialect.errors.missing_name_codes[0]:
                raise
            self.execute(statement())

    def _check_constraints(self) -> None:
        if self._dialect.check_constraints:
            self._statement("move", self._dialect.check_constraints, None, _row_count)


class _RunnerSession:
    """A session of a migration's or move's runner. Its statements may take ``idle_timeout``."""

    def __init__(self, pool: ConnectionPool, session: _Session) -> None:
        self._policy = pool._policy
        self._session = session
        self.dialect = session.dialect

    def execute(self, sql: str, params: Any = None) -> int:
        return self._call(sql, params, _row_count)

    def fetch_all(self, sql: str, params: Any = None) -> list[_Row]:
        return self._call(sql, params, _all_rows)

    def lift_limit(self) -> None:
        self._ask(lambda _: self._session.limit(False))

    def try_lock(self, lock: Sequence[str]) -> bool:
        return self.fetch_all(self.dialect.try_lock, lock) == [(1,)]

    def await_lock(self, lock: Sequence[str], clock: Clock, until: float) -> bool:
        """Wait for the lock, and return whether this session got it."""
        while not self.try_lock(lock):
            if clock.monotonic() >= until:
                return False
            clock.sleep(0.1)
        return True

    def unlock(self, lock: Sequence[str]) -> None:
        """Unlock without waiting for the server to notice that the connection has ended."""
        with contextlib.suppress(InfrastructureError):
            self.fetch_all(self.dialect.unlock, lock)

    def in_transaction(self) -> bool:
        return self._ask(lambda _: self._session.transaction_survives())

    def is_autocommit(self) -> bool:
        return self._session.is_autocommit()

    def is_locking(self, table: str) -> bool:
        return self._ask(lambda _: self._session.is_locking(table))

    def roll_back(self) -> bool:
        """Roll back the open transaction, and return whether nothing of it is left."""
        try:
            if not self.in_transaction():
                return False
            self.execute("ROLLBACK")
            # MariaDB still shows the warnings of the statement before.
            warnings = self.fetch_all(self.dialect.warnings)
            return all(self.dialect.incomplete_rollback not in row for row in warnings)
        except InfrastructureError:
            return False

    def _ask(self, question: Callable[[Attempt], T]) -> T:
        return self._policy.call("migrate", question, retries=0, unguarded=True)

    def _call(self, sql: str, params: Any, fetch: _Fetch[T]) -> T:
        sql, params = _check_sql(sql), self.dialect.convert(params)
        perform = functools.partial(_perform, sql, params, fetch, session=self._session)
        return self._ask(perform)


def _beyond(
    dialect: _Dialect, key: Sequence[str], after: Sequence[Any], sign: str = ">"
) -> tuple[str, list[Any]]:
    """Return the condition that a key is greater than ``after``, and its parameters."""
    if dialect.row_comparison or len(key) == 1:
        marks = ", ".join(["%s"] * len(key))
        return f"({', '.join(key)}) {sign} ({marks})", [*after]
    terms: list[str] = []
    params: list[Any] = []
    for at, column in enumerate(key):
        equal = "".join(f"{earlier} = %s AND " for earlier in key[:at])
        terms.append(f"({equal}{column} {sign} %s)")
        params += after[: at + 1]
    return f"({' OR '.join(terms)})", params


def _read_column(texts: Sequence[str], read: _Converter | None) -> Sequence[Any]:
    """Return the values of a column that a server has written."""
    null = _NULL_MARK.decode()
    if null in texts:
        read = read or str
        return [None if text == null else read(text) for text in texts]
    return texts if read is None else [*map(read, texts)]


def _values_at(rows: Iterable[Any], positions: Sequence[Any]) -> list[_Row]:
    if len(positions) == 1:
        return [(row[positions[0]],) for row in rows]
    return [*map(operator.itemgetter(*positions), rows)]


class _SqlTable(_TableRows):
    """A table of a ``ConnectionPool``, for data moves."""

    KEYS_AT_ONCE = 500  # in one statement

    def __init__(self, pool: ConnectionPool, table: str) -> None:
        self._pool = pool
        self._catalogue = pool._dialect.catalogue
        self._name = pool._dialect.name
        self._table = table
        self._from = f"FROM {self._name(table)}"
        self._shape: _TableShape | None = None

    def _ask(self, sql: str, params: Any = None) -> list[_Row]:
        return self._pool._statement("move", sql, params, _all_rows, repeatable=True)

    def shape(self) -> _TableShape:
        if self._shape is None:
            self._shape = self._read_shape()
        return self._shape

    def _read_shape(self) -> _TableShape:
        catalogue, place = self._catalogue, self._catalogue.table_params(self._table)
        rows = self._ask(catalogue.table_columns, place)
        if not rows:
            raise self._pool._no_such("move", self._table)
        names = [row[0] for row in rows]
        with self._pool.transaction():
            columns = dict(zip(names, self._pool._column_types(self._table, names)))
        has_transactions = self._ask(catalogue.table_transactional, place)
        return _TableShape(
            columns,
            tuple(row[0] for row in self._ask(catalogue.table_key, place)),
            nullable=frozenset(row[0] for row in rows if row[1]),
            optional=frozenset(row[0] for row in rows if row[2]),
            computed=frozenset(row[0] for row in rows if row[3]),
            readings={row[0]: catalogue.converter(columns[row[0]], row[4]) for row in rows},
            unordered=frozenset(row[0] for row in rows if row[4].startswith("set(")),
            transactional=has_transactions != [(0,)],
            texts={row[0]: row[4:] for row in rows},
        )

    def count(self) -> int:
        ((found,),) = self._ask(f"SELECT count(*) {self._from}")
        return int(found)

    def _expressions(self, names: _Names) -> list[str]:
        """Return the SQL that reads each of these columns exactly."""
        columns = self.shape().columns
        return [self._catalogue.exact_expression(name, columns[name]) for name in names]

    def page(self, names: _Names, after: Sequence[Any] | None, limit: int) -> _Portion:
        wanted = [*dict.fromkeys((*names, *self.shape().key))]
        if self._pool._dialect.splits and self._can_render(wanted):
            portion = self.rendered_page(wanted, after, limit)
            if portion.rendered is not None:
                return self._split(portion, wanted, len(names))
            return self.page_up_to(names, portion)
        rows, keys = self._fetch(names, self._beyond(after), f"LIMIT {limit}")
        return _portion(rows, keys, limit)

    def rendered_page(
        self, names: _Names, after: Sequence[Any] | None, limit: int, *, judge: bool = False
    ) -> _Portion:
        """Let the server write the next ``limit`` rows as text.

        ``rendered`` is None if only Python can read them, or should ``judge`` one of their values.
        """
        until, last = self._end_of_page(after, limit)
        portion = _Portion([], [], until, last, after=after)
        if until is None:
            return portion
        shape, catalogue = self.shape(), self._catalogue
        columns, values, nulls, doubts, marks = shape.columns, [], ["0"], ["0"], ["0"]
        for name in names:
            rendering, column = catalogue.renderings[columns[name].kind], self._name(name)
            value = rendering.sql.format(column)
            if name in shape.nullable:  # a NULL of another column shows in the separators
                value = catalogue.rendered_value.format(column=column, value=value)
                nulls.append(f"count(*) - count({column})")
            values.append(value)
            if rendering.doubt and judge:
                doubts.append(f"count(CASE WHEN {rendering.doubt.format(column)} THEN 1 END)")
            if columns[name].kind == "bytes":
                marks.append(f"count({column})")
        sums = ", ".join(" + ".join(terms) for terms in (nulls, marks, doubts))
        where, params = self._beyond(after, until)
        rows = catalogue.rendered_rows.format(", ".join(values))
        sql = f"SELECT {rows}, count(*), {sums} {self._from}{where}"
        found = self._pool._statement("move", sql, params, _row_and_warnings, repeatable=True)
        (text, count, *numbers), warned = found
        rendered = text.encode() if isinstance(text, str) else text or b""
        marked = (_VALUE_END, _ROW_END, _NULL_MARK, _BYTES_MARK)
        sound = [count * (len(names) - 1), max(0, count - 1), *numbers[:2]]
        doubtful = warned or numbers[2] or b"\0" in rendered
        if doubtful or [*map(rendered.count, marked)] != sound:
            return portion
        return portion._replace(rendered=rendered, size=count)

    def page_up_to(self, names: _Names, portion: _Portion) -> _Portion:
        """Read the rows of a portion that the server could not write."""
        rows, keys = self._fetch(names, self._beyond(portion.after, portion.until), "")
        return portion._replace(rows=rows, keys=keys, size=len(rows), rendered=None)

    def _end_of_page(self, after: Sequence[Any] | None, limit: int) -> tuple[_Key | None, bool]:
        """Return the key of the last of the next ``limit`` rows, and whether it is the table's."""
        for place in (f"LIMIT 1 OFFSET {limit - 1}", "LIMIT 1"):
            _, keys = self._fetch((), self._beyond(after), place, backwards=place == "LIMIT 1")
            if keys:
                return keys[0], place == "LIMIT 1"
        return None, True

    def _can_render(self, names: _Names) -> bool:
        columns, renderings = self.shape().columns, self._catalogue.renderings
        is_ordered = not any(columns[name].choices for name in self.shape().key)
        return is_ordered and all(columns[name].kind in renderings for name in names)

    def _split(self, portion: _Portion, names: _Names, width: int) -> _Portion:
        """Make rows, of the first ``width`` names, and keys of what the server has written."""
        shape = self.shape()
        text = (portion.rendered or b"").replace(_ROW_END, _VALUE_END).decode()
        texts = text.split(_VALUE_END.decode()) if portion.size else []
        columns = {}
        for at, name in enumerate(names):
            read = self._catalogue.renderings[shape.columns[name].kind].read
            written = texts[at :: len(names)]
            columns[name] = _read_column(written, read), written
        keys = [*zip(*(columns[name][0] for name in shape.key))]
        rows = [*zip(*(columns[name][0] for name in names[:width]))]
        return portion._replace(rows=rows, keys=keys, rendered=None, columns=columns)

    def _beyond(
        self, after: Sequence[Any] | None, until: Sequence[Any] | None = None
    ) -> tuple[str, list[Any]]:
        """Return the condition that a key is in this range, and its parameters."""
        dialect, key = self._pool._dialect, [*map(self._name, self.shape().key)]
        conditions: list[str] = []
        params: list[Any] = []
        if after is not None:
            condition, params = _beyond(dialect, key, after)
            conditions.append(condition)
        if until is not None:
            is_single = dialect.row_comparison or len(key) == 1
            condition, more = _beyond(dialect, key, until, "<=" if is_single else ">")
            conditions.append(condition if is_single else f"NOT {condition}")
            params += more
        return " WHERE " + " AND ".join(conditions) if conditions else "", params

    def _fetch(
        self, names: _Names, where: tuple[str, list[Any]], bounds: str, *, backwards: bool = False
    ) -> tuple[list[_Row], list[_Key]]:
        """Return rows in the order of the primary key, and their keys."""
        shape = self.shape()
        key_values = [
            self._catalogue.key_expression(name, shape.columns[name]) for name in shape.key
        ]
        selected = self._expressions(names)
        selected += [value for value in key_values if value not in selected]
        order = ", ".join(f"{self._name(name)}{' DESC' * backwards}" for name in shape.key)
        condition, params = where
        sql = f"SELECT {', '.join(selected)} {self._from}{condition} ORDER BY {order} {bounds}"
        rows = self._ask(sql, params)
        return self._read(names, rows), _values_at(rows, [*map(selected.index, key_values)])

    def _read(self, names: _Names, rows: list[_Row]) -> list[_Row]:
        """Return the values of these columns, with which the rows begin."""
        readings = [self.shape().readings.get(name) for name in names]
        if not rows or (not any(readings) and len(rows[0]) == len(names)):
            return rows
        columns = [
            column if read is None else _with_none(column, map(read, _without_none(column)), None)
            for read, column in zip(readings, zip(*rows))
        ]
        return [*zip(*columns)]

    def find(self, names: _Names, keys: Sequence[_Key]) -> dict[_Key, _Row]:
        found: dict[_Key, _Row] = {}
        for start in range(0, len(keys), self.KEYS_AT_ONCE):
            found |= self._find(names, keys[start : start + self.KEYS_AT_ONCE])
        return found

    def _find(self, names: _Names, keys: Sequence[_Key]) -> dict[_Key, _Row]:
        key_names = self.shape().key
        width = len(key_names)
        columns = ", ".join(self._expressions([*key_names, *names]))
        place = ", ".join(map(self._name, key_names))
        wanted: Any = tuple(key[0] for key in keys) if width == 1 else tuple(keys)
        rows = self._ask(f"SELECT {columns} {self._from} WHERE ({place}) IN %s", [wanted])
        values = self._read(names, [row[width:] for row in rows])
        by_key = {self._as_stored(row[:width]): found for row, found in zip(rows, values)}
        given = {self._as_stored(key): key for key in keys}
        if by_key.keys() <= given.keys():
            return {given[stored]: found for stored, found in by_key.items()}
        # The collation holds other texts for equal: ask for each key which row it has.
        marks = ", ".join(["%s"] * width)
        sql = f"SELECT {columns} {self._from} WHERE ({place}) = ({marks})"
        single = [(key, row[width:]) for key in keys for row in self._ask(sql, key)]
        return dict(zip([key for key, _ in single], self._read(names, [row for _, row in single])))

    def _as_stored(self, key: Sequence[Any]) -> _Key:
        """Return the key's values in the one form that the columns give them."""
        shape = self.shape()
        return tuple(
            _fitted_column(name, shape.columns[name], [value])[0]
            for name, value in zip(shape.key, key)
        )

    def update(self, names: _Names, rows: Sequence[tuple[_Key, Sequence[Any]]]) -> None:
        settings = ", ".join(f"{self._name(name)} = %s" for name in names)
        place = " AND ".join(f"{self._name(name)} = %s" for name in self.shape().key)
        sql = f"UPDATE {self._name(self._table)} SET {settings} WHERE {place}"
        for key, values in rows:
            self._pool._statement("move", sql, [*values, *key], _row_count)

    def indexes(self) -> Sequence[_Row]:
        return self._catalogue.indexes(self._ask, self._table)

    def alter(self, statements: Iterable[str]) -> None:
        pool = self._pool
        with pool._migration_session([pool._lock_name(f"indexes of {self._table}")]) as session:
            for sql in filter(None, (self._catalogue.index_memory, *statements)):
                session.execute(sql)

    def pass_ids(self) -> None:
        if not self._catalogue.sequence_of:
            return
        name = self._name(self._table)
        for column in self.shape().optional:
            ((sequence,),) = self._ask(self._catalogue.sequence_of, [name, column])
            if sequence is not None:
                quoted = self._name(column)
                self._ask(
                    f"SELECT setval(%s, max({quoted})) {self._from} "
                    f"HAVING max({quoted}) >= (SELECT last_value FROM {sequence})",
                    [sequence],
                )


def create_pool(
    config: DatabaseConfig,
    *,
    clock: Clock | None = None,
    observer: _Observing | None = None,
) -> ConnectionPool:
    """Return a pool for the database that ``config.url`` names. It connects on first use.

    Raises ConfigurationError as :class:`ConnectionPool` does.
    """
    return ConnectionPool(config, clock=clock, observer=observer)


# === schema migrations ============================================================================


def _schema() -> Path:
    return _path(__file__).with_name("schema.sql")


SCHEMA: Path
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name == "SCHEMA":
            return _schema()
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_MARKER = _lazy(r"-- migration ([0-9]{1,9}) ([a-z0-9_]{1,100}) (mysql|postgres)( no-transaction)?")
_HISTORY = """CREATE TABLE IF NOT EXISTS {history} (
    source VARCHAR(100) {text} NOT NULL,
    number INTEGER NOT NULL,
    name VARCHAR(100) {text} NOT NULL,
    checksum CHAR(64) {text} NOT NULL,
    state VARCHAR(10) {text} NOT NULL,
    statement INTEGER NOT NULL,
    applied_at {moment} NOT NULL,
    PRIMARY KEY (source, number)
)"""


@dataclass(frozen=True, eq=False, repr=False)
class Migration(_ByValue):
    """A numbered step of the schema.

    ``source`` is the stem of its file's name. ``checksum`` ignores line endings. With
    ``transaction`` the statements and their record are one transaction. Otherwise (on MySQL, where
    DDL commits, and if marked no-transaction) each statement is recorded before and after.
    """

    source: str
    number: int
    name: str
    statements: tuple[str, ...] = field(repr=False)
    checksum: str = field(repr=False)
    transaction: bool

    def __str__(self) -> str:
        return f"{self.source} {self.number} ({self.name})"


@dataclass(frozen=True, eq=False, repr=False)
class MigrationStatus(_ByValue):
    """A migration and its state in the history.

    ``state`` is "pending", "applied", "dirty" (``statement`` began, its outcome is unknown),
    "partial" (the statements before ``statement`` are done), "edited" (changed after it was
    applied) or "unknown" (applied, but not in these files).
    """

    source: str
    number: int
    name: str
    state: str
    statement: int = 0
    applied_at: datetime | None = None


def _unsettled(statuses: Iterable[MigrationStatus]) -> tuple[MigrationStatus, ...]:
    return tuple(each for each in statuses if each.state not in ("applied", "unknown"))


def split_statements(sql: str, engine: str) -> list[str]:
    """Return the statements of a script.

    It understands quotes, comments and the dollar quotes of Postgres. It follows a SET that changes
    quoting: standard_conforming_strings, and NO_BACKSLASH_ESCAPES and ANSI_QUOTES in sql_mode. It
    does not understand bodies of stored programs of MySQL: their semicolons end a statement.

    Raises ValidationError if a quote or comment is never closed, or if the effect of a backslash in
    quotes depends on a setting that the script does not show.
    """
    sql, engine = _plain(sql), _plain(engine)
    if not isinstance(sql, str):
        raise ValidationError("sql should be a text")
    return [sql[start:end].strip() for start, end in _script(sql, engine).spans()]


def _checksum(statements: Sequence[str]) -> str:
    text = "\0".join(statements).replace("\r\n", "\n").replace("\r", "\n")
    return _sha256(_BLANK_ENDS.sub("\n", text).encode())


# The lookbehind lets only the first blank of a run match: otherwise a long run is quadratic.
_BLANK_ENDS = _lazy(r"[ \t](?<![ \t]{2})[ \t]*\n")


def read_migrations(path: str | Path, engine: str) -> list[Migration]:
    """Return the migrations of a file for one engine, in order.

    A migration may hold the output of ``pg_dump --inserts``, or of ``mariadb-dump`` or
    ``mysqldump`` without stored programs.

    Raises ConfigurationError if the file cannot be read, has SQL above its first marker, numbers
    that do not rise, or a line that only a client understands: COPY … FROM stdin, DELIMITER, a
    command of psql.
    """
    path, engine = _path(_check_path("path", path)), _plain(engine)
    if len(path.stem) > 100:
        raise ConfigurationError(
            "the name of a file of migrations is part of their record: at most 100 characters"
        )
    text = _migration_text(path)
    options = {"strict": True, "breaks": re.search(r"\r(?!\n)", text) is not None}
    found: list[Migration] = []
    script = _script(text, engine, **options)
    if _statements(script, path.name, at_most=1):
        raise ConfigurationError(
            f"{path.name}: SQL should stand below a line such as: -- migration 1 users mysql"
        )
    while script.at < len(text):
        number, name, dialect, alone, below = _marker(text, script.at, path.name)
        if dialect == engine and found and number <= found[-1].number:
            line = _line(text, script.at)
            raise ConfigurationError(
                f"{path.name}, line {line}: the numbers of {engine} migrations should rise"
            )
        script = _script(text, dialect, below, **options)
        where = f"{path.name}, migration {number}"
        statements = tuple(_statements(script, where))
        if dialect != engine:
            continue
        transaction = engine == "postgres" and not alone
        if transaction and any(_controls_transaction(sql, engine) for sql in statements):
            raise ConfigurationError(
                f"{where}: leave out BEGIN, COMMIT and ROLLBACK: it is one transaction already, "
                "unless its marker ends in no-transaction"
            )
        checksum = _checksum(statements)
        found.append(Migration(path.stem, number, name, statements, checksum, transaction))
    return found


def _migration_text(path: Path) -> str:
    text = reason = ""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeError) as exc:
        reason = type(exc).__name__
        if isinstance(exc, UnicodeDecodeError) and re.search(
            rb"-- (?:MySQL|MariaDB) dump ", exc.object[:1000]
        ):
            line = exc.object.count(b"\n", 0, exc.start) + 1
            reason += f" in line {line}: dump with --hex-blob"
    if reason:  # outside the except clause: the error's context holds the file's bytes
        raise ConfigurationError(f"{path.name}: the file of migrations cannot be read: {reason}")
    if "\0" in text:
        line = _line(text, text.index("\0"))
        raise ConfigurationError(f"{path.name}, line {line}: a NUL character is no SQL")
    return text


def _statements(script: _Script, where: str, at_most: int | None = None) -> list[str]:
    """Return the statements up to the next marker."""
    try:
        spans = itertools.islice(script.spans(), at_most)
        return [script.text(start, end) for start, end in spans]
    except ValidationError as exc:
        raise ConfigurationError(f"{where}: {exc}") from None


def _marker(text: str, at: int, where: str) -> tuple[int, str, str, bool, int]:
    """Return number, name, engine, whether it is marked no-transaction, and its line's end."""
    found = re.compile(r"([^\r\n]*)(?:\r\n|\r|\n|\Z)").match(text, at)
    assert found  # it matches anywhere
    line = found[1]
    marker = _MARKER.fullmatch(line.rstrip()) if text[at - 1 : at] in ("", "\n", "\r") else None
    if marker is None:
        hint = " (a byte order mark stands in front of it)" if "\ufeff" in line else ""
        raise ConfigurationError(
            f"{where}, line {_line(text, at)}: the marker should be: -- migration NUMBER name "
            "mysql|postgres [no-transaction], the name in lower case, digits and underscores"
            f"{hint}"
        )
    number, name, dialect, alone = marker.groups()
    return int(number), name, dialect, bool(alone), found.end()


class _MigrationRecord(NamedTuple):
    """A row of the history without its key: source and number."""

    name: str
    checksum: str
    state: str
    statement: int
    applied_at: datetime | None

    @property
    def first_in_doubt(self) -> int:
        return int(self.state[3:]) if self.state.startswith("in ") else self.statement


_MigrationRecords = Mapping[tuple[str, int], _MigrationRecord]
_HISTORY_COLUMNS = ", ".join(("source", "number", *_MigrationRecord._fields))


def _record_checksum(migration: Migration, record: _MigrationRecord) -> str:
    """Return the checksum of the statements that are done; the others may still be edited.

    "started": the outcome of ``statement`` is unknown. "done": it took effect. "in 3": statement 3
    began a transaction, and the outcome of 3 to ``statement`` is unknown. Releases that do not know
    this state report the migration as edited.
    """
    statements, state, statement = migration.statements, record.state, record.statement
    if state.startswith("in "):
        return _checksum((*statements[: record.first_in_doubt - 1], state))
    done = {"applied": len(statements), "done": statement, "started": statement - 1}.get(state, 0)
    return _checksum(statements[:done])


def _is_record_of(migration: Migration, number: int, record: _MigrationRecord) -> bool:
    """Return whether a record under another name belongs to this migration."""
    if not migration.statements or record.checksum != _record_checksum(migration, record):
        return False
    # Two different migrations may begin with the same statements.
    return record.state == "applied" or (number, record.name) == (migration.number, migration.name)


def _naming_history(syntax: _Syntax, statements: Sequence[str]) -> Sequence[int]:
    """Return the numbers of the statements that name the history outside literals and comments."""
    named = [step for step, sql in enumerate(statements, 1) if "schema_migrations" in sql.lower()]
    found, script = [], syntax.script("")
    for step, sql in enumerate(statements[: max(named, default=0)], 1):
        escapes = script.settle_after(sql)
        if step in named and any(
            syntax.history_name.search("".join(syntax.code(text, escapes)))
            for text in (sql, *syntax.executed_strings(sql))
        ):
            found.append(step)
    return found


class _MigrationHistory(_RunnerSession):
    """The session that holds the lock and writes the history; migrations run on others."""

    def __init__(self, pool: ConnectionPool, session: _Session, clock: Clock) -> None:
        super().__init__(pool, session)
        self._clock = clock
        self.lift_limit()
        dialect = self.dialect
        self.execute(dialect.history_session)
        # Qualified, because a migration may change the schema: by USE, or by SET search_path.
        ((schema,),) = self.fetch_all(f"SELECT {dialect.current_schema}")
        quote = dialect.syntax.quote
        self.table = f"{quote}{schema}{quote}.schema_migrations"
        name = dialect.lock_name(schema)
        self.lock = [name]
        self.busy = [f"{name} busy"]

    def check(self) -> None:
        """Raise ConnectionError if the connection was lost, and the lock with it."""
        self.fetch_all("SELECT 1")

    def write(
        self, session: _RunnerSession, migration: Migration, statement: int, state: str
    ) -> None:
        """Write a migration's record over this session or its own."""
        table = self.table.replace("%", "%%")
        values = _MigrationRecord(migration.name, "", state, statement, self._clock.now())
        values = values._replace(checksum=_record_checksum(migration, values))
        key = migration.source, migration.number
        changes = ", ".join(f"{column} = %s" for column in values._fields)
        sql = f"UPDATE {table} SET {changes} WHERE source = %s AND number = %s"
        if not session.execute(sql, (*values, *key)):
            sql = f"INSERT INTO {table} ({_HISTORY_COLUMNS}) VALUES %s"
            session.execute(sql, ((*key, *values),))


class _MigrationFiles:
    """The migrations of files: which are pending, and which may run."""

    def __init__(self, dialect: _Dialect, paths: Sequence[str | Path]) -> None:
        import shlex

        self._dialect = dialect
        files = paths or (_schema(),)
        self.migrations = [
            migration for path in files for migration in read_migrations(path, dialect.engine)
        ]
        self._by_key = {(each.source, each.number): each for each in self.migrations}
        if len(self._by_key) != len(self.migrations):
            raise ConfigurationError(
                "two files of migrations have the same name: it is part of their record"
            )
        self._paths = {_path(path).stem: shlex.quote(str(path)) for path in files}
        self._command = shlex.join(["infra", "migrate", *map(str, paths)])

    def _read_records(
        self, fetch_all: Callable[[str], list[_Row]], table: str
    ) -> _MigrationRecords:
        try:
            rows = fetch_all(f"SELECT {_HISTORY_COLUMNS} FROM {table} ORDER BY source, number")
        except DatabaseError as error:
            if error.code != self._dialect.errors.missing_name_codes[1]:
                raise
            raise self._error(
                "the table schema_migrations is another tool's: it lacks columns of this "
                "library's. Rename it, or migrate another database (on Postgres another schema, by "
                "search_path)"
            ) from error
        return {(row[0], row[1]): _MigrationRecord(*row[2:]) for row in rows}

    def _compare(self, records: _MigrationRecords) -> list[MigrationStatus]:
        result, unknown = [], dict(records)
        absent = _MigrationRecord("", _checksum(()), "pending", 0, None)
        for key, migration in self._by_key.items():
            record = unknown.pop(key, absent)
            state, statement = record.state, record.statement
            if record.checksum != _record_checksum(migration, record):
                state = "edited"
            elif state == "started" or state.startswith("in "):
                state = "dirty"
            elif state == "done":
                state, statement = "partial", statement + 1
            result.append(
                MigrationStatus(*key, migration.name, state, statement, record.applied_at)
            )
        return result + [
            MigrationStatus(*key, record.name, "unknown", record.statement, record.applied_at)
            for key, record in unknown.items()
        ]

    def _pending(self, records: _MigrationRecords) -> dict[Migration, int]:
        """Return the migrations to apply, each with the number of its first statement to run.

        Raises DatabaseError for one that is dirty or edited, or may not run.
        """
        compared = [*zip(self.migrations, self._compare(records))]
        for migration, status in compared:
            self._check_settled(migration, status, records)
        pending = {}
        for migration, status in compared:
            if status.state in ("pending", "partial"):
                first = status.statement or 1
                if status.state == "pending":
                    self._check_renamed(migration, records)
                self._check_statements(migration, first)
                pending[migration] = first
        return pending

    def _check_settled(
        self, migration: Migration, status: MigrationStatus, records: _MigrationRecords
    ) -> None:
        if status.state == "edited":
            raise self._error(
                f"migration {migration} was edited after it was applied: restore its text; "
                "a change is a new migration"
            )
        if status.state == "dirty":
            first = records[status.source, status.number].first_in_doubt
            in_doubt = f"its statement {first}"
            if first != status.statement:
                in_doubt = f"the transaction of its statements {first} to {status.statement}"
            raise self._error(
                f"migration {migration} is dirty: {in_doubt} was begun, and may or may not have "
                f"taken effect. Look at the schema, then: {self._command} --repair {status.number} "
                "--done (it has taken effect) or --retry (run it again)"
            )

    def _check_renamed(self, migration: Migration, records: _MigrationRecords) -> None:
        """Refuse a migration whose statements were applied under another name."""
        for (source, number), record in records.items():
            if (source, number) in self._by_key or not _is_record_of(migration, number, record):
                continue
            if source == migration.source:
                advice = f"give it its number {number} again"
            else:
                file = self._paths[migration.source]
                advice = f"if the file was renamed: infra migrate {file} --renamed-from {source}"
            raise self._error(
                f"migration {migration} is recorded as {source} {number} already: {advice}; "
                "if it has to run all the same, write a comment into its text"
            )

    def _check_statements(self, migration: Migration, first: int) -> None:
        """Refuse statements that would change the history or escape it, before any of them runs."""
        syntax = self._dialect.syntax
        named = _naming_history(syntax, migration.statements)
        for step, sql in enumerate(migration.statements[first - 1 :], first):
            where = f"migration {migration}, statement {step}"
            if step in named:
                raise self._error(
                    f"{where}: it names schema_migrations, the history of migrations: "
                    f"leave that out (of a dump with {self._dialect.dump_without})"
                )
            if syntax.refused.match(syntax.start_of_code(sql).upper()):
                raise self._error(f"{where}: {syntax.refusal}")

    def _error(self, message: str, code: str | int | None = None) -> DatabaseError:
        return DatabaseError(message, service=self._dialect.engine, operation="migrate", code=code)


class Migrator(_MigrationFiles):
    """Apply the migrations of files, in the order of files and numbers.

    Runners take turns: one applies, the others wait and find nothing left to do. The table
    ``schema_migrations`` records what is applied. ``query_timeout`` does not bound the statements.

    Each migration runs on a new connection outside the pool, so its settings do not reach the next.
    A connection of the pool holds the lock and writes the history. A migration may not leave a
    transaction or LOCK TABLES open.

    Args:
        pool: the database; a fake one has its tables from the start.
        paths: the files; without any, the library's ``schema.sql``.
        lock_timeout: the seconds to wait for another runner.
        clock: for the times in the history, and for the wait.
        progress: called with a line of text for each migration.

    Attributes:
        migrations: those of the files, in order.

    Raises:
        ConfigurationError: an argument or a file is not valid.
        TimeoutError: another runner holds the lock.
        DatabaseError: a statement fails, or the history does not fit the files; the message says
            what to do.

    Methods also raise what the pool raises.
    """

    def __init__(
        self,
        pool: Database,
        *paths: str | Path,
        lock_timeout: float = 60,
        clock: Clock | None = None,
        progress: Callable[[str], None] = lambda line: None,
    ) -> None:
        if not isinstance(pool, ConnectionPool):
            raise ConfigurationError(
                "Migrator takes a ConnectionPool: a fake database has its tables from the start"
            )
        self.pool = pool
        super().__init__(pool._dialect, [*map(_plain, paths)])
        self._lock_timeout = _WAIT_OR_0.require("lock_timeout", lock_timeout)
        self._clock = _clock(clock)
        _check_function("progress", progress, "a line", ConfigurationError)
        self._progress = progress

    def status(self) -> list[MigrationStatus]:
        """Return each migration of the files, in order, then those that only the history has.

        Changes nothing.
        """
        return self._compare(self._look())

    def _look(self) -> _MigrationRecords:
        exists = self.pool.fetch_one(
            "SELECT 1 FROM information_schema.tables WHERE table_name = 'schema_migrations' "
            f"AND table_schema = {self._dialect.current_schema}"
        )
        return self._read_records(self.pool.fetch_all, "schema_migrations") if exists else {}

    def apply(self, dry_run: bool = False) -> list[Migration]:
        """Apply the pending migrations and return them; with ``dry_run`` only return them."""
        if dry_run:
            return [*self._pending(self._look())]
        with self._locked() as (history, records):
            pending = self._pending(records)
            for migration, first in pending.items():
                _not_deferred(self._progress(f"applying {migration}"))
                history.check()
                with self.pool._migration_session(history.busy) as session:
                    run = _MigrationRun(self, history, session, migration, first)
                    if migration.transaction:
                        run.apply_together()
                    else:
                        run.apply_each()
            return [*pending]

    def repair(self, number: int, *, done: bool) -> None:
        """Settle a dirty migration: its statement counts as done, or ``apply`` runs it again.

        Raises ValidationError if ``number`` is not a whole number or ``done`` not a bool, and
        NotFoundError if no migration of that number is dirty.
        """
        if type(number) is not int or type(done) is not bool:
            raise ValidationError("number should be a whole number, done True or False")
        with self._locked() as (history, records):
            numbered = [each for each in self._compare(records) if each.number == number]
            dirty = next((each for each in numbered if each.state == "dirty"), None)
            if dirty is None:
                if not done and any(each.state == "partial" for each in numbered):
                    return  # the next apply runs the statement anyway
                raise NotFoundError(
                    f"no migration {number} is dirty: see {self._command} --status",
                    resource="migration",
                )
            migration = self._by_key[dirty.source, number]
            first = records[dirty.source, number].first_in_doubt
            step = dirty.statement if done else first - 1
            state = "applied" if step == len(migration.statements) else "done"
            history.write(history, migration, step, state)

    def take_over(self, stem: str) -> int:
        """Move the records of a renamed file to the one file of this Migrator; return how many.

        Args:
            stem: the former name of the file, without its suffix.

        Raises:
            ConfigurationError: there are several files.
            ValidationError: ``stem`` is not text.
            NotFoundError: no migration is recorded under that name.
            DatabaseError: the records do not fit the file, or the file has records of its own.
        """
        if len(self._paths) != 1:
            raise ConfigurationError("give the one file that was renamed, and no other")
        stem = _check_text("stem", stem)
        (source,) = self._paths
        with self._locked() as (history, records):
            moved = {
                (source, number): record for (old, number), record in records.items() if old == stem
            }
            states = {
                status.number: status.state
                for status in self._compare(moved)
                if status.state not in ("pending", "unknown")
            }
            if not moved or stem == source:
                raise NotFoundError(
                    f"nothing is recorded under the former name {stem!r} (the file's name without "
                    f"its ending): see {self._command} --status",
                    resource="migration",
                )
            if not states or "edited" in states.values():
                raise self._error(
                    f"the records of {stem} do not fit {source}: it is another file, or was edited"
                )
            if any((source, number) in records for number in states):
                raise self._error(f"{source} has records of its own beside those of {stem}")
            table = history.table.replace("%", "%%")
            sql = f"UPDATE {table} SET source = %s WHERE source = %s AND number IN %s"
            return history.execute(sql, (source, stem, tuple(states)))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[tuple[_MigrationHistory, _MigrationRecords]]:
        """Hold the lock, and read the history. The lock ends with its connection."""
        lease = _LockLease(self.pool)
        with lease:
            history = _MigrationHistory(self.pool, lease.session, self._clock)
            deadline = self._clock.monotonic() + self._lock_timeout
            for lock, words in (
                (history.lock, "another runner holds the lock of migrations"),
                (history.busy, "a statement of a runner that has gone is still running"),
            ):
                if not history.await_lock(lock, self._clock, deadline):
                    raise TimeoutError(
                        f"{words} for more than {self._lock_timeout:g} s",
                        service=self.pool.engine,
                        operation="migrate",
                    )
            history.unlock(history.busy)
            history.execute(_HISTORY.format(history=history.table, **history.dialect.types))
            yield history, self._read_records(history.fetch_all, history.table)
            history.unlock(history.lock)


#: clauses between a statement's first word and its object, and prefixes of a literal
_STATEMENT_ASIDES = _lazy(
    r"""(?i)\s*\b(?:DEFINER\s*=\s*(?:''|""|`[^`]*`|\w+(?:\s*\(\s*\))?)"""
    r"""(?:\s*@\s*(?:''|""|`[^`]*`|\w+))?"""
    r"|ALGORITHM\s*=\s*\w+|SQL\s+SECURITY\s+\w+|(?:[EBXN]|U&|_\w+)\s*(?=''))"
)
_STATEMENT_BEGINS = _lazy(
    r"(?:(?:grant|revoke)\s[\w\s,()]{1,150}?\s(?=on\b))?"  # the privileges
    r"[a-z]+(?:\s+(?:or|replace|unique|fulltext|spatial|temp|temporary|global|local|unlogged|if|not"
    r"|exists|into|from|only|concurrently|table|index|view|materialized|function|procedure|trigger"
    r"|event|type|domain|sequence|schema|database|extension|user|role|policy|rule|on|aggregate"
    r"|foreign|constraint|column|collation|publication|subscription|server|transaction|all|ignore"
    r"|tables(?!\s+with\b)|recursive|low_priority|high_priority|delayed|quick)\b)*"
    rf"(?:\s+{_PATH_SHAPE})?",
    re.IGNORECASE,
)


@dataclass(eq=False, repr=False)
class _MigrationRun:
    """Run one migration on a connection of its own, from its statement ``first`` on."""

    #: by the server's code: what to do before the migration runs again
    REMEDIES: ClassVar[Mapping[Any, str]] = {
        "25001": "end its marker with no-transaction",
        "55P04": "give ALTER TYPE a migration of its own, in front of this one,",
    }

    _migrator: Migrator
    _history: _MigrationHistory
    _session: _RunnerSession
    _migration: Migration
    _first: int
    _step = 0  # number of the current statement
    _opened = 0  # number of the statement that began the open transaction
    _recording = False
    _ran = False  # the current statement was sent

    def __post_init__(self) -> None:
        self._syntax = self._session.dialect.syntax

    def apply_together(self) -> None:
        session, ended = self._session, False
        try:
            self._resume()
            session.execute("BEGIN")
            for _ in self._statements():
                if ended := not session.in_transaction():
                    break
            else:
                session.execute(session.dialect.resets())
                self._record(session, len(self._migration.statements), "applied")
                self._history.check()  # if the lock is lost, another runner may be at work
                session.execute("COMMIT")
        except InfrastructureError as error:
            session.roll_back()
            raise self._failure(error, self._fate_together(error)) from error
        if ended:
            self._record(self._history, self._step, "started")
            raise self._migrator._error(
                f"migration {self._migration}: its statement {self._words(self._step)} ended the "
                "transaction, and what came before is committed: leave it out, or mark the "
                f"migration no-transaction; {self._advice()}"
            )

    def apply_each(self) -> None:
        """Record each statement before and after it runs; a transaction at its end."""
        history = self._history
        try:
            self._resume()
            for sql in self._statements():
                self._note_transaction(sql)
                if not self._opened:
                    self._record(history, self._step, "done")
        except InfrastructureError as error:
            raise self._failure(error, self._fate_each(error)) from error
        self._refuse_left_open()
        try:
            self._record(history, len(self._migration.statements), "applied")
        except InfrastructureError as error:
            raise self._failure(error, "all its statements took effect; run again") from error

    def _resume(self) -> None:
        """Repeat the settings of the statements that are done: a new session lacks them."""
        for step, sql in enumerate(self._migration.statements[: self._first - 1], 1):
            self._step = step
            if self._syntax.session_statement.match(self._syntax.start_of_code(sql)):
                self._session.execute(sql)

    def _statements(self) -> Iterator[str]:
        first = self._first
        for step, sql in enumerate(self._migration.statements[first - 1 :], first):
            self._step, self._ran = step, False
            if not self._migration.transaction:
                state = f"in {self._opened}" if self._opened else "started"
                self._record(self._history, step, state)
            self._ran = True
            self._session.execute(sql)
            yield sql

    def _record(self, session: _RunnerSession, statement: int, state: str) -> None:
        self._recording = True
        self._history.write(session, self._migration, statement, state)
        self._recording = False

    def _note_transaction(self, sql: str) -> None:
        if not self._session.in_transaction():
            self._opened = 0
        elif not self._opened or self._syntax.transaction_end.match(
            self._syntax.start_of_code(sql)
        ):
            self._opened = self._step

    def _refuse_left_open(self) -> None:
        migration, session = self._migration, self._session
        if self._opened:
            begun = f"its statement {self._words(self._opened)} began"
            if not session.is_autocommit():
                begun += " with autocommit off"
            fate = self._roll_back() or self._advice()
            raise self._migrator._error(
                f"migration {migration} leaves a transaction open, which {begun}: "
                f"end it with COMMIT; {fate}"
            )
        if session.is_locking(self._history.table):
            raise self._migrator._error(
                f"migration {migration} leaves LOCK TABLES in force: end it with UNLOCK TABLES, "
                "and run again"
            )

    def _roll_back(self) -> str:
        """Roll back the open transaction; return what to do next, or "" if that is unknown."""
        if not self._session.roll_back():
            return ""
        self._record(self._history, self._opened - 1, "done")
        return (
            f"the transaction that its statement {self._opened} began was rolled back; "
            "mend it and run again"
        )

    def _fate_together(self, error: InfrastructureError) -> str:
        fate = "the whole migration was rolled back"
        if self._recording and error.code == "25006":
            reason = "it makes its transaction READ ONLY, so its record cannot be written"
            return f"{reason}: leave that out; {fate}"
        if isinstance(error, DatabaseError):
            return f"{fate}; {self.REMEDIES.get(error.code, 'mend it')} and run again"
        return f"the connection was lost: see {self._migrator._command} --status, and run again"

    def _fate_each(self, error: InfrastructureError) -> str:
        if self._step < self._first:
            return "it was to set the session for the statements behind it; mend it and run again"
        if not self._ran:
            return f"it was not run: see {self._migrator._command} --status, and run again"
        session, fate = self._session, ""
        with contextlib.suppress(InfrastructureError):
            if self._opened and not self._recording:
                if session.in_transaction():
                    fate = self._roll_back()
                elif not error.retryable:
                    # DDL committed the transaction first: only this statement is in doubt.
                    self._record(self._history, self._step, "started")
        return fate or self._advice()

    def _advice(self) -> str:
        repair = f"{self._migrator._command} --repair {self._migration.number}"
        return f"look at the schema, then: {repair} --done or --retry"

    def _words(self, step: int) -> str:
        """Return a statement's number, first words and object, no value: it may be secret."""
        sql = self._migration.statements[step - 1] if step else "BEGIN"
        start = self._syntax.start_of_code(sql)[:500]
        code = _STATEMENT_ASIDES.sub("", start).lstrip("( \t\r\n")
        found = _STATEMENT_BEGINS.match(code.partition("''")[0])
        return f"{step}, {' '.join(found[0].split()) if found else '…'} …"

    def _failure(self, error: InfrastructureError, fate: str) -> DatabaseError:
        what = "the record of its statement" if self._recording else "its statement"
        place = f"{what} {self._words(self._step)}"
        message = f"migration {self._migration} failed at {place} ({error}): {fate}"
        return self._migrator._error(message, error.code)


# === records ======================================================================================


class _Filled:
    """The type of ``FILLED``, which is the only instance."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "FILLED"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> str:
        return "FILLED"  # copies and pickles are this module's object

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"no {name!r} yet: the repository fills this field; "
            "use the record that create() returns"
        )


#: the default of a record's id, created_at and updated_at, which ``create`` fills in
FILLED: Any = _Filled()


def _is_unfilled(value: Any) -> bool:
    return value is None or value is FILLED


@dataclass(frozen=True, eq=False, repr=False)
class PhoneUser(_ByValue):
    """A user known by a phone number, of which only a keyed hash is stored.

    ``user_type`` is "customer", "worker" or None (not chosen yet). ``country_code`` holds the
    digits of the calling code.
    """

    phone_hash: str = field(repr=False)
    country_code: str
    user_type: str | None = None
    is_verified: bool = False
    is_blocked: bool = False
    id: uuid.UUID = FILLED
    created_at: datetime = FILLED
    updated_at: datetime = FILLED
    last_login_at: datetime | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Device(_ByValue):
    """The device that uses a refresh token, as far as the caller knows it."""

    device_id: str | None = None
    device_name: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True, eq=False, repr=False)
class RefreshToken(_ByValue):
    """The record of a refresh token; the token itself is not stored.

    Tokens that come from one sign-in by rotation share a ``family``. A rotated token is revoked
    with the reason "rotated", and ``replaced_by`` is its successor.
    """

    user_id: uuid.UUID
    token_hash: str = field(repr=False)
    family: uuid.UUID
    id: uuid.UUID = FILLED
    created_at: datetime = FILLED
    expires_at: datetime = FILLED
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    revoke_reason: str | None = None
    replaced_by: uuid.UUID | None = None
    device_id: str | None = None
    device_name: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Issued(_ByValue):
    """A new token, which the client gets once, and its record."""

    token: str = field(repr=False)
    record: RefreshToken


@dataclass(frozen=True, eq=False, repr=False)
class Rotation(_ByValue):
    """The result of a rotation.

    ``outcome`` is "rotated", "raced", "reused", "revoked", "expired" or "unknown". ``issued`` is
    the new token after the first two.
    """

    outcome: str
    issued: Issued | None = None


@dataclass(frozen=True, eq=False, repr=False)
class User(_ByValue):
    """A user of the benchmark exchange.

    ``role`` is "anonymous", "registered", "contributor", "reviewer" or "admin". ``profile`` is any
    JSON. E-mail and user name are unique without regard to case. The record never holds the
    password's hash.
    """

    email: str = field(repr=False)
    username: str
    display_name: str = ""
    role: str = "registered"
    email_verified: bool = False
    profile: dict[str, Any] = field(default_factory=dict)
    id: uuid.UUID = FILLED
    created_at: datetime = FILLED
    updated_at: datetime = FILLED
    last_active_at: datetime | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Credentials(_ByValue):
    """A user, and the hash to compare a password with (None: the user has no password)."""

    user: User
    password_hash: str | None = field(repr=False)


@dataclass(frozen=True, eq=False, repr=False)
class Organization(_ByValue):
    """An organization of the benchmark exchange.

    ``slug`` is its name in URLs. ``organization_type`` is "llm_provider", "research_institution",
    "enterprise", "open_source" or "individual".
    """

    name: str
    slug: str
    description: str = ""
    website: str | None = None
    logo_url: str | None = None
    organization_type: str = "individual"
    verified: bool = False
    verification_date: datetime | None = None
    id: uuid.UUID = FILLED
    created_at: datetime = FILLED
    updated_at: datetime = FILLED


@dataclass(frozen=True, eq=False, repr=False)
class Member(_ByValue):
    """A user who belongs to an organization; ``role`` is "member", "admin" or "owner"."""

    user: User
    role: str
    joined_at: datetime


@dataclass(frozen=True, eq=False, repr=False)
class Membership(_ByValue):
    """An organization that a user belongs to, and the user's role in it."""

    organization: Organization
    role: str
    joined_at: datetime


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Benchmark(_ByValue):
    """A benchmark at its current version.

    ``category`` is "performance", "accuracy", "reliability", "safety", "cost" or "capability".
    ``status`` is "draft", "under_review", "active", "deprecated" or "archived". ``version`` is
    three numbers (https://semver.org), ``version_id`` its row in the history. ``tags`` are returned
    sorted, without duplicates.
    """

    slug: str = field(kw_only=False)
    name: str = field(kw_only=False)
    description: str = ""
    long_description: str = ""
    category: str
    status: str = "draft"
    version: str = "1.0.0"
    tags: tuple[str, ...] = ()
    license: str | None = None
    created_by: uuid.UUID
    evaluation_criteria: dict[str, Any] = field(default_factory=dict)
    execution_config: dict[str, Any] = field(default_factory=dict)
    test_cases: list[Any] = field(default_factory=list)
    id: uuid.UUID = FILLED
    version_id: uuid.UUID = FILLED
    created_at: datetime = FILLED
    updated_at: datetime = FILLED


@dataclass(frozen=True, eq=False, repr=False)
class BenchmarkVersion(_ByValue):
    """A benchmark as it was at one version; ``number`` counts its versions from 1."""

    benchmark_id: uuid.UUID
    version: str
    number: int = 1
    changelog: str = ""
    breaking: bool = False
    evaluation_criteria: dict[str, Any] = field(default_factory=dict)
    execution_config: dict[str, Any] = field(default_factory=dict)
    test_cases: list[Any] = field(default_factory=list)
    id: uuid.UUID = FILLED
    created_at: datetime = FILLED


@dataclass(frozen=True, eq=False, repr=False)
class Submission(_ByValue):
    """A model's results at one version of a benchmark.

    Without an ``aggregate_score`` it has no rank. ``verification_level`` is "unverified",
    "community_verified", "platform_verified" or "audited"; ``verification`` is any JSON about it.
    ``visibility`` is "public", "unlisted" or "private".
    """

    benchmark_id: uuid.UUID
    benchmark_version_id: uuid.UUID
    model: str
    user_id: uuid.UUID
    organization_id: uuid.UUID | None = None
    aggregate_score: float | None = None
    results: dict[str, Any] = field(default_factory=dict)
    execution: dict[str, Any] = field(default_factory=dict)
    verification_level: str = "unverified"
    verified_at: datetime | None = None
    verification: dict[str, Any] | None = None
    visibility: str = "public"
    id: uuid.UUID = FILLED
    created_at: datetime = FILLED
    updated_at: datetime = FILLED


class LeaderboardEntry(NamedTuple):
    """A submission's rank, with the names of its user and of its organization, if any."""

    rank: int
    submission_id: uuid.UUID
    benchmark_version_id: uuid.UUID
    model: str
    aggregate_score: float
    verification_level: str
    created_at: datetime
    user_id: uuid.UUID
    username: str
    display_name: str
    organization_id: uuid.UUID | None
    organization_name: str | None


@dataclass(frozen=True, eq=False, repr=False)
class Query(_ByValue):
    """The page of records to read.

    Pages count from 1. ``sort`` is one of the repository's ``sort_fields`` (default: the first);
    records with equal values are in the order of their keys. ``filters`` gives the value of a field
    in ``filter_fields``, or a condition such as ``Above(3)``; None selects records without one.
    None sorts as on the engine: last on Postgres, first on MySQL.

    ``after`` is the ``next`` of another page: this page begins behind it, whatever was stored or
    deleted before it in the meantime. The server skips no rows for it, as it does for a high
    ``page``. It needs a ``sort`` field that is never NULL.
    """

    page: int = 1
    per_page: int = 50
    sort: str = ""
    descending: bool = False
    filters: Mapping[str, Any] = field(default_factory=dict)
    with_total: bool = False
    after: Sequence[Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False, repr=False)
class Page(_ByValue, Generic[T]):
    """``items`` of a query; ``total`` counts all records that match, if ``with_total`` was set.

    ``next`` is for the ``after`` of the next page's query: the values of the last record in the
    sort field and the key, or None if the page is not full. Pages are equal whatever it is.
    """

    items: list[T]
    page: int
    per_page: int
    total: int | None = None
    next: tuple[Any, ...] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, eq=False, repr=False)
class Upserted(_ByValue, Generic[T]):
    """The record as ``upsert`` has stored it; ``created`` is False if it existed before."""

    record: T
    created: bool


# === repositories =================================================================================


@dataclass(frozen=True, eq=False, repr=False)
class ForeignKey(_ByValue):
    """A reference to columns of another table.

    ``on_delete`` is "restrict", "cascade" or "set null".
    """

    columns: tuple[str, ...]
    table: str
    target: tuple[str, ...] = ("id",)
    on_delete: str = "restrict"

    def __post_init__(self) -> None:
        for name in ("columns", "target"):
            object.__setattr__(self, name, tuple(_check_many(name, getattr(self, name))))
        if len(self.target) != len(self.columns):
            names = ", ".join(map(str, self.columns))
            raise ConfigurationError(
                f"target should have as many columns as the key itself: {names}"
            )
        if not isinstance(self.table, str):
            raise ConfigurationError("table should be the name of a table")
        _check_choice("on_delete", self.on_delete, "restrict", "cascade", "set null")


@dataclass(frozen=True, eq=False, repr=False)
class Check(_ByValue):
    """A condition that every row meets.

    Attributes:
        sql: the condition in SQL that both engines accept.
        holds: the same for a fake: a function that takes the row, a dict, and returns False to
            refuse it. None (unknown, as with NULL) accepts it.
    """

    sql: str
    holds: Callable[[dict[str, Any]], bool | None]

    def __post_init__(self) -> None:
        if not _is_text(self.sql):
            raise ConfigurationError("sql should be the text of a condition")
        _check_function("holds", self.holds, "a row", ConfigurationError)


class _Choice(NamedTuple):
    """The check of a column whose format is a list of texts."""

    column: str
    texts: Sequence[str]

    def holds(self, row: dict[str, Any]) -> bool:
        return row[self.column] is None or row[self.column] in self.texts


_WORD = r"[_-]*[^\W_][\w-]*"
#: a format that is a list of texts, such as "customer|worker"
_WORDS = _lazy(rf"{_WORD}(\|{_WORD})+")


class _Rules:
    """The constraints of a table by name, with those of members. Raises ConfigurationError."""

    def __init__(self, port: Any, columns: Mapping[str, _FieldColumn]) -> None:
        table = _plain(port.table).rpartition(".")[2]
        self.primary_key = f"{table}_pkey"
        self.unique = self._unique_keys(port, table)
        self.foreign_keys: Mapping[str, ForeignKey] = port.foreign_keys
        self.checks: dict[str, Check | _Choice] = {}
        texts = {
            name: one.split("|") for name, one in port.formats.items() if _WORDS.fullmatch(one)
        }
        texts |= {name: [*one.members] for name, one in columns.items() if one.members}
        for name, some in texts.items():
            choice = _Choice(port._column(name), some)
            self.checks[f"{table}_{choice.column}_check"] = choice
        self.checks |= port.checks
        others = {name: [*getattr(port, name)] for name in ("column_names", "defaults", "ascii")}
        own = {*port._own_fields(), *port.hidden, *port.folded}
        own_columns = [*map(port._column, own)]
        if not all(map(_is_text, own_columns)) or len({*own_columns}) < len(own):
            raise ConfigurationError("column_names should give each field its own column")
        self._check_columns(own, others)
        self._check_names()

    @staticmethod
    def _unique_keys(port: Any, table: str) -> dict[str, Any]:
        """Return the unique keys. In a list each gets the name ``<table>_<columns>_key``."""
        keys = port.unique
        if isinstance(keys, Mapping):
            return {**keys}
        if isinstance(keys, list | tuple) and all(isinstance(each, list | tuple) for each in keys):
            return {
                f"{table}_{'_'.join(map(str, map(port._column, key)))}_key": key for key in keys
            }
        raise ConfigurationError("unique should be a dict, or a list of tuples of columns")

    def _check_columns(self, columns: Collection[str], others: Mapping[str, Any]) -> None:
        """Check that the rules, and the ``others``, which may be empty, are of these columns."""
        named = {**others, **self.unique}
        for kind, rules in ((ForeignKey, self.foreign_keys), (Check, self.checks)):
            for rule, value in rules.items():
                if not isinstance(value, (kind, _Choice)):
                    raise ConfigurationError(f"{rule} should be of class {kind.__name__}")
        named |= {rule: key.columns for rule, key in self.foreign_keys.items()}
        for rule, names in named.items():
            if not isinstance(names, list | tuple) or not (names or rule in others):
                raise ConfigurationError(f"{rule} should be a tuple of columns")
            if unknown := [str(name) for name in names if name not in columns]:
                raise ConfigurationError(f"{rule} names no column: {', '.join(unknown)}")

    def _check_names(self) -> None:
        names = [self.primary_key, *self.unique, *self.foreign_keys, *self.checks]
        for name in names[1:]:
            if not (isinstance(name, str) and name.isascii() and name.isidentifier()):
                raise ConfigurationError(f"{name} should be letters, digits and underscores")
            if len(name) > 63:
                raise ConfigurationError(f"{name} should have at most 63 characters")
            if names.count(name) > 1:
                raise ConfigurationError(f"{name} should be the name of one constraint")


#: the key of a record; a tuple if it has several columns
_RecordKey: TypeAlias = (
    uuid.UUID | int | str | bytes | date | day_time | timedelta | Decimal | enum.Enum
    | tuple[Any, ...]
)  # fmt: skip
#: values, or conditions, by the names of their columns
_ByColumn: TypeAlias = Mapping[str, Any]
#: columns, each with whether it is descending
_Order: TypeAlias = Sequence[tuple[str, bool]]


class _Condition(_ByValue):
    """What the value of a field should be.

    Immutable, and equal by value. Its repr shows no values, because they may be personal.
    """

    #: the SQL of a column, and the same for fakes, of a value that is not NULL
    _sql: ClassVar[str]
    _holds: ClassVar[Callable[..., bool]]
    _values: tuple[Any, ...]

    def __init__(self, value: Any) -> None:
        self._keep(value)

    def _keep(self, *values: Any) -> None:
        vars(self)["_values"] = values

    def _of(self, values: Iterable[Any]) -> _Condition:
        """Return the same condition with other values."""
        made: _Condition = object.__new__(type(self))
        made._keep(*values)
        return made

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} cannot be changed")

    def _by_value(self) -> tuple[Any, ...]:
        return self._values

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


class Above(_Condition):
    """Matches a value greater than this one."""

    _sql, _holds = "{} > %s", operator.gt


class AtLeast(_Condition):
    """Matches this value and greater ones."""

    _sql, _holds = "{} >= %s", operator.ge


class Below(_Condition):
    """Matches a value less than this one."""

    _sql, _holds = "{} < %s", operator.lt


class AtMost(_Condition):
    """Matches this value and lesser ones."""

    _sql, _holds = "{} <= %s", operator.le


class Between(_Condition):
    """Matches the values from ``low`` to ``high``, both included."""

    # MariaDB finds nothing BETWEEN 'A' AND 'a', also with a binary collation.
    _sql, _holds = "({0} >= %s AND {0} <= %s)", lambda value, low, high: low <= value <= high

    def __init__(self, low: Any, high: Any) -> None:
        self._keep(low, high)


class OneOf(_Condition):
    """Matches each of these values, of which there is at least one."""

    _sql = "{} IN %s"

    def __init__(self, values: Iterable[Any]) -> None:
        self._keep(*_check_many("values", values))


class Contains(_Condition):
    """Matches a text that contains this one of at most 200 characters. Case counts."""

    _sql, _holds = "{} LIKE %s ESCAPE '|'", operator.contains
    _pattern = "%{}%"


class StartsWith(_Condition):
    """Matches a text that begins with this one of at most 200 characters. Case counts."""

    _sql, _holds = "{} LIKE %s ESCAPE '|'", str.startswith
    _pattern = "{}%"


class Not(_Condition):
    """Matches what another condition, or value, does not. Only ``Not(None)`` is about NULL.

    As in SQL, ``Not(5)`` does not match NULL: write ``AnyOf(None, Not(5))``.
    """


class AnyOf(_Condition):
    """Matches what one of these conditions or values does; None matches NULL."""

    def __init__(self, *conditions: Any) -> None:
        self._keep(*conditions)


class _Plus(NamedTuple):
    """A change of a column: its value and this amount, added by the statement that stores it."""

    amount: Any


class _Among(NamedTuple):
    """A condition: a value of ``column`` in the rows of another table that meet ``where``."""

    repository: Repository[Any]
    column: str
    where: _ByColumn


_EVERY: _ByColumn = {}

#: the types of fields that are converted, and of their columns' values
_STORED_AS: Mapping[Any, type] = {day_time: day_time, timedelta: int, tuple: list}


def _field_kind(hint: Any) -> tuple[Any, dict[str, Any]]:
    """Return a field's kind (None: no column has it) and members."""
    kind: Any = get_origin(hint) or hint
    if kind is tuple:
        return kind if get_args(hint) == (str, ...) else None, {}
    if kind is Literal:
        values: Sequence[Any] = get_args(hint)
    elif isinstance(kind, enum.EnumMeta):
        values = [*kind]
    else:
        return kind if kind in _VALUE_TYPES else None, {}
    texts = [getattr(value, "value", value) for value in values]
    fit = all(type(text) is str and text.isprintable() and text == text.strip() for text in texts)
    return (str, dict(zip(texts, values))) if values and fit and "" not in texts else (None, {})


class _FieldColumn:
    """The column of a field: its type, and the check of values, which returns them as stored.

    All checks raise ValidationError; ``document`` raises SerializationError for what is not JSON.
    ``read`` reverts what they do, and ``unread`` that.
    """

    def __init__(self, schema: Any, name: str, hint: Any) -> None:
        self._name, self.column = name, schema._column(name)
        types = _alternatives(hint)
        kinds = [each for each in types if each is not type(None)]
        found = _field_kind(kinds[0]) if len(kinds) == 1 else (None, {})
        self.kind: Any = found[0]
        #: the values of an Enum or Literal, whose kind is str, by their texts
        self.members: Mapping[str, Any] = found[1]
        if self.kind is None:
            raise ConfigurationError(
                f"{schema.record.__name__}.{name} has a type that no column has"
            )
        self._enums: Any = tuple({*map(type, self.members.values())} - {str})
        #: the type of the column's values
        self.stored: type = _STORED_AS.get(self.kind, self.kind)
        self.optional = type(None) in types
        is_key = name in schema.key
        self._accepts_none = self.optional and not is_key
        self._trimmed = is_key or name in schema.trimmed
        self._visible, self._ascii = name in schema.visible, name in schema.ascii
        self._longest, self._scale = schema.lengths.get(name, 0), schema.scales.get(name)
        self._most = self._longest or sys.maxsize
        problem = ""
        if name in schema.scales and not self._can_have_scale(self._scale):
            problem = "scale that no column has"
        elif name in schema.lengths and not self._can_have_length(self._longest):
            problem = f"length that no column of type {self.kind.__name__} has"
        if problem:
            raise ConfigurationError(f"{schema.__name__}: {name} has a {problem}")
        self._format = schema.formats.get(name)
        self._matches: Any = None
        #: the resolution of times in microseconds
        self.step = _fraction(self._scale) if self.kind is datetime else 1
        self._bound = 1 << (self._longest or 32) - 1 if is_key else 1 << 64

    def _can_have_length(self, length: Any) -> bool:
        if self.kind is int:
            return length in (32, 64)  # bits
        return self.kind in (str, bytes) and _COUNT.valid(length)

    def _can_have_scale(self, scale: Any) -> bool:
        if self.kind is datetime:
            return _COUNT_OR_0.valid(scale) and scale <= 6
        if self.kind is not Decimal or not isinstance(scale, tuple) or len(scale) != 2:
            return False
        precision, digits = scale
        return _COUNT.valid(precision) and _COUNT_OR_0.valid(digits) and digits <= precision

    def column_type(self) -> _ColumnType:
        if self.kind is Decimal and self._scale is not None:
            return _ColumnType("decimal", *self._scale)
        size = max(self._longest, 0, *map(len, self.members))
        if self.kind is timedelta:
            size = 64
        return _ColumnType(_VALUE_TYPES[self.stored].column_kind, size or None, self._scale)

    def check(self) -> _Converter:
        """Return the method for the column's type."""
        if self._format is not None:  # not in __init__: tables, as of ``import fakes``, need none
            self._matches = re.compile(self._format).fullmatch
        checks: dict[type, _Converter] = {
            str: self.text,
            datetime: self.moment,
            int: self.whole,
            bytes: self.data,
            float: self.number,
            Decimal: self.decimal,
            dict: self.document,
            list: self.document,
            day_time: self.time,
            timedelta: self.duration,
            tuple: self.texts,
        }
        return self.member if self.members else checks.get(self.kind, self.plain)

    def read(self, value: Any) -> Any:
        """Return the field's value for a stored one, or raise DatabaseError."""
        kind = value.__class__
        if kind is str and value in self.members:
            return self.members[value]
        if kind is int and self.kind is timedelta:
            return value * _MICROSECOND
        if self.kind is tuple and kind is list and all(text.__class__ is str for text in value):
            return tuple(value)
        if self.kind is day_time and kind is timedelta and not value.days:
            return (datetime.min + value).time()  # so PyMySQL reads a TIME
        if self.kind is day_time is kind:
            return value
        raise DatabaseError(f"a stored value is not one that the field can have: {self.column}")

    def unread(self, value: Any) -> Any:
        """Return the stored value of a field's that was read, without a check."""
        if self.members:
            return getattr(value, "value", value)
        return value // _MICROSECOND if self.kind is timedelta else value

    def plain(self, value: Any) -> Any:
        if value.__class__ is self.kind:
            return value
        value = _plain(value)
        return value if value.__class__ is self.kind else self._null(value)

    def text(self, value: Any) -> Any:
        if value.__class__ is not str:
            value = _plain(value)
            if value.__class__ is not str:
                return self._null(value)
        # Most texts need no closer look, which takes a sixth of a fake's ``create``.
        usual = value.isascii() and value.isprintable() and len(value) <= self._most
        if not usual or (self._trimmed and (not value or value != value.strip(" "))):
            any_ends, longest = not self._trimmed, self._longest
            _check_text(self._name, value, blank_ends=any_ends, empty=any_ends, longest=longest)
            if self._ascii and not value.isascii():
                raise self._invalid("be ASCII")
        if self._matches is not None and not self._matches(value):
            raise self._invalid(f"match {self._format}")
        if not usual and self._visible and (not value.isprintable() or _UNSEEN.search(value)):
            raise self._invalid("not hold characters that cannot be seen")
        return value

    def moment(self, value: Any) -> Any:
        if not isinstance(value, datetime):
            return self._null(value)
        if value.__class__ is not datetime or value.tzinfo is not timezone.utc:
            value = _to_utc(value, self._name)
        if value.microsecond % self.step:
            raise self._invalid(f"have at most {self._scale} digits of a second")
        return value

    def whole(self, value: Any) -> Any:
        value = self.plain(value)
        bound = self._bound
        if value is not None and not -bound <= value < bound:
            _check_digits(self._name, value)  # counting digits takes time
            if bound < 1 << 64:  # servers would refuse it, but not in each condition
                raise self._invalid(f"be from {-bound} to {bound - 1}")
        return value

    def data(self, value: Any) -> Any:
        value = self.plain(value)
        if value is not None and 0 < self._longest < len(value):
            raise self._invalid(f"have at most {self._longest} bytes")
        return value

    def number(self, value: Any) -> Any:
        if not _is_number(value, -sys.float_info.max, sys.float_info.max):
            return self._null(value)
        return float(value) + 0.0  # no minus zero: a literal of SQL loses its sign

    def decimal(self, value: Any) -> Any:
        value = self.plain(value)
        if value is None:
            return None
        if not value.is_finite():  # NaN has no order, and MySQL no infinity
            return self._null(value)
        if self._scale is None:
            return value
        exact = _exact_decimal(value, *self._scale)
        if exact is None:
            digits = f"{self._scale[0]} digits, {self._scale[1]} of them behind the point"
            raise self._invalid(f"have at most {digits}")
        return exact

    def document(self, value: Any) -> Any:
        if isinstance(value, self.kind):
            return _document(self._name, value)
        return self._null(value)

    def member(self, value: Any) -> Any:
        """Accept the text of a member too."""
        text = value.value if isinstance(value, self._enums) else _plain(value)
        if text.__class__ is str and text in self.members:
            return self.text(text)
        return self._null(value, f"one of: {', '.join(self.members)}")

    def time(self, value: Any) -> Any:
        value = self.plain(value)
        if value is not None:
            _fit_times(self._name, _ColumnType("time"), [value])
        return value

    def duration(self, value: Any) -> Any:
        value = self.plain(value)
        if value is not None and abs(value) >= 2**63 * _MICROSECOND:
            raise self._invalid("fit into 64 bits, in microseconds")
        return None if value is None else value // _MICROSECOND

    def texts(self, value: Any) -> Any:
        texts = [*map(_plain, value)] if isinstance(value, tuple) else [None]
        if all(text.__class__ is str for text in texts):
            return _document(self._name, texts)
        return self._null(value, "a tuple of texts")

    def condition(self, check: _Converter, value: Any, depth: int = 0) -> Any:
        """Return a value or condition with its values as they are stored, which ``check`` does.

        ``depth`` counts the AnyOf and Not around it.
        """
        if not isinstance(value, _Condition):
            return None if value is None and depth else check(value)
        values = value._values
        if not values:
            raise self._invalid(f"be {type(value).__name__} at least one value")
        if isinstance(value, Not | AnyOf):
            if depth == 10:
                raise self._invalid("have at most 10 AnyOf and Not around each other")
            return value._of(self.condition(check, one, depth + 1) for one in values)
        if any(one is None for one in values):
            raise self._invalid("not be compared with None: AnyOf(None, ...) matches NULL too")
        if isinstance(value, Contains | StartsWith):
            if self.kind is not str:
                raise self._invalid(f"be a text for {type(value).__name__}")
            check = self._part
        return value._of(map(check, values))

    def _part(self, value: Any) -> Any:
        text = _check_text(self._name, value, longest=200)
        if self._ascii and not text.isascii():
            raise self._invalid("be ASCII")
        return text

    def _null(self, value: Any, words: str = "") -> Any:
        """Return None if that is the value and the column may be NULL, else raise."""
        if value is None and self._accepts_none:
            return None
        raise self._invalid(f"be {words or _VALUE_TYPES[self.kind].words}")

    def _invalid(self, rule: str) -> ValidationError:
        return ValidationError(f"{self._name} should {rule}")


# Remembered: a bundle of fakes, which each of a user's tests may make, would take twice as long.
@functools.lru_cache(maxsize=500)
def _record_shape(record: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the types of a record's fields, and the parameters that it takes by position."""
    taken = inspect.signature(record).parameters.values()
    names = [each.name for each in taken if each.kind is each.POSITIONAL_OR_KEYWORD]
    return get_type_hints(record), names


class _RecordSchema(ABC, Generic[R]):
    """The columns of a repository's table, from the attributes of its class."""

    record: type[R]
    table: str
    resource: str
    key: ClassVar[Sequence[str]] = ("id",)
    ids: ClassVar[Sequence[str]] = ("id",)
    lengths: ClassVar[Mapping[str, int]] = {}
    scales: ClassVar[Mapping[str, Any]] = {}
    formats: ClassVar[Mapping[str, str]] = {}
    trimmed: ClassVar[Sequence[str]] = ()
    visible: ClassVar[Sequence[str]] = ()
    folded: ClassVar[Mapping[str, Sequence[str]]] = {}
    hidden: ClassVar[Mapping[str, Any]] = {}
    elsewhere: ClassVar[Sequence[str]] = ()
    guarded: ClassVar[Sequence[str]] = ()
    kept: ClassVar[Sequence[str]] = ()
    version: ClassVar[str] = ""
    sort_fields: ClassVar[Sequence[str]] = ("created_at",)
    filter_fields: ClassVar[Sequence[str]] = ()
    ascii: ClassVar[Sequence[str]] = ()
    unique: ClassVar[Mapping[str, Sequence[str]] | Sequence[Sequence[str]]] = ()
    foreign_keys: ClassVar[Mapping[str, ForeignKey]] = {}
    checks: ClassVar[Mapping[str, Check]] = {}
    column_names: ClassVar[Mapping[str, str]] = {}
    defaults: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # Those of this module are checked by ``import fakes``: it takes 5 % of ``import infra``.
        if cls.__module__ == __name__ or not (hasattr(cls, "record") and hasattr(cls, "table")):
            return
        cls._rules()
        if len(cls.key) > 1 or [*cls.ids] != [*cls.key]:
            cls._made_id(cls._columns())

    @classmethod
    def _rules(cls, columns: Mapping[str, _FieldColumn] | None = None) -> _Rules:
        """Return the constraints, those of members if ``columns``. Raises ConfigurationError."""
        try:
            for name in _RecordSchema.__annotations__:
                default = getattr(_RecordSchema, name, None)
                if isinstance(default, dict):
                    _MAPPING.check(name, getattr(cls, name))
                elif isinstance(default, tuple) and name != "unique":
                    _check_many(name, getattr(cls, name))
            rules = _Rules(cls, columns or {})
            cls._defaults()
        except InfrastructureError as error:
            raise ConfigurationError(f"{cls.__name__}: {error}") from None
        return rules

    @classmethod
    def _column(cls, name: str) -> str:
        return cls.column_names.get(name, name)

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        """Return the defaults as they are stored. Raises as ``create`` for a wrong one."""
        columns = cls._columns() if cls.defaults else {}
        if (made := cls._made_id(columns)) in cls.defaults:
            raise ConfigurationError(f"defaults names {made}, whose values the server makes")
        return {name: columns[name].check()(value) for name, value in cls.defaults.items()}

    def __init__(self) -> None:
        self._held = self._columns()
        self._fields = tuple(self._own_fields())
        self._shown = (*self._fields, *self.elsewhere)
        #: whether it is a record of this module, whose ``__init__`` only sets the fields
        self._is_plain = self.record.__module__ == __name__
        record: Any = self.record
        #: whether the record takes the fields by position, which is twice as fast as by name
        self._in_order = _record_shape(record)[1] == [*self._shown]
        self._documents = [name for name in self._fields if self._held[name].stored in (dict, list)]
        #: the column whose values the server makes, or ""
        self._made = self._made_id(self._held)
        #: columns that ``update`` compares with what was read
        self._compared = (*self.guarded, self.version) if self.version else (*self.guarded,)
        #: columns that ``update`` does not write
        self._unchanged = {*self.key, *self.kept}
        self._unchanged |= {
            name for name, sources in self.folded.items() if self._unchanged.issuperset(sources)
        }
        if problem := self._problem() or self._version_problem():
            raise ConfigurationError(f"{type(self).__name__}: {problem}")
        filled = *self.ids, "created_at", "updated_at", self.version
        #: columns that ``create`` fills
        self._fillable = [name for name in filled if name in self._held and name != self._made]
        self._checks = {name: column.check() for name, column in self._held.items()}
        self._readers = {
            name: column.read
            for name, column in self._held.items()
            if column.members or column.kind in _STORED_AS
        }

    def _problem(self) -> str:
        """Return which attribute would make a query fail or go wrong, or ""."""
        named = {
            *self.key, *self.lengths, *self.scales, *self.formats, *self.trimmed, *self.visible,
            *self.guarded, *self.kept, *self.filter_fields,
        }  # fmt: skip
        own_sorts = self.sort_fields is not _RecordSchema.sort_fields
        if own_sorts:  # the inherited created_at may be absent
            named.update(self.sort_fields)
        if unknown := sorted(named - self._held.keys()):
            return f"there is no column {', '.join(unknown)}"
        if own_sorts and (unseen := sorted({*self.sort_fields} - {*self._fields})):
            return f"sort_fields should be fields of the record, not {', '.join(unseen)}"
        if not self.key:
            return "key should name a column"
        compared = {*self.filter_fields, *self.sort_fields, *self.guarded, *self.key}
        if not compared.isdisjoint(self._documents):
            return "documents are no fields to sort or filter by, nor to guard, nor keys"
        if "updated_at" in self.guarded:
            return "updated_at is no field to guard: update sets it"
        for name, sources in self.folded.items():
            if name not in self._unchanged and not {*sources}.isdisjoint(self.kept):
                return "a folded column holds fields that are kept, all of them or none"
        return ""

    def _version_problem(self) -> str:
        found = self._held.get(self.version) if self.version in self._fields else None
        if self.version != "" and (found is None or found.kind is not int or found.optional):
            return "version should name a field of type int that is never None"
        if self.version in {*self.key, *self.guarded, *self.kept}:
            return "version should name a field that is not in key, guarded or kept"
        return ""

    @classmethod
    def _own_fields(cls) -> list[str]:
        """Return the fields that are columns of the table."""
        record: Any = cls.record
        return [one.name for one in fields(record) if one.init and one.name not in cls.elsewhere]

    @classmethod
    def _columns(cls) -> dict[str, _FieldColumn]:
        record: Any = cls.record
        hints = _record_shape(record)[0]
        hints = {name: hints[name] for name in cls._own_fields()} | {**cls.hidden}
        columns = {name: _FieldColumn(cls, name, hint) for name, hint in hints.items()}
        for name, sources in cls.folded.items():
            texts = [columns[source] for source in sources if source in columns]
            if len(texts) < len(sources) or {text.stored for text in texts} != {str}:
                raise ConfigurationError(f"{cls.__name__}: {name} should hold fields of text")
            optional = any(text.optional for text in texts)
            columns[name] = _FieldColumn(cls, name, str | None if optional else str)
        return columns

    @classmethod
    def _made_id(cls, columns: Mapping[str, _FieldColumn]) -> str:
        """Return the field whose values the server makes, or "". Raises ConfigurationError."""
        made = [name for name in cls.ids if name in columns and columns[name].kind is int]
        if len(made) > 1 or made not in ([], [*cls.key]):
            raise ConfigurationError(
                f"{cls.__name__}: the server makes ids of type int, so {made[0]} has to be the "
                "whole key (or is not in ids)"
            )
        return "".join(made)

    @classmethod
    def _key_lengths(cls) -> dict[str, int]:
        """Return the lengths that MySQL needs of folded columns in unique keys.

        Folding makes a text at most three times as long (tests/unit/test_folding.py).
        """
        lengths = {}
        keyed = {name for key in cls._rules().unique.values() for name in key}
        for name in keyed & cls.folded.keys() - cls.lengths.keys():
            known = [cls.lengths.get(source, 0) for source in cls.folded[name]]
            if all(known):
                lengths[name] = 3 * sum(known) + len(known) - 1  # with the ends of lines
        return lengths

    def _cut(self, name: str, now: datetime) -> datetime:
        """Return the time without the digits that the field's column does not hold."""
        rest = now.microsecond % self._held[name].step
        return now.replace(microsecond=now.microsecond - rest) if rest else now

    def _checked(self, values: _ByColumn) -> dict[str, Any]:
        """Return the values as they are stored, with the folded columns that hold them."""
        checks, checked = self._checks, {**values}
        try:
            for name, value in values.items():
                checked[name] = checks[name](value)
        except KeyError:
            raise self._unknown(values) from None
        if self.folded:
            checked |= self._folds(checked)
        return checked

    def _unknown(self, names: Iterable[Any]) -> ValidationError:
        unknown = [str(name) for name in names if name not in self._held]
        return ValidationError(f"{self.table} has no {', '.join(unknown)}")

    def _folds(self, checked: _ByColumn) -> dict[str, Any]:
        """Return the folded columns that hold these values."""
        folded: dict[str, Any] = {}
        for name, sources in self.folded.items():
            texts = []
            for source in sources:
                if source in checked:
                    texts.append(checked[source])
            if len(texts) == len(sources):
                folded[name] = None if None in texts else _folded("\n".join(texts))
        return folded

    def _conditions(self, where: Any) -> dict[str, Any]:
        """Return a caller's conditions with their values as they are stored."""
        given = _plain_keys(_MAPPING.check("where", where))
        if not self._held.keys() >= given.keys():
            raise self._unknown(given)
        checked = {}
        for name, column in self._held.items():
            # In one order, whatever the caller's: the text of each statement is kept.
            if name in given:
                if column.stored in (dict, list):
                    raise ValidationError(f"{name} is a document, on which is no condition")
                checked[name] = column.condition(self._checks[name], given[name])
        plain = {name: one for name, one in checked.items() if not isinstance(one, _Condition)}
        return {**self._folds(plain), **checked}

    def _check_folded(self, changes: _ByColumn) -> None:
        """Raise ValidationError for a change of some of the fields that a folded column holds."""
        for name, sources in self.folded.items():
            if name not in changes and not changes.keys().isdisjoint(sources):
                raise ValidationError(
                    f"{', '.join(sources)} can only be changed together: {name} holds them"
                )

    def _by_key(self, key: Any) -> dict[str, Any]:
        """Return the condition that finds a record by its key."""
        if len(self.key) == 1:
            return self._identity(key, self.key[0])
        if not isinstance(key, tuple) or len(key) != len(self.key):
            raise ValidationError(f"key should be a tuple: ({', '.join(self.key)})")
        return self._checked(dict(zip(self.key, key)))

    def _identity(self, id: Any, name: str = "id") -> dict[str, Any]:
        """Return the condition that finds rows by an id."""
        if name not in self._held:
            raise ConfigurationError(
                f"{type(self).__name__} has no column {name}: "
                "its records are found by other methods"
            )
        if id.__class__ is uuid.UUID is self._held[name].kind:
            return {name: id}
        return self._checked({name: id})


def _check_query(query: Any) -> None:
    if not isinstance(query, Query) or not isinstance(query.filters, Mapping):
        raise ValidationError("query should be a Query, its filters a dict")
    _check_range("page", query.page, 1, 10**9)
    _check_range("per_page", query.per_page, 1, 1000)
    if query.after is not None and query.page != 1:
        raise ValidationError("page should be 1: after says where the page begins")


class _RecordStore(_RecordSchema[R]):
    """Reads records, and pages of them, through the primitives of a backend."""

    def _make(self, values: Iterable[Any]) -> R:
        """Return the record with these values, in the order of ``_shown``."""
        if not self._is_plain:
            if self._in_order:
                return self.record(*values)
            return self.record(**dict(zip(self._shown, values)))
        # A frozen dataclass sets its fields one by one: that is a third of a fake's page.
        record = object.__new__(self.record)
        record.__dict__.update(zip(self._shown, values))
        return record

    def _first(
        self, operation: str, where: _ByColumn, order: _Order = (), *, lock: bool = False
    ) -> R | None:
        rows = self._rows(operation, self._shown, where, order, 1, lock=lock)
        return self._make(rows[0]) if rows else None

    def _exists(self, operation: str, where: _ByColumn) -> bool:
        return bool(self._rows(operation, tuple(self.key), where, limit=1))

    def _select(
        self,
        operation: str,
        where: _ByColumn,
        order: _Order = (),
        limit: int | None = None,
        offset: int = 0,
    ) -> list[R]:
        rows = self._rows(operation, self._shown, where, order, limit, offset)
        return [*map(self._make, rows)]

    def _portion(
        self,
        operation: str,
        where: _ByColumn,
        order: _Order,
        limit: int,
        offset: int = 0,
        after: Sequence[Any] = (),
    ) -> tuple[Iterator[R], tuple[Any, ...] | None]:
        """Return records, and the last one's values of ``order`` (None: fewer than ``limit``)."""
        columns = [name for name, _ in order]
        hidden = [name for name in columns if name not in self._shown]
        names = (*hidden, *self._shown)
        rows = self._rows(operation, names, where, order, limit, offset, after)
        last = None
        if len(rows) == limit:
            last = tuple(rows[-1][names.index(name)] for name in columns)
        if hidden:
            rows = [row[len(hidden) :] for row in rows]
        return map(self._make, rows), last  # lazy records cost the collector less

    def _page(self, operation: str, where: _ByColumn, query: Query) -> Page[R]:
        """Return the page of the records that also meet ``where``, which is checked already."""
        _check_query(query)
        sorts = [name for name in self.sort_fields if name in self._fields] or [*self.key]
        order = self._order(sorts, query.sort, query.descending)
        where = {**where, **self._filters(operation, where, query)}
        offset = (query.page - 1) * query.per_page
        after = () if query.after is None else self._place(order, query.after)
        items, last = self._portion(operation, where, order, query.per_page, offset, after)
        total = self._number(operation, where) if query.with_total else None
        return Page([*items], query.page, query.per_page, total, last)

    def _order(self, sorts: Sequence[str], sort: str, descending: bool) -> list[tuple[str, bool]]:
        """Return the order by one of ``sorts``, by default the first, then by the key."""
        sort = _plain(sort) or sorts[0]
        if sort not in sorts:
            raise ValidationError(f"sort should be one of: {', '.join(sorts)}")
        _FLAG.check("descending", descending)
        return [(name, descending) for name in dict.fromkeys((sort, *self.key))]

    def _place(self, order: _Order, after: Any) -> list[Any]:
        """Return the checked values of a query's ``after``."""
        names = [name for name, _ in order]
        if not isinstance(after, tuple | list) or len(after) != len(names):
            raise ValidationError(f"after should be the next of a page: ({', '.join(names)})")
        if self._held[names[0]].optional and names[0] not in self.key:
            raise ValidationError(f"after needs a sort field that is never NULL, not {names[0]}")
        return [self._checks[name](value) for name, value in zip(names, after)]

    def _filters(self, operation: str, where: _ByColumn, query: Query) -> dict[str, Any]:
        given = _plain_keys(query.filters)
        if unknown := set(given) - set(self.filter_fields):
            raise ValidationError(
                f"{len(unknown)} of the filters are none of: {', '.join(self.filter_fields)}"
            )
        if both := where.keys() & given.keys():
            raise ValidationError(f"{operation} sets this filter itself: {', '.join(both)}")
        return self._conditions(given)

    def _search(self, operation: str, column: str, text: str, query: Query) -> Page[R]:
        """Return the page of the records whose folded column contains the text."""
        wanted = _folded(_check_text("text", text, longest=200))
        return self._page(operation, {column: Contains(wanted)} if wanted else {}, query)

    # The primitives of a backend; each is one statement. ``where`` maps columns to the value that
    # they must equal, to None if they must be absent, or to a condition. ``after`` are values of
    # the columns of ``order``, of one direction: only rows beyond them are read.

    @abstractmethod
    def _insert(self, operation: str, *rows: _ByColumn) -> int | None:
        """Return the id that the server has made for a single row."""

    @abstractmethod
    def _insert_all(self, operation: str, rows: Sequence[_ByColumn]) -> Sequence[int]:
        """Insert rows of the same columns in a transaction; return ids that the server makes."""

    @abstractmethod
    def _rows(
        self,
        operation: str,
        names: _Names,
        where: _ByColumn,
        order: _Order = (),
        limit: int | None = None,
        offset: int = 0,
        after: Sequence[Any] = (),
        *,
        lock: bool = False,
    ) -> list[_Row]: ...
    @abstractmethod
    def _merge(
        self, operation: str, rule: str, where: _ByColumn, row: dict[str, Any], changes: _ByColumn
    ) -> _Row | None:
        """Change the row that meets ``where``, and return its values as a read would.

        If there is none, insert ``row``, put the id that is made into it, and return None.
        """

    @abstractmethod
    def _change(self, operation: str, where: _ByColumn, changes: _ByColumn) -> int: ...
    @abstractmethod
    def _remove(self, operation: str, where: _ByColumn) -> int: ...
    @abstractmethod
    def _number(self, operation: str, where: _ByColumn) -> int: ...


def _check_declared(repository: Any) -> None:
    """Raise ConfigurationError if a repository, or its class, lacks what each has to set."""
    for name in ("record", "table", "resource"):
        if not hasattr(repository, name):
            owner = getattr(repository, "__name__", type(repository).__name__)
            raise ConfigurationError(f"{owner} should set {name}")


class Repository(_RecordStore[R]):
    """The records of one table.

    A subclass sets the first three attributes below and those of the others that it needs, and adds
    its own methods. A subclass of that for each backend brings the storage:
    ``class MySQLNotes(infra.SqlRepository[Note], Notes)`` and
    ``class FakeNotes(fakes.FakeRepository[Note], Notes)``. All methods run on both.

    Attributes:
        record: a frozen dataclass; its fields are the columns. ``dict[...]``, ``list[...]`` and
            ``tuple[str, ...]`` are JSON documents of at most 100 levels: JSON on Postgres, LONGTEXT
            on MySQL. An Enum or Literal is a text with a check, a timedelta a BIGINT of
            microseconds. A stored value that the field cannot have raises DatabaseError.
        table: the table's name.
        resource: what messages and ``NotFoundError.resource`` call a record.
        key: the columns of the primary key.
        ids: fields that ``create`` fills with a new id if they are ``FILLED`` or None, like
            ``created_at`` and ``updated_at``. The server makes an int, which is the whole key.
        lengths: the most characters or bytes. A column with a bound needs it here: servers silently
            cut white space beyond the bound, and ``create`` would not return what is stored.
        scales: precision and scale of a Decimal, such as ``{"price": (10, 2)}`` for NUMERIC(10,2);
            the digits of a datetime's seconds, such as ``{"seen_at": 0}`` for DATETIME (default:
            6). A value that does not fit exactly raises ValidationError; times that the repository
            fills in are truncated. Without a scale the server rounds decimals.
        formats: the regular expression that the whole text must match.
        trimmed: texts that must not be empty, nor begin or end with a blank.
        visible: texts without control, format, filler and other invisible characters.
        folded: columns beside those of the record. Each holds the texts of some fields, without
            differences of case and composition, for unique constraints and searches.
        hidden: columns that are not in the record, and their types.
        elsewhere: fields of the record that a backend reads with the row from other tables.
        guarded: fields that have methods of their own. ``update`` raises ConflictError if they are
            not as stored.
        kept: fields that ``update`` does not change.
        version: a field of type int. ``create`` stores 1 if it is ``FILLED`` or None, each change
            of the record raises it by 1, and ``update`` raises ConflictError if it is not as read.
        sort_fields, filter_fields: the fields that a ``Query`` may name.
        ascii: texts of ASCII only, such as codes and hashes. MySQL's indexes hold more of them.
        unique: columns of each unique key, by the name of the constraint, such as
            ``{"notes_title_key": ("title",)}``. A list, ``[("title",)]``, gives them such names.
        foreign_keys: a ``ForeignKey`` by the name of the constraint.
        checks: a ``Check`` by the name of the constraint. A format that is a list of words, such as
            "draft|public", is also a check of the table: ``<table>_<column>_check``. A condition
            and the target of a foreign key name columns; all other attributes name fields.
        column_names: of fields whose columns have other names.
        defaults: values for DEFAULT. ``create`` sends every value.

    The last six are rules of the table: ``ddl`` writes them, and a fake obeys them. A wrong one
    raises ConfigurationError when the class is made.

    Values are checked before anything is sent. Methods raise ValidationError, SerializationError
    for a document that is not JSON, and what the database raises; ConflictError names the
    constraint. In a transaction of ``database`` they take part in it. The constructor of a backend
    raises ConfigurationError for another kind of database, a wrong clock, or wrong attributes.
    """

    if not TYPE_CHECKING:
        down = _FakeOnlyAttribute()

    def __init__(self, database: Database, *, clock: Clock | None = None) -> None:
        """Keep the records in ``database``, whose clock is used unless one is given."""
        _check_declared(self)
        self.database = database
        self._clock = _clock(clock, getattr(database, "_clock", None))
        self.table, self.resource = _plain(self.table), _plain(self.resource)
        super().__init__()

    @classmethod
    def on(cls: type[_Own], database: Database, *arguments: Any, **options: Any) -> _Own:
        """Return the repository of this class on a ``ConnectionPool`` or a ``FakeDatabase``.

        The arguments are those of the constructor. Raises ConfigurationError if the class has
        abstract methods, or fields ``elsewhere``: these need a subclass for each backend.
        """
        _check_database(database)
        made = cls
        if "_insert" in cls.__abstractmethods__:
            made = _backend_class(cls, *database._bases_on)
            missing = {*made.__abstractmethods__, *cls.elsewhere} - {*getattr(made, "_others", ())}
            if missing:
                raise ConfigurationError(
                    f"{cls.__name__}.on has no {', '.join(sorted(missing))}: "
                    "write a subclass for each backend"
                )
        return made(database, *arguments, **options)

    def create(self, record: R) -> R:
        """Store a new record and return it as stored.

        Ids, ``created_at`` and ``updated_at`` are filled if they are ``FILLED`` or None.
        """
        values = self._filled(record)
        self._insert_numbered("create", values)
        return self._stored(values, record)

    def create_many(self, records: Iterable[R]) -> list[R]:
        """Store new records, all or none, and return them as stored, in order.

        They are checked before the first is sent, and filled as by ``create``. In a transaction
        this is a savepoint. If the class has a ``create`` of its own, that is called for each.
        Raises ValidationError if the server makes the ids and only some records have one, and
        ConfigurationError if ``create`` needs more than a record.
        """
        records = _check_many("records", records)
        if self._has_own("create"):
            return self._each_created(records)
        rows: list[dict[str, Any]] = []
        for at, record in enumerate(records):
            try:
                rows.append(self._filled(record))
            except InfrastructureError as error:
                raise type(error)(f"records[{at}]: {error}") from None
        if self._made and len({self._made in row for row in rows}) > 1:
            raise ValidationError(f"{self._made} should be given in all records, or in none")
        if not rows:
            return []
        with self.database.transaction():
            made = self._insert_all("create_many", rows)
        for row, id in zip(rows, made):
            row[self._made] = id
        return [*map(self._stored, rows, records)]

    def upsert(self, record: R, *, on: str | None = None) -> Upserted[R]:
        """Store a record, or change the one that has the same values of a unique key.

        ``on`` is the name of the key: one of ``unique``, or ``<table>_pkey`` (None: that). NULL
        equals no value. A record that exists is changed as by ``update``, except for its key and
        ``created_at``. Raises ConflictError, which names the constraint, if it breaks another one.

        Raises ConfigurationError for another ``on``, and if the class has ``guarded`` fields, or a
        ``create`` or ``update`` of its own, which this would pass by.
        """
        rules = self._upsert_rules
        rule = next(iter(rules)) if on is None else _plain(on)
        if not isinstance(rule, str) or rule not in rules:
            raise ConfigurationError(f"on should be one of: {', '.join(rules)}")
        row, stays = self._filled(record), {*self._unchanged, "created_at"}
        changes = {name: value for name, value in row.items() if name not in stays}
        changes |= self._edit_stamps()
        where = {name: row.get(name) for name in rules[rule]}
        changes = changes or where  # an UPDATE needs a value
        if None in where.values():
            self._insert_numbered("upsert", row)
        elif (found := self._merge("upsert", rule, where, row, changes)) is not None:
            return Upserted(self._make(found), False)
        return Upserted(self._stored(row, record), True)

    @functools.cached_property
    def _upsert_rules(self) -> dict[str, Sequence[str]]:
        """The columns of each unique key that ``upsert`` takes, the primary key first."""
        if self.guarded or self._has_own("create") or self._has_own("update"):
            raise ConfigurationError(
                f"{type(self).__name__} has guarded fields, or a create or update of its own, "
                "which upsert would pass by"
            )
        rules, known = self._rules(), {*self._fields, *self.folded}
        keys = {rules.primary_key: self.key, **rules.unique}
        return {rule: columns for rule, columns in keys.items() if known.issuperset(columns)}

    def _insert_numbered(self, operation: str, row: dict[str, Any]) -> None:
        """Insert a row, and give it the id that the server makes."""
        made = self._insert(operation, row)
        if made is not None:
            row[self._made] = made

    def _has_own(self, name: str) -> bool:
        """Return whether the class replaces a method of this one. A fake only wraps them."""
        own, general = getattr(type(self), name), getattr(Repository, name)
        return inspect.unwrap(own) is not inspect.unwrap(general)

    def _each_created(self, records: Sequence[R]) -> list[R]:
        try:
            inspect.signature(self.create).bind(None)
        except TypeError:
            message = f"create of {type(self).__name__} needs more than the {self.resource}"
            raise ConfigurationError(message) from None
        with self.database.transaction():
            return [*map(self.create, records)]

    def get(self, key: _RecordKey, *, lock: bool = False) -> R | None:
        """Return the record with this key, or None. A key of several columns is a tuple.

        With ``lock`` the other transactions that lock or change the record wait for the end of this
        one. Reads without a lock do not wait. Raises ValidationError outside a transaction.
        """
        where = self._by_key(key)
        _FLAG.check("lock", lock)
        if lock and self.database._current() is None:
            raise ValidationError("lock should be False outside a transaction, which ends the lock")
        return self._first("get", where, lock=lock)

    def exists(self, key: _RecordKey) -> bool:
        """Return whether there is a record with this key."""
        return self._exists("exists", self._by_key(key))

    def find_by_id(self, id: uuid.UUID) -> R | None:
        """Return the record, or None."""
        return self._first("find_by_id", self._identity(id))

    def update(self, record: R) -> R:
        """Store an existing record, with ``updated_at`` set to now, and return it so.

        Fields in ``kept`` are not changed; the returned record has them as given. Raises
        NotFoundError if the record does not exist, and ConflictError ``<table>_as_read`` if one of
        the ``guarded`` fields or the ``version`` differs from what is stored: another caller has
        changed the record since it was read, or the field has a method of its own. The returned
        record has the next version.
        """
        read = self._edited(record)
        values = {**read, self.version: read[self.version] + 1} if self.version else read
        self._overwrite(read, values)
        return self._stored(values, record)

    def update_fields(self, key: _RecordKey, /, **changes: Any) -> None:
        """Change these fields of one record, and no other, in one statement.

        It sets ``updated_at`` to now, and raises the ``version``. Raises NotFoundError if the
        record does not exist, and ValidationError for no field, an unknown one, a part of the key,
        the version, a field in ``guarded`` or ``kept``, and a part of what a folded column holds.
        Raises ConfigurationError if the class has an ``update`` of its own, whose rules would not
        hold.
        """
        self._change_one("update_fields", key, self._field_edits("update_fields", changes))

    def increment(self, key: _RecordKey, field: str, amount: int | Decimal = 1) -> None:
        """Add the amount, which may be negative, to a number in one statement.

        So no other caller can come between. ``field`` is an int or a Decimal that is never None,
        and ``amount`` of its type. The rest is as in ``update_fields``. A sum beyond the column
        raises DatabaseError, and one that a check refuses ConflictError: then nothing is stored.
        """
        field = _plain(field)
        column = self._held.get(field) if isinstance(field, str) else None
        if column is None or column.kind not in (int, Decimal) or column.optional:
            raise ValidationError(
                f"field should name an int or a Decimal of {self.table} that is never None"
            )
        edits = self._field_edits("increment", {field: amount})
        self._change_one("increment", key, {**edits, field: _Plus(edits[field])})

    def _field_edits(self, operation: str, changes: _ByColumn) -> dict[str, Any]:
        """Return a caller's changes of some fields, checked, and those that every UPDATE makes."""
        if self._has_own("update"):
            raise ConfigurationError(
                f"{operation} would not keep the rules of {type(self).__name__}.update: "
                "write a method that calls _alter"
            )
        if not changes:
            raise ValidationError(f"{operation} should get a field to change")
        own = {*self.key, *self._compared, *self.kept, *self.folded, "updated_at"}
        if refused := [name for name in changes if name in own]:
            raise ValidationError(f"{operation} cannot change {', '.join(refused)}")
        return {**self._checked(changes), **self._edit_stamps()}

    def _edit_stamps(self) -> dict[str, Any]:
        """Return the changes that every UPDATE of a record makes beside its own."""
        stamps: dict[str, Any] = {self.version: _Plus(1)} if self.version else {}
        if "updated_at" in self._held:
            stamps["updated_at"] = self._cut("updated_at", self._clock.now())
        return stamps

    def delete(self, key: _RecordKey) -> bool:
        """Delete the record with this key, and return whether it existed."""
        return self._remove("delete", self._by_key(key)) > 0

    def page(self, query: Query = Query()) -> Page[R]:
        """Return one page of records. The total takes one more statement."""
        return self._page("page", {}, query)

    # Verbs by condition. ``where`` gives values of fields, or conditions such as ``Above(3)``. All
    # have to match; {} matches every record. Fields that hold documents take no condition.

    def select(
        self,
        where: _ByColumn = _EVERY,
        *,
        sort: str = "",
        descending: bool = False,
        limit: int | None = None,
    ) -> list[R]:
        """Return the records that match, at most ``limit``.

        They are in the order of ``sort``, which is any field but a document, then of the key.
        """
        conditions = self._conditions(where)
        sorts = [name for name in self._fields if name not in self._documents]
        order = self._order([*dict.fromkeys((*self.key, *sorts))], sort, descending)
        if limit is not None:
            _check_range("limit", limit, 1, 10**9)
        return self._select("select", conditions, order, limit)

    def count(self, where: _ByColumn = _EVERY) -> int:
        """Return how many records match."""
        return self._number("count", self._conditions(where))

    def exists_where(self, where: _ByColumn) -> bool:
        """Return whether a record matches."""
        return self._exists("exists_where", self._conditions(where))

    def update_where(self, where: _ByColumn, /, **changes: Any) -> int:
        """Change these fields as ``update_fields`` does in all records that match; return how many.

        Raises ValidationError for a ``where`` of {}, too.
        """
        edits = self._field_edits("update_where", changes)
        return self._change("update_where", self._some(where), edits)

    def delete_where(self, where: _ByColumn) -> int:
        """Delete all records that match; return how many. Raises ValidationError for {}."""
        return self._remove("delete_where", self._some(where))

    def iterate(self, where: _ByColumn = _EVERY, *, batch: int = 1000) -> Iterator[R]:
        """Return the records that match, one after another in the order of the key.

        It reads ``batch`` records at a time, at most 10,000, each with a statement that begins
        behind the last key. So the memory stays small, and no transaction is open meanwhile: what
        other callers change in the part that is not read yet shows.
        """
        _check_range("batch", batch, 1, 10_000)
        return self._walk(self._conditions(where), batch)

    def _walk(self, where: _ByColumn, batch: int, by: Sequence[str] = ()) -> Iterator[R]:
        by = by or self.key
        order = [(name, False) for name in by]
        after: Sequence[Any] = ()
        last: Sequence[Any] | None = ()
        while last is not None:
            records, last = self._portion("iterate", where, order, batch, after=after)
            yield from records
            after = [self._held[name].unread(value) for name, value in zip(by, last or ())]

    def _some(self, where: _ByColumn) -> dict[str, Any]:
        """Return the conditions on rows to change or delete, of which there is one at least."""
        conditions = self._conditions(where)
        if not conditions:
            raise ValidationError(
                "where should not be empty: to mean all rows, name a field that is never NULL, "
                f"such as {{{self.key[0]!r}: Not(None)}}"
            )
        return conditions

    def _values(self, record: R) -> dict[str, Any]:
        if not isinstance(record, self.record):
            raise ValidationError(f"the {self.resource} should be of class {self.record.__name__}")
        values = {}
        for name in self._fields:
            values[name] = getattr(record, name)
        return values

    def _filled(self, record: R, **hidden: Any) -> dict[str, Any]:
        """Return the checked values of a new record."""
        now = self._clock.now()
        values = self._values(record)
        values |= hidden
        for name in self._fillable:
            value = values.get(name, now)
            if value is FILLED or value is None:
                if name in self.ids:
                    values[name] = new_id(self._clock)
                else:
                    values[name] = 1 if name == self.version else self._cut(name, now)
        if self._made and _is_unfilled(values.get(self._made)):
            values.pop(self._made, None)
        checked = self._checked(values)
        if self._made and checked.get(self._made, 1) < 1:  # MySQL makes a new id instead of 0
            raise ValidationError(f"{self._made} should be 1 or more")
        return checked

    def _edited(self, record: R) -> dict[str, Any]:
        """Return the checked values of a record that exists."""
        values = {**dict.fromkeys(self.key), **self._values(record)}
        if "updated_at" in values:
            values["updated_at"] = self._cut("updated_at", self._clock.now())
        return self._checked(values)

    def _overwrite(self, read: _ByColumn, values: _ByColumn) -> None:
        """Store the values of a record, if its guarded fields are as they were ``read``."""
        if self._change("update", self._as_read(read), self._changes(values)):
            return
        if not self._compared:
            raise self._not_found("update")
        names = ", ".join(self._compared)
        subject = names if len(self._compared) == 1 else f"one of {names}"
        fixed = ", and update does not change it" if self.guarded else ""
        message = f"{subject} differs from what is stored{fixed}: read the {self.resource} again"
        identity = {name: read[name] for name in self.key}
        raise self._rule_broken("update", f"{self.table}_as_read", message, identity)

    def _as_read(self, values: _ByColumn) -> dict[str, Any]:
        return {name: values[name] for name in (*self.key, *self._compared)}

    def _changes(self, values: _ByColumn) -> dict[str, Any]:
        """Return the values that ``update`` writes. An UPDATE needs one: at least of the key."""
        changes = {**values}
        for name in self._unchanged:
            changes.pop(name, None)
        return changes or {self.key[0]: values[self.key[0]]}

    def _stored(self, values: _ByColumn, record: R) -> R:
        """Return what a read would return after a write. ``record`` has the fields elsewhere."""
        stored = {**values}
        for name in self.elsewhere:
            stored.setdefault(name, getattr(record, name))
        for name in self._documents:
            if stored[name] is not None:
                stored[name] = stored[name].value
        for name, read in self._readers.items():
            if stored.get(name) is not None:
                stored[name] = read(stored[name])
        return self._make(map(stored.__getitem__, self._shown))

    def _alter(self, operation: str, key: _RecordKey, changes: _ByColumn) -> None:
        """Change some fields of one record. Raises NotFoundError if it does not exist."""
        self._change_one(operation, key, {**self._checked(changes), **self._edit_stamps()})

    def _change_one(self, operation: str, key: _RecordKey, edits: _ByColumn) -> None:
        if not self._change(operation, self._by_key(key), edits):
            raise self._not_found(operation)

    def _not_found(self, operation: str) -> NotFoundError:
        return NotFoundError(
            f"no such {self.resource}", resource=self.resource, operation=operation
        )

    def _rule_broken(
        self, operation: str, constraint: str, message: str, where: _ByColumn | None = None
    ) -> InfrastructureError:
        """Return the error for a rule that no constraint of the table can state.

        A NotFoundError if no row meets ``where``: then the rule was not the reason.
        """
        if where is not None and not self._exists(operation, where):
            return self._not_found(operation)
        return ConflictError(
            f"{message}: {constraint}",
            constraint=constraint,
            kind="check",
            service=self.database.engine,
            operation=operation,
        )


@functools.cache
def _backend_class(port: Any, *bases: type) -> Any:
    """Return the class of a port's repository on a backend, which has these base classes."""
    return type(port.__name__, (*bases, port), {"__module__": port.__module__})


def _beside(port: Callable[[], Callable[..., T]]) -> functools.cached_property[T]:
    """Return an attribute: the repository of another table, on the same backend.

    ``port`` returns the repository's port, which may stand further down.
    """

    def make(owner: Repository[Any]) -> T:
        backend = _backend_class(port(), owner.database._backend)
        return cast(T, backend(owner.database, clock=owner._clock))

    return functools.cached_property(make)


class _Texts(dict[Any, Any]):
    """The texts of statements by shape. Most programs have few; others do not fill memory."""

    def __setitem__(self, shape: Any, text: Any) -> None:
        if len(self) >= 500:
            self.clear()
        if len(text[0]) <= 10_000:
            super().__setitem__(shape, text)


class SqlRepository(Repository[R]):
    """The storage of a repository on a ``ConnectionPool``.

    The constructor takes the pool, then the arguments of the repository, and raises as that of
    :class:`Repository` does.
    """

    database: ConnectionPool
    #: of each field ``elsewhere``: the SQL that reads it, and the converter of the driver's value
    _others: ClassVar[Mapping[str, tuple[str, _Converter]]] = {}

    def __init__(self, database: Database, *arguments: Any, **options: Any) -> None:
        if not isinstance(database, ConnectionPool):
            raise ConfigurationError(
                f"{type(self).__name__} takes a ConnectionPool; on a FakeDatabase use its fake"
            )
        super().__init__(database, *arguments, **options)
        dialect = database._dialect
        self._names = {name: dialect.name(self._column(name)) for name in self._held}
        self._quoted_table = dialect.name(self.table)
        self._from = f"FROM {self._quoted_table}"
        self._texts = _Texts()
        self._has_uuids = "id" in self._held and self._held["id"].kind is uuid.UUID
        #: what makes a field's value of the driver's, in this order
        self._row_readers = [
            (name, dialect.readers[held.stored])
            for name, held in self._held.items()
            if held.stored in dialect.readers
        ]
        for name, (sql, read) in self._others.items():
            self._names[name] = sql
            self._row_readers.append((name, read))
        self._row_readers += self._readers.items()

    def find_by_id(self, id: uuid.UUID) -> R | None:
        if id.__class__ is uuid.UUID and self._has_uuids:  # the most frequent statement
            return self._find("find_by_id", "id", [id])
        return super().find_by_id(id)

    def _first(
        self, operation: str, where: _ByColumn, order: _Order = (), *, lock: bool = False
    ) -> R | None:
        if order or lock:
            return super()._first(operation, where, order, lock=lock)
        params = [*where.values()]
        if len(params) == 1 and params[0].__class__ in _VALUE_TYPES:
            (name,) = where
            return self._find(operation, name, params)
        condition, params = self._condition(where)
        return self._find(operation, condition, params, where)

    def _find(
        self, operation: str, shape: str, params: list[Any], where: _ByColumn | None = None
    ) -> R | None:
        """Return the first record. ``shape``: the one field that has a value, or the condition."""
        found = self._texts.get(shape)  # most lookups: ``_rows`` takes longer
        if found is None:
            condition, _ = self._condition({shape: params[0]} if where is None else where)
            sql = self._selection(self._shown, condition, ()) + " LIMIT 1"
            found = self._texts[shape] = sql, self._fetcher(self._shown)
        sql, fetch = found
        rows: Any = self.database._statement(operation, sql, params, fetch, repeatable=True)
        return self._make(rows[0]) if rows else None

    def _insert(self, operation: str, *rows: _ByColumn) -> int | None:
        shape = "INSERT", len(rows), tuple(rows[0])
        found = self._texts.get(shape)
        if found is None:
            sql, dialect = self._insertion(rows), self.database._dialect
            fetch: _Fetch[int | None] = _no_id
            if len(rows) == 1 and self._made and self._made not in rows[0]:
                sql += dialect.returning.format(self._names[self._made])
                fetch = dialect.made_id
            found = self._texts[shape] = sql, fetch
        sql, fetch = found
        values = [value for row in rows for value in row.values()]
        made: int | None = self.database._statement(operation, sql, values, fetch)
        return made

    def _insert_all(self, operation: str, rows: Sequence[_ByColumn]) -> Sequence[int]:
        made, names = list[int](), [*map(self._column, rows[0])]
        numbered = self._made != "" and self._made not in rows[0]
        if numbered:
            names.append(self._column(self._made))
        insert = self.database._insert_batch
        size = _BATCH_ROWS // 5  # each batch may take query_timeout
        for start in range(0, len(rows), size):
            batch = [row.values() for row in rows[start : start + size]]
            columns: list[Sequence[Any]] = [*zip(*batch)]
            if numbered:
                columns.append([None] * len(batch))
            made += insert(operation, self.table, names, columns, numbered)[1]
        return made

    def _merge(
        self, operation: str, rule: str, where: _ByColumn, row: dict[str, Any], changes: _ByColumn
    ) -> _Row | None:
        if self.database._dialect.on_conflict:
            return self._merge_at_once(operation, where, row, changes)
        tries = 10
        while True:
            tries -= 1
            if self._change(operation, where, changes):
                if found := self._rows(operation, self._shown, where, limit=1):
                    return found[0]
                continue  # another caller has deleted it meanwhile
            try:
                with self.database.transaction():  # a lock of the refused INSERT ends with it
                    self._insert_numbered(operation, row)
                    return None
            except ConflictError as error:
                # Another caller has inserted the row after the UPDATE: begin again.
                if error.constraint != rule or not tries:
                    raise

    def _merge_at_once(
        self, operation: str, on: _ByColumn, row: dict[str, Any], changes: _ByColumn
    ) -> _Row | None:
        shape = "MERGE", tuple(row), tuple(on)
        found = self._texts.get(shape)
        if found is None:
            settings = [f"{self._sql_name(name)} = {self._merged(name)}" for name in changes]
            sql = self._insertion([row]) + self.database._dialect.on_conflict.format(
                key=self._list(on), settings=", ".join(settings), shown=self._list(self._shown)
            )
            found = self._texts[shape] = sql, self._fetcher(self._shown)
        sql, fetch = found
        now = [value for name, value in changes.items() if name == "updated_at"]
        params = [*row.values(), *now]  # the version needs none
        ((*values, created),) = self.database._statement(operation, sql, params, fetch)
        if not created:
            return tuple(values)
        if self._made:
            row[self._made] = values[self._shown.index(self._made)]
        return None

    def _merged(self, name: str) -> str:
        """Return the SQL of a field's new value, if the row exists."""
        if name == "updated_at":
            return "%s"
        sql = self._sql_name(name)
        return f"{self._quoted_table}.{sql} + 1" if name == self.version else f"EXCLUDED.{sql}"

    def _insertion(self, rows: Sequence[_ByColumn]) -> str:
        names, marks = [*rows[0]], ["%s"] * len(rows[0])
        if self._made and self._made not in names:
            # named, so that MySQL stores no row if the column is not there
            names.append(self._made)
            marks.append("DEFAULT")
        lines = ", ".join([f"({', '.join(marks)})"] * len(rows))
        return f"INSERT INTO {self._quoted_table} ({self._list(names)}) VALUES {lines}"

    def _rows(
        self,
        operation: str,
        names: _Names,
        where: _ByColumn,
        order: _Order = (),
        limit: int | None = None,
        offset: int = 0,
        after: Sequence[Any] = (),
        *,
        lock: bool = False,
    ) -> list[_Row]:
        condition, params = self._condition(where)
        if after:
            columns, sign = [self._names[name] for name, _ in order], "<" if order[0][1] else ">"
            beyond, values = _beyond(self.database._dialect, columns, after, sign)
            condition += (" AND " if where else " WHERE ") + beyond
            params += values
        bounds = ""
        if limit is None and offset:
            limit = 10**18  # MySQL has no OFFSET without a LIMIT
        if limit == 1:
            bounds = " LIMIT 1"  # the limit of most; a parameter costs more
        elif limit is not None:
            bounds = " LIMIT %s"
            params.append(limit)
        if offset:
            bounds += " OFFSET %s"
            params.append(offset)
        if lock:
            bounds += " FOR UPDATE"
        shape = names, condition, (*order,), bounds
        found = self._texts.get(shape)
        if found is None:
            sql = self._selection(names, condition, order) + bounds
            found = self._texts[shape] = sql, self._fetcher(names)
        text, fetch = found
        return self.database._statement(operation, text, params, fetch, repeatable=True)

    def _selection(self, names: _Names, condition: str, order: _Order) -> str:
        sql = f"SELECT {self._list(names)} {self._from}{condition}"
        if order:
            terms = [self._names[name] + " DESC" * descending for name, descending in order]
            sql += " ORDER BY " + ", ".join(terms)
        return sql

    def _list(self, names: Iterable[str]) -> str:
        return ", ".join(map(self._sql_name, names))

    def _sql_name(self, name: str) -> str:
        """Return a field's SQL. The server refuses a name that is none, as a fake does."""
        return self._names.get(name) or self.database._dialect.name(name)

    def _fetcher(self, names: _Names) -> _Fetch[list[_Row]]:
        """Return the reader of rows. Values without a form in Python raise in the call."""
        readers = [(names.index(name), read) for name, read in self._row_readers if name in names]
        if not readers:
            return operator.methodcaller("fetchall")
        return lambda cursor: _converted(cursor.fetchall(), readers)

    def _change(self, operation: str, where: _ByColumn, changes: _ByColumn) -> int:
        self._check_folded(changes)
        settings, params = [], []
        for name, value in changes.items():
            column, sum_of = self._sql_name(name), ""
            if value.__class__ is _Plus:
                sum_of, value = f"{column} + ", value.amount
            settings.append(f"{column} = {sum_of}%s")
            params.append(value)
        condition, values = self._condition(where)
        sql = f"UPDATE {self._quoted_table} SET {', '.join(settings)}{condition}"
        return self.database._statement(operation, sql, params + values, _row_count)

    def _remove(self, operation: str, where: _ByColumn) -> int:
        condition, params = self._condition(where)
        sql = f"DELETE {self._from}{condition}"
        return self.database._statement(operation, sql, params, _row_count)

    def _number(self, operation: str, where: _ByColumn) -> int:
        condition, params = self._condition(where)
        sql = f"SELECT count(*) {self._from}{condition}"
        ((found,),) = self.database._statement(operation, sql, params, _all_rows, repeatable=True)
        return int(found)

    def _condition(self, where: _ByColumn) -> tuple[str, list[Any]]:
        terms: list[str] = []
        params: list[Any] = []
        for name, value in where.items():
            column = self._names.get(name) or self._sql_name(name)
            if value.__class__ in _VALUE_TYPES:  # the usual case
                terms.append(f"{column} = %s")
                params.append(value)
            else:
                terms.append(self._term(column, value, params))
        return " WHERE " + " AND ".join(terms) if terms else "", params

    def _term(self, column: str, value: Any, params: list[Any]) -> str:
        """Return the SQL of a value or condition, and append its parameters."""
        if value is None:
            return f"{column} IS NULL"
        if not isinstance(value, (_Condition, _Among)):
            params.append(value)
            return f"{column} = %s"
        if isinstance(value, _Among):
            other: Any = value.repository
            condition, values = other._condition(value.where)
            params += values
            return f"{column} IN (SELECT {other._names[value.column]} {other._from}{condition})"
        if isinstance(value, Not):
            return f"NOT ({self._term(column, value._values[0], params)})"
        if isinstance(value, AnyOf):
            terms = [self._term(column, one, params) for one in value._values]
            return f"({' OR '.join(terms)})"
        if isinstance(value, OneOf):
            params.append(tuple(map(_in_list, value._values)))
        elif isinstance(value, Contains | StartsWith):
            text = re.sub("[|%_]", r"|\g<0>", *value._values)
            params.append(value._pattern.format(text))
        else:
            params += value._values
        return value._sql.format(column)


def _in_list(value: Any) -> Any:
    """Return a fraction for a number that fits no BIGINT: MySQL reads 2**63 in a list as -2**63."""
    if value.__class__ is int and not -(2**63) <= value < 2**63:
        return Decimal("9223372036854775808.5")
    return value


ConnectionPool._backend = SqlRepository
ConnectionPool._bases_on = (SqlRepository,)


class _TableSyntax(NamedTuple):
    """How an engine writes CREATE TABLE."""

    syntax: type[_Syntax]
    #: by kind of column, see ``kind``
    types: Mapping[str, str]
    #: the largest size of a text's and of bytes' type with a size
    longest: Mapping[str, int]
    #: the bytes of an index, where a character has four; 0: Postgres refuses rows, not the index
    key_bytes: int = 0
    #: follows the type of a text of ASCII
    ascii: str = ""
    primary_key: str = "CONSTRAINT {name} PRIMARY KEY"
    #: follows the column whose values the server makes
    made: str = " GENERATED BY DEFAULT AS IDENTITY"
    ending: str = ""
    #: of literals: the form of bytes, what a text doubles, the zone of a time
    data: str = "'\\x{}'"
    doubled: str = "'"
    zone: timezone | None = timezone.utc
    #: kinds without a DEFAULT
    no_default: Collection[str] = ()

    def kind(self, column: _ColumnType) -> str:
        """Return the key of ``types``."""
        kind, size = column.kind, column.size
        if kind == "integer":
            bits = (size or 32) + column.unsigned
            bits = next((known for known in (16, 32, 64) if bits <= known), 65)
            return f"{kind} of {bits} bits"
        if kind == "moment":
            return kind if column.scale in (None, 6) else f"short {kind}"
        if kind == "decimal":
            return kind if size is not None else f"long {kind}"
        longest = self.longest.get(kind)
        if longest is None or (size is not None and size <= longest):
            return kind
        return f"long {kind}"

    def create(self, table: str, lines: Iterable[str]) -> str:
        body = ",\n    ".join(lines)
        return f"CREATE TABLE {table} (\n    {body}\n){self.ending};\n"

    def literal(self, value: Any) -> str:
        if isinstance(value, bytes):
            return self.data.format(value.hex())
        if isinstance(value, int | float):
            return repr(value).upper()
        if isinstance(value, datetime):
            value = value.replace(tzinfo=self.zone)
        text = str(getattr(value, "text", value))  # of a document
        return "'" + re.sub(f"[{self.doubled}]", r"\g<0>\g<0>", text) + "'"


_ASCII = " CHARACTER SET ascii COLLATE ascii_bin"
_SHARED_TYPES = {
    "flag": "BOOLEAN",
    "integer of 16 bits": "SMALLINT",
    "integer of 32 bits": "INTEGER",
    "integer of 64 bits": "BIGINT",
    "date": "DATE",
    "time": "TIME(6)",
}
_TABLE_SYNTAX = {
    "mysql": _TableSyntax(
        _MySqlSyntax,
        {
            **_SHARED_TYPES,
            "id": "CHAR(36)" + _ASCII,
            "text": "VARCHAR({size})",
            "long text": "LONGTEXT",
            "bytes": "VARBINARY({size})",
            "long bytes": "LONGBLOB",
            "float": "DOUBLE",
            "decimal": "DECIMAL({size},{scale})",
            "moment": "DATETIME(6)",
            "short moment": "DATETIME({scale})",
            "local moment": "DATETIME(6)",
            "duration": "TIME(6)",
            "document": "LONGTEXT",
        },
        {"text": 16_383, "bytes": 65_532},  # a row has 65,535 bytes
        key_bytes=3072,  # https://dev.mysql.com/doc/refman/8.4/en/innodb-limits.html
        ascii=_ASCII,
        primary_key="PRIMARY KEY",
        made=" AUTO_INCREMENT",
        ending=" ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        data="x'{}'",
        doubled=r"'\\",
        zone=None,
        no_default=("long text", "long bytes", "document"),
    ),
    "postgres": _TableSyntax(
        _PostgresSyntax,
        {
            **_SHARED_TYPES,
            "id": "UUID",
            "text": 'VARCHAR({size}) COLLATE "C"',
            "long text": 'TEXT COLLATE "C"',
            "bytes": "BYTEA",
            "float": "DOUBLE PRECISION",
            "decimal": "NUMERIC({size},{scale})",
            "long decimal": "NUMERIC",
            "moment": "TIMESTAMPTZ",
            "short moment": "TIMESTAMPTZ({scale})",
            "time or duration": "INTERVAL",
            "integer of 65 bits": "NUMERIC(20)",
            "year": "SMALLINT",
            "bits": "BIGINT",
            "document": "JSON",
        },
        {"text": 10_485_760},
    ),
}


class _TableWriter:
    """Writes the CREATE TABLE of a repository's class. Raises ConfigurationError."""

    def __init__(self, port: Any, engine: str) -> None:
        self._port, self._engine, self._syntax = port, engine, _TABLE_SYNTAX[engine]
        self._quote = self._syntax.syntax().name
        self._columns = port._columns()
        self._types = {name: column.column_type() for name, column in self._columns.items()}
        if self._syntax.key_bytes:
            for name, size in port._key_lengths().items():
                self._types[name] = self._types[name]._replace(size=size)
        self._made = port._made_id(self._columns)
        self._rules = port._rules(self._columns)
        self._defaults = port._defaults()

    def text(self) -> str:
        table, rules = self._name(self._port.table, _TABLE_NAME), self._rules
        primary_key = self._primary_key()
        parts = {rule: f"UNIQUE {self._key(rule, names)}" for rule, names in rules.unique.items()}
        for rule, key in rules.foreign_keys.items():
            parts[rule] = self._foreign_key(rule, key)
        for rule, check in rules.checks.items():
            parts[rule] = f"CHECK ({self._condition(check)})"
        lines = [*map(self._column, self._columns), primary_key]
        lines += [f"CONSTRAINT {self._quote(rule)} {sql}" for rule, sql in parts.items()]
        return self._syntax.create(table, lines)

    def _name(self, name: str, shape: re.Pattern[str] = _NAME) -> str:
        if not shape.fullmatch(name):
            raise self._wrong(name, "should be letters, digits and underscores")
        return self._quote(name)

    def _names(self, columns: Iterable[str]) -> str:
        return f"({', '.join(map(self._name, columns))})"

    def _primary_key(self) -> str:
        rule, names = self._rules.primary_key, self._port.key
        if unknown := [name for name in names if name not in self._columns]:
            raise self._wrong(rule, f"names no column: {', '.join(unknown)}")
        columns = self._key(rule, names)
        for name in names:
            if self._columns[name].optional:
                raise self._wrong(rule, f"should not hold {name}, which may be None")
        return f"{self._syntax.primary_key.format(name=self._quote(rule))} {columns}"

    def _foreign_key(self, rule: str, key: ForeignKey) -> str:
        fixed = [name for name in key.columns if not self._columns[name].optional]
        if fixed and key.on_delete == "set null":
            raise self._wrong(rule, f"sets {fixed[0]} to None, which it may not be")
        return (
            f"FOREIGN KEY {self._key(rule, key.columns)} "
            f"REFERENCES {self._name(key.table, _TABLE_NAME)} {self._names(key.target)} "
            f"ON DELETE {key.on_delete.upper()}"
        )

    def _condition(self, check: Check | _Choice) -> str:
        if isinstance(check, Check):
            return check.sql
        texts = ", ".join(map(self._syntax.literal, check.texts))
        return f"{self._quote(check.column)} IN ({texts})"

    def _column(self, name: str) -> str:
        column, default = self._types[name], self._defaults.get(name)
        kind = self._syntax.kind(column)
        if kind not in self._syntax.types:
            raise self._wrong(name, f"needs a scale on {self._engine}")
        written = self._syntax.types[kind].format(size=column.size, scale=column.scale)
        if default is not None and kind in self._syntax.no_default:
            raise self._wrong(name, f"has a default, but no {written} has on {self._engine}")
        if column.kind == "text" and name in self._port.ascii:
            written += self._syntax.ascii
            if not "".join(self._columns[name].members).isascii():
                raise self._wrong(name, "is of ASCII, and has other texts")
        written += " NULL" if self._columns[name].optional else " NOT NULL"
        if name == self._made:
            written += self._syntax.made
        if default is not None:
            written += f" DEFAULT {self._syntax.literal(default)}"
        return f"{self._name(self._columns[name].column)} {written}"

    def _key(self, rule: str, names: Sequence[str]) -> str:
        """Return the columns of a key, which fit into an index."""
        used, limit = 0, self._syntax.key_bytes
        for name in names:
            column = self._types[name]
            if column.kind == "document":
                raise self._wrong(rule, f"names a document: {name}")
            if limit and self._syntax.kind(column).startswith("long "):
                raise self._wrong(rule, f"needs a length of {name} on {self._engine}")
            if column.kind in _SIZED:
                is_utf8 = column.kind == "text" and name not in self._port.ascii
                used += (4 if is_utf8 else 1) * (column.size or 0)
            else:
                used += 36 if column.kind == "id" else 8
        if used > limit > 0:
            raise self._wrong(
                rule,
                f"takes {used} bytes, and an index of {self._engine} has {limit}: "
                "shorten its texts, or name those of ASCII in ascii",
            )
        return self._names(self._columns[name].column for name in names)

    def _wrong(self, name: str, problem: str) -> ConfigurationError:
        return ConfigurationError(f"{self._port.__name__}: {name} {problem}")


def _in_order(parents: Mapping[T, Iterable[T]], circle: InfrastructureError) -> list[T]:
    """Return the keys, each after its parents. Raises ``circle`` if that cannot be."""
    import graphlib

    graph = {child: [each for each in found if each != child] for child, found in parents.items()}
    try:
        return [*graphlib.TopologicalSorter(graph).static_order()]
    except graphlib.CycleError:
        raise circle from None


def _parents_first(ports: Sequence[Any]) -> list[Any]:
    parents = {}
    for port in ports:
        tables = {key.table for key in port.foreign_keys.values()}
        parents[port] = [each for each in ports if each.table in tables]
    names = ", ".join(port.__name__ for port in ports)
    circle = f"{names}: their foreign keys refer to each other in a circle"
    return _in_order(parents, ConfigurationError(circle))


def _check_ports(start: str, ports: Any) -> None:
    for port in ports if isinstance(ports, Iterable) else [None]:
        is_port = isinstance(port, type) and issubclass(port, Repository)
        if not (is_port and hasattr(port, "record") and hasattr(port, "table")):
            raise ConfigurationError(f"{start} the classes of repositories, with a record")


def ddl(repositories: Any, engine: str) -> str:
    """Return the CREATE TABLE for a repository's class, as the text of a migration.

    Raises ConfigurationError for what the engine's tables cannot hold, such as a unique key of text
    without a length on MySQL.

    Args:
        repositories: the class, or several: a table comes after those that it refers to.
        engine: "mysql" (MariaDB too) or "postgres".
    """
    engine = _check_choice("engine", engine, *_TABLE_SYNTAX)
    single = isinstance(repositories, type)
    ports = [repositories] if single else _check_many("repositories", repositories)
    _check_ports("ddl takes", ports)
    return "\n".join(_TableWriter(port, engine).text() for port in _parents_first(ports))


def _references(table: str, on_delete: str = "restrict", **columns: str) -> dict[str, ForeignKey]:
    """Return a table's foreign keys: for each column the table whose ``id`` it holds."""
    return {
        f"{table}_{column}_fkey": ForeignKey((column,), target, on_delete=on_delete)
        for column, target in columns.items()
    }


# https://www.itu.int/pub/T-SP-E.164D: codes of one and two digits; all others have three
_CALLING_CODES = _lazy(r"\+(1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|\d{3})")


class PhoneUserRepository(Repository[PhoneUser]):
    """Users known by a phone number.

    Methods take the phone in any form that :func:`normalize_phone` takes. The table holds its hash
    with the repository's key, which has 32 bytes or more. Never change the key: a repository with
    another key finds no user. Deleting a user deletes the user's tokens.

    ``hash_key`` is text or bytes. None: hashes have no key, and the constructor logs a WARNING. It
    raises ConfigurationError for a key that is too short.

    Constraints: ``phone_users_pkey``, ``phone_users_phone_hash_key``.
    """

    record = PhoneUser
    table = "phone_users"
    resource = "phone user"
    lengths: ClassVar = {"phone_hash": 64, "country_code": 3, "user_type": 20}
    formats: ClassVar = {
        "phone_hash": "[0-9a-f]{64}",
        "country_code": "[1-9][0-9]{0,2}",
        "user_type": "customer|worker",
    }
    ascii = ("phone_hash", "country_code", "user_type")
    unique: ClassVar = [("phone_hash",)]
    sort_fields = ("created_at", "updated_at")
    filter_fields = ("country_code", "user_type", "is_verified", "is_blocked")

    def __init__(
        self, database: Database, hash_key: str | bytes | None = None, *, clock: Clock | None = None
    ) -> None:
        super().__init__(database, clock=clock)
        if hash_key is None:
            logger.warning(
                "%s has no key: anybody who reads the table can find the numbers behind the "
                "hashes; set PHONE_HASH_KEY",
                type(self).__name__,
            )
        self._hash_key = None if hash_key is None else _key_bytes(hash_key)

    def create_for_phone(self, phone: str, user_type: str | None = None) -> PhoneUser:
        """Create a user for the phone, and return it as stored.

        Raises ConflictError ``phone_users_phone_hash_key`` if the phone has one, and
        ValidationError for an invalid phone or another ``user_type``.
        """
        (code,) = _CALLING_CODES.findall(normalize_phone(phone))
        return self.create(PhoneUser(hash_phone(phone, self._hash_key), code, user_type))

    def find_by_phone(self, phone: str) -> PhoneUser | None:
        """Return the phone's user, or None."""
        return self._first("find_by_phone", {"phone_hash": hash_phone(phone, self._hash_key)})

    def exists_by_phone(self, phone: str) -> bool:
        """Return whether the phone has a user."""
        return self._exists("exists_by_phone", {"phone_hash": hash_phone(phone, self._hash_key)})

    def count(self, where: _ByColumn | str | None = None, *, user_type: str | None = None) -> int:
        """Return how many users match. A text as ``where`` is a ``user_type``."""
        if where is not None and user_type is not None:
            raise ValidationError("give count either where or user_type")
        if isinstance(where, str):
            where = {"user_type": where}
        elif user_type is not None:
            where = {"user_type": user_type}
        return super().count(_EVERY if where is None else where)


class TokenRepository(Repository[RefreshToken]):
    """Refresh tokens with rotation (RFC 9700 §4.14.2).

    The table holds only the SHA-256 hashes of tokens, which are random and have 256 bits. A token
    is valid until it expires, by the repository's clock, or is revoked.

    A token may be any text: one that was never issued is no error. A reason has at most 100
    characters.

    Constraints: ``refresh_tokens_pkey``, ``refresh_tokens_token_hash_key``,
    ``refresh_tokens_user_id_fkey``.
    """

    record = RefreshToken
    table = "refresh_tokens"
    resource = "refresh token"
    lengths: ClassVar = {
        "token_hash": 64, "revoke_reason": 100,
        "device_id": 255, "device_name": 255, "ip_address": 45, "user_agent": 512,
    }  # fmt: skip
    formats: ClassVar = {"token_hash": "[0-9a-f]{64}"}
    ascii = ("token_hash",)
    unique: ClassVar = [("token_hash",)]
    foreign_keys: ClassVar = _references("refresh_tokens", "cascade", user_id="phone_users")
    sort_fields = ("created_at", "expires_at")
    filter_fields = ("user_id", "family", "device_id")

    def issue(self, user_id: uuid.UUID, ttl: float, device: Device | None = None) -> Issued:
        """Return a new token that begins a family, valid for ``ttl`` seconds.

        Raises ConflictError ``refresh_tokens_user_id_fkey`` if the user does not exist, and
        ValidationError for a ``ttl`` that is not above 0 or exceeds a century.
        """
        if not isinstance(device, Device | None):
            raise ValidationError("device should be a Device")
        _milliseconds(ttl, "ttl")
        family, id = new_id(self._clock), new_id(self._clock)
        same = vars(device or Device())
        return self._issue("issue", ttl, user_id=user_id, family=family, id=id, **same)

    def find(self, token: str) -> RefreshToken | None:
        """Return the token's record, valid or not; None if it was never issued, or is deleted."""
        return self._first("find", self._of(token))

    def is_valid(self, token: str) -> bool:
        """Return whether the token is known, not revoked and not expired."""
        return self._exists("is_valid", {**self._of(token), **self._valid()})

    def find_by_user(self, user_id: uuid.UUID) -> list[RefreshToken]:
        """Return the user's valid tokens, the newest first."""
        where = {**self._checked({"user_id": user_id}), **self._valid()}
        return self._select("find_by_user", where, [("created_at", True), ("id", True)])

    def revoke(self, token: str, reason: str = "revoked") -> bool:
        """Revoke the token, and return whether it was not revoked before."""
        where = {**self._of(token), "revoked_at": None}
        return self._change("revoke", where, self._revocation(reason)) > 0

    def revoke_all_for_user(self, user_id: uuid.UUID, reason: str = "revoked") -> int:
        """Revoke all tokens of the user, and return how many were not revoked before."""
        return self._revoke_all("revoke_all_for_user", self._checked({"user_id": user_id}), reason)

    def revoke_family(self, family: uuid.UUID, reason: str = "revoked") -> int:
        """Revoke all tokens of the family, and return how many were not revoked before."""
        return self._revoke_all("revoke_family", self._checked({"family": family}), reason)

    def delete_expired(self) -> int:
        """Delete the expired tokens, revoked or not, and return how many there were."""
        return self._remove("delete_expired", {"expires_at": AtMost(self._clock.now())})

    def rotate(self, token: str, ttl: float, grace: float = 0.0) -> Rotation:
        """Exchange a valid token for a new one of its family, valid for ``ttl`` seconds.

        If several callers rotate one token at once, exactly one gets the outcome "rotated". The
        other outcomes:

        - "raced": it was rotated at most ``grace`` seconds ago, for example by another browser tab.
          A second new token is issued and nothing is revoked, if the family still has a valid one.
        - "reused": it was rotated earlier, so there is a copy of it. The whole family is revoked.
        - "revoked", "expired": nothing is issued.
        - "unknown": it was never issued, or is deleted.

        Raises DatabaseError inside a transaction of its database, before it reads: a rollback would
        undo the revocation after a theft, or take back a token that the client already has. Raises
        ValidationError for a ``ttl`` as ``issue`` does, and for a ``grace`` below 0 or over a year.

        It is not retried after it was sent: the new token would be lost, and its next use look like
        a theft.
        """
        identity = self._of(token)
        _milliseconds(ttl, "ttl")
        _WAIT_OR_0.check("grace", grace)
        self.database._outside("rotate", "has an effect that no rollback may undo")
        return self.database.run(lambda: self._rotate(identity, ttl, timedelta(seconds=grace)))

    def _rotate(self, identity: _ByColumn, ttl: float, grace: timedelta) -> Rotation:
        now, successor = self._clock.now(), new_id(self._clock)
        # The one conditional write: the row's lock picks the winner, and a revocation of the family
        # waits for it.
        use = {
            "last_used_at": now,
            "revoked_at": now,
            "revoke_reason": "rotated",
            "replaced_by": successor,
        }
        won = self._change("rotate", {**identity, **self._valid()}, use)
        old = self._first("rotate", identity)
        if old is None:
            return Rotation("unknown")
        if not won:
            if old.revoked_at is None:
                return Rotation("expired")
            if old.replaced_by is None:
                return Rotation("revoked")
            if not grace or now - old.revoked_at > grace:
                self._revoke_all("rotate", {"family": old.family}, "reused")
                return Rotation("reused")
            # A write again: a revocation of the family comes before it, or after the sibling is
            # stored.
            family = {"family": old.family, **self._valid()}
            if not self._change("rotate", family, {"last_used_at": now}):
                return Rotation("revoked")
        kept = ("user_id", "family", *Device.__annotations__)
        same = {name: getattr(old, name) for name in kept}
        issued = self._issue("rotate", ttl, id=successor, **same)
        return Rotation("rotated" if won else "raced", issued)

    def _issue(self, operation: str, ttl: float, **values: Any) -> Issued:
        import secrets

        token, now = secrets.token_urlsafe(32), self._clock.now()
        values |= {**self._of(token), "created_at": now}
        values["expires_at"] = _later(now, timedelta(seconds=ttl))
        values = self._checked(vars(RefreshToken(**values)))
        self._insert(operation, values)
        return Issued(token, RefreshToken(**values))

    def _revocation(self, reason: str) -> dict[str, Any]:
        return {**self._checked({"revoke_reason": reason}), "revoked_at": self._clock.now()}

    def _revoke_all(self, operation: str, where: _ByColumn, reason: str) -> int:
        """Revoke the matching tokens, and those that concurrent rotations add.

        A statement that waits for a rotation may not see the token that the rotation adds. A
        rotation needs a committed token that is not revoked, so none is in progress once no such
        token is left.
        """
        where, changes = {**where, "revoked_at": None}, self._revocation(reason)

        def work() -> int:
            count = 0
            while self._number(operation, where):
                count += self._change(operation, where, changes)
            return count

        return self.database.run(work)

    @staticmethod
    def _of(token: str) -> dict[str, Any]:
        # Strangers may send any text, also an empty one: then the token was never issued.
        token = _plain(token)
        if not isinstance(token, str):
            raise ValidationError("token should be text")
        return {"token_hash": _sha256(token.encode("utf-8", "surrogatepass"))}

    def _valid(self) -> dict[str, Any]:
        return {"revoked_at": None, "expires_at": Above(self._clock.now())}


@dataclass(eq=False, repr=False)
class _Member:
    organization_id: uuid.UUID
    user_id: uuid.UUID
    role: str
    created_at: datetime = FILLED


class _MemberRepository(Repository[_Member]):
    record = _Member
    table = "organization_members"
    resource = "membership"
    key = ("organization_id", "user_id")
    lengths: ClassVar = {"role": 20}
    formats: ClassVar = {"role": "member|admin|owner"}
    foreign_keys: ClassVar = {
        **_references("organization_members", "cascade", organization_id="organizations"),
        **_references("organization_members", user_id="users"),
    }
    filter_fields = ("role",)


def _named_by(
    members: Sequence[_Member], name: str, others: Repository[T], operation: str
) -> list[tuple[T, _Member]]:
    """Return the records that the members name in a field, each with its member. One statement."""
    ids = [getattr(member, name) for member in members]
    records: Any = others._select(operation, {"id": OneOf(ids)}) if ids else []
    found = {record.id: record for record in records}
    return [(found[id], member) for id, member in zip(ids, members) if id in found]


class UserRepository(Repository[User]):
    """Users of the benchmark exchange.

    E-mail and user name are unique without regard to case and to how accents are composed. Deleting
    a user who belongs to an organization, has submitted something or made a benchmark raises
    ConflictError (``organization_members_user_id_fkey``, ``submissions_user_id_fkey``,
    ``benchmarks_created_by_fkey``).

    Constraints: ``users_pkey``, ``users_email_key``, ``users_username_key``, ``users_role_check``.
    """

    record = User
    table = "users"
    resource = "user"
    lengths: ClassVar = {
        "email": 254,
        "username": 50,
        "display_name": 100,
        "role": 20,
        "password_hash": 255,
    }
    formats: ClassVar = {
        "email": r"[^\s@]+@[^\s@]+",
        "username": r"[^\s@]+",
        "role": "anonymous|registered|contributor|reviewer|admin",
    }
    trimmed = ("password_hash",)
    visible = ("email", "username")
    folded: ClassVar = {"email_folded": ("email",), "username_folded": ("username",)}
    hidden: ClassVar = {"password_hash": str | None}
    unique: ClassVar = {
        "users_email_key": ("email_folded",),
        "users_username_key": ("username_folded",),
    }
    guarded = ("role", "email_verified")
    kept = ("last_active_at",)
    sort_fields = ("created_at", "updated_at", "username")
    filter_fields = ("role", "email_verified")

    def create(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, user: User, password_hash: str | None = None
    ) -> User:
        """Store a new user and return it as stored.

        ``password_hash`` is a hash made for passwords (argon2, scrypt), never the password. Raises
        ConflictError ``users_email_key`` or ``users_username_key`` if one of the two is taken.
        """
        values = self._filled(user, password_hash=password_hash)
        self._insert("create", values)
        return self._stored(values, user)

    def update(self, user: User) -> User:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Store an existing user, except for ``last_active_at``, and return it as stored.

        A changed e-mail address is not verified. Raises as ``Repository.update`` does (``role`` and
        ``email_verified`` are guarded), and ConflictError as ``create`` does.
        """
        values = self._edited(user)
        if values["email_verified"]:
            same = {**self._as_read(values), "email": values["email"]}
            if self._change("update", same, self._changes(values)):
                return self._stored(values, user)
        stored = {**values, "email_verified": False}
        self._overwrite(values, stored)
        return self._stored(stored, user)

    def find_by_email(self, email: str) -> User | None:
        """Return the user with this e-mail address, or None."""
        return self._first("find_by_email", self._key("email", email))

    def find_by_username(self, username: str) -> User | None:
        """Return the user of this name, or None."""
        return self._first("find_by_username", self._key("username", username))

    def exists_by_email(self, email: str) -> bool:
        """Return whether the e-mail address is taken."""
        return self._exists("exists_by_email", self._key("email", email))

    def exists_by_username(self, username: str) -> bool:
        """Return whether the user name is taken."""
        return self._exists("exists_by_username", self._key("username", username))

    def find_credentials(self, email: str) -> Credentials | None:
        """Return the user with this e-mail address and the password's hash, or None."""
        names = (*self._fields, "password_hash")
        rows = self._rows("find_credentials", names, self._key("email", email), limit=1)
        return Credentials(self._make(rows[0][:-1]), rows[0][-1]) if rows else None

    def update_password(self, id: uuid.UUID, password_hash: str | None) -> None:
        """Set the password's hash (None: none). Raises NotFoundError if the user does not exist."""
        self._alter("update_password", id, {"password_hash": password_hash})

    def update_profile(self, id: uuid.UUID, profile: dict[str, Any]) -> None:
        """Set the profile: a dict of JSON. Raises NotFoundError if the user does not exist."""
        self._alter("update_profile", id, {"profile": profile})

    def update_role(self, id: uuid.UUID, role: str) -> None:
        """Set the role. Raises NotFoundError if the user does not exist."""
        self._alter("update_role", id, {"role": role})

    def update_email_verified(
        self, id: uuid.UUID, verified: bool = True, *, email: str | None = None
    ) -> None:
        """Set whether the user receives mail at the address.

        ``email`` is the address that the mail went to. Raises ConflictError ``users_as_read`` if
        the stored address differs from it in any character, and NotFoundError if the user does not
        exist.
        """
        operation = "update_email_verified"
        if email is None:
            self._alter(operation, id, {"email_verified": verified})
            return
        identity = self._identity(id)
        same = {**identity, "email": self._checked({"email": email})["email"]}
        changes = {**self._checked({"email_verified": verified}), **self._edit_stamps()}
        if not self._change(operation, same, changes):
            message = "the e-mail address is another by now: send to that one"
            raise self._rule_broken(operation, "users_as_read", message, identity)

    def update_last_active(self, id: uuid.UUID) -> None:
        """Set only ``last_active_at``, to now. Raises NotFoundError if the user does not exist."""
        self._change_one("update_last_active", id, {"last_active_at": self._clock.now()})

    def add_to_organization(
        self, user_id: uuid.UUID, organization_id: uuid.UUID, role: str = "member"
    ) -> None:
        """Make the user a "member", an "admin" or an "owner" of the organization.

        Raises ConflictError: ``organization_members_pkey`` if the user belongs to it already,
        ``organization_members_user_id_fkey`` or ``organization_members_organization_id_fkey`` if
        one of the two does not exist.
        """
        member = _Member(organization_id, user_id, role)
        self._members._insert("add_to_organization", self._members._filled(member))

    def remove_from_organization(self, user_id: uuid.UUID, organization_id: uuid.UUID) -> bool:
        """Remove the user from the organization, and return whether the user belonged to it.

        Raises ConflictError ``organization_members_last_owner`` for the only owner, also if two
        owners leave at once.
        """
        operation = "remove_from_organization"
        member = self._members._by_key((organization_id, user_id))

        def work() -> bool:
            self._lock_owners(operation, member)
            return self._members._remove(operation, member) > 0

        return self.database.run(work)

    def update_organization_role(
        self, user_id: uuid.UUID, organization_id: uuid.UUID, role: str
    ) -> None:
        """Set the user's role in the organization.

        Raises NotFoundError if the user does not belong to it, and ConflictError
        ``organization_members_last_owner`` if the only owner would not stay one.
        """
        operation = "update_organization_role"
        member = self._members._by_key((organization_id, user_id))
        change = self._members._checked({"role": role})

        def work() -> None:
            self._lock_owners(operation, member, change["role"])
            if not self._members._change(operation, member, change):
                raise self._members._not_found(operation)

        self.database.run(work)

    def find_organizations(self, user_id: uuid.UUID) -> list[Membership]:
        """Return the user's organizations, by name. Two statements."""
        operation = "find_organizations"
        members = self._members._select(operation, self._members._checked({"user_id": user_id}))
        found = _named_by(members, "organization_id", self._organizations, operation)
        memberships = [Membership(one, member.role, member.created_at) for one, member in found]
        by_name = operator.attrgetter("organization.name", "organization.id")
        return sorted(memberships, key=by_name)

    def _key(self, name: str, value: str) -> dict[str, Any]:
        return {f"{name}_folded": self._checked({name: value})[f"{name}_folded"]}

    def _lock_owners(self, operation: str, member: _ByColumn, role: str | None = None) -> None:
        """Lock the organization by writing its row unchanged. Refuse the last owner another role.

        Concurrent changes of its owners wait for each other, and then see who is an owner now.
        """
        place = {"id": member["organization_id"]}
        self._organizations._change(operation, place, place)
        if role == "owner":
            return
        owners = {"organization_id": member["organization_id"], "role": "owner"}
        if self._members._rows(operation, ("user_id",), owners, limit=2) == [(member["user_id"],)]:
            message = "an organization keeps an owner: name another first"
            raise self._rule_broken(operation, "organization_members_last_owner", message)

    _members = _beside(lambda: _MemberRepository)
    _organizations = _beside(lambda: OrganizationRepository)


class _SluggedRepository(Repository[R]):
    """Records with a slug, which are also found by a part of their text."""

    folded: ClassVar = {"search_folded": ("name", "slug", "description")}
    unique: ClassVar = [("slug",)]
    sort_fields = ("created_at", "updated_at", "name")

    def find_by_slug(self, slug: str) -> R | None:
        """Return the record with this slug, or None."""
        return self._first("find_by_slug", self._checked({"slug": slug}))

    def exists_by_slug(self, slug: str) -> bool:
        """Return whether the slug is taken."""
        return self._exists("exists_by_slug", self._checked({"slug": slug}))

    def search(self, text: str, query: Query = Query()) -> Page[R]:
        """Return a page of those whose name, slug or description contains the text.

        Case does not count. No character of the text has a special meaning.
        """
        return self._search("search", "search_folded", text, query)


class OrganizationRepository(_SluggedRepository[Organization]):
    """Organizations of the benchmark exchange; each has an owner at all times.

    Deleting one ends its memberships. Deleting one that submissions name raises ConflictError
    (``submissions_organization_id_fkey``).

    Constraints: ``organizations_pkey``, ``organizations_slug_key``,
    ``organizations_organization_type_check``.
    """

    record = Organization
    table = "organizations"
    resource = "organization"
    lengths: ClassVar = {
        "name": 200, "slug": 100, "description": 5000, "website": 2000, "logo_url": 2000,
        "organization_type": 20,
    }  # fmt: skip
    formats: ClassVar = {
        "slug": "[a-z0-9]+(-[a-z0-9]+)*",
        "website": r"https?://\S+",
        "logo_url": r"https?://\S+",
        "organization_type": "llm_provider|research_institution|enterprise|open_source|individual",
    }
    trimmed = ("name",)
    guarded = ("verified", "verification_date")
    filter_fields = ("organization_type", "verified")

    def create(  # type: ignore[override]
        self, organization: Organization, owner_id: uuid.UUID
    ) -> Organization:
        """Store a new organization and its first owner in one transaction; return it as stored.

        Raises ConflictError ``organizations_slug_key`` if the slug is taken, and
        ``organization_members_user_id_fkey`` if the user does not exist.
        """
        values = self._filled(organization)
        owner = self._members._filled(_Member(values["id"], owner_id, "owner"))

        def work() -> None:
            self._insert("create", values)
            self._members._insert("create", owner)

        self.database.run(work)
        return self._stored(values, organization)

    def verify(self, id: uuid.UUID) -> None:
        """Mark the organization as verified now. Raises NotFoundError if it does not exist."""
        self._alter("verify", id, {"verified": True, "verification_date": self._clock.now()})

    def unverify(self, id: uuid.UUID) -> None:
        """Mark the organization as not verified. Raises NotFoundError if it does not exist."""
        self._alter("unverify", id, {"verified": False, "verification_date": None})

    def find_members(self, id: uuid.UUID, query: Query = Query()) -> Page[Member]:
        """Return a page of its members in the order in which they joined; filter by "role".

        Two statements, three with the total.
        """
        operation = "find_members"
        page = self._members._page(operation, self._members._identity(id, "organization_id"), query)
        found = _named_by(page.items, "user_id", self._users, operation)
        items = [Member(user, member.role, member.created_at) for user, member in found]
        return Page(items, page.page, page.per_page, page.total, page.next)

    def count_members(self, id: uuid.UUID) -> int:
        """Return how many members it has, owners and admins included."""
        where = self._members._identity(id, "organization_id")
        return self._members._number("count_members", where)

    def find_by_type(self, organization_type: str, query: Query = Query()) -> Page[Organization]:
        """Return a page of the organizations of that type."""
        where = self._checked({"organization_type": organization_type})
        return self._page("find_by_type", where, query)

    _members = _beside(lambda: _MemberRepository)
    _users = _beside(lambda: UserRepository)


@dataclass(eq=False, repr=False)
class _Tag:
    benchmark_id: uuid.UUID
    tag: str


class _TagRepository(Repository[_Tag]):
    record = _Tag
    table = "benchmark_tags"
    resource = "tag"
    key = ("benchmark_id", "tag")
    lengths: ClassVar = {"tag": 50}
    foreign_keys: ClassVar = _references("benchmark_tags", "cascade", benchmark_id="benchmarks")
    trimmed = ("tag",)


_VERSION = "(0|[1-9][0-9]{0,8})([.](0|[1-9][0-9]{0,8})){2}"


class _VersionRepository(Repository[BenchmarkVersion]):
    """The versions of benchmarks, with the current ones. Rows are never changed."""

    record = BenchmarkVersion
    table = "benchmark_versions"
    resource = "benchmark version"
    lengths: ClassVar = {"version": 30, "changelog": 10_000}
    formats: ClassVar = {"version": _VERSION}
    unique: ClassVar = [
        ("benchmark_id", "id"),
        ("benchmark_id", "version"),
        ("benchmark_id", "number"),
    ]
    foreign_keys: ClassVar = _references("benchmark_versions", "cascade", benchmark_id="benchmarks")


class BenchmarkRepository(_SluggedRepository[Benchmark]):
    """Benchmarks with their tags and versions.

    A benchmark has at most 100 tags of 1 to 50 characters. Deleting one deletes its tags and its
    history. Deleting one that has submissions raises ConflictError
    (``submissions_benchmark_version_id_fkey``).

    Constraints: ``benchmarks_pkey``, ``benchmarks_slug_key``, ``benchmarks_created_by_fkey``,
    ``benchmarks_category_check``, ``benchmarks_status_check``.
    """

    record = Benchmark
    table = "benchmarks"
    resource = "benchmark"
    lengths: ClassVar = {
        "slug": 100, "name": 200, "description": 5000, "long_description": 100_000, "category": 20,
        "status": 20, "version": 30, "license": 100,
    }  # fmt: skip
    formats: ClassVar = {
        "slug": "[a-z0-9]+(-[a-z0-9]+)*",
        "category": "performance|accuracy|reliability|safety|cost|capability",
        "status": "draft|under_review|active|deprecated|archived",
        "version": _VERSION,
    }
    foreign_keys: ClassVar = _references("benchmarks", created_by="users")
    trimmed = ("name", "license")
    ids = ("id", "version_id")
    elsewhere = ("tags",)
    guarded = ("status", "version", "version_id")
    filter_fields = ("category", "status", "license", "created_by")
    #: for each status those from which a benchmark may move to it
    moves: ClassVar[Mapping[str, Sequence[str]]] = {
        "draft": ("under_review",),
        "under_review": ("draft",),
        "active": ("under_review", "deprecated"),
        "deprecated": ("active",),
        "archived": ("deprecated",),
    }

    def create(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, benchmark: Benchmark
    ) -> Benchmark:
        """Store a new benchmark with its tags and first version in one transaction.

        Returns it as stored. Raises ConflictError ``benchmarks_slug_key`` if the slug is taken,
        ``benchmarks_created_by_fkey`` if the user does not exist.
        """
        values = self._filled(benchmark)
        version = self._version(values)
        tags = self._tagged(values["id"], benchmark.tags)

        def work() -> None:
            self._insert("create", values)
            self._add_version("create", version, tags)

        self.database.run(work)
        return self._stored({**values, "tags": tuple(row["tag"] for row in tags)}, benchmark)

    def update(  # type: ignore[override]
        self, benchmark: Benchmark, *, changelog: str = "", breaking: bool = False
    ) -> uuid.UUID:
        """Publish a new version with all fields of the benchmark, and return the version's id.

        After 1.2.3 comes 1.3.0, or 2.0.0 if the change is ``breaking``. ``changelog`` has at most
        10,000 characters.

        Raises NotFoundError if the benchmark does not exist, and ConflictError as ``create`` does.
        Raises ConflictError ``benchmarks_as_read`` if another caller has published a version or
        changed the status since the benchmark was read, or if ``version``, ``version_id`` or
        ``status`` was changed here: this method sets the first two, ``update_status`` the third.
        """
        old = self._edited(benchmark)
        tags = self._tagged(old["id"], benchmark.tags)
        major, minor, _ = map(int, old["version"].split("."))
        version = f"{major + 1}.0.0" if breaking else f"{major}.{minor + 1}.0"
        id = new_id(self._clock)
        values = {**old, **self._checked({"version": version}), "version_id": id}
        draft = self._version(values, changelog, breaking)

        def work() -> None:
            self._overwrite(old, values)
            mine = {"benchmark_id": old["id"]}
            number = self._versions._number("update", mine) + 1
            self._tags._remove("update", mine)
            self._add_version("update", {**draft, "number": number}, tags)

        self.database.run(work)
        return id

    def update_status(self, id: uuid.UUID, status: str) -> None:
        """Move the benchmark to another status.

        The moves are: draft to under_review, that to active or back; active to deprecated, that to
        archived or back. Of two concurrent moves one wins. Raises ConflictError
        ``benchmarks_status_move`` for any other move, and NotFoundError if the benchmark does not
        exist.
        """
        operation, identity = "update_status", self._identity(id)
        changes = {**self._checked({"status": status}), **self._edit_stamps()}
        sources = self.moves[changes["status"]]
        if not self._change(operation, {**identity, "status": OneOf(sources)}, changes):
            message = f"only what is {' or '.join(sources)} can become {changes['status']}"
            raise self._rule_broken(operation, "benchmarks_status_move", message, identity)

    def find_version(self, id: uuid.UUID, version: str) -> BenchmarkVersion | None:
        """Return the benchmark as it was at a version such as "1.0.0", or None."""
        where = self._versions._checked({"benchmark_id": id, "version": version})
        return self._versions._first("find_version", where)

    def find_version_history(self, id: uuid.UUID) -> list[BenchmarkVersion]:
        """Return all its versions, the newest first."""
        where = self._versions._identity(id, "benchmark_id")
        return self._versions._select("find_version_history", where, [("number", True)])

    def find_by_category(self, category: str, query: Query = Query()) -> Page[Benchmark]:
        """Return a page of the benchmarks of that category."""
        return self._page("find_by_category", self._checked({"category": category}), query)

    def find_by_tag(self, tag: str, query: Query = Query()) -> Page[Benchmark]:
        """Return a page of the benchmarks that have exactly this tag."""
        where = {"id": _Among(self._tags, "benchmark_id", self._tags._checked({"tag": tag}))}
        return self._page("find_by_tag", where, query)

    def _tagged(self, id: uuid.UUID, tags: Any) -> list[dict[str, Any]]:
        """Return the rows for the tags, sorted and without duplicates."""
        if not isinstance(tags, (tuple, list)) or len(tags) > 100:
            raise ValidationError("tags should be a tuple of text, at most 100")
        rows = [self._tags._checked({"benchmark_id": id, "tag": tag}) for tag in tags]
        by_tag = {row["tag"]: row for row in rows}
        return [by_tag[tag] for tag in sorted(by_tag)]

    def _add_version(self, operation: str, version: _ByColumn, tags: Sequence[_ByColumn]) -> None:
        self._versions._insert(operation, version)
        if tags:
            self._tags._insert(operation, *tags)

    def _version(
        self, values: _ByColumn, changelog: str = "", breaking: bool = False
    ) -> dict[str, Any]:
        """Return the history's row for a first version with these values."""
        same = ("version", "evaluation_criteria", "execution_config", "test_cases")
        return {
            "id": values["version_id"],
            "benchmark_id": values["id"],
            "number": 1,
            **self._versions._checked({"changelog": changelog, "breaking": breaking}),
            "created_at": values["updated_at"],
            **{name: values[name] for name in same},
        }

    _versions = _beside(lambda: _VersionRepository)
    _tags = _beside(lambda: _TagRepository)


class SubmissionRepository(Repository[Submission]):
    """Results of models at benchmarks, and their ranks.

    The program decides which users submit for an organization, and whether a verified submission
    may be edited. The level, its time and the visibility are guarded: ``update`` raises
    ConflictError ``submissions_as_read`` if one differs from what is stored.

    Constraints: ``submissions_pkey``; ``submissions_benchmark_version_id_fkey`` (the version exists
    and belongs to the benchmark), ``submissions_user_id_fkey``,
    ``submissions_organization_id_fkey``; ``submissions_aggregate_score_check``,
    ``submissions_verification_level_check``, ``submissions_visibility_check``.
    """

    record = Submission
    table = "submissions"
    resource = "submission"
    lengths: ClassVar = {"model": 200, "verification_level": 20, "visibility": 20}
    formats: ClassVar = {
        "verification_level": "unverified|community_verified|platform_verified|audited",
        "visibility": "public|unlisted|private",
    }
    foreign_keys: ClassVar = {
        "submissions_benchmark_version_id_fkey": ForeignKey(
            ("benchmark_id", "benchmark_version_id"), "benchmark_versions", ("benchmark_id", "id")
        ),
        **_references("submissions", user_id="users", organization_id="organizations"),
    }
    checks: ClassVar = {
        "submissions_aggregate_score_check": Check(
            "aggregate_score BETWEEN -1.7976931348623157e308 AND 1.7976931348623157e308",
            lambda row: row["aggregate_score"] is None or math.isfinite(row["aggregate_score"]),
        )
    }
    trimmed = ("model",)
    guarded = ("verification_level", "verified_at", "visibility")
    kept = ("verification",)
    sort_fields = ("created_at", "updated_at", "aggregate_score")
    filter_fields = (
        "benchmark_id", "benchmark_version_id", "model", "user_id", "organization_id",
        "verification_level", "visibility",
    )  # fmt: skip

    def find_for_benchmark(
        self, benchmark_id: uuid.UUID, query: Query = Query(), *, visibility: str | None = "public"
    ) -> Page[Submission]:
        """Return a page of the benchmark's submissions with that ``visibility`` (None: any)."""
        where: dict[str, Any] = {"benchmark_id": benchmark_id}
        if visibility is not None:
            where["visibility"] = visibility
        return self._page("find_for_benchmark", self._checked(where), query)

    def find_by_user(self, user_id: uuid.UUID, query: Query = Query()) -> Page[Submission]:
        """Return a page of the user's submissions of any visibility, for the user's own eyes."""
        return self._page("find_by_user", self._identity(user_id, "user_id"), query)

    def update_verification(
        self, id: uuid.UUID, level: str, verification: dict[str, Any] | None = None
    ) -> None:
        """Set the level, the time of verification, and any JSON about it.

        Raises NotFoundError if the submission does not exist.
        """
        level = _plain(level)
        now = None if level == "unverified" else self._clock.now()
        changes = {"verification_level": level, "verified_at": now, "verification": verification}
        self._alter("update_verification", id, changes)

    def update_visibility(self, id: uuid.UUID, visibility: str) -> None:
        """Set the visibility. Raises NotFoundError if the submission does not exist."""
        self._alter("update_visibility", id, {"visibility": visibility})

    def leaderboard(
        self, benchmark_id: uuid.UUID, version_id: uuid.UUID | None = None, limit: int = 100
    ) -> list[LeaderboardEntry]:
        """Return the best public submissions with a score: at most ``limit`` (1 to 1000).

        One statement. Without ``version_id`` it ranks all versions. The highest score comes first;
        equal scores share a rank (1, 2, 2, 4) and are in the order of time, then id.
        """
        _check_range("limit", limit, 1, 1000)
        entries, rank, last = [], 0, None
        where = self._at_version(benchmark_id, version_id)
        for place, row in enumerate(self._ranked(where, limit), 1):
            if row[3] != last:
                rank, last = place, row[3]
            entries.append(LeaderboardEntry(rank, *row))
        return entries

    def find_best_for_model(
        self, benchmark_id: uuid.UUID, model: str, version_id: uuid.UUID | None = None
    ) -> Submission | None:
        """Return the model's best ranked submission at the benchmark, or None."""
        where = self._at_version(benchmark_id, version_id)
        where |= self._checked({"model": model, "visibility": "public"})
        where["aggregate_score"] = AtMost(sys.float_info.max)
        order = [("aggregate_score", True), ("created_at", False), ("id", False)]
        return self._first("find_best_for_model", where, order)

    def exists_for_model_version(self, model: str, version_id: uuid.UUID) -> bool:
        """Return whether the model has a submission, of any visibility, at that version."""
        where = self._checked({"benchmark_version_id": version_id, "model": model})
        return self._exists("exists_for_model_version", where)

    def _at_version(self, benchmark_id: uuid.UUID, id: uuid.UUID | None) -> dict[str, Any]:
        where = {"benchmark_id": benchmark_id}
        if id is not None:
            where["benchmark_version_id"] = id
        return self._checked(where)

    @abstractmethod
    def _ranked(self, where: _ByColumn, limit: int) -> list[_Row]:
        """Return the leaderboard's rows in order: a LeaderboardEntry's fields after the rank."""


class MySQLPhoneUserRepository(SqlRepository[PhoneUser], PhoneUserRepository):
    """On MySQL or MariaDB."""


class PostgresPhoneUserRepository(SqlRepository[PhoneUser], PhoneUserRepository):
    """On Postgres."""


class MySQLTokenRepository(SqlRepository[RefreshToken], TokenRepository):
    """On MySQL or MariaDB."""


class PostgresTokenRepository(SqlRepository[RefreshToken], TokenRepository):
    """On Postgres."""


class MySQLUserRepository(SqlRepository[User], UserRepository):
    """On MySQL or MariaDB."""


class PostgresUserRepository(SqlRepository[User], UserRepository):
    """On Postgres."""


class MySQLOrganizationRepository(SqlRepository[Organization], OrganizationRepository):
    """On MySQL or MariaDB."""


class PostgresOrganizationRepository(SqlRepository[Organization], OrganizationRepository):
    """On Postgres."""


class MySQLBenchmarkRepository(SqlRepository[Benchmark], BenchmarkRepository):
    """On MySQL or MariaDB."""

    # MySQL's JSON_ARRAYAGG has no ORDER BY.
    _others: ClassVar = {
        "tags": (
            "COALESCE((SELECT JSON_ARRAYAGG(tag) FROM benchmark_tags "
            "WHERE benchmark_id = benchmarks.id), '[]')",
            lambda text: tuple(sorted(_read_document(text))),
        )
    }


class PostgresBenchmarkRepository(SqlRepository[Benchmark], BenchmarkRepository):
    """On Postgres."""

    _others: ClassVar = {
        "tags": (
            "ARRAY(SELECT tag FROM benchmark_tags WHERE benchmark_id = benchmarks.id ORDER BY tag)",
            tuple,
        )
    }


class _SqlSubmissionRepository(SqlRepository[Submission], SubmissionRepository):
    #: how the leaderboard joins users, and its last LIMIT
    _users: ClassVar[str]
    _last_limit: ClassVar[str]
    # The inner query reads an index of ranked rows, and cuts them off before names are looked up:
    # without that, stale statistics let the planner join and sort all of them.
    _ranking = """
        SELECT s.id, s.benchmark_version_id, s.model, s.aggregate_score, s.verification_level,
            s.created_at, s.user_id, u.username, u.display_name, s.organization_id, o.name
        FROM (
            SELECT id, benchmark_version_id, model, aggregate_score, verification_level, created_at,
                user_id, organization_id FROM submissions
            {condition} AND visibility = 'public' AND aggregate_score IS NOT NULL
            ORDER BY aggregate_score DESC, created_at, id LIMIT %s
        ) s
        {users}
        LEFT JOIN organizations o ON o.id = s.organization_id
        ORDER BY s.aggregate_score DESC, s.created_at, s.id LIMIT {limit}"""

    def _ranked(self, where: _ByColumn, limit: int) -> list[_Row]:
        condition, params = self._condition(where)
        sql = self._ranking.format(condition=condition, users=self._users, limit=self._last_limit)
        params += limit, limit
        fetch = self._fetcher(("id", *LeaderboardEntry._fields[2:]))
        return self.database._statement("leaderboard", sql, params, fetch, repeatable=True)


class MySQLSubmissionRepository(_SqlSubmissionRepository):
    """On MySQL or MariaDB."""

    # The submissions are read first, however few users there are.
    _users = "STRAIGHT_JOIN users u ON u.id = s.user_id"
    _last_limit = "%s"


class PostgresSubmissionRepository(_SqlSubmissionRepository):
    """On Postgres."""

    # LATERAL and its LIMIT keep the planner from reading all users. The last LIMIT removes no row.
    # It is a parameter, so the planner expects to need a tenth of the rows (preprocess_limit in
    # PostgreSQL's planner.c) and reads them in order, also where the statistics do not know the id
    # yet, and it would expect few rows, then read and sort all.
    _users = (
        "CROSS JOIN LATERAL "
        "(SELECT username, display_name FROM users WHERE id = s.user_id LIMIT 1) u"
    )
    _last_limit = "(SELECT %s)"


# === redis ========================================================================================


MessageHandler = Callable[[str, "str | None", str], None]


class _InterruptibleEvent:
    """An event whose wait a signal handler may end with an exception.

    ``threading.Event`` then raises RuntimeError. Here each waiter has a lock of its own, which
    ``set`` releases.
    """

    __slots__ = ("_waiters", "is_set")

    def __init__(self) -> None:
        self.is_set = False
        self._waiters: list[threading.Lock] = []

    def set(self) -> None:
        self.is_set = True
        for waiter in list(self._waiters):
            _wake_waiter(waiter)

    def wait(self, seconds: float) -> None:
        waiter = threading.Lock()
        waiter.acquire()
        self._waiters.append(waiter)
        if not self.is_set:  # checked after joining the waiters: ``set`` releases those it finds
            waiter.acquire(timeout=min(max(0.0, seconds), threading.TIMEOUT_MAX))
        self._waiters.remove(waiter)


class Listener(_Closeable):
    """A subscription to Redis channels, made by :meth:`KeyValueClient.listen`.

    It calls ``on_message(channel, pattern, payload)`` for one message at a time. Messages of one
    publisher come in order. ``pattern`` is the glob that matched, or None for a channel subscribed
    to by name. A channel that is subscribed to by name and by a matching glob delivers twice, first
    by name. Several matching globs deliver in no fixed order. Messages published before a
    subscription, or while the connection was lost, never arrive. If a handler raises, or returns an
    awaitable or a generator, the listener logs that and goes on. Channels belong to the whole
    server, whatever the URL's database number.

    Each of the four methods below returns once the server has acknowledged it, and raises
    TimeoutError if it does not. Called from a handler they return at once. Subscribing twice, or
    unsubscribing from an unknown name, is no error. Closing the client closes the listener.
    """

    _observer: Observer | None = None  # set by its client

    def __init__(self, on_message: MessageHandler, on_reconnect: Callable[[], None] | None) -> None:
        _check_function("on_message", on_message, "channel, pattern and payload")
        if on_reconnect is not None:
            _check_function("on_reconnect", on_reconnect, "no arguments")
        self._on_message, self._on_reconnect = on_message, on_reconnect
        #: A bus sets it: whether it still needs the glob (True) or channel (False) of that name.
        #: Asked under the lock that orders commands: a later SUBSCRIBE is sent later.
        self._is_needed: Callable[[bool, str], bool] = lambda is_glob, name: False

    def subscribe(self, *channels: str) -> None:
        """Receive messages published to these channels from now on."""
        self._change("SUBSCRIBE", channels)

    def psubscribe(self, *globs: str) -> None:
        """Receive messages of all channels that match one of these globs (see ``scan``)."""
        self._change("PSUBSCRIBE", globs)

    def unsubscribe(self, *channels: str) -> None:
        """Stop receiving from these channels."""
        self._change("UNSUBSCRIBE", channels)

    def punsubscribe(self, *globs: str) -> None:
        """Stop receiving from these globs."""
        self._change("PUNSUBSCRIBE", globs)

    @abstractmethod
    def close(self) -> None:
        """Stop. Waits for a running handler, within the client's deadline; calls no other."""

    def _change(self, command: str, names: Sequence[str]) -> None:
        if not names:
            raise ValidationError(f"{command.lower()} needs at least one name")
        self._apply(command, [_check_key(name, "channel") for name in names])

    def _deliver(self, channel: str, pattern: str | None, payload: str) -> None:
        if not _notify(
            f"a handler of channel {channel}", self._on_message, channel, pattern, payload
        ):
            _count(self._observer, "redis", "handler_errors")

    def _announce_reconnect(self) -> None:
        _count(self._observer, "redis", "reconnects")
        if self._on_reconnect is not None:
            _notify("on_reconnect", self._on_reconnect)

    @abstractmethod
    def _apply(self, command: str, names: Sequence[str]) -> None: ...


class KeyValueClient(_Closeable):
    """Text under text keys, with expiry and counters, and publish/subscribe.

    Keys and channels are non-empty text without blanks at either end. Values are text, and may be
    empty. Neither holds a NUL or a lone surrogate. Durations are seconds above 0, rounded up to
    milliseconds. All else raises ValidationError, before anything is sent. An expired key counts as
    absent.

    All methods raise ConnectionError, TimeoutError or PoolTimeoutError within the client's deadline
    if Redis cannot answer, and CacheError if it refuses (for example a key that holds another type,
    or a full memory). Bytes in Redis that are not UTF-8 raise SerializationError. Threads may share
    a client.
    """

    #: Seconds by which a key may outlive its ``ttl``. Redis counts whole milliseconds, and removes
    #: a key only in the one after.
    _late_expiry = 0.001
    _observer: Observer | None = None  # the cache and the bus on this client tell it too

    def get(self, key: str) -> str | None:
        """Return the value, or None if the key is absent."""
        return self._get(_check_key(key))

    def get_many(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the values of those keys that exist. Not atomic: one pipeline of single reads."""
        names = [*map(_check_key, _check_many("keys", keys))]
        found = zip(names, self._get_many(names))
        return {key: value for key, value in found if value is not None}

    def set(self, key: str, value: str) -> None:
        """Store without expiry. An earlier expiry of the key is removed."""
        self._set(_check_key(key), _check_value(value), None)

    def set_with_expiry(self, key: str, value: str, seconds: float) -> None:
        """Store for that many seconds."""
        self._set(_check_key(key), _check_value(value), _milliseconds(seconds))

    def set_many(self, items: Mapping[str, str], seconds: float | None = None) -> None:
        """Store each item as ``set`` does or, with ``seconds``, as ``set_with_expiry`` does.

        All items are checked before the first is sent. Not atomic: one pipeline of single writes.
        """
        _MAPPING.check("items", items)
        ttl = None if seconds is None else _milliseconds(seconds)
        pairs = [(_check_key(key), _check_value(value)) for key, value in items.items()]
        self._set_many(pairs, ttl)

    def set_nx(self, key: str, value: str, seconds: float | None = None) -> bool:
        """Store only if the key is absent; return whether it was. Never retried once sent."""
        ttl = None if seconds is None else _milliseconds(seconds)
        return self._set_nx(_check_key(key), _check_value(value), ttl)

    def delete(self, key: str) -> bool:
        """Remove the key; return whether it existed."""
        return self._delete("DEL", [_check_key(key)]) == 1

    def delete_many(self, keys: Iterable[str]) -> int:
        """Remove the keys; return how many existed. Not atomic."""
        return self._delete("DEL", [*map(_check_key, _check_many("keys", keys))])

    def unlink_many(self, keys: Iterable[str]) -> int:
        """Remove the keys as ``delete_many`` does; the server frees their memory later (UNLINK)."""
        return self._delete("UNLINK", [*map(_check_key, _check_many("keys", keys))])

    def compare_and_delete(self, key: str, value: str) -> bool:
        """Remove the key if it holds exactly ``value``; return whether it did. Atomic."""
        return self._compare_and_delete(_check_key(key), _check_value(value))

    def exists(self, key: str) -> bool:
        """Return whether the key exists."""
        return self._exists(_check_key(key))

    def ttl(self, key: str) -> float | None:
        """Return the seconds until the key expires, with a precision of milliseconds.

        ``math.inf``: never; None: the key is absent.
        """
        milliseconds = self._pttl(_check_key(key))
        if milliseconds == -2:
            return None
        return math.inf if milliseconds == -1 else milliseconds / 1000

    def expire(self, key: str, seconds: float) -> bool:
        """Set the time until expiry, counted from now; return whether the key exists."""
        return self._pexpire(_check_key(key), _milliseconds(seconds))

    def increment(self, key: str, amount: int = 1, ttl: float | None = None) -> int:
        """Add to the integer under the key (0 if absent) and return the sum. Atomic.

        ``ttl``, in seconds, takes effect only if this call creates the key: later calls do not
        prolong it. Raises CacheError, and leaves the key unchanged, if the value is no integer or
        the sum does not fit into 64 bits. Never retried once sent.
        """
        if type(amount) is not int or not -(2**63) <= amount < 2**63:
            raise ValidationError("amount should be an int of at most 64 bits")
        expiry = None if ttl is None else _milliseconds(ttl, "ttl")
        return self._increment(_check_key(key), amount, expiry)

    def scan(self, glob: str = "*") -> Iterator[str]:
        """Iterate over the keys that match, in no order.

        The first thousand or so are read at once, the others lazily. A key that exists throughout
        is returned at least once, and perhaps twice. A key created or removed meanwhile may be
        returned or not.

        Redis's globs (https://redis.io/docs/latest/commands/keys/) match UTF-8 bytes, and are
        case-sensitive: ``*`` any run, also of ``:`` and ``/``; ``?`` any one byte; ``[abc]``,
        ``[a-c]``, ``[^a]`` one byte; ``\\`` takes the next character literally.
        """
        return self._scan(_check_text("glob", glob, empty=False))

    def publish(self, channel: str, message: str) -> int:
        """Send to the current subscribers; return their number. Never retried once sent."""
        return self._publish(_check_key(channel, "channel"), _check_value(message, "message"))

    @abstractmethod
    def listen(
        self, on_message: MessageHandler, on_reconnect: Callable[[], None] | None = None
    ) -> Listener:
        """Open a listener without subscriptions.

        It calls ``on_reconnect()``, between messages, each time it has subscribed again after a
        lost connection: messages may be missing. An open listener keeps alive what its handlers
        refer to. Close it, or its client.
        """

    @abstractmethod
    def health_check(self) -> Health:
        """Ask the server for its version."""

    @abstractmethod
    def stats(self) -> PoolStats:
        """Return the state of the connections, without those of listeners. Asks no server."""

    @abstractmethod
    def _get(self, key: str) -> str | None: ...
    @abstractmethod
    def _get_many(self, keys: Sequence[str]) -> Sequence[str | None]: ...
    @abstractmethod
    def _set(self, key: str, value: str, ttl: int | None) -> None: ...
    @abstractmethod
    def _set_many(self, pairs: Sequence[tuple[str, str]], ttl: int | None) -> None: ...
    @abstractmethod
    def _set_nx(self, key: str, value: str, ttl: int | None) -> bool: ...
    @abstractmethod
    def _delete(self, command: str, keys: Sequence[str]) -> int: ...
    @abstractmethod
    def _compare_and_delete(self, key: str, value: str) -> bool: ...
    @abstractmethod
    def _exists(self, key: str) -> bool: ...
    @abstractmethod
    def _pttl(self, key: str) -> int: ...
    @abstractmethod
    def _pexpire(self, key: str, ttl: int) -> bool: ...
    @abstractmethod
    def _increment(self, key: str, amount: int, ttl: int | None) -> int: ...
    @abstractmethod
    def _scan(self, glob: str) -> Iterator[str]: ...
    @abstractmethod
    def _publish(self, channel: str, message: str) -> int: ...


_cache_error = functools.partial(_ErrorRule, CacheError)
_not_executed = functools.partial(_cache_error, retryable=True, may_have_acted=False)
# The class of redis-py's exception decides. ``may_have_acted`` is True if any command of the
# pipeline may have run. A cache that fails open treats each ConnectionError, each TimeoutError and
# each retryable CacheError as an outage. docs/cache.md has the table for users.
_REDIS_ERRORS: Mapping[str, _ErrorRule] = {
    "AuthenticationError": _no_connection("refused the login: check the user and password"),
    "BusyLoadingError": _outage("is still loading its data"),
    "InvalidResponse": _ErrorRule(
        ConnectionError,
        "answers, but is no Redis: check the host and port, and whether the port is for TLS "
        "(rediss://)",
    ),
    "TimeoutError": _NO_ANSWER,
    "ConnectionError": _LOST,
    "ReadOnlyError": _not_executed("is a read-only replica", read_only=True),
    "MasterDownError": _not_executed("is a replica that has lost its master", read_only=True),
    "NoPermissionError": _cache_error("does not permit this user to do that (NOPERM)"),
    # MOVED too, whose class derives from this one
    "AskError": _not_executed(
        "is one node of a Redis Cluster: use a redis+cluster:// URL", retryable=False
    ),
    "TryAgainError": _not_executed("is moving the key to another node"),
    "ClusterDownError": _not_executed("says that its cluster does not serve the key at present"),
    "OutOfMemoryError": _cache_error("is out of memory", retryable=True),
    "RedisError": _cache_error("refused the command"),
    "OSError": _ErrorRule(ConnectionError, "could not be reached", retryable=True),
}
_LONG_SCRIPT = _cache_error("runs a script that does not end: see SCRIPT KILL", retryable=True)
#: codes without a class, or that a refusal quotes: of a command in a script (Redis 6.2), or that
#: made EXEC fail
_REDIS_QUOTED = {
    "READONLY": _REDIS_ERRORS["ReadOnlyError"],
    "MASTERDOWN": _REDIS_ERRORS["MasterDownError"],
    "NOREPLICAS": _not_executed("has too few replicas to take writes", read_only=True),
    "OOM": _REDIS_ERRORS["OutOfMemoryError"],
    "MISCONF": _cache_error(
        "takes no writes because it could not save its data: look at its disk and log",
        retryable=True,
    ),
    "BUSY": _LONG_SCRIPT,
    "UNKILLABLE": _LONG_SCRIPT,
}
_REDIS_QUOTE = _lazy(f"(?:^|: |-)({'|'.join(_REDIS_QUOTED)}) ")
_NO_NUMBER = _cache_error("holds no whole number of 64 bits under that key")
_NO_CLUSTER = _not_executed("is no node of a cluster: use a redis:// URL", retryable=False)
_TOO_LONG = "Protocol error: invalid bulk length"
#: refusals without a code of their own
_REDIS_PHRASES = {
    _TOO_LONG: _cache_error(
        "takes no key or value of that size: see its proto-max-bulk-len and "
        "client-query-buffer-limit"
    ),
    # A node: "… + cluster connections reached". redis-py before 5.1 has no class for it.
    "max number of clients ": _outage(
        "takes no more connections: raise its maxclients, or lower the pools' sizes"
    ),
    "DENIED Redis is running in protected mode": _no_connection(
        "serves its own machine alone (protected mode) while it has no password: set its "
        "requirepass"
    ),
    "value is not an integer or out of range": _NO_NUMBER,
    "increment or decrement would overflow": _NO_NUMBER,
    "This instance has cluster support disabled": _NO_CLUSTER,
    "unknown command 'CLUSTER'": _NO_CLUSTER,
    "unknown command `CLUSTER`": _NO_CLUSTER,  # Redis 6.2
}
# Operations that the policy retries after they were sent: repeating them changes no result or data.
_REDIS_REPEATABLE = frozenset({"get", "get_many", "exists", "ttl", "set", "set_many", "scan"})
_Address = tuple[str, int]  # host and port
_Command: TypeAlias = tuple[Any, ...]  # its words
_Commands: TypeAlias = Sequence[_Command]
_PIPELINE = 1000  # commands in one round trip: bounds memory on both sides
_LEAST_LIMIT = 1 << 20  # bytes: no server takes a lower one as its proto-max-bulk-len
_COMPARE_AND_DELETE = (
    "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end"
)


def _refusals(replies: Sequence[Any]) -> list[Exception]:
    return [reply for reply in replies if isinstance(reply, Exception)]


def _accepted(replies: list[Any]) -> list[Any]:
    """Return the replies, with those inside EXEC's behind them. Raises the first refusal."""
    if isinstance(replies[-1], list) and len(replies) > 1:
        replies += replies[-1]
    for refusal in _refusals(replies):
        raise refusal
    return replies


class _RedisErrors:
    """The meaning of redis-py's exceptions and of a server's refusals."""

    def __init__(self, redis: Any, seed: _Address) -> None:
        self._seed = seed  # the server that a failure without an address is about
        exceptions = redis.exceptions
        #: by class, quoted code and phrase
        self._rules: dict[Any, _ErrorRule] = {
            getattr(exceptions, name, None) or getattr(builtins, name): rule
            for name, rule in _REDIS_ERRORS.items()
        }
        self._rules |= _REDIS_QUOTED | _REDIS_PHRASES
        self._vague = (redis.ResponseError, exceptions.ExecAbortError)
        self.failures = (redis.RedisError, OSError)  # to reach a server

    def rule(self, exc: Exception) -> _ErrorRule:
        """Return the rule for what a vague refusal quotes or says, or else for the class."""
        text = str(exc)
        quoted = _REDIS_QUOTE.findall(text)[:1] if type(exc) in self._vague else []
        phrases = filter(text.startswith, _REDIS_PHRASES)
        rule = _find_rule(self._rules, [*quoted, *phrases, *type(exc).__mro__])
        assert rule is not None  # its base class has one
        return rule

    def check_connection(self, replies: Sequence[Any]) -> None:
        """Raise a refusal that is about the connection, not the command."""
        for refusal in _refusals(replies):
            if self.rule(refusal).error_class is ConnectionError:
                raise refusal

    def are_demoted(self, replies: Sequence[Any]) -> bool:
        """Return whether the server is no longer a master, or its replicas have left it."""
        return any(self.rule(refusal).read_only for refusal in _refusals(replies))

    def refused(self, refusal: Exception, attempt: Attempt) -> InfrastructureError:
        """Return our error for a refusal that came as a value."""
        error = cast("InfrastructureError", self.translate(refusal, attempt))
        error.service, error.__cause__ = "redis", _scrubbed(refusal)
        return error

    def translate(self, exc: Exception, attempt: Attempt) -> InfrastructureError | None:
        if not isinstance(exc, self.failures):
            return None
        rule = self.rule(exc)
        attempt.sent = attempt.sent and (rule.may_have_acted or attempt.shared)
        found = re.match("[A-Z]{3,}(?= )", str(exc))  # of "WRONGTYPE Operation against …"
        code = found[0] if found else None
        detail = _os_reason(exc, has_sslcert=True) or (f" ({code})" if code else "")
        host, port = attempt.note or self._seed
        message = f"redis at {host}:{port} {rule.message}{detail}"
        return rule.error_class(message, retryable=rule.retryable, code=code)


def _packed(commands: _Commands) -> list[bytes]:
    """Return the commands in Redis's protocol, in pieces: large words are not copied.

    See https://redis.io/docs/latest/develop/reference/protocol-spec/. With redis-py's own packing
    ``get`` takes 13 % more CPU, and ``get_many`` of 100 keys 80 % (bench/cache.py).
    """
    pieces, parts, size = [], [], 0
    for command in commands:
        parts.append(f"*{len(command)}\r\n")
        for word in command:
            text = word if word.__class__ is str else str(word)
            length = len(text) if text.isascii() else len(text.encode())
            size += length
            if size < 100_000:
                parts.append(f"${length}\r\n{text}\r\n")
            else:
                pieces += ["".join([*parts, f"${length}\r\n"]).encode(), text.encode()]
                parts, size = ["\r\n"], 0
    return [*pieces, "".join(parts).encode()]


class _RedisConnection:
    """What this library adds to redis-py's ``Connection``; see ``_RedisDriver``.

    redis-py gives each address of a host, each step of the handshake and each reply the whole
    timeout. Here the attempt's deadline bounds them all. Tried with redis-py 5.0 to 8.1, also with
    hiredis.
    """

    _sock: Any
    _parser: Any

    def __init__(self, driver: _RedisDriver, address: _Address, attempt: Attempt) -> None:
        self.address = address
        self.opened_at = SystemClock.monotonic()
        self.is_new = True  # has answered no command yet
        self.unread = False  # a reply is still to come
        self._driver = driver
        self._attempt = attempt  # that uses the connection, or used it last
        self._usual_timeout = driver.config.socket_timeout
        connection: Any = super()  # redis-py's
        connection.__init__(host=address[0], port=address[1], **driver.options)

    def open(self) -> None:
        """Connect, with TLS if the URL says so, and log in."""
        driver, attempt = self._driver, self._attempt
        host, port = self.address
        longest = driver.config.connect_timeout
        try:
            # Kept at once: after an interrupt ``disconnect`` closes it.
            self._sock = _open_socket(host, port, attempt, longest)
            if driver.tls is not None:
                self._sock.settimeout(min(longest, attempt.remaining()))
                self._sock = driver.tls.wrap_socket(self._sock, server_hostname=host)
        except builtins.TimeoutError as exc:
            raise self._failure(exc) from exc
        self.on_connect()  # type: ignore[attr-defined]  # redis-py's handshake
        # The TLS handshake can end for the client first. The server then still checks the client's
        # certificate and sends session tickets. A server that replies has done both: no command is
        # sent in vain, and what is readable is a reply.
        if driver.tls is not None and not driver.has_handshake:
            self.send_packed_command(_packed([("PING",)]))
            driver.errors.check_connection(self.read_replies(1))

    def send_packed_command(self, command: Sequence[bytes], check_health: bool = True) -> None:
        """Send a command of the handshake. If that fails, the reply tells why."""
        self._limit_wait()
        with contextlib.suppress(OSError):
            for piece in command:
                self._sock.sendall(piece)

    def read_response(self, disable_decoding: bool = False, **_: Any) -> Any:
        """Return the reply to a command of the handshake. Raises a refusal."""
        return _accepted(self.read_replies(1))[0]

    def send(self, attempt: Attempt, commands: _Commands) -> None:
        packed = _packed(commands)
        self._attempt = attempt
        self._limit_wait()
        attempt.note, attempt.sent = self.address, True
        self.unread = True
        try:
            for piece in packed:
                self._sock.sendall(piece)
        except OSError as exc:
            raise self._failure(exc) from exc

    def read_replies(self, count: int) -> list[Any]:
        """Return that many replies. A refusal is a value: further replies may follow it."""
        read, limit_wait = self._parser.read_response, self._limit_wait
        replies = []
        try:
            for _ in range(count):
                limit_wait()
                replies.append(read(disable_decoding=True))
        except OSError as exc:
            raise self._failure(exc) from exc
        self.unread = False
        return replies

    def lift_deadline(self) -> None:
        """Let each further wait take as long as the socket's timeout."""
        self._attempt = Attempt(math.inf, SystemClock.monotonic)
        self._limit_wait()

    def _limit_wait(self) -> None:
        """Let the next wait end at the deadline. Raises TimeoutError once that has passed."""
        usual, remaining = self._usual_timeout, self._attempt.remaining()
        if remaining < usual or self._sock.gettimeout() != usual:
            self._sock.settimeout(min(usual, remaining))

    def _failure(self, exc: OSError) -> Any:
        """Return redis-py's error for that of the socket."""
        redis = self._driver.redis
        if isinstance(exc, builtins.TimeoutError):
            return redis.TimeoutError("no answer in time")
        return redis.ConnectionError("the connection failed")

    def is_dead(self) -> bool:
        """Return whether an idle connection is closed, or has something to read.

        That is the server's goodbye, or an unexpected reply, which would be taken for the reply to
        the next command.
        """
        self.unread = True  # an interrupt may leave the socket without its timeout
        try:
            dead = self._sock is None or bool(self._parser.can_read(0))
        except self._driver.errors.failures:
            return True
        self.unread = False
        return dead

    def refuses_length(self, length: int) -> bool:
        """Return whether the server accepts no word of that many bytes.

        Sends the head of such a word, behind a command whose reply shows that it was read. That
        command asks for client-query-buffer-limit: above it, the server only ends the connection.
        """
        question = "CONFIG", "GET", "client-query-buffer-limit"
        head = f"*2\r\n$4\r\nECHO\r\n${length}\r\n".encode()
        self._sock.sendall(b"".join(_packed([question])) + head)
        [found] = self.read_replies(1)  # the name and the limit, or a refusal
        if isinstance(found, list) and found and int(found[1]) < length:
            return True
        if not self._parser.can_read(0.1):
            return False
        [reply] = self.read_replies(1)
        return str(reply).startswith(_TOO_LONG)


class _RedisDriver:
    """redis-py as one configuration uses it: its connections and its errors."""

    def __init__(self, config: CacheConfig) -> None:
        self.config = config
        self.redis = _import_driver("redis", "redis>=5", "RedisClient")
        url = _Url.parse(config.url)
        self.address: _Address = (url.host, url.port or 6379)
        self.errors = _RedisErrors(self.redis, self.address)
        self.closed = False
        self.tls: Any = None
        if url.scheme.startswith("rediss"):
            self.tls = _tls_context(url.options, url.options.get("sslmode", "verify-full"))
        database = int(url.path or 0)
        self.has_handshake = url.password is not None or database != 0
        self._class = type("_Connection", (_RedisConnection, self.redis.Connection), {})
        self.options: dict[str, Any] = {
            "username": url.user if url.password is not None else None,
            "password": url.password,
            "db": database,
            "protocol": 2,
            "socket_timeout": config.socket_timeout,
            "retry": self.redis.retry.Retry(self.redis.backoff.NoBackoff(), 0),
        }
        # None: else redis-py sends its name and version in two more round trips. It reads them
        # from its package's metadata on disk.
        newer = hasattr(self.redis, "driver_info")
        self.options |= dict.fromkeys(["driver_info"] if newer else ["lib_name", "lib_version"])
        # redis-py 5 knows MOVED and its kin in this parser only.
        if hasattr(self.redis.cluster, "ClusterParser"):
            self.options["parser_class"] = self.redis.cluster.ClusterParser

    def connect(self, address: _Address, attempt: Attempt) -> Any:
        """Return a connection that is logged in, within the attempt's deadline."""
        if self.closed:
            raise _closed("RedisClient")
        attempt._check_breakers(address)
        attempt.note = address
        connection = self._class(self, address, attempt)
        try:
            connection.open()
        except BaseException:
            connection.disconnect()
            raise
        return connection


class _RedisServer:
    """The pool of connections to one server."""

    breaker: CircuitBreaker | None = None  # a node's; that of a single server is the policy's

    def __init__(self, driver: _RedisDriver, address: _Address) -> None:
        self.address = address
        self._driver = driver
        #: when another server was found behind the address: connections from before are dropped
        self._replaced_at = -math.inf
        size = driver.config.pool_size
        self.pool: _Pool[Any] = _Pool(
            "RedisClient",
            size,
            connect=functools.partial(driver.connect, address),
            # In a forked child this closes the descriptor without a shutdown.
            disconnect=operator.methodcaller("disconnect"),
            is_dead=self._is_dead,
            keep=size,
        )

    def _is_dead(self, connection: Any) -> bool:
        return bool(connection.opened_at < self._replaced_at or connection.is_dead())

    def receive(self, attempt: Attempt, place: _Lease[Any], commands: _Commands) -> list[Any]:
        """Return a reply for each command.

        A server that is no longer a master refuses them. They are then sent once more, on a new
        connection: the address may lead to its successor by now.
        """
        connection: Any = place.resource
        replies: list[Any] = connection.read_replies(len(commands))
        was_new, connection.is_new = connection.is_new, False
        refusals = _refusals(replies)
        if not refusals:
            return replies
        errors = self._driver.errors
        errors.check_connection(refusals)
        # After a protocol error the server ends the connection, perhaps a moment later.
        connection.unread = any(str(refusal).startswith("Protocol error") for refusal in refusals)
        if not errors.are_demoted(refusals):
            return replies
        if was_new:
            self._stays_demoted(attempt)
            return replies
        # Of a transaction, EXEC's reply tells whether it was executed.
        decisive = replies[-1:] if commands[-1] == ("EXEC",) else replies
        if len(_refusals(decisive)) < len(decisive):
            self._replaced_at = SystemClock.monotonic()  # drops this connection too
            attempt.shared = True  # it refused some commands only, and may have executed others
            return replies
        attempt.sent = attempt.shared
        successor = self.pool.renew(place, attempt)
        successor.send(attempt, commands)
        replies = self.receive(attempt, place, commands)  # once: the successor is new
        if not errors.are_demoted(replies):
            self._replaced_at = successor.opened_at
        return replies

    def _stays_demoted(self, attempt: Attempt) -> None:
        """Note that a new connection leads to no master either: more of them would not help."""
        attempt.final = True

    def is_too_large(self, attempt: Attempt, commands: _Commands) -> bool:
        """Return whether the connection has ended because a word was too long for the server.

        The server says so, but it ends the connection while we still send, and its words may be
        lost. So a new connection asks. A user without the right to ask gets a ConnectionError.
        """
        length = max(len(str(word).encode()) for word in itertools.chain(*commands))
        if length < _LEAST_LIMIT or not attempt.sent:
            return False  # a server takes so much, or got nothing
        driver = self._driver
        with contextlib.suppress(*driver.errors.failures, InfrastructureError):
            connection = driver.connect(self.address, attempt)
            try:
                return bool(connection.refuses_length(length))
            finally:
                connection.disconnect()
        return False


@dataclass(eq=False, repr=False, slots=True)
class _Request:
    """Commands for one server, and the replies."""

    server: _RedisServer
    commands: _Commands
    place: _Lease[Any] = field(default_factory=_Lease)
    replies: list[Any] = field(default_factory=list)

    def release(self) -> None:
        connection = self.place.resource
        self.server.pool.release(self.place, broken=connection is not None and connection.unread)


def _exchange(
    driver: _RedisDriver,
    attempt: Attempt,
    requests: Sequence[_Request],
    last: Callable[[_Request], float] | None = None,
) -> None:
    """Send each server its commands, then read the replies, those with the greatest ``last`` last.

    A refusal is a value.
    """
    try:
        try:
            for request in requests:
                request.server.pool.acquire(request.place, attempt)
            for request in requests:
                connection: Any = request.place.resource
                connection.send(attempt, request.commands)
            for request in sorted(requests, key=last) if last else requests:
                attempt.note = request.server.address
                request.replies = request.server.receive(attempt, request.place, request.commands)
                request.release()
            return
        finally:
            for request in requests:
                request.release()
    except driver.redis.ConnectionError:
        failed = next(each for each in requests if each.server.address == attempt.note)
        if not failed.server.is_too_large(attempt, failed.commands):
            raise
    finally:
        for request in requests:
            if request.place:  # an interrupt has ended the first release
                request.release()
    raise driver.errors.refused(driver.redis.ResponseError(_TOO_LONG), attempt)


class _RedisTransport:
    """Commands to one server, behind the call policy.

    It stands below redis-py's client on purpose. Only here can be seen whether a command had been
    sent when its connection failed, and every timeout is ours.
    """

    KEYS_AT_ONCE = _PIPELINE  # in one UNLINK

    def __init__(self, config: CacheConfig, clock: Clock, observer: _Observing | None) -> None:
        self.driver = _RedisDriver(config)
        self.new_breaker = functools.partial(_new_breaker, config, clock=clock)
        self.policy = CallPolicy(
            "redis",
            translate=self.driver.errors.translate,
            repeatable=_REDIS_REPEATABLE,
            deadline=config.deadline,
            retries=config.retries,
            clock=clock,
            observer=observer,
            breaker=self._open(),
            slow=config.slow,
            server="{}:{}".format(*self.driver.address),
        )

    def _open(self) -> CircuitBreaker | None:
        """Make the servers; return the policy's breaker."""
        self._server = _RedisServer(self.driver, self.driver.address)
        return self.new_breaker("redis")

    def servers(self) -> Sequence[_RedisServer]:
        return [self._server]

    def close(self) -> None:
        self.driver.closed = True  # first: then no pool gets a new connection
        for server in self.servers():
            server.pool.close()

    def connect_listener(self, attempt: Attempt) -> Any:
        return self.driver.connect(self.driver.address, attempt)

    def report_silent(self, connection: Any) -> None:
        """Note that a listener's connection did not answer."""

    def nodes(self, operation: str) -> tuple[Sequence[_Address], float]:
        """Return the servers that together hold all keys, and the deadline, for ``send_to``."""
        return [self.driver.address], self.policy.until()

    def send(self, operation: str, *commands: _Command, key: str | None = None) -> Any:
        """Send the commands, all about ``key``, in one go.

        Return the last reply, of a transaction that to its last command. Raises a refusal.
        """
        return self.policy.call(operation, functools.partial(self._ask, None, commands))[-1]

    def send_to(
        self, node: _Address, operation: str, command: _Command, until: float | None
    ) -> Any:
        """Send as ``send`` does, to one of the ``nodes``, whatever key it is about."""
        ask = functools.partial(self._ask, node, [command])
        return self.policy.call(operation, ask, until=until)[0]

    def send_each(
        self, operation: str, commands: _Commands, count: int = _PIPELINE
    ) -> Iterator[Any]:
        """Send ``count`` commands at a time, each about its second word; yield their replies."""
        until = self.policy.until()
        for start in range(0, len(commands), count):
            ask = functools.partial(self._ask_each, commands[start : start + count])
            yield from self.policy.call(operation, ask, until=until)

    def _ask(self, node: _Address | None, commands: _Commands, attempt: Attempt) -> list[Any]:
        request = _Request(self._server, commands)
        _exchange(self.driver, attempt, [request])
        return _accepted(request.replies)

    def _ask_each(self, commands: _Commands, attempt: Attempt) -> Sequence[Any]:
        return self._ask(None, commands, attempt)


class _ClusterNode(_RedisServer):
    """One node of a cluster, as long as it belongs to it."""

    def __init__(self, driver: _RedisDriver, address: _Address, nodes: _ClusterNodes) -> None:
        super().__init__(driver, address)
        self._nodes = nodes
        self.breaker = nodes.new_breaker("redis at {}:{}".format(*address))
        if self.breaker is not None:
            self.breaker._node = address

    def admit(self, attempt: Attempt) -> None:
        """Ask the breaker, if there is one, once. Raises CircuitOpenError."""
        if self.breaker is not None and self.breaker not in attempt._periods:
            self.breaker._admit(attempt)

    def leave(self) -> None:
        """Close the connections: those in use once they are returned."""
        pool = self.pool
        pool.is_stale, pool.keep = (lambda connection: True), 0
        for _ in range(pool.size):
            pool._tidy()

    def _stays_demoted(self, attempt: Attempt) -> None:
        self._nodes.report_failure(self.address)  # other nodes may know its successor


class _ClusterNodes:
    """The nodes of a cluster: which of the 16,384 slots each owns, and which have failed."""

    REFRESH = 60.0  # seconds after which the slots are asked for again in any case

    def __init__(
        self, driver: _RedisDriver, new_breaker: Callable[[str], CircuitBreaker | None]
    ) -> None:
        self._driver = driver
        self.new_breaker = new_breaker
        self._owners: list[_Address | None] = []  # of each slot
        self.masters: list[_Address] = []
        self.outdate()
        #: when nodes failed that have not answered since
        self._failures: dict[_Address, float] = {}
        self.by_address: dict[_Address, _ClusterNode] = {}
        self._node(driver.address)

    def _node(self, address: _Address) -> _ClusterNode:
        node = self.by_address.get(address)
        if node is None:
            made = _ClusterNode(self._driver, address, self)
            node = self.by_address.setdefault(address, made)
        return node

    def outdate(self) -> None:
        self.current_until = -math.inf

    def adopt(self, asked: _Address, slots: Iterable[Any]) -> None:
        """Take over a node's answer to CLUSTER SLOTS. Raises CacheError if it knows no slots."""
        owners: list[_Address | None] = [None] * 16384
        for first, last, (host, port, *_), *_ in slots:
            # An empty host, or none, or "?": the one that was asked.
            address = (asked[0] if host in (None, b"", b"?") else host.decode(), port)
            owners[first : last + 1] = [address] * (last + 1 - first)
        masters = [address for address in dict.fromkeys(owners) if address is not None]
        if not masters:  # a node that has left, or a cluster that is being built
            self.report_failure(asked)
            raise CacheError(
                "redis at {}:{} knows of no slots at present".format(*asked), retryable=True
            )
        self._owners, self.masters = owners, masters
        self.current_until = SystemClock.monotonic() + self.REFRESH
        for address, node in list(self.by_address.items()):
            if address not in (self._driver.address, *masters):
                self.by_address.pop(address, None)
                node.leave()

    def owner(self, slot: int) -> _Address:
        owner = self._owners[slot]
        if owner is None:
            self.outdate()
            raise CacheError("no node of the cluster serves this key at present", retryable=True)
        return owner

    def report_failure(self, address: _Address) -> None:
        self._failures[address] = SystemClock.monotonic()
        self.outdate()

    def healthiest(self, addresses: Iterable[_Address]) -> _Address:
        """Return the one that has not failed, or not for longest."""
        return min(addresses, key=lambda address: self._failures.get(address, -math.inf))

    def _failed_at(self, request: _Request) -> float:
        return self._failures.get(request.server.address, -math.inf)

    def exchange(self, attempt: Attempt, batches: Iterable[_Batch]) -> None:
        """Send the batches, then read their replies. All nodes work at once."""
        # By node: all threads take connections in one order.
        batches = sorted(batches, key=lambda batch: batch.node)
        parts: dict[_Address, list[_Command]] = {}
        for batch in batches:
            parts.setdefault(batch.node, []).extend(batch.words())
        attempt.shared = attempt.shared or len(parts) > 1
        requests = []
        for address, words in parts.items():
            node = self._node(address)
            node.admit(attempt)
            requests.append(_Request(node, words))
        self.watch(attempt, _exchange, self._driver, attempt, requests, self._failed_at)
        for address in parts:
            self._failures.pop(address, None)
        replies = itertools.chain(*(request.replies for request in requests))
        for batch in batches:
            own = [*itertools.islice(replies, len(batch.words()))]
            batch.replies = own[1:] if batch.asking else own

    def watch(self, attempt: Attempt, call: Callable[..., T], *arguments: Any) -> T:
        """Return the call's result. If it fails to reach a node, report that node."""
        try:
            return call(*arguments)
        except InfrastructureError:  # ours: a full pool, a deadline
            raise
        except self._driver.errors.failures:
            self.report_failure(attempt.note)
            raise

    def connect(self, address: _Address, attempt: Attempt) -> Any:
        """Return a connection to a node that is in no pool."""
        self._node(address).admit(attempt)
        return self.watch(attempt, self._driver.connect, address, attempt)


@dataclass(eq=False, repr=False, slots=True)
class _Batch:
    """Commands that stay together, their key's slot, the node they go to, and its replies."""

    commands: _Commands
    slot: int = -1
    node: _Address = ("", 0)
    asking: bool = False  # the slot is moving to this node, which does not own it yet
    replies: list[Any] = field(default_factory=list)

    def words(self) -> _Commands:
        return (("ASKING",), *self.commands) if self.asking else self.commands


class _ClusterTransport(_RedisTransport):
    """Commands to a Redis Cluster, each to the node that owns its key's slot.

    See https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/. A node is asked
    for the slots, first the one of the URL, and again when a node has failed. A command that a node
    redirects (MOVED, ASK) was not executed, and goes to the other node. Channels live on one node,
    the same for all clients, so that PUBLISH counts all subscribers. If that node fails, they
    use the next one until it answers again. This works because nodes forward messages.

    redis-py's RedisCluster took 1.75 s with two silent nodes and a deadline of 0.6 s. It failed on
    ASK to a new node, and on MOVED with an empty host or "?". It sent a pipeline's INCR twice.
    """

    KEYS_AT_ONCE = 1  # a command must keep to one slot
    REDIRECTS = 5  # in one attempt

    def _open(self) -> None:
        self._slot: Callable[[bytes], int] = importlib.import_module("redis.crc").key_slot
        self._nodes = _ClusterNodes(self.driver, self.new_breaker)

    def servers(self) -> Sequence[_RedisServer]:
        return list(self._nodes.by_address.values())

    def connect_listener(self, attempt: Attempt) -> Any:
        return self._nodes.connect(self._channel_node(attempt), attempt)

    def _channel_node(self, attempt: Attempt) -> _Address:
        self._learn(attempt)
        return self._nodes.healthiest(self._nodes.masters)

    def report_silent(self, connection: Any) -> None:
        self._nodes.report_failure(connection.address)

    def nodes(self, operation: str) -> tuple[Sequence[_Address], float]:
        until = self.policy.until()
        self.policy.call(operation, self._ask_for_slots, until=until)
        return self._nodes.masters, until

    def _learn(self, attempt: Attempt) -> None:
        if SystemClock.monotonic() > self._nodes.current_until:
            self._ask_for_slots(attempt)

    def _ask_for_slots(self, attempt: Attempt) -> None:
        """Ask one node. If it does not answer, the next attempt asks another."""
        try:
            asked = self._nodes.healthiest([*self._nodes.masters, self.driver.address])
            [reply] = self._ask(asked, [("CLUSTER", "SLOTS")], attempt)
            self._nodes.adopt(asked, reply)
        finally:
            attempt.sent = False

    def _ask(self, node: _Address | None, commands: _Commands, attempt: Attempt) -> list[Any]:
        batch = _Batch(commands, node=node or self._channel_node(attempt))
        self._nodes.exchange(attempt, [batch])
        return _accepted(batch.replies)

    def send(self, operation: str, *commands: _Command, key: str | None = None) -> Any:
        if key is None:
            return super().send(operation, *commands)
        batch = _Batch(commands, self._slot(key.encode()))
        return self.policy.call(operation, functools.partial(self._route, [batch]))[0][-1]

    def _ask_each(self, commands: _Commands, attempt: Attempt) -> Sequence[Any]:
        batches = [_Batch((command,), self._slot(command[1].encode())) for command in commands]
        return [reply for (reply,) in self._route(batches, attempt)]

    def _route(self, batches: Sequence[_Batch], attempt: Attempt) -> list[list[Any]]:
        """Send each batch to its slot's owner, follow redirections, and return their replies."""
        self._learn(attempt)
        for batch in batches:
            batch.node, batch.asking = self._nodes.owner(batch.slot), False
        waiting = batches
        for _ in range(self.REDIRECTS + 1):
            self._nodes.exchange(attempt, waiting)
            waiting = [batch for batch in waiting if self._is_redirected(batch)]
            attempt.sent = len(waiting) < len(batches)
            attempt.shared = attempt.sent and len(batches) > 1
            if not waiting:
                return [self._settled(attempt, batch) for batch in batches]
        raise CacheError("the cluster keeps sending us from node to node", retryable=True)

    def _settled(self, attempt: Attempt, batch: _Batch) -> list[Any]:
        attempt.note = batch.node
        try:
            return _accepted(batch.replies)
        except self.driver.redis.exceptions.ClusterDownError:  # other nodes may know better
            self._nodes.report_failure(batch.node)
            raise

    def _is_redirected(self, batch: _Batch) -> bool:
        """Return whether a node has redirected the batch, which it did not execute.

        MOVED is for good, so that the slots have to be learned anew; ASK is for this time.
        """
        exceptions = self.driver.redis.exceptions
        for reply in batch.replies:
            if isinstance(reply, exceptions.AskError):
                batch.node = (reply.host or batch.node[0], reply.port)
                batch.asking = not isinstance(reply, exceptions.MovedError)
                if not batch.asking:
                    self._nodes.outdate()
                return True
        return False


def _text(raw: Any) -> Any:
    """Return a reply's bytes as text; None stays None."""
    if raw is None:
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError:
        pass
    # Not in the except block: the cause would quote the bytes.
    raise SerializationError("Redis holds bytes that are not UTF-8")


def _expiry(ttl: int | None) -> _Command:
    return () if ttl is None else ("PX", ttl)


class RedisClient(KeyValueClient):
    """Redis, or a server that speaks its protocol, alone or as a cluster, over redis-py.

    Tried on Redis 6.2 and 7.0 and on Valkey 9. Connections are opened on use, at most
    ``config.pool_size``; each listener has one more of its own. A command whose connection failed
    before anything was sent is retried until the deadline. Once sent, only those are retried that
    repeating does not change: get, get_many, exists, ttl, set, set_with_expiry, set_many, scan.

    After a failover, a server that is no longer a master refuses writes (READONLY). Its connections
    are dropped, and the refused command is sent once more, on a new one. If that refuses too, the
    new connection stays, and the call raises CacheError.
    """

    def __init__(
        self,
        config: CacheConfig | None = None,
        *,
        clock: Clock | None = None,
        observer: _Observing | None = None,
    ) -> None:
        """Check the settings; connect on first use. The default is ``CacheConfig()``.

        The cache and the bus on this client use the ``observer`` too; see :class:`Observer`. Raises
        ConfigurationError for an invalid argument, or if redis-py is not installed.
        """
        if not isinstance(config, CacheConfig | None):
            raise ConfigurationError(
                "RedisClient takes a CacheConfig: RedisClient(CacheConfig(url=…))"
            )
        self._listeners: dict[_RedisListener, None] = {}  # a set, in order
        self._closed = False
        config = config or CacheConfig()
        is_cluster = _Url.parse(config.url).scheme.endswith("+cluster")
        self._clock = _clock(clock)
        self._observer: Observer | None = _observers(observer)
        self._transport = (_ClusterTransport if is_cluster else _RedisTransport)(
            config, self._clock, self._observer
        )
        self._policy = self._transport.policy
        self._send = self._transport.send
        _watch(self._observer, "redis", self)

    def _breakers(self) -> Mapping[str, CircuitBreaker]:
        servers = self._transport.servers()
        nodes = {"{}:{}".format(*one.address): one.breaker for one in servers if one.breaker}
        return nodes or super()._breakers()

    def close(self) -> None:
        self._closed = True
        # Listeners first: a running handler may use this client until it returns.
        for listener in list(self._listeners):
            listener.close()
        self._transport.close()

    def _holds(self) -> bool:
        return self.stats().open > 0 or any(listener._holds() for listener in list(self._listeners))

    def _get(self, key: str) -> str | None:
        value: str | None = _text(self._send("get", ("GET", key), key=key))
        return value

    def _get_many(self, keys: Sequence[str]) -> Sequence[str | None]:
        replies = self._transport.send_each("get_many", [("GET", key) for key in keys])
        return [*map(_text, replies)]

    def _set(self, key: str, value: str, ttl: int | None) -> None:
        self._send("set", ("SET", key, value, *_expiry(ttl)), key=key)

    def _set_many(self, pairs: Sequence[tuple[str, str]], ttl: int | None) -> None:
        commands = [("SET", key, value, *_expiry(ttl)) for key, value in pairs]
        for _ in self._transport.send_each("set_many", commands):
            pass

    def _set_nx(self, key: str, value: str, ttl: int | None) -> bool:
        return self._send("set_nx", ("SET", key, value, "NX", *_expiry(ttl)), key=key) is not None

    def _delete(self, command: str, keys: Sequence[str]) -> int:
        count = self._transport.KEYS_AT_ONCE if command == "UNLINK" else 1
        parts = [(command, *keys[start : start + count]) for start in range(0, len(keys), count)]
        return sum(self._transport.send_each("delete", parts, _PIPELINE // count))

    def _compare_and_delete(self, key: str, value: str) -> bool:
        command = ("EVAL", _COMPARE_AND_DELETE, 1, key, value)
        return bool(self._send("compare_and_delete", command, key=key))

    def _exists(self, key: str) -> bool:
        return bool(self._send("exists", ("EXISTS", key), key=key))

    def _pttl(self, key: str) -> int:
        return int(self._send("ttl", ("PTTL", key), key=key))

    def _pexpire(self, key: str, ttl: int) -> bool:
        return bool(self._send("expire", ("PEXPIRE", key, ttl), key=key))

    def _increment(self, key: str, amount: int, ttl: int | None) -> int:
        if ttl is None:
            return int(self._send("increment", ("INCRBY", key, amount), key=key))
        # A transaction: after a crash between INCR and EXPIRE the counter would never expire. Not
        # SET with NX and GET, which Redis 6.2 does not know.
        unit = ("MULTI",), ("SET", key, 0, "PX", ttl, "NX"), ("INCRBY", key, amount), ("EXEC",)
        return int(self._send("increment", *unit, key=key))

    def _scan(self, glob: str) -> Iterator[str]:
        pages = self._scan_pages(glob, *self._transport.nodes("scan"))
        first = next(pages)
        # A generator, because one ends at its first error.
        return (_text(key) for page in itertools.chain([first], pages) for key in page)

    def _scan_pages(
        self, glob: str, nodes: Sequence[_Address], until: float | None
    ) -> Iterator[Sequence[bytes]]:
        """Yield the keys of each page. ``until`` is the deadline of the first."""
        for node in nodes:
            cursor: Any = 0
            while cursor != "0":
                command = ("SCAN", cursor, "MATCH", glob, "COUNT", _PIPELINE)
                following, keys = self._transport.send_to(node, "scan", command, until)
                cursor, until = following.decode(), None
                yield keys

    def _publish(self, channel: str, message: str) -> int:
        return int(self._send("publish", ("PUBLISH", channel, message)))

    def listen(
        self, on_message: MessageHandler, on_reconnect: Callable[[], None] | None = None
    ) -> Listener:
        for listener in list(self._listeners):
            if listener._closed:
                self._listeners.pop(listener, None)
        listener = _RedisListener(self._transport, on_message, on_reconnect)
        listener._observer = self._observer
        self._listeners[listener] = None  # before it opens anything, so that close() finds it
        listener._start()
        if self._closed:  # meanwhile
            listener.close()
        return listener

    def health_check(self) -> Health:
        started = time.perf_counter()
        nodes, until = self._transport.nodes("health_check")
        command = ("INFO", "server")
        replies = [self._transport.send_to(node, "health_check", command, until) for node in nodes]
        latency = time.perf_counter() - started
        found = dict(re.findall(r"(\w+):(.*?)\r", _text(replies[-1])))
        name = "Valkey" if "valkey_version" in found else "Redis"
        mode = found.get("server_mode") or found.get("redis_mode")  # Valkey's name, and Redis's
        cluster = f", cluster of {len(nodes)}" if mode == "cluster" else ""
        version = found.get(f"{name.lower()}_version")
        return Health("redis", f"{name} {version}{cluster}", latency)

    def stats(self) -> PoolStats:
        stats = [server.pool.stats() for server in self._transport.servers()]
        total = PoolStats(*map(sum, zip(*map(astuple, stats))))
        return replace(total, longest_wait=max(one.longest_wait for one in stats))


@dataclass(eq=False, repr=False, slots=True)
class _ListenerCommand:
    """One SUBSCRIBE or UNSUBSCRIBE, or a PING without a name; the server's reply settles it."""

    word: str
    name: str = ""
    call: _ListenerCall | None = None  # None: of the listener itself
    settled: bool = False
    error: InfrastructureError | None = None

    @property
    def subscribes(self) -> bool:
        return self.word in ("SUBSCRIBE", "PSUBSCRIBE")

    @property
    def subscription(self) -> tuple[bool, str]:
        """Whether it is about a glob, and the name."""
        return self.word in ("PSUBSCRIBE", "PUNSUBSCRIBE"), self.name

    def reverse(self) -> _ListenerCommand:
        """Return the command that takes back a SUBSCRIBE."""
        return _ListenerCommand(self.word.replace("SUBSCRIBE", "UNSUBSCRIBE"), self.name)


class _ListenerCall:
    """A caller's commands, and an event: all of them are settled, or the listener was closed."""

    __slots__ = ("commands", "done")

    def __init__(self, word: str, names: Sequence[str]) -> None:
        self.done = _InterruptibleEvent()
        self.commands = [_ListenerCommand(word, name, self) for name in dict.fromkeys(names)]

    def is_settled(self) -> bool:
        return all(command.settled for command in self.commands)


class _Subscriptions:
    """The subscriptions of a listener, and the queues of commands that change them.

    Redis replies to the commands of a connection in order, once for each name. So the queue of sent
    commands tells which of them a reply is for.
    """

    def __init__(self) -> None:
        self.outgoing: deque[_ListenerCommand] = deque()  # to be sent
        self.sent: deque[_ListenerCommand] = deque()  # to be acknowledged
        self.is_connected = False
        #: the commands behind each subscription; None stands for those that were acknowledged
        self._reasons: dict[tuple[bool, str], set[_ListenerCommand | None]] = {}
        #: to be acknowledged after a reconnect; None: nothing to announce
        self._restoring: set[_ListenerCommand] | None = None
        # Guards the rest. Never held during I/O or a wait. Re-entrant: a signal handler or a
        # finalizer may change or close the listener in the middle of another change.
        self._lock = threading.RLock()

    def is_changing(self) -> bool:
        """Return whether this thread changes them: a signal handler has interrupted it."""
        # As threading.Condition does.
        return self._lock._is_owned()  # type: ignore[attr-defined, no-any-return]

    def begin(self, call: _ListenerCall, is_needed: Callable[[bool, str], bool]) -> None:
        """Queue the call's commands, without those to unsubscribe from a name that is needed."""
        with self._lock:
            call.commands = [
                command
                for command in call.commands
                if command.subscribes or not is_needed(*command.subscription)
            ]
            for command in call.commands:
                if command.subscribes:
                    self._reasons.setdefault(command.subscription, set()).add(command)
                else:
                    self._reasons.pop(command.subscription, None)
            self._enqueue(*call.commands)

    def conclude(self, call: _ListenerCall, *, failed: bool) -> None:
        """Keep a call's subscriptions; if it failed, remove those that no other call needs."""
        with self._lock:
            for command in call.commands:
                reasons = self._reasons.get(command.subscription, set())
                if command not in reasons:  # unsubscribed meanwhile
                    continue
                reasons.remove(command)
                if not failed:
                    reasons.add(None)
                elif not reasons:
                    del self._reasons[command.subscription]
                    if command.settled:
                        self._enqueue(command.reverse())

    def ping(self) -> None:
        with self._lock:
            self._enqueue(_ListenerCommand("PING"))

    def _enqueue(self, *commands: _ListenerCommand) -> None:
        if self.is_connected:
            self.outgoing.extend(commands)  # in one step, which no interrupt can halve
            return
        self.outgoing.extend([command for command in commands if command.subscribes])
        for command in commands:
            if not command.subscribes:
                self._settle(command)

    def disconnected(self) -> None:
        """Keep what was not acknowledged for the next connection."""
        with self._lock:
            self.is_connected = False
            unanswered = [*self.sent, *self.outgoing]
            self.sent, self.outgoing = deque(), deque()
            self._enqueue(*unanswered)

    def reconnected(self) -> None:
        """Queue all subscriptions again, before what was kept."""
        with self._lock:
            self.is_connected = True
            again = [
                _ListenerCommand("PSUBSCRIBE" if is_glob else "SUBSCRIBE", name)
                for is_glob, name in list(self._reasons)
            ]
            self._restoring = set(again)
            self.outgoing.extendleft(reversed(again))

    def acknowledge(self, error: InfrastructureError | None) -> None:
        """Settle the oldest command that was sent. Raises an error after which to reconnect."""
        with self._lock:
            if not self.sent:
                raise ConnectionError("redis answered what nobody asked")
            command = self.sent.popleft()
            is_restoring = command.subscribes and command.call is None
            if error is not None and error.retryable and is_restoring:
                raise error  # no caller waits: it is sent again on the next connection
            self._settle(command, error)

    def _settle(self, command: _ListenerCommand, error: InfrastructureError | None = None) -> None:
        command.settled, command.error = True, error
        if self._restoring is not None:
            self._restoring.discard(command)
        if command.subscribes and error is not None:
            self._reasons.pop(command.subscription, None)
            logger.warning("redis refused to subscribe: %s", error)
        elif command.subscribes and command.subscription not in self._reasons:
            self._enqueue(command.reverse())  # unsubscribed meanwhile
        if command.call is not None and command.call.is_settled():
            command.call.done.set()

    def are_restored(self) -> bool:
        """Return True once after a reconnect: all subscriptions are acknowledged again."""
        with self._lock:
            if self._restoring is None or self._restoring:
                return False
            self._restoring = None
            return True


class _RedisListener(Listener):
    """One thread that uses one connection, and opens a new one whenever that ends.

    Other threads queue commands for it and wake it: over TLS no two threads may use a socket at
    once, not even to read and to write. After ``QUIET`` socket timeouts of silence a PING shows
    whether the server still answers.
    """

    QUIET = 5

    def __init__(
        self,
        transport: _RedisTransport,
        on_message: MessageHandler,
        on_reconnect: Callable[[], None] | None,
    ) -> None:
        super().__init__(on_message, on_reconnect)
        self._transport, self._driver = transport, transport.driver
        self._subscriptions = _Subscriptions()
        self._calls: dict[_ListenerCall, None] = {}  # a set: those that wait
        self._has_received = False  # anything on this connection
        self._handling = False  # a handler runs: replies are read after it
        self._closed = False
        self._ending = _InterruptibleEvent()  # set when closed
        self._connection: Any = None
        self._socket: Any = None
        self._sleeper: Any = None
        self._waker: Any = None
        self._thread: threading.Thread | None = None

    def _start(self) -> None:
        """Connect, and start the thread. Once it runs, it closes everything that is open."""
        thread = threading.Thread(target=self._run, name="infra-listener", daemon=True)
        try:
            self._transport.policy.call("listen", self._connect)
            self._subscriptions.is_connected = True
            self._sleeper, self._waker = socket.socketpair()
            self._sleeper.setblocking(False)
            self._waker.setblocking(False)
            _fork_aware.add(self)
            self._check_open()
            self._thread = thread
            thread.start()
        except BaseException:
            self.close()
            if thread.ident is None:
                self._release()
            raise

    def _check_open(self) -> None:
        if self._closed:
            raise _closed("the listener", service="redis")

    def _release(self) -> None:
        """Close all sockets."""
        self._disconnect()
        for end in (self._sleeper, self._waker):
            if end is not None:
                end.close()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()

    def _holds(self) -> bool:
        return self._thread is not None and not self._closed

    def _forget_parent(self) -> None:
        self._subscriptions = _Subscriptions()
        self._closed, self._thread = True, None
        self._release()

    def _apply(self, command: str, names: Sequence[str]) -> None:
        is_own_thread = threading.current_thread() is self._thread
        # The listener's thread cannot wait for a reply, nor can a signal handler in the middle of
        # another change of its thread.
        waits = not is_own_thread and not self._subscriptions.is_changing()
        call, failed = _ListenerCall(command, names), True
        self._calls[call] = None
        try:
            self._check_open()  # once the call is listed: from here on close() ends it
            self._subscriptions.begin(call, self._is_needed)
            if waits:
                self._wake()
                self._await(call)
            elif is_own_thread:
                self._flush()
            failed = False
        finally:
            self._calls.pop(call, None)
            self._subscriptions.conclude(call, failed=failed)
            self._wake()

    def _await(self, call: _ListenerCall) -> None:
        if not call.is_settled():
            call.done.wait(self._driver.config.deadline)
        if self._closed:
            raise ConnectionError("the listener was closed", service="redis", retryable=False)
        error = next((command.error for command in call.commands if command.error), None)
        if not call.is_settled():
            why = ": a handler is still at work" if self._handling else ""
            error = TimeoutError(f"redis did not acknowledge in time{why}", service="redis")
        if error is not None:
            error.operation = call.commands[0].word.lower()
            raise error

    def _wake(self) -> None:
        """Let the thread send what is queued, and check whether it should end."""
        if self._waker is not None:
            with contextlib.suppress(OSError):  # enough wakes are queued, or the thread has ended
                self._waker.send(b"\0")

    def _flush(self) -> None:
        """Send what is queued. A failure ends the connection, which the next read notices."""
        subscriptions = self._subscriptions
        try:
            while subscriptions.is_connected and subscriptions.outgoing:
                command = subscriptions.outgoing.popleft()
                subscriptions.sent.append(command)
                words = (command.word, command.name) if command.name else (command.word,)
                self._socket.sendall(b"".join(_packed([words])))
        except OSError:
            self._shut_down()

    def _shut_down(self) -> None:
        """Wake the thread, which finds the connection ended."""
        if self._socket is None:
            return
        # Through another object for the same connection: the thread may be using its TLS.
        with contextlib.suppress(OSError), _twin_socket(self._socket) as twin:
            twin.shutdown(socket.SHUT_RDWR)

    def _end(self) -> None:
        self._closed = True
        self._ending.set()
        for call in list(self._calls):
            call.done.set()

    def close(self) -> None:
        # Without a lock: a signal handler may have interrupted the thread that holds it.
        self._end()
        self._wake()
        self._shut_down()
        thread = self._thread
        if thread is None or thread.ident is None or thread is threading.current_thread():
            return
        if not self._subscriptions.is_changing():  # else the thread waits for that change
            thread.join(self._driver.config.deadline)
            if thread.is_alive() and self._handling:
                logger.warning("a handler still runs after its listener was closed")

    def _run(self) -> None:
        failures = 0
        policy = self._transport.policy
        while not self._closed:
            reason = ""
            try:
                if self._connection is None:
                    policy.call("listen", self._connect, retries=0)
                    self._subscriptions.reconnected()
                policy.call("listen", self._session, retries=0, unguarded=True)
            except InfrastructureError as error:
                failures = 1 if self._has_received else failures + 1
                self._has_received = False
                reason = type(error).__name__
                if isinstance(error, TimeoutError) and self._connection is not None:
                    self._transport.report_silent(self._connection)
            except BaseException:
                logger.exception(
                    "the listener stops: a handler asked to exit, or the library has a defect"
                )
                self._end()
            self._subscriptions.disconnected()
            self._disconnect()
            if not self._closed:
                message = "listener lost its connection (%s); connecting again"
                _warn("redis", "listen", reason, message, reason, attempt=failures)
                self._ending.wait(policy.pause(failures))
        self._release()

    def _connect(self, attempt: Attempt) -> None:
        self._connection = self._transport.connect_listener(attempt)
        # redis-py drops its own reference as soon as the connection ends.
        self._socket = self._connection._sock

    def _session(self, attempt: Attempt) -> None:
        """Use one connection until it ends, which raises."""
        connection, now = self._connection, SystemClock.monotonic
        timeout = self._driver.config.socket_timeout
        attempt.note = connection.address
        self._announce_if_restored()
        connection.lift_deadline()
        heard_at, has_asked = now(), False
        with selectors.DefaultSelector() as selector:
            for readable in (self._socket, self._sleeper):
                selector.register(readable, selectors.EVENT_READ)
            while not self._closed:
                self._flush()
                left = heard_at + timeout * (self.QUIET + has_asked) - now()
                if connection.can_read(0):
                    self._receive(*connection.read_replies(1))
                    heard_at, has_asked = now(), False
                elif left > 0:
                    found = selector.select(min(left, _LONGEST / 1000))
                    if any(key.fileobj is self._sleeper for key, _ in found):
                        self._sleeper.recv(4096)
                elif has_asked:
                    raise TimeoutError("redis did not answer in time")
                else:
                    self._subscriptions.ping()
                    has_asked = True

    def _receive(self, reply: Any) -> None:
        self._has_received = True
        if isinstance(reply, list) and reply[0] in (b"message", b"pmessage"):
            self._handle(reply)
            return
        is_refusal = isinstance(reply, Exception)
        attempt = Attempt(0, SystemClock.monotonic)
        error = self._driver.errors.refused(reply, attempt) if is_refusal else None
        self._subscriptions.acknowledge(error)
        self._announce_if_restored()

    def _handle(self, reply: Sequence[Any]) -> None:
        try:
            pattern, channel, payload = (_text(raw) for raw in (None, *reply[1:])[-3:])
        except SerializationError:
            logger.warning("a message that is not UTF-8 was dropped")
            return
        self._handling = True
        self._deliver(channel, pattern, payload)
        self._handling = False

    def _announce_if_restored(self) -> None:
        """Call ``on_reconnect`` once all subscriptions stand again: no later message is missed."""
        if self._subscriptions.are_restored():
            self._announce_reconnect()


# === cache ========================================================================================


class _Missing(enum.Enum):
    """One value, equal to nothing that a cache can hold. It stays itself when copied or pickled."""

    MISSING = "MISSING"

    def __repr__(self) -> str:
        return self.name


#: the default of :meth:`CacheProvider.get` that tells an absent key from a cached None
MISSING = _Missing.MISSING
# Braces too: the author of a part must not choose the node of a cluster.
_TO_ESCAPE = _lazy(r"[%:*?\[\]\\{}\s]")
_GLOB_SIGNS = _lazy(r"[*?\[\]\\]")


_KeyPart: TypeAlias = "str | int | uuid.UUID"


class CacheKey:
    """Keys by one scheme, ``kind:part:part``.

    A part is text, an int or a UUID. In text, ``%``, ``:``, braces, blanks and the signs of globs
    are percent-encoded (RFC 3986 §2.1), so that different parts never make the same key. An int or
    a UUID is written as ``str`` does: ``user(1)`` and ``user("1")`` are one key. Raises
    ValidationError for a part that is empty, or holds a NUL or a lone surrogate.
    """

    @staticmethod
    def benchmark(benchmark_id: _KeyPart) -> str:
        """Return ``benchmark:<id>``."""
        return _joined_key("benchmark", benchmark_id)

    @staticmethod
    def leaderboard(benchmark_id: _KeyPart) -> str:
        """Return ``leaderboard:<benchmark's id>``."""
        return _joined_key("leaderboard", benchmark_id)

    @staticmethod
    def user(user_id: _KeyPart) -> str:
        """Return ``user:<id>``."""
        return _joined_key("user", user_id)

    @staticmethod
    def session(session_id: _KeyPart) -> str:
        """Return ``session:<id>``."""
        return _joined_key("session", session_id)

    @staticmethod
    def rate_limit(who: _KeyPart, action: _KeyPart) -> str:
        """Return ``ratelimit:<who>:<action>``."""
        return _joined_key("ratelimit", who, action)


def _joined_key(kind: str, *parts: _KeyPart) -> str:
    return ":".join([kind, *map(_key_part, parts)])


def _key_part(part: object) -> str:
    import urllib.parse

    part = _plain(part)
    if isinstance(part, uuid.UUID) or type(part) is int:
        return str(part)
    text = _check_text("a part of a key", part, empty=False)  # type: ignore[arg-type]
    return _TO_ESCAPE.sub(lambda sign: urllib.parse.quote(sign[0], safe=""), text)


@dataclass(frozen=True, eq=False, repr=False)
class RateLimit(_ByValue):
    """The result of :meth:`CacheProvider.check_rate_limit`.

    Args:
        allowed: whether the call is within the limit.
        remaining: calls left in this window.
        limit: calls allowed in a window.
        reset_at: when the window ends, in UTC.
        retry_after: seconds to wait; 0.0 if the call is allowed.

    Both times may be a millisecond longer than needed: the window has surely ended then.
    """

    allowed: bool
    remaining: int
    limit: int
    reset_at: datetime
    retry_after: float


def _this_thread() -> tuple[int, int]:
    return os.getpid(), threading.get_ident()


@dataclass(eq=False, repr=False)
class _LockTurn:
    """A thread's turn with a lock. Other threads of its process wait for its end, not at Redis."""

    owner: tuple[int, int] = field(default_factory=_this_thread)
    expires: float = math.inf  # by the cache's clock: then the lock may be another's
    ended: _InterruptibleEvent = field(default_factory=_InterruptibleEvent)
    text: str | None = None  # the value that it has filled, for the threads that wait
    #: Redis did not answer it: the threads that wait need not ask one by one
    outage: CacheError | None = None


class _LockTurns:
    """The turns of this process, by the lock's name."""

    def __init__(self) -> None:
        self._forget_parent()
        _fork_aware.add(self)

    def _forget_parent(self) -> None:
        self._guard = threading.RLock()  # re-entrant: a signal handler may use the cache
        # Weak references: a turn whose owner has died is garbage.
        self._turns: weakref.WeakValueDictionary[str, _LockTurn] = weakref.WeakValueDictionary()

    def begin(self, name: str, turn: _LockTurn, now: float) -> _LockTurn | None:
        """Begin the turn, or return that of another thread, to wait for.

        A thread that has the lock already does not wait here: it would wait for itself.
        """
        with self._guard:
            other = self._turns.get(name)
            if other is None or other.expires <= now:
                self._turns[name] = turn
                return None
            return None if other.owner == turn.owner else other

    def end(self, name: str, turn: _LockTurn) -> None:
        with self._guard:
            if self._turns.get(name) is turn:
                del self._turns[name]
        turn.ended.set()

    def has_own(self, name: str) -> bool:
        """Return whether this thread has the lock."""
        turn = self._turns.get(name)
        return turn is not None and turn.owner == _this_thread()


def _raise_again(error: CacheError) -> NoReturn:
    """Raise the client's error of another thread in this one."""
    raise copy.copy(error.__cause__ if error.service == "cache" and error.__cause__ else error)


_LockCheck: TypeAlias = Callable[["_LockTurn | None"], bool]


class CacheLock:
    """A lock between threads and processes, made by :meth:`CacheProvider.lock`.

        with cache.lock("nightly report", ttl=60, timeout=5):
            …

    It is free once released, and at the latest ``ttl`` seconds after it was acquired: its owner may
    have died. If the owner still works then, two owners use the resource at once: choose a
    ``ttl`` well above the longest work. A late owner never releases the next one's lock. Not
    reentrant. Threads may share one object: each acquires and releases for itself.

    Args:
        cache: where the lock is.
        name: its key in Redis.
        ttl: the seconds that it is held at most.
        timeout: the seconds that ``with`` and ``acquire()`` wait at most.
        ask: how it calls Redis; by default as ``lock`` of the cache.
    """

    POLL = 0.05  # seconds between two questions to Redis whether another process is done

    def __init__(
        self,
        cache: CacheProvider,
        name: str,
        ttl: float,
        timeout: float,
        ask: Callable[..., Any] | None = None,
    ) -> None:
        self._cache, self._name = cache, name
        self._ttl, self._timeout = ttl, timeout
        self._ask = ask or functools.partial(cache._ask, "lock")
        self._held = threading.local()

    def acquire(self, timeout: float | None = None) -> bool:
        """Wait for the lock, and return whether it was acquired.

        ``timeout``: seconds to wait at most (0: not at all; None: the lock's own). Raises
        CacheError if Redis does not answer. A lock whose reply was lost may stay for its ttl.
        """
        wait = self._timeout if timeout is None else _TTL_OR_0.check("timeout", timeout)
        return self._acquire(wait) is not None

    def release(self) -> bool:
        """Release the lock; return whether it was still this thread's.

        False if its ttl has passed, or this thread never had it (a forked child does not have what
        its parent has). Raises CacheError if Redis does not answer: the lock then stays for the
        rest of its ttl.
        """
        token, turn = vars(self._held).pop("lock", (None, None))
        if turn is None or turn.owner != _this_thread():
            return False
        try:
            return bool(self._ask(self._cache._client.compare_and_delete, self._name, token))
        finally:
            self._cache._turns.end(self._name, turn)

    def __enter__(self) -> CacheLock:
        """Acquire the lock. Raises TimeoutError if it was not free in time."""
        if not self.acquire():
            raise TimeoutError(
                f"the lock was not free within {self._timeout:g} s",
                service="cache",
                operation="lock",
            )
        return self

    def __exit__(self, *_: object) -> None:
        """Release the lock. Never raises, because the work is done: logs a WARNING instead."""
        try:
            if hasattr(self._held, "lock") and not self.release():
                message = "a lock was not its owner's any more: another may have had it meanwhile"
                _warn("cache", "lock", "lost", message)
        except CacheError as error:
            message = "a lock stays for the rest of its ttl: %s"
            _warn("cache", "lock", "CacheError", message, error)

    def _acquire(
        self, timeout: float, is_unneeded: _LockCheck = lambda other: False
    ) -> _LockTurn | None:
        """Return this thread's turn; None if the lock was not free in time, or is not needed.

        ``is_unneeded`` is called after each wait, with the turn that ended if it was one of this
        process.
        """
        turn, token = _LockTurn(), os.urandom(16).hex()
        acquired = False
        try:
            left = self._wait_in_process(turn, timeout, is_unneeded)
            if left is None or not self._wait_at_redis(token, left, is_unneeded):
                return None
            turn.expires = self._cache._clock.monotonic() + self._ttl
            self._held.lock = token, turn
            acquired = True
            return turn
        except CacheError as error:
            turn.outage = error
            raise
        finally:
            if not acquired:
                self._cache._turns.end(self._name, turn)

    def _wait_in_process(
        self, turn: _LockTurn, left: float, is_unneeded: _LockCheck
    ) -> float | None:
        """Wait for the turns of other threads; return the seconds left, or None to give up."""
        turns, clock = self._cache._turns, self._cache._clock
        while other := turns.begin(self._name, turn, clock.monotonic()):
            started = SystemClock.monotonic()
            other.ended.wait(min(left, other.expires - clock.monotonic()))
            if is_unneeded(other) or (left <= 0 and not other.ended.is_set):
                return None
            if other.outage is not None:
                self._ask(_raise_again, other.outage)
            left -= SystemClock.monotonic() - started
        return left

    def _wait_at_redis(self, token: str, left: float, is_unneeded: _LockCheck) -> bool:
        """Wait for other processes; return whether the lock was acquired."""
        client, clock = self._cache._client, self._cache._clock
        until = clock.monotonic() + left
        # None means that a cache that fails open got no answer: the wait ends.
        while self._ask(client.set_nx, self._name, token, self._ttl) is False:
            left = min(left, until - clock.monotonic())
            if left > 1e-6:  # less is lost when clocks round
                clock.sleep(min(left, self.POLL))
            if is_unneeded(None) or left <= 1e-6:
                return False
            left -= self.POLL  # the caller's own clock may stand still
        return True


class _Fill:
    """One call of ``get_or_set``. After a failure it asks Redis no more: each costs a deadline."""

    def __init__(self, cache: CacheProvider, name: str, seconds: float | None) -> None:
        self._cache, self._name, self._seconds = cache, name, seconds
        self._outage: CacheError | None = None
        self.text: str | None = None

    def ask(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Return the client's answer, or None if Redis does not answer a cache that fails open."""
        if self._outage is not None:
            return None
        try:
            return self._cache._ask("get_or_set", call, *arguments)
        except CacheError as error:
            self._outage = error
            self._cache._log_outage_or_raise("get_or_set", error)
            return None

    def is_filled(self, turn: _LockTurn | None = None) -> bool:
        """Look for the value, in a turn that has ended or else in Redis."""
        self.text = turn.text if turn else self.ask(self._cache._client.get, self._name)
        return self.text is not None

    def run(self, lock: CacheLock, factory: Callable[[], Any]) -> None:
        """Fill the key, unless another thread or process does."""
        # A factory that asks for its own key does not wait for itself.
        is_own = self._cache._turns.has_own(lock._name)
        turn = None if is_own else lock._acquire(lock._timeout, self.is_filled)
        is_locked = self._outage is None
        try:
            # Another may have filled it before the lock was acquired.
            if self.text is None and not (turn and self.is_filled()):
                self.text = _document("value", factory()).text
                self.ask(self._cache._put, self._name, self.text, self._seconds)
            if turn:
                turn.text = self.text
        finally:
            if turn:
                turn.outage = self._outage
                if is_locked and self._outage is not None and self._outage.service != "cache":
                    self._outage = None  # Redis answers, but refused the value: it has the lock
                # The value, or the factory's error, matters more.
                with contextlib.suppress(CacheError):
                    lock.release()


def _late_expiry(client: KeyValueClient) -> float:
    return getattr(client, "_late_expiry", KeyValueClient._late_expiry)


def _time_left(client: KeyValueClient, counter: str, window: float) -> float:
    """Return the seconds after which a counter has surely expired: above 0, as it may just have."""
    left = client.ttl(counter)
    if left == math.inf:  # made without expiry, by another program
        client.expire(counter, window)
        left = window
    return max((left or 0) + _late_expiry(client), 0.001)


def _check_client(client: KeyValueClient) -> KeyValueClient:
    # A caller's own class around another client will do.
    if isinstance(client, type) or not callable(getattr(client, "set_with_expiry", None)):
        raise ValidationError("client should be a KeyValueClient, such as a RedisClient")
    return client


class CacheProvider:
    """A port: JSON values under keys, for a while, with counters, locks and rate limits.

    Values are None, True, False, finite numbers, text, lists, and dicts with text keys, nested in
    at most 100 levels, and come back as they were. All else raises SerializationError, before
    anything is sent. Text that holds a NUL raises ValidationError. Values that come out are copies.
    A value in Redis that is no JSON raises SerializationError.

    Keys are as :class:`KeyValueClient`'s, and do not begin with ``~``: those are the cache's own,
    for locks and rate limits. ``ttl`` is in seconds, rounded up to milliseconds; None stands for
    ``default_ttl``, 0 for no expiry.

    If Redis does not answer, a call raises CacheError within the client's deadline. Its
    ``__cause__`` is the client's ConnectionError or TimeoutError. With ``fail_open`` the call logs
    a WARNING instead, and returns the result of an empty cache (None, False, 0, nothing stored).
    That does not hold for ``set_nx``, ``increment``, locks and rate limits, on whose results
    callers rely. If Redis refuses, the call raises the client's CacheError. Threads may share a
    cache. It does not close the client.

    Args:
        client: where the values are.
        prefix: text before each key, unchanged; may be empty. None should begin with another one.
        default_ttl: the ``ttl`` of calls without one (0: no expiry).
        fail_open: whether a Redis that does not answer counts as an empty cache.
        clock: for the times in a RateLimit, and for the waits between two questions to Redis.

    The constructor raises ValidationError or ConfigurationError for an invalid argument.
    """

    if not TYPE_CHECKING:
        down = _FakeOnlyAttribute()

    def __init__(
        self,
        client: KeyValueClient,
        prefix: str = "",
        *,
        default_ttl: float = 3600.0,
        fail_open: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._default_ttl = _TTL_OR_0.check("default_ttl", default_ttl)
        self._client = _check_client(client)
        self._prefix = _check_text("prefix", prefix, blank_ends=False)
        self._fail_open = _FLAG.require("fail_open", fail_open)
        self._clock = _clock(clock, getattr(client, "_clock", None))
        self._observer: Observer | None = getattr(client, "_observer", None)
        self._turns = _LockTurns()

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value, or ``default`` if the key is absent.

        ``MISSING`` as the default tells an absent key from a cached None.
        """
        text = self._try("get", None, self._client.get, self._name(key))
        if self._observer is not None:
            self._count_hits(text is not None)
        return default if text is None else _value_of(text, "get")

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the values of those keys that exist. Not atomic: one pipeline of single reads."""
        names = {self._name(key): key for key in map(_plain, _check_many("keys", keys))}
        nothing: dict[str, str] = {}
        texts = self._try("get_many", nothing, self._client.get_many, names)
        self._count_hits(len(texts), len(names))
        return {names[name]: _value_of(text, "get_many") for name, text in texts.items()}

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        """Store the value. It replaces the key's earlier value and expiry."""
        name, text, seconds = self._name(key), _document("value", value).text, self._seconds(ttl)
        self._try("set", None, self._put, name, text, seconds)

    def set_many(self, items: Mapping[str, Any], ttl: float | None = None) -> None:
        """Store each item as ``set`` does.

        All items are checked before the first is sent. Not atomic: one pipeline of single writes.
        """
        _MAPPING.check("items", items)
        texts = {self._name(key): _document("value", value).text for key, value in items.items()}
        self._try("set_many", None, self._client.set_many, texts, self._seconds(ttl))

    def set_nx(self, key: str, value: Any, ttl: float | None = None) -> bool:
        """Store only if the key is absent; return whether it was. Never retried once sent."""
        name, text, seconds = self._name(key), _document("value", value).text, self._seconds(ttl)
        return self._ask("set_nx", self._client.set_nx, name, text, seconds)

    def delete(self, key: str) -> bool:
        """Remove the key and the rate limit under it; return whether one of them existed."""
        names = self._name(key), self._name(key, "~limit:")
        return self._try("delete", 0, self._client.unlink_many, names) > 0

    def delete_pattern(self, glob: str) -> int:
        """Remove the keys that match, in batches; return their number.

        ``glob`` is one of Redis (see :meth:`KeyValueClient.scan`) for the part behind the prefix.
        Keys of other prefixes, locks and rate limits stay. With an empty prefix it covers all keys
        of the database, also verification codes and those of other programs.

        Not atomic: a key created meanwhile may stay. The deadline is that of each batch. With
        ``fail_open`` the number is that of the keys removed before Redis stopped answering.
        """
        glob = _GLOB_SIGNS.sub(r"\\\g<0>", self._prefix) + _check_text("glob", glob, empty=False)
        own, removed = self._prefix + "~", 0

        def remove() -> None:
            nonlocal removed
            found = self._client.scan(glob)
            while batch := [*itertools.islice(found, _PIPELINE)]:
                removed += self._client.unlink_many(
                    name for name in batch if not name.startswith(own)
                )

        self._try("delete_pattern", None, remove)
        return removed

    def exists(self, key: str) -> bool:
        """Return whether the key exists."""
        return self._try("exists", False, self._client.exists, self._name(key))

    def ttl(self, key: str) -> float | None:
        """Return the seconds until the key expires, as :meth:`KeyValueClient.ttl` does."""
        return self._try("ttl", None, self._client.ttl, self._name(key))

    def expire(self, key: str, ttl: float) -> bool:
        """Set the time until expiry (above 0), from now; return whether the key exists."""
        name = self._name(key)
        _milliseconds(ttl, "ttl")
        return self._try("expire", False, self._client.expire, name, ttl)

    def increment(self, key: str, amount: int = 1, ttl: float | None = None) -> int:
        """Add to the integer under the key as :meth:`KeyValueClient.increment` does."""
        return self._ask(
            "increment", self._client.increment, self._name(key), amount, self._seconds(ttl)
        )

    def get_or_set(
        self,
        key: str,
        factory: Callable[[], Any],
        ttl: float | None = None,
        *,
        timeout: float = 10.0,
    ) -> Any:
        """Return the value or, if absent, that of ``factory()``, stored as ``set`` does.

        Of all threads and processes that find the key absent at once, one calls its factory. The
        others wait for that, at most ``timeout`` seconds, and then call their own. If a factory
        raises, its caller gets the error, and a waiter calls its own. A process that dies in its
        factory holds up others for ``timeout`` seconds too.

        With ``fail_open`` and a Redis that does not answer, the threads of this process still share
        one call. Nothing is stored.
        """
        fill = _Fill(self, self._name(key), self._seconds(ttl))
        lock_ttl = max(_TTL_OR_0.check("timeout", timeout), 0.001)
        _check_function("factory", factory, "no arguments")
        found = fill.is_filled()
        self._count_hits(found)
        if not found:
            lock = CacheLock(self, self._name(key, "~fill:"), lock_ttl, timeout, fill.ask)
            fill.run(lock, factory)
        return _value_of(fill.text, "get_or_set")

    def lock(self, key: str, ttl: float, timeout: float = 10.0) -> CacheLock:
        """Return a lock of that name, not acquired yet; see :class:`CacheLock`.

        It is held at most ``ttl`` seconds, and waited for at most ``timeout`` seconds (0: not at
        all). Entering raises TimeoutError if it was not free in time, and CacheError if Redis does
        not answer. A value under the same key does not matter.
        """
        _milliseconds(ttl, "ttl")
        name = self._name(key, "~lock:")
        return CacheLock(self, name, ttl, _TTL_OR_0.check("timeout", timeout))

    def check_rate_limit(self, key: str, limit: int, window: float) -> RateLimit:
        """Count this call; return whether it is among the first ``limit`` of its window.

        A window lasts ``window`` seconds from its first call. Refused calls count too, and prolong
        nothing. ``delete`` resets the counter; ``delete_pattern`` does not. A value under the same
        key does not matter. Never retried once sent.
        """
        name = self._name(key, "~limit:")
        _COUNT.check("limit", limit)
        _milliseconds(window, "window")
        count = self._ask("check_rate_limit", self._client.increment, name, 1, window)
        if count == 1:
            left = window + _late_expiry(self._client)
        else:
            left = self._ask("check_rate_limit", _time_left, self._client, name, window)
        allowed = count <= limit
        remaining = min(max(0, limit - count), limit)
        reset_at = _later(self._clock.now(), timedelta(seconds=left))
        return RateLimit(allowed, remaining, limit, reset_at, 0.0 if allowed else left)

    def _count_hits(self, hits: int, asked: int = 1) -> None:
        _count(self._observer, "cache", "cache_hits", int(hits))
        _count(self._observer, "cache", "cache_misses", asked - hits)

    def _name(self, key: str, purpose: str = "") -> str:
        key = _check_key(key)
        if key[0] == "~":
            raise ValidationError("key should not begin with ~")
        return self._prefix + purpose + key

    def _seconds(self, ttl: float | None) -> float | None:
        ttl = self._default_ttl if ttl is None else _TTL_OR_0.check("ttl", ttl)
        return ttl or None

    def _put(self, name: str, text: str, seconds: float | None) -> None:
        if seconds is None:
            self._client.set(name, text)
        else:
            self._client.set_with_expiry(name, text, seconds)

    def _ask(self, operation: str, call: Callable[..., T], *arguments: Any) -> T:
        """Return the client's answer. Raises CacheError if there is none."""
        try:
            return call(*arguments)
        except (ConnectionError, TimeoutError) as error:
            raise CacheError(
                f"the cache does not answer: {error}",
                service="cache",
                operation=operation,
                retryable=error.retryable,
            ) from error

    def _try(self, operation: str, instead: T, call: Callable[..., T], *arguments: Any) -> T:
        """Return the client's answer. Without one, a cache that fails open returns ``instead``."""
        try:
            return self._ask(operation, call, *arguments)
        except CacheError as error:
            self._log_outage_or_raise(operation, error)
            return instead

    def _log_outage_or_raise(self, operation: str, error: CacheError) -> None:
        """Log an outage if this cache fails open. Raises any other error."""
        # Redis did not answer, or is full, a replica, … for the moment.
        is_outage = error.service == "cache" or error.retryable
        if not (self._fail_open and is_outage):
            raise error
        outcome = type(error.__cause__ or error).__name__
        message = "%s goes on without the cache: %s"
        _warn("cache", operation, outcome, message, operation, error)


def _value_of(text: Any, operation: str) -> Any:
    try:
        return _parse_json(text)
    except (ValueError, RecursionError):
        pass
    # Not in the except block: the cause would quote the value.
    raise SerializationError(
        "Redis holds a value that is not JSON", service="cache", operation=operation
    )


class RedisCacheProvider(CacheProvider):
    """The cache on a client of Redis, or on another KeyValueClient."""


# === verification =================================================================================


def generate_code(digits: int = 6) -> str:
    """Return a random code of 6 to 10 decimal digits.

    Fewer can be guessed. NIST SP 800-63B §5.1.3 asks for 20 bits or a limit on attempts: six digits
    have 19.9, and VerificationCache limits attempts. Raises ValidationError for another number.
    """
    _check_range("digits", digits, 6, 10)
    import secrets

    return f"{secrets.randbelow(10**digits):0{digits}}"


def _sends_codes(sms: object) -> bool:
    """Return whether it has the method, or forwards to another object. Calls nothing of it."""
    found = inspect.getattr_static(sms, "send_verification_code", None)
    answers = found is not None or hasattr(type(sms), "__getattr__")
    return not isinstance(sms, type) and answers and not _is_deferred(found)


def _is_unsent(error: Exception) -> bool:
    """Return whether an error of a service says that it has certainly sent nothing."""
    if isinstance(error, SmsError):
        return error.outcome == "rejected"
    return isinstance(error, (ConnectionError, ConfigurationError))


#: ``<lifetime in milliseconds>-<random>:<digest>``; no lifetime is longer than a century
_STORED_CODE = _lazy("(([1-9][0-9]{0,12})-[0-9a-f]{16}):([0-9a-f]{64})")
_COUNTED = _lazy("0|-?[1-9][0-9]{0,17}")  # INCR accepts it, and one more


@contextlib.contextmanager
def _log_failure(warning: str) -> Iterator[None]:
    """Log a failure of the client. The caller's own result, or error, matters more."""
    try:
        yield
    except InfrastructureError as error:
        logger.warning("%s: %s", warning, type(error).__name__)


class _PhoneKeys(NamedTuple):
    """The keys of one phone in Redis, which do not show its number."""

    number: str
    code: str


class VerificationCache:
    """One-time codes for phone numbers, in Redis or its fake.

    A code works once, for ``code_ttl`` seconds. It is compared with at most ``max_attempts``
    guesses, however many threads and processes guess at once. Wrong guesses never prolong it. A
    guess never removes a newer code. Keys and values hold neither phone nor code.

    Args:
        client: where codes are kept.
        key: the hash key, 32 bytes or more, the same in every process that shares codes. Without
            one the instance makes a random key, so that only itself can check its codes, and logs a
            WARNING.
        code_ttl: seconds that a code is valid (NIST SP 800-63B: at most 600).
        max_attempts: guesses per code.
        resend_after: seconds between two codes sent to one phone; 0: no limit.
        max_codes: codes sent to one phone in ``window`` seconds; 0: no limit.
        window: seconds, counted from the first of those codes, and from the first of those guesses.
        max_guesses: wrong guesses at one phone's codes in ``window`` seconds, over all its codes;
            0: no limit. Guesses without a code, or beyond its ``max_attempts``, are not compared
            and do not count.

    Every method takes the phone in any form that :func:`normalize_phone` does, raises
    ValidationError for another, and raises the client's errors. The constructor raises
    ConfigurationError for a key that is too short, and ValidationError for another argument.
    """

    if not TYPE_CHECKING:
        down = _FakeOnlyAttribute()

    def __init__(
        self,
        client: KeyValueClient,
        key: str | bytes | None = None,
        code_ttl: float = 300,
        max_attempts: int = 3,
        resend_after: float = 30,
        max_codes: int = 5,
        window: float = 3600,
        max_guesses: int = 10,
    ) -> None:
        self._client = _check_client(client)
        self._max_attempts = _COUNT.check("max_attempts", max_attempts)
        self._resend_after = _TTL_OR_0.check("resend_after", resend_after)
        self._max_codes = _COUNT_OR_0.check("max_codes", max_codes)
        self._max_guesses = _COUNT_OR_0.check("max_guesses", max_guesses)
        _milliseconds(code_ttl, "code_ttl")
        _milliseconds(window, "window")
        if key is None:
            logger.warning(
                "VerificationCache has no key: only this instance can check the codes it stores; "
                "set PHONE_HASH_KEY"
            )
            key = os.urandom(32)
        self._key = _key_bytes(key)
        self._code_ttl, self._window = code_ttl, window

    def store_code(self, phone: str, code: str) -> None:
        """Make ``code`` (1 to 64 characters) the phone's only valid one, without used attempts."""
        self._store(self._keys(phone), self._check_code(code))

    def verify_code(self, phone: str, code: str) -> bool:
        """Return whether ``code`` is the phone's valid code; if so it is used up.

        Each call costs an attempt, also one whose reply was lost. Raises RateLimitedError beyond
        ``max_guesses``, also for the right code.
        """
        keys, code = self._keys(phone), self._check_code(code)
        import hmac

        stored = self._get(keys.code)
        if stored is None:
            return False
        generation, lifetime, digest = self._parts_of(stored)
        guesses = f"{keys.code}:guesses"
        if not self._left(self._max_guesses, guesses):
            self._refuse({guesses: self._window}, "guesses")
        # Counted before the comparison: each concurrent guess gets its own number. The count lives
        # as long as the code, which another instance with another code_ttl may have stored.
        attempt = self._increment(f"{keys.code}:attempts:{generation}", ttl=lifetime)
        if attempt > self._max_attempts:
            return False
        if self._max_guesses and self._increment(guesses, ttl=self._window) > self._max_guesses:
            self._refuse({guesses: self._window}, "guesses")
        if not hmac.compare_digest(digest, self._digest(keys, generation, code)):
            return False
        # One of several right guesses removes the code. A newer code has another generation.
        used_up = self._client.compare_and_delete(keys.code, stored)
        if used_up and self._max_guesses:
            with _log_failure("a right guess counts as a wrong one"):
                self._client.increment(guesses, -1, ttl=self._window)
        return used_up

    def get_remaining_attempts(self, phone: str) -> int:
        """Return the guesses left for the stored code, and for the phone; 0 without a code."""
        keys = self._keys(phone)
        stored = self._get(keys.code)
        if stored is None:
            return 0
        attempts = f"{keys.code}:attempts:{self._parts_of(stored)[0]}"
        left = self._left(self._max_attempts, attempts)
        return int(min(left, self._left(self._max_guesses, f"{keys.code}:guesses")))

    def _left(self, limit: int, counter: str) -> float:
        """Return the uses that are left; ``math.inf`` if ``limit`` is 0, which means no limit."""
        return max(0, limit - self._count(counter)) if limit else math.inf

    def _count(self, name: str) -> int:
        used = self._get(name)
        if used is not None and not _COUNTED.fullmatch(used):
            raise self._foreign()
        return int(used or 0)

    def _increment(self, name: str, *, ttl: float) -> int:
        try:
            return self._client.increment(name, ttl=ttl)
        except CacheError as error:
            if not error.retryable:
                self._count(name)  # raises if another program's value is in the way
            raise

    def _get(self, name: str) -> str | None:
        try:
            return self._client.get(name)
        except (CacheError, SerializationError) as error:
            if isinstance(error, CacheError) and error.code != "WRONGTYPE":
                raise
            raise self._foreign() from error

    @classmethod
    def _parts_of(cls, stored: str) -> tuple[str, float, str]:
        """Return a stored code's generation, its lifetime in seconds, and its digest."""
        found = _STORED_CODE.fullmatch(stored)
        if found is None:
            raise cls._foreign()
        generation, milliseconds, digest = found.groups()
        return generation, int(milliseconds) / 1000, digest

    @staticmethod
    def _foreign() -> CacheError:
        return CacheError(
            "a key of verification codes holds a value that another program has stored: keep other "
            "programs away from keys that begin with verification:",
            service="verification",
        )

    def code_exists(self, phone: str) -> bool:
        """Return whether a code is stored, neither expired nor used; no attempts may be left."""
        return self._client.exists(self._keys(phone).code)

    def get_code_ttl(self, phone: str) -> float | None:
        """Return the seconds until the stored code expires; None without a code."""
        return self._client.ttl(self._keys(phone).code)

    def clear(self, phone: str) -> None:
        """Remove the phone's code, if there is one. The limits on sending stay."""
        self._client.delete(self._keys(phone).code)

    def send_code(self, sms: SmsService, phone: str) -> str:
        """Generate a code, store it, send it through ``sms``, and return the message id.

        Raises RateLimitedError within ``resend_after`` or beyond ``max_codes``: the earlier code
        stays valid. If the message was surely not sent (SmsError "rejected", ConnectionError,
        ConfigurationError, ValidationError), the code is removed. After any other error it stays,
        because the message may arrive. A failed send counts towards the limits too. A service that
        is closed raises ConnectionError before anything is stored or counted.
        """
        keys = self._keys(phone)
        if not _sends_codes(sms):
            raise ValidationError("sms should be an SmsService")
        if hasattr(type(sms), "is_available") and not sms.is_available():
            raise ConnectionError(
                "the SMS service is closed, or would not try to send: no code is stored",
                service="sms",
                operation="send_verification_code",
                retryable=False,
            )
        self._check_limits(keys)
        code = generate_code()
        stored = self._store(keys, code)
        try:
            return _not_deferred(sms.send_verification_code(keys.number, code))
        except Exception as error:
            if isinstance(error, ValidationError) or _is_unsent(error):
                with _log_failure("a code whose message failed stays stored"):
                    self._client.compare_and_delete(keys.code, stored)  # not a newer one
            raise

    def _check_limits(self, keys: _PhoneKeys) -> None:
        resend, window = f"{keys.code}:resend", f"{keys.code}:window"
        if self._resend_after and self._increment(resend, ttl=self._resend_after) > 1:
            limits = {resend: self._resend_after}
            if not self._left(self._max_codes, window):
                limits[window] = self._window
            self._refuse(limits)
        if self._max_codes and self._increment(window, ttl=self._window) > self._max_codes:
            self._client.delete(resend)  # nothing is sent, so there is no time to wait after it
            self._refuse({window: self._window})

    def _refuse(self, limits: Mapping[str, float], what: str = "codes") -> NoReturn:
        """Raise RateLimitedError. ``limits``: counters, and their windows in seconds."""
        wait = max(_time_left(self._client, name, seconds) for name, seconds in limits.items())
        left = max(1, math.ceil(wait - _late_expiry(self._client)))
        raise RateLimitedError(
            f"too many {what} for this phone: try again in {left} s",
            service="verification",
            retry_after=wait,
        )

    def _store(self, keys: _PhoneKeys, code: str) -> str:
        generation = f"{_milliseconds(self._code_ttl)}-{os.urandom(8).hex()}"
        stored = f"{generation}:{self._digest(keys, generation, code)}"
        self._client.set_with_expiry(keys.code, stored, self._code_ttl)
        return stored

    def _keys(self, phone: str) -> _PhoneKeys:
        number = normalize_phone(phone)
        # As ``hash_phone`` makes it.
        return _PhoneKeys(number, f"verification:{_hmac_digits(self._key, number)}")

    def _digest(self, keys: _PhoneKeys, generation: str, code: str) -> str:
        return _hmac_digits(self._key, f"code:{keys.number}:{generation}:{code}")

    @staticmethod
    def _check_code(code: str) -> str:
        return _check_text("code", code, blank_ends=False, empty=False, longest=64)


# === storage ======================================================================================


class StoragePath:
    """Keys of the benchmark exchange's objects.

    Raises ValidationError for a part that is empty, holds "/", or is "." or "..", so that
    different parts never make the same key.
    """

    @staticmethod
    def benchmark_dataset(benchmark: str | uuid.UUID, version: str, name: str) -> str:
        """Return ``benchmarks/<benchmark>/<version>/<name>``."""
        return StoragePath._joined("benchmarks", benchmark, version, name)

    @staticmethod
    def submission_results(submission: str | uuid.UUID, name: str) -> str:
        """Return ``submissions/<submission>/<name>``."""
        return StoragePath._joined("submissions", submission, name)

    @staticmethod
    def user_avatar(user: str | uuid.UUID, name: str) -> str:
        """Return ``avatars/<user>/<name>``."""
        return StoragePath._joined("avatars", user, name)

    @staticmethod
    def verification_artifacts(verification: str | uuid.UUID, name: str) -> str:
        """Return ``verifications/<verification>/<name>``."""
        return StoragePath._joined("verifications", verification, name)

    @staticmethod
    def _joined(*parts: str | uuid.UUID) -> str:
        texts = [str(_plain(part)) if isinstance(part, uuid.UUID) else part for part in parts]
        names = [_check_key(text, "a part of a key") for text in texts]
        if any("/" in name or name in (".", "..") for name in names):
            raise ValidationError('a part of a key should not hold "/", nor be "." or ".."')
        return _check_object_key("/".join(names))


@dataclass(frozen=True, eq=False, repr=False)
class ObjectSummary(_ByValue):
    """An object in a list.

    ``size`` is in bytes, ``last_modified`` in UTC and whole seconds, as S3 stores it. ``etag``,
    without quotes, is the MD5 of the bytes, except for multipart uploads and encrypted objects.
    """

    key: str
    size: int
    etag: str
    last_modified: datetime


@dataclass(frozen=True, eq=False, repr=False)
class ObjectMetadata(_ByValue):
    """An object's metadata. ``metadata`` is the caller's own, its names in lower case."""

    size: int
    content_type: str
    last_modified: datetime
    etag: str
    metadata: dict[str, str]


@dataclass(frozen=True, eq=False, repr=False)
class DeleteResult(_ByValue):
    """The deleted keys, in the order given, and the store's error code for each other key."""

    deleted: list[str]
    errors: dict[str, str]


_MIB = 1 << 20
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html; CopyObject has the same limit.
_PART_SIZE = _Validator(
    "a number of bytes from 5 MiB to 5 GiB", lambda v: type(v) is int and 5 * _MIB <= v <= 5 << 30
)
_KEYS_PER_REQUEST = 1000  # limit of DeleteObjects and ListObjectsV2
_CHUNK = 256 * 1024
_CONTENT_TYPE = "binary/octet-stream"  # S3's own default
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET = _lazy(
    r"(?!(?:[0-9]+\.){3}[0-9]+$|xn--|sthree-|amzn-s3-demo-)"
    r"[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]"
)
_PLAIN_KEY = _lazy("(?:[0-9A-Za-z_-][0-9A-Za-z._-]{0,99}/){0,9}[0-9A-Za-z_-][0-9A-Za-z._-]{0,99}")


def _text_like(pattern: str, expected: str) -> _Validator:
    lazy = _lazy(pattern)
    return _Validator(expected, lambda v: isinstance(v, str) and lazy.fullmatch(v) is not None)


_METHOD = _text_like("GET|HEAD|PUT|DELETE", "one of GET, HEAD, PUT, DELETE")
# Without underscores: some stores and web servers make them hyphens, or drop the header.
_METADATA_NAME = _text_like(
    "[0-9A-Za-z.-]+", "ASCII letters, digits, hyphens and dots: some stores change underscores"
)
_METADATA_VALUE = _text_like(
    "(?:[!-~](?:[ -~]*[!-~])?)?", "printable ASCII, without blanks at either end"
)
_MEDIA_TYPE = _text_like(
    "(?!.{256})[!-~](?:[ -~]*[!-~])?",
    "such as text/plain, in printable ASCII, of at most 255 characters",
)


@functools.lru_cache(256)  # a program uses few buckets
def _is_bucket(name: str) -> bool:
    return _BUCKET.fullmatch(name) is not None


def _check_bucket(bucket: str) -> str:
    bucket = _plain(bucket)
    if not isinstance(bucket, str) or not _is_bucket(bucket):
        raise ValidationError(
            "bucket should have 3 to 63 lower-case letters, digits, single dots and hyphens, "
            "begin and end with a letter or a digit, and be no IP address"
        )
    return bucket


def _check_object_key(key: str) -> str:
    """Return a key that no store resolves as a path.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
    """
    if key.__class__ is str and _PLAIN_KEY.fullmatch(key):  # fast path
        return key
    key = _check_key(key)
    if len(key.encode()) > 1024:
        raise ValidationError("key should have at most 1,024 bytes in UTF-8")
    *folders, name = key.split("/")
    if name in (".", "..") or not {"", ".", ".."}.isdisjoint(folders):
        raise ValidationError('key should not begin with "/", nor hold "//" or a part "." or ".."')
    return key


#: an object's bucket and key, by boto3's names
_Place: TypeAlias = Mapping[str, str]


def _check_place(bucket: str, key: str) -> _Place:
    return {"Bucket": _check_bucket(bucket), "Key": _check_object_key(key)}


def _check_content_type(content_type: str | None) -> str:
    if content_type is None:
        return _CONTENT_TYPE
    checked: str = _MEDIA_TYPE.check("content_type", _plain(content_type))
    return checked


def _check_metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
    if metadata is None:
        return {}
    found: dict[str, str] = {}
    for name, value in _MAPPING.check("metadata", metadata).items():
        name = _METADATA_NAME.check("names of metadata", _plain(name)).lower()
        if name in found:
            raise ValidationError("names of metadata should differ in more than case: S3 lowers it")
        found[name] = _METADATA_VALUE.check("values of metadata", _plain(value))
    if sum(len(name) + len(value) for name, value in found.items()) > 2048:
        raise ValidationError("metadata should have at most 2,048 bytes, names and values together")
    return found


def _md5(data: bytes) -> bytes:
    import hashlib

    return hashlib.md5(data, usedforsecurity=False).digest()


def _etag_of_parts(md5s: Sequence[bytes]) -> str:
    """Return the ETag that S3 gives a multipart upload: the MD5 of its parts' MD5s, and a count."""
    return f"{_md5(b''.join(md5s)).hex()}-{len(md5s)}"


_NOT_BYTES = "data should be bytes, or a file opened in binary mode"


def _read_block(file: Any, size: int) -> bytes:
    """Read ``size`` bytes, fewer only at the end: one read of a pipe may return less."""
    blocks: list[bytes] = []
    missing = size
    while missing > 0:
        block = file.read(missing)
        if not isinstance(block, (bytes, bytearray, memoryview)):
            raise ValidationError(_NOT_BYTES)
        if not block:
            break
        blocks.append(bytes(block))
        missing -= len(block)
    return b"".join(blocks)  # a single block is not copied


def _blocks(data: Any, size: int) -> Iterator[bytes]:
    """Yield blocks of ``size`` bytes; the last one may be shorter. Empty data has none."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        view = memoryview(data)
        view = view.cast("B") if view.nbytes and view.c_contiguous else memoryview(view.tobytes())
        for start in range(0, len(view), size):
            yield bytes(view[start : start + size])
        return
    if not _is_file(data, "read", binary=True):
        raise ValidationError(_NOT_BYTES)
    while block := _read_block(data, size):
        yield block
        if len(block) < size:
            return


class _ObjectReader(io.RawIOBase):
    """The bytes of one object, from its start: the raw file under the buffer of ``open``."""

    _done = False

    @abstractmethod
    def take(self, size: int) -> bytes:
        """Return at most ``size`` bytes; none means the end."""

    @abstractmethod
    def _release(self) -> None:
        """Release the connection. A second call does nothing."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.take(len(buffer))
        buffer[: len(data)] = data
        self._done |= not data
        return len(data)

    def close(self) -> None:
        self._release()
        super().close()

    def _dealloc_warn(self, source: object) -> None:
        """Called by ``io.BufferedReader`` when it is collected. At its end it holds nothing."""
        if not self._done:
            text = "an object opened for reading was not closed"
            warnings.warn(text, ResourceWarning, source=source, stacklevel=2)


#: objects of a list, and the token of its next page
_Page: TypeAlias = tuple[list[ObjectSummary], str | None]


class StorageProvider(_Closeable):
    """Objects (bytes under a key) in buckets, as in S3.

    A key has at most 1,024 bytes in UTF-8 and no blanks at either end. No part between slashes is
    empty, "." or "..", because some stores resolve those. Buckets follow AWS's naming rules. Others
    raise ValidationError before anything is sent.

    Methods raise ConnectionError or TimeoutError if the store does not answer, StorageError with
    its code if it refuses, a retryable StorageError without a code if the answer is not S3's, and
    ConfigurationError without credentials. All but ``exists`` raise NotFoundError, whose
    ``resource`` is "bucket" or "object". Reads see earlier writes. Threads may share it.
    """

    _observer: Observer | None = None

    def __init__(self, part_size: int, copy_part_size: int) -> None:
        """Take the sizes of parts in bytes, from 5 MiB to 5 GiB; else raise ConfigurationError."""
        _PART_SIZE.require("part_size", part_size)
        _PART_SIZE.require("copy_part_size", copy_part_size)
        self._part_size, self._copy_part_size = part_size, copy_part_size

    def upload(
        self,
        bucket: str,
        key: str,
        data: bytes | bytearray | memoryview | BinaryIO,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Store bytes, or the rest of a binary file, in place of the object that was there.

        The file stays open and need not be seekable; its exceptions pass through. Data above
        ``part_size`` is sent in up to 10,000 parts of that size, one in memory at a time. If one
        fails, the upload is aborted and the old object stays. ``content_type`` defaults to
        "binary/octet-stream". Names in ``metadata`` have ASCII letters (lower-cased), digits,
        hyphens and dots; values are printable ASCII without blanks at either end; 2,048 bytes in
        all.
        """
        place = _check_place(bucket, key)
        headers = {
            "ContentType": _check_content_type(content_type),
            "Metadata": _check_metadata(metadata),
        }
        if type(data) is bytes and len(data) <= self._part_size:
            return self._put(place, data, headers)  # fast path
        blocks = _blocks(data, self._part_size)
        first = deque(itertools.islice(blocks, 2))
        if len(first) < 2:
            self._put(place, b"".join(first), headers)  # a single block is not copied
        else:
            # Each is dropped before the next is read, so that one at a time is in memory.
            read = (first.popleft() for _ in range(2))
            self._put_parts(place, itertools.chain(read, blocks), headers)

    def download(self, bucket: str, key: str) -> bytes:
        """Return all bytes of the object."""
        return self._get(_check_place(bucket, key))

    def download_to(self, bucket: str, key: str, file: BinaryIO) -> None:
        """Write the object's bytes to a binary file at its position, in chunks.

        The file stays open, and keeps what was written if an error follows. BlockingIOError: the
        file accepts no bytes.
        """
        place = _check_place(bucket, key)
        if not _is_file(file, "write", binary=True):
            raise ValidationError("file should be opened for writing in binary mode")
        with self._reader("download_to", place) as reader:
            while data := reader.take(_CHUNK):
                view = memoryview(data)
                while view:  # one write to a raw file may take less
                    taken = file.write(view)
                    if taken is None and not isinstance(file, io.RawIOBase):
                        break  # wrappers that return None have written all
                    if not taken or taken < 0:
                        raise BlockingIOError("file takes no more for now")
                    view = view[taken:]

    def open(self, bucket: str, key: str) -> io.BufferedReader:
        """Return a binary file that reads the object as it goes, forward only. Close it.

        It uses one connection. If that is lost, it reads on over another one, or raises
        StorageError if the object was replaced.
        """
        return io.BufferedReader(self._reader("open", _check_place(bucket, key)), _CHUNK)

    def get_presigned_url(
        self, bucket: str, key: str, expires_in: float, method: str = "GET"
    ) -> str:
        """Return a URL that lets anybody GET, HEAD, PUT or DELETE the object, as ``method`` says.

        It is valid for ``expires_in`` seconds, 1 to 604,800 (a week), rounded up, and no longer
        than temporary credentials. No request is sent; the object need not exist. The URL holds
        the access key's id, not the secret key.
        """
        place = _check_place(bucket, key)
        if not _is_number(expires_in, 1, 604_800):
            raise ValidationError("expires_in should be from 1 to 604,800 seconds, which is a week")
        method = _METHOD.check("method", _plain(method))
        return self._presign(place, math.ceil(expires_in), method)

    def exists(self, bucket: str, key: str) -> bool:
        """Return whether the object exists; False also if the bucket does not.

        Raises StorageError for 403, as AWS answers if the caller may not list the bucket.
        """
        return self._exists(_check_place(bucket, key))

    def list_objects(
        self, bucket: str, prefix: str | None = None, max_keys: int | None = None
    ) -> Iterator[ObjectSummary]:
        """Yield objects whose keys begin with ``prefix``, sorted by the keys' UTF-8 bytes.

        ``max_keys`` limits their number. The call requests the first thousand, the iterator each
        further thousand. Objects created or deleted meanwhile may or may not be among them.
        """
        bucket = _check_bucket(bucket)
        start = "" if prefix is None else _check_text("prefix", prefix)
        if len(start.encode()) > 1024:
            raise ValidationError("prefix should have at most 1,024 bytes in UTF-8")
        left = sys.maxsize if max_keys is None else _COUNT.check("max_keys", max_keys)

        def pages(found: list[ObjectSummary], token: str | None) -> Iterator[ObjectSummary]:
            wanted = left
            while True:
                yield from found[:wanted]
                wanted -= len(found)
                if token is None or wanted <= 0:
                    return
                found, token = self._list(bucket, start, min(wanted, _KEYS_PER_REQUEST), token)

        return pages(*self._list(bucket, start, min(left, _KEYS_PER_REQUEST), None))

    def get_metadata(self, bucket: str, key: str) -> ObjectMetadata:
        """Return the object's metadata.

        NotFoundError says "object" also if the bucket is absent: answers to HEAD have no body.
        """
        found = self._head("get_metadata", _check_place(bucket, key))
        if found is None:
            raise NotFoundError(
                "there is no such object",
                resource="object",
                service="storage",
                operation="get_metadata",
            )
        return found

    def delete(self, bucket: str, key: str) -> None:
        """Delete the object, if it exists: S3 does not say whether it did.

        Raises StorageError with the code "FolderNotEmpty" if the key ends in "/" and stays: some
        stores keep folders that are not empty.
        """
        self._delete("delete", _check_place(bucket, key))

    def delete_batch(self, bucket: str, keys: Iterable[str]) -> DeleteResult:
        """Delete many objects, a thousand a request. Absent ones count as deleted.

        All keys are checked before the first request. Keys that end in "/" are deleted last, one
        by one, as by ``delete``.
        """
        bucket = _check_bucket(bucket)
        names = [*dict.fromkeys(_check_object_key(key) for key in _check_many("keys", keys))]
        folders = [name for name in names if name.endswith("/")]
        files = [name for name in names if not name.endswith("/")]
        errors: dict[str, str] = {}
        for start in range(0, len(files), _KEYS_PER_REQUEST):
            errors.update(self._delete_many(bucket, files[start : start + _KEYS_PER_REQUEST]))
        # Some stores keep full folders, and report those of a batch as deleted: the deepest first.
        errors.update(self._delete_each(bucket, sorted(folders, key=len, reverse=True)))
        return DeleteResult([name for name in names if name not in errors], errors)

    def copy(
        self, source_bucket: str, source_key: str, target_bucket: str, target_key: str
    ) -> None:
        """Copy an object of any size within the store, with its content type and metadata.

        Objects above ``copy_part_size`` bytes are copied in parts, which are removed if one fails.
        Raises ValidationError for a copy onto itself, because S3 refuses it.
        """
        source = _check_place(source_bucket, source_key)
        target = _check_place(target_bucket, target_key)
        if source == target:
            raise ValidationError("an object cannot be copied onto itself")
        found = self._head("copy", source)
        # The copy of an absent object fails: its answer tells object from bucket.
        self._copy(source, target, found is not None and found.size > self._copy_part_size)

    def create_bucket(self, bucket: str) -> None:
        """Create the bucket unless it exists. Raises StorageError if it is somebody else's."""
        self._create_bucket(_check_bucket(bucket))

    def _delete_each(self, bucket: str, keys: Iterable[str]) -> dict[str, str]:
        errors = {}
        for key in keys:
            try:
                self._delete("delete_batch", {"Bucket": bucket, "Key": key})
            except StorageError as error:
                errors[key] = error.code or ""
        return errors

    @abstractmethod
    def health_check(self) -> Health:
        """Request the list of buckets. A denial is healthy too: the store knows the credentials."""

    @abstractmethod
    def _put(self, place: _Place, data: bytes, headers: dict[str, Any]) -> None: ...
    @abstractmethod
    def _put_parts(
        self, place: _Place, parts: Iterator[bytes], headers: dict[str, Any]
    ) -> None: ...
    @abstractmethod
    def _get(self, place: _Place) -> bytes: ...
    @abstractmethod
    def _reader(self, operation: str, place: _Place) -> _ObjectReader: ...
    @abstractmethod
    def _presign(self, place: _Place, seconds: int, method: str) -> str: ...
    @abstractmethod
    def _head(self, operation: str, place: _Place) -> ObjectMetadata | None: ...
    def _exists(self, place: _Place) -> bool:
        return self._head("exists", place) is not None

    @abstractmethod
    def _list(self, bucket: str, prefix: str, limit: int, token: str | None) -> _Page: ...
    @abstractmethod
    def _delete(self, operation: str, place: _Place) -> None: ...
    @abstractmethod
    def _delete_many(self, bucket: str, keys: Sequence[str]) -> dict[str, str]: ...
    @abstractmethod
    def _copy(self, source: _Place, target: _Place, in_parts: bool) -> None: ...
    @abstractmethod
    def _create_bucket(self, bucket: str) -> None: ...


def _proxy_for(url: _Url, schemes: Sequence[str] = ("http",)) -> _Url | None:
    """Return the proxy of HTTPS_PROXY, HTTP_PROXY and NO_PROXY, or the system's, as boto3 does.

    ``schemes``: those that the proxy's own URL may have.
    """
    import urllib.request

    text = urllib.request.getproxies().get(url.scheme)
    place = f"{url.host}:{url.port}" if url.port else url.host
    if not text or urllib.request.proxy_bypass(place):
        return None
    text = text if "//" in text else f"http://{text}"
    forms = dict.fromkeys(schemes, _BARE_URL)
    proxy = _url_validator(lambda v: _url_problem(v, forms), "http://[user:password@]host[:port]")
    return _Url.parse(proxy.require(f"{url.scheme.upper()}_PROXY", text))


def _aws_client(
    service: str,
    check_answer: Callable[..., None],
    *,
    region_name: str,
    endpoint_url: str | None,
    keys: tuple[str | None, str | None, str | None],
    ca_file: str | None = None,
    **options: Any,
) -> Any:
    """Return a client from a session of its own. It never retries: the call policy does.

    ``keys``: access key, secret key and session token, all None for boto3's own chain.
    ``options`` that the installed boto3 does not know are dropped.
    """
    session = importlib.import_module("boto3.session").Session(*keys, region_name=region_name)
    settings = importlib.import_module("botocore.config").Config
    config = settings(
        retries={"total_max_attempts": 1, "mode": "standard"},
        user_agent_extra=f"infra-twins/{__version__}",
        **{name: value for name, value in options.items() if name in settings.OPTION_DEFAULTS},
    )
    client: Any = None
    try:
        client = session.client(service, endpoint_url=endpoint_url, config=config, verify=ca_file)
    except ValueError as exc:
        if endpoint_url is not None or type(exc) is not ValueError:
            raise  # otherwise AWS_ENDPOINT_URL is not a URL, and the exception quotes it
    if endpoint_url is None:
        _check_boto3_endpoint(client.meta.endpoint_url if client else "")
    _proxy_for(_Url.parse(client.meta.endpoint_url), ("http", "https"))  # boto3 checks less
    _refuse_cut_answers(client)
    client.meta.events.register(f"after-call.{service}", check_answer)
    return client


def _check_boto3_endpoint(url: str) -> None:
    """Raise ConfigurationError if an endpoint in boto3's own settings would send plain text."""
    problem = "" if _S3_ENDPOINT.valid(url) else f" But {_S3_ENDPOINT.problem(url)}."
    if problem or not _is_private(_Url.parse(url)):
        raise ConfigurationError(
            "AWS_ENDPOINT_URL (for one service AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL_SNS, or "
            "endpoint_url in boto3's configuration) should be https://host[:port], or http:// on "
            f"this machine: requests carry phones, codes and objects.{problem}"
        )


def _is_private(url: _Url) -> bool:
    """Return whether nobody can read the traffic: it is encrypted, or stays on this machine."""
    return url.scheme == "https" or url.host in ("localhost", "127.0.0.1", "::1")


def _refuse_cut_answers(client: Any) -> None:
    """Replace the connection class of the client's pools; boto3 1.44 has no setting for it."""
    pools = client._endpoint.http_session._pool_classes_by_scheme
    for scheme, pool in pools.items():
        connection = _whole_answers(pool.ConnectionCls)
        pools[scheme] = type(pool.__name__, (pool,), {"ConnectionCls": connection})


class _AwsClient:
    """A boto3 client, built on first use and shared by all threads.

    Building takes a quarter of a second of CPU and may request credentials over the network. A
    thread that has waited ``PATIENCE`` seconds for another's client builds one too; the first one
    stored is kept, the others are closed.
    """

    PATIENCE = 10.0

    def __init__(
        self, owner: str, build: Callable[..., Any], *arguments: Any, **options: Any
    ) -> None:
        self._owner = owner
        self._build = functools.partial(build, *arguments, **options)
        self._closed = False
        self._forget_parent()
        _fork_aware.add(self)

    def _forget_parent(self) -> None:
        self.kept: dict[str, Any] = {}  # the client's sockets belong to the parent
        self._turn = threading.RLock()  # a signal handler may need a client during a build

    def get(self) -> Any:
        """Return the client. Raises ConnectionError after ``close``."""
        client = self.kept.get("client")
        if client is None and not self._closed:
            client = self._get_in_turn()
        if self._closed:  # tested after the client was stored: close() may have missed it
            self.drop()
            raise _closed(self._owner)
        return client

    def _get_in_turn(self) -> Any:
        has_turn = self._turn.acquire(timeout=self.PATIENCE)
        try:
            client = self.kept.get("client")
            if client is None and not self._closed:
                built = self._build()
                client = self.kept.setdefault("client", built)  # atomic
                if client is not built:
                    built.close()
            return client
        finally:
            if has_turn:
                self._turn.release()

    def drop(self) -> None:
        """Close the client. The next ``get`` builds another, which looks for credentials again."""
        client = self.kept.pop("client", None)
        if client is not None:
            client.close()

    def close(self) -> None:
        self._closed = True
        self.drop()


# What an exception of a boto3 call means. The first of its class and base classes decides.
_AWS_ERRORS = {
    class_name: meaning
    for meaning, class_names in (
        ("no credentials", "NoCredentialsError PartialCredentialsError CredentialRetrievalError"),
        ("no credentials", "TokenRetrievalError SSOError"),
        ("unsent", "EndpointConnectionError ConnectTimeoutError ProxyConnectionError"),
        ("timeout", "ReadTimeoutError"),
        ("refused", "ClientError"),
        ("disconnected", "HTTPClientError IncompleteReadError SSLError OSError"),
        ("disconnected", "HTTPError"),  # urllib3's, for what boto3 does not wrap
        ("unusable", "BotoCoreError"),
        # An answer lacks an element, or has text where a number or time should be.
        ("garbled", "ResponseParserError KeyError ValueError"),
    )
    for class_name in class_names.split()
}
_AWS_SETUP = ("no credentials", "bad settings")  # the latter: boto3 could not build a client


def _aws_meaning(exc: Exception, attempt: Attempt) -> str | None:
    """Return what the exception means; None if neither boto3 nor the network has raised it.

    The meanings are those of ``_AWS_ERRORS`` and ``_AWS_SETUP``. If nothing was sent, this sets
    ``attempt.sent`` to False.
    """
    packages = ("botocore", "urllib3", "builtins")
    bases = [base for base in type(exc).__mro__ if base.__module__.partition(".")[0] in packages]
    meaning = _find_rule(_AWS_ERRORS, [base.__name__ for base in bases])
    if meaning not in (None, "no credentials"):
        if not attempt.sent:
            return "bad settings"
        if _was_unsent(exc):
            meaning = "unsent"
    if meaning in ("no credentials", "unsent"):
        attempt.sent = False
    return meaning


def _aws_setup_error(
    meaning: str, exc: Exception, service: str, keys: str, endpoint: str
) -> ConfigurationError:
    """Return the error of a meaning in ``_AWS_SETUP``; the texts name the settings."""
    if meaning == "no credentials":
        return ConfigurationError(f"{service} found no credentials: set {keys}, or boto3's own")
    return ConfigurationError(
        f"{service} cannot be used as it is set ({type(exc).__name__}): "
        f"see {endpoint}, AWS_REGION, and boto3's own settings"
    )


def _aws_refusal(exc: Any) -> tuple[int, str, str]:
    """Return the HTTP status, the error code or "", and words for both, of a ClientError."""
    status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = _aws_code(exc.response.get("Error", {}))
    return status, code, f"HTTP {status}" + (f", {code}" if code else "")


def _aws_code(error: Mapping[str, Any]) -> str:
    code = str(error.get("Code", ""))
    return code if re.fullmatch(r"(?=.*[A-Za-z])[A-Za-z.]{1,80}", code) else ""


def _with_md5(request: Any, **_: Any) -> None:
    """Sign DeleteObjects with the MD5 that most stores require, not boto3's CRC32.

    Called by boto3. https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
    """
    import base64

    checksums = ("x-amz-checksum-", "x-amz-sdk-checksum-", "x-amz-trailer", "content-md5")
    for name in {*request.headers}:
        if name.lower().startswith(checksums):
            del request.headers[name]
    request.headers["Content-MD5"] = base64.b64encode(_md5(request.body)).decode()


def _without_redirects(context: dict[str, Any], **_: Any) -> None:
    """Stop boto3 from following a redirect: it may recurse until the stack overflows.

    Called by boto3.
    """
    context.setdefault("s3_redirect", {})["redirected"] = True


class _Incomplete(ValueError):
    """An answer lacks something that S3 always says; the text names it and quotes nothing."""


# The root element of each of S3's answers, and a field that it always has, by boto3's names:
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations.html
_S3_ANSWERS = {
    "CompleteMultipartUpload": ("CompleteMultipartUploadResult", ""),
    "CopyObject": ("CopyObjectResult", ""),
    "CreateMultipartUpload": ("InitiateMultipartUploadResult", "UploadId"),
    "DeleteObjects": ("DeleteResult", ""),
    "ListBuckets": ("ListAllMyBucketsResult", "Buckets"),
    "ListObjectsV2": ("ListBucketResult", "Name"),
    "PutObject": ("", "ETag"),
    "UploadPart": ("", "ETag"),
    "UploadPartCopy": ("CopyPartResult", ""),
}
_S3_HEADERS = {"ContentLength": "Content-Length", "LastModified": "Last-Modified"}
# A GET or HEAD answered with HTML is an object only if it has one of these headers.
_S3_OBJECT_HEADERS = ("etag", "last-modified", "x-amz-request-id")
_XML_ROOT = _lazy(
    rb"\s*(?:\xef\xbb\xbf)?(?:<\?.*?\?>|<!--.*?-->|\s)*<(?:[\w.-]+:)?([\w.-]+)", re.DOTALL
)


def _check_answer(http_response: Any, parsed: Mapping[str, Any], model: Any, **_: Any) -> None:
    """Raise _Incomplete for an answer of success that is not S3's. Called by boto3."""
    metadata = parsed["ResponseMetadata"]
    status, headers = metadata["HTTPStatusCode"], metadata["HTTPHeaders"]
    if not 200 <= status < 300:
        return _check_refusal(http_response, status, headers, model)
    root, needed = _S3_ANSWERS.get(model.name, ("", ""))
    if root:
        found = _XML_ROOT.match(http_response.content)
        if found is None or found[1] != root.encode():
            raise _Incomplete(f"HTTP {status} without {root}")
    path = http_response.url.partition("?")[0]
    if needed and not (model.name == "PutObject" and _is_folder(path, headers)):
        _check_has(parsed, needed)
    is_html = headers.get("content-type", "").lower().startswith("text/html")
    is_page = is_html and headers.keys().isdisjoint(_S3_OBJECT_HEADERS)
    odd = ""
    chunked = "chunked" in headers.get("transfer-encoding", "").lower()
    if model.name == "GetObject" and not (chunked or "content-length" in headers):
        odd = "without Content-Length"  # nothing would tell that the body is cut
    if is_page and model.name in ("GetObject", "HeadObject"):
        odd = "with a web page"
    if model.name == "AbortMultipartUpload" and status != 204:
        odd = "instead of 204"
    if odd:
        if "Body" in parsed:
            parsed["Body"].close()
        raise _Incomplete(f"HTTP {status} {odd}")


def _check_refusal(http_response: Any, status: int, headers: Mapping[str, str], model: Any) -> None:
    """Raise _Incomplete if the refusal's body is cut: boto3 would report it without its code."""
    length = headers.get("content-length", "")
    whole = int(length) if length.isdecimal() and model.name != "HeadObject" else 0
    if len(http_response.content) < whole:
        raise _Incomplete(f"HTTP {status}, cut")


def _check_has(answer: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """Return the answer. Raises _Incomplete if a header or element is missing or empty."""
    for name in names:
        if answer.get(name) in (None, ""):
            status = answer["ResponseMetadata"]["HTTPStatusCode"]
            raise _Incomplete(f"HTTP {status} without {_S3_HEADERS.get(name, name)}")
    return answer


def _is_folder(key: str, headers: Mapping[str, str]) -> bool:
    """Return whether the answer may be about a folder, for which some stores send no ETag."""
    return key.endswith("/") and "x-amz-request-id" in headers


# Codes of temporary refusals, besides all HTTP statuses of 500 and above.
_S3_RETRYABLE = frozenset(
    {"InternalError", "OperationAborted", "RequestTimeout", "RequestLimitExceeded", "SlowDown"}
)
_TOKEN_HINTS = dict.fromkeys(
    ("InvalidToken", "InvalidTokenId", "ExpiredToken"),
    ": the session token has expired or is another one, see AWS_SESSION_TOKEN",
)
_S3_HINTS = {
    **dict.fromkeys(
        ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
        ": the bucket may be in another region, see AWS_REGION",
    ),
    "SignatureDoesNotMatch": ": the secret key is another one, see AWS_SECRET_ACCESS_KEY",
    "InvalidAccessKeyId": ": it knows no such key, see AWS_ACCESS_KEY_ID",
    **_TOKEN_HINTS,
    "RequestTimeTooSkewed": ": this machine's clock and the store's differ too much",
}
_S3_ABSENT = {"NoSuchKey": "object", "NoSuchBucket": "bucket", "NoSuchUpload": "upload"}
# What a copy in parts keeps of the object, as CopyObject does.
_S3_KEPT = (
    "ContentType", "CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage",
    "Metadata",
)  # fmt: skip
# https://www.w3.org/TR/xml/#charsets; a CR would be read as LF
_NOT_IN_XML = _lazy("[\x01-\x08\x0b-\x1f\ufffe\uffff]")


def _s3_error(meaning: str, exc: Exception) -> InfrastructureError:
    if meaning == "refused":
        return _s3_refusal(exc)
    if meaning == "timeout":
        return TimeoutError("storage did not answer in time")
    if meaning == "unsent":
        return ConnectionError(f"storage could not be reached{_os_reason(exc)}")
    if meaning == "disconnected":
        reason = _os_reason(exc)
        if _is_cut(exc):
            reason = " in the middle of an answer, or does not speak HTTP: see S3_ENDPOINT"
        return ConnectionError(f"storage ended the connection{reason}")
    if meaning in _AWS_SETUP:
        keys = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        return _aws_setup_error(meaning, exc, "storage", keys, "S3_ENDPOINT")
    why = str(exc) if isinstance(exc, _Incomplete) else type(exc).__name__
    is_garbled = meaning == "garbled"  # retryable, as a lost answer is
    hint = ": the server may be no S3 store, see S3_ENDPOINT" if is_garbled else ""
    return StorageError(f"storage gave no usable answer ({why}){hint}", retryable=is_garbled)


def _s3_refusal(exc: Any) -> InfrastructureError:
    status, code, why = _aws_refusal(exc)
    is_head = exc.operation_name == "HeadObject"  # its answer has no body
    resource = _S3_ABSENT.get("NoSuchKey" if status == 404 and is_head else code)
    if resource:
        return NotFoundError(f"storage has no such {resource} ({why})", resource=resource)
    if not code and status < 500 and not is_head:  # a proxy, or another kind of server
        why += ": the answer is not of S3's form, see S3_ENDPOINT"
    why += _S3_HINTS.get(code, "")
    throttled = status == 429 or code.startswith("Throttl")
    temporary = status >= 500 or throttled or code in _S3_RETRYABLE
    return StorageError(
        f"storage refused the request ({why})",
        code=code or None,
        retryable=temporary and status != 501,  # "Not Implemented"
    )


def _s3_client(config: S3StorageConfig, ca_file: str | None, endpoint: str | None) -> Any:
    # Only AWS knows boto3's newer checksums.
    checksums = ("request_checksum_calculation", "response_checksum_validation")
    client = _aws_client(
        "s3",
        _check_answer,
        region_name=config.region,
        endpoint_url=endpoint,
        keys=(config.access_key, config.secret_key, config.session_token),
        connect_timeout=config.connect_timeout,
        read_timeout=config.read_timeout,
        max_pool_connections=32,
        ca_file=ca_file,
        signature_version="s3v4",
        s3={"addressing_style": "virtual" if endpoint is None else "path"},
        **dict.fromkeys(() if endpoint is None else checksums, "when_required"),
    )
    url = client.meta.endpoint_url
    if endpoint is not None:
        client.meta.events.register("before-sign.s3.DeleteObjects", _with_md5)
        client.meta.events.register("before-call.s3", _without_redirects)
    elif not _AWS_HOST.search(_Url.parse(url).host):
        client.close()
        return _s3_client(config, ca_file, url)  # AWS_ENDPOINT_URL is treated as S3_ENDPOINT
    return client


def _translate_s3(
    clients: Sequence[_AwsClient], exc: Exception, attempt: Attempt
) -> InfrastructureError | None:
    meaning = _aws_meaning(exc, attempt)
    if meaning == "no credentials":
        for client in clients:
            client.drop()
    error = _s3_error(meaning, exc) if meaning else None
    if error is not None and attempt.note is not None and not isinstance(error, NotFoundError):
        # The store may have moved: new connections look up its name again.
        attempt.note.close()
    return error


class _S3Requests(StorageProvider):
    """Sends requests to one store over boto3's clients and the call policy."""

    _client: _AwsClient
    _policy: CallPolicy
    _keeps_folders: bool

    def _call(self, operation: str, ask: Callable[[Any], T], *, until: float | None = None) -> T:
        def attempt(current: Attempt) -> T:
            client = self._client.get()
            current.sent, current.note = True, client
            return ask(client)

        # Any request leaves and returns the same if it is sent twice.
        return self._policy.call(operation, attempt, until=until, repeatable=True)

    def _request(self, operation: str, method: str, **arguments: Any) -> Any:
        return self._call(operation, operator.methodcaller(method, **arguments))

    def _head(self, operation: str, place: _Place) -> ObjectMetadata | None:
        def read(answer: dict[str, Any]) -> ObjectMetadata:
            headers = answer["ResponseMetadata"]["HTTPHeaders"]
            tagged = () if _is_folder(place["Key"], headers) else ("ETag",)
            _check_has(answer, "ContentLength", "LastModified", *tagged)
            return ObjectMetadata(
                answer["ContentLength"],
                answer.get("ContentType", _CONTENT_TYPE),
                _to_utc(answer["LastModified"]).replace(microsecond=0),
                answer.get("ETag", "").strip('"'),
                {name.lower(): value for name, value in answer.get("Metadata", {}).items()},
            )

        return self._call_head(operation, place, read)

    def _call_head(self, operation: str, place: _Place, read: Callable[[Any], T]) -> T | None:
        """Return what ``read`` makes of the answer to HEAD; None if there is no object.

        The refusal of a HEAD has no body, so its code comes from a GET of the first byte.
        """
        until, status = self._policy.until(), 0

        def look(client: Any) -> None:
            client.get_object(**place, Range="bytes=0-0")["Body"].close()

        def ask(client: Any) -> T:
            nonlocal status
            try:
                return read(client.head_object(**place))
            except client.exceptions.ClientError as exc:
                status = _aws_refusal(exc)[0]
                raise

        try:
            return self._call(operation, ask, until=until)
        except NotFoundError:
            return None
        except StorageError as error:
            if status not in (400, 403):
                raise
            refusal = error
        try:
            self._call(operation, look, until=until)
        except StorageError as error:
            if error.code not in (None, "InvalidRange"):
                raise
        except (ConnectionError, TimeoutError, NotFoundError):
            pass
        raise refusal

    def _delete(self, operation: str, place: _Place) -> None:
        def ask(client: Any) -> None:
            answer = client.delete_object(**place)
            status = answer["ResponseMetadata"]["HTTPStatusCode"]
            # S3 answers 204. A server that is no store may answer 200 to anything.
            if status != 204 and _is_there(client, client.head_object, **place):
                raise _Incomplete(f"HTTP {status}, and the object is still there")
            if place["Key"].endswith("/") and _is_there(client, client.head_object, **place):
                raise StorageError(
                    "storage keeps this folder, which may not be empty: "
                    "first delete what begins with its key",
                    code="FolderNotEmpty",
                )

        self._call(operation, ask)

    def _delete_many(self, bucket: str, keys: Sequence[str]) -> dict[str, str]:
        errors = self._delete_files(bucket, keys)
        if self._keeps_folders:
            self._delete_empty_folders(bucket, [key for key in keys if key not in errors])
        return errors

    def _delete_files(self, bucket: str, keys: Sequence[str]) -> dict[str, str]:
        """Delete in one request the keys that fit in XML, the others one by one."""
        single = [key for key in keys if _NOT_IN_XML.search(key)]
        fit = [key for key in keys if not _NOT_IN_XML.search(key)]
        batch = {"Objects": [{"Key": key} for key in fit], "Quiet": True}

        def ask(client: Any) -> dict[str, str]:
            answer = client.delete_objects(Bucket=bucket, Delete=batch)
            refused = answer.get("Errors", ())
            errors = {entry.get("Key"): _aws_code(entry) for entry in refused}
            if not errors.keys() <= {*fit}:
                raise StorageError("storage does not say which keys it refused")
            return errors

        try:
            errors = self._call("delete_batch", ask) if fit else {}
        except StorageError as error:
            if error.code not in ("NotImplemented", "MethodNotAllowed"):
                raise
            return self._delete_each(bucket, keys)  # the store lacks DeleteObjects
        return {**errors, **self._delete_each(bucket, single)}

    def _delete_empty_folders(self, bucket: str, keys: Sequence[str]) -> None:
        """Delete the folders that these keys were in, if empty, the deepest first.

        Lists would show them. An object with bytes is no folder. A folder that stays (in use
        again, or denied) is no error: the keys are deleted.
        """
        folders = {key[: match.end()] for key in keys for match in re.finditer("/", key)}
        for folder in sorted(folders, key=len, reverse=True):
            below = {"Bucket": bucket, "Prefix": folder, "MaxKeys": 2}
            try:
                answer = self._request("delete_batch", "list_objects_v2", **below)
                found = answer.get("Contents", ())
                if not any(entry["Key"] != folder or entry["Size"] for entry in found):
                    self._delete("delete_batch", {"Bucket": bucket, "Key": folder})
            except StorageError as error:
                if error.code not in ("FolderNotEmpty", "AccessDenied"):
                    raise


def _is_there(client: Any, ask: Callable[..., Any], **place: Any) -> bool | None:
    """Return whether ``ask`` finds something; None if the credentials may not know."""
    client.close()  # the connection of an odd answer may be broken
    try:
        ask(**place)
    except client.exceptions.ClientError as exc:
        status, code, _ = _aws_refusal(exc)
        if status == 404:
            return False
        # The refusal of a HEAD request has no code.
        if status == 403 and (code or exc.operation_name == "HeadObject"):
            return None
        raise
    return True


@dataclass(eq=False, repr=False)
class _MultipartUpload:
    """The upload of one object in parts, each of which is a request."""

    store: S3StorageProvider
    operation: str
    part_method: str  # of boto3's client
    place: _Place

    def run(self, headers: Mapping[str, Any], parts: Iterator[dict[str, Any]]) -> None:
        """Upload the parts, each the arguments of its request; abort if one fails."""
        created = self._request("create_multipart_upload", **self.place, **headers)
        self._upload = {**self.place, "UploadId": created["UploadId"]}
        try:
            self._complete([self._send(number, part) for number, part in enumerate(parts, 1)])
        except BaseException:
            self._abort()
            raise

    def _request(self, method: str, **arguments: Any) -> Any:
        return self.store._request(self.operation, method, **arguments)

    def _send(self, number: int, part: dict[str, Any]) -> dict[str, Any]:
        if number > self.store.MOST_PARTS:
            raise StorageError(
                f"storage takes at most {self.store.MOST_PARTS:,} parts: give a larger part_size",
                service="storage",
                operation=self.operation,
            )

        def send(client: Any) -> str:
            answer = getattr(client, self.part_method)(**self._upload, **part, PartNumber=number)
            return str(answer.get("CopyPartResult", answer)["ETag"])

        return {"PartNumber": number, "ETag": self.store._call(self.operation, send)}

    def _complete(self, sent: list[dict[str, Any]]) -> None:
        parts = {"Parts": sent}
        try:
            self._request("complete_multipart_upload", **self._upload, MultipartUpload=parts)
        except NotFoundError as error:
            # Some stores have forgotten the upload id if the first answer was lost.
            etags = [part["ETag"].strip('"') for part in sent]
            are_md5s = all(re.fullmatch("[0-9a-f]{32}", etag) for etag in etags)
            if error.resource != "upload" or not are_md5s:
                raise
            found = self.store._head(self.operation, self.place)
            if found is None or found.etag != _etag_of_parts([*map(bytes.fromhex, etags)]):
                raise

    def _abort(self) -> None:
        try:
            self._request("abort_multipart_upload", **self._upload)
        except NotFoundError:
            pass
        except InfrastructureError as error:
            why = type(error).__name__
            logger.warning("storage %s: an unfinished upload may be left (%s)", self.operation, why)


class S3StorageProvider(_S3Requests):
    """S3, or a store with its protocol, over boto3. Tried on MinIO's S3 gateway and on moto.

    https://docs.aws.amazon.com/AmazonS3/latest/API/. On AWS the bucket is part of the host name,
    elsewhere of the path. Requests are signed with version 4. At most 32 connections are kept; a
    failure closes all. An answer that is cut, or lacks something that S3 always says, counts as
    lost. Then any operation is retried within ``config.connect_timeout + config.read_timeout``:
    repeating one leaves the same object. The observer is called for each request, and for each
    chunk that ``open`` and ``download_to`` read.
    """

    MOST_PARTS = 10_000  # AWS's limit of an upload; override it for a store with a lower one

    def __init__(
        self,
        config: S3StorageConfig | None = None,
        *,
        part_size: int = 8 * _MIB,
        copy_part_size: int = 128 * _MIB,
        ca_file: str | Path | None = None,
        keeps_folders: bool | None = None,
        clock: Clock | None = None,
        observer: _Observing | None = None,
    ) -> None:
        """Check the settings; connect on first use. The default is ``S3StorageConfig()``.

        Args:
            config: the store and its credentials.
            part_size, copy_part_size: the bytes of a part of an upload or a copy, 5 MiB to 5 GiB.
            ca_file: path of a PEM file with the authorities to trust instead of the system's or
                those of ``AWS_CA_BUNDLE``.
            keeps_folders: overrides that of the config.
            clock: for retries.
            observer: see :class:`Observer`.

        Raises ConfigurationError for an invalid argument, or if boto3 is not installed.
        """
        if not isinstance(config, S3StorageConfig | None):
            raise ConfigurationError(
                "S3StorageProvider takes an S3StorageConfig: S3StorageProvider(S3StorageConfig(…))"
            )
        super().__init__(part_size, copy_part_size)
        if ca_file is not None:
            ca_file = os.path.abspath(_check_path("ca_file", ca_file))
            _tls_context({"sslrootcert": ca_file}, "verify-full", "ca_file")
        self.config = config = config or S3StorageConfig()
        if keeps_folders is None:
            keeps_folders = config.keeps_folders
        self._keeps_folders = _FLAG.require("keeps_folders", keeps_folders)
        _import_driver("boto3", "boto3", "S3StorageProvider")
        # Nothing here refers to the provider, so that it is closed as soon as it is forgotten.
        made = functools.partial(_AwsClient, "S3StorageProvider", _s3_client, config, ca_file)
        self._client = self._signer = made(config.endpoint)
        if config.public_endpoint is not None:
            self._signer = made(config.public_endpoint)
        self._observer = _observers(observer)
        self._policy = CallPolicy(
            "storage",
            translate=functools.partial(_translate_s3, (self._client, self._signer)),
            repeatable=frozenset(),
            deadline=config.connect_timeout + config.read_timeout,
            retries=3,
            clock=(clock := _clock(clock)),
            observer=self._observer,
            breaker=_new_breaker(config, "storage", clock),
            slow=config.slow,
        )
        _watch(self._observer, "storage", self)

    def close(self) -> None:
        """Close connections. Later calls raise ConnectionError."""
        self._client.close()
        self._signer.close()

    def _holds(self) -> bool:
        return bool(self._client.kept or self._signer.kept)

    def _put(self, place: _Place, data: bytes, headers: dict[str, Any]) -> None:
        self._request("upload", "put_object", **place, Body=data, **headers)

    def _put_parts(self, place: _Place, parts: Iterator[bytes], headers: dict[str, Any]) -> None:
        upload = _MultipartUpload(self, "upload", "upload_part", place)
        upload.run(headers, ({"Body": data} for data in parts))

    def _get(self, place: _Place) -> bytes:
        def read(client: Any) -> bytes:
            with contextlib.closing(client.get_object(**place)["Body"]) as body:
                return bytes(body.read())

        return self._call("download", read)

    def _reader(self, operation: str, place: _Place) -> _ObjectReader:
        return _S3Reader(self, operation, place)

    def _presign(self, place: _Place, seconds: int, method: str) -> str:
        def attempt(_: Attempt) -> str:
            name = f"{method.lower()}_object"
            return str(self._signer.get().generate_presigned_url(name, place, seconds))

        return self._policy.call("get_presigned_url", attempt)

    def _exists(self, place: _Place) -> bool:
        return self._call_head("exists", place, bool) is not None

    def _list(self, bucket: str, prefix: str, limit: int, token: str | None) -> _Page:
        more = {} if token is None else {"ContinuationToken": token}

        def ask(client: Any) -> _Page:
            answer = client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=limit, **more)
            # MinIO takes the prefix "/" for none, and lists all objects.
            listed = answer.get("Contents", ())
            found = [_summary_of(entry) for entry in listed if entry["Key"].startswith(prefix)]
            if not answer.get("IsTruncated"):
                return found, None
            following = answer.get("NextContinuationToken")
            if not following or following == token:  # the list would end too early, or never
                raise StorageError("storage lists a part, and does not say how to go on")
            return found, following

        return self._call("list_objects", ask)

    def _copy(self, source: _Place, target: _Place, in_parts: bool) -> None:
        if not in_parts:
            self._request("copy", "copy_object", **target, CopySource=source)
            return

        def ask(client: Any) -> Mapping[str, Any]:
            return _check_has(client.head_object(**source), "ContentLength", "ETag")

        found = self._call("copy", ask)
        size = found["ContentLength"]
        step = max(self._copy_part_size, -(-size // self.MOST_PARTS))
        # All parts come from one version of the object.
        origin = {"CopySource": source, "CopySourceIfMatch": found["ETag"]}
        parts = (
            {**origin, "CopySourceRange": f"bytes={offset}-{min(offset + step, size) - 1}"}
            for offset in range(0, size, step)
        )
        kept = {name: found[name] for name in _S3_KEPT if name in found}
        _MultipartUpload(self, "copy", "upload_part_copy", target).run(kept, parts)

    def _create_bucket(self, bucket: str) -> None:
        region = self.config.region
        where: dict[str, Any] = {}
        if region != "us-east-1":  # AWS's default, which it refuses as a location
            where["CreateBucketConfiguration"] = {"LocationConstraint": region}

        def ask(client: Any) -> None:
            answer = client.create_bucket(Bucket=bucket, **where)
            named = bucket in answer.get("Location", "")  # some stores send no Location
            listed = {"Bucket": bucket, "Prefix": "", "MaxKeys": 1}
            if not named and _is_there(client, client.list_objects_v2, **listed) is False:
                raise _Incomplete("HTTP 200, and there is no such bucket")

        while True:
            try:
                return self._call("create_bucket", ask)
            except StorageError as error:
                if error.code == "BucketAlreadyOwnedByYou":
                    return
                if error.code != "InvalidLocationConstraint" or not where:
                    raise
                where.clear()  # the store does not know the region

    def health_check(self) -> Health:
        started, server = 0.0, ""

        def ask(client: Any) -> None:
            nonlocal started, server
            started = time.perf_counter()
            headers = client.list_buckets()["ResponseMetadata"]["HTTPHeaders"]
            server = re.sub("[^!-~]+", " ", headers.get("server", ""))[:40].strip()

        try:
            self._call("health_check", ask)
        except StorageError as error:
            if error.code != "AccessDenied":
                raise
        latency = time.perf_counter() - started
        server = server or ("S3" if self.config.endpoint is None else "S3 protocol")
        return Health("storage", server, latency)


def _summary_of(entry: Mapping[str, Any]) -> ObjectSummary:
    etag, moment = entry.get("ETag", "").strip('"'), _to_utc(entry["LastModified"])
    return ObjectSummary(entry["Key"], entry["Size"], etag, moment.replace(microsecond=0))


class _S3Reader(_ObjectReader):
    """Reads an object; after a lost connection over another one, if it is unchanged."""

    def __init__(self, store: _S3Requests, operation: str, place: _Place) -> None:
        self._store, self._operation, self._place = store, operation, place
        self._at, self._size, self._etag = 0, -1, ""
        self._body: Any = None
        self.take(0)
        _fork_aware.add(self)

    def _forget_parent(self) -> None:
        self._body = None

    def take(self, size: int) -> bytes:
        def next_bytes(client: Any) -> bytes:
            try:
                if self._body is None:
                    if self._at == self._size:
                        return b""
                    self._body = self._open(client)
                data: bytes = self._body.read(size) if size else b""
            except BaseException:
                self._release()
                raise
            self._at += len(data)
            return data

        return self._store._call(self._operation, next_bytes)

    def _open(self, client: Any) -> Any:
        rest = {"Range": f"bytes={self._at}-", "IfMatch": f'"{self._etag}"'} if self._at else {}
        answer = client.get_object(**self._place, **rest)
        if not self._at:
            self._size = answer.get("ContentLength", -1)
            self._etag = answer.get("ETag", "").strip('"')
        elif not str(answer.get("ContentRange", "")).startswith(f"bytes {self._at}-"):
            answer["Body"].close()
            raise StorageError("storage cannot go on where a connection was lost")
        return answer["Body"]

    def _release(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.close()


# === messaging ====================================================================================


class EventChannel:
    """Names of channels.

    An id is a UUID or text. It is encoded as by :class:`CacheKey`, so that different ids never
    make the same name.
    """

    BENCHMARK = "events:benchmark"
    SUBMISSION = "events:submission"
    VERIFICATION = "events:verification"
    LEADERBOARD = "events:leaderboard"
    USER = "events:user"
    ORGANIZATION = "events:organization"
    GOVERNANCE = "events:governance"
    SYSTEM = "events:system"

    @classmethod
    def benchmark_specific(cls, benchmark_id: uuid.UUID | str) -> str:
        """Return the channel of one benchmark: ``events:benchmark:<id>``."""
        return _joined_key(cls.BENCHMARK, benchmark_id)

    @classmethod
    def submission_specific(cls, submission_id: uuid.UUID | str) -> str:
        """Return the channel of one submission: ``events:submission:<id>``."""
        return _joined_key(cls.SUBMISSION, submission_id)


@dataclass(frozen=True, eq=False, repr=False)
class Event(_ByValue):
    """An event that a bus can publish.

    A direct subclass is a family and has no fields. A frozen dataclass that subclasses a family is
    an event, and becomes the family's attribute. Your own::

        class OrderEvent(Event):
            Placed: TypeAlias = "OrderPlaced"  # without it: OrderEvent.OrderPlaced

        @dataclass(frozen=True)
        class OrderPlaced(OrderEvent):
            order_id: uuid.UUID
            notes: tuple[str, ...] = ()

        bus.publish("orders", OrderEvent.Placed(order_id))

    The type of a field is str, bool, int (64 bits), float (finite), ``uuid.UUID``, ``datetime``
    (aware; read as UTC), ``dict`` or ``list`` (JSON documents), ``tuple[X, ...]`` of such a type,
    or ``X | None``. No field is called "type" or "_".

    It is sent as a JSON object with "type" (such as "OrderEvent.Placed"), the fields, ids and times
    as text (RFC 9562, RFC 3339), and "_" (see Message). A reader ignores unknown fields and fills
    in defaults for missing ones: give a new field a default, so that old and new programs can talk.
    """

    _family: ClassVar[type[Event]]
    #: of a family: an event's attribute, by the name of its class
    _aliases: ClassVar[Mapping[str, str]]
    #: of a family: its events, by "type"
    _members: ClassVar[dict[str, type[Any]]]
    _type: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if Event in cls.__bases__:
            cls._family, cls._members = cls, {}
            cls._aliases = {str(value): name for name, value in vars(cls).items() if name[0] != "_"}
            return
        family = cls._family
        name = family._aliases.get(cls.__name__, cls.__name__)
        # repr and pickle find the class by its name.
        cls.__name__, cls.__qualname__ = name, f"{family.__qualname__}.{name}"
        cls._type = f"{family.__name__}.{name}"
        family._members[cls._type] = cls
        setattr(family, name, cls)


class BenchmarkEvent(Event):
    """Events of benchmarks."""

    Created: TypeAlias = "_BenchmarkCreated"
    Updated: TypeAlias = "_BenchmarkUpdated"
    StatusChanged: TypeAlias = "_BenchmarkStatusChanged"
    Deprecated: TypeAlias = "_BenchmarkDeprecated"


@dataclass(frozen=True, eq=False, repr=False)
class _BenchmarkCreated(BenchmarkEvent):
    """A user has created the benchmark."""

    benchmark_id: uuid.UUID
    name: str
    created_by: uuid.UUID


@dataclass(frozen=True, eq=False, repr=False)
class _BenchmarkUpdated(BenchmarkEvent):
    """The benchmark has a new version."""

    benchmark_id: uuid.UUID
    version: str
    changelog: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class _BenchmarkStatusChanged(BenchmarkEvent):
    """The benchmark has moved from one status to another."""

    benchmark_id: uuid.UUID
    old_status: str
    new_status: str


@dataclass(frozen=True, eq=False, repr=False)
class _BenchmarkDeprecated(BenchmarkEvent):
    """The benchmark should no longer be used."""

    benchmark_id: uuid.UUID
    reason: str


class SubmissionEvent(Event):
    """Events of submissions. A score or rank is None if there is none."""

    Created: TypeAlias = "_SubmissionCreated"
    VerificationStarted: TypeAlias = "_VerificationStarted"
    VerificationCompleted: TypeAlias = "_VerificationCompleted"
    LeaderboardPositionChanged: TypeAlias = "_LeaderboardPositionChanged"


@dataclass(frozen=True, eq=False, repr=False)
class _SubmissionCreated(SubmissionEvent):
    """A user has submitted results of a model."""

    submission_id: uuid.UUID
    benchmark_id: uuid.UUID
    model_name: str
    score: float | None = None


@dataclass(frozen=True, eq=False, repr=False)
class _VerificationStarted(SubmissionEvent):
    """The verification of a submission has begun."""

    submission_id: uuid.UUID


@dataclass(frozen=True, eq=False, repr=False)
class _VerificationCompleted(SubmissionEvent):
    """The verification of a submission has ended."""

    submission_id: uuid.UUID
    level: str


@dataclass(frozen=True, eq=False, repr=False)
class _LeaderboardPositionChanged(SubmissionEvent):
    """A submission has another rank on its benchmark's leaderboard."""

    submission_id: uuid.UUID
    benchmark_id: uuid.UUID
    old_rank: int | None
    new_rank: int | None


class UserEvent(Event):
    """Events of users."""

    Created: TypeAlias = "_UserCreated"
    RoleChanged: TypeAlias = "_UserRoleChanged"
    ProfileUpdated: TypeAlias = "_UserProfileUpdated"


@dataclass(frozen=True, eq=False, repr=False)
class _UserCreated(UserEvent):
    """A user has been created."""

    user_id: uuid.UUID
    username: str


@dataclass(frozen=True, eq=False, repr=False)
class _UserRoleChanged(UserEvent):
    """A user has another role."""

    user_id: uuid.UUID
    old_role: str
    new_role: str


@dataclass(frozen=True, eq=False, repr=False)
class _UserProfileUpdated(UserEvent):
    """A user's profile has changed."""

    user_id: uuid.UUID
    fields: tuple[str, ...]


class SystemEvent(Event):
    """Events of the system."""

    MaintenanceScheduled: TypeAlias = "_MaintenanceScheduled"
    HealthCheckFailed: TypeAlias = "_HealthCheckFailed"
    CacheCleared: TypeAlias = "_CacheCleared"


@dataclass(frozen=True, eq=False, repr=False)
class _MaintenanceScheduled(SystemEvent):
    """The service will be down for maintenance."""

    starts_at: datetime
    ends_at: datetime
    reason: str


@dataclass(frozen=True, eq=False, repr=False)
class _HealthCheckFailed(SystemEvent):
    """A service has failed its health check."""

    service: str
    error: str


@dataclass(frozen=True, eq=False, repr=False)
class _CacheCleared(SystemEvent):
    """Keys have been deleted from the cache."""

    pattern: str


#: takes a field's name, for messages, and its value; raises ValidationError
_FieldCheck: TypeAlias = Callable[[str, Any], Any]


class _EventField(NamedTuple):
    name: str
    required: bool
    write: _FieldCheck
    read: _FieldCheck


_UUID = _text_like("[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", "a uuid.UUID")
_MOMENT = _lazy(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", re.A | re.I)
_LEAP_SECOND = _lazy(r"(\d\d:\d\d):60", re.ASCII)


def _read_iso(text: str) -> datetime:
    """Read a time as Python 3.10 does. A leap second is the next day's first, as in POSIX."""
    text, leaps = _LEAP_SECOND.subn(r"\1:59", text)
    found = datetime.fromisoformat(text)
    if leaps:
        found += timedelta(seconds=1)
        day = found if found.tzinfo is None else _to_utc(found)
        if day.time().replace(microsecond=0) != day_time():  # at other times there is none
            raise ValueError
    return found


def _refuse_field(name: str, expected: type | str) -> NoReturn:
    words = expected if isinstance(expected, str) else _VALUE_TYPES[expected].words
    raise ValidationError(f"{name} should be {words}")


def _event_int(name: str, value: Any) -> Any:
    value = _plain(value)
    fits = value.__class__ is int and -(2**63) <= value < 2**63
    return value if fits else _refuse_field(name, "a whole number of 64 bits")


def _event_float(name: str, value: Any) -> float:
    fits = _is_number(value, -sys.float_info.max, sys.float_info.max)
    return float(value) if fits else _refuse_field(name, float)


def _event_document(kind: type, name: str, value: Any) -> Any:
    return _document(name, value).value if isinstance(value, kind) else _refuse_field(name, kind)


def _write_id(name: str, value: Any) -> str:
    return str(_plain(value)) if isinstance(value, uuid.UUID) else _refuse_field(name, uuid.UUID)


def _read_id(name: str, value: Any) -> uuid.UUID:
    return uuid.UUID(_UUID.check(name, value))


def _write_moment(name: str, value: Any) -> str:
    fits = isinstance(value, datetime)
    return _to_utc(value, name).isoformat() if fits else _refuse_field(name, datetime)


def _read_moment(name: str, value: Any) -> datetime:
    found = _MOMENT.fullmatch(value) if isinstance(value, str) else None
    if found is not None:
        digits, offset = f"{found[2] or '':0<6}"[:6], found[3].upper().replace("Z", "+00:00")
        try:
            return _to_utc(_read_iso(f"{found[1]}.{digits}{offset}"), name)
        except (ValueError, OverflowError):
            pass  # raise below: here the error's context would quote the text
    _refuse_field(name, "a time as RFC 3339 has it")


#: https://www.w3.org/TR/trace-context/#traceparent-header. Later versions than 00 may add parts.
_TRACEPARENT = _text_like(
    "(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    "(?:-[!-~]{0,200})?",
    "a traceparent of W3C",
)


def _event_items(given: type[Any], made: Any, check: _FieldCheck, name: str, items: Any) -> Any:
    if not isinstance(items, given):
        _refuse_field(name, f"a {given.__name__}")
    return made([check(name, item) for item in items])


#: by a field's type: a check that returns what is written. That of a tuple also takes its items'.
_WRITE_CHECKS: Mapping[Any, Any] = {
    str: _check_text, bool: _FLAG.check,
    int: _event_int, float: _event_float, uuid.UUID: _write_id, datetime: _write_moment,
    dict: functools.partial(_event_document, dict), list: functools.partial(_event_document, list),
    tuple: functools.partial(_event_items, tuple, list),
}  # fmt: skip
#: a check that returns what is read; JSON has the other types too
_READ_CHECKS = {
    **_WRITE_CHECKS, uuid.UUID: _read_id, datetime: _read_moment,
    tuple: functools.partial(_event_items, list, tuple),
}  # fmt: skip


def _field_check(name: str, hint: Any, checks: Mapping[Any, Any]) -> _FieldCheck:
    """Return the check of a field's type. Raises ConfigurationError if events cannot have it."""
    choices = _alternatives(hint)
    types = [choice for choice in choices if choice is not type(None)]
    base = get_origin(types[0]) or types[0] if len(types) == 1 else None
    if base is tuple and get_args(types[0])[1:] == (...,):
        item = _field_check(name, get_args(types[0])[0], checks)
        check: _FieldCheck = functools.partial(checks[tuple], item)
    elif base in checks and base is not tuple:
        check = checks[base]
    else:
        raise ConfigurationError(f"{name} has a type that no event's field has: see infra.Event")
    if len(choices) == 1:
        return check
    return lambda name, value: None if value is None else check(name, value)


@functools.cache  # mypy looks for the hash of the class's instances: it needs an ignore at calls
def _event_fields(event: type[Event]) -> Sequence[_EventField]:
    """Build the fields on first use: ``@dataclass`` runs after ``__init_subclass__``."""
    try:
        hints = get_type_hints(event)
    except (NameError, AttributeError, SyntaxError, TypeError):
        raise ConfigurationError(f"{event._type} has a field whose type its module lacks") from None
    found = {field.name: field for field in fields(event) if field.init}
    for name in found.keys() & {"type", "_"}:
        raise ConfigurationError(f"{event._type} has a field called {name}: that name is taken")
    return [
        _EventField(
            name,
            field.default is _NO_DEFAULT and field.default_factory is _NO_DEFAULT,
            _field_check(name, hints[name], _WRITE_CHECKS),
            _field_check(name, hints[name], _READ_CHECKS),
        )
        for name, field in found.items()
    ]


def _event_text(event: Event, envelope: Mapping[str, str]) -> str:
    """Return the event as JSON, with the envelope as "_". Raises SerializationError."""
    try:
        values = {
            name: write(name, getattr(event, name))
            for name, _, write, _ in _event_fields(event.__class__)  # type: ignore[arg-type]
        }
        return _encode({"type": event._type, **values, "_": envelope})
    except (ValidationError, SerializationError) as error:
        reason = str(error)
    raise SerializationError(f"{event._type}: {reason}")


def _payload_object(payload: str) -> dict[str, Any] | None:
    """Return the JSON object that the text holds, or None.

    Here and below no ``except`` clause raises: the error's context would quote the text.
    """
    try:
        found = _parse_json(payload)
    except (AttributeError, TypeError, ValueError, RecursionError):  # the first two: not a text
        return None
    return found if isinstance(found, dict) else None


def _event_with(event: type[E], found: Mapping[str, Any]) -> E:
    try:
        values, missing = {}, []
        for name, required, _, read in _event_fields(event):  # type: ignore[arg-type]
            if name in found:
                values[name] = read(name, found[name])
            elif required:
                missing.append(name)
        if not missing:
            return event(**values)
        reason = f"{', '.join(missing)} missing"
    except ConfigurationError:
        raise
    except InfrastructureError as error:
        reason = str(error)
    except Exception as error:  # from the event's own __post_init__
        reason = f"{type(error).__name__} when it was made"
    raise SerializationError(f"{event._type}: {reason}")


@dataclass(frozen=True, eq=False, repr=False)
class Message(_ByValue):
    """A message, as a handler receives it. Its repr does not show the payload.

    ``pattern`` is the glob that matched; None for a subscription to the channel's name. ``id``,
    ``at`` and ``traceparent`` are in the payload's "_". Each is None if it is absent or malformed.
    """

    channel: str
    pattern: str | None
    payload: str = field(repr=False)

    @property
    def id(self) -> str | None:
        """The event's own id, equal for all receivers: a UUID, or another program's short text."""
        check = functools.partial(_check_text, blank_ends=False, empty=False, longest=255)
        return self._envelope("id", check)

    @property
    def at(self) -> datetime | None:
        """When the event was published, in UTC, by the clock of the publisher's bus."""
        return self._envelope("at", _read_moment)

    @property
    def traceparent(self) -> str | None:
        """The publisher's span, as W3C Trace Context has it."""
        return self._envelope("traceparent", _TRACEPARENT.check)

    def _envelope(self, name: str, check: Callable[[str, Any], T]) -> T | None:
        found = (_payload_object(self.payload) or {}).get("_")
        try:
            return check(name, found.get(name) if isinstance(found, dict) else None)
        except ValidationError:
            return None

    def deserialize(self, family: type[E]) -> E:
        """Return the event that the payload holds.

        ``family`` is ``BenchmarkEvent``, for example, or ``BenchmarkEvent.Created``. Raises
        SerializationError for anything else: no JSON, another family's, an unknown type, a field
        missing or of another type.
        """
        if not (isinstance(family, type) and issubclass(family, Event)) or family is Event:
            raise ValidationError("family should be a subclass of Event")
        try:
            return self._event(family)
        except SerializationError as error:
            error._unreadable = True
            raise

    def _event(self, family: type[E]) -> E:
        found = _payload_object(self.payload)
        if found is None:
            raise SerializationError("the payload is no JSON object")
        type_ = found.get("type")
        event: type[E] | None = family._members.get(type_) if isinstance(type_, str) else None
        if event is None or not issubclass(event, family):
            raise SerializationError(f"the payload's type is none that {family.__name__} has")
        return _event_with(event, found)


_Handler: TypeAlias = Callable[[Message], object]


class Subscription(_Closeable):
    """A handler and its channels or glob, as the ``subscribe`` methods of a bus return it.

    The bus keeps it, and closes it with itself. Keep it only to close it earlier.
    """

    def __init__(
        self, bus: RedisEventBus, is_glob: bool, names: Sequence[str], handler: _Handler
    ) -> None:
        self._bus, self._handler, self._closed = bus, handler, False
        self._keys = [(is_glob, name) for name in names]

    def close(self) -> None:
        """Handle no further message.

        The last subscription to a channel unsubscribes the bus, and returns once Redis has
        acknowledged that, or at once inside a handler. An error is logged, not raised.
        """
        if not self._closed:
            self._closed = True
            self._bus._leave(self)


class _SubscriptionTable:
    """The subscriptions of a bus by key: whether it is a glob, and the name in Redis.

    The lock is not held during I/O or a wait. It is re-entrant, because a signal handler or a
    finalizer may close a subscription.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._by_key: dict[tuple[bool, str], tuple[Subscription, ...]] = {}

    def at(self, key: tuple[bool, str]) -> tuple[Subscription, ...]:
        """Return the open ones: a subscription that is being closed may still be listed."""
        return tuple(found for found in self._by_key.get(key, ()) if not found._closed)

    def add(self, subscription: Subscription) -> None:
        with self._lock:
            for key in subscription._keys:
                self._by_key[key] = (*self.at(key), subscription)

    def remove(self, subscription: Subscription) -> list[tuple[bool, str]]:
        """Remove one that is closed. Return the keys that have no subscription left."""
        left = []
        with self._lock:
            by_key = self._by_key  # close() replaces it
            for key in subscription._keys:
                if rest := self.at(key):
                    by_key[key] = rest
                elif by_key.pop(key, None):
                    left.append(key)
        return left

    def close(self) -> None:
        with self._lock:
            by_key, self._by_key = self._by_key, {}
        for subscription in itertools.chain(*by_key.values()):
            subscription._closed = True


class EventPublisher(ABC):
    """A port: publishes events. Each receiver gets an event at most once."""

    @abstractmethod
    def publish(self, channel: str, event: Event) -> int:
        """Send the event to the current subscribers and return their number, as Redis counts.

        Each bus or other connection counts once for the channel and once for each glob that
        matches. Never retried after it was sent. Raises SerializationError if a field's value
        does not have its type.
        """


class EventSubscriber(ABC):
    """A port: calls handlers with the events that are published from now on."""

    @abstractmethod
    def subscribe(self, channel: str, handler: _Handler) -> Subscription:
        """Call ``handler`` with each message to the channel from now on.

        Returns once Redis has acknowledged it, or at once inside a handler. A handler that is
        subscribed twice is called twice.
        """

    @abstractmethod
    def subscribe_many(self, channels: Iterable[str], handler: _Handler) -> Subscription:
        """Subscribe to several channels at once; otherwise as ``subscribe``."""

    @abstractmethod
    def psubscribe(self, glob: str, handler: _Handler) -> Subscription:
        """Subscribe to all channels that match a glob; otherwise as ``subscribe``.

        For globs see ``KeyValueClient.scan``. Messages to a channel that is also subscribed to by
        name come twice.
        """


class EventBus(EventPublisher, EventSubscriber, _Closeable):
    """A port: publishes and subscribes."""

    handler_errors: int


class _EventWriter:
    """Writes events as text, with their envelope: id, time and the publisher's span."""

    def __init__(
        self, clock: Clock, observer: Observer | None, span: Callable[[], str | None] | None
    ) -> None:
        if span is not None:
            _check_function("traceparent", span, "no arguments")
        elif observer is not None:
            span = observer.traceparent
        self._clock, self._span, self._span_failed = clock, span, False

    def write(self, event: Event) -> tuple[str, str]:
        """Return the event's new id, and its text. Raises SerializationError."""
        clock = self._clock
        found = {"id": str(new_id(clock)), "at": _to_utc(clock.now()).isoformat()}
        try:
            span = _not_deferred(self._span()) if self._span else None
            if span is not None:
                found["traceparent"] = _TRACEPARENT.check("traceparent", span)
        except Exception:
            if not self._span_failed:
                logger.warning("traceparent raised", exc_info=True)
            self._span_failed = True
        return found["id"], _event_text(event, found)


def _check_event(event: Event) -> None:
    if not isinstance(event, Event) or not event._type:
        raise ValidationError("event should be one of a family, like BenchmarkEvent.Created(…)")


def _refused(error: InfrastructureError, text: str = "", **changes: Any) -> MessagingError:
    """Return the error as a MessagingError."""
    names = ("service", "operation", "code", "retryable")
    details = {name: getattr(error, name) for name in names}
    return MessagingError(text or str(error), **{**details, **changes})


def _handle(
    observer: Observer | None, service: str, handler: _Handler, message: Message, channel: str
) -> Exception | None:
    """Call the handler; log, count and return what it raises."""
    outcome = "ok"
    if observer is not None:
        observer.handling(message)
    try:
        _not_deferred(handler(message))
    except BaseException as error:
        outcome = type(error).__name__
        if not isinstance(error, Exception):
            raise
        _count(observer, service, "handler_errors")
        details = {"service": service, "operation": "handle", "outcome": outcome}
        logger.warning("a handler of channel %s raised", channel, exc_info=True, extra=details)
        return error
    finally:
        if observer is not None:
            observer.handled(message, outcome)
    return None


class RedisEventBus(EventBus):
    """Events over Redis Pub/Sub, delivered at most once.

    https://redis.io/docs/latest/develop/interact/pubsub/. A client that is not subscribed at
    publish time never receives the event.

    One thread, started by the first subscription, calls the handlers one at a time, for each
    publisher in the order of publishing. A slow one delays the rest. An ``Exception`` from a
    handler is logged and counted, as is an awaitable or a generator that it returns: nothing would
    run it. Handlers may publish, subscribe, and close subscriptions or the bus.

    After a lost connection the bus subscribes again, then calls ``on_reconnect``: messages may have
    been lost. PING detects a dead peer, so a quiet channel is no error.

    Methods raise ConnectionError, TimeoutError and PoolTimeoutError within the client's deadline
    (twice that for the first subscription, which connects), MessagingError if Redis refuses, and
    ValidationError before anything is sent. Threads may share a bus. A forked child has no
    subscriptions. A bus with subscriptions lives until it or its client is closed.

    Channels belong to the whole Redis server, not to a database number or a cache's prefix. Give
    each environment on one server a ``prefix`` that is not the start of another's.

    Attributes:
        handler_errors: number of handler calls that have raised.
    """

    def __init__(
        self,
        client: KeyValueClient,
        on_reconnect: Callable[[], None] | None = None,
        prefix: str = "",
        *,
        clock: Clock | None = None,
        traceparent: Callable[[], str | None] | None = None,
    ) -> None:
        """Use a client, which stays open when the bus closes.

        ``on_reconnect()`` runs in the handlers' thread. ``prefix`` is put before each channel and
        glob in Redis; messages do not show it. ``clock``, by default the client's, is for
        ``Message.at``. ``traceparent()`` returns ``Message.traceparent`` or None; its first error
        is logged. By default it is the observer's. Raises ValidationError or ConfigurationError for
        an invalid argument.
        """
        if not isinstance(client, KeyValueClient):
            raise ValidationError("RedisEventBus takes a RedisClient")
        if on_reconnect is not None:
            _check_function("on_reconnect", on_reconnect, "no arguments")
        self.handler_errors = 0
        self._client = client
        self._observer = client._observer
        self._on_reconnect = on_reconnect
        self._prefix = _check_text("prefix", prefix, blank_ends=False)
        self._glob_prefix = _GLOB_SIGNS.sub(r"\\\g<0>", self._prefix)
        clock = _clock(clock, getattr(client, "_clock", None))
        self._writer = _EventWriter(clock, self._observer, traceparent)
        self._closed = False
        self._forget_parent()
        _fork_aware.add(self)

    def _forget_parent(self) -> None:
        self._lock = threading.RLock()  # guards the listener, as that of the table
        self._listener: Listener | None = None
        self._table = _SubscriptionTable()

    def publish(self, channel: str, event: Event) -> int:
        _check_event(event)
        self._check_open("publish")
        return self._publish(_check_key(channel, "channel"), self._writer.write(event)[1])

    def _publish(self, channel: str, text: str) -> int:
        try:
            return self._client.publish(self._prefix + channel, text)
        except CacheError as error:
            raise _refused(error) from error

    def _forward(self, channel: str, written: Sequence[tuple[str, str]]) -> None:
        """Publish events of an outbox."""
        self._check_open("publish")
        for _, text in written:
            self._publish(channel, text)

    def subscribe(self, channel: str, handler: _Handler) -> Subscription:
        return self._join("subscribe", [_check_key(channel, "channel")], handler)

    def subscribe_many(self, channels: Iterable[str], handler: _Handler) -> Subscription:
        names = [_check_key(channel, "channel") for channel in _check_many("channels", channels)]
        if not names:
            raise ValidationError("subscribe_many needs at least one channel")
        return self._join("subscribe", [*dict.fromkeys(names)], handler)

    def psubscribe(self, glob: str, handler: _Handler) -> Subscription:
        return self._join("psubscribe", [_check_key(glob, "glob")], handler)

    def close(self) -> None:
        """End all subscriptions. Later calls raise ConnectionError.

        Waits for a running handler, within the client's deadline, unless called inside it.
        """
        self._closed = True
        with self._lock:
            listener, self._listener = self._listener, None
        self._table.close()
        if listener is not None:
            listener.close()

    def _holds(self) -> bool:
        return self._listener is not None and self._listener._holds()

    def _join(self, operation: str, names: Sequence[str], handler: _Handler) -> Subscription:
        _check_function("handler", handler, "a Message")
        is_glob = operation == "psubscribe"
        before = self._glob_prefix if is_glob else self._prefix
        names = [before + name for name in names]
        subscription = Subscription(self, is_glob, names, handler)
        try:
            listener = self._listening(operation)
            self._table.add(subscription)
            self._check_open(operation)  # it may have been closed meanwhile
            # Also for names with other subscriptions: Redis may not have acknowledged them yet.
            getattr(listener, operation)(*names)
        except BaseException as error:
            subscription._closed = True
            self._table.remove(subscription)
            if isinstance(error, CacheError):
                raise _refused(error) from error
            raise
        return subscription

    def _listening(self, operation: str) -> Listener:
        """Return the listener. If threads make several at once, the first one stored is kept."""
        self._check_open(operation)
        listener = self._listener
        if listener is not None:
            return listener
        made = self._client.listen(self._receive, self._on_reconnect)
        made._is_needed = lambda is_glob, name: bool(self._table.at((is_glob, name)))
        try:
            with self._lock:
                self._check_open(operation)  # it may have been closed meanwhile
                listener = self._listener = self._listener or made
                return listener
        finally:
            if listener is not made:
                made.close()

    def _receive(self, channel: str, pattern: str | None, payload: str) -> None:
        glob = None if pattern is None else pattern.removeprefix(self._glob_prefix)
        message = Message(channel.removeprefix(self._prefix), glob, payload)
        for subscription in self._table.at((pattern is not None, pattern or channel)):
            if subscription._closed:  # by the handler of another one
                continue
            error = _handle(self._observer, "redis", subscription._handler, message, channel)
            self.handler_errors += error is not None

    def _leave(self, subscription: Subscription) -> None:
        listener, left = self._listener, self._table.remove(subscription)
        if listener is None or not left:
            return
        leave = listener.punsubscribe if left[0][0] else listener.unsubscribe
        try:
            leave(*(name for _, name in left))
        except InfrastructureError as error:
            if not self._closed:
                reason = f"{type(error).__name__}: {error}"
                logger.warning("redis did not acknowledge that a subscription ended: %s", reason)

    def _check_open(self, operation: str) -> None:
        if self._closed:
            raise _closed("the event bus", service="redis", operation=operation)


@dataclass(frozen=True, eq=False, repr=False)
class DeadLetter(_ByValue):
    """An event that a group of an :class:`EventStream` has given up.

    Attributes:
        id: for ``retry_dead`` and ``drop_dead``.
        message: what the handler got.
        error: the name of the last error's class; "ConsumerDied" if its consumers have died.
        failures: how often the handler has raised.
        deaths: how often a consumer has died, or taken longer than ``visibility``.
        at: when it was given up, in UTC.
    """

    id: str
    message: Message
    error: str
    failures: int
    deaths: int
    at: datetime


@dataclass(eq=False, repr=False)
class _Delivery:
    """An event that a worker has taken, and what became of it."""

    ref: Any  # the backend's own
    payload: bytes
    failures: int
    deaths: int
    error: str = ""  # "": it was handled
    pause: float | None = None  # seconds until the next try; None: it is given up


@dataclass(eq=False, repr=False)
class _GroupTask:
    """What the workers of a consumer do."""

    channel: str
    group: str
    handler: _Handler
    ordered: bool
    retries: int
    backoff: float
    visibility: float
    state: dict[str, Any] = field(default_factory=dict)  # the backend's own


class Consumer(_Closeable):
    """Workers that handle the events of a group, as :meth:`EventStream.consume` returns it.

    It works until it, or its stream, is closed. While the broker does not answer, each worker asks
    again after a pause.

    Attributes:
        handler_errors: number of handler calls that have raised.
    """

    LONGEST_PAUSE: ClassVar[float] = 300.0  # seconds

    def __init__(self, stream: EventStream, task: _GroupTask) -> None:
        self.handler_errors = 0
        self._stream, self._task = stream, task
        self._ending = _InterruptibleEvent()
        self._workers: list[threading.Thread] = []

    def join(self, timeout: float | None = None) -> None:
        """Wait until it is closed and its handlers have returned; ``timeout`` is in seconds.

        A handler of its own does not wait. On a fake, which has no threads: handle all that is due.
        """
        if threading.current_thread() in self._workers:
            return
        until = SystemClock.monotonic() + (_YEAR if timeout is None else timeout)
        for worker in self._workers:
            worker.join(max(0.0, until - SystemClock.monotonic()))

    def close(self) -> None:
        """Take no further event, and ``join``. A signal handler may call it."""
        self._ending.set()
        self._stream._consumers.pop(self, None)
        self.join()

    def _holds(self) -> bool:
        return not self._ending.is_set and any(each.is_alive() for each in self._workers)

    def _start(self, workers: int) -> None:
        for number in range(workers):
            name = f"infra-consumer-{number}"
            worker = threading.Thread(target=self._work, name=name, daemon=True)
            worker.start()  # first: close() joins what is listed
            self._workers.append(worker)

    def _work(self) -> None:
        event, failures = None, 0
        try:
            while event or not self._ending.is_set:
                try:
                    event = self._stream._next(self._task, event, take=not self._ending.is_set)
                except InfrastructureError as error:
                    failures += 1
                    # Others take the event once its visibility has passed.
                    if self._stream._is_closed() or (self._ending.is_set and failures > 3):
                        return
                    message = "a consumer got no event (%s); it tries again"
                    outcome = type(error).__name__
                    _warn(self._stream._service, "consume", outcome, message, outcome)
                    self._ending.wait(self._stream._policy.pause(failures))
                    continue
                failures = 0
                if event:
                    self._handle(event)
        except BaseException:
            logger.exception(
                "a consumer stops: a handler asked to exit, or the library has a defect"
            )
            self._ending.set()

    def _handle(self, event: _Delivery) -> None:
        """Call the handler, and note in the event what became of it."""
        task, stream = self._task, self._stream
        if event.deaths > task.retries:
            event.error = "ConsumerDied"
            return
        try:
            message = Message(task.channel, None, event.payload.decode())
        except UnicodeDecodeError:
            event.error = "SerializationError"
            return
        error = _handle(stream._observer, stream._service, task.handler, message, task.channel)
        if error is None:
            return
        self.handler_errors += 1
        event.error, event.failures = type(error).__name__, event.failures + 1
        if event.failures <= task.retries and not getattr(error, "_unreadable", False):
            pause = task.backoff * 2.0 ** min(event.failures - 1, 30)
            event.pause = min(self.LONGEST_PAUSE, pause)


_Written: TypeAlias = Sequence[tuple[str, str]]  # the id and the text of events


class EventStream(_Closeable):
    """A port: events that are kept until each group of their channel has handled them.

    One worker of a group at a time has an event. It is delivered at least once: until the handler
    has returned, it comes again. See :class:`Inbox` for an effect that happens once.

    A handler that raises is called again after ``backoff`` seconds, then twice that, and so on, at
    most 5 minutes; ``retries=5`` means five calls after the first. A consumer that dies, or takes
    longer than ``visibility`` seconds, loses the event to another worker; that is counted apart. An
    event with more failures or more deaths than ``retries`` becomes a dead letter. So does, at
    once, one whose payload the handler cannot ``deserialize``.

    Methods raise ConnectionError or TimeoutError if the broker does not answer, MessagingError if
    it refuses, and ValidationError before anything is sent. Names are as the keys of
    :class:`KeyValueClient`. Threads may share a stream. A forked child has no consumers.

    Attributes:
        capabilities: what not all backends can do. A call that needs another one raises
            ConfigurationError. "history": ``read``; "past": groups with ``start="all"``; "trim";
            "pending"; "takeover": ``visibility`` is exact; "deduplication": an append whose answer
            is lost is repeated, and stored once.
    """

    capabilities: frozenset[str] = frozenset()
    _service: str
    _policy: CallPolicy
    _consumer_class: ClassVar[type[Consumer]] = Consumer
    _closed = False

    def declare(self, channel: str, group: str, *, start: str = "new") -> None:
        """Create a group unless it exists. It gets the events from now on.

        With ``start="all"`` it also gets those that the channel still has.
        """
        names = self._named(channel, group)
        start = _plain(start)
        if start not in ("new", "all"):
            raise ValidationError("start should be new or all")
        if start == "all":
            self._require("past")
        self._ask("declare", self._declare, *names, start == "all", None)

    def append(self, channel: str, event: Event, *, delay: float = 0.0) -> str:
        """Store the event, and return its id, which is that of its Message.

        After a ``delay`` in seconds it is delivered. Raises MessagingError with the ``outcome``
        "unknown" if the answer was lost, so that it may have been stored.
        """
        delay = _TTL_OR_0.check("delay", delay)
        return self._append_all("append", channel, [event], delay)[0]

    def append_many(self, channel: str, events: Iterable[Event]) -> list[str]:
        """Store the events in order, and return their ids. All are checked before.

        After an error, those before the first that failed may have been stored.
        """
        return self._append_all("append_many", channel, _check_many("events", events))

    def consume(
        self,
        channel: str,
        group: str,
        handler: _Handler,
        *,
        workers: int = 1,
        ordered: bool = False,
        retries: int = 5,
        backoff: float = 1.0,
        visibility: float = 60.0,
    ) -> Consumer:
        """Handle the group's events, in so many threads; declare the group if it is new.

        ``ordered``: the group has one event at a time, also if several processes consume, so a
        failed one blocks those behind it until it is handled or given up. All consumers of a group
        should agree on that. Times are in seconds.
        """
        channel, group = self._named(channel, group)
        _check_function("handler", handler, "a Message")
        _check_range("workers", workers, 1, 1000)
        _FLAG.check("ordered", ordered)
        _COUNT_OR_0.check("retries", retries)
        _WAIT.check("backoff", backoff)
        _WAIT.check("visibility", visibility)
        task = _GroupTask(channel, group, handler, ordered, retries, backoff, visibility)
        self._ask("consume", self._declare, channel, group, False, task)
        consumer = self._consumer_class(self, task)
        self._consumers[consumer] = None  # before it starts, so that close() finds it
        consumer._start(workers)
        if self._closed:  # meanwhile
            consumer.close()
        return consumer

    def dead_letters(self, channel: str, group: str, limit: int = 100) -> list[DeadLetter]:
        """Return the events that the group has given up, the oldest first."""
        names = self._named(channel, group)
        _check_range("limit", limit, 1, 10**9)
        return self._ask("dead_letters", self._dead, *names, limit)

    def retry_dead(self, channel: str, group: str, ids: Iterable[str] | None = None) -> int:
        """Give dead letters, by default all, to their group once more; return their number.

        They come behind the events that wait.
        """
        return self._settle_dead("retry_dead", channel, group, ids)

    def drop_dead(self, channel: str, group: str, ids: Iterable[str] | None = None) -> int:
        """Delete dead letters, by default all, and return their number."""
        return self._settle_dead("drop_dead", channel, group, ids)

    def read(self, channel: str) -> Iterator[Message]:
        """Iterate over the events that the channel still has, handled or not, the oldest first."""
        self._require("history")
        return self._each(self._ask("read", self._read, _check_key(channel, "channel")))

    def trim(self, channel: str, *, older: float = 0.0) -> int:
        """Delete the events that each group has handled; return their number.

        ``older``: only those that are that many seconds old.
        """
        self._require("trim")
        older = _TTL_OR_0.check("older", older)
        return self._ask("trim", self._trim, _check_key(channel, "channel"), older)

    def pending(self, channel: str, group: str) -> int:
        """Return the number of events that the group has still to handle.

        Those that are appended with a delay count once it has passed. Raises NotFoundError if the
        group is not declared.
        """
        self._require("pending")
        found = self._ask("pending", self._pending, *self._named(channel, group))
        if found is None:
            raise NotFoundError("the group is not declared", service=self._service)
        return found

    @abstractmethod
    def health_check(self) -> Health:
        """Ask the server for its version."""

    def close(self) -> None:
        """Close the consumers. Later calls raise ConnectionError."""
        self._closed = True
        _close_all([*self._consumers])

    def _open(self, service: str, clock: Clock, observer: Observer | None) -> None:
        self._service, self._clock, self._observer = service, clock, observer
        self._writer = _EventWriter(clock, observer, None)
        self._consumers: dict[Consumer, None] = {}  # a set, in order

    def _holds(self) -> bool:
        return not self._closed and any(each._holds() for each in [*self._consumers])

    def _is_closed(self) -> bool:
        """Return whether no call can succeed any more."""
        return self._closed

    @staticmethod
    def _named(channel: str, group: str) -> tuple[str, str]:
        return _check_key(channel, "channel"), _check_key(group, "group")

    def _require(self, capability: str) -> None:
        if capability not in self.capabilities:
            raise ConfigurationError(f"{type(self).__name__} has no capability {capability!r}")

    def _ask(self, operation: str, call: Callable[..., T], *arguments: Any) -> T:
        """Return the result of the call. Raises MessagingError as ``append`` says."""
        if self._closed:
            raise _closed("the event stream", service=self._service, operation=operation)
        try:
            return call(*arguments)
        except CacheError as error:
            raise _refused(error, operation=operation) from error
        except (ConnectionError, TimeoutError) as error:
            if not (error._sent and operation in ("append", "append_many")):
                raise
            text = f"{error}: the event may have been stored"
            unknown = {"outcome": "unknown", "retryable": False}
            raise _refused(error, text, operation=operation, **unknown) from error

    def _append_all(
        self, operation: str, channel: str, events: Sequence[Event], delay: float = 0.0
    ) -> list[str]:
        channel = _check_key(channel, "channel")
        for event in events:
            _check_event(event)
        written = [self._writer.write(event) for event in events]
        self._store_all(operation, channel, written, delay)
        return [id for id, _ in written]

    def _forward(self, channel: str, written: _Written) -> None:
        """Store events of an outbox."""
        self._store_all("append_many", channel, written, 0.0)

    def _store_all(self, operation: str, channel: str, written: _Written, delay: float) -> None:
        for start in range(0, len(written), _PIPELINE):
            part = written[start : start + _PIPELINE]
            self._ask(operation, self._append, channel, part, delay)

    def _settle_dead(
        self, operation: str, channel: str, group: str, ids: Iterable[str] | None
    ) -> int:
        names, again = self._named(channel, group), operation == "retry_dead"
        if ids is None:
            ids = [letter.id for letter in self._ask(operation, self._dead, *names, None)]
        some = [_check_key(id, "an id") for id in _check_many("ids", ids)]
        return self._ask(operation, self._bring_back, *names, some, again) if some else 0

    def _each(self, found: Iterator[Message]) -> Iterator[Message]:
        following: Callable[[], Message | None] = functools.partial(next, found, None)
        while message := self._ask("read", following):
            yield message

    def _notes(self, event: _Delivery) -> str:
        """Return what a dead letter keeps beside the payload."""
        at = _to_utc(self._clock.now()).isoformat()
        return f"{event.failures} {event.deaths} {at} {event.error}"

    @staticmethod
    def _letter(channel: str, id: str, notes: str, payload: str) -> DeadLetter:
        failures, deaths, at, error = notes.split(" ", 3)
        message, moment = Message(channel, None, payload), datetime.fromisoformat(at)
        return DeadLetter(id, message, error, int(failures), int(deaths), moment)

    @abstractmethod
    def _declare(
        self, channel: str, group: str, past: bool, task: _GroupTask | None, /
    ) -> None: ...
    @abstractmethod
    def _append(self, channel: str, written: _Written, delay: float, /) -> None: ...
    @abstractmethod
    def _next(self, task: _GroupTask, event: _Delivery | None, *, take: bool) -> _Delivery | None:
        """Settle an event, if one is given; take the next, and wait for it for a moment."""

    @abstractmethod
    def _dead(self, channel: str, group: str, limit: int | None, /) -> list[DeadLetter]: ...
    @abstractmethod
    def _bring_back(self, channel: str, group: str, ids: Sequence[str], again: bool, /) -> int: ...

    # Those of a capability:
    _read: Callable[[str], Iterator[Message]]
    _trim: Callable[[str, float], int]
    _pending: Callable[[str, str], int | None]


# All changes of a group are one script each: no crash can halve them. Times are the server's. Of
# each event that is taken, the sorted set "work" has the time at which another worker may take it,
# and the hash "tries" how often its handler has raised. A failure changes nothing once another
# worker has taken the event.
_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
_IS_FOR = """
local function is_for(group, entry)
  return entry[2][3] ~= 'group' or entry[2][4] == group
end
"""
_TAKE_SCRIPT = f"""{_NOW}{_IS_FOR}
local stream, later, work, tries, dead = unpack(KEYS)
local group, visibility, ordered, take, id, takes, pause, failures, notes = unpack(ARGV)
local function takes_of(id)
  local found = redis.call('XPENDING', stream, group, id, id, 1)[1]
  return found and found[4]
end
local function forget(id)
  redis.call('XACK', stream, group, id)
  redis.call('ZREM', work, id)
  redis.call('HDEL', tries, id)
end
if id and (notes == '' or takes_of(id) == tonumber(takes)) then
  if pause ~= '' then
    redis.call('ZADD', work, now + pause, id)
    redis.call('HSET', tries, id, failures)
  else
    local found = notes ~= '' and redis.call('XRANGE', stream, id, id)[1]
    if found then redis.call('XADD', dead, '*', 'event', found[2][2], 'notes', notes) end
    forget(id)
  end
end
if take == '0' then return {{}} end
for _, event in ipairs(redis.call('ZRANGEBYSCORE', later, '-inf', now, 'LIMIT', 0, 100)) do
  redis.call('XADD', stream, '*', 'event', event)
  redis.call('ZREM', later, event)
end
local entry, count, failed = nil, 1, 0
while not entry do
  local due = redis.call('ZRANGEBYSCORE', work, '-inf', now, 'LIMIT', 0, 1)[1]
  if due then
    entry = redis.call('XCLAIM', stream, group, 'infra', 0, due)[1]
    if entry then count, failed = takes_of(due), tonumber(redis.call('HGET', tries, due) or 0)
    else forget(due) end
  elseif ordered == '1' and redis.call('ZCARD', work) > 0 then
    break
  else
    local found = redis.pcall(
      'XREADGROUP', 'GROUP', group, 'infra', 'COUNT', 1, 'STREAMS', stream, '>')
    if not found then break end
    if found.err then
      redis.call('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
    else
      entry = found[1][2][1]
      if not is_for(group, entry) then
        redis.call('XACK', stream, group, entry[1])
        entry = nil
      end
    end
  end
end
if entry then
  redis.call('ZADD', work, now + visibility, entry[1])
  return {{entry[1], count, failed, entry[2][2]}}
end
local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
local wait = 1000
for _, set in ipairs({{work, later}}) do
  local first = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')[2]
  if first then wait = math.min(wait, first - now) end
end
return {{last and last[1] or '0-0', wait}}
"""
_DELAY_SCRIPT = f"""{_NOW}
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i]) end
"""
_DECLARE_SCRIPT = """
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], ARGV[2], 'MKSTREAM')
if made.err and not string.find(made.err, 'BUSYGROUP') then return made end
"""
_BRING_BACK_SCRIPT = """
local count = 0
for i = 3, #ARGV do
  local found = redis.pcall('XRANGE', KEYS[2], ARGV[i], ARGV[i])[1]  -- nil: it is no id
  if found and redis.call('XDEL', KEYS[2], ARGV[i]) == 1 then
    count = count + 1
    if ARGV[2] == '1' then
      redis.call('XADD', KEYS[1], '*', 'event', found[2][2], 'group', ARGV[1])
    end
  end
end
return count
"""
_GROUPS = """
local groups = {}
for _, found in ipairs(redis.pcall('XINFO', 'GROUPS', KEYS[1])) do
  groups[found[2]] = {pending = found[6], last = found[8]}
end
"""
_PENDING_SCRIPT = f"""{_IS_FOR}{_GROUPS}
local name, last, count = ARGV[1], ARGV[2], 0
if last == '' then
  if not groups[name] then return {{-1, ''}} end
  count, last = groups[name].pending, groups[name].last
end
local page = redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', 1000)
for _, entry in ipairs(page) do
  if is_for(name, entry) then count = count + 1 end
end
return {{count, #page == 1000 and page[1000][1] or ''}}
"""
_TRIM_SCRIPT = f"""{_NOW}{_GROUPS}
if not next(groups) then return 0 end
local ms, seq = now - ARGV[1] + 1, 0
for name, group in pairs(groups) do
  local first = redis.call('XPENDING', KEYS[1], name)[2]
  local a, b = string.match(first or group.last, '(%d+)-(%d+)')
  a, b = tonumber(a), tonumber(b) + (first and 0 or 1)
  if a < ms or (a == ms and b < seq) then ms, seq = a, b end
end
return redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f-%.0f', ms, seq))
"""


class RedisEventStream(EventStream):
    """Events in Redis Streams: Redis 6.2 or later, Valkey, or a cluster.

    https://redis.io/docs/latest/develop/data-types/streams/. A channel has one stream and some keys
    beside it, all in one slot of a cluster. The consumers of a group share one name in Redis. Each
    worker uses one of the client's connections. A crash of the server loses nothing only with
    ``appendonly yes``; with ``appendfsync everysec`` it loses the last second. Events that all
    groups have handled stay for ``keep`` seconds, then consumers delete them.
    """

    capabilities = frozenset({"history", "past", "trim", "pending", "takeover"})
    BLOCK = 0.5  # seconds that one question waits for an event: as long ``close`` may take
    TIDY = 60.0  # seconds between two looks for events that are older than ``keep``
    _owns_client = False

    def __init__(
        self,
        client: RedisClient,
        prefix: str = "stream:",
        *,
        keep: float = 86400.0,
        clock: Clock | None = None,
    ) -> None:
        """Use a client, which stays open. ``prefix`` precedes the channel in each key."""
        if not isinstance(client, RedisClient):
            raise ValidationError("client should be a RedisClient; see fakes.FakeEventStream")
        self._client, self._policy = client, client._policy
        self._prefix = _check_text("prefix", prefix, blank_ends=False)
        if "{" in prefix:
            raise ValidationError("prefix should not hold a brace")
        self._keep = _TTL_OR_0.check("keep", keep)
        self._open("redis", _clock(clock, client._clock), client._observer)

    def health_check(self) -> Health:
        return self._client.health_check()

    def close(self) -> None:
        super().close()
        if self._owns_client:
            self._client.close()

    def _is_closed(self) -> bool:
        return self._client._closed

    def _keys(self, channel: str, group: str = "") -> list[str]:
        """Return the keys of the events and the delayed ones; of a group: work, tries, dead."""
        base, name = f"{self._prefix}{{{_key_part(channel)}}}:", group and _key_part(group)
        parts = ("events", "later", f"work:{name}", f"tries:{name}", f"dead:{name}")
        return [base + part for part in parts]

    def _run(self, operation: str, script: str, keys: Sequence[str], *arguments: Any) -> Any:
        command = ("EVAL", script, len(keys), *keys, *arguments)
        return self._client._send(operation, command, key=keys[0])

    def _declare(self, channel: str, group: str, past: bool, task: _GroupTask | None) -> None:
        keys, name = self._keys(channel, group), _key_part(group)
        self._run("declare", _DECLARE_SCRIPT, keys[:1], name, "0" if past else "$")
        if task is not None:
            words = name, _milliseconds(task.visibility), int(task.ordered)
            tidy_at = SystemClock.monotonic() + self.TIDY
            task.state.update(keys=keys, words=words, tidy_at=tidy_at)

    def _append(self, channel: str, written: _Written, delay: float) -> None:
        stream, later, *_ = self._keys(channel)
        texts = [text for _, text in written]
        if delay:
            self._run("append", _DELAY_SCRIPT, [later], _milliseconds(delay), *texts)
            return
        commands: list[_Command] = [("XADD", stream, "*", "event", text) for text in texts]
        if len(commands) > 1:
            commands = [("MULTI",), *commands, ("EXEC",)]
        self._client._send("append", *commands, key=stream)

    def _next(self, task: _GroupTask, event: _Delivery | None, *, take: bool) -> _Delivery | None:
        state, now = task.state, SystemClock.monotonic()
        settled: tuple[Any, ...] = ()
        if now > state["tidy_at"]:
            state["tidy_at"] = now + self.TIDY
            self._trim(task.channel, self._keep)
        if event is not None:
            pause = "" if event.pause is None else _whole_milliseconds(event.pause)
            notes = event.error and self._notes(event)
            settled = *event.ref, pause, event.failures, notes
        keys, words = state["keys"], state["words"]
        reply = self._run("consume", _TAKE_SCRIPT, keys, *words, int(take), *settled)
        if len(reply) == 4:
            id, takes, failures, payload = reply
            return _Delivery((id.decode(), takes), payload, failures, takes - 1 - failures)
        if reply:
            last, wait = reply  # until the stream has a later event, or so many milliseconds
            longest = min(self.BLOCK, self._client._transport.driver.config.socket_timeout / 2)
            block = max(1, min(wait, int(longest * 1000)))  # 0 would be for ever
            command = ("XREAD", "BLOCK", block, "COUNT", 1, "STREAMS", keys[0], last.decode())
            self._client._send("wait", command, key=keys[0])
        return None

    def _dead(self, channel: str, group: str, limit: int | None) -> list[DeadLetter]:
        entries = itertools.islice(self._entries(self._keys(channel, group)[4]), limit)
        return [self._letter(channel, id, found["notes"], found["event"]) for id, found in entries]

    def _entries(self, stream: str) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield the id and the fields of each entry."""
        start = "-"
        while True:
            command = ("XRANGE", stream, start, "+", "COUNT", _PIPELINE)
            page = self._client._send("read", command, key=stream)
            for id, flat in page:
                texts = [raw.decode(errors="replace") for raw in flat]
                yield id.decode(), dict(zip(texts[::2], texts[1::2]))
            if len(page) < _PIPELINE:
                return
            start = f"({page[-1][0].decode()}"

    def _bring_back(self, channel: str, group: str, ids: Sequence[str], again: bool) -> int:
        stream, *_, dead = self._keys(channel, group)
        words, done = (_key_part(group), int(again)), 0
        for start in range(0, len(ids), _PIPELINE):
            some = ids[start : start + _PIPELINE]
            done += self._run("retry_dead", _BRING_BACK_SCRIPT, [stream, dead], *words, *some)
        return done

    def _read(self, channel: str) -> Iterator[Message]:
        for _, found in self._entries(self._keys(channel)[0]):
            if "group" not in found:
                yield Message(channel, None, found.get("event", ""))

    def _trim(self, channel: str, older: float) -> int:
        words = self._keys(channel)[:1], _milliseconds(older) if older else 0
        return int(self._run("trim", _TRIM_SCRIPT, *words))

    def _pending(self, channel: str, group: str) -> int | None:
        keys, name, total, last = self._keys(channel)[:1], _key_part(group), 0, ""
        while True:  # page by page: a script stops the server
            count, following = self._run("pending", _PENDING_SCRIPT, keys, name, last)
            if count < 0:
                return None
            total += int(count)
            last = following.decode()
            if not last:
                return total


_NO_JETSTREAM = _outage("answers, but without JetStream: start it with -js")
_NATS_ERRORS: Mapping[str, _ErrorRule] = {
    "AuthorizationError": _no_connection("refused the login: check the user and password"),
    "NoRespondersError": _NO_JETSTREAM,
    "ServiceUnavailableError": _NO_JETSTREAM,
    "APIError": _ErrorRule(MessagingError, "refused the request"),
    "MaxPayloadError": _ErrorRule(MessagingError, "takes no event of that size: see max_payload"),
    "TimeoutError": _NO_ANSWER,
    "Error": _LOST,
    "OSError": _ErrorRule(ConnectionError, "could not be reached", retryable=True),
}
_NATS_REPEATABLE = frozenset({"append", "declare", "dead_letters", "health_check", "settle"})


class NatsEventStream(EventStream):
    """Events in NATS JetStream, by ``nats-py`` on one thread of its own.

    https://docs.nats.io/nats-concepts/jetstream. Each channel has a stream that keeps an event
    until each group has handled it, and one for dead letters and counts of failures. ``prefix``
    precedes their names. A delayed event of an ordered group blocks those behind it. An event may
    have 1,000 bytes less than the server's ``max_payload``. Raises ConfigurationError if
    ``nats-py`` is missing.
    """

    capabilities = frozenset({"takeover", "deduplication"})
    BLOCK = 0.5  # seconds that one question waits for an event: as long ``close`` may take
    RESERVED = 1000  # bytes of the server's max_payload, for what a dead letter adds to an event

    def __init__(
        self,
        config: NatsConfig,
        prefix: str = "infra",
        *,
        clock: Clock | None = None,
        observer: _Observing | None = None,
    ) -> None:
        if not isinstance(config, NatsConfig):
            raise ConfigurationError("config should be a NatsConfig")
        self._driver = _import_driver("nats", "nats-py>=2.7", "NatsEventStream")
        self._errors = self._driver.js.errors
        self._config, self._prefix = config, _check_key(prefix, "prefix")
        url = _Url.parse(config.url)
        self._server = f"{url.host}:{url.port or 4222}"
        self._open("nats", _clock(clock), _observers(observer))
        self._policy = CallPolicy(
            "nats",
            translate=self._translate,
            repeatable=_NATS_REPEATABLE,
            deadline=config.deadline,
            retries=config.retries,
            clock=self._clock,
            observer=self._observer,
            breaker=_new_breaker(config, "nats", self._clock),
            slow=config.slow,
            server=self._server,
        )
        self._forget_parent()
        _fork_aware.add(self)
        _watch(self._observer, "nats", self)

    def _forget_parent(self) -> None:
        self._starting = threading.RLock()  # guards the loop
        self._loop: Any = None
        self._client: Any = None
        self._calls: dict[Any, Any] = {}  # by task: the client that it uses
        self._known: set[str] = set()  # channels and groups that exist

    def health_check(self) -> Health:
        started = time.perf_counter()
        version = self._call("health_check", self._version)
        return Health("nats", f"NATS {version}", time.perf_counter() - started)

    async def _version(self) -> str:
        await self._js.account_info()
        found = self._client.connected_server_version
        return f"{found.major}.{found.minor}.{found.patch}"

    def close(self) -> None:
        super().close()
        with self._starting:
            loop, self._loop = self._loop, None
        if loop is None:
            return
        import asyncio

        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(self._end(), loop).result(2)
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join(1)

    async def _end(self) -> None:
        import asyncio

        if self._client is not None:
            await self._client.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}  # calls, and those of nats-py
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=1)

    def _holds(self) -> bool:
        return self._loop is not None

    def _translate(self, exc: Exception, attempt: Attempt) -> InfrastructureError | None:
        rule = _find_rule(_NATS_ERRORS, [kind.__name__ for kind in type(exc).__mro__])
        if rule is None:
            return None
        self._known.clear()  # somebody may have deleted a stream
        attempt.sent = attempt.sent and rule.may_have_acted
        code = getattr(exc, "err_code", None)
        detail = _os_reason(exc) or (f" ({code})" if code else "")
        message = f"nats at {self._server} {rule.message}{detail}"
        return rule.error_class(message, retryable=rule.retryable, code=code)

    def _call(self, operation: str, work: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Run a coroutine in the loop's thread, and return its result."""
        import asyncio

        def ask(attempt: Attempt) -> T:
            with self._starting:
                loop = self._loop or self._start()
                call = self._run(attempt, work, *arguments)
                future = asyncio.run_coroutine_threadsafe(call, loop)
            try:
                return future.result()
            finally:
                future.cancel()  # after Ctrl-C

        return self._policy.call(operation, ask)

    def _start(self) -> Any:
        """Return a new loop, which runs in a thread."""
        import asyncio

        if self._closed:  # by the handler of a worker that has yet to settle its event
            raise _closed("the event stream")
        self._loop, self._connecting = asyncio.new_event_loop(), asyncio.Lock()
        run_loop = functools.partial(_run_loop, self._loop)
        self._thread = threading.Thread(target=run_loop, name="infra-nats", daemon=True)
        self._thread.start()
        return self._loop

    async def _run(self, attempt: Attempt, work: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        import asyncio

        task: Any = asyncio.current_task()
        client = self._client
        late = asyncio.get_running_loop().call_later(attempt.remaining(), task.cancel)
        try:
            if client is None or not client.is_connected:
                client = await asyncio.wait_for(self._connect(), self._config.connect_timeout)
            self._calls[task] = client
            attempt.sent = True
            return await work(*arguments)
        except asyncio.CancelledError:
            is_lost = attempt.sent and not self._calls[task].is_connected
            raise (ConnectionResetError if is_lost else asyncio.TimeoutError) from None
        finally:
            late.cancel()
            self._calls.pop(task, None)

    async def _connect(self) -> Any:
        """Return a connected client. nats-py's own reconnecting would not tell what was sent."""
        notify = {"error_cb": self._end_lost_calls, "disconnected_cb": self._end_lost_calls}
        async with self._connecting:
            if self._client is not None and self._client.is_connected:
                return self._client
            client = self._driver.NATS()
            try:
                await client.connect(self._config.url, allow_reconnect=False, **notify)
            except BaseException:
                await client.close()
                raise
            self._client, self._js = client, client.jetstream()
            return client

    async def _end_lost_calls(self, *_: Exception) -> None:
        """Cancel the calls that wait for an answer of a lost connection."""
        for task, client in [*self._calls.items()]:
            if not client.is_connected:
                task.cancel()

    def _names(self, channel: str, group: str = "") -> tuple[str, str, str]:
        """Return the names of the channel's streams, of events and of the rest; and the group's."""
        name = f"{_nats_name(self._prefix)}-{_nats_name(channel)}"
        return name, f"{name}-kept", _nats_name(group)

    async def _make_streams(self, channel: str) -> None:
        if channel in self._known:
            return
        stores = zip(self._names(channel), ("interest", "limits"), (120, 86400))
        for stream, retention, seconds in stores:
            try:
                await self._js.add_stream(
                    name=stream,
                    subjects=[f"{stream}.>"],
                    retention=retention,
                    duplicate_window=seconds,
                )
            except self._errors.BadRequestError as exc:
                if exc.err_code != 10058:  # it exists, and somebody has configured it
                    raise
        self._known.add(channel)

    def _declare(self, *arguments: Any) -> None:
        self._call("declare", self._make_group, *arguments)

    async def _make_group(
        self, channel: str, group: str, past: bool, task: _GroupTask | None
    ) -> None:
        """Create the group's consumer, or set it up as the task wants."""
        await self._make_streams(channel)
        stream, _, name = self._names(channel, group)
        if task is None:
            with contextlib.suppress(self._errors.NotFoundError):
                await self._js.consumer_info(stream, name)
                return
        await self._js.add_consumer(
            stream,
            durable_name=name,
            deliver_policy="new",
            ack_wait=task.visibility if task else 60.0,
            max_ack_pending=1 if task and task.ordered else -1,  # -1: no limit
        )

    def _append(self, *arguments: Any) -> None:
        self._call("append", self._store, *arguments)

    async def _store(self, channel: str, written: _Written, delay: float) -> None:
        import asyncio

        await self._make_streams(channel)
        subject, answers = f"{self._names(channel)[0]}.event", []
        events = [(id, text.encode()) for id, text in written]
        if max(len(payload) for _, payload in events) > self._client.max_payload - self.RESERVED:
            raise self._driver.errors.MaxPayloadError
        for id, payload in events:
            headers = {"Nats-Msg-Id": id, "Infra-Delay": repr(delay)}
            answers.append(await self._js.publish_async(subject, payload, headers=headers))
        await asyncio.gather(*answers)

    def _next(self, task: _GroupTask, event: _Delivery | None, *, take: bool) -> _Delivery | None:
        if event is not None:
            self._call("settle", self._settle, task, event)
        return self._call("wait", self._fetch, task) if take else None

    async def _fetch(self, task: _GroupTask) -> _Delivery | None:
        stream, kept, group = self._names(task.channel, task.group)
        consumer = f"{stream}.{group}"
        if consumer not in self._known:
            await self._make_group(task.channel, task.group, False, task)
            self._known.add(consumer)
        # Not nats-py's fetch: if it gives up first, the server may send an event to nobody.
        message = await self._client.request(
            f"$JS.API.CONSUMER.MSG.NEXT.{consumer}",
            b'{"batch": 1, "expires": %d}' % (self.BLOCK * 1e9),
            timeout=self._config.deadline,
            old_style=True,
        )
        headers, reply = message.headers or {}, message.reply
        if "Status" in headers:  # there was none in time
            return None
        if headers.get("Infra-Group", task.group) != task.group:
            await self._client.publish(reply, b"+ACK")
            return None
        found = message.metadata
        tries = f"{kept}.tries.{group}.{found.sequence.stream}"
        returned = 0
        if found.num_delivered > 1:
            with contextlib.suppress(self._errors.NotFoundError):
                returned = int((await self._js.get_last_msg(kept, tries)).data)
        delay = float(headers.get("Infra-Delay", 0))
        failures, deaths = returned - (delay > 0), found.num_delivered - 1 - returned
        ref = reply, kept, group, tries, returned, SystemClock.monotonic() + task.visibility
        event = _Delivery(ref, message.data, failures, deaths)
        if failures >= 0:
            return event
        # A delayed event comes once before its time: this call returns it, and counts that.
        age = (datetime.now(timezone.utc) - found.timestamp).total_seconds()
        event.pause = max(0.0, delay - max(0.0, age))
        await self._settle(task, event)
        return None

    async def _settle(self, task: _GroupTask, event: _Delivery) -> None:
        await self._make_streams(task.channel)
        reply, kept, group, tries, returned, until = event.ref
        if event.error and SystemClock.monotonic() > until:
            return  # another worker has the event
        if event.pause is not None:
            await self._js.publish(tries, b"%d" % (returned + 1))
            again = b'-NAK {"delay": %d}' % math.ceil(event.pause * 1e9)
            await self._client.publish(reply, again)
            return
        if event.error:
            letter = f"{self._notes(event)}\n".encode() + event.payload
            headers = {"Nats-Msg-Id": tries}  # it may be stored already
            await self._js.publish(f"{kept}.dead.{group}", letter, headers=headers)
        await self._client.publish(reply, b"+ACK")
        if returned:
            await self._js.purge_stream(kept, subject=tries)

    def _dead(self, *arguments: Any) -> list[DeadLetter]:
        return self._call("dead_letters", self._letters, *arguments)

    async def _letters(self, channel: str, group: str, limit: int | None) -> list[DeadLetter]:
        _, kept, name = self._names(channel, group)
        found, number = list[DeadLetter](), 1
        with contextlib.suppress(self._errors.NotFoundError):  # the end, or no stream
            while limit is None or len(found) < limit:
                subject = f"{kept}.dead.{name}"
                raw = await self._js.get_msg(kept, seq=number, subject=subject, next=True)
                number = raw.seq + 1
                notes, _, payload = raw.data.decode(errors="replace").partition("\n")
                found.append(self._letter(channel, str(raw.seq), notes, payload))
        return found

    def _bring_back(self, *arguments: Any) -> int:
        return self._call("retry_dead", self._settle_letters, *arguments)

    async def _settle_letters(
        self, channel: str, group: str, ids: Sequence[str], again: bool
    ) -> int:
        stream, kept, name = self._names(channel, group)
        count = 0
        for id in dict.fromkeys(ids):
            try:
                raw = await self._js.get_msg(kept, seq=int(id))
            except (ValueError, self._errors.APIError):
                continue
            if raw.subject != f"{kept}.dead.{name}":
                continue
            if again:
                headers = {"Nats-Msg-Id": f"again-{id}", "Infra-Group": group}
                payload = raw.data.partition(b"\n")[2]
                await self._js.publish(f"{stream}.event", payload, headers=headers)
            await self._js.delete_msg(kept, raw.seq)
            count += 1
        return count


def _run_loop(loop: Any) -> None:
    with contextlib.closing(loop):
        loop.run_forever()


def _nats_name(text: str) -> str:
    """Return a name without the signs that NATS keeps for itself; a digest of a long one."""
    name = re.sub("[^0-9A-Za-z]", lambda sign: f"_{sign[0].encode().hex()}_", text)
    return name if len(name) <= 100 else _sha256(text.encode())


# === sms ==========================================================================================


class SmsService(_Closeable):
    """Sends text messages. Phones may have any form that :func:`normalize_phone` accepts.

    Sending raises ValidationError for other phones, and for a message that is empty or over 1,600
    characters, the providers' limit. ConnectionError and ConfigurationError mean that nothing was
    sent. The ``outcome`` of SmsError is "rejected" or "unknown"; after "unknown" a message is never
    sent again. Threads may share a service.
    """

    #: the provider's name, as in ``SmsConfig.provider``
    provider_name: ClassVar[str]
    _closed = False

    def send_sms(self, phone: str, message: str) -> str:
        """Send ``message`` and return the provider's message id."""
        number, message = normalize_phone(phone), _check_text("message", message, longest=1600)
        if not message.strip():
            raise ValidationError("message should not be empty")
        return self._send_if_open(number, message, None)

    def send_verification_code(self, phone: str, code: str) -> str:
        """Send a text with ``code`` (1 to 64 characters) and return the provider's message id."""
        number, code = normalize_phone(phone), VerificationCache._check_code(code)
        return self._send_if_open(number, f"Your verification code is {code}", code)

    def is_available(self) -> bool:
        """Return whether the service would try to send. Sends no request."""
        return not self._closed

    def close(self) -> None:
        """Close the service. Later sends raise ConnectionError."""
        self._closed = True

    def _send_if_open(self, phone: str, message: str, code: str | None) -> str:
        if self._closed:
            raise _closed("the SMS service", service="sms", operation=self._operation(code))
        return _not_deferred(self._send(phone, message, code))

    @staticmethod
    def _operation(code: str | None) -> str:
        return "send_sms" if code is None else "send_verification_code"

    @abstractmethod
    def _send(self, phone: str, message: str, code: str | None) -> str: ...


class MockSmsService(SmsService):
    """Prints each message in a frame instead of sending it. For development.

    The constructor logs a warning, because in production nothing would be sent.

    Attributes:
        message_count: number of messages printed so far.
        simulate_failure: if True, sending raises SmsError with outcome "rejected".
    """

    provider_name = "mock"

    def __init__(
        self, stream: io.TextIOBase | None = None, *, simulate_failure: bool = False
    ) -> None:
        """Take a text file that is open for writing, by default ``sys.stdout`` at each send.

        Raises ConfigurationError for anything else, and if ``simulate_failure`` is not a bool.
        """
        if stream is not None and not _is_file(stream, "write", binary=False):
            raise ConfigurationError("stream should be a text file that is open for writing")
        logger.warning("MockSmsService prints messages and codes, sends none: for development only")
        self.simulate_failure = _FLAG.require("simulate_failure", simulate_failure)
        self.message_count = 0
        self._stream = stream
        self._lock = threading.RLock()  # guards message_count; a signal handler may send too

    def _send(self, phone: str, message: str, code: str | None) -> str:
        if self.simulate_failure:
            raise SmsError("the mock was told to fail", service="sms", operation="send_sms")
        stream = self._stream or sys.stdout
        lines = [f"SMS to {mask_phone(phone)}", *message.splitlines()]
        width = max(map(len, lines))
        edge = f"+{'-' * (width + 2)}+"
        framed = "\n".join([edge, *(f"| {line:<{width}} |" for line in lines), edge, ""])
        # A console that has only ASCII still shows codes.
        encoding = getattr(stream, "encoding", None) or "utf-8"
        text = framed.encode(encoding, "backslashreplace").decode(encoding)
        # One write: the frames of several threads do not mix. It holds no lock.
        print(text, end="", file=stream, flush=True)
        with self._lock:
            self.message_count += 1
        return f"mock-{new_id()}"


def _check_sms_config(config: SmsConfig) -> None:
    if not isinstance(config, SmsConfig):
        raise ConfigurationError("config should be an SmsConfig: SmsConfig(provider=…)")


class _RemoteSmsService(SmsService):
    """A provider with a network API.

    A message that was not sent is retried once within ``config.timeout``. A sent one never is.
    """

    def __init__(self, config: SmsConfig, clock: Clock | None, observer: _Observing | None) -> None:
        _check_sms_config(config)
        self.config = config
        clock, observer = _clock(clock), _observers(observer)
        self._policy = CallPolicy(
            "sms",
            translate=self._translate,
            repeatable=frozenset(),
            deadline=config.timeout,
            retries=1,
            clock=clock,
            observer=observer,
            breaker=_new_breaker(config, self.provider_name, clock),
            slow=config.slow,
        )
        _watch(observer, "sms", self)

    def _send(self, phone: str, message: str, code: str | None) -> str:
        return self._policy.call(
            self._operation(code),
            lambda attempt: self._post(attempt, phone, message, code is not None),
        )

    @staticmethod
    def _endpoint(endpoint: str) -> _Url:
        _url_validator(_endpoint_problem, "https://host[:port]").require("endpoint", endpoint)
        url = _Url.parse(endpoint)
        if not _is_private(url):
            raise ConfigurationError("endpoint should be https: it gets phones, codes and secrets")
        return url

    def _unsent(self, exc: Exception) -> ConnectionError:
        return ConnectionError(
            f"{self.provider_name} could not be reached{_os_reason(exc)}; nothing was sent"
        )

    def _unknown(self, why: str, *, unanswered: bool = False) -> SmsError:
        words = f"{self.provider_name} {why}: the message may have been sent"
        error = SmsError(words, outcome="unknown")
        error._unanswered = unanswered
        return error

    def _rejected(self, why: str, **details: Any) -> SmsError:
        return SmsError(f"{self.provider_name} refused the message ({why})", **details)

    @abstractmethod
    def _post(self, attempt: Attempt, phone: str, message: str, is_code: bool) -> str: ...
    @abstractmethod
    def _translate(self, exc: Exception, attempt: Attempt) -> InfrastructureError | None: ...


def _basic_login(user: str | None, password: str | None) -> str:
    import base64

    return "Basic " + base64.b64encode(f"{user}:{password or ''}".encode()).decode()


class TwilioSmsService(_RemoteSmsService):
    """Twilio: one POST for each message, over the standard library's HTTPS client.

    https://www.twilio.com/docs/messaging/api/message-resource. ``config.api_key`` and
    ``api_secret`` are the Account SID ("AC…") and its auth token, or an API key ("SK…") and its
    secret, which needs ``account_sid``. ``sender`` is a number of yours or a messaging service
    ("MG…"). ``SmsError.code`` is Twilio's (https://www.twilio.com/docs/api/errors). The server's
    certificate is verified with the system's authorities, or those of ``SSL_CERT_FILE``.
    ``HTTPS_PROXY`` and ``NO_PROXY`` are respected.
    """

    provider_name = "twilio"

    def __init__(
        self,
        config: SmsConfig,
        *,
        endpoint: str = "https://api.twilio.com",
        clock: Clock | None = None,
        observer: _Observing | None = None,
    ) -> None:
        """Check the settings; connect for each message.

        ``endpoint`` is that of a region, for example https://api.dublin.ie1.twilio.com. Plain http
        is allowed on the local machine only. ``observer`` takes a :class:`Call` after each attempt.
        Raises ConfigurationError for a setting that is missing, and for an invalid argument.
        """
        super().__init__(config, clock, observer)
        needed = {"api_key": "SMS_API_KEY", "api_secret": "SMS_API_SECRET", "sender": "SMS_FROM"}
        for name, variable in needed.items():
            if getattr(config, name) is None:
                raise ConfigurationError(f"twilio needs SmsConfig.{name} ({variable})")
        account = config.account_sid or config.api_key or ""
        if not re.fullmatch("AC[0-9a-fA-F]{32}", account):
            raise ConfigurationError(
                "twilio needs the Account SID, AC and 32 hexadecimal digits: as SmsConfig.api_key "
                "(SMS_API_KEY) or, with an API key (SK…) there, as SmsConfig.account_sid "
                "(SMS_ACCOUNT_SID)"
            )
        self._url = self._endpoint(_plain(endpoint))
        sender = config.sender or ""
        is_service = re.fullmatch("MG[0-9a-fA-F]{32}", sender)
        self._sender = "MessagingServiceSid" if is_service else "From", sender
        self._path = f"/2010-04-01/Accounts/{account}/Messages.json"
        self._tls: Any = _tls_context({}, "verify-full") if self._url.scheme == "https" else None

    def _post(self, attempt: Attempt, phone: str, message: str, is_code: bool) -> str:
        import http.client
        import urllib.parse

        form = urllib.parse.urlencode([("To", phone), ("Body", message), self._sender])
        headers = {
            "Authorization": _basic_login(self.config.api_key, self.config.api_secret),
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
            "User-Agent": f"infra-twins/{__version__}",
        }
        host, port = self._url.host, self._url.port or (443 if self._tls else 80)
        connection = _whole_answers(http.client.HTTPConnection)(host, port)
        # http.client closes early. The file keeps the descriptor until the watchdog lets go.
        with self._connect(host, port, attempt) as raw, raw.makefile("rb", 0):
            watched = _WatchedSocket(raw, raw.gettimeout() or 0.0)
            connection.sock, attempt.sent = raw, True
            _watchdog.watch(watched)
            try:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # say why below
                    connection.request("POST", self._path, form, headers)
                with connection.getresponse() as response:
                    body = response.read(65536)
            finally:
                _watchdog.unwatch(watched)
        return self._answered(response.status, response.headers, body)

    def _connect(self, host: str, port: int, attempt: Attempt) -> socket.socket:
        proxy = _proxy_for(self._url) if self._tls else None  # plain http stays on this machine
        hop = (proxy.host, proxy.port or 80) if proxy else (host, port)
        try:
            raw = _open_socket(*hop, attempt)
            try:
                if proxy is not None:
                    self._open_tunnel(raw, proxy, f"{host}:{port}", attempt)
                raw.settimeout(attempt.remaining())
                raw = self._tls.wrap_socket(raw, server_hostname=host) if self._tls else raw
                raw.settimeout(attempt.remaining())
            except BaseException:
                raw.close()
                raise
            return raw
        except TimeoutError:
            raise builtins.TimeoutError from None  # so that _translate says that nothing was sent

    def _open_tunnel(self, raw: socket.socket, proxy: _Url, to: str, attempt: Attempt) -> None:
        """Open a tunnel through the proxy: https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6."""
        lines = [f"CONNECT {to} HTTP/1.1", f"Host: {to}"]
        if proxy.user is not None:
            lines.append(f"Proxy-Authorization: {_basic_login(proxy.user, proxy.password)}")
        raw.settimeout(attempt.remaining())
        raw.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n") and len(answer) < 65536:
            raw.settimeout(attempt.remaining())
            piece = raw.recv(1)  # the bytes after the answer belong to TLS
            if not piece:
                raise OSError(errno.ECONNRESET, "")
            answer += piece
        found = re.match(rb"HTTP/1\.[01] ([0-9]{3})", answer)
        status = found[1].decode() if found else _NO_HTTP
        if status[0] != "2":
            raise OSError(_NO_TUNNEL + status)

    def _answered(self, status: int, headers: Any, body: bytes) -> str:
        found = _payload_object(body.decode(errors="replace")) or {}
        given = found.get("code") or found.get("error_code")
        code = str(given) if type(given) is int else None
        sid = found.get("sid")
        failed = found.get("status") in ("failed", "undelivered", "canceled")
        if 400 <= status < 500 or (failed and status < 300):
            why = f"HTTP {status}"
            if code:
                why += f", code {code}: https://www.twilio.com/docs/api/errors/{code}"
            wait = headers.get("Retry-After", "")
            retry_after = float(wait) if re.fullmatch("[0-9]{1,6}", wait) else None
            raise self._rejected(why, code=code, retryable=status == 429, retry_after=retry_after)
        if status in (200, 201) and isinstance(sid, str) and re.fullmatch("[0-9A-Za-z]{2,64}", sid):
            return sid
        raise self._unknown(f"gave no usable answer (HTTP {status})")

    def _translate(self, exc: Exception, attempt: Attempt) -> InfrastructureError | None:
        import http.client

        if not isinstance(exc, (OSError, http.client.HTTPException)):
            return None
        if attempt.sent:
            return self._unknown(f"did not answer{_os_reason(exc)}", unanswered=True)
        return self._unsent(exc)


_SNS_HINTS = {
    "SignatureDoesNotMatch": ": the secret key is another one, see SMS_API_SECRET or boto3's own",
    "InvalidClientTokenId": ": it knows no such key, see SMS_API_KEY or boto3's own",
    **_TOKEN_HINTS,
}


def _check_published(http_response: Any, **_: Any) -> None:
    """Raise _Incomplete if the answer is XML but not SNS's, such as a web page. Called by boto3."""
    found = _XML_ROOT.match(http_response.content)
    if http_response.status_code < 300 and found and found[1] != b"PublishResponse":
        raise _Incomplete


class SnsSmsService(_RemoteSmsService):
    """AWS SNS over boto3: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html.

    ``config.api_key`` and ``api_secret`` are an access key and its secret; the default is boto3's
    own chain. ``sender`` is an origination number of yours, or a sender id of 1 to 11 letters and
    digits; the default is the account's. Codes are sent as "Transactional". ``SmsError.code`` is
    AWS's.
    """

    provider_name = "aws_sns"

    def __init__(
        self,
        config: SmsConfig,
        *,
        endpoint: str | None = None,
        clock: Clock | None = None,
        observer: _Observing | None = None,
    ) -> None:
        """Check the settings; connect on first use.

        ``endpoint`` is a URL other than AWS's own, such as a VPC endpoint. Plain http is allowed on
        the local machine only. For ``observer`` see :class:`Observer`. Raises
        ConfigurationError for an invalid argument, or if boto3 is not installed.
        """
        super().__init__(config, clock, observer)
        if (config.api_key is None) != (config.api_secret is None):
            raise ConfigurationError("aws_sns needs both or none of SMS_API_KEY and SMS_API_SECRET")
        endpoint = _plain(endpoint)
        if endpoint is not None:
            self._endpoint(endpoint)
        sender, self._attributes = config.sender, {}
        if sender is not None:
            number = re.fullmatch(r"\+?[0-9]{5,15}", sender)
            if not number and not re.fullmatch("(?=.*[A-Za-z])[A-Za-z0-9-]{1,11}", sender):
                raise ConfigurationError(
                    "SmsConfig.sender (SMS_FROM) should be a number, or 1 to 11 letters and "
                    "digits, at least one letter"
                )
            name = "AWS.MM.SMS.OriginationNumber" if number else "AWS.SNS.SMS.SenderID"
            self._attributes[name] = sender
        _import_driver("boto3", "boto3", "SnsSmsService")
        self._client = _AwsClient(
            "the SMS service",
            _aws_client,
            "sns",
            _check_published,
            region_name=config.region,
            endpoint_url=endpoint,
            keys=(config.api_key, config.api_secret, None),
            connect_timeout=config.timeout * 0.2,  # for two attempts; the answer has the rest
            read_timeout=config.timeout,
        )

    def _holds(self) -> bool:
        return bool(self._client.kept)

    def close(self) -> None:
        super().close()
        self._client.close()

    def _post(self, attempt: Attempt, phone: str, message: str, is_code: bool) -> str:
        texts = dict(self._attributes)
        if is_code:
            texts["AWS.SNS.SMS.SMSType"] = "Transactional"
        typed = {name: {"DataType": "String", "StringValue": text} for name, text in texts.items()}
        client = self._client.get()
        attempt.sent, attempt.note = True, client
        token = _answer_attempt.set(attempt)
        try:
            answer = client.publish(PhoneNumber=phone, Message=message, MessageAttributes=typed)
        finally:
            _answer_attempt.reset(token)
        sent = str(answer.get("MessageId", "")).strip()
        if not sent:
            client.close()
            raise self._unknown("gave no message id")
        return sent

    def _translate(self, exc: Exception, attempt: Attempt) -> InfrastructureError | None:
        if attempt.note is not None:
            # SNS may have moved: new connections look up its name again.
            attempt.note.close()
        meaning = _aws_meaning(exc, attempt)
        if meaning == "no credentials":
            self._client.drop()
        if meaning in _AWS_SETUP:
            keys = "SMS_API_KEY and SMS_API_SECRET"
            return _aws_setup_error(meaning, exc, "aws_sns", keys, "endpoint")
        if meaning == "unsent":
            return self._unsent(exc)
        if meaning == "refused":
            return self._answered(exc)
        if not attempt.sent:
            return None
        is_lost = meaning in ("timeout", "disconnected")
        return self._unknown(f"gave no usable answer{_os_reason(exc)}", unanswered=is_lost)

    def _answered(self, exc: Any) -> SmsError:
        status, code, why = _aws_refusal(exc)
        if not 400 <= status < 500:
            return self._unknown(f"gave no usable answer (HTTP {status})")
        why += _SNS_HINTS.get(code, "")
        throttled = status == 429 or code.startswith("Throttl")
        return self._rejected(why, code=code or None, retryable=throttled)


class FailoverSmsService(SmsService):
    """Several services, tried in order, until one has sent the message.

    The next is tried only if the one before has certainly sent nothing: it rejected the message,
    could not be reached, or is not configured. An unknown outcome is raised: one late message is
    better than two. If all fail, the last error is raised. ``close`` closes all.

    The constructor raises ConfigurationError without services, and for anything else.
    """

    provider_name = "failover"

    def __init__(self, *services: SmsService) -> None:
        if not services or not all(isinstance(service, SmsService) for service in services):
            raise ConfigurationError("FailoverSmsService takes the services to ask, in order")
        self.services = services

    def is_available(self) -> bool:
        return super().is_available() and any(service.is_available() for service in self.services)

    def _breakers(self) -> Mapping[str, CircuitBreaker]:
        return {
            f"{service.provider_name} {name}".strip(): breaker
            for service in self.services
            for name, breaker in service._breakers().items()
        }

    def close(self) -> None:
        super().close()
        _close_all(reversed(self.services))

    def _send(self, phone: str, message: str, code: str | None) -> str:
        failure: InfrastructureError = ConnectionError(
            "no SMS service is available", service="sms", operation=self._operation(code)
        )
        for service in self.services:
            if not service.is_available():
                continue
            try:
                if code is None:
                    return service.send_sms(phone, message)
                return service.send_verification_code(phone, code)
            except InfrastructureError as error:
                if not _is_unsent(error):
                    raise
                failure = error
            logger.warning("%s sent nothing (%s)", service.provider_name, type(failure).__name__)
        raise failure


def create_sms_service(
    config: SmsConfig, *, clock: Clock | None = None, observer: _Observing | None = None
) -> SmsService:
    """Return the service of ``config.provider``.

    Raises ConfigurationError for a setting that is missing, and for an invalid argument.
    """
    _check_sms_config(config)
    if config.provider is None:
        raise ConfigurationError(
            "no SMS provider is set: SmsConfig.provider (SMS_PROVIDER) should be "
            f"{_SMS_PROVIDER.expected}"
        )
    if config.provider == "mock":
        return MockSmsService()
    provider = TwilioSmsService if config.provider == "twilio" else SnsSmsService
    return provider(config, clock=clock, observer=observer)


# === data moves ===================================================================================


# A move reads rows from a source in the order of a key and writes them to a target, in batches.

#: kinds of columns that a source can page by
_KEY_KINDS = {
    "text", "flag", "integer", "year", "decimal", "bytes", "id",
    "moment", "local moment", "date", "time", "time or duration",
}  # fmt: skip
#: how a checkpoint holds the values of a key: by type a name, to text and from text
_KEY_CODECS: Mapping[type, tuple[str, _Converter, _Converter]] = {
    str: ("text", str, str),
    bool: ("flag", lambda value: "1" if value else "", bool),
    int: ("whole", str, int),
    Decimal: ("decimal", str, Decimal),
    bytes: ("bytes", bytes.hex, bytes.fromhex),
    uuid.UUID: ("id", str, uuid.UUID),
    datetime: ("moment", datetime.isoformat, datetime.fromisoformat),
    date: ("date", date.isoformat, date.fromisoformat),
    day_time: ("time", day_time.isoformat, day_time.fromisoformat),
    timedelta: (
        "duration",
        lambda value: str(value // _MICROSECOND),
        lambda text: int(text) * _MICROSECOND,
    ),
}
_KEY_READERS = dict(map(operator.itemgetter(0, 2), _KEY_CODECS.values()))


def _encode_key(values: Sequence[Any]) -> list[list[str]]:
    encoded = []
    for value in map(_plain, values):
        codec = _KEY_CODECS.get(type(value))
        if codec is None:
            raise MoveError(f"a key cannot hold a value of type {type(value).__name__}")
        name, write, _ = codec
        encoded.append([name, write(value)])
    return encoded


def _row_error(place: str, key: str, reason: str, **details: Any) -> MoveError:
    return MoveError(f"{place}, row {key}: {reason}", key=key, **details)


def _reason(error: Exception, otherwise: str) -> str:
    """Return the error's words if they are ours: another's could quote a value."""
    return str(error) if isinstance(error, InfrastructureError) else otherwise


def _check_known(names: _Names, known: Collection[str], refusal: str) -> None:
    """Raise MoveError for the first name that is not known. The refusal ends with the name."""
    for name in names:
        if name not in known:
            raise MoveError(f"{refusal} {name}", column=name)


def _unordered(table: str, name: str, reason: str) -> MoveError:
    return MoveError(f"{table} cannot be read in the order of {name}: {reason}", column=name)


class Source(ABC):
    """The source of a ``RowMove``: one of the classes below."""

    #: the columns of the rows, after ``_open``; None: rows are dicts
    names: Any = None
    #: another thread may read the next batch while this one is written
    _reads_ahead: ClassVar[bool] = False
    #: what must not change between the runs of a move, after ``_open``
    _description: dict[str, Any]
    #: an open file or connection
    _handle: Any = None

    @abstractmethod
    def _open(self) -> None:
        """Inspect the source. Raises MoveError if its rows cannot be read in a stable order."""

    @abstractmethod
    def _read(self, position: Any, limit: int) -> _Portion:
        """Return up to ``limit`` rows from this position on; None is the beginning."""

    def _total(self) -> int | None:
        """Return the number of rows, or None if it is unknown."""
        return None

    def _close(self) -> None:
        if self._handle is not None:
            self._handle.close()


class _KeyedSource(Source):
    """A source that pages by a key. The checkpoint holds the last key."""

    names: _Names = ()
    _key: _Names

    @abstractmethod
    def _page(self, after: _Key | None, limit: int) -> _Portion: ...

    def _read(self, position: Any, limit: int) -> _Portion:
        after = position and tuple(_KEY_READERS[name](text) for name, text in position)
        portion = self._page(after, limit)
        if portion.until is not None:
            position = _encode_key(portion.until)
        return portion._replace(key_names=self._key, position=position)


def _check_table(table: str) -> str:
    return Database._target(table, ())[0]


def _check_columns(columns: _Names | None) -> list[str]:
    return [] if columns is None else [*map(_plain, _check_many("columns", columns))]


class TableSource(_KeyedSource):
    """The rows of a table, in the order of its primary key.

    Each row is read once, when the move reaches its key. Later changes to it, and new rows with
    smaller keys, do not move.

    Args:
        database: a ConnectionPool or FakeDatabase.
        table: the table's name.
        columns: the columns to read; by default all but those that the server computes.

    Raises ConfigurationError for another database, and ValidationError if ``table`` is not a plain
    identifier, or ``columns`` is not an iterable of names.
    """

    _reads_ahead = True

    def __init__(
        self, database: Database, table: str, columns: Sequence[str] | None = None
    ) -> None:
        self.database = _check_database(database)
        self.table = _check_table(table)
        self._columns = _check_columns(columns)

    def _open(self) -> None:
        #: makes what the target's server reads of what the source's has written; None: Python reads
        self._prepare: Callable[[bytes], bytes] | None = None
        self._rows: Any = self.database._rows_of(self.table)
        shape = self._rows.shape()
        self._key = shape.key
        if not shape.key:
            raise MoveError(f"{self.table} has no primary key: use a QuerySource with a unique key")
        for name in shape.key:
            if shape.columns[name].kind not in _KEY_KINDS or name in shape.unordered:
                reason = "no page can begin after a value of this type"
                raise _unordered(self.table, name, reason)
        self.names = self._columns or [name for name in shape.columns if name not in shape.computed]
        _check_known(self.names, shape.columns, f"{self.table} has no column")
        columns = _described(shape, self.names)
        self._description = {"table": self.table, "key": shape.key, "columns": columns}

    def _page(self, after: _Key | None, limit: int) -> Any:
        if self._prepare is None:
            return self._rows.page(self.names, after, limit)
        portion = self._rows.rendered_page(self.names, after, limit, judge=True)
        if portion.rendered is not None:
            return portion._replace(rendered=self._prepare(portion.rendered))
        return portion if portion.until is None else self._rows.page_up_to(self.names, portion)

    def _total(self) -> Any:
        return self._rows.count()


def _described(shape: _TableShape, names: Iterable[str]) -> dict[str, str]:
    """Return the types of columns, as a checkpoint holds them."""
    described = {}
    for name in names:
        column = shape.columns[name]
        bounds = [str(bound) for bound in (column.size, column.scale) if bound is not None]
        described[name] = column.kind + (f"({','.join(bounds)})" if bounds else "")
    return described


class IterableSource(Source):
    """Rows from Python code, as dicts.

    A resumed move reads them again, in the same order, and skips those that it has moved.

    Args:
        rows: a list or another iterable that can be read more than once, or a function that
            returns an iterable.

    Raises ValidationError for anything else.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]] | Callable[[], Iterable[Any]]) -> None:
        if callable(rows):
            _check_function("rows", rows, "no arguments", generators=True)
        elif isinstance(rows, (str, bytes, Mapping)) or not isinstance(rows, Iterable):
            raise ValidationError(
                "rows should be an iterable of dicts, or a function that returns one"
            )
        self._description = {"rows": "made by Python code"}
        self._given = rows
        self._is_spent = False  # an iterator cannot begin again

    def _open(self) -> None:
        self._at = -1  # rows read from the iterator; -1: it has not begun

    def _read(self, position: Any, limit: int) -> _Portion:
        start = position or 0
        if self._at != start:
            self._begin_at(start)
        rows = [*itertools.islice(self._iterator, limit)]
        self._at = start + len(rows)
        for number, values in enumerate(rows, start + 1):
            if not isinstance(values, Mapping):
                raise MoveError(f"row {number} should be a dict", key=f"row={number}")
        keys = [*zip(range(start + 1, self._at + 1))]
        return _portion([*map(dict, rows)], keys, limit, key_names=("row",), position=self._at)

    def _begin_at(self, start: int) -> None:
        given = self._given
        rows = _not_awaitable(given()) if callable(given) else given
        if not isinstance(rows, Iterable):
            raise MoveError("rows should be a function that returns an iterable of dicts")
        iterator = iter(rows)
        if iterator is given and self._is_spent:
            raise MoveError("the rows can only be read once: give a list, or a function")
        self._is_spent = True
        self._iterator = iterator
        self._at = sum(1 for _ in itertools.islice(iterator, start))
        if self._at < start:
            raise MoveError(f"there are fewer rows than the {start} that earlier runs moved")

    def _total(self) -> int | None:
        return len(self._given) if isinstance(self._given, Sequence) else None


class _FileSource(Source):
    """The records of a text file in UTF-8.

    The checkpoint holds the offset of the next record and a digest of the file before it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = _path(_check_path("path", path))

    def _open(self) -> None:
        import hashlib

        self._close()
        try:
            self._handle = self.path.open("rb")
        except OSError as error:
            raise MoveError(f"{self.path} cannot be read: {error.strerror}") from None
        self._description = {"file": self.path.name}
        self._offset, self._record, self._read_so_far = 0, 0, hashlib.sha256()
        self._lines = iter(self._line, "")
        self._records = self._parse()

    def _line(self) -> str:
        """Return the next line, or "" at the end.

        Bytes that are not UTF-8 become lone surrogates, which no column takes.
        """
        line: bytes = self._handle.readline()
        self._read_so_far.update(line)
        text = line.decode("utf-8", "surrogateescape")
        if not self._offset:
            text = text.removeprefix("\ufeff")
        self._offset += len(line)
        return text

    def _refusal(self, reason: str) -> MoveError:
        return _row_error(str(self.path), f"record={self._record + 1}", reason)

    @abstractmethod
    def _parse(self) -> Iterator[Any]: ...

    def _read(self, position: Any, limit: int) -> _Portion:
        if position and position["record"] != self._record:
            self._go_to(position)
        start, rows = self._record, []
        for values in itertools.islice(self._records, limit):
            self._record += 1
            rows.append(values)
        keys = [*zip(range(start + 1, self._record + 1))]
        digest = self._read_so_far.hexdigest()
        position = {"record": self._record, "offset": self._offset, "digest": digest}
        return _portion(rows, keys, limit, key_names=("record",), position=position)

    def _go_to(self, place: Mapping[str, Any]) -> None:
        while self._offset < place["offset"] and self._line():
            pass
        if self._read_so_far.hexdigest() != place["digest"]:
            raise MoveError(
                f"{self.path} has changed before record {place['record'] + 1}, where the move "
                "continues: restart the move to read it from the beginning"
            )
        self._record = place["record"]


class CsvSource(_FileSource):
    """The records of a CSV file (RFC 4180) with a header, as texts.

    The target converts each text to its column's type, for example "2026-01-31 12:00:00+00:00".

    Args:
        path: the file, in UTF-8.
        delimiter: the character between values.
        null: the text that stands for None.

    Raises ConfigurationError for an invalid argument. The file is opened when the move runs.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, delimiter: str = ",", null: str = ""
    ) -> None:
        super().__init__(path)
        if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '\r\n"':
            raise ConfigurationError("delimiter should be one character, no quote or line break")
        if not isinstance(null, str):
            raise ConfigurationError("null should be text")
        self._delimiter, self._null = delimiter, null

    def _open(self) -> None:
        import csv

        super()._open()
        self._reader = csv.reader(self._lines, delimiter=self._delimiter, strict=True)
        self.names = self._values() or []
        if len(set(self.names)) < len(self.names) or not all(self.names):
            raise MoveError(f"{self.path} should begin with a header of unique names")
        self._description["columns"] = self.names

    def _values(self) -> list[str] | None:
        import csv

        try:
            return next(self._reader, None)
        except csv.Error:  # its words quote nothing of the file
            raise self._refusal(f"not valid CSV near line {self._reader.line_num}") from None

    def _parse(self) -> Iterator[tuple[str | None, ...]]:
        width = len(self.names)
        for values in filter(None, iter(self._values, None)):  # without blank lines
            if len(values) != width:
                line = self._reader.line_num
                raise self._refusal(f"line {line}: {len(values)} values for {width} columns")
            yield tuple([None if value == self._null else value for value in values])


class JsonLinesSource(_FileSource):
    """The records of a file with one JSON object per line (https://jsonlines.org).

    It takes the path of the file, in UTF-8, which is opened when the move runs. Raises
    ConfigurationError for an invalid path.
    """

    def _parse(self) -> Iterator[dict[str, Any]]:
        for line in itertools.filterfalse(str.isspace, self._lines):
            try:
                record = _parse_json(line)
            except (ValueError, RecursionError):
                record = None
            if not isinstance(record, dict):
                raise self._refusal("a line should hold a JSON object")
            yield record


class SqliteSource(_KeyedSource):
    """The rows of a table in a SQLite file, in the order of its primary key.

    Args:
        path: the file, which is opened for reading when the move runs.
        table: the table's name.

    Raises ConfigurationError for an invalid path, and ValidationError if ``table`` is not a plain
    identifier.
    """

    def __init__(self, path: str | os.PathLike[str], table: str) -> None:
        self.path = _path(_check_path("path", path))
        self.table = _check_table(table)

    def _open(self) -> None:
        import sqlite3

        self._close()
        try:
            place = f"{self.path.resolve().as_uri()}?mode=ro"
            self._handle = sqlite3.connect(place, uri=True)
        except sqlite3.Error:
            raise MoveError(f"{self.path} cannot be opened as a SQLite database") from None
        self._handle.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
        catalogue = f"FROM pragma_table_info('{self.table}')"
        columns: dict[str, str] = dict(self._ask(f"SELECT name, type {catalogue}"))
        if not columns:
            raise MoveError(f"{self.path} has no table {self.table}")
        self.names = [*columns]
        self._key = [name for (name,) in self._ask(f"SELECT name {catalogue} WHERE pk ORDER BY pk")]
        if not self._key:
            raise MoveError(f"{self.table} has no primary key")
        for name in self._key:
            unordered = f"typeof(\"{name}\") IN ('real', 'null')"
            if self._ask(f'SELECT 1 FROM "{self.table}" WHERE {unordered} LIMIT 1'):
                raise _unordered(self.table, name, "it holds floats or NULL")
        self._description = {"file": self.path.name, "table": self.table}
        self._description |= {"key": self._key, "columns": columns}

    def _ask(self, sql: str, params: Sequence[Any] = ()) -> list[_Row]:
        import sqlite3

        with contextlib.suppress(sqlite3.Error):
            return [*self._handle.execute(sql, params)]
        # Outside the handler: the error's context could quote a row.
        raise MoveError(f"{self.path} could not be read: is it a SQLite database?")

    def _page(self, after: _Key | None, limit: int) -> _Portion:
        parts = self.names, self._key
        columns, key = (", ".join(f'"{name}"' for name in part) for part in parts)
        condition = ""
        if after is not None:
            condition = f"WHERE ({key}) > ({', '.join('?' * len(self._key))}) "
        sql = f'SELECT {columns} FROM "{self.table}" {condition}ORDER BY {key} LIMIT {limit}'
        rows = self._ask(sql, after or ())
        return _portion(rows, _values_at(rows, [*map(self.names.index, self._key)]), limit)

    def _total(self) -> int | None:
        return int(self._ask(f'SELECT count(*) FROM "{self.table}"')[0][0])


class QuerySource(_KeyedSource):
    """The rows of a SELECT, in the order of a unique key.

    Args:
        database: a ConnectionPool.
        sql: the SELECT, without ORDER BY and LIMIT.
        key: the names of columns of the result that together are unique and never NULL, and not of
            the types ENUM, SET, FLOAT or DOUBLE.
        params: the parameters of the SELECT, as a list or tuple.

    Raises ConfigurationError for another database, else ValidationError for an invalid argument.
    """

    _reads_ahead = True

    def __init__(
        self, database: Database, sql: str, key: str | Sequence[str], params: Any = None
    ) -> None:
        if not isinstance(database, ConnectionPool):
            raise ConfigurationError("QuerySource takes a ConnectionPool: a fake runs no SQL")
        self.database = database
        self._sql = _check_sql(sql)
        self._key = [key] if isinstance(key, str) else _check_many("key", key)
        for name in self._key:
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise ValidationError("key should be the names of columns")
        if not isinstance(params, (list, tuple)) and params is not None:
            raise ValidationError("params should be a list or tuple")
        self._params = [*(params or ())]

    def _ask(
        self, tail: str, params: Any = (), select: str = "*", fetch: _Fetch[Any] = _all_rows
    ) -> Any:
        # A driver reads %% as a percent sign only in a statement with parameters.
        given = [*self._params, *params]
        inner = self._sql.replace("%", "%%") if params and not self._params else self._sql
        sql = f"SELECT {select} FROM ({inner}) AS source {tail}"
        return self.database._statement("move", sql, given or None, fetch, repeatable=True)

    def _open(self) -> None:
        self.names = self._ask("LIMIT 0", fetch=_column_names)
        self._description = {"sql": self._sql, "key": self._key, "columns": self.names}
        _check_known(self._key, self.names, "the query has no column")
        self._order = [*map(self.database._dialect.name, self._key)]
        nulls = " OR ".join(f"{name} IS NULL" for name in self._order)
        if self._ask(f"WHERE {nulls} LIMIT 1"):
            raise MoveError("the query's key holds NULL")

    def _page(self, after: _Key | None, limit: int) -> _Portion:
        tail = ""
        params: list[Any] = []
        if after is not None:
            condition, params = _beyond(self.database._dialect, self._order, after)
            tail = f"WHERE {condition} "
        # One more row than asked for: the next page would skip it if it had the last row's key.
        rows = self._ask(f"{tail}ORDER BY {', '.join(self._order)} LIMIT {limit + 1}", params)
        keys = _values_at(rows, [*map(self.names.index, self._key)])
        for key, following in itertools.pairwise(keys):
            if key == following:
                words = _key_words(self._key, key)
                raise MoveError(f"two rows of the query have the key {words}", key=words)
        if any(isinstance(value, float) for key in keys[:1] for value in key):
            raise MoveError("the query's key should not be a float: no page can begin after one")
        return _portion(rows[:limit], keys[:limit], limit)

    def _total(self) -> int | None:
        ((count,),) = self._ask("", select="count(*)")
        return int(count)


@dataclass(frozen=True, eq=False, repr=False)
class Replace(_ByValue):
    """A policy of a ``TableTarget``: store this value for one that does not fit."""

    value: Any


def _time_of_day(value: timedelta) -> day_time:
    if value.days:
        raise ValueError
    return (datetime.min + value).time()


def _exact_float(value: Decimal) -> float:
    number = float(value)
    if Decimal(repr(number)) != value:
        raise ValueError
    return number


def _iso(text: str) -> str:
    """Return a time's text as Python 3.10 reads it.

    Raises ValidationError for a seventh digit of a second, which later versions cut off.
    """
    if fraction := re.search(r"\.(\d+)", text):
        digits = fraction[1].rstrip("0").ljust(6, "0")
        if len(digits) > 6:
            raise ValidationError("a time should have at most six digits of a second")
        text = text.replace(fraction[0], f".{digits}")
    return text.upper().replace("Z", "+00:00")


def _in_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _read_number(kind: Callable[[str], T], text: str) -> T:
    """Read a number's text without blanks and "_", which Python takes."""
    if "_" in text or text != text.strip():
        raise ValueError
    return kind(text)


_FLAGS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
#: by a value's type and a column's kind: converts the value, or raises if it does not fit
_CONVERSIONS: Mapping[tuple[type, str], _Converter] = {
    (str, "integer"): functools.partial(_read_number, int),
    (str, "year"): functools.partial(_read_number, int),
    (str, "float"): functools.partial(_read_number, float),
    (str, "decimal"): functools.partial(_read_number, Decimal),
    (str, "flag"): lambda text: _FLAGS[text.lower()],
    (str, "moment"): lambda text: _in_utc(_read_iso(_iso(text))),
    (str, "local moment"): lambda text: _read_iso(_iso(text)),
    (str, "date"): date.fromisoformat,
    (str, "time"): lambda text: day_time.fromisoformat(_iso(text)),
    (str, "document"): _parse_json,
    (float, "decimal"): lambda value: Decimal(repr(value)),
    (float, "integer"): lambda value: Decimal(repr(value)),
    (Decimal, "float"): _exact_float,
    (datetime, "moment"): _in_utc,
    (timedelta, "time"): _time_of_day,
    (uuid.UUID, "bytes"): lambda value: value.bytes,
}


def _converted_for(column: _ColumnType, values: Sequence[Any]) -> Sequence[Any]:
    """Convert values to types that the column takes. Raises one of ``_UNFIT``."""
    types = {*map(type, values)}
    conversions = {given: _CONVERSIONS.get((_value_type(given), column.kind)) for given in types}
    if not any(conversions.values()):
        return values
    return [
        value if (convert := conversions[type(value)]) is None else convert(_plain(value))
        for value in values
    ]


_UNFIT = (ValueError, ArithmeticError, LookupError, TypeError, RecursionError, InfrastructureError)


@dataclass(frozen=True, eq=False, repr=False)
class MoveCounts(_ByValue):
    """How many rows a move has read, and what happened to them.

    Attributes:
        read: rows of the source.
        written: rows that were inserted.
        updated: rows of the target that were changed.
        missing: rows that ``write="update"`` did not find.
        skipped: rows that existed, with ``on_conflict="skip"``.
        dropped: rows for which the transform returned nothing.
        rejected: rows that went to the rejects file.
    """

    read: int = 0
    written: int = 0
    updated: int = 0
    missing: int = 0
    skipped: int = 0
    dropped: int = 0
    rejected: int = 0

    def __add__(self, other: MoveCounts) -> MoveCounts:
        return MoveCounts(*map(operator.add, astuple(self), astuple(other)))

    def __str__(self) -> str:
        words = [f"{value:,} {name}" for name, value in vars(self).items() if value]
        return ", ".join(words) or "nothing"


class Target(ABC):
    """The target of a ``RowMove``: TableTarget or RepositoryTarget."""

    database: Database
    #: what must not change between the runs of a move, after ``_open``
    _description: dict[str, Any]

    @abstractmethod
    def _open(self, names: _Names | None) -> None:
        """Inspect the target. Raises MoveError if it cannot take rows with a source's names."""

    @abstractmethod
    def _fit(self, part: _TargetRows) -> _Columns:
        """Return the rows as stored, or a column of records; divert some to ``part.rejects``."""

    @abstractmethod
    def _write(self, columns: _Columns, dry_run: bool) -> MoveCounts:
        """Write the rows, except in a dry run, and return the counts. Inside a transaction."""

    @abstractmethod
    def _compare(self, columns: _Columns) -> Iterator[str]:
        """Return "equal", "different" or "missing" for each row."""

    def _open_table(self, table: str) -> _TableShape:
        self._rows = self.database._rows_of(table)
        shape = self._rows.shape()
        if not shape.transactional:
            raise MoveError(f"{table} has no transactions: a batch could not be rolled back")
        return shape


class _TargetRows(NamedTuple):
    """Rows for one target, and for each the index of its source row in the batch."""

    batch: _Portion
    at: list[int]
    rows: list[Any]
    #: the diverted rows by their index, as the rejects file holds them
    rejects: dict[int, dict[str, str]]

    def key(self, index: int) -> str:
        return self.batch.key(self.at[index])


class TableTarget(Target):
    """A table. The primary key identifies its rows.

    Args:
        database: a ConnectionPool or FakeDatabase. The table has to support transactions.
        table: the table's name.
        on_conflict: what to do if the table has a row with the same primary key: "error" raises
            MoveError, "skip" keeps that row, "update" sets its columns. A conflict on another
            unique key always raises MoveError.
        write: "insert", or "update" to change existing rows only; other rows count as missing.
        columns: the columns that "update" sets; by default all except the primary key.
        policies: by column, what to do with a value that does not fit: "fail" (the default) raises
            MoveError, "null" stores NULL, ``Replace(value)`` stores that value, "divert" writes the
            row's key to the rejects file instead of storing the row.
        indexes: "keep", or "afterwards": drop indexes, unique and foreign keys of a table that is
            empty when the move begins, and make them again at the end. The checkpoint keeps their
            SQL. A row that breaks one raises its error at the end. A FakeDatabase has none.

    Raises ConfigurationError for another database, choice or policy, and for ``columns`` without
    ``write="update"``; ValidationError if ``table`` is not a plain identifier, ``columns`` is not
    an iterable of names, or ``policies`` is not a dict.
    """

    def __init__(
        self,
        database: Database,
        table: str,
        *,
        on_conflict: str = "error",
        write: str = "insert",
        columns: Sequence[str] | None = None,
        policies: Mapping[str, Any] | None = None,
        indexes: str = "keep",
    ) -> None:
        self.database = _check_database(database)
        self.table = _check_table(table)
        self.indexes = _check_choice("indexes", indexes, "keep", "afterwards")
        self.on_conflict = _check_choice("on_conflict", on_conflict, "error", "skip", "update")
        self.write = _check_choice("write", write, "insert", "update")
        self._rows_may_exist = self.write == "update" or self.on_conflict != "error"
        self._columns = _check_columns(columns)
        if columns is not None and self.write != "update":
            raise ConfigurationError('columns need write="update"')
        self.policies = dict(_MAPPING.check("policies", {} if policies is None else policies))
        for name, policy in self.policies.items():
            if policy not in ("fail", "null", "divert") and not isinstance(policy, Replace):
                raise ConfigurationError(
                    f"the policy of {name} should be fail, null, divert or Replace(value)"
                )

    def _open(self, names: _Names | None) -> None:
        shape = self._shape = self._open_table(self.table)
        #: columns that may be written as the source's server has written them
        self._kept: Collection[str] = ()
        self._description = {
            "table": self.table,
            "write": self.write,
            "on_conflict": self.on_conflict,
            "key": shape.key,
            "columns": _described(shape, shape.columns),
        }
        if not shape.key and self._rows_may_exist:
            raise MoveError(f"{self.table} has no primary key to find existing rows by")
        self._check_writable([*self.policies, *self._columns])
        for name, policy in self.policies.items():
            if policy == "null" and name not in shape.nullable:
                raise MoveError(f"{self.table}.{name} does not take NULL", column=name)
        self._names: _Names = ()
        self._given = names
        if names is not None:
            self._set_columns(names)

    def _check_writable(self, names: _Names) -> None:
        _check_known(names, self._shape.columns, f"{self.table} has no column")
        for name in names:
            if name in self._shape.computed:
                raise MoveError(f"{self.table}.{name} is computed by the server", column=name)

    def _set_columns(self, names: _Names) -> None:
        shape = self._shape
        self._check_writable(names)
        needed = [*self._columns]
        if self._rows_may_exist:
            needed += shape.key
        if self.write == "insert":
            omissible = shape.optional | shape.computed
            needed += [name for name in shape.columns if name not in omissible]
        _check_known(needed, names, f"the rows for {self.table} have no")
        self._names = [*names]
        self._set = self._columns or [name for name in names if name not in shape.key]
        self._key_at = [names.index(name) for name in shape.key if name in names]
        self._set_at = [names.index(name) for name in self._set]

    def _fit(self, part: _TargetRows) -> _Columns:
        if not self._names:
            self._set_columns([*part.rows[0]])
        ordered = part.rows if self._given is not None else self._in_order(part)
        columns: list[Any] = [
            self._as_left(name, values, part) or self._fit_or_reject(name, values, part)
            for name, values in zip(self._names, zip(*ordered))
        ]
        if part.rejects:
            kept = [index not in part.rejects for index in range(len(ordered))]
            part.at[:], *columns = (
                [*itertools.compress(column, kept)] for column in (part.at, *columns)
            )
        return columns

    def _as_left(self, name: str, values: Sequence[Any], part: _TargetRows) -> Sequence[Any] | None:
        """Return the texts of a column that the transform has left as it was, else None."""
        kind = self._shape.columns[name].kind
        if name not in self._kept or name not in part.batch.columns or kind in ("flag", "bytes"):
            return None
        given, texts = part.batch.columns[name]
        if not all(map(operator.is_, values, map(given.__getitem__, part.at))):
            return None
        if None not in values:
            return [*map(texts.__getitem__, part.at)]
        if name not in self._shape.nullable:
            return None
        return [None if value is None else texts[at] for value, at in zip(values, part.at)]

    def _fit_or_reject(self, name: str, values: Sequence[Any], part: _TargetRows) -> Sequence[Any]:
        """Return a column's values as it stores them. Its policy says what to do with misfits."""
        with contextlib.suppress(*_UNFIT):
            return self._fit_values(name, values)
        words, _ = _COLUMN_KINDS[self._shape.columns[name].kind]
        policy = self.policies.get(name, "fail")
        fitted: list[Any] = []
        for at, value in enumerate(values):
            try:
                fitted += self._fit_values(name, [value])
                continue
            except _UNFIT as error:
                reason = _reason(error, f"should be {words}")
            # Outside the handler: an error's context would quote the value.
            if policy == "fail":
                raise _row_error(f"{self.table}.{name}", part.key(at), reason, column=name)
            if policy == "divert":
                reject = {"key": part.key(at), "column": name, "reason": reason}
                part.rejects.setdefault(at, reject)
            fitted += (
                self._fit_values(name, [policy.value]) if isinstance(policy, Replace) else [None]
            )
        return fitted

    def _fit_values(self, name: str, values: Sequence[Any]) -> Sequence[Any]:
        """Return a column's values as it stores them. Raises one of ``_UNFIT``."""
        column = self._shape.columns[name]
        fitted = _fitted_column(name, column, _converted_for(column, values))
        if name not in self._shape.nullable and None in fitted:
            raise ValidationError(f"{name} does not take NULL")
        return fitted

    def _in_order(self, part: _TargetRows) -> list[_Row]:
        wanted = {*self._names}
        for index, row in enumerate(part.rows):
            if row.keys() != wanted:
                reason = f"it should have the columns {', '.join(self._names)}"
                raise _row_error(self.table, part.key(index), reason)
        return _values_at(part.rows, self._names)

    def _keys(self, rows: Sequence[Any]) -> list[_Row]:
        if not self._key_at or len(self._key_at) < len(self._shape.key):
            raise MoveError(f"the rows for {self.table} have no primary key to find them by")
        return _values_at(rows, self._key_at)

    def _plan(self, columns: _Columns) -> tuple[_Columns, list[Any], MoveCounts]:
        """Return the rows to insert, by columns, the rows to update, and the counts."""
        if not self._rows_may_exist:
            return columns, [], MoveCounts(written=len(columns[0]) if columns else 0)
        rows = [*zip(*columns)]
        keys = self._keys(rows)
        present = {*self._rows.find((), keys)}
        inserts: list[Any] = []
        updates: list[Any] = []
        for key, row in zip(keys, rows):
            if key in present:
                updates.append(row)
            elif self.write == "insert":
                present.add(key)
                inserts.append(row)
        inserted = [*zip(*inserts)]
        if self.write == "insert" and self.on_conflict == "skip":
            return inserted, [], MoveCounts(written=len(inserts), skipped=len(updates))
        missing = len(rows) - len(inserts) - len(updates)
        counts = MoveCounts(written=len(inserts), updated=len(updates), missing=missing)
        return inserted, updates, counts

    def _write(self, columns: _Columns, dry_run: bool) -> MoveCounts:
        inserted, updates, counts = self._plan(columns)
        if dry_run:
            return counts
        with self.database._unlimited():
            if inserted and inserted[0]:
                self.database._insert_rows(self.table, self._names, inserted)
            if updates and self._set:
                values = _values_at(updates, self._set_at)
                self._rows.update(self._set, [*zip(self._keys(updates), values)])
        return counts

    def _compare(self, columns: _Columns) -> Iterator[str]:
        rows = [*zip(*columns)]
        keys = self._keys(rows)
        found = self._rows.find(self._set, keys)
        for key, row in zip(keys, rows):
            if key not in found:
                yield "missing"
                continue
            wanted = [row[at] for at in self._set_at]
            stored = [*map(self._as_written, self._set, found[key])]
            yield "equal" if wanted == stored else "different"

    def _as_written(self, name: str, value: Any) -> Any:
        """Return a stored value as ``_fit_values`` returns it, to compare the two."""
        with contextlib.suppress(*_UNFIT):
            return self._fit_values(name, [value])[0]
        return value


class RepositoryTarget(Target):
    """A repository: calls ``create``, with all its checks, for each row.

    Args:
        repository: the repository. The transform returns records, or dicts of their fields.
        on_conflict: "error", or "skip" for records whose key exists.

    Raises ConfigurationError for anything else, and for a repository whose ``create`` takes more
    than the record.
    """

    def __init__(self, repository: Repository[Any], *, on_conflict: str = "error") -> None:
        if not isinstance(repository, Repository):
            raise ConfigurationError("RepositoryTarget takes a Repository")
        try:
            inspect.signature(repository.create).bind(object())
        except TypeError:
            raise ConfigurationError(
                f"{type(repository).__name__}.create takes more than a record: use a TableTarget"
            ) from None
        self.repository = repository
        self.database = repository.database
        self.on_conflict = _check_choice("on_conflict", on_conflict, "error", "skip")

    def _open(self, names: _Names | None) -> None:
        self._open_table(self.repository.table)
        self._given = names
        shown = self.repository._shown
        _check_known(names or (), shown, f"the {self.repository.resource} has no")
        self._description = {"repository": self.repository.table, "on_conflict": self.on_conflict}
        self._description["columns"] = shown

    def _fit(self, part: _TargetRows) -> _Columns:
        dicts = part.rows
        if self._given is not None:
            dicts = [dict(zip(self._given, row)) for row in dicts]
        return [[self._record(part, index, values) for index, values in enumerate(dicts)]]

    def _record(self, part: _TargetRows, index: int, values: Mapping[str, Any]) -> Any:
        try:
            return self.repository.record(**values)
        except _UNFIT as error:
            reason = _reason(error, "it does not have the record's fields")
        # Outside the handler: the error's context would quote the row.
        raise _row_error(self.repository.resource, part.key(index), reason)

    def _where(self, record: Any) -> dict[str, Any] | None:
        """Return the condition for the record's key, or None if ``create`` fills the key in."""
        where = {name: getattr(record, name) for name in self.repository.key}
        is_unfilled = any(map(_is_unfilled, where.values()))
        return None if is_unfilled else self.repository._checked(where)

    def _write(self, columns: _Columns, dry_run: bool) -> MoveCounts:
        (records,) = columns
        skipped = 0
        for record in records:
            where = self._where(record) if self.on_conflict == "skip" else None
            if where is not None and self.repository._exists("move", where):
                skipped += 1
            elif not dry_run:
                self.repository.create(record)
        return MoveCounts(written=len(records) - skipped, skipped=skipped)

    def _compare(self, columns: _Columns) -> Iterator[str]:
        for record in columns[0]:
            where = self._where(record)
            if where is None:
                key = ", ".join(self.repository.key)
                raise MoveError(f"the records have no {key} to find them by")
            stored = self.repository._first("move", where)
            if stored is None:
                yield "missing"
            else:
                yield "equal" if self._is_same(record, stored) else "different"

    def _is_same(self, record: Any, stored: Any) -> bool:
        """Return whether they are equal, except for fields that ``create`` fills in."""
        return all(
            getattr(record, name) in (held := getattr(stored, name), getattr(held, "value", held))
            or (name in self.repository._fillable and _is_unfilled(getattr(record, name)))
            for name in self.repository._shown
        )


@dataclass(frozen=True, eq=False, repr=False)
class MoveReport(_ByValue):
    """The result of a run.

    Attributes:
        counts: the counts of the whole move, including earlier runs.
        resumed: the counts of earlier runs.
        seconds: the duration of this run.
        done: whether the move is complete.
        dry_run: whether nothing was written.
        path: "fast": the servers write and read the rows as text; else "slow: " and the reason; ""
            for objects.
    """

    name: str
    counts: MoveCounts
    resumed: MoveCounts
    seconds: float
    done: bool
    dry_run: bool = False
    path: str = ""

    def _as_json(self) -> str:
        counts = {**vars(self.counts), "resumed": vars(self.resumed)}
        state = {"done": self.done, "dry_run": self.dry_run, "path": self.path}
        state["seconds"] = round(self.seconds, 3)
        return _encode({"name": self.name, **counts, **state})

    @property
    def rows_per_second(self) -> float:
        """The rows that this run read in a second; 0.0 if it took no time."""
        return (self.counts.read - self.resumed.read) / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        state = "done" if self.done else "not done yet, run it again"
        if self.dry_run:
            state = "would be"
        rate = f"{self.seconds:.1f} s, {self.rows_per_second:,.0f} a second"
        before = f"; {self.resumed.read:,} read by earlier runs" if self.resumed.read else ""
        path = f"; {self.path}" if self.path else ""
        return f"{self.name}: {state}: {self.counts} ({rate}{before}{path})"


@dataclass(frozen=True, eq=False, repr=False)
class Verification(_ByValue):
    """The result of ``Move.verify``.

    Attributes:
        checked: rows that the source gives for the target.
        different: those that the target holds with other values.
        missing: those that the target does not hold.
        extra: rows of the target that the source does not give; None if unknown.
        ranges: the first and last key of each run of rows that differ or are missing.
    """

    name: str
    checked: int
    different: int
    missing: int
    extra: int | None
    ranges: Sequence[tuple[str, str]] = ()

    def _as_json(self) -> str:
        return _encode({**vars(self), "ok": self.ok})

    @property
    def ok(self) -> bool:
        """Whether no row is different, missing or extra. An unknown ``extra`` counts as none."""
        return not (self.different or self.missing or self.extra)

    def __str__(self) -> str:
        if self.ok:
            return f"{self.name}: {self.checked:,} compared, all equal"
        text = f"{self.name}: of {self.checked:,} compared {self.different:,} differ"
        text += f", {self.missing:,} are missing"
        if self.extra:
            text += f", {self.extra:,} extra"
        for first, last in self.ranges:
            text += f"\n  {first}" if first == last else f"\n  {first} to {last}"
        return text


@dataclass(eq=False, repr=False)
class _Checkpoint(_ByValue):
    """The progress of a move."""

    name: str
    batches: int
    is_done: bool
    description: dict[str, Any]
    progress: dict[str, Any]  # position, counts, and the size of the rejects file
    created_at: datetime = FILLED
    updated_at: datetime = FILLED

    @property
    def counts(self) -> MoveCounts:
        return MoveCounts(**self.progress["counts"])


class _CheckpointRepository(Repository[_Checkpoint]):
    record = _Checkpoint
    table = "infra_moves"
    resource = "checkpoint"
    key = ("name",)
    ids = ()
    lengths: ClassVar = {"name": 100}

    def advance(self, before: _Checkpoint, progress: Any, **changes: Any) -> _Checkpoint:
        """Store what is new in the progress, and other changes. Inside a transaction."""
        changes |= {"batches": before.batches + 1, "progress": before.progress | progress}
        where = {"name": before.name, "batches": before.batches}
        if not self._change("move", where, self._checked(changes)):
            raise MoveError(f"{before.name}: another run moved rows meanwhile: run it again")
        return replace(before, **changes)


def _checkpoints_in(database: Database) -> _CheckpointRepository:
    """Return the repository of checkpoints; create its table if it is missing."""

    def statement() -> str:
        migrations = {one.name: one for one in read_migrations(_schema(), database.engine)}
        return migrations["data_moves"].statements[0]

    database._make_table(_CheckpointRepository, statement)
    backend = _backend_class(_CheckpointRepository, database._backend)
    return cast("_CheckpointRepository", backend(database))


def _restore_rejects(path: Path, point: _Checkpoint) -> None:
    """Cut the rejects file to the checkpoint's size. Raises MoveError if it has others."""
    found, size = path.stat().st_size if path.exists() else 0, point.progress["rejects"]
    if found and not point.batches:
        raise MoveError(f"{path} holds rejects of another run: remove it, or name another file")
    if found < size:
        raise MoveError(f"{path} has lost rejects of earlier runs: restart the move")
    if found > size:
        os.truncate(path, size)  # the rest belongs to a batch that was not committed


def _add_rejects(path: Path, rejects: Sequence[dict[str, str]]) -> int:
    """Append the rejects as JSON lines, flush them to the disk, and return the file's size."""
    with path.open("ab") as stream:
        stream.writelines(_encode(reject).encode() + b"\n" for reject in rejects)
        stream.flush()
        os.fsync(stream.fileno())
        return stream.tell()


@contextlib.contextmanager
def _graceful_stop() -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C in the block sets. The second interrupts the run.

    Only in the main thread, and if the program does not handle SIGINT itself.
    """
    import signal

    asked, usual = threading.Event(), signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()

    def ask(number: int, frame: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, usual)

    with contextlib.ExitStack() as end:
        if is_main and usual is signal.default_int_handler:
            end.callback(signal.signal, signal.SIGINT, usual)
            signal.signal(signal.SIGINT, ask)
        yield asked


class _Progress:
    """A progress line on standard error; with tqdm if it is installed."""

    _bar: Any = None

    def __init__(self, move: Any, read: int) -> None:
        self._name, self._total = move.name, move.source._total()
        self._first = self._read = read
        self._started = self._printed = SystemClock.monotonic()
        with contextlib.suppress(ImportError):
            tqdm = importlib.import_module("tqdm").tqdm
            self._bar = tqdm(desc=move.name, total=self._total, initial=read, unit=" read")

    def show(self, read: int) -> None:
        new, self._read = read - self._read, read
        if self._bar is not None:
            self._bar.update(new)
        elif SystemClock.monotonic() - self._printed >= 1:
            self._print("")

    def _print(self, end: str) -> None:
        self._printed = SystemClock.monotonic()
        rate = (self._read - self._first) / max(1e-6, self._printed - self._started)
        line = f"{self._name}: {self._read:,} read, {rate:,.0f} a second"
        if self._total and rate:
            left = max(0, self._total - self._read) / rate
            line += f", {self._read / self._total:.0%}, {timedelta(seconds=round(left))} left"
        print(f"\r{line}\x1b[K", end=end, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        else:
            self._print("\n")


class Move(ABC):
    """Something that ``infra move`` can run: a RowMove, an ObjectMove, or your own subclass.

    Both methods raise MoveError, and what the databases or stores of the move raise.
    """

    name: str

    @abstractmethod
    def run(
        self,
        *,
        progress: bool = True,
        dry_run: bool = False,
        limit: int | None = None,
        resume: bool = True,
        restart: bool = False,
        accept_change: bool = False,
    ) -> MoveReport:
        """Move the remaining rows and return a report. See :meth:`RowMove.run`."""

    @abstractmethod
    def verify(self) -> Verification:
        """Compare the target with the source; change nothing."""


Transform = Callable[[dict[str, Any]], Any]


class _ResumableMove(Move):
    """A move whose next run continues."""

    _RANGES = 100  # of a verification, at most

    #: makes one call of ``run``
    _run_of: ClassVar[Callable[..., _MoveRun]]

    def run(
        self,
        *,
        progress: bool = True,
        dry_run: bool = False,
        limit: int | None = None,
        resume: bool = True,
        restart: bool = False,
        accept_change: bool = False,
    ) -> MoveReport:
        """Move the remaining rows or objects and return a report.

        Args:
            progress: show the progress if standard error is a terminal.
            dry_run: read, transform and check all rows from the first one; write nothing.
            limit: the maximum number of rows to read, or of objects to move, in this run.
            resume: False raises MoveError if an earlier run has begun this move.
            restart: start again with the first one; what the target holds stays.
            accept_change: continue even if version, tables or columns differ from the checkpoint's.
                Else such a change raises MoveError, as another key always does. An object move,
                which compares each object, does not need it.

        Raises MoveError for a source, a target or a checkpoint that does not fit, and with ``key``
        and ``column`` for a row that cannot be moved. Its batch is rolled back; earlier ones stay.
        Raises ValidationError for an invalid ``limit``, TimeoutError while another run holds the
        lock, DatabaseError inside a transaction of the target, and what the databases raise. Ctrl-C
        finishes the batch and raises KeyboardInterrupt. The second one waits up to 5 seconds for
        it, then rolls it back.
        """
        end = sys.maxsize if limit is None else _COUNT.check("limit", limit)
        shows = progress and sys.stderr is not None and sys.stderr.isatty()
        run = self._run_of(self, shows, end, dry_run, resume, restart, accept_change)
        with contextlib.closing(run):
            return run.execute()


class RowMove(_ResumableMove):
    """Moves each row exactly once, even if the run is interrupted and started again.

    Each batch commits in one transaction with the move's checkpoint, a row of the table
    ``infra_moves`` in the target's database. After a kill the next run continues from there. One
    run at a time holds the move's lock.

    Args:
        name: the move's identity: the name of its checkpoint.
        version: increase it when ``transform`` changes.
        targets: instead of ``target``, several targets in one database by name. The transform then
            returns pairs of name and row.
        transform: takes a row as a dict and returns a dict, several, or None to drop the row. While
            it runs, another thread writes the batch before.
        rejects: the file for rows that a policy diverts; by default ``<name>-rejects.jsonl``.
        batch: the maximum number of rows in a batch.
        lock_timeout: how many seconds to wait for the lock of another run.
        clock: for the pauses before retries; by default that of the database.

    Raises ValidationError if ``name`` is not 1 to 100 characters without blanks at either end, or
    ``targets`` is not a dict. Raises ConfigurationError for any other invalid argument.
    """

    RETRIES = 5  # of a batch whose connection was lost

    def __init__(
        self,
        name: str,
        *,
        version: int = 1,
        source: Source,
        target: Target | None = None,
        targets: Mapping[str, Target] | None = None,
        transform: Transform | None = None,
        rejects: str | os.PathLike[str] | None = None,
        batch: int = 20_000,
        lock_timeout: float = 60.0,
        clock: Clock | None = None,
    ) -> None:
        self.name = _check_text("name", name, blank_ends=False, empty=False, longest=100)
        _COUNT.require("version", version)
        if not isinstance(source, Source):
            raise ConfigurationError("source should be a TableSource or another Source")
        if transform is not None:
            _check_function("transform", transform, "a dict", ConfigurationError, generators=True)
        _check_range("batch", batch, 1, 100_000, ConfigurationError)
        self._lock_timeout = _SECONDS.require("lock_timeout", lock_timeout)
        self.version, self.source, self.transform = version, source, transform
        if (target is None) == (targets is None):
            raise ConfigurationError("a move takes either target or targets")
        self._is_split = targets is not None
        self.targets = self._check_targets({"": target} if targets is None else targets)
        self.database = next(iter(self.targets.values())).database
        if rejects is None:
            rejects = f"{self.name}-rejects.jsonl"
        self._rejects_path = _path(_check_path("rejects", rejects))
        self._batch = batch
        self._clock = _clock(clock, getattr(self.database, "_clock", None))

    def _check_targets(self, targets: Any) -> dict[str, Target]:
        named = dict(_MAPPING.check("targets", targets))
        if not named or not all(isinstance(one, Target) for one in named.values()):
            raise ConfigurationError("a target should be a TableTarget or a RepositoryTarget")
        if len({id(one.database) for one in named.values()}) > 1:
            raise ConfigurationError("targets should be in one database: they commit together")
        if self._is_split and self.transform is None:
            raise ConfigurationError("targets need a transform that returns pairs of name and row")
        return named

    def _open(self) -> None:
        self.source._open()
        for target in self.targets.values():
            target._open(self.source.names if self.transform is None else None)

    def _slow_reason(self) -> str:
        """Let the servers write and read columns as text. Return why not all of them, or ""."""
        source, target = self.source, self.targets.get("")
        if not isinstance(source, TableSource) or not isinstance(source.database, ConnectionPool):
            return "the source is no table on a server"
        if not isinstance(target, TableTarget) or not isinstance(target.database, ConnectionPool):
            return "the target is no table on a server"
        if target._rows_may_exist:
            return "rows may exist in the target"
        if target.policies:
            return "the target has policies"
        others = [name for name in source.names if not self._passes(source, target, name)]
        if self.transform is not None:
            target._kept = {*source.names}.difference(others)
        elif not others:
            source._prepare = target.database._dialect.from_rendered
        return f"the types of {others[0]}" if others else ""

    def _passes(self, source: Any, target: Any, name: str) -> bool:
        """Return whether the target's server reads this column as the source's server writes it."""
        column, into = source._rows.shape().columns[name], target._shape.columns.get(name)
        renderings = source.database._dialect.catalogue.renderings
        if column.kind not in renderings or into is None or not _takes_all(into, column):
            return False
        # Python writes the text of an id in one form.
        engines = {source.database.engine, target.database.engine}
        return column.kind != "id" or engines != {"mysql"}

    def _describe(self) -> dict[str, Any]:
        targets = {name or "target": one._description for name, one in self.targets.items()}
        source = self.source._description
        described = {"version": self.version, "source": source, "targets": targets}
        return cast("dict[str, Any]", json.loads(json.dumps(described)))

    def verify(self) -> Verification:
        """Compare all rows of the source with those of the target that have the same keys.

        Raises MoveError for rows that cannot be read or do not fit, and what the databases raise.
        """
        states = {"equal": 0, "different": 0, "missing": 0}
        ranges: list[tuple[str, str]] = []
        is_new = True  # the next row that is not equal begins a range
        try:
            for batch, at, state in self._compared_rows():
                states[state] += 1
                if state == "equal":
                    is_new = True
                elif not is_new:
                    ranges[-1] = (ranges[-1][0], batch.key(at))
                elif len(ranges) < self._RANGES:
                    ranges.append((batch.key(at), batch.key(at)))
                    is_new = False
            equal, different, missing = states.values()
            extra = self._extra(equal + different)
        finally:
            self.source._close()
        checked = equal + different + missing
        return Verification(self.name, checked, different, missing, extra, tuple(ranges))

    def _compared_rows(self) -> Iterator[tuple[_Portion, int, str]]:
        """Yield each row's batch, its index there, and its state."""
        self._open()
        position, last = None, False
        while not last:
            batch = self.source._read(position, self._batch)
            position, last = batch.position, batch.last
            for target, rows, columns in _FittedBatch(self, batch).fitted:
                for at, state in zip(rows, target._compare(columns)):
                    yield batch, at, state

    def _extra(self, found: int) -> int | None:
        """Return how many rows only the target has; None: it is not one whole table."""
        target = self.targets.get("")
        if not isinstance(target, TableTarget) or target.write == "update" or self._is_split:
            return None
        return target._rows.count() - found


class _FittedBatch:
    """A batch as the targets of a move store it, or the text that a server has written."""

    def __init__(self, move: RowMove, batch: _Portion) -> None:
        self._move, self._batch, self._database = move, batch, move.database
        self._fit()

    def _fit(self) -> None:
        #: a target, the index of each row as in ``_TargetRows.at``, and the rows by columns
        self.fitted: list[tuple[Target, Sequence[int], _Columns]] = []
        self.rejects: list[dict[str, str]] = []
        parts, dropped = self._transformed()
        for target, part in zip(self._move.targets.values(), parts.values()):
            if part.rows:
                self.fitted.append((target, part.at, target._fit(part)))
                self.rejects += [part.rejects[index] for index in sorted(part.rejects)]
        rejected = len(self.rejects)
        self._counts = MoveCounts(read=self._batch.size, dropped=dropped, rejected=rejected)

    def _transformed(self) -> tuple[dict[str, _TargetRows], int]:
        """Return the rows for each target, and how many the transform drops."""
        move, batch, dropped = self._move, self._batch, 0
        rows: Iterable[Any] = batch.rows
        if move.transform is None:
            return {"": _TargetRows(batch, [*range(len(batch.rows))], [*rows], {})}, dropped
        parts = {name: _TargetRows(batch, [], [], {}) for name in move.targets}
        if move.source.names is not None:
            rows = map(dict, map(zip, itertools.repeat(move.source.names), rows))
        for at, row in enumerate(rows):
            pairs = self._named_rows(at, self._transform_row(move.transform, at, row))
            dropped += not pairs
            for name, named in pairs:
                parts[name].at.append(at)
                parts[name].rows.append(named)
        return parts, dropped

    def _transform_row(self, transform: Transform, at: int, row: dict[str, Any]) -> Any:
        try:
            made = transform(row)
            if type(made) is dict:
                return made
            made = _not_awaitable(made)
            return [*made] if isinstance(made, Iterator) else made
        except Exception as error:
            key = self._batch.key(at)
            words = f"failed at row {key}: {type(error).__name__}"
            if isinstance(error, InfrastructureError):
                words = f"refused row {key}: {error}"
            raise MoveError(f"the transform {words}", key=key) from error

    def _named_rows(self, at: int, made: Any) -> Sequence[tuple[str, Any]]:
        """Return the transform's rows, each with the name of its target."""
        if made is None:
            return []
        if not self._move._is_split:
            if type(made) is dict:  # the usual case
                return [("", made)]
            rows = made if isinstance(made, (list, tuple)) else [made]
            return [self._checked_row(at, ("", row)) for row in rows]
        if isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], str):
            made = [made]
        if not isinstance(made, (list, tuple)):
            raise self._wrong_result(at, "dicts")
        return [self._checked_row(at, pair) for pair in made]

    def _checked_row(self, at: int, pair: Any) -> tuple[str, dict[str, Any]]:
        targets = self._move.targets
        try:
            name, row = pair
            target = targets[name]
        except (TypeError, ValueError, KeyError):
            name, row, target = "", None, None
        if target is None:
            raise self._wrong_result(at, f"pairs of a name ({', '.join(targets)}) and a row")
        if isinstance(row, Mapping):
            return name, _plain_keys(row)
        if isinstance(target, RepositoryTarget) and hasattr(row, "__dict__"):
            return name, dict(vars(row))
        raise self._wrong_result(at, "dicts")

    def _wrong_result(self, at: int, words: str) -> MoveError:
        return _row_error("the transform", self._batch.key(at), f"it should return {words}")

    def write(self, first: int = sys.maxsize, *, dry_run: bool = False) -> MoveCounts:
        """As ``Target._write``, for what is made of the first rows of the batch."""
        counts, rendered = self._counts, self._batch.rendered
        if rendered is not None:
            target: Any = self._move.targets[""]
            with target.database._unlimited():
                target.database._insert_rendered(target.table, target._names, rendered)
            counts += MoveCounts(written=self._batch.size)
        for target, at, columns in self.fitted:
            count = bisect.bisect_left(at, first)
            counts += target._write([column[:count] for column in columns], dry_run)
        if not dry_run:
            self._database._check_constraints()
        return counts

    def refused_row(self) -> MoveError | None:
        """Return an error that names the first row that a target refuses.

        None: it refuses none any more, because another client has changed rows.
        """
        if self._batch.rendered is not None:  # from now on by rows
            source: Any = self._move.source
            self._batch = source._rows.page_up_to(source.names, self._batch)
            self._fit()
        size = len(self._batch.rows)
        error = self._refusal(size)
        if error is None:
            return None
        count = 0
        if error._row and len(self.fitted) == 1:  # it says which row it is
            count = self.fitted[0][1][error._row - 1] + 1
        if not count or not self._refusal(count) or self._refusal(count - 1):
            count = bisect.bisect_left(
                range(size), True, 1, key=lambda first: bool(self._refusal(first))
            )
        error = self._refusal(count) or error
        key = self._batch.key(count - 1)
        return MoveError(f"row {key}: {error}", key=key, service=self._database.engine)

    def _refusal(self, first: int) -> InfrastructureError | None:
        """Return the target's error for the first rows, if any. Stores nothing."""
        try:
            with contextlib.suppress(_RollBack), self._database.transaction():
                self.write(first)
                raise _RollBack
        except (ConnectionError, TimeoutError):
            raise
        except InfrastructureError as error:
            return error
        return None


#: pairs of kinds: a column of the second one takes what a server writes of the first
_RENDERED_INTO = {
    ("text", "long text"), ("long text", "text"), ("year", "integer"),
    ("moment", "local moment"), ("local moment", "moment"),
}  # fmt: skip


def _takes_all(column: _ColumnType, source: _ColumnType) -> bool:
    """Return whether a column stores every value of another unchanged, or its server refuses it.

    Servers round decimals and fractions of seconds, and cut off blanks, without an error.
    """
    kinds = source.kind, column.kind
    if (kinds not in _RENDERED_INTO and source.kind != column.kind) or column.choices:
        return False
    if column.fixed and not (source.fixed and source.size == column.size):
        return False
    size = source.size
    if column.kind in _SIZED and column.size is not None and not 0 < (size or 0) <= column.size:
        return False
    octets = source.octets if size is None else 4 * size
    if column.octets is not None and not 0 < (octets or 0) <= column.octets:
        return False
    if column.scale is None or column.kind not in ("float", "decimal", *_SCALED):
        return True
    scale = 6 if source.scale is None and source.kind in _SCALED else source.scale
    return column.kind != "float" and scale is not None and scale <= column.scale


class _RollBack(Exception):
    """Raised to roll back a transaction on purpose."""


@dataclass(eq=False, repr=False)
class _MoveRun:
    """One call of ``RowMove.run``."""

    _move: RowMove
    _shows: bool  # the progress
    _end: int  # how many rows of the whole move are read when the run ends
    _dry_run: bool
    _resume: bool
    _restart: bool
    _accept_change: bool
    _started: float = field(default_factory=SystemClock.monotonic)
    _resumed: MoveCounts | None = None
    _failures: int = 0  # since the last batch
    _is_read: bool = False  # the source has no more rows
    _rows_that_fit: int = 100  # a small first batch shows how large rows are
    _progress: _Progress | None = None
    _path: str = "slow: a dry run"

    def close(self) -> None:
        self._move.source._close()
        if self._progress is not None:
            self._progress.close()

    def _rehearse(self) -> MoveReport:
        """Do everything except for writing."""
        move = self._move
        move._open()
        counts, position, last = MoveCounts(), None, False
        self._show(0)
        while not last and (size := self._size(counts.read)):
            batch = move.source._read(position, size)
            position, last = batch.position, batch.last
            counts += _FittedBatch(move, batch).write(dry_run=True)
            self._adapt_size(batch)
            self._show(counts.read)
        return self._report(counts, done=last)

    def execute(self) -> MoveReport:
        if self._dry_run:
            return self._rehearse()
        with _graceful_stop() as self._stop:
            while True:
                try:
                    return self._attempt()
                except (ConnectionError, TimeoutError) as error:
                    self._failures += 1
                    is_open = isinstance(error, CircuitOpenError)
                    if not (error.retryable or is_open) or self._failures > self._move.RETRIES:
                        raise
                    logger.warning("%s: %s, retrying", self._move.name, type(error).__name__)
                    pause = 0.1 * 2**self._failures
                    self._move._clock.sleep(max(pause, getattr(error, "retry_after", 0.0)))

    def _attempt(self) -> MoveReport:
        from concurrent.futures import ThreadPoolExecutor

        move = self._move
        move.database._outside("move", "commits each batch")
        move._open()
        reason = move._slow_reason()
        if move.transform is not None:
            reason = "it has a transform"
        self._path = f"slow: {reason}" if reason else "fast"
        with move.database._locked(f"move {move.name}", move._lock_timeout) as locked:
            point = locked(self._begin).result()
            if not point.is_done:
                self._show(point.counts.read)
                with ThreadPoolExecutor(1, "infra-move") as reader:
                    point = self._move_batches(point, reader, locked)
            return self._report(point.counts, done=point.is_done)

    def _begin(self) -> _Checkpoint:
        self._checkpoints = _checkpoints_in(self._move.database)
        point = self._checkpoint()
        _restore_rejects(self._move._rejects_path, point)
        return point if point.is_done else self._without_indexes(point)

    def _checkpoint(self) -> _Checkpoint:
        """Return the checkpoint to continue from; create it if there is none."""
        where = {"name": self._move.name}
        self._description = description = self._move._describe()
        point: _Checkpoint | None = self._checkpoints._first("move", where)
        progress = {"position": None, "counts": vars(MoveCounts()), "rejects": 0, "indexes": None}
        if point is not None and self._restart:
            self._checkpoints._remove("move", where)
            with contextlib.suppress(FileNotFoundError):
                os.truncate(self._move._rejects_path, 0)
            progress["indexes"], point = point.progress.get("indexes"), None
        if point is None:
            new = _Checkpoint(self._move.name, 0, False, description, progress)
            point = self._checkpoints.create(new)
        elif not self._resume:
            raise self._begun()
        if point.description != description:
            self._check_change(point.description, description)
        if self._resumed is None:
            self._resumed = point.counts
            self._end += point.counts.read
            self._resume, self._restart = True, False  # after a lost connection
        return point

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt(f"{self._move.name} stopped: run it again to go on")

    def _begun(self) -> MoveError:
        return MoveError(f"{self._move.name} was begun by an earlier run: restart or resume it")

    def _check_change(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        """Raise MoveError for another key of the source, or a change that is not accepted."""
        old, new = before["source"], now["source"]
        is_elsewhere = old.keys() != new.keys() or old.get("key") != new.get("key")
        if is_elsewhere or not self._accept_change:
            changed = ", ".join(_differences(before, now))
            remedy = "restart the move" + ("" if is_elsewhere else ", or accept the change")
            raise MoveError(f"{self._move.name} was begun with another {changed}: {remedy}")

    def _move_batches(
        self,
        point: _Checkpoint,
        reader: Executor,
        locked: Callable[[Callable[[], _Checkpoint]], Future[_Checkpoint]],
    ) -> _Checkpoint:
        """Move batches up to the end or the limit, and return the last checkpoint.

        Three threads work at a time: one reads a batch, this one transforms the batch before, and
        one writes the batch before that.
        """
        writing: Future[_Checkpoint] | None = None
        self._is_read = False
        try:
            for batch in self._batches(point, reader):
                fitted = _FittedBatch(self._move, batch) if batch.size else None
                if writing is not None:
                    point = self._result(writing)
                if fitted is not None:
                    writing = locked(functools.partial(self._move_batch, point, batch, fitted))
        except Exception:
            if writing is not None:
                writing.result()  # the error of an earlier row is the one to report
            raise
        if writing is not None:
            point = self._result(writing)
        if self._is_read:
            return locked(functools.partial(self._finish, point)).result()
        self._check_stop()
        return point

    def _batches(self, point: _Checkpoint, reader: Executor) -> Iterator[_Portion]:
        source, read, position = self._move.source, point.counts.read, point.progress["position"]
        asked: Future[_Portion] | None = None
        while not self._is_read and (size := self._size(read)) and not self._stop.is_set():
            batch = asked.result() if asked else source._read(position, size)
            self._adapt_size(batch)
            read, position, self._is_read = read + batch.size, batch.position, batch.last
            following = self._size(read)
            if source._reads_ahead and not batch.last and following:
                asked = reader.submit(source._read, position, following)
            yield batch

    def _result(self, writing: Future[_Checkpoint]) -> _Checkpoint:
        point = writing.result()
        self._failures = 0
        self._show(point.counts.read)
        return point

    def _move_batch(self, point: _Checkpoint, batch: _Portion, fitted: _FittedBatch) -> _Checkpoint:
        size = point.progress["rejects"]
        if fitted.rejects:
            size = _add_rejects(self._move._rejects_path, fitted.rejects)

        def work() -> _Checkpoint:
            counts = vars(point.counts + fitted.write())
            moved = {"position": batch.position, "counts": counts, "rejects": size}
            return self._checkpoints.advance(point, moved, description=self._description)

        following = self._committed(work, fitted)
        database, written = self._move.database, following.counts.written - point.counts.written
        _count(database._observer, database.engine, "rows_moved", written)
        return following

    def _committed(self, work: Callable[[], _Checkpoint], fitted: _FittedBatch) -> _Checkpoint:
        """Run the work in a transaction. Raises MoveError for a row that the target refuses."""
        refusal: Exception | None = None
        for _ in range(3):  # other clients may change the same rows
            try:
                return self._move.database.run(work)
            except (DatabaseError, ValidationError, SerializationError, NotFoundError) as error:
                refusal = error
                if refused_row := fitted.refused_row():
                    raise refused_row from error
        raise MoveError(str(refusal), service=self._move.database.engine) from refusal

    def _without_indexes(self, point: _Checkpoint) -> _Checkpoint:
        """Drop the indexes that are made at the end. The checkpoint keeps them."""
        kept = {**(point.progress.get("indexes") or {})}
        for name, target in self._move.targets.items():
            if isinstance(target, TableTarget) and target.indexes != "keep" and name not in kept:
                if point.batches or target._rows.count():
                    raise MoveError(f'{target.table} should be empty for indexes="afterwards"')
                kept[name] = [*map(list, target._rows.indexes())]
        if kept:
            with self._move.database.transaction():
                point = self._checkpoints.advance(point, {"indexes": kept})
            self._alter(kept, drop=True)
        return point

    def _alter(self, kept: Mapping[str, Sequence[_Row]], *, drop: bool) -> None:
        """Drop these indexes, or make them, unless that is done already."""
        for name, wanted in kept.items():
            rows = self._move.targets[name]._rows
            present = {make for _, make in rows.indexes()}
            if drop:
                statements = [drop for drop, make in reversed(wanted) if make in present]
            else:
                statements = [make for _, make in wanted if make not in present]
            if statements:
                rows.alter(statements)

    def _finish(self, point: _Checkpoint) -> _Checkpoint:
        for target in self._move.targets.values():
            target._rows.pass_ids()
        self._alter(point.progress.get("indexes") or {}, drop=False)
        with self._move.database.transaction():
            return self._checkpoints.advance(point, {"indexes": None}, is_done=True)

    def _size(self, read: int) -> int:
        """Return the limit of the next batch, after ``read`` rows of the whole move."""
        return min(self._move._batch, self._rows_that_fit, self._end - read)

    def _adapt_size(self, batch: _Portion) -> None:
        """Set the number of rows that fit into the memory for one batch."""
        if batch.rendered is not None:
            count, size = batch.size, len(batch.rendered)
        else:
            sample = batch.rows[:: max(1, len(batch.rows) // 100)]
            count, size = len(sample), sum(map(_bytes_of, sample))
        if count:
            self._rows_that_fit = max(1, _BATCH_BYTES * count // (1 + size))

    def _show(self, read: int) -> None:
        if self._shows:
            self._progress = self._progress or _Progress(self._move, read)
            self._progress.show(read)

    def _report(self, counts: MoveCounts, *, done: bool) -> MoveReport:
        name, resumed = self._move.name, self._resumed or MoveCounts()
        seconds = SystemClock.monotonic() - self._started
        return MoveReport(name, counts, resumed, seconds, done, self._dry_run, self._path)


def _bytes_of(row: Any) -> int:
    values = row.values() if isinstance(row, dict) else row
    return 100 * len(row) + sum(len(value) for value in values if isinstance(value, (str, bytes)))


def _differences(before: Any, after: Any, place: str = "") -> Iterator[str]:
    """Return the paths at which two descriptions differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in before | after:
            yield from _differences(before.get(name), after.get(name), f"{place}.{name}")
    elif before != after:
        yield place.removeprefix(".")


RowMove._run_of = _MoveRun
_MANIFESTS = ".infra-moves/"  # in the keys of manifests, which no move moves


class _Folder(NamedTuple):
    """One end of an ``ObjectMove``."""

    storage: StorageProvider
    bucket: str
    prefix: str

    def objects(self) -> Iterator[ObjectSummary]:
        found = self.storage.list_objects(self.bucket, self.prefix)
        return (one for one in found if _MANIFESTS not in one.key)

    def _total(self) -> int:
        return sum(1 for _ in self.objects())

    def _close(self) -> None: ...

    def sha256(self, key: str) -> str:
        import hashlib

        digest = hashlib.sha256()
        file: Any = types.SimpleNamespace(write=digest.update)
        self.storage.download_to(self.bucket, key, file)
        return digest.hexdigest()


def _check_folder(name: str, place: Any) -> _Folder:
    is_place = isinstance(place, tuple) and len(place) == 3
    if not is_place or not isinstance(place[0], StorageProvider):
        raise ConfigurationError(f"{name} should be a StorageProvider, a bucket and a prefix")
    prefix = _check_text(f"the prefix of {name}", place[2])
    _check_place(place[1], prefix + "x" * 500)  # as long as a key of a manifest
    return _Folder(place[0], place[1], prefix)


class ObjectMove(_ResumableMove):
    """Copies the objects of a bucket to another one, in any store.

    JSON lines below ``<prefix>.infra-moves/<name>/`` in the target, the manifest, hold the SHA-256
    of what was moved. Each run moves what is new or has changed, and after a kill the last objects
    again. It raises MoveError if another run has written to the manifest meanwhile.

    Args:
        name: the move's identity: a part of the manifest's keys.
        source: a storage provider, a bucket, and the prefix of the keys, "" for all.
        target: the same; its prefix replaces the source's.
        rename: a function that takes and returns the rest of a key, after the prefix; None leaves
            the object out. All new keys are checked before the first object moves.
        threads: how many objects to move at a time, 1 to 32.

    Raises ValidationError or ConfigurationError for an invalid argument.
    """

    BATCH = 1000  # objects after which a run writes the manifest
    INTERVAL = 10.0  # seconds after which it does so with fewer

    def __init__(
        self,
        name: str,
        *,
        source: tuple[StorageProvider, str, str],
        target: tuple[StorageProvider, str, str],
        rename: Callable[[str], str | None] | None = None,
        threads: int = 8,
    ) -> None:
        self.name = StoragePath._joined(_check_text("name", name, longest=100))
        _check_range("threads", threads, 1, 32, ConfigurationError)
        if rename is not None:
            _check_function("rename", rename, "a key", ConfigurationError)
        self.rename, self.threads = rename, threads
        self.source, self.target = _check_folder("source", source), _check_folder("target", target)
        self._manifest = f"{self.target.prefix}{_MANIFESTS}{self.name}/"
        (*old, outer), (*new, inner) = self.source, self.target
        if old == new and inner.startswith(outer):
            raise ConfigurationError("target should not be inside source")

    def verify(self) -> Verification:
        """Compare the SHA-256 of the target's bytes with the manifest's, or else the source's."""
        run = _ObjectRun(cast("Any", self), False, 0, True, True, False, False)
        planned = run.plan()
        states = [*run.in_threads(run.compare, planned)]
        unequal = [one["key"] for one, state in zip(planned, states) if state != "equal"]
        different, missing = map(states.count, ("different", "missing"))
        extra = max(0, self.target._total() - len(states) + missing)
        ranges = tuple(zip(unequal, unequal))[: self._RANGES]
        return Verification(self.name, len(states), different, missing, extra, ranges)


class _ObjectRun(_MoveRun):
    """One call of a method of an ``ObjectMove``."""

    _move: Any

    def execute(self) -> MoveReport:
        planned, self._path = self.plan(), ""
        pending = [one for one in planned if "sha256" not in one]
        moved = len(planned) - len(pending)
        self._resumed = MoveCounts(read=moved, written=moved)
        counts = self._resumed + MoveCounts(read=self._dropped, dropped=self._dropped)
        self._show(counts.read)
        with _graceful_stop() as self._stop:
            try:
                for result in self.in_threads(self._transfer, pending[: self._end]):
                    counts += result
                    self._write(self._move.BATCH)
                    self._show(counts.read)
            finally:
                self._write(1)
            self._check_stop()
        return self._report(counts, done=len(pending) <= self._end)

    def _find_parts(self) -> set[str]:
        storage, bucket, _ = self._move.target
        found = storage.list_objects(bucket, self._move._manifest)
        return {one.key for one in found if one.size}

    def _read_manifest(self) -> dict[str, dict[str, Any]]:
        """Return what was moved, by key; nothing for a restart."""
        self._parts, self._written = self._find_parts(), self._started
        self._added: deque[dict[str, Any]] = deque()
        storage, bucket, _ = self._move.target
        if self._parts and not (self._resume or self._restart or self._dry_run):
            raise self._begun()
        if self._restart:
            if not self._dry_run:
                storage.delete_batch(bucket, self._parts)
            self._parts = set()
        moved: dict[str, dict[str, Any]] = {}
        for part in sorted(self._parts):
            lines = storage.download(bucket, part).splitlines()
            try:
                moved.update((one["key"], one) for one in map(json.loads, lines))
            except (ValueError, TypeError, LookupError):
                raise MoveError(f"{part} is no manifest: restart the move") from None
        return moved

    def _write(self, least: int) -> None:
        """Write new entries to the manifest if there are so many, or in time."""
        now, count, move = SystemClock.monotonic(), len(self._added), self._move
        if not count or (count < least and now < self._written + move.INTERVAL):
            return
        if self._find_parts() - self._parts:
            raise MoveError(f"{move.name}: another run moved objects meanwhile: run it again")
        self._written, part = now, f"{move._manifest}{new_id().hex}"
        self._parts.add(part)
        lines = [f"{_encode(self._added.popleft())}\n" for _ in range(count)]
        move.target.storage.upload(move.target.bucket, part, "".join(lines).encode())

    def plan(self) -> list[dict[str, Any]]:
        """Return the objects of the source, those that were moved with a SHA-256."""
        moved, self._dropped = self._read_manifest(), 0
        planned: dict[str, dict[str, Any]] = {}  # by new key
        for found in self._move.source.objects():
            try:
                to = self._new_key(found.key)
                if to in planned:
                    raise ValidationError(f"{planned[to]['key']} has the same new key, {to}")
            except Exception as error:
                reason = _reason(error, f"rename failed: {type(error).__name__}")
                raise MoveError(f"object {found.key}: {reason}", key=found.key) from error
            if to is None:
                self._dropped += 1
                continue
            new = {"key": found.key, "to": to, "size": found.size, "etag": found.etag}
            new["modified"] = found.last_modified.isoformat()
            old = moved.get(found.key, new)
            planned[to] = old if new.items() <= old.items() else new
        return [*planned.values()]

    def _new_key(self, key: str) -> str | None:
        rest: Any = key[len(self._move.source.prefix) :]
        if self._move.rename is not None:
            rest = _not_awaitable(self._move.rename(rest))
        if rest is None:
            return None
        if _MANIFESTS in _check_text("the new key", rest):
            raise ValidationError(f"the new key should not hold {_MANIFESTS}")
        return _check_object_key(self._move.target.prefix + rest)

    def in_threads(self, work: Callable[[Any], T], objects: Sequence[Any]) -> Iterator[T]:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(self._move.threads, "infra-move") as pool:
            for start in range(0, len(objects), self._move.BATCH):
                yield from pool.map(work, objects[start : start + self._move.BATCH])

    def _transfer(self, one: dict[str, Any]) -> MoveCounts:
        import hashlib

        source, (storage, bucket, _), key = self._move.source, self._move.target, one["key"]
        digest = hashlib.sha256()

        def read(size: int) -> Any:
            digest.update(block := file.read(size))
            return block

        data: Any = types.SimpleNamespace(read=read)
        if self._stop.is_set():
            return MoveCounts()
        if self._dry_run:
            return MoveCounts(read=1, written=1)
        try:
            held = source.storage.get_metadata(source.bucket, key)
            with source.storage.open(source.bucket, key) as file:
                storage.upload(bucket, one["to"], data, held.content_type, held.metadata)
        except NotFoundError as error:
            if error.resource != "object":
                raise
            return MoveCounts(read=1, missing=1)
        except (StorageError, ValidationError) as error:
            if error.retryable:
                raise
            raise MoveError(f"object {key}: {error}", key=key) from error
        self._added.append({**one, "sha256": digest.hexdigest()})
        _count(storage._observer, "storage", "rows_moved")
        return MoveCounts(read=1, written=1)

    def compare(self, one: dict[str, Any]) -> str:
        """Return "equal", "different" or "missing"."""
        try:
            held = self._move.target.sha256(one["to"])
        except NotFoundError:
            return "missing"
        sha256 = one.get("sha256") or self._move.source.sha256(one["key"])
        return "equal" if held == sha256 else "different"


ObjectMove._run_of = _ObjectRun
#: a literal of a catalogue, which Postgres casts; in quotes it means the same on both engines
_LITERAL = _lazy(r"(?:('(?:[^'\\]|'')*'|true|false)|(-?[\d.]+))(?:::[\w ]+(?:\([\d,]+\))?)?")
_RULE_LINE = _lazy(r"(?m)^ *((?!CREATE TABLE|PRIMARY KEY|[ `)]).+?|`.+ CHECK \((?!json_v).+?),?$")
_UNIQUE_KEY = _lazy(r"(?:CREATE )?UNIQUE [^(]*\(([^()]+)\)")


def _copied_columns(shape: _TableShape, syntax: _TableSyntax, *, same: bool) -> Iterator[str]:
    """Return the columns' definitions, and comments on what differs in a copy."""
    quote = syntax.syntax().name
    types = {**syntax.types, "document": "JSON"}
    # The engines write the literals of some kinds differently.
    avoided = {"bytes", "moment", "short moment", "duration", *(() if same else syntax.no_default)}
    for name, (text, default) in shape.texts.items():
        if name in shape.computed:
            yield f"-- {name} {text}, computed"
            continue
        column, default = shape.columns[name], default or ""
        is_made = default.startswith("nextval") and name == shape.key[0]
        if is_made:
            column = column._replace(unsigned=False)
        kind = "flag" if text == "bit(1)" else syntax.kind(column)
        text = "JSON" if kind == "document" and text != "jsonb" else text
        sql = text if same else types.get(kind, "").format(size=column.size, scale=column.scale)
        if not sql:
            raise MoveError(f"{name} is {text}, which the engine does not have", column=name)
        sql += " NULL" if name in shape.nullable else " NOT NULL"
        literal = _LITERAL.fullmatch(default)
        if is_made:
            sql += syntax.made
        elif literal and kind not in avoided:
            sql += f" DEFAULT {literal[1] or repr(literal[2])}"
        elif default:
            yield f"-- {name} DEFAULT {default}"
        if not same and (column.choices or re.search(" COLLATE .*(?<!_bin)$", text)):
            yield f"-- {name} {text}"
        if not same and (choices := re.match(r"enum(\(.*\))", text)):
            sql += f" CHECK ({quote(name)} IN {choices[1]})"
        yield f"{quote(name)} {sql}"


def _copied_rules(source: TableSource, quote: Callable[[str], str]) -> Iterator[str]:
    """Return the unique keys, and comments on other rules."""
    rows: Any = source._rows
    found = rows._ask(rows._catalogue.table_rules.format(rows._name(source.table)))
    for rule in _RULE_LINE.findall("\n".join(row[-1] for row in found)):
        unique = _UNIQUE_KEY.fullmatch(rule)
        names = re.findall('[^`", ]+', unique[1]) if unique else []
        if names and {*names} <= {*source.names}:
            key = "_".join([source.table.rpartition(".")[2], *names, "key"])[:63]
            yield f"CONSTRAINT {quote(key)} UNIQUE ({', '.join(map(quote, names))})"
        else:
            yield f"-- {rule}"


def table_ddl(source: Database, table: str, engine: str) -> str:
    """Return a migration that creates an empty copy of a table.

    It has the columns with literal defaults, the primary key and the unique keys. Comments name
    the rest. Raises MoveError for a table that cannot be moved or a type that the engine does not
    have, and ConfigurationError for a FakeDatabase.

    Args:
        source: the ConnectionPool of the table.
        table: its name.
        engine: "mysql" (MariaDB too) or "postgres".
    """
    if not isinstance(source, ConnectionPool):
        raise ConfigurationError("table_ddl takes a ConnectionPool: a fake has no catalogue")
    syntax = _TABLE_SYNTAX[_check_choice("engine", engine, *_TABLE_SYNTAX)]
    rows, quote = TableSource(source, table), syntax.syntax().name
    rows._open()
    source._target(rows.table, rows.names)  # checks the names
    name = rows.table.rpartition(".")[2]
    primary_key = syntax.primary_key.format(name=quote(f"{name}_pkey"))
    parts = [
        *_copied_columns(rows._rows.shape(), syntax, same=source.engine == engine),
        f"{primary_key} ({', '.join(map(quote, rows._key))})",
        *_copied_rules(rows, quote),
    ]
    notes = [" ".join(part.split()) for part in parts if part.startswith("-- ")]
    lines = [part for part in parts if not part.startswith("-- ")]
    head = f"-- migration 1 {name.lower()} {engine}"
    return "\n".join([head, *notes, syntax.create(quote(rows.table), lines)])


# === outbox and audit =============================================================================


@dataclass(eq=False, repr=False)
class _OutboxEvent(_ByValue):
    id: int  # made by the server
    bucket: int
    channel: str
    message_id: str
    payload: str
    created_at: datetime = FILLED
    sent_at: datetime | None = None


class _OutboxRepository(Repository[_OutboxEvent]):
    record = _OutboxEvent
    table = "infra_outbox"
    resource = "event"
    lengths: ClassVar = {"id": 64, "bucket": 32, "channel": 255, "message_id": 36}


@dataclass(eq=False, repr=False)
class _OutboxLease(_ByValue):
    """The relay that sends the events of a bucket, and how often it has said that it lives."""

    bucket: int
    owner: str | None = None
    beats: int = 0


class _LeaseRepository(Repository[_OutboxLease]):
    record = _OutboxLease
    table = "infra_outbox_leases"
    resource = "lease"
    key = ("bucket",)
    ids = ()
    sort_fields = ()
    lengths: ClassVar = {"bucket": 32, "owner": 32, "beats": 64}


@dataclass(eq=False, repr=False)
class _InboxMessage(_ByValue):
    group_name: str
    message_id: str
    created_at: datetime = FILLED


class _InboxRepository(Repository[_InboxMessage]):
    record = _InboxMessage
    table = "infra_inbox"
    resource = "message"
    key = ("group_name", "message_id")
    ids = ()
    lengths: ClassVar = {"group_name": 100, "message_id": 255}


class Outbox:
    """Events that are sent if, and only if, the transaction that adds them is committed.

        with database.transaction():
            orders.create(order)
            outbox.add("orders", OrderEvent.Placed(order.id), key=str(order.id))

    ``relay`` sends them, in a program or thread of its own: each at least once, with one
    ``Message.id``. Several relays may run at a time. The events of one key are sent for the first
    time in the order in which they were added, if their writers wait for each other, as by
    ``get(…, lock=True)``. After a relay has died, others take over its part after ``lease``
    seconds. Needs the tables of ``schema.sql``. Raises ConfigurationError for an invalid argument.

    Args:
        database: that of the transactions.
        lease: in seconds; longer than the sending of a batch takes.
        keep: relays delete events so many seconds after they were sent.
        clock: for ``Message.at``; by default the database's.
        observer: for ``Message.traceparent``.
    """

    BUCKETS = 16  # of keys; one relay at a time sends the events of one
    POLL = 0.5  # seconds between two looks for new events
    TIDY = 60.0  # seconds between two looks for events to delete

    def __init__(
        self,
        database: Database,
        *,
        lease: float = 30.0,
        keep: float = 86400.0,
        clock: Clock | None = None,
        observer: _Observing | None = None,
    ) -> None:
        self._events = _OutboxRepository.on(database, clock=clock)
        self._leases = _LeaseRepository.on(database, clock=clock)
        self._lease = _WAIT.require("lease", lease)
        self._keep = _TTL_OR_0.require("keep", keep)
        self._clock = self._events._clock
        self._writer = _EventWriter(self._clock, _observers(observer), None)
        self._stopped = False

    def add(self, channel: str, event: Event, *, key: str = "") -> str:
        """Store the event in the transaction that is open, and return its id.

        Events of one ``key`` keep their order; without a key they have none.
        """
        _check_event(event)
        channel = _check_text("channel", channel, blank_ends=False, empty=False, longest=255)
        key = _check_text("key", key)
        id, text = self._writer.write(event)
        bucket = _crc32(key or id) % self.BUCKETS
        self._events.create(_OutboxEvent(FILLED, bucket, channel, id, text))
        return id

    def relay(
        self, target: EventStream | RedisEventBus, *, batch: int = 500, once: bool = False
    ) -> int:
        """Send events until ``stop`` is called, ``batch`` at a time; return their number.

        With ``once`` it returns when no event is left. While the database or the target does not
        answer, it tries again after a pause, but raises the error with ``once``. An event that the
        target refuses blocks those of its bucket, and is logged each time. Raises ValidationError
        inside a transaction.
        """
        if not isinstance(target, (EventStream, RedisEventBus)):
            raise ValidationError("target should be an EventStream or a RedisEventBus")
        _check_range("batch", batch, 1, 10_000)
        _FLAG.check("once", once)
        if self._events.database._current() is not None:
            raise ValidationError("relay sends what is committed: call it outside a transaction")
        return _Relay(self, target, batch).run(once=once)

    def stop(self) -> None:
        """End ``relay`` after the batch at work, for good. A signal handler may call it."""
        self._stopped = True

    def unsent(self) -> int:
        """Return the number of events that are not marked as sent."""
        return self._events.count({"sent_at": None})


class _LostLeaseError(Exception):
    """Another relay has taken over the bucket."""


class _Relay:
    """One run of ``relay``.

    A lease is a row with a counter, which its owner raises with each batch. Another relay takes a
    bucket over whose counter has stood still for the time of the lease, by its own monotonic
    clock: no wall clock counts, neither a relay's nor the server's.
    """

    def __init__(self, outbox: Outbox, target: EventStream | RedisEventBus, batch: int) -> None:
        self._outbox, self._target, self._batch = outbox, target, batch
        self._events, self._leases = outbox._events, outbox._leases
        self._monotonic = outbox._clock.monotonic
        self._owner = uuid.uuid4().hex
        self._seen: dict[int, tuple[int, float]] = {}  # of other owners: beats, and since when
        self._beats = 0  # of the bucket at work
        self._tidy_at = self._monotonic()

    def run(self, *, once: bool) -> int:
        outbox, total, failures = self._outbox, 0, 0
        while not outbox._stopped:
            try:
                is_idle = not self._events.exists_where({"sent_at": None})
                sent = 0 if is_idle else self._pass()
                self._tidy()
            except InfrastructureError as error:
                if once:
                    raise
                failures += 1
                message, outcome = "a relay stops for a moment: %s", type(error).__name__
                _warn("outbox", "relay", outcome, message, error)
                outbox._clock.sleep(min(10.0, outbox.POLL * 2.0 ** min(failures, 5)))
                continue
            total, failures = total + sent, 0
            if once and is_idle:
                break
            if not sent:
                outbox._clock.sleep(outbox.POLL)
        return total

    def _pass(self) -> int:
        import random

        sent = 0
        for bucket in random.sample(range(Outbox.BUCKETS), Outbox.BUCKETS):
            if self._outbox._stopped:
                break
            if self._events.exists_where({"bucket": bucket, "sent_at": None}):
                sent += self._send_bucket(bucket)
        return sent

    def _send_bucket(self, bucket: int) -> int:
        sent = 0
        try:
            if not self._claim(bucket):
                return 0
            try:
                while (count := self._send_batch(bucket)) and not self._outbox._stopped:
                    sent += count
                return sent + count
            finally:
                self._beat(bucket, None)
        except _LostLeaseError:
            return sent

    def _claim(self, bucket: int) -> bool:
        """Become the owner; return whether the bucket was free, or its owner is dead."""
        lease, now = self._leases.get(bucket), self._monotonic()
        if lease is None:
            with contextlib.suppress(ConflictError):
                self._leases.create(_OutboxLease(bucket))
            lease = self._leases.get(bucket) or _OutboxLease(bucket)
        if lease.owner is not None:
            beats, since = self._seen.get(bucket, (-1, now))
            if beats != lease.beats:
                self._seen[bucket] = lease.beats, now
                return False
            if now - since < self._outbox._lease:
                return False
        self._beats = lease.beats
        self._beat(bucket, self._owner)
        return True

    def _beat(self, bucket: int, owner: str | None) -> None:
        where = {"bucket": bucket, "beats": self._beats}
        if not self._leases.update_where(where, owner=owner, beats=self._beats + 1):
            raise _LostLeaseError
        self._beats += 1

    def _send_batch(self, bucket: int) -> int:
        """Send a batch, outside a transaction; then mark what was sent."""
        where = {"bucket": bucket, "sent_at": None}
        events = self._events.select(where, sort="id", limit=self._batch)
        until, sent = self._monotonic() + self._outbox._lease / 2, list[_OutboxEvent]()
        try:
            for channel, alike in itertools.groupby(events, operator.attrgetter("channel")):
                part = [*alike]
                if self._monotonic() > until:
                    break  # first show that this relay lives
                self._target._forward(channel, [(each.message_id, each.payload) for each in part])
                sent += part
        finally:
            if sent:
                self._mark(bucket, sent)
        return len(sent)

    def _mark(self, bucket: int, sent: Sequence[_OutboxEvent]) -> None:
        with self._events.database.transaction():
            self._beat(bucket, self._owner)
            now = self._outbox._clock.now()
            self._events.update_where({"id": OneOf(each.id for each in sent)}, sent_at=now)

    def _tidy(self) -> None:
        if self._monotonic() < self._tidy_at:
            return
        self._tidy_at = self._monotonic() + Outbox.TIDY
        old = self._outbox._clock.now() - timedelta(seconds=self._outbox._keep)
        self._events.delete_where({"sent_at": Below(old)})


def _crc32(text: str) -> int:
    import zlib

    return zlib.crc32(text.encode())


class Inbox:
    """Remembers the messages that a group has handled, so that a redelivery has no effect.

        def place(message: infra.Message) -> None:
            with database.transaction():
                if inbox.first("billing", message.id):
                    bills.create(…)

    Needs the table of ``schema.sql``.
    """

    def __init__(self, database: Database, *, clock: Clock | None = None) -> None:
        """Use the database of the handlers' transactions."""
        self._messages = _InboxRepository.on(database, clock=clock)

    def first(self, group: str, message_id: str | None) -> bool:
        """Return True once for each message of a group, if the transaction is committed.

        While another transaction has the same message, it waits for the end of that one. InnoDB
        may end one of them by a deadlock, a retryable DatabaseError: let it leave the handler, and
        the event comes again. Raises ValidationError outside a transaction, and for the id None, of
        a message without one.
        """
        database = self._messages.database
        if database._current() is None:
            raise ValidationError("first should be called inside the transaction of its effect")
        seen = _InboxMessage(group, message_id)  # type: ignore[arg-type]
        # No upsert: of three that wait for one row, InnoDB ends two by a deadlock.
        try:
            with database.transaction():
                self._messages.create(seen)
        except ConflictError:
            return False
        return True

    def forget(self, older: float) -> int:
        """Delete the entries that are that many seconds old; return their number.

        A message that comes again later than that counts as new.
        """
        old = self._messages._clock.now() - timedelta(seconds=_TTL_OR_0.check("older", older))
        return self._messages.delete_where({"created_at": Below(old)})


@dataclass(frozen=True, eq=False, repr=False)
class AuditEntry(_ByValue):
    """An action of an actor on a subject. ``version`` is that of an event in its stream."""

    id: int = FILLED  # made by the server
    created_at: datetime = FILLED
    actor: str = ""
    action: str = ""
    subject: str = ""
    version: int | None = None
    data: dict[str, Any] | None = field(default=None, repr=False)


class _AuditRepository(Repository[AuditEntry]):
    record = AuditEntry
    table = "infra_audit"
    resource = "audit entry"
    trimmed = ("action", "subject")
    lengths: ClassVar = {"id": 64, "actor": 255, "action": 100, "subject": 255}
    unique: ClassVar = {"infra_audit_subject_version_key": ("subject", "version")}


@dataclass(eq=False, repr=False)
class _AuditSeal(_ByValue):
    """A link of the chain over the audit log. That at position 0 belongs to no entry."""

    position: int
    entry_id: int
    mac: str

    @property
    def head(self) -> str:
        return f"{self.position}:{self.mac}"


class _SealRepository(Repository[_AuditSeal]):
    record = _AuditSeal
    table = "infra_audit_seals"
    resource = "seal"
    key = ("position",)
    ids = ()
    sort_fields = ()
    lengths: ClassVar = {"position": 64, "entry_id": 64, "mac": 64}
    unique: ClassVar = {"infra_audit_seals_entry_id_key": ("entry_id",)}


@dataclass(frozen=True, eq=False, repr=False)
class AuditReport(_ByValue):
    """The result of ``AuditLog.verify``; docs/audit.md explains each problem.

    Attributes:
        checked: the sealed entries that are in order.
        head: that of the chain up to there; "" if there is none.
        problem: the first one: "changed", "removed", "inserted", "unsealed", "cut" or "key"; "" if
            all is in order.
        entry_id: the entry that it is about.
    """

    checked: int
    head: str
    problem: str = ""
    entry_id: int | None = None

    @property
    def ok(self) -> bool:
        """Whether all is in order."""
        return not self.problem

    def __str__(self) -> str:
        texts = {
            "": f"all in order, head {self.head or 'none'}",
            "unsealed": f"the seal before that of entry {self.entry_id} was removed",
            "cut": "the tail was cut: the chain does not lead to the given head",
            "key": "the key is another one",
        }
        found = texts.get(self.problem, f"entry {self.entry_id} was {self.problem}")
        return f"{self.checked:,} sealed entries checked: {found}"


_CAMEL_CASE = _lazy(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SECRET_NAME = _lazy(
    r"(?<![^\W\d_])(?:passwords?|passwd|secrets?|tokens?|codes?|otps?|pins?|authorization|cookies?"
    r"|api[\W_]*keys?|phones?)(?![^\W\d_])"
)


_PHONE = _lazy(r"\+[1-9](?:[ .()-]{0,3}[0-9]){6,14}(?![0-9])")


def _masked(found: re.Match[str]) -> str:
    """Return what ``mask_phone`` does. That refuses "+49 (0)30 …", which may be in a text."""
    return "***" + re.sub(r"\D", "", found[0])[-4:]


@functools.lru_cache(1000)
def _redacted_name(name: str) -> tuple[str, bool]:
    """Return a key of a document as it may be stored, and whether its value is secret."""
    folded = _folded(_CAMEL_CASE.sub("_", name))
    return redact_document(name), _SECRET_NAME.search(folded) is not None


def redact_document(data: Any) -> Any:
    """Return a copy of a JSON document with "***" for what looks secret.

    That are values under keys with a word such as password, token, code, pin or phone in their
    name ("accessToken", "pin_code", not "shipping"). Of phone numbers four digits remain.
    """
    if isinstance(data, str):
        return _PHONE.sub(_masked, data) if "+" in data else data
    if isinstance(data, dict):
        found = {}
        for key, value in data.items():
            name, is_secret = _redacted_name(key) if isinstance(key, str) else (key, False)
            found[name] = "***" if is_secret else redact_document(value)
        return found
    return [*map(redact_document, data)] if isinstance(data, list) else data


#: one text for equal values, whatever the engine has done with the order of keys
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_HEAD = _lazy("([0-9]{1,18}):([0-9a-f]{64})")


class AuditLog:
    """Entries of who did what to what. They are inserted only; nothing changes or deletes one.

        with database.transaction():
            orders.update_fields(order.id, status="paid")
            audit.record(f"user:{user.id}", "order.paid", f"order:{order.id}", {"total": 5})

    ``seal`` chains what is committed with a keyed hash, and ``verify`` names what was changed
    afterwards. ``append`` and ``replay`` keep the events of streams in the same table (event
    sourcing). Needs the tables of ``schema.sql``, with the rights of docs/audit.md.

    Args:
        database: that of the transactions.
        key: at least 32 bytes of secret text, for ``seal`` and ``verify``.
        redact: takes a copy of each document and returns what to store. None changes nothing.
        settle: seconds; transactions last less, and the clocks of programs differ by less.
        clock: for ``created_at``; by default the database's.

    Raises ConfigurationError for an invalid argument.
    """

    BATCH = 1000  # entries of a transaction of ``seal``, and of a statement that reads

    def __init__(
        self,
        database: Database,
        *,
        key: str | bytes | None = None,
        redact: Callable[[Any], Any] | None = redact_document,
        settle: float = 600.0,
        clock: Clock | None = None,
    ) -> None:
        self._entries = _AuditRepository.on(database, clock=clock)
        self._seals = _SealRepository.on(database, clock=clock)
        self._key = None if key is None else _key_bytes(key, "AUDIT_KEY")
        if redact is not None:
            _check_function("redact", redact, "data", ConfigurationError)
        self._redact = redact
        self._settle = timedelta(seconds=_WAIT_OR_0.require("settle", settle))
        self._clock = self._entries._clock
        self._writer = _EventWriter(self._clock, None, None)

    def record(
        self, actor: str, action: str, subject: str, data: dict[str, Any] | None = None
    ) -> AuditEntry:
        """Insert an entry, in the transaction that is open, and return it as stored.

        An actor, action or subject that holds a phone number raises ValidationError.
        """
        _check_text("actor", actor, blank_ends=False, empty=False)
        return self._insert(actor, action, subject, None, self._redacted(data))

    def history(self, subject: str) -> Iterator[AuditEntry]:
        """Return the entries of a subject in the order of their ids, reading in portions."""
        return self._entries.iterate({"subject": subject}, batch=self.BATCH)

    def entries(self, after: int = 0, limit: int = 100) -> list[AuditEntry]:
        """Return up to ``limit`` entries in the order of their ids, above ``after``.

        Ids are made before the commit: a lesser one may appear after a greater one.
        """
        _check_range("after", after, 0, 2**63 - 1)
        _check_range("limit", limit, 1, 10_000)
        return self._entries.select({"id": Above(after)}, limit=limit)

    def append(self, stream: str, event: Event, expected_version: int, *, actor: str = "") -> int:
        """Add an event to the stream that has the expected version (0: none); return the new one.

        Raises ConflictError if another caller was faster, or the stream has no such version, and
        SerializationError if the redacted event could not be read again.
        """
        _check_event(event)
        _check_range("expected_version", expected_version, 0, 2**31 - 2)
        data = _decode(self._writer.write(event)[1])[0]
        redacted = self._redacted(data)
        if redacted != data:
            Message("", None, _encode(redacted)).deserialize(type(event))
        # No row is ever changed or deleted, so what this finds still holds when the row is stored.
        last = {"subject": stream, "version": expected_version}
        if expected_version and not self._entries.exists_where(last):
            rule, message = "infra_audit_subject_version_gap", "the stream has no such version"
            raise self._entries._rule_broken("append", rule, message)
        self._insert(actor, event._type, stream, expected_version + 1, redacted)
        return expected_version + 1

    def replay(self, stream: str, fold: Callable[[T, Message], T], start: T) -> T:
        """Return the state that ``fold(state, message)`` makes of a stream's events, in order."""
        _check_function("fold", fold, "a state and a message")
        where = self._entries._conditions({"subject": stream, "version": AtLeast(1)})
        for entry in self._entries._walk(where, self.BATCH, by=("version",)):
            start = _not_deferred(fold(start, Message(stream, None, _encode(entry.data))))
        return start

    def _insert(
        self, actor: str, action: str, subject: str, version: int | None, data: Any
    ) -> AuditEntry:
        for name, text in (("actor", actor), ("action", action), ("subject", subject)):
            if redact_document(text) != text:
                raise ValidationError(f"{name} should hold an id, not a phone number")
        row: dict[str, Any] = {
            "created_at": self._clock.now(), "actor": actor, "action": action, "subject": subject,
            "version": version, "data": data,
        }  # fmt: skip
        row = self._entries._checked(row)
        self._entries._insert_numbered("record", row)
        if data is not None:
            row["data"] = row["data"].value
        return self._entries._make(map(row.__getitem__, self._entries._shown))

    def _redacted(self, data: Any) -> Any:
        if data is None or self._redact is None:
            return data
        if self._redact is not redact_document:  # which changes nothing in place
            data = _document("data", data).value
        try:
            return _not_deferred(self._redact(data))
        except Exception as error:
            kind = type(error).__name__
        raise ValidationError(f"redact raised {kind}")  # outside: the context may quote the data

    # ---- seals

    def seal(self) -> str:
        """Chain the committed entries that have no seal yet, and return the head of the chain.

        Keep the head elsewhere, for ``verify``. Several calls may run at a time, and the next one
        continues one that was killed. Raises ValidationError inside a transaction, and
        ConfigurationError without the key of the earlier seals.
        """
        root = self._root()
        if self._seals.database._current() is not None:
            raise ValidationError("seal chains what is committed: call it outside a transaction")
        if not self._seals.exists(0):
            with contextlib.suppress(ConflictError):
                self._seals.create(root)
        if self._seals.get(0) != root:
            raise ConfigurationError("another key made the earlier seals (AUDIT_KEY)")
        for ids in self._without_seals(Between(self._settled(), self._clock.now())):
            while ids and not self._chain(ids):
                pass  # another caller was faster
        return self._last_seals(1)[0].head

    def _chain(self, ids: Sequence[int]) -> bool:
        """Seal those that still have no seal. Return False if another caller seals meanwhile."""
        newest = self._last_seals(1)
        ids = self._unsealed(ids)
        found, last, seals = self._read(ids), newest[0], list[_AuditSeal]()
        for entry in filter(None, map(found.get, ids)):
            last = _AuditSeal(last.position + 1, entry.id, self._mac(last, entry))
            seals.append(last)
        try:
            self._seals.database.run(lambda: self._seals.create_many(seals))
        except ConflictError:
            if self._last_seals(1) == newest:
                raise
            return False
        return True

    def verify(self, head: str | None = None) -> AuditReport:
        """Compare the entries with their seals, and report the first problem.

        ``head`` is what an earlier ``seal`` has returned. Entries may wait for their seals.
        """
        if head is not None and not (_is_text(head) and _HEAD.fullmatch(head)):
            raise ValidationError("head should be what seal has returned")
        last, problem, entry_id = self._first_problem(head)
        known = last.head if last.mac else ""
        return AuditReport(max(0, last.position), known, problem, entry_id or None)

    def _first_problem(self, head: str | None) -> tuple[_AuditSeal, str, int]:
        """Return the last seal that is in order, the problem, and the entry's id."""
        root, last = self._root(), _AuditSeal(-1, 0, "")
        end = int(head.partition(":")[0]) if head else -1
        walk = self._seals.iterate(batch=self.BATCH)
        while seals := [*itertools.islice(walk, self.BATCH)]:
            found = self._read([seal.entry_id for seal in seals])
            for seal in seals:
                if problem := self._problem(root, last, seal, found.get(seal.entry_id)):
                    return last, problem, seal.entry_id
                if seal.position == end and seal.head != head:
                    return last, "cut", 0
                last = seal
        if last.position < end:
            return last, "cut", 0
        until = _later(self._clock.now(), self._settle)
        for ids in self._without_seals(Not(Between(self._settled(), until))):
            if ids:
                return last, "inserted", ids[0]
        return last, "", 0

    def _problem(
        self, root: _AuditSeal, last: _AuditSeal, seal: _AuditSeal, entry: AuditEntry | None
    ) -> str:
        if seal.position != last.position + 1:
            return "unsealed"
        if seal.position == 0:
            return "" if seal == root else "key"
        if entry is None:
            return "changed" if self._entries.exists(seal.entry_id) else "removed"
        return "" if seal.mac == self._mac(last, entry) else "changed"

    def _root(self) -> _AuditSeal:
        """Return the seal at position 0, which tells whether the key is the same."""
        return _AuditSeal(0, 0, self._digits("infra audit"))

    def _digits(self, text: str) -> str:
        if self._key is None:
            raise ConfigurationError("seals need a key (AUDIT_KEY)")
        return _hmac_digits(self._key, text)

    def _mac(self, last: _AuditSeal, entry: AuditEntry) -> str:
        at = entry.created_at.isoformat()
        values = [entry.id, at, entry.actor, entry.action, entry.subject, entry.version, entry.data]
        return self._digits(last.mac + _canonical([last.position + 1, *values]))

    def _last_seals(self, limit: int) -> list[_AuditSeal]:
        return self._seals.select(sort="position", descending=True, limit=limit)

    def _settled(self) -> datetime:
        """Return the time before which all entries are sealed, and none may be added."""
        found = self._read([seal.entry_id for seal in self._last_seals(self.BATCH)])
        return max([_EPOCH, *(entry.created_at for entry in found.values())]) - self._settle

    def _without_seals(self, times: _Condition) -> Iterator[list[int]]:
        """Give the ids without a seal among the entries of these times, in portions.

        In the order of an index: by id, a server might walk through the whole table.
        """
        names = "created_at", "id"
        order = [(name, False) for name in names]
        read = functools.partial(self._entries._rows, "seal", names, {"created_at": times}, order)
        rows = read(self.BATCH)
        while rows:
            yield self._unsealed([id for _, id in rows])
            rows = read(self.BATCH, after=rows[-1])

    def _unsealed(self, ids: Sequence[int]) -> list[int]:
        sealed = {seal.entry_id for seal in self._seals.select({"entry_id": OneOf(ids)})}
        return [id for id in ids if id not in sealed]

    def _read(self, ids: Sequence[int]) -> dict[int, AuditEntry]:
        """Return entries by id, without those that an edit by hand has made unreadable."""
        if not ids:
            return {}
        try:
            return {entry.id: entry for entry in self._entries.select({"id": OneOf(ids)})}
        except SerializationError:
            half = len(ids) // 2
        return {**self._read(ids[:half]), **self._read(ids[half:])} if half else {}


# === observability ================================================================================


#: upper bounds in seconds, as OpenTelemetry's conventions for database clients recommend
_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
#: the names that ``Observer.count`` gets
_COUNTS = {
    "retries": "failed attempts that are repeated",
    "cache_hits": "keys that a cache has found",
    "cache_misses": "keys that a cache has not found",
    "reconnects": "listeners that have subscribed again",
    "handler_errors": "handlers of events that raised",
    "rows_moved": "rows and objects that data moves have written",
}
#: the sources that ``Observer.watch`` gets, with their figures
_SOURCES = {"pool": [each.name for each in fields(PoolStats)], "breaker": [*_BREAKER_STATES]}


class _PrometheusMetrics:
    """All metrics of a namespace: one collector, which a registry takes whole or not at all."""

    infra_version = __version__  # distinguishes it from collectors of other programs and versions

    def __init__(self, client: Any, namespace: str) -> None:
        options: Any = {"namespace": namespace, "registry": None}
        by_call = ["service", "operation"]
        self._calls = client.Counter("calls", "attempts at calls", [*by_call, "outcome"], **options)
        self._seconds = client.Histogram(
            "call_seconds", "duration of attempts", by_call, buckets=_BUCKETS, **options
        )
        self.counts = {
            name: client.Counter(name, about, ["service"], **options)
            for name, about in _COUNTS.items()
        }
        self._new_gauge, self._namespace = client.metrics_core.GaugeMetricFamily, namespace
        #: by name and id: a source that two observers add counts once
        self.sources: dict[tuple[str, int], Callable[[], Mapping[str, float]]] = {}

    def of_call(self, service: str, operation: str, outcome: str) -> tuple[Any, Any, Sequence[Any]]:
        """Return what counts a call, what adds its seconds, and what counts it in each bucket."""
        calls = self._calls.labels(service, operation, outcome)
        seconds = self._seconds.labels(service, operation)
        try:
            # Private, and half the time of the public methods: prometheus_client 0.20 to 0.26.
            return calls._value.inc, seconds._sum.inc, [one.inc for one in seconds._buckets]
        except AttributeError:
            return calls.inc, seconds.observe, [lambda _: None] * (len(_BUCKETS) + 1)

    def collect(self) -> Iterator[Any]:
        for metric in (self._calls, self._seconds, *self.counts.values()):
            yield from metric.collect()
        totals = self._totals()
        for kind, figures in _SOURCES.items():
            for figure in figures:
                unit = "seconds" if figure == "longest_wait" else ""
                name, about = f"{self._namespace}_{kind}_{figure}", f"{figure} of each {kind}"
                gauge = self._new_gauge(name, about, labels=["service"], unit=unit)
                for service, value in totals.get((kind, figure), {}).items():
                    gauge.add_metric([service], value)
                yield gauge

    describe = collect  # a registry asks for the names

    def _totals(self) -> dict[tuple[str, str], dict[str, float]]:
        """Return what each service's sources have together, by kind and figure."""
        totals: dict[tuple[str, str], dict[str, float]] = {}
        for place, source in self.sources.copy().items():
            figures = source()
            if not figures:  # the adapter is gone
                self.sources.pop(place, None)
            service, _, kind = place[0].rpartition(".")
            for figure, value in figures.items():
                found = totals.setdefault((kind, figure), {})
                joined = max if figure == "longest_wait" else operator.add
                found[service] = joined(found.get(service, 0.0), value)
        return totals


class PrometheusObserver(Observer):
    """Keeps metrics for Prometheus: calls, counts, pools and breakers; see docs/operation.md.

    Observers of one registry and namespace share the metrics, also after a reload of this module.
    The labels are names of services, operations and outcomes: nothing that a caller passes.

    Args:
        registry: a ``CollectorRegistry`` of prometheus_client; None: its ``REGISTRY``.
        namespace: the beginning of each metric's name.

    Raises ConfigurationError for an invalid argument, if the registry has metrics of another
    program, or another version of this module, with such a name, and if prometheus_client is not
    installed.
    """

    def __init__(self, registry: Any = None, namespace: str = "infra") -> None:
        package = "prometheus_client>=0.20"
        client = _import_driver("prometheus_client", package, "PrometheusObserver")
        registry = client.REGISTRY if registry is None else registry
        if not isinstance(registry, client.CollectorRegistry):
            raise ConfigurationError("registry should be a prometheus_client.CollectorRegistry")
        form = _text_like(_NAME_SHAPE, "ASCII letters, digits and _")
        namespace = form.require("namespace", _plain(namespace))
        self._metrics = _PrometheusMetrics(client, namespace)
        try:
            registry.register(self._metrics)
        except ValueError:
            # Private, and the only way to a registered collector: prometheus_client 0.20 to 0.26.
            self._metrics = registry._names_to_collectors.get(f"{namespace}_calls")
            if getattr(self._metrics, "infra_version", None) != __version__:
                raise ConfigurationError(
                    f"the registry has other metrics called {namespace}_…: use another namespace"
                ) from None
        # Cached: ``labels`` takes half of an observer's time.
        self._of_call = functools.cache(self._metrics.of_call)

    def call(self, call: Call) -> None:
        seconds = call.seconds
        count, add, buckets = self._of_call(call.service, call.operation, call.outcome)
        count(1)
        add(seconds)
        buckets[bisect.bisect_left(_BUCKETS, seconds)](1)

    def count(self, service: str, name: str, amount: int = 1) -> None:
        if name in self._metrics.counts:
            self._metrics.counts[name].labels(service).inc(amount)

    def watch(self, name: str, source: Callable[[], Mapping[str, float]]) -> None:
        self._metrics.sources[name, id(source)] = source


#: "db.system.name" of the conventions for databases, by service
_DB_SYSTEMS = {"mysql": "mysql", "postgres": "postgresql", "redis": "redis"}


class OpenTelemetryObserver(Observer):
    """Makes spans with ``opentelemetry-api``. Without an SDK of OpenTelemetry it does nothing.

    A call is one span of the kind CLIENT below the caller's current span. It is made when the call
    ends, and lasts as long as its attempts. If there are several, each is an event
    "infra.attempt". A handler of an event bus runs in a span "process" of the kind CONSUMER, with
    a link to the span that was current when the event was published.

    Attributes of spans are service, operation, class of error, host and port, under the names of
    https://opentelemetry.io/docs/specs/semconv/ for databases, servers and errors, or "infra.…".
    """

    def __init__(self, tracer_provider: Any = None) -> None:
        """Use a TracerProvider, by default the global one.

        Raises ConfigurationError for anything else, and if ``opentelemetry-api`` is not installed.
        """
        needed = "opentelemetry-api", "OpenTelemetryObserver"
        self._api = api = _import_driver("opentelemetry.trace", *needed)
        wire = _import_driver("opentelemetry.trace.propagation.tracecontext", *needed)
        if tracer_provider is not None and not isinstance(tracer_provider, api.TracerProvider):
            raise ConfigurationError("tracer_provider should be a TracerProvider of OpenTelemetry")
        self._tracer = api.get_tracer("infra", __version__, tracer_provider)
        self._wire = wire.TraceContextTextMapPropagator()
        self._thread = threading.local()

    def call(self, call: Call) -> None:
        now, key = time.time_ns(), (call.service, call.operation)
        waiting: dict[Any, list[tuple[int, Call]]] = vars(self._thread).setdefault("calls", {})
        attempts = waiting.pop(key, []) if call.attempt > 1 else []
        attempts.append((now, call))
        if call.retried:
            waiting[key] = attempts
            return
        ended, first = attempts[0]
        span = self._tracer.start_span(
            call.operation,
            kind=self._api.SpanKind.CLIENT,
            attributes=self._attributes(call),
            start_time=ended - round(first.seconds * 1e9),
        )
        for at, one in attempts if len(attempts) > 1 else ():
            details: dict[str, Any] = {"infra.attempt": one.attempt, "infra.outcome": one.outcome}
            span.add_event("infra.attempt", details, at)
        self._end(span, call.outcome, now)

    @staticmethod
    def _attributes(call: Call) -> dict[str, Any]:
        found: dict[str, Any] = {"infra.service": call.service, "infra.operation": call.operation}
        found["infra.attempts"] = call.attempt
        if call.service in _DB_SYSTEMS:
            found["db.system.name"] = _DB_SYSTEMS[call.service]
            found["db.operation.name"] = call.operation
        host, _, port = call.server.rpartition(":")
        if host and port.isdecimal():
            found["server.address"], found["server.port"] = host, int(port)
        elif call.server:
            found["server.address"] = call.server
        return found

    def _end(self, span: Any, outcome: str, at: int | None = None) -> None:
        if outcome != "ok":
            span.set_attribute("error.type", outcome)
            span.set_status(self._api.StatusCode.ERROR)
        span.end(at)

    def traceparent(self) -> str | None:
        carrier: dict[str, str] = {}
        self._wire.inject(carrier)
        return carrier.get("traceparent")

    def handling(self, message: Message) -> None:
        api, links, publisher = self._api, [], message.traceparent
        if publisher is not None:
            span = api.get_current_span(self._wire.extract({"traceparent": publisher}))
            links = [api.Link(span.get_span_context())]
        span = self._tracer.start_span(
            "process",
            kind=api.SpanKind.CONSUMER,
            attributes={"infra.service": "redis", "infra.operation": "handle"},
            links=links,
        )
        block = api.use_span(span)  # it never learns of an exception, whose text it would record
        block.__enter__()
        vars(self._thread).setdefault("handlers", []).append((message, span, block))

    def handled(self, message: Message, outcome: str) -> None:
        handlers = vars(self._thread).get("handlers")
        if handlers and handlers[-1][0] is message:
            _, span, block = handlers.pop()
            block.__exit__(None, None, None)
            self._end(span, outcome)


# === infrastructure ===============================================================================


_Part_co = TypeVar("_Part_co", covariant=True)
_Bundle = TypeVar("_Bundle", bound="Infrastructure")


class provided(Generic[_Part_co]):  # noqa: N801 - a decorator, like property
    """A service of a bundle. The decorated method builds it on first use, once for all threads.

    ``close`` of the bundle closes a service that has a ``close``. Raises ConfigurationError for
    anything but a plain function::

        @infra.provided
        def products(self) -> Products:
            return Products.on(self.exchange)
    """

    def __init__(self, build: Callable[[Any], _Part_co]) -> None:
        _check_function("build", build, "the bundle", ConfigurationError)
        self._build, self.__doc__ = build, build.__doc__
        self._name = getattr(build, "__name__", "a service")

    @overload
    def __get__(self, bundle: None, owner: type) -> provided[_Part_co]: ...
    @overload
    def __get__(self, bundle: Infrastructure, owner: type) -> _Part_co: ...
    def __get__(self, bundle: Infrastructure | None, owner: type) -> Any:
        return self if bundle is None else bundle._once(self)

    def __set__(self, bundle: Infrastructure, value: NoReturn) -> None:
        raise AttributeError(f"{self._name} of {type(bundle).__name__} cannot be set")


_NO_URL = "no database is set: set MYSQL_URL, POSTGRES_URL or DATABASE_URL"
_IN_ACCOUNTS: Sequence[Any] = (PhoneUserRepository, TokenRepository)
_IN_EXCHANGE: Sequence[Any] = (
    UserRepository, OrganizationRepository, _MemberRepository, BenchmarkRepository,
    _TagRepository, _VersionRepository, SubmissionRepository,
)  # fmt: skip


def _seed(store: Repository[Any], row: Any) -> _ByColumn:
    """Return what ``create`` would store for a record, or a dict by field."""
    hidden = dict.fromkeys(store.hidden)
    if isinstance(row, Mapping):
        columns = _plain_keys(row)
        hidden = {name: columns.pop(name, None) for name in hidden}
        if unknown := ", ".join(str(name) for name in columns if name not in store._fields):
            raise ValidationError(f"there is no column {unknown}")
        for each in fields(store.record):
            if each.init and each.default is each.default_factory:  # it has neither
                columns.setdefault(each.name, None)
        row = store.record(**columns)
    elif store.elsewhere:
        raise ValidationError("should be a dict: the record has fields of other tables")
    return store._filled(row, **hidden)


def _seeds(store: Repository[Any], rows: Any) -> list[_ByColumn]:
    """Return the values of the rows, each after those that it refers to."""
    seeds = list[_ByColumn]()
    for number, row in enumerate(_check_many(store.table, rows), 1):
        try:
            seeds.append(_seed(store, row))
        except (ValidationError, SerializationError) as error:
            raise type(error)(f"{store.table}, row {number}: {error}") from None
    parents: dict[int, set[int]] = {at: set() for at in range(len(seeds))}
    names = {store._column(name): name for name in store._held}
    for key in store.foreign_keys.values():
        if key.table == store.table:
            target = [names.get(column, column) for column in key.target]
            places = {tuple(map(row.get, target)): at for at, row in enumerate(seeds)}
            for at, row in enumerate(seeds):
                wanted = tuple(map(row.get, key.columns))
                parents[at].add(at if None in wanted else places.get(wanted, at))
    circle = ValidationError(f"{store.table}: rows refer to each other in a circle")
    return [seeds[at] for at in _in_order(parents, circle)]


@dataclass(frozen=True, eq=False, repr=False)
class ServiceHealth(_ByValue):
    """The state of a service.

    Attributes:
        up: whether it has answered in time.
        latency: the seconds of a round trip.
        version: its server's name and version.
        error: the name of the error's class, such as "ConnectionError"; "" if it is up.
        reason: the error's message. It holds no secret.
        pool: its connections, if it has a pool.
        breaker: the state of its circuit breaker, if it has one; of a cluster's the worst.
        pending: the migrations that are pending, partial, dirty or edited; None if unknown.
    """

    up: bool
    latency: float | None = None
    version: str = ""
    error: str = ""
    reason: str = ""
    pool: PoolStats | None = None
    breaker: str | None = None
    pending: Sequence[MigrationStatus] | None = None


@dataclass(frozen=True, eq=False, repr=False)
class HealthReport(_ByValue):
    """The state of each service by name: "mysql", "postgres", "redis", "storage", "stream"."""

    services: Mapping[str, ServiceHealth]

    @property
    def up(self) -> bool:
        """Whether all services are up. Pending migrations do not count."""
        return all(each.up for each in self.services.values())

    def as_dict(self) -> dict[str, Any]:
        """Return a document for JSON: ``{"up": bool, "services": {name: attributes}}``."""
        text = json.dumps({"up": self.up, **asdict(self)}, default=datetime.isoformat)
        return cast("dict[str, Any]", json.loads(text))


_HealthCheck: TypeAlias = tuple[threading.Thread, list[ServiceHealth]]


class Infrastructure(_Closeable):
    """The services of a project. Each is an attribute, built on first use.

    A subclass adds services of its own with :class:`provided`.

    Building one raises ConfigurationError if a setting or driver is missing, and ConnectionError
    after ``close``. The constructor raises ConfigurationError for an invalid argument.

    Attributes:
        tables: the classes of your own repositories, for ``load`` and for a fake bundle. Their
            tables are in ``exchange``.
        migrations: the files whose pending migrations ``health`` reports. None: the library's
            ``schema.sql``.
    """

    tables: Sequence[type[Any]] = ()
    migrations: Sequence[str | Path] | None = None
    _has_redis = False  # REDIS_URL is set, if only to its default

    def __init__(
        self, config: Config, *, clock: Clock | None = None, observer: _Observing | None = None
    ) -> None:
        """Build nothing yet. All services use the clock and the observer; see :class:`Observer`."""
        if not isinstance(config, Config):
            raise ConfigurationError(
                "config should be a Config: Infrastructure(Config(…)), or Infrastructure.from_env()"
            )
        self.config = config
        self._clock = _clock(clock)
        self._observer = _observers(observer)
        self._built: dict[provided[Any], Any] = {}
        self._closed = False
        self._forget_parent()
        _fork_aware.add(self)

    def _forget_parent(self) -> None:
        #: by service: a lock that is held while it is built; close() takes none of them
        self._building: dict[provided[Any], Any] = {}
        #: by service: the thread that asks it, and its answer
        self._checks: dict[str, _HealthCheck] = {}
        self._checking = threading.RLock()

    @classmethod
    def from_env(
        cls: type[_Bundle],
        env: Mapping[str, str] | None = None,
        *,
        observer: _Observing | None = None,
        clock: Clock | None = None,
    ) -> _Bundle:
        """Read the settings from ``env``, by default ``os.environ``; see docs/configuration.md.

        Raises ConfigurationError, which names the variable at fault.
        """
        given = {"observer": observer, "clock": clock}
        # A bundle of your own need not take them.
        options: Any = {name: value for name, value in given.items() if value is not None}
        made = cls(Config.from_env(env), **options)
        made._has_redis = bool(_variable(os.environ if env is None else env, "REDIS_URL"))
        return made

    @property
    def clock(self) -> Clock:
        """The clock of all services."""
        return self._clock

    @property
    def observer(self) -> Observer | None:
        """The observers of all services as one, for those of your own."""
        return self._observer

    @property
    def breakers(self) -> dict[str, str]:
        """The state of each circuit breaker: "closed", "open" or "half_open".

        The key is the name of the service, for a node of a cluster followed by a blank and its
        address. It has the services that are built and have a breaker.
        """
        found: dict[CircuitBreaker, str] = {}
        for part, service in self._built_by_name().items():
            if isinstance(service, _Closeable):
                for name, breaker in service._breakers().items():
                    found.setdefault(breaker, f"{part} {name}".strip())
        return {name: breaker.state for breaker, name in found.items()}

    def _once(self, part: provided[Any]) -> Any:
        if part not in self._built:
            with self._building.setdefault(part, threading.RLock()):
                if part not in self._built:
                    self._build(part)
        return self._built[part]

    def _check_open(self, name: str) -> None:
        if self._closed:
            raise _closed("the bundle", service=name)

    def _new_service(self, part: provided[Any]) -> Any:
        return part._build(self)

    def _build(self, part: provided[Any]) -> None:
        self._check_open(part._name)
        made = self._new_service(part)
        kept = self._built.setdefault(part, made)  # a signal handler may have built one meanwhile
        if self._closed or kept is not made:
            _close_all([made])
        self._check_open(part._name)

    @property
    def _engines(self) -> tuple[str, str]:
        """The engines of ``accounts`` and ``exchange``. If they are equal, it is one database."""
        config = self.config
        one = "mysql" if config.mysql else "postgres"
        return one, "postgres" if config.postgres else one

    def _open_database(self, engine: str) -> Database:
        config: DatabaseConfig | None = getattr(self.config, engine)
        if config is None:
            raise ConfigurationError(_NO_URL)
        return create_pool(config, clock=self.clock, observer=self.observer)

    def _database_on(self, engine: str) -> Database:
        return self._open_database(engine) if len({*self._engines}) > 1 else self.database

    @provided
    def database(self) -> Database:
        """The database, if there is one: ``accounts`` and ``exchange`` are the same object.

        Raises ConfigurationError if there are two.
        """
        engine, other = self._engines
        if engine != other:
            raise ConfigurationError("two databases are set: use accounts (MySQL) or exchange")
        return self._open_database(engine)

    @provided
    def accounts(self) -> Database:
        """The database of phone users and tokens. If there are two, it is that on MySQL."""
        return self._database_on(self._engines[0])

    @provided
    def exchange(self) -> Database:
        """The database of the benchmark exchange. If there are two, it is that on Postgres."""
        return self._database_on(self._engines[1])

    def _on(self, database: Database, mysql: Callable[..., T], postgres: Any, *more: Any) -> T:
        kind: Callable[..., T] = {"mysql": mysql, "postgres": postgres}[database.engine]
        return kind(database, *more, clock=self.clock)

    @provided
    def phone_users(self) -> PhoneUserRepository:
        """Users with a phone number, in ``accounts``."""
        key = self.config.phone_hash_key
        return self._on(self.accounts, MySQLPhoneUserRepository, PostgresPhoneUserRepository, key)

    @provided
    def tokens(self) -> TokenRepository:
        """Refresh tokens of phone users, in ``accounts``."""
        return self._on(self.accounts, MySQLTokenRepository, PostgresTokenRepository)

    @provided
    def users(self) -> UserRepository:
        """Users with an email address, in ``exchange``."""
        return self._on(self.exchange, MySQLUserRepository, PostgresUserRepository)

    @provided
    def organizations(self) -> OrganizationRepository:
        """Organizations and their members, in ``exchange``."""
        return self._on(self.exchange, MySQLOrganizationRepository, PostgresOrganizationRepository)

    @provided
    def benchmarks(self) -> BenchmarkRepository:
        """Benchmarks and their versions, in ``exchange``."""
        return self._on(self.exchange, MySQLBenchmarkRepository, PostgresBenchmarkRepository)

    @provided
    def submissions(self) -> SubmissionRepository:
        """Submissions and leaderboards, in ``exchange``."""
        return self._on(self.exchange, MySQLSubmissionRepository, PostgresSubmissionRepository)

    @provided
    def redis(self) -> KeyValueClient:
        """The client of the Redis at ``REDIS_URL``."""
        return RedisClient(self.config.cache, clock=self.clock, observer=self.observer)

    @provided
    def cache(self) -> CacheProvider:
        """The cache in ``redis``, with locks and rate limits."""
        prefix, ttl = self.config.cache.prefix, self.config.cache.default_ttl
        return RedisCacheProvider(self.redis, prefix, default_ttl=ttl, clock=self.clock)

    @provided
    def verification(self) -> VerificationCache:
        """Verification codes for phone numbers, in ``redis``."""
        limits = vars(self.config.verification)
        return VerificationCache(self.redis, self.config.phone_hash_key, **limits)

    @provided
    def storage(self) -> StorageProvider:
        """The object storage, S3 or compatible."""
        return S3StorageProvider(self.config.storage, clock=self.clock, observer=self.observer)

    @provided
    def bus(self) -> EventBus:
        """The event bus on ``redis``."""
        prefix = self.config.cache.channel_prefix
        return RedisEventBus(self.redis, prefix=prefix, clock=self.clock)

    @provided
    def stream(self) -> EventStream:
        """The event stream at ``EVENTS_URL``, by default in ``redis``."""
        url, config = self.config.events_url, self.config.cache
        if url is None:
            return RedisEventStream(cast("RedisClient", self.redis), clock=self.clock)
        options: Any = {"clock": self.clock, "observer": self.observer}
        if _NATS_URL.valid(url):
            shared = {one.name: getattr(config, one.name) for one in fields(_CallSettings)}
            return NatsEventStream(NatsConfig(url=url, **shared), **options)
        stream = RedisEventStream(RedisClient(replace(config, url=url), **options))
        stream._owns_client = True
        return stream

    @provided
    def outbox(self) -> Outbox:
        """The outbox in ``exchange``."""
        return Outbox(self.exchange, clock=self.clock, observer=self.observer)

    @provided
    def inbox(self) -> Inbox:
        """The inbox in ``exchange``."""
        return Inbox(self.exchange, clock=self.clock)

    @provided
    def audit(self) -> AuditLog:
        """The audit log in ``exchange``."""
        return AuditLog(self.exchange, key=self.config.audit_key, clock=self.clock)

    @provided
    def sms(self) -> SmsService:
        """The SMS service of ``SMS_PROVIDER``."""
        return create_sms_service(self.config.sms, clock=self.clock, observer=self.observer)

    def load(self, rows: Mapping[str, Iterable[Any]]) -> dict[str, int]:
        """Insert rows of several tables, parents first, and return how many by table. All or none.

        ``rows`` has records, or dicts by field, by the name of the table, of the library or of
        ``tables``: ``{"products": [Product("tea"), {"name": "rice"}]}``. Values are checked and
        filled as by ``create``. With two databases there are two transactions.

        Raises ValidationError for an unknown table or column, a wrong or missing value, and rows
        that refer to each other in a circle; also what the database raises.
        """
        given = _plain_keys(_MAPPING.check("rows", rows))
        _check_ports("tables should be", self.tables)
        ports = {port.table: port for port in (*_IN_ACCOUNTS, *_IN_EXCHANGE, *self.tables)}
        if unknown := ", ".join(str(table) for table in given if table not in ports):
            raise ValidationError(f"{type(self).__name__}.tables has no {unknown}")
        stores = map(self._bare, _parents_first([ports[table] for table in given]))
        seeds = [(store, _seeds(store, given[store.table])) for store in stores]
        with contextlib.ExitStack() as stack:
            for database in dict.fromkeys(store.database for store, _ in seeds):
                stack.enter_context(database.transaction())
            for store, values in seeds:
                for _, alike in itertools.groupby(values, tuple):  # rows of the same columns
                    while batch := [*itertools.islice(alike, 100)]:
                        store._insert("load", *batch)
        return {store.table: len(values) for store, values in seeds}

    def _bare(self, port: Any) -> Repository[Any]:
        """Return a repository with a class's columns only: its methods may be abstract."""
        database = self.accounts if port in _IN_ACCOUNTS else self.exchange
        names = [name for name in _RecordSchema.__annotations__ if hasattr(port, name)]
        kind: Any = type(port.__name__, (database._backend,), {n: getattr(port, n) for n in names})
        return cast("Repository[Any]", kind(database, clock=self.clock))

    def health(self, deadline: float = 5.0) -> HealthReport:
        """Ask the services side by side; one that has no answer after ``deadline`` seconds is down.

        It asks those that are set (Redis also by ``from_env`` with its default URL), and those that
        are built and have a ``health_check``, which returns a Health. While an earlier call waits
        for an answer, this one waits for the same.

        Raises ValidationError for a wrong ``deadline``. Any other error is in the report.
        """
        _SECONDS.check("deadline", deadline)
        until = SystemClock.monotonic() + deadline
        names, found = self._names_to_ask(), {}
        checks = [self._start_check(part) for part in names.values()]
        for (name, part), (thread, answers) in zip(names.items(), checks):
            thread.join(max(0.0, until - SystemClock.monotonic()))
            late = TimeoutError(f"{name} did not answer within {deadline:g} s")
            found[name] = answers[0] if answers else self._state(part, late)
        return HealthReport(found)

    def _names_to_ask(self) -> dict[str, str]:
        """Return the services to ask, by their names in the report."""
        config, (one, other) = self.config, (_ENGINES[engine] for engine in self._engines)
        databases = {one: "database"} if one == other else {one: "accounts", other: "exchange"}
        is_set = {
            "mysql": config.mysql,
            "postgres": config.postgres,
            "redis": self._has_redis or config.cache != CacheConfig(),
            "storage": config.storage.endpoint or config.storage.access_key,
            "stream": config.events_url,
        }
        known = {**databases, "redis": "redis", "storage": "storage", "stream": "stream"}
        built = self._built_by_name()
        if not config.events_url:  # it is in redis
            built.pop("stream", None)
        asked = {name: part for name, part in known.items() if is_set[name] or part in built}
        seen = {id(built.get(part)) for part in asked.values()}
        for part, service in built.items():
            if id(service) not in seen and hasattr(service, "health_check"):
                asked[part] = part
        return asked

    def _built_by_name(self) -> dict[str, Any]:
        return {part._name: service for part, service in [*self._built.items()]}

    def _start_check(self, part: str) -> _HealthCheck:
        with self._checking:
            if part not in self._checks or not self._checks[part][0].is_alive():
                answers: list[ServiceHealth] = []
                thread = threading.Thread(target=self._ask, args=(part, answers), daemon=True)
                thread.start()
                self._checks[part] = thread, answers
            return self._checks[part]

    def _ask(self, part: str, answers: list[ServiceHealth]) -> None:
        try:
            self._check_open(part)
            service = getattr(self, part)
            found = service.health_check()
            pending = self._pending(part, service)
            up = self._state(part, latency=found.latency, version=found.server, pending=pending)
            answers.append(up)
        except Exception as error:
            answers.append(self._state(part, error))

    def _state(self, part: str, error: Exception | None = None, **found: Any) -> ServiceHealth:
        service = self._built_by_name().get(part)
        if isinstance(service, (Database, KeyValueClient)):
            found["pool"] = service.stats()
        if isinstance(service, _Closeable):
            states = [each.state for each in service._breakers().values()]
            found["breaker"] = max(states, key=_BREAKER_STATES.index, default=None)
        if error is not None:
            found["reason"] = _reason(error, "its text is withheld: it may be secret")
            found["error"] = type(error).__name__
        return ServiceHealth(error is None, **found)

    def _pending(self, part: str, database: Any) -> Sequence[MigrationStatus] | None:
        paths = self.migrations
        is_known = _schema().exists() if paths is None else paths
        if not is_known or part not in ("database", "accounts", "exchange"):
            return None
        if not isinstance(database, ConnectionPool):
            return ()  # a fake has its tables from the start
        try:
            return _unsettled(Migrator(database, *paths or ()).status())
        except DatabaseError:  # the history is another tool's, or may not be read
            return None

    def close(self) -> None:
        """Close the services that were built, the last one first."""
        self._closed = True
        _close_all([*self._built.values()])


# === command line =================================================================================


#: why output was lost, since ``main`` started
_lost_output: list[str] = []


def _say(text: object = None) -> None:
    """Print the text, if any, and flush.

    A closed pipe, as of ``head``, is no error. A full disk is one, but the command continues:
    a migration does not stop halfway because its output is lost.
    """
    if sys.stdout is None:
        return
    try:
        if text is not None:
            print(text)
        sys.stdout.flush()
    except OSError as exc:
        if not isinstance(exc, BrokenPipeError):
            _lost_output.append(exc.strerror or type(exc).__name__)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


@contextlib.contextmanager
def _reporting(path: object, verb: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise ConfigurationError(f"{path} cannot be {verb}: {exc.strerror}") from exc


def _health(arguments: Any) -> int:
    """Return 1 if a service is down, 2 if a setting or driver is missing."""
    import signal

    with contextlib.ExitStack() as end, Infrastructure.from_env() as services:
        if threading.current_thread() is threading.main_thread():
            # Without a handler, the first process of a container ignores it.
            usual = signal.signal(signal.SIGTERM, signal.default_int_handler)
            end.callback(signal.signal, signal.SIGTERM, usual)
        for file in arguments.files:
            read_migrations(file, "mysql")  # a wrong file is told at once
        services.migrations = arguments.files or None
        report = _awaited_health(services, arguments.wait)
    lines = (_health_line(name, found) for name, found in report.services.items())
    _say(_encode(report.as_dict()) if arguments.json else "\n".join(lines))
    return _health_code(report)


def _awaited_health(services: Infrastructure, wait: float) -> HealthReport:
    """Ask until all are up, a setting is wrong or the time is over."""
    until, report = time.monotonic() + wait, services.health()
    if not report.services:
        raise ConfigurationError(
            "no service is set: set MYSQL_URL, POSTGRES_URL, DATABASE_URL, REDIS_URL, EVENTS_URL, "
            "S3_ENDPOINT or AWS_ACCESS_KEY_ID"
        )
    while _health_code(report) == 1 and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 0.5))
        report = services.health(min(5.0, max(1.0, left)))
    return report


def _health_code(report: HealthReport) -> int:
    errors = {each.error for each in report.services.values()}
    return 2 if "ConfigurationError" in errors else int(not report.up)


def _health_line(name: str, found: ServiceHealth) -> str:
    if found.latency is None:
        return f"{name:<8} down  {found.reason}"
    states = [each.state for each in found.pending or ()]
    counts = [f", {states.count(state)} {state}" for state in dict.fromkeys(states)]
    return f"{name:<8} up    {found.version:<18} {found.latency * 1000:.1f} ms{''.join(counts)}"


def _migrate(arguments: Any) -> int:
    shows = arguments.status or arguments.check
    if arguments.json and not shows:
        raise ConfigurationError("--json belongs to --status or --check")
    if arguments.new is not None:
        return _add_migration(arguments)
    databases = _databases_to_migrate(arguments)
    with contextlib.ExitStack() as stack:
        pools = [stack.enter_context(create_pool(database)) for database in databases]
        # All files are read before the first database is changed.
        migrators = [_migrator_of(pool, arguments) for pool in pools]
        if shows:
            in_order = [_show_status(migrator, arguments) for migrator in migrators]
            return int(not all(in_order))
        if arguments.repair is not None or arguments.renamed_from is not None:
            _settle(migrators, arguments)
        else:
            for migrator in migrators:
                _apply(migrator, dry_run=arguments.dry_run)
    return 0


def _databases_to_migrate(arguments: Any) -> list[DatabaseConfig]:
    config = Config.from_env()
    databases = _without_none((config.mysql, config.postgres))
    if not databases:
        raise ConfigurationError(_NO_URL)
    if arguments.repair is not None and arguments.done is None:
        raise ConfigurationError(
            "--repair needs --done (the statement has taken effect) or --retry (run it again)"
        )
    if arguments.repair is None and arguments.done is not None:
        raise ConfigurationError("--done and --retry belong to --repair NUMBER")
    return databases


def _migrator_of(pool: ConnectionPool, arguments: Any) -> Migrator:
    def progress(line: str) -> None:
        _say(f"{pool.engine}: {line}")

    return Migrator(pool, *arguments.files, lock_timeout=arguments.lock_timeout, progress=progress)


def _show_status(migrator: Migrator, arguments: Any) -> bool:
    """Return whether no migration is dirty or edited, or with --check, all are applied."""
    statuses = migrator.status()
    shown = _unsettled(statuses) if arguments.check else statuses
    wrong = [each for each in shown if arguments.check or each.state in ("dirty", "edited")]
    if arguments.json:
        migrations = [*map(asdict, statuses)]
        found = {"engine": migrator.pool.engine, "ok": not wrong, "migrations": migrations}
        _say(json.dumps(found, default=datetime.isoformat))
        return not wrong
    for status in shown:
        line = f"{status.source} {status.number} {status.name}: {status.state}"
        if status.state in ("dirty", "partial"):
            line += f" at statement {status.statement}"
        if status.state == "applied" and status.applied_at:
            line += f" {status.applied_at:%Y-%m-%d %H:%M}"
        migrator._progress(line)
    return not wrong


def _settle(migrators: Sequence[Migrator], arguments: Any) -> None:
    """Raises NotFoundError if no database has such a migration or such records."""
    absent: list[NotFoundError] = []
    for migrator in migrators:
        try:
            if arguments.repair is not None:
                migrator.repair(arguments.repair, done=arguments.done)
                outcome = f"migration {arguments.repair} is settled"
            else:
                outcome = f"took over {migrator.take_over(arguments.renamed_from)} records"
        except NotFoundError as error:
            absent.append(error)
        else:
            migrator._progress(f"{outcome}: go on with {migrator._command}")
    if len(absent) == len(migrators):
        raise absent[-1]


def _apply(migrator: Migrator, *, dry_run: bool) -> None:
    import textwrap

    pending = migrator.apply(dry_run=dry_run)
    for migration in pending if dry_run else ():
        migrator._progress(f"would apply {migration}")
        for statement in migration.statements:
            _say(textwrap.indent(statement + ";", "    "))
    if not migrator.migrations:
        engine = migrator.pool.engine
        migrator._progress(f"nothing to do, the files hold no migration for {engine}")
    elif not pending:
        migrator._progress(f"up to date, {len(migrator.migrations)} migrations")


def _add_migration(arguments: Any) -> int:
    """Append a marker for each engine that the file has, else for the databases that are set.

    If it raises, the file is as it was.
    """
    if len(arguments.files) != 1:
        raise ConfigurationError("--new needs one FILE to write to")
    name, path = arguments.new, _path(arguments.files[0])
    text = _migration_text(path) if path.exists() else ""
    found = {engine: read_migrations(path, engine) if text else [] for engine in _PORTS}
    known = [each for migrations in found.values() for each in migrations]
    engines = [engine for engine in found if found[engine]]
    engines = engines or [each.engine for each in _databases_to_migrate(arguments)]
    number = max((each.number for each in known), default=0) + 1
    markers = [f"-- migration {number} {name} {engine}" for engine in engines]
    if name in [each.name for each in known] or not all(map(_MARKER.fullmatch, markers)):
        raise ConfigurationError(
            f"--new needs a name that {path.name} does not have yet, of 1 to 100 lower case "
            "letters, digits and underscores"
        )
    end = "\r\n" if "\r\n" in text else "\n"
    before = end * (2 - text.endswith(end)) if text else ""
    data = (before + "".join(f"{marker}{end}{end}" for marker in markers)).encode()
    # Unbuffered: a buffer would write again at its end.
    with _reporting(path, "written"), open(path, "ab", buffering=0) as file:
        size = file.tell()
        if file.write(data) != len(data):
            file.truncate(size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    _say("\n".join(f"{path}: {marker}" for marker in markers))
    return 0


def _moves_of_script(script: str, services: Infrastructure) -> Iterable[Move]:
    import runpy

    with _reporting(script, "read"):
        open(script, "rb").close()
    sys.path.insert(0, str(_path(script).resolve().parent))  # as `python SCRIPT` does
    moves = runpy.run_path(script).get("moves")
    if not callable(moves):
        raise ConfigurationError(f"{script} has no function moves(services)")
    return cast("Iterable[Move]", moves(services))


def _pool_of_variable(variable: str | None) -> ConnectionPool:
    if variable is None or not re.fullmatch(r"[A-Za-z_]\w*", variable):
        raise ConfigurationError(
            "give a script, or --table, --from and --to with names of environment variables: "
            "other users could read the password of a URL among the arguments"
        )
    if not (url := _variable(os.environ, variable)):
        raise ConfigurationError(f"the environment variable {variable} is not set")
    return create_pool(DatabaseConfig(url=_DATABASE_URL.require(variable, url)))


def _move(arguments: Any) -> int:
    """Return 1 if a move is not complete or differs."""
    with Infrastructure.from_env() as services, contextlib.ExitStack() as stack:
        creates = arguments.create or arguments.apply
        if arguments.script is not None and not creates:
            moves = _moves_of_script(arguments.script, services)
        else:
            old = stack.enter_context(_pool_of_variable(arguments.from_variable))
            new = stack.enter_context(_pool_of_variable(arguments.to_variable))
            if creates:
                migration = table_ddl(old, arguments.table, new.engine)
                _say(migration)
                if not arguments.apply:
                    _say("-- nothing has changed: --apply creates the table and moves the rows")
                    return 0
                new.execute(migration)
            source, target = TableSource(old, arguments.table), TableTarget(new, arguments.table)
            moves = [RowMove(arguments.table, source=source, target=target)]
        succeeded = [_run_move(move, arguments) for move in moves]
    return int(not all(succeeded))


def _run_move(move: Move, arguments: Any) -> bool:
    """Return whether the move is complete, or with --verify equal."""
    if not isinstance(move, Move):
        raise ConfigurationError("moves(services) should yield moves, for example a RowMove")
    if arguments.rejects and isinstance(move, RowMove):
        move._rejects_path = _path(arguments.rejects)
    report: MoveReport | Verification
    if arguments.verify:
        report = move.verify()
        succeeded = report.ok
    else:
        report = move.run(
            dry_run=arguments.dry_run,
            limit=arguments.limit,
            restart=arguments.restart,
            accept_change=arguments.accept_change,
        )
        succeeded = report.done
    _say(report._as_json() if arguments.json else report)
    return succeeded


@contextlib.contextmanager
def _stopped_by_signals(stop: Callable[[], object]) -> Iterator[None]:
    import signal

    with contextlib.ExitStack() as end:
        for number in (signal.SIGTERM, signal.SIGINT):
            usual = signal.signal(number, lambda *_: stop())
            end.callback(signal.signal, number, usual)
        yield


def _relay(arguments: Any) -> int:
    with Infrastructure.from_env() as services:
        with _stopped_by_signals(services.outbox.stop):
            sent = services.outbox.relay(services.stream, once=arguments.once)
        _say(f"{sent} events sent")
    return 0


def _audit(arguments: Any) -> int:
    """Return 1 if something was changed, removed, inserted or cut."""
    if arguments.head is not None and (arguments.seal or not _HEAD.fullmatch(arguments.head)):
        raise ConfigurationError("--head belongs to --verify, and is what --seal has printed")
    with Infrastructure.from_env() as services:
        if arguments.seal:
            _say(services.audit.seal())
            return 0
        report = services.audit.verify(arguments.head)
        _say(report)
        return int(not report.ok)


def _work(arguments: Any) -> int:
    """Run consumers until a signal comes. Return 1 if they end by themselves."""
    module, _, name = arguments.setup.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        setup = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as exc:
        raise ConfigurationError(f"there is no function {arguments.setup}") from exc
    stopped: list[int] = []
    with Infrastructure.from_env() as services:
        made: Any = setup(services) if callable(setup) else None
        consumers: list[Any] = [made] if isinstance(made, Consumer) else [*(made or [None])]
        if not all(isinstance(each, Consumer) for each in consumers):
            raise ConfigurationError(f"{arguments.setup} should return consumers")

        def stop() -> None:
            stopped.append(1)
            for consumer in consumers:
                consumer._ending.set()

        with _stopped_by_signals(stop):
            _say(f"{len(consumers)} consumers are at work")
            for consumer in consumers:
                consumer.join()
    return int(not stopped)


#: the files that ``infra vendor`` copies
_LIBRARY = ("infra.py", "fakes.py", "schema.sql")
#: the first line of a copy: version, and a digest of the other lines
_STAMP = _lazy(r"(?:#|--) infra vendor (\S+) sha256:([0-9a-f]{64})\n")
_VERSION_LINE = _lazy(r'^__version__ = "(.+)"$', re.MULTILINE)
#: the import for type checkers in fakes.py: mypy wants it relative in a package only
_TYPE_IMPORT = _lazy(r"^(if TYPE_CHECKING:.*\n    )(from \. )?(import infra)$", re.MULTILINE)


class _LibraryFile:
    """A file of the library or a copy, apart from what ``infra vendor`` changes in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _reporting(path, "read"):  # any line endings: version control may change them
            text = path.read_text("utf-8", "surrogateescape")
        stamp = _STAMP.match(text)
        text = text[stamp.end() :] if stamp else text
        found = _TYPE_IMPORT.search(text)
        self.relative = None if found is None else bool(found[2])
        #: the text as in a release
        self.text = _TYPE_IMPORT.sub(r"\1\3", text)
        version = _VERSION_LINE.search(text)
        #: the version that the stamp names, or else the text
        self.version = stamp[1] if stamp else version and version[1]
        self.stamped = stamp is not None
        self.digest = _sha256(self.text.encode("utf-8", "surrogateescape"))
        self.edited = stamp is not None and stamp[2] != self.digest

    def copy(self, version: str, *, relative: bool) -> bytes:
        text = _TYPE_IMPORT.sub(r"\1from . \3", self.text) if relative else self.text
        comment = "--" if self.path.suffix == ".sql" else "#"
        stamp = f"{comment} infra vendor {version} sha256:{self.digest}\n"
        return (stamp + text).encode("utf-8", "surrogateescape")


class _Copy(NamedTuple):
    """What stands in a project where a copy belongs."""

    path: Path
    found: _LibraryFile | None = None
    state: str = "missing"  # in words
    equal: bool = False
    #: whether replacing it may lose edits
    edited: bool = False


def _copy_in(folder: Path, source: _LibraryFile, version: str, *, package: bool) -> _Copy:
    """Compare the folder's copy of a file with the file."""
    path = folder / source.path.name
    if not os.path.exists(path):
        return _Copy(path)
    found = _LibraryFile(path)
    same = found.text == source.text
    if found.edited:
        state = f"edited since it was copied, version {found.version}"
    elif same and found.relative in (None, package):
        return _Copy(path, found, f"equal to version {version}", equal=True)
    elif same:
        should, has = ("should", "an") if package else ("should not", "no")
        state = f"its import {should} be relative, because the folder has {has} __init__.py"
    elif found.stamped and found.version == version:
        state = f"another text of version {version}, not edited since it was copied"
    elif found.stamped:
        state = f"version {found.version}, not edited"
    elif found.version is None:
        state = "no digest and no version: edited, or another file"
    elif found.version == version:
        state = f"edited: it says version {version}, and has another text"
    else:
        state = f"version {found.version}, no digest: it may have been edited"
    return _Copy(path, found, state, edited=found.edited or not (same or found.stamped))


def _check_sources(sources: Sequence[_LibraryFile], folder: Path, *, compare: bool) -> None:
    """Refuse files that cannot be copied to the folder or compared with it."""
    targets = [(folder / source.path.name, source.path) for source in sources]
    if any(os.path.exists(path) and path.samefile(own) for path, own in targets):
        own_files = f"{folder} holds the files that this command runs from"
        other = "the command of a checkout or an installation"
        if not compare:
            raise ConfigurationError(
                f"{own_files}: name another folder. To update these files, run {other}"
            )
        if bare := ", ".join(source.path.name for source in sources if not source.stamped):
            raise ConfigurationError(
                f"{own_files}, and the first line of {bare} holds no digest: nothing tells "
                f"whether they were edited. Run {other}"
            )
        return  # each is compared with its own digest
    for source in sources:
        if source.edited:
            raise ConfigurationError(
                f"{source.path} was edited since it was copied: run the command of an unedited copy"
            )


def _check_targets(folder: Path, *, compare: bool) -> None:
    """Refuse what is no folder, or holds something else under such a name."""
    if not os.path.isdir(folder):
        raise ConfigurationError(
            f"{folder} is not a folder: create it first, with an __init__.py if it should be a "
            "package"
        )
    for path in (folder / name for name in _LIBRARY):
        irregular = os.path.exists(path) and not path.is_file()
        if irregular or (path.is_symlink() and not compare):
            raise ConfigurationError(
                f"{path} is not a regular file: move it away, then run this again"
            )


def _vendor(arguments: Any) -> int:
    """Return 1 if --check finds a copy that differs."""
    if not arguments.folder:
        raise ConfigurationError("DIR is empty: name a folder, or . for this one")
    folder, compare = _path(arguments.folder), arguments.check
    _check_targets(folder, compare=compare)
    sources = [_LibraryFile(_path(__file__).with_name(name)) for name in _LIBRARY]
    _check_sources(sources, folder, compare=compare)
    version = sources[0].version or __version__
    package = (folder / "__init__.py").is_file()
    copies = [_copy_in(folder, source, version, package=package) for source in sources]
    if compare:
        for copied in copies:
            _say(f"{copied.path}: {copied.state}")
        return int(not all(copied.equal for copied in copies))
    edited = [f"{copied.path}: {copied.state}" for copied in copies if copied.edited]
    if edited and not arguments.force:
        raise ConfigurationError(
            f"{'; '.join(edited)}. Nothing was copied. Keep the edits elsewhere if you need them, "
            "then replace the copies with --force"
        )
    _replace_copies(folder, zip(copies, sources), version, package=package)
    return 0


def _replace_copies(
    folder: Path, copies: Iterable[tuple[_Copy, _LibraryFile]], version: str, *, package: bool
) -> None:
    contents, lines = {}, []
    for copied, source in copies:
        found, state = copied.found, copied.state
        if not (copied.equal and found and found.stamped and found.version == version):
            relative = package and source.relative is not None
            contents[copied.path] = source.copy(version, relative=relative)
            state = f"written, version {version}"
            state += ", with a relative import" if relative else ""
            if found and found.version not in (None, version):
                state += f" (was {found.version})"
        lines.append(f"{copied.path}: {state}")
    _write_all(folder, contents)
    _say("\n".join(lines))
    if contents and not package:
        _say(
            f"{folder} has no __init__.py: type checkers find the copies as files of a plain "
            "folder. If it should be a package, add an __init__.py and run this again"
        )


def _write_all(folder: Path, contents: Mapping[Path, bytes]) -> None:
    """Write the files; each has its old content or the new one, even after a kill.

    None is replaced before all new contents are on the disk.
    """
    temporary = {path: path.with_name(f".{path.name}.{uuid.uuid4().hex}") for path in contents}
    with contextlib.ExitStack() as end, _reporting(folder, "written"):
        for path, content in contents.items():
            end.callback(temporary[path].unlink, missing_ok=True)
            with open(temporary[path], "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path in contents:
            os.replace(temporary[path], path)


def _help_of(text: str) -> dict[str, Any]:
    """Split a text of at most 79 characters a line, printed as it stands, at "examples:"."""
    import argparse

    description, heading, rest = text.partition("examples:\n")
    return {
        "description": description,
        "epilog": heading + rest,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }


_HEALTH_HELP = """\
Asks each service that is set, and prints its state, version, latency, and
unapplied migrations: those of each FILE, or of the library's own schema.sql.
MYSQL_URL, POSTGRES_URL, DATABASE_URL, REDIS_URL, EVENTS_URL, S3_ENDPOINT and
AWS_ACCESS_KEY_ID set a service. After 5 seconds without an answer it is down.

examples:
  infra health --wait 30
  infra health notes.sql --json
  REDIS_URL=redis://localhost infra health

exit codes:
  0  all services are up; pending migrations do not count
  1  a service is down or refuses the login
  2  wrong usage, setting or file, or a driver is missing
130  stopped by Ctrl-C or SIGTERM
"""
_MIGRATE_USAGE = """\
infra migrate [FILE ...] [--lock-timeout SECONDS]
       infra migrate [FILE ...] --status | --check | --dry-run
       infra migrate [FILE ...] --repair NUMBER --done | --retry
       infra migrate FILE --renamed-from STEM
       infra migrate FILE --new NAME"""
_MIGRATE_HELP = """\
Applies the pending migrations of each FILE to each database that is set, those
of its engine. Without a FILE it applies the library's own schema.sql, wherever
that is installed: name your own files only. Several runners take turns.
MYSQL_URL, POSTGRES_URL and DATABASE_URL set a database.

examples:
  infra migrate --status
  infra migrate
  infra migrate --new add_author notes.sql
  infra migrate notes.sql --dry-run
  infra migrate notes.sql
  infra migrate notes.sql --check
  infra migrate notes.sql --repair 3 --done

exit codes:
  0  done, or nothing was to be done
  1  a database is down or refuses, a migration failed, with --status one is
     dirty or edited, with --check one is not applied
  2  wrong usage, setting or file, or a driver is missing
130  stopped by Ctrl-C
"""
_MOVE_USAGE = """\
infra move SCRIPT [--dry-run | --verify] [OPTION ...]
       infra move --from VARIABLE --to VARIABLE --table TABLE [OPTION ...]"""
_MOVE_HELP = """\
Runs each move that moves(services) of SCRIPT yields, in order. Or moves one
table between the databases whose URLs two environment variables hold. A move
that was stopped continues where it was: run it again.

--create shows the CREATE TABLE for the target. --apply runs it, then the move.

examples:
  infra move users.py --dry-run
  infra move users.py
  infra move users.py --verify
  infra move --from OLD_URL --to NEW_URL --table users
  infra move --from OLD_URL --to NEW_URL --table users --create

exit codes:
  0  all moves are complete, or with --verify equal
  1  a move is incomplete, differs or failed
  2  wrong usage or setting, or a driver is missing
130  stopped by Ctrl-C
"""
_RELAY_HELP = """\
Sends the events of the outbox, in the database that is set, to the stream at
EVENTS_URL, or else at REDIS_URL, until SIGTERM or Ctrl-C. It then finishes the
batch at work. Several relays may run at a time.

examples:
  infra relay
  infra relay --once

exit codes:
  0  stopped, or with --once: all is sent
  1  with --once: a service is down or refuses
  2  wrong usage or setting, or a driver is missing
"""
_AUDIT_HELP = """\
Seals or verifies the audit log in the database that is set, with AUDIT_KEY.
Keep each head that --seal prints where nobody can write who can write to the
database. Without it --verify does not notice that the tail was cut off.

examples:
  infra audit --seal
  infra audit --verify
  infra audit --verify --head $HEAD

exit codes:
  0  sealed, or all is in order
  1  an entry was changed, removed or inserted, or a service is down
  2  wrong usage or setting, or a driver is missing
"""
_WORK_HELP = """\
Calls SETUP, a function of a module: setup(services) returns what
services.stream.consume(...) has returned, or a list of that. Works until
SIGTERM or Ctrl-C, then finishes the events at work.

examples:
  infra work app.workers:setup

exit codes:
  0  stopped
  1  the consumers have ended by themselves, or a service is down
  2  wrong usage or setting, or a driver is missing
"""
_VENDOR_HELP = """\
Copies infra.py, fakes.py and schema.sql into the folder DIR of your project.
DIR may be a package, which has an __init__.py, or a plain folder. In a package
one line of fakes.py changes: type checkers find infra by a relative import.

The first line of a copy holds its version and a digest. So the next run knows
whether you have edited the copy. It replaces unedited copies of any version,
and refuses to replace edited ones. Line endings do not count.

examples:
  infra vendor app/_vendor
  infra vendor app/_vendor --check
  python -m app._vendor.infra vendor app/_vendor --check

exit codes:
  0  copied, or with --check all copies are equal
  1  with --check: a copy is missing, edited, or of another version
  2  wrong usage, or refused: nothing was copied
"""
_HELP = """\
Checks and migrates the services that environment variables name, moves rows
between databases, sends and handles events, and copies this library into
projects.

examples:
  infra health
  infra migrate --status
  infra vendor app/_vendor

"infra COMMAND --help" describes a command. "python -m infra" does the same as
"infra". docs/configuration.md lists the environment variables.

exit codes:
  0  done
  1  a service is down or refuses, a migration or move is not in order, or a
     vendored copy differs
  2  wrong usage or setting, or the output could not be written
130  stopped by Ctrl-C
"""


def _flag(options: Any, name: str, text: str, action: str = "store_true", **more: Any) -> None:
    options.add_argument(name, action=action, help=text, **more)


def _add_migrate(commands: Any) -> None:
    migrate = commands.add_parser(
        "migrate",
        help="apply pending schema migrations to each database that is set",
        usage=_MIGRATE_USAGE,
        **_help_of(_MIGRATE_HELP),
    )
    migrate.add_argument("files", nargs="*", metavar="FILE", help="files of migrations, in order")
    migrate.add_argument(
        "--lock-timeout",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="wait for other runners so long (default: 60)",
    )
    action = migrate.add_mutually_exclusive_group()
    _flag(action, "--status", "show the state of each; change nothing")
    _flag(action, "--check", "show what is not applied; change nothing")
    _flag(action, "--dry-run", "show the statements; change nothing")
    add = action.add_argument
    add("--repair", type=int, metavar="NUMBER", help="settle a dirty migration, with one of:")
    add(
        "--renamed-from",
        metavar="STEM",
        help="take over the records of FILE under its former name, without its extension",
    )
    add("--new", metavar="NAME", help="add a block to FILE for each engine that it has")
    _flag(migrate, "--json", "with --status or --check: print JSON")
    outcome = migrate.add_mutually_exclusive_group()
    _flag(outcome, "--done", "its statement took effect")
    _flag(outcome, "--retry", "run its statement again", "store_false", dest="done")
    migrate.set_defaults(done=None)


def _add_move(commands: Any) -> None:
    move = commands.add_parser(
        "move",
        help="move rows between databases, each exactly once; continue an earlier run",
        usage=_MOVE_USAGE,
        **_help_of(_MOVE_HELP),
    )
    add = move.add_argument
    add("script", nargs="?", metavar="SCRIPT", help="a Python file with moves(services)")
    add("--from", dest="from_variable", metavar="VARIABLE", help="holds the source's URL")
    add("--to", dest="to_variable", metavar="VARIABLE", help="holds the target's URL")
    add("--table", default="", metavar="TABLE", help="the table, with --from and --to")
    add("--limit", type=int, metavar="ROWS", help="the maximum number of rows")
    add("--rejects", metavar="FILE", help="the file for the keys of diverted rows")
    _flag(move, "--json", "print a JSON object for each move")
    _flag(move, "--restart", "start again with the first row")
    _flag(move, "--accept-change", "continue even if version or columns differ")
    action = move.add_mutually_exclusive_group()
    _flag(action, "--dry-run", "check all rows; write nothing")
    _flag(action, "--verify", "compare the target with the source")
    _flag(action, "--apply", "create the table as --create shows it, and move")
    _flag(move, "--create", "show the migration that creates the table; change nothing")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command ``infra`` and return its exit code, which ``infra --help`` explains."""
    _lost_output.clear()
    try:
        code = _main(argv)
    finally:
        _say()
    if _lost_output:
        print(f"infra: the output could not be written: {_lost_output[0]}", file=sys.stderr)
    return code or (2 if _lost_output else 0)


def _parser() -> Any:
    import argparse

    parser = argparse.ArgumentParser(prog="infra", **_help_of(_HELP))
    version = f"infra {__version__}"
    parser.add_argument(
        "-V", "--version", action="version", version=version, help="show the version and exit"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    audit = commands.add_parser(
        "audit", help="seal or verify the audit log", **_help_of(_AUDIT_HELP)
    )
    action = audit.add_mutually_exclusive_group(required=True)
    _flag(action, "--seal", "seal the entries that are committed; print the head")
    _flag(action, "--verify", "compare the entries with their seals")
    audit.add_argument("--head", metavar="HEAD", help="what an earlier --seal has printed")
    health = commands.add_parser(
        "health", help="show whether each service answers", **_help_of(_HEALTH_HELP)
    )
    health.add_argument("files", nargs="*", metavar="FILE", help="files of migrations")
    _flag(health, "--json", "print a JSON object")
    health.add_argument(
        "--wait", type=float, default=0, metavar="SECONDS", help="wait so long until all are up"
    )
    _add_migrate(commands)
    _add_move(commands)
    relay = commands.add_parser(
        "relay", help="send the events of the outbox", **_help_of(_RELAY_HELP)
    )
    _flag(relay, "--once", "end when no event is left")
    vendor = commands.add_parser(
        "vendor", help="copy infra.py and fakes.py into a project", **_help_of(_VENDOR_HELP)
    )
    vendor.add_argument("folder", metavar="DIR", help="a folder that exists")
    action = vendor.add_mutually_exclusive_group()
    _flag(action, "--check", "say how each copy differs; change nothing")
    _flag(action, "--force", "replace edited copies too: their edits are lost")
    work = commands.add_parser("work", help="handle events", **_help_of(_WORK_HELP))
    work.add_argument("setup", metavar="MODULE:FUNCTION", help="what makes the consumers")
    return parser


def _main(argv: Sequence[str] | None) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return 2
    runs = {
        "audit": _audit,
        "health": _health,
        "migrate": _migrate,
        "move": _move,
        "relay": _relay,
        "vendor": _vendor,
        "work": _work,
    }
    try:
        return runs[arguments.command](arguments)
    except InfrastructureError as error:
        print(f"infra: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigurationError) else 1
    except KeyboardInterrupt:
        print("infra: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
