"""Two threads that change one row, on the fake and on a real engine.

In the machine their steps alternate as drawn, and a step that has to wait is seen waiting: results,
errors and the row must agree. A server locks rows and the fake the whole database, so all steps
touch one row, and the machine leaves out what differs by design:

- A statement that fails may leave the row locked or not. So its transaction ends next, unless it
  held the lock before and the engine is MySQL.
- After an error Postgres and its fake give up the locks of the transaction at once. So no statement
  that may fail runs while another waits for it: either could come first then.
- Postgres runs checks, and compares the version, before it waits for the row. So a statement that
  has to wait is one that the committed row would accept.

In the other test both threads run freely, and no amount may be lost.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run

import fakes
import infra
from tests.contract.backends import WAIT, eventually, in_threads
from tests.contract.databases import dialect_of, empty
from tests.contract.test_keys import create
from tests.properties.parts import NOON, Part, Parts
from tests.scale import PROVE

THREADS = (0, 1)
THREAD = st.sampled_from(THREADS)
#: the threads that begin a transaction
BEGUN = st.sampled_from([(0, 1), (0, 1), (0,), (1,), ()])
AMOUNT = st.integers(-3, 5)
STOCK = st.integers(0, 9)
PRICE = st.sampled_from([Decimal(0), Decimal("1.50"), Decimal("9999.99")])
ON_PURPOSE = infra.ValidationError("on purpose")
ENDING = st.sampled_from([None, ON_PURPOSE])
#: the name of a step, and its argument
STEP = st.one_of(
    ENDING.map(lambda error: ("end_and_begin", error)),
    ENDING.map(lambda error: ("end_and_begin", error)),
    ENDING.map(lambda error: ("end", error)),
    st.just(("begin", None)),
    st.just(("get", None)),
    st.just(("lock", None)),
    STOCK.map(lambda stock: ("update", stock)),
    STOCK.map(lambda stock: ("upsert", stock)),
    AMOUNT.map(lambda amount: ("count", amount)),
    PRICE.map(lambda price: ("change", price)),
)
#: how many statements wait for another transaction: of the database, or of the whole MySQL server
WAITERS = {
    "mysql": "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'",
    "postgres": "SELECT 'waiting', count(*) FROM pg_stat_activity "
    "WHERE wait_event_type = 'Lock' AND datname = current_database()",
}


class Backend:
    """A database, and two threads that work on it."""

    def __init__(self, database: infra.Database, clock: infra.Clock) -> None:
        self.database = database
        self.parts = Parts.on(database, clock=clock)
        self._threads = [ThreadPoolExecutor(1) for _ in THREADS]
        self._blocks: list[Any] = [None, None]
        self.read: list[Part | None] = [None, None]  # the row as each thread has read it

    def start(self, thread: int, call: Callable[[Backend], Any]) -> Future[tuple[Any, ...]]:
        """Run the call in the thread, after those that it was given before."""
        return self._threads[thread].submit(self._outcome, call)

    def _outcome(self, call: Callable[[Backend], Any]) -> tuple[Any, ...]:
        try:
            return "answer", repr(call(self))
        except infra.ConflictError as error:
            return "conflict", error.kind, error.constraint, error.operation
        except infra.InfrastructureError as error:
            return "error", type(error), error.retryable, error.operation

    def get(self, thread: int, *, lock: bool = False) -> Part | None:
        self.read[thread] = self.parts.get(1, lock=lock)
        return self.read[thread]

    def update(self, thread: int, stock: int) -> Part:
        """Store what the thread has read, with another stock."""
        part = self.read[thread]
        assert part is not None
        return self.parts.update(replace(part, stock=stock))

    def begin(self, thread: int) -> None:
        block = self.database.transaction()
        block.__enter__()
        self._blocks[thread] = block

    def end(self, thread: int, error: Exception | None) -> None:
        block, self._blocks[thread] = self._blocks[thread], None
        block.__exit__(type(error) if error else None, error, None)

    def waiters(self) -> int:
        """Return how many statements wait for another transaction."""
        if isinstance(self.database, fakes.FakeDatabase):
            return self.database.stats().waiting
        assert isinstance(self.database, infra.ConnectionPool)
        found = self.database.fetch_one(WAITERS[self.database.engine])
        assert found is not None
        return int(found[1])

    def close(self) -> None:
        """Roll back what is open: the thread that waits gets its turn when the other has ended."""
        for thread in THREADS:
            self.start(thread, lambda b, thread=thread: b.abandon(thread))  # type: ignore[misc]
        for executor in self._threads:
            executor.shutdown()

    def abandon(self, thread: int) -> None:
        if self._blocks[thread] is not None:
            with contextlib.suppress(infra.InfrastructureError):
                self.end(thread, ON_PURPOSE)


@dataclass
class Waiting:
    thread: int
    outcomes: list[Future[tuple[Any, ...]]]  # of the fake, of the real one


class Machine(RuleBasedStateMachine):
    pool: infra.ConnectionPool  # of all examples, as the dialect
    dialect: str

    def __init__(self) -> None:
        super().__init__()
        empty(self.pool, "parts")
        self.clock = fakes.FakeClock(NOON)
        tables = [fakes.Table.of(Parts)]
        fake = fakes.FakeDatabase(self.dialect, tables, lock_timeout=6 * WAIT)
        self.backends = Backend(fake, self.clock), Backend(self.pool, self.clock)
        self.is_open = [False, False]
        self.holder: int | None = None  # the thread whose transaction has locked the row
        self.waiting: Waiting | None = None
        self.failed: int | None = None  # the thread whose transaction may hold the lock, or not

    @initialize(begun=BEGUN)
    def seed(self, begun: tuple[int, ...]) -> None:
        part = Part("a", 3, id=1)
        for backend in self.backends:
            backend.parts.create(part)
        for thread in begun:
            self.begin(thread)

    # --- steps

    def is_free(self, thread: int) -> bool:
        """Return whether the thread can take a step."""
        return (self.waiting is None or self.waiting.thread != thread) and self.failed != thread

    def committed(self) -> Part:
        part = self.backends[0].parts.get(1)
        assert part is not None
        return part

    def step(
        self,
        thread: int,
        call: Callable[[Backend], Any],
        accepts: Callable[[Part], bool] | None = None,
    ) -> bool:
        """Take a step on both and compare; return whether it succeeded.

        ``accepts`` says whether a row would accept the change; None: the step waits for nothing.
        """
        if not self.is_free(thread):
            return False
        locks = accepts is not None
        if accepts is not None and self.failed is not None:
            return False
        if accepts is not None and self.holder not in (thread, None):
            if accepts(self.committed()) and self.waiting is None:
                self.wait(thread, call)
            return False
        outcomes = [backend.start(thread, call) for backend in self.backends]
        return self.compare(thread, outcomes, locks=locks)

    def wait(self, thread: int, call: Callable[[Backend], Any]) -> None:
        """Take a step that waits for the other thread's transaction."""
        outcomes = [backend.start(thread, call) for backend in self.backends]
        for backend, outcome in zip(self.backends, outcomes):
            eventually(lambda b=backend, o=outcome: b.waiters() or o.done())  # type: ignore[misc]
        self.waiting = Waiting(thread, outcomes)
        self.still_waits()

    def still_waits(self) -> None:
        if self.waiting is not None:
            early = [outcome.result() for outcome in self.waiting.outcomes if outcome.done()]
            assert not early, f"it does not wait: {early}"

    def compare(self, thread: int, outcomes: list[Future[tuple[Any, ...]]], *, locks: bool) -> bool:
        """Compare the outcomes of a step, and note whether the thread holds the lock now."""
        fake, real = (outcome.result(WAIT) for outcome in outcomes)
        assert fake == real
        self.clock.advance(1)
        succeeded = bool(fake[0] == "answer")
        if locks and self.is_open[thread]:
            # An error that the server reports ends a transaction of Postgres, with its locks.
            is_stale = fake[0] == "conflict" and fake[2] == "parts_as_read"
            has_ended = self.dialect == "postgres" and not succeeded and not is_stale
            if succeeded:
                self.holder = thread
            elif has_ended or self.holder is None:
                self.holder, self.failed = None, thread
        return succeeded

    @rule(steps=st.lists(st.tuples(THREAD, STEP), min_size=2, max_size=6))
    def take(self, steps: list[tuple[int, tuple[str, Any]]]) -> None:
        """Take steps of both threads: of the other thread while one waits.

        They are one rule, because Hypothesis leaves rules out of an example: then none would end.
        """
        for thread, (name, value) in steps:
            waits = self.waiting is not None and self.waiting.thread == thread
            getattr(self, name)(1 - thread if waits else thread, value)

    def begin(self, thread: int, _: None = None) -> None:
        if not self.is_open[thread] and self.step(thread, lambda b: b.begin(thread)):
            self.is_open[thread] = True

    def can_end(self, thread: int) -> bool:
        return self.is_open[thread] and (self.waiting is None or self.waiting.thread != thread)

    def end_and_begin(self, thread: int, error: Exception | None) -> None:
        self.end(thread, error)
        self.begin(thread)

    def end(self, thread: int, error: Exception | None) -> None:
        if not self.can_end(thread):
            return
        self.still_waits()
        outcomes = [b.start(thread, lambda b: b.end(thread, error)) for b in self.backends]
        self.is_open[thread] = False
        if self.holder == thread:
            self.holder = None
        if self.failed == thread:
            self.failed = None
        self.compare(thread, outcomes, locks=False)
        if self.waiting is not None:
            waiting, self.waiting = self.waiting, None
            self.compare(waiting.thread, waiting.outcomes, locks=True)

    def get(self, thread: int, _: None) -> None:
        self.step(thread, lambda b: b.get(thread))

    def lock(self, thread: int, _: None) -> None:
        self.step(thread, lambda b: b.get(thread, lock=True), lambda part: self.is_open[thread])

    def update(self, thread: int, stock: int) -> None:
        read = self.backends[0].read[thread]
        if read is not None:
            revision = read.revision
            self.step(
                thread, lambda b: b.update(thread, stock), lambda part: part.revision == revision
            )

    def count(self, thread: int, amount: int) -> None:
        if self.waiting is not None and self.dialect == "postgres" and amount < 0:
            return  # an error would end the wait

        def accepts(part: Part) -> bool:
            return part.stock + amount >= 0

        self.step(thread, lambda b: b.parts.increment(1, "stock", amount), accepts)

    def change(self, thread: int, price: Decimal) -> None:
        self.step(thread, lambda b: b.parts.update_fields(1, price=price), lambda part: True)

    def upsert(self, thread: int, stock: int) -> None:
        part = Part("a", stock, id=1)
        self.step(thread, lambda b: b.parts.upsert(part), lambda stored: True)

    # --- the row

    @invariant()
    def committed_rows_agree(self) -> None:
        fake, real = (repr(backend.parts.select()) for backend in self.backends)
        assert fake == real

    def teardown(self) -> None:
        try:
            self.still_waits()
            for thread in sorted(THREADS, key=lambda thread: thread != self.holder):
                self.end(thread, None)
            self.committed_rows_agree()
        finally:
            for backend in self.backends:
                backend.close()


