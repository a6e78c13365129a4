"""A bundle on one database, whichever its engine, and on two."""

from __future__ import annotations

import pytest

import fakes
import infra

MYSQL, POSTGRES = "mysql://u:p@127.0.0.1:1/app", "postgresql://u:p@127.0.0.1:1/app"
PARTS = ("phone_users", "tokens", "users", "organizations", "benchmarks", "submissions")


@pytest.mark.real  # it needs the drivers
@pytest.mark.parametrize(
    ("variable", "url", "engine"),
    [
        ("DATABASE_URL", MYSQL, "MySQL"),
        ("MYSQL_URL", MYSQL, "MySQL"),
        ("DATABASE_URL", POSTGRES, "Postgres"),
        ("POSTGRES_URL", POSTGRES, "Postgres"),
    ],
)
def test_one_url(variable: str, url: str, engine: str) -> None:
    with infra.Infrastructure.from_env({variable: url}) as services:
        repositories = [getattr(services, part) for part in PARTS]
        assert services.exchange is services.accounts is services.database
        assert [type(each).__name__.removesuffix("Repository") for each in repositories] == [
            f"{engine}{name}"
            for name in ("PhoneUser", "Token", "User", "Organization", "Benchmark", "Submission")
        ]
        assert {id(each.database) for each in repositories} == {id(services.database)}
    with pytest.raises(infra.ConnectionError):
        services.database.health_check()


@pytest.mark.real
def test_two_urls() -> None:
    env = {"MYSQL_URL": MYSQL, "DATABASE_URL": POSTGRES}
    with infra.Infrastructure.from_env(env) as services:
        assert (services.accounts.engine, services.exchange.engine) == ("mysql", "postgres")
        assert {type(services.tokens), type(services.users)} == {
            infra.MySQLTokenRepository,
            infra.PostgresUserRepository,
        }
        with pytest.raises(infra.ConfigurationError, match="two databases are set"):
            services.database  # noqa: B018


def test_no_url() -> None:
    services = infra.Infrastructure.from_env({})
    for name in ("database", "accounts", "exchange", "users"):
        with pytest.raises(infra.ConfigurationError, match="MYSQL_URL, POSTGRES_URL or DATABASE_U"):
            getattr(services, name)


def test_the_fakes_are_of_two_databases() -> None:
    with fakes.FakeInfrastructure() as services:
        assert (services.accounts.engine, services.exchange.engine) == ("mysql", "postgres")
        with pytest.raises(infra.ConfigurationError, match="two databases are set"):
            services.database  # noqa: B018
