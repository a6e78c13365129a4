"""Keys of one's own tables: ids that the server makes, natural keys, keys of several columns."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar

import pytest

import fakes
import infra
from tests.contract.backends import WAIT
from tests.contract.base import Contract
from tests.contract.databases import dialect_of, violation


@dataclass(frozen=True)
class Order:
    code: str
    total: int = 0
    parent_id: int | None = None
    id: int = infra.FILLED
    updated_at: datetime = infra.FILLED


@dataclass(frozen=True)
class Line:
    order_id: int
    number: int
    text: str = ""
    version: int = 1


@dataclass(frozen=True)
class Rate:
    currency: str
    value: Decimal = Decimal("1.00")


@dataclass(frozen=True)
class Holiday:
    day: date
    name: str = ""


@dataclass(frozen=True)
class Event:
    name: str
    id: int = infra.FILLED


@dataclass(frozen=True)
class Step:
    code: str
    after: str | None = None
    id: int = infra.FILLED


class Steps(infra.Repository[Step]):
    """Rows refer to others by a key that the server does not make."""

    record, table, resource = Step, "key_steps", "step"
    lengths: ClassVar = {"code": 5, "after": 5}
    unique = (("code",),)
    foreign_keys: ClassVar = {
        "key_steps_after_fkey": infra.ForeignKey(
            ("after",), "key_steps", ("code",), on_delete="set null"
        )
    }


class Orders(infra.Repository[Order]):
    record, table, resource, sort_fields = Order, "orders", "order", ("code",)
    lengths: ClassVar = {"code": 5}
    filter_fields = ("total",)
    unique = (("code",),)
    checks: ClassVar = {
        "orders_total_check": infra.Check("total >= 0", lambda row: row["total"] >= 0)
    }
    foreign_keys: ClassVar = {
        "orders_parent_id_fkey": infra.ForeignKey(("parent_id",), "orders", on_delete="set null")
    }

    def pay(self, key: Any, total: Any) -> None:
        self._alter("pay", key, {"total": total})

    def store(self, *records: Order) -> int | None:
        return self._insert("store", *map(self._filled, records))

    def pay_with(self, key: int, changes: dict[str, Any]) -> None:
        self._alter("pay", key, changes)

    def with_unknown(self, column: str) -> list[Callable[[], Any]]:
        return [
            lambda: self._first("first", {column: 1}),
            lambda: self._change("change", {"id": 1}, {column: 1}),
            lambda: self._change("change", {column: 1}, {"total": 1}),
            lambda: self._insert("insert", {"code": "a", "total": 1, column: 1}),
        ]


class Lines(infra.Repository[Line]):
    record, table, resource, sort_fields = Line, "order_lines", "line", ("text",)
    key = ("order_id", "number")
    lengths: ClassVar = {"text": 10}
    guarded = ("version",)
    foreign_keys: ClassVar = {
        "order_lines_order_id_fkey": infra.ForeignKey(("order_id",), "orders", on_delete="cascade")
    }

    def bump(self, key: Any) -> None:
        self._alter("bump", key, {"version": 2})


class Rates(infra.Repository[Rate]):
    record, table, resource, key = Rate, "rates", "rate", ("currency",)
    lengths: ClassVar = {"currency": 3}
    scales: ClassVar = {"value": (10, 2)}


class Holidays(infra.Repository[Holiday]):
    record, table, resource, key = Holiday, "holidays", "holiday", ("day",)


class Events(infra.Repository[Event]):
    record, table, resource, lengths = Event, "key_events", "event", {"id": 64}


class Numbers(infra.Repository[Event]):
    """Its ids are those of the caller."""

    record, table, resource = Event, "key_numbers", "number"
    ids: ClassVar[tuple[str, ...]] = ()


class MadeNumbers(Numbers):
    """The same table, as if the server made its ids."""

    ids = ("id",)


@dataclass(frozen=True)
class Both:
    currency: str
    value: Decimal


class Bare(infra.Repository[Both]):
    """The table of rates, with both columns as its key."""

    record, table, resource, key = Both, "rates", "rate", ("currency", "value")
    lengths: ClassVar = {"currency": 3}
    scales: ClassVar = {"value": (10, 2)}


@dataclass(frozen=True)
class Ticket:
    number: int = infra.FILLED


class Tickets(infra.Repository[Ticket]):
    """It has no column but the id."""

    record, table, resource = Ticket, "key_tickets", "ticket"
    key = ids = ("number",)
    column_names: ClassVar = {"number": "id"}


class Dropped(Rates):
    """The value is dropped on the server."""

    table = "dropped_rates"


class WithoutId(Events):
    """The id is dropped on the server."""

    table = "dropped_events"
    column_names: ClassVar = {"id": "number", "name": "id"}


PORTS: list[Any] = [Orders, Lines, Rates, Holidays, Events, Numbers, Steps, Tickets]


@dataclass
class Keys:
    database: infra.Database
    dialect: str
    #: creates a port's table, and drops a column of it
    drop: Callable[[type[Any], str], infra.Database]

    def __post_init__(self) -> None:
        self.orders = Orders.on(self.database)
        self.lines = Lines.on(self.database)
        self.rates = Rates.on(self.database)
        self.holidays = Holidays.on(self.database)
        self.events = Events.on(self.database)

    def codes(self) -> dict[int, str]:
        return {order.id: order.code for order in self.orders.page().items}

    def move(self, table: str, row: dict[str, Any]) -> infra.RowMove:
        return infra.RowMove(
            uuid.uuid4().hex,
            source=infra.IterableSource([row]),
            target=infra.TableTarget(self.database, table),
        )


def fake_keys(dialect: str) -> Keys:
    def drop(port: type[Any], column: str) -> fakes.FakeDatabase:
        rules = fakes.Table.of(port)
        left = {name: rule for name, rule in rules.columns.items() if name != column}
        rules = replace(rules, columns=left, primary_key=tuple(left)[:1])
        return fakes.FakeDatabase(dialect, [rules])

    tables = map(fakes.Table.of, PORTS)
    return Keys(fakes.FakeDatabase(dialect, tables), dialect, drop)


_made: dict[str, str] = {}


def with_key_tables(database: Callable[[str], str], name: str) -> str:
    """The URL of this run's database with these tables on that server."""
    if name not in _made:
        _made[name] = database(name)
        with infra.create_pool(infra.DatabaseConfig(url=_made[name])) as pool:
            create(pool, *PORTS)
    return _made[name]


