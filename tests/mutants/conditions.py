"""Mutants of conditions, and of the verbs and pages that use them."""

from __future__ import annotations

from tests.mutants.edits import Drop, Edit, Never, Replace
from tests.mutants.suite import FAKES, INFRA, Mutant, OnFakes, OnServers

CONDITIONS = ("contract/test_conditions.py",)


#: when the fake compares texts as MySQL does
PADDED = "self._is_mysql and bounds[0].__class__ is str and (not is_part)"


def shared(name: str, edit: Edit) -> Mutant:
    return OnFakes(f"conditions: {name}", INFRA, edit, CONDITIONS)


def fake(name: str, edit: Edit) -> Mutant:
    return OnFakes(f"conditions: {name}", FAKES, edit, CONDITIONS)


def on_servers(name: str, edit: Edit, *cases: str) -> Mutant:
    tests = tuple(f"contract/test_conditions.py::{case}" for case in cases)
    return OnServers(f"conditions: {name}", INFRA, edit, tests)


MUTANTS: list[Mutant] = [
    # --- the values
    shared("Above matches its own value", Replace("Above", "operator.gt", "operator.ge")),
    shared("AtLeast matches only greater ones", Replace("AtLeast", "operator.ge", "operator.gt")),
    shared("Below matches its own value", Replace("Below", "operator.lt", "operator.le")),
    shared("AtMost matches only lesser ones", Replace("AtMost", "operator.le", "operator.lt")),
    shared(
        "Between leaves out its end",
        Replace("Between", "low <= value <= high", "low <= value < high"),
    ),
    shared(
        "a text that contains begins so", Replace("Contains", "operator.contains", "str.startswith")
    ),
    shared("a beginning is anywhere", Replace("StartsWith", "str.startswith", "operator.contains")),
    shared(
        "conditions are equal whatever their values",
        Replace("_Condition._by_value", "self._values", "()"),
    ),
    # --- their checks
    shared(
        "OneOf nothing is sent",
        Never("_FieldColumn.condition", "not values"),
    ),
    shared(
        "conditions may be nested for ever",
        Never("_FieldColumn.condition", "depth == 10"),
    ),
    shared(
        "ten around each other are too many",
        Replace("_FieldColumn.condition", "depth == 10", "depth == 9"),
    ),
    shared(
        "None is compared",
        Never("_FieldColumn.condition", "any((one is None for one in values))"),
    ),
    shared(
        "part of what is no text",
        Never("_FieldColumn.condition", "self.kind is not str"),
    ),
    shared(
        "a part has to be as short as the column",
        Drop("_FieldColumn.condition", "check = self._part"),
    ),
    shared(
        "None is no condition of a field that is never NULL",
        Replace(
            "_FieldColumn.condition",
            "None if value is None and depth else check(value)",
            "check(value)",
        ),
    ),
    shared(
        "an id of None matches nothing, in silence",
        Replace("_FieldColumn.condition", "value is None and depth", "value is None"),
    ),
    shared(
        "a document takes conditions",
        Never("_RecordSchema._conditions", "column.stored in (dict, list)"),
    ),
    shared(
        "unknown fields match all",
        Never("_RecordSchema._conditions", "not self._held.keys() >= given.keys()"),
    ),
    shared(
        "a folded column that is given is ignored",
        Replace(
            "_RecordSchema._conditions",
            "{**self._folds(plain), **checked}",
            "{**checked, **self._folds(plain)}",
        ),
    ),
    # --- the verbs
    shared(
        "select ignores the limit",
        Replace(
            "Repository.select",
            "self._select('select', conditions, order, limit)",
            "self._select('select', conditions, order)",
        ),
    ),
    shared(
        "select ignores the order",
        Replace(
            "Repository.select",
            "self._select('select', conditions, order, limit)",
            "self._select('select', conditions, limit=limit)",
        ),
    ),
    shared(
        "select sorts by documents",
        Replace("Repository.select", "name not in self._documents", "name"),
    ),
    shared("count counts all", Replace("Repository.count", "self._conditions(where)", "{}")),
    shared("one is all", Replace("Repository.exists_where", "self._conditions(where)", "{}")),
    shared("all are changed", Replace("Repository.update_where", "self._some(where)", "{}")),
    shared("all are deleted", Replace("Repository.delete_where", "self._some(where)", "{}")),
    shared("an empty where means all", Never("Repository._some", "not conditions")),
    shared("nothing is set", Never("Repository._field_edits", "not changes")),
    *(
        shared(
            f"update_where sets fields of {name}",
            Replace("Repository._field_edits", f"self.{name}", "()"),
        )
        for name in ("key", "_compared", "kept", "folded")
    ),
    shared(
        "updated_at is set by hand",
        Replace("Repository._field_edits", "'updated_at'", "''"),
    ),
    shared(
        "updated_at stays as it was",
        Replace(
            "Repository._field_edits",
            "{**self._checked(changes), **self._edit_stamps()}",
            "self._checked(changes)",
        ),
    ),
    # --- walks
    shared(
        "iterate raises at the first record",
        Drop(
            "Repository.iterate",
            "_check_range('batch', batch, 1, 10000)",
        ),
    ),
    shared("iterate takes all", Replace("Repository.iterate", "self._conditions(where)", "{}")),
    shared(
        "iterate ends after a batch",
        Replace("Repository._walk", "last is not None", "last == ()"),
    ),
    shared(
        "a walk checks the keys that it has read",
        Replace(
            "Repository._walk",
            "self._held[name].unread(value)",
            "self._checks[name](value)",
        ),
    ),
    shared(
        "a hidden key takes the place of a field",
        Replace("_RecordStore._portion", "row[len(hidden) :]", "row[: len(self._shown)]"),
    ),
    # --- pages
    shared(
        "the last page has a next",
        Replace("_RecordStore._portion", "len(rows) == limit", "rows"),
    ),
    shared(
        "after and page at once",
        Never("_check_query", "query.after is not None and query.page != 1"),
    ),
    shared(
        "after a value of NULL",
        Never(
            "_RecordStore._place",
            "self._held[names[0]].optional and names[0] not in self.key",
        ),
    ),
    shared(
        "after takes any values",
        Replace(
            "_RecordStore._place", "self._checks[name](value)", "self._held[name].unread(value)"
        ),
    ),
    shared(
        "after takes a part of the place",
        Replace("_RecordStore._place", "len(after) != len(names)", "len(after) > len(names)"),
    ),
    shared(
        "pages with another next differ",
        Replace("_ByValue._by_value", "one.compare", "True"),
    ),
    # --- the fake
    fake(
        "NULL is not what a value is not",
        Replace("_negated", "None if found is None else not found", "not found"),
    ),
    fake(
        "unknown is false",
        Replace(
            "_any_holds",
            "None if None in found else False",
            "False",
        ),
    ),
    fake(
        "NULL is above",
        Replace(
            "_known",
            "None if value is None else holds(value, *bounds)",
            "value is None or holds(value, *bounds)",
        ),
    ),
    fake(
        "MySQL counts blanks",
        Never("_IndexedRows._test", PADDED),
    ),
    fake(
        "MySQL counts no blanks in LIKE",
        Replace(
            "_IndexedRows._test",
            PADDED,
            "self._is_mysql and bounds[0].__class__ is str",
        ),
    ),
    fake(
        "a page begins one late",  # one that begins at the record makes a walk that never ends
        Replace(
            "_IndexedRows._beyond",
            "[row for row in rows if is_behind([order(row) for order in orders], place)]",
            "[row for row in rows if is_behind([order(row) for order in orders], place)][1:]",
        ),
    ),
    fake(
        "a page begins behind all of the same first value",
        Replace(
            "_IndexedRows._beyond",
            "is_behind([order(row) for order in orders], place)",
            "is_behind(orders[0](row), place[0])",
        ),
    ),
    fake(
        "a page of a descending order begins behind it in the other",
        Replace("_IndexedRows._beyond", "order_by[0][0] == '-'", "False"),
    ),
    # --- SQL
    on_servers(
        "the place of a walk has the values of fields",
        Replace("Repository._walk", "self._held[name].unread(value)", "value"),
        "TestPostgres::test_iterate_over_keys_of_several_columns",
    ),
    on_servers(
        "a page of a descending order begins behind it in the other on servers",
        Replace("SqlRepository._rows", "'<' if order[0][1] else '>'", "'>'"),
        "TestPostgres::test_pages_after_a_record",
    ),
    on_servers(
        "a beginning has wildcards",
        Replace(
            "SqlRepository._term",
            r"re.sub('[|%_]', r'|\g<0>', *value._values)",
            "value._values[0]",
        ),
        "TestPostgres::test_texts",
    ),
    on_servers(
        "MariaDB judges BETWEEN",
        Replace(
            "SqlRepository._term", "value._sql.format(column)", "f'{column} BETWEEN %s AND %s'"
        ),
        "TestMariaDB::test_texts_of_an_index",
    ),
    on_servers(
        "OR without brackets",
        Replace("SqlRepository._term", "f\"({' OR '.join(terms)})\"", "' OR '.join(terms)"),
        "TestPostgres::test_any_and_not",
    ),
    on_servers(
        "all conditions have one text",
        Replace(
            "SqlRepository._rows",
            "(names, condition, (*order,), bounds)",
            "(names, bool(where), (*order,), bounds)",
        ),
        "TestPostgres::test_any_and_not",
        "TestPostgres::test_pages_after_a_record",
    ),
]
