"""The fake's rules are those of the real tables, read back from the servers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

import fakes
import infra
from tests.contract.databases import fake_tables, migrated, with_tables

SERVERS = ["mariadb", "mysql", "postgres", "postgres-18"]
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


def ports() -> list[type[Any]]:
    """The classes of the library's tables; some have no public name."""
    found: list[type[Any]] = [infra.Repository]
    for each in found:
        below: list[type[Any]] = each.__subclasses__()
        found += [sub for sub in below if not issubclass(sub, infra.SqlRepository)]
    return [each for each in found if each.__module__ == "infra" and "table" in vars(each)]


def library(name: str) -> Sequence[fakes.Table]:
    return fakes.POSTGRES_TABLES if name.startswith("postgres") else fakes.MYSQL_TABLES


@pytest.mark.parametrize("name", SERVERS)
def test_the_library(database: Callable[[str], str], name: str) -> None:
    assert differences(migrated(database, name), library(name)) == []


@pytest.mark.parametrize("name", SERVERS)
def test_ddl_makes_the_tables_of_the_library(database: Callable[[str], str], name: str) -> None:
    """What a class writes is what schema.sql has, apart from indexes."""
    with infra.create_pool(infra.DatabaseConfig(url=database(name))) as pool:
        for statement in infra.split_statements(infra.ddl(ports(), pool.engine), pool.engine):
            pool.execute(statement)
        assert [fakes.compare(port, pool) for port in ports()] == [[]] * len(library(name))
        assert {vars(port)["table"] for port in ports()} == {each.name for each in library(name)}


@pytest.mark.parametrize("name", SERVERS)
def test_the_tables_of_the_tests(database: Callable[[str], str], name: str) -> None:
    tables = fake_tables(name.partition("-")[0])
    assert differences(with_tables(database, name), tables) == []


@pytest.mark.parametrize("name", ["mariadb", "mysql", "postgres"])
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
    assert differences(step_by_step, library(name)) == []
