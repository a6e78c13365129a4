"""Regions on fakes: writes of unknown end, crashes, relays that stand still, and the bundle."""

from __future__ import annotations

import threading
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import fakes
import infra
from tests.contract.backends import WAIT, in_background

BUCKET = "bucket"
Do = Callable[[], object]


class Store(fakes.FakeStorageProvider):
    """Does something else before its next upload, when it has all bytes, and after it."""

    before: Do = staticmethod(lambda: None)
    after: Do = staticmethod(lambda: None)

    def upload(self, bucket: str, key: str, data: Any, *more: Any) -> None:
        before, self.before = self.before, lambda: None
        after, self.after = self.after, lambda: None
        read = getattr(data, "read", None)
        received = data if read is None else b"".join(iter(lambda: read(1 << 20), b""))
        before()
        super().upload(bucket, key, received, *more)
        after()


@dataclass(frozen=True)
class Lease:
    bucket: int
    beats: int


class Leases(infra.Repository[Lease]):
    record, table, resource = Lease, "infra_outbox_leases", "lease"
    key = ("bucket",)
    ids = ()
    sort_fields = ()


class Scene:
    """Two regions on fakes with one clock; ``looks`` are the times at which "us" was asked."""

    def __init__(self, kind: type[Store] = Store) -> None:
        self.clock = fakes.FakeClock()
        self.looks: list[float] = []
        self.database = fakes.FakeDatabase("mysql", fakes.MYSQL_TABLES, clock=self.clock)
        self.outbox = infra.Outbox(self.database, lease=30)
        self.eu = kind(clock=self.clock)
        self.us = kind(clock=self.clock, observer=self.note)
        self.storage = self.regions()
        self.storage.create_bucket(BUCKET)
        self.storage.relay()
        self.looks.clear()

    def note(self, call: infra.Call) -> None:
        if call.operation == "get_metadata":
            self.looks.append(self.clock.monotonic())

    def regions(self, **options: Any) -> infra.MultiRegionStorageProvider:
        stores = {"eu": self.eu, "us": self.us}
        return infra.MultiRegionStorageProvider(stores, "eu", self.outbox, **options)

    def both(self) -> list[dict[str, bytes]]:
        return [
            {each.key: store.download(BUCKET, each.key) for each in store.list_objects(BUCKET)}
            for store in (self.eu, self.us)
        ]


def refusal() -> infra.StorageError:
    return infra.StorageError("refused", code="AccessDenied")


# ---------------------------------------------------------------- writes of unknown end


@pytest.mark.parametrize(
    "error", [infra.TimeoutError("late"), KeyboardInterrupt(), OSError("disk")]
)
def test_a_write_of_unknown_end_is_looked_at_later(error: BaseException) -> None:
    scene = Scene()
    scene.eu.fail_next("upload", error, after_apply=True)
    with pytest.raises(type(error)):
        scene.storage.upload(BUCKET, "k", b"1")
    assert (scene.storage.relay(), scene.storage.owed()) == (0, 1)
    scene.clock.advance(59)
    assert (scene.storage.relay(), scene.looks) == (0, [])
    scene.clock.advance(1)
    assert (scene.storage.relay(), scene.both()) == (1, [{"k": b"1"}, {"k": b"1"}])


def test_it_is_looked_at_ever_less_often_for_a_day() -> None:
    """As a write may take effect long after its client has died."""
    scene = Scene()
    scene.eu.fail_next("upload", infra.TimeoutError)
    scene.eu.fail_next("upload", infra.TimeoutError, after_apply=True)
    with pytest.raises(infra.TimeoutError):
        scene.storage.upload(BUCKET, "never", b"1")
    assert scene.storage.owed() == 0  # the fake says that it was not applied
    with pytest.raises(infra.TimeoutError):
        scene.storage.upload(BUCKET, "k", b"1")
    for _ in range(1450):
        scene.clock.advance(60)
        scene.storage.relay()
        if scene.clock.monotonic() == 3000:
            scene.eu.upload(BUCKET, "k", b"late")
    assert scene.looks == [60, 120, 240, 480, 960, 1920, 3840, 7680, 15360, 30720, 61440, 86400]
    assert (scene.both(), scene.storage.owed()) == ([{"k": b"late"}, {"k": b"late"}], 0)


