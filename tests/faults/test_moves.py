"""Data moves on bad days, and tables that only real servers have. `make prove PART=kills` kills ten
times as many runs."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from datetime import time as day_time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import fakes
import infra
from tests.contract.backends import WAIT, eventually, in_background
from tests.faults.proxy import Proxy
from tests.scale import scaled
from tests.services import Server

pytestmark = pytest.mark.real

ROOT = Path(__file__).resolve().parent.parent.parent
DATABASES = ["mariadb", "mysql", "postgres"]
PAIRS = [("mysql", "postgres"), ("postgres", "mysql")]
ROWS, BATCH = 5000, 25  # 200 batches
KILLS = scaled(50)  # in each direction


@pytest.fixture
def pools(database: Callable[[str], str]) -> Iterator[Callable[[str], infra.ConnectionPool]]:
    """``pools(name)``: a pool on an empty database of that server."""
    made: list[infra.ConnectionPool] = []

    def pool(name: str) -> infra.ConnectionPool:
        made.append(infra.create_pool(infra.DatabaseConfig(url=database(name))))
        return made[-1]

    yield pool
    for each in made:
        each.close()


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def make_people(pool: infra.ConnectionPool, rows: int = 0) -> None:
    text = "VARCHAR(40) CHARACTER SET utf8mb4" if pool.engine == "mysql" else "VARCHAR(40)"
    pool.execute(
        f"CREATE TABLE people (id BIGINT PRIMARY KEY, name {text} NOT NULL, score INTEGER)"
    )
    names = (f"name {number}" if number % 10 else "x" * 20 for number in range(rows))
    pool.insert_many(
        "people", ["id", "name", "score"], ((3 * at, name, at) for at, name in enumerate(names))
    )


def move_of(old: infra.Database, target: infra.Database, **options: Any) -> infra.RowMove:
    usual: dict[str, Any] = {
        "source": infra.TableSource(old, "people"),
        "target": infra.TableTarget(target, "people"),
    }
    return infra.RowMove("people", **{**usual, **options})


def refusal(call: Callable[[], Any]) -> infra.MoveError:
    with pytest.raises(infra.MoveError) as caught:
        call()
    return caught.value


def people(pool: infra.ConnectionPool) -> list[tuple[Any, ...]]:
    return list(pool.fetch_all("SELECT id, name, score FROM people ORDER BY id"))


# --- killed

CHILD = """
import sys, infra

source_url, target_url, batch = sys.argv[1], sys.argv[2], int(sys.argv[3])
seen = 0

def tell(row):
    global seen
    seen += 1
    if seen % batch == 0:
        print(seen, flush=True)
    return {**row, "name": row["name"] if len(row["name"]) < 20 else "y" * 41}

with (
    infra.create_pool(infra.DatabaseConfig(url=source_url)) as source,
    infra.create_pool(infra.DatabaseConfig(url=target_url)) as target,
):
    infra.RowMove(
        "people",
        source=infra.TableSource(source, "people"),
        target=infra.TableTarget(target, "people", policies={"name": "divert"}),
        transform=tell,
        rejects=sys.argv[4],
        batch=batch,
    ).run()
