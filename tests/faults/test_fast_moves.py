"""Bad days of moves on the fast path, and indexes that are made afterwards."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fakes
import infra
from tests.faults.test_moves import DATABASES, ROOT, move_of, pools, refusal
from tests.scale import PROVE, scaled

__all__ = ["pools"]  # a fixture
pytestmark = pytest.mark.real

PAIRS = [
    ("mariadb", "postgres"), ("mysql", "postgres"), ("postgres", "mariadb"), ("postgres", "mysql"),
]  # fmt: skip
KILLS = scaled(50)
UTF8 = "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def make_notes(pool: infra.ConnectionPool, *more: str) -> None:
    text, data = (f"LONGTEXT {UTF8}", "LONGBLOB") if pool.engine == "mysql" else ("TEXT", "BYTEA")
    lines = ["id INTEGER PRIMARY KEY", f"note {text} NULL", f"data {data} NULL", *more]
    pool.execute(f"CREATE TABLE notes ({', '.join(lines)})")


def notes_move(old: infra.Database, new: infra.Database, **options: Any) -> infra.RowMove:
    target = infra.TableTarget(new, "notes", **options)
    return infra.RowMove("notes", source=infra.TableSource(old, "notes"), target=target)


def notes(pool: infra.ConnectionPool) -> list[tuple[Any, ...]]:
    return [*map(tuple, pool.fetch_all("SELECT id, note, data FROM notes ORDER BY id"))]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_text_of_ten_megabytes_with_many_lines(
    pools: Callable[[str], infra.ConnectionPool], source: str, target: str
) -> None:
    """MariaDB's REPLACE would take minutes, and no KILL would end it."""
    old, new = pools(source), pools(target)
    make_notes(old)
    make_notes(new)
    long = ("x" * 49 + "\n") * 200_000
    old.insert_many("notes", ["id", "note"], [(1, "a"), (2, long), (3, "\\\n\t'")])
    started = time.monotonic()
    report = notes_move(old, new).run()
    assert (report.path, report.counts) == ("fast", infra.MoveCounts(read=3, written=3))
    assert notes(new) == [(1, "a", None), (2, long, None), (3, "\\\n\t'", None)]
    assert time.monotonic() - started < 60


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_large_values_arrive(
    pools: Callable[[str], infra.ConnectionPool], source: str, target: str
) -> None:
    """Some are NULL as digits on MariaDB, and some rows do not fit into GROUP_CONCAT."""
    old, new = pools(source), pools(target)
    make_notes(old)
    make_notes(new)
    rows = [(1, "a", b"\x00\x04"), (2, None, b"\xff" * 5_000_000), (3, "é" * 3_000_000, b"\x01")]
    old.insert_many("notes", ["id", "note", "data"], rows)
    assert notes_move(old, new).run().counts == infra.MoveCounts(read=3, written=3)
    assert notes(new) == rows


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_row_that_the_target_refuses_is_named(
    pools: Callable[[str], infra.ConnectionPool], source: str, target: str
) -> None:
    old, new = pools(source), pools(target)
    make_notes(old)
    make_notes(new, "CONSTRAINT notes_size_check CHECK (id <> 777)")
    old.insert_many("notes", ["id", "note"], ((at, f"{at}") for at in range(1000)))
    error = refusal(notes_move(old, new).run)
    assert (error.key, "notes_size_check" in str(error)) == ("id=777", True)
    old.execute("DELETE FROM notes WHERE id = 777")
    report = notes_move(old, new).run()
    assert (report.path, report.counts) == ("fast", infra.MoveCounts(read=999, written=999))


@pytest.mark.parametrize("name", ["mariadb", "mysql"])
def test_a_nul_is_refused_by_name(pools: Callable[[str], infra.ConnectionPool], name: str) -> None:
    old, new = pools(name), pools("postgres")
    make_notes(old)
    make_notes(new)
    old.execute("INSERT INTO notes VALUES (1, 'a', NULL), (2, CONCAT('b', CHAR(0), 'c'), NULL)")
    error = refusal(notes_move(old, new).run)
    assert (error.key, error.column) == ("id=2", "note")
    assert notes(new) == []


@pytest.mark.parametrize("name", DATABASES)
def test_a_collision_on_another_unique_key(
    pools: Callable[[str], infra.ConnectionPool], name: str
) -> None:
    old, new = pools("postgres"), pools(name)
    for pool in (old, new):
        make_notes(pool, "code INTEGER NOT NULL")
    new.execute("CREATE UNIQUE INDEX notes_code_key ON notes (code)")
    old.insert_many("notes", ["id", "code"], ((at, at % 500) for at in range(600)))
    error = refusal(notes_move(old, new).run)
    assert (error.key, "notes_code_key" in str(error)) == ("id=500", True)


# --- which path

