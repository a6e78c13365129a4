"""Random keys of each type: the rows that a move reads, page by page, are those of the table."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import infra
from tests.faults.test_moves import walked
from tests.scale import scaled

pytestmark = pytest.mark.real

LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
TEXTS = st.text(LETTERS, max_size=5) | st.text("aAb _%é'\\", max_size=5)
MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(2037, 1, 1))
KEYS: dict[str, st.SearchStrategy[Any]] = {
    "INTEGER": st.integers(-(2**31), 2**31 - 1) | st.integers(-5, 5),
    "BIGINT": st.integers(-(2**63), 2**63 - 1),
    "DECIMAL(12,3)": st.decimals("-99999", "99999", places=3),
    "DATE": st.dates(),
    "VARCHAR(20)": TEXTS,
}
KEYS_OF: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "mysql": {
        **KEYS,
        "DATE": st.dates(datetime(1000, 1, 1).date()),
        "VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin": TEXTS,
        "VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci": TEXTS,
        "VARCHAR(20)": st.text("aAbB ", max_size=5),
        "BIGINT UNSIGNED": st.integers(0, 2**64 - 1),
        "DATETIME(6)": MOMENTS.map(lambda value: value.replace(tzinfo=timezone.utc)),
        "ENUM('z', 'y', 'a', '10', '9')": st.sampled_from(["z", "y", "a", "10", "9"]),
        "VARBINARY(5)": st.binary(max_size=5),
        "CHAR(36)": st.uuids().map(str),
        "TINYINT(1)": st.booleans(),
        "TIME": st.integers(-3_000_000, 3_000_000).map(lambda value: timedelta(seconds=value)),
        "YEAR": st.integers(1901, 2155),
    },
    "postgres": {
        **KEYS,
        'VARCHAR(20) COLLATE "C"': TEXTS,
        "TEXT": TEXTS,
        "TIMESTAMPTZ": MOMENTS.map(lambda value: value.replace(tzinfo=timezone.utc)),
        "TIMESTAMP": MOMENTS,
        "BYTEA": st.binary(max_size=5),
        "UUID": st.uuids(),
        "BOOLEAN": st.booleans(),
        "TIME": st.times(),
        "SMALLINT": st.integers(-(2**15), 2**15 - 1),
    },
}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name in ("mariadb", "mysql", "postgres")
        for kind in KEYS_OF["postgres" if name == "postgres" else "mysql"]
    ],
)
def test_the_walk_is_the_table(database: Callable[[str], str], name: str, kind: str) -> None:
    """The key alone, and behind another column."""
    with infra.create_pool(infra.DatabaseConfig(url=database(name))) as pool:
        columns = f"k {kind} NOT NULL, g INTEGER NOT NULL, n INTEGER NOT NULL"
        pool.execute(f"CREATE TABLE alone ({columns}, PRIMARY KEY (k))")
        pool.execute(f"CREATE TABLE behind ({columns}, PRIMARY KEY (g, k))")

        @settings(max_examples=scaled(200, 10))
        @given(
            st.sampled_from(["alone", "behind"]),
            st.lists(st.tuples(KEYS_OF[pool.engine][kind], st.integers(0, 1)), max_size=12),
            st.sampled_from([1, 2, 3, 100]),
        )
        def check(table: str, keys: list[tuple[Any, int]], limit: int) -> None:
            pool.execute(f"DELETE FROM {table}")
            for number, (key, group) in enumerate(keys):
                with contextlib.suppress(infra.ConflictError):  # the server takes them for equal
                    pool.execute(f"INSERT INTO {table} VALUES (%s, %s, %s)", [key, group, number])
            rows = pool.fetch_all(f"SELECT k, g, n FROM {table} ORDER BY n")
            found = walked(infra.TableSource(pool, table), limit)
            assert sorted(found, key=lambda row: row[2]) == [*map(tuple, rows)]

        check()
