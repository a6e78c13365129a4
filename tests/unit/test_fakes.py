"""Features of fakes alone: failures on demand, a clock that stands still, isolation."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import itertools
import os
import pydoc
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from datetime import time as day_time
from decimal import Decimal
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, ClassVar

import pytest

import fakes
import infra
from tests.contract import handlers
from tests.contract.backends import (
    WAIT,
    assert_grows_evenly,
    eventually,
    in_background,
    in_threads,
)
from tests.contract.texts import Number, Text, any_text, plain
from tests.interrupts import handled_at

PHONE = "+14155550100"
NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize("glob", ["?", "a*", "[ab]", "[^b]", r"\a", "a"])
def test_the_time_of_a_glob_grows_with_it(glob: str) -> None:
    def work(size: int) -> None:
        client = fakes.FakeRedisClient()
        client.set("a" * size, "1")
        assert list(client.scan(glob * size)) == ["a" * size]

    assert_grows_evenly(work, 5000)


def test_fail_next_fails_once() -> None:
    redis = fakes.FakeRedisClient()
    redis.fail_next("set", infra.TimeoutError("no answer"))
    assert redis.get("k") is None
    with pytest.raises(infra.TimeoutError, match="no answer"):
        redis.set("k", "1")
    assert redis.get("k") is None
    redis.set("k", "2")
    assert redis.get("k") == "2"


def test_fail_next_several_times_and_any_method() -> None:
    redis = fakes.FakeRedisClient()
    redis.fail_next("*", infra.ConnectionError, times=2)
    with pytest.raises(infra.ConnectionError) as first:
        redis.get("k")
    with pytest.raises(infra.ConnectionError) as second:
        redis.increment("k")
    assert first.value is not second.value
    assert [redis.increment("k") for _ in range(3)] == [1, 2, 3]


def test_fail_next_after_the_work_was_done() -> None:
    redis = fakes.FakeRedisClient()
    redis.fail_next("increment", infra.TimeoutError("no answer"), after_apply=True)
    with pytest.raises(infra.TimeoutError):
        redis.increment("k", 5)
    assert redis.get("k") == "5"


def test_faults_reach_methods_that_were_looked_up_before() -> None:
    redis = fakes.FakeRedisClient()
    get, health = redis.get, redis.health_check
    redis.down = True
    with pytest.raises(infra.ConnectionError):
        get("k")
    redis.down = False
    assert get("k") is None
    redis.close()
    with pytest.raises(infra.ConnectionError, match="closed"):
        health()


def test_faults_leave_what_a_test_has_put_in_place_of_a_method() -> None:
    redis = fakes.FakeRedisClient()
    redis.get = lambda key: "stubbed"  # type: ignore[method-assign]
    redis.fail_next("set", infra.TimeoutError)
    assert redis.get("k") == "stubbed"


def test_an_error_that_cannot_be_copied() -> None:
    class Odd(Exception):
        def __init__(self, number: int, text: str) -> None:
            super().__init__(f"{number} {text}")

    redis = fakes.FakeRedisClient()
    redis.fail_next("get", Odd(5, "x"), times=2)
    for _ in range(2):
        with pytest.raises(Odd, match="5 x"):
            redis.get("k")


def test_what_asks_nobody_cannot_fail() -> None:
    sms = fakes.FakeSmsService()
    sms.fail_next("*", infra.SmsError)
    assert sms.is_available() is True
    with pytest.raises(infra.SmsError):
        sms.send_sms(PHONE, "Hello")


def test_listeners_of_a_client_that_is_down() -> None:
    redis = fakes.FakeRedisClient()
    listener = redis.listen(lambda *_: None)
    redis.down = True
    with pytest.raises(infra.TimeoutError):
        listener.subscribe("c")
    redis.down = False
    listener.subscribe("c")


def test_ten_tenths_of_a_second_are_a_second() -> None:
    clock = fakes.FakeClock()
    redis = fakes.FakeRedisClient(clock=clock)
    for ttl in (1, 1.1, 2.2):
        redis.set_with_expiry("k", "v", ttl)
        for _ in range(round(ttl * 10)):
            assert redis.get("k") == "v"
            clock.advance(0.1)
        assert redis.get("k") is None


def test_a_running_clock_moves_by_itself_and_by_advance() -> None:
    clock, begun = fakes.RunningClock(), datetime.now(timezone.utc)
    first, started = clock.now(), clock.monotonic()
    assert abs(first - begun) < timedelta(hours=1)
    while clock.now() == first or clock.monotonic() == started:
        pass
    clock.advance(86400)
    assert timedelta(days=1) < clock.now() - first < timedelta(days=1, hours=1)
    assert 86400 < clock.monotonic() - started < 90000
    with fakes.FakeInfrastructure(clock) as services:
        assert services.clock is clock


def test_durations_round_up_to_milliseconds() -> None:
    clock = fakes.FakeClock()
    redis = fakes.FakeRedisClient(clock=clock)
    for seconds, stored in ((0.0001, 0.001), (1.0001, 1.001), (2.5, 2.5), (0.0019, 0.002)):
        redis.set_with_expiry("k", "v", seconds)
        assert redis.ttl("k") == stored
        clock.advance(stored - 0.001)
        assert redis.get("k") == "v"
        clock.advance(0.001)
        assert redis.get("k") is None


def test_positional_arguments_are_those_of_the_real_class() -> None:
    cache = fakes.FakeVerificationCache(fakes.FakeRedisClient(), b"k" * 32, 60, 1)
    cache.store_code(PHONE, "123456")
    assert cache.get_remaining_attempts(PHONE) == 1


def test_faults_queue_up() -> None:
    redis = fakes.FakeRedisClient()
    redis.fail_next("get", infra.TimeoutError("first"))
    redis.fail_next("get", infra.CacheError("second"))
    for error in (infra.TimeoutError, infra.CacheError):
        with pytest.raises(error):
            redis.get("k")
    assert redis.get("k") is None


def test_down() -> None:
    redis = fakes.FakeRedisClient()
    redis.set("k", "v")
    redis.down = True
    assert redis.down is True
    for call in (lambda: redis.get("k"), redis.health_check, lambda: redis.publish("c", "m")):
        with pytest.raises(infra.ConnectionError) as caught:
            call()
        assert (caught.value.service, caught.value.retryable) == ("redis", True)
    redis.down = False
    assert redis.get("k") == "v"


def test_faults_reach_the_public_method_only() -> None:
    """verify_code uses the client's get, not the cache's own methods: a test need not know that."""
    redis = fakes.FakeRedisClient()
    cache = fakes.FakeVerificationCache(redis)
    cache.store_code(PHONE, "123456")
    cache.fail_next("get_remaining_attempts", infra.TimeoutError)
    assert cache.verify_code(PHONE, "000000") is False
    redis.down = True
    with pytest.raises(infra.ConnectionError):
        cache.code_exists(PHONE)
    redis.down = False
    cache.down = True
    assert redis.get("k") is None
    with pytest.raises(infra.ConnectionError):
        cache.clear(PHONE)


def test_a_fault_waits_until_what_is_down_is_back() -> None:
    redis = fakes.FakeRedisClient()
    redis.fail_next("get", infra.TimeoutError("the fault"), times=2)
    redis.down = True
    for _ in range(3):
        with pytest.raises(infra.ConnectionError, match="down on purpose"):
            redis.get("k")
    redis.fail_next("get", infra.CacheError("told while it was down"))
    redis.down = False
    for error in (infra.TimeoutError, infra.TimeoutError, infra.CacheError):
        with pytest.raises(error):
            redis.get("k")
    assert redis.get("k") is None
    redis.fail_next("get", infra.TimeoutError("the fault"))
    redis.close()
    with pytest.raises(infra.ConnectionError, match="closed"):
        redis.get("k")


def test_faults_come_in_the_order_of_telling() -> None:
    redis = fakes.FakeRedisClient()
    redis.fail_next("*", infra.TimeoutError("first"))
    redis.fail_next("get", infra.CacheError("second"))
    redis.fail_next("*", infra.ConnectionError, times=2)
    for error, words in (
        (infra.TimeoutError, "first"),
        (infra.CacheError, "second"),
        (infra.ConnectionError, "failed on purpose"),
        (infra.ConnectionError, "failed on purpose"),
    ):
        with pytest.raises(error) as caught:
            redis.get("k")
        assert str(caught.value) == words
    assert redis.get("k") is None


def test_the_end_of_an_outage_opens_nothing_that_was_closed() -> None:
    redis = fakes.FakeRedisClient()
    redis.close()
    redis.down = True
    redis.down = False
    with pytest.raises(infra.ConnectionError, match="closed") as caught:
        redis.get("k")
    assert caught.value.retryable is False


def use_up_a_fault(redis: fakes.FakeRedisClient) -> None:
    redis.fail_next("get", infra.TimeoutError)
    with contextlib.suppress(infra.TimeoutError, infra.ConnectionError):
        redis.get("k")


def end_an_outage(redis: fakes.FakeRedisClient) -> None:
    redis.down = True
    redis.down = False


@pytest.mark.parametrize("work", [use_up_a_fault, end_an_outage])
def test_what_a_signal_handler_closes_stays_closed(
    work: Callable[[fakes.FakeRedisClient], None],
) -> None:
    """Between any two instructions."""
    for number in itertools.count():
        redis = fakes.FakeRedisClient()
        if not handled_at(
            number, functools.partial(work, redis), redis.close, fakes.__file__, event="opcode"
        ):
            assert number > 10
            return
        with pytest.raises(infra.ConnectionError, match="closed"):
            redis.get("k")


def test_faults_that_make_no_sense() -> None:
    redis = fakes.FakeRedisClient()
    for method in ("close", "no_such_method", "down", "_get", "fail_next", ""):
        with pytest.raises(infra.ValidationError, match="there are: compare_and_delete"):
            redis.fail_next(method, infra.TimeoutError)
    for times in (0, -1, 1.5, True):
        with pytest.raises(infra.ValidationError):
            redis.fail_next("get", infra.TimeoutError, times)  # type: ignore[arg-type]
    for error in ("text", None, int, ValueError):
        with pytest.raises(infra.ValidationError):
            redis.fail_next("get", error)  # type: ignore[arg-type]


def test_faults_for_a_users_own_fake() -> None:
    class Weather:
        def today(self) -> str:
            return "rain"

    class FakeWeather(fakes.Faults, Weather):
        def today(self) -> str:
            return "sun"

    weather = FakeWeather()
    weather.fail_next("today", infra.TimeoutError)
    with pytest.raises(infra.TimeoutError):
        weather.today()
    assert weather.today() == "sun"


def test_fakes_share_nothing_unless_told_to() -> None:
    fakes.FakeRedisClient().set("k", "v")
    assert fakes.FakeRedisClient().get("k") is None
    server = fakes.FakeRedisServer()
    fakes.FakeRedisClient(server).set("k", "v")
    assert fakes.FakeRedisClient(server).get("k") == "v"
    one, other = fakes.FakeInfrastructure(), fakes.FakeInfrastructure()
    one.verification.store_code(PHONE, "123456")
    one.sms.send_sms(PHONE, "Hello")
    assert (other.verification.code_exists(PHONE), other.sms.outbox) == (False, [])


def test_a_fault_on_one_fake_is_on_no_other() -> None:
    one, other = fakes.FakeRedisClient(), fakes.FakeRedisClient()
    one.down = True
    one.fail_next("get", infra.TimeoutError)
    assert other.get("k") is None


def test_a_lost_connection_loses_no_subscription() -> None:
    """Of a bus neither, which is told by its own ``on_reconnect``."""
    client, heard, told = fakes.FakeRedisClient(), list[str](), list[int]()
    listener = client.listen(lambda channel, pattern, payload: heard.append(f"{pattern} {payload}"))
    listener.subscribe("c")
    listener.psubscribe("?")
    bus = fakes.FakeEventBus(client, lambda: told.append(1))
    bus.subscribe("c", lambda message: heard.append("bus"))
    client.server.drop_connections()
    assert told == [1]
    assert client.publish("c", "m") == 3
    assert heard == ["None m", "? m", "bus"]
    bus.close()
    listener.close()
    client.server.drop_connections()
    assert (told, client.publish("c", "m")) == ([1], 0)


def test_drop_connections_tells_listeners() -> None:
    redis, told = fakes.FakeRedisClient(), []
    listener = redis.listen(lambda *_: None, lambda: told.append(1))
    redis.server.drop_connections()
    listener.close()
    redis.server.drop_connections()
    assert told == [1]


def test_faults_of_an_event_bus() -> None:
    client = fakes.FakeRedisClient()
    received: list[infra.Message] = []
    bus, event = fakes.FakeEventBus(client), infra.SystemEvent.CacheCleared("*")
    bus.subscribe("c", received.append)
    bus.fail_next("publish", infra.TimeoutError)
    bus.fail_next("publish", infra.TimeoutError, after_apply=True)
    for count in (0, 1):
        with pytest.raises(infra.TimeoutError):
            bus.publish("c", event)
        assert len(received) == count
    for fake in (bus, client):
        fake.down = True
        subscription = fakes.FakeEventBus(client).subscribe("d", print) if fake is bus else None
        with pytest.raises(infra.ConnectionError):
            bus.publish("c", event)
        with pytest.raises((infra.ConnectionError, infra.TimeoutError)):
            bus.subscribe("d", print)
        if subscription:
            subscription.close()
        fake.down = False
    assert (bus.publish("c", event), bus.publish("d", event)) == (1, 0)


def test_a_forgotten_event_bus_goes_on() -> None:
    client = fakes.FakeRedisClient()
    received: list[infra.Message] = []
    fakes.FakeEventBus(client).subscribe("c", received.append)
    gc.collect()
    assert client.publish("c", "1") == len(received) == 1


def test_what_has_no_down_says_so() -> None:
    """Else a test passes for the wrong reason: nothing is down."""
    real: list[Any] = [
        infra.RedisClient(),
        infra.RedisCacheProvider(fakes.FakeRedisClient()),
        infra.VerificationCache(fakes.FakeRedisClient(), "k" * 32),
        infra.RedisEventBus(fakes.FakeRedisClient()),
        infra.MockSmsService(),
        infra.FailoverSmsService(fakes.FakeSmsService()),
        # Needs a driver to do more.
        infra.PostgresUserRepository.__new__(infra.PostgresUserRepository),
        infra.Infrastructure(infra.Config()),
        fakes.FakeInfrastructure(),
    ]
    for each in real:
        with pytest.raises(AttributeError, match=f"{type(each).__name__} has no.*FakeRedisClient"):
            each.down = True
        with pytest.raises(AttributeError, match="real server has to be stopped"):
            each.down  # noqa: B018
        assert not hasattr(each, "down")
        assert not hasattr(type(each), "down")


def test_a_service_of_ones_own_may_have_a_down() -> None:
    class Console(infra.SmsService):
        provider_name = "console"

        def _send(self, phone: str, message: str, code: str | None) -> str:
            return "sent"

        def close(self) -> None: ...

    console: Any = Console()
    assert not hasattr(console, "down")
    console.down = True
    assert console.down is True


def test_a_fault_reaches_what_does_the_same() -> None:
    """A test need not know which of two methods the code under test calls."""
    services = fakes.FakeInfrastructure()
    services.sms.fail_next("send_sms", infra.SmsError("refused", outcome="rejected"))
    with pytest.raises(infra.SmsError):
        services.verification.send_code(services.sms, PHONE)
    assert services.verification.code_exists(PHONE) is False
    for client, cache in (
        ("set", lambda: services.cache.set("k", 1)),
        ("set", lambda: services.redis.set_with_expiry("k", "v", 1)),
        ("delete", lambda: services.cache.delete("k")),
        ("delete", lambda: services.redis.delete_many(["k"])),
        ("delete", lambda: services.redis.unlink_many(["k"])),
    ):
        services.redis.fail_next(client, infra.CacheError)
        with pytest.raises(infra.CacheError):
            cache()
    services.bus.fail_next("subscribe", infra.MessagingError)
    with pytest.raises(infra.MessagingError):
        services.bus.subscribe_many(["a"], print)
    services.sms.fail_next("send_verification_code", infra.SmsError)  # and not the other way round
    assert services.sms.send_sms(PHONE, "Hello") == services.sms.outbox[-1].id
    with pytest.raises(infra.SmsError):
        services.sms.send_verification_code(PHONE, "123456")
    services.redis.set("k", "v")


def test_a_block_fails_that_ends_with_unused_faults() -> None:
    with pytest.raises(AssertionError) as caught, fakes.FakeInfrastructure() as services:
        services.redis.fail_next("get", infra.TimeoutError, times=2)
        services.users.fail_next("create", infra.ConflictError("used", constraint="x"))
        services.sms.fail_next("*", infra.SmsError("secret"))
        with pytest.raises(infra.TimeoutError):
            services.redis.get("k")
        with pytest.raises(infra.SmsError):
            services.sms.send_sms(PHONE, "Hello")
    assert str(caught.value) == (
        "these faults were not used, or not as often as asked for: "
        "create of FakeUserRepository, get of FakeRedisClient"
    )
    with pytest.raises(infra.ConnectionError, match="closed"):
        services.redis.get("k")


def test_a_block_that_ends_by_an_exception_keeps_it() -> None:
    with pytest.raises(ZeroDivisionError), fakes.FakeInfrastructure() as services:
        services.redis.fail_next("get", infra.TimeoutError)
        1 / 0  # noqa: B018
    with pytest.raises(infra.ConnectionError, match="closed"):
        services.redis.get("k")
    with fakes.FakeInfrastructure() as services:
        services.redis.fail_next("get", infra.TimeoutError)
        with pytest.raises(infra.TimeoutError):
            services.redis.get("k")


CLOSEABLE = (
    (fakes.FakeDatabase, "run", [int]),
    (fakes.FakeRedisClient, "get", ["k"]),
    (fakes.FakeStorageProvider, "exists", ["files", "k"]),
    (fakes.FakeEventBus, "publish", ["news", infra.SystemEvent.CacheCleared("*")]),
    (fakes.FakeSmsService, "send_sms", [PHONE, "Hello"]),
    (fakes.FakeEventStream, "append", ["news", infra.SystemEvent.CacheCleared("*")]),
)


@pytest.mark.parametrize(("kind", "method", "arguments"), CLOSEABLE)
def test_a_block_of_one_fake_fails_that_ends_with_unused_faults(
    kind: Callable[[], Any], method: str, arguments: list[Any]
) -> None:
    error = infra.TimeoutError
    fake = kind()
    with pytest.raises(AssertionError) as caught, fake:
        fake.fail_next(method, error)
        fake.fail_next("*", error, times=2)
    assert str(caught.value) == (
        "these faults were not used, or not as often as asked for: "
        f"{method} of {type(fake).__name__}, * of {type(fake).__name__}"
    )
    with pytest.raises(infra.ConnectionError, match="closed"):
        getattr(fake, method)(*arguments)
    other = kind()
    with pytest.raises(ZeroDivisionError), other:
        other.fail_next(method, error)
        1 / 0  # noqa: B018
    last = kind()
    last.fail_next(method, error)
    last.close()
    with kind() as used:
        used.fail_next("*", error)
        with pytest.raises(error):
            getattr(used, method)(*arguments)


def test_all_fakes_that_are_context_managers_miss_unused_faults() -> None:
    found = {
        each
        for each in vars(fakes).values()
        if isinstance(each, type) and issubclass(each, fakes.Faults) and hasattr(each, "__exit__")
    }
    public = {each for each in found if not each.__name__.startswith("_")}
    assert public == {kind for kind, _, _ in CLOSEABLE}


@pytest.mark.parametrize("method", ["execute", "fetch_one", "fetch_all", "stream"])
def test_faults_of_sql_are_refused(method: str) -> None:
    """A fake runs no SQL: such a fault would never show."""
    database = fakes.FakeDatabase()
    words = f"there is no method '{method}' to fail; there are: health_check, insert_many, run, "
    with pytest.raises(infra.ValidationError, match=words):
        database.fail_next(method, infra.DatabaseError)
    database.fail_next("*", infra.TimeoutError)
    with pytest.raises(infra.TimeoutError):
        getattr(database, method)("SELECT 1")


def test_the_bundle_limits_codes() -> None:
    with fakes.FakeInfrastructure(clock := fakes.FakeClock()) as services:
        sent = 0
        for _ in range(8):
            try:
                services.verification.send_code(services.sms, PHONE)
                sent += 1
            except infra.RateLimitedError as error:
                clock.advance(error.retry_after)
        assert sent == len(services.sms.outbox) == 4


def test_the_cache_of_the_bundle_keeps_to_itself() -> None:
    with fakes.FakeInfrastructure() as services:
        services.verification.send_code(services.sms, PHONE)
        services.redis.set("mine", "1")
        services.cache.set("k", 1)
        services.cache.check_rate_limit("ada", 1, 60)
        assert services.cache.delete_pattern("*") == 1
        assert services.cache.check_rate_limit("ada", 1, 60).allowed is False
        assert services.cache.delete("ada") is True
        assert services.cache.check_rate_limit("ada", 1, 60).allowed is True
        assert services.redis.get("mine") == "1"
        assert services.verification.code_exists(PHONE) is True
        with pytest.raises(infra.RateLimitedError):
            services.verification.send_code(services.sms, PHONE)


def test_the_clock_of_the_bundle() -> None:
    clock = fakes.FakeClock()
    services = fakes.FakeInfrastructure(clock)
    assert services.clock is clock
    assert fakes.FakeInfrastructure().clock.now() == clock.now()
    for wrong in (infra.SystemClock(), fakes.FakeClock, "now"):
        with pytest.raises(infra.ConfigurationError, match="clock should be a FakeClock"):
            fakes.FakeInfrastructure(wrong)  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        services.clock = clock  # type: ignore[misc]


def test_the_bundle() -> None:
    with fakes.FakeInfrastructure() as services:
        services.redis.set_with_expiry("k", "v", 10)
        services.clock.advance(10)
        assert services.redis.get("k") is None
        services.verification.send_code(services.sms, PHONE)
        assert services.verification.verify_code(PHONE, services.sms.outbox[0].code or "") is True
        redis = services.redis
    with pytest.raises(infra.ConnectionError, match="closed"):
        redis.get("k")
    unused = infra.Infrastructure(infra.Config(sms=infra.SmsConfig(provider="mock")))
    unused.close()
    with pytest.raises(infra.ConnectionError, match="closed"):
        unused.sms  # noqa: B018
    assert isinstance(
        fakes.FakeInfrastructure.from_env({"REDIS_URL": "wrong"}).redis, fakes.FakeRedisClient
    )


@pytest.mark.parametrize("wrong", [5, "redis://localhost", {"a": 1}, infra.CacheConfig(), object])
def test_what_is_no_part_of_a_bundle(wrong: Any) -> None:
    client: Any
    for client in (infra.VerificationCache, infra.RedisCacheProvider, fakes.FakeCacheProvider):
        with pytest.raises(infra.ValidationError, match=r"^client should be a KeyValueClient"):
            client(wrong)
    with pytest.raises(infra.ConfigurationError, match=r"^config should be a Config"):
        infra.Infrastructure(wrong)
    config = infra.SmsConfig(
        provider="twilio", api_key=f"AC{0:032}", api_secret="x", sender="+15005550006"
    )
    builds: list[Callable[..., Any]] = [
        lambda **named: infra.Infrastructure(infra.Config(), **named),
        lambda **named: infra.TwilioSmsService(config, **named),
    ]
    for build in builds:
        with pytest.raises(infra.ConfigurationError, match=r"^clock should be a Clock"):
            build(clock=wrong)


@pytest.mark.real  # needs the drivers
@pytest.mark.parametrize("kind", [infra.S3StorageProvider, infra.RedisClient])
def test_what_is_no_part_of_a_client(kind: Any) -> None:
    for wrong in (5, "redis://localhost", {"a": 1}, infra.CacheConfig(), object):
        with pytest.raises(infra.ConfigurationError, match=r"^clock should be a Clock"):
            kind(clock=wrong)
    with pytest.raises(infra.ConfigurationError, match=r"^observer should be a function"):
        kind(observer=5)


@pytest.mark.parametrize("what", ["ids", "time"])
def test_a_signal_handler_does_the_same_in_the_middle(what: str) -> None:
    """Ids stay in order, no time is lost, and nobody waits for himself."""
    for number in itertools.count():
        clock, ids, ran = fakes.FakeClock(), list[uuid.UUID](), list[bool]()
        work: Callable[[], Any] = {
            "ids": lambda: ids.append(infra.new_id(clock)),
            "time": lambda: clock.advance(1),
        }[what]
        thread = threading.Thread(
            target=lambda: ran.append(
                handled_at(number, work, work, infra.__file__, fakes.__file__)
            ),
            daemon=True,
        )
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
        if ran == [False]:
            break
        if what == "ids":
            assert infra.new_id(clock) > max(ids)
        else:
            assert clock.monotonic() == 2
    assert number > 3


def test_a_bundle_that_closes_can_be_asked_by_what_it_waits_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As the event bus waits for a handler that is at work."""
    found: list[infra.SmsService] = []
    services = infra.Infrastructure(infra.Config(sms=infra.SmsConfig(provider="mock")))

    class Waits(infra.MockSmsService):
        def close(self) -> None:
            handler = threading.Thread(target=lambda: found.append(services.sms), daemon=True)
            handler.start()
            handler.join(WAIT)

    monkeypatch.setattr(infra, "create_sms_service", lambda *_, **__: Waits())
    sms = services.sms
    assert isinstance(sms, Waits)
    services.close()
    assert found == [sms]


