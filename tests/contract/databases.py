"""The databases that contract suites and machines run on: two tables with a rule of every kind."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

import fakes
import infra
from tests.contract.backends import WAIT, eventually


@dataclass(frozen=True)
class Owner:
    name: str
    id: uuid.UUID = infra.FILLED


@dataclass(frozen=True)
class Item:
    amount: int = 0
    label: str | None = None
    note: str | None = ""  # the column is NOT NULL all the same
    owner_id: uuid.UUID | None = None
    keeper_id: uuid.UUID | None = None
    guard_id: uuid.UUID | None = None
    seen_at: datetime | None = None
    id: uuid.UUID = infra.FILLED


@dataclass(frozen=True)
class Cell:
    """A column of every kind."""

    flag: bool | None = None
    whole: int | None = None
    ratio: float | None = None
    price: Decimal | None = None
    data: bytes | None = None
    day: date | None = None
    moment: datetime | None = None
    second: datetime | None = None
    word: str | None = None
    code: str | None = None
    document: dict[str, Any] | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    id: uuid.UUID = infra.FILLED


class Owners(infra.Repository[Owner]):
    record = Owner
    table = "owners"
    resource = "owner"
    sort_fields = ("name",)
    filter_fields = ("name",)

    def find_by_name(self, name: str) -> Owner | None:
        return self._first("find_by_name", {"name": name})


class Items(infra.Repository[Item]):
    record = Item
    table = "items"
    resource = "item"
    sort_fields = ("amount",)
    filter_fields = ("label", "amount", "owner_id")

    def change(self, where: dict[str, Any], changes: dict[str, Any]) -> int:
        return self._change("change", where, changes)

    def remove(self, where: dict[str, Any]) -> int:
        return self._remove("remove", where)

    def with_label(self, condition: object) -> list[Item]:
        """In the order of their labels."""
        return self._select("with_label", {"label": condition}, [("label", False)])

    def by_amount(self, *, limit: int | None = None, offset: int = 0) -> list[Item]:
        return self._select("by_amount", {}, [("amount", False)], limit=limit, offset=offset)


@dataclass(frozen=True)
class Tag:
    kind: str
    id: uuid.UUID = infra.FILLED


class Tags(infra.Repository[Tag]):
    record = Tag
    table = "tags"
    resource = "tag"
    lengths: ClassVar = {"kind": 10}


class Cells(infra.Repository[Cell]):
    record = Cell
    table = "cells"
    resource = "cell"
    lengths: ClassVar = {"data": 4, "word": 5, "code": 5}
    scales: ClassVar = {"price": (10, 2), "second": 0, "created_at": 0, "updated_at": 0}


@dataclass(frozen=True)
class Node:
    """A row that may refer to rows of its own table, and to itself."""

    owner_id: uuid.UUID | None = None
    guard_id: uuid.UUID | None = None
    keeper_id: uuid.UUID | None = None
    id: uuid.UUID = infra.FILLED


class Nodes(infra.Repository[Node]):
    record = Node
    table = "nodes"
    resource = "node"

    def change(self, where: dict[str, Any], changes: dict[str, Any]) -> int:
        return self._change("change", where, changes)

    def remove(self, *ids: uuid.UUID) -> int:
        return self._remove("remove", {"id": infra.OneOf([*ids])})


class SqlOwners(infra.SqlRepository[Owner], Owners): ...


class SqlItems(infra.SqlRepository[Item], Items): ...


class SqlCells(infra.SqlRepository[Cell], Cells): ...


class SqlTags(infra.SqlRepository[Tag], Tags): ...


class SqlNodes(infra.SqlRepository[Node], Nodes): ...


class FakeOwners(fakes.Faults, fakes.FakeRepository[Owner], Owners): ...


class FakeItems(fakes.Faults, fakes.FakeRepository[Item], Items): ...


class FakeCells(fakes.Faults, fakes.FakeRepository[Cell], Cells): ...


class FakeTags(fakes.Faults, fakes.FakeRepository[Tag], Tags): ...


class FakeNodes(fakes.Faults, fakes.FakeRepository[Node], Nodes): ...


TEXT = {
    "mysql": "VARCHAR({}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "postgres": 'VARCHAR({}) COLLATE "C"',
}
ID = {"mysql": "CHAR(36) CHARACTER SET ascii COLLATE ascii_bin", "postgres": "UUID"}
MOMENT = {"mysql": "DATETIME(6)", "postgres": "TIMESTAMPTZ"}
SECOND = {"mysql": "DATETIME", "postgres": "TIMESTAMPTZ(0)"}
DATA = {"mysql": "VARBINARY(4)", "postgres": "BYTEA"}
CODE = {
    "mysql": "VARCHAR(5) CHARACTER SET ascii COLLATE ascii_bin",
    "postgres": 'VARCHAR(5) COLLATE "C"',
}
TABLES = [
    "CREATE TABLE owners (id {id} NOT NULL PRIMARY KEY, name {text10} NOT NULL, "
    "CONSTRAINT owners_name_key UNIQUE (name))",
    "CREATE TABLE items (id {id} NOT NULL PRIMARY KEY, amount INTEGER NOT NULL, "
    "label {text5} NULL, note {text10} NOT NULL, owner_id {id} NULL, keeper_id {id} NULL, "
    "guard_id {id} NULL, seen_at {moment} NULL, "
    "CONSTRAINT items_label_key UNIQUE (label), CONSTRAINT items_amount_check CHECK (amount >= 0), "
    "CONSTRAINT items_label_check CHECK (label <> 'never'), "
    "CONSTRAINT items_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES owners (id) "
    "ON DELETE CASCADE, "
    "CONSTRAINT items_guard_id_fkey FOREIGN KEY (guard_id) REFERENCES owners (id) "
    "ON DELETE RESTRICT, "
    "CONSTRAINT items_keeper_id_fkey FOREIGN KEY (keeper_id) REFERENCES owners (id) "
    "ON DELETE SET NULL)",
    "CREATE TABLE cells (id {id} NOT NULL PRIMARY KEY, flag BOOLEAN NULL, whole INTEGER NULL, "
    "ratio DOUBLE PRECISION NULL, price NUMERIC(10,2) NULL, data {data} NULL, day DATE NULL, "
    "moment {moment} NULL, second {second} NULL, word {text5} NULL, code {code} NULL, "
    "document JSON NULL, created_at {second} NULL, updated_at {second} NULL)",
    "CREATE TABLE tags (id {id} NOT NULL PRIMARY KEY, kind {text10} NOT NULL, "
    "CONSTRAINT tags_kind_check CHECK (kind IN ('worker', 'customer')))",
    "CREATE TABLE nodes (owner_id {id} NULL, guard_id {id} NULL, keeper_id {id} NULL, "
    "id {id} NOT NULL PRIMARY KEY, "
    "CONSTRAINT nodes_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES nodes (id) "
    "ON DELETE CASCADE, "
    "CONSTRAINT nodes_guard_id_fkey FOREIGN KEY (guard_id) REFERENCES nodes (id) "
    "ON DELETE RESTRICT, "
    "CONSTRAINT nodes_keeper_id_fkey FOREIGN KEY (keeper_id) REFERENCES nodes (id) "
    "ON DELETE SET NULL)",
]
_owners = fakes.Table.of(Owners, unique={"owners_name_key": ("name",)})
_items = fakes.Table.of(
    Items,
    unique={"items_label_key": ("label",)},
    checks={
        "items_amount_check": lambda row: row["amount"] >= 0,
        "items_label_check": lambda row: None if row["label"] is None else row["label"] != "never",
    },
    foreign_keys={
        "items_owner_id_fkey": fakes.ForeignKey(("owner_id",), "owners", on_delete="cascade"),
        "items_guard_id_fkey": fakes.ForeignKey(("guard_id",), "owners", on_delete="restrict"),
        "items_keeper_id_fkey": fakes.ForeignKey(("keeper_id",), "owners", on_delete="set null"),
    },
)
_cells = fakes.Table.of(Cells)
_tags = fakes.Table.of(
    Tags, checks={"tags_kind_check": lambda row: row["kind"] in ("worker", "customer")}
)
FAKE_TABLES = [
    _tags,
    replace(_owners, columns={**_owners.columns, "name": fakes.Column(str, length=10)}),
    replace(
        _items,
        columns={
            **_items.columns,
            "label": fakes.Column(str, null=True, length=5),
            "note": fakes.Column(str, length=10),
        },
    ),
    fakes.Table.of(
        Nodes,
        foreign_keys={
            "nodes_owner_id_fkey": fakes.ForeignKey(("owner_id",), "nodes", on_delete="cascade"),
            "nodes_guard_id_fkey": fakes.ForeignKey(("guard_id",), "nodes", on_delete="restrict"),
            "nodes_keeper_id_fkey": fakes.ForeignKey(("keeper_id",), "nodes", on_delete="set null"),
        },
    ),
]


def fake_tables(dialect: str) -> list[fakes.Table]:
    """Postgres has no column of ASCII alone, nor of so many bytes."""
    own = {"data": fakes.Column(bytes, True)}
    if dialect != "postgres":
        own = {"code": fakes.Column(str, True, 5, ascii=True)}
    return [replace(_cells, columns={**_cells.columns, **own}), *FAKE_TABLES]


@dataclass
class DatabaseBackend:
    """``dialect`` is that of the fake: what a server of this kind and version does."""

    database: infra.Database
    owners: Owners
    items: Items
    cells: Cells
    tags: Tags
    dialect: str
    nodes: Nodes

    @property
    def engine(self) -> str:
        return self.database.engine


def fake_backend(dialect: str, **options: Any) -> DatabaseBackend:
    database = fakes.FakeDatabase(dialect, fake_tables(dialect), **options)
    repositories = (
        FakeOwners(database),
        FakeItems(database),
        FakeCells(database),
        FakeTags(database),
    )
    return DatabaseBackend(database, *repositories, dialect, FakeNodes(database))


def dialect_of(database: infra.Database) -> str:
    """The name that FakeDatabase has for what this server is."""
    name, version = database.health_check().server.split()[:2]
    if name == "MySQL" and tuple(map(int, version.split(".")[:2])) >= (9, 6):
        return "mysql"
    return "postgres" if name == "PostgreSQL" else "mariadb"


def create_tables(url: str) -> None:
    with infra.create_pool(infra.DatabaseConfig(url=url)) as pool:
        engine = pool.engine
        for statement in TABLES:
            text = TEXT[engine]
            pool.execute(
                statement.format(
                    id=ID[engine],
                    moment=MOMENT[engine],
                    second=SECOND[engine],
                    data=DATA[engine],
                    code=CODE[engine],
                    text5=text.format(5),
                    text10=text.format(10),
                )
            )


def empty(database: infra.Database, *tables: str) -> None:
    """Delete all rows of the tables, children first. Postgres does it in one statement."""
    statements = [f"DELETE FROM {table}" for table in tables]
    if database.engine == "postgres":
        *parts, last = statements
        named = [f"part{number} AS ({part})" for number, part in enumerate(parts)]
        statements = [f"WITH {', '.join(named)} {last}"] if named else [last]
    for statement in statements:
        database.execute(statement)


def real_backend(url: str, **options: Any) -> DatabaseBackend:
    pool = infra.create_pool(infra.DatabaseConfig(url=url, **options))
    pool.execute("UPDATE nodes SET guard_id = NULL")  # a row that guards itself stays
    empty(pool, "items", "owners", "cells", "tags", "nodes")
    repositories = SqlOwners(pool), SqlItems(pool), SqlCells(pool), SqlTags(pool)
    return DatabaseBackend(pool, *repositories, dialect_of(pool), SqlNodes(pool))


_made: dict[str, str] = {}


def with_tables(database: Callable[[str], str], name: str) -> str:
    """The URL of this run's database with the two tables on that server."""
    if name not in _made:
        url = database(name)
        create_tables(url)
        _made[name] = url
    return _made[name]


