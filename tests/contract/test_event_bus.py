"""The contract of RedisEventBus, Subscription and Message: one class, over every client."""

from __future__ import annotations

import json
import math
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

import fakes
import infra
from tests.contract import handlers, refusals
from tests.contract.backends import (
    Inbox,
    KeyValueBackend,
    eventually,
    fake_key_value_backend,
    in_threads,
    real_key_value_backend,
)
from tests.contract.base import Contract
from tests.contract.globs import GLOB_NAMES, GLOBS
from tests.contract.test_key_value_client import BAD_KEYS
from tests.contract.texts import Text, any_text, plain

A, B = uuid.UUID(int=1), uuid.UUID(int=2)
NOON = datetime(2026, 1, 2, 12, 30, 15, 5, tzinfo=timezone.utc)
EVENTS: list[infra.Event] = [
    infra.BenchmarkEvent.Created(A, "é日本🎉", created_by=B),
    infra.BenchmarkEvent.Updated(A, "1.1.0", ""),
    infra.BenchmarkEvent.StatusChanged(A, "draft", "under_review"),
    infra.BenchmarkEvent.Deprecated(A, 'a "reason"\n'),
    infra.SubmissionEvent.Created(A, B, "model", 0.1),
    infra.SubmissionEvent.Created(A, B, "model", None),
    infra.SubmissionEvent.VerificationStarted(A),
    infra.SubmissionEvent.VerificationCompleted(A, "audited"),
    infra.SubmissionEvent.LeaderboardPositionChanged(A, B, None, 1),
    infra.UserEvent.Created(A, "ada"),
    infra.UserEvent.RoleChanged(A, "registered", "admin"),
    infra.UserEvent.ProfileUpdated(A, ("display_name", "profile")),
    infra.UserEvent.ProfileUpdated(A, ()),
    infra.SystemEvent.MaintenanceScheduled(NOON, NOON + timedelta(hours=1), "disks"),
    infra.SystemEvent.HealthCheckFailed("redis", "TimeoutError"),
    infra.SystemEvent.CacheCleared("benchmark:*"),
]
UNWRITABLE: list[infra.Event] = [
    infra.SubmissionEvent.Created(A, B, "model", math.nan),
    infra.SubmissionEvent.Created(A, B, "model", -math.inf),
    infra.SubmissionEvent.Created(A, B, "model", True),
    infra.SubmissionEvent.Created(A, B, None),  # type: ignore[arg-type]
    infra.SubmissionEvent.Created("1", B, "model"),  # type: ignore[arg-type]
    infra.SubmissionEvent.LeaderboardPositionChanged(A, B, 1.0, 1),  # type: ignore[arg-type]
    infra.SubmissionEvent.LeaderboardPositionChanged(A, B, 1, 2**63),
    infra.UserEvent.ProfileUpdated(A, ["name"]),  # type: ignore[arg-type]
    infra.UserEvent.ProfileUpdated(A, "name"),  # type: ignore[arg-type]
    infra.UserEvent.ProfileUpdated(A, ("name", 5)),  # type: ignore[arg-type]
    infra.UserEvent.Created(A, "nul\0"),
    infra.UserEvent.Created(A, "\ud800"),
    infra.SystemEvent.MaintenanceScheduled(NOON.replace(tzinfo=None), NOON, "naive"),
    infra.SystemEvent.MaintenanceScheduled(NOON, "2026-01-01", "text"),  # type: ignore[arg-type]
    infra.SystemEvent.MaintenanceScheduled(NOON, None, "none"),  # type: ignore[arg-type]
]

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"  # as in W3C Trace Context
HEX = "0123456789abcdef"
#: what is no traceparent, by the rules of W3C Trace Context, section 3.2.2
NO_TRACES: list[Any] = [
    "",
    "00",
    TRACE[:-1],
    TRACE.upper(),
    TRACE.replace("-", "_"),
    f" {TRACE}",
    f"{TRACE}\n",
    f"{TRACE}-00",  # version 00 has no further part
    f"ff{TRACE[2:]}",  # the version that is not allowed
    f"00-{'0' * 32}-{HEX}-01",
    f"00-{HEX * 2}-{'0' * 16}-01",
    f"cc{TRACE[2:]}.x",
    f"cc{TRACE[2:]}-{'x' * 100_000}",
    b"00",
    5,
    False,
    ["00"],
]
#: the JSON of members "_" of which nothing is of use
MALFORMED = {
    "null": "null",
    "false": "false",
    "number": "5",
    "text": '"id"',
    "list": '["id","at","traceparent"]',
    "empty": "{}",
    "nulls": '{"id":null,"at":null,"traceparent":null}',
    "numbers": '{"id":5,"at":1767355200,"traceparent":0}',
    "objects": '{"id":{"id":"1"},"at":{},"traceparent":{}}',
    "lists": f'{{"id":["1"],"at":["2026-01-02T12:00:00Z"],"traceparent":["{TRACE}"]}}',
    "empty texts": '{"id":"","at":"","traceparent":""}',
    "blanks": f'{{"id":" 1","at":" 2026-01-02T12:00:00Z","traceparent":" {TRACE}"}}',
    "NUL": f'{{"id":"1\\u0000","at":"2026-01-02T12:00:00Z\\u0000","traceparent":"{TRACE}\\u0000"}}',
    "surrogates": '{"id":"\\ud800","at":"\\ud800","traceparent":"\\ud800"}',
    "no such time": '{"at":"2026-02-30T12:00:00Z"}',
    "naive": '{"at":"2026-01-02T12:00:00"}',
    "before the year 1": '{"at":"0001-01-01T00:00:00+01:00"}',
    "other names": f'{{"ID":"1","time":"2026-01-02T12:00:00Z","tracestate":"{TRACE}"}}',
    "long texts": '{"id":"LONG","at":"LONG","traceparent":"LONG"}'.replace("LONG", "9" * 100_000),
    "256 characters": f'{{"id":"{"x" * 256}"}}',
    "many members": json.dumps({f"id{number}": number for number in range(20_000)}),
    "deep": f'{{"id":{"[" * 90}{"]" * 90}}}',
}


