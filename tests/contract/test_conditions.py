"""Conditions: in filters, and in the verbs that read and change the rows that match."""

from __future__ import annotations

import copy
import enum
import pickle
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, ClassVar

import pytest

import fakes
import infra
from infra import (
    Above,
    AnyOf,
    AtLeast,
    AtMost,
    Below,
    Between,
    Contains,
    Not,
    OneOf,
    Query,
    StartsWith,
)
from tests.contract.base import Contract
from tests.contract.databases import dialect_of, violation


class State(enum.Enum):
    OPEN = "open"
    PAID = "paid"
    SENT = "sent"


@dataclass(frozen=True)
class Entry:
    title: str
    amount: int | None = None
    price: Decimal | None = None
    ratio: float | None = None
    state: State | None = None
    day: date | None = None
    at: time | None = None
    wait: timedelta | None = None
    data: bytes | None = None
    flag: bool = False
    owner: uuid.UUID | None = None
    meta: dict[str, Any] | None = None
    level: str = "low"
    note: str = ""
    id: int = infra.FILLED
    created_at: datetime = infra.FILLED
    updated_at: datetime = infra.FILLED


class Entries(infra.Repository[Entry]):
    record, table, resource = Entry, "entries", "entry"
    lengths: ClassVar = {"title": 40, "data": 8, "level": 10, "note": 40, "secret": 20}
    scales: ClassVar = {"price": (10, 2)}
    folded: ClassVar = {"title_folded": ("title",)}
    hidden: ClassVar = {"secret": str | None}
    guarded = ("level",)
    kept = ("note",)
    filter_fields = ("amount", "title", "state", "wait", "secret")
    sort_fields = ("created_at", "amount", "title", "state", "wait")
    column_names: ClassVar = {"amount": "sum", "state": "group"}
    defaults: ClassVar = {"level": "low"}


@dataclass(frozen=True)
class Place:
    shelf: str
    number: int
    text: str = ""
    wait: timedelta = timedelta()


class Places(infra.Repository[Place]):
    """Its key has several columns, one of which is converted."""

    record, table, resource, key = Place, "places", "place", ("shelf", "number", "wait")
    lengths: ClassVar = {"shelf": 5, "text": 20}
    sort_fields = ("text",)


@dataclass(frozen=True)
class Loose:
    shelf: str
    number: int
    text: str = ""
    wait: timedelta = timedelta()


class LoosePlaces(infra.Repository[Loose]):
    """The same table, by a class that takes any text as a key."""

    record, table, resource, key = Loose, "places", "place", ("number", "text")


class StrictPlaces(Places):
    """The same table, by a class that takes shorter texts."""

    lengths: ClassVar = {"shelf": 2, "text": 20}


@dataclass(frozen=True)
class Name:
    first: str
    last: str
    id: uuid.UUID = infra.FILLED


class Names(infra.Repository[Name]):
    """One folded column holds two fields."""

    record, table, resource, sort_fields = Name, "condition_names", "name", ("first",)
    lengths: ClassVar = {"first": 20, "last": 20}
    folded: ClassVar = {"whole": ("first", "last")}
    unique = (("whole",),)


@dataclass(frozen=True)
class Word:
    text: str
    where: str = ""


class Words(infra.Repository[Word]):
    """Its key is not in the record."""

    record, table, resource = Word, "condition_words", "word"
    lengths: ClassVar = {"text": 20, "where": 20}
    key = ids = ("number",)
    hidden: ClassVar = {"number": int}
    sort_fields = ("text",)


PORTS: list[Any] = [Entries, Places, Words, Names]
DAY = date(2026, 1, 2)
NOON = datetime(2026, 1, 2, 12, tzinfo=timezone.utc)


@dataclass
class Conditions:
    database: infra.Database
    dialect: str
    clock: fakes.FakeClock

    def __post_init__(self) -> None:
        self.entries = Entries.on(self.database, clock=self.clock)
        self.places = Places.on(self.database)
        self.words = Words.on(self.database)
        self.names = Names.on(self.database)

    def store(self, *entries: Entry) -> list[Entry]:
        return [self.entries.create(entry) for entry in entries]

    def amounts(self, *amounts: int | None) -> None:
        """Store an entry of each amount, whose title is its number."""
        self.store(*(Entry(str(at), amount) for at, amount in enumerate(amounts)))

    def titles(self, **where: Any) -> list[str]:
        return [entry.title for entry in self.entries.select(where, sort="id")]

    def found(self, **where: Any) -> str:
        """The titles of what matches, which every way to ask has to agree on."""
        titles = self.titles(**where)
        assert self.entries.count(where) == len(titles)
        assert self.entries.exists_where(where) is bool(titles)
        if where.keys() <= {*Entries.filter_fields}:
            page = self.entries.page(Query(filters=where, with_total=True))
            assert ({entry.title for entry in page.items}, page.total) == ({*titles}, len(titles))
        return " ".join(titles)