"""


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_killed_and_resumed(
    pools: Callable[[str], infra.ConnectionPool], tmp_path: Path, source: str, target: str
) -> None:
    """No row is lost or there twice, and the rejects file is neither short nor long."""
    draws = random.Random(7)
    old, new = pools(source), pools(target)
    make_people(old, ROWS)
    make_people(new)
    expected = [row for row in people(old) if len(row[1]) < 20]
    rejected = [f"id={row[0]}" for row in people(old) if len(row[1]) >= 20]
    rejects = tmp_path / "rejects.jsonl"
    command = [
        sys.executable, "-c", CHILD, old.config.url, new.config.url, str(BATCH), str(rejects)
    ]  # fmt: skip
    inside = 0
    for kill in range(KILLS):
        new.execute("DELETE FROM people")
        if kill:
            new.execute("DELETE FROM infra_moves")
        rejects.unlink(missing_ok=True)
        end = (kill + 1) * (ROWS // BATCH) // (KILLS + 1)
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout
            for _ in range(end):
                assert child.stdout.readline(), "the child has ended"
            time.sleep(draws.random() * 0.01)
            child.kill()
        part = new.fetch_one("SELECT count(*) FROM people")
        inside += part is not None and 0 < part[0] < len(expected)
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert people(new) == expected
        lines = rejects.read_text().splitlines()
        assert [json.loads(line)["key"] for line in lines] == rejected
    assert inside * 5 >= KILLS * 4, f"{inside} of {KILLS} runs were killed in the middle"


@pytest.mark.parametrize("name", DATABASES)
def test_the_target_is_killed_in_the_middle(
    private_server: Callable[[str], Server],
    pools: Callable[[str], infra.ConnectionPool],
    name: str,
) -> None:
    """The run goes on when the server is back."""
    old = pools("postgres")
    make_people(old, 500)
    server = private_server(name)
    server.durable = True
    server.kill()
    server.start()
    with infra.create_pool(infra.DatabaseConfig(url=server.url, acquire_timeout=30)) as new:
        make_people(new)
        kills: list[int] = []

        def transform(row: dict[str, Any]) -> dict[str, Any]:
            if row["id"] in (300, 900) and row["id"] not in kills:
                kills.append(row["id"])
                server.kill()
                server.start()
            return row

        report = move_of(old, new, transform=transform, batch=50).run()
        assert (kills, report.counts) == ([300, 900], infra.MoveCounts(read=500, written=500))
        assert people(new) == people(old)


class Forgetful(Proxy):
    """Some COMMITs reach the server, but their replies do not come back."""

    LOST = (2, 3, 5)

    def __init__(self, target: int) -> None:
        self.commits = 0
        super().__init__(target)

    def request(self, data: bytes) -> bytes:
        self.commits += b"COMMIT" in data
        if b"COMMIT" in data and self.commits in self.LOST:
            self.swallow = True
        return data


@pytest.mark.parametrize("name", DATABASES)
def test_the_reply_to_a_commit_is_lost(
    pools: Callable[[str], infra.ConnectionPool], name: str
) -> None:
    """Committed rows are not written again."""
    old, new = pools("postgres"), pools(name)
    make_people(old, 60)
    make_people(new)
    address, _, path = new.config.url.rpartition("/")
    host, _, port = address.rpartition(":")
    with Forgetful(int(port)) as proxy:
        url = f"{host}:{proxy.port}/{path}?sslmode=disable"
        with infra.create_pool(infra.DatabaseConfig(url=url)) as shaky:
            report = move_of(old, shaky, batch=20).run()
    assert proxy.swallowed == len(Forgetful.LOST)
    assert (report.counts, report.done) == (infra.MoveCounts(read=60, written=60), True)
    assert people(new) == people(old)


# --- the row that is to blame


@pytest.mark.parametrize("name", DATABASES)
@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("CONSTRAINT low CHECK (score <> 7777)", "low"),
        ("CONSTRAINT parent FOREIGN KEY (score) REFERENCES scores (n)", "parent"),
        ("CONSTRAINT once UNIQUE (score)", "once"),
    ],
)
def test_a_row_that_breaks_a_rule(
    pools: Callable[[str], infra.ConnectionPool], name: str, rule: str, words: str
) -> None:
    """The error names its key; what was committed stays, and the move goes on after the repair."""
    old, new = pools("postgres"), pools(name)
    make_people(old, 9000)
    new.execute("CREATE TABLE scores (n INTEGER PRIMARY KEY)")
    new.insert_many("scores", ["n"], ([n] for n in range(9000) if n != 7777))
    make_people(new)
    new.execute(f"ALTER TABLE people ADD {rule}")
    if words == "once":
        old.execute("UPDATE people SET score = 5001 WHERE score = 7777")
    error = refusal(move_of(old, new, batch=1000).run)
    assert (error.key, words in str(error)) == (f"id={3 * 7777}", True)
    assert isinstance(error.__cause__, infra.ConflictError)
    assert new.fetch_one("SELECT count(*) FROM people") == (7100,)
    old.execute("UPDATE people SET score = NULL WHERE id = %s", [3 * 7777])
    assert move_of(old, new, batch=1000).run().counts.written == 9000
    assert people(new) == people(old)


def test_a_deferred_rule(pools: Callable[[str], infra.ConnectionPool]) -> None:
    old, new = pools("mysql"), pools("postgres")
    make_people(old, 100)
    new.execute("CREATE TABLE scores (n INTEGER PRIMARY KEY)")
    new.insert_many("scores", ["n"], ([n] for n in range(100) if n != 77))
    make_people(new)
    new.execute(
        "ALTER TABLE people ADD CONSTRAINT parent FOREIGN KEY (score) REFERENCES scores (n) "
        "DEFERRABLE INITIALLY DEFERRED"
    )
    assert refusal(move_of(old, new).run).key == "id=231"
    assert people(new) == []


def test_a_server_without_room(pools: Callable[[str], infra.ConnectionPool]) -> None:
    """Committed rows stay; the move goes on when there is room."""
    old, new = pools("mysql"), pools("postgres")
    make_people(old, 100)
    make_people(new)
    new.execute(
        "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100'; END $$"
    )
    new.execute(
        "CREATE TRIGGER no_room BEFORE INSERT ON people FOR EACH ROW WHEN (NEW.id >= 150) "
        "EXECUTE FUNCTION no_room()"
    )
    error = refusal(move_of(old, new, batch=20).run)
    assert isinstance(error.__cause__, infra.DatabaseError)
    assert len(people(new)) == 40
    new.execute("DROP TRIGGER no_room ON people")
    assert move_of(old, new, batch=20).run().counts == infra.MoveCounts(read=100, written=100)


# --- keys


def walked(source: infra.Source, limit: int) -> list[tuple[Any, ...]]:
    """The rows of a source, read page by page."""
    found: list[tuple[Any, ...]] = []

    def keep(row: dict[str, Any]) -> None:
        found.append(tuple(row.values()))

    target = infra.TableTarget(fakes.FakeDatabase("postgres", fakes.POSTGRES_TABLES), "users")
    move = infra.RowMove("walk", source=source, target=target, transform=keep, batch=limit)
    report = move.run(dry_run=True)
    assert report.counts == infra.MoveCounts(read=len(found), dropped=len(found))
    return found


@pytest.mark.parametrize(
    ("name", "key", "words"),
    [
        ("mysql", "k FLOAT PRIMARY KEY", "cannot be read in the order of k"),
        ("mysql", "k DOUBLE PRIMARY KEY", "cannot be read in the order of k"),
        ("mariadb", "k SET('a', 'b') PRIMARY KEY", "cannot be read in the order of k"),
        ("mysql", "k SET('a', 'b') PRIMARY KEY", "cannot be read in the order of k"),
        ("mysql", "k BIT(8) PRIMARY KEY", "cannot be read in the order of k"),
        ("postgres", "k FLOAT8 PRIMARY KEY", "cannot be read in the order of k"),
        ("postgres", "k INTERVAL PRIMARY KEY", "cannot be read in the order of k"),
        ("postgres", "k INTEGER[] PRIMARY KEY", "cannot be read in the order of k"),
        ("mysql", "k INTEGER UNIQUE", "t has no primary key"),
        ("mariadb", "k INTEGER UNIQUE", "t has no primary key"),
        ("postgres", "k INTEGER UNIQUE", "t has no primary key"),
    ],
)
def test_keys_that_no_walk_can_go_by(
    pools: Callable[[str], infra.ConnectionPool], name: str, key: str, words: str
) -> None:
    pool = pools(name)
    pool.execute(f"CREATE TABLE t ({key})")
    assert words in str(refusal(lambda: walked(infra.TableSource(pool, "t"), 7)))


@pytest.mark.parametrize("name", DATABASES)
def test_keys_that_the_collation_takes_for_equal(
    pools: Callable[[str], infra.ConnectionPool], name: str
) -> None:
    """Which row is there already is the server's answer."""
    old, new = pools("postgres"), pools(name)
    old.execute('CREATE TABLE t (k VARCHAR(9) COLLATE "C" PRIMARY KEY, v INTEGER)')
    folds = "CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci" if new.engine == "mysql" else ""
    new.execute(f"CREATE TABLE t (k VARCHAR(9) {folds} PRIMARY KEY, v INTEGER)")
    old.insert_many("t", ["k", "v"], [("Ada", 1), ("bob", 2), ("Cem", 3)])
    new.insert_many("t", ["k", "v"], [("ada", 0), ("Cem", 0)])
    move = infra.RowMove(
        "t",
        source=infra.TableSource(old, "t"),
        target=infra.TableTarget(new, "t", on_conflict="update"),
    )
    there = 2 if new.engine == "mysql" else 1
    assert move.run().counts == infra.MoveCounts(read=3, written=3 - there, updated=there)
    names = {"mysql": ["ada", "bob", "Cem"], "postgres": ["Ada", "Cem", "ada", "bob"]}[new.engine]
    rows = new.fetch_all("SELECT k FROM t")
    assert sorted(row[0] for row in rows) == sorted(names)
    assert move.verify().missing == 0


