"""Events on the wire, families of one's own, and names of channels."""

from __future__ import annotations

import copy
import enum
import inspect
import json
import pickle
import sys
import uuid
from collections.abc import Sequence
from dataclasses import KW_ONLY, FrozenInstanceError, dataclass, field, fields
from datetime import datetime, timedelta, timezone
from typing import Any, TypeAlias

import pytest

import fakes
import infra
from tests.contract.test_event_bus import family_of

A, B = uuid.UUID("0193f0c8-7d3e-7abc-8def-0123456789ab"), uuid.UUID(int=2)
NOON = datetime(2026, 1, 2, 12, tzinfo=timezone.utc)


class OrderEvent(infra.Event):
    Placed: TypeAlias = "OrderPlaced"
    Broken: TypeAlias = "OrderBroken"


@dataclass(frozen=True)
class OrderPlaced(OrderEvent):
    order_id: uuid.UUID
    amount: int = 1
    price: float | None = None
    gift: bool = False
    due: tuple[datetime, ...] = ()
    notes: list[Any] = field(default_factory=list)
    more: dict[str, Any] | None = None


@dataclass(frozen=True)
class OrderBroken(OrderEvent):
    amount: int

    def __post_init__(self) -> None:
        if self.amount < 0:
            raise KeyError("a secret")


@dataclass(frozen=True, slots=True)
class Slotted(OrderEvent):
    text: str


def text_of(event: infra.Event) -> str:
    """As it is published."""
    client, texts = fakes.FakeRedisClient(), []
    client.listen(lambda channel, pattern, payload: texts.append(payload)).subscribe("c")
    bus = fakes.FakeEventBus(client, clock=fakes.FakeClock(NOON))
    assert bus.publish("c", event) == 1
    return texts[0]


def read(payload: Any, family: Any = OrderEvent) -> Any:
    return infra.Message("c", None, payload).deserialize(family)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            infra.BenchmarkEvent.Created(A, "é", B),
            f'{{"type":"BenchmarkEvent.Created","benchmark_id":"{A}","name":"é",'
            '"created_by":"00000000-0000-0000-0000-000000000002"}',
        ),
        (
            infra.BenchmarkEvent.Updated(A, "1.1.0"),
            f'{{"type":"BenchmarkEvent.Updated","benchmark_id":"{A}","version":"1.1.0",'
            '"changelog":""}',
        ),
        (
            infra.BenchmarkEvent.StatusChanged(A, "draft", "active"),
            f'{{"type":"BenchmarkEvent.StatusChanged","benchmark_id":"{A}","old_status":"draft",'
            '"new_status":"active"}',
        ),
        (
            infra.BenchmarkEvent.Deprecated(A, "old"),
            f'{{"type":"BenchmarkEvent.Deprecated","benchmark_id":"{A}","reason":"old"}}',
        ),
        (
            infra.SubmissionEvent.Created(A, B, "gpt"),
            f'{{"type":"SubmissionEvent.Created","submission_id":"{A}","benchmark_id":"{B}",'
            '"model_name":"gpt","score":null}',
        ),
        (
            infra.SubmissionEvent.VerificationStarted(A),
            f'{{"type":"SubmissionEvent.VerificationStarted","submission_id":"{A}"}}',
        ),
        (
            infra.SubmissionEvent.VerificationCompleted(A, "audited"),
            f'{{"type":"SubmissionEvent.VerificationCompleted","submission_id":"{A}",'
            '"level":"audited"}',
        ),
        (
            infra.UserEvent.Created(A, "ada"),
            f'{{"type":"UserEvent.Created","user_id":"{A}","username":"ada"}}',
        ),
        (
            infra.UserEvent.RoleChanged(A, "registered", "admin"),
            f'{{"type":"UserEvent.RoleChanged","user_id":"{A}","old_role":"registered",'
            '"new_role":"admin"}',
        ),
        (
            infra.SystemEvent.HealthCheckFailed("redis", "TimeoutError"),
            '{"type":"SystemEvent.HealthCheckFailed","service":"redis","error":"TimeoutError"}',
        ),
        (
            infra.SystemEvent.CacheCleared("b:*"),
            '{"type":"SystemEvent.CacheCleared","pattern":"b:*"}',
        ),
        (
            infra.SubmissionEvent.LeaderboardPositionChanged(A, A, None, 3),
            f'{{"type":"SubmissionEvent.LeaderboardPositionChanged","submission_id":"{A}","benchmark_id":"{A}",'
            '"old_rank":null,"new_rank":3}',
        ),
        (
            infra.UserEvent.ProfileUpdated(A, ("b", "a", "b")),
            f'{{"type":"UserEvent.ProfileUpdated","user_id":"{A}","fields":["b","a","b"]}}',
        ),
        (
            infra.UserEvent.ProfileUpdated(A, ("a", "b")),
            f'{{"type":"UserEvent.ProfileUpdated","user_id":"{A}","fields":["a","b"]}}',
        ),
        (
            infra.SystemEvent.MaintenanceScheduled(
                NOON,
                datetime(2026, 1, 2, 14, 0, 0, 5, tzinfo=timezone(timedelta(hours=1))),
                "disks",
            ),
            '{"type":"SystemEvent.MaintenanceScheduled","starts_at":"2026-01-02T12:00:00+00:00",'
            '"ends_at":"2026-01-02T13:00:00.000005+00:00","reason":"disks"}',
        ),
        (
            OrderEvent.Placed(A, 2**63 - 1, 1, True, (NOON,), [1, None], {"a": {}}),
            f'{{"type":"OrderEvent.Placed","order_id":"{A}","amount":9223372036854775807,"price":1.0,"gift":true,'
            '"due":["2026-01-02T12:00:00+00:00"],"notes":[1,null],"more":{"a":{}}}',
        ),
        (Slotted("x"), '{"type":"OrderEvent.Slotted","text":"x"}'),
    ],
)
def test_the_wire(event: infra.Event, expected: str) -> None:
    """``expected`` is what a release without the member "_" wrote."""
    text = text_of(event)
    id = infra.Message("c", None, text).id
    assert text == f'{expected[:-1]},"_":{{"id":"{id}","at":"2026-01-02T12:00:00+00:00"}}}}'
    for payload in (text, expected):
        assert read(payload, type(event)) == event
        assert read(payload, family_of(event)) == event
    message = infra.Message("c", None, expected)
    assert (message.id, message.at, message.traceparent) == (None, None, None)