def on_fake_database(dialect: str) -> Any:
    @pytest.fixture
    def backend(self: object) -> DatabaseBackend:
        return fake_backend(dialect)

    return backend


def on_real_database(name: str) -> Any:
    @pytest.fixture
    def backend(self: object, database: Callable[[str], str]) -> Iterator[DatabaseBackend]:
        found = real_backend(with_tables(database, name))
        yield found
        found.database.close()

    return backend


def unchecked(repository: infra.Repository[Any]) -> Any:
    """A repository of the same table that leaves the texts to the database's own checks."""
    kind: Any = type("Unchecked", (type(repository),), {"formats": {}})
    return kind(repository.database)


def violation(call: Callable[[], Any]) -> tuple[str | None, str | None]:
    """The rule that the call breaks, and its kind."""
    with pytest.raises(infra.ConflictError) as caught:
        call()
    return caught.value.constraint, caught.value.kind


#: the library's repositories on each engine
ENGINES: dict[str, Any] = {
    "mysql": SimpleNamespace(
        phone_users=infra.MySQLPhoneUserRepository,
        tokens=infra.MySQLTokenRepository,
        users=infra.MySQLUserRepository,
        organizations=infra.MySQLOrganizationRepository,
        benchmarks=infra.MySQLBenchmarkRepository,
        submissions=infra.MySQLSubmissionRepository,
    ),
    "postgres": SimpleNamespace(
        phone_users=infra.PostgresPhoneUserRepository,
        tokens=infra.PostgresTokenRepository,
        users=infra.PostgresUserRepository,
        organizations=infra.PostgresOrganizationRepository,
        benchmarks=infra.PostgresBenchmarkRepository,
        submissions=infra.PostgresSubmissionRepository,
    ),
}


