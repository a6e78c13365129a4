"""Bad days of event streams and of the outbox: killed workers, brokers and relays, cut answers."""

from __future__ import annotations

import collections
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import fakes
import infra
from tests.contract.backends import WAIT, eventually, in_background
from tests.contract.databases import empty, migrated
from tests.contract.test_event_bus import note
from tests.contract.test_event_stream import Worker
from tests.contract.test_outbox import TABLES, Target
from tests.faults.proxy import Proxy
from tests.faults.stream_worker import CHANNEL, CREATE, GROUP, services_at
from tests.scale import PROVE, scaled
from tests.services import RabbitServer, Server

pytestmark = pytest.mark.real

ROOT = Path(__file__).resolve().parent.parent.parent
KINDS = ["redis", "nats", "rabbitmq"]
EVENTS = 5000 if PROVE else 500
SLACK = 10.0  # seconds that a busy machine may add to a deadline


@pytest.fixture(params=KINDS)
def server(
    request: Any,
    private_server: Callable[[str], Server],
    rabbit_server: Callable[[], RabbitServer],
) -> Iterator[Server]:
    if request.param == "rabbitmq":
        rabbit = rabbit_server()
        yield rabbit
        delete_queues(rabbit)
        return
    server = private_server(request.param)
    if request.param == "redis":
        server.durable = True
        server.kill()
        server.start()
    yield server


@pytest.fixture
def rabbit(rabbit_server: Callable[[], RabbitServer]) -> Iterator[RabbitServer]:
    server = rabbit_server()
    yield server
    delete_queues(server)


def delete_queues(server: RabbitServer) -> None:
    """Delete what these tests have declared, also with a client other than ours."""
    import pika

    if server.process is None or server.process.poll() is not None:
        server.start()
    with pika.BlockingConnection(pika.URLParameters(f"{server.url}/%2F")) as connection:
        channel = connection.channel()
        for name in server.queues():
            channel.queue_delete(name)
        for name in (CHANNEL, "other"):
            channel.exchange_delete(f"infra-{name}")


#: tests of what happens once ``visibility`` has passed
takeover = pytest.mark.parametrize("server", ["redis", "nats"], indirect=True)


@pytest.fixture
def stream(server: Server) -> Iterator[infra.EventStream]:
    with services_at(server.url) as services:
        yield services.stream


