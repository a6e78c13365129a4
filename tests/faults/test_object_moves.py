"""Moves of objects on bad days. `make prove PART=kills` kills twenty times as many runs."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import infra
from tests import services
from tests.conftest import s3_config
from tests.contract.backends import remove_bucket
from tests.contract.test_storage_provider import Raw, some
from tests.scale import scaled

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("no_aws")]

ROOT = Path(__file__).resolve().parent.parent.parent
MIB = 1 << 20
OBJECTS = 80
KILLS = scaled(40)  # in each direction
PAIRS = [("moto", "s3"), ("s3", "moto")]


@dataclass
class Stores:
    """Two stores, and buckets that go with the test."""

    source: infra.S3StorageProvider
    target: infra.S3StorageProvider
    made: list[tuple[infra.S3StorageProvider, str]] = field(default_factory=list)

    def bucket(self, store: infra.S3StorageProvider) -> str:
        self.made.append((store, f"test-{uuid.uuid4().hex[:20]}"))
        store.create_bucket(self.made[-1][1])
        return self.made[-1][1]

    def move(self, old: str, new: str, **options: Any) -> infra.ObjectMove:
        source, target = (self.source, old, "users/"), (self.target, new, "people/")
        return infra.ObjectMove("avatars", source=source, target=target, **options)


@pytest.fixture
def stores(
    request: pytest.FixtureRequest, s3: Callable[[str], infra.S3StorageProvider]
) -> Iterator[Stores]:
    source, target = request.param
    made = Stores(s3(source), s3(target))
    yield made
    for store, bucket in made.made:
        remove_bucket(store, bucket)


def data_of(number: int) -> bytes:
    return some(9 * MIB if number == OBJECTS // 2 else 100 * number)


def stored(store: infra.S3StorageProvider, bucket: str) -> dict[str, bytes]:
    keys = [each.key for each in store.list_objects(bucket)]
    return {key: store.download(bucket, key) for key in keys if ".infra-moves/" not in key}


def entries(store: infra.S3StorageProvider, bucket: str) -> list[dict[str, Any]]:
    parts = [each.key for each in store.list_objects(bucket, "people/.infra-moves/")]
    lines = [line for part in parts for line in store.download(bucket, part).splitlines()]
    return [json.loads(line) for line in lines]


CHILD = """
import sys, infra

old_url, new_url, access_key, secret_key, old, new = sys.argv[1:]

def tell(call):
    if call.operation == "upload":
        print(flush=True)

def store(url, **options):
    config = infra.S3StorageConfig(endpoint=url, access_key=access_key, secret_key=secret_key)
    return infra.S3StorageProvider(config, **options)

class Move(infra.ObjectMove):
    BATCH = 5

with store(old_url) as source, store(new_url, observer=tell) as target:
    Move("avatars", source=(source, old, "users/"), target=(target, new, "people/")).run()
