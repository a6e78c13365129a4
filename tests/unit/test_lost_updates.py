"""examples/own_repository.py loses no update under concurrency; without its version it would."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

import fakes
import infra
from examples import own_repository
from examples.own_repository import Note, Notes
from tests.contract.backends import WAIT, in_threads

ENGINES = ["fake mysql", "fake postgres", "mariadb", "postgres"]


class NaiveNotes(infra.Repository[Note]):
    """The table without a guard: `update` overwrites what another caller has stored."""

    record, table, resource = Note, "notes", "note"


Pair = tuple[Notes, NaiveNotes]  # on the same table


@pytest.fixture(params=ENGINES)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    fake, _, engine = request.param.rpartition(" ")
    if fake:
        database = fakes.FakeDatabase(engine, own_repository.TABLES)
        yield Notes.on(database), NaiveNotes.on(database)
        return
    url = request.getfixturevalue("database")(engine)
    with infra.create_pool(infra.DatabaseConfig(url=url)) as pool:
        infra.Migrator(pool, own_repository.MIGRATIONS).apply()
        yield Notes.on(pool), NaiveNotes.on(pool)


def store_two_copies(notes: infra.Repository[Note]) -> tuple[list[object], Note]:
    """Read one note in two transactions, then let each store its change; return what happened."""
    note = notes.create(Note("Milk"))
    both_have_read = threading.Barrier(2)

    def add(letter: str) -> Note:
        with notes.database.transaction():
            read = notes.find_by_id(note.id)
            assert read is not None
            both_have_read.wait(WAIT)
            return notes.update(replace(read, body=read.body + letter))

    outcomes = in_threads(2, lambda number: add("ab"[number]))
    stored = notes.find_by_id(note.id)
    assert stored is not None
    return outcomes, stored


def test_without_a_version_an_update_is_lost(pair: Pair) -> None:
    outcomes, stored = store_two_copies(pair[1])
    assert [type(outcome) for outcome in outcomes] == [Note, Note]  # both believe that it is stored
    assert stored.body in ("a", "b")


def test_with_a_version_the_later_update_is_refused(pair: Pair) -> None:
    notes, _ = pair
    outcomes, stored = store_two_copies(notes)
    (refused,) = [outcome for outcome in outcomes if isinstance(outcome, infra.ConflictError)]
    (kept,) = [outcome for outcome in outcomes if isinstance(outcome, Note)]
    assert refused.constraint == "notes_as_read"
    assert stored == kept
    assert (stored.body in ("a", "b"), stored.version) == (True, 2)
    again = notes.update(replace(stored, body=stored.body + "ab".replace(stored.body, "")))
    assert (sorted(again.body), again.version) == (["a", "b"], 3)


def test_two_threads_that_read_again_lose_nothing(pair: Pair) -> None:
    notes, _ = pair
    id = notes.create(Note("Milk")).id

    def add(letter: str) -> None:
        added = 0
        while added < 20:
            note = notes.find_by_id(id)
            assert note is not None
            try:
                notes.update(replace(note, body=note.body + letter))
                added += 1
            except infra.ConflictError as error:
                if error.constraint != "notes_as_read":
                    raise

    assert in_threads(2, lambda number: add("ab"[number])) == [None, None]
    stored = notes.find_by_id(id)
    assert stored is not None
    assert sorted(stored.body) == ["a"] * 20 + ["b"] * 20
    assert stored.version == 41


def test_one_of_two_renames_is_refused(pair: Pair) -> None:
    """Whichever is first: the other finds no such note, or finds that it has changed."""
    notes, _ = pair
    notes.create(Note("Milk"))
    outcomes = in_threads(2, lambda number: notes.rename("Milk", f"Milk {number}"))
    (renamed,) = [outcome for outcome in outcomes if isinstance(outcome, Note)]
    (error,) = [outcome for outcome in outcomes if not isinstance(outcome, Note)]
    assert isinstance(error, (infra.NotFoundError, infra.ConflictError))
    assert notes.find_by_title(renamed.title) == renamed
    assert notes.count() == 1