def test_an_outage_before_anything_was_sent_owes_nothing() -> None:
    scene = Scene()
    scene.eu.down = True
    calls: list[Do] = [
        lambda: scene.storage.upload(BUCKET, "k", b"1"),
        lambda: scene.storage.delete(BUCKET, "k"),
    ]
    for call in calls:
        with pytest.raises(infra.ConnectionError):
            call()
    assert scene.storage.owed() == 0


@pytest.mark.parametrize(
    ("error", "owed"),
    [(infra.TimeoutError("late"), 1), (infra.StorageError("x", retryable=True), 1), (refusal(), 0)],
)
def test_a_provider_without_a_call_policy(error: infra.InfrastructureError, owed: int) -> None:
    """Nobody knows whether something was sent: only a refusal is sure."""

    def fail() -> None:
        raise error

    scene = Scene()
    scene.eu.after = fail
    with pytest.raises(type(error)):
        scene.storage.upload(BUCKET, "k", b"1")
    assert scene.storage.owed() == owed


def test_a_batch_that_is_refused_may_have_deleted_some() -> None:
    scene = Scene()
    scene.eu.fail_next("delete_batch", refusal())
    with pytest.raises(infra.StorageError):
        scene.storage.delete_batch(BUCKET, ["a", "b"])
    assert scene.storage.owed() == 2


def test_keys_that_a_batch_could_not_delete() -> None:
    scene = Scene()
    scene.storage.upload(BUCKET, "a", b"1")
    scene.eu.denied.add((BUCKET, "a"))
    assert scene.storage.delete_batch(BUCKET, ["a", "b"]).errors == {"a": "AccessDenied"}
    scene.storage.relay()
    assert scene.both() == [{"a": b"1"}, {"a": b"1"}]


def test_a_write_without_the_database() -> None:
    scene = Scene()
    scene.database.down = True
    with pytest.raises(infra.ConnectionError):
        scene.storage.upload(BUCKET, "k", b"1")
    scene.database.down = False
    assert (scene.both(), scene.storage.owed()) == ([{}, {}], 0)


def test_a_database_that_goes_away_meanwhile(caplog: pytest.LogCaptureFixture) -> None:
    """The write counts, and is copied when its end would be unknown."""
    scene = Scene()
    scene.eu.after = lambda: setattr(scene.database, "down", True)
    scene.storage.upload(BUCKET, "k", b"1")
    assert "copied later" in caplog.text
    scene.database.down = False
    assert scene.storage.relay() == 0
    scene.clock.advance(60)
    assert (scene.storage.relay(), scene.both()) == (1, [{"k": b"1"}, {"k": b"1"}])


def test_a_look_while_the_write_is_under_way() -> None:
    """It finds the old object. The write's end is due all the same."""
    scene = Scene()

    def look() -> None:
        scene.clock.advance(60)
        assert scene.regions().relay() == 1

    scene.eu.before = look
    scene.storage.upload(BUCKET, "k", b"1")
    assert (scene.storage.relay(), scene.storage.owed()) == (1, 0)
    assert scene.both() == [{"k": b"1"}, {"k": b"1"}]


def test_a_write_that_ends_during_a_look() -> None:
    """The look is of an unfinished write. It does not put off what is due since then."""
    scene, begun, go = Scene(), threading.Event(), threading.Event()
    scene.storage.upload(BUCKET, "k", b"old")
    scene.storage.relay()

    def wait() -> None:
        begun.set()
        assert go.wait(WAIT)

    scene.eu.before = wait
    join = in_background(lambda: scene.storage.upload(BUCKET, "k", b"new"))
    assert begun.wait(WAIT)
    scene.clock.advance(60)
    seen = scene.us.get_metadata

    def end(bucket: str, key: str) -> infra.ObjectMetadata:
        go.set()
        assert join() is None
        return seen(bucket, key)

    scene.us.get_metadata = end  # type: ignore[method-assign]
    assert (scene.storage.relay(), scene.storage.owed()) == (2, 0)
    assert scene.both() == [{"k": b"new"}, {"k": b"new"}]


# ---------------------------------------------------------------- relays


def test_what_a_region_refuses_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.us.fail_next("upload", refusal())
    scene.storage.upload(BUCKET, "a", b"1")
    assert (scene.storage.relay(), scene.storage.owed()) == (0, 1)
    assert "region us stays behind: refused" in caplog.text
    scene.storage.upload(BUCKET, "b", b"2")
    assert (scene.storage.relay(), scene.storage.owed()) == (1, 1)
    scene.clock.advance(60)
    assert (scene.storage.relay(), scene.storage.owed()) == (1, 0)
    assert scene.both() == [{"a": b"1", "b": b"2"}, {"a": b"1", "b": b"2"}]