def test_the_bundle_is_one() -> None:
    """Its parts share a Redis, two databases and the clock."""
    services, heard = fakes.FakeInfrastructure(), list[infra.Message]()
    clock = services.clock
    clock.advance(3600.5)
    services.cache.set("k", 1)
    services.verification.store_code(PHONE, "123456")
    event = infra.SystemEvent.CacheCleared("*")
    with services.redis.listen(lambda *message: heard.append(infra.Message(*message))) as ear:
        ear.subscribe("c")
        assert services.bus.publish("c", event) == 1
    assert [(message.channel, message.at) for message in heard] == [("c", clock.now())]
    assert heard[0].deserialize(infra.SystemEvent) == event
    assert len([*services.redis.scan()]) == 2
    clock.advance(300)
    assert [*services.redis.scan()] == ["cache:k"]
    user = services.phone_users.create_for_phone(PHONE)
    assert services.tokens.issue(user.id, 60).record.user_id == user.id
    assert services.tokens.database is services.phone_users.database is services.accounts
    ada = services.users.create(infra.User("ada@example.org", "ada"))
    acme = services.organizations.create(infra.Organization("Acme", "acme"), ada.id)
    mmlu = services.benchmarks.create(
        infra.Benchmark("mmlu", "MMLU", category="accuracy", created_by=ada.id)
    )
    made = services.submissions.create(infra.Submission(mmlu.id, mmlu.version_id, "m", ada.id))
    services.storage.create_bucket("bucket")
    services.storage.upload("bucket", "k", b"")
    now = datetime(2026, 1, 1, 1, 5, 0, 500_000, timezone.utc)
    assert clock.now() == now
    assert services.storage.get_metadata("bucket", "k").last_modified == now.replace(microsecond=0)
    token = services.tokens.find_by_user(user.id)[0]
    for record in (user, token, ada, acme, mmlu, made):
        assert record.created_at == now
    assert {each.database for each in (services.users, services.organizations)} == {
        services.exchange
    }
    assert services.cache.check_rate_limit("r", 1, 60).reset_at == now + timedelta(seconds=60)


