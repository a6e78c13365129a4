"""A program for ``infra work tests.faults.stream_app:setup``: its handler waits for a line."""

from __future__ import annotations

import sys

import infra
from tests.faults.stream_worker import CHANNEL, GROUP


def setup(services: infra.Infrastructure) -> infra.Consumer:
    def handle(message: infra.Message) -> None:
        print("begun", flush=True)
        sys.stdin.readline()
        print("handled", flush=True)

    return services.stream.consume(CHANNEL, GROUP, handle)


def leaves(services: infra.Infrastructure) -> list[infra.Consumer]:
    def handle(message: infra.Message) -> None:
        raise SystemExit

    return [services.stream.consume(CHANNEL, GROUP, handle)]
