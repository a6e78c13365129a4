"""Compare AuditLog.record with a plain INSERT of the same row, in one thread and in ten.

In a transaction of the pool, as programs use it, and with the driver's bare cursor.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [str(ROOT)] + [
    entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent
]

import infra
from bench.database import database
from bench.measure import Bench, Ratio, Work, arguments
from tests import services

THREADS = 10
KEY = "bench" * 8
DATA = {"from": "draft", "to": "under_review", "amount": 12.5, "tags": ["a", "b"], "by_hand": True}
INSERT = (
    "INSERT INTO infra_audit (created_at, actor, action, subject, version, data) "
    "VALUES (%s, %s, %s, %s, %s, %s)"
)


def recorded(pool: infra.ConnectionPool, *, block: bool) -> Callable[[int], object]:
    audit = infra.AuditLog(pool)

    def write(number: int) -> None:
        for turn in range(number):
            with pool.transaction() if block else contextlib.nullcontext():
                audit.record("user:17", "order.status", f"order:{turn % 100}", DATA)

    return write


def by_hand(pool: infra.ConnectionPool, *, block: bool) -> Callable[[int], object]:
    """Return a plain INSERT of the same row: in a transaction of the pool, or with the driver."""
    mysql = pool.engine == "mysql"
    statement = INSERT if mysql else f"{INSERT} RETURNING id"

    def insert(row: tuple[object, ...]) -> None:
        if block:
            with pool.transaction():
                if mysql:
                    pool.execute(statement, row)
                else:
                    pool.fetch_one(statement, row)
            return
        with pool.connection() as raw, raw.cursor() as cursor:
            cursor.execute(statement, row)
            assert cursor.lastrowid if mysql else cursor.fetchone()

    def write(number: int) -> None:
        for turn in range(number):
            now = datetime.now(timezone.utc)
            at = now.replace(tzinfo=None) if mysql and not block else now
            insert((at, "user:17", "order.status", f"order:{turn % 100}", None, json.dumps(DATA)))

    return write


def in_threads(write: Callable[[int], object], number: int) -> Work:
    executor = ThreadPoolExecutor(THREADS)

    def turn() -> None:
        for _ in executor.map(write, [number] * THREADS):
            pass

    return turn


def ratios(bench: Bench, pool: infra.ConnectionPool, *, block: bool) -> list[Ratio]:
    """Return the ratios of a transaction with one entry, which are promised, or to the bare driver.

    The bare driver lacks the deadline, the retries and the errors of the pool: no promise.
    """
    server = pool.health_check().server.split()[0]
    ours, theirs = recorded(pool, block=block), by_hand(pool, block=block)
    words, target = ("", 0.83) if block else (" driver", 0)
    return [
        bench.compare(
            f"{server}{words}, one thread",
            lambda: ours(200),
            lambda: theirs(200),
            target=target,
            rounds=31,
            number=1,
        ),
        bench.compare(
            f"{server}{words}, ten",
            in_threads(ours, 50),
            in_threads(theirs, 50),
            target=target,
            rounds=31,
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


def main() -> int:
    bench = Bench(short=arguments(__doc__).parse_args().short)
    try:
        found, rates = list[Ratio](), list[str]()
        for name in ("postgres", "mariadb"):
            with database(name, max_connections=THREADS) as pool:
                infra.Migrator(pool).apply()
                for block in (True, False):
                    found += ratios(bench, pool, block=block)
                rates.append(seal_rates(pool))
        bench.report("AuditLog.record, times as fast as a plain INSERT", found)
        print("\n".join(rates))
        return int(bench.missed)
    finally:
        services.stop_shared()


if __name__ == "__main__":
    sys.exit(main())
