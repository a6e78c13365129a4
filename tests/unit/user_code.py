"""A user's file with planted errors, and what the type checkers find in it.

A test that expects no error passes where every type is Any. So some lines of the file are wrong,
and a checker has to report these lines and no other.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

IMPORTS = "import fakes\nimport infra"
MARK = "  # wrong: "  # at the end of each line with a planted error
TEMPLATE = """
from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

{imports}


@dataclass(frozen=True)
class Note:
    text: str
    id: uuid.UUID = infra.FILLED
    created_at: datetime = infra.FILLED


class Notes(infra.Repository[Note]):
    record = Note
    table = "notes"
    resource = "note"

    def find_by_text(self, text: str) -> Note | None:
        return self._first("find_by_text", {{"text": text}})


class SqlNotes(infra.SqlRepository[Note], Notes): ...


class FakeNotes(fakes.Faults, fakes.FakeRepository[Note], Notes): ...


def own_repository(services: infra.Infrastructure) -> Notes:
    notes = SqlNotes(services.accounts)
    SqlNotes(services.redis)  # wrong: not a database
    made = notes.create(Note("a"))
    made.id.hexx  # wrong: no such attribute
    made.txt  # wrong: no such field
    notes.create("a")  # wrong: not a record
    notes.find_by_text("a").text  # wrong: may be None
    found: list[Note] = notes.select({{"text": infra.Not(None)}}, sort="text", limit=5)
    changed: int = notes.update_where({{"text": infra.OneOf(["a"])}}, text="b")
    for note in notes.iterate({{"text": infra.AnyOf(None, infra.Above("a"))}}, batch=changed):
        note.txt  # wrong: no such field
    page = notes.page(infra.Query(after=notes.page().next))
    page.items[0].txt  # wrong: no such field
    notes.select("a")  # wrong: no dict
    notes.delete_where()  # wrong: all of them?
    infra.Between(1)  # wrong: no end
    infra.Above()  # wrong: no value
    print(found)
    notes.get(made.id, lock=True).text  # wrong: may be None
    notes.get(made.id, lock="yes")  # wrong: neither True nor False
    notes.update_fields(made.id, text="b")
    notes.increment(made.id, "text", 1.5)  # wrong: neither a whole number nor a Decimal
    stored: int = services.accounts.run(notes.count, conflicts=True)
    services.accounts.run(notes.count, conflicts="yes")  # wrong: neither True nor False
    print(stored)
    many: list[Note] = notes.create_many(Note(text) for text in "ab")
    many[0].txt  # wrong: no such field
    notes.create_many(["a"])  # wrong: no records
    notes.create_many(made)  # wrong: a single record
    upserted: infra.Upserted[Note] = notes.upsert(made, on="notes_text_key")
    upserted.record.txt  # wrong: no such field
    upserted.text  # wrong: the record has it
    notes.upsert("a")  # wrong: not a record
    return notes


@dataclass(frozen=True, slots=True)
class Product:
    name: str
    price: int = 0


def rows(services: infra.Infrastructure) -> None:
    sql, database = "SELECT name FROM products", services.exchange
    product: Product | None = database.fetch_one(sql, into=Product)
    products: list[Product] = database.fetch_all(sql, [], into=Product)
    streamed: Iterator[Product] = database.stream(sql, into=Product)
    row: dict[str, Any] | None = database.fetch_one(sql, into=dict)
    found: list[dict[str, Any]] = database.fetch_all(sql, into=dict)
    plain: list[tuple[Any, ...]] = database.fetch_all(sql)
    first: tuple[Any, ...] | None = database.fetch_one(sql)
    number: int = database.execute("DELETE FROM products")
    migration: str = infra.table_ddl(database, "products", "postgres")
    infra.table_ddl("products", "postgres")  # wrong: no database
    print(product, row, plain, first, number, migration, next(streamed).price)
    database.fetch_one(sql, into=Product).name  # wrong: may be None
    products[0].prize  # wrong: no such field
    next(database.stream(sql, into=Product)).prize  # wrong: no such field
    found[0].name  # wrong: a dict has no attribute
    next(database.stream(sql, into=dict)).name  # wrong: a dict has no attribute
    plain[0].name  # wrong: a tuple has no attribute
    next(database.stream(sql)).name  # wrong: a tuple has no attribute
    database.fetch_all(sql, into=int)  # wrong: neither a dataclass nor dict
    count: str = database.execute(sql)  # wrong: a number
    print(count)


