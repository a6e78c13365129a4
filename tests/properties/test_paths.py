"""A move on the fast path, where servers write the rows as text, stores what the slow path stores.

Random rows of every kind of column that has a fast path, between all pairs of engines. Rows that
one path refuses are refused by the other, with the same words. So do moves with a transform, which
writes the texts of columns that it leaves, and where a policy forbids that.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import infra
from tests.scale import scaled

pytestmark = pytest.mark.real

UTF8 = " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
#: by column: its type in MySQL and in Postgres
TYPES = {
    "word": ("VARCHAR(20)" + UTF8, "VARCHAR(20)"),
    "long": ("LONGTEXT" + UTF8, "TEXT"),
    "flag": ("TINYINT(1)", "BOOLEAN"),
    "whole": ("INTEGER", "INTEGER"),
    "big": ("BIGINT", "BIGINT"),
    "price": ("DECIMAL(10,2)", "NUMERIC(10,2)"),
    "ratio": ("DOUBLE", "FLOAT8"),
    "data": ("LONGBLOB", "BYTEA"),
    "at": ("DATETIME(6)", "TIMESTAMPTZ"),
    "local": ("DATETIME(6)", "TIMESTAMP"),
    "second": ("DATETIME", "TIMESTAMPTZ(0)"),
    "day": ("DATE", "DATE"),
}
#: only in tables of MySQL, and the type of the other side in each engine
ONLY_MYSQL = {
    "latin": ("VARCHAR(20) CHARACTER SET latin1", "VARCHAR(20)" + UTF8, "VARCHAR(20)"),
    "wide": ("VARCHAR(20) CHARACTER SET utf16", "VARCHAR(20)" + UTF8, "VARCHAR(20)"),
    "single": ("FLOAT", "DOUBLE", "FLOAT8"),
    "year": ("YEAR", "YEAR", "SMALLINT"),
}
HOSTILE = "\t\n\r\\'\"`%\x00\x01\x02\x03\x04\x1a\x7fN {}é😀"
TEXTS = st.text(HOSTILE, max_size=8) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
MOMENTS = st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31, 23, 59, 58))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "word": TEXTS | st.sampled_from(["\\N", "NULL", "\\.", "", " ", "x" * 20]),
    "long": TEXTS,
    "flag": st.booleans(),
    "whole": st.integers(-(2**31), 2**31 - 1),
    "big": st.integers(-(2**63), 2**63 - 1),
    "price": st.decimals(-99999999, 99999999, places=2),
    "ratio": st.floats(allow_nan=False, allow_infinity=False),
    "data": st.binary(max_size=8),
    "at": MOMENTS.map(lambda value: value.replace(tzinfo=timezone.utc)),
    "local": MOMENTS,
    "second": MOMENTS.map(lambda value: value.replace(microsecond=0, tzinfo=timezone.utc)),
    "day": st.dates(date(1000, 1, 1)),
    "latin": st.text("aé ÿ\x01\\", max_size=8),
    "wide": TEXTS.filter(lambda text: "\x00" not in text),
    "single": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "year": st.integers(1901, 2155),
}
A_ROW = st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()})
PLAIN: dict[str, Any] = {
    "word": "x", "long": "y", "flag": True, "whole": 1, "big": 2, "price": Decimal("0.10"),
    "ratio": 0.1, "data": b"\x04", "at": datetime(2026, 1, 1, tzinfo=timezone.utc),
    "local": datetime(2026, 1, 1), "second": datetime(2026, 1, 1, tzinfo=timezone.utc),
    "day": date(2026, 1, 1), "latin": "é", "wide": "é", "single": 0.5, "year": 2026,
}  # fmt: skip
PAIRS = [
    ("mariadb", "postgres"), ("mysql", "postgres"), ("postgres", "mariadb"), ("postgres", "mysql"),
    ("postgres", "postgres"), ("mariadb", "mysql"),
]  # fmt: skip


def make(pool: infra.ConnectionPool, table: str, source_engine: str, *, is_source: bool) -> None:
    place = 0 if pool.engine == "mysql" else 1
    columns = {name: types[place] for name, types in TYPES.items()}
    if source_engine == "mysql":
        side = 0 if is_source else 1 + place
        columns |= {name: types[side] for name, types in ONLY_MYSQL.items()}
    name_of = "`{}`" if pool.engine == "mysql" else '"{}"'
    lines = [f"{name_of.format(name)} {kind} NULL" for name, kind in columns.items()]
    pool.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, {', '.join(lines)})")


def as_given(pool: infra.ConnectionPool, value: Any) -> Any:
    """Return the value as the engine takes it: MySQL has no times without a zone."""
    if pool.engine == "mysql" and isinstance(value, datetime):
        return value.replace(tzinfo=timezone.utc)
    return value


def changed(row: dict[str, Any]) -> dict[str, Any] | None:
    """Leave a row, change one of its columns, or drop it, by its id."""
    if row["id"] % 3 == 1:
        row["whole"] = 7
    return row if row["id"] % 3 else None


def left(row: dict[str, Any]) -> dict[str, Any]:
    """Leave a row, but for the order of its columns."""
    return dict(reversed(row.items()))


def moved(
    source: infra.ConnectionPool,
    target: infra.ConnectionPool,
    table: str,
    transform: infra.Transform | None,
    **options: Any,
) -> tuple[str, Any]:
    """Move the rows into a table, and return the report's path and the outcome."""
    move = infra.RowMove(
        table,
        source=infra.TableSource(source, "origin"),
        target=infra.TableTarget(target, table, **options),
        transform=transform,
        batch=7,
    )
    try:
        report = move.run(restart=True)
    except infra.MoveError as error:
        return "", (str(error), error.key, error.column)
    return report.path, report.counts


