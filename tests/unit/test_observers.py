"""Observers: what they are told, by the fakes too, and that they break nothing."""

from __future__ import annotations

import contextlib
import gc
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import fakes
import infra
from tests.contract import handlers


class Recorder(infra.Observer):
    """Keeps all that it is told."""

    def __init__(self) -> None:
        self.calls: list[infra.Call] = []
        self.counts: dict[tuple[str, str], int] = {}
        self.sources: dict[str, list[Callable[[], Mapping[str, float]]]] = {}

    def call(self, call: infra.Call) -> None:
        self.calls.append(call)

    def count(self, service: str, name: str, amount: int = 1) -> None:
        self.counts[service, name] = self.counts.get((service, name), 0) + amount

    def watch(self, name: str, source: Callable[[], Mapping[str, float]]) -> None:
        self.sources.setdefault(name, []).append(source)

    def told(self) -> list[tuple[str, str, str]]:
        """The calls since the last time."""
        found = [(call.service, call.operation, call.outcome) for call in self.calls]
        self.calls.clear()
        return found


class Broken(infra.Observer):
    def call(self, call: infra.Call) -> None:
        raise RuntimeError("tell nobody")

    def count(self, service: str, name: str, amount: int = 1) -> None:
        raise RuntimeError("tell nobody")

    def watch(self, name: str, source: Callable[[], Mapping[str, float]]) -> None:
        raise RuntimeError("tell nobody")

    def traceparent(self) -> str | None:
        raise RuntimeError("tell nobody")

    def handling(self, message: infra.Message) -> None:
        raise RuntimeError("tell nobody")

    def handled(self, message: infra.Message, outcome: str) -> None:
        raise RuntimeError("tell nobody")


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def test_the_base_class_ignores_everything() -> None:
    observer = infra.Observer()
    observer.call(infra.Call("redis", "get", "ok", 0.1, 1))
    observer.count("redis", "retries")
    observer.watch("redis.pool", dict)
    message = infra.Message("c", None, "{}")
    observer.handling(message)
    observer.handled(message, "ok")
    assert observer.traceparent() is None


def test_several_observers_of_both_kinds(recorder: Recorder) -> None:
    calls: list[infra.Call] = []
    pair: tuple[Any, ...] = (recorder, calls.append)
    for several in ([*pair], pair):
        with fakes.FakeRedisClient(observer=several) as client:
            client.get("k")
    assert calls == [infra.Call("redis", "get", "ok", 0.0, 1)] * 2
    assert recorder.calls == calls
    with fakes.FakeRedisClient(observer=[]) as client:
        client.get("k")


