"""Files of migrations: how scripts are split, what files may hold, what checksums ignore."""

from __future__ import annotations

import contextlib
import io
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import infra
from tests.contract.backends import assert_grows_evenly
from tests.contract.texts import Text, any_text, plain
from tests.unit import dumps

ENGINES = ["mysql", "postgres"]

#: Scripts of two statements; tests/faults/test_migrations.py proves that on real servers.
SCRIPTS: dict[str, list[tuple[str, str, str]]] = {
    "mysql": [
        ("SELECT 1; SELECT 2;", "SELECT 1", "SELECT 2"),
        ("\n SELECT 1 ;\n\n SELECT\n 2 \n", "SELECT 1", "SELECT\n 2"),
        ("SELECT 1;\r\nSELECT 2; -- done\r\n", "SELECT 1", "SELECT 2"),
        ("SELECT 'a;b'; SELECT 2", "SELECT 'a;b'", "SELECT 2"),
        ("SELECT 'it''s; one'; SELECT 2", "SELECT 'it''s; one'", "SELECT 2"),
        (r"SELECT 'it\'s; one'; SELECT 2", r"SELECT 'it\'s; one'", "SELECT 2"),
        (r"SELECT 'C:\\'; SELECT 'D:\\'", r"SELECT 'C:\\'", r"SELECT 'D:\\'"),
        (r"SELECT '\\''; \\'; SELECT 2", r"SELECT '\\''; \\'", "SELECT 2"),
        (r'SELECT "it\"s; ""one"; SELECT 2', r'SELECT "it\"s; ""one"', "SELECT 2"),
        ("SELECT \"it's;\"; SELECT '\";'", 'SELECT "it\'s;"', "SELECT '\";'"),
        ("SELECT 1 AS `a;``b'`; SELECT 2", "SELECT 1 AS `a;``b'`", "SELECT 2"),
        (r"SELECT 1 AS `a\`; SELECT 2", r"SELECT 1 AS `a\`", "SELECT 2"),  # no escapes in names
        ("SELECT 'a\n-- no comment; \nb'; SELECT 2", "SELECT 'a\n-- no comment; \nb'", "SELECT 2"),
        ("SELECT '/*;'; SELECT '*/'", "SELECT '/*;'", "SELECT '*/'"),
        ("SELECT N'it''s;'; SELECT _utf8mb4'a;'", "SELECT N'it''s;'", "SELECT _utf8mb4'a;'"),
        ("SELECT 'ß;→😀' AS `größe;`; SELECT 2", "SELECT 'ß;→😀' AS `größe;`", "SELECT 2"),
        ("SELECT 1 -- it's; one\n; SELECT 2", "SELECT 1 -- it's; one", "SELECT 2"),
        ("SELECT 1 --\n+ 1; SELECT 2", "SELECT 1 --\n+ 1", "SELECT 2"),
        ("SELECT 1 --\t';\n+ 1; SELECT 2", "SELECT 1 --\t';\n+ 1", "SELECT 2"),
        ("SELECT 1 # it's; \"one\n; SELECT 2", "SELECT 1 # it's; \"one", "SELECT 2"),
        ("SELECT 5--3; SELECT 2", "SELECT 5--3", "SELECT 2"),  # 8: a comment needs a blank
        ("SELECT 5--'3;'; SELECT 2", "SELECT 5--'3;'", "SELECT 2"),
        ("SELECT 5---- 3;\n+ 1; SELECT 2", "SELECT 5---- 3;\n+ 1", "SELECT 2"),
        ("SELECT 1 /* it's; */ + 1; SELECT 2", "SELECT 1 /* it's; */ + 1", "SELECT 2"),
        ("SELECT 1 /* /* ; */ + 1; SELECT 2", "SELECT 1 /* /* ; */ + 1", "SELECT 2"),  # not nested
        ("SELECT /*/ ; */ 1; SELECT 2", "SELECT /*/ ; */ 1", "SELECT 2"),
        ("SELECT 6 /2; SELECT 6*/**/2", "SELECT 6 /2", "SELECT 6*/**/2"),
        ("SELECT 1 /*! + 1 */; SELECT 2", "SELECT 1 /*! + 1 */", "SELECT 2"),
        ("/*!40101 SELECT 1 */; SELECT 2", "/*!40101 SELECT 1 */", "SELECT 2"),
        ("/*M! SELECT 1 */; SELECT 2", "/*M! SELECT 1 */", "SELECT 2"),  # MariaDB runs that, too
        (
            "-- first;\nSELECT 1; /* second; */ SELECT 2",
            "-- first;\nSELECT 1",
            "/* second; */ SELECT 2",
        ),
        ("SELECT 1 AS a$b$c; SELECT 2 AS a$b$c", "SELECT 1 AS a$b$c", "SELECT 2 AS a$b$c"),
        ("SELECT '$$'; SELECT '$$'", "SELECT '$$'", "SELECT '$$'"),
        ("/*!50001 SELECT '*/;' */; SELECT 2", "/*!50001 SELECT '*/;' */", "SELECT 2"),
        (
            "/*!50001 SELECT 1 /* ; */ + 1 */; SELECT 2",
            "/*!50001 SELECT 1 /* ; */ + 1 */",
            "SELECT 2",
        ),
        ("SELECT 1 /*!99999 it's; */; SELECT 2", "SELECT 1 /*!99999 it's; */", "SELECT 2"),
        (
            "SELECT 1 /*M!999999\\- it's; */; SELECT 2",
            "SELECT 1 /*M!999999\\- it's; */",
            "SELECT 2",
        ),
    ],
    "postgres": [
        ("SELECT E'a'\n'b\\';'; SELECT 2", "SELECT E'a'\n'b\\';'", "SELECT 2"),
        ("SELECT E'a''b\\';'; SELECT 2", "SELECT E'a''b\\';'", "SELECT 2"),
        ("SELECT 1 -- a\r; SELECT 2", "SELECT 1 -- a", "SELECT 2"),
        ("SELECT 1 AS →$$; SELECT 2 AS →$$", "SELECT 1 AS →$$", "SELECT 2 AS →$$"),
        ("SELECT $→$;$→$; SELECT 2", "SELECT $→$;$→$", "SELECT 2"),
        ("SELECT 1 /*/**//*;*/*/; SELECT 2", "SELECT 1 /*/**//*;*/*/", "SELECT 2"),
        ("SELECT 1; SELECT 2;", "SELECT 1", "SELECT 2"),
        ("\n SELECT 1 ;\n\n SELECT\n 2 \n", "SELECT 1", "SELECT\n 2"),
        ("SELECT 1;\r\nSELECT 2; -- done\r\n", "SELECT 1", "SELECT 2"),
        ("SELECT 'it''s; one'; SELECT 2", "SELECT 'it''s; one'", "SELECT 2"),
        # No escapes in plain ones.
        (
            r"SELECT 'C:\'; SELECT 'D:\'",
            r"SELECT 'C:\'",
            r"SELECT 'D:\'",
        ),
        (r"SELECT E'it\'s; one'; SELECT 2", r"SELECT E'it\'s; one'", "SELECT 2"),
        (r"SELECT e'it''s; \\'; SELECT 2", r"SELECT e'it''s; \\'", "SELECT 2"),
        (
            r"SELECT 'a_b' LIKE 'a' ESCAPE'\'; SELECT ''",
            r"SELECT 'a_b' LIKE 'a' ESCAPE'\'",
            "SELECT ''",
        ),
        (r'SELECT true"a\"; SELECT 1 AS "b"', r'SELECT true"a\"', 'SELECT 1 AS "b"'),
        ("SELECT U&'\\0441;'; SELECT B'1'", "SELECT U&'\\0441;'", "SELECT B'1'"),
        ('SELECT 1 AS "a;""b\'"; SELECT 2', 'SELECT 1 AS "a;""b\'"', "SELECT 2"),
        (r'SELECT 1 AS "a\"; SELECT 2', r'SELECT 1 AS "a\"', "SELECT 2"),
        ("SELECT 'a'\n'b;'; SELECT 2", "SELECT 'a'\n'b;'", "SELECT 2"),
        ("SELECT '`'; SELECT '`'", "SELECT '`'", "SELECT '`'"),
        ("SELECT 'ß;→😀' AS \"größe;\"; SELECT 2", "SELECT 'ß;→😀' AS \"größe;\"", "SELECT 2"),
        ("SELECT 1 -- it's; one\n; SELECT 2", "SELECT 1 -- it's; one", "SELECT 2"),
        ("SELECT 5 --3; it's\n; SELECT 2", "SELECT 5 --3; it's", "SELECT 2"),
        ("SELECT 5 # 3; SELECT 2", "SELECT 5 # 3", "SELECT 2"),  # an operator
        ("SELECT 5#3 -- ';\n; SELECT 2", "SELECT 5#3 -- ';", "SELECT 2"),
        ("SELECT '[7]'::json #>> '{0}'; SELECT 2", "SELECT '[7]'::json #>> '{0}'", "SELECT 2"),
        (
            "SELECT 1 /* a /* b; */ it's; */ + 1; SELECT 2",
            "SELECT 1 /* a /* b; */ it's; */ + 1",
            "SELECT 2",
        ),
        ("SELECT 1 /*/*/ ; */ ; */ + 1; SELECT 2", "SELECT 1 /*/*/ ; */ ; */ + 1", "SELECT 2"),
        ("SELECT 6 /2; SELECT 6*/**/2", "SELECT 6 /2", "SELECT 6*/**/2"),
        (
            "-- first;\nSELECT 1; /* second; */ SELECT 2",
            "-- first;\nSELECT 1",
            "/* second; */ SELECT 2",
        ),
        ("SELECT $$it's; \"one$$; SELECT 2", "SELECT $$it's; \"one$$", "SELECT 2"),
        (
            "SELECT $a$ ; $$ ; $b$ ; $A$ ; $a$; SELECT 2",
            "SELECT $a$ ; $$ ; $b$ ; $A$ ; $a$",
            "SELECT 2",
        ),
        ("SELECT $_1$;$_1$; SELECT $$$$", "SELECT $_1$;$_1$", "SELECT $$$$"),
        ("SELECT $é$ ; ' $é$; SELECT 2", "SELECT $é$ ; ' $é$", "SELECT 2"),
        # Part of the names.
        (
            "SELECT 1 AS a$b$c; SELECT 2 AS a$b$c",
            "SELECT 1 AS a$b$c",
            "SELECT 2 AS a$b$c",
        ),
        ("SELECT 1 AS é$$; SELECT 2 AS é$$", "SELECT 1 AS é$$", "SELECT 2 AS é$$"),
        ("SELECT '$$;'; SELECT '$$'", "SELECT '$$;'", "SELECT '$$'"),
        ("DO $$ BEGIN PERFORM 1; END $$; SELECT 2", "DO $$ BEGIN PERFORM 1; END $$", "SELECT 2"),
    ],
}