def fake_conditions(dialect: str) -> Conditions:
    clock = fakes.FakeClock()
    database = fakes.FakeDatabase(dialect, map(fakes.Table.of, PORTS), clock=clock)
    return Conditions(database, dialect, clock)


_made: dict[str, str] = {}


def with_tables(database: Callable[[str], str], name: str) -> str:
    """The URL of this run's database with these tables on that server."""
    if name not in _made:
        _made[name] = database(name)
        with infra.create_pool(infra.DatabaseConfig(url=_made[name])) as pool:
            for statement in infra.split_statements(infra.ddl(PORTS, pool.engine), pool.engine):
                pool.execute(statement)
    return _made[name]


def on_fake(dialect: str) -> Any:
    @pytest.fixture
    def backend(self: object) -> Conditions:
        return fake_conditions(dialect)

    return backend


def on_real(name: str) -> Any:
    @pytest.fixture
    def backend(self: object, database: Callable[[str], str]) -> Iterator[Conditions]:
        url = with_tables(database, name)
        with infra.create_pool(infra.DatabaseConfig(url=url)) as pool:
            for port in PORTS:
                pool.execute(f"DELETE FROM {port.table}")
            yield Conditions(pool, dialect_of(pool), fakes.FakeClock())

    return backend


def nested(depth: int) -> Any:
    """A condition with that many AnyOf and Not around it."""
    condition: Any = Above(1)
    for at in range(depth):
        condition = Not(condition) if at % 2 else AnyOf(condition)
    return condition


NOT_NONE = r"amount should not be compared with None: AnyOf\(None, \.\.\.\) matches NULL too"
#: what is no condition on this field, and the message
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"amount": Above("3")}, "amount should be a whole number"),
    ({"amount": Above(3.0)}, "amount should be a whole number"),
    ({"amount": Above(True)}, "amount should be a whole number"),
    ({"amount": Above(Above(3))}, "amount should be a whole number"),
    ({"amount": Above}, "amount should be a whole number"),
    ({"amount": [1, 2]}, "amount should be a whole number"),
    ({"amount": Above(None)}, NOT_NONE),
    ({"amount": Between(None, 3)}, NOT_NONE),
    ({"amount": Between(3, None)}, NOT_NONE),
    ({"amount": OneOf([3, None])}, NOT_NONE),
    ({"amount": AnyOf(3, Below(None))}, NOT_NONE),
    ({"amount": OneOf([])}, "amount should be OneOf at least one value"),
    ({"amount": AnyOf()}, "amount should be AnyOf at least one value"),
    ({"amount": Not(OneOf([]))}, "amount should be OneOf at least one value"),
    ({"amount": OneOf(["3"])}, "amount should be a whole number"),
    ({"amount": Not("3")}, "amount should be a whole number"),
    ({"amount": AnyOf(3, "3")}, "amount should be a whole number"),
    ({"amount": Contains("3")}, "amount should be a text for Contains"),
    ({"day": StartsWith("2026")}, "day should be a text for StartsWith"),
    ({"title": Contains(3)}, "title should be a str"),
    ({"title": Contains("x" * 201)}, "title should have at most 200 characters"),
    ({"title": StartsWith("a\0")}, "title should not hold a NUL character"),
    ({"title": StartsWith("\ud800")}, "title should not hold a lone surrogate"),
    ({"title": Contains(None)}, "title should not be compared with None"),
    ({"title": Above("x" * 41)}, "title should have at most 40 characters"),
    ({"title": None}, "title should be text"),
    ({"id": infra.FILLED}, "id should be a whole number"),
    ({"id": Not(infra.FILLED)}, "id should be a whole number"),
    ({"id": None}, "id should be a whole number"),
    ({"ratio": Above(float("nan"))}, "ratio should be a finite number"),
    ({"ratio": Above(float("inf"))}, "ratio should be a finite number"),
    ({"price": Above(Decimal("NaN"))}, "price should be a finite Decimal"),
    ({"price": Above(Decimal("0.001"))}, "price should have at most 10 digits"),
    ({"created_at": Above(datetime(2026, 1, 2))}, "created_at should"),
    ({"created_at": Above(DAY)}, "created_at should be an aware datetime"),
    ({"day": Above(NOON)}, "day should be a date"),
    ({"state": Above("gone")}, "state should be one of: open, paid, sent"),
    ({"wait": Above(5)}, "wait should be a timedelta"),
    ({"meta": {"a": 1}}, "meta is a document, on which is no condition"),
    ({"meta": None}, "meta is a document, on which is no condition"),
    ({"meta": Not(None)}, "meta is a document, on which is no condition"),
    ({"amount": nested(11)}, "amount should have at most 10 AnyOf and Not around each other"),
    ({"sum": 3}, "entries has no sum"),
    ({"amuont": Above(3)}, "entries has no amuont"),
    ({5: 3}, "entries has no 5"),  # type: ignore[dict-item]
]
NO_SORT, NO_LIMIT = "sort should be one of: id, title, amount", "limit should be a whole number"
WRONG_OPTIONS: list[tuple[dict[str, Any], str]] = [
    *(({"sort": sort}, NO_SORT) for sort in ("meta", "sum", "secret", "-title", 5, ["title"])),
    *(({"descending": value}, "descending should be True or False") for value in (1, "no")),
    *(({"limit": limit}, NO_LIMIT) for limit in (0, -1, True, "5", 1.0)),
    ({"limit": 10**9 + 1}, "limit should be a whole number from 1 to 1000000000"),
]
NO_DICT: list[Any] = [None, "title", [("title", "a")], Above(3), {"title"}]


