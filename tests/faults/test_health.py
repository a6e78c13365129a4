"""Infrastructure.health on real servers: up, down, silent, refusing, and what it says of each."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import infra
from tests.conftest import sql
from tests.contract.backends import WAIT, eventually, in_threads
from tests.faults.proxy import Proxy, Stub
from tests.services import Server, free_port, s3_keys

SLACK = 5.0  # seconds that a busy machine may add
SECRET = "s3cr3t-marker"
SHOP = """\
-- migration 1 orders mysql
CREATE TABLE orders (id INT);
-- migration 1 orders postgres
CREATE TABLE orders (id int);
-- migration 2 totals mysql
ALTER TABLE orders ADD total int;
-- migration 2 totals postgres
ALTER TABLE orders ADD total int;
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    file = tmp_path / "shop.sql"
    file.write_text(SHOP)
    return file


def bundle(**environment: str) -> infra.Infrastructure:
    return infra.Infrastructure.from_env(environment)


def port_of(url: str) -> int:
    return int(re.findall(r":(\d+)(?:/|$)", url)[-1])


def at_port(url: str, port: int) -> str:
    return re.sub(r":\d+(?=/|$)", f":{port}", url)


@pytest.mark.parametrize("mysql", ["mariadb", "mysql"])
def test_all_are_up(
    service: Callable[[str], str], database: Callable[[str], str], mysql: str
) -> None:
    access_key, secret_key = s3_keys()
    services = bundle(
        MYSQL_URL=database(mysql), POSTGRES_URL=database("postgres"), REDIS_URL=service("redis"),
        S3_ENDPOINT=service("s3"), AWS_ACCESS_KEY_ID=access_key, AWS_SECRET_ACCESS_KEY=secret_key,
    )  # fmt: skip
    with services:
        report = services.health(deadline=WAIT)
        assert report.up is True
        found = report.services
        assert [*found] == ["mysql", "postgres", "redis", "storage"]
        assert re.fullmatch(r"(MariaDB|MySQL) \d+\.\d+\.\d+", found["mysql"].version)
        assert re.fullmatch(r"PostgreSQL \d+\.\d+", found["postgres"].version)
        assert re.fullmatch(r"Redis \d+\.\d+\.\d+", found["redis"].version)
        for each in found.values():
            assert 0 < (each.latency or 0) < WAIT
            assert (each.error, each.reason) == ("", "")
        assert found["mysql"].pool == infra.PoolStats(10, 1, 0, 1, 0)
        assert found["redis"].pool == infra.PoolStats(5, 1, 0, 1, 0)
        assert found["storage"].pool is None
        first = found["mysql"].pending or ()
        assert [(each.source, each.number, each.state) for each in first] == [
            ("schema", number, "pending") for number in range(1, 6)
        ]
        assert (found["redis"].pending, found["storage"].pending) == (None, None)
        assert json.loads(json.dumps(report.as_dict())) == report.as_dict()