def test_a_table_without_transactions(pools: Callable[[str], infra.ConnectionPool]) -> None:
    old, new = pools("postgres"), pools("mariadb")
    make_people(old, 3)
    new.execute("CREATE TABLE people (id BIGINT PRIMARY KEY, name TEXT, score INT) ENGINE = MyISAM")
    assert "has no transactions" in str(refusal(move_of(old, new).run))


# --- queries


@pytest.mark.parametrize("name", DATABASES)
def test_a_query(pools: Callable[[str], infra.ConnectionPool], name: str) -> None:
    old, new = pools(name), pools("postgres")
    make_people(old, 50)
    make_people(new)
    sql = "SELECT score, id, name FROM people WHERE name LIKE 'name %' AND score % 2 = 0"
    expected = [row for row in people(old) if row[1].startswith("name") and row[2] % 2 == 0]
    source = infra.QuerySource(old, sql, key=["score", "id"])
    move = move_of(old, new, source=source, batch=7)
    assert move.run().counts.written == len(expected)
    assert people(new) == expected
    with_params = infra.QuerySource(
        old, "SELECT id, name, score FROM people WHERE id > %s", "id", [30]
    )
    assert len(walked(with_params, 7)) == 39


@pytest.mark.parametrize("name", DATABASES)
def test_queries_without_a_key(pools: Callable[[str], infra.ConnectionPool], name: str) -> None:
    pool = pools(name)
    make_people(pool, 30)
    pool.execute("UPDATE people SET score = 7 WHERE score = 8")
    sql = "SELECT id, name, score FROM people"
    assert "two rows of the query have the key score=7" in str(
        refusal(lambda: walked(infra.QuerySource(pool, sql, "score"), 1000))
    )
    refusal(lambda: walked(infra.QuerySource(pool, sql, "score"), 8))  # one on each of two pages
    pool.execute("UPDATE people SET score = NULL WHERE score = 9")
    assert "holds NULL" in str(refusal(lambda: walked(infra.QuerySource(pool, sql, "score"), 7)))
    assert refusal(lambda: walked(infra.QuerySource(pool, sql, "shoe"), 7)).column == "shoe"


# --- ids that the server makes


@pytest.mark.parametrize("name", DATABASES)
@pytest.mark.parametrize("ids", [[], [1], [3, 900]])
def test_ids_go_on_behind_the_data(
    pools: Callable[[str], infra.ConnectionPool], name: str, ids: list[int]
) -> None:
    new = pools(name)
    serial = new.engine == "mysql"
    kind = "INTEGER AUTO_INCREMENT" if serial else "INTEGER GENERATED BY DEFAULT AS IDENTITY"
    new.execute(f"CREATE TABLE made (id {kind} PRIMARY KEY, v INTEGER)")
    source = infra.IterableSource([{"id": id, "v": 0} for id in ids])
    infra.RowMove("made", source=source, target=infra.TableTarget(new, "made")).run()
    new.execute("INSERT INTO made (v) VALUES (1)")
    (found,) = new.fetch_all("SELECT id FROM made WHERE v = 1")
    assert found == (max(ids, default=0) + 1,)


# --- values


GOLDEN: dict[str, tuple[str, str, list[Any], list[Any]]] = {
    # MySQL's type, Postgres's type, the values in MySQL, the same values in Postgres
    "flag": ("TINYINT(1)", "BOOLEAN", [0, 1, None], [False, True, None]),
    "small": ("SMALLINT", "SMALLINT", [-32768, 32767, None], [-32768, 32767, None]),
    "large": ("BIGINT UNSIGNED", "NUMERIC(20)", [0, 2**64 - 1, 7], [0, 2**64 - 1, 7]),
    "price": ("DECIMAL(10,2)", "NUMERIC(10,2)", ["-1.50", "99999999.99", None],
              [Decimal("-1.50"), Decimal("99999999.99"), None]),
    "single": ("FLOAT", "FLOAT8", [0.1, 3.4e38, None],
               [0.10000000149011612, 3.3999999521443642e38, None]),
    "ratio": ("DOUBLE", "FLOAT8", [0.1, 5e-324, -1.7e308], [0.1, 5e-324, -1.7e308]),
    "word": ("VARCHAR(20) CHARACTER SET utf8mb4", "VARCHAR(20)",
             ["", "tab\t\\ 'q'\n", "😀é"], ["", "tab\t\\ 'q'\n", "😀é"]),
    "latin": ("VARCHAR(20) CHARACTER SET latin1", "TEXT", ["é", "", None], ["é", "", None]),
    "data": ("VARBINARY(9)", "BYTEA", [b"", b"\0\xff'\\", None], [b"", b"\0\xff'\\", None]),
    "day": ("DATE", "DATE", ["0009-01-02", "9999-12-31", None],
            [date(9, 1, 2), date(9999, 12, 31), None]),
    "moment": ("DATETIME(6)", "TIMESTAMPTZ", ["2026-01-31 12:00:00.000001", None, "1000-01-01"],
               [datetime(2026, 1, 31, 12, 0, 0, 1, timezone.utc), None,
                datetime(1000, 1, 1, tzinfo=timezone.utc)]),
    "clock": ("TIME(6)", "TIME", ["00:00:00", "23:59:59.999999", None],
              [day_time(0), day_time(23, 59, 59, 999999), None]),
    "span": ("TIME(3)", "INTERVAL", ["-838:59:59", "100:00:00.5", None],
             [timedelta(hours=-838, minutes=-59, seconds=-59),
              timedelta(hours=100, milliseconds=500), None]),
    "bits": ("BIT(8)", "INTEGER", [0, 255, None], [0, 255, None]),
    "bit": ("BIT(1)", "BOOLEAN", [0, 1, None], [False, True, None]),
    "choice": ("ENUM('b', 'a')", "TEXT", ["a", "b", None], ["a", "b", None]),
    "some": ("SET('x', 'y')", "TEXT", ["", "x,y", None], ["", "x,y", None]),
    "year": ("YEAR", "SMALLINT", [1901, 2155, None], [1901, 2155, None]),
    "document": ("JSON", "JSONB", ['{"a": [1, null, "é"]}', "[]", None],
                 [{"a": [1, None, "é"]}, [], None]),
    "uid": ("CHAR(36)", "UUID", ["00000000-0000-0000-0000-000000000007", None, None],
            [uuid.UUID(int=7), None, None]),
}  # fmt: skip


