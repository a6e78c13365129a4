"""Faults of ConnectionPool: killed and paused servers, lost replies, deadlocks, forks, threads."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import enum
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import tracemalloc
import uuid
import warnings
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from datetime import time as day_time
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypeVar

import pytest

import fakes
import infra
from tests.conftest import _note_version, _or_skip
from tests.contract.backends import WAIT, eventually, in_background, in_child, in_threads
from tests.contract.texts import Raw, Text, any_text
from tests.faults.proxy import Proxy, Recording, Stub
from tests.interrupts import interrupted_at, interruptions
from tests.services import PostgresServer, Server, free_port, private

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")]

T = TypeVar("T")
SLACK = 5.0  # seconds that a busy machine may add


class Home:
    """A database with one empty table, and a connection that reads it from outside the pool."""

    def __init__(self, kind: str, server: Server) -> None:
        self.kind = kind
        self.server = server
        self.url = server.url
        self.name = server.url.rpartition("/")[2]
        self.engine = "postgres" if isinstance(server, PostgresServer) else "mysql"
        self._eye: Any = None
        self._endure()
        # Of a test that failed, or that is about to go by itself.
        for session in self.connections():
            with contextlib.suppress(Exception):
                self.ask(self.pick(f"KILL {session}", f"SELECT pg_terminate_backend({session})"))
        eventually(lambda: self.connections() == [])
        self.ask("DROP TABLE IF EXISTS t, notes, secrets, made, kinds")
        self.make()

    def make(self, table: str = "t") -> None:
        """A new table, without rows."""
        self.ask(f"DROP TABLE IF EXISTS {table}")
        self.ask(f"CREATE TABLE {table} (n INTEGER PRIMARY KEY, v INTEGER)")

    def _endure(self) -> None:
        """Committed data survives a kill; the servers of other tests are faster and lose it."""
        if self.engine == "mysql":
            self.ask("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
        else:
            self.ask(f"ALTER DATABASE {self.name} SET synchronous_commit = on")
        self.close()  # the next session has it

    def raw(self) -> Any:
        """A connection of the bare driver."""
        name, port = self.name, self.server.port
        if self.engine == "mysql":
            import pymysql

            return pymysql.connect(
                host="127.0.0.1", port=port, user="root", database=name, autocommit=True
            )
        import psycopg2

        connection = psycopg2.connect(host="127.0.0.1", port=port, user="postgres", dbname=name)
        connection.autocommit = True
        return connection

    def pool(
        self, *, port: int = 0, clock: Any = None, observer: Any = None, **options: Any
    ) -> infra.ConnectionPool:
        url = self.url.replace(str(self.server.port), str(port or self.server.port))
        return infra.create_pool(
            infra.DatabaseConfig(url=url, **options), clock=clock, observer=observer
        )

    def pick(self, mysql: T, postgres: T) -> T:
        return mysql if self.engine == "mysql" else postgres

    def ask(self, sql: str) -> list[Any]:
        if self._eye is None:
            self._eye = self.raw()
        with self._eye.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    def close(self) -> None:
        if self._eye is not None:
            self._eye.close()
        self._eye = None

    def restart(self) -> None:
        """A SIGKILL, and a new server on the same port."""
        self.server.kill()
        self.start()

    def start(self) -> None:
        self.close()
        self.server.start()
        self._endure()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        self.server.pause()
        try:
            yield
        finally:
            self.server.resume()

    def rows(self, table: str = "t") -> list[Any]:
        return [row[0] for row in self.ask(f"SELECT n FROM {table} ORDER BY n")]

    def rows_at_rest(self) -> list[Any]:
        """Return the rows when no writing transaction is open: a COMMIT may be on its way."""
        self.ask(
            self.pick("SELECT n FROM t FOR UPDATE", "BEGIN; LOCK TABLE t IN SHARE MODE; COMMIT")
        )
        return self.rows()

    def _sessions(self, condition: str) -> list[int]:
        source = self.pick(
            "SELECT id FROM information_schema.processlist WHERE db = DATABASE() "
            "AND id <> CONNECTION_ID()",
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'",
        )
        return [row[0] for row in self.ask(f"{source} AND {condition}")]

    def connections(self) -> list[int]:
        return self._sessions("1 = 1")

    def running(self, words: str = "") -> list[int]:
        """Sessions in which a statement runs, with these words in it."""
        text = self.pick("COALESCE(info, '')", "query")
        busy = self.pick("command <> 'Sleep'", "state = 'active'")
        return self._sessions(f"{busy} AND {text} LIKE '%{words}%'")

    def transactions(self) -> int:
        """How many sessions are in a transaction."""
        if self.engine == "postgres":
            return len(self._sessions("state LIKE 'idle in transaction%'"))
        found = self.ask(
            "SELECT count(*) FROM information_schema.innodb_trx JOIN information_schema.processlist"
            " ON trx_mysql_thread_id = id WHERE db = DATABASE()"
        )
        return int(found[0][0])

    @property
    def who(self) -> str:
        """SQL for the number that the server gives a connection."""
        return self.pick("SELECT CONNECTION_ID()", "SELECT pg_backend_pid()")

    def sleep(self, seconds: float) -> str:
        return self.pick(f"SELECT sleep({seconds})", f"SELECT pg_sleep({seconds})")

    def slow(self, seconds: float) -> str:
        """A query of that length, once there is a row in t. Ended by a server, it fails; of a sleep
        alone MySQL makes an answer."""
        return self.pick(f"SELECT n FROM t WHERE sleep({seconds}) = 0", self.sleep(seconds))

    def numbers(self, last: int) -> str:
        """SQL for the rows 1 … last."""
        zeros = f"CONCAT('[', REPEAT('0,', {last - 1}), '0]')"
        return self.pick(
            f"SELECT n FROM JSON_TABLE({zeros}, '$[*]' COLUMNS (n FOR ORDINALITY)) AS numbers",
            f"SELECT n FROM generate_series(1, {last}) AS n",
        )

    @property
    def returning(self) -> str:
        """MySQL has no RETURNING."""
        return "" if self.kind == "mysql" else "RETURNING n"

    @property
    def driver_error(self) -> type[Exception]:
        import psycopg2
        import pymysql

        errors: tuple[type[Exception], type[Exception]] = pymysql.Error, psycopg2.Error
        return self.pick(*errors)


@pytest.fixture(scope="module")
def servers() -> Iterator[Callable[..., Server]]:
    """Private servers that the tests of this file share; some are paused, others killed."""
    started: dict[tuple[str, bool], Server] = {}

    def server(name: str, *, fragile: bool = False) -> Server:
        key = name, fragile
        if key not in started:
            started[key] = _or_skip(lambda: private(name))
            _note_version(name, started[key].url)
        process = started[key].process
        if process is None or process.poll() is not None:  # a test has failed half-way
            started[key].start()
        return started[key]

    yield server
    for each in started.values():
        each.stop()


@pytest.fixture(params=["mariadb", "mysql", "postgres"])
def home(request: pytest.FixtureRequest, servers: Callable[..., Server]) -> Iterator[Home]:
    with contextlib.closing(Home(request.param, servers(request.param))) as made:
        yield made


@pytest.fixture(params=["mariadb", "mysql", "postgres"])
def fragile(request: pytest.FixtureRequest, servers: Callable[..., Server]) -> Iterator[Home]:
    """On a server that may be killed."""
    with contextlib.closing(Home(request.param, servers(request.param, fragile=True))) as made:
        yield made


mysql_only = pytest.mark.parametrize("home", ["mariadb", "mysql"], indirect=True)
postgres_only = pytest.mark.parametrize("home", ["postgres"], indirect=True)


def insert(number: int) -> str:
    return f"INSERT INTO t (n) VALUES ({number})"


def failure(call: Callable[[], Any]) -> Exception:
    """Return the error that the call raises."""
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


@contextlib.contextmanager
def lasts(at_least: float, at_most: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert at_least <= time.monotonic() - started < at_most + SLACK


def outcome(call: Callable[[], Any]) -> Any:
    """Return the result of the call, or its error's class and whether it is retryable."""
    try:
        return call()
    except infra.InfrastructureError as error:
        return type(error), error.retryable


def transact(pool: infra.ConnectionPool, *steps: Callable[[], Any]) -> None:
    with pool.transaction():
        for step in steps:
            step()


def open_at_once(pool: infra.ConnectionPool, count: int) -> None:
    """Leaves that many idle connections in the pool."""
    with contextlib.ExitStack() as leases:
        for _ in range(count):
            leases.enter_context(pool.connection())
    assert pool.stats() == infra.PoolStats(pool.config.max_connections, count, 0, count, 0)


# --- killed


def test_killed_and_restarted_between_calls(fragile: Home) -> None:
    with fragile.pool(max_connections=8) as pool:
        open_at_once(pool, 8)
        fragile.restart()
        assert pool.execute(insert(1)) == 1
        fragile.restart()
        assert pool.fetch_all("SELECT n FROM t") == [(1,)]
        open_at_once(pool, 8)
        fragile.restart()
        assert in_threads(8, lambda number: pool.execute(insert(10 + number))) == [1] * 8
        fragile.restart()
        with pool.transaction():
            pool.execute(insert(2))
        assert fragile.rows() == [1, 2, *range(10, 18)]
        assert pool.stats().in_use == 0


def test_killed_inside_a_transaction(fragile: Home) -> None:
    """The statements before the kill are gone, so none after it may run."""
    with fragile.pool() as pool:

        def go_on() -> None:
            pool.execute(insert(1))
            fragile.restart()
            lost = failure(lambda: pool.execute(insert(2)))
            assert (type(lost), lost.operation) == (infra.ConnectionError, "execute")  # type: ignore[attr-defined]
            for call in (
                lambda: pool.execute(insert(3)),
                lambda: pool.fetch_one("SELECT 1"),
                lambda: pool.insert_many("t", ["n"], [(4,)]),
                lambda: pool.transaction().__enter__(),
            ):
                refused = failure(call)
                assert type(refused) is infra.DatabaseError
                assert refused.retryable is False
            # A session of the restart may still be ending; one of the pool's would stay.
            eventually(lambda: fragile.connections() == [])

        with pytest.raises(infra.DatabaseError, match="was rolled back") as end:
            transact(pool, go_on)
        assert end.value.retryable is False
        assert fragile.rows() == []
        assert pool.execute(insert(5)) == 1
        assert fragile.rows() == [5]


@pytest.mark.parametrize("at", ["statement", "commit"])
def test_run_does_not_repeat_what_a_kill_ended(fragile: Home, at: str) -> None:
    calls = []

    def work() -> None:
        calls.append(1)
        pool.execute(insert(len(calls)))
        fragile.restart()
        if at == "statement":
            pool.execute(insert(7))

    with fragile.pool() as pool:
        with pytest.raises(infra.ConnectionError) as caught:
            pool.run(work)
        assert caught.value.operation == {"statement": "execute", "commit": "commit"}[at]
        assert (len(calls), fragile.rows()) == (1, [])


def test_killed_while_a_statement_runs(fragile: Home) -> None:
    with fragile.pool() as pool:
        running = threading.Thread(
            target=lambda: caught.append(failure(lambda: pool.execute(fragile.sleep(60))))
        )
        caught: list[Exception] = []
        running.start()
        eventually(fragile.running)
        fragile.server.kill()
        running.join(WAIT)
        assert [type(each) for each in caught] == [infra.ConnectionError]
        with lasts(0, 0.5):
            assert type(failure(lambda: pool.execute(insert(1)))) is infra.ConnectionError
        fragile.start()
        assert pool.execute(insert(1)) == 1


def test_who_waits_for_a_place_does_not_wait_twice(fragile: Home) -> None:
    """A waiter whose turn comes while the server is down gets the error at once."""
    caught: list[Exception] = []
    with fragile.pool(max_connections=1, min_connections=1, acquire_timeout=30) as pool:
        waiting = threading.Thread(
            target=lambda: caught.append(failure(lambda: pool.connection().__enter__()))
        )
        lease: Any = pool.connection()
        with lease:
            waiting.start()
            eventually(lambda: pool.stats().waiting)
            fragile.server.kill()
            eventually(lambda: lease.resource.is_readable(0))  # its end has come through
        waiting.join(5)
        assert not waiting.is_alive()
        assert [type(each) for each in caught] == [infra.ConnectionError]
        assert pool.stats().in_use == 0


# --- lost replies


@dataclasses.dataclass(frozen=True)
class Note:
    text: str
    id: uuid.UUID | None = None
    created_at: datetime | None = None


class Notes(infra.SqlRepository[Note]):
    record = Note
    table = "notes"
    resource = "note"


@pytest.fixture
def notes(home: Home) -> Note:
    """One record in the table of ``Notes``."""
    key, moment = home.pick("CHAR(36)", "UUID"), home.pick("DATETIME(6)", "TIMESTAMPTZ")
    home.ask(
        f"CREATE TABLE notes (id {key} PRIMARY KEY, text VARCHAR(99) NOT NULL, "
        f"created_at {moment} NOT NULL)"
    )
    with home.pool() as pool:
        return Notes(pool).create(Note("first"))


@dataclasses.dataclass
class Wire:
    """A pool behind a proxy, one warm connection in it, and what its observer was told since."""

    pool: infra.ConnectionPool
    proxy: Proxy
    calls: list[tuple[str, str, int]]

    def lose(self) -> None:
        """The next reply does not come."""
        self.calls.clear()
        self.proxy.swallow = True


@pytest.fixture
def wire(home: Home) -> Iterator[Wire]:
    calls: list[tuple[str, str, int]] = []

    def observer(call: infra.Call) -> None:
        calls.append((call.operation, call.outcome, call.attempt))

    with (
        Proxy(home.server.port) as proxy,
        home.pool(port=proxy.port, observer=observer, max_connections=2) as pool,
    ):
        pool.fetch_one("SELECT 1")
        yield Wire(pool, proxy, calls)


READS: dict[str, Callable[[Notes, Note], Any]] = {
    "find_by_id": lambda repository, note: repository.find_by_id(note.id or uuid.uuid4()) == note,
    "count": lambda repository, note: repository.count() == 1,
    "page": lambda repository, note: repository.page().items == [note],
}


@pytest.mark.parametrize("read", READS)
def test_a_read_whose_reply_is_lost_is_repeated(notes: Note, wire: Wire, read: str) -> None:
    wire.lose()
    assert READS[read](Notes(wire.pool), notes)
    assert wire.calls == [(read, "ConnectionError", 1), (read, "ok", 2)]
    assert wire.proxy.swallowed == 1


def test_a_socket_in_the_file_system(home: Home) -> None:
    """Its path stands percent-encoded where a host does. Also a statement is ended over it."""
    path = home.server.folder / home.pick("socket", "data")
    name = str(path).replace("/", "%2F")
    login = home.pick("root", "postgres")
    port = home.pick("", f":{home.server.port}")
    url = f"{home.pick('mysql', 'postgresql')}://{login}@{name}{port}/{home.name}"
    with infra.create_pool(infra.DatabaseConfig(url, query_timeout=1.5)) as pool:
        pool.execute("DELETE FROM t")
        pool.execute(insert(1))
        assert pool.fetch_all("SELECT n FROM t") == [(1,)]
        with pytest.raises(infra.TimeoutError):
            pool.fetch_all(home.slow(60))
        assert pool.health_check().service == home.engine
    eventually(lambda: not home.running("sleep"))


@mysql_only
def test_a_socket_that_nobody_serves(home: Home, tmp_path: Path) -> None:
    """The message names its path, without a port, and nothing of an attempt stays open."""
    path = f"{tmp_path}/nobody.sock"
    url = f"mysql://u:p@{path.replace('/', '%2F')}/db"
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with infra.create_pool(infra.DatabaseConfig(url, acquire_timeout=1)) as pool:
            error = failure(lambda: pool.fetch_one("SELECT 1"))
        gc.collect()
    assert [str(each.message) for each in seen] == []
    assert type(error) is infra.ConnectionError
    assert str(error) == (
        f"mysql at {path} could not be reached: No such file or directory (code 2003)"
    )


@postgres_only
def test_options_of_libpq(home: Home) -> None:
    options = (
        "application_name=night%20shift&channel_binding=disable&target_session_attrs=any"
        "&options=-c%20search_path%3Dpg_catalog"
    )
    with infra.create_pool(infra.DatabaseConfig(f"{home.url}?{options}")) as pool:
        asked = "SELECT current_setting('application_name'), current_setting('search_path')"
        assert pool.fetch_all(asked) == [("night shift", "pg_catalog")]