@pytest.mark.parametrize("name", ["mariadb", "mysql", "postgres", "postgres-18"])
def test_fake_and_real_agree(database: Callable[[str], str], name: str) -> None:
    with infra.create_pool(infra.DatabaseConfig(url=database(name))) as pool:
        create(pool, Parts)
        attributes = {"pool": pool, "dialect": dialect_of(pool)}
        machine = type("TwoThreadsMachine", (Machine,), attributes)
        run(machine, settings=settings(max_examples=2000 if PROVE else 10))


# --- both threads run freely


class PlainParts(Parts):
    """The same table without a version: nothing notices an update of a stale read."""

    version = ""


def increment(parts: Parts, amount: int) -> None:
    parts.increment(1, "stock", amount)


def lock_and_update(parts: Parts, amount: int) -> None:
    part = parts.get(1, lock=True)
    assert part is not None
    parts.update(replace(part, stock=part.stock + amount))


def read_and_update(parts: Parts, amount: int) -> None:
    """The version notices a change by the other thread."""
    part = parts.get(1)
    assert part is not None
    parts.update(replace(part, stock=part.stock + amount))


WAYS: dict[Any, list[Any]] = {
    PlainParts: [increment, lock_and_update],
    Parts: [increment, lock_and_update, read_and_update],
}


