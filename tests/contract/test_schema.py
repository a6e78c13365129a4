"""The fake's rules are those of the real tables, read back from the servers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

import fakes
import infra
from tests.contract.databases import fake_tables, migrated, with_tables

TABLE_NAMES = {
    "mysql": "SELECT table_name FROM information_schema.tables WHERE table_schema = database()",
    "postgres": "SELECT table_name FROM information_schema.tables "
    "WHERE table_schema = current_schema()",
}


def differences(url: str, tables: Sequence[fakes.Table]) -> list[str]:
    """What compare says of all tables, and the tables that only the server has."""
    with infra.create_pool(infra.DatabaseConfig(url=url)) as pool:
        found = [sentence for table in tables for sentence in fakes.compare(table, pool)]
        real = {name for (name,) in pool.fetch_all(TABLE_NAMES[pool.engine])}
    return found + sorted(real - {table.name for table in tables} - {"schema_migrations"})


@pytest.mark.parametrize("name", ["mariadb", "mysql"])
def test_the_library_on_mysql(database: Callable[[str], str], name: str) -> None:
    assert differences(migrated(database, name), fakes.MYSQL_TABLES) == []


@pytest.mark.parametrize("name", ["postgres", "postgres-18"])
def test_the_library_on_postgres(database: Callable[[str], str], name: str) -> None:
    assert differences(migrated(database, name), fakes.POSTGRES_TABLES) == []


@pytest.mark.parametrize("name", ["mariadb", "mysql", "postgres", "postgres-18"])
def test_the_tables_of_the_tests(database: Callable[[str], str], name: str) -> None:
    tables = fake_tables(name.partition("-")[0])
    assert differences(with_tables(database, name), tables) == []


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
    assert differences(step_by_step, fakes.MYSQL_TABLES) == []
    assert differences(migrated(database, name), fakes.MYSQL_TABLES) == []
