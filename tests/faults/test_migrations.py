"""Migrator on real servers: records, refusals, and the state after a runner fails or is killed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

import fakes
import infra
from tests.conftest import not_shown
from tests.contract.backends import WAIT, eventually, in_threads
from tests.contract.texts import Odd
from tests.faults.proxy import Proxy
from tests.unit import dumps
from tests.unit.test_migrations import SCRIPTS

ROOT = Path(infra.__file__).parent
NEW_YEAR = datetime(2026, 1, 1, tzinfo=timezone.utc)  # where a FakeClock stands

A, B, C = (f"CREATE TABLE {name} (id INT);\n" for name in "abc")


class Shop:
    """A database of its own, a file of migrations, and eyes on both."""

    def __init__(self, url: str, folder: Path, *, port: int = 0, **options: Any) -> None:
        parts = urllib.parse.urlsplit(url)
        self.port = parts.port or 0
        self.url = url = url.replace(f":{self.port}/", f":{port or self.port}/")
        self.pool = infra.create_pool(infra.DatabaseConfig(url=url, **options))
        self.engine = self.pool.engine
        self.file = folder / "shop.sql"

    def write(self, *migrations: str, flag: str = "") -> None:
        """Each text becomes a migration; the numbers begin at 1."""
        markers = (
            f"-- migration {number} step_{number} {self.engine}{flag}\n" for number in range(1, 100)
        )
        self.file.write_text("".join(map("".join, zip(markers, migrations))))

    def migrator(self, *more: Path, **options: Any) -> infra.Migrator:
        return infra.Migrator(self.pool, self.file, *more, **options)

    def apply(self, **options: Any) -> list[int]:
        """The numbers of what was applied."""
        return [each.number for each in self.migrator(**options).apply()]

    def refusal(self, work: Callable[[], Any] | None = None) -> str:
        with pytest.raises(infra.DatabaseError) as caught:
            (work or self.migrator().apply)()
        assert (caught.value.service, caught.value.operation) == (self.engine, "migrate")
        return str(caught.value)

    def states(self) -> list[tuple[int, str, int]]:
        return [(each.number, each.state, each.statement) for each in self.migrator().status()]

    def tables(self) -> list[str]:
        here = {"mysql": "database()", "postgres": "'public'"}[self.engine]
        rows = self.pool.fetch_all(
            f"SELECT table_name FROM information_schema.tables WHERE table_schema = {here}"
        )
        return sorted(name for (name,) in rows)

    def sleep(self, seconds: float) -> str:
        return {
            "mysql": f"SELECT SLEEP({seconds});\n",
            "postgres": f"SELECT pg_sleep({seconds});\n",
        }[self.engine]

    def where(self) -> str:
        parts = urllib.parse.urlsplit(self.url)
        return f"{self.engine} at {parts.hostname}:{parts.port}"

    def exists(self) -> str:
        """Return the server's message for a second CREATE TABLE."""
        code = {"mysql": 1050, "postgres": "42P07"}[self.engine]
        exists = "has a table or index of that name already"
        return f'{self.where()} {exists}: "a", line 1, column 14 (code {code})'

    def sessions(self) -> int:
        """Connections to this database that are not this pool's, of which one is in use."""
        query = {
            "mysql": "SELECT COUNT(*) FROM information_schema.processlist WHERE db = database()",
            "postgres": "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()",
        }[self.engine]
        row = self.pool.fetch_one(query)
        assert row is not None
        return int(row[0]) - self.pool.stats().open

    def command(self, *arguments: str, url: str = "") -> subprocess.Popen[str]:
        """A Python process that finds this checkout and this database."""
        others = {"MARIADB_URL", "MYSQL_URL", "POSTGRES_URL", "REDIS_URL"}
        env = {name: value for name, value in os.environ.items() if name not in others}
        env |= {"DATABASE_URL": url or self.url, "PYTHONPATH": str(ROOT)}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [sys.executable, *arguments], env=env, stdout=pipe, stderr=pipe, text=True
        )


@pytest.fixture(params=["mariadb", "mysql", "postgres"])
def shop(
    request: pytest.FixtureRequest, database: Callable[[str], str], tmp_path: Path
) -> Iterator[Shop]:
    shop = Shop(database(request.param), tmp_path)
    with shop.pool:
        yield shop