@any_text
def test_text_of_any_subclass(tmp_path: Path, text: Text) -> None:
    path = tmp_path / "notes.sql"
    path.write_text(
        "-- migration 1 notes mysql\nSELECT 1; SELECT 2;\n-- migration 1 a postgres\nSELECT 3;\n"
    )
    (found,) = plain(infra.read_migrations(text(str(path)), text("mysql")))
    assert (found.source, found.name, found.statements) == (
        "notes",
        "notes",
        ("SELECT 1", "SELECT 2"),
    )
    assert plain(infra.split_statements(text("SELECT 1; # ; \n"), text("mysql"))) == ["SELECT 1"]


@pytest.mark.parametrize(
    ("engine", "script", "statements"),
    [(engine, script, found) for engine, scripts in SCRIPTS.items() for script, *found in scripts],
)
def test_a_script_is_split(engine: str, script: str, statements: list[str]) -> None:
    assert infra.split_statements(script, engine) == statements


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("script", "statements"),
    [
        ("", []),
        (" \r\n\t", []),
        (";;\n;", []),
        ("-- only; a comment", []),
        ("/* only; a comment */;\n-- and 'another", []),
        ("/**/", []),
        ("SELECT 1;;\n-- nothing;\n; SELECT 2;;", ["SELECT 1", "SELECT 2"]),
        ("SELECT 1 -- the end", ["SELECT 1 -- the end"]),
        ("SELECT 'a' ;", ["SELECT 'a'"]),
    ],
)
def test_nothing_is_no_statement(engine: str, script: str, statements: list[str]) -> None:
    assert infra.split_statements(script, engine) == statements