def bundle(services: infra.Infrastructure) -> None:
    user = services.users.find_by_email("ada@example.org")
    print(services.clock.now(), user)
    services.clock.advance(60)  # wrong: only a FakeClock moves
    services.sms.outbox  # wrong: only a fake has it
    services.user  # wrong: no such service
    services.cache.set("key", 1, ttl="60")  # wrong: a number of seconds
    infra.create_pool(infra.Config.from_env().mysql)  # wrong: may be None
    mysql = infra.Config.from_env().mysql
    if mysql is not None:
        infra.create_pool(mysql).connections()  # wrong: no such method


def moves(services: infra.Infrastructure) -> Iterator[infra.Move]:
    place = (services.storage, "old", "users/")
    move = infra.ObjectMove("a", source=place, target=(services.storage, "new", ""))
    written: int = move.run(dry_run=True).counts.written
    print(written, move.verify().ok)
    move.run(limit="5")  # wrong: a number of objects
    infra.ObjectMove("a", source=place, target="new")  # wrong: a provider, a bucket and a prefix
    infra.ObjectMove("a", source=place, target=place, rename=len)  # wrong: no key
    infra.ObjectMove("a", source=place)  # wrong: no target
    yield move


class Pager(infra.SmsService):
    provider_name = "pager"

    def page(self) -> str:
        return self.send_sms("+14155550100", "Come")


class FakePager(fakes.FakeSmsService, Pager): ...


class Services(infra.Infrastructure):
    tables = (Notes,)

    @infra.provided
    def notes(self) -> Notes:
        '''The notes.'''
        return Notes.on(self.exchange)

    @infra.provided
    def own(self) -> Notes:
        return SqlNotes(self.exchange)

    @infra.provided
    def sms(self) -> Pager:
        raise NotImplementedError

    @infra.provided
    def archive(self) -> infra.StorageProvider:
        return infra.S3StorageProvider(clock=self.clock)

    @infra.provided
    def users(self) -> infra.UserRepository:
        return infra.SmsConfig()  # wrong: not a repository

    @infra.provided
    def bus(self) -> Notes:  # wrong: not an event bus
        return Notes.on(self.exchange)


class FakeServices(fakes.FakeInfrastructure, Services):  # wrong: bus is what it may not be
    @infra.provided
    def own(self) -> FakeNotes:
        return FakeNotes(self.exchange)

    @infra.provided
    def sms(self) -> FakePager:
        return FakePager()

    @infra.provided
    def archive(self) -> fakes.FakeStorageProvider:
        return fakes.FakeStorageProvider(clock=self.clock)

    @infra.provided
    def notes(self) -> fakes.FakeStorageProvider:  # wrong: no notes
        return self.archive


def own_bundle(services: Services) -> None:
    services.notes.find_by_text("a")
    services.notes.find_by_txt("a")  # wrong: no such method
    services.sms.page()
    services.sms.pag()  # wrong: no such method
    services.sms.outbox  # wrong: only a fake has it
    services.note  # wrong: no such service
    services.notes = Notes.on(services.exchange)  # wrong: cannot be set
    counts: dict[str, int] = services.load({{"notes": [Note("a"), {{"text": "b"}}]}})
    services.load({{"notes": 5}})  # wrong: not rows
    services.load([Note("a")])  # wrong: not by table
    print(counts, infra.provided(5))  # wrong: not a function
    made: Services = Services.from_env()
    other: FakeServices = Services.from_env()  # wrong: the real ones
    print(made, other)


