# SPDX-License-Identifier: Apache-2.0
# Home: the project infra-twins. In a copy keep this line and __version__: they say what you have.
"""Dict-backed twins of the classes in ``infra``: same interfaces, same behaviour, no server.

Validation and everything else that is not storage runs in the shared base classes of ``infra``.
The contract tests run against both. The fakes are for tests only: their data ends with the
process. Every fake can be made to fail, see :class:`Faults`. Two fakes share data only if they are
given the same state object.

Contents, in the order of ``infra`` (search for the banner ``# === name``):

=================  ================================================================================
clock              FakeClock, RunningClock
faults             Faults, the mixin behind ``fail_next`` and ``down``
database           Column, ForeignKey, Table, MYSQL_TABLES, POSTGRES_TABLES, FakeDatabase,
                   FakeTable, compare
repositories       FakeRepository, FakePhoneUserRepository, FakeTokenRepository, FakeUserRepository,
                   FakeOrganizationRepository, FakeBenchmarkRepository, FakeSubmissionRepository
redis              FakeRedisServer, FakeRedisClient
cache              FakeCacheProvider
verification       FakeVerificationCache
storage            FakeStorageProvider
messaging          FakeEventBus, FakeEventStream
sms                SentSms, FakeSmsService
infrastructure     FakeInfrastructure
=================  ================================================================================
"""

from __future__ import annotations

import bisect
import contextlib
import contextvars
import copy
import functools
import heapq
import hmac
import inspect
import io
import itertools
import math
import operator
import re
import threading
import urllib.parse
import uuid
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta, timezone
from datetime import time as day_time
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from types import GeneratorType, MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn, TypeVar

if TYPE_CHECKING:  # type checkers refuse a relative import in a module outside a package
    import infra
elif __package__:
    from . import infra
else:
    import infra

__version__ = "0.1.0"
__all__ = [
    "MYSQL_TABLES",
    "POSTGRES_TABLES",
    "Column",
    "FakeBenchmarkRepository",
    "FakeCacheProvider",
    "FakeClock",
    "FakeDatabase",
    "FakeEventBus",
    "FakeEventStream",
    "FakeInfrastructure",
    "FakeOrganizationRepository",
    "FakePhoneUserRepository",
    "FakeRedisClient",
    "FakeRedisServer",
    "FakeRepository",
    "FakeSmsService",
    "FakeStorageProvider",
    "FakeSubmissionRepository",
    "FakeTable",
    "FakeTokenRepository",
    "FakeUserRepository",
    "FakeVerificationCache",
    "Faults",
    "ForeignKey",
    "RunningClock",
    "SentSms",
    "Table",
    "compare",
]


R = TypeVar("R")  # a record
T = TypeVar("T")
_TEST_KEY = "a key that only tests may use".ljust(32)


# === clock ========================================================================================


