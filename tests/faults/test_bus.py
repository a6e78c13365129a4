"""Faults of RedisEventBus: killed connections, restarts, pauses, refusals, forks, transactions."""

from __future__ import annotations

import contextlib
import gc
import itertools
import signal
import subprocess
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import fakes
import infra
from tests.contract.backends import WAIT, eventually, in_background, in_child, in_threads
from tests.contract.databases import (
    DatabaseBackend,
    Owner,
    RolledBack,
    fake_backend,
    real_backend,
    with_tables,
)
from tests.contract.test_event_bus import Heard, note
from tests.faults.proxy import Proxy, ScriptedRedis
from tests.faults.test_redis import SLACK, client_of
from tests.interrupts import handled_at, interruptions
from tests.services import Server, free_port


@pytest.fixture
def server(private_server: Callable[[str], Server]) -> Server:
    return private_server("redis")


@pytest.fixture
def raw(server: Server) -> Iterator[Any]:
    """redis-py itself, to look at the server from outside."""
    import redis

    with redis.Redis.from_url(server.url) as client:
        yield client


@contextlib.contextmanager
def bus_of(
    url: str, on_reconnect: Callable[[], None] | None = None, **options: Any
) -> Iterator[infra.RedisEventBus]:
    with client_of(url, **options) as client, infra.RedisEventBus(client, on_reconnect) as bus:
        yield bus


def is_closed(bus: infra.RedisEventBus) -> bool:
    try:
        bus.publish("nobody's", note(0))
    except infra.ConnectionError as error:
        return "closed" in str(error)
    return False


def listeners() -> int:
    return sum(thread.name == "infra-listener" for thread in threading.enumerate())


# --- connections that fail


@pytest.mark.real
def test_a_closed_port() -> None:
    with bus_of(f"redis://127.0.0.1:{free_port()}") as bus:
        calls: list[Callable[[], Any]] = [
            lambda: bus.publish("c", note(1)),
            lambda: bus.subscribe("c", print),
            lambda: bus.psubscribe("c", print),
        ]
        for call in calls:
            started = time.monotonic()
            with pytest.raises(infra.ConnectionError) as caught:
                call()
            assert time.monotonic() - started < 5 + SLACK
            assert caught.value.retryable is True


def test_killed_connections(server: Server, raw: Any) -> None:
    heard = Heard()
    with bus_of(server.url, heard.inbox.on_reconnect) as bus:
        bus.subscribe("c", heard)
        bus.subscribe_many(["d", "e"], heard).close()
        bus.psubscribe("p*", heard)
        for times in (1, 2):
            assert raw.client_kill_filter(_type="pubsub") == 1
            heard.inbox.wait_reconnects(times)
            assert [bus.publish(channel, note(times)) for channel in ("c", "p1", "d")] == [1, 1, 0]
            assert heard.wait(2 * times)[-2:] == [("c", None, str(times)), ("p1", "p*", str(times))]
        assert heard.inbox.reconnects == 2


def test_a_restart(server: Server) -> None:
    heard = Heard()
    with bus_of(server.url, heard.inbox.on_reconnect) as bus:
        subscription = bus.subscribe("c", heard)
        server.kill()
        server.start()
        heard.inbox.wait_reconnects(1)
        assert bus.publish("c", note(1)) == 1
        assert heard.notes(1) == ["1"]
        subscription.close()
        assert bus.publish("c", note(2)) == 0


def test_a_subscription_that_ends_while_the_server_is_away(server: Server) -> None:
    heard = Heard()
    with bus_of(server.url, heard.inbox.on_reconnect) as bus:
        subscription = bus.subscribe("c", heard)
        bus.subscribe("d", heard)
        server.kill()
        subscription.close()
        server.start()
        heard.inbox.wait_reconnects(1)
        assert (bus.publish("c", note(1)), bus.publish("d", note(2))) == (0, 1)
        assert heard.wait(1) == [("d", None, "2")]


