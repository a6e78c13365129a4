"""A consumer for tests that kill it: python -m tests.faults.stream_worker URL DATABASE_URL MODE.

It stores the effect of each event, once, in the table ``effects``.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import infra

CHANNEL, GROUP = "orders", "mail"
CREATE = "CREATE TABLE effects (note VARCHAR(20) NOT NULL)"


def services_at(url: str, **options: Any) -> infra.Infrastructure:
    """Return a bundle whose ``stream`` is at that URL."""
    cache = infra.CacheConfig(**options)
    return infra.Infrastructure(infra.Config(events_url=url, cache=cache))


def main(url: str, database_url: str, mode: str) -> None:
    pool = infra.create_pool(infra.DatabaseConfig(url=database_url))
    inbox = infra.Inbox(pool)

    def handle(message: infra.Message) -> None:
        text = message.deserialize(infra.SystemEvent.CacheCleared).pattern
        if text == "poison":
            os.kill(os.getpid(), 9)
        with pool.transaction():
            if inbox.first(GROUP, message.id):
                pool.execute("INSERT INTO effects (note) VALUES (%s)", [text])

    # A poison event takes those with it that other workers of its process have.
    workers, retries, visibility = (2, 100, 1.0) if mode == "random" else (1, 2, 0.3)
    consumer = services_at(url).stream.consume(
        CHANNEL, GROUP, handle, workers=workers, retries=retries, backoff=0.1, visibility=visibility
    )
    print("ready", flush=True)
    consumer.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