PATHS: list[tuple[str, str, dict[str, Any], str]] = [
    ("VARCHAR(20)", "VARCHAR(20)", {}, "fast"),
    ("VARCHAR(20)", "TEXT", {}, "fast"),
    ("VARCHAR(20)", "VARCHAR(19)", {}, "slow: the types of v"),
    ("VARCHAR(20)", "INTEGER", {}, "slow: the types of v"),
    ("DECIMAL(10,3)", "NUMERIC(10,2)", {}, "slow: the types of v"),
    ("DECIMAL(10,3)", "NUMERIC(9,3)", {}, "fast"),
    ("DATETIME(6)", "TIMESTAMPTZ(3)", {}, "slow: the types of v"),
    ("DATETIME(3)", "TIMESTAMPTZ", {}, "fast"),
    ("TIME", "INTERVAL", {}, "slow: the types of v"),
    ("JSON", "JSONB", {}, "slow: the types of v"),
    ("INTEGER", "INTEGER", {"on_conflict": "skip"}, "slow: rows may exist in the target"),
    ("INTEGER", "INTEGER", {"write": "update"}, "slow: rows may exist in the target"),
    ("INTEGER", "INTEGER", {"policies": {"v": "null"}}, "slow: the target has policies"),
]


@pytest.mark.parametrize(("old_type", "new_type", "options", "path"), PATHS)
def test_the_report_names_the_path(
    pools: Callable[[str], infra.ConnectionPool],
    old_type: str,
    new_type: str,
    options: dict[str, Any],
    path: str,
) -> None:
    old, new = pools("mariadb"), pools("postgres")
    old.execute(f"CREATE TABLE people (id INTEGER PRIMARY KEY, v {old_type} NULL)")
    new.execute(f"CREATE TABLE people (id INTEGER PRIMARY KEY, v {new_type} NULL)")
    old.execute("INSERT INTO people (id) VALUES (1)")
    target = infra.TableTarget(new, "people", **options)
    report = infra.RowMove("v", source=infra.TableSource(old, "people"), target=target).run()
    assert (report.path, f"; {path})" in str(report)) == (path, True)


def test_other_paths(pools: Callable[[str], infra.ConnectionPool]) -> None:
    pool = pools("postgres")
    table = fakes.Table("people", {"id": fakes.Column(int)}, primary_key=("id",))
    pool.execute("CREATE TABLE people (id INTEGER PRIMARY KEY)")
    fake = fakes.FakeDatabase("postgres", [table])
    assert move_of(fake, pool).run().path == "slow: the source is no table on a server"
    assert move_of(pool, fake).run().path == "slow: the target is no table on a server"
    other = pools("postgres")
    other.execute("CREATE TABLE people (id INTEGER PRIMARY KEY)")
    assert move_of(pool, other, transform=dict).run().path == "slow: it has a transform"
    assert move_of(pool, other).run(dry_run=True, restart=True).path == "slow: a dry run"


# --- indexes afterwards


def make_books(pool: infra.ConnectionPool) -> None:
    text = f"VARCHAR(40) {UTF8}" if pool.engine == "mysql" else "VARCHAR(40)"
    pool.execute("CREATE TABLE shelves (id INTEGER PRIMARY KEY)")
    pool.execute("INSERT INTO shelves VALUES (0), (1), (2)")
    pool.execute(
        f"CREATE TABLE books (id INTEGER PRIMARY KEY, title {text} NOT NULL, shelf_id INTEGER NULL,"
        f" CONSTRAINT books_title_key UNIQUE (title), CONSTRAINT books_shelf_id_fkey"
        f" FOREIGN KEY (shelf_id) REFERENCES shelves (id) ON DELETE CASCADE)"
    )
    pool.execute("CREATE INDEX books_shelf ON books (shelf_id, title)")
    pool.execute("CREATE INDEX books_both ON books (title, id)")


def shape(pool: infra.ConnectionPool) -> list[str]:
    """Return the indexes and constraints of the table, as the server writes them."""
    if pool.engine == "mysql":
        ((_, text),) = pool.fetch_all("SHOW CREATE TABLE books")
        return sorted(line.rstrip(",") for line in text.splitlines() if "KEY" in line)
    sql = (
        "SELECT indexdef FROM pg_indexes WHERE tablename = 'books' UNION ALL SELECT "
        "conname || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'books'::regclass"
    )
    return sorted(text for (text,) in pool.fetch_all(sql))


def books(pool: infra.ConnectionPool) -> list[tuple[Any, ...]]:
    return [*map(tuple, pool.fetch_all("SELECT id, title, shelf_id FROM books ORDER BY id"))]


def books_move(old: infra.Database, new: infra.Database, **options: Any) -> infra.RowMove:
    target = infra.TableTarget(new, "books", indexes="afterwards")
    source = infra.TableSource(old, "books")
    return infra.RowMove("books", source=source, target=target, **options)


