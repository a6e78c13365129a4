"""Infrastructure.health: what it asks, what it reports, and how long it waits. On the fakes."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import fakes
import infra
from tests.contract.backends import WAIT, in_background, in_threads

SECRET = "s3cr3t-marker"
SLACK = 5.0  # seconds that a busy machine may add
IDLE = infra.PoolStats(None, 0, 0, 0, 0)
UP = infra.ServiceHealth(True, 0.0, "FakeDatabase", pool=IDLE, pending=())
ALL_UP = {
    "mysql": UP,
    "postgres": UP,
    "redis": infra.ServiceHealth(True, 0.0, "FakeRedisClient", pool=IDLE),
    "storage": infra.ServiceHealth(True, 0.0, "FakeStorageProvider"),
}


def test_all_services_of_a_fake_bundle() -> None:
    with fakes.FakeInfrastructure() as services:
        report = services.health()
    assert report == infra.HealthReport(ALL_UP)
    assert [*report.services] == ["mysql", "postgres", "redis", "storage"]
    assert report.up is True


@pytest.mark.parametrize(
    ("engine", "name"), [("postgres", "postgres"), ("mysql", "mysql"), ("mariadb", "mysql")]
)
def test_one_database_is_asked_once(engine: str, name: str) -> None:
    with fakes.FakeInfrastructure(engine=engine) as services:
        assert [*services.health().services] == [name, "redis", "storage"]


def test_one_that_is_down() -> None:
    with fakes.FakeInfrastructure() as services:
        services.redis.down = True
        report = services.health()
        services.redis.down = False
        assert report.up is False
        assert {name: each.up for name, each in report.services.items()} == {
            "mysql": True, "postgres": True, "redis": False, "storage": True
        }  # fmt: skip
        redis = report.services["redis"]
        assert (redis.latency, redis.version, redis.error) == (None, "", "ConnectionError")
        assert redis.reason == "FakeRedisClient is down on purpose"
        assert redis.pool == IDLE
        assert services.health().up is True


def test_the_document_of_a_report() -> None:
    """It is JSON, and has the same members for each service."""
    with fakes.FakeInfrastructure() as services:
        services.storage.fail_next("health_check", infra.StorageError("refused (HTTP 403)"))
        found = services.health().as_dict()
    pool = {
        "max_connections": None, "open": 0, "in_use": 0, "idle": 0, "waiting": 0,
        "longest_wait": 0.0, "opened": 0, "closed": 0, "timed_out": 0,
    }  # fmt: skip
    up = {"up": True, "latency": 0.0, "error": "", "reason": "", "breaker": None}
    down = {**up, "up": False, "latency": None, "version": "", "pool": None, "pending": None}
    refused = {"error": "StorageError", "reason": "refused (HTTP 403)"}
    database = {**up, "version": "FakeDatabase", "pool": pool, "pending": []}
    assert found == {
        "up": False,
        "services": {
            "mysql": database,
            "postgres": database,
            "redis": {**up, "version": "FakeRedisClient", "pool": pool, "pending": None},
            "storage": {**down, **refused},
        },
    }
    assert json.loads(json.dumps(found)) == found


def test_the_document_of_a_pending_migration() -> None:
    status = infra.MigrationStatus("shop", 2, "totals", "pending")
    report = infra.HealthReport(
        {"mysql": infra.ServiceHealth(True, 0.1, "MySQL", pending=[status])}
    )
    assert report.up is True  # pending migrations are no outage
    assert report.as_dict()["services"]["mysql"]["pending"] == [
        {
            "source": "shop", "number": 2, "name": "totals", "state": "pending", "statement": 0,
            "applied_at": None,
        }
    ]  # fmt: skip


# --- which services are asked


PONG = infra.Health("search", "Search 1.0", 0.25)


class Client:
    """A client of another library, with a check of its own."""

    def __init__(self, check: Callable[[], Any]) -> None:
        self.health_check = check

    def stats(self) -> str:
        return "not of this library"


class Own(infra.Infrastructure):
    check: Callable[[], Any] = staticmethod(lambda: PONG)

    @infra.provided
    def search(self) -> Client:
        return Client(type(self).check)

    @infra.provided
    def name(self) -> str:
        return "a text has no check"


class FakeOwn(fakes.FakeInfrastructure, Own): ...


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({}, []),
        ({"MYSQL_URL": "mysql://u@127.0.0.1:1/d"}, ["mysql"]),
        ({"DATABASE_URL": "postgresql://u@127.0.0.1:1/d"}, ["postgres"]),
        ({"REDIS_URL": "redis://127.0.0.1:1"}, ["redis"]),
        ({"REDIS_URL": "redis://localhost:6379"}, ["redis"]),  # also the default
        ({"REDIS_URL": " "}, []),
        ({"S3_ENDPOINT": "http://127.0.0.1:1"}, ["storage"]),
        ({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}, ["storage"]),
        ({"AWS_REGION": "eu-west-1"}, []),
    ],
)
@pytest.mark.real
def test_only_what_is_set_is_asked(environment: dict[str, str], names: list[str]) -> None:
    with infra.Infrastructure.from_env(environment) as services:
        report = services.health(deadline=0.0)
    assert [*report.services] == names
    assert report.up is (names == [])


def test_redis_of_a_config_is_asked() -> None:
    config = infra.Config(cache=infra.CacheConfig(pool_size=2))
    assert [*infra.Infrastructure(config).health(0).services] == ["redis"]
    assert [*infra.Infrastructure(infra.Config()).health(0).services] == []


def test_a_service_of_ones_own_is_asked_once_it_is_built() -> None:
    with Own(infra.Config()) as services:
        assert services.health() == infra.HealthReport({})
        assert services.search is not None
        assert services.name
        up = infra.ServiceHealth(True, 0.25, "Search 1.0")
        assert services.health() == infra.HealthReport({"search": up})


def test_a_service_of_ones_own_beside_the_librarys() -> None:
    with FakeOwn() as services:
        assert services.search is not None
        assert [*services.health().services] == [*ALL_UP, "search"]


def test_two_names_of_one_service_are_asked_once() -> None:
    class Twice(fakes.FakeInfrastructure):
        @infra.provided
        def queue(self) -> fakes.FakeRedisClient:
            return self.redis

        @infra.provided
        def other(self) -> fakes.FakeRedisClient:
            return fakes.FakeRedisClient()

    with Twice() as services:
        assert services.queue is services.redis
        assert services.other is not services.redis
        assert [*services.health().services] == [*ALL_UP, "other"]


def test_an_exception_of_ones_own_is_named_and_not_quoted() -> None:
    class Fails(FakeOwn):
        @staticmethod
        def check() -> None:
            raise LookupError(f"redis://:{SECRET}@host")

    with Fails() as services:
        assert services.search is not None
        found = services.health()
        assert (found.services["search"].error, found.services["search"].reason) == (
            "LookupError", "its text is withheld: it may be secret",
        )  # fmt: skip
        assert (found.up, found.services["redis"].up) == (False, True)
        assert SECRET not in repr(found) + json.dumps(found.as_dict())


# --- the deadline


@pytest.fixture
def silent() -> Iterator[Any]:
    """A bundle whose own service answers when the test lets it; ``asked`` counts."""

    class Silent(FakeOwn):
        answer = threading.Event()
        asked: list[int] = []  # noqa: RUF012

        @staticmethod
        def check() -> infra.Health:
            Silent.asked.append(1)
            assert Silent.answer.wait(WAIT)
            return PONG

    with Silent() as services:
        assert services.search is not None
        yield services
        Silent.answer.set()


def test_a_silent_service_does_not_hold_the_report(silent: Any) -> None:
    started = time.monotonic()
    report = silent.health(deadline=0.2)
    assert 0.2 <= time.monotonic() - started < 0.2 + SLACK
    search = report.services.pop("search")
    assert report.services == ALL_UP
    assert (search.up, search.error) == (False, "TimeoutError")
    assert search.reason == "search did not answer within 0.2 s"


def test_a_silent_service_is_asked_once_at_a_time(silent: Any) -> None:
    """Probes that come while it is silent must not use up its connections."""
    for _ in range(3):
        assert silent.health(0.01).up is False
    in_threads(8, lambda _: silent.health(0.01))
    assert silent.asked == [1]
    waiting = in_background(lambda: silent.health(WAIT))
    silent.answer.set()
    assert waiting().up is True
    assert silent.health().up is True
    assert 2 <= len(silent.asked) <= 3  # the one that waited may have come late


def test_many_threads_get_one_answer_each() -> None:
    with fakes.FakeInfrastructure() as services:
        found = in_threads(16, lambda _: services.health())
        assert found == [infra.HealthReport(ALL_UP)] * 16


def test_an_interrupted_start_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the threads start must not make a service look silent for ever."""

    def interrupted(_: threading.Thread) -> None:
        raise KeyboardInterrupt

    with fakes.FakeInfrastructure() as services:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", interrupted)
            with pytest.raises(KeyboardInterrupt):
                services.health()
        assert services.health().up is True