@pytest.fixture
def postgres_shop(database: Callable[[str], str], tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(database("postgres"), tmp_path)
    with shop.pool:
        yield shop


@pytest.fixture
def stepwise(shop: Shop) -> Shop:
    """A migration of three statements, each recorded by itself, whose third has failed."""
    shop.write(A + B + A, flag=" no-transaction")
    shop.refusal()
    return shop


# --- the usual course


def test_applied_once(shop: Shop) -> None:
    shop.write(A + B, C)
    migrator = shop.migrator(clock=fakes.FakeClock())
    assert migrator.status() == [
        infra.MigrationStatus("shop", 1, "step_1", "pending"),
        infra.MigrationStatus("shop", 2, "step_2", "pending"),
    ]
    assert migrator.apply() == migrator.migrations
    assert shop.tables() == ["a", "b", "c", "schema_migrations"]
    assert migrator.status() == [
        infra.MigrationStatus("shop", 1, "step_1", "applied", 2, NEW_YEAR),
        infra.MigrationStatus("shop", 2, "step_2", "applied", 1, NEW_YEAR),
    ]
    assert migrator.apply() == []
    assert shop.apply() == []
    assert shop.pool.stats().in_use == 0


def test_the_librarys_own_schema(shop: Shop) -> None:
    found = infra.Migrator(shop.pool)
    assert found.apply() == found.migrations
    assert found.apply() == []
    assert shop.tables() == [
        "benchmark_tags", "benchmark_versions", "benchmarks", "infra_audit", "infra_audit_seals",
        "infra_inbox", "infra_moves", "infra_outbox", "infra_outbox_leases", "organization_members",
        "organizations", "phone_users", "refresh_tokens", "schema_migrations", "submissions",
        "users",
    ]  # fmt: skip


def test_looking_changes_nothing(shop: Shop) -> None:
    shop.write(A, B)
    assert [each.number for each in shop.migrator().apply(dry_run=True)] == [1, 2]
    assert shop.states() == [(1, "pending", 0), (2, "pending", 0)]
    assert shop.tables() == []
    shop.write(A)
    assert shop.apply() == [1]
    before = shop.pool.fetch_all("SELECT * FROM schema_migrations")
    shop.write(A, B)
    assert [each.number for each in shop.migrator().apply(dry_run=True)] == [2]
    assert shop.pool.fetch_all("SELECT * FROM schema_migrations") == before
    assert shop.tables() == ["a", "schema_migrations"]


def test_two_files(shop: Shop, tmp_path: Path) -> None:
    """The number counts within its file, and files are applied in the order given."""
    shop.write(A)
    more = tmp_path / "more.sql"
    more.write_text(f"-- migration 1 step_1 {shop.engine}\nALTER TABLE a ADD more INT;\n")
    assert [str(each) for each in shop.migrator(more).apply()] == [
        "shop 1 (step_1)",
        "more 1 (step_1)",
    ]
    assert shop.migrator(more).apply() == []
    shop.write(A, "ALTER TABLE a DROP COLUMN more;\n")
    assert [str(each) for each in shop.migrator(more).apply()] == ["shop 2 (step_2)"]


def test_names_of_files_differ_as_in_python(shop: Shop, tmp_path: Path) -> None:
    """Left to itself, MySQL would take the record of one for the other's."""
    for name, table in (("Größe", A), ("große", B), ("größe", C)):
        shop.file = tmp_path / f"{name}.sql"
        shop.write(table)
        assert shop.apply() == [1]
    rows = shop.pool.fetch_all(
        "SELECT source, number, state FROM schema_migrations ORDER BY source"
    )
    assert rows == [("Größe", 1, "applied"), ("große", 1, "applied"), ("größe", 1, "applied")]
    shop.file = tmp_path / ("n" * 100 + ".sql")
    shop.write("")
    assert shop.apply() == [1]


def test_progress_is_told(shop: Shop) -> None:
    lines: list[str] = []
    shop.write(A, B)
    assert shop.apply(progress=lines.append) == [1, 2]
    assert lines == ["applying shop 1 (step_1)", "applying shop 2 (step_2)"]
    assert shop.apply(progress=lines.append) == []
    assert len(lines) == 2


def test_one_that_comes_late_is_applied(shop: Shop) -> None:
    """Two branches were merged: the lower number came second."""
    text = f"-- migration 1 one {shop.engine}\n{A}{{}}-- migration 3 three {shop.engine}\n{C}"
    shop.file.write_text(text.format(""))
    assert shop.apply() == [1, 3]
    shop.file.write_text(text.format(f"-- migration 2 two {shop.engine}\n{B}"))
    assert shop.apply() == [2]
    assert shop.tables() == ["a", "b", "c", "schema_migrations"]


def test_what_is_not_in_the_files_is_unknown(shop: Shop) -> None:
    """An older release runs against a newer schema: that is no reason to stop."""
    shop.write(A, B)
    assert shop.apply(clock=fakes.FakeClock()) == [1, 2]
    shop.write(A)
    assert shop.migrator().status()[1] == infra.MigrationStatus(
        "shop", 2, "step_2", "unknown", 1, NEW_YEAR
    )
    assert shop.apply() == []


def test_migrations_without_statements(shop: Shop) -> None:
    shop.write("", "-- Nothing, in the end.\n")
    assert shop.apply() == [1, 2]
    assert shop.states() == [(1, "applied", 0), (2, "applied", 0)]
    assert shop.apply() == []


def test_texts_arrive_as_they_stand_in_the_file(shop: Shop) -> None:
    """Percent signs are no placeholders; blanks, other ends of lines and other scripts survive."""
    text = "100% %s %(a)s  \n\u2028\u0085é→😀"
    kind = {"mysql": "VARCHAR(100) CHARACTER SET utf8mb4", "postgres": "text"}[shop.engine]
    shop.write(f"CREATE TABLE a (body {kind});\nINSERT INTO a VALUES ('{text}');\n")
    assert shop.apply() == [1]
    assert shop.pool.fetch_one("SELECT body FROM a") == (text,)


def test_ends_of_lines_arrive_as_they_stand_in_the_file(shop: Shop) -> None:
    kind = {"mysql": "VARCHAR(100)", "postgres": "text"}[shop.engine]
    sql = f"CREATE TABLE a (body {kind});\nINSERT INTO a VALUES ('one\r\ntwo\rthree\n');\n"
    shop.file.write_bytes(f"-- migration 1 a {shop.engine}\n{sql}".encode())
    assert shop.apply() == [1]
    assert shop.pool.fetch_one("SELECT body FROM a") == ("one\r\ntwo\rthree\n",)


def test_a_file_whose_lines_end_with_carriage_returns(shop: Shop) -> None:
    text = f"-- migration 1 a {shop.engine}\n-- It's one.\n{A}-- Another;\n{B}"
    shop.file.write_bytes(text.replace("\n", "\r").encode())
    assert shop.apply() == [1]
    assert shop.tables() == ["a", "b", "schema_migrations"]


@pytest.mark.parametrize(
    ("server", "dump"),
    [
        ("postgres", dumps.POSTGRES),
        ("postgres-18", dumps.POSTGRES),
        ("mariadb", dumps.MARIADB),
        ("mysql", dumps.MYSQL),
    ],
    ids=["postgres", "postgres-18", "mariadb", "mysql"],
)
def test_a_dump_applies_whole(
    database: Callable[[str], str], tmp_path: Path, server: str, dump: str
) -> None:
    shop = Shop(database(server), tmp_path)
    with shop.pool:
        shop.file.write_bytes(f"-- migration 1 shop {shop.engine}\n{dump}".encode())
        assert shop.apply() == [1]
        assert shop.apply() == []
        assert shop.pool.fetch_all("SELECT id, name, note, photo FROM customer ORDER BY id") == [
            (1, "O'Neill; & Sons", 'two\r\nlines\rand \\ "more"', b"\x00\xff'\\"),
            (2, f"-- migration 9 x {shop.engine}", NOTES[shop.engine], None),
        ]
        assert shop.pool.fetch_all("SELECT id FROM named ORDER BY id") == [(1,), (2,)]


NOTES = {
    "mysql": "a\n-- migration 2 fake mysql\nDELIMITER ;;",
    "postgres": "a\n-- migration 2 fake postgres\nCOPY a FROM stdin;",
}

# --- edits


def test_an_edited_migration_is_refused(shop: Shop) -> None:
    shop.write(A, B)
    assert shop.apply() == [1, 2]
    shop.write(A, "CREATE TABLE b (id BIGINT);\n", C)
    message = (
        "migration shop 2 (step_2) was edited after it was applied: restore its text; "
        "a change is a new migration"
    )
    assert shop.refusal() == message
    assert shop.refusal(lambda: shop.migrator().apply(dry_run=True)) == message
    assert shop.states() == [(1, "applied", 1), (2, "edited", 1), (3, "pending", 0)]
    assert shop.tables() == ["a", "b", "schema_migrations"]
    shop.write(A, B, C)
    assert shop.apply() == [3]


def test_other_ends_of_lines_are_no_edit(shop: Shop) -> None:
    shop.write("CREATE TABLE a (\n  id INT\n);\n" + B)
    assert shop.apply() == [1]
    text = shop.file.read_bytes()
    for same in (text.replace(b"\n", b"\r\n"), text.replace(b"\n", b"  \n"), text.strip()):
        shop.file.write_bytes(same)
        assert shop.apply() == []
        assert shop.states() == [(1, "applied", 2)]


# --- failures


def test_a_failed_transaction_leaves_nothing(postgres_shop: Shop) -> None:
    shop = postgres_shop
    shop.write(A, B + C + A)
    assert shop.refusal() == (
        f"migration shop 2 (step_2) failed at its statement 3, CREATE TABLE a … ({shop.exists()}): "
        "the whole migration was rolled back; mend it and run again"
    )
    assert shop.states() == [(1, "applied", 1), (2, "pending", 0)]
    assert shop.tables() == ["a", "schema_migrations"]
    shop.write(A, B + C)
    assert shop.apply() == [2]
    assert shop.tables() == ["a", "b", "c", "schema_migrations"]


def test_savepoints_are_allowed(postgres_shop: Shop) -> None:
    shop = postgres_shop
    shop.write(f"{A}SAVEPOINT one;\n{B}ROLLBACK TO one;\nRELEASE one;\n{C}")
    assert shop.apply() == [1]
    assert shop.tables() == ["a", "c", "schema_migrations"]


def test_a_rule_that_only_commit_checks(postgres_shop: Shop) -> None:
    shop = postgres_shop
    shop.write(
        "CREATE TABLE a (id INT PRIMARY KEY);\n"
        "CREATE TABLE b (a INT REFERENCES a (id) DEFERRABLE INITIALLY DEFERRED);\n"
        "INSERT INTO b VALUES (7);\n"
    )
    assert "failed at its statement 3" in shop.refusal()
    assert shop.tables() == ["schema_migrations"]
    assert shop.states() == [(1, "pending", 0)]


def test_a_failed_step_is_dirty(stepwise: Shop) -> None:
    shop = stepwise
    # The statement would work now, but the decision is still the user's.
    shop.pool.execute("DROP TABLE a")
    command = f"infra migrate {shop.file} --repair 1"
    assert shop.states() == [(1, "dirty", 3)]
    message = (
        "migration shop 1 (step_1) is dirty: its statement 3 was begun, "
        "and may or may not have taken effect. "
        f"Look at the schema, then: {command} --done (it has taken effect) "
        "or --retry (run it again)"
    )
    assert shop.refusal() == message
    assert shop.refusal(lambda: shop.migrator().apply(dry_run=True)) == message
    shop.write(A + B + C, C, flag=" no-transaction")
    assert shop.refusal() == message  # mended, and not yet settled
    assert shop.tables() == ["b", "schema_migrations"]


def test_the_failure_says_what_to_do(shop: Shop) -> None:
    shop.write(A, B + C + A, C, flag=" no-transaction")
    assert shop.refusal() == (
        f"migration shop 2 (step_2) failed at its statement 3, CREATE TABLE a … ({shop.exists()}): "
        f"look at the schema, then: infra migrate {shop.file} --repair 2 --done or --retry"
    )
    assert shop.states() == [(1, "applied", 1), (2, "dirty", 3), (3, "pending", 0)]
    assert shop.tables() == ["a", "b", "c", "schema_migrations"]


def test_repaired_by_running_the_mended_statement(stepwise: Shop) -> None:
    shop = stepwise
    shop.write(A + B + C + "CREATE TABLE d (id INT);\n", flag=" no-transaction")
    shop.migrator().repair(1, done=False)
    assert shop.states() == [(1, "partial", 3)]
    assert shop.tables() == ["a", "b", "schema_migrations"]
    assert shop.apply() == [1]
    assert shop.tables() == ["a", "b", "c", "d", "schema_migrations"]
    assert shop.states() == [(1, "applied", 4)]


def test_repaired_as_done(stepwise: Shop) -> None:
    shop = stepwise
    shop.migrator().repair(1, done=True)
    assert shop.states() == [(1, "applied", 3)]
    assert shop.apply() == []
    assert shop.tables() == ["a", "b", "schema_migrations"]


def test_repaired_as_done_goes_on_behind_it(stepwise: Shop) -> None:
    shop = stepwise
    shop.write(A + B + A + C, flag=" no-transaction")
    shop.migrator().repair(1, done=True)
    assert shop.states() == [(1, "partial", 4)]
    assert shop.apply() == [1]
    assert shop.tables() == ["a", "b", "c", "schema_migrations"]


@pytest.mark.parametrize("done", [True, False])
def test_the_statement_that_failed_may_be_left_out(stepwise: Shop, done: bool) -> None:
    shop = stepwise
    shop.write(A + B, flag=" no-transaction")
    shop.migrator().repair(1, done=done)
    shop.apply()
    assert shop.states() == [(1, "applied", 2)]


def test_fails_again_at_the_same_statement(stepwise: Shop) -> None:
    shop = stepwise
    shop.migrator().repair(1, done=False)
    assert "failed at its statement 3" in shop.refusal()
    assert shop.states() == [(1, "dirty", 3)]


def test_a_statement_that_was_executed_stays_as_it_is(stepwise: Shop) -> None:
    shop = stepwise
    edited = (
        "migration shop 1 (step_1) was edited after it was applied: restore its text; "
        "a change is a new migration"
    )
    shop.write(A + "CREATE TABLE b (id BIGINT);\n" + C, flag=" no-transaction")
    assert shop.refusal() == edited
    shop.write(A + B + C, flag=" no-transaction")
    shop.migrator().repair(1, done=False)
    for text in ("CREATE TABLE a (id BIGINT);\n" + B + C, A, A + C + B):
        shop.write(text, flag=" no-transaction")
        assert shop.refusal() == edited
        assert shop.states()[0][1] == "edited"
    assert shop.tables() == ["a", "b", "schema_migrations"]


@pytest.mark.parametrize(
    ("number", "done"), [("1", True), (1.0, True), (True, True), (None, True), (1, "no"), (1, None)]
)
def test_a_repair_of_no_number(shop: Shop, number: Any, done: Any) -> None:
    """It is refused before the table of what was applied is made, and a text is not True."""
    shop.write(A)
    with pytest.raises(infra.ValidationError, match="number should be"):
        shop.migrator().repair(number, done=done)
    assert shop.tables() == []


def test_what_is_not_dirty_cannot_be_repaired(shop: Shop) -> None:
    shop.write(A, B)
    shop.migrator().apply()
    shop.write(A, B, C)
    before = shop.states()
    for number in (1, 3, 4):  # applied, pending, unheard of
        with pytest.raises(infra.NotFoundError) as caught:
            shop.migrator().repair(number, done=number != 3)
        assert (
            str(caught.value)
            == f"no migration {number} is dirty: see infra migrate {shop.file} --status"
        )
        assert caught.value.resource == "migration"
    assert shop.states() == before


# --- runners that are killed


class Deadly(Proxy):
    """Kills the client instead of forwarding a request with these words in it."""

    def __init__(self, port: int, words: bytes) -> None:
        self.words = words
        self.victim: subprocess.Popen[str] | None = None
        self.aimed = threading.Event()
        super().__init__(port)

    def request(self, data: bytes) -> bytes | None:
        if self.words not in data:
            return data
        assert self.aimed.wait(WAIT)
        assert self.victim is not None
        self.victim.kill()
        return None


def die(shop: Shop, before: str) -> None:
    """A process applies the migrations, and is killed when it is about to send this."""
    with Deadly(shop.port, before.encode()) as proxy:
        url = shop.url.replace(f":{shop.port}/", f":{proxy.port}/")
        process = shop.command("-m", "infra", "migrate", str(shop.file), url=url)
        proxy.victim = process
        proxy.aimed.set()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (-signal.SIGKILL, ""), out


def record(state: str, statement: int) -> str:
    """How a record is written that is there already."""
    return f"state = '{state}', statement = {statement}"


def test_killed_between_a_statement_and_its_record(shop: Shop) -> None:
    shop.write(A + B + C, flag=" no-transaction")
    die(shop, record("done", 2))
    assert shop.states() == [(1, "dirty", 2)]
    assert shop.tables() == ["a", "b", "schema_migrations"]
    assert "its statement 2 was begun, and may or may not have taken effect" in shop.refusal()
    shop.migrator().repair(1, done=True)
    assert shop.apply() == [1]
    assert shop.tables() == ["a", "b", "c", "schema_migrations"]
    assert shop.states() == [(1, "applied", 3)]


def test_killed_between_a_record_and_its_statement(shop: Shop) -> None:
    shop.write(A + B + C, flag=" no-transaction")
    die(shop, "CREATE TABLE b")
    assert shop.states() == [(1, "dirty", 2)]
    assert shop.tables() == ["a", "schema_migrations"]
    shop.migrator().repair(1, done=False)
    assert shop.apply() == [1]
    assert shop.tables() == ["a", "b", "c", "schema_migrations"]


@pytest.mark.parametrize("moment", [("started", 2), ("started", 3), ("applied", 3)])
def test_killed_between_statements(shop: Shop, moment: tuple[str, int]) -> None:
    """Nothing is in doubt, so the next run goes on by itself."""
    shop.write(A + B + C, flag=" no-transaction")
    die(shop, record(*moment))
    ((number, state, _),) = shop.states()
    assert (number, state) == (1, "partial")
    assert shop.apply() == [1]
    assert shop.tables() == ["a", "b", "c", "schema_migrations"]
    assert shop.states() == [(1, "applied", 3)]


@pytest.mark.parametrize("moment", [record("applied", 2), "INSERT INTO", "COMMIT"])
def test_killed_in_a_transaction(postgres_shop: Shop, moment: str) -> None:
    shop = postgres_shop
    shop.write(A)
    assert shop.apply() == [1]
    shop.write(A, B + C)
    die(shop, moment)
    assert shop.states() == [(1, "applied", 1), (2, "pending", 0)]
    assert shop.apply() == [2]
    assert shop.tables() == ["a", "b", "c", "schema_migrations"]


# --- sessions

ROWS = "INSERT INTO a VALUES (1);\nINSERT INTO a VALUES (2);\n"
BEGINS = [
    ("mysql", "START TRANSACTION;\n"),
    ("mysql", "BEGIN;\n"),
    ("mysql", "SET autocommit=0;\n"),
    ("mysql", "/*!40101 SET @@autocommit = 0 */;\n"),
    ("postgres", "BEGIN;\n"),
    ("postgres", "START TRANSACTION ISOLATION LEVEL SERIALIZABLE;\n"),
    ("postgres", "begin work isolation level read committed;\n"),
    ("postgres", "BEGIN TRANSACTION READ WRITE;\n"),
]
ENGINES = ["mariadb", "mysql", "postgres"]


def scripts(shop: Shop, texts: list[tuple[str, str]]) -> list[str]:
    return [text for engine, text in texts if engine == shop.engine]


def rows(shop: Shop) -> list[tuple[Any, ...]]:
    return shop.pool.fetch_all("SELECT id FROM a ORDER BY id")


@pytest.mark.parametrize("number", range(4))
def test_a_transaction_that_is_left_open(shop: Shop, number: int) -> None:
    """Its rows are rolled back, so that it must not pass for applied."""
    begin = scripts(shop, BEGINS)[number]
    shop.write(A, begin + ROWS, flag=" no-transaction")
    refusal = shop.refusal()
    assert refusal.startswith(
        "migration shop 2 (step_2) leaves a transaction open, which its statement "
    )
    assert ("autocommit off" in refusal) == ("autocommit" in begin)
    begun = 2 if "autocommit" in begin else 1
    assert refusal.endswith(
        f"the transaction that its statement {begun} began was rolled back; mend it and run again"
    )
    assert (rows(shop), shop.states()[1]) == ([], (2, "partial", begun))
    assert shop.refusal() == refusal
    assert rows(shop) == []
    shop.migrator().repair(2, done=False)  # it is in no doubt: this changes nothing
    shop.write(A, begin + ROWS + "COMMIT;\n", flag=" no-transaction")
    assert shop.apply() == [2]
    assert (rows(shop), shop.states()[1]) == ([(1,), (2,)], (2, "applied", 4))


@pytest.mark.parametrize("number", range(4))
def test_a_transaction_that_is_ended(shop: Shop, number: int) -> None:
    begin = scripts(shop, BEGINS)[number]
    shop.write(A, begin + ROWS + "COMMIT;\n" + B, flag=" no-transaction")
    assert shop.apply() == [1, 2]
    assert rows(shop) == [(1,), (2,)]


def test_a_failure_in_a_transaction(shop: Shop) -> None:
    """Nothing of it is left, so that it can be mended and run again as a whole."""
    shop.write(
        A, "BEGIN;\n" + ROWS + "INSERT INTO b VALUES (3);\nCOMMIT;\n", flag=" no-transaction"
    )
    assert shop.refusal().endswith(
        "the transaction that its statement 1 began was rolled back; mend it and run again"
    )
    assert (rows(shop), shop.states()[1]) == ([], (2, "partial", 1))
    shop.write(
        A, "BEGIN;\n" + ROWS + "INSERT INTO a VALUES (3);\nCOMMIT;\n", flag=" no-transaction"
    )
    assert shop.apply() == [2]
    assert rows(shop) == [(1,), (2,), (3,)]


@pytest.mark.parametrize("back", ["ROLLBACK TO s", "ROLLBACK /* a */ TO s", "ROLLBACK -- '\n TO s"])
def test_a_savepoint_begins_no_transaction(shop: Shop, back: str) -> None:
    """The statements before it are rolled back too, and do not count as done."""
    text = f"BEGIN;\n{ROWS}SAVEPOINT s;\nINSERT INTO a VALUES (3);\n{back};\n"
    shop.write(A, text + "INSERT INTO b VALUES (4);\nCOMMIT;\n", flag=" no-transaction")
    assert shop.refusal().endswith(
        "the transaction that its statement 1 began was rolled back; mend it and run again"
    )
    assert (rows(shop), shop.states()[1]) == ([], (2, "partial", 1))
    shop.write(A, text + "COMMIT;\n", flag=" no-transaction")
    assert shop.apply() == [2]
    assert rows(shop) == [(1,), (2,)]


@pytest.mark.parametrize("shop", ["mariadb", "mysql"], indirect=True)
@pytest.mark.parametrize(
    "begin", ["START TRANSACTION", "START /* a */ TRANSACTION", "COMMIT AND CHAIN"]
)
def test_a_transaction_that_ends_another(shop: Shop, begin: str) -> None:
    """The rows of the first are committed: they are not written a second time."""
    text = f"BEGIN;\nINSERT INTO a VALUES (1);\n{begin};\nINSERT INTO a VALUES (2);\n"
    shop.write(A, text)
    assert "its statement 3" in shop.refusal()
    assert (rows(shop), shop.states()[1]) == ([(1,)], (2, "partial", 3))
    shop.write(A, text + "COMMIT;\n")
    assert shop.apply() == [2]
    assert rows(shop) == [(1,), (2,)]


@pytest.mark.parametrize("shop", ["mariadb", "mysql"], indirect=True)
def test_ddl_that_fails_in_a_transaction(shop: Shop) -> None:
    """It commits before it fails: it alone is in doubt."""
    text = "START TRANSACTION;\nINSERT INTO a VALUES (1);\n"
    shop.write(A, text + A)
    assert "look at the schema, then" in shop.refusal()
    assert (rows(shop), shop.states()[1]) == ([(1,)], (2, "dirty", 3))
    shop.write(A, text + B)
    shop.migrator().repair(2, done=False)
    assert shop.apply() == [2]
    assert (rows(shop), shop.states()[1]) == ([(1,)], (2, "applied", 3))


@pytest.mark.parametrize("shop", ["mariadb", "mysql"], indirect=True)
def test_a_table_without_transactions_is_in_doubt(shop: Shop) -> None:
    shop.write(
        "CREATE TABLE a (id INT) ENGINE=MyISAM;\n", "BEGIN;\nINSERT INTO a VALUES (1);\n" + A
    )
    shop.refusal()
    assert (rows(shop), shop.states()[1]) == ([(1,)], (2, "dirty", 3))
    shop.write(
        "CREATE TABLE a (id INT) ENGINE=MyISAM;\n",
        B,
        "BEGIN;\nINSERT INTO a VALUES (1);\nSELECT 1 FROM c;\n",
    )
    shop.pool.execute("DELETE FROM schema_migrations WHERE number = 2")
    assert "look at the schema, then" in shop.refusal()
    assert (len(rows(shop)), shop.states()[2]) == (2, (3, "dirty", 3))
    assert "the transaction of its statements 1 to 3 was begun" in shop.refusal()


@pytest.mark.parametrize("shop", ["mariadb", "mysql"], indirect=True)
@pytest.mark.parametrize("lock", ["LOCK TABLES a WRITE", "LOCK TABLE a READ"])
def test_tables_that_are_left_locked(shop: Shop, lock: str) -> None:
    shop.write(A, f"{lock};\n", C)
    refusal = (
        "migration shop 2 (step_2) leaves LOCK TABLES in force: "
        "end it with UNLOCK TABLES, and run again"
    )
    assert shop.refusal() == refusal
    assert shop.refusal() == refusal
    assert shop.states() == [(1, "applied", 1), (2, "partial", 2), (3, "pending", 0)]
    shop.write(A, f"{lock};\nUNLOCK TABLES;\n", C)
    assert shop.apply() == [2, 3]


def test_a_lock_that_covers_the_history(database: Callable[[str], str], tmp_path: Path) -> None:
    """On both servers at once: it is waited for ten seconds."""
    urls = [database(name) for name in ("mariadb", "mysql")]

    def refused(number: int) -> tuple[str, list[tuple[int, str, int]]]:
        (tmp_path / str(number)).mkdir()
        shop = Shop(urls[number], tmp_path / str(number))
        with shop.pool:
            shop.write(A, "FLUSH TABLES WITH READ LOCK;\n", C)
            return shop.refusal(), shop.states()

    for message, states in in_threads(2, refused):
        assert message.startswith(
            "migration shop 2 (step_2) failed at the record of its statement 1, FLUSH TABLES … ("
        )
        assert states == [(1, "applied", 1), (2, "dirty", 1), (3, "pending", 0)]


DIRT = {
    "mysql": [
        "SET FOREIGN_KEY_CHECKS=0;\n",
        "SET unique_checks=0, sql_mode='', time_zone='+05:00';\n",
        "SET NAMES latin1;\n",
        "SET @kept = 1;\n",
        "SET autocommit=0;\n",
        "USE mysql;\n",
        "LOCK TABLES a WRITE;\nUNLOCK TABLES;\n",
        "CREATE TEMPORARY TABLE b (id INT);\n",
        "SET SESSION TRANSACTION READ ONLY;\n",
        "SELECT GET_LOCK('kept', 0);\n",
        "DO RELEASE_ALL_LOCKS();\n",
    ],
    "postgres": [
        "SET search_path = pg_catalog;\n",
        "SELECT pg_catalog.set_config('search_path', '', false);\n",
        "SET session_replication_role = replica;\n",
        "SET ROLE pg_monitor;\n",
        "SET SESSION AUTHORIZATION pg_monitor;\n",
        "SET TIME ZONE 'Asia/Tokyo';\n",
        "SET default_transaction_read_only = on;\n",
        "SET default_transaction_isolation = 'serializable';\n",
        "SET statement_timeout = 1;\n",
        "SET standard_conforming_strings = off;\n",
        "CREATE TEMPORARY TABLE b (id int);\n",
        "SELECT pg_advisory_unlock_all();\n",
        "DISCARD TEMP;\n",
    ],
}
SESSION = {
    "mysql": (
        "CONCAT_WS(' ', DATABASE() = '{name}', @@foreign_key_checks + 0, "
        "@@unique_checks + 0, @@autocommit + 0, "
        "@@time_zone, @@sql_mode LIKE '%STRICT%', @kept IS NULL, @@character_set_client, "
        "IS_USED_LOCK('kept') IS NULL)"
    ),
    "postgres": (
        "concat_ws(' ', current_user, session_user, current_setting('search_path'), "
        "current_setting('session_replication_role'), current_setting('timezone'), "
        "current_setting('transaction_read_only'), current_setting('transaction_isolation'), "
        "current_setting('statement_timeout'), current_setting('standard_conforming_strings'))"
    ),
}
CLEAN = {
    "mysql": "1 1 1 1 +00:00 1 1 utf8mb4 1",
    "postgres": '{user} {user} "$user", public origin UTC off read committed 0 on',
}


@pytest.mark.parametrize("kind", ["mariadb", "mysql"])
def test_a_server_without_autocommit(
    private_server: Callable[[str], Any], tmp_path: Path, kind: str
) -> None:
    """Oracle MySQL then says at the login that the session is in autocommit, which it is not."""
    url = private_server(kind).url
    with infra.create_pool(infra.DatabaseConfig(url=url)) as pool:
        pool.execute("SET GLOBAL autocommit = 0")
    shop = Shop(url, tmp_path)
    with shop.pool:
        shop.write(A, "INSERT INTO a VALUES (1);\n")
        assert shop.apply() == [1, 2]
        assert shop.pool.execute("INSERT INTO a VALUES (2)") == 1
    again = Shop(url, tmp_path)
    with again.pool:
        assert again.states() == [(1, "applied", 1), (2, "applied", 1)]
        assert again.pool.fetch_all("SELECT id FROM a ORDER BY id") == [(1,), (2,)]


@pytest.mark.parametrize("kind", [*ENGINES, "postgres-18"])
@pytest.mark.parametrize("flag", ["", " no-transaction"])
def test_no_setting_reaches_the_next_migration(
    database: Callable[[str], str], tmp_path: Path, kind: str, flag: str
) -> None:
    shop = Shop(database(kind), tmp_path, max_connections=1)
    parts = urllib.parse.urlsplit(shop.url)
    look = SESSION[shop.engine].format(name=parts.path[1:])
    table = "CREATE TABLE seen (id INT, text VARCHAR(300));\nCREATE TABLE a (id INT);\n"
    look = f"INSERT INTO seen SELECT {{}}, {look};\n"
    texts = [table]
    for number, dirt in enumerate(DIRT[shop.engine]):
        texts += [dirt, look.format(number) + f"CREATE TABLE b_{number} (id INT);\n"]
    with shop.pool:
        shop.write(*texts, flag=flag)
        assert shop.apply() == [*range(1, len(texts) + 1)]
        seen = [text for (text,) in shop.pool.fetch_all("SELECT text FROM seen ORDER BY id")]
        assert seen == [CLEAN[shop.engine].format(user=parts.username)] * len(DIRT[shop.engine])
        assert {state for _, state, _ in shop.states()} == {"applied"}
        assert shop.apply() == []


@pytest.mark.parametrize("kind", ["postgres", "postgres-18"])
def test_a_transaction_that_is_read_only(
    database: Callable[[str], str], tmp_path: Path, kind: str
) -> None:
    shop = Shop(database(kind), tmp_path)
    with shop.pool:
        shop.write(A, B + "SET TRANSACTION READ ONLY;\n")
        assert shop.refusal() == (
            "migration shop 2 (step_2) failed at the record of its statement 2, "
            "SET TRANSACTION READ … "
            f"({shop.where()} takes no writes: the server, the user "
            "or the transaction is read-only "
            "(code 25006)): it makes its transaction READ ONLY, so its record cannot be written: "
            "leave that out; the whole migration was rolled back"
        )
        assert shop.states() == [(1, "applied", 1), (2, "pending", 0)]
        assert shop.tables() == ["a", "schema_migrations"]


@pytest.mark.parametrize("flag", ["", " no-transaction"])
def test_a_role_without_rights_on_the_history(postgres_shop: Shop, flag: str) -> None:
    shop = postgres_shop
    shop.write(A)
    assert shop.apply() == [1]
    role = f"infra_{os.getpid()}"
    shop.pool.execute(f"CREATE ROLE {role}")
    try:
        shop.pool.execute(f"GRANT ALL ON SCHEMA public TO {role}")
        shop.file.write_text(
            f"{shop.file.read_text()}-- migration 2 step_2 postgres{flag}\nSET ROLE {role};\n{B}"
            f"-- migration 3 step_3 postgres{flag}\nSET SESSION AUTHORIZATION {role};\n{C}"
        )
        assert shop.apply() == [2, 3]
        owners = shop.pool.fetch_all(
            "SELECT tablename::text, tableowner = %s FROM pg_tables "
            "WHERE schemaname = 'public' ORDER BY 1",
            (role,),
        )
        assert owners == [("a", False), ("b", True), ("c", True), ("schema_migrations", False)]
    finally:
        shop.pool.execute(f"DROP OWNED BY {role}")
        shop.pool.execute(f"DROP ROLE {role}")


SETTINGS = {
    "mysql": [
        "/*!40101 SET @kept = 7 */",
        "/* a */ SET /* b */ @kept = 7",
        "SET -- '\n @kept = 7",
    ],
    "postgres": [
        "SET application_name = 'seven'",
        "SET \"application_name\" = 'seven'",
        "-- '\rSET /* '' */ application_name = 'seven'",
    ],
}


@pytest.mark.parametrize("number", range(3))
def test_a_session_that_is_resumed(shop: Shop, number: int) -> None:
    """The settings of the statements that are done are those of the statements that are not."""
    setting = SETTINGS[shop.engine][number]
    seen = {"mysql": "@kept", "postgres": "length(current_setting('application_name')) + 2"}
    first = f"{A}{setting};\n"
    last = f"INSERT INTO {{}} SELECT {seen[shop.engine]};\n"
    shop.write(first + last.format("b"), flag=" no-transaction")
    shop.refusal()
    shop.write(first + last.format("a"), flag=" no-transaction")
    shop.migrator().repair(1, done=False)
    assert shop.apply() == [1]
    assert rows(shop) == [(7,)]


@pytest.mark.parametrize("shop", ["mariadb", "mysql"], indirect=True)
def test_a_database_that_is_used_is_used_again(shop: Shop) -> None:
    name = f"other_{os.getpid()}"
    shop.pool.execute(f"CREATE DATABASE {name}")
    try:
        shop.write(f"USE {name};\n" + A + A + B)
        shop.refusal()
        shop.migrator().repair(1, done=True)
        assert shop.apply() == [1]
        assert shop.tables() == ["schema_migrations"]
        found = shop.pool.fetch_all(f"SHOW TABLES FROM {name}")
        assert sorted(found) == [("a",), ("b",)]
    finally:
        shop.pool.execute(f"DROP DATABASE {name}")


def test_a_migration_that_was_done_in_part_does_not_repeat_that(postgres_shop: Shop) -> None:
    """Its marker may have lost its flag meanwhile."""
    shop = postgres_shop
    shop.write(A + "INSERT INTO a VALUES (1);\n" + A, flag=" no-transaction")
    shop.refusal()
    shop.migrator().repair(1, done=False)
    shop.write(A + "INSERT INTO a VALUES (1);\n" + B)
    assert shop.apply() == [1]
    assert (rows(shop), shop.tables()) == ([(1,)], ["a", "b", "schema_migrations"])


@pytest.mark.parametrize("kind", ["mariadb", "mysql"])
@pytest.mark.parametrize("options", [(), ("--no-autocommit",), ("--skip-opt",)])
def test_a_whole_dump(
    database: Callable[[str], str], tmp_path: Path, kind: str, options: tuple[str, ...]
) -> None:
    """Of MariaDB, which is the one that this machine has."""
    if shutil.which("mariadb-dump") is None:
        not_shown("mariadb-dump", "install mariadb-client")
    shop = Shop(database("mariadb"), tmp_path)
    with shop.pool:
        shop.pool.execute("CREATE TABLE a (id INT PRIMARY KEY, b INT)")
        shop.pool.execute(
            "CREATE TABLE b (id INT PRIMARY KEY, text VARCHAR(20) CHARACTER SET utf8mb4)"
        )
        shop.pool.execute("ALTER TABLE a ADD CONSTRAINT a_b_fkey FOREIGN KEY (b) REFERENCES b (id)")
        shop.pool.execute("INSERT INTO b VALUES (1, 'it''s; /* é')")
        shop.pool.execute("INSERT INTO a VALUES (1, 1), (2, NULL)")
    parts = urllib.parse.urlsplit(shop.url)
    dump = subprocess.run(
        ["mariadb-dump", "--no-defaults", *options, f"-h{parts.hostname}", f"-P{parts.port}",
         f"-u{parts.username}", "--protocol=tcp", "--skip-ssl", parts.path[1:]],
        capture_output=True, text=True, check=True, timeout=60,
        env={**os.environ, "MYSQL_PWD": parts.password or ""},
    ).stdout  # fmt: skip
    other = Shop(database(kind), tmp_path, max_connections=1)
    other.write(dump, C)
    with other.pool:
        assert other.apply() == [1, 2]
        assert rows(other) == [(1,), (2,)]
        assert other.pool.fetch_one("SELECT text FROM b") == ("it's; /* é",)
        assert other.apply() == []


NAMED = {
    "mysql": [
        "DROP TABLE schema_migrations",
        "DELETE FROM `schema_migrations`",
        "LOCK TABLES a WRITE, Schema_Migrations READ",
        "/*!40000 ALTER TABLE `schema_migrations` DISABLE KEYS */",
        "INSERT INTO a SELECT 1 FROM shop.schema_migrations",
        "INSERT INTO a SELECT '\\'' FROM schema_migrations",
        "SELECT 1 --1 FROM schema_migrations",
        "DELETE /* ' */ FROM schema_migrations",
    ],
    "postgres": [
        "DROP TABLE schema_migrations",
        'DELETE FROM "schema_migrations"',
        "TRUNCATE public.SCHEMA_MIGRATIONS",
        "INSERT INTO a SELECT 1 /* /* */ */ FROM schema_migrations",
        "INSERT INTO a SELECT length('\\') FROM schema_migrations",
        "DO $$ BEGIN DELETE FROM schema_migrations; END $$",
        "LOCK TABLE schema_migrations",
        "-- a comment ends here: \rDELETE FROM schema_migrations",
    ],
}


@pytest.mark.parametrize("number", range(8))
def test_a_script_that_names_the_history(shop: Shop, number: int) -> None:
    shop.write(A, B + NAMED[shop.engine][number] + ";\n")
    option = {
        "mysql": "--ignore-table=DATABASE.schema_migrations",
        "postgres": "--exclude-table=schema_migrations",
    }[shop.engine]
    refusal = (
        "migration shop 2 (step_2), statement 2: it names schema_migrations, the history of "
        f"migrations: leave that out (of a dump with {option})"
    )
    assert shop.refusal(lambda: shop.migrator().apply(dry_run=True)) == refusal
    assert shop.refusal() == refusal
    assert shop.tables() == ["schema_migrations"]
    assert shop.states() == [(1, "pending", 0), (2, "pending", 0)]


def test_texts_and_comments_may_name_the_history(shop: Shop) -> None:
    own = {
        "mysql": "# schema_migrations\n/* ` */ "
        "INSERT INTO a VALUES (\"schema_migrations\", '\\' schema_migrations');\n",
        "postgres": "INSERT INTO a VALUES ($$schema_migrations$$, E'\\' schema_migrations');\n"
        "DO $$ BEGIN PERFORM 'schema_migrations'; -- schema_migrations\nEND $$;\n"
        'CREATE TABLE "Schema_migrations" (id int);\n',
    }[shop.engine]
    shop.write(
        "-- schema_migrations\nCREATE TABLE a (text VARCHAR(40), more VARCHAR(40));\n"
        "CREATE TABLE my_schema_migrations (schema_migrations_id INT); /* schema_migrations */\n"
        "INSERT INTO a VALUES ('schema_migrations', 'it''s schema_migrations');\n" + own
    )
    assert shop.apply() == [1]
    assert shop.pool.fetch_one("SELECT count(*) FROM a") == (2,)


@pytest.mark.parametrize("number", range(3))
def test_the_history_is_found_as_the_session_reads_quotes(shop: Shop, number: int) -> None:
    refused = {
        "mysql": [
            "SET sql_mode = 'ANSI_QUOTES';\nDROP TABLE \"schema_migrations\";\n",
            "SET sql_mode = 'NO_BACKSLASH_ESCAPES';\n"
            "SELECT '\\', 1 FROM schema_migrations, (SELECT '') q;\n",
            "SET sql_mode = 'ANSI';\nSELECT \"a\\\", 1 FROM schema_migrations, (SELECT '\"') q;\n",
        ],
        "postgres": [
            "SET standard_conforming_strings = off;\n"
            "SELECT 'x\\'', 1 FROM schema_migrations, (SELECT '') q;\n",
            "SELECT 1;\nSELECT E'a'\n'b\\'', 1 FROM schema_migrations, (SELECT '') q;\n",
            "SELECT 1;\n"
            "SELECT E'a' -- '\n  -- '\n 'b\\'', 1 FROM schema_migrations, (SELECT '') q;\n",
        ],
    }[shop.engine]
    shop.write(A, refused[number])
    assert "statement 2: it names schema_migrations" in shop.refusal()
    assert shop.tables() == ["schema_migrations"]


def test_texts_may_name_the_history_as_the_session_reads_quotes(shop: Shop) -> None:
    own = {
        "mysql": "SET sql_mode = 'NO_BACKSLASH_ESCAPES';\n"
        "INSERT INTO a VALUES ('\\', ' schema_migrations');\n",
        "postgres": "INSERT INTO a VALUES (E'a'\n'b\\' schema_migrations', '');\n"
        "SET standard_conforming_strings = off;\n"
        "INSERT INTO a VALUES ('\\' schema_migrations', '');\n",
    }[shop.engine]
    shop.write("CREATE TABLE a (text VARCHAR(40), more VARCHAR(40));\n" + own)
    assert shop.apply() == [1]


OUTLIVES = {
    "mysql": ("XA START 'x'", "a transaction of XA outlives its connection"),
    "postgres": ("PREPARE TRANSACTION 'x'", "a prepared transaction outlives its connection"),
}


def test_statements_that_outlive_the_session(shop: Shop) -> None:
    sql, words = OUTLIVES[shop.engine]
    shop.write(A, B + sql + ";\n", flag=" no-transaction")
    assert shop.refusal().startswith(f"migration shop 2 (step_2), statement 2: {words}")
    assert shop.tables() == ["schema_migrations"]


@pytest.mark.parametrize(
    "sql",
    [
        "SET @@SESSION.SQL_LOG_BIN= 0",
        "SET @a = 'b', sql_log_bin = 0",
        "SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ ''",
    ],
)
@pytest.mark.parametrize("kind", ["mariadb", "mysql"])
def test_statements_for_replicas(
    database: Callable[[str], str], tmp_path: Path, kind: str, sql: str
) -> None:
    shop = Shop(database(kind), tmp_path)
    with shop.pool:
        shop.write(A, f"{B}{sql};\n")
        with pytest.raises(infra.ConfigurationError, match="in line 5 is for a replica"):
            shop.apply()
        assert shop.tables() == []


class Hooked(Proxy):
    """Calls ``hook`` before a request with these words in it goes on."""

    def __init__(self, port: int, words: str, hook: Callable[[], None]) -> None:
        self.words = words.encode()
        self.hook = hook
        super().__init__(port)

    def request(self, data: bytes) -> bytes:
        if self.words in data:
            self.words = b"no such words any more"
            self.hook()
        return data


def end_sessions(shop: Shop, which: int) -> None:
    """Ends one of a runner's connections: 0, the lock's, or 1, the migration's."""
    query, kill = {
        "mysql": (
            "SELECT id FROM information_schema.processlist WHERE db = database() "
            "AND id <> CONNECTION_ID() ORDER BY id",
            "KILL {}",
        ),
        "postgres": (
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() ORDER BY backend_start",
            "SELECT pg_terminate_backend({})",
        ),
    }[shop.engine]
    found = shop.pool.fetch_all(query)
    shop.pool.execute(kill.format(found[which][0]))
    eventually(lambda: len(shop.pool.fetch_all(query)) == len(found) - 1)


@pytest.mark.parametrize("flag", ["", " no-transaction"])
@pytest.mark.parametrize("which", [0, 1])
def test_one_of_the_connections_is_lost(shop: Shop, flag: str, which: int) -> None:
    """Nothing passes for applied that is not, and nothing is applied without the lock."""
    shop.write(A, flag=flag)
    assert shop.apply() == [1]
    shop.write(A, B + C, flag=flag)
    with Hooked(shop.port, "CREATE TABLE c", lambda: end_sessions(shop, which)) as proxy:
        other = Shop(shop.url, shop.file.parent, port=proxy.port, max_connections=1)
        with other.pool:
            refusal = shop.refusal(other.migrator().apply)
    assert refusal.startswith("migration shop 2 (step_2) failed at ")
    together = shop.engine == "postgres" and not flag
    if together:
        assert shop.states() == [(1, "applied", 1), (2, "pending", 0)]
        assert shop.tables() == ["a", "schema_migrations"]
    else:
        assert shop.states() == [(1, "applied", 1), (2, "dirty", 2)]
        tables = (
            ["a", "b", "c", "schema_migrations"] if which == 0 else ["a", "b", "schema_migrations"]
        )
        assert shop.tables() == tables
        shop.migrator().repair(2, done=which == 0)
    assert shop.apply() == ([2] if together or which == 1 else [])
    assert shop.tables() == ["a", "b", "c", "schema_migrations"]


IN_DOUBT = (
    "BEGIN;\nINSERT INTO a VALUES (1);\n"
    "INSERT INTO a VALUES (2) /* second */;\nCOMMIT /* last */;\n"
)


@pytest.mark.parametrize("moment", ["/* second */", "/* last */"])
def test_killed_in_a_transaction_that_the_script_began(shop: Shop, moment: str) -> None:
    shop.write(A, IN_DOUBT, flag=" no-transaction")
    die(shop, moment)
    step = 3 if moment == "/* second */" else 4
    assert (rows(shop), shop.states()[1]) == ([], (2, "dirty", step))
    refusal = shop.refusal()
    assert (
        f"is dirty: the transaction of its statements 1 to {step} was begun, and may or may not"
        in refusal
    )
    shop.write(A, IN_DOUBT.replace("(1)", "(7)"), flag=" no-transaction")
    assert shop.refusal() == refusal  # mended, and not yet settled
    shop.migrator().repair(2, done=False)
    assert shop.states()[1] == (2, "partial", 1)
    assert shop.apply() == [2]
    assert (rows(shop), shop.states()[1]) == ([(2,), (7,)], (2, "applied", 4))


def test_killed_between_a_commit_and_its_record(shop: Shop) -> None:
    shop.write(A, IN_DOUBT + B, flag=" no-transaction")
    die(shop, record("done", 4))
    assert (rows(shop), shop.states()[1]) == ([(1,), (2,)], (2, "dirty", 4))
    shop.migrator().repair(2, done=True)
    assert shop.apply() == [2]
    assert (rows(shop), shop.states()[1]) == ([(1,), (2,)], (2, "applied", 5))
    assert shop.tables() == ["a", "b", "schema_migrations"]


def waits(shop: Shop) -> bool:
    """Whether a statement of another connection waits for a row."""
    query = {
        "mysql": "SELECT COUNT(*) FROM information_schema.processlist "
        "WHERE info LIKE 'INSERT INTO a %%'",
        "postgres": "SELECT COUNT(*) FROM pg_stat_activity "
        "WHERE query LIKE 'INSERT INTO a %%' AND wait_event_type = 'Lock'",
    }[shop.engine]
    return shop.pool.fetch_one(query, ()) == (1,)


@contextlib.contextmanager
def blocked(shop: Shop) -> Iterator[subprocess.Popen[str]]:
    """A runner whose statement waits for a row, as long as this lasts."""
    shop.write("CREATE TABLE a (id INT PRIMARY KEY);\n")
    shop.apply()
    insert = "INSERT INTO a VALUES (1);\n"
    shop.write("CREATE TABLE a (id INT PRIMARY KEY);\n", insert, flag=" no-transaction")
    with shop.pool.connection() as raw, raw.cursor() as cursor:  # rolls back at its end
        cursor.execute("BEGIN")
        cursor.execute("INSERT INTO a VALUES (1)")
        process = shop.command("-m", "infra", "migrate", str(shop.file))
        eventually(lambda: waits(shop), 30.0)
        yield process


def test_the_statement_of_a_killed_runner_still_runs(shop: Shop) -> None:
    """Its lock has ended; to look at the schema is of no use before the statement has."""
    with blocked(shop) as process:
        process.kill()
        process.communicate()

        def is_refused() -> bool:
            with pytest.raises(infra.TimeoutError) as caught:
                shop.apply(lock_timeout=0)
            words = "a statement of a runner that has gone is still running for more than 0 s"
            return str(caught.value) == words

        eventually(is_refused)
    assert "is dirty" in shop.refusal()
    assert rows(shop) == [(1,)]


@pytest.mark.parametrize("shop", ["mariadb", "mysql"], indirect=True)
def test_ctrl_c_ends_the_statement_on_the_server(shop: Shop) -> None:
    with blocked(shop) as process:
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=WAIT)[1] == "infra: interrupted\n"
        eventually(lambda: shop.sessions() == 0)
    assert (rows(shop), shop.states()[1]) == ([], (2, "dirty", 1))
    shop.migrator().repair(2, done=False)
    assert shop.apply() == [2]
    assert rows(shop) == [(1,)]


