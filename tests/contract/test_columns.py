"""Types of fields, names of columns and defaults: what a repository reads it can write back."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

import fakes
import infra
from tests.contract.databases import dialect_of, violation

#: a text with all that SQL and its drivers treat specially
HOSTILE = 'it\'s \\ "%s" %(x)s `é` ; -- 🙂'


class State(enum.Enum):
    OPEN = "open"
    PAID = "paid"
    HELD = HOSTILE


class Size(str, enum.Enum):
    SMALL = "s"
    LARGE = "x l"


class Other(enum.Enum):
    OPEN = "open"


@dataclass(frozen=True)
class Parcel:
    state: State
    size: Size = Size.SMALL
    kind: Literal["letter", "box"] = "letter"
    price: Decimal = Decimal(0)
    day: date = date(2026, 1, 2)
    at: time = time(12)
    wait: timedelta = timedelta()
    data: bytes = b""
    tags: tuple[str, ...] = ()
    id: uuid.UUID = infra.FILLED


class Parcels(infra.Repository[Parcel]):
    record, table, resource = Parcel, "parcels", "parcel"
    lengths: ClassVar = {"data": 8, "kind": 20}
    scales: ClassVar = {"price": (10, 2)}
    column_names: ClassVar = {"state": "group", "kind": "type", "price": "cost", "size": "kind"}
    unique: ClassVar = [("kind", "day", "at")]
    checks: ClassVar = {
        "parcels_cost_check": infra.Check("cost >= -5", lambda row: row["cost"] >= -5)
    }
    ascii = ("kind",)
    filter_fields = ("state", "size", "kind", "price", "day", "at", "wait")
    sort_fields = filter_fields

    def change_state(self, id: uuid.UUID, old: Any, new: Any) -> int:
        where = self._checked({"id": id, "state": old})
        return self._change("change_state", where, self._checked({"state": new}))

    def of_state_unchecked(self, state: Any) -> list[Parcel]:
        return self._select("of_state_unchecked", {"state": state})

    def of_states(self, *states: Any) -> list[Parcel]:
        return [
            each for state in states for each in self._select("of", self._checked({"state": state}))
        ]


@dataclass(frozen=True)
class Maybe:
    state: State | None = None
    kind: Literal["a"] | None = None
    price: Decimal | None = None
    day: date | None = None
    at: time | None = None
    wait: timedelta | None = None
    data: bytes | None = None
    tags: tuple[str, ...] | None = None
    parcel: uuid.UUID | None = None
    id: uuid.UUID = infra.FILLED


class Maybes(infra.Repository[Maybe]):
    record, table, resource = Maybe, "maybes", "maybe"
    scales: ClassVar = {"price": (20, 10)}
    column_names: ClassVar = {"parcel": "parcel_id"}
    foreign_keys: ClassVar = {
        "maybes_parcel_id_fkey": infra.ForeignKey(("parcel",), "parcels", on_delete="set null")
    }
    guarded = ("state",)
    filter_fields = ("state", "wait", "parcel")


@dataclass(frozen=True)
class Loose:
    """The rows of a table that holds more than the class below knows."""

    group: str | None = None
    tags: list[Any] | None = None
    wait: int | None = None
    id: uuid.UUID = infra.FILLED


class Looses(infra.Repository[Loose]):
    record, table, resource = Loose, "loose", "loose one"
    lengths: ClassVar = {"group": 20, "wait": 64}


@dataclass(frozen=True)
class Strict:
    state: State | None = None
    tags: tuple[str, ...] | None = None
    wait: timedelta | None = None
    id: uuid.UUID = infra.FILLED


class Stricts(infra.Repository[Strict]):
    record, table, resource = Strict, "loose", "strict one"
    column_names: ClassVar = {"state": "group"}

    def states(self) -> list[Any]:
        return self._rows("states", ("state",), {})


@dataclass(frozen=True)
class Full:
    """Each kind of value that may have a default on both engines."""

    text: str
    code: str
    state: State
    kind: Literal["a", "b"]
    flag: bool
    off: bool
    whole: int
    big: int
    ratio: float
    price: Decimal
    tiny: Decimal
    data: bytes
    day: date
    at: time
    wait: timedelta
    seen_at: datetime
    owner: uuid.UUID
    none: int | None
    id: uuid.UUID = infra.FILLED


class Fulls(infra.Repository[Full]):
    record, table, resource = Full, "fulls", "full one"
    lengths: ClassVar = {"text": 80, "code": 5, "data": 80, "big": 64}
    scales: ClassVar = {"price": (10, 2), "tiny": (30, 25)}
    ascii = ("code",)
    column_names: ClassVar = {"whole": "order"}
    defaults: ClassVar = {
        "text": HOSTILE + "\n\t",
        "code": "a'\\",
        "state": State.HELD,
        "kind": "b",
        "flag": True,
        "off": False,
        "whole": -7,
        "big": -(1 << 62),
        "ratio": 1.5e300,
        "price": Decimal("-1e2"),
        "tiny": Decimal("0.0000000123456789012345678"),
        "data": b"\x00'\\\xff",
        "day": date(1999, 12, 31),
        "at": time(23, 59, 59, 999_999),
        "wait": -timedelta(days=1, microseconds=1),
        "seen_at": datetime(2026, 1, 2, 3, 4, 5, 6, timezone(timedelta(hours=2))),
        "owner": uuid.UUID(int=7),
        "none": 5,
    }


@dataclass(frozen=True)
class Document:
    """What has a default on Postgres only."""

    text: str
    data: bytes
    meta: dict[str, Any]
    tags: tuple[str, ...]
    id: uuid.UUID = infra.FILLED


class Documents(infra.Repository[Document]):
    record, table, resource = Document, "documents", "document"
    defaults: ClassVar = {
        "text": HOSTILE, "data": b"\x00", "meta": {"a": [HOSTILE]}, "tags": (HOSTILE,),
    }  # fmt: skip


PORTS: tuple[Any, ...] = (Maybes, Parcels, Looses, Fulls)
EARLY = Parcel(
    State.OPEN, Size.LARGE, "box", Decimal("99999999.99"), date.min, time.min,
    timedelta(microseconds=-(1 << 63) + 1), b"\x00" * 8, (),
)  # fmt: skip
LATE = Parcel(
    State.HELD, Size.SMALL, "letter", Decimal("-5.00"), date.max, time(23, 59, 59, 999_999),
    timedelta(microseconds=(1 << 63) - 1), b"'\\\xff", ("", HOSTILE, " ", "a" * 70_000),
)  # fmt: skip


@dataclass
class Backend:
    database: infra.Database
    dialect: str

    @property
    def engine(self) -> str:
        return self.database.engine

    @property
    def parcels(self) -> Parcels:
        return Parcels.on(self.database)

    @property
    def maybes(self) -> Maybes:
        return Maybes.on(self.database)

    def insert(self, table: str, **row: Any) -> None:
        self.database.insert_many(table, [*row], [tuple(row.values())])


class Cases:
    """The cases; a class below for each backend."""

    def test_what_is_read_can_be_written_back(self, backend: Backend) -> None:
        for given in (EARLY, LATE, Parcel(State.PAID, at=time(1), wait=-timedelta(seconds=1))):
            created = backend.parcels.create(given)
            assert created == replace(given, id=created.id)
            assert repr(backend.parcels.find_by_id(created.id)) == repr(created)
            assert repr(backend.parcels.update(created)) == repr(created)
            assert repr(backend.parcels.find_by_id(created.id)) == repr(created)
        assert backend.parcels.count() == 3

    def test_nothing_can_be_written_back(self, backend: Backend) -> None:
        created = backend.maybes.create(Maybe())
        assert backend.maybes.find_by_id(created.id) == created == Maybe(id=created.id)
        full = replace(
            created, state=State.PAID, kind="a", price=Decimal("0.5"), day=date(2026, 1, 2),
            at=time(1), wait=timedelta(1), data=b"", tags=(),
        )  # fmt: skip
        assert violation(lambda: backend.maybes.update(full))[0] == "maybes_as_read"
        full = replace(full, state=None)
        assert backend.maybes.update(full) == full == backend.maybes.find_by_id(created.id)
        assert backend.maybes.update(created) == created == backend.maybes.find_by_id(created.id)

    def test_forms_of_zero(self, backend: Backend) -> None:
        for given in ("0", "-0", "0.00", "0E+5", "0E-10"):
            created = backend.maybes.create(Maybe(price=Decimal(given)))
            assert repr(created.price) == "Decimal('0E-10')"
            assert repr(backend.maybes.find_by_id(created.id)) == repr(created)

    def test_a_member_and_its_text(self, backend: Backend) -> None:
        wrong: Any = "paid"
        by_text = backend.parcels.create(Parcel(wrong, size="x l"))  # type: ignore[arg-type]
        assert (by_text.state, by_text.size) == (State.PAID, Size.LARGE)
        assert type(by_text.size) is Size
        assert backend.parcels.find_by_id(by_text.id) == by_text
        assert backend.parcels.change_state(by_text.id, State.OPEN, State.PAID) == 0
        assert backend.parcels.change_state(by_text.id, State.PAID, "open") == 1
        assert backend.parcels.of_states("paid", State.OPEN) == [replace(by_text, state=State.OPEN)]

    def test_conditions_take_what_the_column_holds(self, backend: Backend) -> None:
        parcel = backend.parcels.create(EARLY)
        assert backend.parcels.of_state_unchecked("open") == [parcel]
        with pytest.raises(infra.ValidationError, match="should not be of type State"):
            backend.parcels.of_state_unchecked(State.OPEN)

    def test_pages(self, backend: Backend) -> None:
        early, late = backend.parcels.create(EARLY), backend.parcels.create(LATE)
        for name in Parcels.filter_fields:
            value = getattr(late, name)
            found = backend.parcels.page(infra.Query(filters={name: value}, with_total=True))
            assert (found.items, found.total) == ([late], 1), name
        found = backend.parcels.page(infra.Query(filters={"state": HOSTILE, "kind": "letter"}))
        assert found.items == [late]
        orders = {name: [early, late] for name in Parcels.sort_fields}
        orders |= {name: [late, early] for name in ("state", "size", "price")}  # by its text
        for name, expected in orders.items():
            assert backend.parcels.page(infra.Query(sort=name)).items == expected, name
            reverse = backend.parcels.page(infra.Query(sort=name, descending=True)).items
            assert reverse == expected[::-1], name

    @pytest.mark.parametrize(
        ("name", "value", "words"),
        [
            ("state", "gone", "one of: open, paid, it's"),
            ("state", Other.OPEN, "one of: open"),
            ("state", "OPEN", "one of: open"),
            ("state", None, "one of: open"),
            ("state", 5, "one of: open"),
            ("state", ["open"], "one of: open"),
            ("size", "", "one of: s, x l"),
            ("size", "xl ", "one of: s, x l"),
            ("kind", "parcel", "one of: letter, box"),
            ("kind", None, "one of: letter, box"),
            ("at", time(1, tzinfo=timezone.utc), "be a time without a time zone"),
            ("at", timedelta(hours=1), "be a time"),
            ("at", "12:00", "be a time"),
            ("wait", 5, "be a timedelta"),
            ("wait", timedelta.max, "fit into 64 bits, in microseconds"),
            ("wait", timedelta.min, "fit into 64 bits, in microseconds"),
            ("wait", timedelta(microseconds=1 << 63), "fit into 64 bits, in microseconds"),
            ("tags", ["a"], "be a tuple of texts"),
            ("tags", ("a", 5), "be a tuple of texts"),
            ("tags", ("a", None), "be a tuple of texts"),
            ("tags", "a", "be a tuple of texts"),
            ("tags", ("a\0",), "not hold a NUL character"),
            ("data", b"123456789", "have at most 8 bytes"),
        ],
    )
    def test_wrong_values(self, backend: Backend, name: str, value: Any, words: str) -> None:
        parcel = backend.parcels.create(EARLY)
        with pytest.raises(infra.ValidationError, match=f"^{name} should .*{words}"):
            backend.parcels.create(replace(LATE, **{name: value}))
        with pytest.raises(infra.ValidationError, match=f"^{name} should .*{words}"):
            backend.parcels.update(replace(parcel, **{name: value}))
        if name in Parcels.filter_fields:
            with pytest.raises(infra.ValidationError, match=f"^{name} should .*{words}"):
                backend.parcels.page(infra.Query(filters={name: value}))
        assert backend.parcels.page(infra.Query(sort="at")).items == [parcel]

    @pytest.mark.parametrize(
        ("row", "column"),
        [
            (Loose(group="gone"), "group"),
            (Loose(group="Open"), "group"),
            (Loose(group=""), "group"),
            (Loose(tags=["a", 8_765]), "tags"),
            (Loose(tags=[["a"]]), "tags"),
        ],
    )
    def test_a_stored_value_that_the_class_does_not_know(
        self, backend: Backend, row: Loose, column: str
    ) -> None:
        stored, stricts = Looses.on(backend.database).create(row), Stricts.on(backend.database)
        reads: list[tuple[str, Callable[[], Any]]] = [
            ("find_by_id", lambda: stricts.find_by_id(stored.id)),
            ("page", stricts.page),
        ]
        reads += [("states", stricts.states)] if column == "group" else []
        for operation, read in reads:
            with pytest.raises(infra.DatabaseError, match=f": {column}$") as caught:
                read()
            assert (caught.value.service, caught.value.operation) == (backend.engine, operation)
            assert caught.value.retryable is False
            assert caught.value.__context__ is None
            assert not any(text in str(caught.value) for text in ("gone", "Open", "8"))
        assert stricts.count() == 1
        assert stricts.update(Strict(State.OPEN, ("a",), id=stored.id)).state is State.OPEN
        assert stricts.states() == [(State.OPEN,)]

    def test_a_document_that_is_no_list(self, backend: Backend) -> None:
        id = infra.new_id()
        backend.insert("loose", id=id, tags={"a": 1})
        with pytest.raises(infra.DatabaseError, match=r": tags$"):
            Stricts.on(backend.database).find_by_id(id)

    def test_in_a_transaction_it_ends_the_block_as_other_errors_do(self, backend: Backend) -> None:
        stored, stricts = (
            Looses.on(backend.database).create(Loose("gone")),
            Stricts.on(backend.database),
        )
        goes_on = []
        with pytest.raises(infra.DatabaseError), backend.database.transaction():
            with pytest.raises(infra.DatabaseError, match=r": group$"):
                stricts.find_by_id(stored.id)
            stricts.count()
            goes_on.append(True)
            raise infra.DatabaseError("the end")
        assert goes_on == ([True] if backend.engine == "mysql" else [])

    def test_what_the_columns_hold(self, backend: Backend) -> None:
        """Texts, microseconds and arrays: other programs read and write them."""
        id = infra.new_id()
        backend.insert("loose", id=id, group="open", tags=["a"], wait=-1_500_000)
        strict = Strict(State.OPEN, ("a",), timedelta(seconds=-1.5), id)
        assert Stricts.on(backend.database).find_by_id(id) == strict
        Stricts.on(backend.database).update(replace(strict, state=State.PAID, wait=timedelta(1)))
        assert Looses.on(backend.database).find_by_id(id) == Loose(
            "paid", ["a"], 86_400_000_000, id
        )

    def test_insert_many_takes_what_the_columns_hold(self, backend: Backend) -> None:
        row: dict[str, Any] = {
            "id": infra.new_id(), "group": "paid", "kind": Size.LARGE, "type": "box",
            "cost": Decimal(1), "day": date(2026, 1, 2), "at": time(23, 59, 59, 999_999), "wait": 5,
            "data": b"", "tags": ["a"],
        }  # fmt: skip
        backend.insert("parcels", **row)
        assert backend.parcels.find_by_id(row["id"]) == Parcel(
            State.PAID, Size.LARGE, "box", Decimal(1), date(2026, 1, 2),
            time(23, 59, 59, 999_999), timedelta(microseconds=5), b"", ("a",), row["id"],
        )  # fmt: skip
        for wrong in ({"group": State.PAID}, {"wait": timedelta(1)}):
            with pytest.raises(infra.ValidationError, match=next(iter(wrong))):
                backend.insert("parcels", **{**row, "id": infra.new_id(), **wrong})

    def test_times_of_insert_many_are_found_and_sorted(self, backend: Backend) -> None:
        created = backend.parcels.create(replace(EARLY, at=time(9, 30)))
        row: dict[str, Any] = {"group": "open", "kind": "s", "type": "box", "cost": Decimal(1)}
        row |= {"day": date(2026, 1, 2), "wait": 1, "data": b"", "tags": []}
        for at in (time(9, 29, 59, 999_999), time(0), time(23)):
            backend.insert("parcels", id=infra.new_id(), at=at, **row)
        found = backend.parcels.page(infra.Query(sort="at")).items
        assert [each.at for each in found] == [
            time(0), time(9, 29, 59, 999_999), time(9, 30), time(23),
        ]  # fmt: skip
        assert found[2] == created
        for each in found:
            assert backend.parcels.page(infra.Query(filters={"at": each.at})).items == [each]
        with pytest.raises(infra.ConflictError, match="parcels_type_day_at_key"):
            backend.insert("parcels", id=infra.new_id(), at=time(23), **row)

    def test_the_server_checks_the_texts(self, backend: Backend) -> None:
        row = {"group": "open", "kind": "s", "type": "box", "cost": 1, "day": date(2026, 1, 2)}
        row |= {"at": time(1), "wait": 1, "data": b"", "tags": []}
        for wrong, rule in (("group", "parcels_group_check"), ("type", "parcels_type_check")):
            values = {**row, "id": infra.new_id(), wrong: "gone"}
            assert violation(lambda values=values: backend.insert("parcels", **values)) == (  # type: ignore[misc]
                rule,
                "check",
            )

    def test_rules_of_renamed_columns(self, backend: Backend) -> None:
        parcel = backend.parcels.create(EARLY)
        assert violation(lambda: backend.parcels.create(EARLY)) == (
            "parcels_type_day_at_key", "unique",
        )  # fmt: skip
        wrong = replace(LATE, price=Decimal(-6))
        assert violation(lambda: backend.parcels.create(wrong)) == ("parcels_cost_check", "check")
        assert violation(lambda: backend.maybes.create(Maybe(parcel=infra.new_id()))) == (
            "maybes_parcel_id_fkey", "foreign_key",
        )  # fmt: skip
        maybe = backend.maybes.create(Maybe(parcel=parcel.id))
        found = backend.maybes.page(infra.Query(filters={"parcel": parcel.id}))
        assert found.items == [maybe]
        assert backend.parcels.delete(parcel.id) is True
        assert backend.maybes.find_by_id(maybe.id) == replace(maybe, parcel=None)

    def test_defaults(self, backend: Backend) -> None:
        fulls, id = Fulls.on(backend.database), infra.new_id()
        backend.insert("fulls", id=id)
        stored = fulls.find_by_id(id)
        expected = Full(**Fulls.defaults, id=id)
        expected = replace(expected, price=Decimal("-100.00"), tiny=expected.tiny.quantize(TINY))
        expected = replace(expected, seen_at=expected.seen_at.astimezone(timezone.utc))
        assert repr(stored) == repr(expected)
        other = fulls.create(replace(expected, id=infra.new_id(), text="own", flag=False))
        assert fulls.find_by_id(other.id) == other
        backend.insert("fulls", id=(given := infra.new_id()), text="own", order=1)
        expected = replace(expected, id=given, text="own", whole=1)
        assert fulls.find_by_id(given) == expected

    def test_a_text_beyond_ascii(self, backend: Backend) -> None:
        """MySQL cannot compare it with a column of ASCII, and Postgres would store it."""
        fulls = Fulls.on(backend.database)
        given: dict[str, Any] = {**Fulls.defaults}
        full = fulls.create(Full(**given))
        calls: list[Callable[[], Any]] = [
            lambda: fulls.create(replace(full, code="é")),
            lambda: fulls.update(replace(full, code="é")),
            lambda: fulls.update_fields(full.id, code="é"),
            lambda: fulls.update_where({"code": "a'\\"}, code="é"),
        ]
        conditions: list[Any] = [
            "é", infra.Not("é"), infra.Above("é"), infra.Between("a", "é"), infra.OneOf(["a", "é"]),
            infra.Contains("é"), infra.StartsWith("é"), infra.AnyOf(None, infra.Not("é")),
        ]  # fmt: skip
        calls += [lambda one=one: fulls.count({"code": one}) for one in conditions]  # type: ignore[misc]
        for call in calls:
            with pytest.raises(infra.ValidationError, match=r"^code should be ASCII"):
                call()
        assert fulls.select() == [full]

    def test_a_list_of_numbers_that_no_column_holds(self, backend: Backend) -> None:
        """MySQL 9.7 finds -2**63 in a list that holds 2**63 and some other numbers."""
        fulls = Fulls.on(backend.database)
        least, none = -(2**63), [2**63, -(2**63) - 1]
        for big in (least, 5):
            fulls.create(replace(Full(**Fulls.defaults), big=big))
        cases: list[tuple[infra.OneOf | infra.Not, set[int]]] = [
            (infra.OneOf([6, *none]), set()),
            (infra.OneOf([5, *none]), {5}),
            (infra.OneOf([least, *none, 2**70]), {least}),
            (infra.Not(infra.OneOf([5, *none])), {least}),
            (infra.Not(infra.OneOf(none)), {least, 5}),
        ]
        for condition, found in cases:
            assert {full.big for full in fulls.select({"big": condition})} == found

    def test_a_default_is_not_for_none(self, backend: Backend) -> None:
        """``create`` sends each value: None too."""

        fulls = Fulls.on(backend.database)
        given = fulls.create(replace(Full(**Fulls.defaults), none=None))
        assert given.none is None
        assert fulls.find_by_id(given.id) == given
        backend.insert("fulls", id=(id := infra.new_id()), none=None)
        found = fulls.find_by_id(id)
        assert found is not None
        assert found.none is None

    def test_a_move_into_a_repository(self, backend: Backend, tmp_path: Path) -> None:
        """Rows with members and with their texts. Other values are as the field has them."""
        rows = [
            {"id": infra.new_id(), "state": "paid", "wait": timedelta(1), "tags": ("a",)},
            {"id": infra.new_id(), "state": State.OPEN, "size": "x l", "at": time(1)},
        ]
        move = infra.RowMove(
            "parcels",
            source=infra.IterableSource(rows),
            target=infra.RepositoryTarget(backend.parcels),
            rejects=tmp_path / "rejects",
        )
        assert move.run().counts == infra.MoveCounts(read=2, written=2)
        assert move.verify().ok
        states = [each.state for each in backend.parcels.page(infra.Query(sort="at")).items]
        assert states == [State.OPEN, State.PAID]
        backend.parcels.change_state(rows[0]["id"], "paid", "open")  # type: ignore[arg-type]
        assert move.verify().different == 1

    def test_a_move_leaves_out_what_has_a_default(self, backend: Backend, tmp_path: Path) -> None:
        move = infra.RowMove(
            "fulls",
            source=infra.IterableSource([{"id": (id := infra.new_id())}]),
            target=infra.TableTarget(backend.database, "fulls"),
            rejects=tmp_path / "rejects",
        )
        assert move.run().counts == infra.MoveCounts(read=1, written=1)
        stored = Fulls.on(backend.database).find_by_id(id)
        assert stored is not None
        assert (stored.kind, stored.whole, stored.none) == ("b", -7, 5)

    def test_a_move_between_tables(self, backend: Backend, tmp_path: Path) -> None:
        """A row is moved as its columns hold it."""
        parcel, target = backend.parcels.create(LATE), fakes.FakeDatabase("postgres", TABLES)
        move = infra.RowMove(
            "parcels",
            source=infra.TableSource(backend.database, "parcels"),
            target=infra.TableTarget(target, "parcels"),
            rejects=tmp_path / "rejects",
        )
        if backend.engine == "mysql":  # TIME and LONGTEXT are read as durations and texts
            move = infra.RowMove(
                "parcels", source=move.source, target=infra.TableTarget(target, "parcels"),
                transform=from_mysql, rejects=tmp_path / "rejects",
            )  # fmt: skip
        assert move.run().counts == infra.MoveCounts(read=1, written=1)
        assert move.verify().ok
        assert Parcels.on(target).find_by_id(parcel.id) == parcel


def from_mysql(row: dict[str, Any]) -> dict[str, Any]:
    at, tags = row["at"], row["tags"]
    if isinstance(at, timedelta):
        row["at"] = (datetime.min + at).time()
    if isinstance(tags, str):
        import json

        row["tags"] = json.loads(tags)
    return row


TINY = Decimal((0, (1,), -25))
TABLES = [fakes.Table.of(each) for each in PORTS]


class TestFakeMySQL(Cases):
    @pytest.fixture
    def backend(self) -> Backend:
        return Backend(fakes.FakeDatabase("mysql", TABLES), "mysql")


class TestFakeMariaDB(Cases):
    @pytest.fixture
    def backend(self) -> Backend:
        return Backend(fakes.FakeDatabase("mariadb", TABLES), "mariadb")


class TestFakePostgres(Cases):
    @pytest.fixture
    def backend(self) -> Backend:
        return Backend(fakes.FakeDatabase("postgres", TABLES), "postgres")


_made: dict[str, str] = {}  # by server: the URL of this run's database with the tables


def create_tables(pool: infra.ConnectionPool, *ports: Any) -> None:
    for statement in infra.split_statements(infra.ddl(ports, pool.engine), pool.engine):
        pool.execute(statement)


def with_tables(url: str, *ports: Any) -> str:
    """Create the tables in the database, and return its URL."""
    with infra.create_pool(infra.DatabaseConfig(url=url)) as pool:
        create_tables(pool, *ports)
    return url


class Server(Cases):
    """On a server: the tables are those of ddl, and equal to the fake's."""

    name: ClassVar[str]

    @pytest.fixture
    def pool(
        self, database: Callable[[str], str], shared_pool: Callable[[str], infra.ConnectionPool]
    ) -> infra.ConnectionPool:
        if self.name not in _made:
            _made[self.name] = with_tables(database(self.name), *PORTS)
        return shared_pool(_made[self.name])

    @pytest.fixture
    def backend(self, pool: infra.ConnectionPool) -> Backend:
        for table in ("maybes", "parcels", "loose", "fulls"):
            pool.execute(f"DELETE FROM {table}")
        pool.execute("DROP TABLE IF EXISTS infra_moves")
        return Backend(pool, dialect_of(pool))

    def test_compare(self, pool: infra.ConnectionPool) -> None:
        for port in PORTS:
            assert fakes.compare(port, pool) == []

        class Longer(Parcels):
            lengths: ClassVar = {"data": 8, "kind": 20, "size": 4}
            column_names: ClassVar = {**Parcels.column_names, "wait": "pause"}

        assert fakes.compare(Longer, pool) == [
            "parcels: kind should be text(4) NOT NULL, and is text(3) NOT NULL",
            "parcels has no pause, which should be integer(64) NOT NULL",
            "parcels has wait too, which is integer(64) NOT NULL",
        ]