def test_a_region_that_is_out_is_asked_once() -> None:
    """Each call to it may take its whole deadline."""
    scene = Scene()
    for number in range(100):
        scene.storage.upload(BUCKET, f"k{number}", b"1")
    scene.us.down = True
    scene.storage.relay()
    assert len(scene.looks) == 1
    scene.clock.advance(10)
    scene.us.down = False
    assert scene.storage.relay() == 100


def test_a_relay_that_stood_still_leaves_no_old_object() -> None:
    """Another one has taken its bucket over, and copied the new object, in the middle of a copy."""
    scene, order = Scene(), list[str]()
    scene.storage.upload(BUCKET, "k", b"old")

    def overtake() -> None:
        scene.storage.upload(BUCKET, "k", b"newer")
        scene.outbox.POLL = 31
        assert scene.regions().relay() == 2
        order.append(scene.us.download(BUCKET, "k").decode())

    scene.us.before = overtake
    scene.storage.relay()
    assert (order, scene.both()) == (["newer"], [{"k": b"newer"}, {"k": b"newer"}])
    assert (scene.regions().relay(), scene.storage.owed()) == (0, 0)


def test_a_deleted_object_is_not_revived_by_a_relay_that_stood_still() -> None:
    scene = Scene()
    scene.storage.upload(BUCKET, "k", b"old")

    def overtake() -> None:
        scene.storage.delete(BUCKET, "k")
        scene.outbox.POLL = 31
        assert scene.regions().relay() == 2

    scene.us.before = overtake
    scene.storage.relay()
    assert scene.both() == [{}, {}]


def test_a_relay_of_a_large_object_shows_that_it_lives() -> None:
    """A part is copied within the lease, the whole object need not be."""
    scene, beats = Scene(), list[int]()
    leases, upload = Leases.on(scene.database), scene.us.upload
    scene.eu.upload(BUCKET, "k", bytes(20 << 20))

    def watched(bucket: str, key: str, data: Any, *more: Any) -> None:
        read: Callable[[int], bytes] = data.read

        def counted(size: int) -> bytes:
            block = read(size)
            beats.append(sum(lease.beats for lease in leases.select()))
            return block

        data.read = counted
        upload(bucket, key, data, *more)

    scene.us.upload = watched  # type: ignore[method-assign]
    scene.storage.get_presigned_url(BUCKET, "k", 60, "PUT")
    scene.clock.advance(60)
    assert scene.storage.relay() == 1
    assert len(beats) > 2
    assert beats == [*range(beats[0], beats[0] + len(beats))]


def test_an_object_that_goes_between_two_questions() -> None:
    scene = Scene()
    scene.storage.upload(BUCKET, "k", b"1")
    seen = scene.us.get_metadata

    def vanish(*place: str) -> Any:
        scene.eu.delete(BUCKET, "k")
        return seen(*place)

    scene.us.get_metadata = vanish  # type: ignore[assignment, method-assign]
    assert scene.storage.relay() == 1
    assert (scene.both(), scene.storage.owed()) == ([{}, {}], 0)


def test_an_object_that_changes_all_the_time() -> None:
    scene, numbers = Scene(), list[int]()
    scene.storage.upload(BUCKET, "k", b"1")
    seen = scene.us.get_metadata

    def change(*place: str) -> Any:
        numbers.append(1)
        scene.eu.upload(BUCKET, "k", str(numbers).encode())
        return seen(*place)

    scene.us.get_metadata = change  # type: ignore[assignment, method-assign]
    assert (scene.storage.relay(), len(numbers), scene.storage.owed()) == (0, 5, 1)
    scene.us.get_metadata = seen  # type: ignore[method-assign]
    scene.clock.advance(60)
    assert scene.storage.relay() == 1
    one, other = scene.both()
    assert one == other


def test_what_is_equal_is_not_copied_again() -> None:
    scene = Scene()
    scene.storage.upload(BUCKET, "k", b"1", "text/plain")
    scene.storage.relay()
    scene.storage.upload(BUCKET, "k", b"1", "text/plain")
    scene.us.fail_next("upload", refusal())
    assert scene.storage.relay() == 1
    scene.storage.upload(BUCKET, "k", b"1", "text/csv")
    assert scene.storage.relay() == 0
    scene.clock.advance(60)
    assert scene.storage.relay() == 1
    assert scene.us.get_metadata(BUCKET, "k").content_type == "text/csv"


