"""Moves of objects on fakes that fail."""

from __future__ import annotations

import json
from typing import Any

import pytest

import fakes
import infra

Stores = tuple[fakes.FakeStorageProvider, fakes.FakeStorageProvider]


@pytest.fixture
def stores() -> Stores:
    """A store with five objects, and one with an empty bucket."""
    old, new = fakes.FakeStorageProvider(), fakes.FakeStorageProvider()
    old.create_bucket("old")
    new.create_bucket("new")
    for name in "abcde":
        old.upload("old", name, name.encode())
    return old, new


def move_of(stores: Stores, **options: Any) -> infra.ObjectMove:
    old, new = stores
    usual: dict[str, Any] = {"source": (old, "old", ""), "target": (new, "new", ""), "threads": 1}
    return infra.ObjectMove("letters", **{**usual, **options})


def parts(stores: Stores) -> list[str]:
    return [each.key for each in stores[1].list_objects("new", ".infra-moves/letters/")]


def entries(stores: Stores) -> list[str]:
    """The keys in the manifest."""
    lines = [line for part in parts(stores) for line in stores[1].download("new", part).split()]
    return [json.loads(line)["key"] for line in lines]


def test_a_bundle_of_fakes() -> None:
    with fakes.FakeInfrastructure() as services:
        for bucket in ("old", "new"):
            services.storage.create_bucket(bucket)
        services.storage.upload("old", "a", b"a")
        place = (services.storage, "old", "")
        move = infra.ObjectMove("letters", source=place, target=(services.storage, "new", ""))
        assert move.run().counts == infra.MoveCounts(read=1, written=1)
        assert services.storage.download("new", "a") == b"a"


@pytest.mark.parametrize(
    "error",
    [
        infra.ConnectionError("gone", service="storage"),
        infra.TimeoutError("late", service="storage"),
        infra.StorageError("busy", code="SlowDown", retryable=True),
    ],
)
@pytest.mark.parametrize("method", ["open", "get_metadata"])
def test_a_store_that_fails_in_the_middle(
    stores: Stores, error: infra.InfrastructureError, method: str
) -> None:
    """The error comes through; what was moved before stays moved."""
    old, _ = stores
    move_of(stores).run(limit=2)
    old.fail_next(method, error)
    with pytest.raises(type(error)) as caught:
        move_of(stores).run()
    assert str(caught.value) == str(error)
    report = move_of(stores).run()
    assert report.resumed.read >= 2
    assert report.counts == infra.MoveCounts(read=5, written=5)
    assert move_of(stores).verify().ok


def test_what_ended_before_an_error_is_in_the_manifest(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = fakes.FakeStorageProvider.open

    def open(self: Any, bucket: str, key: str) -> Any:
        if key == "c":
            raise infra.ConnectionError("gone", service="storage")
        return usual(self, bucket, key)

    monkeypatch.setattr(fakes.FakeStorageProvider, "open", open)
    with pytest.raises(infra.ConnectionError):
        move_of(stores).run()
    assert entries(stores)[:2] == ["a", "b"]
    assert "c" not in entries(stores)


def test_a_refusal_names_the_object(stores: Stores) -> None:
    _, new = stores
    refusal = infra.StorageError("storage refused the request", code="AccessDenied")
    new.fail_next("upload", refusal)
    with pytest.raises(infra.MoveError) as caught:
        move_of(stores).run()
    assert str(caught.value) == "object a: storage refused the request"
    cause = caught.value.__cause__
    assert isinstance(cause, infra.StorageError)
    assert (caught.value.key, cause.code) == ("a", "AccessDenied")


def test_many_objects_in_few_parts(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part after so many objects, and one for the rest."""
    monkeypatch.setattr(infra.ObjectMove, "BATCH", 2)
    move_of(stores).run()
    assert len(parts(stores)) == 3
    assert entries(stores) == [*"abcde"]
    assert move_of(stores).run().resumed.read == 5
    assert len(parts(stores)) == 3


def test_the_manifest_is_written_in_time(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infra.ObjectMove, "INTERVAL", 0.0)
    move_of(stores).run()
    assert len(parts(stores)) >= 2
    assert sorted(entries(stores)) == [*"abcde"]


def test_a_lost_reply_of_the_manifest(stores: Stores) -> None:
    """The error comes through. It is no sign of another run."""
    _, new = stores
    new.fail_next("upload", infra.TimeoutError("late", service="storage"), after_apply=True)
    with pytest.raises(infra.TimeoutError):
        move_of(stores).run()
    assert move_of(stores).run().counts == infra.MoveCounts(read=5, written=5)


def test_an_absent_bucket_is_no_deleted_object(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = infra.NotFoundError("there is no such bucket", resource="bucket")
    stores[1].fail_next("upload", absent)
    with pytest.raises(infra.NotFoundError):
        move_of(stores).run()


def test_a_key_that_this_library_refuses(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program may have stored it. The move names it before any object moves."""
    old, new = stores
    found = [*old.list_objects("old")]
    odd = infra.ObjectSummary("z//z", 1, "e", found[0].last_modified)
    monkeypatch.setattr(old, "list_objects", lambda *_: iter([*found, odd]))
    with pytest.raises(infra.MoveError, match=r"^object z//z: key should not begin") as caught:
        move_of(stores).run()
    assert caught.value.key == "z//z"
    assert [*new.list_objects("new")] == []