class TestMariaDB(Server):
    name = "mariadb"


class TestMySQL(Server):
    name = "mysql"


class TestPostgres(Server):
    name = "postgres"


class TestPostgres18(Server):
    name = "postgres-18"


MYSQL_TIMES = ["24:00:00", "-00:00:00.000001", "838:59:59"]


@pytest.mark.parametrize("name", ["mariadb", "mysql"])
def test_times_of_mysql_beyond_a_day(database: Callable[[str], str], name: str) -> None:
    with infra.create_pool(infra.DatabaseConfig(url=database(name))) as pool:
        create_tables(pool, Parcels)
        parcel = Parcels.on(pool).create(EARLY)
        for text in MYSQL_TIMES:
            pool.execute("UPDATE parcels SET at = %s", (text,))
            with pytest.raises(infra.DatabaseError, match=r": at$"):
                Parcels.on(pool).find_by_id(parcel.id)


@pytest.mark.parametrize("dialect", ["mysql", "mariadb"])
def test_times_of_a_fake_beyond_a_day(dialect: str) -> None:
    database = fakes.FakeDatabase(dialect, TABLES)
    parcel = Parcels.on(database).create(EARLY)
    for stored in (timedelta(days=1), timedelta(microseconds=-1), timedelta(hours=838)):
        database.table("parcels").update({"id": parcel.id}, {"at": stored})
        with pytest.raises(infra.DatabaseError, match=r": at$"):
            Parcels.on(database).find_by_id(parcel.id)
    database.table("parcels").update({"id": parcel.id}, {"at": timedelta(hours=23)})
    assert Parcels.on(database).find_by_id(parcel.id) == replace(parcel, at=time(23))