def make_golden(pool: infra.ConnectionPool) -> None:
    place = 0 if pool.engine == "mysql" else 1
    columns = ", ".join(f"`{each}` {types[place]} NULL" for each, types in GOLDEN.items())
    text = f"CREATE TABLE golden (id INTEGER PRIMARY KEY, {columns})"
    pool.execute(text if pool.engine == "mysql" else text.replace("`", '"'))


def fill_golden(pool: infra.ConnectionPool) -> None:
    names = ", ".join(f"`{each}`" for each in GOLDEN)
    marks = ", ".join(["%s"] * len(GOLDEN))
    for number in range(3):
        values = [number, *(types[2][number] for types in GOLDEN.values())]
        pool.execute(f"INSERT INTO golden (id, {names}) VALUES (%s, {marks})", values)


@pytest.mark.parametrize("name", ["mariadb", "mysql"])
def test_the_golden_table(pools: Callable[[str], infra.ConnectionPool], name: str) -> None:
    """All kinds of values move to Postgres, and back to the same values."""
    old, new, back = pools(name), pools("postgres"), pools(name)
    for pool in (old, new, back):
        make_golden(pool)
    fill_golden(old)
    there = infra.RowMove(
        "golden", source=infra.TableSource(old, "golden"), target=infra.TableTarget(new, "golden")
    )
    assert there.run().counts == infra.MoveCounts(read=3, written=3)
    for number, row in enumerate(new.fetch_all("SELECT * FROM golden ORDER BY id")):
        expected = [types[3][number] for types in GOLDEN.values()]
        assert dict(zip(GOLDEN, row[1:])) == dict(zip(GOLDEN, expected))
    assert there.verify() == infra.Verification("golden", 3, 0, 0, 0)
    infra.RowMove(
        "golden", source=infra.TableSource(new, "golden"), target=infra.TableTarget(back, "golden")
    ).run()
    exact = ", ".join(f"`{each}` + 0e0" if each == "single" else f"`{each}`" for each in GOLDEN)
    select = f"SELECT {exact} FROM golden ORDER BY id"
    at = [*GOLDEN].index("document")
    before, after = (
        [
            (*row[:at], row[at] and as_json(row[at]), *row[at + 1 :])
            for row in pool.fetch_all(select)
        ]
        for pool in (old, back)
    )
    assert after == before


def as_json(value: Any) -> Any:
    """MariaDB keeps a document's text; only its value is kept by a move."""
    return json.loads(value) if isinstance(value, str) else value


UNFIT = [
    ("DATETIME", "TIMESTAMPTZ", "'0000-00-00 00:00:00'"),
    ("DATE", "DATE", "'2026-00-00'"),
    ("VARCHAR(9)", "VARCHAR(9)", "'a\\0b'"),
    ("BIGINT UNSIGNED", "BIGINT", "18446744073709551615"),
    ("TIME", "TIME", "'25:00:00'"),
    ("TIME", "TIME", "'-00:00:01'"),
    ("VARCHAR(9)", "VARCHAR(3)", "'long'"),
    ("VARCHAR(9)", "INTEGER", "'x'"),
    ("JSON", "JSONB", "'7'"),
    ("TINYINT(1)", "BOOLEAN", "2"),
    ("DECIMAL(10,3)", "NUMERIC(10,2)", "1.001"),
    ("BIT(8)", "BOOLEAN", "2"),
]


@pytest.mark.parametrize("name", ["mariadb", "mysql"])
def test_values_that_do_not_fit(pools: Callable[[str], infra.ConnectionPool], name: str) -> None:
    """Each is refused by default, with key and column; a policy diverts it or stores NULL."""
    old, new = pools(name), pools("postgres")
    for number, (kind, into, value) in enumerate(UNFIT):
        table = f"unfit{number}"
        old.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, v {kind} NULL)")
        new.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, v {into} NULL)")
        with old.connection() as raw, raw.cursor() as cursor:
            cursor.execute("SET sql_mode = ''")
            cursor.execute(f"INSERT INTO {table} VALUES (1, NULL), (2, {value}), (3, NULL)")
            cursor.execute("SET sql_mode = DEFAULT")

        def move(table: str = table, **policies: Any) -> infra.RowMove:
            target = infra.TableTarget(new, table, policies=policies)
            return infra.RowMove(table, source=infra.TableSource(old, table), target=target)

        error = refusal(move().run)
        assert (error.key, error.column) == ("id=2", "v"), (kind, into)
        assert move(v="divert").run(restart=True).counts == infra.MoveCounts(3, 2, rejected=1)
        (line,) = Path(f"{table}-rejects.jsonl").read_text().splitlines()
        assert json.loads(line)["key"] == "id=2"
        new.execute(f"DELETE FROM {table}")
        assert move(v="null").run(restart=True).counts == infra.MoveCounts(3, 3)
        assert new.fetch_all(f"SELECT id, v FROM {table} ORDER BY id") == [
            (1, None), (2, None), (3, None)
        ]  # fmt: skip


# --- the target's table


def copied(old: infra.ConnectionPool, table: str, new: infra.ConnectionPool) -> str:
    """Create a copy of the table, move the rows, and return the text that creates it."""
    text = infra.table_ddl(old, table, new.engine)
    new.execute(text)
    source, target = infra.TableSource(old, table), infra.TableTarget(new, table)
    move = infra.RowMove(table, source=source, target=target)
    assert move.run().done
    assert move.verify().ok
    return text


