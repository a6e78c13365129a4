"""The contract of MultiRegionStorageProvider: what regions are owed, and what reads find."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any

import pytest

import fakes
import infra
from tests.contract.backends import eventually, in_background, in_threads
from tests.contract.base import Contract
from tests.contract.regions import RegionsBackend, content, on_fakes, on_servers
from tests.contract.test_event_bus import note
from tests.contract.test_outbox import Target
from tests.contract.test_storage_provider import Raw, some

MIB = 1 << 20
Calls = list[Callable[[], object]]


def reads(storage: infra.StorageProvider, bucket: str, key: str) -> list[object]:
    """What each way to read gives."""
    storage.download_to(bucket, key, file := io.BytesIO())
    with storage.open(bucket, key) as reader:
        streamed = reader.read()
    known = storage.get_metadata(bucket, key)
    return [
        storage.download(bucket, key),
        file.getvalue(),
        streamed,
        storage.exists(bucket, key),
        (known.size, known.content_type, known.metadata),
        [each.key for each in storage.list_objects(bucket)],
    ]


class RegionsContract(Contract):
    port = infra.MultiRegionStorageProvider

    # --- what is owed

    def test_a_write_comes_to_the_other_region(self, backend: RegionsBackend) -> None:
        storage, bucket = backend.storage, backend.bucket
        storage.upload(bucket, "é/k", b"data", "text/plain", {"Made-By": "hand"})
        assert (storage.owed(), backend.keys("us")) == (1, [])
        assert (storage.relay(), storage.owed(), storage.relay()) == (1, 0, 0)
        expected = {"é/k": (b"data", "text/plain", {"made-by": "hand"})}
        assert backend.content("eu") == backend.content("us") == expected

    def test_every_kind_of_write(self, backend: RegionsBackend) -> None:
        storage, bucket, other = backend.storage, backend.bucket, backend.new_bucket()
        storage.upload(bucket, "a", io.BytesIO(b"1"))
        storage.upload(bucket, "b", b"2")
        storage.upload(bucket, "c", b"3")
        assert storage.relay() == 3
        storage.create_bucket(other)
        storage.copy(bucket, "a", other, "copy")
        storage.delete(bucket, "b")
        assert storage.delete_batch(bucket, ["c", "absent"]).deleted == ["c", "absent"]
        assert storage.owed() == 5
        assert storage.relay() == 5
        assert backend.both() == [{"a": b"1"}, {"a": b"1"}]
        copied: dict[str, Any] = {"copy": (b"1", "binary/octet-stream", {})}
        assert [content(store, other) for store in backend.stores.values()] == [copied, copied]

    def test_the_bucket_comes_too(self, backend: RegionsBackend) -> None:
        other = backend.new_bucket()
        backend.stores["eu"].create_bucket(other)
        backend.storage.upload(other, "k", b"1")
        assert backend.storage.relay() == 1
        assert backend.stores["us"].download(other, "k") == b"1"

    def test_large_data_is_read_once(self, backend: RegionsBackend) -> None:
        storage, data = backend.storage, some(9 * MIB)
        stream = Raw(data, step=MIB)
        storage.upload(backend.bucket, "large", stream, "text/csv")  # type: ignore[arg-type]
        assert (stream.data, storage.relay()) == (b"", 1)
        assert backend.content("us") == {"large": (data, "text/csv", {})}
        etags = [
            store.get_metadata(backend.bucket, "large").etag for store in backend.stores.values()
        ]
        assert (etags[0], etags[0][-2:]) == (etags[1], "-2")

    def test_only_the_last_state_counts(self, backend: RegionsBackend) -> None:
        storage, bucket = backend.storage, backend.bucket
        for number in range(3):
            storage.upload(bucket, "k", str(number).encode())
        storage.upload(bucket, "gone", b"1")
        storage.delete(bucket, "gone")
        assert storage.owed() == 5
        assert storage.relay() == 5
        assert backend.both() == [{"k": b"2"}, {"k": b"2"}]

    def test_what_the_primary_refuses_is_not_owed(self, backend: RegionsBackend) -> None:
        storage, bucket = backend.storage, backend.bucket
        absent = "test-of-nobody-739182"
        calls: Calls = [
            lambda: storage.upload(absent, "k", b"1"),
            lambda: storage.upload(bucket, "k", b"1", metadata={"a_b": "c"}),
            lambda: storage.copy(bucket, "absent", bucket, "k"),
            lambda: storage.delete(absent, "k"),
        ]
        for call in calls:
            with pytest.raises((infra.NotFoundError, infra.ValidationError)):
                call()
        assert storage.owed() == 0

    def test_presigned_urls_that_change_something(self, backend: RegionsBackend) -> None:
        """What somebody stores by a URL is copied within twice the time that it took."""
        storage, bucket = backend.storage, backend.bucket
        storage.get_presigned_url(bucket, "k", 600, "GET")
        storage.get_presigned_url(bucket, "k", 600, "HEAD")
        assert storage.owed() == 0
        storage.get_presigned_url(bucket, "k", 600, "PUT")
        assert (storage.owed(), storage.relay(), backend.later()) == (1, 0, 1)
        backend.stores["eu"].upload(bucket, "k", b"by URL")
        assert backend.later() == 1
        assert backend.both() == [{"k": b"by URL"}, {"k": b"by URL"}]
        storage.get_presigned_url(bucket, "k", 600, "DELETE")
        backend.stores["eu"].delete(bucket, "k")
        assert backend.later(600) == 2
        assert (backend.both(), storage.owed()) == ([{}, {}], 2)
        for _ in range(4):
            backend.later(4200)
        assert storage.owed() == 0

    # --- a region that is out

    def test_the_primary_is_out(self, backend: RegionsBackend) -> None:
        storage, bucket = backend.storage, backend.bucket
        storage.upload(bucket, "k", b"data", "text/plain", {"a": "b"})
        storage.relay()
        expected = [
            b"data", b"data", b"data", True, (4, "text/plain", {"a": "b"}), ["k"],
        ]  # fmt: skip
        assert reads(storage, bucket, "k") == expected
        backend.down("eu")
        assert reads(storage, bucket, "k") == expected
        calls: Calls = [
            lambda: storage.upload(bucket, "k", b"new"),
            lambda: storage.upload(bucket, "new", b"new"),
            lambda: storage.delete(bucket, "k"),
            lambda: storage.delete_batch(bucket, ["k"]),
            lambda: storage.copy(bucket, "k", bucket, "new"),
            lambda: storage.create_bucket(bucket),
        ]
        for call in calls:
            with pytest.raises(infra.ConnectionError):
                call()
        assert storage.relay() == 0
        backend.up("eu")
        backend.later(90000)
        assert backend.both() == [{"k": b"data"}, {"k": b"data"}]

    def test_what_no_region_has_while_the_primary_is_out(self, backend: RegionsBackend) -> None:
        """Another region may be behind: that it has no object says nothing."""
        storage, bucket = backend.storage, backend.bucket
        storage.upload(bucket, "new", b"1")
        backend.down("eu")
        calls: list[tuple[str, Callable[[], object]]] = [
            ("download", lambda: storage.download(bucket, "new")),
            ("download_to", lambda: storage.download_to(bucket, "new", io.BytesIO())),
            ("open", lambda: storage.open(bucket, "new")),
            ("exists", lambda: storage.exists(bucket, "new")),
            ("get_metadata", lambda: storage.get_metadata(bucket, "new")),
        ]
        for operation, call in calls:
            with pytest.raises(infra.ConnectionError) as caught:
                call()
            assert caught.value.operation == operation
        assert [*storage.list_objects(bucket)] == []
        backend.up("eu")
        assert storage.download(bucket, "new") == b"1"

    def test_all_regions_are_out(self, backend: RegionsBackend) -> None:
        backend.down("eu")
        backend.down("us")
        with pytest.raises(infra.ConnectionError):
            backend.storage.download(backend.bucket, "k")
        backend.up("eu")
        backend.up("us")
        with pytest.raises(infra.NotFoundError):
            backend.storage.download(backend.bucket, "k")

    def test_the_other_region_is_out(self, backend: RegionsBackend) -> None:
        storage, bucket = backend.storage, backend.bucket
        storage.upload(bucket, "old", b"1")
        storage.upload(bucket, "gone", b"1")
        storage.relay()
        backend.down("us")
        storage.upload(bucket, "old", b"2")
        storage.upload(bucket, "new", b"3")
        storage.delete(bucket, "gone")
        assert reads(storage, bucket, "old")[0] == b"2"
        assert (storage.relay(), storage.owed()) == (0, 3)
        backend.up("us")
        assert backend.both() == [{"old": b"2", "new": b"3"}, {"old": b"1", "gone": b"1"}]
        assert (backend.later(11), storage.owed()) == (3, 0)
        assert backend.both() == [{"old": b"2", "new": b"3"}, {"old": b"2", "new": b"3"}]

    def test_a_region_that_is_out_does_not_delay_another(self, backend: RegionsBackend) -> None:
        third = fakes.FakeStorageProvider()
        backend.providers["ap"] = third
        storage = backend.regions()
        backend.down("us")
        for number in range(5):
            storage.upload(backend.bucket, f"k{number}", b"1")
        assert (storage.relay(), storage.owed()) == (5, 5)
        keys = ["k0", "k1", "k2", "k3", "k4"]
        assert [each.key for each in third.list_objects(backend.bucket)] == keys
        backend.up("us")
        backend.clock.advance(11)
        assert (storage.relay(), storage.owed()) == (5, 0)
        assert backend.keys("us") == keys

    # --- reads

    def test_what_the_primary_does_not_have(self, backend: RegionsBackend) -> None:
        storage, bucket = backend.storage, backend.bucket
        backend.stores["us"].upload(bucket, "k", b"stale")
        assert storage.exists(bucket, "k") is False
        with pytest.raises(infra.NotFoundError):
            storage.download(bucket, "k")
        stale = backend.regions(read_stale=True)
        assert reads(stale, bucket, "k")[:4] == [b"stale", b"stale", b"stale", True]
        assert stale.exists(bucket, "absent") is False
        with pytest.raises(infra.NotFoundError):
            stale.download(bucket, "absent")
        backend.down("us")
        with pytest.raises(infra.NotFoundError):
            stale.download(bucket, "k")
        assert stale.exists(bucket, "k") is False
        backend.up("us")

    def test_a_list_stays_with_its_region(self, backend: RegionsBackend) -> None:
        storage, bucket = backend.storage, backend.bucket
        for key in "abc":
            storage.upload(bucket, key, b"1")
        storage.relay()
        storage.upload(bucket, "d", b"1")
        backend.down("eu")
        listed = [each.key for each in storage.list_objects(bucket)]
        assert listed == ["a", "b", "c"]
        assert [each.key for each in storage.list_objects(bucket, "b")] == ["b"]
        assert [each.key for each in storage.list_objects(bucket, max_keys=2)] == ["a", "b"]
        backend.up("eu")
        assert len([*storage.list_objects(bucket)]) == 4

    def test_the_other_region_as_the_primary(self, backend: RegionsBackend) -> None:
        storage = backend.regions("us")
        assert [*storage.regions] == ["us", "eu"]
        storage.upload(backend.bucket, "k", b"1")
        assert (backend.both(), storage.relay()) == ([{}, {"k": b"1"}], 1)
        assert backend.both() == [{"k": b"1"}, {"k": b"1"}]

    # --- relays

    def test_inside_a_transaction(self, backend: RegionsBackend) -> None:
        """What is owed has to be committed before the primary changes."""
        storage, bucket = backend.storage, backend.bucket
        storage.upload(bucket, "k", b"1")
        calls: Calls = [
            lambda: storage.upload(bucket, "k", b"2"),
            lambda: storage.delete(bucket, "k"),
            lambda: storage.delete_batch(bucket, ["k"]),
            lambda: storage.copy(bucket, "k", bucket, "n"),
            lambda: storage.create_bucket(bucket),
            lambda: storage.get_presigned_url(bucket, "k", 60, "PUT"),
            lambda: storage.repair(bucket),
            storage.relay,
        ]
        for call in calls:
            with (
                pytest.raises(infra.DatabaseError, match="call it outside"),
                backend.database.transaction(),
            ):
                call()
        with backend.database.transaction():
            assert reads(storage, bucket, "k")[0] == b"1"
            assert storage.get_presigned_url(bucket, "k", 60)
        assert (storage.owed(), storage.relay()) == (1, 1)

    def test_beside_the_events_of_the_outbox(self, backend: RegionsBackend) -> None:
        storage, target = backend.storage, Target()
        backend.outbox.add("orders", note("1"), key="a")
        storage.upload(backend.bucket, "k", b"1")
        assert (backend.outbox.unsent(), storage.owed()) == (1, 1)
        assert backend.outbox.relay(target, once=True) == 1
        assert (target.notes, storage.owed()) == (["1"], 1)
        backend.outbox.add("orders", note("2"), key="a")
        assert (storage.relay(), backend.outbox.unsent()) == (1, 1)

    def test_others_with_the_same_outbox(self, backend: RegionsBackend) -> None:
        storage, bucket = backend.storage, backend.bucket
        other = backend.regions(name="archive")
        storage.upload(bucket, "k", b"1")
        assert (other.owed(), other.relay()) == (0, 0)
        assert (storage.owed(), backend.keys("us")) == (1, [])
        assert storage.relay() == 1

    def test_several_relays(self, backend: RegionsBackend) -> None:
        storage, bucket = backend.storage, backend.bucket
        for number in range(40):
            storage.upload(bucket, f"k{number % 20:02}", str(number).encode())
        storages = [backend.regions() for _ in range(3)]
        assert sum(in_threads(3, lambda number: storages[number].relay())) == 40
        expected = {f"k{number:02}": str(number + 20).encode() for number in range(20)}
        assert (backend.both(), storage.owed()) == ([expected, expected], 0)

    def test_stop_ends_a_relay(self, backend: RegionsBackend) -> None:
        storage, bucket, ended = backend.storage, backend.bucket, threading.Event()

        def pause(seconds: float) -> None:
            ended.wait(0.001)

        backend.clock.sleep = pause  # type: ignore[method-assign]
        join = in_background(lambda: storage.relay(once=False))
        storage.upload(bucket, "k", b"1")
        eventually(lambda: storage.owed() == 0)
        storage.stop()
        assert join() == 1
        assert backend.both() == [{"k": b"1"}, {"k": b"1"}]
        storage.upload(bucket, "k", b"2")
        assert storage.relay() == 0
        assert backend.regions().relay() == 1  # the others go on

    # --- repair

    def test_repair(self, backend: RegionsBackend) -> None:
        storage, bucket, (eu, us) = backend.storage, backend.bucket, backend.stores.values()
        for key in ("d/same", "d/other", "d/type", "d/missing", "e/missing"):
            eu.upload(bucket, key, key.encode(), "text/plain")
        for key in ("d/same", "d/other", "d/type"):
            us.upload(bucket, key, key.encode(), "text/plain")
        us.upload(bucket, "d/other", b"another", "text/plain")
        for key in ("d/extra", "e/extra"):
            us.upload(bucket, key, b"1")
        reports = storage.repair(bucket, "d/")
        assert [*reports] == ["us"]
        assert reports["us"].counts == infra.MoveCounts(read=4, written=2, dropped=2)
        assert reports["us"].done
        expected = {
            f"d/{name}": f"d/{name}".encode() for name in ("missing", "other", "same", "type")
        }
        assert backend.both() == [
            {**expected, "e/missing": b"e/missing"}, {**expected, "e/extra": b"1"},
        ]  # fmt: skip
        assert storage.repair(bucket)["us"].counts == infra.MoveCounts(read=5, written=1, dropped=4)
        assert backend.both()[0] == backend.both()[1] == {**expected, "e/missing": b"e/missing"}
        assert storage.repair(bucket)["us"].counts == infra.MoveCounts(read=5, dropped=5)
        assert storage.owed() == 0

    def test_repair_of_a_bucket_that_one_region_lacks(self, backend: RegionsBackend) -> None:
        storage, other = backend.storage, backend.new_bucket()
        with pytest.raises(infra.NotFoundError):
            storage.repair(other)
        backend.stores["eu"].create_bucket(other)
        backend.stores["eu"].upload(other, "k", b"1")
        assert storage.repair(other)["us"].counts == infra.MoveCounts(read=1, written=1)
        assert backend.stores["us"].download(other, "k") == b"1"

    def test_no_repair_before_a_former_primary_has_paid(self, backend: RegionsBackend) -> None:
        """It would delete what only the former primary has."""
        former, storage = backend.storage, backend.regions("us")
        former.upload(backend.bucket, "k", b"1")
        with pytest.raises(infra.MoveError, match="us is owed objects"):
            storage.repair(backend.bucket)
        assert former.relay() == 1
        assert storage.repair(backend.bucket)["eu"].counts == infra.MoveCounts(read=1, dropped=1)

    # --- the provider itself

    def test_suffixes(self, backend: RegionsBackend) -> None:
        storage = backend.regions(suffixes={"us": "-us"})
        bucket = backend.bucket
        backend.made.append(("us", f"{bucket}-us"))
        storage.upload(bucket, "k", b"1")
        storage.copy(bucket, "k", bucket, "n")
        assert storage.relay() == 2
        assert backend.both() == [{"k": b"1", "n": b"1"}, {}]
        there = content(backend.stores["us"], f"{bucket}-us")
        assert there == backend.content("eu")
        assert storage.repair(bucket)["us"].counts == infra.MoveCounts(read=2, dropped=2)
        backend.down("eu")
        assert reads(storage, bucket, "n")[0] == b"1"
        backend.up("eu")

    def test_health_check(self, backend: RegionsBackend) -> None:
        health = backend.storage.health_check()
        assert health == backend.providers["eu"].health_check().__class__(
            "storage", health.server, health.latency
        )
        backend.down("us")
        assert backend.storage.health_check().server == health.server
        backend.up("us")

    def test_close_closes_the_providers(self, backend: RegionsBackend) -> None:
        backend.storage.upload(backend.bucket, "k", b"1")
        with backend.storage as storage:
            assert [*storage.regions.values()] == [*backend.providers.values()]
        storage.close()
        for provider in (storage, *backend.providers.values()):
            with pytest.raises(infra.ConnectionError) as caught:
                provider.download(backend.bucket, "k")
            assert caught.value.retryable is False
        assert storage.relay() == 0  # it is stopped

    def test_wrong_arguments(self, backend: RegionsBackend) -> None:
        eu, us = backend.providers.values()
        good: dict[str, Any] = {
            "regions": {"eu": eu, "us": us}, "primary": "eu", "outbox": backend.outbox,
        }  # fmt: skip
        wrong: list[tuple[str, dict[str, Any]]] = [
            ("regions", {"regions": None}),
            ("two or more", {"regions": {"eu": eu}}),
            ("different", {"regions": {"eu": eu, "us": eu}}),
            ("names of regions", {"regions": {"EU": eu, "us": us}}),
            ("names of regions", {"regions": {5: eu, "us": us}}),
            ("StorageProviders", {"regions": {"eu": eu, "us": "us"}}),
            ("primary", {"primary": "ap"}),
            ("primary", {"primary": None}),
            ("outbox", {"outbox": backend.database}),
            ("read_stale", {"read_stale": 1}),
            ("suffixes", {"suffixes": ["-us"]}),
            ("names in suffixes", {"suffixes": {"ap": "-ap"}}),
            ("suffixes", {"suffixes": {"us": 5}}),
            ("name", {"name": "a/b"}),
        ]
        for match, changes in wrong:
            with pytest.raises(infra.ConfigurationError, match=match):
                infra.MultiRegionStorageProvider(**{**good, **changes})
        with pytest.raises(infra.ValidationError, match="once"):
            backend.storage.relay(once=1)  # type: ignore[arg-type]
        for bucket, prefix in ((None, ""), ("bucket", None), ("bucket", "/")):
            with pytest.raises((infra.ValidationError, infra.ConfigurationError)):
                backend.storage.repair(bucket, prefix)  # type: ignore[arg-type]
        assert backend.storage.owed() == 0


class TestFakeMySQL(RegionsContract):
    backend = on_fakes("mysql")


class TestFakePostgres(RegionsContract):
    backend = on_fakes("postgres")


class TestMariaDB(RegionsContract):
    backend = on_servers("mariadb")


class TestMySQL(RegionsContract):
    backend = on_servers("mysql")


class TestPostgres(RegionsContract):
    backend = on_servers("postgres")