def defaults_of_documents(database: infra.Database) -> None:
    id = infra.new_id()
    database.insert_many("documents", ["id"], [(id,)])
    expected = Document(HOSTILE, b"\x00", {"a": [HOSTILE]}, (HOSTILE,), id)
    assert Documents.on(database).find_by_id(id) == expected


def test_defaults_of_documents_on_a_fake() -> None:
    database = fakes.FakeDatabase("postgres", [fakes.Table.of(Documents)])
    defaults_of_documents(database)
    database.table("documents").insert({"id": (id := infra.new_id()), "meta": {"b": 1}})
    found = Documents.on(database).find_by_id(id)
    assert found is not None
    assert (found.meta, found.tags) == ({"b": 1}, (HOSTILE,))


@pytest.mark.parametrize("name", ["postgres", "postgres-18"])
def test_defaults_of_documents(database: Callable[[str], str], name: str) -> None:
    with infra.create_pool(infra.DatabaseConfig(url=database(name))) as pool:
        create_tables(pool, Documents)
        defaults_of_documents(pool)


@pytest.mark.parametrize("name", ["text", "data", "meta", "tags"])
def test_what_has_no_default_on_mysql(name: str) -> None:
    port = type("Wrong", (Documents,), {"defaults": {name: Documents.defaults[name]}})
    with pytest.raises(
        infra.ConfigurationError, match=rf"Wrong: {name} .* no LONG\w+ has on mysql"
    ):
        infra.ddl(port, "mysql")
    assert infra.ddl(port, "postgres").count(" DEFAULT ") == 1


