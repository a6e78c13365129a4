# SPDX-License-Identifier: Apache-2.0
# Home: the project infra-twins. In a copy keep this line and __version__: they say what you have.
"""Dict-backed twins of the classes in ``infra``: same interfaces, same behaviour, no server, no driver.

Validation and everything else that is not storage runs in the shared base classes of ``infra``; the contract tests run
against both. For tests only: nothing here survives the process. Every fake can also be made to fail, see
:class:`Faults`. Fakes share nothing unless they are given the same state object.

Contents, in the order of ``infra`` (search for the banner ``# === name``):

=================  ====================================================================================================
clock              FakeClock
faults             Faults, the mixin behind ``fail_next`` and ``down``
redis and cache    FakeRedisServer, FakeRedisClient
verification       FakeVerificationCache
sms                SentSms, FakeSmsService
infrastructure     FakeInfrastructure
=================  ====================================================================================================
"""

from __future__ import annotations

import copy
import functools
import inspect
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a type checker takes the plain import: it refuses the relative one in a file of no package
    import infra
elif __package__:
    from . import infra
else:
    import infra

__version__ = "0.1.0"
__all__ = [
    "FakeClock",
    "FakeInfrastructure",
    "FakeRedisClient",
    "FakeRedisServer",
    "FakeSmsService",
    "FakeVerificationCache",
    "Faults",
    "SentSms",
]


# === clock ===========================================================================================================


