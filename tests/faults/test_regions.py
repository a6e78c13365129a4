"""Regions on bad days: servers killed, paused, slow and refusing; relays and writers killed.

`make prove PART=kills` kills twenty times as many processes.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import fakes
import infra
from tests import services
from tests.conftest import s3_config
from tests.contract.backends import ShiftedClock, eventually, in_threads, remove_bucket
from tests.contract.databases import empty, migrated
from tests.contract.regions import Ways, content, outbox_on_fake
from tests.contract.test_outbox import TABLES
from tests.contract.test_storage_provider import some
from tests.s3_stand_in import LOSE, Refusal, StrictS3
from tests.scale import scaled

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("no_aws")]

ROOT = Path(__file__).resolve().parent.parent.parent
KILLS = scaled(60)
DENIED, BUSY = Refusal(403, "AccessDenied"), Refusal(503, "SlowDown")


@dataclass
class Scene:
    """Two regions: a server of the test, and one that tests share."""

    storage: infra.MultiRegionStorageProvider
    own: services.Server
    ways: Ways
    clock: fakes.FakeClock
    bucket: str

    def data(self) -> list[dict[str, bytes]]:
        found = [content(store, self.bucket) for store in self.ways.stores.values()]
        return [{key: data for key, (data, _, _) in one.items()} for one in found]

    def settle(self) -> None:
        """Let a day pass, with a relay now and then."""
        while self.storage.owed():
            self.clock.advance(3600)
            self.storage.relay()


@pytest.fixture
def scene(
    request: pytest.FixtureRequest,
    private_server: Callable[[str], services.Server],
    s3: Callable[[str], infra.S3StorageProvider],
) -> Iterator[Scene]:
    """The parameter says which region the server of the test is."""
    own, clock = private_server("s3"), fakes.FakeClock()
    direct = infra.S3StorageProvider(s3_config(own.url), keeps_folders=True)
    stores = {"eu": s3("moto"), "us": s3("moto"), request.param: direct}
    ways = Ways(stores, connect_timeout=1.0, read_timeout=1.0)
    storage = infra.MultiRegionStorageProvider(ways.providers, "eu", outbox_on_fake(clock))
    bucket = f"test-{uuid.uuid4().hex[:20]}"
    storage.create_bucket(bucket)
    storage.relay()
    yield Scene(storage, own, ways, clock, bucket)
    direct.close()
    shared = next(name for name in stores if name != request.param)
    ways.stores = {shared: s3("moto")}
    ways.close([(shared, bucket)])


own_is_primary = pytest.mark.parametrize("scene", ["eu"], indirect=True)
own_is_other = pytest.mark.parametrize("scene", ["us"], indirect=True)


# ---------------------------------------------------------------- killed, paused, slow


@own_is_primary
def test_the_primary_is_killed_while_threads_write(scene: Scene) -> None:
    """What was acknowledged is there. What was not may be, and then it is in both regions."""
    storage, bucket = scene.storage, scene.bucket
    said: list[dict[str, list[bytes | None]]] = [{} for _ in range(4)]
    acknowledged = [0] * 4

    def write(thread: int) -> None:
        draws = random.Random(thread)
        for turn in range(25):
            key = f"{thread}-{draws.randrange(4)}"
            data = None if draws.random() < 0.3 else f"{thread} {turn}".encode()
            possible = said[thread].setdefault(key, [None])
            try:
                if data is None:
                    storage.delete(bucket, key)
                else:
                    storage.upload(bucket, key, data)
                possible[:] = [data]
                acknowledged[thread] += 1
            except (infra.ConnectionError, infra.StorageError):
                possible.append(data)

    def work(thread: int) -> None:
        if thread < 4:
            return write(thread)
        eventually(lambda: sum(acknowledged) >= 20)
        scene.own.kill()
        assert storage.relay() >= 0
        scene.own.start()
        return None

    assert in_threads(5, work) == [None] * 5
    scene.settle()
    one, other = scene.data()
    assert one == other
    for thread in said:
        for key, possible in thread.items():
            assert one.get(key) in possible, key


@own_is_primary
def test_reads_while_the_primary_is_killed(scene: Scene) -> None:
    storage, bucket = scene.storage, scene.bucket
    storage.upload(bucket, "k", b"1")
    storage.relay()
    scene.own.kill()
    assert storage.download(bucket, "k") == b"1"
    assert storage.exists(bucket, "k")
    assert [each.key for each in storage.list_objects(bucket)] == ["k"]
    with storage.open(bucket, "k") as reader:
        assert reader.read() == b"1"
    with pytest.raises(infra.ConnectionError):
        storage.delete(bucket, "k")
    scene.own.start()
    scene.settle()
    assert scene.data() == [{"k": b"1"}, {"k": b"1"}]
    storage.delete(bucket, "k")
    storage.relay()
    assert scene.data() == [{}, {}]


@own_is_other
def test_the_other_region_is_killed(scene: Scene) -> None:
    storage, bucket = scene.storage, scene.bucket
    storage.upload(bucket, "old", b"1")
    storage.upload(bucket, "gone", b"1")
    storage.relay()
    scene.own.kill()
    storage.upload(bucket, "old", b"2")
    storage.upload(bucket, "new", some(9 << 20))
    storage.delete(bucket, "gone")
    assert storage.relay() == 0
    scene.own.start()
    scene.clock.advance(10)
    assert storage.relay() == 3
    expected = {"old": b"2", "new": some(9 << 20)}
    assert scene.data() == [expected, expected]


@own_is_primary
def test_a_write_that_takes_effect_after_its_caller_has_given_up(scene: Scene) -> None:
    """A paused server has the request, and does it when it goes on."""
    storage, bucket = scene.storage, scene.bucket
    storage.upload(bucket, "k", b"old")
    storage.relay()
    scene.own.pause()
    with pytest.raises(infra.TimeoutError):
        storage.upload(bucket, "k", b"late")
    assert storage.download(bucket, "k") == b"old"  # the other region's
    scene.own.resume()
    eventually(lambda: storage.download(bucket, "k") == b"late")
    assert scene.data() == [{"k": b"late"}, {"k": b"old"}]
    scene.clock.advance(60)
    assert storage.relay() == 1
    assert scene.data() == [{"k": b"late"}, {"k": b"late"}]


@own_is_primary
def test_answers_that_come_too_late(scene: Scene) -> None:
    storage, bucket = scene.storage, scene.bucket
    storage.upload(bucket, "gone", b"1")
    storage.relay()
    proxy = scene.ways.gates["eu"].proxy
    proxy.open.clear()
    with pytest.raises(infra.TimeoutError):
        storage.delete(bucket, "gone")
    with pytest.raises(infra.TimeoutError):
        storage.upload(bucket, "new", b"1")
    assert storage.relay() == 0
    proxy.open.set()
    scene.clock.advance(70)
    assert storage.relay() == 2
    assert scene.data() == [{"new": b"1"}, {"new": b"1"}]


@own_is_other
def test_a_slow_region_does_not_hold_writes_up(scene: Scene) -> None:
    storage, bucket = scene.storage, scene.bucket
    scene.own.pause()
    began = time.monotonic()
    for number in range(10):
        storage.upload(bucket, f"k{number}", b"1")
        assert storage.download(bucket, f"k{number}") == b"1"
    assert time.monotonic() - began < 10
    assert (storage.relay(), storage.owed()) == (0, 10)
    scene.own.resume()
    scene.clock.advance(10)
    assert storage.relay() == 10
    one, other = scene.data()
    assert (one == other, len(one)) == (True, 10)


# ---------------------------------------------------------------- refusals


@dataclass
class Strict:
    """Two stand-ins, which refuse on demand."""

    eu: StrictS3
    us: StrictS3
    storage: infra.MultiRegionStorageProvider
    clock: fakes.FakeClock
    bucket: str = "tell-nobody-bucket"


@pytest.fixture
def strict() -> Iterator[Strict]:
    clock = fakes.FakeClock()
    with StrictS3() as eu, StrictS3() as us:
        stores = {
            name: infra.S3StorageProvider(s3_config(server.url), clock=fakes.FakeClock())
            for name, server in (("eu", eu), ("us", us))
        }
        outbox = outbox_on_fake(clock)
        with infra.MultiRegionStorageProvider(stores, "eu", outbox) as storage:
            made = Strict(eu, us, storage, clock)
            storage.create_bucket(made.bucket)
            storage.relay()
            yield made


def test_forbidden_is_no_outage(strict: Strict) -> None:
    storage, bucket = strict.storage, strict.bucket
    storage.upload(bucket, "k", b"1")
    storage.relay()
    calls: list[tuple[str, Callable[[], object]]] = [
        ("get_object", lambda: storage.download(bucket, "k")),
        ("list_objects", lambda: storage.list_objects(bucket)),
        ("put_object", lambda: storage.upload(bucket, "k", b"2")),
        ("delete_object", lambda: storage.delete(bucket, "k")),
    ]
    for operation, call in calls:
        strict.eu.bad_day(operation, DENIED)
        with pytest.raises(infra.StorageError) as caught:
            call()
        assert (caught.value.code, "tell-nobody" in str(caught.value)) == ("AccessDenied", False)
    assert storage.owed() == 0


def test_a_busy_primary(strict: Strict) -> None:
    storage, bucket = strict.storage, strict.bucket
    storage.upload(bucket, "k", b"1")
    storage.relay()
    strict.eu.bad_day("get_object", *[BUSY] * 4)
    assert storage.download(bucket, "k") == b"1"
    strict.eu.bad_day("put_object", *[BUSY] * 4)
    with pytest.raises(infra.StorageError):
        storage.upload(bucket, "k", b"2")
    assert storage.owed() == 1  # a server error does not say that nothing was done


def test_a_refusal_after_a_lost_answer(strict: Strict) -> None:
    """The first attempt has stored the object. The second one's refusal does not undo that."""
    storage, bucket = strict.storage, strict.bucket
    strict.eu.bad_day("put_object", LOSE, DENIED)
    with pytest.raises(infra.StorageError) as caught:
        storage.upload(bucket, "k", b"1")
    assert (caught.value.code, storage.owed()) == ("AccessDenied", 1)
    strict.clock.advance(60)
    assert storage.relay() == 1
    assert strict.us.buckets[bucket]["k"].data == b"1"