def test_the_text_of_a_table() -> None:
    assert (
        infra.ddl(Parcels, "postgres")
        == """\
CREATE TABLE "parcels" (
    "group" VARCHAR(28) COLLATE "C" NOT NULL,
    "kind" VARCHAR(3) COLLATE "C" NOT NULL,
    "type" VARCHAR(20) COLLATE "C" NOT NULL,
    "cost" NUMERIC(10,2) NOT NULL,
    "day" DATE NOT NULL,
    "at" TIME(6) NOT NULL,
    "wait" BIGINT NOT NULL,
    "data" BYTEA NOT NULL,
    "tags" JSON NOT NULL,
    "id" UUID NOT NULL,
    CONSTRAINT "parcels_pkey" PRIMARY KEY ("id"),
    CONSTRAINT "parcels_type_day_at_key" UNIQUE ("type", "day", "at"),
    CONSTRAINT "parcels_group_check" CHECK ("group" IN ('open', 'paid', HOSTILE)),
    CONSTRAINT "parcels_kind_check" CHECK ("kind" IN ('s', 'x l')),
    CONSTRAINT "parcels_type_check" CHECK ("type" IN ('letter', 'box')),
    CONSTRAINT "parcels_cost_check" CHECK (cost >= -5)
);
""".replace("HOSTILE", "'" + HOSTILE.replace("'", "''") + "'")
    )
    mysql = infra.ddl(Parcels, "mysql")
    ascii = "CHARACTER SET ascii COLLATE ascii_bin"
    for line in (
        "`group` VARCHAR(28) NOT NULL,",
        f"`type` VARCHAR(20) {ascii} NOT NULL,",
        "`at` TIME(6) NOT NULL,",
        "`wait` BIGINT NOT NULL,",
        "`tags` LONGTEXT NOT NULL,",
        "CHECK (`group` IN ('open', 'paid', 'it''s \\\\ \"%s\" %(x)s `é` ; -- 🙂')),",
    ):
        assert line in mysql


