"""No error keeps the data that was read, in its message, its cause or its context."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

import fakes
import infra

SECRET = "s3cret-739182"


def held(error: BaseException | None) -> Iterator[str]:
    """All that a log or a crash report could hold of an error and of those behind it."""
    while error is not None:
        yield from (str(error), repr(error), repr(error.args), repr(vars(error)))
        for name in ("object", "doc"):  # of UnicodeError and JSONDecodeError
            yield repr(getattr(error, name, ""))
        error = error.__cause__ or error.__context__


class Visit(infra.Event):
    pass


@dataclass(frozen=True)
class Visited(Visit):
    at: datetime
    by: uuid.UUID


ID = str(uuid.UUID(int=1))
NO_ID = f"s3cret739182{20 * 'z'}"  # Python quotes what has the length of one


def payload(**fields: Any) -> str:
    good = {"type": "Visit.Visited", "at": "2026-01-01T00:00:00Z", "by": str(uuid.UUID(int=1))}
    return json.dumps({**good, **fields})


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def sqlite_file(path: Path) -> Path:
    """A text column with bytes in it, which no row of the source can be compared with."""
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE visits (id TEXT PRIMARY KEY, at TEXT)")
        made.execute("INSERT INTO visits VALUES (?, ?)", [ID, SECRET])
    return path


def database() -> fakes.FakeDatabase:
    columns = {"id": fakes.Column(uuid.UUID), "at": fakes.Column(datetime, null=True)}
    return fakes.FakeDatabase("mysql", [fakes.Table("visits", columns)])


def moved(source: infra.Source, target: infra.Target | None = None) -> None:
    target = target or infra.TableTarget(database(), "visits")
    infra.RowMove("visits", source=source, target=target).run()


def into_a_repository(row: dict[str, Any]) -> None:
    target = infra.RepositoryTarget(fakes.FakeUserRepository())
    moved(infra.IterableSource([row]), target)


Case = Callable[[Path], Any]
CASES: dict[str, Case] = {
    "a migration file that is not UTF-8": lambda folder: infra.read_migrations(
        written(folder / "m.sql", f"-- {SECRET} \xff".encode("latin-1")), "mysql"
    ),
    "a dump that is not UTF-8": lambda folder: infra.read_migrations(
        written(folder / "m.sql", f"-- MySQL dump 1\n{SECRET}\xff".encode("latin-1")), "mysql"
    ),
    "a number of the environment": lambda _: infra.Config.from_env({"REDIS_POOL_SIZE": SECRET}),
    "a port": lambda _: infra.DatabaseConfig(
        url=f"mysql://u:{SECRET}@h:{SECRET}/d"
    ),
    "a password that is not UTF-8": lambda _: infra.DatabaseConfig(
        url=f"mysql://u:{SECRET}%ff@h/d"
    ),
    "a URL with a surrogate": lambda _: infra.CacheConfig(url=f"redis://u:{SECRET}\udcff@h"),
    "an endpoint": lambda _: infra.S3StorageConfig(endpoint=f"https://{SECRET}:{SECRET}@h:x"),
    "a hash key": lambda _: infra.hash_phone("+14155550100", SECRET + "\udcff" * 40),
    "a phone": lambda _: infra.normalize_phone(f"+1{SECRET}"),
    "a key with a surrogate": lambda _: fakes.FakeRedisClient().set(SECRET + "\udcff", "x"),
    "an id in a record": lambda _: fakes.FakeUserRepository().find_by_id(SECRET),  # type: ignore[arg-type]
    "an id in a column": lambda _: database().insert_many(
        "visits", ["id"], [(NO_ID,)]
    ),
    "a time of an event": lambda _: infra.Message(
        "c", None, payload(at="2026-13-45T00:00:00.739182Z")
    ).deserialize(Visit),
    "an event that is no JSON": lambda _: (
        infra.Message("c", None, f'{{"{SECRET}').deserialize(Visit)
    ),
    "an id of an event": lambda _: infra.Message("c", None, payload(by=SECRET)).deserialize(Visit),
    "a value of the cache": lambda _: broken_cache().get("k"),
    "JSON lines": lambda folder: moved(
        infra.JsonLinesSource(written(folder / "rows", f'{{"id": "{SECRET}'.encode()))
    ),
    "CSV": lambda folder: moved(
        infra.CsvSource(written(folder / "rows", f'id,at\n"{SECRET}'.encode()))
    ),
    "CSV into a table": lambda folder: moved(
        infra.CsvSource(written(folder / "rows", f"id,at\n{SECRET},x\n".encode()))
    ),
    "SQLite": lambda folder: moved(infra.SqliteSource(sqlite_file(folder / "s"), "visits")),
    "no SQLite": lambda folder: moved(
        infra.SqliteSource(written(folder / "s", SECRET.encode() * 99), "visits")
    ),
    "a time in a row": lambda _: moved(infra.IterableSource([{"id": ID, "at": SECRET}])),
    "an id in a row": lambda _: moved(infra.IterableSource([{"id": NO_ID, "at": None}])),
    "a row for a repository": lambda _: into_a_repository({"id": SECRET, "name": SECRET}),
}  # fmt: skip


def broken_cache() -> infra.RedisCacheProvider:
    redis = fakes.FakeRedisClient()
    redis.set("k", f'{{"{SECRET}')
    return infra.RedisCacheProvider(redis)


@pytest.mark.parametrize("case", CASES)
def test_no_error_keeps_what_it_read(case: str, tmp_path: Path) -> None:
    with pytest.raises(infra.InfrastructureError) as caught:
        CASES[case](tmp_path)
    assert [text for text in held(caught.value) if "739182" in text] == []


def test_a_migration_file_leaves_nothing_behind(tmp_path: Path) -> None:
    file = written(tmp_path / "m.sql", b"-- migration 1 a mysql\nSELECT 1;\n-- caf\xe9\n")
    with pytest.raises(
        infra.ConfigurationError, match="cannot be read: UnicodeDecodeError"
    ) as caught:
        infra.read_migrations(file, "mysql")
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_an_event_is_read() -> None:
    """The payload that the cases above change."""
    found = infra.Message("c", None, payload()).deserialize(Visit)
    assert found == Visited(datetime(2026, 1, 1, tzinfo=timezone.utc), uuid.UUID(int=1))