@pytest.mark.parametrize("name", ["mariadb", "mysql", "postgres"])
def test_pending_migrations(database: Callable[[str], str], shop: Path, name: str) -> None:
    with bundle(DATABASE_URL=database(name)) as services:
        services.migrations = [shop]
        engine = services.database.engine

        def states() -> list[tuple[int, str]] | None:
            found = services.health(WAIT).services[engine]
            assert found.up is True
            if found.pending is None:
                return None
            return [(each.number, each.state) for each in found.pending]

        assert states() == [(1, "pending"), (2, "pending")]
        infra.Migrator(services.database, shop).apply()
        assert states() == []
        shop.write_text(SHOP.replace("total int", "total bigint"))
        assert states() == [(2, "edited")]
        report = services.health(WAIT).as_dict()
        (edited,) = report["services"][engine]["pending"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", edited["applied_at"])
        assert json.loads(json.dumps(report)) == report
        services.migrations = []
        assert states() is None


@pytest.mark.parametrize("name", ["mariadb", "mysql", "postgres"])
def test_a_dirty_migration(database: Callable[[str], str], shop: Path, name: str) -> None:
    with bundle(DATABASE_URL=database(name)) as services:
        engine = services.database.engine
        shop.write_text(f"-- migration 1 a {engine} no-transaction\nCREATE TABLE a (b nothing);\n")
        services.migrations = [shop]
        with pytest.raises(infra.DatabaseError, match="failed at its statement 1"):
            infra.Migrator(services.database, shop).apply()
        (dirty,) = services.health(WAIT).services[engine].pending or ()
        assert (dirty.state, dirty.statement) == ("dirty", 1)


@pytest.mark.parametrize("name", ["mariadb", "mysql", "postgres"])
def test_a_history_of_another_tool(database: Callable[[str], str], name: str) -> None:
    """The database is up all the same."""
    url = database(name)
    sql(url, "CREATE TABLE schema_migrations (version VARCHAR(20) PRIMARY KEY)")
    with bundle(DATABASE_URL=url) as services:
        (found,) = services.health(WAIT).services.values()
    assert (found.up, found.pending) == (True, None)


# --- servers that refuse, end or say nothing


def urls_with_secrets(port: int) -> dict[str, str]:
    return {
        "MYSQL_URL": f"mysql://user:{SECRET}@127.0.0.1:{port}/shop",
        "POSTGRES_URL": f"postgresql://user:{SECRET}@127.0.0.1:{port}/shop",
        "REDIS_URL": f"redis://:{SECRET}@127.0.0.1:{port}",
        "S3_ENDPOINT": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "access",
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }


@pytest.mark.real
def test_none_can_be_reached(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "infra")
    with bundle(**urls_with_secrets(free_port())) as services:
        report = services.health(WAIT)
    assert (report.up, len(report.services)) == (False, 4)
    for name, each in report.services.items():
        assert (each.up, each.latency, each.version, each.pending) == (False, None, "", None)
        assert each.error == "ConnectionError"
        assert re.fullmatch(rf"{name}.* could not be reached: Connection refused.*", each.reason)
    assert SECRET not in repr(report) + json.dumps(report.as_dict()) + caplog.text


@pytest.mark.real
def test_all_are_silent(caplog: pytest.LogCaptureFixture) -> None:
    """They accept and never answer. The report is there after one deadline, not after four."""
    caplog.set_level("DEBUG", "infra")
    with Stub(lambda _: None) as silent, bundle(**urls_with_secrets(silent.port)) as services:
        for _ in range(3):
            started = time.monotonic()
            report = services.health(0.5)
            assert 0.5 <= time.monotonic() - started < 0.5 + SLACK
            assert (report.up, len(report.services)) == (False, 4)
            assert {each.error for each in report.services.values()} == {"TimeoutError"}
        reasons = [each.reason for each in report.services.values()]
        assert reasons == [f"{name} did not answer within 0.5 s" for name in report.services]
        assert SECRET not in repr(report) + json.dumps(report.as_dict()) + caplog.text


@pytest.mark.parametrize("name", ["mariadb", "mysql", "postgres", "redis"])
def test_a_server_that_falls_silent_and_answers_again(
    service: Callable[[str], str], database: Callable[[str], str], name: str
) -> None:
    """Many probes meanwhile take one connection, and the others stay free for the application."""
    url = service(name) if name == "redis" else database(name)
    variable = "REDIS_URL" if name == "redis" else "DATABASE_URL"
    with Proxy(port_of(url)) as proxy, bundle(**{variable: at_port(url, proxy.port)}) as services:
        assert services.health(WAIT).up is True
        proxy.open.clear()
        reports = in_threads(8, lambda _: services.health(0.2))
        assert [report.up for report in reports] == [False] * 8
        ((_, found),) = services.health(0.2).services.items()
        assert (found.error, found.pool and found.pool.in_use) == ("TimeoutError", 1)
        assert proxy.connections <= 4  # the first, and what the adapter tries again
        proxy.open.set()
        assert services.health(WAIT).up is True


@pytest.mark.parametrize("name", ["mariadb", "mysql", "postgres", "redis"])
def test_a_killed_server(private_server: Callable[[str], Server], name: str) -> None:
    server = private_server(name)
    variable = "REDIS_URL" if name == "redis" else "DATABASE_URL"
    with bundle(**{variable: server.url}) as services:
        assert services.health(WAIT).up is True
        server.signal(signal.SIGKILL)
        eventually(lambda: not services.health(WAIT).up)
        (found,) = services.health(WAIT).services.values()
        assert found.error == "ConnectionError"
        assert "could not be reached: Connection refused" in found.reason


def test_a_wrong_password(service: Callable[[str], str]) -> None:
    url = at_port(service("mariadb"), port_of(service("mariadb")))
    port = port_of(url)
    with bundle(MYSQL_URL=f"mysql://nobody:{SECRET}@127.0.0.1:{port}/infra") as services:
        report = services.health(WAIT)
    (found,) = report.services.values()
    assert (found.up, found.error) == (False, "ConnectionError")
    assert "refused the login: check user, password, database and host" in found.reason
    assert SECRET not in repr(report) + json.dumps(report.as_dict())


def test_a_missing_driver(service: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    url = f"postgresql://user:{SECRET}@127.0.0.1:{free_port()}/shop"
    with bundle(POSTGRES_URL=url, REDIS_URL=service("redis")) as services:
        found = services.health(WAIT).services
    assert found["redis"].up is True
    assert found["postgres"] == infra.ServiceHealth(
        False,
        error="ConfigurationError",
        reason="a postgres ConnectionPool needs a package that is not installed: "
        "pip install 'psycopg2-binary>=2.9'",
    )


def test_the_state_of_the_breaker(service: Callable[[str], str]) -> None:
    """A health check passes an open breaker, and its answer counts."""
    away = {"DATABASE_URL": f"postgresql://user@127.0.0.1:{free_port()}/shop"}
    with bundle(**away, REDIS_URL=service("redis"), BREAKER_FAILURES="1") as services:
        found = services.health(WAIT).services
        assert (found["postgres"].up, found["postgres"].breaker) == (False, "open")
        assert (found["redis"].up, found["redis"].breaker) == (True, "closed")
        assert services.health(WAIT).as_dict()["services"]["postgres"]["breaker"] == "open"


def test_a_pool_that_is_used_up(database: Callable[[str], str]) -> None:
    """The check has a connection of its own, so it sees what other callers would see."""
    url = database("postgres")
    with bundle(DATABASE_URL=url, DATABASE_MAX_CONNECTIONS="1") as services:
        with services.database.transaction():
            (found,) = services.health(0.2).services.values()
            assert (found.up, found.error) == (False, "TimeoutError")
            assert found.pool == infra.PoolStats(1, 1, 1, 0, 1)
        eventually(lambda: services.health(WAIT).up)


def test_a_closed_bundle(database: Callable[[str], str]) -> None:
    services: Any = bundle(DATABASE_URL=database("postgres"))
    assert services.health(WAIT).up is True
    services.close()
    (found,) = services.health(WAIT).services.values()
    assert (found.error, found.reason) == ("ConnectionError", "the bundle is closed")
    unused: Any = bundle(REDIS_URL="redis://127.0.0.1:1")
    unused.close()
    (found,) = unused.health(WAIT).services.values()
    assert (found.error, found.reason) == ("ConnectionError", "the bundle is closed")


@pytest.mark.parametrize(
    ("name", "version"),
    [("nats", "NATS 2"), ("redis-6.2", "Redis 6.2"), ("rabbitmq", "RabbitMQ ")],
)
def test_the_event_stream_is_asked(service: Callable[[str], str], name: str, version: str) -> None:
    with bundle(EVENTS_URL=service(name)) as services:
        found = services.health(deadline=WAIT).services
        assert [*found] == ["stream"]
        assert found["stream"].version.startswith(version)
