"""The same operations to FakeCacheProvider and to the cache on a real server.

Results, error classes and times to live must agree. There are few keys and values, so that
operations meet.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

import fakes
import infra
from tests.contract.backends import grow_older

KEYS = st.sampled_from(["a", "b", "ab", "a:b", "é", " bad", "~a"])
VALUES = st.one_of(
    st.sampled_from(
        [None, True, 0, 1, -1, 1.5, "", "1", [], {}, float("nan"), (1,), {1: 1}, "nul\0"]
    ),
    st.recursive(
        st.one_of(st.integers(), st.text(max_size=2)),
        lambda v: st.lists(v) | st.dictionaries(st.text(), v),
        max_leaves=8,  # drawing a hundred took half of the time of the machine
    ),
)
SECONDS = st.sampled_from([1000, 10_000, 20_000, 30_000, 0, -1])
TTL = st.one_of(st.none(), SECONDS)
AMOUNTS = st.sampled_from([1, 1, 2, 0, -1, 2**63 - 1, -(2**63), 2**63])
GLOBS = st.one_of(
    st.sampled_from(["*", "?", "a*", "*:*", "[^a]", "~*"]), st.text("ab*?[]^-\\é:", max_size=6)
)


class Machine(RuleBasedStateMachine):
    url: str

    def __init__(self) -> None:
        super().__init__()
        self.run = uuid.uuid4().hex
        self.prefix = f"machine[{self.run}]*:"  # no glob
        self.clock = fakes.FakeClock()
        self.fake_client = fakes.FakeRedisClient(clock=self.clock)
        self.client = infra.RedisClient(infra.CacheConfig(url=self.url))
        self.caches: list[infra.RedisCacheProvider] = [
            fakes.FakeCacheProvider(self.fake_client, self.prefix),
            infra.RedisCacheProvider(self.client, self.prefix, clock=self.clock),
        ]
        self.locks: list[list[infra.CacheLock]] = []

    def teardown(self) -> None:
        self.client.delete_many(set(self.client.scan(f"machine?{self.run}*")))
        self.client.close()

    def both(self, call: Callable[[infra.RedisCacheProvider], Any]) -> Any:
        """Runs the call on both and compares; gives the answer, or None after an error."""
        return self.compared([functools.partial(call, cache) for cache in self.caches])

    def compared(self, calls: list[Callable[[], Any]]) -> Any:
        outcomes: list[tuple[str, Any]] = []
        for call in calls:
            try:
                outcomes.append(("answer", call()))
            except infra.InfrastructureError as error:
                outcomes.append(
                    ("error", (type(error), error.service, error.operation, error.retryable))
                )
        assert repr(outcomes[0]) == repr(outcomes[1])  # True is no 1
        return outcomes[0][1]

    @initialize()
    def seed(self) -> None:
        self.both(lambda c: c.set("a", 1, 10_000))
        self.both(lambda c: c.set("b", None))

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        self.both(lambda c: (c.get(key, infra.MISSING), c.exists(key)))

    @rule(keys=st.lists(KEYS, max_size=4))
    def get_many(self, keys: list[str]) -> None:
        self.both(lambda c: c.get_many(keys))

    @rule(key=KEYS, value=VALUES, ttl=TTL)
    def set(self, key: str, value: Any, ttl: float | None) -> None:
        self.both(lambda c: c.set(key, value, ttl))

    @rule(items=st.dictionaries(KEYS, VALUES, max_size=3), ttl=TTL)
    def set_many(self, items: dict[str, Any], ttl: float | None) -> None:
        self.both(lambda c: c.set_many(items, ttl))

    @rule(key=KEYS, value=VALUES, ttl=TTL)
    def set_nx(self, key: str, value: Any, ttl: float | None) -> None:
        self.both(lambda c: c.set_nx(key, value, ttl))

    @rule(
        key=st.sampled_from(["a", "b"]), text=st.sampled_from(["", "{", "NaN", " [1] ", "1 2", "7"])
    )
    def another_program_writes(self, key: str, text: str) -> None:
        for client in (self.fake_client, self.client):
            client.set(self.prefix + key, text)

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        self.both(lambda c: c.delete(key))

    @rule(glob=GLOBS)
    def delete_pattern(self, glob: str) -> None:
        self.both(lambda c: c.delete_pattern(glob))

    @rule(key=KEYS, ttl=SECONDS)
    def expire(self, key: str, ttl: float) -> None:
        self.both(lambda c: c.expire(key, ttl))

    @rule(key=KEYS, amount=AMOUNTS, ttl=TTL)
    def increment(self, key: str, amount: int, ttl: float | None) -> None:
        self.both(lambda c: c.increment(key, amount, ttl))

    @rule(key=KEYS, value=VALUES, ttl=TTL)
    def get_or_set(self, key: str, value: Any, ttl: float | None) -> None:
        self.both(lambda c: c.get_or_set(key, lambda: value, ttl))

    @rule(key=KEYS, limit=st.sampled_from([0, 1, 2, 3]), window=SECONDS)
    def check_rate_limit(self, key: str, limit: int, window: float) -> None:
        def check(cache: infra.RedisCacheProvider) -> Any:
            found = cache.check_rate_limit(key, limit, window)
            return found.allowed, found.remaining, found.limit, found.retry_after > 0

        self.both(check)

    @rule(key=KEYS, ttl=SECONDS)
    def acquire(self, key: str, ttl: float) -> None:
        def acquire(cache: infra.RedisCacheProvider) -> bool:
            locks.append(cache.lock(key, ttl, timeout=0))
            return locks[-1].acquire()

        locks: list[infra.CacheLock] = []
        if self.both(acquire) is True:
            self.locks.append(locks)

    @rule(number=st.integers(0, 5))
    def release(self, number: int) -> None:
        if self.locks:
            locks = self.locks[number % len(self.locks)]
            self.compared([lock.release for lock in locks])

    @rule(seconds=st.sampled_from([500, 1000, 9000, 10_000, 11_000]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        grow_older(self.url, seconds, f"machine?{self.run}*")

    @invariant()
    def keys_and_times_to_live_agree(self) -> None:
        """Compare within 100 seconds, because the server's clock runs on; durations are longer."""
        names = sorted(self.fake_client.scan())
        assert names == sorted(set(self.client.scan(f"machine?{self.run}*")))
        for name in names:
            fake, real = self.fake_client.ttl(name) or 0, self.client.ttl(name) or 0
            assert fake == real or fake - 100 < real <= fake, name


@pytest.mark.parametrize("name", ["redis", "redis-6.2", "redis-cluster"])
def test_fake_and_real_agree(service: Callable[[str], str], name: str) -> None:
    machine = type("CacheMachine", (Machine,), {"url": service(name)})
    # On the others it is the client that differs.
    examples = settings().max_examples // (1 if name == "redis" else 4)
    run_state_machine_as_test(machine, settings=settings(max_examples=examples))
