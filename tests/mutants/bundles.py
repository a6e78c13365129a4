"""Mutants of bundles: services and tables of one's own, rows to begin with, the fake side."""

from __future__ import annotations

from tests.mutants.edits import Drop, Edit, Never, Replace
from tests.mutants.suite import FAKES, INFRA, Mutant, OnFakes

SERVICES = ("unit/test_own_bundle.py",)
ROWS = ("contract/test_bundle.py",)


def shared(name: str, edit: Edit, tests: tuple[str, ...] = SERVICES) -> Mutant:
    return OnFakes(f"bundle: {name}", INFRA, edit, tests)


def rows(name: str, edit: Edit) -> Mutant:
    return OnFakes(f"bundle: load {name}", INFRA, edit, ROWS)


def fake(name: str, edit: Edit) -> Mutant:
    return OnFakes(f"bundle: the fake {name}", FAKES, edit, SERVICES)


MUTANTS: list[Mutant] = [
    shared(
        "a thread that waited builds the service again",
        Replace("Infrastructure._once", "part not in self._built", "True", nth=2),
    ),
    shared(
        "a child waits for its parent's threads",
        Drop("Infrastructure.__init__", "_fork_aware.add(self)"),
    ),
    shared(
        "only classes of the library are closed",
        Replace(
            "_close_all",
            "callable((close := getattr(service, 'close', None)))",
            "callable((close := getattr(service, 'close', None))) "
            "and isinstance(service, _Closeable)",
        ),
    ),
    shared(
        "what is built while the bundle closes stays open",
        Never("Infrastructure._build", "self._closed or kept is not made"),
    ),
    shared(
        "from_env returns the library's",
        Replace("Infrastructure.from_env", "cls", "Infrastructure"),
    ),
    shared(
        "provided takes anything",
        Drop(
            "provided.__init__",
            "_check_function('build', build, 'the bundle', ConfigurationError)",
        ),
    ),
    shared(
        "a service has no docstring",
        Replace("provided.__init__", "build.__doc__", "None"),
    ),
    shared(
        "the library's table comes before one's own",
        Replace(
            "Infrastructure.load",
            "(*_IN_ACCOUNTS, *_IN_EXCHANGE, *self.tables)",
            "(*self.tables, *_IN_ACCOUNTS, *_IN_EXCHANGE)",
        ),
    ),
    rows(
        "takes tables in the order of the dict",
        Replace(
            "Infrastructure.load",
            "_parents_first([ports[table] for table in given])",
            "[ports[table] for table in given]",
        ),
    ),
    rows(
        "takes a column's name for the field's",
        Replace("_seeds", "names.get(column, column)", "column"),
    ),
    rows(
        "takes rows in the order of the list",
        Replace("_seeds", "[seeds[at] for at in _in_order(parents, circle)]", "seeds"),
    ),
    rows(
        "refuses a row that refers to itself",
        Replace("_in_order", "[each for each in found if each != child]", "[*found]"),
    ),
    rows(
        "leaves rows after an error",
        Replace(
            "Infrastructure.load",
            "stack.enter_context(database.transaction())",
            "database.transaction()",
        ),
    ),
    rows(
        "has all tables in one database",
        Replace(
            "Infrastructure._bare",
            "self.accounts if port in _IN_ACCOUNTS else self.exchange",
            "self.exchange",
        ),
    ),
    rows(
        "ignores unknown columns",
        Replace(
            "_seed",
            "_plain_keys(row)",
            "{name: value for name, value in row.items() "
            "if name in (*store._fields, *store.hidden)}",
        ),
    ),
    rows(
        "fills missing columns with an empty text",
        Replace(
            "_seed", "columns.setdefault(each.name, None)", "columns.setdefault(each.name, '')"
        ),
    ),
    rows(
        "loses hidden columns",
        Replace(
            "_seed", "store._filled(row, **hidden)", "store._filled(row, **dict.fromkeys(hidden))"
        ),
    ),
    rows(
        "takes records without their other fields",
        Never("_seed", "store.elsewhere"),
    ),
    rows(
        "counts rows from 0",
        Replace(
            "_seeds",
            "enumerate(_check_many(store.table, rows), 1)",
            "enumerate(_check_many(store.table, rows))",
        ),
    ),
    rows(
        "loses a row of each statement",
        Replace(
            "Infrastructure.load",
            "store._insert('load', *batch)",
            "store._insert('load', *batch[:99])",
        ),
    ),
    rows(
        "returns 1 for each table",
        Replace(
            "Infrastructure.load",
            "{store.table: len(values) for store, values in seeds}",
            "{store.table: 1 for store, _ in seeds}",
        ),
    ),
    rows(
        "is on the computer's clock",
        Replace("Infrastructure._bare", "self.clock", "SystemClock()"),
    ),
    fake(
        "has the library's table instead of one's own",
        Replace(
            "FakeInfrastructure._open_database",
            "(*MYSQL_TABLES, *self._own_tables)",
            "(*self._own_tables, *MYSQL_TABLES)",
        ),
    ),
    fake(
        "loads no table of its arguments",
        Drop(
            "FakeInfrastructure.__init__",
            "self.tables = [each for each in own if not isinstance(each, Table)]",
        ),
    ),
    fake(
        "forgets the tables of its class",
        Replace("FakeInfrastructure.__init__", "self.tables", "()", nth=1),
    ),
    fake(
        "has two databases in any case",
        Replace("FakeInfrastructure._engines", "self._engine or 'mysql'", "'mysql'"),
    ),
    fake(
        "may come after the real side",
        Never(
            "FakeInfrastructure.__init_subclass__",
            "issubclass(base, infra.Infrastructure) and not issubclass(base, FakeInfrastructure)",
        ),
    ),
    fake(
        "builds what calls a server",
        Never(
            "FakeInfrastructure._new_service", "isinstance(made, _REAL) and not self._is_own(part)"
        ),
    ),
    fake(
        "takes each service for one of its own",
        Replace(
            "FakeInfrastructure._is_own",
            "issubclass(each, FakeInfrastructure)",
            "issubclass(each, infra.Infrastructure)",
        ),
    ),
    fake(
        "names a fault twice",
        Replace(
            "_refuse_unused",
            "dict.fromkeys(each for each in some if isinstance(each, Faults))",
            "[each for each in some if isinstance(each, Faults)]",
        ),
    ),
    fake(
        "builds one's own services at once",
        Replace(
            "FakeInfrastructure.__init__",
            "isinstance(part, infra.provided) and getattr(type(self), name) is part",
            "isinstance(part, infra.provided)",
        ),
    ),
    fake(
        "from_env returns the library's",
        Replace("FakeInfrastructure.from_env", "cls", "FakeInfrastructure"),
    ),
    fake(
        "does not know its engine's parameter",
        Never("FakeInfrastructure.__init__", "engine is not None"),
    ),
    fake(
        "of one's own is down without an effect",
        Drop("_NotOnBundles.__set__", "raise self._refused(type(instance))"),
    ),
]
