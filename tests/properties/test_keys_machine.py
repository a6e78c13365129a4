"""The same operations on keys of every kind to the fake and to a real engine.

Results, ids, error classes, names of constraints, and tables must agree. There are few keys, so
that rows meet. Some ids are given, most are made, and some blocks are rolled back. A row breaks one
rule at most: of several, engines name one or the other, and use up an id or do not. The samples
have a column of each type.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run

import fakes
import infra
from tests.contract.databases import dialect_of, empty
from tests.contract.test_keys import PORTS, Keys, Line, Order, Rate, create
from tests.properties.blocks import BlockMachine
from tests.properties.samples import (
    A_SAMPLE,
    A_WRONG,
    CHANGE,
    NO_SAMPLE,
    SAMPLE_KEY,
    Sample,
    Samples,
    field_values,
    some,
)

MADE = "made"  # by the server
NUMBERS = [1, 2, 3, 5]  # added to the base, an id
ID = st.sampled_from([*NUMBERS, MADE, MADE, MADE, MADE, None, "1", True, 2**31, 2**70])
FOUND = st.sampled_from([*NUMBERS, *NUMBERS, 4, 6, 99, None, "1", (1,), 2**31])
PARENT = st.sampled_from([None, None, 1, 2, 3, 99])
CODE = st.sampled_from(["a", "b", "A", "é", "", "12345", "123456", 5])
TOTAL = st.sampled_from([0, 1, 2, -1, 2**31])
LINE = st.tuples(st.sampled_from([1, 2, 3, 99]), st.sampled_from([1, 2, -1, 0]))
NO_LINE = st.sampled_from([(1,), (1, 2, 3), 1, None, [1, 2], (1, "2"), (None, 1), (1, 2**31)])
CURRENCY = st.sampled_from(["EUR", "eur", "USD", "é", "EU", "EUR ", "", "EURO", None, ("EUR",)])
VALUE = st.sampled_from([Decimal(1), Decimal("1.5"), Decimal("1.50"), Decimal("0.001")])


FIELD = st.sampled_from(Samples.filter_fields)
SORT = st.sampled_from(("", *Samples.sort_fields))
FILTER = st.one_of([st.tuples(st.just(name), field_values(name)) for name in Samples.filter_fields])


@dataclass
class Backend(Keys):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.samples = Samples.on(self.database)


TABLES = [fakes.Table.of(port) for port in (*PORTS, Samples)]
USED = ("order_lines", "orders", "rates", "samples")  # children first


def backend(database: infra.Database, dialect: str) -> Backend:
    return Backend(database, dialect, lambda port, column: database)


class Machine(BlockMachine):
    real: Backend  # of all examples
    base = 0  # the id before the first

    def __init__(self) -> None:
        super().__init__()
        database, dialect = self.real.database, self.real.dialect
        empty(database, *USED)
        self.backends = backend(fakes.FakeDatabase(dialect, TABLES), dialect), self.real
        self.seen: Any = None  # what the fake's tables held when both were last compared
        if dialect == "postgres":
            database.execute("SELECT setval('orders_id_seq', 1, false)")
            return
        # MySQL's counter goes on from one example to the next.
        cls = type(self)
        cls.base += 1000
        self.both(lambda b: b.orders.create(Order("", id=self.base)).id)
        self.both(lambda b: b.orders.delete(self.base))

    def both(self, call: Callable[[Backend], Any], *, own_block: bool = False) -> Any:
        """Run the call on both and compare; return the answer, or None after an error.

        A call with a block of its own fails without the block around it.
        """
        outcomes: list[tuple[Any, ...]] = []
        for backend in self.backends:
            try:
                outcomes.append(("answer", call(backend)))
            except infra.ConflictError as error:
                outcomes.append(("conflict", error.kind, error.constraint, error.operation))
            except infra.ValidationError as error:
                outcomes.append(("refused", str(error)))
            except infra.InfrastructureError as error:
                outcomes.append(("error", type(error), error.retryable, error.operation))
        fake, real = outcomes
        # The library itself finds that a version differs: the server has refused nothing.
        refused = real[0] == "conflict" and real[2] != "order_lines_as_read"
        if (refused or real[1] is infra.DatabaseError) and not own_block:
            self.doom()
        assert fake == real
        return fake[1] if fake[0] == "answer" else None

    def id(self, number: Any) -> Any:
        """Return the id that a number stands for."""
        return self.base + number if type(number) is int and number < 100 else number

    def orders(self) -> dict[int, Order]:
        if self.doomed:
            return {}
        return {each.id: each for each in self.backends[0].orders.page().items}

    def breaks_one(self, id: Any, code: Any, total: int, parent: Any) -> bool:
        others = [each for each in self.orders().values() if each.id != id]
        broken = (
            any(each.code == code for each in others),
            total not in range(2**31),
            parent is not None and parent not in self.orders(),
            id in self.orders(),
        )
        return sum(broken) < 2

    @initialize()
    def seed(self) -> None:
        self.both(lambda b: b.orders.create(Order("x")).id)
        self.both(lambda b: b.orders.create(Order("y")).id)
        self.both(lambda b: b.lines.create(Line(self.base + 1, 1)))

    @rule(id=ID, code=CODE, total=TOTAL, parent=PARENT)
    def create_order(self, id: Any, code: Any, total: int, parent: Any) -> None:
        id, parent = infra.FILLED if id == MADE else self.id(id), self.id(parent)
        if self.breaks_one(id, code, total, parent) and not self.may_count(id, code, total, parent):
            self.both(lambda b: b.orders.create(Order(code, total, parent, id)).id)

    def may_count(self, id: Any, code: Any, total: int, parent: Any) -> bool:
        """Return whether MySQL may count on from the given id although it refuses the row.

        It does once the table has left the server's cache of definitions: it has logged the id.
        """
        greatest = max(self.orders(), default=self.base)
        if self.real.dialect == "postgres" or type(id) is not int or id <= greatest:
            return False
        codes = [each.code for each in self.orders().values()]
        return code in codes or total not in range(2**31) or parent not in (None, *self.orders())

    @rule(id=FOUND, code=CODE, total=TOTAL)
    def update_order(self, id: Any, code: Any, total: int) -> None:
        id = self.id(id)
        others = [each.code for each in self.orders().values() if each.id != id]
        if code not in others or total in range(2**31):
            self.both(lambda b: b.orders.update(Order(code, total, None, id)).total)

    @rule(id=FOUND)
    def delete_order(self, id: Any) -> None:
        self.both(lambda b: b.orders.delete(self.id(id)))

    @rule(id=FOUND, total=TOTAL)
    def pay(self, id: Any, total: int) -> None:
        self.both(lambda b: b.orders.pay(self.id(id), total))

    @rule(id=FOUND)
    def get_order(self, id: Any) -> None:
        self.both(lambda b: b.orders.exists(self.id(id)))
        self.both(lambda b: self.plain(b.orders.get(self.id(id))))

    @staticmethod
    def plain(order: Order | None) -> Any:
        """Without the time, which differs."""
        return order and replace(order, updated_at=infra.FILLED)

    @rule(key=st.one_of(LINE, LINE, NO_LINE), version=st.sampled_from([1, 1, 2]))
    def work_on_a_line(self, key: Any, version: int) -> None:
        if isinstance(key, tuple) and key and key[0] is not None:
            key = (self.id(key[0]), *key[1:])
        self.both(lambda b: b.lines.get(key))
        self.both(lambda b: b.lines.exists(key))
        if isinstance(key, tuple) and len(key) == 2:
            self.both(lambda b: b.lines.create(Line(*key)))
            self.both(lambda b: b.lines.update(Line(*key, text="new", version=version)))
        if version == 2:
            self.both(lambda b: b.lines.bump(key))

    @rule(key=st.one_of(LINE, NO_LINE))
    def delete_a_line(self, key: Any) -> None:
        if isinstance(key, tuple) and key and key[0] is not None:
            key = (self.id(key[0]), *key[1:])
        self.both(lambda b: b.lines.delete(key))

    @rule(currency=CURRENCY, value=VALUE)
    def create_rate(self, currency: Any, value: Decimal) -> None:
        self.both(lambda b: b.rates.create(Rate(currency, value)))

    @rule(currency=CURRENCY, value=VALUE)
    def update_rate(self, currency: Any, value: Decimal) -> None:
        self.both(lambda b: b.rates.update(Rate(currency, value)))
        self.both(lambda b: b.rates.get(currency))

    @rule(currency=CURRENCY)
    def delete_rate(self, currency: Any) -> None:
        self.both(lambda b: b.rates.exists(currency))
        self.both(lambda b: b.rates.delete(currency))

    def samples(self) -> list[Sample]:
        return [] if self.doomed else self.backends[0].samples.page().items

    @rule(sample=A_SAMPLE)
    def create_sample(self, sample: Sample) -> None:
        self.both(lambda b: repr(b.samples.create(sample)))
        self.both(lambda b: repr(b.samples.get((sample.state, sample.day))))

    @rule(sample=A_SAMPLE)
    def update_sample(self, sample: Sample) -> None:
        self.both(lambda b: repr(b.samples.update(sample)))
        self.both(lambda b: repr(b.samples.get((sample.state, sample.day))))

    @rule(key=SAMPLE_KEY, change=CHANGE)
    def change_sample(self, key: Any, change: dict[str, Any]) -> None:
        """Store a sample that was read, with another value of one field."""

        def change_one(b: Backend) -> str:
            sample = b.samples.get(key)
            return repr(sample and b.samples.update(replace(sample, **change)))

        self.both(change_one)

    @rule(sample=A_SAMPLE, wrong=A_WRONG)
    def store_a_wrong_sample(self, sample: Sample, wrong: dict[str, Any]) -> None:
        key, wrong_one = (sample.state, sample.day), replace(sample, **wrong)
        if key in [(each.state, each.day) for each in self.samples()]:
            self.both(lambda b: b.samples.update(wrong_one))
        else:
            self.both(lambda b: b.samples.create(wrong_one))

    @rule(key=st.one_of(SAMPLE_KEY, SAMPLE_KEY, NO_SAMPLE))
    def get_sample(self, key: Any) -> None:
        self.both(lambda b: b.samples.exists(key))
        self.both(lambda b: repr(b.samples.get(key)))

    @rule(key=st.one_of(SAMPLE_KEY, SAMPLE_KEY, NO_SAMPLE))
    def delete_sample(self, key: Any) -> None:
        self.both(lambda b: b.samples.delete(key))

    @rule(sample=A_SAMPLE, given=st.sets(some("whole", "price", "owner", "code", "at"), max_size=2))
    def insert_with_defaults(self, sample: Sample, given: set[str]) -> None:
        """As another program inserts a row: the server fills what is not given."""
        key = (sample.state, sample.day)
        row = {"group": sample.state.value, "day": sample.day}
        row |= {name: getattr(sample, name) for name in sorted(given)}

        def insert(b: Backend) -> int:
            return b.database.insert_many("samples", [*row], [tuple(row.values())])

        self.both(insert, own_block=True)
        self.both(lambda b: repr(b.samples.get(key)))

    @rule(found=FILTER, sort=SORT, descending=st.booleans())
    def find_samples(self, found: tuple[str, Any], sort: str, descending: bool) -> None:
        query = infra.Query(
            sort=sort, descending=descending, filters=dict([found]), with_total=True
        )
        self.both(lambda b: repr(b.samples.page(query)))

    @rule(number=st.integers(0, 5), name=FIELD, sort=SORT, descending=st.booleans())
    def find_like(self, number: int, name: str, sort: str, descending: bool) -> None:
        """Find the samples that have a value of a stored one."""
        samples = self.samples()
        filters = {name: getattr(samples[number % len(samples)], name)} if samples else {}
        query = infra.Query(sort=sort, descending=descending, filters=filters)
        self.both(lambda b: repr(b.samples.page(query)))

    @rule(sort=SORT, descending=st.booleans(), page=some(1, 2))
    def sort_samples(self, sort: str, descending: bool, page: int) -> None:
        query = infra.Query(page=page, per_page=3, sort=sort, descending=descending)
        self.both(lambda b: repr(b.samples.page(query)))

    def everything(self, b: Backend) -> Any:
        return (
            [*map(self.plain, b.orders.page().items)],
            b.lines.page().items,
            b.rates.page().items,
            b.samples.page().items,
        )

    def rows(self) -> list[list[fakes.Row]]:
        """Return the rows of the fake, which cost less than records."""
        database = self.backends[0].database
        assert isinstance(database, fakes.FakeDatabase)
        return [] if self.doomed else [database.table(name).select() for name in USED]

    def compare(self) -> None:
        found = self.both(self.everything)
        assert (found is None) is bool(self.doomed)  # then both refuse

    @invariant()
    def tables_agree(self) -> None:
        """Compare after each step that changed the fake, and at the end."""
        earlier, self.seen = self.seen, self.rows()
        if self.doomed or self.seen != earlier:
            self.compare()


@pytest.mark.parametrize("name", ["mariadb", "mysql", "postgres", "postgres-18"])
def test_fake_and_real_agree(database: Callable[[str], str], name: str) -> None:
    with infra.create_pool(infra.DatabaseConfig(url=database(name))) as pool:
        create(pool, *PORTS, Samples)
        real = backend(pool, dialect_of(pool))
        run(type("KeysMachine", (Machine,), {"real": real}), settings=settings())