# --- files that were renamed


def test_a_renamed_file(shop: Shop) -> None:
    """Its statements do not run again."""
    shop.write(A, B)
    assert shop.apply() == [1, 2]
    before = shop.pool.fetch_all(
        "SELECT number, checksum, applied_at FROM schema_migrations ORDER BY 1"
    )
    shop.file = shop.file.rename(shop.file.with_name("new shop.sql"))
    shop.write(A, B, C)
    refusal = (
        "migration new shop 1 (step_1) is recorded as shop 1 already: if the file was renamed: "
        f"infra migrate '{shop.file}' --renamed-from shop; if it has to run all the same, "
        "write a comment into its text"
    )
    assert shop.refusal(lambda: shop.migrator().apply(dry_run=True)) == refusal
    assert shop.refusal() == refusal
    assert shop.migrator().take_over(Odd("shop")) == 2
    assert (
        shop.pool.fetch_all(
            "SELECT number, checksum, applied_at FROM schema_migrations "
            "WHERE source = 'new shop' ORDER BY 1"
        )
        == before
    )
    assert shop.states() == [(1, "applied", 1), (2, "applied", 1), (3, "pending", 0)]
    assert shop.apply() == [3]


def test_a_file_renamed_while_it_was_dirty(stepwise: Shop) -> None:
    shop = stepwise
    shop.file = shop.file.rename(shop.file.with_name("new.sql"))
    assert "is recorded as shop 1 already" in shop.refusal()
    assert shop.migrator().take_over("shop") == 1
    assert shop.states() == [(1, "dirty", 3)]
    shop.migrator().repair(1, done=True)
    assert shop.states() == [(1, "applied", 3)]


