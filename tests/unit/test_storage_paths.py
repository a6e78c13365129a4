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
    id = uuid.UUID(int=7)
    assert (
        infra.StoragePath.benchmark_dataset("bench1", "1.0.0", "data.json")
        == "benchmarks/bench1/1.0.0/data.json"
    )
    assert (
        infra.StoragePath.submission_results(id, "all.json") == f"submissions/{id}/results/all.json"
    )
    assert infra.StoragePath.user_avatar(id, "face.png") == f"users/{id}/avatar/face.png"
    assert (
        infra.StoragePath.verification_artifacts(id, "log é.txt") == f"verifications/{id}/log é.txt"
    )


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
