"""Faults of RedisCacheProvider: killed and paused servers, lost replies, dead owners, forks."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import fakes
import infra
from tests.contract.backends import WAIT, eventually, in_background, in_child, in_threads
from tests.contract.test_cache_provider import FAILS_OPEN
from tests.faults.proxy import Proxy
from tests.faults.test_redis import (  # noqa: F401
    SLACK,
    client_of,
    no_free_connection,
    raw,
    server,
)
from tests.services import Server

CALLS = {name: call for name, (call, _) in FAILS_OPEN.items()}


def caught(
    call: Callable[[infra.RedisCacheProvider], Any], cache: infra.RedisCacheProvider
) -> infra.CacheError:
    with pytest.raises(infra.CacheError) as found:
        call(cache)
    return found.value


# --- servers that do not answer


def test_a_server_that_was_killed(server: Server) -> None:  # noqa: F811
    """FakeCacheProvider.down is this."""
    fake = fakes.FakeCacheProvider()
    fake.down = True
    attempts: list[infra.Call] = []
    with client_of(server.url, retries=1, observer=attempts.append) as client:
        cache = infra.RedisCacheProvider(client)
        cache.set("k", 1)
        server.kill()
        for name, call in CALLS.items():
            attempts.clear()
            real, twin = caught(call, cache), caught(call, fake)
            assert len(attempts) == 2  # at one command, not at one after the other
            for error in (real, twin):
                assert (error.service, error.operation, error.retryable) == ("cache", name, True)
                assert type(error.__cause__) is infra.ConnectionError
            assert str(real).startswith("the cache does not answer: redis at 127.0.0.1:")
        server.start()
        fake.down = False
        assert cache.get("k", 5) == fake.get("k", 5) == 5


def test_failing_open_while_the_server_is_killed(
    server: Server,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    fake = fakes.FakeCacheProvider(fail_open=True)
    fake.down = True
    with (
        client_of(server.url, retries=0) as client,
        caplog.at_level(logging.WARNING, "infra"),
    ):
        cache = infra.RedisCacheProvider(client, fail_open=True)
        cache.set("k", 1)
        server.kill()
        for name, (call, expected) in FAILS_OPEN.items():
            for each in (cache, fake):
                caplog.clear()
                if expected is infra.CacheError:
                    caught(call, each)
                    assert caplog.records == []
                else:
                    assert call(each) == expected
                    [record] = caplog.records
                    assert (record.levelname, vars(record)["service"]) == ("WARNING", "cache")
                    assert (vars(record)["operation"], vars(record)["outcome"]) == (
                        name,
                        "ConnectionError",
                    )


def test_a_server_that_is_paused(server: Server) -> None:  # noqa: F811
    attempts: list[infra.Call] = []
    with client_of(
        server.url, socket_timeout=0.5, deadline=0.5, observer=attempts.append
    ) as client:
        strict, lenient = (
            infra.RedisCacheProvider(client),
            infra.RedisCacheProvider(client, fail_open=True),
        )
        server.pause()
        for name in ("get", "set", "get_or_set", "set_nx", "delete_pattern", "lock"):
            started = time.monotonic()
            assert type(caught(CALLS[name], strict).__cause__) is infra.TimeoutError
            assert time.monotonic() - started < 0.5 + SLACK
        attempts.clear()
        assert lenient.get_or_set("k", lambda: "mine") == "mine"
        assert {call.operation for call in attempts} == {"get"}  # and nothing is asked after that
        started = time.monotonic()
        results = in_threads(50, lambda _: strict.lock("k", 60).acquire())
        assert {type(result) for result in results} == {infra.CacheError}
        # A thread that waits for another hears of it; one after the other would take 25 s.
        assert time.monotonic() - started < 2 * 0.5 + SLACK
        server.resume()


def test_no_connection_is_free(server: Server) -> None:  # noqa: F811
    with no_free_connection(server) as (client, clock, _):
        cache = infra.RedisCacheProvider(client)
        with clock.haste(59):
            assert type(caught(CALLS["get"], cache).__cause__) is infra.PoolTimeoutError


@pytest.mark.parametrize("fail_open", [False, True])
def test_a_server_that_dies_under_a_factory(server: Server, fail_open: bool) -> None:  # noqa: F811
    with client_of(server.url, deadline=2, retries=1000) as client:
        cache, calls = infra.RedisCacheProvider(client, fail_open=fail_open), []

        def factory() -> str:
            calls.append(1)
            if len(calls) == 1:
                server.kill()
            return "value"

        started = time.monotonic()
        results = in_threads(20, lambda _: cache.get_or_set("k", factory, timeout=60))
        assert time.monotonic() - started < 2 * 2 + SLACK  # one after the other would take 40 s
        if fail_open:
            assert results == ["value"] * 20
        else:
            assert {type(result) for result in results} == {infra.CacheError}
            assert calls == [1]
        server.start()
        started = time.monotonic()
        assert cache.get_or_set("k", lambda: "again", timeout=60) == "again"
        assert time.monotonic() - started < SLACK  # it waits for none of those threads


def test_a_server_that_dies_under_a_lock(server: Server, caplog: pytest.LogCaptureFixture) -> None:  # noqa: F811
    with client_of(server.url, retries=0) as client:
        cache = infra.RedisCacheProvider(client)
        lock = cache.lock("k", 60)
        with caplog.at_level(logging.WARNING, "infra"), lock:
            server.kill()
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "stays for the rest of its ttl" in caplog.text
        server.start()
        with pytest.raises(LookupError), lock:
            server.kill()
            raise LookupError
        server.start()
        # No thread of this process waits for the one that has left.
        assert in_threads(1, lambda _: lock.acquire(0) and lock.release()) == [True]
        assert lock.acquire(0) is True
        server.kill()
        assert caught(lambda _: lock.release(), cache).operation == "lock"


def test_a_full_memory_and_another_type(
    server: Server,  # noqa: F811
    raw: Any,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    raw.lpush("list", "x")
    with client_of(server.url, retries=0) as client:
        strict, lenient = (
            infra.RedisCacheProvider(client),
            infra.RedisCacheProvider(client, fail_open=True),
        )
        for cache in (strict, lenient):
            with pytest.raises(infra.CacheError, match="WRONGTYPE"):
                cache.get("list")
        raw.config_set("maxmemory", "1")
        with pytest.raises(infra.CacheError, match="out of memory"):
            strict.set("k", 1)
        with pytest.raises(infra.CacheError, match="out of memory"):
            lenient.set_nx("k", 1)
        with caplog.at_level(logging.WARNING, "infra"):
            lenient.set("k", 1)
            assert lenient.get_or_set("k", lambda: 7) == 7
        operations = [(record.levelname, vars(record)["operation"]) for record in caplog.records]
        assert operations == [("WARNING", "set"), ("WARNING", "get_or_set")]


# --- replies that are lost


@pytest.mark.parametrize(
    ("name", "command", "times"),
    [
        ("get", "get", 2),
        ("get_many", "get", 2),
        ("set", "set", 2),
        ("set_many", "set", 2),
        ("exists", "exists", 2),
        ("ttl", "pttl", 2),
        ("set_nx", "set", 1),
        ("increment", "incrby", 1),
        ("check_rate_limit", "incrby", 1),
        ("lock", "set", 1),
        ("delete", "unlink", 1),
        ("expire", "pexpire", 1),
    ],
)
def test_a_lost_reply(server: Server, raw: Any, name: str, command: str, times: int) -> None:  # noqa: F811
    with Proxy(server.port) as proxy, client_of(f"redis://127.0.0.1:{proxy.port}") as client:
        cache = infra.RedisCacheProvider(client)
        cache.exists("warm")
        raw.config_resetstat()
        proxy.swallow = True
        if times == 2:
            CALLS[name](cache)
        else:
            assert caught(CALLS[name], cache).retryable is True  # for the caller to decide
        assert (proxy.swallowed, raw.info("commandstats")[f"cmdstat_{command}"]["calls"]) == (
            1,
            times,
        )


# --- processes


@pytest.fixture
def children() -> Iterator[Callable[[Callable[[], None]], int]]:
    """``children(work)`` runs the work in a forked child of its own, and returns its process id."""
    started: list[int] = []

    def start(work: Callable[[], None]) -> int:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                work()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        started.append(child)
        return child

    yield start
    assert [os.waitpid(child, 0)[1] for child in started] == [0] * len(started)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_four_processes_on_one_cold_key(server: Server, raw: Any, children: Any) -> None:  # noqa: F811
    def work() -> None:
        def factory() -> str:
            client.increment("calls")
            while client.get("arrived") != "4":
                time.sleep(0.01)
            return "value"

        with client_of(server.url) as client:
            client.increment("arrived")
            cache = infra.RedisCacheProvider(client)
            assert cache.get_or_set("k", factory, timeout=60) == "value"

    for _ in range(4):
        children(work)
    eventually(lambda: raw.get("k") is not None, 60)
    assert raw.get("calls") == b"1"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_owner_of_a_lock_dies(server: Server, raw: Any) -> None:  # noqa: F811
    with client_of(server.url) as client:
        cache = infra.RedisCacheProvider(client)
        started = time.monotonic()

        def work() -> None:
            with client_of(server.url) as own:
                assert infra.RedisCacheProvider(own).lock("k", 4).acquire(0) is True

        in_child(work)
        assert 0 < raw.pttl(raw.keys("*")[0]) <= 4000  # by the server's own clock
        assert cache.lock("k", 60).acquire(0) is False
        with cache.lock("k", 60, timeout=4 + SLACK):
            assert time.monotonic() - started >= 4
            assert 4000 < raw.pttl(raw.keys("*")[0]) <= 60_000


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_another_thread_fills(server: Server) -> None:  # noqa: F811
    """The child does not wait for a thread that it does not have."""
    begun, done = threading.Event(), threading.Event()
    with client_of(server.url) as client:
        cache = infra.RedisCacheProvider(client)

        def factory() -> str:
            begun.set()
            assert done.wait(6 * WAIT)
            return "parent's"

        join = in_background(lambda: cache.get_or_set("k", factory, timeout=600))
        assert begun.wait(WAIT)

        def work() -> None:
            signal.alarm(60)  # ends a child that hangs
            client.delete("~fill:k")  # which the parent holds in Redis, too
            assert cache.get_or_set("k", lambda: "child's", timeout=600) == "child's"
            client.close()

        try:
            in_child(work)
            assert cache.get("k") == "child's"
        finally:
            done.set()
            assert join() == "parent's"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_other_threads_ask_for_a_lock(server: Server) -> None:  # noqa: F811
    """The child does not wait for internal locks that other threads hold at the fork."""
    over, running = threading.Event(), threading.Event()
    asked: list[None] = []
    with client_of(server.url) as client:
        cache = infra.RedisCacheProvider(client)
        assert cache.lock("taken", 600).acquire(0) is True

        def ask() -> None:
            while running.wait(6 * WAIT) and not over.is_set():
                assert cache.lock("taken", 600).acquire(0) is False
                asked.append(None)

        def work() -> None:
            signal.alarm(60)  # ends a child that hangs
            assert cache.lock("free", 60).acquire(0) is True
            assert cache.get_or_set("k", lambda: "child's") == "child's"

        joins, usual = [in_background(ask) for _ in range(4)], sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            for _ in range(40):
                asked.clear()
                running.set()
                eventually(lambda: len(asked) > 4)  # no lock of this test keeps them in step
                in_child(work, running.clear)  # they rest while the child works
                assert cache.delete("k") is True
                client.delete("~lock:free")
        finally:
            sys.setswitchinterval(usual)
            over.set()
            running.set()
        assert [join() for join in joins] == [None] * 4


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_does_not_release_its_parents_lock(server: Server) -> None:  # noqa: F811
    with client_of(server.url) as client:
        cache = infra.RedisCacheProvider(client)
        with cache.lock("k", 60) as lock:

            def work() -> None:
                assert lock.release() is False
                client.close()

            in_child(work)
            with client_of(server.url) as other:
                assert infra.RedisCacheProvider(other).lock("k", 60).acquire(0) is False
            assert lock.release() is True


# --- nothing leaks


def test_no_key_and_no_value_leaves_through_any_door(
    server: Server,  # noqa: F811
    raw: Any,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    secret, texts = "tell-nobody-739182", []

    def collect(call: Callable[[], Any]) -> None:
        try:
            call()
        except Exception as error:
            texts.append("".join(traceback.format_exception(error)) + repr(error))

    with (
        caplog.at_level(logging.DEBUG),
        client_of(server.url, retries=0) as client,
    ):
        caches = [
            infra.RedisCacheProvider(client, secret, fail_open=each) for each in (False, True)
        ]

        def everything() -> None:
            for cache in caches:
                collect(lambda: cache.set(secret, {secret: secret}))
                collect(lambda: cache.set(secret, {secret: {secret}}))
                collect(lambda: cache.set(secret, secret + "\0"))
                collect(lambda: cache.set(secret + " ", 1))
                collect(lambda: cache.expire(secret + " ", 1))
                collect(lambda: cache.get_many([secret]))
                collect(lambda: cache.increment(secret))
                collect(lambda: cache.set_nx(secret, secret))
                collect(lambda: cache.delete_pattern(secret))
                collect(lambda: cache.get_or_set(secret, lambda: secret))
                collect(lambda: cache.check_rate_limit(secret, 1, 60))
                collect(lambda: cache.lock(secret, 1, 0).__enter__())
                texts.append(repr(cache) + repr(cache.lock(secret, 1)))

        everything()
        for name in raw.keys("*"):
            raw.set(name, "{" + secret)
        everything()
        for name in raw.keys("*"):
            raw.delete(name)
            raw.lpush(name, secret)
        everything()
        server.kill()
        everything()
    said = "\n".join(texts) + caplog.text + "".join(repr(vars(record)) for record in caplog.records)
    assert len(texts) > 60
    assert secret not in said
