"""Bad days of RabbitMQ: alarms, deleted queues, slow handlers, limits that operators set."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pika
import pytest

import infra
from tests.contract.backends import WAIT, eventually, in_background
from tests.contract.test_event_bus import note
from tests.contract.test_event_stream import Worker
from tests.faults.stream_worker import CHANNEL, GROUP
from tests.faults.test_streams import delete_queues
from tests.services import RabbitServer

pytestmark = pytest.mark.real

QUEUE = f"infra-{CHANNEL}-{GROUP}"


@pytest.fixture
def server(rabbit_server: Callable[[], RabbitServer]) -> Iterator[RabbitServer]:
    server = rabbit_server()
    yield server
    delete_queues(server)


def stream_at(server: RabbitServer, **options: Any) -> infra.RabbitMQEventStream:
    return infra.RabbitMQEventStream(infra.RabbitMQConfig(url=server.url, **options))


@pytest.fixture
def stream(server: RabbitServer) -> Iterator[infra.RabbitMQEventStream]:
    with stream_at(server) as stream:
        yield stream


@pytest.fixture
def channel(server: RabbitServer) -> Iterator[Any]:
    """Return a channel of another client."""
    with pika.BlockingConnection(pika.URLParameters(f"{server.url}/%2F")) as connection:
        yield connection.channel()


@pytest.mark.parametrize("alarm", ["memory", "disk"])
def test_an_alarm(stream: infra.RabbitMQEventStream, server: RabbitServer, alarm: str) -> None:
    """Appends say so at once, consumers go on, and all is well once the alarm has ended."""
    worker, release = Worker(), threading.Event()

    def handle(message: infra.Message) -> None:
        release.wait(WAIT)
        worker(message)

    with stream.consume(CHANNEL, GROUP, handle), stream_at(server, deadline=2.0) as other:
        stream.append_many(CHANNEL, [note(1), note(2)])
        command, *words, usual = {
            "memory": ["set_vm_memory_high_watermark", "absolute", "1MB", "0.4"],
            "disk": ["set_disk_free_limit", "100000GB", "50MB"],
        }[alarm]
        server.control(command, *words)
        try:
            with pytest.raises(infra.MessagingError, match="memory or its disk") as caught:
                other.append(CHANNEL, note("stored later"))
            assert (caught.value.outcome, caught.value.retryable) == ("unknown", False)
            began = time.monotonic()
            with pytest.raises(infra.MessagingError, match="memory or its disk") as caught:
                other.append(CHANNEL, note("never sent"))
            assert time.monotonic() - began < 1 + WAIT
            assert (caught.value.outcome, caught.value.retryable) == ("rejected", True)
            assert other.health_check().server.startswith("RabbitMQ 3.")
            release.set()
            eventually(lambda: worker.notes == ["1", "2"])
        finally:
            server.control(command, usual)
        eventually(lambda: "stored later" in worker.notes)
        eventually(lambda: not_blocked(other))
        eventually(lambda: "now" in worker.notes)
    assert "never sent" not in worker.notes


def not_blocked(stream: infra.EventStream) -> bool:
    try:
        return bool(stream.append(CHANNEL, note("now")))
    except infra.MessagingError:
        return False


def test_deleted_queues(stream: infra.RabbitMQEventStream, channel: Any) -> None:
    """A consumer declares its group again, also for an event that it has yet to give up."""
    worker, begun, deleted = Worker(), threading.Event(), threading.Event()

    def handle(message: infra.Message) -> None:
        worker(message)
        if worker.notes[-1] == "1":
            begun.set()
            assert deleted.wait(WAIT)
            raise ValueError

    with stream.consume(CHANNEL, GROUP, handle, retries=2, backoff=0.05):
        stream.append(CHANNEL, note(1))
        assert begun.wait(WAIT)
        channel.queue_delete(f"{QUEUE}.dead")
        deleted.set()
        eventually(lambda: [each.error for each in stream.dead_letters(CHANNEL, GROUP)])
        channel.queue_delete(QUEUE)
        channel.queue_delete(f"{QUEUE}.ordered")
        eventually(lambda: stored(stream))
        eventually(lambda: "2" in worker.notes)


def stored(stream: infra.EventStream) -> bool:
    try:
        return bool(stream.append(CHANNEL, note(2)))
    except infra.MessagingError:
        return False


def test_a_queue_is_deleted_under_a_publisher(
    stream: infra.RabbitMQEventStream, channel: Any
) -> None:
    """An event is never lost without an error."""
    stream.declare(CHANNEL, GROUP)
    stream.append(CHANNEL, note(1))
    channel.queue_delete(f"{QUEUE}.ordered")
    for _ in range(2):
        with pytest.raises(infra.MessagingError, match="no group") as caught:
            stream.append_many(CHANNEL, [note(2), note(3)])
        assert caught.value.outcome == "rejected"
    channel.exchange_delete(f"infra-{CHANNEL}")
    with pytest.raises(infra.MessagingError):
        stream.append(CHANNEL, note(4))
    stream.declare(CHANNEL, GROUP)
    stream.append(CHANNEL, note(5))
    worker = Worker()
    with stream.consume(CHANNEL, GROUP, worker):
        eventually(lambda: worker.notes == ["5"])


def test_a_handler_is_slower_than_the_heartbeat(server: RabbitServer) -> None:
    notes = list[str]()

    def handle(message: infra.Message) -> None:
        notes.append(message.payload)
        time.sleep(5)  # the broker gives up a connection after twice its heartbeat

    with (
        stream_at(server, heartbeat=1.0) as stream,
        stream.consume(CHANNEL, GROUP, handle) as consumer,
    ):
        stream.append(CHANNEL, note(1))
        eventually(lambda: notes)
        consumer.close()
    with stream_at(server) as stream:
        worker = Worker()
        with stream.consume(CHANNEL, GROUP, worker):
            stream.append(CHANNEL, note(2))
            eventually(lambda: worker.notes)
    assert (len(notes), worker.notes) == (1, ["2"])


def test_a_limit_of_the_operator(
    stream: infra.RabbitMQEventStream, server: RabbitServer, channel: Any
) -> None:
    """What the broker itself gives up is a dead letter, not lost."""
    stream.declare(CHANNEL, GROUP)
    id = stream.append(CHANNEL, note("poison"))
    server.control("set_policy", "low", "^infra-", '{"delivery-limit": 1}', "--apply-to", "queues")
    try:
        for _ in range(2):
            eventually(lambda: taken(server))
    finally:
        server.control("clear_policy", "low")
    eventually(lambda: stream.dead_letters(CHANNEL, GROUP))
    [letter] = stream.dead_letters(CHANNEL, GROUP)
    assert (letter.message.id, letter.error) == (id, "ConsumerDied")
    assert stream.retry_dead(CHANNEL, GROUP) == 1
    worker = Worker()
    with stream.consume(CHANNEL, GROUP, worker):
        eventually(lambda: worker.notes == ["poison"])


def taken(server: RabbitServer) -> bool:
    """Take an event and disconnect; return whether there was one."""
    with pika.BlockingConnection(pika.URLParameters(f"{server.url}/%2F")) as connection:
        found = connection.channel().consume(f"{QUEUE}.ordered", inactivity_timeout=1)
        return next(found)[0] is not None


def test_a_group_changes_its_kind(stream: infra.RabbitMQEventStream) -> None:
    """Each event comes once, whichever queue it is in."""
    worker, ending = Worker(), threading.Event()
    numbers = iter(range(10**6))
    sent = list[str]()
    stream.declare(CHANNEL, GROUP)

    def produce() -> None:
        while not ending.is_set():
            text = str(next(numbers))
            stream.append(CHANNEL, note(text))
            sent.append(text)

    join = in_background(produce)
    for ordered in (True, False, True, False):
        before = len(worker.notes)
        with stream.consume(CHANNEL, GROUP, worker, ordered=ordered, retries=20):
            eventually(lambda before=before: len(worker.notes) > before + 50)  # type: ignore[misc]
    ending.set()
    assert join() is None
    with stream.consume(CHANNEL, GROUP, worker):
        eventually(lambda: len(worker.notes) >= len(sent))
    assert sorted(worker.notes, key=int) == sent


def test_an_ordered_group_of_two_processes(server: RabbitServer) -> None:
    """The second takes over in order when the first vanishes in the midst of an event."""
    notes = list[str]()

    def handle(message: infra.Message) -> None:
        notes.append(message.deserialize(infra.SystemEvent.CacheCleared).pattern)

    def vanish(message: infra.Message) -> None:
        handle(message)
        if len(notes) == 10:
            raise SystemExit

    options: dict[str, Any] = {"ordered": True, "workers": 2}
    with stream_at(server) as one, stream_at(server) as two:
        first = one.consume(CHANNEL, GROUP, vanish, **options)
        two.consume(CHANNEL, GROUP, handle, **options)
        one.append_many(CHANNEL, [note(number) for number in range(30)])
        first.join()
        eventually(lambda: len(notes) == 31)
    assert notes == [str(number) for number in [*range(10), *range(9, 30)]]


def test_a_forked_child(stream: infra.RabbitMQEventStream) -> None:
    """The child has connections of its own; the parent's go on."""
    worker = Worker()
    with stream.consume(CHANNEL, GROUP, worker):
        stream.append(CHANNEL, note("parent"))
        child = os.fork()
        if not child:
            try:
                stream.append(CHANNEL, note("child"))
                stream.close()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        stream.append(CHANNEL, note("parent again"))
        eventually(lambda: len(worker.notes) == 3)
    assert worker.notes == ["parent", "child", "parent again"]


