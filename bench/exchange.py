"""Measure the benchmark exchange on one private Postgres with a million submissions.

It shows how many rows a leaderboard reads, and what its entries cost beside the same code written
by hand.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [str(ROOT)] + [
    entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent
]

import psycopg2
import psycopg2.extras

import infra
from bench.database import database, login, process, sent
from bench.measure import Bench, arguments, timed
from bench.world import Made, World
from tests import services

T = TypeVar("T")

ROWS, FEWER_ROWS = 1_000_000, 50_000


class Leaderboards:
    """Show how many rows ``leaderboard`` reads.

    The server's statistics count the rows of each table. EXPLAIN may show a few less: it rounds to
    whole rows for each pass of a loop, and does not count the one or two rows at the ends of an
    index that the planner reads.
    """

    index_of: tuple[str, str] = (
        "submissions_leaderboard_idx",
        "submissions_version_leaderboard_idx",
    )
    most = 200

    def __init__(self, bench: Bench, pool: infra.ConnectionPool) -> None:
        self.bench = bench
        self.pool = pool
        self.submissions = infra.PostgresSubmissionRepository(pool)
        self.largest = 0

    def head(self) -> None:
        """Print the title and the names of the columns."""
        server = self.pool.health_check().server
        print(
            f"leaderboard(limit=100) on {server}: rows read, "
            f"at most {self.most} of submissions promised"
        )
        print(
            f"{'':<40}{'entries':>8}{'of them':>9}{'users':>8}{'organiz.':>9}{'in all':>9}"
            f"{'ms':>9}  index"
        )

    def show(self, name: str, benchmark: Made, version: uuid.UUID | None = None) -> None:
        """Print the line of one leaderboard, and remember a missed promise."""
        repository = self.submissions
        [(sql, params)] = sent(
            self.pool, lambda: repository.leaderboard(benchmark.id, version, 100)
        )
        index = self.index_of[version is not None]
        explained = self.pool.fetch_one(
            f"EXPLAIN (ANALYZE, BUFFERS off, FORMAT JSON) {sql}", params
        )
        assert explained is not None
        scans = [
            node
            for node in nodes(explained[0][0]["Plan"])
            if node.get("Relation Name") == "submissions"
        ]
        removed = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
        explains = sum(
            (n["Actual Rows"] + sum(n.get(each, 0) for each in removed)) * n["Actual Loops"]
            for n in scans
        )
        entries, read = self.read(lambda: repository.leaderboard(benchmark.id, version, 100))
        assert explains <= read["submissions"] <= explains + 10, (
            "EXPLAIN and the statistics should agree"
        )
        used = [
            str(node["Index Name"])
            for scan in scans
            for node in nodes(scan)
            if "Index Name" in node
        ]
        # For a few rows of a small table all indexes cost the same: the planner may take any.
        any_index = self.bench.short and len(entries) < 100
        kept = (any_index or used == [index]) and read["submissions"] <= self.most
        seconds = [
            timed(lambda: repository.leaderboard(benchmark.id, version, 100), 1) for _ in range(7)
        ]
        total = sum(read.values())
        self.largest = max(self.largest, total)
        counts = f"{read['submissions']:>9}{read['users']:>8}{read['organizations']:>9}{total:>9}"
        milliseconds = f"{statistics.median(seconds) * 1e3:>9.2f}"
        mark = "" if kept else self.bench.miss()
        print(
            f"{name:<40}{len(entries):>8}{counts}{milliseconds}  {' '.join(used)}{mark}", flush=True
        )

    def read(self, work: Callable[[], list[T]]) -> tuple[list[T], dict[str, int]]:
        """Return the result of ``work``, and how many rows of each table it read."""
        with self.pool.transaction():
            before = self.counters()
            result = work()
            after = self.counters()
        return result, {
            table: after[table] - before[table]
            for table in ("submissions", "users", "organizations")
        }

    def counters(self) -> dict[str, int]:
        """Return how many rows of each table this transaction has read."""
        rows = self.pool.fetch_all(
            "SELECT relname::text, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) "
            "FROM pg_stat_xact_user_tables"
        )
        return {name: int(count) for name, count in rows}


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the nodes of a query plan."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


class ByHand:
    """Send the same statement over a bare connection, and make the same entries of its rows."""

    def __init__(self, pool: infra.ConnectionPool, end: contextlib.ExitStack) -> None:
        submissions = infra.PostgresSubmissionRepository(pool)
        [(self.ranking, _)] = sent(pool, lambda: submissions.leaderboard(uuid.uuid4(), None, 100))
        self.raw = end.enter_context(contextlib.closing(psycopg2.connect(**login(pool, "dbname"))))
        self.raw.autocommit = True
        psycopg2.extras.register_uuid(conn_or_curs=self.raw)  # type: ignore[no-untyped-call]
        with self.raw.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'UTC'")

    def leaderboard(self, benchmark_id: uuid.UUID) -> list[infra.LeaderboardEntry]:
        with self.raw.cursor() as cursor:
            cursor.execute(self.ranking, (str(benchmark_id), 100, 100))
            rows = cursor.fetchall()
        entries = []
        rank, score = 0, None
        for place, row in enumerate(rows, 1):
            if row[3] != score:
                rank, score = place, row[3]
            entries.append(infra.LeaderboardEntry(rank, *row))
        return entries


def reads(bench: Bench, pool: infra.ConnectionPool, world: World) -> None:
    """Show the leaderboards before ANALYZE, after it, and for rows that came after it."""
    boards = Leaderboards(bench, pool)
    busy, quiet = world.benchmarks[0], world.benchmarks[-1]

    def every(when: str) -> None:
        boards.show(f"{when}busy benchmark", busy)
        boards.show(f"{when}busy, newest version", busy, busy.versions[-1])
        boards.show(f"{when}busy, version of few rows", busy, busy.versions[0])
        boards.show(f"{when}quiet benchmark", quiet)
        boards.show(f"{when}quiet, newest version", quiet, quiet.versions[-1])

    boards.head()
    every("not analyzed: ")
    pool.execute("ANALYZE")
    every("")
    boards.show("busy, version since ANALYZE", busy, world.publish(pool, busy))
    if boards.largest > boards.most:
        print(
            f"in all up to {boards.largest}, which is more than {boards.most}: "
            "each entry's names are read too"
        )


def costs(bench: Bench, pool: infra.ConnectionPool, world: World) -> None:
    """Report CPU time and elapsed time beside code by hand."""
    submissions = infra.PostgresSubmissionRepository(pool)
    busy, server = world.benchmarks[0].id, process(pool)
    print()
    with contextlib.ExitStack() as end:
        hand = ByHand(pool, end)
        assert submissions.leaderboard(busy) == hand.leaderboard(busy)
        bench.report_extras(
            "Microseconds of client CPU, beside the same by hand",
            [
                bench.compare_cpu(
                    "leaderboard, each entry",
                    lambda: submissions.leaderboard(busy),
                    lambda: hand.leaderboard(busy),
                    limit=math.inf,
                    rounds=100,
                    number=3,
                    records=100,
                    server=server,
                )
            ],
        )
        bench.report(
            "Elapsed time, times as fast as the same by hand",
            [
                bench.compare(
                    "leaderboard",
                    lambda: submissions.leaderboard(busy),
                    lambda: hand.leaderboard(busy),
                    target=0,
                    rounds=51,
                    number=20,
                )
            ],
        )


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument(
        "--rows",
        type=int,
        metavar="N",
        help=f"submissions; the promises are for {ROWS:,} of them, a short run has {FEWER_ROWS:,}",
    )
    options = parser.parse_args()
    bench = Bench(short=options.short)
    world = World(options.rows or bench.size(ROWS, FEWER_ROWS))
    try:
        with database("postgres") as pool:
            infra.Migrator(pool).apply()
            # Autovacuum would update the statistics at an unknown moment.
            for table in ("users", "organizations", "submissions"):
                pool.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
            world.load(pool)
            reads(bench, pool, world)
            costs(bench, pool, world)
            return int(bench.missed)
    finally:
        services.stop_shared()


if __name__ == "__main__":
    sys.exit(main())
