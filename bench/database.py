"""An empty database on a private server, the login of other drivers, and what a call sends."""

from __future__ import annotations

import contextlib
import urllib.parse
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import psycopg2.extensions

import infra
from bench.measure import Work
from tests import services


@contextlib.contextmanager
def database(service: str, **settings: Any) -> Iterator[infra.ConnectionPool]:
    """Yield a pool on a new, empty database, and drop the database at the end.

    ``settings`` are those of ``infra.DatabaseConfig``.
    """
    server = services.shared(service)
    name = f"bench_{uuid.uuid4().hex[:20]}"
    with infra.create_pool(infra.DatabaseConfig(url=server)) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        try:
            url = f"{server.rpartition('/')[0]}/{name}"
            with infra.create_pool(infra.DatabaseConfig(url=url, **settings)) as pool:
                yield pool
        finally:
            admin.execute(f"DROP DATABASE {name}")


def process(pool: infra.ConnectionPool) -> int:
    """Return the id of the server process that serves this thread, or 0 if it runs elsewhere."""
    if pool.engine == "postgres":
        [(number,)] = pool.fetch_all("SELECT pg_backend_pid()")
    else:
        [(name,)] = pool.fetch_all("SELECT @@pid_file")
        file = Path(name)
        number = int(file.read_text()) if file.is_file() else 0
    return number if _is_server(number) else 0


def processes(pool: infra.ConnectionPool) -> list[int]:
    """Return the ids of the server processes that serve the pool's database, or [] if elsewhere."""
    if pool.engine != "postgres":
        return [*filter(None, [process(pool)])]
    found = pool.fetch_all(
        "SELECT pid FROM pg_stat_activity "
        "WHERE datname = current_database() AND backend_type = 'client backend'"
    )
    numbers = [number for (number,) in found]
    return numbers if all(map(_is_server, numbers)) else []


def _is_server(number: int) -> bool:
    program = Path(f"/proc/{number}/comm")
    return program.is_file() and program.read_text().startswith(("postgres", "maria", "mysql"))


def login(pool: infra.ConnectionPool, name_of_database: str) -> dict[str, Any]:
    """Return the pool's host, port, user, password and database, as arguments of a driver."""
    url = urllib.parse.urlsplit(pool.config.url)
    found = {
        "host": url.hostname,
        "port": url.port,
        "user": url.username and urllib.parse.unquote(url.username),
        "password": url.password and urllib.parse.unquote(url.password),
        name_of_database: url.path.removeprefix("/"),
    }
    return {name: value for name, value in found.items() if value is not None}


def session_of(pool: infra.ConnectionPool) -> Any:
    """Return the driver's connection that the pool lends next, so that both sides use one session.

    See ``one_core`` for the reason. The pool has set types and time zone: values are UUIDs and in
    UTC, so the code by hand need not convert them.
    """
    with pool.connection() as raw:
        return raw


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
