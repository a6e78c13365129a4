"""The same subscriptions and events on the fake and on a real server.

Counts of receivers, what each handler gets, and counts of errors must agree. There are few names,
so that they meet. Ids are random: a message shows which of its side's ids it has.
"""

from __future__ import annotations

import json
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
TRACES = st.sampled_from(
    ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None, "00", 5, RuntimeError()]
)
TIMES = ["2026-01-02T12:00:00Z", "2026-01-02T14:00:00.5+02:00", "2026-13-02T12:00:00Z", "now"]
MEMBERS = st.one_of(
    st.none(),
    st.integers(),
    st.lists(st.integers(), max_size=2),
    st.sampled_from(["", "1", " 1", "x" * 255, "x" * 256, "nul\0", "é", *TIMES]),
    TRACES.filter(lambda trace: isinstance(trace, str)),
)
ENVELOPES = st.one_of(
    MEMBERS, st.dictionaries(st.sampled_from(["id", "at", "traceparent", "x"]), MEMBERS)
)


class Side:
    """A bus of one kind, and what its handlers were given."""

    def __init__(
        self, client: infra.KeyValueClient, make: Callable[..., infra.RedisEventBus]
    ) -> None:
        self.client = client
        self.clock = fakes.FakeClock()
        self.trace: Any = None
        self.bus = make(client, clock=self.clock, traceparent=self.tracer)
        self.inbox = Inbox()
        self.ids: list[str] = []  # of the buses' own events, in the order of their arrival
        self.subscriptions: list[infra.Subscription] = []

    def tracer(self) -> Any:
        if isinstance(self.trace, Exception):
            raise self.trace
        return self.trace

    def text(self, message: infra.Message) -> str:
        """Return what the handler sees, with the place of the random id instead of it."""
        id, payload = message.id, message.payload
        try:
            is_own = uuid.UUID(id or "").version == 7
        except ValueError:
            is_own = False
        if id is not None and is_own:
            if id not in self.ids:
                self.ids.append(id)
            payload, id = payload.replace(id, "<id>"), f"id {self.ids.index(id)}"
        return f"{payload} {id!r} {message.at} {message.traceparent}"

    def handler(self, number: int) -> Callable[[infra.Message], None]:
        """The third of three raises."""

        def handle(message: infra.Message) -> None:
            self.inbox(message.channel, message.pattern, f"{number} {self.text(message)}")
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
        self.sides = Side(fake, fakes.FakeEventBus), Side(real, infra.RedisEventBus)
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

    @rule(seconds=st.sampled_from([1e-6, 0.25, 86400]))
    def advance(self, seconds: float) -> None:
        for side in self.sides:
            side.clock.advance(seconds)

    @rule(trace=TRACES)
    def trace(self, trace: Any) -> None:
        for side in self.sides:
            side.trace = trace

    @rule(name=NAMES, envelope=ENVELOPES)
    def publish_an_envelope_of_another_program(self, name: str, envelope: Any) -> None:
        document = {"type": "SystemEvent.CacheCleared", "pattern": "x", "_": envelope}
        payload = json.dumps(document)
        self.both(lambda side: side.client.publish(self.prefix + name, payload))
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
        assert len(fake.ids) == len(real.ids)
        for side in self.sides:
            assert side.ids == sorted(side.ids)


@pytest.mark.parametrize("name", ["redis", "redis-6.2"])
def test_fake_and_real_agree(service: Callable[[str], str], name: str) -> None:
    machine = type("BusMachine", (Machine,), {"url": service(name)})
    run_state_machine_as_test(machine, settings=settings())