def test_texts_beyond_ascii() -> None:
    port = type("Wrong", (Parcels,), {"ascii": ("state",)})
    for engine in ("mysql", "postgres"):
        with pytest.raises(infra.ConfigurationError, match="Wrong: state is of ASCII, and has oth"):
            infra.ddl(port, engine)


def test_the_text_of_defaults() -> None:
    expected = {
        "mysql": (
            "INTEGER NOT NULL DEFAULT -7,", "BOOLEAN NOT NULL DEFAULT TRUE,",
            "NOT NULL DEFAULT 'a''\\\\',", "NOT NULL DEFAULT x'00275cff',",
            "DATETIME(6) NOT NULL DEFAULT '2026-01-02 01:04:05.000006',",
            "DOUBLE NOT NULL DEFAULT 1.5E+300,", "`none` INTEGER NULL DEFAULT 5,",
        ),
        "postgres": (
            "INTEGER NOT NULL DEFAULT -7,", "BOOLEAN NOT NULL DEFAULT FALSE,",
            "NOT NULL DEFAULT 'a''\\',", "BYTEA NOT NULL DEFAULT '\\x00275cff',",
            "TIMESTAMPTZ NOT NULL DEFAULT '2026-01-02 01:04:05.000006+00:00',",
            "UUID NOT NULL DEFAULT '00000000-0000-0000-0000-000000000007',",
            "BIGINT NOT NULL DEFAULT -86400000001,",
        ),
    }  # fmt: skip
    for engine, lines in expected.items():
        text = infra.ddl(Fulls, engine)
        assert [line for line in lines if line not in text] == []


