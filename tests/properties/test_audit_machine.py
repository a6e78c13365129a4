"""An audit log on a fake and on each database: the same calls, and edits by hand, answer the same.

Two threads that append, record and seal lose nothing, on the fake and on each database.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import infra
from tests.contract.backends import in_threads
from tests.contract.databases import migrated
from tests.contract.test_audit import (
    ENTRIES,
    SEALS,
    AuditBackend,
    OrderRated,
    by_hand,
    fake_backend,
)
from tests.scale import scaled

SUBJECTS = st.sampled_from(["a", "b", "é", "A"])
VERSIONS = st.integers(0, 3)
IDS = st.integers(1, 8)
DATA = st.sampled_from([None, {}, {"é": [1.5, None]}, {"token": "t", "to": "+905321234567"}])
#: the name of a step, and its arguments
STEP = st.one_of(
    st.tuples(st.just("record"), SUBJECTS, DATA),
    st.tuples(st.just("append"), SUBJECTS, VERSIONS),
    st.tuples(st.just("rolled back"), SUBJECTS, VERSIONS),
    st.tuples(st.just("seal"), st.sampled_from([1, 2, 1000]), st.none()),
    st.tuples(st.just("verify"), st.integers(0, 3), st.none()),
    st.tuples(st.just("history"), SUBJECTS, st.none()),
    st.tuples(st.just("replay"), SUBJECTS, st.none()),
    st.tuples(st.just("entries"), IDS, st.integers(1, 3)),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 30, 120]), st.none()),
    st.tuples(
        st.just("change"),
        IDS,
        st.sampled_from([{"actor": "x"}, {"data": {"é": 2}}, {"subject": "c"}, {"version": 9}]),
    ),
    st.tuples(st.just("remove"), st.sampled_from([ENTRIES, SEALS]), IDS),
    st.tuples(st.just("insert"), IDS, st.sampled_from([0, 59, 60, 61, -61, 600])),
)
STEPS = st.lists(STEP, max_size=15)
EXAMPLES = scaled(1000)


class OnPurpose(Exception):
    pass


class Side:
    """A log on one backend, and the heads that it has returned."""

    def __init__(self, backend: AuditBackend) -> None:
        self.backend = backend
        self.log = backend.log(settle=60, batch=2)
        self.heads: list[str | None] = [None]

    def answer(self, name: str, one: Any, other: Any) -> object:
        """Do a step, and return what it answers, or the error's class and constraint."""
        try:
            return getattr(self, name.replace(" ", "_"))(one, other)
        except infra.InfrastructureError as error:
            return type(error).__name__, getattr(error, "constraint", None)

    def record(self, subject: str, data: Any) -> object:
        return self.log.record("user:1", "a", subject, data)

    def append(self, stream: str, version: int) -> object:
        return self.log.append(stream, OrderRated(version), version)

    def rolled_back(self, stream: str, version: int) -> None:
        with contextlib.suppress(OnPurpose), self.backend.database.transaction():
            self.log.append(stream, OrderRated(version), version)
            raise OnPurpose

    def seal(self, batch: int, _: None) -> object:
        self.log.BATCH = batch
        self.heads.append(self.log.seal())
        return self.plain(self.heads[-1])

    @staticmethod
    def plain(head: str | None) -> object:
        """Events have random ids, so two chains differ."""
        return head and head.partition(":")[0]

    def verify(self, at: int, _: None) -> object:
        report = self.log.verify(self.heads[-1 - at] if at < len(self.heads) else None)
        return report.checked, report.problem, report.entry_id, self.plain(report.head)

    def history(self, subject: str, _: None) -> object:
        return [(entry.id, entry.action, entry.version) for entry in self.log.history(subject)]

    def replay(self, stream: str, _: None) -> object:
        def fold(scores: list[int], message: infra.Message) -> list[int]:
            return [*scores, message.deserialize(OrderRated).score]

        return self.log.replay(stream, fold, list[int]())

    def entries(self, after: int, limit: int) -> object:
        return [(entry.id, entry.actor) for entry in self.log.entries(after, limit)]

    def wait(self, seconds: float, _: None) -> None:
        self.backend.clock.advance(seconds)

    def change(self, id: int, changes: dict[str, Any]) -> None:
        self.backend.change(ENTRIES, {"id": id}, changes)

    def remove(self, table: str, id: int) -> None:
        self.backend.remove(table, {"id" if table == ENTRIES else "position": id})

    def insert(self, id: int, age: int) -> None:
        at = self.backend.clock.now() - timedelta(seconds=age)
        self.backend.insert(ENTRIES, self.backend.row(id + 20, created_at=at))


def check_steps(fake: Side, real: Side, steps: list[tuple[str, Any, Any]]) -> None:
    for step in steps:
        assert fake.answer(*step) == real.answer(*step), step
    assert fake.verify(0, None) == real.verify(0, None)


def check_threads(backend: AuditBackend, plans: list[list[tuple[str, bool]]]) -> None:
    """Two writers, whose transactions commit or not, and two sealers."""
    log, committed = backend.log(batch=2, redact=None), list[str]()

    def write(stream: str, commits: bool) -> bool:
        version = log.replay(stream, lambda version, _: version + 1, 0)
        try:
            with backend.database.transaction():
                log.append(stream, OrderRated(version), version)
                log.record("a", "b", "c")
                if not commits:
                    raise OnPurpose
        except (infra.ConflictError, OnPurpose):
            return False
        committed.append(stream)
        return True

    def work(number: int) -> None:
        if number >= 2:
            for _ in range(3):
                log.seal()
            return
        for stream, commits in plans[number]:
            while not write(stream, commits) and commits:
                pass  # the other one was faster

    assert in_threads(4, work) == [None] * 4
    head = log.seal()
    assert head.startswith(f"{2 * len(committed)}:")
    assert log.verify(head).ok
    for stream in "ab":
        versions = [entry.version for entry in log.history(stream)]
        assert versions == [*range(1, committed.count(stream) + 1)]


PLANS = st.lists(
    st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=4), min_size=2, max_size=2
)


@pytest.mark.parametrize("dialect", ["mysql", "postgres"])
def test_two_threads_on_the_fake(dialect: str) -> None:
    @settings(max_examples=EXAMPLES)
    @given(PLANS)
    def check(plans: list[list[tuple[str, bool]]]) -> None:
        check_threads(fake_backend(dialect), plans)

    check()


@pytest.mark.parametrize("name", ["mariadb", "mysql", "postgres"])
def test_two_threads(name: str, database: Callable[[str], str]) -> None:
    with infra.create_pool(infra.DatabaseConfig(url=migrated(database, name))) as pool:

        @settings(max_examples=EXAMPLES)
        @given(PLANS)
        def check(plans: list[list[tuple[str, bool]]]) -> None:
            check_threads(by_hand(pool), plans)

        check()


@pytest.mark.parametrize("name", ["mariadb", "mysql", "postgres"])
def test_the_fake_answers_the_same(name: str, database: Callable[[str], str]) -> None:
    with infra.create_pool(infra.DatabaseConfig(url=migrated(database, name))) as pool:
        dialect = "mariadb" if name == "mariadb" else pool.engine

        @settings(max_examples=EXAMPLES)
        @given(STEPS)
        def check(steps: list[tuple[str, Any, Any]]) -> None:
            check_steps(Side(fake_backend(dialect)), Side(by_hand(pool)), steps)

        check()
