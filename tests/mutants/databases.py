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
LOSSY = ("faults/test_databases.py::test_what_a_server_would_round_or_cut_off_in_silence",)

DATABASES: list[Mutant] = [
    OnFakes(
        "databases: a doomed transaction goes on",
        INFRA,
        Never("_Transactions._check", "block.doom is not None"),
        DATABASE,
    ),
    OnFakes(
        "databases: MySQL goes on after a deadlock",
        INFRA,
        Replace(
            "_Transactions._doom",
            "outermost or (retry and self.engine == 'mysql')",
            "outermost and not retry",
        ),
        FAKE_DATABASE,
    ),
    OnServers(
        "databases: an implicit commit goes unnoticed",
        INFRA,
        Never("_SqlStatements._within", "not session.in_transaction()"),
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
        "databases: a wrong password is sent again",
        INFRA,
        Replace("_PostgresErrorReader.login_rule", "_postgres_login(str(exc))", "(code, rule)"),
        ("faults/test_logins.py::test_what_another_setting_mends_is_tried_once",),
    ),
    OnServers(
        "databases: a login in another language is tried again",
        INFRA,
        Replace("_POSTGRES_LOGINS", "('\\\\S', None, _FOREIGN_WORDS)", "('', '', _UNREACHABLE)"),
        ("faults/test_logins.py::test_words_that_nobody_knows",),
    ),
    OnServers(
        "databases: a missing column has the code of a missing table",
        INFRA,
        Replace("_SqlTransactions._no_such", "len(column)", "0"),
        ("faults/test_statement_errors.py::test_insert_many_into_what_is_not_there",),
    ),
    OnServers(
        "databases: an unknown code of a login is a wrong password",
        INFRA,
        Replace("_ErrorReader.login_rule", "_AT_LOGIN.get(rule, rule)", "_LOGIN"),
        ("faults/test_logins.py::test_codes_that_pass",),
    ),
    OnServers(
        "databases: a proxy without a server behind it is final",
        INFRA,
        Text("_MySqlErrorReader.worded_rules", "hostgroup", "host group"),
        ("faults/test_logins.py::test_codes_that_pass",),
    ),
    OnServers(
        "databases: the options of a URL are never the cause",
        INFRA,
        Never(
            "_PostgresErrorReader.login_rule",
            "'options' in self._options and rule in (_FOREIGN_WORDS, _NO_ROLE)",
        ),
        (
            "faults/test_logins.py::test_options_that_the_server_refuses",
            "faults/test_logins.py::test_options_that_a_german_server_refuses",
        ),
    ),
    OnServers(
        "databases: a division by zero is a value that does not fit",
        INFRA,
        Text("_ROWS_OF_RULES", "22012", "22052"),
        ("faults/test_statement_errors.py::test_the_reason",),
    ),
    OnServers(
        "databases: a stream of an UPDATE gets no hint",
        INFRA,
        Replace("_ErrorReader.syntax_hint", "sent.before", "False"),
        ("faults/test_statement_errors.py::test_a_stream_of_what_is_no_query",),
    ),
    OnServers(
        "databases: a place is counted in what was sent",
        INFRA,
        Replace("_PostgresErrorReader._origin", "at - width", "at"),
        ("faults/test_statement_errors.py::test_the_name_and_its_place",),
    ),
    OnServers(
        "databases: a value passes for a name",
        INFRA,
        Replace(
            "_PostgresErrorReader._origin", "self._syntax.masked(sql)", "sql.replace(\"'\", ' ')"
        ),
        ("faults/test_statement_errors.py::test_no_value_passes_for_a_name",),
    ),
    OnServers(
        "databases: the server's text is quoted unasked",
        INFRA,
        Replace(
            "_sql_error",
            "dialect.config.error_detail and (text := errors.server_text(exc))",
            "(text := errors.server_text(exc))",
        ),
        ("faults/test_statement_errors.py::test_the_servers_own_text",),
    ),
    OnFakes(
        "databases: a fake names no column",
        FAKES,
        Replace("_IndexedRows._check_columns", "f'\"{unknown}\"'", "''"),
        ("contract/test_database.py",),
    ),
    OnServers(
        "databases: SET stays in the pool",
        INFRA,
        Replace("_Session.announce", "self.retires_at = 0.0", "pass"),
        ("faults/test_databases.py::test_a_setting_does_not_stay_in_the_pool",),
    ),
    OnServers(
        "databases: only the first word of a statement tells that it sets something",
        INFRA,
        Replace("_Syntax.may_change_session", "self.session_change_signs", "()"),
        ("faults/test_databases.py::test_what_outlasts_a_statement_does_not_stay_in_the_pool",),
    ),
    OnServers(
        "databases: a socket that nobody serves stays open",
        INFRA,
        Drop("_open_unix_socket", "raw.close()"),
        ("faults/test_databases.py::test_a_socket_that_nobody_serves",),
    ),
    OnFakes(
        "databases: a NUL in a URL reaches the driver",
        INFRA,
        Replace("_Url.parse", "'\\x00' in text", "False"),
        ("unit/test_configuration.py",),
    ),
    OnFakes(
        "databases: a fake answers a statement",
        FAKES,
        Text("FakeDatabase._statement", "runs no SQL", "failed"),
        ("contract/test_database.py::TestFakeMySQL::test_a_fake_runs_no_sql",),
    ),
    OnFakes(
        "databases: rows go into any class",
        INFRA,
        Never("_check_into", "into is not dict and not is_class"),
        ("contract/test_database.py::TestFakeMySQL::test_into_is_checked_before_the_statement",),
    ),
    OnFakes(
        "databases: into is checked by stream alone",
        INFRA,
        Drop("Database.fetch_one", "_check_into(into)"),
        ("contract/test_database.py::TestFakeMySQL::test_into_is_checked_before_the_statement",),
    ),
    OnServers(
        "databases: of two columns with one name the last wins",
        INFRA,
        Never("_row_maker", "name in names[:at]"),
        ("contract/test_database.py::TestMariaDB::test_columns_that_do_not_fit",),
    ),
    OnServers(
        "databases: columns that do not fit are an error of no operation",
        INFRA,
        Replace("Database._labelled", "(self.engine, operation)", "(self.engine, None)"),
        ("contract/test_database.py::TestMariaDB::test_columns_that_do_not_fit",),
    ),
    OnServers(
        "databases: the last rows of a stream have no names",
        INFRA,
        Replace("_PostgresSession.fetch", "self.raw.cursor()", "cursor"),
        ("contract/test_database.py::TestPostgres::test_rows_as_dicts_and_dataclasses",),
    ),
    OnFakes(
        "databases: a copy of FILLED is another object",
        INFRA,
        Drop("_Filled.__reduce__", "return 'FILLED'"),
        ("unit/test_filled.py",),
    ),
    OnFakes(
        "databases: FILLED is true",
        INFRA,
        Replace("_Filled.__bool__", "False", "True"),
        ("unit/test_filled.py",),
    ),
    OnFakes(
        "databases: create does not fill None",
        INFRA,
        Replace("Repository._filled", "value is FILLED or value is None", "value is FILLED"),
        ("unit/test_filled.py",),
    ),
    OnFakes(
        "databases: a move compares fields that create fills",
        INFRA,
        Replace("_is_unfilled", "value is None or value is FILLED", "value is None"),
        ("unit/test_filled.py",),
    ),
    OnFakes(
        "databases: a repository has a clock of its own",
        INFRA,
        Replace("Repository.__init__", "getattr(database, '_clock', None)", "None"),
        ("unit/test_fakes.py",),
    ),
    OnFakes(
        "databases: an id that is none is in the context of its error",
        INFRA,
        Replace(
            "_fit_ids",
            "with contextlib.suppress(ValueError):\n    return [*map(_uuid_of, values)]",
            "try:\n    return [*map(_uuid_of, values)]\nexcept ValueError:\n    "
            "raise ValidationError(f'{name} should be a uuid.UUID, or the text of one') from None",
        ),
        ("unit/test_contexts.py",),
    ),
    OnServers(
        "databases: a percent sign in a schema is a placeholder",
        INFRA,
        Replace("_MigrationHistory.write", "self.table.replace('%', '%%')", "self.table"),
        ("faults/test_migrations.py::test_a_percent_sign_in_the_name_of_a_database_or_schema",),
    ),
    OnServers(
        "databases: a migration that is edited exits 0",
        INFRA,
        Replace("_show_status", "('dirty', 'edited')", "('dirty',)"),
        ("unit/test_command_line.py::test_status_of_an_edited_migration",),
    ),
    OnServers(
        "databases: a connection to a read-only server is kept",
        INFRA,
        Replace("_Sessions.give_back", "sound and session.is_new", "sound"),
        ("faults/test_databases.py::test_a_borrower_on_the_old_server_fails_once",),
    ),
    OnServers(
        "databases: a refused write is sent over another old connection",
        INFRA,
        Never("_SqlStatements._statement.attempt", "refused and not session.is_new"),
        ("faults/test_databases.py::test_a_write_goes_to_the_new_server",),
    ),
    OnServers(
        "databases: old connections are lent after a failover",
        INFRA,
        Never("_Sessions._is_dead", "session.generation != self._generation"),
        ("faults/test_databases.py::test_a_transaction_begins_again_on_the_new_server",),
    ),
    OnServers(
        "databases: Postgres' 25006 is any refusal",
        INFRA,
        Text("_ROWS_OF_RULES", "25006", "25007"),
        ("faults/test_databases.py::test_a_write_goes_to_the_new_server",),
    ),
    OnServers(
        "databases: MySQL's 1290 is any refusal",
        INFRA,
        Text("_MySqlErrorReader.worded_rules", "read-only", "read-write"),
        ("faults/test_databases.py::test_a_write_goes_to_the_new_server",),
    ),
    OnServers(
        "databases: Postgres keeps a savepoint that was rolled back",
        INFRA,
        Text("_PostgresDialect.undo", "; RELEASE SAVEPOINT {name}", ""),
        ("faults/test_databases.py::test_failing_blocks_leave_no_savepoint",),
    ),
    OnServers(
        "databases: a savepoint is released, and not rolled back",
        INFRA,
        Text("_Dialect.undo", "ROLLBACK TO", "RELEASE"),
        ("faults/test_databases.py::test_many_failing_blocks_at_many_depths",),
    ),
    OnServers(
        "databases: a dead connection is handed out",
        INFRA,
        Never("_Sessions._is_dead", "session.is_readable(0)"),
        ("faults/test_databases.py::test_killed_and_restarted_between_calls",),
    ),
    OnServers(
        "databases: an unsound connection is lent again",
        INFRA,
        Replace("_Sessions.give_back", "not sound", "False"),
        ("faults/test_databases.py::test_a_failure_gives_the_place_back",),
    ),
    OnServers(
        "databases: an UPDATE counts what it changed",
        INFRA,
        Replace(
            "_MySqlDialect._log_in",
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
            "_MySqlErrorReader.constraint",
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
            "_Transactions._current",
            "block is None or not block.depth",
            "block is None or not block.depth or not block.is_ours()",
        ),
        DATABASE,
    ),
    OnFakes(
        "databases: a copied context is another one, for ever",
        INFRA,
        Replace("_Transactions._current", "block is None or not block.depth", "block is None"),
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
        Drop("_Transactions._task_done", "self._reclaim(block)"),
        DATABASE,
    ),
    OnFakes("databases: naive datetimes pass", INFRA, Never("_to_utc", "offset is None"), DATABASE),
    OnFakes(
        "fake database: others see what is not committed",
        FAKES,
        Never(
            "_IndexedRows._candidates",
            "writer is not None and writer is not database._blocks.get()",
        ),
        FAKE_DATABASE,
    ),
    OnFakes(
        "fake database: a savepoint is not rolled back",
        FAKES,
        Never(
            "FakeDatabase._savepoint",
            "command == 'ROLLBACK TO SAVEPOINT' and self._turns.writer is block",
        ),
        FAKE_DATABASE,
    ),
    OnFakes(
        "fake database: blanks at the end count",
        FAKES,
        Never("_IndexedRows._comparable", "self._is_mysql and value.__class__ is str"),
        FAKE_DATABASE,
    ),
    OnFakes(
        "fake database: no cascade",
        FAKES,
        Never("_ConstrainedRows._on_delete", "rule.on_delete == 'cascade'"),
        FAKE_DATABASE,
    ),
    OnFakes(
        "fake database: writers do not wait",
        FAKES,
        Always("_WriteTurns._queue", "writer is None"),
        FAKE_DATABASE,
    ),
    OnFakes(
        "fake database: a lost connection keeps others waiting",
        FAKES,
        Drop("FakeDatabase._kill", "self._turns.give_up(block)"),
        ("unit/test_fakes.py",),
    ),
    OnFakes(
        "fake database: Ctrl-C at the end of a block",
        INFRA,
        Never("_Transaction.__exit__", "innermost and self._depth == 1"),
        ("unit/test_fakes.py::test_ctrl_c_locks_nobody_out",),
    ),
    OnFakes(
        "fake database: Ctrl-C before the first step of a block's end",
        INFRA,
        Never("_Transaction.__enter__", "self._leaves"),
        ("unit/test_fakes.py::test_ctrl_c_locks_nobody_out",),
    ),
    OnFakes(
        "fake database: a block goes on after an interrupt",
        FAKES,
        Never("FakeDatabase._apply_fault", "not isinstance(error, infra.InfrastructureError)"),
        ("unit/test_fakes.py::test_a_fault_inside_a_block_has_the_errors_effect",),
    ),
    OnServers(
        "databases: Ctrl-C that psycopg2 swallows",
        INFRA,
        Never("_Interrupts.call", "session.interrupted and not was_raised"),
        ("faults/test_databases.py::test_ctrl_c_ends_a_copy_whose_rows_are_sent",),
    ),
    OnServers(
        "databases: what fails as lines of a COPY are made is the server's error",
        INFRA,
        Drop("_CopySource.read", "self.failure = failure"),
        ("faults/test_databases.py::test_a_value_that_cannot_be_written_in_the_middle_of_a_copy",),
    ),
    OnServers(
        "databases: a COPY ends after its first lines",
        INFRA,
        Replace("_CopyTexts.lines", "len(columns[0])", "self.ROWS"),
        ("faults/test_databases.py::test_a_value_that_cannot_be_written_in_the_middle_of_a_copy",),
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
        Drop("_IndexedRows._put", "found.pop(key, None)"),
        ("unit/test_fakes.py",),
    ),
    OnFakes(
        "fake database: Ctrl-C behind a statement without a block",
        FAKES,
        Drop("_WriteTurns._write", "self.undo_to(mark)"),
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
        Replace("FakeTable._delete.work", "self._is_mysql", "True"),
        DATABASE,
    ),
    OnFakes(
        "fake database: the key of a row that refers to itself stays",
        FAKES,
        Never(
            "_ConstrainedRows._refuse_orphans",
            "child is self and not self._is_mysql and self._key(row, rule.columns) != before",
        ),
        DATABASE,
    ),
]

