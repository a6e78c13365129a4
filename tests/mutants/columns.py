"""Mutants of the types of fields, the names of columns and their defaults."""

from __future__ import annotations

from tests.mutants.edits import Drop, Edit, Never, Replace, Text
from tests.mutants.suite import FAKES, INFRA, Mutant, OnFakes, OnServers

COLUMNS = ("contract/test_columns.py",)
OWN_TABLES = ("contract/test_own_tables.py",)


def shared(name: str, edit: Edit, tests: tuple[str, ...] = COLUMNS) -> Mutant:
    return OnFakes(f"columns: {name}", INFRA, edit, tests)


def fake(name: str, edit: Edit) -> Mutant:
    return OnFakes(f"columns: {name}", FAKES, edit, COLUMNS)


CHECKS: list[Mutant] = [
    shared(
        "any text is a member's",
        Replace("_FieldColumn.member", "text in self.members", "True"),
    ),
    shared(
        "the member of another enumeration is a member",
        Replace("_FieldColumn.member", "isinstance(value, self._enums)", "hasattr(value, 'value')"),
    ),
    shared(
        "a time loses its zone",
        Replace(
            "_FieldColumn.time",
            "self.plain(value)",
            "value and self.plain(value).replace(tzinfo=None)",
        ),
    ),
    shared(
        "the database finds that a duration is too long",
        Never("_FieldColumn.duration", "value is not None and abs(value) >= 2**63 * _MICROSECOND"),
    ),
    shared(
        "a duration has whole milliseconds",
        Replace(
            "_FieldColumn.duration",
            "value // _MICROSECOND",
            "value // (1000 * _MICROSECOND) * 1000",
        ),
    ),
    shared(
        "a tuple holds anything",
        Replace(
            "_FieldColumn.texts",
            "all(text.__class__ is str for text in texts)",
            "isinstance(value, tuple)",
        ),
    ),
    shared(
        "a default is not checked",
        Drop("_RecordSchema._rules", "cls._defaults()"),
    ),
    shared(
        "two fields have one column",
        Replace("_Rules.__init__", "len({*own_columns}) < len(own)", "False"),
    ),
    shared(
        "a name without a field is dropped",
        Replace("_Rules.__init__", "'column_names', 'defaults', 'ascii'", "'defaults', 'ascii'"),
    ),
    shared(
        "a blank text is a value of an enumeration",
        Replace("_field_kind", "'' not in texts", "True"),
    ),
    shared(
        "a text of an enumeration ends with a blank",
        Replace("_field_kind", "text == text.strip()", "True"),
    ),
    shared(
        "a text of an enumeration has two lines",
        Replace("_field_kind", "text.isprintable()", "True"),
    ),
    shared(
        "an enumeration without members is a text",
        Replace("_field_kind", "values and fit and '' not in texts", "fit and '' not in texts"),
    ),
    shared(
        "a tuple of numbers is one of texts",
        Replace("_field_kind", "get_args(hint) == (str, ...)", "get_args(hint)"),
    ),
    shared(
        "a length is 0",
        Replace(
            "_FieldColumn._can_have_length", "_COUNT.valid(length)", "_COUNT_OR_0.valid(length)"
        ),
        OWN_TABLES,
    ),
]

