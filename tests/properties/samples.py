"""A record with a field of each type, and strategies for it that reach the extremes."""

from __future__ import annotations

import enum
import functools
import uuid
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, ClassVar, Literal

from hypothesis import strategies as st

import infra


class State(enum.Enum):
    OPEN = "open"
    PAID = "Paid"
    HELD = 'it\'s \\ "%" %(x)s `é` ; -- 🙂'


class Size(str, enum.Enum):
    SMALL = "s"
    LARGE = "x l"


@dataclass(frozen=True)
class Sample:
    state: State
    day: date
    size: Size | None = None
    kind: Literal["letter", "box"] | None = None
    flag: bool | None = None
    whole: int | None = None
    big: int | None = None
    ratio: float | None = None
    price: Decimal = Decimal("0.00")
    tiny: Decimal | None = None
    data: bytes | None = None
    blob: bytes | None = None
    at: time | None = None
    wait: timedelta | None = None
    seen_at: datetime | None = None
    second: datetime | None = None
    owner: uuid.UUID | None = None
    word: str | None = None
    code: str | None = None
    text: str | None = None
    meta: dict[str, Any] | None = None
    parts: list[Any] | None = None
    tags: tuple[str, ...] | None = None


class Samples(infra.Repository[Sample]):
    """Some columns have other names than their fields; two exchange theirs."""

    record, table, resource, key = Sample, "samples", "sample", ("state", "day")
    lengths: ClassVar = {"data": 4, "word": 5, "code": 5, "kind": 20, "big": 64}
    scales: ClassVar = {"price": (10, 2), "tiny": (30, 25), "second": 0}
    ascii = ("code",)
    column_names: ClassVar = {"state": "group", "kind": "size", "size": "kind", "wait": "order"}
    defaults: ClassVar = {
        "size": Size.LARGE,
        "kind": "box",
        "flag": True,
        "whole": -7,
        "big": -(1 << 62),
        "ratio": 1.5e300,
        "price": Decimal("-1e2"),
        "tiny": Decimal("0.0000000123456789012345678"),
        "data": b"\x00'\\\xff",
        "at": time(23, 59, 59, 999_999),
        "wait": -timedelta(days=1, microseconds=1),
        "seen_at": datetime(2026, 1, 2, 3, 4, 5, 6, timezone(timedelta(hours=2))),
        "second": datetime(2026, 1, 2, tzinfo=timezone.utc),
        "owner": uuid.UUID(int=7),
        "word": "é'\\%",
        "code": "a'\\",
    }
    filter_fields: ClassVar = (
        "state", "day", "size", "kind", "flag", "whole", "big", "ratio", "price", "tiny", "data",
        "at", "wait", "seen_at", "second", "owner", "word", "code", "text",
    )  # fmt: skip
    sort_fields = filter_fields


ZONES = st.sampled_from(
    [timezone.utc, timezone(timedelta(hours=14)), timezone(-timedelta(hours=11, minutes=59))]
)
LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
BMP = st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"], exclude_characters="\0")
#: as case, composition, quotes, blanks and the ends of planes have them
TEXTS = [
    "", " ", "a", "A", "a ", " a", "é", "e\u0301", "ß", "'\"\\%", "\x01", "\x7f", "\u2028",
    "\ufeff", "\uffff", "\U00010000", "😀", "\U0010ffff",
]  # fmt: skip
WORDS = [text[:5] for text in TEXTS] + ["😀" * 5]
LONGEST = timedelta(microseconds=(1 << 63) - 1)


def some(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


def whole(bits: int) -> st.SearchStrategy[int]:
    """An int of so many bits, often one at an end or near 0."""
    least, most = -(1 << bits - 1), (1 << bits - 1) - 1
    return some(least, most, 0, -1, 1) | st.integers(least, most)


def decimals(digits: int, places: int) -> st.SearchStrategy[Decimal]:
    """A Decimal of that size, often the smallest, the largest or a zero."""
    most = 10**digits - 1
    units = some(0, 1, -1, most, -most) | st.integers(-most, most)

    def scaled(number: int) -> Decimal:
        return Decimal(f"{number}E-{places}")  # exact: arithmetic rounds to 28 digits

    return units.map(scaled) | some(Decimal(0), Decimal("-0"), Decimal("0E+5"), Decimal("1E1"))


def moments() -> st.SearchStrategy[datetime]:
    ends = some(datetime(1, 1, 2), datetime(9999, 12, 30, 23, 59, 59, 999_999))
    random = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))
    return st.builds(at_zone, ends | random, ZONES)


def without_fraction(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def at_zone(moment: datetime, zone: timezone) -> datetime:
    return moment.replace(tzinfo=zone, fold=0)


def without_fold(moment: time) -> time:
    """Without what == does not see, and no server stores."""
    return moment.replace(fold=0)


DOCUMENTS: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(LETTERS, max_size=3)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
        st.text(LETTERS, max_size=3), inner, max_size=2
    ),
    max_leaves=5,
)  # fmt: skip

