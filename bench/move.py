"""Compare a data move from MariaDB to Postgres with pgloader and with other ways.

These are ConnectorX with ADBC (compiled, the whole table in memory), ``stream`` into
``insert_many``, and a bare COPY of the same bytes, which is the limit. Without pgloader, and in a
short run, where its start would count most, ``stream`` into ``insert_many`` takes its place.

Beside it: moves between other engines, and the memory that a move takes.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [str(ROOT)] + [
    entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent
]

import psycopg2

import infra
from bench.database import database, login
from bench.measure import Bench, Ratio, arguments
from tests import services

ROWS = 500_000
ROUNDS = 3
#: times as fast as pgloader
PROMISED = {"ours": 1.75, "ours, indexes afterwards": 2.0, "ours, with a transform": 1.1}
#: megabytes that a process may need on top of what it had when the move began
MEMORY = {"ours": 60, "ours, with a transform": 130}
COLUMNS = (
    "id", "phone_hash", "country_code", "user_type", "is_verified", "is_blocked", "created_at",
    "note",
)  # fmt: skip
NOTES = [
    "plain words, and more of them, " * 4,
    "tab\tnewline\nbackslash\\ quote'" * 5,
    "emoji 😀 and é and ß, " * 7,
    None,
]
TABLES = {
    "mysql": "CREATE TABLE people (id CHAR(36) CHARACTER SET ascii PRIMARY KEY, "
    "phone_hash CHAR(64) NOT NULL, country_code VARCHAR(3) NOT NULL, user_type VARCHAR(20), "
    "is_verified BOOLEAN NOT NULL, is_blocked BOOLEAN NOT NULL, created_at DATETIME(6) NOT NULL, "
    "note VARCHAR(250)) DEFAULT CHARACTER SET utf8mb4",
    "postgres": "CREATE TABLE people (id UUID PRIMARY KEY, "
    "phone_hash CHAR(64) NOT NULL, country_code VARCHAR(3) NOT NULL, user_type VARCHAR(20), "
    "is_verified BOOLEAN NOT NULL, is_blocked BOOLEAN NOT NULL, created_at TIMESTAMPTZ NOT NULL, "
    "note VARCHAR(250))",
}


def fill(pool: infra.ConnectionPool, count: int) -> None:
    """Insert ``count`` people."""
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    second = timedelta(seconds=1, microseconds=7)

    def row(number: int) -> tuple[Any, ...]:
        id = uuid.UUID(int=number * 7919 << 64)  # in the order of time, as those of new_id
        phone_hash = hashlib.sha256(b"%d" % number).hexdigest()
        user_type = "customer" if number % 3 else None
        flags = number % 2 == 0, number % 50 == 0
        moment = start + number * second
        note = NOTES[number % len(NOTES)]
        return id, phone_hash, "+90", user_type, *flags, moment, note

    pool.insert_many("people", COLUMNS, map(row, range(count)))


def to_copy(pool: infra.ConnectionPool) -> bytes:
    """Return the table in the format of COPY."""
    with psycopg2.connect(**login(pool, "dbname")) as raw, raw.cursor() as cursor:
        data = io.BytesIO()
        cursor.copy_expert("COPY people TO STDOUT", data)
    raw.close()
    return data.getvalue()


def renamed(row: dict[str, Any]) -> dict[str, Any]:
    """Change one field and keep the others, as a usual transform does."""
    row["user_type"] = row["user_type"] or "worker"
    return row


class Contest:
    """Move the table in each way, every time into an empty one."""

    def __init__(self, source: infra.ConnectionPool, target: infra.ConnectionPool) -> None:
        self.source, self.target = source, target
        self.data = b""

    def empty(self) -> None:
        self.target.execute("TRUNCATE people")
        self.target.execute("DROP TABLE IF EXISTS infra_moves")

    def move(self, indexes: str = "keep", **options: Any) -> infra.MoveReport:
        return infra.RowMove(
            "people",
            source=infra.TableSource(self.source, "people"),
            target=infra.TableTarget(self.target, "people", indexes=indexes),
            **options,
        ).run(progress=False)

    def ours(self) -> None:
        assert self.move().path == "fast"

    def ours_with_indexes_afterwards(self) -> None:
        assert self.move(indexes="afterwards").path == "fast"

    def ours_with_a_transform(self) -> None:
        self.move(transform=renamed)

    def connectorx_and_adbc(self) -> None:
        """Read the table into Arrow, and write it by binary COPY."""
        import connectorx
        import pyarrow
        from adbc_driver_postgresql import dbapi

        columns = ["UNHEX(REPLACE(id, '-', '')) AS id", *COLUMNS[1:]]
        sql = f"SELECT {', '.join(columns)} FROM people"
        table = connectorx.read_sql(self.source.config.url, sql, return_type="arrow")
        for name in ("is_verified", "is_blocked"):
            at = table.column_names.index(name)
            flags = table.column(at).cast(pyarrow.int64()).cast(pyarrow.bool_())
            table = table.set_column(at, name, flags)
        with dbapi.connect(self.target.config.url) as raw, raw.cursor() as cursor:
            cursor.adbc_ingest("people", table, mode="append")
            raw.commit()

    def stream_into_insert_many(self) -> None:
        def rows() -> Any:
            for row in self.source.stream(f"SELECT {', '.join(COLUMNS)} FROM people"):
                yield (*row[:4], bool(row[4]), bool(row[5]), *row[6:])

        self.target.insert_many("people", COLUMNS, rows())

    def bare_copy(self) -> None:
        with psycopg2.connect(**login(self.target, "dbname")) as raw, raw.cursor() as cursor:
            cursor.copy_expert("COPY people FROM STDIN", io.BytesIO(self.data))
        raw.close()

    def pgloader(self) -> None:
        script = (
            f"LOAD DATABASE FROM {self.source.config.url} INTO {self.target.config.url} "
            "WITH data only, include no drop, create no tables, create no indexes, "
            "no foreign keys, reset no sequences, workers = 2, concurrency = 1 "
            "ALTER SCHEMA 'SCHEMA' RENAME TO 'public';"
        ).replace("SCHEMA'", f"{self.source.config.url.rpartition('/')[2]}'", 1)
        with tempfile.NamedTemporaryFile("w", suffix=".load") as file:
            file.write(script)
            file.flush()
            done = subprocess.run(
                ["pgloader", file.name],
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, "LANG": "C.UTF-8"},
            )
        if done.returncode or (" 0 " not in done.stdout and "error" in done.stdout.lower()):
            raise RuntimeError(done.stdout + done.stderr)


def main() -> int:
    bench = Bench(short=arguments(__doc__).parse_args().short)
    count = bench.size(ROWS, ROWS // 25)
    try:
        with database("mariadb") as source, database("postgres") as target:
            for pool in (source, target):
                pool.execute(TABLES[pool.engine])
                pool.execute("CREATE INDEX people_created_at ON people (created_at)")
                pool.execute("CREATE UNIQUE INDEX people_phone_hash ON people (phone_hash)")
            fill(source, count)
            contest = Contest(source, target)
            ways: dict[str, Callable[[], None]] = {
                "ours": contest.ours,
                "ours, indexes afterwards": contest.ours_with_indexes_afterwards,
                "ours, with a transform": contest.ours_with_a_transform,
                "ConnectorX and ADBC": contest.connectorx_and_adbc,
                "stream into insert_many": contest.stream_into_insert_many,
                "bare COPY": contest.bare_copy,
            }
            if shutil.which("pgloader") and not bench.short:
                ways["pgloader"] = contest.pgloader
            contest.empty()
            contest.ours()
            contest.data = to_copy(target)
            times: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(1 if bench.short else ROUNDS):
                for name, way in ways.items():
                    contest.empty()
                    started = time.perf_counter()
                    way()
                    times[name].append(time.perf_counter() - started)
                    assert target.fetch_one("SELECT count(*) FROM people") == (count,), name
            report(bench, count, times)
            for name in MEMORY:
                report_memory(bench, contest, name)
            others(bench, target, count)
            return int(bench.missed)
    finally:
        services.stop_shared()


CHILD = """
import re, sys
from pathlib import Path

