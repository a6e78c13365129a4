"""Mutants of databases, migrations, records and repositories."""

from __future__ import annotations

from tests.mutants.edits import Always, Drop, Never, Replace, Text
from tests.mutants.suite import FAKES, INFRA, Mutant, OnFakes, OnServers

DATABASE = ("contract/test_database.py",)
FAKE_DATABASE = ("contract/test_database.py", "unit/test_fakes.py")
TOKENS = ("contract/test_token_repository.py",)
RECORDS = ("contract/test_database.py", "unit/test_fakes.py")
USERS = ("contract/test_user_repository.py",)
ORGANIZATIONS = ("contract/test_organization_repository.py",)
BENCHMARKS = ("contract/test_benchmark_repository.py",)
SUBMISSIONS = ("contract/test_submission_repository.py",)

DATABASES: list[Mutant] = [
    OnFakes(
        "databases: a doomed transaction goes on",
        INFRA,
        Never("Database._check", "block.doom is not None"),
        DATABASE,
    ),
    OnFakes(
        "databases: MySQL goes on after a deadlock",
        INFRA,
        Replace(
            "Database._doom",
            "outermost or (retry and self.engine == 'mysql')",
            "outermost and not retry",
        ),
        FAKE_DATABASE,
    ),
    OnServers(
        "databases: an implicit commit goes unnoticed",
        INFRA,
        Never("ConnectionPool._within", "not self._dialect.in_transaction(session)"),
        ("faults/test_databases.py::test_ddl_in_a_transaction",),
    ),
    OnFakes(
        "databases: run repeats whatever failed",
        INFRA,
        Replace(
            "Database.run.attempt",
            "current.final = not isinstance(error, DatabaseError)",
            "error.retryable = True",
        ),
        FAKE_DATABASE,
    ),
    OnServers(
        "databases: a dead connection is handed out",
        INFRA,
        Never("ConnectionPool._is_dead", "session.is_readable(0)"),
        ("faults/test_databases.py::test_killed_and_restarted_between_calls",),
    ),
    OnServers(
        "databases: an unsound connection is lent again",
        INFRA,
        Replace("ConnectionPool._give_back", "not sound", "False"),
        ("faults/test_databases.py::test_a_failure_gives_the_place_back",),
    ),
    OnServers(
        "databases: an UPDATE counts what it changed",
        INFRA,
        Replace(
            "_MySqlDialect.log_in",
            "driver.constants.CLIENT.FOUND_ROWS",
            "driver.constants.CLIENT.LONG_FLAG",
        ),
        ("contract/test_database.py::TestMariaDB::test_update_where_nothing_is_to_be_stored",),
    ),
    OnServers(
        "databases: MySQL is not strict",
        INFRA,
        Text("_MySqlDialect.session", "STRICT_ALL_TABLES,", ""),
        ("contract/test_database.py::TestMariaDB::test_check_and_not_null",),
    ),
    OnServers(
        "databases: the first 'for key' names the rule",
        INFRA,
        Replace(
            "_MySqlDialect.constraint",
            'text.rpartition("for key \'")',
            'text.partition("for key \'")',
        ),
        ("contract/test_database.py::TestMariaDB::test_a_value_cannot_fake_the_name_of_a_rule",),
    ),
    OnFakes(
        "databases: tasks share a transaction",
        INFRA,
        Replace("_Block.is_ours", "self.task is _this_task()", "True"),
        DATABASE,
    ),
    OnFakes(
        "databases: a thread with a copied context shares the transaction",
        INFRA,
        Replace("_Block.is_ours", "self.thread == threading.get_ident()", "True"),
        DATABASE,
    ),
    OnFakes(
        "databases: what is started in a block has transactions of its own",
        INFRA,
        Replace(
            "Database._current",
            "block is None or not block.depth",
            "block is None or not block.depth or not block.is_ours()",
        ),
        DATABASE,
    ),
    OnFakes(
        "databases: a copied context is another one, for ever",
        INFRA,
        Replace("Database._current", "block is None or not block.depth", "block is None"),
        DATABASE,
    ),
    OnFakes(
        "databases: a thread that ends keeps its transaction",
        INFRA,
        Drop("_OpenBlocks.__del__", "database._reclaim(block)"),
        DATABASE,
    ),
    OnServers(
        "databases: a thread that ends keeps its connection",
        INFRA,
        Drop("_OpenBlocks.__del__", "database._reclaim(block)"),
        ("faults/test_databases.py::test_the_connection_of_a_thread_that_has_ended",),
    ),
    OnFakes(
        "databases: a task that ends keeps its transaction",
        INFRA,
        Drop("Database._task_done", "self._reclaim(block)"),
        DATABASE,
    ),
    OnFakes("databases: naive datetimes pass", INFRA, Never("_aware", "offset is None"), DATABASE),
    OnFakes(
        "fake database: others see what is not committed",
        FAKES,
        Never(
            "FakeTable._candidates",
            "writer is not None and writer is not database._blocks.get()",
        ),
        FAKE_DATABASE,
    ),
    OnFakes(
        "fake database: a savepoint is not rolled back",
        FAKES,
        Never(
            "FakeDatabase._savepoint",
            "command == 'ROLLBACK TO SAVEPOINT' and self._writer is block",
        ),
        FAKE_DATABASE,
    ),
    OnFakes(
        "fake database: blanks at the end count",
        FAKES,
        Never("FakeTable._comparable", "self._pads and value.__class__ is str"),
        FAKE_DATABASE,
    ),
    OnFakes(
        "fake database: no cascade",
        FAKES,
        Never("FakeTable._on_delete", "rule.on_delete == 'cascade'"),
        FAKE_DATABASE,
    ),
    OnFakes(
        "fake database: writers do not wait",
        FAKES,
        Always("FakeDatabase._queue", "writer is None or writer is block"),
        FAKE_DATABASE,
    ),
    OnFakes(
        "fake database: a lost connection keeps others waiting",
        FAKES,
        Drop("FakeDatabase._kill", "self._give_up_turn(block)"),
        ("unit/test_fakes.py",),
    ),
    OnFakes(
        "fake database: Ctrl-C at the end of a block",
        INFRA,
        Never("_Transaction.__exit__", "innermost and self._depth == 1"),
        ("unit/test_fakes.py::test_ctrl_c_locks_nobody_out",),
    ),
    OnFakes(
        "fake database: Ctrl-C at the end of a nested block",
        INFRA,
        Never("_Transaction.__exit__", "innermost and not isinstance(caught, InfrastructureError)"),
        ("unit/test_fakes.py::test_ctrl_c_locks_nobody_out",),
    ),
    OnFakes(
        "fake database: Ctrl-C between the steps of a change",
        FAKES,
        Drop("FakeTable._put", "found.pop(key, None)"),
        ("unit/test_fakes.py",),
    ),
    OnFakes(
        "fake database: Ctrl-C behind a statement without a block",
        FAKES,
        Drop("FakeDatabase._write", "self._undo_to(mark)"),
        ("unit/test_fakes.py::test_ctrl_c_locks_nobody_out",),
    ),
    OnFakes(
        "fake database: a row restricts itself on no engine",
        FAKES,
        Replace(
            "_KEY_ORDERS",
            "_KeyOrder(True, False, True, False)",
            "_KeyOrder(True, False, False, False)",
        ),
        DATABASE,
    ),
    OnFakes(
        "fake database: a row restricts itself in cascades of MySQL",
        FAKES,
        Replace(
            "_KEY_ORDERS",
            "_KeyOrder(True, False, True, False)",
            "_KeyOrder(True, False, True, True)",
        ),
        DATABASE,
    ),
    OnFakes(
        "fake database: Postgres goes row by row",
        FAKES,
        Replace("FakeTable._delete.work", "self._pads", "True"),
        DATABASE,
    ),
    OnFakes(
        "fake database: the key of a row that refers to itself stays",
        FAKES,
        Never(
            "FakeTable._refuse_orphans",
            "child is self and not self._pads and self._key(row, rule.columns) != before",
        ),
        DATABASE,
    ),
]