def test_a_health_check_whose_reply_is_lost_is_repeated(home: Home, wire: Wire) -> None:
    wire.lose()
    assert wire.pool.health_check().service == home.engine
    assert wire.calls == [("health_check", "ConnectionError", 1), ("health_check", "ok", 2)]


def test_a_begin_whose_reply_is_lost_is_repeated(home: Home, wire: Wire) -> None:
    """Nothing has happened in that transaction yet."""
    wire.lose()
    with wire.pool.transaction():
        wire.pool.execute(insert(1))
    assert wire.calls[:2] == [("begin", "ConnectionError", 1), ("begin", "ok", 2)]
    assert home.rows() == [1]


@pytest.mark.parametrize("method", ["execute", "fetch_one", "fetch_all"])
def test_a_statement_whose_reply_is_lost_is_sent_once(home: Home, wire: Wire, method: str) -> None:
    wire.lose()
    with pytest.raises(infra.ConnectionError) as caught:
        getattr(wire.pool, method)(f"INSERT INTO t (n) SELECT count(*) FROM t {home.returning}")
    # For the caller to decide.
    assert (caught.value.retryable, caught.value.operation) == (
        True,
        method,
    )
    assert wire.calls == [(method, "ConnectionError", 1)]
    assert home.rows() == [0]


@pytest.mark.parametrize("write", ["create", "update", "delete"])
def test_a_write_of_a_repository_whose_reply_is_lost_is_sent_once(
    home: Home, notes: Note, wire: Wire, write: str
) -> None:
    repository = Notes(wire.pool)
    assert notes.id
    calls: dict[str, Callable[[], Any]] = {
        "create": lambda: repository.create(Note("second")),
        "update": lambda: repository.update(dataclasses.replace(notes, text="changed")),
        "delete": lambda: repository.delete(notes.id or uuid.uuid4()),
    }
    wire.lose()
    assert type(failure(calls[write])) is infra.ConnectionError
    assert wire.calls == [(write, "ConnectionError", 1)]
    stored = [text for (text,) in home.ask("SELECT text FROM notes ORDER BY text")]
    assert stored == {"create": ["first", "second"], "update": ["changed"], "delete": []}[write]


def test_in_a_transaction_nothing_is_repeated(home: Home, notes: Note, wire: Wire) -> None:
    repository = Notes(wire.pool)
    for call in (
        lambda: repository.find_by_id(notes.id or uuid.uuid4()),
        lambda: wire.pool.execute(insert(2)),
        lambda: wire.pool.transaction().__enter__(),
    ):
        with pytest.raises(infra.ConnectionError):
            transact(wire.pool, lambda: wire.pool.execute(insert(1)), wire.lose, call)
        assert [outcome for _, outcome, _ in wire.calls].count("ConnectionError") == 1
        eventually(lambda: home.transactions() == 0)
        assert home.rows() == []


def test_insert_many_whose_reply_is_lost_stores_nothing(home: Home, wire: Wire) -> None:
    lost: list[int] = []

    def numbers() -> Iterator[tuple[int]]:
        for number in range(50_000):
            if wire.pool.stats().in_use and not lost:  # the first batch is in
                lost.append(number)
                wire.lose()
            yield (number,)

    with pytest.raises(infra.ConnectionError):
        wire.pool.insert_many("t", ["n"], numbers())
    assert lost[0] > 0
    assert wire.calls[0] == ("insert_many", "ConnectionError", 1)
    eventually(lambda: home.transactions() == 0)
    assert home.rows() == []
    assert wire.pool.insert_many("t", ["n"], [(1,), (2,)]) == 2


@pytest.mark.parametrize("how", ["transaction", "run", "insert_many"])
def test_a_commit_whose_reply_is_lost_has_happened_once(home: Home, wire: Wire, how: str) -> None:
    runs = []

    def work() -> None:
        runs.append(1)
        if how == "insert_many":
            wire.pool.insert_many("t", ["n"], [(len(runs),)])
        else:
            wire.pool.execute(insert(len(runs)))
        wire.lose()

    def transaction() -> None:
        with wire.pool.transaction():
            work()

    with pytest.raises(infra.ConnectionError) as caught:
        transaction() if how == "transaction" else wire.pool.run(work)
    assert (caught.value.operation, len(runs), home.rows()) == ("commit", 1, [1])
    assert wire.calls[0] == ("commit", "ConnectionError", 1)
    assert wire.pool.execute(insert(2)) == 1


# --- paused, and slow


def test_paused_before_login(home: Home) -> None:
    with home.pool(connect_timeout=1) as pool, home.paused():
        # libpq waits at least 2 s.
        with (
            lasts(0.9, home.pick(1, 2)),
            pytest.raises(infra.TimeoutError),
        ):
            pool.execute(insert(1))
        assert pool.stats().open == 0
    with home.pool(connect_timeout=1) as pool:
        assert pool.execute(insert(1)) == 1


def test_paused_inside_a_query(home: Home) -> None:
    """A single statement, and one in a transaction, run while the server is paused."""
    ready = threading.Barrier(2)
    paused, timed_out, resumed = (threading.Event() for _ in range(3))

    def in_a_transaction(pool: infra.ConnectionPool) -> None:
        pool.execute(insert(2))
        ready.wait(WAIT)
        assert paused.wait(WAIT)
        with lasts(1, 2), pytest.raises(infra.TimeoutError):
            pool.execute(insert(3))
        timed_out.set()
        assert resumed.wait(WAIT)
        assert type(failure(lambda: pool.execute(insert(4)))) is infra.DatabaseError

    with home.pool(query_timeout=1) as other, home.pool(query_timeout=1) as pool:
        pool.execute(insert(1))
        join = in_background(lambda: transact(other, lambda: in_a_transaction(other)))
        ready.wait(WAIT)
        try:
            with home.paused():
                paused.set()
                with lasts(1, 2), pytest.raises(infra.TimeoutError) as caught:
                    pool.fetch_all("SELECT n FROM t")
                assert timed_out.wait(WAIT)
        finally:
            resumed.set()
        assert caught.value.operation == "fetch_all"
        assert pool.fetch_all("SELECT n FROM t") == [(1,)]
        error = join()
        assert isinstance(error, infra.DatabaseError)
        assert "was rolled back" in str(error)
        eventually(lambda: home.transactions() == 0)
        assert home.rows() == [1]
        assert other.execute(insert(5)) == 1


# Statements that take a minute or longer; {slow} is a condition that does.
SLOW = {
    "select": "SELECT n FROM {table} WHERE {slow}",
    "locking select": "SELECT n FROM {table} WHERE {slow} FOR UPDATE",
    "update": "UPDATE {table} SET v = 1 WHERE {slow}",
    "delete": "DELETE FROM {table} WHERE {slow}",
    "insert": "INSERT INTO {table} SELECT n + 1, 1 FROM {table} WHERE {slow}",
    "ddl": "CREATE TABLE made AS SELECT n FROM {table} WHERE {slow}",
    "busy": "SELECT count(*) FROM ({numbers}) a, ({numbers}) b, ({numbers}) c, ({numbers}) d",
    "call": "CALL slow()",
}


def slow_statement(home: Home, kind: str, table: str = "t") -> str:
    condition = home.pick("sleep(60) = 0", "pg_sleep(60) IS NOT NULL")
    if kind == "call":
        body = f"UPDATE {table} SET v = 1 WHERE {condition}"
        home.ask("DROP PROCEDURE IF EXISTS slow")
        home.ask("CREATE PROCEDURE slow() " + home.pick(body, f"LANGUAGE SQL AS $${body}$$"))
    return SLOW[kind].format(slow=condition, numbers=home.numbers(1000), table=table)


def one_by_one(home: Home, kinds: list[str], check: Callable[[str, str, str], None]) -> None:
    """Call ``check(kind, statement, table)`` for each kind of slow statement, each with a table of
    its own that has the row 1."""
    for kind in kinds:
        table = f"slow_{kind.replace(' ', '_')}"
        home.make(table)
        home.ask(f"INSERT INTO {table} VALUES (1, NULL)")
        check(kind, slow_statement(home, kind, table), table)
        home.ask(f"DROP TABLE {table}")


def test_a_statement_beyond_query_timeout(home: Home) -> None:
    def check(kind: str, sql: str, table: str) -> None:
        with home.pool(query_timeout=1) as pool:
            first = pool.fetch_one(home.who)
            call = pool.fetch_all if kind in ("select", "locking select", "busy") else pool.execute
            with lasts(0.9, 1), pytest.raises(infra.TimeoutError, match="query_timeout") as caught:
                call(sql)
            assert caught.value.retryable is False
            # The server has ended it, so the connection is in order. A procedure may have set
            # something.
            kept = int(kind != "call")
            assert pool.stats() == infra.PoolStats(10, kept, 0, kept, 0)
            assert (pool.fetch_one(home.who) == first) is bool(kept)
            assert pool.fetch_all(f"SELECT n, v FROM {table}") == [(1, None)]

    one_by_one(home, [*SLOW], check)
    eventually(lambda: home.running() == [])


def test_beyond_query_timeout_in_a_transaction(home: Home) -> None:
    """MySQL ends the statement, Postgres the transaction, or what is behind a savepoint."""

    def check(kind: str, sql: str, table: str) -> None:
        def add(number: int) -> None:
            pool.execute(f"INSERT INTO {table} (n) VALUES ({number})")

        def time_out() -> None:
            with pytest.raises(infra.TimeoutError, match="query_timeout"):
                pool.execute(sql)

        with home.pool(query_timeout=1) as pool:
            steps = [lambda: add(5), time_out, lambda: add(6)]
            if home.engine == "mysql":
                transact(pool, *steps)
            else:
                with pytest.raises(infra.DatabaseError, match="cannot go on"):
                    transact(pool, *steps)
            with pool.transaction():
                add(7)
                with pytest.raises(infra.TimeoutError), pool.transaction():
                    add(8)
                    pool.execute(sql)
                add(9)
            kept = home.pick([1, 5, 6, 7, 9], [1, 7, 9])
            assert [n for n, _ in pool.fetch_all(f"SELECT n, v FROM {table} ORDER BY n")] == kept
            assert pool.fetch_one(f"SELECT count(v) FROM {table}") == (0,)
            assert pool.stats().open == 1

    one_by_one(home, ["select", "update", "insert"], check)
    eventually(lambda: home.running() == [])
    assert home.transactions() == 0


def test_ddl_beyond_query_timeout_in_a_transaction(home: Home) -> None:
    """MySQL has committed what came before it."""
    home.ask(insert(1))
    sql = slow_statement(home, "ddl")
    with home.pool(query_timeout=1) as pool:
        error = home.pick(infra.DatabaseError, infra.TimeoutError)
        with pytest.raises(infra.DatabaseError, match="was rolled back"), pool.transaction():
            pool.execute(insert(2))
            with pytest.raises(error) as caught:
                pool.execute(sql)
            assert "query_timeout" in str(caught.value.__cause__ or caught.value) or (
                home.engine == "postgres"
            )
        assert home.rows() == home.pick([1, 2], [1])
        eventually(lambda: home.running() == [])


def test_a_lock_that_is_waited_for_beyond_query_timeout(home: Home) -> None:
    """DDL waits for other locks than UPDATE does, and longer."""
    home.ask(insert(1))
    with home.pool(query_timeout=1) as pool, contextlib.closing(home.raw()) as holder:
        holder.cursor().execute("BEGIN")
        holder.cursor().execute("UPDATE t SET v = 1 WHERE n = 1")
        with lasts(0.8, 1), pytest.raises(infra.InfrastructureError) as caught:
            pool.execute("ALTER TABLE t ADD COLUMN w INTEGER")
        kinds = infra.TimeoutError, infra.DatabaseError
        assert isinstance(caught.value, kinds)
        eventually(lambda: home.running() == [])
        holder.cursor().execute("ROLLBACK")
        assert pool.execute("UPDATE t SET v = 2") == 1


def test_a_server_that_is_gone_beyond_query_timeout(fragile: Home) -> None:
    """Nobody can be told to end the statement, and nobody says that it has ended."""
    fragile.ask(insert(1))
    sql = slow_statement(fragile, "update")
    with fragile.pool(query_timeout=1) as pool:
        pool.fetch_one("SELECT 1")
        with fragile.paused(), lasts(1, 4), pytest.raises(infra.TimeoutError) as caught:
            pool.execute(sql)
        assert "did not answer in time" in str(caught.value)
        assert (caught.value.retryable, pool.stats().open) == (True, 0)
        fragile.restart()
        assert fragile.ask("SELECT n, v FROM t") == [(1, None)]
        assert pool.execute("UPDATE t SET v = 2") == 1


@mysql_only
def test_a_server_that_takes_no_further_connection(home: Home) -> None:
    """Then the statement cannot be ended from outside; the client gives up all the same."""
    home.ask(insert(1))
    account = f"busy_{uuid.uuid4().hex[:8]}"
    home.ask(f"CREATE USER {account} WITH MAX_USER_CONNECTIONS 1")
    home.ask(f"GRANT ALL ON {home.name}.* TO {account}")
    url = home.url.replace("root@", f"{account}@")
    sql = slow_statement(home, "update")
    try:
        config = infra.DatabaseConfig(url=url, query_timeout=1)
        with infra.create_pool(config) as pool, lasts(1, 4):
            with pytest.raises(infra.TimeoutError) as caught:
                pool.execute(sql)
            stopped = home.kind == "mariadb"  # by the server itself
            assert ("query_timeout" in str(caught.value)) is stopped
            assert pool.stats().open == int(stopped)
    finally:
        home.ask(f"DROP USER {account}")
    for session in home.connections():
        home.ask(f"KILL {session}")
    eventually(lambda: home.running() == [])
    assert home.ask("SELECT n, v FROM t") == [(1, None)]


# --- many threads


@contextlib.contextmanager
def counted(home: Home) -> Iterator[list[int]]:
    """Count the database's connections all the time, and collect the counts in the list."""
    counts: list[int] = []
    over = threading.Event()

    def count() -> None:
        while not over.is_set():
            counts.append(len(home.connections()))

    sampling = threading.Thread(target=count)
    sampling.start()
    try:
        yield counts
    finally:
        over.set()
        sampling.join(WAIT)


def test_fifty_threads_on_five_connections(home: Home) -> None:
    def work(number: int) -> None:
        for turn in range(4):
            pool.execute(insert(number * 10 + turn))
            with pool.transaction():
                assert pool.fetch_one("SELECT n FROM t WHERE n = %s", [number * 10 + turn]) == (
                    number * 10 + turn,
                )
            with pool.connection() as raw:
                raw.cursor().execute("SELECT 1")
            assert len(list(pool.stream(home.numbers(3)))) == 3
            assert isinstance(
                failure(lambda: pool.execute(insert(number * 10 + turn))), infra.ConflictError
            )

    with home.pool(max_connections=5) as pool, counted(home) as counts:
        assert in_threads(50, work) == [None] * 50
        assert pool.stats() == infra.PoolStats(5, 5, 0, 5, 0)
    assert len(home.rows()) == 200
    assert max(counts) == 5


def test_who_waits_too_long_is_told_the_numbers(home: Home) -> None:
    with (
        home.pool(max_connections=5, acquire_timeout=0.3) as pool,
        contextlib.ExitStack() as leases,
        counted(home),
    ):
        for _ in range(5):
            leases.enter_context(pool.connection(timeout=WAIT))
        calls: list[Callable[[], Any]] = [
            lambda: pool.execute("SELECT 1"),
            lambda: pool.connection().__enter__(),
            lambda: pool.transaction().__enter__(),
            lambda: next(pool.stream("SELECT 1")),
        ]
        with lasts(0.3, 0.3):
            errors = in_threads(50, lambda number: calls[number % len(calls)]())
        for error in errors:
            assert isinstance(error, infra.PoolTimeoutError)
            assert str(error) == "ConnectionPool: no connection became free: 5 of 5 in use"
        with lasts(0.05, 0.05), pytest.raises(infra.PoolTimeoutError):
            pool.connection(timeout=0.05).__enter__()
        assert pool.stats().waiting == 0
        leases.close()
        assert in_threads(5, lambda _: pool.fetch_one("SELECT 1")) == [(1,)] * 5


