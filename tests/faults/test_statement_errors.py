"""Errors of databases give the name or the place in the statement, and never a value."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import infra

pytestmark = pytest.mark.real

SECRET = "s3cret-739182"
UNKNOWN = "knows no table or column of that name (are all migrations applied?)"
MISFIT = "refused a value that does not fit its column or type"
BAD_ARGUMENT = "refused a value that a function, an operator or a setting cannot have"
NO_OVERLOAD = "has no function or operator of that name for arguments of that number and type"


@pytest.fixture(scope="module", params=["mariadb", "mysql", "postgres"])
def url(request: pytest.FixtureRequest, database: Callable[[str], str]) -> str:
    return database(request.param)


@pytest.fixture(scope="module")
def pool(url: str) -> Iterator[infra.ConnectionPool]:
    with infra.create_pool(infra.DatabaseConfig(url=url)) as made:
        made.execute("CREATE TABLE w (id INTEGER PRIMARY KEY, word VARCHAR(5), day DATE)")
        yield made


def said(error: infra.InfrastructureError) -> str:
    """The message behind the server's place."""
    assert SECRET not in str(error)
    assert SECRET not in repr(error.__cause__)
    return str(error).partition(" at ")[2].partition(" ")[2]


def refusal(call: Callable[[], Any]) -> infra.DatabaseError:
    with pytest.raises(infra.DatabaseError) as caught:
        call()
    assert type(caught.value) is infra.DatabaseError
    return caught.value


