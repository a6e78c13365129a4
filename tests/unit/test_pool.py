"""The pool behind the clients: many threads, broken and stale resources, tiny deadlines.

The resources record their holders: no two threads share one, no waiter is lost, and at the end the
counts are right.
"""

from __future__ import annotations

import random
import signal
import threading
import time
import warnings
from typing import Any

import pytest

import infra
from infra import _Lease, _Pool
from tests.contract.backends import WAIT, in_threads
from tests.interrupts import interruptions


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
            place: _Lease[Thing] = _Lease()
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


def attempt(seconds: float = WAIT) -> infra.Attempt:
    return infra.Attempt(time.monotonic() + seconds, time.monotonic)


class Pool:
    """A pool of one for one test, and what its user does."""

    def __init__(self, maker: Maker, keep: int = 1, stale: bool = False) -> None:
        self.maker = maker
        self.pool: _Pool[Thing] = _Pool(
            "pool",
            1,
            connect=maker.connect,
            disconnect=maker.disconnect,
            is_dead=lambda thing: thing.dead,
            is_stale=lambda thing: stale,
            keep=keep,
        )

    def use(self, broken: bool = False) -> None:
        """As each caller does it."""
        place: _Lease[Thing] = _Lease()
        try:
            try:
                self.pool.acquire(place, attempt())
            finally:
                self.pool.release(place, broken=broken)
        finally:
            self.pool.release(place, broken=True)

    def find_dead(self) -> None:
        self.use()
        with_it: _Lease[Thing] = _Lease()
        self.pool.acquire(with_it, attempt()).dead = True
        self.pool.release(with_it)
        self.use()

    def wait(self) -> None:
        """Another has the only one, until the queue is longer than that."""
        place: _Lease[Thing] = _Lease()
        self.pool.acquire(place, attempt())

        def give_back() -> None:
            while not self.pool.stats().waiting and not over.is_set():
                time.sleep(0)
            self.pool.release(place)

        over = threading.Event()
        other = threading.Thread(target=give_back)
        other.start()
        try:
            self.use()
        finally:
            over.set()
            other.join()

    def close(self) -> None:
        self.use()
        self.pool.close()


@pytest.mark.parametrize("event", ["line", "opcode"])
@pytest.mark.parametrize(
    ("work", "options"),
    [
        (Pool.use, {}),
        (lambda pool: pool.use(broken=True), {}),
        (Pool.use, {"keep": 0, "stale": True}),
        (Pool.find_dead, {}),
        (Pool.wait, {}),
        (Pool.close, {}),
    ],
    ids=["use", "broken", "stale", "dead", "wait", "close"],
)
def test_an_interrupt_anywhere_loses_nothing(work: Any, options: Any, event: str) -> None:
    """Of resources one may be closed without need, or by nobody: then it is garbage."""
    pools: list[Pool] = []

    def one() -> None:
        pools[:] = [Pool(Maker(), **options)]
        work(pools[0])

    for _ in interruptions(one, event):
        if not pools:  # the pool was not made
            continue
        (of,) = pools
        pool, closed = of.pool, of.pool.closed
        assert (pool.stats().in_use, pool.stats().waiting) == (0, 0)
        assert pool.stats().open <= of.maker.live
        if closed:
            pool.close()
            assert pool.stats().open == 0
            continue
        for _ in range(2):
            of.use()
        assert pool.stats().in_use == 0
        pools.clear()


class Forgotten(infra.MockSmsService):
    """Ctrl-C comes while it is closed."""

    def _holds(self) -> bool:
        return True

    def close(self) -> None:
        raise KeyboardInterrupt


def test_ctrl_c_in_a_destructor_is_raised_again() -> None:
    """Python swallows what a destructor raises."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt), warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                Forgotten()
                threading.Event().wait(WAIT)
    finally:
        signal.signal(signal.SIGINT, usual)