class Workers:
    """Processes that consume, and their database."""

    def __init__(self, server: Server, database_url: str, mode: str) -> None:
        self._command = [sys.executable, "-m", "tests.faults.stream_worker"]
        self._command += [server.url, database_url, mode]
        self._running: list[subprocess.Popen[str]] = []
        self.pool = infra.create_pool(infra.DatabaseConfig(url=database_url))
        self.pool.execute("DROP TABLE IF EXISTS effects")
        self.pool.execute(CREATE)
        empty(self.pool, *TABLES)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.kill()
            process.communicate()
        self.pool.close()

    def start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(self._command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self._running.append(process)
        assert process.stdout is not None
        process.stdout.readline()  # "ready", or nothing if an event has killed it by now
        return process

    def kill_one(self) -> None:
        victim = random.choice(self._running)
        victim.kill()
        victim.communicate()
        self._running.remove(victim)
        self.start()

    def effects(self) -> collections.Counter[str]:
        return collections.Counter(
            row[0] for row in self.pool.fetch_all("SELECT note FROM effects")
        )


def test_workers_are_killed_at_random(
    stream: infra.EventStream, server: Server, database: Callable[[str], str]
) -> None:
    """2 processes of 2 workers: no event is lost, and none has its effect twice."""
    wanted = {str(number) for number in range(EVENTS)}
    with Workers(server, migrated(database, "postgres"), "random") as workers:
        stream.declare(CHANNEL, GROUP)
        workers.start()
        workers.start()
        for start in range(0, EVENTS, 50):
            stream.append_many(CHANNEL, [note(n) for n in range(start, start + 50)])
            if start % 250 == 0:
                workers.kill_one()
        eventually(lambda: workers.effects().keys() == wanted, 120)
        assert set(workers.effects().values()) == {1}
        assert stream.dead_letters(CHANNEL, GROUP) == []


def test_an_event_that_kills_its_process(
    stream: infra.EventStream, server: Server, database: Callable[[str], str]
) -> None:
    with Workers(server, migrated(database, "postgres"), "poison") as workers:
        stream.declare(CHANNEL, GROUP)
        id = stream.append(CHANNEL, note("poison"))
        stream.append_many(CHANNEL, [note(1), note(2)])
        deaths = 0
        process = workers.start()
        while not stream.dead_letters(CHANNEL, GROUP):
            if process.poll() is not None:
                deaths += 1
                assert deaths < 10
                process = workers.start()
            time.sleep(0.01)
        eventually(lambda: len(workers.effects()) == 2)
        [letter] = stream.dead_letters(CHANNEL, GROUP)
        assert (letter.message.id, letter.error) == (id, "ConsumerDied")
        assert (letter.failures, letter.deaths, deaths) == (0, 3, 3)
        assert workers.effects() == {"1": 1, "2": 1}


@takeover
def test_a_consumer_that_is_slower_than_its_visibility(stream: infra.EventStream) -> None:
    begun, notes = threading.Event(), list[str]()
    release = threading.Event()

    def handle(message: infra.Message) -> None:
        notes.append(message.payload)
        if len(notes) == 1:
            begun.set()
            release.wait(WAIT)

    with stream.consume(CHANNEL, GROUP, handle, workers=2, visibility=0.3):
        stream.append(CHANNEL, note(1))
        assert begun.wait(WAIT)
        eventually(lambda: len(notes) == 2)  # another worker has it meanwhile
        release.set()
        stream.append(CHANNEL, note(2))
        eventually(lambda: len(notes) == 3)
    assert stream.dead_letters(CHANNEL, GROUP) == []


@takeover
def test_a_slow_worker_fails_after_it_has_lost_its_event(stream: infra.EventStream) -> None:
    """Its failure postpones nothing: it is another worker's event now."""
    calls = [threading.Event() for _ in range(3)]
    count = iter(calls)

    def handle(message: infra.Message) -> None:
        mine = next(count)
        mine.set()
        if mine is calls[0]:
            assert calls[1].wait(WAIT)
            time.sleep(1)  # a clock may be slower than the broker's
            raise ValueError
        if mine is calls[1]:
            calls[2].wait(2 * WAIT)  # longer than its visibility, too

    with stream.consume(CHANNEL, GROUP, handle, workers=2, visibility=2.5, backoff=100):
        stream.append(CHANNEL, note(1))
        assert calls[2].wait(WAIT)
    assert stream.dead_letters(CHANNEL, GROUP) == []


def test_the_largest_event_of_nats(private_server: Callable[[str], Server]) -> None:
    """What can be stored can become a dead letter; what is larger is refused before it is sent."""
    worker = Worker(ValueError())
    with services_at(private_server("nats").url) as services:
        stream = services.stream
        with stream.consume(CHANNEL, GROUP, worker, retries=0):
            largest = note("x" * (2**20 - 1000 - 250))
            stream.append(CHANNEL, largest)
            eventually(lambda: stream.dead_letters(CHANNEL, GROUP), 30)
            with pytest.raises(infra.MessagingError, match="max_payload") as caught:
                stream.append_many(CHANNEL, [note("small"), note("x" * (2**20 - 1000))])
            assert caught.value.outcome == "rejected"
            assert stream.retry_dead(CHANNEL, GROUP) == 1
            eventually(lambda: len(worker.notes) == 2)
    assert [len(text) for text in worker.notes] == [2**20 - 1250] * 2


def test_a_broker_is_killed_and_restarted(stream: infra.EventStream, server: Server) -> None:
    worker, stored, unknown = Worker(), list[str](), 0
    numbers = iter(range(10**6))
    ending = threading.Event()

    def produce() -> None:
        nonlocal unknown
        while not ending.is_set():
            text = str(next(numbers))
            try:
                stream.append(CHANNEL, note(text))
                stored.append(text)
            except infra.MessagingError as error:
                unknown += 1 if error.outcome == "unknown" else 10**9
            except (infra.ConnectionError, infra.TimeoutError):
                pass  # nothing was sent

    with stream.consume(CHANNEL, GROUP, worker, workers=2, visibility=2):
        if isinstance(server, RabbitServer):
            last = f"last{uuid.uuid4().hex}"  # declared after the consumer's group
            stream.declare(CHANNEL, last)
            eventually(lambda: server.knows(f"infra-{CHANNEL}-{last}"))
        join = in_background(produce)
        for _ in range(scaled(20, 10)):
            before = len(stored)
            eventually(lambda before=before: len(stored) > before + 20)  # type: ignore[misc]
            server.kill()
            server.start()
        before = len(stored)
        eventually(lambda: len(stored) > before + 20, 30)
        ending.set()
        assert join() is None
        eventually(lambda: {*stored} <= {*worker.notes}, 30)
    assert len({*worker.notes}) <= len(stored) + unknown


def test_a_silent_broker(server: Server) -> None:
    options: dict[str, Any] = {"deadline": 1.0, "socket_timeout": 0.5, "retries": 0}
    with services_at(server.url, **options) as services:
        stream = services.stream
        stream.declare(CHANNEL, GROUP)
        server.signal(signal.SIGSTOP)
        assert server.process is not None
        stat = Path(f"/proc/{server.process.pid}/stat")
        eventually(lambda: stat.read_text().split()[2] == "T")
        try:
            began = time.monotonic()
            with pytest.raises((infra.MessagingError, infra.TimeoutError)) as caught:
                stream.append(CHANNEL, note(1))
            assert time.monotonic() - began < 5.0 + SLACK
        finally:
            server.signal(signal.SIGCONT)
        if isinstance(caught.value, infra.MessagingError):
            assert (caught.value.outcome, caught.value.retryable) == ("unknown", False)
        worker = Worker()
        with stream.consume(CHANNEL, GROUP, worker):
            stream.append(CHANNEL, note(2))
            eventually(lambda: "2" in worker.notes)


class Cutting(Proxy):
    """Ends a connection once so many bytes of requests have passed."""

    left = 10**9

    def request(self, data: bytes) -> bytes | None:
        part, self.left = data[: self.left], self.left - len(data)
        if self.left <= 0:
            # Of this connection alone: the next one may be open by then.
            threading.Timer(0.01, self._end, [[*self._sockets]]).start()
        return part or None

    def _end(self, sockets: list[socket.socket]) -> None:
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def test_a_connection_is_cut_under_an_append(server: Server) -> None:
    """At every place: an event that may be stored is never reported as not sent."""
    outcomes, worker = collections.Counter[str](), Worker()
    sure, never = list[str](), list[str]()
    with services_at(server.url) as services, Cutting(server.port) as proxy:
        services.stream.declare(CHANNEL, GROUP)
        services.stream.declare("other", GROUP)
        url = server.url.replace(str(server.port), str(proxy.port))
        for place in range(1, 2000, 13 if PROVE else 133):
            proxy.left = 10**9
            with services_at(url, retries=0) as cut:
                cut.stream.append("other", note("opens a connection"))
                proxy.left = place
                try:
                    cut.stream.append(CHANNEL, note(place))
                    outcome = "ok"
                    sure.append(str(place))
                except infra.MessagingError as error:
                    outcome = error.outcome
                except infra.ConnectionError:
                    outcome = "unsent"
                    never.append(str(place))
                outcomes[outcome] += 1
        with services.stream.consume(CHANNEL, GROUP, worker):
            services.stream.append(CHANNEL, note("last"))
            eventually(lambda: "last" in worker.notes and {*sure} <= {*worker.notes})
    assert not {*never} & {*worker.notes}
    assert outcomes["rejected"] == 0
    assert outcomes["ok"]
    assert outcomes["unknown"] or server.url.startswith("nats")  # which repeats an append


class Vanishing(Proxy):
    """Once ``armed``, forwards one event more: its answer is lost, and no connection is taken."""

    armed = False

    def request(self, data: bytes) -> bytes:
        if self.armed and b"CacheCleared" in data:
            self.open.clear()
            self._listening.shutdown(socket.SHUT_RDWR)
            threading.Timer(0.1, self._end_all).start()
        return data

    def _end_all(self) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def test_a_broker_vanishes_before_it_answers(server: Server) -> None:
    """The outcome is unknown, also if the retries could send nothing."""
    worker = Worker()
    with services_at(server.url) as services, Vanishing(server.port) as proxy:
        services.stream.declare(CHANNEL, GROUP)
        services.stream.declare("other", GROUP)
        url = server.url.replace(str(server.port), str(proxy.port))
        with services_at(url) as cut:
            cut.stream.append("other", note("opens a connection"))
            proxy.armed = True
            with pytest.raises(infra.MessagingError) as caught:
                cut.stream.append(CHANNEL, note(1))
        assert (caught.value.outcome, caught.value.retryable) == ("unknown", False)
        with services.stream.consume(CHANNEL, GROUP, worker):
            eventually(lambda: worker.notes)
    assert worker.notes == ["1"]


def test_a_handler_closes_its_stream(stream: infra.EventStream) -> None:
    """No thread remains, and the event comes again elsewhere."""
    before = {*threading.enumerate()}
    notes = list[str]()

    def handle(message: infra.Message) -> None:
        stream.close()
        notes.append(message.payload)

    consumer = stream.consume(CHANNEL, GROUP, handle)
    stream.append(CHANNEL, note(1))
    eventually(lambda: notes)
    consumer.join(WAIT)
    own = ("infra-nats", "infra-rabbitmq", "infra-consumer")
    eventually(
        lambda: (
            not [each for each in {*threading.enumerate()} - before if each.name.startswith(own)]
        )
    )


def test_many_delayed_events_block_nothing(stream: infra.EventStream) -> None:
    worker = Worker()
    with stream.consume(CHANNEL, GROUP, worker, workers=2):
        for number in range(1100):  # more than NATS by default lets a consumer have at a time
            stream.append(CHANNEL, note(number), delay=3600)
        stream.append(CHANNEL, note("now"))
        eventually(lambda: worker.notes, 60)
    assert worker.notes == ["now"]


def test_deleted_nats_streams(private_server: Callable[[str], Server]) -> None:
    """A consumer goes on, also with an event that it has yet to settle."""
    import asyncio

    import nats

    server, notes = private_server("nats"), list[str]()
    deleted = threading.Event()

    async def delete_streams() -> None:
        client = await nats.connect(server.url)
        streams = client.jetstream()
        for found in await streams.streams_info():
            await streams.delete_stream(str(found.config.name))
        await client.close()

    def handle(message: infra.Message) -> None:
        notes.append(message.deserialize(infra.SystemEvent.CacheCleared).pattern)
        if len(notes) == 1:
            asyncio.run(delete_streams())
            deleted.set()
            raise ValueError

    with services_at(server.url) as services:
        stream = services.stream
        with stream.consume(CHANNEL, GROUP, handle):
            stream.append(CHANNEL, note(1))
            assert deleted.wait(WAIT)
            eventually(lambda: stream.append(CHANNEL, note(2)) and "2" in notes)


def test_nats_knows_a_dead_letter_for_a_day(private_server: Callable[[str], Server]) -> None:
    """A worker that has stored it and lost the answer stores no second one."""
    import asyncio

    import nats

    server = private_server("nats")

    async def windows() -> dict[str, float]:
        client = await nats.connect(server.url)
        found = await client.jetstream().streams_info()
        await client.close()
        return {str(each.config.name): each.config.duplicate_window for each in found}

    with services_at(server.url) as services:
        services.stream.declare(CHANNEL, GROUP)
    assert asyncio.run(windows()) == {"infra-orders": 120, "infra-orders-kept": 86400}


def test_a_redis_that_refuses(private_server: Callable[[str], Server]) -> None:
    server = private_server("redis")
    with services_at(server.url, retries=0) as services:
        stream = services.stream
        stream.append(CHANNEL, note(1))
        with infra.RedisClient(infra.CacheConfig(url=server.url)) as client:
            client.set("stream:{taken}:events", "text")
        with pytest.raises(infra.MessagingError) as caught:
            stream.append("taken", note(1))
        assert (caught.value.outcome, caught.value.operation) == ("rejected", "append")
        with pytest.raises(infra.MessagingError):
            stream.declare("taken", GROUP)
        with pytest.raises(infra.MessagingError):
            next(stream.read("taken"))


def test_a_deleted_stream(private_server: Callable[[str], Server]) -> None:
    """A consumer goes on after FLUSHALL."""
    server, worker = private_server("redis"), Worker()
    with services_at(server.url) as services:
        stream = services.stream
        with stream.consume(CHANNEL, GROUP, worker):
            stream.append(CHANNEL, note(1))
            eventually(lambda: worker.notes)
            server.ask("FLUSHALL")  # type: ignore[attr-defined]
            stream.append(CHANNEL, note(2))
            eventually(lambda: worker.notes == ["1", "2"])


@pytest.mark.parametrize("name", ["mariadb", "mysql", "postgres"])
def test_relays_keep_the_order_of_each_key(name: str, database: Callable[[str], str]) -> None:
    """1,500 events of 20 keys, three relays: no inversion, none lost."""
    target = Target()
    url = migrated(database, name)
    with infra.create_pool(infra.DatabaseConfig(url=url)) as pool:
        empty(pool, *TABLES)
        outboxes = [infra.Outbox(pool) for _ in range(3)]
        for outbox in outboxes:
            outbox.POLL = 0.001
        relays = [
            in_background(lambda outbox=outbox: outbox.relay(target, batch=20))  # type: ignore[misc]
            for outbox in outboxes
        ]

        def write(writer: int) -> None:
            for turn in range(75):
                for key in range(writer, 20, 4):
                    with pool.transaction():
                        outboxes[0].add("orders", note(f"{key} {turn}"), key=f"key {key}")

        writers = [in_background(lambda writer=writer: write(writer)) for writer in range(4)]  # type: ignore[misc]
        assert [writer() for writer in writers] == [None] * 4
        eventually(lambda: len(target.sent) >= 1500 and outboxes[0].unsent() == 0, 120)
        for outbox in outboxes:
            outbox.stop()
        assert sum(relay() for relay in relays) == 1500
    by_key = collections.defaultdict[str, list[int]](list)
    for said in target.notes:
        key, turn = said.split()
        by_key[key].append(int(turn))
    assert {key: turns == [*range(75)] for key, turns in by_key.items()} == {
        str(key): True for key in range(20)
    }


class JumpingClock(fakes.RunningClock):
    """Its wall clock jumps by a day, forward and back, at each look."""

    def now(self) -> datetime:
        return super().now() + timedelta(days=random.choice([-1, 0, 1]))


def test_a_wall_clock_that_jumps() -> None:
    clock, target = JumpingClock(), Target()
    database = fakes.FakeDatabase("postgres", fakes.POSTGRES_TABLES, clock=clock)
    outbox = infra.Outbox(database, clock=clock, lease=60, keep=10 * 86400)
    stream, worker = fakes.FakeEventStream(clock=clock), Worker(ValueError())
    for number in range(20):
        outbox.add("orders", note(number), key="a")
    assert outbox.relay(target, batch=3, once=True) == 20
    assert target.notes == [str(number) for number in range(20)]
    with stream.consume("orders", "mail", worker, backoff=5):
        stream.append("orders", note("now"))
        stream.append("orders", note("later"), delay=5)
        stream.deliver()
        assert worker.notes == ["now"]
        clock.advance(5)
        stream.deliver()
        assert sorted(worker.notes) == ["later", "now", "now"]


def command(*arguments: str, env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "infra", *arguments],
        cwd=ROOT,
        env={**os.environ, **env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_worker_ends_after_the_event_at_work(stream: infra.EventStream, server: Server) -> None:
    stream.declare(CHANNEL, GROUP)
    stream.append_many(CHANNEL, [note(1), note(2)])
    work = command("work", "tests.faults.stream_app:setup", env={"EVENTS_URL": server.url})
    assert work.stdout is not None
    lines = {work.stdout.readline(), work.stdout.readline()}
    assert lines == {"1 consumers are at work\n", "begun\n"}
    work.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        work.wait(0.3)
    out, err = work.communicate("go on\n", timeout=WAIT)
    assert (out, err, work.returncode) == ("handled\n", "", 0)
    worker = Worker()
    with stream.consume(CHANNEL, GROUP, worker):
        eventually(lambda: worker.notes)
    assert worker.notes == ["2"]


def test_a_worker_whose_consumers_end(stream: infra.EventStream, server: Server) -> None:
    stream.declare(CHANNEL, GROUP)
    stream.append(CHANNEL, note(1))
    work = command("work", "tests.faults.stream_app:leaves", env={"EVENTS_URL": server.url})
    assert (*work.communicate(timeout=WAIT), work.returncode) == (
        "1 consumers are at work\n",
        "",
        1,
    )


@pytest.mark.parametrize(
    ("setup", "words"),
    [
        ("tests.faults.stream_app:absent", "no function tests.faults.stream_app:absent"),
        ("tests.faults.absent:setup", "no function tests.faults.absent:setup"),
        ("tests.faults.stream_app", "no function tests.faults.stream_app"),
        ("tests.faults.stream_app:CHANNEL", "should return consumers"),
    ],
)
def test_a_wrong_setup(setup: str, words: str) -> None:
    work = command("work", setup, env={})
    out, err = work.communicate(timeout=WAIT)
    assert (out, work.returncode) == ("", 2)
    assert words in err


def test_the_command_relay(
    stream: infra.EventStream, server: Server, database: Callable[[str], str]
) -> None:
    url, worker = migrated(database, "postgres"), Worker()
    env = {"EVENTS_URL": server.url, "DATABASE_URL": url}
    with infra.create_pool(infra.DatabaseConfig(url=url)) as pool:
        empty(pool, *TABLES)
        outbox = infra.Outbox(pool)
        outbox.add(CHANNEL, note(1))
        with stream.consume(CHANNEL, GROUP, worker):
            once = command("relay", "--once", env=env)
            assert once.communicate(timeout=WAIT) == ("1 events sent\n", "")
            relay = command("relay", env=env)
            outbox.add(CHANNEL, note(2))
            eventually(lambda: worker.notes == ["1", "2"])
            relay.send_signal(signal.SIGTERM)
            assert relay.communicate(timeout=WAIT) == ("1 events sent\n", "")
            assert (once.returncode, relay.returncode) == (0, 0)
            server.kill()
            outbox.add(CHANNEL, note(3))
            failed = command("relay", "--once", env=env)
            out, err = failed.communicate(timeout=WAIT)
            assert (out, failed.returncode) == ("", 1)
            assert "infra: " in err
            assert outbox.unsent() == 1
