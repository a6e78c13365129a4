"""Many records in one call, on the fakes and on each server."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, ClassVar

import pytest

import fakes
import infra
from tests.contract import refusals
from tests.contract.backends import WAIT, in_threads
from tests.contract.databases import dialect_of, violation
from tests.contract.test_columns import (
    EARLY,
    LATE,
    Full,
    Fulls,
    Parcels,
    State,
    create_tables,
    with_tables,
)
from tests.scale import PROVE

DAWN = datetime(2026, 1, 1, tzinfo=timezone.utc)
HOSTILE = "tab\t line\n return\r back\\slash \\N \\. ' \" %s %% é \U0001f600\x1a"


@dataclass(frozen=True)
class Entry:
    code: str
    name: str | None = None
    stock: int = 0
    tags: tuple[str, ...] = ()
    note: str = ""
    parent_id: int | None = None
    id: int = infra.FILLED
    created_at: datetime = infra.FILLED
    updated_at: datetime = infra.FILLED


class Entries(infra.Repository[Entry]):
    """The server makes the ids."""

    record, table, resource = Entry, "many_entries", "entry"
    lengths: ClassVar = {"code": 8, "name": 8, "note": 80}
    kept = ("note",)
    filter_fields = ("code",)
    unique = (("code",), ("name",))
    checks: ClassVar = {
        "many_entries_stock_check": infra.Check("stock >= 0", lambda row: row["stock"] >= 0)
    }
    foreign_keys: ClassVar = {
        "many_entries_parent_id_fkey": infra.ForeignKey(("parent_id",), "many_entries")
    }

    def codes(self) -> list[str]:
        return sorted(entry.code for entry in self.page(infra.Query(per_page=1000)).items)


class Counted(Entries):
    """Its own ``create`` does more."""

    def create(self, record: Entry) -> Entry:
        stored = super().create(replace(record, stock=record.stock + 1))
        if stored.code == "stop":
            raise KeyError("stop")
        return stored


class Choosy(Entries):
    def create(self, record: Entry, by: str) -> Entry:  # type: ignore[override]
        return super().create(replace(record, note=by))


class Wrapped(Entries):
    """Its own method has another name."""

    def create_for(self, code: str) -> Entry:
        return self.create(Entry(code))


@dataclass(frozen=True)
class Page:
    title: str
    views: int = 0
    id: uuid.UUID = infra.FILLED
    created_at: datetime = infra.FILLED


class Pages(infra.Repository[Page]):
    """The repository makes the ids. Titles are unique without their case."""

    record, table, resource = Page, "many_pages", "page"
    lengths: ClassVar = {"title": 20}
    folded: ClassVar = {"title_folded": ("title",)}
    unique: ClassVar = {"many_pages_title_key": ("title_folded",)}


@dataclass(frozen=True)
class Seat:
    room: str
    number: int
    guest: str | None = None


class Seats(infra.Repository[Seat]):
    """Its key has two columns. Its column of guests has another name."""

    record, table, resource, key = Seat, "many_seats", "seat", ("room", "number")
    lengths: ClassVar = {"room": 5, "guest": 10}
    column_names: ClassVar = {"guest": "user"}
    unique = (("guest",),)
    sort_fields = ("room",)


@dataclass(frozen=True)
class Ticket:
    number: int = infra.FILLED


class Tickets(infra.Repository[Ticket]):
    """It has no column but the id, which has another name."""

    record, table, resource = Ticket, "many_tickets", "ticket"
    key = ids = ("number",)
    column_names: ClassVar = {"number": "id"}


class Numbers(infra.Repository[Ticket]):
    """Its ids are those of the caller."""

    record, table, resource, key = Ticket, "many_numbers", "number", ("number",)
    ids: ClassVar[tuple[str, ...]] = ()


class MadeNumbers(Numbers):
    """The same table, as if the server made its ids."""

    ids = ("number",)


PORTS: tuple[Any, ...] = (Entries, Pages, Seats, Tickets, Numbers, Fulls, Parcels)
MADE = ("many_entries", "many_tickets")  # the tables whose ids the server makes


class Guarded(Entries):
    guarded = ("stock",)


class Changed(Entries):
    def update(self, record: Entry) -> Entry:
        return super().update(replace(record, stock=0))


class Hidden(Seats):
    """A column of the unique key is not in the record."""

    hidden: ClassVar = {"row": int}
    unique: ClassVar[Any] = (("row", "number"),)


@dataclass
class Backend:
    database: infra.Database
    dialect: str

    @property
    def entries(self) -> Entries:
        return Entries.on(self.database)

    def on(self, port: Any) -> Any:
        return port.on(self.database)


NO_RECORDS: list[Any] = [None, 5, "entries", b"entries", Entry("a")]


class Cases:
    """The cases; a class below for each backend."""

    # --- create_many

    def test_records_are_stored_in_order(self, backend: Backend) -> None:
        entries = backend.entries
        given = [Entry("b", "Bee"), Entry("a", tags=("x", "y")), Entry("c", stock=5, note="n")]
        stored = entries.create_many(given)
        assert [(each.id, each.code) for each in stored] == [(1, "b"), (2, "a"), (3, "c")]
        assert stored == [entries.get(id) for id in (1, 2, 3)]
        for each, record in zip(stored, given):
            times: dict[str, Any] = {"created_at": each.created_at, "updated_at": each.updated_at}
            assert each == replace(record, id=each.id, **times)
            assert each.created_at == each.updated_at
        assert type(stored[0].id) is int
        assert entries.create(Entry("d")).id == 4
        at = datetime(2020, 2, 3, 4, 5, 6, 7, timezone.utc)
        (old,) = entries.create_many([Entry("e", parent_id=1, created_at=at, updated_at=at)])
        assert entries.get(5) == old == Entry("e", parent_id=1, id=5, created_at=at, updated_at=at)

    def test_no_record(self, backend: Backend) -> None:
        assert backend.entries.create_many([]) == []
        assert backend.on(Counted).create_many(iter(())) == []
        assert backend.entries.create(Entry("a")).id == 1

    def test_any_iterable(self, backend: Backend) -> None:
        made = backend.entries.create_many(Entry(code) for code in "ab")
        assert [each.id for each in made] == [1, 2]
        with pytest.raises(RuntimeError, match="broken"):
            backend.entries.create_many(refusals.broken())
        assert backend.entries.codes() == ["a", "b"]

    @pytest.mark.parametrize("records", NO_RECORDS)
    def test_no_records(self, backend: Backend, records: Any) -> None:
        with pytest.raises(infra.ValidationError, match="records should be a list"):
            backend.entries.create_many(records)
        assert backend.entries.count() == 0

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            (Entry("too long a code"), r"^records\[1\]: code should have at most 8"),
            (Entry("b", stock=True), r"^records\[1\]: stock should be a whole number"),
            (Entry("b", tags=("x", 1)), r"^records\[1\]: tags should be a tuple of texts"),  # type: ignore[arg-type]
            (Entry(None), r"^records\[1\]: code should be "),  # type: ignore[arg-type]
            (Entry("b", id=0), r"^records\[1\]: id should be 1 or more"),
            (Entry("b", id=2**31), r"^records\[1\]: id should be from "),
            (Page("b"), r"^records\[1\]: the entry should be of class Entry"),
            (None, r"^records\[1\]: the entry should be of class Entry"),
            ("b", r"^records\[1\]: the entry should be of class Entry"),
        ],
    )
    def test_one_wrong_record(self, backend: Backend, wrong: Any, message: str) -> None:
        with pytest.raises(infra.ValidationError, match=message):
            backend.entries.create_many([Entry("a"), wrong, Entry("c")])
        assert backend.entries.count() == 0
        assert backend.entries.create(Entry("a")).id == 1

    def test_ids_that_are_given(self, backend: Backend) -> None:
        """MySQL counts on from them, Postgres does not."""
        entries, is_postgres = backend.entries, backend.dialect == "postgres"
        made = entries.create_many([Entry("a", id=20), Entry("b", id=10)])
        assert [each.id for each in made] == [20, 10]
        assert made == [entries.get(20), entries.get(10)]
        rest = entries.create_many([Entry("c"), Entry("d")])
        assert [each.id for each in rest] == ([1, 2] if is_postgres else [21, 22])

    def test_ids_of_some(self, backend: Backend) -> None:
        absent: Any = None
        for records in (
            [Entry("a", id=1), Entry("b")],
            [Entry("a"), Entry("b", id=1)],
            [Entry("a", id=1), Entry("b", id=absent), Entry("c", id=3)],
        ):
            with pytest.raises(infra.ValidationError, match="id should be given in all records"):
                backend.entries.create_many(records)
        assert backend.entries.count() == 0
        assert backend.entries.create(Entry("a")).id == 1

    def test_conflicts(self, backend: Backend) -> None:
        """Each names its rule, and nothing is stored."""
        entries = backend.entries
        first = entries.create(Entry("a", "A"))
        wrong: list[tuple[list[Entry], tuple[str, str]]] = [
            ([Entry("b"), Entry("a")], ("many_entries_code_key", "unique")),
            ([Entry("b"), Entry("c"), Entry("b")], ("many_entries_code_key", "unique")),
            ([Entry("b"), Entry("c", "A")], ("many_entries_name_key", "unique")),
            ([Entry("b", id=7), Entry("c", id=first.id)], ("many_entries_pkey", "unique")),
            ([Entry("b"), Entry("c", stock=-1)], ("many_entries_stock_check", "check")),
            ([Entry("b"), Entry("c", parent_id=999)],
             ("many_entries_parent_id_fkey", "foreign_key")),
        ]  # fmt: skip
        for records, rule in wrong:
            assert violation(lambda records=records: entries.create_many(records)) == rule  # type: ignore[misc]
            assert entries.codes() == ["a"]
        with pytest.raises(infra.ConflictError) as caught:
            entries.create_many([Entry("a")])
        assert (caught.value.operation, caught.value.service) == (
            "create_many", backend.database.engine,
        )  # fmt: skip

    def test_refused_records_use_ids_up(self, backend: Backend) -> None:
        violation(lambda: backend.entries.create_many([Entry(code) for code in "aab"]))
        assert backend.entries.create(Entry("c")).id == 4

    def test_a_value_that_does_not_fit(self, backend: Backend) -> None:
        with pytest.raises(infra.DatabaseError):
            backend.entries.create_many([Entry("a"), Entry("b", stock=2**31)])
        assert backend.entries.count() == 0

    def test_in_a_transaction(self, backend: Backend) -> None:
        """A call is a savepoint: what the block did before stays, and it goes on."""
        entries, database = backend.entries, backend.database
        with database.transaction():
            entries.create(Entry("a"))
            violation(lambda: entries.create_many([Entry("b"), Entry("a")]))
            assert entries.codes() == ["a"]
            entries.create_many([Entry("c"), Entry("d")])
            entries.create(Entry("e"))
        assert entries.codes() == ["a", "c", "d", "e"]
        with pytest.raises(KeyError), database.transaction():
            entries.create_many([Entry("f"), Entry("g")])
            assert len(entries.codes()) == 6
            raise KeyError
        assert entries.codes() == ["a", "c", "d", "e"]

    def test_a_create_of_its_own(self, backend: Backend) -> None:
        """It is called for each record, in one transaction."""
        counted = backend.on(Counted)
        made = counted.create_many([Entry("a", stock=1), Entry("b"), Entry("c", id=9)])
        assert [(each.stock, each.id) for each in made] == [(2, 1), (1, 2), (1, 9)]
        assert made == [counted.get(id) for id in (1, 2, 9)]
        with pytest.raises(KeyError):
            counted.create_many([Entry("d"), Entry("stop"), Entry("e")])
        violation(lambda: counted.create_many([Entry("d"), Entry("a")]))
        assert counted.codes() == ["a", "b", "c"]
        assert backend.on(Wrapped).create_many([Entry("f")])[0].stock == 0

    def test_a_create_that_needs_more(self, backend: Backend) -> None:
        message = "create of Choosy needs more than the entry"
        with pytest.raises(infra.ConfigurationError, match=message):
            backend.on(Choosy).create_many([Entry("a")])
        assert backend.entries.count() == 0

    def test_ids_that_the_repository_makes(self, backend: Backend) -> None:
        pages, own = backend.on(Pages), uuid.UUID(int=5)
        made = pages.create_many([Page("One"), Page("Two", id=own), Page("Three")])
        assert made == [pages.get(each.id) for each in made]
        assert made[1].id == own
        assert len({each.id for each in made}) == 3
        rule = ("many_pages_title_key", "unique")
        assert violation(lambda: pages.create_many([Page("Four"), Page("ONE")])) == rule
        assert pages.count() == 3

    def test_other_keys(self, backend: Backend) -> None:
        seats, tickets = backend.on(Seats), backend.on(Tickets)
        given = [Seat("A", 2, "Ada"), Seat("A", 1), Seat("B", 1)]
        assert seats.create_many(given) == given
        assert seats.page().items == [given[1], given[0], given[2]]
        rule = ("many_seats_pkey", "unique")
        assert violation(lambda: seats.create_many([Seat("C", 1), Seat("A", 1)])) == rule
        rule = ("many_seats_user_key", "unique")
        assert violation(lambda: seats.create_many([Seat("C", 1, "Ada")])) == rule
        assert seats.count() == 3
        assert tickets.create_many([Ticket()] * 3) == [Ticket(1), Ticket(2), Ticket(3)]
        assert tickets.create_many([Ticket(8)]) == [Ticket(8)]
        assert [ticket.number for ticket in tickets.page().items] == [1, 2, 3, 8]

    def test_the_server_does_not_make_the_ids(self, backend: Backend) -> None:
        numbers, made = backend.on(Numbers), backend.on(MadeNumbers)
        rule = ("many_numbers_number_not_null", "not_null")
        assert violation(lambda: made.create_many([Ticket(), Ticket()])) == rule
        assert numbers.create_many([Ticket(0), Ticket(-3)]) == [Ticket(0), Ticket(-3)]
        assert numbers.count() == 2

    def test_values_of_every_kind(self, backend: Backend) -> None:
        full = Full(
            HOSTILE, "a\\'", State.HELD, "b", True, False, -7, -(1 << 62), 1.5e300,
            Fulls.defaults["price"], Fulls.defaults["tiny"], b"\x00'\\\xff\n\t",
            Fulls.defaults["day"], Fulls.defaults["at"], Fulls.defaults["wait"], DAWN,
            uuid.UUID(int=7), None,
        )  # fmt: skip
        fulls, parcels = backend.on(Fulls), backend.on(Parcels)
        made = fulls.create_many([full, replace(full, none=5, text="")])
        assert made == [fulls.get(each.id) for each in made]
        assert made == [replace(full, id=made[0].id), replace(full, id=made[1].id, none=5, text="")]
        made = parcels.create_many([EARLY, LATE])
        assert made == [parcels.get(each.id) for each in made]

    def test_a_table_that_is_not_there(self, backend: Backend) -> None:
        rules: dict[str, Any] = {"unique": (), "checks": {}, "foreign_keys": {}}
        absent: Any = type("Absent", (Entries,), {"table": "absent", **rules})
        for record in (Entry("a"), Entry("a", id=1)):
            with pytest.raises(infra.DatabaseError, match='"absent"') as caught:
                absent.on(backend.database).create_many([record])
            assert type(caught.value) is infra.DatabaseError

    def test_a_column_that_is_not_there(self, backend: Backend) -> None:
        other: Any = type("Other", (Tickets,), {"column_names": {"number": "gone"}})
        for record in (Ticket(), Ticket(1)):
            with pytest.raises(infra.DatabaseError, match='"gone"') as caught:
                other.on(backend.database).create_many([record])
            assert type(caught.value) is infra.DatabaseError
        assert backend.on(Tickets).count() == 0

    def test_several_batches(self, backend: Backend) -> None:
        """More rows than one batch, and more bytes than one INSERT."""
        entries, count = backend.entries, 5_500
        made = entries.create_many(
            Entry(f"c{n}", note="n" * (n % 80), tags=("t" * 300,)) for n in range(count)
        )
        assert [each.code for each in made] == [f"c{n}" for n in range(count)]
        assert [each.id for each in made] == [*range(1, count + 1)]
        assert entries.count() == count
        for at in (0, 1, 2_600, 4_999, 5_000, count - 1):
            assert entries.get(made[at].id) == made[at]
        again = [Entry(f"d{n}") for n in range(count)]
        rule = ("many_entries_code_key", "unique")
        assert violation(lambda: entries.create_many([*again, Entry("d0")])) == rule
        assert entries.count() == count

    def test_many_threads(self, backend: Backend) -> None:
        def work(number: int) -> list[Entry]:
            codes = [f"{number}-{n}" for n in range(100)]
            return backend.entries.create_many([Entry(code) for code in codes])

        made = in_threads(8, work)
        stored = backend.entries.page(infra.Query(per_page=1000)).items
        assert len(stored) == 800
        by_id = {each.id: each for each in stored}
        for number, records in enumerate(made):
            assert [each.code for each in records] == [f"{number}-{n}" for n in range(100)]
            assert records == [by_id[each.id] for each in records]

    def test_another_thread_sees_all_or_none(self, backend: Backend) -> None:
        entries, counts, done = backend.entries, {0}, threading.Event()

        def work(number: int) -> None:
            if number:
                entries.create_many([Entry(f"c{n}") for n in range(500)])
                done.set()
                return
            while not done.is_set():
                counts.add(entries.count())

        assert in_threads(2, work) == [None, None]
        assert counts <= {0, 500}

    # --- upsert

    def test_a_record_is_created_then_changed(self, backend: Backend) -> None:
        entries, code = backend.entries, "many_entries_code_key"
        first = entries.upsert(Entry("a", "A", 1, ("x",), "first"), on=code)
        assert first == infra.Upserted(first.record, created=True)
        made = first.record
        assert made == entries.get(made.id) == replace(
            Entry("a", "A", 1, ("x",), "first"),
            id=1, created_at=made.created_at, updated_at=made.updated_at,
        )  # fmt: skip
        second = entries.upsert(Entry("a", "B", 2, ("y", "z"), "second"), on=code)
        assert second.created is False
        assert second.record == entries.get(1) == replace(
            made, name="B", stock=2, tags=("y", "z"), updated_at=second.record.updated_at
        )  # fmt: skip
        assert entries.count() == 1

    def test_times_of_a_record_that_exists(self, backend: Backend) -> None:
        at, later = (datetime(year, 2, 3, 4, 5, 6, 7, timezone.utc) for year in (2020, 2021))
        entries, code = backend.entries, "many_entries_code_key"
        made = entries.upsert(Entry("a", created_at=at, updated_at=at), on=code).record
        assert (made.created_at, made.updated_at) == (at, at)
        changed = entries.upsert(Entry("a", created_at=later, updated_at=at), on=code).record
        assert changed.created_at == at
        assert changed.updated_at > later
        assert entries.get(1) == changed

    def test_the_key_stays(self, backend: Backend) -> None:
        entries, name = backend.entries, "many_entries_name_key"
        entries.create_many([Entry("a", "A"), Entry("b", "B")])
        for id in (infra.FILLED, 2, 9):
            result = entries.upsert(Entry(f"c{id}"[:8], "A", id=id), on=name)
            assert (result.record.id, result.created) == (1, False)
            assert entries.get(1) == result.record
        assert entries.codes() == ["b", "c9"]

    def test_by_the_key(self, backend: Backend) -> None:
        entries = backend.entries
        made = entries.upsert(Entry("a"))
        assert (made.record.id, made.created) == (1, True)
        changed = entries.upsert(Entry("b", id=1))
        assert (changed.record.id, changed.created) == (1, False)
        own = entries.upsert(Entry("c", id=20), on="many_entries_pkey")
        assert (own.record.id, own.created) == (20, True)
        assert entries.upsert(Entry("d", id=20)).created is False
        assert entries.codes() == ["b", "d"]
        pages, seats, tickets = backend.on(Pages), backend.on(Seats), backend.on(Tickets)
        page = pages.upsert(Page("One")).record
        assert pages.upsert(replace(page, views=3)).record == replace(page, views=3)
        assert pages.upsert(Page("Two")).created is True
        assert pages.count() == 2
        assert seats.upsert(Seat("A", 1, "Ada")) == infra.Upserted(Seat("A", 1, "Ada"), True)
        assert seats.upsert(Seat("A", 1, "Ben")) == infra.Upserted(Seat("A", 1, "Ben"), False)
        assert seats.upsert(Seat("A", 2)).created is True
        assert seats.page().items == [Seat("A", 1, "Ben"), Seat("A", 2)]
        for created in (True, False):
            assert tickets.upsert(Ticket(7)) == infra.Upserted(Ticket(7), created)
        assert tickets.count() == 1

    def test_by_a_column_of_another_name(self, backend: Backend) -> None:
        seats, user = backend.on(Seats), "many_seats_user_key"
        seats.create_many([Seat("A", 1, "Ada"), Seat("A", 2, "Ben")])
        assert seats.upsert(Seat("B", 9, "Ada"), on=user) == infra.Upserted(
            Seat("A", 1, "Ada"), False
        )
        assert seats.upsert(Seat("B", 9, "Eve"), on=user).created is True
        assert seats.count() == 3

    def test_by_a_folded_column(self, backend: Backend) -> None:
        pages, title = backend.on(Pages), "many_pages_title_key"
        made = pages.upsert(Page("One", 1), on=title).record
        changed = pages.upsert(Page("ONE", 2), on=title)
        assert changed == infra.Upserted(replace(made, title="ONE", views=2), False)
        assert pages.page().items == [changed.record]

    def test_null_equals_nothing(self, backend: Backend) -> None:
        entries, name = backend.entries, "many_entries_name_key"
        for code in "abc":
            assert entries.upsert(Entry(code), on=name).created is True
        assert entries.codes() == ["a", "b", "c"]
        rule = ("many_entries_code_key", "unique")
        assert violation(lambda: entries.upsert(Entry("a", stock=5), on=name)) == rule
        assert [entry.stock for entry in entries.page().items] == [0, 0, 0]

    def test_another_rule_is_broken(self, backend: Backend) -> None:
        """Each is named, and nothing has changed."""
        entries, code = backend.entries, "many_entries_code_key"
        entries.create_many([Entry("a", "A"), Entry("b", "B")])
        before = entries.page().items
        wrong: list[tuple[Entry, str, tuple[str, str]]] = [
            (Entry("a", "B"), code, ("many_entries_name_key", "unique")),
            (Entry("c", "B"), code, ("many_entries_name_key", "unique")),
            (Entry("c", "C", id=1), code, ("many_entries_pkey", "unique")),
            (Entry("b", "A", id=9), "many_entries_pkey", (code, "unique")),
            (Entry("b", id=1), "many_entries_pkey", (code, "unique")),
            (Entry("a", stock=-1), code, ("many_entries_stock_check", "check")),
            (Entry("c", stock=-1), code, ("many_entries_stock_check", "check")),
            (Entry("a", parent_id=99), code, ("many_entries_parent_id_fkey", "foreign_key")),
            (Entry("c", parent_id=99), code, ("many_entries_parent_id_fkey", "foreign_key")),
        ]  # fmt: skip
        for record, on, (rule, kind) in wrong:
            found = violation(lambda record=record, on=on: entries.upsert(record, on=on))  # type: ignore[misc]
            assert found[1] == kind
            if record != Entry("b", "A", id=9):  # this one breaks two
                assert found[0] == rule
            assert entries.page().items == before

    @pytest.mark.parametrize("code", ["a", "b"])  # one that exists, and a new one
    def test_an_upsert_that_does_not_fit(self, backend: Backend, code: str) -> None:
        entries = backend.entries
        stored = entries.create(Entry("a"))
        with pytest.raises(infra.DatabaseError, match="does not fit its column") as caught:
            entries.upsert(Entry(code, "B", 2**31), on="many_entries_code_key")
        assert (type(caught.value), caught.value.operation) == (infra.DatabaseError, "upsert")
        assert entries.page().items == [stored]
        assert entries.create(Entry("c")).id == 2  # it used up no id

    def test_ids_of_records_that_exist(self, backend: Backend) -> None:
        """Postgres makes an id for each call, MySQL for new records only."""
        for _ in range(3):
            backend.entries.upsert(Entry("a"), on="many_entries_code_key")
        made = backend.entries.create(Entry("b"))
        assert made.id == (4 if backend.dialect == "postgres" else 2)

    @pytest.mark.parametrize(
        "on", ["", "code", "many_entries_stock_check", "many_pages_pkey", 5, ("code",), b"x", True]
    )
    def test_no_key(self, backend: Backend, on: Any) -> None:
        message = (
            "^on should be one of: many_entries_pkey, many_entries_code_key, many_entries_name_key$"
        )
        with pytest.raises(infra.ConfigurationError, match=message):
            backend.entries.upsert(Entry("a"), on=on)
        assert backend.entries.count() == 0

    @pytest.mark.parametrize("port", [Guarded, Changed, Counted])
    def test_a_class_that_does_more(self, backend: Backend, port: Any) -> None:
        with pytest.raises(infra.ConfigurationError, match=f"{port.__name__} has guarded fields"):
            backend.on(port).upsert(Entry("a"), on="many_entries_code_key")
        assert backend.entries.count() == 0

    def test_a_key_that_the_record_does_not_hold(self, backend: Backend) -> None:
        with pytest.raises(
            infra.ConfigurationError, match=r"^on should be one of: many_seats_pkey$"
        ):
            backend.on(Hidden).upsert(Seat("A", 1), on="many_seats_row_number_key")

    @pytest.mark.parametrize(
        "record", [None, "a", Page("a"), Entry("a", stock=True), Entry("a", id=0), Entry("a" * 9)]
    )
    def test_no_record_to_store(self, backend: Backend, record: Any) -> None:
        with pytest.raises(infra.ValidationError):
            backend.entries.upsert(record, on="many_entries_code_key")
        assert backend.entries.count() == 0

    def test_upsert_in_a_transaction(self, backend: Backend) -> None:
        entries, database, code = backend.entries, backend.database, "many_entries_code_key"
        entries.create(Entry("a"))
        with pytest.raises(KeyError), database.transaction():
            assert entries.upsert(Entry("a", stock=5), on=code).created is False
            assert entries.upsert(Entry("b"), on=code).created is True
            assert entries.upsert(Entry("b", stock=7), on=code).record.stock == 7
            assert entries.codes() == ["a", "b"]
            raise KeyError
        assert [(entry.code, entry.stock) for entry in entries.page().items] == [("a", 0)]
        with database.transaction():
            entries.upsert(Entry("a", "A", stock=6), on=code)
            with pytest.raises(infra.ConflictError), database.transaction():
                entries.upsert(Entry("c", "A"), on=code)
            entries.upsert(Entry("d"), on=code)
        assert entries.codes() == ["a", "d"]

    def test_many_threads_store_few_keys(self, backend: Backend) -> None:
        entries, code = backend.entries, "many_entries_code_key"

        def work(number: int) -> list[bool]:
            results = [
                entries.upsert(Entry(f"c{(number + n) % 20}", stock=n), on=code) for n in range(200)
            ]
            return [each.created for each in results]

        found = in_threads(8, work)
        assert [type(each) for each in found] == [list] * 8, found
        assert sum(map(sum, found)) == 20
        assert entries.count() == 20

    def test_many_threads_store_the_same_new_keys(self, backend: Backend) -> None:
        """All are at the same key at once, so some find it absent and then taken."""
        entries, code = backend.entries, "many_entries_code_key"
        start = threading.Barrier(8)

        def work(number: int) -> int:
            entries.count()  # each thread has its connection now
            created = 0
            for at in range(25):
                start.wait(WAIT)
                created += entries.upsert(Entry(f"c{at}", stock=number), on=code).created
            return created

        found = in_threads(8, work)
        assert [type(each) for each in found] == [int] * 8, found
        assert sum(found) == 25
        assert entries.codes() == sorted(f"c{at}" for at in range(25))


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


def emptied(pool: infra.ConnectionPool) -> None:
    """Empty the tables, so that the first id is 1."""
    tables = [port.table for port in PORTS]
    if pool.engine == "postgres":
        pool.execute(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY CASCADE")
        return
    pool.execute("UPDATE many_entries SET parent_id = NULL")
    for table in tables:
        pool.execute(f"DELETE FROM {table}")
    for table in MADE:
        pool.execute(f"ALTER TABLE {table} AUTO_INCREMENT = 1")


class Server(Cases):
    """On a server: the tables are those of ddl."""

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
        emptied(pool)
        return Backend(pool, dialect_of(pool))


class OnMySQL(Server):
    def test_ids_with_gaps(self, backend: Backend) -> None:
        """As on one of three servers that take writes."""
        database = backend.database
        with database.transaction():
            database.execute("SET auto_increment_increment = 3, auto_increment_offset = 2")
            made = backend.entries.create_many([Entry(code) for code in "abc"])
        assert [each.id for each in made] == [2, 5, 8]
        assert made == [backend.entries.get(id) for id in (2, 5, 8)]


class TestMariaDB(OnMySQL):
    name = "mariadb"


class TestMySQL(OnMySQL):
    name = "mysql"


class TestPostgres(Server):
    name = "postgres"


class TestPostgres18(Server):
    name = "postgres-18"


@pytest.mark.parametrize("name", ["mariadb", "mysql", "postgres"] if PROVE else ["postgres"])
def test_a_hundred_thousand_records(database: Callable[[str], str], name: str) -> None:
    with infra.create_pool(infra.DatabaseConfig(url=database(name))) as pool:
        create_tables(pool, Entries)
        a_hundred_thousand_records(Entries.on(pool))


@pytest.mark.parametrize("dialect", ["mysql", "postgres"])
def test_a_hundred_thousand_records_on_a_fake(dialect: str) -> None:
    a_hundred_thousand_records(Entries.on(fakes.FakeDatabase(dialect, TABLES)))


def a_hundred_thousand_records(entries: Entries) -> None:
    made = entries.create_many(Entry(f"c{n}") for n in range(100_000))
    assert [each.id for each in made] == [*range(1, 100_001)]
    assert entries.count() == 100_000
    assert entries.get(77_777) == made[77_776]