def test_a_default_of_none_is_none() -> None:
    port = type("Without", (Fulls,), {"defaults": {"none": None}})
    assert " DEFAULT" not in infra.ddl(port, "postgres")
    assert fakes.Table.of(port).columns["none"] == fakes.Column(int, null=True)


def test_the_table_of_a_fake() -> None:
    table = fakes.Table.of(Parcels)
    columns = {
        "group": fakes.Column(str, length=len(HOSTILE)),
        "kind": fakes.Column(str, length=3),
        "type": fakes.Column(str, length=20, ascii=True),
        "wait": fakes.Column(int, length=64),
        "at": fakes.Column(time),
        "tags": fakes.Column(list),
    }
    assert {name: table.columns[name] for name in columns} == columns
    assert table.unique == {"parcels_type_day_at_key": ("type", "day", "at")}
    assert fakes.Table.of(Fulls).columns["order"] == fakes.Column(int, default=-7)
    keyed: Any = type("Keyed", (Parcels,), {"key": ("kind", "day")})
    assert fakes.Table.of(keyed).primary_key == ("type", "day")


class Number(enum.IntEnum):
    ONE = 1


class Empty(enum.Enum): ...


class Blank(enum.Enum):
    NONE = ""


class Padded(enum.Enum):
    A = "a "


