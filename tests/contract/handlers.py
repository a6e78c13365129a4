"""Functions whose bodies would not run when called: generators, coroutines and the like."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Any


async def coroutine(*_: Any) -> None:
    raise AssertionError("somebody awaits this")


async def async_generator(*_: Any) -> AsyncIterator[None]:
    raise AssertionError("somebody iterates over this")
    yield


def generator(*_: Any) -> Iterator[None]:
    raise AssertionError("somebody iterates over this")
    yield


class AsyncObject:
    async def __call__(self, *_: Any) -> None:
        raise AssertionError("somebody awaits this")

    async def method(self, *_: Any) -> None:
        raise AssertionError("somebody awaits this")


class GeneratorObject:
    def __call__(self, *_: Any) -> Iterator[None]:
        raise AssertionError("somebody iterates over this")
        yield


class Later(Awaitable[None]):
    def __await__(self) -> Generator[Any, None, None]:
        raise AssertionError("somebody awaits this")


#: seen before they are called
SEEN: dict[str, Callable[..., Any]] = {
    "async def": coroutine,
    "async generator": async_generator,
    "generator": generator,
    "partial": functools.partial(functools.partial(coroutine, 1), 2),
    "async __call__": AsyncObject(),
    "partial of an async __call__": functools.partial(AsyncObject()),
    "async method": AsyncObject().method,
    "generator __call__": GeneratorObject(),
}
#: seen by what they return
RETURNING: dict[str, Callable[..., Any]] = {
    "coroutine": lambda *_: coroutine(),
    "awaitable": lambda *_: Later(),
    "generator": lambda *_: generator(),
    "async generator": lambda *_: async_generator(),
    "class": lambda *_: AsyncObject()(),
    "context manager": contextlib.contextmanager(generator),
    "async context manager": contextlib.asynccontextmanager(async_generator),
}
