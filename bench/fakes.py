"""Compare the fakes with what a test would use instead, each in one process.

FakeRedisClient is compared with fakeredis, FakeStorageProvider with boto3 on moto, and the fake
repositories with repositories written with SQLAlchemy, on SQLite in memory. Then measure the fakes
with many rows.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import random
import sys
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [str(ROOT)] + [
    entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent
]

import boto3
import fakeredis
import moto
import sqlalchemy
import sqlalchemy.pool

import fakes
import infra
from bench import orm
from bench.measure import Bench, Work, arguments

TURN = 500
LATEST = datetime(2026, 1, 1, tzinfo=timezone.utc)
PROFILE = {"bio": "Measures models.", "links": ["https://example.com"]}


def of_redis(bench: Bench) -> None:
    """Report the ratios of FakeRedisClient."""
    ours, theirs = fakes.FakeRedisClient(), fakeredis.FakeRedis(decode_responses=True)
    for client in (ours, theirs):
        client.set("key", "value")
    pairs = {
        "get": (lambda: ours.get("key"), lambda: theirs.get("key")),
        "set": (lambda: ours.set("key", "value"), lambda: theirs.set("key", "value")),
        "increment": (lambda: ours.increment("n"), lambda: theirs.incrby("n", 1)),
        "get of an expiring key": (lambda: ours.get("short"), lambda: theirs.get("short")),
    }
    ours.set_with_expiry("short", "value", 600)
    theirs.set("short", "value", px=600_000)
    ratios = [
        bench.compare(
            name,
            mine,
            other,
            target=25,
            rounds=21,
            number=20_000,
            theirs_number=1000,
            clock=time.thread_time,
        )
        for name, (mine, other) in pairs.items()
    ]
    bench.report(
        f"FakeRedisClient, times as fast as fakeredis {importlib.metadata.version('fakeredis')}",
        ratios,
    )


def of_storage(bench: Bench) -> None:
    """Report the ratios of FakeStorageProvider."""
    ours, data = fakes.FakeStorageProvider(), b"x" * 1000
    ours.create_bucket("bench-bucket")
    with moto.mock_aws():  # it sets its own credentials
        theirs = boto3.client("s3", region_name="us-east-1")
        theirs.create_bucket(Bucket="bench-bucket")
        pairs = {
            "upload": (
                lambda: ours.upload("bench-bucket", "key", data),
                lambda: theirs.put_object(Bucket="bench-bucket", Key="key", Body=data),
            ),
            "download": (
                lambda: ours.download("bench-bucket", "key"),
                lambda: theirs.get_object(Bucket="bench-bucket", Key="key")["Body"].read(),
            ),
        }
        ratios = [
            bench.compare(
                name,
                mine,
                other,
                target=500,
                rounds=21,
                number=20_000,
                theirs_number=20,
                clock=time.thread_time,
            )
            for name, (mine, other) in pairs.items()
        ]

        def both() -> None:
            ours.upload("bench-bucket", "key", data)
            ours.get_metadata("bench-bucket", "key")

        def theirs_both() -> None:
            theirs.put_object(Bucket="bench-bucket", Key="key", Body=data)
            theirs.head_object(Bucket="bench-bucket", Key="key")

        # The fake hashes an object when its hash is first needed.
        hashed = bench.compare(
            "upload, get_metadata",
            both,
            theirs_both,
            target=0,
            rounds=21,
            number=5000,
            theirs_number=10,
            clock=time.thread_time,
        )
        theirs.close()
    title = (
        f"FakeStorageProvider, times as fast as boto3 {boto3.__version__} "
        f"on moto {moto.__version__}"
    )
    bench.report(title, [*ratios, hashed])


class Exchange:
    """Hold the rows that a test would begin with, on both sides: users, benchmarks, submissions."""

    def __init__(self) -> None:
        ours = fakes.FakeDatabase("postgres", fakes.POSTGRES_TABLES, clock=infra.SystemClock())
        engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.pool.StaticPool)
        orm.Base.metadata.create_all(engine)
        self.users, self.their_users = fakes.FakeUserRepository(ours), orm.UserRepository(engine)
        self.benchmarks, self.their_benchmarks = (
            fakes.FakeBenchmarkRepository(ours),
            orm.BenchmarkRepository(engine),
        )
        self.submissions, self.their_submissions = (
            fakes.FakeSubmissionRepository(ours),
            orm.SubmissionRepository(engine),
        )
        self.numbers = itertools.count()
        self.drafts: list[infra.User] = []
        self.edits: list[infra.User] = []
        self.their_edits: list[infra.User] = []
        user = self.new_user()
        self.user, their_user = self.users.create(user), self.their_users.create(user)
        self.their_user = replace(self.user, id=their_user.id)
        owner = {"owner_id": self.user.id}
        organization = infra.Organization("Makers", "makers", description="They make models.")
        self.organization = fakes.FakeOrganizationRepository(ours).create(organization, **owner)
        their_organization = orm.OrganizationRepository(engine).create(organization)
        for n in range(40):
            tags = ("english", "knowledge", f"year-{n % 9}")
            benchmark = infra.Benchmark(
                f"benchmark-{n}",
                f"Benchmark {n}",
                category="accuracy",
                tags=tags,
                created_by=self.user.id,
                evaluation_criteria=PROFILE,
            )
            self.benchmark = self.benchmarks.create(benchmark)
            self.their_benchmark = self.their_benchmarks.create(
                replace(benchmark, created_by=their_user.id)
            )
        for n in range(30):
            submission = infra.Submission(
                self.benchmark.id,
                self.benchmark.version_id,
                f"model-{n}",
                self.user.id,
                organization_id=self.organization.id if n % 2 else None,
                aggregate_score=n % 7 / 10,
                results=PROFILE,
            )
            self.submissions.create(submission)
            self.their_submissions.create(
                replace(
                    submission,
                    benchmark_id=self.their_benchmark.id,
                    benchmark_version_id=self.their_benchmark.version_id,
                    user_id=their_user.id,
                    organization_id=their_organization.id if n % 2 else None,
                )
            )

    def new_user(self) -> infra.User:
        name = f"Somebody{next(self.numbers)}"
        return infra.User(f"{name}@example.com", name, display_name="Some Body", profile=PROFILE)

    def prepare(self) -> None:
        """Make the records of a turn, because making them is not measured."""
        self.drafts = [self.new_user() for _ in range(TURN)]
        names = [f"Some Body {next(self.numbers)}" for _ in range(TURN)]
        self.edits = [replace(self.user, display_name=name) for name in names]
        self.their_edits = [replace(self.their_user, display_name=name) for name in names]

    def pairs(self) -> dict[str, tuple[Work, Work]]:
        """Return our call and theirs by name."""
        email, page = self.user.email, infra.Query(per_page=20)

        return {
            "create a user": (
                lambda: self.users.create(self.drafts.pop()),
                lambda: self.their_users.create(self.drafts.pop()),
            ),
            "find_by_email": (
                lambda: self.users.find_by_email(email),
                lambda: self.their_users.find_by_email(email),
            ),
            "update a user": (
                lambda: self.users.update(self.edits.pop()),
                lambda: self.their_users.update(self.their_edits.pop()),
            ),
            "find_by_slug, with tags": (
                lambda: self.benchmarks.find_by_slug("benchmark-7"),
                lambda: self.their_benchmarks.find_by_slug("benchmark-7"),
            ),
            "page of 20 benchmarks": (
                lambda: self.benchmarks.page(page),
                lambda: self.their_benchmarks.page(1, 20),
            ),
            "leaderboard of 30": (
                lambda: self.submissions.leaderboard(self.benchmark.id),
                lambda: self.their_submissions.leaderboard(self.their_benchmark.id),
            ),
        }

    def check(self) -> None:
        """Assert that both sides return the same."""
        theirs = self.their_users.find_by_email(self.user.email)
        ours = self.users.find_by_email(self.user.email)
        assert ours
        assert theirs
        assert (ours.username, ours.profile) == (theirs.username, theirs.profile)
        assert [
            (each.slug, each.tags) for each in self.benchmarks.page(infra.Query(per_page=20)).items
        ] == [
            (each.slug, tuple(tag.tag for tag in each.tags))
            for each in self.their_benchmarks.page(1, 20)
        ]
        assert [
            (each.rank, each.model, each.aggregate_score, each.username, each.organization_name)
            for each in self.submissions.leaderboard(self.benchmark.id)
        ] == [
            (row[0], row[3], row[4], row[8], row[11])
            for row in self.their_submissions.leaderboard(self.their_benchmark.id)
        ]


def of_repositories(bench: Bench) -> None:
    """Report the ratios of the fake repositories."""
    exchange = Exchange()
    exchange.check()
    ratios = [
        bench.compare(
            name,
            mine,
            other,
            target=10,
            rounds=21,
            number=TURN,
            theirs_number=TURN // 10,
            before=exchange.prepare,
            clock=time.thread_time,
        )
        for name, (mine, other) in exchange.pairs().items()
    ]
    bench.report(
        f"Fake repositories, times as fast as SQLAlchemy {sqlalchemy.__version__} on SQLite", ratios
    )


class Crowd:
    """Hold the submissions of one benchmark, in no order, on a fake."""

    def __init__(self, rows: int) -> None:
        database = fakes.FakeDatabase("postgres", fakes.POSTGRES_TABLES, clock=infra.SystemClock())
        self.numbers = random.Random(rows)
        self.user = fakes.FakeUserRepository(database).create(
            infra.User("somebody@example.com", "Somebody")
        )
        self.benchmark = fakes.FakeBenchmarkRepository(database).create(
            infra.Benchmark("benchmark", "Benchmark", category="accuracy", created_by=self.user.id)
        )
        self.submissions = fakes.FakeSubmissionRepository(database)
        for _ in range(rows):
            self.submit()

    def submit(self) -> None:
        age = timedelta(seconds=self.numbers.randrange(10**6))
        self.submissions.create(
            infra.Submission(
                self.benchmark.id,
                self.benchmark.version_id,
                "model",
                self.user.id,
                aggregate_score=self.numbers.random(),
                created_at=LATEST - age,
            )
        )


def of_size(bench: Bench) -> None:
    """Report what many rows cost a fake."""
    rows = bench.size(50_000, 5000)
    small, large = Crowd(1000), Crowd(rows)
    page = infra.Query(per_page=20)
    calls: dict[str, Work] = {
        "page of 20": lambda: large.submissions.page(page),
        "leaderboard of 100": lambda: large.submissions.leaderboard(large.benchmark.id, limit=100),
    }
    extras = [
        bench.compare_cpu(name, call, int, limit=100_000, rounds=11, number=1)
        for name, call in calls.items()
    ]
    bench.report_extras(f"FakeDatabase with {rows} rows, microseconds of CPU for a call", extras)
    flat = bench.compare(
        "create a submission",
        large.submit,
        small.submit,
        target=0.75,
        rounds=21,
        number=100,
        clock=time.thread_time,
    )
    bench.report(f"FakeDatabase with {rows} rows, times as fast as with 1000", [flat])


def main() -> int:
    bench = Bench(short=arguments(__doc__).parse_args().short)
    of_redis(bench)
    of_storage(bench)
    of_repositories(bench)
    of_size(bench)
    return int(bench.missed)


if __name__ == "__main__":
    sys.exit(main())