def test_the_bundle_closes_what_was_built_last_first(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    services = fakes.FakeInfrastructure()
    names = ["sms", "bus", "storage", "redis", "exchange", "accounts"]

    def noting(name: str) -> Callable[[], None]:
        close = getattr(services, name).close

        def note() -> None:
            closed.append(name)
            close()

        return note

    for name in names:
        monkeypatch.setattr(getattr(services, name), "close", noting(name))
    services.close()
    assert closed == names
    assert services.sms.is_available() is False


def test_repositories_of_their_own() -> None:
    """Without a database each fake makes one of the engine that its real twin runs on."""
    clock = fakes.FakeClock(datetime(2030, 1, 1, tzinfo=timezone.utc))
    user = fakes.FakePhoneUserRepository(clock=clock).create_for_phone(PHONE)
    ada = fakes.FakeUserRepository(clock=clock).create(infra.User("ada@example.org", "ada"))
    assert user.created_at == ada.created_at == clock.now()
    kinds: list[tuple[type, str]] = [
        (fakes.FakePhoneUserRepository, "mysql"),
        (fakes.FakeTokenRepository, "mysql"),
        (fakes.FakeUserRepository, "postgres"),
        (fakes.FakeOrganizationRepository, "postgres"),
        (fakes.FakeBenchmarkRepository, "postgres"),
        (fakes.FakeSubmissionRepository, "postgres"),
    ]
    for kind, engine in kinds:
        one, other = kind(), kind()
        assert (one.database.engine, one.count()) == (engine, 0)
        assert one.database is not other.database
        assert one.database.health_check().service == engine
        one.down = True
        with pytest.raises(infra.ConnectionError) as caught:
            one.count()
        assert caught.value.service == engine
    other_key = fakes.FakePhoneUserRepository(hash_key="another key".ljust(32))
    assert other_key.create_for_phone(PHONE).phone_hash != user.phone_hash


def test_the_outbox_shows_no_phone_and_no_code_by_accident() -> None:
    sms = fakes.FakeSmsService()
    sms.send_verification_code(PHONE, "123456")
    assert "123456" not in repr(sms.outbox)
    assert "4155550100" not in repr(sms.outbox)


def test_a_fake_that_is_forgotten_does_not_warn() -> None:
    redis = fakes.FakeRedisClient()
    redis.set("k", "v")
    del redis
    gc.collect()  # warnings are errors here


def test_a_pattern_full_of_stars_is_quick() -> None:
    redis = fakes.FakeRedisClient()
    redis.set("a" * 200, "v")
    assert list(redis.scan("*a" * 50 + "b")) == []


def test_a_presigned_url_of_the_fake_ends() -> None:
    """On real stores the same is shown by `tests/faults/test_storage.py`."""
    clock = fakes.FakeClock()
    storage = fakes.FakeStorageProvider(clock=clock)
    storage.create_bucket("bucket")
    storage.upload("bucket", "k", b"x")
    url = storage.get_presigned_url("bucket", "k", 60)
    query = url.partition("?")[2].partition("&")
    for changed in (
        f"{url}#",
        f"{url}#part",
        f"{url}&more=",
        url.replace("?", "?X-Amz-Expires=600&"),
        url.replace(query[0], f"{query[0]}&{query[0]}"),
        url.replace("https", "ftp"),
        url.removeprefix("https:"),
        f" {url}",
        f"{url}\n",
        url.replace("X-Amz", "X-\tAmz", 1),
        "https://[",
    ):
        with pytest.raises(infra.StorageError, match="HTTP 403, SignatureDoesNotMatch"):
            storage.fetch(changed)
    clock.advance(59.9)
    assert storage.fetch(url) == b"x"
    clock.advance(0.1)
    with pytest.raises(infra.StorageError, match="HTTP 403, AccessDenied"):
        storage.fetch(url)


@pytest.mark.parametrize("content_type", [["a"], 5, "a\nb"])
def test_a_presigned_put_checks_its_type(content_type: Any) -> None:
    storage = fakes.FakeStorageProvider()
    storage.create_bucket("bucket")
    url = storage.get_presigned_url("bucket", "k", 60, method="PUT")
    with pytest.raises(infra.ValidationError, match="content_type should be"):
        storage.fetch(url, "PUT", b"x", content_type)
    assert storage.exists("bucket", "k") is False


# --- FakeDatabase


NOTES = fakes.Table(
    "notes",
    {
        "id": fakes.Column(int),
        "title": fakes.Column(str, null=True, length=5),
        "parent": fakes.Column(int, null=True),
    },
    unique={"notes_title_key": ("title",)},
    foreign_keys={"notes_parent_fkey": fakes.ForeignKey(("parent",), "notes", on_delete="cascade")},
)


@pytest.fixture
def notes() -> fakes.FakeTable:
    return fakes.FakeDatabase("mysql", [NOTES]).table("notes")


def test_a_fake_table_gives_and_takes_copies(notes: fakes.FakeTable) -> None:
    row = {"id": 1, "title": "a", "parent": None}
    notes.insert(row)
    row["title"] = "changed"
    found = notes.find(id=1)
    assert found == {"id": 1, "title": "a", "parent": None}
    found["title"] = "changed"
    notes.select()[0]["title"] = "changed"
    notes.select(lambda each: bool(each.update(title="changed")) or True)
    assert notes.find(title="a") == {"id": 1, "title": "a", "parent": None}
    assert notes.find(title="changed") is None


def test_a_fake_table_selects_in_order(notes: fakes.FakeTable) -> None:
    for number, title in enumerate(["b", None, "a", "c"], 1):
        notes.insert({"id": number, "title": title})
    assert [row["id"] for row in notes.select(order_by=["title"])] == [2, 3, 1, 4]
    assert [row["id"] for row in notes.select(order_by=["-title"])] == [4, 1, 3, 2]
    assert [row["id"] for row in notes.select({"title": None})] == [2]
    assert [
        row["id"] for row in notes.select(lambda row: row["id"] > 1, ["-id"], limit=2, offset=1)
    ] == [3, 2]
    assert notes.update(lambda row: row["id"] > 2, {"title": None}) == 2
    assert notes.delete({"title": None}) == 3
    assert [row["id"] for row in notes.select()] == [1]


@pytest.mark.parametrize(
    "call",
    [
        lambda t: t.insert({"id": 1, "nothing": 1}),
        lambda t: t.insert({"id": "1"}),
        lambda t: t.insert({"id": True}),
        lambda t: t.insert({"id": 1, "title": "123456"}),
        lambda t: t.select({"nothing": 1}),
        lambda t: t.select(order_by=["nothing"]),
        lambda t: t.update(None, {"nothing": 1}),
        lambda t: t.delete({"nothing": 1}),
    ],
)
def test_a_fake_table_refuses(
    notes: fakes.FakeTable, call: Callable[[fakes.FakeTable], object]
) -> None:
    with pytest.raises(infra.DatabaseError):
        call(notes)
    assert notes.select() == []


def test_a_fake_database_knows_its_tables() -> None:
    database = fakes.FakeDatabase("mysql", [NOTES])
    with pytest.raises(infra.DatabaseError):
        database.table("nothing")
    assert database.table("notes").rules == NOTES


@any_text
def test_tables_take_text_of_any_subclass(text: Text) -> None:
    rules = fakes.Table(text("notes"), NOTES.columns, unique=NOTES.unique)
    database = fakes.FakeDatabase(text("mysql"), [rules])
    assert plain([database.dialect, rules.name]) == ["mysql", "notes"]
    notes = database.table(text("notes"))
    notes.insert({"id": 1, "title": text("b"), "parent": Number.ONE})
    notes.insert({"id": 2, "title": text("a")})
    assert plain(notes.find(title=text("b "))) == {"id": 1, "title": "b", "parent": 1}
    with pytest.raises(infra.ConflictError) as caught:
        notes.insert({"id": 1})
    assert caught.value.constraint == "notes_pkey"
    assert notes.update({"title": text("b")}, {"title": text("c")}) == 1
    assert plain(notes.select(order_by=[text("title")])) == [
        {"id": 2, "title": "a", "parent": None},
        {"id": 1, "title": "c", "parent": 1},
    ]
    assert notes.delete({"title": text("a ")}) == 1
    redis = fakes.FakeRedisClient()
    redis.fail_next(text("get"), infra.TimeoutError)
    with pytest.raises(infra.TimeoutError):
        redis.get("k")


@any_text
def test_a_presigned_put_of_any_subclass(text: Text) -> None:
    storage = fakes.FakeStorageProvider()
    storage.create_bucket("bucket")
    url = storage.get_presigned_url("bucket", "k", 60, "PUT")
    storage.fetch(text(url), text("PUT"), b"data", text("text/plain"))
    assert plain(storage.get_metadata("bucket", "k")).content_type == "text/plain"


def test_the_rules_of_a_column() -> None:
    """Without more, a column is NOT NULL and takes a text of any length; a reference restricts."""
    tables = [
        fakes.Table("parents", {"id": fakes.Column(int), "text": fakes.Column(str)}),
        fakes.Table(
            "children",
            {"id": fakes.Column(int), "parent": fakes.Column(int, null=True)},
            foreign_keys={"children_parent_fkey": fakes.ForeignKey(("parent",), "parents")},
        ),
    ]
    database = fakes.FakeDatabase("postgres", tables)
    parents, children = database.table("parents"), database.table("children")
    with pytest.raises(infra.ConflictError) as caught:
        parents.insert({"id": 1})
    assert (caught.value.constraint, caught.value.kind) == ("parents_text_not_null", "not_null")
    parents.insert({"id": 1, "text": "x" * 100_000})
    assert parents.find(id=1) == {"id": 1, "text": "x" * 100_000}
    children.insert({"id": 5, "parent": 1})
    with pytest.raises(infra.ConflictError) as caught:
        parents.delete({"id": 1})
    assert (caught.value.constraint, caught.value.kind) == ("children_parent_fkey", "foreign_key")
    assert children.find(id=5) == {"id": 5, "parent": 1}


@pytest.mark.parametrize("dialect", ["mysql", "mariadb", "postgres"])
def test_a_key_of_several_columns_with_a_null(dialect: str) -> None:
    """It equals no other, and refers to nothing (SQL's MATCH SIMPLE): so do MySQL and Postgres."""
    number, maybe = fakes.Column(int), fakes.Column(int, null=True)
    tables = [
        fakes.Table("parents", {"a": number, "b": number}, ("a", "b")),
        fakes.Table(
            "children",
            {"id": number, "a": maybe, "b": maybe},
            unique={"children_a_b_key": ("a", "b")},
            foreign_keys={"children_a_fkey": fakes.ForeignKey(("a", "b"), "parents", ("a", "b"))},
        ),
    ]
    children = fakes.FakeDatabase(dialect, tables).table("children")
    for id in (1, 2):
        children.insert({"id": id, "a": 5, "b": None})
    assert [row["id"] for row in children.select({"a": 5, "b": None})] == [1, 2]
    with pytest.raises(infra.ConflictError) as caught:
        children.insert({"id": 3, "a": 5, "b": 6})
    assert (caught.value.constraint, caught.value.kind) == ("children_a_fkey", "foreign_key")


def test_the_table_of_a_repository() -> None:
    @dataclass(frozen=True)
    class Note:
        title: str
        text: str | None
        id: uuid.UUID = infra.FILLED

    class Notes(fakes.FakeRepository[Note]):
        record, table, resource = Note, "notes", "note"
        lengths: ClassVar = {"title": 3}

    rules = fakes.Table.of(Notes)
    assert rules == fakes.Table(
        "notes",
        {
            "title": fakes.Column(str, False, 3),
            "text": fakes.Column(str, True, None),
            "id": fakes.Column(uuid.UUID, False, None),
        },
        ("id",),
    )
    notes = fakes.FakeDatabase("mysql", [rules]).table("notes")
    with pytest.raises(infra.ConflictError):
        notes.insert({"id": infra.new_id(), "title": None})
    with pytest.raises(infra.DatabaseError, match="does not fit"):
        notes.insert({"id": infra.new_id(), "title": "four"})
    notes.insert({"id": infra.new_id(), "title": "123", "text": None})


@pytest.mark.parametrize("absent", ["record", "table", "resource"])
def test_what_a_repository_has_to_set(absent: str) -> None:
    given = {"record": infra.User, "table": "users", "resource": "user"}
    del given[absent]
    port: Any = type("Notes", (infra.Repository,), given)
    fake: Any = type("FakeNotes", (fakes.FakeRepository, port), {})
    for build, name in (
        (lambda: fakes.Table.of(port), "Notes"),
        (lambda: fake(fakes.FakeDatabase("postgres", fakes.POSTGRES_TABLES)), "FakeNotes"),
    ):
        with pytest.raises(infra.ConfigurationError, match=f"^{name} should set {absent}$"):
            build()


@pytest.mark.real  # needs the driver
@pytest.mark.parametrize("absent", ["record", "table", "resource"])
def test_what_a_repository_on_a_server_has_to_set(absent: str) -> None:
    given = {"record": infra.User, "table": "users", "resource": "user"}
    del given[absent]
    kind: Any = type("SqlNotes", (infra.SqlRepository,), given)
    pool = infra.create_pool(infra.DatabaseConfig(url="postgres://u:p@127.0.0.1:1/db"))
    with pool, pytest.raises(infra.ConfigurationError, match=f"^SqlNotes should set {absent}$"):
        kind(pool)


def test_what_the_database_of_a_fake_lacks() -> None:
    """The tables of a fake come from no migration: the message says where they come from."""
    words = r'FakeDatabase .*\(pass a fakes.Table.of\(...\) that has it in tables\): "{}"$'
    with pytest.raises(infra.DatabaseError, match=words.format("users")):
        fakes.FakeUserRepository(fakes.FakeDatabase("postgres"))
    users = fakes.FakeUserRepository().database.table("users")
    with pytest.raises(infra.DatabaseError, match=words.format("nothing")):
        users.insert({"nothing": 1})


def test_messages_need_no_article() -> None:
    organizations: Any = fakes.FakeOrganizationRepository()
    words = "^the organization should be of class Organization$"
    with pytest.raises(infra.ValidationError, match=words):
        organizations.update(5)
    words = r"^FakeOrganizationRepository.create takes more than a record: use a TableTarget$"
    with pytest.raises(infra.ConfigurationError, match=words):
        infra.RepositoryTarget(organizations)
    wrong: Any = 5
    words = r"^Config.storage should be of class S3StorageConfig$"
    with pytest.raises(infra.ConfigurationError, match=words):
        infra.Config(storage=wrong)
    source = infra.TableSource(fakes.FakePhoneUserRepository().database, "phone_users")
    target = infra.RepositoryTarget(fakes.FakeUserRepository())
    with pytest.raises(infra.MoveError, match=r"^the user has no phone_hash$"):
        infra.RowMove("phones", source=source, target=target).run()


def test_rows_that_refer_to_their_own_table(notes: fakes.FakeTable) -> None:
    notes.insert({"id": 1, "parent": 1})
    notes.insert({"id": 2, "parent": 1})
    notes.insert({"id": 3, "parent": 2})
    with pytest.raises(infra.ConflictError) as caught:
        notes.insert({"id": 4, "parent": 5})
    assert caught.value.constraint == "notes_parent_fkey"
    assert notes.delete({"id": 2}) == 1
    assert [row["id"] for row in notes.select()] == [1]
    assert notes.delete({"id": 1}) == 1


@pytest.mark.parametrize("seconds", [None, 5.0, 11_770_000_000.0])  # of a test that stops time
def test_a_lock_timeout_can_be_repeated(
    monkeypatch: pytest.MonkeyPatch, seconds: float | None
) -> None:
    database = fakes.FakeDatabase("mysql", [NOTES], lock_timeout=0.01)
    notes = database.table("notes")

    def other(_: int) -> None:
        with database.transaction():
            notes.insert({"id": 2})

    with database.transaction():
        notes.insert({"id": 1})
        with monkeypatch.context() as patch:
            if seconds is not None:
                patch.setattr(time, "monotonic", lambda: seconds)
            error = in_threads(1, other)[0]
    assert type(error) is infra.DatabaseError
    assert error.retryable is True
    assert [row["id"] for row in notes.select()] == [1]


@pytest.mark.parametrize(("dialect", "rows"), [("mysql", [1]), ("postgres", [1, 3])])
def test_a_lock_timeout_in_a_nested_block(dialect: str, rows: list[int]) -> None:
    """MySQL's block cannot go on; Postgres goes back to the savepoint."""
    database = fakes.FakeDatabase(dialect, [NOTES], lock_timeout=0.01)
    notes, held, timed_out = database.table("notes"), threading.Event(), threading.Event()

    def first() -> None:
        with database.transaction():
            notes.insert({"id": 1})
            held.set()
            assert timed_out.wait(WAIT)

    def second() -> None:
        with database.transaction():
            assert held.wait(WAIT)
            with pytest.raises(infra.DatabaseError) as caught, database.transaction():
                notes.insert({"id": 2})
            assert caught.value.retryable is True
            timed_out.set()
            eventually(lambda: [row["id"] for row in notes.select()] == [1])
            notes.insert({"id": 3})

    results = in_threads(2, lambda number: (first, second)[number]())
    assert results[0] is None
    if dialect == "mysql":
        assert type(results[1]) is infra.DatabaseError
        assert "cannot go on" in str(results[1])
    else:
        assert results[1] is None
    assert [row["id"] for row in notes.select()] == rows


def test_killed_connections() -> None:
    database = fakes.FakeDatabase("mysql", [NOTES])
    notes = database.table("notes")
    notes.insert({"id": 1})
    with pytest.raises(infra.DatabaseError, match="was rolled back"), database.transaction():
        notes.insert({"id": 2})
        database.kill_connections()
        with pytest.raises(infra.ConnectionError):
            notes.insert({"id": 3})
        with pytest.raises(infra.DatabaseError, match="cannot go on"):
            notes.insert({"id": 3})
    with pytest.raises(infra.ConnectionError), database.transaction():
        notes.insert({"id": 2})
        database.kill_connections()  # the COMMIT finds out
    assert [row["id"] for row in notes.select()] == [1]


def test_a_database_that_is_down_takes_its_repositories_along() -> None:
    services = fakes.FakeInfrastructure()
    services.accounts.down = True
    with pytest.raises(infra.ConnectionError), services.accounts.transaction():
        pass
    with pytest.raises(infra.ConnectionError):
        services.phone_users.count()
    services.accounts.down = False
    services.accounts.fail_next("transaction", infra.PoolTimeoutError("all in use"))
    with pytest.raises(infra.PoolTimeoutError):
        services.accounts.run(lambda: None)
    assert services.phone_users.count() == 0


def test_run_repeats_a_deadlock_made_on_purpose() -> None:
    services = fakes.FakeInfrastructure()
    services.phone_users.fail_next(
        "create", infra.DatabaseError("deadlock", retryable=True), times=2, after_apply=True
    )
    user = services.accounts.run(
        lambda: services.phone_users.create(infra.PhoneUser("ab" * 32, "1"))
    )
    assert services.phone_users.page().items == [user]


def test_fake_databases_share_nothing() -> None:
    one, two = fakes.FakeInfrastructure(), fakes.FakeInfrastructure()
    one.phone_users.create_for_phone(PHONE)
    assert two.phone_users.count() == 0


def test_an_unknown_dialect() -> None:
    with pytest.raises(infra.ConfigurationError):
        fakes.FakeDatabase("sqlite")


def test_postgres_looks_for_parents_at_the_end_of_the_statement() -> None:
    rows = [(2, None, 1), (1, None, None)]  # the child comes first
    database = fakes.FakeDatabase("postgres", [NOTES])
    assert database.insert_many("notes", ["id", "title", "parent"], rows) == 2
    with pytest.raises(infra.ConflictError):
        database.insert_many("notes", ["id", "title", "parent"], [(4, None, 5)])
    with pytest.raises(infra.ConflictError):
        fakes.FakeDatabase("mysql", [NOTES]).insert_many("notes", ["id", "title", "parent"], rows)
    assert [row["id"] for row in database.table("notes").select(order_by=["id"])] == [1, 2]


@pytest.mark.parametrize(
    ("dialect", "order"), [("mysql", [2, 3, 1, 4]), ("postgres", [3, 1, 4, 2])]
)
def test_null_and_blanks_in_the_order(dialect: str, order: list[int]) -> None:
    notes = fakes.FakeDatabase(dialect, [NOTES]).table("notes")
    for number, title in enumerate(["a", None, "a\t" if dialect == "mysql" else "Z", "b"], 1):
        notes.insert({"id": number, "title": title})
    assert [row["id"] for row in notes.select(order_by=["title"])] == order


def test_an_outage_ends_a_transaction() -> None:
    database = fakes.FakeDatabase("mysql", [NOTES])
    notes = database.table("notes")
    with pytest.raises(infra.DatabaseError, match="was rolled back"), database.transaction():
        notes.insert({"id": 1})
        database.down = True
        with pytest.raises(infra.ConnectionError):
            notes.insert({"id": 2})
        database.down = False
        with pytest.raises(infra.DatabaseError, match="cannot go on"):
            notes.insert({"id": 3})
    assert notes.select() == []
    with database.transaction():
        notes.insert({"id": 1})
        database.close()  # what is in use is finished first
    with pytest.raises(infra.ConnectionError):
        notes.select()


@pytest.mark.parametrize("dialect", ["mysql", "postgres"])
def test_an_outage_that_a_block_meets(dialect: str) -> None:
    """Whichever call meets it, the connection is gone, and with it what the block did."""
    database = fakes.FakeDatabase(dialect, [NOTES])
    notes = database.table("notes")
    notes.insert({"id": 1})

    def nested() -> None:
        with database.transaction():
            pytest.fail("there is no savepoint")

    calls: list[tuple[str, Callable[[], Any]]] = [
        ("insert", lambda: notes.insert({"id": 3})),
        ("select", notes.select),
        ("savepoint", nested),
        ("savepoint", lambda: database.run(lambda: None)),
        ("savepoint", lambda: database.insert_many("notes", ["id"], [(3,)])),
        ("health_check", database.health_check),
    ]
    for operation, call in calls:
        with pytest.raises(infra.DatabaseError, match="was rolled back"), database.transaction():
            notes.insert({"id": 2})
            database.down = True
            with pytest.raises(infra.ConnectionError) as caught:
                call()
            assert (caught.value.operation, caught.value.service) == (operation, dialect)
            assert database.stats().in_use == 1  # asks nobody
            database.down = False
            for _, refused in calls:
                with pytest.raises(infra.DatabaseError, match="cannot go on"):
                    refused()
        assert [row["id"] for row in notes.select()] == [1]
        assert database.stats().in_use == 0


@pytest.mark.parametrize("dialect", ["mysql", "postgres"])
@pytest.mark.parametrize("how", ["down", "killed"])
def test_an_outage_that_the_commit_meets(dialect: str, how: str) -> None:
    """As in tests/faults of the real one: nothing is stored, and ``run`` does not repeat it."""
    database = fakes.FakeDatabase(dialect, [NOTES])
    notes, calls = database.table("notes"), list[int]()

    def work() -> None:
        calls.append(1)
        notes.insert({"id": len(calls)})
        if how == "down":
            database.down = True
        else:
            database.kill_connections()

    def transact() -> None:
        with database.transaction():
            work()

    ways: list[Callable[[], None]] = [transact, lambda: database.run(work)]
    for number, way in enumerate(ways, 1):
        with pytest.raises(infra.ConnectionError) as caught:
            way()
        assert (caught.value.operation, len(calls)) == ("commit", number)
        database.down = False
        assert (notes.select(), database.stats().in_use) == ([], 0)
    with pytest.raises(ZeroDivisionError), database.transaction():  # says more than the outage
        work()
        raise ZeroDivisionError
    database.down = False
    with pytest.raises(infra.DatabaseError, match="was rolled back"), database.transaction():
        notes.insert({"id": 8})
        with pytest.raises(infra.ConnectionError), database.transaction():
            notes.insert({"id": 9})
            work()  # the RELEASE of the savepoint finds out
        database.down = False
    assert (notes.select(), database.stats().in_use) == ([], 0)


@pytest.mark.parametrize("after_apply", [False, True])
@pytest.mark.parametrize(
    ("dialect", "error", "goes_on"),
    [
        ("mysql", infra.ConnectionError("gone"), False),
        ("mysql", infra.DatabaseError("a deadlock", retryable=True), False),
        ("mysql", infra.ConflictError("taken"), True),
        ("mysql", infra.TimeoutError("no answer"), False),
        ("mysql", infra.TimeoutError("query_timeout", retryable=False), True),
        ("mysql", infra.PoolTimeoutError("all in use"), False),
        ("mysql", infra.NotFoundError("no such note"), True),
        ("postgres", infra.ConnectionError("gone"), False),
        ("postgres", infra.ConflictError("taken"), False),
        ("postgres", infra.TimeoutError("no answer"), False),
        ("postgres", infra.TimeoutError("query_timeout", retryable=False), False),
        ("postgres", infra.DatabaseError("refused"), False),
        ("mysql", infra.DatabaseError("refused"), True),
        ("postgres", infra.NotFoundError("no such note"), True),
        ("postgres", infra.ValidationError("too long"), True),
        ("mysql", KeyboardInterrupt(), False),
        ("postgres", ZeroDivisionError("of a signal handler"), False),
    ],
    ids=repr,
)
def test_a_fault_inside_a_block_has_the_errors_effect(
    dialect: str, error: BaseException, goes_on: bool, after_apply: bool
) -> None:
    """Of a read, too: the caller who catches it cannot go on with a transaction that is no more."""

    @dataclass(frozen=True)
    class Note:
        title: str
        id: uuid.UUID = infra.FILLED

    class Notes(fakes.Faults, fakes.FakeRepository[Note]):
        record, table, resource = Note, "notes", "note"

    database = fakes.FakeDatabase(dialect, [fakes.Table.of(Notes)])
    notes = Notes(database)
    notes.fail_next("count", error, after_apply=after_apply)
    if goes_on:
        with database.transaction():
            notes.create(Note("a"))
            with pytest.raises(type(error)):
                notes.count()
            notes.create(Note("b"))
        assert notes.count() == 2
        return
    with pytest.raises(infra.DatabaseError, match="was rolled back"), database.transaction():
        notes.create(Note("a"))
        with pytest.raises(type(error)):
            notes.count()
        with pytest.raises(infra.DatabaseError, match="cannot go on"):
            notes.create(Note("b"))
    assert notes.count() == 0


@pytest.mark.parametrize(("dialect", "healed"), [("mysql", False), ("postgres", True)])
def test_a_deadlock_in_a_nested_block(dialect: str, healed: bool) -> None:
    """MySQL has rolled back the whole transaction; Postgres goes back to the savepoint."""

    @dataclass(frozen=True)
    class Note:
        title: str
        id: uuid.UUID = infra.FILLED

    class Notes(fakes.Faults, fakes.FakeRepository[Note]):
        record, table, resource = Note, "notes", "note"

    database = fakes.FakeDatabase(dialect, [fakes.Table.of(Notes)])
    notes = Notes(database)
    notes.fail_next("count", infra.DatabaseError("a deadlock", retryable=True))

    def work() -> None:
        with database.transaction():
            notes.create(Note("a"))
            with pytest.raises(infra.DatabaseError, match="a deadlock"), database.transaction():
                notes.create(Note("b"))
                notes.count()
            notes.create(Note("c"))

    if healed:
        work()
        assert sorted(each.title for each in notes.page().items) == ["a", "c"]
    else:
        with pytest.raises(infra.DatabaseError, match="cannot go on"):
            work()
        assert notes.count() == 0


def test_a_repository_that_is_down_takes_the_block_along() -> None:
    services = fakes.FakeInfrastructure()
    with (
        pytest.raises(infra.DatabaseError, match="was rolled back"),
        services.accounts.transaction(),
    ):
        services.phone_users.create_for_phone(PHONE)
        services.tokens.down = True
        with pytest.raises(infra.ConnectionError):
            services.tokens.count()
        with pytest.raises(infra.DatabaseError, match="cannot go on"):
            services.phone_users.count()
    assert services.phone_users.count() == 0


def test_faults_of_a_database_reach_its_repositories() -> None:
    """And its tables: those told for any method, as an outage does."""
    services = fakes.FakeInfrastructure()
    exchange, users = services.exchange, services.users
    table = exchange.table("users")
    calls: list[Callable[[], Any]] = [
        users.count,
        lambda: services.organizations.find_by_slug("acme"),
        table.select,
        lambda: table.find(id=infra.new_id()),
        lambda: table.insert({}),
        lambda: table.update({"id": infra.new_id()}, {}),
        lambda: table.delete({"id": infra.new_id()}),
        exchange.health_check,
    ]
    exchange.fail_next("*", infra.TimeoutError("the fault"), times=len(calls))
    assert services.phone_users.count() == 0  # of another database
    exchange.down = True
    with pytest.raises(infra.ConnectionError, match="down on purpose"):
        users.count()
    exchange.down = False
    for call in calls:
        with pytest.raises(infra.TimeoutError, match="the fault"):
            call()
    assert users.count() == 0
    exchange.fail_next("*", infra.TimeoutError("the database's"))
    users.fail_next("count", infra.TimeoutError("its own"))
    for words in ("its own", "the database's"):
        with pytest.raises(infra.TimeoutError, match=words):
            users.count()
    exchange.fail_next("health_check", infra.TimeoutError("named"))
    assert users.count() == 0
    with pytest.raises(infra.TimeoutError, match="named"):
        exchange.health_check()


def test_faults_of_a_database_end_the_block() -> None:
    services = fakes.FakeInfrastructure()
    with (
        pytest.raises(infra.DatabaseError, match="was rolled back"),
        services.exchange.transaction(),
    ):
        services.users.create(infra.User("a@example.com", "ada"), "hash")
        services.exchange.fail_next("*", infra.ConnectionError("gone"))
        with pytest.raises(infra.ConnectionError, match="gone"):
            services.organizations.count()
        with pytest.raises(infra.DatabaseError, match="cannot go on"):
            services.users.count()
    assert services.users.count() == 0


@pytest.mark.parametrize("dialect", ["mysql", "postgres"])
@pytest.mark.parametrize("error", [infra.ConnectionError("gone"), infra.TimeoutError("no answer")])
def test_a_lost_connection_lets_others_write(
    dialect: str, error: infra.InfrastructureError
) -> None:
    """The server has rolled back, whatever the block's thread does meanwhile."""
    database = fakes.FakeDatabase(dialect, [NOTES], lock_timeout=0.01)
    notes = database.table("notes")
    with pytest.raises(infra.DatabaseError, match="was rolled back"), database.transaction():
        with database.transaction():
            notes.insert({"id": 1})
        database.fail_next("health_check", error)
        with pytest.raises(type(error)):
            database.health_check()
        assert in_threads(1, lambda _: notes.insert({"id": 1, "title": "other"})) == [None]
    assert [row["title"] for row in notes.select()] == ["other"]


@pytest.mark.parametrize("dialect", ["mysql", "postgres"])
def test_a_commit_whose_reply_is_lost(dialect: str) -> None:
    """As in tests/faults of the real one: the block is done, and stored, and its end raises."""
    database = fakes.FakeDatabase(dialect, [NOTES])
    notes, calls = database.table("notes"), list[int]()

    def lose(error: BaseException | type[BaseException] = infra.ConnectionError) -> None:
        database.fail_next("transaction", error, after_apply=True)

    def work() -> None:
        calls.append(1)
        notes.insert({"id": len(calls)})

    lose(infra.ConnectionError("the reply is lost"))
    with pytest.raises(infra.ConnectionError, match="the reply is lost"), database.transaction():
        work()
        assert database.stats().in_use == 1
    assert (len(notes.select()), database.stats().in_use) == (1, 0)
    lose()
    with pytest.raises(infra.ConnectionError):
        database.run(work)
    assert (len(calls), len(notes.select())) == (2, 2)
    lose()
    with pytest.raises(infra.ConnectionError):
        database.insert_many("notes", ["id"], [(3,), (4,)])
    assert len(notes.select()) == 4
    lose()
    with pytest.raises(ZeroDivisionError), database.transaction():  # says more, and rolls back
        notes.insert({"id": 5})
        raise ZeroDivisionError
    assert len(notes.select()) == 4
    with pytest.raises(infra.DatabaseError, match="was rolled back"), database.transaction():
        lose()
        with pytest.raises(infra.ConnectionError), database.transaction():
            notes.insert({"id": 5})  # the RELEASE of the savepoint is lost, and the connection
    lose(infra.ConflictError("not of the connection"))
    with contextlib.suppress(infra.DatabaseError), database.transaction():
        notes.insert({"id": 5})
        with pytest.raises(infra.ConflictError), database.transaction():
            raise infra.ConflictError
    assert [row["id"] for row in notes.select()] == [1, 2, 3, 4, 5]
    lose(infra.ConnectionError("lost, too"))
    database.fail_next("transaction", infra.PoolTimeoutError("all in use"))
    with pytest.raises(infra.ConnectionError), database.transaction():
        pass
    with pytest.raises(infra.PoolTimeoutError), database.transaction():
        pytest.fail("there is no block")


def test_one_call_uses_up_one_fault() -> None:
    """Also one that makes further calls of the same fake, or of the one that it stands on."""

    class Twice(infra.KeyValueClient):
        def set_twice(self, key: str) -> None:
            self.set(key, "1")
            self.set(key, "2")

    class FakeTwice(fakes.FakeRedisClient, Twice): ...

    services = fakes.FakeInfrastructure()
    accounts, users, redis = services.accounts, services.phone_users, FakeTwice()
    numbers = itertools.count(10)

    def insert() -> int:
        user = infra.PhoneUser(f"{next(numbers):064}", "1", "worker", id=infra.new_id())
        columns = {**vars(user), "created_at": NOON, "updated_at": NOON}
        return accounts.insert_many("phone_users", [*columns], [[*columns.values()]])

    def create() -> infra.PhoneUser:
        return users.create_for_phone(f"+141555501{next(numbers)}")

    organization = infra.Organization("Acme", "acme", "company")
    user = services.users.create(infra.User("a@example.com", "ada"), "hash")
    calls: list[tuple[fakes.Faults, Callable[[], Any], Callable[[], Any]]] = [
        (accounts, lambda: accounts.run(lambda: 1), accounts.health_check),
        (accounts, insert, users.count),
        (accounts, create, users.count),
        (users, create, users.count),
        (redis, lambda: redis.set_twice("k"), lambda: redis.get("k")),
        (
            services.exchange,
            lambda: services.organizations.create(organization, user.id),
            services.organizations.count,
        ),
    ]
    for fake, call, look in calls:
        fake.fail_next("*", infra.TimeoutError("the fault"), times=2, after_apply=True)
        with pytest.raises(infra.TimeoutError, match="the fault"):
            call()
        with pytest.raises(infra.InfrastructureError) as second:
            look() if fake is not users else users.exists_by_phone(PHONE)
        assert str(second.value) == "the fault"
        look()
    assert redis.get("k") == "2"
    assert users.count() == 3
    assert services.organizations.count() == 1
    # A fault that is told by its name is met wherever the method is called.
    accounts.fail_next("transaction", infra.PoolTimeoutError("all in use"))
    with pytest.raises(infra.PoolTimeoutError):
        accounts.run(lambda: None)


def test_what_is_read_bit_by_bit_ends_with_an_outage() -> None:
    storage, redis = fakes.FakeStorageProvider(), fakes.FakeRedisClient()
    storage.create_bucket("bucket")
    for key in ("a", "b", "c"):
        storage.upload("bucket", key, b"data")
        redis.set(key, "1")

    class Numbers:
        def count_up(self) -> Iterator[int]:
            yield from (1, 2, 3)

    class FakeNumbers(fakes.Faults, Numbers): ...

    numbers = FakeNumbers()
    reads: list[tuple[Any, Callable[[], Iterator[Any]]]] = [
        (storage, lambda: storage.list_objects("bucket")),
        (redis, redis.scan),
        (numbers, numbers.count_up),
    ]
    for fake, read in reads:
        items, untouched = read(), read()
        next(items)
        fake.down = True
        for each in (items, untouched):
            with pytest.raises(infra.ConnectionError, match="down on purpose"):
                next(each)
        fake.down = False
        assert len(list(read())) > 2
    for closing, read in ((storage, reads[0][1]), (redis, reads[1][1])):
        items = read()
        next(items)
        closing.close()
        with pytest.raises(infra.ConnectionError, match="closed"):
            next(items)


def test_a_fetch_can_fail() -> None:
    storage = fakes.FakeStorageProvider()
    storage.create_bucket("bucket")
    storage.upload("bucket", "a", b"data")
    url = storage.get_presigned_url("bucket", "a", 60)
    storage.fail_next("fetch", infra.TimeoutError("no answer"))
    with pytest.raises(infra.TimeoutError, match="no answer"):
        storage.fetch(url)
    storage.fail_next("*", infra.StorageError("refused"))
    with pytest.raises(infra.StorageError, match="refused"):
        storage.fetch(url)
    assert storage.fetch(url) == b"data"


def test_the_turn_of_a_thread_that_has_ended() -> None:
    """It goes to the caller that waits for it."""
    database, kept = fakes.FakeDatabase("mysql", [NOTES], lock_timeout=60), list[Any]()
    notes, inside, waits = database.table("notes"), threading.Event(), threading.Event()

    def ends() -> None:
        kept.append(database.transaction())
        kept[-1].__enter__()
        notes.insert({"id": 1})
        inside.set()
        assert waits.wait(WAIT)

    def wants() -> None:
        assert inside.wait(WAIT)
        notes.insert({"id": 2})

    joins = in_background(wants), in_background(ends)
    eventually(lambda: database.stats().waiting == 1)
    waits.set()
    assert [join() for join in joins] == [None, None]
    assert [row["id"] for row in notes.select()] == [2]
    assert database.stats() == infra.PoolStats(None, 0, 0, 0, 0)


def test_a_task_does_not_wait_for_its_own_thread() -> None:
    """Where another task of this thread has written: that one cannot go on meanwhile."""
    database = fakes.FakeDatabase("mysql", [NOTES], lock_timeout=60)
    notes = database.table("notes")

    async def first(written: asyncio.Event, done: asyncio.Event) -> None:
        with database.transaction():
            notes.insert({"id": 1})
            written.set()
            await done.wait()

    async def work() -> None:
        written, done = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(first(written, done))
        await written.wait()
        assert notes.select() == []
        with pytest.raises(infra.DatabaseError) as caught, database.transaction():
            notes.insert({"id": 2})
        assert caught.value.retryable is True
        done.set()
        await task
        notes.insert({"id": 2})

    asyncio.run(work())
    assert [row["id"] for row in notes.select()] == [1, 2]


class Interrupt:
    """Raise KeyboardInterrupt where Python handles signals in the library's code.

    That is as a function begins, and behind a call.

    Left out are the moment behind ``__enter__``, at which Python itself does not look, and
    generator expressions, which may be closed where nothing can be raised.
    """

    FILES: ClassVar = {infra.__file__, fakes.__file__, threading.__file__}
    LEFT_OUT: ClassVar = {("return", "__enter__")}

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "c_call" or code.co_filename not in self.FILES:
            return
        if code.co_name == "<genexpr>" or (event, code.co_name) in self.LEFT_OUT:
            return
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    def during(self, work: Callable[[], None]) -> bool:
        """Whether it came."""
        sys.setprofile(self)
        try:
            work()
        except KeyboardInterrupt:
            return True
        finally:
            sys.setprofile(None)
        return False


@pytest.mark.parametrize("block", [True, False])
def test_ctrl_c_locks_nobody_out(block: bool) -> None:
    """At whatever moment it comes, others can write, and see all that was written or nothing."""
    before = {1: ("a", None), 2: ("b", 1), 3: ("c", 2)}
    done = {4: ("a", None), 5: ("e", 4)} if block else {1: ("a", None)}

    def transact(database: fakes.FakeDatabase, notes: fakes.FakeTable) -> None:
        if not block:
            notes.delete({"id": 2})  # and 3 with it
            return
        with database.transaction():
            notes.delete({"id": 1})
            notes.insert({"id": 4, "title": "d"})
            with database.transaction():
                notes.insert({"id": 5, "title": "e", "parent": 4})
            notes.update({"id": 4}, {"title": "a"})

    def look(database: fakes.FakeDatabase, notes: fakes.FakeTable) -> None:
        assert database.stats().in_use == 0
        rows = {row["id"]: (row["title"], row["parent"]) for row in notes.select()}
        assert rows in (before, done)
        titles = {title for title, _ in rows.values()}
        for number, title in enumerate("abcde", 10):
            assert (notes.find(title=title) is not None) == (title in titles)
            with contextlib.suppress(infra.ConflictError):
                notes.insert({"id": number, "title": title})
        assert len(notes.select()) == len(rows) + 5 - len(titles)

    gc.collect()  # nothing ends while the moments are counted, also of earlier tests
    kept = []
    for moment in itertools.count(1):
        database = fakes.FakeDatabase("mysql", [NOTES], lock_timeout=0.01)
        notes = database.table("notes")
        kept.append(database)
        for number, (title, parent) in before.items():
            notes.insert({"id": number, "title": title, "parent": parent})
        came = Interrupt(moment).during(functools.partial(transact, database, notes))
        assert in_threads(1, lambda _: look(database, notes)) == [None], moment
        if not came:
            break
    assert moment > (150 if block else 50)


@pytest.mark.parametrize("dialect", ["mysql", "postgres"])
def test_a_block_that_was_interrupted_as_it_began_takes_no_savepoint(dialect: str) -> None:
    """The block around it is undone from its own beginning."""
    database = fakes.FakeDatabase(dialect, [NOTES])
    notes = database.table("notes")

    def begin() -> None:
        with database.transaction():
            pass

    def work() -> None:
        with contextlib.suppress(ZeroDivisionError, infra.DatabaseError), database.transaction():
            notes.insert({"id": 1, "title": "a"})
            with contextlib.suppress(ZeroDivisionError), database.transaction():
                notes.insert({"id": 2, "title": "b"})
                came.append(Interrupt(moment).during(begin))
                raise ZeroDivisionError
            notes.insert({"id": 3, "title": "c"})

    came, results = [True], []
    for moment in itertools.count(1):
        work()
        results.append([row["id"] for row in notes.select()])
        notes.delete(None)
        assert (results[-1] in ([], [1, 3]), database.stats().in_use) == (True, 0), moment
        if not came.pop():
            break
    assert moment > 20
    assert [1, 3] in results[:-1]


def test_keys_that_may_not_be_deleted() -> None:
    storage = fakes.FakeStorageProvider()
    for bucket in ("bucket", "other"):
        storage.create_bucket(bucket)
        for key in ("a", "b", "c", "d"):
            storage.upload(bucket, key, key.encode())
    storage.denied |= {("bucket", "b"), ("bucket", "d"), ("bucket", "absent")}
    assert storage.delete_batch("bucket", ["d", "c", "absent", "b", "e"]) == infra.DeleteResult(
        ["c", "e"], {"d": "AccessDenied", "absent": "AccessDenied", "b": "AccessDenied"}
    )
    assert [each.key for each in storage.list_objects("bucket")] == ["a", "b", "d"]
    with pytest.raises(infra.StorageError) as caught:
        storage.delete("bucket", "b")
    error = caught.value
    assert (error.code, error.operation, error.retryable) == ("AccessDenied", "delete", False)
    with pytest.raises(infra.StorageError, match="AccessDenied"):
        storage.fetch(storage.get_presigned_url("bucket", "b", 60, "DELETE"), "DELETE")
    assert storage.download("bucket", "b") == b"b"
    assert storage.delete_batch("other", ["b", "d"]) == infra.DeleteResult(["b", "d"], {})
    storage.denied.clear()
    assert storage.delete_batch("bucket", ["b", "d"]) == infra.DeleteResult(["b", "d"], {})
    assert [each.key for each in storage.list_objects("bucket")] == ["a"]


def test_one_denied_key_among_a_thousand() -> None:
    storage = fakes.FakeStorageProvider()
    storage.create_bucket("bucket")
    keys = [f"{number:04}" for number in range(2001)]
    for key in keys:
        storage.upload("bucket", key, b"x")
    storage.denied |= {("bucket", "0500"), ("bucket", "1999")}
    result = storage.delete_batch("bucket", reversed(keys))
    assert result.deleted == [key for key in reversed(keys) if key not in ("0500", "1999")]
    assert result.errors == {"1999": "AccessDenied", "0500": "AccessDenied"}
    assert [each.key for each in storage.list_objects("bucket")] == ["0500", "1999"]


def test_presigned_urls_end() -> None:
    clock = fakes.FakeClock()
    storage = fakes.FakeStorageProvider(clock=clock)
    storage.create_bucket("bucket")
    storage.upload("bucket", "k", b"x")
    url = storage.get_presigned_url("bucket", "k", 59.5)
    clock.advance(59.999)
    assert storage.fetch(url) == b"x"
    clock.advance(0.001)
    with pytest.raises(infra.StorageError, match="AccessDenied"):
        storage.fetch(url)


def test_a_put_by_url() -> None:
    storage = fakes.FakeStorageProvider()
    storage.create_bucket("bucket")
    url = storage.get_presigned_url("bucket", "k", 60, "PUT")
    for content_type, stored in (("text/csv", "text/csv"), (None, "binary/octet-stream")):
        assert storage.fetch(url, "PUT", b"a,b", content_type) == b""
        found = storage.get_metadata("bucket", "k")
        assert (found.content_type, found.size, found.metadata) == (stored, 3, {})
        assert storage.download("bucket", "k") == b"a,b"


@pytest.mark.parametrize("fail_open", [False, True])
def test_a_cache_that_is_down(fail_open: bool) -> None:
    client = fakes.FakeRedisClient()
    cache = fakes.FakeCacheProvider(client, fail_open=fail_open)
    cache.set("k", 1)
    cache.down = True
    if fail_open:
        assert cache.get("k", "absent") == "absent"
        assert cache.set("l", 2) is None  # type: ignore[func-returns-value]
        assert (cache.exists("k"), cache.delete("k"), cache.delete_pattern("*")) == (
            False,
            False,
            0,
        )
    else:
        for call in (lambda: cache.get("k"), lambda: cache.set("l", 2), lambda: cache.delete("k")):
            with pytest.raises(infra.CacheError, match="does not answer"):
                call()
    for call in (lambda: cache.increment("n"), lambda: cache.set_nx("l", 2)):
        with pytest.raises(infra.CacheError, match="does not answer"):
            call()
    assert client.get("k") == "1"  # the client is not down
    cache.down = False
    assert (cache.get("k"), cache.get("l"), cache.get("n")) == (1, None, None)


def test_a_rate_limit_ends_by_the_clock_of_the_client() -> None:
    clock = fakes.FakeClock()
    over_client = fakes.FakeCacheProvider(fakes.FakeRedisClient(clock=clock))
    alone = fakes.FakeCacheProvider(clock=clock)
    services = fakes.FakeInfrastructure(clock)
    for cache in (over_client, alone, services.cache):
        assert cache.check_rate_limit("k", 1, 60) == infra.RateLimit(
            True, 0, 1, datetime(2026, 1, 1, 0, 1, tzinfo=timezone.utc), 0.0
        )
    clock.advance(20)
    for cache in (over_client, alone, services.cache):
        found = cache.check_rate_limit("k", 1, 60)
        assert found.reset_at == datetime(2026, 1, 1, 0, 1, tzinfo=timezone.utc)
        assert (found.allowed, found.retry_after) == (False, 40.0)
    clock.advance(0.0004)  # ends in the middle of a millisecond
    for cache in (over_client, alone, services.cache):
        assert cache.check_rate_limit("k", 1, 60).retry_after == 40.0
    own = fakes.FakeCacheProvider(
        fakes.FakeRedisClient(clock=clock),
        clock=fakes.FakeClock(datetime(2030, 1, 1, tzinfo=timezone.utc)),
    )
    assert own.check_rate_limit("k", 1, 60).reset_at.year == 2030


def test_a_record_by_keyword_and_without_times() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Note:
        shared: ClassVar[int] = 5
        id: uuid.UUID = infra.FILLED
        title: str

    class Notes(fakes.Faults, fakes.FakeRepository[Note]):
        record, table, resource = Note, "notes", "note"

    fakes_notes = Notes(fakes.FakeDatabase("mysql", [fakes.Table("notes", {
        "id": fakes.Column(uuid.UUID), "title": fakes.Column(str)})]))  # fmt: skip
    note = fakes_notes.create(Note(title="a"))
    assert fakes_notes.page() == infra.Page([note], 1, 50, None)


def test_documents_are_not_compared() -> None:
    """Postgres has no comparison for JSON, so nobody is to find out by a query that fails."""

    @dataclass(frozen=True)
    class Note:
        tags: list[str]
        id: uuid.UUID = infra.FILLED

    class Notes(fakes.FakeRepository[Note]):
        record, table, resource = Note, "notes", "note"

    class Filtered(Notes):
        filter_fields = ("tags",)

    class Sorted(Notes):
        sort_fields = ("id", "tags")

    class Guarded(Notes):
        guarded = ("tags",)

    database = fakes.FakeDatabase("postgres", [fakes.Table.of(Notes)])
    Notes(database)
    for bad in (Filtered, Sorted, Guarded):
        with pytest.raises(infra.ConfigurationError, match=bad.__name__):
            bad(database)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        *(
            ({name: ("naem",)}, "no column naem")
            for name in ("key", "trimmed", "visible", "guarded", "kept")
        ),
        *(({name: {"naem": "1"}}, "no column naem") for name in ("lengths", "formats")),
        ({"filter_fields": ("naem", "slug")}, "no column naem"),
        ({"sort_fields": ("name", "naem")}, "no column naem"),
        ({"sort_fields": ("code",), "hidden": {"code": str}}, "of the record, not code"),
        ({"lengths": {"code": 5}, "hidden": {"code": bool}}, "code has a length .* of type bool"),
        ({"lengths": {"created_at": 5}}, "created_at has a length .* of type datetime"),
        ({"lengths": {"name": -1}}, "name has a length"),
        ({"lengths": {"name": "5"}}, "name has a length"),
        ({"lengths": {"code": 5}, "hidden": {"code": Decimal}}, "code has a length .* Decimal"),
        ({"lengths": {"code": 31}, "hidden": {"code": int}}, "code has a length .* of type int"),
        ({"guarded": ("updated_at",)}, "update sets it"),  # it would be refused always
        ({"kept": ("name",)}, "all of them or none"),
    ],
    ids=str,
)
def test_attributes_of_a_repository_that_cannot_be_meant(
    attributes: dict[str, Any], reason: str
) -> None:
    bad: Any = type("Bad", (fakes.FakeOrganizationRepository,), attributes)
    with pytest.raises(infra.ConfigurationError, match=f"^Bad: .*{reason}"):
        bad()


