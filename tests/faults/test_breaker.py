"""The circuit breaker on real servers: killed, away, and back again."""

from __future__ import annotations

import collections
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

import infra
from tests.contract.backends import WAIT, ShiftedClock, eventually, in_background, in_threads
from tests.faults.proxy import Listening, Proxy, Stub
from tests.scale import PROVE
from tests.services import Server

pytestmark = pytest.mark.real

SLACK = 10.0  # seconds that a busy machine may add to a deadline
SERVERS = ["redis", "postgres", "mariadb"]
DATABASES = ["postgres", "mariadb"]
BREAKER: dict[str, Any] = {"breaker_failures": 3, "breaker_reset": 30.0}


class Subject:
    """An adapter with a breaker, and the bundle that has built it."""

    def __init__(self, url: str, clock: infra.Clock | None = None, **options: Any) -> None:
        self.calls: list[infra.Call] = []
        settings = {**BREAKER, **options}
        self.name = "redis" if url.startswith("redis") else "database"
        if self.name == "redis":
            config = infra.Config(cache=infra.CacheConfig(url=url, **settings))
        else:
            database = infra.DatabaseConfig(url=url, **settings)
            engine: dict[str, Any] = {database.engine: database}
            config = infra.Config(**engine)
        self.services = infra.Infrastructure(config, clock=clock, observer=self.calls.append)

    def __enter__(self) -> Subject:
        return self

    def __exit__(self, *_: object) -> None:
        self.services.close()

    @property
    def pool(self) -> infra.ConnectionPool:
        pool = self.services.database
        assert isinstance(pool, infra.ConnectionPool)
        return pool

    def ask(self) -> object:
        if self.name == "redis":
            return self.services.redis.get("k")
        return self.services.database.fetch_one("SELECT 1")

    @property
    def state(self) -> str:
        return self.services.breakers[self.name]

    def outcomes(self) -> list[str]:
        """The outcomes of all attempts since the last call of this."""
        found = [call.outcome for call in self.calls]
        self.calls.clear()
        return found


class Refusing(Proxy):
    """Ends new connections at once while ``refuses`` is True."""

    refuses = False

    def _serve(self, client: socket.socket) -> None:
        if self.refuses:
            client.close()
        else:
            super()._serve(client)


class Crowd(Listening):
    """A dead server's port: holds each connection for a moment, and counts how many at once."""

    def __init__(self, port: int) -> None:
        self._lock = threading.Lock()
        self._here = self.most = 0
        super().__init__(port)

    def _serve(self, client: socket.socket) -> None:
        with self._lock:
            self._here += 1
            self.most = max(self.most, self._here)
        time.sleep(0.02)
        with self._lock:
            self._here -= 1
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        client.close()


@pytest.fixture(params=SERVERS)
def server(request: Any, private_server: Callable[[str], Server]) -> Server:
    return private_server(request.param)


def test_a_server_is_killed_and_returns(server: Server) -> None:
    clock = ShiftedClock()
    with Subject(server.url, clock) as subject:
        subject.ask()
        assert subject.state == "closed"
        assert subject.outcomes() == ["ok"]
        server.kill()
        while subject.state == "closed":
            with pytest.raises(infra.ConnectionError) as caught:
                subject.ask()
        assert type(caught.value) is infra.ConnectionError
        # Each attempt counts, and the one that opens it is the last.
        assert subject.outcomes() == ["ConnectionError"] * 3
        with Listening(server.port) as port:
            with pytest.raises(infra.CircuitOpenError) as refused:
                subject.ask()
            assert port.connections == 0
        assert (subject.state, subject.outcomes()) == ("open", ["CircuitOpenError"])
        assert (refused.value.service, refused.value.retryable) == (caught.value.service, False)
        clock.ahead += 30
        assert subject.state == "half_open"
        with pytest.raises(infra.ConnectionError, match="could not be reached"):
            subject.ask()
        assert (subject.state, subject.outcomes()) == ("open", ["ConnectionError"])
        server.start()
        with pytest.raises(infra.CircuitOpenError):
            subject.ask()
        clock.ahead += 30
        subject.ask()
        assert (subject.state, subject.outcomes()) == ("closed", ["CircuitOpenError", "ok"])


def test_a_health_check_finds_that_the_server_is_back(server: Server) -> None:
    with Subject(server.url) as subject:
        server.kill()
        for _ in range(3):
            with pytest.raises(infra.ConnectionError):
                subject.ask()
        part = getattr(subject.services, subject.name)
        with pytest.raises(infra.ConnectionError, match="could not be reached"):
            part.health_check()
        assert subject.state == "open"
        server.start()
        part.health_check()
        assert subject.state == "closed"
        subject.ask()