def test_a_failure_gives_the_place_back(home: Home) -> None:
    def raises_in_it() -> None:
        with pool.connection():
            raise ZeroDivisionError

    def raises_in_transaction() -> None:
        with pool.transaction():
            raise ZeroDivisionError

    calls: list[Callable[[], Any]] = [
        raises_in_it,
        raises_in_transaction,
        lambda: pool.execute("SELEC"),
        lambda: pool.fetch_one("SELECT 1 / n FROM no_such_table"),
        lambda: pool.execute("SELECT %s", [1, 2]),
        lambda: pool.execute("SELECT %s", [object()]),
        lambda: pool.execute("BEGIN"),
        lambda: pool.insert_many("t", ["n"], [(1,), (1,)]),
        lambda: pool.insert_many("t", ["n"], ((1 // n,) for n in (1, 0))),
        lambda: list(pool.stream("SELEC")),
        lambda: pool.run(lambda: 1 // 0),
    ]
    with home.pool(max_connections=1, min_connections=1, acquire_timeout=5) as pool:
        for call in calls:
            assert not isinstance(failure(call), infra.PoolTimeoutError)
            assert pool.stats().in_use == 0
            assert pool.fetch_one("SELECT 1") == (1,)
        assert home.rows() == []
        eventually(lambda: len(home.connections()) == 1 and home.transactions() == 0)


def test_who_came_first_is_served_first(home: Home) -> None:
    served: list[int] = []

    def come(number: int) -> None:
        if number % 2:
            with pool.connection():
                served.append(number)
        else:
            with pool.transaction():
                served.append(number)

    with home.pool(max_connections=1, min_connections=1) as pool:
        with pool.connection():
            waiting = [threading.Thread(target=come, args=(number,)) for number in range(20)]
            for number, thread in enumerate(waiting):
                thread.start()
                eventually(lambda: pool.stats().waiting == number + 1)
        for thread in waiting:
            thread.join(WAIT)
    assert served == list(range(20))


def test_threads_get_their_own_answers(home: Home) -> None:
    def work(number: int) -> None:
        for turn in range(25):
            value = number * 100 + turn
            with pool.transaction():
                pool.execute("INSERT INTO t VALUES (%s, %s)", [value, value])
                assert pool.fetch_one("SELECT v FROM t WHERE n = %s", [value]) == (value,)
            assert pool.fetch_all("SELECT %s + 0", [value]) == [(value,)]

    with home.pool(max_connections=4) as pool:
        assert in_threads(32, work) == [None] * 32
    assert len(home.rows()) == 32 * 25


# --- transactions


def test_no_call_leaves_a_transaction_open(home: Home, notes: Note) -> None:
    home.ask(insert(1))
    with home.pool(query_timeout=0.5) as pool:
        repository = Notes(pool)
        calls: list[Callable[[], Any]] = [
            lambda: pool.fetch_one("SELECT n FROM t WHERE n = 99"),
            lambda: pool.fetch_all("SELECT n FROM t WHERE n = 99"),
            lambda: pool.fetch_all("SELECT n FROM t"),
            lambda: pool.execute("UPDATE t SET v = 1 WHERE n = 99"),
            lambda: pool.execute(insert(1)),
            lambda: pool.execute("SELEC"),
            lambda: pool.execute(home.sleep(20)),
            lambda: pool.execute("BEGIN"),
            lambda: pool.insert_many("t", ["n"], []),
            lambda: pool.insert_many("t", ["n"], [(1,)]),
            lambda: repository.find_by_id(uuid.uuid4()),
            lambda: repository.create(notes),
            lambda: repository.update(dataclasses.replace(notes, id=uuid.uuid4())),
            lambda: repository.delete(uuid.uuid4()),
            lambda: repository.page(infra.Query(with_total=True)),
            lambda: pool.run(lambda: pool.execute(insert(1))),
            lambda: pool.health_check(),
            lambda: next(pool.stream(home.numbers(10000))),
            lambda: next(pool.stream("SELECT n FROM t WHERE n = 99"), None),
            lambda: list(pool.stream("SELEC")),
        ]
        for call in calls:
            with contextlib.suppress(infra.InfrastructureError):
                call()
            eventually(lambda: home.transactions() == 0)
            assert pool.stats().in_use == 0


def test_the_next_read_sees_what_others_committed(home: Home) -> None:
    with home.pool(max_connections=1, min_connections=1) as a, home.pool() as b:
        assert a.fetch_all("SELECT n FROM t") == []
        (same,) = a.fetch_all(home.who)
        for number in (1, 2, 3):
            b.execute(insert(number))
            assert a.fetch_one("SELECT max(n) FROM t") == (number,)
            with a.transaction():
                assert a.fetch_one("SELECT max(n) FROM t") == (number,)
                b.execute(insert(number + 10))
                assert a.fetch_one("SELECT max(n) FROM t") == (number + 10,)  # READ COMMITTED
            b.execute("DELETE FROM t")
        assert a.fetch_all(home.who) == [same]


class Crossing:
    """Two threads that lock two rows in opposite order."""

    def __init__(self, home: Home, pool: infra.ConnectionPool) -> None:
        self.pool = pool
        home.ask("INSERT INTO t VALUES (1, 0), (2, 0)")
        if home.engine == "postgres":  # looks for deadlocks after this long
            home.ask(f"ALTER DATABASE {home.name} SET deadlock_timeout = '50ms'")
        self.meeting = threading.Barrier(2)
        self.met = threading.local()

    def add(self, row: int) -> None:
        assert self.pool.execute("UPDATE t SET v = v + 1 WHERE n = %s", [row]) == 1

    def meet(self) -> None:
        if not hasattr(self.met, "once"):
            self.met.once = True
            self.meeting.wait(WAIT)


def test_run_repeats_the_loser_of_a_deadlock(home: Home) -> None:
    calls: list[int] = []
    with home.pool() as pool:
        crossing = Crossing(home, pool)

        def work(number: int) -> str:
            def once() -> str:
                calls.append(number)
                crossing.add(1 + number)
                crossing.meet()
                with pool.transaction():
                    crossing.add(2 - number)
                return "done"

            return pool.run(once)

        assert in_threads(2, work) == ["done", "done"]
    assert (len(calls), home.ask("SELECT v FROM t")) == (3, [(2,), (2,)])


def test_a_deadlock_in_a_nested_block(home: Home) -> None:
    """MySQL has rolled back all and would autocommit; Postgres returns to the savepoint."""
    with home.pool() as pool:
        crossing = Crossing(home, pool)

        def work(number: int) -> str:
            fate = "won"
            with contextlib.ExitStack() as ends:
                ends.enter_context(pool.transaction())
                pool.execute(insert(10 + number))
                crossing.add(1 + number)
                crossing.meet()
                try:
                    transact(
                        pool,
                        lambda: pool.execute(insert(20 + number)),
                        lambda: crossing.add(2 - number),
                    )
                except infra.DatabaseError as error:
                    fate = "lost" if error.retryable else "lost for ever"
                if fate == "won" or home.engine == "postgres":
                    pool.execute(insert(30 + number))
                else:
                    for call in (
                        lambda: pool.execute(insert(30 + number)),
                        lambda: pool.insert_many("t", ["n"], [(30 + number,)]),
                        lambda: pool.transaction().__enter__(),
                    ):
                        refused = failure(call)
                        assert type(refused) is infra.DatabaseError
                        assert refused.retryable is False
                    end = failure(ends.close)
                    assert type(end) is infra.DatabaseError
                    assert (end.retryable, "was rolled back" in str(end)) == (False, True)
            return fate

        fates = in_threads(2, work)
        assert sorted(fates) == ["lost", "won"]
        won, lost = fates.index("won"), fates.index("lost")
        expected = [1, 2, 10 + won, 20 + won, 30 + won, *home.pick([], [10 + lost, 30 + lost])]
        assert home.rows() == sorted(expected)
        assert pool.stats().in_use == 0


def test_too_long_a_wait_for_a_lock(home: Home) -> None:
    """The wait for a lock ends before query_timeout: a retryable error ends the transaction."""
    home.ask(insert(1))
    limit = home.pick(2, 1)  # MariaDB counts whole seconds
    with home.pool(query_timeout=limit) as pool, contextlib.closing(home.raw()) as holder:
        holder.cursor().execute("BEGIN")
        holder.cursor().execute("UPDATE t SET v = 1 WHERE n = 1")
        with lasts(0.9, 1), pytest.raises(infra.InfrastructureError) as caught:
            pool.execute("UPDATE t SET v = 2")
        assert (type(caught.value), caught.value.retryable) == (infra.DatabaseError, True)
        calls = [insert(2), "UPDATE t SET v = 2", insert(3)]
        steps = [
            lambda sql=sql: outcomes.append(outcome(lambda: pool.execute(sql))) for sql in calls
        ]
        outcomes: list[Any] = []
        with pytest.raises(infra.DatabaseError, match="was rolled back"):
            transact(pool, *steps)
        assert outcomes == [1, (infra.DatabaseError, True), (infra.DatabaseError, False)]
        holder.cursor().execute("ROLLBACK")
        assert home.ask("SELECT n, v FROM t") == [(1, None)]
        assert pool.execute("UPDATE t SET v = 3") == 1


def test_ddl_in_a_transaction(home: Home) -> None:
    """MySQL commits by itself what came before it, and would commit each statement after it."""
    ddl = "CREATE TABLE made (n INTEGER)"
    with home.pool() as pool:
        if home.engine == "postgres":
            with pytest.raises(ZeroDivisionError):
                transact(
                    pool, lambda: pool.execute(insert(1)), lambda: pool.execute(ddl), lambda: 1 // 0
                )
            assert home.rows() == []
            assert home.ask("SELECT to_regclass('made')") == [(None,)]
            return

        def go_on() -> None:
            transact(pool, lambda: pool.execute(insert(1)))
            committed = failure(lambda: pool.execute(ddl))
            assert type(committed) is infra.DatabaseError
            assert "what came before it is committed" in str(committed)
            assert type(failure(lambda: pool.execute(insert(2)))) is infra.DatabaseError
            assert type(failure(lambda: pool.transaction().__enter__())) is infra.DatabaseError

        with pytest.raises(infra.DatabaseError, match="was rolled back") as end:
            transact(pool, go_on)
        assert end.value.retryable is False
        assert home.rows() == [1]
        assert pool.execute(insert(3)) == 1


# --- a server that takes no writes any more


class Failover:
    """Two servers behind one port, and a pool of a user that read-only servers refuse."""

    def __init__(self, old: Home, new: Home) -> None:
        self.old = old
        self.new = new
        for home in (old, new):
            self._permit(home)
        self.proxy = Proxy(old.server.port)

    @staticmethod
    def _permit(home: Home) -> None:
        if home.engine == "mysql":
            home.ask("CREATE USER IF NOT EXISTS app@'%' IDENTIFIED BY ''")
            home.ask(f"GRANT ALL ON {home.name}.* TO app@'%'")
        elif not home.ask("SELECT 1 FROM pg_roles WHERE rolname = 'app'"):
            home.ask("CREATE ROLE app LOGIN")
        if home.engine == "postgres":
            home.ask("GRANT ALL ON t TO app")

    def pool(self, **options: Any) -> infra.ConnectionPool:
        url = self.old.url.replace(str(self.old.server.port), str(self.proxy.port))
        url = url.replace(self.old.pick("root", "postgres@"), self.old.pick("app", "app@"))
        return infra.create_pool(infra.DatabaseConfig(url=url, **options))

    def protect(self, home: Home, on: bool = True) -> None:
        """Make the server read-only, or writable again."""
        if home.engine == "mysql":
            home.ask(f"SET GLOBAL read_only = {int(on)}")
            if home.kind == "mysql" and on:
                home.ask("SET GLOBAL super_read_only = 1")
            return
        home.ask(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if on else 'off'}")
        home.ask("SELECT pg_reload_conf()")
        home.close()
        eventually(
            lambda: home.ask("SHOW default_transaction_read_only") == [("on" if on else "off",)]
        )
        home.close()

    def switch(self) -> None:
        self.protect(self.old)
        self.proxy.target = self.new.server.port


@pytest.fixture(params=["mariadb", "mysql", "postgres"])
def failover(request: pytest.FixtureRequest, servers: Callable[..., Server]) -> Iterator[Failover]:
    with contextlib.ExitStack() as end:
        homes = [
            end.enter_context(
                contextlib.closing(Home(request.param, servers(request.param, fragile=fragile)))
            )
            for fragile in (False, True)
        ]
        made = Failover(*homes)
        end.enter_context(made.proxy)
        try:
            yield made
        finally:
            made.protect(made.old, on=False)
            made.protect(made.new, on=False)


def test_a_write_goes_to_the_new_server(failover: Failover) -> None:
    with failover.pool(max_connections=4, min_connections=4) as pool:
        open_at_once(pool, 4)
        pool.execute(insert(1))
        failover.switch()
        opened = failover.proxy.connections
        assert pool.execute(insert(2)) == 1
        assert failover.proxy.connections == opened + 1
        for number in range(3, 8):
            transact(pool, lambda: pool.execute(insert(number)))
        pool.insert_many("t", ["n"], [(8,), (9,)])
        assert (failover.old.rows(), failover.new.rows()) == ([1], [*range(2, 10)])
        assert failover.proxy.connections == opened + 1
        open_at_once(pool, 4)  # those of the old server are not lent again
        assert failover.proxy.connections == opened + 4


def test_a_repository_writes_to_the_new_server(failover: Failover) -> None:
    for home in (failover.old, failover.new):
        home.ask("CREATE TABLE notes (n INTEGER PRIMARY KEY, v INTEGER)")
        if home.engine == "postgres":
            home.ask("GRANT ALL ON notes TO app")
    with failover.pool() as pool:
        pool.execute("INSERT INTO notes (n) VALUES (1)")
        failover.switch()
        pool.fetch_all("SELECT n FROM notes")  # a read tells nothing
        assert pool.fetch_all("SELECT 7") == [(7,)]
        pool.execute("UPDATE notes SET v = 1")
        assert failover.new.rows("notes") == []


def test_a_transaction_begins_again_on_the_new_server(failover: Failover) -> None:
    with failover.pool(max_connections=8, min_connections=8) as pool:
        open_at_once(pool, 8)
        failover.switch()
        assert pool.run(lambda: pool.execute(insert(1))) == 1
        assert (failover.old.rows(), failover.new.rows()) == ([], [1])


@pytest.mark.parametrize("write", ["execute", "insert_many"])
def test_a_block_on_the_old_server_fails_once(failover: Failover, write: str) -> None:
    def work() -> None:
        if write == "execute":
            transact(pool, lambda: pool.execute(insert(1)))
        else:
            pool.insert_many("t", ["n"], [(1,)])

    with failover.pool(max_connections=4, min_connections=4) as pool:
        open_at_once(pool, 4)
        failover.switch()
        error = failure(work)
        assert (type(error), error.retryable) == (infra.DatabaseError, True)  # type: ignore[attr-defined]
        assert "read-only" in str(error)
        work()
        assert (failover.old.rows(), failover.new.rows()) == ([], [1])


def test_a_borrower_on_the_old_server_fails_once(failover: Failover) -> None:
    def write() -> None:
        with pool.connection() as raw, raw.cursor() as cursor:
            cursor.execute(insert(1))

    with failover.pool(max_connections=1) as pool:
        assert pool.fetch_one("SELECT 7") == (7,)
        failover.switch()
        assert isinstance(failure(write), failover.old.driver_error)
        write()
        assert failover.new.rows() == [1]


def test_a_server_that_stays_read_only(failover: Failover) -> None:
    """Each write tries one new connection, which is kept. Reads go on."""
    with failover.pool(max_connections=2) as pool:
        pool.execute(insert(1))
        failover.protect(failover.old)
        for _ in range(3):
            opened = failover.proxy.connections
            error = failure(lambda: pool.execute(insert(2)))
            assert (type(error), error.retryable) == (infra.DatabaseError, False)  # type: ignore[attr-defined]
            assert failover.proxy.connections == opened + 1
            assert pool.fetch_all("SELECT n FROM t") == [(1,)]
            assert pool.stats() == infra.PoolStats(2, 1, 0, 1, 0)
        failures: list[int] = []

        def fail() -> None:
            failures.append(1)
            pool.execute(insert(2))

        error = failure(lambda: pool.run(fail))
        assert (type(error), error.retryable, len(failures)) == (infra.DatabaseError, False, 2)  # type: ignore[attr-defined]
        failover.protect(failover.old, on=False)
        assert pool.execute(insert(3)) == 1


def test_a_user_that_may_only_read(failover: Failover) -> None:
    """On Postgres it looks like a failover; the pool is of use all the same."""
    if failover.old.engine == "mysql":
        failover.old.ask("REVOKE ALL PRIVILEGES, GRANT OPTION FROM app@'%'")
        failover.old.ask(f"GRANT SELECT ON {failover.old.name}.* TO app@'%'")
    else:
        failover.old.ask("ALTER ROLE app SET default_transaction_read_only = on")
    try:
        with failover.pool(max_connections=1) as pool:
            for _ in range(2):
                assert type(failure(lambda: pool.execute(insert(1)))) is infra.DatabaseError
                assert pool.fetch_all("SELECT n FROM t") == []
            assert pool.stats() == infra.PoolStats(1, 1, 0, 1, 0)
    finally:
        if failover.old.engine == "postgres":
            failover.old.ask("ALTER ROLE app RESET default_transaction_read_only")


@postgres_only
def test_a_read_only_transaction_of_the_callers(home: Home) -> None:
    def write() -> None:
        with pool.transaction():
            pool.execute("SET TRANSACTION READ ONLY")
            pool.execute(insert(1))

    with home.pool(max_connections=1) as pool:
        for _ in range(2):
            assert type(failure(write)) is infra.DatabaseError
            assert pool.execute(insert(2)) == 1
            assert pool.execute("DELETE FROM t") == 1


# --- savepoints


class Refused(Exception):
    pass


def fail_in_a_block(pool: infra.ConnectionPool, work: Callable[[], Any]) -> None:
    with contextlib.suppress(Refused), pool.transaction():
        work()
        raise Refused


def savepoints(pool: infra.ConnectionPool) -> int:
    """How many savepoints Postgres keeps for this thread's transaction."""
    row = pool.fetch_one(
        "SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'CurTransactionContext'"
    )
    assert row is not None
    return int(row[0])


@postgres_only
def test_failing_blocks_leave_no_savepoint(home: Home) -> None:
    """Each of them would hold memory on the server until the transaction ends."""

    def deep(levels: int) -> None:
        pool.execute(insert(1000 + levels))
        if levels:
            fail_in_a_block(pool, lambda: deep(levels - 1))

    def broken_rule() -> None:
        with contextlib.suppress(infra.ConflictError), pool.transaction():
            pool.execute(insert(1))

    with home.pool() as pool, pool.transaction():
        pool.execute(insert(1))
        before = savepoints(pool)
        for number in range(20):
            fail_in_a_block(pool, lambda: pool.execute(insert(100 + number)))
            fail_in_a_block(pool, lambda: pool.fetch_one("SELECT 1"))  # writes nothing
            broken_rule()
            fail_in_a_block(pool, broken_rule)
            fail_in_a_block(pool, lambda: deep(30))
        assert savepoints(pool) == before
    assert home.rows() == [1]


def test_a_failing_block_sends_one_request_at_its_end(home: Home) -> None:
    with (
        Recording(home.server.port) as proxy,
        home.pool(port=proxy.port) as pool,
        pool.transaction(),
    ):
        before = len(proxy.requests)
        fail_in_a_block(pool, lambda: pool.execute(insert(1)))
        assert len(proxy.requests) - before == 3  # SAVEPOINT, INSERT, ROLLBACK TO


def test_many_failing_blocks_at_many_depths(home: Home) -> None:
    """MySQL keeps one savepoint for each depth: the next of the same name replaces it."""

    def nest(depth: int) -> None:
        pool.execute(insert(depth))
        if depth < 150:
            fail_in_a_block(pool, lambda: nest(depth + 1))
            with pool.transaction():
                pool.execute(insert(1000 + depth))

    with home.pool() as pool, pool.transaction():
        nest(0)
    assert home.rows() == [0, 1000]


# --- forks


def test_a_forked_child_opens_connections_of_its_own(home: Home) -> None:
    with home.pool() as pool:
        open_at_once(pool, 3)
        parents = sorted(home.connections())
        (mine,) = pool.fetch_all(home.who)

        def child() -> None:
            assert pool.stats().open == 0
            (other,) = pool.fetch_all(home.who)
            assert other[0] not in parents
            pool.execute(insert(1))
            assert isinstance(failure(lambda: pool.execute(insert(1))), infra.ConflictError)
            pool.close()

        in_child(child)
        eventually(lambda: sorted(home.connections()) == parents)
        assert pool.fetch_all(home.who) == [mine]
        assert home.rows() == [1]


def test_a_fork_inside_a_transaction(home: Home) -> None:
    with home.pool(max_connections=2) as pool:
        block = pool.transaction()
        block.__enter__()
        (mine,) = pool.fetch_all(home.who)
        pool.execute(insert(1))

        def child() -> None:
            assert pool.fetch_all(home.who) != [mine]
            assert pool.fetch_all("SELECT n FROM t") == []
            pool.execute(insert(2))  # a unit of its own: the child has no transaction
            assert type(failure(lambda: block.__exit__(None, None, None))) is infra.DatabaseError
            with pool.transaction():
                pool.execute(insert(3))
            assert pool.stats().open == 1

        in_child(child)
        assert pool.fetch_all(home.who) == [mine]
        pool.execute(insert(4))
        block.__exit__(None, None, None)
        assert home.rows() == [1, 2, 3, 4]


def test_a_fork_while_a_connection_is_lent(home: Home) -> None:
    """The child returns its parent's connection, which must not count as its own."""
    with home.pool(max_connections=2) as pool:
        lease, rows = pool.connection(), pool.stream(home.numbers(5000))
        raw = lease.__enter__()
        assert next(rows) == (1,)

        def child() -> None:
            lease.__exit__(None, None, None)
            rows.close()  # type: ignore[attr-defined]
            assert pool.stats() == infra.PoolStats(2, 0, 0, 0, 0)
            assert pool.fetch_one("SELECT 1") == (1,)
            assert pool.stats() == infra.PoolStats(2, 1, 0, 1, 0)

        in_child(child)
        assert len(list(rows)) == 4999
        with raw.cursor() as cursor:
            cursor.execute("SELECT 7")
            assert list(cursor.fetchall()) == [(7,)]
        lease.__exit__(None, None, None)


def test_children_fork_while_threads_work(home: Home) -> None:
    over, running = threading.Event(), threading.Event()
    answered: list[int] = []

    def work(number: int) -> int:
        turns = 0
        while running.wait(WAIT) and not over.is_set():
            assert pool.fetch_one("SELECT %s + 0", [number]) == (number,)
            answered.append(number)
            turns += 1
        return turns

    with home.pool(max_connections=3) as pool:

        def insert_in_child(number: int) -> None:
            assert pool.run(lambda: pool.execute(insert(number))) == 1

        def forks(_: int) -> None:
            try:
                for number in range(10):
                    answered.clear()
                    running.set()
                    eventually(lambda: len({*answered}) == 4)
                    # The threads rest while the child works.
                    in_child(lambda: insert_in_child(number), running.clear)
            finally:
                over.set()
                running.set()

        # All connections are open before the first fork: libpq holds a lock of its own while it
        # connects, which a child that is forked meanwhile would wait for, for ever.
        all_open = threading.Barrier(3)
        in_threads(3, lambda _: pool.run(lambda: all_open.wait(WAIT)))
        results = in_threads(5, lambda number: work(number) if number else forks(number))
        assert results[0] is None
        assert all(isinstance(turns, int) and turns > 0 for turns in results[1:])
    assert home.rows() == list(range(10))


LAST = """
import atexit, sys
import infra
pool = infra.create_pool(infra.DatabaseConfig(sys.argv[1]))
atexit.register(lambda: [print(pool.fetch_one("SELECT 7")), pool.close()])
for _ in sys.argv[2:]:
    print(pool.fetch_one("SELECT 6"))
"""


@pytest.mark.parametrize("before", [[], ["first"]], ids=["opens", "goes on"])
def test_a_statement_when_the_program_ends(home: Home, before: list[str]) -> None:
    """From Python 3.12 on no thread starts then any more."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LAST, home.url, *before],
        cwd=Path(infra.__file__).parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("(6,)\n" * len(before) + "(7,)\n", "")


# --- connections that grow old


def test_after_a_long_idle_time_a_connection_has_to_answer_first(home: Home) -> None:
    clock = fakes.FakeClock()
    with Proxy(home.server.port) as proxy, home.pool(port=proxy.port, clock=clock) as pool:
        first = pool.fetch_one(home.who)
        clock.advance(31)
        assert pool.fetch_one(home.who) == first  # it answered
        clock.advance(29)
        proxy.swallow = True
        # Sent without a question.
        assert type(failure(lambda: pool.execute(insert(1)))) is infra.ConnectionError
        second = pool.fetch_one(home.who)
        clock.advance(31)
        proxy.swallow = True
        assert pool.execute(insert(2)) == 1
        assert proxy.swallowed == 2
        assert pool.fetch_one(home.who) not in (first, second)
    assert home.rows() == [1, 2]


@postgres_only
def test_a_connection_that_stays_silent_is_replaced(home: Home) -> None:
    """As behind a firewall that has forgotten it: open, and nobody there."""
    clock = fakes.FakeClock()
    with home.pool(clock=clock, connect_timeout=1) as pool:
        (silent,) = pool.fetch_all(home.who)[0]
        clock.advance(31)
        os.kill(silent, signal.SIGSTOP)
        try:
            with lasts(1, 1):
                assert pool.execute(insert(1)) == 1
            assert pool.fetch_all(home.who) != [(silent,)]
        finally:
            os.kill(silent, signal.SIGCONT)
        eventually(lambda: len(home.connections()) == 1)


@pytest.mark.parametrize(
    ("options", "young", "old"),
    [
        ({"idle_timeout": 600}, 599, 601),
        ({"idle_timeout": 5}, 4, 6),
        ({"max_lifetime": 1800, "idle_timeout": 1e6}, 1799, 1801),
        ({"max_lifetime": 10}, 9, 11),
    ],
)
def test_a_connection_that_is_too_old_is_replaced(
    home: Home, options: dict[str, Any], young: float, old: float
) -> None:
    clock = fakes.FakeClock()
    with home.pool(clock=clock, max_connections=1, min_connections=1, **options) as pool:
        first = pool.fetch_one(home.who)
        clock.advance(young)
        assert pool.fetch_one(home.who) == first
    with home.pool(clock=clock, max_connections=1, min_connections=1, **options) as pool:
        first = pool.fetch_one(home.who)
        clock.advance(old)
        second = pool.fetch_one(home.who)
        assert second != first
        assert pool.fetch_one(home.who) == second
        eventually(lambda: home.connections() == [second[0] if second else None])


def test_a_connection_in_use_that_grows_too_old_is_not_kept(home: Home) -> None:
    clock = fakes.FakeClock()
    with home.pool(clock=clock, max_lifetime=100) as pool:
        with pool.transaction():
            first = pool.fetch_one(home.who)
            clock.advance(101)
            pool.execute(insert(1))
        assert (pool.stats().open, home.rows()) == (0, [1])
        assert pool.fetch_one(home.who) != first


def test_idle_connections_go_down_to_min_connections(home: Home) -> None:
    clock = fakes.FakeClock()
    with home.pool(clock=clock, max_connections=6, min_connections=2) as pool:
        open_at_once(pool, 6)
        clock.advance(599)
        for _ in range(6):
            pool.fetch_one("SELECT 1")
        assert pool.stats().open == 6
        clock.advance(601)
        for _ in range(6):
            pool.fetch_one("SELECT 1")
        assert pool.stats() == infra.PoolStats(6, 2, 0, 2, 0)
        eventually(lambda: len(home.connections()) == 2)


# --- the driver's own connection


def test_what_a_borrower_left_open_is_rolled_back(home: Home) -> None:
    with home.pool(max_connections=1, min_connections=1) as pool:
        first = pool.fetch_one(home.who)
        for leave in (contextlib.nullcontext(), pytest.raises(ZeroDivisionError)):
            with leave, pool.connection() as raw:
                raw.cursor().execute("BEGIN")
                raw.cursor().execute(insert(1))
                if not isinstance(leave, contextlib.nullcontext):
                    raise ZeroDivisionError
            eventually(lambda: home.transactions() == 0)
            # After an exception that is not the driver's nobody knows what the connection was
            # doing.
            assert (pool.fetch_one(home.who) == first) is isinstance(leave, contextlib.nullcontext)
            assert home.rows() == []


def test_a_borrower_without_autocommit(home: Home) -> None:
    with home.pool(max_connections=1, min_connections=1) as pool:
        first = pool.fetch_one(home.who)
        with pool.connection() as raw:
            if home.engine == "mysql":
                raw.autocommit(False)
            else:
                raw.autocommit = False
            raw.cursor().execute(insert(1))
        assert pool.fetch_one(home.who) != first
        assert pool.execute(insert(2)) == 1
    assert home.rows() == [2]


def test_a_borrower_who_closes_it(home: Home) -> None:
    with home.pool(max_connections=1, min_connections=1) as pool:
        with pool.connection() as raw:
            raw.close()
        assert pool.stats().open == 0
        assert pool.fetch_one("SELECT 1") == (1,)


@mysql_only
def test_a_borrower_who_leaves_rows_unread(home: Home) -> None:
    """PyMySQL warns when the next statement reads them; a program may make errors of warnings."""
    import pymysql.cursors

    with home.pool(max_connections=1, min_connections=1, acquire_timeout=5) as pool:
        actions: list[Literal["ignore", "error"]] = ["ignore", "error"]
        for action in actions:
            with warnings.catch_warnings():
                warnings.simplefilter(action)
                with contextlib.suppress(UserWarning), pool.connection() as raw:
                    cursor = raw.cursor(pymysql.cursors.SSCursor)
                    cursor.execute(home.numbers(100_000))
                    assert cursor.fetchone() == (1,)
                assert pool.stats().in_use == 0
                assert pool.fetch_one("SELECT 7") == (7,)


def test_a_borrower_sees_the_drivers_exceptions(home: Home) -> None:
    with home.pool(max_connections=1, min_connections=1) as pool:
        first = pool.fetch_one(home.who)
        with pytest.raises(home.driver_error), pool.connection() as raw:
            raw.cursor().execute("SELECT no_such_column FROM t")
        assert pool.fetch_one(home.who) == first


@contextlib.contextmanager
def ctrl_c(when: Callable[[], Any]) -> Iterator[None]:
    """KeyboardInterrupt in this thread, as Ctrl-C gives it, once that is true."""
    main, over = threading.get_ident(), threading.Event()

    def interrupt(*_: Any) -> None:
        if not over.is_set():
            over.set()
            raise KeyboardInterrupt

    def watch() -> None:
        while not over.is_set():
            if when():
                signal.pthread_kill(main, signal.SIGALRM)
            over.wait(0.01)

    usual = signal.signal(signal.SIGALRM, interrupt)
    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join(WAIT)
        signal.signal(signal.SIGALRM, usual)


class Holding(Proxy):
    """Does not forward a request with these words in it, nor what comes behind it."""

    def __init__(self, port: int, words: bytes) -> None:
        self.words = words
        self.held = threading.Event()
        super().__init__(port)

    def request(self, data: bytes) -> bytes:
        if self.words in data:
            self.held.set()
        return b"" if self.held.is_set() else data


@mysql_only
def test_ctrl_c_while_a_query_runs(home: Home) -> None:
    """A late reply is not taken for the reply to the next statement."""
    with home.pool(max_connections=1, min_connections=1, acquire_timeout=5) as pool:
        nap = "sleep(3)"
        before: list[int] = []  # those that still sleep

        def sleeps() -> bool:
            return not {*home.running(nap)} <= {*before}

        def in_transaction() -> None:
            with pool.transaction():
                pool.execute(insert(1))
                pool.fetch_one(f"SELECT {nap}")

        def in_nested_blocks() -> None:
            with pool.transaction():
                pool.execute(insert(2))
                with contextlib.suppress(KeyboardInterrupt), pool.transaction():
                    pool.fetch_one(f"SELECT {nap}")
                pool.execute(insert(3))

        def lent() -> None:
            with pool.connection() as raw:
                raw.cursor().execute(f"SELECT {nap}")

        def goes_on() -> None:
            """It is caught where the connection could still be used."""
            with pool.connection() as raw:
                cursor = raw.cursor()
                with pytest.raises(KeyboardInterrupt):
                    cursor.execute(f"SELECT {nap}, 'an answer that comes late'")
                with pytest.raises(home.driver_error):
                    cursor.execute("SELECT 1")
            raise KeyboardInterrupt

        calls: list[Callable[[], Any]] = [
            lambda: pool.fetch_one(f"SELECT {nap}"),
            lambda: pool.execute(f"DO {nap}"),
            lambda: list(pool.stream(f"SELECT {nap}")),
            in_transaction,
            lent,
            goes_on,
        ]
        for call in calls:
            before = home.running(nap)
            with pytest.raises(KeyboardInterrupt), ctrl_c(sleeps):
                call()
            assert pool.stats().in_use == 0
            for value in range(5):
                assert pool.fetch_one("SELECT %s", [value]) == (value,)
        before = home.running(nap)
        with pytest.raises(infra.DatabaseError), ctrl_c(sleeps):
            in_nested_blocks()
        assert pool.stats().in_use == 0
    eventually(lambda: home.transactions() == 0)
    assert home.rows() == []


@mysql_only
def test_ctrl_c_while_a_borrower_is_tidied_up_after(home: Home) -> None:
    """The rollback of what was left open waits for a server that does not answer."""
    with (
        Holding(home.server.port, b"ROLLBACK") as proxy,
        home.pool(port=proxy.port, max_connections=1, min_connections=1) as pool,
    ):
        lease = pool.connection()
        lease.__enter__().cursor().execute("BEGIN")
        with pytest.raises(KeyboardInterrupt), ctrl_c(proxy.held.is_set):
            lease.__exit__(None, None, None)
        proxy.held.clear()
        assert pool.stats().in_use == 0
        assert pool.fetch_one("SELECT 7") == (7,)


def test_ctrl_c_while_waiting_for_a_connection(home: Home) -> None:
    with home.pool(max_connections=1, min_connections=1) as pool:
        lent, enough = threading.Event(), threading.Event()

        def hold() -> None:
            with pool.connection():
                lent.set()
                enough.wait(WAIT)

        holder = threading.Thread(target=hold)
        holder.start()
        assert lent.wait(WAIT)
        with pytest.raises(KeyboardInterrupt), ctrl_c(lambda: pool.stats().waiting):
            pool.execute(insert(1))
        assert pool.stats().waiting == 0
        enough.set()
        holder.join(WAIT)
        assert (pool.stats().in_use, pool.fetch_one("SELECT 7")) == (0, (7,))


@contextlib.contextmanager
def sigint(when: Callable[[], Any], number: signal.Signals = signal.SIGINT) -> Iterator[None]:
    """The real signal, with Python's own handler, once that is true."""
    main, over = threading.get_ident(), threading.Event()

    def watch() -> None:
        while not over.is_set():
            if when():
                signal.pthread_kill(main, number)
                return
            over.wait(0.01)

    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join(WAIT)
        signal.signal(signal.SIGINT, usual)


LONG = 3 * WAIT  # seconds that a statement would take


def test_ctrl_c_ends_a_statement(home: Home) -> None:
    """The server stops it too, and the session is not lent again."""
    nap = home.sleep(LONG)
    before: list[int] = []

    def in_transaction() -> None:
        with pool.transaction():
            pool.execute(insert(1))
            pool.fetch_one(nap)

    def in_nested_blocks() -> None:
        with pool.transaction():
            pool.execute(insert(2))
            with pool.transaction():
                pool.fetch_one(nap)

    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: pool.fetch_one(nap), "sleep"),
        (lambda: pool.fetch_all(nap), "sleep"),
        (lambda: pool.execute(nap), "sleep"),
        (lambda: pool.run(lambda: pool.execute(nap)), "sleep"),
        (lambda: list(pool.stream(nap)), home.pick("sleep", "FETCH")),
        (in_transaction, "sleep"),
        (in_nested_blocks, "sleep"),
    ]
    with home.pool(max_connections=1, query_timeout=2 * LONG) as pool:
        for call, words in calls:
            before[:] = home.running(words)
            with (
                lasts(0, WAIT),
                pytest.raises(KeyboardInterrupt),
                sigint(lambda: not {*home.running(words)} <= {*before}),
            ):
                call()
            assert pool.stats().in_use == 0
            for value in range(3):
                assert pool.fetch_one("SELECT %s + 0", [value]) == (value,)
        if home.engine == "postgres":  # MySQL's sleep does not notice that its client has gone
            eventually(lambda: home.running() == [])
    assert home.rows() == []


def test_ctrl_c_ends_a_bulk_insert(home: Home) -> None:
    """It waits for the lock of another session; on Postgres it is a COPY."""
    other = home.raw()
    with home.pool(max_connections=1, query_timeout=2 * LONG) as pool, contextlib.closing(other):
        with other.cursor() as cursor:
            cursor.execute(home.pick("LOCK TABLES t WRITE", "BEGIN"))
            if home.engine == "postgres":
                cursor.execute("LOCK TABLE t")
        words = home.pick("INSERT INTO", "COPY")
        with (
            lasts(0, WAIT),
            pytest.raises(KeyboardInterrupt),
            sigint(lambda: home.running(words)),
        ):
            pool.insert_many("t", ["n"], [(1,)])
        with other.cursor() as cursor:
            cursor.execute(home.pick("UNLOCK TABLES", "ROLLBACK"))
        assert (pool.stats().in_use, pool.fetch_one("SELECT 7")) == (0, (7,))
    eventually(lambda: home.transactions() == 0)
    assert home.rows() == []


@postgres_only
def test_ctrl_c_ends_a_copy_whose_rows_are_sent(home: Home) -> None:
    """psycopg2 swallows what is raised while it reads such a COPY's end."""
    home.ask(
        "CREATE OR REPLACE FUNCTION rest() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN PERFORM pg_sleep({LONG}); RETURN NEW; END $$"
    )
    home.ask("CREATE TRIGGER rest BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION rest()")
    with home.pool(max_connections=1, query_timeout=2 * LONG) as pool:
        ways: list[Callable[[], Any]] = [
            lambda: pool.insert_many("t", ["n"], [(1,)]),
            lambda: pool.run(lambda: pool.insert_many("t", ["n"], [(1,)])),
        ]
        for way in ways:
            with (
                lasts(0, WAIT),
                pytest.raises(KeyboardInterrupt),
                sigint(lambda: home.running("COPY")),
            ):
                way()
            assert (pool.stats().in_use, pool.fetch_one("SELECT 7")) == (0, (7,))
    eventually(lambda: home.transactions() == 0)
    assert home.rows() == []


def test_ctrl_c_during_a_commit(home: Home) -> None:
    """The server does not get it, or does not answer."""
    with (
        Holding(home.server.port, home.pick(b"\x03COMMIT", b"COMMIT")) as proxy,
        home.pool(port=proxy.port, max_connections=1, query_timeout=2 * LONG) as pool,
    ):
        with (
            lasts(0, WAIT),
            pytest.raises(KeyboardInterrupt),
            sigint(proxy.held.is_set),
            pool.transaction(),
        ):
            pool.execute(insert(1))
        proxy.held.clear()
        assert pool.stats().in_use == 0
        assert pool.fetch_one("SELECT 7") == (7,)
    eventually(lambda: home.transactions() == 0)
    assert home.rows() == []


def test_ctrl_c_while_the_server_hangs(home: Home) -> None:
    """It takes no request to cancel either."""
    with home.pool(max_connections=1, query_timeout=2 * LONG) as pool:
        assert pool.fetch_one("SELECT 7") == (7,)
        begun = threading.Event()

        def paused() -> bool:
            if not begun.is_set() and home.running("sleep"):
                home.server.pause()
                begun.set()
            return begun.is_set()

        try:
            with lasts(0, WAIT), pytest.raises(KeyboardInterrupt), sigint(paused):
                pool.fetch_one(home.sleep(LONG))
        finally:
            home.server.resume()
        assert (pool.stats().in_use, pool.fetch_one("SELECT 7")) == (0, (7,))


# A socket that PyMySQL has just connected, and not kept yet, ends as garbage.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
)
def test_ctrl_c_while_connecting(home: Home) -> None:
    connected = threading.Event()
    with (
        Stub(lambda _: connected.set()) as server,
        home.pool(
            port=server.port, max_connections=1, connect_timeout=LONG, acquire_timeout=2 * LONG
        ) as pool,
    ):
        with lasts(0, WAIT), pytest.raises(KeyboardInterrupt), sigint(connected.is_set):
            pool.fetch_one("SELECT 7")
        assert pool.stats() == infra.PoolStats(1, 0, 0, 0, 0)


@postgres_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_statement_goes_on_under_a_handler_of_the_users(
    home: Home, number: signal.Signals
) -> None:
    seen: list[int] = []
    with home.pool() as pool, sigint(lambda: home.running("sleep"), number):
        usual = signal.signal(number, lambda found, _: seen.append(found))
        try:
            assert pool.fetch_one("SELECT 7 FROM pg_sleep(1)") == (7,)
        finally:
            signal.signal(number, usual)
    assert seen == [number]


@postgres_only
def test_ctrl_c_is_not_another_threads(home: Home) -> None:
    with home.pool(max_connections=2, min_connections=2) as pool:
        end = in_background(lambda: pool.fetch_one("SELECT 7 FROM pg_sleep(2)"))
        eventually(lambda: home.running("pg_sleep(2)"))
        with pytest.raises(KeyboardInterrupt), sigint(lambda: home.running("pg_sleep(60)")):
            pool.fetch_one("SELECT pg_sleep(60)")
        assert end() == (7,)


@postgres_only
def test_ctrl_c_that_is_not_wanted(home: Home) -> None:
    """It is noticed when the statement ends."""
    with home.pool(max_connections=1, interruptible=False) as pool:
        with (
            lasts(2, 2),
            pytest.raises(KeyboardInterrupt),
            sigint(lambda: home.running("sleep")),
        ):
            pool.fetch_one("SELECT pg_sleep(2)")
        assert (pool.stats().in_use, pool.fetch_one("SELECT 7")) == (0, (7,))


@postgres_only
def test_the_wakeup_descriptor_is_put_back_and_gets_its_bytes(home: Home) -> None:
    """asyncio uses it."""
    mine, theirs = socket.socketpair()
    with mine, theirs, home.pool() as pool:
        theirs.setblocking(False)
        mine.settimeout(WAIT)
        before = signal.set_wakeup_fd(theirs.fileno())
        usual = signal.signal(signal.SIGUSR1, lambda *_: None)
        try:
            with sigint(lambda: home.running("sleep"), signal.SIGUSR1):
                assert pool.fetch_one("SELECT 7 FROM pg_sleep(1)") == (7,)
            assert mine.recv(1) == bytes([signal.SIGUSR1])
            with (
                pytest.raises(KeyboardInterrupt),
                sigint(lambda: home.running("sleep")),
            ):
                pool.fetch_one(home.sleep(LONG))
            assert mine.recv(1) == bytes([signal.SIGINT])
        finally:
            signal.signal(signal.SIGUSR1, usual)
            assert signal.set_wakeup_fd(before) == theirs.fileno()


@postgres_only
def test_ctrl_c_in_a_forked_child_is_its_own(home: Home) -> None:
    """The parent's statement goes on, and the child's ends."""
    with home.pool(max_connections=1) as pool:
        assert pool.fetch_one("SELECT 7") == (7,)

        def sleeps(eye: Any) -> Any:
            with eye.cursor() as cursor:
                cursor.execute(
                    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
                    "AND query LIKE 'SELECT pg_sleep%' AND state = 'active'"
                )
                return cursor.fetchall()

        def child() -> None:
            with (
                contextlib.closing(home.raw()) as eye,
                lasts(0, WAIT),
                pytest.raises(KeyboardInterrupt),
                sigint(lambda: sleeps(eye)),
            ):
                pool.fetch_one(f"SELECT pg_sleep({LONG})")
            assert pool.fetch_one("SELECT 7") == (7,)
            pool.close()

        def forks() -> None:
            eventually(lambda: home.running("sleep"))
            in_child(child)
            forked.set()

        forked = threading.Event()
        end = in_background(forks)
        home.ask("SELECT pg_advisory_lock(7)")
        in_background(lambda: forked.wait(WAIT) and home.ask("SELECT pg_advisory_unlock(7)"))
        assert pool.fetch_one("SELECT 7 FROM pg_advisory_lock(7), pg_sleep(0)") == (7,)
        assert forked.is_set()
        end()


def half_a_stream(pool: infra.ConnectionPool, home: Home) -> None:
    rows = pool.stream(home.numbers(5), batch_size=2)
    for _ in range(3):
        next(rows)
    rows.close()  # type: ignore[attr-defined]


def borrow(pool: infra.ConnectionPool, home: Home) -> None:
    with pool.connection() as raw, raw.cursor() as cursor:
        cursor.execute("BEGIN")


def in_a_block(pool: infra.ConnectionPool, home: Home) -> None:
    with pool.transaction():
        pool.execute("INSERT INTO t VALUES (1, 0)")
        pool.execute("INSERT INTO t VALUES (2, 0)")


def in_blocks(pool: infra.ConnectionPool, home: Home) -> None:
    with pool.transaction():
        pool.execute("INSERT INTO t VALUES (1, 0)")
        with contextlib.suppress(ZeroDivisionError), pool.transaction():
            pool.execute("INSERT INTO t VALUES (7, 0)")
            raise ZeroDivisionError
        with pool.transaction():
            pool.execute("INSERT INTO t VALUES (2, 0)")


@pytest.mark.parametrize(
    "work",
    [
        lambda pool, home: pool.fetch_one("SELECT 7"),
        lambda pool, home: failure(lambda: pool.execute("SELECT no_such_column FROM t")),
        lambda pool, home: list(pool.stream(home.numbers(5), batch_size=2)),
        half_a_stream,
        borrow,
        lambda pool, home: pool.health_check(),
        in_a_block,
        in_blocks,
        lambda pool, home: pool.run(lambda: in_a_block(pool, home)),
    ],
    ids=[
        "fetch_one",
        "failure",
        "stream",
        "half a stream",
        "connection",
        "health_check",
        "transaction",
        "nested",
        "run",
    ],
)
def test_an_interrupt_at_any_line_loses_no_connection(
    home: Home, work: Callable[[infra.ConnectionPool, Home], Any]
) -> None:
    """Nor does it leave one in the pool that still has to answer."""
    with home.pool(max_connections=1, acquire_timeout=WAIT) as pool:
        for number in interruptions(lambda: work(pool, home)):
            assert (number, pool.stats().in_use, pool.stats().waiting) == (number, 0, 0)
            for value in (number, number + 1):
                assert pool.fetch_one("SELECT %s + 0", [value]) == (value,)
            if rows := home.rows_at_rest():
                assert rows == [1, 2]  # all or none
                home.ask("DELETE FROM t")
        with pool.connection():
            assert pool.stats() == infra.PoolStats(1, 1, 1, 0, 0)
    gc.collect()  # one whose end was interrupted ends as garbage, and PyMySQL's is in a circle
    eventually(lambda: home.connections() == [])


def test_a_second_interrupt_loses_no_connection(home: Home) -> None:
    """It comes while the first one is dealt with."""

    class First(KeyboardInterrupt):
        pass

    def stream() -> None:
        rows: Any = pool.stream(home.numbers(20), batch_size=5)
        for _ in rows:
            rows.throw(First)

    def borrow() -> None:
        with pool.connection():
            raise First

    def is_alone(number: int, work: Callable[[], Any]) -> bool:
        """Whether no second one came: the work has fewer lines."""
        alone: list[bool] = []

        def noting() -> None:
            try:
                work()
            except First:
                alone.append(True)

        interrupted_at(number, noting)
        return bool(alone)

    with home.pool(max_connections=1, acquire_timeout=WAIT) as pool:
        for work in (borrow, stream):
            number = 0
            while not is_alone(number, work):
                assert (pool.stats().in_use, pool.fetch_one("SELECT 7")) == (0, (7,))
                number += 1
            assert number > 20
            assert (pool.stats().in_use, pool.fetch_one("SELECT 7")) == (0, (7,))


# --- streams, and bulk inserts


def test_a_stream_abandoned_half_way(home: Home) -> None:
    with home.pool(max_connections=1, min_connections=1, acquire_timeout=5) as pool:
        for _ in range(3):
            rows = pool.stream(home.numbers(100_000), batch_size=100)
            assert [next(rows) for _ in range(150)] == [(number,) for number in range(1, 151)]
            assert pool.stats().in_use == 1
            rows.close()  # type: ignore[attr-defined]
            assert pool.stats().in_use == 0
            for number, row in pool.stream(
                f"SELECT 5, q.* FROM ({home.numbers(1000)}) AS q", batch_size=10
            ):
                assert (number, row) == (5, 1)
                break
            gc.collect()
            assert pool.fetch_one("SELECT 7") == (7,)
        pool.stream("SELECT 1")  # not begun: takes nothing
        eventually(lambda: home.transactions() == 0 and len(home.connections()) == 1)
        assert list(pool.stream(home.numbers(7), batch_size=7)) == [
            (number,) for number in range(1, 8)
        ]
        same = pool.fetch_one(home.who)
        assert (
            list(pool.stream(home.numbers(0) if home.engine == "postgres" else "SELECT 1 FROM t"))
            == []
        )
        assert pool.fetch_one(home.who) == same  # one that came to its end costs no connection


def test_a_stream_holds_one_batch_in_memory(home: Home) -> None:
    sql = f"SELECT q.*, repeat('x', 100) FROM ({home.numbers(200_000)}) AS q"
    with home.pool(query_timeout=5) as pool:
        rows = pool.stream(sql)
        next(rows)  # what is loaded once
        count = 1
        tracemalloc.start()
        try:
            for _ in rows:
                count += 1
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert count == 200_000
        assert peak < 2_000_000  # all rows: over 40 MB
        assert pool.stats() == infra.PoolStats(10, 1, 0, 1, 0)


def test_a_stream_may_last_longer_than_query_timeout(home: Home) -> None:
    home.ask(insert(1))
    with home.pool(query_timeout=0.2, max_connections=1, min_connections=1) as pool:
        assert list(
            pool.stream(f"SELECT n FROM t WHERE n IN (SELECT 1 FROM ({home.sleep(1.5)}) q)")
        )
        with pytest.raises(infra.TimeoutError):
            pool.fetch_all(home.slow(60))  # the limit is back


def test_a_stream_inside_a_transaction_is_refused(home: Home) -> None:
    with home.pool() as pool:
        with pool.transaction():
            pool.execute(insert(1))
            assert type(failure(lambda: pool.stream("SELECT n FROM t"))) is infra.DatabaseError
            pool.execute(insert(2))
        assert list(pool.stream("SELECT n FROM t ORDER BY n")) == [(1,), (2,)]


def test_a_stream_that_fails(home: Home) -> None:
    with home.pool(max_connections=1, min_connections=1, idle_timeout=2, acquire_timeout=5) as pool:
        assert (
            type(failure(lambda: list(pool.stream("SELECT n FROM no_such_table"))))
            is infra.DatabaseError
        )
        assert (
            type(failure(lambda: list(pool.stream("SELECT %s", [1, 2])))) is infra.ValidationError
        )
        # Rows this wide soon fill the buffers between server and client.
        wide = f"SELECT q.*, repeat('x', 10000) FROM ({home.numbers(200_000)}) AS q"
        rows = pool.stream(wide, batch_size=10)
        next(rows)
        # Silent for idle_timeout.
        with (
            home.paused(),
            lasts(1.9, 3),
            pytest.raises(infra.TimeoutError),
        ):
            for _ in rows:
                pass
        assert pool.stats().in_use == 0
        assert pool.fetch_one("SELECT 7") == (7,)
        eventually(lambda: home.transactions() == 0 and home.running() == [])


def test_insert_many_reads_from_a_generator_that_asks_the_same_pool(home: Home) -> None:
    def numbers(failing: bool = False) -> Iterator[tuple[Any]]:
        for number in range(12_000):
            if number % 3000 == 0:
                assert pool.fetch_one("SELECT %s + 0", [number]) == (number,)
            if failing and number == 11_000:
                raise ZeroDivisionError
            yield (number,)

    with home.pool(max_connections=1, min_connections=1, acquire_timeout=5) as pool:
        assert pool.insert_many("t", ["n"], numbers()) == 12_000
        assert home.ask("SELECT count(*), max(n) FROM t") == [(12_000, 11_999)]
        pool.execute("DELETE FROM t")
        with pytest.raises(ZeroDivisionError):
            pool.insert_many("t", ["n"], numbers(failing=True))
        with pytest.raises(infra.ConflictError) as caught:
            pool.insert_many("t", ["n"], [(number % 11_000,) for number in range(12_000)])
        assert (caught.value.kind, caught.value.constraint) == ("unique", "t_pkey")
        assert (home.rows(), pool.stats().in_use) == ([], 0)


@postgres_only
def test_a_value_that_cannot_be_written_in_the_middle_of_a_copy(home: Home) -> None:
    """Lines are made while the server reads. The caller sees what fails then, not the server."""
    from psycopg2.extras import NumericRange

    class Stopping(NumericRange):
        looks = 0

        @property
        def isempty(self) -> bool:
            self.looks += 1
            if self.looks > 1:  # the first is the check of all rows
                raise SystemExit("as a signal handler may")
            return False

    good = [(number, NumericRange(1, 2)) for number in range(3000)]
    formless: Any = NumericRange(complex(1, 2), 4)  # type: ignore[arg-type]
    stopping = Stopping(1, 2)
    with home.pool(max_connections=1) as pool:
        pool.execute("CREATE TABLE spans (n INTEGER, span INT4RANGE)")
        with pool.transaction():
            pool.execute("INSERT INTO spans (n) VALUES (7)")
            with pytest.raises(infra.ValidationError, match="holds what is no element of an array"):
                pool.insert_many("spans", ["n", "span"], [*good, (3000, formless)])
            assert pool.fetch_all("SELECT n FROM spans") == [(7,)]
        with pytest.raises(SystemExit, match="as a signal handler may"):
            pool.insert_many("spans", ["n", "span"], [*good, (3000, stopping)])
        assert pool.fetch_all("SELECT n FROM spans") == [(7,)]
        assert pool.insert_many("spans", ["n", "span"], good) == 3000


# --- settings of a session


def test_a_setting_does_not_stay_in_the_pool(home: Home) -> None:
    name = home.pick("sql_mode", "datestyle")
    changes = home.pick(
        ("SET sql_mode = ''", "/* mine */ SET SESSION sql_mode = ''"),
        ("SET datestyle = 'German'", "-- mine\nSELECT set_config('datestyle', 'German', false)"),
    )
    show = home.pick("SELECT @@sql_mode", "SHOW datestyle")
    with home.pool(max_connections=1) as pool:
        usual = pool.fetch_one(show)
        for change in changes:
            pool.fetch_all(change)
            assert pool.fetch_one(show) == usual, (name, change)
            with pool.transaction():
                pool.fetch_all(change)
                assert pool.fetch_one(show) != usual  # until the end of the block
            assert pool.fetch_one(show) == usual
        assert (pool.stats().open, pool.stats().in_use) == (1, 0)


LASTING = {
    "postgres": (
        "DISCARD ALL",
        "DO $$ BEGIN SET statement_timeout = 0; END $$",
        "SELECT /* mine */ set_config('statement_timeout', '0', false)",
        "SELECT 1, set_config('statement_timeout', '0', false)",
        "SELECT (SELECT set_config('statement_timeout', '0', false))",
        "WITH s AS (SELECT set_config('statement_timeout', '0', false)) SELECT * FROM s",
        "SELECT \"set_config\"('statement_timeout', '0', false)",
        "SELECT SET_CONFIG('statement_timeout', '0', false)",
        "SELECT 1; SET statement_timeout = 0",
        "SELECT 1; /* mine */ SET statement_timeout = 0",
        "; SET statement_timeout = 0",
        "UPDATE pg_settings SET setting = '0' WHERE name = 'statement_timeout'",
        "PREPARE p AS SELECT 1",
        "LISTEN news",
        "CALL p()",
        "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT",
    ),
    "mysql": (
        "SELECT @v := 7",
        "SELECT 1 INTO @z",
        "SET@v = 7",
        "SET GLOBAL connect_timeout = 10, SESSION sql_mode = ''",
        "PREPARE p FROM 'SELECT 1'",
        "CALL p()",
        "HANDLER t OPEN",
        "FLUSH TABLES WITH READ LOCK",
    ),
    "mariadb": (
        "EXECUTE IMMEDIATE 'SET max_statement_time = 0'",
        "BEGIN NOT ATOMIC SET max_statement_time = 0; END",
        "IF 1 THEN SET max_statement_time = 0; END IF",
    ),
}
LASTING["mariadb"] = LASTING["mysql"] + LASTING["mariadb"]


def test_what_outlasts_a_statement_does_not_stay_in_the_pool(home: Home) -> None:
    body = home.pick("SET @v = 7", "LANGUAGE plpgsql AS $$ BEGIN SET statement_timeout = 0; END $$")
    home.ask("DROP PROCEDURE IF EXISTS p")
    home.ask(f"CREATE PROCEDURE p() {body}")
    who = home.pick("SELECT CONNECTION_ID()", "SELECT pg_backend_pid()")
    with home.pool(max_connections=1) as pool:
        for sql in LASTING[home.kind]:
            before = pool.fetch_one(who)
            pool.execute(sql)
            assert pool.fetch_one(who) != before, sql
        before = pool.fetch_one(who)
        list(
            pool.stream(home.pick("SELECT @v := 7", "SELECT set_config('work_mem', '4MB', false)"))
        )
        assert pool.fetch_one(who) != before
        assert (pool.stats().open, pool.stats().in_use) == (1, 0)


USUAL = {
    "postgres": (
        "SELECT 1; SELECT 2;",
        "SELECT 'a@b; SET x' -- ; SET x",
        "SELECT * FROM pg_settings",
        "SET LOCAL work_mem = '4MB'",
        "INSERT INTO t VALUES (1, 1) ON CONFLICT (n) DO NOTHING;",
    ),
    "mysql": (
        "SELECT 'a@b; SET x' -- ; SET x",
        "SELECT @@sql_mode;",
        "INSERT INTO t VALUES (1, 1) ON DUPLICATE KEY UPDATE v = 2;",
        "DO SLEEP(0)",
    ),
}


def test_usual_statements_keep_their_connection(home: Home) -> None:
    with home.pool(max_connections=1) as pool:
        ask = home.pick("SELECT CONNECTION_ID()", "SELECT pg_backend_pid()")
        first = pool.fetch_one(ask)
        pool.execute("-- a comment\nUPDATE t SET v = 1")
        pool.fetch_all("SELECT n AS settings FROM t")
        for sql in USUAL[home.engine]:
            pool.execute(sql)
            assert pool.fetch_one(ask) == first, sql
        with pool.transaction(), contextlib.suppress(ZeroDivisionError), pool.transaction():
            raise ZeroDivisionError
        list(pool.stream("SELECT n FROM t"))
        assert pool.fetch_one(ask) == first


@postgres_only  # PyMySQL gives text
def test_a_streamed_value_without_a_form_in_python(home: Home) -> None:
    with home.pool() as pool:
        for call in (
            lambda: pool.fetch_all("SELECT '11738-12-31'::date + 1"),
            lambda: list(pool.stream("SELECT '11738-12-31'::date + 1")),
        ):
            error = failure(call)
            assert type(error) is infra.SerializationError
            assert "11739" not in told(error)
            assert pool.stats().in_use == 0


# --- what may not be said


def told(error: BaseException) -> str:
    """Return all that a log could hold of an error: causes and attributes of drivers too."""
    texts, each = ["".join(traceback.format_exception(error))], error
    while each is not None:
        texts += [str(each), repr(each), repr(vars(each))]
        texts += [
            str(getattr(each, name, ""))
            for name in ("pgerror", "diag", "cursor", "original_exception")
        ]
        if diag := getattr(each, "diag", None):
            texts += [str(getattr(diag, name)) for name in dir(diag) if not name.startswith("_")]
        each = each.__cause__ or each.__context__  # type: ignore[assignment]
    return "\n".join(texts)


def test_a_wrong_password_and_a_missing_database(home: Home) -> None:
    name, secret = f"u{uuid.uuid4().hex[:12]}", "s3cret-739182"
    if home.engine == "mysql":
        home.ask(f"CREATE USER {name} IDENTIFIED BY 'right-password'")
    else:
        home.ask(f"CREATE USER {name} PASSWORD 'right-password'")
        file = home.server.folder / "data" / "pg_hba.conf"
        usual = file.read_text()
        file.write_text(f"host all {name} 127.0.0.1/32 scram-sha-256\n" + usual)
        home.ask("SELECT pg_reload_conf()")
        home.close()
        eventually(lambda: "scram" in str(home.ask("SELECT auth_method FROM pg_hba_file_rules")))
    place = f"127.0.0.1:{home.server.port}"
    scheme = home.server.url.partition("://")[0]
    account = home.server.url.partition("://")[2].partition("@")[0]
    urls = {
        "wrong password": f"{scheme}://{name}:{secret}@{place}/{home.name}",
        "missing database": f"{scheme}://{account}:{secret}@{place}/no_such_database",
    }
    if home.engine == "mysql":
        urls["missing database"] = f"{scheme}://{account}@{place}/no_such_database"
    for kind, url in urls.items():
        config = infra.DatabaseConfig(url=url)
        with (
            infra.create_pool(config) as pool,
            lasts(0, 1),
            pytest.raises(infra.ConnectionError) as caught,
        ):
            pool.execute("SELECT 1")
        assert f"{home.engine} at {place}" in str(caught.value)
        assert secret not in told(caught.value) + repr(config) + repr(pool) + repr(vars(pool)), kind
        assert (caught.value.service, caught.value.operation) == (home.engine, "execute")
        words = {
            "wrong password": "refused the login",
            "missing database": "has no such database",
        }
        assert words[kind] in str(caught.value)
        assert caught.value.retryable is False


@pytest.mark.parametrize("scheme", ["mysql", "postgresql"])
def test_nobody_is_there(scheme: str) -> None:
    port = free_port()
    for place in (f"127.0.0.1:{port}", f"no-such-host.invalid:{port}"):
        config = infra.DatabaseConfig(
            url=f"{scheme}://u:s3cret-739182@{place}/d", acquire_timeout=2
        )
        with (
            infra.create_pool(config) as pool,
            lasts(0, 2),
            pytest.raises(infra.ConnectionError) as caught,
        ):
            pool.fetch_one("SELECT 1")
        assert place in str(caught.value)
        assert caught.value.retryable is True
        assert "s3cret" not in told(caught.value)
        assert pool.stats() == infra.PoolStats(10, 0, 0, 0, 0)


@pytest.mark.parametrize(
    "url",
    [
        "oracle://u:s3cret-739182@localhost/d",
        "redis://u:s3cret-739182@localhost/1",
        "mysql+pymysql://u:s3cret-739182@localhost/d",
        "//u:s3cret-739182@localhost/d",
        "mysql://u:s3cret-739182@localhost",
        "mysql://u:s3cret-739182@localhost/d?charset=latin1",
        "postgresql://u:s3cret-739182@localhost:port/d",
        "",
    ],
)
def test_a_url_that_is_none_of_ours(url: str) -> None:
    with pytest.raises(infra.ConfigurationError, match="mysql://user:password@host") as caught:
        infra.DatabaseConfig(url=url)
    assert "s3cret" not in told(caught.value)


def test_no_row_is_quoted(home: Home) -> None:
    secret = "row-739182"
    home.ask(
        "CREATE TABLE secrets (id INTEGER NOT NULL, word VARCHAR(20) NOT NULL UNIQUE, "
        "CHECK (id < 100))"
    )
    home.ask(f"INSERT INTO secrets VALUES (1, '{secret}')")
    with home.pool() as pool:
        calls: list[Callable[[], Any]] = [
            lambda: pool.execute("INSERT INTO secrets VALUES (2, %s)", [secret]),
            lambda: pool.execute("INSERT INTO secrets VALUES (200, %s)", [secret + "b"]),
            lambda: pool.execute("INSERT INTO secrets VALUES (NULL, %s)", [secret + "c"]),
            lambda: pool.execute("INSERT INTO secrets VALUES (3, %s)", [secret * 9]),
            lambda: pool.execute("INSERT INTO secrets VALUES (%s, 'x')", [secret]),
            lambda: pool.fetch_all("SELECT * FROM secrets WHERE nothing = %s", [secret]),
            lambda: pool.fetch_all("SELECT %s %s", [secret]),
            lambda: pool.fetch_all("SELECT %s", [secret + "\0"]),
            lambda: pool.insert_many("secrets", ["id", "word"], [(4, secret)]),
            lambda: pool.insert_many("secrets", ["id", "word"], [(4, secret * 9)]),
            lambda: list(pool.stream("SELECT * FROM secrets WHERE nothing = %s", [secret])),
            lambda: pool.run(lambda: pool.execute("INSERT INTO secrets VALUES (2, %s)", [secret])),
        ]
        kinds = []
        for call in calls:
            error = failure(call)
            assert secret not in told(error)
            assert isinstance(error, (infra.DatabaseError, infra.ValidationError))
            kinds.append(getattr(error, "kind", None))
        assert kinds[:3] == ["unique", "check", "not_null"]
        with pytest.raises(infra.DatabaseError) as caught:
            transact(
                pool,
                lambda: failure(calls[0]),
                lambda: pool.execute(f"SELECT '{secret}' FROM no_such_table"),
            )
        assert secret not in told(caught.value)
    assert home.ask("SELECT count(*) FROM secrets") == [(1,)]


@pytest.mark.parametrize(
    "earlier", [infra.TimeoutError("earlier"), TimeoutError(), ConnectionRefusedError(111, "no")]
)
def test_what_the_caller_is_handling_is_not_the_cause(home: Home, earlier: Exception) -> None:
    home.ask(insert(1))
    with home.pool() as pool:
        try:
            raise earlier
        except OSError:
            with pytest.raises(
                infra.ConflictError, match="holds such a row already: t_pkey"
            ) as caught:
                pool.execute(insert(1))
    assert caught.value.retryable is False


# --- what a review found


@mysql_only
def test_ddl_that_fails_has_committed_all_the_same(home: Home) -> None:
    """MySQL commits before it tries, and its answer does not say so."""
    home.ask("CREATE TABLE made (n INTEGER)")
    with home.pool() as pool:
        for ddl in ("CREATE TABLE made (n INTEGER)", "DROP TABLE nothing", "ANALYZE TABLE made"):
            home.ask("DELETE FROM t")
            with pytest.raises(infra.DatabaseError, match="was rolled back"), pool.transaction():
                pool.execute(insert(1))
                with (
                    pytest.raises(infra.DatabaseError, match="what came before it is committed"),
                    pool.transaction(),
                ):
                    pool.execute(insert(2))
                    pool.fetch_all(ddl)
                with pytest.raises(infra.DatabaseError, match="cannot go on"):
                    pool.execute(insert(3))
            assert home.rows() == [1, 2]


@pytest.mark.parametrize(
    "sql", ["BEGIN", " commit", "/* x */ ROLLBACK", "START  TRANSACTION", "-- x\nEND"]
)
def test_statements_of_transactions_are_refused_within_one(home: Home, sql: str) -> None:
    with home.pool() as pool, pool.transaction():
        pool.execute(insert(1))
        with pytest.raises(infra.DatabaseError, match="begin and end a block"):
            pool.execute(sql)
        pool.execute(insert(2))
    assert home.rows() == [1, 2]


@mysql_only
def test_further_answers_are_not_the_next_borrowers(home: Home) -> None:
    """Of a procedure that answers with rows and then fails."""
    home.ask("DROP PROCEDURE IF EXISTS two")
    home.ask("CREATE PROCEDURE two() BEGIN SELECT 42; INSERT INTO t VALUES (1, 1); END")
    home.ask(insert(1))
    with home.pool(max_connections=1, min_connections=1) as pool:
        for _ in range(20):
            with pytest.raises(infra.ConflictError):
                pool.fetch_all("CALL two()")
            assert pool.fetch_all("SELECT 'unrelated'") == [("unrelated",)]
    home.ask("DROP PROCEDURE two")


@mysql_only
def test_further_answers_that_a_borrower_left(home: Home) -> None:
    home.ask("DROP PROCEDURE IF EXISTS two")
    home.ask("CREATE PROCEDURE two() BEGIN SELECT 42; INSERT INTO t VALUES (1, 1); END")
    home.ask(insert(1))
    with home.pool(max_connections=1, min_connections=1) as pool:
        for _ in range(5):
            with pool.connection() as raw:
                cursor = raw.cursor()
                cursor.execute("CALL two()")
                assert cursor.fetchall() == ((42,),)
            assert pool.fetch_all("SELECT 'unrelated'") == [("unrelated",)]
    home.ask("DROP PROCEDURE two")


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO notes (id) VALUES (1)",
        "insert into notes values (1, 1)",
        "/* why */ INSERT INTO {db}.notes VALUES (1, 1)",
        "-- why\nINSERT INTO notes SELECT 1, 1",
        "UPDATE notes SET id = 1 WHERE id = 2",
    ],
)
def test_names_of_rules_in_odd_statements(home: Home, sql: str) -> None:
    home.ask("CREATE TABLE notes (id INTEGER PRIMARY KEY, v INTEGER)")
    home.ask("INSERT INTO notes (id) VALUES (1), (2)")
    with home.pool() as pool, pytest.raises(infra.ConflictError) as caught:
        pool.execute(sql.format(db=home.pick(home.name, "public")))
    assert (caught.value.constraint, caught.value.kind) == ("notes_pkey", "unique")