READS: list[Mutant] = [
    shared(
        "a member is read as its text",
        Replace("_FieldColumn.read", "return self.members[value]", "return value"),
    ),
    shared(
        "what create returns has the text of a member",
        Never("Repository._stored", "stored.get(name) is not None"),
    ),
    shared(
        "a time of MySQL beyond a day is that of the next one",
        Replace("_FieldColumn.read", "not value.days", "True"),
    ),
    shared(
        "a tuple is read with any items",
        Replace("_FieldColumn.read", "all(text.__class__ is str for text in value)", "True"),
    ),
    shared(
        "the error of a read names the field",
        Replace("_FieldColumn.read", "self.column", "self._name"),
    ),
    shared(
        "a move finds that a member and its text differ",
        Replace("RepositoryTarget._is_same", "getattr(held, 'value', held)", "held"),
    ),
    fake(
        "a read returns what the columns hold",
        Drop("FakeRepository.__init__", "self._row_readers += self._readers.items()"),
    ),
    fake(
        "the error of a read names no service",
        Drop("FakeDatabase._do_atomically", "error.service = error.service or self.engine"),
    ),
    OnServers(
        "columns: a server's column is read as it is",
        INFRA,
        Drop("SqlRepository.__init__", "self._row_readers += self._readers.items()"),
        COLUMNS,
    ),
    OnServers(
        "columns: a server's column has the name of the field",
        INFRA,
        Replace("SqlRepository.__init__", "dialect.name(self._column(name))", "dialect.name(name)"),
        COLUMNS,
    ),
    OnServers(
        "columns: a list holds numbers that no column does",
        INFRA,
        Never("_in_list", "value.__class__ is int and not -(2**63) <= value < 2**63"),
        (f"{COLUMNS[0]}::TestMySQL::test_a_list_of_numbers_that_no_column_holds",),
    ),
]

TABLES: list[Mutant] = [
    shared(
        "a table has no check of members",
        Drop(
            "_Rules.__init__",
            "texts |= {name: [*one.members] for name, one in columns.items() if one.members}",
        ),
    ),
    shared(
        "a key's name has the names of fields",
        Replace("_Rules._unique_keys", "map(port._column, key)", "key"),
    ),
    shared(
        "the texts of an enumeration have no length",
        Replace("_FieldColumn.column_type", "map(len, self.members)", "()"),
    ),
    shared(
        "a duration has 32 bits",
        Replace("_FieldColumn.column_type", "size = 64", "size = 32"),
    ),
    shared(
        "ddl: a quote in a literal is not doubled",
        Text("_TableSyntax.literal", "\\g<0>\\g<0>", "\\g<0>"),
    ),
    shared(
        "ddl: a time on MySQL has a zone",
        Never("_TableSyntax.literal", "isinstance(value, datetime)"),
    ),
    shared(
        "ddl: a long text of MySQL has a default",
        Never("_TableWriter._column", "default is not None and kind in self._syntax.no_default"),
    ),
    shared(
        "ddl: no column has a default",
        Never("_TableWriter._column", "default is not None"),
    ),
    shared(
        "ddl: a column of ASCII has other texts",
        Never("_TableWriter._column", "not ''.join(self._columns[name].members).isascii()"),
    ),
    shared(
        "ddl: keys have the names of fields",
        Replace("_TableWriter._key", "self._columns[name].column", "name"),
    ),
    fake(
        "a primary key has the names of fields",
        Replace("Table.of", "named(repository.key)", "tuple(repository.key)"),
    ),
    fake(
        "a row without a column has no default",
        Never("_ConstrainedRows._add", "self._defaults"),
    ),
    fake(
        "a default is for None too",
        Replace(
            "_ConstrainedRows._add",
            "{**self._defaults, **row}",
            "{name: self._defaults.get(name) if row.get(name) is None else row[name]"
            " for name in {**self._defaults, **row}}",
        ),
    ),
    fake(
        "a move has to name a column with a default",
        Replace("_FakeRows.shape", "nullable | {*self._table._defaults}", "nullable"),
    ),
    fake(
        "a time that another program has inserted is another time",
        Replace(
            "_IndexedRows._comparable",
            "_as_duration(value) if self._is_mysql else value",
            "value",
        ),
    ),
    fake(
        "a descending order by a renamed column ascends",
        Replace(
            "_TableByField._select",
            "sign + self._names.get(name, name)",
            "self._names.get(name, name)",
        ),
    ),
]

ATTRIBUTES = [
    shared(
        "a text is a list of fields",
        Replace("_RecordSchema._rules", "_check_many(name, getattr(cls, name))", "None"),
        OWN_TABLES,
    ),
    shared(
        "a document is a key",
        Never("_RecordSchema._problem", "not compared.isdisjoint(self._documents)"),
        OWN_TABLES,
    ),
]

MUTANTS: list[Mutant] = [*CHECKS, *READS, *TABLES, *ATTRIBUTES]
