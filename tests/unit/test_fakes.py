"""What only fakes do: fail on demand, stand still in time, share nothing."""

from __future__ import annotations

import gc

import pytest

import fakes
import infra

PHONE = "+14155550100"


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
    assert redis.increment("k") == 1
    assert redis._armed is False


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


def test_drop_connections_tells_listeners() -> None:
    redis, told = fakes.FakeRedisClient(), []
    listener = redis.listen(lambda *_: None, lambda: told.append(1))
    redis.server.drop_connections()
    listener.close()
    redis.server.drop_connections()
    assert told == [1]


def test_the_bundle() -> None:
    with fakes.FakeInfrastructure() as services:
        assert isinstance(services.clock, fakes.FakeClock)
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
    assert isinstance(fakes.FakeInfrastructure.from_env({"REDIS_URL": "wrong"}).redis, fakes.FakeRedisClient)


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
