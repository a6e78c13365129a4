"""Contract of data moves, between each pair of databases."""

from __future__ import annotations

import io
import json
import re
import sqlite3
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import fakes
import infra
from tests.contract import handlers
from tests.contract.backends import in_background
from tests.contract.base import Contract
from tests.contract.databases import (
    Cell,
    DatabaseBackend,
    Item,
    Owner,
    Tag,
    fake_backend,
    real_backend,
    with_tables,
)

IDS = [uuid.UUID(int=number << 64) for number in range(1, 8)]
NAMES = ["Ada", "Bob", "Cem", "Deniz", "Ece", "Fa%s", "Gü\n'\"\\"]
DONE = infra.MoveCounts(read=7, written=7)


@dataclass
class Pair:
    """Two databases with the same tables."""

    source: DatabaseBackend
    target: DatabaseBackend

    def fill(self) -> None:
        """Seven owners in the source."""
        for id, name in zip(IDS, NAMES):
            self.source.owners.create(Owner(name, id))

    def move(self, **options: Any) -> infra.RowMove:
        usual: dict[str, Any] = {
            "source": infra.TableSource(self.source.database, "owners"),
            "batch": 3,
            "lock_timeout": 0.0,
        }
        if "targets" not in options:
            usual["target"] = self.table()
        return infra.RowMove("owners", **{**usual, **options})

    def table(self, name: str = "owners", **options: Any) -> infra.TableTarget:
        return infra.TableTarget(self.target.database, name, **options)

    def names(self) -> list[str]:
        return names(self.target)

    def has_begun(self) -> bool:
        """Whether there is a checkpoint in the target."""
        database = self.target.database
        try:
            if isinstance(database, infra.ConnectionPool):
                return bool(database.fetch_all("SELECT name FROM infra_moves"))
            assert isinstance(database, fakes.FakeDatabase)
            return bool(database.table("infra_moves").select())
        except infra.DatabaseError:
            return False


def names(backend: DatabaseBackend) -> list[str]:
    """Of all owners, in the order of their ids."""
    found = backend.owners.page(infra.Query(per_page=100, sort="name")).items
    return [each.name for each in sorted(found, key=lambda owner: owner.id)]


def refusal(call: Callable[[], Any]) -> infra.MoveError:
    with pytest.raises(infra.MoveError) as caught:
        call()
    return caught.value


def upper(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "name": row["name"].upper()}