def test_a_region_that_forbids_copies(strict: Strict, caplog: pytest.LogCaptureFixture) -> None:
    storage, bucket = strict.storage, strict.bucket
    storage.upload(bucket, "a", b"1")
    strict.us.bad_day("put_object", DENIED)
    assert (storage.relay(), storage.owed()) == (0, 1)
    assert "tell-nobody" not in caplog.text
    storage.upload(bucket, "b", b"1")
    assert storage.relay() == 1
    strict.clock.advance(60)
    assert storage.relay() == 1
    assert [*strict.us.buckets[bucket]] == ["b", "a"]


def test_a_copy_that_is_cut(strict: Strict) -> None:
    """The old object stays in the other region, and no part is left."""
    storage, bucket = strict.storage, strict.bucket
    storage.upload(bucket, "k", b"old")
    storage.relay()
    storage.upload(bucket, "k", some(9 << 20))
    strict.us.bad_day("upload_part", *[LOSE] * 4)
    assert (storage.relay(), strict.us.buckets[bucket]["k"].data) == (0, b"old")
    assert strict.us.uploads == {}
    strict.clock.advance(10)
    assert storage.relay() == 1
    assert strict.us.buckets[bucket]["k"].data == some(9 << 20)


# ---------------------------------------------------------------- killed relays and writers

