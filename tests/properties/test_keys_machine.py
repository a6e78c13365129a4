"""The same operations on keys of every kind to the fake and to a real engine.

Results, ids, error classes, names of constraints, and tables must agree. There are few keys, so
that rows meet. Some ids are given, most are made, and some blocks are rolled back. A row breaks one
rule at most: of several, engines name one or the other, and use up an id or do not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run

import infra
from tests.contract.databases import dialect_of
from tests.contract.test_keys import (
    Keys,
    Line,
    Order,
    Rate,
    fake_keys,
    with_key_tables,
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


class Machine(RuleBasedStateMachine):
    pool: infra.ConnectionPool
    dialect: str
    base = 0  # the id before the first

    def __init__(self) -> None:
        super().__init__()
        real = Keys(self.pool, self.dialect, lambda port, column: self.pool)
        self.backends = fake_keys(self.dialect), real
        self.blocks: list[list[Any]] = []  # open transactions: for each backend its context manager
        self.doomed = 0  # the depth of the block that an error has ended; 0 if there is none
        self.seen: Any = None  # what the fake's tables held when both were last compared
        for table in ("order_lines", "orders", "rates"):
            self.pool.execute(f"DELETE FROM {table}")
        if self.dialect == "postgres":
            self.pool.execute("SELECT setval('orders_id_seq', 1, false)")
            return
        # MySQL's counter goes on from one example to the next.
        cls = type(self)
        cls.base += 1000
        self.both(lambda b: b.orders.create(Order("", id=self.base)).id)
        self.both(lambda b: b.orders.delete(self.base))

    def teardown(self) -> None:
        self.compare()
        while self.blocks:
            self.leave(infra.ValidationError("the end"))

    def both(self, call: Callable[[Keys], Any]) -> Any:
        """Run the call on both and compare; return the answer, or None after an error."""
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
        failed = refused or real[1] is infra.DatabaseError
        if failed and self.dialect == "postgres" and not self.doomed and self.blocks:
            self.doomed = len(self.blocks)
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
        if self.breaks_one(id, code, total, parent):
            self.both(lambda b: b.orders.create(Order(code, total, parent, id)).id)

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

    @precondition(lambda self: len(self.blocks) < 3)
    @rule()
    def enter(self) -> None:
        blocks = [backend.database.transaction() for backend in self.backends]
        entered = []

        def begin(backend: Keys) -> None:
            block = blocks[self.backends.index(backend)]
            block.__enter__()
            entered.append(block)

        self.both(begin)
        if entered:
            assert len(entered) == 2
            self.blocks.append(blocks)

    @precondition(lambda self: self.blocks)
    @rule(error=st.sampled_from([None, infra.ValidationError("on purpose")]))
    def leave(self, error: Exception | None) -> None:
        blocks = self.blocks.pop()
        kind = type(error) if error else None
        self.both(lambda b: blocks[self.backends.index(b)].__exit__(kind, error, None))
        if self.doomed > len(self.blocks):
            self.doomed = 0

    def everything(self, b: Keys) -> Any:
        return (
            [*map(self.plain, b.orders.page().items)],
            b.lines.page().items,
            b.rates.page().items,
        )

    def compare(self) -> None:
        found = self.both(self.everything)
        assert (found is None) is bool(self.doomed)  # then both refuse

    @invariant()
    def tables_agree(self) -> None:
        """Compare after each step that changed the fake, and at the end."""
        earlier = self.seen
        self.seen = None if self.doomed else self.everything(self.backends[0])
        if self.doomed or self.seen != earlier:
            self.compare()


@pytest.mark.parametrize("name", ["mariadb", "mysql", "postgres", "postgres-18"])
def test_fake_and_real_agree(database: Callable[[str], str], name: str) -> None:
    url = with_key_tables(database, name)
    with infra.create_pool(infra.DatabaseConfig(url=url)) as pool:
        machine = type("KeysMachine", (Machine,), {"pool": pool, "dialect": dialect_of(pool)})
        examples = settings().max_examples // (4 if name == "postgres-18" else 1)
        run(machine, settings=settings(max_examples=examples))
