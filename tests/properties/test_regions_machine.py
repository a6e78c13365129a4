"""Regions: after any days, good and bad, both are equal, and hold what was acknowledged.

One machine runs on fakes alone, with faults that only fakes have: writes of unknown end, and a
database that goes away. The other sends the same operations to fakes and to servers, which go away
and come back: answers, errors and what is in each region must agree.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

import fakes
import infra
from tests.contract.regions import Ways, content, outbox_on_fake
from tests.scale import scaled

KEYS = st.sampled_from(["a", "b", "d/x", "é"])
DATA = st.sampled_from([b"", b"1", b"2", b"x" * 70_000])
TYPES = st.sampled_from([None, "text/plain"])
NAMES = st.sampled_from(["eu", "us"])
SECONDS = st.sampled_from([1, 11, 61, 4000])
UNKNOWN = st.sampled_from([infra.TimeoutError("x"), infra.ConnectionError("x"), OSError("x")])
METHODS = st.sampled_from(["upload", "delete", "copy", "delete_batch"])
BUCKET = "bucket"

Write = Callable[[infra.StorageProvider], object]


class Machine(RuleBasedStateMachine):
    """``model`` is a store that gets each write that was acknowledged."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = fakes.FakeClock()
        self.database = fakes.FakeDatabase("postgres", fakes.MYSQL_TABLES, clock=self.clock)
        self.held = {"eu": dict[str, Any](), "us": dict[str, Any]()}
        self.stores = {name: self.store(name) for name in self.held}
        outbox = infra.Outbox(self.database, clock=self.clock)
        self.regions = infra.MultiRegionStorageProvider(self.stores, "eu", outbox)
        self.model = fakes.FakeStorageProvider(clock=self.clock)
        for storage in (self.model, self.regions):
            storage.create_bucket(BUCKET)

    def store(self, name: str) -> fakes.FakeStorageProvider:
        return fakes.FakeStorageProvider(self.held[name], clock=self.clock)

    def write(self, write: Write, *keys: str) -> None:
        """Write to the regions; to the model also if it was done, or was done by chance."""
        try:
            write(self.regions)
        except infra.NotFoundError:
            return
        except (infra.InfrastructureError, OSError):
            primary = self.store("eu")
            for key in keys:  # the end was unknown: the primary tells
                if primary.exists(BUCKET, key):
                    known = primary.get_metadata(BUCKET, key)
                    data = primary.download(BUCKET, key)
                    self.model.upload(BUCKET, key, data, known.content_type, known.metadata)
                else:
                    self.model.delete(BUCKET, key)
            return
        write(self.model)

    @rule(key=KEYS, data=DATA, kind=TYPES, as_file=st.booleans())
    def upload(self, key: str, data: bytes, kind: str | None, as_file: bool) -> None:
        def upload(storage: infra.StorageProvider) -> None:
            storage.upload(BUCKET, key, io.BytesIO(data) if as_file else data, kind)

        self.write(upload, key)

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        self.write(lambda s: s.delete(BUCKET, key), key)

    @rule(keys=st.lists(KEYS, min_size=1, max_size=3))
    def delete_batch(self, keys: list[str]) -> None:
        self.write(lambda s: s.delete_batch(BUCKET, keys), *keys)

    @rule(key=KEYS, to=KEYS)
    def copy(self, key: str, to: str) -> None:
        if key != to:
            self.write(lambda s: s.copy(BUCKET, key, BUCKET, to), to)

    @rule(key=KEYS, data=DATA)
    def upload_by_url(self, key: str, data: bytes) -> None:
        try:
            url = self.regions.get_presigned_url(BUCKET, key, 60, "PUT")
        except infra.ConnectionError:
            return
        self.store("eu").fetch(url, "PUT", data)
        self.model.upload(BUCKET, key, data)

    @rule(method=METHODS, error=UNKNOWN, applied=st.booleans())
    def unknown_end(self, method: str, error: Exception, applied: bool) -> None:
        self.stores["eu"].fail_next(method, error, after_apply=applied)

    @rule(method=st.sampled_from(["upload", "delete", "get_metadata"]), applied=st.booleans())
    def refusal(self, method: str, applied: bool) -> None:
        error = infra.StorageError("refused", code="AccessDenied")
        self.stores["us"].fail_next(method, error, after_apply=applied)

    @rule(name=NAMES, down=st.booleans())
    def change(self, name: str, down: bool) -> None:
        self.stores[name].down = down

    @rule(down=st.booleans())
    def change_database(self, down: bool) -> None:
        self.database.down = down

    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(repairs=st.booleans())
    def relay(self, repairs: bool) -> None:
        try:
            if repairs:
                self.regions.repair(BUCKET)
            else:
                self.regions.relay()
        except infra.InfrastructureError:
            pass

    @rule(key=KEYS)
    def read(self, key: str) -> None:
        """While the primary answers, reads are never stale."""
        if self.stores["eu"].down:
            return
        assert self.regions.exists(BUCKET, key) == self.model.exists(BUCKET, key)
        if self.model.exists(BUCKET, key):
            assert self.regions.download(BUCKET, key) == self.model.download(BUCKET, key)

    @invariant()
    def nothing_is_lost(self) -> None:
        assert content(self.store("eu"), BUCKET) == content(self.model, BUCKET)

    def teardown(self) -> None:
        """The good day: everything is back, and time passes."""
        self.database.down = False
        for store in self.stores.values():
            store.down = False
        while self.regions.owed():
            self.clock.advance(3600)
            self.regions.relay()
        assert content(self.store("us"), BUCKET) == content(self.model, BUCKET)