class ConditionContract(Contract):
    port = infra.Repository

    # --- what conditions match

    def test_numbers(self, backend: Conditions) -> None:
        backend.amounts(1, 2, 3, None, -5)
        found = backend.found
        assert found(amount=Above(2)) == "2"
        assert found(amount=AtLeast(2)) == "1 2"
        assert found(amount=Below(2)) == "0 4"
        assert found(amount=AtMost(2)) == "0 1 4"
        assert found(amount=Between(1, 2)) == "0 1"
        assert found(amount=Between(2, 1)) == ""
        assert found(amount=Between(-9, -5)) == "4"
        assert found(amount=OneOf([3, 1, 1, 9])) == "0 2"
        assert found(amount=OneOf({-5})) == "4"
        assert found(amount=3) == "2"
        assert found(amount=Above(2**31)) == ""
        assert found(amount=Below(2**63)) == "0 1 2 4"
        assert found(amount=AtLeast(-(2**64))) == "0 1 2 4"

    def test_null(self, backend: Conditions) -> None:
        """It matches no condition but None."""
        backend.amounts(1, 2, None)
        found = backend.found
        assert found(amount=None) == "2"
        assert found(amount=Not(None)) == "0 1"
        assert found(amount=Not(1)) == "1"
        assert found(amount=Not(Not(1))) == "0"
        assert found(amount=Not(Not(None))) == "2"
        assert found(amount=Not(Above(1))) == "0"
        assert found(amount=Not(OneOf([1, 5]))) == "1"
        assert found(amount=Not(Between(2, 9))) == "0"
        assert found(amount=AnyOf(None, Above(1))) == "1 2"
        assert found(amount=AnyOf(None, 1)) == "0 2"
        assert found(amount=AnyOf(None)) == "2"
        assert found(amount=Not(AnyOf(None, 1))) == "1"
        assert found(amount=Not(AnyOf(2, 1))) == ""
        assert found(amount=AnyOf(Not(None), None)) == "0 1 2"
        assert found(amount=AnyOf(Not(1), None)) == "1 2"
        assert found(amount=Not(AnyOf(Above(1), Not(AnyOf(None, 1))))) == "0"
        assert found(id=Not(None)) == "0 1 2"
        assert found(id=AnyOf(None, 0)) == ""

    def test_any_and_not(self, backend: Conditions) -> None:
        backend.amounts(1, 2, 3, 4, 5)
        found = backend.found
        assert found(amount=AnyOf(1, Above(4))) == "0 4"
        assert found(amount=AnyOf(1, 2, OneOf([3]))) == "0 1 2"
        assert found(amount=AnyOf(Not(AnyOf(1, 2)), 1)) == "0 2 3 4"
        assert found(amount=Not(AnyOf(Below(2), Between(4, 5)))) == "1 2"
        assert found(amount=Above(2), title=Not("3")) == "2 4"
        assert found(amount=AnyOf(1, 2), title=AnyOf("1", "4")) == "1"
        assert found(amount=AnyOf(2, 1), title=AnyOf("1", "4")) == "1"
        assert found(amount=nested(10)) == "0"
        assert found(amount=AnyOf(*range(2, 300))) == "1 2 3 4"

    def test_texts(self, backend: Conditions) -> None:
        titles = ["a%b", "aXb", "A%B", "a_b", "a|b", "ab\\", "été", "x'y\"", "🙂"]
        backend.store(*map(Entry, titles))
        found = backend.found
        assert found(title=Contains("%")) == "a%b A%B"
        assert found(title=Contains("a%")) == "a%b"
        assert found(title=Contains("_")) == "a_b"
        assert found(title=Contains("|")) == "a|b"
        assert found(title=Contains("\\")) == "ab\\"
        assert found(title=Contains("t")) == "été"
        assert found(title=Contains("e")) == ""
        assert found(title=Contains("'y\"")) == "x'y\""
        assert found(title=Contains("🙂")) == "🙂"
        assert found(title=Contains("B")) == "A%B"
        assert found(title=Contains("")) == " ".join(titles)
        assert found(title=Contains("b" * 200)) == ""
        assert found(title=StartsWith("a")) == "a%b aXb a_b a|b ab\\"
        assert found(title=StartsWith("a%")) == "a%b"
        assert found(title=StartsWith("b")) == ""
        assert found(title=StartsWith("é")) == "été"
        assert found(title=StartsWith("")) == " ".join(titles)
        assert found(title=Not(StartsWith("a"))) == "A%B été x'y\" 🙂"
        assert found(title=AnyOf(StartsWith("A"), Contains("X"))) == "aXb A%B"
        assert found(title=Above("a|b")) == "été x'y\" 🙂"
        assert found(title=AtMost("A%B")) == "A%B"
        assert found(title=Between("a_", "ab")) == "a_b"
        assert found(title=OneOf(["a_b", "A_B", "🙂"])) == "a_b 🙂"

    def test_texts_of_an_index(self, backend: Conditions) -> None:
        """MariaDB finds nothing of an index BETWEEN 'A' AND 'a'."""
        for shelf in ("a", "B", "b"):
            backend.places.create(Place(shelf, 1))
        found = backend.places.select({"shelf": Between("A", "a")})
        assert {place.shelf for place in found} == {"a", "B"}
        others = backend.places.select({"shelf": Not(Between("A", "a"))})
        assert [place.shelf for place in others] == ["b"]

    def test_texts_with_blanks(self, backend: Conditions) -> None:
        """MySQL does not count blanks at the end, but in LIKE it does."""
        backend.store(Entry("a "), Entry("a"), Entry("a\t"), Entry("b"))
        padded = backend.dialect != "postgres"
        assert backend.titles(title=Above("a")) == (["b"] if padded else ["a ", "a\t", "b"])
        assert backend.titles(title=Not("a")) == (["a\t", "b"] if padded else ["a ", "a\t", "b"])
        assert backend.titles(title=Between("a", "a")) == (["a ", "a"] if padded else ["a"])
        assert backend.titles(title=AnyOf("a ", "b")) == (
            ["a ", "a", "b"] if padded else ["a ", "b"]
        )
        assert backend.titles(title=StartsWith("a ")) == ["a "]
        assert backend.titles(title=Not(Contains(" "))) == ["a", "a\t", "b"]

    def test_values_of_every_type(self, backend: Conditions) -> None:
        ids = [uuid.UUID(int=1), uuid.UUID(int=2**127)]
        backend.store(
            Entry("a", price=Decimal("1.50"), ratio=0.5, state=State.OPEN, day=DAY, at=time(9),
                  wait=timedelta(seconds=-1), data=b"\x00a", flag=True, owner=ids[0]),
            Entry("b", price=Decimal("10.00"), ratio=1e300, state=State.PAID,
                  day=date(2026, 1, 3), at=time(9, 0, 0, 1), wait=timedelta(days=400),
                  data=b"\xff", owner=ids[1]),
            Entry("c"),
        )  # fmt: skip
        found = backend.found
        assert found(price=Above(Decimal("1.5"))) == "b"
        assert found(price=AtMost(Decimal("1.5"))) == "a"
        assert found(price=Not(Decimal("1.5"))) == "b"
        assert found(ratio=Between(0, 1)) == "a"
        assert found(ratio=AtLeast(1e300)) == "b"
        assert found(state=State.OPEN) == found(state="open") == "a"
        assert found(state=OneOf([State.OPEN, "paid"])) == "a b"
        assert found(state=Not(State.OPEN)) == found(state=Above("open")) == "b"
        assert found(state=StartsWith("pa")) == "b"
        assert found(day=Above(DAY)) == "b"
        assert found(at=Above(time(9))) == "b"
        assert found(wait=Below(timedelta())) == "a"
        assert found(wait=AnyOf(None, timedelta(days=400))) == "b c"
        assert found(data=Above(b"\x00a")) == "b"
        assert found(data=OneOf([b"\x00a", b"x"])) == "a"
        assert found(flag=True) == found(flag=Not(False)) == found(flag=Above(False)) == "a"
        assert found(owner=Above(ids[0])) == "b"
        assert found(owner=OneOf(ids)) == "a b"
        assert found(owner=AnyOf(None, ids[1])) == "b c"

    def test_times(self, backend: Conditions) -> None:
        start = backend.store(Entry("a"))[0].created_at
        backend.clock.advance(60)
        backend.store(Entry("b"))
        elsewhere = start.astimezone(timezone(timedelta(hours=5)))
        assert backend.found(created_at=Above(elsewhere)) == "b"
        assert backend.found(created_at=AtMost(elsewhere)) == "a"
        assert backend.found(created_at=Between(start, start + timedelta(minutes=1))) == "a b"

    def test_columns_that_are_not_in_the_record(self, backend: Conditions) -> None:
        backend.store(Entry("Été"), Entry("x"))
        assert backend.found(title_folded=Contains("té")) == "Été"
        assert backend.found(title_folded="été") == backend.found(title="Été") == "Été"
        assert backend.found(title="Été", title_folded="x") == ""
        assert backend.found(title="été") == ""
        assert backend.found(secret=None) == "Été x"
        assert backend.found(secret=Not(None)) == ""

    # --- the verbs

    def test_select(self, backend: Conditions) -> None:
        entries = backend.entries
        assert entries.select() == []
        assert (entries.count(), entries.exists_where({})) == (0, False)
        stored = backend.store(Entry("b", 2), Entry("a", 2), Entry("c", 1), Entry("d"))
        assert entries.select() == entries.select({}) == stored
        assert (entries.count(), entries.count({}), entries.exists_where({})) == (4, 4, True)

        def titles(**options: Any) -> str:
            return "".join(entry.title for entry in entries.select({"amount": Not(9)}, **options))

        assert titles(sort="title") == "abc"
        assert titles(sort="title", descending=True) == "cba"
        assert titles(sort="amount") == "cba"
        assert titles(sort="amount", descending=True) == "abc"
        assert titles(sort="id", descending=True) == titles(descending=True) == "cab"
        assert titles(limit=2) == "ba"
        assert titles(limit=1) == "b"
        assert titles(sort="title", limit=2) == "ab"
        assert titles(sort="title", limit=10**9) == "abc"
        assert entries.select(where={"title": "a"}) == [stored[1]]
        nulls_last = backend.dialect == "postgres"
        assert [one.title for one in entries.select(sort="amount")] == (
            ["c", "b", "a", "d"] if nulls_last else ["d", "c", "b", "a"]
        )

    def test_what_select_refuses(self, backend: Conditions) -> None:
        for options, message in WRONG_OPTIONS:
            with pytest.raises(infra.ValidationError, match=message):
                backend.entries.select({}, **options)

    def test_wrong_conditions(self, backend: Conditions) -> None:
        """Nothing is sent: the database is closed."""
        backend.database.close()
        entries = backend.entries
        verbs: list[Callable[..., Any]] = [
            entries.select, entries.count, entries.exists_where, entries.delete_where,
            entries.iterate, lambda where: entries.update_where(where, flag=True),
        ]  # fmt: skip
        for where, message in WRONG:
            calls = [*verbs]
            if where.keys() <= {*Entries.filter_fields}:
                calls.append(lambda filters: entries.page(Query(filters=filters)))
            for call in calls:
                with pytest.raises(infra.ValidationError, match=message):
                    call(where)
        for no_dict in NO_DICT:
            for call in verbs:
                with pytest.raises(infra.ValidationError, match="where should be a dict"):
                    call(no_dict)

    def test_a_condition_is_no_value(self, backend: Conditions) -> None:
        entries = backend.entries
        (entry,) = backend.store(Entry("a", 1))
        wrong: Any = Above(0)
        with pytest.raises(infra.ValidationError, match="amount should be a whole number"):
            entries.update_where({"amount": 1}, amount=wrong)
        for call in (
            lambda: entries.get(wrong),
            lambda: entries.exists(wrong),
            lambda: entries.delete(wrong),
            lambda: entries.create(Entry(wrong)),
            lambda: entries.create(Entry("b", wrong)),
        ):
            with pytest.raises(infra.ValidationError, match=r"(id|title|amount) should be"):
                call()
        assert entries.select() == [entry]

    def test_filters_of_a_page(self, backend: Conditions) -> None:
        backend.amounts(*range(10), None)
        query = Query(1, 3, "amount", filters={"amount": Between(2, 8)}, with_total=True)
        page = backend.entries.page(query)
        assert ([entry.amount for entry in page.items], page.total) == ([2, 3, 4], 7)
        with pytest.raises(infra.ValidationError, match="1 of the filters are none of: amount, t"):
            backend.entries.page(Query(filters={"level": Not("low")}))

    def test_many_shapes(self, backend: Conditions) -> None:
        backend.amounts(*range(8))
        for number in range(1, 1200):
            bits = [at for at in range(11) if number >> at & 1]
            parts = [Above(at) if at % 2 else AtLeast(at) for at in bits]
            condition = AnyOf(*(Not(part) for part in parts))
            lowest = max(at + at % 2 for at in bits)
            assert backend.entries.count({"amount": condition}) == min(lowest, 8), bits

    # --- changes

    def test_update_where(self, backend: Conditions) -> None:
        entries, clock = backend.entries, backend.clock
        before = backend.store(Entry("a", 1), Entry("b", 2), Entry("c", 3), Entry("d"))
        start = clock.now()
        clock.advance(60)
        assert entries.update_where({"amount": Above(1)}, flag=True, state=State.PAID) == 2
        assert [entry.flag for entry in entries.select()] == [False, True, True, False]
        assert [entry.updated_at for entry in entries.select()] == [
            start, clock.now(), clock.now(), start,
        ]  # fmt: skip
        (b,) = entries.select({"title": "b"})
        assert b == replace(before[1], flag=True, state=State.PAID, updated_at=clock.now())
        assert entries.update_where({"amount": Above(1)}, flag=True) == 2  # they are found again
        assert entries.update_where({"amount": 9}, flag=True) == 0
        assert entries.update_where({"amount": 3}, amount=None, meta={"a": [1]}, data=b"x") == 1
        assert (entries.count({"amount": None}), entries.count({"data": b"x"})) == (2, 1)
        assert entries.select({"data": b"x"})[0].meta == {"a": [1]}
        assert entries.update_where({"id": Not(None)}, amount=5, wait=timedelta(hours=1)) == 4
        assert [(one.amount, one.wait) for one in entries.select()] == [(5, timedelta(hours=1))] * 4

    def test_update_where_of_other_columns(self, backend: Conditions) -> None:
        entries = backend.entries
        backend.store(Entry("a"), Entry("b"))
        assert entries.update_where({"title_folded": "a"}, title="É", secret="s") == 1
        assert (backend.titles(title_folded="é"), backend.titles(secret="s")) == (["É"], ["É"])
        assert backend.places.create(Place("a", 1))
        assert backend.places.update_where({"shelf": "a", "number": AtLeast(1)}, text="x") == 1
        assert backend.places.select() == [Place("a", 1, "x")]

    def test_what_update_where_refuses(self, backend: Conditions) -> None:
        entries = backend.entries
        before = backend.store(Entry("a", 1))
        wrong: list[tuple[dict[str, Any], str]] = [
            ({}, "update_where should get a field to change"),
            ({"id": 5}, "update_where cannot change id"),
            ({"amount": 5, "level": "high"}, "update_where cannot change level"),
            ({"note": "x"}, "update_where cannot change note"),
            ({"title_folded": "x"}, "update_where cannot change title_folded"),
            ({"updated_at": NOON}, "update_where cannot change updated_at"),
            ({"amuont": 5}, "entries has no amuont"),
            ({"sum": 5}, "entries has no sum"),
            ({"amount": "5"}, "amount should be a whole number"),
            ({"amount": Above(5)}, "amount should be a whole number"),
            ({"title": None}, "title should be text"),
            ({"meta": Not(None)}, "meta should be a dict"),
            ({"price": Decimal("0.001")}, "price should have at most 10 digits"),
        ]
        for changes, message in wrong:
            with pytest.raises(infra.ValidationError, match=message):
                entries.update_where({"amount": 1}, **changes)
        with pytest.raises(infra.ValidationError, match="first, last can only be changed together"):
            backend.names.update_where({"first": "a"}, last="b")
        with pytest.raises(infra.DatabaseError):
            entries.update_where({"amount": 1}, amount=2**31)
        assert entries.select() == before

    def test_rules_hold_for_all_rows(self, backend: Conditions) -> None:
        names = backend.names
        backend.names.create(Name("a", "b"))
        backend.names.create(Name("c", "d"))
        taken = violation(lambda: names.update_where({"id": Not(None)}, first="x", last="y"))
        assert taken == ("condition_names_whole_key", "unique")
        assert [name.first for name in names.select(sort="first")] == ["a", "c"]
        assert names.update_where({"first": "c"}, first="C", last="y") == 1
        assert names.select({"whole": "c\ny"})[0].last == "y"

    def test_delete_where(self, backend: Conditions) -> None:
        entries = backend.entries
        backend.amounts(1, 2, 3, None)
        assert entries.delete_where({"amount": Above(9)}) == 0
        assert entries.delete_where({"amount": Between(2, 3), "title": Not("2")}) == 1
        assert backend.titles() == ["0", "2", "3"]
        assert entries.delete_where({"amount": None}) == 1
        assert entries.delete_where({"id": Not(None)}) == 2
        assert entries.select() == []

    def test_an_empty_where_changes_nothing(self, backend: Conditions) -> None:
        entries = backend.entries
        before = backend.store(Entry("a"))
        message = r"where should not be empty: .* such as \{'id': Not\(None\)\}"
        with pytest.raises(infra.ValidationError, match=message):
            entries.delete_where({})
        with pytest.raises(infra.ValidationError, match=message):
            entries.update_where({}, amount=3)
        message = r"such as \{'shelf': Not\(None\)\}"
        with pytest.raises(infra.ValidationError, match=message):
            backend.places.delete_where({})
        assert entries.select() == before

    def test_a_field_that_is_called_where(self, backend: Conditions) -> None:
        backend.words.create(Word("a", where="x"))
        assert backend.words.update_where({"where": "x"}, where="y") == 1
        assert backend.words.select({"where": "y"}) == [Word("a", "y")]

    # --- walks

    def test_iterate(self, backend: Conditions) -> None:
        entries = backend.entries
        assert [*entries.iterate()] == []
        stored = backend.store(*(Entry(str(at), at % 3) for at in range(10)))
        for batch in (1, 3, 9, 10, 11, 10_000):
            assert [*entries.iterate(batch=batch)] == stored, batch
        assert [*entries.iterate()] == [*entries.iterate({})] == stored
        some = [*entries.iterate({"amount": AnyOf(0, 2)}, batch=2)]
        assert some == [entry for entry in stored if entry.amount != 1]
        assert [*entries.iterate({"id": Above(stored[7].id)}, batch=1)] == stored[8:]
        walk = entries.iterate(batch=3)
        assert [next(walk).title, next(walk).title] == ["0", "1"]
        assert entries.delete_where({"id": Between(stored[2].id, stored[5].id)}) == 4
        assert [entry.title for entry in walk] == ["2", "6", "7", "8", "9"]
        (new,) = backend.store(Entry("new"))
        assert [*entries.iterate(batch=3)][-1] == new

    def test_iterate_over_keys_of_several_columns(self, backend: Conditions) -> None:
        places = backend.places
        hour, day = timedelta(hours=1), timedelta(days=1)
        stored = [
            Place(shelf, number, wait=wait)
            for shelf in ("A", "a", "b", "é")
            for number in (-1, 2, 10)
            for wait in (-day, hour, day)
        ]
        for place in reversed(stored):
            places.create(place)
        for batch in (1, 2, 5, 36, 100):
            assert [*places.iterate(batch=batch)] == stored, batch
        some = [*places.iterate({"number": Above(0), "wait": hour}, batch=3)]
        assert some == [one for one in stored if one.number > 0 and one.wait == hour]

    def test_iterate_over_hidden_keys(self, backend: Conditions) -> None:
        for text in "cab":
            backend.words.create(Word(text))
        assert [word.text for word in backend.words.iterate(batch=2)] == ["c", "a", "b"]
        assert [word.text for word in backend.words.iterate()] == ["c", "a", "b"]

    def test_iterate_over_texts_of_other_programs(self, backend: Conditions) -> None:
        """A key that the class would refuse today does not end a walk."""
        loose = LoosePlaces.on(backend.database)
        for shelf in ("   ", "a\t", "zzzzz"):
            loose.create(Loose(shelf, 1, "x"))
        strict = StrictPlaces.on(backend.database)
        assert [place.shelf for place in strict.iterate(batch=1)] == ["   ", "a\t", "zzzzz"]

    def test_what_iterate_refuses(self, backend: Conditions) -> None:
        """At the call, not at the first record."""
        wrong: Any
        for wrong in (0, -1, 10_001, True, "5", 1.5, None):
            with pytest.raises(infra.ValidationError, match="batch should be"):
                backend.entries.iterate(batch=wrong)
        with pytest.raises(infra.ValidationError, match="amount should be"):
            backend.entries.iterate({"amount": "5"})

    # --- pages after a record

    def test_pages_after_a_record(self, backend: Conditions) -> None:
        entries = backend.entries
        stored = backend.store(*(Entry(title, 1) for title in "cabfed"))
        by_title = sorted(stored, key=lambda entry: entry.title)

        def pages(query: Query) -> list[list[Entry]]:
            found = []
            while True:
                page = entries.page(query)
                assert (page.page, page.per_page) == (1, query.per_page)
                found.append(page.items)
                if page.next is None:
                    return found
                query = replace(query, after=page.next)

        assert pages(Query(per_page=6)) == [stored, []]
        assert pages(Query(per_page=7)) == [stored]
        query = Query(per_page=4, sort="title")
        assert pages(query) == [by_title[:4], by_title[4:]]
        assert pages(replace(query, descending=True)) == [by_title[:1:-1], by_title[1::-1]]
        assert pages(Query(per_page=5, descending=True)) == [stored[:0:-1], stored[:1]]
        some = {"title": OneOf(["c", "a", "b", "f"]), "amount": 1}
        assert pages(replace(query, per_page=3, filters=some)) == [by_title[:3], [stored[3]]]
        assert pages(replace(query, filters={"amount": 2})) == [[]]

    def test_next(self, backend: Conditions) -> None:
        entries = backend.entries
        one, two, three = backend.store(Entry("b"), Entry("a"), Entry("b"))
        page = entries.page(Query(per_page=2, sort="title", with_total=True))
        assert page.next == ("b", one.id)
        assert page == infra.Page([two, one], 1, 2, 3)
        assert "next" not in repr(page)
        after = Query(per_page=2, sort="title", with_total=True, after=page.next)
        page = entries.page(after)
        assert (page.items, page.next, page.total) == ([three], None, 3)
        assert entries.delete(one.id) is True
        assert entries.page(after).items == [three]
        assert entries.page(replace(after, descending=True)).items == [two]
        assert entries.page(replace(after, after=["b", one.id])).items == [three]
        assert entries.page(replace(after, after=("", 0))).items == [two, three]
        assert entries.page(replace(after, after=("b", 2**31 - 1))).items == []
        assert "after" not in repr(after)
        page = entries.page(Query(per_page=1))
        assert page.next == (two.created_at, two.id)

    def test_next_of_a_key(self, backend: Conditions) -> None:
        places = backend.places
        stored = [Place("a", at, "x", timedelta(hours=at)) for at in range(3)]
        for place in stored:
            places.create(place)
        page = places.page(Query(per_page=2))
        assert (page.items, page.next) == (stored[:2], ("x", "a", 1, timedelta(hours=1)))
        assert places.page(Query(after=page.next)).items == stored[2:]
        before = Query(after=page.next, descending=True)
        assert places.page(before).items == stored[:1]
        names = [backend.names.create(Name("a", str(at))) for at in range(3)]
        first = backend.names.page(Query(per_page=2))
        assert first.next == ("a", first.items[1].id)
        rest = backend.names.page(Query(after=first.next)).items
        assert {name.id for name in [*first.items, *rest]} == {name.id for name in names}
        for text in "ba":
            backend.words.create(Word(text))
        words = backend.words.page(Query(per_page=1))
        assert (words.items, words.next is not None) == ([Word("a")], True)
        assert backend.words.page(Query(after=words.next)).items == [Word("b")]

    def test_next_of_null(self, backend: Conditions) -> None:
        """It says that the page is full, but no page can begin there."""
        backend.amounts(None, 1)
        for field in ("amount", "state", "wait"):
            page = backend.entries.page(Query(per_page=2, sort=field))
            assert (len(page.items), page.next is None) == (2, False)
            message = f"after needs a sort field that is never NULL, not {field}"
            with pytest.raises(infra.ValidationError, match=message):
                backend.entries.page(Query(sort=field, after=page.next))

    def test_what_after_refuses(self, backend: Conditions) -> None:
        backend.database.close()
        wrong: list[tuple[Any, str]] = [
            (("a",), r"after should be the next of a page: \(title, id\)"),
            (("a", 1, 2), r"after should be the next of a page: \(title, id\)"),
            ((), "after should be the next of a page"),
            ("ab", "after should be the next of a page"),
            (5, "after should be the next of a page"),
            ({"title": "a", "id": 1}, "after should be the next of a page"),
            ((1, 1), "title should be text"),
            (("a", "1"), "id should be a whole number"),
            (("a", None), "id should be a whole number"),
            ((None, 1), "title should be text"),
            ((Above("a"), 1), "title should be text"),
        ]
        for after, message in wrong:
            with pytest.raises(infra.ValidationError, match=message):
                backend.entries.page(Query(sort="title", after=after))
        with pytest.raises(infra.ValidationError, match="page should be 1: after says where"):
            backend.entries.page(Query(2, sort="title", after=("a", 1)))

    def test_one_transaction(self, backend: Conditions) -> None:
        with backend.database.transaction():
            backend.amounts(1, 2)
            assert backend.found(amount=Above(1)) == "1"


