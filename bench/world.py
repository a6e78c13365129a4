"""The rows of the benchmark exchange, the same in each run."""

from __future__ import annotations

import bisect
import itertools
import random
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

import infra

T = TypeVar("T")

USERS, ORGANIZATIONS, BENCHMARKS = 2_000, 50, 200
FIRST = datetime(2024, 1, 1, tzinfo=timezone.utc)
TWO_YEARS = timedelta(days=730)


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