GOLDEN_THERE = """\
-- migration 1 golden postgres
-- word varchar(20) COLLATE {utf8}
-- latin varchar(20) COLLATE latin1_swedish_ci
-- choice enum('b','a') COLLATE {usual}
-- some set('x','y') COLLATE {usual}
-- uid char(36) COLLATE {usual}
CREATE TABLE "golden" (
    "id" INTEGER NOT NULL,
    "flag" BOOLEAN NULL,
    "small" SMALLINT NULL,
    "large" NUMERIC(20) NULL,
    "price" NUMERIC(10,2) NULL,
    "single" DOUBLE PRECISION NULL,
    "ratio" DOUBLE PRECISION NULL,
    "word" VARCHAR(20) COLLATE "C" NULL,
    "latin" VARCHAR(20) COLLATE "C" NULL,
    "data" BYTEA NULL,
    "day" DATE NULL,
    "moment" TIMESTAMPTZ NULL,
    "clock" INTERVAL NULL,
    "span" INTERVAL NULL,
    "bits" BIGINT NULL,
    "bit" BOOLEAN NULL,
    "choice" TEXT COLLATE "C" NULL CHECK ("choice" IN ('b','a')),
    "some" TEXT COLLATE "C" NULL,
    "year" SMALLINT NULL,
    "document" JSON NULL,
    "uid" UUID NULL,
    CONSTRAINT "golden_pkey" PRIMARY KEY ("id")
);
"""
GOLDEN_BACK = """\
-- migration 1 golden mysql
-- CHECK ((choice = ANY (ARRAY['b'::text, 'a'::text])))
CREATE TABLE `golden` (
    `id` INTEGER NOT NULL,
    `flag` BOOLEAN NULL,
    `small` SMALLINT NULL,
    `large` DECIMAL(20,0) NULL,
    `price` DECIMAL(10,2) NULL,
    `single` DOUBLE NULL,
    `ratio` DOUBLE NULL,
    `word` VARCHAR(20) NULL,
    `latin` VARCHAR(20) NULL,
    `data` LONGBLOB NULL,
    `day` DATE NULL,
    `moment` DATETIME(6) NULL,
    `clock` TIME(6) NULL,
    `span` TIME(6) NULL,
    `bits` BIGINT NULL,
    `bit` BOOLEAN NULL,
    `choice` LONGTEXT NULL,
    `some` LONGTEXT NULL,
    `year` SMALLINT NULL,
    `document` JSON NULL,
    `uid` CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NULL,
    PRIMARY KEY (`id`)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
"""
COLLATIONS = {
    "mariadb": {"utf8": "utf8mb4_general_ci", "usual": "latin1_swedish_ci"},
    "mysql": {"utf8": "utf8mb4_0900_ai_ci", "usual": "utf8mb4_0900_ai_ci"},
}


def as_copied(column: str, value: Any) -> Any:
    """Return a value of GOLDEN or of a copy in one form for all copies."""
    if column == "clock" and isinstance(value, day_time):
        return timedelta(hours=value.hour, minutes=value.minute, seconds=value.second,
                         microseconds=value.microsecond)  # fmt: skip
    if column == "document":
        return as_json(value)
    return str(value) if isinstance(value, uuid.UUID) else value


@pytest.mark.parametrize("name", ["mariadb", "mysql"])
def test_a_copy_of_the_golden_table(
    pools: Callable[[str], infra.ConnectionPool], name: str
) -> None:
    """All kinds of values move into copies on the other engine, and from there back."""
    old, new, back = pools(name), pools("postgres"), pools(name)
    make_golden(old)
    fill_golden(old)
    assert copied(old, "golden", new) == GOLDEN_THERE.format(**COLLATIONS[name])
    assert copied(new, "golden", back) == GOLDEN_BACK
    for pool in (new, back):
        for number, row in enumerate(pool.fetch_all("SELECT * FROM golden ORDER BY id")):
            for column, value in zip(GOLDEN, row[1:]):
                expected = as_copied(column, GOLDEN[column][3][number])
                assert as_copied(column, value) == expected, (pool.engine, column)


@pytest.mark.parametrize("name", DATABASES)
def test_a_copy_on_the_same_engine(pools: Callable[[str], infra.ConnectionPool], name: str) -> None:
    """Each column keeps the text of its type."""
    old, new = pools(name), pools(name)
    make_golden(old)
    if old.engine == "mysql":
        fill_golden(old)
    else:
        old.execute("ALTER TABLE golden ADD tags TEXT[], ADD range INT4RANGE, ADD free NUMERIC")
        old.execute("INSERT INTO golden (id, tags, free) VALUES (1, '{a,b}', 1.5)")
    copied(old, "golden", new)
    place, types = "table_schema = DATABASE()", "column_type, collation_name"
    if old.engine == "postgres":
        place, types = "true", "udt_name, character_maximum_length, numeric_scale"
    names = f"column_name, is_nullable, {types}"
    sql = (
        f"SELECT {names} FROM information_schema.columns WHERE table_name = 'golden' AND {place} "
        "ORDER BY ordinal_position"
    )
    assert new.fetch_all(sql) == old.fetch_all(sql)


ORDERS = {
    "mysql": """CREATE TABLE orders (
        id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT,
        code VARCHAR(20) NOT NULL,
        region VARCHAR(9) NOT NULL DEFAULT 'it',
        quoted VARCHAR(9) DEFAULT 'a\\\\b',
        amount DECIMAL(10,2) NOT NULL DEFAULT 1.50,
        low INTEGER DEFAULT -1,
        tiny TINYINT UNSIGNED NOT NULL DEFAULT 7,
        paid BOOLEAN NOT NULL DEFAULT TRUE,
        bit BIT(1) NULL DEFAULT b'1',
        raw VARBINARY(9) NULL DEFAULT 'ab',
        state ENUM('new', 'don''t') NOT NULL DEFAULT 'new',
        doubled DECIMAL(11,2) AS (amount * 2) STORED,
        made_at DATETIME(6) NULL DEFAULT CURRENT_TIMESTAMP(6),
        due DATETIME NULL DEFAULT '2026-01-31 12:00:00',
        customer INTEGER NULL COMMENT 'not DEFAULT 5',
        UNIQUE KEY (code, region),
        UNIQUE KEY part (quoted(3)),
        KEY by_state (state),
        CONSTRAINT orders_customer_fkey FOREIGN KEY (customer) REFERENCES customers (id),
        CONSTRAINT orders_amount_check CHECK (amount > 0)
    ) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin""",
    "postgres": """CREATE TABLE orders (
        id BIGSERIAL PRIMARY KEY,
        code VARCHAR(20) NOT NULL,
        region VARCHAR(9) NOT NULL DEFAULT 'it',
        quoted VARCHAR(9) DEFAULT 'a\\b',
        amount NUMERIC(10,2) NOT NULL DEFAULT 1.50,
        low INTEGER DEFAULT -1,
        tiny SMALLINT NOT NULL DEFAULT 7,
        paid BOOLEAN NOT NULL DEFAULT TRUE,
        raw BYTEA DEFAULT 'ab',
        note TEXT DEFAULT 'none',
        doubled NUMERIC(11,2) GENERATED ALWAYS AS (amount * 2) STORED,
        made_at TIMESTAMPTZ DEFAULT now(),
        due TIMESTAMPTZ DEFAULT '2026-01-31 12:00:00+00',
        local TIMESTAMP(3) NOT NULL DEFAULT '2026-01-31 12:00:00',
        span INTERVAL DEFAULT '1 day',
        customer INTEGER NULL REFERENCES customers (id),
        line INTEGER GENERATED BY DEFAULT AS IDENTITY,
        UNIQUE (code, region),
        CONSTRAINT orders_amount_check CHECK (amount > 0)
    )""",
}
OTHERS = [
    "CREATE INDEX by_region ON orders (region)",
    "CREATE UNIQUE INDEX lowered ON orders (lower(code))",
    "CREATE UNIQUE INDEX partial ON orders (quoted) WHERE (paid)",
    "CREATE UNIQUE INDEX tail ON orders (quoted) INCLUDE (low)",
    "CREATE UNIQUE INDEX plain ON orders (tiny, id)",
]

