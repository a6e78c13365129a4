"""The same subscriptions and events on the fake and on a real server.

Counts of receivers, what each handler gets, and counts of errors must agree. There are few names,
so that they meet.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

import fakes
import infra
from tests.contract.backends import Inbox

NAMES = st.sampled_from(["a", "b", "ab", "é", " bad"])
GLOBS = st.one_of(
    st.sampled_from(["*", "?", "a*", "[^a]", "b"]), st.text("ab*?[]^-\\é", min_size=1, max_size=5)
)


class Side:
    """A bus of one kind, and what its handlers were given."""

    def __init__(self, client: infra.KeyValueClient, bus: infra.RedisEventBus) -> None:
        self.client = client
        self.bus = bus
        self.inbox = Inbox()
        self.subscriptions: list[infra.Subscription] = []

    def handler(self, number: int) -> Callable[[infra.Message], None]:
        """The third of three raises."""

        def handle(message: infra.Message) -> None:
            self.inbox(message.channel, message.pattern, f"{number} {message.payload}")
            if number % 3 == 2:
                message.deserialize(infra.BenchmarkEvent)

        return handle


class Machine(RuleBasedStateMachine):
    url: str

    def __init__(self) -> None:
        super().__init__()
        self.prefix = f"machine:{uuid.uuid4().hex}:"
        fake = fakes.FakeRedisClient()
        real = infra.RedisClient(infra.CacheConfig(url=self.url))
        self.sides = Side(fake, fakes.FakeEventBus(fake)), Side(real, infra.RedisEventBus(real))
        self.handlers = 0

    def teardown(self) -> None:
        for side in self.sides:
            side.bus.close()
            side.client.close()

    def both(self, call: Callable[[Side], Any]) -> Any:
        outcomes: list[tuple[str, Any]] = []
        for side in self.sides:
            try:
                outcomes.append(("answer", call(side)))
            except infra.InfrastructureError as error:
                outcomes.append(
                    ("error", (type(error), error.service, error.operation, error.retryable))
                )
        assert outcomes[0] == outcomes[1]
        return outcomes[0][1]

    def join(
        self, call: Callable[[Side, Callable[[infra.Message], None]], infra.Subscription]
    ) -> None:
        self.both(lambda side: side.subscriptions.append(call(side, side.handler(self.handlers))))
        self.handlers += 1

    @rule(name=NAMES)
    def subscribe(self, name: str) -> None:
        self.join(lambda side, handler: side.bus.subscribe(self.prefix + name, handler))

    @rule(names=st.lists(NAMES, max_size=3))
    def subscribe_many(self, names: list[str]) -> None:
        self.join(
            lambda side, handler: side.bus.subscribe_many(
                [self.prefix + name for name in names], handler
            )
        )

    @rule(glob=GLOBS)
    def psubscribe(self, glob: str) -> None:
        self.join(lambda side, handler: side.bus.psubscribe(self.prefix + glob, handler))

    @precondition(lambda self: self.sides[0].subscriptions)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(self.sides[0].subscriptions) - 1))
        self.both(lambda side: side.subscriptions[at].close())

    @rule(name=NAMES, text=st.sampled_from(["", "x", "é", "nul\0"]))
    def publish(self, name: str, text: str) -> None:
        event = infra.SystemEvent.CacheCleared(text)
        self.both(lambda side: side.bus.publish(self.prefix + name, event))
        self.compare()

    @rule(name=NAMES)
    def publish_what_is_no_event(self, name: str) -> None:
        self.both(lambda side: side.client.publish(self.prefix + name, "no event"))
        self.compare()

    def compare(self) -> None:
        """When the last event is handled, all before it have been."""
        for side in self.sides:
            last = Inbox()
            name = f"last:{self.prefix}"
            with side.bus.subscribe(
                name, lambda message: last(message.channel, None, message.payload)
            ):
                assert side.client.publish(name, "last") == 1
                last.wait(1)
        fake, real = self.sides
        assert sorted(fake.inbox.messages, key=repr) == sorted(real.inbox.messages, key=repr)
        assert fake.bus.handler_errors == real.bus.handler_errors


@pytest.mark.parametrize("name", ["redis", "redis-6.2"])
def test_fake_and_real_agree(service: Callable[[str], str], name: str) -> None:
    machine = type("BusMachine", (Machine,), {"url": service(name)})
    run_state_machine_as_test(machine, settings=settings())
