"""Calls with an argument of no use: they are refused, and nothing has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

import infra


class Useless:
    """Nothing that a parameter takes."""


def broken() -> Iterator[Any]:
    """An iterable that fails half-way."""
    yield "a"
    yield "b"
    raise RuntimeError("this iterable is broken")


def check(
    method: Callable[..., Any], arguments: Sequence[Any], state: Callable[[], Any], *named: str
) -> None:
    """Each of the arguments in turn is useless; ``named``: further parameters, given by name."""
    before = state()
    for at in range(len(arguments)):
        with pytest.raises((infra.ValidationError, infra.SerializationError)):
            method(*arguments[:at], Useless(), *arguments[at + 1 :])
    for name in named:
        with pytest.raises((infra.ValidationError, infra.SerializationError)):
            method(*arguments, **{name: Useless()})
    assert state() == before


def check_items(calls: Sequence[Callable[[], Any]], state: Callable[[], Any]) -> None:
    """Each call gives several items, one of which is useless."""
    before = state()
    for call in calls:
        with pytest.raises((infra.ValidationError, infra.SerializationError)):
            call()
    assert state() == before


def check_iterable(method: Callable[[Any], Any], state: Callable[[], Any]) -> None:
    """An error of the iterable reaches the caller."""
    before = state()
    with pytest.raises(RuntimeError, match="iterable is broken"):
        method(broken())
    assert state() == before
