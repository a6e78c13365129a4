"""The fake's rules are those of the real tables, read back from the servers."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

import fakes
import infra
from tests.contract.databases import fake_tables, migrated, with_tables

#: whether a column is a document: MariaDB's JSON is a LONGTEXT with a check
DOCUMENT = {"mysql": "data_type IN ('json', 'longtext')", "postgres": "data_type = 'json'"}
HERE = {"mysql": "database()", "postgres": "current_schema()"}
# What information_schema says, as a Column's kind and length.
TYPES: dict[str, tuple[type, int | None]] = {
    "tinyint": (bool, None),
    "boolean": (bool, None),
    "int": (int, None),
    "integer": (int, None),
    "bigint": (int, 64),
    "double": (float, None),
    "decimal": (Decimal, None),
    "numeric": (Decimal, None),
    "varbinary": (bytes, None),
    "bytea": (bytes, None),
    "date": (date, None),
    "double precision": (float, None),
    "datetime": (datetime, None),
    "timestamp with time zone": (datetime, None),
    "uuid": (uuid.UUID, None),
    "json": (dict, None),
}


def column(
    data_type: str, collation: str | None, length: int | None, *scales: int | None
) -> fakes.Column:
    """``scales``: a number's precision and scale, and the digits of a moment's seconds."""
    precision, scale, seconds = scales
    if data_type in TYPES:
        kind, bits = TYPES[data_type]
        if kind is Decimal:
            return fakes.Column(kind, precision=precision, scale=scale)
        if kind is bytes:
            return fakes.Column(kind, length=length)
        if kind is datetime and seconds != 6:
            return fakes.Column(kind, scale=seconds)
        return fakes.Column(kind, length=bits)
    assert collation == "C" or str(collation).endswith("_bin"), (
        "keys and filters compare text byte by byte"
    )
    if (data_type, length) == ("char", 36):
        return fakes.Column(uuid.UUID)
    return fakes.Column(str, length=length, ascii=collation == "ascii_bin")


def real_rules(url: str) -> dict[str, Any]:
    """Columns, keys, foreign keys and names of checks, by table."""
    with infra.create_pool(infra.DatabaseConfig(url=url)) as pool:
        here = HERE[pool.engine]
        rules: dict[str, Any] = defaultdict(
            lambda: {"columns": {}, "unique": {}, "foreign_keys": {}, "checks": set()}
        )
        for table, name, null, document, *holds in pool.fetch_all(
            "SELECT table_name, column_name, is_nullable, "
            f"{DOCUMENT[pool.engine]}, data_type, collation_name, character_maximum_length, "
            "numeric_precision, numeric_scale, datetime_precision "
            f"FROM information_schema.columns WHERE table_schema = {here}"
        ):
            held = fakes.Column(dict) if document else column(*holds)
            rules[table]["columns"][name] = replace(held, null=null == "YES")
        constraints = {
            (table, name): kind
            for table, name, kind in pool.fetch_all(
                "SELECT table_name, constraint_name, constraint_type "
                "FROM information_schema.table_constraints "
                f"WHERE table_schema = {here}"
            )
        }
        keys: dict[tuple[str, str], tuple[str, ...]] = defaultdict(tuple)
        for table, name, key in pool.fetch_all(
            "SELECT table_name, constraint_name, column_name "
            "FROM information_schema.key_column_usage "
            f"WHERE table_schema = {here} ORDER BY table_name, constraint_name, ordinal_position"
        ):
            keys[table, name] += (key,)
        if pool.engine == "mysql":
            references = pool.fetch_all(
                "SELECT k.constraint_name, k.referenced_table_name, "
                "k.referenced_column_name, r.delete_rule "
                "FROM information_schema.key_column_usage k "
                "JOIN information_schema.referential_constraints r "
                "ON r.constraint_schema = k.constraint_schema "
                "AND r.constraint_name = k.constraint_name "
                f"WHERE k.table_schema = {here} ORDER BY k.ordinal_position"
            )
        else:
            references = pool.fetch_all(
                "SELECT r.constraint_name, u.table_name, u.column_name, r.delete_rule "
                "FROM information_schema.referential_constraints r "
                "JOIN information_schema.key_column_usage k "
                "USING (constraint_schema, constraint_name) "
                "JOIN information_schema.key_column_usage u "
                "ON u.constraint_schema = r.unique_constraint_schema "
                "AND u.constraint_name = r.unique_constraint_name "
                "AND u.ordinal_position = k.position_in_unique_constraint "
                f"WHERE r.constraint_schema = {here} ORDER BY k.ordinal_position"
            )
    targets: dict[str, tuple[str, tuple[str, ...], str]] = {}
    for name, table, key, rule in references:
        targets[name] = (
            table,
            (*targets.get(name, ("", (), ""))[1], key),
            rule.lower().replace("no action", "restrict"),
        )
    for (table, name), kind in constraints.items():
        if kind == "FOREIGN KEY":
            rules[table]["foreign_keys"][name] = (keys[table, name], *targets[name])
        elif kind == "PRIMARY KEY":
            rules[table]["unique"][f"{table}_pkey"] = keys[table, name]
        elif kind == "UNIQUE":
            rules[table]["unique"][name] = keys[table, name]
        elif not name.endswith("_not_null") and name not in rules[table]["columns"]:
            rules[table]["checks"].add(name)
    rules.pop("schema_migrations", None)
    return dict(rules)


def fake_rules(tables: Iterable[fakes.Table]) -> dict[str, Any]:
    return {
        table.name: {
            "columns": {
                name: replace(each, kind=dict) if each.kind is list else each
                for name, each in table.columns.items()
            },
            "unique": {f"{table.name}_pkey": table.primary_key, **table.unique},
            "foreign_keys": {
                name: (each.columns, each.table, each.target, each.on_delete)
                for name, each in table.foreign_keys.items()
            },
            "checks": set(table.checks),
        }
        for table in tables
    }


@pytest.mark.parametrize("name", ["mariadb", "mysql"])
def test_the_library_on_mysql(database: Callable[[str], str], name: str) -> None:
    assert real_rules(migrated(database, name)) == fake_rules(fakes.MYSQL_TABLES)


@pytest.mark.parametrize("name", ["postgres", "postgres-18"])
def test_the_library_on_postgres(database: Callable[[str], str], name: str) -> None:
    assert real_rules(migrated(database, name)) == fake_rules(fakes.POSTGRES_TABLES)


@pytest.mark.parametrize("name", ["mariadb", "mysql", "postgres", "postgres-18"])
def test_the_tables_of_the_tests(database: Callable[[str], str], name: str) -> None:
    tables = fake_tables(name.partition("-")[0])
    assert real_rules(with_tables(database, name)) == fake_rules(tables)


@pytest.mark.parametrize("name", ["mariadb", "mysql"])
def test_migrating_makes_the_same_whatever_was_there(
    database: Callable[[str], str], name: str
) -> None:
    """One migration after the other, as over the years, or all at once."""
    step_by_step = database(name)
    with infra.create_pool(infra.DatabaseConfig(url=step_by_step)) as pool:
        migrator = infra.Migrator(pool)
        every, migrator.migrations = migrator.migrations, []
        for migration in every:
            migrator.migrations.append(migration)
            assert migrator.apply() == [migration]
    assert real_rules(step_by_step) == real_rules(migrated(database, name))
