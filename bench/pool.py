"""Compare ConnectionPool with other pools and with the bare drivers, on Postgres and MariaDB."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import sys
import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

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
from bench.database import database, login, process
from bench.measure import Bench, Work, arguments
from tests import services

PHONE, HASH_KEY = "+905551234567", "k" * 32
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


@dataclass(frozen=True)
class Note:
    text: str
    done: bool = False
    id: uuid.UUID = None  # type: ignore[assignment]
    created_at: datetime = None  # type: ignore[assignment]


class Notes(infra.SqlRepository[Note]):
    record = Note
    table = "notes"
    resource = "note"


def session_of(pool: infra.ConnectionPool) -> Any:
    """Return the driver's connection that the pool lends next, so that both sides use one session.

    See ``one_core`` for the reason. The pool has set types and time zone: values are UUIDs and in
    UTC, so the code by hand need not convert them.
    """
    with pool.connection() as raw:
        return raw


def of_a_note(pool: infra.ConnectionPool) -> tuple[Work, Work]:
    """Return ``find_by_id`` on Postgres, and the same by hand."""
    pool.execute(
        "CREATE TABLE notes (text TEXT, done BOOLEAN, id UUID PRIMARY KEY, created_at TIMESTAMPTZ)"
    )
    notes = Notes(pool)
    note = notes.create(Note("buy milk"))
    raw = session_of(pool)

    def by_hand() -> Note | None:
        with raw.cursor() as cursor:
            cursor.execute(
                "SELECT text, done, id, created_at FROM notes WHERE id = %s", (str(note.id),)
            )
            row = cursor.fetchone()
        return Note(row[0], row[1], row[2], row[3]) if row else None

    def ours() -> Note | None:
        return notes.find_by_id(note.id)

    assert ours() == by_hand() == note
    return ours, by_hand


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
            bench.report_extras(
                "Repositories, microseconds of client CPU for one call, beside the same by hand",
                [
                    bench.compare_cpu(
                        name,
                        *of_both(pool),
                        limit=25,
                        rounds=200,
                        number=20,
                        server=process(pool),
                    )
                    for name, pool, of_both in (
                        ("find_by_id, psycopg2", postgres, of_a_note),
                        ("find_by_phone, PyMySQL", mariadb, of_a_user),
                    )
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