NAMES = {  # the statement, its parameters, what is said of it, codes of MySQL and Postgres
    "a column": ("SELECT nme FROM w", None, f'{UNKNOWN}: "nme", line 1, column 8', 1054, "42703"),
    "a column of a table, behind texts": (
        "SELECT 'é%%', %s,\n w.nme FROM w WHERE word = %s",
        [f"it's\n{SECRET}", SECRET],
        f'{UNKNOWN}: "w.nme", line 2, column 2',
        1054,
        "42703",
    ),
    "a named parameter": (
        "SELECT %(x)s, nme FROM w",
        {"x": SECRET},
        f'{UNKNOWN}: "nme", line 1, column 15',
        1054,
        "42703",
    ),
    "a table": ("SELECT * FROM nope", None, f'{UNKNOWN}: "nope", line 1, column 15', 1146, "42P01"),
    "a table to drop": (
        "DROP TABLE nope", None, f'{UNKNOWN}: "nope", line 1, column 12', 1051, "42P01"
    ),
    "a database": (
        "DROP DATABASE nope", None, 'knows nothing of that name: "nope", line 1, column 15', 1008,
        "3D000"
    ),
    "a word": (
        "SELEC 1", None, 'could not read the statement: "SELEC", line 1, column 1', 1064, "42601"
    ),
    "a word in the third line": (
        "SELECT *\nFROM w -- comment\nWHRE word = %s",
        [SECRET],
        'could not read the statement: "word", line 3, column 6',
        1064,
        "42601",
    ),
    "a table that is there": (
        "CREATE TABLE w (id INT)",
        None,
        'has a table or index of that name already: "w", line 1, column 14',
        1050,
        "42P07",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NAMES)
def test_the_name_and_its_place(pool: infra.ConnectionPool, case: str) -> None:
    sql, params, words, mysql, postgres = NAMES[case]
    code = mysql if pool.engine == "mysql" else postgres
    error = refusal(lambda: pool.execute(sql, params))
    assert (said(error), error.code) == (f"{words} (code {code})", code)


def test_a_stream_says_the_same(pool: infra.ConnectionPool) -> None:
    error = refusal(lambda: list(pool.stream("SELECT %s, nme FROM w", [SECRET])))
    assert said(error).startswith(f'{UNKNOWN}: "nme", line 1, column 12 (code')


@pytest.mark.parametrize(
    ("column", "value"),
    [("word", SECRET), ("id", 10**12), ("day", f"{SECRET} for column 'x' at row 1")]
)  # fmt: skip
def test_a_value_that_does_not_fit(pool: infra.ConnectionPool, column: str, value: Any) -> None:
    """Postgres keeps the column to itself, but says the type or the parameter."""
    names = ", ".join(dict.fromkeys([column, "id"]))
    marks = "%s" if column == "id" else "%s, 1"
    error = refusal(lambda: pool.execute(f"INSERT INTO w ({names}) VALUES ({marks})", [value]))
    words = {
        "word": "type character varying(5) (code 22001)",
        "id": "type integer (code 22003)",
        "day": "parameter 1, type date (code 22007)",
    }[column]
    if pool.engine == "mysql":
        words = f'column "{column}" (code {error.code})'
        assert error.code in (1264, 1292, 1406)
    assert said(error) == f"{MISFIT}: {words}"


def test_no_value_passes_for_a_name(pool: infra.ConnectionPool) -> None:
    """A placeholder in quotes, and a quote in a text: the server then names a value."""
    for sql, params in (
        ("SELECT * FROM w WHERE word = '%s'", [f"O'Brien{SECRET}"]),
        ("SELECT * FROM w WHERE word = '%s'", ["x Brien"]),
        ("SELECT * FROM w WHERE word = 'O'Brien'", None),
    ):
        error = refusal(lambda sql=sql, params=params: pool.execute(sql, params))  # type: ignore[misc]
        assert "could not read the statement: " in str(error)
        assert "Brien" not in str(error)


def test_the_servers_own_text(url: str, pool: infra.ConnectionPool) -> None:
    config = infra.DatabaseConfig(url=url, error_detail=True)
    with infra.create_pool(config) as open_pool:
        error = refusal(lambda: open_pool.execute("INSERT INTO w (id) VALUES (%s)", ["a-word"]))
        assert "; the server says: " in str(error)
        assert "a-word" in str(error)
    quiet = refusal(lambda: pool.execute("INSERT INTO w (id) VALUES (%s)", ["a-word"]))
    assert "a-word" not in str(quiet)


PERCENT = "the parameters do not fit the placeholders of the statement: "


@pytest.mark.parametrize(
    ("sql", "params", "words"),
    [
        (
            "SELECT *\nFROM w WHERE word LIKE 's%' AND id = %s",
            [1],
            "a percent sign at line 2, column 26 is no placeholder: with params it is written %%",
        ),
        (
            "SELECT 7 % 3, %s",
            [1],
            "a percent sign at line 1, column 10 is no placeholder: with params it is written %%",
        ),
        ("SELECT %s, %s", [SECRET], "it has 2, and params has 1"),
        ("SELECT %s", [SECRET, SECRET], "it has 1, and params has 2"),
        ("SELECT %(a)s, %(b)s", {"a": SECRET}, "params should have b"),
        ("SELECT %(a)s", [SECRET], "%s takes a list or tuple, %(name)s a dict"),
        ("SELECT %s", {"a": SECRET}, "%s takes a list or tuple, %(name)s a dict"),
    ],
)  # fmt: skip
def test_placeholders(pool: infra.ConnectionPool, sql: str, params: Any, words: str) -> None:
    with pytest.raises(infra.ValidationError) as caught:
        pool.execute(sql, params)
    assert str(caught.value) == PERCENT + words


def test_a_full_disk(pool: infra.ConnectionPool) -> None:
    words = "has no room left on its disk, or in its table space"
    if pool.engine == "postgres":
        sql = f"DO $$ BEGIN RAISE EXCEPTION '{SECRET}' USING ERRCODE = '53100'; END $$"
        assert said(refusal(lambda: pool.execute(sql))) == f"{words} (code 53100)"
        return
    pool.execute(
        "CREATE PROCEDURE full_disk() BEGIN "
        f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1021, MESSAGE_TEXT = '{SECRET}'; END"
    )
    assert said(refusal(lambda: pool.execute("CALL full_disk()"))) == f"{words} (code 1021)"


def test_codes_of_logins_on_a_session(pool: infra.ConnectionPool) -> None:
    """They are no ConnectionError: the connection is there."""
    if pool.engine == "postgres":
        refusal(lambda: pool.execute("DROP DATABASE nope"))
    else:
        words = 'knows nothing of that name: "nope", line 1, column 5 (code 1049)'
        assert said(refusal(lambda: pool.execute("USE nope"))) == words


def test_copy_under_a_wait_callback(database: Callable[[str], str]) -> None:
    """In a process of its own, because the callback is the whole process's."""
    url = database("postgres")
    program = (
        "import sys, infra, psycopg2.extensions, psycopg2.extras\n"
        "psycopg2.extensions.set_wait_callback(psycopg2.extras.wait_select)\n"
        "with infra.create_pool(infra.DatabaseConfig(url=sys.argv[1])) as pool:\n"
        "    pool.execute('CREATE TABLE waiting (id INTEGER)')\n"
        "    try: pool.insert_many('waiting', ['id'], [(1,)])\n"
        "    except infra.DatabaseError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, url], capture_output=True, text=True, check=True
    )
    assert (
        "insert_many uses COPY, which psycopg2 does not support under a wait callback"
        in done.stdout
    )


def test_a_function_without_its_end(pool: infra.ConnectionPool) -> None:
    """Scripts of MySQL are cut at each semicolon; of Postgres END may be missing."""
    sql = {
        "mysql": "CREATE PROCEDURE p() BEGIN SELECT 1",
        "postgres": "CREATE FUNCTION p() RETURNS INT BEGIN ATOMIC SELECT 1;",
    }[pool.engine]
    assert "; its BEGIN has no END" in str(refusal(lambda: pool.execute(sql)))
    other = sql.replace("SELECT 1", "SELEC 1") + ("; END" if pool.engine == "mysql" else " END")
    error = refusal(lambda: pool.execute(other))
    assert "could not read the statement: " in str(error)
    assert "its BEGIN has no END" not in str(error)


@pytest.mark.parametrize(
    ("table", "column", "words", "mysql", "postgres"),
    [("nope", "id", '"nope"', 1146, "42P01"), ("w", "nme", '"nme" in w', 1054, "42703")],
)
def test_insert_many_into_what_is_not_there(
    pool: infra.ConnectionPool, table: str, column: str, words: str, mysql: int, postgres: str
) -> None:
    """The catalogue is asked first; the code is the one of an INSERT all the same."""
    code = mysql if pool.engine == "mysql" else postgres
    error = refusal(lambda: pool.insert_many(table, [column], [(1,)]))
    assert (error.code, error.operation) == (code, "insert_many")
    assert str(error).endswith(f"{UNKNOWN}: {words} (code {code})")


def test_a_move_from_what_is_not_there(pool: infra.ConnectionPool) -> None:
    code = 1146 if pool.engine == "mysql" else "42P01"
    source, target = infra.TableSource(pool, "nope"), infra.TableTarget(pool, "w")
    error = refusal(infra.RowMove("from_nowhere", source=source, target=target).run)
    assert (error.code, str(error).endswith(f': "nope" (code {code})')) == (code, True)


@pytest.mark.parametrize(
    ("sql", "words", "mysql", "postgres"),
    [
        ("INSERT INTO w (id) VALUES (1/0)", "does not divide by zero", 1365, "22012"),
        ("SELECT 'a' {regexp} '('", "could not read a regular expression", None, "2201B"),
        ("SET lc_messages = 'nope'", BAD_ARGUMENT, 1649, "22023"),
        ("SET {zone} = 'nope'", BAD_ARGUMENT, 1298, "22023"),
        ("SELECT sqrt(-1)", BAD_ARGUMENT, 0, "2201F"),
        ("SELECT substring('{secret}', 1, -1)", BAD_ARGUMENT, 0, "22011"),
        ("SELECT * FROM w LIMIT -1", BAD_ARGUMENT, 0, "2201W"),
        ("SELECT power(10, 1000)", MISFIT, 1690, "22003"),
        ("SET nope = 1", "knows nothing of that name", 1193, "42704"),
    ],
)
def test_the_reason(
    pool: infra.ConnectionPool, sql: str, words: str, mysql: int | None, postgres: str
) -> None:
    if pool.engine == "mysql" and mysql == 0:
        return  # no error there
    names = {"mysql": ("REGEXP", "time_zone"), "postgres": ("~", "timezone")}[pool.engine]
    sql = sql.format(regexp=names[0], zone=names[1], secret=SECRET)
    error = refusal(lambda: pool.execute(sql))
    assert said(error).startswith(words)
    if pool.engine == "postgres":
        assert error.code == postgres
    elif mysql is None:
        assert error.code in (1139, 3691)  # MariaDB's, and that of ICU on MySQL
    else:
        assert error.code == mysql


def test_a_function_for_other_arguments(pool: infra.ConnectionPool) -> None:
    where = ': "upper", line 1, column 8'
    error = refusal(lambda: pool.execute("SELECT upper(1, 2, 3)"))
    assert said(error) == f"{NO_OVERLOAD}{where} (code {error.code})"
    assert error.code == (1582 if pool.engine == "mysql" else "42883")
    absent = refusal(lambda: pool.execute("SELECT nofun(1)"))
    words = {"mysql": "knows nothing of that name", "postgres": NO_OVERLOAD}[pool.engine]
    assert said(absent) == f'{words}: "nofun", line 1, column 8 (code {absent.code})'
    assert absent.code == (1305 if pool.engine == "mysql" else "42883")


def test_an_operator_for_other_types(pool: infra.ConnectionPool) -> None:
    if pool.engine == "postgres":  # MySQL converts
        error = refusal(lambda: pool.execute("SELECT word + 1 FROM w"))
        assert said(error) == f"{NO_OVERLOAD}: line 1, column 13 (code 42883)"


def test_another_number_of_values(pool: infra.ConnectionPool) -> None:
    if pool.engine == "mysql":  # Postgres names the place
        error = refusal(lambda: pool.execute("INSERT INTO w (id) VALUES (1, %s)", [SECRET]))
        words = 'takes as many values as there are columns: "w", line 1, column 13 (code 1136)'
        assert said(error) == words


def test_a_stream_of_what_is_no_query(pool: infra.ConnectionPool) -> None:
    if pool.engine == "postgres":
        hint = "; stream takes queries alone: give this to execute or fetch_all"
        for sql in ("UPDATE w SET id = 1", "/* SELECT */ UPDATE w SET id = 1", "SHOW search_path"):
            error = refusal(lambda sql=sql: list(pool.stream(sql)))  # type: ignore[misc]
            assert said(error).endswith(f"{hint} (code 42601)")
        assert hint not in said(refusal(lambda: list(pool.stream("(SELECT 1 FRM w)"))))
        assert hint not in said(refusal(lambda: pool.execute("UPDAT w SET id = 1")))