@mysql_only
def test_a_server_that_speaks_german(home: Home) -> None:
    """Names of rules are read from MySQL's messages; a value must never be taken for one."""
    home.ask("SET GLOBAL lc_messages = 'de_DE'")
    try:
        with home.pool() as pool:
            pool.execute(
                "CREATE TABLE secrets (v VARCHAR(20), CONSTRAINT secrets_v_key UNIQUE (v))"
            )
            pool.execute("INSERT INTO secrets VALUES ('+14155550100')")
            with pytest.raises(infra.ConflictError) as caught:
                pool.execute("INSERT INTO secrets VALUES ('+14155550100')")
            assert caught.value.constraint == "secrets_v_key"
            with pytest.raises(infra.ConflictError) as caught:
                pool.execute(
                    "SIGNAL SQLSTATE '23000' SET MYSQL_ERRNO = 1062, MESSAGE_TEXT = '+14155550100'"
                )
            assert caught.value.constraint is None
            assert "4155550100" not in str(caught.value)
    finally:
        home.ask("SET GLOBAL lc_messages = 'en_US'")


@mysql_only
def test_a_row_beyond_the_largest_packet(home: Home) -> None:
    columns = [f"a_column_with_a_rather_long_name_number_{number}" for number in range(30)]
    home.ask(
        f"CREATE TABLE notes (id INTEGER, {', '.join(f'{each} LONGTEXT' for each in columns)})"
    )
    before = home.ask("SELECT @@max_allowed_packet")[0][0]
    home.ask("SET GLOBAL max_allowed_packet = 1048576")
    try:
        with home.pool() as pool:
            rows = [(number, *["x" * 1000] * 30) for number in range(100)]
            assert pool.insert_many("notes", ["id", *columns], rows) == 100
            with pytest.raises(infra.DatabaseError, match="max_allowed_packet") as caught:
                pool.insert_many("notes", ["id", columns[0]], [(1, "x" * 1048576)])
            assert caught.value.retryable is False
            assert pool.fetch_one("SELECT count(*) FROM notes") == (100,)
    finally:
        home.ask(f"SET GLOBAL max_allowed_packet = {before}")