@dataclass
class AccountsBackend:
    """The phone accounts; ``clock`` is the repositories', on real servers too."""

    database: infra.Database
    users: infra.PhoneUserRepository
    tokens: infra.TokenRepository
    clock: fakes.FakeClock

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


HASH_KEY = "0123456789abcdef0123456789abcdef"


def fake_library(dialect: str) -> fakes.FakeDatabase:
    """A database with the tables of schema.sql."""
    tables = fakes.POSTGRES_TABLES if dialect == "postgres" else fakes.MYSQL_TABLES
    return fakes.FakeDatabase(dialect, tables)


def on_fake_accounts(dialect: str) -> Any:
    @pytest.fixture
    def backend(self: object) -> AccountsBackend:
        clock = fakes.FakeClock()
        database = fake_library(dialect)
        users = fakes.FakePhoneUserRepository(database, HASH_KEY, clock=clock)
        return AccountsBackend(
            database, users, fakes.FakeTokenRepository(database, clock=clock), clock
        )

    return backend


_migrated: dict[str, str] = {}


def migrated(database: Callable[[str], str], name: str) -> str:
    """The URL of this run's database on that server, with the library's schema."""
    if name not in _migrated:
        _migrated[name] = database(name)
        with infra.create_pool(infra.DatabaseConfig(url=_migrated[name])) as pool:
            infra.Migrator(pool).apply()
    return _migrated[name]


