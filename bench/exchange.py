"""Measure the benchmark exchange on one private Postgres with a million submissions.

It shows how many rows a leaderboard reads, what a page of benchmarks costs beside the same code
written by hand, and how fast the repositories are beside SQLAlchemy's ORM.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import math
import random
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, ClassVar, TypeVar

ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [str(ROOT)] + [
    entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent
]

import psycopg2
import psycopg2.extensions
import psycopg2.extras
import sqlalchemy

import infra
from bench import orm
from bench.database import database, login, process
from bench.measure import Bench, Work, arguments, timed
from tests import services

T = TypeVar("T")

USERS, ORGANIZATIONS, BENCHMARKS = 2_000, 50, 200
ROWS, FEWER_ROWS = 1_000_000, 50_000
FIRST = datetime(2024, 1, 1, tzinfo=timezone.utc)
TWO_YEARS = timedelta(days=730)
PER_PAGE = infra.Query(per_page=100)


@dataclass(frozen=True)
class Made:
    """Hold the id of a benchmark and the ids of its versions, the oldest first."""

    id: uuid.UUID
    versions: tuple[uuid.UUID, ...]


class Skewed:
    """Draw items at random: the n-th has the weight n to the power of -``power``."""

    def __init__(self, draw: random.Random, items: Sequence[Any], power: float) -> None:
        self.draw, self.items = draw, items
        self.sums = [*itertools.accumulate(n**-power for n in range(1, len(items) + 1))]

    def one(self) -> Any:
        return self.items[bisect.bisect(self.sums, self.draw.random() * self.sums[-1])]


class World:
    """Make the rows of every table; they are the same in each run."""

    def __init__(self, submissions: int) -> None:
        self.count = submissions
        self.draw = random.Random(20260101)
        self.users = [self.id(FIRST) for _ in range(USERS)]
        self.organizations = [self.id(FIRST) for _ in range(ORGANIZATIONS)]
        self.benchmarks = [
            Made(self.id(FIRST), tuple(self.id(FIRST) for _ in range(3))) for _ in range(BENCHMARKS)
        ]
        self.criteria = {"metric": "accuracy", "weights": {"exact": 0.7, "partial": 0.3}}
        self.config = {"timeout": 60, "shots": 5, "temperature": 0.0}
        self.cases = [{"input": f"What is {n} + {n}?", "expected": str(2 * n)} for n in range(5)]

    def id(self, at: datetime) -> uuid.UUID:
        """Return a UUID of version 7, as ``infra.new_id`` makes them at that time."""
        bits = int(at.timestamp() * 1000) << 80 | self.draw.getrandbits(80)
        return uuid.UUID(int=bits & ~(0xF << 76 | 3 << 62) | 7 << 76 | 2 << 62)

    def load(self, pool: infra.ConnectionPool) -> None:
        """Fill the tables."""
        for table, rows in {
            "users": self.of_users(),
            "organizations": self.of_organizations(),
            "benchmarks": self.of_benchmarks(),
            "benchmark_tags": self.of_tags(),
            "benchmark_versions": self.of_versions(),
        }.items():
            every = [*rows]
            pool.insert_many(table, [*every[0]], [[*row.values()] for row in every])
        columns = (
            "id", "benchmark_id", "benchmark_version_id", "model", "user_id", "organization_id",
            "aggregate_score", "results", "execution", "verification_level", "visibility",
            "created_at", "updated_at",
        )  # fmt: skip
        pool.insert_many("submissions", columns, progress(self.of_submissions(), self.count))

    def of_users(self) -> Iterator[dict[str, Any]]:
        for n, id in enumerate(self.users):
            yield {
                "id": id,
                "email": f"Somebody{n}@example.com",
                "username": f"Somebody{n}",
                "display_name": f"Somebody the {n}th",
                "role": "contributor",
                "email_verified": n % 3 > 0,
                "profile": {"bio": "Measures models.", "links": ["https://example.com"]},
                "created_at": FIRST,
                "updated_at": FIRST,
                "email_folded": f"somebody{n}@example.com",
                "username_folded": f"somebody{n}",
            }

    def of_organizations(self) -> Iterator[dict[str, Any]]:
        for n, id in enumerate(self.organizations):
            yield {
                "id": id,
                "name": f"Organization {n}",
                "slug": f"organization-{n}",
                "description": "Makes models.",
                "organization_type": "llm_provider",
                "verified": n % 2 > 0,
                "created_at": FIRST,
                "updated_at": FIRST,
                "search_folded": f"organization {n}\norganization-{n}\nmakes models.",
            }

    def of_benchmarks(self) -> Iterator[dict[str, Any]]:
        for n, each in enumerate(self.benchmarks):
            yield {
                "id": each.id,
                "slug": f"benchmark-{n}",
                "name": f"Benchmark {n}",
                "description": "What a model knows.",
                "long_description": "What it asks, and how it counts. " * 20,
                "category": "accuracy",
                "status": "active",
                "version": "3.0.0",
                "license": "MIT",
                "created_by": self.users[n],
                "evaluation_criteria": self.criteria,
                "execution_config": self.config,
                "test_cases": self.cases,
                "version_id": each.versions[-1],
                "created_at": FIRST + timedelta(hours=n),
                "updated_at": FIRST + timedelta(hours=n),
                "search_folded": f"benchmark {n}\nbenchmark-{n}\nwhat a model knows.",
            }

    def of_tags(self) -> Iterator[dict[str, Any]]:
        for n, each in enumerate(self.benchmarks):
            for tag in ("english", "knowledge", "maths", "open", f"year-{n % 9}")[: 3 + n % 3]:
                yield {"benchmark_id": each.id, "tag": tag}

    def of_versions(self) -> Iterator[dict[str, Any]]:
        for each in self.benchmarks:
            for number, id in enumerate(each.versions, 1):
                yield self.version(each, id, number)

    def version(self, benchmark: Made, id: uuid.UUID, number: int) -> dict[str, Any]:
        return {
            "id": id,
            "benchmark_id": benchmark.id,
            "version": f"{number}.0.0",
            "number": number,
            "changelog": "Other questions.",
            "breaking": True,
            "evaluation_criteria": self.criteria,
            "execution_config": self.config,
            "test_cases": self.cases,
            "created_at": FIRST,
        }

    def of_submissions(self) -> Iterator[tuple[Any, ...]]:
        draw = self.draw
        benchmarks, users = Skewed(draw, self.benchmarks, 1.5), Skewed(draw, range(USERS), 0.8)
        models = [f"model-{n}-{size}b" for n in range(40) for size in (1, 8, 70)]
        results = [
            {"accuracy": n / 100, "cases": {"passed": n, "failed": 100 - n}} for n in range(101)
        ]
        execution = {"seconds": 81.5, "runner": "1.4.2", "seed": 7}
        levels = ["unverified"] * 6 + ["community_verified"] * 2 + ["platform_verified", "audited"]
        visibilities = ["public"] * 17 + ["unlisted"] * 2 + ["private"]
        for n in range(self.count):
            at = FIRST + TWO_YEARS * (n / self.count)
            benchmark, user, chance = benchmarks.one(), users.one(), draw.random()
            percent = min(100, max(0, round(draw.gauss(70, 15))))
            yield (
                self.id(at),
                benchmark.id,
                benchmark.versions[(chance > 0.0002) + (chance > 0.3)],  # the oldest has only a few
                draw.choice(models),
                self.users[user],
                self.organizations[user // 2 % ORGANIZATIONS] if user % 2 else None,
                percent / 100 if draw.random() < 0.95 else None,
                results[percent],
                execution,
                draw.choice(levels),
                draw.choice(visibilities),
                at,
                at,
            )

    def publish(self, pool: infra.ConnectionPool, benchmark: Made) -> uuid.UUID:
        """Add a version with a fifth of the newest version's submissions, and return its id."""
        row = self.version(benchmark, self.id(FIRST + TWO_YEARS), 4)
        pool.insert_many("benchmark_versions", [*row], [[*row.values()]])
        pool.execute(
            "INSERT INTO submissions SELECT gen_random_uuid(), benchmark_id, %s, model, user_id, "
            "organization_id, aggregate_score, results, execution, verification_level, "
            "verified_at, verification, visibility, created_at, updated_at "
            "FROM submissions WHERE benchmark_version_id = %s AND random() < 0.2",
            (row["id"], benchmark.versions[-1]),
        )
        id: uuid.UUID = row["id"]
        return id


