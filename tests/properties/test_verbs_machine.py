"""Conditions, and changes of one row and of many, on the fake and on a real engine.

Results, error classes, words of refusals, names of constraints, and tables must agree. The samples
have a column of each type, for conditions. The parts have ids that the server makes, unique keys, a
check and a version. There are few keys and names, so that rows meet. A call on parts breaks one
rule at most: of several, engines name one or the other, and use up an id or do not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
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
from infra import Above, AnyOf, AtLeast, AtMost, Below, Between, Contains, Not, OneOf, StartsWith
from tests.contract.databases import dialect_of, empty
from tests.contract.test_keys import create
from tests.properties.blocks import BlockMachine
from tests.properties.parts import NOON, Part, Parts
from tests.properties.samples import (
    A_SAMPLE,
    A_WRONG,
    CHANGE,
    EMPTY,
    LARGEST,
    NO_SAMPLE,
    SAMPLE_KEY,
    SMALLEST,
    VALUES,
    Sample,
    Samples,
    State,
    changed,
    decimals,
    some,
)
from tests.scale import PROVE

MOST = 2**31 - 1  # of an INTEGER


@dataclass
class Backend:
    database: infra.Database
    clock: fakes.FakeClock

    def __post_init__(self) -> None:
        self.samples = Samples.on(self.database, clock=self.clock)
        self.parts = Parts.on(self.database, clock=self.clock)


# --- conditions

TEXT_FIELDS = ("state", "size", "kind", "word", "code", "text")
DOCUMENTS = ("meta", "parts", "tags")
PIECES = some(
    "", "a", "A", "p", "e", "é", "e\u0301", " ", "a ", "%", "_", "|", "\\", "'", "😀", "a" * 200
)
#: values that no row of the column can have
BEYOND: dict[str, list[Any]] = {
    "whole": [2**31, -(2**31) - 1, 2**63, -(2**64), 2**70],
    "big": [2**63, -(2**63) - 1, 2**70],
    "ratio": [2, -1],
}


def conditions_on(values: st.SearchStrategy[Any], *, text: bool) -> st.SearchStrategy[Any]:
    """Values, and conditions that compare with them, up to three inside each other."""
    simple = [values, *map(values.map, (Above, AtLeast, Below, AtMost))]
    simple.append(st.builds(Between, values, values))
    simple.append(st.lists(values, min_size=1, max_size=3).map(OneOf))
    if text:
        simple += PIECES.map(Contains), PIECES.map(StartsWith)
    one = st.one_of(simple)
    several = st.lists(st.none() | one | one.map(Not), min_size=1, max_size=3)
    any_of = several.map(lambda parts: AnyOf(*parts))
    nested = st.builds(AnyOf, any_of.map(Not), st.none() | one)
    return st.one_of(st.none(), one, one.map(Not), any_of, any_of.map(Not), nested)


@functools.cache
def conditions(name: str) -> st.SearchStrategy[Any]:
    """Conditions on a field of samples, which compare mostly with values that are stored."""
    common = [getattr(sample, name) for sample in (EMPTY, SMALLEST, LARGEST)]
    common = [value for value in common if value is not None]
    values = some(*common) | some(*common, *BEYOND.get(name, ())) | VALUES[name]
    return conditions_on(values, text=name in TEXT_FIELDS)


@functools.cache
def dict_of(
    strategy: Callable[[str], st.SearchStrategy[Any]], names: tuple[str, ...]
) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({name: strategy(name) for name in names})


def where_of(
    strategy: Callable[[str], st.SearchStrategy[Any]], *names: str
) -> st.SearchStrategy[dict[str, Any]]:
    """A condition on one field, often, or conditions on two or none."""
    one, some_names = st.sampled_from(names), st.lists(st.sampled_from(names), max_size=2)
    chosen = one.map(lambda name: [name]) | some_names
    return chosen.map(tuple).flatmap(functools.partial(dict_of, strategy))


def wrapped(change: dict[str, Any]) -> dict[str, Any]:
    return {name: AnyOf(None, Not(Above(value))) for name, value in change.items()}


COMPARED = [name for name in VALUES if name not in DOCUMENTS]
WHERE = where_of(conditions, *COMPARED)
FILTERS = where_of(conditions, *Samples.filter_fields)
A_WRONG_WHERE = A_WRONG | A_WRONG.map(wrapped) | some({"nothing": 1}, {"group": State.OPEN})
SORT = st.sampled_from(["", *COMPARED, *COMPARED, "meta", "group"])
PAGED = st.sampled_from(["state", "day", "price", *Samples.filter_fields])
LIMIT = some(None, None, 1, 2, 3, 100)
AMOUNT = decimals(10, 2) | some(Decimal("0.01"), Decimal(-1), Decimal("0.001"), 1, None)

# --- parts

MADE = "made"  # by the server
NAME = some("a", "b", "c", "A", "a ", "é", "12345")
CODE = some(None, None, "x", "y", "X", "x ")
STOCK = some(0, 1, 2, 5, 9, MOST, -1, MOST + 1)
PRICE = some(Decimal(0), Decimal("1.50"), Decimal("9999.99"), Decimal("-0.01"))
REVISION = some(*[MADE] * 12, 0, 7, -3, MOST)
ID = some(MADE, MADE, MADE, MADE, 1, 2, 3, 50)
FOUND = some(1, 2, 3, 4, 1, 2, 3, 4, 50, 99, None, "1", 2**31)
ON = some(None, "parts_pkey", "parts_name_key", "parts_name_key",
          "parts_code_key", "parts_stock_check")  # fmt: skip
OPERANDS: dict[str, st.SearchStrategy[Any]] = {
    "name": NAME,
    "stock": STOCK,
    "code": some("x", "y", "X", "x "),
    "price": PRICE,
    "revision": some(1, 2, 3, MOST, 2**40),
    "updated_at": st.integers(0, 40).map(lambda seconds: NOON.replace(second=seconds)),
}


@functools.cache
def part_conditions(name: str) -> st.SearchStrategy[Any]:
    return conditions_on(OPERANDS[name], text=name in ("name", "code"))


EVERY_PART = {"id": Not(None)}
PART_WHERE = where_of(part_conditions, *OPERANDS) | st.just(EVERY_PART)
PART_CHANGE = st.one_of(
    st.fixed_dictionaries({"stock": STOCK}),
    st.fixed_dictionaries({"price": PRICE}),
    st.fixed_dictionaries({"name": NAME}),
    st.fixed_dictionaries({"code": CODE}),
    st.fixed_dictionaries({"price": PRICE, "stock": STOCK}),
    some({}, {"stock": "1"}, {"name": None}, {"price": Decimal("0.001")}, {"name": "123456"},
         {"revision": 5}, {"id": 5}, {"order": "x"}, {"stock": Above(1)}),
)  # fmt: skip
ADDED = some(
    ("stock", 1), ("stock", -1), ("stock", 5), ("stock", -(2**31)), ("stock", MOST),
    ("stock", 2**63), ("price", Decimal("0.01")), ("price", Decimal("-1.5")),
    ("price", Decimal("9999.99")), ("price", 1), ("stock", Decimal(1)), ("revision", 1),
    ("name", 1), ("code", 1),
)  # fmt: skip


def part_of(name: str, stock: int, code: str | None, price: Decimal, revision: Any) -> Part:
    made = infra.FILLED if revision == MADE else revision
    return Part(name, stock, code, price, made)


PART = st.builds(part_of, NAME, STOCK, CODE, PRICE, REVISION)


class Machine(BlockMachine):
    pool: infra.ConnectionPool  # of all examples, as the dialect
    dialect: str
    base = 0  # the id before the first
    examples = 14  # of an ordinary run

    def __init__(self) -> None:
        super().__init__()
        empty(self.pool, "samples", "parts")
        self.clock = fakes.FakeClock(NOON)
        fake = fakes.FakeDatabase(self.dialect, map(fakes.Table.of, (Samples, Parts)))
        self.backends: tuple[Backend, Backend] = (
            Backend(fake, self.clock),
            Backend(self.pool, self.clock),
        )
        self.seen: Any = None  # what the fake's tables held when both were last compared
        if self.dialect == "postgres":
            self.pool.execute("SELECT setval('parts_id_seq', 1, false)")
            return
        # MySQL's counter goes on from one example to the next.
        cls = type(self)
        cls.base += 1000
        self.both(lambda b: b.parts.create(Part("", id=self.base)))
        self.both(lambda b: b.parts.delete(self.base))

    def both(self, call: Callable[[Backend], Any], *, own_block: bool = False) -> Any:
        """Run the call on both and compare; return the answer, or None after an error.

        A call with a block of its own fails without the block around it.
        """
        self.clock.advance(1)
        outcomes: list[tuple[Any, ...]] = []
        answer: Any = None
        for backend in reversed(self.backends):
            try:
                answer = call(backend)
                outcomes.append(("answer", repr(answer)))
            except infra.ConflictError as error:
                outcomes.append(("conflict", error.kind, error.constraint, error.operation))
            except (infra.ValidationError, infra.ConfigurationError) as error:
                outcomes.append(("refused", type(error), str(error)))
            except infra.InfrastructureError as error:
                outcomes.append(("error", type(error), error.retryable, error.operation))
        real, fake = outcomes
        # The library itself finds that a version differs: the server has refused nothing.
        refused = real[0] == "conflict" and real[2] != "parts_as_read"
        if (refused or real[1] is infra.DatabaseError) and not own_block:
            self.doom()
        assert fake == real
        return answer if fake[0] == "answer" else None

    def rows(self) -> list[list[fakes.Row]]:
        """Return the rows of the fake, which cost less than records."""
        database = self.backends[0].database
        assert isinstance(database, fakes.FakeDatabase)
        names = [] if self.doomed else ["samples", "parts"]
        return [database.table(name).select() for name in names]

    def compare(self) -> None:
        found = self.both(lambda b: (b.samples.select(), b.parts.select()))
        assert (found is None) is bool(self.doomed)  # then both refuse

    @invariant()
    def tables_agree(self) -> None:
        """Compare after each step that changed the fake, and at the end."""
        earlier, self.seen = self.seen, self.rows()
        if self.doomed or self.seen != earlier:
            self.compare()


class SamplesMachine(Machine):
    def key_of(self, sample: Sample) -> Any:
        return sample.state, sample.day

    @initialize(changes=st.tuples(CHANGE, CHANGE, CHANGE))
    def seed(self, changes: tuple[dict[str, Any], ...]) -> None:
        kinds = zip((EMPTY, SMALLEST, LARGEST), State, changes)
        samples = [changed(one, state, one.day, change) for one, state, change in kinds]
        self.both(lambda b: b.samples.create_many(samples))

    @rule(samples=st.lists(A_SAMPLE, max_size=3))
    def create_samples(self, samples: list[Sample]) -> None:
        self.both(lambda b: b.samples.create_many(samples), own_block=True)

    @rule(sample=A_SAMPLE)
    def upsert_sample(self, sample: Sample) -> None:
        self.both(lambda b: b.samples.upsert(sample))
        self.both(lambda b: b.samples.get(self.key_of(sample)))

    @rule(key=SAMPLE_KEY | SAMPLE_KEY | NO_SAMPLE, change=CHANGE | A_WRONG)
    def change_sample(self, key: Any, change: dict[str, Any]) -> None:
        self.both(lambda b: b.samples.update_fields(key, **change))

    @rule(key=SAMPLE_KEY | SAMPLE_KEY | NO_SAMPLE, amount=AMOUNT)
    def raise_price(self, key: Any, amount: Any) -> None:
        self.both(lambda b: b.samples.increment(key, "price", amount))

    @rule(key=SAMPLE_KEY | NO_SAMPLE)
    def lock_sample(self, key: Any) -> None:
        self.both(lambda b: b.samples.get(key, lock=True))

    @rule(wheres=st.lists(WHERE, min_size=1, max_size=5))
    def find_samples(self, wheres: list[dict[str, Any]]) -> None:
        for where in wheres:
            self.both(lambda b, where=where: b.samples.select(where))  # type: ignore[misc]

    @rule(where=WHERE, sort=SORT, descending=st.booleans(), limit=LIMIT, batch=some(1, 2, 10))
    def find_in_all_ways(
        self, where: dict[str, Any], sort: str, descending: bool, limit: int | None, batch: int
    ) -> None:
        options: Mapping[str, Any] = {"sort": sort, "descending": descending, "limit": limit}
        self.both(lambda b: b.samples.select(where, **options))
        self.both(lambda b: (b.samples.count(where), b.samples.exists_where(where)))
        self.both(lambda b: [*b.samples.iterate(where, batch=batch)])

    @rule(where=A_WRONG_WHERE, change=CHANGE)
    def find_wrongly(self, where: dict[str, Any], change: dict[str, Any]) -> None:
        self.both(lambda b: b.samples.select(where))
        self.both(lambda b: b.samples.page(infra.Query(filters=where)))
        self.both(lambda b: b.samples.update_where(where, **change))
        self.both(lambda b: b.samples.iterate(where, batch=0))

    @rule(filters=FILTERS, sort=PAGED, descending=st.booleans(), per_page=some(1, 2, 3))
    def page_through(
        self, filters: dict[str, Any], sort: str, descending: bool, per_page: int
    ) -> None:
        query = infra.Query(
            1, per_page, sort, descending=descending, filters=filters, with_total=True
        )

        def page(b: Backend) -> Any:
            found = b.samples.page(query)
            return found, found.next

        while (answer := self.both(page)) is not None and answer[1] is not None:
            query = replace(query, after=answer[1])

    @rule(where=WHERE, change=CHANGE | CHANGE | A_WRONG)
    def change_samples(self, where: dict[str, Any], change: dict[str, Any]) -> None:
        self.both(lambda b: b.samples.update_where(where, **change))

    @rule(where=WHERE)
    def delete_samples(self, where: dict[str, Any]) -> None:
        self.both(lambda b: b.samples.delete_where(where))


class PartsMachine(Machine):
    examples = 30

    @initialize()
    def seed(self) -> None:
        parts = [Part("a", 1, "x"), Part("b", 2), Part("c", 5, "y")]
        self.both(lambda b: b.parts.create_many(parts))

    def id(self, number: Any) -> Any:
        """Return the id that a number stands for."""
        if number == MADE:
            return infra.FILLED
        return self.base + number if type(number) is int and number < 100 else number

    def parts(self) -> list[Part]:
        return [] if self.doomed else self.backends[0].parts.select()

    def same(self, one: str | None, other: str | None) -> bool:
        """Return whether a unique key takes these as equal."""
        if one is None or other is None:
            return False
        if self.dialect == "postgres":
            return one == other
        return one.rstrip(" ") == other.rstrip(" ")

    def broken(self, part: Part, others: list[Part]) -> int:
        """Return how many rules a row breaks beside these others."""
        return sum(
            (
                any(self.same(part.name, other.name) for other in others),
                any(self.same(part.code, other.code) for other in others),
                part.stock not in range(MOST + 1),
                any(part.id == other.id for other in others),
            )
        )

    def can_change(self, change: dict[str, Any]) -> bool:
        """Return whether a change of any part breaks one rule at most.

        The version of a part may be at its end.
        """
        at_end = any(part.revision == MOST for part in self.parts())
        stock = change.get("stock", 0)
        harmless = type(stock) is not int or stock in range(MOST + 1)
        return not at_end or (harmless and not change.keys() & {"name", "code"})

    @rule(parts=st.lists(PART, max_size=3), first=ID)
    def create_parts(self, parts: list[Part], first: Any) -> None:
        if first != MADE:
            parts = [replace(part, id=self.id(first + at)) for at, part in enumerate(parts)]
        others = self.parts()
        if sum(self.broken(part, others + parts[:at]) for at, part in enumerate(parts)) < 2:
            self.both(lambda b: b.parts.create_many(parts), own_block=True)

    @rule()
    def make_and_delete_a_part(self) -> None:
        """Its id shows how many the calls before have used up."""
        part = Part("new")
        made = self.both(lambda b: b.parts.create(part))
        if made is not None:
            self.both(lambda b: b.parts.delete(made.id))

    @rule(part=PART, id=ID, on=ON)
    def upsert_part(self, part: Part, id: Any, on: str | None) -> None:
        part = replace(part, id=self.id(id))
        parts = self.parts()
        if on == "parts_name_key":
            found = [one for one in parts if self.same(one.name, part.name)]
        elif on == "parts_code_key":
            found = [one for one in parts if self.same(one.code, part.code)]
        else:
            found = [one for one in parts if one.id == part.id]
        stored = replace(part, id=found[0].id) if found else part
        others = [one for one in parts if one not in found]
        at_end = any(one.revision == MOST for one in found)
        if self.broken(stored, others) + at_end < 2:
            self.both(lambda b: b.parts.upsert(part, on=on))

    @rule(id=FOUND, change=PART_CHANGE)
    def change_part(self, id: Any, change: dict[str, Any]) -> None:
        if self.can_change(change):
            self.both(lambda b: b.parts.update_fields(self.id(id), **change))

    @rule(id=FOUND, added=ADDED)
    def count_up(self, id: Any, added: tuple[str, Any]) -> None:
        if all(part.revision < MOST for part in self.parts()):
            self.both(lambda b: b.parts.increment(self.id(id), *added))

    @rule(id=FOUND, change=PART_CHANGE, behind=some(0, 0, 0, 1, -1))
    def update_part(self, id: Any, change: dict[str, Any], behind: int) -> None:
        """Store a part that was read, with the version as read or another one."""

        def update(b: Backend) -> Part | None:
            part = b.parts.get(self.id(id))
            if part is None:
                return None
            changed = {**change, "revision": part.revision - behind}
            changed.pop("id", None)
            changed.pop("order", None)
            return b.parts.update(replace(part, **changed))

        if self.can_change(change):
            self.both(update)

    @rule(id=FOUND)
    def lock_part(self, id: Any) -> None:
        self.both(lambda b: b.parts.get(self.id(id), lock=True))

    @rule(where=PART_WHERE, change=PART_CHANGE)
    def change_parts(self, where: dict[str, Any], change: dict[str, Any]) -> None:
        if self.can_change(change):
            self.both(lambda b: b.parts.update_where(where, **change))

    @rule(where=PART_WHERE)
    def delete_parts(self, where: dict[str, Any]) -> None:
        self.both(lambda b: b.parts.delete_where(where))

    @rule(where=PART_WHERE, sort=some("", "name", "code", "revision"), descending=st.booleans())
    def find_parts(self, where: dict[str, Any], sort: str, descending: bool) -> None:
        self.both(lambda b: b.parts.select(where, sort=sort, descending=descending))
        self.both(lambda b: (b.parts.count(where), b.parts.exists_where(where)))
        self.both(lambda b: [*b.parts.iterate(where, batch=2)])


@pytest.mark.parametrize("machine", [SamplesMachine, PartsMachine])
@pytest.mark.parametrize("name", ["mariadb", "mysql", "postgres", "postgres-18"])
def test_fake_and_real_agree(
    database: Callable[[str], str], name: str, machine: type[Machine]
) -> None:
    with infra.create_pool(infra.DatabaseConfig(url=database(name))) as pool:
        create(pool, Samples, Parts)
        attributes = {"pool": pool, "dialect": dialect_of(pool)}
        kind = type(machine.__name__, (machine,), attributes)
        run(kind, settings=settings(max_examples=2000 if PROVE else machine.examples))