def test_a_reader_without_the_envelope() -> None:
    """It takes the fields that it knows, each by its name, as releases without "_" do."""
    found = json.loads(text_of(OrderEvent.Placed(A, 5, gift=True)))
    assert found.pop("type") == "OrderEvent.Placed"
    known = [each.name for each in fields(OrderPlaced)]
    assert {name: found[name] for name in known if name in found} == {
        "order_id": str(A), "amount": 5, "price": None, "gift": True, "due": [], "notes": [],
        "more": None,
    }  # fmt: skip
    assert {*found} - {*known} == {"_"}


def test_an_envelope_too_deep_for_the_parser() -> None:
    """It is as with any other field: what Python cannot parse is no JSON object."""
    for opening in ("[", '{"a":'):
        payload = f'{{"type":"OrderEvent.Slotted","text":"x","_":{opening * 100_000}'
        for text in (payload, payload + "0" + {"[": "]"}.get(opening, "}") * 100_000 + "}"):
            message = infra.Message("c", None, text)
            assert (message.id, message.at, message.traceparent) == (None, None, None)
            with pytest.raises(infra.SerializationError, match="the payload is no JSON object"):
                message.deserialize(OrderEvent)


def test_a_message_of_what_is_no_text() -> None:
    payloads: list[Any] = [5, None, b'{"_":{"id":"1"}}']
    for payload in payloads:
        assert infra.Message("c", None, payload).id is None


def test_the_clock_of_a_bus() -> None:
    """Its own, else the client's; a bundle gives its own."""
    late = NOON + timedelta(days=1)
    client = fakes.FakeRedisClient(clock=fakes.FakeClock(NOON))

    class Services(fakes.FakeInfrastructure):
        @infra.provided
        def redis(self) -> fakes.FakeRedisClient:
            return client

    services = Services(clock=fakes.FakeClock(late))
    for bus, at in (
        (infra.RedisEventBus(client), NOON),
        (fakes.FakeEventBus(client), NOON),
        (infra.RedisEventBus(client, clock=fakes.FakeClock(late)), late),
        (services.bus, late),
    ):
        times: list[datetime | None] = []
        with bus, bus.subscribe("c", lambda message: times.append(message.at)):
            bus.publish("c", Slotted("x"))
        assert times == [at]