def on_real_accounts(name: str) -> Any:
    @pytest.fixture
    def backend(
        self: object, database: Callable[[str], str], shared_pool: Callable[[str], Any]
    ) -> AccountsBackend:
        pool, clock = shared_pool(migrated(database, name)), fakes.FakeClock()
        pool.execute("DELETE FROM phone_users")
        users = ENGINES[pool.engine].phone_users(pool, HASH_KEY, clock=clock)
        return AccountsBackend(pool, users, ENGINES[pool.engine].tokens(pool, clock=clock), clock)

    return backend


@dataclass
class ExchangeBackend:
    """The benchmark exchange; ``clock`` is the repositories', on real servers too."""

    database: infra.Database
    users: infra.UserRepository
    organizations: infra.OrganizationRepository
    benchmarks: infra.BenchmarkRepository
    submissions: infra.SubmissionRepository
    clock: fakes.FakeClock

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


class RolledBack(Exception):
    """Leaves a transaction on purpose."""


def seen_waiting(database: infra.Database, work: Callable[[], Any]) -> Callable[[], Any]:
    """Begin ``work`` in another thread, and return when it waits for a transaction.

    The function that this returns waits for the end of the work, and returns its result or
    exception.
    """
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:
            results.append(error)

    def waits() -> Any:
        if isinstance(database, fakes.FakeDatabase):
            return database.stats().waiting
        assert isinstance(database, infra.ConnectionPool)
        if database.engine == "mysql":  # counted for the whole server
            sql = "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'"
            return int((database.fetch_one(sql) or ("", 0))[1])
        sql = (
            "SELECT count(*) FROM pg_locks "
            "WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
        )
        return (database.fetch_one(sql) or (0,))[0]

    def join() -> Any:
        thread.join(WAIT)
        return results[0]

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    eventually(lambda: waits() or results)
    assert not results, f"it does not wait: {results[0]!r}"
    return join