@pytest.mark.parametrize(
    ("script", "mysql", "postgres"),
    [
        ("# a comment; it's one", [], None),
        ("# 1; # 2", [], ["# 1", "# 2"]),
        ("--1; 2", ["--1", "2"], []),
        ("/*! 1; 2 */", ["/*! 1; 2 */"], []),
        ("/*M!100100 1; 2 */", ["/*M!100100 1; 2 */"], []),
        ("/* ! 1; 2 */", [], []),
        ("/* /* */ 1; */", ["/* /* */ 1", "*/"], []),
        ("$$ 1; 2 $$", ["$$ 1", "2 $$"], ["$$ 1; 2 $$"]),
        ("`1; 2`", ["`1; 2`"], ["`1", "2`"]),
        (r"'1\'; 2", None, [r"'1\'", "2"]),
    ],
)
def test_what_only_one_engine_takes_for_a_quote_or_comment(
    script: str, mysql: list[str] | None, postgres: list[str] | None
) -> None:
    for engine, statements in (("mysql", mysql), ("postgres", postgres)):
        if statements is None:
            with pytest.raises(infra.ValidationError):
                infra.split_statements(script, engine)
        else:
            assert infra.split_statements(script, engine) == statements


@pytest.mark.parametrize(
    ("engine", "opened"),
    [
        ("mysql", "'a;''"),
        ("mysql", r"'a\'"),
        ("mysql", '"a'),
        ("mysql", "`a"),
        ("mysql", "/* a"),
        ("mysql", "/*/"),
        ("mysql", "/*! a"),
        ("postgres", "'a;''"),
        ("postgres", r"E'a\'"),
        ("postgres", '"a'),
        ("postgres", "/* a /* b */"),
        ("postgres", "$$ a $b$"),
        ("postgres", "$b$ a $B$ $$"),
    ],
)
def test_never_closed(engine: str, opened: str) -> None:
    with pytest.raises(infra.ValidationError) as caught:
        infra.split_statements(f"SELECT 1;\n\nSELECT {opened}\n; SELECT 2\n", engine)
    assert str(caught.value) == "a quote or comment that opens in line 3 is never closed"