SCHEMAS: list[Mutant] = [
    OnServers(
        "migrations: no lock",
        INFRA,
        Never("Migrator._locked", "not session.try_lock()"),
        ("faults/test_migrations.py::test_three_processes_at_once",),
    ),
    OnServers(
        "migrations: no record before a statement",
        INFRA,
        Drop("Migrator._apply", "self._record(session, migration, step, 'started')"),
        ("faults/test_migrations.py::test_a_failed_step_is_dirty",),
    ),
    OnServers(
        "migrations: edits pass",
        INFRA,
        Never("Migrator._compare", "checksum != _checksum(each.statements[:done])"),
        ("faults/test_migrations.py::test_an_edited_migration_is_refused",),
    ),
]

TABLES: list[Mutant] = [
    OnFakes(
        "tokens: a caller can undo the answer to a theft",
        INFRA,
        Never("Database._outside", "self._current() is not None"),
        TOKENS,
    ),
    OnFakes(
        "tokens: the conditional write has no condition",
        INFRA,
        Replace(
            "TokenRepository._rotate",
            "{'token_hash': digest, **self._valid()}",
            "{'token_hash': digest}",
        ),
        TOKENS,
    ),
    OnFakes(
        "tokens: grace revives a family",
        INFRA,
        Never(
            "TokenRepository._rotate",
            "not self._change('rotate', {'family': old.family, **self._valid()},"
            " {'last_used_at': now})",
        ),
        TOKENS,
    ),
    OnServers(
        "tokens: a family's end misses rotations under way",
        INFRA,
        Replace(
            "TokenRepository._revoke_all.work",
            """
while self._number(operation, {**where, "revoked_at": None}):
    count += self._revoke(operation, where, reason)
""",
            """
if self._number(operation, {**where, "revoked_at": None}):
    count += self._revoke(operation, where, reason)
""",
        ),
        (f"{TOKENS[0]}::TestMariaDB::test_a_family_that_ends_while_it_is_rotated",),
    ),
    OnFakes(
        "records: past an __init__ of their own",
        INFRA,
        Replace("_maker", "not usual", "False"),
        RECORDS,
    ),
    OnFakes(
        "records: past a metaclass",
        INFRA,
        Replace("_maker", "type(record).__call__ is not type.__call__", "False"),
        RECORDS,
    ),
    OnFakes(
        "records: into a __dict__ beside slots",
        INFRA,
        Replace(
            "_maker",
            "hasattr(record, '__post_init__') or slots or not getattr(record, '__dictoffset__', 0)",
            "hasattr(record, '__post_init__') or not getattr(record, '__dictoffset__', 0)",
        ),
        RECORDS,
    ),
    OnFakes(
        "records: an update of nothing stores all",
        INFRA,
        Replace("Repository._changes", "{'id': values['id']}", "dict(values)"),
        RECORDS,
    ),
    OnFakes(
        "records: infinite decimals",
        INFRA,
        Replace(
            "Repository._check.decimal",
            "not isinstance(value, Decimal) or value.is_finite()",
            "True",
        ),
        RECORDS,
    ),
    OnFakes(
        "exchange: the last owner may leave",
        INFRA,
        Never(
            "UserRepository._keep_an_owner",
            "self._members._rows(operation, ('user_id',), owners, limit=2) == [(who['user_id'],)]",
        ),
        USERS,
    ),
    OnFakes(
        "exchange: an owner that leaves does not wait for others",
        INFRA,
        Drop("UserRepository._take_turns", "self._organizations._change(operation, place, place)"),
        USERS,
    ),
    OnFakes(
        "exchange: what was read before the last change is stored",
        INFRA,
        Replace("Repository._as_read", "('id', *self.guarded)", "('id',)"),
        USERS,
    ),
    OnFakes(
        "exchange: any move of a status",
        INFRA,
        Replace(
            "BenchmarkRepository.update_status",
            "_OneOf(self.moves[status])",
            "_OneOf([*self.moves])",
        ),
        BENCHMARKS,
    ),
    OnFakes(
        "exchange: what is kept is stored",
        INFRA,
        Replace("Repository._changes", "name not in self._as_it_is", "name != 'id'"),
        SUBMISSIONS,
    ),
    OnFakes(
        "exchange: what is kept is folded anew",
        INFRA,
        Replace(
            "Repository._changes", "name not in self._as_it_is", "name not in ('id', *self.kept)"
        ),
        ORGANIZATIONS,
    ),
    OnServers(
        "exchange: filters in any order",
        INFRA,
        Replace(
            "Repository._page",
            "{name: query.filters[name] for name in self.filter_fields if name in query.filters}",
            "{name: query.filters[name] for name in query.filters}",
        ),
        ("faults/test_exchange_statements.py::test_filters_make_one_text_in_whichever_order",),
    ),
    OnFakes(
        "exchange: another address stays verified",
        INFRA,
        Replace("UserRepository.update", "{**values, 'email_verified': False}", "values"),
        USERS,
    ),
    OnFakes(
        "exchange: names that nobody sees",
        INFRA,
        Replace("UserRepository.visible", "('email', 'username')", "()"),
        USERS,
    ),
    OnFakes(
        "exchange: equal scores, different ranks",
        INFRA,
        Always("SubmissionRepository.leaderboard", "row[3] != last"),
        SUBMISSIONS,
    ),
    OnServers(
        "exchange: private submissions are ranked",
        INFRA,
        Text("PostgresSubmissionRepository._ranking", " AND visibility = 'public'", ""),
        (f"{SUBMISSIONS[0]}::TestPostgres::test_only_what_is_public_and_scored_is_ranked",),
    ),
    OnFakes(
        "exchange: the fake ranks private submissions",
        FAKES,
        Replace(
            "FakeSubmissionRepository._ranked.work",
            "row['visibility'] == 'public' and row['aggregate_score'] is not None",
            "row['aggregate_score'] is not None",
        ),
        SUBMISSIONS,
    ),
    OnFakes(
        "exchange: accents composed otherwise are another name",
        INFRA,
        Replace(
            "_folded",
            "unicodedata.normalize('NFC', unicodedata.normalize('NFD', text).casefold())",
            "text.casefold()",
        ),
        USERS,
    ),
    OnServers(
        "exchange: a search has wildcards",
        INFRA,
        Replace(
            "SqlRepository._parameters", r"re.sub('[|%_]', r'|\g<0>', value.value)", "value.value"
        ),
        (f"{ORGANIZATIONS[0]}::TestPostgres::test_search",),
    ),
    OnFakes(
        "exchange: tuples pass as JSON",
        INFRA,
        Replace("_document", "document.value == value", "True"),
        USERS,
    ),
    OnFakes(
        "exchange: documents of the fake are live",
        FAKES,
        Replace("_copied", "infra._decode(value.text)[0]", "value.value"),
        USERS,
    ),
]

MUTANTS: list[Mutant] = [*DATABASES, *SCHEMAS, *TABLES]