class Pair(RuleBasedStateMachine):
    """The same regions on fakes and on servers."""

    ways: Ways
    bucket: str

    def __init__(self) -> None:
        super().__init__()
        self.clock = fakes.FakeClock()
        self.stores = {name: fakes.FakeStorageProvider(clock=self.clock) for name in ("eu", "us")}
        self.fake, self.real = (
            infra.MultiRegionStorageProvider(stores, "eu", outbox_on_fake(self.clock))
            for stores in (self.stores, self.ways.providers)
        )
        self.out = set[str]()
        self.both(lambda s: s.create_bucket(self.bucket))
        self.both(lambda s: s.relay())

    def teardown(self) -> None:
        for name in [*self.out]:
            self.change(name)
        self.settle()
        contents = [content(store, self.bucket) for store in self.all()]
        assert contents == [contents[0]] * 4
        for store in self.ways.stores.values():
            store.delete_batch(self.bucket, contents[0])

    def all(self) -> list[infra.StorageProvider]:
        return [*self.stores.values(), *self.ways.stores.values()]

    def settle(self) -> None:
        while self.fake.owed() or self.real.owed():
            self.clock.advance(3600)
            for storage in (self.fake, self.real):
                storage.relay()

    def both(self, call: Callable[[infra.MultiRegionStorageProvider], Any]) -> None:
        outcomes: list[Any] = []
        for storage in (self.fake, self.real):
            try:
                outcomes.append(call(storage))
            except infra.InfrastructureError as error:
                resource = getattr(error, "resource", None)
                outcomes.append((type(error), error.operation, error.retryable, resource))
        assert outcomes[0] == outcomes[1]

    @initialize(data=DATA)
    def upload_first(self, data: bytes) -> None:
        self.upload("a", data, None)

    @rule(key=KEYS, data=DATA, kind=TYPES)
    def upload(self, key: str, data: bytes, kind: str | None) -> None:
        self.both(lambda s: s.upload(self.bucket, key, data, kind))

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        self.both(lambda s: s.delete(self.bucket, key))

    @rule(keys=st.lists(KEYS, max_size=3))
    def delete_batch(self, keys: list[str]) -> None:
        self.both(lambda s: s.delete_batch(self.bucket, keys))

    @rule(key=KEYS, to=KEYS)
    def copy(self, key: str, to: str) -> None:
        self.both(lambda s: s.copy(self.bucket, key, self.bucket, to))

    def streamed(self, storage: infra.StorageProvider, key: str) -> bytes:
        with storage.open(self.bucket, key) as reader:
            return reader.read()

    @rule(key=KEYS)
    def read(self, key: str) -> None:
        self.both(lambda s: s.exists(self.bucket, key))
        self.both(lambda s: s.download(self.bucket, key))
        self.both(lambda s: self.streamed(s, key))
        self.both(lambda s: s.get_metadata(self.bucket, key).content_type)

    @rule(most=st.sampled_from([None, 1, 2]))
    def list(self, most: int | None) -> None:
        self.both(lambda s: [each.key for each in s.list_objects(self.bucket, max_keys=most)])

    @rule(name=NAMES)
    def change(self, name: str) -> None:
        """Take a region away, or bring it back."""
        is_out = name in self.out
        self.stores[name].down = not is_out
        (self.ways.up if is_out else self.ways.down)(name)
        self.out ^= {name}

    @rule()
    def relay(self) -> None:
        """A server may have got what its client has given up, so the numbers may differ."""
        self.clock.advance(11)
        for storage in (self.fake, self.real):
            storage.relay()

    @rule()
    def repair(self) -> None:
        if not self.out:
            self.clock.advance(11)
            self.both(lambda s: s.repair(self.bucket)["us"].done)
            self.settle()


def test_nothing_is_lost_and_nothing_revived() -> None:
    run_state_machine_as_test(Machine, settings=settings(max_examples=scaled(4000)))


def test_fakes_and_servers_agree(
    no_aws: None, s3: Callable[[str], infra.S3StorageProvider]
) -> None:
    ways, bucket = Ways({"eu": s3("s3"), "us": s3("moto")}), f"machine-{uuid.uuid4().hex[:20]}"
    machine = type("RegionsPair", (Pair,), {"ways": ways, "bucket": bucket})
    run_state_machine_as_test(machine, settings=settings(max_examples=scaled(400)))
    ways.close([(name, bucket) for name in ways.stores])