def test_a_region_that_lacks_the_bucket() -> None:
    scene = Scene()
    scene.eu.create_bucket("other")
    scene.storage.delete("other", "k")
    assert scene.storage.relay() == 1
    scene.storage.upload("other", "k", b"1")
    assert scene.storage.relay() == 1
    assert scene.us.download("other", "k") == b"1"


# ---------------------------------------------------------------- repair


def test_a_repair_that_fails_owes_what_it_has_begun() -> None:
    scene = Scene()
    for key in ("a", "b"):
        scene.eu.upload(BUCKET, key, b"1")
    scene.us.fail_next("upload", refusal())
    with pytest.raises(infra.MoveError):
        scene.storage.repair(BUCKET)
    assert scene.storage.owed() == 2
    reports = scene.storage.repair(BUCKET)
    assert reports["us"].done
    assert scene.both() == [{"a": b"1", "b": b"1"}, {"a": b"1", "b": b"1"}]


def test_a_write_during_a_repair() -> None:
    """The repair copies an old object, or one that was deleted, over what a relay has done."""
    scene = Scene()
    scene.eu.upload(BUCKET, "k", b"old")

    def write() -> None:
        scene.storage.delete(BUCKET, "k")
        scene.regions().relay()

    scene.us.before = write
    scene.storage.repair(BUCKET)
    assert (scene.both(), scene.storage.owed()) == ([{}, {}], 0)


def test_an_older_copy_with_the_same_bytes() -> None:
    """A list shows no content type. The primary's object is newer than its copy."""
    scene = Scene()
    scene.eu.upload(BUCKET, "k", b"1", "text/plain")
    scene.us.upload(BUCKET, "k", b"1", "text/plain")
    scene.clock.advance(1)
    scene.eu.upload(BUCKET, "k", b"1", "text/csv")
    scene.storage.repair(BUCKET)
    assert scene.us.get_metadata(BUCKET, "k").content_type == "text/csv"


# ---------------------------------------------------------------- reads


@pytest.mark.parametrize(
    ("error", "answered"),
    [
        (infra.ConnectionError("x"), True),
        (infra.TimeoutError("x"), True),
        (infra.CircuitOpenError("x"), True),
        (infra.StorageError("busy", retryable=True), True),
        (refusal(), False),
        (infra.ConfigurationError("no keys"), False),
        (infra.ConnectionError("closed", retryable=False), False),
    ],
)
def test_what_counts_as_an_outage(error: infra.InfrastructureError, answered: bool) -> None:
    scene = Scene()
    scene.storage.upload(BUCKET, "k", b"1")
    scene.storage.relay()
    scene.eu.fail_next("download", error)
    if answered:
        assert scene.storage.download(BUCKET, "k") == b"1"
    else:
        with pytest.raises(type(error)):
            scene.storage.download(BUCKET, "k")


def test_another_region_that_refuses() -> None:
    """The primary's error tells more."""
    scene = Scene()
    scene.eu.down = True
    scene.us.fail_next("exists", refusal())
    scene.us.fail_next("get_metadata", refusal(), times=2)
    with pytest.raises(infra.ConnectionError):
        scene.storage.get_metadata(BUCKET, "k")
    with pytest.raises(infra.ConnectionError):
        scene.storage.exists(BUCKET, "k")
    scene.us.fail_next("*", refusal())
    with pytest.raises(infra.ConnectionError):
        scene.storage.download(BUCKET, "k")


def nowhere(name: str, **options: Any) -> infra.S3StorageProvider:
    config = infra.S3StorageConfig(
        endpoint=f"http://127.0.0.1:{1 if name == 'eu' else 2}",
        access_key="a",
        secret_key="tell-nobody",
        **options,
    )
    return infra.S3StorageProvider(config, clock=fakes.FakeClock())


def test_presigned_urls_while_the_breaker_is_open() -> None:
    """No URL asks a server: the library knows only what earlier calls have met."""
    stores = {name: nowhere(name, breaker_failures=1) for name in ("eu", "us")}
    outbox = infra.Outbox(fakes.FakeDatabase("mysql", fakes.MYSQL_TABLES))
    with infra.MultiRegionStorageProvider(stores, "eu", outbox) as storage:

        def port(method: str) -> int | None:
            url = storage.get_presigned_url(BUCKET, "k", 60, method)
            return urllib.parse.urlsplit(url).port

        assert [port("GET"), port("PUT"), storage.owed()] == [1, 1, 1]
        with pytest.raises(infra.ConnectionError):
            stores["eu"].download(BUCKET, "k")
        assert [port("GET"), port("HEAD")] == [2, 2]
        with pytest.raises(infra.CircuitOpenError):
            port("PUT")
        with pytest.raises(infra.CircuitOpenError):
            storage.upload(BUCKET, "k", b"1")
        assert storage.owed() == 1
        assert "tell-nobody" not in repr(storage)