def note(text: object) -> infra.Event:
    """An event that says no more than this."""
    return infra.SystemEvent.CacheCleared(str(text))


class Heard:
    """A handler that keeps the channel, the pattern and the note of each message."""

    def __init__(self) -> None:
        self.inbox = Inbox()

    def __call__(self, message: infra.Message) -> None:
        text = message.deserialize(infra.SystemEvent.CacheCleared).pattern
        self.inbox(message.channel, message.pattern, text)

    def wait(self, count: int) -> list[tuple[str, str | None, str]]:
        return self.inbox.wait(count)

    def notes(self, count: int) -> list[str]:
        return [text for _, _, text in self.wait(count)]

    @property
    def messages(self) -> list[tuple[str, str | None, str]]:
        return self.inbox.messages


class Kept:
    """A handler that keeps the messages themselves."""

    def __init__(self) -> None:
        self._messages: list[infra.Message] = []

    def __call__(self, message: infra.Message) -> None:
        self._messages.append(message)

    def wait(self, count: int) -> list[infra.Message]:
        eventually(lambda: len(self._messages) >= count)
        return list(self._messages)


def envelope(message: infra.Message) -> tuple[str | None, datetime | None, str | None]:
    return message.id, message.at, message.traceparent


@dataclass
class BusBackend:
    """``bus()`` makes buses on one server, each with a client of its own."""

    redis: KeyValueBackend
    make: Callable[..., infra.RedisEventBus]
    made: list[infra.RedisEventBus] = field(default_factory=list)

    def bus(self, *options: Any, observer: Any = None, **more: Any) -> infra.RedisEventBus:
        client = self.redis.connect(observer=observer)
        self.made.append(self.make(client, *options, **more))
        return self.made[-1]

    def channel(self, name: str) -> str:
        return self.redis.key(name)

    def close(self) -> None:
        for bus in self.made:
            bus.close()


class Tracer(infra.Observer):
    """Has a current span, and keeps what it hears of handlers."""

    def __init__(self) -> None:
        self.heard: list[tuple[str | None, str]] = []

    def traceparent(self) -> str | None:
        return TRACE

    def handling(self, message: infra.Message) -> None:
        self.heard.append((message.traceparent, "before"))

    def handled(self, message: infra.Message, outcome: str) -> None:
        self.heard.append((message.traceparent, outcome))


def family_of(event: infra.Event) -> type[infra.Event]:
    """The class just below Event."""
    return next(each for each in type(event).__mro__ if infra.Event in each.__bases__)


