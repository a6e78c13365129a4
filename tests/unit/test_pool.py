"""The pool behind the clients, on resources that know who holds them: many threads, broken and stale resources, tiny
deadlines. Nobody shares a resource, nobody is forgotten, and in the end the books are right."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import pytest

import infra
from infra import _Place, _Pool
from tests.contract.backends import in_threads


class Thing:
    def __init__(self) -> None:
        self.owner: int | None = None
        self.closed = self.dead = False


class Maker:
    """Opens and closes things, and counts."""

    def __init__(self) -> None:
        self.live = self.peak = self.made = 0
        self._lock = threading.Lock()

    def connect(self, _: infra.Attempt) -> Thing:
        with self._lock:
            self.live += 1
            self.made += 1
            self.peak = max(self.peak, self.live)
        return Thing()

    def disconnect(self, thing: Thing) -> None:
        assert not thing.closed
        thing.closed = True
        with self._lock:
            self.live -= 1


@pytest.mark.parametrize(
    ("threads", "size", "keep", "trouble"),
    [
        (8, 1, 0, 0.0),
        (8, 2, 0, 0.05),
        (12, 4, 2, 0.05),
        (3, 2, 1, 0.3),
        (8, 7, 2, 0.02),
        (2, 1, 1, 0.1),
        (16, 3, 3, 0.0),
    ],
)
def test_many_threads(threads: int, size: int, keep: int, trouble: float) -> None:
    maker, chance = Maker(), random.Random(1)
    pool: _Pool[Thing] = _Pool(
        "pool",
        size,
        connect=maker.connect,
        disconnect=maker.disconnect,
        is_dead=lambda thing: thing.dead,
        is_stale=lambda thing: chance.random() < trouble,
        keep=keep,
    )

    def work(number: int) -> int:
        rnd, done = random.Random(number), 0
        for _ in range(400):
            place: _Place[Thing] = _Place()
            hasty = rnd.random() < trouble
            attempt = infra.Attempt(time.monotonic() + (0.0002 if hasty else 30), time.monotonic)
            try:
                thing = pool.take(place) or pool.acquire(place, attempt)
                assert thing.owner is None
                assert not thing.closed
                thing.owner = number
                if rnd.random() < 0.1:
                    time.sleep(0)  # gives way to another thread
                assert thing.owner == number
                thing.dead, thing.owner = rnd.random() < trouble, None
                done += 1
            except infra.TimeoutError:
                assert hasty
            finally:
                pool.release(place, broken=rnd.random() < trouble)
        return done

    results: list[Any] = in_threads(threads, work)
    assert all(isinstance(done, int) and done > 300 for done in results), results
    assert maker.peak <= size
    found = pool.stats()
    assert found == infra.PoolStats(size, maker.live, 0, maker.live, 0)
    if not trouble:
        assert maker.made <= size
    pool.close()
    assert (maker.live, pool.size) == (0, 0)
