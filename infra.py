# SPDX-License-Identifier: Apache-2.0
# Home: the project infra-twins. In a copy keep this line and __version__: they say what you have.
"""Plain synchronous classes over Redis and SMS, with proven fakes in the twin module ``fakes``.

An interface ("port") is one base class here; its docstrings are the contract. What is not storage (validation, key
rules, TTL arithmetic, masking) is written once, in the port; a backend supplies the small underscore primitives. The
same contract tests run against the real adapter and its fake. Importing this module loads the standard library only:
a driver is imported when its adapter is constructed.

Contents, in this order in both files (search for the banner ``# === name``):

=================  ====================================================================================================
errors             InfrastructureError and what derives from it
configuration      Config, DatabaseConfig, CacheConfig, S3StorageConfig, SmsConfig
clock              Clock, SystemClock
call policy        Call, Attempt, CallPolicy: the one door for outbound calls; the pool behind it
privacy and ids    new_id, normalize_phone, mask_phone, hash_phone, validation of text
redis and cache    KeyValueClient, Listener, Health, RedisClient
verification       generate_code, VerificationCache
sms                SmsService, MockSmsService, create_sms_service
infrastructure     Infrastructure, the bundle
command line       main: python -m infra
=================  ====================================================================================================
"""

from __future__ import annotations

import builtins
import contextlib
import hashlib
import hmac
import importlib
import io
import logging
import math
import os
import random
import re
import secrets
import socket
import sys
import threading
import time
import urllib.parse
import uuid
import warnings
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timezone
from typing import Any, ClassVar, Generic, NoReturn, TypeVar

if __name__ == "__main__":  # `python -m infra`: whoever imports infra from here on gets this very module
    sys.modules[__spec__.name if __spec__ else "infra"] = sys.modules[__name__]

__version__ = "0.1.0"
__all__ = [
    "Attempt",
    "CacheConfig",
    "CacheError",
    "Call",
    "CallPolicy",
    "Clock",
    "Config",
    "ConfigurationError",
    "ConflictError",
    "DatabaseConfig",
    "DatabaseError",
    "Health",
    "Infrastructure",
    "InfrastructureError",
    "KeyValueClient",
    "Listener",
    "MessagingError",
    "MockSmsService",
    "NotFoundError",
    "PoolTimeoutError",
    "RateLimitedError",
    "RedisClient",
    "S3StorageConfig",
    "SerializationError",
    "SmsConfig",
    "SmsError",
    "SmsService",
    "StorageError",
    "SystemClock",
    "ValidationError",
    "VerificationCache",
    "create_sms_service",
    "generate_code",
    "hash_phone",
    "main",
    "mask_phone",
    "new_id",
    "normalize_phone",
]

T = TypeVar("T")

logger = logging.getLogger("infra")
logger.addHandler(logging.NullHandler())


# === errors ==========================================================================================================


