"""Compare ConnectionPool with other pools and with the bare drivers, on Postgres and MariaDB."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [str(ROOT)] + [
    entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent
]

import psycopg2
import psycopg2.pool
import pymysql
import sqlalchemy
from dbutils.pooled_db import PooledDB

import infra
from bench.database import database, login
from bench.measure import Bench, Work, arguments
from tests import services

COLUMNS = ("id", "name", "score", "seen_at")
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, timezone.utc)
Row = tuple[int, str, float, datetime]


def rows(count: int) -> list[Row]:
    """Return ``count`` people."""
    return [(n, f"somebody's name {n}", n / 7, NOW + timedelta(seconds=n)) for n in range(count)]


def checkouts(
    pool: infra.ConnectionPool, end: contextlib.ExitStack
) -> dict[str, tuple[float, Work]]:
    """Return for each other pool the promise, and a call that takes and returns a connection.

    Each pool has room for ten connections.
    """
    arguments = login(pool, "dbname")
    queue_pool = sqlalchemy.create_engine(
        "postgresql+psycopg2://", connect_args=arguments, pool_size=10, max_overflow=0
    ).pool
    end.callback(queue_pool.dispose)
    pooled_db = PooledDB(
        psycopg2, mincached=1, maxcached=10, maxconnections=10, blocking=True, **arguments
    )
    end.callback(pooled_db.close)
    threaded = psycopg2.pool.ThreadedConnectionPool(1, 10, **arguments)
    end.callback(threaded.closeall)
    return {
        f"SQLAlchemy {sqlalchemy.__version__} QueuePool": (3, lambda: queue_pool.connect().close()),
        f"DBUtils {importlib.metadata.version('dbutils')} PooledDB": (
            1,
            lambda: pooled_db.connection().close(),
        ),
        "ThreadedConnectionPool": (0.4, lambda: threaded.putconn(threaded.getconn())),
    }


def copy(
    pool: infra.ConnectionPool, people: list[Row], end: contextlib.ExitStack
) -> tuple[Work, Work]:
    """Return ``insert_many``, and COPY of text that a program makes of the same rows."""
    raw = end.enter_context(contextlib.closing(psycopg2.connect(**login(pool, "dbname"))))

    def escaped(text: str) -> str:
        return (
            text.replace("\\", "\\\\")
            .replace("\t", "\\t")
            .replace("\n", "\\n")
            .replace("\r", "\\r")
        )

    def by_hand() -> None:
        lines = [
            "\t".join((str(id), escaped(name), str(score), str(at)))
            for id, name, score, at in people
        ]
        with raw, raw.cursor() as cursor:
            cursor.copy_expert(
                "COPY people (id, name, score, seen_at) FROM STDIN", io.StringIO("\n".join(lines))
            )

    return lambda: pool.insert_many("people", COLUMNS, people), by_hand


def executemany(
    pool: infra.ConnectionPool, people: list[Row], end: contextlib.ExitStack
) -> tuple[Work, Work]:
    """Return ``insert_many`` and PyMySQL's executemany, which too sends many rows a statement."""
    raw = pymysql.connect(**login(pool, "database"), charset="utf8mb4")
    end.callback(raw.close)

    def by_hand() -> None:
        with raw.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO people (id, name, score, seen_at) VALUES (%s, %s, %s, %s)", people
            )
        raw.commit()

    return lambda: pool.insert_many("people", COLUMNS, people), by_hand


def table(pool: infra.ConnectionPool, count: int, double: str, moment: str) -> Work:
    """Create the table people; return a function that checks its rows and empties it."""
    pool.execute(
        "CREATE TABLE people (id INTEGER NOT NULL, name VARCHAR(50), "
        f"score {double}, seen_at {moment})"
    )

    def empty() -> None:
        assert pool.fetch_one("SELECT count(*) FROM people") in ((0,), (count,))
        pool.execute("TRUNCATE TABLE people")

    return empty


def main() -> int:
    bench = Bench(short=arguments(__doc__).parse_args().short)
    people = rows(bench.size(100_000, 20_000))
    try:
        with (
            database("postgres") as postgres,
            database("mariadb") as mariadb,
            contextlib.ExitStack() as end,
        ):

            def lend() -> None:
                with postgres.connection():
                    pass

            server = postgres.health_check().server
            bench.report(
                f"ConnectionPool, connection() on {server}, times as fast as",
                [
                    bench.compare(
                        name,
                        lend,
                        theirs,
                        target=target,
                        rounds=127,
                        number=2000,
                        clock=time.thread_time,
                    )
                    for name, (target, theirs) in checkouts(postgres, end).items()
                ],
            )
            empty_postgres = table(postgres, len(people), "DOUBLE PRECISION", "TIMESTAMPTZ")
            empty_mariadb = table(mariadb, len(people), "DOUBLE", "DATETIME(6)")
            bulk = {
                "psycopg2, COPY": (*copy(postgres, people, end), empty_postgres),
                "PyMySQL, executemany": (*executemany(mariadb, people, end), empty_mariadb),
            }
            bench.report(
                f"insert_many of {len(people)} rows, on each server, times as fast as",
                [
                    bench.compare(name, ours, theirs, target=0.9, rounds=11, number=1, before=empty)
                    for name, (ours, theirs, empty) in bulk.items()
                ],
            )
        return int(bench.missed)
    finally:
        services.stop_shared()


if __name__ == "__main__":
    sys.exit(main())