def test_a_silent_server_counts_and_its_query_timeout_does_not(
    private_server: Callable[[str], Server],
) -> None:
    server = private_server("postgres")
    options: dict[str, Any] = {"query_timeout": 0.2, "connect_timeout": 1, "acquire_timeout": 3}
    with Subject(server.url, **options) as subject:
        for _ in range(4):
            with pytest.raises(infra.TimeoutError):
                subject.services.database.execute("SELECT pg_sleep(9)")
        assert subject.state == "closed"
        server.pause()
        try:
            for _ in range(9):
                if subject.state == "closed":
                    with pytest.raises((infra.TimeoutError, infra.ConnectionError)):
                        subject.ask()
            with pytest.raises(infra.CircuitOpenError):
                subject.ask()
        finally:
            server.resume()


@pytest.mark.parametrize("name", DATABASES)
def test_a_full_pool_does_not_count(private_server: Callable[[str], Server], name: str) -> None:
    options: dict[str, Any] = {"max_connections": 1, "acquire_timeout": 0.2}
    with Subject(private_server(name).url, **options) as subject:
        database = subject.pool
        with database.connection():
            found = in_threads(5, lambda _: subject.ask())
        assert [type(each) for each in found] == [infra.PoolTimeoutError] * 5
        assert subject.state == "closed"
        stats = database.stats()
        assert (stats.opened, stats.closed, stats.timed_out) == (1, 0, 5)
        assert 0.1 < stats.longest_wait < 0.2 + SLACK
    assert database.stats().closed == 1


@pytest.mark.parametrize("name", DATABASES)
@pytest.mark.parametrize("step", ["statement", "savepoint", "commit", "rollback", "stream"])
def test_what_uses_an_open_connection_goes_on(
    private_server: Callable[[str], Server], name: str, step: str
) -> None:
    server = private_server(name)
    with Refusing(server.port) as proxy:
        url = server.url.replace(str(server.port), str(proxy.port))
        with Subject(url) as subject:
            database = subject.services.database
            database.execute("CREATE TABLE notes (n INTEGER PRIMARY KEY)")

            def open_breaker() -> None:
                proxy.refuses = True
                in_threads(1, lambda _: subject.ask())
                assert subject.state == "open"

            if step == "stream":
                rows = database.stream("SELECT 1 UNION SELECT 2 UNION SELECT 3", batch_size=1)
                assert next(rows) == (1,)
                open_breaker()
                assert list(rows) == [(2,), (3,)]
                return
            with contextlib.suppress(LookupError), database.transaction():
                database.execute("INSERT INTO notes VALUES (1)")
                open_breaker()
                if step == "statement":
                    assert database.execute("INSERT INTO notes VALUES (2)") == 1
                elif step == "savepoint":
                    with database.transaction():
                        pass
                elif step == "rollback":
                    raise LookupError
            assert subject.state == "closed"  # the server has answered
            count = {"statement": 2, "rollback": 0}.get(step, 1)
            assert database.fetch_one("SELECT count(*) FROM notes") == (count,)


@pytest.mark.parametrize("name", DATABASES)
def test_threads_that_wait_for_a_connection_do_not_ask_a_dead_server(
    private_server: Callable[[str], Server], name: str
) -> None:
    server = private_server(name)
    options: dict[str, Any] = {"max_connections": 1, "breaker_failures": 1}
    with Subject(server.url, **options) as subject:
        database = subject.pool
        with database.connection():
            waiting = [in_background(subject.ask) for _ in range(9)]
            eventually(lambda: database.stats().waiting == 9)
            server.kill()
        caught = [type(join()) for join in waiting]
        assert collections.Counter(caught) == {
            infra.ConnectionError: 1,
            infra.CircuitOpenError: 8,
        }


def test_a_listener_counts_and_connects_again(
    private_server: Callable[[str], Server], caplog: pytest.LogCaptureFixture
) -> None:
    server, clock, inbox = private_server("redis"), ShiftedClock(), list[str]()
    counts: list[tuple[str, str]] = []

    class Counting(infra.Observer):
        def count(self, service: str, name: str, amount: int = 1) -> None:
            counts.append((service, name))

    config = infra.CacheConfig(url=server.url, retries=0, **BREAKER)
    services = infra.Infrastructure(infra.Config(cache=config), clock=clock, observer=Counting())
    with services:
        services.bus.subscribe("c", lambda message: inbox.append(message.payload))
        event = infra.SystemEvent.HealthCheckFailed("redis", "down")
        services.bus.publish("c", event)
        eventually(lambda: inbox)
        assert services.breakers == {"redis": "closed"}
        server.kill()
        eventually(lambda: services.breakers == {"redis": "open"})
        with Listening(server.port) as port:
            caplog.clear()
            time.sleep(0.5)  # it tries to connect about every half second
            assert port.connections == 0
            assert len(caplog.records) < 10
        server.start()
        clock.ahead += 30
        eventually(lambda: counts == [("redis", "reconnects")])
        assert services.breakers == {"redis": "closed"}
        services.bus.publish("c", event)
        eventually(lambda: len(inbox) == 2)