def test_lengths_of_columns() -> None:
    class Sized(infra.OrganizationRepository):
        hidden: ClassVar = {"small": int, "big": int, "data": bytes}
        lengths: ClassVar = {"small": 32, "big": 64, "data": 5, "name": 9}

    columns = fakes.Table.of(Sized).columns
    assert [columns[name].length for name in ("small", "big", "data", "name")] == [32, 64, 5, 9]


def test_an_inherited_sort_field_may_be_absent() -> None:
    @dataclass(frozen=True)
    class Word:
        text: str
        id: uuid.UUID = infra.FILLED

    class Words(fakes.FakeRepository[Word]):
        record, table, resource = Word, "words", "word"

    words = Words(fakes.FakeDatabase("mysql", [fakes.Table.of(Words)]))
    first, second = (words.create(Word(text)) for text in "ab")
    assert words.page().items == [first, second]


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"scales": {"price": 2}}, "price has a scale"),
        ({"scales": {"price": (2, 3)}}, "price has a scale"),
        ({"lengths": {"price": 5}}, "price has a length .* of type Decimal"),
    ],
    ids=str,
)
def test_a_table_of_a_class_whose_attributes_cannot_be_meant(
    attributes: dict[str, Any], reason: str
) -> None:
    hidden = {"hidden": {"price": Decimal}}
    bad: Any = type("Bad", (fakes.FakeOrganizationRepository,), {**hidden, **attributes})
    with pytest.raises(infra.ConfigurationError, match=f"^Bad: .*{reason}"):
        fakes.Table.of(bad)