@mysql_only
def test_a_reader_of_a_stream_may_pause(home: Home) -> None:
    with home.pool(idle_timeout=1234) as pool:
        assert list(pool.stream("SELECT @@net_write_timeout")) == [(1234,)]
        assert pool.fetch_one("SELECT @@net_write_timeout") == (60,)


class Colour(str, enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    SMALL = 1


def test_subclasses_are_their_plain_values(home: Home) -> None:
    home.ask("CREATE TABLE notes (id INTEGER, v VARCHAR(20))")
    with home.pool() as pool:
        pool.execute("INSERT INTO notes VALUES (%s, %s)", (Size.SMALL, Colour.RED))
        pool.insert_many("notes", ["id", "v"], [(Size.SMALL, Colour.RED), (1, "red")])
        assert pool.fetch_all("SELECT id, v FROM notes") == [(1, "red")] * 3


@any_text
def test_statements_of_any_subclass(home: Home, text: Text) -> None:
    home.ask("CREATE TABLE notes (id INTEGER, v VARCHAR(20))")
    with home.pool() as pool:
        insert_one = text("INSERT INTO notes VALUES (%s, %s)")
        assert pool.execute(insert_one, [Size.SMALL, text("é'\\ %s")]) == 1
        select = text("SELECT v FROM notes WHERE v = %(v)s")
        params = {text("v"): text("é'\\ %s")}
        assert pool.fetch_all(select, params) == [("é'\\ %s",)]
        assert pool.fetch_one(select, params) == ("é'\\ %s",)
        assert list(pool.stream(select, params)) == [("é'\\ %s",)]
        several = text("SELECT id FROM notes WHERE v IN %s")
        assert pool.fetch_all(several, [(text("b"), text("é'\\ %s"))]) == [(1,)]
        if home.engine == "postgres":
            assert pool.fetch_one("SELECT %s", [[text("é"), text("b")]]) == (["é", "b"],)
        with pool.transaction():
            assert pool.execute(text("DELETE FROM notes WHERE v = %s"), [text("b")]) == 0


class Name(str):
    def __str__(self) -> str:
        return "odd"


class Day(date):
    __str__ = isoformat = Name.__str__


class Moment(datetime):
    __str__ = isoformat = Name.__str__  # type: ignore[assignment]


class Amount(Decimal):
    __str__ = Name.__str__


class Id(uuid.UUID):
    __str__ = Name.__str__


def test_values_of_other_subclasses(home: Home) -> None:
    binary = "VARBINARY(5)" if home.engine == "mysql" else "BYTEA"
    moment = "DATETIME(6)" if home.engine == "mysql" else "TIMESTAMPTZ"
    columns = f"a DATE, b {moment}, c DECIMAL(5, 2), d CHAR(36), e DOUBLE PRECISION, f {binary}"
    home.ask(f"CREATE TABLE kinds ({columns})")
    noon, id = datetime(2026, 1, 31, 12, tzinfo=timezone.utc), uuid.UUID(int=7)
    row = Day(2026, 1, 31), Moment(2026, 1, 31, 12, tzinfo=timezone.utc), Amount("1.50")
    more = Id(int=7), type("Real", (float,), {"__repr__": Name.__str__})(1.5), Raw(b"\0a")
    with home.pool() as pool:
        pool.execute("INSERT INTO kinds VALUES (%s, %s, %s, %s, %s, %s)", [*row, *more])
        pool.insert_many("kinds", ["a", "b", "c", "d", "e", "f"], [(*row, *more)])
        found = date(2026, 1, 31), noon, Decimal("1.50"), str(id), 1.5, b"\0a"
        assert pool.fetch_all("SELECT * FROM kinds") == [found] * 2


@pytest.mark.parametrize(
    "value",
    [
        Decimal("Infinity"),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
        "nul\0",
        "\ud800",
        (),
        {1, 2},
        ...,
    ],
    ids=str,
)
def test_parameters_that_no_column_holds(home: Home, value: Any) -> None:
    with home.pool() as pool:
        with pytest.raises(infra.ValidationError, match="parameter 2") as caught:
            pool.fetch_one("SELECT %s, %s", (1, value))
        assert (caught.value.service, caught.value.operation) == (home.engine, "fetch_one")
        with pytest.raises(infra.ValidationError, match="parameter of") as caught:
            pool.stream("SELECT %(of)s", {"of": value})
        assert (caught.value.service, caught.value.operation) == (home.engine, "stream")
        assert pool.stats().open == 0  # refused before anything was sent
        with pytest.raises(infra.ValidationError):
            pool.insert_many("t", ["n"], [(value,)])
        with pytest.raises(infra.ValidationError):
            pool.insert_many("t", ["n"], [(10**5000,)])
    assert home.rows() == []


@mysql_only
@pytest.mark.parametrize(
    "value", [[1], datetime(2026, 1, 1), day_time(1, tzinfo=timezone.utc)], ids=str
)
def test_parameters_that_mysql_does_not_take(home: Home, value: Any) -> None:
    with home.pool() as pool:
        with pytest.raises(infra.ValidationError, match="parameter 1") as caught:
            pool.execute("INSERT INTO t (n) VALUES (%s)", [value])
        assert (caught.value.service, caught.value.operation) == ("mysql", "execute")
        assert pool.stats().open == 0


def test_a_document_that_is_not_json_is_no_parameter(home: Home) -> None:
    with home.pool() as pool, pytest.raises(infra.SerializationError, match="parameter 1"):
        pool.execute("SELECT %s", [{1: 2}])


#: columns whose values Python reads as a type of their own, and literals of them
READ = {
    "mysql": {
        "TIME(6)": ["'00:00:00'", "'-01:30:00.250000'", "'838:59:59'", "'12:34:56.789012'"],
        "DATETIME(6)": ["'2026-01-31 12:00:00.123456'", "'0001-01-01 00:00:00'"],
        "TIMESTAMP(6)": ["'2026-01-31 12:00:00.123456'"],
        "DATE": ["'2026-01-31'"],
        "YEAR": ["2026"],
        "DECIMAL(20,10)": ["-1234567890.0123456789", "0"],
        "BOOLEAN": ["TRUE", "FALSE"],
        "BIGINT UNSIGNED": ["18446744073709551615", "0"],
        "MEDIUMINT": ["-8388608", "8388607"],
        "FLOAT": ["1.5"],
        "VARBINARY(9)": ["x'00ff27'"],
        "BINARY(3)": ["x'00ff27'"],
        "BIT(3)": ["b'101'"],
        "ENUM('a','b')": ["'b'"],
        "SET('a','b')": ["'a,b'"],
        "CHAR(36)": ["'01890a5d-ac96-774b-bcce-b302099a8057'"],
        "LONGTEXT": ["'{\"a\": 1}'", "'it''s'"],
    },
    "postgres": {
        "TIME": ["'12:34:56.789012'", "'00:00'"],
        "TIMETZ": ["'12:34:56.789012+05:30'"],
        "TIMESTAMP": ["'2026-01-31 12:00:00.123456'", "'0001-01-01'"],
        "TIMESTAMPTZ(3)": ["'2026-01-31 12:00:00.123+05:30'"],
        "INTERVAL": ["'1 day 02:03:04.000005'", "'-1 day -2 seconds'", "'36 hours'"],
        "DATE": ["'2026-01-31'"],
        "NUMERIC(20,10)": ["-1234567890.0123456789", "'NaN'"],
        "NUMERIC": ["1e30", "0.00001"],
        "NUMERIC(3,-2)": ["12300"],
        "DOUBLE PRECISION": ["'-Infinity'", "'NaN'", "1e300"],
        "BIGINT": ["9223372036854775807"],
        "BOOLEAN": ["TRUE", "FALSE"],
        "BYTEA": ["'\\x00ff275c'", "''"],
        "UUID": ["'01890a5d-ac96-774b-bcce-b302099a8057'"],
        "JSON": ['\'{"a":[1,null,"x\\"y"]}\'', "'[1,[2]]'"],
        "JSONB": ['\'{"a": {"b": 1.5}}\'', "'[]'"],
        "INTEGER[]": ["'{1,NULL,3}'", "'{}'", "'{{1,2},{3,4}}'"],
        "TEXT[]": ["""'{"a,b","c\\"d","",NULL,"NULL","e\\\\f\ng\t"}'"""],
        "UUID[]": ["'{01890a5d-ac96-774b-bcce-b302099a8057}'"],
        "JSONB[]": ["""'{"{\\"a\\": [1, \\"b\\"]}"}'"""],
        "TIMESTAMP[]": ["'{2026-01-31 12:00:00}'"],
        "BOOLEAN[]": ["'{t,f}'"],
        "BYTEA[]": ["""'{"\\\\x00ff",NULL}'""", "'{}'"],
        "INET": ["'10.0.0.1'"],
        "CHAR(3)": ["'a'"],
        "OID": ["5"],
        "MONEY": ["'12.34'"],
        "INT4RANGE": ["'[1,5)'", "'empty'", "'(,5)'"],
        "TSTZRANGE": ["'[2026-01-31 12:00:00+05:30,)'"],
        "NUMRANGE": ["'(1.5,2.25]'"],
        "DATERANGE": ["'[2026-01-31,2026-02-01)'"],
        "INT4MULTIRANGE": ["'{[1,5)}'"],
        "INT4RANGE[]": ["""'{"[1,5)",empty,NULL}'"""],
        "TSTZRANGE[]": ["""'{"[2026-01-31 12:00:00+05:30,)"}'"""],
        "BIT(3)": ["B'101'"],
        "XML": ["'<a/>'"],
    },
}  # fmt: skip


def test_what_is_read_may_be_written(home: Home) -> None:
    """By fetch and stream, as a parameter and by insert_many."""
    same = home.pick("a.v <=> b.v", "a.v::text IS NOT DISTINCT FROM b.v::text")
    count = f"SELECT count(*) FROM source a JOIN target b ON {same}"
    with home.pool() as pool:
        for type, literals in READ[home.engine].items():
            pool.execute(f"CREATE TABLE source (v {type})")
            pool.execute(f"CREATE TABLE target (v {type})")
            for literal in [*literals, "NULL"]:
                pool.execute("DELETE FROM source")
                pool.execute("DELETE FROM target")
                pool.execute(f"INSERT INTO source VALUES ({literal})")
                rows = [
                    *pool.fetch_all("SELECT v FROM source"),
                    *pool.stream("SELECT v FROM source"),
                ]
                assert pool.insert_many("target", ["v"], rows) == 2
                if (type, literal) not in AS_ARRAYS:
                    pool.execute("INSERT INTO target VALUES (%s)", rows[0])
                    pool.execute("INSERT INTO target VALUES (%(v)s)", {"v": rows[1][0]})
                found = pool.fetch_all("SELECT v FROM target")
                assert {repr(row) for row in found} == {repr(rows[0])}, (type, literal)
                if type != "INTERVAL":  # whose days and hours Python adds up
                    assert pool.fetch_one(count) == (len(found),), (type, literal)
            pool.execute("DROP TABLE source")
            pool.execute("DROP TABLE target")


#: a list is an array where a parameter's type is not known
AS_ARRAYS = {("JSON", "'[1,[2]]'"), ("JSONB", "'[]'")}


@mysql_only
def test_a_document_in_mysql(home: Home) -> None:
    """MySQL's JSON is read as a dict or list, MariaDB's and LONGTEXT as text."""
    document = {"a": [1, None, "é'\\"]}
    with home.pool() as pool:
        pool.execute("CREATE TABLE documents (id INTEGER, j JSON, l LONGTEXT)")
        rows = [(1, document, document), (2, [1], [1]), (3, None, "text")]
        assert pool.insert_many("documents", ["id", "j", "l"], rows) == 3
        pool.execute("INSERT INTO documents VALUES (4, %s, %s)", [document, document])
        found = {id: read for id, *read in pool.fetch_all("SELECT id, j, l FROM documents")}
        assert json.loads(found[1][1]) == json.loads(found[4][1]) == document
        assert (found[2][1], found[3]) == ("[1]", [None, "text"])
        if "MariaDB" in pool.health_check().server:
            assert json.loads(found[1][0]) == json.loads(found[4][0]) == document
        else:
            assert (found[1][0], found[2][0], found[4][0]) == (document, [1], document)
        for text in ('{"a": 1}', "[1]", "null", ""):
            with pytest.raises(infra.ValidationError, match="J should be a document"):
                pool.insert_many("documents", ["J", "id"], [(text, 5)])
        assert pool.fetch_one("SELECT count(*) FROM documents") == (4,)


@mysql_only
def test_white_space_beyond_the_bytes_of_a_text(home: Home) -> None:
    """Which the server would cut off without an error."""
    home.ask(
        "CREATE TABLE notes (u TINYTEXT CHARACTER SET utf8mb4, l TINYTEXT CHARACTER SET latin1)"
    )
    with home.pool() as pool:
        for column, text in (
            ("u", "x" * 254 + "  "),
            ("u", "é" * 127 + "  "),
            ("l", "é" * 255 + " "),
        ):
            with pytest.raises(infra.DatabaseError, match=f"does not fit its column: {column}"):
                pool.insert_many("notes", [column], [("x",), (text,)])
            assert pool.insert_many("notes", [column], [(text.rstrip(),)]) == 1
        assert pool.fetch_one("SELECT count(*) FROM notes") == (3,)
        with pytest.raises(infra.DatabaseError, match="does not fit"):
            home.ask("CREATE TABLE fixed (b BINARY(3))")
            pool.insert_many("fixed", ["b"], [(b"ab",)])  # the server would add a zero


#: by engine: a column's type, a value that it holds, and values that the server would round or cut
#: off without an error
LOSSY: dict[str, list[tuple[str, Any, list[Any]]]] = {
    "mysql": [
        ("CHAR(5)", " a", ["a ", "a    "]),
        ("ENUM('a','1')", "a", [1, 1.5, "a ", Decimal(1), True]),
        ("ENUM('0','1','2')", "2", ["3", "03", " 3", "+3"]),
        ("ENUM('it''s','2A')", "it's", ["1", "2"]),
        ("SET('a','b')", "", ["3"]),
        ("SET('a','b')", "a,b", [1, 0.5, "a "]),
        ("SET('a','1')", "a,1", ["3", "+2", "2"]),
        ("YEAR", 2026, [1, 0.5, Decimal("9.99"), "26", b""]),
        ("BIT(16)", b"\x01\x02", [0.5, Decimal(1), "a", "", datetime(2026, 1, 1), timedelta()]),
        ("DOUBLE(7,3)", 1.125, [1.1234, 0.0001]),
        ("FLOAT(7,3)", 1.125, [1.1234]),
        ("DOUBLE UNSIGNED", 1.5, [b"5", "5", b""]),
        ("FLOAT UNSIGNED", 1.5, [b"5", "5"]),
        ("DECIMAL(5,2) UNSIGNED", Decimal("1.50"), [Decimal("1.555")]),
    ],
    "postgres": [
        ("NUMERIC(5,2)[]", [Decimal("1.50"), None], [[Decimal("1.555")], [[Decimal("1.555")]]]),
        ("VARCHAR(3)[]", ["abc"], [["abc "], [["a"], ["abc "]]]),
        ("TIME(0)[]", [day_time(1)], [[day_time(1, 0, 0, 5)]]),
        ("NAME", "x" * 63, ["x" * 64, "é" * 32]),
        ("INTERVAL SECOND(0)", timedelta(seconds=1), [timedelta(milliseconds=1)]),
        ("INTERVAL DAY TO SECOND(3)", timedelta(milliseconds=1), [timedelta(microseconds=1)]),
        ("INTERVAL HOUR TO MINUTE", timedelta(minutes=1), [timedelta(seconds=61)]),
        ("INTERVAL DAY TO HOUR", -timedelta(hours=25), [timedelta(minutes=1)]),
        ("INTERVAL DAY", timedelta(days=2), [timedelta(hours=25)]),
        ("INTERVAL YEAR", timedelta(), [timedelta(days=365)]),
    ],
}  # fmt: skip


def test_what_a_server_would_round_or_cut_off_in_silence(home: Home) -> None:
    for kind, proper, others in LOSSY[home.engine]:
        home.ask(f"CREATE TABLE lossy (v {kind})")
        with home.pool() as pool:
            assert pool.insert_many("lossy", ["v"], [(None,), (proper,)]) == 2
            for value in others:
                kinds = infra.ValidationError, infra.DatabaseError
                with pytest.raises(kinds, match=r"\bv\b") as caught:
                    pool.insert_many("lossy", ["v"], [(proper,), (value,)])
                told = caught.value.service, caught.value.operation
                assert told == (home.engine, "insert_many"), (kind, value)
            assert pool.fetch_all("SELECT v FROM lossy") == [(None,), (proper,)], kind
        home.ask("DROP TABLE lossy")


@postgres_only
def test_what_domains_and_arrays_consist_of(home: Home) -> None:
    with home.pool() as pool:
        pool.execute("CREATE DOMAIN short AS VARCHAR(3)")
        pool.execute("CREATE DOMAIN shorter AS short CHECK (VALUE <> '')")
        pool.execute("CREATE DOMAIN amounts AS NUMERIC(5,2)[]")
        pool.execute(
            'CREATE TABLE odd (a shorter, b shorter[], c amounts, d MONEY, e "char", f int2vector)'
        )
        for column, proper, other in (
            ("a", "abc", "abc "),
            ("b", ["abc", None], ["abc", "abc "]),
            ("c", [Decimal("1.50")], [Decimal("1.555")]),
            ("d", Decimal("1.50"), Decimal("1.555")),
            ("e", "a", "ab"),
        ):
            with pytest.raises(infra.DatabaseError, match=rf"does not fit its column: {column}$"):
                pool.insert_many("odd", [column], [(other,)])
            assert pool.insert_many("odd", [column], [(proper,)]) == 1
        assert pool.insert_many("odd", ["f"], [("1 2",)]) == 1
        sql = "SELECT max(a), max(b)::text, max(c)::text, max(d)::numeric FROM odd"
        assert pool.fetch_one(sql) == ("abc", "{abc,NULL}", "{1.50}", Decimal("1.50"))
        assert pool.fetch_all("SELECT e, f FROM odd WHERE e IS NOT NULL OR f IS NOT NULL") == [
            ("a", None), (None, "1 2"),
        ]  # fmt: skip


@postgres_only
def test_an_empty_list_is_no_empty_object(home: Home) -> None:
    """As a parameter it is an array, whose text is that of an empty JSON object."""
    with home.pool() as pool:
        pool.execute("CREATE TABLE lists (j JSON, b JSONB, n INTEGER[], d TEXT[], i UUID[])")
        for column in ("j", "b"):
            with pytest.raises(infra.DatabaseError):
                pool.execute(f"INSERT INTO lists ({column}) VALUES (%s)", [[]])
            with pytest.raises(infra.DatabaseError):
                pool.execute(f"INSERT INTO lists ({column}) VALUES (%(v)s)", {"v": []})
        assert pool.execute("INSERT INTO lists (n, d, i) VALUES (%s, %s, %s)", [[], [], []]) == 1
        assert pool.fetch_all("SELECT * FROM lists") == [(None, None, [], [], [])]
        assert pool.fetch_all("SELECT 1 FROM lists WHERE 1 = ANY(%s)", [[]]) == []
        assert pool.fetch_one("SELECT %s::int[], %s::text[]", [[], []]) == ([], [])


@postgres_only
def test_tuples_in_a_list(home: Home) -> None:
    """psycopg2 writes them as rows. Beside what the library writes itself they have no meaning."""
    with home.pool() as pool:
        sql = "SELECT n FROM (VALUES (1, 2), (3, 4)) AS t (n, m) WHERE (n, m) = ANY(%s)"
        assert pool.fetch_all(sql, [[(1, 2)]]) == [(1,)]
        with pytest.raises(infra.ValidationError, match="no element of an array"):
            pool.fetch_all(sql, [[uuid.uuid4(), (1, 2)]])


def test_columns_that_have_names_of_their_own(home: Home) -> None:
    """A temporary table, one of another schema, a domain, a view."""
    with home.pool() as pool, pool.transaction():
        pool.execute("CREATE TEMPORARY TABLE brief (n INTEGER, w VARCHAR(3))")
        assert pool.insert_many("brief", ["w", "n"], [("a", 1)]) == 1
        with (
            pytest.raises(infra.DatabaseError, match="does not fit its column: w"),
            pool.transaction(),
        ):
            pool.insert_many("brief", ["n", "w"], [(1, "a"), (2, "abc ")])
        with (
            pytest.raises(infra.DatabaseError, match="knows no table or column"),
            pool.transaction(),
        ):
            pool.insert_many("brief", ["n", "x"], [(1, "a")])
        schema = home.pick(home.name, "public")
        assert pool.insert_many(f"{schema}.t", ["n"], [(7,)]) == 1
        assert pool.fetch_one("SELECT count(*) FROM brief") == (1,)


@postgres_only
def test_a_domain_has_the_size_of_its_type(home: Home) -> None:
    home.ask("CREATE DOMAIN price AS NUMERIC(5,1)")
    home.ask("CREATE TABLE prices (p price)")
    with home.pool() as pool:
        assert pool.insert_many("prices", ["p"], [(Decimal("1.50"),)]) == 1
        with pytest.raises(infra.DatabaseError, match="does not fit its column: p"):
            pool.insert_many("prices", ["p"], [(Decimal("1.55"),)])


@postgres_only
def test_a_result_that_python_cannot_hold(home: Home) -> None:
    with home.pool() as pool:
        with pytest.raises(infra.SerializationError) as caught:
            pool.fetch_one("SELECT '0044-03-15 BC'::date")
        assert "44" not in str(caught.value)
        assert pool.fetch_one("SELECT 1") == (1,)


def test_a_block_that_is_closed_by_another_thread(home: Home) -> None:
    """A generator that holds a transaction may be finalised anywhere.

    Its owner must not go on writing into a transaction that is never ended.
    """
    with home.pool(max_connections=2) as pool:

        def holds() -> Iterator[None]:
            with pool.transaction():
                pool.execute(insert(1))
                yield

        generator = holds()
        next(generator)
        in_threads(1, lambda _: generator.close())  # type: ignore[attr-defined]
        with pytest.raises(infra.DatabaseError, match="cannot go on"):
            pool.execute(insert(2))
        pool.execute(insert(3))
        assert home.rows() == [3]
        assert pool.stats().in_use == 0


def test_the_connection_of_a_thread_that_has_ended(home: Home) -> None:
    """It goes to the caller that waits for it, and the server rolls back."""
    kept: list[Any] = []
    with home.pool(max_connections=1, acquire_timeout=60) as pool:
        inside, waits = threading.Event(), threading.Event()

        def ends() -> None:
            kept.append(pool.transaction())
            kept[-1].__enter__()
            pool.execute(insert(1))
            inside.set()
            assert waits.wait(WAIT)

        def wants() -> None:
            assert inside.wait(WAIT)
            pool.execute(insert(2))

        joins = in_background(wants), in_background(ends)
        eventually(lambda: pool.stats().waiting == 1)
        waits.set()
        assert [join() for join in joins] == [None, None]
        assert home.rows() == [2]
        assert pool.stats() == infra.PoolStats(1, 1, 0, 1, 0)
        assert home.transactions() == 0


def test_tasks_write_at_once(home: Home) -> None:
    """Each on a connection of its own."""
    with home.pool() as pool:

        async def writes(numbers: list[int], mine: asyncio.Event, other: asyncio.Event) -> None:
            with pool.transaction():
                pool.execute(insert(numbers[0]))
                mine.set()
                await other.wait()
                assert pool.fetch_all("SELECT n FROM t") == [(numbers[0],)]
                if len(numbers) == 1:
                    raise ZeroDivisionError
                with pytest.raises(ZeroDivisionError), pool.transaction():
                    pool.execute(insert(9))
                    raise ZeroDivisionError
                await asyncio.sleep(0)
                pool.execute(insert(numbers[1]))

        async def work() -> Any:
            first, second = asyncio.Event(), asyncio.Event()
            one, two = writes([1], first, second), writes([2, 3], second, first)
            return await asyncio.gather(one, two, return_exceptions=True)

        failed, other = asyncio.run(work())
        assert (type(failed), other) == (ZeroDivisionError, None)
        assert home.rows() == [2, 3]
        assert pool.stats().in_use == 0


def test_a_block_that_is_entered_twice(home: Home) -> None:
    with home.pool() as pool:
        block = pool.transaction()
        with pytest.raises(infra.DatabaseError), block:
            pool.execute(insert(1))
            with block:
                pool.execute(insert(2))
        assert home.rows() == []
        pool.execute(insert(3))
        assert pool.stats().in_use == 0


@pytest.mark.parametrize("seconds", [1e-3, 365 * 86400.0])
def test_the_shortest_and_the_longest_query_timeout(home: Home, seconds: float) -> None:
    with home.pool(query_timeout=seconds) as pool:
        if seconds < 1:
            with pytest.raises(infra.TimeoutError, match="query_timeout"):
                home.ask(insert(1))
                pool.fetch_all(home.slow(60))
        else:
            assert pool.execute(insert(1)) == 1


def test_a_pool_of_one_needs_no_further_settings(home: Home) -> None:
    with home.pool(max_connections=1) as pool:
        assert pool.execute(insert(1)) == 1