class Mixed(enum.Enum):
    A = "a"
    B = 2


class Broken(enum.Enum):
    A = "a\nb"


class Lists(enum.Enum):
    A = ("a",)
    B = bytearray(b"b")


@pytest.mark.parametrize(
    "hint",
    [
        Number, Empty, Blank, Padded, Mixed, Broken, Lists, enum.Enum, State | Size, Literal[1],
        Literal["a", 1], Literal["a", None], Literal[""], Literal[" a"], Literal["a\0"], tuple,
        tuple[str], tuple[int, ...], tuple[str, str], set, object, State | Literal["a"],
    ],
)  # fmt: skip
def test_types_that_no_column_has(hint: Any) -> None:
    port: Any = type("Wrong", (Parcels,), {"hidden": {"more": hint}})
    for make in (lambda: fakes.Table.of(port), lambda: infra.ddl(port, "mysql")):
        with pytest.raises(infra.ConfigurationError, match=r"Parcel\.more has a type that no colu"):
            make()
    database = fakes.FakeDatabase("mysql", TABLES)
    with pytest.raises(infra.ConfigurationError, match=r"Parcel\.more has a type that no column"):
        port.on(database)


def test_a_part_of_an_enumeration() -> None:
    """A Literal may name members."""
    rules = {"hidden": {"more": Literal[State.OPEN] | None}, "table": "parts"}
    table = fakes.Table.of(type("Parts", (Parcels,), rules))
    check = table.checks["parts_more_check"]
    row = dict.fromkeys(table.columns)
    assert [check({**row, "more": text}) for text in ("open", "paid", None)] == [True, False, True]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"column_names": {"naem": "x"}}, "column_names names no column: naem"),
        ({"column_names": {"state": "kind"}}, "column_names should give each field its own col"),
        ({"column_names": {"state": "x", "kind": "x"}}, "column_names should give each field its"),
        ({"column_names": {"state": ""}}, "column_names should give each field its own column"),
        ({"column_names": {"state": 5}}, "column_names should give each field its own column"),
        ({"column_names": {"state": "more"}, "hidden": {"more": int}}, "column_names should give"),
        ({"column_names": ["state"]}, "column_names should be a dict"),
        ({"unique": [("type",)]}, "parcels_type_key names no column: type"),
        ({"defaults": {"naem": 5}}, "defaults names no column: naem"),
        ({"defaults": {"group": "open"}}, "defaults names no column: group"),
        ({"defaults": {"state": "gone"}}, "state should be one of: open"),
        ({"defaults": {"state": None}}, "state should be one of: open"),
        ({"defaults": {"price": 5}}, "price should be a finite Decimal"),
        ({"defaults": {"price": Decimal("0.001")}}, "price should have at most"),
        ({"defaults": {"wait": 5}}, "wait should be a timedelta"),
        ({"defaults": {"data": b"123456789"}}, "data should have at most 8 bytes"),
        ({"defaults": {"more": "é"}, "hidden": {"more": int}}, "more should be a whole"),
        ({"defaults": {"state": "open"}, "scales": {"price": 5}}, "price has a scale"),
        ({"defaults": ["state"]}, "defaults should be a dict"),
    ],
)
def test_wrong_attributes(rules: dict[str, Any], message: str) -> None:
    with pytest.raises(infra.ConfigurationError, match=message) as caught:
        type("Wrong", (Parcels,), {"column_names": {}, "unique": (), **rules})
    assert str(caught.value).startswith("Wrong: ")