def plan(port: type[Parts]) -> st.SearchStrategy[Any]:
    """A class, and for each thread its changes, each by a way and an amount."""
    change = st.tuples(st.sampled_from(WAYS[port]), st.integers(-5, 9))
    changes = st.lists(change, min_size=1, max_size=8)
    return st.tuples(st.just(port), changes, changes)


PLAN = st.sampled_from([*WAYS]).flatmap(plan)


def check_sum(database: infra.Database, port: type[Parts], *changes: list[tuple[Any, int]]) -> None:
    """Make the changes of both threads at once. All have to be in the row at the end."""
    parts = port.on(database)
    parts.create(Part("a", 100, revision=1, id=1))

    def work(thread: int) -> None:
        for way, amount in changes[thread]:
            database.run(lambda way=way, amount=amount: way(parts, amount), conflicts=True)  # type: ignore[misc]

    assert in_threads(len(changes), work) == [None] * len(changes)
    part = parts.get(1)
    assert part is not None
    amounts = [amount for each in changes for _, amount in each]
    assert part.stock == 100 + sum(amounts)
    assert part.revision == (1 + len(amounts) if port.version else 1)


@pytest.mark.parametrize("interleave", [False, True])
@pytest.mark.parametrize("dialect", ["mysql", "postgres"])
def test_no_change_is_lost_on_a_fake(dialect: str, interleave: bool) -> None:
    @settings(max_examples=2000 if PROVE else 25)
    @given(plan=PLAN)
    def check(plan: Any) -> None:
        tables = [fakes.Table.of(Parts)]
        database = fakes.FakeDatabase(dialect, tables, lock_timeout=6 * WAIT, interleave=interleave)
        check_sum(database, *plan)

    check()


@pytest.mark.parametrize("name", ["mariadb", "mysql", "postgres", "postgres-18"])
def test_no_change_is_lost(database: Callable[[str], str], name: str) -> None:
    with infra.create_pool(infra.DatabaseConfig(url=database(name))) as pool:
        create(pool, Parts)

        @settings(max_examples=2000 if PROVE else 10)
        @given(plan=PLAN)
        def check(plan: Any) -> None:
            empty(pool, "parts")
            check_sum(pool, *plan)

        check()
