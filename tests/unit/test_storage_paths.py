"""Keys of the benchmark exchange's objects."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

import infra

PATHS: list[tuple[Callable[..., str], int]] = [
    (infra.StoragePath.benchmark_dataset, 3),
    (infra.StoragePath.submission_results, 2),
    (infra.StoragePath.user_avatar, 2),
    (infra.StoragePath.verification_artifacts, 2),
]


def test_paths() -> None:
    paths = infra.StoragePath
    assert (
        paths.benchmark_dataset("bench1", "1.0.0", "data.json")
        == "benchmarks/bench1/1.0.0/data.json"
    )
    assert paths.submission_results("sub123", "results.json") == "submissions/sub123/results.json"
    assert paths.user_avatar("user456", "avatar.png") == "avatars/user456/avatar.png"
    assert paths.verification_artifacts("ver789", "log.txt") == "verifications/ver789/log.txt"


def test_ids_may_be_uuids_and_names_any_text() -> None:
    id = uuid.UUID(int=7)
    paths = infra.StoragePath
    assert paths.benchmark_dataset(id, "2", "é.json") == f"benchmarks/{id}/2/é.json"
    assert paths.submission_results(id, "all.json") == f"submissions/{id}/all.json"
    assert paths.user_avatar(id, "face.png") == f"avatars/{id}/face.png"
    assert paths.verification_artifacts(id, "log é.txt") == f"verifications/{id}/log é.txt"


@pytest.mark.parametrize(("path", "count"), PATHS)
@pytest.mark.parametrize(
    "bad", ["", "/", "a/b", "/a", "a/", ".", "..", " a", "a ", "a\0", "\ud800", "x" * 1025, None, 5]
)
def test_parts_that_would_lead_elsewhere(path: Callable[..., str], count: int, bad: Any) -> None:
    for at in range(count):
        parts: list[Any] = ["a"] * count
        parts[at] = bad
        with pytest.raises(infra.ValidationError) as caught:
            path(*parts)
        assert not isinstance(bad, str) or len(bad) < 3 or bad not in str(caught.value)


@pytest.mark.parametrize(("path", "count"), PATHS)
def test_other_parts_that_look_odd_are_kept(path: Callable[..., str], count: int) -> None:
    for part in ("...", ".a", "a..b", "a b", "%2e%2e", "\\..\\"):
        assert path(*["a"] * (count - 1), part).endswith(f"/{part}")
