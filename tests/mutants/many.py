"""Mutants of calls with many records."""

from __future__ import annotations

from tests.mutants.edits import Drop, Edit, Never, Replace
from tests.mutants.suite import FAKES, INFRA, Mutant, OnFakes, OnServers

MANY = ("contract/test_many_rows.py",)


def shared(name: str, edit: Edit) -> Mutant:
    return OnFakes(f"many: {name}", INFRA, edit, MANY)


def fake(name: str, edit: Edit) -> Mutant:
    return OnFakes(f"many: {name}", FAKES, edit, MANY)


def on_servers(name: str, edit: Edit, case: str) -> Mutant:
    return OnServers(f"many: {name}", INFRA, edit, (f"contract/test_many_rows.py::{case}",))


MUTANTS: list[Mutant] = [
    shared(
        "create_many ignores a create of its own",
        Never("Repository.create_many", 'self._has_own("create")'),
    ),
    shared(
        "every class has a create of its own",
        Replace("Repository._has_own", "inspect.unwrap(own)", "own"),
    ),
    shared(
        "records are created one by one without a transaction",
        Replace(
            "Repository._each_created", "self.database.transaction()", "contextlib.nullcontext()"
        ),
    ),
    shared(
        "create_many refuses ids that are given",
        Replace(
            "Repository.create_many",
            "len({self._made in row for row in rows}) > 1",
            "any([self._made in row for row in rows])",
        ),
    ),
    shared(
        "create_many names the next record",
        Replace("Repository.create_many", "enumerate(records)", "enumerate(records, 1)"),
    ),
    shared(
        "create_many is no savepoint",
        Replace(
            "Repository.create_many", "self.database.transaction()", "contextlib.nullcontext()"
        ),
    ),
    shared(
        "create_many returns ids in the other order",
        Replace("Repository.create_many", "zip(rows, made)", "zip(rows, made[::-1])"),
    ),
    shared(
        "a create that needs more is a wrong value",
        Replace(
            "Repository._each_created",
            "ConfigurationError(message)",
            "ValidationError(message)",
        ),
    ),
    shared(
        "upsert takes any class",
        Never(
            "Repository._upsert_rules",
            'self.guarded or self._has_own("create") or self._has_own("update")',
        ),
    ),
    shared(
        "upsert takes keys that the record does not hold",
        Replace("Repository._upsert_rules", "known.issuperset(columns)", "True"),
    ),
    shared(
        "upsert changes created_at",
        Replace(
            "Repository.upsert", '{*self._unchanged, "created_at"}', "{*self._unchanged}"
        ),
    ),
    shared(
        "upsert changes the key and kept fields",
        Replace("Repository.upsert", '{*self._unchanged, "created_at"}', '{"created_at"}'),
    ),
    shared(
        "upsert stores the updated_at that is given",
        Replace(
            "Repository.upsert",
            "changes |= self._edit_stamps()",
            "changes = {**self._edit_stamps(), **changes}",
        ),
    ),
    shared(
        "upsert says that the record is new",
        Replace(
            "Repository.upsert",
            "Upserted(self._make(found), False)",
            "Upserted(self._make(found), True)",
        ),
    ),
    shared(
        "upsert returns the record as given",
        Replace("Repository.upsert", "self._make(found)", "record"),
    ),
    shared(
        "upsert goes by the primary key",
        Replace("Repository.upsert", "_plain(on)", "next(iter(rules))"),
    ),
    shared("NULL equals NULL", Never("Repository.upsert", "None in where.values()")),
    fake(
        "Postgres uses up no id for a record that exists",
        Drop("FakeTable._merge.work", "self._propose(row)"),
    ),
    fake(
        "upsert creates each record",
        Never("FakeTable._merge.work", "self._change(where, changes)"),
    ),
    on_servers(
        "a key that another caller took is an error",
        Replace("SqlRepository._merge", "tries = 10", "tries = 1"),
        "TestMariaDB::test_many_threads_store_the_same_new_keys",
    ),
    on_servers(
        "MySQL begins again after any conflict",
        Replace(
            "SqlRepository._merge",
            "error.constraint != rule or not tries",
            "error.constraint == rule or not tries",
        ),
        "TestMariaDB::test_many_threads_store_few_keys",
    ),
    on_servers(
        "Postgres says that each record is new",
        Replace("SqlRepository._merge_at_once", "not created", "False"),
        "TestPostgres::test_a_record_is_created_then_changed",
    ),
    fake(
        "Postgres makes the ids row by row",
        Never("FakeTable._insert_all.work", "ids_first and self._made and not self._follows"),
    ),
    fake(
        "given ids are returned as made ones",
        Replace("FakeRepository._insert_all", "made if numbered else []", "made"),
    ),
    on_servers(
        "ids have no gaps",
        Replace(
            "_MySqlSession.insert_rows",
            "range(first, first + step * len(texts), step)",
            "range(first, first + len(texts))",
        ),
        "TestMariaDB::test_ids_with_gaps",
    ),
    on_servers(
        "an INSERT before the last has other ids",
        Replace(
            "_MySqlSession.insert_rows",
            "first = cursor.lastrowid",
            "first = cursor.lastrowid + (not ids)",
        ),
        "TestMariaDB::test_several_batches",
    ),
    on_servers(
        "Postgres returns the ids backwards",
        Replace("_PostgresSession.insert_rows", "(source.size, ids)", "(source.size, ids[::-1])"),
        "TestPostgres::test_records_are_stored_in_order",
    ),
    on_servers(
        "the first batch is sent again",
        Replace("SqlRepository._insert_all", "rows[start : start + size]", "rows[:size]"),
        "TestPostgres::test_several_batches",
    ),
]  # fmt: skip