COPIES = {
    ("mysql", "postgres"): """\
-- migration 1 orders postgres
-- quoted DEFAULT 'a\\\\b'
-- bit DEFAULT 'b\\'1\\''
-- raw DEFAULT '0x6162'
-- state enum('new','don''t') COLLATE utf8mb4_bin
-- doubled decimal(11,2), computed
-- made_at DEFAULT CURRENT_TIMESTAMP(6)
-- due DEFAULT '2026-01-31 12:00:00'
-- UNIQUE KEY `part` (`quoted`(3))
-- KEY `by_state` (`state`)
-- KEY `orders_customer_fkey` (`customer`)
-- CONSTRAINT `orders_customer_fkey` FOREIGN KEY (`customer`) REFERENCES `customers` (`id`)
-- CONSTRAINT `orders_amount_check` CHECK ((`amount` > 0))
CREATE TABLE "orders" (
    "id" BIGINT NOT NULL GENERATED BY DEFAULT AS IDENTITY,
    "code" VARCHAR(20) COLLATE "C" NOT NULL,
    "region" VARCHAR(9) COLLATE "C" NOT NULL DEFAULT 'it',
    "quoted" VARCHAR(9) COLLATE "C" NULL,
    "amount" NUMERIC(10,2) NOT NULL DEFAULT '1.50',
    "low" INTEGER NULL DEFAULT '-1',
    "tiny" SMALLINT NOT NULL DEFAULT '7',
    "paid" BOOLEAN NOT NULL DEFAULT '1',
    "bit" BOOLEAN NULL,
    "raw" BYTEA NULL,
    "state" TEXT COLLATE "C" NOT NULL DEFAULT 'new' CHECK ("state" IN ('new','don''t')),
    "made_at" TIMESTAMPTZ NULL,
    "due" TIMESTAMPTZ(0) NULL,
    "customer" INTEGER NULL,
    CONSTRAINT "orders_pkey" PRIMARY KEY ("id"),
    CONSTRAINT "orders_code_region_key" UNIQUE ("code", "region")
);
""",
    ("mariadb", "postgres"): """\
-- migration 1 orders postgres
-- quoted DEFAULT 'a\\\\b'
-- bit DEFAULT b'1'
-- raw DEFAULT 'ab'
-- state enum('new','don''t') COLLATE utf8mb4_bin
-- doubled decimal(11,2), computed
-- made_at DEFAULT current_timestamp(6)
-- due DEFAULT '2026-01-31 12:00:00'
-- UNIQUE KEY `part` (`quoted`(3))
-- KEY `by_state` (`state`)
-- KEY `orders_customer_fkey` (`customer`)
-- CONSTRAINT `orders_customer_fkey` FOREIGN KEY (`customer`) REFERENCES `customers` (`id`)
-- CONSTRAINT `orders_amount_check` CHECK (`amount` > 0)
CREATE TABLE "orders" (
    "id" BIGINT NOT NULL GENERATED BY DEFAULT AS IDENTITY,
    "code" VARCHAR(20) COLLATE "C" NOT NULL,
    "region" VARCHAR(9) COLLATE "C" NOT NULL DEFAULT 'it',
    "quoted" VARCHAR(9) COLLATE "C" NULL,
    "amount" NUMERIC(10,2) NOT NULL DEFAULT '1.50',
    "low" INTEGER NULL DEFAULT '-1',
    "tiny" SMALLINT NOT NULL DEFAULT '7',
    "paid" BOOLEAN NOT NULL DEFAULT '1',
    "bit" BOOLEAN NULL,
    "raw" BYTEA NULL,
    "state" TEXT COLLATE "C" NOT NULL DEFAULT 'new' CHECK ("state" IN ('new','don''t')),
    "made_at" TIMESTAMPTZ NULL,
    "due" TIMESTAMPTZ(0) NULL,
    "customer" INTEGER NULL,
    CONSTRAINT "orders_pkey" PRIMARY KEY ("id"),
    CONSTRAINT "orders_code_region_key" UNIQUE ("code", "region")
);
""",
    ("postgres", "mariadb"): """\
-- migration 1 orders mysql
-- quoted DEFAULT 'a\\b'::character varying
-- raw DEFAULT '\\x6162'::bytea
-- note DEFAULT 'none'::text
-- doubled numeric(11,2), computed
-- made_at DEFAULT now()
-- due DEFAULT '2026-01-31 12:00:00+00'::timestamp with time zone
-- span DEFAULT '1 day'::interval
-- line DEFAULT nextval
-- CHECK ((amount > (0)::numeric))
-- CREATE INDEX by_region ON public.orders USING btree (region)
-- CREATE UNIQUE INDEX lowered ON public.orders USING btree (lower((code)::text))
-- CREATE UNIQUE INDEX partial ON public.orders USING btree (quoted) WHERE paid
-- CREATE UNIQUE INDEX tail ON public.orders USING btree (quoted) INCLUDE (low)
-- FOREIGN KEY (customer) REFERENCES customers(id)
CREATE TABLE `orders` (
    `id` BIGINT NOT NULL AUTO_INCREMENT,
    `code` VARCHAR(20) NOT NULL,
    `region` VARCHAR(9) NOT NULL DEFAULT 'it',
    `quoted` VARCHAR(9) NULL,
    `amount` DECIMAL(10,2) NOT NULL DEFAULT '1.50',
    `low` INTEGER NULL DEFAULT '-1',
    `tiny` SMALLINT NOT NULL DEFAULT '7',
    `paid` BOOLEAN NOT NULL DEFAULT true,
    `raw` LONGBLOB NULL,
    `note` LONGTEXT NULL,
    `made_at` DATETIME(6) NULL,
    `due` DATETIME(6) NULL,
    `local` DATETIME(6) NOT NULL DEFAULT '2026-01-31 12:00:00',
    `span` TIME(6) NULL,
    `customer` INTEGER NULL,
    `line` INTEGER NOT NULL,
    PRIMARY KEY (`id`),
    CONSTRAINT `orders_code_region_key` UNIQUE (`code`, `region`),
    CONSTRAINT `orders_tiny_id_key` UNIQUE (`tiny`, `id`)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
""",
}
COPIES["postgres", "mysql"] = COPIES["postgres", "mariadb"]