def test_a_hidden_column_in_place_of_a_field() -> None:
    port = type("Hidden", (Parcels,), {"hidden": {"kind": Literal["box"]}})
    assert fakes.Table.of(port).columns["type"] == fakes.Column(str, length=20, ascii=True)


def test_a_length_below_a_text_of_the_class() -> None:
    port = type("Short", (Parcels,), {"lengths": {"kind": 2}})
    assert fakes.Table.of(port).columns["type"].length == 6


def test_names_that_are_exchanged() -> None:
    rules: Mapping[str, Any] = {"column_names": {"size": "kind", "kind": "size"}, "ascii": ()}
    port: Any = type("Exchanged", (Parcels,), {**rules, "checks": {}})
    database = fakes.FakeDatabase("mysql", [fakes.Table.of(port)])
    parcel = port.on(database).create(EARLY)
    assert port.on(database).find_by_id(parcel.id) == parcel
    (row,) = database.table("parcels").select()
    assert (row["kind"], row["size"]) == ("x l", "box")
    found = port.on(database).page(infra.Query(filters={"size": "x l"}, sort="kind"))
    assert found.items == [parcel]


def test_a_subclass_takes_the_names_of_its_base() -> None:
    class Sub(Parcels):
        table = "others"
        defaults: ClassVar = {"kind": "box"}

    assert '"type" VARCHAR(20) COLLATE "C" NOT NULL DEFAULT \'box\',' in infra.ddl(Sub, "postgres")
