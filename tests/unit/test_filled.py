"""``FILLED``, the default of the fields that ``create`` fills, explains itself."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pytest

import fakes
import infra


@dataclass(frozen=True, order=True)
class Note:
    text: str
    id: uuid.UUID = infra.FILLED
    created_at: datetime = infra.FILLED


class Notes(infra.Repository[Note]):
    record = Note
    table = "notes"
    resource = "note"


class FakeNotes(fakes.Faults, fakes.FakeRepository[Note], Notes): ...


@pytest.fixture
def notes() -> Iterator[FakeNotes]:
    with fakes.FakeDatabase("postgres", [fakes.Table.of(Notes)]) as database:
        yield FakeNotes(database)


def test_it_says_what_it_is() -> None:
    assert repr(infra.FILLED) == str(infra.FILLED) == f"{infra.FILLED}" == "FILLED"
    assert repr(Note("a")) == "Note(text='a', id=FILLED, created_at=FILLED)"
    assert not infra.FILLED
    assert infra.FILLED != None  # noqa: E711 - it is not equal to it either


def test_it_is_one_object() -> None:
    filled = infra.FILLED
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(filled, protocol)) is filled  # noqa: S301
        assert pickle.loads(pickle.dumps(Note("a"), protocol)) == Note("a")  # noqa: S301
    assert copy.copy(filled) is copy.deepcopy(filled) is filled
    assert copy.deepcopy(Note("a")) == replace(Note("a")) == Note("a")
    assert dataclasses.asdict(Note("a")) == {"text": "a", "id": filled, "created_at": filled}
    assert len({Note("a"), Note("a"), Note("b")}) == 2


def test_an_attribute_says_what_to_do() -> None:
    note: Any = Note("a")
    for name in ("hex", "bytes", "no_such_name"):
        with pytest.raises(AttributeError) as caught:
            getattr(note.id, name)
        assert str(caught.value) == (
            f"no {name!r} yet: the repository fills this field; "
            "use the record that create() returns"
        )
        assert not hasattr(note.id, name)
    with pytest.raises(AttributeError, match="no 'isoformat' yet"):
        note.created_at.isoformat()
    with pytest.raises(AttributeError):
        note.id.hex = "0"


def test_it_has_no_order_and_is_no_json() -> None:
    assert Note("a") < Note("b")
    with pytest.raises(TypeError, match="not supported between instances"):
        assert Note("a") < Note("a", infra.new_id())
    with pytest.raises(TypeError, match="not JSON serializable"):
        json.dumps({"id": Note("a").id})
    with pytest.raises(infra.SerializationError):
        fakes.FakeCacheProvider().set("note", {"id": Note("a").id})


def test_create_fills_it_and_none(notes: FakeNotes) -> None:
    absent: Any = None
    for note in (Note("a"), Note("a", absent, absent), Note("a", absent), Note("a", infra.FILLED)):
        made = notes.create(note)
        assert (type(made.id), type(made.created_at)) == (uuid.UUID, datetime)
        assert notes.find_by_id(made.id) == made
    assert notes.create(Note("b", made_id := infra.new_id())).id == made_id
    assert notes.count() == 5


def test_only_create_takes_it(notes: FakeNotes) -> None:
    made = notes.create(Note("a"))
    with pytest.raises(infra.ValidationError, match=r"id should be a uuid\.UUID"):
        notes.update(Note("b"))
    with pytest.raises(infra.ValidationError, match="created_at should be"):
        notes.update(Note("b", made.id))
    with pytest.raises(infra.ValidationError, match="text should be"):
        notes.create(Note(infra.FILLED))
    with pytest.raises(infra.ValidationError, match=r"id should be a uuid\.UUID"):
        notes.find_by_id(Note("a").id)
    assert notes.find_by_id(made.id) == made


def test_a_move_takes_it(notes: FakeNotes) -> None:
    """A record without an id is new; fields that ``create`` fills do not count as different."""
    source = infra.IterableSource([{"text": "a"}, {"text": "b"}])
    for on_conflict in ("skip", "error"):
        target = infra.RepositoryTarget(notes, on_conflict=on_conflict)
        move = infra.RowMove(
            on_conflict,
            source=source,
            target=target,
            transform=lambda row: Note(**row),
        )
        assert move.run(progress=False).counts.written == 2
    assert sorted(note.text for note in notes.page().items) == [*"aabb"]
    kept = Note("c", infra.new_id())
    move = infra.RowMove(
        "kept",
        source=infra.IterableSource([{"text": "c"}]),
        target=infra.RepositoryTarget(notes),
        transform=lambda row: kept,
    )
    move.run(progress=False)
    found = move.verify()
    assert (found.checked, found.different, found.missing) == (1, 0, 0)
