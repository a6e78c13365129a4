"""SIGKILL to servers and to clients while they write: nothing acknowledged is lost, and nothing is
written twice. `make prove PART=kills` kills ten times as often."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import infra
from tests.contract.backends import eventually
from tests.scale import scaled
from tests.services import Server

pytestmark = pytest.mark.real

ROOT = Path(__file__).resolve().parent.parent.parent
KILLS = scaled(100)  # of each kind of server, and as many of its clients
WRITERS = 4
ROWS = 300  # of one insert_many
DATABASES = ["mariadb", "mysql", "postgres"]
SESSIONS = {
    "mysql": "SELECT count(*) FROM information_schema.processlist "
    "WHERE db = DATABASE() AND id <> CONNECTION_ID()",
    "postgres": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
}


def durable(server: Server) -> Server:
    """The server, started anew so that it keeps what it commits."""
    server.durable = True
    server.kill()
    server.start()
    return server


def connect(server: Server) -> infra.ConnectionPool:
    return infra.create_pool(infra.DatabaseConfig(url=server.url))


def fetch(pool: infra.ConnectionPool, sql: str) -> list[tuple[Any, ...]]:
    return list(pool.fetch_all(sql))


class Writers:
    """Threads that call ``write(number)``, each time with a new number, until they are stopped.

    ``done`` holds the numbers whose call returned, ``unknown`` those whose call raised.
    """

    def __init__(self, write: Callable[[int], object], numbers: Iterator[int]) -> None:
        self.done: list[int] = []
        self.unknown: list[int] = []
        self._write, self._numbers = write, numbers
        self._changed = threading.Condition()
        self._stopped = False
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(WRITERS)]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a writer hangs"

    def _run(self) -> None:
        while not self._stopped:
            number = next(self._numbers)
            try:
                self._write(number)
            except infra.InfrastructureError:
                into = self.unknown
            else:
                into = self.done
            with self._changed:
                into.append(number)
                self._changed.notify_all()

    def wait_for_more(self, count: int) -> None:
        """Wait until ``count`` further calls have returned."""
        with self._changed:
            wanted = len(self.done) + count
            assert self._changed.wait_for(lambda: len(self.done) >= wanted, 60), "no call returns"


def killed_meanwhile(server: Server, write: Callable[[int], object]) -> Writers:
    """Kill the server at random moments, and start it again, while threads write."""
    draw = random.Random(7)  # which moment that is, differs from run to run all the same
    with Writers(write, itertools.count()) as writers:
        for _ in range(KILLS):
            writers.wait_for_more(draw.randrange(1, 60))
            server.kill()
            server.start()
        writers.wait_for_more(WRITERS)
    return writers


@pytest.mark.parametrize("name", DATABASES)
def test_a_database_server_is_killed(private_server: Callable[[str], Server], name: str) -> None:
    server = durable(private_server(name))
    with connect(server) as pool:
        pool.execute("CREATE TABLE written (n INTEGER NOT NULL, part INTEGER NOT NULL)")

        def write(number: int) -> None:
            if number % 3 == 0:
                pool.execute("INSERT INTO written (n, part) VALUES (%s, 0)", (number,))
            elif number % 3 == 1:
                with pool.transaction():
                    for part in range(2):
                        pool.execute(
                            "INSERT INTO written (n, part) VALUES (%s, %s)", (number, part)
                        )
            else:
                pool.insert_many("written", ("n", "part"), [(number, at) for at in range(ROWS)])

        writers = killed_meanwhile(server, write)
        rows = fetch(pool, "SELECT n, count(*), count(DISTINCT part) FROM written GROUP BY n")
    stored = {number: (count, distinct) for number, count, distinct in rows}
    whole = [(1, 1), (2, 2), (ROWS, ROWS)]
    assert {n: stored.get(n) for n in writers.done} == {n: whole[n % 3] for n in writers.done}
    for number in writers.unknown:
        assert stored.get(number, whole[number % 3]) == whole[number % 3]
    assert {*stored} <= {*writers.done, *writers.unknown}


def test_a_redis_server_is_killed(private_server: Callable[[str], Server]) -> None:
    server = durable(private_server("redis"))
    with infra.RedisClient(infra.CacheConfig(url=server.url)) as client:

        def write(number: int) -> None:
            client.increment(f"n:{number}", 1)

        writers = killed_meanwhile(server, write)
        stored = {number: client.get(f"n:{number}") for number in writers.done}
        assert stored == dict.fromkeys(writers.done, "1")
        assert {client.get(f"n:{number}") for number in writers.unknown} <= {None, "1"}


CLIENT = """
import sys, infra
with infra.create_pool(infra.DatabaseConfig(url=sys.argv[1])) as pool:
    ((number,),) = pool.fetch_all("SELECT n FROM total")
    while True:
        number += 1
        with pool.transaction():
            pool.execute("INSERT INTO written (n, part) VALUES (%s, 0)", (number,))
            pool.execute("UPDATE total SET n = n + 1")
            pool.insert_many("written", ("n", "part"), [(number, at) for at in range(1, {rows})])
        print(number, flush=True)
"""


@pytest.mark.parametrize("name", DATABASES)
def test_a_client_is_killed(private_server: Callable[[str], Server], name: str) -> None:
    server, draw = durable(private_server(name)), random.Random(7)
    script = CLIENT.format(rows=ROWS)
    with connect(server) as pool:
        pool.execute("CREATE TABLE written (n INTEGER NOT NULL, part INTEGER NOT NULL)")
        pool.execute("CREATE TABLE total (n INTEGER NOT NULL)")
        pool.execute("INSERT INTO total VALUES (0)")
        acknowledged = 0
        for _ in range(KILLS):
            command = [sys.executable, "-c", script, server.url]
            with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
                assert child.stdout is not None
                lines = [child.stdout.readline() for _ in range(draw.randrange(1, 20))]
                child.kill()
                lines += child.stdout.read().splitlines(keepends=True)
            whole = [int(line) for line in lines if line.endswith("\n")]
            assert whole == [*range(acknowledged + 1, acknowledged + 1 + len(whole))]
            acknowledged += len(whole)
            eventually(lambda: fetch(pool, SESSIONS[pool.engine]) == [(0,)])
            ((total,),) = fetch(pool, "SELECT n FROM total")
            assert total in (acknowledged, acknowledged + 1)
            acknowledged = total
        rows = fetch(pool, "SELECT n, count(*), count(DISTINCT part) FROM written GROUP BY n")
    assert sorted(rows) == [(number, ROWS, ROWS) for number in range(1, total + 1)]