def test_what_a_record_says_that_was_not_updated() -> None:
    one, more = ("display_name",), ("display_name", "role")
    for guarded, subject in ((one, "display_name"), (more, "one of display_name, role")):
        kind: Any = type("Guarded", (fakes.FakeUserRepository,), {"guarded": guarded})
        users = kind()
        made = users.create(infra.User(username="ada", email="ada@example.org"))
        with pytest.raises(infra.ConflictError) as caught:
            users.update(replace(made, display_name="new"))
        assert str(caught.value).startswith(
            f"{subject} differs from what is stored, and update does not change it: "
            "read the user again: users_as_read"
        )


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (infra.Query(sort="id"), "sort should be one of: created_at, updated_at, name"),
        (infra.Query(descending=1), "descending should be True or False"),  # type: ignore[arg-type]
    ],
)
def test_what_is_wrong_with_a_query(query: infra.Query, words: str) -> None:
    with pytest.raises(infra.ValidationError) as caught:
        fakes.FakeOrganizationRepository().page(query)
    assert str(caught.value) == words


@pytest.mark.parametrize(("dialect", "value", "fits"), [
    ("mysql", "1.5", True), ("mysql", "NaN", False), ("mysql", "Infinity", False),
    ("postgres", "NaN", True), ("postgres", "Infinity", False), ("postgres", "sNaN", False),
])  # fmt: skip
def test_decimals_are_refused_as_by_the_drivers(dialect: str, value: str, fits: bool) -> None:
    prices = fakes.FakeDatabase(
        dialect, [fakes.Table("prices", {"id": fakes.Column(int), "p": fakes.Column(Decimal)})]
    )
    if fits:
        prices.table("prices").insert({"id": 1, "p": Decimal(value)})
    else:
        with pytest.raises(infra.ValidationError):
            prices.table("prices").insert({"id": 1, "p": Decimal(value)})


