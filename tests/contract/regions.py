"""Regions: providers over two stores or more, on fakes or on servers that go away and come back."""

from __future__ import annotations

import socket
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

import fakes
import infra
from tests.conftest import s3_config
from tests.contract.backends import (
    StorageBackend,
    on_fake_storage,
    on_s3,
    remove_bucket,
)
from tests.contract.databases import empty, migrated
from tests.contract.test_outbox import TABLES
from tests.faults.proxy import Proxy

RELAYED = 300  # rows that a relay works off at the end of a case


def outbox_on_fake(clock: infra.Clock) -> infra.Outbox:
    return infra.Outbox(fakes.FakeDatabase("postgres", fakes.POSTGRES_TABLES, clock=clock))


def content(store: infra.StorageProvider, bucket: str) -> dict[str, tuple[bytes, str, Any]]:
    """Everything in a bucket: bytes, content type and metadata by key."""
    found = {}
    for each in store.list_objects(bucket):
        known = store.get_metadata(bucket, each.key)
        data = store.download(bucket, each.key)
        found[each.key] = data, known.content_type, known.metadata
    return found


# ---------------------------------------------------------------- the contract of one store


def regions_over(backend: StorageBackend, others: Callable[[], infra.StorageProvider]) -> Any:
    """Make the backend's store the primary of two regions; return what compares them."""
    clock = fakes.FakeClock()
    outbox, first, connect = outbox_on_fake(clock), backend.storage, backend.connect

    def make(store: infra.StorageProvider) -> infra.MultiRegionStorageProvider:
        return infra.MultiRegionStorageProvider({"eu": store, "us": others()}, "eu", outbox)

    storage = make(first)
    storage.create_bucket(backend.bucket)
    backend.storage = storage
    backend.connect = lambda **options: make(connect(**options))

    def compare() -> None:
        if 0 < storage.owed() < RELAYED:
            clock.advance(storage.SETTLE)
            storage.relay()
        for bucket in () if storage.owed() else backend.buckets:
            assert content(storage.regions["us"], bucket) == content(first, bucket)

    return compare


class OnFakes:
    """The fixture of one store, and regions over it."""

    one = on_fake_storage()

    @pytest.fixture
    def backend(self, one: StorageBackend) -> Iterator[StorageBackend]:
        other = dict[str, Any]()
        compare = regions_over(one, lambda: fakes.FakeStorageProvider(other))
        yield one
        compare()


class OnServers:
    """The gateway is the primary, and moto the other region."""

    one = on_s3("s3")

    @pytest.fixture
    def backend(
        self, one: StorageBackend, s3: Callable[[str], infra.S3StorageProvider]
    ) -> Iterator[StorageBackend]:
        made, config = list[infra.S3StorageProvider](), s3("moto").config

        def other() -> infra.S3StorageProvider:
            made.append(infra.S3StorageProvider(config))
            return made[-1]

        compare = regions_over(one, other)
        yield one
        compare()
        for bucket in one.buckets:
            s3("moto").create_bucket(bucket)
            remove_bucket(s3("moto"), bucket)
        for each in made:
            each.close()


# ---------------------------------------------------------------- the contract of regions


