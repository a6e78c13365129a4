"""Compare repositories with SQLAlchemy's ORM, with peewee and with the same by hand.

One table of one's own is on Postgres and MariaDB (``bench/products.py``). The library's own
repositories are those of benchmarks with their tags, on Postgres, and of phone users, on MariaDB.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import math
import sys
import time
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [str(ROOT)] + [
    entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent
]

import sqlalchemy

import infra
from bench import orm
from bench.database import database, login, process, processes, sent, session_of
from bench.measure import Bench, Extra, Ratio, Work, arguments, one_core
from bench.products import (
    BULK,
    FIRST_PAGE,
    ByHand,
    Ours,
    Peewee,
    Products,
    Side,
    SqlAlchemy,
    Writer,
    of_each,
    shown,
)
from bench.world import World
from tests import services

ROWS = 1000
PHONE, HASH_KEY = "+905551234567", "k" * 32
#: how many times as fast as each rival ``create_many`` and ``upsert`` are
WRITES = {"SQLAlchemy": 1.5, "peewee": 1.2}
#: calls in a turn: about 10 milliseconds of the slower side
TURNS = {"create": 10, "get": 20, "page of 100": 4}


class Table:
    """The table of products, filled, and each side that reads and writes it."""

    def __init__(self, pool: infra.ConnectionPool, end: contextlib.ExitStack) -> None:
        pool.execute(infra.ddl(Products, pool.engine))
        pool.execute("CREATE INDEX products_created_at_idx ON products (created_at, id)")
        self.pool = pool
        self.ours, self.hand = Ours(Products.on(pool)), ByHand(pool)
        self.rivals: dict[str, tuple[Writer, float]] = {  # and the promise: times less CPU
            "SQLAlchemy": (SqlAlchemy(pool, end), 2),
            "peewee": (Peewee(pool, end), 1.2),
        }
        made = [
            self.ours.create(f"A-{n}", f"Product {n}", "What it is made of, and for whom.", n)
            for n in range(ROWS)
        ]
        self.product = made[ROWS // 2]
        self.check(made[:100])

    def check(self, first: list[Any]) -> None:
        """Assert that each side reads the same records, and stores what the others read."""
        sides: list[Side] = [self.ours, self.hand, *(side for side, _ in self.rivals.values())]
        for side in sides:
            assert shown(side.get(self.product.id)) == self.product
            assert [shown(record) for record in side.page()] == first
            assert side.get(infra.new_id()) is None
            stored = shown(side.create("B-1", "Spoon", "", 3))
            assert (stored.sku, stored.name, stored.description, stored.stock) == (
                "B-1", "Spoon", "", 3,
            )  # fmt: skip
            assert [shown(other.get(stored.id)) for other in sides] == [stored] * len(sides)

    def ratios(self, bench: Bench) -> list[Ratio]:
        """Compare our calls with each rival's: client CPU on one core, then elapsed time."""
        ours, servers = of_each(self.ours, self.product.id), processes(self.pool)
        found: list[Ratio] = []
        for call, work in ours.items():
            for name, (side, promise) in self.rivals.items():
                theirs = of_each(side, self.product.id)[call]
                with one_core(*servers):
                    cpu = bench.compare(
                        f"{call}, {name}",
                        work,
                        theirs,
                        target=promise,
                        rounds=31,
                        number=TURNS[call],
                        clock=time.thread_time,
                    )
                elapsed = bench.compare(
                    "  elapsed time", work, theirs, target=0, rounds=21, number=TURNS[call]
                )
                found += cpu, elapsed
        return found

    def writes(self, bench: Bench) -> list[Ratio]:
        """Compare the elapsed time of many records at once, and of a record that exists."""
        count, id, found = bench.size(10_000, 1000), infra.new_id(), []
        ours = self.ours
        for name, (side, _) in self.rivals.items():
            for writer in (ours, side):
                assert len(writer.create_many(10)) == 10
                assert shown(writer.upsert(id, 7)) == shown(ours.get(id))
            found += [
                bench.compare(
                    f"create_many, {name}",
                    functools.partial(ours.create_many, count),
                    functools.partial(side.create_many, count),
                    target=WRITES[name],
                    rounds=9,
                    number=1,
                    before=self.without_bulk,
                ),
                bench.compare(
                    f"upsert, {name}",
                    functools.partial(ours.upsert, id, 1),
                    functools.partial(side.upsert, id, 2),
                    target=WRITES[name],
                    rounds=21,
                    number=20,
                ),
            ]
        return found

    def walks(self, bench: Bench) -> list[Ratio]:
        """Compare a walk over all records: client CPU on one core, then elapsed time.

        Python's garbage collector is on: it is a part of what a walk costs a program.
        """
        count = bench.size(100_000, 5000)
        found: list[Ratio] = []
        self.pool.execute("DELETE FROM products")
        for _ in range(count // 5000):
            self.ours.create_many(5000)
        ours = functools.partial(walk, self.ours)
        assert ours() == count
        for name, (side, promise) in self.rivals.items():
            theirs = functools.partial(walk, side)
            assert theirs() == count
            with one_core(*processes(self.pool)):
                for label, target, collector in (
                    (f"iterate, {name}", promise, True),
                    ("  without the collector", 0, False),
                ):
                    ratio = bench.compare(
                        label,
                        ours,
                        theirs,
                        target=target,
                        rounds=7,
                        number=1,
                        clock=time.thread_time,
                        collector=collector,
                    )
                    found.append(ratio)
            found.append(
                bench.compare("  elapsed time", ours, theirs, target=0, rounds=5, number=1)
            )
        return found

    def without_bulk(self) -> None:
        self.pool.execute("DELETE FROM products WHERE sku = %s", (BULK,))

    def extras(self, bench: Bench, driver: str) -> list[Extra]:
        """Compare our calls with the same by hand."""
        ours, hand = of_each(self.ours, self.product.id), of_each(self.hand, self.product.id)
        return [
            bench.compare_cpu(
                f"{call}, {driver}",
                work,
                hand[call],
                limit=25 if call == "get" else math.inf,
                rounds=200,
                number=TURNS[call],
                server=process(self.pool),
            )
            for call, work in ours.items()
        ]


def walk(side: Writer) -> int:
    """Return the number of records, each of which is read and dropped."""
    return sum(1 for _ in side.iterate())


def of_a_user(pool: infra.ConnectionPool) -> tuple[Work, Work]:
    """Return ``find_by_phone`` on MariaDB, and the same by hand."""
    infra.Migrator(pool).apply()
    users = infra.MySQLPhoneUserRepository(pool, HASH_KEY)
    user = users.create_for_phone(PHONE, "customer")
    raw = session_of(pool)

    def by_hand() -> infra.PhoneUser | None:
        with raw.cursor() as cursor:
            cursor.execute(
                "SELECT phone_hash, country_code, user_type, is_verified, is_blocked, id, "
                "created_at, updated_at, last_login_at "
                "FROM phone_users WHERE phone_hash = %s LIMIT 1",
                (infra.hash_phone(PHONE, HASH_KEY),),
            )
            row = cursor.fetchone()
        if row is None:
            return None
        return infra.PhoneUser(
            phone_hash=row[0],
            country_code=row[1],
            user_type=row[2],
            is_verified=bool(row[3]),
            is_blocked=bool(row[4]),
            id=uuid.UUID(row[5]),
            created_at=row[6],
            updated_at=row[7],
            last_login_at=row[8],
        )

    def ours() -> infra.PhoneUser | None:
        return users.find_by_phone(PHONE)

    assert ours() == by_hand() == user
    return ours, by_hand


class BenchmarksByHand:
    """Send the statements of PostgresBenchmarkRepository, and make the same records."""

    columns = (
        "slug, name, description, long_description, category, status, version, license, "
        "created_by, evaluation_criteria, execution_config, test_cases, id, version_id, "
        "created_at, updated_at, "
        "ARRAY(SELECT tag FROM benchmark_tags WHERE benchmark_id = benchmarks.id ORDER BY tag)"
    )

    def __init__(self, pool: infra.ConnectionPool) -> None:
        self.raw = session_of(pool)

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


class Exchange:
    """Benchmarks with their tags: PostgresBenchmarkRepository, by hand, and SQLAlchemy's ORM."""

    def __init__(self, pool: infra.ConnectionPool, end: contextlib.ExitStack) -> None:
        infra.Migrator(pool).apply()
        self.world = World(0)
        self.world.load(pool)
        pool.execute("ANALYZE")
        self.pool = pool
        self.ours, self.hand = infra.PostgresBenchmarkRepository(pool), BenchmarksByHand(pool)
        engine = sqlalchemy.create_engine(
            "postgresql+psycopg2://", connect_args=login(pool, "dbname")
        )
        end.callback(engine.dispose)
        self.theirs = orm.BenchmarkRepository(engine)
        self.slug = "benchmark-7"
        page = self.page()
        assert page == self.hand.page()
        assert [(each.id, each.tags) for each in page] == [
            (each.id, tuple(tag.tag for tag in each.tags)) for each in self.theirs.page(1, 100)
        ]
        found = self.ours.find_by_slug(self.slug)
        assert found == self.hand.find_by_slug(self.slug) is not None

    def page(self) -> list[infra.Benchmark]:
        return self.ours.page(FIRST_PAGE).items

    def their_page(self) -> None:
        for each in self.theirs.page(1, 100):
            for tag in each.tags:
                assert tag.tag

    def new(self) -> infra.Benchmark:
        slug, tags = f"new-{infra.new_id()}", ("a", "b", "c", "d", "e")
        user = self.world.users[0]
        return infra.Benchmark(slug, "New", category="cost", created_by=user, tags=tags)

    def count(self, bench: Bench) -> None:
        """Print how many statements a page takes, and remember a missed promise."""
        with_total = infra.Query(per_page=100, with_total=True)
        counts = {
            "page of 100": len(sent(self.pool, self.page)),
            "with its total": len(sent(self.pool, lambda: self.ours.page(with_total))),
        }
        mark = bench.miss() if max(counts.values()) > 3 else ""
        found = ", ".join(f"{name} {count}" for name, count in counts.items())
        print(f"Statements for benchmarks with their tags, at most 3 promised: {found}{mark}")

    def extras(self, bench: Bench) -> list[Extra]:
        """Compare our calls with the same by hand."""
        server = process(self.pool)
        return [
            bench.compare_cpu(
                "page of 100, each benchmark",
                self.page,
                self.hand.page,
                limit=25,
                rounds=100,
                number=3,
                records=100,
                server=server,
            ),
            bench.compare_cpu(
                "find_by_slug, psycopg2",
                lambda: self.ours.find_by_slug(self.slug),
                lambda: self.hand.find_by_slug(self.slug),
                limit=math.inf,
                rounds=200,
                number=20,
                server=server,
            ),
        ]

    def ratios(self, bench: Bench) -> list[Ratio]:
        """Compare our elapsed time with the ORM's."""
        return [
            bench.compare(
                "page of 100", self.page, self.their_page, target=2, rounds=51, number=10
            ),
            bench.compare(
                "find_by_slug",
                lambda: self.ours.find_by_slug(self.slug),
                lambda: self.theirs.find_by_slug(self.slug),
                target=0,
                rounds=31,
                number=100,
            ),
            bench.compare(
                "create, with 5 tags",
                lambda: self.ours.create(self.new()),
                lambda: self.theirs.create(self.new()),
                target=0,
                rounds=31,
                number=20,
            ),
        ]


def main() -> int:
    bench = Bench(short=arguments(__doc__).parse_args().short)
    version = importlib.metadata.version("peewee")
    rivals = f"SQLAlchemy {sqlalchemy.__version__}'s ORM and peewee {version}"
    try:
        with contextlib.ExitStack() as end:
            tables = {
                driver: Table(end.enter_context(database(server)), end)
                for driver, server in (("psycopg2", "postgres"), ("PyMySQL", "mariadb"))
            }
            exchange = Exchange(end.enter_context(database("postgres")), end)
            accounts = end.enter_context(database("mariadb"))
            extras = [
                extra for driver, table in tables.items() for extra in table.extras(bench, driver)
            ]
            extras.append(
                bench.compare_cpu(
                    "find_by_phone, PyMySQL",
                    *of_a_user(accounts),
                    limit=25,
                    rounds=200,
                    number=20,
                    server=process(accounts),
                )
            )
            bench.report_extras(
                "Microseconds of client CPU for a call, beside the same by hand",
                extras + exchange.extras(bench),
            )
            for table in tables.values():
                server = table.pool.health_check().server
                bench.report(
                    f"Repository on {server}, times less client CPU than {rivals}",
                    table.ratios(bench),
                )
                bench.report(
                    f"Writes on {server}, elapsed time, times as fast as {rivals}",
                    table.writes(bench),
                )
                rows = bench.size("100,000", "5,000")
                bench.report(
                    f"A walk over {rows} records on {server}, client CPU, as above",
                    table.walks(bench),
                )
            exchange.count(bench)
            bench.report(
                f"Benchmarks, elapsed time, times as fast as SQLAlchemy {sqlalchemy.__version__}",
                exchange.ratios(bench),
            )
        return int(bench.missed)
    finally:
        services.stop_shared()


if __name__ == "__main__":
    sys.exit(main())
