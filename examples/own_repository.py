"""Define a table of your own: one class for a database and a fake, and one contract for both.

With --real it also runs on the database of MYSQL_URL or POSTGRES_URL, in a new table "notes".
"""

import os
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout too

import fakes
import infra

MIGRATIONS = Path(__file__).with_name("notes.sql")  # written by infra.ddl


@dataclass(frozen=True)
class Note:
    title: str
    body: str = ""
    version: int = 1
    id: uuid.UUID = infra.FILLED
    created_at: datetime = infra.FILLED


class Notes(infra.Repository[Note]):
    """The table: its rules and methods hold on both backends.

    If two callers read a note, change it and store it, the second overwrites the first one's
    change, also in transactions, because a read locks nothing. So a note has a version: `update`
    refuses a note that has changed since it was read. The caller reads it again and repeats.
    """

    record, table, resource, lengths = Note, "notes", "note", {"title": 80}
    guarded = ("version",)
    unique = (("title",),)  # the name of the constraint is notes_title_key

    def find_by_title(self, title: str) -> Note | None:
        return self._first("find_by_title", self._checked({"title": title}))

    def update(self, record: Note) -> Note:
        """Raise ConflictError `notes_as_read` if the note has changed since it was read."""
        with self.database.transaction():
            stored = super().update(record)  # compares the version, and locks the row
            self._change("update", {"id": stored.id}, {"version": stored.version + 1})
        return replace(stored, version=stored.version + 1)

    def rename(self, old: str, new: str) -> Note:
        note = self.find_by_title(old)
        if note is None:
            raise infra.NotFoundError("no such note", resource="note")
        return self.update(replace(note, title=new))


TABLES = [fakes.Table.of(Notes)]


def contract(notes: Notes) -> None:
    """Assert what both do; a test suite has a case for each line."""
    note = notes.create(Note("Milk", "two litres"))
    assert notes.find_by_title("Milk") == notes.find_by_id(note.id) == note
    assert fails(lambda: notes.create(Note("Milk"))) == ("ConflictError", "notes_title_key")
    assert fails(lambda: notes.create(Note("x" * 81))) == ("ValidationError", None)
    assert fails(lambda: notes.rename("Bread", "Rolls")) == ("NotFoundError", None)
    assert notes.rename("Milk", "Oat milk") == notes.find_by_title("Oat milk")
    assert fails(lambda: notes.update(note)) == ("ConflictError", "notes_as_read")
    assert [each.body for each in notes.page().items] == ["two litres"]
    assert (notes.delete(note.id), notes.count()) == (True, 0)


def fails(call: Callable[[], Any]) -> tuple[str, str | None]:
    try:
        call()
    except infra.InfrastructureError as error:
        return type(error).__name__, getattr(error, "constraint", None)
    raise AssertionError("it should have failed")


if __name__ == "__main__":
    contract(Notes.on(fakes.FakeDatabase("mysql", TABLES)))
    if "--real" in sys.argv:
        url = os.environ.get("MYSQL_URL") or os.environ["POSTGRES_URL"]
        with infra.create_pool(infra.DatabaseConfig(url=url)) as pool:
            infra.Migrator(pool, MIGRATIONS).apply()
            assert fakes.compare(Notes, pool) == []  # the fake has the rules of the server
            contract(Notes.on(pool))
            pool.execute("DROP TABLE notes")
            pool.execute("DELETE FROM schema_migrations WHERE source = 'notes'")
    print("The contract holds.")
