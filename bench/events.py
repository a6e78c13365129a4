"""Compare event streams with bare redis-py, nats-py and pika, and a relay with plain statements."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [str(ROOT)] + [
    entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent
]

import nats
import pika
import redis

import infra
from bench.database import database
from bench.measure import Bench, Ratio, Work, arguments
from tests import services

EVENTS = 500
EVENT = infra.BenchmarkEvent.StatusChanged(uuid.uuid4(), "draft", "under_review")


def text() -> str:
    """Return the event as a program without this library writes it, with an id and a time."""
    return json.dumps(
        {
            "type": "BenchmarkEvent.StatusChanged",
            "benchmark_id": str(EVENT.benchmark_id),
            "old_status": EVENT.old_status,
            "new_status": EVENT.new_status,
            "id": str(uuid.uuid4()),
            "at": time.time(),
        }
    )


def read(payload: str | bytes) -> None:
    document = json.loads(payload)
    infra.BenchmarkEvent.StatusChanged(
        uuid.UUID(document["benchmark_id"]), document["old_status"], document["new_status"]
    )


class Arrivals:
    """Counts the events that were handled; ``wait`` waits for all of a turn."""

    def __init__(self) -> None:
        self._count = 0
        self._all = threading.Event()

    def __call__(self, message: infra.Message) -> None:
        message.deserialize(infra.BenchmarkEvent)
        self._count += 1
        if self._count == EVENTS:
            self._all.set()

    def wait(self) -> None:
        if not self._all.wait(60):
            raise RuntimeError("not all events came")
        self._count = 0
        self._all.clear()


def ours_consumed(stream: infra.EventStream) -> Work:
    """Return a turn: append events, and handle them with one worker."""
    arrivals = Arrivals()
    stream.consume("ours", "g", arrivals)

    def turn() -> None:
        stream.append_many("ours", [EVENT] * EVENTS)
        arrivals.wait()

    return turn


def consumed_by_hand(client: Any) -> Work:
    """Return the same with bare redis-py: each event is acknowledged when it is handled."""
    client.xgroup_create("theirs", "g", "$", mkstream=True)

    def turn() -> None:
        with client.pipeline() as pipe:
            for _ in range(EVENTS):
                pipe.xadd("theirs", {"event": text()})
            pipe.execute()
        left = EVENTS
        while left:
            [(_, entries)] = client.xreadgroup("g", "me", {"theirs": ">"}, count=10, block=1000)
            for id, fields in entries:
                read(fields["event"])
                client.xack("theirs", "g", id)
            left -= len(entries)

    return turn


def on_redis(bench: Bench, url: str) -> list[Ratio]:
    with (
        infra.RedisClient(infra.CacheConfig(url=url)) as client,
        infra.RedisEventStream(client) as stream,
        redis.Redis.from_url(url, decode_responses=True) as bare,
    ):
        return [
            bench.compare(
                "append",
                lambda: stream.append("single", EVENT),
                lambda: bare.xadd("by hand", {"event": text()}),
                target=0.8,
                rounds=31,
                number=500,
            ),
            bench.compare(
                f"append and consume {EVENTS}",
                ours_consumed(stream),
                consumed_by_hand(bare),
                target=0.8,
                rounds=31,
                number=1,
            ),
        ]


class BareNats:
    """nats-py on a loop of its own, in this thread."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._run = self._loop.run_until_complete
        self._client = self._run(nats.connect(url))
        self._js = self._client.jetstream()
        self._run(self._js.add_stream(name="theirs", subjects=["theirs"], retention="interest"))

    def append(self) -> None:
        async def publish() -> None:
            for _ in range(100):
                headers = {"Nats-Msg-Id": str(uuid.uuid4())}
                await self._js.publish("theirs", text().encode(), headers=headers)

        self._run(publish())

    def append_many(self) -> None:
        async def publish() -> None:
            answers = []
            for _ in range(EVENTS):
                headers = {"Nats-Msg-Id": str(uuid.uuid4())}
                answer = self._js.publish_async("theirs", text().encode(), headers=headers)
                answers.append(await answer)
            await asyncio.gather(*answers)

        self._run(publish())

    def close(self) -> None:
        self._run(self._client.close())
        self._loop.close()


def on_nats(bench: Bench, url: str) -> list[Ratio]:
    def append() -> None:
        for _ in range(100):
            stream.append("ours", EVENT)

    with (
        infra.NatsEventStream(infra.NatsConfig(url=url)) as stream,
        contextlib.closing(BareNats(url)) as bare,
    ):
        return [
            bench.compare("append", append, bare.append, target=0.5, rounds=31, number=1),
            bench.compare(
                f"append_many of {EVENTS}",
                lambda: stream.append_many("ours", [EVENT] * EVENTS),
                bare.append_many,
                target=0.8,
                rounds=31,
                number=1,
            ),
        ]