def create(pool: infra.ConnectionPool, *ports: type[Any]) -> None:
    for statement in infra.split_statements(infra.ddl(ports, pool.engine), pool.engine):
        pool.execute(statement)


def emptied(pool: infra.ConnectionPool) -> None:
    """Empty the tables, so that the first id is 1."""
    tables = [port.table for port in PORTS if port is not Lines]
    if pool.engine == "postgres":
        pool.execute(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY CASCADE")
        return
    for table in tables:
        pool.execute(f"DELETE FROM {table}")
    for table in ("orders", "key_events", "key_tickets"):
        pool.execute(f"ALTER TABLE {table} AUTO_INCREMENT = 1")


def real_keys(pool: infra.ConnectionPool) -> Keys:
    emptied(pool)

    def drop(port: type[Any], column: str) -> infra.ConnectionPool:
        pool.execute(f"DROP TABLE IF EXISTS {port.table}")
        create(pool, port)
        pool.execute(f"ALTER TABLE {port.table} DROP COLUMN {column}")
        return pool

    return Keys(pool, dialect_of(pool), drop)


def on_fake_keys(dialect: str) -> Any:
    @pytest.fixture
    def backend(self: object) -> Keys:
        return fake_keys(dialect)

    return backend


def on_real_keys(name: str) -> Any:
    @pytest.fixture
    def backend(
        self: object, database: Callable[[str], str], shared_pool: Callable[[str], Any]
    ) -> Keys:
        return real_keys(shared_pool(with_key_tables(database, name)))

    return backend


#: for a key of int, what is none
NO_INT: list[Any] = [
    "1", 1.0, True, (1,), [1], uuid.UUID(int=1), 2**31, -(2**31) - 1, 2**70, None, infra.FILLED,
]  # fmt: skip
NO_PAIR: list[Any] = [
    (1, 2, 3), (1,), (), 1, None, [1, 2], "12", {"order_id": 1, "number": 2},
]  # fmt: skip


class KeyContract(Contract):
    port = infra.Repository

    # --- ids that the server makes

    def test_a_row_with_a_made_id_refers_to_itself(self, backend: Keys) -> None:
        steps = Steps.on(backend.database)
        first = steps.create(Step("a", after="a"))
        assert steps.get(first.id) == first == Step("a", "a", first.id)
        assert violation(lambda: steps.create(Step("b", after="c")))[0] == "key_steps_after_fkey"

    def test_the_server_makes_ids(self, backend: Keys) -> None:
        orders = backend.orders
        absent: Any = None
        first = orders.create(Order("a", 3))
        second = orders.create(Order("b", parent_id=first.id, id=absent))
        assert (first.id, second.id) == (1, 2)
        assert type(first.id) is int
        assert orders.get(1) == orders.find_by_id(1) == first  # type: ignore[arg-type]
        assert orders.get(2) == second == replace(second, code="b", parent_id=1)
        assert [orders.exists(id) for id in (1, 2, 3, 0, -1)] == [True, True, False, False, False]
        assert orders.get(3) is orders.get(0) is orders.get(-(2**31)) is None
        changed = orders.update(replace(second, code="c", parent_id=None))
        assert orders.get(2) == changed
        assert changed == replace(second, code="c", parent_id=None, updated_at=changed.updated_at)
        assert orders.get(1) == first
        assert (orders.delete(1), orders.delete(1), orders.count()) == (True, False, 1)
        assert orders.create(Order("a")).id == 3
        with pytest.raises(infra.NotFoundError, match="no such order"):
            orders.update(replace(first, code="z"))

    def test_an_id_that_is_given(self, backend: Keys) -> None:
        """MySQL counts on from it, Postgres does not."""
        orders = backend.orders
        assert orders.create(Order("a", id=10)).id == 10
        assert orders.create(Order("b")).id == (1 if backend.dialect == "postgres" else 11)
        assert orders.create(Order("c", id=5)).id == 5
        assert orders.create(Order("d")).id == (2 if backend.dialect == "postgres" else 12)
        assert violation(lambda: orders.create(Order("e", id=10))) == ("orders_pkey", "unique")
        assert violation(lambda: orders.create(Order("a", id=99))) == ("orders_code_key", "unique")
        assert orders.create(Order("e")).id == (3 if backend.dialect == "postgres" else 13)
        assert orders.count() == 5

    def test_many_ids(self, backend: Keys) -> None:
        made = backend.orders.create_many([Order("a"), Order("b")])
        assert [each.id for each in made] == [1, 2]
        assert backend.codes() == {1: "a", 2: "b"}
        changed = backend.orders.upsert(Order("b", 5), on="orders_code_key")
        assert changed == infra.Upserted(
            replace(made[1], total=5, updated_at=changed.record.updated_at), False
        )

    def test_an_id_that_was_given_is_made_later(self, backend: Keys) -> None:
        orders = backend.orders
        orders.create(Order("a", id=1))
        if backend.dialect != "postgres":
            assert orders.create(Order("b")).id == 2
            return
        assert violation(lambda: orders.create(Order("b"))) == ("orders_pkey", "unique")
        assert orders.create(Order("b")).id == 2

    def test_no_id_returns(self, backend: Keys) -> None:
        orders = backend.orders
        with pytest.raises(KeyError), backend.database.transaction():
            assert orders.create(Order("a")).id == 1
            raise KeyError
        with backend.database.transaction():
            with pytest.raises(KeyError), backend.database.transaction():
                assert orders.create(Order("a")).id == 2
                raise KeyError
            assert orders.create(Order("a")).id == 3
        orders.delete(3)
        assert orders.create(Order("a")).id == 4
        with pytest.raises(KeyError), backend.database.transaction():
            orders.create(Order("b", id=20))
            raise KeyError
        assert orders.create(Order("b")).id == (5 if backend.dialect == "postgres" else 21)

    def test_a_block_of_another_thread(self, backend: Keys) -> None:
        """Each id is made once, though a block that took some is rolled back."""
        kept: list[int] = []
        undone: list[int] = []

        def work(number: int) -> None:
            for turn in range(6):
                try:
                    with backend.database.transaction():
                        id = backend.orders.create(Order(f"{number}-{turn}")).id
                        if turn % 2:
                            raise KeyError
                except KeyError:
                    undone.append(id)
                else:
                    kept.append(id)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
        assert sorted(kept + undone) == [*range(1, 19)]
        assert sorted(backend.codes()) == sorted(kept)

    def test_refused_rows_use_ids_up(self, backend: Keys) -> None:
        """As the engine does: Postgres for all, MySQL for some."""
        orders = backend.orders
        used = {"mysql": (1, 2, 4, 5), "mariadb": (1, 2, 4, 6), "postgres": (1, 3, 5, 7)}
        ids = [orders.create(Order("a")).id]
        for wrong, rule in (
            (Order("b", -1), "orders_total_check"),
            (Order("a"), "orders_code_key"),
            (Order("b", parent_id=99), "orders_parent_id_fkey"),
        ):
            assert violation(lambda wrong=wrong: orders.create(wrong))[0] == rule  # type: ignore[misc]
            ids.append(orders.create(Order(f"n{len(ids)}")).id)
        assert tuple(ids) == used[backend.dialect]
        with pytest.raises(infra.DatabaseError):
            orders.create(Order("x", 2**31))  # a value that does not fit uses up none
        assert orders.create(Order("x")).id == ids[-1] + 1

    @pytest.mark.parametrize("id", [0, -1, -(2**31), *NO_INT[:-2]])
    def test_no_id(self, backend: Keys, id: Any) -> None:
        with pytest.raises(infra.ValidationError, match=r"^id should be "):
            backend.orders.create(Order("a", id=id))
        assert backend.orders.count() == 0
        assert backend.orders.create(Order("a")).id == 1

    @pytest.mark.parametrize("key", NO_INT)
    def test_no_key_of_an_order(self, backend: Keys, key: Any) -> None:
        orders = backend.orders
        orders.create(Order("a", id=1))
        words = r"^id should be (a whole number|from -2147483648 to 2147483647)$"
        for call in (orders.get, orders.exists, orders.delete, lambda key: orders.pay(key, 1)):
            with pytest.raises(infra.ValidationError, match=words):
                call(key)
        with pytest.raises(infra.ValidationError, match=words):
            orders.update(Order("b", id=key))
        assert backend.codes() == {1: "a"}

    def test_ids_of_64_bits(self, backend: Keys) -> None:
        events = backend.events
        assert events.create(Event("a", id=2**40)).id == 2**40
        assert events.create(Event("b")).id == (1 if backend.dialect == "postgres" else 2**40 + 1)
        assert events.create(Event("c", id=2**63 - 1)) == events.get(2**63 - 1)
        for call in (events.get, events.exists, lambda key: events.create(Event("d", key))):
            with pytest.raises(
                infra.ValidationError, match=r"^id should be from -9223372036854775"
            ):
                call(2**63)
        assert events.count() == 3

    def test_the_last_id(self, backend: Keys) -> None:
        """MySQL makes it again, so that it is taken. MariaDB and Postgres name the reason."""
        orders, last = backend.orders, 2**31 - 1
        code, total, now = "a", 0, orders.create(Order("z")).updated_at
        row = {"code": code, "total": total, "parent_id": None, "id": last - 1, "updated_at": now}
        backend.move("orders", row).run(progress=False)  # on Postgres too it passes the ids
        assert orders.create(Order("b")).id == last
        for _ in range(2):
            if backend.dialect == "mysql":
                assert violation(lambda: orders.create(Order("c"))) == ("orders_pkey", "unique")
                continue
            with pytest.raises(infra.DatabaseError, match="has no further id") as caught:
                orders.create(Order("c"))
            assert type(caught.value) is infra.DatabaseError
        assert backend.codes() == {1: "z", last - 1: "a", last: "b"}
        if backend.dialect != "postgres":
            assert backend.events.create(Event("a", id=2**63 - 1)).id == 2**63 - 1
            with pytest.raises(infra.DatabaseError):
                backend.events.create(Event("b"))

    def test_a_move_without_ids(self, backend: Keys) -> None:
        target = infra.RepositoryTarget(backend.events)
        source = infra.IterableSource([{"name": "a"}, {"name": "b"}])
        move = infra.RowMove(
            uuid.uuid4().hex, source=source, target=target, transform=lambda row: Event(**row)
        )
        assert move.run(progress=False).counts.written == 2
        assert [backend.events.get(id) for id in (1, 2)] == [Event("a", 1), Event("b", 2)]
        with pytest.raises(infra.MoveError, match="the records have no id to find them by"):
            move.verify()
        backend.move("key_events", {"name": "c"}).run(progress=False)
        assert backend.events.get(3) == Event("c", 3)
        backend.move("key_events", {"name": "d", "id": 7}).run(progress=False)
        assert backend.events.create(Event("e")).id == 8
        assert backend.database.insert_many("key_events", ["name"], [("f",), ("g",)]) == 2
        assert [backend.events.get(id) for id in (9, 10)] == [Event("f", 9), Event("g", 10)]

    def test_a_foreign_key_to_an_id(self, backend: Keys) -> None:
        orders, lines = backend.orders, backend.lines
        order = orders.create(Order("a"))
        child = orders.create(Order("b", parent_id=order.id))
        lines.create(Line(order.id, 1))
        kept = lines.create(Line(child.id, 1))
        assert violation(lambda: lines.create(Line(99, 1))) == (
            "order_lines_order_id_fkey", "foreign_key",
        )  # fmt: skip
        assert orders.delete(order.id) is True
        assert orders.get(child.id) == replace(child, parent_id=None)
        assert lines.page().items == [kept]

    # --- keys of several columns

    def test_a_key_of_two_columns(self, backend: Keys) -> None:
        order, lines = backend.orders.create(Order("a")), Lines.on(backend.database)
        first, second = lines.create(Line(1, 1, "one")), lines.create(Line(1, 2, "two"))
        assert order.id == 1
        assert lines.get((1, 2)) == second == Line(1, 2, "two")
        assert lines.get((2, 1)) is lines.get((1, 3)) is None
        assert [lines.exists(key) for key in ((1, 1), (2, 2))] == [True, False]
        assert violation(lambda: lines.create(Line(1, 2, "x"))) == ("order_lines_pkey", "unique")
        assert lines.update(replace(first, text="new")) == lines.get((1, 1)) == Line(1, 1, "new")
        assert lines.get((1, 2)) == second
        lines.bump((1, 2))
        assert lines.get((1, 2)) == replace(second, version=2)
        assert violation(lambda: lines.update(second)) == ("order_lines_as_read", "check")
        for missing in (Line(1, 3), Line(2, 1)):
            with pytest.raises(infra.NotFoundError, match="no such line"):
                lines.update(missing)
            with pytest.raises(infra.NotFoundError, match="no such line"):
                lines.bump((missing.order_id, missing.number))
        assert (lines.delete((1, 1)), lines.delete((1, 1))) == (True, False)
        assert lines.count() == 1

    def test_pages_are_in_the_order_of_the_key(self, backend: Keys) -> None:
        for id in (1, 2):
            backend.orders.create(Order(f"o{id}", id=id))
        made = [backend.lines.create(Line(*key)) for key in ((2, 1), (1, 10), (1, 9), (2, 0))]
        ordered = sorted(made, key=lambda line: (line.order_id, line.number))
        page = backend.lines.page(infra.Query(per_page=3, with_total=True))
        assert page == infra.Page(ordered[:3], 1, 3, 4)
        assert backend.lines.page(infra.Query(descending=True)).items == ordered[::-1]
        assert backend.lines.count() == 4

    @pytest.mark.parametrize("key", NO_PAIR)
    def test_no_key_of_a_line(self, backend: Keys, key: Any) -> None:
        lines = backend.lines
        for call in (lines.get, lines.exists, lines.delete, lines.bump):
            with pytest.raises(
                infra.ValidationError, match=r"^key should be a tuple: \(order_id, "
            ):
                call(key)

    def test_no_part_of_a_key(self, backend: Keys) -> None:
        lines = backend.lines
        backend.orders.create(Order("a"))
        lines.create(Line(1, 1))
        parts: list[tuple[Any, str]] = [
            ((1, "1"), "number should be a whole number"),
            ((None, 1), "order_id should be a whole number"),
            (((1,), 1), "order_id should be a whole number"),
            ((1, 2**31), "number should be from -2147483648 to 2147483647"),
            ((-(2**31) - 1, 1), "order_id should be from"),
        ]
        for key, words in parts:
            for call in (lines.get, lines.exists, lines.delete, lines.bump):
                with pytest.raises(infra.ValidationError, match=words):
                    call(key)
            for store in (lines.create, lines.update):
                with pytest.raises(infra.ValidationError, match=words):
                    store(Line(*key))
        assert lines.page().items == [Line(1, 1)]

    # --- natural keys

    def test_a_key_of_text(self, backend: Keys) -> None:
        rates = backend.rates
        euro = rates.create(Rate("EUR", Decimal("1.5")))
        assert rates.get("EUR") == euro == Rate("EUR", Decimal("1.50"))
        assert rates.get("eur") is rates.get("EU") is None
        assert [rates.exists(key) for key in ("EUR", "USD")] == [True, False]
        assert violation(lambda: rates.create(Rate("EUR"))) == ("rates_pkey", "unique")
        rates.create(Rate("USD"))
        assert rates.update(Rate("EUR", Decimal(2))) == rates.get("EUR") == Rate("EUR", Decimal(2))
        assert rates.get("USD") == Rate("USD")
        with pytest.raises(infra.NotFoundError, match="no such rate"):
            rates.update(Rate("CHF"))
        assert [rate.currency for rate in rates.page().items] == ["EUR", "USD"]
        assert (rates.delete("EUR"), rates.delete("EUR"), rates.count()) == (True, False, 1)

    @pytest.mark.parametrize("key", ["", " EUR", "EUR ", "EURO", "E\0", None, 1, ("EUR",), b"EUR"])
    def test_no_key_of_a_rate(self, backend: Keys, key: Any) -> None:
        """MySQL would hold "EUR " for "EUR"."""
        rates = backend.rates
        rates.create(Rate("EUR"))
        for call in (rates.get, rates.exists, rates.delete):
            with pytest.raises(infra.ValidationError, match=r"^currency "):
                call(key)
        for store in (rates.create, rates.update):
            with pytest.raises(infra.ValidationError, match=r"^currency "):
                store(Rate(key))
        assert rates.page().items == [Rate("EUR")]

    def test_a_key_of_a_date(self, backend: Keys) -> None:
        holidays, day = backend.holidays, date(2026, 1, 1)
        assert holidays.create(Holiday(day)) == holidays.get(day) == Holiday(day)
        assert holidays.update(Holiday(day, "New Year")) == holidays.get(day)
        assert holidays.get(date(2026, 1, 2)) is None
        for wrong in ("2026-01-01", datetime(2026, 1, 1), None):
            with pytest.raises(infra.ValidationError, match="day should be a date"):
                holidays.get(wrong)  # type: ignore[arg-type]
        assert (holidays.exists(day), holidays.delete(day), holidays.count()) == (True, True, 0)

    def test_a_record_may_have_nothing_but_its_key(self, backend: Keys) -> None:
        made = Bare.on(backend.database).create(Bare.record("EUR", Decimal(1)))
        assert Bare.on(backend.database).update(made) == made
        with pytest.raises(infra.NotFoundError):
            Bare.on(backend.database).update(Bare.record("USD", Decimal(1)))

    def test_a_move_of_natural_keys(self, backend: Keys) -> None:
        backend.rates.create(Rate("EUR", Decimal(2)))
        source = infra.IterableSource([{"currency": "EUR"}, {"currency": "USD"}])
        move = infra.RowMove(
            uuid.uuid4().hex,
            source=source,
            target=infra.RepositoryTarget(backend.rates, on_conflict="skip"),
            transform=lambda row: Rate(**row),
        )
        counts = move.run(progress=False).counts
        assert (counts.written, counts.skipped) == (1, 1)
        found = move.verify()
        assert (found.checked, found.different, found.missing) == (2, 1, 0)

    @pytest.mark.parametrize("on_conflict", ["skip", "error"])
    def test_a_move_of_no_key(self, backend: Keys, on_conflict: str) -> None:
        """MySQL would skip it, because it holds "EUR " for "EUR"."""
        backend.rates.create(Rate("EUR"))
        move = infra.RowMove(
            uuid.uuid4().hex,
            source=infra.IterableSource([{"currency": "EUR "}]),
            target=infra.RepositoryTarget(backend.rates, on_conflict=on_conflict),
            transform=lambda row: Rate(**row),
        )
        with pytest.raises(infra.MoveError, match="row=1: currency should not begin or end"):
            move.run(progress=False)
        with pytest.raises(infra.ValidationError, match="currency should not begin or end"):
            move.verify()
        assert backend.rates.page().items == [Rate("EUR")]

    # --- bad input

    def test_an_unknown_field(self, backend: Keys) -> None:
        orders = backend.orders
        made = orders.create(Order("a", id=1))
        for call in orders.with_unknown("nothing"):
            with pytest.raises(infra.DatabaseError, match="nothing") as caught:
                call()
            assert caught.value.operation in ("first", "change", "insert")
        with pytest.raises(infra.ValidationError, match="orders has no nothing"):
            orders.pay_with(1, {"total": 1, "nothing": 1})
        with pytest.raises(infra.ValidationError, match="sort should be one of: code"):
            orders.page(infra.Query(sort="nothing"))
        with pytest.raises(infra.ValidationError, match="filters are none of: total"):
            orders.page(infra.Query(filters={"nothing": 1}))
        assert orders.page().items == [made]

    def test_a_record_of_another_table(self, backend: Keys) -> None:
        other: Any = Line(1, 1)
        for call in (backend.orders.create, backend.orders.update):
            with pytest.raises(infra.ValidationError, match="the order should be of class Order"):
                call(other)
        assert backend.orders.count() == 0

    def test_a_table_that_is_not_there(self, backend: Keys) -> None:
        port: Any = type("Absent", (Orders,), {"table": "absent", "unique": ()})
        calls: list[Callable[[], Any]] = [
            lambda: port.on(backend.database).create(Order("a")),
            lambda: port.on(backend.database).get(1),
            lambda: port.on(backend.database).count(),
        ]
        for call in calls:
            with pytest.raises(infra.DatabaseError, match='"absent"') as caught:
                call()
            assert type(caught.value) is infra.DatabaseError

    def test_a_column_that_was_dropped(self, backend: Keys) -> None:
        database = backend.drop(Dropped, "value")
        for call in (
            lambda: Dropped.on(database).create(Rate("EUR")),
            lambda: Dropped.on(database).update(Rate("EUR")),
            lambda: Dropped.on(database).get("EUR"),
            lambda: Dropped.on(database).page(),
        ):
            with pytest.raises(infra.DatabaseError, match='"value"') as caught:
                call()
            assert type(caught.value) is infra.DatabaseError

    def test_an_id_that_was_dropped(self, backend: Keys) -> None:
        events = WithoutId.on(backend.drop(WithoutId, "number"))
        calls: list[Callable[[], Any]] = [
            lambda: events.create(Event("a")),
            lambda: events.create(Event("a", 1)),
            lambda: events.update(Event("a", 1)),
            lambda: events.get(1),
        ]
        for call in calls:
            with pytest.raises(infra.DatabaseError, match='"number"') as caught:
                call()
            assert type(caught.value) is infra.DatabaseError
        assert events.count() == 0

    def test_ids_of_several_rows(self, backend: Keys) -> None:
        """MySQL takes those of all rows at once, so that refused rows use them up too."""
        is_postgres = backend.dialect == "postgres"
        twice = [Order(code) for code in ("a", "a", "b")]
        assert violation(lambda: backend.orders.store(*twice)) == ("orders_code_key", "unique")
        assert backend.orders.create(Order("c")).id == (3 if is_postgres else 4)
        backend.orders.store(Order("d"), Order("e"))
        assert backend.orders.create(Order("f")).id == (6 if is_postgres else 7)
        assert backend.orders.store(Order("g", id=30)) is None
        assert backend.orders.store(Order("h")) == (7 if is_postgres else 31)

    def test_a_table_of_ids(self, backend: Keys) -> None:
        tickets = Tickets.on(backend.database)
        assert [tickets.create(Ticket()) for _ in range(2)] == [Ticket(1), Ticket(2)]
        assert tickets.create(Ticket(9)) == tickets.update(Ticket(9)) == tickets.get(9)
        with pytest.raises(infra.NotFoundError):
            tickets.update(Ticket(8))
        assert tickets.count() == 3

    def test_the_server_does_not_make_the_id(self, backend: Keys) -> None:
        made = MadeNumbers.on(backend.database)
        numbers = Numbers.on(backend.database)
        assert violation(lambda: made.create(Event("a"))) == (
            "key_numbers_id_not_null", "not_null",
        )  # fmt: skip
        with pytest.raises(infra.ValidationError, match="id should be a whole number"):
            numbers.create(Event("a"))
        assert numbers.count() == 0
        for id in (0, -5, 7):
            assert numbers.create(Event("a", id)) == numbers.get(id) == made.get(id)
        assert violation(lambda: numbers.create(Event("b", 0))) == ("key_numbers_pkey", "unique")
        assert [number.id for number in numbers.page().items] == [-5, 0, 7]
        assert numbers.delete(0) is True


class TestFakeMySQL(KeyContract):
    backend = on_fake_keys("mysql")


class TestFakeMariaDB(KeyContract):
    backend = on_fake_keys("mariadb")


class TestFakePostgres(KeyContract):
    backend = on_fake_keys("postgres")


class TestMariaDB(KeyContract):
    backend = on_real_keys("mariadb")


class TestMySQL(KeyContract):
    backend = on_real_keys("mysql")


class TestPostgres(KeyContract):
    backend = on_real_keys("postgres")


class TestPostgres18(KeyContract):
    backend = on_real_keys("postgres-18")


# --- the classes, and the tables made from them

NOT_WHOLE = "Wrong: the server makes ids of type int, so id has to be the whole key"


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"key": ("id", "code")}, NOT_WHOLE),
        ({"key": ("code",)}, NOT_WHOLE),
        ({"ids": ("id", "total")}, NOT_WHOLE),
        ({"key": ("id", "total"), "ids": ("id", "total")}, NOT_WHOLE),
        ({"key": ("code",), "hidden": {"n": int}, "ids": ("n",)}, "so n has to be the whole key"),
        ({"defaults": {"id": 5}}, "Wrong: defaults names id, whose values the server makes"),
    ],
)
def test_an_id_that_the_server_cannot_make(attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(infra.ConfigurationError, match=message):
        type("Wrong", (Orders,), attributes)


@pytest.mark.parametrize(
    "attributes",
    [
        {"key": ("id", "code"), "ids": ()},
        {"key": ("code",), "ids": ["nothing"]},
        {"key": ["id"], "ids": ["id"]},
    ],
)
def test_an_id_that_may_be(attributes: dict[str, Any]) -> None:
    port: Any = type("Right", (Orders,), attributes)
    table = fakes.Table.of(port)
    made = [name for name, column in table.columns.items() if column.auto_increment]
    assert made == (["id"] if attributes["ids"] == ["id"] else [])


def test_a_table_without_a_key() -> None:
    port: Any = type("Wrong", (Rates,), {"key": ()})
    with pytest.raises(infra.ConfigurationError, match="Wrong: key should name a column"):
        port.on(fakes.FakeDatabase("postgres", [fakes.Table.of(port)]))


def test_a_server_makes_an_id_that_the_record_hides() -> None:
    port: Any = type("Hidden", (Rates,), {"key": ("n",), "ids": ("n",), "hidden": {"n": int}})
    rates = port.on(fakes.FakeDatabase("postgres", [fakes.Table.of(port)]))
    assert rates.create(Rate("EUR")) == rates.create(Rate("EUR")) == rates.get(2) == Rate("EUR")
    with pytest.raises(infra.ValidationError, match="n should be a whole number"):
        rates.update(Rate("EUR"))


@pytest.mark.parametrize("engine", ["mysql", "postgres"])
def test_the_text_of_the_key(engine: str) -> None:
    made = {
        "mysql": "`id` BIGINT NOT NULL AUTO_INCREMENT,",
        "postgres": '"id" BIGINT NOT NULL GENERATED BY DEFAULT AS IDENTITY,',
    }[engine]
    assert made in infra.ddl(Events, engine)
    text = infra.ddl([Numbers, Lines], engine)
    assert "AUTO_INCREMENT" not in text
    assert "IDENTITY" not in text
    assert "PRIMARY KEY (order_id, number)" in text.replace("`", "").replace('"', "")


def test_columns_whose_values_the_table_makes() -> None:
    id, n = fakes.Column(int, auto_increment=True), fakes.Column(int)
    assert fakes.Table.of(Orders).columns["id"] == id
    assert fakes.Table.of(Events).columns["id"] == replace(id, length=64)
    assert fakes.Table.of(Numbers).columns["id"] == n
    with pytest.raises(infra.ConfigurationError, match="auto_increment should be an int"):
        fakes.Column(str, auto_increment=True)
    with pytest.raises(infra.ConfigurationError, match="should be an int without a default"):
        fakes.Column(int, auto_increment=True, default=5)
    for columns, key in (
        ({"id": id, "n": n}, ("id", "n")),
        ({"id": id, "n": id}, ("id",)),
        ({"id": id, "n": n}, ("n",)),
    ):
        with pytest.raises(infra.ConfigurationError, match="t: id has auto_increment, so it shou"):
            fakes.Table("t", columns, key)


@pytest.mark.parametrize("dialect", ["mysql", "mariadb", "postgres"])
def test_rows_of_a_fake_table(dialect: str) -> None:
    table = fake_keys(dialect).database.table("key_events")  # type: ignore[attr-defined]
    table.insert({"name": "a"})
    if dialect == "postgres":
        table.insert({"name": "b", "id": 0})
        assert violation(lambda: table.insert({"name": "c", "id": None})) == (
            "key_events_id_not_null", "not_null",
        )  # fmt: skip
        table.update({"id": 1}, {"id": 9})
    else:
        table.insert({"name": "b", "id": 0})
        table.insert({"name": "c", "id": None})
        table.update({"id": 3}, {"id": 9})
    table.insert({"name": "d"})
    ids = {row["name"]: row["id"] for row in table.select()}
    expected = (
        {"a": 9, "b": 0, "d": 2} if dialect == "postgres" else {"a": 1, "b": 2, "c": 9, "d": 10}
    )
    assert ids == expected


@pytest.mark.parametrize("name", ["mariadb", "mysql", "postgres", "postgres-18"])
def test_compare(database: Callable[[str], str], name: str) -> None:
    with infra.create_pool(infra.DatabaseConfig(url=with_key_tables(database, name))) as pool:
        for port in PORTS:
            assert fakes.compare(port, pool) == []
        assert fakes.compare(MadeNumbers, pool) == [
            "key_numbers: id should be integer(32) NOT NULL made by the server, "
            "and is integer(32) NOT NULL"
        ]
        assert fakes.compare(type("E", (Events,), {"ids": ()}), pool) == [
            "key_events: id should be integer(64) NOT NULL, "
            "and is integer(64) NOT NULL made by the server"
        ]
        if pool.engine == "mysql":
            return
        for table, sql, words in (
            ("key_serials", "BIGSERIAL", []),
            (
                "key_always",
                "BIGINT GENERATED ALWAYS AS IDENTITY",
                [
                    "key_always: id should be integer(64) NOT NULL made by the server, "
                    "and is integer(64) NOT NULL always made by the server"
                ],
            ),
        ):
            pool.execute(
                f'CREATE TABLE {table} (id {sql} PRIMARY KEY, name TEXT COLLATE "C" NOT NULL)'
            )
            events: Any = type("Events", (Events,), {"table": table})
            assert fakes.compare(events, pool) == words
            assert events.on(pool).create(Event("a")) == Event("a", 1)