CHILD = """
import sys, infra

what, database, access_key, secret_key, bucket, eu, us = sys.argv[1:]

def tell(call):
    print(flush=True)

def store(url, **options):
    config = infra.S3StorageConfig(endpoint=url, access_key=access_key, secret_key=secret_key)
    return infra.S3StorageProvider(config, **options)

pool = infra.create_pool(infra.DatabaseConfig(url=database))
stores = {"eu": store(eu, observer=tell), "us": store(us, observer=tell)}
regions = infra.MultiRegionStorageProvider(stores, "eu", infra.Outbox(pool, lease=1.0))
print(flush=True)
if what == "relay":
    regions.relay(once=False)
for number in range(10_000):
    key = f"k{number % 5}"
    if number % 3:
        regions.upload(bucket, key, str(number).encode())
    else:
        regions.delete(bucket, key)
"""


@dataclass
class Ends:
    """Two servers and a database, and what a child needs to find them."""

    storage: infra.MultiRegionStorageProvider
    clock: ShiftedClock
    bucket: str
    arguments: list[str]

    def killed(self, what: str, lines: int, pause: float) -> None:
        """Run a child up to that many lines of output and a moment more, then kill it."""
        command = [sys.executable, "-c", CHILD, what, *self.arguments]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout
            for _ in range(lines):
                assert child.stdout.readline(), "the child has ended"
            time.sleep(pause)
            child.kill()

    def assert_equal(self) -> dict[str, Any]:
        one, other = (content(store, self.bucket) for store in self.storage.regions.values())
        assert one == other
        return one


