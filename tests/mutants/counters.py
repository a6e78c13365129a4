"""Mutants of counters, locks and versions."""

from __future__ import annotations

from tests.mutants.edits import Drop, Edit, Never, Replace, Text
from tests.mutants.suite import FAKES, INFRA, Mutant, OnFakes, OnServers

COUNTERS = ("contract/test_counters.py",)


def shared(name: str, edit: Edit) -> Mutant:
    return OnFakes(f"counters: {name}", INFRA, edit, COUNTERS)


def fake(name: str, edit: Edit) -> Mutant:
    return OnFakes(f"counters: {name}", FAKES, edit, COUNTERS)


def on_servers(name: str, edit: Edit, case: str) -> Mutant:
    return OnServers(f"counters: {name}", INFRA, edit, (f"contract/test_counters.py::{case}",))


MUTANTS: list[Mutant] = [
    shared(
        "a change keeps updated_at",
        Never("Repository._edit_stamps", "'updated_at' in self._held"),
    ),
    shared(
        "a change keeps the version",
        Replace(
            "Repository._edit_stamps", "{self.version: _Plus(1)} if self.version else {}", "{}"
        ),
    ),
    shared(
        "upsert leaves the version as it was",
        Replace(
            "Repository.upsert",
            "changes |= self._edit_stamps()",
            "changes |= {**self._edit_stamps(), self.version: row.get(self.version)}",
        ),
    ),
    shared("nothing is a change", Never("Repository._field_edits", "not changes")),
    shared(
        "update_fields changes guarded fields",
        Replace(
            "Repository._field_edits",
            "{*self.key, *self._compared, *self.kept, *self.folded, 'updated_at'}",
            "{*self.key, self.version, *self.kept, *self.folded, 'updated_at'}",
        ),
    ),
    shared(
        "update_fields changes kept fields",
        Replace(
            "Repository._field_edits",
            "{*self.key, *self._compared, *self.kept, *self.folded, 'updated_at'}",
            "{*self.key, *self._compared, *self.folded, 'updated_at'}",
        ),
    ),
    shared(
        "update_fields changes a folded column",
        Replace(
            "Repository._field_edits",
            "{*self.key, *self._compared, *self.kept, *self.folded, 'updated_at'}",
            "{*self.key, *self._compared, *self.kept, 'updated_at'}",
        ),
    ),
    shared(
        "the rules of an update are passed over",
        Never("Repository._field_edits", "self._has_own('update')"),
    ),
    shared(
        "increment stores the amount",
        Replace("Repository.increment", "_Plus(edits[field])", "edits[field]"),
    ),
    shared(
        "increment takes a field that may be None",
        Replace("Repository.increment", "column.optional", "False"),
    ),
    shared(
        "increment takes whole numbers only",
        Replace("Repository.increment", "(int, Decimal)", "(int,)"),
    ),
    shared(
        "a lock is not taken",
        Replace(
            "Repository.get",
            "return self._first('get', where, lock=lock)",
            "return self._first('get', where)",
        ),
    ),
    shared(
        "a lock is taken outside a transaction",
        Never("Repository.get", "lock and self.database._current() is None"),
    ),
    shared(
        "a lock may be any value",
        Drop("Repository.get", "_FLAG.check('lock', lock)"),
    ),
    shared(
        "a version begins with 0",
        Replace(
            "Repository._filled",
            "1 if name == self.version else self._cut(name, now)",
            "0 if name == self.version else self._cut(name, now)",
        ),
    ),
    shared(
        "update stores the version that was read",
        Replace("Repository.update", "read[self.version] + 1", "read[self.version]"),
    ),
    shared(
        "update does not compare the version",
        Replace("_RecordSchema.__init__", "(*self.guarded, self.version)", "(*self.guarded,)"),
    ),
    shared(
        "a version may be None",
        Replace("_RecordSchema._version_problem", "found.optional", "False"),
    ),
    shared(
        "a version may be hidden",
        Replace("_RecordSchema._version_problem", "self.version in self._fields", "True"),
    ),
    shared(
        "a version may be guarded",
        Replace(
            "_RecordSchema._version_problem",
            "{*self.key, *self.guarded, *self.kept}",
            "{*self.key, *self.kept}",
        ),
    ),
    fake(
        "a failed transaction keeps its locks",
        Never("FakeDatabase._doom", "block.doom is not None and block.doom_depth == 1"),
    ),
    fake(
        "a failed savepoint releases all locks",
        Replace("FakeDatabase._doom", "block.doom_depth == 1", "block.doom_depth"),
    ),
    shared("run repeats no stale read", Replace("Database.run", "1000", "0")),
    shared(
        "run always repeats a stale read",
        Replace("Database.run", "1000 if conflicts else 0", "1000"),
    ),
    shared(
        "run repeats every conflict",
        Replace("Database.run", "(error.constraint or '').endswith('_as_read')", "True"),
    ),
    shared(
        "run repeats a stale read after its deadline",
        Replace("Database.run", "self._clock.monotonic() >= until", "False"),
    ),
    shared(
        "conflicts may be any value",
        Drop("Database.run", "_FLAG.check('conflicts', conflicts)"),
    ),
    fake(
        "a sum is rounded",
        Replace("_sum", "_EXACT.add(value, amount)", "value + amount"),
    ),
    fake(
        "a sum may not fit",
        Replace("FakeTable._change", "new |= self._values.fit_changes(added)", "new |= added"),
    ),
    fake(
        "a locking read takes no turn",
        Replace(
            "FakeTable._select",
            "return self._database._atomically(operation, work, write=lock)",
            "return self._database._atomically(operation, work, write=False)",
        ),
    ),
    fake(
        "every read takes a turn",
        Replace(
            "FakeTable._select",
            "return self._database._atomically(operation, work, write=lock)",
            "return self._database._atomically(operation, work, write=True)",
        ),
    ),
    on_servers(
        "a server locks nothing",
        Text("SqlRepository._rows", " FOR UPDATE", ""),
        "TestPostgres::test_a_writer_waits_for_a_lock",
    ),
    on_servers(
        "a lock is the text of a read",
        Replace(
            "SqlRepository._rows",
            "(names, condition, (*order,), bounds)",
            "(names, condition, (*order,))",
        ),
        "TestPostgres::test_a_second_lock_waits_and_reads_what_is_committed",
    ),
    on_servers(
        "a server subtracts",
        Text("SqlRepository._change", " + ", " - "),
        "TestMariaDB::test_increment",
    ),
]
