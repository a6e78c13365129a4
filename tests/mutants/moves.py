"""Mutants of the data moves."""

from __future__ import annotations

from tests.mutants.edits import Always, Drop, Never, Replace
from tests.mutants.suite import FAKES, INFRA, Mutant, OnFakes, OnServers

CASES = "contract/test_moves.py"
DAYS = "faults/test_moves.py"
FAST = "faults/test_fast_moves.py"


def on_fakes(*cases: str) -> tuple[str, ...]:
    """The ids of the cases on the two pairs of fakes."""
    classes = ("TestFakeMySQLToPostgres", "TestFakePostgresToMySQL")
    return tuple(f"{CASES}::{each}::{case}" for each in classes for case in cases)


MUTANTS: list[Mutant] = [
    OnFakes(
        "moves: a page begins with the last row of the one before",
        FAKES,
        Replace("_FakeRows.page.read", "place(row) > place(last)", "place(row) >= place(last)"),
        on_fakes("test_rows_that_are_there_are_skipped"),
    ),
    OnFakes(
        "moves: a page begins behind the first row of the one before",
        INFRA,
        Replace("_portion", "keys[-1]", "keys[0]"),
        on_fakes("test_rows_that_are_there_are_skipped"),
    ),
    OnFakes(
        "moves: a page that is full is the last",
        INFRA,
        Replace("_portion", "len(rows) < limit", "len(rows) <= limit"),
        on_fakes("test_all_rows_move"),
    ),
    OnFakes(
        "moves: the checkpoint does not count batches",
        INFRA,
        Replace("_CheckpointRepository.advance", "before.batches + 1", "before.batches"),
        on_fakes("test_rejects_of_a_batch_that_was_not_committed"),
    ),
    OnFakes(
        "moves: the counts of earlier batches are forgotten",
        INFRA,
        Replace(
            "_MoveRun._move_batch.work",
            "point.counts",
            "MoveCounts()",
        ),
        on_fakes("test_all_rows_move"),
    ),
    OnFakes(
        "moves: what earlier runs did is not told",
        INFRA,
        Never("_MoveRun._checkpoint", "self._resumed is None"),
        on_fakes("test_a_part_and_the_rest"),
    ),
    OnFakes(
        "moves: a limit is for each batch",
        INFRA,
        Replace("_MoveRun._size", "self._end - read", "self._end"),
        on_fakes("test_a_part_and_the_rest"),
    ),
    OnFakes(
        "moves: a dropped row is not counted",
        INFRA,
        Drop("_FittedBatch._transformed", "dropped += not pairs"),
        on_fakes("test_a_transform_that_drops_and_multiplies"),
    ),
    OnFakes(
        "moves: a row that is to be skipped is overwritten",
        INFRA,
        Never("TableTarget._plan", "self.write == 'insert' and self.on_conflict == 'skip'"),
        on_fakes("test_rows_that_are_there_are_skipped"),
    ),
    OnFakes(
        "moves: the first of two rows with one key is updated by none",
        INFRA,
        Drop("TableTarget._plan", "present.add(key)"),
        on_fakes("test_a_key_that_comes_twice"),
    ),
    OnFakes(
        "moves: missing rows count as updated",
        INFRA,
        Replace("TableTarget._plan", "len(rows) - len(inserts) - len(updates)", "0"),
        on_fakes("test_a_column_is_filled"),
    ),
    OnFakes(
        "moves: all columns are updated",
        INFRA,
        Replace(
            "TableTarget._set_columns",
            "self._columns or [name for name in names if name not in shape.key]",
            "[]",
        ),
        on_fakes("test_a_column_is_filled"),
    ),
    OnFakes(
        "moves: a diverted row is not counted",
        INFRA,
        Replace("_FittedBatch._fit", "len(self.rejects)", "0"),
        on_fakes("test_policies"),
    ),
    OnFakes(
        "moves: a value is replaced by NULL",
        INFRA,
        Replace("TableTarget._fit_or_reject", "isinstance(policy, Replace)", "False"),
        on_fakes("test_policies"),
    ),
    OnFakes(
        "moves: rejects of a batch that was not committed stay",
        INFRA,
        Never("_restore_rejects", "found > size"),
        on_fakes("test_rejects_of_a_batch_that_was_not_committed"),
    ),
    OnFakes(
        "moves: None goes where the column takes none",
        INFRA,
        Replace("TableTarget._fit_values", "None in fitted", "False"),
        on_fakes("test_none_where_the_column_takes_none"),
    ),
    OnFakes(
        "moves: another version goes on",
        INFRA,
        Replace("_MoveRun._checkpoint", "point.description != description", "False"),
        on_fakes("test_a_move_of_another_version", "test_a_move_of_another_table"),
    ),
    OnFakes(
        "moves: an accepted change is not kept",
        INFRA,
        Replace("_MoveRun._move_batch.work", "self._description", "point.description"),
        on_fakes("test_a_move_of_another_version"),
    ),
    OnFakes(
        "moves: a restart goes on",
        INFRA,
        Never("_MoveRun._checkpoint", "point is not None and self._restart"),
        on_fakes("test_a_restart"),
    ),
    OnFakes(
        "moves: a run inside a transaction",
        INFRA,
        Replace(
            "_MoveRun._attempt", 'move.database._outside("move", "commits each batch")', "pass"
        ),
        on_fakes("test_inside_a_transaction"),
    ),
    OnFakes(
        "moves: the error of a later batch comes first",
        INFRA,
        Replace("_MoveRun._move_batches", "writing.result()", "pass"),
        on_fakes("test_an_error_of_the_next_batch"),
    ),
    OnFakes(
        "moves: two runs at once",
        FAKES,
        Replace("FakeDatabase._lock", "held.acquire(timeout=lock_timeout)", "True"),
        on_fakes("test_two_runs_at_once"),
    ),
    OnFakes(
        "moves: a dry run does not look at what is there",
        INFRA,
        Replace(
            "TableTarget._write",
            "return counts",
            "return MoveCounts(written=len(columns[0]))",
            nth=1,
        ),
        on_fakes("test_a_dry_run"),
    ),
    OnFakes(
        "moves: the error names the row before",
        INFRA,
        Replace(
            "_FittedBatch.refused_row", "self._batch.key(count - 1)", "self._batch.key(count - 2)"
        ),
        on_fakes("test_a_row_that_is_there", "test_both_tables_or_none"),
    ),
    OnFakes(
        "moves: verify takes other values for equal",
        INFRA,
        Replace("TableTarget._compare", "wanted == stored", "True"),
        on_fakes("test_verify"),
    ),
    OnFakes(
        "moves: verify sees no further rows",
        INFRA,
        Replace("RowMove._extra", "target._rows.count() - found", "0"),
        on_fakes("test_verify"),
    ),
    OnFakes(
        "moves: verify joins ranges across equal rows",
        INFRA,
        Never("RowMove.verify", "state == 'equal'"),
        on_fakes("test_verify"),
    ),
    OnFakes(
        "moves: a repository's row that is there is not skipped",
        INFRA,
        Replace(
            "RepositoryTarget._write",
            "self.repository._exists('move', where)",
            "False",
        ),
        on_fakes("test_a_repository_that_refuses"),
    ),
    OnFakes(
        "moves: verify takes a repository's other values for equal",
        INFRA,
        Always("RepositoryTarget._compare", "self._is_same(record, stored)"),
        on_fakes("test_a_repository"),
    ),
    OnFakes(
        "moves: a source of Python code begins at its first row again",
        INFRA,
        Replace("IterableSource._begin_at", "itertools.islice(iterator, start)", "range(start)"),
        on_fakes("test_rows_that_python_makes"),
    ),
    OnFakes(
        "moves: a spent iterator is read again",
        INFRA,
        Never("IterableSource._begin_at", "iterator is given and self._is_spent"),
        on_fakes("test_rows_that_can_be_read_once"),
    ),
    OnFakes(
        "moves: a file that has changed is read on",
        INFRA,
        Never("_FileSource._go_to", "self._read_so_far.hexdigest() != place['digest']"),
        on_fakes("test_a_file_that_has_changed"),
    ),
    OnFakes(
        "moves: an empty text of a CSV file is a text",
        INFRA,
        Replace("CsvSource._parse", "value == self._null", "False"),
        on_fakes("test_a_csv_file"),
    ),
    OnFakes(
        "moves: a byte order mark is part of a name",
        INFRA,
        Never("_FileSource._line", "not self._offset"),
        on_fakes("test_a_csv_file"),
    ),
    OnFakes(
        "moves: a line that is no object is left out",
        INFRA,
        Never("JsonLinesSource._parse", "not isinstance(record, dict)"),
        on_fakes("test_json_lines"),
    ),
    OnFakes(
        "moves: SQLite's page begins with the first row",
        INFRA,
        Replace(
            "SqliteSource._page",
            """f"WHERE ({key}) > ({', '.join('?' * len(self._key))}) \"""",
            """f"WHERE ({key}) >= ({', '.join('?' * len(self._key))}) \"""",
        ),
        on_fakes("test_a_sqlite_file"),
    ),
    OnServers(
        "moves: an ENUM's place is its text",
        INFRA,
        Replace("_MySqlCatalogue.key_expression", "column.choices", "False"),
        ("properties/test_walks.py::test_the_walk_is_the_table",),
    ),
    OnServers(
        "moves: a composite key is compared by its first column",
        INFRA,
        Replace("_beyond", "enumerate(key)", "enumerate(key[:1])"),
        ("properties/test_walks.py::test_the_walk_is_the_table",),
    ),
    OnServers(
        "moves: control characters in a text take the fast path",
        INFRA,
        Replace("_SqlTable.rendered_page", "[*map(rendered.count, marked)] != sound", "False"),
        ("properties/test_paths.py::test_both_paths_store_the_same",),
    ),
    OnServers(
        "moves: a narrower column takes the fast path",
        INFRA,
        Replace("_takes_all", "0 < (size or 0) <= column.size", "True"),
        (f"{FAST}::test_the_report_names_the_path",),
    ),
    OnServers(
        "moves: indexes are made afterwards with the usual memory",
        INFRA,
        Replace("_SqlTable.alter", "self._catalogue.index_memory", "''"),
        (f"{FAST}::test_the_memory_for_indexes_afterwards",),
    ),
    OnServers(
        "moves: what a transform changes is written as it was",
        INFRA,
        Never(
            "TableTarget._as_left",
            "not all(map(operator.is_, values, map(given.__getitem__, part.at)))",
        ),
        ("properties/test_paths.py::test_both_paths_store_the_same",),
    ),
    OnServers(
        "moves: the texts of dropped rows are written",
        INFRA,
        Replace("TableTarget._as_left", "[*map(texts.__getitem__, part.at)]", "texts"),
        ("properties/test_paths.py::test_both_paths_store_the_same",),
    ),
    OnServers(
        "moves: a refused row of the fast path has no name",
        INFRA,
        Drop("_FittedBatch.refused_row", "self._fit()"),
        (f"{FAST}::test_a_row_that_the_target_refuses_is_named",),
    ),
    OnServers(
        "moves: indexes are not made again",
        INFRA,
        Replace("_MoveRun._alter", "make not in present", "make in present"),
        (f"{FAST}::test_indexes_afterwards",),
    ),
    OnServers(
        "moves: a table with rows loses its indexes",
        INFRA,
        Never("_MoveRun._without_indexes", "point.batches or target._rows.count()"),
        (f"{FAST}::test_a_table_with_rows_keeps_its_indexes",),
    ),
    OnServers(
        "moves: a SET is walked",
        INFRA,
        Replace("_SqlTable._read_shape", "row[4].startswith('set(')", "False"),
        (f"{DAYS}::test_keys_that_no_walk_can_go_by",),
    ),
    OnServers(
        "moves: digits of a FLOAT are lost",
        INFRA,
        Replace("_Catalogue.exact_expression", "self.exact", "{}"),
        (f"{DAYS}::test_the_golden_table",),
    ),
    OnServers(
        "moves: MariaDB's documents are texts",
        INFRA,
        Replace("_MySqlCatalogue.converter", "catalogue_type.startswith('longtext')", "False"),
        (f"{CASES}::TestMariaDBToPostgres::test_a_transform_gets_values",),
    ),
    OnServers(
        "moves: a key in other letters is missing",
        INFRA,
        Replace(
            "_SqlTable._find",
            "[(key, row[width:]) for key in keys for row in self._ask(sql, key)]",
            "[]",
        ),
        (f"{DAYS}::test_keys_that_the_collation_takes_for_equal",),
    ),
    OnServers(
        "moves: ids begin at one",
        INFRA,
        Always("_SqlTable.pass_ids", "not self._catalogue.sequence_of"),
        (f"{DAYS}::test_ids_go_on_behind_the_data",),
    ),
    OnServers(
        "moves: a deferred rule is checked at COMMIT",
        INFRA,
        Never("ConnectionPool._check_constraints", "self._dialect.check_constraints"),
        (f"{DAYS}::test_a_deferred_rule",),
    ),
    OnServers(
        "moves: a table without transactions is written",
        INFRA,
        Replace("_SqlTable._read_shape", "has_transactions != [(0,)]", "True"),
        (f"{DAYS}::test_a_table_without_transactions",),
    ),
    OnServers(
        "moves: two rows of a query on two pages are one",
        INFRA,
        Replace("QuerySource._page", "limit + 1", "limit"),
        (f"{DAYS}::test_queries_without_a_key",),
    ),
    OnServers(
        "moves: a copy has no unique keys",
        INFRA,
        Replace("_copied_rules", "names and {*names} <= {*source.names}", "False"),
        (f"{DAYS}::test_rules_of_a_copy[mariadb-postgres]",),
    ),
    OnServers(
        "moves: all columns of a copy take NULL",
        INFRA,
        Replace("_copied_columns", "name in shape.nullable", "True"),
        (f"{DAYS}::test_rules_of_a_copy[postgres-mariadb]",),
    ),
    OnServers(
        "moves: a copy has no defaults",
        INFRA,
        Replace("_copied_columns", "literal and kind not in avoided", "False"),
        (f"{DAYS}::test_rules_of_a_copy[mariadb-postgres]",),
    ),
    OnServers(
        "moves: a text of MySQL's default is bytes of Postgres",
        INFRA,
        Replace("_copied_columns", "kind not in avoided", "True"),
        (f"{DAYS}::test_rules_of_a_copy[mariadb-postgres]",),
    ),
    OnServers(
        "moves: the server makes no ids of a copy",
        INFRA,
        Never("_copied_columns", "is_made", nth=2),
        (f"{DAYS}::test_rules_of_a_copy[postgres-mariadb]",),
    ),
    OnServers(
        "moves: the copy of an unsigned number is too small",
        INFRA,
        Replace("_TableSyntax.kind", "column.unsigned", "0"),
        (f"{DAYS}::test_a_copy_of_the_golden_table[mariadb]",),
    ),
    OnServers(
        "moves: the copy of an ENUM takes every text",
        INFRA,
        Replace("_copied_columns", "re.match(r'enum(\\(.*\\))', text)", "None"),
        (f"{DAYS}::test_a_copy_of_the_golden_table[mariadb]",),
    ),
    OnServers(
        "moves: a table is created unasked",
        INFRA,
        Never("_move", "not arguments.apply"),
        ("unit/test_command_line.py::test_the_table_of_the_target[mariadb]",),
    ),
]
