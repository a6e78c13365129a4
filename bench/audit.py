"""Compare AuditLog.record with a plain INSERT of the same row, in one thread and in ten."""

from __future__ import annotations

import contextlib
import json
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [str(ROOT)] + [
    entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent
]

import infra
from bench.measure import Bench, Ratio, Work, arguments
from tests import services
from tests.conftest import sql

THREADS = 10
KEY = "bench" * 8
DATA = {"from": "draft", "to": "under_review", "amount": 12.5, "tags": ["a", "b"], "by_hand": True}
INSERT = (
    "INSERT INTO infra_audit (created_at, actor, action, subject, version, data) "
    "VALUES (%s, %s, %s, %s, %s, %s)"
)


@contextlib.contextmanager
def pool_on(url: str) -> Iterator[infra.ConnectionPool]:
    name = f"bench_{uuid.uuid4().hex[:12]}"
    sql(url, f"CREATE DATABASE {name}")
    own = url.rpartition("/")[0] + "/" + name
    try:
        with infra.create_pool(infra.DatabaseConfig(url=own, max_connections=THREADS)) as pool:
            infra.Migrator(pool).apply()
            yield pool
    finally:
        sql(url, f"DROP DATABASE {name}")


def recorded(pool: infra.ConnectionPool) -> Callable[[int], object]:
    audit = infra.AuditLog(pool)

    def write(number: int) -> None:
        for turn in range(number):
            audit.record("user:17", "order.status", f"order:{turn % 100}", DATA)

    return write


def by_hand(pool: infra.ConnectionPool) -> Callable[[int], object]:
    """Return the same with the driver's cursor, over a session of the pool. It learns the id."""
    mysql = pool.engine == "mysql"
    statement = INSERT if mysql else f"{INSERT} RETURNING id"

    def write(number: int) -> None:
        for turn in range(number):
            now = datetime.now(timezone.utc)
            at = now.replace(tzinfo=None) if mysql else now
            row = (at, "user:17", "order.status", f"order:{turn % 100}", None, json.dumps(DATA))
            with pool.connection() as raw, raw.cursor() as cursor:
                cursor.execute(statement, row)
                assert cursor.lastrowid if mysql else cursor.fetchone()

    return write


def in_threads(write: Callable[[int], object], number: int) -> Work:
    executor = ThreadPoolExecutor(THREADS)

    def turn() -> None:
        for _ in executor.map(write, [number] * THREADS):
            pass

    return turn


class Durable(services.Server):
    """A server that flushes each commit to the disk, as an installed one does."""

    #: options of the command, of which the last ones count
    flushing: tuple[str, ...]

    def command(self) -> list[str]:
        return [*super().command(), *self.flushing]


class DurablePostgres(Durable, services.PostgresServer):
    flushing = "-c", "fsync=on", "-c", "synchronous_commit=on", "-c", "full_page_writes=on"


class DurableMariaDb(Durable, services.MariaDbServer):
    flushing = ("--innodb-flush-log-at-trx-commit=1",)


DURABLE = {"postgres": DurablePostgres, "mariadb": DurableMariaDb}


def ratios(bench: Bench, pool: infra.ConnectionPool, words: str, target: float) -> list[Ratio]:
    server, ours, theirs = pool.health_check().server.split()[0], recorded(pool), by_hand(pool)
    return [
        bench.compare(
            f"{server}{words}, one",
            lambda: ours(200),
            lambda: theirs(200),
            target=target,
            rounds=21,
            number=1,
        ),
        bench.compare(
            f"{server}{words}, ten",
            in_threads(ours, 50),
            in_threads(theirs, 50),
            target=target,
            rounds=21,
            number=1,
        ),
    ]


def seal_rates(pool: infra.ConnectionPool) -> str:
    audit, began = infra.AuditLog(pool, key=KEY), time.perf_counter()
    head = audit.seal()
    sealed = time.perf_counter()
    if not audit.verify(head).ok:
        raise RuntimeError("the entries are not in order")
    checked, number = time.perf_counter(), int(head.partition(":")[0])
    rates = f"{number / (sealed - began):,.0f} sealed, {number / (checked - sealed):,.0f} verified"
    return f"  {pool.health_check().server}: {rates} a second"


def on_durable(bench: Bench, name: str) -> list[Ratio]:
    binary = services.SERVICES[name].find()
    if binary is None:
        raise services.Missing(f"no {name} server")
    server = DURABLE[name](binary).start()
    try:
        with pool_on(server.url) as pool:
            return ratios(bench, pool, "", 0.83)
    finally:
        server.stop()


def main() -> int:
    bench = Bench(short=arguments(__doc__).parse_args().short)
    try:
        found, rates = list[Ratio](), list[str]()
        for name in DURABLE:
            found += on_durable(bench, name)
            with pool_on(services.shared(name)) as pool:
                found += ratios(bench, pool, " unsynced", 0)
                rates.append(seal_rates(pool))
        bench.report("AuditLog.record, times as fast as a plain INSERT", found)
        print("\n".join(rates))
        return int(bench.missed)
    finally:
        services.stop_shared()


if __name__ == "__main__":
    sys.exit(main())