"""


@pytest.mark.parametrize("stores", PAIRS, indirect=True)
def test_killed_and_resumed(stores: Stores) -> None:
    """No object is lost or damaged, and what the manifest holds does not move again."""
    draws = random.Random(7)
    old = stores.bucket(stores.source)
    for number in range(OBJECTS):
        stores.source.upload(old, f"users/{number:03}", data_of(number), "image/png")
    expected = {f"people/{number:03}": data_of(number) for number in range(OBJECTS)}
    urls = [str(store.config.endpoint) for store in (stores.source, stores.target)]
    inside = 0
    for kill in range(KILLS):
        new = stores.bucket(stores.target)
        command = [sys.executable, "-c", CHILD, *urls, *services.s3_keys(), old, new]
        end = (kill + 1) * OBJECTS // (KILLS + 1)
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout
            for _ in range(end):
                assert child.stdout.readline(), "the child has ended"
            time.sleep(draws.random() * 0.01)
            child.kill()
        known = len(entries(stores.target, new))
        inside += 0 < known < OBJECTS
        report = stores.move(old, new).run()
        assert report.counts == infra.MoveCounts(read=OBJECTS, written=OBJECTS)
        assert report.resumed == infra.MoveCounts(read=known, written=known)
        assert stored(stores.target, new) == expected
        assert stores.target.get_metadata(new, "people/001").content_type == "image/png"
        assert stores.move(old, new).verify() == infra.Verification("avatars", OBJECTS, 0, 0, 0)
        assert len(entries(stores.target, new)) == OBJECTS
    assert inside * 5 >= KILLS * 4, f"{inside} of {KILLS} runs were killed in the middle"


@pytest.mark.parametrize("stores", PAIRS, indirect=True)
def test_a_large_object_is_never_in_memory(stores: Stores) -> None:
    """One of 64 MiB takes about three parts of 8 MiB. Content is compared by SHA-256."""
    old, new = stores.bucket(stores.source), stores.bucket(stores.target)
    stores.source.upload(old, "users/large", Raw(some(64 * MIB), step=MIB))  # type: ignore[arg-type]
    stores.source.upload(old, "users/small", b"small")
    stores.move(old, stores.bucket(stores.target)).run(limit=1)  # imports
    tracemalloc.start()
    try:
        assert stores.move(old, new, threads=1).run().counts.written == 2
        assert stores.move(old, new, threads=1).verify().ok
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40 * MIB
    assert stores.target.get_metadata(new, "people/large").size == 64 * MIB


@pytest.mark.parametrize("stores", PAIRS[:1], indirect=True)
def test_a_store_that_does_not_answer(stores: Stores) -> None:
    """Its error comes through, and the run can be repeated."""
    old, new = stores.bucket(stores.source), stores.bucket(stores.target)
    stores.source.upload(old, "users/a", b"a")
    url = f"http://127.0.0.1:{services.free_port()}"
    with infra.S3StorageProvider(s3_config(url, connect_timeout=1.0, read_timeout=1.0)) as down:
        for source, target in ((down, stores.target), (stores.source, down)):
            move = infra.ObjectMove(
                "avatars", source=(source, old, "users/"), target=(target, new, "people/")
            )
            for call in (move.run, move.verify):
                with pytest.raises(infra.ConnectionError) as caught:
                    call()
                assert (caught.value.service, caught.value.retryable) == ("storage", True)
    assert stores.move(old, new).run().counts == infra.MoveCounts(read=1, written=1)


@pytest.mark.parametrize("stores", PAIRS[:1], indirect=True)
def test_metadata_that_this_library_refuses(stores: Stores) -> None:
    """Another program may have stored it. The error names the key, and shows no value."""
    from tests.contract.backends import raw_s3

    old, new = stores.bucket(stores.source), stores.bucket(stores.target)
    raw = raw_s3(stores.source.config)
    stores.source.upload(old, "users/a", b"a")
    metadata = {"made_by": "tell-nobody"}
    raw.put_object(Bucket=old, Key="users/b", Body=b"b", Metadata=metadata)
    with pytest.raises(infra.MoveError) as caught:
        stores.move(old, new, threads=1).run()
    assert caught.value.key == "users/b"
    assert str(caught.value).startswith("object users/b: names of metadata should be ASCII")
    assert "nobody" not in str(caught.value)
    assert [each["key"] for each in entries(stores.target, new)] == ["users/a"]
    left_out = stores.move(old, new, rename=lambda key: None if key == "b" else key)
    assert left_out.run().counts == infra.MoveCounts(read=2, written=1, dropped=1)


SCRIPT = """
import infra

def moves(services):
    yield infra.ObjectMove(
        "avatars",
        source=(services.storage, "{old}", "users/"),
        target=(services.storage, "{new}", "people/"),
    )
"""


@pytest.mark.parametrize("stores", [("s3", "s3")], indirect=True)
def test_the_command(
    stores: Stores,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    old, new = stores.bucket(stores.source), stores.bucket(stores.target)
    for name in "abc":
        stores.source.upload(old, f"users/{name}", name.encode())
    access_key, secret_key = services.s3_keys()
    monkeypatch.setenv("S3_ENDPOINT", str(stores.source.config.endpoint))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret_key)
    script = tmp_path / "avatars.py"
    script.write_text(SCRIPT.format(old=old, new=new))
    arguments = ["move", str(script)]
    assert infra.main([*arguments, "--dry-run"]) == 0
    assert stored(stores.target, new) == {}
    assert infra.main([*arguments, "--limit", "1", "--json"]) == 1
    assert infra.main([*arguments, "--json"]) == 0
    assert infra.main([*arguments, "--verify"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("avatars: would be: 3 read, 3 written (")
    first, second = (json.loads(line) for line in lines[1:3])
    assert (first["read"], first["done"], first["path"]) == (1, False, "")
    assert (second["written"], second["resumed"]["written"], second["done"]) == (3, 1, True)
    assert lines[3] == "avatars: 3 compared, all equal"
    stores.target.delete(new, "people/b")
    assert infra.main([*arguments, "--verify"]) == 1
    assert infra.main([*arguments, "--restart"]) == 0
    assert infra.main([*arguments, "--verify"]) == 0
