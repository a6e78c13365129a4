# SPDX-License-Identifier: Apache-2.0
# Home: the project infra-twins. In a copy keep this line and __version__: they say what you have.
"""Dict-backed twins of the classes in ``infra``: same interfaces, same behaviour, no server.

Validation and everything else that is not storage runs in the shared base classes of ``infra``.
The contract tests run against both. The fakes are for tests only: nothing here survives the
process. Every fake can be made to fail, see :class:`Faults`. Fakes share nothing unless they are
given the same state object.

Contents, in the order of ``infra`` (search for the banner ``# === name``):

=================  ================================================================================
clock              FakeClock
faults             Faults, the mixin behind ``fail_next`` and ``down``
database           Column, ForeignKey, Table, MYSQL_TABLES, POSTGRES_TABLES, FakeDatabase, FakeTable
repositories       FakeRepository, FakePhoneUserRepository, FakeTokenRepository, FakeUserRepository,
                   FakeOrganizationRepository, FakeBenchmarkRepository, FakeSubmissionRepository
redis              FakeRedisServer, FakeRedisClient
cache              FakeCacheProvider
verification       FakeVerificationCache
storage            FakeStorageProvider
messaging          FakeEventBus
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
import hashlib
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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta, timezone
from datetime import time as day_time
from decimal import Decimal
from types import GeneratorType, MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn, TypeVar

if (
    TYPE_CHECKING
):  # a type checker takes the plain import: it refuses the relative one in a file of no package
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
    "SentSms",
    "Table",
]


R = TypeVar("R")  # a record
T = TypeVar("T")
_TEST_KEY = "a key that only tests may use".ljust(32)


# === clock ========================================================================================


class FakeClock(infra.Clock):
    """A clock that stands still until it is moved. Starts at 2026-01-01T00:00:00Z."""

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=timezone.utc)) -> None:
        if not isinstance(now, datetime) or now.tzinfo is None:
            raise infra.ValidationError("now should be an aware datetime")
        self._start = infra._aware(now, "now")
        end = datetime.max.replace(tzinfo=timezone.utc)
        self._longest = (end - self._start) // timedelta(microseconds=1)
        self._elapsed = 0  # nanoseconds: ten times 0.1 s is a second
        self._lock = threading.RLock()  # a signal handler may move the clock, too

    def now(self) -> datetime:
        return self._start + timedelta(microseconds=self._elapsed // 1000)

    def monotonic(self) -> float:
        return self._elapsed / 1e9

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Lets that many seconds pass (0 or more, up to the end of the year 9999)."""
        if not infra._is_number(seconds, 0, 1e300):
            raise infra.ValidationError(
                "seconds should be a number, 0 or more: a clock does not go back"
            )
        step = round(seconds * 1e9)  # no call in the middle of what follows
        with self._lock:
            if (self._elapsed + step) // 1000 > self._longest:
                raise infra.ValidationError("seconds should not go beyond the year 9999")
            self._elapsed += step


# === faults =======================================================================================


@dataclass
class _Fault:
    method: str
    error: BaseException
    times: int
    after_apply: bool
    owner: Faults

    def fresh_error(self) -> BaseException:
        """Return the error to raise: each raise has a traceback of its own."""
        try:
            return copy.copy(self.error)
        except Exception:  # what cannot be copied
            return self.error.with_traceback(None)


#: The fakes of whose faults a call that is under way has met one: it meets no further one of "*".
_suffering: contextvars.ContextVar[tuple[Faults, ...]] = contextvars.ContextVar(
    "fakes-suffering", default=()
)


class Faults:
    """Makes a fake fail on demand. What is raised is final, as the caller of the real class would see it after retries.

    Mix it in before the class whose interface the fake has: it works for that class's public methods,
    except those that ask nothing of the service (``close``, ``is_available``, ``stats``). A fault comes
    before the arguments are looked at.

    A fault of "set" also reaches ``set_with_expiry``, one of "delete" also ``delete_many`` and
    ``unlink_many``, one of "send_sms" also ``send_verification_code``, one of "subscribe" also
    ``subscribe_many``: each does the same, and what stands on a fake may call either.

    ``down`` comes before the faults of ``fail_next``. A call that it refuses uses up none of them:
    they wait until the service is back. After ``close`` they are never raised.

    One call uses up one fault of "*", also where it makes further calls of the same fake.

    A fault inside a block of a ``FakeDatabase`` has the effect that its error has on a server, even
    if the caller catches it. After a ConnectionError or a TimeoutError the connection is gone, and
    the block cannot go on. (A TimeoutError that is not ``retryable`` is one of ``query_timeout``:
    the server has stopped the statement, and MySQL goes on.) The same holds after any DatabaseError
    on Postgres, and on MySQL after a retryable one: a deadlock, or too long a wait for a lock.
    What is no error of this library, Ctrl-C for one, has interrupted a statement: it ends the
    connection too.
    """

    _service = "fake"
    _below: Faults | None = None  # the fake that this one stands on, whose faults of "*" it meets
    _unfailing = frozenset({"close", "is_available", "stats"})
    #: by method: the one that does the same more simply, and whose faults it meets too
    _simpler: ClassVar[Mapping[str, str]] = {}
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
        self,
        method: str,
        error: BaseException | type[BaseException],
        times: int = 1,
        after_apply: bool = False,
    ) -> None:
        """The next ``times`` calls of ``method`` ("*": of any) raise ``error``. With ``after_apply`` they do their work
        first, as when a reply is lost."""
        known, method = self._methods(), infra._plain(method)
        if method != "*" and method not in known:
            raise infra.ValidationError(
                f"there is no method {method!r} to fail; there are: {', '.join(known)}"
            )
        if type(times) is not int or times < 1:
            raise infra.ValidationError("times should be a whole number of at least 1")
        if isinstance(error, type) and issubclass(error, infra.InfrastructureError):
            error = error("failed on purpose")
        if not isinstance(error, BaseException):
            raise infra.ValidationError(
                "error should be an exception, or a class of this library's errors"
            )
        infra._check_flag("after_apply", after_apply)
        with self._fault_lock:
            self._faults = [*self._faults, _Fault(method, error, times, after_apply, self)]
            self._armed = True

    @property
    def down(self) -> bool:
        """While True every call raises ConnectionError."""
        return self._down

    @down.setter
    def down(self, value: bool) -> None:
        with self._fault_lock:
            self._down = value
            self._arm()

    def _arm(self) -> None:
        """Have calls look for faults if there is something to find, and else not."""
        if not (self._down or self._closed or self._faults):
            self._armed = False
        # Looked at again: a signal handler may just have closed the fake.
        if self._down or self._closed or self._faults:
            self._armed = True

    def _shut(self) -> None:
        """For the ``close`` of a fake that has one: later calls raise ConnectionError."""
        with self._fault_lock:
            self._closed = self._armed = True

    @classmethod
    def _methods(cls) -> list[str]:
        ports = [base for base in cls.__mro__[1:] if base not in (Faults, object)]
        names = {
            name for port in ports for name, value in vars(port).items() if inspect.isroutine(value)
        }
        names.update(name for name in dir(cls) if hasattr(getattr(cls, name, None), "_can_fail"))
        return sorted(name for name in names - cls._unfailing if name[0] != "_")

    def _take_fault(self, name: str) -> _Fault | None:
        self._check_reachable(name)
        fault, below = self._next_fault(name), self._below
        if fault is None and below is not None and below._armed:
            fault = below._fault_from_above()
        return fault

    def _fault_from_above(self) -> _Fault | None:
        """Return the fault of "*" that a call of what stands on this fake meets."""
        return None if self._down or self._closed else self._next_fault()

    def _next_fault(self, name: str = "") -> _Fault | None:
        names = {name} if any(each is self for each in _suffering.get()) else {"*", name}
        names.add(self._simpler.get(name, name))
        with self._fault_lock:
            fault = next((each for each in self._faults if each.method in names), None)
            if fault:
                spent = {id(fault)} if fault.times == 1 else ()
                self._faults = [each for each in self._faults if id(each) not in spent]
                fault.times -= 1
                self._arm()
            return fault

    def _suffer(self, fault: _Fault, work: Callable[[], Any]) -> NoReturn:
        """Raises the fault's error, after the work where it says so."""
        if fault.after_apply:
            token = _suffering.set((*_suffering.get(), fault.owner))
            try:
                work()
            finally:
                _suffering.reset(token)
        error = fault.fresh_error()
        self._note_fault(error)
        raise error

    def _lasting(self, operation: str, items: Iterator[T]) -> Iterator[T]:
        """The items, for as long as the fake is neither down nor closed."""
        for each in items:
            self._look(operation)
            yield each

    def _look(self, operation: str) -> None:
        """What goes on after its call, a list or a reader, ends when the fake is closed or down."""
        if self._closed or self._down:
            self._check_reachable(operation)

    def _check_reachable(self, name: str) -> None:
        if self._down or self._closed:
            state = "is closed" if self._closed else "is down on purpose"
            error = infra.ConnectionError(
                f"{type(self).__name__} {state}",
                service=self._service,
                operation=name,
                retryable=not self._closed,
            )
            self._note_fault(error)
            raise error

    def _note_fault(self, error: BaseException) -> None:
        """Called with each error raised on purpose: a repository's may end the open block."""
        note = getattr(super(), "_note_fault", None)
        if note is not None:
            note(error)


