"""Define a table of your own: record, migration, repository, fake, and one contract for both.

With --real it also runs on the database of MYSQL_URL or POSTGRES_URL, in a new table "notes".
"""

import os
import sys
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout too

import fakes
import infra

MIGRATIONS = """
-- migration 1 notes mysql
CREATE TABLE notes (id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    title VARCHAR(80) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    body TEXT CHARACTER SET utf8mb4 NOT NULL, created_at DATETIME(6) NOT NULL,
    CONSTRAINT notes_title_key UNIQUE (title));
-- migration 1 notes postgres
CREATE TABLE notes (id UUID NOT NULL PRIMARY KEY, title VARCHAR(80) COLLATE "C" NOT NULL,
    body TEXT NOT NULL, created_at TIMESTAMPTZ NOT NULL, CONSTRAINT notes_title_key UNIQUE (title));
"""


@dataclass(frozen=True)
class Note:
    title: str
    body: str = ""
    id: uuid.UUID = infra.FILLED
    created_at: datetime = infra.FILLED


class Notes(infra.Repository[Note]):
    """The port: this code runs on both backends."""

    record, table, resource, lengths = Note, "notes", "note", {"title": 80}

    def find_by_title(self, title: str) -> Note | None:
        return self._first("find_by_title", self._checked({"title": title}))

    def rename(self, old: str, new: str) -> Note:
        with self.database.transaction():
            note = self.find_by_title(old)
            if note is None:
                raise infra.NotFoundError("no such note", resource="note")
            return self.update(replace(note, title=new))


class SqlNotes(infra.SqlRepository[Note], Notes): ...


class FakeNotes(fakes.Faults, fakes.FakeRepository[Note], Notes): ...


TABLES = [fakes.Table.of(Notes, unique={"notes_title_key": ("title",)})]


def contract(notes: Notes) -> None:
    """Assert what both do; a test suite would have a case for each line."""
    note = notes.create(Note("Milk", "two litres"))
    assert notes.find_by_title("Milk") == notes.find_by_id(note.id) == note
    assert fails(lambda: notes.create(Note("Milk"))) == ("ConflictError", "notes_title_key")
    assert fails(lambda: notes.create(Note("x" * 81))) == ("ValidationError", None)
    assert fails(lambda: notes.rename("Bread", "Rolls")) == ("NotFoundError", None)
    assert notes.rename("Milk", "Oat milk") == notes.find_by_title("Oat milk")
    assert [each.body for each in notes.page().items] == ["two litres"]
    assert (notes.delete(note.id), notes.count()) == (True, 0)


def fails(call: Callable[[], Any]) -> tuple[str, str | None]:
    try:
        call()
    except infra.InfrastructureError as error:
        return type(error).__name__, getattr(error, "constraint", None)
    raise AssertionError("it should have failed")


if __name__ == "__main__":
    contract(FakeNotes(fakes.FakeDatabase("mysql", TABLES)))
    if "--real" in sys.argv:
        url = os.environ.get("MYSQL_URL") or os.environ["POSTGRES_URL"]
        with (
            infra.create_pool(infra.DatabaseConfig(url=url)) as pool,
            tempfile.TemporaryDirectory() as folder,
        ):
            (Path(folder) / "notes.sql").write_text(MIGRATIONS)
            infra.Migrator(pool, Path(folder) / "notes.sql").apply()
            contract(SqlNotes(pool))
            pool.execute("DROP TABLE notes")
            pool.execute("DELETE FROM schema_migrations WHERE source = 'notes'")
    print("The contract holds.")