SCHEMAS: list[Mutant] = [
    OnServers(
        "migrations: no lock",
        INFRA,
        Never("_RunnerSession.await_lock", "not self.try_lock(lock)"),
        ("faults/test_migrations.py::test_three_processes_at_once",),
    ),
    OnServers(
        "migrations: a failure has no code",
        INFRA,
        Replace("_MigrationRun._failure", "error.code", "None"),
        ("faults/test_migrations.py::test_a_failure_has_the_code_of_the_server",),
    ),
    OnServers(
        "migrations: a new value of an enum has no advice",
        INFRA,
        Replace(
            "_MigrationRun._fate_together", "self.REMEDIES.get(error.code, 'mend it')", "'mend it'"
        ),
        ("faults/test_migrations.py::test_a_new_value_of_an_enum",),
    ),
    OnServers(
        "migrations: what precedes the object of a statement stands for it",
        INFRA,
        Replace("_MigrationRun._words", "_STATEMENT_ASIDES.sub('', start)", "start"),
        ("faults/test_migrations.py::test_a_failed_statement_of_one_engine",),
    ),
    OnServers(
        "migrations: no record before a statement",
        INFRA,
        Never("_MigrationRun._statements", "not self._migration.transaction"),
        ("faults/test_migrations.py::test_a_failed_step_is_dirty",),
    ),
    OnServers(
        "migrations: edits pass",
        INFRA,
        Never(
            "_MigrationFiles._compare",
            "record.checksum != _record_checksum(migration, record)",
        ),
        ("faults/test_migrations.py::test_an_edited_migration_is_refused",),
    ),
    OnServers(
        "migrations: an open transaction passes for applied",
        INFRA,
        Always("_MigrationRun._note_transaction", "not self._session.in_transaction()"),
        ("faults/test_migrations.py::test_a_transaction_that_is_left_open",),
    ),
    OnServers(
        "migrations: locked tables pass",
        INFRA,
        Never("_MigrationRun._refuse_left_open", "session.is_locking(self._history.table)"),
        ("faults/test_migrations.py::test_tables_that_are_left_locked",),
    ),
    OnServers(
        "migrations: the record is written under the script's role",
        INFRA,
        Drop(
            "_MigrationRun.apply_together",
            "session.execute(session.dialect.resets())",
        ),
        ("faults/test_migrations.py::test_a_role_without_rights_on_the_history",),
    ),
    OnServers(
        "migrations: settings are lost where one is resumed",
        INFRA,
        Drop("_MigrationRun.apply_each", "self._resume()"),
        ("faults/test_migrations.py::test_a_session_that_is_resumed",),
    ),
    OnServers(
        "migrations: the rows of a transaction are written twice",
        INFRA,
        Replace(
            "_MigrationRun._note_transaction",
            "not self._opened"
            " or self._syntax.transaction_end.match(self._syntax.start_of_code(sql))",
            "not self._opened",
        ),
        ("faults/test_migrations.py::test_a_transaction_that_ends_another",),
    ),
    OnServers(
        "migrations: a comment ends the words of a statement",
        INFRA,
        Replace("_Syntax.start_of_code", "len(start) > 200", "start"),
        (
            "faults/test_migrations.py::test_a_session_that_is_resumed",
            "faults/test_migrations.py::test_a_savepoint_begins_no_transaction",
        ),
    ),
    OnServers(
        "migrations: a line of Postgres ends at a line feed only",
        INFRA,
        Text("_PostgresScript.line_comment", "\\r", ""),
        ("faults/test_migrations.py::test_a_script_that_names_the_history",),
    ),
    OnServers(
        "values: digits stand for the number of an ENUM's value",
        INFRA,
        Never("_fit_texts", "column.choices"),
        LOSSY,
    ),
    OnServers(
        "migrations: scripts may name the history",
        INFRA,
        Never("_MigrationFiles._check_statements", "step in named"),
        ("faults/test_migrations.py::test_a_script_that_names_the_history",),
    ),
    OnServers(
        "migrations: a killed runner's statement is not waited for",
        INFRA,
        Replace(
            "Migrator._locked",
            "(history.lock, 'another runner holds the lock of migrations'), "
            "(history.busy, 'a statement of a runner that has gone is still running')",
            "((history.lock, 'another runner holds the lock of migrations'),)",
        ),
        ("faults/test_migrations.py::test_the_statement_of_a_killed_runner_still_runs",),
    ),
    OnServers(
        "migrations: a renamed file runs again",
        INFRA,
        Drop("_MigrationFiles._pending", "self._check_renamed(migration, records)"),
        ("faults/test_migrations.py::test_a_file_renamed_while_it_was_dirty",),
    ),
    OnServers(
        "migrations: any records are taken over",
        INFRA,
        Never("Migrator.take_over", "not states or 'edited' in states.values()"),
        ("faults/test_migrations.py::test_records_that_are_not_taken_over",),
    ),
    OnFakes(
        "migrations: only the exact word is near a marker",
        INFRA,
        Text("_MARKER_SHORT", "|migrate", "|migrat"),
        ("unit/test_migrations.py::test_what_seems_to_be_meant_as_a_marker",),
    ),
    OnFakes(
        "migrations: COPY from stdin passes",
        INFRA,
        Never(
            "_PostgresScript._examine",
            "self._strict and self.copy.match(sql, first, end)",
        ),
        ("unit/test_migrations.py::test_what_only_a_client_understands_is_refused",),
    ),
    OnFakes(
        "migrations: carriage returns become line feeds",
        INFRA,
        Replace(
            "_migration_text",
            "path.read_bytes().decode('utf-8-sig')",
            "path.read_text(encoding='utf-8-sig')",
        ),
        ("unit/test_migrations.py::test_ends_of_lines_in_quotes_are_kept",),
    ),
    OnFakes(
        "migrations: the checksum sees carriage returns",
        INFRA,
        Replace("_checksum", "text", "'\\0'.join(statements)", nth=2),
        ("unit/test_migrations.py::test_ends_of_lines_in_quotes_are_kept",),
    ),
]