def _failing(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, looking for a fault first."""

    @functools.wraps(method)
    def call(self: Faults, *args: Any, **kwargs: Any) -> Any:
        below, fault = self._below, None
        if self._armed or (below is not None and below._armed):
            fault = self._take_fault(name)
        if fault is not None:
            self._suffer(fault, functools.partial(method, self, *args, **kwargs))
        result = method(self, *args, **kwargs)
        if result.__class__ is GeneratorType:
            return self._lasting(name, result)
        return result

    call._can_fail = True  # type: ignore[attr-defined]
    return call


# === database =====================================================================================


Row = dict[str, Any]
Where = Mapping[str, Any] | Callable[[Row], bool] | None


@dataclass(frozen=True)
class Column:
    """A column's rules: the Python type of its values, and whether it may be NULL.

    ``length``: the most characters of a text, the most bytes, or the bits of an int, 32 or 64.
    ``precision`` and ``scale``: the digits of a Decimal, and those of them behind the point, as in
    NUMERIC(precision, scale). ``scale`` of a datetime, time or timedelta: the digits of its seconds
    behind the point (None: 6). What does not fit exactly is refused. ``ascii``: a text has only ASCII.

    Raises ConfigurationError for a kind, size or scale that no column has.
    """

    kind: type
    null: bool = False
    length: int | None = None
    precision: int | None = None
    scale: int | None = None
    ascii: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.kind, type) or self.kind not in infra._COLUMN_KINDS:
            kinds = ", ".join(each.__name__ for each in infra._COLUMN_KINDS)
            raise infra.ConfigurationError(f"the kind of a Column should be one of {kinds}")
        sizes = [each for each in (self.length, self.precision) if each is not None]
        fits = all(type(each) is int and each >= 0 for each in sizes)
        if self.scale is not None and self.kind is Decimal:
            fits = fits and type(self.scale) is int
        elif self.scale is not None:
            timed = self.kind in (datetime, day_time, timedelta)
            fits = fits and timed and type(self.scale) is int and 0 <= self.scale <= 6
        if not fits:
            raise infra.ConfigurationError(
                "a Column has a length, precision or scale that none has"
            )


@dataclass(frozen=True)
class ForeignKey:
    """A reference to another table's columns; ``on_delete``: "restrict", "cascade" or "set null"."""

    columns: tuple[str, ...]
    table: str
    target: tuple[str, ...] = ("id",)
    on_delete: str = "restrict"

    def __post_init__(self) -> None:
        infra._check_many("columns", self.columns)
        if len(infra._check_many("target", self.target)) != len(self.columns):
            raise infra.ConfigurationError("target should have as many columns as the key itself")
        if not isinstance(self.table, str):
            raise infra.ConfigurationError("table should be the name of a table")
        if self.on_delete not in ("restrict", "cascade", "set null"):
            raise infra.ConfigurationError("on_delete should be restrict, cascade or set null")


@dataclass(frozen=True)
class Table:
    """A table's rules. Those of ``unique``, ``foreign_keys`` and ``checks`` stand under the names that the real table
    gives them; a check is a function of the row whose False refuses it."""

    name: str
    columns: Mapping[str, Column]
    primary_key: tuple[str, ...] = ("id",)
    unique: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    foreign_keys: Mapping[str, ForeignKey] = field(default_factory=dict)
    checks: Mapping[str, Callable[[Row], bool | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", infra._plain(self.name))
        columns = infra._check_mapping("columns", self.columns)
        if not all(isinstance(each, Column) for each in columns.values()):
            raise infra.ConfigurationError(f"{self.name}: columns should be of class Column")
        self._check_names("primary_key", self.primary_key)
        for rule, names in infra._check_mapping("unique", self.unique).items():
            self._check_names(rule, names)
        for rule, key in infra._check_mapping("foreign_keys", self.foreign_keys).items():
            if not isinstance(key, ForeignKey):
                raise infra.ConfigurationError(f"{self.name}: {rule} should be a ForeignKey")
            self._check_names(rule, key.columns)
        for rule, check in infra._check_mapping("checks", self.checks).items():
            infra._check_function(f"{self.name}: {rule}", check, "a row", infra.ConfigurationError)

    def _check_names(self, rule: str, names: Any) -> None:
        for name in infra._check_many(rule, names):
            if name not in [*self.columns]:
                raise infra.ConfigurationError(
                    f"{self.name}: {rule} should name columns of the table"
                )

    @classmethod
    def of(cls, repository: Any, *, ascii: Iterable[str] = (), **rules: Any) -> Table:
        """The table of a repository's class: columns from its record, lengths and scales, the other
        rules as given. ``ascii`` names the columns of ASCII alone.

        Raises ConfigurationError for a rule that names no column of the record.
        """
        if not isinstance(repository, type) or not issubclass(repository, infra.Repository):
            raise infra.ConfigurationError("Table.of takes the class of a repository")
        only = [*infra._check_many("ascii", ascii)]
        columns: dict[str, Column] = {}
        for name, (kind, null) in repository._columns().items():
            holds = repository._column_type(name, kind)
            length, precision = holds.size, None
            if kind is Decimal:
                length, precision = None, holds.size
            columns[name] = Column(kind, null, length, precision, holds.scale, name in only)
        table = cls(repository.table, columns, tuple(repository.key), **rules)
        table._check_names("ascii", only)
        return table


def _choices(repository: Any, *columns: str) -> dict[str, Callable[[Row], bool | None]]:
    """The checks that these columns hold one of the texts that the repository takes."""

    def check(column: str) -> Callable[[Row], bool | None]:
        allowed = {None, *repository.formats[column].split("|")}
        return lambda row: row[column] in allowed

    return {f"{repository.table}_{column}_check": check(column) for column in columns}


_MOVES = Table.of(infra._CheckpointRepository)
#: what schema.sql makes; a contract test compares the two
MYSQL_TABLES = (
    _MOVES,
    Table.of(
        infra.PhoneUserRepository,
        ascii=("phone_hash", "country_code", "user_type"),
        unique={"phone_users_phone_hash_key": ("phone_hash",)},
        checks=_choices(infra.PhoneUserRepository, "user_type"),
    ),
    Table.of(
        infra.TokenRepository,
        ascii=("token_hash",),
        unique={"refresh_tokens_token_hash_key": ("token_hash",)},
        foreign_keys={
            "refresh_tokens_user_id_fkey": ForeignKey(
                ("user_id",), "phone_users", on_delete="cascade"
            )
        },
    ),
)
POSTGRES_TABLES = (
    _MOVES,
    Table.of(
        infra.UserRepository,
        unique={"users_email_key": ("email_folded",), "users_username_key": ("username_folded",)},
        checks=_choices(infra.UserRepository, "role"),
    ),
    Table.of(
        infra.OrganizationRepository,
        unique={"organizations_slug_key": ("slug",)},
        checks=_choices(infra.OrganizationRepository, "organization_type"),
    ),
    Table.of(
        infra._MemberRepository,
        foreign_keys={
            "organization_members_organization_id_fkey": ForeignKey(
                ("organization_id",), "organizations", on_delete="cascade"
            ),
            "organization_members_user_id_fkey": ForeignKey(("user_id",), "users"),
        },
        checks=_choices(infra._MemberRepository, "role"),
    ),
    Table.of(
        infra.BenchmarkRepository,
        unique={"benchmarks_slug_key": ("slug",)},
        foreign_keys={"benchmarks_created_by_fkey": ForeignKey(("created_by",), "users")},
        checks=_choices(infra.BenchmarkRepository, "category", "status"),
    ),
    Table.of(
        infra._TagRepository,
        foreign_keys={
            "benchmark_tags_benchmark_id_fkey": ForeignKey(
                ("benchmark_id",), "benchmarks", on_delete="cascade"
            )
        },
    ),
    Table.of(
        infra._VersionRepository,
        unique={
            "benchmark_versions_benchmark_id_id_key": ("benchmark_id", "id"),
            "benchmark_versions_benchmark_id_version_key": ("benchmark_id", "version"),
            "benchmark_versions_benchmark_id_number_key": ("benchmark_id", "number"),
        },
        foreign_keys={
            "benchmark_versions_benchmark_id_fkey": ForeignKey(
                ("benchmark_id",), "benchmarks", on_delete="cascade"
            )
        },
    ),
    Table.of(
        infra.SubmissionRepository,
        foreign_keys={
            "submissions_benchmark_version_id_fkey": ForeignKey(
                ("benchmark_id", "benchmark_version_id"),
                "benchmark_versions",
                ("benchmark_id", "id"),
            ),
            "submissions_user_id_fkey": ForeignKey(("user_id",), "users"),
            "submissions_organization_id_fkey": ForeignKey(("organization_id",), "organizations"),
        },
        checks={
            "submissions_aggregate_score_check": lambda row: (
                row["aggregate_score"] is None or math.isfinite(row["aggregate_score"])
            ),
            **_choices(infra.SubmissionRepository, "verification_level", "visibility"),
        },
    ),
)


class _Open:
    """What a transaction of the fake knows: where in the undo log its savepoints are, and whether
    it was killed."""

    def __init__(self) -> None:
        self.marks: dict[int, int] = {}  # by the depth of the block that has the savepoint
        self.killed = False


class _LostReply(infra._Transaction):
    """A block whose work is done and whose end raises, as when the reply to COMMIT is lost."""

    __slots__ = ("_error",)

    def __init__(self, database: FakeDatabase, error: BaseException) -> None:
        super().__init__(database)
        self._error = error

    @infra._Exit
    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        super().__exit__(kind, error, traceback)
        if error is None:
            self._database._note_fault(self._error)  # type: ignore[attr-defined]
            raise self._error


def _as_another(work: Callable[[], None]) -> None:
    """Does what on real services another thread does: in a context without open transactions."""
    contextvars.Context().run(work)


class _KeyOrder(NamedTuple):
    """In which order an engine checks foreign keys, by name or as they were declared, and whether
    a row that is deleted restricts itself."""

    parents_by_name: bool  # those of a row that is written
    children_by_name: bool  # those of other rows that refer to a row which is deleted
    restricts_itself: bool  # a row that a statement deletes
    restricts_itself_in_cascades: bool  # one that a cascade deletes


# Tried on MySQL 9.7, MariaDB 10.11 and Postgres 15. Since 9.6 MySQL's checks are not InnoDB's.
_KEY_ORDERS = {
    "mysql": _KeyOrder(True, False, True, False),
    "mariadb": _KeyOrder(False, True, True, True),
    "postgres": _KeyOrder(False, False, False, False),
}


class FakeDatabase(Faults, infra.Database):
    """Tables as dicts, with rules, transactions and savepoints.

    Other threads, and other tasks of asyncio, see what is committed. Writing transactions take turns: one that waits
    longer than ``lock_timeout`` seconds for another gets the retryable error of a real lock timeout; at once, if its
    own thread has the turn, in another task or around a handler. Text in keys compares as on the real engine with a
    binary collation: MySQL takes no notice of blanks at the end.

    Attributes:
        engine: "mysql" (MariaDB too) or "postgres".
        dialect: "mysql", "mariadb" or "postgres". "mysql" is MySQL 9.6 and later.

    ``stats().waiting`` counts the calls that wait for another thread's transaction.
    """

    _unfailing = Faults._unfailing | {"stats"}

    def __init__(
        self,
        dialect: str = "mysql",
        tables: Iterable[Table] = (),
        *,
        clock: infra.Clock | None = None,
        lock_timeout: float = 5.0,
    ) -> None:
        """``dialect`` says whose rules hold: how texts compare, how a transaction goes on after an
        error, and which of several foreign keys is checked first. MySQL before 9.6 checks them in
        the order of "mariadb"."""
        dialect = infra._plain(dialect)
        if not isinstance(dialect, str) or dialect not in _KEY_ORDERS:
            raise infra.ConfigurationError("dialect should be mysql, mariadb or postgres")
        self.dialect = dialect
        self.engine = self._service = "postgres" if dialect == "postgres" else "mysql"
        super().__init__(infra._clock(clock, FakeClock), deadline=30.0)
        if not infra._is_number(lock_timeout, 0, infra._YEAR):
            raise infra.ConfigurationError("lock_timeout should be a number of seconds")
        self._lock_timeout = lock_timeout
        # Locks of C only: a Condition's methods are Python, where Ctrl-C may keep them from releasing it.
        self._lock = threading.RLock()
        self._waiters: list[threading.Lock] = []  # of calls that wait for their turn to write
        self._writer: infra._Block | None = None
        #: what the writer has changed: table, key, the row before and the row after
        self._undo: list[tuple[FakeTable, tuple[Any, ...], Row | None, Row | None]] = []
        self._unchecked: list[
            tuple[FakeTable, tuple[Any, ...]]
        ] = []  # rows whose parents are still to be looked for
        self._open: list[infra._Block] = []
        self._move_locks: dict[str, threading.Lock] = {}
        tables = infra._check_many("tables", tables)
        if not all(isinstance(each, Table) for each in tables):
            raise infra.ConfigurationError("tables should be of class Table")
        self._tables = {each.name: FakeTable(self, each) for each in tables}
        for table in self._tables.values():
            table._refer(_KEY_ORDERS[dialect])

    def table(self, name: str) -> FakeTable:
        """The table's rows; DatabaseError if there is none of that name."""
        name = infra._plain(name)
        if not isinstance(name, str):
            raise infra.ValidationError("name should be a str")
        if name not in self._tables:
            raise self._error(infra._UNKNOWN_NAME, about=f'"{name}"')
        return self._tables[name]

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        fault = self._take_fault("transaction") if self._armed else None
        if fault is None:
            return super().transaction()
        if fault.after_apply:
            return _LostReply(self, fault.fresh_error())
        self._suffer(fault, super().transaction)

    transaction._can_fail = True  # type: ignore[attr-defined]

    def kill_connections(self) -> None:
        """What a restart of the server does: open transactions are rolled back, and get a ConnectionError next."""
        with self._lock:
            for block in self._open:
                self._kill(block)

    def _kill(self, block: infra._Block) -> None:
        """The server rolls back at once; the block finds out with its next statement."""
        with self._lock:
            block.handle.killed = True
            self._give_up_turn(block)

    def close(self) -> None:
        self._shut()

    def _take_fault(self, name: str) -> _Fault | None:
        if (self._down or self._closed) and self._blocks.mine() is not None:
            return None  # the block's own connection meets the outage, and outlives close()
        return super()._take_fault(name)

    def _note_fault(self, error: BaseException) -> None:
        """The caller's open block ends as the server would end it."""
        block = self._blocks.mine()
        if block is None or block.doom is not None:
            return
        gone = isinstance(error, (infra.ConnectionError, infra.TimeoutError))
        if isinstance(error, infra.TimeoutError) and not error.retryable:
            gone = False  # the server has stopped the statement, and no more
        if not isinstance(error, infra.InfrastructureError):  # Ctrl-C, for one
            gone, error = True, infra.ConnectionError("a statement was interrupted")
        if gone:
            self._kill(block)
        if isinstance(error, (infra.ConnectionError, infra.DatabaseError, infra.TimeoutError)):
            self._doom(block, error, outermost=gone)

    def _from_above(self, work: Callable[[], T]) -> T:
        """A call of a table: it meets this database's faults of "*"."""
        fault = self._fault_from_above() if self._armed else None
        if fault is None:
            return work()
        self._suffer(fault, work)

    def _error(
        self, meaning: infra._Meaning, constraint: str | None = None, *, about: str = ""
    ) -> infra.InfrastructureError:
        """``about``: the name of a table or column."""
        details = {"kind": meaning.kind, "constraint": constraint} if meaning.kind else {}
        rule = f": {constraint or about}" if constraint or about else ""
        return meaning.error(
            f"FakeDatabase {meaning.words}{rule}",
            service=self.engine,
            retryable=meaning.retryable,
            **details,
        )

    def _statement(self, operation: str, work: Callable[[], Any], *, write: bool = True) -> Any:
        """Does the work whole or not at all; outside a transaction it is committed."""
        block = self._current()
        if block is not None:
            self._check(block)
        if self._down or (self._closed and block is None):  # a connection in use outlives close()
            if block is not None:
                self._kill(block)
            self._check_reachable(operation)
        try:
            return self._perform(block, work) if write else self._look_at(block, work)
        except (infra.ValidationError, infra.SerializationError):
            raise
        except infra.InfrastructureError as error:
            error.operation = error.operation or operation
            if block is not None:
                self._doom(block, error, outermost=block.handle.killed)
            raise
        except Exception:
            raise
        except BaseException as error:  # Ctrl-C: a real connection would be closed
            self._note_fault(error)
            raise

    def _look_at(self, block: infra._Block | None, work: Callable[[], Any]) -> Any:
        with self._lock:
            self._check_alive(block)
            return work()

    def _perform(self, block: infra._Block | None, work: Callable[[], Any]) -> Any:
        """Writes, once it is the block's turn."""
        until = None
        while True:
            with self._lock:
                self._check_alive(block)
                waiter = self._queue(block)
                if waiter is None:
                    return self._write(block, work)
                if until is not None and infra.SystemClock.monotonic() >= until:
                    self._waiters.remove(waiter)
                    raise self._error(infra._LOCKED)
            if until is None:
                until = infra.SystemClock.monotonic() + self._lock_timeout
            try:  # a wake-up that Ctrl-C has lost costs the time, and no more: it looks again
                waiter.acquire(timeout=max(0.0, until - infra.SystemClock.monotonic()))
            finally:
                with self._lock:
                    if waiter in self._waiters:
                        self._waiters.remove(waiter)

    def _write(self, block: infra._Block | None, work: Callable[[], Any]) -> Any:
        mark = len(self._undo)
        try:
            self._unchecked = []
            result = work()
            for table, key in self._unchecked:
                table._find_parents(key)
            if block is None:
                self._undo.clear()
            return result
        except BaseException:
            self._undo_to(mark)
            raise

    def _check_alive(self, block: infra._Block | None) -> None:
        if block is not None and block.handle.killed:
            raise self._error(infra._LOST)

    def _queue(self, block: infra._Block | None) -> threading.Lock | None:
        """Takes the turn to write; if another transaction has it, returns what its end releases."""
        writer = self._writer
        if writer is not None and not writer.depth:  # its end was interrupted
            self._give_up_turn(writer)
            writer = None
        if writer is None or writer is block:
            self._writer = block
            return None
        if writer.thread == threading.get_ident():  # of another task, or put aside: see _as_another
            raise self._error(infra._LOCKED)  # it would wait for itself
        waiter = threading.Lock()
        waiter.acquire()
        self._waiters.append(waiter)
        return waiter

    def _give_up_turn(self, block: infra._Block) -> None:
        """What the block has not committed is undone; then others may write."""
        if self._writer is not block:
            return
        self._undo_to(0)
        while self._waiters:  # they look once the lock is free, also if an interrupt comes next
            self._waiters.pop().release()
        self._writer = None

    def _undo_to(self, mark: int) -> None:
        while len(self._undo) > mark:
            table, key, before, after = self._undo[-1]
            table._put(key, after, before)
            del self._undo[-1]

    def _begin(self, block: infra._Block) -> None:
        self._check_reachable("transaction")
        block.handle = _Open()
        self._open = [*self._open, block]

    def _end(self, block: infra._Block, command: str) -> None:
        with self._lock:
            if command == "COMMIT":
                self._check_connection(block, "commit")
            if self._writer is block and command == "COMMIT":
                self._undo.clear()

    def _savepoint(self, block: infra._Block, command: str) -> None:
        with self._lock:
            self._check_connection(block, "savepoint")
            if command == "SAVEPOINT":
                mark = len(self._undo) if self._writer is block else 0
                block.handle.marks[block.depth] = mark
                return
            mark = block.handle.marks[block.depth]
            if command == "ROLLBACK TO SAVEPOINT" and self._writer is block:
                self._undo_to(mark)

    def _check_connection(self, block: infra._Block, operation: str) -> None:
        if block.handle.killed or self._down:
            self._kill(block)
            error = self._error(infra._LOST)
            error.operation = operation
            self._doom(block, error, outermost=True)
            raise error

    def _abandon(self, block: infra._Block) -> None:
        with self._lock:
            self._open = [each for each in self._open if each is not block]
            self._give_up_turn(block)

    def _column_types(self, table: str, names: Sequence[str]) -> Sequence[infra._ColumnType]:
        def work() -> list[infra._ColumnType]:
            found = self.table(table)
            found._check_columns(names)
            columns = found.rules.columns
            return [self._column_type(columns[name]) for name in names]

        found: list[infra._ColumnType] = self._statement("insert_many", work, write=False)
        return found

    def _column_type(self, column: Column) -> infra._ColumnType:
        mysql = self.engine == "mysql"
        if mysql and column.kind in (day_time, timedelta):
            return infra._MySqlDialect.column_types["time"]._replace(scale=column.scale)
        kind = infra._COLUMN_KINDS[column.kind]
        size = column.precision if column.kind is Decimal else column.length
        return infra._ColumnType(kind, size, column.scale, ascii=column.ascii, finite=mysql)

    def _insert_rows(
        self, table: str, names: Sequence[str], columns: Sequence[Sequence[Any]]
    ) -> int:
        target = self.table(table)

        def work() -> None:
            for row in zip(*columns):
                target._add(dict(zip(names, row)))

        self._statement("insert_many", work)
        return 0

    def _rows_of(self, table: str) -> infra._TableRows:
        return _FakeRows(self, table)

    def _make_table(self, port: Any, statement: Callable[[], str]) -> None:
        if port.table not in self._tables:
            self._tables[port.table] = FakeTable(self, Table.of(port))

    @contextlib.contextmanager
    def _locked(self, lock: str, lock_timeout: float) -> Iterator[None]:
        with self._lock:
            held = self._move_locks.setdefault(lock, threading.Lock())
        if not held.acquire(timeout=lock_timeout):
            raise self._is_held(lock_timeout)
        try:
            yield
        finally:
            held.release()

    def _health_check(self) -> infra.Health:
        def work() -> infra.Health:
            return infra.Health(self.engine, "FakeDatabase", 0.0)

        health: infra.Health = self._statement("health_check", work, write=False)
        return health

    def _stats(self) -> infra.PoolStats:
        return infra.PoolStats(None, len(self._open), len(self._open), 0, len(self._waiters))


def _copied(value: Any) -> Any:
    return infra._decode(value.text)[0] if value.__class__ is infra._Document else value


_AS_THEY_ARE = frozenset({bool, bytes, date, day_time, timedelta, uuid.UUID})
_COMPARISONS: dict[type, Callable[[Any, Any], bool]] = {
    infra._Above: operator.gt,
    infra._AtMost: operator.le,
    infra._Contains: operator.contains,
}


class FakeTable:
    """A table of a FakeDatabase; rows go in and out as dicts, copies both ways.

    ``where`` is a dict of values that columns have to equal (None: be NULL), a function of the row, or None for all
    rows. Broken rules are ConflictError with the rule's name; an unknown column, a value that does not fit its
    column exactly or one of another type is DatabaseError.
    """

    def __init__(self, database: FakeDatabase, rules: Table) -> None:
        if not isinstance(database, FakeDatabase) or not isinstance(rules, Table):
            raise infra.ConfigurationError("FakeTable takes a FakeDatabase and a Table")
        self.rules = rules
        self._database = database
        self._pads = database.engine == "mysql"  # PAD SPACE, also of its binary collations
        self._rows: dict[tuple[Any, ...], Row] = {}
        #: by columns and their values: the rows, by primary key
        self._indexes: dict[tuple[str, ...], dict[Any, dict[tuple[Any, ...], Row]]] = {
            columns: {}
            for columns in {
                *rules.unique.values(),
                *(each.columns for each in rules.foreign_keys.values()),
            }
        }
        columns = {**rules.columns}
        for name in rules.primary_key:
            columns[name] = replace(columns[name], null=False)
        self._columns: dict[str, tuple[str, Column, Any, float]] = {
            name: (name, each, each.kind, math.inf if each.length is None else each.length)
            for name, each in columns.items()
        }
        self._lookups = ((rules.primary_key, None), *self._indexes.items())
        self._children: list[tuple[FakeTable, str, ForeignKey]] = []  # in the order of checks
        self._targets: set[tuple[str, ...]] = set()  # the columns that children refer to
        self._parents = list(rules.foreign_keys.items())

    def insert(self, row: Mapping[str, Any]) -> None:
        """Adds a row; a column that is not given is NULL."""
        infra._check_mapping("row", row)
        self._database._from_above(lambda: self._insert("insert", row))

    def find(self, **key: Any) -> Row | None:
        """The first row with these values, or None."""
        found = self.select(key, limit=1)
        return found[0] if found else None

    def select(
        self,
        where: Where = None,
        order_by: Sequence[str] = (),
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Row]:
        """Rows in the order of these columns; a "-" before the name: descending. NULL is the least on MySQL, the
        greatest on Postgres."""
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

    def update(self, where: Where, changes: Mapping[str, Any]) -> int:
        """Changes the rows and returns how many were found."""
        infra._check_mapping("changes", changes)
        return self._database._from_above(lambda: self._update("update", where, changes))

    def delete(self, where: Where) -> int:
        """Removes the rows and returns how many."""
        return self._database._from_above(lambda: self._delete("delete", where))

    # The same as statements of a repository's operation

    def _insert(self, operation: str, *rows: Mapping[str, Any]) -> None:
        def work() -> None:
            for row in rows:
                self._add(row)

        self._database._statement(operation, work)

    def _update(self, operation: str, where: Where, changes: Mapping[str, Any]) -> int:
        def work() -> int:
            self._check_columns(changes)
            if not self._pads:  # Postgres looks at the values before it looks for rows
                new = self._fitted(changes, map(self._columns.__getitem__, changes), nulls=True)
            found = self._matching(where)
            if found and not self._pads:
                self._refuse_nulls(new)
            for key, row in found:
                if self._pads:
                    new = self._fitted({**row, **changes}, self._columns.values())
                self._replace(key, row, {**row, **new})
            return len(found)

        count: int = self._database._statement(operation, work)
        return count

    def _delete(self, operation: str, where: Where) -> int:
        def work() -> int:
            keys = [key for key, _ in self._matching(where)]
            if self._pads:  # MySQL goes row by row: it does not count what a cascade has removed
                return sum(self._remove([key]) for key in keys)
            return self._remove(keys)

        count: int = self._database._statement(operation, work)
        return count

    def _select(
        self,
        operation: str,
        read: Callable[[list[Row]], list[Any]],
        where: Where = None,
        order_by: Sequence[str] = (),
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Any]:
        """What ``read`` makes of the rows, which are no copies."""

        def work() -> list[Any]:
            rows = [row for _, row in self._matching(where)]
            for name in map(infra._plain, reversed(order_by)):
                column = name.lstrip("-")
                self._check_columns([column])
                rows.sort(key=self._sort_key(rows, column), reverse=name[0] == "-")
            return read(rows[offset:] if limit is None else rows[offset : offset + limit])

        found: list[Any] = self._database._statement(operation, work, write=False)
        return found

    def _sort_key(self, rows: Sequence[Row], column: str) -> Callable[[Row], Any]:
        """MySQL pads texts with blanks to compare them; NULL is its least, but the greatest of Postgres."""
        rule = self.rules.columns[column]
        width = (
            max((len(row[column] or "") for row in rows), default=0)
            if self._pads and rule.kind is str
            else 0
        )

        def padded(row: Row) -> Any:
            return row[column].ljust(width)

        def number(row: Row) -> Any:  # of an id: its text and its bytes have the same order
            return row[column].int

        def decimal(row: Row) -> Any:  # to Postgres NaN is the greatest
            return (True, 0) if row[column].is_nan() else (False, row[column])

        special = {uuid.UUID: number, Decimal: decimal}
        order = padded if width else special.get(rule.kind, operator.itemgetter(column))
        if not rule.null:
            return order
        return lambda row: (not self._pads, 0) if row[column] is None else (self._pads, order(row))

    def _count(self, operation: str, where: Where) -> int:
        count: int = self._database._statement(
            operation, lambda: len(self._matching(where)), write=False
        )
        return count

    # Within a statement

    def _refer(self, order: _KeyOrder) -> None:
        """Lets the tables that this one refers to know."""
        for name, rule in self.rules.foreign_keys.items():
            parent = self._database.table(rule.table)
            parent.rules._check_names(name, rule.target)
            parent._children.append((self, name, rule))
            parent._targets.add(tuple(rule.target))
            if order.children_by_name:
                parent._children.sort(key=operator.itemgetter(1))
        if order.parents_by_name:
            self._parents.sort(key=operator.itemgetter(0))

    def _error(
        self, meaning: infra._Meaning, constraint: str | None = None, *, about: str = ""
    ) -> infra.InfrastructureError:
        return self._database._error(meaning, constraint, about=about)

    def _check_columns(self, names: Iterable[str]) -> None:
        """Raise DatabaseError, which names the column, if the table has none of that name."""
        names = [*names]
        if not self._columns.keys() >= {*names}:
            absent = next(name for name in names if name not in self._columns)
            raise self._error(infra._UNKNOWN_NAME, about=f'"{absent}"')

    def _misfit(self, name: str) -> infra.InfrastructureError:
        return self._error(infra._MISFIT, about=f'column "{name}"')

    def _key(self, row: Mapping[str, Any], columns: Sequence[str]) -> tuple[Any, ...] | None:
        """The values as an index holds them; None if one is NULL: it equals nothing."""
        if len(columns) == 1:  # nearly all: a third of the time
            value = row[columns[0]]
            return None if value is None else (self._comparable(value) if self._pads else value,)
        key = tuple(map(row.__getitem__, columns))
        for value in key:
            if value is None:
                return None
        return tuple(map(self._comparable, key)) if self._pads else key

    def _comparable(self, value: Any) -> Any:
        return value.rstrip(" ") if self._pads and value.__class__ is str else value

    def _copy(self, row: Row) -> Row:
        return {name: _copied(value) for name, value in row.items()}

    def _matching(self, where: Where) -> list[tuple[tuple[Any, ...], Row]]:
        if callable(where):
            infra._check_function("where", where, "a row")
        elif where is not None:
            infra._check_mapping("where", where)
        if where is None or not isinstance(where, Mapping):
            visible, _ = self._candidates({})
            return (
                visible
                if where is None
                else [each for each in visible if infra._ran(where(self._copy(each[1])))]
            )
        self._check_columns(where)
        equal: dict[str, Any] = {}
        choices: dict[str, dict[Any, None]] = {}
        more: list[tuple[str, Callable[[Any, Any], bool], Any]] = []
        for name, value in where.items():
            if isinstance(value, infra._Among):
                other: Any = value.repository
                choices[name] = {
                    self._comparable(row[value.column]): None
                    for _, row in other._table._matching(value.where)
                }
            elif isinstance(value, infra._OneOf):
                choices[name] = {self._comparable(infra._plain(each)): None for each in value.value}
                if not choices[name]:
                    raise infra.ValidationError("a tuple for IN should not be empty")
            elif holds := _COMPARISONS.get(value.__class__):
                more.append((name, holds, infra._plain(value.value)))
            elif value.__class__.__hash__ is None:
                raise infra.ValidationError(
                    f"{name} should not be of type {type(value).__name__}, which equals no value"
                )
            else:
                equal[name] = self._comparable(infra._plain(value))
        for wanted in choices.values():
            wanted.pop(None, None)  # NULL is not equal to NULL
        found, sure = self._candidates(equal, choices)
        for name, wanted in choices.items():
            if name not in sure:
                found = [each for each in found if self._comparable(each[1][name]) in wanted]
        for name, value in equal.items():
            if name in sure:
                continue
            if self._pads:
                found = [each for each in found if self._comparable(each[1][name]) == value]
            else:
                found = [each for each in found if (its := each[1][name]) is value or its == value]
        for name, holds, value in more:
            pads = self._pads and value.__class__ is str and holds is not operator.contains
            found = [
                each
                for each in found
                if (its := each[1][name]) is not None
                and (
                    holds(its.ljust(len(value)), value.ljust(len(its)))
                    if pads
                    else holds(its, value)
                )
            ]
        return found

    def _candidates(
        self, equal: Mapping[str, Any], choices: Mapping[str, Iterable[Any]] = MappingProxyType({})
    ) -> tuple[list[tuple[tuple[Any, ...], Row]], Sequence[str]]:
        """By an index where one serves, and the columns that it is for; else all that this thread may see."""
        database, rows = self._database, self._rows
        writer = database._writer
        if writer is not None and writer is not database._blocks.get():
            before: dict[tuple[Any, ...], Row | None] = {}
            for table, key, row, _ in database._undo:
                if table is self:
                    before.setdefault(key, row)
            committed = [(key, row) for key, row in rows.items() if key not in before]
            return [*committed, *((key, row) for key, row in before.items() if row is not None)], ()
        for columns, index in self._lookups:
            values = [equal.get(column) for column in columns]
            if None not in values:
                wanted: Iterable[Any] = [tuple(values)]
            elif len(columns) == 1 and columns[0] in choices:
                wanted = zip(choices[columns[0]])
            else:
                continue
            if index is None:
                return [(value, rows[value]) for value in wanted if value in rows], columns
            return [each for value in wanted for each in index.get(value, {}).items()], columns
        return [*rows.items()], ()

    def _put(self, key: tuple[Any, ...], old: Row | None, row: Row | None) -> None:
        """Puts a row in the old one's place, None for none, and nothing else.

        When Ctrl-C comes between two steps, the same call the other way round undoes those that
        were done, and may itself be repeated.
        """
        for columns, index in self._indexes.items():
            after = None if row is None else self._key(row, columns)
            before = None if old is None else self._key(old, columns)
            if before is not None and before != after and (found := index.get(before)) is not None:
                found.pop(key, None)
                if not found:
                    index.pop(before, None)
            if after is not None and row is not None:
                index.setdefault(after, {})[key] = row
        if old is not None:
            self._rows.pop(key, None)
        if row is not None:
            self._rows[key] = row

    def _set(self, key: tuple[Any, ...], old: Row | None, row: Row | None) -> None:
        self._database._undo.append((self, key, old, row))
        self._put(key, old, row)

    def _add(self, row: Mapping[str, Any]) -> None:
        self._check_columns(row)
        self._replace(None, None, self._fitted(row, self._columns.values()))

    def _fitted(
        self,
        values: Mapping[str, Any],
        columns: Iterable[tuple[str, Column, Any, float]],
        *,
        nulls: bool = False,
    ) -> Row:
        """Return the values of these columns as they store them; ``nulls``: each lets NULL through."""
        row = {}
        for name, column, kind, longest in columns:
            value: Any = values.get(name)
            if value is None:
                fits = nulls or column.null
            elif value.__class__ is not kind:
                fits = value.__class__ is infra._Document and kind in (dict, list)
            elif kind is str:
                fits = value.isascii() and "\0" not in value and len(value) <= longest
            elif kind is datetime:
                fits = value.tzinfo is timezone.utc and column.scale is None
            else:
                fits = kind in _AS_THEY_ARE and (kind is not bytes or len(value) <= longest)
                fits = fits and column.scale is None
            row[name] = value if fits else self._fit(name, column, value)
        return row

    def _refuse_nulls(self, new: Row) -> None:
        for name, column, _, _ in self._columns.values():
            if not column.null and new.get(name, ...) is None:
                self._fit(name, column, None)

    def _replace(self, old_key: tuple[Any, ...] | None, old: Row | None, row: Row) -> None:
        """Checks every rule, then puts the new row, whose values fit, in the old one's place."""
        rules = self.rules
        checked = row
        if rules.checks and self._pads:
            checked = {name: self._comparable(value) for name, value in row.items()}
        for name, test in rules.checks.items():
            passes = test(checked)
            if passes is False:
                raise self._error(infra._CHECK, name)
            if passes is not True:
                infra._ran(passes)
        key = self._key(row, rules.primary_key)
        if key is None:  # _fitted refuses a NULL in it
            raise self._error(infra._NOT_NULL, f"{rules.name}_{rules.primary_key[0]}_not_null")
        if key != old_key and key in self._rows:
            raise self._error(infra._UNIQUE, f"{rules.name}_pkey")
        for name, columns in rules.unique.items():
            taken = self._indexes[columns].get(
                self._key(row, columns)
            )  # of a NULL there is nothing
            if taken and (old_key not in taken or len(taken) > 1):
                raise self._error(infra._UNIQUE, name)
        if old is not None and old_key is not None:
            if any(self._key(old, target) != self._key(row, target) for target in self._targets):
                self._refuse_orphans(old_key, old, row)
            if key != old_key:
                self._set(old_key, old, None)
        self._set(key, old if key == old_key else None, row)
        if not rules.foreign_keys:
            return
        if self._pads:
            self._find_parents(key)
        else:  # Postgres looks at the end of the statement
            self._database._unchecked.append((self, key))

    def _refuse_orphans(self, old_key: tuple[Any, ...], old: Row, row: Row) -> None:
        for child, name, rule in self._children:
            before = self._key(old, rule.target)
            if before == self._key(row, rule.target):
                continue
            referring = child._referring(rule, before)
            if child is self and not self._pads and self._key(row, rule.columns) != before:
                # Postgres looks at the end of the statement, when the row refers to another key.
                referring = [each for each in referring if each != old_key]
            if referring:
                raise self._error(infra._FOREIGN_KEY, name)

    def _find_parents(self, key: tuple[Any, ...]) -> None:
        """Checks the foreign keys of a row, if it is still there."""
        row = self._rows.get(key)
        if row is None:
            return
        for name, reference in self._parents:
            value = self._key(row, reference.columns)
            parent = self._database.table(reference.table)
            wanted = dict(zip(reference.target, value or ()))
            if value is not None and not any(
                parent._key(each, reference.target) == value
                for _, each in parent._candidates(wanted)[0]
            ):
                raise self._error(infra._FOREIGN_KEY, name)

    def _referring(self, rule: ForeignKey, value: tuple[Any, ...] | None) -> list[tuple[Any, ...]]:
        return [] if value is None else list(self._indexes[rule.columns].get(value, ()))

    def _remove(self, keys: Iterable[tuple[Any, ...]], *, in_cascade: bool = False) -> int:
        """Removes those rows that a cascade has not removed before, and returns how many."""
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

    def _on_delete(self, row: Row, child: FakeTable, name: str, rule: ForeignKey) -> None:
        """What happens to those rows of the child that refer to a removed one."""
        referring = child._referring(rule, self._key(row, rule.target))
        if rule.on_delete == "restrict":
            if referring:  # what a cascade has removed restricts no longer
                raise self._error(infra._FOREIGN_KEY, name)
        elif rule.on_delete == "cascade":
            if self._pads:
                for each in referring:
                    child._remove([each], in_cascade=True)
            else:
                child._remove(referring, in_cascade=True)
        else:
            for each in referring:
                before = child._rows[each]
                orphan = child._fitted(
                    {**before, **dict.fromkeys(rule.columns)}, child._columns.values()
                )
                child._replace(each, before, orphan)

    def _fit(self, name: str, column: Column, value: Any) -> Any:
        """The value as the column stores it."""
        if value is None:
            if not column.null:
                raise self._error(infra._NOT_NULL, f"{self.rules.name}_{name}_not_null")
            return None
        kind, value = column.kind, infra._plain(value)
        if kind is str and isinstance(value, str):
            value = infra._check_value(value, "a value")
            if column.ascii and not value.isascii():
                raise self._misfit(name)
            if column.length is not None and len(value) > column.length:
                # In SQL blanks at the end do not count; to MySQL no white space of ASCII does.
                if value[column.length :].strip(" \t\n\v\f\r" if self._pads else " "):
                    raise self._misfit(name)
                value = value[: column.length]
            return value
        if kind is datetime and isinstance(value, datetime):
            value = infra._aware(value)
            if value.microsecond % infra._fraction(column.scale):
                raise self._misfit(name)
            return value
        if (
            kind is int
            and value.__class__ is int
            and -(bound := 2 ** ((column.length or 32) - 1)) <= value < bound
        ):
            return value
        if kind is float and value.__class__ is float:
            return infra._finite(value) if self._pads else value
        if kind is Decimal and value.__class__ is Decimal:  # NaN is a number to Postgres
            if self._pads or not value.is_nan() or value.is_snan():
                infra._finite(value)
            exact = infra._exact_decimal(value, column.precision, column.scale)
            if exact is None:
                raise self._misfit(name)
            return exact
        if kind in _AS_THEY_ARE and value.__class__ is kind:
            if (
                isinstance(value, bytes)
                and column.length is not None
                and len(value) > column.length
            ):
                raise self._misfit(name)
            return self._timed(name, column, value)
        if self._pads and kind in (day_time, timedelta) and value.__class__ is timedelta:
            return self._timed(name, column, value)  # MySQL's TIME
        if kind in (dict, list) and isinstance(value, (dict, list, infra._Document)):
            return value if isinstance(value, infra._Document) else infra._document(name, value)
        if not isinstance(value, tuple(infra._KINDS)):
            raise infra.ValidationError(f"a value should not be of type {type(value).__name__}")
        raise self._misfit(name)

    def _timed(self, name: str, column: Column, value: Any) -> Any:
        """The value, if a time or timedelta has no more digits of a second than its column."""
        rest = value.microseconds if isinstance(value, timedelta) else 0
        rest = value.microsecond if isinstance(value, day_time) else rest
        if rest % infra._fraction(column.scale):
            raise self._misfit(name)
        return value


class _FakeRows(infra._TableRows):
    """A table of a ``FakeDatabase``, as data moves read and write it."""

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
            name: self._database._column_type(column) for name, column in rules.columns.items()
        }
        key = tuple(rules.primary_key)
        return infra._TableShape(columns, key, nullable=nullable, optional=nullable)

    def count(self) -> int:
        return self._table._count("move", None)

    def page(
        self, names: Sequence[str], after: Sequence[Any] | None, limit: int
    ) -> tuple[Sequence[tuple[Any, ...]], Sequence[tuple[Any, ...]]]:
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
        rows, keys = ([tuple(row[each] for each in some) for row in found] for some in (names, key))
        return rows, keys

    def find(
        self, names: Sequence[str], keys: Sequence[tuple[Any, ...]]
    ) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        table, key = self._table, self._table.rules.primary_key

        def read(rows: list[Row]) -> list[Any]:
            by_key = {table._key(row, key): row for row in rows}
            found = ((each, by_key.get(table._key(dict(zip(key, each)), key))) for each in keys)
            return [(each, table._copy(row)) for each, row in found if row is not None]

        pairs = self._database._from_above(lambda: table._select("move", read))
        return {each: tuple(row[name] for name in names) for each, row in pairs}

    def update(
        self, names: Sequence[str], rows: Sequence[tuple[tuple[Any, ...], Sequence[Any]]]
    ) -> None:
        table, key = self._table, self._table.rules.primary_key
        for each, values in rows:
            table._update("move", dict(zip(key, each)), dict(zip(names, values)))

    def pass_ids(self) -> None:
        """A fake makes no ids."""


# === repositories =================================================================================


class FakeRepository(infra.Repository[R]):
    """The primitives of a repository on a ``FakeDatabase``. Mix in ``Faults`` first: ``class FakeNotes(fakes.Faults,
    fakes.FakeRepository[Note], Notes)``."""

    database: FakeDatabase
    _below: Faults | None

    def __init__(self, database: FakeDatabase, *arguments: Any, **options: Any) -> None:
        if not isinstance(database, FakeDatabase):
            raise infra.ConfigurationError(f"{type(self).__name__} takes a FakeDatabase")
        super().__init__(database, *arguments, **options)
        self._below = database
        self._table = database.table(self.table)
        #: what reads the fields that are ``elsewhere``, of all the rows
        self._others: dict[str, Callable[[list[Row]], Iterable[Any]]] = {}

    def _insert(self, operation: str, *rows: Mapping[str, Any]) -> None:
        self._table._insert(operation, *rows)

    def _rows(
        self,
        operation: str,
        names: Sequence[str],
        where: Mapping[str, Any],
        order: Sequence[tuple[str, bool]] = (),
        limit: int | None = None,
        offset: int = 0,
    ) -> list[tuple[Any, ...]]:
        order_by = [("-" if descending else "") + name for name, descending in order]
        columns = [name for name in names if name not in self._others]
        others = [self._others[name] for name in names[len(columns) :]]  # which stand last
        documents = [
            (at, _copied) for at, name in enumerate(columns) if self._kinds[name][0] in (dict, list)
        ]

        def read(rows: list[Row]) -> list[tuple[Any, ...]]:
            found = [tuple(map(row.__getitem__, columns)) for row in rows]
            if documents:
                found = [infra._converted(row, documents) for row in found]
            return (
                [(*row, *more) for row, *more in zip(found, *(other(rows) for other in others))]
                if others
                else found
            )

        return self._table._select(operation, read, where, order_by, limit, offset)

    def _change(self, operation: str, where: Mapping[str, Any], changes: Mapping[str, Any]) -> int:
        self._check_folded(changes)
        return self._table._update(operation, where, changes)

    def _remove(self, operation: str, where: Mapping[str, Any]) -> int:
        return self._table._delete(operation, where)

    def _number(self, operation: str, where: Mapping[str, Any]) -> int:
        return self._table._count(operation, where)

    def _beside(self, port: type) -> Any:
        return infra._joined(FakeRepository, port)(self.database, clock=self._clock)

    def _note_fault(self, error: BaseException) -> None:
        self.database._note_fault(error)


FakeDatabase._backend = FakeRepository


class FakePhoneUserRepository(Faults, FakeRepository[infra.PhoneUser], infra.PhoneUserRepository):
    """Twin of ``MySQLPhoneUserRepository``, on a database of its own unless one is given, with a key for tests."""

    _service = "mysql"

    def __init__(
        self,
        database: FakeDatabase | None = None,
        hash_key: str | bytes | None = _TEST_KEY,
        *,
        clock: infra.Clock | None = None,
    ) -> None:
        super().__init__(
            database or FakeDatabase("mysql", MYSQL_TABLES, clock=clock), hash_key, clock=clock
        )


class FakeTokenRepository(Faults, FakeRepository[infra.RefreshToken], infra.TokenRepository):
    """Twin of ``MySQLTokenRepository``, on a database of its own unless one is given: give it the users'."""

    _service = "mysql"

    def __init__(
        self, database: FakeDatabase | None = None, *, clock: infra.Clock | None = None
    ) -> None:
        super().__init__(database or FakeDatabase("mysql", MYSQL_TABLES, clock=clock), clock=clock)


class _OnExchange:
    """On a database of its own unless one is given: repositories that belong together share one."""

    _service = "postgres"

    def __init__(
        self, database: FakeDatabase | None = None, *, clock: infra.Clock | None = None
    ) -> None:
        database = database or FakeDatabase("postgres", POSTGRES_TABLES, clock=clock)
        super().__init__(database, clock=clock)  # type: ignore[call-arg]


class FakeUserRepository(Faults, _OnExchange, FakeRepository[infra.User], infra.UserRepository):
    """Twin of ``PostgresUserRepository``."""


class FakeOrganizationRepository(
    Faults, _OnExchange, FakeRepository[infra.Organization], infra.OrganizationRepository
):
    """Twin of ``PostgresOrganizationRepository``."""


class FakeBenchmarkRepository(
    Faults, _OnExchange, FakeRepository[infra.Benchmark], infra.BenchmarkRepository
):
    """Twin of ``PostgresBenchmarkRepository``."""

    def __init__(
        self, database: FakeDatabase | None = None, *, clock: infra.Clock | None = None
    ) -> None:
        super().__init__(database, clock=clock)
        self._others["tags"] = self._tags_of

    def _tags_of(self, rows: list[Row]) -> Iterator[tuple[str, ...]]:
        tags: dict[uuid.UUID, list[str]] = {row["id"]: [] for row in rows}
        if tags:
            for _, row in self.database.table("benchmark_tags")._matching(
                {"benchmark_id": infra._OneOf([*tags])}
            ):
                tags[row["benchmark_id"]].append(row["tag"])
        return (tuple(sorted(each)) for each in tags.values())


class FakeSubmissionRepository(
    Faults, _OnExchange, FakeRepository[infra.Submission], infra.SubmissionRepository
):
    """Twin of ``PostgresSubmissionRepository``."""

    def _ranked(self, where: Mapping[str, Any], limit: int) -> list[tuple[Any, ...]]:
        users, organizations = self.database.table("users"), self.database.table("organizations")

        def names(table: FakeTable, ids: set[Any], *columns: str) -> dict[Any, tuple[Any, ...]]:
            return {
                row["id"]: tuple(map(row.get, columns))
                for _, row in table._candidates({}, {"id": ids})[0]
            }

        def work() -> list[tuple[Any, ...]]:
            found = self._table._matching(where)
            rows = [
                row
                for _, row in found
                if row["visibility"] == "public" and row["aggregate_score"] is not None
            ]
            rows.sort(key=operator.itemgetter("created_at", "id"))
            rows.sort(key=operator.itemgetter("aggregate_score"), reverse=True)
            del rows[limit:]
            user = names(users, {row["user_id"] for row in rows}, "username", "display_name")
            organization = names(
                organizations, {row["organization_id"] for row in rows}, "id", "name"
            )
            organization[None] = (None, None)
            return [
                (
                    *_ranked_columns(row),
                    *user[row["user_id"]],
                    *organization[row["organization_id"]],
                )
                for row in rows
            ]

        found: list[tuple[Any, ...]] = self.database._statement("leaderboard", work, write=False)
        return found


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
    """The state behind fake clients. Two clients on one server are two processes on one Redis."""

    def __init__(self, clock: infra.Clock | None = None) -> None:
        self.clock = infra._clock(clock)
        self._now = self.clock.monotonic
        self._lock = threading.RLock()
        self._data: dict[
            str, tuple[str | int, float | None]
        ] = {}  # value (a counter's as int) and moment of expiry
        self._listeners: list[_FakeListener] = []
        self._publishing = threading.local()

    def drop_connections(self) -> None:
        """What listeners see of a lost connection: a message may be missing, and ``on_reconnect`` is called."""
        with self._lock:
            listeners = list(self._listeners)
            for listener in listeners:
                listener._queue.append(None)
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
    _late_expiry = 0.0
    _simpler: ClassVar[Mapping[str, str]] = {
        "set_with_expiry": "set",
        "delete_many": "delete",
        "unlink_many": "delete",
    }

    def __init__(
        self, server: FakeRedisServer | None = None, *, clock: infra.Clock | None = None
    ) -> None:
        """``server``: share it to share data; it has its own clock."""
        if not isinstance(server, FakeRedisServer | None):
            raise infra.ConfigurationError("server should be a FakeRedisServer")
        self.server = server or FakeRedisServer(clock)
        self._clock = self.server.clock
        self._listeners: dict[_FakeListener, None] = {}  # a set, in order

    def close(self) -> None:
        self._shut()
        for listener in list(self._listeners):
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
            return sum(
                server._entry(key) is not None and server._data.pop(key, None) is not None
                for key in keys
            )

    _unlink_many = _delete_many

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
                total = amount + (value if value.__class__ is int else _integer(str(value)))
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

    def _listen(
        self, on_message: infra.MessageHandler, on_reconnect: Callable[[], None] | None
    ) -> infra.Listener:
        for each in list(self._listeners):
            if each._closed:
                self._listeners.pop(each, None)
        listener = _FakeListener(self, on_message, on_reconnect)
        self._listeners[listener] = None
        if self._closed:  # meanwhile
            listener.close()
        return listener

    def _health_check(self) -> infra.Health:
        return infra.Health("redis", "FakeRedisClient", 0.0)

    def _stats(self) -> infra.PoolStats:
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
        self._channels: set[str] = set()
        self._globs: dict[str, Callable[[str], bool]] = {}
        self._queue: deque[tuple[str, str | None, str] | None] = (
            deque()
        )  # None: the connection was lost
        self._busy = False  # some thread delivers; others leave it their messages, so that nobody waits for a handler
        with self._server._lock:
            self._server._listeners.append(self)

    def _apply(self, command: str, names: Sequence[str]) -> None:
        with self._server._lock:
            if self._closed:
                raise infra.ConnectionError(
                    "the listener is closed", service="redis", retryable=False
                )
            if self._client.down:
                raise infra.TimeoutError("FakeRedisClient is down on purpose", service="redis")
            if command == "SUBSCRIBE":
                self._channels.update(names)
            elif command == "UNSUBSCRIBE":
                self._channels.difference_update(self._unneeded(command, names))
            elif command == "PSUBSCRIBE":
                self._globs.update((name, _glob(name)) for name in names)
            else:
                for name in self._unneeded(command, names):
                    self._globs.pop(name, None)

    def _matches(self, channel: str) -> Iterator[str | None]:
        if channel in self._channels:
            yield None
        yield from (glob for glob, matches in self._globs.items() if matches(channel))

    def _drain(self) -> None:
        mine = False
        try:
            with self._server._lock:
                if self._busy:
                    return
                mine = self._busy = True
            while True:
                with self._server._lock:
                    if not self._queue or self._closed:
                        self._busy = mine = False
                        return
                    item = self._queue.popleft()
                _as_another(
                    functools.partial(self._deliver, *item) if item else self._announce_reconnect
                )
        except BaseException:  # Ctrl-C, or of a test that ends in its handler
            if mine:
                self._busy = False
            raise

    def _close(self) -> None:
        with self._server._lock:
            self._closed = True
            with contextlib.suppress(ValueError):  # it is closed already
                self._server._listeners.remove(self)


_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


def _no_number() -> infra.CacheError:
    words = "redis holds no whole number of 64 bits under that key"
    return infra.CacheError(words, service="redis", operation="increment")


def _integer(text: str) -> int:
    """What Redis takes for an integer: 64 bits, in the one form that ``str`` gives it."""
    try:
        value = int(text)
    except ValueError:
        value = _HIGHEST + 1
    if not _LOWEST <= value <= _HIGHEST or str(value) != text:
        raise _no_number()
    return value


_BYTES = frozenset(range(256))


def _glob(glob: str) -> Callable[[str], bool]:
    """Redis's glob as a test of names. It matches bytes, so that "?" is half an "é"."""
    pattern, at = glob.encode(), 0
    classes: dict[bytes, frozenset[int]] = {}  # a long glob repeats them
    parts: list[_Part] = []
    texts_and_classes: list[bytes | frozenset[int]] = []
    while at < len(pattern):
        begun, byte = at, pattern[at : at + 1]
        at += 1
        if byte == b"*":
            if texts_and_classes or not parts:
                parts.append(_Part(texts_and_classes))
                texts_and_classes = []
        elif byte == b"?":
            texts_and_classes.append(_BYTES)
        elif byte == b"[":
            found, at = _byte_class(pattern, at)
            texts_and_classes.append(classes.setdefault(pattern[begun:at], found))
        else:
            if byte == b"\\" and at < len(pattern):
                at += 1
            texts_and_classes.append(pattern[at - 1 : at])
    parts.append(_Part(texts_and_classes))
    return functools.partial(_match, parts)


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
    return (_BYTES - found if negated else frozenset(found)), at + 1


class _Part:
    """What stands between two stars of a glob: texts and classes, one behind the other."""

    def __init__(self, texts_and_classes: Sequence[bytes | frozenset[int]]) -> None:
        self.length = sum(len(each) if isinstance(each, bytes) else 1 for each in texts_and_classes)
        self._pattern = re.compile(b"".join(map(_regular, texts_and_classes)), re.DOTALL)

    def fits(self, name: bytes, at: int) -> bool:
        return self._pattern.match(name, at) is not None

    def find(self, name: bytes, at: int, end: int) -> int:
        """The first place from ``at`` on where it fits in front of ``end``; -1: nowhere."""
        found = self._pattern.search(name, at, end)
        return -1 if found is None else found.start()


def _regular(text_or_class: bytes | frozenset[int]) -> bytes:
    """The regular expression for a text, or for one byte of a class."""
    if isinstance(text_or_class, bytes):
        return re.escape(text_or_class)
    others = _BYTES - text_or_class
    if not others:
        return b"."
    is_long = len(text_or_class) > len(others)
    listed = b"".join(b"\\x%02x" % byte for byte in (others if is_long else text_or_class))
    return b"[%b%b]" % (b"^" if is_long else b"", listed or b"^\\x00-\\xff")


def _match(parts: Sequence[_Part], name: str) -> bool:
    """The first part stands at the beginning, the last at the end, each other as early as it can.

    So nothing is tried twice: never exponential.
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
    """``RedisCacheProvider`` itself, over a ``FakeRedisClient`` of its own unless one is given, on that one's clock."""

    _service = "cache"
    down = False  #: while True, what happens when Redis is: CacheError or, in a cache that fails open, an empty cache

    def __init__(
        self,
        client: infra.KeyValueClient | None = None,
        prefix: str = "",
        *,
        clock: infra.Clock | None = None,
        **named: Any,
    ) -> None:
        """As ``RedisCacheProvider``, with a default for the first."""
        client = client or FakeRedisClient(clock=clock)
        super().__init__(client, prefix, clock=clock, **named)

    def _ask(self, operation: str, call: Callable[..., Any], *arguments: Any) -> Any:
        return super()._ask(operation, self._no_answer if self.down else call, *arguments)

    def _no_answer(self, *_: Any) -> Any:
        raise infra.ConnectionError("FakeCacheProvider is down on purpose", service="redis")


# === verification =================================================================================


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


# === storage ======================================================================================


class _Object:
    """A stored object. Its ETag is computed on first use, because hashing is most of its cost."""

    __slots__ = ("_at", "_etag", "content_type", "data", "metadata", "part_size")

    def __init__(
        self,
        data: bytes,
        content_type: str,
        metadata: Mapping[str, str],
        at: datetime,
        part_size: int,
    ) -> None:
        self.data = data
        self.content_type = content_type
        self.metadata = metadata
        self.part_size = part_size  # 0: not stored in parts
        self._at = at
        self._etag = ""

    @property
    def last_modified(self) -> datetime:
        return self._at.replace(microsecond=0)

    @property
    def etag(self) -> str:
        if not self._etag:
            parts = infra._blocks(self.data, self.part_size or max(1, len(self.data)))
            digests = [*map(_md5, parts)] or [_md5(b"")]
            self._etag = infra._etag_of_parts(digests) if self.part_size else digests[0].hex()
        return self._etag

    def copy(self, at: datetime, part_size: int) -> _Object:
        return _Object(self.data, self.content_type, self.metadata, at, part_size)


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


class _FakeSource(infra._Source):
    def __init__(self, provider: FakeStorageProvider, operation: str, data: bytes) -> None:
        self._provider = provider
        self._operation = operation
        self._file = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        self._provider._look(self._operation)
        return self._file.read(size)

    def close(self) -> None:
        self._file.close()


class FakeStorageProvider(Faults, infra.StorageProvider):
    """Twin of ``S3StorageProvider``. It starts without buckets.

    ``fetch`` takes presigned URLs, which expire by ``clock``.

    Attributes:
        denied: pairs of bucket and key; deleting one is refused with the code "AccessDenied".
    """

    _service = "storage"

    def __init__(
        self,
        buckets: dict[str, dict[str, Any]] | None = None,
        *,
        part_size: int = 8 << 20,
        copy_part_size: int = 128 << 20,
        keeps_folders: bool = False,
        clock: infra.Clock | None = None,
    ) -> None:
        """``buckets``: the objects; fakes that get the same dict share them. Its content is
        private. ``keeps_folders``: ``delete_batch`` removes the folders that it empties, as for a
        store that keeps them."""
        super().__init__(part_size, copy_part_size)
        self._keeps_folders = infra._check_flag("keeps_folders", keeps_folders)
        if not isinstance(buckets, dict | None):
            raise infra.ConfigurationError("buckets should be a dict")
        self.denied: set[tuple[str, str]] = set()
        self._buckets: dict[str, dict[str, _Object]] = {} if buckets is None else buckets
        self._clock = infra._clock(clock)

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
        if method == "PUT":
            self._put(bucket, key, bytes(data), content_type, {})
        elif method == "DELETE":
            self._delete(bucket, key)
        else:
            found = self._get(bucket, key)
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
        found = self._buckets.get(bucket)
        if found is None:
            raise infra.NotFoundError(
                "storage has no such bucket (HTTP 404, NoSuchBucket)",
                resource="bucket",
                service="storage",
                operation=operation,
            )
        return found

    def _object(self, operation: str, bucket: str, key: str) -> _Object:
        found = self._bucket(operation, bucket).get(key)
        if found is None:
            raise infra.NotFoundError(
                "storage has no such object (HTTP 404, NoSuchKey)",
                resource="object",
                service="storage",
                operation=operation,
            )
        return found

    def _put(
        self, bucket: str, key: str, data: bytes, content_type: str, metadata: dict[str, str]
    ) -> None:
        self._bucket("upload", bucket)[key] = _Object(
            data, content_type, metadata, self._clock.now(), 0
        )

    def _put_parts(
        self,
        bucket: str,
        key: str,
        parts: Iterator[bytes],
        content_type: str,
        metadata: dict[str, str],
    ) -> None:
        objects, data = self._bucket("upload", bucket), b"".join(parts)
        objects[key] = _Object(data, content_type, metadata, self._clock.now(), self._part_size)

    def _get(self, bucket: str, key: str) -> bytes:
        return self._object("download", bucket, key).data

    def _source(self, operation: str, bucket: str, key: str) -> infra._Source:
        return _FakeSource(self, operation, self._object(operation, bucket, key).data)

    def _presign(self, bucket: str, key: str, seconds: int, method: str) -> str:
        host, path = bucket + _FAKE_HOST, "/" + urllib.parse.quote(key)
        signed = self._clock.now().strftime(_AMZ_DATE)
        query = {
            "X-Amz-Algorithm": "fake",
            "X-Amz-Date": signed,
            "X-Amz-Expires": str(seconds),
            "method": method,
        }
        query["X-Amz-Signature"] = _signature(host, path, query)
        return f"https://{host}{path}?{urllib.parse.urlencode(query)}"

    def _head(self, operation: str, bucket: str, key: str) -> infra.ObjectMetadata | None:
        found = self._buckets.get(bucket, {}).get(key)
        if found is None:
            return None
        return infra.ObjectMetadata(
            len(found.data),
            found.content_type,
            found.last_modified,
            found.etag,
            dict(found.metadata),
        )

    def _list(
        self, bucket: str, prefix: str, limit: int, token: str | None
    ) -> tuple[list[infra.ObjectSummary], str | None]:
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

    def _delete(self, bucket: str, key: str) -> None:
        objects = self._bucket("delete", bucket)
        if (bucket, key) in self.denied:
            raise self._refused("delete", "AccessDenied")
        objects.pop(key, None)

    def _delete_many(self, bucket: str, keys: Sequence[str]) -> dict[str, str]:
        objects = self._bucket("delete_batch", bucket)
        refused = {key: "AccessDenied" for key in keys if (bucket, key) in self.denied}
        for key in keys:
            if key not in refused:
                objects.pop(key, None)
                if self._keeps_folders and not key.endswith("/"):
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

    def _copy(self, source: tuple[str, str], target: tuple[str, str]) -> None:
        self._copied(source, target, 0)

    def _copy_parts(self, source: tuple[str, str], target: tuple[str, str]) -> None:
        self._copied(source, target, self._copy_part_size)

    def _copied(self, source: tuple[str, str], target: tuple[str, str], part_size: int) -> None:
        found = self._object("copy", *source)
        self._bucket("copy", target[0])[target[1]] = found.copy(self._clock.now(), part_size)

    def _create_bucket(self, bucket: str) -> None:
        self._buckets.setdefault(bucket, {})

    def _health_check(self) -> infra.Health:
        return infra.Health("storage", "FakeStorageProvider", 0.0)


_FAKE_HOST = ".s3.fake.invalid"
_AMZ_DATE = "%Y%m%dT%H%M%SZ"


def _signature(host: str, path: str, query: Mapping[str, str]) -> str:
    return hmac.new(
        _TEST_KEY.encode(), repr((host, path, sorted(query.items()))).encode(), "sha256"
    ).hexdigest()


# === messaging ====================================================================================


class FakeEventBus(Faults, infra.RedisEventBus):
    """``RedisEventBus`` itself, by default over a ``FakeRedisClient`` of its own.

    Handlers run in the publisher's thread after ``publish`` has done its work. They run in an empty
    context, so outside of transactions that the thread has open.
    """

    _service = "redis"
    _simpler: ClassVar[Mapping[str, str]] = {"subscribe_many": "subscribe"}

    def __init__(
        self,
        client: infra.KeyValueClient | None = None,
        on_reconnect: Callable[[], None] | None = None,
        prefix: str = "",
    ) -> None:
        """As ``RedisEventBus``, but ``client`` has a default."""
        super().__init__(client or FakeRedisClient(), on_reconnect, prefix)


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


class FakeSmsService(Faults, infra.SmsService):
    """Keeps messages in ``outbox``, in the order of sending."""

    provider_name = "fake"
    _service = "sms"
    _simpler: ClassVar[Mapping[str, str]] = {"send_verification_code": "send_sms"}

    def __init__(self) -> None:
        self.outbox: list[SentSms] = []

    def _send(self, phone: str, message: str, code: str | None) -> str:
        sent = SentSms(f"fake-{infra.new_id()}", phone, message, code)
        self.outbox.append(sent)
        return sent.id

    def close(self) -> None:
        self._shut()


# === infrastructure ===============================================================================


class FakeInfrastructure(infra.Infrastructure):
    """The bundle on fakes, sharing nothing with another; time is a ``FakeClock`` unless a clock is given.

    A ``with`` block fails with an AssertionError if it ends while a fault of ``fail_next`` waits for
    its call: then the test has not shown what it meant to. An exception that leaves the block goes
    first.
    """

    accounts: FakeDatabase
    exchange: FakeDatabase
    phone_users: FakePhoneUserRepository
    tokens: FakeTokenRepository
    users: FakeUserRepository
    organizations: FakeOrganizationRepository
    benchmarks: FakeBenchmarkRepository
    submissions: FakeSubmissionRepository
    redis: FakeRedisClient
    cache: FakeCacheProvider
    verification: FakeVerificationCache
    storage: FakeStorageProvider
    bus: FakeEventBus
    sms: FakeSmsService

    if not TYPE_CHECKING:
        down = infra._OnlyFakes()

    def __init__(self, clock: infra.Clock | None = None) -> None:
        super().__init__(infra.Config(), clock=infra._clock(clock, FakeClock))
        redis = FakeRedisClient(clock=self.clock)
        accounts = FakeDatabase("mysql", MYSQL_TABLES, clock=self.clock)
        exchange = FakeDatabase("postgres", POSTGRES_TABLES, clock=self.clock)
        self._built: dict[str, Any] = {
            "accounts": accounts,
            "exchange": exchange,
            "phone_users": FakePhoneUserRepository(accounts, clock=self.clock),
            "tokens": FakeTokenRepository(accounts, clock=self.clock),
            "users": FakeUserRepository(exchange, clock=self.clock),
            "organizations": FakeOrganizationRepository(exchange, clock=self.clock),
            "benchmarks": FakeBenchmarkRepository(exchange, clock=self.clock),
            "submissions": FakeSubmissionRepository(exchange, clock=self.clock),
            "redis": redis,
            "cache": FakeCacheProvider(redis, self.config.cache.prefix, clock=self.clock),
            "verification": FakeVerificationCache(redis),
            "storage": FakeStorageProvider(clock=self.clock),
            "bus": FakeEventBus(redis, prefix=self.config.cache.channel_prefix),
            "sms": FakeSmsService(),
        }

    def __exit__(self, *exc_info: object) -> None:
        """Closes the fakes."""
        self.close()
        unused = [fault for fake in self._built.values() for fault in fake._faults]
        if unused and exc_info[0] is None:
            named = (f"{each.method} of {type(each.owner).__name__}" for each in unused)
            raise AssertionError(
                f"no call has met these faults, or not as often as asked for: {', '.join(named)}"
            )

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> FakeInfrastructure:
        """A new bundle; the environment does not matter to fakes."""
        return cls()