def test_refusals(server: RabbitServer) -> None:
    """They are of the library's own types, and hold no password."""
    place = server.url.partition("@")[2]
    urls = {
        f"amqp://guest:secret-1@{place}": (infra.ConnectionError, "login"),
        f"{server.url}/absent": (infra.ConnectionError, "virtual host"),
        "amqp://guest:secret-1@127.0.0.1:1": (infra.ConnectionError, "could not be reached"),
    }
    for url, (kind, words) in urls.items():
        with infra.RabbitMQEventStream(infra.RabbitMQConfig(url=url, retries=0)) as stream:
            with pytest.raises(kind, match=words) as caught:
                stream.append(CHANNEL, note(1))
            assert "secret-1" not in str(caught.value) + repr(stream)
            assert caught.value.operation == "append"
    with stream_at(server) as stream:
        stream.declare(CHANNEL, GROUP)
        with pytest.raises(infra.MessagingError, match="406") as refused:  # too long for it
            stream.append(CHANNEL, note(1), delay=90 * 365 * 86400)
        assert refused.value.outcome == "rejected"


def test_a_silent_broker_does_not_hold_up_close(server: RabbitServer) -> None:
    stream = stream_at(server, deadline=1.0)
    stream.declare(CHANNEL, GROUP)
    server.pause()
    try:
        began = time.monotonic()
        stream.close()
        assert time.monotonic() - began < 5 + WAIT
    finally:
        server.resume()
