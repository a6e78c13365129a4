"""Two threads with outboxes and inboxes: what is committed is sent, in order, and has one effect.

The plans are random; the threads run freely, on the fake and on each database.
"""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fakes
import infra
from tests.contract.backends import in_threads
from tests.contract.databases import empty, migrated
from tests.contract.test_event_bus import note
from tests.contract.test_outbox import TABLES, Target
from tests.scale import scaled

#: of one thread: transactions of events, each by its key, and whether it is committed
PLAN = st.lists(
    st.tuples(st.lists(st.sampled_from(["a", "b"]), max_size=3), st.booleans()), max_size=5
)
#: of one thread: deliveries of messages, and whether the handler's transaction is committed
DELIVERIES = st.lists(st.tuples(st.sampled_from("123"), st.booleans()), max_size=6)
BATCH = st.integers(1, 4)
EXAMPLES = scaled(1000)


class OnPurpose(Exception):
    pass


def check_outbox(
    database: infra.Database, plans: list[list[tuple[list[str], bool]]], batch: int
) -> None:
    """Two writers and two relays at a time, then one that sends the rest."""
    outbox, target = infra.Outbox(database), Target()
    committed = collections.defaultdict[str, list[str]](list)

    def write(number: int) -> None:
        for turn, (keys, commits) in enumerate(plans[number]):
            with contextlib.suppress(OnPurpose), database.transaction():
                added = [
                    (f"{number}{key}", f"{number}{key} {turn} {at}") for at, key in enumerate(keys)
                ]
                for key, said in added:
                    outbox.add("c", note(said), key=key)
                if not commits:
                    raise OnPurpose
                for key, said in added:
                    committed[key].append(said)

    def work(number: int) -> None:
        if number < 2:
            write(number)
        else:
            infra.Outbox(database).relay(target, batch=batch, once=True)

    assert in_threads(4, work) == [None] * 4
    outbox.relay(target, batch=batch, once=True)
    sent = collections.defaultdict[str, list[str]](list)
    for said in target.notes:
        sent[said.partition(" ")[0]].append(said)
    assert sent == committed
    assert outbox.unsent() == 0


def check_inbox(database: infra.Database, plans: list[list[tuple[str, bool]]]) -> None:
    """Two threads handle the same messages; each has its effect once, if it was ever committed."""
    inbox, effects = infra.Inbox(database), list[str]()

    def work(number: int) -> None:
        for id, commits in plans[number]:
            while not handle(id, commits):
                pass  # it comes again

    def handle(id: str, commits: bool) -> bool:
        """Return whether the handler has returned: InnoDB may end one of two by a deadlock."""
        try:
            with database.transaction():
                is_first = inbox.first("g", id)
                if not commits:
                    raise OnPurpose
        except OnPurpose:
            return True
        except infra.DatabaseError as error:
            if not error.retryable:
                raise
            return False
        if is_first:
            effects.append(id)
        return True

    assert in_threads(2, work) == [None, None]
    assert sorted(effects) == sorted({id for plan in plans for id, commits in plan if commits})


def two(plan: st.SearchStrategy[list[object]]) -> st.SearchStrategy[list[list[object]]]:
    return st.lists(plan, min_size=2, max_size=2)


@pytest.mark.parametrize("dialect", ["mysql", "postgres"])
def test_an_outbox_on_the_fake(dialect: str) -> None:
    @settings(max_examples=EXAMPLES)
    @given(two(PLAN), BATCH)  # type: ignore[arg-type]
    def check(plans: list[list[tuple[list[str], bool]]], batch: int) -> None:
        check_outbox(fakes.FakeDatabase(dialect, fakes.MYSQL_TABLES), plans, batch)

    check()


@pytest.mark.parametrize("name", ["mariadb", "mysql", "postgres"])
def test_an_outbox(name: str, database: Callable[[str], str]) -> None:
    with infra.create_pool(infra.DatabaseConfig(url=migrated(database, name))) as pool:

        @settings(max_examples=EXAMPLES)
        @given(two(PLAN), BATCH)  # type: ignore[arg-type]
        def check(plans: list[list[tuple[list[str], bool]]], batch: int) -> None:
            empty(pool, *TABLES)
            check_outbox(pool, plans, batch)

        check()


@pytest.mark.parametrize("dialect", ["mysql", "postgres"])
def test_an_inbox_on_the_fake(dialect: str) -> None:
    @settings(max_examples=EXAMPLES)
    @given(two(DELIVERIES))  # type: ignore[arg-type]
    def check(plans: list[list[tuple[str, bool]]]) -> None:
        check_inbox(fakes.FakeDatabase(dialect, fakes.MYSQL_TABLES), plans)

    check()


@pytest.mark.parametrize("name", ["mariadb", "mysql", "postgres"])
def test_an_inbox(name: str, database: Callable[[str], str]) -> None:
    with infra.create_pool(infra.DatabaseConfig(url=migrated(database, name))) as pool:

        @settings(max_examples=EXAMPLES)
        @given(two(DELIVERIES))  # type: ignore[arg-type]
        def check(plans: list[list[tuple[str, bool]]]) -> None:
            empty(pool, *TABLES)
            check_inbox(pool, plans)

        check()