@pytest.mark.parametrize(("name", "to"), [*COPIES])
def test_rules_of_a_copy(pools: Callable[[str], infra.ConnectionPool], name: str, to: str) -> None:
    """Unique keys, defaults and the ids that the server makes; comments name the rest."""
    old, new = pools(name), pools(to)
    old.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY)")
    for statement in (ORDERS[old.engine], *OTHERS * (old.engine == "postgres")):
        old.execute(statement)
    old.insert_many("orders", ["id", "code", "quoted"], [(1, "a", None), (7, "b", None)])
    assert copied(old, "orders", new) == COPIES[name, to]
    given = {"code": "c"} | ({"line": 3} if name == "postgres" else {})
    marks = ", ".join(["%s"] * len(given))
    insert = f"INSERT INTO orders ({', '.join(given)}) VALUES ({marks})"
    new.execute(insert, [*given.values()])
    with pytest.raises(infra.ConflictError) as caught:
        new.execute(insert, [*given.values()])
    assert caught.value.constraint == "orders_code_region_key"
    made = new.fetch_one("SELECT id, region, amount, low, tiny, paid FROM orders WHERE code = 'c'")
    assert made == (8, "it", Decimal("1.50"), -1, 7, True)


def test_a_copy_is_a_migration(pools: Callable[[str], infra.ConnectionPool]) -> None:
    old, new = pools("postgres"), pools("mariadb")
    default = "('a\nb' || current_user)"  # a default with a line break stays one comment
    old.execute(f'CREATE TABLE "Cases" (id INTEGER PRIMARY KEY, note TEXT DEFAULT {default})')
    Path("cases.sql").write_text(infra.table_ddl(old, "Cases", "mysql"))
    (found,) = infra.read_migrations("cases.sql", "mysql")
    assert (found.number, found.name, len(found.statements)) == (1, "cases", 1)
    assert len(infra.Migrator(new, "cases.sql").apply()) == 1
    assert new.fetch_all("SELECT * FROM Cases") == []


@pytest.mark.parametrize(
    ("name", "column", "to"),
    [
        ("postgres", "v INTEGER[]", "mysql"),
        ("postgres", "v NUMERIC", "mysql"),
        ("postgres", "v MONEY", "mysql"),
        ("postgres", "v TIMETZ", "mysql"),
        ("postgres", "v INT4RANGE", "mysql"),
        ("postgres", "v INET", "mysql"),
        ("mysql", "v POINT", "postgres"),
        ("mariadb", "v INET6", "postgres"),
    ],
)
def test_a_type_without_an_equal(
    pools: Callable[[str], infra.ConnectionPool], name: str, column: str, to: str
) -> None:
    pool = pools(name)
    pool.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, {column})")
    error = refusal(lambda: infra.table_ddl(pool, "t", to))
    assert error.column == "v"
    assert str(error).startswith("v is ")
    infra.table_ddl(pool, "t", pool.engine)


def test_tables_that_have_no_copy(pools: Callable[[str], infra.ConnectionPool]) -> None:
    pool = pools("postgres")
    with pytest.raises(infra.DatabaseError, match='"absent"'):
        infra.table_ddl(pool, "absent", "mysql")
    pool.execute("CREATE TABLE loose (v INTEGER)")
    assert "no primary key" in str(refusal(lambda: infra.table_ddl(pool, "loose", "mysql")))
    pool.execute('CREATE TABLE odd (id INTEGER PRIMARY KEY, "a`b" INTEGER)')
    with pytest.raises(infra.ValidationError, match="plain identifiers"):
        infra.table_ddl(pool, "odd", "mysql")
    with pytest.raises(infra.ConfigurationError, match="engine"):
        infra.table_ddl(pool, "loose", "sqlite")
    fake = fakes.FakeDatabase("postgres", fakes.POSTGRES_TABLES)
    with pytest.raises(infra.ConfigurationError, match="a fake has no catalogue"):
        infra.table_ddl(fake, "users", "mysql")


# --- the command