def test_one_that_raises_is_logged_once_and_breaks_nothing(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    received: list[infra.Message] = []
    with fakes.FakeInfrastructure(observer=[Broken(), recorder]) as services:
        services.bus.subscribe("c", received.append)
        for _ in range(3):
            services.cache.get("k")
            services.sms.send_sms("+14155550100", "m")
            services.bus.publish("c", infra.SystemEvent.CacheCleared("*"))
    assert len(recorder.calls) == 10  # and "listen"
    assert recorder.counts == {("cache", "cache_misses"): 3}
    assert [message.traceparent for message in received] == [None] * 3
    messages = [each.getMessage() for each in caplog.records]
    assert messages == ["the observer raised, which is logged once"]


@pytest.mark.parametrize("observer", [*handlers.SEEN.values(), 5, "x", Recorder, [Recorder], [5]])
def test_what_is_no_observer(observer: Any) -> None:
    with pytest.raises(infra.ConfigurationError, match="observer should be"):
        fakes.FakeRedisClient(observer=observer)


def test_a_bundle_on_fakes_tells_what_the_real_one_tells(recorder: Recorder) -> None:
    with fakes.FakeInfrastructure(observer=recorder) as services:
        services.redis.set_with_expiry("k", "v", 1)
        services.redis.unlink_many(["k"])
        services.verification.send_code(services.sms, "+14155550100")
        recorder.told()
        services.redis.increment("n")
        services.sms.send_verification_code("+14155550100", "123456")
        services.storage.create_bucket("bucket")
        assert recorder.told() == [
            ("redis", "increment", "ok"),
            ("sms", "send_verification_code", "ok"),
            ("storage", "create_bucket", "ok"),
        ]
        with contextlib.suppress(LookupError), services.accounts.transaction():
            services.phone_users.find_by_id(infra.new_id())
            raise LookupError
        with services.exchange.transaction(), services.exchange.transaction():
            pass
        services.exchange.health_check()
        assert recorder.told() == [
            ("mysql", "begin", "ok"),
            ("mysql", "find_by_id", "ok"),
            ("mysql", "rollback", "ok"),
            ("postgres", "begin", "ok"),
            ("postgres", "savepoint", "ok"),
            ("postgres", "savepoint", "ok"),
            ("postgres", "commit", "ok"),
            ("postgres", "health_check", "ok"),
        ]
        with pytest.raises(infra.ValidationError):
            services.redis.get("")
        with pytest.raises(infra.NotFoundError):
            services.storage.download("bucket", "k")
        assert recorder.told() == [("storage", "download", "NotFoundError")]


def test_faults_are_failed_calls(recorder: Recorder) -> None:
    with fakes.FakeInfrastructure(observer=recorder) as services:
        services.redis.fail_next("set", infra.TimeoutError, after_apply=True)
        with pytest.raises(infra.CacheError):
            services.cache.set("k", 1)
        services.phone_users.fail_next("find_by_id", infra.DatabaseError, after_apply=True)
        with pytest.raises(infra.DatabaseError):
            services.phone_users.find_by_id(infra.new_id())
        services.storage.down = True
        with pytest.raises(infra.ConnectionError):
            services.storage.exists("bucket", "k")
        services.accounts.down = True
        with pytest.raises(infra.ConnectionError):
            services.phone_users.find_by_id(infra.new_id())
    assert recorder.told() == [
        ("redis", "set", "TimeoutError"),
        ("mysql", "find_by_id", "DatabaseError"),
        ("storage", "exists", "ConnectionError"),
        ("mysql", "find_by_id", "ConnectionError"),
    ]


def test_hits_and_misses(recorder: Recorder) -> None:
    with fakes.FakeInfrastructure(observer=recorder) as services:
        cache = services.cache
        cache.set("a", None)
        cache.get("a")
        cache.get("b")
        cache.get_many(["a", "b", "c"])
        cache.get_or_set("a", dict)
        cache.get_or_set("d", dict)
        assert recorder.counts == {("cache", "cache_hits"): 3, ("cache", "cache_misses"): 4}


def test_handler_errors_and_reconnects(recorder: Recorder) -> None:
    def fail(*_: Any) -> None:
        raise ValueError

    with fakes.FakeInfrastructure(observer=recorder) as services:
        services.bus.subscribe("c", fail)
        services.bus.publish("c", infra.SystemEvent.HealthCheckFailed("redis", "down"))
        with services.redis.listen(fail) as listener:
            listener.subscribe("d")
            services.redis.publish("d", "m")
        assert recorder.counts == {("redis", "handler_errors"): 2}
        services.redis.server.drop_connections()
    assert recorder.counts == {("redis", "handler_errors"): 2, ("redis", "reconnects"): 1}


def test_moved_rows_and_objects(recorder: Recorder, tmp_path: Path) -> None:
    books = fakes.Table("books", {"id": fakes.Column(int), "title": fakes.Column(str)})
    with (
        fakes.FakeDatabase("postgres", [books], observer=recorder) as database,
        fakes.FakeStorageProvider(observer=recorder) as storage,
    ):
        rows = [{"id": number, "title": "t"} for number in range(30)]
        infra.RowMove(
            "books",
            source=infra.IterableSource(rows),
            target=infra.TableTarget(database, "books"),
            transform=lambda row: row if row["id"] % 3 else None,
            rejects=tmp_path / "rejects",
            batch=7,
        ).run()
        assert recorder.counts == {("postgres", "rows_moved"): 20}
        storage.create_bucket("old")
        storage.create_bucket("new")
        for key in "abc":
            storage.upload("old", key, b"1")
        infra.ObjectMove("letters", source=(storage, "old", ""), target=(storage, "new", "")).run()
    assert recorder.counts == {("postgres", "rows_moved"): 20, ("storage", "rows_moved"): 3}


def test_a_move_waits_for_the_next_probe(tmp_path: Path) -> None:
    books = fakes.Table("books", {"id": fakes.Column(int)})
    clock = fakes.FakeClock()
    with fakes.FakeDatabase("postgres", [books], clock=clock) as database:
        database.fail_next("run", infra.CircuitOpenError("away", retry_after=30.0))
        report = infra.RowMove(
            "books",
            source=infra.IterableSource([{"id": 1}]),
            target=infra.TableTarget(database, "books"),
            rejects=tmp_path / "rejects",
        ).run()
        assert (report.counts.written, clock.monotonic()) == (1, 30.0)


def test_pools_and_breakers_are_watched_while_they_live(recorder: Recorder) -> None:
    config = infra.CacheConfig(url="redis://127.0.0.1:1", retries=0, breaker_failures=1)
    client = infra.RedisClient(config, observer=recorder)
    assert sorted(recorder.sources) == ["redis.breaker", "redis.pool"]
    (breaker,), (pool,) = recorder.sources["redis.breaker"], recorder.sources["redis.pool"]
    assert breaker() == {"closed": 1, "open": 0, "half_open": 0}
    assert pool() == {
        "max_connections": 5, "open": 0, "in_use": 0, "idle": 0, "waiting": 0,
        "longest_wait": 0.0, "opened": 0, "closed": 0, "timed_out": 0,
    }  # fmt: skip
    with pytest.raises(infra.ConnectionError):
        client.get("k")
    assert breaker() == {"closed": 0, "open": 1, "half_open": 0}
    client.close()
    del client
    gc.collect()
    assert (pool(), breaker()) == ({}, {})


def test_the_breaker_of_an_event_stream_is_watched(recorder: Recorder) -> None:
    config = infra.NatsConfig(url="nats://127.0.0.1:1", breaker_failures=1)
    with infra.NatsEventStream(config, observer=recorder):
        (breaker,) = recorder.sources["nats.breaker"]
        assert breaker() == {"closed": 1, "open": 0, "half_open": 0}


def test_retries_are_counted(recorder: Recorder) -> None:
    config = infra.CacheConfig(url="redis://127.0.0.1:1", retries=2)
    with infra.RedisClient(config, clock=fakes.FakeClock(), observer=recorder) as client:
        with pytest.raises(infra.ConnectionError):
            client.get("k")
        assert recorder.counts == {("redis", "retries"): 2}
        assert [call.attempt for call in recorder.calls] == [1, 2, 3]


def test_from_env_passes_both_on(recorder: Recorder) -> None:
    clock = fakes.FakeClock()
    with infra.Infrastructure.from_env({}, observer=recorder, clock=clock) as services:
        assert services.clock is clock
        assert services.observer is not None
        services.observer.count("mine", "retries", 2)
        assert services.redis.stats().open == 0
    assert recorder.counts == {("mine", "retries"): 2}
    assert sorted(recorder.sources) == ["redis.pool"]
    with fakes.FakeInfrastructure.from_env({}, observer=recorder, clock=clock) as fake:
        assert fake.clock is clock
    with infra.Infrastructure.from_env({}) as services:
        assert services.observer is None

    class Own(infra.Infrastructure):
        def __init__(self, config: infra.Config) -> None:
            super().__init__(config)

    Own.from_env({}).close()


def test_a_bundle_lists_its_breakers() -> None:
    settings = {"BREAKER_FAILURES": "1", "BREAKER_RESET": "5", "REDIS_URL": "redis://127.0.0.1:1"}
    mysql = "mysql://u:p@127.0.0.1:1/d"
    with infra.Infrastructure.from_env({**settings, "MYSQL_URL": mysql}) as services:
        assert services.breakers == {}  # nothing is built
        assert services.accounts is services.database
        assert services.cache
        assert services.breakers == {"database": "closed", "redis": "closed"}
        with pytest.raises(infra.ConnectionError):
            services.redis.get("k")
        assert services.breakers == {"database": "closed", "redis": "open"}
        with pytest.raises(infra.CircuitOpenError) as caught:
            services.redis.get("k")
        assert 4 < caught.value.retry_after <= 5
    with infra.Infrastructure.from_env({"REDIS_URL": settings["REDIS_URL"]}) as services:
        assert (services.redis.stats().open, services.breakers) == (0, {})
    with fakes.FakeInfrastructure() as fake:
        assert fake.breakers == {}


def test_the_next_provider_sends_while_a_breaker_is_open(caplog: Any) -> None:
    config = infra.SmsConfig(
        provider="twilio", api_key="AC" + "0" * 32, api_secret="s", sender="+14155550100",
        breaker_failures=1,
    )  # fmt: skip
    clock = fakes.FakeClock()
    with (
        infra.TwilioSmsService(config, endpoint="http://127.0.0.1:1", clock=clock) as twilio,
        fakes.FakeSmsService() as second,
        infra.FailoverSmsService(twilio, second) as sms,
    ):
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                sms.send_sms("+14155550100", "m")
        words = [each.getMessage() for each in caplog.records]
        assert words == [
            "the circuit of twilio is open",
            "twilio sent nothing (ConnectionError)",
            "twilio sent nothing (CircuitOpenError)",
        ]
        assert len(second.outbox) == 2

        class Bundle(infra.Infrastructure):
            @infra.provided
            def sms(self) -> infra.SmsService:
                """Two providers."""
                return sms

        services = Bundle(infra.Config())
        assert services.sms is sms
        assert services.breakers == {"sms twilio": "open"}