def test_a_migration_of_another_number(shop: Shop) -> None:
    shop.write(A, B)
    assert shop.apply() == [1, 2]
    shop.file.write_text(shop.file.read_text().replace("migration 2", "migration 3"))
    assert shop.refusal() == (
        "migration shop 3 (step_2) is recorded as shop 2 already: give it its number 2 again; "
        "if it has to run all the same, write a comment into its text"
    )


def test_what_is_no_renamed_file(shop: Shop, tmp_path: Path) -> None:
    """Empty migrations are equal, and so are two present files; a comment makes others differ."""
    shop.write(A, "")
    assert shop.apply() == [1, 2]
    more = tmp_path / "more.sql"
    more.write_text(f"-- migration 7 nothing {shop.engine}\n")
    assert infra.Migrator(shop.pool, more).apply() != []
    more.write_text(
        f"-- migration 8 a {shop.engine}\nDROP TABLE a;\n-- migration 9 a {shop.engine}\n{A}"
    )
    assert [str(each) for each in shop.migrator(more).apply()] == ["more 8 (a)", "more 9 (a)"]
    more.write_text(
        f"-- migration 8 a {shop.engine}\nDROP TABLE a;\n-- migration 9 a {shop.engine}\n{A}"
        f"-- migration 10 a {shop.engine}\n-- Once more.\nDROP TABLE a;\n"
    )
    assert [str(each) for each in infra.Migrator(shop.pool, more).apply()] == ["more 10 (a)"]


