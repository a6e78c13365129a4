"""The same operations to FakeDatabase and to a real engine.

Results, error classes, names of constraints, and tables must agree. There are few owners, labels
and amounts, so that rows meet. Ids are drawn from a small set and given to both.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run

import fakes
import infra
from tests.contract.databases import (
    DatabaseBackend,
    Item,
    Owner,
    empty,
    fake_backend,
    real_backend,
    with_tables,
)
from tests.properties.blocks import BlockMachine

IDS = [uuid.UUID(int=number << 64) for number in range(1, 5)]
ID = st.sampled_from(IDS)
REFERENCE = st.one_of(st.none(), ID)
NAMES = st.sampled_from(
    [
        "a",
        "A",
        "a ",
        " a",
        "b",
        "é",
        "e\u0301",
        "😀",
        "",
        "0123456789",
        "0123456789 ",
        "0123456789x",
    ]
)
LABELS = st.one_of(
    st.none(), st.sampled_from(["x", "X", "x ", "", "12345", "12345  ", "123456", "'\\%\n"])
)
AMOUNTS = st.sampled_from([0, 1, 1, 2, -1, 2**31 - 1, 2**31])
NOTES = st.sampled_from(["", "n", None])
ITEM = st.builds(
    Item,
    amount=AMOUNTS,
    label=LABELS,
    note=NOTES,
    owner_id=REFERENCE,
    keeper_id=REFERENCE,
    guard_id=REFERENCE,
)


class Machine(BlockMachine):
    real: DatabaseBackend  # of all examples

    def __init__(self) -> None:
        super().__init__()
        empty(self.real.database, "items", "owners")
        self.backends = fake_backend(self.real.dialect), self.real
        self.seen: Any = None  # what the fake's tables held when both were last compared

    def both(
        self, call: Callable[[DatabaseBackend], Any], broken: int = 0, *, own_block: bool = False
    ) -> Any:
        """Run the call on both and compare; return the answer, or None after an error.

        Args:
            broken: how many rules the call breaks.
            own_block: the call has a block of its own, which fails without the block around it.
        """
        outcomes: list[tuple[Any, ...]] = []
        for backend in self.backends:
            try:
                outcomes.append(("answer", call(backend)))
            except infra.ConflictError as error:
                outcomes.append(
                    ("conflict", error.kind, error.constraint, error.retryable, error.operation)
                )
            except infra.InfrastructureError as error:
                outcomes.append(("error", type(error), error.retryable, error.operation))
        fake, real = outcomes
        if (real[0] == "conflict" or real[1] is infra.DatabaseError) and not own_block:
            self.doom()
        # Of several rules that a row breaks, engines name one or the other.
        if fake == real or not (broken > 1 and "answer" not in (fake[0], real[0])):
            assert fake == real
        return fake[1] if fake[0] == "answer" else None

    def rows(self, table: str) -> list[fakes.Row]:
        database = self.backends[0].database
        assert isinstance(database, fakes.FakeDatabase)
        return [] if self.doomed else database.table(table).select()

    def stored(self, text: str, length: int) -> str:
        """Return the value as a column of that length stores and compares it."""
        is_mysql = self.real.engine == "mysql"
        return text[:length].rstrip(" ") if is_mysql else text[:length]

    def broken_by_owner(self, id: uuid.UUID, name: str) -> int:
        others = [row for row in self.rows("owners") if row["id"] != id]
        taken = {self.stored(row["name"], 10) for row in others}
        return sum(
            (
                len(name.rstrip(" ")) > 10,
                self.stored(name, 10) in taken,
                len(others) < len(self.rows("owners")),
            )
        )

    def broken_by_item(self, id: uuid.UUID, item: Item) -> int:
        known = {row["id"] for row in self.rows("owners")} | {None}
        items = self.rows("items")
        taken = {
            self.stored(row["label"], 5)
            for row in items
            if row["id"] != id and row["label"] is not None
        }
        label = item.label or ""
        return sum(
            (
                # Of several parents that are missing both name the same.
                not known.issuperset((item.owner_id, item.keeper_id, item.guard_id)),
                item.amount < 0,
                item.amount >= 2**31,
                item.note is None,
                len(label.rstrip(" ")) > 5,
                item.label is not None and self.stored(label, 5) in taken,
                any(row["id"] == id for row in items),
            )
        )

    @initialize()
    def seed(self) -> None:
        for number in (0, 1):
            self.both(lambda b: b.owners.create(Owner("ab"[number], IDS[number])))
        self.both(lambda b: b.items.create(Item(label="x", owner_id=IDS[0], id=IDS[0])))
        self.both(
            lambda b: b.items.create(Item(amount=1, keeper_id=IDS[0], guard_id=IDS[1], id=IDS[1]))
        )

    @rule(id=ID, name=NAMES)
    def create_owner(self, id: uuid.UUID, name: str) -> None:
        broken = self.broken_by_owner(id, name)
        self.both(lambda b: b.owners.create(Owner(name, id)), broken)

    @rule(id=ID, name=NAMES)
    def update_owner(self, id: uuid.UUID, name: str) -> None:
        broken = self.broken_by_owner(id, name)
        self.both(lambda b: b.owners.update(Owner(name, id)), broken)

    @rule(id=ID)
    def delete_owner(self, id: uuid.UUID) -> None:
        """Cascades, sets null, or is restricted."""
        self.both(lambda b: b.owners.delete(id))

    @rule(name=NAMES)
    def find_owner(self, name: str) -> None:
        self.both(lambda b: b.owners.find_by_name(name))

    @rule(id=ID, item=ITEM)
    def create_item(self, id: uuid.UUID, item: Item) -> None:
        broken = self.broken_by_item(id, item)
        self.both(lambda b: b.items.create(replace(item, id=id)), broken)

    @rule(id=ID, item=ITEM)
    def update_item(self, id: uuid.UUID, item: Item) -> None:
        broken = self.broken_by_item(id, item)
        self.both(lambda b: b.items.update(replace(item, id=id)), broken)

    @rule(id=ID)
    def delete_item(self, id: uuid.UUID) -> None:
        self.both(lambda b: b.items.delete(id))

    @rule(owner=REFERENCE, amount=AMOUNTS)
    def change_items(self, owner: uuid.UUID | None, amount: int) -> None:
        self.both(lambda b: b.items.change({"owner_id": owner}, {"amount": amount}))

    @rule(amount=AMOUNTS)
    def remove_items(self, amount: int) -> None:
        self.both(lambda b: b.items.remove({"amount": infra.AtMost(amount)}))

    @rule(names=st.lists(st.tuples(ID, NAMES), max_size=3))
    def insert_owners(self, names: list[tuple[uuid.UUID, str]]) -> None:
        def insert(backend: DatabaseBackend) -> Any:
            return backend.database.insert_many("owners", ["id", "name"], names)

        self.both(insert, broken=2, own_block=True)

    @rule(amount=AMOUNTS, label=LABELS)
    def find_items(self, amount: int, label: str | None) -> None:
        query = infra.Query(
            sort="amount", filters={"label": label, "amount": min(amount, 5)}, with_total=True
        )
        self.both(lambda b: b.items.page(query))

    def everything(self, b: DatabaseBackend) -> Any:
        items = b.items.page(infra.Query(sort="amount", per_page=1000))
        return items, {o.id: o for o in b.owners.page(infra.Query(sort="name")).items}

    def compare(self) -> None:
        found = self.both(self.everything)
        assert (found is None) is bool(self.doomed)  # then both refuse

    @invariant()
    def tables_agree(self) -> None:
        """Compare after each step that changed the fake, and at the end."""
        earlier, self.seen = self.seen, (self.rows("owners"), self.rows("items"))
        if self.doomed or self.seen != earlier:
            self.compare()


@pytest.mark.parametrize("name", ["mariadb", "mysql", "postgres"])
def test_fake_and_real_agree(database: Callable[[str], str], name: str) -> None:
    real = real_backend(with_tables(database, name))
    with real.database:
        run(type("DatabaseMachine", (Machine,), {"real": real}), settings=settings())