def test_an_id_is_a_uuid_of_the_clock() -> None:
    id = uuid.UUID(infra.Message("c", None, text_of(Slotted("x"))).id or "")
    assert id.version == 7
    assert id.int >> 80 == NOON.timestamp() * 1000


def test_a_marker_of_keyword_fields_is_no_field() -> None:
    """``_: KW_ONLY`` is how a dataclass separates them."""

    class Marked(infra.Event):
        pass

    @dataclass(frozen=True)
    class Made(Marked):
        name: str
        _: KW_ONLY
        size: int

    event = Made("x", size=5)
    if sys.version_info < (3, 11):  # its typing takes the marker for a wrong type
        with pytest.raises(infra.ConfigurationError):
            text_of(event)
        return
    assert read(text_of(event), Marked) == event


def test_old_and_new_programs_can_talk() -> None:
    newer = (
        f'{{"order_id":"{str(A).upper()}","from_the_future":[[1e9],{{}}],'
        '"type":"OrderEvent.Placed"}'
    )
    assert read(newer) == OrderPlaced(A)
    assert read(f' {{"type": "OrderEvent.Placed", "order_id": "{A}", "price": 5}} ') == OrderPlaced(
        A, price=5.0
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T12:00:00Z", NOON),
        ("2026-01-02T12:00:00.5Z", NOON.replace(microsecond=500_000)),
        ("2026-01-02T12:00:00.000001-00:00", NOON.replace(microsecond=1)),
        ("2026-01-02T14:30:00+02:30", NOON),
        ("2026-01-02t12:00:00z", NOON),
        ("2026-01-02T12:00:00.1234567Z", NOON.replace(microsecond=123_456)),
        ("2026-01-02T12:00:00.123456999+00:00", NOON.replace(microsecond=123_456)),
        ("2343-01-02T12:00:00Z", NOON.replace(year=2343)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=timezone.utc)),  # a leap second
        ("1990-12-31T15:59:60.25-08:00", datetime(1991, 1, 1, 0, 0, 0, 250_000, timezone.utc)),
        ("2016-12-31T12:00:60Z", None),
        ("2016-12-31T23:59:61Z", None),
        ("9999-12-31T23:59:60Z", None),
        ("2026-01-02T12:00:00.Z", None),
        ("2026-01-02T12:00:00", None),
        ("2026-01-02", None),
        ("2026-01-02 12:00:00Z", None),
        ("2026-02-30T12:00:00Z", None),
        ("2026-01-02T24:00:00Z", None),
        ("2026-01-02T12:00:00+24:00", None),
        ("0001-01-01T00:00:00+01:00", None),
        ("٢٠٢٦-01-02T12:00:00Z", None),
        (1767355200, None),
        (None, None),
    ],
)
def test_times(text: Any, expected: datetime | None) -> None:
    payload = json.dumps({"type": "OrderEvent.Placed", "order_id": str(A), "due": [text]})
    if expected is None:
        with pytest.raises(infra.SerializationError, match=r"^OrderEvent\.Placed: due should be "):
            read(payload)
    else:
        event = read(payload)
        assert event.due == (expected,)
        assert event.due[0].tzinfo is timezone.utc


