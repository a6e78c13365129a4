"""A process reads, writes and moves millions of rows and keys in little memory.

`make prove PART=size` takes ten times as many.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import infra
from tests.scale import scaled

pytestmark = pytest.mark.real

ROOT = Path(__file__).resolve().parent.parent.parent
ROWS = scaled(5_000_000, 10)
KEYS = scaled(1_000_000, 10)
ROWS_MEMORY = 64 << 20  # bytes that a process may need on top of what it had before: batches
KEYS_MEMORY = 4 << 20
MOVED = scaled(1_000_000, 10), scaled(4_000_000, 10)  # of 500 bytes
MOVED_MEMORY = 100 << 20

GROWTH = r"""
import re, sys, infra
from pathlib import Path

def peak():  # getrusage would count what the parent process held before exec
    return int(re.search("VmHWM:\s*([0-9]+) kB", Path("/proc/self/status").read_text())[1]) * 1024

url, count = sys.argv[1], int(sys.argv[2])
"""
MANY_ROWS = f"""{GROWTH}
def row(n):
    return n, f"row {{n}}, \\\\ and \\t", n / 8

with infra.create_pool(infra.DatabaseConfig(url=url)) as pool:
    pool.execute("CREATE TABLE many (n INTEGER NOT NULL, label VARCHAR(40), score FLOAT8)")
    pool.insert_many("many", ("n", "label", "score"), map(row, range(1000)))
    pool.execute("DELETE FROM many")
    before = peak()
    assert pool.insert_many("many", ("n", "label", "score"), map(row, range(count))) == count
    assert list(pool.fetch_all("SELECT count(*), count(DISTINCT n) FROM many")) == [(count, count)]
    seen = 0
    for found in pool.stream("SELECT n, label, score FROM many ORDER BY n"):
        assert tuple(found) == row(seen), found
        seen += 1
    assert seen == count
    print(peak() - before)
"""
MANY_KEYS = f"""{GROWTH}
with infra.RedisClient(infra.CacheConfig(url=url)) as client:
    cache = infra.RedisCacheProvider(client, prefix="many")
    cache.set_many({{f"warm:{{n}}": n for n in range(1000)}})
    cache.delete_pattern("warm:*")
    before = peak()
    for start in range(0, count, 1000):
        cache.set_many({{f"n:{{n}}": n for n in range(start, start + 1000)}})
    for start in range(0, count, 1000):
        wanted = {{f"n:{{n}}": n for n in range(start, start + 1000)}}
        assert cache.get_many([*wanted]) == wanted
    assert cache.delete_pattern("n:*") == count
    print(peak() - before)
"""
MOVE = f"""{GROWTH}
with (
    infra.create_pool(infra.DatabaseConfig(url=url)) as old,
    infra.create_pool(infra.DatabaseConfig(url=sys.argv[3])) as new,
):
    move = infra.RowMove(
        "large",
        source=infra.TableSource(old, "large"),
        target=infra.TableTarget(new, "large"),
        transform=lambda row: {{**row, "label": row["label"].upper()}},
    )
    old.fetch_all("SELECT 1"), new.fetch_all("SELECT 1")  # drivers are loaded before the start
    before = peak()
    assert move.run(limit=count).counts.written == count
    print(peak() - before)
"""


def growth(script: str, url: str, count: int, *others: str) -> int:
    """Run the script in a process of its own, and return by how much its memory grew, in bytes."""
    done = subprocess.run(
        [sys.executable, "-c", script, url, str(count), *others],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("name", ["mariadb", "mysql", "postgres"])
def test_many_rows(database: Callable[[str], str], name: str) -> None:
    assert growth(MANY_ROWS, database(name), ROWS) < ROWS_MEMORY


def test_many_keys(service: Callable[[str], str]) -> None:
    assert growth(MANY_KEYS, service("redis"), KEYS) < KEYS_MEMORY


def fill(pool: infra.ConnectionPool, rows: int) -> None:
    """Insert rows of 500 bytes, on the server: each statement doubles them."""
    pool.execute("INSERT INTO large VALUES (1, %s)", ["x" * 490])
    count = 1
    while count < rows:
        more = min(count, rows - count)
        pool.execute(
            "INSERT INTO large SELECT id + %s, label FROM large WHERE id <= %s", [count, more]
        )
        count += more


def test_a_move_of_many_rows(database: Callable[[str], str]) -> None:
    """Four times the rows take the same memory."""
    old, new = database("mariadb"), database("postgres")
    grown = []
    with (
        infra.create_pool(infra.DatabaseConfig(url=old, query_timeout=600)) as source,
        infra.create_pool(infra.DatabaseConfig(url=new)) as target,
    ):
        for pool in (source, target):
            pool.execute("CREATE TABLE large (id INTEGER PRIMARY KEY, label VARCHAR(500))")
        fill(source, max(MOVED))
        for rows in MOVED:
            grown.append(growth(MOVE, old, rows, new))
            assert target.fetch_one("SELECT count(*) FROM large") == (rows,)
            target.execute("TRUNCATE large")
            target.execute("DROP TABLE infra_moves")
    few, many = grown
    assert many < MOVED_MEMORY
    assert many < few + (few >> 2), grown
