"""The same events, groups, failures and dead letters on the fake and on a real broker.

What each group handles, what it gives up, and what the broker still has must agree. An event's note
says how often its handler raises. Ordered groups have to agree on the order too.
"""

from __future__ import annotations

import collections
import logging
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

import fakes
import infra
from tests.contract.backends import eventually
from tests.contract.test_event_bus import note
from tests.scale import scaled

GROUPS = st.sampled_from(["ordered", "loose", "é group", " bad"])
CHANNELS = st.sampled_from(["a", "b:c", "é"])
#: how often the handler raises; "never read": its payload is of another family
NOTES = st.lists(st.sampled_from(["0", "0", "0", "1", "2", "3", "9", "never read"]), max_size=4)
RETRIES = 2


class Side:
    """A stream of one kind, and what the handlers of each group were given."""

    def __init__(self, stream: infra.EventStream, prefix: str) -> None:
        self.stream, self.prefix = stream, prefix
        self.handled = collections.defaultdict[tuple[str, str], list[str]](list)
        self.consumers: dict[tuple[str, str], infra.Consumer] = {}
        self._calls = collections.Counter[tuple[str, str, str]]()

    def channel(self, name: str) -> str:
        return self.prefix + name

    def open(self, channel: str, group: str) -> None:
        def handle(message: infra.Message) -> None:
            seen = channel, group, str(message.id)
            self._calls[seen] += 1
            self.handled[channel, group].append(text(message))
            said = message.deserialize(infra.SystemEvent.CacheCleared).pattern
            if self._calls[seen] <= int(said.partition(" ")[0]):
                raise ValueError

        self.consumers[channel, group] = self.stream.consume(
            self.channel(channel), group, handle,
            ordered=group == "ordered", retries=RETRIES, backoff=0.001, visibility=60,
        )  # fmt: skip

    def close(self, key: tuple[str, str]) -> None:
        self.consumers.pop(key).close()

    def letters(self, channel: str, group: str) -> list[tuple[str, str, int, int]]:
        found = self.stream.dead_letters(self.channel(channel), group)
        return sorted(
            (each.error, text(each.message), each.failures, each.deaths) for each in found
        )


def text(message: infra.Message) -> str:
    """Return the note, of which each event has its own, or of another family the name."""
    try:
        return message.deserialize(infra.SystemEvent.CacheCleared).pattern
    except infra.SerializationError:
        return message.deserialize(infra.UserEvent.Created).username


