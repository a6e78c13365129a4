"""The same operations to the fake and to a real server.

Results, error classes, values and times to live must agree. There are few keys and values, so that
operations meet. A server's clock cannot be moved: time passes on it by
shortening the times to live (see ``grow_older``).
"""

from __future__ import annotations

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
from tests.contract.backends import Inbox, grow_older

KEYS = st.sampled_from(["a", "b", "ab", "é", " bad"])
VALUES = st.one_of(
    st.sampled_from(
        ["", "v", "w", "0", "1", "-1", "007", "1.5", str(2**63 - 1), str(-(2**63)), "nul\0"]
    ),
    st.text(max_size=3),
)
SECONDS = st.sampled_from([1000, 10_000, 20_000, 30_000, 0, -1])
TTL = st.one_of(st.none(), SECONDS)
AMOUNTS = st.sampled_from([1, 1, 2, 0, -1, 2**63 - 1, -(2**63), 2**63])
GLOBS = st.one_of(
    st.sampled_from(["*", "?", "a*", "[^a]", "[a-b]", "\\a"]), st.text("ab*?[]^-\\é", max_size=6)
)


class Machine(RuleBasedStateMachine):
    url: str

    def __init__(self) -> None:
        super().__init__()
        self.prefix = f"machine:{uuid.uuid4().hex}:"
        self.clock = fakes.FakeClock()
        self.fake = fakes.FakeRedisClient(clock=self.clock)
        self.real = infra.RedisClient(infra.CacheConfig(url=self.url))
        self.inboxes = Inbox(), Inbox()
        self.listeners: list[infra.Listener] = []
        self.delivered = 0

    def teardown(self) -> None:
        self.real.delete_many(set(self.real.scan(self.prefix + "*")))
        self.real.close()

    def both(self, call: Callable[[infra.KeyValueClient], Any]) -> Any:
        """Runs the call on both and compares; gives the answer, or None after an error."""
        outcomes: list[tuple[str, Any]] = []
        for client in (self.fake, self.real):
            try:
                outcomes.append(("answer", call(client)))
            except infra.InfrastructureError as error:
                outcomes.append(
                    ("error", (type(error), error.service, error.operation, error.retryable))
                )
        assert outcomes[0] == outcomes[1]
        return outcomes[0][1]

    @initialize()
    def seed(self) -> None:
        self.both(lambda c: c.set_with_expiry(self.prefix + "a", "1", 10_000))
        self.both(lambda c: c.set(self.prefix + "b", "v"))

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        self.both(lambda c: (c.get(self.prefix + key), c.exists(self.prefix + key)))

    @rule(keys=st.lists(KEYS, max_size=4))
    def get_many(self, keys: list[str]) -> None:
        self.both(lambda c: c.get_many([self.prefix + key for key in keys]))

    @rule(key=KEYS, value=VALUES)
    def set(self, key: str, value: str) -> None:
        self.both(lambda c: c.set(self.prefix + key, value))

    @rule(key=KEYS, value=VALUES, seconds=SECONDS)
    def set_with_expiry(self, key: str, value: str, seconds: float) -> None:
        self.both(lambda c: c.set_with_expiry(self.prefix + key, value, seconds))

    @rule(items=st.dictionaries(KEYS, VALUES, max_size=3), seconds=TTL)
    def set_many(self, items: dict[str, str], seconds: float | None) -> None:
        self.both(
            lambda c: c.set_many(
                {self.prefix + key: value for key, value in items.items()}, seconds
            )
        )

    @rule(key=KEYS, value=VALUES, seconds=TTL)
    def set_nx(self, key: str, value: str, seconds: float | None) -> None:
        self.both(lambda c: c.set_nx(self.prefix + key, value, seconds))

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        self.both(lambda c: c.delete(self.prefix + key))

    @rule(keys=st.lists(KEYS, max_size=4))
    def delete_many(self, keys: list[str]) -> None:
        self.both(lambda c: c.delete_many([self.prefix + key for key in keys]))

    @rule(key=KEYS, value=VALUES)
    def compare_and_delete(self, key: str, value: str) -> None:
        self.both(lambda c: c.compare_and_delete(self.prefix + key, value))

    @rule(key=KEYS)
    def compare_and_delete_what_is_there(self, key: str) -> None:
        self.both(lambda c: c.compare_and_delete(self.prefix + key, c.get(self.prefix + key) or ""))

    @rule(key=KEYS, seconds=SECONDS)
    def expire(self, key: str, seconds: float) -> None:
        self.both(lambda c: c.expire(self.prefix + key, seconds))

    @rule(key=KEYS, amount=AMOUNTS, ttl=TTL)
    def increment(self, key: str, amount: int, ttl: float | None) -> None:
        self.both(lambda c: c.increment(self.prefix + key, amount, ttl))

    @rule(glob=GLOBS)
    def scan(self, glob: str) -> None:
        self.both(lambda c: sorted(set(c.scan(self.prefix + glob))))

    @rule(seconds=st.sampled_from([500, 1000, 9000, 10_000, 11_000]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        grow_older(self.url, seconds, self.prefix + "*")

    @rule(
        name=KEYS,
        glob=GLOBS,
        command=st.sampled_from(["subscribe", "psubscribe", "unsubscribe", "punsubscribe"]),
    )
    def change_subscriptions(self, name: str, glob: str, command: str) -> None:
        if not self.listeners:
            self.listeners = [
                client.listen(inbox) for client, inbox in zip((self.fake, self.real), self.inboxes)
            ]
        outcomes = []
        for listener in self.listeners:
            try:
                getattr(listener, command)(
                    self.prefix + (glob if command.startswith("p") else name)
                )
                outcomes.append("done")
            except infra.InfrastructureError as error:
                outcomes.append(type(error).__name__)
        assert outcomes[0] == outcomes[1]

    @rule(channel=KEYS, message=VALUES)
    def publish(self, channel: str, message: str) -> None:
        receivers = self.both(lambda c: c.publish(self.prefix + channel, message))
        if isinstance(receivers, int):
            self.delivered += receivers
            fake, real = (sorted(inbox.wait(self.delivered), key=repr) for inbox in self.inboxes)
            assert fake == real

    @invariant()
    def times_to_live_agree(self) -> None:
        """Compare within 100 seconds, because the server's clock runs on; durations are longer."""
        for name in ("a", "b", "ab", "é"):
            fake, real = self.fake.ttl(self.prefix + name), self.real.ttl(self.prefix + name)
            if fake is None or real is None or fake == float("inf"):
                assert fake == real, name
            else:
                assert fake - 100 < real <= fake, name


@pytest.mark.parametrize("name", ["redis", "redis-6.2", "redis-cluster"])
def test_fake_and_real_agree(service: Callable[[str], str], name: str) -> None:
    machine = type("RedisMachine", (Machine,), {"url": service(name)})
    run_state_machine_as_test(machine, settings=settings())