@pytest.mark.parametrize(
    "payload",
    [
        "", "null", "[]", '"OrderEvent.Placed"', "{", "{}", "[" * 100_000, '{"a":' * 100_000,
        "1" * 10_000,
        '{"type":null}', '{"type":["OrderEvent.Placed"]}', '{"type":"Placed"}',
        '{"type":"OrderEvent.Gone"}',
        '{"type":"OrderEvent.OrderPlaced"}', '{"type":"OrderEvent"}',
        '{"type":"OrderEvent.__init__"}',
        '{"type":"SystemEvent.CacheCleared","pattern":"*"}', 5, None, b"\xff",
    ],
)  # fmt: skip
def test_what_is_no_event_of_the_family(payload: Any) -> None:
    with pytest.raises(infra.SerializationError) as caught:
        read(payload)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.parametrize(
    "fields",
    [
        '"order_id":null', '"order_id":5', '"order_id":"x"', f'"order_id":"{{{A}}}"',
        f'"order_id":"{A.hex}"',
        '"amount":1', f'"order_id":"{A}","amount":1.0', f'"order_id":"{A}","amount":true',
        f'"order_id":"{A}","amount":9223372036854775808', f'"order_id":"{A}","amount":null',
        f'"order_id":"{A}","price":"1"', f'"order_id":"{A}","price":NaN',
        f'"order_id":"{A}","price":1e999',
        f'"order_id":"{A}","price":false', f'"order_id":"{A}","price":1{"0" * 400}',
        f'"order_id":"{A}","gift":1', f'"order_id":"{A}","due":"2026-01-02T12:00:00Z"',
        f'"order_id":"{A}","due":{{}}',
        f'"order_id":"{A}","notes":{{}}', f'"order_id":"{A}","more":[]',
        f'"order_id":"{A}","more":{{"a":"\\u0000"}}',
        f'"order_id":"{A}","notes":{"[" * 200}{"]" * 200}',
    ],
)  # fmt: skip
def test_fields_that_are_missing_or_of_another_type(fields: str) -> None:
    with pytest.raises(infra.SerializationError) as caught:
        read(f'{{"type":"OrderEvent.Placed",{fields}}}')
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.parametrize("text", ["\\ud800", "a\\u0000b"])
def test_texts_that_no_backend_takes(text: str) -> None:
    with pytest.raises(infra.SerializationError, match="text should not hold"):
        read(f'{{"type":"OrderEvent.Slotted","text":"{text}"}}')


def test_the_message_says_what_is_wrong_and_not_what_was_there() -> None:
    whole = "amount should be a whole number of 64 bits"
    for payload, message in {
        "[1]": "the payload is no JSON object",
        '{"type":"Secret.Thing"}': "the payload's type is none that OrderEvent has",
        '{"type":"OrderEvent.Placed"}': "OrderEvent.Placed: order_id missing",
        '{"type":"OrderEvent.Broken","amount":"secret"}': f"OrderEvent.Broken: {whole}",
        '{"type":"OrderEvent.Broken","amount":-1}': "OrderEvent.Broken: KeyError when it was made",
    }.items():
        with pytest.raises(infra.SerializationError) as caught:
            read(payload)
        assert str(caught.value) == message


@pytest.mark.parametrize(
    "event",
    [
        OrderPlaced(A, notes=[float("nan")]),
        OrderPlaced(A, notes=[(1,)]),
        OrderPlaced(A, more={1: 2}),  # type: ignore[dict-item]
        OrderPlaced(A, amount=10**5000),
        OrderPlaced(A, price=10**400),
        OrderPlaced(A, due=(NOON, None)),  # type: ignore[arg-type]
    ],
    ids=lambda event: type(event).__name__,
)
def test_what_cannot_be_written(event: infra.Event) -> None:
    with pytest.raises(infra.SerializationError, match=r"^OrderEvent\.Placed: "):
        text_of(event)


def test_texts_of_enumerations_are_texts() -> None:
    class Level(str, enum.Enum):
        AUDITED = "audited"

    event = infra.SubmissionEvent.VerificationCompleted(A, Level.AUDITED)
    assert read(text_of(event), infra.SubmissionEvent).level == "audited"


def test_families() -> None:
    event = OrderEvent.Placed(A)
    assert OrderEvent.Placed is OrderPlaced
    assert isinstance(event, OrderEvent)
    assert not isinstance(event, infra.BenchmarkEvent)
    assert repr(infra.SystemEvent.CacheCleared("*")) == "SystemEvent.CacheCleared(pattern='*')"
    assert OrderEvent.Slotted is Slotted  # type: ignore[attr-defined]
    assert pickle.loads(pickle.dumps(event)) == copy.deepcopy(event) == event  # noqa: S301
    with pytest.raises(FrozenInstanceError):
        event.amount = 2  # type: ignore[misc]
    for family in (infra.Event, object, None, "OrderEvent", OrderPlaced(A)):
        with pytest.raises(infra.ValidationError, match="family"):
            read('{"type":"OrderEvent.Placed"}', family)
    with pytest.raises(infra.SerializationError, match="type is none that Placed has"):
        read('{"type":"OrderEvent.Broken","amount":1}', OrderEvent.Placed)