def test_records_that_are_not_taken_over(shop: Shop, tmp_path: Path) -> None:
    shop.write(A, B)
    assert shop.apply() == [1, 2]
    more = tmp_path / "more.sql"
    more.write_text(f"-- migration 1 c {shop.engine}\n{C}")
    other = infra.Migrator(shop.pool, more)
    assert shop.refusal(lambda: other.take_over("shop")) == (
        "the records of shop do not fit more: it is another file, or was edited"
    )
    with pytest.raises(infra.NotFoundError) as caught:
        other.take_over("shop.sql")
    assert str(caught.value) == (
        "nothing is recorded under the former name 'shop.sql' "
        "(the file's name without its ending): "
        f"see infra migrate {more} --status"
    )
    with pytest.raises(infra.ConfigurationError, match="the one file"):
        shop.migrator(more).take_over("shop")
    with pytest.raises(infra.ValidationError):
        other.take_over(b"shop")  # type: ignore[arg-type]
    more.write_text(shop.file.read_text() + f"-- migration 3 c {shop.engine}\n{C}")
    shop.pool.execute(
        "INSERT INTO schema_migrations SELECT 'more', number, name, checksum, state, "
        "statement, applied_at "
        "FROM schema_migrations WHERE number = 1"
    )
    assert shop.refusal(lambda: infra.Migrator(shop.pool, more).take_over("shop")) == (
        "more has records of its own beside those of shop"
    )
    assert shop.states() == [(1, "applied", 1), (2, "applied", 1), (1, "unknown", 1)]