def progress(rows: Iterator[T], count: int) -> Iterator[T]:
    """Yield the same rows, and print how many there were after each 100,000."""
    started = time.monotonic()
    for n, row in enumerate(rows, 1):
        yield row
        if n % 100_000 == 0 or n == count:
            print(
                f"  {n:,} of {count:,} submissions, {time.monotonic() - started:.0f} s",
                file=sys.stderr,
                flush=True,
            )


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


class RecordingCursor(psycopg2.extensions.cursor):
    """Record statements and parameters as the driver receives them."""

    recorded: ClassVar[list[tuple[str, Any]]] = []

    def execute(self, query: Any, vars: Any = None) -> None:
        RecordingCursor.recorded.append((query, vars))
        super().execute(query, vars)


def sent(pool: infra.ConnectionPool, work: Work) -> list[tuple[str, Any]]:
    """Return the statements that ``work`` sends.

    The pool lends the same connection again, since no other thread takes one.
    """
    with pool.connection() as raw:
        raw.cursor_factory = RecordingCursor
    RecordingCursor.recorded.clear()
    work()
    found = [*RecordingCursor.recorded]
    with pool.connection() as raw:
        assert raw.cursor_factory is RecordingCursor
        raw.cursor_factory = None
    return found


def statements(pool: infra.ConnectionPool, work: Work) -> int:
    """Return how many statements ``work`` sends."""
    return len(sent(pool, work))


