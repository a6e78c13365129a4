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

A section uses only what stands above it, except for the last two. Contents, in this order in both
files (search for the banner ``# === name``):

=================  ================================================================================
errors             InfrastructureError and the classes that derive from it
clock              Clock, SystemClock
values             new_id, normalize_phone, mask_phone, hash_phone; what texts, numbers, documents
                   and columns may hold
configuration      Config, DatabaseConfig, CacheConfig (RedisCacheConfig, RedisEventBusConfig),
                   S3StorageConfig, SmsConfig, VerificationConfig
call policy        Call, Health, PoolStats, Attempt, CallPolicy: every outbound call goes through it
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
cache              RedisCacheProvider, CacheLock, RateLimit, CacheKey, MISSING
verification       generate_code, VerificationCache
storage            StoragePath, ObjectSummary, ObjectMetadata, DeleteResult, StorageProvider,
                   S3StorageProvider
messaging          EventChannel, Event, BenchmarkEvent, SubmissionEvent, UserEvent, SystemEvent,
                   Message, Subscription, RedisEventBus
sms                SmsService, MockSmsService, TwilioSmsService, SnsSmsService, FailoverSmsService,
                   create_sms_service
data moves         Move, RowMove, MoveReport, Verification; TableSource, QuerySource, SqliteSource,
                   CsvSource, JsonLinesSource, IterableSource; TableTarget, RepositoryTarget,
                   Replace
infrastructure     Infrastructure, the bundle
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
import unicodedata
import uuid
import warnings
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING as _NO_DEFAULT
from dataclasses import astuple, dataclass, field, fields
from datetime import date, datetime, timedelta, timezone
from datetime import time as day_time
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    AnyStr,
    BinaryIO,
    ClassVar,
    Generic,
    NamedTuple,
    NoReturn,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

if (
    __name__ == "__main__"
):  # `python -m infra`: whoever imports infra from here on gets this very module
    sys.modules[__spec__.name if __spec__ else "infra"] = sys.modules[__name__]

__version__ = "0.1.0"
__all__ = [
    "FILLED",
    "MISSING",
    "SCHEMA",
    "Attempt",
    "Benchmark",
    "BenchmarkEvent",
    "BenchmarkRepository",
    "BenchmarkVersion",
    "CacheConfig",
    "CacheError",
    "CacheKey",
    "CacheLock",
    "Call",
    "CallPolicy",
    "Clock",
    "Config",
    "ConfigurationError",
    "ConflictError",
    "ConnectionPool",
    "Credentials",
    "CsvSource",
    "Database",
    "DatabaseConfig",
    "DatabaseError",
    "DeleteResult",
    "Device",
    "Event",
    "EventChannel",
    "FailoverSmsService",
    "Health",
    "Infrastructure",
    "InfrastructureError",
    "Issued",
    "IterableSource",
    "JsonLinesSource",
    "KeyValueClient",
    "LeaderboardEntry",
    "Listener",
    "Member",
    "Membership",
    "Message",
    "MessagingError",
    "Migration",
    "MigrationStatus",
    "Migrator",
    "MockSmsService",
    "Move",
    "MoveCounts",
    "MoveError",
    "MoveReport",
    "MySQLPhoneUserRepository",
    "MySQLTokenRepository",
    "NotFoundError",
    "ObjectMetadata",
    "ObjectSummary",
    "Organization",
    "OrganizationRepository",
    "Page",
    "PhoneUser",
    "PhoneUserRepository",
    "PoolStats",
    "PoolTimeoutError",
    "PostgresBenchmarkRepository",
    "PostgresOrganizationRepository",
    "PostgresSubmissionRepository",
    "PostgresUserRepository",
    "Query",
    "QuerySource",
    "RateLimit",
    "RateLimitedError",
    "RedisCacheConfig",
    "RedisCacheProvider",
    "RedisClient",
    "RedisEventBus",
    "RedisEventBusConfig",
    "RefreshToken",
    "Replace",
    "Repository",
    "RepositoryTarget",
    "Rotation",
    "RowMove",
    "S3StorageConfig",
    "S3StorageProvider",
    "SerializationError",
    "SmsConfig",
    "SmsError",
    "SmsService",
    "SnsSmsService",
    "Source",
    "SqlRepository",
    "SqliteSource",
    "StorageError",
    "StoragePath",
    "StorageProvider",
    "Submission",
    "SubmissionEvent",
    "SubmissionRepository",
    "Subscription",
    "SystemClock",
    "SystemEvent",
    "TableSource",
    "TableTarget",
    "Target",
    "TokenRepository",
    "TwilioSmsService",
    "User",
    "UserEvent",
    "UserRepository",
    "ValidationError",
    "Verification",
    "VerificationCache",
    "VerificationConfig",
    "create_pool",
    "create_sms_service",
    "generate_code",
    "hash_phone",
    "main",
    "mask_phone",
    "new_id",
    "normalize_phone",
    "read_migrations",
    "split_statements",
]

E = TypeVar("E", bound="Event")
R = TypeVar("R")  # a record
T = TypeVar("T")

logger = logging.getLogger("infra")
logger.addHandler(logging.NullHandler())


# === errors =======================================================================================


class InfrastructureError(Exception):
    """Root of every error that this library raises.

    Attributes:
        service: "redis", "sms", …; None where no service is involved.
        operation: the method that failed, for example "get".
        retryable: True when the same call may succeed if the caller makes it again later. It does not say that the
            first call had no effect: only the call policy's table knows which operations may be repeated unseen.
        code: the service's own code, if it gave one: a SQLSTATE of Postgres ("42P01"), an error
            number of MySQL (1146), a word of S3 ("AccessDenied") or of Redis ("WRONGTYPE").

    No text of a driver's exception is part of a message: those quote URLs, keys and rows.
    """

    retryable: bool = False
    service: str | None = None
    operation: str | None = None
    code: str | int | None = None

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
        if service is not None:
            self.service = service
        if operation is not None:
            self.operation = operation
        if retryable is not None:
            self.retryable = retryable
        if code is not None:
            self.code = code


class ConfigurationError(InfrastructureError):
    """A setting is wrong or missing, or a driver is not installed. The message names what to set or install."""


class ConnectionError(InfrastructureError, builtins.ConnectionError):
    """The service could not be reached, refused the login, or ended the connection; also: the client is closed."""

    retryable = True


class TimeoutError(InfrastructureError, builtins.TimeoutError):
    """The service did not answer in time. A write may have taken effect all the same."""

    retryable = True


class PoolTimeoutError(TimeoutError):
    """Every connection stayed in use until the deadline. The message says how many are in use, and the maximum."""


class DatabaseError(InfrastructureError):
    """A database refused a statement.

    ``code`` is Postgres's SQLSTATE (a text) or MySQL's error number (an int). It is None if this
    library or a fake refused the statement; a table or column that ``insert_many`` does not find has
    the server's code.
    """


class ConflictError(DatabaseError):
    """A write breaks a rule of the data.

    Attributes:
        constraint: the declared name of the rule, equal on every backend.
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
    """Redis answered a command with an error."""


class StorageError(InfrastructureError):
    """The object store refused a request; ``code`` is its own word for why ("AccessDenied"), if it gave one."""

    code: str | None

    def __init__(self, message: str = "", *, code: str | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.code = code


class MessagingError(InfrastructureError):
    """An event could not be published or subscribed to."""


class SmsError(InfrastructureError):
    """A message was not accepted, or it is not known whether it was.

    Attributes:
        outcome: "rejected" (the provider refused it: nothing was sent) or "unknown" (no usable answer: it may have
            been sent, and is never sent again by itself).
        code: the provider's own error code, if it gave one.
        retry_after: the time to wait in seconds, if the provider asked for one.
    """

    code: str | None

    def __init__(
        self,
        message: str = "",
        *,
        outcome: str = "rejected",
        code: str | None = None,
        retry_after: float | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message, **details)
        self.outcome = outcome
        self.code = code
        self.retry_after = retry_after


class MoveError(InfrastructureError):
    """A data move cannot start or go on. What it has committed stays.

    Attributes:
        key: the key of the row that it is about, in words ("id=7"); None if it is about no row.
        column: the column that it is about, or None.
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
    """A value cannot be written in, or read from, the format of its store."""


class NotFoundError(InfrastructureError):
    """Something to be changed or fetched is absent; ``resource`` says what kind of thing."""

    def __init__(self, message: str = "", *, resource: str | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.resource = resource


class ValidationError(InfrastructureError, ValueError):
    """An argument is refused before anything is sent. The message says what was expected, never what was given."""


class RateLimitedError(InfrastructureError):
    """Too many requests; ``retry_after`` is the time to wait, in seconds."""

    retryable = True

    def __init__(self, message: str = "", *, retry_after: float = 0.0, **details: Any) -> None:
        super().__init__(message, **details)
        self.retry_after = retry_after


# === clock ========================================================================================


class Clock(ABC):
    """Where classes of this library get the time, so that tests can set it."""

    @abstractmethod
    def now(self) -> datetime:
        """The time of day, aware, in UTC."""

    @abstractmethod
    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""

    @abstractmethod
    def sleep(self, seconds: float) -> None:
        """Waits; used for backoff only. Waiting for another thread never goes through a clock."""


class SystemClock(Clock):
    """The computer's own clock."""

    def now(self) -> datetime:
        return datetime.now(timezone.utc)

    #: Waits for other threads are measured by this, not by ``time.monotonic``: tests replace that
    #: one, and a wait that began by one clock and ends by another may never end.
    monotonic = staticmethod(time.monotonic)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def _clock(clock: Clock | None, default: Callable[[], Clock] = SystemClock) -> Clock:
    """Return the clock that was given, or a new one. One of your own with the same methods will do."""
    if clock is None:
        return default()
    methods = (getattr(clock, name, None) for name in ("now", "monotonic", "sleep"))
    if isinstance(clock, type) or not all(map(callable, methods)):
        raise ConfigurationError("clock should be a Clock, such as SystemClock()")
    return clock


# === values =======================================================================================


def _plain_moment(value: datetime) -> datetime:
    day = value.year, value.month, value.day
    at = value.hour, value.minute, value.second, value.microsecond
    return datetime(*day, *at, value.tzinfo, fold=value.fold)


#: what makes the plain value; a class comes before those that it derives from
_PLAIN: Mapping[type, Callable[[Any], Any]] = {
    bool: bool, str: str.__str__, int: int.__pos__, float: float.__pos__, Decimal: Decimal,
    bytes: lambda value: bytes(memoryview(value)),
    uuid.UUID: lambda value: uuid.UUID(int=value.int),
    datetime: _plain_moment,
    date: lambda value: date(value.year, value.month, value.day),
}  # fmt: skip


def _plain(value: Any) -> Any:
    """Return the plain value of a subclass's instance, for example of an enumeration's member.

    Its own str(), format() or == may give anything ("Colour.RED"). Other values come back as they are.
    """
    if value is None or value.__class__ in _PLAIN:
        return value
    for kind, make in _PLAIN.items():
        if isinstance(value, kind):
            return make(value)
    return value


class _ByValue:
    """Equality and hash by class and fields, as those that a dataclass writes for itself.

    Here once: compiled anew for each record and event they took a fifth of ``import infra``.
    """

    def _by_value(self) -> tuple[Any, ...]:
        return tuple(getattr(self, each.name) for each in fields(self))  # type: ignore[arg-type]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _ByValue) or other.__class__ is not self.__class__:
            return NotImplemented
        return self._by_value() == other._by_value()

    def __hash__(self) -> int:
        return hash(self._by_value())


class _LazyPattern:
    """A regular expression that is compiled at its first use: all at once slow ``import infra``."""

    def __init__(self, source: str | bytes, flags: int) -> None:
        self._source = source
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # of one that is being copied
            raise AttributeError(name)
        found = getattr(re.compile(self._source, self._flags), name)  # re keeps what it compiled
        setattr(self, name, found)
        return found


def _lazy(source: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    return cast("re.Pattern[AnyStr]", _LazyPattern(source, flags))


class _Kind(NamedTuple):
    """What a setting may be: words for the message, a parser for the environment's text, a test of
    the value, and a function that says why a value fails it, without quoting it."""

    expected: str
    parse: Callable[[str], Any]
    valid: Callable[[Any], bool]
    problem: Callable[[Any], str] = lambda value: ""

    def refusal(self, name: str, value: Any) -> ConfigurationError:
        problem = self.problem(value)
        return ConfigurationError(
            f"{name} should be {self.expected}" + (f". But {problem}" if problem else "")
        )


def _is_number(value: object, lowest: float, highest: float) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and lowest <= value <= highest
    )


def _is_text(value: object, shortest: int = 1) -> bool:
    """Text with at least that many bytes in UTF-8. (An environment variable that is not UTF-8 has surrogates.)"""
    try:
        return isinstance(value, str) and len(value.encode()) >= shortest
    except UnicodeEncodeError:
        return False


def _whole_number(text: str) -> int:
    if not re.fullmatch("[0-9]+", text):
        raise ValueError
    return int(text)


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError
    return text == "true"


_TEXT = _Kind("non-empty text", str, _is_text)
_COUNT = _Kind("a whole number of at least 1", _whole_number, lambda v: type(v) is int and v >= 1)
_COUNT_OR_0 = _Kind(
    "a whole number of at least 0", _whole_number, lambda v: type(v) is int and v >= 0
)
_YEAR = 365 * 86400.0  # far below what sockets, threads and Redis can count
_WAIT = _Kind(
    "a number of seconds above 0, at most a year", float, lambda v: _is_number(v, 1e-6, _YEAR)
)
_TTL_OR_0 = _Kind(
    "a number of seconds, at least 0, at most a century",
    float,
    lambda v: _is_number(v, 0, 100 * _YEAR),
)
_SWITCH = _Kind("true or false", _truth, lambda v: type(v) is bool)
_HASH_KEY = _Kind("at least 32 bytes of secret text", str, lambda v: _is_text(v, 32))
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def new_id(clock: Clock | None = None) -> uuid.UUID:
    """A version 7 UUID (RFC 9562 §5.7): Unix milliseconds first, so that ids sort by time; the 12 bits behind hold the
    fraction of the millisecond (§6.2, method 3), the other 62 are random. Of a clock that stands still, as those of
    tests do, each id is above the one before (method 2)."""
    stands = clock is not None and clock.__class__ is not SystemClock
    nanoseconds = (
        (_clock(clock).now() - _EPOCH) // timedelta(microseconds=1) * 1000
        if stands
        else time.time_ns()
    )
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    value = (
        (milliseconds & (1 << 48) - 1) << 80 | 7 << 76 | (rest * 4096 // 1_000_000) << 64 | 2 << 62
    )
    chance = int.from_bytes(os.urandom(8), "big")
    if clock is None or not stands:
        return uuid.UUID(int=value | chance >> 2)
    with _newest_guard:
        last = _newest.get(clock, 0)
        found = (
            last + 1 + (chance >> 32) if last >> 62 == value >> 62 else value | chance >> 3
        )  # room to count
        # A signal handler may have made a later one meanwhile.
        _newest[clock] = max(found, _newest.get(clock, 0))
    return uuid.UUID(int=found)


_newest: weakref.WeakKeyDictionary[Clock, int] = (
    weakref.WeakKeyDictionary()
)  # the last id of each clock
_newest_guard = threading.RLock()  # a signal handler may make an id in the middle of another


def normalize_phone(phone: str) -> str:
    """The number in E.164: "+", then 7 to 15 ASCII digits of which the first is not 0. Blanks and the visual separators
    of RFC 3966 ("-", ".", "(", ")") are dropped. A "(0)" is refused: it is dialled inside the
    country only, and with it the number would be another one. Raises ValidationError, which does
    not quote the number."""
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
    """What may be logged of a number: its last four digits."""
    return "***" + normalize_phone(phone)[-4:]


def _key_bytes(key: str | bytes) -> bytes:
    key = _plain(key)
    if isinstance(key, bytes) and len(key) >= 32:
        return key
    if isinstance(key, str) and _HASH_KEY.valid(key):
        return key.encode()
    raise ConfigurationError(f"the hash key should be {_HASH_KEY.expected} (PHONE_HASH_KEY)")


def hash_phone(phone: str, key: str | bytes | None = None) -> str:
    """64 hexadecimal digits that stand for the number: HMAC-SHA-256 with ``key`` (32 bytes or more). Without a key it
    is SHA-256, which anybody can reverse by trying every number there is."""
    import hashlib
    import hmac

    number = normalize_phone(phone).encode()
    if key is None:
        return hashlib.sha256(number).hexdigest()
    return hmac.new(_key_bytes(key), number, hashlib.sha256).hexdigest()


_SURROGATE = _lazy("[\ud800-\udfff]")
# Default_Ignorable_Code_Point (Unicode Standard, 5.21) as far as str.isprintable() lets it pass, and a blank of Braille
_UNSEEN = _lazy(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def _check_text(
    name: str, text: str, *, blank_ends: bool = True, empty: bool = True, longest: int = 0
) -> str:
    """Text that every backend stores alike; lengths count code points."""
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
    # The first line is the fast path: printable ASCII without a blank passes every rule below.
    if key.__class__ is str and key and key.isascii() and key.isprintable() and " " not in key:
        return key
    return _check_text(name, key, blank_ends=False, empty=False)


def _check_value(value: str, name: str = "value") -> str:
    if value.__class__ is str and value.isascii() and "\0" not in value:
        return value
    return _check_text(name, value)


def _check_flag(name: str, value: Any) -> bool:
    if type(value) is not bool:
        raise ConfigurationError(f"{name} should be True or False")
    return value


def _check_mapping(name: str, items: Any) -> Mapping[Any, Any]:
    if not isinstance(items, Mapping):
        raise ValidationError(f"{name} should be a dict or another mapping")
    return items


def _check_many(name: str, items: Iterable[T]) -> list[T]:
    """A str is iterable too, but never what was meant."""
    if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
        raise ValidationError(
            f"{name} should be a list or another iterable of them, not a single one"
        )
    return list(items)


def _folded(text: str) -> str:
    """Equal for texts that differ only in case, or in how accents are composed (Unicode Standard, 3.13, D145)."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


class _Document(NamedTuple):
    """A JSON document: its text, and the value that is read from it."""

    text: str
    value: Any


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_decode = json.JSONDecoder().raw_decode  # of a text that is known to have no blanks around it
_ESCAPED_NUL = _lazy(r"(?<!\\)(?:\\\\)*\\u0000")
_DEEPEST = 100  # of a document: far from where Python's stack ends, which is nearer for some callers than for others


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and dicts are nested in more levels than these."""
    layer = [value]
    for _ in range(levels + 1):
        layer = [each for each in layer if isinstance(each, (dict, list))]
        if not layer:
            return False
        layer = [
            child for each in layer for child in (each.values() if isinstance(each, dict) else each)
        ]
    return True


def _plain_document(value: Any) -> Any:
    """The document with plain texts and numbers; ValueError where two keys are the same text."""
    if isinstance(value, dict):
        found = {_plain(key): _plain_document(each) for key, each in value.items()}
        if len(found) != len(value):
            raise ValueError
        return found
    return [*map(_plain_document, value)] if isinstance(value, list) else _plain(value)


def _document(name: str, value: Any) -> _Document:
    """Only what comes back as it was: RFC 8259 knows neither NaN nor tuples nor keys that are no text."""
    try:
        text = _encode(value)
        document = _Document(text, _decode(text)[0])
        same = document.value == value or document.value == _plain_document(value)
    except (TypeError, ValueError, RecursionError):
        same = False
    if not same:
        raise SerializationError(
            f"{name} should be JSON: dicts with keys of text, lists, text, finite numbers, True, False and None"
        )
    if (
        len(text) > 2 * _DEEPEST
        and text.count("[") + text.count("{") > _DEEPEST
        and _is_deeper(document.value, _DEEPEST)
    ):
        raise SerializationError(f"{name} should be nested in at most {_DEEPEST} levels")
    if not text.isascii():
        _check_text(name, text)
    if "\\u0000" in text and _ESCAPED_NUL.search(text):
        raise ValidationError(f"{name} should not hold a NUL character")
    return document


def _no_constant(constant: str) -> NoReturn:
    raise ValueError  # RFC 8259 knows neither NaN nor Infinity


_decode_strictly = json.JSONDecoder(parse_constant=_no_constant).raw_decode


def _read_json(text: str) -> Any:
    """What others have written; ValueError or RecursionError for what is no strict JSON."""
    text = text.strip(" \t\r\n")
    value, end = _decode_strictly(text)
    if end != len(text):
        raise ValueError
    return value


def _milliseconds(seconds: float, name: str = "seconds") -> int:
    """A duration in whole milliseconds, rounded up."""
    if not _is_number(seconds, 0, 100 * _YEAR) or seconds == 0:
        raise ValidationError(f"{name} should be a number of seconds above 0, at most a century")
    return _whole_milliseconds(seconds)


def _whole_milliseconds(seconds: float) -> int:
    if isinstance(seconds, int):
        return seconds * 1000
    # By its decimal digits: 8.05 * 1000 is a little more than 8050.
    return math.ceil(Decimal(float.__repr__(seconds)).scaleb(3, _ANY_DIGITS))


_ANY_DIGITS = Context(prec=50)  # whatever the caller's context is


def _later(moment: datetime, duration: timedelta) -> datetime:
    """Return the sum, or the last moment of the year 9999: no datetime is after that."""
    try:
        return moment + duration
    except OverflowError:
        return datetime.max.replace(tzinfo=timezone.utc)


def _aware(value: datetime, name: str = "a datetime") -> datetime:
    """The same moment in UTC."""
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


def _finite(value: Any) -> Any:
    if not (value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)):
        raise ValidationError("a number should be finite")
    return value


class _ColumnType(NamedTuple):
    """What a column holds: the kind of its values, a key of ``_TAKES``, and how large they may be."""

    kind: str
    #: characters of a text, bytes, digits of a decimal, bits of an int; None: no bound
    size: int | None = None
    #: digits behind the point, of a decimal or of seconds; None: as they are
    scale: int | None = None
    #: bytes of a text in UTF-8; None: no bound
    octets: int | None = None
    ascii: bool = False
    unsigned: bool = False
    #: the engine has neither NaN nor infinity
    finite: bool = True
    #: bytes of just that size, for the server would fill up shorter ones; a text that does not end
    #: with a blank, which the server would cut off
    fixed: bool = False
    #: durations are multiples of it
    unit: timedelta | None = None
    #: what an array has in it
    element: Any = None
    #: of MySQL's ENUM and SET, which take digits that are none of these for the number of one
    #: (https://dev.mysql.com/doc/refman/8.4/en/enum.html#enum-indexes)
    choices: frozenset[str] = frozenset()


_Taker: TypeAlias = Callable[[str, _ColumnType, Sequence[Any]], Sequence[Any]]


def _misfit(name: str) -> DatabaseError:
    return DatabaseError(f"a value does not fit its column: {name}")


def _take_as_is(name: str, column: _ColumnType, values: Sequence[Any]) -> Sequence[Any]:
    return values


def _take_texts(name: str, column: _ColumnType, values: Sequence[str]) -> Sequence[str]:
    joined = "".join(values)
    if "\0" in joined or not joined.isascii():
        for text in values:
            _check_text(name, text)
        if column.ascii:
            raise _misfit(name)
    # Servers cut off white space beyond the size without an error.
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


def _take_ids_as_texts(
    name: str, column: _ColumnType, values: Sequence[uuid.UUID]
) -> Sequence[str]:
    return _take_texts(name, column, [*map(str, values)])


def _take_bytes(name: str, column: _ColumnType, values: Sequence[bytes]) -> Sequence[bytes]:
    if column.size is not None:
        sizes = [*map(len, values)]
        if max(sizes) > column.size or (column.fixed and min(sizes) < column.size):
            raise _misfit(name)
    return values


def _take_flags(name: str, column: _ColumnType, values: Sequence[int]) -> Sequence[bool]:
    """MySQL gives its BOOLEAN back as 0 and 1."""
    if not {*values} <= {0, 1}:
        raise ValidationError(f"{name} should be True or False")
    return [*map(bool, values)]


def _take_integers(name: str, column: _ColumnType, values: Sequence[int]) -> Sequence[int]:
    bound = 1 << (column.size or 32) - (not column.unsigned)
    low, high = min(values), max(values)
    if low < (0 if column.unsigned else -bound) or high >= bound:
        _check_digits(name, low, high)
        raise _misfit(name)
    return values


def _check_digits(name: str, *values: int) -> None:
    """Python writes no int of more than some thousand digits (sys.set_int_max_str_digits)."""
    try:
        for value in values:
            str(value)
    except ValueError:
        raise ValidationError(f"{name} should be a number that a column can hold") from None


def _take_any_integers(name: str, column: _ColumnType, values: Sequence[int]) -> Sequence[int]:
    _check_digits(name, *values)
    return values


def _take_whole_decimals(
    name: str, column: _ColumnType, values: Sequence[Decimal]
) -> Sequence[int]:
    """Sums are decimals to MySQL."""
    for value in values:
        if value.is_finite() and value.adjusted() > 100:
            raise _misfit(name)
        if not value.is_finite() or value != int(value):
            raise ValidationError(f"{name} should be a whole number")
    return _take_integers(name, column, [*map(int, values)])


def _take_years(name: str, column: _ColumnType, values: Sequence[int]) -> Sequence[int]:
    """MySQL takes 26 for 2026."""
    if any(value and not 1901 <= value <= 2155 for value in values):
        raise _misfit(name)
    return values


def _take_floats(name: str, column: _ColumnType, values: Sequence[float]) -> Sequence[float]:
    if column.finite and not all(map(math.isfinite, values)):
        raise ValidationError(f"{name} should be a finite number")
    scale = column.scale
    if scale is not None and any(round(value, scale) != value for value in values):
        raise _misfit(name)
    if column.finite and 0.0 in values:  # MySQL's literals have no minus zero
        return [value + 0.0 for value in values]
    return values


def _take_integers_as_floats(
    name: str, column: _ColumnType, values: Sequence[int]
) -> Sequence[float]:
    _check_digits(name, *values)
    try:
        floats = [*map(float, values)]
    except OverflowError:
        raise _misfit(name) from None
    if any(number != value for number, value in zip(floats, values)):
        raise _misfit(name)
    return floats


#: the most digits that a column has (Postgres: NUMERIC(1000)); what would lose one raises
_DIGITS = Context(prec=1000, traps=[Inexact, InvalidOperation])


def _exact_decimal(value: Decimal, precision: int | None, scale: int | None) -> Decimal | None:
    """The number as a column of that precision and scale stores it; None if it does not fit."""
    if (precision is None and scale is None) or not value.is_finite():
        return value
    digits = scale or 0
    if value and precision is not None and value.adjusted() >= precision - digits:
        return None
    one = Decimal((0, (1,), -digits))
    try:
        return _DIGITS.quantize(value if value else Decimal(0), one)  # zero has no sign in SQL
    except DecimalException:
        return None


def _take_decimals(name: str, column: _ColumnType, values: Sequence[Decimal]) -> Sequence[Decimal]:
    for value in values:
        if not value.is_finite() and (column.finite or not value.is_nan() or value.is_snan()):
            raise ValidationError(f"{name} should be a finite number")
    exact = [_exact_decimal(value, column.size, column.scale) for value in values]
    fitting = [value for value in exact if value is not None]
    if len(fitting) < len(exact):
        raise _misfit(name)
    return fitting


def _take_integers_as_decimals(
    name: str, column: _ColumnType, values: Sequence[int]
) -> Sequence[Decimal]:
    _check_digits(name, *values)
    return _take_decimals(name, column, [*map(Decimal, values)])


def _check_fractions(name: str, column: _ColumnType, values: Sequence[datetime | day_time]) -> None:
    step = _fraction(column.scale)
    if step > 1 and any(value.microsecond % step for value in values):
        raise _misfit(name)


def _fraction(digits: int | None) -> int:
    """Microseconds between two moments of a column with that many digits behind the second."""
    return 1 if digits is None else int(10 ** (6 - digits))


_zone = operator.attrgetter("tzinfo")


def _take_moments(name: str, column: _ColumnType, values: Sequence[datetime]) -> Sequence[datetime]:
    zones = set(map(id, map(_zone, values)))
    moments = values  # nearly always in UTC, which is soon seen
    if zones != {id(timezone.utc)}:
        moments = [_aware(value, name) for value in values]
    _check_fractions(name, column, moments)
    return moments


def _take_local_moments(
    name: str, column: _ColumnType, values: Sequence[datetime]
) -> Sequence[datetime]:
    """Of a column without a time zone: aware ones are stored as UTC."""
    local = [
        value if value.utcoffset() is None else _aware(value, name).replace(tzinfo=None)
        for value in values
    ]
    _check_fractions(name, column, local)
    return local


def _take_times(name: str, column: _ColumnType, values: Sequence[day_time]) -> Sequence[day_time]:
    if any(value.tzinfo is not None for value in values):
        raise ValidationError(f"{name} should be a time without a time zone")
    _check_fractions(name, column, values)
    return values


def _take_zoned_times(
    name: str, column: _ColumnType, values: Sequence[day_time]
) -> Sequence[day_time]:
    _check_fractions(name, column, values)
    return values


def _take_durations(
    name: str, column: _ColumnType, values: Sequence[timedelta]
) -> Sequence[timedelta]:
    step, bound, unit = _fraction(column.scale), column.size, column.unit
    for value in values:
        if value.microseconds % step or (bound is not None and abs(value).total_seconds() >= bound):
            raise _misfit(name)
        if unit is not None and value % unit:
            raise _misfit(name)
    return values


def _take_times_as_durations(
    name: str, column: _ColumnType, values: Sequence[day_time]
) -> Sequence[timedelta]:
    """MySQL gives its TIME back as a timedelta."""
    durations = [
        timedelta(
            hours=value.hour,
            minutes=value.minute,
            seconds=value.second,
            microseconds=value.microsecond,
        )
        for value in _take_times(name, column, values)
    ]
    return _take_durations(name, column, durations)


def _take_ids(name: str, column: _ColumnType, values: Sequence[str]) -> Sequence[uuid.UUID]:
    try:
        return [*map(uuid.UUID, values)]
    except ValueError:
        pass
    # Outside: the context would quote it.
    raise ValidationError(f"{name} should be a uuid.UUID, or the text of one")


def _take_documents(name: str, column: _ColumnType, values: Sequence[Any]) -> Sequence[_Document]:
    return [_document(name, value) for value in values]


def _take_arrays(name: str, column: _ColumnType, values: Sequence[Any]) -> Sequence[Any]:
    for value in values:
        _check_element(name, column.element, value)
    return values


def _check_element(name: str, column: _ColumnType, value: Any) -> None:
    if isinstance(value, list):
        for element in value:
            _check_element(name, column, element)
    elif value is not None:
        held = _value_type(type(value)) in _TAKES[column.kind].takers
        _fitted_column(name, column if held else _ColumnType("any", finite=False), [value])


def _take_ranges(name: str, column: _ColumnType, values: Sequence[Any]) -> Sequence[Any]:
    """The driver's own class, which is not loaded here: known by its attributes."""
    for value in values:
        if not all(hasattr(value, each) for each in ("lower", "upper", "lower_inc", "isempty")):
            raise ValidationError(f"{name} should be a range, not of type {type(value).__name__}")
    return values


class _Holds(NamedTuple):
    """What columns of one kind take: words for a message, and how each type of value is taken."""

    words: str
    takers: Mapping[type, _Taker]


_TEXTS: Mapping[type, _Taker] = {str: _take_texts, uuid.UUID: _take_ids_as_texts}
_DOCUMENTS: Mapping[type, _Taker] = dict.fromkeys((dict, list), _take_documents)
#: Which values a column takes, by the kind of the column. Any other type is refused.
_TAKES: Mapping[str, _Holds] = {
    "text": _Holds("text", _TEXTS),
    # MySQL's type for texts and, by the convention of repositories, for documents
    "long text": _Holds("text, or a document as a dict or list", {**_TEXTS, **_DOCUMENTS}),
    "flag": _Holds("True or False", {bool: _take_as_is, int: _take_flags}),
    "integer": _Holds("a whole number", {int: _take_integers, Decimal: _take_whole_decimals}),
    # MySQL's YEAR and BIT
    "year": _Holds("a year", {int: _take_years}),
    "bits": _Holds(
        "bytes, or a whole number",
        {bytes: _take_as_is, bool: _take_as_is, int: _take_any_integers},
    ),
    "float": _Holds("a number", {float: _take_floats, int: _take_integers_as_floats}),
    "decimal": _Holds("a Decimal", {Decimal: _take_decimals, int: _take_integers_as_decimals}),
    # read as text with a currency's sign
    "money": _Holds(
        "a Decimal, or its text",
        {Decimal: _take_decimals, int: _take_integers_as_decimals, str: _take_texts},
    ),
    "bytes": _Holds("bytes", {bytes: _take_bytes}),
    "moment": _Holds("an aware datetime", {datetime: _take_moments}),
    "local moment": _Holds("a datetime", {datetime: _take_local_moments}),
    "date": _Holds("a date", {date: _take_as_is}),
    "time": _Holds("a time", {day_time: _take_times}),
    "zoned time": _Holds("a time", {day_time: _take_zoned_times}),
    "duration": _Holds("a timedelta", {timedelta: _take_durations}),
    # MySQL's TIME
    "time or duration": _Holds(
        "a time or timedelta", {day_time: _take_times_as_durations, timedelta: _take_durations}
    ),
    "id": _Holds("a uuid.UUID", {uuid.UUID: _take_as_is, str: _take_ids}),
    "document": _Holds("a document as a dict or list, not its text", _DOCUMENTS),
    "array": _Holds("a list", {list: _take_arrays}),
    "range": _Holds("a range, or its text", {str: _take_texts, object: _take_ranges}),
    # what this library has no name for: the server decides
    "any": _Holds(
        "of a type that a column holds",
        {
            **_TEXTS,
            bool: _take_as_is,
            int: _take_any_integers,
            float: _take_floats,
            Decimal: _take_decimals,
            bytes: _take_as_is,
            datetime: _take_local_moments,
            date: _take_as_is,
            day_time: _take_zoned_times,
            timedelta: _take_durations,
            dict: _take_documents,
        },
    ),
}
_VALUE_TYPES = frozenset({list, *_TAKES["any"].takers})
#: the kind of column that a record's field has
_COLUMN_KINDS: Mapping[type, str] = {
    str: "text", bool: "flag", int: "integer", float: "float", Decimal: "decimal", bytes: "bytes",
    datetime: "moment", date: "date", day_time: "time", timedelta: "duration", uuid.UUID: "id",
    dict: "document", list: "document",
}  # fmt: skip


def _value_type(kind: type) -> type:
    """Of a subclass its own type counts: an enumeration of str is a str, but True is no int."""
    return next((base for base in kind.__mro__ if base in _VALUE_TYPES), object)


def _without_none(values: Iterable[T | None]) -> list[T]:
    return [value for value in values if value is not None]


def _with_none(values: Iterable[Any], others: Iterable[T], none: T) -> list[T]:
    """Return ``none`` where a value is None, and the others where it is not."""
    following = iter(others)
    return [none if value is None else next(following) for value in values]


def _fitted_column(name: str, column: _ColumnType, values: Sequence[Any]) -> Sequence[Any]:
    """A column's values as it stores them.

    Raises ValidationError for a type that it does not hold, DatabaseError for a size.
    """
    words, takers = _TAKES[column.kind]
    kinds = [*dict.fromkeys(map(type, values))]
    if len(kinds) == 1 and kinds[0] in takers:  # nearly always
        return takers[kinds[0]](name, column, values)
    if len(kinds) == 2 and type(None) in kinds:
        return _with_none(values, _fitted_column(name, column, _without_none(values)), None)
    fitted = list(values)
    for kind in kinds:
        if kind is type(None):
            continue
        known = _value_type(kind)
        if known not in takers:
            raise ValidationError(f"{name} should be {words}, not of type {kind.__name__}")
        places = [at for at, value in enumerate(values) if type(value) is kind]
        plain = [_plain(values[at]) for at in places]
        for at, value in zip(places, takers[known](name, column, plain)):
            fitted[at] = value
    return fitted


# === configuration ================================================================================


class _Url(NamedTuple):
    """A service's URL in parts, percent-decoded. Drivers get these as keyword arguments, never the URL."""

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
    def parse(cls, url: str) -> _Url:
        """Raises ValueError, which says what is wrong and never quotes the URL."""
        found = cls.read(url)
        if isinstance(found, str):
            raise ValueError(found)
        return found

    @classmethod
    def read(cls, url: object) -> _Url | str:
        """Return the URL's parts, or why there are none, in words that quote nothing of it."""
        import urllib.parse

        if not isinstance(url, str):
            return "it should be text"
        if re.search(r"[\s\x00-\x1f\x7f#]", url):
            return f"it holds a blank, a # or a control character: {_ENCODED}"
        try:
            url.encode()
            parts = urllib.parse.urlsplit(url)
            texts = (parts.username, parts.password, parts.hostname, parts.path[1:])
            user, password, host, path = (
                urllib.parse.unquote(text, errors="strict") if text else text for text in texts
            )
        except ValueError:
            return f"it is no URL: {_ENCODED}"
        port = cls._port(parts)
        problem = cls._problem(parts, host, port)
        if problem:
            return problem
        try:
            pairs = urllib.parse.parse_qsl(
                parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)
            )
        except ValueError:
            return "its options should be name=value each, with & between them"
        if len(dict(pairs)) != len(pairs):
            return "it has an option twice"
        if any(
            "\0" in text for text in (user or "", password or "", path or "", *dict(pairs).values())
        ):
            return "it holds a NUL (%00), which no service takes"
        assert host
        return cls(parts.scheme, host, port, user or None, password, path or "", dict(pairs))

    @staticmethod
    def _port(parts: Any) -> int | None:
        """Return 0 for one that is no port."""
        try:
            found: int | None = parts.port
        except ValueError:
            return 0
        return found

    @staticmethod
    def _problem(parts: Any, host: str | None, port: int | None) -> str:
        if "@" in parts.path + parts.query:
            return f"an @ stands behind the host: {_ENCODED}"
        if not parts.scheme or not host:
            return _NO_HOST
        if "," in parts.netloc.rpartition("@")[2]:
            return "it names more than one host"
        if port == 0:
            return f"its port should be a number from 1 to 65535, or {_ENCODED}"
        if not _is_socket_path(host) and not _is_host(host):
            return _ODD_HOST
        return ""


_NO_HOST = "it names no host"
_ODD_HOST = "its host should be a name or an address"


def _is_socket_path(host: str) -> bool:
    return host.startswith("/") and "\0" not in host


def _is_host(host: str) -> bool:
    """Whether Python can look the host up: each label has 1 to 63 bytes."""
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


def _url_problem(
    value: Any,
    schemes: Iterable[str],
    path: str = "",
    options: Mapping[str, str] | None = None,
    *,
    sockets: bool = False,
) -> str:
    """Return why the value is no URL of that kind, in words that quote nothing of it, or "".

    ``path``, and what ``options`` has for each option's name, are patterns. ``sockets``: whether
    the host may be the path of a socket.
    """
    url = _Url.read(value)
    if isinstance(url, str):
        return url
    if url.scheme not in schemes:
        return f"its scheme is not {' or '.join(schemes)}"
    if url.host.startswith("/") and not sockets:
        return "it names the path of a socket, which only databases take"
    if not re.fullmatch(path, url.path):
        return "what stands behind its host is not of that form"
    known = options or {}
    if not url.options.keys() <= known.keys():
        return f"its options should be among: {', '.join(known)}" if known else "it has options"
    for name, text in url.options.items():
        if not re.fullmatch(known[name], text):
            words = known[name].replace("|", ", ")
            return f"its option {name} should {'not be empty' if words == '.+' else f'be {words}'}"
    return ""


def _is_url(schemes: Iterable[str]) -> Callable[[Any], bool]:
    """Return what tells whether a value is such a URL, without a path and options."""
    return lambda value: not _url_problem(value, schemes)


_ENGINES = {"mysql": "mysql", "mariadb": "mysql", "postgresql": "postgres", "postgres": "postgres"}
_PORTS = {"mysql": 3306, "postgres": 5432}
_TLS_OPTIONS = {"sslmode": "disable|prefer|require|verify-ca|verify-full"}
_TLS_FILES = ("sslrootcert", "sslcert", "sslkey")
_TLS_OPTIONS.update(dict.fromkeys(_TLS_FILES, ".+"))
#: what may stand behind the "?" of a database's URL; what this library sets itself may not
_ENGINE_OPTIONS = {
    "mysql": {**_TLS_OPTIONS, "charset": "utf8mb4"},  # which it is in any case
    "postgres": {
        **_TLS_OPTIONS,
        "channel_binding": "disable|prefer|require",
        "application_name": ".+",
        "options": ".+",
        "target_session_attrs": "any|read-write|read-only|primary|standby|prefer-standby",
    },
}
_PREFIX = _Kind(
    "text without blanks at either end and without a NUL",
    str,
    lambda v: _is_text(v, 0) and v == v.strip() and "\0" not in v,
)
_CREDENTIAL = _Kind(
    "text without line breaks, and without blanks at either end",
    str,
    lambda v: _is_text(v) and v == v.strip() and not re.search(r"[\x00-\x1f\x7f]", v),
)
_SMS_PROVIDER = _Kind(
    "one of mock, twilio, aws_sns", str, lambda v: v in ("mock", "twilio", "aws_sns")
)
_REDIS_TLS = {**_TLS_OPTIONS, "sslmode": "require|verify-ca|verify-full"}
_REDIS_KINDS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "redis": ("[0-9]{0,5}", {}),
    "rediss": ("[0-9]{0,5}", _REDIS_TLS),
    "redis+cluster": ("0?", {}),
    "rediss+cluster": ("0?", _REDIS_TLS),
}


def _redis_problem(value: Any) -> str:
    url = _Url.read(value)
    kind = () if isinstance(url, str) else _REDIS_KINDS.get(url.scheme, ())
    problem = _url_problem(value, _REDIS_KINDS, *kind)
    if problem == "it has options":
        return "it has options, which are for TLS: with rediss:// or rediss+cluster://"
    if not problem and isinstance(url, _Url) and url.user is not None and not url.password:
        return "it names a user without a password; a password alone has a colon before it"
    return problem


def _database_problem(value: Any) -> str:
    url = _Url.read(value)
    scheme = "" if isinstance(url, str) else url.scheme
    options = _ENGINE_OPTIONS.get(_ENGINES.get(scheme, ""), {})
    problem = _url_problem(value, _ENGINES, "[^/]+", options, sockets=True)
    if problem in (_NO_HOST, _ODD_HOST):
        problem += (
            "; the directory of a socket is percent-encoded in its place "
            "(postgresql://user@%2Frun%2Fpostgresql/database)"
        )
    return problem


def _endpoint_problem(value: Any) -> str:
    problem = _url_problem(value, ("https", "http"))
    if problem or "@" not in value:
        return problem
    return "it holds a user: keys have settings of their own"


_REDIS_URL = _Kind(
    "redis://[[user]:password@]host[:port][/database number] (a user needs a password; a password alone has a colon "
    "before it, redis://:password@host) or, for a Redis Cluster, redis+cluster://…host[:port]; "
    "with TLS rediss://… or rediss+cluster://…, optionally with ?sslmode=verify-full (the default), verify-ca or "
    "require, &sslrootcert=, &sslcert=, &sslkey= (files)",
    str,
    lambda v: not _redis_problem(v),
    lambda v: _redis_problem(v),
)
_DATABASE_URL = _Kind(
    "mysql://user:password@host[:port]/database or postgresql://user:password@host[:port]/database, optionally with "
    "?sslmode=disable, prefer, require, verify-ca or verify-full, &sslrootcert=, &sslcert=, &sslkey= (files)",
    str,
    lambda v: not _database_problem(v),
    lambda v: _database_problem(v),
)
_S3_ENDPOINT = _Kind(
    "https://host[:port] or, for a store of your own network such as MinIO, http://host[:port], without a path and "
    "without the bucket",
    str,
    lambda v: not _endpoint_problem(v) and not _names_bucket(v),
    lambda v: _endpoint_problem(v) or "it names the bucket",
)
_AWS_HOST = _lazy(r"\.amazonaws\.com(?:\.cn)?$")
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
_HOST_OF_BUCKET = _lazy(
    r".+\.s3(?:-fips|-accelerate)?(?:\.dualstack)?(?:[.-][a-z0-9-]+)?\.amazonaws\.com(?:\.cn)?",
    re.IGNORECASE,
)


def _names_bucket(endpoint: str) -> bool:
    """Whether the URL is that of a bucket on AWS: with it, objects would get the bucket's name into their keys."""
    return _HOST_OF_BUCKET.fullmatch(_Url.parse(endpoint).host) is not None


def _setting(default: Any, kind: _Kind, variable: str = "", *, secret: bool = False) -> Any:
    """``variable``: where the environment has it; of several names the first that is set counts."""
    return field(default=default, metadata={"kind": kind, "variable": variable, "secret": secret})


def _variable(env: Mapping[str, str], name: str) -> str:
    """Return the text of a variable, "" if it is not set."""
    text = _plain(env.get(name))
    if text is not None and not isinstance(text, str):
        raise ConfigurationError(f"{name} should be text")
    return text.strip() if text else ""


@dataclass(frozen=True, repr=False)
class _Settings:
    """Checks every field when constructed, masks secrets in ``repr``, reads itself from environment variables."""

    def __post_init__(self) -> None:
        for each in fields(self):
            kind, value = each.metadata.get("kind"), _plain(getattr(self, each.name))
            object.__setattr__(self, each.name, value)
            unset = value is None and each.default is None
            if kind and not unset and not kind.valid(value):
                variables = " or ".join(each.metadata["variable"].split())
                named = f"{type(self).__name__}.{each.name}"
                raise kind.refusal(f"{named} ({variables})" if variables else named, value)

    def __repr__(self) -> str:
        shown = []
        for each in fields(self):
            value = getattr(self, each.name)
            if each.metadata.get("secret") and value is not None and each.name != "url":
                value = "***"
            elif isinstance(value, str):
                value = re.sub("(?s)://.*@", "://***@", value)
            shown.append(f"{each.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    @classmethod
    def _read(cls, env: Mapping[str, str]) -> dict[str, Any]:
        """The fields that ``env`` sets, parsed. A variable that is empty counts as unset."""
        found = {}
        for each in fields(cls):
            for variable in each.metadata.get("variable", "").split():
                text = _variable(env, variable)
                if text:
                    found[each.name] = cls._parsed(variable, each.metadata["kind"], text)
                    break
        return found

    @staticmethod
    def _parsed(variable: str, kind: _Kind, text: str) -> Any:
        with contextlib.suppress(ValueError):
            return kind.parse(text)
        raise ConfigurationError(f"{variable} should be {kind.expected}")


@dataclass(frozen=True, repr=False)
class DatabaseConfig(_Settings):
    """A MySQL, MariaDB or Postgres database; the URL's scheme says which. All times in seconds.

    ``interruptible``: Ctrl-C ends a statement on Postgres at once, also one that copies, and a wait
    for a login. Without it, Ctrl-C is noticed when the statement ends, as psycopg2 has it. For the
    statement's time the main thread uses ``signal.set_wakeup_fd``; a descriptor that was set before
    gets its bytes too. The request to cancel goes over a connection of its own, which is not
    encrypted, holds no data, and names the session by a number that the server has drawn. Nothing
    is cancelled in other threads, for other signals, or if SIGINT has a handler of your own.
    Statements on MySQL and MariaDB end at once in any case.

    ``error_detail`` adds the server's own text to the message of each error. That text quotes rows
    and values: use it in development only. Without it a message names tables, columns and places in
    the statement.
    """

    url: str = _setting(None, _DATABASE_URL, secret=True)
    max_connections: int = _setting(10, _COUNT, "DATABASE_MAX_CONNECTIONS")
    min_connections: int = _setting(2, _COUNT_OR_0, "DATABASE_MIN_CONNECTIONS")
    connect_timeout: float = _setting(5.0, _WAIT)
    acquire_timeout: float = _setting(30.0, _WAIT)
    query_timeout: float = _setting(30.0, _WAIT)
    idle_timeout: float = _setting(600.0, _WAIT)
    max_lifetime: float = _setting(1800.0, _WAIT)
    interruptible: bool = _setting(True, _SWITCH, "DATABASE_INTERRUPTIBLE")
    error_detail: bool = _setting(False, _SWITCH, "DATABASE_ERROR_DETAIL")

    def __post_init__(self) -> None:
        if self.url is None:
            raise ConfigurationError(f"DatabaseConfig.url should be {_DATABASE_URL.expected}")
        super().__post_init__()
        if self.min_connections > max(
            2, self.max_connections
        ):  # 2 is the default: a pool of 1 need not repeat it
            raise ConfigurationError(
                "DatabaseConfig.min_connections (DATABASE_MIN_CONNECTIONS) should be at most max_connections"
            )

    @property
    def engine(self) -> str:
        """Either "mysql" (MariaDB too) or "postgres"."""
        return _ENGINES[_Url.parse(self.url).scheme]


@dataclass(frozen=True, repr=False)
class CacheConfig(_Settings):
    """A Redis server, or a Redis Cluster. All times in seconds.

    ``pool_size`` is the most connections to one server (of a cluster: to each), listeners apart; ``socket_timeout``
    bounds one wait for the server, ``deadline`` a whole call with its retries and its wait for a free connection;
    ``default_ttl`` is the cache's (0: no expiry). ``prefix`` stands before each key of the bundle's cache, so that its
    ``delete_pattern`` reaches neither verification codes nor keys of your own. ``channel_prefix`` stands before each
    channel of the bundle's bus: channels are one for all databases of a server.
    """

    url: str = _setting("redis://localhost:6379", _REDIS_URL, "REDIS_URL", secret=True)
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


@dataclass(frozen=True, repr=False)
class VerificationConfig(_Settings):
    """The limits of verification codes, as :class:`VerificationCache` explains them.

    Times are in seconds. 0 turns ``resend_after``, ``max_codes`` or ``max_guesses`` off.
    """

    code_ttl: float = _setting(300.0, _WAIT, "VERIFICATION_CODE_TTL")
    max_attempts: int = _setting(3, _COUNT, "VERIFICATION_MAX_ATTEMPTS")
    resend_after: float = _setting(30.0, _TTL_OR_0, "VERIFICATION_RESEND_AFTER")
    max_codes: int = _setting(5, _COUNT_OR_0, "VERIFICATION_MAX_CODES")
    window: float = _setting(3600.0, _WAIT, "VERIFICATION_WINDOW")
    max_guesses: int = _setting(10, _COUNT_OR_0, "VERIFICATION_MAX_GUESSES")


@dataclass(frozen=True, repr=False)
class S3StorageConfig(_Settings):
    """An S3 store: AWS's, or with an ``endpoint`` another one. Without keys, boto3's own chain finds some.

    An endpoint has no path, and does not name the bucket: objects would be stored under another key.
    ``public_endpoint`` is where clients reach the same store, if not at ``endpoint``: presigned URLs are made for it.
    Plain http is taken for both: whoever reads along sees the objects, but no secret key, which is never sent. All
    times in seconds: ``connect_timeout`` bounds one connection attempt, ``read_timeout`` one wait for the server; no
    call is tried again after the sum of both. ``keeps_folders``: whether the store keeps objects as files in folders,
    such as MinIO's gateway to a file system: ``delete_batch`` then also removes the folders that it has emptied, which
    such a store would go on to list, with one request or two for each.
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
                "S3StorageConfig needs both or neither of access_key (AWS_ACCESS_KEY_ID) and secret_key "
                "(AWS_SECRET_ACCESS_KEY), and session_token (AWS_SESSION_TOKEN) only with both"
            )


@dataclass(frozen=True, repr=False)
class SmsConfig(_Settings):
    """An SMS provider. There is no default: sending without one is a ConfigurationError, not a silent nothing.

    ``timeout`` bounds the sending of one message, in seconds (only an answer of SNS that comes in drops may stretch it:
    boto3 gives no hold on its socket); ``region`` is SNS's.
    """

    provider: str | None = _setting(None, _SMS_PROVIDER, "SMS_PROVIDER")
    api_key: str | None = _setting(None, _TEXT, "SMS_API_KEY", secret=True)
    api_secret: str | None = _setting(None, _TEXT, "SMS_API_SECRET", secret=True)
    account_sid: str | None = _setting(None, _TEXT, "SMS_ACCOUNT_SID", secret=True)
    sender: str | None = _setting(None, _TEXT, "SMS_FROM", secret=True)
    timeout: float = _setting(10.0, _WAIT)
    region: str = _setting("us-east-1", _TEXT, "SNS_REGION AWS_REGION AWS_DEFAULT_REGION")


@dataclass(frozen=True, repr=False)
class Config(_Settings):
    """Everything that :class:`Infrastructure` needs."""

    mysql: DatabaseConfig | None = None
    postgres: DatabaseConfig | None = None
    cache: CacheConfig = CacheConfig()
    storage: S3StorageConfig = S3StorageConfig()
    sms: SmsConfig = SmsConfig()
    phone_hash_key: str | None = _setting(None, _HASH_KEY, "PHONE_HASH_KEY", secret=True)
    verification: VerificationConfig = VerificationConfig()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, kind in (
            ("cache", CacheConfig),
            ("storage", S3StorageConfig),
            ("sms", SmsConfig),
            ("verification", VerificationConfig),
        ):
            if not isinstance(getattr(self, name), kind):
                raise ConfigurationError(f"Config.{name} should be a {kind.__name__}")
        for engine in ("mysql", "postgres"):
            database = getattr(self, engine)
            if database is not None and not (
                isinstance(database, DatabaseConfig) and database.engine == engine
            ):
                raise ConfigurationError(
                    f"Config.{engine} should be a DatabaseConfig with a URL of that engine"
                )

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Config:
        """Read the variables that the README lists, from ``os.environ`` or from ``env``.

        Raises ConfigurationError, which names the variable that is wrong.
        """
        # No default value: ``help`` would print the environment, with its secrets.
        env = os.environ if env is None else env
        if not isinstance(env, Mapping):
            raise ConfigurationError("env should map names of variables to their texts")
        databases = cls._databases(env)
        return cls(
            **cls._read(env),
            mysql=databases.get("mysql"),
            postgres=databases.get("postgres"),
            cache=CacheConfig(**CacheConfig._read(env)),
            storage=S3StorageConfig(**S3StorageConfig._read(env)),
            sms=SmsConfig(**SmsConfig._read(env)),
            verification=VerificationConfig(**VerificationConfig._read(env)),
        )

    @staticmethod
    def _databases(env: Mapping[str, str]) -> dict[str, DatabaseConfig]:
        """DATABASE_URL serves the engine that its scheme names; MYSQL_URL and POSTGRES_URL say the engine too."""
        found: dict[str, tuple[str, str, Any]] = {}
        for variable, wanted in (
            ("MYSQL_URL", "mysql"),
            ("POSTGRES_URL", "postgres"),
            ("DATABASE_URL", None),
        ):
            url = _variable(env, variable)
            if not url:
                continue
            problem = _database_problem(url)
            parts = None if problem else _Url.parse(url)
            engine = _ENGINES[parts.scheme] if parts else ""
            if parts is None or wanted not in (None, engine):
                schemes = "://… or ".join(s for s, e in _ENGINES.items() if wanted in (None, e))
                raise ConfigurationError(
                    f"{variable} should be a URL {schemes}://user:password@host[:port]/database. "
                    f"But {problem or 'its scheme is that of another engine'}"
                )
            port = parts.port or _PORTS[engine]
            database = parts._replace(scheme=engine, port=port)  # it may be spelt in two ways
            other, _, same = found.setdefault(engine, (variable, url, database))
            if same != database:
                parts_that_differ = [
                    "database" if name == "path" else name
                    for name in _Url._fields
                    if getattr(same, name) != getattr(database, name)
                ]
                raise ConfigurationError(
                    f"{variable} and {other} differ ({', '.join(parts_that_differ)}): "
                    "set one of them"
                )
        options = DatabaseConfig._read(env)
        return {engine: DatabaseConfig(url=url, **options) for engine, (_, url, _) in found.items()}


# === call policy ==================================================================================


def _is_deferred(function: Any, *, generators: bool = True) -> bool:
    """Whether a call would run nothing yet: an async function, a generator, or an object that is called as one.

    A wrapper is judged by itself: it may run what it wraps. Without ``generators`` those count as
    functions that return an iterator.
    """
    while isinstance(function, functools.partial):
        function = function.func
    if not (inspect.isroutine(function) or isinstance(function, type)):
        function = getattr(type(function), "__call__", None)  # noqa: B004  # itself, not whether it is there
    return (
        inspect.iscoroutinefunction(function)
        or inspect.isasyncgenfunction(function)
        or (generators and inspect.isgeneratorfunction(function))
    )


def _check_function(
    name: str,
    function: Any,
    takes: str,
    error: type[InfrastructureError] = ValidationError,
    *,
    generators: bool = False,
) -> None:
    """``generators``: whether a generator will do, as a function that returns an iterator."""
    if not callable(function):
        raise error(f"{name} should be a function that takes {takes}")
    if _is_deferred(function, generators=not generators):
        kinds = "an async function" if generators else "an async function or a generator"
        raise error(
            f"{name} should be a plain function that takes {takes}: of {kinds} nothing would run"
        )


def _not_awaitable(result: T) -> T:
    """The result of a caller's function. Raises ValidationError if it would have to be awaited."""
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()  # else Python warns that it was never awaited
        raise ValidationError("a function returned an awaitable: nothing awaits it here")
    return result


def _ran(result: T) -> T:
    """The same; raises it also for a generator, and for a context manager that is made of one."""
    generator = getattr(result, "gen", result)
    if inspect.isgenerator(generator) or inspect.isasyncgen(generator):
        raise ValidationError("a function returned a generator: nothing runs it here")
    return _not_awaitable(result)


@dataclass(frozen=True, eq=False)
class Call(_ByValue):
    """What an observer is told after each attempt at an outbound call: names and numbers, never a key or a value.

    ``outcome`` is "ok" or the class name of the error; ``seconds`` the time of this attempt; ``attempt`` counts from 1.
    """

    service: str
    operation: str
    outcome: str
    seconds: float
    attempt: int


@dataclass(frozen=True, eq=False)
class Health(_ByValue):
    """A service that answered: its name, the server's name and version, the round trip in seconds."""

    service: str
    server: str
    latency: float


@dataclass(frozen=True, eq=False)
class PoolStats(_ByValue):
    """How a pool does: the maximum of connections (None: no limit, as in a fake), how many are
    open, in use and idle, and how many calls wait."""

    max_connections: int | None
    open: int
    in_use: int
    idle: int
    waiting: int


class Attempt:
    """One try at a call. ``deadline`` is in the policy clock's monotonic seconds; the adapter sets ``sent`` just before
    the first byte that the service could act on leaves."""

    __slots__ = ("_monotonic", "deadline", "final", "note", "sent", "shared")

    def __init__(self, deadline: float, monotonic: Callable[[], float]) -> None:
        self.deadline = deadline
        self.sent = False
        self.shared = (
            False  # among several servers: what one of them has not done, another may have
        )
        self.final = False  # set when trying again is of no use, whatever the error says
        self.note: Any = None  # what the adapter's ``translate`` wants to know
        self._monotonic = monotonic

    def now(self) -> float:
        """The policy clock's monotonic seconds."""
        return self._monotonic()

    def remaining(self) -> float:
        """Seconds left; raises TimeoutError when there are none."""
        left = self.deadline - self._monotonic()
        if left <= 0:
            raise TimeoutError("the deadline passed")
        return left


class CallPolicy:
    """The one door for outbound calls: total deadline, retry, error mapping, logging, observer.

    What failed before it was sent is tried again. After that only the operations named in ``repeatable``, and calls
    marked so, are: the others would change their answer, or the data, when run twice. The pause before attempt n+1 is
    drawn evenly from 0 to min(backoff_max, backoff * 2**(n-1)) seconds ("full jitter").
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
        observer: Callable[[Call], None] | None = None,
        backoff: float = 0.05,
        backoff_max: float = 1.0,
    ) -> None:
        clock = _clock(clock)
        if observer is not None:
            _check_function("observer", observer, "a Call", ConfigurationError)
        _check_function("translate", translate, "an exception and an attempt", ConfigurationError)
        self._check_settings(service, repeatable, deadline, retries, backoff, backoff_max)
        self.service = service
        self.repeatable = repeatable
        self.deadline = deadline
        self.retries = retries
        self.backoff = backoff
        self.backoff_max = backoff_max
        self._translate = translate
        self._clock = clock
        self._monotonic = clock.monotonic
        self._observer = observer

    def until(self) -> float:
        """The deadline of a call that begins now, for ``call``s that share one."""
        return self._monotonic() + self.deadline

    @staticmethod
    def _check_settings(
        service: Any, repeatable: Any, deadline: Any, retries: Any, *pauses: Any
    ) -> None:
        if not _is_text(service):
            raise ConfigurationError("service should be a name")
        if not isinstance(repeatable, (set, frozenset)):
            raise ConfigurationError("repeatable should be a set of operations")
        if not _is_number(deadline, 0, _YEAR):
            raise ConfigurationError("deadline should be a number of seconds")
        if type(retries) is not int or retries < 0:
            raise ConfigurationError("retries should be a whole number, 0 or more")
        if not all(_is_number(each, 0, _YEAR) for each in pauses):
            raise ConfigurationError("backoff and backoff_max should be numbers of seconds")

    def call(
        self,
        operation: str,
        attempt: Callable[[Attempt], T],
        *,
        retries: int | None = None,
        until: float | None = None,
        repeatable: bool = False,
    ) -> T:
        """Runs ``attempt`` until it answers; raises InfrastructureError. An exception that is not the driver's passes
        through as it is: a mistake in the program, Ctrl-C, or what a signal handler raises."""
        monotonic = self._monotonic
        started = monotonic()
        deadline = started + self.deadline if until is None else until
        number, last = 1, None
        while True:
            current = Attempt(deadline, monotonic)
            try:
                result = attempt(current)
            except BaseException as exc:
                failure = exc
            else:
                if self._observer is not None or logger.isEnabledFor(logging.DEBUG):
                    self._report(Call(self.service, operation, "ok", monotonic() - started, number))
                return result
            # Outside the except block, so that __context__ does not carry the driver's text along, and that _causes can
            # tell what belongs to the failure from what the caller was handling when it called.
            error = self._meaning(failure, current)
            self._forget_variables(failure)
            if error is None:
                try:
                    raise failure
                finally:
                    del failure
            if isinstance(error, ConnectionError) and _lasts(failure):
                error.retryable = False
            if error is not failure:
                error.__cause__ = _scrubbed(failure)
            now = monotonic()
            if (
                last is not None
                and now >= deadline
                and isinstance(error, TimeoutError)
                and not current.sent
            ):
                error = last  # for want of time the attempt found out less than the one before
            error.service = error.service or self.service
            error.operation = error.operation or operation
            self._report(Call(self.service, operation, type(error).__name__, now - started, number))
            pause = self.pause(number)
            may_repeat = not current.sent or repeatable or operation in self.repeatable
            if (
                not (may_repeat and error.retryable)
                or current.final
                or number > (self.retries if retries is None else retries)
                or now + pause >= deadline
            ):
                try:
                    raise error
                finally:  # their tracebacks hold this frame, and what failed with it: sockets, results
                    del error, failure, last
            logger.warning(
                "%s %s: %s, trying again in %.3f s",
                self.service,
                operation,
                type(error).__name__,
                pause,
                extra={
                    "service": self.service,
                    "operation": operation,
                    "outcome": "retry",
                    "attempt": number,
                },
            )
            self._clock.sleep(pause)
            started = monotonic()
            number, last = number + 1, error

    def _meaning(self, failure: BaseException, attempt: Attempt) -> InfrastructureError | None:
        if isinstance(failure, InfrastructureError):
            return failure
        return self._translate(failure, attempt) if isinstance(failure, Exception) else None

    def _forget_variables(self, failure: BaseException) -> None:
        _clear_frames(failure)

    def pause(self, failures: int) -> float:
        """Seconds to wait after that many failures in a row."""
        import random

        return random.uniform(0, min(self.backoff_max, self.backoff * 2.0 ** min(failures - 1, 30)))

    def _report(self, call: Call) -> None:
        logger.debug("%s %s: %s", call.service, call.operation, call.outcome, extra=vars(call))
        if self._observer is not None:
            try:
                _ran(self._observer(call))
            except Exception:  # a broken observer must not break the call it watches
                logger.warning("the observer raised", exc_info=True)


def _clear_frames(exc: BaseException) -> None:
    """Drop the local variables of calls that have failed.

    Passwords and signed headers are among them, and services that collect errors store them.
    """
    import traceback

    for each in _causes(exc):
        traceback.clear_frames(each.__traceback__)


class _RunPolicy(CallPolicy):
    """The policy of whole transactions. Their exceptions are translated, or the caller's own, whose
    variables are left to the caller's debugger."""

    def _forget_variables(self, failure: BaseException) -> None:
        if isinstance(failure, InfrastructureError):
            super()._forget_variables(failure)


def _scrubbed(exc: BaseException) -> BaseException:
    """Takes the text out of a driver's exception, which may quote a URL, a key or a whole row; class, numeric code and
    traceback stay. Works in place where it can: a driver's attributes cannot be copied in general."""
    if not (
        isinstance(exc, OSError) and exc.errno is not None
    ):  # an errno's text is the system's own
        code = exc.args[:1] if exc.args and isinstance(exc.args[0], int) else ()
        exc.args = (*code, "[text withheld]")
    if hasattr(
        exc, "pgcode"
    ):  # psycopg2 keeps the server's answer, rows included, where it cannot be removed
        bare = type(exc)(*exc.args).with_traceback(exc.__traceback__)
        bare.__setstate__({"pgcode": exc.pgcode})
        exc = bare
    exc.__cause__ = exc.__context__ = None
    for name, value in [*vars(exc).items()]:  # some of it an exception's own repr needs
        if isinstance(value, (str, bytes)):
            vars(exc)[name] = "[text withheld]" if isinstance(value, str) else b""
        elif not isinstance(value, (int, float, enum.Enum, type(None))):
            del vars(exc)[name]
    return exc


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    """The exception and those behind it, but not what the caller was handling already."""
    handled = sys.exc_info()[1]
    while exc is not None and exc is not handled:
        yield exc
        exc = exc.__cause__ or exc.__context__


_OTHER_HOST = "it is for another host"
_SEE_CERTIFICATE = ": see sslcert and sslkey"
_WANTS_CERTIFICATE = f"it wants a client certificate{_SEE_CERTIFICATE}"
_REFUSED_CERTIFICATE = "it refused the client certificate of sslcert"
_REFUSED_HANDSHAKE = (
    f"it refused the handshake, and may want a client certificate{_SEE_CERTIFICATE}"
)
#: what OpenSSL's reasons and libpq's texts mean; only another setting or certificate helps
_TLS_REFUSALS = (
    (
        "certificate verify failed",
        "its certificate was refused (not signed by what sslrootcert names, or expired)",
    ),
    ("does not match host name", f"its certificate was refused ({_OTHER_HOST})"),
    (
        "root certificate file",
        "sslmode=verify-full and verify-ca need sslrootcert, the authority's certificate",
    ),
    ("private key file", "sslkey should name a file that only its owner may read"),
    ("does not support SSL", "it offers no TLS"),
    ("wrong version number", "what answers there is no TLS"),
    ("valid client certificate", _WANTS_CERTIFICATE),
    ("certificate required", _WANTS_CERTIFICATE),
    ("alert handshake failure", _REFUSED_HANDSHAKE),
    *(
        (f"alert {reason}", _REFUSED_CERTIFICATE)
        for reason in ("unknown ca", "bad cert", "unsupported cert", "cert")
    ),
)


def _tls_refusal(exc: BaseException | None) -> str:
    """Why there will be no TLS however often one tries, or nothing."""
    for each in _causes(exc):
        if hasattr(each, "verify_message"):  # ssl's, which quotes no more than the host's name
            return f"its certificate was refused ({each.verify_message.rstrip('.')})"
        if (
            type(each).__name__ == "CertificateError"
        ):  # urllib3's, which compares the names by itself
            return f"its certificate was refused ({_OTHER_HOST})"
        if type(each).__module__ == "ssl":
            return _tls_words(str(getattr(each, "reason", "")).replace("_", " "))
    return ""


_NO_TUNNEL = "Tunnel connection failed: "  # as http.client has it
_NO_HTTP = "no HTTP"


def _proxy_refusal(exc: BaseException | None) -> str:
    """With what status a proxy has refused to connect us, or nothing."""
    for each in _causes(exc):
        found = re.match(rf"{_NO_TUNNEL}(\d{{3}}|{_NO_HTTP})", str(each))
        if type(each) is OSError and found:
            return found[1]
        if type(each).__name__ == "BadStatusLine" and _was_unsent(each):
            return _NO_HTTP
    return ""


def _lasts(exc: BaseException | None) -> bool:
    """Whether only another setting helps."""
    return bool(_tls_refusal(exc)) or _proxy_refusal(exc)[:1] not in ("", "5")


def _tls_words(text: str) -> str:
    return next((words for reason, words in _TLS_REFUSALS if reason.lower() in text.lower()), "")


def _is_cut(exc: BaseException | None) -> bool:
    """Whether http.client has seen something, but no answer."""
    names = [type(each).__name__ for each in _causes(exc) if type(each).__module__ == "http.client"]
    return bool(names) and "RemoteDisconnected" not in names


def _os_reason(exc: BaseException | None, *, has_sslcert: bool = False) -> str:
    """The system's words for the first OSError down the chain of causes; drivers wrap those without their number.
    ``has_sslcert``: whether the service has settings for a client certificate."""
    if status := _proxy_refusal(exc):
        return f": the proxy of HTTPS_PROXY refuses the connection ({status})"
    if refusal := _tls_refusal(exc):
        if not has_sslcert:
            refusal = _REFUSED_HANDSHAKE if refusal == _REFUSED_CERTIFICATE else refusal
            refusal = refusal.replace(_SEE_CERTIFICATE, ", for which there is no setting")
        return f": {refusal}"
    for each in _causes(exc):
        if isinstance(each, socket.gaierror):
            return ": host name not found"
        if type(each).__module__ == "ssl":
            return f": no TLS connection ({getattr(each, 'reason', None) or type(each).__name__})"
        if isinstance(each, builtins.TimeoutError) and "handshake" in str(each):
            return ": it is silent to a TLS handshake, as a port without TLS may be"
        if isinstance(each, OSError) and each.errno:
            return f": {os.strerror(each.errno)}"
    return ""


#: the attempt whose deadline is that of the answer which a connection of `_whole_answers` awaits
_awaiting: contextvars.ContextVar[Attempt | None] = contextvars.ContextVar(
    "_awaiting", default=None
)


def _was_unsent(exc: BaseException | None) -> bool:
    """Whether a connection of `_whole_answers` failed before its request, as in a TLS handshake."""
    return any(hasattr(each, "_before_request") for each in _causes(exc))


def _has_started(thread: threading.Thread) -> bool:
    """Start the thread; False once Python shuts down: from 3.12 on it then starts none any more."""
    try:
        thread.start()
    except RuntimeError as error:
        if "interpreter shutdown" not in str(error):
            raise
        return False
    return True


class _Watched:
    """What the watchdog looks after: something with a socket's ``fileno``, and the seconds that it has."""

    __slots__ = ("__weakref__", "expired", "patience", "raw")

    def __init__(self, raw: Any, patience: float = 0.0) -> None:
        self.raw = raw
        self.patience = patience
        self.expired = False  # the watchdog has shut the socket down


class _Watchdog:
    """One daemon thread that shuts down sockets on which a server takes too long: psycopg2 has no timeout of its own,
    and waits in C; http.client's begins anew with every byte. Coming and going take no lock: what a dict does in one
    step is atomic."""

    def __init__(self) -> None:
        self._forget_parent()

    def _forget_parent(self) -> None:
        self._due: dict[_Watched, float] = {}
        self._wakes_at = math.inf
        self._thread: threading.Thread | None = None
        # Plain locks: an interrupt inside a Condition's methods, which are Python, leaves it locked.
        self._changed = threading.Lock()  # released to wake the thread
        self._changed.acquire()
        self._shutting = threading.RLock()  # held while sockets are shut down

    def watch(self, watched: _Watched) -> None:
        due = SystemClock.monotonic() + watched.patience
        self._due[watched] = due
        if due < self._wakes_at:
            thread = self._thread
            if thread is None or not thread.is_alive():  # two do no harm
                thread = threading.Thread(target=self._run, name="infra-watchdog", daemon=True)
                if not _has_started(thread):
                    return  # the server's own limits remain
                self._thread = thread
            try:
                self._changed.release()
            except RuntimeError:  # it was told already
                pass

    def unwatch(self, watched: _Watched) -> None:
        if self._due.pop(watched, None) is None:
            # its socket is being shut down: the owner must not close the descriptor meanwhile
            with self._shutting:
                pass

    def _run(self) -> None:
        while True:
            self._wakes_at = math.inf  # a thread that comes while we look around wakes us
            now = SystemClock.monotonic()
            for watched, due in list(self._due.items()):
                if due <= now:
                    self._shut(watched)
            self._wakes_at = wakes_at = min(list(self._due.values()), default=math.inf)
            left = wakes_at - SystemClock.monotonic()
            self._changed.acquire(timeout=-1 if left == math.inf else max(0.0, left))

    def _shut(self, watched: _Watched) -> None:
        with self._shutting:
            if self._due.pop(watched, None) is None:
                return
            watched.expired = True
            with (
                contextlib.suppress(Exception),
                socket.socket(fileno=os.dup(watched.raw.fileno())) as twin,
            ):
                twin.shutdown(socket.SHUT_RDWR)


_watchdog = _Watchdog()


# === sockets ======================================================================================


def _is_file(value: Any, method: str, *, binary: bool) -> bool:
    """Whether the value is an open file, or an object like one, with that method: not a path, nor a class."""
    other = io.TextIOBase if binary else (io.RawIOBase, io.BufferedIOBase)
    usable = callable(getattr(value, method, None))
    return usable and not isinstance(value, (type, other))


def _driver(module: str, package: str, needed_by: str) -> Any:
    """Imports a driver on first use."""
    try:
        return importlib.import_module(module)
    except ImportError as exc:
        raise ConfigurationError(
            f"{needed_by} needs a package that is not installed: pip install '{package}'"
        ) from exc
    except Exception as exc:  # a library or file of it is damaged, or of another version
        raise ConfigurationError(
            f"{needed_by} cannot import {module} ({type(exc).__name__}): "
            f"pip install --force-reinstall '{package}'"
        ) from exc


def _check_path(name: str, path: Any) -> str:
    """Return the path as text. Python takes a number or a bool for an open file's descriptor, and would close it."""
    text = path if isinstance(path, str) else None
    if isinstance(path, os.PathLike):
        text = os.fspath(path)
    text = _plain(text)
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConfigurationError(f"{name} should be the path of a file, as text or as a Path")
    return text


def _check_readable(name: str, path: str) -> None:
    """Raise ConfigurationError, which names the setting, if the file cannot be read."""
    _check_path(name, path)
    try:
        open(path, "rb").close()
    except (OSError, UnicodeEncodeError) as exc:
        why = getattr(exc, "strerror", "") or "its name is no text of this system"
        raise ConfigurationError(f"{name} should name a readable PEM file: {why}") from exc


def _tls_context(options: Mapping[str, str], mode: str, authority: str = "sslrootcert") -> Any:
    """Python's ``SSLContext`` for the words that libpq has (https://www.postgresql.org/docs/current/libpq-ssl.html).
    ``authority`` is what messages call sslrootcert."""
    import ssl

    files = {name: options[name] for name in _TLS_FILES if options.get(name, "system") != "system"}
    for name, path in files.items():
        _check_readable(authority if name == "sslrootcert" else name, path)
    at_fault = authority
    # As in libpq: an authority that is named is asked, whatever the mode.
    verified = mode in ("verify-ca", "verify-full") or "sslrootcert" in options
    try:
        if verified:
            context = ssl.create_default_context(cafile=files.get("sslrootcert"))
            context.check_hostname = mode == "verify-full"
        else:
            context = _unverified_context()
        if (
            "sslrootcert" in files
        ):  # those that MySQL makes for itself are not to the letter of RFC 5280
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if "sslcert" in options:
            at_fault = "sslcert and sslkey"
            # The password is that of a key that has none: OpenSSL would ask for one at the terminal.
            context.load_cert_chain(options["sslcert"], options.get("sslkey"), password="")
    except OSError as exc:
        raise ConfigurationError(
            f"{at_fault} should name PEM files that fit, without a password"
        ) from exc
    return context


def _unverified_context() -> Any:
    """Python's ``SSLContext`` that takes any certificate, without the system's authorities: to load
    them takes 50 ms (measured with OpenSSL 3)."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _open_socket(
    host: str, port: int, attempt: Attempt, longest: float = math.inf
) -> socket.socket:
    """A TCP connection within the deadline, and within ``longest`` seconds for each address of the host."""
    failure: OSError = OSError("no address")
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for number, (family, kind, protocol, _, address) in enumerate(addresses, 1):
        raw = None
        try:
            raw = socket.socket(family, kind, protocol)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            raw.settimeout(
                min(longest, attempt.remaining() / (1 if number == len(addresses) else 2))
            )
            raw.connect(address)
            return raw
        except BaseException as exc:
            if raw is not None:
                raw.close()
            if not isinstance(exc, OSError) or isinstance(exc, InfrastructureError):
                raise
            failure = exc
    raise failure


class _WholeLines(io.BufferedReader):
    """An answer's bytes, of which no line may be cut: http.client takes the end of the stream for the end of the
    headers, and of a body in chunks."""

    _begun = False

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        if not line.endswith(b"\n") and len(line) != size and (line or self._begun):
            import http.client

            raise http.client.IncompleteRead(line)
        self._begun = True
        return line


@functools.lru_cache(8)
def _whole_answers(connection: Any) -> Any:
    """A class of HTTP connections, as http.client's is one, whose answers are whole or an error."""

    class Whole(connection):  # type: ignore[misc]
        response_class: Any

        def connect(self) -> None:
            try:
                super().connect()
            except Exception as exc:
                exc._before_request = True  # type: ignore[attr-defined]  # see _was_unsent
                raise

        def send(self, data: Any) -> None:
            """Raise what urllib3 takes for a reason to read on: the server may have said why."""
            import ssl

            try:
                super().send(data)
            except ssl.SSLEOFError as exc:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from exc

        def getresponse(self) -> Any:
            attempt, usual = _awaiting.get(), self.response_class
            if attempt is not None:
                # As "timeout" says, less what the connection has taken.
                self.timeout = max(0.001, attempt.deadline - attempt.now())
                self.sock.settimeout(self.timeout)

            def whole(*arguments: Any, **options: Any) -> Any:
                answer = usual(*arguments, **options)
                answer.fp = _WholeLines(answer.fp.detach())  # nothing is read from it yet
                return answer

            self.response_class = whole
            try:
                return super().getresponse()
            finally:
                self.response_class = usual

    return Whole


def _twin_socket(original: socket.socket) -> socket.socket:
    """Another object for the same connection, without what is above TCP. OSError if the original is closed."""
    return socket.socket(fileno=os.dup(original.fileno()))


_fork_aware: weakref.WeakSet[Any] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for each in list(_fork_aware):
        each._forget_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


_fork_aware.add(_watchdog)


class _Slot(Generic[T]):
    """The right to one resource of a pool, and the resource once it is open.

    A slot lives in the pool's idle list or in one caller's place. An interrupt (an exception from
    a signal handler) between two steps can lose it. Then it is garbage, and the pool, which counts
    live slots, has room for another.
    """

    __slots__ = ("__weakref__", "era", "resources")

    def __init__(self, era: object) -> None:
        self.era = era  # another one in a forked child: its pool does not take the slot back
        self.resources: list[T] = []  # none or one


class _Place(Generic[T]):
    """One caller's claim on a pool: at first without a slot, then with one.

    It exists before anything is taken. If the caller is interrupted, by Ctrl-C for example,
    ``release`` finds in it what has to go back.
    """

    __slots__ = ("__weakref__", "signal", "slots")

    def __init__(self) -> None:
        self.slots: list[_Slot[T]] = []  # none or one
        #: held until the pool wakes the waiter; an Event's wait is not safe to interrupt
        self.signal: threading.Lock | None = None

    @property
    def resource(self) -> T | None:
        return self.slots[0].resources[0] if self.slots and self.slots[0].resources else None


class _Pool(Generic[T]):
    """At most ``max_size`` resources; waiters are served in order of arrival, idle resources last in, first out.

        place = _Place()
        try:
            try:
                resource = pool.acquire(place, attempt)
                …
            finally:
                pool.release(place, broken=…)
        finally:
            pool.release(place, broken=True)  # does nothing, unless an interrupt has hit the other

    The pool has no lock: an interrupt could leave it locked. Each change is one operation of a list
    or deque, which is atomic. A slot moves in one expression, so that it is in one place or in none;
    in none it is garbage, which a weak reference takes off the books (see ``_Slot``).

    No waiter is lost: a thread that gives something back looks at the queue afterwards, and a waiter
    that joins the queue looks at what is free afterwards. If an interrupt has lost a slot, a waiter
    notices within a second. No waiter is overtaken: a caller takes what is idle only if the queue is
    empty, and of the waiters only the first does.

    After a fork the child starts empty: the sockets stay the parent's.
    """

    LOOK_AGAIN = 1.0  # seconds

    def __init__(
        self,
        name: str,
        max_size: int,
        *,
        connect: Callable[[Attempt], T],
        disconnect: Callable[[T], None],
        is_dead: Callable[[T], bool],
        is_stale: Callable[[T], bool] = lambda resource: False,
        keep: int = 0,
    ) -> None:
        """``is_stale`` says whether a resource that nobody needs may go; the last ``keep`` stay all the same."""
        self.max_size = max_size
        self.closed = False
        self._is_stale = is_stale
        self._keep = keep
        self._name = name
        self._connect = connect
        self._disconnect = disconnect
        self._is_dead = is_dead
        self._reset()
        _fork_aware.add(self)

    def _reset(self) -> None:
        self._slots: list[weakref.ref[_Slot[T]]] = []
        self._idle: list[_Slot[T]] = []
        self._queue: deque[weakref.ref[_Place[T]]] = deque()

    def _forget_parent(self) -> None:
        idle = self._idle
        self._reset()
        for slot in idle:
            self._close(slot)  # must close this process's descriptor only

    @property
    def size(self) -> int:
        """How many resources are open, or being opened."""
        return min(len(self._slots), self.max_size)

    def check_open(self) -> None:
        if self.closed:
            raise ConnectionError(f"{self._name} is closed", retryable=False)

    def take(self, place: _Place[T]) -> T | None:
        """An idle resource that is alive, kept in ``place``, if there is one at once; else ``acquire`` goes on."""
        if self._queue:
            return None
        slots = place.slots
        try:
            slots.append(self._idle.pop())
        except IndexError:  # nothing is idle
            return None
        resource = slots[0].resources[0]
        if not self._is_dead(resource):
            return resource
        self._close(slots[0])
        return None

    def _alive(self, slot: _Slot[T]) -> T | None:
        """The slot's resource; a dead one is closed."""
        if slot.resources and not self._is_dead(slot.resources[0]):
            return slot.resources[0]
        self._close(slot)
        return None

    def _close(self, slot: _Slot[T]) -> None:
        if slot.resources:
            self._disconnect(slot.resources.pop())

    def acquire(self, place: _Place[T], attempt: Attempt) -> T:
        """A live resource, kept in ``place``. Raises PoolTimeoutError at the deadline, and what ``connect`` raises."""
        if not place.slots:
            resource = self.take(place)
            if resource is not None:
                return resource
        if not place.slots:
            self._wait(place, attempt)
        slot = place.slots[0]
        resource = self._alive(slot)
        if resource is None:
            slot.resources.append(self._connect(attempt))
            resource = slot.resources[0]
        return resource

    def renew(self, place: _Place[T], attempt: Attempt) -> T:
        """A new resource in the place of the one that ``place`` has."""
        slot = place.slots[0]
        self._close(slot)
        slot.resources.append(self._connect(attempt))
        return slot.resources[0]

    def _wait(self, place: _Place[T], attempt: Attempt) -> None:
        """Until the place has a slot."""
        self.check_open()
        if not self._queue and self._open(place):
            return
        until = SystemClock.monotonic() + attempt.remaining()
        place.signal = threading.Lock()
        place.signal.acquire()
        self._queue.append(weakref.ref(place, self._queue.remove))
        try:
            while not self._serve(place):
                left = until - SystemClock.monotonic()
                if left <= 0:
                    raise PoolTimeoutError(
                        f"{self._name}: no connection became free: {self.size} of {self.max_size} in use"
                    )
                place.signal.acquire(timeout=min(left, self.LOOK_AGAIN))
        finally:
            self._leave_queue(place)

    def _serve(self, place: _Place[T]) -> bool:
        """Give a waiter a slot, if it is the first in the queue and one is free."""
        self.check_open()
        if self._first() is not place:
            return False
        try:
            place.slots.append(self._idle.pop())
        except IndexError:
            return self._open(place)
        return True

    def _open(self, place: _Place[T]) -> bool:
        """Give the place a new slot, if there are fewer than ``max_size``.

        Of threads that do so at once the first ``max_size`` in the list of slots succeed.
        """
        slots = self._slots
        place.slots.append(_Slot(slots))
        slots.append(weakref.ref(place.slots[0], slots.remove))
        if slots.index(weakref.ref(place.slots[0])) < self.max_size:
            return True
        self._drop(place)
        self._wake()  # a waiter may have counted this slot
        return False

    def _first(self) -> _Place[T] | None:
        """The waiter that has waited for longest."""
        try:
            return self._queue[0]()
        except IndexError:
            return None

    def _wake(self) -> None:
        """Let the first waiter look again, if something is free."""
        if self._idle or len(self._slots) < self.max_size:
            self._signal(self._first())

    @staticmethod
    def _signal(place: _Place[T] | None) -> None:
        if place is not None and place.signal is not None:
            try:
                place.signal.release()
            except RuntimeError:  # it was told already
                pass

    def _leave_queue(self, place: _Place[T]) -> None:
        try:
            self._queue.remove(weakref.ref(place))
        except ValueError:
            pass
        if self._queue:
            self._wake()

    def release(self, place: _Place[T], broken: bool = False) -> None:
        """Give back what the place has, if anything. Doing so again does nothing.

        A broken resource is closed, and the next waiter may open one.
        """
        slots = place.slots
        if slots:
            slot = slots[0]
            if broken or not slot.resources or slot.era is not self._slots:
                self._close(slot)
                self._drop(place)
            else:
                self._idle.append(slots.pop())
            if self.closed or len(self._slots) > self._keep:
                self._tidy()
        if place.signal is not None:
            self._leave_queue(place)
        elif self._queue:
            self._wake()

    def _drop(self, place: _Place[T]) -> None:
        """Give up the place's slot."""
        try:
            self._slots.remove(weakref.ref(place.slots[0]))
        except ValueError:  # it was granted before a fork, or is off the list already
            pass
        place.slots.clear()

    def _tidy(self) -> None:
        """Close what was idle for longest, if it is stale; in a closed pool all that is idle."""
        place: _Place[T] = _Place()
        while self.closed or self._has_stale():
            try:
                place.slots.append(self._idle.pop(0))
                self._close(place.slots[0])
            except IndexError:  # nothing is idle, or others were faster
                return
            finally:
                if place.slots:
                    self._drop(place)
            if not self.closed:
                return

    def _has_stale(self) -> bool:
        try:
            oldest = self._idle[0].resources[0]
        except IndexError:  # nothing is idle, or another thread takes it
            return False
        return self._is_stale(oldest)

    def stats(self) -> PoolStats:
        size, idle = self.size, len(self._idle)
        return PoolStats(self.max_size, size, max(0, size - idle), idle, len(self._queue))

    def close(self) -> None:
        self.closed = True
        for index in range(len(self._queue)):
            try:
                self._signal(self._queue[index]())
            except IndexError:  # some have left
                break
        self._tidy()


def _interrupt_again() -> None:
    """Repeat a Ctrl-C that has hit a destructor, where Python swallows exceptions."""
    import signal

    main = threading.main_thread().ident
    assert main is not None
    while _is_in_destructor(sys._current_frames().get(main)):
        time.sleep(0.001)
    if callable(signal.getsignal(signal.SIGINT)):
        signal.pthread_kill(main, signal.SIGINT)


def _is_in_destructor(frame: Any) -> bool:
    while frame is not None:
        if frame.f_code is _Closing.__del__.__code__:
            return True
        frame = frame.f_back
    return False


class _OnlyFakes:
    """``down`` of a class that has none: setting it would change nothing, and a test would not test what it means to.

    Classes of other modules that derive from it may have an attribute of that name.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name
        self._modules = {__name__, owner.__module__}

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if instance is not None and self._name in vars(instance):
            return vars(instance)[self._name]
        raise self._refused(owner or type(instance))

    def __set__(self, instance: object, value: object) -> None:
        if type(instance).__module__ in self._modules:
            raise self._refused(type(instance))
        vars(instance)[self._name] = value

    def _refused(self, owner: type) -> AttributeError:
        return AttributeError(
            f"{owner.__name__} has no attribute {self._name!r}: set it on a fake, such as FakeRedisClient "
            "or the redis of a FakeInfrastructure; a real server has to be stopped"
        )


class _Closing(ABC):
    """``close()`` once or often, ``with``, and a ResourceWarning when something open is forgotten."""

    if not TYPE_CHECKING:  # type checkers know that there is none
        down = _OnlyFakes()

    @abstractmethod
    def close(self) -> None:
        """Frees sockets and threads. Calling it again does nothing."""

    def _holds(self) -> bool:
        """Whether there is something to close."""
        return False

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
        except AttributeError:  # the constructor failed half-way
            return
        if forgotten:
            warnings.warn(
                f"{type(self).__name__} was not closed", ResourceWarning, source=self, stacklevel=2
            )
            self.close()


# === database =====================================================================================


class _SignalPipe:
    """A pair of sockets for ``signal.set_wakeup_fd``, and the daemon thread that reads them.

    Ctrl-C writes its number there at once, while Python's handler waits for the main thread.
    Sockets, not a pipe: gevent makes of the thread a coroutine, and only of sockets a wait that
    lets the others run.
    """

    def __init__(self) -> None:
        import signal

        self.set = signal.set_wakeup_fd
        self.earlier = -1  # the descriptor that somebody else has set; it gets the bytes too
        self.running: list[_Session] = []  # what the main thread waits for, the innermost last
        self.lock = threading.Lock()  # held while a session is stopped
        self.reader, self.writer = socket.socketpair()
        self.reader.settimeout(None)
        self.writer.settimeout(0)
        self.descriptor = self.writer.fileno()
        thread = threading.Thread(target=self._run, name="infra-interrupts", daemon=True)
        try:
            self.serves = _has_started(thread)
        except RuntimeError:
            self.close()
            raise

    def close(self) -> None:
        """Close both ends, while no thread reads."""
        self.reader.close()
        self.writer.close()

    def _run(self) -> None:
        import signal

        while numbers := self.reader.recv(64):
            if self.earlier >= 0:
                with contextlib.suppress(OSError):
                    os.write(self.earlier, numbers)
            usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
            if usual and signal.SIGINT in numbers:  # a handler of the user's may want to go on
                self._stop()
        self.reader.close()

    def _stop(self) -> None:
        with self.lock:
            try:
                session = self.running.pop()
            except IndexError:  # it has ended by itself
                return
            session.interrupted = True
            try:
                twin = socket.socket(fileno=os.dup(session.raw.fileno()))
            except Exception:  # the connection has just ended
                return
        threading.Thread(target=_cancel, args=(session.raw, twin), daemon=True).start()

    def drop(self) -> None:
        """End the thread. What it has not read yet stops nothing any more."""
        self.running.clear()
        current = self.set(-1)
        if current != self.descriptor:
            self.set(current)
        self.writer.close()


def _cancel(raw: Any, twin: socket.socket) -> None:
    """End a statement of psycopg2, and its session: ``twin`` has the same socket."""
    with twin, contextlib.suppress(Exception):
        due = SystemClock.monotonic() + 0.3
        if _answers_at_all(twin):
            raw.cancel()
            time.sleep(max(0.0, due - SystemClock.monotonic()))
        twin.shutdown(
            socket.SHUT_RDWR
        )  # if the server does not end the statement, this ends the wait


def _answers_at_all(twin: socket.socket) -> bool:
    """Whether Postgres says if it offers TLS. ``cancel()`` would wait for a server that hangs, and
    stop all threads meanwhile: libpq's PQcancel runs with Python's lock held."""
    try:
        with socket.socket(twin.family, socket.SOCK_STREAM) as probe:
            probe.settimeout(0.2)
            probe.connect(twin.getpeername())
            probe.sendall(b"\0\0\0\x08\x04\xd2\x16\x2f")  # SSLRequest
            return probe.recv(1) in (b"S", b"N")
    except OSError:
        return False


class _Interrupts:
    """Lets Ctrl-C end what the main thread waits for in psycopg2, which waits in C."""

    def __init__(self) -> None:
        self._pipe: _SignalPipe | None = None
        self._main = threading.main_thread().ident
        _fork_aware.add(self)

    def _forget_parent(self) -> None:
        pipe, self._pipe = self._pipe, None
        self._main = threading.main_thread().ident
        if pipe is not None:
            pipe.drop()
            pipe.reader.close()

    def _open(self) -> _SignalPipe | None:
        pipe = _SignalPipe()
        if not pipe.serves:
            pipe.close()
            return None
        try:
            pipe.set(pipe.set(-1))
        except ValueError:  # not in Python's main interpreter
            self._main = None
            pipe.writer.close()
            return None
        self._pipe = pipe
        return pipe

    def call(self, session: _Session, work: Callable[..., Any], *arguments: Any) -> None:
        """Run the work. If Ctrl-C comes meanwhile, the session is stopped: it is of no further use."""
        if threading.get_ident() != self._main:
            work(*arguments)
            return
        pipe = self._pipe or self._open()
        if pipe is None:
            work(*arguments)
            return
        running, set_descriptor = pipe.running, pipe.set
        nested, earlier, surfaced = bool(running), pipe.earlier, session.interrupted
        try:
            try:
                running.append(session)
                earlier = set_descriptor(pipe.descriptor)
                if earlier != pipe.descriptor:
                    pipe.earlier = earlier
                work(*arguments)
            finally:
                try:
                    set_descriptor(earlier)
                except (OSError, ValueError):  # it was closed meanwhile
                    set_descriptor(-1)
        except Exception:
            raise
        except BaseException:  # its byte may be on its way: the next statement needs another pipe
            surfaced = True
            if not nested:
                self._pipe = None
                pipe.drop()
            raise
        finally:
            try:
                running.remove(session)
            except ValueError:
                with pipe.lock:  # it is being stopped: the caller must not close it meanwhile
                    pass
            # Python's handler may run where psycopg2 swallows what it raises: as it decodes.
            if session.interrupted and not surfaced:
                raise KeyboardInterrupt from None


_interrupts = _Interrupts()


def _interruptibly(work: Callable[[], T]) -> T:
    """Run the work in another thread if this is the main one, which Ctrl-C then reaches."""
    if threading.current_thread() is not threading.main_thread():
        return work()
    results: list[T] = []
    failures: list[BaseException] = []
    running = threading.Lock()
    running.acquire()

    def run() -> None:
        try:
            results.append(work())
        except BaseException as failure:
            failures.append(failure)
        finally:
            running.release()

    if not _has_started(threading.Thread(target=run, name="infra-connect", daemon=True)):
        return work()
    running.acquire()
    if failures:
        raise failures.pop()
    return results.pop()


def _this_task() -> object:
    """Return the task of asyncio that runs in this thread, or None."""
    current_task = getattr(sys.modules.get("asyncio"), "current_task", None)
    if current_task is None:  # nobody has imported asyncio
        return None
    try:
        return current_task()
    except RuntimeError:  # no event loop runs here
        return None


class _Block:
    """An open transaction: how deep its blocks are nested and, once it cannot go on, why.

    It belongs to the thread and the task of asyncio that began it. Both count: a copied context
    takes the block to other threads (``asyncio.to_thread``) and other tasks (``create_task``).
    """

    __slots__ = (
        "depth", "doom", "doom_depth", "guards", "handle", "lost", "on_done", "task", "thread",
        "token",
    )  # fmt: skip

    def __init__(self) -> None:
        self.depth = 0  # 0: not begun yet, or over
        self.lost = 0  # blocks that ended in another thread or task
        self.doom: InfrastructureError | None = None
        self.doom_depth = 0  # the block whose end heals it
        self.handle: Any = None  # the backend's: what the transaction runs on
        self.thread = threading.get_ident()
        self.task: Any = _this_task()
        self.on_done: Callable[[object], None] | None = None  # the task's, when it is done
        self.token: contextvars.Token[_Block | None] | None = None
        self.guards: dict[int, Any] = {}  # what notices that a _Transaction ended without __exit__

    def is_ours(self) -> bool:
        """Whether the caller runs in the thread and task that began it."""
        return self.thread == threading.get_ident() and self.task is _this_task()


class _Blocks:
    """The open block of one database in each context (PEP 567): threads, tasks of asyncio and
    greenlets have one each."""

    __slots__ = ("_variable", "get")

    def __init__(self) -> None:
        self._variable: contextvars.ContextVar[_Block | None] = contextvars.ContextVar(
            "infra-block", default=None
        )
        self.get = self._variable.get  # also a block that is over, or not ours

    def mine(self) -> _Block | None:
        """Return the block that is open and the caller's own, or None."""
        block = self.get()
        return block if block is not None and block.depth and block.is_ours() else None

    def put(self, block: _Block) -> None:
        block.token = self._variable.set(block)

    def remove(self, block: _Block) -> None:
        token, block.token = block.token, None
        if token is None:
            return
        try:
            self._variable.reset(token)
        except ValueError:  # in a copy of the context; elsewhere its depth says that it is over
            if self.get() is block:
                self._variable.set(None)


class _OpenBlocks:
    """The open blocks of one thread. A thread that ends takes them along: nobody else can."""

    __slots__ = ("_databases", "_process")

    def __init__(self) -> None:
        self._process = os.getpid()
        self._databases: dict[_Block, Database] = {}

    def add(self, block: _Block, database: Database) -> None:
        if self._process != os.getpid():  # the one thread that a fork has left
            self._process, self._databases = os.getpid(), {}
        self._databases[block] = database

    def discard(self, block: _Block) -> None:
        self._databases.pop(block, None)

    def __del__(self) -> None:
        # A fork ends threads too, in the child, where locks may be held for ever.
        if sys.is_finalizing() or self._process != os.getpid():
            return
        for block, database in list(self._databases.items()):
            database._reclaim(block)


class _ThisThread(threading.local):
    def __init__(self) -> None:
        self.open = _OpenBlocks()


_thread_local = _ThisThread()


class _Exit:
    """Makes a method ``__exit__``, and notes on the object that ``with`` will call it.

    ``with`` takes it from the object before it enters. A caller that enters by hand need not keep the object.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self._function
        instance._leaves = True
        return self._function.__get__(instance)


class _Transaction:
    """What ``Database.transaction`` returns.

    Ctrl-C can come when ``__exit__`` has been called, but before its first step. Then nobody calls
    it again. The block has a weak reference to this object, and is told when it is garbage.
    """

    __slots__ = ("__weakref__", "_block", "_database", "_depth", "_leaves")

    def __init__(self, database: Database) -> None:
        self._database = database
        self._leaves = False  # whether ``with`` holds this object: see _Exit

    def __enter__(self) -> None:
        database = self._database
        block = self._block = database._current() or _Block()  # before anything begins: see _Place
        outside = block.depth
        try:
            database._enter(block)
            self._depth = block.depth
            if self._leaves:
                guard = functools.partial(database._forsake, block)
                block.guards[id(self)] = weakref.ref(self, guard)
        except BaseException:
            block.guards.pop(id(self), None)
            if not outside:
                database._finish(block)
            elif block.depth:  # not ended meanwhile
                block.depth = outside
            raise

    @_Exit
    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        database, block, innermost = self._database, self._block, True
        try:
            block.guards.pop(id(self), None)
            innermost = block is database._blocks.mine() and block.depth == self._depth
            if innermost:
                database._leave(block, error)
        except BaseException as caught:  # Ctrl-C may have come before the end was complete
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
# A statement that begins or ends a transaction; MySQL executes what stands in /*! */.
_TRANSACTION = _lazy(
    r"(?:/\*M?!\d*\s*)?(?:begin(?!\s+not\b)|start\s+transaction|commit|end|abort|prepare\s+transaction"
    r"|rollback(?!\s+(?:(?:work|transaction)\s+)?to\b))\b",
    re.IGNORECASE,
)
#: the first word of a statement that may change the session, or a comment in front of it
_MAY_SET = _lazy(
    r"\s*(?:set|use|lock|unlock|reset|discard|do|execute|call|listen|prepare|load|declare|handler"
    r"|flush|/|-|#)",
    re.IGNORECASE,
)
# What insert_many holds in memory at most: rows, and bytes of their text.
_BATCH_ROWS, _BATCH_BYTES = 25_000, 1 << 23


class Database(_Closing):
    """Transactions and bulk inserts: what domain code and repositories need of a database.

    Outside ``transaction()`` every call is a unit of its own. May be shared by threads. A transaction belongs to the
    thread, and under asyncio to the task, that began it: everything that these do with the same Database takes part
    in it. Other threads and tasks have transactions of their own. A task that was created inside the block, or a
    function that ``asyncio.to_thread`` runs, gets a DatabaseError while the block is open: it could not take part.
    A thread or task that ends inside a block ends the transaction, which is rolled back.

    All methods raise ConnectionError, TimeoutError, PoolTimeoutError, ConflictError (a rule of the data is broken) and
    DatabaseError (anything else that the server refuses; ``retryable`` after a deadlock, a serialization failure, or
    too long a wait for a lock).

    Attributes:
        engine: "mysql" (MariaDB too) or "postgres".
    """

    engine: str
    #: the class of repositories on it, which stands below
    _backend: ClassVar[type]

    def __init__(
        self, clock: Clock, deadline: float, observer: Callable[[Call], None] | None = None
    ) -> None:
        self._clock = clock
        self._blocks = _Blocks()
        self._runs = _RunPolicy(
            self.engine,
            translate=lambda exc, attempt: None,
            repeatable=frozenset({"run"}),
            deadline=deadline,
            retries=5,
            clock=clock,
            observer=observer,
        )

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        """``with database.transaction():`` commits at the end of the block, and rolls back when an exception leaves it.
        A block within a block is a savepoint. Isolation is READ COMMITTED: each statement sees what others have
        committed.

        After an error that ended the transaction on the server, further statements raise DatabaseError without
        reaching it, and so does a normal end of the block: after a deadlock, a lost connection or a statement that
        commits by itself (DDL on MySQL), until the outermost block has ended; on Postgres after any error, until the
        innermost block has.
        """
        return _Transaction(self)

    def run(self, fn: Callable[[], T]) -> T:
        """Runs ``fn()`` in a transaction and returns its answer; on a retryable DatabaseError (deadlock, serialization
        failure, lock timeout) again, a few times: ``fn`` should have no effects outside the database. Inside a
        transaction it runs once, in a savepoint, because only the outermost block can be repeated."""
        _check_function("fn", fn, "no arguments")
        if self._current() is not None:
            with self.transaction():
                return _ran(fn())

        def attempt(current: Attempt) -> T:
            try:
                with self.transaction():
                    return _ran(fn())
            except InfrastructureError as error:
                current.final = not isinstance(error, DatabaseError)
                raise

        return self._runs.call("run", attempt)

    def insert_many(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
        """Insert the rows, all or none, and return how many; far faster than one by one. ``rows`` is
        read in batches, each before the connection is touched, so that a generator may query the
        same database. Not bounded by ``query_timeout``.

        Each batch is checked before its first row is sent, against the columns' types as the
        server's catalogue has them: text, bool, int, float, Decimal, bytes, aware datetimes, dates,
        times, timedeltas, UUIDs, and a dict or list for a document (never its text). Also taken is
        what ``fetch_*`` and ``stream`` return. Nothing is rounded or cut off, except by REAL and
        MySQL's FLOAT.

        Raises ValidationError for names that are not plain identifiers, rows of another length and
        values of a type that the column does not hold; SerializationError for a document that is
        not JSON; DatabaseError for a value beyond the column's size or scale. Each names the column.
        """
        try:
            table, names = self._target(table, columns)
            if not names or isinstance(rows, (str, bytes)) or not isinstance(rows, Iterable):
                raise ValidationError("insert_many needs columns, and rows to read")
        except ValidationError as error:
            error.service, error.operation = self.engine, "insert_many"
            raise
        source, count = iter(rows), 0
        batch = list(
            itertools.islice(source, _BATCH_ROWS // 25)
        )  # the first batch tells how large rows are
        if batch:
            with self.transaction(), self._unlimited():
                types = self._column_types(table, names)
                while batch:
                    size = self._insert_rows(table, names, self._fitted(names, types, batch))
                    count += len(batch)
                    fitting = _BATCH_BYTES * len(batch) // (size or 1)
                    batch = list(itertools.islice(source, max(1, min(_BATCH_ROWS, fitting))))
        return count

    @staticmethod
    def _target(table: str, columns: Sequence[str]) -> tuple[str, list[str]]:
        """The names that ``insert_many`` was given, as plain texts."""
        table, names = _plain(table), [*map(_plain, _check_many("columns", columns))]
        for name, pattern in [(table, _TABLE_NAME), *((column, _NAME) for column in names)]:
            if not isinstance(name, str) or not pattern.fullmatch(name):
                raise ValidationError(
                    "table and columns should be plain identifiers: letters, digits, underscores"
                )
        if len(set(names)) != len(names):
            raise ValidationError("columns should differ")
        return table, names

    def _fitted(
        self, names: Sequence[str], types: Sequence[_ColumnType], rows: Sequence[Sequence[Any]]
    ) -> list[Sequence[Any]]:
        """The rows by columns, each as it stores them."""
        try:
            for kind in set(map(type, rows)):
                if not issubclass(kind, Sequence) or issubclass(kind, (str, bytes)):
                    raise ValidationError(
                        "each row should be a tuple or list of values, in the order of columns"
                    )
            if set(map(len, rows)) != {len(names)}:
                raise ValidationError(
                    f"each row should have {len(names)} values, one for each column"
                )
            return [*map(_fitted_column, names, types, zip(*rows))]
        except InfrastructureError as error:
            error.service, error.operation = self.engine, "insert_many"
            raise

    def health_check(self) -> Health:
        """Asks the server for its version; raises what any other call raises when it cannot answer."""
        return self._health_check()

    def stats(self) -> PoolStats:
        """How the pool does at this moment; asks nobody."""
        return self._stats()

    # The rules of transactions, for every backend. The depth of a block is 1 for the outermost.

    def _current(self) -> _Block | None:
        """Return the transaction in which the caller's statements take part, or None."""
        block = self._blocks.get()
        if block is None or not block.depth:
            return None
        if not block.is_ours():
            raise DatabaseError(
                "this code was started inside a transaction() that another task or thread began, "
                "and cannot take part: run the whole block in one task and thread, or start this "
                "after its end",
                service=self.engine,
                operation="transaction",
            )
        return block

    def _outside(self, operation: str, reason: str) -> None:
        """Raises DatabaseError inside a transaction."""
        if self._current() is not None:
            raise DatabaseError(
                f"{operation} {reason}: call it outside", service=self.engine, operation=operation
            )

    def _enter(self, block: _Block) -> None:
        if block.depth:
            self._check(block)
            self._savepoint(block, "SAVEPOINT")
            block.depth += 1
            return
        self._begin(block)
        block.depth = 1
        self._blocks.put(block)
        _thread_local.open.add(block, self)
        if block.task is not None:
            block.on_done = functools.partial(self._task_done, block)
            block.task.add_done_callback(block.on_done)

    def _leave(self, block: _Block, error: BaseException | None) -> None:
        """Ends the innermost block."""
        depth, doom = block.depth, block.doom
        proper = error is None and doom is None
        try:
            if depth == 1:
                self._end(block, "COMMIT" if proper else "ROLLBACK")
            elif proper:
                block.depth -= 1
                self._savepoint(block, "RELEASE SAVEPOINT")
            elif doom is None or block.doom_depth >= depth:
                block.doom = None
                block.depth -= 1
                self._savepoint(block, "ROLLBACK TO SAVEPOINT")
        except InfrastructureError:
            if error is None and doom is None:
                raise  # otherwise that one says more, and the server has rolled back with the connection
        finally:
            if depth == 1:
                self._finish(block)
            else:
                block.depth = depth - 1
        if error is None and doom is not None:
            self._refuse(doom, "was rolled back")

    def _leave_out_of_order(self, block: _Block, error: BaseException | None) -> None:
        """In a forked child, in another thread or task, or before an inner block."""
        earlier = block.doom
        if block.depth:  # not over yet
            self._doom(
                block,
                DatabaseError("its blocks did not end in the reverse order"),
                outermost=True,
            )
            if block is self._blocks.mine():
                block.depth -= 1
                if not block.depth:
                    self._drop(block)
            else:
                block.lost += 1  # elsewhere: the owner's next statement ends it
        if error is None and earlier is not None:
            self._refuse(earlier, "was rolled back")
        if error is None:
            raise DatabaseError(
                "this transaction is not the innermost one of this thread", service=self.engine
            )

    def _forsake(self, block: _Block, _: object) -> None:
        """Ends a block whose ``__exit__`` was interrupted before it began."""
        if not sys.is_finalizing():
            self._leave_out_of_order(block, DatabaseError("the end of a block was interrupted"))

    def _drop(self, block: _Block) -> None:
        """Ends a doomed transaction whose blocks have all ended, out of order."""
        try:
            self._end(block, "ROLLBACK")
        except InfrastructureError:
            pass  # the connection is closed then, and the server rolls back
        finally:
            self._finish(block)

    def _finish(self, block: _Block) -> None:
        """Forgets a block that is over, and gives back what it has. May be called again."""
        block.depth = 0
        self._blocks.remove(block)
        _thread_local.open.discard(block)
        on_done, block.on_done = block.on_done, None
        if on_done is not None:
            block.task.remove_done_callback(on_done)
        self._abandon(block)

    def _task_done(self, block: _Block, task: object) -> None:
        _thread_local.open.discard(block)
        self._reclaim(block)

    def _reclaim(self, block: _Block) -> None:
        """Rolls back a transaction whose thread or task has ended inside it."""
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

    def _refuse(self, doom: InfrastructureError, fate: str) -> NoReturn:
        reason = f"{type(doom).__name__}: {doom}"
        raise DatabaseError(
            f"the transaction {fate}, because of an earlier {reason}",
            service=self.engine,
            operation="transaction",
            retryable=False,
        ) from doom

    def _doom(self, block: _Block, error: InfrastructureError, *, outermost: bool) -> None:
        """Called with the error of a statement that reached the server; ``outermost`` when the session has gone, or
        the transaction with it."""
        retry = isinstance(error, DatabaseError) and error.retryable
        if outermost or (retry and self.engine == "mysql"):
            block.doom, block.doom_depth = error, 1
        elif self.engine == "postgres" and block.doom is None:
            block.doom, block.doom_depth = error, block.depth

    def _unlimited(self) -> contextlib.AbstractContextManager[None]:
        """Inside this thread's transaction: statements without ``query_timeout``."""
        return contextlib.nullcontext()

    @abstractmethod
    def _begin(self, block: _Block) -> None: ...
    @abstractmethod
    def _end(self, block: _Block, command: str) -> None: ...
    @abstractmethod
    def _savepoint(self, block: _Block, command: str) -> None: ...
    @abstractmethod
    def _abandon(self, block: _Block) -> None: ...
    @abstractmethod
    def _column_types(self, table: str, names: Sequence[str]) -> Sequence[_ColumnType]:
        """What these columns hold. Raises DatabaseError where there is no such table or column."""

    @abstractmethod
    def _insert_rows(
        self, table: str, names: Sequence[str], columns: Sequence[Sequence[Any]]
    ) -> int:
        """Insert the rows, given by columns, and return the bytes of their text."""

    # What data moves need

    @abstractmethod
    def _rows_of(self, table: str) -> _TableRows:
        """Return access to the rows of a table."""

    @abstractmethod
    def _make_table(self, port: Any, statement: Callable[[], str]) -> None:
        """Make the table of a repository if there is none; ``statement`` gives the SQL for it."""

    @abstractmethod
    def _locked(self, lock: str, lock_timeout: float) -> contextlib.AbstractContextManager[None]:
        """Hold a lock of that name.

        This thread's transactions run meanwhile on the connection that holds it. Raises
        TimeoutError if another runner holds the lock for longer than ``lock_timeout`` seconds.
        """

    def _is_held(self, lock_timeout: float, holder: str = "") -> TimeoutError:
        return TimeoutError(
            f"another runner{holder} holds the lock for more than {lock_timeout:g} s",
            service=self.engine,
            operation="move",
            retryable=False,
        )

    def _check_constraints(self) -> None:
        """Inside a transaction: check the deferred constraints now, not at COMMIT."""

    @abstractmethod
    def _health_check(self) -> Health: ...
    @abstractmethod
    def _stats(self) -> PoolStats: ...


class _TableShape(NamedTuple):
    """What a data move knows of a table."""

    columns: Mapping[str, _ColumnType]  # in the table's order
    key: tuple[str, ...]  # the columns of the primary key
    nullable: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()  # an INSERT may leave them out
    #: the server computes them: an INSERT must leave them out
    computed: frozenset[str] = frozenset()
    #: what makes a column's value of the driver's, where that has another form
    readings: Mapping[str, Callable[[Any], Any]] = {}
    unordered: frozenset[str] = frozenset()  # no page can begin behind one of their values
    transactional: bool = True


class _TableRows(ABC):
    """The rows of one table, as data moves read and write them."""

    @abstractmethod
    def shape(self) -> _TableShape:
        """Return what the catalogue says. Raises DatabaseError if there is no such table."""

    @abstractmethod
    def count(self) -> int:
        """Return how many rows there are."""

    @abstractmethod
    def page(
        self, names: Sequence[str], after: Sequence[Any] | None, limit: int
    ) -> tuple[Sequence[tuple[Any, ...]], Sequence[tuple[Any, ...]]]:
        """Return the next rows in the order of the primary key, and their keys."""

    @abstractmethod
    def find(
        self, names: Sequence[str], keys: Sequence[tuple[Any, ...]]
    ) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        """Return the rows that have these primary keys, by the key as it was given."""

    @abstractmethod
    def update(
        self, names: Sequence[str], rows: Sequence[tuple[tuple[Any, ...], Sequence[Any]]]
    ) -> None:
        """Set these columns of the rows with these primary keys. Inside a transaction."""

    @abstractmethod
    def pass_ids(self) -> None:
        """Let the ids that the server makes begin behind those that the table holds."""


# A line that is meant as a marker: its word, and for words that are only similar the whole of it.
_MARKER_WORD = (
    r"[mM](?<!\w[mM])[iIgG][a-zA-Z]{2,10}(?:(?=[^\w\n\r]{0,9}_?[0-9])|(?<=-- migration)(?= ))"
)
_MARKER_WORDS = ("migration", "migrations", "migrate")
# Each part begins with a sign that the part before cannot hold: else a long line would take for ever.
_MARKER_END = r"[^\w\n\r]*(?=[\n\r]|\Z)"
_MARKER_SHAPE = (
    r"(?i)[a-z]+[^\w\n\r]{0,9}_?[0-9]+(?:[^\w\n\r]{1,99}|_)\w[\w-]{0,99}(?<=\w)[^\w\n\r]{1,99}"
    r"(?:mysql|mariadb|postgres(?:ql)?)(?:[^\w\n\r]{1,99}no\W?transaction)?" + _MARKER_END
)
# "migrate 2 columns" is prose, "migrate 2" and "migration 2 users" are none.
_MARKER_SHORT = (
    r"(?i)(?:migrations?[^\w\n\r]{0,9}_?[0-9]+(?:(?:[^\w\n\r]{1,99}|_)\w[\w-]{0,99}(?<=\w))?"
    r"|migrate[^\w\n\r]{0,9}_?[0-9]+(?:[ \t]{0,9}[:.)_-][ \t]{0,9}\w{1,100})?)" + _MARKER_END
)
_LINE_START = r"(?:\A|[\n\r])([^\w\n\r]*)\Z"
_COMMENT_START = r";[ \t]*((?:--+|\#+|//+|/\*+)[^\w\n\r]*)\Z"


def _next_marker(text: str, at: int) -> int:
    """Where the next marker stands, or what seems to be meant as one; else the end of the text."""
    for found in _pattern(_MARKER_WORD).finditer(text, at):
        place = _marker_place(text, found.start(), found[0].lower())
        if place >= at:
            return place
    return len(text)


def _marker_place(text: str, at: int, word: str) -> int:
    """Where the marker with that word begins; -1: it is none."""
    before = text[max(0, at - 100) : at]
    line = _pattern(_LINE_START).search(before)
    if line and line[1] == "-- " and text.startswith("migration ", at):
        return at - 3
    signs = line[1].strip(" \t\ufeff") if line else ""
    if (
        signs
        and word in _MARKER_WORDS
        and not signs.startswith("/*")
        and not set(signs) & set("'\"`(),=")
        and _pattern(_MARKER_SHORT).match(text, at)
    ):
        return at - len(line[1]) if line else -1
    if not _pattern(_MARKER_SHAPE).match(text, at):
        return -1
    from difflib import get_close_matches

    if not get_close_matches(word, _MARKER_WORDS, 1, 0.7):
        return -1
    comment = _pattern(_COMMENT_START).search(before)
    if line:
        return at - len(line[1])
    return at - len(comment[1]) if comment else -1


_SIGNS = r"\0-#%-/:-@\[-\^`{-\x7f"  # what is in no name of Postgres; a dollar sign may be
# Each pattern below is a repeated group with nothing behind it, so that it never goes back, whatever
# the text; each repetition takes memory, so there is a limit, and a loop around.
_EMPTY_STATEMENTS = _lazy(r"[\s;]*;")


def _quoted(quote: str, escapes: bool | None) -> str:
    r"""A pattern of a text in quotes; a doubled quote counts as two texts, side by side.

    Without ``escapes`` a backslash is a character like others. None: a text with one does not match.
    """
    if escapes:
        return rf"{quote}[^{quote}\\]*(?:\\.[^{quote}\\]*){{0,50}}{quote}"
    return rf"{quote}[^{quote}]*{quote}" if escapes is False else rf"{quote}[^{quote}\\]*{quote}"


def _repeated(*alternatives: str) -> re.Pattern[str]:
    return re.compile(f"(?:{'|'.join(filter(None, alternatives))}){{0,2000}}", re.DOTALL)


@functools.cache
def _pattern(text: str) -> re.Pattern[str]:
    """Compiled when it is first needed: most programs that import this read no migrations."""
    return re.compile(text, re.DOTALL)


class _Script(ABC):
    """Finds the statements of a script, one after the other, from ``at`` on.

    Patterns pass over what is simple, in long steps. Where they stop, ``_look`` decides.

    ``strict``: the script is a file of migrations. Then a marker ends it, with ``at`` in front of the
    marker, and what only a client program understands is refused. ``breaks``: in this file a carriage
    return alone ends a line, so it ends a comment.
    """

    #: what begins a comment, or a line for the client program
    comment_signs: ClassVar[str]
    #: words that may change how the text behind their statement is read, or are refused
    words: ClassVar[str]
    #: whether a backslash escapes in single quotes, and in double quotes; None: it is not known
    default_escapes: ClassVar[tuple[bool | None, bool | None]]
    setting: ClassVar[str]

    def __init__(
        self, sql: str, at: int = 0, *, strict: bool = False, breaks: bool = False
    ) -> None:
        self.sql = sql
        self.at = at
        self._strict = strict
        self._breaks = breaks
        self._limit = -1  # where the next marker stands, or the end of the text
        self._broken: list[int] = []  # carriage returns that end a comment
        self._settled_at = 0  # the statement that gave a backslash its meaning
        self._saved: dict[str, tuple[bool | None, bool | None]] = {}  # by MySQL's user variables
        self._escapes = self.default_escapes
        self._blank, self._body = self.patterns(self._escapes, strict, breaks)

    @staticmethod
    @abstractmethod
    def patterns(
        escapes: tuple[bool | None, bool | None], strict: bool, breaks: bool
    ) -> tuple[re.Pattern[str], re.Pattern[str]]:
        """What stands in front of a statement, and what it is made of."""

    @abstractmethod
    def _pass_comment(self, at: int) -> int:
        """The end of the comment that begins there, or ``at``."""

    @abstractmethod
    def _look(self, at: int) -> int:
        """Pass over what the pattern of a statement cannot; ``at`` if that was only its limit."""

    @abstractmethod
    def _examine(self, first: int, end: int) -> int:
        """Look at a statement with one of ``words`` in it, and return its true end."""

    def spans(self) -> Iterator[tuple[int, int]]:
        """Where each statement begins, with the comments in front of it, and where it ends."""
        sql = self.sql
        self._find_limit(self.at)
        word = self._find_word(self.at)
        while True:
            first = self._blank.match(sql, self.at, self._limit).end()  # type: ignore[union-attr]
            if not sql[first : first + 1].isalpha():
                first = self._pass_blanks()
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

    def settle_after(self, sql: str) -> tuple[bool | None, bool | None]:
        """Go on to a next statement, and return what a backslash means in it."""
        before, self.sql, self.at = self._escapes, sql, 0
        for _ in self.spans():
            pass
        return before

    def text(self, start: int, end: int) -> str:
        """A statement as the server gets it. It would not end a comment at a carriage return."""
        if not self._broken:
            return self.sql[start:end].strip()
        starts = [start, *(at + 1 for at in self._broken)]
        parts = [self.sql[at:to] for at, to in zip(starts, [*self._broken, end])]
        return "\n".join(parts).strip()

    def first(self) -> int:
        """Where the first statement begins, behind blanks and comments."""
        self._find_limit(self.at)
        return self._pass_blanks()

    def _find_limit(self, at: int) -> None:
        self._limit = _next_marker(self.sql, at) if self._strict else len(self.sql)

    def _find_word(self, at: int) -> int:
        found = _pattern(self.words).search(self.sql, at)
        return found.start() if found else len(self.sql)

    def _pass_blanks(self) -> int:
        sql, at = self.sql, self.at
        while True:
            end = self._blank.match(sql, at, self._limit).end()  # type: ignore[union-attr]
            if end == self._limit:
                return end
            if sql[end] in self.comment_signs:
                end = self._pass_comment(end)
                if end > self._limit:
                    self._find_limit(end)
            if end == at or not self._may_be_blank(end):
                return end
            at = end

    def _may_be_blank(self, at: int) -> bool:
        sign = self.sql[at : at + 1]
        return sign.isspace() or sign in self.comment_signs

    def _pass_body(self, at: int) -> int:
        sql = self.sql
        while True:
            at = self._body.match(sql, at, self._limit).end()  # type: ignore[union-attr]
            if at == self._limit or sql[at] == ";":
                return at
            at = self._look(at)
            if at > self._limit:
                self._find_limit(at)

    def _pass_quoted(self, at: int, escapes: bool | None) -> int:
        sql, quote, end = self.sql, self.sql[at], at + 1
        if escapes is None:
            end = _pattern(rf"[^{quote}\\]*").match(sql, end).end()  # type: ignore[union-attr]
            if sql.startswith("\\", end):
                raise ValidationError(
                    f"it is not known whether the backslash in line {_line(sql, end)} escapes, because of "
                    f"line {_line(sql, self._settled_at)}: give {self.setting} a plain value there"
                )
        if not escapes:
            end = sql.find(quote, end)
            return self._closed(end + 1 if end >= 0 else 0, at)
        inside = _pattern(rf"(?:[^{quote}\\]+|\\.|{quote}{quote}){{0,2000}}")
        while (further := inside.match(sql, end).end()) > end:  # type: ignore[union-attr]
            end = further
        return self._closed(end + 1 if sql.startswith(quote, end) else 0, at)

    def _closed(self, end: int, opened: int, shortest: int = 1) -> int:
        """The end, unless nothing was found: then it is below ``shortest``."""
        if end < shortest:
            raise ValidationError(
                f"a quote or comment that opens in line {_line(self.sql, opened)} is never closed"
            )
        return end

    def _settle(self, at: int, *escapes: bool | None) -> None:
        """From here on that is what a backslash in quotes means, because of the statement there."""
        self._settled_at = at
        self._escapes = (escapes[0], escapes[-1])
        self._blank, self._body = self.patterns(self._escapes, self._strict, self._breaks)

    def _refuse(self, at: int, what: str, advice: str) -> NoReturn:
        raise ValidationError(f"{what} in line {_line(self.sql, at)} {advice}")

    def _refuse_sign(self, at: int) -> NoReturn:
        """A sign that stops the pattern of a statement only in files."""
        if self.sql[at] == "\ufeff":
            self._refuse(at, "the byte order mark", "is no SQL: only a file may begin with one")
        found = _pattern(_COMMAND).match(self.sql, at)
        self._refuse(at, f"{found[0] if found else 'the backslash'}", self.command_advice)

    command_advice: ClassVar[str]


_COMMAND = r"\\[A-Za-z!?.;]?[a-z_]{0,30}"


class _MySqlScript(_Script):
    r"""What MySQL and MariaDB read. What is in /*! */ they execute, so it is read like the rest.

    MySQL takes /*M! */ for a comment. 999999 is a version that no server has: mariadb-dump writes it.
    """

    comment_signs = "/-#"
    words = "[sSgGdD](?:[qQ][lL]_(?:[mM][oO][dD][eE]|[lL][oO][gG]_[bB])|[tT][iI][dD]_[pPsS]|[eE][lL][iI][mM][iI])"
    default_escapes = (True, True)
    setting = "sql_mode"
    command_advice = "is a command of the mysql client, not SQL: leave it out, and end statements with a semicolon"
    #: SET STATEMENT of MariaDB ends with its statement, which has been read by then
    head = r"(?i)(?:/\*M?!\d*\s*)?(DELIMITER|SET(?!\s+STATEMENT))\b"
    replication = r"(?i)\b(gtid_purged|gtid_slave_pos|sql_log_bin)`?\s{0,99}:?="
    assignment = (
        r"(?i)(?:\b(global|persist|persist_only)\s{1,99})?"
        r"(@{0,2}(?:\w{1,64}\s{0,9}\.\s{0,9})?`?\w{1,64}`?)\s{0,99}:?=\s{0,99}"
        r"('[^']*'|\"[^\"]*\"|@{0,2}[\w.]{1,99}|)"
    )
    #: of sql_mode, those that are not the session's
    others = ("@@global", "@@persist")
    #: modes with ANSI_QUOTES in them
    ansi = frozenset(["ANSI", "ANSI_QUOTES", "DB2", "MAXDB", "MSSQL", "ORACLE", "POSTGRESQL"])
    executable = r"/\*M?!(?!999999)"
    line_comment = r"(?:#|--(?=[\0- \x7f]|\Z))[^\n\r]*"

    @staticmethod
    @functools.cache
    def patterns(
        escapes: tuple[bool | None, bool | None], strict: bool, breaks: bool
    ) -> tuple[re.Pattern[str], re.Pattern[str]]:
        blank = _repeated(r"\s+", *_MySqlScript._comments(breaks), r"/\*(?!M?!(?!999999)).*?\*/")
        body = _MySqlScript._body_pattern(
            escapes, breaks, r";\\\ufeff" if strict else ";", r"\\N" if strict else ""
        )
        return blank, body

    @staticmethod
    @functools.cache
    def _body_pattern(
        escapes: tuple[bool | None, bool | None], breaks: bool, stops: str, more: str
    ) -> re.Pattern[str]:
        return _repeated(
            rf"[^'\"`#/\-{stops}]+",
            _quoted("'", escapes[0]),
            _quoted('"', escapes[1]),
            "`[^`]*`",
            more,
            *_MySqlScript._comments(breaks),
            r"-(?!-(?:[\0- \x7f]|\Z))",
            r"/(?:(?!\*)|\*(?:(?!M?!(?!999999)).*?|M?![^*/'\"`#;\\\-]*)\*/)",
        )

    @staticmethod
    def _comments(breaks: bool) -> tuple[str, ...]:
        return () if breaks else (r"\#[^\n]*", r"--(?=[\0- \x7f]|\Z)[^\n]*")

    def _pass_comment(self, at: int) -> int:
        sql = self.sql
        if sql.startswith("/*", at):
            if _pattern(self.executable).match(sql, at):
                return at
            return self._closed(sql.find("*/", at + 2) + 2, at, shortest=2)
        found = _pattern(self.line_comment).match(sql, at)
        if found is None:
            return at
        end = found.end()
        if self._breaks and sql.startswith("\r", end) and not sql.startswith("\r\n", end):
            self._broken.append(end)
        return end

    def _look(self, at: int) -> int:
        sign = self.sql[at]
        if sign in "'\"":
            return self._pass_quoted(at, self._escapes["'\"".index(sign)])
        if sign == "`":
            return self._pass_quoted(at, False)
        if sign in self.comment_signs:
            end = self._pass_comment(at)
            return self._pass_executable(at) if end == at and sign == "/" else end
        if self._strict and sign in "\\\ufeff":
            self._refuse_sign(at)
        return at

    def _pass_executable(self, at: int) -> int:
        if not _pattern(self.executable).match(self.sql, at):
            return at
        try:
            if self._reads_inside:
                return self._pass_inside(at)
        except ValidationError:
            # A version that no server has: then a quote in it is not closed. One try is enough.
            self._reads_inside = False
        return self._closed(self.sql.find("*/", at + 3) + 2, at, shortest=2)

    _reads_inside = True

    def _pass_inside(self, at: int) -> int:
        inside = self._body_pattern(self._escapes, self._breaks, "*", r"\*(?!/)")
        end = at + 3
        while not self.sql.startswith("*/", end):
            end = inside.match(self.sql, end).end()  # type: ignore[union-attr]
            if end == len(self.sql):
                self._closed(0, at)
            if self.sql[end] == "/":
                end = self._closed(self.sql.find("*/", end + 2) + 2, end, shortest=2)
            else:
                end = self._look(end)
        return end + 2

    def _examine(self, first: int, end: int) -> int:
        found = _pattern(self.head).match(self.sql, first, end)
        if found is None:
            return end
        if found[1].upper() == "SET":
            self._examine_set(first, self.sql[first : min(end, first + 10_000)])
        elif self._strict:
            self._refuse(
                found.start(1),
                "DELIMITER",
                "is a command of the mysql client, for stored programs: dump with --skip-triggers, and "
                "without --routines and --events",
            )
        return end

    def _examine_set(self, first: int, statement: str) -> None:
        found = _pattern(self.replication).search(statement)
        if found and self._strict:
            self._refuse(
                first + found.start(1),
                found[1].upper(),
                "is for a replica, and needs rights that a migration should not: dump with "
                "--set-gtid-purged=OFF (mysqldump), without --gtid (mariadb-dump)",
            )
        for found in _pattern(self.assignment).finditer(statement):
            scope, target, value = found[1], found[2].lower().replace("`", ""), found[3]
            escapes = self._escapes_of(value, statement[found.start(3) :])
            if target.startswith("@") and not target.startswith("@@"):
                self._saved[target] = escapes
            elif target.endswith("sql_mode") and not scope and not target.startswith(self.others):
                self._settle(first, *escapes)

    def _escapes_of(self, value: str, rest: str) -> tuple[bool | None, bool | None]:
        """What a backslash means where sql_mode is that value; ``rest`` is the text from there on."""
        if value[:1] in ("'", '"'):
            names = {each.strip() for each in value[1:-1].upper().split(",")}
            single = "NO_BACKSLASH_ESCAPES" not in names
            return single, single and not names & self.ansi
        if value.lower() in self._saved:
            return self._saved[value.lower()]
        if value.upper() == "DEFAULT":
            return self.default_escapes
        if value.lower() in ("@@sql_mode", "@@session.sql_mode", "@@local.sql_mode"):
            return self._escapes
        if re.search(r"NO_BACKSLASH_ESCAPES|\bANSI|^[1-9]", rest, re.IGNORECASE):
            return None, None
        return self._escapes  # an expression that leaves this part of it alone


class _PostgresScript(_Script):
    """What Postgres reads. As in psql, the body of a function may hold statements between BEGIN and
    END, and a rule's several actions stand in brackets.
    """

    comment_signs = "/-\\"
    words = (
        "[sSaArR](?:[tT][aA][nN][dD][aA][rR][dD]_[cC][oO][nN]|[tT][dD][iI][nN]"
        "|[tT][oO][mM][iI][cC]|[uU][lL][eE][^A-Za-z])"
    )
    default_escapes = (False, False)
    setting = "standard_conforming_strings"
    command_advice = "is a command of psql, not SQL: leave it out; \\connect comes from pg_dump --create and pg_dumpall"
    copy = r"(?is)COPY\b.*\bFROM\s{1,99}STDIN\b"
    program = r"(?i)CREATE\s+(?:OR\s+REPLACE\s+)?(FUNCTION|PROCEDURE|RULE)\b"
    change = r"(?i)(SET|RESET)\b"
    plain_change = (
        r"(?i)(?:RESET|SET(?:\s+SESSION)?)\s+\"?standard_conforming_strings\"?"
        r"(?:\s*(?:=|\bTO\b)\s*'?(\w+)'?)?"
    )
    set_config = r"(?i)set_config\s{0,9}\(\s{0,9}'standard_conforming_strings"
    restrict = r"\\(?:un)?restrict\b[^\r\n]*"
    prefix = rf"(?<![^{_SIGNS}])[eE]\Z"
    gap = r"(?:\s+|--[^\r\n]*){0,2000}"
    tag = rf"\$(?:(?![0-9])[^{_SIGNS}$]+)?\$"
    #: a comment, at most with simple ones in it
    comment = r"/\*[^*/]*(?:(?:\*(?!/)|/(?!\*)|/\*[^*/]*\*/)[^*/]*){0,50}\*/"
    # Of nested comments: what leaves the depth as it is, what opens, and what closes.
    nested = (
        rf"(?:[^*/]+|\*(?!/)|/(?!\*)|{comment}){{0,2000}}",
        r"(?:/\*[^*/]*){0,1000}",
        r"(?:\*/[^*/]*){0,1000}",
    )
    word = rf"(?![0-9$])[^{_SIGNS}]+"

    @staticmethod
    @functools.cache
    def patterns(
        escapes: tuple[bool | None, bool | None], strict: bool, breaks: bool
    ) -> tuple[re.Pattern[str], re.Pattern[str]]:
        blank = _repeated(r"\s+", r"--[^\r\n]*", _PostgresScript.comment)
        return blank, _PostgresScript._body_pattern(escapes, r";\\\ufeff" if strict else ";")

    @staticmethod
    @functools.cache
    def _body_pattern(escapes: tuple[bool | None, bool | None], stops: str) -> re.Pattern[str]:
        signs, quoted = _SIGNS, _quoted("'", escapes[0])
        if escapes[0] is False:
            quoted = (
                rf"'(?:(?:(?<![eE]')|(?<=[^{signs}][eE]'))[^']*'"
                rf"|(?<=[{signs}][eE]')[^'\\]*(?:(?:\\.|'')[^'\\]*){{0,50}}'(?!'|[ \t\f\v]*[\r\n-]))"
            )
        return _repeated(
            rf"[^'\"$/\-{stops}]+",
            quoted,
            '"[^"]*"',
            rf"\$(?:(?<=[^{signs}$]\$)\$*|(?!(?:(?![0-9])[^{signs}$]+)?\$)"
            rf"|((?:(?![0-9])[^{signs}$]+)?)\$.*?\$\1\$)",
            r"-(?:-[^\r\n]*)?",
            rf"/(?!\*)|{_PostgresScript.comment}",
        )

    def _pass_comment(self, at: int) -> int:
        sql = self.sql
        if sql.startswith("--", at):
            found = _pattern(self.gap).match(sql, at)
            return found.end() if found else at
        if sql.startswith("/*", at):
            return self._pass_nested(at)
        found = _pattern(self.restrict).match(sql, at) if self._strict else None
        if found is None or sql[at - 1 : at] not in ("", "\n", "\r"):
            return at
        self.at = found.end()  # pg_dump writes it for psql alone
        return self.at

    def _pass_nested(self, opened: int) -> int:
        sql, at, depth = self.sql, opened + 2, 1
        neutral, opens, closes = map(_pattern, self.nested)
        while depth:
            begun, at = at, neutral.match(sql, at).end()  # type: ignore[union-attr]
            end = opens.match(sql, at).end()  # type: ignore[union-attr]
            depth += sql.count("/*", at, end)
            at = end
            end = closes.match(sql, at).end()  # type: ignore[union-attr]
            closing = sql.count("*/", at, end)
            while closing > depth:  # the last ones are none of this comment's
                end = sql.rfind("*/", at, end)
                closing -= 1
            depth -= closing
            if not depth:
                return sql.rfind("*/", at, end) + 2
            if end == begun:
                self._closed(0, opened)
            at = end
        return at

    def _look(self, at: int) -> int:
        sql, sign = self.sql, self.sql[at]
        if sign == "'":
            if not _pattern(self.prefix).search(sql, max(0, at - 2), at):
                return self._pass_quoted(at, self._escapes[0])
            while True:  # parts on further lines belong to the first
                end = self._pass_quoted(at, True)
                at = self._pass_gap(end)
                if not (sql.startswith("'", at) and re.search("[\r\n]", sql[end:at])):
                    return end
        if sign == '"':
            return self._pass_quoted(at, False)
        if sign == "$" and (found := _pattern(self.tag).match(sql, at)):
            tag = found[0]
            return self._closed(sql.find(tag, found.end()) + len(tag), at, shortest=len(tag))
        if sql.startswith("/*", at):
            return self._pass_nested(at)
        if self._strict and sign in "\\\ufeff":
            self._refuse_sign(at)
        return at

    def _pass_gap(self, at: int) -> int:
        while (end := _pattern(self.gap).match(self.sql, at).end()) > at:  # type: ignore[union-attr]
            at = end
        return at

    def _examine(self, first: int, end: int) -> int:
        sql = self.sql
        if self._strict and _pattern(self.copy).match(sql, first, end):
            self._refuse(
                first,
                "COPY … FROM stdin",
                "is followed by rows, not SQL: dump with pg_dump --inserts",
            )
        if found := _pattern(self.program).match(sql, first, end):
            return self._program_end(first, found[1].upper() == "RULE")
        if _pattern(self.change).match(sql, first, end):
            plain = _pattern(self.plain_change).fullmatch(sql[first:end].rstrip())
            if plain or self.setting in sql[first:end].lower():
                self._settle(first, self._escapes_of(plain), False)
        elif _pattern(self.set_config).search(sql, first, end):
            self._settle(first, None, False)
        return end

    @staticmethod
    def _escapes_of(plain: re.Match[str] | None) -> bool | None:
        value = (plain[1] or "default").lower() if plain else "?"
        if value in ("default", "on", "1") or "true".startswith(value) or "yes".startswith(value):
            return False
        off = value in ("of", "off", "0") or "false".startswith(value) or "no".startswith(value)
        return True if off else None

    def _program_end(self, first: int, is_rule: bool) -> int:
        """The semicolon outside of brackets, and behind as many END as BEGIN and CASE, as psql counts."""
        sql, at, blocks, brackets = self.sql, first, 0, 0
        pattern = self._body_pattern(self._escapes, r";()A-Za-z_\x80-\U0010ffff\\")
        while True:
            at = pattern.match(sql, at, self._limit).end()  # type: ignore[union-attr]
            if at == self._limit or (sql[at] == ";" and not blocks and not (is_rule and brackets)):
                return at
            if found := _pattern(self.word).match(sql, at, self._limit):
                name, at = found[0].lower(), found.end()
                if not brackets:
                    blocks += name == "begin" or (name == "case" and blocks > 0)
                    blocks -= name == "end" and blocks > 0
            elif sql[at] in "();":
                brackets += {"(": 1, ")": -1, ";": 0}[sql[at]]
                at += 1
            else:
                at = self._look(at)
                if at > self._limit:
                    self._find_limit(at)


_SCRIPTS: Mapping[str, type[_Script]] = {"mysql": _MySqlScript, "postgres": _PostgresScript}


def _script(sql: str, engine: str, at: int = 0, **how: bool) -> _Script:
    if not isinstance(engine, str) or engine not in _SCRIPTS:
        raise ValidationError('engine should be "mysql" or "postgres"')
    return _SCRIPTS[engine](sql, at, **how)


def _line(text: str, at: int) -> int:
    """The number of the line; it ends at a line feed, a carriage return, or both."""
    breaks = text.count("\n", 0, at) + text.count("\r", 0, at) - text.count("\r\n", 0, at)
    return breaks + 1


def _first_word(sql: str, engine: str) -> int:
    """Where a statement begins behind blanks and comments, of which there may be many."""
    try:
        return _script(sql, engine).first()
    except ValidationError:  # a comment that never ends: the server refuses it
        return len(sql)


def _controls_transaction(sql: str, engine: str) -> bool:
    """Whether a statement begins or ends a transaction."""
    return _TRANSACTION.match(sql, _first_word(sql, engine)) is not None


def _start_of_code(dialect: _Dialect, sql: str) -> str:
    """The first words of a statement's code, 200 characters or more if it has them."""
    start = ""
    for part in dialect.code(sql):
        start = (start + part).lstrip()
        if len(start) > 200:
            break
    return start


class _Meaning(NamedTuple):
    """What a server's error code means: our error, whether the caller may try again, words for the message, the kind of
    a broken rule, whether the server may have acted on what was sent, and whether it takes no writes."""

    error: type[InfrastructureError]
    words: str
    retryable: bool = False
    kind: str | None = None
    acted: bool = True
    read_only: bool = False  # a new connection may lead to a server that takes writes


_UNIQUE = _Meaning(ConflictError, "holds such a row already", kind="unique")
_FOREIGN_KEY = _Meaning(
    ConflictError,
    "has no such parent row, or rows that still refer to this one",
    kind="foreign_key",
)
_CHECK = _Meaning(ConflictError, "does not allow such a row", kind="check")
_NOT_NULL = _Meaning(ConflictError, "needs a value here", kind="not_null")
_DEADLOCK = _Meaning(
    DatabaseError, "ended the transaction in favour of another: run it again", retryable=True
)
_LOCKED = _Meaning(DatabaseError, "waited too long for another transaction's lock", retryable=True)
_TOO_SLOW = _Meaning(TimeoutError, "stopped the statement after query_timeout")
_LOST = _Meaning(ConnectionError, "could not be reached, or ended the connection", retryable=True)
_BUSY = _Meaning(
    ConnectionError, "takes no further connections at present", retryable=True, acted=False
)
_UNREACHABLE = _Meaning(ConnectionError, "could not be reached", retryable=True, acted=False)
_LOGIN = _Meaning(
    ConnectionError, "refused the login: check user, password, database and host", acted=False
)
_EXPIRED = _Meaning(
    ConnectionError, "wants a new password for this user: see ALTER USER", acted=False
)
_LOCKED_USER = _Meaning(
    ConnectionError, "has locked this user: see ALTER USER … ACCOUNT UNLOCK", acted=False
)
_WANTS_TLS = _Meaning(
    ConnectionError, "takes no connection without TLS: set sslmode=require", acted=False
)
_NO_DATABASE = _Meaning(ConnectionError, "has no such database", acted=False)
_NO_TLS = _Meaning(ConnectionError, "could not be reached: it offers no TLS", acted=False)
_MISFIT = _Meaning(DatabaseError, "refused a value that does not fit its column or type")
_BY_ZERO = _Meaning(DatabaseError, "does not divide by zero")
_BAD_PATTERN = _Meaning(DatabaseError, "could not read a regular expression")
_BAD_ARGUMENT = _Meaning(
    DatabaseError, "refused a value that a function, an operator or a setting cannot have"
)
_NO_OVERLOAD = _Meaning(
    DatabaseError, "has no function or operator of that name for arguments of that number and type"
)
_VALUE_COUNT = _Meaning(DatabaseError, "takes as many values as there are columns")
_NEW_ENUM_VALUE = _Meaning(
    DatabaseError, "lets nothing use a new value of an enum before its ALTER TYPE is committed"
)
_TOO_LARGE = _Meaning(
    DatabaseError, "takes no row or statement of that size: see max_allowed_packet"
)
_SYNTAX = _Meaning(DatabaseError, "could not read the statement")
_UNKNOWN_NAME = _Meaning(
    DatabaseError, "knows no table or column of that name (are all migrations applied?)"
)
_UNKNOWN = _Meaning(DatabaseError, "knows nothing of that name")
_DISK_FULL = _Meaning(DatabaseError, "has no room left on its disk, or in its table space")
_NO_MEMORY = _Meaning(DatabaseError, "has too little memory for that")
_IN_TRANSACTION = _Meaning(DatabaseError, "does not run this statement inside a transaction")
_NO_COPY = _Meaning(
    DatabaseError,
    "is sent no rows: insert_many uses COPY, which psycopg2 does not do under a wait callback "
    "(set_wait_callback, as psycogreen sets it)",
    acted=False,
)
_FORBIDDEN = _Meaning(DatabaseError, "does not permit this user to do that")
_READ_ONLY = _Meaning(
    DatabaseError,
    "takes no writes: the server, the user or the transaction is read-only",
    acted=False,
    read_only=True,
)
_REFUSED = _Meaning(DatabaseError, "refused the statement")
#: What a code of logins means on a session: CREATE DATABASE and USE get them too.
_ON_A_SESSION = {_LOGIN: _FORBIDDEN, _NO_DATABASE: _UNKNOWN}


def _at_login(words: str, *, retryable: bool = False) -> _Meaning:
    return _Meaning(ConnectionError, words, retryable=retryable, acted=False)


_NO_BACKEND = _at_login(
    "is a pooler or proxy that gets no connection to the server behind it: see its log",
    retryable=True,
)
_NO_ROOM = _at_login("has too little memory for another connection at present", retryable=True)
#: What a code of statements means at a login, where nobody has sent one.
_AT_LOGIN = {
    _REFUSED: _at_login("refused the login: see its manual or its log for the reason"),
    _NO_MEMORY: _NO_ROOM,
}
_NO_ROLE = _at_login("has no such user (role)")
#: What Postgres says at a login, behind the severity and two blanks. libpq does not give the SQLSTATE.
#: https://github.com/postgres/postgres: src/backend/libpq/auth.c, utils/init/postinit.c,
#: tcop/backend_startup.c
_POSTGRES_LOGINS: tuple[tuple[str, str | None, _Meaning], ...] = (
    # PgBouncer, which quotes what the server has told it
    (
        r"server login has been failing|pgbouncer cannot connect|server conn crashed"
        r"|query_wait_timeout|client_login_timeout",
        None,
        _NO_BACKEND,
    ),
    (
        r"(?:password|SASL) authentication failed|empty password returned",
        "28P01",
        _at_login("refused the login: user or password is wrong"),
    ),
    (
        r'role (?:".*"|\d+) does not exist|no such user',
        "28000",
        _NO_ROLE,
    ),
    (
        r'role ".*" is not permitted to log in',
        "28000",
        _at_login("does not let this user log in: see ALTER ROLE … LOGIN"),
    ),
    (
        r"no pg_hba\.conf entry|pg_hba\.conf rejects",
        "28000",
        _at_login(
            "refused the login: its pg_hba.conf has no rule that lets in this user, database, address "
            "and encryption (sslmode)"
        ),
    ),
    (
        r"\S+ (?:bearer )?authentication failed",
        "28000",
        _at_login("refused the login: see the method in pg_hba.conf for this user"),
    ),
    (r'database (?:".*"|\d+) does not exist|no such database', "3D000", _NO_DATABASE),
    (
        r'permission denied for database ".*"',
        "42501",
        _at_login("does not let this user into that database: see GRANT CONNECT"),
    ),
    (
        r'database ".*" is not currently accepting|cannot connect to invalid database',
        "55000",
        _at_login("takes no connections to that database: see ALTER DATABASE … ALLOW_CONNECTIONS"),
    ),
    (
        r"sorry, too many clients|too many connections for|remaining connection slots are reserved"
        r"|no more connections allowed|client connections exceeded",
        "53300",
        _BUSY,
    ),
    (r"out of (?:shared )?memory", "53200", _NO_ROOM),
    (r"could not fork new process|out of file descriptors", "53000", _BUSY),
    # https://github.com/postgres/postgres: src/backend/utils/misc/guc.c, tcop/postgres.c
    (
        "unrecognized configuration parameter|invalid configuration parameter name",
        "42704",
        _at_login("refused the login: the URL's options name a setting that it does not know"),
    ),
    (
        r"invalid value for parameter|-?[\d.]+\S*(?: \w+)? is outside the valid range for parameter"
        r'|parameter ".*" requires',
        "22023",
        _at_login(
            "refused the login: the URL's options give a setting a value that it cannot have"
        ),
    ),
    (
        r'parameter ".*" cannot be changed|permission denied to set',
        "55P02",
        _at_login("refused the login: the URL's options change a setting that this user may not"),
    ),
    (
        r"\S.* requires a value|invalid command-line argument",
        "42601",
        _at_login("cannot read the URL's options: write each as -c name=value"),
    ),
    (
        "unsupported startup parameter",  # PgBouncer
        None,
        _at_login("is a pooler that takes no such options in a URL: see ignore_startup_parameters"),
    ),
    (
        r"the database system is (?:starting up|in recovery|not )",
        "57P03",
        _at_login("is starting up", retryable=True),
    ),
    (
        r"the database system is shutting down|terminating connection due to administrator",
        "57P03",
        _at_login("is shutting down", retryable=True),
    ),
    (
        r"terminating connection because of crash|canceling authentication due to timeout",
        "57P02",
        _at_login("ended the login", retryable=True),
    ),
)
_FOREIGN_WORDS = _at_login(
    "refused the login, in words that this library does not know: see the server's log, or set its "
    "lc_messages to 'C' (English) to read the reason here"
)
#: What libpq says by itself of a login.
_LIBPQ_LOGINS: tuple[tuple[str, _Meaning], ...] = (
    ("could not fork new process", _BUSY),  # the server's words, from before the login
    ("no password supplied", _at_login("asks for a password, and the URL has none")),
    (
        "channel binding (?:is )?required",
        _at_login(
            "does not let channel_binding=require be kept: that needs TLS (sslmode=require) and a "
            "login by scram-sha-256"
        ),
    ),
    (
        "session is not read-only|server is not in hot standby",
        _at_login("takes writes, which the URL's target_session_attrs does not allow"),
    ),
    (
        "session is read-only|server is in hot standby|could not make a writable connection",
        _at_login(
            "takes no writes at present, and the URL's target_session_attrs does not allow that",
            retryable=True,
        ),
    ),
    (
        "authentication method|SCRAM authentication|channel binding",
        _at_login("asks for a kind of login that libpq has not: see pg_hba.conf"),
    ),
    (
        "could not (?:translate|resolve) host",
        _at_login("could not be reached: host name not found", retryable=True),
    ),
    (
        "server closed the connection|unexpected eof|EOF detected",
        _at_login("could not be reached: it ended the connection", retryable=True),
    ),
    ("timeout expired", _Meaning(TimeoutError, "did not answer in time", retryable=True)),
)
_NETWORK_ERRORS = (
    errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT,
    errno.EPIPE, errno.ENOENT, errno.EACCES,
)  # fmt: skip


def _postgres_login(text: str) -> tuple[str | None, _Meaning]:
    """Code and meaning of a login's failure, by the words of the server or of libpq.

    The server's words come first: libpq also reports the addresses of the name where no server is.
    """
    for pattern, code, meaning in _POSTGRES_LOGINS:
        if re.search(f":  (?:{pattern})", text):
            return code, meaning
    if re.search(r"\S:  \S", text):
        return None, _FOREIGN_WORDS
    for pattern, meaning in _LIBPQ_LOGINS:
        if re.search(pattern, text):
            return None, meaning
    for number in _NETWORK_ERRORS:
        if os.strerror(number) in text:
            return None, _at_login(f"could not be reached: {os.strerror(number)}", retryable=True)
    return None, _UNREACHABLE


def _one_selector() -> selectors.BaseSelector:
    """For a single socket: poll() needs no descriptor of its own; eventlet takes it away."""
    kind = getattr(selectors, "PollSelector", selectors.DefaultSelector)
    found: selectors.BaseSelector = kind()
    return found


def _readiness(descriptor: int) -> Callable[[int], Any]:
    """Return what, called with 0, says at once whether there is something to read.

    poll() itself where there is one: through a selector it takes half as long again.
    """
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return poll.poll
    selector = _one_selector()
    selector.register(descriptor, selectors.EVENT_READ)
    return selector.select


class _Sent(NamedTuple):
    """What an attempt has sent, for its errors. Without a session it is a login."""

    session: _Session | None = None
    sql: str = ""
    params: Any = None
    before: int = 0  # characters in front of the statement
    is_ours: bool = False  # the statement was made here: its places tell the caller nothing


class _Session(_Watched):
    """A connection of the driver and what the pool knows of it."""

    __slots__ = (
        "generation", "idle_since", "interrupted", "is_new", "is_readable", "limited",
        "process", "read_only", "retires_at",
    )  # fmt: skip

    def __init__(self, raw: Any, descriptor: int, now: float, lifetime: float) -> None:
        super().__init__(raw)
        self.process = os.getpid()
        self.idle_since = now
        self.retires_at = now + lifetime
        self.limited = True  # by query_timeout
        self.is_new = True  # it was not in the pool yet
        self.generation = 0  # the pool's when it was opened
        self.read_only = False  # it has refused a write
        self.interrupted = False  # Ctrl-C has stopped a statement: it may still be cancelled
        self.is_readable: Callable[[int], Any] = _readiness(descriptor)


_inherited: list[
    Any
] = []  # drivers' connections that are the parent's: their destructors take locks
_LONGEST = 2**31 - 1  # milliseconds that poll, libpq and Postgres can count: 24 days


def _timeout(seconds: float) -> int:
    """As milliseconds."""
    return min(_whole_milliseconds(seconds), _LONGEST)


#: "numeric(10,2)", "timestamp(0) with time zone", "int(10) unsigned"
_CATALOGUE_TYPE = _lazy(
    r"(?P<name>[a-z][a-z0-9 ]*?)(?:\((?P<size>\d+)(?:,(?P<scale>-?\d+))?\))?(?P<rest>[a-z ]*)"
)
#: Kinds of columns whose type has its size behind it, and those that have the digits of seconds.
_SIZED = frozenset({"text", "bytes"})
_SCALED = frozenset(
    {"moment", "local moment", "time", "zoned time", "duration", "time or duration"}
)


class _Dialect(ABC):
    """What differs between the engines: drivers, codes, texts, as data and small functions."""

    engine: ClassVar[str]
    module: ClassVar[str]
    package: ClassVar[str]
    port: ClassVar[int]
    errors: ClassVar[Mapping[Any, _Meaning]]
    #: the codes for a table and a column that do not exist
    absent: ClassVar[Sequence[Any]]
    #: how a Python value is given to the driver, by its exact type; None: as it is
    converters: ClassVar[Mapping[type, Callable[[Any], Any] | None]]
    #: how a column's values are read as a record's field of that type, where the driver gives something else
    readers: ClassVar[Mapping[type, Callable[[Any], Any]]] = {}
    #: how a column of values of one type is written into the text of insert_rows
    writers: Mapping[type, Callable[[Sequence[Any]], Sequence[str]]]
    #: goes back to a savepoint and forgets it. On MySQL it stays until the next of the same name
    #: replaces it: at most one for each depth.
    undo: ClassVar[str] = "ROLLBACK TO SAVEPOINT {name}"
    #: a rollback also takes back what SET has changed
    settings_roll_back: ClassVar[bool]
    #: seconds that the client leaves the server to end a statement by itself
    grace: ClassVar[float]
    #: for schema migrations: types of columns, the name of where tables are made, and a lock for the connection
    types: ClassVar[Mapping[str, str]]
    current_schema: ClassVar[str]
    try_lock: ClassVar[str]
    unlock: ClassVar[str]
    #: the number of the connection that holds the lock
    lock_holder: ClassVar[str]
    #: for data moves: of a table the columns (name, nullable, optional, computed, type), the primary
    #: key's columns, and whether it takes part in transactions
    table_columns: ClassVar[str]
    table_key: ClassVar[str]
    table_transactional: ClassVar[str]
    #: whether an index serves ``(a, b) > (x, y)``
    row_comparison: ClassVar[bool]
    #: checks deferred constraints, where there are any
    check_constraints: ClassVar[str] = ""
    #: the name of the sequence that a column's ids come from, where inserted ids do not move it
    sequence_of: ClassVar[str] = ""
    #: the parameters of the two, for the schema that is migrated
    lock_params: Callable[[str], Sequence[str]]
    #: for the connection that writes the history: it waits shortly for locks, and may be idle
    history_session: ClassVar[str]
    #: what a new connection of a migration gets besides, so that no global setting counts
    migration_session: ClassVar[str] = "SELECT 1"
    #: where code stops in a script: texts, comments, quoted names
    code_end: ClassVar[re.Pattern[str]]
    #: texts without a backslash, and what stands between them
    plain_texts: ClassVar[re.Pattern[str]]
    #: the name of the history's table in code
    history_name: ClassVar[re.Pattern[str]]
    #: statements that change the session alone; they are repeated where a migration is resumed
    session_statement: ClassVar[re.Pattern[str]]
    #: what in a statement's code may outlast it in its session, as far as its text tells
    lasting: ClassVar[re.Pattern[str]]
    #: one of these stands in each statement that has it, unless its first word tells
    lasting_signs: ClassVar[tuple[str, ...]]
    #: statements that end a transaction and begin the next one
    chains: ClassVar[re.Pattern[str]]
    #: statements that no migration may hold: first word, pattern, and the reason
    refused_statements: ClassVar[Sequence[tuple[str, re.Pattern[str], str]]]
    #: the last warnings, and the code of the one that says that a rollback left something
    warnings: ClassVar[str] = "SELECT 1 LIMIT 0"
    incomplete_rollback: ClassVar[int] = 0
    #: the options with which a dump leaves the history out
    dump_without: ClassVar[str]
    quote: ClassVar[str]
    #: what columns hold, by the name that the catalogue has for their type
    column_types: ClassVar[Mapping[str, _ColumnType]]
    #: what stands before an OFFSET without a LIMIT
    no_limit: ClassVar[str] = ""
    #: why the body of a function may have lost its end
    cut_body: ClassVar[str] = ""
    #: what stands in front of a query that is streamed
    stream_begins: ClassVar[str] = ""
    #: what a RuntimeError of the driver means that names such a package
    missing: ClassVar[Mapping[str, str]] = {}

    def __init__(self, config: DatabaseConfig) -> None:
        self.converters = {**self.converters, tuple: self.convert_many}  # type: ignore[misc]
        self._lasting: dict[str, bool] = {}  # by statement: what may_last answers
        self.config = config
        self.url = _Url.parse(config.url)
        self.driver = _driver(self.module, self.package, f"a {self.engine} ConnectionPool")
        self.tls_context: Any = None
        if self.url.options.keys() & {
            *_TLS_FILES
        }:  # libpq would look for them at each connection, and give no code
            self.tls_context = _tls_context(
                self.url.options, self.url.options.get("sslmode", "prefer")
            )

    def convert(self, params: Any) -> Any:
        """Parameters as the driver takes them. Raises ValidationError."""
        if params is None:
            return None
        if isinstance(params, (list, tuple)):
            known = self.converters
            try:
                return [
                    value
                    if (converter := known.get(value.__class__, self.convert_one)) is None
                    else converter(value)
                    for value in params
                ]
            except InfrastructureError:
                names: Iterable[Any] = range(1, len(params) + 1)
                return list(self.convert_named(zip(names, params)).values())
        if isinstance(params, Mapping):
            return self.convert_named(params.items())
        raise ValidationError("params should be a list or tuple for %s, or a dict for %(name)s")

    def convert_named(self, params: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
        """The same; an error says which parameter is meant."""
        converted = {}
        for name, value in params:
            try:
                converted[_plain(name)] = self.convert_one(value)
            except InfrastructureError as error:
                raise type(error)(f"parameter {name}: {error}") from None
        return converted

    def convert_one(self, value: Any) -> Any:
        try:
            converter = self.converters[value.__class__]
        except KeyError:
            for (
                known,
                converter,
            ) in self.converters.items():  # a subclass: an enumeration of str, for one
                if isinstance(value, known):
                    value = _plain(value)
                    return value if converter is None else converter(value)
            raise ValidationError(
                f"a value should not be of type {type(value).__name__}: {self.engine} takes none"
            ) from None
        return value if converter is None else converter(value)

    def convert_many(self, values: Any) -> Any:
        """A tuple, for ``IN %s``."""
        if not values:
            raise ValidationError("a tuple for IN should not be empty")
        return tuple(self.convert_one(value) for value in values)

    def texts(self, columns: Sequence[Sequence[Any]]) -> Iterator[tuple[str, ...]]:
        """The rows of these columns as texts for ``insert_rows``."""
        return zip(*map(self.column, columns))

    def column(self, values: Sequence[Any]) -> Sequence[str]:
        """A column's values as texts for ``insert_rows``: a whole column at a time, since most have one type."""
        kinds = {*map(type, values)}
        if len(kinds) == 2 and type(None) in kinds:
            null, written = self.write_one(None), self.column(_without_none(values))
            return _with_none(values, written, null)
        writer = self.writers.get(kinds.pop()) if len(kinds) == 1 else None
        return writer(values) if writer is not None else [*map(self.write_one, values)]

    def write_one(self, value: Any) -> str:
        found = _plain(value)
        for base in type(found).__mro__:  # of a range the driver's classes derive from one
            if base in self.writers:
                return self.writers[base]((found,))[0]
        raise ValidationError(f"a value should not be of type {type(value).__name__}")

    def column_type(self, text: str) -> _ColumnType:
        """What a column holds whose type the catalogue writes so, such as "numeric(10,2)"."""
        found = _CATALOGUE_TYPE.fullmatch(text)
        name = found["name"] + found["rest"] if found else ""
        known = self.column_types.get(text) or self.column_types.get(name)
        if known is None:
            return _ColumnType("any", finite=False)
        if found is None or found["size"] is None:
            return known
        size, scale = int(found["size"]), int(found["scale"] or 0)
        if known.kind == "float":  # MySQL's DOUBLE(7,3)
            return known._replace(scale=scale) if found["scale"] else known
        if known.kind == "decimal":
            return known._replace(size=size, scale=scale)
        if known.kind in _SIZED:
            return known._replace(size=size)
        return known._replace(scale=size) if known.kind in _SCALED else known

    def bound(self, cursor: Any, sql: str, params: Any) -> Any:
        """The statement with its parameters in it, as the driver sends it."""
        if params is None:
            return sql
        if type(params) is dict and "%s" in sql.replace("%%", ""):  # as ``convert`` makes them
            raise _unfit(sql, params, "")  # PyMySQL would put the whole dict there
        try:
            return cursor.mogrify(sql, params)
        except (TypeError, ValueError, LookupError, self.driver.ProgrammingError) as exc:
            kind = type(exc).__name__
        raise _unfit(sql, params, kind)

    def meaning(self, exc: BaseException) -> tuple[Any, _Meaning]:
        """The code of a driver's exception, and what it means."""
        if any(isinstance(each, builtins.TimeoutError) for each in _causes(exc)):
            return None, _Meaning(TimeoutError, "did not answer in time", retryable=True)
        return self.look_up(exc)

    def own_words(self, exc: Any) -> str:
        """The server's text, for development: it may quote rows."""
        return str(exc.args[-1] if exc.args else exc).strip()

    @abstractmethod
    def whereabouts(self, exc: Any, sent: _Sent) -> str:
        """What an error is about: a name or a place in the statement, never a value."""

    def unread_hint(self, sent: _Sent) -> str:
        """Return a hint if stream got no query, or a function has a body without an END."""
        if sent.before and not _QUERY.match(_start_of_code(self, sent.sql)):
            return "; stream takes queries alone: give this to execute or fetch_all"
        body = _BODY.search(self.masked(sent.sql))
        has_end = body is None or re.search(r"(?i)\bEND\b[\w\s$]*;?\s*\Z", body[0])
        return "" if has_end else f"; its BEGIN has no END{self.cut_body}"

    def masked(self, sql: str) -> str:
        """The statement with its texts and comments blotted out, each character by one."""
        parts, at = [], 0
        while found := self.code_end.search(sql, at):
            instead, end = self.skip_text(sql, found, _SCRIPTS[self.engine].default_escapes)
            skipped = sql[found.start() : end]
            parts.append(sql[at : found.start()])
            parts.append(skipped if instead == skipped else instead[:1] * len(skipped))
            at = end
        return "".join(parts) + sql[at:]

    def named(self, sent: _Sent, names: Iterable[str]) -> str:
        """The first of these names that stands in the code of the statement, and where, or nothing.

        A server's message also quotes values: those stand in texts, or in the parameters.
        """
        code = self.masked(sent.sql)
        for name in names:
            for part in filter(None, (name, name.rpartition(".")[2])):
                found = re.search(rf"(?i)(?<![\w$'.]){re.escape(part)}(?![\w$'])", code)
                if found:
                    place = "" if sent.is_ours else f", {_place(sent.sql, found.start())}"
                    return f'"{part}"{place}'
        return ""

    def login_meaning(self, exc: BaseException) -> tuple[Any, _Meaning]:
        """The same of a connection that is being opened: nobody has sent a statement."""
        code, meaning = self.meaning(exc)
        return code, _AT_LOGIN.get(meaning, meaning)

    @abstractmethod
    def look_up(self, exc: BaseException) -> tuple[Any, _Meaning]: ...
    @abstractmethod
    def constraint(self, exc: Any, code: Any, kind: str, sql: str) -> str | None: ...
    @abstractmethod
    def connect(self, seconds: float, now: float) -> _Session: ...
    @abstractmethod
    def execute(self, session: _Session, cursor: Any, sql: Any, params: Any = None) -> None: ...
    @abstractmethod
    def limit(self, session: _Session, limited: bool) -> None: ...
    @abstractmethod
    def be_patient(self, session: _Session, seconds: float) -> None: ...
    @abstractmethod
    def is_open(self, session: _Session) -> bool: ...
    @abstractmethod
    def is_idle(self, session: _Session) -> bool: ...
    @abstractmethod
    def in_transaction(self, session: _Session) -> bool: ...
    @abstractmethod
    def survives(self, session: _Session) -> bool: ...
    @abstractmethod
    def close(self, session: _Session) -> None: ...
    @abstractmethod
    def let_go(self, session: _Session) -> int: ...
    @abstractmethod
    def read_columns(
        self, session: _Session, table: str, names: Sequence[str]
    ) -> Sequence[_ColumnType | None]: ...
    @abstractmethod
    def insert_rows(
        self, session: _Session, table: str, names: Sequence[str], columns: Sequence[Sequence[Any]]
    ) -> Iterator[Callable[[], int]]:
        """Yield what sends some of the rows, and returns how many bytes it has sent."""

    @abstractmethod
    def open_stream(self, session: _Session, statement: Any) -> Any: ...
    @abstractmethod
    def fetch(self, session: _Session, cursor: Any, count: int) -> Sequence[tuple[Any, ...]]: ...
    @abstractmethod
    def server(self, version: str) -> str: ...

    def disconnect(self, session: _Session) -> None:
        if session.process == os.getpid():
            self.close(session)
            return
        # In a forked child a goodbye would end the parent's session, and locks inside the driver stay held for ever if
        # another thread was busy at the fork. So the descriptor leads nowhere, and the driver's object lives on.
        descriptor = self.let_go(session)
        if descriptor >= 0:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, descriptor, inheritable=False)
            os.close(nowhere)
        _inherited.append(session.raw)

    def expect(self, session: _Session, limited: bool) -> None:
        """From now on the server ends statements after query_timeout, or leaves them all the time they need."""
        session.limited = limited
        self.be_patient(
            session, self.config.query_timeout + self.grace if limited else self.config.idle_timeout
        )

    @abstractmethod
    def place(self, table: str) -> list[Any]:
        """Return the parameters that name a table in the statements about the catalogue."""

    def key_value(self, name: str, column: _ColumnType) -> str:
        """Return the value that a column of a key is compared with."""
        return self.name(name)

    def read_exactly(self, name: str, column: _ColumnType) -> str:
        """Return what a column is read by, so that no digits are lost."""
        return self.name(name)

    def reading(self, column: _ColumnType, word: str) -> Callable[[Any], Any] | None:
        """Return what makes a value of the driver's, if that has another form.

        ``word``: the type in the catalogue's words.
        """
        return None

    def name(self, name: str) -> str:
        """An identifier, quoted: it may be a reserved word."""
        return ".".join(f"{self.quote}{part}{self.quote}" for part in name.split("."))

    def timed_out(self, session: _Session) -> bool:
        """End on the server what the client has given up, if the server does not do so itself.

        Return whether that was needed, and done.
        """
        return False

    @abstractmethod
    def skip_text(
        self, sql: str, found: re.Match[str], escapes: Sequence[bool | None]
    ) -> tuple[str, int]:
        """Return what stands in the code for a text, comment or quoted name, and where it ends."""

    def code(self, sql: str, escapes: Sequence[bool | None] = ()) -> Iterator[str]:
        """Yield the parts of a statement that are neither text nor comment. ``escapes``: as _Script has them."""
        escapes = escapes or _SCRIPTS[self.engine].default_escapes
        at = 0
        while found := self.code_end.search(sql, at):
            yield sql[at : found.start()]
            if run := self.plain_texts.match(sql, found.start()):  # 20 times faster, in a dump
                yield _PLAIN_TEXT.sub("''", run[0])
                at = run.end()
            else:
                instead, at = self.skip_text(sql, found, escapes)
                yield instead
        yield sql[at:]

    @property
    def address(self) -> str:
        """Where the server is, for messages."""
        return f"{self.url.host}:{self.url.port or self.port}"

    def may_last(self, sql: str) -> bool:
        """Return whether a statement may leave settings or the like in its session.

        Each statement is asked, so the answer for the usual ones is kept.
        """
        found = self._lasting.get(sql)
        if found is None:
            found = self._may_last(sql)
            if len(self._lasting) >= 1000:
                self._lasting.clear()
            if len(sql) < 2000:
                self._lasting[sql] = found
        return found

    def _may_last(self, sql: str) -> bool:
        if not _MAY_SET.match(sql):
            lower = sql.lower()
            if not any(sign in lower for sign in self.lasting_signs):
                return False
        return self.lasting.search("".join(self.code(sql))) is not None

    def bodies(self, sql: str) -> Sequence[str]:
        """Return the texts in a statement that the server runs at once."""
        return ()

    def is_autocommit(self, session: _Session) -> bool:
        return True

    def resets(self) -> str:
        """Return the statements that give a migration's session its settings back."""
        return "SELECT 1"

    def is_locking(self, session: _Session, absent: str) -> bool:
        """Return whether LOCK TABLES is in force. ``absent`` names a table that does not exist."""
        return False


_PLACEHOLDER = _lazy(r"%(?:%|s|\((.*?)\)s)?", re.DOTALL)
#: a name as it stands in a statement, perhaps with those of its table and schema
_NAME_PATH = _lazy(
    r"(?<!')(?:[^\W\d][\w$]*|`[^`]*`|\"[^\"]*\")(?:\.(?:[^\W\d][\w$]*|`[^`]*`|\"[^\"]*\"))*(?!')"
)
#: what a cursor of Postgres may be declared for
_QUERY = _lazy(r"[\s(]*(?:SELECT|VALUES|WITH|TABLE)\b", re.IGNORECASE)
_BODY = _lazy(
    r"\bBEGIN\s+(?:NOT\s+)?ATOMIC\b.*"
    r"|\bCREATE\b.*?\b(?:PROCEDURE|FUNCTION|TRIGGER|EVENT)\b.*?\bBEGIN\b.*",
    re.IGNORECASE | re.DOTALL,
)


def _place(sql: str, at: int) -> str:
    """A place in a statement, in words."""
    line_start = max(sql.rfind("\n", 0, at), sql.rfind("\r", 0, at)) + 1
    return f"line {_line(sql, at)}, column {at - line_start + 1}"


def _in_quotes(name: str) -> str:
    return name if name[:1] in ('"', "`") else f'"{name}"'


def _unfit(sql: str, params: Any, kind: str) -> ValidationError:
    """Return the error that says which placeholder and parameter do not fit, never a value."""
    marks = [each for each in _PLACEHOLDER.finditer(sql) if each[0] != "%%"]
    reason = kind
    if stray := next((each for each in marks if each[0] == "%"), None):
        reason = (
            f"a percent sign at {_place(sql, stray.start())} is no placeholder: with params it is "
            "written %%"
        )
    elif isinstance(params, Mapping):
        absent = [each[1] for each in marks if each[1] and each[1] not in params]
        if absent:
            reason = f"params should have {absent[0]}"
        elif any(each[0] == "%s" for each in marks):
            reason = "%s takes a list or tuple, %(name)s a dict"
    elif any(each[1] for each in marks):
        reason = "%s takes a list or tuple, %(name)s a dict"
    elif len(marks) != len(params or ()):
        reason = f"it has {len(marks)}, and params has {len(params or ())}"
    return ValidationError(f"the parameters do not fit the placeholders of the statement: {reason}")


def _written(
    column: Sequence[str], special: re.Pattern[str], escape: Callable[[str], str]
) -> Sequence[str]:
    """Texts of a column, escaped where one needs it."""
    return [escape(text) for text in column] if special.search("".join(column)) else column


_MYSQL_SPECIAL = _lazy(r"""[\\'"\n\r\x1a]""")
_PLAIN_TEXT = _lazy("'[^']*'")
_LINE_END = _lazy("[\r\n]")


def _after(sql: str, end: str, at: int) -> int:
    """The position behind the next ``end``. A doubled quote is two texts, side by side."""
    found = sql.find(end, at)
    return len(sql) if found < 0 else found + len(end)


def _after_nested(sql: str, at: int) -> int:
    """The position behind a comment of Postgres, which may hold others."""
    depth, edge = 1, re.compile(r"/\*|\*/")
    while depth and (found := edge.search(sql, at)):
        at = found.end()
        depth += 1 if found[0] == "/*" else -1
    return at if not depth else len(sql)


def _after_escaped(sql: str, quote: str, at: int) -> int:
    """The position behind the closing quote of a text with backslashes in it."""
    special = re.compile(rf"\\.|{quote}{quote}|{quote}", re.DOTALL)
    while found := special.search(sql, at):
        at = found.end()
        if found[0] == quote:
            return at
    return len(sql)


def _mysql_datetime(text: str) -> datetime | str:
    """The session's time zone is UTC. Text that is no date ("0000-00-00 00:00:00") stays text."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)
    except ValueError:
        return text


def _mysql_time(value: timedelta) -> str:
    """As TIME; PyMySQL's own text of a negative one is another value."""
    seconds, rest = divmod(abs(value), timedelta(seconds=1))
    hours, minutes = divmod(seconds // 60, 60)
    sign = "-" if value < timedelta() else ""
    return f"{sign}{hours:02d}:{minutes:02d}:{seconds % 60:02d}.{rest.microseconds:06d}"


def _local_time(value: day_time) -> day_time:
    if value.tzinfo is not None:
        raise ValidationError("a time should be without a time zone")
    return value


def _read_document(value: Any) -> Any:
    """Of a JSON column the value, of LONGTEXT its text."""
    return json.loads(value) if isinstance(value, str) else value


@functools.cache
def _stoppable(base: Any) -> Any:
    """Return a subclass of PyMySQL's connection (tried on 1.1 and 1.2) with a hook between a
    statement and its answer, in which a slow statement can be ended."""

    class StoppableConnection(base):  # type: ignore[misc]
        #: called with the connection before it reads an answer; None if the client limits nothing
        await_answer: Callable[[Any], None] | None = None
        #: whether the statement could be ended; None if that was not tried
        stopped: bool | None = None
        peer: Any = None  # the server's address
        _read_timeout: float

        def connect(self, sock: Any = None) -> None:
            if sock is None and self.unix_socket:
                sock = self._open_unix_socket()
                self._secure = True  # a password may go over it as it is
            super().connect(sock)

        def _open_unix_socket(self) -> socket.socket:
            """PyMySQL's own way leaves the socket open if nobody serves its path."""
            raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                raw.settimeout(self.connect_timeout)
                raw.connect(self.unix_socket)
            except BaseException:
                raw.close()
                raise
            return raw

        def query(self, sql: Any, unbuffered: bool = False) -> Any:
            usual, self.stopped = self._read_timeout, None
            try:
                return super().query(sql, unbuffered)
            except Exception:
                raise
            except BaseException:  # Ctrl-C: the answer would be taken for the next statement's
                self._force_close()
                raise
            finally:
                self._read_timeout = usual

        def _create_ssl_ctx(self, ssl: Any) -> Any:
            return super()._create_ssl_ctx(ssl) if ssl else _unverified_context()

        def _execute_command(self, command: Any, sql: Any) -> None:
            super()._execute_command(command, sql)
            if self.await_answer is not None:  # nothing of the answer is in a buffer yet
                self.await_answer(self)

    return StoppableConnection


@functools.cache
def _forgetful(base: Any) -> Any:
    """Return a subclass of PyMySQL's result (tried on 1.1 and 1.2) whose destructor, and whose
    cursor's, do not read the rest of a stream that an interrupt has lost."""

    class ForgetfulResult(base):  # type: ignore[misc]
        #: Does nothing. An interrupt in Python code that a destructor calls would be swallowed.
        _finish_unbuffered_query = bool

    return ForgetfulResult


class _MySqlDialect(_Dialect):
    """MySQL and MariaDB over PyMySQL."""

    engine = "mysql"
    module = "pymysql"
    package = "PyMySQL[rsa]>=1.1"
    port = _PORTS["mysql"]
    settings_roll_back = False
    #: The server's own limit by flavour, and whether it covers all statements.
    limits: ClassVar = {
        "MariaDB": ("max_statement_time={seconds}", True),
        "MySQL": ("max_execution_time={milliseconds}", False),  # SELECT only
    }
    grace = 2.0
    cut_body = ": a file of migrations is cut at each semicolon; create the program with execute()"
    #: seconds after query_timeout; then the client ends a statement that the server does not limit
    kill_after = 0.1
    #: seconds for the login that this takes
    kill_patience = 3.0
    missing: ClassVar = {
        "cryptography": "the server asks for caching_sha2_password: install PyMySQL[rsa], or use TLS; a wrong password "
        "may be the cause too",
        "pynacl": "the server asks for ed25519: install PyMySQL[ed25519]",
    }
    # https://mariadb.com/kb/en/mariadb-error-code-reference, https://dev.mysql.com/doc/mysql-errors/8.4/en/
    errors: ClassVar = {
        **dict.fromkeys((1022, 1062, 1586), _UNIQUE),
        **dict.fromkeys((1216, 1217, 1451, 1452), _FOREIGN_KEY),
        **dict.fromkeys((3819, 4025), _CHECK),
        **dict.fromkeys((1048, 1364), _NOT_NULL),
        **dict.fromkeys((1020, 1213), _DEADLOCK),
        1205: _LOCKED,
        **dict.fromkeys((1317, 1969, 3024), _TOO_SLOW),
        **dict.fromkeys((0, 1043, 1053, 1077, 1078, 1079, 1152, 1184, 1927, 2006), _LOST),
        **dict.fromkeys((*range(1154, 1162), 2013, 2055, 4031), _LOST),
        **dict.fromkeys((1040, 1135, 1203, 1226), _BUSY),
        **dict.fromkeys((2002, 2003, 2005), _UNREACHABLE),
        1042: _at_login("cannot look up the name of this client's address", retryable=True),
        3032: _at_login("is in offline mode", retryable=True),
        1129: _at_login("has blocked this client's address after failed logins: see FLUSH HOSTS"),
        **dict.fromkeys((1044, 1045, 1130, 1251, 1524, 1698, 2059, 2061), _LOGIN),
        **dict.fromkeys((1820, 1862), _EXPIRED),
        **dict.fromkeys((3118, 4151), _LOCKED_USER),
        3159: _WANTS_TLS,
        1049: _NO_DATABASE,
        2026: _NO_TLS,
        **dict.fromkeys((1264, 1265, 1292, 1366, 1406, 1411, 1690), _MISFIT),
        1365: _BY_ZERO,
        **dict.fromkeys((1139, *range(3688, 3698), 3700), _BAD_PATTERN),
        **dict.fromkeys((1231, 1298, 1649, 3685, 3686), _BAD_ARGUMENT),
        1582: _NO_OVERLOAD,
        1136: _VALUE_COUNT,
        1153: _TOO_LARGE,
        **dict.fromkeys((1064, 1149), _SYNTAX),
        **dict.fromkeys((1051, 1054, 1146), _UNKNOWN_NAME),
        **dict.fromkeys((1008, 1091, 1109, 1176, 1193, 1305), _UNKNOWN),
        **dict.fromkeys((1021, 1114), _DISK_FULL),
        **dict.fromkeys((1037, 1038, 1041), _NO_MEMORY),
        **dict.fromkeys((1142, 1143, 1227, 1370), _FORBIDDEN),
        1836: _READ_ONLY,
    }
    absent = (1146, 1054)
    #: codes that have a meaning only with these words in the text: 1290 names any server option
    worded: ClassVar = {
        1290: ("read-only", _READ_ONLY),
        1030: ("error 28", _DISK_FULL),  # ENOSPC
        1047: ("WSREP", _at_login("is a node of a cluster that is not ready yet", retryable=True)),
        9001: ("hostgroup", _NO_BACKEND),  # ProxySQL
    }
    #: the column, at the end of the text: values stand in front of it
    unfit_column = _lazy(r" for column (?:'([^']*)'|((?:`[^`]*`\.?)+)) at row \d+\Z")
    unread = _lazy(r" near '(.*)' at line (\d+)\Z", re.DOTALL)
    quoted_names = _lazy(r"(?<!\w)'([^']*)'|`([^`]*)`|(?:FUNCTION|PROCEDURE) (\S+) does not exist")
    converters: ClassVar = {
        type(None): None,
        bool: None,
        int: None,
        float: _finite,
        Decimal: _finite,
        str: lambda v: _check_value(v, "a parameter"),
        bytes: None,
        datetime: lambda v: _aware(v).replace(tzinfo=None).isoformat(" "),
        date: None,
        day_time: lambda v: _local_time(v).isoformat(),
        timedelta: lambda v: _mysql_time(v),
        uuid.UUID: str,
        dict: lambda v: _document("a document", v).text,
        _Document: lambda v: v.text,
    }
    readers: ClassVar = {
        bool: bool,
        uuid.UUID: uuid.UUID,
        dict: _read_document,
        list: _read_document,
    }
    quote = "`"
    # https://dev.mysql.com/doc/refman/8.4/en/data-types.html; CHAR(36) is how this library keeps ids
    column_types: ClassVar = {
        "tinyint(1)": _ColumnType("flag"),
        "char(36)": _ColumnType("id"),
        "uuid": _ColumnType("id"),
        **dict.fromkeys(("char", "enum", "set"), _ColumnType("text", fixed=True)),
        "varchar": _ColumnType("text"),
        "tinytext": _ColumnType("text", octets=(1 << 8) - 1),
        "text": _ColumnType("text", octets=(1 << 16) - 1),
        "mediumtext": _ColumnType("text", octets=(1 << 24) - 1),
        "longtext": _ColumnType("long text"),
        "json": _ColumnType("document"),
        "binary": _ColumnType("bytes", fixed=True),
        "varbinary": _ColumnType("bytes"),
        "tinyblob": _ColumnType("bytes", size=(1 << 8) - 1),
        "blob": _ColumnType("bytes", size=(1 << 16) - 1),
        "mediumblob": _ColumnType("bytes", size=(1 << 24) - 1),
        "longblob": _ColumnType("bytes"),
        "bit": _ColumnType("bits"),
        "year": _ColumnType("year"),
        **dict.fromkeys(
            ("float", "double", "float unsigned", "double unsigned"), _ColumnType("float")
        ),
        **dict.fromkeys(("decimal", "decimal unsigned"), _ColumnType("decimal")),
        "date": _ColumnType("date"),
        **dict.fromkeys(("datetime", "timestamp"), _ColumnType("moment", scale=0)),
        # at most 838:59:59
        "time": _ColumnType("time or duration", size=839 * 3600, scale=0),
        **{
            name + sign: _ColumnType("integer", bits, unsigned=bool(sign))
            for name, bits in (
                ("tinyint", 8), ("smallint", 16), ("mediumint", 24), ("int", 32), ("bigint", 64),
            )
            for sign in ("", " unsigned")
        },
    }  # fmt: skip
    #: by flavour: the columns of a table that are JSON, where the catalogue calls them LONGTEXT
    json_columns: ClassVar = {
        "MariaDB": "SELECT constraint_name FROM information_schema.check_constraints "
        "WHERE constraint_schema = COALESCE(%s, DATABASE()) AND table_name = %s "
        "AND check_clause LIKE 'json_valid(%%'"
    }
    no_limit = " LIMIT 18446744073709551615"  # https://dev.mysql.com/doc/refman/8.4/en/select.html
    types: ClassVar = {"moment": "DATETIME(6)", "text": "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"}
    current_schema = "database()"
    try_lock = "SELECT GET_LOCK(%s, 0)"
    unlock = "SELECT RELEASE_LOCK(%s)"
    lock_holder = "SELECT IS_USED_LOCK(%s)"
    table_columns = (
        "SELECT column_name, is_nullable = 'YES', "
        "is_nullable = 'YES' OR column_default IS NOT NULL OR extra <> '', "
        "extra REGEXP '(VIRTUAL|STORED|PERSISTENT) GENERATED', data_type "
        "FROM information_schema.columns "
        "WHERE table_schema = COALESCE(%s, DATABASE()) AND table_name = %s ORDER BY ordinal_position"
    )
    table_key = (
        "SELECT column_name FROM information_schema.statistics WHERE index_name = 'PRIMARY' "
        "AND table_schema = COALESCE(%s, DATABASE()) AND table_name = %s ORDER BY seq_in_index"
    )
    table_transactional = (
        "SELECT count(*) FROM information_schema.tables t JOIN information_schema.engines e "
        "ON e.engine = t.engine WHERE e.transactions = 'YES' "
        "AND t.table_schema = COALESCE(%s, DATABASE()) AND t.table_name = %s"
    )
    row_comparison = False  # it reads the whole index
    history_session = "SET lock_wait_timeout=10, wait_timeout=31536000"
    migration_session = "SET foreign_key_checks=1, unique_checks=1"
    plain_texts = _lazy(r"""(?:'[^'\\]*'[^'"`#/\-]*){1,2000}""")
    code_end = _lazy(r"""['"`]|#|--(?![^\s\0-\x1f])|/\*(?:M?!\d*)?""")
    history_name = _lazy(
        r'(?<![\w$`"])schema_migrations(?![\w$`"])|(?<!`)`schema_migrations`(?!`)'
        r'|(?<!")"schema_migrations"(?!")',
        re.IGNORECASE,
    )
    session_statement = _lazy(
        r"SET\s+(?!(?:GLOBAL|PERSIST|PERSIST_ONLY|PASSWORD|DEFAULT)\b|@@(?:global|persist))|"
        r"(?:USE|LOCK\s+TABLES?|UNLOCK\s+TABLES?)\b",
        re.IGNORECASE,
    )
    # What stands behind a ; is a block without a procedure: MariaDB has those.
    lasting = _lazy(
        r"\A\s*(?:SET|USE|LOCK|UNLOCK|CALL|EXECUTE|PREPARE|HANDLER|FLUSH)\b|;\s*\S"
        r"|(?<!@)@(?!@)",
        re.IGNORECASE,
    )
    lasting_signs = (";", "@")
    chains = _lazy(
        r"(?:START\s+TRANSACTION|BEGIN|COMMIT|ROLLBACK(?!\s+(?:WORK\s+)?TO\b))\b", re.IGNORECASE
    )
    refused_statements = (
        (
            "XA",
            _lazy(r"XA\b", re.IGNORECASE),
            "a transaction of XA outlives its connection: begin one with START TRANSACTION",
        ),
    )
    warnings = "SHOW WARNINGS"
    incomplete_rollback = 1196  # a table of an engine without transactions
    dump_without = "--ignore-table=DATABASE.schema_migrations"
    #: the table that a statement writes to
    target = _lazy(
        r"(?:INSERT|REPLACE|UPDATE)"  # comments that can be read in one way only: else it never ends
        r"(?:\s|/\*[^*]*\*+(?:[^/*][^*]*\*+)*/|(?:LOW_PRIORITY|HIGH_PRIORITY|DELAYED|INTO)\b)+"
        r"(?:`[^`]*`\s*\.\s*|\w+\s*\.\s*)?`?((?<=`)[^`]+|\w+)",
        re.IGNORECASE | re.DOTALL,
    )
    #: statements whose rows end no transaction
    reads = _lazy(r"[\s(]*(?:SELECT|SHOW|WITH|EXPLAIN|DESC|DESCRIBE|VALUES|TABLE)\b", re.IGNORECASE)
    session = (  # messages in English, because names of rules are taken from them
        "SET autocommit=1, time_zone='+00:00', lc_messages='en_US', innodb_lock_wait_timeout={lock_seconds}, "
        "sql_mode='STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'"
    )
    isolation = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"

    def __init__(self, config: DatabaseConfig) -> None:
        super().__init__(config)
        self._tls = self._tls_options()
        self._packet = 0
        self._connection = _stoppable(self.driver.connections.Connection)
        self._streaming = importlib.import_module("pymysql.cursors").SSCursor
        self._escape = importlib.import_module("pymysql.converters").escape_string
        types = self.driver.constants.FIELD_TYPE
        conversions = {**self.driver.converters.conversions}
        conversions.update({types.DATETIME: _mysql_datetime, types.TIMESTAMP: _mysql_datetime})
        conversions[types.JSON] = json.loads  # MariaDB's JSON is a LONGTEXT, also to its clients
        self._conversions = conversions
        self.writers = {
            str: self._quoted,
            int: lambda column: list(map(str, column)),
            type(None): lambda column: ["NULL"] * len(column),
            bool: lambda column: ["1" if value else "0" for value in column],
            float: lambda column: [repr(_finite(value)) for value in column],
            bytes: lambda column: [f"x'{value.hex()}'" for value in column],
            **dict.fromkeys(
                (datetime, uuid.UUID, date, Decimal, day_time, timedelta), self._as_text
            ),
            _Document: lambda column: self._quoted([value.text for value in column]),
        }

    def _quoted(self, column: Sequence[str]) -> Sequence[str]:
        return [f"'{text}'" for text in _written(column, _MYSQL_SPECIAL, self._escape)]

    def _as_text(self, column: Sequence[Any]) -> Sequence[str]:
        return [f"'{self.convert_one(value)}'" for value in column]

    def _tls_options(self) -> dict[str, Any]:
        """PyMySQL's arguments for libpq's words (https://www.postgresql.org/docs/current/libpq-ssl.html)."""
        options = self.url.options
        mode = options.get("sslmode", "prefer")
        if mode == "disable":
            return {"ssl_disabled": True}
        if mode == "prefer":
            return {}
        return {"ssl": self.tls_context or _tls_context(options, mode)}

    def log_in(self, seconds: float) -> Any:
        url, driver = self.url, self.driver
        tls, prefers = self._tls, url.options.get("sslmode", "prefer") == "prefer"
        if prefers:
            self._tls = {}
        try:
            raw = self._connection(
                host=url.host,
                port=url.port or self.port,
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
            # PyMySQL before 1.2 logs in all the same, which Oracle MySQL calls a bad handshake.
            if "ssl" in tls and exc.args[0] == 1043:
                raise driver.err.OperationalError(2026, "") from None
            raise
        except OSError as exc:  # of a socket in the file system
            raise driver.err.OperationalError(2003, "") from exc
        raw.peer = raw._sock.getpeername()
        encrypted = hasattr(raw._sock, "getpeercert")
        if prefers:  # what the server can do is asked once
            self._tls = {"ssl": raw.ctx} if encrypted else {"ssl_disabled": True}
        if "ssl" in tls and not encrypted:  # PyMySQL before 1.2 goes on without
            raw._force_close()
            raise driver.err.OperationalError(2026, "")
        return raw

    @property
    def address(self) -> str:
        return self.url.host if self.url.host.startswith("/") else super().address

    def connect(self, seconds: float, now: float) -> _Session:
        raw = self.log_in(seconds)
        session = _Session(raw, raw._sock.fileno(), now, self.config.max_lifetime)
        try:
            # Whole seconds, and below query_timeout where that leaves one: at the same moment either error may win.
            lock_seconds = max(1, math.ceil(self.config.query_timeout) - 1)
            with raw.cursor() as cursor:
                cursor.execute(self.session.format(lock_seconds=lock_seconds))
                cursor.execute(self.isolation)
            self.limit(session, True)
        except BaseException:
            self.disconnect(session)
            raise
        return session

    def flavour(self, session: _Session) -> str:
        return "MariaDB" if "MariaDB" in session.raw.get_server_info() else "MySQL"

    def limit(self, session: _Session, limited: bool) -> None:
        seconds = self.config.query_timeout if limited else 0
        limit, covers_all = self.limits[self.flavour(session)]
        limit = limit.format(seconds=seconds, milliseconds=_whole_milliseconds(seconds))
        reader = (
            60 if limited else math.ceil(self.config.idle_timeout)
        )  # seconds that one may pause in a stream
        with session.raw.cursor() as cursor:
            cursor.execute(f"SET {limit}, net_write_timeout={reader}")
        session.raw.await_answer = self._await_answer if limited and not covers_all else None
        session.raw.stopped = None
        self.expect(session, limited)

    def be_patient(self, session: _Session, seconds: float) -> None:
        session.raw._read_timeout = session.raw._write_timeout = seconds

    def execute(self, session: _Session, cursor: Any, sql: Any, params: Any = None) -> None:
        cursor.execute(self.bound(cursor, sql, params))
        if (
            session.raw.stopped
        ):  # too late: what the server was told must not hit the next statement
            with contextlib.suppress(self.driver.Error):
                session.raw.query("DO 0")
        if cursor.description is not None and not self.reads.match(sql):
            session.raw.query(
                "DO 0"
            )  # PyMySQL takes no status from rows; reads also what is left of a CALL's answers

    def survives(self, session: _Session) -> bool:
        session.raw.query("DO 0")  # an error carries no status
        return self.in_transaction(session)

    def _await_answer(self, raw: Any) -> None:
        """Wait for an answer, or end the statement: then the answer is that it was interrupted."""
        seconds = min(self.config.query_timeout + self.kill_after, _LONGEST / 1000)
        with _one_selector() as answered:
            answered.register(raw._sock, selectors.EVENT_READ)
            if answered.select(seconds):
                return
        raw.stopped = self._kill("QUERY", raw)
        # The server first rolls back what the statement has done. One that takes no KILL will not
        # answer either.
        raw._read_timeout = self.grace if raw.stopped else 0.001

    def timed_out(self, session: _Session) -> bool:
        """Servers go on with a statement whose client has gone."""
        raw = session.raw
        if session.limited and raw.await_answer is None:  # the server has stopped it by itself
            return False
        if raw.stopped is None:
            raw.stopped = self._kill("CONNECTION", raw)
        return session.limited and bool(raw.stopped)

    def _kill(self, kind: str, raw: Any) -> bool:
        """Whether the server could be told to end a connection's statement, or the connection."""
        control = None
        try:
            control = self.log_in(min(self.kill_patience, self.config.connect_timeout))
            # Where a name leads to several servers, the number may be another client's on this one.
            if control.peer != raw.peer:
                raise OSError
            control.query(f"KILL {kind} {raw.thread_id():d}")
        except (self.driver.Error, OSError) as exc:
            logger.warning(
                "mysql: a statement that timed out may still run (%s)", type(exc).__name__
            )
            return False
        except BaseException as exc:  # a signal handler's; the policy is not always around this
            import traceback

            traceback.clear_frames(exc.__traceback__)
            raise
        finally:
            if control is not None:
                control._force_close()
        return True

    def place(self, table: str) -> list[Any]:
        schema, _, name = table.rpartition(".")
        return [schema or None, name]

    def key_value(self, name: str, column: _ColumnType) -> str:
        # An ENUM is ordered by its numbers, but a text is compared with its text.
        return f"CAST({self.name(name)} AS UNSIGNED)" if column.choices else self.name(name)

    def read_exactly(self, name: str, column: _ColumnType) -> str:
        # Servers write a FLOAT with six digits; an expression with it is a DOUBLE.
        return f"({self.name(name)} + 0e0)" if column.kind == "float" else self.name(name)

    def reading(self, column: _ColumnType, word: str) -> Callable[[Any], Any] | None:
        if column.kind == "bits":
            return lambda value: int.from_bytes(value, "big")
        # MariaDB's JSON is a LONGTEXT, also to its clients.
        return _read_json if column.kind == "document" and word == "longtext" else None

    def lock_params(self, schema: str) -> Sequence[str]:
        """A lock belongs to the whole server, and its name has at most 64 characters."""
        import hashlib

        return ["infra " + hashlib.sha1(schema.encode(), usedforsecurity=False).hexdigest()]

    def skip_text(
        self, sql: str, found: re.Match[str], escapes: Sequence[bool | None]
    ) -> tuple[str, int]:
        opened, at = found[0], found.end()
        if opened == "`":
            end = _after(sql, "`", at)
            return sql[found.start() : end], end
        if opened in ("'", '"'):
            escaped = escapes["'\"".index(opened)]
            end = _after_escaped(sql, opened, at) if escaped else _after(sql, opened, at)
            # ANSI_QUOTES: then it is a name
            return "''" if opened == "'" or escaped else sql[found.start() : end], end
        if "!" in opened:  # the server runs what is in it
            return " ", at
        return " ", _after(sql, "*/" if opened == "/*" else "\n", at)

    def is_autocommit(self, session: _Session) -> bool:
        return bool(session.raw.server_status & 2)

    def is_locking(self, session: _Session, absent: str) -> bool:
        try:
            session.raw.query(f"SELECT 1 FROM {absent}")
        except self.driver.Error as exc:  # 1100: the table is not among the locked ones
            return bool(exc.args[:1] == (1100,))
        return False

    def is_open(self, session: _Session) -> bool:
        return bool(session.raw.open)

    def is_idle(self, session: _Session) -> bool:
        raw = session.raw  # status bits: 1 in a transaction, 2 autocommit, 8 more results to come
        if raw._sock is None or raw.server_status & 11 != 2:
            return False
        result = raw._result  # a CALL's further answers would be the next borrower's
        return result is None or not (result.unbuffered_active or result.has_next)

    def in_transaction(self, session: _Session) -> bool:
        return bool(session.raw.server_status & 1)

    def close(self, session: _Session) -> None:
        try:
            self.let_go(session)
        finally:
            session.raw._force_close()  # no goodbye: that could block

    def let_go(self, session: _Session) -> int:
        raw = session.raw
        if raw._result is not None:  # otherwise its destructor would read the rest of a stream
            raw._result.unbuffered_active = False
        return raw._sock.fileno() if raw._sock is not None else -1

    def look_up(self, exc: BaseException) -> tuple[Any, _Meaning]:
        code = exc.args[0] if exc.args and isinstance(exc.args[0], int) else None
        if code is None:
            usual = isinstance(exc, (self.driver.err.ProgrammingError, self.driver.err.DataError))
            return None, _REFUSED if usual else _LOST
        words, meaning = self.worded.get(code, ("", None))
        if meaning is not None and words in str(exc.args[-1]):
            return code, meaning
        return code, self.errors.get(code, _REFUSED)

    def whereabouts(self, exc: Any, sent: _Sent) -> str:
        text = str(exc.args[-1] if exc.args else "")
        if found := self.unfit_column.search(text):
            column = found[1] or found[2].strip("`").rpartition("`")[2]
            return f'column "{column}"'
        if found := self.unread.search(text):
            return self._unread(sent.sql, found[1], int(found[2]))
        names = ["".join(each) for each in self.quoted_names.findall(text)]
        if exc.args[0] == 1136 and (target := self._target(sent.sql)):  # it names nothing
            names = [target]
        return self.named(sent, names)

    def _target(self, sql: str) -> str | None:
        """The table that a statement writes to."""
        found = self.target.match(sql, _first_word(sql, self.engine))
        return found[1] if found else None

    def _unread(self, sql: str, rest: str, line: int) -> str:
        """Return where the server stopped. ``rest``: 80 characters from there, values included."""
        code, start = self.masked(sql), 0
        for _ in range(line - 1):
            start = sql.find("\n", start) + 1
        word = _NAME_PATH.match(rest)
        end = (sql + "\n").find("\n", start)
        shape = rf"(?<![\w$']){re.escape(word[0])}(?![\w$'])" if word else "(?!)"
        found = re.compile(shape).search(code, start, end)
        return f"{_in_quotes(found[0])}, {_place(sql, found.start())}" if found else f"line {line}"

    def login_meaning(self, exc: BaseException) -> tuple[Any, _Meaning]:
        code, meaning = super().login_meaning(exc)
        if code == 1045 and self.url.options.get("sslmode") == "disable":  # REQUIRE SSL has no own
            words = (
                f"{meaning.words}, or whether the user has to come with TLS: sslmode=disable is set"
            )
            meaning = meaning._replace(words=words)
        return code, meaning

    def constraint(self, exc: Any, code: Any, kind: str, sql: str) -> str | None:
        text = str(exc.args[1])
        table = self._target(sql)
        if kind == "not_null":
            column = re.search("'([^']*)'", text)
            return f"{table}_{column[1]}_not_null" if column and table else None
        if kind == "unique":  # a value may hold "for key": the last one counts
            _, marked, name = text.rpartition("for key '")
            if not marked:
                return None  # never the text itself: it quotes the row
            name = name.rstrip("'")
            if name == "PRIMARY" or name.endswith(".PRIMARY"):
                table = name.rpartition(".")[0] or table
                return f"{table}_pkey" if table else None
            return name.rpartition(".")[2]
        found = re.search("CONSTRAINT `([^`]*)`", text) or re.search(
            "constraint '([^']*)'", text, re.IGNORECASE
        )
        return found[1].rpartition(".")[2] if found else None

    def read_columns(
        self, session: _Session, table: str, names: Sequence[str]
    ) -> Sequence[_ColumnType | None]:
        """Names of columns have no case."""
        wanted = [name.lower() for name in names]
        with session.raw.cursor() as cursor:
            cursor.execute(f"SHOW FULL COLUMNS FROM {self.name(table)}")
            found = {
                name.lower(): self.catalogued(text, collation or "")
                for name, text, collation, *_ in cursor.fetchall()
                if name.lower() in wanted
            }
            json_columns = self.json_columns.get(self.flavour(session))
            if json_columns and any(each.kind == "long text" for each in found.values()):
                schema, _, plain = table.rpartition(".")
                cursor.execute(json_columns, (schema or None, plain))
                for (name,) in cursor.fetchall():
                    if name.lower() in found:
                        found[name.lower()] = self.column_types["json"]
        return [found.get(name) for name in wanted]

    def catalogued(self, text: str, collation: str) -> _ColumnType:
        name = text.partition("(")[0]
        choices: frozenset[str] = frozenset()
        if name in ("enum", "set"):
            found = re.findall(r"'((?:[^']|'')*)'", text)
            choices = frozenset(each.replace("''", "'").lower() for each in found)
            text = name
        column = self.column_type(text.removesuffix(" zerofill"))._replace(choices=choices)
        if column.octets is not None and not collation.startswith("utf8"):
            column = column._replace(size=column.octets, octets=None)
        return column._replace(ascii=collation.startswith("ascii_"))

    def insert_rows(
        self, session: _Session, table: str, names: Sequence[str], columns: Sequence[Sequence[Any]]
    ) -> Iterator[Callable[[], int]]:
        """Statements of many rows, each well below max_allowed_packet."""
        cursor = session.raw.cursor()
        if not self._packet:
            cursor.execute("SELECT @@max_allowed_packet")
            self._packet = cursor.fetchone()[0] - 1024
        head = f"INSERT INTO {self.name(table)} ({', '.join(map(self.name, names))}) VALUES ("
        room = min(self._packet, 1 << 20) - len(head)
        texts = list(map(", ".join, self.texts(columns)))

        def send(texts: Sequence[str], size: int) -> int:
            cursor.execute(head + "), (".join(texts) + ")")
            return size

        start = size = 0
        for at, text in enumerate(texts):
            length = len(text) if text.isascii() else len(text.encode())
            if length + len(head) > self._packet:
                raise self.driver.err.DataError(1153, "")
            if size and size + length > room:
                yield functools.partial(send, texts[start:at], size)
                start, size = at, 0
            size += length + 4
        yield functools.partial(send, texts[start:], size)

    def open_stream(self, session: _Session, statement: Any) -> Any:
        cursor = session.raw.cursor(self._streaming)
        cursor.execute(statement)
        session.raw._result.__class__ = _forgetful(self.driver.connections.MySQLResult)
        return cursor

    def fetch(self, session: _Session, cursor: Any, count: int) -> Sequence[tuple[Any, ...]]:
        return list(cursor.fetchmany(count))

    def server(self, version: str) -> str:
        return f"{'MariaDB' if 'MariaDB' in version else 'MySQL'} {version.partition('-')[0]}"


_COPY_SPECIAL = _lazy(r"[\\\n\r\t]")


def _copy_escaped(text: str) -> str:
    """Return a text as COPY reads it. This is twelve times as fast as ``str.translate``."""
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace("\r", "\\r").replace("\t", "\\t")


def _postgres_interval(value: timedelta) -> str:
    return f"{value.days} days {value.seconds}.{value.microseconds:06d} seconds"


def _postgres_array(value: Any) -> str:
    """A list as an array's text (https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO)."""
    if isinstance(value, list):
        return "{" + ",".join(map(_postgres_array, value)) + "}"
    if value is None:
        return "NULL"
    text = _ARRAY_TEXTS.get(_value_type(type(value)), str)(_plain(value))
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _postgres_range(value: Any) -> str:
    """A range's text (https://www.postgresql.org/docs/current/rangetypes.html#RANGETYPES-IO)."""
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


#: how an array's elements are written, if not by ``str``
_ARRAY_TEXTS: Mapping[type, Callable[[Any], str]] = {
    bytes: lambda value: "\\x" + value.hex(),
    datetime: datetime.isoformat,
    timedelta: _postgres_interval,
    dict: lambda value: _document("a document", value).text,
    object: _postgres_range,
}
#: The text of an empty array, which JSON does not take for an empty object: it knows no form feed.
_EMPTY_ARRAY = "\f{}"


class _PostgresDialect(_Dialect):
    """Postgres over psycopg2."""

    engine = "postgres"
    module = "psycopg2"
    package = "psycopg2-binary>=2.9"
    port = _PORTS["postgres"]
    settings_roll_back = True
    undo = "ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}"
    stream_begins = "DECLARE infra_stream NO SCROLL CURSOR FOR "
    #: the type that a value does not fit; values stand behind it
    unfit_type = _lazy(
        r"(?:value too long for type|invalid input syntax for type|invalid input value for enum) "
        r'([^:]+?)(?:: "|\Z)|(smallint|integer|bigint) out of range\Z',
        re.DOTALL,
    )
    unfit_column = _lazy(r'COPY .*?, line \d+, column ([^:]+?)(?:: "|\Z)', re.DOTALL)
    quoted_names = _lazy(r"""["«„“] ?([^"«»„“”]+?) ?["»“”]|(?<=column )([\w.$]+)""")
    quote = '"'
    types: ClassVar = {"moment": "TIMESTAMPTZ", "text": 'COLLATE "C"'}
    current_schema = "current_schema()"
    try_lock = "SELECT pg_try_advisory_lock(hashtext(%s))::int"
    unlock = "SELECT pg_advisory_unlock(hashtext(%s))"
    lock_holder = (  # https://www.postgresql.org/docs/current/view-pg-locks.html
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 "
        "AND (classid::bigint << 32) | objid::bigint = hashtext(%s)"
    )
    table_columns = (
        "SELECT attname, NOT attnotnull, NOT attnotnull OR atthasdef OR attidentity <> '', "
        "attgenerated <> '', '' FROM pg_attribute WHERE attrelid = to_regclass(%s) "
        "AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    )
    table_key = (
        "SELECT attname FROM pg_index CROSS JOIN unnest(indkey) WITH ORDINALITY AS part (number, place) "
        "JOIN pg_attribute ON attrelid = indrelid AND attnum = number "
        "WHERE indrelid = to_regclass(%s) AND indisprimary ORDER BY place"
    )
    table_transactional = "SELECT 1"
    row_comparison = True
    check_constraints = "SET CONSTRAINTS ALL IMMEDIATE"
    sequence_of = "SELECT pg_get_serial_sequence(%s, %s)"
    history_session = (  # Postgres 13 has no such setting
        "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'"
    )
    plain_texts = _lazy(r"""(?:(?<![eE])'[^'\\]*'[^'"$/\-]*){1,2000}""")
    #: where a text goes on in a further line
    next_part = _lazy(r"[ \t\f\v]*(?:--[^\r\n]*)?[\r\n](?:\s|--[^\r\n]*)*'")
    code_end = _lazy(r"""['"]|--|/\*|(?<![\w$])\$(?:[^\W\d]\w*)?\$""")
    history_name = _lazy(
        r'(?<![\w$"])(?i:schema_migrations)(?![\w$"])|(?<!")"schema_migrations"(?!")'
    )
    session_statement = _lazy(
        r"SET\s+(?!(?:LOCAL|TRANSACTION|CONSTRAINTS)\b)|RESET\b|SELECT\s+(?:pg_catalog\.)?set_config\b",
        re.IGNORECASE,
    )
    lasting = _lazy(
        r"(?:\A|;)\s*(?:SET\s+(?!(?:LOCAL|TRANSACTION|CONSTRAINTS)\b)"
        r"|(?:RESET|DISCARD|DO|EXECUTE|CALL|LISTEN|PREPARE|LOAD)\b)"
        r"|set_config|\bUPDATE\s+(?:ONLY\s+)?[\w.\"]*pg_settings\b|\bWITH\s+HOLD\b",
        re.IGNORECASE,
    )
    lasting_signs = (";", "set_config", "pg_settings")
    chains = _lazy(
        r"(?:COMMIT|END|ABORT|ROLLBACK(?!\s+(?:(?:WORK|TRANSACTION)\s+)?TO\b))\b", re.IGNORECASE
    )
    refused_statements = (
        (
            "PREPARE",
            _lazy(r"PREPARE\s+TRANSACTION\b", re.IGNORECASE),
            "a prepared transaction outlives its connection: end it with COMMIT",
        ),
    )
    dump_without = "--exclude-table=schema_migrations"
    grace = 2.0
    # https://www.postgresql.org/docs/current/errcodes-appendix.html; two characters stand for a whole class
    errors: ClassVar = {
        "23505": _UNIQUE,
        **dict.fromkeys(("23001", "23503"), _FOREIGN_KEY),
        "23514": _CHECK,
        "23502": _NOT_NULL,
        **dict.fromkeys(("40001", "40P01"), _DEADLOCK),
        "55P03": _LOCKED,
        "57014": _TOO_SLOW,
        **dict.fromkeys(("08", "25P03", "57P01", "57P02", "57P05"), _LOST),
        **dict.fromkeys(("53300", "57P03"), _BUSY),
        "28": _LOGIN,
        "3D": _NO_DATABASE,
        **dict.fromkeys(("22001", "22003", "22007", "22008", "22018"), _MISFIT),
        **dict.fromkeys(("22021", "22026", "22P02", "22P03", "22P05"), _MISFIT),
        "22012": _BY_ZERO,
        "2201B": _BAD_PATTERN,
        "22": _BAD_ARGUMENT,
        "42601": _SYNTAX,
        **dict.fromkeys(("42P01", "42703"), _UNKNOWN_NAME),
        **dict.fromkeys(("42704", "3F000"), _UNKNOWN),
        "42883": _NO_OVERLOAD,
        "55P04": _NEW_ENUM_VALUE,
        "53100": _DISK_FULL,
        "53200": _NO_MEMORY,
        "25001": _IN_TRANSACTION,
        "42501": _FORBIDDEN,
        "25006": _READ_ONLY,
    }
    absent = ("42P01", "42703")
    converters: ClassVar = {
        type(None): None,
        bool: None,
        int: None,
        float: None,
        Decimal: lambda v: (
            v if v.is_nan() and not v.is_snan() else _finite(v)
        ),  # psycopg2 makes infinity NaN
        str: lambda v: _check_value(v, "a parameter"),
        bytes: None,
        datetime: lambda v: v if v.utcoffset() is None else _aware(v),  # TIMESTAMP has no zone
        date: None,
        day_time: day_time.isoformat,
        timedelta: None,
        uuid.UUID: str,
        dict: lambda v: _document("a document", v).text,
        _Document: lambda v: v.text,
    }
    # https://www.postgresql.org/docs/current/datatype.html, in the words of format_type
    column_types: ClassVar = {
        **dict.fromkeys(("character varying", "character", "text"), _ColumnType("text")),
        "name": _ColumnType("text", octets=63),
        "boolean": _ColumnType("flag"),
        "smallint": _ColumnType("integer", 16),
        "integer": _ColumnType("integer", 32),
        "bigint": _ColumnType("integer", 64),
        **dict.fromkeys(("real", "double precision"), _ColumnType("float", finite=False)),
        "numeric": _ColumnType("decimal", finite=False),
        "money": _ColumnType("money", scale=2),
        '"char"': _ColumnType("text", octets=1),
        "bytea": _ColumnType("bytes"),
        "timestamp with time zone": _ColumnType("moment"),
        "timestamp without time zone": _ColumnType("local moment"),
        "date": _ColumnType("date"),
        "time without time zone": _ColumnType("time"),
        "time with time zone": _ColumnType("zoned time"),
        **dict.fromkeys(
            (
                "interval", "interval second", "interval day to second",
                "interval hour to second", "interval minute to second",
            ),
            _ColumnType("duration"),
        ),
        **{
            f"interval {fields}": _ColumnType("duration", unit=unit)
            for fields, unit in (
                ("minute", timedelta(minutes=1)), ("day to minute", timedelta(minutes=1)),
                ("hour to minute", timedelta(minutes=1)), ("hour", timedelta(hours=1)),
                ("day to hour", timedelta(hours=1)), ("day", timedelta(days=1)),
                # months and years are no durations: nothing but zero is kept
                ("month", timedelta.max), ("year", timedelta.max),
                ("year to month", timedelta.max),
            )
        },
        "uuid": _ColumnType("id"),
        **dict.fromkeys(("json", "jsonb"), _ColumnType("document")),
        **dict.fromkeys(
            ("int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange"),
            _ColumnType("range"),
        ),
    }  # fmt: skip
    #: of a table's columns the type; below domains and arrays, however deep, what they consist of
    catalogue = (
        "WITH RECURSIVE held AS (SELECT attname, atttypid AS type, atttypmod AS size, '' AS ends "
        "FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped "
        "UNION ALL SELECT attname, CASE typtype WHEN 'd' THEN typbasetype ELSE typelem END, "
        "CASE typtype WHEN 'd' THEN typtypmod ELSE size END, "
        "CASE typtype WHEN 'd' THEN ends ELSE '[]' END FROM held JOIN pg_type t ON t.oid = type "
        "WHERE typtype = 'd' OR typelem <> 0 AND typarray = 0) "
        "SELECT attname, format_type(type, size) || ends FROM held JOIN pg_type t ON t.oid = type "
        "WHERE typtype <> 'd' AND (typelem = 0 OR typarray <> 0)"
    )
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
        to_uuid = ext.new_type(
            (2950,), "UUID", lambda text, cursor: None if text is None else uuid.UUID(text)
        )
        to_bytes = ext.new_type(
            (17,), "BYTES", lambda text, cursor: None if text is None else bytes.fromhex(text[2:])
        )
        to_json = ext.new_type(
            (114,), "JSON", lambda text, cursor: None if text is None else json.loads(text)
        )
        self._types = [
            to_uuid, to_bytes, to_json, ext.new_array_type((2951,), "UUID[]", to_uuid),
            ext.new_array_type((1001,), "BYTEA[]", to_bytes),
        ]  # fmt: skip
        self.writers = {
            str: lambda column: _written(column, _COPY_SPECIAL, _copy_escaped),
            bool: lambda column: ["t" if value else "f" for value in column],
            type(None): lambda column: ["\\N"] * len(column),
            bytes: lambda column: ["\\\\x" + value.hex() for value in column],
            datetime: lambda column: list(map(datetime.isoformat, column)),
            timedelta: lambda column: list(map(_postgres_interval, column)),
            list: lambda column: [_copy_escaped(_postgres_array(v)) for v in column],
            a_range: lambda column: [_copy_escaped(_postgres_range(v)) for v in column],
            _Document: lambda column: self.writers[str]([value.text for value in column]),
            **{
                each: lambda column: list(map(str, column))
                for each in (int, float, uuid.UUID, date, Decimal, day_time)
            },
        }

    def convert_list(self, values: Any) -> Any:
        """A list, for an array. One of ids or documents is sent without a type: psycopg2 would make
        it an array of text."""
        if not values:
            return _EMPTY_ARRAY
        converted = [self.convert_one(value) if value != [] else value for value in values]
        return _postgres_array(values) if _holds_untyped(values) else converted

    def connect(self, seconds: float, now: float) -> _Session:
        url, driver = self.url, self.driver
        whole_seconds = max(2, math.ceil(seconds))  # libpq counts in these
        due = SystemClock.monotonic() + whole_seconds - 0.1
        connect = functools.partial(
            driver.connect,
            host=url.host,
            port=url.port or self.port,
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
                raise builtins.TimeoutError from exc  # psycopg2 gives no code for it
            raise
        session = _Session(raw, raw.fileno(), now, self.config.max_lifetime)
        self.be_patient(session, seconds)
        try:
            raw.autocommit = True
            for each in self._types:
                driver.extensions.register_type(each, raw)
            with raw.cursor() as cursor:
                self.execute(session, cursor, self._settings(self.config.query_timeout))
            self.expect(session, True)
        except BaseException:
            self.disconnect(session)
            raise
        return session

    def limit(self, session: _Session, limited: bool) -> None:
        seconds = self.config.query_timeout if limited else 0
        with session.raw.cursor() as cursor:
            self.execute(session, cursor, f"SET statement_timeout = {_timeout(seconds)}")
        self.expect(session, limited)

    def be_patient(self, session: _Session, seconds: float) -> None:
        session.patience = seconds

    def execute(self, session: _Session, cursor: Any, sql: Any, params: Any = None) -> None:
        try:
            return self._watched(session, cursor.execute, sql, params)
        except (
            TypeError,
            ValueError,
            LookupError,
        ) as exc:  # from before it was sent; rows are read by fetch
            kind = type(exc).__name__
        raise _unfit(sql, params, kind)

    def _watched(self, session: _Session, call: Callable[..., Any], *arguments: Any) -> None:
        _watchdog.watch(session)
        try:
            if self.config.interruptible:
                _interrupts.call(session, call, *arguments)
            else:
                call(*arguments)
        except self.driver.Error as exc:
            if session.expired:
                raise builtins.TimeoutError from exc  # what psycopg2 sees is a closed connection, without a code
            raise
        finally:
            _watchdog.unwatch(session)

    def place(self, table: str) -> list[Any]:
        return [self.name(table)]

    def lock_params(self, schema: str) -> Sequence[str]:
        """A lock belongs to the database."""
        return ["infra schema_migrations"]

    def skip_text(
        self, sql: str, found: re.Match[str], escapes: Sequence[bool | None]
    ) -> tuple[str, int]:
        opened, at = found[0], found.end()
        if opened == '"':
            end = _after(sql, '"', at)
            return sql[found.start() : end], end
        if opened == "'":
            before = sql[max(0, found.start() - 2) : found.start()]
            if not re.search(r"(?<![\w$])[eE]\Z", before):
                return "''", _after_escaped(sql, "'", at) if escapes[0] else _after(sql, "'", at)
            end = _after_escaped(sql, "'", at)
            while further := self.next_part.match(sql, end):
                end = _after_escaped(sql, "'", further.end())
            return "''", end
        if opened == "/*":
            return " ", _after_nested(sql, at)
        if opened == "--":  # also at a lone carriage return, unlike MySQL's
            line_end = _LINE_END.search(sql, at)
            return " ", line_end.end() if line_end else len(sql)
        return "''", _after(sql, opened, at)

    def bodies(self, sql: str) -> Sequence[str]:
        if not re.match(r"DO\b", _start_of_code(self, sql), re.IGNORECASE):
            return ()
        body = re.search(r"\$\w*\$(.*)\$\w*\$", sql, re.DOTALL)
        return (body[1],) if body else ()

    def resets(self) -> str:
        return f"RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; {self._settings(0)}"

    def _settings(self, seconds: float) -> str:
        """The session's settings, with that time for a statement; 0: as long as it needs."""
        # The wait for a lock ends before the statement does, so that the two can be told apart.
        lock = max(1, _timeout(self.config.query_timeout) * 9 // 10)
        return self.session.format(milliseconds=_timeout(seconds), lock=lock)

    def is_open(self, session: _Session) -> bool:
        return not session.raw.closed

    def is_idle(self, session: _Session) -> bool:
        raw = session.raw
        if raw.closed or session.interrupted:
            return False
        return raw.autocommit is True and not raw.get_transaction_status()

    def in_transaction(self, session: _Session) -> bool:
        return bool(session.raw.get_transaction_status() == 2)

    def survives(self, session: _Session) -> bool:
        return session.raw.get_transaction_status() in (2, 3)

    def close(self, session: _Session) -> None:
        if not session.raw.closed:
            session.raw.close()

    def let_go(self, session: _Session) -> int:
        return -1 if session.raw.closed else session.raw.fileno()

    def look_up(self, exc: BaseException) -> tuple[Any, _Meaning]:
        code = getattr(exc, "pgcode", None)
        if code is None:
            refusal = _tls_words(str(exc)) if isinstance(exc, self.driver.OperationalError) else ""
            if refusal:  # libpq has words only
                return None, _Meaning(
                    ConnectionError, f"could not be reached: {refusal}", acted=False
                )
            if "asynchronous callback" in str(exc):
                return None, _NO_COPY
            kinds = self.driver.OperationalError, self.driver.InterfaceError
            return None, _LOST if isinstance(exc, kinds) or type(
                exc
            ) is self.driver.DatabaseError else _REFUSED
        return code, self.errors.get(code) or self.errors.get(code[:2]) or _REFUSED

    def own_words(self, exc: Any) -> str:
        return (getattr(exc, "pgerror", None) or super().own_words(exc)).strip()

    def whereabouts(self, exc: Any, sent: _Sent) -> str:
        diag = getattr(exc, "diag", None)
        if diag is None or not sent.sql:
            return ""
        text, found = diag.message_primary or "", []
        column = self.unfit_column.match(diag.context or "")
        if diag.statement_position:
            found.append(self._origin(sent, int(diag.statement_position) - 1 - sent.before))
        elif column and self.named(sent, [column[1]]):
            found.append(f'column "{column[1]}"')
        elif diag.column_name:
            found.append(f'column "{diag.column_name}"')
        else:
            names = ("".join(each) for each in self.quoted_names.findall(text))
            found.append(self.named(sent, names))
        if kind := self.unfit_type.match(text):
            found.append(f"type {kind[1] or kind[2]}")
        return ", ".join(filter(None, found))

    def _origin(self, sent: _Sent, at: int) -> str:
        """Return what stands at this place of the sent text: a parameter, or a place in ``sql``."""
        sql, params, last = sent.sql, sent.params, 0  # ``last``: the end of the last placeholder
        marks = _PLACEHOLDER.finditer(sql) if params is not None and sent.session else ()
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
        name = _NAME_PATH.match(self.masked(sql), at)
        return f"{_in_quotes(name[0])}, {_place(sql, at)}" if name else _place(sql, at)

    def login_meaning(self, exc: BaseException) -> tuple[Any, _Meaning]:
        code, meaning = super().login_meaning(exc)
        if code is None and meaning is _LOST:
            code, meaning = _postgres_login(str(exc))
        if "options" in self.url.options and meaning in (_FOREIGN_WORDS, _NO_ROLE):
            words = f"{meaning.words}; the URL's options may be the cause"
            meaning = meaning._replace(words=words)
        return code, meaning

    def constraint(self, exc: Any, code: Any, kind: str, sql: str) -> str | None:
        found = exc.diag
        name: str | None = found.constraint_name
        return f"{found.table_name}_{found.column_name}_not_null" if kind == "not_null" else name

    def read_columns(
        self, session: _Session, table: str, names: Sequence[str]
    ) -> Sequence[_ColumnType | None]:
        with session.raw.cursor() as cursor:
            self.execute(session, cursor, self.catalogue, [self.name(table)])
            found = {name: self.catalogued(text) for name, text in cursor.fetchall()}
        return [found.get(name) for name in names] if found else []  # there is no such table

    def catalogued(self, text: str) -> _ColumnType:
        if text.endswith("[]"):
            return _ColumnType("array", element=self.column_type(text.removesuffix("[]")))
        return self.column_type(text)

    def insert_rows(
        self, session: _Session, table: str, names: Sequence[str], columns: Sequence[Sequence[Any]]
    ) -> Iterator[Callable[[], int]]:
        """One COPY."""
        command = f"COPY {self.name(table)} ({', '.join(map(self.name, names))}) FROM STDIN"
        cursor = session.raw.cursor()

        def copy() -> int:
            source = _CopySource(self, columns)
            try:
                self._watched(session, cursor.copy_expert, command, source)
            except self.driver.Error:
                if source.failure is None:
                    raise
            if source.failure is not None:
                raise source.failure
            return source.size

        yield copy

    def open_stream(self, session: _Session, statement: Any) -> Any:
        cursor = session.raw.cursor()
        text = statement if isinstance(statement, bytes) else statement.encode()
        self.execute(session, cursor, "BEGIN")
        self.execute(session, cursor, self.stream_begins.encode() + text)
        return cursor

    def fetch(self, session: _Session, cursor: Any, count: int) -> Sequence[tuple[Any, ...]]:
        self.execute(session, cursor, f"FETCH FORWARD {count} FROM infra_stream")
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        if len(rows) < count:
            self.execute(session, cursor, "ROLLBACK")
        return rows

    def server(self, version: str) -> str:
        return " ".join(version.split()[:2])


class _CopySource:
    """The file from which psycopg2 reads the lines of a COPY.

    They are made as they are read. The server works on earlier ones meanwhile, which takes a third
    off a COPY of 100,000 rows (bench/pool.py).
    """

    ROWS = 1000  # of one read

    def __init__(self, dialect: _Dialect, columns: Sequence[Sequence[Any]]) -> None:
        self.size = 0
        self.failure: BaseException | None = None  # psycopg2 would only quote it
        self._dialect = dialect
        self._columns = columns
        self._next = 0

    def read(self, _: int) -> bytes:
        rows = slice(self._next, self._next + self.ROWS)
        self._next = rows.stop
        if rows.start >= len(self._columns[0]):
            return b""
        try:
            texts = self._dialect.texts([column[rows] for column in self._columns])
            data = ("\n".join(map("\t".join, texts)) + "\n").encode()
        except BaseException as failure:
            self.failure = failure
            raise
        self.size += len(data)
        return data


_DIALECTS: dict[str, type[_Dialect]] = {"mysql": _MySqlDialect, "postgres": _PostgresDialect}


class _Lease(_Place[_Session]):
    """What ``ConnectionPool.connection`` returns: a claim that is a context manager."""

    __slots__ = ("_pool", "_session", "_timeout")
    _session: _Session

    def __init__(self, pool: ConnectionPool, timeout: float | None) -> None:
        self.slots, self.signal = [], None
        self._pool = pool
        self._timeout = timeout

    def __enter__(self) -> Any:
        pool = self._pool
        try:
            self._session = session = pool._take(self) or pool._wait(self, self._timeout)
            return session.raw
        except BaseException:
            try:
                self._pool._pool.release(self, broken=True)
            finally:
                self._pool._pool.release(self, broken=True)
            raise

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> None:
        pool, session, sound = self._pool, self._session, False
        try:
            try:
                if kind is None or self._is_refused(kind, error):
                    sound = pool._is_idle(session) or pool._roll_back(session)
            finally:
                pool._give_back(self, session, sound)
        finally:
            if self.slots:  # an interrupt has hit the other
                pool._pool.release(self, broken=True)

    def _is_refused(self, kind: type[BaseException], error: object) -> bool:
        """Whether the exception is the driver's: others may have come in the middle of an answer."""
        dialect = self._pool._dialect
        if isinstance(error, dialect.driver.Error):
            self._session.read_only = dialect.meaning(error)[1].read_only
        return issubclass(kind, dialect.driver.Error)


class _KeptPlace(_Place[_Session]):
    """A claim on a connection that outlives its transactions, because it holds a lock."""

    __slots__ = ()


def _row_count(cursor: Any) -> int:
    return max(0, int(cursor.rowcount))


def _first_row(cursor: Any) -> tuple[Any, ...] | None:
    row: tuple[Any, ...] | None = cursor.fetchone() if cursor.description else None
    return row


#: what drivers raise for a value that Python has no form for
_NO_FORM = (ValueError, OverflowError, RecursionError)


def _formless(kind: str) -> SerializationError:
    return SerializationError(
        f"a value of the result has no form in Python ({kind}): convert it in the statement"
    )


def _all_rows(cursor: Any) -> list[tuple[Any, ...]]:
    return list(cursor.fetchall()) if cursor.description else []


def _converted(
    row: Sequence[Any], readers: Sequence[tuple[int, Callable[[Any], Any]]]
) -> tuple[Any, ...]:
    """The row with the values of some columns read as something else."""
    values = list(row)
    for at, reader in readers:
        if values[at] is not None:
            values[at] = reader(values[at])
    return tuple(values)


class ConnectionPool(Database):
    """MySQL, MariaDB or Postgres by raw SQL, over PyMySQL or psycopg2: tried on MySQL 9.7, MariaDB
    10.11, Postgres 15 and 18.

    At most ``config.max_connections`` connections, opened on use and shared by threads; who has to wait is served in
    order of arrival. A connection is looked at when it is taken from the pool: one that has died, lived for
    ``max_lifetime`` or been idle for ``idle_timeout`` is replaced, one idle for 30 s has to answer first. Idle ones go
    after ``idle_timeout``, as connections are given back, down to ``min_connections``.

    SQL has the placeholders ``%s`` (params: a list or tuple) or ``%(name)s`` (a dict), and ``%%`` for a percent sign
    where params are given. Parameters are None, bool, int, float, Decimal, str, bytes, aware datetimes, dates, times,
    timedeltas, UUIDs, a dict for a JSON document, a tuple for ``IN %s``, and on Postgres a list for an array, naive
    datetimes for TIMESTAMP, and ranges. ValidationError names a parameter that the engine does not take. Rows are
    tuples; datetimes are aware, in UTC, except those of Postgres's TIMESTAMP.

    A call waits at most ``acquire_timeout`` for a connection, and ``query_timeout`` for each statement, which the
    server stops too. What could not be sent is tried again; what was sent is not, reads of repositories excepted.

    After a failover the old server may still be there, and take no writes. A connection that refuses a write for that
    reason is dropped, and the write is sent once more over a new one. If that refuses it too, it is kept, and the
    DatabaseError is raised. In a transaction the error is raised at once, and the connection is dropped at the end;
    it is ``retryable``, so that ``run`` begins again on a new one.
    """

    def __init__(
        self,
        config: DatabaseConfig,
        *,
        clock: Clock | None = None,
        observer: Callable[[Call], None] | None = None,
    ) -> None:
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
        self._monotonic = clock.monotonic
        self._policy = CallPolicy(
            self.engine,
            translate=self._translate,
            repeatable=frozenset({"connection", "begin", "health_check"}),
            deadline=config.acquire_timeout,
            retries=3,
            clock=clock,
            observer=observer,
        )
        self._sessions: weakref.WeakSet[_Session] = weakref.WeakSet()
        self._generation = 0  # a later one after a failover: older connections are replaced
        self._pool: _Pool[_Session] = _Pool(
            "ConnectionPool",
            config.max_connections,
            connect=self._connect,
            disconnect=self._dialect.disconnect,
            is_dead=self._is_dead,
            is_stale=self._is_stale,
            keep=config.min_connections,
        )
        self._take = self._pool.take
        self._is_idle = self._dialect.is_idle
        self._idle_timeout = config.idle_timeout
        self._kept: contextvars.ContextVar[_KeptPlace | None] = contextvars.ContextVar(
            "infra-kept", default=None
        )
        _fork_aware.add(self)

    def _forget_parent(self) -> None:
        self._blocks = _Blocks()
        for session in list(self._sessions):
            self._dialect.disconnect(session)

    def close(self) -> None:
        """Closes idle connections; one in use is closed when it is given back."""
        self._pool.close()

    def _holds(self) -> bool:
        return self._pool.size > 0

    def execute(self, sql: str, params: Any = None) -> int:
        """Runs one statement and returns how many rows it affected (an UPDATE: how many it found).
        What SET, USE and LOCK TABLES change lasts until the end of the transaction's block; outside
        a block it ends with the statement, because the connection is closed. So it is with all that
        the README lists. Temporary tables stay, and what a function sets that a SELECT calls.
        The server rounds and converts values as its columns need it; ``insert_many`` refuses."""
        return self._statement("execute", self._checked(sql), params, _row_count)

    def fetch_one(self, sql: str, params: Any = None) -> tuple[Any, ...] | None:
        """The first row, or None when there is none."""
        return self._statement("fetch_one", self._checked(sql), params, _first_row)

    def fetch_all(self, sql: str, params: Any = None) -> list[tuple[Any, ...]]:
        """All rows, in memory; for many rows see ``stream``."""
        return self._statement("fetch_all", self._checked(sql), params, _all_rows)

    def stream(
        self, sql: str, params: Any = None, batch_size: int = 1000
    ) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, ``batch_size`` of them in memory at a time, over a connection that is taken from the
        pool until the iterator ends or is closed. Not bounded by ``query_timeout``; a server that is silent for
        ``idle_timeout`` is a TimeoutError. DatabaseError inside this thread's transaction, which it would not see."""
        if type(batch_size) is not int or batch_size < 1:
            raise ValidationError("batch_size should be a whole number of at least 1")
        self._outside("stream", "uses a connection of its own, so it cannot see this transaction")
        return self._stream(self._checked(sql), self._parameters("stream", params), batch_size)

    def connection(self, timeout: float | None = None) -> contextlib.AbstractContextManager[Any]:
        """``with pool.connection() as raw:`` lends the driver's own connection, in autocommit, whose exceptions are the
        driver's. It is another one than that of this thread's transaction. What is left uncommitted is rolled back;
        settings changed with SET stay. ``timeout``: seconds to wait for it, instead of ``acquire_timeout``."""
        if timeout is not None and not _is_number(timeout, 0, _YEAR):
            raise ValidationError("timeout should be a number of seconds")
        return _Lease(self, timeout)

    # Lending connections

    def _connect(self, attempt: Attempt) -> _Session:
        self._pool.check_open()
        seconds = min(self.config.connect_timeout, attempt.remaining())
        generation = self._generation
        attempt.note = _Sent()
        session = self._dialect.connect(seconds, self._monotonic())
        session.generation = generation
        self._sessions.add(session)
        return session

    def _is_dead(self, session: _Session) -> bool:
        if session.is_readable(0):  # idle, a server has nothing to say but goodbye
            extra = {"service": self.engine, "operation": "connection", "outcome": "reconnect"}
            logger.warning(
                "%s ended a connection while it was idle: it is replaced", self.engine, extra=extra
            )
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
        dialect = self._dialect
        try:
            dialect.be_patient(session, self.config.connect_timeout)
            with session.raw.cursor() as cursor:
                dialect.execute(session, cursor, "SELECT 1")
                cursor.fetchall()
            dialect.expect(session, True)
        except (dialect.driver.Error, OSError):
            return False
        return True

    def _wait(self, place: _Place[_Session], timeout: float | None) -> _Session:
        until = None if timeout is None else self._monotonic() + timeout
        return self._policy.call(
            "connection", lambda attempt: self._pool.acquire(place, attempt), until=until
        )

    def _roll_back(self, session: _Session) -> bool:
        """Whether what a borrower left open could be ended in order."""
        try:
            self._policy.call(
                "rollback", lambda attempt: self._perform(attempt, session, "ROLLBACK"), retries=0
            )
        except InfrastructureError:
            return False
        return self._is_idle(session)

    def _give_back(self, place: _Place[_Session], session: _Session | None, sound: bool) -> None:
        """Nothing goes back into the pool that is not as it came out."""
        if session is not None:
            session.idle_since = now = self._monotonic()
            if now >= session.retires_at or not session.limited:
                sound = False
            if session.is_new or session.read_only:
                sound = sound and session.is_new
                session.is_new = session.read_only = False
        self._pool.release(place, not sound)

    # Statements

    @staticmethod
    def _checked(sql: str) -> str:
        sql = _plain(sql)
        if not isinstance(sql, str) or not sql or sql.isspace():
            raise ValidationError("sql should be a statement")
        return _check_value(sql, "sql")

    def _parameters(self, operation: str, params: Any) -> Any:
        try:
            return self._dialect.convert(params)
        except InfrastructureError as error:
            error.service, error.operation = self.engine, operation
            raise

    def _perform(
        self,
        attempt: Attempt,
        session: _Session,
        sql: str,
        params: Any = None,
        fetch: Callable[[Any], Any] = _row_count,
    ) -> Any:
        attempt.note = session, sql, params
        attempt.sent = True
        if self._dialect.may_last(sql):
            session.retires_at = 0.0  # its settings are not the next borrower's
        cursor = session.raw.cursor()
        try:
            self._dialect.execute(session, cursor, sql, params)
            return fetch(cursor)
        except self._dialect.driver.Error as exc:
            self._note_refusal(exc, attempt, session)
            raise
        except InfrastructureError:
            raise
        except _NO_FORM as exc:
            kind = type(exc).__name__
        raise _formless(kind)  # outside: the context may quote it, a date or half a document

    def _note_refusal(self, exc: Exception, attempt: Attempt, session: _Session) -> None:
        """If the session takes no writes, note it, and whether a new one could help."""
        if self._dialect.meaning(exc)[1].read_only:
            session.read_only = True
            attempt.final = session.is_new

    def _statement(
        self,
        operation: str,
        sql: str,
        params: Any,
        fetch: Callable[[Any], T],
        *,
        repeatable: bool = False,
    ) -> T:
        params = self._parameters(operation, params)
        block = self._current()
        if block is not None:
            self._check(block)
            if _controls_transaction(sql, self.engine):
                raise DatabaseError(
                    "BEGIN, COMMIT and ROLLBACK are transaction()'s own: begin and end a block instead",
                    service=self.engine,
                    operation=operation,
                )
            result: T = self._within(
                block, operation, lambda a, session: self._perform(a, session, sql, params, fetch)
            )
            return result
        driver_error = self._dialect.driver.Error
        refused = False  # by a connection that takes no writes

        def attempt(current: Attempt) -> T:
            nonlocal refused
            place: _Place[_Session] = _Place()
            session, sound = None, False
            try:
                try:
                    session = self._take(place) or self._pool.acquire(place, current)
                    if refused and not session.is_new:
                        session = self._pool.renew(place, current)
                    try:
                        answer: T = self._perform(current, session, sql, params, fetch)
                    except (driver_error, ValidationError):
                        sound = self._is_idle(session)
                        refused = session.read_only
                        raise
                    if refused:
                        self._leave_behind(session)
                    sound = self._is_idle(session)
                    if not sound:
                        raise DatabaseError(
                            "the statement left a transaction open, and was rolled back: use transaction()"
                        )
                    return answer
                finally:
                    self._give_back(place, session, sound)
            finally:
                if place.slots:
                    self._pool.release(place, broken=True)

        return self._policy.call(operation, attempt, repeatable=repeatable)

    def _leave_behind(self, session: _Session) -> None:
        """Replace the connections that are older than this one: there was a failover."""
        self._generation += 1
        session.generation = self._generation

    def _within(self, block: _Block, operation: str, work: Callable[[Attempt, _Session], T]) -> T:
        """A statement of this thread's transaction. Never repeated: what came before it would be missing."""
        self._check(block)
        session: _Session = block.handle.resource
        try:
            result = self._policy.call(operation, lambda attempt: work(attempt, session), retries=0)
        except ValidationError:
            raise  # nothing was sent
        except InfrastructureError as error:
            if not self._dialect.is_open(session):
                self._doom(block, error, outermost=True)
            elif self._goes_on(session):
                self._doom(block, error, outermost=False)
            elif error.retryable:  # a deadlock: nothing is left of the transaction
                self._doom(block, error, outermost=True)
            else:  # DDL commits before it fails
                self._doom(block, error, outermost=True)
                raise self._ended(operation) from error
            raise
        except (
            BaseException
        ):  # Ctrl-C, for one: nobody knows what the next bytes on this connection belong to
            self._dialect.disconnect(session)
            self._doom(block, ConnectionError("a statement was interrupted"), outermost=True)
            raise
        if not self._dialect.in_transaction(session):
            ended = self._ended(operation)
            self._doom(block, ended, outermost=True)
            raise ended
        return result

    def _ended(self, operation: str) -> DatabaseError:
        return DatabaseError(
            "the statement ended the transaction, and what came before it is committed: DDL and COMMIT do that",
            service=self.engine,
            operation=operation,
        )

    def _goes_on(self, session: _Session) -> bool:
        """Whether the transaction is still there after an error."""
        try:
            return self._dialect.survives(session)
        except (self._dialect.driver.Error, OSError):
            return False

    def _stream(self, sql: str, params: Any, batch_size: int) -> Iterator[tuple[Any, ...]]:
        dialect = self._dialect
        place: _Place[_Session] = _Place()

        def begin(attempt: Attempt) -> Any:
            attempt.note = _Sent(session, sql, params, len(dialect.stream_begins))
            attempt.sent = True
            if dialect.may_last(sql):
                session.retires_at = 0.0
            return dialect.open_stream(session, dialect.bound(session.raw.cursor(), sql, params))

        def following(_: Attempt) -> Sequence[tuple[Any, ...]]:
            try:
                return dialect.fetch(session, cursor, batch_size)
            except InfrastructureError:
                raise
            except _NO_FORM as exc:
                kind = type(exc).__name__
            raise _formless(kind)  # outside: the context may quote it

        sound = False
        try:
            session = self._take(place) or self._wait(place, None)
            self._policy.call("stream", lambda _: dialect.limit(session, False), retries=0)
            cursor = self._policy.call("stream", begin, retries=0)
            rows: Sequence[tuple[Any, ...]] = [()] * batch_size
            while len(rows) == batch_size:
                rows = self._policy.call("stream", following, retries=0)
                yield from rows
            self._policy.call("stream", lambda _: dialect.limit(session, True), retries=0)
            sound = self._is_idle(session)
        finally:
            try:
                self._give_back(place, place.resource, sound)
            finally:
                self._pool.release(place, broken=True)

    def _own_block(self) -> _Block:
        """The transaction which ``insert_many`` has begun."""
        block = self._current()
        if block is None:
            raise DatabaseError("the transaction has ended", service=self.engine)
        return block

    def _column_types(self, table: str, names: Sequence[str]) -> Sequence[_ColumnType]:
        def read(attempt: Attempt, session: _Session) -> Sequence[_ColumnType | None]:
            attempt.note = _Sent(session, f"INSERT INTO {table}", is_ours=True)
            attempt.sent = True
            return self._dialect.read_columns(session, table, names)

        found = self._within(self._own_block(), "insert_many", read)
        absent = [name for name, column in zip(names, found) if column is None]
        if absent or not found:
            raise self._no_such("insert_many", table, *absent[:1])
        return _without_none(found)

    def _no_such(self, operation: str, table: str, *column: str) -> DatabaseError:
        """Return the error for a name that is not in the catalogue, with the server's code."""
        code = self._dialect.absent[len(column)]
        about = f'"{column[0]}" in {table}' if column else f'"{table}"'
        return DatabaseError(
            f"{self.engine} {_UNKNOWN_NAME.words}: {about} (code {code})",
            service=self.engine,
            operation=operation,
            code=code,
        )

    def _insert_rows(
        self, table: str, names: Sequence[str], columns: Sequence[Sequence[Any]]
    ) -> int:
        def insert(attempt: Attempt, session: _Session) -> int:
            statement = f"INSERT INTO {table} ({', '.join(names)})"
            attempt.note = _Sent(session, statement, is_ours=True)
            total = 0
            try:
                for send in self._dialect.insert_rows(session, table, names, columns):
                    attempt.sent = True
                    total += send()
            except self._dialect.driver.Error as exc:
                self._note_refusal(exc, attempt, session)
                raise
            return total

        return self._within(self._own_block(), "insert_many", insert)

    @contextlib.contextmanager
    def _unlimited(self) -> Iterator[None]:
        block = self._own_block()
        session: _Session = block.handle.resource
        dialect, limited = self._dialect, session.limited
        if limited:
            self._within(block, "insert_many", lambda _, s: dialect.limit(s, False))
        rolled_back = False
        try:
            yield
        except BaseException:
            rolled_back = dialect.settings_roll_back
            raise
        finally:
            if limited and rolled_back:
                dialect.expect(session, True)
            elif limited and block.doom is None:
                self._within(block, "insert_many", lambda _, s: dialect.limit(s, True))

    @contextlib.contextmanager
    def _migration_history(self) -> Iterator[_MigrationHistory]:
        """Lend the connection that holds the lock of migrations and writes their history."""
        place: _Place[_Session] = _Place()
        try:
            session = self._take(place) or self._wait(place, None)
            self._policy.call("migrate", lambda _: self._dialect.limit(session, False), retries=0)
            yield _MigrationHistory(self, session)
        finally:
            try:
                self._give_back(place, place.resource, False)  # the lock ends with its connection
            finally:
                self._pool.release(place, broken=True)

    @contextlib.contextmanager
    def _migration_session(self, busy: Sequence[str]) -> Iterator[_MigrationSession]:
        """Open a connection for one migration, beside the pool's, whose places may all be in use.

        It holds the lock ``busy``, because a server goes on with a statement whose runner was killed.
        """
        session = self._policy.call("connection", self._connect)
        lent = _MigrationSession(self, session)
        try:
            self._policy.call("migrate", lambda _: self._dialect.limit(session, False), retries=0)
            lent.execute(self._dialect.migration_session)
            lent.try_lock(busy)
            yield lent
            lent.unlock(busy)
        except InfrastructureError:
            lent.unlock(busy)
            raise
        except BaseException:  # Ctrl-C
            self._dialect.timed_out(session)
            raise
        finally:
            self._dialect.disconnect(session)

    def _health_check(self) -> Health:
        started = time.perf_counter()
        row = self._statement("health_check", "SELECT version()", None, _first_row)
        if row is None:
            raise DatabaseError(
                f"{self.engine} did not say its version",
                service=self.engine,
                operation="health_check",
            )
        return Health(self.engine, self._dialect.server(row[0]), time.perf_counter() - started)

    def _stats(self) -> PoolStats:
        return self._pool.stats()

    # Data moves

    def _rows_of(self, table: str) -> _TableRows:
        return _SqlTable(self, table)

    def _make_table(self, port: Any, statement: Callable[[], str]) -> None:
        try:
            self.fetch_all(f"SELECT 1 FROM {port.table} LIMIT 0")
        except DatabaseError as error:
            if error.code != self._dialect.absent[0]:
                raise
            self.execute(statement())

    @contextlib.contextmanager
    def _locked(self, lock: str, lock_timeout: float) -> Iterator[None]:
        if self.config.max_connections < 2:
            raise ConfigurationError("a data move needs a pool with at least two max_connections")
        names = [self._lock_name(lock)]
        place = _KeptPlace()
        try:
            session = self._take(place) or self._wait(place, None)
            kept = _MigrationSession(self, session)
            self._await_lock(kept, names, lock_timeout)
            token = self._kept.set(place)
            try:
                yield
            finally:
                self._kept.reset(token)
                kept.unlock(names)
        finally:
            try:
                self._give_back(place, place.resource, False)  # the lock ends with its connection
            finally:
                self._pool.release(place, broken=True)

    def _lock_name(self, lock: str) -> str:
        """MySQL's locks belong to the server, and their names have at most 64 characters."""
        import hashlib

        ((schema,),) = self.fetch_all(f"SELECT {self._dialect.current_schema}")
        return hashlib.sha256(f"infra {schema} {lock}".encode()).hexdigest()[:40]

    def _await_lock(
        self, session: _MigrationSession, names: Sequence[str], lock_timeout: float
    ) -> None:
        until = self._monotonic() + lock_timeout
        while not session.try_lock(names):
            if self._monotonic() >= until:
                holder = session.fetch_all(self._dialect.lock_holder, names)
                number = f" (the server's connection {holder[0][0]})" if holder else ""
                raise self._is_held(lock_timeout, number)
            self._clock.sleep(0.1)

    def _check_constraints(self) -> None:
        if self._dialect.check_constraints:
            self._statement("move", self._dialect.check_constraints, None, _row_count)

    # Transactions

    def _begin(self, block: _Block) -> None:
        kept = self._kept.get()
        if kept is not None:
            self._begin_on(block, kept)
        else:
            self._begin_anywhere(block)

    def _begin_on(self, block: _Block, kept: _KeptPlace) -> None:
        session = kept.resource
        block.handle = kept
        if session is None:
            raise ConnectionError("the connection that holds the lock is lost", service=self.engine)
        self._policy.call(
            "begin", lambda attempt: self._perform(attempt, session, "BEGIN"), retries=0
        )

    def _begin_anywhere(self, block: _Block) -> None:
        def attempt(current: Attempt) -> None:
            place: _Place[_Session] = _Place()
            block.handle = place
            try:
                session = self._take(place) or self._pool.acquire(place, current)
                self._perform(current, session, "BEGIN")
            except BaseException:
                self._pool.release(place, broken=True)
                raise

        self._policy.call("begin", attempt)

    def _end(self, block: _Block, command: str) -> None:
        session = block.handle.resource
        if command == "COMMIT" or self._dialect.is_open(session):
            operation = command.lower()
            self._policy.call(
                operation, lambda attempt: self._perform(attempt, session, command), retries=0
            )

    def _savepoint(self, block: _Block, command: str) -> None:
        if command != "ROLLBACK TO SAVEPOINT":
            self._check(block)
        name = f"level_{block.depth}"
        text = f"{command} {name}"
        if command == "ROLLBACK TO SAVEPOINT":
            text = self._dialect.undo.format(name=name)
        self._within(
            block, "savepoint", lambda attempt, session: self._perform(attempt, session, text)
        )

    def _abandon(self, block: _Block) -> None:
        place = block.handle
        session = place.resource if place else None
        if isinstance(place, _KeptPlace):
            if session is not None and not self._is_idle(session):
                self._dialect.disconnect(session)
        elif session is not None:
            if session.read_only and not session.is_new:
                self._generation += 1  # `run` may begin again: not on another old connection
            sound = self._is_idle(session) and not session.read_only
            self._give_back(place, session, sound)

    # Errors

    def _translate(self, exc: Exception, attempt: Attempt) -> InfrastructureError | None:
        dialect = self._dialect
        if isinstance(exc, RuntimeError):
            return next(
                (
                    ConfigurationError(words)
                    for name, words in dialect.missing.items()
                    if name in str(exc)
                ),
                None,
            )
        if not isinstance(exc, (dialect.driver.Error, OSError)):
            return None
        sent = _Sent(*(attempt.note or ()))
        session, at_login = sent.session, attempt.note is not None and sent.session is None
        code, meaning = dialect.login_meaning(exc) if at_login else dialect.meaning(exc)
        if not at_login:
            meaning = _ON_A_SESSION.get(meaning, meaning)
        attempt.sent = attempt.sent and meaning.acted
        if meaning.error is TimeoutError:
            attempt.final = True  # it has had its time
            if code is None and session is not None and attempt.sent:
                meaning = _TOO_SLOW if dialect.timed_out(session) else meaning
        where = f"{self.engine} at {dialect.address}"
        detail = _os_reason(exc, has_sslcert=True) + (f" (code {code})" if code else "")
        details: dict[str, Any] = {"retryable": meaning.retryable, "code": code}
        if meaning.read_only and session is not None:
            details["retryable"] = not attempt.final
        if meaning.kind is not None:
            details["kind"] = meaning.kind
            details["constraint"] = dialect.constraint(exc, code, meaning.kind, sent.sql)
            if details["constraint"]:
                detail = f": {details['constraint']}{detail}"
        elif meaning.error is DatabaseError and (about := self._about(exc, sent)):
            hint = dialect.unread_hint(sent) if meaning is _SYNTAX else ""
            detail = f": {about}{hint}{detail}"
        if self.config.error_detail and (words := dialect.own_words(exc)):
            detail += f"; the server says: {words}"
        return meaning.error(f"{where} {meaning.words}{detail}", **details)

    def _about(self, exc: Exception, sent: _Sent) -> str:
        # To count through the parameters takes the connection, which may be closed by now.
        with contextlib.suppress(self._dialect.driver.Error, ValueError, LookupError):
            return self._dialect.whereabouts(exc, sent)
        return ""


class _MigrationSession:
    """A connection of a runner; statements have ``idle_timeout``."""

    def __init__(self, pool: ConnectionPool, session: _Session) -> None:
        self._pool = pool
        self._session = session
        self.dialect = pool._dialect

    def execute(self, sql: str, params: Any = None) -> int:
        count: int = self._call(sql, params, _row_count)
        return count

    def fetch_all(self, sql: str, params: Any = None) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self._call(sql, params, _all_rows)
        return rows

    def try_lock(self, lock: Sequence[str]) -> bool:
        return self.fetch_all(self.dialect.try_lock, lock) == [(1,)]

    def unlock(self, lock: Sequence[str]) -> None:
        """A server notices the end of a connection a little later: the next runner should not have to wait for that."""
        with contextlib.suppress(InfrastructureError):
            self.fetch_all(self.dialect.unlock, lock)

    def in_transaction(self) -> bool:
        return self._ask(self.dialect.survives)

    def is_autocommit(self) -> bool:
        return self.dialect.is_autocommit(self._session)

    def is_locking(self, absent: str) -> bool:
        return self._ask(lambda session: self.dialect.is_locking(session, absent))

    def roll_back(self) -> bool:
        """Roll back what is open; return whether nothing of it is left."""
        try:
            if not self.in_transaction():
                return False
            self.execute("ROLLBACK")
            # MariaDB still shows the warnings of the statement before.
            warnings = self.fetch_all(self.dialect.warnings)
            return all(self.dialect.incomplete_rollback not in row for row in warnings)
        except InfrastructureError:
            return False

    def _ask(self, question: Callable[[_Session], T]) -> T:
        def ask(attempt: Attempt) -> T:
            attempt.note = _Sent(self._session)
            attempt.sent = True
            return question(self._session)

        return self._pool._policy.call("migrate", ask, retries=0)

    def _call(self, sql: str, params: Any, fetch: Callable[[Any], Any]) -> Any:
        pool, sql, params = (
            self._pool,
            self._pool._checked(sql),
            self._pool._dialect.convert(params),
        )
        perform = pool._perform
        return pool._policy.call(
            "migrate", lambda a: perform(a, self._session, sql, params, fetch), retries=0
        )


class _MigrationHistory(_MigrationSession):
    """The connection that holds the lock and writes the history, untouched by any migration."""

    def __init__(self, pool: ConnectionPool, session: _Session) -> None:
        super().__init__(pool, session)
        dialect = self.dialect
        self.execute(dialect.history_session)
        # Qualified, because a migration may lead elsewhere: USE, or SET search_path as pg_dump writes it.
        ((schema,),) = self.fetch_all(f"SELECT {dialect.current_schema}")
        place = f"{dialect.quote}{schema}{dialect.quote}"
        self.table = f"{place}.schema_migrations"
        self.absent = f"{place}.schema_migrations_absent"
        (name,) = dialect.lock_params(schema)
        self.lock = [name]
        self.busy = [f"{name} busy"]

    def check(self) -> None:
        """Raise ConnectionError if the connection, and so the lock, was lost."""
        self.fetch_all("SELECT 1")


def _behind(dialect: _Dialect, order: Sequence[str], after: Sequence[Any]) -> tuple[str, list[Any]]:
    """Return the condition that a key is greater, and its parameters."""
    if dialect.row_comparison or len(order) == 1:
        marks = ", ".join(["%s"] * len(order))
        return f"({', '.join(order)}) > ({marks})", [*after]
    terms: list[str] = []
    params: list[Any] = []
    for at, column in enumerate(order):
        equal = "".join(f"{earlier} = %s AND " for earlier in order[:at])
        terms.append(f"({equal}{column} > %s)")
        params += after[: at + 1]
    return f"({' OR '.join(terms)})", params


def _parts(rows: Iterable[Any], places: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return the values at these places of each row."""
    if len(places) == 1:
        return [(row[places[0]],) for row in rows]
    return [*map(operator.itemgetter(*places), rows)]


class _SqlTable(_TableRows):
    """A table of a ``ConnectionPool``."""

    MANY = 500  # keys in one statement

    def __init__(self, pool: ConnectionPool, table: str) -> None:
        self._pool = pool
        self._dialect = pool._dialect
        self._table = table
        self._from = f"FROM {self._dialect.name(table)}"
        self._shape: _TableShape | None = None

    def _ask(self, sql: str, params: Any = None) -> list[tuple[Any, ...]]:
        return self._pool._statement("move", sql, params, _all_rows, repeatable=True)

    def shape(self) -> _TableShape:
        if self._shape is None:
            self._shape = self._read_shape()
        return self._shape

    def _read_shape(self) -> _TableShape:
        dialect, place = self._dialect, self._dialect.place(self._table)
        columns = self._ask(dialect.table_columns, place)
        if not columns:
            raise self._pool._no_such("move", self._table)
        names = [row[0] for row in columns]
        with self._pool.transaction():
            types = self._pool._column_types(self._table, names)
        has_transactions = self._ask(
            dialect.table_transactional, place if "%s" in dialect.table_transactional else None
        )
        kinds = dict(zip(names, types))
        return _TableShape(
            kinds,
            tuple(row[0] for row in self._ask(dialect.table_key, place)),
            nullable=frozenset(row[0] for row in columns if row[1]),
            optional=frozenset(row[0] for row in columns if row[2]),
            computed=frozenset(row[0] for row in columns if row[3]),
            readings={
                name: reading
                for name, *_, word in columns
                if (reading := dialect.reading(kinds[name], word)) is not None
            },
            unordered=frozenset(row[0] for row in columns if row[4] == "set"),
            transactional=has_transactions != [(0,)],
        )

    def count(self) -> int:
        ((found,),) = self._ask(f"SELECT count(*) {self._from}")
        return int(found)

    def _read_by(self, names: Sequence[str]) -> list[str]:
        columns = self.shape().columns
        return [self._dialect.read_exactly(name, columns[name]) for name in names]

    def page(
        self, names: Sequence[str], after: Sequence[Any] | None, limit: int
    ) -> tuple[Sequence[tuple[Any, ...]], Sequence[tuple[Any, ...]]]:
        shape = self.shape()
        order = [*map(self._dialect.name, shape.key)]
        places = [self._dialect.key_value(name, shape.columns[name]) for name in shape.key]
        wanted = self._read_by(names)
        wanted += [place for place in places if place not in wanted]
        sql = f"SELECT {', '.join(wanted)} {self._from}"
        params: list[Any] = []
        if after is not None:
            condition, params = _behind(self._dialect, order, after)
            sql += f" WHERE {condition}"
        sql += f" ORDER BY {', '.join(order)} LIMIT {limit}"
        found = self._ask(sql, params)
        return self._read(names, found), _parts(found, [*map(wanted.index, places)])

    def _read(self, names: Sequence[str], rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Return the values of these columns, which the rows begin with."""
        readings = [self.shape().readings.get(name) for name in names]
        if not rows or (not any(readings) and len(rows[0]) == len(names)):
            return rows
        columns = [
            column if read is None else _with_none(column, map(read, _without_none(column)), None)
            for read, column in zip(readings, zip(*rows))
        ]
        return [*zip(*columns)]

    def find(
        self, names: Sequence[str], keys: Sequence[tuple[Any, ...]]
    ) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        found: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        for start in range(0, len(keys), self.MANY):
            found |= self._find(names, keys[start : start + self.MANY])
        return found

    def _find(
        self, names: Sequence[str], keys: Sequence[tuple[Any, ...]]
    ) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        key = self.shape().key
        columns = ", ".join(self._read_by([*key, *names]))
        wanted: Any = tuple(each[0] for each in keys) if len(key) == 1 else tuple(keys)
        place = ", ".join(map(self._dialect.name, key))
        rows = self._ask(f"SELECT {columns} {self._from} WHERE ({place}) IN %s", [wanted])
        width = len(key)
        found = self._read(names, [row[width:] for row in rows])
        by_key = {self._as_stored(row[:width]): values for row, values in zip(rows, found)}
        given = {self._as_stored(each): each for each in keys}
        if by_key.keys() <= given.keys():
            return {given[stored]: row for stored, row in by_key.items()}
        # The collation takes other texts for equal: the server says which row has which key.
        marks = ", ".join(["%s"] * width)
        sql = f"SELECT {columns} {self._from} WHERE ({place}) = ({marks})"
        alone = [(each, row[width:]) for each in keys for row in self._ask(sql, each)]
        return dict(zip([each for each, _ in alone], self._read(names, [row for _, row in alone])))

    def _as_stored(self, key: Sequence[Any]) -> tuple[Any, ...]:
        """Return the key's values in the one form that the columns give them."""
        shape = self.shape()
        return tuple(
            _fitted_column(name, shape.columns[name], [value])[0]
            for name, value in zip(shape.key, key)
        )

    def update(
        self, names: Sequence[str], rows: Sequence[tuple[tuple[Any, ...], Sequence[Any]]]
    ) -> None:
        settings = ", ".join(f"{self._dialect.name(name)} = %s" for name in names)
        place = " AND ".join(f"{self._dialect.name(name)} = %s" for name in self.shape().key)
        sql = f"UPDATE {self._dialect.name(self._table)} SET {settings} WHERE {place}"
        for key, values in rows:
            self._pool._statement("move", sql, [*values, *key], _row_count)

    def pass_ids(self) -> None:
        if not self._dialect.sequence_of:
            return
        name = self._dialect.name(self._table)
        for column in self.shape().optional:
            ((sequence,),) = self._ask(self._dialect.sequence_of, [name, column])
            if sequence is not None:
                quoted = self._dialect.name(column)
                self._ask(
                    f"SELECT setval(%s, max({quoted})) {self._from} "
                    f"HAVING max({quoted}) >= (SELECT last_value FROM {sequence})",
                    [sequence],
                )


def create_pool(
    config: DatabaseConfig,
    *,
    clock: Clock | None = None,
    observer: Callable[[Call], None] | None = None,
) -> ConnectionPool:
    """A pool of connections to the database that ``config.url`` names; its scheme picks the driver. Connects on first
    use."""
    return ConnectionPool(config, clock=clock, observer=observer)


# === schema migrations ============================================================================


#: The library's own migrations, beside this file.
SCHEMA = Path(__file__).with_name("schema.sql")
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


@dataclass(frozen=True, eq=False)
class Migration(_ByValue):
    """A numbered step of the schema. ``source`` is the stem of its file's name; ``checksum`` ignores line endings.

    With ``transaction`` the step and its record are one transaction. MySQL commits each DDL statement by itself, and so
    do steps marked no-transaction: there each statement is recorded before and after.
    """

    source: str
    number: int
    name: str
    statements: tuple[str, ...] = field(repr=False)
    checksum: str = field(repr=False)
    transaction: bool

    def __str__(self) -> str:
        return f"{self.source} {self.number} ({self.name})"


@dataclass(frozen=True, eq=False)
class MigrationStatus(_ByValue):
    """A migration's ``state``: "pending", "applied", "dirty" (``statement`` was begun, and nobody knows how it ended),
    "partial" (the statements before ``statement`` are done), "edited" (applied, and its text has changed since) or
    "unknown" (applied, but not in these files)."""

    source: str
    number: int
    name: str
    state: str
    statement: int = 0
    applied_at: datetime | None = None


def split_statements(sql: str, engine: str) -> list[str]:
    """The statements of a script. Knows quotes, comments and, for Postgres, dollar quotes; ValidationError for one that
    is never closed. Follows what SET says of backslashes: standard_conforming_strings, and NO_BACKSLASH_ESCAPES and
    ANSI_QUOTES in sql_mode; ValidationError where that cannot be known and a backslash stands in quotes. Bodies that
    hold semicolons without quotes are beyond it in stored programs of MySQL."""
    sql, engine = _plain(sql), _plain(engine)
    if not isinstance(sql, str):
        raise ValidationError("sql should be a text")
    return [sql[start:end].strip() for start, end in _script(sql, engine).spans()]


def _checksum(statements: Sequence[str]) -> str:
    """How lines end, and blanks at their ends, do not count: editors change them."""
    import hashlib

    digest = hashlib.sha256()
    for first in range(0, len(statements), 1000):
        if first:
            digest.update(b"\0")
        for piece in _pieces("\0".join(statements[first : first + 1000])):
            if "\r" in piece:
                piece = piece.replace("\r\n", "\n").replace("\r", "\n")
            digest.update(_BLANK_ENDS.sub("\n", piece).encode())
    return digest.hexdigest()


# Only from where the blanks begin: from each of them, a long row would take for ever.
_BLANK_ENDS = _lazy(r"[ \t](?<![ \t]{2})[ \t]*\n")


def _pieces(text: str, size: int = 1 << 20) -> Iterator[str]:
    """The text in pieces of whole lines."""
    at = 0
    while at < len(text):
        end = text.rfind("\n", at, at + size) + 1 or text.find("\n", at) + 1 or len(text)
        yield text[at:end]
        at = end


def read_migrations(path: str | Path, engine: str) -> list[Migration]:
    """The migrations of a file for one engine, in order.

    Below one marker may stand what ``pg_dump --inserts`` writes, and ``mariadb-dump`` or ``mysqldump`` without stored
    programs. Raises ConfigurationError for a file that cannot be read, has SQL in front of the first marker, numbers
    that do not rise, or a line that no server understands: COPY … FROM stdin, DELIMITER, commands of psql.
    """
    path, engine = Path(_check_path("path", path)), _plain(engine)
    if len(path.stem) > 100:
        raise ConfigurationError(
            "the name of a file of migrations is part of their record: at most 100 characters"
        )
    text = _migration_text(path)
    breaks = re.search(r"\r(?!\n)", text) is not None
    how = {"strict": True, "breaks": breaks}
    found: list[Migration] = []
    script = _script(text, engine, **how)
    if _statements(script, path.name, at_most=1):
        raise ConfigurationError(
            f"{path.name}: SQL should stand below a line such as: -- migration 1 users mysql"
        )
    while script.at < len(text):
        number, name, dialect, alone, below = _marker(text, script.at, path.name)
        if dialect == engine and found and number <= found[-1].number:
            raise ConfigurationError(
                f"{path.name}, line {_line(text, script.at)}: the numbers of {engine} migrations should rise"
            )
        script = _script(text, dialect, below, **how)
        statements = tuple(_statements(script, f"{path.name}, migration {number}"))
        if dialect != engine:
            continue
        together = engine == "postgres" and not alone
        if together and any(_controls_transaction(each, engine) for each in statements):
            raise ConfigurationError(
                f"{path.name}, migration {number}: leave out BEGIN, COMMIT and ROLLBACK: it is one transaction "
                "already, unless its marker ends in no-transaction"
            )
        found.append(
            Migration(path.stem, number, name, statements, _checksum(statements), together)
        )
    return found


def _migration_text(path: Path) -> str:
    text, reason = None, ""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # no byte of it is changed
            text = file.read()
    except (OSError, UnicodeError) as exc:
        reason = f"{type(exc).__name__}{_binary_hint(exc)}"
    if text is None:  # outside: the context would hold the file
        raise ConfigurationError(f"{path.name}: the file of migrations cannot be read: {reason}")
    if "\0" in text:
        line = _line(text, text.index("\0"))
        raise ConfigurationError(f"{path.name}, line {line}: a NUL character is no SQL")
    return text


def _binary_hint(exc: OSError | UnicodeError) -> str:
    if not isinstance(exc, UnicodeDecodeError) or not re.search(
        rb"-- (?:MySQL|MariaDB) dump ", exc.object[:1000]
    ):
        return ""
    line = exc.object.count(b"\n", 0, exc.start) + 1
    return f" in line {line}: dump with --hex-blob"


def _statements(script: _Script, where: str, at_most: int | None = None) -> list[str]:
    """The statements up to the next marker. Raises ConfigurationError."""
    try:
        spans = itertools.islice(script.spans(), at_most)
        return [script.text(start, end) for start, end in spans]
    except ValidationError as exc:
        raise ConfigurationError(f"{where}: {exc}") from None


def _marker(text: str, at: int, where: str) -> tuple[int, str, str, bool, int]:
    """Number, name, engine, whether it wants no transaction, and where the next line begins."""
    found = re.compile(r"([^\r\n]*)(\r\n|\r|\n|\Z)").match(text, at)
    line = found[1] if found else ""
    marker = _MARKER.fullmatch(line.rstrip()) if text[at - 1 : at] in ("", "\n", "\r") else None
    if marker is None:
        hint = " (a byte order mark stands in front of it)" if "\ufeff" in line else ""
        raise ConfigurationError(
            f"{where}, line {_line(text, at)}: the marker should be: -- migration NUMBER name mysql|postgres "
            f"[no-transaction], the name in lower case, digits and underscores{hint}"
        )
    number, name, dialect, alone = marker.groups()
    return int(number), name, dialect, bool(alone), found.end() if found else len(text)


def _record_checksum(migration: Migration, state: str, statement: int) -> str:
    """The checksum of a record in that state: what was done has to stand as it was; the rest may be mended.

    "started": the statement is in doubt. "done": it is not. "in 3": statement 3 began a transaction, which is in
    doubt up to the statement. Releases without that state refuse the record, as an edited migration.
    """
    statements = migration.statements
    if state.startswith("in "):
        return _checksum((*statements[: _first_in_doubt(state, statement) - 1], state))
    done = {"applied": len(statements), "done": statement, "started": statement - 1}.get(state, 0)
    return _checksum(statements[:done])


def _first_in_doubt(state: str, statement: int) -> int:
    return int(state[3:]) if state.startswith("in ") else statement


def _in_doubt(state: str, statement: int) -> str:
    first = _first_in_doubt(state, statement)
    if first == statement:
        return f"its statement {statement} was"
    return f"the transaction of its statements {first} to {statement} was"


def _next_statement(
    migration: Migration, recorded: Mapping[tuple[str, int], tuple[Any, ...]]
) -> int:
    """The number of the first statement that is not done yet."""
    record = recorded.get((migration.source, migration.number))
    return record[3] + 1 if record else 1


def _is_record_of(migration: Migration, number: int, record: tuple[Any, ...]) -> bool:
    """Whether a record under another name tells of this migration."""
    name, checksum, state, statement, _ = record
    if not migration.statements or checksum != _record_checksum(migration, state, statement):
        return False
    # A few first statements may be those of another migration by chance.
    return state == "applied" or (number, name) == (migration.number, migration.name)


def _naming_history(dialect: _Dialect, statements: Sequence[str]) -> Sequence[int]:
    """The numbers of the statements that name the table of the history outside texts and comments."""
    named = [step for step, sql in enumerate(statements, 1) if "schema_migrations" in sql.lower()]
    found, script = [], _script("", dialect.engine)
    for step, sql in enumerate(statements[: max(named, default=0)], 1):
        escapes = script.settle_after(sql)
        if "schema_migrations" in sql.lower() and any(
            dialect.history_name.search("".join(dialect.code(each, escapes)))
            for each in (sql, *dialect.bodies(sql))
        ):
            found.append(step)
    return found


class Migrator:
    """Applies the migrations of files (without any: the library's ``schema.sql``), in the order of files and numbers.

    Runners take turns: one applies, the others wait up to ``lock_timeout`` seconds, and find nothing left to do. What
    has been applied is recorded in the table ``schema_migrations``. ``progress`` is called with a line of text for each
    migration; statements are not bounded by ``query_timeout``.

    Each migration runs on a new connection, so no setting of one reaches the next. That connection is opened beside
    the pool's, one of which holds the lock and writes the history. A transaction or a LOCK TABLES that a migration
    leaves open is refused.

    Raises ConfigurationError for a bad file, TimeoutError when another runner holds the lock, DatabaseError when a
    statement fails, or when the record does not fit the files: the message says what to do.
    """

    def __init__(
        self,
        pool: ConnectionPool,
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
        paths = (*map(_plain, paths),)
        self.migrations = [
            each for path in paths or (SCHEMA,) for each in read_migrations(path, pool.engine)
        ]
        keys = [(each.source, each.number) for each in self.migrations]
        if len(set(keys)) != len(keys):
            raise ConfigurationError(
                "two files of migrations have the same name: it is part of their record"
            )
        if not _is_number(lock_timeout, 0, _YEAR):
            raise ConfigurationError(
                "lock_timeout should be a number of seconds, at least 0, at most a year"
            )
        import shlex

        self._paths = {Path(path).stem: shlex.quote(str(path)) for path in paths or (SCHEMA,)}
        self._command = " ".join(["infra migrate", *(shlex.quote(str(path)) for path in paths)])
        self._lock_timeout = lock_timeout
        self._clock = _clock(clock)
        _check_function("progress", progress, "a line", ConfigurationError)
        self._progress = progress

    def status(self) -> list[MigrationStatus]:
        """Every migration of the files, in order, then those that are recorded without being there. Changes nothing."""
        return self._compare(self._look())

    def _look(self) -> dict[tuple[str, int], tuple[Any, ...]]:
        there = self.pool.fetch_one(
            "SELECT 1 FROM information_schema.tables WHERE table_name = 'schema_migrations' AND table_schema = "
            + self.pool._dialect.current_schema
        )
        return self._recorded(self.pool.fetch_all, "schema_migrations") if there else {}

    def apply(self, dry_run: bool = False) -> list[Migration]:
        """Applies what is pending and returns it; ``dry_run`` returns it without changing anything."""
        if dry_run:
            return self._pending(self._look())
        return self._locked(self._apply)

    def repair(self, number: int, *, done: bool) -> None:
        """Settles the dirty migration of that number: its statement in doubt counts as ``done``, or will be run again
        by the next ``apply``. NotFoundError if there is none."""
        if type(number) is not int or type(done) is not bool:
            raise ValidationError("number should be a whole number, done True or False")

        def settle(history: _MigrationHistory) -> None:
            recorded = self._recorded(history.fetch_all, history.table)
            found = [each for each in self._compare(recorded) if each.number == number]
            dirty = [each for each in found if each.state == "dirty"]
            if not dirty:
                if not done and any(each.state == "partial" for each in found):
                    return  # the next apply runs the statement anyway
                raise NotFoundError(
                    f"no migration {number} is dirty: see {self._command} --status",
                    resource="migration",
                )
            each = dirty[0]
            migration = next(
                m for m in self.migrations if (m.source, m.number) == (each.source, each.number)
            )
            state = recorded[each.source, each.number][2]
            step = each.statement if done else _first_in_doubt(state, each.statement) - 1
            state = "applied" if step == len(migration.statements) else "done"
            self._record(history, history.table, migration, step, state)

        self._locked(settle)

    def take_over(self, stem: str) -> int:
        """Gives the records of a file that was renamed to the one file of this Migrator; returns how many.

        Args:
            stem: the former name of the file, without its ending.

        Raises:
            ConfigurationError: there are several files.
            NotFoundError: nothing is recorded under that name.
            DatabaseError: the records do not fit the file, or the file has records of its own.
        """
        if len(self._paths) != 1:
            raise ConfigurationError("give the one file that was renamed, and no other")
        stem = _check_text("stem", stem)
        (source,) = self._paths

        def move(history: _MigrationHistory) -> int:
            recorded = self._recorded(history.fetch_all, history.table)
            records = {
                (source, number): record
                for (old, number), record in recorded.items()
                if old == stem
            }
            states = {
                each.number: each.state
                for each in self._compare(records)
                if each.state not in ("pending", "unknown")
            }
            if not records or stem == source:
                raise NotFoundError(
                    f"nothing is recorded under the former name {stem!r} (the file's name without "
                    f"its ending): see {self._command} --status",
                    resource="migration",
                )
            if not states or "edited" in states.values():
                self._refuse(
                    f"the records of {stem} do not fit {source}: it is another file, or was edited"
                )
            if any((source, number) in recorded for number in states):
                self._refuse(f"{source} has records of its own beside those of {stem}")
            table = history.table.replace("%", "%%")
            sql = f"UPDATE {table} SET source = %s WHERE source = %s AND number IN %s"
            return history.execute(sql, (source, stem, tuple(states)))

        return self._locked(move)

    def _locked(self, work: Callable[[_MigrationHistory], T]) -> T:
        """Runs ``work`` while this runner holds the lock, which ends with the connection at the latest."""
        with self.pool._migration_history() as history:
            deadline = self._clock.monotonic() + self._lock_timeout
            self._wait(
                history, history.lock, "another runner holds the lock of migrations", deadline
            )
            words = "a statement of a runner that has gone is still running"
            self._wait(history, history.busy, words, deadline)
            history.unlock(history.busy)
            history.execute(_HISTORY.format(history=history.table, **self.pool._dialect.types))
            result = work(history)
            history.unlock(history.lock)
            return result

    def _wait(
        self, history: _MigrationHistory, lock: Sequence[str], words: str, deadline: float
    ) -> None:
        while not history.try_lock(lock):
            if self._clock.monotonic() >= deadline:
                raise TimeoutError(
                    f"{words} for more than {self._lock_timeout:g} s",
                    service=self.pool.engine,
                    operation="migrate",
                )
            self._clock.sleep(0.1)

    def _recorded(
        self, fetch_all: Callable[[str], list[tuple[Any, ...]]], history: str
    ) -> dict[tuple[str, int], tuple[Any, ...]]:
        columns = "source, number, name, checksum, state, statement, applied_at"
        try:
            rows = fetch_all(f"SELECT {columns} FROM {history} ORDER BY source, number")
        except DatabaseError as error:
            if error.code != self.pool._dialect.absent[1]:
                raise
            self._refuse(
                "the table schema_migrations is another tool's: it lacks columns of this library's. "
                "Rename it, or migrate another database (on Postgres another schema, by search_path)"
            )
        return {(row[0], row[1]): row[2:] for row in rows}

    def _compare(
        self, recorded: Mapping[tuple[str, int], tuple[Any, ...]]
    ) -> list[MigrationStatus]:
        result, unknown = [], dict(recorded)
        for each in self.migrations:
            _, checksum, state, statement, applied_at = unknown.pop(
                (each.source, each.number), (None, _checksum(()), "pending", 0, None)
            )
            if checksum != _record_checksum(each, state, statement):
                state = "edited"
            elif state == "started" or state.startswith("in "):
                state = "dirty"
            elif state == "done":
                state, statement = "partial", statement + 1
            result.append(
                MigrationStatus(each.source, each.number, each.name, state, statement, applied_at)
            )
        for (source, number), (name, _, _, statement, applied_at) in unknown.items():
            result.append(MigrationStatus(source, number, name, "unknown", statement, applied_at))
        return result

    def _pending(self, recorded: Mapping[tuple[str, int], tuple[Any, ...]]) -> list[Migration]:
        found = self._compare(recorded)
        for each in found:
            name = f"migration {each.source} {each.number} ({each.name})"
            if each.state == "edited":
                self._refuse(
                    f"{name} was edited after it was applied: restore its text; a change is a new migration"
                )
            if each.state == "dirty":
                state = recorded[each.source, each.number][2]
                self._refuse(
                    f"{name} is dirty: {_in_doubt(state, each.statement)} begun, and may or may not have taken effect. "
                    f"Look at the schema, then: {self._command} --repair {each.number} --done (it has taken effect) or "
                    "--retry (run it again)"
                )
        states = {(each.source, each.number): each.state for each in found}
        pending = []
        for migration in self.migrations:
            state = states[migration.source, migration.number]
            if state == "pending":
                self._check_renamed(migration, recorded)
            if state in ("pending", "partial"):
                self._check_statements(migration, _next_statement(migration, recorded))
                pending.append(migration)
        return pending

    def _check_renamed(
        self, migration: Migration, recorded: Mapping[tuple[str, int], tuple[Any, ...]]
    ) -> None:
        """Refuse to run statements again that have been applied under another name."""
        known = {(each.source, each.number) for each in self.migrations}
        for (source, number), record in recorded.items():
            if (source, number) in known or not _is_record_of(migration, number, record):
                continue
            if source == migration.source:
                advice = f"give it its number {number} again"
            else:
                file = self._paths[migration.source]
                advice = f"if the file was renamed: infra migrate {file} --renamed-from {source}"
            self._refuse(
                f"migration {migration} is recorded as {source} {number} already: {advice}; if it has "
                "to run all the same, write a comment into its text"
            )

    def _check_statements(self, migration: Migration, first: int) -> None:
        """Refuse what would change the history, or escape it, before anything is run."""
        dialect = self.pool._dialect
        named = _naming_history(dialect, migration.statements)
        for step, sql in enumerate(migration.statements[first - 1 :], first):
            where = f"migration {migration}, statement {step}"
            if step in named:
                self._refuse(
                    f"{where}: it names schema_migrations, the history of migrations: leave that out "
                    f"(of a dump with {dialect.dump_without})"
                )
            start = _start_of_code(dialect, sql).upper()
            for keyword, pattern, words in dialect.refused_statements:
                if start.startswith(keyword) and pattern.match(start):
                    self._refuse(f"{where}: {words}")

    def _refuse(self, message: str) -> NoReturn:
        raise DatabaseError(message, service=self.pool.engine, operation="migrate")

    def _apply(self, history: _MigrationHistory) -> list[Migration]:
        recorded = self._recorded(history.fetch_all, history.table)
        pending = self._pending(recorded)
        for migration in pending:
            _ran(self._progress(f"applying {migration}"))
            history.check()
            first = _next_statement(migration, recorded)
            with self.pool._migration_session(history.busy) as session:
                run = _MigrationRun(self, history, session, migration, first)
                if migration.transaction:
                    run.apply_together()
                else:
                    run.apply_each()
        return pending

    def _record(
        self,
        session: _MigrationSession,
        table: str,
        migration: Migration,
        statement: int,
        state: str,
    ) -> None:
        table = table.replace("%", "%%")
        checksum = _record_checksum(migration, state, statement)
        values = (migration.name, checksum, state, statement, self._clock.now())
        key = migration.source, migration.number
        columns = ("name", "checksum", "state", "statement", "applied_at")
        changes = ", ".join(f"{column} = %s" for column in columns)
        where = "WHERE source = %s AND number = %s"
        if not session.execute(f"UPDATE {table} SET {changes} {where}", (*values, *key)):
            session.execute(
                f"INSERT INTO {table} (source, number, {', '.join(columns)}) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s)",
                (*key, *values),
            )


#: what stands between a statement's first word and its object, or in front of a text
_STATEMENT_ASIDES = _lazy(
    r"""\s*\b(?:DEFINER\s*=\s*(?:''|""|`[^`]*`|\w+(?:\s*\(\s*\))?)"""
    r"""(?:\s*@\s*(?:''|""|`[^`]*`|\w+))?"""
    r"|ALGORITHM\s*=\s*\w+|SQL\s+SECURITY\s+\w+|(?:[EBXN]|U&|_\w+)\s*(?=''))",
    re.IGNORECASE,
)
_STATEMENT_BEGINS = _lazy(
    r"(?:(?:grant|revoke)\s[\w\s,()]{1,150}?\s(?=on\b))?"  # the privileges
    r"[a-z]+(?:\s+(?:or|replace|unique|fulltext|spatial|temp|temporary|global|local|unlogged|if|not"
    r"|exists|into|from|only|concurrently|table|index|view|materialized|function|procedure|trigger|event"
    r"|type|domain|sequence|schema|database|extension|user|role|policy|rule|on|aggregate|foreign"
    r"|constraint|column|collation|publication|subscription|server|transaction|all|ignore"
    r"|tables(?!\s+with\b)|recursive|low_priority|high_priority|delayed|quick)\b)*"
    r"(?:\s+(?:[^\W\d][\w$]*|`[^`]*`|\"[^\"]*\")(?:\.(?:[^\W\d][\w$]*|`[^`]*`|\"[^\"]*\"))*)?",
    re.IGNORECASE,
)


class _MigrationRun:
    """One migration on a connection of its own, from statement ``first`` on; those before it are done."""

    def __init__(
        self,
        migrator: Migrator,
        history: _MigrationHistory,
        session: _MigrationSession,
        migration: Migration,
        first: int,
    ) -> None:
        self._migrator = migrator
        self._history = history
        self._session = session
        self._migration = migration
        self._first = first
        self._step = 0  # the statement that runs, or has run last
        self._opened = 0  # the statement that began the transaction that is open
        self._recording = False
        self._ran = False  # the statement was sent

    def apply_together(self) -> None:
        """Run all statements and write their record in one transaction."""
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
                self._history.check()  # else another runner may be at work
                session.execute("COMMIT")
        except InfrastructureError as error:
            session.roll_back()
            raise self._failure(error, self._fate_together(error)) from error
        if ended:
            self._record(self._history, self._step, "started")
            self._migrator._refuse(
                f"migration {self._migration}: its statement {self._words(self._step)} ended the "
                "transaction, and what came before is committed: leave it out, or mark the migration "
                f"no-transaction; {self._advice()}"
            )

    def apply_each(self) -> None:
        """Run the statements, and record each before and after: those of a transaction when it has ended."""
        history = self._history
        try:
            self._resume()
            for sql in self._statements(before=self._record_started):
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
        """Repeat the settings of the statements that are done: they ended with their session."""
        dialect = self._session.dialect
        for step, sql in enumerate(self._migration.statements[: self._first - 1], 1):
            self._step = step
            if dialect.session_statement.match(_start_of_code(dialect, sql)):
                self._session.execute(sql)

    def _statements(self, before: Callable[[], None] = lambda: None) -> Iterator[str]:
        first = self._first
        for step, sql in enumerate(self._migration.statements[first - 1 :], first):
            self._step, self._ran = step, False
            before()
            self._ran = True
            self._session.execute(sql)
            yield sql

    def _record_started(self) -> None:
        self._record(self._history, self._step, f"in {self._opened}" if self._opened else "started")

    def _record(self, session: _MigrationSession, statement: int, state: str) -> None:
        self._recording = True
        self._migrator._record(session, self._history.table, self._migration, statement, state)
        self._recording = False

    def _note_transaction(self, sql: str) -> None:
        dialect = self._session.dialect
        if not self._session.in_transaction():
            self._opened = 0
        elif not self._opened or dialect.chains.match(_start_of_code(dialect, sql)):
            self._opened = self._step

    def _refuse_left_open(self) -> None:
        migration, session = self._migration, self._session
        if self._opened:
            begun = f"its statement {self._words(self._opened)} began"
            if not session.is_autocommit():
                begun += " with autocommit off"
            fate = self._roll_back() or self._advice()
            self._migrator._refuse(
                f"migration {migration} leaves a transaction open, which {begun}: end it with COMMIT; {fate}"
            )
        if session.is_locking(self._history.absent):
            self._migrator._refuse(
                f"migration {migration} leaves LOCK TABLES in force: end it with UNLOCK TABLES, and run again"
            )

    def _roll_back(self) -> str:
        """Roll back the open transaction; return what to do then, or nothing if its fate is not known."""
        opened, rolled_back = self._opened, self._session.roll_back()
        if not rolled_back:
            return ""
        self._record(self._history, opened - 1, "done")
        return f"the transaction that its statement {opened} began was rolled back; mend it and run again"

    def _fate_together(self, error: InfrastructureError) -> str:
        if self._recording and error.code == "25006":
            return (
                "it makes its transaction READ ONLY, which has no room for its record: leave that out; "
                "the whole migration was rolled back"
            )
        if error.code == "25001":
            return "the whole migration was rolled back; end its marker with no-transaction and run again"
        if error.code == "55P04":
            return (
                "the whole migration was rolled back; give ALTER TYPE a migration of its own, in "
                "front of this one, and run again"
            )
        if isinstance(error, DatabaseError):
            return "the whole migration was rolled back; mend it and run again"
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
                    # DDL commits before it fails: this statement alone is in doubt.
                    self._record(self._history, self._step, "started")
        return fate or self._advice()

    def _advice(self) -> str:
        command = self._migrator._command
        return f"look at the schema, then: {command} --repair {self._migration.number} --done or --retry"

    def _words(self, step: int) -> str:
        """Return a statement's number, first words and object. A value may be a secret."""
        sql = self._migration.statements[step - 1] if step else "BEGIN"
        start = _start_of_code(self._session.dialect, sql)[:500]
        code = _STATEMENT_ASIDES.sub("", start).lstrip("( \t\r\n")
        found = _STATEMENT_BEGINS.match(code.partition("''")[0])
        return f"{step}, {' '.join(found[0].split()) if found else '…'} …"

    def _failure(self, error: InfrastructureError, fate: str) -> DatabaseError:
        what = "the record of its statement" if self._recording else "its statement"
        return DatabaseError(
            f"migration {self._migration} failed at {what} {self._words(self._step)} ({error}): {fate}",
            service=self._migrator.pool.engine,
            operation="migrate",
            code=error.code,
        )


# === records ======================================================================================


#: the default of a record's id, created_at and updated_at: the repository fills them when it creates the record
FILLED: Any = None


@dataclass(frozen=True, eq=False)
class PhoneUser(_ByValue):
    """Somebody known by a phone number, of which only a keyed hash is kept. ``user_type`` is "customer", "worker" or
    None, not chosen yet; ``country_code`` the digits of the calling code."""

    phone_hash: str = field(repr=False)
    country_code: str
    user_type: str | None = None
    is_verified: bool = False
    is_blocked: bool = False
    id: uuid.UUID = FILLED
    created_at: datetime = FILLED
    updated_at: datetime = FILLED
    last_login_at: datetime | None = None


@dataclass(frozen=True, eq=False)
class Device(_ByValue):
    """Where a refresh token is used, as far as the caller knows."""

    device_id: str | None = None
    device_name: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True, eq=False)
class RefreshToken(_ByValue):
    """A refresh token's record; the token itself is nowhere. Those that came from one sign-in by rotation share a
    ``family``. A token that was rotated is revoked, with the reason "rotated" and its successor in ``replaced_by``."""

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


@dataclass(frozen=True, eq=False)
class Issued(_ByValue):
    """A new token, to be given to the client once, and its record."""

    token: str = field(repr=False)
    record: RefreshToken


@dataclass(frozen=True, eq=False)
class Rotation(_ByValue):
    """What became of a rotation: ``outcome`` is "rotated", "raced", "reused", "revoked", "expired" or "unknown";
    ``issued`` the new token of the first two."""

    outcome: str
    issued: Issued | None = None


@dataclass(frozen=True, eq=False)
class User(_ByValue):
    """Somebody at the benchmark exchange. ``role`` is "anonymous", "registered", "contributor", "reviewer" or "admin";
    ``profile`` any JSON. E-mail and user name are unique whatever their case. The password's hash is never here."""

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


@dataclass(frozen=True, eq=False)
class Credentials(_ByValue):
    """A user, and the hash to compare a password with (None: has no password)."""

    user: User
    password_hash: str | None = field(repr=False)


@dataclass(frozen=True, eq=False)
class Organization(_ByValue):
    """``slug`` is its name in URLs; ``organization_type`` "llm_provider", "research_institution", "enterprise",
    "open_source" or "individual"."""

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


@dataclass(frozen=True, eq=False)
class Member(_ByValue):
    """A user of an organization; ``role`` is "member", "admin" or "owner"."""

    user: User
    role: str
    joined_at: datetime


@dataclass(frozen=True, eq=False)
class Membership(_ByValue):
    """An organization of a user, and the user's role in it."""

    organization: Organization
    role: str
    joined_at: datetime


@dataclass(frozen=True, eq=False, kw_only=True)
class Benchmark(_ByValue):
    """A benchmark as it is now. ``category`` is "performance", "accuracy", "reliability", "safety", "cost" or
    "capability"; ``status`` "draft", "under_review", "active", "deprecated" or "archived". ``version`` is three numbers
    (https://semver.org), ``version_id`` its row in the history. ``tags`` come back sorted, each once."""

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


@dataclass(frozen=True, eq=False)
class BenchmarkVersion(_ByValue):
    """What a benchmark was at one version; ``number`` counts its versions from 1."""

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


@dataclass(frozen=True, eq=False)
class Submission(_ByValue):
    """A model's results at one version of a benchmark. Without an ``aggregate_score`` it is not ranked;
    ``verification_level`` is "unverified", "community_verified", "platform_verified" or "audited", ``verification`` any
    JSON about it; ``visibility`` "public", "unlisted" or "private"."""

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
    """A submission's place, with the names of who submitted it and for which organization, if any."""

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


@dataclass(frozen=True, eq=False)
class Query(_ByValue):
    """Which page of records: pages count from 1; ``sort`` is one of the repository's ``sort_fields`` (without one: the
    first), equal values are in the order of ids; ``filters`` are values that fields have to equal (``filter_fields``;
    None: be absent). A value that is None sorts as the engine has it: as the greatest on Postgres, the least on
    MySQL."""

    page: int = 1
    per_page: int = 50
    sort: str = ""
    descending: bool = False
    filters: Mapping[str, Any] = field(default_factory=dict)
    with_total: bool = False


@dataclass(frozen=True, eq=False)
class Page(_ByValue, Generic[T]):
    """``items`` of a query; ``total`` counts all that match, if ``with_total`` was set."""

    items: list[T]
    page: int
    per_page: int
    total: int | None = None


# === repositories =================================================================================


class _Above(NamedTuple):
    """In a condition: greater than this."""

    value: Any


class _AtMost(NamedTuple):
    """In a condition: this or less."""

    value: Any


class _OneOf(NamedTuple):
    """In a condition: one of these, of which there is at least one."""

    value: Sequence[Any]


class _Contains(NamedTuple):
    """In a condition: holds this text."""

    value: str


class _Among(NamedTuple):
    """In a condition: what that column holds in such rows of another table."""

    repository: Repository[Any]
    column: str
    where: Mapping[str, Any]


def _maker(record: type[T], names: Sequence[str]) -> Callable[[Iterable[Any]], T]:
    """What makes a record of values in the order of these fields. The ``__init__`` of a frozen dataclass sets each by a
    call, which takes three times as long as all at once: done where nothing else hangs on it."""
    # Such an __init__, as the decorator writes it, refers to this name; one that stands in the class does not.
    code = getattr(vars(record).get("__init__"), "__code__", None)
    usual = "__dataclass_builtins_object__" in getattr(code, "co_freevars", ())
    made_otherwise = (
        type(record).__call__ is not type.__call__ or record.__new__ is not object.__new__
    )
    slots = any(
        hasattr(vars(base).get(name), "__set__") for base in record.__mro__ for name in names
    )
    own = hasattr(record, "__post_init__") or slots or not getattr(record, "__dictoffset__", 0)
    if own or made_otherwise or not usual or {each.name for each in fields(record)} != {*names}:  # type: ignore[arg-type]
        return lambda values: record(**dict(zip(names, values)))

    def make(values: Iterable[Any]) -> T:
        made = object.__new__(record)
        made.__dict__.update(zip(names, values))
        return made

    return make


_KINDS: dict[Any, str] = {
    str: "text", bool: "True or False", int: "a whole number", float: "a finite number", bytes: "bytes",
    Decimal: "a finite Decimal", datetime: "an aware datetime", date: "a date", uuid.UUID: "a uuid.UUID",
    dict: "a dict", list: "a list",
}  # fmt: skip


class Repository(ABC, Generic[R]):
    """The records of one table. Subclass it with the first three attributes below, those of the others that it needs,
    and methods of your own, then once more for each backend: ``class MySQLNotes(infra.SqlRepository[Note], Notes)``,
    ``class FakeNotes(fakes.FakeRepository[Note], Notes)``. What is written here and there runs on both.

    Attributes:
        record: a frozen dataclass; its fields are the columns. Of a new record those called created_at and updated_at
            are filled where they are None, and those that ``ids`` names.
            Fields of type ``dict[...]`` and ``list[...]`` are JSON documents, nested in at most 100 levels: a column
            of type JSON on Postgres, LONGTEXT on MySQL.
        table: the table's name.
        resource: what a record is called in messages, and in ``NotFoundError.resource``.
        key: the columns of its primary key.
        lengths: how many characters a text may have, or bytes. Columns with a bound need it here: beyond it servers cut
            off white space without an error, and what ``create`` returns would not be as it is stored.
        scales: of a Decimal its precision and scale, ``{"price": (10, 2)}`` for NUMERIC(10,2); of a datetime how many
            digits its seconds have behind the point, ``{"seen_at": 0}`` for DATETIME (without one: 6). What does not
            fit exactly is refused; times that the repository fills in are cut off. Without one the server rounds.
        formats: the regular expression that a text has to match as a whole.
        trimmed: texts that are neither empty nor begin or end with a blank.
        visible: texts without characters that nobody sees: control, format, filler and the like.
        folded: columns beside the record's that hold the text of some fields, one a line, without differences of case
            and composition: for unique rules and to search in.
        hidden: other columns that no record shows, and their types.
        elsewhere: fields of the record that are not columns: a backend reads them with the row, from other tables.
        guarded: fields that have methods of their own: ``update`` refuses a record in which they are not as stored.
        kept: fields that ``update`` leaves as they are stored.
        sort_fields, filter_fields: what a ``Query`` may name.

    Values are checked before anything is sent (ValidationError; SerializationError for a document that is not JSON).
    Methods raise what the database raises; ConflictError names the broken rule. Inside a transaction of ``database``
    they take part in it.
    """

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
    sort_fields: ClassVar[Sequence[str]] = ("created_at",)
    filter_fields: ClassVar[Sequence[str]] = ()

    if not TYPE_CHECKING:
        down = _OnlyFakes()

    def __init__(self, database: Database, *, clock: Clock | None = None) -> None:
        """``clock``: the database's, if none is given."""
        self.database = database
        self._clock = _clock(clock, lambda: getattr(database, "_clock", None) or SystemClock())
        self.table, self.resource = _plain(self.table), _plain(self.resource)
        self._kinds = self._columns()
        shown = [each for each in fields(self.record) if each.init and each.name in self._kinds]  # type: ignore[arg-type]
        self._fields = tuple(each.name for each in shown)
        self._shown = (*self._fields, *self.elsewhere)
        self._documents = [
            at for at, name in enumerate(self._fields) if self._kinds[name][0] in (dict, list)
        ]
        self._make = _maker(self.record, self._shown)
        self._as_it_is = {
            "id",
            *self.kept,
            *(name for name, held in self.folded.items() if {*held} <= {*self.kept}),
        }
        self._check_attributes()
        self._checks = {name: self._check(name) for name in self._kinds}

    def _check_attributes(self) -> None:
        """ConfigurationError for what would be noticed by a query that fails, or not at all."""
        named = {
            *self.key, *self.lengths, *self.scales, *self.formats, *self.trimmed, *self.visible,
            *self.guarded, *self.kept, *self.filter_fields,
        }  # fmt: skip
        compared = {*self.filter_fields, *self.sort_fields, *self.guarded}
        if unknown := sorted(named - self._kinds.keys()):
            problem = f"there is no column {', '.join(unknown)}"
        elif wrong := [name for name in self.scales if not self._is_scale(name)]:
            problem = f"{wrong[0]} has a scale that no column has"
        elif not compared.isdisjoint(self._fields[at] for at in self._documents):
            problem = "documents are no fields to sort or filter by, nor to guard"
        elif "updated_at" in self.guarded:
            problem = "updated_at is no field to guard: update sets it"
        elif any(
            {*held} & {*self.kept} and name not in self._as_it_is
            for name, held in self.folded.items()
        ):
            problem = "a folded column holds fields that are kept, all of them or none"
        else:
            return
        raise ConfigurationError(f"{type(self).__name__}: {problem}")

    def _is_scale(self, name: str) -> bool:
        kind, scale = self._kinds[name][0], self.scales[name]
        if kind is datetime:
            return type(scale) is int and 0 <= scale <= 6
        if kind is not Decimal or not isinstance(scale, tuple) or len(scale) != 2:
            return False
        precision, digits = scale
        return type(precision) is type(digits) is int and 0 <= digits <= precision and precision > 0

    @classmethod
    def _column_type(cls, name: str, kind: type) -> _ColumnType:
        """What the column of a field holds."""
        scale = cls.scales.get(name)
        if kind is Decimal and scale is not None:
            return _ColumnType("decimal", *scale)
        return _ColumnType(_COLUMN_KINDS[kind], cls.lengths.get(name), scale)

    def _cut(self, name: str, now: datetime) -> datetime:
        """The time for a field that the repository fills in."""
        scale = self.scales.get(name)
        rest = now.microsecond % _fraction(scale) if scale is not None else 0
        return now.replace(microsecond=now.microsecond - rest) if rest else now

    @classmethod
    def _columns(cls) -> dict[str, tuple[type, bool]]:
        """Of each column its type, and whether it may be None."""
        hints = get_type_hints(cls.record)
        record: Any = cls.record
        shown = [
            each.name for each in fields(record) if each.init and each.name not in cls.elsewhere
        ]
        columns = {}
        for name, hint in {**{name: hints[name] for name in shown}, **cls.hidden}.items():
            choices = (hint,) if get_origin(hint) in (None, dict, list) else get_args(hint)
            kinds = [get_origin(each) or each for each in choices if each is not type(None)]
            if len(kinds) != 1 or kinds[0] not in _KINDS:
                raise ConfigurationError(
                    f"{cls.record.__name__}.{name} has a type that no column has"
                )
            columns[name] = kinds[0], type(None) in choices
        for name, sources in cls.folded.items():
            columns[name] = str, any(columns[source][1] for source in sources)
        return columns

    def create(self, record: R) -> R:
        """Stores a new record and returns it as stored, with id and times filled in where they are None."""
        values = self._filled(record)
        self._insert("create", values)
        return self._stored(values, *(getattr(record, name) for name in self.elsewhere))

    def find_by_id(self, id: uuid.UUID) -> R | None:
        """The record, or None."""
        return self._first("find_by_id", self._identity(id))

    def update(self, record: R) -> R:
        """Stores an existing record, with updated_at set, and returns it so; fields in ``kept`` stay as they are stored
        (in what is returned they are as given). NotFoundError if it is absent; ConflictError ``<table>_as_read`` if one
        of the ``guarded`` fields is not as it is stored: somebody has changed it since the record was read, or it is to
        be changed by its own method."""
        values = self._edited(record)
        self._overwrite(values, values)
        return self._stored(values, *(getattr(record, name) for name in self.elsewhere))

    def delete(self, id: uuid.UUID) -> bool:
        """Removes the record and returns whether it was there."""
        return self._remove("delete", self._identity(id)) > 0

    def count(self) -> int:
        """How many records there are."""
        return self._number("count", {})

    def page(self, query: Query = Query()) -> Page[R]:
        """One page of records. The number of statements is fixed; the total is one more."""
        return self._page("page", {}, query)

    def _page(self, operation: str, where: Mapping[str, Any], query: Query) -> Page[R]:
        """The page of those that also meet the condition, which is checked already."""
        if not isinstance(query, Query) or not isinstance(query.filters, Mapping):
            raise ValidationError("query should be a Query, its filters a dict")
        for name, value in (("page", query.page), ("per_page", query.per_page)):
            if not _COUNT.valid(value) or value > 10**9:
                raise ValidationError(f"{name} should be {_COUNT.expected}")
        if query.per_page > 1000:
            raise ValidationError("per_page should be at most 1000")
        sorts = [name for name in self.sort_fields if name in self._fields] or [*self.key]
        sort = _plain(query.sort) or sorts[0]
        if sort not in sorts or type(query.descending) is not bool:
            raise ValidationError(
                f"sort should be one of: {', '.join(sorts)}; descending True or False"
            )
        given = {_plain(name): value for name, value in query.filters.items()}
        if unknown := set(given) - set(self.filter_fields):
            raise ValidationError(
                f"{len(unknown)} of the filters are none of: {', '.join(self.filter_fields)}"
            )
        if where.keys() & given.keys():
            raise ValidationError(
                f"{operation} sets this filter itself: {', '.join(where.keys() & given.keys())}"
            )
        # In our order, not the caller's: the texts of statements are kept, so there should be few.
        filters = {name: given[name] for name in self.filter_fields if name in given}
        where = {**where, **self._checked(filters)}
        order = [(name, query.descending) for name in dict.fromkeys((sort, *self.key))]
        items = self._select(
            operation, where, order, query.per_page, (query.page - 1) * query.per_page
        )
        total = self._number(operation, where) if query.with_total else None
        return Page(items, query.page, query.per_page, total)

    def _search(self, operation: str, column: str, text: str, query: Query) -> Page[R]:
        """Those whose folded column holds the text, whatever its case."""
        wanted = _folded(_check_text("text", text, longest=200))
        return self._page(operation, {column: _Contains(wanted)} if wanted else {}, query)

    def _values(self, record: R) -> dict[str, Any]:
        """What a record holds in its columns."""
        if not isinstance(record, self.record):
            raise ValidationError(f"a {self.resource} should be given as a {self.record.__name__}")
        return {name: getattr(record, name) for name in self._fields}

    def _filled(self, record: R, **hidden: Any) -> dict[str, Any]:
        """The values of a new record, checked."""
        now = self._clock.now()
        values = {**self._values(record), **hidden}
        for name in (*self.ids, "created_at", "updated_at"):
            if values.get(name, now) is None:
                values[name] = new_id(self._clock) if name in self.ids else self._cut(name, now)
        return self._checked(values)

    def _edited(self, record: R) -> dict[str, Any]:
        """The values of a record that is there already, checked."""
        values = self._values(record)
        self._identity(values.get("id"))
        if "updated_at" in values:
            values["updated_at"] = self._cut("updated_at", self._clock.now())
        return self._checked(values)

    def _overwrite(self, read: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Stores the values of a record, if what is guarded is as it was ``read``."""
        if not self._change("update", self._as_read(read), self._changes(values)):
            if not self.guarded or not self._exists("update", {"id": read["id"]}):
                raise self._missing("update")
            names = ", ".join(self.guarded)
            message = (
                f"{names} have to be as they are stored: read it again; update does not change them"
            )
            raise self._broken("update", f"{self.table}_as_read", message)

    def _as_read(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: values[name] for name in ("id", *self.guarded)}

    def _changes(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What ``update`` writes: where nothing is left of it the id, as it is."""
        changes = {name: value for name, value in values.items() if name not in self._as_it_is}
        return changes or {"id": values["id"]}

    def _stored(self, values: Mapping[str, Any], *others: Any) -> R:
        """The record that these values, and the ``others`` that are ``elsewhere``, are read as."""
        stored = [*map(values.__getitem__, self._fields), *others]
        for at in self._documents:
            if stored[at] is not None:
                stored[at] = stored[at].value
        return self._make(stored)

    def _alter(
        self, operation: str, id: uuid.UUID, changes: Mapping[str, Any], *, edit: bool = True
    ) -> None:
        """Changes some fields of one record; NotFoundError if it is absent."""
        changes = self._checked(changes)
        if edit and "updated_at" in self._kinds:
            changes["updated_at"] = self._cut("updated_at", self._clock.now())
        if not self._change(operation, self._identity(id), changes):
            raise self._missing(operation)

    def _missing(self, operation: str) -> NotFoundError:
        return NotFoundError(
            f"no such {self.resource}", resource=self.resource, operation=operation
        )

    def _broken(self, operation: str, constraint: str, message: str) -> ConflictError:
        """For a rule that no constraint of the table can state."""
        engine = self.database.engine
        return ConflictError(
            f"{message}: {constraint}",
            constraint=constraint,
            kind="check",
            service=engine,
            operation=operation,
        )

    def _checked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values that fit their columns on every backend, and what the folded columns make of them."""
        checks = self._checks
        checked = {name: checks[name](value) for name, value in values.items()}
        for name, sources in self.folded.items():
            first = checked.get(sources[0], ...)
            if len(sources) == 1 and first is not ...:
                checked[name] = None if first is None else _folded(first)
            elif first is not ... and checked.keys() >= {*sources}:
                texts = [*map(checked.__getitem__, sources)]
                checked[name] = None if None in texts else _folded("\n".join(texts))
        return checked

    def _check(self, name: str) -> Callable[[Any], Any]:
        """What gives a value of the column as it is stored, or refuses it."""
        kind, optional = self._kinds[name]
        strict, visible, longest = (
            name in self.trimmed,
            name in self.visible,
            self.lengths.get(name, 0),
        )
        fits = re.compile(self.formats[name]).fullmatch if name in self.formats else None
        scale = self.scales.get(name)
        step = _fraction(scale) if kind is datetime else 1

        def plain(value: Any) -> Any:
            if value.__class__ is not kind:
                value = _plain(value)
            if (value.__class__ is kind and kind is not float) or (value is None and optional):
                return value
            raise ValidationError(f"{name} should be {_KINDS[kind]}")

        def text(value: Any) -> Any:
            if value.__class__ is not str:
                value = _plain(value)
                if value.__class__ is not str:
                    return plain(value)
            usual = value.isascii() and value.isprintable() and not 0 < longest < len(value)
            if not usual or (strict and (not value or value[0] == " " or value[-1] == " ")):
                value = _check_text(
                    name, value, blank_ends=not strict, empty=not strict, longest=longest
                )
            if fits is not None and not fits(value):
                raise ValidationError(f"{name} should match {self.formats[name]}")
            if not usual and visible and (not value.isprintable() or _UNSEEN.search(value)):
                raise ValidationError(f"{name} should not hold characters that cannot be seen")
            return value

        def moment(value: Any) -> Any:
            if not isinstance(value, datetime):
                return plain(value)
            value = _aware(value, name)
            if value.microsecond % step:
                raise ValidationError(f"{name} should have at most {scale} digits of a second")
            return value

        def whole(value: Any) -> Any:
            value = plain(value)
            if value is not None and not -(1 << 64) <= value < 1 << 64:  # rarely: costs time
                _check_digits(name, value)
            return value

        def data(value: Any) -> Any:
            value = _plain(value)
            if value.__class__ is bytes and 0 < longest < len(value):
                raise ValidationError(f"{name} should have at most {longest} bytes")
            return plain(value)

        def number(value: Any) -> Any:
            if not _is_number(value, -sys.float_info.max, sys.float_info.max):
                return plain(value)
            return float(value) + 0.0  # no minus zero: a literal of SQL loses its sign

        def decimal(value: Any) -> Any:  # NaN has no order, infinity no place on MySQL
            value = _plain(value)
            if value.__class__ is not Decimal:
                return plain(value)
            if not value.is_finite():
                return plain(...)
            if scale is None:
                return value
            exact = _exact_decimal(value, *scale)
            if exact is None:
                digits = f"{scale[0]} digits, {scale[1]} of them behind the point"
                raise ValidationError(f"{name} should have at most {digits}")
            return exact

        def document(value: Any) -> Any:
            return _document(name, value) if isinstance(value, kind) else plain(value)

        checks = {
            str: text,
            datetime: moment,
            int: whole,
            bytes: data,
            float: number,
            Decimal: decimal,
            dict: document,
            list: document,
        }
        return checks.get(kind, plain)

    def _check_folded(self, changes: Mapping[str, Any]) -> None:
        """A folded column follows all of the fields that it holds, or would go stale."""
        for name, sources in self.folded.items():
            if name not in changes and not changes.keys().isdisjoint(sources):
                raise ValidationError(
                    f"{', '.join(sources)} can only be changed together: {name} holds them"
                )

    def _identity(self, id: Any, name: str = "id") -> dict[str, Any]:
        if name not in self._kinds:
            raise ConfigurationError(
                f"{type(self).__name__} has no column {name}: its records are found by other methods"
            )
        return (
            {name: id}
            if id.__class__ is uuid.UUID is self._kinds[name][0]
            else self._checked({name: id})
        )

    def _first(
        self, operation: str, where: Mapping[str, Any], order: Sequence[tuple[str, bool]] = ()
    ) -> R | None:
        rows = self._rows(operation, self._shown, where, order, 1)
        return self._make(rows[0]) if rows else None

    def _exists(self, operation: str, where: Mapping[str, Any]) -> bool:
        return bool(self._rows(operation, tuple(self.key), where, limit=1))

    def _by_id(self, operation: str, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, R]:
        """Those of the records that are there, in one statement."""
        wanted = [*dict.fromkeys(ids)]
        found = self._select(operation, {"id": _OneOf(wanted)}) if wanted else []
        return {each.id: each for each in found}  # type: ignore[attr-defined]

    def _select(
        self,
        operation: str,
        where: Mapping[str, Any],
        order: Sequence[tuple[str, bool]] = (),
        limit: int | None = None,
        offset: int = 0,
    ) -> list[R]:
        return self._read(self._rows(operation, self._shown, where, order, limit, offset))

    def _read(self, rows: Sequence[Sequence[Any]]) -> list[R]:
        """The records of rows that hold ``_shown``."""
        return [*map(self._make, rows)]

    # What a backend supplies. ``where``: values that columns have to equal, None for absent, or one of _Above, _AtMost,
    # _OneOf, _Contains, _Among. Each is one statement.

    @abstractmethod
    def _insert(self, operation: str, *rows: Mapping[str, Any]) -> None: ...
    @abstractmethod
    def _rows(
        self,
        operation: str,
        names: Sequence[str],
        where: Mapping[str, Any],
        order: Sequence[tuple[str, bool]] = (),
        limit: int | None = None,
        offset: int = 0,
    ) -> list[tuple[Any, ...]]: ...
    @abstractmethod
    def _change(
        self, operation: str, where: Mapping[str, Any], changes: Mapping[str, Any]
    ) -> int: ...
    @abstractmethod
    def _remove(self, operation: str, where: Mapping[str, Any]) -> int: ...
    @abstractmethod
    def _number(self, operation: str, where: Mapping[str, Any]) -> int: ...
    @abstractmethod
    def _beside(self, port: type) -> Any:
        """The repository of another table, on the same backend."""


@functools.cache
def _joined(backend: type, port: type) -> type:
    return type(port.__name__, (backend, port), {})


class SqlRepository(Repository[R]):
    """The primitives of a repository on a ``ConnectionPool``: constant statements with bound parameters."""

    database: ConnectionPool
    _signs: ClassVar[Mapping[type, str]] = {
        type(None): "IS NULL",
        _Above: "> %s",
        _AtMost: "<= %s",
        _OneOf: "IN %s",
        _Contains: "LIKE %s ESCAPE '|'",
    }
    #: of each field that is ``elsewhere``: SQL that reads it with the row, and what makes a value of the driver's
    _others: ClassVar[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {}

    def __init__(self, database: ConnectionPool, *arguments: Any, **options: Any) -> None:
        if not isinstance(database, ConnectionPool):
            raise ConfigurationError(
                f"{type(self).__name__} takes a ConnectionPool; on a FakeDatabase use its fake"
            )
        super().__init__(database, *arguments, **options)
        dialect = database._dialect
        self._names = {name: dialect.name(name) for name in self._kinds} | {
            n: sql for n, (sql, _) in self._others.items()
        }
        self._quoted_table = dialect.name(self.table)
        self._from = f"FROM {self._quoted_table}"
        self._texts: dict[Any, Any] = {}  # by shape: there are few

    def _insert(self, operation: str, *rows: Mapping[str, Any]) -> None:
        columns = ", ".join(self._names[name] for name in rows[0])
        marks = ", ".join(["(" + ", ".join(["%s"] * len(rows[0])) + ")"] * len(rows))
        sql = f"INSERT INTO {self._quoted_table} ({columns}) VALUES {marks}"
        values = [value for row in rows for value in row.values()]
        self.database._statement(operation, sql, values, _row_count)

    def _rows(
        self,
        operation: str,
        names: Sequence[str],
        where: Mapping[str, Any],
        order: Sequence[tuple[str, bool]] = (),
        limit: int | None = None,
        offset: int = 0,
    ) -> list[tuple[Any, ...]]:
        # A parameter costs more than a constant, and 1 is the limit of most.
        constant = limit is None or limit == 1
        shape = names, self._shape(where), tuple(order), limit if constant else 0, offset > 0
        found = self._texts.get(shape)
        if found is None:
            sql = self._selection(names, where, order, limit, offset)
            found = self._texts[shape] = sql, self._fetcher(names)
        text, fetch = found
        params = self._parameters(where)
        if not constant:
            params.append(limit)
        if offset:
            params.append(offset)
        return self.database._statement(operation, text, params, fetch, repeatable=True)

    def _selection(
        self,
        names: Sequence[str],
        where: Mapping[str, Any],
        order: Sequence[tuple[str, bool]],
        limit: int | None,
        offset: int,
    ) -> str:
        columns = ", ".join(self._names[name] for name in names)
        sql = f"SELECT {columns} {self._from}{self._condition(where)}"
        if order:
            terms = [self._names[name] + " DESC" * descending for name, descending in order]
            sql += " ORDER BY " + ", ".join(terms)
        if limit is not None:
            sql += " LIMIT 1" if limit == 1 else " LIMIT %s"
        elif offset:
            sql += self.database._dialect.no_limit
        return sql + " OFFSET %s" if offset else sql

    def _fetcher(self, names: Sequence[str]) -> Callable[[Any], list[tuple[Any, ...]]]:
        """Return what reads a cursor's rows. What has no form in Python then fails in the call."""
        readers = [(at, self._reader(name)) for at, name in enumerate(names)]
        converters = [(at, reader) for at, reader in readers if reader is not None]
        if not converters:
            return _all_rows
        return lambda cursor: [_converted(row, converters) for row in cursor.fetchall()]

    def _change(self, operation: str, where: Mapping[str, Any], changes: Mapping[str, Any]) -> int:
        self._check_folded(changes)
        settings = ", ".join(f"{self._names[name]} = %s" for name in changes)
        sql = f"UPDATE {self._quoted_table} SET {settings}{self._condition(where)}"
        params = [*changes.values(), *self._parameters(where)]
        return self.database._statement(operation, sql, params, _row_count)

    def _remove(self, operation: str, where: Mapping[str, Any]) -> int:
        sql = f"DELETE {self._from}{self._condition(where)}"
        return self.database._statement(operation, sql, self._parameters(where), _row_count)

    def _number(self, operation: str, where: Mapping[str, Any]) -> int:
        sql = f"SELECT count(*) {self._from}{self._condition(where)}"
        row = self.database._statement(
            operation, sql, self._parameters(where), _first_row, repeatable=True
        )
        return int(row[0]) if row else 0

    def _beside(self, port: type) -> Any:
        return _joined(SqlRepository, port)(self.database, clock=self._clock)

    def _reader(self, name: str) -> Callable[[Any], Any] | None:
        """What makes the field's value of the driver's, where they differ."""
        if name in self._others:
            return self._others[name][1]
        return self.database._dialect.readers.get(self._kinds[name][0])

    @classmethod
    def _shape(cls, where: Mapping[str, Any]) -> tuple[Any, ...]:
        """What the text of a condition depends on."""
        shape: list[Any] = []
        for name, value in where.items():
            shape += name, value.__class__
            if value.__class__ is _Among:
                shape += value.repository.table, value.column, cls._shape(value.where)
        return tuple(shape)

    def _condition(self, where: Mapping[str, Any]) -> str:
        shape = self._shape(where)
        text: str | None = self._texts.get(shape)
        if text is None:
            terms = [f"{self._names[name]} {self._term(value)}" for name, value in where.items()]
            text = self._texts[shape] = " WHERE " + " AND ".join(terms) if terms else ""
        return text

    def _term(self, value: Any) -> str:
        if isinstance(value, _Among):
            other: Any = value.repository
            return f"IN (SELECT {other._names[value.column]} {other._from}{other._condition(value.where)})"
        return self._signs.get(value.__class__, "= %s")

    def _parameters(self, where: Mapping[str, Any]) -> list[Any]:
        params: list[Any] = []
        for value in where.values():
            kind = value.__class__
            if kind is _Contains:
                params.append("%" + re.sub("[|%_]", r"|\g<0>", value.value) + "%")
            elif kind is _OneOf:
                params.append(tuple(value.value))
            elif kind is _Among:
                params += self._parameters(value.where)
            elif value is not None:
                params.append(value.value if kind in self._signs else value)
        return params


ConnectionPool._backend = SqlRepository


# https://www.itu.int/pub/T-SP-E.164D: codes of one and two digits; all others have three
_CALLING_CODES = _lazy(r"\+(1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|\d{3})")


class PhoneUserRepository(Repository[PhoneUser]):
    """Users known by a phone number. Methods take the phone in any form that :func:`normalize_phone` does; what is
    stored is its hash with the repository's key (32 bytes or more, the same for ever: another key finds nobody). The
    rules: ``phone_users_pkey``, ``phone_users_phone_hash_key``. Deleting a user deletes the user's tokens."""

    record = PhoneUser
    table = "phone_users"
    resource = "phone user"
    lengths: ClassVar = {"phone_hash": 64, "country_code": 3, "user_type": 20}
    formats: ClassVar = {
        "phone_hash": "[0-9a-f]{64}",
        "country_code": "[1-9][0-9]{0,2}",
        "user_type": "customer|worker",
    }
    sort_fields: ClassVar = ("created_at", "updated_at")
    filter_fields: ClassVar = ("country_code", "user_type", "is_verified", "is_blocked")

    def __init__(
        self, database: Database, hash_key: str | bytes | None = None, *, clock: Clock | None = None
    ) -> None:
        super().__init__(database, clock=clock)
        if hash_key is None:
            logger.warning(
                "%s has no key: anybody who reads the table can find the numbers behind the hashes; set PHONE_HASH_KEY",
                type(self).__name__,
            )
        self._hash_key = None if hash_key is None else _key_bytes(hash_key)

    def create_for_phone(self, phone: str, user_type: str | None = None) -> PhoneUser:
        """A new user; ConflictError ``phone_users_phone_hash_key`` if the phone has one."""
        found = _CALLING_CODES.match(normalize_phone(phone))
        if found is None:
            raise ValidationError("phone should begin with a calling code")
        return self.create(PhoneUser(self._hash(phone), found[1], user_type))

    def find_by_phone(self, phone: str) -> PhoneUser | None:
        """The phone's user, or None."""
        return self._first("find_by_phone", {"phone_hash": self._hash(phone)})

    def exists_by_phone(self, phone: str) -> bool:
        """Whether the phone has a user."""
        return self._exists("exists_by_phone", {"phone_hash": self._hash(phone)})

    def count(self, user_type: str | None = None) -> int:
        """How many users there are, of that type or, without one, at all."""
        return self._number(
            "count", {} if user_type is None else self._checked({"user_type": user_type})
        )

    def _hash(self, phone: str) -> str:
        return hash_phone(phone, self._hash_key)


class TokenRepository(Repository[RefreshToken]):
    """Refresh tokens with rotation (RFC 9700 §4.14.2). Only SHA-256 hashes of tokens are stored: they are random, with
    256 bits. A token is valid until it expires, by the repository's clock, or is revoked. The rules:
    ``refresh_tokens_pkey``, ``refresh_tokens_token_hash_key``, ``refresh_tokens_user_id_fkey``."""

    record = RefreshToken
    table = "refresh_tokens"
    resource = "refresh token"
    lengths: ClassVar = {
        "token_hash": 64, "revoke_reason": 100,
        "device_id": 255, "device_name": 255, "ip_address": 45, "user_agent": 512,
    }  # fmt: skip
    formats: ClassVar = {"token_hash": "[0-9a-f]{64}"}
    sort_fields: ClassVar = ("created_at", "expires_at")
    filter_fields: ClassVar = ("user_id", "family", "device_id")

    def issue(self, user_id: uuid.UUID, ttl: float, device: Device | None = None) -> Issued:
        """A new token that begins a family, valid for ``ttl`` seconds. ConflictError ``refresh_tokens_user_id_fkey`` if
        there is no such user."""
        if not isinstance(device, Device | None):
            raise ValidationError("device should be a Device")
        family = new_id(self._clock)
        return self._issue(
            "issue", user_id, family, self._lifetime(ttl), device or Device(), new_id(self._clock)
        )

    def find(self, token: str) -> RefreshToken | None:
        """The token's record, valid or not; None if it was never issued, or is deleted."""
        return self._first("find", {"token_hash": self._digest(token)})

    def is_valid(self, token: str) -> bool:
        """Whether the token is known, not revoked and not expired."""
        return self._exists("is_valid", {"token_hash": self._digest(token), **self._valid()})

    def find_by_user(self, user_id: uuid.UUID) -> list[RefreshToken]:
        """The user's valid tokens, the newest first."""
        where = {**self._checked({"user_id": user_id}), **self._valid()}
        return self._select("find_by_user", where, [("created_at", True), ("id", True)])

    def revoke(self, token: str, reason: str = "revoked") -> bool:
        """Revokes the token and returns whether it was not before."""
        return self._revoke("revoke", {"token_hash": self._digest(token)}, reason) > 0

    def revoke_all_for_user(self, user_id: uuid.UUID, reason: str = "revoked") -> int:
        """Revokes all tokens of the user and returns how many were not before."""
        return self._revoke_all("revoke_all_for_user", self._checked({"user_id": user_id}), reason)

    def revoke_family(self, family: uuid.UUID, reason: str = "revoked") -> int:
        """Revokes all tokens of the family and returns how many were not before."""
        return self._revoke_all("revoke_family", self._checked({"family": family}), reason)

    def delete_expired(self) -> int:
        """Deletes the tokens that have expired, revoked or not, and returns how many."""
        return self._remove("delete_expired", {"expires_at": _AtMost(self._clock.now())})

    def rotate(self, token: str, ttl: float, grace: float = 0.0) -> Rotation:
        """Exchanges a valid token for a new one of its family, valid for ``ttl`` seconds. Of any number of callers at
        once exactly one gets the outcome "rotated". The other outcomes:

        - "raced": it was rotated not more than ``grace`` seconds ago, as when two tabs ask at once. A sibling is issued
          and nothing is revoked, provided that its family still has a valid token.
        - "reused": it was rotated longer ago: somebody has a copy. Its whole family is revoked.
        - "revoked", "expired": nothing is issued. "unknown": never issued, or deleted since.

        Raises DatabaseError inside a transaction of its database, before it reads: a caller that rolls back would undo
        the answer to a theft, or take back a token that its user already has.

        Never repeated after it was sent: the new token would be lost, and its next use look like a theft.
        """
        digest, lifetime = self._digest(token), self._lifetime(ttl)
        if not _is_number(grace, 0, _YEAR):
            raise ValidationError("grace should be a number of seconds, at least 0, at most a year")
        self.database._outside("rotate", "has an effect that no rollback may undo")
        return self.database.run(lambda: self._rotate(digest, lifetime, timedelta(seconds=grace)))

    def _rotate(self, digest: str, lifetime: timedelta, grace: timedelta) -> Rotation:
        now, successor = self._clock.now(), new_id(self._clock)
        # The one conditional write: the row's lock decides who wins, and a revocation of the family waits for it.
        use = {
            "last_used_at": now,
            "revoked_at": now,
            "revoke_reason": "rotated",
            "replaced_by": successor,
        }
        won = self._change("rotate", {"token_hash": digest, **self._valid()}, use)
        old = self._first("rotate", {"token_hash": digest})
        if old is None:
            return Rotation("unknown")
        device = Device(old.device_id, old.device_name, old.ip_address, old.user_agent)
        if won:
            issued = self._issue("rotate", old.user_id, old.family, lifetime, device, successor)
            return Rotation("rotated", issued)
        if old.revoked_at is None:
            return Rotation("expired")
        if old.replaced_by is None:
            return Rotation("revoked")
        if not grace or now - old.revoked_at > grace:
            self._revoke_all("rotate", {"family": old.family}, "reused")
            return Rotation("reused")
        # A write again, so that a revocation of the family comes either before it or after the sibling is there.
        if not self._change(
            "rotate", {"family": old.family, **self._valid()}, {"last_used_at": now}
        ):
            return Rotation("revoked")
        return Rotation(
            "raced", self._issue("rotate", old.user_id, old.family, lifetime, device, successor)
        )

    def _issue(
        self,
        operation: str,
        user: uuid.UUID,
        family: uuid.UUID,
        lifetime: timedelta,
        device: Device,
        id: uuid.UUID,
    ) -> Issued:
        import secrets

        token, now = secrets.token_urlsafe(32), self._clock.now()
        record = RefreshToken(
            user,
            self._digest(token),
            family,
            id,
            created_at=now,
            expires_at=_later(now, lifetime),
            **vars(device),
        )
        values = self._checked(vars(record))
        self._insert(operation, values)
        return Issued(token, RefreshToken(**values))

    def _revoke(self, operation: str, where: Mapping[str, Any], reason: str) -> int:
        changes = {**self._checked({"revoke_reason": reason}), "revoked_at": self._clock.now()}
        return self._change(operation, {**where, "revoked_at": None}, changes)

    def _revoke_all(self, operation: str, where: Mapping[str, Any], reason: str) -> int:
        """Also what rotations that are under way bring forth: a statement that waited for one may have passed the place
        of its new token. A rotation needs a token that is committed and not revoked: without one, none is under way."""
        reason = self._checked({"revoke_reason": reason})["revoke_reason"]

        def work() -> int:
            count = 0
            while self._number(operation, {**where, "revoked_at": None}):
                count += self._revoke(operation, where, reason)
            return count

        return self.database.run(work)

    def _valid(self) -> dict[str, Any]:
        return {"revoked_at": None, "expires_at": _Above(self._clock.now())}

    @staticmethod
    def _lifetime(ttl: float) -> timedelta:
        _milliseconds(ttl, "ttl")
        return timedelta(seconds=ttl)

    @staticmethod
    def _digest(token: str) -> str:
        import hashlib

        # Any text may come from a stranger, or from a cookie that is missing: it was never issued.
        token = _plain(token)
        if not isinstance(token, str):
            raise ValidationError("token should be text")
        return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


_LAST_OWNER = "organization_members_last_owner"


@dataclass(frozen=True, eq=False)
class _Member(_ByValue):
    """A row of organization_members."""

    organization_id: uuid.UUID
    user_id: uuid.UUID
    role: str
    created_at: datetime = FILLED


class _MemberRepository(Repository[_Member]):
    """The members of organizations."""

    record = _Member
    table = "organization_members"
    resource = "membership"
    key: ClassVar = ("organization_id", "user_id")
    lengths: ClassVar = {"role": 20}
    formats: ClassVar = {"role": "member|admin|owner"}
    filter_fields: ClassVar = ("role",)


class UserRepository(Repository[User]):
    """Users of the benchmark exchange. E-mail and user name are unique without regard to case and to how accents are
    composed. The rules: ``users_pkey``, ``users_email_key``, ``users_username_key``, ``users_role_check``; who belongs
    to an organization, has submitted something or made a benchmark cannot be deleted
    (``organization_members_user_id_fkey``, ``submissions_user_id_fkey``, ``benchmarks_created_by_fkey``)."""

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
    trimmed: ClassVar = ("password_hash",)
    visible: ClassVar = ("email", "username")
    folded: ClassVar = {"email_folded": ("email",), "username_folded": ("username",)}
    hidden: ClassVar = {"password_hash": str | None}
    guarded: ClassVar = ("role", "email_verified")
    kept: ClassVar = ("last_active_at",)
    sort_fields: ClassVar = ("created_at", "updated_at", "username")
    filter_fields: ClassVar = ("role", "email_verified")

    def create(self, user: User, password_hash: str | None = None) -> User:
        """Stores a new user and returns it as stored. ``password_hash`` is a hash made for passwords (argon2, scrypt),
        never the password."""
        values = self._filled(user, password_hash=password_hash)
        self._insert("create", values)
        return self._stored(values)

    def update(self, user: User) -> User:
        """Stores an existing user, except for ``last_active_at``, and returns it so; another e-mail address is not
        verified yet. NotFoundError if it is absent; ConflictError ``users_as_read`` if ``role`` or ``email_verified``
        is not as it is stored: these have methods of their own."""
        values = self._edited(user)
        if values["email_verified"]:
            same = {**self._as_read(values), "email": values["email"]}
            if self._change("update", same, self._changes(values)):
                return self._stored(values)
        stored = {**values, "email_verified": False}
        self._overwrite(values, stored)
        return self._stored(stored)

    def find_by_email(self, email: str) -> User | None:
        """The user of that e-mail address, or None."""
        return self._first("find_by_email", self._key("email", email))

    def find_by_username(self, username: str) -> User | None:
        """The user of that name, or None."""
        return self._first("find_by_username", self._key("username", username))

    def exists_by_email(self, email: str) -> bool:
        """Whether the e-mail address is taken."""
        return self._exists("exists_by_email", self._key("email", email))

    def exists_by_username(self, username: str) -> bool:
        """Whether the user name is taken."""
        return self._exists("exists_by_username", self._key("username", username))

    def find_credentials(self, email: str) -> Credentials | None:
        """The user of that e-mail address with the hash of the password, or None."""
        names = (*self._fields, "password_hash")
        rows = self._rows("find_credentials", names, self._key("email", email), limit=1)
        return Credentials(self._read([row[:-1] for row in rows])[0], rows[0][-1]) if rows else None

    def update_password(self, id: uuid.UUID, password_hash: str | None) -> None:
        """Sets the hash of the password (None: has none). NotFoundError if there is no such user, as of all methods
        called update."""
        self._alter("update_password", id, {"password_hash": password_hash})

    def update_profile(self, id: uuid.UUID, profile: dict[str, Any]) -> None:
        """Sets the profile: a dict of JSON."""
        self._alter("update_profile", id, {"profile": profile})

    def update_role(self, id: uuid.UUID, role: str) -> None:
        """Sets the role."""
        self._alter("update_role", id, {"role": role})

    def update_email_verified(
        self, id: uuid.UUID, verified: bool = True, *, email: str | None = None
    ) -> None:
        """Sets whether the user has shown to receive mail at the address. ``email``: the address that the mail went to,
        character by character; ConflictError ``users_as_read`` if it is another by now."""
        operation = "update_email_verified"
        if email is None:
            self._alter(operation, id, {"email_verified": verified})
            return
        same = {**self._identity(id), "email": self._checked({"email": email})["email"]}
        changes = {**self._checked({"email_verified": verified}), "updated_at": self._clock.now()}
        if not self._change(operation, same, changes):
            if not self._exists(operation, self._identity(id)):
                raise self._missing(operation)
            raise self._broken(
                operation, "users_as_read", "the e-mail address is another by now: send to that one"
            )

    def update_last_active(self, id: uuid.UUID) -> None:
        """The user is active now; ``updated_at`` stays."""
        self._alter("update_last_active", id, {"last_active_at": self._clock.now()}, edit=False)

    def add_to_organization(
        self, user_id: uuid.UUID, organization_id: uuid.UUID, role: str = "member"
    ) -> None:
        """Makes the user a "member", an "admin" or an "owner". ConflictError ``organization_members_pkey`` if it
        belongs to the organization already, ``organization_members_user_id_fkey`` or
        ``organization_members_organization_id_fkey`` if one of the two is absent."""
        member = _Member(organization_id, user_id, role)
        self._members._insert("add_to_organization", self._members._filled(member))

    def remove_from_organization(self, user_id: uuid.UUID, organization_id: uuid.UUID) -> bool:
        """Returns whether the user belonged to it. ConflictError ``organization_members_last_owner`` for the only
        owner, also when two leave at once."""
        operation, who = "remove_from_organization", self._membership(user_id, organization_id)

        def work() -> bool:
            self._take_turns(operation, who)
            self._keep_an_owner(operation, who)
            return self._members._remove(operation, who) > 0

        return self.database.run(work)

    def update_organization_role(
        self, user_id: uuid.UUID, organization_id: uuid.UUID, role: str
    ) -> None:
        """Sets the role. NotFoundError for who does not belong to the organization; ConflictError
        ``organization_members_last_owner`` for the only owner, who stays one."""
        operation, who = "update_organization_role", self._membership(user_id, organization_id)
        change = self._members._checked({"role": role})

        def work() -> None:
            self._take_turns(operation, who)
            if change["role"] != "owner":
                self._keep_an_owner(operation, who)
            if not self._members._change(operation, who, change):
                raise self._members._missing(operation)

        self.database.run(work)

    def find_organizations(self, user_id: uuid.UUID) -> list[Membership]:
        """The user's organizations, by name. Two statements."""
        operation = "find_organizations"
        members = self._members._select(operation, self._members._checked({"user_id": user_id}))
        found = self._organizations._by_id(operation, (each.organization_id for each in members))
        memberships = [
            Membership(found[each.organization_id], each.role, each.created_at)
            for each in members
            if each.organization_id in found
        ]
        return sorted(memberships, key=lambda each: (each.organization.name, each.organization.id))

    def _key(self, name: str, value: str) -> dict[str, Any]:
        return {f"{name}_folded": self._checked({name: value})[f"{name}_folded"]}

    def _membership(self, user_id: uuid.UUID, organization_id: uuid.UUID) -> dict[str, Any]:
        return self._members._checked({"organization_id": organization_id, "user_id": user_id})

    def _take_turns(self, operation: str, who: Mapping[str, Any]) -> None:
        """Writes the organization's row, as it is: of those who change its owners each waits for the one before, and
        sees then who is an owner now."""
        place = {"id": who["organization_id"]}
        self._organizations._change(operation, place, place)

    def _keep_an_owner(self, operation: str, who: Mapping[str, Any]) -> None:
        owners = {"organization_id": who["organization_id"], "role": "owner"}
        if self._members._rows(operation, ("user_id",), owners, limit=2) == [(who["user_id"],)]:
            raise self._broken(
                operation, _LAST_OWNER, "an organization keeps an owner: name another first"
            )

    @functools.cached_property
    def _members(self) -> Repository[_Member]:
        beside: Repository[_Member] = self._beside(_MemberRepository)
        return beside

    @functools.cached_property
    def _organizations(self) -> Repository[Organization]:
        beside: Repository[Organization] = self._beside(OrganizationRepository)
        return beside


class OrganizationRepository(Repository[Organization]):
    """Organizations of the benchmark exchange; each has an owner at all times. The rules: ``organizations_pkey``,
    ``organizations_slug_key``, ``organizations_organization_type_check``. Deleting one ends its memberships; one that
    submissions name cannot be deleted (``submissions_organization_id_fkey``)."""

    record = Organization
    table = "organizations"
    resource = "organization"
    lengths: ClassVar = {
        "name": 200, "slug": 100, "description": 5000, "website": 2000, "logo_url": 2000, "organization_type": 20,
    }  # fmt: skip
    formats: ClassVar = {
        "slug": "[a-z0-9]+(-[a-z0-9]+)*",
        "website": r"https?://\S+",
        "logo_url": r"https?://\S+",
        "organization_type": "llm_provider|research_institution|enterprise|open_source|individual",
    }
    trimmed: ClassVar = ("name",)
    folded: ClassVar = {"search_folded": ("name", "slug", "description")}
    guarded: ClassVar = ("verified", "verification_date")
    sort_fields: ClassVar = ("created_at", "updated_at", "name")
    filter_fields: ClassVar = ("organization_type", "verified")

    def create(self, organization: Organization, owner_id: uuid.UUID) -> Organization:  # type: ignore[override]
        """Stores a new organization with its first owner, in one transaction, and returns it as stored. ConflictError
        ``organization_members_user_id_fkey`` if there is no such user."""
        values = self._filled(organization)
        owner = self._members._filled(_Member(values["id"], owner_id, "owner"))

        def work() -> None:
            self._insert("create", values)
            self._members._insert("create", owner)

        self.database.run(work)
        return self._stored(values)

    def find_by_slug(self, slug: str) -> Organization | None:
        """The organization, or None."""
        return self._first("find_by_slug", self._checked({"slug": slug}))

    def exists_by_slug(self, slug: str) -> bool:
        """Whether the slug is taken."""
        return self._exists("exists_by_slug", self._checked({"slug": slug}))

    def verify(self, id: uuid.UUID) -> None:
        """The organization is verified, as of now. NotFoundError if it is absent."""
        self._alter("verify", id, {"verified": True, "verification_date": self._clock.now()})

    def unverify(self, id: uuid.UUID) -> None:
        """The organization is not verified. NotFoundError if it is absent."""
        self._alter("unverify", id, {"verified": False, "verification_date": None})

    def find_members(self, id: uuid.UUID, query: Query = Query()) -> Page[Member]:
        """Its members in the order in which they joined; filter by "role". Two statements, three with the total."""
        operation = "find_members"
        page = self._members._page(operation, self._members._identity(id, "organization_id"), query)
        users = self._users._by_id(operation, (each.user_id for each in page.items))
        items = [
            Member(users[m.user_id], m.role, m.created_at) for m in page.items if m.user_id in users
        ]
        return Page(items, page.page, page.per_page, page.total)

    def count_members(self, id: uuid.UUID) -> int:
        """How many members it has, owners and admins included."""
        return self._members._number(
            "count_members", self._members._identity(id, "organization_id")
        )

    def find_by_type(self, organization_type: str, query: Query = Query()) -> Page[Organization]:
        """A page of the organizations of that type."""
        return self._page(
            "find_by_type", self._checked({"organization_type": organization_type}), query
        )

    def search(self, text: str, query: Query = Query()) -> Page[Organization]:
        """A page of those whose name, slug or description holds the text, whatever its case. No character of it has
        a special meaning."""
        return self._search("search", "search_folded", text, query)

    @functools.cached_property
    def _members(self) -> Repository[_Member]:
        beside: Repository[_Member] = self._beside(_MemberRepository)
        return beside

    @functools.cached_property
    def _users(self) -> Repository[User]:
        beside: Repository[User] = self._beside(UserRepository)
        return beside


@dataclass(frozen=True, eq=False)
class _Tag(_ByValue):
    """A row of benchmark_tags."""

    benchmark_id: uuid.UUID
    tag: str


class _TagRepository(Repository[_Tag]):
    """Tags of benchmarks."""

    record = _Tag
    table = "benchmark_tags"
    resource = "tag"
    key: ClassVar = ("benchmark_id", "tag")
    lengths: ClassVar = {"tag": 50}
    trimmed: ClassVar = ("tag",)


_VERSION = "(0|[1-9][0-9]{0,8})([.](0|[1-9][0-9]{0,8})){2}"


class _VersionRepository(Repository[BenchmarkVersion]):
    """What benchmarks were: a row for each version, the current one too. Never changed."""

    record = BenchmarkVersion
    table = "benchmark_versions"
    resource = "benchmark version"
    lengths: ClassVar = {"version": 30, "changelog": 10_000}
    formats: ClassVar = {"version": _VERSION}


class BenchmarkRepository(Repository[Benchmark]):
    """Benchmarks with their tags and versions. The rules: ``benchmarks_pkey``, ``benchmarks_slug_key``,
    ``benchmarks_created_by_fkey``, ``benchmarks_category_check``, ``benchmarks_status_check``. Deleting one deletes its
    tags and its history; one that has submissions cannot be deleted (``submissions_benchmark_version_id_fkey``)."""

    record = Benchmark
    table = "benchmarks"
    resource = "benchmark"
    lengths: ClassVar = {
        "slug": 100, "name": 200, "description": 5000, "long_description": 100_000, "category": 20, "status": 20,
        "version": 30, "license": 100,
    }  # fmt: skip
    formats: ClassVar = {
        "slug": "[a-z0-9]+(-[a-z0-9]+)*",
        "category": "performance|accuracy|reliability|safety|cost|capability",
        "status": "draft|under_review|active|deprecated|archived",
        "version": _VERSION,
    }
    trimmed: ClassVar = ("name", "license")
    folded: ClassVar = {"search_folded": ("name", "slug", "description")}
    ids: ClassVar = ("id", "version_id")
    elsewhere: ClassVar = ("tags",)
    guarded: ClassVar = ("status", "version", "version_id")
    sort_fields: ClassVar = ("created_at", "updated_at", "name")
    filter_fields: ClassVar = ("category", "status", "license", "created_by")
    #: from which statuses one may move to each
    moves: ClassVar[Mapping[str, Sequence[str]]] = {
        "draft": ("under_review",),
        "under_review": ("draft",),
        "active": ("under_review", "deprecated"),
        "deprecated": ("active",),
        "archived": ("deprecated",),
    }

    def create(self, benchmark: Benchmark) -> Benchmark:
        """Stores a new benchmark, its tags, and its first version, in one transaction, and returns it as stored.
        ConflictError ``benchmarks_slug_key`` if the slug is taken, ``benchmarks_created_by_fkey`` if there is no such
        user."""
        values = self._filled(benchmark)
        version = self._version(values, 1, "", False)
        tags = self._tagged(values["id"], benchmark.tags)

        def work() -> None:
            self._insert("create", values)
            self._versions._insert("create", version)
            self._tag("create", tags)

        self.database.run(work)
        return self._stored(values, tuple(each["tag"] for each in tags))

    def update(  # type: ignore[override]
        self, benchmark: Benchmark, *, changelog: str = "", breaking: bool = False
    ) -> uuid.UUID:
        """Publishes a new version: stores every field of the benchmark, and returns the id of the version. From 1.2.3
        a ``breaking`` one leads to 2.0.0, another to 1.3.0.

        The benchmark has to be as it was read, except for the fields to change: ConflictError ``benchmarks_as_read`` if
        somebody else has published a version since, or moved its status; read it again then. ``version``,
        ``version_id`` and ``status`` are not for this method to change (``update_status``)."""
        old = self._edited(benchmark)
        tags = self._tagged(old["id"], benchmark.tags)
        major, minor, _ = map(int, old["version"].split("."))
        version = f"{major + 1}.0.0" if breaking else f"{major}.{minor + 1}.0"
        values = {**old, **self._checked({"version": version}), "version_id": new_id(self._clock)}
        draft = self._version(values, 1, changelog, breaking)

        def work() -> None:
            self._overwrite(old, values)
            mine = {"benchmark_id": old["id"]}
            number = self._versions._number("update", mine) + 1
            self._versions._insert("update", {**draft, "number": number})
            self._tags._remove("update", mine)
            self._tag("update", tags)

        self.database.run(work)
        id: uuid.UUID = values["version_id"]
        return id

    def update_status(self, id: uuid.UUID, status: str) -> None:
        """Moves the benchmark: from draft to under_review; from there to active, or back; from active to deprecated;
        from there to archived, or back. Any other move is ConflictError ``benchmarks_status_move``; of two moves at
        once one wins. NotFoundError if it is absent."""
        operation, who = "update_status", self._identity(id)
        changes = {**self._checked({"status": status}), "updated_at": self._clock.now()}
        status = changes["status"]  # plain text, of an enumeration's member too
        if not self._change(operation, {**who, "status": _OneOf(self.moves[status])}, changes):
            if not self._exists(operation, who):
                raise self._missing(operation)
            allowed = " or ".join(self.moves[status])
            message = f"only what is {allowed} can become {status}"
            raise self._broken(operation, "benchmarks_status_move", message)

    def find_by_slug(self, slug: str) -> Benchmark | None:
        """The benchmark, or None."""
        return self._first("find_by_slug", self._checked({"slug": slug}))

    def exists_by_slug(self, slug: str) -> bool:
        """Whether the slug is taken."""
        return self._exists("exists_by_slug", self._checked({"slug": slug}))

    def find_version(self, id: uuid.UUID, version: str) -> BenchmarkVersion | None:
        """What the benchmark was at that version, for example "1.0.0"; or None."""
        where = {
            **self._versions._identity(id, "benchmark_id"),
            **self._versions._checked({"version": version}),
        }
        return self._versions._first("find_version", where)

    def find_version_history(self, id: uuid.UUID) -> list[BenchmarkVersion]:
        """All its versions, the newest first."""
        where = self._versions._identity(id, "benchmark_id")
        return self._versions._select("find_version_history", where, [("number", True)])

    def find_by_category(self, category: str, query: Query = Query()) -> Page[Benchmark]:
        """A page of the benchmarks of that category."""
        return self._page("find_by_category", self._checked({"category": category}), query)

    def find_by_tag(self, tag: str, query: Query = Query()) -> Page[Benchmark]:
        """A page of the benchmarks that have the tag, written just so."""
        where = {"id": _Among(self._tags, "benchmark_id", self._tags._checked({"tag": tag}))}
        return self._page("find_by_tag", where, query)

    def search(self, text: str, query: Query = Query()) -> Page[Benchmark]:
        """A page of those whose name, slug or description holds the text, whatever its case. No character of it has
        a special meaning."""
        return self._search("search", "search_folded", text, query)

    def _tagged(self, id: uuid.UUID, tags: Any) -> list[dict[str, Any]]:
        """Rows for the tags, each once, in order."""
        if not isinstance(tags, (tuple, list)) or len(tags) > 100:
            raise ValidationError("tags should be a tuple of text, at most 100")
        rows = [self._tags._checked({"benchmark_id": id, "tag": tag}) for tag in tags]
        return [*{row["tag"]: row for row in sorted(rows, key=operator.itemgetter("tag"))}.values()]

    def _tag(self, operation: str, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows:
            self._tags._insert(operation, *rows)

    def _version(
        self, values: Mapping[str, Any], number: int, changelog: str, breaking: bool
    ) -> dict[str, Any]:
        """The history's row for the benchmark of these values."""
        same = ("version", "evaluation_criteria", "execution_config", "test_cases")
        return {
            "id": values["version_id"],
            "benchmark_id": values["id"],
            "number": number,
            **self._versions._checked({"changelog": changelog, "breaking": breaking}),
            "created_at": values["updated_at"],
            **{name: values[name] for name in same},
        }

    @functools.cached_property
    def _versions(self) -> Repository[BenchmarkVersion]:
        beside: Repository[BenchmarkVersion] = self._beside(_VersionRepository)
        return beside

    @functools.cached_property
    def _tags(self) -> Repository[_Tag]:
        beside: Repository[_Tag] = self._beside(_TagRepository)
        return beside


class SubmissionRepository(Repository[Submission]):
    """Results of models at benchmarks, and the ranks that come of them. The rules: ``submissions_pkey``;
    ``submissions_benchmark_version_id_fkey`` (the version exists, and is one of that benchmark),
    ``submissions_user_id_fkey``, ``submissions_organization_id_fkey``; ``submissions_aggregate_score_check``,
    ``submissions_verification_level_check``, ``submissions_visibility_check``. The program decides which users
    submit for an organization, and whether a verified submission may still be edited: ``update`` does not change the
    level."""

    record = Submission
    table = "submissions"
    resource = "submission"
    lengths: ClassVar = {"model": 200, "verification_level": 20, "visibility": 20}
    formats: ClassVar = {
        "verification_level": "unverified|community_verified|platform_verified|audited",
        "visibility": "public|unlisted|private",
    }
    trimmed: ClassVar = ("model",)
    guarded: ClassVar = ("verification_level", "verified_at", "visibility")
    kept: ClassVar = ("verification",)
    sort_fields: ClassVar = ("created_at", "updated_at", "aggregate_score")
    filter_fields: ClassVar = (
        "benchmark_id", "benchmark_version_id", "model", "user_id", "organization_id", "verification_level",
        "visibility",
    )  # fmt: skip

    def find_for_benchmark(
        self, benchmark_id: uuid.UUID, query: Query = Query(), *, visibility: str | None = "public"
    ) -> Page[Submission]:
        """A page of the benchmark's submissions: public ones, or those of that ``visibility``; None: all."""
        where = self._identity(benchmark_id, "benchmark_id")
        if visibility is not None:
            where.update(self._checked({"visibility": visibility}))
        return self._page("find_for_benchmark", where, query)

    def find_by_user(self, user_id: uuid.UUID, query: Query = Query()) -> Page[Submission]:
        """A page of the user's submissions, whatever their visibility: meant for the user."""
        return self._page("find_by_user", self._identity(user_id, "user_id"), query)

    def update_verification(
        self, id: uuid.UUID, level: str, verification: dict[str, Any] | None = None
    ) -> None:
        """Sets the level, as of now, and what is to be said about it (JSON). NotFoundError if it is absent."""
        level = _plain(level)
        now = None if level == "unverified" else self._clock.now()
        changes = {"verification_level": level, "verified_at": now, "verification": verification}
        self._alter("update_verification", id, changes)

    def update_visibility(self, id: uuid.UUID, visibility: str) -> None:
        """Sets who may see it. NotFoundError if it is absent."""
        self._alter("update_visibility", id, {"visibility": visibility})

    def leaderboard(
        self, benchmark_id: uuid.UUID, version_id: uuid.UUID | None = None, limit: int = 100
    ) -> list[LeaderboardEntry]:
        """The best ``limit`` (at most 1000) of the benchmark's public, scored submissions, of all versions or of one:
        the highest score first, then the earlier, then by id. Equal scores share a rank: 1, 2, 2, 4. One statement."""
        if not _COUNT.valid(limit) or limit > 1000:
            raise ValidationError("limit should be a whole number from 1 to 1000")
        where = self._identity(benchmark_id, "benchmark_id")
        if version_id is not None:
            where.update(self._identity(version_id, "benchmark_version_id"))
        entries, rank, last = [], 0, None
        for place, row in enumerate(self._ranked(where, limit), 1):
            if row[3] != last:
                rank, last = place, row[3]
            entries.append(LeaderboardEntry(rank, *row))
        return entries

    def find_best_for_model(
        self, benchmark_id: uuid.UUID, model: str, version_id: uuid.UUID | None = None
    ) -> Submission | None:
        """The model's best at the benchmark, of those that a leaderboard ranks; or None."""
        where = {**self._identity(benchmark_id, "benchmark_id"), **self._checked({"model": model})}
        if version_id is not None:
            where.update(self._identity(version_id, "benchmark_version_id"))
        where.update({"visibility": "public", "aggregate_score": _Above(-math.inf)})
        return self._first(
            "find_best_for_model",
            where,
            [("aggregate_score", True), ("created_at", False), ("id", False)],
        )

    def exists_for_model_version(self, model: str, version_id: uuid.UUID) -> bool:
        """Whether the model has a submission, of any visibility, at that version of a benchmark."""
        where = {
            **self._identity(version_id, "benchmark_version_id"),
            **self._checked({"model": model}),
        }
        return self._exists("exists_for_model_version", where)

    @abstractmethod
    def _ranked(self, where: Mapping[str, Any], limit: int) -> list[tuple[Any, ...]]:
        """The leaderboard's rows, in its order: what a LeaderboardEntry holds behind the rank."""


class MySQLPhoneUserRepository(SqlRepository[PhoneUser], PhoneUserRepository):
    """``PhoneUserRepository`` on MySQL or MariaDB: ``MySQLPhoneUserRepository(pool, hash_key, clock=None)``."""


class MySQLTokenRepository(SqlRepository[RefreshToken], TokenRepository):
    """``TokenRepository`` on MySQL or MariaDB: ``MySQLTokenRepository(pool, clock=None)``."""


class PostgresUserRepository(SqlRepository[User], UserRepository):
    """``UserRepository`` on Postgres: ``PostgresUserRepository(pool, clock=None)``."""


class PostgresOrganizationRepository(SqlRepository[Organization], OrganizationRepository):
    """``OrganizationRepository`` on Postgres: ``PostgresOrganizationRepository(pool, clock=None)``."""


class PostgresBenchmarkRepository(SqlRepository[Benchmark], BenchmarkRepository):
    """``BenchmarkRepository`` on Postgres: ``PostgresBenchmarkRepository(pool, clock=None)``."""

    _others: ClassVar = {
        "tags": (
            "ARRAY(SELECT tag FROM benchmark_tags WHERE benchmark_id = benchmarks.id ORDER BY tag)",
            tuple,
        )
    }


class PostgresSubmissionRepository(SqlRepository[Submission], SubmissionRepository):
    """``SubmissionRepository`` on Postgres: ``PostgresSubmissionRepository(pool, clock=None)``."""

    # In the order of an index that holds ranked rows only. They are cut off before names are looked up: else, when the
    # statistics do not know yet how many there are, all of them would be joined and sorted. LATERAL and its LIMIT keep
    # the planner from reading all users. The last LIMIT cuts nothing off. It is no constant, so that the planner takes
    # it that a tenth of the rows is wanted (preprocess_limit in PostgreSQL's planner.c), and reads in order: also where
    # the statistics do not know the id yet, and let it expect a few rows, all of which it would read and sort.
    _ranking = """
        SELECT s.id, s.benchmark_version_id, s.model, s.aggregate_score, s.verification_level, s.created_at,
            s.user_id, u.username, u.display_name, s.organization_id, o.name
        FROM (
            SELECT * FROM submissions
            WHERE benchmark_id = %s AND visibility = 'public' AND aggregate_score IS NOT NULL
            ORDER BY aggregate_score DESC, created_at, id LIMIT %s
        ) s
        CROSS JOIN LATERAL (SELECT username, display_name FROM users WHERE id = s.user_id LIMIT 1) u
        LEFT JOIN organizations o ON o.id = s.organization_id
        ORDER BY s.aggregate_score DESC, s.created_at, s.id LIMIT (SELECT %s)"""
    _version_ranking = _ranking.replace("= %s AND", "= %s AND benchmark_version_id = %s AND")

    def _ranked(self, where: Mapping[str, Any], limit: int) -> list[tuple[Any, ...]]:
        sql = self._version_ranking if "benchmark_version_id" in where else self._ranking
        return self.database._statement(
            "leaderboard", sql, [*where.values(), limit, limit], _all_rows, repeatable=True
        )


# === redis ========================================================================================


MessageHandler = Callable[[str, "str | None", str], None]


class _Flag:
    """An event for waits that an exception of a signal handler may end: ``threading.Event`` then raises RuntimeError.

    Each waiter has a lock of its own, which ``set`` releases.
    """

    __slots__ = ("_waiters", "is_set")

    def __init__(self) -> None:
        self.is_set = False
        self._waiters: list[threading.Lock] = []

    def set(self) -> None:
        self.is_set = True
        for waiter in list(self._waiters):
            with contextlib.suppress(RuntimeError):  # it was released already
                waiter.release()

    def wait(self, seconds: float) -> bool:
        """Wait at most that long; return whether the flag is set."""
        waiter = threading.Lock()
        waiter.acquire()
        self._waiters.append(waiter)
        if not self.is_set:  # looked at after joining the waiters: ``set`` releases those it finds
            waiter.acquire(timeout=min(max(0.0, seconds), threading.TIMEOUT_MAX))
        with contextlib.suppress(ValueError):
            self._waiters.remove(waiter)
        return self.is_set


class Listener(_Closing):
    """A subscription to Redis channels; made by :meth:`KeyValueClient.listen`, closed with its client at the latest.

    Messages come one at a time and, for one publisher, in order: ``on_message(channel, pattern, payload)``, ``pattern``
    being the glob that matched, or None for a channel subscribed to by name. A channel that is subscribed to by name
    and by a matching glob delivers twice, first by name. Several matching globs deliver in no fixed order. What was
    published before a subscription, or while the connection was lost, does not come. A handler that raises, or returns
    an awaitable or a generator, is logged; the next message comes all the same. Channels belong to the whole server,
    whatever the URL's database number.

    Each of the four calls below returns once the server has acknowledged it (TimeoutError otherwise), or at once when
    made from inside a handler. Names already subscribed to, or not, are no error.
    """

    #: set by a bus: whether it still needs the glob (True) or channel (False) of that name
    _is_needed: Callable[[bool, str], bool] | None = None

    def __init__(self, on_message: MessageHandler, on_reconnect: Callable[[], None] | None) -> None:
        _check_function("on_message", on_message, "channel, pattern and payload")
        if on_reconnect is not None:
            _check_function("on_reconnect", on_reconnect, "no arguments")
        self._on_message = on_message
        self._on_reconnect = on_reconnect

    def subscribe(self, *channels: str) -> None:
        """Receive what is published to these channels from now on."""
        self._change("SUBSCRIBE", channels)

    def psubscribe(self, *globs: str) -> None:
        """Receive what is published to channels that match one of these globs (Redis's rules: see ``scan``)."""
        self._change("PSUBSCRIBE", globs)

    def unsubscribe(self, *channels: str) -> None:
        """Stop receiving from these channels."""
        self._change("UNSUBSCRIBE", channels)

    def punsubscribe(self, *globs: str) -> None:
        """Stop receiving from these globs."""
        self._change("PUNSUBSCRIBE", globs)

    def close(self) -> None:
        """Stop: no further message is handled. Waits for a handler that is at work, within the client's deadline."""
        self._close()

    def _change(self, command: str, names: Sequence[str]) -> None:
        if not names:
            raise ValidationError(f"{command.lower()} needs at least one name")
        self._apply(command, [_check_key(name, "channel") for name in names])

    def _deliver(self, channel: str, pattern: str | None, payload: str) -> None:
        try:
            _ran(self._on_message(channel, pattern, payload))
        except Exception:
            logger.warning("a handler of channel %s raised", channel, exc_info=True)

    def _announce_reconnect(self) -> None:
        if self._on_reconnect is not None:
            try:
                _ran(self._on_reconnect())
            except Exception:
                logger.warning("on_reconnect raised", exc_info=True)

    def _unneeded(self, command: str, names: Sequence[str]) -> list[str]:
        """The names that the command may leave. Ask with the lock that also orders commands: a thread that joins
        afterwards then sends its SUBSCRIBE afterwards."""
        is_needed, is_glob = self._is_needed, command == "PUNSUBSCRIBE"
        return [name for name in names if is_needed is None or not is_needed(is_glob, name)]

    @abstractmethod
    def _apply(self, command: str, names: Sequence[str]) -> None: ...
    @abstractmethod
    def _close(self) -> None: ...


class KeyValueClient(_Closing):
    """Strings under string keys, with expiry, counters, and publish/subscribe: what the library uses of Redis.

    Keys and channels are non-empty text without blanks at either end; values are text, empty included. Neither holds a
    NUL or a lone surrogate. Durations are seconds above 0, rounded up to milliseconds. Anything else is a
    ValidationError, before anything is sent. An absent key and an expired one are the same.

    All methods raise ConnectionError, TimeoutError or PoolTimeoutError within the client's deadline when Redis cannot
    answer, and CacheError when it refuses (a key that holds another type, a full memory, …). Bytes found in Redis that
    are not UTF-8 are a SerializationError. May be shared by threads.
    """

    #: Seconds by which a key may outlive its ``ttl``. Redis counts whole milliseconds, and removes
    #: a key only in the one after.
    _late_expiry = 0.001

    def get(self, key: str) -> str | None:
        """The value, or None when absent."""
        return self._get(_check_key(key))

    def get_many(self, keys: Iterable[str]) -> dict[str, str]:
        """The values of those keys that exist. Not atomic: one pipeline of single reads."""
        names = [*map(_check_key, _check_many("keys", keys))]
        values = self._get_many(names) if names else ()
        return {key: value for key, value in zip(names, values) if value is not None}

    def set(self, key: str, value: str) -> None:
        """Stores without expiry; an expiry that the key had is gone."""
        self._set(_check_key(key), _check_value(value), None)

    def set_with_expiry(self, key: str, value: str, seconds: float) -> None:
        """Stores; the key is absent once ``seconds`` have passed."""
        self._set(_check_key(key), _check_value(value), _milliseconds(seconds))

    def set_many(self, items: Mapping[str, str], seconds: float | None = None) -> None:
        """Stores each item as ``set`` or, with ``seconds``, ``set_with_expiry`` does. Checked whole before the first is
        sent; not atomic: one pipeline of single writes."""
        if not isinstance(items, Mapping):
            raise ValidationError("items should be a dict or another mapping of keys to values")
        ttl = None if seconds is None else _milliseconds(seconds)
        pairs = [(_check_key(key), _check_value(value)) for key, value in items.items()]
        if pairs:
            self._set_many(pairs, ttl)

    def set_nx(self, key: str, value: str, seconds: float | None = None) -> bool:
        """Stores only if the key is absent, and returns whether it did. Never repeated after it was sent."""
        ttl = None if seconds is None else _milliseconds(seconds)
        return self._set_nx(_check_key(key), _check_value(value), ttl)

    def delete(self, key: str) -> bool:
        """Removes the key and returns whether it existed."""
        return self._delete_many([_check_key(key)]) == 1

    def delete_many(self, keys: Iterable[str]) -> int:
        """Removes the keys and returns how many existed. Not atomic."""
        names = [_check_key(key) for key in _check_many("keys", keys)]
        return self._delete_many(names) if names else 0

    def unlink_many(self, keys: Iterable[str]) -> int:
        """As ``delete_many``; the server frees the memory afterwards, beside its other work (UNLINK)."""
        names = [_check_key(key) for key in _check_many("keys", keys)]
        return self._unlink_many(names) if names else 0

    def compare_and_delete(self, key: str, value: str) -> bool:
        """In one atomic step: removes the key if it holds exactly ``value``; returns whether it did."""
        return self._compare_and_delete(_check_key(key), _check_value(value))

    def exists(self, key: str) -> bool:
        """Whether the key is present."""
        return self._exists(_check_key(key))

    def ttl(self, key: str) -> float | None:
        """Seconds until the key expires, in milliseconds' precision; ``math.inf`` if never; None when absent."""
        milliseconds = self._pttl(_check_key(key))
        return (
            None if milliseconds == -2 else math.inf if milliseconds == -1 else milliseconds / 1000
        )

    def expire(self, key: str, seconds: float) -> bool:
        """Sets the time until expiry, counted from now; returns whether the key exists."""
        return self._pexpire(_check_key(key), _milliseconds(seconds))

    def increment(self, key: str, amount: int = 1, ttl: float | None = None) -> int:
        """Adds to the integer that the key holds (absent: 0) and returns the sum, in one atomic step.

        ``ttl``, in seconds, takes effect only when this call creates the key: later calls do not prolong it. CacheError
        if the value is not an integer, or the sum leaves 64 bits; the key is then unchanged. Never repeated after it
        was sent.
        """
        if type(amount) is not int or not -(2**63) <= amount < 2**63:
            raise ValidationError("amount should be an int of at most 64 bits")
        return self._increment(
            _check_key(key), amount, None if ttl is None else _milliseconds(ttl, "ttl")
        )

    def scan(self, glob: str = "*") -> Iterator[str]:
        """The keys that match, in no order; all but the first thousand or so are asked for lazily. A key that is there
        all the while comes at least once, and may come twice; one that comes or goes meanwhile may or may not.

        Redis's glob (https://redis.io/docs/latest/commands/keys/), matched on UTF-8 bytes and case-sensitive: ``*`` any
        run, ``:`` and ``/`` included; ``?`` any one byte; ``[abc]``, ``[a-c]``, ``[^a]`` one byte; ``\\`` takes the
        next character literally.
        """
        return self._scan(_check_text("glob", glob, empty=False))

    def publish(self, channel: str, message: str) -> int:
        """Sends to the subscribers of now and returns how many there were. Never repeated after it was sent."""
        return self._publish(_check_key(channel, "channel"), _check_value(message, "message"))

    def listen(
        self, on_message: MessageHandler, on_reconnect: Callable[[], None] | None = None
    ) -> Listener:
        """Opens a listener that is subscribed to nothing yet. ``on_reconnect()`` is called, between messages, each time
        it has subscribed again after a lost connection: messages may have been lost. While it is open it keeps what its
        handlers refer to alive: close it, or its client."""
        return self._listen(on_message, on_reconnect)

    def health_check(self) -> Health:
        """Asks the server for its version; raises what any other call raises when it cannot answer."""
        return self._health_check()

    def stats(self) -> PoolStats:
        """Return the state of the connections, those of listeners apart. Asks no server."""
        return self._stats()

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
    def _delete_many(self, keys: Sequence[str]) -> int: ...
    @abstractmethod
    def _unlink_many(self, keys: Sequence[str]) -> int: ...
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
    @abstractmethod
    def _listen(
        self, on_message: MessageHandler, on_reconnect: Callable[[], None] | None
    ) -> Listener: ...
    @abstractmethod
    def _health_check(self) -> Health: ...
    @abstractmethod
    def _stats(self) -> PoolStats: ...


# What redis-py's exceptions mean: the first class that fits decides. The columns: class name, our error, whether the
# caller may try again, whether the server may have acted on the command (or on others of its pipeline), words for the
# message. A cache that fails open takes for an outage each ConnectionError and TimeoutError, and of the CacheErrors
# those that the caller may try again. README, "Cache", has the table for users.
_REDIS_ERRORS: tuple[tuple[str, type[InfrastructureError], bool, bool, str], ...] = (
    (
        "AuthenticationError",
        ConnectionError,
        False,
        False,
        "refused the login: check the user and password",
    ),
    ("BusyLoadingError", ConnectionError, True, False, "is still loading its data"),
    (
        "_TooManyClientsError",
        ConnectionError,
        True,
        False,
        "takes no more connections: raise its maxclients, or lower the pools' sizes",
    ),
    (
        "_ProtectedError",
        ConnectionError,
        False,
        False,
        "serves its own machine alone (protected mode) while it has no password: "
        "set its requirepass",
    ),
    (
        "InvalidResponse",
        ConnectionError,
        False,
        True,
        "answers, but is no Redis: check the host and port, and whether the port is for TLS "
        "(rediss://)",
    ),
    ("TimeoutError", TimeoutError, True, True, "did not answer in time"),
    (
        "ConnectionError",
        ConnectionError,
        True,
        True,
        "could not be reached, or ended the connection",
    ),
    ("ReadOnlyError", CacheError, True, False, "is a read-only replica"),
    ("MasterDownError", CacheError, True, False, "is a replica that has lost its master"),
    ("_NoReplicasError", CacheError, True, False, "has too few replicas to take writes"),
    (
        "_NotSavedError",
        CacheError,
        True,
        True,
        "takes no writes because it could not save its data: look at its disk and log",
    ),
    ("_BusyError", CacheError, True, True, "runs a script that does not end: see SCRIPT KILL"),
    (
        "_TooLargeError",
        CacheError,
        False,
        True,
        "takes no key or value of that size: see its proto-max-bulk-len and "
        "client-query-buffer-limit",
    ),
    ("NoPermissionError", CacheError, False, True, "does not permit this user to do that (NOPERM)"),
    (
        "AskError",
        CacheError,
        False,
        False,
        "is one node of a Redis Cluster: use a redis+cluster:// URL",
    ),  # and MOVED
    ("TryAgainError", CacheError, True, False, "is moving the key to another node"),
    (
        "ClusterDownError",
        CacheError,
        True,
        False,
        "says that its cluster does not serve the key at present",
    ),
    ("OutOfMemoryError", CacheError, True, True, "is out of memory"),
    ("_NoNumberError", CacheError, False, True, "holds no whole number of 64 bits under that key"),
    ("_NoClusterError", CacheError, False, False, "is no node of a cluster: use a redis:// URL"),
    ("RedisError", CacheError, False, True, "refused the command"),
    ("OSError", ConnectionError, True, True, "could not be reached"),
)
# Operations that the call policy repeats after they were sent: running one twice changes neither answer nor data.
_REDIS_REPEATABLE = frozenset({"get", "get_many", "exists", "ttl", "set", "set_many", "scan"})
_Address = tuple[str, int]  # host and port
_PIPELINE = 1000  # commands in one round trip: bounds memory on both sides
_LEAST_LIMIT = 1 << 20  # bytes: no server takes a lower one as its proto-max-bulk-len
_COMPARE_AND_DELETE = (
    "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end"
)


class _NoReplicasError(Exception):
    """A master refuses writes because too few of its replicas answer. redis-py has no class for that."""


class _NotSavedError(Exception):
    """A server refuses writes because its last snapshot failed."""


class _BusyError(Exception):
    """A server refuses everything while a script runs for too long."""


class _TooLargeError(Exception):
    """A word is longer than the server takes. It reads no further, and ends the connection."""


class _TooManyClientsError(builtins.ConnectionError):
    """A server refuses a connection. redis-py before 5.1 has no class for that."""


class _ProtectedError(builtins.ConnectionError):
    """A server refuses a connection from another machine."""


class _NoNumberError(Exception):
    """A value cannot be counted up, or no further."""


class _NoClusterError(Exception):
    """A server that is no node of a cluster is asked for the cluster's slots."""


#: codes that a refusal may quote: a command in a script failed (Redis 6.2), or one that made EXEC fail
_REDIS_QUOTED = {
    "READONLY": "ReadOnlyError",
    "MASTERDOWN": "MasterDownError",
    "NOREPLICAS": "_NoReplicasError",
    "OOM": "OutOfMemoryError",
    "MISCONF": "_NotSavedError",
    "BUSY": "_BusyError",
    "UNKILLABLE": "_BusyError",
}
#: refusals without a code of their own
_REDIS_PHRASES = {
    "Protocol error: invalid bulk length": "_TooLargeError",
    "max number of clients ": "_TooManyClientsError",  # a node: "… + cluster connections reached"
    "DENIED Redis is running in protected mode": "_ProtectedError",
    "value is not an integer or out of range": "_NoNumberError",
    "increment or decrement would overflow": "_NoNumberError",
    "This instance has cluster support disabled": "_NoClusterError",
    "unknown command 'CLUSTER'": "_NoClusterError",
    "unknown command `CLUSTER`": "_NoClusterError",  # Redis 6.2
}
_REDIS_QUOTE = _lazy(f"(?:^|: |-)({'|'.join(_REDIS_QUOTED)}) ")


class _RedisTransport:
    """Connections of redis-py behind our pool and policy, to one server.

    Below redis-py's own client on purpose: only here can be seen whether a command had been sent when its connection
    failed, and every timeout is ours.
    """

    def __init__(
        self, config: CacheConfig, clock: Clock, observer: Callable[[Call], None] | None
    ) -> None:
        self.config = config
        self._redis = _driver("redis", "redis>=5", "RedisClient")
        self._url = _Url.parse(config.url)
        self._tls: Any = None
        if self._url.scheme.startswith("rediss"):
            self._tls = _tls_context(
                self._url.options, self._url.options.get("sslmode", "verify-full")
            )
        self._errors: list[tuple[type[Exception], type[InfrastructureError], bool, bool, str]] = [
            (self._error_class(name), *rest) for name, *rest in _REDIS_ERRORS
        ]
        self._refusal = self._redis.ResponseError
        exceptions = self._redis.exceptions
        self._vague = (self._refusal, exceptions.ExecAbortError)
        #: refusals by a server that is no master, or none that others still follow
        self._demotions = (
            exceptions.ReadOnlyError,
            exceptions.MasterDownError,
            _NoReplicasError,
        )
        #: when the server behind an address was found to be another one than before
        self._switched: dict[_Address, float] = {}
        # redis-py 5 knows MOVED and its kin in this parser only.
        parser = getattr(self._redis.cluster, "ClusterParser", None)
        self._options: dict[str, Any] = {"parser_class": parser} if parser else {}
        if hasattr(self._redis, "driver_info"):
            # None: else redis-py reads its package's metadata from disk for each connection.
            self._options["driver_info"] = None
        self.policy = CallPolicy(
            "redis",
            translate=self._translate,
            repeatable=_REDIS_REPEATABLE,
            deadline=config.deadline,
            retries=config.retries,
            clock=clock,
            observer=observer,
        )
        self.address: _Address = (self._url.host, self._url.port or 6379)
        self.pool = self._open_pool(self.address)

    def _error_class(self, name: str) -> Any:
        found = getattr(self._redis.exceptions, name, None) or getattr(builtins, name, None)
        return found or globals()[name]

    def _open_pool(self, address: _Address) -> _Pool[Any]:
        return _Pool(
            "RedisClient",
            self.config.pool_size,
            connect=functools.partial(self.connect, address),
            disconnect=self.disconnect,
            is_dead=self._is_dead,
        )

    def pools(self) -> list[_Pool[Any]]:
        """The connections, those of listeners apart: one pool for each server."""
        return [self.pool]

    def close(self) -> None:
        self.pool.close()

    def connect(self, address: _Address, attempt: Attempt) -> Any:
        """A connection that is logged in, within the attempt's deadline."""
        self.pool.check_open()
        attempt.note = address
        config, url = self.config, self._url
        host, port = address

        def log_in(connection: Any) -> None:
            # redis-py's own handshake has more round trips than needed, and gives each the whole timeout; its TLS reads
            # the system's certificates again for each connection.
            if self._tls is not None:
                connection._sock.settimeout(min(config.connect_timeout, attempt.remaining()))
                try:
                    connection._sock = self._tls.wrap_socket(connection._sock, server_hostname=host)
                except builtins.TimeoutError as exc:
                    raise self._redis.TimeoutError from exc
                connection._sock.settimeout(config.socket_timeout)
            connection._parser.on_connect(connection)
            if url.password is not None:
                self.ask(
                    connection, attempt, ("AUTH", *([url.user] if url.user else []), url.password)
                )
            elif self._tls is not None:
                # A server may judge our certificate, and send its session tickets, when the handshake is over for us.
                # Who answers is done with both: nothing was sent in vain, and what is readable is a reply.
                with contextlib.suppress(self._refusal):
                    self.ask(connection, attempt, ("PING",))
            if url.path not in ("", "0"):
                self.ask(connection, attempt, ("SELECT", url.path))

        def open_socket() -> socket.socket:
            raw = _open_socket(host, port, attempt, config.connect_timeout)
            raw.settimeout(config.socket_timeout)
            return raw

        connection = self._redis.Connection(
            host=host,
            port=port,
            protocol=2,
            redis_connect_func=log_in,
            socket_timeout=config.socket_timeout,
            health_check_interval=0,
            retry=self._redis.retry.Retry(self._redis.backoff.NoBackoff(), 0),
            decode_responses=False,
            **self._options,
        )
        connection.address = address
        connection.opened = SystemClock.monotonic()
        connection.is_new = True  # has answered no command yet
        connection.unread = False  # a reply is still to come
        connection.hurried = False  # whether its timeout is shorter than usual
        connection._connect = open_socket  # redis-py gives each address of a host the whole timeout
        try:
            connection.connect()
        except BaseException:
            connection.disconnect()
            raise
        return connection

    def connect_listener(self, attempt: Attempt) -> Any:
        """A connection for channels."""
        return self.connect(self.address, attempt)

    def disconnect(self, connection: Any) -> None:
        connection.disconnect()  # in a forked child it closes the descriptor without a shutdown

    def _is_dead(self, connection: Any) -> bool:
        """An idle connection has nothing to read: what is there is the server's goodbye, or a reply nobody asked for,
        which would be taken for the answer to the next command. After a failover an old one may lead to the old
        server."""
        if connection.opened < self._switched.get(connection.address, -math.inf):
            return True
        connection.unread = (
            True  # what interrupts the look may leave the socket without its timeout
        )
        try:
            dead = connection._sock is None or bool(connection.can_read(0))
        except self._redis.RedisError:
            return True
        connection.unread = False
        return dead

    def nodes(self, operation: str, until: float) -> Sequence[_Address]:
        """The servers that together hold all keys, for ``send_to``."""
        return [self.address]

    def send(self, operation: str, *commands: tuple[Any, ...], key: str | None = None) -> list[Any]:
        """Sends the commands, all about ``key``, in one go and returns a reply for each, behind EXEC's also one for
        each command of the transaction; a refused one raises."""
        return self.send_to(self.address, operation, *commands)

    def send_to(
        self, node: _Address, operation: str, *commands: tuple[Any, ...], until: float | None = None
    ) -> list[Any]:
        """As ``send``, to one of the ``nodes``, whatever key it is about."""
        return self.policy.call(
            operation,
            lambda attempt: self._accepted(self.exchange(attempt, [(node, commands)])[0]),
            until=until,
        )

    def send_each(self, operation: str, commands: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
        """Sends many commands, each about the key that is its second word, and gives their replies in order."""
        until = self.policy.until()
        for start in range(0, len(commands), _PIPELINE):
            yield from self.send_to(
                self.address, operation, *commands[start : start + _PIPELINE], until=until
            )

    def send_for_all(self, operation: str, word: str, keys: Sequence[str]) -> Iterator[Any]:
        """Sends a command that takes any number of keys, for all of these; its replies are to be added up."""
        until = self.policy.until()
        for start in range(0, len(keys), _PIPELINE):
            yield from self.send_to(
                self.address, operation, (word, *keys[start : start + _PIPELINE]), until=until
            )

    def _accepted(self, replies: list[Any]) -> list[Any]:
        if isinstance(replies[-1], list) and len(replies) > 1:
            replies += replies[-1]  # EXEC's
        if self._has(Exception, replies):
            raise next(reply for reply in replies if isinstance(reply, Exception))
        return replies

    def _pool(self, address: _Address) -> _Pool[Any]:
        return self.pool

    def exchange(
        self, attempt: Attempt, parts: Sequence[tuple[_Address, Sequence[tuple[Any, ...]]]]
    ) -> list[list[Any]]:
        """Sends each server its commands, then reads: a list of replies for each. What a server refuses is a value."""
        places: list[_Place[Any]] = [_Place() for _ in parts]
        pools = [self._pool(address) for address, _ in parts]
        try:
            return self._exchange(attempt, parts, pools, places)
        except self._redis.ConnectionError as exc:
            failure = exc
        finally:
            try:
                self._release(pools, places)
            finally:  # again: an exception from a signal handler may have ended the first round
                self._release(pools, places)
        too_large = self._too_large(attempt, parts)
        try:
            raise too_large or failure
        finally:  # their tracebacks hold this frame
            del failure, too_large

    def _too_large(
        self, attempt: Attempt, parts: Sequence[tuple[_Address, Sequence[tuple[Any, ...]]]]
    ) -> _TooLargeError | None:
        """Whether the connection has ended because a word was too long for the server.

        The server says so, but it ends the connection while we still send, and what it said may be
        lost. So the head of such a word is sent again, behind a command whose reply shows that it
        was read. That command asks for client-query-buffer-limit: above it, the server only ends
        the connection. A user without the right to ask gets a ConnectionError then.
        """
        address = attempt.note
        commands = itertools.chain(*(commands for each, commands in parts if each == address))
        length = max(map(_byte_length, itertools.chain(*commands)), default=0)
        if length < _LEAST_LIMIT or not attempt.sent:
            return None
        question = "CONFIG", "GET", "client-query-buffer-limit"
        probe = b"".join(_packed([question])) + f"*2\r\n$4\r\nECHO\r\n${length}\r\n".encode()
        with contextlib.suppress(self._redis.RedisError, OSError, InfrastructureError):
            connection = self.connect(address, attempt)
            try:
                connection._sock.sendall(probe)
                found = self._read(connection, attempt)  # the name and the limit, or a refusal
                if isinstance(found, list) and found and int(found[1]) < length:
                    return _TooLargeError()
                reply = self.read(connection) if connection.can_read(0.1) else None
            finally:
                self.disconnect(connection)
            return reply if isinstance(reply, _TooLargeError) else None
        return None

    def _exchange(
        self,
        attempt: Attempt,
        parts: Sequence[tuple[_Address, Sequence[tuple[Any, ...]]]],
        pools: Sequence[_Pool[Any]],
        places: Sequence[_Place[Any]],
    ) -> list[list[Any]]:
        for pool, place in zip(pools, places):
            pool.acquire(place, attempt)
        for (address, commands), place in zip(parts, places):
            self._write(attempt, address, place.resource, commands)
        answers: list[list[Any]] = [[] for _ in parts]
        for number in self._promptest(parts, range(len(parts))):
            attempt.note, commands = parts[number]
            answers[number] = self._replies(attempt, pools[number], places[number], commands)
            pools[number].release(places[number])
        return answers

    def _release(self, pools: Sequence[_Pool[Any]], places: Sequence[_Place[Any]]) -> None:
        for pool, place in zip(pools, places):
            connection = place.resource
            pool.release(place, broken=connection is not None and connection.unread)

    def _write(
        self,
        attempt: Attempt,
        address: _Address,
        connection: Any,
        commands: Sequence[tuple[Any, ...]],
    ) -> None:
        packed = _packed(commands)
        self._hurry(connection, attempt)
        attempt.note, attempt.sent = address, True
        connection.unread = True
        connection.send_packed_command(packed, False)

    def _replies(
        self,
        attempt: Attempt,
        pool: _Pool[Any],
        place: _Place[Any],
        commands: Sequence[tuple[Any, ...]],
    ) -> list[Any]:
        """Reads a reply for each command. A server that refuses because it is no master any more gets them once more,
        on a new connection: the address may lead to its successor by now."""
        connection: Any = place.resource
        replies = self._read_all(attempt, connection, commands)
        was_new, connection.is_new = connection.is_new, False
        if not self._is_demoted(replies):
            return replies
        if was_new:
            self._stays_demoted(attempt, connection.address)
            return replies
        if not self._is_undone(commands, replies):
            self._switched[connection.address] = SystemClock.monotonic()  # this one too
            attempt.shared = True  # it refused some commands only: it may have done the others
            return replies
        attempt.sent = attempt.shared
        return self._ask_successor(attempt, pool.renew(place, attempt), commands)

    def _ask_successor(
        self, attempt: Attempt, connection: Any, commands: Sequence[tuple[Any, ...]]
    ) -> list[Any]:
        self._write(attempt, connection.address, connection, commands)
        replies = self._read_all(attempt, connection, commands)
        connection.is_new = False
        if self._is_demoted(replies):
            self._stays_demoted(attempt, connection.address)
        else:
            self._switched[connection.address] = connection.opened
        return replies

    def _stays_demoted(self, attempt: Attempt, address: _Address) -> None:
        """A new connection leads to a server that is no master: more of them would not help."""
        attempt.final = True

    def _read_all(
        self, attempt: Attempt, connection: Any, commands: Sequence[tuple[Any, ...]]
    ) -> list[Any]:
        # Not through the connection's own read_response(): for each of many replies that would take
        # half as long again. What it does besides is done here: an error is named as redis-py's.
        read, replies = connection._parser.read_response, []
        usual = self.config.socket_timeout
        try:
            for _ in commands:
                if connection.hurried or attempt.remaining() < usual:
                    self._hurry(connection, attempt)
                replies.append(read(disable_decoding=True))
        except builtins.TimeoutError as exc:
            raise self._redis.TimeoutError("no answer in time") from exc
        except OSError as exc:
            raise self._redis.ConnectionError("the connection failed") from exc
        connection.unread = False
        if self._has(self._refusal, replies):
            replies = [
                self._precise(reply) if isinstance(reply, self._refusal) else reply
                for reply in replies
            ]
            for reply in replies:
                if isinstance(reply, OSError):
                    raise reply  # the connection was refused, not the command
        return replies

    @staticmethod
    def _has(kinds: type | tuple[type, ...], replies: Sequence[Any]) -> bool:
        """Whether one of the replies is of these kinds."""
        return any(issubclass(kind, kinds) for kind in {*map(type, replies)})

    def _is_demoted(self, replies: Sequence[Any]) -> bool:
        return self._has(self._demotions, replies)

    @staticmethod
    def _is_undone(commands: Sequence[tuple[Any, ...]], replies: Sequence[Any]) -> bool:
        """Whether the server has refused everything; of a transaction what counts is EXEC."""
        decisive = replies[-1:] if commands[-1] == ("EXEC",) else replies
        return all(isinstance(reply, Exception) for reply in decisive)

    def _promptest(self, parts: Sequence[Any], sent: Sequence[int]) -> Sequence[int]:
        """In which order to read."""
        return sent[:]

    def ask(self, connection: Any, attempt: Attempt, command: tuple[Any, ...]) -> None:
        """One command of the handshake."""
        self._hurry(connection, attempt)
        try:
            connection._sock.sendall(b"".join(connection.pack_command(*command)))
        except OSError:
            pass  # the server has hung up: why is to be read, and redis-py would close before that
        reply = self._read(connection, attempt)
        if isinstance(reply, Exception):
            raise reply

    def _hurry(self, connection: Any, attempt: Attempt) -> None:
        """No single wait goes beyond the deadline."""
        usual, remaining = self.config.socket_timeout, attempt.remaining()
        if remaining < usual or connection.hurried:
            connection.hurried = remaining < usual
            connection._sock.settimeout(min(usual, remaining))

    def _read(self, connection: Any, attempt: Attempt) -> Any:
        self._hurry(connection, attempt)
        return self.read(connection)

    def read(self, connection: Any) -> Any:
        """The next reply. A refusal is a value: the connection is in order, and further replies may follow it."""
        try:
            return connection.read_response(disable_decoding=True)
        except self._refusal as refusal:
            return self._precise(refusal)

    def _precise(self, refusal: Exception) -> Exception:
        """The refusal that this one quotes or words, if it does so."""
        text = str(refusal)
        quoted = type(refusal) in self._vague and _REDIS_QUOTE.search(text)
        name = _REDIS_QUOTED[quoted[1]] if quoted else self._phrased(text)
        if name is None:
            return refusal
        precise: Exception = self._error_class(name)(text)
        return precise

    @staticmethod
    def _phrased(text: str) -> str | None:
        found = (name for phrase, name in _REDIS_PHRASES.items() if text.startswith(phrase))
        return next(found, None)

    def silent(self, connection: Any) -> None:
        """A listener's connection did not answer."""

    def refused(self, refusal: Exception) -> InfrastructureError:
        """What a refusal that came as a value means."""
        error = self._translate(refusal, Attempt(0, SystemClock.monotonic)) or CacheError(
            "redis refused the command"
        )
        error.service, error.__cause__ = "redis", _scrubbed(refusal)
        return error

    def _translate(self, exc: Exception, attempt: Attempt) -> InfrastructureError | None:
        if isinstance(exc, (self._redis.ConnectionError, self._refusal)):  # within EXEC's reply
            exc = self._precise(exc)
        for known, error, retryable, acted, words in self._errors:
            if isinstance(exc, known):
                attempt.sent = attempt.sent and (acted or attempt.shared)
                code = re.match(
                    "[A-Z]{3,}(?= )", str(exc)
                )  # of "WRONGTYPE Operation against …" the code may be quoted
                detail = _os_reason(exc, has_sslcert=True) or (code and f" ({code[0]})") or ""
                host, port = attempt.note or self.address
                where = f"redis at {host}:{port}"
                word = code and code[0]
                return error(f"{where} {words}{detail}", retryable=retryable, code=word)
        return None


def _word(word: Any) -> str:
    return word.decode() if word.__class__ is bytes else str(word)


def _byte_length(word: Any) -> int:
    text = _word(word)
    return len(text) if text.isascii() else len(text.encode())


def _packed(commands: Sequence[tuple[Any, ...]]) -> list[bytes]:
    """As Redis reads them (https://redis.io/docs/latest/develop/reference/protocol-spec/), in pieces: what is large is
    not copied. redis-py takes three times as long."""
    pieces, parts, size = [], [], 0
    for command in commands:
        parts.append(f"*{len(command)}\r\n")
        for word in command:
            text = word if word.__class__ is str else _word(word)
            length = len(text) if text.isascii() else len(text.encode())
            size += length
            if size < 100_000:
                parts.append(f"${length}\r\n{text}\r\n")
            else:
                pieces += ["".join([*parts, f"${length}\r\n"]).encode(), text.encode()]
                parts, size = ["\r\n"], 0
    return [*pieces, "".join(parts).encode()]


class _ClusterTransport(_RedisTransport):
    """The same to a Redis Cluster (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/).

    Which node owns which of the 16,384 slots is asked of one of them, first of the URL's, and again when a node fails.
    What a node redirects (MOVED, ASK) it has not done: it goes to where it was sent. Channels live on one node, the
    same for all clients, so that publishers can count subscribers; when it has failed, on the next, until it answers
    again: the cluster passes messages on to all its nodes.
    """

    REDIRECTS = 5  # in one attempt
    REFRESH = 60.0  # seconds after which the slots are asked for again in any case

    def __init__(
        self, config: CacheConfig, clock: Clock, observer: Callable[[Call], None] | None
    ) -> None:
        super().__init__(config, clock, observer)
        self._slot: Callable[[bytes], int] = importlib.import_module("redis.crc").key_slot
        self._pools = {self.address: self.pool}
        self._owners: list[_Address | None] = []  # of each slot
        self._masters: list[_Address] = []
        self._outdated = True
        self._learned = 0.0  # when
        self._failures: dict[
            _Address, float
        ] = {}  # when they were, of nodes that have not answered since

    def _open_pool(self, address: _Address) -> _Pool[Any]:
        pool = super()._open_pool(address)
        pool._is_stale = lambda _: self._pools.get(address) is not pool  # of a node that has left
        return pool

    def _pool(self, address: _Address) -> _Pool[Any]:
        pool = self._pools.get(address)
        if pool is None:
            self.pool.check_open()
            pool = self._pools.setdefault(address, self._open_pool(address))
        return pool

    def pools(self) -> list[_Pool[Any]]:
        return list(self._pools.values())

    def close(self) -> None:
        self.pool.close()  # first: then no pool gets a new connection
        for pool in self.pools():
            pool.close()

    def exchange(
        self, attempt: Attempt, parts: Sequence[tuple[_Address, Sequence[tuple[Any, ...]]]]
    ) -> list[list[Any]]:
        try:
            answers = super().exchange(attempt, parts)
        except (self._redis.RedisError, OSError) as exc:
            self._blame(attempt.note, exc)
            raise
        for address, _ in parts if self._failures else ():
            self._failures.pop(address, None)
        return answers

    def _promptest(self, parts: Sequence[Any], sent: Sequence[int]) -> Sequence[int]:
        return (
            sent[:]
            if not self._failures
            else sorted(sent, key=lambda number: self._failed_at(parts[number][0]))
        )

    def _blame(self, address: _Address, reason: BaseException | None = None) -> None:
        if not isinstance(reason, InfrastructureError):  # that is ours: a full pool, a deadline
            self._failures[address] = SystemClock.monotonic()
            self._outdated = True

    def silent(self, connection: Any) -> None:
        self._blame(connection.address)

    def _stays_demoted(self, attempt: Attempt, address: _Address) -> None:
        self._blame(address)  # others may know its successor

    def _failed_at(self, address: _Address) -> float:
        return self._failures.get(address, -math.inf)

    def _learn(self, attempt: Attempt, *, anew: bool = False) -> None:
        """Asks which slots there are, unless that is known: the node that has not failed, or not for longest. Whether
        it answers or not, the next attempt asks another if need be."""
        if not (self._outdated or anew or SystemClock.monotonic() > self._learned + self.REFRESH):
            return
        try:
            asked = min([*self._masters, self.address], key=self._failed_at)
            [[reply]] = self.exchange(attempt, [(asked, [("CLUSTER", "SLOTS")])])
            self._adopt(asked, self._accepted([reply])[0])
        finally:
            attempt.sent = False

    def _adopt(self, asked: _Address, slots: Iterable[Any]) -> None:
        owners: list[_Address | None] = [None] * 16384
        for first, last, (host, port, *_), *_ in slots:
            # An empty host, or none, or "?": the one that was asked.
            address = (asked[0] if host in (None, b"", b"?") else host.decode(), port)
            owners[first : last + 1] = [address] * (last + 1 - first)
        masters = [address for address in dict.fromkeys(owners) if address is not None]
        if not masters:  # a node that has left, or a cluster that is being built
            self._blame(asked)
            raise CacheError(
                "redis at {}:{} knows of no slots at present".format(*asked), retryable=True
            )
        self._learned = SystemClock.monotonic()
        self._owners, self._masters, self._outdated = owners, masters, False
        for address, pool in list(self._pools.items()):
            if address not in (self.address, *masters):
                self._pools.pop(address, None)
                for _ in range(pool.size):
                    pool._tidy()

    def _owner(self, slot: int) -> _Address:
        owner = self._owners[slot]
        if owner is None:
            self._outdated = True
            raise CacheError("no node of the cluster serves this key at present", retryable=True)
        return owner

    def _channel_node(self) -> _Address:
        return min(self._masters, key=self._failed_at)

    def connect_listener(self, attempt: Attempt) -> Any:
        self._learn(attempt)
        try:
            return self.connect(self._channel_node(), attempt)
        except (self._redis.RedisError, OSError) as exc:
            self._blame(attempt.note, exc)
            raise

    def nodes(self, operation: str, until: float) -> Sequence[_Address]:
        self.policy.call(operation, lambda attempt: self._learn(attempt, anew=True), until=until)
        return self._masters

    def send(self, operation: str, *commands: tuple[Any, ...], key: str | None = None) -> list[Any]:
        def attempt(current: Attempt) -> list[Any]:
            if key is not None:
                return self._perform(current, [_Unit(self._slot(key.encode()), commands)])[0]
            self._learn(current)
            return self._accepted(self.exchange(current, [(self._channel_node(), commands)])[0])

        return self.policy.call(operation, attempt)

    def send_each(self, operation: str, commands: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
        until = self.policy.until()
        for start in range(0, len(commands), _PIPELINE):
            batch = [
                (self._slot(each[1].encode()), (each,))
                for each in commands[start : start + _PIPELINE]
            ]

            def attempt(current: Attempt) -> list[Any]:
                return [
                    reply
                    for (reply,) in self._perform(current, list(itertools.starmap(_Unit, batch)))
                ]

            yield from self.policy.call(operation, attempt, until=until)

    def send_for_all(self, operation: str, word: str, keys: Sequence[str]) -> Iterator[Any]:
        return self.send_each(
            operation, [(word, key) for key in keys]
        )  # a command has to keep to one slot

    def _perform(self, attempt: Attempt, units: Sequence[_Unit]) -> list[list[Any]]:
        """Runs the units, following redirections, and returns the replies of each. All nodes work at once."""
        self._learn(attempt)
        for unit in units:
            unit.node = self._owner(unit.slot)
        waiting = units
        for _ in range(self.REDIRECTS + 1):
            parts: dict[_Address, list[_Unit]] = {}
            for unit in waiting:
                parts.setdefault(unit.node, []).append(unit)
            nodes = sorted(parts)  # all threads take connections in one order
            attempt.shared = attempt.shared or len(nodes) > 1
            answers = self.exchange(
                attempt,
                [(node, [c for unit in parts[node] for c in unit.words()]) for node in nodes],
            )
            for node, replies in zip(nodes, answers):
                following = iter(replies)
                for unit in parts[node]:
                    unit.replies = list(itertools.islice(following, len(unit.words())))[
                        unit.asking :
                    ]
            waiting = [unit for unit in waiting if self._redirected(unit)]
            attempt.sent = len(waiting) < len(units)
            attempt.shared = attempt.sent and len(units) > 1
            if not waiting:
                return [self._settled(attempt, unit) for unit in units]
        raise CacheError("the cluster keeps sending us from node to node", retryable=True)

    def _settled(self, attempt: Attempt, unit: _Unit) -> list[Any]:
        attempt.note = unit.node
        try:
            return self._accepted(unit.replies)
        except (
            self._redis.exceptions.ClusterDownError
        ):  # of this node: others may know of a better one
            self._blame(unit.node)
            raise

    def _redirected(self, unit: _Unit) -> bool:
        """Whether the node has sent the unit elsewhere, undone: for good, so that the slots have to be learned anew, or
        this once."""
        exceptions = self._redis.exceptions
        redirection = next(
            (each for each in unit.replies if isinstance(each, exceptions.AskError)), None
        )
        if redirection is None:
            return False
        unit.node = (redirection.host or unit.node[0], redirection.port)
        unit.asking = not isinstance(redirection, exceptions.MovedError)
        self._outdated = self._outdated or not unit.asking
        return True


class _Unit:
    """Commands about one slot that stay together, the node they go to, and what came back."""

    __slots__ = ("asking", "commands", "node", "replies", "slot")

    def __init__(self, slot: int, commands: Sequence[tuple[Any, ...]]) -> None:
        self.slot = slot
        self.commands = commands
        self.node: _Address = ("", 0)
        self.asking = False  # of a node that the slot is moving to, and that does not own it yet
        self.replies: list[Any] = []

    def words(self) -> Sequence[tuple[Any, ...]]:
        return (("ASKING",), *self.commands) if self.asking else self.commands


def _text(raw: Any) -> Any:
    """A reply's bytes as text; None stays None."""
    if raw is None:
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError:
        pass
    raise SerializationError(
        "Redis holds bytes that are not UTF-8"
    )  # outside: the cause would quote them


class RedisClient(KeyValueClient):
    """Redis or a server that speaks its protocol, alone or as a cluster, over redis-py: tried on Redis 6.2 and 7.0 and
    on Valkey 9.

    Connections are opened on use, at most ``config.pool_size``; each listener has one more of its own. A command whose
    connection died before anything was sent is tried again until the deadline; one that had been sent only if running
    it twice changes nothing (get, get_many, exists, ttl, set, set_with_expiry, set_many, scan).

    After a failover, a server that is no master any more refuses writes (READONLY). Its connections are dropped, and
    the refused command is sent once more, on a new one. If that says the same, it stays, and the call raises
    CacheError.
    """

    def __init__(
        self,
        config: CacheConfig | None = None,
        *,
        clock: Clock | None = None,
        observer: Callable[[Call], None] | None = None,
    ) -> None:
        if not isinstance(config, CacheConfig | None):
            raise ConfigurationError(
                "RedisClient takes a CacheConfig: RedisClient(CacheConfig(url=…))"
            )
        self._listeners: dict[_RedisListener, None] = {}  # a set, in order
        self._closed = False
        config = config or CacheConfig()
        kind = (
            _ClusterTransport
            if _Url.parse(config.url).scheme.endswith("+cluster")
            else _RedisTransport
        )
        self._clock = _clock(clock)
        self._transport = kind(config, self._clock, observer)
        self._send = self._transport.send

    def close(self) -> None:
        self._closed = True
        # First: a handler at work may use this client until it is done.
        for listener in list(self._listeners):
            listener.close()
        self._transport.close()

    def _holds(self) -> bool:
        return self.stats().open > 0 or any(each._holds() for each in list(self._listeners))

    def _get(self, key: str) -> str | None:
        value: str | None = _text(self._send("get", ("GET", key), key=key)[0])
        return value

    def _get_many(self, keys: Sequence[str]) -> Sequence[str | None]:
        replies = self._transport.send_each("get_many", [("GET", key) for key in keys])
        return [*map(_text, replies)]

    def _set(self, key: str, value: str, ttl: int | None) -> None:
        self._send(
            "set", ("SET", key, value) if ttl is None else ("SET", key, value, "PX", ttl), key=key
        )

    def _set_many(self, pairs: Sequence[tuple[str, str]], ttl: int | None) -> None:
        expiry = () if ttl is None else ("PX", ttl)
        for _ in self._transport.send_each(
            "set_many", [("SET", key, value, *expiry) for key, value in pairs]
        ):
            pass

    def _set_nx(self, key: str, value: str, ttl: int | None) -> bool:
        expiry = () if ttl is None else ("PX", ttl)
        return self._send("set_nx", ("SET", key, value, "NX", *expiry), key=key)[0] is not None

    def _delete_many(self, keys: Sequence[str]) -> int:
        return sum(self._transport.send_each("delete", [("DEL", key) for key in keys]))

    def _unlink_many(self, keys: Sequence[str]) -> int:
        return sum(self._transport.send_for_all("delete", "UNLINK", keys))

    def _compare_and_delete(self, key: str, value: str) -> bool:
        command = ("EVAL", _COMPARE_AND_DELETE, 1, key, value)
        return bool(self._send("compare_and_delete", command, key=key)[0])

    def _exists(self, key: str) -> bool:
        return bool(self._send("exists", ("EXISTS", key), key=key)[0])

    def _pttl(self, key: str) -> int:
        return int(self._send("ttl", ("PTTL", key), key=key)[0])

    def _pexpire(self, key: str, ttl: int) -> bool:
        return bool(self._send("expire", ("PEXPIRE", key, ttl), key=key)[0])

    def _increment(self, key: str, amount: int, ttl: int | None) -> int:
        if ttl is None:
            return int(self._send("increment", ("INCRBY", key, amount), key=key)[0])
        # A counter that dies between INCR and EXPIRE would never expire; this also runs on Redis 6.2 (no SET … NX GET).
        unit = ("MULTI",), ("SET", key, 0, "PX", ttl, "NX"), ("INCRBY", key, amount), ("EXEC",)
        return int(self._send("increment", *unit, key=key)[-1])

    def _scan(self, glob: str) -> Iterator[str]:
        def page(node: _Address, cursor: Any, until: float | None = None) -> Any:
            command = ("SCAN", cursor, "MATCH", glob, "COUNT", _PIPELINE)
            return self._transport.send_to(node, "scan", command, until=until)[0]

        def pages(cursor: Any, keys: Any) -> Iterator[str]:
            for number, node in enumerate(nodes):
                if number > 0:
                    cursor, keys = page(node, 0)
                yield from map(_text, keys)
                while cursor != b"0":
                    cursor, keys = page(node, cursor)
                    yield from map(_text, keys)

        until = self._transport.policy.until()
        nodes = self._transport.nodes("scan", until)
        return pages(*page(nodes[0], 0, until))

    def _publish(self, channel: str, message: str) -> int:
        return int(self._send("publish", ("PUBLISH", channel, message))[0])

    def _listen(
        self, on_message: MessageHandler, on_reconnect: Callable[[], None] | None
    ) -> Listener:
        for each in list(self._listeners):
            if each._closed:
                self._listeners.pop(each, None)
        listener = _RedisListener(self._transport, on_message, on_reconnect)
        self._listeners[listener] = None  # before it opens anything, so that close() finds it
        try:
            listener._start()
        except BaseException:
            listener.close()
            raise
        if self._closed:  # meanwhile
            listener.close()
        return listener

    def _health_check(self) -> Health:
        started = time.perf_counter()
        until = self._transport.policy.until()
        nodes = self._transport.nodes("health_check", until)
        for node in nodes:
            info = _text(
                self._transport.send_to(node, "health_check", ("INFO", "server"), until=until)[0]
            )
        latency = time.perf_counter() - started
        found = dict(re.findall(r"(\w+):(.*?)\r", info))
        name = "Valkey" if "valkey_version" in found else "Redis"
        mode = found.get("server_mode") or found.get("redis_mode")  # Valkey's name, and Redis's
        cluster = f", cluster of {len(nodes)}" if mode == "cluster" else ""
        version = found.get("valkey_version") or found.get("redis_version")
        return Health("redis", f"{name} {version}{cluster}", latency)

    def _stats(self) -> PoolStats:
        each = [pool.stats() for pool in self._transport.pools()]
        return PoolStats(*(sum(numbers) for numbers in zip(*map(astuple, each))))


class _Change:
    """One SUBSCRIBE or UNSUBSCRIBE (or PING, with no name) on its way: settled by the server's answer."""

    __slots__ = ("call", "command", "error", "name", "settled")

    def __init__(self, command: str, name: bytes = b"", call: _ListenerCall | None = None) -> None:
        self.command = command
        self.name = name
        self.call = call
        self.settled = False
        self.error: InfrastructureError | None = None

    @property
    def joins(self) -> bool:
        return self.command in ("SUBSCRIBE", "PSUBSCRIBE")

    @property
    def key(self) -> tuple[bool, bytes]:
        """The subscription: whether it is a glob, and its name."""
        return self.command in ("PSUBSCRIBE", "PUNSUBSCRIBE"), self.name

    def undone(self) -> _Change:
        """What takes back that it joined."""
        return _Change("PUNSUBSCRIBE" if self.key[0] else "UNSUBSCRIBE", self.name)


class _ListenerCall:
    """A caller's changes, and the flag for which it waits: all of them are settled, or the listener was closed."""

    __slots__ = ("changes", "done")

    def __init__(self, command: str, names: Sequence[str]) -> None:
        self.done = _Flag()
        self.changes = [_Change(command, name.encode(), self) for name in dict.fromkeys(names)]

    def is_settled(self) -> bool:
        return all(change.settled for change in self.changes)

    def error(self) -> InfrastructureError | None:
        return next((change.error for change in self.changes if change.error), None)


class _RedisListener(Listener):
    """One thread that uses one connection, and makes a new one whenever that ends. Others leave it what to send, and
    wake it: over TLS no two threads may use a socket at once, not even to read and to write.

    Redis answers the commands of a connection in order, one answer per name, so a queue of what was told says what an
    answer is to. A silent peer is told from a quiet channel by a PING after ``QUIET`` socket timeouts of silence.
    """

    QUIET = 5

    def __init__(
        self,
        transport: _RedisTransport,
        on_message: MessageHandler,
        on_reconnect: Callable[[], None] | None,
    ) -> None:
        super().__init__(on_message, on_reconnect)
        self._transport = transport
        # Guards what follows; never held during I/O or a wait. Re-entrant: a signal handler or a finalizer may change
        # or close the listener in the middle of another change.
        self._lock = threading.RLock()
        #: subscriptions, each with the calls that wait for it, and None once one of them was answered
        self._wanted: dict[tuple[bool, bytes], builtins.set[_Change | None]] = {}
        self._outgoing: deque[_Change] = deque()  # not sent yet
        self._told: deque[_Change] = deque()  # sent, and not answered yet
        self._unsent: list[_Change] = []  # waiting for a connection
        self._rejoining: builtins.set[_Change] | None = (
            None  # what has to stand again before on_reconnect is called
        )
        self._calls: dict[_ListenerCall, None] = {}  # a set: those that wait
        self._heard = False  # from this connection
        self._handling = False  # a handler is at work: answers are read after it
        self._closed = False
        self._ending = _Flag()  # set when closed
        self._connection: Any = None
        self._socket: Any = None
        self._sleeper: Any = None
        self._waker: Any = None
        self._thread: threading.Thread | None = None

    def _start(self) -> None:
        """Connects, and begins to read. Once the thread runs, all that is open is the thread's to close."""
        thread = threading.Thread(target=self._run, name="infra-listener", daemon=True)
        try:
            self._adopt(self._transport.policy.call("listen", self._transport.connect_listener))
            self._sleeper, self._waker = socket.socketpair()
            self._sleeper.setblocking(False)
            self._waker.setblocking(False)
            _fork_aware.add(self)
            self._check_open()
            self._thread = thread
            thread.start()
        except BaseException:
            self._closed = True
            if thread.ident is None:
                self._let_go()
            raise

    def _check_open(self) -> None:
        if self._closed:
            raise ConnectionError("the listener is closed", service="redis", retryable=False)

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._transport.disconnect(connection)
        for each in (self._sleeper, self._waker):
            if each is not None:
                each.close()

    def _holds(self) -> bool:
        return self._thread is not None and not self._closed

    def _forget_parent(self) -> None:
        self._lock = threading.RLock()
        self._closed, self._thread = True, None
        self._let_go()

    def _adopt(self, connection: Any) -> None:
        # The socket too: redis-py drops its own reference the moment that the connection ends.
        self._connection, self._socket = connection, connection._sock

    def _apply(self, command: str, names: Sequence[str]) -> None:
        # In the thread itself, or in the middle of another change of this thread, no answer can be waited for.
        waits = threading.current_thread() is not self._thread and not self._is_changing()
        call, failed = _ListenerCall(command, names), True
        self._calls[call] = None
        try:
            self._check_open()  # after the call can be found: from here on close() ends it
            with self._lock:
                self._begin(command, call)
            if waits:
                self._wake()
                self._await(call)
            elif threading.current_thread() is self._thread:
                self._flush()
            failed = False
        finally:
            self._calls.pop(call, None)
            with self._lock:
                self._conclude(call.changes, failed=failed)
            self._wake()

    def _is_changing(self) -> bool:
        """Whether this thread is in a change, which a signal handler or a finalizer has interrupted."""
        return self._lock._is_owned()  # type: ignore[attr-defined, no-any-return]  # as Condition asks

    def _begin(self, command: str, call: _ListenerCall) -> None:
        if command.endswith("UNSUBSCRIBE"):
            kept = self._unneeded(command, [change.name.decode() for change in call.changes])
            call.changes = [change for change in call.changes if change.name.decode() in kept]
        for change in call.changes:
            if change.joins:
                self._wanted.setdefault(change.key, builtins.set()).add(change)
            else:
                self._wanted.pop(change.key, None)
        self._tell(*call.changes)

    def _await(self, call: _ListenerCall) -> None:
        if not call.is_settled():
            call.done.wait(self._transport.config.deadline)
        if self._closed:
            raise ConnectionError("the listener was closed", service="redis", retryable=False)
        error = call.error()
        if not call.is_settled():
            why = ": a handler is still at work" if self._handling else ""
            error = TimeoutError(f"redis did not acknowledge in time{why}", service="redis")
        if error is not None:
            error.operation = call.changes[0].command.lower()
            raise error

    def _conclude(self, changes: Sequence[_Change], *, failed: bool = False) -> None:
        """A call that failed takes back what it joined, unless others join, or have joined, the same."""
        for change in changes:
            reasons = self._wanted.get(change.key)
            if reasons is None or change not in reasons:  # given up meanwhile
                continue
            reasons.remove(change)
            if not failed:
                reasons.add(None)
            elif not reasons:
                del self._wanted[change.key]
                if change.settled:
                    self._tell(change.undone())

    def _tell(self, *changes: _Change) -> None:
        """Has these sent to the server."""
        if self._connection is None:
            self._unsent += [change for change in changes if change.joins]
            self._settle(*(change for change in changes if not change.joins))
            return
        self._outgoing.extend(changes)  # in one step, which no interrupt can halve

    def _wake(self) -> None:
        """Has the thread send what is to be sent, and look whether it is to end."""
        if self._waker is not None:
            with contextlib.suppress(OSError):  # it has been woken often enough, or has ended
                self._waker.send(b"\0")

    def _flush(self) -> None:
        """Sends what is to be sent. A failure ends the connection, which the next read finds."""
        try:
            while self._outgoing:
                change = self._outgoing.popleft()
                self._told.append(change)
                for part in self._connection.pack_command(
                    change.command, *([change.name] if change.name else [])
                ):
                    self._socket.sendall(part)
        except OSError:
            self._hang_up()

    def _settle(self, *changes: _Change, error: InfrastructureError | None = None) -> None:
        for change in changes:
            change.settled, change.error = True, error
            if self._rejoining is not None:
                self._rejoining.discard(change)
            if change.joins and error is not None:
                self._wanted.pop(change.key, None)
                logger.warning("redis refused to subscribe: %s", error)
            elif change.joins and change.key not in self._wanted:  # given up meanwhile
                self._tell(change.undone())
            if change.call is not None and change.call.is_settled():
                change.call.done.set()

    def _hang_up(self) -> None:
        """Wakes the thread, which finds the connection ended."""
        if self._socket is None:
            return
        # TLS, which the thread may be using, is left alone: this is another object for the same connection.
        with contextlib.suppress(OSError), _twin_socket(self._socket) as twin:
            twin.shutdown(socket.SHUT_RDWR)

    def _end(self) -> None:
        self._closed = True
        self._ending.set()
        for call in list(self._calls):
            call.done.set()

    def _close(self) -> None:
        """Takes no lock, because a signal handler may have interrupted a thread that holds it."""
        self._end()
        self._wake()
        self._hang_up()
        thread = self._thread
        if thread is None or thread.ident is None or thread is threading.current_thread():
            return
        if not self._is_changing():  # else the thread waits for the change that was interrupted
            thread.join(self._transport.config.deadline)
            if thread.is_alive() and self._handling:
                logger.warning("a handler still runs after its listener was closed")

    def _run(self) -> None:
        failures = 0
        policy = self._transport.policy
        while True:
            try:
                policy.call("listen", self._session, retries=0)
            except InfrastructureError as error:
                failures = 1 if self._heard else failures + 1
                reason = type(error).__name__
                if isinstance(error, TimeoutError) and self._connection is not None:
                    self._transport.silent(self._connection)
            except BaseException:
                logger.exception(
                    "the listener stops: a handler asked to exit, or the library has a defect"
                )
                self._end()
            self._part()
            if not self._closed:
                details = {"service": "redis", "operation": "listen", "outcome": reason}
                logger.warning(
                    "listener lost its connection (%s); connecting again",
                    reason,
                    extra={**details, "attempt": failures},
                )
                self._ending.wait(policy.pause(failures))
            if self._closed:
                self._let_go()
                return

    def _part(self) -> None:
        """Drops the connection. What was not answered is sent again on the next one."""
        with self._lock:
            connection, self._connection = self._connection, None
            unanswered = [*self._told, *self._outgoing]
            self._told, self._outgoing = deque(), deque()
            self._tell(*unanswered)
        if connection is not None:
            self._transport.disconnect(connection)

    def _session(self, attempt: Attempt) -> None:
        """Uses one connection until it ends, which raises."""
        if self._closed:
            return
        if self._connection is None:
            self._heard = False
            connection = self._transport.connect_listener(attempt)
            with self._lock:
                self._adopt(connection)
                again = [
                    _Change("PSUBSCRIBE" if is_glob else "SUBSCRIBE", name)
                    for is_glob, name in list(self._wanted)
                ]
                unsent, self._unsent = self._unsent, []
                self._rejoining = set(again)
                self._tell(*again, *unsent)
        self._note_rejoined()
        connection = self._connection
        seconds, now = self._transport.config.socket_timeout, SystemClock.monotonic
        connection._sock.settimeout(seconds)
        heard, asked = now(), False
        with selectors.DefaultSelector() as selector:
            for each in (self._socket, self._sleeper):
                selector.register(each, selectors.EVENT_READ)
            while not self._closed:
                self._flush()
                left = heard + seconds * (self.QUIET + asked) - now()
                if connection.can_read(0):
                    self._receive(self._transport.read(connection))
                    heard, asked = now(), False
                elif left > 0:
                    found = selector.select(min(left, _LONGEST / 1000))
                    if any(key.fileobj is self._sleeper for key, _ in found):
                        self._sleeper.recv(4096)
                elif asked:
                    raise TimeoutError("redis did not answer in time")
                else:
                    with self._lock:
                        self._tell(_Change("PING"))
                    asked = True

    def _receive(self, reply: Any) -> None:
        self._heard = True
        if isinstance(reply, list) and reply[0] in (b"message", b"pmessage"):
            try:
                pattern, channel, payload = (_text(raw) for raw in (None, *reply[1:])[-3:])
            except SerializationError:
                logger.warning("a message that is not UTF-8 was dropped")
                return
            self._handling = True
            self._deliver(channel, pattern, payload)
            self._handling = False
            return
        with self._lock:
            if not self._told:
                raise ConnectionError("redis answered what nobody asked")
            error = self._transport.refused(reply) if isinstance(reply, Exception) else None
            change = self._told.popleft()
            if error is not None and error.retryable and change.joins and change.call is None:
                raise error  # nobody waits for this one: it is sent again on the next connection
            self._settle(change, error=error)
        self._note_rejoined()

    def _note_rejoined(self) -> None:
        """Tells ``on_reconnect`` once all subscriptions stand again: what comes from then on is complete."""
        with self._lock:
            rejoined = self._rejoining is not None and not self._rejoining
            if rejoined:
                self._rejoining = None
        if rejoined:
            self._announce_reconnect()


# === cache ========================================================================================


class _Missing(enum.Enum):
    """One value, equal to nothing that a cache can hold; it stays itself when copied or pickled."""

    MISSING = "MISSING"

    def __repr__(self) -> str:
        return self.name


#: as the default of :meth:`RedisCacheProvider.get` it tells an absent key from a cached None
MISSING = _Missing.MISSING
_TO_ESCAPE = _lazy(
    r"[%:*?\[\]\\{}\s]"
)  # "{}": who chooses a part shall not choose the node of a cluster
_GLOB_SIGNS = _lazy(r"[*?\[\]\\]")


class CacheKey:
    """Keys by one scheme, ``kind:part:part``. A part is text, an int or a UUID; in it ``%``, ``:``, braces, blanks and
    what a glob takes for a sign are percent-encoded (RFC 3986 §2.1), so that different parts never make the same key.
    An int or a UUID is written as ``str`` does: ``user(1)`` and ``user("1")`` are one key.
    ValidationError for a part that is empty, or holds a NUL or a lone surrogate."""

    @staticmethod
    def benchmark(benchmark_id: str | int | uuid.UUID) -> str:
        """``benchmark:<id>``"""
        return _joined_key("benchmark", benchmark_id)

    @staticmethod
    def leaderboard(benchmark_id: str | int | uuid.UUID) -> str:
        """``leaderboard:<benchmark's id>``"""
        return _joined_key("leaderboard", benchmark_id)

    @staticmethod
    def user(user_id: str | int | uuid.UUID) -> str:
        """``user:<id>``"""
        return _joined_key("user", user_id)

    @staticmethod
    def session(session_id: str | int | uuid.UUID) -> str:
        """``session:<id>``"""
        return _joined_key("session", session_id)

    @staticmethod
    def rate_limit(who: str | int | uuid.UUID, action: str | int | uuid.UUID) -> str:
        """``ratelimit:<who>:<action>``"""
        return _joined_key("ratelimit", who, action)


def _joined_key(kind: str, *parts: str | int | uuid.UUID) -> str:
    import urllib.parse

    def written(part: object) -> str:
        part = _plain(part)
        if isinstance(part, uuid.UUID) or type(part) is int:
            return str(part)
        text = _check_text("a part of a key", part, empty=False)  # type: ignore[arg-type]
        return _TO_ESCAPE.sub(lambda sign: urllib.parse.quote(sign[0], safe=""), text)

    return ":".join([kind, *map(written, parts)])


@dataclass(frozen=True, eq=False)
class RateLimit(_ByValue):
    """What :meth:`RedisCacheProvider.check_rate_limit` found. ``remaining``: calls left in this window; ``reset_at``:
    when it ends, aware, in UTC; ``retry_after``: seconds to wait, 0.0 when the call is allowed. The
    window has surely ended then: the times may be a millisecond longer than needed."""

    allowed: bool
    remaining: int
    limit: int
    reset_at: datetime
    retry_after: float


class _Turn:
    """A thread's time with a lock's name. Other threads of the process that want it wait for its end, not at Redis."""

    __slots__ = ("ended", "expires", "owner", "silence", "text")

    def __init__(self) -> None:
        self.owner = _this_thread()
        self.expires = math.inf  # by the cache's clock: from then on the lock may be another's
        self.ended = _Flag()
        self.text: str | None = None  # what a thread that filled a key leaves to those who wait
        self.silence: CacheError | None = (
            None  # Redis did not answer it: those who wait need not find out one by one
        )


def _this_thread() -> tuple[int, int]:
    return os.getpid(), threading.get_ident()


def _again(error: CacheError) -> NoReturn:
    """What the client raised in another thread, for this one."""
    raise copy.copy(error.__cause__ if error.service == "cache" and error.__cause__ else error)


class CacheLock:
    """A lock that threads and processes share, made by :meth:`RedisCacheProvider.lock`.

        with cache.lock("nightly report", ttl=60, timeout=5):
            …

    It is free once released, and ``ttl`` seconds after it was obtained at the latest: then its owner may have died. An
    owner that is still at work by then shares what it guards with the next: choose ``ttl`` well above the longest work.
    A late owner never releases the next one's lock. Not reentrant. One object may be shared by threads: each obtains
    and releases for itself.
    """

    POLL = 0.05  # seconds between two questions to Redis whether another process is done

    def __init__(
        self,
        cache: RedisCacheProvider,
        name: str,
        ttl: float,
        timeout: float,
        ask: Callable[..., Any] | None = None,
    ) -> None:
        self._cache = cache
        self._name = name
        self._ttl = ttl
        self._timeout = timeout
        self._ask = ask or cache._ask
        self._held = threading.local()

    def acquire(self, timeout: float | None = None) -> bool:
        """Waits at most ``timeout`` seconds (0: not at all; None: the lock's own), and returns whether the lock was
        obtained. CacheError when Redis does not answer; a lock whose answer was lost may stay for its ttl."""
        wait = self._timeout if timeout is None else _waiting_time(timeout)
        return self._acquire(wait, lambda other: False) is not None

    def release(self) -> bool:
        """Returns whether the lock was still this thread's: False when its ttl had passed, or it never was (a forked
        child does not hold what its parent holds). CacheError when Redis does not answer: the lock then stays for the
        rest of its ttl."""
        token, turn = vars(self._held).pop("lock", (None, None))
        if turn is None or turn.owner != _this_thread():
            return False
        try:
            return bool(
                self._ask("lock", self._cache._client.compare_and_delete, self._name, token)
            )
        finally:
            self._cache._end(self._name, turn)

    def __enter__(self) -> CacheLock:
        """Raises TimeoutError when the lock was not free in time."""
        if not self.acquire():
            raise TimeoutError(
                f"the lock was not free within {self._timeout:g} s",
                service="cache",
                operation="lock",
                retryable=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        """Never raises, because the work is done: a lock that was lost before, or cannot be released, is a WARNING."""
        extra = {"service": "cache", "operation": "lock", "outcome": "lost"}
        try:
            if hasattr(self._held, "lock") and not self.release():
                logger.warning(
                    "a lock was not its owner's any more: another may have had it meanwhile",
                    extra=extra,
                )
        except CacheError as error:
            logger.warning(
                "a lock stays for the rest of its ttl: %s",
                error,
                extra={**extra, "outcome": "CacheError"},
            )

    def _acquire(self, timeout: float, settled: Callable[[_Turn | None], bool]) -> _Turn | None:
        """This thread's turn, or None. ``settled`` is asked after each wait, with the turn that was waited for, if it
        was one of this process, whether the lock is not wanted any more."""
        cache, clock = self._cache, self._cache._clock
        import secrets

        turn, token, left = _Turn(), secrets.token_hex(16), timeout
        obtained: _Turn | None = None
        try:
            while other := cache._begin(self._name, turn):
                started = SystemClock.monotonic()
                other.ended.wait(min(left, other.expires - clock.monotonic()))
                if settled(other) or (left <= 0 and not other.ended.is_set):
                    return None
                if other.silence is not None:
                    self._ask("lock", _again, other.silence)
                left -= SystemClock.monotonic() - started
            until = clock.monotonic() + left
            # None is no answer, in a cache that fails open while it fills a key.
            while self._ask("lock", cache._client.set_nx, self._name, token, self._ttl) is False:
                left = min(left, until - clock.monotonic())
                if left > 1e-6:  # less is lost when clocks round
                    clock.sleep(min(left, self.POLL))
                if settled(None) or left <= 1e-6:
                    return None
                left -= self.POLL  # a clock of the caller's own may stand still
            turn.expires = clock.monotonic() + self._ttl
            self._held.lock = token, turn
            obtained = turn
            return turn
        except CacheError as error:
            turn.silence = error
            raise
        finally:
            if obtained is None:
                cache._end(self._name, turn)


def _late_expiry(client: KeyValueClient) -> float:
    return getattr(client, "_late_expiry", KeyValueClient._late_expiry)


def _time_left(client: KeyValueClient, counter: str, window: float) -> float:
    """Return the seconds after which a counter has surely expired: above 0, as it may just have."""
    left = client.ttl(counter)
    if left == math.inf:  # made without expiry, by another program
        client.expire(counter, window)
        left = window
    return max((left or 0) + _late_expiry(client), 0.001)


def _waiting_time(seconds: float) -> float:
    if not _TTL_OR_0.valid(seconds):
        raise ValidationError(f"timeout should be {_TTL_OR_0.expected}")
    return seconds


def _check_client(client: KeyValueClient) -> KeyValueClient:
    # One of your own that stands in front of another will do.
    if isinstance(client, type) or not callable(getattr(client, "set_with_expiry", None)):
        raise ValidationError("client should be a KeyValueClient, such as a RedisClient")
    return client


class RedisCacheProvider:
    """JSON values under keys, for a while: a cache, with counters, locks and rate limits, in Redis or its fake.

    Values are what JSON can say and give back as it was: None, True, False, finite numbers, text, lists, dicts with
    keys of text, nested in at most 100 levels; else SerializationError, before anything is sent. Text holds no NUL
    (ValidationError). Values that come out are copies. A value in Redis that is no JSON is a SerializationError.

    Keys are as :class:`KeyValueClient`'s, and do not begin with ``~``: those are the cache's own, for locks and rate
    limits. In Redis ``prefix`` stands before each, as it is given; let no prefix begin with another one. ``ttl`` is in
    seconds, rounded up to milliseconds; None stands for ``default_ttl``, 0 for no expiry.

    When Redis does not answer, a call is a CacheError within the client's deadline, whose ``__cause__`` is the client's
    ConnectionError or TimeoutError. With ``fail_open`` that is a WARNING instead, and the answer that of an empty cache
    (None, False, 0, nothing stored), but never for ``set_nx``, ``increment``, locks and rate limits, whose answers
    somebody relies on. What Redis refuses is the client's CacheError. May be shared by threads; the client is closed by
    who made it.

    Args:
        client: where the values are.
        prefix: text before each key; may be empty.
        default_ttl: seconds that a value lives (0: no expiry) unless its call says otherwise.
        fail_open: whether a Redis that does not answer counts as an empty cache.
        clock: for the times in a RateLimit, and for the waits between two questions to Redis.
    """

    if not TYPE_CHECKING:
        down = _OnlyFakes()

    def __init__(
        self,
        client: KeyValueClient,
        prefix: str = "",
        *,
        default_ttl: float = 3600.0,
        fail_open: bool = False,
        clock: Clock | None = None,
    ) -> None:
        if not _TTL_OR_0.valid(default_ttl):
            raise ValidationError(f"default_ttl should be {_TTL_OR_0.expected}")
        self._client = _check_client(client)
        self._prefix = _check_text("prefix", prefix, blank_ends=False)
        self._default_ttl = default_ttl
        self._fail_open = _check_flag("fail_open", fail_open)
        self._clock = _clock(clock, lambda: getattr(client, "_clock", None) or SystemClock())
        self._forget_parent()
        _fork_aware.add(self)

    def _forget_parent(self) -> None:
        self._guard = threading.RLock()  # a signal handler may use the cache
        self._turns: dict[str, _Turn] = {}  # of this process, by the lock's name
        self._crowd = 100  # turns, from which on those are looked for that were left to expire

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or ``default`` when absent; with ``MISSING`` as default a cached None can be told from that."""
        text = self._try("get", None, self._client.get, self._name(key))
        return default if text is None else _value_of(text, "get")

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """The values of those keys that exist. Not atomic: one pipeline of single reads."""
        names = {self._name(key): key for key in map(_plain, _check_many("keys", keys))}
        nothing: dict[str, str] = {}
        texts = self._try("get_many", nothing, self._client.get_many, names)
        return {names[name]: _value_of(text, "get_many") for name, text in texts.items()}

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        """Stores; the value and the expiry that the key had are gone."""
        name, text, seconds = self._name(key), _document("value", value).text, self._seconds(ttl)
        self._try("set", None, self._put, name, text, seconds)

    def set_many(self, items: Mapping[str, Any], ttl: float | None = None) -> None:
        """Stores each item as ``set`` does. Checked whole before the first is sent; not atomic: one pipeline of single
        writes."""
        if not isinstance(items, Mapping):
            raise ValidationError("items should be a dict or another mapping of keys to values")
        texts = {self._name(key): _document("value", value).text for key, value in items.items()}
        self._try("set_many", None, self._client.set_many, texts, self._seconds(ttl))

    def set_nx(self, key: str, value: Any, ttl: float | None = None) -> bool:
        """Stores only if the key is absent, and returns whether it did. Never repeated after it was sent."""
        name, text, seconds = self._name(key), _document("value", value).text, self._seconds(ttl)
        return self._ask("set_nx", self._client.set_nx, name, text, seconds)

    def delete(self, key: str) -> bool:
        """Removes the key, and the rate limit counted under it; returns whether one of them existed."""
        names = self._name(key), self._name(key, "~limit:")
        return self._try("delete", 0, self._client.unlink_many, names) > 0

    def delete_pattern(self, glob: str) -> int:
        """Removes the keys that match, in batches, and returns how many. ``glob`` is Redis's (see
        :meth:`KeyValueClient.scan`) and is about what stands behind the prefix; keys of other prefixes, locks and rate
        limits stay. Not atomic: a key that comes meanwhile may stay. The deadline is that of each batch, not of the
        whole; with ``fail_open`` the count is of what was removed until Redis did not answer. With an empty prefix all
        keys of the database are meant: verification codes and whatever else is stored there."""
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
        """Whether the key is present."""
        return self._try("exists", False, self._client.exists, self._name(key))

    def ttl(self, key: str) -> float | None:
        """Seconds until the key expires, in milliseconds' precision; ``math.inf`` if never; None when absent."""
        return self._try("ttl", None, self._client.ttl, self._name(key))

    def expire(self, key: str, ttl: float) -> bool:
        """Sets the time until expiry (above 0), counted from now; returns whether the key exists."""
        name = self._name(key)
        _milliseconds(ttl, "ttl")
        return self._try("expire", False, self._client.expire, name, ttl)

    def increment(self, key: str, amount: int = 1, ttl: float | None = None) -> int:
        """Adds to the whole number that the key holds (absent: 0) and returns the sum, in one atomic step. ``ttl``
        takes effect only when this call creates the key. Never repeated after it was sent. CacheError if the value is
        no whole number, or the sum leaves 64 bits."""
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
        """The value or, when absent, what ``factory()`` returns, stored as ``set`` does.

        Of all threads and processes that find the key absent at once, one calls its factory; the others wait for that,
        at most ``timeout`` seconds, and then call their own. When a factory raises, the error goes to its caller, and
        who waits tries its own. ``timeout`` is also how long a process that died in its factory holds up others.

        With ``fail_open``, and Redis not answering, the threads of this process still share one call; nothing is
        stored.
        """
        name, seconds, text = self._name(key), self._seconds(ttl), None
        lock_ttl = max(_waiting_time(timeout), 0.001)
        _check_function("factory", factory, "no arguments")
        silence: CacheError | None = None

        def ask(operation: str, call: Callable[..., Any], *arguments: Any) -> Any:
            """None when Redis does not answer: asked again it would only cost another deadline."""
            nonlocal silence
            if silence is not None:
                return None
            try:
                return self._ask("get_or_set", call, *arguments)
            except CacheError as error:
                silence = error
                self._excuse("get_or_set", error)
                return None

        def settled(turn: _Turn | None) -> bool:
            nonlocal text
            text = turn.text if turn else ask("get", self._client.get, name)
            return text is not None

        if settled(None):
            return _value_of(text, "get_or_set")
        lock = CacheLock(self, self._name(key, "~fill:"), lock_ttl, timeout, ask)
        # A factory that asks for its own key does not wait for itself.
        turn = None if self._is_mine(lock._name) else lock._acquire(timeout, settled)
        obtained = silence is None
        try:
            if text is None and not (
                turn and settled(None)
            ):  # others may have filled it before the lock was obtained
                text = _document("value", factory()).text
                ask("set", self._put, name, text, seconds)
            if turn:
                turn.text = text
        finally:
            if turn:
                turn.silence = silence
                if obtained and silence is not None and silence.service != "cache":
                    silence = None  # Redis refused the value: it answers, and it has the lock
                with contextlib.suppress(
                    CacheError
                ):  # the value, or the factory's error, matters more
                    lock.release()
        return _value_of(text, "get_or_set")

    def lock(self, key: str, ttl: float, timeout: float = 10.0) -> CacheLock:
        """A lock by that name, not obtained yet: it belongs to who enters it (``with``) or acquires it, for at most
        ``ttl`` seconds; who wants it waits at most ``timeout`` seconds (0: not at all). Entering raises TimeoutError
        when it was not free in time, CacheError when Redis does not answer. The key may be that of a value: they do
        not meet."""
        _milliseconds(ttl, "ttl")
        return CacheLock(self, self._name(key, "~lock:"), ttl, _waiting_time(timeout))

    def check_rate_limit(self, key: str, limit: int, window: float) -> RateLimit:
        """Counts this call, and says whether it is among the first ``limit`` of its window: ``window`` seconds from the
        first call on. Calls that are refused count too, and prolong nothing. ``delete`` forgives; ``delete_pattern``
        leaves the counter alone. A value under the same key does not meet it. Never repeated after it was sent."""
        name = self._name(key, "~limit:")
        if not _COUNT.valid(limit):
            raise ValidationError(f"limit should be {_COUNT.expected}")
        _milliseconds(window, "window")
        count = self._ask("check_rate_limit", self._client.increment, name, 1, window)
        if count == 1:
            left = window + _late_expiry(self._client)
        else:
            left = self._ask("check_rate_limit", _time_left, self._client, name, window)
        allowed = count <= limit
        reset_at = _later(self._clock.now(), timedelta(seconds=left))
        return RateLimit(
            allowed, min(max(0, limit - count), limit), limit, reset_at, 0.0 if allowed else left
        )

    def _name(self, key: str, purpose: str = "") -> str:
        key = _check_key(key)
        if key[0] == "~":
            raise ValidationError("key should not begin with ~")
        return self._prefix + purpose + key

    def _seconds(self, ttl: float | None) -> float | None:
        if ttl is None:
            ttl = self._default_ttl
        elif not _TTL_OR_0.valid(ttl):
            raise ValidationError(f"ttl should be {_TTL_OR_0.expected}")
        return ttl or None

    def _put(self, name: str, text: str, seconds: float | None) -> None:
        if seconds is None:
            self._client.set(name, text)
        else:
            self._client.set_with_expiry(name, text, seconds)

    def _ask(self, operation: str, call: Callable[..., T], *arguments: Any) -> T:
        """The client's answer. That there is none is a CacheError."""
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
        """The same for what may fail open: ``instead`` is the answer of an empty cache."""
        try:
            return self._ask(operation, call, *arguments)
        except CacheError as error:
            self._excuse(operation, error)
            return instead

    def _excuse(self, operation: str, error: CacheError) -> None:
        """Raises it, unless Redis does not answer and this cache fails open."""
        if not (self._fail_open and self._is_outage(error)):
            raise error
        outcome = type(error.__cause__ or error).__name__
        logger.warning(
            "%s goes on without the cache: %s",
            operation,
            error,
            extra={"service": "cache", "operation": operation, "outcome": outcome},
        )

    @staticmethod
    def _is_outage(error: CacheError) -> bool:
        """Whether it is ours, or says that Redis is full, a replica, … for the moment."""
        return error.service == "cache" or error.retryable

    def _begin(self, name: str, turn: _Turn) -> _Turn | None:
        """Makes it that turn's time with the lock; or returns the turn of another thread, to wait for. A thread that
        has the lock already is not kept waiting here: it would be for itself."""
        now = self._clock.monotonic()
        with self._guard:
            if len(self._turns) >= self._crowd:
                turns = list(self._turns.items())
                self._turns = {key: each for key, each in turns if each.expires > now}
                self._crowd = 100 + 2 * len(self._turns)
            other = self._turns.get(name)
            if other is None or other.expires <= now:
                self._turns[name] = turn
                return None
            return None if other.owner == turn.owner else other

    def _end(self, name: str, turn: _Turn) -> None:
        with self._guard:
            if self._turns.get(name) is turn:
                del self._turns[name]
        turn.ended.set()

    def _is_mine(self, name: str) -> bool:
        turn = self._turns.get(name)
        return turn is not None and turn.owner == _this_thread()


def _value_of(text: Any, operation: str) -> Any:
    try:
        return _read_json(text)
    except (ValueError, RecursionError):
        pass
    raise SerializationError(  # outside: the cause would quote it
        "Redis holds a value that is not JSON", service="cache", operation=operation
    )


# === verification =================================================================================


def generate_code(digits: int = 6) -> str:
    """A random code of 6 to 10 decimal digits. Fewer can be guessed (NIST SP 800-63B §5.1.3 asks for 20 bits or a limit
    on attempts; six digits have 19.9, and VerificationCache limits them)."""
    if type(digits) is not int or not 6 <= digits <= 10:
        raise ValidationError("digits should be a whole number from 6 to 10")
    import secrets

    return f"{secrets.randbelow(10**digits):0{digits}}"


def _sends_codes(sms: object) -> bool:
    """Whether it has the method, or answers for another object; asks the object itself nothing."""
    found = inspect.getattr_static(sms, "send_verification_code", None)
    answers = found is not None or hasattr(type(sms), "__getattr__")
    return not isinstance(sms, type) and answers and not _is_deferred(found)


#: ``<lifetime in milliseconds>-<random>:<digest>``; no lifetime is longer than a century
_STORED_CODE = _lazy("(([1-9][0-9]{0,12})-[0-9a-f]{16}):([0-9a-f]{64})")
_COUNTED = _lazy("0|-?[1-9][0-9]{0,17}")  # INCR takes it, and one more


class VerificationCache:
    """One-time codes for phone numbers, in Redis or its fake.

    A code works once, for ``code_ttl`` seconds, and is compared with at most ``max_attempts`` guesses, however many
    threads and processes guess at once; wrong guesses never prolong it. A guess never removes a newer code. Keys and
    values hold neither phone nor code.

    Args:
        client: where codes are kept.
        key: the hash key, 32 bytes or more, the same in every process that shares codes. Without one the instance
            makes a random key, so that only itself can check its codes, and logs a WARNING.
        code_ttl: seconds that a code is valid (NIST SP 800-63B: at most 600).
        max_attempts: guesses per code.
        resend_after: seconds between two codes sent to one phone; 0: no limit.
        max_codes: codes sent to one phone in ``window`` seconds; 0: no limit.
        window: seconds, counted from the first of those codes, and from the first of those guesses.
        max_guesses: wrong guesses at one phone's codes in ``window`` seconds, over all its codes; 0: no limit. Guesses
            without a code, or beyond its ``max_attempts``, are not compared and do not count.

    Every method takes the phone in any form that :func:`normalize_phone` does, raises ValidationError for another, and
    raises the client's errors.
    """

    if not TYPE_CHECKING:
        down = _OnlyFakes()

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
        _check_client(client)
        for name, value, kind in (
            ("max_attempts", max_attempts, _COUNT),
            ("resend_after", resend_after, _TTL_OR_0),
            ("max_codes", max_codes, _COUNT_OR_0),
            ("max_guesses", max_guesses, _COUNT_OR_0),
        ):
            if not kind.valid(value):
                raise ValidationError(f"{name} should be {kind.expected}")
        _milliseconds(code_ttl, "code_ttl")
        _milliseconds(window, "window")
        if key is None:
            logger.warning(
                "VerificationCache has no key: only this instance can check the codes it stores; set PHONE_HASH_KEY"
            )
            key = os.urandom(32)
        self._client = client
        self._key = _key_bytes(key)
        self._code_ttl = code_ttl
        self._max_attempts = max_attempts
        self._resend_after = resend_after
        self._max_codes = max_codes
        self._window = window
        self._max_guesses = max_guesses

    def store_code(self, phone: str, code: str) -> None:
        """Makes ``code`` (1 to 64 characters) the phone's only valid one, with all its attempts ahead."""
        self._store(normalize_phone(phone), self._check_code(code))

    def verify_code(self, phone: str, code: str) -> bool:
        """Whether ``code`` is the phone's valid code; if so it is used up. Each call costs an attempt, also one whose
        answer was lost on the way. Raises RateLimitedError beyond ``max_guesses``, also for the right code."""
        phone, code = normalize_phone(phone), self._check_code(code)
        import hmac

        stored = self._get(self._name(phone))
        if stored is None:
            return False
        generation, lifetime, digest = self._parts_of(stored)
        if self._max_guesses and not self._left(self._max_guesses, phone, "guesses"):
            self._refuse({self._name(phone, "guesses"): self._window}, "guesses")
        # Counted before the comparison: concurrent guesses each get a number of their own; only the first few count.
        # The count lives as long as the code, which another instance, with another code_ttl, may have stored.
        attempt = self._increment(self._name(phone, "attempts", generation), ttl=lifetime)
        if attempt > self._max_attempts:
            return False
        self._count_guess(phone)
        if not hmac.compare_digest(digest, self._digest(phone, generation, code)):
            return False
        # Of several right guesses one removes the code; a code stored meanwhile has another generation and stays.
        used_up = self._client.compare_and_delete(self._name(phone), stored)
        if used_up:
            self._uncount_guess(phone)
        return used_up

    def _count_guess(self, phone: str) -> None:
        guesses, most = self._name(phone, "guesses"), self._max_guesses
        if most and self._increment(guesses, ttl=self._window) > most:
            self._refuse({guesses: self._window}, "guesses")

    def _uncount_guess(self, phone: str) -> None:
        """For a right guess. The code is used up: a failure here must not look as if the guess had been wrong."""
        if not self._max_guesses:
            return
        try:
            self._client.increment(self._name(phone, "guesses"), -1, ttl=self._window)
        except InfrastructureError as error:
            logger.warning("a right guess counts as a wrong one: %s", type(error).__name__)

    def get_remaining_attempts(self, phone: str) -> int:
        """Guesses left for the stored code, and for the phone; 0 without a code."""
        phone = normalize_phone(phone)
        stored = self._get(self._name(phone))
        if stored is None:
            return 0
        left = [self._left(self._max_attempts, phone, "attempts", self._parts_of(stored)[0])]
        if self._max_guesses:
            left.append(self._left(self._max_guesses, phone, "guesses"))
        return min(left)

    def _left(self, limit: int, phone: str, *count: str) -> int:
        used = self._count(self._name(phone, *count))
        return max(0, limit - int(used))

    def _count(self, name: str) -> str:
        used = self._get(name)
        if used is not None and not _COUNTED.fullmatch(used):
            raise self._foreign()
        return used or "0"

    def _increment(self, name: str, *, ttl: float) -> int:
        try:
            return self._client.increment(name, ttl=ttl)
        except CacheError as error:
            if not error.retryable:
                self._count(name)  # raises if it is another program's value that is in the way
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
        """A stored code's generation, its lifetime in seconds, and its digest."""
        found = _STORED_CODE.fullmatch(stored)
        if found is None:
            raise cls._foreign()
        generation, milliseconds, digest = found.groups()
        return generation, int(milliseconds) / 1000, digest

    @staticmethod
    def _foreign() -> CacheError:
        return CacheError(
            "a key of verification codes holds a value that another program has stored: keep other programs away from "
            "keys that begin with verification:",
            service="verification",
        )

    def code_exists(self, phone: str) -> bool:
        """Whether a code is stored that has neither expired nor been used; its attempts may be spent."""
        return self._client.exists(self._name(normalize_phone(phone)))

    def get_code_ttl(self, phone: str) -> float | None:
        """Seconds until the stored code expires; None without a code."""
        return self._client.ttl(self._name(normalize_phone(phone)))

    def clear(self, phone: str) -> None:
        """Forgets the phone's code, if there is one. The limits on sending stay."""
        self._client.delete(self._name(normalize_phone(phone)))

    def send_code(self, sms: SmsService, phone: str) -> str:
        """Generates a code, stores it, sends it through ``sms``, and returns the message id.

        Raises RateLimitedError within ``resend_after`` or beyond ``max_codes``: the code sent before stays valid. When
        the message was surely not sent (SmsError "rejected", ConnectionError, ConfigurationError, ValidationError), the
        code is removed again; after any other error it stays, because it may arrive. A failed send counts towards the
        limits too; a service that is closed is a ConnectionError before anything is stored or counted.
        """
        phone = normalize_phone(phone)
        if not _sends_codes(sms):
            raise ValidationError("sms should be an SmsService")
        if hasattr(type(sms), "is_available") and not sms.is_available():
            raise ConnectionError(
                "the SMS service is closed, or would not try to send: no code is stored",
                service="sms",
                operation="send_verification_code",
                retryable=False,
            )
        self._check_limits(phone)
        code = generate_code()
        stored = self._store(phone, code)
        try:
            return _ran(sms.send_verification_code(phone, code))
        except Exception as error:
            unsent = isinstance(error, (ConnectionError, ConfigurationError, ValidationError))
            if unsent or (isinstance(error, SmsError) and error.outcome == "rejected"):
                try:
                    self._client.compare_and_delete(self._name(phone), stored)
                except InfrastructureError as second:
                    logger.warning(
                        "a code whose message failed stays stored: %s", type(second).__name__
                    )
            raise

    def _check_limits(self, phone: str) -> None:
        resend, window = self._name(phone, "resend"), self._name(phone, "window")
        if self._resend_after and self._increment(resend, ttl=self._resend_after) > 1:
            limits = {resend: self._resend_after}
            if self._max_codes and not self._left(self._max_codes, phone, "window"):
                limits[window] = self._window
            self._refuse(limits)
        if self._max_codes and self._increment(window, ttl=self._window) > self._max_codes:
            self._client.delete(resend)  # nothing is sent, so nothing to wait for on that account
            self._refuse({window: self._window})

    def _refuse(self, limits: Mapping[str, float], what: str = "codes") -> NoReturn:
        """``limits``: counters, and the seconds after which each begins anew."""
        wait = max(_time_left(self._client, name, seconds) for name, seconds in limits.items())
        left = max(1, math.ceil(wait - _late_expiry(self._client)))
        raise RateLimitedError(
            f"too many {what} for this phone: try again in {left} s",
            service="verification",
            retry_after=wait,
        )

    def _store(self, phone: str, code: str) -> str:
        import secrets

        generation = f"{_milliseconds(self._code_ttl)}-{secrets.token_hex(8)}"
        stored = f"{generation}:{self._digest(phone, generation, code)}"
        self._client.set_with_expiry(self._name(phone), stored, self._code_ttl)
        return stored

    def _name(self, phone: str, *parts: str) -> str:
        return ":".join(("verification", hash_phone(phone, self._key), *parts))

    def _digest(self, phone: str, generation: str, code: str) -> str:
        import hashlib
        import hmac

        return hmac.new(
            self._key, f"code:{phone}:{generation}:{code}".encode(), hashlib.sha256
        ).hexdigest()

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


@dataclass(frozen=True, eq=False)
class ObjectSummary(_ByValue):
    """An object in a list.

    ``size`` is in bytes. ``last_modified`` is in UTC and whole seconds, as S3 stores it. ``etag``
    has no quotes. It is the MD5 of the bytes, except for multipart uploads and encrypted objects.
    """

    key: str
    size: int
    etag: str
    last_modified: datetime


@dataclass(frozen=True, eq=False)
class ObjectMetadata(_ByValue):
    """An object's metadata. ``metadata`` is the caller's own, its names in lower case."""

    size: int
    content_type: str
    last_modified: datetime
    etag: str
    metadata: dict[str, str]


@dataclass(frozen=True, eq=False)
class DeleteResult(_ByValue):
    """The deleted keys, in the order given, and the store's error code for each other key."""

    deleted: list[str]
    errors: dict[str, str]


_MIB = 1 << 20
_MIN_PART_SIZE = 5 * _MIB  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
_MAX_PART_SIZE = 5 << 30  # also the largest object that CopyObject copies
_KEYS_PER_REQUEST = 1000  # limit of DeleteObjects and ListObjectsV2
_CHUNK = 256 * 1024
_CONTENT_TYPE = "binary/octet-stream"  # S3's own default
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET = _lazy(
    r"(?!(?:[0-9]+\.){3}[0-9]+$|xn--|sthree-|amzn-s3-demo-)"
    r"[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]"
)
# Without underscores: some stores and web servers make them hyphens, or drop the header.
_METADATA_NAME = _lazy("[0-9A-Za-z.-]+")
_HEADER_VALUE = _lazy("[!-~](?:[ -~]*[!-~])?")
_PLAIN_KEY = _lazy("(?:[0-9A-Za-z_-][0-9A-Za-z._-]{0,99}/){0,9}[0-9A-Za-z_-][0-9A-Za-z._-]{0,99}")
_METHODS = {
    "GET": "get_object",
    "HEAD": "head_object",
    "PUT": "put_object",
    "DELETE": "delete_object",
}


@functools.lru_cache(256)  # a program uses few buckets
def _is_bucket(name: str) -> bool:
    return _BUCKET.fullmatch(name) is not None


def _check_bucket(bucket: str) -> str:
    if bucket.__class__ is not str:
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
        raise ValidationError(
            'key should neither begin with "/" nor hold "//", nor a part that is "." or ".."'
        )
    return key


def _check_content_type(content_type: str | None) -> str:
    if content_type is None:
        return _CONTENT_TYPE
    content_type = _plain(content_type)
    if (
        not isinstance(content_type, str)
        or not _HEADER_VALUE.fullmatch(content_type)
        or len(content_type) > 255
    ):
        raise ValidationError(
            "content_type should be such as text/plain, in printable ASCII, of at most 255 "
            "characters"
        )
    return content_type


def _check_metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """Return the metadata with its names in lower case."""
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
    if metadata is None:
        return {}
    found: dict[str, str] = {}
    for name, value in _check_mapping("metadata", metadata).items():
        name, value = _plain(name), _plain(value)
        if not isinstance(name, str) or not _METADATA_NAME.fullmatch(name):
            raise ValidationError(
                "names of metadata should be ASCII letters, digits, hyphens and dots: some stores "
                "change underscores"
            )
        if not isinstance(value, str) or not (value == "" or _HEADER_VALUE.fullmatch(value)):
            raise ValidationError(
                "values of metadata should be printable ASCII, without blanks at either end"
            )
        if name.lower() in found:
            raise ValidationError("names of metadata should differ in more than case: S3 lowers it")
        found[name.lower()] = value
    if sum(len(name) + len(value) for name, value in found.items()) > 2048:
        raise ValidationError("metadata should have at most 2,048 bytes, names and values together")
    return found


def _folders_last(key: str) -> tuple[bool, int]:
    """Return a sort key that puts folders last, the deepest first: some stores keep full ones."""
    folder = key.endswith("/")
    return folder, -len(key) if folder else 0


def _etag_of_parts(md5s: Sequence[bytes]) -> str:
    """Return the ETag that S3 gives a multipart upload: the MD5 of its parts' MD5s, and a count."""
    import hashlib

    return f"{hashlib.md5(b''.join(md5s), usedforsecurity=False).hexdigest()}-{len(md5s)}"


_NOT_BYTES = "data should be bytes, or a file opened in binary mode"


def _read_block(file: Any, size: int) -> bytes:
    """Read ``size`` bytes, or fewer at the end: one read of a pipe may return less."""
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
    return blocks[0] if len(blocks) == 1 else b"".join(blocks)


def _blocks(data: Any, size: int) -> Iterator[bytes]:
    """Yield blocks of ``size`` bytes; the last one may be shorter. Empty data has none."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        view = memoryview(data)
        view = view.cast("B") if view.nbytes and view.c_contiguous else memoryview(view.tobytes())
        if type(data) is bytes and 0 < len(data) <= size:
            yield data  # not copied
            return
        for start in range(0, len(view), size):
            yield bytes(view[start : start + size])
        return
    if not _is_file(data, "read", binary=True):
        raise ValidationError(_NOT_BYTES)
    while block := _read_block(data, size):
        yield block
        if len(block) < size:
            return


def _drained(first: deque[T], rest: Iterator[T]) -> Iterator[T]:
    """Yield all items. Drop each before the next is read, so that one at a time is in memory."""
    while first:
        yield first.popleft()
    yield from rest


class _Source(ABC):
    """The bytes of one object, from its start."""

    @abstractmethod
    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes; none means the end."""

    @abstractmethod
    def close(self) -> None: ...


class _ObjectReader(io.RawIOBase):
    """The raw file under the buffer that ``open`` returns."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._done = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        self._done = self._done or not data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()

    def _dealloc_warn(self, source: object) -> None:
        """Called by ``io.BufferedReader`` when it is collected. At its end it holds nothing."""
        if not self._done:
            warnings.warn(
                "an object opened for reading was not closed",
                ResourceWarning,
                source=source,
                stacklevel=2,
            )


class StorageProvider(_Closing):
    """Objects, which are bytes under a key, in buckets, as S3 has them.

    A key has at most 1,024 bytes in UTF-8 and no blanks at either end. No part between slashes is
    empty, "." or "..", because some stores resolve those. Buckets follow AWS's naming rules. Others
    raise ValidationError before anything is sent.

    Methods raise ConnectionError or TimeoutError if the store does not answer, StorageError with
    its code if it refuses, a retryable StorageError without a code if the answer is not S3's, and
    ConfigurationError if there are no credentials. All but ``exists`` raise NotFoundError, whose
    ``resource`` is "bucket" or "object". Reads see earlier writes. Threads may share it.
    """

    def __init__(self, part_size: int, copy_part_size: int) -> None:
        for name, size in (("part_size", part_size), ("copy_part_size", copy_part_size)):
            if type(size) is not int or not _MIN_PART_SIZE <= size <= _MAX_PART_SIZE:
                raise ConfigurationError(f"{name} should be a number of bytes from 5 MiB to 5 GiB")
        self._part_size = part_size
        self._copy_part_size = copy_part_size

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
        fails, none stays, and the old object does. ``content_type`` defaults to
        "binary/octet-stream". Names in ``metadata`` have ASCII letters (lower-cased), digits,
        hyphens and dots; values are printable ASCII without blanks at either end; 2,048 bytes in
        all.
        """
        place = _check_bucket(bucket), _check_object_key(key)
        content_type = _check_content_type(content_type)
        checked = _check_metadata(metadata)
        if data.__class__ is bytes and len(data) <= self._part_size:
            return self._put(*place, data, content_type, checked)  # fast path
        blocks = _blocks(data, self._part_size)
        first = deque(itertools.islice(blocks, 2))
        if len(first) < 2:
            self._put(*place, first[0] if first else b"", content_type, checked)
        else:
            self._put_parts(*place, _drained(first, blocks), content_type, checked)

    def download(self, bucket: str, key: str) -> bytes:
        """Return all bytes of the object."""
        return self._get(_check_bucket(bucket), _check_object_key(key))

    def download_to(self, bucket: str, key: str, file: BinaryIO) -> None:
        """Write the object's bytes to a binary file at its position, in chunks.

        The file stays open, and keeps what was written if an error follows. BlockingIOError: the
        file accepts no bytes.
        """
        place = _check_bucket(bucket), _check_object_key(key)
        if not _is_file(file, "write", binary=True):
            raise ValidationError("file should be opened for writing in binary mode")
        with contextlib.closing(self._source("download_to", *place)) as source:
            while data := source.read(_CHUNK):
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
        StorageError if the object was replaced: it never mixes two objects.
        """
        place = _check_bucket(bucket), _check_object_key(key)
        return io.BufferedReader(_ObjectReader(self._source("open", *place)), _CHUNK)

    def get_presigned_url(
        self, bucket: str, key: str, expires_in: float, method: str = "GET"
    ) -> str:
        """Return a URL that lets anybody GET, HEAD, PUT or DELETE the object, as ``method`` says.

        It is valid for ``expires_in`` seconds, 1 to 604,800 (a week), rounded up, and no longer
        than temporary credentials. No request is sent; the object need not exist. The URL holds
        the id of the access key, not the secret key.
        """
        place = _check_bucket(bucket), _check_object_key(key)
        if not _is_number(expires_in, 1, 604_800):
            raise ValidationError(
                "expires_in should be a number of seconds from 1 to 604,800, which is a week"
            )
        method = _plain(method)
        if not isinstance(method, str) or method not in _METHODS:
            raise ValidationError(f"method should be one of {', '.join(_METHODS)}")
        return self._presign(*place, math.ceil(expires_in), method)

    def exists(self, bucket: str, key: str) -> bool:
        """Return whether the object exists; False also if the bucket does not.

        Raises StorageError for 403, as AWS answers if the caller may not list the bucket.
        """
        return self._exists(_check_bucket(bucket), _check_object_key(key))

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
        if max_keys is not None and (type(max_keys) is not int or max_keys < 1):
            raise ValidationError("max_keys should be a whole number of at least 1")
        left = sys.maxsize if max_keys is None else max_keys

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
        found = self._head("get_metadata", _check_bucket(bucket), _check_object_key(key))
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
        self._delete(_check_bucket(bucket), _check_object_key(key))

    def delete_batch(self, bucket: str, keys: Iterable[str]) -> DeleteResult:
        """Delete many objects, a thousand a request. Absent ones count as deleted.

        All keys are checked before the first request. ``errors`` has those that the store refuses
        to delete. Keys that end in "/" are deleted last, one by one, as by ``delete``.
        """
        bucket = _check_bucket(bucket)
        names = [*dict.fromkeys(_check_object_key(key) for key in _check_many("keys", keys))]
        errors: dict[str, str] = {}
        ordered = sorted(names, key=_folders_last)
        for start in range(0, len(ordered), _KEYS_PER_REQUEST):
            errors.update(self._delete_many(bucket, ordered[start : start + _KEYS_PER_REQUEST]))
        return DeleteResult([name for name in names if name not in errors], errors)

    def copy(
        self, source_bucket: str, source_key: str, target_bucket: str, target_key: str
    ) -> None:
        """Copy an object of any size within the store, with its content type and metadata.

        Objects above ``copy_part_size`` bytes are copied in parts, which are removed if one fails.
        Raises ValidationError for a copy onto itself, because S3 refuses it.
        """
        source = _check_bucket(source_bucket), _check_object_key(source_key)
        target = _check_bucket(target_bucket), _check_object_key(target_key)
        if source == target:
            raise ValidationError("an object cannot be copied onto itself")
        found = self._head("copy", *source)
        if found is not None and found.size > self._copy_part_size:
            self._copy_parts(source, target)
        else:  # an absent object too: the answer tells object from bucket
            self._copy(source, target)

    def create_bucket(self, bucket: str) -> None:
        """Create the bucket unless it exists. Raises StorageError if it is somebody else's."""
        self._create_bucket(_check_bucket(bucket))

    def health_check(self) -> Health:
        """Request the list of buckets. A denial is healthy too: the store knows the credentials."""
        return self._health_check()

    @abstractmethod
    def _put(
        self, bucket: str, key: str, data: bytes, content_type: str, metadata: dict[str, str]
    ) -> None: ...
    @abstractmethod
    def _put_parts(
        self,
        bucket: str,
        key: str,
        parts: Iterator[bytes],
        content_type: str,
        metadata: dict[str, str],
    ) -> None: ...
    @abstractmethod
    def _get(self, bucket: str, key: str) -> bytes: ...
    @abstractmethod
    def _source(self, operation: str, bucket: str, key: str) -> _Source: ...
    @abstractmethod
    def _presign(self, bucket: str, key: str, seconds: int, method: str) -> str: ...
    @abstractmethod
    def _head(self, operation: str, bucket: str, key: str) -> ObjectMetadata | None: ...
    def _exists(self, bucket: str, key: str) -> bool:
        return self._head("exists", bucket, key) is not None

    @abstractmethod
    def _list(
        self, bucket: str, prefix: str, limit: int, token: str | None
    ) -> tuple[list[ObjectSummary], str | None]: ...
    @abstractmethod
    def _delete(self, bucket: str, key: str) -> None: ...
    @abstractmethod
    def _delete_many(self, bucket: str, keys: Sequence[str]) -> dict[str, str]: ...
    @abstractmethod
    def _copy(self, source: tuple[str, str], target: tuple[str, str]) -> None: ...
    @abstractmethod
    def _copy_parts(self, source: tuple[str, str], target: tuple[str, str]) -> None: ...
    @abstractmethod
    def _create_bucket(self, bucket: str) -> None: ...
    @abstractmethod
    def _health_check(self) -> Health: ...


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
    problem = _url_problem(text, schemes)
    if problem:
        raise ConfigurationError(
            f"{url.scheme.upper()}_PROXY should be http://[user:password@]host[:port]. "
            f"But {problem}"
        )
    return _Url.parse(text)


def _aws_client(
    service: str,
    *,
    region_name: str,
    endpoint_url: str | None,
    keys: tuple[str | None, str | None, str | None],
    connect_timeout: float,
    read_timeout: float,
    max_pool_connections: int = 10,
    ca_file: str | None = None,
    **options: Any,
) -> Any:
    """Return a client from a session of its own. It never retries: the call policy does.

    ``options`` that the installed boto3 does not know are dropped.
    """
    boto3 = _driver("boto3", "boto3", service)
    access_key, secret_key, token = keys
    session = boto3.session.Session(
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        aws_session_token=token,
        region_name=region_name,
    )
    settings = importlib.import_module("botocore.config").Config
    config = settings(
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        max_pool_connections=max_pool_connections,
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
        pools[scheme] = _of_whole_answers(pool)


@functools.lru_cache(8)
def _of_whole_answers(pool: Any) -> Any:
    return type(pool.__name__, (pool,), {"ConnectionCls": _whole_answers(pool.ConnectionCls)})


class _AwsClient:
    """A boto3 client, built on first use and shared by all threads.

    Building may request credentials over the network, so it holds no lock. Threads may build at
    once, each with a boto3 session of its own. The first client stored is kept, others are closed.
    """

    def __init__(self, owner: str, build: Callable[..., Any], *arguments: Any) -> None:
        self._owner = owner
        self._build = functools.partial(build, *arguments)
        self._closed = False
        self._forget_parent()
        _fork_aware.add(self)

    def _forget_parent(self) -> None:
        self._kept: dict[str, Any] = {}  # the client's sockets belong to the parent

    @property
    def is_built(self) -> bool:
        return bool(self._kept)

    def get(self) -> Any:
        """Return the client. Raises ConnectionError after ``close``."""
        client = self._kept.get("client")
        if client is None and not self._closed:
            built = self._build()
            client = self._kept.setdefault("client", built)  # atomic
            if client is not built:
                built.close()
        if self._closed:  # tested after the client was stored: close() may have missed it
            self.drop()
            raise ConnectionError(f"{self._owner} is closed", retryable=False)
        return client

    def drop(self) -> None:
        """Close the client. The next ``get`` builds another, which looks for credentials again."""
        client = self._kept.pop("client", None)
        if client is not None:
            client.close()

    def close(self) -> None:
        self._closed = True
        self.drop()


# What an exception of a boto3 call means. The first of its class and base classes decides.
_AWS_ERRORS = {
    "NoCredentialsError": "no credentials", "PartialCredentialsError": "no credentials",
    "CredentialRetrievalError": "no credentials", "TokenRetrievalError": "no credentials",
    "SSOError": "no credentials",
    "EndpointConnectionError": "unsent", "ConnectTimeoutError": "unsent",
    "ProxyConnectionError": "unsent",
    "ReadTimeoutError": "timeout", "ClientError": "refused",
    "HTTPClientError": "disconnected", "IncompleteReadError": "disconnected",
    "SSLError": "disconnected", "OSError": "disconnected",
    "HTTPError": "disconnected",  # urllib3's, for what boto3 does not wrap
    "BotoCoreError": "unusable",
    # An answer lacks an element, or has text where a number or time should be.
    "ResponseParserError": "garbled", "KeyError": "garbled", "ValueError": "garbled",
}  # fmt: skip


def _aws_meaning(exc: Exception, attempt: Attempt) -> str | None:
    """Return what the exception means; None if neither boto3 nor the network has raised it.

    "bad settings": boto3 could not build a client. Sets ``attempt.sent`` to False if nothing was.
    """
    if isinstance(exc, _Incomplete):
        return "garbled"
    packages = ("botocore", "urllib3", "builtins")
    bases = [base for base in type(exc).__mro__ if base.__module__.partition(".")[0] in packages]
    names = [base.__name__ for base in bases if base.__name__ in _AWS_ERRORS]
    meaning = _AWS_ERRORS[names[0]] if names else None
    if meaning not in (None, "no credentials"):
        if not attempt.sent:
            return "bad settings"
        if _was_unsent(exc):
            meaning = "unsent"
    if meaning in ("no credentials", "unsent"):
        attempt.sent = False
    return meaning


def _aws_refusal(exc: Any) -> tuple[int, str | None]:
    """Return the HTTP status and the error code of a botocore ClientError."""
    status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status, _aws_code(exc.response.get("Error", {}))


def _aws_code(error: Mapping[str, Any]) -> str | None:
    code = str(error.get("Code", ""))
    return code if re.fullmatch(r"(?=.*[A-Za-z])[A-Za-z.]{1,80}", code) else None


def _with_md5(request: Any, **_: Any) -> None:
    """Sign DeleteObjects with the MD5 that all stores accept. Called by boto3.

    boto3 always sends a CRC32, and most other stores require the older MD5:
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
    """
    import base64
    import hashlib

    checksums = ("x-amz-checksum-", "x-amz-sdk-checksum-", "x-amz-trailer", "content-md5")
    for name in {*request.headers}:
        if name.lower().startswith(checksums):
            del request.headers[name]
    body = request.body.encode() if isinstance(request.body, str) else request.body
    md5 = hashlib.md5(body, usedforsecurity=False).digest()
    request.headers["Content-MD5"] = base64.b64encode(md5).decode()


def _without_redirects(context: dict[str, Any], **_: Any) -> None:
    """Stop boto3 from following a redirect. Called by boto3.

    boto3 asks for the bucket's region, is redirected again, and recurses until the stack overflows.
    """
    context.setdefault("s3_redirect", {})["redirected"] = True


class _Incomplete(Exception):
    """An answer lacks something that S3 always says; the text names it and quotes nothing."""


# The outermost XML element of each of S3's answers, and the fields that it always has, by boto3's
# names: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations.html
_S3_ANSWERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "CompleteMultipartUpload": ("CompleteMultipartUploadResult", ()),
    "CopyObject": ("CopyObjectResult", ()),
    "CreateMultipartUpload": ("InitiateMultipartUploadResult", ("UploadId",)),
    "DeleteObjects": ("DeleteResult", ()),
    "ListBuckets": ("ListAllMyBucketsResult", ("Buckets",)),
    "ListObjectsV2": ("ListBucketResult", ("Name",)),
    "PutObject": ("", ("ETag",)),
    "UploadPart": ("", ("ETag",)),
    "UploadPartCopy": ("CopyPartResult", ()),
}
_S3_HEADERS = {"ContentLength": "Content-Length", "LastModified": "Last-Modified"}
# A GET or HEAD answered with HTML is an object only if it has one of these headers.
_S3_OBJECT_HEADERS = ("etag", "last-modified", "x-amz-request-id")
_XML_ROOT = _lazy(
    rb"\s*(?:\xef\xbb\xbf)?(?:<\?.*?\?>|<!--.*?-->|\s)*<(?:[\w.-]+:)?([\w.-]+)", re.DOTALL
)


def _check_answer(http_response: Any, parsed: Mapping[str, Any], model: Any, **_: Any) -> None:
    """Raise _Incomplete for an answer of success that is not S3's. Called by boto3."""
    metadata = parsed.get("ResponseMetadata", {})
    status, headers = metadata.get("HTTPStatusCode", 0), metadata.get("HTTPHeaders", {})
    if not 200 <= status < 300:
        _check_refusal(http_response, status, headers, model)
        return
    root, needed = _S3_ANSWERS.get(model.name, ("", ()))
    if root:
        found = _XML_ROOT.match(http_response.content)
        if found is None or found[1].decode("latin-1") != root:
            raise _Incomplete(f"HTTP {status} without {root}")
    path, _, _ = http_response.url.partition("?")
    if not (model.name == "PutObject" and _is_folder(path, headers)):
        _check_has(parsed, *needed)
    page = headers.get("content-type", "").lower().startswith("text/html")
    odd = ""
    if model.name == "GetObject" and not _has_known_length(headers):
        odd = f"HTTP {status} without Content-Length"
    if (
        model.name in ("GetObject", "HeadObject")
        and page
        and not headers.keys() & {*_S3_OBJECT_HEADERS}
    ):
        odd = f"HTTP {status} with a web page"
    if odd:
        if "Body" in parsed:
            parsed["Body"].close()
        raise _Incomplete(odd)
    if model.name == "AbortMultipartUpload" and status != 204:
        raise _Incomplete(f"HTTP {status} instead of 204")


def _check_refusal(http_response: Any, status: int, headers: Mapping[str, str], model: Any) -> None:
    """Raise _Incomplete if the refusal's body is cut: boto3 would report it without its code."""
    length = headers.get("content-length", "")
    whole = int(length) if length.isdecimal() and model.name != "HeadObject" else 0
    if len(http_response.content) < whole:
        raise _Incomplete(f"HTTP {status}, cut")


def _check_has(answer: Mapping[str, Any], *names: str) -> None:
    """Raise _Incomplete, which names the header or element, if one is missing or empty."""
    for name in names:
        if answer.get(name) in (None, ""):
            status = answer["ResponseMetadata"]["HTTPStatusCode"]
            raise _Incomplete(f"HTTP {status} without {_S3_HEADERS.get(name, name)}")


def _is_folder(key: str, headers: Mapping[str, str]) -> bool:
    """Return whether the answer may be about a folder, for which some stores send no ETag."""
    return key.endswith("/") and "x-amz-request-id" in headers


def _has_known_length(headers: Mapping[str, str]) -> bool:
    """Return whether a cut of the body can be detected."""
    return "content-length" in headers or "chunked" in headers.get("transfer-encoding", "").lower()


# Codes of temporary refusals, besides all HTTP statuses of 500 and above.
_S3_RETRYABLE = frozenset(
    {"InternalError", "OperationAborted", "RequestTimeout", "RequestLimitExceeded", "SlowDown"}
)
_TOKEN_HINTS = dict.fromkeys(
    ("InvalidToken", "InvalidTokenId", "ExpiredToken"),
    ": the session token has expired or is another one, see AWS_SESSION_TOKEN",
)
_OTHER_REGION = ": the bucket may be in another region, see AWS_REGION"
_S3_HINTS = {
    "PermanentRedirect": _OTHER_REGION,
    "AuthorizationHeaderMalformed": _OTHER_REGION,
    "IllegalLocationConstraintException": _OTHER_REGION,
    "SignatureDoesNotMatch": ": the secret key is another one, see AWS_SECRET_ACCESS_KEY",
    "InvalidAccessKeyId": ": it knows no such key, see AWS_ACCESS_KEY_ID",
    **_TOKEN_HINTS,
    "RequestTimeTooSkewed": ": this machine's clock and the store's differ too much",
}
_S3_ABSENT = {"NoSuchKey": "object", "NoSuchBucket": "bucket", "NoSuchUpload": "upload"}
# Operations that are retried after they were sent: twice leaves and returns the same as once.
_S3_REPEATABLE = frozenset(
    {
        "upload", "download", "download_to", "open", "exists", "list_objects", "get_metadata",
        "delete", "delete_batch", "copy", "create_bucket", "health_check",
    }
)  # fmt: skip
# What a copy in parts keeps of the object, as CopyObject does.
_S3_KEPT = (
    "ContentType", "CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage",
    "Metadata",
)  # fmt: skip
# https://www.w3.org/TR/xml/#charsets; a CR would be read as LF
_NOT_IN_XML = _lazy("[\x01-\x08\x0b-\x1f\ufffe\uffff]")


def _s3_no_credentials(exc: Exception) -> ConfigurationError:
    return ConfigurationError(
        "storage found no credentials: "
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or boto3's own"
    )


def _s3_bad_settings(exc: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"storage cannot be used as it is set ({type(exc).__name__}): "
        "see S3_ENDPOINT, AWS_REGION, and boto3's own settings"
    )


def _s3_unsent(exc: Exception) -> ConnectionError:
    return ConnectionError(f"storage could not be reached{_os_reason(exc)}")


def _s3_timeout(exc: Exception) -> TimeoutError:
    return TimeoutError("storage did not answer in time")


def _s3_disconnected(exc: Exception) -> ConnectionError:
    reason = _os_reason(exc)
    if _is_cut(exc):
        reason = " in the middle of an answer, or does not speak HTTP: see S3_ENDPOINT"
    return ConnectionError(f"storage ended the connection{reason}")


def _s3_garbled(exc: Exception) -> StorageError:
    """Return an error for an answer that is not S3's. It is retryable, as a lost answer is."""
    why = str(exc) if isinstance(exc, _Incomplete) else type(exc).__name__
    return StorageError(
        f"storage gave no usable answer ({why}): what answers may be no S3 store, see S3_ENDPOINT",
        retryable=True,
    )


def _s3_unusable(exc: Exception) -> StorageError:
    return StorageError(f"storage gave no usable answer ({type(exc).__name__})", retryable=False)


def _s3_refusal(exc: Any) -> InfrastructureError:
    status, code = _aws_refusal(exc)
    why = f"HTTP {status}" + (f", {code}" if code else "")
    is_head = exc.operation_name == "HeadObject"  # its answer has no body
    resource = _S3_ABSENT.get("NoSuchKey" if status == 404 and is_head else code or "")
    if resource:
        return NotFoundError(f"storage has no such {resource} ({why})", resource=resource)
    if code is None and status < 500 and not is_head:  # a proxy, or another kind of server
        why += ": the answer is not of S3's form, see S3_ENDPOINT"
    why += _S3_HINTS.get(code or "", "")
    return StorageError(
        f"storage refused the request ({why})", code=code, retryable=_is_temporary(status, code)
    )


def _is_temporary(status: int, code: str | None) -> bool:
    """Return whether the same request may succeed later. 501 is "Not Implemented"."""
    throttled = status == 429 or (code or "").startswith("Throttl")
    return status != 501 and (status >= 500 or throttled or code in _S3_RETRYABLE)


_S3_FAILURES: Mapping[str, Callable[[Exception], InfrastructureError]] = {
    "no credentials": _s3_no_credentials, "bad settings": _s3_bad_settings,
    "unsent": _s3_unsent, "timeout": _s3_timeout, "refused": _s3_refusal,
    "disconnected": _s3_disconnected, "garbled": _s3_garbled, "unusable": _s3_unusable,
}  # fmt: skip


def _s3_place(bucket: str, key: str) -> dict[str, str]:
    return {"Bucket": bucket, "Key": key}


class _S3Calls:
    """Sends requests to one store: boto3's clients, the call policy, and shared requests."""

    def __init__(
        self,
        config: S3StorageConfig,
        ca_file: str | None,
        clock: Clock | None,
        observer: Callable[[Call], None] | None,
    ) -> None:
        self._config = config
        self._ca_file = ca_file
        self._policy = CallPolicy(
            "storage",
            translate=self._translate,
            repeatable=_S3_REPEATABLE,
            deadline=config.connect_timeout + config.read_timeout,
            retries=3,
            clock=_clock(clock),
            observer=observer,
        )
        self._client = _AwsClient("S3StorageProvider", self._build, config.endpoint)
        self._signer = self._client
        if config.public_endpoint is not None:
            self._signer = _AwsClient("S3StorageProvider", self._build, config.public_endpoint)

    @property
    def is_open(self) -> bool:
        return self._client.is_built or self._signer.is_built

    def close(self) -> None:
        self._client.close()
        self._signer.close()

    def _build(self, endpoint: str | None) -> Any:
        client = self._client_for(endpoint)
        url = client.meta.endpoint_url
        if endpoint is not None or _AWS_HOST.search(_Url.parse(url).host):
            return client
        client.close()
        return self._client_for(url)  # AWS_ENDPOINT_URL is treated as S3_ENDPOINT

    def _client_for(self, endpoint: str | None) -> Any:
        config = self._config
        # Only AWS knows boto3's newer checksums.
        checksums = ("request_checksum_calculation", "response_checksum_validation")
        client = _aws_client(
            "s3",
            region_name=config.region,
            endpoint_url=endpoint,
            keys=(config.access_key, config.secret_key, config.session_token),
            connect_timeout=config.connect_timeout,
            read_timeout=config.read_timeout,
            max_pool_connections=32,
            ca_file=self._ca_file,
            signature_version="s3v4",
            s3={"addressing_style": "virtual" if endpoint is None else "path"},
            **dict.fromkeys(() if endpoint is None else checksums, "when_required"),
        )
        client.meta.events.register("after-call.s3", _check_answer)
        if endpoint is not None:
            client.meta.events.register("before-sign.s3.DeleteObjects", _with_md5)
            client.meta.events.register("before-call.s3", _without_redirects)
        return client

    def call(self, operation: str, ask: Callable[[Any], T], *, until: float | None = None) -> T:
        """Return what ``ask`` returns for boto3's client."""

        def attempt(current: Attempt) -> T:
            client = self._client.get()
            current.sent, current.note = True, client
            return ask(client)

        return self._policy.call(operation, attempt, until=until)

    def sign(self, method: str, place: dict[str, str], seconds: int) -> str:
        """Return a presigned URL. Sends no request."""

        def attempt(_: Attempt) -> str:
            return str(self._signer.get().generate_presigned_url(_METHODS[method], place, seconds))

        return self._policy.call("get_presigned_url", attempt)

    def _translate(self, exc: Exception, attempt: Attempt) -> InfrastructureError | None:
        meaning = _aws_meaning(exc, attempt)
        if meaning == "no credentials":
            self._client.drop()
            self._signer.drop()
        error = _S3_FAILURES[meaning](exc) if meaning else None
        if error is not None and attempt.note is not None and not isinstance(error, NotFoundError):
            # The store may have moved: new connections look up its name again.
            attempt.note.close()
        return error

    def head(self, operation: str, place: dict[str, str]) -> ObjectMetadata | None:
        """Return the object's metadata; None if it does not exist."""

        def ask(client: Any) -> ObjectMetadata:
            answer = client.head_object(**place)
            headers = answer["ResponseMetadata"]["HTTPHeaders"]
            tagged = () if _is_folder(place["Key"], headers) else ("ETag",)
            _check_has(answer, "ContentLength", "LastModified", *tagged)
            return ObjectMetadata(
                answer["ContentLength"],
                answer.get("ContentType", _CONTENT_TYPE),
                _whole_seconds(answer["LastModified"]),
                answer.get("ETag", "").strip('"'),
                {name.lower(): value for name, value in answer.get("Metadata", {}).items()},
            )

        try:
            return self.call_head(operation, place, ask)
        except NotFoundError:
            return None

    def call_head(self, operation: str, place: dict[str, str], ask: Callable[[Any], T]) -> T:
        """As ``call``, for HEAD. A refusal has no body: a GET of one byte tells its code."""
        until, status = self._policy.until(), 0

        def ask_noting(client: Any) -> T:
            nonlocal status
            try:
                return ask(client)
            except client.exceptions.ClientError as exc:
                status, _ = _aws_refusal(exc)
                raise

        try:
            return self.call(operation, ask_noting, until=until)
        except StorageError as error:
            if status not in (400, 403):
                raise
            refusal = error
        raise self._explained(refusal, operation, place, until)

    def _explained(
        self, refusal: StorageError, operation: str, place: dict[str, str], until: float
    ) -> StorageError:
        def look(client: Any) -> None:
            client.get_object(**place, Range="bytes=0-0")["Body"].close()

        try:
            self.call(operation, look, until=until)
        except StorageError as error:
            if error.code not in (None, "InvalidRange"):
                return error
        except (ConnectionError, TimeoutError, NotFoundError):
            pass
        return refusal

    def delete(self, operation: str, place: dict[str, str]) -> None:
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
                    retryable=False,
                )

        self.call(operation, ask)


def _is_there(client: Any, ask: Callable[..., Any], **place: Any) -> bool | None:
    """Return whether ``ask`` finds something; None if the credentials may not know."""
    client.close()  # the connection of an odd answer may be broken
    try:
        ask(**place)
    except client.exceptions.ClientError as exc:
        status, code = _aws_refusal(exc)
        if status == 404:
            return False
        # The refusal of a HEAD request has no body, so no code.
        if status == 403 and (code or exc.operation_name == "HeadObject"):
            return None
        raise
    return True


#: sends one part with boto3's client and the part's place; returns the ETag
_SendPart = Callable[[Any, dict[str, Any]], str]


@dataclass(frozen=True, eq=False)
class _MultipartUpload:
    """The upload of one object in parts, each of which is a request."""

    calls: _S3Calls
    operation: str
    place: dict[str, str]
    most_parts: int

    def run(self, headers: Mapping[str, Any], parts: Iterator[_SendPart]) -> None:
        """Upload the parts; abort if one fails."""
        upload_id = self._call(
            lambda client: client.create_multipart_upload(**self.place, **headers)["UploadId"]
        )
        upload = {**self.place, "UploadId": upload_id}
        try:
            sent = [self._send(upload, number, part) for number, part in enumerate(parts, 1)]
            self._complete(upload, sent)
        except BaseException:
            self._abort(upload)
            raise

    def _call(self, ask: Callable[[Any], T]) -> T:
        return self.calls.call(self.operation, ask)

    def _send(self, upload: Mapping[str, str], number: int, part: _SendPart) -> dict[str, Any]:
        if number > self.most_parts:
            raise StorageError(
                f"storage takes at most {self.most_parts:,} parts: give a larger part_size",
                service="storage",
                operation=self.operation,
            )
        place = {**upload, "PartNumber": number}
        return {"PartNumber": number, "ETag": self._call(lambda client: part(client, place))}

    def _complete(self, upload: Mapping[str, str], sent: list[dict[str, Any]]) -> None:
        """Complete the upload.

        When retried, some stores have forgotten the upload id: compare the object's ETag instead.
        """
        parts = {"Parts": sent}
        try:
            self._call(
                lambda client: client.complete_multipart_upload(**upload, MultipartUpload=parts)
            )
        except NotFoundError as error:
            etags = [part["ETag"].strip('"') for part in sent]
            are_md5s = all(re.fullmatch("[0-9a-f]{32}", etag) for etag in etags)
            if error.resource != "upload" or not are_md5s:
                raise
            found = self.calls.head(self.operation, self.place)
            if found is None or found.etag != _etag_of_parts([*map(bytes.fromhex, etags)]):
                raise

    def _abort(self, upload: Mapping[str, str]) -> None:
        try:
            self._call(lambda client: client.abort_multipart_upload(**upload))
        except NotFoundError:
            pass
        except InfrastructureError as error:
            logger.warning(
                "storage %s: an unfinished upload may be left (%s)",
                self.operation,
                type(error).__name__,
            )


@dataclass(frozen=True, eq=False)
class _BatchDeletion:
    """Deletes a thousand keys with one request, and with single ones those that need them."""

    calls: _S3Calls
    bucket: str
    keeps_folders: bool
    errors: dict[str, str] = field(default_factory=dict)

    def run(self, keys: Sequence[str]) -> dict[str, str]:
        """Delete the keys. Return the codes of refusals, by key."""
        # A batch leaves folders, but reports them as deleted.
        folders = [key for key in keys if key.endswith("/")]
        files = [key for key in keys if not key.endswith("/")]
        self._delete_each(self._delete_together(files))
        if self.keeps_folders:
            self._delete_empty_folders([key for key in files if key not in self.errors])
        self._delete_each(folders)
        return self.errors

    def _delete_together(self, keys: Sequence[str]) -> Sequence[str]:
        """Delete the keys with one request. Return those that need requests of their own."""
        single = [key for key in keys if _NOT_IN_XML.search(key)]
        fit = [key for key in keys if not _NOT_IN_XML.search(key)]
        if not fit:
            return single
        batch = {"Objects": [{"Key": key} for key in fit], "Quiet": True}

        def ask(client: Any) -> dict[str, str]:
            answer = client.delete_objects(Bucket=self.bucket, Delete=batch)
            refused = answer.get("Errors", ())
            errors = {entry.get("Key"): _aws_code(entry) or "" for entry in refused}
            if not errors.keys() <= {*fit}:
                raise StorageError("storage does not say which keys it refused")
            return errors

        try:
            self.errors.update(self.calls.call("delete_batch", ask))
        except StorageError as error:
            if error.code not in ("NotImplemented", "MethodNotAllowed"):
                raise
            return keys  # the store lacks DeleteObjects
        return single

    def _delete_each(self, keys: Sequence[str]) -> None:
        for key in keys:
            try:
                self._delete(key)
            except StorageError as error:
                self.errors[key] = error.code or ""

    def _delete(self, key: str) -> None:
        self.calls.delete("delete_batch", _s3_place(self.bucket, key))

    def _delete_empty_folders(self, keys: Sequence[str]) -> None:
        """Delete the folders that these keys were in, if empty, the deepest first.

        A batch leaves them, and lists would show them. An object with bytes is no folder. One that
        stays (in use again, or denied) is no error.
        """
        folders = {key[: match.end()] for key in keys for match in re.finditer("/", key)}
        for folder in sorted(folders, key=len, reverse=True):
            place = {"Bucket": self.bucket, "Prefix": folder, "MaxKeys": 2}
            look = operator.methodcaller("list_objects_v2", **place)
            try:
                found = self.calls.call("delete_batch", look).get("Contents", ())
                if not any(entry["Key"] != folder or entry["Size"] for entry in found):
                    self._delete(folder)
            except StorageError as error:
                if error.code not in ("FolderNotEmpty", "AccessDenied"):
                    raise


class S3StorageProvider(StorageProvider):
    """S3, or a store with its protocol, over boto3. Tried on MinIO's S3 gateway and on moto.

    https://docs.aws.amazon.com/AmazonS3/latest/API/. On AWS the bucket is part of the host name,
    elsewhere of the path. Requests are signed with version 4. At most 32 connections are kept; a
    failure closes all. An answer that is cut, or lacks something that S3 always says, counts as
    lost. Then any operation is retried within ``config.connect_timeout + config.read_timeout``:
    repeating one leaves the same object. The observer is called for each request, and for each
    chunk that ``open`` and ``download_to`` read.
    """

    MOST_PARTS = 10_000  # AWS's limit of an upload; override it for a store that has a lower one

    def __init__(
        self,
        config: S3StorageConfig | None = None,
        *,
        part_size: int = 8 * _MIB,
        copy_part_size: int = 128 * _MIB,
        ca_file: str | Path | None = None,
        keeps_folders: bool | None = None,
        clock: Clock | None = None,
        observer: Callable[[Call], None] | None = None,
    ) -> None:
        """``ca_file``: path of a PEM file with the authorities to trust instead of the system's or
        those of ``AWS_CA_BUNDLE``. ``keeps_folders`` overrides that of the config."""
        if not isinstance(config, S3StorageConfig | None):
            raise ConfigurationError(
                "S3StorageProvider takes an S3StorageConfig: S3StorageProvider(S3StorageConfig(…))"
            )
        super().__init__(part_size, copy_part_size)
        if ca_file is not None:
            ca_file = os.path.abspath(_check_path("ca_file", ca_file))
            _tls_context({"sslrootcert": ca_file}, "verify-full", "ca_file")
        self.config = config = config or S3StorageConfig()
        self._keeps_folders = config.keeps_folders
        if keeps_folders is not None:
            self._keeps_folders = _check_flag("keeps_folders", keeps_folders)
        _driver("boto3", "boto3", "S3StorageProvider")
        self._calls = _S3Calls(config, ca_file, clock, observer)

    def close(self) -> None:
        """Close connections. Later calls raise ConnectionError. Closing twice does nothing."""
        self._calls.close()

    def _holds(self) -> bool:
        return self._calls.is_open

    def _put(
        self, bucket: str, key: str, data: bytes, content_type: str, metadata: dict[str, str]
    ) -> None:
        self._calls.call(
            "upload",
            lambda client: client.put_object(
                Bucket=bucket, Key=key, Body=data, ContentType=content_type, Metadata=metadata
            ),
        )

    def _put_parts(
        self,
        bucket: str,
        key: str,
        parts: Iterator[bytes],
        content_type: str,
        metadata: dict[str, str],
    ) -> None:
        def send(data: bytes, client: Any, place: dict[str, Any]) -> str:
            return str(client.upload_part(Body=data, **place)["ETag"])

        headers = {"ContentType": content_type, "Metadata": metadata}
        upload = _MultipartUpload(self._calls, "upload", _s3_place(bucket, key), self.MOST_PARTS)
        upload.run(headers, (functools.partial(send, data) for data in parts))

    def _get(self, bucket: str, key: str) -> bytes:
        def read(client: Any) -> bytes:
            answer = client.get_object(Bucket=bucket, Key=key)
            with contextlib.closing(answer["Body"]) as body:
                data: bytes = body.read()
                return data

        return self._calls.call("download", read)

    def _source(self, operation: str, bucket: str, key: str) -> _Source:
        return _S3Source(self._calls, operation, _s3_place(bucket, key))

    def _presign(self, bucket: str, key: str, seconds: int, method: str) -> str:
        return self._calls.sign(method, _s3_place(bucket, key), seconds)

    def _head(self, operation: str, bucket: str, key: str) -> ObjectMetadata | None:
        return self._calls.head(operation, _s3_place(bucket, key))

    def _exists(self, bucket: str, key: str) -> bool:
        place = _s3_place(bucket, key)
        try:
            self._calls.call_head("exists", place, operator.methodcaller("head_object", **place))
        except NotFoundError:
            return False
        return True

    def _list(
        self, bucket: str, prefix: str, limit: int, token: str | None
    ) -> tuple[list[ObjectSummary], str | None]:
        more = {} if token is None else {"ContinuationToken": token}

        def ask(client: Any) -> tuple[list[ObjectSummary], str | None]:
            answer = client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=limit, **more)
            summaries = map(_summary_of, answer.get("Contents", ()))
            # MinIO takes the prefix "/" for none, and lists all objects.
            found = [summary for summary in summaries if summary.key.startswith(prefix)]
            if not answer.get("IsTruncated"):
                return found, None
            following = answer.get("NextContinuationToken")
            if not following or following == token:  # the list would end too early, or never
                raise StorageError("storage lists a part, and does not say how to go on")
            return found, following

        return self._calls.call("list_objects", ask)

    def _delete(self, bucket: str, key: str) -> None:
        self._calls.delete("delete", _s3_place(bucket, key))

    def _delete_many(self, bucket: str, keys: Sequence[str]) -> dict[str, str]:
        return _BatchDeletion(self._calls, bucket, self._keeps_folders).run(keys)

    def _copy(self, source: tuple[str, str], target: tuple[str, str]) -> None:
        start, end = _s3_place(*source), _s3_place(*target)
        self._calls.call("copy", lambda client: client.copy_object(**end, CopySource=start))

    def _copy_parts(self, source: tuple[str, str], target: tuple[str, str]) -> None:
        start = _s3_place(*source)

        def ask(client: Any) -> dict[str, Any]:
            answer: dict[str, Any] = client.head_object(**start)
            _check_has(answer, "ContentLength", "ETag")
            return answer

        found = self._calls.call("copy", ask)
        size = found["ContentLength"]
        step = max(self._copy_part_size, -(-size // self.MOST_PARTS))
        # All parts come from one version of the object.
        origin = {"CopySource": start, "CopySourceIfMatch": found["ETag"]}

        def send(offset: int, client: Any, place: dict[str, Any]) -> str:
            range = f"bytes={offset}-{min(offset + step, size) - 1}"
            answer = client.upload_part_copy(CopySourceRange=range, **origin, **place)
            return str(answer["CopyPartResult"]["ETag"])

        kept = {name: found[name] for name in _S3_KEPT if name in found}
        upload = _MultipartUpload(self._calls, "copy", _s3_place(*target), self.MOST_PARTS)
        upload.run(kept, (functools.partial(send, offset) for offset in range(0, size, step)))

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

        try:
            try:
                self._calls.call("create_bucket", ask)
            except StorageError as error:
                if error.code != "InvalidLocationConstraint" or not where:
                    raise
                where.clear()  # the store does not know the region
                self._calls.call("create_bucket", ask)
        except StorageError as error:
            if error.code != "BucketAlreadyOwnedByYou":
                raise

    def _health_check(self) -> Health:
        started, server = 0.0, ""

        def ask(client: Any) -> None:
            nonlocal started, server
            started = time.perf_counter()
            answer = client.list_buckets()
            headers = answer["ResponseMetadata"].get("HTTPHeaders", {})
            server = re.sub("[^!-~]+", " ", headers.get("server", ""))[:40].strip()

        try:
            self._calls.call("health_check", ask)
        except StorageError as error:
            if error.code != "AccessDenied":
                raise
        latency = time.perf_counter() - started
        usual = "S3" if self.config.endpoint is None else "S3 protocol"
        return Health("storage", server or usual, latency)


def _whole_seconds(moment: datetime) -> datetime:
    return moment.astimezone(timezone.utc).replace(microsecond=0)


def _summary_of(entry: Mapping[str, Any]) -> ObjectSummary:
    etag = entry.get("ETag", "").strip('"')
    return ObjectSummary(entry["Key"], entry["Size"], etag, _whole_seconds(entry["LastModified"]))


class _S3Source(_Source):
    """Reads an object. After a lost connection it reads on over another, if it is unchanged."""

    def __init__(self, calls: _S3Calls, operation: str, place: Mapping[str, str]) -> None:
        self._calls = calls
        self._operation = operation
        self._place = place
        self._at, self._size, self._etag = 0, -1, ""
        self._body: Any = None
        self.read(0)
        _fork_aware.add(self)

    def _forget_parent(self) -> None:
        self._body = None

    def read(self, size: int) -> bytes:
        def next_bytes(client: Any) -> bytes:
            try:
                if self._body is None:
                    if self._at == self._size:
                        return b""
                    self._body = self._open(client)
                data: bytes = self._body.read(size) if size else b""
            except BaseException:
                self.close()
                raise
            self._at += len(data)
            return data

        return self._calls.call(self._operation, next_bytes)

    def _open(self, client: Any) -> Any:
        rest = {"Range": f"bytes={self._at}-", "IfMatch": f'"{self._etag}"'} if self._at else {}
        answer = client.get_object(**self._place, **rest)
        if not self._at:
            self._size = answer.get("ContentLength", -1)
            self._etag = answer.get("ETag", "").strip('"')
        elif not str(answer.get("ContentRange", "")).startswith(f"bytes {self._at}-"):
            answer["Body"].close()
            raise StorageError("storage cannot go on where a connection was lost", retryable=False)
        return answer["Body"]

    def close(self) -> None:
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


@dataclass(frozen=True, eq=False)
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
    or ``X | None``. No field is called "type".

    It is sent as a JSON object with "type" (such as "OrderEvent.Placed") and the fields, ids and
    times as text (RFC 9562, RFC 3339). A reader ignores unknown fields and fills in defaults for
    missing ones: give a new field a default, so that old and new programs can talk.
    """

    _family: ClassVar[type[Event]]
    #: of a family: an event's attribute, by the name of its class
    _aliases: ClassVar[Mapping[str, str]]
    #: of a family: its events, by "type"
    _members: ClassVar[dict[str, type[Event]]]
    _type: ClassVar[str] = ""
    _fields: ClassVar[Sequence[_EventField]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if Event in cls.__bases__:
            cls._family, cls._members = cls, {}
            texts = {name: value for name, value in vars(cls).items() if isinstance(value, str)}
            cls._aliases = {value: name for name, value in texts.items() if name[0] != "_"}
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


@dataclass(frozen=True, eq=False)
class _BenchmarkCreated(BenchmarkEvent):
    """A user has created the benchmark."""

    benchmark_id: uuid.UUID
    name: str
    created_by: uuid.UUID


@dataclass(frozen=True, eq=False)
class _BenchmarkUpdated(BenchmarkEvent):
    """The benchmark has a new version."""

    benchmark_id: uuid.UUID
    version: str
    changelog: str = ""


@dataclass(frozen=True, eq=False)
class _BenchmarkStatusChanged(BenchmarkEvent):
    """The benchmark has moved from one status to another."""

    benchmark_id: uuid.UUID
    old_status: str
    new_status: str


@dataclass(frozen=True, eq=False)
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


@dataclass(frozen=True, eq=False)
class _SubmissionCreated(SubmissionEvent):
    """A user has submitted results of a model."""

    submission_id: uuid.UUID
    benchmark_id: uuid.UUID
    model_name: str
    score: float | None = None


@dataclass(frozen=True, eq=False)
class _VerificationStarted(SubmissionEvent):
    """The verification of a submission has begun."""

    submission_id: uuid.UUID


@dataclass(frozen=True, eq=False)
class _VerificationCompleted(SubmissionEvent):
    """The verification of a submission has ended."""

    submission_id: uuid.UUID
    level: str


@dataclass(frozen=True, eq=False)
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


@dataclass(frozen=True, eq=False)
class _UserCreated(UserEvent):
    """A user has been created."""

    user_id: uuid.UUID
    username: str


@dataclass(frozen=True, eq=False)
class _UserRoleChanged(UserEvent):
    """A user has another role."""

    user_id: uuid.UUID
    old_role: str
    new_role: str


@dataclass(frozen=True, eq=False)
class _UserProfileUpdated(UserEvent):
    """A user's profile has changed."""

    user_id: uuid.UUID
    fields: tuple[str, ...]


class SystemEvent(Event):
    """Events of the system."""

    MaintenanceScheduled: TypeAlias = "_MaintenanceScheduled"
    HealthCheckFailed: TypeAlias = "_HealthCheckFailed"
    CacheCleared: TypeAlias = "_CacheCleared"


@dataclass(frozen=True, eq=False)
class _MaintenanceScheduled(SystemEvent):
    """The service will be down for maintenance."""

    starts_at: datetime
    ends_at: datetime
    reason: str


@dataclass(frozen=True, eq=False)
class _HealthCheckFailed(SystemEvent):
    """A service has failed its health check."""

    service: str
    error: str


@dataclass(frozen=True, eq=False)
class _CacheCleared(SystemEvent):
    """Keys have been deleted from the cache."""

    pattern: str


class _Codec(NamedTuple):
    """Both take a field's name, for messages, and value. They raise ValidationError."""

    write: Callable[[str, Any], Any]
    read: Callable[[str, Any], Any]


class _EventField(NamedTuple):
    name: str
    required: bool
    codec: _Codec


_UUID = _lazy("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_MOMENT = _lazy(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)",
    re.ASCII | re.IGNORECASE,
)
_LEAP_SECOND = _lazy(r"(\d\d:\d\d):60", re.ASCII)


def _read_iso(text: str) -> datetime:
    """Read a time as Python 3.10 does. A leap second is the next day's first, as in POSIX."""
    text, leaps = _LEAP_SECOND.subn(r"\1:59", text)
    found = datetime.fromisoformat(text)
    if leaps:
        found += timedelta(seconds=1)
        day = found if found.tzinfo is None else _aware(found)
        if day.time().replace(microsecond=0) != day_time():  # at other times there is none
            raise ValueError
    return found


def _refuse_field(name: str, expected: type | str) -> NoReturn:
    raise ValidationError(f"{name} should be {_KINDS.get(expected, expected)}")


def _event_str(name: str, value: Any) -> str:
    return _check_value(value, name)


def _event_bool(name: str, value: Any) -> Any:
    value = _plain(value)
    return value if value.__class__ is bool else _refuse_field(name, bool)


def _event_int(name: str, value: Any) -> Any:
    value = _plain(value)
    fits = value.__class__ is int and -(2**63) <= value < 2**63
    return value if fits else _refuse_field(name, f"{_KINDS[int]} of 64 bits")


def _event_float(name: str, value: Any) -> float:
    fits = _is_number(value, -sys.float_info.max, sys.float_info.max)
    return float(value) if fits else _refuse_field(name, float)


def _event_dict(name: str, value: Any) -> Any:
    return _document(name, value).value if isinstance(value, dict) else _refuse_field(name, dict)


def _event_list(name: str, value: Any) -> Any:
    return _document(name, value).value if isinstance(value, list) else _refuse_field(name, list)


def _write_id(name: str, value: Any) -> str:
    return str(_plain(value)) if isinstance(value, uuid.UUID) else _refuse_field(name, uuid.UUID)


def _read_id(name: str, value: Any) -> uuid.UUID:
    fits = isinstance(value, str) and _UUID.fullmatch(value)
    return uuid.UUID(value) if fits else _refuse_field(name, uuid.UUID)


def _write_moment(name: str, value: Any) -> str:
    fits = isinstance(value, datetime)
    return _aware(value, name).isoformat() if fits else _refuse_field(name, datetime)


def _read_moment(name: str, value: Any) -> datetime:
    found = _MOMENT.fullmatch(value) if isinstance(value, str) else None
    if found is not None:
        digits, offset = f"{found[2] or '':0<6}"[:6], found[3].upper().replace("Z", "+00:00")
        try:
            return _aware(_read_iso(f"{found[1]}.{digits}{offset}"), name)
        except (ValueError, OverflowError):
            pass  # raise below: here the error's context would quote the text
    _refuse_field(name, "a time as RFC 3339 has it")


def _same_codec(check: Callable[[str, Any], Any]) -> _Codec:
    return _Codec(check, check)


#: how a field is checked and written, and how it is read and checked, by its type
_EVENT_CODECS: Mapping[Any, _Codec] = {
    str: _same_codec(_event_str), bool: _same_codec(_event_bool),
    int: _same_codec(_event_int), float: _same_codec(_event_float),
    dict: _same_codec(_event_dict), list: _same_codec(_event_list),
    uuid.UUID: _Codec(_write_id, _read_id), datetime: _Codec(_write_moment, _read_moment),
}  # fmt: skip


def _tuple_codec(item: _Codec) -> _Codec:
    def write(name: str, value: Any) -> list[Any]:
        if not isinstance(value, tuple):
            _refuse_field(name, "a tuple")
        return [item.write(name, element) for element in value]

    def read(name: str, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            _refuse_field(name, "a list")
        return tuple(item.read(name, element) for element in value)

    return _Codec(write, read)


def _optional_codec(codec: _Codec) -> _Codec:
    def write(name: str, value: Any) -> Any:
        return None if value is None else codec.write(name, value)

    def read(name: str, value: Any) -> Any:
        return None if value is None else codec.read(name, value)

    return _Codec(write, read)


def _event_codec(name: str, hint: Any) -> _Codec:
    """Return the codec of a field's type. Raises ConfigurationError if events cannot have it."""
    choices = get_args(hint) if get_origin(hint) in (Union, type(int | None)) else (hint,)
    types = [choice for choice in choices if choice is not type(None)]
    base = get_origin(types[0]) or types[0] if len(types) == 1 else None
    if base is tuple and get_args(types[0])[1:] == (...,):
        codec = _tuple_codec(_event_codec(name, get_args(types[0])[0]))
    elif base in _EVENT_CODECS:
        codec = _EVENT_CODECS[base]
    else:
        raise ConfigurationError(
            f"{name} has a type that no field of an event has: see infra.Event"
        )
    return codec if len(choices) == 1 else _optional_codec(codec)


def _event_fields(event: type[Event]) -> Sequence[_EventField]:
    """Build the fields on first use: ``@dataclass`` runs after ``__init_subclass__``."""
    ready = vars(event).get("_fields")
    if ready is None:
        ready = event._fields = _new_event_fields(event)
    return ready


def _new_event_fields(event: type[Event]) -> Sequence[_EventField]:
    try:
        hints = get_type_hints(event)
    except (NameError, AttributeError, SyntaxError, TypeError):
        raise ConfigurationError(
            f"{event._type} has a field whose type its module does not know"
        ) from None
    found = {field.name: field for field in fields(event) if field.init}
    if "type" in found:
        raise ConfigurationError(f"{event._type} has a field called type: that name is taken")
    return [
        _EventField(
            name,
            field.default is _NO_DEFAULT and field.default_factory is _NO_DEFAULT,
            _event_codec(name, hints[name]),
        )
        for name, field in found.items()
    ]


def _event_text(event: Event) -> str:
    """Return the event as JSON. Raises SerializationError."""
    try:
        values = {
            name: codec.write(name, getattr(event, name))
            for name, _, codec in _event_fields(event.__class__)
        }
        return _encode({"type": event._type, **values})
    except (ValidationError, SerializationError) as error:
        reason = str(error)
    raise SerializationError(f"{event._type}: {reason}")


def _event_of(payload: str, family: type[E]) -> E:
    """Read an event. No ``except`` clause raises: the error's context would quote the text."""
    if not (isinstance(family, type) and issubclass(family, Event)) or family is Event:
        raise ValidationError("family should be a subclass of Event")
    try:
        found = _read_json(payload)
    except (AttributeError, TypeError, ValueError, RecursionError):  # the first two: not a text
        found = None
    if not isinstance(found, dict):
        raise SerializationError("the payload is no JSON object")
    type_ = found.get("type")
    event = family._members.get(type_) if isinstance(type_, str) else None
    if event is None or not issubclass(event, family):
        raise SerializationError(f"the payload's type is none that {family.__name__} has")
    return _event_with(event, found)


def _event_with(event: type[E], found: Mapping[str, Any]) -> E:
    try:
        values, missing = {}, []
        for name, required, codec in _event_fields(event):
            if name in found:
                values[name] = codec.read(name, found[name])
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


@dataclass(frozen=True, eq=False)
class Message(_ByValue):
    """A message, as a handler receives it. Its repr does not show the payload.

    ``pattern`` is the glob that matched; None for a subscription to the channel's name.
    """

    channel: str
    pattern: str | None
    payload: str = field(repr=False)

    def deserialize(self, family: type[E]) -> E:
        """Return the event that the payload holds.

        ``family`` is ``BenchmarkEvent``, for example, or ``BenchmarkEvent.Created``. Raises
        SerializationError for anything else: no JSON, another family's, an unknown type, a field
        missing or of another type.
        """
        return _event_of(self.payload, family)


class Subscription(_Closing):
    """A handler and its channels or glob, as the ``subscribe`` methods of a bus return it.

    The bus keeps it, and closes it with itself. Keep it only to close it earlier.
    """

    def __init__(
        self,
        bus: RedisEventBus,
        is_glob: bool,
        names: Sequence[str],
        handler: Callable[[Message], object],
    ) -> None:
        self._bus = bus
        self._keys = [(is_glob, name) for name in names]
        self._handler = handler
        self._closed = False

    def close(self) -> None:
        """Handle no further message. Closing twice does nothing.

        The last subscription to a channel unsubscribes the bus, and returns once Redis has
        acknowledged that, or at once inside a handler. An error is logged, not raised.
        """
        if not self._closed:
            self._closed = True
            self._bus._leave(self)


class _SubscriptionTable:
    """The subscriptions of a bus by key: whether it is a glob, and the name in Redis.

    The lock is not held during I/O or a wait. It is re-entrant for signal handlers and finalizers.
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
        """Remove it. Return the keys that have no subscription left."""
        left = []
        with self._lock:
            by_key = self._by_key  # close() replaces it
            for key in subscription._keys:
                if key not in by_key:
                    continue
                rest = tuple(found for found in self.at(key) if found is not subscription)
                by_key[key] = rest
                if not rest:
                    by_key.pop(key, None)
                    left.append(key)
        return left

    def close(self) -> None:
        """Close and remove all."""
        with self._lock:
            by_key, self._by_key = self._by_key, {}
        for subscription in itertools.chain(*by_key.values()):
            subscription._closed = True


class RedisEventBus(_Closing):
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

    Channels belong to the whole Redis server, not to a database number or a cache's prefix. Two
    environments on one server need a ``prefix`` each, and neither may begin with the other.

    Attributes:
        handler_errors: number of handler calls that have raised.
    """

    def __init__(
        self,
        client: KeyValueClient,
        on_reconnect: Callable[[], None] | None = None,
        prefix: str = "",
    ) -> None:
        """``client``: stays open when the bus closes. ``on_reconnect()`` runs in the handlers'
        thread. ``prefix`` is put before each channel and glob in Redis; messages do not show it."""
        if not isinstance(client, KeyValueClient):
            raise ValidationError("RedisEventBus takes a RedisClient")
        if on_reconnect is not None:
            _check_function("on_reconnect", on_reconnect, "no arguments")
        self.handler_errors = 0
        self._client = client
        self._on_reconnect = on_reconnect
        self._prefix = _check_text("prefix", prefix, blank_ends=False)
        self._glob_prefix = _GLOB_SIGNS.sub(r"\\\g<0>", self._prefix)
        self._closed = False
        self._forget_parent()
        _fork_aware.add(self)

    def _forget_parent(self) -> None:
        self._lock = threading.RLock()  # guards the listener, as that of the table
        self._listener: Listener | None = None
        self._table = _SubscriptionTable()

    def publish(self, channel: str, event: Event) -> int:
        """Send the event to the current subscribers and return their number, as Redis counts.

        Each bus or other connection counts once for the channel and once for each glob that
        matches. Never retried after it was sent. Raises SerializationError if a field's value
        does not have its type.
        """
        if not isinstance(event, Event) or not event._type:
            raise ValidationError(
                "event should be one of a family, such as BenchmarkEvent.Created(…)"
            )
        if self._closed:
            raise self._closed_error("publish")
        try:
            name = self._prefix + _check_key(channel, "channel")
            return self._client.publish(name, _event_text(event))
        except CacheError as error:
            raise self._refused(error) from error

    def subscribe(self, channel: str, handler: Callable[[Message], object]) -> Subscription:
        """Call ``handler`` with each message to the channel from now on.

        Returns once Redis has acknowledged it, or at once inside a handler. A handler that is
        subscribed twice is called twice.
        """
        return self._join("subscribe", [_check_key(channel, "channel")], handler)

    def subscribe_many(
        self, channels: Iterable[str], handler: Callable[[Message], object]
    ) -> Subscription:
        """Subscribe to several channels at once; otherwise as ``subscribe``."""
        names = [_check_key(channel, "channel") for channel in _check_many("channels", channels)]
        if not names:
            raise ValidationError("subscribe_many needs at least one channel")
        return self._join("subscribe", [*dict.fromkeys(names)], handler)

    def psubscribe(self, glob: str, handler: Callable[[Message], object]) -> Subscription:
        """Subscribe to all channels that match a glob; otherwise as ``subscribe``.

        For globs see ``KeyValueClient.scan``. Messages to a channel that is also subscribed to by
        name come twice.
        """
        return self._join("psubscribe", [_check_key(glob, "glob")], handler)

    def close(self) -> None:
        """End all subscriptions. Later calls raise ConnectionError. The client stays open.

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

    def _join(
        self, operation: str, names: Sequence[str], handler: Callable[[Message], object]
    ) -> Subscription:
        _check_function("handler", handler, "a Message")
        is_glob = operation == "psubscribe"
        before = self._glob_prefix if is_glob else self._prefix
        names = [before + name for name in names]
        subscription = Subscription(self, is_glob, names, handler)
        try:
            listener = self._listening(operation)
            self._table.add(subscription)
            if self._closed:  # meanwhile
                raise self._closed_error(operation)
            # Also for names with other subscriptions: Redis may not have acknowledged them yet.
            (listener.psubscribe if is_glob else listener.subscribe)(*names)
        except BaseException as error:
            subscription._closed = True
            self._table.remove(subscription)
            if isinstance(error, CacheError):
                raise self._refused(error) from error
            raise
        return subscription

    def _listening(self, operation: str) -> Listener:
        """Return the listener. If threads make several at once, the first one stored is kept."""
        if self._closed:
            raise self._closed_error(operation)
        listener = self._listener
        if listener is None:
            made = self._listen()
            try:
                with self._lock:
                    if not self._closed:
                        listener = self._listener = self._listener or made
            finally:
                if listener is not made:
                    made.close()
        if listener is None:  # closed meanwhile
            raise self._closed_error(operation)
        return listener

    def _listen(self) -> Listener:
        listener = self._client.listen(self._receive, self._on_reconnect)
        listener._is_needed = self._is_joined
        return listener

    def _is_joined(self, is_glob: bool, name: str) -> bool:
        return bool(self._table.at((is_glob, name)))

    def _receive(self, channel: str, pattern: str | None, payload: str) -> None:
        glob = None if pattern is None else pattern.removeprefix(self._glob_prefix)
        message = Message(channel.removeprefix(self._prefix), glob, payload)
        for subscription in self._table.at((pattern is not None, pattern or channel)):
            if subscription._closed:  # by the handler of another one
                continue
            try:
                _ran(subscription._handler(message))
            except Exception as error:
                self.handler_errors += 1
                outcome = type(error).__name__
                details = {"service": "redis", "operation": "handle", "outcome": outcome}
                logger.warning(
                    "a handler of channel %s raised", channel, exc_info=True, extra=details
                )

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

    def _closed_error(self, operation: str) -> ConnectionError:
        return ConnectionError(
            "the event bus is closed", service="redis", operation=operation, retryable=False
        )

    @staticmethod
    def _refused(error: CacheError) -> MessagingError:
        return MessagingError(
            str(error), service=error.service, operation=error.operation, retryable=error.retryable
        )


# === sms ==========================================================================================


class SmsService(_Closing):
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
        """Close the service. Later sends raise ConnectionError. Closing twice does nothing."""
        self._closed = True

    def _send_if_open(self, phone: str, message: str, code: str | None) -> str:
        if self._closed:
            raise ConnectionError(
                "the SMS service is closed",
                service="sms",
                operation=self._operation(code),
                retryable=False,
            )
        return _ran(self._send(phone, message, code))

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
        """``stream``: a text file that is open for writing; default: ``sys.stdout`` at each send.

        Raises ConfigurationError for anything else.
        """
        if stream is not None and not _is_file(stream, "write", binary=False):
            raise ConfigurationError("stream should be a text file that is open for writing")
        logger.warning(
            "MockSmsService prints messages, codes included, and sends none: for development only"
        )
        self.simulate_failure = _check_flag("simulate_failure", simulate_failure)
        self.message_count = 0
        self._stream = stream
        self._lock = threading.RLock()  # guards message_count; a signal handler may send too

    def _send(self, phone: str, message: str, code: str | None) -> str:
        if self.simulate_failure:
            raise SmsError(
                "the mock provider was told to fail", service="sms", operation="send_sms"
            )
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
    """Shared code of providers with a network API: the call policy and the errors.

    What fails before it is sent is retried once within ``config.timeout``; what was sent, never.
    """

    def __init__(
        self, config: SmsConfig, clock: Clock | None, observer: Callable[[Call], None] | None
    ) -> None:
        self.config = config
        self._policy = CallPolicy(
            "sms",
            translate=self._translate,
            repeatable=frozenset(),
            deadline=config.timeout,
            retries=1,
            clock=_clock(clock),
            observer=observer,
        )

    def _send(self, phone: str, message: str, code: str | None) -> str:
        return self._policy.call(
            self._operation(code),
            lambda attempt: self._post(attempt, phone, message, code is not None),
        )

    @staticmethod
    def _endpoint(endpoint: str) -> _Url:
        problem = _endpoint_problem(endpoint)
        if problem:
            raise ConfigurationError(f"endpoint should be https://host[:port]. But {problem}")
        url = _Url.parse(endpoint)
        if not _is_private(url):
            raise ConfigurationError(
                "endpoint should be https: requests carry phones, codes and secrets"
            )
        return url

    def _unsent(self, exc: Exception) -> ConnectionError:
        return ConnectionError(
            f"{self.provider_name} could not be reached{_os_reason(exc)}; nothing was sent"
        )

    def _unknown(self, why: str) -> SmsError:
        return SmsError(
            f"{self.provider_name} {why}: the message may have been sent", outcome="unknown"
        )

    def _rejected(self, why: str, **details: Any) -> SmsError:
        return SmsError(
            f"{self.provider_name} refused the message ({why})", outcome="rejected", **details
        )

    @abstractmethod
    def _post(self, attempt: Attempt, phone: str, message: str, is_code: bool) -> str: ...
    @abstractmethod
    def _translate(self, exc: Exception, attempt: Attempt) -> InfrastructureError | None: ...


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
        observer: Callable[[Call], None] | None = None,
    ) -> None:
        """``endpoint``: of a region, for example https://api.dublin.ie1.twilio.com. Plain http is
        allowed on the local machine only."""
        _check_sms_config(config)
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
        super().__init__(config, clock, observer)
        sender = config.sender or ""
        self._sender = (
            "MessagingServiceSid" if re.fullmatch("MG[0-9a-fA-F]{32}", sender) else "From",
            sender,
        )
        self._path = f"/2010-04-01/Accounts/{account}/Messages.json"
        self._tls: Any = _tls_context({}, "verify-full") if self._url.scheme == "https" else None

    def _post(self, attempt: Attempt, phone: str, message: str, is_code: bool) -> str:
        import base64
        import http.client
        import urllib.parse

        form = urllib.parse.urlencode([("To", phone), ("Body", message), self._sender])
        login = f"{self.config.api_key}:{self.config.api_secret}".encode()
        headers = {
            "Authorization": f"Basic {base64.b64encode(login).decode()}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
            "User-Agent": f"infra-twins/{__version__}",
        }
        host, port = self._url.host, self._url.port or (443 if self._tls else 80)
        connection = _whole_answers(http.client.HTTPConnection)(host, port)
        # http.client closes early. The file keeps the descriptor open until the watchdog lets go.
        with self._connect(host, port, attempt) as raw, raw.makefile("rb", 0):
            watched = _Watched(raw, raw.gettimeout() or 0.0)
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
        import base64

        lines = [f"CONNECT {to} HTTP/1.1", f"Host: {to}"]
        if proxy.user is not None:
            login = base64.b64encode(f"{proxy.user}:{proxy.password or ''}".encode()).decode()
            lines.append(f"Proxy-Authorization: Basic {login}")
        raw.settimeout(attempt.remaining())
        raw.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n") and len(answer) < 65536:
            raw.settimeout(attempt.remaining())
            piece = raw.recv(1)  # the bytes after the answer belong to TLS
            if not piece:
                raise OSError(errno.ECONNRESET, "")
            answer += piece
        status = re.match(rb"HTTP/1\.[01] ([0-9]{3})", answer)
        if status is None or not status[1].startswith(b"2"):
            raise OSError(f"{_NO_TUNNEL}{status[1].decode() if status else _NO_HTTP}")

    def _answered(self, status: int, headers: Any, body: bytes) -> str:
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        found = found if isinstance(found, dict) else {}
        given = found.get("code") or found.get("error_code")
        code = str(given) if type(given) is int else None
        sid = found.get("sid")
        refused = 400 <= status < 500 or (
            status < 300 and found.get("status") in ("failed", "undelivered", "canceled")
        )
        if refused:
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
        return (
            self._unknown(f"did not answer{_os_reason(exc)}") if attempt.sent else self._unsent(exc)
        )


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
        observer: Callable[[Call], None] | None = None,
    ) -> None:
        """``endpoint``: a URL other than AWS's own, such as a VPC endpoint. Plain http is allowed
        on the local machine only."""
        _check_sms_config(config)
        if (config.api_key is None) != (config.api_secret is None):
            raise ConfigurationError(
                "aws_sns needs both or neither of SMS_API_KEY and SMS_API_SECRET"
            )
        if endpoint is not None:
            endpoint = _plain(endpoint)
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
        super().__init__(config, clock, observer)
        _driver("boto3", "boto3", "SnsSmsService")
        self._endpoint_url = endpoint
        self._client = _AwsClient("the SMS service", self._build)

    def _build(self) -> Any:
        config = self.config
        client = _aws_client(
            "sns",
            region_name=config.region,
            endpoint_url=self._endpoint_url,
            keys=(config.api_key, config.api_secret, None),
            connect_timeout=config.timeout * 0.2,  # for two attempts; the answer has the rest
            read_timeout=config.timeout,
        )
        client.meta.events.register("after-call.sns", _check_published)
        return client

    def _holds(self) -> bool:
        return self._client.is_built

    def close(self) -> None:
        super().close()
        self._client.close()

    def _post(self, attempt: Attempt, phone: str, message: str, is_code: bool) -> str:
        attributes = dict(self._attributes)
        if is_code:
            attributes["AWS.SNS.SMS.SMSType"] = "Transactional"
        typed = {
            name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
        }
        client = self._client.get()
        attempt.sent, attempt.note = True, client
        token = _awaiting.set(attempt)
        try:
            answer = client.publish(PhoneNumber=phone, Message=message, MessageAttributes=typed)
        finally:
            _awaiting.reset(token)
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
            return ConfigurationError(
                "aws_sns found no credentials: set SMS_API_KEY and SMS_API_SECRET, or boto3's own"
            )
        if meaning == "bad settings":
            return ConfigurationError(
                f"aws_sns cannot be used as it is set ({type(exc).__name__}): see endpoint, "
                "AWS_REGION, and boto3's own settings"
            )
        if meaning == "unsent":
            return self._unsent(exc)
        if meaning == "refused":
            return self._answered(exc)
        if not attempt.sent:
            return None
        return self._unknown(f"gave no usable answer{_os_reason(exc)}")

    def _answered(self, exc: Any) -> SmsError:
        status, code = _aws_refusal(exc)
        if not 400 <= status < 500:
            return self._unknown(f"gave no usable answer (HTTP {status})")
        why = f"HTTP {status}" + (f", {code}" if code else "") + _SNS_HINTS.get(code or "", "")
        return self._rejected(
            why, code=code, retryable=status == 429 or (code or "").startswith("Throttl")
        )


class FailoverSmsService(SmsService):
    """Several services, tried in order, until one has sent the message.

    The next is tried only if the one before has certainly sent nothing: it rejected the message,
    could not be reached, or is not configured. An unknown outcome is raised: one late message is
    better than two. If all fail, the last error is raised. ``close`` closes all.
    """

    provider_name = "failover"

    def __init__(self, *services: SmsService) -> None:
        if not services or not all(isinstance(service, SmsService) for service in services):
            raise ConfigurationError("FailoverSmsService takes the services to ask, in order")
        self.services = services

    def is_available(self) -> bool:
        return super().is_available() and any(service.is_available() for service in self.services)

    def close(self) -> None:
        super().close()
        with contextlib.ExitStack() as stack:  # closes all, even if one raises
            for service in reversed(self.services):
                stack.callback(service.close)

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
            except (SmsError, ConnectionError, ConfigurationError) as error:
                if isinstance(error, SmsError) and error.outcome != "rejected":
                    raise
                failure = error
            logger.warning("%s sent nothing (%s)", service.provider_name, type(failure).__name__)
        raise failure


def create_sms_service(
    config: SmsConfig, *, clock: Clock | None = None, observer: Callable[[Call], None] | None = None
) -> SmsService:
    """Return the service of ``config.provider``. ConfigurationError: a setting is missing."""
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


# A move reads rows from a source, in the order of a key, and writes them to a target. Each batch
# commits together with a row of infra_moves, the checkpoint: it says where the next batch begins.

#: kinds of columns that a walk in the order of a key can go by
_KEY_KINDS = {"text", "flag", "integer", "year", "decimal", "bytes", "id"} | {
    "moment", "local moment", "date", "time", "time or duration"
}  # fmt: skip
_MICROSECOND = timedelta(microseconds=1)
#: how values of a key are written into a checkpoint, and read from it
_KEY_TEXTS: Mapping[str, tuple[type, Callable[[Any], str], Callable[[str], Any]]] = {
    "text": (str, str, str),
    "flag": (bool, lambda value: "1" if value else "", bool),
    "whole": (int, str, int),
    "decimal": (Decimal, str, Decimal),
    "bytes": (bytes, bytes.hex, bytes.fromhex),
    "id": (uuid.UUID, str, uuid.UUID),
    "moment": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (day_time, day_time.isoformat, day_time.fromisoformat),
    "duration": (
        timedelta,
        lambda value: str(value // _MICROSECOND),
        lambda text: int(text) * _MICROSECOND,
    ),
}


def _written_key(values: Sequence[Any]) -> list[list[str]]:
    """Return the values of a key as JSON holds them."""
    found = []
    for value in map(_plain, values):
        names = [name for name, (kind, _, _) in _KEY_TEXTS.items() if type(value) is kind]
        if not names:
            raise MoveError(f"a key should not hold a value of type {type(value).__name__}")
        found.append([names[0], _KEY_TEXTS[names[0]][1](value)])
    return found


def _read_key(position: Sequence[Sequence[str]]) -> list[Any]:
    return [_KEY_TEXTS[name][2](text) for name, text in position]


def _key_words(names: Sequence[str], values: Sequence[Any]) -> str:
    """Return a key for a message: "id=7"."""
    return ", ".join(f"{name}={value}" for name, value in zip(names, values))


class _Batch(NamedTuple):
    """Rows of a source, where the next batch begins, and whether there is none."""

    key_names: Sequence[str]
    keys: Sequence[Sequence[Any]]
    #: tuples in the order of the source's ``names``, or dicts where it has none
    rows: Sequence[Any]
    position: Any
    last: bool

    def key(self, at: int) -> str:
        """Return a row's key in words: "id=7"."""
        return _key_words(self.key_names, self.keys[at])


class Source(ABC):
    """Where a ``RowMove`` reads rows: one of the classes below."""

    #: the columns, once it is open; None: rows are dicts
    names: Sequence[str] | None = None
    #: whether another thread may read the next batch while one is written
    _reads_ahead: ClassVar[bool] = False

    @abstractmethod
    def _open(self) -> None:
        """Look at the source. Raises MoveError if its rows cannot be walked."""

    @abstractmethod
    def _describe(self) -> dict[str, Any]:
        """Return what must not change while a move is under way."""

    @abstractmethod
    def _read(self, position: Any, limit: int) -> _Batch:
        """Return up to ``limit`` rows from that position on; None is the beginning."""

    def _total(self) -> int | None:
        """Return how many rows there are, if that can be told."""
        return None

    def _close(self) -> None:  # noqa: B027 - most have nothing to close
        """Close what ``_open`` has opened. May be called again."""


class _KeyedSource(Source):
    """A source whose rows are in the order of a key. A checkpoint holds the last key."""

    _key: Sequence[str]

    @abstractmethod
    def _page(
        self, after: Sequence[Any] | None, limit: int
    ) -> tuple[Sequence[tuple[Any, ...]], Sequence[tuple[Any, ...]]]:
        """Return the next rows behind a key, and their keys."""

    def _read(self, position: Any, limit: int) -> _Batch:
        rows, keys = self._page(None if position is None else _read_key(position), limit)
        position = _written_key(keys[-1]) if keys else position
        return _Batch(self._key, keys, rows, position, len(rows) < limit)


def _check_database(database: Any) -> Database:
    if not isinstance(database, Database):
        raise ConfigurationError("database should be a ConnectionPool or a FakeDatabase")
    return database


def _check_table(table: str) -> str:
    return Database._target(table, ())[0]


class TableSource(_KeyedSource):
    """The rows of a table, in the order of its primary key.

    Each row is read as it is when the move reaches its key. Later changes to it are not seen, nor
    are rows whose keys lie before the place that the move has reached.

    Args:
        database: a ConnectionPool or FakeDatabase.
        table: the table's name.
        columns: the columns to read; by default all but those that the server computes.
    """

    _reads_ahead = True

    def __init__(
        self, database: Database, table: str, columns: Sequence[str] | None = None
    ) -> None:
        self.database = _check_database(database)
        self.table = _check_table(table)
        self._columns = None if columns is None else [*map(_plain, _check_many("columns", columns))]

    def _open(self) -> None:
        self._rows = self.database._rows_of(self.table)
        shape = self._shape = self._rows.shape()
        self._key = shape.key
        if not shape.key:
            raise MoveError(f"{self.table} has no primary key: use a QuerySource with a unique key")
        for name in shape.key:
            kind = shape.columns[name].kind
            if kind not in _KEY_KINDS or name in shape.unordered:
                raise MoveError(
                    f"{self.table} cannot be walked by {name}: "
                    "no page can begin behind such a value",
                    column=name,
                )
        self.names = self._columns or [each for each in shape.columns if each not in shape.computed]
        for name in self.names:
            if name not in shape.columns:
                raise MoveError(f"{self.table} has no column {name}", column=name)

    def _describe(self) -> dict[str, Any]:
        return {
            "table": self.table,
            "key": [*self._key],
            "columns": _described(self._shape, self.names or ()),
        }

    def _page(self, after: Sequence[Any] | None, limit: int) -> Any:
        return self._rows.page(self.names or (), after, limit)

    def _total(self) -> int | None:
        return self._rows.count()


def _described(shape: _TableShape, names: Iterable[str]) -> dict[str, str]:
    """Return the types of columns, as a checkpoint keeps them."""
    return {name: _type_words(shape.columns[name]) for name in names}


def _type_words(column: _ColumnType) -> str:
    bounds = [str(bound) for bound in (column.size, column.scale) if bound is not None]
    return column.kind + (f"({','.join(bounds)})" if bounds else "")


class IterableSource(Source):
    """Rows that Python code makes, as dicts.

    A move that is resumed reads them again from the beginning and skips what it has moved: they
    have to come in the same order each time.

    Args:
        rows: a list or another iterable that can be read more than once, or a function that
            returns an iterable.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]] | Callable[[], Iterable[Any]]) -> None:
        if not callable(rows) and (
            isinstance(rows, (str, bytes, Mapping)) or not isinstance(rows, Iterable)
        ):
            raise ValidationError(
                "rows should be an iterable of dicts, or a function that returns one"
            )
        if callable(rows):
            _check_function("rows", rows, "no arguments", generators=True)
        self._given = rows
        self._iterator: Iterator[Any] | None = None
        self._at = 0  # rows read from the iterator
        self._is_spent = False  # an iterator cannot begin again

    def _open(self) -> None:
        self._iterator, self._at = None, 0

    def _describe(self) -> dict[str, Any]:
        return {"rows": "made by Python code"}

    def _read(self, position: Any, limit: int) -> _Batch:
        start = position or 0
        if self._iterator is None or self._at != start:
            self._begin_at(start)
        assert self._iterator is not None
        rows = [*itertools.islice(self._iterator, limit)]
        keys = [*zip(range(start + 1, start + len(rows) + 1))]
        self._at = start + len(rows)
        for values, (number,) in zip(rows, keys):
            if not isinstance(values, Mapping):
                raise MoveError(f"row {number} should be a dict", key=f"row={number}")
        return _Batch(("row",), keys, [*map(dict, rows)], self._at, len(rows) < limit)

    def _begin_at(self, start: int) -> None:
        given = self._given
        rows = _not_awaitable(given()) if callable(given) else given
        if not isinstance(rows, Iterable):
            raise MoveError("rows should be a function that returns an iterable of dicts")
        iterator = iter(rows)
        if iterator is given and self._is_spent:
            raise MoveError("the rows can be read once only: give a list, or a function")
        self._is_spent = True
        self._iterator = iterator
        self._at = sum(1 for _ in itertools.islice(iterator, start))
        if self._at < start:
            raise MoveError(f"there are fewer rows than the {start} that were moved before")

    def _total(self) -> int | None:
        return len(self._given) if isinstance(self._given, Sequence) else None


class _FileSource(Source):
    """Records of a text file in UTF-8.

    A checkpoint holds where the next record begins, and a digest of all that stands before it: a
    file that has changed there is refused.
    """

    _stream: BinaryIO | None = None

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(_check_path("path", path))

    def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _open(self) -> None:
        import hashlib

        self._close()
        try:
            self._stream = self.path.open("rb")
        except OSError as error:
            raise MoveError(
                f"{self.path} cannot be read: {os.strerror(error.errno or 0)}"
            ) from None
        self._offset, self._record, self._read_so_far = 0, 0, hashlib.sha256()
        self._begin(iter(self._line, ""))

    def _line(self) -> str:
        """Return the next line, or "" at the end. What is no UTF-8 becomes lone surrogates, which
        no column takes."""
        assert self._stream is not None
        line = self._stream.readline()
        self._read_so_far.update(line)
        text = line.decode("utf-8", "surrogateescape")
        if not self._offset:
            text = text.removeprefix("\ufeff")
        self._offset += len(line)
        return text

    @abstractmethod
    def _begin(self, lines: Iterator[str]) -> None:
        """Start to read at the beginning."""

    @abstractmethod
    def _next(self) -> Any:
        """Return the next record, or None at the end."""

    def _read(self, position: Any, limit: int) -> _Batch:
        place = position or {"record": 0}
        if self._stream is None or place["record"] != self._record:
            self._go_to(place)
        rows: list[Any] = []
        keys: list[tuple[int]] = []
        while len(rows) < limit and (values := self._next()) is not None:
            self._record += 1
            rows.append(values)
            keys.append((self._record,))
        digest = self._read_so_far.hexdigest()
        found = {"record": self._record, "offset": self._offset, "digest": digest}
        return _Batch(("record",), keys, rows, found, len(rows) < limit)

    def _go_to(self, place: Mapping[str, Any]) -> None:
        self._open()
        assert self._stream is not None
        if not place["record"]:
            return
        while self._offset < place["offset"] and (
            part := self._stream.read(min(place["offset"] - self._offset, 1 << 20))
        ):
            self._read_so_far.update(part)
            self._offset += len(part)
        if self._read_so_far.hexdigest() != place["digest"]:
            raise MoveError(
                f"{self.path} has changed before record {place['record'] + 1}, where the move "
                "goes on: restart the move to read it from the beginning"
            )
        self._record = place["record"]


class CsvSource(_FileSource):
    """The records of a CSV file (RFC 4180) with a header, as dicts of texts.

    A target's columns read the texts as their types, for example "2026-01-31 12:00:00+00:00".

    Args:
        path: the file, in UTF-8.
        delimiter: the character between values.
        null: the text that stands for None.
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

    def _describe(self) -> dict[str, Any]:
        return {"file": self.path.name, "columns": [*(self.names or ())]}

    def _begin(self, lines: Iterator[str]) -> None:
        import csv

        self._reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
        self.names = self._values() or []
        if len(set(self.names)) < len(self.names) or not all(self.names):
            raise MoveError(f"{self.path} should begin with a header of different names")

    def _values(self) -> list[str] | None:
        import csv

        try:
            return next(self._reader, None)
        except csv.Error:  # which quotes nothing
            raise MoveError(
                f"{self.path} is no CSV near line {self._reader.line_num}",
                key=f"record={self._record + 1}",
            ) from None

    def _next(self) -> tuple[str | None, ...] | None:
        values = self._values()
        while values == []:  # an empty line
            values = self._values()
        if values is None:
            return None
        width = len(self.names or ())
        if len(values) != width:
            raise MoveError(
                f"{self.path}, line {self._reader.line_num}: there are {len(values)} values for "
                f"{width} columns",
                key=f"record={self._record + 1}",
            )
        return tuple([None if value == self._null else value for value in values])


class JsonLinesSource(_FileSource):
    """The records of a file that holds a JSON object in each line (https://jsonlines.org)."""

    def _describe(self) -> dict[str, Any]:
        return {"file": self.path.name}

    def _begin(self, lines: Iterator[str]) -> None:
        self._lines = lines

    def _next(self) -> dict[str, Any] | None:
        for line in self._lines:
            if not line.isspace():
                return self._object(line)
        return None

    def _object(self, line: str) -> dict[str, Any]:
        try:
            found = _read_json(line)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            number = self._record + 1
            raise MoveError(
                f"{self.path}, record {number}: a line should hold a JSON object",
                key=f"record={number}",
            )
        return found


class SqliteSource(_KeyedSource):
    """The rows of a table of a SQLite file, in the order of its primary key."""

    def __init__(self, path: str | os.PathLike[str], table: str) -> None:
        self.path = Path(_check_path("path", path))
        self.table = _check_table(table)

    _connection: Any = None

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _open(self) -> None:
        import sqlite3

        self._close()
        try:
            place = f"{self.path.resolve().as_uri()}?mode=ro"
            self._connection = sqlite3.connect(place, uri=True)
        except sqlite3.Error:  # SQLite's own words, about the file
            raise MoveError(f"{self.path} cannot be opened as a SQLite database") from None
        self._connection.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
        columns = self._ask(f'PRAGMA table_info("{self.table}")')
        if not columns:
            raise MoveError(f"{self.path} has no table {self.table}")
        self.names = [column[1] for column in columns]
        parts = sorted((column[5], column[1]) for column in columns if column[5])
        self._key = [name for _, name in parts]
        if not self._key:
            raise MoveError(f"{self.table} has no primary key")
        self._types = {column[1]: column[2] for column in columns}
        self._check_key()

    def _check_key(self) -> None:
        for name in self._key:
            quoted = f'"{name}"'
            sql = (
                f"SELECT 1 FROM \"{self.table}\" WHERE typeof({quoted}) IN ('real', 'null') LIMIT 1"
            )
            if self._ask(sql):
                raise MoveError(
                    f"{self.table} cannot be walked by {name}: it holds floats or NULL", column=name
                )

    def _ask(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        import sqlite3

        try:
            found: list[tuple[Any, ...]] = self._connection.execute(sql, params).fetchall()
            return found
        except sqlite3.Error:
            pass
        # Outside: the context may quote a row.
        raise MoveError(f"{self.path} could not be read: is it a SQLite database?")

    def _describe(self) -> dict[str, Any]:
        return {
            "file": self.path.name,
            "table": self.table,
            "key": self._key,
            "columns": self._types,
        }

    def _page(self, after: Sequence[Any] | None, limit: int) -> Any:
        names = [*(self.names or ())]
        columns, key = (", ".join(f'"{name}"' for name in part) for part in (names, self._key))
        condition = ""
        if after is not None:
            condition = f"WHERE ({key}) > ({', '.join('?' * len(self._key))}) "
        sql = f'SELECT {columns} FROM "{self.table}" {condition}ORDER BY {key} LIMIT {limit}'
        rows = self._ask(sql, after or ())
        return rows, _parts(rows, [*map(names.index, self._key)])

    def _total(self) -> int | None:
        return int(self._ask(f'SELECT count(*) FROM "{self.table}"')[0][0])


class QuerySource(_KeyedSource):
    """The rows of a SELECT, in the order of a key that tells them apart.

    Args:
        database: a ConnectionPool.
        sql: the SELECT, without ORDER BY and LIMIT.
        key: the names of the result's columns that together are unique and never NULL. Columns of
            type ENUM, SET, FLOAT or DOUBLE are no key.
        params: the parameters of the SELECT.
    """

    _reads_ahead = True

    def __init__(
        self, database: ConnectionPool, sql: str, key: str | Sequence[str], params: Any = None
    ) -> None:
        if not isinstance(database, ConnectionPool):
            raise ConfigurationError("QuerySource reads from a ConnectionPool: a fake knows no SQL")
        self.database = database
        self._sql = ConnectionPool._checked(sql)
        self._key = [key] if isinstance(key, str) else [*_check_many("key", key)]
        for name in self._key:
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise ValidationError("key should be the names of columns")
        if not isinstance(params, (list, tuple)) and params is not None:
            raise ValidationError("params should be a list or tuple")
        self._params = [*(params or ())]

    def _ask(
        self, tail: str, params: Sequence[Any] = ()
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        def fetch(cursor: Any) -> tuple[list[str], list[tuple[Any, ...]]]:
            return [column[0] for column in cursor.description], list(cursor.fetchall())

        # Without parameters a percent sign is one; with some it has to be doubled.
        given = [*self._params, *params]
        inner = self._sql.replace("%", "%%") if params and not self._params else self._sql
        sql = f"SELECT * FROM ({inner}) AS source {tail}"
        return self.database._statement("move", sql, given or None, fetch, repeatable=True)

    def _open(self) -> None:
        self.names, _ = self._ask("LIMIT 0")
        for name in self._key:
            if name not in self.names:
                raise MoveError(f"the query has no column {name}", column=name)
        quoted = [self.database._dialect.name(name) for name in self._key]
        nulls = " OR ".join(f"{name} IS NULL" for name in quoted)
        if self._ask(f"WHERE {nulls} LIMIT 1")[1]:
            raise MoveError("the query's key holds NULL")

    def _describe(self) -> dict[str, Any]:
        return {"sql": self._sql, "key": self._key, "columns": [*(self.names or ())]}

    def _page(self, after: Sequence[Any] | None, limit: int) -> Any:
        order = [self.database._dialect.name(name) for name in self._key]
        tail = ""
        params: list[Any] = []
        if after is not None:
            condition, params = _behind(self.database._dialect, order, after)
            tail = f"WHERE {condition} "
        # One row more: if its key is that of the last one, the next page would leave it out.
        names, found = self._ask(f"{tail}ORDER BY {', '.join(order)} LIMIT {limit + 1}", params)
        keys = _parts(found, [*map(names.index, self._key)])
        self._check_keys(keys)
        return found[:limit], keys[:limit]

    def _check_keys(self, keys: Sequence[tuple[Any, ...]]) -> None:
        for key, following in itertools.pairwise(keys):
            if key == following:
                words = _key_words(self._key, key)
                raise MoveError(f"two rows of the query have the key {words}", key=words)
        if any(isinstance(value, float) for key in keys[:1] for value in key):
            raise MoveError("the query's key should not be a float: no page can begin behind one")

    def _total(self) -> int | None:
        sql = f"SELECT count(*) FROM ({self._sql}) AS source"
        rows = self.database._statement(
            "move", sql, self._params or None, _all_rows, repeatable=True
        )
        return int(rows[0][0])


@dataclass(frozen=True)
class Replace:
    """A policy of a ``TableTarget``: the value that is stored in place of one that does not fit."""

    value: Any


_CONFLICTS = ("error", "skip", "update")
_POLICIES = ("fail", "null", "divert")


def _time_of_day(value: timedelta) -> day_time:
    if not timedelta() <= value < timedelta(days=1):
        raise ValueError
    return (datetime.min + value).time()


def _exact_float(value: Decimal) -> float:
    found = float(value)
    if Decimal(repr(found)) != value:
        raise ValueError
    return found


def _iso(text: str) -> str:
    """Return the text of a time as Python 3.10 reads it. Later versions cut off a seventh digit."""
    found = re.search(r"\.(\d+)", text)
    if found is not None:
        digits = found[1].rstrip("0").ljust(6, "0")
        if len(digits) > 6:
            raise ValidationError("a time should have at most six digits of a second")
        text = f"{text[: found.start()]}.{digits}{text[found.end() :]}"
    return text.upper().replace("Z", "+00:00")


def _aware_text(text: str) -> datetime:
    found = _read_iso(_iso(text))
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def _number_text(kind: type[T]) -> Callable[[str], T]:
    """Return what reads a number's text, without what Python takes besides: blanks, underscores."""

    def read(text: str) -> T:
        if "_" in text or text != text.strip():
            raise ValueError
        return kind(text)  # type: ignore[call-arg]

    return read


def _flag_text(text: str) -> bool:
    return {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}[
        text.lower()
    ]


#: How a move reads a value that a target's column does not take as it is, by type and kind.
#: An exception means that it does not fit.
_READINGS: Mapping[tuple[type, str], Callable[[Any], Any]] = {
    (str, "integer"): _number_text(int),
    (str, "year"): _number_text(int),
    (str, "float"): _number_text(float),
    (str, "decimal"): _number_text(Decimal),
    (str, "flag"): _flag_text,
    (str, "moment"): _aware_text,
    (str, "local moment"): lambda text: _read_iso(_iso(text)),
    (str, "date"): date.fromisoformat,
    (str, "time"): lambda text: day_time.fromisoformat(_iso(text)),
    (str, "document"): _read_json,
    (float, "decimal"): lambda value: Decimal(repr(value)),
    (float, "integer"): lambda value: Decimal(repr(value)),
    (Decimal, "float"): _exact_float,
    (datetime, "moment"): lambda value: (
        value if value.tzinfo else value.replace(tzinfo=timezone.utc)
    ),
    (timedelta, "time"): _time_of_day,
    (uuid.UUID, "bytes"): lambda value: value.bytes,
}


def _read_column_as(column: _ColumnType, values: Sequence[Any]) -> Sequence[Any]:
    """Return the values of a column as another column takes them.

    Raises an exception of ``_UNFIT`` if it cannot.
    """
    kinds = {*map(type, values)}
    readings = {kind: _READINGS.get((_value_type(kind), column.kind)) for kind in kinds}
    if not any(readings.values()):
        return values
    return [
        value if (read := readings[type(value)]) is None else read(_plain(value))
        for value in values
    ]


_DIVERTED = object()
_UNFIT = (ValueError, ArithmeticError, LookupError, TypeError, RecursionError, InfrastructureError)


class Target(ABC):
    """Where a ``RowMove`` writes rows: TableTarget or RepositoryTarget."""

    database: Database

    @abstractmethod
    def _open(self, names: Sequence[str] | None) -> None:
        """Look at the target. Raises MoveError if rows with these columns cannot be written.

        With names, rows come as tuples in their order, else as dicts.
        """

    @abstractmethod
    def _describe(self) -> dict[str, Any]:
        """Return what must not change while a move is under way."""

    @abstractmethod
    def _fit(self, batch: _Batch, part: _Part) -> tuple[_Fitted, list[_Reject]]:
        """Return what is written of these rows, and what is diverted."""

    @abstractmethod
    def _write(self, columns: _Columns) -> dict[str, int]:
        """Inside a transaction: write the rows, and return the counts."""

    @abstractmethod
    def _preview(self, columns: _Columns) -> dict[str, int]:
        """Return the counts that writing the rows would give."""

    @abstractmethod
    def _compare(self, columns: _Columns) -> Iterator[str]:
        """Return for each row "equal", "different" or "missing"."""

    @abstractmethod
    def _finish(self) -> None:
        """The last row is written."""


#: rows by columns; those of a RepositoryTarget have one, of its records
_Columns: TypeAlias = Sequence[Sequence[Any]]


class _Part(NamedTuple):
    """Rows on their way to one target, and the places in the batch of those they were made of."""

    at: Sequence[int]
    rows: Sequence[Any]


class _Fitted(NamedTuple):
    """The same rows as a target writes them."""

    at: Sequence[int]
    columns: _Columns

    def first(self, count: int) -> _Columns:
        """Return what the first rows of the batch have become."""
        count = bisect.bisect_left(self.at, count)
        return [column[:count] for column in self.columns]


class _Reject(NamedTuple):
    """A row that went to the rejects file: its key in words, and why."""

    key: str
    column: str
    reason: str


class TableTarget(Target):
    """A table. Its rows are told apart by the primary key.

    Args:
        database: a ConnectionPool or FakeDatabase whose tables take part in transactions.
        table: the table's name.
        on_conflict: what happens to a row whose primary key is there already: "error" raises
            MoveError, "skip" leaves the row that is there, "update" sets its columns. A collision
            on another unique key is an error in each case.
        write: "insert", or "update": only rows that are there are changed, the others count as
            missing.
        columns: the columns that "update" sets; by default all but the primary key's.
        policies: by column what happens to values that do not fit: "fail" (the default) raises
            MoveError, "null" stores NULL, ``Replace(value)`` stores that value, "divert" writes the
            row's key to the rejects file instead.
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
    ) -> None:
        self.database = _check_database(database)
        self.table = _check_table(table)
        self.on_conflict, self.write = _plain(on_conflict), _plain(write)
        if self.on_conflict not in _CONFLICTS:
            raise ConfigurationError("on_conflict should be error, skip or update")
        if self.write not in ("insert", "update"):
            raise ConfigurationError("write should be insert or update")
        self._columns = None if columns is None else [*map(_plain, _check_many("columns", columns))]
        if self._columns is not None and self.write != "update":
            raise ConfigurationError('columns belong to write="update"')
        self.policies = dict(_check_mapping("policies", {} if policies is None else policies))
        for name, policy in self.policies.items():
            if policy not in _POLICIES and not isinstance(policy, Replace):
                raise ConfigurationError(
                    f"the policy of {name} should be fail, null, divert or Replace(value)"
                )

    def _open(self, names: Sequence[str] | None) -> None:
        self._rows = self.database._rows_of(self.table)
        shape = self._shape = self._rows.shape()
        if not shape.transactional:
            raise MoveError(
                f"{self.table} takes no part in transactions: a move could not be undone"
            )
        if not shape.key and (self.on_conflict, self.write) != ("error", "insert"):
            raise MoveError(f"{self.table} has no primary key to tell rows apart by")
        for name in [*self.policies, *(self._columns or ())]:
            self._check_column(name)
        for name, policy in self.policies.items():
            if policy == "null" and name not in shape.nullable:
                raise MoveError(f"{self.table}.{name} does not take NULL", column=name)
        self._names: Sequence[str] = ()
        self._given = names
        if names is not None:
            self._take_names(names)

    def _check_column(self, name: str) -> None:
        if name not in self._shape.columns:
            raise MoveError(f"{self.table} has no column {name}", column=name)
        if name in self._shape.computed:
            raise MoveError(f"{self.table}.{name} is computed by the server", column=name)

    def _take_names(self, names: Sequence[str]) -> None:
        """Check the columns that each row has."""
        shape = self._shape
        for name in names:
            self._check_column(name)
        wanted = [*shape.key] if self.write == "update" or self.on_conflict != "error" else []
        wanted += self._columns or []
        if self.write == "insert":
            wanted += [
                name for name in shape.columns if name not in shape.optional | shape.computed
            ]
        for name in wanted:
            if name not in names:
                raise MoveError(f"the rows for {self.table} have no {name}", column=name)
        self._names = [*names]
        rest = self._columns or [name for name in names if name not in shape.key]
        self._set_at = [(name, self._names.index(name)) for name in rest]
        self._key_at = [self._names.index(name) for name in shape.key if name in names]

    def _describe(self) -> dict[str, Any]:
        return {
            "table": self.table,
            "write": self.write,
            "on_conflict": self.on_conflict,
            "key": [*self._shape.key],
            "columns": _described(self._shape, self._shape.columns),
        }

    def _fit(self, batch: _Batch, part: _Part) -> tuple[_Fitted, list[_Reject]]:
        if not part.rows:
            return _Fitted(part.at, ()), []
        if not self._names:
            self._take_names([*part.rows[0]])
        rejects: dict[int, _Reject] = {}
        rows = part.rows if self._given is not None else self._in_order(batch, part)
        columns: list[Any] = [
            self._fit_column(name, values, lambda at: batch.key(part.at[at]), rejects)
            for name, values in zip(self._names, zip(*rows))
        ]
        if not rejects:
            return _Fitted(part.at, columns), []
        kept = [at not in rejects for at in range(len(rows))]
        places, *columns = ([*itertools.compress(each, kept)] for each in (part.at, *columns))
        return _Fitted(places, columns), [rejects[at] for at in sorted(rejects)]

    def _in_order(self, batch: _Batch, part: _Part) -> list[tuple[Any, ...]]:
        """Return the values of the rows in the order of the columns."""
        names = self._names
        wanted = {*names}
        for at, row in zip(part.at, part.rows):
            if row.keys() != wanted:
                key, words = batch.key(at), ", ".join(names)
                raise MoveError(
                    f"{self.table}, row {key}: it should have the columns {words}", key=key
                )
        return _parts(part.rows, names)

    def _fit_column(
        self,
        name: str,
        values: Sequence[Any],
        key_at: Callable[[int], str],
        rejects: dict[int, _Reject],
    ) -> Sequence[Any]:
        column = self._shape.columns[name]
        with contextlib.suppress(*_UNFIT):
            return self._fit_values(name, values)
        fitted: list[Any] = []
        for at, value in enumerate(values):
            try:
                fitted += self._fit_values(name, [value])
                continue
            except _UNFIT as error:
                reason = str(error) if isinstance(error, InfrastructureError) else ""
                reason = reason or f"should be {_TAKES[column.kind].words}"
            # Outside: the context of an error would quote the value.
            fitted.append(self._instead(name, key_at(at), reason))
            if fitted[-1] is _DIVERTED:
                rejects.setdefault(at, _Reject(key_at(at), name, reason))
        return fitted

    def _fit_values(self, name: str, values: Sequence[Any]) -> Sequence[Any]:
        """Return a column's values as it stores them. Raises an exception of ``_UNFIT``."""
        column = self._shape.columns[name]
        found = _fitted_column(name, column, _read_column_as(column, values))
        if name not in self._shape.nullable and None in found:
            raise ValidationError(f"{name} does not take NULL")
        return found

    def _instead(self, name: str, key: str, reason: str) -> Any:
        """Return what is stored instead of a value that does not fit, or _DIVERTED."""
        policy = self.policies.get(name, "fail")
        if policy == "null":
            return None
        if policy == "divert":
            return _DIVERTED
        if isinstance(policy, Replace):
            return self._fit_values(name, [policy.value])[0]
        raise MoveError(f"{self.table}.{name}, row {key}: {reason}", key=key, column=name)

    def _key_of(self, values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(values[at] for at in self._key_at)

    def _present(self, rows: Sequence[Any]) -> set[tuple[Any, ...]]:
        if not rows or len(self._key_at) < len(self._shape.key):
            return set()
        return {*self._rows.find((), [self._key_of(values) for values in rows])}

    def _sorted(self, columns: _Columns) -> tuple[_Columns, list[Any], dict[str, int]]:
        """Return what to insert, by columns, the rows to update, and the counts."""
        if self.write == "insert" and self.on_conflict == "error":
            return columns, [], {"written": len(columns[0]) if columns else 0}
        rows = [*zip(*columns)]
        there = self._present(rows)
        inserts: list[Any] = []
        updates: list[Any] = []
        for values in rows:
            key = self._key_of(values)
            if key in there:
                updates.append(values)
            elif self.write == "insert":
                there.add(key)
                inserts.append(values)
        if self.write == "update":
            return [], updates, {"updated": len(updates), "missing": len(rows) - len(updates)}
        counts, inserted = {"written": len(inserts)}, [*zip(*inserts)]
        if self.on_conflict == "skip":
            return inserted, [], {**counts, "skipped": len(updates)}
        return inserted, updates, {**counts, "updated": len(updates)}

    def _preview(self, columns: _Columns) -> dict[str, int]:
        return self._sorted(columns)[2]

    def _write(self, columns: _Columns) -> dict[str, int]:
        inserted, updates, counts = self._sorted(columns)
        with self.database._unlimited():
            if inserted and inserted[0]:
                self.database._insert_rows(self.table, self._names, inserted)
            if updates and self._set_at:
                names = [name for name, _ in self._set_at]
                rows = [(self._key_of(row), [row[at] for _, at in self._set_at]) for row in updates]
                self._rows.update(names, rows)
        return counts

    def _compare(self, columns: _Columns) -> Iterator[str]:
        rows = [*zip(*columns)]
        compared = [name for name, _ in self._set_at]
        found = self._rows.find(compared, [*map(self._key_of, rows)])
        for values in rows:
            row = found.get(self._key_of(values))
            if row is None:
                yield "missing"
            else:
                wanted = [values[at] for _, at in self._set_at]
                stored = [*map(self._as_written, compared, row)]
                yield "equal" if wanted == stored else "different"

    def _as_written(self, name: str, value: Any) -> Any:
        with contextlib.suppress(*_UNFIT):
            return self._fit_values(name, [value])[0]
        return value

    def _finish(self) -> None:
        self._rows.pass_ids()


class RepositoryTarget(Target):
    """A repository: its checks apply, and each row is one ``create``.

    Args:
        repository: the repository. The transform gives its records, or dicts of their fields.
        on_conflict: "error", or "skip" for records whose key is there already.
    """

    def __init__(self, repository: Repository[Any], *, on_conflict: str = "error") -> None:
        if not isinstance(repository, Repository):
            raise ConfigurationError("RepositoryTarget takes a Repository")
        try:
            inspect.signature(repository.create).bind(object())
        except TypeError:
            raise ConfigurationError(
                f"a {repository.resource} is not created by its record alone: use a TableTarget"
            ) from None
        self.repository = repository
        self.database = repository.database
        self.on_conflict = _plain(on_conflict)
        if self.on_conflict not in ("error", "skip"):
            raise ConfigurationError("on_conflict should be error or skip")

    def _open(self, names: Sequence[str] | None) -> None:
        shape = self.database._rows_of(self.repository.table).shape()
        if not shape.transactional:
            raise MoveError(f"{self.repository.table} takes no part in transactions")
        self._given = names
        for name in names or ():
            if name not in self.repository._shown:
                raise MoveError(f"a {self.repository.resource} has no {name}", column=name)

    def _describe(self) -> dict[str, Any]:
        return {
            "repository": self.repository.table,
            "on_conflict": self.on_conflict,
            "columns": [*self.repository._shown],
        }

    def _fit(self, batch: _Batch, part: _Part) -> tuple[_Fitted, list[_Reject]]:
        given, rows = self._given, part.rows
        dicts = rows if given is None else [dict(zip(given, row)) for row in rows]
        return _Fitted(part.at, [[*map(self._record, map(batch.key, part.at), dicts)]]), []

    def _record(self, key: str, values: Mapping[str, Any]) -> Any:
        try:
            return self.repository.record(**values)
        except _UNFIT as error:
            known = isinstance(error, InfrastructureError)
            reason = str(error) if known else "it does not have the record's fields"
        # Outside: the context would quote the row.
        raise MoveError(f"{self.repository.resource}, row {key}: {reason}", key=key)

    def _is_there(self, record: Any) -> bool:
        where = {name: getattr(record, name) for name in self.repository.key}
        return None not in where.values() and self.repository._exists("move", where)

    def _finish(self) -> None:
        self.database._rows_of(self.repository.table).pass_ids()

    def _preview(self, columns: _Columns) -> dict[str, int]:
        (records,) = columns
        there = 0 if self.on_conflict == "error" else sum(map(self._is_there, records))
        return {"written": len(records) - there, "skipped": there}

    def _write(self, columns: _Columns) -> dict[str, int]:
        counts = {"written": 0, "skipped": 0}
        for record in columns[0]:
            if self.on_conflict == "skip" and self._is_there(record):
                counts["skipped"] += 1
            else:
                self.repository.create(record)
                counts["written"] += 1
        return counts

    def _compare(self, columns: _Columns) -> Iterator[str]:
        for record in columns[0]:
            where = {name: getattr(record, name) for name in self.repository.key}
            found = self.repository._first("move", where)
            if found is None:
                yield "missing"
            else:
                yield "equal" if self._is_same(record, found) else "different"

    def _is_same(self, record: Any, found: Any) -> bool:
        """Whether they agree, but for what ``create`` fills in."""
        filled = {*self.repository.ids, "created_at", "updated_at"}
        return all(
            getattr(record, name) == getattr(found, name)
            or (name in filled and getattr(record, name) is None)
            for name in self.repository._shown
        )


@dataclass(frozen=True)
class MoveCounts:
    """How many rows were read, and what became of them.

    Attributes:
        read: rows of the source.
        written: rows that are new in the target.
        updated: rows of the target that were changed.
        missing: rows that ``write="update"`` did not find.
        skipped: rows that were there already, under ``on_conflict="skip"``.
        dropped: rows for which the transform gave nothing.
        rejected: rows that went to the rejects file.
    """

    read: int = 0
    written: int = 0
    updated: int = 0
    missing: int = 0
    skipped: int = 0
    dropped: int = 0
    rejected: int = 0

    def _plus(self, counts: Mapping[str, int]) -> MoveCounts:
        sums = {name: value + counts.get(name, 0) for name, value in vars(self).items()}
        return MoveCounts(**sums)

    def __str__(self) -> str:
        words = [f"{value:,} {name}" for name, value in vars(self).items() if value]
        return ", ".join(words) or "no rows"


@dataclass(frozen=True)
class MoveReport:
    """What a run has done.

    Attributes:
        name: the move's name.
        counts: of the whole move, earlier runs included.
        resumed: what earlier runs had done.
        seconds: how long this run took.
        done: whether the move is complete.
        dry_run: whether nothing was written.
    """

    name: str
    counts: MoveCounts
    resumed: MoveCounts
    seconds: float
    done: bool
    dry_run: bool = False

    def _as_json(self) -> str:
        counts = {**vars(self.counts), "resumed": vars(self.resumed)}
        state = {"done": self.done, "dry_run": self.dry_run, "seconds": round(self.seconds, 3)}
        return _encode({"name": self.name, **counts, **state})

    @property
    def rows_per_second(self) -> float:
        return (self.counts.read - self.resumed.read) / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        state = (
            "would be" if self.dry_run else "done" if self.done else "not done yet, run it again"
        )
        rate = f"{self.seconds:.1f} s, {self.rows_per_second:,.0f} rows a second"
        before = f"; {self.resumed.read:,} read by earlier runs" if self.resumed.read else ""
        return f"{self.name}: {state}: {self.counts} ({rate}{before})"


@dataclass(frozen=True)
class Verification:
    """What ``Move.verify`` has found.

    Attributes:
        name: the move's name.
        checked: rows that the source gives for the target.
        different: those that the target holds with other values.
        missing: those that the target does not hold.
        extra: rows of the target beyond those of the source; None where that cannot be told.
        ranges: the first and last key of neighbouring rows that differ or are missing.
    """

    name: str
    checked: int
    different: int
    missing: int
    extra: int | None
    ranges: Sequence[tuple[str, str]] = ()

    def _as_json(self) -> str:
        return _encode({**vars(self), "ranges": [*map(list, self.ranges)], "ok": self.ok})

    @property
    def ok(self) -> bool:
        return not (self.different or self.missing or self.extra)

    def __str__(self) -> str:
        if self.ok:
            return f"{self.name}: {self.checked:,} rows, all equal"
        extra = f", {self.extra:,} extra" if self.extra else ""
        places = "".join(
            f"\n  {first}" + (f" to {last}" if last != first else "") for first, last in self.ranges
        )
        return (
            f"{self.name}: of {self.checked:,} rows {self.different:,} differ, "
            f"{self.missing:,} are missing{extra}{places}"
        )


@dataclass(frozen=True)
class _Checkpoint:
    """How far a move has come."""

    name: str
    batches: int
    is_done: bool
    description: dict[str, Any]
    progress: dict[str, Any]  # position, counts, and the size of the rejects file
    created_at: datetime = FILLED
    updated_at: datetime = FILLED


class _CheckpointRepository(Repository[_Checkpoint]):
    record = _Checkpoint
    table = "infra_moves"
    resource = "checkpoint"
    key = ("name",)
    ids = ()
    lengths: ClassVar = {"name": 100}

    def find(self, name: str) -> _Checkpoint | None:
        return self._first("move", {"name": name})

    def advance(self, before: _Checkpoint, changes: Mapping[str, Any]) -> _Checkpoint:
        """Inside a transaction: go on by a batch, if no other run has."""
        changes = self._checked({"batches": before.batches + 1, **changes})
        where = {"name": before.name, "batches": before.batches}
        if not self._change("move", where, changes):
            raise MoveError(f"{before.name}: another run has moved rows meanwhile: run it again")
        found = self.find(before.name)
        assert found is not None
        return found

    def forget(self, name: str) -> None:
        self._remove("move", {"name": name})


def _checkpoints_in(database: Database) -> _CheckpointRepository:
    """Return the checkpoints of a database. Their table is made if it is missing."""

    def statement() -> str:
        migrations = read_migrations(SCHEMA, database.engine)
        return next(each.statements[0] for each in migrations if each.name == "data_moves")

    database._make_table(_CheckpointRepository, statement)
    backend = _joined(database._backend, _CheckpointRepository)
    return cast("_CheckpointRepository", backend(database))


class _Rejects:
    """The rejects file: a JSON object in each line. Its size is part of the checkpoint."""

    def __init__(self, path: Path, size: int, *, fresh: bool) -> None:
        self._path = path
        if fresh and path.exists() and path.stat().st_size:
            raise MoveError(f"{path} holds rejects of another run: remove it, or name another file")
        if not fresh and size and (not path.exists() or path.stat().st_size < size):
            raise MoveError(f"{path} has lost rejects of earlier runs: restart the move")
        self._size = size
        if path.exists():
            os.truncate(path, size)  # what was written behind has not been committed

    def add(self, rejects: Sequence[_Reject]) -> int:
        """Write them to the disk, and return the new size."""
        if not rejects:
            return self._size
        with self._path.open("ab") as stream:
            for each in rejects:
                stream.write(_encode(each._asdict()).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
            self._size = stream.tell()
        return self._size


class _GracefulStop:
    """In the main thread, the first Ctrl-C inside the block asks to stop; the second interrupts."""

    def __init__(self) -> None:
        self.asked = False
        self._usual: Any = None

    def __enter__(self) -> _GracefulStop:
        import signal

        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._usual = signal.signal(signal.SIGINT, self._ask)
        return self

    def _ask(self, number: int, frame: object) -> None:
        import signal

        self.asked = True
        signal.signal(signal.SIGINT, self._usual)

    def __exit__(self, *_: object) -> None:
        import signal

        if self._usual is not None:
            signal.signal(signal.SIGINT, self._usual)


class _Progress:
    """A line on a terminal's standard error: by tqdm if it is installed, or once a second."""

    def __init__(self, move: RowMove, done: int, *, shown: bool) -> None:
        self._shown = shown and sys.stderr is not None and sys.stderr.isatty()
        total = move.source._total() if self._shown else None
        self._name, self._total, self._read = move.name, total, done
        self._bar: Any = None
        self._started = self._printed = SystemClock.monotonic()
        self._first = done
        if self._shown:
            with contextlib.suppress(ImportError):
                tqdm = importlib.import_module("tqdm").tqdm
                self._bar = tqdm(desc=move.name, total=total, initial=done, unit=" rows")

    def advance(self, rows: int) -> None:
        self._read += rows
        if self._bar is not None:
            self._bar.update(rows)
        elif self._shown and SystemClock.monotonic() - self._printed >= 1:
            self._print("")

    def _print(self, end: str) -> None:
        self._printed = SystemClock.monotonic()
        sys.stderr.write(f"\r{self._line()}\x1b[K{end}")
        sys.stderr.flush()

    def _line(self) -> str:
        rate = (self._read - self._first) / max(1e-6, self._printed - self._started)
        line = f"{self._name}: {self._read:,} rows, {rate:,.0f} a second"
        if self._total and rate:
            left = max(0, self._total - self._read) / rate
            line += f", {self._read / self._total:.0%}, {timedelta(seconds=round(left))} left"
        return line

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._shown:
            self._print("\n")


class Move(ABC):
    """Something that ``infra move`` can run."""

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
        """Move what has not been moved yet, and return a report."""

    @abstractmethod
    def verify(self) -> Verification:
        """Compare the target with the source."""


Transform = Callable[[dict[str, Any]], Any]


class RowMove(Move):
    """Moves rows, each exactly once, also when it is interrupted and run again.

    Each batch commits in one transaction with its checkpoint, a row of the table ``infra_moves`` in
    the target's database. After a kill the next run goes on behind the last committed batch. One
    run at a time holds the move's lock.

    Args:
        name: the move's identity: the name of its checkpoint.
        version: raise it when ``transform`` changes. A run whose version, key, table or columns are
            not the checkpoint's is refused, unless it says ``restart`` or ``accept_change``.
        source: where the rows are.
        target: where they go.
        targets: instead of ``target``, several tables of one database by name; the transform then
            gives pairs of name and row.
        transform: a function that takes a row as a dict and returns a dict, several, or None to
            drop the row.
        rejects: the file for rows that a policy diverts; by default ``<name>-rejects.jsonl``.
        batch: how many rows a batch has at most.
        lock_timeout: how many seconds a run waits for the lock of another run.
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
        batch: int = 5000,
        lock_timeout: float = 60.0,
        clock: Clock | None = None,
    ) -> None:
        self.name = _check_text("name", name, blank_ends=False, empty=False, longest=100)
        if type(version) is not int or version < 1:
            raise ConfigurationError("version should be a whole number from 1 on")
        if not isinstance(source, Source):
            raise ConfigurationError("source should be a TableSource or another Source")
        if transform is not None:
            _check_function("transform", transform, "a dict", ConfigurationError, generators=True)
        if type(batch) is not int or not 1 <= batch <= 100_000:
            raise ConfigurationError("batch should be a whole number from 1 to 100000")
        if not _is_number(lock_timeout, 0, _YEAR):
            raise ConfigurationError("lock_timeout should be a number of seconds")
        self.version, self.source, self.transform = version, source, transform
        self.targets = self._check_targets(target, targets)
        self.database = next(iter(self.targets.values())).database
        self._is_split = targets is not None
        usual = f"{self.name}-rejects.jsonl"
        self._rejects_path = Path(usual if rejects is None else _check_path("rejects", rejects))
        self._batch = batch
        self._lock_timeout = lock_timeout
        self._clock = _clock(clock, lambda: getattr(self.database, "_clock", SystemClock()))

    def _check_targets(
        self, target: Target | None, targets: Mapping[str, Target] | None
    ) -> dict[str, Target]:
        if (target is None) == (targets is None):
            raise ConfigurationError("a move takes either target or targets")
        found = {"": target} if targets is None else dict(_check_mapping("targets", targets))
        if not found or not all(isinstance(each, Target) for each in found.values()):
            raise ConfigurationError("a target should be a TableTarget or a RepositoryTarget")
        if len({id(each.database) for each in found.values() if each}) > 1:
            raise ConfigurationError("targets should be in one database: they commit together")
        if targets is not None and self.transform is None:
            raise ConfigurationError("targets need a transform that gives pairs of name and row")
        return cast("dict[str, Target]", found)

    # Checks, before the first row

    def _open(self) -> None:
        self.source._open()
        names = self.source.names if self.transform is None else None
        for target in self.targets.values():
            target._open(names)

    def _description(self) -> dict[str, Any]:
        described = {name or "target": each._describe() for name, each in self.targets.items()}
        found = {"version": self.version, "source": self.source._describe(), "targets": described}
        return cast("dict[str, Any]", json.loads(json.dumps(found)))

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
        """Move the rows that have not been moved yet, and return a report.

        Args:
            progress: show how far it is, if standard error is a terminal.
            dry_run: read, transform and check all rows, from the first one on; write nothing.
            limit: read at most so many rows in this run.
            resume: False refuses to go on with what an earlier run has begun.
            restart: begin again with the first row; rows of the target stay.
            accept_change: go on although version, tables or columns differ from the checkpoint's.

        Raises MoveError, with ``key`` and ``column``, for a row that cannot be moved: its batch is
        not committed, earlier ones are. Ctrl-C finishes the batch; then KeyboardInterrupt says how
        to go on.
        """
        if limit is not None and (type(limit) is not int or limit < 1):
            raise ValidationError("limit should be a whole number from 1 on")
        run = _MoveRun(self, progress=progress, limit=limit)
        with contextlib.ExitStack() as end:
            end.callback(self.source._close)
            if dry_run:
                return run.rehearse()
            stop = end.enter_context(_GracefulStop())
            return run.go(stop, resume=resume, restart=restart, accept_change=accept_change)

    # Rows on their way

    def _transformed(self, batch: _Batch) -> tuple[dict[str, _Part], int]:
        """Return the rows for each target, and how many were dropped."""
        if self.transform is None:
            return {"": _Part(range(len(batch.rows)), batch.rows)}, 0
        found: dict[str, tuple[list[int], list[Any]]] = {name: ([], []) for name in self.targets}
        dropped, names = 0, self.source.names
        rows = batch.rows if names is None else [dict(zip(names, row)) for row in batch.rows]
        for at, row in enumerate(rows):
            pairs = self._pairs(batch, at, self._call(batch, at, row))
            dropped += not pairs
            for name, values in pairs:
                places, made = found[name]
                places.append(at)
                made.append(values)
        return {name: _Part(*each) for name, each in found.items()}, dropped

    def _call(self, batch: _Batch, at: int, row: dict[str, Any]) -> Any:
        """Return what the transform makes of the row."""
        assert self.transform is not None
        try:
            made = _not_awaitable(self.transform(row))
            return [*made] if isinstance(made, Iterator) else made
        except Exception as error:
            key = batch.key(at)
            words = f"failed at row {key}: {type(error).__name__}"
            if isinstance(error, InfrastructureError):
                words = f"refused row {key}: {error}"
            raise MoveError(f"the transform {words}", key=key) from error

    def _pairs(self, batch: _Batch, at: int, made: Any) -> Sequence[tuple[str, Any]]:
        """Return the rows that the transform made of one, each with the name of its target."""
        if not self._is_split and type(made) is dict:  # nearly always
            return [("", made)]
        several = [] if made is None else [made] if self._is_one(made) else made
        if not isinstance(several, (list, tuple)):
            key = batch.key(at)
            raise MoveError(f"the transform should give dicts, row {key}", key=key)
        pairs = several if self._is_split else [("", each) for each in several]
        return [self._checked_pair(batch, at, pair) for pair in pairs]

    def _is_one(self, made: Any) -> bool:
        """Whether it is one row, or one pair of name and row."""
        is_pair = isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], str)
        return is_pair if self._is_split else isinstance(made, Mapping) or hasattr(made, "__dict__")

    def _checked_pair(self, batch: _Batch, at: int, pair: Any) -> tuple[str, dict[str, Any]]:
        words = "dicts"
        try:
            name, values = pair
            is_record = isinstance(self.targets[name], RepositoryTarget)
        except (TypeError, ValueError, KeyError):
            words = f"pairs of a name ({', '.join(self.targets)}) and a row"
        else:
            if isinstance(values, Mapping):
                return name, {_plain(each): value for each, value in values.items()}
            if is_record and hasattr(values, "__dict__"):
                return name, dict(vars(values))
        key = batch.key(at)
        raise MoveError(f"the transform should give {words}, row {key}", key=key)

    def _fitted(self, batch: _Batch) -> tuple[dict[str, _Fitted], list[_Reject], int]:
        """Return for each target what is written, the rejects, and how many rows were dropped."""
        parts, dropped = self._transformed(batch)
        fitted: dict[str, _Fitted] = {}
        rejects: list[_Reject] = []
        for name, part in parts.items():
            target = self.targets[name]
            fitted[name], diverted = target._fit(batch, part)
            rejects += diverted
        return fitted, rejects, dropped

    # Verification

    def verify(self) -> Verification:
        """Walk the source, and compare what it gives with the rows of the target, by their keys."""
        with contextlib.ExitStack() as end:
            end.callback(self.source._close)
            return self._verify()

    def _verify(self) -> Verification:
        self._open()
        checked, counts = 0, {"different": 0, "missing": 0}
        ranges = _Ranges()
        position, last = None, False
        while not last:
            batch = self.source._read(position, self._batch)
            position, last = batch.position, batch.last
            fitted, _, _ = self._fitted(batch)
            for name, (places, columns) in fitted.items():
                for at, state in zip(places, self.targets[name]._compare(columns)):
                    checked += 1
                    ranges.add(batch, at, equal=state == "equal")
                    if state != "equal":
                        counts[state] += 1
        extra = self._extra(checked - counts["missing"])
        return Verification(
            self.name, checked, counts["different"], counts["missing"], extra, tuple(ranges.found)
        )

    def _extra(self, found: int) -> int | None:
        if self._is_split or not isinstance(self.targets[""], TableTarget):
            return None
        target = self.targets[""]
        if target.write == "update":
            return None
        return target._rows.count() - found


class _Ranges:
    """The first and last key of neighbouring rows that differ."""

    MOST = 100

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []
        self._is_open = False

    def add(self, batch: _Batch, at: int, *, equal: bool) -> None:
        if equal:
            self._is_open = False
        elif self._is_open:
            self.found[-1] = (self.found[-1][0], batch.key(at))
        elif len(self.found) < self.MOST:
            self.found.append((batch.key(at), batch.key(at)))
            self._is_open = True


class _Reader:
    """Reads the next batch in another thread while the target's server is busy with one."""

    def __init__(self, source: Source) -> None:
        from concurrent.futures import Future, ThreadPoolExecutor

        self._source = source
        self._executor = ThreadPoolExecutor(1, "infra-move") if source._reads_ahead else None
        self._asked: tuple[Any, int] | None = None
        self._future: Future[_Batch] | None = None

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def ask(self, position: Any, limit: int) -> None:
        if self._executor is not None:
            self._asked = position, limit
            self._future = self._executor.submit(self._source._read, position, limit)

    def read(self, position: Any, limit: int) -> _Batch:
        future, self._future = self._future, None
        if future is None:
            return self._source._read(position, limit)
        found = future.result()
        return found if self._asked == (position, limit) else self._source._read(position, limit)


class _MoveRun:
    """One call of ``RowMove.run``."""

    TRIES = 3  # of a batch with which other clients interfere

    def __init__(self, move: RowMove, *, progress: bool, limit: int | None) -> None:
        self._move = move
        self._limit = limit
        self._started = SystemClock.monotonic()
        self._shows = progress
        self._resumed: MoveCounts | None = None
        self._batches = 0
        self._fitting = 100  # the first batch tells how large rows are
        self._progress: _Progress | None = None

    # Without writing

    def rehearse(self) -> MoveReport:
        move = self._move
        move._open()
        counts, position, last = MoveCounts(), None, False
        progress = _Progress(move, 0, shown=self._shows)
        try:
            while not last and (size := self._size(counts.read)):
                batch = move.source._read(position, size)
                position, last = batch.position, batch.last
                counts = counts._plus(self._preview(batch))
                self._weigh(batch)
                progress.advance(len(batch.rows))
        finally:
            progress.close()
        return self._report(counts, done=last, dry_run=True)

    def _preview(self, batch: _Batch) -> dict[str, int]:
        fitted, rejects, dropped = self._move._fitted(batch)
        counts = {"read": len(batch.rows), "dropped": dropped, "rejected": len(rejects)}
        for name, each in fitted.items():
            _add(counts, self._move.targets[name]._preview(each.columns))
        return counts

    def _report(self, counts: MoveCounts, *, done: bool, dry_run: bool = False) -> MoveReport:
        seconds = SystemClock.monotonic() - self._started
        resumed = self._resumed or MoveCounts()
        return MoveReport(self._move.name, counts, resumed, seconds, done, dry_run)

    def _size(self, read: int) -> int:
        """Return how many rows the next batch has at most, after so many."""
        size = min(self._move._batch, self._fitting)
        if self._limit is None:
            return size
        before = self._resumed.read if self._resumed else 0
        return min(size, self._limit - (read - before))

    def _weigh(self, batch: _Batch) -> None:
        """Let the next batch have as many rows as fit into the memory for one."""
        if batch.rows:
            sample = batch.rows[:: max(1, len(batch.rows) // 100)]
            self._fitting = max(1, _BATCH_BYTES * len(sample) // (1 + sum(map(_weight, sample))))

    # With writing

    def go(
        self, stop: _GracefulStop, *, resume: bool, restart: bool, accept_change: bool
    ) -> MoveReport:
        failures = seen = 0
        try:
            while True:
                try:
                    return self._attempt(stop, resume, restart and not self._resumed, accept_change)
                except (ConnectionError, TimeoutError) as error:
                    failures = 1 if self._batches > seen else failures + 1
                    seen = self._batches
                    if not error.retryable or failures > self._move.RETRIES:
                        raise
                    logger.warning("%s: %s, going on", self._move.name, type(error).__name__)
                    self._move._clock.sleep(0.1 * 2**failures)
        finally:
            if self._progress is not None:
                self._progress.close()

    def _attempt(
        self, stop: _GracefulStop, resume: bool, restart: bool, accept_change: bool
    ) -> MoveReport:
        move = self._move
        move._open()
        with move.database._locked(f"move {move.name}", move._lock_timeout):
            self._checkpoints = _checkpoints_in(move.database)
            point = self._checkpoint(resume or self._resumed is not None, restart, accept_change)
            rejects = _Rejects(
                move._rejects_path, point.progress["rejects"], fresh=not point.batches
            )
            return self._walk(point, rejects, stop)

    def _checkpoint(self, resume: bool, restart: bool, accept_change: bool) -> _Checkpoint:
        """Return the checkpoint to go on from, a new one if there is none."""
        move = self._move
        description = self._description = move._description()
        found: _Checkpoint | None = self._checkpoints.find(move.name)
        if found is not None and restart:
            self._checkpoints.forget(move.name)
            with contextlib.suppress(FileNotFoundError):
                os.truncate(move._rejects_path, 0)
            found = None
        if found is None:
            counts = vars(MoveCounts())
            progress = {"position": None, "counts": counts, "rejects": 0}
            found = self._checkpoints.create(
                _Checkpoint(move.name, 0, False, description, progress)
            )
        elif not resume:
            raise MoveError(
                f"{move.name} was begun by an earlier run: restart it, or go on with it"
            )
        where, new = found.description["source"], description["source"]
        is_elsewhere = where.keys() != new.keys() or where.get("key") != new.get("key")
        if found.description != description and (is_elsewhere or not accept_change):
            changed = ", ".join(_differences(found.description, description))
            remedy = "restart the move" + ("" if is_elsewhere else ", or accept the change")
            raise MoveError(f"{move.name} was begun with another {changed}: {remedy}")
        if self._resumed is None:
            self._resumed = MoveCounts(**found.progress["counts"])
        return found

    def _walk(self, point: _Checkpoint, rejects: _Rejects, stop: _GracefulStop) -> MoveReport:
        move = self._move
        if self._progress is None and not point.is_done:
            done = point.progress["counts"]["read"]
            self._progress = _Progress(move, done, shown=self._shows)
        with _Reader(move.source) as reader:
            while not point.is_done and (size := self._size(point.progress["counts"]["read"])):
                if stop.asked:
                    raise KeyboardInterrupt(f"{move.name} stopped: run it again to go on")
                batch = reader.read(point.progress["position"], size)
                self._weigh(batch)
                following = self._size(point.progress["counts"]["read"] + len(batch.rows))
                if not batch.last and following:
                    reader.ask(batch.position, following)
                if batch.rows:
                    point = self._move_batch(point, batch, rejects)
                if batch.last:
                    point = self._finish(point)
        return self._report(MoveCounts(**point.progress["counts"]), done=point.is_done)

    def _finish(self, point: _Checkpoint) -> _Checkpoint:
        for target in self._move.targets.values():
            target._finish()
        with self._move.database.transaction():
            return self._checkpoints.advance(point, {"is_done": True})

    def _move_batch(self, point: _Checkpoint, batch: _Batch, rejects: _Rejects) -> _Checkpoint:
        move = self._move
        fitted, diverted, dropped = move._fitted(batch)
        size = rejects.add(diverted)
        before = {"read": len(batch.rows), "dropped": dropped, "rejected": len(diverted)}

        def work() -> _Checkpoint:
            counts = dict(before)
            for name, each in fitted.items():
                _add(counts, move.targets[name]._write(each.columns))
            move.database._check_constraints()
            sums = MoveCounts(**point.progress["counts"])._plus(counts)
            progress = {"position": batch.position, "counts": vars(sums), "rejects": size}
            changes = {"progress": progress, "description": self._description}
            return self._checkpoints.advance(point, changes)

        found = self._committed(work, batch, fitted)
        self._batches += 1
        if self._progress is not None:
            self._progress.advance(len(batch.rows))
        return found

    def _committed(
        self,
        work: Callable[[], _Checkpoint],
        batch: _Batch,
        fitted: Mapping[str, _Fitted],
    ) -> _Checkpoint:
        """Do the work in a transaction. Raises MoveError for the row that the target refuses."""
        for _ in range(self.TRIES):
            try:
                return self._move.database.run(work)
            except (DatabaseError, ValidationError, SerializationError, NotFoundError) as error:
                refusal = error
                culprit = self._culprit(batch, fitted)
                if culprit is not None:
                    raise culprit from error
        raise MoveError(str(refusal), service=self._move.database.engine) from refusal

    def _culprit(self, batch: _Batch, fitted: Mapping[str, _Fitted]) -> MoveError | None:
        """Return an error that names the first row which the target refuses.

        None: it refuses none now, because another client has changed its rows meanwhile.
        """
        low, high = 0, len(batch.rows)  # the first high rows are refused, the first low are not
        found = self._refusal(fitted, high)
        if found is None:
            return None
        while high - low > 1:
            middle = (low + high) // 2
            refusal = self._refusal(fitted, middle)
            if refusal is None:
                low = middle
            else:
                high, found = middle, refusal
        key = batch.key(high - 1)
        return MoveError(f"row {key}: {found}", key=key, service=self._move.database.engine)

    def _refusal(self, fitted: Mapping[str, _Fitted], count: int) -> InfrastructureError | None:
        """Write what the first rows have become, and undo it; return the target's error."""
        database = self._move.database
        try:
            with database.transaction():
                for name, each in fitted.items():
                    self._move.targets[name]._write(each.first(count))
                database._check_constraints()
                raise _Undo
        except _Undo:
            return None
        except (ConnectionError, TimeoutError):
            raise
        except InfrastructureError as error:
            return error


def _weight(row: Any) -> int:
    """Return about how many bytes of memory a row takes."""
    values = row.values() if isinstance(row, dict) else row
    return 100 * len(row) + sum(len(value) for value in values if isinstance(value, (str, bytes)))


class _Undo(Exception):
    """Ends a transaction whose work is to be undone."""


def _add(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for name, value in more.items():
        counts[name] = counts.get(name, 0) + value


def _differences(before: Any, after: Any, place: str = "") -> Iterator[str]:
    """Give the places where two descriptions differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in {**before, **after}:
            inner = f"{place}.{name}" if place else name
            yield from _differences(before.get(name), after.get(name), inner)
    elif before != after:
        yield place


# === infrastructure ===============================================================================


class Infrastructure(_Closing):
    """All services of a project, each built on first use: ``clock``; ``accounts`` (MySQL or MariaDB) with
    ``phone_users`` and ``tokens``; ``exchange`` (Postgres) with ``users``, ``organizations``, ``benchmarks`` and
    ``submissions``; ``redis`` with ``cache``, ``verification`` and ``bus``; ``storage``; ``sms``."""

    def __init__(self, config: Config, *, clock: Clock | None = None) -> None:
        if not isinstance(config, Config):
            raise ConfigurationError(
                "config should be a Config: Infrastructure(Config(…)), or Infrastructure.from_env()"
            )
        self.config = config
        self.clock = _clock(clock)
        self._built: dict[str, Any] = {}
        self._closed = False
        self._forget_parent()
        _fork_aware.add(self)

    def _forget_parent(self) -> None:
        #: by service: held while it is built, so that it is built once; close() takes none of them
        self._building: dict[str, Any] = {}

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Infrastructure:
        """Configured by the variables that the README lists, of ``os.environ`` or of ``env``."""
        return cls(Config.from_env(env))

    def _once(self, name: str, build: Callable[[], T]) -> T:
        if name not in self._built:
            with self._building.setdefault(name, threading.RLock()):
                if name not in self._built:
                    self._build(name, build)
        built: T = self._built[name]
        return built

    def _build(self, name: str, build: Callable[[], Any]) -> None:
        closed = ConnectionError("the bundle is closed", service=name, retryable=False)
        if self._closed:
            raise closed
        made = build()
        kept = self._built.setdefault(name, made)  # a signal handler may have built it meanwhile
        if isinstance(made, _Closing) and (self._closed or kept is not made):
            made.close()
        if self._closed:
            raise closed

    def _pool(self, name: str, config: DatabaseConfig | None, variable: str) -> ConnectionPool:
        def build() -> ConnectionPool:
            if config is None:
                raise ConfigurationError(
                    f"no database is set for {name}: set {variable} or DATABASE_URL"
                )
            return create_pool(config, clock=self.clock)

        return self._once(name, build)

    @property
    def accounts(self) -> Database:
        return self._pool("accounts", self.config.mysql, "MYSQL_URL")

    @property
    def exchange(self) -> Database:
        return self._pool("exchange", self.config.postgres, "POSTGRES_URL")

    @property
    def phone_users(self) -> PhoneUserRepository:
        def build() -> PhoneUserRepository:
            pool = self._pool("accounts", self.config.mysql, "MYSQL_URL")
            return MySQLPhoneUserRepository(pool, self.config.phone_hash_key, clock=self.clock)

        return self._once("phone_users", build)

    @property
    def tokens(self) -> TokenRepository:
        def build() -> TokenRepository:
            return MySQLTokenRepository(
                self._pool("accounts", self.config.mysql, "MYSQL_URL"), clock=self.clock
            )

        return self._once("tokens", build)

    def _of_exchange(self, name: str, adapter: Callable[..., T]) -> T:
        return self._once(
            name,
            lambda: adapter(
                self._pool("exchange", self.config.postgres, "POSTGRES_URL"), clock=self.clock
            ),
        )

    @property
    def users(self) -> UserRepository:
        return self._of_exchange("users", PostgresUserRepository)

    @property
    def organizations(self) -> OrganizationRepository:
        return self._of_exchange("organizations", PostgresOrganizationRepository)

    @property
    def benchmarks(self) -> BenchmarkRepository:
        return self._of_exchange("benchmarks", PostgresBenchmarkRepository)

    @property
    def submissions(self) -> SubmissionRepository:
        return self._of_exchange("submissions", PostgresSubmissionRepository)

    @property
    def redis(self) -> KeyValueClient:
        return self._once("redis", lambda: RedisClient(self.config.cache, clock=self.clock))

    @property
    def cache(self) -> RedisCacheProvider:
        prefix, ttl = self.config.cache.prefix, self.config.cache.default_ttl

        def build() -> RedisCacheProvider:
            return RedisCacheProvider(self.redis, prefix, default_ttl=ttl, clock=self.clock)

        return self._once("cache", build)

    @property
    def verification(self) -> VerificationCache:
        key, limits = self.config.phone_hash_key, vars(self.config.verification)
        return self._once("verification", lambda: VerificationCache(self.redis, key, **limits))

    @property
    def storage(self) -> StorageProvider:
        return self._once(
            "storage", lambda: S3StorageProvider(self.config.storage, clock=self.clock)
        )

    @property
    def bus(self) -> RedisEventBus:
        prefix = self.config.cache.channel_prefix
        return self._once("bus", lambda: RedisEventBus(self.redis, prefix=prefix))

    @property
    def sms(self) -> SmsService:
        return self._once("sms", lambda: create_sms_service(self.config.sms, clock=self.clock))

    def close(self) -> None:
        """Closes what was built, last first."""
        self._closed = True
        built = [*self._built.values()]
        with contextlib.ExitStack() as stack:
            for each in built:
                if isinstance(each, _Closing):
                    stack.callback(each.close)


# === command line =================================================================================


#: why output was lost, since ``main`` began
_lost_output: list[str] = []


def _say(text: object = None) -> None:
    """Print the text, if any, and flush.

    A reader that has gone, such as ``head``, is no error. A full disk is one, but the command goes
    on: a migration does not stop halfway for want of a place to print.
    """
    try:
        if text is not None:
            print(text)
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as exc:
        if not isinstance(exc, BrokenPipeError):
            _lost_output.append(exc.strerror or type(exc).__name__)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _health(_: Any) -> int:
    """Print a line for each service; return 1 if one is down, 2 if a setting or driver is missing."""
    config = Config.from_env()
    asked: dict[str, Callable[[Infrastructure], Health]] = {}
    if config.mysql:
        asked["mysql"] = lambda services: services.accounts.health_check()
    if config.postgres:
        asked["postgres"] = lambda services: services.exchange.health_check()
    if os.environ.get("REDIS_URL", "").strip():
        asked["redis"] = lambda services: services.redis.health_check()
    if config.storage.endpoint or config.storage.access_key:
        asked["storage"] = lambda services: services.storage.health_check()
    if not asked:
        raise ConfigurationError(
            "no service is set: set MYSQL_URL, POSTGRES_URL, DATABASE_URL, REDIS_URL, S3_ENDPOINT or AWS_ACCESS_KEY_ID"
        )
    code = 0
    with Infrastructure(config) as services:
        for name, ask in asked.items():
            try:
                found = ask(services)
                _say(f"{name:<8} up    {found.server:<18} {found.latency * 1000:.1f} ms")
            except InfrastructureError as error:
                code = max(code, 2 if isinstance(error, ConfigurationError) else 1)
                _say(f"{name:<8} down  {error}")
    return code


def _migrate(arguments: Any) -> int:
    """Migrates each configured database."""
    import textwrap

    config = Config.from_env()
    databases = [each for each in (config.mysql, config.postgres) if each]
    if not databases:
        raise ConfigurationError("no database is set: set MYSQL_URL, POSTGRES_URL or DATABASE_URL")
    if arguments.repair is not None and arguments.done is None:
        raise ConfigurationError(
            "--repair needs --done (the statement has taken effect) or --retry (run it again)"
        )
    if arguments.repair is None and arguments.done is not None:
        raise ConfigurationError("--done and --retry belong to --repair NUMBER")

    def told(engine: str) -> Callable[[str], None]:
        return lambda line: _say(f"{engine}: {line}")

    settled, absent, in_order = False, NotFoundError(), True
    with contextlib.ExitStack() as stack:
        pools = [stack.enter_context(create_pool(database)) for database in databases]
        migrators = [  # all files are read before a database is changed
            Migrator(
                pool,
                *arguments.files,
                lock_timeout=arguments.lock_timeout,
                progress=told(pool.engine),
            )
            for pool in pools
        ]
        for migrator in migrators:
            where = f"{migrator.pool.engine}: "
            if arguments.status:
                for each in migrator.status():
                    in_order = in_order and each.state not in ("dirty", "edited")
                    step = (
                        f" at statement {each.statement}"
                        if each.state in ("dirty", "partial")
                        else ""
                    )
                    when = (
                        f" {each.applied_at:%Y-%m-%d %H:%M}"
                        if each.applied_at and each.state == "applied"
                        else ""
                    )
                    _say(
                        f"{where}{each.source} {each.number} {each.name}: {each.state}{step}{when}"
                    )
            elif arguments.repair is not None:
                try:
                    migrator.repair(arguments.repair, done=arguments.done)
                except NotFoundError as error:
                    absent = error
                    continue
                settled = True
                _say(
                    f"{where}migration {arguments.repair} is settled: go on with {migrator._command}"
                )
            elif arguments.renamed_from is not None:
                try:
                    count = migrator.take_over(arguments.renamed_from)
                except NotFoundError as error:
                    absent = error
                    continue
                settled = True
                _say(f"{where}took over {count} records: go on with {migrator._command}")
            else:
                found = migrator.apply(dry_run=arguments.dry_run)
                for migration in found if arguments.dry_run else ():
                    _say(f"{where}would apply {migration}")
                    for statement in migration.statements:
                        _say(textwrap.indent(statement + ";", "    "))
                if not found:
                    _say(f"{where}up to date, {len(migrator.migrations)} migrations")
    takes = arguments.repair is not None or arguments.renamed_from is not None
    if takes and not settled:
        raise absent
    return int(not in_order)


def _moves_of(arguments: Any, services: Infrastructure) -> Iterable[Move]:
    """Return the moves of the script, or the one that the options describe."""
    if arguments.script is not None:
        import runpy

        sys.path.insert(0, str(Path(arguments.script).resolve().parent))  # as `python SCRIPT` does
        made = runpy.run_path(arguments.script).get("moves")
        if not callable(made):
            raise ConfigurationError(f"{arguments.script} has no function moves(services)")
        return cast("Iterable[Move]", made(services))
    pools = []
    for option in ("from_variable", "to_variable"):
        variable = getattr(arguments, option)
        if not re.fullmatch(r"[A-Za-z_]\w*", variable or ""):
            raise ConfigurationError(
                "give a script, or --from and --to with names of environment variables and --table: "
                "a URL among the arguments would show its password to others"
            )
        url = _variable(os.environ, variable)
        if not url:
            raise ConfigurationError(f"the environment variable {variable} is not set")
        if not _DATABASE_URL.valid(url):
            raise _DATABASE_URL.refusal(variable, url)
        pools.append(create_pool(DatabaseConfig(url=url)))
        services._built.setdefault(f"move {option}", pools[-1])  # closed with the bundle
    source, target = pools
    table = arguments.table or ""
    return [RowMove(table, source=TableSource(source, table), target=TableTarget(target, table))]


def _move(arguments: Any) -> int:
    """Runs each move, in order; 1 if one is not complete or differs."""
    complete = True
    with Infrastructure.from_env() as services:
        for move in _moves_of(arguments, services):
            if not isinstance(move, Move):
                raise ConfigurationError(
                    "moves(services) should yield moves, for example a RowMove"
                )
            if arguments.rejects and isinstance(move, RowMove):
                move._rejects_path = Path(arguments.rejects)
            found: MoveReport | Verification
            if arguments.verify:
                found = move.verify()
                complete = complete and found.ok
            else:
                found = move.run(
                    dry_run=arguments.dry_run,
                    limit=arguments.limit,
                    restart=arguments.restart,
                    accept_change=arguments.accept_change,
                )
                complete = complete and found.done
            _say(found._as_json() if arguments.json else found)
    return int(not complete)


def _add_move(commands: Any) -> None:
    move = commands.add_parser(
        "move",
        help="moves rows between databases, each exactly once; goes on where an earlier run stopped",
        description="Runs each move that moves(services) of SCRIPT yields, in order; or moves one "
        "table between the databases whose URLs two environment variables hold.",
        epilog="Exit codes: 0 all moves are complete, 1 one is not, or differs, or was refused, 2 wrong "
        "usage or setting, 130 stopped by Ctrl-C: run it again to go on.",
    )
    move.add_argument(
        "script", nargs="?", metavar="SCRIPT", help="a Python file with moves(services)"
    )
    move.add_argument(
        "--from", dest="from_variable", metavar="VARIABLE", help="names the source's URL"
    )
    move.add_argument("--to", dest="to_variable", metavar="VARIABLE", help="names the target's URL")
    move.add_argument("--table", metavar="TABLE", help="the table, with --from and --to")
    move.add_argument("--limit", type=int, metavar="ROWS", help="reads at most so many rows")
    move.add_argument("--rejects", metavar="FILE", help="where the keys of diverted rows go")
    move.add_argument("--json", action="store_true", help="prints a JSON object for each move")
    move.add_argument("--restart", action="store_true", help="begins again with the first row")
    move.add_argument(
        "--accept-change", action="store_true", help="goes on though version or columns differ"
    )
    action = move.add_mutually_exclusive_group()
    action.add_argument("--dry-run", action="store_true", help="checks all rows; writes nothing")
    action.add_argument("--verify", action="store_true", help="compares the target with the source")
    move.set_defaults(run=_move)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command ``infra`` and return its exit code.

    0: done. 1: a service is down or refused, or a migration is dirty or edited. 2: wrong usage or
    configuration, or output that could not be written. A reader that closes the output early
    changes nothing.
    """
    _lost_output.clear()
    try:
        code = _main(argv)
    finally:
        _say()
    if _lost_output:
        print(f"infra: the output could not be written: {_lost_output[0]}", file=sys.stderr)
    return code or (2 if _lost_output else 0)


def _main(argv: Sequence[str] | None) -> int:
    import argparse

    parser = argparse.ArgumentParser(
        prog="infra",
        description="Looks after the services that the environment variables name.",
        epilog="Variables: README, 'Configuration'. Exit codes: 0 done, 1 a service is down or refused, 2 wrong usage "
        "or setting.",
    )
    parser.add_argument("--version", action="version", version=f"infra {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    health = commands.add_parser(
        "health", help="state, version and latency of each service; exits 1 when one is down"
    )
    health.set_defaults(run=_health)
    migrate = commands.add_parser(
        "migrate",
        help="applies pending schema migrations to each database that is set",
        description="Applies the pending migrations of FILES (default: the library's schema.sql) to each database that "
        "is set, those of its engine. Several runners take turns.",
    )
    migrate.add_argument("files", nargs="*", metavar="FILE", help="files of migrations, in order")
    migrate.add_argument(
        "--lock-timeout", type=float, default=60.0, metavar="SECONDS", help="wait for other runners"
    )
    action = migrate.add_mutually_exclusive_group()
    action.add_argument(
        "--status",
        action="store_true",
        help="shows the state of each; changes nothing; exits 1 when one is dirty or edited",
    )
    action.add_argument(
        "--dry-run", action="store_true", help="shows the statements; changes nothing"
    )
    action.add_argument(
        "--repair", type=int, metavar="NUMBER", help="settles a migration that is dirty, with:"
    )
    action.add_argument(
        "--renamed-from",
        metavar="STEM",
        help="takes over the records of FILE under its former name, without its ending",
    )
    outcome = migrate.add_mutually_exclusive_group()
    outcome.add_argument(
        "--done", dest="done", action="store_const", const=True, help="its statement took effect"
    )
    outcome.add_argument(
        "--retry", dest="done", action="store_const", const=False, help="run its statement again"
    )
    migrate.set_defaults(run=_migrate)
    _add_move(commands)
    arguments = parser.parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except ConfigurationError as error:
        print(f"infra: {error}", file=sys.stderr)
        return 2
    except InfrastructureError as error:
        print(f"infra: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("infra: interrupted", file=sys.stderr)
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