class FakeClock(infra.Clock):
    """A clock that stands still until a test moves it. It starts at 2026-01-01T00:00:00Z.

    ``now``: another start, an aware datetime. Raises ValidationError for anything else.
    """

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=timezone.utc)) -> None:
        if not isinstance(now, datetime) or now.tzinfo is None:
            raise infra.ValidationError("now should be an aware datetime")
        self._start = infra._to_utc(now, "now")
        end = datetime.max.replace(tzinfo=timezone.utc)
        self._longest = (end - self._start) // timedelta(microseconds=1)
        self._elapsed = 0  # nanoseconds: ten times 0.1 s is a second
        self._lock = threading.RLock()  # a signal handler may move the clock while it is held

    def now(self) -> datetime:
        return self._start + timedelta(microseconds=self._elapsed // 1000)

    def monotonic(self) -> float:
        return self._elapsed / 1e9

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move the clock forward by that many seconds, at most to the end of the year 9999.

        Raises ValidationError for seconds below 0, and beyond that year.
        """
        if not infra._is_number(seconds, 0, 1e300):
            raise infra.ValidationError(
                "seconds should be a number, 0 or more: a clock does not go back"
            )
        step = round(seconds * 1e9)
        with self._lock:
            if (self._elapsed + step) // 1000 > self._longest:
                raise infra.ValidationError("seconds should not go beyond the year 9999")
            self._elapsed += step


class RunningClock(FakeClock):
    """A FakeClock that begins now and also moves by itself: for a program that runs on fakes."""

    def __init__(self) -> None:
        super().__init__(datetime.now(timezone.utc))
        self._began = infra.SystemClock.monotonic()

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self._running())

    def monotonic(self) -> float:
        return super().monotonic() + self._running()

    def _running(self) -> float:
        return infra.SystemClock.monotonic() - self._began


# === faults =======================================================================================


@dataclass
class _Fault:
    method: str
    error: BaseException
    times: int
    after_apply: bool
    owner: Faults

    def fresh_error(self) -> BaseException:
        """Return a copy of the error, so that each raise has its own traceback."""
        try:
            return copy.copy(self.error)
        except Exception:  # some exceptions cannot be copied
            return self.error.with_traceback(None)


#: The fakes that raise their fault after the work of the current call. The work itself uses up no
#: fault of "*".
_failing_fakes: contextvars.ContextVar[tuple[Faults, ...]] = contextvars.ContextVar(
    "fakes-failing", default=()
)


_UNOBSERVED = contextlib.nullcontext()


class Faults:
    """A mixin that makes a fake fail on demand.

    A fake raises the error that the real class raises after its last retry.

    Put it before the class whose interface the fake implements. It works for that class's public
    methods, except those that do not call the service (``close``, ``is_available``, ``stats``).
    A fault is raised before arguments are checked.

    A fault of "set" also applies to ``set_with_expiry``, one of "delete" to ``delete_many`` and
    ``unlink_many``, one of "send_sms" to ``send_verification_code``, one of "subscribe" to
    ``subscribe_many``: a class on top of the fake may call either for the same task.

    The end of a ``with`` block of a fake raises AssertionError if a fault was not used: the test
    did not test what it meant to. An exception that leaves the block takes precedence.

    While ``down`` is True, calls raise ConnectionError and use up no fault of ``fail_next``: the
    faults wait until the service is back. After ``close`` they are never raised.

    One call uses up one fault of "*", even if it calls other methods of the same fake.

    A fault inside a block of a ``FakeDatabase`` has the effect that its error has on a server, even
    if the caller catches it. A ConnectionError or TimeoutError ends the connection and the block.
    (A TimeoutError that is not ``retryable`` stands for ``query_timeout``: the server has stopped
    the statement, and on MySQL the block continues.) Any DatabaseError ends the block on Postgres.
    On MySQL a retryable one does: a deadlock, or a lock wait timeout. Any other exception, such as
    Ctrl-C, interrupts a statement and ends the connection too.
    """

    _service = "fake"
    _observer: Any = None
    _reports = True  # whether a fault of it is a failed call of a server
    _wraps = False  # whether each method is a call of a server
    _called: ClassVar[Mapping[str, str]] = {}  # by method: the operation of the real adapter
    _below: Faults | None = None  # the fake that this one uses: its faults of "*" apply here too
    _unfailing = frozenset({"close", "is_available", "stats"})
    #: methods that raise on a fake in any case: no fault of theirs would ever show
    _unsupported: ClassVar[frozenset[str]] = frozenset()
    #: For a method, the simpler one that does the same: its faults apply too.
    _simpler: ClassVar[Mapping[str, str]] = {}
    _faults: Sequence[_Fault] = ()
    _armed = False  # whether calls must check the next two attributes and the faults
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
        self,
        method: str,
        error: BaseException | type[BaseException],
        times: int = 1,
        after_apply: bool = False,
    ) -> None:
        """Make the next ``times`` calls of ``method`` ("*": of any method) raise ``error``.

        ``after_apply``: they do their work first, as if only the reply were lost. Raises
        ValidationError for a method that cannot fail, for ``times`` below 1, and for an ``error``
        that is neither an exception nor a class of this library's errors.
        """
        known, method = sorted({*self._methods()} - self._unsupported), infra._plain(method)
        if method != "*" and method not in known:
            raise infra.ValidationError(
                f"there is no method {method!r} to fail; there are: {', '.join(known)}"
            )
        infra._COUNT.check("times", times)
        if isinstance(error, type) and issubclass(error, infra.InfrastructureError):
            error = error("failed on purpose")
        if not isinstance(error, BaseException):
            raise infra.ValidationError(
                "error should be an exception, or a class of this library's errors"
            )
        infra._FLAG.require("after_apply", after_apply)
        with self._fault_lock:
            self._faults = [*self._faults, _Fault(method, error, times, after_apply, self)]
            self._armed = True

    @property
    def down(self) -> bool:
        """Whether the service is down: then every call raises ConnectionError."""
        return self._down

    @down.setter
    def down(self, value: bool) -> None:
        with self._fault_lock:
            self._down = value
            self._arm()

    def _arm(self) -> None:
        """Set whether calls must check for faults."""
        if not (self._down or self._closed or self._faults):
            self._armed = False
        # Checked again: a signal handler may have closed the fake in the meantime.
        if self._down or self._closed or self._faults:
            self._armed = True

    def _shut(self) -> None:
        """Make later calls raise ConnectionError; for the ``close`` of a fake."""
        with self._fault_lock:
            self._closed = self._armed = True

    @classmethod
    def _methods(cls) -> list[str]:
        ports = [base for base in cls.__mro__[1:] if base not in (Faults, object)]
        names = {
            name
            for port in ports
            for name, value in vars(port).items()
            if inspect.isroutine(value) and not isinstance(value, classmethod | staticmethod)
        }
        names.update(name for name in dir(cls) if hasattr(getattr(cls, name, None), "_can_fail"))
        return sorted(name for name in names - cls._unfailing if name[0] != "_")

    def _report(self, operation: str, error: BaseException | None = None) -> None:
        """Tell the observer of this fake, or of the database below it, as the real adapter does."""
        observer = self._observer
        if observer is None and self._below is not None:
            observer = self._below._observer
        # The call of a fault with ``after_apply`` is reported once, with its error.
        if observer is None or (error is None and _failing_fakes.get()):
            return
        outcome = "ok" if error is None else type(error).__name__
        operation = self._called.get(operation, operation)
        observer.call(infra.Call(self._service, operation, outcome, 0.0, 1))

    def _reporting(self, operation: str) -> contextlib.AbstractContextManager[None]:
        """Report the call that the block stands for, if anybody observes."""
        is_observed = self._observer is not None or self._below is not None
        return self._reported(operation) if is_observed else _UNOBSERVED

    @contextlib.contextmanager
    def _reported(self, operation: str) -> Iterator[None]:
        """Report the call that the block stands for. What was refused unsent is no call."""
        try:
            yield
        except (infra.ValidationError, infra.ConfigurationError, infra.SerializationError):
            raise
        except infra.InfrastructureError as error:
            self._report(operation, error)
            raise
        self._report(operation)

    def _take_fault(self, name: str) -> _Fault | None:
        with contextlib.ExitStack() as stack:
            if self._reports and (self._down or self._closed):
                stack.enter_context(self._reporting(name))
            self._check_reachable(name)
        fault, below = self._next_fault(name), self._below
        if fault is None and below is not None and below._armed:
            fault = below._fault_from_above()
        return fault

    def _fault_from_above(self) -> _Fault | None:
        """Return the fault of "*" for a call of a fake on top of this one."""
        return None if self._down or self._closed else self._next_fault()

    def _next_fault(self, name: str = "") -> _Fault | None:
        names = {name, self._simpler.get(name, name)}
        if not any(fake is self for fake in _failing_fakes.get()):
            names.add("*")
        with self._fault_lock:
            fault = next((fault for fault in self._faults if fault.method in names), None)
            if fault:
                if fault.times == 1:
                    self._faults = [other for other in self._faults if other is not fault]
                fault.times -= 1
                self._arm()
            return fault

    def _raise_fault(self, name: str, fault: _Fault, work: Callable[[], Any]) -> NoReturn:
        """Raise the fault's error, after the work if the fault says so."""
        if fault.after_apply:
            token = _failing_fakes.set((*_failing_fakes.get(), fault.owner))
            try:
                work()
            finally:
                _failing_fakes.reset(token)
        error = fault.fresh_error()
        if isinstance(error, infra.InfrastructureError):
            error._unsure = fault.after_apply
        if self._reports:
            self._report(name, error)
        self._apply_fault(error)
        raise error

    def _while_reachable(self, operation: str, items: Iterator[T]) -> Iterator[T]:
        """Yield the items. Raises ConnectionError as soon as the fake is closed or down."""
        for item in items:
            self._check_reachable(operation)
            yield item

    def _check_reachable(self, name: str) -> None:
        if self._down or self._closed:
            state = "is closed" if self._closed else "is down on purpose"
            error = infra.ConnectionError(
                f"{type(self).__name__} {state}",
                service=self._service,
                operation=name,
                retryable=not self._closed,
            )
            error._unsure = False
            self._apply_fault(error)
            raise error

    def _apply_fault(self, error: BaseException) -> None:
        """Handle an error raised on purpose: one of a repository may end the open block."""
        note = getattr(super(), "_apply_fault", None)
        if note is not None:
            note(error)


def _failing(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the method so that it checks for a fault first."""

    @functools.wraps(method)
    def call(self: Faults, *args: Any, **kwargs: Any) -> Any:
        below = self._below
        if self._armed or (below is not None and below._armed):
            fault = self._take_fault(name)
            if fault is not None:
                self._raise_fault(name, fault, functools.partial(method, self, *args, **kwargs))
        if self._wraps and self._observer is not None:
            with self._reporting(name):
                result = method(self, *args, **kwargs)
        else:
            result = method(self, *args, **kwargs)
        if result.__class__ is GeneratorType:
            return self._while_reachable(name, result)
        return result

    call._can_fail = True  # type: ignore[attr-defined]
    return call


class _CloseableFaults(Faults, infra._Closeable):
    """Faults of a fake that is a context manager: the end of its block misses unused ones."""

    def __exit__(self, *exc_info: object) -> None:
        """Close the fake. Raises AssertionError for faults that were not used."""
        super().__exit__(*exc_info)
        if exc_info[0] is None:
            _refuse_unused([self])


def _refuse_unused(some: Iterable[Any]) -> None:
    """Raise AssertionError if one of these fakes has a fault that was not used."""
    fakes = dict.fromkeys(each for each in some if isinstance(each, Faults))
    unused = [fault for fake in fakes for fault in fake._faults]
    if unused:
        named = ", ".join(f"{each.method} of {type(each.owner).__name__}" for each in unused)
        raise AssertionError(f"these faults were not used, or not as often as asked for: {named}")


# === database =====================================================================================


Row = dict[str, Any]
Where = Mapping[str, Any] | Callable[[Row], bool] | None
Changes = Mapping[str, Any] | Callable[[Row], Mapping[str, Any]]


@dataclass(frozen=True)
class Column:
    """A column's rules. A value that does not fit exactly is refused.

    Attributes:
        kind: the Python type of its values.
        null: whether it may be NULL.
        length: the maximum length of a text in characters or of bytes, or the bits of an int: 32
            or 64.
        precision: the digits of a Decimal, as in NUMERIC(precision, scale).
        scale: the digits after the point: of a Decimal, or of the seconds of a datetime, time or
            timedelta (None: 6).
        ascii: whether a text may hold ASCII only.
        key_length: the length of a text in a key, if only MySQL needs one.
        auto_increment: whether the server makes an int that is not given.
        default: what a row has that does not name the column, as with DEFAULT; None: NULL.

    Raises ConfigurationError for a kind, size or scale that no column has.
    """

    kind: type
    null: bool = False
    length: int | None = None
    precision: int | None = None
    scale: int | None = None
    ascii: bool = False
    key_length: int | None = None
    auto_increment: bool = False
    default: Any = None

    def __post_init__(self) -> None:
        if not isinstance(self.kind, type) or self.kind not in infra._VALUE_TYPES:
            kinds = ", ".join(each.__name__ for each in infra._VALUE_TYPES)
            raise infra.ConfigurationError(f"the kind of a Column should be one of {kinds}")
        sizes = self.length, self.precision, self.key_length
        fits = all(size is None or infra._COUNT_OR_0.valid(size) for size in sizes)
        if self.scale is not None:
            timed = self.kind in (datetime, day_time, timedelta)
            fits = fits and type(self.scale) is int
            fits = fits and (self.kind is Decimal or (timed and 0 <= self.scale <= 6))
        if not fits:
            raise infra.ConfigurationError(
                "a Column has a length, precision or scale that no column can have"
            )
        if self.auto_increment and (self.kind is not int or self.default is not None):
            raise infra.ConfigurationError(
                "a Column with auto_increment should be an int without a default"
            )


ForeignKey = infra.ForeignKey


@dataclass(frozen=True)
class Table:
    """A table's rules.

    The keys of ``unique``, ``foreign_keys`` and ``checks`` are the names of the real table's
    constraints. A check is a function that takes the row and returns False to refuse it.

    Raises ConfigurationError for a rule that names no column of the table, and for a column, key or
    check of another type. Raises ValidationError for rules that are not a dict, and for names that
    are not an iterable.
    """

    name: str
    columns: Mapping[str, Column]
    primary_key: tuple[str, ...] = ("id",)
    unique: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    foreign_keys: Mapping[str, ForeignKey] = field(default_factory=dict)
    checks: Mapping[str, Callable[[Row], bool | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", infra._plain(self.name))
        columns = infra._MAPPING.check("columns", self.columns)
        if not all(isinstance(each, Column) for each in columns.values()):
            raise infra.ConfigurationError(f"{self.name}: columns should be of class Column")
        self._check_names("primary_key", self.primary_key)
        made = [name for name, column in columns.items() if column.auto_increment]
        if made and made != [*self.primary_key]:
            raise infra.ConfigurationError(
                f"{self.name}: {made[0]} has auto_increment, so it should be the whole primary key"
            )
        for rule, names in infra._MAPPING.check("unique", self.unique).items():
            self._check_names(rule, names)
        for rule, key in infra._MAPPING.check("foreign_keys", self.foreign_keys).items():
            if not isinstance(key, ForeignKey):
                raise infra.ConfigurationError(f"{self.name}: {rule} should be a ForeignKey")
            self._check_names(rule, key.columns)
        for rule, check in infra._MAPPING.check("checks", self.checks).items():
            infra._check_function(f"{self.name}: {rule}", check, "a row", infra.ConfigurationError)

    def _check_names(self, rule: str, names: Any) -> None:
        for name in infra._check_many(rule, names):
            if name not in [*self.columns]:
                raise infra.ConfigurationError(
                    f"{self.name}: {rule} should name columns of the table, not {name!r}"
                )
            if self.columns[name].kind in (dict, list):
                raise infra.ConfigurationError(f"{self.name}: {rule} names a document: {name}")

    @classmethod
    def of(
        cls,
        repository: Any,
        *,
        ascii: Iterable[str] = (),
        unique: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
        foreign_keys: Mapping[str, ForeignKey] = MappingProxyType({}),
        checks: Mapping[str, Callable[[Row], bool | None]] = MappingProxyType({}),
    ) -> Table:
        """Return the table of a repository's class, with the rules that the class names.

        The other arguments add rules, or replace those of the same name. Raises ConfigurationError
        for a rule that names no column of the record, for a length or scale that no column of its
        type has, and for a class that does not set ``record``, ``table`` and ``resource``.
        """
        if not isinstance(repository, type) or not issubclass(repository, infra.Repository):
            raise infra.ConfigurationError("Table.of takes the class of a repository")
        infra._check_declared(repository)
        columns = repository._columns()
        rules = repository._rules(columns)

        def named(fields: Iterable[str]) -> tuple[str, ...]:
            return tuple(map(repository._column, fields))

        only = [*named(repository.ascii), *infra._check_many("ascii", ascii)]
        table = cls(
            repository.table,
            cls._columns_of(repository, columns, only),
            named(repository.key),
            {rule: named(key) for rule, key in rules.unique.items()}
            | {**infra._MAPPING.check("unique", unique)},
            {
                rule: replace(key, columns=named(key.columns))
                for rule, key in rules.foreign_keys.items()
            }
            | {**infra._MAPPING.check("foreign_keys", foreign_keys)},
            {name: check.holds for name, check in rules.checks.items()}
            | {**infra._MAPPING.check("checks", checks)},
        )
        table._check_names("ascii", only)
        return table

    @staticmethod
    def _columns_of(
        repository: Any, columns: Mapping[str, Any], only_ascii: Collection[str]
    ) -> dict[str, Column]:
        defaults, key_lengths = repository._defaults(), repository._key_lengths()
        made = repository._made_id(columns)
        found = {}
        for field_name, column in columns.items():
            holds = column.column_type()
            length, precision = (None, holds.size) if column.kind is Decimal else (holds.size, None)
            found[column.column] = Column(
                column.stored,
                column.optional,
                length,
                precision,
                holds.scale,
                column.column in only_ascii,
                key_lengths.get(field_name),
                field_name == made,
                defaults.get(field_name),
            )
        return found


#: the tables of schema.sql, equal on both engines; a contract test compares them
MYSQL_TABLES = POSTGRES_TABLES = (
    Table.of(infra._CheckpointRepository),
    Table.of(infra.PhoneUserRepository),
    Table.of(infra.TokenRepository),
    Table.of(infra.UserRepository),
    Table.of(infra.OrganizationRepository),
    Table.of(infra._MemberRepository),
    Table.of(infra.BenchmarkRepository),
    Table.of(infra._TagRepository),
    Table.of(infra._VersionRepository),
    Table.of(infra.SubmissionRepository),
    Table.of(infra._OutboxRepository),
    Table.of(infra._LeaseRepository),
    Table.of(infra._InboxRepository),
    Table.of(infra._AuditRepository),
    Table.of(infra._SealRepository),
)


@dataclass
class _OpenTransaction:
    """The state of an open transaction: its savepoints, and whether it was killed."""

    #: positions in the undo log, by the depth of the block
    marks: dict[int, int] = field(default_factory=dict)
    killed: bool = False


class _LostReply(infra._Transaction):
    """A transaction that commits and then raises, as if the reply to COMMIT was lost."""

    __slots__ = ("_error",)

    def __init__(self, database: FakeDatabase, error: BaseException) -> None:
        super().__init__(database)
        self._error = error

    @infra._Exit
    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        super().__exit__(kind, error, traceback)
        if error is None:
            self._database._apply_fault(self._error)  # type: ignore[attr-defined]
            raise self._error


def _as_another_thread(work: Callable[[], None]) -> None:
    """Run work that another thread does on a real service: outside the open transactions."""
    contextvars.Context().run(work)


class _KeyOrder(NamedTuple):
    """The order in which an engine checks foreign keys, and its rule for self-references.

    False in the first two: the order of declaration.
    """

    parents_by_name: bool  # the foreign keys of a written row
    children_by_name: bool  # the foreign keys that refer to a deleted row
    restricts_itself: bool  # a row that refers to itself cannot be deleted by a statement
    restricts_itself_in_cascades: bool  # nor by a cascade


# Tried on MySQL 9.7, MariaDB 10.11 and Postgres 15. Since 9.6 MySQL checks keys above InnoDB.
_KEY_ORDERS = {
    "mysql": _KeyOrder(True, False, True, False),
    "mariadb": _KeyOrder(False, True, True, True),
    "postgres": _KeyOrder(False, False, False, False),
}


class _Numbering(NamedTuple):
    """How an engine makes the ids of a table."""

    follows: bool  # a greater id that a row has moves the counter, and 0 or NULL is a new id
    before_checks: bool  # a row that a check or NOT NULL refuses uses up an id
    before_parents: bool  # a row without its parent uses up an id
    repeats: bool  # at the end of the column's range it makes the last id again


_NUMBERINGS = {
    "mysql": _Numbering(True, False, False, True),
    "mariadb": _Numbering(True, False, True, False),
    "postgres": _Numbering(False, True, True, False),
}


class _WriteTurns:
    """Lets one transaction write at a time, and undoes its changes unless it commits."""

    def __init__(
        self, timeout: float, error: Callable[[infra._ErrorRule], infra.InfrastructureError]
    ) -> None:
        self._timeout, self._error = timeout, error
        # No Condition: its methods are written in Python, and Ctrl-C could leave it locked.
        self.lock = threading.RLock()
        self.waiters: list[threading.Lock] = []  # one for each call that waits for its turn
        self.writer: infra._Block | None = None
        #: the changes of the writer: table, key, the row before and the row after
        self.undo: list[tuple[_IndexedRows, _Key, Row | None, Row | None]] = []
        #: rows whose foreign keys are checked at the end of the statement
        self.unchecked: list[tuple[_ConstrainedRows, _Key]] = []

    def read(self, block: infra._Block | None, work: Callable[[], T]) -> T:
        with self.lock:
            if block is not None:
                self._check_alive(block)
            return work()

    def write(self, block: infra._Block | None, work: Callable[[], T]) -> T:
        """Wait for the block's turn, then do the work."""
        until = None
        while True:
            with self.lock:
                if block is not None:
                    self._check_alive(block)
                waiter = None if self.writer is block else self._queue(block)
                if waiter is None:
                    return self._write(block, work)
                if until is not None and infra.SystemClock.monotonic() >= until:
                    self.waiters.remove(waiter)
                    raise self._error(infra._LOCKED)
            if until is None:
                until = infra.SystemClock.monotonic() + self._timeout
            try:  # if Ctrl-C loses a wake-up, the loop checks again after the timeout
                waiter.acquire(timeout=max(0.0, until - infra.SystemClock.monotonic()))
            finally:
                with self.lock:
                    if waiter in self.waiters:
                        self.waiters.remove(waiter)

    def _write(self, block: infra._Block | None, work: Callable[[], T]) -> T:
        mark = len(self.undo)
        try:
            self.unchecked = []
            result = work()
            for table, key in self.unchecked:
                table._find_parents(key)
            if block is None:
                self.undo.clear()
            return result
        except BaseException:
            self.undo_to(mark)
            raise

    def _check_alive(self, block: infra._Block) -> None:
        if block.handle.killed:
            raise self._error(infra._LOST)

    def _queue(self, block: infra._Block | None) -> threading.Lock | None:
        """Take the turn to write, or return a lock that the end of the current turn releases."""
        writer = self.writer
        if writer is not None and not writer.depth:  # Ctrl-C interrupted its end
            self.give_up(writer)
            writer = None
        if writer is None:
            self.writer = block
            return None
        if writer.thread == threading.get_ident():
            # This thread holds the open transaction, in another task: a wait would never end.
            raise self._error(infra._LOCKED)
        waiter = threading.Lock()
        waiter.acquire()
        self.waiters.append(waiter)
        return waiter

    def give_up(self, block: infra._Block) -> None:
        """Undo the block's uncommitted changes and end its turn."""
        if self.writer is not block:
            return
        self.undo_to(0)
        while self.waiters:  # woken first: Ctrl-C may come before the turn ends
            self.waiters.pop().release()
        self.writer = None

    def undo_to(self, mark: int) -> None:
        while len(self.undo) > mark:
            table, key, before, after = self.undo[-1]
            table._put(key, after, before)
            del self.undo[-1]


class _Interleaving:
    """Lets a thread wait after a read, so that other threads come between its statements."""

    SECONDS = 0.005

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: list[threading.Lock] = []

    def wake_others(self) -> None:
        """End the waits: this thread has run a statement."""
        with self._lock:
            while self._waiters:
                self._waiters.pop().release()

    def wait(self) -> None:
        """Wait until another thread has run a statement, or 5 ms have passed."""
        waiter = threading.Lock()
        waiter.acquire()
        with self._lock:
            self._waiters.append(waiter)
        waiter.acquire(timeout=self.SECONDS)


_UNKNOWN_NAME = infra._refusal(
    "knows no table or column of that name (pass a fakes.Table.of(...) that has it in tables)"
)


def _column_type(column: Column, engine: str) -> infra._ColumnType:
    mysql = engine == "mysql"
    if mysql and column.kind in (day_time, timedelta):
        return infra._MySqlCatalogue.column_types["time"]._replace(scale=column.scale)
    kind = infra._VALUE_TYPES[column.kind].column_kind
    size = column.precision if column.kind is Decimal else column.length
    if size is None and mysql:
        size = column.key_length
    return infra._ColumnType(kind, size, column.scale, ascii=column.ascii, finite=mysql)


class FakeDatabase(_CloseableFaults, infra.Database):
    """Tables as dicts, with constraints, transactions and savepoints.

    Other threads and other asyncio tasks see committed rows only. One transaction writes at a time.
    A transaction that waits longer than ``lock_timeout`` seconds raises the retryable error of a
    real lock timeout. It raises at once if its own thread has the open transaction, in another task
    or around a handler. Text in keys compares as with a binary collation of the real engine: MySQL
    ignores trailing blanks.

    Attributes:
        engine: "mysql" (also for MariaDB) or "postgres".
        dialect: "mysql", "mariadb" or "postgres". "mysql" is MySQL 9.6 and later.

    ``stats().waiting`` counts the calls that wait for another thread's transaction.
    """

    _unfailing = Faults._unfailing | {"stats"}
    _unsupported: ClassVar = frozenset({"execute", "fetch_one", "fetch_all", "stream"})

    def __init__(
        self,
        dialect: str = "mysql",
        tables: Iterable[Table] = (),
        *,
        clock: infra.Clock | None = None,
        lock_timeout: float = 5.0,
        interleave: bool = False,
        observer: infra._Observing | None = None,
    ) -> None:
        """Create the tables, which have no rows.

        Args:
            dialect: decides how texts compare, how a transaction continues after an error, and the
                order in which foreign keys are checked. MySQL before 9.6 has that of "mariadb".
            tables: their rules; for the tables of schema.sql MYSQL_TABLES or POSTGRES_TABLES.
            clock: by default a new FakeClock.
            lock_timeout: in seconds of real time.
            interleave: True makes code that is unsafe with many threads fail in a test. After a
                read in a transaction, the thread waits until another thread has run a statement,
                or 5 milliseconds of real time have passed.
            observer: as that of ConnectionPool; calls take 0 seconds.

        Raises ValidationError if ``tables`` is not an iterable, and ConfigurationError for any
        other invalid argument.
        """
        self.dialect = dialect = infra._check_choice("dialect", dialect, *_KEY_ORDERS)
        self.engine = self._service = "postgres" if dialect == "postgres" else "mysql"
        super().__init__(infra._clock(clock, FakeClock()), deadline=30.0, observer=observer)
        if not infra._is_number(lock_timeout, 0, infra._YEAR):
            raise infra.ConfigurationError("lock_timeout should be a number of seconds")
        if type(interleave) is not bool:
            raise infra.ConfigurationError("interleave should be True or False")
        self._interleaving = _Interleaving() if interleave else None
        self._turns = _WriteTurns(lock_timeout, self._error)
        self._open: list[infra._Block] = []
        self._move_locks: dict[str, threading.Lock] = {}
        tables = infra._check_many("tables", tables)
        if not all(isinstance(each, Table) for each in tables):
            raise infra.ConfigurationError("tables should be of class Table")
        self._tables = {each.name: FakeTable(self, each) for each in tables}
        for table in self._tables.values():
            table._refer(_KEY_ORDERS[dialect])
        infra._watch(self._observer, self.engine, self)

    def table(self, name: str) -> FakeTable:
        """Return a table.

        Raises DatabaseError if there is none of that name, ValidationError if it is not text.
        """
        name = infra._plain(name)
        if not isinstance(name, str):
            raise infra.ValidationError("name should be a str")
        if name not in self._tables:
            raise self._error(_UNKNOWN_NAME, about=f'"{name}"')
        return self._tables[name]

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        fault = self._take_fault("transaction") if self._armed else None
        if fault is None:
            return super().transaction()
        if fault.after_apply:
            return _LostReply(self, fault.fresh_error())  # pyright: ignore[reportReturnType]
        self._raise_fault("begin", fault, super().transaction)

    transaction._can_fail = True  # type: ignore[attr-defined]

    def kill_connections(self) -> None:
        """Roll back all open transactions, as a restart of the server does.

        Their next statement raises ConnectionError.
        """
        with self._turns.lock:
            for block in self._open:
                self._kill(block)

    def _kill(self, block: infra._Block) -> None:
        """Roll back now; the block's next statement raises."""
        with self._turns.lock:
            block.handle.killed = True
            self._turns.give_up(block)

    def close(self) -> None:
        self._shut()

    def _take_fault(self, name: str) -> _Fault | None:
        if (self._down or self._closed) and self._own_block() is not None:
            return None  # an open block raises in _atomically, and outlives close()
        return super()._take_fault(name)

    def _apply_fault(self, error: BaseException) -> None:
        """Let an injected fault affect the caller's open block, as on a real server."""
        block = self._own_block()
        if block is None or block.doom is not None:
            return
        gone = isinstance(error, (infra.ConnectionError, infra.TimeoutError))
        if isinstance(error, infra.TimeoutError) and not error.retryable:
            gone = False  # the server has cancelled the statement only
        if not isinstance(error, infra.InfrastructureError):  # for example Ctrl-C
            gone, error = True, infra.ConnectionError("a statement was interrupted")
        if gone:
            self._kill(block)
        if isinstance(error, (infra.ConnectionError, infra.DatabaseError, infra.TimeoutError)):
            self._doom(block, error, outermost=gone)

    def _from_above(self, work: Callable[[], T]) -> T:
        """Run a call of a table, subject to this database's faults for "*"."""
        fault = self._fault_from_above() if self._armed else None
        if fault is None:
            return work()
        self._raise_fault("table", fault, work)

    def _error(
        self, rule: infra._ErrorRule, constraint: str | None = None, *, about: str = ""
    ) -> infra.InfrastructureError:
        """Return the error of a server. ``about`` is the name of a table or column."""
        details: dict[str, Any] = {}
        if rule.constraint_kind:
            details = {"kind": rule.constraint_kind, "constraint": constraint}
        subject = f": {constraint or about}" if constraint or about else ""
        return rule.error_class(
            f"FakeDatabase {rule.message}{subject}",
            service=self.engine,
            retryable=rule.retryable,
            **details,
        )

    def _atomically(self, operation: str, work: Callable[[], T], *, write: bool = True) -> T:
        """Do the work atomically. Outside a transaction it commits."""
        if self._observer is None:
            return self._do_atomically(operation, work, write)
        with self._reporting(operation):
            return self._do_atomically(operation, work, write)

    def _do_atomically(self, operation: str, work: Callable[[], T], write: bool) -> T:
        block = self._current()
        if block is not None:
            self._check(block)
        if self._down or (self._closed and block is None):  # an open block outlives close()
            if block is not None:
                self._kill(block)
            self._check_reachable(operation)
        try:
            if self._interleaving is not None:
                return self._interleaved(self._interleaving, block, work, write)
            return self._turns.write(block, work) if write else self._turns.read(block, work)
        except (infra.ValidationError, infra.SerializationError):
            raise
        except infra.InfrastructureError as error:
            error.operation = error.operation or operation
            error.service = error.service or self.engine
            if block is not None:
                self._doom(block, error, outermost=block.handle.killed)
            raise
        except Exception:
            raise
        except BaseException as error:  # Ctrl-C would close a real connection
            self._apply_fault(error)
            raise

    def _doom(
        self, block: infra._Block, error: infra.InfrastructureError, *, outermost: bool
    ) -> None:
        super()._doom(block, error, outermost=outermost)
        if block.doom is not None and block.doom_depth == 1:
            with self._turns.lock:  # servers release the locks of a lost transaction
                self._turns.give_up(block)

    def _interleaved(
        self, turns: _Interleaving, block: infra._Block | None, work: Callable[[], T], write: bool
    ) -> T:
        result = self._turns.write(block, work) if write else self._turns.read(block, work)
        turns.wake_others()
        # A block that has written, or locked a row, is the writer: no other can come between.
        if not write and block is not None and self._turns.writer is not block:
            turns.wait()
        return result

    def _statement(self, operation: str, *statement: Any, **options: Any) -> NoReturn:
        raise infra.ConfigurationError(
            "a FakeDatabase runs no SQL: give the statement a method of a repository, and the fake "
            "one of its own",
            service=self.engine,
            operation=operation,
        )

    def _rows_streamed(self, *statement: Any, **options: Any) -> NoReturn:
        self._statement("stream")

    def _begin(self, block: infra._Block) -> None:
        with self._reporting("begin"):
            self._check_reachable("transaction")
        block.handle = _OpenTransaction()
        self._open = [*self._open, block]

    def _end(self, block: infra._Block, command: str) -> None:
        with self._reporting(command.lower()), self._turns.lock:
            if command == "COMMIT":
                self._check_connection(block, "commit")
            if self._turns.writer is block and command == "COMMIT":
                self._turns.undo.clear()

    def _savepoint(self, block: infra._Block, command: str) -> None:
        with self._reporting("savepoint"), self._turns.lock:
            self._check_connection(block, "savepoint")
            if command == "SAVEPOINT":
                mark = len(self._turns.undo) if self._turns.writer is block else 0
                block.handle.marks[block.depth] = mark
                return
            mark = block.handle.marks[block.depth]
            if command == "ROLLBACK TO SAVEPOINT" and self._turns.writer is block:
                self._turns.undo_to(mark)

    def _check_connection(self, block: infra._Block, operation: str) -> None:
        if block.handle.killed or self._down:
            self._kill(block)
            error = self._error(infra._LOST)
            error.operation = operation
            self._doom(block, error, outermost=True)
            raise error

    def _abandon(self, block: infra._Block) -> None:
        with self._turns.lock:
            self._open = [each for each in self._open if each is not block]
            self._turns.give_up(block)

    def _column_types(self, table: str, names: Sequence[str]) -> Sequence[infra._ColumnType]:
        def work() -> list[infra._ColumnType]:
            found = self.table(table)
            found._check_columns(names)
            columns = found.rules.columns
            return [_column_type(columns[name], self.engine) for name in names]

        return self._atomically("insert_many", work, write=False)

    def _insert_rows(
        self, table: str, names: Sequence[str], columns: Sequence[Sequence[Any]]
    ) -> int:
        target = self.table(table)

        def work() -> None:
            for row in zip(*columns):
                target._add(dict(zip(names, row)))

        self._atomically("insert_many", work)
        return 0

    def _rows_of(self, table: str) -> infra._TableRows:
        return _FakeRows(self, table)

    def _make_table(self, port: Any, statement: Callable[[], str]) -> None:
        if port.table not in self._tables:
            self._tables[port.table] = FakeTable(self, Table.of(port))

    @contextlib.contextmanager
    def _lock(self, lock: str, lock_timeout: float) -> Iterator[Any]:
        with self._turns.lock:
            held = self._move_locks.setdefault(lock, threading.Lock())
        if not held.acquire(timeout=lock_timeout):
            raise self._is_held(lock_timeout)
        try:
            yield contextvars.copy_context(), lambda: None, lambda: None
        finally:
            held.release()

    def health_check(self) -> infra.Health:
        health = infra.Health(self.engine, "FakeDatabase", 0.0)
        return self._atomically("health_check", lambda: health, write=False)

    def stats(self) -> infra.PoolStats:
        return infra.PoolStats(None, len(self._open), len(self._open), 0, len(self._turns.waiters))


def _copied(value: Any) -> Any:
    return infra._decode(value.text)[0] if value.__class__ is infra._Document else value


#: by a column's kind: the class of values that it stores as they are; texts and times only mostly
_USUAL: Mapping[type, type] = {
    **{kind: kind for kind in (str, datetime, bool, date, day_time, timedelta, uuid.UUID)},
    **dict.fromkeys((dict, list), infra._Document),
}
#: the types of values that a column may equal
_EQUALS = frozenset(kind for kind in infra._VALUE_TYPES if kind.__hash__ is not None)


_Key = tuple[Any, ...]


def _as_duration(value: Any) -> Any:
    """Return a value of MySQL's TIME as servers return it."""
    if value.__class__ is not day_time:
        return value
    return datetime.combine(date.min, value) - datetime.min


def _padded(holds: Callable[..., bool], *texts: str) -> bool:
    """Compare texts whose trailing blanks do not count."""
    width = max(map(len, texts))
    return holds(*(text.ljust(width) for text in texts))


# A test returns whether a value meets a condition, or None: unknown, because the value is NULL.
_Test = Callable[[Any], "bool | None"]


def _is_null(value: Any) -> bool:
    return value is None


def _known(holds: Callable[..., bool], bounds: Sequence[Any], value: Any) -> bool | None:
    return None if value is None else holds(value, *bounds)


def _negated(test: _Test, value: Any) -> bool | None:
    found = test(value)
    return None if found is None else not found


def _any_holds(tests: Sequence[_Test], value: Any) -> bool | None:
    found = {test(value) for test in tests}
    return True if True in found else (None if None in found else False)


class _IndexedRows:
    """The rows of a table by primary key, with indexes. Checks no constraint."""

    def __init__(self, database: FakeDatabase, rules: Table) -> None:
        self.rules = rules
        self._names = frozenset(rules.columns)
        self._database = database
        self._turns, self._error = database._turns, database._error
        self._is_mysql = database.engine == "mysql"  # PAD SPACE collation
        self._rows: dict[_Key, Row] = {}
        referring = [rule.columns for rule in rules.foreign_keys.values()]
        #: columns -> their values -> primary key -> row
        self._indexes: dict[tuple[str, ...], dict[Any, dict[_Key, Row]]] = {
            columns: {} for columns in {*rules.unique.values(), *referring}
        }
        self._lookups = ((rules.primary_key, None), *self._indexes.items())
        self._unique = [(name, each, self._indexes[each]) for name, each in rules.unique.items()]

    def _check_columns(self, names: Collection[str]) -> None:
        """Raise DatabaseError, which names the column, if the table has none of that name."""
        if not self._names.issuperset(names):
            unknown = next(name for name in names if name not in self._names)
            raise self._error(_UNKNOWN_NAME, about=f'"{unknown}"')

    def _key(self, row: Mapping[str, Any], columns: Sequence[str]) -> _Key | None:
        """Return the values as an index holds them, or None if one is NULL."""
        if len(columns) == 1:  # the usual case, in a third of the time
            value = row[columns[0]]
            return (
                None if value is None else (self._comparable(value) if self._is_mysql else value,)
            )
        key = tuple(map(row.__getitem__, columns))
        for value in key:
            if value is None:
                return None
        return tuple(map(self._comparable, key)) if self._is_mysql else key

    def _primary_key(self, row: Row) -> _Key:
        key = self._key(row, self.rules.primary_key)
        assert key is not None  # the values fit: no NULL is in it
        return key

    def _comparable(self, value: Any) -> Any:
        if self._is_mysql and value.__class__ is str:
            return value.rstrip(" ")
        return _as_duration(value) if self._is_mysql else value

    def _copy(self, row: Row) -> Row:
        return {name: _copied(value) for name, value in row.items()}

    def _matching(self, where: Where) -> list[Row]:
        if callable(where):
            infra._check_function("where", where, "a row")
        elif where is not None:
            infra._MAPPING.check("where", where)
        if isinstance(where, Mapping):
            return self._meeting(where)
        visible, _ = self._candidates({})
        if where is None:
            return visible
        return [row for row in visible if infra._not_deferred(where(self._copy(row)))]

    def _meeting(self, where: Mapping[str, Any]) -> list[Row]:
        """Return the rows that meet all conditions on columns."""
        self._check_columns(where)
        equal: dict[str, Any] = {}
        choices: dict[str, dict[Any, None]] = {}
        tests: list[tuple[str, _Test]] = []
        for name, value in where.items():
            if value.__class__ in _EQUALS:  # the usual case
                equal[name] = self._comparable(value)
            elif isinstance(value, (infra._Among, infra.OneOf)):
                choices[name] = self._chosen(value)
            elif isinstance(value, infra._Condition):
                tests.append((name, self._test(value)))
            else:
                plain = infra._plain(value)
                known = plain is None or plain.__class__ in infra._VALUE_TYPES
                if not known or value.__class__.__hash__ is None:
                    raise infra.ValidationError(
                        f"{name} should not be of type {type(value).__name__}, "
                        "which equals no value"
                    )
                equal[name] = self._comparable(plain)
        found, sure = self._candidates(equal, choices)
        for name in choices.keys() - sure:
            found = [row for row in found if self._comparable(row[name]) in choices[name]]
        for name in equal.keys() - sure:
            found = self._equal(found, name, equal[name])
        for name, test in tests:
            found = [row for row in found if test(row[name])]
        return found

    def _test(self, condition: Any) -> _Test:
        """Return the test of a condition or value."""
        if condition is None:
            return _is_null
        if isinstance(condition, infra.AnyOf):
            return functools.partial(_any_holds, [*map(self._test, condition._values)])
        if isinstance(condition, infra.Not):
            return functools.partial(_negated, self._test(*condition._values))
        if not isinstance(condition, infra._Condition):
            condition = infra.OneOf([condition])
        if isinstance(condition, infra.OneOf):
            return functools.partial(_known, self._is_chosen, [self._chosen(condition)])
        holds = type(condition)._holds
        bounds = [*map(infra._plain, condition._values)]
        is_part = isinstance(condition, infra.Contains | infra.StartsWith)
        if self._is_mysql and bounds[0].__class__ is str and not is_part:
            holds = functools.partial(_padded, holds)
        return functools.partial(_known, holds, bounds)

    def _is_chosen(self, value: Any, choices: Mapping[Any, None]) -> bool:
        return self._comparable(value) in choices

    def _chosen(self, condition: infra._Among | infra.OneOf) -> dict[Any, None]:
        """Return the values of an IN as the keys of a dict, without NULL, which equals nothing."""
        if isinstance(condition, infra._Among):
            other: Any = condition.repository
            values = [row[condition.column] for row in other._table._matching(condition.where)]
        else:
            values = [*map(infra._plain, condition._values)]
            if not values:
                raise infra.ValidationError("a tuple for IN should not be empty")
        return {self._comparable(value): None for value in values if value is not None}

    def _equal(self, found: list[Row], name: str, wanted: Any) -> list[Row]:
        if self._is_mysql:
            return [row for row in found if self._comparable(row[name]) == wanted]
        return [row for row in found if (value := row[name]) is wanted or value == wanted]

    def _candidates(
        self, equal: Mapping[str, Any], choices: Mapping[str, Iterable[Any]] = MappingProxyType({})
    ) -> tuple[list[Row], Collection[str]]:
        """Return rows that may match, and the columns whose values certainly match.

        These are rows from an index if there is one, else all that this thread can see.
        """
        database, rows = self._database, self._rows
        writer = self._turns.writer
        if writer is not None and writer is not database._blocks.get():
            return self._committed(), ()
        for columns, index in self._lookups:
            values = tuple(map(equal.get, columns))
            if None not in values:
                wanted: Iterable[Any] = [values]
            elif len(columns) == 1 and columns[0] in choices:
                wanted = zip(choices[columns[0]])
            else:
                continue
            if index is None:
                return [row for value in wanted if (row := rows.get(value)) is not None], columns
            return [row for value in wanted for row in index.get(value, {}).values()], columns
        return [*rows.values()], ()

    def _committed(self) -> list[Row]:
        """Return the rows without the changes of the writing transaction."""
        before: dict[_Key, Row | None] = {}
        for table, key, row, _ in self._turns.undo:
            if table is self:
                before.setdefault(key, row)
        unchanged = [row for key, row in self._rows.items() if key not in before]
        return unchanged + [row for row in before.values() if row is not None]

    def _sort_key(self, rows: Sequence[Row], column: str) -> Callable[[Row], Any]:
        """Return a sort key. MySQL pads texts with blanks, and NULL is its smallest value."""
        rule = self.rules.columns[column]
        width = 0
        if self._is_mysql and rule.kind is str:
            width = max((len(row[column] or "") for row in rows), default=0)

        def padded(row: Row) -> Any:
            return row[column].ljust(width)

        def number(row: Row) -> Any:  # the order of an id's text and of its bytes
            return row[column].int

        def decimal(row: Row) -> Any:  # NaN is the greatest number on Postgres
            return (True, 0) if row[column].is_nan() else (False, row[column])

        def duration(row: Row) -> Any:
            return _as_duration(row[column])

        special = {uuid.UUID: number, Decimal: decimal}
        if self._is_mysql:
            special[day_time] = duration
        order = padded if width else special.get(rule.kind, operator.itemgetter(column))

        def with_nulls(row: Row) -> Any:
            return (not self._is_mysql, 0) if row[column] is None else (self._is_mysql, order(row))

        return with_nulls if rule.null else order

    def _in_order(self, rows: list[Row], order_by: Sequence[str], end: int | None) -> list[Row]:
        """Return the rows in this order: all of them, or at least the first ``end``."""
        terms = [(name.lstrip("-"), name[0] == "-") for name in map(infra._plain, order_by)]
        self._check_columns([column for column, _ in terms])
        if terms and end and end < len(rows) // 4:
            rows = self._without_later_rows(rows, *terms[0], end)
        for column, descending in reversed(terms):
            rows.sort(key=self._sort_key(rows, column), reverse=descending)
        return rows

    def _beyond(self, rows: list[Row], order_by: Sequence[str], after: Sequence[Any]) -> list[Row]:
        """Return the rows behind these values of the columns, all of which have one direction."""
        columns = [name.lstrip("-") for name in map(infra._plain, order_by)]
        last = dict(zip(columns, after))
        orders = [self._sort_key([*rows, last], column) for column in columns]
        is_behind = operator.lt if order_by[0][0] == "-" else operator.gt
        place = [order(last) for order in orders]
        return [row for row in rows if is_behind([order(row) for order in orders], place)]

    def _without_later_rows(
        self, rows: list[Row], column: str, descending: bool, end: int
    ) -> list[Row]:
        """Return the rows of which ``column`` alone does not say that they are behind ``end``.

        So the first page of 50,000 rows takes a tenth of the time of sorting them.
        """
        values = [*map(self._sort_key(rows, column), rows)]
        first = heapq.nlargest(end, values) if descending else heapq.nsmallest(end, values)
        is_early = operator.ge if descending else operator.le
        return [row for row, value in zip(rows, values) if is_early(value, first[-1])]

    def _put(self, key: _Key, old: Row | None, row: Row | None) -> None:
        """Replace a row, checking nothing; None is no row.

        Ctrl-C may come between two steps. The call with ``old`` and ``row`` swapped then undoes the
        steps that were done. It is idempotent.
        """
        for columns, index in self._indexes.items():
            after = None if row is None else self._key(row, columns)
            if old is not None and (before := self._key(old, columns)) != after:
                found = index.get(before)
                if found is not None:
                    found.pop(key, None)
                    if not found:
                        index.pop(before, None)
            if row is not None and after is not None:
                index.setdefault(after, {})[key] = row
        if old is not None:
            self._rows.pop(key, None)
        if row is not None:
            self._rows[key] = row

    def _set(self, key: _Key, old: Row | None, row: Row | None) -> None:
        self._turns.undo.append((self, key, old, row))
        self._put(key, old, row)


class _ColumnValues:
    """Fits values to the columns of a table, by the rules of its engine."""

    def __init__(self, database: FakeDatabase, rules: Table) -> None:
        self._error = database._error
        self._is_mysql = database.engine == "mysql"
        self._table = rules.name
        columns = {**rules.columns}
        for name in rules.primary_key:
            columns[name] = replace(columns[name], null=False)
        self._nulls: Row = dict.fromkeys(columns)
        #: by name: the column, the class whose values mostly fit as they are, and its length
        self._columns: dict[str, tuple[Column, Any, float]] = {
            name: (
                column,
                _USUAL.get(column.kind) if column.scale is None else None,
                math.inf if column.length is None else column.length,
            )
            for name, column in columns.items()
        }

    def fit_row(self, row: Mapping[str, Any]) -> Row:
        """Return a row as the table stores it. Columns that are not there are NULL."""
        return self._fitted({**self._nulls, **row}, False)

    def fit_changes(self, changes: Mapping[str, Any]) -> Row:
        """Return new values of columns as the table stores them. Accepts NULL in each."""
        return self._fitted({**changes}, True)

    def refuse_nulls(self, changes: Row) -> None:
        """Raise ConflictError if a column that takes no NULL is set to NULL."""
        if None in changes.values():
            for name, (column, _, _) in self._columns.items():
                if not column.null and changes.get(name, ...) is None:
                    self._fit(name, column, None)

    def _fitted(self, row: Row, nulls: bool) -> Row:
        """Make the row's values those that the table stores, and return it."""
        columns = self._columns
        for name, value in row.items():
            column, usual, longest = columns[name]
            if value.__class__ is usual:
                if usual is str:
                    if value.isascii() and "\0" not in value and len(value) <= longest:
                        continue
                elif usual is not datetime or value.tzinfo is timezone.utc:
                    continue
            elif value is None and (nulls or column.null):
                continue
            row[name] = self._fit(name, column, value)
        return row

    def _fit(self, name: str, column: Column, value: Any) -> Any:
        """Return the value as the column stores it."""
        if value is None:
            if not column.null:
                raise self._error(infra._NOT_NULL, f"{self._table}_{name}_not_null")
            return None
        value = infra._plain(value)
        if not self._takes(column.kind, value):
            if not isinstance(value, tuple(infra._VALUE_TYPES)):
                raise infra.ValidationError(f"a value should not be of type {type(value).__name__}")
            fitted = None
        elif column.kind in (dict, list):
            fitted = value if isinstance(value, infra._Document) else infra._document(name, value)
        else:
            fit = self._FITS.get(column.kind)
            fitted = value if fit is None else fit(self, column, value)
        if fitted is None:
            raise self._error(infra._MISFIT, about=f'column "{name}"')
        return fitted

    def _takes(self, kind: type, value: Any) -> bool:
        """Return whether values of this type can be in such a column."""
        if kind in (dict, list):
            return isinstance(value, (dict, list, infra._Document))
        if self._is_mysql and kind in (day_time, timedelta) and value.__class__ is timedelta:
            return True  # MySQL's TIME
        return value.__class__ is kind

    # Each returns the value as the column stores it, or None if it does not fit.

    def _fit_text(self, column: Column, value: str) -> str | None:
        value = infra._check_value(value, "a value")
        if column.ascii and not value.isascii():
            return None
        if column.length is not None and len(value) > column.length:
            # SQL ignores trailing blanks beyond the length, MySQL all ASCII white space.
            if value[column.length :].strip(" \t\n\v\f\r" if self._is_mysql else " "):
                return None
            value = value[: column.length]
        return value

    def _fit_bytes(self, column: Column, value: bytes) -> bytes | None:
        return value if column.length is None or len(value) <= column.length else None

    def _fit_integer(self, column: Column, value: int) -> int | None:
        bound = 2 ** ((column.length or 32) - 1)
        return value if -bound <= value < bound else None

    def _fit_float(self, column: Column, value: float) -> float:
        return infra._check_finite(value) if self._is_mysql else value

    def _fit_decimal(self, column: Column, value: Decimal) -> Decimal | None:
        if self._is_mysql or not value.is_nan() or value.is_snan():  # Postgres takes NaN
            infra._check_finite(value)
        return infra._exact_decimal(value, column.precision, column.scale)

    def _fit_moment(self, column: Column, value: datetime) -> Any:
        return self._fit_time(column, infra._to_utc(value))

    def _fit_time(self, column: Column, value: Any) -> Any:
        rest = value.microseconds if isinstance(value, timedelta) else value.microsecond
        return None if rest % infra._fraction(column.scale) else value

    _FITS: ClassVar[Mapping[type, Callable[..., Any]]] = {
        str: _fit_text, bytes: _fit_bytes, int: _fit_integer, float: _fit_float,
        Decimal: _fit_decimal, datetime: _fit_moment, day_time: _fit_time, timedelta: _fit_time,
    }  # fmt: skip


class _ConstrainedRows(_IndexedRows):
    """Rows that are written under the constraints of their table."""

    def __init__(self, database: FakeDatabase, rules: Table) -> None:
        super().__init__(database, rules)
        self._values = _ColumnValues(database, rules)
        self._children: list[tuple[_ConstrainedRows, str, ForeignKey]] = []  # as they are checked
        #: columns that children refer to, beside the primary key
        self._targets: set[tuple[str, ...]] = set()
        self._parents = list(rules.foreign_keys.items())
        made = [name for name, column in rules.columns.items() if column.auto_increment]
        #: the column whose values the table makes, or "", and the next value; no rollback undoes it
        self._made = "".join(made)
        self._next_id = 1
        self._numbering = _NUMBERINGS[database.dialect]
        self._follows = bool(made) and self._numbering.follows
        self._defaults = {
            name: column.default
            for name, column in rules.columns.items()
            if column.default is not None
        }

    def _refer(self, order: _KeyOrder) -> None:
        """Register this table's foreign keys with the tables that they refer to."""
        for name, rule in self.rules.foreign_keys.items():
            parent = self._database.table(rule.table)
            parent.rules._check_names(name, rule.target)
            parent._children.append((self, name, rule))
            parent._targets |= {tuple(rule.target)} - {tuple(parent.rules.primary_key)}
            if order.children_by_name:
                parent._children.sort(key=operator.itemgetter(1))
        if order.parents_by_name:
            self._parents.sort(key=operator.itemgetter(0))

    def _add(self, row: Mapping[str, Any]) -> int | None:
        """Insert a row. Return its id if that was made."""
        self._check_columns(row)
        if self._defaults:
            row = {**self._defaults, **row}
        if self._made and self._lacks_id(row):
            return self._add_numbered(row)
        self._replace(None, None, self._values.fit_row(row))
        return None

    def _lacks_id(self, row: Mapping[str, Any]) -> bool:
        return row.get(self._made) in (None, 0) if self._follows else self._made not in row

    def _add_numbered(self, row: Mapping[str, Any]) -> int:
        name, numbering = self._made, self._numbering
        if numbering.before_checks:
            self._values.fit_changes(row)  # a value that does not fit uses up no id
        else:
            fitted = self._values.fit_row({**row, name: 1})
            self._run_checks(fitted)
            if not numbering.before_parents:
                self._check_parents({**fitted, name: None})
        made = self._draw()
        self._replace(None, None, self._values.fit_row({**row, name: made}))
        return made

    def _draw(self) -> int:
        last: int = 2 ** ((self.rules.columns[self._made].length or 32) - 1) - 1
        if self._next_id > last and not self._numbering.repeats:
            raise self._error(infra._NO_MORE_IDS, about=f'column "{self._made}"')
        made = min(self._next_id, last)
        self._next_id = made + 1
        return made

    def _follow(self, ids: Iterable[int]) -> None:
        """Make the next id greater than these."""
        self._next_id = max([self._next_id, *(id + 1 for id in ids)])

    def _replace(self, old_key: _Key | None, old: Row | None, row: Row) -> None:
        """Check all constraints, then replace the old row. The values of the new one fit."""
        if self.rules.checks:
            self._run_checks(row)
        key = self._free_key(old_key, row)
        if old is not None and old_key is not None:
            moves = key != old_key
            if moves or any(self._key(old, each) != self._key(row, each) for each in self._targets):
                self._refuse_orphans(old_key, old, row)
            if moves:
                self._set(old_key, old, None)
        self._set(key, old if key == old_key else None, row)
        if self._parents:
            if self._is_mysql:
                self._check_parents(row, old)
            else:  # Postgres checks at the end of the statement
                self._turns.unchecked.append((self, key))
        if self._follows:
            self._follow([row[self._made]])

    def _run_checks(self, row: Row) -> None:
        if self._is_mysql:
            row = {name: self._comparable(value) for name, value in row.items()}
        for name, check in self.rules.checks.items():
            passes = check(row)
            if passes is False:
                raise self._error(infra._CHECK, name)
            if passes is not True:
                infra._not_deferred(passes)

    def _free_key(self, old_key: _Key | None, row: Row) -> _Key:
        """Return the row's primary key. Raises ConflictError if a unique key is taken."""
        key = self._primary_key(row)
        if key != old_key and key in self._rows:
            raise self._error(infra._UNIQUE, f"{self.rules.name}_pkey")
        for name, columns, index in self._unique:
            taken = index.get(self._key(row, columns))  # no row if one is NULL
            if taken and (old_key not in taken or len(taken) > 1):
                raise self._error(infra._UNIQUE, name)
        return key

    def _refuse_orphans(self, old_key: _Key, old: Row, row: Row) -> None:
        for child, name, rule in self._children:
            before = self._key(old, rule.target)
            if before == self._key(row, rule.target):
                continue
            referring = child._referring(rule, before)
            if child is self and not self._is_mysql and self._key(row, rule.columns) != before:
                # Postgres checks at the end of the statement: the row refers to another key then.
                referring = [key for key in referring if key != old_key]
            if referring:
                raise self._error(infra._FOREIGN_KEY, name)

    def _find_parents(self, key: _Key) -> None:
        """Check the foreign keys of a row, if the row still exists."""
        row = self._rows.get(key)
        if row is not None:
            self._check_parents(row)

    def _check_parents(self, row: Row, old: Row | None = None) -> None:
        """Check the foreign keys that are not as in the old row."""
        for name, reference in self._parents:
            value = self._key(row, reference.columns)
            if old is not None and self._key(old, reference.columns) == value:
                continue  # its parent may be the row that is being deleted
            parent = self._database.table(reference.table)
            if value is None or (parent is self and self._key(row, reference.target) == value):
                continue  # it refers to nothing, or to itself
            wanted = dict(zip(reference.target, value))
            rows, _ = parent._candidates(wanted)
            if all(parent._key(each, reference.target) != value for each in rows):
                raise self._error(infra._FOREIGN_KEY, name)

    def _referring(self, rule: ForeignKey, value: _Key | None) -> list[_Key]:
        return [] if value is None else list(self._indexes[rule.columns].get(value, ()))

    def _remove(self, keys: Iterable[_Key], *, in_cascade: bool = False) -> int:
        """Delete the rows that no cascade has deleted yet, and return how many."""
        found = {key: self._rows[key] for key in keys if key in self._rows}
        for key in found:
            self._set(key, self._rows[key], None)
        for row in found.values():
            for child, name, rule in self._children:
                if rule.on_delete == "restrict" and child is self:
                    self._restrict_itself(row, name, rule, in_cascade)
                self._on_delete(row, child, name, rule)
        return len(found)

    def _restrict_itself(self, row: Row, name: str, rule: ForeignKey, in_cascade: bool) -> None:
        order = _KEY_ORDERS[self._database.dialect]
        if order.restricts_itself_in_cascades if in_cascade else order.restricts_itself:
            value = self._key(row, rule.target)
            if value is not None and self._key(row, rule.columns) == value:
                raise self._error(infra._FOREIGN_KEY, name)

    def _on_delete(self, row: Row, child: _ConstrainedRows, name: str, rule: ForeignKey) -> None:
        """Apply the foreign key's rule to the child's rows that refer to a deleted row."""
        referring = child._referring(rule, self._key(row, rule.target))
        if rule.on_delete == "restrict":
            if referring:
                raise self._error(infra._FOREIGN_KEY, name)
        elif rule.on_delete == "cascade":
            # MySQL finishes the cascade of one row before it handles the next one.
            portions = [[key] for key in referring] if self._is_mysql else [referring]
            for keys in portions:
                child._remove(keys, in_cascade=True)
        else:
            nulls = dict.fromkeys(rule.columns)
            for key in referring:
                before = child._rows[key]
                child._replace(key, before, child._values.fit_row({**before, **nulls}))


#: adds decimals without rounding
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)


def _sum(value: Any, amount: Any) -> Any:
    if value is None:
        return None
    return _EXACT.add(value, amount) if isinstance(amount, Decimal) else value + amount


class FakeTable(_ConstrainedRows):
    """A table of a FakeDatabase. Rows are dicts; the table copies them on the way in and out.

    ``where`` selects rows: a dict of column values (None: NULL), a function that takes the row, or
    None for all rows. A violated constraint raises ConflictError with the constraint's name. An
    unknown column, or a value that does not fit its column, raises DatabaseError.

    Made by a FakeDatabase: see its ``table``. The constructor raises ConfigurationError for another
    database or other rules.
    """

    def __init__(self, database: FakeDatabase, rules: Table) -> None:
        if not isinstance(database, FakeDatabase) or not isinstance(rules, Table):
            raise infra.ConfigurationError("FakeTable takes a FakeDatabase and a Table")
        super().__init__(database, rules)

    def insert(self, row: Mapping[str, Any]) -> None:
        """Insert a row. Columns that are not given have a default or an id made here, or are NULL.

        Raises ValidationError if ``row`` is not a dict.
        """
        infra._MAPPING.check("row", row)
        self._database._from_above(lambda: self._insert("insert", row))

    def find(self, **key: Any) -> Row | None:
        """Return the first row with these values, or None."""
        found = self.select(key, limit=1)
        return found[0] if found else None

    def select(
        self,
        where: Where = None,
        order_by: Sequence[str] = (),
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Row]:
        """Return rows in the order of these columns; "-" before a name means descending.

        NULL is the smallest value on MySQL, the greatest on Postgres. Raises ValidationError if
        ``limit`` or ``offset`` is below 0, or ``order_by`` is not an iterable of names.
        """
        order_by = infra._check_many("order_by", order_by)
        if not all(isinstance(each, str) for each in order_by):
            raise infra.ValidationError("order_by should be names of columns")
        for name, value in (("limit", 0 if limit is None else limit), ("offset", offset)):
            if type(value) is not int or value < 0:
                raise infra.ValidationError(f"{name} should be a whole number, 0 or more")

        def read(rows: list[Row]) -> list[Row]:
            return [*map(self._copy, rows)]

        return self._database._from_above(
            lambda: self._select("select", read, where, order_by, limit, offset)
        )

    def update(self, where: Where, changes: Changes) -> int:
        """Update the rows and return how many were found.

        Args:
            where: as above.
            changes: a dict of new values, or a function that takes a row and returns one. As in
                ``UPDATE … SET stock = stock - 1`` no other caller can come between: finding the
                rows, calling the function for each and storing the values are one statement.

        Raises ValidationError if ``changes`` is neither, or the function returns no dict.
        """
        if isinstance(changes, Mapping):
            return self._database._from_above(lambda: self._update("update", where, changes))
        if not callable(changes):
            raise infra.ValidationError("changes should be a dict, or a function that takes a row")
        infra._check_function("changes", changes, "a row")
        return self._database._from_above(lambda: self._update_each("update", where, changes))

    def delete(self, where: Where) -> int:
        """Delete the rows and return how many."""
        return self._database._from_above(lambda: self._delete("delete", where))

    # The same for a repository, with the name of its operation

    def _insert(self, operation: str, *rows: Mapping[str, Any]) -> int | None:
        if len(rows) == 1:
            (row,) = rows
            made = self._database._atomically(operation, lambda: self._add(row))
            return None if self._made in row else made
        self._insert_all(operation, rows)
        return None

    def _insert_all(
        self, operation: str, rows: Sequence[Mapping[str, Any]], *, ids_first: bool = False
    ) -> list[int | None]:
        """Return the ids that are made. ``ids_first``: Postgres makes all of them before a row."""

        def work() -> list[int | None]:
            if ids_first and self._made and not self._follows:
                ids = [self._draw() for _ in rows]
                for row, id in zip(rows, ids):
                    self._add({**row, self._made: id})
                return [*ids]
            first = self._next_id
            try:
                return [*map(self._add, rows)]
            finally:
                # MySQL takes the ids of all rows when it makes the first one.
                if self._follows and self._next_id > first and self._made not in rows[0]:
                    self._follow([first + len(rows) - 1])

        return self._database._atomically(operation, work)

    def _update(self, operation: str, where: Where, changes: Mapping[str, Any]) -> int:
        return self._database._atomically(operation, lambda: self._change(where, changes))

    def _change(self, where: Where, changes: Mapping[str, Any]) -> int:
        self._check_columns(changes)
        values, sums, plus = changes, {}, infra._Plus
        if plus in map(type, changes.values()):
            sums = {name: each.amount for name, each in changes.items() if type(each) is plus}
            values = {name: value for name, value in changes.items() if name not in sums}
        new: Row = {}
        if not self._is_mysql:  # Postgres checks the values before it searches for rows
            new = self._values.fit_changes(values)
        found = self._matching(where)
        if found and not self._is_mysql:
            self._values.refuse_nulls(new)
        for row in found:
            added = {name: _sum(row[name], amount) for name, amount in sums.items()}
            if self._is_mysql:
                new = self._values.fit_row({**row, **values, **added})
            elif added:
                new |= self._values.fit_changes(added)
            self._replace(self._primary_key(row), row, {**row, **new})
        return len(found)

    def _merge(
        self,
        operation: str,
        read: Callable[[list[Row]], list[Any]],
        where: Mapping[str, Any],
        row: Mapping[str, Any],
        changes: Mapping[str, Any],
    ) -> tuple[list[Any], int | None]:
        """Change the row that meets ``where``, and read it; or insert one, and return its id."""

        def work() -> tuple[list[Any], int | None]:
            if not self._is_mysql and self._matching(where):
                self._propose(row)
            if self._change(where, changes):
                return read(self._matching(where)), None
            return [], self._add(row)

        return self._database._atomically(operation, work)

    def _propose(self, row: Mapping[str, Any]) -> None:
        """Take an id for the row and check it, as Postgres does before it finds the key taken."""
        self._values.fit_changes(row)  # a value that does not fit uses up no id
        if self._made and self._made not in row:
            row = {**row, self._made: self._draw()}
        self._run_checks(self._values.fit_row({**self._defaults, **row}))

    def _update_each(
        self, operation: str, where: Where, changes: Callable[[Row], Mapping[str, Any]]
    ) -> int:
        def work() -> int:
            found = self._matching(where)
            # All are computed before the first is stored: the function sees the table as it was.
            computed = [self._changed_values(changes, row) for row in found]
            for row, new in zip(found, computed):
                self._replace(self._primary_key(row), row, {**row, **new})
            return len(found)

        return self._database._atomically(operation, work)

    def _changed_values(self, changes: Callable[[Row], Mapping[str, Any]], row: Row) -> Row:
        """Return the new values of a row as the table stores them."""
        result = infra._not_deferred(changes(self._copy(row)))
        new = infra._MAPPING.check("the result of changes", result)
        self._check_columns(new)
        if self._is_mysql:
            return self._values.fit_row({**row, **new})
        fitted = self._values.fit_changes(new)
        self._values.refuse_nulls(fitted)
        return fitted

    def _delete(self, operation: str, where: Where) -> int:
        def work() -> int:
            keys = [*map(self._primary_key, self._matching(where))]
            if self._is_mysql:  # MySQL deletes row by row and does not count rows a cascade removed
                return sum(self._remove([key]) for key in keys)
            return self._remove(keys)

        return self._database._atomically(operation, work)

    def _select(
        self,
        operation: str,
        read: Callable[[list[Row]], list[Any]],
        where: Where = None,
        order_by: Sequence[str] = (),
        limit: int | None = None,
        offset: int = 0,
        after: Sequence[Any] = (),
        lock: bool = False,
    ) -> list[Any]:
        """Return the result of ``read``, which takes the rows themselves, not copies.

        ``lock``: it takes the turn to write.
        """

        def work() -> list[Any]:
            rows = self._matching(where)
            if after:
                rows = self._beyond(rows, order_by, after)
            end = None if limit is None else offset + limit
            return read(self._in_order(rows, order_by, end)[offset:end])

        return self._database._atomically(operation, work, write=lock)

    def _count(self, operation: str, where: Where) -> int:
        return self._database._atomically(
            operation, lambda: len(self._matching(where)), write=False
        )


class _FakeRows(infra._TableRows):
    """A table of a ``FakeDatabase`` for data moves."""

    def __init__(self, database: FakeDatabase, table: str) -> None:
        self._database = database
        self._name = table

    @property
    def _table(self) -> FakeTable:
        return self._database.table(self._name)

    def shape(self) -> infra._TableShape:
        rules = self._table.rules
        nullable = frozenset(
            name
            for name, column in rules.columns.items()
            if column.null and name not in rules.primary_key
        )
        columns = {
            name: _column_type(column, self._database.engine)
            for name, column in rules.columns.items()
        }
        key = tuple(rules.primary_key)
        optional = nullable | {*self._table._defaults} | {self._table._made} & columns.keys()
        return infra._TableShape(columns, key, nullable=nullable, optional=optional)

    def count(self) -> int:
        return self._table._count("move", None)

    def page(self, names: Sequence[str], after: Sequence[Any] | None, limit: int) -> infra._Portion:
        table, key = self._table, self._table.rules.primary_key
        last = None if after is None else dict(zip(key, after))

        def read(rows: list[Row]) -> list[Row]:
            known = rows if last is None else [*rows, last]
            orders = [table._sort_key(known, name) for name in key]

            def place(row: Row) -> list[Any]:
                return [order(row) for order in orders]

            behind = rows if last is None else [row for row in rows if place(row) > place(last)]
            return [table._copy(row) for row in sorted(behind, key=place)[:limit]]

        found = self._database._from_above(lambda: table._select("move", read))
        rows, keys = ([self._values(row, some) for row in found] for some in (names, key))
        return infra._portion(rows, keys, limit)

    def _values(self, row: Row, names: Sequence[str]) -> tuple[Any, ...]:
        """Return the values of these columns as a server of the engine does."""
        values = map(row.__getitem__, names)
        return tuple(map(_as_duration, values) if self._table._is_mysql else values)

    def find(
        self, names: Sequence[str], keys: Sequence[tuple[Any, ...]]
    ) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        table, key = self._table, self._table.rules.primary_key

        def read(rows: list[Row]) -> list[Any]:
            by_key = {table._key(row, key): row for row in rows}
            found = ((each, by_key.get(table._key(dict(zip(key, each)), key))) for each in keys)
            return [(each, table._copy(row)) for each, row in found if row is not None]

        pairs = self._database._from_above(lambda: table._select("move", read))
        return {each: self._values(row, names) for each, row in pairs}

    def update(
        self, names: Sequence[str], rows: Sequence[tuple[tuple[Any, ...], Sequence[Any]]]
    ) -> None:
        table, key = self._table, self._table.rules.primary_key
        for each, values in rows:
            table._update("move", dict(zip(key, each)), dict(zip(names, values)))

    def pass_ids(self) -> None:
        table = self._table
        if table._made:
            ids = table._select("move", lambda rows: [row[table._made] for row in rows])
            self._database._atomically("move", lambda: table._follow(ids))


#: name, kind, columns, and of a foreign key: its table, columns and deletion rule
_CONSTRAINTS = {
    "mysql": "SELECT c.constraint_name, c.constraint_type, "
    "GROUP_CONCAT(column_name ORDER BY ordinal_position), MAX(k.referenced_table_name), "
    "GROUP_CONCAT(referenced_column_name ORDER BY ordinal_position), MAX(delete_rule) "
    "FROM information_schema.table_constraints c "
    "LEFT JOIN information_schema.key_column_usage k "
    "ON k.constraint_schema = c.constraint_schema AND k.table_name = c.table_name "
    "AND k.constraint_name = c.constraint_name "
    "LEFT JOIN information_schema.referential_constraints r "
    "ON r.constraint_schema = c.constraint_schema AND r.table_name = c.table_name "
    "AND r.constraint_name = c.constraint_name "
    "WHERE c.table_schema = COALESCE(%s, DATABASE()) AND c.table_name = %s "
    "GROUP BY c.constraint_name, c.constraint_type",
    # A unique index is no constraint there, but its rule is the same.
    "postgres": "WITH place AS (SELECT to_regclass(%s) AS here), rules AS ("
    "SELECT conname AS name, CASE contype WHEN 'p' THEN 'PRIMARY KEY' WHEN 'u' THEN 'UNIQUE' "
    "WHEN 'f' THEN 'FOREIGN KEY' WHEN 'x' THEN 'EXCLUDE' ELSE 'CHECK' END AS kind, conkey AS keys, "
    "confrelid AS target, confkey AS targets, CASE confdeltype WHEN 'c' THEN 'CASCADE' "
    "WHEN 'n' THEN 'SET NULL' WHEN 'd' THEN 'SET DEFAULT' ELSE 'RESTRICT' END AS rule "
    "FROM pg_constraint, place WHERE conrelid = here AND contype IN ('p', 'u', 'f', 'x', 'c') "
    "UNION ALL SELECT relname, CASE WHEN indpred IS NULL AND indexprs IS NULL THEN 'UNIQUE' "
    "ELSE 'UNIQUE with a condition or an expression' END, indkey::int2[], 0, NULL, '' "
    "FROM place JOIN pg_index ON indrelid = here JOIN pg_class c ON c.oid = indexrelid "
    "WHERE indisunique AND NOT EXISTS "
    "(SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x'))) "
    "SELECT name, kind, "
    "array_to_string(ARRAY(SELECT attname FROM unnest(keys) WITH ORDINALITY AS part (number, at) "
    "JOIN pg_attribute ON attrelid = here AND attnum = number ORDER BY at), ','), relname, "
    "array_to_string(ARRAY(SELECT attname FROM unnest(targets) WITH ORDINALITY AS part (number, at)"
    " JOIN pg_attribute ON attrelid = target AND attnum = number ORDER BY at), ','), rule "
    "FROM place CROSS JOIN rules LEFT JOIN pg_class c ON c.oid = target",
}
_COLLATIONS = {
    "mysql": "SELECT column_name, collation_name FROM information_schema.columns "
    "WHERE table_schema = COALESCE(%s, DATABASE()) AND table_name = %s",
    "postgres": "SELECT attname, collname FROM pg_attribute JOIN pg_collation c "
    "ON c.oid = attcollation WHERE attrelid = to_regclass(%s) AND attnum > 0",
}
#: those of Postgres; those of MySQL end with "_bin"
_BINARY_COLLATIONS = frozenset({"C", "POSIX", "ucs_basic", "C.UTF-8", "pg_c_utf8"})
_NO_SUCH_TABLE = (1146, "42P01")
#: the words for kinds of columns whose own name says too little
_KIND_WORDS = {"flag": "boolean", "moment": "datetime", "id": "UUID", "document": "JSON"}


#: the columns whose values the server makes, and the words for it
_MADE = {
    "mysql": "SELECT column_name, ' made by the server' FROM information_schema.columns "
    "WHERE extra LIKE '%%auto_increment%%' "
    "AND table_schema = COALESCE(%s, DATABASE()) AND table_name = %s",
    "postgres": "SELECT attname, CASE attidentity WHEN 'a' THEN ' always' ELSE '' END "
    "|| ' made by the server' FROM pg_attribute "
    "LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum "
    "WHERE attrelid = to_regclass(%s) AND attnum > 0 "
    "AND (attidentity <> '' OR pg_get_expr(adbin, adrelid) LIKE 'nextval(%%')",
}


def _in_words(column: infra._ColumnType, null: bool, engine: str) -> str:
    """Describe a column, without what makes no difference on the engine."""
    kind, size, scale = column.kind, column.size, column.scale
    if kind == "integer":
        size = size or 32
    elif kind not in ("text", "bytes", "decimal"):
        size = None
    if kind in infra._SCALED and scale is None:
        scale = 6
    sizes = ",".join(str(number) for number in (size, scale) if number is not None)
    notes = [
        (bool(sizes), f"({sizes})"),
        (column.octets is not None, f" of at most {column.octets} bytes"),
        (column.ascii and kind == "text" and engine == "mysql", " of ASCII"),
        (column.unsigned, " without a sign"),
        (bool(column.choices), " of a fixed list"),
        (True, " NULL" if null else " NOT NULL"),
    ]
    return _KIND_WORDS.get(kind, kind) + "".join(note for applies, note in notes if applies)


def _key_words(
    kind: str, columns: Iterable[str], table: str = "", target: Iterable[str] = (), rule: str = ""
) -> str:
    words = f"{kind} ({', '.join(columns)})"
    if not table:
        return words
    action = rule.upper().replace("NO ACTION", "RESTRICT")
    return f"{words} REFERENCES {table} ({', '.join(target)}) ON DELETE {action}"


def _last_part(name: str) -> str:
    """Return the name of a table without its schema."""
    return name.rpartition(".")[2]


def _fake_columns(table: Table, engine: str) -> dict[str, str]:
    columns = {}
    longest = infra._TABLE_SYNTAX[engine].longest
    for name, column in table.columns.items():
        holds = _column_type(column, engine)
        if holds.kind in infra._SIZED and (holds.size or 0) > longest.get(holds.kind, 0):
            holds = holds._replace(size=None)  # the engine has no type of that size
        made = " made by the server" if column.auto_increment else ""
        columns[name] = _in_words(holds, column.null, engine) + made
    return columns


def _fake_constraints(table: Table) -> dict[str, str]:
    constraints = {f"{_last_part(table.name)}_pkey": _key_words("PRIMARY KEY", table.primary_key)}
    for rule, names in table.unique.items():
        constraints[rule] = _key_words("UNIQUE", names)
    for rule, key in table.foreign_keys.items():
        parent = _last_part(key.table)
        constraints[rule] = _key_words(
            "FOREIGN KEY", key.columns, parent, key.target, key.on_delete
        )
    return constraints | dict.fromkeys(table.checks, "CHECK")


def _real_columns(table: Table, pool: infra.ConnectionPool) -> dict[str, str]:
    shape, columns = pool._rows_of(table.name).shape(), {}
    place = pool._dialect.catalogue.table_params(table.name)
    collations = dict(pool.fetch_all(_COLLATIONS[pool.engine], place))
    made = dict(pool.fetch_all(_MADE[pool.engine], place))
    for name, column in shape.columns.items():
        rule = table.columns.get(name)
        if column.kind == "long text":  # on MySQL it holds documents too
            is_document = rule is not None and rule.kind in (dict, list)
            column = column._replace(kind="document" if is_document else "text")
        words = _in_words(column, name in shape.nullable, pool.engine)
        collation = collations.get(name)
        is_binary = collation in _BINARY_COLLATIONS or str(collation).endswith("_bin")
        if column.kind in ("text", "id") and collation and not is_binary:
            words += f" COLLATE {collation}"
        columns[name] = words + made.get(name, "")
    return columns


def _real_constraints(table: Table, pool: infra.ConnectionPool, columns: Row) -> dict[str, str]:
    constraints = {}
    place = pool._dialect.catalogue.table_params(table.name)
    for name, kind, names, parent, target, rule in pool.fetch_all(_CONSTRAINTS[pool.engine], place):
        if kind == "CHECK":
            if name not in columns:  # MariaDB's check of a JSON column has the column's name
                constraints[name] = kind
        elif kind == "FOREIGN KEY":
            constraints[name] = _key_words(kind, names.split(","), parent, target.split(","), rule)
        else:
            own = f"{_last_part(table.name)}_pkey" if name == "PRIMARY" else name
            constraints[own] = _key_words(kind, names.split(","))
    return constraints


def compare(table: Any, pool: infra.ConnectionPool) -> list[str]:
    """Return the differences between a table's rules and the table on a server, one a sentence.

    It compares the columns with their types, sizes, NULL and collations, the keys, and the names of
    the checks. If the list is empty, the fake has the rules of the server.

    Args:
        table: a ``Table``, or the class of a repository.
        pool: a pool on the database that has the table.
    """
    rules = table if isinstance(table, Table) else Table.of(table)
    if not isinstance(pool, infra.ConnectionPool):
        raise infra.ConfigurationError("compare takes a ConnectionPool")
    try:
        columns = _real_columns(rules, pool)
    except infra.DatabaseError as error:
        if error.code not in _NO_SUCH_TABLE:
            raise
        return [f"there is no table {rules.name}"]
    return [
        *_differences(rules.name, _fake_columns(rules, pool.engine), columns),
        *_differences(
            rules.name, _fake_constraints(rules), _real_constraints(rules, pool, columns)
        ),
    ]


def _differences(table: str, rules: Mapping[str, str], found: Mapping[str, str]) -> Iterator[str]:
    for name, words in rules.items():
        if name not in found:
            yield f"{table} has no {name}, which should be {words}"
        elif found[name] != words:
            yield f"{table}: {name} should be {words}, and is {found[name]}"
    for name in sorted(found.keys() - rules.keys()):
        yield f"{table} has {name} too, which is {found[name]}"


# === repositories =================================================================================


class _TableByField:
    """A table whose columns have other names than the fields by which a repository knows them."""

    def __init__(self, table: FakeTable, names: Mapping[str, str]) -> None:
        self._table, self._names = table, names

    def _by_column(self, values: Mapping[str, Any]) -> Row:
        return {self._names.get(name, name): value for name, value in values.items()}

    def _by_field(self, row: Row) -> Row:
        named = {name: row[column] for name, column in self._names.items() if column in row}
        return {**row, **named}

    def _insert(self, operation: str, *rows: Mapping[str, Any]) -> int | None:
        return self._table._insert(operation, *map(self._by_column, rows))

    def _insert_all(
        self, operation: str, rows: Sequence[Mapping[str, Any]], *, ids_first: bool
    ) -> list[Any]:
        named = [*map(self._by_column, rows)]
        return self._table._insert_all(operation, named, ids_first=ids_first)

    def _select(
        self,
        operation: str,
        read: Callable[[list[Row]], list[Any]],
        where: Mapping[str, Any],
        order_by: Sequence[str],
        *bounds: Any,
    ) -> list[Any]:
        terms = [term.rpartition("-") for term in order_by]
        order_by = [sign + self._names.get(name, name) for _, sign, name in terms]
        return self._table._select(
            operation,
            lambda rows: read([*map(self._by_field, rows)]),
            self._by_column(where),
            order_by,
            *bounds,
        )

    def _merge(
        self,
        operation: str,
        read: Callable[[list[Row]], list[Any]],
        where: Mapping[str, Any],
        *values: Mapping[str, Any],
    ) -> Any:
        row, changes = map(self._by_column, values)
        return self._table._merge(
            operation,
            lambda rows: read([*map(self._by_field, rows)]),
            self._by_column(where),
            row,
            changes,
        )

    def _matching(self, where: Mapping[str, Any]) -> list[Row]:
        return [*map(self._by_field, self._table._matching(self._by_column(where)))]

    def _update(self, operation: str, where: Mapping[str, Any], changes: Mapping[str, Any]) -> int:
        return self._table._update(operation, self._by_column(where), self._by_column(changes))

    def _delete(self, operation: str, where: Mapping[str, Any]) -> int:
        return self._table._delete(operation, self._by_column(where))

    def _count(self, operation: str, where: Mapping[str, Any]) -> int:
        return self._table._count(operation, self._by_column(where))


class FakeRepository(infra.Repository[R]):
    """The storage of a repository on a ``FakeDatabase``.

    Mix in ``Faults`` first: ``class FakeNotes(fakes.Faults, fakes.FakeRepository[Note], Notes)``.

    The constructor takes the database, then the arguments of the repository. It raises
    ConfigurationError for another database, DatabaseError for one without the repository's table,
    and as :class:`infra.Repository` does.
    """

    database: FakeDatabase
    _service: str
    _below: Faults | None
    #: for each field ``elsewhere`` the method that returns its value for each row
    _others: ClassVar[Mapping[str, Callable[[Any, list[Row]], Iterable[Any]]]] = {}

    def __init__(self, database: FakeDatabase, *arguments: Any, **options: Any) -> None:
        if not isinstance(database, FakeDatabase):
            raise infra.ConfigurationError(f"{type(self).__name__} takes a FakeDatabase")
        super().__init__(database, *arguments, **options)
        self._service, self._below = database.engine, database
        table = database.table(self.table)
        self._check_columns = table._check_columns
        is_whole = table.rules.columns.keys() >= {*map(self._column, self._held)}
        self._reading = self._read if is_whole else self._read_known
        #: the field whose values the server would make, if the table does not have its column
        self._absent = "" if self._column(self._made) in table.rules.columns else self._made
        self._table = _TableByField(table, self.column_names) if self.column_names else table
        #: what makes a field's value of a row's, in this order
        self._row_readers: list[tuple[str, Callable[[Any], Any]]] = [
            (name, _copied) for name, held in self._held.items() if held.stored in (dict, list)
        ]
        self._row_readers += self._readers.items()

    def _insert(self, operation: str, *rows: Mapping[str, Any]) -> int | None:
        if self._absent:
            rows = tuple({**row, self._absent: None} for row in rows)
        return self._table._insert(operation, *rows)

    def _insert_all(self, operation: str, rows: Sequence[Mapping[str, Any]]) -> Sequence[int]:
        numbered = self._made != "" and self._made not in rows[0]
        if self._absent:
            rows = [{**row, self._absent: None} for row in rows]
        made: list[Any] = self._table._insert_all(operation, rows, ids_first=numbered)
        return made if numbered else []

    def _rows(
        self,
        operation: str,
        names: Sequence[str],
        where: Mapping[str, Any],
        order: Sequence[tuple[str, bool]] = (),
        limit: int | None = None,
        offset: int = 0,
        after: Sequence[Any] = (),
        *,
        lock: bool = False,
    ) -> list[tuple[Any, ...]]:
        order_by = [("-" if descending else "") + name for name, descending in order]
        read = functools.partial(self._reading, names)
        return self._table._select(operation, read, where, order_by, limit, offset, after, lock)

    def _read_known(self, names: Sequence[str], rows: list[Row]) -> list[tuple[Any, ...]]:
        """Read like ``_read``. Raises DatabaseError for a column that the table does not have."""
        self._check_columns([self._column(name) for name in names if name not in self._others])
        return self._read(names, rows)

    def _read(self, names: Sequence[str], rows: list[Row]) -> list[tuple[Any, ...]]:
        """Return the values of these fields for each row. Those ``elsewhere`` come last."""
        columns = [name for name in names if name not in self._others]
        found = [tuple(map(row.__getitem__, columns)) for row in rows]
        readers = [
            (columns.index(name), read) for name, read in self._row_readers if name in columns
        ]
        if readers:
            found = infra._converted(found, readers)
        others = [self._others[name](self, rows) for name in names[len(columns) :]]
        return [(*row, *more) for row, *more in zip(found, *others)] if others else found

    def _change(self, operation: str, where: Mapping[str, Any], changes: Mapping[str, Any]) -> int:
        self._check_folded(changes)
        return self._table._update(operation, where, changes)

    def _merge(
        self, operation: str, rule: str, where: infra._ByColumn, row: Row, changes: infra._ByColumn
    ) -> tuple[Any, ...] | None:
        self._check_folded(changes)
        read = functools.partial(self._reading, self._shown)
        rows, made = self._table._merge(operation, read, where, row, changes)
        if made is not None:
            row[self._made] = made
        return rows[0] if rows else None

    def _remove(self, operation: str, where: Mapping[str, Any]) -> int:
        return self._table._delete(operation, where)

    def _number(self, operation: str, where: Mapping[str, Any]) -> int:
        return self._table._count(operation, where)

    def _apply_fault(self, error: BaseException) -> None:
        self.database._apply_fault(error)


FakeDatabase._backend = FakeRepository
FakeDatabase._bases_on = (Faults, FakeRepository)


def _with_schema(engine: str, clock: infra.Clock | None) -> FakeDatabase:
    """Return a new database with the tables of ``schema.sql``."""
    return FakeDatabase(engine, MYSQL_TABLES, clock=clock)


class FakePhoneUserRepository(Faults, FakeRepository[infra.PhoneUser], infra.PhoneUserRepository):
    """Twin of ``MySQLPhoneUserRepository`` and ``PostgresPhoneUserRepository``.

    Args:
        database: a FakeDatabase with the table; by default its own.
        hash_key: as that of the twin; by default a key for tests.
        clock: for ids and times; by default that of the database.

    Raises as the constructors of its twin and of :class:`FakeRepository` do.
    """

    def __init__(
        self,
        database: FakeDatabase | None = None,
        hash_key: str | bytes | None = _TEST_KEY,
        *,
        clock: infra.Clock | None = None,
    ) -> None:
        super().__init__(database or _with_schema("mysql", clock), hash_key, clock=clock)


class _OwnDatabase:
    """Makes its own database unless one is given. Related repositories share a database."""

    _engine = "postgres"

    def __init__(
        self, database: FakeDatabase | None = None, *, clock: infra.Clock | None = None
    ) -> None:
        database = database or _with_schema(self._engine, clock)
        super().__init__(database, clock=clock)  # type: ignore[call-arg]


class FakeTokenRepository(
    Faults, _OwnDatabase, FakeRepository[infra.RefreshToken], infra.TokenRepository
):
    """Twin of ``MySQLTokenRepository`` and ``PostgresTokenRepository``.

    ``FakeTokenRepository(database=None, *, clock=None)``: give it the FakeDatabase of the users; by
    default it makes its own. ``clock`` is by default that of the database. Raises as
    :class:`FakeRepository` does.
    """

    _engine = "mysql"


class FakeUserRepository(  # pyright: ignore[reportIncompatibleMethodOverride]
    Faults, _OwnDatabase, FakeRepository[infra.User], infra.UserRepository
):
    """Twin of ``MySQLUserRepository`` and ``PostgresUserRepository``.

    ``FakeUserRepository(database=None, *, clock=None)``, as :class:`FakeBenchmarkRepository`.
    """


class FakeOrganizationRepository(  # pyright: ignore[reportIncompatibleMethodOverride]
    Faults, _OwnDatabase, FakeRepository[infra.Organization], infra.OrganizationRepository
):
    """Twin of ``MySQLOrganizationRepository`` and ``PostgresOrganizationRepository``.

    ``FakeOrganizationRepository(database=None, *, clock=None)``, as
    :class:`FakeBenchmarkRepository`.
    """


class FakeBenchmarkRepository(  # pyright: ignore[reportIncompatibleMethodOverride]
    Faults, _OwnDatabase, FakeRepository[infra.Benchmark], infra.BenchmarkRepository
):
    """Twin of ``MySQLBenchmarkRepository`` and ``PostgresBenchmarkRepository``.

    ``FakeBenchmarkRepository(database=None, *, clock=None)``: give repositories that belong
    together the same FakeDatabase; by default each makes its own. ``clock`` is by default that of
    the database. Raises as :class:`FakeRepository` does.
    """

    def _tags_of(self, rows: list[Row]) -> Iterator[tuple[str, ...]]:
        tags: dict[uuid.UUID, list[str]] = {row["id"]: [] for row in rows}
        if tags:
            wanted = {"benchmark_id": infra.OneOf([*tags])}
            for row in self.database.table("benchmark_tags")._matching(wanted):
                tags[row["benchmark_id"]].append(row["tag"])
        return (tuple(sorted(names)) for names in tags.values())

    _others: ClassVar = {"tags": _tags_of}


class FakeSubmissionRepository(
    Faults, _OwnDatabase, FakeRepository[infra.Submission], infra.SubmissionRepository
):
    """Twin of ``MySQLSubmissionRepository`` and ``PostgresSubmissionRepository``.

    ``FakeSubmissionRepository(database=None, *, clock=None)``, as :class:`FakeBenchmarkRepository`.
    """

    def _ranked(self, where: Mapping[str, Any], limit: int) -> list[tuple[Any, ...]]:
        rank = functools.partial(self._rank, where, limit)
        found: list[tuple[Any, ...]] = self.database._atomically("leaderboard", rank, write=False)
        return found

    def _rank(self, where: Mapping[str, Any], limit: int) -> list[tuple[Any, ...]]:
        rows = [
            row
            for row in self._table._matching(where)
            if row["visibility"] == "public" and row["aggregate_score"] is not None
        ]
        table = self.database.table(self.table)
        rows = table._in_order(rows, ["-aggregate_score", "created_at", "id"], limit)[:limit]
        user_ids = {row["user_id"] for row in rows}
        organization_ids = {row["organization_id"] for row in rows}
        user = self._names("users", user_ids, "username", "display_name")
        organization = self._names("organizations", organization_ids, "id", "name")
        organization[None] = (None, None)
        return [
            (*_ranked_columns(row), *user[row["user_id"]], *organization[row["organization_id"]])
            for row in rows
        ]

    def _names(self, table: str, ids: set[Any], *columns: str) -> dict[Any, tuple[Any, ...]]:
        """Return the values of these columns by id."""
        found = self.database.table(table)._candidates({}, {"id": ids})[0]
        return {row["id"]: tuple(map(row.get, columns)) for row in found}


_ranked_columns = operator.itemgetter(
    "id",
    "benchmark_version_id",
    "model",
    "aggregate_score",
    "verification_level",
    "created_at",
    "user_id",
)


# === redis ========================================================================================


class FakeRedisServer:
    """The data behind fake clients. Two clients on one server stand for two processes.

    Keys expire by ``clock``, by default the system's. Raises ConfigurationError for another object.
    """

    def __init__(self, clock: infra.Clock | None = None) -> None:
        self.clock = infra._clock(clock)
        self._now = self.clock.monotonic
        self._lock = threading.RLock()
        #: by key: the value (a counter's as int), and the time of its expiry
        self._data: dict[str, tuple[str | int, float | None]] = {}
        self._listeners: list[_FakeListener] = []
        self._publishing = threading.local()

    def drop_connections(self) -> None:
        """Let listeners lose their connection: they call ``on_reconnect``."""
        with self._lock:
            listeners = list(self._listeners)
            for listener in listeners:
                listener._queue.append(None)
        for listener in listeners:
            listener._drain()

    def _entry(self, key: str) -> tuple[str | int, float | None] | None:
        """Return the key's entry. Removes one that has expired."""
        entry = self._data.get(key)
        if entry is not None and entry[1] is not None and entry[1] <= self._now():
            with self._lock:
                if self._data.get(key) is entry:
                    del self._data[key]
            return None
        return entry

    def _expiry(self, ttl: int | None) -> float | None:
        # Less a ten-millionth of a second: sums of floats may fall short of the exact time.
        return None if ttl is None else self._now() + ttl / 1000 - 1e-7

    def _publish(self, channel: str, message: str) -> int:
        """Queue the message for each subscription; return their number.

        Delivers it too, unless this thread delivers already: then that goes on first.
        """
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


class FakeRedisClient(_CloseableFaults, infra.KeyValueClient):
    """Twin of ``RedisClient``. Expiry follows ``clock``.

    ``publish`` delivers messages in its own thread. One that a handler publishes is delivered after
    that handler has returned.
    """

    _service = "redis"
    _wraps = True
    _late_expiry = 0.0
    _simpler: ClassVar[Mapping[str, str]] = {
        "set_with_expiry": "set",
        "delete_many": "delete",
        "unlink_many": "delete",
    }
    _called = _simpler

    def __init__(
        self,
        server: FakeRedisServer | None = None,
        *,
        clock: infra.Clock | None = None,
        observer: infra._Observing | None = None,
    ) -> None:
        """Use a server, which holds the data and the clock; by default a new one with ``clock``.

        Clients that share a ``server`` share both, and do not use ``clock``. ``observer`` is as
        that of RedisClient; calls take 0 seconds. Raises ConfigurationError for an invalid
        argument.
        """
        if not isinstance(server, FakeRedisServer | None):
            raise infra.ConfigurationError("server should be a FakeRedisServer")
        self.server = server or FakeRedisServer(clock)
        self._clock = self.server.clock
        self._observer = infra._observers(observer)
        infra._watch(self._observer, "redis", self)
        self._listeners: dict[_FakeListener, None] = {}  # a set, in order

    def close(self) -> None:
        self._shut()
        for listener in list(self._listeners):
            listener.close()

    def _get(self, key: str) -> str | None:
        entry = self.server._data.get(key)
        if entry is not None and entry[1] is not None:
            entry = self.server._entry(key)
        return None if entry is None else str(entry[0])

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

    def _delete(self, command: str, keys: Sequence[str]) -> int:
        server = self.server
        with server._lock:
            return sum(
                server._entry(key) is not None and server._data.pop(key, None) is not None
                for key in keys
            )

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
        if entry[1] is None:
            return -1
        return max(0, math.ceil((entry[1] - self.server._now()) * 1000))

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
                total = amount + (value if isinstance(value, int) else _integer(value))
                if not _LOWEST <= total <= _HIGHEST:
                    raise _no_number()
            server._data[key] = (total, expiry)
            return total

    def _scan(self, glob: str) -> Iterator[str]:
        matches = _glob(glob)
        names = [key for key in list(self.server._data) if matches(key)]
        return (key for key in names if self.server._entry(key) is not None)

    def _publish(self, channel: str, message: str) -> int:
        return self.server._publish(channel, message)

    def listen(
        self, on_message: infra.MessageHandler, on_reconnect: Callable[[], None] | None = None
    ) -> infra.Listener:
        for listener in list(self._listeners):
            if listener._closed:
                self._listeners.pop(listener, None)
        listener = _FakeListener(self, on_message, on_reconnect)
        listener._observer = self._observer
        self._listeners[listener] = None
        if self._closed:  # meanwhile
            listener.close()
        return listener

    def health_check(self) -> infra.Health:
        return infra.Health("redis", "FakeRedisClient", 0.0)

    def stats(self) -> infra.PoolStats:
        return infra.PoolStats(None, 0, 0, 0, 0)


class _FakeListener(infra.Listener):
    def __init__(
        self,
        client: FakeRedisClient,
        on_message: infra.MessageHandler,
        on_reconnect: Callable[[], None] | None,
    ) -> None:
        super().__init__(on_message, on_reconnect)
        self._client = client
        self._server = client.server
        self._closed = False
        self._channels: dict[str, None] = {}  # a set
        self._globs: dict[str, Callable[[str], bool]] = {}
        #: messages; None: the connection was lost
        self._queue: deque[tuple[str, str | None, str] | None] = deque()
        #: a thread delivers; others queue messages for it, and do not wait for a handler
        self._busy = False
        with self._server._lock:
            self._server._listeners.append(self)

    def _apply(self, command: str, names: Sequence[str]) -> None:
        with self._server._lock:
            if self._closed:
                raise infra._closed("the listener", service="redis")
            if self._client.down:
                raise infra.TimeoutError("FakeRedisClient is down on purpose", service="redis")
            if command == "SUBSCRIBE":
                self._channels.update(dict.fromkeys(names))
            elif command == "PSUBSCRIBE":
                self._globs.update((name, _glob(name)) for name in names)
            else:
                is_glob = command == "PUNSUBSCRIBE"
                known: dict[str, Any] = self._globs if is_glob else self._channels
                for name in names:
                    if not self._is_needed(is_glob, name):
                        known.pop(name, None)

    def _matches(self, channel: str) -> Iterator[str | None]:
        if channel in self._channels:
            yield None
        yield from (glob for glob, matches in self._globs.items() if matches(channel))

    def _drain(self) -> None:
        delivers = False
        try:
            with self._server._lock:
                if self._busy:
                    return
                delivers = self._busy = True
            while True:
                with self._server._lock:
                    if not self._queue or self._closed:
                        self._busy = delivers = False
                        return
                    item = self._queue.popleft()
                deliver = functools.partial(self._deliver, *item) if item else None
                _as_another_thread(deliver or self._announce_reconnect)
        except BaseException:  # Ctrl-C, or a test that ends in its handler
            if delivers:
                self._busy = False
            raise

    def close(self) -> None:
        with self._server._lock:
            self._closed = True
            with contextlib.suppress(ValueError):  # it is closed already
                self._server._listeners.remove(self)


_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


def _no_number() -> infra.CacheError:
    words = "redis holds no whole number of 64 bits under that key"
    return infra.CacheError(words, service="redis", operation="increment")


def _integer(text: str) -> int:
    """Return an integer as Redis reads it: of 64 bits, in the form that ``str`` makes."""
    try:
        value = int(text)
    except ValueError:
        value = _HIGHEST + 1
    if not _LOWEST <= value <= _HIGHEST or str(value) != text:
        raise _no_number()
    return value


_BYTES = frozenset(range(256))


def _glob(glob: str) -> Callable[[str], bool]:
    """Return a test of names by Redis's glob. It matches bytes: "?" is half an "é"."""
    pattern, at = glob.encode(), 0
    classes: dict[bytes, frozenset[int]] = {}  # a long glob repeats them
    parts: list[_GlobPart] = []
    tokens: list[bytes | frozenset[int]] = []
    while at < len(pattern):
        start, byte = at, pattern[at : at + 1]
        at += 1
        if byte == b"*":
            if tokens or not parts:
                parts.append(_GlobPart(tokens))
                tokens = []
        elif byte == b"?":
            tokens.append(_BYTES)
        elif byte == b"[":
            found, at = _byte_class(pattern, at)
            tokens.append(classes.setdefault(pattern[start:at], found))
        else:
            if byte == b"\\" and at < len(pattern):
                at += 1
            tokens.append(pattern[at - 1 : at])
    parts.append(_GlobPart(tokens))
    return functools.partial(_match, parts)


def _byte_class(pattern: bytes, at: int) -> tuple[frozenset[int], int]:
    """Return the class that opens before ``at``, and its end: that of the pattern if not closed."""
    negated = pattern[at : at + 1] == b"^"
    at += negated
    found: set[int] = set()
    while at < len(pattern) and pattern[at] != 0x5D:  # ]
        if pattern[at] == 0x5C and at + 1 < len(pattern):  # backslash
            at += 1
            found.add(pattern[at])
        elif pattern[at + 1 : at + 2] == b"-" and at + 2 < len(pattern):
            # Redis compares C chars, which on x86-64 are signed: bytes from 128 on come first.
            low, high = sorted((byte ^ 128) - 128 for byte in (pattern[at], pattern[at + 2]))
            found.update(byte & 255 for byte in range(low, high + 1))
            at += 2
        else:
            found.add(pattern[at])
        at += 1
    return (_BYTES - found if negated else frozenset(found)), at + 1


class _GlobPart:
    """The tokens between two stars of a glob: bytes, and classes of bytes."""

    def __init__(self, tokens: Sequence[bytes | frozenset[int]]) -> None:
        self.length = len(tokens)
        self._pattern = re.compile(b"".join(map(_regular, tokens)), re.DOTALL)

    def fits(self, name: bytes, at: int) -> bool:
        return self._pattern.match(name, at) is not None

    def find(self, name: bytes, at: int, end: int) -> int:
        """Return the first position from ``at`` on where it fits before ``end``; -1: none."""
        found = self._pattern.search(name, at, end)
        return -1 if found is None else found.start()


def _regular(token: bytes | frozenset[int]) -> bytes:
    """Return the regular expression for a byte, or for one byte of a class."""
    if isinstance(token, bytes):
        return re.escape(token)
    others = _BYTES - token
    if not others:
        return b"."
    is_long = len(token) > len(others)
    listed = b"".join(b"\\x%02x" % byte for byte in (others if is_long else token))
    return b"[%b%b]" % (b"^" if is_long else b"", listed or b"^\\x00-\\xff")


def _match(parts: Sequence[_GlobPart], name: str) -> bool:
    """Match the first part at the start, the last at the end, each other as early as possible.

    So nothing is tried twice, and the time is never exponential.
    """
    text, first, last = name.encode(), parts[0], parts[-1]
    at, end = first.length, len(text) - last.length
    if len(parts) == 1:
        return at == len(text) and first.fits(text, 0)
    if at > end or not first.fits(text, 0) or not last.fits(text, end):
        return False
    for part in itertools.islice(parts, 1, len(parts) - 1):
        at = part.find(text, at, end)
        if at < 0:
            return False
        at += part.length
    return True


# === cache ========================================================================================


class FakeCacheProvider(Faults, infra.RedisCacheProvider):
    """``RedisCacheProvider`` itself over a fake client, its own unless one is given.

    It uses that client's clock.
    """

    _service = "cache"
    _reports = False
    #: while True, calls raise CacheError, or a cache that fails open is empty
    down: bool = False  # pyright: ignore[reportIncompatibleMethodOverride]

    def __init__(
        self,
        client: infra.KeyValueClient | None = None,
        prefix: str = "",
        *,
        clock: infra.Clock | None = None,
        **named: Any,
    ) -> None:
        """Take the arguments of ``RedisCacheProvider``; ``client`` is optional."""
        client = client or FakeRedisClient(clock=clock)
        super().__init__(client, prefix, clock=clock, **named)

    def _ask(self, operation: str, call: Callable[..., Any], *arguments: Any) -> Any:
        return super()._ask(operation, self._no_answer if self.down else call, *arguments)

    def _no_answer(self, *_: Any) -> Any:
        raise infra.ConnectionError("FakeCacheProvider is down on purpose", service="redis")


# === verification =================================================================================


class FakeVerificationCache(Faults, infra.VerificationCache):
    """``VerificationCache`` itself over a fake client, with a key for tests."""

    _service = "verification"
    _reports = False

    def __init__(
        self,
        client: infra.KeyValueClient | None = None,
        key: str | bytes | None = _TEST_KEY,
        *limits: Any,
        **named: Any,
    ) -> None:
        """Take the arguments of ``VerificationCache``; the first two are optional."""
        super().__init__(client or FakeRedisClient(), key, *limits, **named)


# === storage ======================================================================================


@dataclass
class _Object:
    """A stored object. Its ETag is computed on first use, because hashing is most of its cost."""

    data: bytes
    content_type: str
    metadata: Mapping[str, str]
    at: datetime
    part_size: int  # 0: not stored in parts

    @property
    def last_modified(self) -> datetime:
        return self.at.replace(microsecond=0)

    @functools.cached_property
    def etag(self) -> str:
        if not self.part_size:
            return infra._md5(self.data).hex()
        parts = infra._blocks(self.data, self.part_size)
        return infra._etag_of_parts([*map(infra._md5, parts)])


class _FakeReader(infra._ObjectReader):
    def __init__(self, provider: FakeStorageProvider, operation: str, data: bytes) -> None:
        self._provider = provider
        self._operation = operation
        self._file = io.BytesIO(data)

    def take(self, size: int) -> bytes:
        self._provider._check_reachable(self._operation)
        return self._file.read(size)

    def _release(self) -> None:
        self._file.close()


class FakeStorageProvider(_CloseableFaults, infra.StorageProvider):
    """Twin of ``S3StorageProvider``. It starts without buckets.

    ``fetch`` takes presigned URLs, which expire by ``clock``.

    Attributes:
        denied: pairs of bucket and key; deleting one is refused with the code "AccessDenied".
    """

    _service = "storage"
    _wraps = True

    def __init__(
        self,
        buckets: dict[str, dict[str, Any]] | None = None,
        *,
        part_size: int = 8 << 20,
        copy_part_size: int = 128 << 20,
        keeps_folders: bool = False,
        clock: infra.Clock | None = None,
        observer: infra._Observing | None = None,
    ) -> None:
        """Keep objects in ``buckets``, by default a new dict.

        Args:
            buckets: fakes that get the same dict share their objects. Its content is private.
            part_size, copy_part_size: the bytes of a part of an upload or a copy, 5 MiB to 5 GiB.
            keeps_folders: ``delete_batch`` removes the folders that it empties, as for a store that
                keeps them.
            clock: for times and the expiry of URLs; by default the system's.
            observer: as that of S3StorageProvider; there is a Call for each method, of 0 seconds.

        Raises ConfigurationError for an invalid argument.
        """
        super().__init__(part_size, copy_part_size)
        self._keeps_folders = infra._FLAG.require("keeps_folders", keeps_folders)
        if not isinstance(buckets, dict | None):
            raise infra.ConfigurationError("buckets should be a dict")
        self.denied: set[tuple[str, str]] = set()
        self._buckets: dict[str, dict[str, _Object]] = {} if buckets is None else buckets
        self._clock = infra._clock(clock)
        self._observer = infra._observers(observer)

    def close(self) -> None:
        self._shut()

    def fetch(
        self, url: str, method: str = "GET", data: bytes = b"", content_type: str | None = None
    ) -> bytes:
        """Do what an HTTP client does with a presigned URL; return the body of the answer.

        Raises StorageError if the URL was changed, is for another method, or has expired.
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise infra.ValidationError("data should be bytes")
        url, method = infra._plain(infra._check_text("url", url)), infra._plain(method)
        content_type = infra._check_content_type(content_type)
        try:
            parts = urllib.parse.urlsplit(url)
        except ValueError:
            parts = urllib.parse.urlsplit("")
        pairs = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
        query = dict(pairs)
        bucket, key = parts.netloc.removesuffix(_FAKE_HOST), urllib.parse.unquote(parts.path[1:])
        signature = query.pop("X-Amz-Signature", "")
        is_as_made = parts.scheme == "https" and parts.geturl() == url
        is_as_made = is_as_made and "#" not in url and len(pairs) == len(query) + 1  # the signature
        expected = _signature(parts.netloc, parts.path, query)
        if not is_as_made or query.get("method") != method or signature != expected:
            raise self._refused("fetch", "SignatureDoesNotMatch")
        signed = datetime.strptime(query["X-Amz-Date"], _AMZ_DATE).replace(tzinfo=timezone.utc)
        lifetime = timedelta(seconds=int(query["X-Amz-Expires"]))
        if self._clock.now() >= infra._later(signed, lifetime):
            raise self._refused("fetch", "AccessDenied")
        place = {"Bucket": bucket, "Key": key}
        if method == "PUT":
            self._put(place, bytes(data), {"ContentType": content_type, "Metadata": {}})
        elif method == "DELETE":
            self._delete("delete", place)
        else:
            found = self._get(place)
            return found if method == "GET" else b""
        return b""

    fetch = _failing("fetch", fetch)

    def _refused(self, operation: str, code: str) -> infra.StorageError:
        return infra.StorageError(
            f"storage refused the request (HTTP 403, {code})",
            code=code,
            service="storage",
            operation=operation,
        )

    def _bucket(self, operation: str, bucket: str) -> dict[str, _Object]:
        return self._existing(self._buckets, bucket, "bucket", operation)

    def _object(self, operation: str, place: infra._Place) -> _Object:
        objects = self._bucket(operation, place["Bucket"])
        return self._existing(objects, place["Key"], "object", operation)

    def _existing(self, found: Mapping[str, T], name: str, resource: str, operation: str) -> T:
        held = found.get(name)
        if held is not None:
            return held
        code = "NoSuchBucket" if resource == "bucket" else "NoSuchKey"
        raise infra.NotFoundError(
            f"storage has no such {resource} (HTTP 404, {code})",
            resource=resource,
            service="storage",
            operation=operation,
        )

    def _put(
        self, place: infra._Place, data: bytes, headers: dict[str, Any], part_size: int = 0
    ) -> None:
        objects, content_type = self._bucket("upload", place["Bucket"]), headers["ContentType"]
        objects[place["Key"]] = _Object(
            data, content_type, headers["Metadata"], self._clock.now(), part_size
        )

    def _put_parts(
        self, place: infra._Place, parts: Iterator[bytes], headers: dict[str, Any]
    ) -> None:
        self._bucket("upload", place["Bucket"])  # before the parts are read
        self._put(place, b"".join(parts), headers, self._part_size)

    def _get(self, place: infra._Place) -> bytes:
        return self._object("download", place).data

    def _reader(self, operation: str, place: infra._Place) -> infra._ObjectReader:
        return _FakeReader(self, operation, self._object(operation, place).data)

    def _presign(self, place: infra._Place, seconds: int, method: str) -> str:
        host, path = place["Bucket"] + _FAKE_HOST, "/" + urllib.parse.quote(place["Key"])
        signed = self._clock.now().strftime(_AMZ_DATE)
        query = {
            "X-Amz-Algorithm": "fake",
            "X-Amz-Date": signed,
            "X-Amz-Expires": str(seconds),
            "method": method,
        }
        query["X-Amz-Signature"] = _signature(host, path, query)
        return f"https://{host}{path}?{urllib.parse.urlencode(query)}"

    def _head(self, operation: str, place: infra._Place) -> infra.ObjectMetadata | None:
        found = self._buckets.get(place["Bucket"], {}).get(place["Key"])
        if found is None:
            return None
        return infra.ObjectMetadata(
            len(found.data),
            found.content_type,
            found.last_modified,
            found.etag,
            dict(found.metadata),
        )

    def _list(self, bucket: str, prefix: str, limit: int, token: str | None) -> infra._Page:
        objects = self._bucket("list_objects", bucket)
        # Python sorts by code points, which is the order of the UTF-8 bytes.
        keys = sorted(key for key in list(objects) if key.startswith(prefix))
        start = 0 if token is None else bisect.bisect(keys, token)
        found = [(key, objects.get(key)) for key in keys[start : start + limit]]
        more = found[-1][0] if start + limit < len(keys) else None
        return [
            infra.ObjectSummary(key, len(stored.data), stored.etag, stored.last_modified)
            for key, stored in found
            if stored
        ], more

    def _delete(self, operation: str, place: infra._Place) -> None:
        bucket, key = place["Bucket"], place["Key"]
        objects = self._bucket(operation, bucket)
        if (bucket, key) in self.denied:
            raise self._refused(operation, "AccessDenied")
        objects.pop(key, None)

    def _delete_many(self, bucket: str, keys: Sequence[str]) -> dict[str, str]:
        objects = self._bucket("delete_batch", bucket)
        refused = {key: "AccessDenied" for key in keys if (bucket, key) in self.denied}
        for key in keys:
            if key not in refused:
                objects.pop(key, None)
                if self._keeps_folders:
                    self._remove_empty_folders(bucket, key)
        return refused

    def _remove_empty_folders(self, bucket: str, key: str) -> None:
        objects = self._buckets[bucket]
        for end in range(len(key) - 1, 0, -1):
            folder = key[:end]
            found = objects.get(folder) if folder.endswith("/") else None
            below = (other for other in list(objects) if other.startswith(folder))
            is_empty = found is not None and not found.data and {*below} == {folder}
            if is_empty and (bucket, folder) not in self.denied:
                objects.pop(folder, None)

    def _copy(self, source: infra._Place, target: infra._Place, in_parts: bool) -> None:
        found, part_size = self._object("copy", source), self._copy_part_size if in_parts else 0
        copied = replace(found, at=self._clock.now(), part_size=part_size)
        self._bucket("copy", target["Bucket"])[target["Key"]] = copied

    def _create_bucket(self, bucket: str) -> None:
        self._buckets.setdefault(bucket, {})

    def health_check(self) -> infra.Health:
        return infra.Health("storage", "FakeStorageProvider", 0.0)


_FAKE_HOST = ".s3.fake.invalid"
_AMZ_DATE = "%Y%m%dT%H%M%SZ"


def _signature(host: str, path: str, query: Mapping[str, str]) -> str:
    return hmac.new(
        _TEST_KEY.encode(), repr((host, path, sorted(query.items()))).encode(), "sha256"
    ).hexdigest()


# === messaging ====================================================================================


class FakeEventBus(_CloseableFaults, infra.RedisEventBus):
    """``RedisEventBus`` itself, by default over a ``FakeRedisClient`` of its own.

    Handlers run in the publisher's thread after ``publish`` has done its work. They run in an empty
    context, so outside of transactions that the thread has open.
    """

    _service = "redis"
    _reports = False
    _simpler: ClassVar[Mapping[str, str]] = {"subscribe_many": "subscribe"}

    def __init__(
        self,
        client: infra.KeyValueClient | None = None,
        on_reconnect: Callable[[], None] | None = None,
        prefix: str = "",
        *,
        clock: infra.Clock | None = None,
        traceparent: Callable[[], str | None] | None = None,
    ) -> None:
        """Take the arguments of ``RedisEventBus``; ``client`` is optional."""
        super().__init__(
            client or FakeRedisClient(), on_reconnect, prefix, clock=clock, traceparent=traceparent
        )


class _FakeConsumer(infra.Consumer):
    """A consumer without threads."""

    _stream: FakeEventStream

    def join(self, timeout: float | None = None) -> None:
        self._stream.deliver()

    def close(self) -> None:
        self._ending.set()
        self._stream._consumers.pop(self, None)

    def _start(self, workers: int) -> None:
        pass

    def _run(self) -> bool:
        """Handle one event; return whether there was one."""
        event = self._stream._next(self._task, None, take=not self._ending.is_set)
        if event is not None:
            self._handle(event)
            self._stream._next(self._task, event, take=False)
        return event is not None


@dataclass
class _StreamedEvent:
    payload: str
    group: str | None  # None: it is for all groups
    at: float  # by the clock's monotonic seconds


@dataclass
class _FakeGroup:
    position: int  # the number of the last event that was taken
    work: dict[int, float] = field(default_factory=dict)  # when it may be taken again
    tries: dict[int, tuple[int, int]] = field(default_factory=dict)  # how often taken and failed
    dead: dict[str, infra.DeadLetter] = field(default_factory=dict)


@dataclass
class _FakeChannel:
    last: int = 0
    events: dict[int, _StreamedEvent] = field(default_factory=dict)
    groups: dict[str, _FakeGroup] = field(default_factory=dict)
    later: list[tuple[float, int, str]] = field(default_factory=list)

    def add(self, payload: str, now: float, group: str | None = None) -> None:
        self.last += 1
        self.events[self.last] = _StreamedEvent(payload, group, now)

    def add_due(self, now: float) -> None:
        """Add the delayed events whose time has come."""
        while self.later and self.later[0][0] <= now:
            self.add(heapq.heappop(self.later)[2], now)

    def waiting(self, name: str) -> list[int]:
        """Return the numbers of the events that the group has never taken."""
        after = self.groups[name].position
        numbers = (number for number in self.events if number > after)
        return [number for number in numbers if self.events[number].group in (None, name)]


class FakeEventStream(_CloseableFaults, infra.EventStream):
    """An event stream in memory, without threads: ``deliver`` runs the handlers.

    Handlers run in an empty context, so outside of transactions that the thread has open. Time is
    the clock's: advance it for backoff, delays and visibility.

    Args:
        backend: "redis", "nats" or "rabbitmq": it has the capabilities of that backend.
        clock: by default a new FakeClock.
        observer: as that of Infrastructure.
    """

    _wraps = True
    _called: ClassVar[Mapping[str, str]] = {"append_many": "append", "drop_dead": "retry_dead"}
    _consumer_class = _FakeConsumer
    _unfailing = Faults._unfailing | {"deliver"}

    def __init__(
        self,
        backend: str = "redis",
        *,
        clock: infra.Clock | None = None,
        observer: infra._Observing | None = None,
    ) -> None:
        kinds: dict[str, type[infra.EventStream]] = {
            "redis": infra.RedisEventStream,
            "nats": infra.NatsEventStream,
            "rabbitmq": infra.RabbitMQEventStream,
        }
        backend = infra._check_choice("backend", backend, *kinds)
        self.capabilities = kinds[backend].capabilities
        self._channels: dict[str, _FakeChannel] = {}
        self._lock = threading.RLock()  # not held while a handler runs
        self._open(backend, infra._clock(clock, FakeClock()), infra._observers(observer))

    def deliver(self) -> int:
        """Handle all that is due, also what the handlers append; return the number of events."""
        count = 0
        while not (self._down or self._closed):
            consumers: list[Any] = [*self._consumers]
            runs = [contextvars.Context().run(each._run) for each in consumers]
            if not any(runs):
                break
            count += sum(runs)
        return count

    def health_check(self) -> infra.Health:
        return infra.Health(self._service, "fake", 0.0)

    def close(self) -> None:
        super().close()
        self._shut()

    @contextlib.contextmanager
    def _held(self, name: str) -> Iterator[_FakeChannel]:
        with self._lock:
            channel = self._channels.setdefault(name, _FakeChannel())
            channel.add_due(self._clock.monotonic())
            yield channel

    def _declare(self, channel: str, group: str, past: bool, task: infra._GroupTask | None) -> None:
        with self._held(channel) as held:
            held.groups.setdefault(group, _FakeGroup(0 if past else held.last))

    def _append(self, channel: str, written: Sequence[tuple[str, str]], delay: float) -> None:
        now = self._clock.monotonic()
        with self._held(channel) as held:
            if not (held.groups or delay or "unheard" in self.capabilities):
                raise infra.MessagingError(infra._UNHEARD)
            for _, text in written:
                if delay:
                    heapq.heappush(held.later, (now + delay, len(held.later), text))
                else:
                    held.add(text, now)

    def _next(
        self, task: infra._GroupTask, event: infra._Delivery | None, *, take: bool
    ) -> infra._Delivery | None:
        with self._held(task.channel) as held:
            group = held.groups[task.group]
            if event is not None:
                self._settle(task, held, group, event)
            number = self._due(task, held, group) if take else None
            if number is None:
                return None
            takes, failures = group.tries.get(number, (0, 0))
            group.tries[number] = takes + 1, failures
            group.work[number] = self._clock.monotonic() + task.visibility
            ref, payload = (number, group.tries[number]), held.events[number].payload.encode()
            return infra._Delivery(ref, payload, failures, takes - failures)

    def _due(self, task: infra._GroupTask, held: _FakeChannel, group: _FakeGroup) -> int | None:
        now = self._clock.monotonic()
        due = [number for number, until in group.work.items() if until <= now]
        if due:
            return min(due, key=lambda number: (group.work[number], number))
        if task.ordered and group.work:
            return None
        while group.position < held.last:
            group.position += 1
            event = held.events.get(group.position)
            if event is not None and event.group in (None, task.group):
                return group.position
        return None

    def _settle(
        self,
        task: infra._GroupTask,
        held: _FakeChannel,
        group: _FakeGroup,
        event: infra._Delivery,
    ) -> None:
        number, seen = event.ref
        if event.error and group.tries.get(number) != seen:
            return  # another consumer has it meanwhile
        if event.pause is not None:
            group.work[number] = self._clock.monotonic() + event.pause
            group.tries[number] = seen[0], event.failures
            return
        if event.error:
            id, payload = str(number), held.events[number].payload
            notes = self._notes(event)
            group.dead[id] = self._letter(task.channel, id, notes, payload)
        group.work.pop(number, None)
        group.tries.pop(number, None)

    def _dead(self, channel: str, group: str, limit: int | None) -> list[infra.DeadLetter]:
        with self._held(channel) as held:
            found = held.groups.get(group)
            return [*found.dead.values()][:limit] if found else []

    def _bring_back(self, channel: str, group: str, ids: Sequence[str], again: bool) -> int:
        with self._held(channel) as held:
            dead = held.groups[group].dead if group in held.groups else {}
            found = [dead.pop(id) for id in dict.fromkeys(ids) if id in dead]
            for letter in found if again else ():
                held.add(letter.message.payload, self._clock.monotonic(), group)
            return len(found)

    def _read(self, channel: str) -> Iterator[infra.Message]:
        with self._held(channel) as held:
            events = [event for event in held.events.values() if event.group is None]
        for event in events:
            yield infra.Message(channel, None, event.payload)

    def _trim(self, channel: str, older: float) -> int:
        with self._held(channel) as held:
            before = self._clock.monotonic() - older
            first = [
                min([*held.waiting(name), *group.work], default=held.last + 1)
                for name, group in held.groups.items()
            ]
            until = min(first, default=0)
            old = [
                number
                for number, event in held.events.items()
                if number < until and event.at <= before
            ]
            for number in old:
                del held.events[number]
            return len(old)

    def _pending(self, channel: str, group: str) -> int | None:
        with self._held(channel) as held:
            found = held.groups.get(group)
            return len(found.work) + len(held.waiting(group)) if found else None


# === sms ==========================================================================================


@dataclass(frozen=True)
class SentSms:
    """A sent message. ``code`` is set if it was a verification code. The repr hides both."""

    id: str
    phone: str
    message: str
    code: str | None

    def __repr__(self) -> str:
        return f"SentSms(id={self.id!r}, phone={infra.mask_phone(self.phone)!r})"


class FakeSmsService(_CloseableFaults, infra.SmsService):
    """Keeps messages in ``outbox``, in the order of sending."""

    provider_name = "fake"
    _service = "sms"
    _wraps = True
    _simpler: ClassVar[Mapping[str, str]] = {"send_verification_code": "send_sms"}

    def __init__(self, *, observer: infra._Observing | None = None) -> None:
        """``observer`` is as that of TwilioSmsService; calls take 0 seconds."""
        self.outbox: list[SentSms] = []
        self._observer = infra._observers(observer)

    def _send(self, phone: str, message: str, code: str | None) -> str:
        sent = SentSms(f"fake-{infra.new_id()}", phone, message, code)
        self.outbox.append(sent)
        return sent.id

    def close(self) -> None:
        self._shut()


# === infrastructure ===============================================================================


_Bundle = TypeVar("_Bundle", bound="FakeInfrastructure")
#: what a fake bundle does not build: a test would talk to a server
_REAL = (
    infra.ConnectionPool,
    infra.RedisClient,
    infra.S3StorageProvider,
    infra.SnsSmsService,
    infra.TwilioSmsService,
)


class _NotOnBundles(infra._FakeOnlyAttribute):
    """An attribute ``down`` that bundles of your own refuse too: it would do nothing there."""

    def __set__(self, instance: object, value: object) -> None:
        raise self._refused(type(instance))


class FakeInfrastructure(infra.Infrastructure):
    """The bundle on fakes. Two bundles share nothing.

    The fake of a bundle of your own names this class first::

        class FakeServices(fakes.FakeInfrastructure, Services): ...

    It has the services of ``Services``. Override those that call another server: a service that
    builds a ``ConnectionPool``, ``RedisClient``, ``S3StorageProvider`` or an SMS service of a
    provider raises ConfigurationError. Those on ``exchange``, ``redis`` and so on work as they are.

    The end of a ``with`` block raises AssertionError if a fault of ``fail_next`` was not used. See
    :class:`Faults`.

    Args:
        clock: by default a new FakeClock.
        tables: tables of your own, besides those of ``schema.sql`` and of the attribute ``tables``:
            a ``Table``, or the class of a repository. Each database has them.
        engine: "postgres", "mysql" or "mariadb": ``database``, ``accounts`` and ``exchange`` are
            one database of this engine. By default ``accounts`` is a fake of MySQL, and
            ``exchange`` one of Postgres, as with two databases.
        interleave: as that of FakeDatabase.
        observer: as that of Infrastructure.

    Raises ValidationError if ``tables`` is not an iterable, and ConfigurationError for any other
    invalid argument, and if another bundle stands before this class among the bases.
    """

    if not TYPE_CHECKING:
        down = _NotOnBundles()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for base in cls.__mro__[: cls.__mro__.index(FakeInfrastructure)]:
            if issubclass(base, infra.Infrastructure) and not issubclass(base, FakeInfrastructure):
                raise infra.ConfigurationError(
                    f"{cls.__name__} should name FakeInfrastructure before {base.__name__}"
                )

    def __init__(
        self,
        clock: FakeClock | None = None,
        *,
        tables: Iterable[Table | type[Any]] = (),
        engine: str | None = None,
        interleave: bool = False,
        observer: infra._Observing | None = None,
    ) -> None:
        self._fake_clock = FakeClock() if clock is None else clock
        if not isinstance(self._fake_clock, FakeClock):
            raise infra.ConfigurationError("clock should be a FakeClock")
        if engine is not None:
            engine = infra._check_choice("engine", engine, *_KEY_ORDERS)
        self._engine, self._interleave = engine, interleave
        own = [
            *infra._check_many("tables", self.tables),
            *infra._check_many("tables", tables),
        ]
        self._own_tables = [each if isinstance(each, Table) else Table.of(each) for each in own]
        self.tables = [each for each in own if not isinstance(each, Table)]
        super().__init__(infra.Config(), clock=self._fake_clock, observer=observer)
        for name, part in vars(FakeInfrastructure).items():
            if isinstance(part, infra.provided) and getattr(type(self), name) is part:
                getattr(self, name)  # now: a test may look at a fake after close()

    @property
    def clock(self) -> FakeClock:
        """The clock of all fakes; ``advance`` moves it."""
        return self._fake_clock

    def _new_service(self, part: infra.provided[Any]) -> Any:
        made = super()._new_service(part)
        if isinstance(made, _REAL) and not self._is_own(part):
            made.close()
            raise infra.ConfigurationError(
                f"{type(self).__name__} should override {part._name} with a fake: "
                f"it is a {type(made).__name__}"
            )
        return made

    def _is_own(self, part: infra.provided[Any]) -> bool:
        """Return whether a fake bundle's class has the service, not that of the real side."""
        fakes = [each for each in type(self).__mro__ if issubclass(each, FakeInfrastructure)]
        return any(part is each for kind in fakes for each in vars(kind).values())

    @property
    def _engines(self) -> tuple[str, str]:
        return self._engine or "mysql", self._engine or "postgres"

    def _open_database(self, engine: str) -> FakeDatabase:
        found = {each.name: each for each in (*MYSQL_TABLES, *self._own_tables)}
        options: Any = {"interleave": self._interleave, "observer": self.observer}
        return FakeDatabase(engine, found.values(), clock=self.clock, **options)

    if TYPE_CHECKING:  # the inherited ones call the method above

        @infra.provided
        def database(self) -> FakeDatabase: ...
        @infra.provided
        def accounts(self) -> FakeDatabase: ...
        @infra.provided
        def exchange(self) -> FakeDatabase: ...

    @infra.provided
    def phone_users(self) -> FakePhoneUserRepository:
        """Users with a phone number, in ``accounts``."""
        return FakePhoneUserRepository(self.accounts, clock=self.clock)

    @infra.provided
    def tokens(self) -> FakeTokenRepository:
        """Refresh tokens of phone users, in ``accounts``."""
        return FakeTokenRepository(self.accounts, clock=self.clock)

    @infra.provided
    def users(self) -> FakeUserRepository:
        """Users with an email address, in ``exchange``."""
        return FakeUserRepository(self.exchange, clock=self.clock)

    @infra.provided
    def organizations(self) -> FakeOrganizationRepository:
        """Organizations and their members, in ``exchange``."""
        return FakeOrganizationRepository(self.exchange, clock=self.clock)

    @infra.provided
    def benchmarks(self) -> FakeBenchmarkRepository:
        """Benchmarks and their versions, in ``exchange``."""
        return FakeBenchmarkRepository(self.exchange, clock=self.clock)

    @infra.provided
    def submissions(self) -> FakeSubmissionRepository:
        """Submissions and leaderboards, in ``exchange``."""
        return FakeSubmissionRepository(self.exchange, clock=self.clock)

    @infra.provided
    def redis(self) -> FakeRedisClient:
        """The Redis that ``cache``, ``verification`` and ``bus`` share."""
        return FakeRedisClient(clock=self.clock, observer=self.observer)

    @infra.provided
    def cache(self) -> FakeCacheProvider:
        """The cache in ``redis``, with locks and rate limits."""
        return FakeCacheProvider(self.redis, self.config.cache.prefix, clock=self.clock)

    @infra.provided
    def verification(self) -> FakeVerificationCache:
        """Verification codes for phone numbers, in ``redis``."""
        return FakeVerificationCache(self.redis)

    @infra.provided
    def storage(self) -> FakeStorageProvider:
        """The object storage."""
        return FakeStorageProvider(clock=self.clock, observer=self.observer)

    def _stores(self) -> Mapping[str, infra.StorageProvider]:
        other = FakeStorageProvider(clock=self.clock, observer=self.observer)
        return {"eu": self.storage, "us": other}

    @infra.provided
    def bus(self) -> FakeEventBus:
        """The event bus on ``redis``."""
        prefix = self.config.cache.channel_prefix
        return FakeEventBus(self.redis, prefix=prefix, clock=self.clock)

    @infra.provided
    def stream(self) -> FakeEventStream:
        """The event stream."""
        return FakeEventStream(clock=self.clock, observer=self.observer)

    @infra.provided
    def sms(self) -> FakeSmsService:
        """The SMS service; its ``outbox`` holds the messages."""
        return FakeSmsService(observer=self.observer)

    def __exit__(self, *exc_info: object) -> None:
        """Close the fakes. Raises AssertionError for faults that were not used."""
        self.close()
        if exc_info[0] is None:
            _refuse_unused(self._built_by_name().values())

    @classmethod
    def from_env(
        cls: type[_Bundle],
        env: Mapping[str, str] | None = None,
        *,
        observer: infra._Observing | None = None,
        clock: infra.Clock | None = None,
    ) -> _Bundle:
        """Return a new bundle. Fakes ignore the environment."""
        given: dict[str, Any] = {"observer": observer, "clock": clock}
        return cls(**{name: value for name, value in given.items() if value is not None})