@pytest.mark.parametrize("dialect", ["mysql", "mariadb", "postgres"])
def test_a_table_stores_what_fits_exactly(dialect: str) -> None:
    """``insert`` and ``update`` store values that fit exactly, and refuse the others."""
    columns = {
        "id": fakes.Column(int),
        "price": fakes.Column(Decimal, True, precision=10, scale=2),
        "data": fakes.Column(bytes, True, 4),
        "at": fakes.Column(datetime, True, scale=3),
        "code": fakes.Column(str, True, 5, ascii=True),
    }
    table = fakes.FakeDatabase(dialect, [fakes.Table("cells", columns)]).table("cells")
    at = datetime(2026, 1, 31, 12, 0, 0, 123000, tzinfo=timezone.utc)
    table.insert({"id": 1, "price": Decimal("10"), "data": b"1234", "at": at, "code": "a"})
    assert str(table.select()[0]["price"]) == "10.00"
    for name, value in [
        ("price", Decimal("9.999")),
        ("price", Decimal(10) ** 12),
        ("price", Decimal("1E+999999")),
        ("data", b"12345"),
        ("at", at + timedelta(microseconds=1)),
        ("code", "é"),
    ]:
        with pytest.raises(infra.DatabaseError, match="does not fit"):
            table.insert({"id": 2, name: value})
        with pytest.raises(infra.DatabaseError, match="does not fit"):
            table.update({"id": 1}, {name: value})
    assert table.update({"id": 1}, {"price": Decimal("1E+3")}) == 1
    assert [str(row["price"]) for row in table.select()] == ["1000.00"]