def test_the_command(
    pools: Callable[[str], infra.ConnectionPool],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    old, new = pools("mariadb"), pools("postgres")
    make_people(old, 30)
    make_people(new)
    monkeypatch.setenv("OLD", old.config.url + "\n")  # as a file of secrets ends
    monkeypatch.setenv("NEW", new.config.url)
    arguments = ["move", "--from", "OLD", "--to", "NEW", "--table", "people"]
    assert infra.main([*arguments, "--dry-run"]) == 0
    assert people(new) == []
    assert infra.main([*arguments, "--limit", "10", "--json"]) == 1
    assert infra.main([*arguments, "--json"]) == 0
    assert infra.main([*arguments, "--verify"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("people: would be: 30 read, 30 written")
    assert [json.loads(line)["read"] for line in lines[1:3]] == [10, 30]
    assert json.loads(lines[2])["resumed"]["read"] == 10
    assert lines[3] == "people: 30 compared, all equal"
    new.execute("DELETE FROM people WHERE id = 3")
    assert infra.main([*arguments, "--verify"]) == 1
    assert people(old)[0] == people(new)[0]


def test_a_script(
    pools: Callable[[str], infra.ConnectionPool],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    old, new = pools("mysql"), pools("postgres")
    make_people(old, 30)
    make_people(new)
    monkeypatch.setenv("MYSQL_URL", old.config.url)
    monkeypatch.setenv("POSTGRES_URL", new.config.url)
    Path("script.py").write_text(
        "import infra\n\n"
        "def moves(services):\n"
        "    for low in (True, False):\n"
        "        yield infra.RowMove(\n"
        "            f'people-{low}',\n"
        "            source=infra.TableSource(services.accounts, 'people'),\n"
        "            target=infra.TableTarget(services.exchange, 'people'),\n"
        "            transform=lambda row: row if (row['score'] < 15) is low else None,\n"
        "        )\n"
    )
    assert infra.main(["move", "script.py"]) == 0
    assert people(new) == people(old)
    assert [line.split(" (")[0] for line in capsys.readouterr().out.splitlines()] == [
        "people-True: done: 30 read, 15 written, 15 dropped",
        "people-False: done: 30 read, 15 written, 15 dropped",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give a script"),
        (["--from", "mysql://a:secret@h/d", "--to", "B", "--table", "t"], "names of environment"),
        (["--from", "NOWHERE", "--to", "B", "--table", "t"], "NOWHERE is not set"),
        (
            ["--from", "ODD", "--to", "B", "--table", "t"],
            "infra: ODD should be mysql://user:password@host[:port]/database or postgresql://",
        ),
        (["empty.py"], "has no function moves"),
        (["odd.py"], "should yield moves"),
    ],
)
def test_wrong_usage(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.setenv("ODD", "oracle://a:secret@h/d")
    Path("empty.py").write_text("")
    Path("odd.py").write_text("def moves(services):\n    yield 7\n")
    assert infra.main(["move", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "secret" not in error


@pytest.mark.parametrize("engine", ["mariadb", "postgres"])
def test_rows_are_transformed_while_the_batch_before_is_written(
    pools: Callable[[str], infra.ConnectionPool], engine: str
) -> None:
    old, new = pools("postgres"), pools(engine)
    make_people(old, 40)
    make_people(new)
    ahead = threading.Event()

    def transform(row: dict[str, Any]) -> dict[str, Any]:
        if row["id"] == 3 * 20:  # the first row of the second batch
            ahead.set()
        return row

    with new.transaction():
        new.execute("INSERT INTO people VALUES (0, 'in the way', 0)")
        moved = in_background(move_of(old, new, transform=transform, batch=20).run)
        assert ahead.wait(WAIT)  # while the first batch waits for the end of this transaction
        new.execute("DELETE FROM people")
    assert moved().counts.written == 40
    assert people(new) == people(old)


def test_the_error_of_an_earlier_batch_is_reported(
    pools: Callable[[str], infra.ConnectionPool],
) -> None:
    old, new = pools("mariadb"), pools("postgres")
    make_people(old, 40)
    make_people(new)
    new.execute("INSERT INTO people VALUES (27, 'in the way', 0)")

    def transform(row: dict[str, Any]) -> dict[str, Any]:
        return {"id": row["id"]} if row["id"] == 3 * 20 else row

    move = move_of(old, new, transform=transform, batch=20)
    assert refusal(move.run).key == "id=27"
    new.execute("DELETE FROM people")
    assert refusal(move.run).key == "id=60"
    assert [row[0] for row in people(new)] == [3 * at for at in range(20)]


@pytest.mark.parametrize("engine", ["mariadb", "postgres"])
def test_the_second_ctrl_c_does_not_wait_for_a_batch_that_hangs(
    pools: Callable[[str], infra.ConnectionPool], engine: str
) -> None:
    import signal

    old, new = pools("postgres"), pools(engine)
    make_people(old, 40)
    make_people(new)

    def transform(row: dict[str, Any]) -> dict[str, Any]:
        if row["id"] == 3 * 20:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return row

    with infra.create_pool(new.config) as other, other.transaction():
        other.execute("INSERT INTO people VALUES (0, 'in the way', 0)")
        with pytest.raises(KeyboardInterrupt):
            move_of(old, new, transform=transform, batch=20).run()
        # The server has stopped the statement: the move's lock is free.
        again = move_of(old, new, batch=20, lock_timeout=3.0)
        assert "begun by an earlier run" in str(refusal(lambda: again.run(resume=False)))
        other.execute("DELETE FROM people")
    assert move_of(old, new, batch=20).run().counts.written == 40
    assert people(new) == people(old)
    eventually(lambda: new.stats().in_use == 0)


def test_the_first_ctrl_c_waits_for_a_batch_that_takes_long(
    pools: Callable[[str], infra.ConnectionPool],
) -> None:
    import signal

    old, new = pools("mariadb"), pools("postgres")
    make_people(old, 60)
    make_people(new)
    is_blocked = threading.Event()

    def block() -> None:
        with new.transaction():
            new.execute("INSERT INTO people VALUES (60, 'in the way', 0)")
            is_blocked.set()
            time.sleep(8)  # longer than the second Ctrl-C waits
            new.execute("DELETE FROM people WHERE id = 60")

    def transform(row: dict[str, Any]) -> dict[str, Any]:
        if row["id"] == 3 * 20:
            signal.raise_signal(signal.SIGINT)
        return row

    end = in_background(block)
    assert is_blocked.wait(WAIT)
    with pytest.raises(KeyboardInterrupt, match="people stopped: run it again to go on"):
        move_of(old, new, transform=transform, batch=20).run()
    assert end() is None
    assert len(people(new)) == 40


@pytest.mark.parametrize("engine", ["mariadb", "postgres"])
def test_a_transform_has_transactions_of_its_own(
    pools: Callable[[str], infra.ConnectionPool], engine: str
) -> None:
    old, new = pools("mariadb"), pools(engine)
    make_people(old, 60)
    make_people(new)
    new.execute("CREATE TABLE seen (id BIGINT PRIMARY KEY)")

    def transform(row: dict[str, Any]) -> dict[str, Any]:
        with new.transaction():
            new.execute("INSERT INTO seen VALUES (%s)", (row["id"],))
        return row

    assert move_of(old, new, transform=transform, batch=20).run().counts.written == 60
    assert new.fetch_all("SELECT count(*) FROM seen") == [(60,)]


def test_ctrl_c_finishes_the_batch(
    pools: Callable[[str], infra.ConnectionPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    old, new = pools("postgres"), pools("mariadb")
    make_people(old, 100)
    make_people(new)

    def transform(row: dict[str, Any]) -> dict[str, Any]:
        if row["id"] == 3 * 30:
            signal.raise_signal(signal.SIGINT)
        return row

    with pytest.raises(KeyboardInterrupt, match="people stopped: run it again to go on"):
        move_of(old, new, transform=transform, batch=20).run()
    assert len(people(new)) == 40
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert move_of(old, new, transform=dict, batch=20).run().counts.written == 100
    eventually(lambda: new.stats().in_use == 0)