def overlapped(
    database: infra.Database,
    first: Callable[[], Any],
    second: Callable[[], Any],
    then: Callable[[], Any] = lambda: None,
    *,
    commit: bool = True,
) -> Any:
    """Run ``second`` while a transaction that has run ``first`` is open.

    When ``second`` waits for it, the transaction runs ``then`` and ends. Returns the result of
    ``second``, or its exception.
    """
    with contextlib.suppress(RolledBack), database.transaction():
        first()
        join = seen_waiting(database, second)
        then()
        if not commit:
            raise RolledBack
    return join()


def fake_exchange(dialect: str) -> ExchangeBackend:
    database, clock = fake_library(dialect), fakes.FakeClock()
    return ExchangeBackend(
        database,
        fakes.FakeUserRepository(database, clock=clock),
        fakes.FakeOrganizationRepository(database, clock=clock),
        fakes.FakeBenchmarkRepository(database, clock=clock),
        fakes.FakeSubmissionRepository(database, clock=clock),
        clock,
    )


def empty_exchange(database: infra.Database) -> None:
    # Members are named, because Postgres may look at users before organizations cascade to them.
    children = "submissions", "benchmarks", "organization_members"
    empty(database, *children, "organizations", "users")


def real_exchange(
    url: str,
    observer: Callable[[infra.Call], None] | None = None,
    clock: fakes.FakeClock | None = None,
) -> ExchangeBackend:
    """With empty tables."""
    pool = infra.create_pool(infra.DatabaseConfig(url=url), observer=observer)
    return exchange_on(pool, clock or fakes.FakeClock())


def exchange_on(pool: infra.ConnectionPool, clock: fakes.FakeClock) -> ExchangeBackend:
    """With empty tables."""
    empty_exchange(pool)
    classes = ENGINES[pool.engine]
    return ExchangeBackend(
        pool,
        classes.users(pool, clock=clock),
        classes.organizations(pool, clock=clock),
        classes.benchmarks(pool, clock=clock),
        classes.submissions(pool, clock=clock),
        clock,
    )


def on_fake_exchange(dialect: str) -> Any:
    @pytest.fixture
    def backend(self: object) -> ExchangeBackend:
        return fake_exchange(dialect)

    return backend


def on_real_exchange(name: str) -> Any:
    @pytest.fixture
    def backend(
        self: object, database: Callable[[str], str], shared_pool: Callable[[str], Any]
    ) -> ExchangeBackend:
        return exchange_on(shared_pool(migrated(database, name)), fakes.FakeClock())

    return backend