@pytest.mark.parametrize("name", DATABASES)
def test_indexes_afterwards(pools: Callable[[str], infra.ConnectionPool], name: str) -> None:
    old, new = pools("postgres"), pools(name)
    for pool in (old, new):
        make_books(pool)
    before = shape(new)
    old.insert_many("books", ["id", "title", "shelf_id"], ((n, f"t{n}", n % 3) for n in range(500)))
    assert not books_move(old, new, batch=100).run(limit=200).done
    assert not [line for line in shape(new) if "shelf" in line or "title" in line]
    report = books_move(old, new, batch=100).run()
    assert (report.done, report.counts) == (True, infra.MoveCounts(read=500, written=500))
    assert (shape(new), books(new)) == (before, books(old))


@pytest.mark.parametrize(("own", "used"), [("64MB", "256MB"), ("1GB", "1GB")])
def test_the_memory_for_indexes_afterwards(
    pools: Callable[[str], infra.ConnectionPool], own: str, used: str
) -> None:
    """An index of the table itself says how much there is while it is made."""
    old, new = pools("postgres"), pools("postgres")
    for pool in (old, new):
        make_books(pool)
    old.execute("INSERT INTO books VALUES (1, 'a', NULL)")
    new.execute(
        "CREATE FUNCTION memory(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN "
        f"ASSERT current_setting('maintenance_work_mem') = '{used}'; RETURN $1; END $$"
    )
    new.execute("CREATE INDEX books_memory ON books (memory(title))")  # there are no rows yet
    ((database,),) = new.fetch_all("SELECT current_database()")
    new.execute(f"ALTER DATABASE {database} SET maintenance_work_mem = '{own}'")
    assert books_move(old, new).run().done


@pytest.mark.parametrize("name", DATABASES)
def test_a_row_that_breaks_an_index_afterwards(
    pools: Callable[[str], infra.ConnectionPool], name: str
) -> None:
    """The rows are there, and the run ends when they fit."""
    old, new = pools("postgres"), pools(name)
    make_books(old)
    make_books(new)
    before = shape(new)
    old.execute("ALTER TABLE books DROP CONSTRAINT books_title_key")
    old.insert_many("books", ["id", "title"], [(1, "a"), (2, "a"), (3, "b")])
    with pytest.raises(infra.DatabaseError) as caught:
        books_move(old, new).run()
    assert "books_title_key" in str(caught.value)
    assert [row[0] for row in books(new)] == [1, 2, 3]
    new.execute("UPDATE books SET title = 'c' WHERE id = 2")
    assert books_move(old, new).run().done
    assert shape(new) == before


@pytest.mark.parametrize("name", DATABASES)
def test_a_table_with_rows_keeps_its_indexes(
    pools: Callable[[str], infra.ConnectionPool], name: str
) -> None:
    old, new = pools("postgres"), pools(name)
    for pool in (old, new):
        make_books(pool)
        pool.execute("INSERT INTO books VALUES (7, 'x', NULL)")
    before = shape(new)
    error = refusal(books_move(old, new).run)
    assert str(error) == 'books should be empty for indexes="afterwards"'
    assert shape(new) == before


CHILD = """
import sys, infra

with (
    infra.create_pool(infra.DatabaseConfig(url=sys.argv[1])) as source,
    infra.create_pool(infra.DatabaseConfig(url=sys.argv[2])) as target,
):
    move = infra.RowMove(
        "books",
        source=infra.TableSource(source, "books"),
        target=infra.TableTarget(target, "books", indexes="afterwards"),
        batch=100,
    )
    print("begins", flush=True)
    print(move.run(), flush=True)
"""


@pytest.mark.parametrize(("source", "target"), [("mariadb", "postgres"), ("postgres", "mariadb")])
def test_killed_and_resumed_with_indexes(
    pools: Callable[[str], infra.ConnectionPool], source: str, target: str
) -> None:
    """The tables are identical afterwards, indexes included."""
    draws = random.Random(11)
    old, new = pools(source), pools(target)
    for pool in (old, new):
        make_books(pool)
    count = 5000
    rows = ((n, f"title {n} \\\\ \\t", n % 3) for n in range(count))
    old.insert_many("books", ["id", "title", "shelf_id"], rows)
    before, expected = shape(new), books(old)
    command = [sys.executable, "-c", CHILD, old.config.url, new.config.url]
    inside, length = 0, 0.0
    for kill in range(KILLS + 1):
        new.execute("DELETE FROM books")
        if kill:
            new.execute("DELETE FROM infra_moves")
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout
            assert child.stdout.readline() == "begins\n"
            started = time.monotonic()
            if kill:
                time.sleep(draws.random() * length)
                child.kill()
            else:  # the first run tells how long one takes
                child.wait()
                length = time.monotonic() - started
        inside += shape(new) != before or len(books(new)) < count
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "done" in done.stdout
        assert (shape(new), books(new)) == (before, expected)
    assert inside * 2 >= KILLS or not PROVE, f"{inside} of {KILLS} were killed in the middle"