class InfrastructureError(Exception):
    """Root of every error that this library raises.

    Attributes:
        service: "redis", "sms", …; None where no service is involved.
        operation: the method that failed, for example "get".
        retryable: True when the same call may succeed if the caller makes it again later. It does not say that the
            first call had no effect: only the call policy's table knows which operations may be repeated unseen.

    No text of a driver's exception is part of a message: those quote URLs, keys and rows.
    """

    retryable: bool = False
    service: str | None = None
    operation: str | None = None

    def __init__(
        self,
        message: str = "",
        *,
        service: str | None = None,
        operation: str | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        if service is not None:
            self.service = service
        if operation is not None:
            self.operation = operation
        if retryable is not None:
            self.retryable = retryable


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
    """A database refused a statement."""


class ConflictError(DatabaseError):
    """A write breaks a rule of the data.

    Attributes:
        constraint: the declared name of the rule, equal on every backend.
        kind: "unique", "foreign_key", "check" or "not_null".
    """

    def __init__(
        self, message: str = "", *, constraint: str | None = None, kind: str | None = None, **details: Any
    ) -> None:
        super().__init__(message, **details)
        self.constraint = constraint
        self.kind = kind


class CacheError(InfrastructureError):
    """Redis answered a command with an error."""


class StorageError(InfrastructureError):
    """The object store refused a request."""


class MessagingError(InfrastructureError):
    """An event could not be published or subscribed to."""


class SmsError(InfrastructureError):
    """A message was not accepted, or it is not known whether it was.

    Attributes:
        outcome: "rejected" (the provider refused it: nothing was sent) or "unknown" (no usable answer: it may have
            been sent, and is never sent again by itself).
        code: the provider's own error code, if it gave one.
    """

    def __init__(
        self, message: str = "", *, outcome: str = "rejected", code: str | None = None, **details: Any
    ) -> None:
        super().__init__(message, **details)
        self.outcome = outcome
        self.code = code


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


# === configuration ===================================================================================================


@dataclass(frozen=True)
class _Url:
    """A service's URL in parts, percent-decoded. Drivers get these as keyword arguments, never the URL."""

    scheme: str
    host: str
    port: int | None
    user: str | None
    password: str | None = field(repr=False)
    path: str

    @classmethod
    def parse(cls, url: str) -> _Url:
        """Raises ValueError, which never quotes the URL, for one without scheme or host, with a bad port, or with an
        unescaped blank, control character or (in the path) "@"."""
        try:
            parts = urllib.parse.urlsplit(url)
            port = parts.port
            user, password, path = (
                part and urllib.parse.unquote(part, errors="strict")
                for part in (parts.username, parts.password, parts.path[1:])
            )
            url.encode()
        except ValueError:
            raise ValueError("malformed URL") from None
        odd = re.search(r"[\s\x00-\x1f\x7f]", url) or "@" in parts.path or parts.query or parts.fragment or port == 0
        if odd or not parts.scheme or not parts.hostname:
            raise ValueError("malformed URL")
        return cls(parts.scheme, parts.hostname, port, user or None, password, path or "")


@dataclass(frozen=True)
class _Kind:
    """What a setting may be: words for the message, a parser for the environment's text, a test of the value."""

    expected: str
    parse: Callable[[str], Any]
    valid: Callable[[Any], bool]


def _is_number(value: object, lowest: float, highest: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and lowest <= value <= highest


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


def _is_url(schemes: Mapping[str, str], path: str = ".*") -> Callable[[Any], bool]:
    def valid(value: Any) -> bool:
        try:
            url = _Url.parse(value)
        except (ValueError, TypeError, AttributeError):
            return False
        return url.scheme in schemes and re.fullmatch(path, url.path) is not None

    return valid


_ENGINES = {"mysql": "mysql", "mariadb": "mysql", "postgresql": "postgres", "postgres": "postgres"}
_TEXT = _Kind("non-empty text", str, _is_text)
_COUNT = _Kind("a whole number of at least 1", _whole_number, lambda v: type(v) is int and v >= 1)
_COUNT_OR_0 = _Kind("a whole number of at least 0", _whole_number, lambda v: type(v) is int and v >= 0)
_YEAR = 365 * 86400.0  # far below what sockets, threads and Redis can count
_WAIT = _Kind("a number of seconds above 0, at most a year", float, lambda v: _is_number(v, 1e-6, _YEAR))
_TTL_OR_0 = _Kind("a number of seconds, at least 0, at most a century", float, lambda v: _is_number(v, 0, 100 * _YEAR))
_HASH_KEY = _Kind("at least 32 bytes of secret text", str, lambda v: _is_text(v, 32))
_SMS_PROVIDER = _Kind("one of mock, twilio, aws_sns", str, lambda v: v in ("mock", "twilio", "aws_sns"))
_REDIS_URL = _Kind(
    "redis://[[user]:password@]host[:port][/database number] (TLS and cluster URLs are not supported yet)",
    str,
    _is_url({"redis": "redis"}, "[0-9]{0,5}"),
)
_DATABASE_URL = _Kind(
    "mysql://user:password@host[:port]/database or postgresql://user:password@host[:port]/database",
    str,
    _is_url(_ENGINES, "[^/]+"),
)


def _setting(default: Any, kind: _Kind, variable: str = "", *, secret: bool = False) -> Any:
    return field(default=default, metadata={"kind": kind, "variable": variable, "secret": secret})


@dataclass(frozen=True, repr=False)
class _Settings:
    """Checks every field when constructed, masks secrets in ``repr``, reads itself from environment variables."""

    def __post_init__(self) -> None:
        for each in fields(self):
            kind, value = each.metadata.get("kind"), getattr(self, each.name)
            unset = value is None and each.default is None
            if kind and not unset and not kind.valid(value):
                variable = each.metadata["variable"]
                named = f"{type(self).__name__}.{each.name}" + (f" ({variable})" if variable else "")
                raise ConfigurationError(f"{named} should be {kind.expected}")

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
            variable = each.metadata.get("variable")
            text = env.get(variable, "").strip() if variable else ""
            if text:
                kind = each.metadata["kind"]
                try:
                    found[each.name] = kind.parse(text)
                except ValueError:
                    raise ConfigurationError(f"{variable} should be {kind.expected}") from None
        return found


@dataclass(frozen=True, repr=False)
class DatabaseConfig(_Settings):
    """A MySQL, MariaDB or Postgres database; the URL's scheme says which. All times in seconds."""

    url: str = _setting(None, _DATABASE_URL, secret=True)
    max_connections: int = _setting(10, _COUNT, "DATABASE_MAX_CONNECTIONS")
    min_connections: int = _setting(2, _COUNT_OR_0, "DATABASE_MIN_CONNECTIONS")
    connect_timeout: float = _setting(5.0, _WAIT)
    acquire_timeout: float = _setting(30.0, _WAIT)
    query_timeout: float = _setting(30.0, _WAIT)
    idle_timeout: float = _setting(600.0, _WAIT)
    max_lifetime: float = _setting(1800.0, _WAIT)

    def __post_init__(self) -> None:
        if self.url is None:
            raise ConfigurationError(f"DatabaseConfig.url should be {_DATABASE_URL.expected}")
        super().__post_init__()
        if self.min_connections > self.max_connections:
            raise ConfigurationError(
                "DatabaseConfig.min_connections (DATABASE_MIN_CONNECTIONS) should be at most max_connections"
            )

    @property
    def engine(self) -> str:
        """Either "mysql" (MariaDB too) or "postgres"."""
        return _ENGINES[_Url.parse(self.url).scheme]


@dataclass(frozen=True, repr=False)
class CacheConfig(_Settings):
    """A Redis server. All times in seconds.

    ``socket_timeout`` bounds one wait for the server, ``deadline`` a whole call with its retries and its wait for a
    free connection, ``default_ttl`` is the cache's (0: no expiry).
    """

    url: str = _setting("redis://localhost:6379", _REDIS_URL, "REDIS_URL", secret=True)
    pool_size: int = _setting(5, _COUNT, "REDIS_POOL_SIZE")
    default_ttl: float = _setting(3600.0, _TTL_OR_0)
    connect_timeout: float = _setting(1.0, _WAIT)
    socket_timeout: float = _setting(2.0, _WAIT)
    deadline: float = _setting(5.0, _WAIT)
    retries: int = _setting(3, _COUNT_OR_0)


@dataclass(frozen=True, repr=False)
class S3StorageConfig(_Settings):
    """An S3 store. Without keys, boto3's own chain finds them. All times in seconds."""

    region: str = _setting("us-east-1", _TEXT, "AWS_REGION")
    endpoint: str | None = _setting(None, _TEXT, "S3_ENDPOINT")
    public_endpoint: str | None = _setting(None, _TEXT)
    access_key: str | None = _setting(None, _TEXT, "AWS_ACCESS_KEY_ID", secret=True)
    secret_key: str | None = _setting(None, _TEXT, "AWS_SECRET_ACCESS_KEY", secret=True)
    session_token: str | None = _setting(None, _TEXT, "AWS_SESSION_TOKEN", secret=True)
    connect_timeout: float = _setting(5.0, _WAIT)
    read_timeout: float = _setting(30.0, _WAIT)


@dataclass(frozen=True, repr=False)
class SmsConfig(_Settings):
    """An SMS provider. There is no default: sending without one is a ConfigurationError, not a silent nothing."""

    provider: str | None = _setting(None, _SMS_PROVIDER, "SMS_PROVIDER")
    api_key: str | None = _setting(None, _TEXT, "SMS_API_KEY", secret=True)
    api_secret: str | None = _setting(None, _TEXT, "SMS_API_SECRET", secret=True)
    account_sid: str | None = _setting(None, _TEXT, "SMS_ACCOUNT_SID", secret=True)
    sender: str | None = _setting(None, _TEXT, "SMS_FROM", secret=True)
    timeout: float = _setting(10.0, _WAIT)


@dataclass(frozen=True, repr=False)
class Config(_Settings):
    """Everything that :class:`Infrastructure` needs."""

    mysql: DatabaseConfig | None = None
    postgres: DatabaseConfig | None = None
    cache: CacheConfig = CacheConfig()
    storage: S3StorageConfig = S3StorageConfig()
    sms: SmsConfig = SmsConfig()
    phone_hash_key: str | None = _setting(None, _HASH_KEY, "PHONE_HASH_KEY", secret=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, kind in (("cache", CacheConfig), ("storage", S3StorageConfig), ("sms", SmsConfig)):
            if not isinstance(getattr(self, name), kind):
                raise ConfigurationError(f"Config.{name} should be a {kind.__name__}")
        for engine in ("mysql", "postgres"):
            database = getattr(self, engine)
            if database is not None and not (isinstance(database, DatabaseConfig) and database.engine == engine):
                raise ConfigurationError(f"Config.{engine} should be a DatabaseConfig with a URL of that engine")

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Config:
        """Reads the variables listed in the README; raises ConfigurationError naming the variable that is wrong."""
        databases = cls._databases(env)
        return cls(
            **cls._read(env),
            mysql=databases.get("mysql"),
            postgres=databases.get("postgres"),
            cache=CacheConfig(**CacheConfig._read(env)),
            storage=S3StorageConfig(**S3StorageConfig._read(env)),
            sms=SmsConfig(**SmsConfig._read(env)),
        )

    @staticmethod
    def _databases(env: Mapping[str, str]) -> dict[str, DatabaseConfig]:
        """DATABASE_URL serves the engine that its scheme names; MYSQL_URL and POSTGRES_URL say the engine too."""
        found: dict[str, tuple[str, str]] = {}
        for variable, wanted in (("MYSQL_URL", "mysql"), ("POSTGRES_URL", "postgres"), ("DATABASE_URL", None)):
            url = env.get(variable, "").strip()
            if not url:
                continue
            engine = _ENGINES.get(url.partition(":")[0]) if _DATABASE_URL.valid(url) else None
            if engine is None or wanted not in (None, engine):
                schemes = "://… or ".join(s for s, e in _ENGINES.items() if wanted in (None, e))
                raise ConfigurationError(f"{variable} should be a URL {schemes}://user:password@host[:port]/database")
            other, same = found.setdefault(engine, (variable, url))
            if same != url:
                raise ConfigurationError(f"{variable} and {other} name two different databases: set one of them")
        options = DatabaseConfig._read(env)
        return {engine: DatabaseConfig(url=url, **options) for engine, (_, url) in found.items()}


# === clock ===========================================================================================================


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

    monotonic = staticmethod(time.monotonic)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


# === call policy =====================================================================================================


@dataclass(frozen=True)
class Call:
    """What an observer is told after each attempt at an outbound call: names and numbers, never a key or a value.

    ``outcome`` is "ok" or the class name of the error; ``seconds`` the time of this attempt; ``attempt`` counts from 1.
    """

    service: str
    operation: str
    outcome: str
    seconds: float
    attempt: int


class Attempt:
    """One try at a call. ``deadline`` is in the policy clock's monotonic seconds; the adapter sets ``sent`` just before
    the first byte that the service could act on leaves."""

    __slots__ = ("_monotonic", "deadline", "sent")

    def __init__(self, deadline: float, monotonic: Callable[[], float]) -> None:
        self.deadline = deadline
        self.sent = False
        self._monotonic = monotonic

    def remaining(self) -> float:
        """Seconds left; raises TimeoutError when there are none."""
        left = self.deadline - self._monotonic()
        if left <= 0:
            raise TimeoutError("the deadline passed")
        return left


class CallPolicy:
    """The one door for outbound calls: total deadline, retry, error mapping, logging, observer.

    What failed before it was sent is tried again. After that only the operations named in ``repeatable`` are: the
    others would change their answer, or the data, when run twice. The pause before attempt n+1 is drawn evenly from 0
    to min(backoff_max, backoff * 2**(n-1)) seconds ("full jitter").
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

    def call(
        self,
        operation: str,
        attempt: Callable[[Attempt], T],
        *,
        retries: int | None = None,
        until: float | None = None,
    ) -> T:
        """Runs ``attempt`` until it answers; raises InfrastructureError. An exception that is not the driver's, which
        is to say a mistake in the program, passes through as it is."""
        monotonic = self._monotonic
        started = monotonic()
        deadline = started + self.deadline if until is None else until
        number = 1
        while True:
            current = Attempt(deadline, monotonic)
            try:
                result = attempt(current)
            except Exception as exc:
                error = exc if isinstance(exc, InfrastructureError) else self._translate(exc, current)
                if error is None:
                    raise
                if error is not exc:
                    error.__cause__ = _scrubbed(exc)
            else:
                if self._observer is not None or logger.isEnabledFor(logging.DEBUG):
                    self._report(Call(self.service, operation, "ok", monotonic() - started, number))
                return result
            # Outside the except block, so that __context__ does not carry the driver's text along.
            error.service = error.service or self.service
            error.operation = error.operation or operation
            now = monotonic()
            self._report(Call(self.service, operation, type(error).__name__, now - started, number))
            pause = self.pause(number)
            may_repeat = error.retryable and (not current.sent or operation in self.repeatable)
            if not may_repeat or number > (self.retries if retries is None else retries) or now + pause >= deadline:
                raise error
            logger.warning(
                "%s %s: %s, trying again in %.3f s",
                self.service,
                operation,
                type(error).__name__,
                pause,
                extra={"service": self.service, "operation": operation, "outcome": "retry", "attempt": number},
            )
            self._clock.sleep(pause)
            started = monotonic()
            number += 1

    def pause(self, failures: int) -> float:
        """Seconds to wait after that many failures in a row."""
        return random.uniform(0, min(self.backoff_max, self.backoff * 2.0 ** min(failures - 1, 30)))

    def _report(self, call: Call) -> None:
        logger.debug("%s %s: %s", call.service, call.operation, call.outcome, extra=vars(call))
        if self._observer is not None:
            try:
                self._observer(call)
            except Exception:  # a broken observer must not break the call it watches
                logger.warning("the observer raised", exc_info=True)


def _scrubbed(exc: Exception) -> Exception:
    """Takes the text out of a driver's exception, which may quote a URL, a key or a whole row; class, numeric code and
    traceback stay. Works in place: a driver's attributes cannot be copied in general."""
    if not (isinstance(exc, OSError) and exc.errno is not None):  # an errno's text is the system's own
        code = exc.args[:1] if exc.args and isinstance(exc.args[0], int) else ()
        exc.args = (*code, "[text withheld]")
    exc.__cause__ = exc.__context__ = None
    exc.__dict__.pop("__notes__", None)
    return exc


def _os_reason(exc: BaseException | None) -> str:
    """The system's words for the first OSError down the chain of causes; drivers wrap those without their number."""
    while exc is not None:
        if isinstance(exc, socket.gaierror):
            return ": host name not found"
        if isinstance(exc, OSError) and exc.errno:
            return f": {os.strerror(exc.errno)}"
        exc = exc.__cause__ or exc.__context__
    return ""


def _driver(module: str, package: str, needed_by: str) -> Any:
    """Imports a driver on first use."""
    try:
        return importlib.import_module(module)
    except ImportError as exc:
        raise ConfigurationError(f"{needed_by} needs a package that is not installed: pip install '{package}'") from exc


_fork_aware: weakref.WeakSet[Any] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for each in list(_fork_aware):
        each._forget_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


class _Place(Generic[T]):
    """One caller's claim on a pool: first in the queue, then granted, then with a resource in it.

    It exists before anything is taken: whatever interrupts the caller, Ctrl-C included, ``release`` finds in it what
    has to go back.
    """

    __slots__ = ("granted", "resource", "signal")

    def __init__(self) -> None:
        self.granted = False
        self.resource: T | None = None
        self.signal: threading.Lock | None = None  # held until granted; an Event's wait is not safe to interrupt


class _Pool(Generic[T]):
    """At most ``max_size`` resources; waiters are served in order of arrival, idle resources last in, first out.

        place = _Place()
        try:
            resource = pool.acquire(place, attempt)
            …
        finally:
            pool.release(place, broken=…)

    After a fork the child starts empty: the sockets stay the parent's.
    """

    def __init__(
        self,
        name: str,
        max_size: int,
        *,
        connect: Callable[[Attempt], T],
        disconnect: Callable[[T], None],
        is_dead: Callable[[T], bool],
    ) -> None:
        self.max_size = max_size
        self.closed = False
        self._name = name
        self._connect = connect
        self._disconnect = disconnect
        self._is_dead = is_dead
        self._reset()
        _fork_aware.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[T] = []
        self._queue: deque[_Place[T]] = deque()
        self.size = 0

    def _forget_parent(self) -> None:
        idle = self._idle
        self._reset()
        for resource in idle:
            self._disconnect(resource)  # must close this process's descriptor only

    def check_open(self) -> None:
        if self.closed:
            raise ConnectionError(f"{self._name} is closed", retryable=False)

    def acquire(self, place: _Place[T], attempt: Attempt) -> T:
        """A live resource, kept in ``place``. Raises PoolTimeoutError at the deadline, and what ``connect`` raises."""
        with self._lock:
            self.check_open()
            if self._idle:
                place.granted = True
                place.resource = self._idle[-1]
                del self._idle[-1]
            elif self.size < self.max_size:
                place.granted = True
                self.size += 1
            else:
                place.signal = threading.Lock()
                place.signal.acquire()
                self._queue.append(place)
        if place.signal is not None:
            place.signal.acquire(timeout=attempt.remaining())
            if not place.granted:
                self.check_open()
                raise PoolTimeoutError(
                    f"{self._name}: no connection became free: {self.size} of {self.max_size} in use"
                )
        if place.resource is not None:
            if not self._is_dead(place.resource):
                return place.resource
            self._disconnect(place.resource)
            place.resource = None
        place.resource = self._connect(attempt)
        return place.resource

    def release(self, place: _Place[T], *, broken: bool = False) -> None:
        """Gives back what the place has, if anything. A broken resource is closed, and the next waiter may open one."""
        if broken and place.resource is not None:
            self._disconnect(place.resource)
            place.resource = None
        with self._lock:
            resource, place.resource = place.resource, None
            if not place.granted:
                if place in self._queue:
                    self._queue.remove(place)
                return
            place.granted = False
            if self._queue:
                successor = self._queue.popleft()
                successor.resource = resource
                successor.granted = True
                assert successor.signal is not None
                successor.signal.release()
                return
            if resource is not None and not self.closed:
                self._idle.append(resource)
                return
            self.size -= 1
        if resource is not None:
            self._disconnect(resource)

    def close(self) -> None:
        with self._lock:
            self.closed = True
            idle, self._idle = self._idle, []
            queue, self._queue = self._queue, deque()
            self.size -= len(idle)
        for place in queue:
            if place.signal is not None:
                place.signal.release()
        for resource in idle:
            self._disconnect(resource)


class _Closing(ABC):
    """``close()`` once or often, ``with``, and a ResourceWarning when something open is forgotten."""

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
            forgotten = self._holds()
        except AttributeError:  # the constructor failed half-way
            return
        if forgotten:
            warnings.warn(f"{type(self).__name__} was not closed", ResourceWarning, source=self, stacklevel=2)
            self.close()


# === privacy and ids =================================================================================================


def new_id(clock: Clock | None = None) -> uuid.UUID:
    """A version 7 UUID (RFC 9562 §5.7): Unix milliseconds first, so that ids sort by time; the 12 bits behind hold the
    fraction of the millisecond (§6.2, method 3), the other 62 are random."""
    nanoseconds = time.time_ns() if clock is None else int(clock.now().timestamp() * 1_000_000) * 1000
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    value = (milliseconds & (1 << 48) - 1) << 80 | 7 << 76 | (rest * 4096 // 1_000_000) << 64 | 2 << 62
    return uuid.UUID(int=value | secrets.randbits(62))


def normalize_phone(phone: str) -> str:
    """The number in E.164: "+", then 7 to 15 ASCII digits of which the first is not 0. Blanks and the visual separators
    of RFC 3966 ("-", ".", "(", ")") are dropped. Raises ValidationError, which does not quote the number."""
    number = re.sub(r"[ .()-]", "", phone) if isinstance(phone, str) else ""
    if not re.fullmatch(r"\+[1-9][0-9]{6,14}", number):
        raise ValidationError("phone should be a number in E.164 with its country code, such as +14155550100")
    return number


def mask_phone(phone: str) -> str:
    """What may be logged of a number: its last four digits."""
    return "***" + normalize_phone(phone)[-4:]


def _key_bytes(key: str | bytes) -> bytes:
    if isinstance(key, bytes) and len(key) >= 32:
        return key
    if isinstance(key, str) and _HASH_KEY.valid(key):
        return key.encode()
    raise ConfigurationError(f"the hash key should be {_HASH_KEY.expected} (PHONE_HASH_KEY)")


def hash_phone(phone: str, key: str | bytes | None = None) -> str:
    """64 hexadecimal digits that stand for the number: HMAC-SHA-256 with ``key`` (32 bytes or more). Without a key it
    is SHA-256, which anybody can reverse by trying every number there is."""
    number = normalize_phone(phone).encode()
    if key is None:
        return hashlib.sha256(number).hexdigest()
    return hmac.new(_key_bytes(key), number, hashlib.sha256).hexdigest()


def _check_text(name: str, text: str, *, blank_ends: bool = True, empty: bool = True, longest: int = 0) -> str:
    """Text that every backend stores alike; lengths count code points."""
    if not isinstance(text, str):
        raise ValidationError(f"{name} should be a str")
    if not empty and not text:
        raise ValidationError(f"{name} should not be empty")
    if "\0" in text:
        raise ValidationError(f"{name} should not hold a NUL character")
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise ValidationError(f"{name} should not hold a lone surrogate: it has no UTF-8 form")
    if not blank_ends and text != text.strip():
        raise ValidationError(f"{name} should not begin or end with a blank")
    if longest and len(text) > longest:
        raise ValidationError(f"{name} should have at most {longest} characters")
    return str.__str__(text)  # of a subclass, an enumeration's member for one, the plain text


def _check_key(key: str, name: str = "key") -> str:
    # The first line is the fast path: printable ASCII without a blank passes every rule below.
    if key.__class__ is str and key and key.isascii() and key.isprintable() and " " not in key:
        return key
    return _check_text(name, key, blank_ends=False, empty=False)


def _check_value(value: str, name: str = "value") -> str:
    if value.__class__ is str and value.isascii() and "\0" not in value:
        return value
    return _check_text(name, value)


def _check_many(name: str, items: Iterable[T]) -> list[T]:
    """A str is iterable too, but never what was meant."""
    if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
        raise ValidationError(f"{name} should be a list or another iterable of them, not a single one")
    return list(items)


def _milliseconds(seconds: float, name: str = "seconds") -> int:
    """A duration in whole milliseconds, rounded up."""
    if not _is_number(seconds, 0, 100 * _YEAR) or seconds == 0:
        raise ValidationError(f"{name} should be a number of seconds above 0, at most a century")
    return math.ceil(seconds * 1000)


# === redis and cache =================================================================================================


@dataclass(frozen=True)
class Health:
    """A service that answered: its name, the server's name and version, the round trip in seconds."""

    service: str
    server: str
    latency: float


MessageHandler = Callable[[str, "str | None", str], None]


class Listener(_Closing):
    """A subscription to Redis channels; made by :meth:`KeyValueClient.listen`, closed with its client at the latest.

    Messages come one at a time and, for one publisher, in order: ``on_message(channel, pattern, payload)``, ``pattern``
    being the glob that matched, or None for a channel subscribed to by name. A channel that is subscribed to by name
    and by a matching glob delivers twice. What was published before a subscription, or while the connection was lost,
    does not come. A handler that raises is logged; the next message comes all the same.

    Each of the four calls below returns once the server has acknowledged it (TimeoutError otherwise), or at once when
    made from inside a handler. Names already subscribed to, or not, are no error.
    """

    def __init__(self, on_message: MessageHandler, on_reconnect: Callable[[], None] | None) -> None:
        if not callable(on_message) or not (on_reconnect is None or callable(on_reconnect)):
            raise ValidationError("on_message and on_reconnect should be functions")
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
        for name in names:
            _check_key(name, "channel")
        self._apply(command, names)

    def _deliver(self, channel: str, pattern: str | None, payload: str) -> None:
        try:
            self._on_message(channel, pattern, payload)
        except Exception:
            logger.warning("a handler of channel %s raised", channel, exc_info=True)

    def _announce_reconnect(self) -> None:
        if self._on_reconnect is not None:
            try:
                self._on_reconnect()
            except Exception:
                logger.warning("on_reconnect raised", exc_info=True)

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

    def get(self, key: str) -> str | None:
        """The value, or None when absent."""
        return self._get(_check_key(key))

    def get_many(self, keys: Iterable[str]) -> dict[str, str]:
        """The values of those keys that exist. Not atomic: one pipeline of single reads."""
        names = [_check_key(key) for key in _check_many("keys", keys)]
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

    def compare_and_delete(self, key: str, value: str) -> bool:
        """In one atomic step: removes the key if it holds exactly ``value``; returns whether it did."""
        return self._compare_and_delete(_check_key(key), _check_value(value))

    def exists(self, key: str) -> bool:
        """Whether the key is present."""
        return self._exists(_check_key(key))

    def ttl(self, key: str) -> float | None:
        """Seconds until the key expires, in milliseconds' precision; ``math.inf`` if never; None when absent."""
        milliseconds = self._pttl(_check_key(key))
        return None if milliseconds == -2 else math.inf if milliseconds == -1 else milliseconds / 1000

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
        return self._increment(_check_key(key), amount, None if ttl is None else _milliseconds(ttl, "ttl"))

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

    def listen(self, on_message: MessageHandler, on_reconnect: Callable[[], None] | None = None) -> Listener:
        """Opens a listener that is subscribed to nothing yet. ``on_reconnect()`` is called, between messages, each time
        it has subscribed again after a lost connection: messages may have been lost. While it is open it keeps what its
        handlers refer to alive: close it, or its client."""
        return self._listen(on_message, on_reconnect)

    def health_check(self) -> Health:
        """Asks the server for its version; raises what any other call raises when it cannot answer."""
        return self._health_check()

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
    def _listen(self, on_message: MessageHandler, on_reconnect: Callable[[], None] | None) -> Listener: ...
    @abstractmethod
    def _health_check(self) -> Health: ...


# What redis-py's exceptions mean: the first class that fits decides. The columns: class name, our error, whether the
# caller may try again, whether the server may have acted on the command, words for the message.
_REDIS_ERRORS: tuple[tuple[str, type[InfrastructureError], bool, bool, str], ...] = (
    ("AuthenticationError", ConnectionError, False, False, "refused the login: check the user and password"),
    ("BusyLoadingError", ConnectionError, True, False, "is still loading its data"),
    ("TimeoutError", TimeoutError, True, True, "did not answer in time"),
    ("ConnectionError", ConnectionError, True, True, "could not be reached, or ended the connection"),
    ("ReadOnlyError", CacheError, True, True, "is a read-only replica"),
    ("OutOfMemoryError", CacheError, True, True, "is out of memory"),
    ("RedisError", CacheError, False, True, "refused the command"),
    ("OSError", ConnectionError, True, True, "could not be reached"),
)
# Operations that the call policy repeats after they were sent: running one twice changes neither answer nor data.
_REDIS_REPEATABLE = frozenset({"get", "get_many", "exists", "ttl", "set", "set_many", "scan"})
_PIPELINE = 1000  # commands in one round trip: bounds memory on both sides
_COMPARE_AND_DELETE = "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end"


class _RedisTransport:
    """Connections of redis-py behind our pool and policy.

    Below redis-py's own client on purpose: only here can be seen whether a command had been sent when its connection
    failed, and every timeout is ours.
    """

    def __init__(self, config: CacheConfig, clock: Clock, observer: Callable[[Call], None] | None) -> None:
        self.config = config
        self._redis = _driver("redis", "redis>=5", "RedisClient")
        self._url = _Url.parse(config.url)
        self._errors: list[tuple[type[Exception], type[InfrastructureError], bool, bool, str]] = [
            (getattr(self._redis, name, None) or getattr(builtins, name), *rest) for name, *rest in _REDIS_ERRORS
        ]
        self._refusal = self._redis.ResponseError
        self.policy = CallPolicy(
            "redis",
            translate=self._translate,
            repeatable=_REDIS_REPEATABLE,
            deadline=config.deadline,
            retries=config.retries,
            clock=clock,
            observer=observer,
        )
        self.pool: _Pool[Any] = _Pool(
            "RedisClient", config.pool_size, connect=self.connect, disconnect=self.disconnect, is_dead=self._is_dead
        )

    def connect(self, attempt: Attempt) -> Any:
        """A connection that is logged in, within the attempt's deadline."""
        self.pool.check_open()
        config, url = self.config, self._url

        def log_in(connection: Any) -> None:
            # redis-py's own handshake has more round trips than needed, and gives each the whole timeout.
            connection._parser.on_connect(connection)
            if url.password is not None:
                self.ask(connection, attempt, ("AUTH", *([url.user] if url.user else []), url.password))
            if url.path:
                self.ask(connection, attempt, ("SELECT", url.path))

        connection = self._redis.Connection(
            host=url.host,
            port=url.port or 6379,
            protocol=2,
            redis_connect_func=log_in,
            socket_connect_timeout=min(config.connect_timeout, attempt.remaining()),
            socket_timeout=config.socket_timeout,
            socket_keepalive=True,
            health_check_interval=0,
            retry=self._redis.retry.Retry(self._redis.backoff.NoBackoff(), 0),
            decode_responses=False,
        )
        connection.hurried = False  # whether its timeout is shorter than usual
        connection.connect()
        return connection

    def disconnect(self, connection: Any) -> None:
        connection.disconnect()  # in a forked child it closes the descriptor without a shutdown

    def _is_dead(self, connection: Any) -> bool:
        """An idle connection has nothing to read: what is there is the server's goodbye, or a reply nobody asked for,
        which would be taken for the answer to the next command."""
        try:
            return connection._sock is None or bool(connection.can_read(0))
        except self._redis.RedisError:
            return True

    def send(self, operation: str, *commands: tuple[Any, ...], until: float | None = None) -> list[Any]:
        """Sends the commands in one go and returns a reply for each, behind EXEC's also one for each command of the
        transaction; a refused one raises."""

        def attempt(current: Attempt) -> list[Any]:
            place: _Place[Any] = _Place()
            broken = True
            try:
                connection = self.pool.acquire(place, current)
                packed = connection.pack_commands(commands)
                self._hurry(connection, current)
                current.sent = True
                connection.send_packed_command(packed, False)
                replies = [self._read(connection, current) for _ in commands]
                broken = False
            finally:
                self.pool.release(place, broken=broken)
            if commands[-1] == ("EXEC",) and isinstance(replies[-1], list):
                replies += replies[-1]
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
            return replies

        return self.policy.call(operation, attempt, until=until)

    def ask(self, connection: Any, attempt: Attempt, command: tuple[Any, ...]) -> None:
        """One command of the handshake."""
        self._hurry(connection, attempt)
        connection.send_packed_command(connection.pack_command(*command), False)
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
            return refusal

    def refused(self, refusal: Exception) -> InfrastructureError:
        """What a refusal that came as a value means."""
        error = self._translate(refusal, Attempt(0, time.monotonic)) or CacheError("redis refused the command")
        error.service, error.__cause__ = "redis", _scrubbed(refusal)
        return error

    def _translate(self, exc: Exception, attempt: Attempt) -> InfrastructureError | None:
        for known, error, retryable, acted, words in self._errors:
            if isinstance(exc, known):
                attempt.sent = attempt.sent and acted
                code = re.match("[A-Z]{3,}(?= )", str(exc))  # of "WRONGTYPE Operation against …" the code may be quoted
                detail = _os_reason(exc) or (code and f" ({code[0]})") or ""
                where = f"redis at {self._url.host}:{self._url.port or 6379}"
                return error(f"{where} {words}{detail}", retryable=retryable)
        return None


def _text(raw: Any) -> Any:
    """A reply's bytes as text; None stays None."""
    if raw is None:
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError:
        pass
    raise SerializationError("Redis holds bytes that are not UTF-8")  # outside: the cause would quote them


class RedisClient(KeyValueClient):
    """Redis or a server that speaks its protocol, over redis-py: tried on Redis 6.2 and 7.0 and on Valkey 9.

    Connections are opened on use, at most ``config.pool_size``; each listener has one more of its own. A command whose
    connection died before anything was sent is tried again until the deadline; one that had been sent only if running
    it twice changes nothing (get, get_many, exists, ttl, set, set_with_expiry, set_many, scan).
    """

    def __init__(
        self,
        config: CacheConfig | None = None,
        *,
        clock: Clock | None = None,
        observer: Callable[[Call], None] | None = None,
    ) -> None:
        if not isinstance(config, CacheConfig | None):
            raise ConfigurationError("RedisClient takes a CacheConfig: RedisClient(CacheConfig(url=…))")
        self._listeners: list[_RedisListener] = []
        self._closed = False
        self._transport = _RedisTransport(config or CacheConfig(), clock or SystemClock(), observer)
        self._send = self._transport.send
        self._forget_parent()
        _fork_aware.add(self)

    def _forget_parent(self) -> None:
        self._lock = threading.Lock()  # guards the two above

    def close(self) -> None:
        with self._lock:
            self._closed = True
            listeners, self._listeners = self._listeners, []
        for listener in listeners:  # first: a handler at work may use this client until it is done
            listener.close()
        self._transport.pool.close()

    def _holds(self) -> bool:
        return self._transport.pool.size > 0 or any(each._holds() for each in self._listeners)

    def _get(self, key: str) -> str | None:
        value: str | None = _text(self._send("get", ("GET", key))[0])
        return value

    def _in_batches(self, operation: str, commands: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
        until = self._transport.policy.until()
        for start in range(0, len(commands), _PIPELINE):
            yield from self._send(operation, *commands[start : start + _PIPELINE], until=until)

    def _get_many(self, keys: Sequence[str]) -> Sequence[str | None]:
        return [_text(raw) for raw in self._in_batches("get_many", [("GET", key) for key in keys])]

    def _set(self, key: str, value: str, ttl: int | None) -> None:
        self._send("set", ("SET", key, value) if ttl is None else ("SET", key, value, "PX", ttl))

    def _set_many(self, pairs: Sequence[tuple[str, str]], ttl: int | None) -> None:
        expiry = () if ttl is None else ("PX", ttl)
        for _ in self._in_batches("set_many", [("SET", key, value, *expiry) for key, value in pairs]):
            pass

    def _set_nx(self, key: str, value: str, ttl: int | None) -> bool:
        expiry = () if ttl is None else ("PX", ttl)
        return self._send("set_nx", ("SET", key, value, "NX", *expiry))[0] is not None

    def _delete_many(self, keys: Sequence[str]) -> int:
        return sum(self._in_batches("delete", [("DEL", key) for key in keys]))

    def _compare_and_delete(self, key: str, value: str) -> bool:
        return bool(self._send("compare_and_delete", ("EVAL", _COMPARE_AND_DELETE, 1, key, value))[0])

    def _exists(self, key: str) -> bool:
        return bool(self._send("exists", ("EXISTS", key))[0])

    def _pttl(self, key: str) -> int:
        return int(self._send("ttl", ("PTTL", key))[0])

    def _pexpire(self, key: str, ttl: int) -> bool:
        return bool(self._send("expire", ("PEXPIRE", key, ttl))[0])

    def _increment(self, key: str, amount: int, ttl: int | None) -> int:
        if ttl is None:
            return int(self._send("increment", ("INCRBY", key, amount))[0])
        # A counter that dies between INCR and EXPIRE would never expire; this also runs on Redis 6.2 (no SET … NX GET).
        unit = ("MULTI",), ("SET", key, 0, "PX", ttl, "NX"), ("INCRBY", key, amount), ("EXEC",)
        return int(self._send("increment", *unit)[-1])

    def _scan(self, glob: str) -> Iterator[str]:
        def page(cursor: Any) -> Any:
            return self._send("scan", ("SCAN", cursor, "MATCH", glob, "COUNT", _PIPELINE))[0]

        def pages(cursor: Any, keys: Any) -> Iterator[str]:
            yield from map(_text, keys)
            while cursor != b"0":
                cursor, keys = page(cursor)
                yield from map(_text, keys)

        return pages(*page(0))

    def _publish(self, channel: str, message: str) -> int:
        return int(self._send("publish", ("PUBLISH", channel, message))[0])

    def _listen(self, on_message: MessageHandler, on_reconnect: Callable[[], None] | None) -> Listener:
        listener = _RedisListener(self._transport, on_message, on_reconnect)
        with self._lock:
            closed = self._closed
            self._listeners = [each for each in (*self._listeners, listener) if each._holds()]
        if closed:  # meanwhile
            self.close()
        return listener

    def _health_check(self) -> Health:
        started = time.perf_counter()
        info = _text(self._send("health_check", ("INFO", "server"))[0])
        latency = time.perf_counter() - started
        found = dict(re.findall(r"(\w+):(.*?)\r", info))
        name = "Valkey" if "valkey_version" in found else "Redis"
        return Health("redis", f"{name} {found.get('valkey_version') or found.get('redis_version')}", latency)


class _Change:
    """One SUBSCRIBE or UNSUBSCRIBE (or PING, with no name) on its way: settled by the server's answer."""

    __slots__ = ("command", "error", "name", "settled")

    def __init__(self, command: str, name: bytes = b"") -> None:
        self.command = command
        self.name = name
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


class _RedisListener(Listener):
    """One thread that reads one connection, and makes a new one whenever that ends.

    Redis answers the commands of a connection in order, one answer per name, so a queue of what was told says what an
    answer is to. A silent peer is told from a quiet channel by a PING after ``QUIET`` socket timeouts of silence.
    """

    QUIET = 5

    def __init__(
        self, transport: _RedisTransport, on_message: MessageHandler, on_reconnect: Callable[[], None] | None
    ) -> None:
        super().__init__(on_message, on_reconnect)
        self._transport = transport
        self._changed = threading.Condition()  # guards what follows, and is notified when any of it changes
        self._wanted: builtins.set[tuple[bool, bytes]] = set()
        self._told: deque[_Change] = deque()  # sent, not answered yet
        self._unsent: list[_Change] = []  # waiting for a connection
        self._rejoining: builtins.set[_Change] | None = None  # what has to stand again before on_reconnect is called
        self._heard = False  # from this connection
        self._closed = False
        self._adopt(transport.policy.call("listen", transport.connect))
        self._thread: threading.Thread | None = threading.Thread(target=self._run, name="infra-listener", daemon=True)
        _fork_aware.add(self)
        self._thread.start()

    def _holds(self) -> bool:
        return self._thread is not None and not self._closed

    def _forget_parent(self) -> None:
        self._changed = threading.Condition()
        self._closed, self._thread = True, None
        if self._connection is not None:
            self._transport.disconnect(self._connection)

    def _adopt(self, connection: Any) -> None:
        # The socket too: redis-py drops its own reference the moment that the connection ends.
        self._connection, self._socket = connection, connection._sock

    def _apply(self, command: str, names: Sequence[str]) -> None:
        changes = [_Change(command, name.encode()) for name in dict.fromkeys(names)]
        with self._changed:
            if self._closed:
                raise ConnectionError("the listener is closed", service="redis", retryable=False)
            added = {change.key for change in changes if change.joins} - self._wanted
            for change in changes:
                (self._wanted.add if change.joins else self._wanted.discard)(change.key)
            self._tell(*changes)
            if threading.current_thread() is self._thread:
                return
            answered = self._changed.wait_for(
                lambda: self._closed or all(change.settled for change in changes), self._transport.config.deadline
            )
            error = next((change.error for change in changes if change.error), None)
            if not answered:
                error = TimeoutError("redis did not acknowledge in time", service="redis")
            elif self._closed:
                error = ConnectionError("the listener was closed", service="redis", retryable=False)
            if error is not None:
                self._wanted -= added
                self._tell(
                    *(each.undone() for each in changes if each.settled and not each.error and each.key in added)
                )
                error.operation = command.lower()
                raise error

    def _tell(self, *changes: _Change) -> None:
        """Sends to the server. Only the reading thread mends a connection: a failure here just ends it."""
        if self._connection is None:
            self._unsent += [change for change in changes if change.joins]
            self._settle(*(change for change in changes if not change.joins))
            return
        self._told += changes
        try:
            for change in changes:
                for part in self._connection.pack_command(change.command, *([change.name] if change.name else [])):
                    self._socket.sendall(part)
        except OSError:
            self._hang_up()

    def _settle(self, *changes: _Change, error: InfrastructureError | None = None) -> None:
        for change in changes:
            change.settled, change.error = True, error
            if self._rejoining is not None:
                self._rejoining.discard(change)
            if change.joins and error is not None:
                self._wanted.discard(change.key)
                logger.warning("redis refused to subscribe: %s", error)
            elif change.joins and change.key not in self._wanted:  # given up meanwhile
                self._tell(change.undone())
        self._changed.notify_all()

    def _hang_up(self) -> None:
        """Wakes the reading thread, which finds the connection ended."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended already

    def _close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._hang_up()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(self._transport.config.deadline)
            if thread.is_alive():
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
            except BaseException:
                logger.exception("the listener stops: a handler asked to exit, or the library has a defect")
                self._closed = True
            with self._changed:
                connection, self._connection = self._connection, None
                if connection is not None:
                    self._transport.disconnect(connection)
                unanswered, self._told = self._told, deque()
                self._tell(*unanswered)
                if not self._closed:
                    logger.warning(
                        "listener lost its connection (%s); connecting again",
                        reason,
                        extra={"service": "redis", "operation": "listen", "outcome": reason, "attempt": failures},
                    )
                    self._changed.wait_for(lambda: self._closed, policy.pause(failures))
                if self._closed:
                    self._changed.notify_all()
                    return

    def _session(self, attempt: Attempt) -> None:
        """Reads one connection until it ends, which raises."""
        if self._connection is None:
            self._heard = False
            connection = self._transport.connect(attempt)
            with self._changed:
                self._adopt(connection)
                again = [_Change("PSUBSCRIBE" if is_glob else "SUBSCRIBE", name) for is_glob, name in self._wanted]
                unsent, self._unsent = self._unsent, []
                self._rejoining = set(again)
                self._tell(*again, *unsent)
        self._note_rejoined()
        connection = self._connection
        connection._sock.settimeout(self._transport.config.socket_timeout)
        while not self._closed:
            if not connection.can_read(timeout=self._transport.config.socket_timeout * self.QUIET):
                with self._changed:
                    self._tell(_Change("PING"))  # its answer has a socket timeout to come in
            self._receive(self._transport.read(connection))

    def _receive(self, reply: Any) -> None:
        self._heard = True
        if isinstance(reply, list) and reply[0] in (b"message", b"pmessage"):
            try:
                pattern, channel, payload = (_text(raw) for raw in (None, *reply[1:])[-3:])
            except SerializationError:
                logger.warning("a message that is not UTF-8 was dropped")
                return
            self._deliver(channel, pattern, payload)
            return
        with self._changed:
            if not self._told:
                raise ConnectionError("redis answered what nobody asked")
            error = self._transport.refused(reply) if isinstance(reply, Exception) else None
            self._settle(self._told.popleft(), error=error)
        self._note_rejoined()

    def _note_rejoined(self) -> None:
        """Tells ``on_reconnect`` once all subscriptions stand again: what comes from then on is complete."""
        with self._changed:
            rejoined = self._rejoining is not None and not self._rejoining
            if rejoined:
                self._rejoining = None
        if rejoined:
            self._announce_reconnect()


# === verification ====================================================================================================


def generate_code(digits: int = 6) -> str:
    """A random code of 6 to 10 decimal digits. Fewer can be guessed (NIST SP 800-63B §5.1.3 asks for 20 bits or a limit
    on attempts; six digits have 19.9, and VerificationCache limits them)."""
    if type(digits) is not int or not 6 <= digits <= 10:
        raise ValidationError("digits should be a whole number from 6 to 10")
    return f"{secrets.randbelow(10**digits):0{digits}}"


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
        window: seconds, counted from the first of those codes.

    Every method takes the phone in any form that :func:`normalize_phone` does, raises ValidationError for another, and
    raises the client's errors.
    """

    def __init__(
        self,
        client: KeyValueClient,
        key: str | bytes | None = None,
        code_ttl: float = 300,
        max_attempts: int = 3,
        resend_after: float = 0,
        max_codes: int = 0,
        window: float = 3600,
    ) -> None:
        for name, value, kind in (
            ("max_attempts", max_attempts, _COUNT),
            ("resend_after", resend_after, _TTL_OR_0),
            ("max_codes", max_codes, _COUNT_OR_0),
        ):
            if not kind.valid(value):
                raise ValidationError(f"{name} should be {kind.expected}")
        _milliseconds(code_ttl, "code_ttl")
        _milliseconds(window, "window")
        if key is None:
            logger.warning(
                "VerificationCache has no key: only this instance can check the codes it stores; set PHONE_HASH_KEY"
            )
            key = secrets.token_bytes(32)
        self._client = client
        self._key = _key_bytes(key)
        self._code_ttl = code_ttl
        self._max_attempts = max_attempts
        self._resend_after = resend_after
        self._max_codes = max_codes
        self._window = window

    def store_code(self, phone: str, code: str) -> None:
        """Makes ``code`` (1 to 64 characters) the phone's only valid one, with all its attempts ahead."""
        self._store(normalize_phone(phone), self._check_code(code))

    def verify_code(self, phone: str, code: str) -> bool:
        """Whether ``code`` is the phone's valid code; if so it is used up. Each call costs an attempt, also one whose
        answer was lost on the way."""
        phone, code = normalize_phone(phone), self._check_code(code)
        stored = self._client.get(self._name(phone))
        if stored is None:
            return False
        generation, _, digest = stored.partition(":")
        # Counted before the comparison: concurrent guesses each get a number of their own; only the first few count.
        # The count lives as long as the code, which another instance, with another code_ttl, may have stored.
        lifetime = int(generation.partition("-")[0]) / 1000
        attempt = self._client.increment(self._name(phone, "attempts", generation), ttl=lifetime)
        if attempt > self._max_attempts or not hmac.compare_digest(digest, self._digest(phone, generation, code)):
            return False
        # Of several right guesses one removes the code; a code stored meanwhile has another generation and stays.
        return self._client.compare_and_delete(self._name(phone), stored)

    def get_remaining_attempts(self, phone: str) -> int:
        """Guesses left for the stored code; 0 without a code."""
        phone = normalize_phone(phone)
        stored = self._client.get(self._name(phone))
        if stored is None:
            return 0
        used = self._client.get(self._name(phone, "attempts", stored.partition(":")[0]))
        return max(0, self._max_attempts - int(used or 0))

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
        limits too.
        """
        phone = normalize_phone(phone)
        self._check_limits(phone)
        code = generate_code()
        stored = self._store(phone, code)
        try:
            return sms.send_verification_code(phone, code)
        except Exception as error:
            unsent = isinstance(error, (ConnectionError, ConfigurationError, ValidationError))
            if unsent or (isinstance(error, SmsError) and error.outcome == "rejected"):
                try:
                    self._client.compare_and_delete(self._name(phone), stored)
                except InfrastructureError as second:
                    logger.warning("a code whose message failed stays stored: %s", type(second).__name__)
            raise

    def _check_limits(self, phone: str) -> None:
        resend, window = self._name(phone, "resend"), self._name(phone, "window")
        if self._resend_after and self._client.increment(resend, ttl=self._resend_after) > 1:
            self._refuse(resend)
        if self._max_codes and self._client.increment(window, ttl=self._window) > self._max_codes:
            self._client.delete(resend)  # nothing is sent, so nothing to wait for on that account
            self._refuse(window)

    def _refuse(self, limit: str) -> NoReturn:
        wait = self._client.ttl(limit) or 0.0
        raise RateLimitedError(
            f"too many codes for this phone: try again in {wait:.0f} s", service="verification", retry_after=wait
        )

    def _store(self, phone: str, code: str) -> str:
        generation = f"{_milliseconds(self._code_ttl)}-{secrets.token_hex(8)}"
        stored = f"{generation}:{self._digest(phone, generation, code)}"
        self._client.set_with_expiry(self._name(phone), stored, self._code_ttl)
        return stored

    def _name(self, phone: str, *parts: str) -> str:
        return ":".join(("verification", hash_phone(phone, self._key), *parts))

    def _digest(self, phone: str, generation: str, code: str) -> str:
        return hmac.new(self._key, f"code:{phone}:{generation}:{code}".encode(), hashlib.sha256).hexdigest()

    @staticmethod
    def _check_code(code: str) -> str:
        return _check_text("code", code, blank_ends=False, empty=False, longest=64)


# === sms =============================================================================================================


class SmsService(ABC):
    """Sends text messages. Phones are taken in any form that :func:`normalize_phone` does.

    Sending raises ValidationError (phone not E.164; message empty or over 1,600 characters, the limit of providers),
    ConnectionError (nothing was sent) or SmsError, whose ``outcome`` says "rejected" or "unknown". A message whose fate
    is unknown is never sent again by itself. May be shared by threads.
    """

    #: the provider's name, as in ``SmsConfig.provider``
    provider_name: ClassVar[str]

    def send_sms(self, phone: str, message: str) -> str:
        """Sends ``message`` and returns the provider's message id."""
        number = normalize_phone(phone)
        if not _check_text("message", message, longest=1600).strip():
            raise ValidationError("message should not be empty")
        return self._send(number, message, None)

    def send_verification_code(self, phone: str, code: str) -> str:
        """Sends a text with ``code`` (1 to 64 characters) and returns the provider's message id."""
        number, code = normalize_phone(phone), VerificationCache._check_code(code)
        return self._send(number, f"Your verification code is {code}", code)

    def is_available(self) -> bool:
        """Whether the service would try to send; asks nobody over the network."""
        return True

    @abstractmethod
    def _send(self, phone: str, message: str, code: str | None) -> str: ...


class MockSmsService(SmsService):
    """For development: prints each message in a frame instead of sending it. Warns once, when constructed, because a
    program that uses it in production sends nothing.

    Attributes:
        message_count: messages printed so far.
        simulate_failure: while True, sending raises SmsError with outcome "rejected", and nothing is printed.
    """

    provider_name = "mock"

    def __init__(self, stream: io.TextIOBase | None = None, *, simulate_failure: bool = False) -> None:
        """``stream`` defaults to the standard output of the moment of sending."""
        logger.warning("MockSmsService prints messages, codes included, and sends none: for development only")
        self.simulate_failure = simulate_failure
        self.message_count = 0
        self._stream = stream
        self._lock = threading.Lock()

    def _send(self, phone: str, message: str, code: str | None) -> str:
        if self.simulate_failure:
            raise SmsError("the mock provider was told to fail", service="sms", operation="send_sms")
        with self._lock:
            stream = self._stream or sys.stdout
            lines = [f"SMS to {mask_phone(phone)}", *message.splitlines()]
            width = max(map(len, lines))
            edge = f"+{'-' * (width + 2)}+"
            framed = "\n".join([edge, *(f"| {line:<{width}} |" for line in lines), edge])
            encoding = getattr(stream, "encoding", None) or "utf-8"  # a console that knows ASCII only still shows codes
            print(framed.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
            self.message_count += 1
        return f"mock-{new_id()}"


def create_sms_service(config: SmsConfig) -> SmsService:
    """The service that ``config.provider`` names; ConfigurationError if it names none."""
    if config.provider == "mock":
        return MockSmsService()
    if config.provider is None:
        raise ConfigurationError(
            f"no SMS provider is set: SmsConfig.provider (SMS_PROVIDER) should be {_SMS_PROVIDER.expected}"
        )
    raise ConfigurationError(f"SMS_PROVIDER={config.provider} is not supported yet: this version has mock only")


# === infrastructure ==================================================================================================


class Infrastructure(_Closing):
    """All services of a project, each built on first use: ``clock``, ``redis``, ``verification``, ``sms``."""

    def __init__(self, config: Config, *, clock: Clock | None = None) -> None:
        self.config = config
        self.clock = clock or SystemClock()
        self._built: dict[str, Any] = {}
        self._closed = False
        self._forget_parent()
        _fork_aware.add(self)

    def _forget_parent(self) -> None:
        self._lock = threading.RLock()  # guards the two above

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Infrastructure:
        """Configured by the environment variables listed in the README."""
        return cls(Config.from_env(env))

    def _once(self, name: str, build: Callable[[], T]) -> T:
        with self._lock:
            if name not in self._built:
                if self._closed:
                    raise ConnectionError("the bundle is closed", service=name, retryable=False)
                self._built[name] = build()
            built: T = self._built[name]
            return built

    @property
    def redis(self) -> KeyValueClient:
        return self._once("redis", lambda: RedisClient(self.config.cache, clock=self.clock))

    @property
    def verification(self) -> VerificationCache:
        return self._once("verification", lambda: VerificationCache(self.redis, self.config.phone_hash_key))

    @property
    def sms(self) -> SmsService:
        return self._once("sms", lambda: create_sms_service(self.config.sms))

    def close(self) -> None:
        """Closes what was built, last first."""
        with self._lock, contextlib.ExitStack() as stack:
            self._closed = True
            for each in self._built.values():
                if isinstance(each, _Closing):
                    stack.callback(each.close)


# === command line ====================================================================================================


def _health(_: Any) -> int:
    """One line per service; 1 when one is down."""
    down = False
    with Infrastructure.from_env() as services:
        try:
            found = services.redis.health_check()
            print(f"{found.service:<8} up    {found.server:<16} {found.latency * 1000:.1f} ms")
        except ConfigurationError:
            raise
        except InfrastructureError as error:
            down = True
            print(f"redis    down  {error}")
    return int(down)


def main(argv: Sequence[str] | None = None) -> int:
    """The command ``infra``; returns the exit code: 0 done, 1 a service is down, 2 wrong usage or configuration."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="infra",
        description="Looks after the services that the environment variables name.",
        epilog="Variables: README, 'Configuration'. Exit codes: 0 done, 1 a service is down, 2 wrong usage or setting.",
    )
    parser.add_argument("--version", action="version", version=f"infra {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    health = commands.add_parser("health", help="state, version and latency of each service; exits 1 when one is down")
    health.set_defaults(run=_health)
    arguments = parser.parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except ConfigurationError as error:
        print(f"infra: {error}", file=sys.stderr)
        return 2
    return code


if __name__ == "__main__":
    sys.exit(main())
