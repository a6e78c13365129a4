"""An empty database on a private server, and the login of other drivers to it."""

from __future__ import annotations

import contextlib
import urllib.parse
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import infra
from tests import services


@contextlib.contextmanager
def database(service: str) -> Iterator[infra.ConnectionPool]:
    """Yield a pool on a new, empty database, and drop the database at the end."""
    server = services.shared(service)
    name = f"bench_{uuid.uuid4().hex[:20]}"
    with infra.create_pool(infra.DatabaseConfig(url=server)) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        try:
            with infra.create_pool(
                infra.DatabaseConfig(url=f"{server.rpartition('/')[0]}/{name}")
            ) as pool:
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
    program = Path(f"/proc/{number}/comm")
    known = ("postgres", "maria", "mysql")
    is_here = program.is_file() and program.read_text().startswith(known)
    return number if is_here else 0


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