class MoveContract(Contract):
    port = infra.RowMove

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    # All rows

    def test_all_rows_move(self, backend: Pair) -> None:
        backend.fill()
        report = backend.move().run()
        assert (report.name, report.done, report.dry_run) == ("owners", True, False)
        assert (report.counts, report.resumed) == (DONE, infra.MoveCounts())
        assert backend.names() == NAMES
        assert str(report).startswith("owners: done: 7 read, 7 written (")
        assert report.rows_per_second > 0

    def test_a_finished_move_reads_nothing(self, backend: Pair) -> None:
        backend.fill()
        backend.move().run()
        backend.source.owners.create(Owner("late"))
        report = backend.move().run()
        assert (report.counts, report.resumed, report.done) == (DONE, DONE, True)
        assert backend.names() == NAMES

    def test_progress(self, backend: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
        """A line on a terminal; nothing in a file."""
        backend.fill()
        monkeypatch.setitem(sys.modules, "tqdm", None)
        monkeypatch.setattr(sys, "stderr", terminal := io.StringIO())
        backend.move().run(limit=2)
        assert terminal.getvalue() == ""
        monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
        backend.move().run(progress=False)
        assert terminal.getvalue() == ""
        backend.move().run(restart=True, dry_run=True)
        words = r"\rowners: 7 read, [0-9,]+ a second, 100%, 0:00:00 left\x1b\[K\n"
        assert re.fullmatch(words, terminal.getvalue()), terminal.getvalue()

    def test_no_rows(self, backend: Pair) -> None:
        report = backend.move().run()
        assert (report.counts, report.done) == (infra.MoveCounts(), True)
        assert "nothing" in str(report)

    @pytest.mark.parametrize("batch", [1, 2, 6, 7, 8])
    def test_batches_of_any_size(self, backend: Pair, batch: int) -> None:
        backend.fill()
        assert backend.move(batch=batch).run().counts == DONE
        assert backend.names() == NAMES

    def test_a_part_and_the_rest(self, backend: Pair) -> None:
        backend.fill()
        part = backend.move().run(limit=4)
        assert (part.counts, part.done) == (infra.MoveCounts(read=4, written=4), False)
        assert backend.names() == NAMES[:4]
        assert "run it again" in str(part)
        rest = backend.move().run()
        assert (rest.counts, rest.resumed) == (DONE, part.counts)
        assert backend.names() == NAMES

    def test_columns_of_every_kind(self, backend: Pair) -> None:
        moment = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=timezone.utc)
        second = moment.replace(microsecond=0)
        full = Cell(
            True, -7, 0.1, Decimal("10.25"), b"\0\xff1", date(2026, 1, 31), moment, second,
            "wörd😀"[:5],
            "code", {"a": [1, None, {"b": "é"}]}, second, second,
        )  # fmt: skip
        empty = Cell(created_at=second, updated_at=second)
        stored = [backend.source.cells.create(each) for each in (full, empty)]
        move = backend.move(
            source=infra.TableSource(backend.source.database, "cells"),
            target=backend.table("cells"),
        )
        assert move.run().counts == infra.MoveCounts(read=2, written=2)
        assert [backend.target.cells.find_by_id(each.id) for each in stored] == stored
        assert move.verify() == infra.Verification("owners", 2, 0, 0, 0)

    def test_rows_that_change_meanwhile(self, backend: Pair) -> None:
        """Rows ahead of the walk are seen as they are then; rows behind it are not seen again."""
        backend.fill()
        backend.move().run(limit=3)
        source = backend.source.owners
        source.update(Owner("before", IDS[4]))
        source.update(Owner("behind", IDS[0]))
        source.delete(IDS[5])
        source.delete(IDS[1])
        source.create(Owner("new", uuid.UUID(int=99 << 64)))
        source.create(Owner("too late", uuid.UUID(int=1)))
        assert backend.move().run().counts == infra.MoveCounts(read=7, written=7)
        assert backend.names() == ["Ada", "Bob", "Cem", "Deniz", "before", NAMES[6], "new"]

    # Transforms

    def test_a_transform(self, backend: Pair) -> None:
        backend.fill()
        assert backend.move(transform=upper).run().counts == DONE
        assert backend.names()[:3] == ["ADA", "BOB", "CEM"]

    def test_a_transform_gets_values(self, backend: Pair) -> None:
        """Documents as dicts and lists, times in UTC."""
        moment = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
        cell = Cell(document={"a": [1, {"b": None}]}, moment=moment, day=date(2026, 1, 31))
        backend.source.cells.create(cell)
        seen: list[dict[str, Any]] = []
        source = infra.TableSource(
            backend.source.database, "cells", ["id", "document", "moment", "day"]
        )
        move = backend.move(source=source, target=backend.table("cells"), transform=seen.append)
        assert move.run().counts == infra.MoveCounts(read=1, dropped=1)
        del seen[0]["id"]
        assert seen == [{"document": {"a": [1, {"b": None}]}, "moment": moment, "day": cell.day}]

    def test_a_transform_that_drops_and_multiplies(self, backend: Pair) -> None:
        backend.fill()

        def split(row: dict[str, Any]) -> Any:
            if row["name"] in ("Ada", "Ece"):
                return None
            if row["name"] == "Bob":
                return []
            twin = {"id": uuid.UUID(int=row["id"].int + 1), "name": row["name"] + "2"}
            return [row, twin] if row["name"] == "Cem" else row

        source = infra.IterableSource([{"id": id, "name": name} for id, name in zip(IDS, NAMES)])
        report = backend.move(source=source, transform=split).run()
        assert report.counts == infra.MoveCounts(read=7, written=5, dropped=3)
        assert backend.names() == ["Cem", "Cem2", "Deniz", *NAMES[5:]]

    def test_one_table_into_two(self, backend: Pair) -> None:
        backend.fill()

        def split(row: dict[str, Any]) -> Any:
            yield "people", row
            yield "tags", {"id": row["id"], "kind": "worker"}

        targets = {"people": backend.table(), "tags": backend.table("tags")}
        report = backend.move(targets=targets, transform=split).run()
        assert report.counts == infra.MoveCounts(read=7, written=14)
        assert backend.names() == NAMES
        assert backend.target.tags.find_by_id(IDS[6]) == Tag("worker", IDS[6])
        verification = backend.move(targets=targets, transform=split).verify()
        assert verification == infra.Verification("owners", 14, 0, 0, None)

    def test_both_tables_or_none(self, backend: Pair) -> None:
        """A batch that fails in the second table leaves nothing in the first."""
        backend.fill()

        def split(row: dict[str, Any]) -> Any:
            yield "people", row
            yield "tags", {"id": row["id"], "kind": "other" if row["name"] == "Ece" else "worker"}

        targets = {"people": backend.table(), "tags": backend.table("tags")}
        error = refusal(backend.move(targets=targets, transform=split).run)
        assert error.key == f"id={key_of(backend, IDS[4])}"
        assert "tags_kind_check" in str(error)
        assert backend.names() == NAMES[:3]

    def test_a_row_of_two_tables_that_is_refused(self, backend: Pair) -> None:
        """If rows of one table refer to the other, the first row at fault is still named."""
        backend.fill()

        def split(row: dict[str, Any]) -> Any:
            yield "owners", row
            amount = -1 if row["name"] == "Ece" else 1
            yield "items", {"id": row["id"], "amount": amount, "note": "", "owner_id": row["id"]}

        targets = {"owners": backend.table(), "items": backend.table("items")}
        error = refusal(backend.move(targets=targets, transform=split, batch=10).run)
        assert error.key == f"id={key_of(backend, IDS[4])}"
        assert "items_amount_check" in str(error)
        assert (backend.names(), backend.target.items.count()) == ([], 0)

    def test_a_transform_that_fails(self, backend: Pair) -> None:
        backend.fill()

        def fail(row: dict[str, Any]) -> Any:
            return upper(row) if row["name"] != "Ece" else row["no such column"]

        error = refusal(backend.move(transform=fail).run)
        key = f"id={key_of(backend, IDS[4])}"
        assert (error.key, str(error)) == (key, f"the transform failed at row {key}: KeyError")
        assert backend.names() == ["ADA", "BOB", "CEM"]
        assert backend.move(transform=upper).run().counts == DONE

    def test_rows_from_a_function_that_gives_none(self, backend: Pair) -> None:
        source = infra.IterableSource(lambda: None)  # type: ignore[arg-type,return-value]
        assert "a function that returns an iterable" in str(
            refusal(backend.move(source=source).run)
        )

    @pytest.mark.parametrize("made", ["coroutine", "awaitable"])
    def test_a_transform_that_nothing_awaits(self, backend: Pair, made: str) -> None:
        backend.fill()
        words = "the transform refused row .*: a function returned an awaitable"
        move = backend.move(transform=handlers.RETURNING[made])
        assert re.match(words, str(refusal(move.run)))
        assert backend.names() == []

    @pytest.mark.parametrize("seen", ["async def", "async generator", "partial", "async __call__"])
    def test_an_async_transform_is_refused(self, backend: Pair, seen: str) -> None:
        with pytest.raises(infra.ConfigurationError, match="transform should be a plain function"):
            backend.move(transform=handlers.SEEN[seen])
        with pytest.raises(infra.ValidationError, match="rows should be a plain function"):
            infra.IterableSource(handlers.SEEN[seen])

    @pytest.mark.parametrize("made", [7, "text", [7], [{"id": IDS[0]}, 7], {"id": IDS[0]}])
    def test_a_transform_that_gives_no_rows(self, backend: Pair, made: Any) -> None:
        backend.fill()
        error = refusal(backend.move(transform=lambda row: made).run)
        assert error.key == f"id={key_of(backend, IDS[0])}" or error.column == "name"
        assert backend.names() == []

    # Rows that are there already

    def test_a_row_that_is_there(self, backend: Pair) -> None:
        backend.fill()
        backend.target.owners.create(Owner("there", IDS[4]))
        error = refusal(backend.move().run)
        assert error.key == f"id={key_of(backend, IDS[4])}"
        assert isinstance(error.__cause__, infra.ConflictError)
        assert backend.names() == ["Ada", "Bob", "Cem", "there"]
        backend.target.owners.delete(IDS[4])
        assert backend.move().run().counts == DONE
        assert backend.names() == NAMES

    def test_rows_that_are_there_are_skipped(self, backend: Pair) -> None:
        backend.fill()
        backend.target.owners.create(Owner("there", IDS[4]))
        report = backend.move(target=backend.table(on_conflict="skip")).run()
        assert report.counts == infra.MoveCounts(read=7, written=6, skipped=1)
        assert backend.names() == [*NAMES[:4], "there", *NAMES[5:]]

    def test_rows_that_are_there_are_updated(self, backend: Pair) -> None:
        backend.fill()
        backend.target.owners.create(Owner("there", IDS[4]))
        backend.target.owners.create(Owner(NAMES[5], IDS[5]))  # equal: it counts as well
        report = backend.move(target=backend.table(on_conflict="update")).run()
        assert report.counts == infra.MoveCounts(read=7, written=5, updated=2)
        assert backend.names() == NAMES

    @pytest.mark.parametrize("on_conflict", ["error", "skip", "update"])
    def test_a_collision_on_another_unique_key(self, backend: Pair, on_conflict: str) -> None:
        """Nothing is overwritten: it is another row."""
        backend.fill()
        other = uuid.UUID(int=77)
        backend.target.owners.create(Owner("Ece", other))
        error = refusal(backend.move(target=backend.table(on_conflict=on_conflict)).run)
        assert error.key == f"id={key_of(backend, IDS[4])}"
        assert "owners_name_key" in str(error)
        assert backend.target.owners.find_by_id(other) == Owner("Ece", other)
        assert backend.names() == ["Ece", *NAMES[:3]]

    @pytest.mark.parametrize(
        ("on_conflict", "counts", "name"),
        [
            ("skip", {"written": 1, "skipped": 1}, "a"),
            ("update", {"written": 1, "updated": 1}, "b"),
        ],
    )
    def test_a_key_that_comes_twice(
        self, backend: Pair, on_conflict: str, counts: dict[str, int], name: str
    ) -> None:
        source = infra.IterableSource([{"id": IDS[0], "name": each} for each in ("a", "b")])
        move = backend.move(source=source, target=backend.table(on_conflict=on_conflict))
        assert move.run().counts == infra.MoveCounts(read=2, **counts)
        assert backend.names() == [name]

    # Rows that exist only

    def test_a_column_is_filled(self, backend: Pair) -> None:
        backend.fill()
        backend.source.owners.delete(IDS[6])
        for number in (1, 3):
            item = Item(number, label=None, note="before", id=IDS[number])
            backend.target.items.create(item)

        def note(row: dict[str, Any]) -> dict[str, Any]:
            return {"id": row["id"], "note": row["name"]}

        target = backend.table("items", write="update", columns=["note"])
        move = backend.move(target=target, transform=note)
        assert move.run().counts == infra.MoveCounts(read=6, updated=2, missing=4)
        found = [backend.target.items.find_by_id(IDS[number]) for number in (1, 3)]
        assert [(each.amount, each.note) for each in found if each] == [(1, "Bob"), (3, "Deniz")]
        assert backend.target.items.count() == 2

    # What is refused before the first row

    def test_columns_that_the_target_does_not_have(self, backend: Pair) -> None:
        backend.fill()
        error = refusal(backend.move(target=backend.table("tags")).run)
        assert (error.column, str(error)) == ("name", "tags has no column name")
        assert not backend.has_begun()

    def test_columns_that_the_rows_do_not_have(self, backend: Pair) -> None:
        backend.fill()
        source = infra.TableSource(backend.source.database, "owners", ["id"])
        error = refusal(backend.move(source=source).run)
        assert (error.column, str(error)) == ("name", "the rows for owners have no name")
        assert not backend.has_begun()

    def test_columns_of_a_transform(self, backend: Pair) -> None:
        backend.fill()
        error = refusal(backend.move(transform=lambda row: {**row, "shoe_size": 44}).run)
        assert (error.column, str(error)) == ("shoe_size", "owners has no column shoe_size")
        assert backend.names() == []

    def test_tables_that_are_not_there(self, backend: Pair) -> None:
        for options in (
            {"source": infra.TableSource(backend.source.database, "nothing")},
            {"target": backend.table("nothing")},
        ):
            with pytest.raises(infra.DatabaseError, match="knows no table"):
                backend.move(**options).run()
        assert not backend.has_begun()

    def test_a_policy_for_no_column(self, backend: Pair) -> None:
        target = backend.table(policies={"nam": "divert"})
        assert refusal(backend.move(target=target).run).column == "nam"
        target = backend.table(policies={"name": "null"})
        assert str(refusal(backend.move(target=target).run)) == "owners.name does not take NULL"

    # Values that do not fit

    def test_a_value_that_does_not_fit(self, backend: Pair) -> None:
        source = infra.IterableSource(
            [
                {"id": id, "name": name}
                for id, name in zip(IDS, ["a", "b", "c", "d", "much too long"])
            ]
        )
        error = refusal(backend.move(source=source).run)
        assert (error.key, error.column) == ("row=5", "name")
        assert str(error) == "owners.name, row row=5: a value does not fit its column: name"
        assert backend.names() == ["a", "b", "c"]

    def test_policies(self, backend: Pair) -> None:
        values: list[dict[str, Any]] = [
            {"word": "short", "whole": 1, "price": Decimal("1.00"), "day": "2026-01-31"},
            {"word": "too long", "whole": 1, "price": Decimal("1.00"), "day": "2026-01-31"},
            {"word": "nul\0", "whole": 1 << 40, "price": Decimal("1.00"), "day": "2026-01-31"},
            {"word": "short", "whole": 1, "price": Decimal("1.001"), "day": "2026-01-31"},
            {"word": "short", "whole": 1, "price": Decimal("1.00"), "day": "0000-00-00"},
        ]
        rows = [{"id": id, **value} for id, value in zip(IDS, values)]
        policies = {
            "word": infra.Replace("?"), "whole": "fail", "price": "divert", "day": "null",
            "flag": "divert",
        }  # fmt: skip
        target = backend.table("cells", policies={**policies, "whole": infra.Replace(0)})
        move = backend.move(source=infra.IterableSource(rows), target=target)
        assert move.run().counts == infra.MoveCounts(read=5, written=4, rejected=1)
        found = [backend.target.cells.find_by_id(id) for id in IDS[:5]]
        assert [each and (each.word, each.whole, each.day) for each in found] == [
            ("short", 1, date(2026, 1, 31)),
            ("?", 1, date(2026, 1, 31)),
            ("?", 0, date(2026, 1, 31)),
            None,
            ("short", 1, None),
        ]
        (line,) = Path("owners-rejects.jsonl").read_text().splitlines()
        assert json.loads(line) == {
            "key": "row=4",
            "column": "price",
            "reason": "a value does not fit its column: price",
        }

    @pytest.mark.parametrize(
        ("column", "text"),
        [
            ("whole", "1_000"),
            ("whole", " 7"),
            ("whole", "7.5"),
            ("price", "1_0.5"),
            ("ratio", "1_0"),
            ("flag", "yes"),
            ("moment", "2026-01-31 12:00:00.1234567"),
            ("moment", "2026-01-31T12:00:60Z"),
            ("document", "{'a': 1}"),
            ("document", "7"),
            ("id", "7"),
        ],
    )
    def test_texts_that_are_no_value(self, backend: Pair, column: str, text: str) -> None:
        source = infra.IterableSource([{"id": IDS[0], column: text}])
        error = refusal(backend.move(source=source, target=backend.table("cells")).run)
        assert (error.key, error.column) == ("row=1", column)
        assert text not in str(error)

    @pytest.mark.parametrize(
        ("text", "moment"),
        [
            ("2026-01-31t12:00:00.1234560z", datetime(2026, 1, 31, 12, 0, 0, 123456)),
            ("2016-12-31T23:59:60Z", datetime(2017, 1, 1)),
            ("2016-12-31 23:59:60", datetime(2017, 1, 1)),
        ],
    )
    def test_texts_of_times(self, backend: Pair, text: str, moment: datetime) -> None:
        source = infra.IterableSource([{"id": IDS[0], "moment": text}])
        backend.move(source=source, target=backend.table("cells")).run()
        found = backend.target.cells.find_by_id(IDS[0])
        assert found is not None
        assert found.moment == moment.replace(tzinfo=timezone.utc)

    def test_none_where_the_column_takes_none(self, backend: Pair) -> None:
        rows: list[dict[str, Any]] = [{"id": IDS[0], "name": None}, {"id": IDS[1], "name": "b"}]
        move = backend.move(source=infra.IterableSource(rows))
        error = refusal(move.run)
        assert (error.key, error.column) == ("row=1", "name")
        target = backend.table(policies={"name": infra.Replace("nobody")})
        move = backend.move(source=infra.IterableSource(rows), target=target)
        move.run(accept_change=True)
        assert backend.names() == ["nobody", "b"]

    def test_rejects_of_a_batch_that_was_not_committed(self, backend: Pair) -> None:
        """The file is neither short nor long."""
        rows = [{"id": id, "name": "x" * 20 if at % 2 else f"n{at}"} for at, id in enumerate(IDS)]
        backend.target.owners.create(Owner("there", IDS[4]))
        target = backend.table(policies={"name": "divert"})
        options = {"source": infra.IterableSource(rows), "target": target, "rejects": "bad.jsonl"}
        assert refusal(backend.move(**options).run).key == "row=5"
        backend.target.owners.delete(IDS[4])
        report = backend.move(**options).run()
        assert report.counts == infra.MoveCounts(read=7, written=4, rejected=3)
        lines = Path("bad.jsonl").read_text().splitlines()
        assert [json.loads(line)["key"] for line in lines] == ["row=2", "row=4", "row=6"]

    def test_a_rejects_file_of_another_move(self, backend: Pair) -> None:
        backend.fill()
        Path("owners-rejects.jsonl").write_text("{}\n")
        assert "holds rejects of another run" in str(refusal(backend.move().run))
        assert backend.names() == []

    # Checkpoints

    def test_a_move_of_another_version(self, backend: Pair) -> None:
        backend.fill()
        backend.move().run(limit=3)
        changed = backend.move(version=2, transform=upper)
        error = refusal(changed.run)
        assert str(error).startswith("owners was begun with another version: restart the move")
        assert changed.run(accept_change=True).counts == DONE
        assert backend.names() == [*NAMES[:3], *map(str.upper, NAMES[3:])]
        assert refusal(backend.move().run).key is None  # the accepted one is the one to go on with

    def test_a_move_of_another_table(self, backend: Pair) -> None:
        backend.fill()
        backend.move().run(limit=3)
        words = str(refusal(backend.move(target=backend.table(on_conflict="skip")).run))
        assert "another targets.target.on_conflict" in words

    def test_a_move_by_another_key(self, backend: Pair) -> None:
        """It cannot go on: the checkpoint's place is none of the new key."""
        backend.fill()
        backend.move().run(limit=3)
        rows = infra.IterableSource([{"id": id, "name": name} for id, name in zip(IDS, NAMES)])
        other = backend.move(source=rows)
        words = str(refusal(lambda: other.run(accept_change=True)))
        assert "source.key" in words
        assert words.endswith(": restart the move")
        skipping = backend.move(source=rows, target=backend.table(on_conflict="skip"))
        assert skipping.run(restart=True).counts.skipped == 3

    def test_a_restart(self, backend: Pair) -> None:
        backend.fill()
        backend.move().run(limit=3)
        assert "was begun by an earlier run" in str(
            refusal(lambda: backend.move().run(resume=False))
        )
        move = backend.move(target=backend.table(on_conflict="skip"))
        report = move.run(restart=True)
        assert report.counts == infra.MoveCounts(read=7, written=4, skipped=3)
        assert report.resumed == infra.MoveCounts()

    def test_two_runs_at_once(self, backend: Pair) -> None:
        backend.fill()
        refused: list[Any] = []

        def meanwhile(row: dict[str, Any]) -> dict[str, Any]:
            if not refused:
                end = in_background(backend.move(transform=upper).run)
                refused.append(end())
            return upper(row)

        assert backend.move(transform=meanwhile).run().counts == DONE
        assert isinstance(refused[0], infra.TimeoutError)
        assert "another runner" in str(refused[0])
        assert refused[0].retryable is False

    def test_inside_a_transaction(self, backend: Pair) -> None:
        backend.fill()
        refused = pytest.raises(infra.DatabaseError, match="move commits each batch: call it outs")
        with backend.target.database.transaction(), refused:
            backend.move().run()
        assert backend.names() == []
        assert not backend.has_begun()
        assert backend.move().run().counts == DONE

    def test_an_error_of_the_next_batch(self, backend: Pair) -> None:
        """The batch before is stored, or its own error is the one that is reported."""
        backend.fill()
        backend.target.owners.create(Owner("Someone", IDS[2]))

        def fail(row: dict[str, Any]) -> dict[str, Any]:
            return {**row, "name": None} if row["name"] == NAMES[4] else row

        move = backend.move(transform=fail)
        assert refusal(move.run).key == f"id={IDS[2]}"
        assert backend.names() == ["Someone"]
        backend.target.owners.delete(IDS[2])
        assert refusal(move.run).key == f"id={IDS[4]}"
        assert backend.names() == NAMES[:3]

    def test_ctrl_c_inside_a_transform(self, backend: Pair) -> None:
        backend.fill()

        def interrupt(row: dict[str, Any]) -> dict[str, Any]:
            if row["name"] == "Ece":
                raise KeyboardInterrupt
            return row

        with pytest.raises(KeyboardInterrupt):
            backend.move(transform=interrupt).run()
        assert backend.names() == NAMES[:3]
        assert backend.move(transform=dict).run().counts == DONE
        assert backend.names() == NAMES

    # Without writing

    def test_a_dry_run(self, backend: Pair) -> None:
        backend.fill()
        backend.target.owners.create(Owner("there", IDS[4]))
        report = backend.move(target=backend.table(on_conflict="skip")).run(dry_run=True)
        assert report.counts == infra.MoveCounts(read=7, written=6, skipped=1)
        assert (report.dry_run, backend.names()) == (True, ["there"])
        assert not backend.has_begun()
        assert "would be" in str(report)

    def test_a_dry_run_names_what_does_not_fit(self, backend: Pair) -> None:
        rows = [{"id": id, "name": "x" * 9} for id in IDS[:4]] + [{"id": IDS[4], "name": "x" * 11}]
        move = backend.move(source=infra.IterableSource(rows))
        assert refusal(lambda: move.run(dry_run=True)).key == "row=5"

    # Verification

    def test_verify(self, backend: Pair) -> None:
        backend.fill()
        move = backend.move()
        move.run()
        assert move.verify() == infra.Verification("owners", 7, 0, 0, 0)
        assert (move.verify().ok, str(move.verify())) == (True, "owners: 7 compared, all equal")
        target = backend.target.owners
        target.update(Owner("other", IDS[1]))
        target.delete(IDS[2])
        target.delete(IDS[6])
        target.create(Owner("extra"))
        found = move.verify()
        keys = [f"id={key_of(backend, IDS[number])}" for number in (1, 2, 6)]
        ranges = ((keys[0], keys[1]), (keys[2], keys[2]))
        assert found == infra.Verification("owners", 7, 1, 2, 1, ranges)
        assert found.ok is False
        assert str(found).splitlines() == [
            "owners: of 7 compared 1 differ, 2 are missing, 1 extra",
            f"  {keys[0]} to {keys[1]}",
            f"  {keys[2]}",
        ]

    def test_verify_after_a_transform(self, backend: Pair) -> None:
        backend.fill()
        move = backend.move(transform=upper)
        move.run()
        assert move.verify().ok
        assert backend.move().verify() == replace(
            move.verify(), different=7, ranges=backend.move().verify().ranges
        )

    # Other sources and targets

    def test_a_repository(self, backend: Pair) -> None:
        backend.fill()
        target = infra.RepositoryTarget(backend.target.owners)
        move = backend.move(target=target, transform=lambda row: Owner(row["name"], uid(row["id"])))
        assert move.run().counts == DONE
        assert backend.names() == NAMES
        assert move.verify() == infra.Verification("owners", 7, 0, 0, None)
        backend.target.owners.update(Owner("other", IDS[1]))
        key = f"id={key_of(backend, IDS[1])}"
        assert move.verify() == infra.Verification("owners", 7, 1, 0, None, ((key, key),))

    def test_a_repository_that_refuses(self, backend: Pair) -> None:
        backend.fill()
        target = infra.RepositoryTarget(backend.target.owners, on_conflict="skip")
        backend.target.owners.create(Owner("there", IDS[1]))

        def record(row: dict[str, Any]) -> Owner:
            return Owner(7 if row["name"] == "Ece" else row["name"], uid(row["id"]))  # type: ignore[arg-type]

        error = refusal(backend.move(target=target, transform=record).run)
        assert error.key == f"id={key_of(backend, IDS[4])}"
        assert backend.names() == ["Ada", "there", "Cem"]

    def test_rows_that_python_makes(self, backend: Pair) -> None:
        def make() -> Iterator[dict[str, Any]]:
            yield from ({"id": id, "name": name} for id, name in zip(IDS, NAMES))

        assert backend.move(source=infra.IterableSource(make)).run(limit=4).counts.read == 4
        assert backend.move(source=infra.IterableSource(make)).run().counts == DONE
        assert backend.names() == NAMES

    def test_rows_that_can_be_read_once(self, backend: Pair) -> None:
        rows = ({"id": id, "name": name} for id, name in zip(IDS, NAMES))
        move = backend.move(source=infra.IterableSource(rows))
        assert move.run(limit=4).counts.read == 4
        assert "read once" in str(refusal(move.run))

    def test_a_csv_file(self, backend: Pair) -> None:
        path = Path("cells.csv")
        head = "id,word,whole,price,flag,day,moment,data,document,ratio\n"
        lines = [
            f'{IDS[0]},a,7,1.50,true,2026-01-31,2026-01-31 12:00:00.5+02:00,,"{{""a"": 1}}",0.1\n',
            f'{IDS[1]},"b\n,",,,,,,,,\n',
            f"{IDS[2]},,,,f,,2026-01-31T12:00:00Z,,,\r\n",
        ]
        path.write_bytes(("\ufeff" + head + lines[0] + "\n" + lines[1] + lines[2]).encode())
        options = {"source": infra.CsvSource(path), "target": backend.table("cells"), "batch": 1}
        assert backend.move(**options).run(limit=2).counts.read == 2
        assert backend.move(**options).run().counts == infra.MoveCounts(read=3, written=3)
        first, second, third = (backend.target.cells.find_by_id(id) for id in IDS[:3])
        assert first
        assert (first.word, first.whole, first.price, first.flag) == ("a", 7, Decimal("1.50"), True)
        assert (first.day, first.ratio, first.document) == (date(2026, 1, 31), 0.1, {"a": 1})
        assert first.moment == datetime(2026, 1, 31, 10, 0, 0, 500000, tzinfo=timezone.utc)
        assert second
        assert (second.word, second.whole, second.moment) == ("b\n,", None, None)
        assert third
        assert third.moment == datetime(2026, 1, 31, 12, tzinfo=timezone.utc)

    def test_a_file_that_has_changed(self, backend: Pair) -> None:
        path = Path("owners.csv")
        path.write_text("id,name\n" + "".join(f"{id},n{at}\n" for at, id in enumerate(IDS)))
        move = backend.move(source=infra.CsvSource(path))
        move.run(limit=3)
        path.write_text(path.read_text().replace("n6", "N6"))  # behind the place
        path.write_text(path.read_text() + f"{uuid.UUID(int=9 << 64)},n7\n")
        assert backend.move(source=infra.CsvSource(path)).run(limit=1).counts.read == 4
        path.write_text(path.read_text().replace("n1", "N1"))
        error = refusal(backend.move(source=infra.CsvSource(path)).run)
        assert "has changed before record 5" in str(error)
        assert backend.names() == ["n0", "n1", "n2", "n3"]

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("id,name\n1\n", "line 2: 1 values for 2 columns"),
            ("id,id\n", "header of unique names"),
            ("", None),
            ('id,name\n1,"a\n', "not valid CSV near line"),
        ],
    )
    def test_a_file_that_is_no_csv(self, backend: Pair, text: str, words: str | None) -> None:
        Path("owners.csv").write_text(text)
        error = refusal(backend.move(source=infra.CsvSource("owners.csv")).run)
        assert (words or "the rows for owners have no ") in str(error)

    def test_a_file_that_is_not_there(self, backend: Pair) -> None:
        error = refusal(backend.move(source=infra.CsvSource("owners.csv")).run)
        assert str(error) == "owners.csv cannot be read: No such file or directory"

    def test_json_lines(self, backend: Pair) -> None:
        rows = [{"id": str(id), "name": name} for id, name in zip(IDS, NAMES)]
        text = "\n\n".join(map(json.dumps, rows))
        Path("owners.jsonl").write_text(text)
        move = backend.move(source=infra.JsonLinesSource("owners.jsonl"))
        assert move.run(limit=2).counts.read == 2
        assert move.run().counts == DONE
        assert backend.names() == NAMES
        Path("bad.jsonl").write_text('{"id": 1}\n[]\n')
        move = backend.move(source=infra.JsonLinesSource("bad.jsonl"))
        assert "owners was begun with another" in str(refusal(move.run))
        assert refusal(lambda: move.run(dry_run=True)).key == "record=2"

    def test_a_sqlite_file(self, backend: Pair) -> None:
        with sqlite3.connect("old.db") as old:
            old.execute(
                "CREATE TABLE people (id TEXT, number INT, name TEXT, PRIMARY KEY (number, id))"
            )
            rows = [(str(id), 7 - at // 2, name) for at, (id, name) in enumerate(zip(IDS, NAMES))]
            old.executemany("INSERT INTO people VALUES (?, ?, ?)", rows)
        old.close()
        source = infra.SqliteSource("old.db", "people")
        move = backend.move(
            source=source, transform=lambda row: {"id": row["id"], "name": row["name"]}, batch=2
        )
        assert move.run(limit=3).counts.read == 3
        assert move.run().counts == DONE
        assert backend.names() == NAMES
        assert move.verify().ok

    # Bad arguments

    @pytest.mark.parametrize(
        "options",
        [
            {"version": 0},
            {"version": "1"},
            {"source": [{"id": 1}]},
            {"transform": 7},
            {"batch": 0},
            {"batch": True},
            {"lock_timeout": -1},
            {"targets": {}},
            {"target": None},
            {"target": "owners"},
        ],
    )
    def test_bad_options(self, backend: Pair, options: dict[str, Any]) -> None:
        with pytest.raises(infra.ConfigurationError):
            backend.move(**options)

    def test_other_bad_arguments(self, backend: Pair) -> None:
        target = backend.target.database
        wrong: list[Callable[[], Any]] = [
            lambda: infra.RowMove("", source=infra.IterableSource([]), target=backend.table()),
            lambda: infra.TableSource(7, "owners"),  # type: ignore[arg-type]
            lambda: infra.TableSource(target, "owners; DROP TABLE owners"),
            lambda: infra.TableTarget(target, "owners", on_conflict="ignore"),
            lambda: infra.TableTarget(target, "owners", write="replace"),
            lambda: infra.TableTarget(target, "owners", columns=["name"]),
            lambda: infra.TableTarget(target, "owners", policies={"name": "drop"}),
            lambda: infra.RepositoryTarget(target),  # type: ignore[arg-type]
            lambda: infra.RepositoryTarget(backend.target.owners, on_conflict="update"),
            lambda: infra.IterableSource({"id": 1}),  # type: ignore[dict-item]
            lambda: infra.IterableSource("text"),  # type: ignore[arg-type]
            lambda: backend.move().run(limit=0),
            lambda: backend.move(targets={"": backend.table()}),
            lambda: backend.move(targets={"a": "owners"}, transform=dict),
        ]
        for call in wrong:
            with pytest.raises((infra.ConfigurationError, infra.ValidationError)):
                call()


def uid(value: Any) -> uuid.UUID:
    return value if isinstance(value, uuid.UUID) else uuid.UUID(value)


def key_of(backend: Pair, id: uuid.UUID) -> str:
    return str(id)


def on_fakes(source: str, target: str) -> Any:
    @pytest.fixture
    def backend(self: object) -> Pair:
        return Pair(fake_backend(source), fake_backend(target))

    return backend


def on_servers(source: str, target: str) -> Any:
    @pytest.fixture
    def backend(self: object, database: Callable[[str], str]) -> Iterator[Pair]:
        found = Pair(
            real_backend(with_tables(database, source)), real_backend(_second(database, target))
        )
        if found.has_begun():
            found.target.database.execute("DROP TABLE infra_moves")
        yield found
        found.source.database.close()
        found.target.database.close()

    return backend


_seconds: dict[str, str] = {}


def _second(database: Callable[[str], str], name: str) -> str:
    """The URL of another database of this run with the tables."""
    if name not in _seconds:
        from tests.contract.databases import create_tables

        _seconds[name] = database(name)
        create_tables(_seconds[name])
    return _seconds[name]


class TestFakeMySQLToPostgres(MoveContract):
    backend = on_fakes("mysql", "postgres")


class TestFakePostgresToMySQL(MoveContract):
    backend = on_fakes("postgres", "mysql")


class TestFakeToPostgres(MoveContract):
    @pytest.fixture
    def backend(self, database: Callable[[str], str]) -> Iterator[Pair]:
        found = Pair(fake_backend("mysql"), real_backend(_second(database, "postgres")))
        if found.has_begun():
            found.target.database.execute("DROP TABLE infra_moves")
        yield found
        found.target.database.close()


class TestMariaDBToMySQL(MoveContract):
    backend = on_servers("mariadb", "mysql")


class TestMariaDBToPostgres(MoveContract):
    backend = on_servers("mariadb", "postgres")


class TestMySQLToMariaDB(MoveContract):
    backend = on_servers("mysql", "mariadb")


class TestMySQLToPostgres(MoveContract):
    backend = on_servers("mysql", "postgres")


class TestPostgresToMariaDB(MoveContract):
    backend = on_servers("postgres", "mariadb")


class TestPostgresToMySQL(MoveContract):
    backend = on_servers("postgres", "mysql")


class TestPostgresToPostgres(MoveContract):
    backend = on_servers("postgres", "postgres")
