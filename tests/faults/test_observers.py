"""Observers on real servers: fakes tell the same, pools are watched and opened in advance."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

import fakes
import infra
from tests.contract.backends import eventually
from tests.services import Server
from tests.unit.test_observers import Recorder
from tests.unit.test_tracing import EVENT, Traces

pytestmark = pytest.mark.real


def script(services: infra.Infrastructure) -> None:
    """Calls of each kind that a bundle makes."""
    redis, cache, users = services.redis, services.cache, services.users
    redis.set_with_expiry("k", "v", 60)
    redis.set_many({"a": "1"})
    redis.get_many(["k", "a"])
    redis.increment("n")
    redis.set_nx("n", "1")
    redis.delete("k")
    redis.delete_many(["a"])
    redis.unlink_many(["a"])
    with pytest.raises(infra.CacheError):
        redis.set("text", "x")
        redis.increment("text")
    cache.set("k", 1)
    cache.get("k")
    cache.get("absent")
    cache.get_or_set("other", dict)
    with cache.lock("l", ttl=5):
        pass
    services.bus.publish("c", infra.SystemEvent.HealthCheckFailed("redis", "down"))
    services.verification.store_code("+14155550100", "123456")
    services.verification.verify_code("+14155550100", "123456")
    user = users.create(infra.User("ada@example.org", "ada"))
    users.find_by_email("ada@example.org")
    with pytest.raises(infra.ConflictError):
        users.create(infra.User("ada@example.org", "ada"))
    with services.exchange.transaction():
        users.find_by_id(user.id)
        with services.exchange.transaction():
            users.update(user)
    services.exchange.run(lambda: users.find_by_id(user.id))
    users.delete(user.id)
    services.exchange.health_check()


def test_fakes_tell_what_real_adapters_tell(
    private_server: Callable[[str], Server],
) -> None:
    redis, postgres = private_server("redis"), private_server("postgres")
    with infra.create_pool(infra.DatabaseConfig(url=postgres.url)) as pool:
        infra.Migrator(pool).apply()
    env = {"REDIS_URL": redis.url, "POSTGRES_URL": postgres.url, "PHONE_HASH_KEY": "k" * 32}
    told = []
    for is_real in (True, False):
        recorder = Recorder()
        fake = functools.partial(fakes.FakeInfrastructure, engine="postgres")
        make: Any = functools.partial(infra.Infrastructure.from_env, env) if is_real else fake
        with make(observer=recorder) as services:
            recorder.told()
            script(services)
            told.append((recorder.told(), recorder.counts))
    assert told[1] == told[0]


def test_handlers_of_a_real_bus_run_in_spans(private_server: Callable[[str], Server]) -> None:
    traces = Traces()
    config = infra.CacheConfig(url=private_server("redis").url)
    with (
        infra.RedisClient(config, observer=traces.observer) as client,
        infra.RedisEventBus(client) as bus,
    ):
        bus.subscribe("c", lambda message: client.get("k"))
        published = []
        for _ in range(2):
            with traces.tracer.start_as_current_span("request") as request:
                bus.publish("c", EVENT)
            published.append(request.get_span_context().span_id)
        spans: dict[str, list[Any]] = {}

        def are_handled() -> bool:
            for span in traces.spans():
                spans.setdefault(span.name, []).append(span)
            return len(spans.get("process", ())) == 2

        eventually(are_handled)
    process = spans["process"]
    assert [span.links[0].context.span_id for span in process] == published
    assert [span.parent for span in process] == [None, None]
    assert [span.parent.span_id for span in spans["get"]] == [
        span.context.span_id for span in process
    ]
    assert [span.parent.span_id for span in spans["publish"]] == published
    assert spans["get"][0].attributes["server.address"] in config.url
    traces.provider.shutdown()


@pytest.mark.parametrize("name", ["postgres", "mariadb"])
def test_a_pool_is_opened_in_advance(private_server: Callable[[str], Server], name: str) -> None:
    options: dict[str, Any] = {"warm": True, "min_connections": 3, "max_connections": 3}
    config = infra.DatabaseConfig(url=private_server(name).url, **options)
    recorder = Recorder()
    with infra.create_pool(config, observer=recorder) as pool:
        (source,) = recorder.sources[f"{pool.engine}.pool"]
        eventually(lambda: source()["idle"] == 3)
        assert {call.operation for call in recorder.calls} == {"connection"}
        assert pool.fetch_one("SELECT 1") == (1,)
        with pool.connection(), pool.connection():
            pass
        assert (source()["opened"], source()["closed"], source()["in_use"]) == (3, 0, 0)
    assert (source()["opened"], source()["closed"]) == (3, 3)


def test_a_pool_that_cannot_be_opened_in_advance(caplog: pytest.LogCaptureFixture) -> None:
    url = "postgresql://u:tell-nobody@127.0.0.1:1/d"
    with infra.create_pool(infra.DatabaseConfig(url=url, warm=True, acquire_timeout=0.2)):
        eventually(lambda: "no connection was opened in advance" in caplog.text)
    assert "tell-nobody" not in caplog.text


@pytest.mark.parametrize("name", ["postgres", "mariadb"])
def test_statements_are_logged_without_what_they_hold(
    private_server: Callable[[str], Server], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = infra.DatabaseConfig(url=private_server(name).url, log_sql=True)
    with infra.create_pool(config) as pool:
        pool.execute("CREATE TABLE t1 (n INTEGER PRIMARY KEY, v VARCHAR(99))")
        with caplog.at_level(logging.INFO, "infra"):
            pool.execute("INSERT INTO t1 VALUES (1, 'tell-nobody')")
        assert not caplog.records
        with caplog.at_level(logging.DEBUG, "infra"), pool.transaction():
            pool.execute("INSERT INTO t1 VALUES (%s, %s)", (2, "tell-nobody"))
            pool.fetch_all(
                "SELECT n /* tell-nobody */\n FROM t1 WHERE v = 'tell-nobody' AND n > 41"
            )
        with caplog.at_level(logging.DEBUG, "infra"):
            list(pool.stream("SELECT v FROM t1 WHERE n = 4711"))
    logged = [each.getMessage() for each in caplog.records if vars(each)["operation"] == "sql"]
    assert logged == [
        f"{config.engine}: {sql}"
        for sql in (
            "BEGIN",
            "INSERT INTO t1 VALUES (%s, %s)",
            "SELECT n FROM t1 WHERE v = '' AND n > ?",
            "COMMIT",
            "SELECT v FROM t1 WHERE n = ?",
        )
    ]
    assert "tell-nobody" not in caplog.text
    assert "4711" not in caplog.text


@pytest.mark.parametrize("name", ["postgres", "mariadb"])
def test_statements_are_not_logged_by_default(
    private_server: Callable[[str], Server], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = infra.DatabaseConfig(url=private_server(name).url)
    with caplog.at_level(logging.DEBUG, "infra"), infra.create_pool(config) as pool:
        assert [*pool.fetch_all("SELECT 4711"), *pool.stream("SELECT 4711")] == [(4711,)] * 2
    assert {vars(each)["operation"] for each in caplog.records} >= {"fetch_all", "stream"}
    assert not [each for each in caplog.records if "SELECT" in each.getMessage()]


def test_a_slow_call_is_logged(
    private_server: Callable[[str], Server], caplog: pytest.LogCaptureFixture
) -> None:
    config = infra.DatabaseConfig(url=private_server("postgres").url, slow=0.2)
    with infra.create_pool(config) as pool:
        pool.fetch_one("SELECT 1")
        started = time.monotonic()
        pool.execute("SELECT pg_sleep(0.3)")
        taken = time.monotonic() - started
    (found,) = [vars(each) for each in caplog.records if vars(each).get("outcome") == "slow"]
    assert (found["service"], found["operation"]) == ("postgres", "execute")
    assert 0.3 <= found["seconds"] <= taken