# ---------------------------------------------------------------- the bundle

SETTINGS = {
    "POSTGRES_URL": "postgresql://app:x@127.0.0.1:1/app",
    "S3_REGIONS": "eu-west, us",
    "S3_EU_WEST_ENDPOINT": "http://127.0.0.1:1",
    "S3_EU_WEST_ACCESS_KEY_ID": "first",
    "S3_EU_WEST_SECRET_ACCESS_KEY": "tell-nobody",
    "S3_US_REGION": "us-east-2",
    "S3_US_BUCKET_SUFFIX": "-us",
    "S3_US_KEEPS_FOLDERS": "true",
    "AWS_REGION": "not-of-a-region",
    "BREAKER_FAILURES": "3",
}


def test_settings() -> None:
    config = infra.Config.from_env(SETTINGS)
    assert config.regions == {
        "eu-west": infra.S3StorageConfig(
            endpoint="http://127.0.0.1:1",
            access_key="first",
            secret_key="tell-nobody",
            breaker_failures=3,
        ),
        "us": infra.S3StorageConfig(
            region="us-east-2", bucket_suffix="-us", keeps_folders=True, breaker_failures=3
        ),
    }
    assert "tell-nobody" not in repr(config)
    assert infra.Config.from_env({"S3_REGIONS": ""}).regions is None


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"S3_REGIONS": "eu"}, "S3_REGIONS"),
        ({"S3_REGIONS": "eu,us,eu"}, "S3_REGIONS"),
        ({"S3_REGIONS": "eu,"}, "S3_REGIONS"),
        ({"S3_REGIONS": "EU,us"}, "S3_REGIONS"),
        ({"S3_US_ENDPOINT": "ftp://x"}, "region us, S3_US_"),
        ({"S3_US_ACCESS_KEY_ID": "tell-nobody"}, "region us, S3_US_"),
        ({"S3_US_KEEPS_FOLDERS": "maybe"}, "S3_US_KEEPS_FOLDERS"),
    ],
)
def test_wrong_settings(changes: dict[str, str], match: str) -> None:
    with pytest.raises(infra.ConfigurationError, match=match) as caught:
        infra.Config.from_env({**SETTINGS, **changes})
    assert "tell-nobody" not in str(caught.value)


@pytest.mark.parametrize("regions", [[], {}, {"eu": infra.S3StorageConfig()}, {"eu": 1, "us": 2}])
def test_wrong_regions_of_a_config(regions: Any) -> None:
    with pytest.raises(infra.ConfigurationError, match="S3_REGIONS"):
        infra.Config(regions=regions)


def test_the_bundle() -> None:
    here = {
        "S3_US_ENDPOINT": "http://127.0.0.1:2",
        "S3_US_ACCESS_KEY_ID": "second",
        "S3_US_SECRET_ACCESS_KEY": "tell-nobody",
    }
    with infra.Infrastructure.from_env({**SETTINGS, **here}) as services:
        assert services.storage is services.regions
        assert [*services.regions.regions] == ["eu-west", "us"]
        assert {"regions eu-west", "regions us"} <= services.breakers.keys()
        report = services.health(deadline=5)
        assert {"storage eu-west", "storage us"} <= report.services.keys()
        assert not {"storage", "regions"} & report.services.keys()
        found = report.services["storage eu-west"]
        assert (found.up, found.error) == (False, "ConnectionError")
        assert found.breaker in ("open", "closed")


def test_a_bundle_without_regions() -> None:
    with (
        infra.Infrastructure.from_env({}) as services,
        pytest.raises(infra.ConfigurationError, match="S3_REGIONS"),
    ):
        assert services.regions


def test_the_bundle_on_fakes() -> None:
    with fakes.FakeInfrastructure() as services:
        regions = services.regions
        regions.create_bucket(BUCKET)
        regions.upload(BUCKET, "k", b"1")
        assert services.storage.download(BUCKET, "k") == b"1"
        assert regions.relay() == 2
        assert regions.regions["us"].download(BUCKET, "k") == b"1"
        assert services.health().up