class FakeClock(infra.Clock):
    """A clock that stands still until it is moved. Starts at 2026-01-01T00:00:00Z."""

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=timezone.utc)) -> None:
        if now.tzinfo is None:
            raise infra.ValidationError("now should be an aware datetime")
        self._start = now.astimezone(timezone.utc)
        self._elapsed = 0  # nanoseconds: ten times 0.1 s is a second
        self._lock = threading.Lock()

    def now(self) -> datetime:
        return self._start + timedelta(microseconds=self._elapsed // 1000)

    def monotonic(self) -> float:
        return self._elapsed / 1e9

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Lets that many seconds pass (0 or more)."""
        if not seconds >= 0 or math.isinf(seconds):
            raise infra.ValidationError("a clock does not go back: seconds should be 0 or more")
        with self._lock:
            self._elapsed += round(seconds * 1e9)


# === faults ==========================================================================================================


@dataclass
class _Fault:
    method: str
    error: BaseException
    times: int
    after_apply: bool


class Faults:
    """Makes a fake fail on demand. What is raised is final, as the caller of the real class would see it after retries.

    Mix it in before the class whose interface the fake has: it works for that class's public methods, except those that
    ask nothing of the service (``close``, ``is_available``). A fault comes before the arguments are looked at.
    """

    _service = "fake"
    _unfailing = frozenset({"close", "is_available"})
    _faults: Sequence[_Fault] = ()
    _armed = False  # whether calls have to look here first: anything of the next three
    _down = False
    _closed = False
    _fault_lock = threading.RLock()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name in cls._methods():
            method = getattr(cls, name)
            if not hasattr(method, "_can_fail"):
                setattr(cls, name, _failing(name, method))

    def fail_next(
        self, method: str, error: BaseException | type[BaseException], times: int = 1, after_apply: bool = False
    ) -> None:
        """The next ``times`` calls of ``method`` ("*": of any) raise ``error``. With ``after_apply`` they do their work
        first, as when a reply is lost."""
        known = self._methods()
        if method != "*" and method not in known:
            raise infra.ValidationError(f"there is no method {method!r} to fail; there are: {', '.join(known)}")
        if type(times) is not int or times < 1:
            raise infra.ValidationError("times should be a whole number of at least 1")
        if isinstance(error, type) and issubclass(error, infra.InfrastructureError):
            error = error("failed on purpose")
        if not isinstance(error, BaseException):
            raise infra.ValidationError("error should be an exception, or a class of this library's errors")
        with self._fault_lock:
            self._faults = [*self._faults, _Fault(method, error, times, after_apply)]
            self._armed = True

    @property
    def down(self) -> bool:
        """While True every call raises ConnectionError."""
        return self._down

    @down.setter
    def down(self, value: bool) -> None:
        with self._fault_lock:
            self._down = value
            self._armed = bool(value or self._closed or self._faults)

    def _shut(self) -> None:
        """For the ``close`` of a fake that has one: later calls raise ConnectionError."""
        with self._fault_lock:
            self._closed = self._armed = True

    @classmethod
    def _methods(cls) -> list[str]:
        ports = [base for base in cls.__mro__[1:] if base not in (Faults, object)]
        names = {name for port in ports for name, value in vars(port).items() if inspect.isroutine(value)}
        return sorted(name for name in names - cls._unfailing if name[0] != "_")

    def _take_fault(self, name: str) -> _Fault | None:
        with self._fault_lock:
            if self._down or self._closed:
                state = "is closed" if self._closed else "is down on purpose"
                raise infra.ConnectionError(
                    f"{type(self).__name__} {state}", service=self._service, operation=name, retryable=not self._closed
                )
            fault = next((each for each in self._faults if each.method in ("*", name)), None)
            if fault:
                fault.times -= 1
                self._faults = [each for each in self._faults if each.times]
                self._armed = bool(self._faults)
            return fault


def _failing(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, looking for a fault first."""

    @functools.wraps(method)
    def call(self: Faults, *args: Any, **kwargs: Any) -> Any:
        fault = self._take_fault(name) if self._armed else None
        if fault is None:
            return method(self, *args, **kwargs)
        if fault.after_apply:
            method(self, *args, **kwargs)
        try:
            error = copy.copy(fault.error)  # each raise has a traceback of its own
        except Exception:  # what cannot be copied
            error = fault.error.with_traceback(None)
        raise error

    call._can_fail = True  # type: ignore[attr-defined]
    return call


# === redis and cache =================================================================================================


class FakeRedisServer:
    """The state behind fake clients. Two clients on one server are two processes on one Redis."""

    def __init__(self, clock: infra.Clock | None = None) -> None:
        self._now = (clock or infra.SystemClock()).monotonic
        self._lock = threading.RLock()
        self._data: dict[str, tuple[str | int, float | None]] = {}  # value (a counter's as int) and moment of expiry
        self._listeners: list[_FakeListener] = []
        self._publishing = threading.local()

    def drop_connections(self) -> None:
        """What listeners see of a lost connection: a message may be missing, and ``on_reconnect`` is called."""
        with self._lock:
            for listener in self._listeners:
                listener._queue.append(None)
            listeners = list(self._listeners)
        for listener in listeners:
            listener._drain()

    def _entry(self, key: str) -> tuple[str | int, float | None] | None:
        """The live entry; one that has expired is removed."""
        entry = self._data.get(key)
        if entry is not None and entry[1] is not None and entry[1] <= self._now():
            with self._lock:
                if self._data.get(key) is entry:
                    del self._data[key]
            return None
        return entry

    def _expiry(self, ttl: int | None) -> float | None:
        # Less a ten-millionth of a second: sums of floats may fall short of the moment that was meant.
        return None if ttl is None else self._now() + ttl / 1000 - 1e-7

    def _publish(self, channel: str, message: str) -> int:
        """Queues for each subscription; delivers, unless this thread is delivering: then that comes first."""
        receivers = 0
        with self._lock:
            listeners = list(self._listeners)
            for listener in listeners:
                found = [(channel, pattern, message) for pattern in listener._matches(channel)]
                listener._queue.extend(found)
                receivers += len(found)
        pending: deque[_FakeListener] | None = getattr(self._publishing, "pending", None)
        if pending is not None:
            pending.extend(listeners)
            return receivers
        self._publishing.pending = pending = deque(listeners)
        try:
            while pending:
                pending.popleft()._drain()
        finally:
            del self._publishing.pending
        return receivers


class FakeRedisClient(Faults, infra.KeyValueClient):
    """Twin of ``RedisClient``. Expiry follows ``clock``; messages are delivered in the publisher's thread once
    ``publish`` has done its work, one published by a handler after that handler has returned."""

    _service = "redis"

    def __init__(self, server: FakeRedisServer | None = None, *, clock: infra.Clock | None = None) -> None:
        """``server``: share it to share data; it has its own clock."""
        self.server = server or FakeRedisServer(clock)
        self._listeners: list[_FakeListener] = []

    def close(self) -> None:
        self._shut()
        for listener in self._listeners:
            listener.close()

    def _get(self, key: str) -> str | None:
        entry = self.server._data.get(key)
        if entry is not None and entry[1] is not None:
            entry = self.server._entry(key)
        return None if entry is None else entry[0] if entry[0].__class__ is str else str(entry[0])

    def _get_many(self, keys: Sequence[str]) -> Sequence[str | None]:
        return [self._get(key) for key in keys]

    def _set(self, key: str, value: str, ttl: int | None) -> None:
        server = self.server
        with server._lock:
            server._data[key] = (value, None if ttl is None else server._expiry(ttl))

    def _set_many(self, pairs: Sequence[tuple[str, str]], ttl: int | None) -> None:
        for key, value in pairs:
            self._set(key, value, ttl)

    def _set_nx(self, key: str, value: str, ttl: int | None) -> bool:
        with self.server._lock:
            absent = self.server._entry(key) is None
            if absent:
                self._set(key, value, ttl)
            return absent

    def _delete_many(self, keys: Sequence[str]) -> int:
        server = self.server
        with server._lock:
            return sum(server._entry(key) is not None and server._data.pop(key, None) is not None for key in keys)

    def _compare_and_delete(self, key: str, value: str) -> bool:
        with self.server._lock:
            same = self._get(key) == value
            if same:
                del self.server._data[key]
            return same

    def _exists(self, key: str) -> bool:
        return self.server._entry(key) is not None

    def _pttl(self, key: str) -> int:
        entry = self.server._entry(key)
        if entry is None:
            return -2
        return -1 if entry[1] is None else max(0, round((entry[1] - self.server._now()) * 1000))

    def _pexpire(self, key: str, ttl: int) -> bool:
        server = self.server
        with server._lock:
            entry = server._entry(key)
            if entry is not None:
                server._data[key] = (entry[0], server._expiry(ttl))
            return entry is not None

    def _increment(self, key: str, amount: int, ttl: int | None) -> int:
        server = self.server
        with server._lock:
            entry = server._data.get(key)
            if entry is not None and entry[1] is not None:
                entry = server._entry(key)
            if entry is None:
                total, expiry = amount, server._expiry(ttl)
            else:
                value, expiry = entry
                total = amount + (value if value.__class__ is int else _integer(str(value)))
                if not _LOWEST <= total <= _HIGHEST:
                    raise _refused("increment")
            server._data[key] = (total, expiry)
            return total

    def _scan(self, glob: str) -> Iterator[str]:
        matches = _glob(glob)
        names = [key for key in list(self.server._data) if matches(key)]
        return (key for key in names if self.server._entry(key) is not None)

    def _publish(self, channel: str, message: str) -> int:
        return self.server._publish(channel, message)

    def _listen(self, on_message: infra.MessageHandler, on_reconnect: Callable[[], None] | None) -> infra.Listener:
        listener = _FakeListener(self, on_message, on_reconnect)
        self._listeners = [each for each in (*self._listeners, listener) if not each._closed]
        return listener

    def _health_check(self) -> infra.Health:
        return infra.Health("redis", "FakeRedisClient", 0.0)


class _FakeListener(infra.Listener):
    def __init__(
        self, client: FakeRedisClient, on_message: infra.MessageHandler, on_reconnect: Callable[[], None] | None
    ) -> None:
        super().__init__(on_message, on_reconnect)
        self._client = client
        self._server = client.server
        self._closed = False
        self._channels: set[str] = set()
        self._globs: dict[str, Callable[[str], bool]] = {}
        self._queue: deque[tuple[str, str | None, str] | None] = deque()  # None: the connection was lost
        self._busy = False  # some thread delivers; others leave it their messages, so that nobody waits for a handler
        with self._server._lock:
            self._server._listeners.append(self)

    def _apply(self, command: str, names: Sequence[str]) -> None:
        with self._server._lock:
            if self._closed:
                raise infra.ConnectionError("the listener is closed", service="redis", retryable=False)
            if self._client.down:
                raise infra.TimeoutError("FakeRedisClient is down on purpose", service="redis")
            if command == "SUBSCRIBE":
                self._channels.update(names)
            elif command == "UNSUBSCRIBE":
                self._channels.difference_update(names)
            elif command == "PSUBSCRIBE":
                self._globs.update((name, _glob(name)) for name in names)
            else:
                for name in names:
                    self._globs.pop(name, None)

    def _matches(self, channel: str) -> Iterator[str | None]:
        if channel in self._channels:
            yield None
        yield from (glob for glob, matches in self._globs.items() if matches(channel))

    def _drain(self) -> None:
        with self._server._lock:
            if self._busy:
                return
            self._busy = True
        try:
            while True:
                with self._server._lock:
                    if not self._queue or self._closed:
                        self._busy = False
                        return
                    item = self._queue.popleft()
                if item is None:
                    self._announce_reconnect()
                else:
                    self._deliver(*item)
        except BaseException:  # of a test that ends in its handler
            self._busy = False
            raise

    def _close(self) -> None:
        with self._server._lock:
            self._closed = True
            if self in self._server._listeners:
                self._server._listeners.remove(self)


_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


def _refused(operation: str) -> infra.CacheError:
    return infra.CacheError("redis refused the command", service="redis", operation=operation)


def _integer(text: str) -> int:
    """What Redis takes for an integer: 64 bits, in the one form that ``str`` gives it."""
    try:
        value = int(text)
    except ValueError:
        value = _HIGHEST + 1
    if not _LOWEST <= value <= _HIGHEST or str(value) != text:
        raise _refused("increment")
    return value


def _glob(glob: str) -> Callable[[str], bool]:
    """Redis's glob as a test of names. It matches bytes, so that "?" is half an "é"."""
    pattern, at, star = glob.encode(), 0, None
    steps: list[frozenset[int] | None] = []  # the bytes that may come next; None is "*"
    while at < len(pattern):
        at += 1
        byte = pattern[at - 1 : at]
        if byte == b"*":
            if steps[-1:] != [star]:
                steps.append(star)
        elif byte == b"?":
            steps.append(frozenset(range(256)))
        elif byte == b"[":
            step, at = _byte_class(pattern, at)
            steps.append(step)
        else:
            if byte == b"\\" and at < len(pattern):
                at += 1
            steps.append(frozenset(pattern[at - 1 : at]))
    return functools.partial(_match, steps)


def _byte_class(pattern: bytes, at: int) -> tuple[frozenset[int], int]:
    """The class that opens before ``at``, and where it ends; one that is never closed ends with the pattern."""
    negated = pattern[at : at + 1] == b"^"
    at += negated
    found: set[int] = set()
    while at < len(pattern) and pattern[at] != 0x5D:  # ]
        if pattern[at] == 0x5C and at + 1 < len(pattern):  # backslash
            at += 1
            found.add(pattern[at])
        elif pattern[at + 1 : at + 2] == b"-" and at + 2 < len(pattern):
            # Redis compares C chars, which on x86-64 are signed: beyond ASCII a range is not what it seems.
            low, high = sorted((byte ^ 128) - 128 for byte in (pattern[at], pattern[at + 2]))
            found.update(byte & 255 for byte in range(low, high + 1))
            at += 2
        else:
            found.add(pattern[at])
        at += 1
    return frozenset(set(range(256)) - found if negated else found), at + 1


def _match(steps: Sequence[frozenset[int] | None], name: str) -> bool:
    """Greedy, going back to the last "*" only: never exponential."""
    text, at, step, retry_at, retry_step = name.encode(), 0, 0, 0, -1
    while at < len(text):
        wanted = steps[step] if step < len(steps) else frozenset[int]()
        if wanted is None:
            step += 1
            retry_at, retry_step = at, step
        elif text[at] in wanted:
            at, step = at + 1, step + 1
        elif retry_step >= 0:
            retry_at += 1
            at, step = retry_at, retry_step
        else:
            return False
    return all(each is None for each in steps[step:])


# === verification ====================================================================================================


_TEST_KEY = "a key that only tests may use".ljust(32)


class FakeVerificationCache(Faults, infra.VerificationCache):
    """``VerificationCache`` itself, over a ``FakeRedisClient`` of its own unless one is given, with a key for tests."""

    _service = "verification"

    def __init__(
        self,
        client: infra.KeyValueClient | None = None,
        key: str | bytes | None = _TEST_KEY,
        *limits: Any,
        **named: Any,
    ) -> None:
        """As ``VerificationCache``, with defaults for the first two."""
        super().__init__(client or FakeRedisClient(), key, *limits, **named)


# === sms =============================================================================================================


@dataclass(frozen=True)
class SentSms:
    """A message in the outbox, with its ``code`` if it was sent as a verification code. The repr shows neither."""

    id: str
    phone: str
    message: str
    code: str | None

    def __repr__(self) -> str:
        return f"SentSms(id={self.id!r}, phone={infra.mask_phone(self.phone)!r})"


class FakeSmsService(Faults, infra.SmsService):
    """Keeps messages in ``outbox``, in the order of sending, and prints nothing."""

    provider_name = "fake"
    _service = "sms"

    def __init__(self) -> None:
        self.outbox: list[SentSms] = []

    def _send(self, phone: str, message: str, code: str | None) -> str:
        sent = SentSms(f"fake-{infra.new_id()}", phone, message, code)
        self.outbox.append(sent)
        return sent.id


# === infrastructure ==================================================================================================


class FakeInfrastructure(infra.Infrastructure):
    """The bundle on fakes, sharing nothing with another; time is a ``FakeClock`` unless a clock is given."""

    redis: FakeRedisClient
    verification: FakeVerificationCache
    sms: FakeSmsService

    def __init__(self, clock: infra.Clock | None = None) -> None:
        super().__init__(infra.Config(), clock=clock or FakeClock())
        redis = FakeRedisClient(clock=self.clock)
        self._built: dict[str, Any] = {
            "redis": redis,
            "verification": FakeVerificationCache(redis),
            "sms": FakeSmsService(),
        }

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> FakeInfrastructure:
        """A new bundle; the environment does not matter to fakes."""
        return cls()
