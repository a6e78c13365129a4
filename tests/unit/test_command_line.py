"""python -m infra: what it answers, and its exit codes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import infra
from tests.services import free_port


@pytest.mark.parametrize("argv", [["--help"], ["health", "--help"], ["--version"]])
def test_it_answers(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        infra.main(argv)
    assert done.value.code == 0
    assert "infra" in capsys.readouterr().out


@pytest.mark.parametrize("argv", [[], ["no-such-command"], ["health", "--no-such-option"]])
def test_wrong_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        infra.main(argv)
    assert done.value.code == 2
    assert "usage: infra" in capsys.readouterr().err


def test_a_wrong_setting(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("REDIS_URL", "http://nowhere")
    assert infra.main(["health"]) == 2
    assert capsys.readouterr().err.startswith("infra: CacheConfig.url (REDIS_URL) should be redis://")


def test_health(
    service: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REDIS_URL", service("redis"))
    assert infra.main(["health"]) == 0
    assert capsys.readouterr().out.startswith("redis    up    Redis ")


@pytest.mark.real
def test_health_of_what_is_down(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("REDIS_URL", f"redis://:hidden@127.0.0.1:{free_port()}")
    assert infra.main(["health"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("redis    down  redis at 127.0.0.1:")
    assert "hidden" not in out