# --- several runners


def test_three_processes_at_once(shop: Shop) -> None:
    shop.write(A, "INSERT INTO a VALUES (1);\n" + shop.sleep(0.3) + B)
    runners: list[subprocess.Popen[str]] = []

    def start(line: str) -> None:
        """Called while this runner holds the lock: all three find it taken."""
        if not runners:
            runners.extend(shop.command("-m", "infra", "migrate", str(shop.file)) for _ in range(3))
            eventually(lambda: shop.sessions() == 3)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shop.apply(progress=start)
    outputs = [runner.communicate(timeout=WAIT) for runner in runners]
    assert [runner.returncode for runner in runners] == [0, 0, 0]
    idle = f"{shop.engine}: up to date, 2 migrations\n"
    busy = f"{shop.engine}: applying shop 1 (step_1)\n{shop.engine}: applying shop 2 (step_2)\n"
    assert sorted(outputs) == sorted([(busy, ""), (idle, ""), (idle, "")])
    assert shop.pool.fetch_all("SELECT id FROM a") == [(1,)]
    assert shop.states() == [(1, "applied", 1), (2, "applied", 3)]


def test_a_runner_waits_for_lock_timeout(shop: Shop) -> None:
    shop.write(A)
    clock = fakes.FakeClock()

    def meanwhile(line: str) -> None:
        with pytest.raises(infra.TimeoutError) as caught:
            shop.migrator(lock_timeout=5, clock=clock).apply()
        assert str(caught.value) == "another runner holds the lock of migrations for more than 5 s"
        assert (caught.value.service, caught.value.operation) == (shop.engine, "migrate")
        assert clock.monotonic() == 5
        with pytest.raises(infra.TimeoutError):
            shop.migrator(lock_timeout=0, clock=clock).repair(1, done=True)
        assert clock.monotonic() == 5
        assert shop.states() == [(1, "pending", 0)]  # looking waits for nobody
        assert [each.number for each in shop.migrator().apply(dry_run=True)] == [1]

    assert shop.apply(progress=meanwhile) == [1]