class TestFakeMySQL(ConditionContract):
    backend = on_fake("mysql")


class TestFakeMariaDB(ConditionContract):
    backend = on_fake("mariadb")


class TestFakePostgres(ConditionContract):
    backend = on_fake("postgres")


class TestMariaDB(ConditionContract):
    backend = on_real("mariadb")


class TestMySQL(ConditionContract):
    backend = on_real("mysql")


class TestPostgres(ConditionContract):
    backend = on_real("postgres")


class TestPostgres18(ConditionContract):
    backend = on_real("postgres-18")


# --- the values themselves


def test_a_condition_is_a_value() -> None:
    assert Above(3) == Above(3) != AtLeast(3)
    assert (Above(3) == Above(4), Above(3) == 3, Above(3) == (3,)) == (False, False, False)
    assert Between(1, 2) == Between(low=1, high=2) != Between(2, 1)
    assert OneOf([1, 2]) == OneOf((1, 2)) == OneOf(iter([1, 2])) != AnyOf(1, 2)
    assert Not(AnyOf(None, 1)) == Not(AnyOf(None, 1)) != Not(AnyOf(1, None))
    assert {Above(3), Above(3), Not(Above(3))} == {Above(3), Not(Above(3))}
    assert hash(OneOf([1, 2])) == hash(OneOf([1, 2]))
    assert Contains("a") != StartsWith("a")


@pytest.mark.parametrize(
    "condition",
    [
        Above(3), AtLeast(3), Below(3), AtMost(3), Between(1, 2), OneOf([1, 2]), Contains("a"),
        StartsWith("a"), Not(None), AnyOf(1, Not(2)),
    ],
)  # fmt: skip
def test_a_condition_does_not_change(condition: Any) -> None:
    again = pickle.loads(pickle.dumps(condition))  # noqa: S301
    assert again == copy.deepcopy(condition) == condition
    assert repr(condition) == f"{type(condition).__name__}(...)"
    for name in ("value", "other"):
        with pytest.raises(AttributeError, match="cannot be changed"):
            setattr(condition, name, 4)
    assert type(condition).__doc__


def test_values_of_a_list_are_copied() -> None:
    values = [1]
    condition = OneOf(values)
    values.append(2)
    assert condition == OneOf([1])


@pytest.mark.parametrize("values", ["abc", b"abc", 5, None])
def test_what_is_no_list(values: Any) -> None:
    with pytest.raises(infra.ValidationError, match="values should be a list or another iterable"):
        OneOf(values)