@pytest.mark.parametrize("dialect", ["mysql", "mariadb", "postgres"])
def test_a_primary_key_is_never_null(dialect: str) -> None:
    columns = {"a": fakes.Column(int, True), "b": fakes.Column(int, True)}
    rules = fakes.Table("pairs", columns, ("a", "b"))
    database = fakes.FakeDatabase(dialect, [rules])
    for row, name in [((None, 1), "pairs_a_not_null"), ((1, None), "pairs_b_not_null")]:
        for call in (
            lambda: database.table("pairs").insert(dict(zip("ab", row))),
            lambda: database.insert_many("pairs", ["a", "b"], [(7, 7), row]),
        ):
            with pytest.raises(infra.ConflictError) as caught:
                call()
            assert (caught.value.constraint, caught.value.kind) == (name, "not_null")
    assert database.table("pairs").select() == []


@pytest.mark.parametrize("dialect", ["mysql", "postgres"])
def test_times_and_durations(dialect: str) -> None:
    """MySQL has one type for both, which it reads as a timedelta."""
    columns = {"id": fakes.Column(int), "at": fakes.Column(day_time), "d": fakes.Column(timedelta)}
    database = fakes.FakeDatabase(dialect, [fakes.Table("times", columns)])
    hour = timedelta(hours=1)
    assert database.insert_many("times", ["id", "at", "d"], [(1, day_time(1), hour)]) == 1
    at = hour if dialect == "mysql" else day_time(1)
    assert database.table("times").select() == [{"id": 1, "at": at, "d": hour}]
    with pytest.raises(infra.ValidationError, match="at should be a time"):
        database.insert_many("times", ["id", "at", "d"], [(2, "01:00", hour)])


@pytest.mark.parametrize("dialect", ["mysql", "postgres"])
def test_a_time_has_the_digits_of_its_column(dialect: str) -> None:
    columns = {
        "id": fakes.Column(int),
        "at": fakes.Column(day_time, True, scale=0),
        "d": fakes.Column(timedelta, True, scale=3),
    }
    database = fakes.FakeDatabase(dialect, [fakes.Table("times", columns)])
    table = database.table("times")
    table.insert({"id": 1, "at": day_time(1, 2, 3), "d": timedelta(milliseconds=5)})
    for name, value in [("at", day_time(1, 2, 3, 4)), ("d", timedelta(microseconds=5))]:
        for call in (
            lambda: table.insert({"id": 2, name: value}),
            lambda: table.update({"id": 1}, {name: value}),
            lambda: database.insert_many("times", ["id", name], [(2, value)]),
        ):
            with pytest.raises(infra.DatabaseError, match="does not fit"):
                call()
    assert len(table.select()) == 1


@pytest.mark.parametrize(
    ("kind", "rules"),
    [
        (datetime, {"scale": 7}),
        (timedelta, {"scale": -1}),
        (str, {"scale": 2}),
        (Decimal, {"precision": "10", "scale": 2}),
        (Decimal, {"precision": 10, "scale": 2.0}),
        (bytes, {"length": -1}),
        (str, {"length": True}),
    ],
)
def test_a_size_that_no_column_has(kind: type, rules: dict[str, Any]) -> None:
    """It would be noticed by a row, as a ZeroDivisionError or a TypeError, or not at all."""
    with pytest.raises(infra.ConfigurationError, match="that no column can have"):
        fakes.Column(kind, **rules)