@pytest.mark.parametrize(
    ("engine", "script", "statements"),
    [
        (
            "mysql",
            r"SET @a=@@sql_mode, sql_mode='NO_BACKSLASH_ESCAPES'; "
            r"SELECT 'a\'; SET sql_mode=@a; SELECT '\';'",
            [
                "SET @a=@@sql_mode, sql_mode='NO_BACKSLASH_ESCAPES'",
                r"SELECT 'a\'",
                "SET sql_mode=@a",
                r"SELECT '\';'",
            ],
        ),
        (
            "mysql",
            r"""/*!40101 SET SQL_MODE="ansi_quotes" */; SELECT 1 AS "a\"; SELECT 'b\';'""",
            ['/*!40101 SET SQL_MODE="ansi_quotes" */', r'SELECT 1 AS "a\"', r"SELECT 'b\';'"],
        ),
        (
            "mysql",
            r"SET GLOBAL sql_mode='NO_BACKSLASH_ESCAPES'; SELECT 'a\';'",
            ["SET GLOBAL sql_mode='NO_BACKSLASH_ESCAPES'", r"SELECT 'a\';'"],
        ),
        (
            "postgres",
            r"SET standard_conforming_strings = off; SELECT 'a\';'; "
            r"RESET standard_conforming_strings; SELECT 'b\'",
            [
                "SET standard_conforming_strings = off",
                r"SELECT 'a\';'",
                "RESET standard_conforming_strings",
                r"SELECT 'b\'",
            ],
        ),
        (
            "postgres",
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; "
            "SELECT CASE WHEN true THEN 2 END; END; SELECT 3",
            [
                "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; "
                "SELECT CASE WHEN true THEN 2 END; END",
                "SELECT 3",
            ],
        ),
        (
            "postgres",
            "CREATE RULE r AS ON INSERT TO a DO (SELECT 1; SELECT ')'); SELECT 3",
            ["CREATE RULE r AS ON INSERT TO a DO (SELECT 1; SELECT ')')", "SELECT 3"],
        ),
        (
            "postgres",
            "CREATE FUNCTION f() RETURNS int \\ SELECT 1; SELECT 3",
            ["CREATE FUNCTION f() RETURNS int \\ SELECT 1", "SELECT 3"],
        ),
    ],
)
def test_what_a_statement_changes_for_those_behind_it(
    engine: str, script: str, statements: list[str]
) -> None:
    assert infra.split_statements(script, engine) == statements


@pytest.mark.parametrize(
    ("engine", "change"),
    [
        ("mysql", "SET sql_mode = CONCAT(@@sql_mode, ',NO_BACKSLASH_ESCAPES')"),
        ("postgres", "SELECT set_config('standard_conforming_strings', 'off', false)"),
        ("postgres", "SET LOCAL standard_conforming_strings = off"),
    ],
)
def test_a_backslash_of_unknown_meaning_is_refused(engine: str, change: str) -> None:
    assert infra.split_statements(f"{change}; SELECT 'a';", engine) == [change, "SELECT 'a'"]
    with pytest.raises(
        infra.ValidationError, match="whether the backslash in line 3 escapes, because of line 2"
    ):
        infra.split_statements(f"\n{change};\nSELECT 'a\\b';", engine)


#: Parts of hostile scripts; "{}" is repeated.
HOSTILE = [
    ("mysql", "", "INSERT INTO t VALUES (1,'a');\n", ""),
    ("postgres", "", "INSERT INTO t VALUES (1,'a');\n", ""),
    ("mysql", "INSERT INTO t VALUES ", "(1,'a'),\n", ""),
    *((engine, "SELECT '", part, "'") for engine in ENGINES for part in ("a", "''", r"\\", r"/*")),
    ("postgres", "SELECT E'", r"\''", "'"),
    *(
        (engine, "", part, "SELECT 1")
        for engine in ENGINES
        for part in ("/**/", "/* a */\n", "-- a\n", ";", " ")
    ),
    ("postgres", "/*", "/*/**/*/", "*/"),
    ("mysql", "", "/*! */", ""),
    ("mysql", "", r"/*! \' */", ""),
    *(("postgres", "SELECT ", part, "") for part in ("$1 ", "$", "$a$", "a$", "$a ")),
    ("postgres", "", "BEGIN; ", ""),
]


@pytest.mark.parametrize("engine", ["oracle", "", None, []])
def test_no_such_engine(engine: Any) -> None:
    with pytest.raises(infra.ValidationError, match='"mysql" or "postgres"'):
        infra.split_statements("SELECT 1", engine)


