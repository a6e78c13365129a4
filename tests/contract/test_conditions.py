"""Conditions: in filters, and in the verbs that read and change the rows that match."""

from __future__ import annotations

import copy
import enum
import pickle
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
from tests.contract.databases import dialect_of


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
class Word:
    text: str


class Words(infra.Repository[Word]):
    """Its key is not in the record."""

    record, table, resource = Word, "condition_words", "word"
    lengths: ClassVar = {"text": 20}
    key = ids = ("number",)
    hidden: ClassVar = {"number": int}
    sort_fields = ("text",)


PORTS: list[Any] = [Entries, Places, Words]
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
    ({5: 3}, "entries has no 5"),
]
NO_SORT, NO_LIMIT = "sort should be one of: id, title, amount", "limit should be a whole number"
WRONG_OPTIONS: list[tuple[dict[str, Any], str]] = [
    *(({"sort": sort}, NO_SORT) for sort in ("meta", "sum", "secret", "-title", 5, ["title"])),
    *(({"descending": value}, "descending should be True or False") for value in (1, "no")),
    *(({"limit": limit}, NO_LIMIT) for limit in (0, -1, True, "5", 1.0)),
    ({"limit": 10**9 + 1}, "limit should be at most 1000000000"),
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
        for where, message in WRONG:
            calls: list[Callable[..., Any]] = [entries.select, entries.count, entries.exists_where]
            if where.keys() <= {*Entries.filter_fields}:
                calls.append(lambda filters: entries.page(Query(filters=filters)))
            for call in calls:
                with pytest.raises(infra.ValidationError, match=message):
                    call(where)
        for no_dict in NO_DICT:
            for call in (entries.select, entries.count, entries.exists_where):
                with pytest.raises(infra.ValidationError, match="where should be a dict"):
                    call(no_dict)

    def test_a_condition_is_no_value(self, backend: Conditions) -> None:
        entries = backend.entries
        (entry,) = backend.store(Entry("a", 1))
        wrong: Any = Above(0)
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
