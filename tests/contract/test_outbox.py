"""The contract of Outbox and Inbox, on each database and on the fake."""

from __future__ import annotations

import collections
import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

import fakes
import infra
from tests.contract.backends import WAIT, ShiftedClock, eventually, in_background, in_threads
from tests.contract.base import Contract
from tests.contract.databases import empty, migrated
from tests.contract.test_event_bus import note
from tests.contract.test_event_stream import Worker

TABLES = "infra_outbox", "infra_outbox_leases", "infra_inbox"


class Target(fakes.FakeEventStream):
    """A stream that keeps what is forwarded to it, and calls ``before`` each time."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[str, str, str]] = []  # channel, id, note
        self.before: Callable[[], object] = lambda: None

    def _forward(self, channel: str, written: Any) -> None:
        self.before()
        for id, text in written:
            message = infra.Message(channel, None, text)
            assert message.id == id
            said = message.deserialize(infra.SystemEvent.CacheCleared).pattern
            self.sent.append((channel, id, said))

    @property
    def notes(self) -> list[str]:
        return [said for _, _, said in self.sent]


@dataclass(frozen=True)
class Row:
    id: int


class Rows(infra.Repository[Row]):
    record, table, resource = Row, "infra_outbox", "row"


@dataclass
class OutboxBackend:
    """``spare`` gives another connection to the database, and what cuts it and mends it."""

    database: infra.Database
    spare: Callable[[], tuple[infra.Database, Callable[[], None], Callable[[], None]]]
    clock: Any = field(default_factory=ShiftedClock)

    def outbox(self, **options: Any) -> infra.Outbox:
        return infra.Outbox(self.database, clock=self.clock, **options)

    def wait(self, seconds: float) -> None:
        if isinstance(self.clock, ShiftedClock):
            self.clock.ahead += seconds
        else:
            self.clock.advance(seconds)


class OutboxContract(Contract):
    port = infra.Outbox

    def test_what_is_committed_is_sent_once(self, backend: OutboxBackend) -> None:
        outbox, target = backend.outbox(), Target()
        with backend.database.transaction():
            one = outbox.add("orders", note("é日本🎉"))
            two = outbox.add("bills", note("2"), key="7")
        assert outbox.unsent() == 2
        assert outbox.relay(target, once=True) == 2
        assert sorted(target.sent) == [("bills", two, "2"), ("orders", one, "é日本🎉")]
        assert outbox.unsent() == 0
        assert outbox.relay(target, once=True) == 0
        assert len(target.sent) == 2

    def test_what_is_rolled_back_is_never_sent(self, backend: OutboxBackend) -> None:
        outbox, target = backend.outbox(), Target()
        with pytest.raises(ZeroDivisionError), backend.database.transaction():
            outbox.add("orders", note("1"))
            raise ZeroDivisionError
        assert outbox.relay(target, once=True) == 0
        assert target.sent == []

    def test_outside_a_transaction(self, backend: OutboxBackend) -> None:
        outbox, target = backend.outbox(), Target()
        outbox.add("orders", note("1"))
        assert outbox.relay(target, once=True) == 1

    def test_a_key_keeps_its_order(self, backend: OutboxBackend) -> None:
        outbox, target = backend.outbox(), Target()
        for number in range(60):
            with backend.database.transaction():
                outbox.add("ab"[number % 2], note(number), key=f"order {number % 3}")
        assert outbox.relay(target, batch=7, once=True) == 60
        for key in range(3):
            mine = [int(said) for said in target.notes if int(said) % 3 == key]
            assert mine == sorted(mine)

    def test_a_target_that_fails(self, backend: OutboxBackend) -> None:
        outbox, target = backend.outbox(), Target()
        for number in range(3):
            outbox.add(f"c{number}", note(number), key="a")

        def fail() -> None:
            if len(target.sent) == 1:
                raise infra.MessagingError("the answer was lost", outcome="unknown")

        target.before = fail
        with pytest.raises(infra.MessagingError):
            outbox.relay(target, once=True)
        assert (target.notes, outbox.unsent()) == (["0"], 2)
        target.before = lambda: None
        assert outbox.relay(target, once=True) == 2
        assert target.notes == ["0", "1", "2"]

    def test_a_running_relay_tries_again(self, backend: OutboxBackend) -> None:
        outbox, target, calls = backend.outbox(), Target(), list[int]()
        outbox.POLL = 0.001

        def fail_twice() -> None:
            calls.append(1)
            if len(calls) <= 2:
                raise infra.ConnectionError("down")
            outbox.stop()

        target.before = fail_twice
        outbox.add("orders", note("1"))
        assert outbox.relay(target) == 1
        assert (target.notes, len(calls)) == (["1"], 3)

    def test_stop_ends_a_relay(self, backend: OutboxBackend) -> None:
        outbox, target = backend.outbox(), Target()
        outbox.POLL = 0.001
        join = in_background(lambda: outbox.relay(target))
        outbox.add("orders", note("1"))
        eventually(lambda: target.sent)
        outbox.stop()
        assert join() == 1

    def test_several_relays(self, backend: OutboxBackend) -> None:
        outboxes, target = [backend.outbox() for _ in range(3)], Target()
        keys = collections.defaultdict[int, list[int]](list)

        def work(number: int) -> object:
            if number < 3:
                outboxes[number].POLL = 0.001
                return outboxes[number].relay(target, batch=4)
            for turn in range(25):
                with backend.database.transaction():
                    outboxes[0].add("orders", note(f"{number} {turn}"), key=str(number))
            return None

        joins = [in_background(lambda number=number: work(number)) for number in range(6)]  # type: ignore[misc]
        assert [join() for join in joins[3:]] == [None] * 3
        eventually(lambda: len(target.sent) >= 75 and outboxes[0].unsent() == 0)
        for outbox in outboxes:
            outbox.stop()
        assert sum(join() for join in joins[:3]) == 75
        for said in target.notes:
            number, turn = map(int, said.split())
            keys[number].append(turn)
        assert keys == {3: [*range(25)], 4: [*range(25)], 5: [*range(25)]}

    def test_a_dead_relay_is_replaced(self, backend: OutboxBackend) -> None:
        outbox, dead, heir = backend.outbox(lease=5), Target(), Target()
        database, cut, mend = backend.spare()
        outbox.add("c", note("1"), key="a")
        outbox.add("c", note("2"), key="a")
        dead.before = cut
        with pytest.raises(infra.ConnectionError):
            infra.Outbox(database, clock=backend.clock, lease=5).relay(dead, once=True)
        mend()
        assert (dead.notes, outbox.unsent()) == (["1", "2"], 2)
        looks = list[float]()
        began = backend.clock.monotonic()
        outbox.POLL = 0.001
        sleep = type(backend.clock).sleep

        def watch(seconds: float) -> None:
            looks.append(backend.clock.monotonic() - began)
            backend.wait(1)

        backend.clock.sleep = watch
        assert outbox.relay(heir, once=True) == 2
        backend.clock.sleep = sleep.__get__(backend.clock)
        assert heir.notes == ["1", "2"]
        assert 4 <= looks[-1] <= 10

    def test_a_relay_that_is_too_slow_marks_nothing(self, backend: OutboxBackend) -> None:
        outbox, slow, quick = backend.outbox(lease=5), Target(), Target()
        outbox.add("c", note("1"), key="a")
        other = backend.outbox(lease=5)
        other.POLL = 0.001

        def overtake() -> None:
            slow.before = lambda: None
            backend.clock.sleep = lambda seconds: backend.wait(1)
            assert other.relay(quick, once=True) == 1

        slow.before = overtake
        assert outbox.relay(slow, once=True) == 0
        assert (quick.notes, slow.notes) == (["1"], ["1"])
        assert outbox.unsent() == 0

    def test_sent_events_are_deleted_later(self, backend: OutboxBackend) -> None:
        outbox, target = backend.outbox(keep=100), Target()
        events = Rows.on(backend.database)
        outbox.add("orders", note("1"))
        outbox.relay(target, once=True)
        assert events.count() == 1
        backend.wait(99)
        outbox.relay(target, once=True)
        assert events.count() == 1
        backend.wait(2)
        outbox.add("orders", note("2"))
        outbox.relay(target, once=True)
        assert events.count() == 1
        assert target.notes == ["1", "2"]

    def test_to_a_bus(self, backend: OutboxBackend) -> None:
        outbox, bus, worker = backend.outbox(), fakes.FakeEventBus(prefix="p:"), Worker()
        bus.subscribe("orders", worker)
        id = outbox.add("orders", note("1"))
        assert outbox.relay(bus, once=True) == 1
        assert [message.id for message in worker.messages] == [id]

    def test_bad_values(self, backend: OutboxBackend) -> None:
        outbox, wrong = backend.outbox(), None
        calls: list[tuple[str, Callable[[], object]]] = [
            ("channel", lambda: outbox.add("", note(1))),
            ("channel", lambda: outbox.add("c" * 256, note(1))),
            ("event", lambda: outbox.add("c", wrong)),  # type: ignore[arg-type]
            ("key", lambda: outbox.add("c", note(1), key=5)),  # type: ignore[arg-type]
            ("target", lambda: outbox.relay(wrong)),  # type: ignore[arg-type]
            ("batch", lambda: outbox.relay(Target(), batch=0)),
            ("once", lambda: outbox.relay(Target(), once=wrong)),  # type: ignore[arg-type]
        ]
        for name, call in calls:
            with pytest.raises(infra.ValidationError, match=name):
                call()
        with pytest.raises(infra.ValidationError, match="relay"), backend.database.transaction():
            outbox.relay(Target(), once=True)
        options: list[dict[str, Any]] = [{"lease": 0}, {"keep": -1}, {"clock": 5}]
        for bad in options:
            with pytest.raises(infra.ConfigurationError, match=next(iter(bad))):
                infra.Outbox(backend.database, **bad)
        assert outbox.unsent() == 0


class InboxContract(Contract):
    port = infra.Inbox

    def test_a_message_is_first_once(self, backend: OutboxBackend) -> None:
        inbox = infra.Inbox(backend.database, clock=backend.clock)
        found = []
        for group, id in [("a", "1"), ("a", "1"), ("b", "1"), ("a", "2"), ("a", "É"), ("a", "é")]:
            with backend.database.transaction():
                found.append(inbox.first(group, id))
        assert found == [True, False, True, True, True, True]

    def test_twice_in_one_transaction(self, backend: OutboxBackend) -> None:
        inbox = infra.Inbox(backend.database)
        with backend.database.transaction():
            assert [inbox.first("a", "1"), inbox.first("a", "1")] == [True, False]

    def test_a_rollback_forgets(self, backend: OutboxBackend) -> None:
        inbox = infra.Inbox(backend.database)
        with pytest.raises(ZeroDivisionError), backend.database.transaction():
            assert inbox.first("a", "1")
            raise ZeroDivisionError
        with backend.database.transaction():
            assert inbox.first("a", "1")

    def test_one_of_many_threads(self, backend: OutboxBackend) -> None:
        inbox, effects = infra.Inbox(backend.database), list[int]()

        def handle(number: int) -> bool:
            with backend.database.transaction():
                is_first = inbox.first("a", "1")
                if is_first:
                    effects.append(number)
                return is_first

        found = in_threads(8, handle)
        assert sorted(found) == [False] * 7 + [True]
        assert len(effects) == 1

    def test_old_entries(self, backend: OutboxBackend) -> None:
        inbox = infra.Inbox(backend.database, clock=backend.clock)
        with backend.database.transaction():
            inbox.first("a", "1")
        backend.wait(60)
        with backend.database.transaction():
            inbox.first("a", "2")
        assert inbox.forget(30) == 1
        with backend.database.transaction():
            assert [inbox.first("a", "1"), inbox.first("a", "2")] == [True, False]

    def test_bad_values(self, backend: OutboxBackend) -> None:
        inbox = infra.Inbox(backend.database)
        with pytest.raises(infra.ValidationError, match="transaction"):
            inbox.first("a", "1")
        wrong: list[tuple[Any, Any]] = [
            ("a", None),
            ("", "1"),
            ("a", ""),
            (5, "1"),
            ("a", "1" * 256),
        ]
        for group, id in wrong:
            with pytest.raises(infra.ValidationError), backend.database.transaction():
                inbox.first(group, id)
        with pytest.raises(infra.ValidationError, match="older"):
            inbox.forget(-1)


def on_fake(dialect: str) -> Any:
    @pytest.fixture
    def backend(self: object) -> OutboxBackend:
        clock = fakes.FakeClock()
        database = fakes.FakeDatabase(dialect, fakes.MYSQL_TABLES, clock=clock)
        down = functools.partial(setattr, database, "down")
        ways = functools.partial(down, True), functools.partial(down, False)
        return OutboxBackend(database, lambda: (database, *ways), clock)

    return backend


def on_real(name: str) -> Any:
    @pytest.fixture
    def backend(self: object, database: Callable[[str], str]) -> Iterator[OutboxBackend]:
        url = migrated(database, name)
        config = infra.DatabaseConfig(url=url)
        with infra.create_pool(config) as pool, infra.create_pool(config) as spare:
            empty(pool, *TABLES)
            yield OutboxBackend(pool, lambda: (spare, spare.close, lambda: None))

    return backend


class TestFakeMySQL(OutboxContract):
    backend = on_fake("mysql")


class TestFakePostgres(OutboxContract):
    backend = on_fake("postgres")


class TestMariaDB(OutboxContract):
    backend = on_real("mariadb")


class TestMySQL(OutboxContract):
    backend = on_real("mysql")


class TestPostgres(OutboxContract):
    backend = on_real("postgres")


class TestFakeInboxMySQL(InboxContract):
    backend = on_fake("mysql")


class TestFakeInboxPostgres(InboxContract):
    backend = on_fake("postgres")


class TestInboxMariaDB(InboxContract):
    backend = on_real("mariadb")


class TestInboxMySQL(InboxContract):
    backend = on_real("mysql")


class TestInboxPostgres(InboxContract):
    backend = on_real("postgres")


@pytest.mark.parametrize("name", ["mariadb", "mysql", "postgres"])
def test_a_slow_transaction(name: str, database: Callable[[str], str]) -> None:
    """It commits after a later id: a relay that looks behind the last id would lose it.

    A fake has one write turn, so no transaction commits within another.
    """
    url = migrated(database, name)
    pool = infra.create_pool(infra.DatabaseConfig(url=url))
    empty(pool, *TABLES)
    outbox, target, go = infra.Outbox(pool), Target(), threading.Event()
    added = threading.Event()

    def slow() -> None:
        with pool.transaction():
            outbox.add("orders", note("slow"), key="a")
            added.set()
            assert go.wait(WAIT)

    join = in_background(slow)
    assert added.wait(WAIT)
    outbox.add("orders", note("fast"), key="b")
    assert outbox.relay(target, once=True) == 1
    go.set()
    assert join() is None
    assert outbox.relay(target, once=True) == 1
    assert target.notes == ["fast", "slow"]
    pool.close()