class Machine(RuleBasedStateMachine):
    make: Callable[[], infra.EventStream]
    backend: str

    def __init__(self) -> None:
        super().__init__()
        prefix, self.clock = f"machine-{uuid.uuid4().hex}-", fakes.FakeClock()
        self.fake = fakes.FakeEventStream(self.backend, clock=self.clock)
        self.sides = Side(self.fake, prefix), Side(type(self).make(), prefix)
        self.number = 0

    def teardown(self) -> None:
        for side in self.sides:
            side.stream.close()

    def both(self, call: Callable[[Side], Any]) -> Any:
        outcomes: list[Any] = []
        for side in self.sides:
            try:
                outcomes.append(call(side))
            except infra.InfrastructureError as error:
                outcomes.append((type(error), str(error).replace(type(side.stream).__name__, "")))
        assert outcomes[0] == outcomes[1]
        return outcomes[0]

    @rule(channel=CHANNELS, group=GROUPS)
    def declare(self, channel: str, group: str) -> None:
        self.both(lambda side: side.stream.declare(side.channel(channel), group))

    @rule(channel=CHANNELS, notes=NOTES)
    def append(self, channel: str, notes: list[str]) -> None:
        events: list[infra.Event] = []
        for each in notes:
            self.number += 1
            is_read = each != "never read"
            said = f"{each} {self.number}"
            events.append(
                note(said) if is_read else infra.UserEvent.Created(uuid.UUID(int=1), said)
            )
        self.both(lambda side: len(side.stream.append_many(side.channel(channel), events)))

    @rule(channel=CHANNELS, group=GROUPS)
    def open(self, channel: str, group: str) -> None:
        if (channel, group) not in self.sides[0].consumers:
            self.both(lambda side: side.open(channel, group))
        self.settle()

    @precondition(lambda self: self.sides[0].consumers)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        self.settle()
        key = data.draw(st.sampled_from(sorted(self.sides[0].consumers)))
        self.both(lambda side: side.close(key))

    @rule()
    def settle(self) -> None:
        """Let both sides handle what they have, and compare all that they know."""
        while self.fake.deliver():
            self.clock.advance(1)  # past each backoff
        fake, real = self.sides
        counts = {key: len(notes) for key, notes in fake.handled.items()}
        eventually(lambda: {key: len(notes) for key, notes in real.handled.items()} == counts)
        for key, notes in fake.handled.items():
            is_ordered = key[1] == "ordered"
            assert notes == real.handled[key] or not is_ordered
            assert sorted(notes) == sorted(real.handled[key])
        for channel, group in fake.consumers:
            dead = fake.letters(channel, group)
            eventually(lambda: real.letters(channel, group) == dead)
            assert {letter[0] for letter in dead} <= {"ValueError", "SerializationError"}

    @rule(channel=CHANNELS, group=GROUPS)
    def bring_back(self, channel: str, group: str) -> None:
        self.settle()
        self.both(lambda side: side.stream.retry_dead(side.channel(channel), group))

    @rule(channel=CHANNELS, group=GROUPS)
    def drop(self, channel: str, group: str) -> None:
        self.settle()
        self.both(lambda side: side.stream.drop_dead(side.channel(channel), group))

    @rule(channel=CHANNELS, group=GROUPS)
    def look(self, channel: str, group: str) -> None:
        self.settle()
        pending = self.both_soon(lambda side: side.stream.pending(side.channel(channel), group))
        read = self.both(lambda side: [*map(text, side.stream.read(side.channel(channel)))])
        if "history" in self.fake.capabilities:
            trimmed = self.both(lambda side: side.stream.trim(side.channel(channel)))
            assert trimmed <= len(read) + 100
        assert pending is not None

    def both_soon(self, call: Callable[[Side], Any]) -> Any:
        """As ``both``: a real worker may not have said yet that its last event is handled."""

        def outcome(side: Side) -> Any:
            try:
                return call(side)
            except infra.InfrastructureError as error:
                return type(error)

        wanted = outcome(self.sides[0])
        eventually(lambda: outcome(self.sides[1]) == wanted)
        return wanted


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Log nothing: handlers raise thousands of times."""
    monkeypatch.setattr(logging.getLogger("infra"), "disabled", True)


def run(backend: str, make: Callable[[], infra.EventStream]) -> None:
    kind = type("Machine", (Machine,), {"make": staticmethod(make), "backend": backend})
    usual = settings.get_profile("machines")
    run_state_machine_as_test(
        kind, settings=settings(usual, max_examples=scaled(1000), stateful_step_count=15)
    )


@pytest.mark.parametrize("name", ["redis", "redis-6.2", "redis-cluster"])
def test_fake_and_redis_agree(service: Callable[[str], str], name: str) -> None:
    with infra.RedisClient(infra.CacheConfig(url=service(name), pool_size=50)) as client:

        def make() -> infra.EventStream:
            stream = infra.RedisEventStream(client)
            stream.BLOCK = 0.01
            return stream

        run("redis", make)


def test_fake_and_nats_agree(service: Callable[[str], str]) -> None:
    config = infra.NatsConfig(url=service("nats"))

    def make() -> infra.EventStream:
        stream = infra.NatsEventStream(config)
        stream.BLOCK = 0.01
        return stream

    run("nats", make)


def test_fake_and_rabbitmq_agree(service: Callable[[str], str]) -> None:
    config = infra.RabbitMQConfig(url=service("rabbitmq"))

    def make() -> infra.EventStream:
        stream = infra.RabbitMQEventStream(config)
        stream.BLOCK = 0.01
        return stream

    run("rabbitmq", make)