@pytest.mark.parametrize(("engine", "before", "part", "behind"), HOSTILE)
def test_the_time_grows_with_the_text(engine: str, before: str, part: str, behind: str) -> None:
    def work(size: int) -> None:
        with contextlib.suppress(infra.ValidationError):
            infra.split_statements(before + part * (size // len(part)) + behind, engine)

    assert_grows_evenly(work, 50_000)


def test_comments_in_front_of_a_statement_cost_nothing(file: Path) -> None:
    for comments in ("/* a */ " * 24, "/* a */ " * 20_000, "-- a\n" * 20_000, " " * 200_000):
        (found,) = read(file, f"-- migration 1 a postgres\n{comments}SELECT 1;\n", "postgres")
        assert found.transaction
        with pytest.raises(infra.ConfigurationError, match="leave out BEGIN, COMMIT and ROLLBACK"):
            read(file, f"-- migration 1 a postgres\n{comments}COMMIT;\n", "postgres")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_marker_below_many_comments(file: Path, engine: str) -> None:
    for count in (999, 1000, 1001, 5000):
        comments = "-- a\n" * count
        text = f"-- migration 1 a {engine}\nSELECT 1;{comments}-- migration 2 b {engine}\nSELECT 2;"
        assert [each.statements for each in read(file, text, engine)] == [
            ("SELECT 1",),
            ("SELECT 2",),
        ]


def test_a_comment_behind_many_strings() -> None:
    """For the server, a carriage return does not end a comment."""
    for count in (998, 999, 1000):
        script = "SELECT''" + " ''" * count + "# a\r; b\n"
        assert infra.split_statements(script, "mysql") == [script.strip()]


def test_the_memory_of_a_long_text(file: Path) -> None:
    for part in ("''", r"\\", "a"):
        text = "SELECT '" + part * (1_000_000 // len(part)) + "'"
        for engine in ENGINES:
            tracemalloc.start()
            infra.split_statements(text, engine)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak <= 4 * sys.getsizeof(text), (part, engine)


PLAIN = st.text(st.characters(exclude_characters="'\"`;#$-/*", exclude_categories=["Cs"])).filter(
    str.strip
)


@given(st.lists(PLAIN), st.sampled_from(ENGINES))
def test_statements_without_quotes_come_back(statements: list[str], engine: str) -> None:
    assert infra.split_statements(";".join(statements), engine) == [
        each.strip() for each in statements
    ]


@given(st.text("'\"`;#$-/*!\\Ee \nM1"), st.sampled_from(ENGINES))
def test_a_statement_is_split_no_further(script: str, engine: str) -> None:
    try:
        statements = infra.split_statements(script, engine)
    except infra.ValidationError:
        return
    for each in statements:
        assert infra.split_statements(each, engine) == [each]


# --- files

SHOP = """\
-- The tables of a shop.

-- migration 1 orders mysql
CREATE TABLE orders (id INT);
-- With an index; it's needed.
CREATE INDEX orders_id_idx ON orders (id);

-- migration 1 orders postgres
CREATE TABLE orders (id int);

-- migration 5 total mysql
-- migration 2 total postgres no-transaction
ALTER TABLE orders ADD total int
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "shop.sql"


def read(file: Path, text: str | bytes, engine: str = "mysql") -> list[infra.Migration]:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return infra.read_migrations(file, engine)


def checksum(file: Path, text: str | bytes, engine: str = "mysql") -> str:
    (migration,) = read(file, text, engine)
    return migration.checksum


def test_each_engine_reads_its_own(file: Path) -> None:
    orders, total = read(file, SHOP)
    assert (orders.source, orders.number, orders.name, orders.transaction) == (
        "shop",
        1,
        "orders",
        False,
    )
    assert orders.statements == (
        "CREATE TABLE orders (id INT)",
        "-- With an index; it's needed.\nCREATE INDEX orders_id_idx ON orders (id)",
    )
    assert (total.number, total.statements) == (5, ())
    assert str(orders) == "shop 1 (orders)"

    orders, total = infra.read_migrations(str(file), "postgres")
    assert (orders.source, orders.number, orders.name, orders.transaction) == (
        "shop",
        1,
        "orders",
        True,
    )
    assert orders.statements == ("CREATE TABLE orders (id int)",)
    assert (total.number, total.name, total.transaction) == (2, "total", False)
    assert total.statements == ("ALTER TABLE orders ADD total int",)


@pytest.mark.parametrize("text", ["", "-- Nothing yet.\n", "-- migration 1 a postgres\nSELECT 1"])
def test_nothing_for_this_engine(file: Path, text: str) -> None:
    assert read(file, text) == []


def test_the_librarys_own_schema() -> None:
    names = [
        (each.source, each.number, each.name)
        for each in infra.read_migrations(infra.SCHEMA, "mysql")
    ]
    assert names[:1] == [("schema", 1, "phone_accounts")]
    assert {each.source for each in infra.read_migrations(infra.SCHEMA, "postgres")} <= {"schema"}


MARKER = (
    "the marker should be: -- migration NUMBER name mysql|postgres [no-transaction], "
    "the name in lower case, digits"
)


@pytest.mark.parametrize(
    ("marker"),
    [
        "-- migration one users mysql",
        "-- migration users mysql",
        "-- migration 1 users",
        "-- migration 1 mysql",
        "-- migration 1 users mariadb",
        "-- migration 1 Users mysql",
        "-- migration 1 new-users mysql",
        "-- migration 1 new users mysql",
        "-- migration -1 users mysql",
        "-- migration 1.5 users mysql",
        "-- migration 1234567890 users mysql",
        "-- migration 1 users mysql no_transaction",
        "-- migration 1 users mysql no-transaction, please",
        "-- migration  1 users mysql",
        "-- migration 1 " + "u" * 101 + " mysql",
        "-- migration ١ users mysql",
        # would otherwise be comments, and the SQL below them part of the migration above
        "--migration 2 users mysql",
        "-- Migration 2 users mysql",
        "  -- migration 2 users mysql",
        "--  migration 2 users mysql",
    ],
)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_wrong_marker(file: Path, engine: str, marker: str) -> None:
    with pytest.raises(infra.ConfigurationError) as caught:
        read(file, f"-- migration 1 a {engine}\nSELECT 1;\n{marker}\nSELECT 2;\n", engine)
    assert str(caught.value) == f"shop.sql, line 3: {MARKER} and underscores"


@pytest.mark.parametrize(
    "comment",
    [
        "-- migrations of the shop",
        "-- Migration of users: later",
        "-- This migration 2 is a comment",
        "/* migration 2 */",
        "-- migrate 2 columns",
        "--migrate 2 columns to mysql",
        "-- migrate: 10 times faster",
        "-- Migration 2 adds a column",
        "-- migrations 2 and 3 were merged",
    ],
)
def test_comments_that_are_no_markers(file: Path, comment: str) -> None:
    (found,) = read(file, f"-- migration 1 a mysql\nSELECT 1;\n{comment}\nSELECT 2;\n")
    assert found.statements == ("SELECT 1", f"{comment}\nSELECT 2")


@pytest.mark.parametrize(
    "marker",
    [
        "-- migrate 2",
        "# migration 2",
        "# migration 2 b",
        "-- migrate 2: b",
        "-- Migration 2_b mysql",
        "#migrate 2 b postgres",
        "-- migrations 2 b mysql",
        "-- MIGRATION: 2 b mysql",
        "--- migration 2 b mysql",
        "// migration 2 b mysql",
        "-- migration_2 b mysql",
        "-- migraton 2 b mysql",
        "-- mirgation 2 b postgres no-transaction",
        "\u2014 migration 2 b mysql",
        "migration 2 b mysql",
        "/* migration 2 b mysql */",
        "SELECT 3; -- migration 2 b mysql",
        "--\u00a0migration 2 b mysql",
    ],
)
@pytest.mark.parametrize("engine", ENGINES)
def test_what_seems_to_be_meant_as_a_marker(file: Path, engine: str, marker: str) -> None:
    with pytest.raises(infra.ConfigurationError) as caught:
        read(file, f"-- migration 1 a {engine}\nSELECT 1;\n{marker}\nSELECT 2;\n", engine)
    assert str(caught.value) == f"shop.sql, line 3: {MARKER} and underscores"


@pytest.mark.parametrize("start", ["-- migrate 2", "-- Migration 2", "-- this migration 2"])
def test_the_time_for_a_line_that_might_be_a_marker(file: Path, start: str) -> None:
    def work(size: int) -> None:
        with contextlib.suppress(infra.ValidationError):
            read(file, f"-- migration 1 a mysql\nSELECT 1;\n{start} {'-' * size} b b\n")

    assert_grows_evenly(work, 400)


@pytest.mark.parametrize("text", ["'{}'", "/*{}*/", "$${}$$", '"{}"', "E'\\'{}'", "/* /* */{}*/"])
@pytest.mark.parametrize("marker", ["-- migration 2 b postgres", "-- migrate 2", "# migration 2"])
def test_a_marker_in_quotes_or_comments_is_none(file: Path, text: str, marker: str) -> None:
    held = text.format(f"\n{marker}\n")
    (found,) = read(file, f"-- migration 1 a postgres\nSELECT 1 {held};\n", "postgres")
    assert found.statements == (f"SELECT 1 {held}",)


def test_each_half_is_read_as_its_engine_reads_it(file: Path) -> None:
    text = "-- migration 1 a postgres\nSELECT $$it's$$;\n-- migration 1 a mysql\nSELECT `a'`;\n"
    assert [each.statements for each in read(file, text)] == [("SELECT `a'`",)]
    assert [each.statements for each in read(file, text, "postgres")] == [("SELECT $$it's$$",)]


def test_signs_that_no_editor_shows(file: Path) -> None:
    for text, message in (
        ("SELECT 'a\0b';\n", "shop.sql, line 2: a NUL character is no SQL"),
        (
            "SELECT 1;\n\ufeff-- migration 2 b mysql\n",
            f"shop.sql, line 3: {MARKER} and underscores (a byte order mark stands in front of it)",
        ),
        (
            "SELECT 1;\n\ufeff-- A file behind another.\n",
            "shop.sql, migration 1: the byte order mark in line 3 is no SQL: "
            "only a file may begin with one",
        ),
    ):
        with pytest.raises(infra.ConfigurationError) as caught:
            read(file, "-- migration 1 a mysql\n" + text)
        assert str(caught.value) == message
    (found,) = read(file, "-- migration 1 a mysql\nSELECT '\ufeff'; -- \ufeff\n")
    assert found.statements == ("SELECT '\ufeff'",)


@pytest.mark.parametrize("second", [1, 2])
def test_numbers_that_do_not_rise(file: Path, second: int) -> None:
    text = (
        "-- migration 2 a mysql\n-- migration 1 a postgres\n"
        f"-- migration {second} b mysql\nSELECT 1"
    )
    with pytest.raises(infra.ConfigurationError) as caught:
        read(file, text)
    assert str(caught.value) == "shop.sql, line 3: the numbers of mysql migrations should rise"
    assert [each.number for each in read(file, text, "postgres")] == [1]


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE a (id INT)",
        "SELECT 1;\n-- migration 1 a mysql\n",
        "/*! SELECT 1 */\n-- migration 1 a mysql\n",
    ],
)
def test_sql_before_the_first_marker(file: Path, text: str) -> None:
    with pytest.raises(infra.ConfigurationError) as caught:
        read(file, text)
    assert (
        str(caught.value)
        == "shop.sql: SQL should stand below a line such as: -- migration 1 users mysql"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "\n/* The shop\n-- migration 1 a mysql\n",
            "shop.sql: a quote or comment that opens in line 2 is never closed",
        ),
        (
            "-- migration 7 a mysql\n\n\nSELECT 1;\nSELECT 'a;\n-- migration 8 b mysql\n",
            "shop.sql, migration 7: a quote or comment that opens in line 5 is never closed",
        ),
    ],
)
def test_what_is_never_closed_is_found_by_its_line(file: Path, text: str, message: str) -> None:
    with pytest.raises(infra.ConfigurationError) as caught:
        read(file, text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "word",
    [
        "BEGIN",
        "begin work",
        "/* all */ -- at once\ncommit",
        "-- end it\nEND",
        "Start\nTransaction",
        "ROLLBACK",
    ],
)
def test_a_transaction_within_a_transaction(file: Path, word: str) -> None:
    """A COMMIT would leave what follows, and the record, outside."""
    text = f"-- migration 1 a postgres\nSELECT 1;\n{word};\n"
    with pytest.raises(infra.ConfigurationError) as caught:
        read(file, text, "postgres")
    assert str(caught.value) == (
        "shop.sql, migration 1: leave out BEGIN, COMMIT and ROLLBACK: it is one transaction "
        "already, unless its marker "
        "ends in no-transaction"
    )
    (alone,) = read(file, text.replace("postgres", "postgres no-transaction"), "postgres")
    (mysql,) = read(file, text.replace("postgres", "mysql"))
    assert alone.statements == mysql.statements == ("SELECT 1", word)


@pytest.mark.parametrize(
    "word",
    ["SAVEPOINT a", "ROLLBACK TO a", "rollback work to a", "-- COMMIT\nSELECT 1", "SELECT 'END'"],
)
def test_what_does_not_end_a_transaction(file: Path, word: str) -> None:
    (found,) = read(file, f"-- migration 1 a postgres\n{word};\n", "postgres")
    assert found.statements == (word,)


def test_a_long_name(tmp_path: Path) -> None:
    """It is part of the record."""
    with pytest.raises(infra.ConfigurationError) as caught:
        read(tmp_path / ("n" * 101 + ".sql"), "")
    assert (
        str(caught.value)
        == "the name of a file of migrations is part of their record: at most 100 characters"
    )


def test_files_that_cannot_be_read(file: Path, tmp_path: Path) -> None:
    with pytest.raises(infra.ConfigurationError) as caught:
        infra.read_migrations(file, "mysql")
    assert str(caught.value) == "shop.sql: the file of migrations cannot be read: FileNotFoundError"
    with pytest.raises(
        infra.ConfigurationError,
        match=r": the file of migrations cannot be read: IsADirectoryError$",
    ):
        infra.read_migrations(tmp_path, "mysql")
    with pytest.raises(infra.ConfigurationError) as caught:
        read(file, "-- migration 1 größe mysql".encode("latin-1"))
    assert (
        str(caught.value) == "shop.sql: the file of migrations cannot be read: UnicodeDecodeError"
    )


def test_what_is_no_path_of_a_file() -> None:
    """Python takes a number for an open file's descriptor, and closes it."""
    for wrong in (0, 1, True, None, b"shop.sql", "", "a\0b", ["shop.sql"], io.StringIO()):
        with pytest.raises(infra.ConfigurationError, match=r"^path should be the path of a file"):
            infra.read_migrations(wrong, "mysql")  # type: ignore[arg-type]
    with pytest.raises(infra.ConfigurationError, match="cannot be read: UnicodeEncodeError"):
        infra.read_migrations("\ud800.sql", "mysql")


def test_a_byte_order_mark_is_no_sql(file: Path) -> None:
    """Editors on Windows write one."""
    (found,) = read(file, b"\xef\xbb\xbf-- migration 1 a mysql\r\nSELECT 1;\r\n")
    assert found.statements == ("SELECT 1",)


BODY = "-- migration 1 a mysql\nCREATE TABLE a (\n  id INT\n);\n\nINSERT INTO a VALUES (1);\n"


def test_the_checksum_ignores_how_lines_end(file: Path) -> None:
    assert (
        checksum(file, BODY) == "d62bf7b58fca297a6af79f98b515594f88d0cf353a376afabcc867ee6653b55c"
    )
    for same in (
        BODY.replace("\n", "\r\n"),
        BODY.replace("\n", "\r"),
        BODY.replace("\n", "  \t\n"),
        BODY.rstrip(),
        BODY + "\n\n-- What comes next.\n",
        "-- A shop.\n" + BODY.replace("1 a mysql", "7 b mysql"),
    ):
        assert checksum(file, same) == checksum(file, BODY)


@pytest.mark.parametrize(
    ("old", "new"),
    [("(1)", "(2)"), ("  id", " id"), ("INT\n)", "INT)"), (";\n\n", "; SELECT 1;\n"), ("id", "ID")],
)
def test_an_edit_changes_the_checksum(file: Path, old: str, new: str) -> None:
    assert checksum(file, BODY.replace(old, new)) != checksum(file, BODY)


def test_two_statements_are_not_one(file: Path) -> None:
    one, two = (
        "-- migration 1 a mysql\nSELECT ';1'",
        "-- migration 1 a mysql\nSELECT ';1';SELECT ';1'",
    )
    assert checksum(file, one) != checksum(file, two)


@pytest.mark.parametrize("engine", ENGINES)
def test_texts_in_quotes_are_kept_as_they_are(file: Path, engine: str) -> None:
    """Trailing blanks count in Markdown, and str.splitlines would split at the other characters."""
    text = "SELECT 'one  \ntwo\t\n\x0bthree\x0c\x1c\x85\u2028\u2029four\u00a0\n'"
    (found,) = read(file, f"-- migration 1 a {engine}\n{text};\n", engine)
    assert found.statements == (text,)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("ending", ["\r\n", "\r", "\n"])
def test_ends_of_lines_in_quotes_are_kept(file: Path, engine: str, ending: str) -> None:
    text = f"-- migration 1 a {engine}\nSELECT 'one{ending}two';\n"
    (found,) = read(file, text, engine)
    assert found.statements == (f"SELECT 'one{ending}two'",)
    assert found.checksum == checksum(file, text.replace("\r\n", "\n").replace("\r", "\n"), engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_carriage_return_alone_ends_a_line_and_its_comment(file: Path, engine: str) -> None:
    """MySQL would read such a comment on: it is sent with a line feed."""
    expected = read(file, SHOP, engine)
    found = read(file, SHOP.replace("\n", "\r"), engine)
    assert [each.checksum for each in found] == [each.checksum for each in expected]
    ending = {"mysql": "\n", "postgres": "\r"}[engine]
    text = f"-- migration 1 a {engine}\r-- it's one\rSELECT '-- a\rb';\r"
    assert read(file, text, engine)[0].statements == (f"-- it's one{ending}SELECT '-- a\rb'",)


@pytest.mark.parametrize(
    ("dump", "engine", "count"),
    [(dumps.POSTGRES, "postgres", 29), (dumps.MARIADB, "mysql", 55), (dumps.MYSQL, "mysql", 55)],
    ids=["pg_dump", "mariadb-dump", "mysqldump"],
)
def test_a_dump_is_one_migration(file: Path, dump: str, engine: str, count: int) -> None:
    (found,) = read(file, f"-- migration 1 shop {engine}\n{dump}", engine)
    assert len(found.statements) == count
    assert not any("restrict " in each for each in found.statements)
    if engine == "postgres":
        other = dump.replace("restrict ", "restrict a")
        assert checksum(file, f"-- migration 1 shop {engine}\n{other}", engine) == found.checksum


@pytest.mark.parametrize(
    ("engine", "line", "message"),
    [
        (
            "postgres",
            "COPY a (id) FROM stdin;\n1\n\\.",
            "COPY … FROM stdin in line 3 .*pg_dump --inserts",
        ),
        (
            "postgres",
            "copy a from STDIN with csv;\nit's",
            "COPY … FROM stdin in line 3 .*pg_dump --inserts",
        ),
        ("postgres", "\\connect shop", r"\\connect in line 3 .*pg_dump --create"),
        ("postgres", "SELECT 1 \\gset", r"\\gset in line 3 is a command of psql"),
        ("postgres", "SELECT 1\n\\restrict a", r"\\restrict in line 4 is a command of psql"),
        ("mysql", "DELIMITER ;;\nCREATE TRIGGER a;", "DELIMITER in line 3 .*--skip-triggers"),
        ("mysql", "delimiter //\nit;", "DELIMITER in line 3 .*--skip-triggers"),
        ("mysql", "SELECT 1\\G", r"\\G in line 3 is a command of the mysql client"),
        ("mysql", "SET @@SESSION.SQL_LOG_BIN= 0;", "SQL_LOG_BIN in line 3 .*--set-gtid-purged=OFF"),
        (
            "mysql",
            "SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ '';",
            "GTID_PURGED in line 3 .*--set-gtid-purged=OFF",
        ),
    ],
)
def test_what_only_a_client_understands_is_refused(
    file: Path, engine: str, line: str, message: str
) -> None:
    with pytest.raises(infra.ConfigurationError, match=f"^shop.sql, migration 1: {message}"):
        read(file, f"-- migration 1 a {engine}\n-- It is a dump.\n{line}\n", engine)


def test_null_as_mariadb_writes_it(file: Path) -> None:
    for values in ("\\N,1", "'a'" + ",\\N" * 1000, "'a''b'" + ",\\N" * 1000):
        (found,) = read(file, f"-- migration 1 a mysql\nINSERT INTO a VALUES ({values});\n")
        assert found.statements == (f"INSERT INTO a VALUES ({values})",)


# --- Migrator, as far as it needs no server


@pytest.mark.real
@pytest.mark.parametrize(
    "url", ["mysql://root@127.0.0.1:1/shop", "postgresql://postgres@127.0.0.1:1/shop"]
)
def test_files_are_read_before_anything_is_asked(tmp_path: Path, url: str) -> None:
    file, double = tmp_path / "shop.sql", tmp_path / "copy" / "shop.sql"
    double.parent.mkdir()
    for each in (file, double):
        each.write_text(SHOP)
    with infra.create_pool(infra.DatabaseConfig(url=url)) as pool:
        assert [str(each) for each in infra.Migrator(pool, file).migrations] == [
            "shop 1 (orders)",
            each_total(pool),
        ]
        assert infra.Migrator(pool).migrations == infra.read_migrations(infra.SCHEMA, pool.engine)
        with pytest.raises(infra.ConfigurationError) as caught:
            infra.Migrator(pool, file, double)
        assert (
            str(caught.value)
            == "two files of migrations have the same name: it is part of their record"
        )
        with pytest.raises(infra.ConfigurationError, match=r"^path should be the path of a file"):
            infra.Migrator(pool, True)  # type: ignore[arg-type]
        with pytest.raises(infra.ConfigurationError, match=r"^no-such-file\.sql: "):
            infra.Migrator(pool, file, tmp_path / "no-such-file.sql")


def each_total(pool: infra.ConnectionPool) -> str:
    return {"mysql": "shop 5 (total)", "postgres": "shop 2 (total)"}[pool.engine]