@pytest.mark.parametrize("wrong", [None, -1, float("nan"), "5", True, 10**9])
def test_a_wrong_deadline(wrong: Any) -> None:
    services = fakes.FakeInfrastructure()
    with pytest.raises(infra.ValidationError, match="deadline should be a number of seconds"):
        services.health(wrong)


# --- bundles that are in use, closed or forked


@pytest.mark.parametrize("interleave", [False, True])
def test_an_open_transaction_is_not_in_the_way(interleave: bool) -> None:
    with fakes.FakeInfrastructure(engine="postgres", interleave=interleave) as services:
        with services.exchange.transaction():
            services.users.create(infra.User("ada@example.org", "ada"))
            database = services.health().services["postgres"]
            assert database.up is True
            assert database.pool == infra.PoolStats(None, 1, 1, 0, 0)
        assert services.users.count() == 1


def test_a_closed_bundle() -> None:
    services = fakes.FakeInfrastructure()
    services.close()
    report = services.health()
    assert {each.error for each in report.services.values()} == {"ConnectionError"}
    assert {each.reason for each in report.services.values()} == {"the bundle is closed"}
    assert [*report.services] == [*ALL_UP]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_does_not_wait_for_a_check_of_its_parent(silent: Any) -> None:
    assert silent.health(0.01).up is False
    child = os.fork()
    if child == 0:
        silent.answer.set()
        os._exit(0 if silent.health(WAIT).up else 1)
    assert os.waitpid(child, 0)[1] == 0