class Lingering(Proxy):
    """The end of a client's connection does not come through, nor does libpq's goodbye."""

    lingers = True

    def request(self, data: bytes) -> bytes:
        return b"" if data == b"X\0\0\0\4" else data


def test_the_lock_is_free_when_a_runner_has_ended(shop: Shop) -> None:
    """Before its connection has: a server may take its time to notice that."""
    shop.write(A)
    with Lingering(shop.port) as proxy:
        other = Shop(shop.url, shop.file.parent, port=proxy.port)
        with other.pool:
            assert other.apply() == [1]
        assert shop.sessions() == 2  # that of the lock, and the migration's
        assert shop.apply(lock_timeout=0) == []


def test_the_lock_is_that_of_earlier_versions(
    shop: Shop, request: pytest.FixtureRequest, database: Callable[[str], str]
) -> None:
    """Runners of both exclude each other. MySQL 9.6 has no SHA1() to make the name with."""
    name = f"größe_{os.getpid()}"
    kind = request.node.callspec.params["shop"]
    url = f"{shop.url.rpartition('/')[0]}/{urllib.parse.quote(name)}"
    made = f"infra {hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()}"
    lock = {
        "mariadb": "SELECT GET_LOCK(CONCAT('infra ', SHA1(DATABASE())), 0)",
        "mysql": f"SELECT GET_LOCK('{made}', 0)",
        "postgres": "SELECT pg_try_advisory_lock(hashtext('infra schema_migrations'))::int",
    }[kind]
    quote = "`" if shop.engine == "mysql" else '"'
    shop.pool.execute(f"CREATE DATABASE {quote}{name}{quote}")
    try:
        elsewhere = Shop(url, shop.file.parent)
        elsewhere.write(A)
        with elsewhere.pool:
            with elsewhere.pool.connection() as raw, raw.cursor() as cursor:
                cursor.execute(lock)
                assert list(cursor.fetchall()) == [(1,)]
                with pytest.raises(infra.TimeoutError, match="holds the lock"):
                    elsewhere.apply(lock_timeout=0)
                raw.close()
            assert elsewhere.apply() == [1]
    finally:
        eventually(lambda: shop.sessions() == 0)
        shop.pool.execute(f"DROP DATABASE {quote}{name}{quote}")


def test_a_runner_that_waits_computes_afterwards_what_is_pending(shop: Shop) -> None:
    shop.write(A)
    second: list[Any] = []
    thread = threading.Thread(target=lambda: second.append(shop.apply()))

    def start(line: str) -> None:
        thread.start()
        eventually(lambda: shop.pool.stats().in_use == 2)

    assert shop.apply(progress=start) == [1]
    thread.join(WAIT)
    assert second == [[]]


def test_two_databases_of_a_server_do_not_wait_for_each_other(
    shop: Shop, request: pytest.FixtureRequest, database: Callable[[str], str]
) -> None:
    shop.write(A)
    other = Shop(database(request.node.callspec.params["shop"]), shop.file.parent)
    second: list[list[int]] = []
    with other.pool:
        assert shop.apply(progress=lambda line: second.append(other.apply(lock_timeout=0))) == [1]
    assert second == [[1]]


def test_the_lock_is_free_after_a_runner_was_killed(shop: Shop) -> None:
    shop.write(A)
    die(shop, "state = 'applied'")
    eventually(lambda: shop.sessions() == 0)
    shop.migrator(lock_timeout=0).apply()
    assert shop.states() == [(1, "applied", 1)]


# --- time


def test_statements_may_take_longer_than_query_timeout(shop: Shop) -> None:
    hasty = Shop(shop.url, shop.file.parent, query_timeout=0.2)
    nap = hasty.sleep(1.5).strip(";\n")
    # MySQL makes an answer of a SLEEP alone that is ended, and an error of this.
    late = f"SELECT id FROM a WHERE id IN (SELECT 1 FROM ({nap}) AS q);\n"
    hasty.write(A + "INSERT INTO a VALUES (1);\n" + late)
    slow = {  # of a SLEEP alone MySQL makes an answer
        "mysql": f"SELECT id FROM a WHERE SLEEP({WAIT}) = 0",
        "postgres": f"SELECT pg_sleep({WAIT})",
    }[shop.engine]
    with hasty.pool:
        assert hasty.apply() == [1]
        with pytest.raises(infra.TimeoutError):  # the pool's own limit is what it was
            hasty.pool.fetch_one(slow)


def test_a_server_that_is_silent_for_idle_timeout(shop: Shop) -> None:
    hasty = Shop(shop.url, shop.file.parent, query_timeout=0.1, idle_timeout=1.5)
    hasty.write(A + hasty.sleep(4), flag=" no-transaction")
    with hasty.pool:
        message = hasty.refusal()
    words = shop.sleep(4).partition("(")[0]
    assert message.startswith(
        f"migration shop 1 (step_1) failed at its statement 2, {words} … "
        f"({shop.where()} did not answer in time): look"
    )
    assert shop.states() == [(1, "dirty", 2)]


@pytest.mark.parametrize("shop", ["mariadb", "mysql"], indirect=True)
def test_what_was_silent_for_idle_timeout_is_ended_on_the_server(shop: Shop) -> None:
    hasty = Shop(shop.url, shop.file.parent, query_timeout=0.1, idle_timeout=1.5)
    # SLEEP would notice by itself that its client has gone.
    hasty.write(A + "DO BENCHMARK(1000000000000, SHA2('x', 512));\n")
    with hasty.pool:
        assert "did not answer in time" in hasty.refusal()
    eventually(lambda: shop.sessions() == 0)