@pytest.mark.parametrize(("source_name", "target_name"), PAIRS)
def test_both_paths_store_the_same(
    database: Callable[[str], str], source_name: str, target_name: str
) -> None:
    with contextlib.ExitStack() as end:
        source, target = (
            end.enter_context(infra.create_pool(infra.DatabaseConfig(url=database(name))))
            for name in (source_name, target_name)
        )
        make(source, "origin", source.engine, is_source=True)
        for table in ("fast", "slow"):
            make(target, table, source.engine, is_source=False)
        only = {*TYPES, *(ONLY_MYSQL if source.engine == "mysql" else ())}
        paths = set()
        counts: Counter[str] = Counter()

        @settings(max_examples=scaled(300))
        @given(st.lists(A_ROW, max_size=12), st.sampled_from([None, changed, left]))
        @example([PLAIN], None)
        @example([PLAIN] * 12, changed)
        @example([PLAIN, dict.fromkeys(PLAIN)], left)
        @example([PLAIN, PLAIN | {"word": "a\x00b"}], None)
        @example([PLAIN | {"word": "a\x01b", "long": "\x02\x03\x04"}, dict.fromkeys(PLAIN)], None)
        def check(rows: list[dict[str, Any]], transform: infra.Transform | None) -> None:
            source.execute("DELETE FROM origin")
            for table in ("fast", "slow"):
                target.execute(f"DELETE FROM {table}")
            names = [name for name in PLAIN if name in only]
            for number, row in enumerate(rows):
                values = [as_given(source, row[name]) for name in names]
                with contextlib.suppress(infra.InfrastructureError):  # no value of this server
                    source.insert_many("origin", ["id", *names], [(number, *values)])
            ((arrived,),) = source.fetch_all("SELECT count(*) FROM origin")
            counts.update(given=len(rows), arrived=arrived)
            path, fast = moved(source, target, "fast", transform)
            _, slow = moved(source, target, "slow", transform, policies={"id": "fail"})
            assert repr(fast).replace("fast", "slow") == repr(slow)
            found = [
                target.fetch_all(f"SELECT * FROM {table} ORDER BY id") for table in ("fast", "slow")
            ]
            assert found[0] == found[1]
            paths.add(path)

        check()
        assert "fast" in paths
        assert 2 * counts["arrived"] > counts["given"], counts