TABLES: list[Mutant] = [
    OnFakes(
        "tokens: a caller can undo the answer to a theft",
        INFRA,
        Never("_Transactions._outside", "self._current() is not None"),
        TOKENS,
    ),
    OnFakes(
        "tokens: the conditional write has no condition",
        INFRA,
        Replace(
            "TokenRepository._rotate",
            "{**identity, **self._valid()}",
            "identity",
        ),
        TOKENS,
    ),
    OnFakes(
        "tokens: grace revives a family",
        INFRA,
        Never(
            "TokenRepository._rotate",
            "not self._change('rotate', family, {'last_used_at': now})",
        ),
        TOKENS,
    ),
    OnServers(
        "tokens: a family's end misses rotations under way",
        INFRA,
        Replace(
            "TokenRepository._revoke_all.work",
            """
while self._number(operation, where):
    count += self._change(operation, where, changes)
""",
            """
if self._number(operation, where):
    count += self._change(operation, where, changes)
""",
        ),
        (f"{TOKENS[0]}::TestMariaDB::test_a_family_that_ends_while_it_is_rotated",),
    ),
    OnFakes(
        "records: past an __init__ of their own",
        INFRA,
        Replace(
            "_RecordStore._make",
            "return self.record(*values)",
            """
made = object.__new__(self.record)
vars(made).update(zip(self._shown, values))
return made
""",
        ),
        RECORDS,
    ),
    OnServers(
        "records: on MySQL NULL and long texts are read as short ones",
        INFRA,
        Never("_MySqlResult._read_row_from_packet", "end - start > 250"),
        ("contract/test_database.py::TestMariaDB::test_records_that_do_not_fit_exactly",),
    ),
    OnServers(
        "records: the last digit of an id that a server sends is lost",
        INFRA,
        Replace("_uuid_of", "int(digits, 16)", "int(digits, 16) & ~15"),
        ("contract/test_database.py::TestMariaDB::test_records_are_made_as_their_class_has_it",),
    ),
    OnFakes(
        "records: an __init__ takes its arguments in any order",
        INFRA,
        Replace(
            "_RecordSchema.__init__",
            "_record_shape(record)[1] == [*self._shown]",
            "{*_record_shape(record)[1]} == {*self._shown}",
        ),
        RECORDS,
    ),
    OnFakes(
        "records: past a metaclass",
        INFRA,
        Replace(
            "_RecordStore._make",
            "self.record(**dict(zip(self._shown, values)))",
            "type.__call__(self.record, **dict(zip(self._shown, values)))",
        ),
        RECORDS,
    ),
    OnFakes(
        "records: an update of nothing stores all",
        INFRA,
        Replace("Repository._changes", "{self.key[0]: values[self.key[0]]}", "dict(values)"),
        RECORDS,
    ),
    OnFakes(
        "values: white space beyond a column's size passes",
        INFRA,
        Never("_fit_texts", "column.size is not None and max(map(len, values)) > column.size"),
        DATABASE,
    ),
    OnFakes(
        "values: a document may be given as its text",
        INFRA,
        Replace("_DOCUMENTS", "(dict, list)", "(dict, list, str)"),
        DATABASE,
    ),
    OnFakes(
        "values: a column of ASCII takes any text",
        INFRA,
        Never("_fit_texts", "column.ascii"),
        ("unit/test_fakes.py::test_a_move_diverts_what_is_not_ascii",),
    ),
    OnServers(
        "values: blanks that CHAR cuts off",
        INFRA,
        Never("_fit_texts", "column.fixed and any((text.endswith(' ') for text in values))"),
        LOSSY,
    ),
    OnServers(
        "values: an array has no scale",
        INFRA,
        Replace(
            "_fit_arrays",
            "_value_type(type(element)) in _COLUMN_KINDS[column.element.kind][1]",
            "False",
        ),
        LOSSY,
    ),
    OnServers(
        "values: an interval has no unit",
        INFRA,
        Never("_fit_durations", "unit is not None and value % unit"),
        LOSSY,
    ),
    OnServers(
        "values: an empty list is an empty object",
        INFRA,
        Never("_PostgresDialect.convert_list", "not values"),
        ("faults/test_databases.py::test_an_empty_list_is_no_empty_object",),
    ),
    OnFakes(
        "values: True is a number",
        INFRA,
        Replace("_value_type", "base in _VALUE_TYPES", "base in _VALUE_TYPES.keys() - {bool}"),
        DATABASE,
    ),
    OnFakes(
        "values: MySQL takes infinity",
        INFRA,
        Never("_fit_floats", "column.finite and (not all(map(math.isfinite, values)))"),
        DATABASE,
    ),
    OnFakes(
        "values: a refused batch does not say which operation",
        INFRA,
        Drop("Database._labelled", "error.service, error.operation = (self.engine, operation)"),
        DATABASE,
    ),
    OnFakes(
        "values: decimals are rounded",
        INFRA,
        Replace("_DIGITS", "[Inexact, InvalidOperation]", "[InvalidOperation]"),
        DATABASE,
    ),
    OnServers(
        "values: fractions of a second are lost",
        INFRA,
        Never("_fit_fractions", "step > 1 and any((value.microsecond % step for value in values))"),
        DATABASE,
    ),
    OnServers(
        "values: MariaDB's JSON is text",
        INFRA,
        Drop(
            "_MySqlSession.read_columns",
            "found[name.lower()] = catalogue.column_types['json']",
        ),
        ("contract/test_database.py::TestMariaDB::test_what_a_column_takes",),
    ),
    OnServers(
        "values: the catalogue's scale is not read",
        INFRA,
        Replace(
            "_Catalogue.column_type",
            "known._replace(size=size, scale=scale)",
            "known._replace(size=size)",
        ),
        ("contract/test_database.py::TestPostgres::test_what_a_column_takes",),
    ),
    OnFakes(
        "records: a decimal is returned as it was given",
        INFRA,
        Replace("_FieldColumn.decimal", "return exact", "return value"),
        RECORDS,
    ),
    OnFakes(
        "records: bytes have no length",
        INFRA,
        Never("_FieldColumn.data", "value is not None and 0 < self._longest < len(value)"),
        RECORDS,
    ),
    OnFakes(
        "records: fractions of a second are lost",
        INFRA,
        Never("_FieldColumn.moment", "value.microsecond % self.step"),
        RECORDS,
    ),
    OnFakes(
        "records: a subclass of Decimal is not checked",
        INFRA,
        Replace(
            "_FieldColumn.decimal",
            "value = self.plain(value)",
            """
if isinstance(value, Decimal) and value.__class__ is not Decimal:
    return _plain(value)
value = self.plain(value)
""",
        ),
        RECORDS,
    ),
    OnFakes(
        "records: a filled time has fractions that no column keeps",
        INFRA,
        Replace("_RecordSchema._cut", "now.microsecond % self._held[name].step", "0"),
        RECORDS,
    ),
    OnFakes(
        "fake database: blanks at the end count in checks",
        FAKES,
        Never("_ConstrainedRows._run_checks", "self._is_mysql"),
        DATABASE,
    ),
    OnFakes(
        "fake database: a primary key may be NULL",
        FAKES,
        Replace("_ColumnValues.__init__", "replace(columns[name], null=False)", "columns[name]"),
        FAKE_DATABASE,
    ),
    OnFakes(
        "fake database: a decimal is kept as it was given",
        FAKES,
        Replace(
            "_ColumnValues._fit_decimal",
            "infra._exact_decimal(value, column.precision, column.scale)",
            "infra._exact_decimal(value, column.precision, column.scale) and value",
        ),
        FAKE_DATABASE,
    ),
    OnFakes(
        "records: infinite decimals",
        INFRA,
        Replace(
            "_FieldColumn.decimal",
            "not value.is_finite()",
            "False",
        ),
        RECORDS,
    ),
    OnFakes(
        "exchange: the last owner may leave",
        INFRA,
        Never(
            "UserRepository._lock_owners",
            "self._members._rows(operation, ('user_id',), owners, limit=2)"
            " == [(member['user_id'],)]",
        ),
        USERS,
    ),
    OnFakes(
        "exchange: an owner that leaves does not wait for others",
        INFRA,
        Drop(
            "UserRepository._lock_owners",
            "self._organizations._change(operation, place, place)",
        ),
        USERS,
    ),
    OnFakes(
        "exchange: what was read before the last change is stored",
        INFRA,
        Replace("Repository._as_read", "(*self.key, *self._compared)", "self.key"),
        USERS,
    ),
    OnFakes(
        "exchange: any move of a status",
        INFRA,
        Replace(
            "BenchmarkRepository.update_status",
            "OneOf(sources)",
            "OneOf([*self.moves])",
        ),
        BENCHMARKS,
    ),
    OnFakes(
        "exchange: what is kept is stored",
        INFRA,
        Replace("Repository._changes", "self._unchanged", "('id',)"),
        SUBMISSIONS,
    ),
    OnFakes(
        "exchange: what is kept is folded anew",
        INFRA,
        Replace("Repository._changes", "self._unchanged", "('id', *self.kept)"),
        ORGANIZATIONS,
    ),
    OnServers(
        "exchange: filters in any order",
        INFRA,
        Replace(
            "_RecordSchema._conditions",
            "self._held.items()",
            "[(name, self._held[name]) for name in given]",
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
        Text("_SqlSubmissionRepository._ranking", " AND visibility = 'public'", ""),
        (f"{SUBMISSIONS[0]}::TestPostgres::test_only_what_is_public_and_scored_is_ranked",),
    ),
    OnServers(
        "exchange: MySQL's leaderboard has all submissions",
        INFRA,
        Replace("MySQLSubmissionRepository._last_limit", "'%s'", "'1000 OFFSET %s'"),
        (f"{SUBMISSIONS[0]}::TestMariaDB::test_only_what_is_public_and_scored_is_ranked",),
    ),
    OnServers(
        "exchange: tags of MySQL are not decoded",
        INFRA,
        Replace(
            "MySQLBenchmarkRepository._others",
            "tuple(sorted(_read_document(text)))",
            "tuple(text[2:-2].split('\", \"')) if text != '[]' else ()",
        ),
        (f"{BENCHMARKS[0]}::TestMySQL::test_tags_with_any_character",),
    ),
    OnFakes(
        "exchange: a folded key is as long as its text",
        INFRA,
        Replace("_RecordSchema._key_lengths", "3", "1"),
        ("unit/test_folding.py",),
    ),
    OnFakes(
        "one database: a bundle with two has one",
        INFRA,
        Never("Infrastructure.database", "engine != other"),
        ("unit/test_one_database.py",),
    ),
    OnServers(
        "one database: the exchange has a pool of its own",
        INFRA,
        Always("Infrastructure._database_on", "len({*self._engines}) > 1"),
        ("unit/test_one_database.py",),
    ),
    OnServers(
        "one database: on Postgres it is MySQL's classes",
        INFRA,
        Replace(
            "Infrastructure._on",
            "{'mysql': mysql, 'postgres': postgres}[database.engine]",
            "mysql",
        ),
        ("unit/test_one_database.py",),
    ),
    OnFakes(
        "exchange: the fake ranks private submissions",
        FAKES,
        Replace(
            "FakeSubmissionRepository._rank",
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
            "SqlRepository._term",
            r"re.sub('[|%_]', r'|\g<0>', *value._values)",
            "value._values[0]",
        ),
        (f"{ORGANIZATIONS[0]}::TestPostgres::test_search",),
    ),
    OnFakes(
        "exchange: tuples pass as JSON",
        INFRA,
        Replace("_document", "found == value", "True"),
        USERS,
    ),
    OnFakes(
        "exchange: documents of the fake are live",
        FAKES,
        Replace("_copied", "infra._decode(value.text)[0]", "value.value"),
        USERS,
    ),
]

COMPARE = "contract/test_own_tables.py::test_compare"
COMPARISONS: list[Mutant] = [
    OnServers(
        "compare: what only the server has goes unnoticed",
        FAKES,
        Replace("_differences", "found.keys() - rules.keys()", "()"),
        (COMPARE,),
    ),
    OnServers(
        "compare: NULL makes no difference",
        FAKES,
        Replace("_in_words", "' NULL' if null else ' NOT NULL'", "''"),
        (COMPARE,),
    ),
    OnServers(
        "compare: ON DELETE makes no difference",
        FAKES,
        Replace("_key_words", "rule.upper().replace('NO ACTION', 'RESTRICT')", "'RESTRICT'"),
        (COMPARE,),
    ),
    OnServers(
        "compare: any collation will do",
        FAKES,
        Replace("_real_columns", "not is_binary", "False"),
        ("contract/test_own_tables.py::test_columns_that_others_have_made",),
    ),
]

MUTANTS: list[Mutant] = [*DATABASES, *SCHEMAS, *TABLES, *COMPARISONS]