class RedisEventBusContract(Contract):
    port = infra.RedisEventBus

    # --- events

    def test_a_useless_argument_changes_nothing(self, backend: BusBackend) -> None:
        heard, channel, bus, other = Heard(), backend.channel("c"), backend.bus(), backend.bus()
        other.subscribe(channel, heard)

        def listeners() -> int:
            return other.publish(channel, note("last"))

        for method, *arguments in (
            (bus.publish, channel, note("x")),
            (bus.subscribe, channel, heard),
            (bus.subscribe_many, [channel], heard),
            (bus.psubscribe, channel, heard),
        ):
            refusals.check(method, arguments, listeners)
        with pytest.raises(infra.ValidationError):
            bus.subscribe_many([channel, refusals.Useless()], heard)  # type: ignore[list-item]
        refusals.check_iterable(lambda many: bus.subscribe_many([channel, *many], heard), listeners)
        refusals.check_iterable(lambda many: bus.subscribe_many(many, heard), listeners)
        assert {*heard.notes(12)} == {"last"}

    @any_text
    def test_text_of_any_subclass(self, backend: BusBackend, text: Text) -> None:
        heard, channel, glob = Heard(), backend.channel("c"), backend.channel("d*")
        bus = backend.bus()
        bus.subscribe(text(channel), heard)
        bus.subscribe_many([text(backend.channel("e"))], heard)
        leave = bus.psubscribe(text(glob), heard)
        for name in ("c", "d", "e"):
            event = infra.SystemEvent.CacheCleared(text("é"))
            assert bus.publish(text(backend.channel(name)), event) == 1
        assert plain(heard.inbox.wait(3)) == [
            (channel, None, "é"),
            (backend.channel("d"), glob, "é"),
            (backend.channel("e"), None, "é"),
        ]
        leave.close()
        assert bus.publish(backend.channel("d"), event) == 0
        assert plain(infra.EventChannel.benchmark_specific(text("a:b"))) == "events:benchmark:a%3Ab"

    @pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__qualname__)
    def test_an_event_arrives_as_it_was_published(
        self, backend: BusBackend, event: infra.Event
    ) -> None:
        bus, channel, received, came = backend.bus(), backend.channel("c"), [], threading.Event()

        def handler(message: infra.Message) -> None:
            received.append(
                (message.channel, message.pattern, message.deserialize(family_of(event)))
            )
            came.set()

        bus.subscribe(channel, handler)
        assert backend.bus().publish(channel, event) == 1
        assert came.wait(10)
        assert received == [(channel, None, event)]
        assert isinstance(received[0][2], type(event))

    @pytest.mark.parametrize("event", UNWRITABLE, ids=repr)
    def test_what_json_cannot_say_is_not_sent(
        self, backend: BusBackend, event: infra.Event
    ) -> None:
        bus, channel, heard = backend.bus(), backend.channel("c"), Heard()
        bus.subscribe(channel, heard)
        with pytest.raises(infra.SerializationError, match=r"^\w+\.\w+: "):
            bus.publish(channel, event)
        bus.publish(channel, note(1))
        assert heard.notes(1) == ["1"]

    @pytest.mark.parametrize(
        "event", [None, "text", {"type": "SystemEvent.CacheCleared"}, infra.SystemEvent(), object]
    )
    def test_only_events_are_published(self, backend: BusBackend, event: Any) -> None:
        with pytest.raises(infra.ValidationError, match="family"):
            backend.bus().publish(backend.channel("c"), event)

    def test_a_bad_payload_hinders_nobody(
        self, backend: BusBackend, caplog: pytest.LogCaptureFixture
    ) -> None:
        bus, channel, heard, payloads = backend.bus(), backend.channel("c"), Heard(), []
        bus.subscribe(channel, lambda message: payloads.append(message.payload))
        bus.subscribe(channel, heard)
        bad = [
            "",
            "[]",
            "hush {",
            '{"type":"UserEvent.Created"}',
            '{"type":"SystemEvent.CacheCleared","pattern":5}',
        ]
        for payload in bad:
            assert backend.redis.client.publish(channel, payload) == 1
        bus.publish(channel, note(1))
        assert heard.notes(1) == ["1"]
        assert payloads[:-1] == bad
        assert bus.handler_errors == 5
        assert caplog.text.count("SerializationError") >= 5
        assert "hush" not in caplog.text

    # --- id, time and trace of a message

    def test_a_message_has_an_id_and_a_time(self, backend: BusBackend) -> None:
        clock, channel, kept = fakes.FakeClock(NOON), backend.channel("c"), Kept()
        bus, other = backend.bus(clock=clock), backend.bus()
        other.subscribe(channel, kept)
        bus.publish(channel, note(1))
        bus.publish(channel, note(1))
        clock.advance(0.25)
        bus.publish(channel, note(2))
        first, second, third = kept.wait(3)
        assert [message.at for message in (first, second, third)] == [
            NOON, NOON, NOON + timedelta(seconds=0.25),
        ]  # fmt: skip
        assert first.at is not None
        assert first.at.tzinfo is timezone.utc
        ids = [message.id or "" for message in (first, second, third)]
        assert ids == sorted({*ids})  # a new one for each call, in the order of publishing
        assert [str(uuid.UUID(id)) for id in ids] == ids
        assert first.deserialize(infra.SystemEvent) == note(1)

    def test_all_receivers_see_the_same_id(self, backend: BusBackend) -> None:
        channel, kept, bus, other = backend.channel("c"), Kept(), backend.bus(), backend.bus()
        bus.subscribe(channel, kept)
        bus.psubscribe(backend.channel("?"), kept)
        other.subscribe(channel, kept)
        bus.publish(channel, note(1))
        found = {envelope(message) for message in kept.wait(3)}
        assert len(found) == 1
        id, at, traceparent = found.pop()
        assert id
        assert at
        assert traceparent is None

    def test_a_wrong_clock(self, backend: BusBackend) -> None:
        for clock in ("now", infra.SystemClock, object()):
            with pytest.raises(infra.ConfigurationError, match="clock"):
                backend.make(backend.redis.client, clock=clock)

    def test_a_tracer_gives_the_traceparent(self, backend: BusBackend) -> None:
        channel, kept, traces = backend.channel("c"), Kept(), [TRACE, None, f"cc{TRACE[2:]}-later"]
        bus = backend.bus(traceparent=lambda: traces[0])
        bus.subscribe(channel, kept)
        for _ in range(3):
            bus.publish(channel, note(1))
            traces.append(traces.pop(0))
        assert [message.traceparent for message in kept.wait(3)] == traces
        assert [text.payload.count("traceparent") for text in kept.wait(3)] == [1, 0, 1]

    def test_a_bad_tracer_breaks_no_publish(
        self, backend: BusBackend, caplog: pytest.LogCaptureFixture
    ) -> None:
        channel, kept, answers = backend.channel("c"), Kept(), list[Any](NO_TRACES)

        def tracer() -> Any:
            if not answers:
                raise RuntimeError("a tracer's mistake")
            return answers.pop()

        bus = backend.bus(traceparent=tracer)
        bus.subscribe(channel, kept)
        for _ in range(len(NO_TRACES) + 2):
            assert bus.publish(channel, note(1)) == 1
        for message in kept.wait(len(NO_TRACES) + 2):
            assert message.traceparent is None
            assert "traceparent" not in message.payload
            assert message.deserialize(infra.SystemEvent) == note(1)
        assert caplog.text.count("traceparent raised") == 1  # the first time only
        assert bus.handler_errors == 0

    def test_an_observer_gives_the_traceparent_and_hears_of_handlers(
        self, backend: BusBackend
    ) -> None:
        def broken(message: infra.Message) -> None:
            raise ValueError

        channel, tracer = backend.channel("c"), Tracer()
        bus = backend.bus(observer=tracer)
        bus.subscribe(channel, lambda message: tracer.heard.append((message.traceparent, "in it")))
        bus.subscribe(channel, broken)
        bus.publish(channel, note(1))
        eventually(lambda: len(tracer.heard) == 5)
        words = ["before", "in it", "ok", "before", "ValueError"]
        assert tracer.heard == [(TRACE, word) for word in words]

    def test_a_traceparent_of_the_bus_comes_before_the_observers(self, backend: BusBackend) -> None:
        channel, kept, own = backend.channel("c"), Kept(), f"cc{TRACE[2:]}-later"
        bus = backend.bus(observer=Tracer(), traceparent=lambda: own)
        bus.subscribe(channel, kept)
        bus.publish(channel, note(1))
        assert [message.traceparent for message in kept.wait(1)] == [own]

    @pytest.mark.parametrize("handler", handlers.SEEN)
    def test_a_tracer_that_would_run_nothing_is_refused(
        self, backend: BusBackend, handler: str
    ) -> None:
        for tracer in (handlers.SEEN[handler], TRACE):
            with pytest.raises(infra.ValidationError, match="traceparent should be a"):
                backend.make(backend.redis.client, traceparent=tracer)

    def test_an_event_of_an_older_release_is_read(self, backend: BusBackend) -> None:
        channel, kept = backend.channel("c"), Kept()
        backend.bus().subscribe(channel, kept)
        older = f'{{"type":"UserEvent.Created","user_id":"{A}","username":"ada"}}'
        backend.redis.client.publish(channel, older)
        [message] = kept.wait(1)
        assert message.deserialize(infra.UserEvent) == infra.UserEvent.Created(A, "ada")
        assert envelope(message) == (None, None, None)

    def test_an_older_release_reads_an_event(self, backend: BusBackend) -> None:
        """It takes the fields that it knows by name, and ignores the others."""
        channel, kept = backend.channel("c"), Kept()
        bus = backend.bus(clock=fakes.FakeClock(NOON), traceparent=lambda: TRACE)
        bus.subscribe(channel, kept)
        bus.publish(channel, infra.UserEvent.Created(A, "ada"))
        [message] = kept.wait(1)
        assert message.payload == (
            f'{{"type":"UserEvent.Created","user_id":"{A}","username":"ada","_":{{'
            f'"id":"{message.id}","at":"2026-01-02T12:30:15.000005+00:00",'
            f'"traceparent":"{TRACE}"}}}}'
        )
        found = json.loads(message.payload)
        assert isinstance(found, dict)
        assert found["type"] == "UserEvent.Created"
        known = {name: found[name] for name in ("user_id", "username") if name in found}
        assert known == {"user_id": str(A), "username": "ada"}

    @pytest.mark.parametrize("words", MALFORMED)
    def test_a_malformed_envelope_counts_as_missing(self, backend: BusBackend, words: str) -> None:
        channel, kept, bus = backend.channel("c"), Kept(), backend.bus()
        bus.subscribe(channel, kept)
        payload = f'{{"type":"SystemEvent.CacheCleared","_":{MALFORMED[words]},"pattern":"1"}}'
        backend.redis.client.publish(channel, payload)
        [message] = kept.wait(1)
        assert envelope(message) == (None, None, None)
        assert message.deserialize(infra.SystemEvent) == note(1)
        assert message.payload == payload
        assert bus.handler_errors == 0

    def test_each_member_of_an_envelope_is_read_by_itself(self, backend: BusBackend) -> None:
        channel, kept = backend.channel("c"), Kept()
        backend.bus().subscribe(channel, kept)
        x, at, bad = "x" * 255, "2026-01-02T14:30:15.000005+02:00", "bad"
        for members in (
            {"id": x, "at": bad, "traceparent": bad, "more": {}},
            {"id": 5, "at": at},
            {"at": {}, "traceparent": TRACE},
        ):
            # It may come without an event, from another program.
            backend.redis.client.publish(channel, json.dumps({"_": members}))
        assert [envelope(message) for message in kept.wait(3)] == [
            (x, None, None),
            (None, NOON, None),
            (None, None, TRACE),
        ]

    def test_an_envelope_in_what_is_no_object(self, backend: BusBackend) -> None:
        channel, kept = backend.channel("c"), Kept()
        backend.bus().subscribe(channel, kept)
        payloads = ["", "[]", "5", '[{"_":{"id":"1"}}]', '{"_":{"id":"1"}', '{"_":{"id":"1"}}{}']
        for payload in payloads:
            backend.redis.client.publish(channel, payload)
        assert [envelope(message) for message in kept.wait(len(payloads))] == [
            (None, None, None)
        ] * len(payloads)

    # --- subscriptions

    def test_messages_arrive_in_order(self, backend: BusBackend) -> None:
        bus, heard, channel = backend.bus(), Heard(), backend.channel("c")
        assert bus.publish(channel, note("too early")) == 0
        bus.subscribe(channel, heard)
        for number in range(20):
            assert bus.publish(channel, note(number)) == 1
        assert bus.publish(channel + "x", note("elsewhere")) == 0
        assert heard.wait(20) == [(channel, None, str(number)) for number in range(20)]

    def test_receivers_are_counted_as_redis_does(self, backend: BusBackend) -> None:
        bus, other, channel, heard = backend.bus(), backend.bus(), backend.channel("c"), Heard()
        bus.subscribe(channel, heard)
        bus.subscribe(channel, heard)
        assert bus.publish(channel, note(1)) == 1  # one connection, two handlers
        assert heard.notes(2) == ["1", "1"]
        other.subscribe(channel, heard)
        assert bus.publish(channel, note(2)) == 2
        heard.wait(5)
        bus.psubscribe(channel + "*", heard)
        assert bus.publish(channel, note(3)) == 3
        heard.wait(9)

    def test_a_channel_and_a_matching_glob_deliver_twice(self, backend: BusBackend) -> None:
        bus, heard, channel, glob = (
            backend.bus(),
            Heard(),
            backend.channel("c"),
            backend.channel("[c]"),
        )
        bus.subscribe(channel, heard)
        bus.psubscribe(glob, heard)
        assert bus.publish(channel, note(1)) == 2
        assert sorted(heard.wait(2), key=repr) == sorted(
            [(channel, None, "1"), (channel, glob, "1")], key=repr
        )

    def test_the_channel_delivers_before_the_globs(self, backend: BusBackend) -> None:
        """Handlers of one channel run in the order of subscribing. Globs have no order."""
        bus, log, channel = backend.bus(), Inbox(), backend.channel("c")
        globs = [backend.channel(glob) for glob in ("*", "?", "[c]")]

        def named(name: str) -> Callable[[infra.Message], None]:
            return lambda message: log(name, message.pattern, message.payload)

        for glob in globs:
            bus.psubscribe(glob, named("glob 1"))
        bus.subscribe(channel, named("1"))
        bus.subscribe_many([backend.channel("x"), channel], named("2"))
        bus.subscribe(channel, named("3"))
        for glob in globs:
            bus.psubscribe(glob, named("glob 2"))
        assert bus.publish(channel, note(1)) == 4
        found = [(name, pattern) for name, pattern, _ in log.wait(9)]
        assert found[:3] == [("1", None), ("2", None), ("3", None)]
        assert [name for name, _ in found[3:]] == ["glob 1", "glob 2"] * 3
        assert [pattern for _, pattern in found[3::2]] == [pattern for _, pattern in found[4::2]]
        assert sorted(str(pattern) for _, pattern in found[3::2]) == sorted(globs)

    @pytest.mark.parametrize("glob_ends", [False, True])
    def test_the_end_of_one_leaves_its_namesake(self, backend: BusBackend, glob_ends: bool) -> None:
        bus, by_name, by_glob, name = backend.bus(), Heard(), Heard(), backend.channel("a")
        channel, glob = bus.subscribe(name, by_name), bus.psubscribe(name, by_glob)
        (glob if glob_ends else channel).close()
        assert bus.publish(name, note(1)) == 1
        assert (by_name if glob_ends else by_glob).notes(1) == ["1"]
        (channel if glob_ends else glob).close()
        assert bus.publish(name, note(2)) == 0
        assert len(by_name.messages) + len(by_glob.messages) == 1

    def test_a_glob_and_a_channel_of_the_same_name(self, backend: BusBackend) -> None:
        bus, by_name, by_glob, name = backend.bus(), Heard(), Heard(), backend.channel("?")
        bus.subscribe(name, by_name)
        bus.psubscribe(name, by_glob).close()
        bus.psubscribe(name, by_glob)
        assert bus.publish(backend.channel("x"), note(1)) == 1
        assert bus.publish(name, note(2)) == 2
        assert by_glob.notes(2) == ["1", "2"]
        assert by_name.notes(1) == ["2"]

    @pytest.mark.parametrize("glob", GLOBS)
    def test_psubscribe_matches_redis_globs(self, backend: BusBackend, glob: str) -> None:
        bus, heard = backend.bus(), Heard()
        bus.psubscribe(backend.channel(glob), heard)
        found = [name for name in GLOB_NAMES if bus.publish(backend.channel(name), note(1)) == 1]
        assert sorted(found) == sorted(GLOBS[glob])
        assert heard.wait(len(found)) == [
            (backend.channel(name), backend.channel(glob), "1") for name in found
        ]

    def test_subscribe_many(self, backend: BusBackend) -> None:
        bus, heard, a, b = backend.bus(), Heard(), backend.channel("a"), backend.channel("b")
        subscription = bus.subscribe_many([a, b, a], heard)
        assert (bus.publish(a, note(1)), bus.publish(b, note(2))) == (1, 1)
        assert heard.wait(2) == [(a, None, "1"), (b, None, "2")]
        bus.subscribe(b, heard)
        subscription.close()
        assert (bus.publish(a, note(3)), bus.publish(b, note(4))) == (0, 1)
        assert heard.notes(3) == ["1", "2", "4"]

    def test_the_end_of_a_subscription_to_many_ends_all(self, backend: BusBackend) -> None:
        bus, heard, other = backend.bus(), Heard(), Heard()
        names = [backend.channel(name) for name in "abcd"]
        subscription = bus.subscribe_many(names, heard)
        assert [bus.publish(name, note(name)) for name in names] == [1, 1, 1, 1]
        assert heard.notes(4) == names
        with bus.subscribe_many(names[:2], other):
            subscription.close()
            assert [bus.publish(name, note(name)) for name in names] == [1, 1, 0, 0]
            assert other.notes(2) == names[:2]
        assert [bus.publish(name, note(name)) for name in names] == [0, 0, 0, 0]
        assert heard.notes(4) == names

    def test_the_end_of_one_leaves_others_of_its_handler(self, backend: BusBackend) -> None:
        bus, heard, channel = backend.bus(), Heard(), backend.channel("c")
        first, _ = bus.subscribe(channel, heard), bus.subscribe(channel, heard)
        first.close()
        assert bus.publish(channel, note(1)) == 1
        assert bus.publish(channel, note(2)) == 1
        assert heard.notes(2) == ["1", "2"]

    def test_the_last_subscription_that_closes_unsubscribes(self, backend: BusBackend) -> None:
        bus, first, second, channel = backend.bus(), Heard(), Heard(), backend.channel("c")
        glob = bus.psubscribe(channel, first)
        subscription = bus.subscribe(channel, first)
        glob.close()
        with bus.subscribe(channel, second):
            subscription.close()
            subscription.close()
            assert bus.publish(channel, note(1)) == 1
            assert second.notes(1) == ["1"]
        assert bus.publish(channel, note(2)) == 0
        bus.subscribe(channel, first)
        assert bus.publish(channel, note(3)) == 1
        assert first.notes(1) == ["3"]
        assert second.messages == [(channel, None, "1")]

    # --- handlers

    def test_a_raising_handler_hinders_nobody(
        self, backend: BusBackend, caplog: pytest.LogCaptureFixture
    ) -> None:
        bus, heard, channel = backend.bus(), Heard(), backend.channel("c")

        def broken(message: infra.Message) -> None:
            raise RuntimeError("a handler's mistake")

        bus.subscribe(channel, broken)
        bus.subscribe(channel, heard)
        bus.publish(channel, note(1))
        bus.publish(channel, note(2))
        assert heard.notes(2) == ["1", "2"]
        assert bus.handler_errors == 2
        records = [
            record for record in caplog.records if "a handler of channel" in record.getMessage()
        ]
        assert [(each.levelname, vars(each)["outcome"]) for each in records] == [
            ("WARNING", "RuntimeError")
        ] * 2

    @pytest.mark.parametrize("handler", handlers.RETURNING)
    def test_a_handler_that_runs_nothing_is_an_error(
        self, backend: BusBackend, caplog: pytest.LogCaptureFixture, handler: str
    ) -> None:
        bus, heard, channel = backend.bus(), Heard(), backend.channel("c")
        bus.subscribe(channel, handlers.RETURNING[handler])
        bus.subscribe(channel, heard)
        bus.publish(channel, note(1))
        assert heard.notes(1) == ["1"]
        assert bus.handler_errors == 1
        assert "nothing awaits it" in caplog.text or "nothing runs it" in caplog.text

    @pytest.mark.parametrize("handler", handlers.SEEN)
    def test_a_handler_that_would_run_nothing_is_refused(
        self, backend: BusBackend, handler: str
    ) -> None:
        bus, channel = backend.bus(), backend.channel("c")
        lost = handlers.SEEN[handler]
        for call in (bus.subscribe, bus.psubscribe, lambda c, h: bus.subscribe_many([c], h)):
            with pytest.raises(infra.ValidationError, match="handler should be a plain function"):
                call(channel, lost)
        with pytest.raises(infra.ValidationError, match="on_reconnect should be a plain function"):
            backend.make(backend.redis.client, lost)
        assert bus.publish(channel, note(1)) == 0

    def test_a_class_may_be_a_handler(self, backend: BusBackend) -> None:
        """Its instances may be awaitable or async: what is called is the class."""
        bus, channel, heard = backend.bus(), backend.channel("c"), Heard()

        class Kept(handlers.AsyncObject):
            def __init__(self, message: infra.Message) -> None:
                heard(message)

        bus.subscribe(channel, Kept)
        bus.publish(channel, note(1))
        assert heard.notes(1) == ["1"]
        assert bus.handler_errors == 0

    # --- two environments on one server

    def test_a_prefix_keeps_environments_apart(self, backend: BusBackend) -> None:
        """Channels belong to the whole server: no number of a database keeps them apart."""
        client, heard = backend.redis.client, Heard()
        live, staging = (backend.redis.key(name) for name in ("live:", "staging:"))
        with backend.make(client, None, live) as one, backend.make(client, prefix=staging) as two:
            one.subscribe("c", heard)
            one.psubscribe("c*", heard)
            one.subscribe_many(["d", "e"], heard)
            assert [two.publish(name, note(0)) for name in ("c", "cc", "d")] == [0, 0, 0]
            assert [one.publish(name, note(1)) for name in ("c", "cc", "d")] == [2, 1, 1]
            assert heard.wait(4) == [
                ("c", None, "1"), ("c", "c*", "1"), ("cc", "c*", "1"), ("d", None, "1"),
            ]  # fmt: skip
            assert (
                client.publish(live + "c", '{"type":"SystemEvent.CacheCleared","pattern":"2"}') == 2
            )
            assert heard.wait(6)[4:] == [("c", None, "2"), ("c", "c*", "2")]

    def test_a_prefix_is_no_glob(self, backend: BusBackend) -> None:
        client, heard = backend.redis.client, Heard()
        prefix, other = (backend.redis.key(name) for name in ("[ab]*?\\", "axx\\"))
        with backend.make(client, prefix=prefix) as bus, backend.make(client, prefix=other) as two:
            subscription = bus.psubscribe("c[12]", heard)
            assert [two.publish("c1", note(0)), bus.publish("c3", note(0))] == [0, 0]
            assert bus.publish("c1", note(1)) == 1
            assert heard.wait(1) == [("c1", "c[12]", "1")]
            subscription.close()
            assert bus.publish("c1", note(2)) == 0

    @pytest.mark.parametrize("prefix", [" a", "a ", "a\0", "\ud800", 5, None, b"a"])
    def test_bad_prefixes(self, backend: BusBackend, prefix: Any) -> None:
        with pytest.raises(infra.ValidationError, match="prefix"):
            backend.make(backend.redis.client, prefix=prefix)

    def test_a_handler_may_publish_and_subscribe(self, backend: BusBackend) -> None:
        bus, heard, a, b, log = (
            backend.bus(),
            Heard(),
            backend.channel("a"),
            backend.channel("b"),
            Inbox(),
        )

        def handler(message: infra.Message) -> None:
            log(message.channel, None, "begins")
            bus.subscribe(b, later)
            bus.publish(a + "x", note("nobody"))
            subscription.close()
            backend.redis.client.publish(b, "any")
            log(message.channel, None, "ends")

        def later(message: infra.Message) -> None:
            log(message.channel, None, message.payload)

        subscription = bus.subscribe(a, handler)
        bus.subscribe(a, heard)
        bus.publish(a, note(1))
        heard.wait(1)
        eventually(lambda: bus.publish(b, note(2)) == 1)
        bus.publish(a, note(3))
        assert heard.notes(2) == ["1", "3"]
        # Once: it has closed its subscription.
        assert log.wait(3)[:2] == [
            (a, None, "begins"),
            (a, None, "ends"),
        ]

    def test_a_publish_inside_a_handler_comes_after_it(self, backend: BusBackend) -> None:
        bus, log, channel = backend.bus(), Inbox(), backend.channel("c")

        def handler(message: infra.Message) -> None:
            number = int(message.deserialize(infra.SystemEvent.CacheCleared).pattern)
            log("", None, f"{number} begins")
            if number < 3:
                assert bus.publish(channel, note(number + 1)) == 1
            log("", None, f"{number} ends")

        bus.subscribe(channel, handler)
        bus.publish(channel, note(1))
        expected = [f"{number} {word}" for number in (1, 2, 3) for word in ("begins", "ends")]
        assert [text for _, _, text in log.wait(6)] == expected

    def test_a_handler_may_close_what_would_be_called_next(self, backend: BusBackend) -> None:
        bus, heard, never, channel = backend.bus(), Heard(), Heard(), backend.channel("c")
        bus.subscribe(channel, lambda message: second.close())
        second = bus.subscribe(channel, never)
        bus.subscribe(channel, heard)
        bus.publish(channel, note(1))
        assert heard.notes(1) == ["1"]
        assert never.messages == []

    def test_a_handler_may_close_its_bus(self, backend: BusBackend) -> None:
        bus, never, channel, closed = (
            backend.bus(),
            Heard(),
            backend.channel("c"),
            threading.Event(),
        )

        def handler(message: infra.Message) -> None:
            bus.close()
            bus.close()
            closed.set()

        bus.subscribe(channel, handler)
        bus.subscribe(channel, never)
        assert bus.publish(channel, note(1)) == 1
        assert closed.wait(10)
        bus.close()
        eventually(lambda: backend.bus().publish(channel, note(2)) == 0)
        assert never.messages == []
        assert bus.handler_errors == 0

    def test_one_message_at_a_time(self, backend: BusBackend) -> None:
        bus, heard, channel, inside, most = backend.bus(), Heard(), backend.channel("c"), [0], [0]

        def handler(message: infra.Message) -> None:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            heard(message)
            inside[0] -= 1

        bus.subscribe(channel, handler)
        bus.psubscribe(channel + "*", handler)
        in_threads(
            4, lambda number: [bus.publish(channel, note(f"{number}:{turn}")) for turn in range(25)]
        )
        notes = heard.notes(200)
        assert most == [1]
        for number in range(4):  # of one publisher, in order
            mine = [each for each in notes if each.startswith(f"{number}:")]
            assert mine == [f"{number}:{turn}" for turn in range(25) for _ in range(2)]

    def test_threads_that_come_and_go(self, backend: BusBackend) -> None:
        """Each hears what it publishes while it is subscribed, whoever else joins and leaves."""
        bus, channel = backend.bus(), backend.channel("c")

        def work(number: int) -> None:
            for turn in range(20):
                heard, mine = Heard(), f"{number}:{turn}"
                with bus.subscribe(channel, heard):
                    assert bus.publish(channel, note(mine)) == 1
                    eventually(lambda: mine in [text for _, _, text in list(heard.messages)])

        assert in_threads(4, work) == [None] * 4
        assert bus.publish(channel, note("nobody")) == 0
        assert bus.handler_errors == 0

    # --- bad input

    def test_bad_channels(self, backend: BusBackend) -> None:
        bus = backend.bus()
        for name in BAD_KEYS:
            for call in (bus.subscribe, bus.psubscribe):
                with pytest.raises(infra.ValidationError):
                    call(name, print)
            with pytest.raises(infra.ValidationError):
                bus.subscribe_many([backend.channel("fine"), name], print)
            with pytest.raises(infra.ValidationError):
                bus.publish(name, note(1))
        wrong: list[Any] = [[], "channel", None]
        for names in wrong:
            with pytest.raises(infra.ValidationError):
                bus.subscribe_many(names, print)
        assert bus.publish(backend.channel("fine"), note(1)) == 0

    def test_bad_handlers(self, backend: BusBackend) -> None:
        bus, channel = backend.bus(), backend.channel("c")

        async def nobody_waits(message: infra.Message) -> None: ...

        for call in (bus.subscribe, bus.psubscribe):
            with pytest.raises(infra.ValidationError):
                call(channel, nobody_waits)
        for handler in (None, "print"):
            for call in (bus.subscribe, bus.psubscribe):
                with pytest.raises(infra.ValidationError):
                    call(channel, handler)  # type: ignore[arg-type]
            with pytest.raises(infra.ValidationError):
                bus.subscribe_many([channel], handler)  # type: ignore[arg-type]
            if handler:
                with pytest.raises(infra.ValidationError):
                    backend.make(backend.redis.client, handler)
        with pytest.raises(infra.ValidationError):
            backend.make("redis://localhost")
        assert bus.publish(channel, note(1)) == 0

    # --- life

    def test_a_closed_bus(self, backend: BusBackend) -> None:
        client, channel, heard = backend.redis.client, backend.channel("c"), Heard()
        with backend.make(client) as bus:
            subscription = bus.subscribe(channel, heard)
        bus.close()
        subscription.close()
        calls: list[Callable[[], Any]] = [
            lambda: bus.publish(channel, note(1)),
            lambda: bus.subscribe(channel, heard),
            lambda: bus.subscribe_many([channel], heard),
            lambda: bus.psubscribe(channel, heard),
        ]
        for call in calls:
            with pytest.raises(infra.ConnectionError, match="closed") as caught:
                call()
            assert (caught.value.service, caught.value.retryable) == ("redis", False)
        eventually(lambda: client.publish(channel, "1") == 0)
        assert heard.messages == []

    def test_a_closed_client(self, backend: BusBackend) -> None:
        client = backend.redis.connect()
        channel, heard = backend.channel("c"), Heard()
        with backend.make(client) as bus, backend.make(client) as idle:
            subscription = bus.subscribe(channel, heard)
            client.close()
            for call in (bus.subscribe, bus.psubscribe, idle.subscribe):
                with pytest.raises(infra.ConnectionError):
                    call(channel, heard)
            with pytest.raises(infra.ConnectionError):
                bus.publish(channel, note(1))
            subscription.close()


class TestFake(RedisEventBusContract):
    @pytest.fixture
    def backend(self) -> BusBackend:
        return BusBackend(fake_key_value_backend(), fakes.FakeEventBus)


class OnRealRedis(RedisEventBusContract):
    server: str

    @pytest.fixture
    def backend(self, service: Callable[[str], str]) -> Iterator[BusBackend]:
        clients: list[infra.RedisClient] = []
        backend = BusBackend(
            real_key_value_backend(service(self.server), clients), infra.RedisEventBus
        )
        yield backend
        backend.close()
        for client in clients:
            client.close()


class TestRedis(OnRealRedis):
    server = "redis"


class TestRedis62(OnRealRedis):
    server = "redis-6.2"


class TestTls(OnRealRedis):
    server = "redis-tls"


class TestCluster(OnRealRedis):
    server = "redis-cluster"
