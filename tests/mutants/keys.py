"""Mutants of the keys of repositories."""

from __future__ import annotations

from tests.mutants.edits import Always, Drop, Edit, Never, Replace
from tests.mutants.suite import FAKES, INFRA, Mutant, OnFakes, OnServers

KEYS = ("contract/test_keys.py",)


def shared(name: str, edit: Edit) -> Mutant:
    return OnFakes(f"keys: {name}", INFRA, edit, KEYS)


def fake(name: str, edit: Edit) -> Mutant:
    return OnFakes(f"keys: {name}", FAKES, edit, KEYS)


def on_servers(name: str, file: str, edit: Edit, case: str) -> Mutant:
    return OnServers(f"keys: {name}", file, edit, (f"contract/test_keys.py::{case}",))


MUTANTS: list[Mutant] = [
    shared("get finds any record", Replace("Repository.get", "self._by_key(key)", "{}")),
    shared("every key exists", Replace("Repository.exists", "self._by_key(key)", "{}")),
    shared("all records are deleted", Replace("Repository.delete", "self._by_key(key)", "{}")),
    shared(
        "the first column finds the record",
        Replace("_RecordSchema._by_key", "zip(self.key, key)", "zip(self.key, key[:1])"),
    ),
    shared(
        "a key may be too short",
        Replace("_RecordSchema._by_key", "len(key) != len(self.key)", "len(key) > len(self.key)"),
    ),
    shared(
        "an id that the server makes has a default",
        Never("_RecordSchema._defaults", "(made := cls._made_id(columns)) in cls.defaults"),
    ),
    fake(
        "several rows take ids one by one",
        Never(
            "FakeTable._insert_all.work",
            "self._follows and self._next_id > first and self._made not in rows[0]",
        ),
    ),
    shared(
        "a list is a key",
        Replace("_RecordSchema._by_key", "isinstance(key, tuple)", "isinstance(key, tuple | list)"),
    ),
    shared(
        "create returns the next id",
        Replace(
            "Repository._insert_numbered", "row[self._made] = made", "row[self._made] = made + 1"
        ),
    ),
    shared(
        "an id that is given is left out",
        Always("Repository._filled", "self._made and _is_unfilled(values.get(self._made))"),
    ),
    shared(
        "an id of 0 is sent",
        Replace("Repository._filled", "checked.get(self._made, 1) < 1", "False"),
    ),
    shared(
        "a number beyond the column is sent",
        Replace("_FieldColumn.whole", "bound < 1 << 64", "False"),
    ),
    shared(
        "keys have 32 bits",
        Replace("_FieldColumn.__init__", "self._longest or 32", "32"),
    ),
    shared(
        "a key of text may end with a blank",
        Replace(
            "_FieldColumn.__init__", "is_key or name in schema.trimmed", "name in schema.trimmed"
        ),
    ),
    shared(
        "a made id may be a part of the key",
        Replace("_RecordSchema._made_id", "made not in ([], [*cls.key])", "False"),
    ),
    shared(
        "guarded fields of any record count",
        Replace(
            "Repository._as_read", "(*self.key, *self._compared)", "(self.key[0], *self._compared)"
        ),
    ),
    shared(
        "an unknown field is left out",
        Replace(
            "_RecordSchema._checked",
            "raise self._unknown(values) from None",
            "del checked[name]",
        ),
    ),
    shared(
        "ddl makes no ids",
        Replace("_TableWriter._column", "name == self._made", "False"),
    ),
    fake(
        "an id returns after a rollback",
        Replace("_ConstrainedRows._draw", "min(self._next_id, last)", "len(self._rows) + 1"),
    ),
    fake(
        "no column makes ids",
        Replace("Table._columns_of", "field_name == made", "False"),
    ),
    fake(
        "a given id does not move the counter",
        Replace("_ConstrainedRows.__init__", "bool(made) and self._numbering.follows", "False"),
    ),
    fake(
        "a row without its parent uses up an id",
        Never("_ConstrainedRows._add_numbered", "not numbering.before_parents"),
    ),
    fake(
        "a value that does not fit uses up an id",
        Drop("_ConstrainedRows._add_numbered", "self._values.fit_changes(row)"),
    ),
    fake(
        "a row that a check refuses uses up an id",
        Drop(
            "_ConstrainedRows._add_numbered",
            "self._run_checks(fitted)",
        ),
    ),
    fake(
        "ids never end",
        Never("_ConstrainedRows._draw", "self._next_id > last and not self._numbering.repeats"),
    ),
    fake(
        "a move does not pass the ids",
        Drop(
            "_FakeRows.pass_ids", "self._database._atomically('move', lambda: table._follow(ids))"
        ),
    ),
    fake(
        "a column that is not there is read",
        Always("FakeRepository.__init__", "is_whole"),
    ),
    fake(
        "a row with a made id has no parent in itself",
        Replace(
            "_ConstrainedRows._check_parents",
            "parent is self and self._key(row, reference.target) == value",
            "False",
        ),
    ),
    on_servers(
        "MySQL tells another id",
        INFRA,
        Replace("_MySqlDialect.made_id", "cursor.lastrowid", "cursor.lastrowid + 1"),
        "TestMariaDB::test_the_server_makes_ids",
    ),
    on_servers(
        "Postgres tells another id",
        INFRA,
        Replace("_PostgresDialect.made_id", "cursor.fetchone()[0]", "cursor.fetchone()[0] + 1"),
        "TestPostgres::test_the_server_makes_ids",
    ),
    on_servers(
        "compare does not see who makes the ids",
        FAKES,
        Replace("_real_columns", "made.get(name, '')", "''"),
        "test_compare",
    ),
]
