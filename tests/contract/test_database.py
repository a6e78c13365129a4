"""Contract of Database: transactions, savepoints, constraints, bulk inserts."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import enum
import functools
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import InitVar, dataclass, replace
from dataclasses import field as dataclass_field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, ClassVar, NamedTuple

import pytest

import fakes
import infra
from infra import Above, AtMost, Contains, OneOf
from tests.contract import handlers, refusals
from tests.contract.backends import WAIT, in_threads
from tests.contract.base import Contract
from tests.contract.databases import (
    Cell,
    DatabaseBackend,
    Item,
    Node,
    Owner,
    on_fake_database,
    on_real_database,
)
from tests.contract.texts import Number, Text, any_text, plain

NOON = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=timezone.utc)


class Cancelled(Exception):
    """Leaves a block on purpose."""


@dataclass(frozen=True)
class Named:
    name: str


@dataclass(frozen=True)
class Labelled(Named):
    """A field of its base, and fields with defaults."""

    label: str | None = None
    marks: list[str] = dataclass_field(default_factory=list)


@dataclass(frozen=True, slots=True, order=True)
class Slotted:
    amount: int
    label: str = ""


@dataclass
class Doubled:
    """One field has a value that is not given, and one argument is no field."""

    amount: int
    factor: InitVar[int]
    total: int = dataclass_field(init=False)

    def __post_init__(self, factor: int) -> None:
        self.total = self.amount * factor


@dataclass
class Choosy:
    amount: int

    def __post_init__(self) -> None:
        if self.amount > 1:
            raise Cancelled


class Pair(NamedTuple):
    amount: int
    label: str


class Called:
    @property
    def initial(self: Any) -> Any:
        return self.name[0]


@dataclass(frozen=True)
class OwnInit:
    name: str
    id: uuid.UUID = infra.FILLED

    def __init__(self, name: str, id: uuid.UUID = infra.FILLED) -> None:
        for field, value in (("name", name), ("id", id), ("initial", name[0])):
            object.__setattr__(self, field, value)


@dataclass(frozen=True)
class OwnOrder:
    name: str
    id: uuid.UUID = infra.FILLED

    def __init__(self, id: uuid.UUID = infra.FILLED, name: str = "") -> None:
        for field, value in (("name", name), ("id", id), ("initial", name[0])):
            object.__setattr__(self, field, value)


@dataclass(frozen=True)
class OwnNew:
    name: str
    id: uuid.UUID = infra.FILLED

    def __new__(cls, name: str, id: uuid.UUID = infra.FILLED) -> OwnNew:
        self = object.__new__(cls)
        object.__setattr__(self, "initial", name[0])
        return self


@dataclass(frozen=True, slots=True)
class SlotsBesideADict(Called):
    name: str
    id: uuid.UUID = infra.FILLED


class Calling(type):
    def __call__(cls, *arguments: Any, **options: Any) -> Any:
        made = super().__call__(*arguments, **options)
        object.__setattr__(made, "initial", made.name[0])
        return made


@dataclass(frozen=True)
class OwnCall(metaclass=Calling):
    name: str
    id: uuid.UUID = infra.FILLED


@dataclass(frozen=True)
class AfterInit:
    name: str
    id: uuid.UUID = infra.FILLED

    def __post_init__(self) -> None:
        object.__setattr__(self, "initial", self.name[0])


@dataclass(frozen=True)
class Priced:
    name: Decimal
    id: uuid.UUID = infra.FILLED


@dataclass(frozen=True)
class Stamp:
    created_at: datetime = infra.FILLED
    updated_at: datetime = infra.FILLED
    id: uuid.UUID = infra.FILLED


@dataclass(frozen=True)
class Unnumbered:
    name: str
    id: uuid.UUID | None = None


@dataclass(frozen=True)
class Heir(Called, Owner): ...


class Colour(str, enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    SMALL = 1


class Price(Decimal): ...


class Data(bytes): ...


class Tree(dict): ...  # type: ignore[type-arg]


AN_ID = uuid.UUID("01890a5d-ac96-774b-bcce-b302099a8057")
SECOND = NOON.replace(microsecond=0)
VALUES: dict[str, Any] = {
    "none": None, "true": True, "one": 1, "two": 2, "member of int": Size.SMALL,
    "32 bits": 2**31, "minus 32 bits": -(2**31) - 1, "65 bits": 2**64, "digits": 10**30,
    "float": 1.5, "nan": float("nan"), "infinity": float("-inf"), "inexact": 2**53 + 1,
    "decimal": Decimal("1.5"), "whole decimal": Decimal("7.00"), "third": Decimal("9.999"),
    "zeros": Decimal("2.5000"), "large": Decimal(10) ** 8, "largest": Decimal("99999999.99"),
    "minus zero": Decimal("-0.0"), "huge": Decimal("1E+999999"), "tiny": Decimal("1E-999999"),
    "decimal nan": Decimal("NaN"), "signal": Decimal("sNaN"), "no end": Decimal("-Infinity"),
    "text": "it's", "member of str": Colour.RED, "digit": "1", "accent": "é", "id text": str(AN_ID),
    "long": "123456", "blank end": "12345 ", "tab end": "12345\t", "blank within": "a ",
    "nul": "a\0",
    "surrogate": "\ud800", "moment text": "2026-01-31 12:00:00", "json": '{"a": 1}',
    "bytes": b"\0'\\\xff", "five bytes": b"12345", "moment": NOON, "second": SECOND,
    "east": SECOND.astimezone(timezone(timedelta(hours=5, minutes=30))),
    "naive": datetime(2026, 1, 31),
    "no utc": datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
    "date": date(2026, 1, 31), "time": time(12, 30), "duration": timedelta(hours=1), "id": AN_ID,
    "dict": {"a": [1, None, "é'\\"]}, "dict of a subclass": Tree(a=1), "list": [1, {"b": 2.5}],
    "no json": {1: 2}, "nan within": [float("nan")], "tuple": (1,), "set": {1}, "ellipsis": ...,
    "complex": 1j, "array": bytearray(b"a"),
}  # fmt: skip
NO_JSON = ("no json", "nan within")
#: by column: the values that it takes, and what is read of them
TAKEN: dict[str, dict[str, Any]] = {
    "flag": {"none": None, "true": True, "one": True, "member of int": True},
    "whole": {"none": None, "one": 1, "two": 2, "member of int": 1, "whole decimal": 7,
        "large": 10**8, "minus zero": 0},
    "ratio": {"none": None, "one": 1.0, "two": 2.0, "member of int": 1.0, "32 bits": 2.0**31,
        "minus 32 bits": -(2.0**31) - 1, "65 bits": 2.0**64, "float": 1.5},
    "price": {"none": None, "one": Decimal("1.00"), "two": Decimal("2.00"),
        "member of int": Decimal("1.00"), "decimal": Decimal("1.50"),
        "whole decimal": Decimal("7.00"), "zeros": Decimal("2.50"),
        "largest": Decimal("99999999.99"), "minus zero": Decimal("0.00")},
    "data": {"none": None, "bytes": b"\0'\\\xff"},
    "day": {"none": None, "date": date(2026, 1, 31)},
    "moment": {"none": None, "moment": NOON, "second": SECOND, "east": SECOND},
    "second": {"none": None, "second": SECOND, "east": SECOND},
    "word": {"none": None, "text": "it's", "member of str": "red", "digit": "1", "accent": "é",
        "blank within": "a "},
    "code": {"none": None, "text": "it's", "member of str": "red", "digit": "1",
        "blank within": "a "},
    "document": {"none": None, "dict": {"a": [1, None, "é'\\"]}, "dict of a subclass": {"a": 1},
        "list": [1, {"b": 2.5}]},
}  # fmt: skip
ONLY_POSTGRES: dict[str, dict[str, Any]] = {
    "ratio": {"nan": float("nan"), "infinity": float("-inf")},
    "price": {"decimal nan": Decimal("NaN")},
    "code": {"accent": "é"},
    "data": {"five bytes": b"12345"},
}
TOO_LONG = {"id text", "id", "moment text", "json", "long", "blank end", "tab end"}
LARGE = {"32 bits", "minus 32 bits", "65 bits", "digits", "inexact", "huge"}
#: by column: values of the right type beyond its size or scale; all others are of a wrong type
MISFITS: dict[str, set[str]] = {
    "whole": LARGE,
    "ratio": {"digits", "inexact"},
    "price": {*LARGE, "third", "large", "tiny"},
    "data": {"five bytes"},
    "second": {"moment"},
    "word": TOO_LONG,
    "code": {*TOO_LONG, "accent"},
}


def names(backend: DatabaseBackend) -> list[str]:
    return [
        owner.name for owner in backend.owners.page(infra.Query(sort="name", per_page=1000)).items
    ]


def amounts(backend: DatabaseBackend) -> list[int]:
    return [
        item.amount for item in backend.items.page(infra.Query(sort="amount", per_page=1000)).items
    ]


def conflict(call: Callable[[], Any]) -> tuple[str | None, str | None]:
    with pytest.raises(infra.ConflictError) as caught:
        call()
    assert caught.value.retryable is False
    return caught.value.constraint, caught.value.kind


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(infra.DatabaseError) as caught:
        call()
    assert (type(caught.value), caught.value.retryable) == (infra.DatabaseError, False)
    return str(caught.value)


def inherited(work: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """The work in a copy of the context of now."""
    return functools.partial(contextvars.copy_context().run, work, *arguments)


def in_another_thread(work: Callable[[], Any]) -> Any:
    result = in_threads(1, lambda _: work())[0]
    if isinstance(result, BaseException):
        raise result
    return result


class DatabaseContract(Contract):
    port = infra.Database

    # --- transactions

    def test_a_transaction_commits(self, backend: DatabaseBackend) -> None:
        database = backend.database
        with database.transaction():
            backend.owners.create(Owner("a"))
            backend.owners.create(Owner("b"))
            assert names(backend) == ["a", "b"]
        assert names(backend) == ["a", "b"]

    def test_an_exception_rolls_back(self, backend: DatabaseBackend) -> None:
        database = backend.database
        first = backend.owners.create(Owner("a"))
        with pytest.raises(Cancelled), database.transaction():
            backend.owners.create(Owner("b"))
            backend.owners.update(Owner("changed", first.id))
            backend.items.create(Item(owner_id=first.id))
            backend.owners.delete(first.id)
            assert names(backend) == ["b"]
            raise Cancelled
        assert names(backend) == ["a"]
        assert backend.items.count() == 0
        with pytest.raises(KeyboardInterrupt), database.transaction():
            backend.owners.create(Owner("b"))
            raise KeyboardInterrupt
        assert names(backend) == ["a"]

    def test_a_block_within_a_block_is_a_savepoint(self, backend: DatabaseBackend) -> None:
        database = backend.database
        with database.transaction():
            backend.owners.create(Owner("a"))
            with pytest.raises(Cancelled), database.transaction():
                backend.owners.create(Owner("b"))
                with database.transaction():
                    backend.owners.create(Owner("c"))
                raise Cancelled
            with database.transaction():
                backend.owners.create(Owner("d"))
                with pytest.raises(Cancelled), database.transaction():
                    backend.owners.create(Owner("e"))
                    raise Cancelled
                assert names(backend) == ["a", "d"]
        assert names(backend) == ["a", "d"]

    def test_the_outer_block_takes_inner_ones_along(self, backend: DatabaseBackend) -> None:
        with pytest.raises(Cancelled), backend.database.transaction():
            with backend.database.transaction():
                backend.owners.create(Owner("a"))
            raise Cancelled
        assert names(backend) == []

    def test_others_see_what_is_committed(self, backend: DatabaseBackend) -> None:
        """Also within a transaction of their own: READ COMMITTED."""
        first = backend.owners.create(Owner("a"))
        with backend.database.transaction():
            backend.owners.update(Owner("b", first.id))
            backend.owners.create(Owner("c"))
            assert in_another_thread(lambda: names(backend)) == ["a"]
            assert in_another_thread(lambda: backend.owners.find_by_name("a")) == first
            assert in_another_thread(lambda: backend.owners.find_by_name("c")) is None
            assert in_another_thread(lambda: backend.owners.count()) == 1
        assert in_another_thread(lambda: names(backend)) == ["b", "c"]
        with backend.database.transaction():
            assert names(backend) == ["b", "c"]
            in_another_thread(lambda: backend.owners.create(Owner("d")))
            assert names(backend) == ["b", "c", "d"]

    def test_a_transaction_belongs_to_its_thread(self, backend: DatabaseBackend) -> None:
        with pytest.raises(Cancelled), backend.database.transaction():
            in_another_thread(lambda: backend.owners.create(Owner("a")))
            raise Cancelled
        assert names(backend) == ["a"]

    # --- threads and tasks that a block does not belong to

    def test_a_transaction_belongs_to_its_task(self, backend: DatabaseBackend) -> None:
        """The failure of one task takes nothing from another, in a block or outside."""
        database, owners = backend.database, backend.owners

        async def fails(entered: asyncio.Event, others: asyncio.Event) -> None:
            with pytest.raises(Cancelled), database.transaction():
                entered.set()
                await others.wait()
                owners.create(Owner("a"))
                raise Cancelled

        async def work() -> None:
            entered, others = asyncio.Event(), asyncio.Event()
            task = asyncio.create_task(fails(entered, others))
            await entered.wait()
            with database.transaction():
                owners.create(Owner("b"))
                assert database.run(owners.count) == 1
            owners.create(Owner("c"))
            assert database.insert_many("owners", ["id", "name"], [(infra.new_id(), "d")]) == 1
            others.set()
            await task

        asyncio.run(work())
        assert names(backend) == ["b", "c", "d"]
        assert database.stats().in_use == 0

    def test_blocks_of_tasks_end_in_any_order(self, backend: DatabaseBackend) -> None:
        database, owners = backend.database, backend.owners

        async def task(mine: asyncio.Event, other: asyncio.Event, name: str) -> None:
            with database.transaction():
                mine.set()
                await other.wait()
                with database.transaction():  # a savepoint of its own
                    assert owners.find_by_name(name) is None
                assert database.stats().in_use == (2 if name == "a" else 1)
                owners.create(Owner(name))

        async def work() -> None:
            one, two, three = (asyncio.Event() for _ in range(3))
            first = asyncio.create_task(task(one, two, "a"))
            await one.wait()
            second = asyncio.create_task(task(two, three, "b"))
            await first
            assert names(backend) == ["a"]
            three.set()
            await second

        asyncio.run(work())
        assert names(backend) == ["a", "b"]
        assert database.stats().in_use == 0

    def test_what_is_started_inside_a_block_cannot_take_part(
        self, backend: DatabaseBackend
    ) -> None:
        """Its context is a copy of the block's: it would share the connection or miss the rows."""
        database, owners = backend.database, backend.owners

        def enter() -> None:
            with database.transaction():
                pytest.fail("this block belongs to another task")

        calls: list[Callable[[], Any]] = [
            enter,
            owners.count,
            lambda: owners.create(Owner("b")),
            lambda: database.run(owners.count),
            lambda: database.insert_many("owners", ["id", "name"], [(infra.new_id(), "c")]),
            database.health_check,
        ]

        async def child() -> list[str]:
            return [refusal(call) for call in calls]

        async def work() -> None:
            with database.transaction():
                owners.create(Owner("a"))
                refused = await asyncio.create_task(child())
                for call in calls:
                    refused.append(await asyncio.to_thread(refusal, call))
                    refused.append(in_another_thread(inherited(refusal, call)))
                assert ["another task or thread" in each for each in refused] == [True] * 18
                later = asyncio.create_task(asyncio.to_thread(owners.create, Owner("later")))
                owners.create(Owner("d"))
            await later

        asyncio.run(work())
        assert names(backend) == ["a", "d", "later"]
        assert database.stats().in_use == 0

    def test_a_copied_context_takes_part_in_its_own_thread(self, backend: DatabaseBackend) -> None:
        database, owners = backend.database, backend.owners

        def nested() -> None:
            with database.transaction():
                owners.create(Owner("b"))

        with pytest.raises(Cancelled), database.transaction():
            owners.create(Owner("a"))
            inherited(nested)()
            assert names(backend) == ["a", "b"]
            assert "task or thread" in in_another_thread(inherited(refusal, owners.count))
            raise Cancelled
        assert names(backend) == []
        block = database.transaction()
        context = contextvars.copy_context()
        context.run(block.__enter__)
        context.run(owners.create, Owner("c"))
        block_ends = functools.partial(block.__exit__, None, None, None)
        context.run(block_ends)
        assert context.run(names, backend) == names(backend) == ["c"]
        assert database.stats().in_use == 0

    def test_a_block_that_another_task_ends(self, backend: DatabaseBackend) -> None:
        """As an event loop does with an asynchronous generator that nobody has closed."""
        database, owners = backend.database, backend.owners

        async def holds() -> AsyncIterator[None]:
            with database.transaction():
                owners.create(Owner("a"))
                yield

        async def work() -> None:
            generator = holds()
            await anext(generator)
            await asyncio.create_task(generator.aclose())  # type: ignore[attr-defined]
            with pytest.raises(infra.DatabaseError, match="cannot go on"):
                owners.create(Owner("b"))
            owners.create(Owner("c"))
            assert database.stats().in_use == 0

        asyncio.run(work())
        assert names(backend) == ["c"]

    def test_a_thread_that_ends_inside_a_block(self, backend: DatabaseBackend) -> None:
        """The transaction ends with its thread, even if references to the block remain."""
        database, owners = backend.database, backend.owners
        kept: list[Any] = []

        def holds(*names: str) -> Iterator[None]:
            with database.transaction():
                for name in names:
                    owners.create(Owner(name))
                yield

        def begin(*names: str) -> None:
            kept.append(holds(*names))
            next(kept[-1])

        def nested() -> None:
            kept.extend(database.transaction() for _ in range(2))
            for block in kept[-2:]:
                block.__enter__()
                owners.create(Owner("c" if block is kept[-1] else "d"))

        def unreferred() -> None:
            database.transaction().__enter__()
            owners.create(Owner("e"))

        begins: list[Callable[[], None]] = [
            lambda: begin("a", "b"), begin, nested, unreferred
        ]  # fmt: skip
        for work in begins:
            in_another_thread(work)
            assert database.stats().in_use == 0
            assert names(backend) == []
        with database.transaction():
            owners.create(Owner("f"))
            for each in kept[:2]:
                each.close()  # in another thread, and too late
        assert names(backend) == ["f"]
        assert database.stats().in_use == 0

    def test_a_task_that_ends_inside_a_block(self, backend: DatabaseBackend) -> None:
        database, owners = backend.database, backend.owners
        kept: list[Any] = []

        async def begin(*names: str) -> None:
            kept.append(database.transaction())
            kept[-1].__enter__()
            for name in names:
                owners.create(Owner(name))

        async def work() -> None:
            for given in (("a", "b"), ()):
                await asyncio.create_task(begin(*given))
                await asyncio.sleep(0)  # the loop tells it of its end
                assert database.stats().in_use == 0
                assert names(backend) == []
            with database.transaction():
                owners.create(Owner("c"))
            await begin("d")

        asyncio.run(work())
        assert database.stats().in_use == 0
        assert names(backend) == ["c"]

    def test_a_generator_that_holds_a_block(self, backend: DatabaseBackend) -> None:
        """A generator has no context of its own: its block is that of the code around it."""
        database, owners = backend.database, backend.owners

        @contextlib.contextmanager
        def unit_of_work() -> Iterator[None]:
            with database.transaction():
                owners.create(Owner("a"))
                yield

        with pytest.raises(Cancelled), unit_of_work():
            owners.create(Owner("b"))
            raise Cancelled
        assert names(backend) == []
        with unit_of_work():
            owners.create(Owner("b"))
        assert names(backend) == ["a", "b"]

    def test_others_see_no_step_of_a_transaction(self, backend: DatabaseBackend) -> None:
        """Rows that are changed twice: others see what was committed before the first change."""
        owners = backend.owners
        kept, deleted = owners.create(Owner("a")), owners.create(Owner("x"))
        made = Owner("m", infra.new_id())

        def seen() -> tuple[Any, ...]:
            return (
                names(backend),
                owners.count(),
                owners.find_by_id(kept.id),
                [name for name in "abcxyzmn" if owners.find_by_name(name)],
                owners.find_by_id(made.id),
                [each.name for each in owners.page(infra.Query(filters={"name": "a"})).items],
            )

        def changed(name: str) -> Callable[[], Any]:
            return lambda: owners.update(Owner(name, kept.id))

        before = (["a", "x"], 2, kept, ["a", "x"], None, ["a"])
        steps: list[tuple[Callable[[], Any], list[str]]] = [
            (changed("b"), ["b", "x"]),
            (changed("c"), ["c", "x"]),
            (lambda: owners.update(Owner("y", deleted.id)), ["c", "y"]),
            (lambda: owners.delete(deleted.id), ["c"]),
            (lambda: owners.create(Owner("z", deleted.id)), ["c", "z"]),
            (lambda: owners.create(made), ["c", "m", "z"]),
            (lambda: owners.update(Owner("n", made.id)), ["c", "n", "z"]),
        ]

        def walk() -> None:
            for step, mine in steps:
                step()
                assert names(backend) == mine
                assert in_another_thread(seen) == before

        with pytest.raises(Cancelled), backend.database.transaction():
            walk()
            raise Cancelled
        assert in_another_thread(seen) == seen() == before
        with backend.database.transaction():
            with pytest.raises(Cancelled), backend.database.transaction():
                walk()
                raise Cancelled
            assert names(backend) == ["a", "x"]
            assert in_another_thread(seen) == before
            walk()
        assert in_another_thread(seen) == seen()
        assert names(backend) == ["c", "n", "z"]

    def test_a_savepoint_while_another_commits(self, backend: DatabaseBackend) -> None:
        """Rows that the other thread committed stay, however this block ends."""
        database = backend.database
        begun, savepoint, committed = (threading.Event() for _ in range(3))

        def other() -> None:
            with database.transaction():
                for name in ("other 1", "other 2", "other 3"):
                    backend.owners.create(Owner(name))
                begun.set()
                assert savepoint.wait(WAIT)
            backend.owners.create(Owner("other 4"))
            committed.set()

        thread = threading.Thread(target=other, daemon=True)
        with database.transaction():
            assert names(backend) == []
            with pytest.raises(Cancelled), database.transaction():
                thread.start()
                assert begun.wait(WAIT)
                with pytest.raises(Cancelled), database.transaction():
                    savepoint.set()
                    assert committed.wait(WAIT)
                    backend.owners.create(Owner("inner 1"))
                    backend.owners.create(Owner("inner 2"))
                    raise Cancelled
                assert names(backend) == ["other 1", "other 2", "other 3", "other 4"]
                backend.owners.create(Owner("middle"))
                raise Cancelled
            backend.owners.create(Owner("outer"))
        thread.join(WAIT)
        assert names(backend) == ["other 1", "other 2", "other 3", "other 4", "outer"]

    @pytest.mark.parametrize("nested", [False, True])
    def test_a_rollback_without_changes_leaves_those_of_others(
        self, backend: DatabaseBackend, nested: bool
    ) -> None:
        database = backend.database

        def other() -> None:
            with pytest.raises(Cancelled), database.transaction():
                assert names(backend) == []
                if nested:
                    with pytest.raises(Cancelled), database.transaction():
                        assert names(backend) == []
                        raise Cancelled
                raise Cancelled

        with database.transaction():
            first = backend.owners.create(Owner("a"))
            in_another_thread(other)
            assert names(backend) == ["a"]
            backend.owners.update(Owner("b", first.id))
            in_another_thread(other)
        assert names(backend) == ["b"]

    def test_a_writer_waits_for_the_other(self, backend: DatabaseBackend) -> None:
        first = backend.items.create(Item(amount=1))
        begun, done = threading.Event(), threading.Event()

        def other() -> None:
            begun.wait(WAIT)
            with backend.database.transaction():
                found = backend.items.change({"id": first.id}, {"note": "other"})  # waits here
                assert done.is_set()
                assert found == 1

        thread = threading.Thread(target=other)
        thread.start()
        with backend.database.transaction():
            backend.items.change({"id": first.id}, {"amount": 2})
            begun.set()
            thread.join(0.05)
            assert thread.is_alive()
            done.set()
        thread.join(WAIT)
        assert backend.items.find_by_id(first.id) == Item(amount=2, note="other", id=first.id)

    def test_blocks_end_in_the_reverse_order(self, backend: DatabaseBackend) -> None:
        database = backend.database
        outer, inner = database.transaction(), database.transaction()
        outer.__enter__()
        inner.__enter__()
        backend.owners.create(Owner("a"))
        with pytest.raises(infra.DatabaseError, match="innermost"):
            outer.__exit__(None, None, None)
        with pytest.raises(infra.DatabaseError, match="rolled back"):
            inner.__exit__(None, None, None)
        with pytest.raises(infra.DatabaseError, match="rolled back"):
            outer.__exit__(None, None, None)
        assert names(backend) == []
        backend.owners.create(Owner("b"))  # the thread goes on
        assert names(backend) == ["b"]
        assert database.stats().in_use == 0

    def test_many_threads(self, backend: DatabaseBackend) -> None:
        def work(number: int) -> None:
            def step() -> None:
                owner = backend.owners.create(Owner(f"owner {number}"))
                backend.items.create(Item(amount=number, owner_id=owner.id))
                if number % 2:
                    raise Cancelled

            try:
                backend.database.run(step)
            except Cancelled:
                pass

        assert in_threads(8, work) == [None] * 8
        assert amounts(backend) == [0, 2, 4, 6]
        assert names(backend) == ["owner 0", "owner 2", "owner 4", "owner 6"]

    # --- after an error

    def test_a_conflict_caught_in_a_transaction(self, backend: DatabaseBackend) -> None:
        """MySQL goes on; Postgres has ended the transaction."""
        backend.owners.create(Owner("a"))
        if backend.engine == "mysql":
            with backend.database.transaction():
                assert conflict(lambda: backend.owners.create(Owner("a"))) == (
                    "owners_name_key",
                    "unique",
                )
                backend.owners.create(Owner("b"))
            assert names(backend) == ["a", "b"]
            return
        with (
            pytest.raises(infra.DatabaseError, match=r"was rolled back.*ConflictError") as ended,
            backend.database.transaction(),
        ):
            backend.owners.create(Owner("b"))
            assert conflict(lambda: backend.owners.create(Owner("a"))) == (
                "owners_name_key",
                "unique",
            )
            with pytest.raises(infra.DatabaseError, match="cannot go on") as caught:
                backend.owners.create(Owner("c"))
            assert caught.value.retryable is False
            assert not isinstance(caught.value, infra.ConflictError)
            with (
                pytest.raises(infra.DatabaseError, match="cannot go on"),
                backend.database.transaction(),
            ):
                pass
        assert ended.value.retryable is False
        assert isinstance(ended.value.__cause__, infra.ConflictError)
        assert names(backend) == ["a"]

    def test_a_conflict_caught_around_a_nested_block(self, backend: DatabaseBackend) -> None:
        backend.owners.create(Owner("a"))
        with backend.database.transaction():
            backend.owners.create(Owner("b"))
            with pytest.raises(infra.ConflictError), backend.database.transaction():
                backend.owners.create(Owner("c"))
                backend.owners.create(Owner("a"))
            backend.owners.create(Owner("d"))
        assert names(backend) == ["a", "b", "d"]

    def test_a_conflict_that_leaves_the_block(self, backend: DatabaseBackend) -> None:
        backend.owners.create(Owner("a"))
        with pytest.raises(infra.ConflictError) as caught, backend.database.transaction():
            backend.owners.create(Owner("b"))
            backend.owners.create(Owner("a"))
        assert caught.value.constraint == "owners_name_key"
        assert names(backend) == ["a"]
        backend.owners.create(Owner("b"))

    @pytest.mark.parametrize("read", ["page", "count"])
    def test_a_failed_read_in_a_transaction(self, backend: DatabaseBackend, read: str) -> None:
        """MySQL goes on; Postgres has ended the transaction, although nothing was to be changed."""

        class Mistaken(type(backend.owners)):  # type: ignore[misc]
            hidden: ClassVar = {"nothing": str}

            def read(self) -> None:
                if read == "page":
                    self._rows("page", ("name",), {"nothing": "x"})
                else:
                    self._number("count", {"nothing": "x"})

        database, mistaken = backend.database, Mistaken(backend.database)

        def fail() -> None:
            words = 'knows no table or column of that name .*: "nothing"'
            with pytest.raises(infra.DatabaseError, match=words) as caught:
                mistaken.read()
            assert (caught.value.operation, caught.value.retryable) == (read, False)

        with database.transaction():
            backend.owners.create(Owner("a"))
            with pytest.raises(Cancelled), database.transaction():
                backend.owners.create(Owner("b"))
                fail()
                raise Cancelled
            backend.owners.create(Owner("c"))
        assert names(backend) == ["a", "c"]
        if backend.engine == "mysql":
            with database.transaction():
                fail()
                backend.owners.create(Owner("d"))
            assert names(backend) == ["a", "c", "d"]
            return
        with pytest.raises(infra.DatabaseError, match="was rolled back"), database.transaction():
            backend.owners.create(Owner("d"))
            fail()
            for call in (
                lambda: backend.owners.create(Owner("e")),
                lambda: names(backend),
                backend.owners.count,
                mistaken.read,
                lambda: database.insert_many("owners", ["id", "name"], [(infra.new_id(), "e")]),
            ):
                with pytest.raises(infra.DatabaseError, match="cannot go on"):
                    call()
        assert names(backend) == ["a", "c"]

    def test_bad_values_do_not_end_a_transaction(self, backend: DatabaseBackend) -> None:
        with backend.database.transaction():
            backend.owners.create(Owner("a"))
            with pytest.raises(infra.ValidationError):
                backend.owners.create(Owner("b\0"))
        assert names(backend) == ["a"]

    # --- run

    def test_run_returns_the_answer(self, backend: DatabaseBackend) -> None:
        database = backend.database
        assert database.run(lambda: backend.owners.create(Owner("a")).name) == "a"
        assert database.run(lambda: None) is None
        assert names(backend) == ["a"]

    def test_run_repeats_what_a_deadlock_ended(self, backend: DatabaseBackend) -> None:
        calls: list[int] = []

        def work() -> str:
            calls.append(len(calls))
            backend.owners.create(Owner(f"a{len(calls)}"))
            if len(calls) < 3:
                raise infra.DatabaseError("a deadlock", retryable=True)
            return "done"

        assert backend.database.run(work) == "done"
        assert calls == [0, 1, 2]
        assert names(backend) == ["a3"]

    @pytest.mark.parametrize(
        "error",
        [
            infra.DatabaseError("no"),
            infra.ConflictError("no"),
            infra.ConnectionError("no"),
            infra.TimeoutError("no"),
            infra.CacheError("no", retryable=True),
            OSError("the caller's own"),
            Cancelled(),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_run_repeats_nothing_else(self, backend: DatabaseBackend, error: Exception) -> None:
        calls: list[int] = []

        def work() -> None:
            calls.append(1)
            backend.owners.create(Owner("a"))
            raise error

        with pytest.raises(type(error)) as caught:
            backend.database.run(work)
        assert caught.value is error
        assert (calls, names(backend)) == ([1], [])

    def test_run_in_a_transaction_is_a_savepoint(self, backend: DatabaseBackend) -> None:
        calls: list[int] = []

        def work() -> None:
            calls.append(1)
            backend.owners.create(Owner("b"))
            raise infra.DatabaseError("a deadlock", retryable=True)

        with backend.database.transaction():
            backend.owners.create(Owner("a"))
            with pytest.raises(infra.DatabaseError, match="a deadlock"):
                backend.database.run(work)
        assert (calls, names(backend)) == ([1], ["a"])

    @pytest.mark.parametrize("fn", [None, "fn", 5])
    def test_run_of_no_function(self, backend: DatabaseBackend, fn: Any) -> None:
        with pytest.raises(infra.ValidationError, match="fn should be a function"):
            backend.database.run(fn)
        with backend.database.transaction():
            with pytest.raises(infra.ValidationError, match="fn should be a function"):
                backend.database.run(fn)
            backend.owners.create(Owner("a"))
        assert names(backend) == ["a"]

    def test_run_gives_up(self, backend: DatabaseBackend) -> None:
        calls: list[int] = []

        def work() -> None:
            calls.append(1)
            raise infra.DatabaseError("a deadlock", retryable=True)

        with pytest.raises(infra.DatabaseError, match="a deadlock"):
            backend.database.run(work)
        assert len(calls) == 6

    @pytest.mark.parametrize("fn", handlers.SEEN)
    def test_run_refuses_what_would_run_nothing(self, backend: DatabaseBackend, fn: str) -> None:
        """It would return at once, and the transaction commit nothing."""
        with pytest.raises(infra.ValidationError, match="fn should be a plain function"):
            backend.database.run(handlers.SEEN[fn])

    @pytest.mark.parametrize("fn", ["coroutine", "awaitable", "class"])
    @pytest.mark.parametrize("inside", [False, True])
    def test_run_rolls_back_what_nothing_awaits(
        self, backend: DatabaseBackend, fn: str, inside: bool
    ) -> None:
        owners = backend.owners

        def work() -> object:
            owners.create(Owner("a"))
            return handlers.RETURNING[fn]()

        def run() -> None:
            with pytest.raises(infra.ValidationError, match="nothing awaits it"):
                backend.database.run(work)

        if inside:
            with backend.database.transaction():
                run()
        else:
            run()
        assert owners.count() == 0

    # --- rules

    def test_a_useless_argument_changes_nothing(self, backend: DatabaseBackend) -> None:
        insert, columns = backend.database.insert_many, ["id", "name"]
        rows = [(uuid.UUID(int=number), str(number)) for number in range(3)]
        refusals.check(insert, ["owners", columns, rows], lambda: names(backend))
        useless = refusals.Useless()
        bad_rows: list[Any] = [useless, (rows[0][0],), (*rows[0], ""), (useless, ""), "ab", None]
        for bad in bad_rows:
            with pytest.raises(infra.ValidationError):
                insert("owners", columns, [*rows, bad])
            with pytest.raises(infra.ValidationError):  # in a later batch
                more = [(uuid.UUID(int=number), str(number)) for number in range(3, 1200)]
                insert("owners", columns, [*rows, *more, bad])
        refusals.check_iterable(
            lambda many: insert("owners", columns, (rows[0] for _ in many)), lambda: names(backend)
        )
        assert names(backend) == []

    @any_text
    def test_text_of_any_subclass(self, backend: DatabaseBackend, text: Text) -> None:
        database, id, a, b = backend.database, *(uuid.UUID(int=each) for each in (1, 2, 3))
        columns, owners = [text("id"), text("name")], backend.owners
        assert database.insert_many(text("owners"), columns, [(id, text("é")), (a, "b")]) == 2
        assert plain(owners.find_by_id(id)) == Owner("é", id)
        repeat = functools.partial(database.insert_many, text("owners"), columns)
        assert conflict(lambda: repeat([(id, text("x"))])) == ("owners_pkey", "unique")
        assert conflict(lambda: repeat([(b, text("é"))])) == ("owners_name_key", "unique")
        assert plain(owners.find_by_name(text("é"))) == Owner("é", id)
        query = infra.Query(sort=text("name"), filters={text("name"): text("b")})
        assert owners.page(query).items == [Owner("b", a)]
        assert plain(owners.update(Owner(text("c"), a))) == Owner("c", a)
        assert names(backend) == ["c", "é"]
        backend.items.create(Item(label=text("x"), note=text("é")))
        assert len(plain(backend.items.with_label(OneOf([text("x"), text("y")])))) == 1
        assert backend.items.change({"label": text("x")}, {"note": text("b")}) == 1
        assert plain(backend.items.with_label(Contains(text("x"))))[0].note == "b"
        assert backend.items.with_label(AtMost(text("w"))) == []
        assert backend.items.remove({"label": text("x")}) == 1

    @any_text
    def test_a_table_named_by_any_subclass(self, backend: DatabaseBackend, text: Text) -> None:
        attributes = {"table": text("owners"), "resource": text("owner"), "guarded": ("name",)}
        kind: Any = type("Named", (type(backend.owners),), attributes)
        owners = kind(backend.database)
        made = owners.create(Owner("a"))
        assert owners.find_by_name("a") == made
        assert conflict(lambda: owners.create(Owner("b", made.id))) == ("owners_pkey", "unique")
        assert conflict(lambda: owners.update(replace(made, name="b"))) == (
            "owners_as_read",
            "check",
        )
        with pytest.raises(infra.NotFoundError, match="no such owner") as caught:
            owners.update(Owner("a", infra.new_id()))
        assert plain(caught.value.resource) == "owner"

    def test_numbers_and_times_of_any_subclass(self, backend: DatabaseBackend) -> None:
        class Moment(datetime):
            def __str__(self) -> str:
                return "odd"

            isoformat = __repr__ = __str__  # type: ignore[assignment]

        class Id(uuid.UUID):
            def __str__(self) -> str:
                return "odd"

        noon = Moment(2026, 1, 31, 12, tzinfo=timezone.utc)
        columns = ["id", "amount", "note", "seen_at"]
        row = Id(int=7), Number.ONE, "", noon
        assert backend.database.insert_many("items", columns, [row]) == 1
        made = backend.items.create(Item(Number.ONE, seen_at=noon))
        assert (type(made.amount), type(made.seen_at)) == (int, datetime)
        found = backend.items.find_by_id(uuid.UUID(int=7))
        assert found is not None
        for item in (found, backend.items.find_by_id(made.id), made):
            assert item is not None
            assert item == replace(made, id=item.id)
            assert (type(item.amount), type(item.seen_at)) == (int, datetime)

    def test_unique(self, backend: DatabaseBackend) -> None:
        first = backend.owners.create(Owner("a"))
        other = backend.owners.create(Owner("b"))
        assert conflict(lambda: backend.owners.create(Owner("a"))) == ("owners_name_key", "unique")
        assert conflict(lambda: backend.owners.create(Owner("c", first.id))) == (
            "owners_pkey",
            "unique",
        )
        assert conflict(lambda: backend.owners.update(Owner("a", other.id))) == (
            "owners_name_key",
            "unique",
        )
        assert names(backend) == ["a", "b"]

    def test_unique_takes_nulls_for_distinct(self, backend: DatabaseBackend) -> None:
        backend.items.create(Item(label=None))
        backend.items.create(Item(label=None))
        backend.items.create(Item(label="x"))
        assert conflict(lambda: backend.items.create(Item(label="x"))) == (
            "items_label_key",
            "unique",
        )
        assert backend.items.count() == 3

    def test_a_value_cannot_fake_the_name_of_a_rule(self, backend: DatabaseBackend) -> None:
        name = "for key 'x'"[:10]
        backend.owners.create(Owner(name))
        assert conflict(lambda: backend.owners.create(Owner(name))) == ("owners_name_key", "unique")

    def test_text_in_keys(self, backend: DatabaseBackend) -> None:
        """Comparison is binary: case, accents and composition count; MySQL ignores final blanks."""
        for name in ("a", "A", "ä", "a\u0308", "😀", "", " a", "ß", "ss"):
            backend.owners.create(Owner(name))
        if backend.engine == "mysql":
            assert conflict(lambda: backend.owners.create(Owner("a "))) == (
                "owners_name_key",
                "unique",
            )
            found = backend.owners.find_by_name("a  ")
            assert found is not None
            assert found.name == "a"
        else:
            backend.owners.create(Owner("a "))
            assert backend.owners.find_by_name("a  ") is None
        order = ["", " a", "A", "a", "a ", "a\u0308", "ss", "ß", "ä", "😀"]
        assert sorted(names(backend)) == sorted(
            order if backend.engine == "postgres" else order[:4] + order[5:]
        )
        assert names(backend) == sorted(names(backend), key=lambda name: name.encode())

    def test_text_in_conditions(self, backend: DatabaseBackend) -> None:
        """MySQL ignores blanks at the end in every comparison; a control character sorts lower."""
        items = backend.items
        for label in ("a", "a\t", "b ", "c"):
            items.create(Item(label=label))

        def found(condition: Any) -> list[Any]:
            return [each.label for each in items.with_label(condition)]

        padded = backend.engine == "mysql"
        assert found(Above("a ")) == ["b ", "c"]
        assert found(Above("a")) == (["b ", "c"] if padded else ["a\t", "b ", "c"])
        assert found(AtMost("b")) == (["a\t", "a", "b "] if padded else ["a", "a\t"])
        assert found(AtMost("a  ")) == (["a\t", "a"] if padded else ["a", "a\t"])
        assert found(Contains("b ")) == ["b "]
        assert found(OneOf(["b", "c "])) == (["b ", "c"] if padded else [])

    @pytest.mark.parametrize(
        "record", [OwnInit, OwnOrder, OwnNew, SlotsBesideADict, OwnCall, AfterInit, Heir]
    )
    def test_records_are_made_as_their_class_has_it(
        self, backend: DatabaseBackend, record: Any
    ) -> None:
        owners: Any = type("Owners", (type(backend.owners),), {"record": record})(backend.database)
        made = owners.create(record(name="ada"))
        found = owners.find_by_id(made.id)
        assert (found, found.name, found.initial, made.initial) == (made, "ada", "a", "a")

    @pytest.mark.parametrize("value", ["NaN", "sNaN", "Infinity", "-Infinity"])
    def test_decimals_are_finite(self, backend: DatabaseBackend, value: str) -> None:
        priced: Any = type("Priced", (type(backend.owners),), {"record": Priced})(backend.database)
        with pytest.raises(infra.ValidationError, match="finite"):
            priced.create(Priced(Decimal(value)))
        with pytest.raises(infra.ValidationError, match="finite"):
            priced.page(infra.Query(filters={"name": Decimal(value)}))

    def test_update_where_nothing_is_to_be_stored(self, backend: DatabaseBackend) -> None:
        owners: Any = type("Owners", (type(backend.owners),), {"kept": ("name",)})(backend.database)
        ada = owners.create(Owner("ada"))
        owners.update(Owner("eve", ada.id))
        assert owners.find_by_id(ada.id) == ada
        with pytest.raises(infra.NotFoundError):
            owners.update(Owner("eve", infra.new_id()))

    def test_an_offset_without_a_limit(self, backend: DatabaseBackend) -> None:
        for amount in range(4):
            backend.items.create(Item(amount=amount))
        assert [each.amount for each in backend.items.by_amount(offset=2)] == [2, 3]
        assert [each.amount for each in backend.items.by_amount(limit=1, offset=2)] == [2]

    def test_foreign_keys(self, backend: DatabaseBackend) -> None:
        for field in ("owner_id", "keeper_id", "guard_id"):
            nobody: Any = {field: infra.new_id()}
            assert conflict(lambda: backend.items.create(Item(**nobody))) == (
                f"items_{field}_fkey",
                "foreign_key",
            )
        owner = backend.owners.create(Owner("a"))
        item = backend.items.create(Item(owner_id=owner.id))
        moved = Item(owner_id=infra.new_id(), id=item.id)
        assert conflict(lambda: backend.items.update(moved)) == (
            "items_owner_id_fkey",
            "foreign_key",
        )
        assert backend.items.find_by_id(item.id) == item

    def test_a_key_that_is_referred_to_stays(self, backend: DatabaseBackend) -> None:
        class Renumbered(type(backend.owners)):  # type: ignore[misc]
            def renumber(self, old: uuid.UUID, new: uuid.UUID) -> int:
                found: int = self._change("renumber", {"id": old}, {"id": new})
                return found

        owners, new = Renumbered(backend.database), infra.new_id()
        for field in ("owner_id", "keeper_id", "guard_id"):
            owner = backend.owners.create(Owner(field[:5]))
            reference: dict[str, Any] = {field: owner.id}
            item = backend.items.create(Item(**reference))
            assert conflict(lambda: owners.renumber(owner.id, new)) == (
                f"items_{field}_fkey",
                "foreign_key",
            )
            assert backend.items.find_by_id(item.id) == item
            assert backend.items.delete(item.id) is True
            assert owners.renumber(owner.id, new) == 1
            assert backend.owners.find_by_id(owner.id) is None
            assert backend.owners.find_by_id(new) == Owner(field[:5], new)
            assert backend.owners.delete(new) is True

    def test_of_several_missing_parents_one_is_named(self, backend: DatabaseBackend) -> None:
        """MySQL checks the keys by name, the others in the order of their declaration."""
        item = backend.items.create(Item())
        first = {"mysql": "items_guard_id_fkey"}.get(backend.dialect, "items_owner_id_fkey")
        nobody = infra.new_id()
        orphan = Item(owner_id=nobody, keeper_id=nobody, guard_id=nobody)
        assert conflict(lambda: backend.items.create(orphan)) == (first, "foreign_key")
        orphan = replace(orphan, id=item.id)
        assert conflict(lambda: backend.items.update(orphan)) == (first, "foreign_key")
        orphan = replace(orphan, owner_id=None)
        assert conflict(lambda: backend.items.update(orphan))[0] == "items_guard_id_fkey"
        assert backend.items.find_by_id(item.id) == item

    def test_on_delete_reaches_every_row(self, backend: DatabaseBackend) -> None:
        a, b = backend.owners.create(Owner("a")), backend.owners.create(Owner("b"))
        for amount in range(3):
            backend.items.create(Item(amount=amount, owner_id=a.id, keeper_id=b.id))
            backend.items.create(Item(amount=10 + amount, owner_id=b.id, keeper_id=a.id))
        assert backend.owners.delete(a.id) is True
        found = backend.items.page(infra.Query(sort="amount")).items
        assert [(each.amount, each.owner_id, each.keeper_id) for each in found] == [
            (10, b.id, None),
            (11, b.id, None),
            (12, b.id, None),
        ]
        assert backend.owners.delete(b.id) is True
        assert backend.items.count() == 0

    def test_a_statement_changes_all_its_rows_or_none(self, backend: DatabaseBackend) -> None:
        """Also inside a block, which goes on afterwards on MySQL."""

        class Labelling(type(backend.items)):  # type: ignore[misc]
            def label_all(self, label: str) -> int:
                found: int = self._change("label_all", {}, {"label": label})
                return found

        items, guard = Labelling(backend.database), backend.owners.create(Owner("a"))
        for amount in range(3):
            backend.items.create(Item(amount=amount, label=str(amount), owner_id=guard.id))
        backend.items.create(Item(amount=3, guard_id=guard.id))

        def labels() -> list[str | None]:
            return [each.label for each in items.page(infra.Query(sort="amount")).items]

        calls: list[tuple[Callable[[], Any], str]] = [
            (lambda: items.label_all("same"), "items_label_key"),
            (lambda: backend.owners.delete(guard.id), "items_guard_id_fkey"),
        ]
        for call, constraint in calls:
            with backend.database.transaction():
                if backend.engine == "mysql":
                    assert conflict(call)[0] == constraint
                    assert labels() == ["0", "1", "2", None]
                with pytest.raises(infra.ConflictError), backend.database.transaction():
                    call()
                assert labels() == ["0", "1", "2", None]
            assert conflict(call)[0] == constraint
            assert labels() == ["0", "1", "2", None]

    def test_on_delete(self, backend: DatabaseBackend) -> None:
        a, b = backend.owners.create(Owner("a")), backend.owners.create(Owner("b"))
        backend.items.create(Item(amount=1, owner_id=a.id))
        kept = backend.items.create(Item(amount=2, owner_id=b.id, keeper_id=a.id))
        guarded = backend.items.create(Item(amount=3, guard_id=b.id))
        assert conflict(lambda: backend.owners.delete(b.id)) == (
            "items_guard_id_fkey",
            "foreign_key",
        )
        assert amounts(backend) == [1, 2, 3]
        assert backend.owners.delete(a.id) is True
        assert amounts(backend) == [2, 3]
        assert backend.items.find_by_id(kept.id) == Item(amount=2, owner_id=b.id, id=kept.id)
        assert backend.items.delete(guarded.id) is True
        assert backend.owners.delete(b.id) is True
        assert backend.items.count() == 0

    def test_a_row_that_is_deleted_along_and_guards(self, backend: DatabaseBackend) -> None:
        """By a cascade and by a restriction: MariaDB takes the keys by name, the others by age."""
        a = backend.owners.create(Owner("a"))
        backend.items.create(Item(owner_id=a.id, guard_id=a.id))
        if backend.dialect == "mariadb":
            assert conflict(lambda: backend.owners.delete(a.id)) == (
                "items_guard_id_fkey",
                "foreign_key",
            )
            assert backend.items.count() == 1
        else:
            assert backend.owners.delete(a.id) is True
            assert backend.items.count() == 0

    def test_a_row_that_is_deleted_along_and_loses_a_reference(
        self, backend: DatabaseBackend
    ) -> None:
        """By a cascade and by SET NULL, in the one order or in the other."""
        a, b = backend.owners.create(Owner("a")), backend.owners.create(Owner("b"))
        backend.items.create(Item(owner_id=a.id, keeper_id=a.id))
        kept = backend.items.create(Item(owner_id=b.id, keeper_id=a.id))
        assert backend.owners.delete(a.id) is True
        assert backend.items.page().items == [replace(kept, keeper_id=None)]

    @pytest.mark.parametrize(
        ("rows", "removed", "mysql", "postgres"),
        [
            ({1: "guard 1"}, [1], "refused", (1, {})),
            ({1: "guard 1", 2: "guard 1"}, [1], "refused", "refused"),
            ({1: "guard 1", 2: "guard 1"}, [1, 2], "refused", (2, {})),
            ({1: "", 2: "guard 1"}, [1, 2], "refused", (2, {})),
            ({1: "guard 2", 2: ""}, [1, 2], (2, {}), (2, {})),
            ({1: "guard 2", 2: "guard 1"}, [1, 2], "refused", (2, {})),
            ({1: "guard 2", 2: "guard 1"}, [2], "refused", "refused"),
            ({1: "owner 1"}, [1], (1, {}), (1, {})),
            ({1: "owner 1", 2: "owner 1"}, [1, 2], (1, {}), (2, {})),
            ({1: "owner 2", 2: "owner 1", 3: ""}, [1, 2, 3], (2, {}), (3, {})),
            ({1: "", 2: "owner 1", 3: "owner 2"}, [1], (1, {}), (1, {})),
            ({1: "keeper 1"}, [1], (1, {}), (1, {})),
            ({1: "keeper 1", 2: "keeper 1"}, [1], (1, {2: ""}), (1, {2: ""})),
            ({1: "keeper 2", 2: "keeper 1"}, [1, 2], (2, {}), (2, {})),
            ({1: "", 2: "owner 1", 3: "owner 1 guard 2"}, [1], "refused", (1, {})),
            ({1: "", 2: "owner 1 guard 3", 3: "owner 1"}, [1], (1, {}), (1, {})),
            ({1: "", 2: "owner 1", 3: "guard 2"}, [1], "refused", "refused"),
            ({1: "", 2: "owner 1", 3: "keeper 2"}, [1], (1, {3: ""}), (1, {3: ""})),
        ],
    )
    def test_rows_that_refer_to_their_own_table(
        self,
        backend: DatabaseBackend,
        rows: dict[int, str],
        removed: list[int],
        mysql: Any,
        postgres: Any,
    ) -> None:
        """MySQL checks each row, itself included, as it deletes it; Postgres checks afterwards."""
        nodes, ids = backend.nodes, {number: uuid.UUID(int=number) for number in range(1, 4)}

        def made(number: int, references: str) -> Node:
            words = references.split()
            named = {f"{key}_id": ids[int(to)] for key, to in zip(words[::2], words[1::2])}
            return Node(**named, id=ids[number])

        for number in rows:
            nodes.create(Node(id=ids[number]))
        for number, references in rows.items():
            nodes.update(made(number, references))
        expected, left = mysql if backend.engine == "mysql" else postgres, rows
        chosen = [ids[number] for number in removed]
        if expected == "refused":
            assert conflict(lambda: nodes.remove(*chosen)) == ("nodes_guard_id_fkey", "foreign_key")
        else:
            count, left = expected
            assert nodes.remove(*chosen) == count
        assert nodes.page(infra.Query(sort="id")).items == [
            made(number, references) for number, references in left.items()
        ]

    def test_a_row_that_guards_itself_and_is_deleted_along(self, backend: DatabaseBackend) -> None:
        nodes, first, second = backend.nodes, uuid.UUID(int=1), uuid.UUID(int=2)
        nodes.create(Node(id=first))
        nodes.create(Node(id=second, owner_id=first))
        nodes.change({"id": second}, {"guard_id": second})
        if backend.dialect == "mariadb":
            assert conflict(lambda: nodes.remove(first)) == ("nodes_guard_id_fkey", "foreign_key")
            assert nodes.count() == 2
        else:
            assert nodes.remove(first) == 1
            assert nodes.count() == 0

    def test_a_key_of_a_row_that_refers_to_itself(self, backend: DatabaseBackend) -> None:
        nodes, old, new = backend.nodes, uuid.UUID(int=1), uuid.UUID(int=2)
        nodes.create(Node(id=old))
        for field in ("owner_id", "guard_id", "keeper_id"):
            nodes.change({"id": old}, {field: old})
            assert conflict(lambda: nodes.change({"id": old}, {"id": new})) == (
                f"nodes_{field}_fkey",
                "foreign_key",
            )
            both = {"id": new, field: new}
            if backend.engine == "mysql":
                assert conflict(functools.partial(nodes.change, {"id": old}, both))[1] == (
                    "foreign_key"
                )
            else:
                assert nodes.change({"id": old}, both) == 1
                assert nodes.change({"id": new}, {"id": old, field: old}) == 1
            assert nodes.change({"id": old}, {field: None}) == 1
        assert nodes.page().items == [Node(id=old)]

    def test_check_and_not_null(self, backend: DatabaseBackend) -> None:
        assert conflict(lambda: backend.items.create(Item(amount=-1))) == (
            "items_amount_check",
            "check",
        )
        assert conflict(lambda: backend.items.create(Item(note=None))) == (
            "items_note_not_null",
            "not_null",
        )
        item = backend.items.create(Item())
        assert conflict(lambda: backend.items.update(Item(amount=-1, id=item.id))) == (
            "items_amount_check",
            "check",
        )
        assert conflict(lambda: backend.items.update(Item(note=None, id=item.id))) == (
            "items_note_not_null",
            "not_null",
        )
        rows = [(infra.new_id(), 1)]
        assert conflict(lambda: backend.database.insert_many("items", ["id", "amount"], rows)) == (
            "items_note_not_null",
            "not_null",
        )
        assert amounts(backend) == [0]

    def test_a_check_that_is_null_passes(self, backend: DatabaseBackend) -> None:
        """NULL <> 'never' is NULL: only a check that is false refuses the row."""
        item = backend.items.create(Item(label=None))
        assert backend.items.update(Item(amount=1, id=item.id)) == Item(amount=1, id=item.id)
        assert backend.items.update(Item(label="ever", id=item.id)).label == "ever"
        assert conflict(lambda: backend.items.create(Item(label="never"))) == (
            "items_label_check",
            "check",
        )
        assert conflict(lambda: backend.items.update(Item(label="never", id=item.id))) == (
            "items_label_check",
            "check",
        )
        backend.items.update(Item(label=None, id=item.id))
        columns = ["id", "amount", "note", "label"]
        rows = [(infra.new_id(), 2, "", None), (infra.new_id(), 3, "", "ever")]
        assert backend.database.insert_many("items", columns, rows) == 2
        found = backend.items.page(infra.Query(sort="amount")).items
        assert [each.label for each in found] == [None, None, "ever"]

    def test_length_counts_characters(self, backend: DatabaseBackend) -> None:
        backend.owners.create(Owner("😀" * 10))
        for name in ("x" * 11, "é" * 11):
            with pytest.raises(infra.DatabaseError) as caught:
                backend.owners.create(Owner(name))
            assert not isinstance(caught.value, infra.ConflictError)
            assert (caught.value.retryable, name in str(caught.value)) == (False, False)
        stored = infra.new_id()
        backend.owners.create(Owner("0123456789  ", stored))  # SQL: blanks at the end do not count
        found = backend.owners.find_by_id(stored)
        assert found is not None
        assert found.name == "0123456789"

    @pytest.mark.parametrize(
        ("end", "cut_by"),
        [
            ("  ", ("mysql", "postgres")),
            ("\t", ("mysql",)),
            (" \n", ("mysql",)),
            ("\v\f\r ", ("mysql",)),
            ("\x1f", ()),
            ("\u00a0", ()),
            ("\u2003", ()),
            (" x", ()),
        ],
    )
    def test_white_space_beyond_the_length(
        self, backend: DatabaseBackend, end: str, cut_by: tuple[str, ...]
    ) -> None:
        """MySQL cuts off all white space of ASCII without an error, Postgres blanks; insert_many
        refuses the batch."""
        insert, columns = backend.database.insert_many, ["id", "name"]
        name = "0123456789" + end
        if backend.engine in cut_by:
            backend.owners.create(Owner(name))
            assert names(backend) == ["0123456789"]
            backend.owners.delete(backend.owners.page().items[0].id)
        else:
            with pytest.raises(infra.DatabaseError, match="does not fit"):
                backend.owners.create(Owner(name))
        rows = [(infra.new_id(), "short"), (infra.new_id(), name)]
        with pytest.raises(infra.DatabaseError, match="does not fit its column: name"):
            insert("owners", columns, rows)
        assert names(backend) == []

    def test_numbers_have_bounds(self, backend: DatabaseBackend) -> None:
        item = backend.items.create(Item(amount=2**31 - 1))
        assert backend.items.find_by_id(item.id) == item
        with pytest.raises(infra.DatabaseError):
            backend.items.create(Item(amount=2**31))
        assert backend.items.count() == 1

    def test_moments_keep_microseconds_and_are_utc(self, backend: DatabaseBackend) -> None:
        elsewhere = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
        item = backend.items.create(Item(seen_at=elsewhere))
        found = backend.items.find_by_id(item.id)
        assert found is not None
        assert found.seen_at == NOON
        assert found.seen_at is not None
        assert str(found.seen_at) == "2026-01-31 12:00:00.123456+00:00"
        for moment in (
            datetime(1, 1, 1, tzinfo=timezone.utc),
            datetime(9999, 12, 31, 23, 59, 59, 999999, timezone.utc),
        ):
            stored = backend.items.create(Item(seen_at=moment))
            assert backend.items.find_by_id(stored.id) == stored
        with pytest.raises(infra.ValidationError):
            backend.items.create(Item(seen_at=datetime(2026, 1, 1)))
        assert backend.items.count() == 3

    def test_an_update_that_changes_nothing_finds_its_row(self, backend: DatabaseBackend) -> None:
        item = backend.items.create(Item(amount=5))
        assert backend.items.update(item) == item
        assert backend.items.change({"amount": 5}, {"amount": 5}) == 1

    # --- insert_many

    def test_insert_many(self, backend: DatabaseBackend) -> None:
        database, owner = backend.database, backend.owners.create(Owner("a"))
        texts = [
            "",
            "plain",
            "it's",
            'quo"te',
            "back\\slash",
            "tab\tnew\n",
            "\r\x1a\\N",
            "%s %% {}",
            "日本é😀",
            "\\",
        ]
        columns = ["id", "amount", "note", "label", "owner_id", "seen_at"]
        rows = [
            (infra.new_id(), number, text, None if number % 2 else str(number), owner.id, NOON)
            for number, text in enumerate(texts)
        ]
        assert database.insert_many("items", columns, rows) == 10
        found = backend.items.page(infra.Query(sort="amount")).items
        assert [item.note for item in found] == texts
        assert [item.label for item in found] == [
            "0",
            None,
            "2",
            None,
            "4",
            None,
            "6",
            None,
            "8",
            None,
        ]
        assert {(item.owner_id, item.seen_at, item.keeper_id) for item in found} == {
            (owner.id, NOON, None)
        }

    @pytest.mark.parametrize("column", list(TAKEN))
    def test_what_a_column_takes(self, backend: DatabaseBackend, column: str) -> None:
        """Every type of value for every kind of column; all else is refused by one class."""
        insert, columns = backend.database.insert_many, ["id", column]
        taken = dict(TAKEN[column])
        if backend.engine == "postgres":
            taken |= ONLY_POSTGRES.get(column, {})
        wanted: dict[str, Any] = dict.fromkeys(VALUES, infra.ValidationError)
        wanted |= dict.fromkeys(MISFITS.get(column, ()), infra.DatabaseError)
        if column == "document":
            wanted |= dict.fromkeys(NO_JSON, infra.SerializationError)
        wanted |= {name: repr(value) for name, value in taken.items()}
        found: dict[str, Any] = {}
        for name, value in VALUES.items():
            id = infra.new_id()
            try:  # a good row comes first: it is not stored if the other is refused
                insert("cells", columns, [(infra.new_id(), None), (id, value)])
            except infra.InfrastructureError as error:
                told = error.service, error.operation, column in str(error)
                found[name] = type(error) if told == (backend.engine, "insert_many", True) else told
            else:
                found[name] = repr(getattr(backend.cells.find_by_id(id), column))
        assert found == wanted
        assert backend.cells.count() == 2 * len(taken)

    def test_an_id_is_taken_as_its_text_too(self, backend: DatabaseBackend) -> None:
        rows = [(AN_ID, "a"), (str(AN_ID).upper()[:-1] + "8", "b")]
        assert backend.database.insert_many("owners", ["id", "name"], rows) == 2
        other = backend.owners.find_by_name("b")
        assert backend.owners.find_by_name("a") == Owner("a", AN_ID)
        assert other == Owner("b", uuid.UUID(str(AN_ID)[:-1] + "8"))
        for value in ("x", "", 1, AN_ID.bytes):
            with pytest.raises(infra.ValidationError, match="id should be"):
                backend.database.insert_many("owners", ["id", "name"], [(value, "c")])
        assert names(backend) == ["a", "b"]

    def test_a_number_that_python_does_not_write(self, backend: DatabaseBackend) -> None:
        """Of more digits than sys.set_int_max_str_digits allows."""
        cell = backend.cells.create(Cell())
        for huge in (10**5000, -(10**5000)):
            with pytest.raises(infra.ValidationError, match="whole should be"):
                backend.cells.create(Cell(whole=huge))
            with pytest.raises(infra.ValidationError, match="whole should be"):
                backend.cells.update(replace(cell, whole=huge))
        with pytest.raises(infra.DatabaseError, match="does not fit"):
            backend.cells.create(Cell(whole=10**50))

    def test_a_minus_zero(self, backend: DatabaseBackend) -> None:
        """MySQL has none, in the literals that it is sent."""
        id = infra.new_id()
        assert backend.database.insert_many("cells", ["id", "ratio"], [(id, -0.0)]) == 1
        found = backend.cells.find_by_id(id)
        assert found is not None
        assert repr(found.ratio) == ("-0.0" if backend.engine == "postgres" else "0.0")

    def test_records_are_returned_as_they_are_stored(self, backend: DatabaseBackend) -> None:
        for price, stored in (
            ("10", "10.00"),
            ("9.9900", "9.99"),
            ("-0", "0.00"),
            ("1E+3", "1000.00"),
        ):
            cell = backend.cells.create(Cell(price=Decimal(price), second=SECOND, data=b"1234"))
            assert str(cell.price) == stored
            assert repr(backend.cells.find_by_id(cell.id)) == repr(cell)
            changed = backend.cells.update(replace(cell, price=Decimal(price) * 2, data=b""))
            assert repr(backend.cells.find_by_id(cell.id)) == repr(changed)

    @pytest.mark.parametrize(
        "values",
        [
            {"price": Decimal("9.999")},
            {"price": Price("9.999")},
            {"price": Price("NaN")},
            {"data": Data(b"12345")},
            {"price": Decimal(10) ** 12},
            {"price": Decimal("99999999.995")},
            {"price": Decimal("1E+999999")},
            {"price": Decimal("1E-999999")},
            {"data": b"12345"},
            {"second": NOON},
            {"word": "123456"},
            {"word": "12345 "},
            {"price": 1.5},
            {"data": "1234"},
        ],
        ids=str,
    )
    def test_records_that_do_not_fit_exactly(
        self, backend: DatabaseBackend, values: dict[str, Any]
    ) -> None:
        cells, (name,) = backend.cells, values
        cell = cells.create(Cell(whole=1))
        with pytest.raises(infra.ValidationError, match=name):
            cells.create(Cell(**values))
        with pytest.raises(infra.ValidationError, match=name):
            cells.update(replace(cell, **values))
        assert (cells.find_by_id(cell.id), cells.count()) == (cell, 1)

    def test_times_are_filled_in_as_they_are_stored(self, backend: DatabaseBackend) -> None:
        """The clock has microseconds, the columns whole seconds."""
        stamps: Any = type(
            "Stamps",
            (type(backend.cells),),
            {"record": Stamp, "lengths": {}, "scales": {"created_at": 0, "updated_at": 0}},
        )
        repository = stamps(backend.database, clock=fakes.FakeClock(NOON))
        made = repository.create(Stamp())
        assert (made.created_at, made.updated_at) == (SECOND, SECOND)
        assert repository.find_by_id(made.id) == made
        assert repository.update(made) == repository.find_by_id(made.id) == made

    @pytest.mark.parametrize(
        "scales",
        [
            {"nothing": (10, 2)}, {"word": (10, 2)}, {"whole": 2}, {"price": 2}, {"price": (10,)},
            {"price": (2, 3)}, {"price": (0, 0)}, {"price": (10, -1)}, {"price": (True, 1)},
            {"second": 7}, {"second": -1}, {"second": (6, 0)}, {"day": 0},
        ],
        ids=str,
    )  # fmt: skip
    def test_scales_that_no_column_has(self, backend: DatabaseBackend, scales: Any) -> None:
        cells: Any = type("Cells", (type(backend.cells),), {"scales": scales})
        with pytest.raises(infra.ConfigurationError, match=next(iter(scales))):
            cells(backend.database)

    def test_an_id_that_nobody_makes(self, backend: DatabaseBackend) -> None:
        """A record, or a row, whose id is left to the database, which makes none."""
        numbered: Any = type("Owners", (type(backend.owners),), {"record": Unnumbered, "ids": ()})
        owners = numbered(backend.database)
        for name in ("a", "b"):
            insert = functools.partial(backend.database.insert_many, "owners", ["name"], [(name,)])
            assert conflict(insert) == ("owners_id_not_null", "not_null")
            with pytest.raises(infra.ValidationError, match=r"id should be a uuid\.UUID"):
                owners.create(Unnumbered(name))
        assert names(backend) == []
        made = backend.owners.create(Owner("c"))
        with pytest.raises(infra.ValidationError, match=r"id should be a uuid\.UUID"):
            owners.update(Unnumbered("d"))
        assert owners.find_by_id(made.id) == Unnumbered("c", made.id)

    def test_blanks_at_the_end_in_checks(self, backend: DatabaseBackend) -> None:
        """MySQL compares without them, whatever the column's own check says."""
        insert, columns = backend.database.insert_many, ["id", "amount", "note", "label"]
        row = (infra.new_id(), 1, "", "never")
        assert conflict(lambda: insert("items", columns, [row])) == ("items_label_check", "check")
        tags: Any = backend.tags
        id = infra.new_id()
        if backend.engine == "mysql":
            insert("tags", ["id", "kind"], [(id, "worker  ")])
            assert tags.find_by_id(id).kind == "worker  "
            refused = "never "
        else:
            refused = "worker  "
        assert conflict(lambda: insert("tags", ["id", "kind"], [(infra.new_id(), refused)])) == (
            "tags_kind_check",
            "check",
        )

    def test_insert_many_reads_a_generator_in_batches(self, backend: DatabaseBackend) -> None:
        """It may query the same database while it is read."""

        def rows() -> Iterator[tuple[Any, ...]]:
            for number in range(12_000):
                if number % 6000 == 0:
                    assert backend.owners.count() == 0
                yield infra.new_id(), number, "note"

        assert backend.database.insert_many("items", ("id", "amount", "note"), rows()) == 12_000
        assert backend.items.count() == 12_000

    def test_insert_many_is_all_or_nothing(self, backend: DatabaseBackend) -> None:
        def rows(last: Any) -> Iterator[tuple[Any, ...]]:
            for number in range(6000):
                yield infra.new_id(), number, "note"
            if isinstance(last, Exception):
                raise last
            yield last

        insert, columns = backend.database.insert_many, ["id", "amount", "note"]
        assert conflict(lambda: insert("items", columns, rows((infra.new_id(), -1, "note")))) == (
            "items_amount_check",
            "check",
        )
        with pytest.raises(Cancelled):
            insert("items", columns, rows(Cancelled()))
        for bad in [
            (infra.new_id(), 1),
            (infra.new_id(), 1, "nul\0"),
            (infra.new_id(), 1, "\udfff"),
            (object(), 1, ""),
        ]:
            with pytest.raises(infra.ValidationError):
                insert("items", columns, rows(bad))
        with pytest.raises(infra.DatabaseError):
            insert("items", columns, rows((infra.new_id(), 1, "longer than ten")))
        with pytest.raises(infra.ValidationError):
            insert(
                "items",
                ["id", "amount", "note", "seen_at"],
                [(infra.new_id(), 1, "", datetime(2026, 1, 1))],
            )
        assert backend.items.count() == 0

    def test_insert_many_in_a_transaction(self, backend: DatabaseBackend) -> None:
        insert = backend.database.insert_many
        with backend.database.transaction():
            assert insert("owners", ["id", "name"], [(infra.new_id(), "a")]) == 1
            with pytest.raises(infra.ConflictError):
                insert("owners", ["id", "name"], [(infra.new_id(), "b"), (infra.new_id(), "a")])
            assert insert("owners", ["id", "name"], [(infra.new_id(), "c")]) == 1
        assert names(backend) == ["a", "c"]

    def test_insert_many_of_nothing(self, backend: DatabaseBackend) -> None:
        assert backend.database.insert_many("owners", ["id", "name"], []) == 0
        assert backend.database.insert_many("owners", ["id", "name"], iter(())) == 0

    @pytest.mark.parametrize(
        ("table", "columns", "rows"),
        [
            ("owners; DROP TABLE owners", ["id"], [(1,)]),
            ('own"ers', ["id"], [(1,)]),
            ("owners", ["id", "name) VALUES"], [(1, 2)]),
            ("owners", [], [()]),
            ("owners", "id", [(1,)]),
            ("owners", ["id", "name"], "ab"),
            ("owners", ["id", "name"], 5),
            ("owners", ["id", "name"], [(1,)]),
            ("owners", ["id", "name"], [(1, 2, 3)]),
            ("owners", ["id", "id"], [(1, 2)]),
            ("owners", ["id", "name"], [{"id": 1, "name": "a"}]),
            ("owners", ["id", "name"], [{1, 2}]),
            ("owners", ["id", "name"], ["ab"]),
            ("owners", ["id", "name"], [None]),
            (5, ["id"], [(1,)]),
        ],
    )
    def test_insert_many_refuses(
        self, backend: DatabaseBackend, table: Any, columns: Any, rows: Any
    ) -> None:
        with pytest.raises(infra.ValidationError) as caught:
            backend.database.insert_many(table, columns, rows)
        assert (caught.value.service, caught.value.operation) == (backend.engine, "insert_many")
        assert backend.owners.count() == 0

    def test_insert_many_into_what_is_not_there(self, backend: DatabaseBackend) -> None:
        for table, column in (("nowhere", "id"), ("owners", "nothing")):
            name = "nowhere" if table == "nowhere" else "nothing"
            words = f'knows no table or column of that name .*: "{name}"'
            with pytest.raises(infra.DatabaseError, match=words):
                backend.database.insert_many(table, [column], [("x",)])

    # --- SQL

    def test_a_fake_runs_no_sql(self, backend: DatabaseBackend) -> None:
        """It says what to do instead, in a block too. A wrong argument is refused first."""
        database, label = backend.database, "label = 'a'"
        backend.items.create(Item(amount=1, label="a"))
        calls: dict[str, tuple[Callable[[], Any], Any]] = {
            "execute": (lambda: database.execute(f"UPDATE items SET amount = 2 WHERE {label}"), 1),
            "fetch_one": (lambda: database.fetch_one("SELECT amount FROM items"), (2,)),
            "fetch_all": (
                lambda: database.fetch_all("SELECT amount, label FROM items"),
                [(2, "a")],
            ),
            "stream": (lambda: [*database.stream("SELECT amount FROM items")], [(2,)]),
        }
        for operation, (call, expected) in calls.items():
            with pytest.raises(infra.ValidationError):
                getattr(database, operation)("")
            if not isinstance(database, fakes.FakeDatabase):
                assert call() == expected
                continue
            with pytest.raises(infra.ConfigurationError) as caught:
                call()
            assert (caught.value.service, caught.value.operation) == (backend.engine, operation)
            assert str(caught.value) == (
                "a FakeDatabase runs no SQL: give the statement a method of a repository, and the "
                "fake one of its own"
            )
        if isinstance(database, fakes.FakeDatabase):
            with database.transaction():
                with pytest.raises(infra.ConfigurationError):
                    database.execute("DELETE FROM items")
                assert backend.items.count() == 1  # the block goes on

    def test_rows_as_dicts_and_dataclasses(self, backend: DatabaseBackend) -> None:
        database = backend.database
        for amount, label in enumerate("abc", 1):
            backend.items.create(Item(amount=amount, label=label))
        sql = "SELECT label, amount FROM items WHERE amount < %s ORDER BY amount"
        assert database.fetch_one(sql, [9]) == ("a", 1)
        assert database.fetch_one(sql, [9], into=dict) == {"label": "a", "amount": 1}
        assert database.fetch_one(sql, [9], into=Slotted) == Slotted(1, "a")
        assert database.fetch_one(sql, [9], into=None) == ("a", 1)
        into: Any
        for into in (dict, Slotted, None):
            assert database.fetch_one(sql, [0], into=into) is None
            assert database.fetch_all(sql, [0], into=into) == []
            assert [*database.stream(sql, [0], into=into)] == []
        dicts = [{"label": "a", "amount": 1}, {"label": "b", "amount": 2}]
        slotted = [Slotted(1, "a"), Slotted(2, "b"), Slotted(3, "c")]
        assert database.fetch_all(sql, [3], into=dict) == dicts
        assert database.fetch_all(sql, [9], into=Slotted) == slotted
        for size in (1, 2, 3, 4):
            assert [*database.stream(sql, [3], size, into=dict)] == dicts
            assert [*database.stream(sql, [9], batch_size=size, into=Slotted)] == slotted
        assert database.stats().in_use == 0

    def test_a_dataclass_takes_the_columns_by_name(self, backend: DatabaseBackend) -> None:
        database, row = backend.database, "FROM owners"
        backend.owners.create(Owner("a"))
        named = database.fetch_one(f"SELECT name {row}", into=Labelled)
        assert named == Labelled("a", None, [])
        both = database.fetch_all(f"SELECT 'x' AS label, name {row}", into=Labelled)
        assert both == [Labelled("a", "x")]
        doubled = database.fetch_one(f"SELECT 2 AS factor, 4 AS amount {row}", into=Doubled)
        assert doubled is not None
        assert doubled.total == 8
        own = database.fetch_one(f"SELECT name {row}", into=OwnInit)
        assert (own, vars(own)["initial"]) == (OwnInit("a"), "a")

    def test_columns_that_do_not_fit(self, backend: DatabaseBackend) -> None:
        """The error names the column. The statement has run, and a block goes on."""
        database = backend.database
        backend.owners.create(Owner("a secret"))
        unknown, missing = "got an unexpected keyword argument", "missing a required argument"
        cases: list[tuple[str, Any, str]] = [
            ("name, name", dict, 'two columns are called "name": rename one of them with AS'),
            ("name, id, name", Named, 'two columns are called "name": rename one of them with AS'),
            ("name, 1 AS age", Named, f"the columns do not fit Named: {unknown} 'age'"),
            ("id AS label", Labelled, f"the columns do not fit Labelled: {missing}: 'name'"),
            (
                "4 AS amount, 2 AS factor, 8 AS total",
                Doubled,
                f"the columns do not fit Doubled: {unknown} 'total'",
            ),
            ("4 AS amount", Doubled, f"the columns do not fit Doubled: {missing}: 'factor'"),
        ]
        calls: dict[str, Callable[[str, Any], Any]] = {
            "fetch_one": lambda sql, into: database.fetch_one(sql, into=into),
            "fetch_all": lambda sql, into: database.fetch_all(sql, into=into),
            "stream": lambda sql, into: next(database.stream(sql, into=into)),
        }
        for columns, into, message in cases:
            for operation, call in calls.items():
                for condition in ("", "WHERE 1 = 0"):
                    with pytest.raises(infra.SerializationError) as caught:
                        call(f"SELECT {columns} FROM owners {condition}", into)
                    assert str(caught.value) == message
                    error = caught.value
                    assert (error.service, error.operation) == (backend.engine, operation)
                    assert error.__context__ is None or error.__suppress_context__
        with database.transaction():
            backend.owners.create(Owner("b"))
            with pytest.raises(infra.SerializationError):
                database.fetch_all("SELECT name, name FROM owners", into=dict)
        assert names(backend) == ["a secret", "b"]
        assert database.stats().in_use == 0

    def test_an_exception_of_the_dataclass(self, backend: DatabaseBackend) -> None:
        """It reaches the caller. The rows before it were yielded."""
        database = backend.database
        for amount in (1, 2, 3):
            backend.items.create(Item(amount=amount))
        sql = "SELECT amount FROM items ORDER BY amount"
        assert database.fetch_one(sql, into=Choosy) == Choosy(1)
        with pytest.raises(Cancelled):
            database.fetch_all(sql, into=Choosy)
        rows = database.stream(sql, into=Choosy)
        assert next(rows) == Choosy(1)
        with pytest.raises(Cancelled):
            next(rows)
        with database.transaction():
            with pytest.raises(Cancelled):
                database.fetch_all(sql, into=Choosy)
            backend.items.create(Item(amount=4))
        assert amounts(backend) == [1, 2, 3, 4]
        assert database.stats().in_use == 0

    def test_into_is_checked_before_the_statement(self, backend: DatabaseBackend) -> None:
        backend.owners.create(Owner("a"))
        sql, database = "DELETE FROM owners", backend.database
        wrong: Any
        for wrong in (1, "dict", [], {}, int, tuple, Pair, Tree, Named("a"), Named.__init__, True):
            calls: list[Callable[[Any], Any]] = [
                lambda into: database.fetch_one(sql, into=into),
                lambda into: database.fetch_all(sql, into=into),
                lambda into: database.stream(sql, into=into),
            ]
            for call in calls:
                with pytest.raises(
                    infra.ValidationError, match="into should be a dataclass, or dict"
                ):
                    call(wrong)
        assert names(backend) == ["a"]

    def test_a_statement_without_rows(self, backend: DatabaseBackend) -> None:
        database = backend.database
        for into in (None, dict, Named):
            fetch_one: Any = functools.partial(database.fetch_one, into=into)
            fetch_all: Any = functools.partial(database.fetch_all, into=into)
            backend.owners.create(Owner("a"))
            assert fetch_one("UPDATE owners SET name = 'b'") is None
            assert names(backend) == ["b"]
            assert fetch_all("DELETE FROM owners") == []
            assert names(backend) == []

    # --- the rest

    def test_health_and_stats(self, backend: DatabaseBackend) -> None:
        found = backend.database.health_check()
        assert found.service == backend.engine
        assert found.latency >= 0
        before = backend.database.stats()
        assert before.in_use == before.waiting == 0
        if isinstance(backend.database, fakes.FakeDatabase):
            assert before.max_connections is None  # no limit
        else:
            assert (before.max_connections or 0) >= 1
        with backend.database.transaction():
            assert backend.database.stats().in_use == 1
            assert backend.database.health_check().server == found.server
        assert backend.database.stats().in_use == 0

    def test_close(self, backend: DatabaseBackend) -> None:
        database = backend.database
        database.close()
        database.close()
        calls: list[Callable[[], Any]] = [
            lambda: backend.owners.create(Owner("a")),
            lambda: database.run(lambda: None),
            lambda: database.insert_many("owners", ["id", "name"], [(infra.new_id(), "a")]),
            database.health_check,
        ]
        for call in calls:
            with pytest.raises(infra.ConnectionError, match="closed") as caught:
                call()
            assert caught.value.retryable is False
        with pytest.raises(infra.ConnectionError), database.transaction():
            pass

    def test_close_inside_a_transaction(self, backend: DatabaseBackend) -> None:
        """A connection in use outlives it: the block is finished first."""
        database = backend.database
        with database.transaction():
            backend.owners.create(Owner("a"))
            database.close()
            with database.transaction():
                backend.owners.create(Owner("b"))
            with pytest.raises(Cancelled), database.transaction():
                backend.owners.create(Owner("c"))
                raise Cancelled
            assert database.run(lambda: backend.owners.create(Owner("d"))).name == "d"
            assert database.insert_many("owners", ["id", "name"], [(infra.new_id(), "e")]) == 1
            assert names(backend) == ["a", "b", "d", "e"]
        with pytest.raises(infra.ConnectionError, match="closed"):
            backend.owners.count()


WITHOUT_SQL = dict.fromkeys(
    (
        "test_rows_as_dicts_and_dataclasses",
        "test_a_dataclass_takes_the_columns_by_name",
        "test_columns_that_do_not_fit",
        "test_an_exception_of_the_dataclass",
        "test_a_statement_without_rows",
    ),
    "a FakeDatabase runs no SQL",
)


class TestFakeMySQL(DatabaseContract):
    differs = WITHOUT_SQL
    backend = on_fake_database("mysql")


class TestFakeMariaDB(DatabaseContract):
    differs = WITHOUT_SQL
    backend = on_fake_database("mariadb")


class TestFakePostgres(DatabaseContract):
    differs = WITHOUT_SQL
    backend = on_fake_database("postgres")


class TestMariaDB(DatabaseContract):
    backend = on_real_database("mariadb")


class TestMySQL(DatabaseContract):
    backend = on_real_database("mysql")


class TestPostgres(DatabaseContract):
    backend = on_real_database("postgres")


class TestPostgres18(DatabaseContract):
    backend = on_real_database("postgres-18")