def test_paused(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    heard = Heard()
    with (
        bus_of(server.url) as publisher,
        # So long that the silent connection is kept.
        bus_of(server.url, deadline=1.5, socket_timeout=60) as bus,
    ):
        bus.subscribe("a", heard)
        subscription = bus.subscribe("b", heard)
        server.pause()
        calls: list[Callable[[], Any]] = [
            lambda: bus.publish("a", note(0)),
            lambda: bus.subscribe("c", heard),
            lambda: bus.subscribe_many(["a", "c"], heard),
        ]
        for call in calls:
            started = time.monotonic()
            with pytest.raises(infra.TimeoutError):
                call()
            assert time.monotonic() - started < 1.5 + SLACK
        subscription.close()  # is no error
        assert "redis did not acknowledge that a subscription ended: TimeoutError" in caplog.text
        server.resume()
        eventually(
            lambda: (
                [publisher.publish(channel, note(1)) for channel in ("a", "b", "c")] == [1, 0, 0]
            )
        )

        # What was published during it, without an answer, may come before.
        def after_the_pause() -> set[str]:
            return {channel for channel, _, text in heard.wait(0) if text == "1"}

        eventually(after_the_pause)
        assert after_the_pause() == {"a"}
        assert bus.handler_errors == 0


def test_a_dead_peer_is_noticed(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    heard = Heard()
    with (
        bus_of(server.url) as publisher,
        bus_of(server.url, heard.inbox.on_reconnect, socket_timeout=0.1) as bus,
    ):
        bus.subscribe("c", heard)
        server.pause()
        caplog.clear()
        eventually(lambda: "lost its connection (TimeoutError); connecting again" in caplog.text)
        server.resume()
        heard.inbox.wait_reconnects(1)
        eventually(lambda: publisher.publish("c", note(1)) and heard.messages)
        assert heard.messages[0] == ("c", None, "1")


def test_a_quiet_channel_is_left_alone(server: Server, raw: Any) -> None:
    """The bus asks after five seconds of silence, and has a second for the answer."""
    heard = Heard()
    with bus_of(server.url, heard.inbox.on_reconnect, socket_timeout=1) as bus:
        bus.subscribe("c", heard)
        [before] = raw.client_list(_type="pubsub")
        eventually(lambda: raw.client_list(_type="pubsub")[0]["cmd"] == "ping", 2 * WAIT)
        bus.subscribe("d", heard)  # its answer comes behind that to the PING
        assert bus.publish("c", note(1)) == 1
        assert heard.notes(1) == ["1"]
        [after] = raw.client_list(_type="pubsub")
        assert (after["id"], heard.inbox.reconnects) == (before["id"], 0)


def test_a_publish_whose_answer_was_lost_is_not_repeated(server: Server) -> None:
    heard = Heard()
    with bus_of(server.url) as bus, Proxy(server.port) as proxy:
        bus.subscribe("c", heard)
        with bus_of(f"redis://127.0.0.1:{proxy.port}") as publisher:
            publisher.publish("c", note(1))
            proxy.swallow = True
            with pytest.raises(infra.ConnectionError) as caught:
                publisher.publish("c", note(2))
            assert caught.value.operation == "publish"
            publisher.publish("c", note(3))
        assert heard.notes(3) == ["1", "2", "3"]


def test_one_subscribes_in_vain_to_what_another_waits_for(server: Server) -> None:
    """The first gives up while the second, which has come later, has half of its time left."""
    heard, deadline = Heard(), 4.0
    with bus_of(server.url, deadline=deadline, socket_timeout=60) as bus:
        bus.subscribe("other", heard)
        server.pause()
        first = in_background(lambda: bus.subscribe("c", heard))
        time.sleep(deadline / 2)
        second = in_background(lambda: bus.subscribe("c", heard))
        assert type(first()) is infra.TimeoutError
        server.resume()
        assert isinstance(second(), infra.Subscription)
        assert bus.publish("c", note(1)) == 1
        assert heard.notes(1) == ["1"]


# --- refusals


def test_what_redis_does_not_permit(server: Server, raw: Any) -> None:
    heard = Heard()
    raw.execute_command("ACL", "SETUSER", "u", "on", ">p", "~*", "+@all", "resetchannels", "&ok*")
    with bus_of(f"redis://u:p@127.0.0.1:{server.port}") as bus:
        bus.subscribe("ok1", heard)
        calls: dict[str, Callable[[], Any]] = {
            "publish": lambda: bus.publish("secret", note(0)),
            "subscribe": lambda: bus.subscribe_many(["ok2", "secret"], heard),
            "psubscribe": lambda: bus.psubscribe("s*", heard),
        }
        for operation, call in calls.items():
            with pytest.raises(infra.MessagingError, match="permit") as caught:
                call()
            assert (caught.value.service, caught.value.operation) == ("redis", operation)
            assert caught.value.retryable is False
            assert isinstance(caught.value.__cause__, infra.CacheError)
        eventually(lambda: bus.publish("ok2", note(1)) == 0)
        assert bus.publish("ok1", note(2)) == 1
        assert heard.notes(1) == ["2"]


def test_a_refusal_takes_nothing_from_others(server: Server, raw: Any) -> None:
    raw.execute_command("ACL", "SETUSER", "u", "on", ">p", "~*", "+@all", "resetchannels", "&ok")
    with bus_of(f"redis://u:p@127.0.0.1:{server.port}") as bus:

        def work(number: int) -> None:
            for _ in range(100):
                if number:
                    with pytest.raises(infra.MessagingError):
                        bus.subscribe_many(["ok", "secret"], print)
                else:
                    heard = Heard()
                    with bus.subscribe("ok", heard):
                        assert bus.publish("ok", note(1)) == 1
                        assert heard.notes(1) == ["1"]

        assert in_threads(3, work) == [None] * 3


def test_no_payload_leaves_through_an_error(caplog: pytest.LogCaptureFixture) -> None:
    secret, texts = "tell-nobody-739182", []
    client = fakes.FakeRedisClient()
    bus = fakes.FakeEventBus(client)
    bus.subscribe("c", lambda message: texts.append(repr(message)))
    bus.subscribe("c", lambda message: message.deserialize(infra.SystemEvent))
    payloads = [
        secret,
        f'"{secret}"',
        f'{{"type":"{secret}"}}',
        f'{{"type":["{secret}"]}}',
        f'{{"type":"SystemEvent.CacheCleared","pattern":["{secret}"]}}',
        f'{{"type":"SystemEvent.CacheCleared","pattern":"{secret}\\u0000"}}',
        f'{{"type":"SystemEvent.MaintenanceScheduled","starts_at":"{secret}","ends_at":"","reason":""}}',
        '{"type":"SystemEvent.MaintenanceScheduled","starts_at":"2026-13-13T00:00:00Z","ends_at":"","reason":""}',
    ]
    for payload in payloads:
        client.publish("c", payload)
        with pytest.raises(infra.SerializationError) as caught:
            infra.Message("c", None, payload).deserialize(infra.SystemEvent)
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)
        texts.append("".join(traceback.format_exception(caught.value)) + repr(caught.value))
    assert bus.handler_errors == len(payloads)
    assert len(texts) == 2 * len(payloads)
    for text in (*texts, caplog.text):
        assert secret not in text
        assert "2026-13" not in text


# --- programs in which poll() is missing, select() of no use, or threads are coroutines

ROOT = Path(__file__).resolve().parents[2]
WAITS = """
import os, select, sys, threading
url, trouble = sys.argv[1:]
if trouble == "no poll":  # as under eventlet
    for name in ("poll", "epoll", "kqueue", "devpoll"):
        vars(select).pop(name, None)
elif trouble == "gevent":
    from gevent import monkey
    monkey.patch_all()
else:  # select() takes none above 1023
    import resource
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    occupied = [os.dup(0) for _ in range(1100)]
import infra
if url.startswith("redis"):
    heard = threading.Event()
    with infra.RedisClient(infra.CacheConfig(url)) as client, infra.RedisEventBus(client) as bus:
        bus.subscribe("waits", lambda message: heard.set())
        bus.publish("waits", infra.SystemEvent.CacheCleared(pattern="*"))
        assert heard.wait(10)
else:
    with infra.create_pool(infra.DatabaseConfig(url)) as pool:
        for number in (1, 2):  # the second call asks whether the idle connection is alive
            assert pool.fetch_all("SELECT %s", (number,)) == [(number,)]
print("done")
"""


@pytest.mark.real
@pytest.mark.parametrize("name", ["redis", "redis-tls", "mariadb", "mysql", "postgres"])
@pytest.mark.parametrize("trouble", ["no poll", "descriptors", "gevent"])
def test_waiting_for_sockets(service: Callable[[str], str], name: str, trouble: str) -> None:
    command = [sys.executable, "-W", "error", "-c", WAITS, service(name), trouble]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


# --- threads, forks, closing


def test_one_thread_for_a_bus_from_its_first_subscription_on(server: Server) -> None:
    before = listeners()
    with bus_of(server.url) as bus:
        bus.publish("c", note(1))
        assert listeners() == before
        assert (
            in_threads(4, lambda number: type(bus.subscribe(f"c{number}", Heard())))
            == [infra.Subscription] * 4
        )
        assert listeners() == before + 1
    eventually(lambda: listeners() == before)


def test_who_joins_while_the_last_one_leaves(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, joins = Heard(), []

    class Client(infra.RedisClient):
        """Just before it leaves a channel, another thread begins to join it."""

        def listen(self, *handlers: Any) -> infra.Listener:
            listener = super().listen(*handlers)
            leave, done = listener.unsubscribe, threading.Event()

            def join() -> None:
                bus.subscribe("c", heard)
                done.set()

            def slow(*channels: str) -> None:
                joins.append(in_background(join))
                # In vain: it has to wait. A slow machine makes a mistake pass, no more.
                done.wait(0.5)
                leave(*channels)

            monkeypatch.setattr(listener, "unsubscribe", slow)
            return listener

    with Client(infra.CacheConfig(server.url)) as client, infra.RedisEventBus(client) as bus:
        bus.subscribe("c", heard).close()
        assert joins[0]() is None
        assert bus.publish("c", note(1)) == 1
        assert heard.notes(1) == ["1"]


# Python 3.12 warns of threads; they are the point.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_subscribes_anew(server: Server) -> None:
    heard = Heard()
    with (
        client_of(server.url) as client,
        infra.RedisEventBus(client, heard.inbox.on_reconnect) as bus,
    ):
        subscription = bus.subscribe("c", heard)

        def work() -> None:
            subscription.close()  # which is the parent's
            mine = Heard()
            bus.subscribe("child", mine)
            assert bus.publish("child", note(1)) == 1
            assert mine.notes(1) == ["1"]
            assert bus.publish("c", note(2)) == 1
            bus.close()
            client.close()

        in_child(work)
        assert bus.publish("c", note(3)) == 1
        assert heard.notes(2) == ["2", "3"]
        assert (heard.inbox.reconnects, bus.publish("child", note(4))) == (0, 0)


def test_a_forgotten_bus_goes_on(server: Server) -> None:
    """Until its client is closed, as on the fake: who subscribes need not keep the bus."""
    heard = Heard()
    with client_of(server.url) as client, bus_of(server.url) as other:
        infra.RedisEventBus(client).subscribe("c", heard)
        gc.collect()
        assert other.publish("c", note(1)) == 1
        assert heard.notes(1) == ["1"]
        client.close()
        eventually(lambda: other.publish("c", note(2)) == 0)


def test_a_bus_is_closed_while_a_handler_works(server: Server) -> None:
    heard, busy, over = Heard(), threading.Event(), threading.Event()

    def handler(message: infra.Message) -> None:
        busy.set()
        assert over.wait(WAIT)
        heard(message)

    with bus_of(server.url) as bus:
        bus.subscribe("c", handler)
        for number in range(3):
            bus.publish("c", note(number))
        assert busy.wait(WAIT)
        join = in_background(bus.close)
        eventually(lambda: is_closed(bus))
        assert heard.messages == []
        over.set()
        assert join() is None
        assert heard.messages == [("c", None, "0")]


def test_who_waits_for_a_slow_handler_is_told_so(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    heard, busy, over = Heard(), threading.Event(), threading.Event()

    def handler(message: infra.Message) -> None:
        busy.set()
        assert over.wait(WAIT)

    with bus_of(server.url, deadline=1.5) as bus:
        subscription = bus.subscribe("c", handler)
        bus.publish("c", note(1))
        assert busy.wait(WAIT)
        with pytest.raises(infra.TimeoutError, match="a handler is still at work"):
            bus.subscribe("d", heard)
        subscription.close()
        assert (
            "a subscription ended: TimeoutError: redis did not acknowledge in time: a handler is"
            in caplog.text
        )
        over.set()
        eventually(lambda: [bus.publish(channel, note(2)) for channel in ("c", "d")] == [0, 0])
        server.pause()
        with pytest.raises(infra.TimeoutError) as caught:
            bus.subscribe("d", heard)
        assert "handler" not in str(caught.value)
        server.resume()


def test_a_raising_on_reconnect_hinders_nobody(server: Server, raw: Any) -> None:
    heard = Heard()

    def on_reconnect() -> None:
        heard.inbox.on_reconnect()
        raise RuntimeError("a mistake")

    with bus_of(server.url, on_reconnect) as bus:
        bus.subscribe("c", heard)
        raw.client_kill_filter(_type="pubsub")
        heard.inbox.wait_reconnects(1)
        bus.publish("c", note(1))
        assert heard.notes(1) == ["1"]


# --- signal handlers


def bundle_of(url: str) -> infra.Infrastructure:
    """Its deadline is longer than a test waits: a close that waits in vain fails the test."""
    cache = infra.CacheConfig(url=url, deadline=10 * WAIT, pool_size=1, retries=0)
    config = infra.Config(cache=cache, phone_hash_key="k" * 32)
    return infra.Infrastructure(config)


def unused_key() -> str:
    """A lock that a closed bundle has left behind holds nobody up."""
    return uuid.uuid4().hex


def with_lock(services: infra.Infrastructure) -> None:
    with services.cache.lock(unused_key(), 60):
        pass


def subscribe_and_close(services: infra.Infrastructure) -> None:
    services.bus.subscribe("a", print)
    services.close()


CALLS: dict[str, Callable[[infra.Infrastructure], Any]] = {
    "subscribe": lambda s: s.bus.subscribe_many(["a", "b"], print),
    "psubscribe": lambda s: [s.bus.psubscribe(glob, print) for glob in ("a*", "b*")],
    "leave": lambda s: s.bus.subscribe("a", print).close(),
    "publish": lambda s: s.bus.publish("a", note(1)),
    "listen": lambda s: s.redis.listen(print).subscribe("a"),
    "close": subscribe_and_close,
    "get": lambda s: s.redis.get("a"),
    "set_many": lambda s: s.redis.set_many({"a": "1", "b": "2"}),
    "increment": lambda s: s.redis.increment("n", ttl=60),
    "scan": lambda s: list(s.redis.scan()),
    "get_or_set": lambda s: s.cache.get_or_set(unused_key(), lambda: 1, 60),
    "lock": with_lock,
    "store_code": lambda s: s.verification.store_code("+14155550100", "123456"),
    "health_check": lambda s: s.redis.health_check(),
    "build": lambda s: [s.storage, s.cache, s.verification],
}


def close_anywhere(
    make: Callable[[], infra.Infrastructure], call: Callable[[infra.Infrastructure], Any]
) -> None:
    """Closes the bundle before each line of the call in turn. Both end, and nothing stays open."""
    before = listeners()
    for number in itertools.count():
        services = make()

        def attempt() -> None:
            # The cache's error has the other as its cause.
            with contextlib.suppress(infra.ConnectionError, infra.CacheError):
                call(services)

        def work() -> bool:
            return handled_at(number, attempt, services.close, infra.__file__, fakes.__file__)

        was_closed = in_background(work)()
        services.close()
        if was_closed is False:
            assert number > 3
            break
        assert was_closed is True, was_closed
        with contextlib.suppress(infra.ConnectionError):  # it was not built
            assert services.redis.stats().open == 0
        with pytest.raises(infra.ConnectionError):
            services.redis.get("a")
        eventually(lambda: listeners() == before)


@pytest.mark.real
@pytest.mark.parametrize("call", CALLS)
def test_a_handler_closes_everything(service: Callable[[str], str], call: str) -> None:
    url = service("redis")
    close_anywhere(lambda: bundle_of(url), CALLS[call])


@pytest.mark.real
@pytest.mark.parametrize("call", ["subscribe", "set_many"])
def test_a_handler_closes_a_cluster(service: Callable[[str], str], call: str) -> None:
    url = service("redis-cluster")
    close_anywhere(lambda: bundle_of(url), CALLS[call])


@pytest.mark.parametrize("call", CALLS)
def test_a_handler_closes_all_fakes(call: str) -> None:
    close_anywhere(fakes.FakeInfrastructure, CALLS[call])


@pytest.mark.real
def test_a_handler_closes_everything_while_redis_is_away() -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    close_anywhere(lambda: bundle_of(url), CALLS["subscribe"])


@pytest.mark.real
@pytest.mark.parametrize("outcome", ["closed", "interrupted"])
def test_a_signal_ends_what_waits_for_redis(outcome: str) -> None:
    """The main thread waits for an acknowledgement that does not come."""

    def answer(words: list[bytes], send: Callable[[bytes], None]) -> None:
        if words[0] == b"SUBSCRIBE":
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        else:
            send(b"+OK\r\n")

    def handler(*_: Any) -> None:
        if outcome == "interrupted":
            raise KeyboardInterrupt
        services.close()

    with ScriptedRedis(answer) as server:
        services = bundle_of(server.url)
        before = signal.signal(signal.SIGUSR1, handler)
        try:
            expected = KeyboardInterrupt if outcome == "interrupted" else infra.ConnectionError
            with services, pytest.raises(expected):
                services.bus.subscribe("c", print)
        finally:
            signal.signal(signal.SIGUSR1, before)


def test_an_interrupt_of_a_waiting_call_is_not_replaced(server: Server) -> None:
    """By a RuntimeError about a lock, in the library or in Python's threading."""
    heard, names = Heard(), map("d{}".format, itertools.count())

    def join_and_leave() -> None:
        # Another channel each time: an interrupt between the two leaves a subscription, which would
        # add lines to the next round, and the interrupts would hardly ever reach the last line.
        bus.subscribe(next(names), heard).close()

    with bus_of(server.url) as bus:
        bus.subscribe("c", heard)
        for _ in interruptions(join_and_leave, "line", threading.__file__):
            bus.subscribe("e", heard).close()
        assert [bus.publish(channel, note(1)) for channel in ("c", "e")] == [1, 0]
        assert heard.notes(1) == ["1"]


# --- transactions of the publisher


@dataclass
class Together:
    """A bus, and a database that its handlers use."""

    bus: infra.RedisEventBus
    data: DatabaseBackend
    channel: str

    def publish(self, work: Callable[[], Any]) -> Any:
        """Has a handler do the work, and returns its answer, or its exception, once it is done."""
        answers, done = [], threading.Event()

        def handler(message: infra.Message) -> None:
            try:
                answers.append(work())
            except Exception as error:
                answers.append(error)
            done.set()

        with self.bus.subscribe(self.channel, handler):
            assert self.bus.publish(self.channel, note(1)) == 1
            assert done.wait(WAIT)
        return answers[0]


REAL = [pytest.param(name, marks=pytest.mark.real) for name in ("mariadb", "postgres")]


@pytest.fixture(params=["fake mysql", "fake postgres", *REAL])
def together(request: pytest.FixtureRequest) -> Iterator[Together]:
    channel = f"test:{uuid.uuid4().hex}"
    if request.param.startswith("fake"):
        yield Together(
            fakes.FakeEventBus(), fake_backend(request.param.removeprefix("fake ")), channel
        )
        return
    url = request.getfixturevalue("service")("redis")
    data = real_backend(with_tables(request.getfixturevalue("database"), request.param))
    with data.database, bus_of(url) as bus:
        yield Together(bus, data, channel)


def test_a_handler_sees_no_uncommitted_row(together: Together) -> None:
    owners = together.data.owners
    with together.data.database.transaction():
        owners.create(Owner("outer"))
        assert together.publish(owners.count) == 0
        with together.data.database.transaction():
            owners.create(Owner("inner"))
            assert together.publish(owners.count) == 0
        assert together.publish(lambda: owners.find_by_name("outer")) is None
        assert owners.count() == 2
    assert together.publish(owners.count) == 2


def test_what_a_handler_writes_is_no_part_of_the_transaction(together: Together) -> None:
    owners = together.data.owners

    def work() -> int:
        with together.data.database.transaction():
            owners.create(Owner("handler's"))
        return owners.count()

    with contextlib.suppress(RolledBack), together.data.database.transaction():
        assert owners.count() == 0
        assert together.publish(work) == 1
        owners.create(Owner("lost"))
        raise RolledBack
    assert [each.name for each in owners.page().items] == ["handler's"]


def test_a_handler_of_the_fake_does_not_wait_for_its_own_thread() -> None:
    for engine in ("mysql", "postgres"):
        together = Together(fakes.FakeEventBus(), fake_backend(engine, lock_timeout=5), "c")
        owners, database = together.data.owners, together.data.database
        with database.transaction():
            owners.create(Owner("outer"))
            for work in (
                lambda: owners.create(Owner("x")),
                lambda: database.run(lambda: owners.create(Owner("x"))),
            ):
                started = time.monotonic()
                error = together.publish(work)
                assert time.monotonic() - started < 5
                assert isinstance(error, infra.DatabaseError)
                assert error.retryable is True
            owners.create(Owner("too"))
        assert [each.name for each in owners.page().items] == ["outer", "too"]
        assert isinstance(together.publish(lambda: owners.create(Owner("handler's"))), Owner)


def test_another_thread_of_the_fake_waits_for_its_turn() -> None:
    """Also while the transaction that has it is put aside."""
    together, results = Together(fakes.FakeEventBus(), fake_backend("postgres"), "c"), []
    owners = together.data.owners
    other = threading.Thread(target=lambda: results.append(owners.create(Owner("other's"))))

    def work() -> None:
        other.start()
        eventually(lambda: together.data.database.stats().waiting == 1)

    with together.data.database.transaction():
        owners.create(Owner("outer"))
        assert together.publish(work) is None
        assert results == []
    other.join(WAIT)
    assert [each.name for each in results] == ["other's"]


def test_reconnecting_on_the_fake_is_outside_of_transactions_too() -> None:
    data, counts = fake_backend("mysql"), []
    client = fakes.FakeRedisClient()
    bus = fakes.FakeEventBus(client, lambda: counts.append(data.owners.count()))
    bus.subscribe("c", Heard())
    with data.database.transaction():
        data.owners.create(Owner("x"))
        client.server.drop_connections()
    client.server.drop_connections()
    assert counts == [0, 1]