sys.path[:0] = [sys.argv[1]]
import infra
from bench.move import Contest

def peak():
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s*([0-9]+) kB", status)[1]) / 1024

with (
    infra.create_pool(infra.DatabaseConfig(url=sys.argv[2])) as source,
    infra.create_pool(infra.DatabaseConfig(url=sys.argv[3])) as target,
):
    contest = Contest(source, target)
    contest.empty()
    source.fetch_one("SELECT 1")
    before = peak()
    getattr(contest, sys.argv[4])()
    print(peak() - before)
"""


def report_memory(bench: Bench, contest: Contest, name: str) -> None:
    """Print how much memory a move takes in a process of its own."""
    way = name.replace(",", "").replace(" ", "_")
    urls = contest.source.config.url, contest.target.config.url
    command = [sys.executable, "-c", CHILD, str(ROOT), *urls, way]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    grown, limit = math.ceil(float(done.stdout)), MEMORY[name]
    kept = "" if grown < limit else bench.miss()
    print(f"{name}: {grown} MB of memory, of {limit} promised{kept}", flush=True)


def others(bench: Bench, postgres: infra.ConnectionPool, count: int) -> None:
    """Print how long moves between other engines take."""
    for name in ("postgres", "mariadb"):
        with database(name) as target:
            target.execute(TABLES[target.engine])
            target.execute("CREATE INDEX people_created_at ON people (created_at)")
            target.execute("CREATE UNIQUE INDEX people_phone_hash ON people (phone_hash)")
            started = time.perf_counter()
            path = Contest(postgres, target).move().path
            seconds = time.perf_counter() - started
            assert target.fetch_one("SELECT count(*) FROM people") == (count,), name
            print(f"postgres to {name}: {seconds:.1f} s ({path})")


def report(bench: Bench, count: int, times: dict[str, list[float]]) -> None:
    """Print the ratios and the medians."""
    other = "pgloader" if "pgloader" in times else "stream into insert_many"
    promised = PROMISED
    ratios = []
    for name, seconds in times.items():
        found = [theirs / mine for theirs, mine in zip(times[other], seconds)]
        median = statistics.median(found)
        ratios.append(Ratio(name, median, min(found), max(found), promised.get(name, 0)))
    medians = ", ".join(
        f"{name} {statistics.median(seconds):.1f} s" for name, seconds in times.items()
    )
    bench.report(f"{count:,} rows from MariaDB to Postgres, times as fast as {other}", ratios)
    print(f"medians: {medians}")
    if other != "pgloader":
        print("pgloader did not run: the promise was measured against stream into insert_many")


if __name__ == "__main__":
    sys.exit(main())