# --- what Postgres alone has


def test_functions_in_dollar_quotes(postgres_shop: Shop) -> None:
    shop = postgres_shop
    shop.write("""\
CREATE TABLE a (id int, body text);
CREATE FUNCTION twice() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    -- It's the trigger's; migration 2 is not in here.
    NEW.id := NEW.id * 2;
    NEW.body := $$;$$;
    RETURN NEW;
END;
$body$;
CREATE TRIGGER twice BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION twice();
DO $$ BEGIN INSERT INTO a VALUES (21, ''); END; $$;
""")
    assert shop.apply() == [1]
    assert shop.pool.fetch_one("SELECT id, body FROM a") == (42, ";")


def test_create_index_concurrently(postgres_shop: Shop) -> None:
    shop = postgres_shop
    index = "CREATE INDEX CONCURRENTLY a_id_idx ON a (id);\n"
    shop.write(A, index)
    assert shop.refusal().startswith(
        "migration shop 2 (step_2) failed at its statement 1, CREATE INDEX CONCURRENTLY "
        f"a_id_idx … ({shop.where()} does not run this statement inside a transaction "
        "(code 25001)): "
        "the whole migration was rolled back; end its marker with no-transaction and run again"
    )
    shop.write(A, index, flag=" no-transaction")
    assert shop.apply() == [2]
    assert shop.pool.fetch_one("SELECT indexname FROM pg_indexes WHERE tablename = 'a'") == (
        "a_id_idx",
    )


def test_a_new_value_of_an_enum(postgres_shop: Shop) -> None:
    shop = postgres_shop
    more = "ALTER TYPE mood ADD VALUE 'calm';\n"
    use = "CREATE TABLE a (mood mood DEFAULT 'calm');\n"
    shop.write("CREATE TYPE mood AS ENUM ('glad');\n", more + use)
    told = shop.refusal()
    assert " lets nothing use a new value of an enum before its ALTER TYPE is committed" in told
    assert told.endswith(
        ": the whole migration was rolled back; give ALTER TYPE a migration of its own, "
        "in front of "
        "this one, and run again"
    )
    shop.write("CREATE TYPE mood AS ENUM ('glad');\n", more, use)
    assert shop.apply() == [2, 3]


def test_a_failure_has_the_code_of_the_server(shop: Shop) -> None:
    shop.write(A, "DROP TABLE nope;\n")
    with pytest.raises(infra.DatabaseError) as caught:
        shop.apply()
    assert caught.value.code == {"mysql": 1051, "postgres": "42P01"}[shop.engine]


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (
            "-- of 447911123456\n/* s3cret */ ALTER TABLE nope ADD COLUMN n INT DEFAULT 739182",
            "ALTER TABLE nope"
        ),
        ("INSERT INTO nope(id)VALUES(447911123456)", "INSERT INTO nope"),
        ("SELECT 447911123456 FROM nope", "SELECT"),
        ("CREATE UNIQUE INDEX nope_idx ON nope (id)", "CREATE UNIQUE INDEX nope_idx"),
        ("UPDATE nope SET id = 447911123456", "UPDATE nope"),
        ("(SELECT 447911123456 FROM nope)", "SELECT"),
        ("( (\n SELECT 's3cret' FROM nope))", "SELECT"),
        ("SELECT X'739182' FROM nope", "SELECT"),
        ("SELECT N's3cret' FROM nope", "SELECT"),
        ("GRANT SELECT ON nope TO nobody", "GRANT SELECT ON nope"),
        (
            "GRANT SELECT (id),\n UPDATE ON TABLE nope TO nobody",
            "GRANT SELECT (id), UPDATE ON TABLE nope"
        ),
        ("REVOKE ALL PRIVILEGES ON nope FROM nobody", "REVOKE ALL PRIVILEGES ON nope"),
    ],
)  # fmt: skip
def test_a_failed_statement_is_named_by_its_object(shop: Shop, statement: str, words: str) -> None:
    shop.write(A, statement + ";\n")
    told = shop.refusal()
    assert told.startswith(f"migration shop 2 (step_2) failed at its statement 1, {words} … (")
    for each in ("447911123456", "739182", "s3cret"):
        assert each not in told


@pytest.mark.parametrize(
    ("engine", "statement", "words"),
    [
        ("mysql", "UPDATE LOW_PRIORITY nope SET id = 739182", "UPDATE LOW_PRIORITY nope"),
        (
            "mysql", "DELETE LOW_PRIORITY QUICK FROM nope WHERE id = 739182",
            "DELETE LOW_PRIORITY QUICK FROM nope"
        ),
        (
            "mysql", "INSERT HIGH_PRIORITY INTO nope VALUES (739182)",
            "INSERT HIGH_PRIORITY INTO nope"
        ),
        ("mysql", "LOCK TABLES nope WRITE", "LOCK TABLES nope"),
        ("mysql", "SELECT _utf8mb4's3cret' FROM nope", "SELECT"),
        (
            "mysql", "CREATE DEFINER = 'u739182'@\"localhost\" VIEW seen AS SELECT 1 FROM nope",
            "CREATE VIEW seen"
        ),
        (
            "mysql", "CREATE DEFINER=`u739182`@`localhost` VIEW seen AS SELECT 1 FROM nope",
            "CREATE VIEW seen"
        ),
        (
            "mysql",
            "CREATE ALGORITHM=MERGE DEFINER=CURRENT_USER() SQL SECURITY INVOKER VIEW seen AS "
            "SELECT 1 FROM nope",
            "CREATE VIEW seen",
        ),
        ("postgres", "SELECT E's3cret' FROM nope", "SELECT"),
        ("postgres", "SELECT U&'s3cret' FROM nope", "SELECT"),
        (
            "postgres", "CREATE RECURSIVE VIEW seen (n) AS SELECT 739182 FROM nope",
            "CREATE RECURSIVE VIEW seen"
        ),
    ],
)  # fmt: skip
def test_a_failed_statement_of_one_engine(
    database: Callable[[str], str], tmp_path: Path, engine: str, statement: str, words: str
) -> None:
    for name in {"mysql": ("mariadb", "mysql"), "postgres": ("postgres",)}[engine]:
        shop = Shop(database(name), tmp_path)
        with shop.pool:
            test_a_failed_statement_is_named_by_its_object(shop, statement, words)


def test_the_history_of_another_tool(shop: Shop) -> None:
    shop.pool.execute("CREATE TABLE schema_migrations (version BIGINT PRIMARY KEY, dirty BOOLEAN)")
    shop.write(A)
    words = "the table schema_migrations is another tool's"
    assert shop.refusal().startswith(words)
    assert shop.refusal(shop.migrator().status).startswith(words)
    assert shop.tables() == ["schema_migrations"]


@pytest.mark.parametrize("kind", ["mariadb", "mysql", "postgres"])
def test_a_percent_sign_in_the_name_of_a_database_or_schema(
    service: Callable[[str], str], kind: str, tmp_path: Path
) -> None:
    name = f"test%{uuid.uuid4().hex[:12]}"
    quote = '"' if kind == "postgres" else "`"
    with infra.create_pool(infra.DatabaseConfig(url=service(kind))) as outside:
        outside.execute(f"CREATE DATABASE {quote}{name}{quote}")
        try:
            url = service(kind).rpartition("/")[0] + "/" + name.replace("%", "%25")
            shop = Shop(url, tmp_path)
            shop.write(A)
            with shop.pool:
                if kind == "postgres":
                    shop.pool.execute('CREATE SCHEMA "s%s"')
                    shop.pool.execute(f'ALTER DATABASE "{name}" SET search_path = "s%s"')
            with Shop(url, tmp_path).pool as shop.pool:
                assert shop.apply() == [1]
                assert shop.states() == [(1, "applied", 1)]
                other = tmp_path / "other.sql"
                other.write_text(shop.file.read_text())
                assert infra.Migrator(shop.pool, other).take_over("shop") == 1
        finally:
            outside.execute(f"DROP DATABASE {quote}{name}{quote}")


# --- the servers judge how scripts are split


@pytest.mark.parametrize("name", ["mariadb", "mysql"])
def test_mysql_splits_alike(database: Callable[[str], str], name: str) -> None:
    """A connection that takes several statements at once gives one result for each."""
    import pymysql

    parts = urllib.parse.urlsplit(database(name))
    raw = pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=parts.username,
        password=parts.password or "",
        charset="utf8mb4",
        client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS,
    )
    with raw, raw.cursor() as cursor:

        def results(sql: str) -> list[Any]:
            cursor.execute(sql)
            found = [cursor.fetchall()]
            while cursor.nextset():
                found.append(cursor.fetchall())
            # A comment behind the last one gives an empty result.
            return [each for each in found if each]

        for script, *statements in SCRIPTS["mysql"]:
            if name == "mysql" and script.startswith("/*M!"):  # a comment, so there is no statement
                with pytest.raises(pymysql.err.ProgrammingError):
                    results(script)
                continue
            assert results(script) == [result for each in statements for result in results(each)], (
                script
            )
            assert all(len(results(each)) == 1 for each in statements), script


def test_postgres_splits_alike(database: Callable[[str], str]) -> None:
    """A server returns the last result of a script; a part in brackets has one statement."""
    pool = infra.create_pool(infra.DatabaseConfig(url=database("postgres")))
    with pool, pool.connection() as raw, raw.cursor() as cursor:
        for script, *statements in SCRIPTS["postgres"]:
            cursor.execute(script)
            whole = cursor.fetchall()
            for each in statements:
                cursor.execute(
                    each if each.startswith("DO") else f"SELECT * FROM (\n{each}\n) AS one"
                )
            assert cursor.fetchall() == whole, script