@dataclass
class RegionsBackend:
    """Two regions, "eu" and "us".

    ``stores`` are the same stores, reached directly. ``down(name)`` takes a region away, and
    ``up(name)`` brings it back.
    """

    providers: dict[str, Any]
    stores: dict[str, Any]
    database: infra.Database
    clock: fakes.FakeClock
    down: Callable[[str], None]
    up: Callable[[str], None]
    made: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.outbox = infra.Outbox(self.database, clock=self.clock)
        self.storage = self.regions()
        self.bucket = self.new_bucket()
        for store in self.stores.values():
            store.create_bucket(self.bucket)

    def regions(self, primary: str = "eu", **options: Any) -> infra.MultiRegionStorageProvider:
        return infra.MultiRegionStorageProvider(self.providers, primary, self.outbox, **options)

    def new_bucket(self) -> str:
        """A name, whose bucket goes with the test in both regions."""
        bucket = f"test-{uuid.uuid4().hex[:20]}"
        self.made += [(name, bucket) for name in self.stores]
        return bucket

    def content(self, name: str) -> dict[str, tuple[bytes, str, Any]]:
        return content(self.stores[name], self.bucket)

    def keys(self, name: str) -> list[str]:
        return [each.key for each in self.stores[name].list_objects(self.bucket)]

    def both(self) -> list[dict[str, bytes]]:
        """The bytes by key, in each region."""
        found = [self.content(name) for name in ("eu", "us")]
        return [{key: data for key, (data, _, _) in one.items()} for one in found]

    def later(self, seconds: float = 61.0) -> int:
        """Let time pass, and relay."""
        self.clock.advance(seconds)
        return self.storage.relay()


def on_fakes(dialect: str) -> Any:
    @pytest.fixture
    def backend(self: object) -> RegionsBackend:
        clock = fakes.FakeClock()
        database = fakes.FakeDatabase(dialect, fakes.MYSQL_TABLES, clock=clock)
        held = {"eu": dict[str, Any](), "us": dict[str, Any]()}
        providers, stores = (
            {name: fakes.FakeStorageProvider(held[name], clock=clock) for name in held}
            for _ in range(2)
        )
        return RegionsBackend(
            providers,
            stores,
            database,
            clock,
            lambda name: setattr(providers[name], "down", True),
            lambda name: setattr(providers[name], "down", False),
        )

    return backend


class Way(Proxy):
    """Ends a connection if nobody listens behind it."""

    def _serve(self, client: socket.socket) -> None:
        try:
            super()._serve(client)
        except OSError:
            client.shutdown(socket.SHUT_RDWR)


class Gate:
    """A way to a server, which can be shut: then nobody listens there."""

    def __init__(self, url: str) -> None:
        self._target = urllib.parse.urlsplit(url).port or 0
        self.proxy = Way(self._target)
        self.port = self.proxy.port
        self.url = f"http://127.0.0.1:{self.port}"

    def shut(self) -> None:
        self.proxy.__exit__()

    def open(self) -> None:
        self.proxy = Way(self._target, self.port)


class Ways:
    """Providers of two servers, each behind a gate, and the stores themselves."""

    def __init__(self, stores: dict[str, infra.S3StorageProvider], **options: Any) -> None:
        self.stores = stores
        self.gates = {name: Gate(str(store.config.endpoint)) for name, store in stores.items()}
        self.providers = {
            name: infra.S3StorageProvider(
                s3_config(gate.url, keeps_folders=True, **options), clock=fakes.FakeClock()
            )
            for name, gate in self.gates.items()
        }

    def down(self, name: str) -> None:
        self.gates[name].shut()

    def up(self, name: str) -> None:
        self.gates[name].open()

    def close(self, made: list[tuple[str, str]]) -> None:
        for provider in self.providers.values():
            provider.close()
        for gate in self.gates.values():
            gate.shut()
        for name, bucket in made:
            self.stores[name].create_bucket(bucket)
            remove_bucket(self.stores[name], bucket)


def on_servers(name: str) -> Any:
    """Regions on the gateway and on moto, with the outbox in this database."""

    @pytest.fixture
    def backend(
        self: object,
        no_aws: None,
        database: Callable[[str], str],
        s3: Callable[[str], infra.S3StorageProvider],
    ) -> Iterator[RegionsBackend]:
        ways = Ways({"eu": s3("s3"), "us": s3("moto")})
        with infra.create_pool(infra.DatabaseConfig(url=migrated(database, name))) as pool:
            empty(pool, *TABLES)
            clock = fakes.FakeClock()
            made = RegionsBackend(ways.providers, ways.stores, pool, clock, ways.down, ways.up)
            yield made
            ways.close(made.made)

    return backend