def test_nan_is_the_greatest_number() -> None:
    """https://www.postgresql.org/docs/current/datatype-numeric.html"""
    prices = fakes.FakeDatabase(
        "postgres", [fakes.Table("prices", {"p": fakes.Column(Decimal, null=True)}, ("p",))]
    )
    for value in ("2", "NaN", "-1"):
        prices.table("prices").insert({"p": Decimal(value)})
    assert [str(row["p"]) for row in prices.table("prices").select(order_by=["p"])] == [
        "-1",
        "2",
        "NaN",
    ]
    assert [str(row["p"]) for row in prices.table("prices").select(order_by=["-p"])] == [
        "NaN",
        "2",
        "-1",
    ]


def test_repositories_say_what_they_take() -> None:
    with pytest.raises(infra.ConfigurationError, match="takes a ConnectionPool"):
        infra.PostgresUserRepository(fakes.FakeDatabase("postgres"))
    with pytest.raises(infra.ConfigurationError, match="takes a FakeDatabase"):
        fakes.FakeUserRepository("postgres")  # type: ignore[arg-type]


def test_records_without_an_id() -> None:
    @dataclass(frozen=True)
    class Pair:
        one: str
        other: str

    class Pairs(fakes.Faults, fakes.FakeRepository[Pair]):
        record, table, resource, key = Pair, "pairs", "pair", ("one", "other")
        lengths: ClassVar = {"one": 5, "other": 5}

    pairs = Pairs(fakes.FakeDatabase("postgres", [fakes.Table.of(Pairs)]))
    assert pairs.create(Pair("a", "b")) == Pair("a", "b")
    with pytest.raises(infra.ConfigurationError, match="no column id"):
        pairs.find_by_id(infra.new_id())
    assert pairs.update(Pair("a", "b")) == pairs.get(("a", "b")) == Pair("a", "b")


@pytest.mark.parametrize("fail_open", [False, True])
def test_a_fill_whose_lock_cannot_be_released(fail_open: bool) -> None:
    """The value, or the factory's error, matters more."""
    client = fakes.FakeRedisClient()
    cache = fakes.FakeCacheProvider(client, fail_open=fail_open)
    for error in (infra.ConnectionError("gone"), infra.CacheError("refused", service="redis")):
        client.fail_next("compare_and_delete", error)
        assert cache.get_or_set(f"value {error}", lambda: 1) == 1
        client.fail_next("compare_and_delete", error)
        with pytest.raises(ZeroDivisionError):
            cache.get_or_set(f"error {error}", lambda: 1 // 0)


def test_a_move_diverts_what_is_not_ascii(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is known before a row is written."""
    monkeypatch.chdir(tmp_path)
    columns = {"id": fakes.Column(int), "code": fakes.Column(str, ascii=True)}
    database = fakes.FakeDatabase("mysql", [fakes.Table("codes", columns)])
    move = infra.RowMove(
        "codes",
        source=infra.IterableSource([{"id": 1, "code": "a"}, {"id": 2, "code": "é"}]),
        target=infra.TableTarget(database, "codes", policies={"code": "divert"}),
    )
    assert move.run().counts == infra.MoveCounts(read=2, written=1, rejected=1)
    assert database.table("codes").select() == [{"id": 1, "code": "a"}]


def test_conditions_of_no_value() -> None:
    table = fakes.FakeDatabase("mysql", [NOTES]).table("notes")
    conditions: list[Any] = [{"id": [1]}, {"title": {}}, {"id": {1}}]
    for where in conditions:
        for call in (table.select, table.delete, lambda each: table.update(each, {"title": "b"})):
            with pytest.raises(infra.ValidationError, match="should not be of type"):
                call(where)
    with pytest.raises(infra.ValidationError, match="id should not be of type list"):
        table.find(id=[1])


def test_foreign_keys_that_lead_nowhere() -> None:
    wrong: Callable[[], object]
    for wrong in (
        lambda: fakes.ForeignKey(("id",), "notes", 5),  # type: ignore[arg-type]
        lambda: fakes.ForeignKey(("id",), "notes", ("id", "title")),
        lambda: fakes.ForeignKey(("id",), "notes", on_delete="nope"),
        lambda: fakes.ForeignKey(("id",), 5),  # type: ignore[arg-type]
    ):
        with pytest.raises((infra.ConfigurationError, infra.ValidationError), match="should"):
            wrong()
    key = fakes.ForeignKey(("id",), "notes", ("nothing",))
    child = fakes.Table("child", {"id": fakes.Column(int)}, foreign_keys={"child_fkey": key})
    with pytest.raises(
        infra.ConfigurationError, match="child_fkey should name columns of the table, not 'nothing'"
    ):
        fakes.FakeDatabase("mysql", [NOTES, child])


def test_a_lock_gives_up_by_a_clock_that_stands() -> None:
    class Still(infra.Clock):
        def now(self) -> datetime:
            return datetime(2026, 1, 1, tzinfo=timezone.utc)

        def monotonic(self) -> float:
            return 1.0

        def sleep(self, seconds: float) -> None:
            pass

    client = fakes.FakeRedisClient()
    assert infra.RedisCacheProvider(client).lock("x", ttl=30).acquire() is True
    assert infra.RedisCacheProvider(client, clock=Still()).lock("x", ttl=30).acquire(0.2) is False


def test_what_stands_on_a_client_has_its_clock() -> None:
    clock = fakes.FakeClock(datetime(2030, 1, 1, tzinfo=timezone.utc))
    later = datetime(2030, 1, 1, 0, 1, tzinfo=timezone.utc)
    for cache in (
        infra.RedisCacheProvider(fakes.FakeRedisClient(clock=clock)),
        fakes.FakeCacheProvider(fakes.FakeRedisClient(clock=clock)),
    ):
        assert cache.check_rate_limit("k", 1, 60).reset_at == later


@pytest.mark.parametrize("seen", handlers.SEEN)
def test_conditions_that_would_run_nothing_are_refused(seen: str) -> None:
    """A generator is true: each row would be deleted, and no check would refuse one."""
    table = fakes.FakeDatabase("mysql", [NOTES]).table("notes")
    table.insert({"id": 1, "title": "a"})
    function = handlers.SEEN[seen]
    for call in (
        lambda: table.delete(function),
        lambda: table.update(function, {"title": "b"}),
        lambda: table.select(function),
    ):
        with pytest.raises(infra.ValidationError, match="where should be a plain function"):
            call()
    with pytest.raises(infra.ConfigurationError, match="c should be a plain function"):
        fakes.Table("t", {"id": fakes.Column(int)}, checks={"c": function})
    assert table.select() == [{"id": 1, "title": "a", "parent": None}]


@pytest.mark.parametrize("made", handlers.RETURNING)
def test_conditions_whose_answer_has_not_run_are_errors(made: str) -> None:
    function = handlers.RETURNING[made]
    rules = fakes.Table("t", {"id": fakes.Column(int)}, checks={"c": function})
    database = fakes.FakeDatabase("postgres", [NOTES, rules])
    notes, table = database.table("notes"), database.table("t")
    notes.insert({"id": 1, "title": "a"})
    for call in (lambda: notes.delete(function), lambda: table.insert({"id": 1})):
        with pytest.raises(infra.ValidationError, match="a function returned"):
            call()
    assert (len(notes.select()), table.select()) == (1, [])


@pytest.mark.parametrize("made", ["coroutine", "generator"])
def test_an_sms_service_that_sends_nothing(made: str) -> None:
    """Its message id would be a coroutine, and the message would never be sent."""

    class Asynchronous(infra.MockSmsService):
        def _send(self, phone: str, message: str, code: str | None) -> Any:
            return handlers.RETURNING[made]()

    class Deferred(infra.MockSmsService):
        async def send_verification_code(self, phone: str, code: str) -> Any:  # type: ignore[override]
            raise AssertionError

    codes = fakes.FakeVerificationCache()
    with pytest.raises(infra.ValidationError, match="a function returned"):
        Asynchronous().send_sms("+14155550100", "hello")
    with pytest.raises(infra.ValidationError, match="a function returned"):
        codes.send_code(Asynchronous(), "+14155550100")
    with pytest.raises(infra.ValidationError, match="sms should be an SmsService"):
        codes.send_code(Deferred(), "+14155550111")
    assert [codes.code_exists(phone) for phone in ("+14155550100", "+14155550111")] == [
        False,
        False,
    ]


def test_a_clock_stays_below_the_year_10000() -> None:
    clock = fakes.FakeClock()
    clock.advance(1e10)
    assert clock.now() == datetime(2342, 11, 21, 17, 46, 40, tzinfo=timezone.utc)
    with pytest.raises(infra.ValidationError, match="the year 9999"):
        clock.advance(1e12)
    assert clock.now().year == 2342
    first, clock = infra.new_id(clock), fakes.FakeClock(clock.now() + timedelta(microseconds=1))
    assert first < infra.new_id(clock)


def test_times_of_the_year_9999_have_an_end() -> None:
    last = datetime.max.replace(tzinfo=timezone.utc)
    services = fakes.FakeInfrastructure(fakes.FakeClock(last - timedelta(seconds=60)))
    user = services.phone_users.create_for_phone("+14155550100")
    assert services.tokens.issue(user.id, ttl=3600).record.expires_at == last
    services.storage.create_bucket("files")
    url = services.storage.get_presigned_url("files", "a", 3600, "PUT")
    assert services.storage.fetch(url, "PUT", b"x") == b""
    assert services.storage.exists("files", "a") is True


@pytest.mark.parametrize("module", [infra, fakes])
def test_help_does_not_print_the_environment(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType
) -> None:
    monkeypatch.setitem(os.environ, "DATABASE_PASSWORD", "tell nobody")
    assert "tell nobody" not in pydoc.plain(pydoc.render_doc(module))


def test_from_env_reads_the_environment_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"REDIS_URL": "redis://elsewhere:6379"})
    assert infra.Config.from_env().cache.url == "redis://elsewhere:6379"
    assert infra.Config.from_env({}) == infra.Config()


def test_a_repository_has_the_clock_of_its_database() -> None:
    clock = fakes.FakeClock()
    accounts = fakes.FakeDatabase("mysql", fakes.MYSQL_TABLES, clock=clock)
    exchange = fakes.FakeDatabase("postgres", fakes.POSTGRES_TABLES, clock=clock)
    clock.advance(3600)
    later = datetime(2026, 1, 1, 1, tzinfo=timezone.utc)
    found = fakes.FakePhoneUserRepository(accounts).create_for_phone("+14155550100", "customer")
    assert found.created_at == later
    user = infra.User(username="ada", email="ada@example.org")
    assert fakes.FakeUserRepository(exchange).create(user).created_at == later
    other = fakes.FakeClock()
    assert fakes.FakeUserRepository(exchange, clock=other).create(
        infra.User(username="bob", email="bob@example.org")
    ).created_at == datetime(2026, 1, 1, tzinfo=timezone.utc)


ORDERS: list[tuple[str, ...]] = [
    ("n",), ("-n",), ("n", "-name"), ("-name", "n"), ("name", "id"), ("-n", "-name", "-id"), (),
]  # fmt: skip


@pytest.mark.parametrize("engine", ["mysql", "postgres"])
@pytest.mark.parametrize("order", ORDERS)
def test_a_limit_of_many_rows_returns_the_first_of_all(engine: str, order: tuple[str, ...]) -> None:
    """Few values, so that equal ones and NULL stand on both sides of each limit."""
    columns = {
        "id": fakes.Column(int),
        "n": fakes.Column(int, null=True),
        "name": fakes.Column(str, null=True),
    }
    table = fakes.FakeDatabase(engine, [fakes.Table("things", columns)]).table("things")
    for id in range(100):
        n, name = id * 7 % 5, "abc"[id * 11 % 3] * (id % 4)
        table.insert({"id": id * 37 % 100, "n": n or None, "name": name or None})
    whole = table.select(order_by=order)
    assert len(whole) == 100
    for offset, limit in itertools.product((0, 1, 10, 60, 99, 100), (0, 1, 2, 10, 23, 40, 100)):
        found = table.select(order_by=order, limit=limit, offset=offset)
        assert found == whole[offset : offset + limit]