class ByHand:
    """Send the same statements over a bare connection, and make the same records of their rows."""

    columns = (
        "slug, name, description, long_description, category, status, version, license, "
        "created_by, evaluation_criteria, execution_config, test_cases, id, version_id, "
        "created_at, updated_at, "
        "ARRAY(SELECT tag FROM benchmark_tags WHERE benchmark_id = benchmarks.id ORDER BY tag)"
    )

    def __init__(self, pool: infra.ConnectionPool, end: contextlib.ExitStack) -> None:
        submissions = infra.PostgresSubmissionRepository(pool)
        [(self.ranking, _)] = sent(pool, lambda: submissions.leaderboard(uuid.uuid4(), None, 100))
        self.raw = end.enter_context(contextlib.closing(psycopg2.connect(**login(pool, "dbname"))))
        self.raw.autocommit = True
        psycopg2.extras.register_uuid(conn_or_curs=self.raw)  # type: ignore[no-untyped-call]
        with self.raw.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'UTC'")

    def page(self) -> list[infra.Benchmark]:
        return self.benchmarks("ORDER BY created_at, id LIMIT %s", (100,))

    def find_by_slug(self, slug: str) -> infra.Benchmark | None:
        found = self.benchmarks("WHERE slug = %s LIMIT 1", (slug,))
        return found[0] if found else None

    def benchmarks(self, rest: str, params: tuple[Any, ...]) -> list[infra.Benchmark]:
        with self.raw.cursor() as cursor:
            cursor.execute(f"SELECT {self.columns} FROM benchmarks {rest}", params)
            rows = cursor.fetchall()
        return [
            infra.Benchmark(
                slug=row[0],
                name=row[1],
                description=row[2],
                long_description=row[3],
                category=row[4],
                status=row[5],
                version=row[6],
                tags=tuple(row[16]),
                license=row[7],
                created_by=row[8],
                evaluation_criteria=row[9],
                execution_config=row[10],
                test_cases=row[11],
                id=row[12],
                version_id=row[13],
                created_at=row[14],
                updated_at=row[15],
            )
            for row in rows
        ]

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
    """Report statements and CPU time beside code by hand, and elapsed time beside the ORM."""
    benchmarks = infra.PostgresBenchmarkRepository(pool)
    submissions = infra.PostgresSubmissionRepository(pool)
    busy = world.benchmarks[0].id
    counts = {
        "page of 100": statements(pool, lambda: benchmarks.page(PER_PAGE)),
        "with its total": statements(
            pool, lambda: benchmarks.page(infra.Query(per_page=100, with_total=True))
        ),
    }
    mark = bench.miss() if max(counts.values()) > 3 else ""
    found = ", ".join(f"{name} {count}" for name, count in counts.items())
    print(f"\nStatements for benchmarks with their tags, at most 3 promised: {found}{mark}\n")
    with contextlib.ExitStack() as end:
        hand = ByHand(pool, end)
        engine = sqlalchemy.create_engine(
            "postgresql+psycopg2://", connect_args=login(pool, "dbname")
        )
        end.callback(engine.dispose)
        theirs = orm.BenchmarkRepository(engine)
        page, slug, server = benchmarks.page(PER_PAGE).items, "benchmark-7", process(pool)
        assert page == hand.page()
        assert [(each.id, each.tags) for each in page] == [
            (each.id, tuple(tag.tag for tag in each.tags)) for each in theirs.page(1, 100)
        ]
        assert benchmarks.find_by_slug(slug) == hand.find_by_slug(slug) is not None
        assert submissions.leaderboard(busy) == hand.leaderboard(busy)
        bench.report_extras(
            "Microseconds of client CPU, beside the same by hand",
            [
                bench.compare_cpu(
                    "page of 100, each record",
                    lambda: benchmarks.page(PER_PAGE),
                    hand.page,
                    limit=25,
                    rounds=100,
                    number=3,
                    records=100,
                    server=server,
                ),
                bench.compare_cpu(
                    "leaderboard, each entry",
                    lambda: submissions.leaderboard(busy),
                    lambda: hand.leaderboard(busy),
                    limit=math.inf,
                    rounds=100,
                    number=3,
                    records=100,
                    server=server,
                ),
                bench.compare_cpu(
                    "find_by_slug, a call",
                    lambda: benchmarks.find_by_slug(slug),
                    lambda: hand.find_by_slug(slug),
                    limit=math.inf,
                    rounds=200,
                    number=20,
                    server=server,
                ),
            ],
        )
        print()

        def new() -> infra.Benchmark:
            slug = f"new-{infra.new_id()}"
            tags = ("a", "b", "c", "d", "e")
            return infra.Benchmark(
                slug, "New", category="cost", created_by=world.users[0], tags=tags
            )

        def touched() -> None:
            for each in theirs.page(1, 100):
                for tag in each.tags:
                    assert tag.tag

        bench.report(
            f"Elapsed time, times as fast as SQLAlchemy {sqlalchemy.__version__}'s ORM",
            [
                bench.compare(
                    "page of 100",
                    lambda: benchmarks.page(PER_PAGE),
                    touched,
                    target=2,
                    rounds=51,
                    number=20,
                ),
                bench.compare(
                    "find_by_slug",
                    lambda: benchmarks.find_by_slug(slug),
                    lambda: theirs.find_by_slug(slug),
                    target=0,
                    rounds=31,
                    number=100,
                ),
                bench.compare(
                    "create, with 5 tags",
                    lambda: benchmarks.create(new()),
                    lambda: theirs.create(new()),
                    target=0,
                    rounds=31,
                    number=20,
                ),
                bench.compare(
                    "leaderboard, by hand",
                    lambda: submissions.leaderboard(busy),
                    lambda: hand.leaderboard(busy),
                    target=0,
                    rounds=51,
                    number=20,
                ),
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