class BarePika:
    """A program on pika's SelectConnection, which waits for the confirms; all in this thread."""

    QUORUM = {"x-queue-type": "quorum"}  # noqa: RUF012
    _loop: Any

    def __init__(self, url: str) -> None:
        self._left, self._unconfirmed = 0, 0
        self._connection = pika.SelectConnection(
            pika.URLParameters(f"{url}/%2F"),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._declare),
            on_close_callback=lambda *_: self._loop.stop(),
        )
        self._loop = self._connection.ioloop
        self._loop.start()

    def _declare(self, channel: Any) -> None:
        self._channel = channel
        channel.exchange_declare("theirs", "fanout", durable=True)
        channel.queue_declare("theirs", durable=True, arguments=self.QUORUM)
        channel.queue_bind("theirs", "theirs")
        channel.confirm_delivery(self._confirm, callback=lambda _: self._loop.stop())

    def _publish(self) -> None:
        self._left -= 1
        self._unconfirmed += 1
        properties = pika.BasicProperties(delivery_mode=2, message_id=str(uuid.uuid4()))
        self._channel.basic_publish("theirs", "", text().encode(), properties, mandatory=True)

    def _confirm(self, frame: Any) -> None:
        self._last = frame.method.delivery_tag
        if self._left and not self._all_at_once:
            self._publish()
        elif self._last == self._target:
            self._loop.stop()

    def append(self, number: int, *, all_at_once: bool = False) -> None:
        """Publish so many events, each when the one before is confirmed, or all at once."""
        self._left, self._all_at_once = number, all_at_once
        self._target = self._unconfirmed + number
        for _ in range(number if all_at_once else 1):
            self._publish()
        self._loop.start()

    def close(self) -> None:
        self._connection.close()
        self._loop.start()


def on_rabbitmq(bench: Bench, url: str) -> list[Ratio]:
    def append() -> None:
        for _ in range(100):
            stream.append("ours", EVENT)

    with (
        infra.RabbitMQEventStream(infra.RabbitMQConfig(url=url)) as stream,
        contextlib.closing(BarePika(url)) as bare,
    ):
        stream.declare("ours", "g")
        return [
            bench.compare(
                "append", append, lambda: bare.append(100), target=0.7, rounds=31, number=1
            ),
            bench.compare(
                f"append_many of {EVENTS}",
                lambda: stream.append_many("ours", [EVENT] * EVENTS),
                lambda: bare.append(EVENTS, all_at_once=True),
                target=0.7,
                rounds=31,
                number=1,
            ),
        ]


@contextlib.contextmanager
def outbox_on(server: str, size: int) -> Iterator[infra.ConnectionPool]:
    """Make a database with an outbox of so many events."""
    with database(server) as pool:
        infra.Migrator(pool).apply()
        outbox = infra.Outbox(pool)
        with pool.transaction():
            for number in range(size):
                outbox.add("orders", EVENT, key=str(number))
        yield pool


def relayed_by_hand(pool: infra.ConnectionPool, client: Any) -> Work:
    """Return a turn of plain SQL: lock a batch of a bucket, send it, mark it."""

    def turn() -> None:
        for bucket in range(16):
            while send(bucket):
                pass

    def send(bucket: int) -> int:
        with pool.transaction():
            rows = pool.fetch_all(
                "SELECT id, payload FROM infra_outbox WHERE bucket = %s AND sent_at IS NULL "
                "ORDER BY id LIMIT 500 FOR UPDATE SKIP LOCKED",
                [bucket],
            )
            if rows:
                with client.pipeline() as pipe:
                    for _, payload in rows:
                        pipe.xadd("by hand", {"event": payload})
                    pipe.execute()
                ids = tuple(id for id, _ in rows)
                pool.execute(
                    "UPDATE infra_outbox SET sent_at = CURRENT_TIMESTAMP WHERE id IN %s", [ids]
                )
        return len(rows)

    return turn


def relays(bench: Bench, server: str, redis_url: str) -> tuple[Ratio, float]:
    """Return the ratio, and how many events a second ours sends."""
    size = bench.size(20_000, 2_000)
    with (
        outbox_on(server, size) as pool,
        infra.RedisClient(infra.CacheConfig(url=redis_url)) as client,
        infra.RedisEventStream(client) as stream,
        redis.Redis.from_url(redis_url, decode_responses=True) as bare,
    ):
        outbox, seconds = infra.Outbox(pool), list[float]()

        def relay() -> None:
            began = time.perf_counter()
            if outbox.relay(stream, once=True) != size:
                raise RuntimeError("not all events were sent")
            seconds.append(time.perf_counter() - began)

        ratio = bench.compare(
            pool.health_check().server,
            relay,
            relayed_by_hand(pool, bare),
            target=0.5,
            rounds=7,
            number=1,
            before=lambda: pool.execute("UPDATE infra_outbox SET sent_at = NULL"),
        )
    return ratio, size / min(seconds)


def main() -> int:
    bench = Bench(short=arguments(__doc__).parse_args().short)
    try:
        url = services.shared("redis")
        bench.report("Redis Streams, times as fast as redis-py", on_redis(bench, url))
        found = on_nats(bench, services.shared("nats"))
        bench.report("NATS JetStream, times as fast as nats-py", found)
        found = on_rabbitmq(bench, services.shared("rabbitmq"))
        bench.report("RabbitMQ, times as fast as pika's SelectConnection", found)
        measured = [relays(bench, name, url) for name in ("postgres", "mariadb")]
        title = "Outbox.relay to Redis, times as fast as the statements by hand"
        bench.report(title, [ratio for ratio, _ in measured])
        for ratio, rate in measured:
            print(f"  {ratio.name}: {rate:,.0f} events a second in the fastest round")
        return int(bench.missed)
    finally:
        services.stop_shared()


if __name__ == "__main__":
    sys.exit(main())