def test_own_fakes() -> None:
    with FakeServices(fakes.FakeClock(), tables=[Notes], engine="mysql") as services:
        own_bundle(services)
        services.own.fail_next("create", infra.TimeoutError)
        services.sms.outbox[0].code
        services.sms.outbox[0].cod  # wrong: no such field
        services.exchange.table("notes")
        services.archive.denied.clear()
        services.archive.denyed.clear()  # wrong: no such attribute
    made: FakeServices = FakeServices.from_env()
    print(made)
    FakeServices(engine=5)  # wrong: not a name
    FakeServices(tables=5)  # wrong: not a list


def test_with_fakes() -> None:
    with fakes.FakeInfrastructure(fakes.FakeClock()) as services:
        bundle(services)
        services.clock.advance(60)
        services.clock.advance("60")  # wrong: not a number
        services.sms.outbox[0].code
        services.sms.outbox[0].cod  # wrong: no such field
        services.redis.fail_next("get", infra.TimeoutError)
        services.redis.fail_next("get", 5)  # wrong: not an exception
        services.accounts.table("notes")
        services.accounts.tables()  # wrong: no such method
        books = services.accounts.table("books")
        books.update({{"id": 1}}, lambda row: {{"stock": row["stock"] - 1}})
        books.update({{"id": 1}}, lambda row: 5)  # wrong: not a dict
    fakes.FakeInfrastructure(infra.SystemClock())  # wrong: not a FakeClock
    database = fakes.FakeDatabase("mysql", [fakes.Table.of(Notes)])
    notes: Notes = FakeNotes(database)
    print(notes.find_by_text("a"))
    FakeNotes(infra.SystemClock())  # wrong: not a database
"""


def user_file(imports: str = IMPORTS) -> str:
    """Return the text of the user's file, which imports the library in this way."""
    return TEMPLATE.lstrip("\n").format(imports=imports)


def planted(text: str) -> set[int]:
    """Return the numbers of the lines with a planted error."""
    return {at for at, line in enumerate(text.splitlines(), 1) if MARK in line}


def mypy(path: Path, *, python: str = sys.executable) -> set[int]:
    """Return the lines of the file in which mypy --strict finds an error.

    It checks the whole folder of the file. ``python``: the interpreter whose packages it sees.
    Raises AssertionError for an error in any other file.
    """
    _require("mypy")
    options = ["--strict", f"--config-file={os.devnull}", f"--python-executable={python}"]
    done = _run(path, "mypy", *options, ".")
    found = re.findall(r"^(.+?):(\d+): error: ", done.stdout, re.MULTILINE)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert {name for name, _ in found} <= {path.name}, done.stdout
    assert bool(found) == bool(done.returncode), done.stdout + done.stderr
    return {int(line) for _, line in found}


def pyright(path: Path, *, python: str = sys.executable) -> set[int]:
    """Return the lines of the file in which pyright finds an error. See ``mypy``."""
    _require("pyright")
    done = _run(path, "pyright", "--outputjson", "--pythonpath", python, ".")
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = [
        error
        for error in json.loads(done.stdout)["generalDiagnostics"]
        if error["severity"] == "error"
    ]
    assert {Path(error["file"]).name for error in found} <= {path.name}, done.stdout
    return {error["range"]["start"]["line"] + 1 for error in found}


CHECKERS: dict[str, Callable[..., set[int]]] = {"mypy": mypy, "pyright": pyright}


def _require(package: str) -> None:
    """Skip the test if the checker is not installed, or fail it under REQUIRE_SERVICES=1."""
    if importlib.util.find_spec(package) is None:
        missing = f"{package} is not installed: pip install -e '.[test]'"
        if os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail(missing)
        pytest.skip(missing)


def _run(path: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=path.parent,
        env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},  # do not ask for a newer one
        capture_output=True,
        text=True,
        check=False,
    )