def test_a_cache_that_fails_open_goes_on_at_once(private_server: Callable[[str], Server]) -> None:
    server = private_server("redis")
    with infra.RedisClient(infra.CacheConfig(url=server.url, retries=0, **BREAKER)) as client:
        cache = infra.RedisCacheProvider(client, fail_open=True)
        strict = infra.RedisCacheProvider(client)
        cache.set("k", 1)
        server.kill()
        for _ in range(3):
            assert cache.get("k") is None
        with Listening(server.port) as port:
            assert cache.get("k", "none") == "none"
            assert cache.get_or_set("k", lambda: 2) == 2
            with pytest.raises(infra.CacheError, match="nothing was sent") as caught:
                strict.get("k")
            assert port.connections == 0
        assert isinstance(caught.value.__cause__, infra.CircuitOpenError)
        assert caught.value.retryable is False


def test_a_message_without_an_answer_counts() -> None:
    config = infra.SmsConfig(
        provider="twilio", api_key="AC" + "0" * 32, api_secret="s", sender="+14155550100", **BREAKER
    )
    with (
        Stub(lambda client: client.shutdown(socket.SHUT_RDWR)) as stub,
        infra.TwilioSmsService(config, endpoint=f"http://127.0.0.1:{stub.port}") as sms,
    ):
        for _ in range(3):
            with pytest.raises(infra.SmsError) as caught:
                sms.send_sms("+14155550100", "m")
            assert caught.value.outcome == "unknown"
        with pytest.raises(infra.CircuitOpenError):
            sms.send_sms("+14155550100", "m")
        assert stub.connections == 3


AWAY = 20.0 if PROVE else 1.0  # seconds
RESET = 0.25


class Day:
    """Threads that ask all day, and what came of it."""

    def __init__(self, subject: Subject, threads: int) -> None:
        self.subject = subject
        self.over = threading.Event()
        self.longest = 0.0
        self.found: list[tuple[float, str]] = []
        self._begun = [0.0] * threads  # when each thread's call began
        self._joins = [in_background(partial(self._work, number)) for number in range(threads)]

    def _work(self, number: int) -> None:
        while not self.over.is_set():
            began = self._begun[number] = time.monotonic()
            try:
                self.subject.ask()
                outcome = "ok"
            except infra.InfrastructureError as error:
                outcome = type(error).__name__
            self.longest = max(self.longest, time.monotonic() - began)
            self.found.append((began, outcome))
            self.over.wait(0.01)

    def end(self) -> None:
        self.over.set()
        for join in self._joins:
            join()

    def have_all_asked_since(self, moment: float) -> bool:
        return min(self._begun) >= moment

    def since(self, moment: float) -> collections.Counter[str]:
        return collections.Counter(outcome for began, outcome in self.found if began >= moment)


@pytest.fixture
def day(server: Server) -> Iterator[Day]:
    options: dict[str, Any] = {"deadline": 2.0, "pool_size": 10}
    if not server.url.startswith("redis"):
        options = {"acquire_timeout": 2.0, "connect_timeout": 1.0, "query_timeout": 2.0}
    with Subject(server.url, **{**options, "breaker_reset": RESET}) as subject:
        found = Day(subject, 50)
        yield found
        found.end()


def test_fifty_threads_while_a_server_is_killed_stays_away_and_returns(
    day: Day, server: Server
) -> None:
    eventually(lambda: day.since(0)["ok"] > 200)
    assert set(day.since(0)) == {"ok"}
    server.kill()
    eventually(lambda: day.subject.state != "closed")
    # An attempt that was let through before that is no probe, and may connect only now.
    opened = time.monotonic()
    eventually(lambda: day.have_all_asked_since(opened))
    with Crowd(server.port) as crowd:
        until = time.monotonic() + AWAY
        eventually(lambda: time.monotonic() > until and crowd.connections > 2, AWAY + WAIT)
        assert crowd.most == 1
        assert set(day.since(until - AWAY)) <= {"CircuitOpenError", "ConnectionError"}
    server.start()
    # A probe that met nobody between the two may still be under way, and opens it once more.
    back = time.monotonic()
    eventually(lambda: day.since(back)["ok"] > 200)
    day.end()
    assert set(day.since(back)) <= {"ok", "CircuitOpenError"}
    assert day.subject.state == "closed"
    assert day.longest < 2.0 + SLACK