#: the values of each field, without None
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "state": st.sampled_from(State),
    "day": some(date.min, date.max, date(2024, 2, 29)) | st.dates(),
    "size": some(*Size),
    "kind": some("letter", "box"),
    "flag": st.booleans(),
    "whole": whole(32),
    "big": whole(64),
    "ratio": some(0.0, -0.0, 5e-324, -1.7976931348623157e308, 0.1 + 0.2, 1.0)
    | st.floats(allow_nan=False, allow_infinity=False),
    "price": decimals(10, 2),
    "tiny": decimals(30, 25),
    "data": some(b"", b"\x00" * 4, b"'\\\xff%") | st.binary(max_size=4),
    "blob": some(b"", b"\xff" * 300) | st.binary(max_size=20),
    "at": some(time.min, time.max, time(12), time(0, 0, 0, 1)) | st.times().map(without_fold),
    "wait": some(LONGEST, -LONGEST, timedelta(), timedelta(microseconds=-1))
    | st.timedeltas(-LONGEST, LONGEST),
    "seen_at": moments(),
    "second": moments().map(without_fraction),
    "owner": some(uuid.UUID(int=0), uuid.UUID(int=(1 << 128) - 1)) | st.uuids(),
    "word": some(*WORDS) | st.text(BMP, max_size=5) | st.text(LETTERS, max_size=5),
    "code": some("", "a", "A", "a ", "\x7f", "'\"\\%_")
    | st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=5),
    "text": some(*TEXTS, "x" * 300) | st.text(BMP) | st.text(LETTERS),
    "meta": some({}, {"": {"b": [1, 1.0, -0.0, None], "a": "\\u0000"}})
    | st.dictionaries(st.text(LETTERS, max_size=3), DOCUMENTS, max_size=3),
    "parts": some([], [[], {}, [1, True, "é"]]) | st.lists(DOCUMENTS, max_size=3),
    "tags": some((), ("",), ("a", "A", "a"), (TEXTS[-1], "'\"\\%", " "))
    | st.lists(st.text(LETTERS, max_size=5), max_size=3).map(tuple),
}
NEEDED = ("state", "day", "price")  # NULL is none of their values


def field_values(name: str) -> st.SearchStrategy[Any]:
    return VALUES[name] if name in NEEDED else st.none() | VALUES[name]


SAMPLE = st.builds(Sample, **{name: field_values(name) for name in VALUES})

EMPTY = Sample(State.OPEN, date.min)
SMALLEST = Sample(
    State.OPEN, date.min, Size.SMALL, "box", False, -(1 << 31), -(1 << 63), -1.7e308,
    Decimal("-99999999.99"), Decimal(-99999), b"", b"", time.min, -LONGEST,
    datetime(1, 1, 1, tzinfo=timezone.utc), datetime(1, 1, 1, tzinfo=timezone.utc),
    uuid.UUID(int=0), "", "", "", {}, [], (),
)  # fmt: skip
LARGEST = Sample(
    State.HELD, date.max, Size.LARGE, "letter", True, (1 << 31) - 1, (1 << 63) - 1, 1.7e308,
    Decimal("99999999.99"), Decimal("99999.9999999999999999999999999"), b"\xff" * 4, b"\xff" * 300,
    time.max, LONGEST, datetime.max.replace(tzinfo=timezone.utc),
    datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc), uuid.UUID(int=(1 << 128) - 1),
    "\U0010ffff" * 5, "\x7f" * 5, "\U0010ffff" * 300, {"\U0010ffff": [1.7e308]}, [[]] * 9,
    ("\U0010ffff", "", "\uffff"),
)  # fmt: skip


def changed(sample: Sample, state: State, day: date, *changes: dict[str, Any]) -> Sample:
    values = {name: value for change in changes for name, value in change.items()}
    return replace(sample, state=state, day=day, **values)


@functools.cache  # to make and to check a strategy takes longer than to draw from it
def one_field(name: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({name: field_values(name)})


#: another value of one field that is no part of the key
CHANGE = st.sampled_from([*VALUES][2:]).flatmap(one_field)
DAY = some(date.min, date.max)
#: one of a few keys, so that samples meet; few values are drawn, because drawing takes long
A_SAMPLE = st.builds(
    changed, some(EMPTY, SMALLEST, LARGEST), st.sampled_from(State), DAY, CHANGE, CHANGE
)
SAMPLE_KEY = st.tuples(st.sampled_from([*State, *State, "open"]), DAY)
NO_SAMPLE = some(
    State.OPEN, None, (State.OPEN,), ("gone", date.min), (None, date.min), (date.min, State.OPEN),
    (State.PAID, "0001-01-01"), (State.PAID, datetime(1, 1, 1)), (State.OPEN, date.min, 1),
)  # fmt: skip
#: what a field refuses, or its column
WRONG: dict[str, list[Any]] = {
    "size": ["xl", 1, "s "],
    "kind": ["parcel", ""],
    "flag": [1, "True"],
    "whole": [2**31, -(2**31) - 1, 2**70, 1.0, True],
    "big": [2**63, -(2**63) - 1],
    "ratio": [float("nan"), float("inf"), "1"],
    "price": [None, Decimal("100000000"), Decimal("99999999.995"), Decimal("NaN"), 1.5],
    "tiny": [Decimal("100000"), Decimal("-Infinity")],
    "data": [b"12345", "a"],
    "blob": ["a"],
    "at": [time(1, tzinfo=timezone.utc), timedelta(hours=1)],
    "wait": [timedelta.max, timedelta.min, timedelta(microseconds=1 << 63), 5],
    "seen_at": [datetime(2026, 1, 1), date(2026, 1, 1)],
    "second": [datetime(2026, 1, 1, microsecond=1, tzinfo=timezone.utc), "2026-01-01"],
    "owner": ["a", 1],
    "word": ["123456", "a\0", "\ud800", "12345 ", b"a"],
    "code": ["123456", 1, "é"],
    "text": ["a\0", "\udfff", 1],
    "meta": [[], {1: 2}, {"a": float("nan")}, {"a": (1,)}, "{}"],
    "parts": [{}, (1,), ["\ud800"]],
    "tags": [["a"], ("a", 5), ("a\0",), "a"],
}
A_WRONG = st.sampled_from([{name: value} for name, values in WRONG.items() for value in values])