def test_every_event_of_the_library_is_in_its_family() -> None:
    families = (infra.BenchmarkEvent, infra.SubmissionEvent, infra.UserEvent, infra.SystemEvent)
    members = [
        {
            name: each
            for name, each in vars(family).items()
            if inspect.isclass(each) and name[0] != "_"
        }
        for family in families
    ]
    assert [sorted(each) for each in members] == [
        ["Created", "Deprecated", "StatusChanged", "Updated"],
        ["Created", "LeaderboardPositionChanged", "VerificationCompleted", "VerificationStarted"],
        ["Created", "ProfileUpdated", "RoleChanged"],
        ["CacheCleared", "HealthCheckFailed", "MaintenanceScheduled"],
    ]
    for family, found in zip(families, members):
        assert all(issubclass(each, family) for each in found.values())
        assert {*found.values()} == {*family.__subclasses__()}


def test_families_that_cannot_be_written() -> None:
    class Odd(infra.Event):
        pass

    @dataclass(frozen=True)
    class Complex(Odd):
        number: complex

    @dataclass(frozen=True)
    class Pair(Odd):
        pair: tuple[int, int]

    @dataclass(frozen=True)
    class Either(Odd):
        either: int | str

    @dataclass(frozen=True)
    class Typed(Odd):
        type: str

    @dataclass(frozen=True)
    class Enveloped(Odd):
        _: dict[str, str]

    @dataclass(frozen=True)
    class Local(Odd):
        local: Unknown  # type: ignore[name-defined] # noqa: F821

    @dataclass(frozen=True)
    class Absent(Odd):
        absent: uuid.Absent  # type: ignore[name-defined]

    @dataclass(frozen=True)
    class Garbled(Odd):
        garbled: "int]"  # type: ignore[valid-type] # noqa: F722

    @dataclass(frozen=True)
    class Tags(Odd):
        tags: set[str]

    @dataclass(frozen=True)
    class Words(Odd):
        words: Sequence[str]

    @dataclass(frozen=True)
    class Kind(Odd):
        kind: type[str]

    events = [Complex(1j), Pair((1, 2)), Either(1), Typed("x"), Local(1), Absent(1), Garbled(1)]
    events += [
        Enveloped({"id": "1"}),
        Tags({"a"}),
        Words("a text, which is a sequence too"),
        Kind(str),
    ]
    for event in events:
        with pytest.raises(infra.ConfigurationError):
            text_of(event)
        with pytest.raises(infra.ConfigurationError):
            read(f'{{"type":"Odd.{type(event).__name__}"}}', Odd)

    for event, name in ((Typed("x"), "type"), (Enveloped({}), "_")):
        with pytest.raises(infra.ConfigurationError) as caught:
            text_of(event)
        words = f"Odd.{type(event).__name__} has a field called {name}: that name is taken"
        assert str(caught.value) == words

    @dataclass(frozen=True)
    class Nothing(Odd):
        pass

    assert read(text_of(Nothing()), Odd) == Nothing()


def test_channels() -> None:
    channel = infra.EventChannel
    names = (
        "BENCHMARK",
        "SUBMISSION",
        "VERIFICATION",
        "LEADERBOARD",
        "USER",
        "ORGANIZATION",
        "GOVERNANCE",
        "SYSTEM",
    )
    assert [getattr(channel, name) for name in names] == [
        f"events:{name.lower()}" for name in names
    ]
    assert channel.benchmark_specific("123") == "events:benchmark:123"
    assert channel.submission_specific(A) == f"events:submission:{A}"
    assert (
        channel.benchmark_specific("a:b*c?[d]\\e%") == "events:benchmark:a%3Ab%2Ac%3F%5Bd%5D%5Ce%25"
    )
    assert channel.benchmark_specific("é-^") == "events:benchmark:é-^"
    # As in a key of the cache.
    assert channel.benchmark_specific(" {a}") == "events:benchmark:%20%7Ba%7D"
    wrong: list[Any] = ["", "a\0", "\ud800", None, b"a"]
    for id in wrong:
        for call in (channel.benchmark_specific, channel.submission_specific):
            with pytest.raises(infra.ValidationError):
                call(id)


def test_a_message_shows_no_payload_by_accident() -> None:
    message = infra.Message("c", None, "tell nobody")
    assert repr(message) == "Message(channel='c', pattern=None)"
