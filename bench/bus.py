"""Compare RedisEventBus with bare redis-py: events from publish to handler.

There is one publisher and one subscriber. A turn publishes its events one after the other and ends
when the handler has received and decoded all of them.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [str(ROOT)] + [
    entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent
]

import redis

import infra
from bench.measure import Bench, Work, arguments
from tests import services

EVENTS = 1000
EVENT = infra.BenchmarkEvent.StatusChanged(uuid.uuid4(), "draft", "under_review")


class Arrivals:
    """Count the events that arrive; ``turn`` publishes them and waits for all."""

    def __init__(self, publish: Callable[[], object]) -> None:
        self._publish = publish
        self._count = 0
        self._all = threading.Event()

    def came(self) -> None:
        self._count += 1
        if self._count == EVENTS:
            self._all.set()

    def turn(self) -> None:
        self._count = 0
        self._all.clear()
        for _ in range(EVENTS):
            self._publish()
        if not self._all.wait(30):
            raise RuntimeError("not all messages came")


def ours(bus: infra.RedisEventBus) -> Work:
    """Return a turn over ``bus``, whose handler deserializes each event."""
    arrivals = Arrivals(lambda: bus.publish("ours", EVENT))

    def handler(message: infra.Message) -> None:
        message.deserialize(infra.BenchmarkEvent)
        arrivals.came()

    bus.subscribe("ours", handler)
    return arrivals.turn


@contextlib.contextmanager
def by_hand(client: Any) -> Iterator[Work]:
    """Yield a turn over bare redis-py, with the same fields written and read by hand, but no id."""

    def publish() -> None:
        document = {
            "type": "BenchmarkEvent.StatusChanged",
            "benchmark_id": str(EVENT.benchmark_id),
            "old_status": EVENT.old_status,
            "new_status": EVENT.new_status,
        }
        client.publish("theirs", json.dumps(document))

    arrivals, ready, over = Arrivals(publish), threading.Event(), threading.Event()

    def listen() -> None:
        with client.pubsub(ignore_subscribe_messages=True) as pubsub:
            pubsub.subscribe("theirs")
            while not over.is_set():
                message = pubsub.get_message(timeout=0.2)
                ready.set()
                if message is not None:
                    document = json.loads(message["data"])
                    infra.BenchmarkEvent.StatusChanged(
                        uuid.UUID(document["benchmark_id"]),
                        document["old_status"],
                        document["new_status"],
                    )
                    arrivals.came()

    thread = threading.Thread(target=listen)
    thread.start()
    ready.wait(30)
    try:
        yield arrivals.turn
    finally:
        over.set()
        thread.join()


def main() -> int:
    bench = Bench(short=arguments(__doc__).parse_args().short)
    try:
        url = services.shared("redis")
        with (
            infra.RedisClient(infra.CacheConfig(url=url)) as client,
            infra.RedisEventBus(client) as bus,
            redis.Redis.from_url(url, decode_responses=True) as bare,
            by_hand(bare) as theirs,
        ):
            ratio = bench.compare(
                "publish to handler", ours(bus), theirs, target=0.8, rounds=31, number=1
            )
            server = client.health_check().server
            title = f"RedisEventBus, times as fast as redis-py {redis.__version__} on {server}"
        bench.report(title, [ratio])
        return int(bench.missed)
    finally:
        services.stop_shared()


if __name__ == "__main__":
    sys.exit(main())