@pytest.fixture
def ends(
    database: Callable[[str], str], s3: Callable[[str], infra.S3StorageProvider]
) -> Iterator[Ends]:
    url, clock = migrated(database, "postgres"), ShiftedClock()
    stores = {"eu": s3("s3"), "us": s3("moto")}
    bucket = f"test-{uuid.uuid4().hex[:20]}"
    urls = [str(store.config.endpoint) for store in stores.values()]
    with infra.create_pool(infra.DatabaseConfig(url=url)) as pool:
        empty(pool, *TABLES)
        outbox = infra.Outbox(pool, lease=1.0, clock=clock)
        storage = infra.MultiRegionStorageProvider(stores, "eu", outbox)
        storage.create_bucket(bucket)
        storage.relay()
        yield Ends(storage, clock, bucket, [url, *services.s3_keys(), bucket, *urls])
    for store in stores.values():
        remove_bucket(store, bucket)


def test_killed_relays(ends: Ends) -> None:
    draws = random.Random(11)
    storage, bucket = ends.storage, ends.bucket
    for kill in range(KILLS):
        expected = {}
        for number in range(30):
            storage.upload(bucket, f"k{number}", f"{kill} {number}".encode())
            expected[f"k{number}"] = f"{kill} {number}".encode()
        for number in range(0, 30, 3):
            storage.delete(bucket, f"k{number}")
            del expected[f"k{number}"]
        ends.killed("relay", draws.randrange(1, 90), draws.random() * 0.01)
        storage.relay()
        assert {key: data for key, (data, _, _) in ends.assert_equal().items()} == expected
        assert storage.owed() == 0


def test_killed_writers(ends: Ends) -> None:
    """What a writer has begun is looked at for a day."""
    draws = random.Random(12)
    for _ in range(KILLS):
        ends.killed("write", draws.randrange(2, 40), draws.random() * 0.01)
        for _ in range(26):
            ends.clock.ahead += 3600
            ends.storage.relay()
        ends.assert_equal()
        assert ends.storage.owed() == 0


def test_the_commands(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`infra relay --regions` pays what is owed, and `infra health` asks each region."""
    url, access, secret, bucket, eu, us = ends.arguments
    settings = {"POSTGRES_URL": url, "S3_REGIONS": "eu,us"}
    for name, endpoint in (("EU", eu), ("US", us)):
        settings[f"S3_{name}_ENDPOINT"] = endpoint
        settings[f"S3_{name}_ACCESS_KEY_ID"] = access
        settings[f"S3_{name}_SECRET_ACCESS_KEY"] = secret
    for variable, text in settings.items():
        monkeypatch.setenv(variable, text)
    with infra.Infrastructure.from_env() as services:
        services.storage.upload(bucket, "k", b"1")
    assert infra.main(["relay", "--regions", "--once"]) == 0
    assert capsys.readouterr().out == "1 done, 0 owed\n"
    assert [*ends.assert_equal()] == ["k"]
    assert infra.main(["health"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.partition(" up ")[0].strip() for line in lines]
    assert names == ["postgres", "storage eu", "storage us"]
    monkeypatch.setenv("S3_US_ENDPOINT", "http://127.0.0.1:1")
    assert infra.main(["health"]) == 1
    assert "storage us down" in " ".join(capsys.readouterr().out.split())
    monkeypatch.delenv("S3_REGIONS")
    assert infra.main(["relay", "--regions", "--once"]) == 2
    assert "S3_REGIONS" in capsys.readouterr().err
