"""python -m infra: what it answers, and its exit codes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import infra
from tests.conftest import sql
from tests.services import free_port, s3_keys

Run = Callable[..., tuple[int, str, str]]
VARIABLES = [
    "DATABASE_URL", "MYSQL_URL", "POSTGRES_URL", "REDIS_URL", "DATABASE_MAX_CONNECTIONS",
    "S3_ENDPOINT",
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
]  # fmt: skip


SET = "set MYSQL_URL, POSTGRES_URL, DATABASE_URL, REDIS_URL, S3_ENDPOINT or AWS_ACCESS_KEY_ID"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return ``run(*arguments, **environment)``, which returns exit code, stdout and stderr.

    The environment names no other service, even if that of the tests does.
    """

    def run(*arguments: Any, **environment: str) -> tuple[int, str, str]:
        with monkeypatch.context() as patch:
            for name in VARIABLES:
                patch.delenv(name, raising=False)
            for name, value in environment.items():
                patch.setenv(name, value)
            capsys.readouterr()
            try:
                code: Any = infra.main([str(each) for each in arguments])
            except SystemExit as done:  # argparse's way
                code = done.code
            out, err = capsys.readouterr()
            return code, out, err

    return run


COMMANDS = ["health", "migrate", "move", "vendor"]


@pytest.mark.parametrize(
    "argv", [["--help"], *([command, "--help"] for command in COMMANDS), ["--version"], ["-V"]]
)
def test_it_answers(run: Run, argv: list[str]) -> None:
    code, out, err = run(*argv)
    assert (code, err) == (0, "")
    assert "infra" in out


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version(run: Run, option: str) -> None:
    assert run(option) == (0, f"infra {infra.__version__}\n", "")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_shows_examples_and_exit_codes(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    """It fits 80 columns, and each example is one that the command understands."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    out = run(*filter(None, [command]), "--help")[1]
    assert [line for line in out.splitlines() if len(line) >= 80] == []
    examples = re.findall(r"^  (.+)$", out.partition("examples:\n")[2].partition("\n\n")[0], re.M)
    assert len(examples) >= 2
    for example in examples:
        words = re.fullmatch(r"(?:\w+=\S+ )?(?:infra|python -m [\w.]+\.infra) (.+)", example)
        assert words is not None, example
        assert words[1].startswith(command), example
        # Nothing is set here, and no file exists: what is refused is never the usage.
        code, out_of_example, err = run(*words[1].split())
        assert (code, out_of_example) == (2, "")
        assert not err.startswith("usage: "), err
    codes = re.findall(r"^ *(\d+)  \S", out.partition("exit codes:\n")[2], re.M)
    assert codes[:3] == ["0", "1", "2"]


def test_without_a_command_it_shows_the_help(run: Run) -> None:
    code, out, err = run()
    assert (code, out) == (2, "")
    assert err == run("--help")[1]


@pytest.mark.parametrize("name", ["no-such-script.py", "."])
def test_a_script_of_moves_that_cannot_be_read(run: Run, tmp_path: Path, name: str) -> None:
    script = tmp_path / name
    code, out, err = run("move", script)
    assert (code, out) == (2, "")
    assert err.startswith(f"infra: {script} cannot be read: ")


def test_the_help_of_migrate_names_its_options(run: Run) -> None:
    out = run("migrate", "--help")[1]
    for each in (
        "[FILE ...]",
        "--lock-timeout SECONDS",
        "--status",
        "--dry-run",
        "--repair NUMBER",
        "--renamed-from STEM",
        "--done",
        "--retry",
    ):
        assert each in out


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["no-such-command"],
        ["health", "--no-such-option"],
        ["migrate", "--status", "--dry-run"],
        ["migrate", "--status", "--repair", "1"],
        ["migrate", "--repair"],
        ["migrate", "--renamed-from"],
        ["migrate", "--renamed-from", "shop", "--status"],
        ["migrate", "--repair", "users"],
        ["migrate", "--repair", "1", "--done", "--retry"],
        ["migrate", "--lock-timeout", "soon"],
        ["move", "--apply", "--dry-run"],
        ["move", "--apply", "--verify"],
    ],
)
def test_wrong_usage(run: Run, argv: list[str]) -> None:
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert err.startswith("usage: infra")


# --- health


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, f"no service is set: {SET}"),
        ({"MYSQL_URL": " "}, f"no service is set: {SET}"),
        (
            {"DATABASE_URL": "oracle://root:hidden@127.0.0.1/shop"},
            "DATABASE_URL should be a URL mysql://… or mariadb://… or postgresql://… or postgres://"
            "user:password@host[:port]/database. But its scheme is not mysql or mariadb or "
            "postgresql or postgres",
        ),
    ],
)
def test_wrong_settings(run: Run, environment: dict[str, str], message: str) -> None:
    assert run("health", **environment) == (2, "", f"infra: {message}\n")


def test_a_wrong_setting_of_redis(run: Run) -> None:
    code, out, err = run("health", REDIS_URL="http://nowhere")
    assert (code, out) == (2, "")
    assert err.startswith("infra: CacheConfig.url (REDIS_URL) should be redis://")


MYSQL_UP = r"mysql    up    (MariaDB|MySQL) \d+\.\d+\.\d+ +\d+\.\d ms\n"
POSTGRES_UP = r"postgres up    PostgreSQL \d+\.\d+ +\d+\.\d ms\n"
REDIS_UP = r"redis    up    Redis \d+\.\d+\.\d+ +\d+\.\d ms\n"


@pytest.mark.parametrize("mysql", ["mariadb", "mysql"])
def test_health(run: Run, service: Callable[[str], str], mysql: str) -> None:
    code, out, err = run("health", REDIS_URL=service("redis"))
    assert (code, err) == (0, "")
    assert re.fullmatch(REDIS_UP, out)
    code, out, err = run("health", DATABASE_URL=service("postgres"))
    assert (code, err) == (0, "")
    assert re.fullmatch(POSTGRES_UP, out)
    code, out, err = run(
        "health",
        MYSQL_URL=service(mysql),
        POSTGRES_URL=service("postgres"),
        REDIS_URL=service("redis"),
    )
    assert (code, err) == (0, "")
    assert re.fullmatch(MYSQL_UP + POSTGRES_UP + REDIS_UP, out)


def test_health_of_the_object_store(run: Run, service: Callable[[str], str]) -> None:
    login = dict(
        zip(
            ("S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
            (service("s3"), *s3_keys()),
        )
    )
    code, out, err = run("health", **login)
    assert (code, err) == (0, "")
    assert re.fullmatch(r"storage  up    \S.* +\d+\.\d ms\n", out)
    code, out, err = run("health", **{**login, "AWS_SECRET_ACCESS_KEY": "another-secret"})
    assert (code, err) == (1, "")
    assert out == (
        "storage  down  storage refused the request (HTTP 403, SignatureDoesNotMatch: "
        "the secret key is another one, see AWS_SECRET_ACCESS_KEY)\n"
    )
    code, out, err = run("health", **{**login, "S3_ENDPOINT": f"http://127.0.0.1:{free_port()}"})
    assert (code, err) == (1, "")
    assert out == "storage  down  storage could not be reached: Connection refused\n"


def test_health_of_one_that_is_down(run: Run, service: Callable[[str], str]) -> None:
    """The others are shown all the same."""
    port = free_port()
    urls = {
        "MYSQL_URL": service("mariadb"),
        "POSTGRES_URL": service("postgres"),
        "REDIS_URL": service("redis"),
    }
    ups = {"MYSQL_URL": MYSQL_UP, "POSTGRES_URL": POSTGRES_UP, "REDIS_URL": REDIS_UP}
    for variable, kind, name in (
        ("MYSQL_URL", "mysql", "shop"),
        ("POSTGRES_URL", "postgres", "shop"),
        ("REDIS_URL", "redis", ""),
    ):
        code, out, err = run(
            "health", **{**urls, variable: f"{kind}://user:hidden@127.0.0.1:{port}/{name}"}
        )
        assert (code, err) == (1, "")
        down = rf"{kind:<8} down  {kind} at 127\.0\.0\.1:{port} could not be reached.*\n"
        assert re.fullmatch("".join({**ups, variable: down}.values()), out)
        assert "hidden" not in out


@pytest.mark.parametrize("mysql", ["mariadb-tls", "mysql-tls"])
def test_health_over_tls(run: Run, service: Callable[[str], str], mysql: str) -> None:
    urls = {"MYSQL_URL": service(mysql), "POSTGRES_URL": service("postgres-tls")}
    code, out, err = run("health", **urls, REDIS_URL=service("redis-tls"))
    assert (code, err) == (0, "")
    assert re.fullmatch(MYSQL_UP + POSTGRES_UP + REDIS_UP, out)
    code, out, err = run("health", REDIS_URL=service("redis-cluster-tls"))
    assert (code, err) == (0, "")
    assert re.fullmatch(r"redis    up    Redis \d+\.\d+\.\d+, cluster of 3 +\d+\.\d ms\n", out)
    urls["REDIS_URL"] = service("redis-tls")
    code, out, err = run(
        "health", **{name: url.replace("/ca.pem", "/other.pem") for name, url in urls.items()}
    )
    assert (code, err) == (1, "")
    for line, kind in zip(out.splitlines(), ("mysql", "postgres", "redis")):
        down = (
            rf"{kind:<8} down  {kind} at localhost:\d+ could not be reached: "
            r"its certificate was refused \(.+\).*"
        )
        assert re.fullmatch(down, line)


def test_health_goes_on_after_a_missing_driver(
    run: Run, service: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    url = f"postgresql://user:hidden@127.0.0.1:{free_port()}/shop"
    code, out, err = run("health", POSTGRES_URL=url, REDIS_URL=service("redis"))
    needed = (
        "a postgres ConnectionPool needs a package that is not installed: "
        "pip install 'psycopg2-binary>=2.9'"
    )
    assert (code, err) == (2, "")
    assert re.fullmatch(re.escape(f"postgres down  {needed}\n") + REDIS_UP, out)


def test_health_goes_on_after_a_damaged_driver(
    run: Run, service: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "psycopg2.py").write_text("raise OSError(5, 'disk')\n")
    monkeypatch.delitem(sys.modules, "psycopg2", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    url = f"postgresql://user:hidden@127.0.0.1:{free_port()}/shop"
    code, out, err = run("health", POSTGRES_URL=url, REDIS_URL=service("redis"))
    needed = (
        "a postgres ConnectionPool cannot import psycopg2 (OSError): "
        "pip install --force-reinstall 'psycopg2-binary>=2.9'"
    )
    assert (code, err) == (2, "")
    assert re.fullmatch(re.escape(f"postgres down  {needed}\n") + REDIS_UP, out)


# --- migrate

SHOP = """\
-- migration 1 orders mysql
CREATE TABLE orders (
    id INT
);
CREATE INDEX orders_id_idx ON orders (id);

-- migration 1 orders postgres
CREATE TABLE orders (id int);

-- migration 2 totals mysql
-- migration 2 totals postgres
ALTER TABLE orders ADD total int
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    file = tmp_path / "shop.sql"
    file.write_text(SHOP)
    return file


@pytest.fixture(params=["mariadb", "mysql"])
def both(database: Callable[[str], str], request: pytest.FixtureRequest) -> dict[str, str]:
    return {"MYSQL_URL": database(request.param), "POSTGRES_URL": database("postgres")}


def test_migrate(run: Run, both: dict[str, str], shop: Path) -> None:
    pending = """\
mysql: shop 1 orders: pending
mysql: shop 2 totals: pending
postgres: shop 1 orders: pending
postgres: shop 2 totals: pending
"""
    assert run("migrate", shop, "--status", **both) == (0, pending, "")
    would = """\
mysql: would apply shop 1 (orders)
    CREATE TABLE orders (
        id INT
    );
    CREATE INDEX orders_id_idx ON orders (id);
mysql: would apply shop 2 (totals)
postgres: would apply shop 1 (orders)
    CREATE TABLE orders (id int);
postgres: would apply shop 2 (totals)
    ALTER TABLE orders ADD total int;
"""
    assert run("migrate", shop, "--dry-run", **both) == (0, would, "")
    assert run("migrate", shop, "--status", **both) == (0, pending, "")
    applying = """\
mysql: applying shop 1 (orders)
mysql: applying shop 2 (totals)
postgres: applying shop 1 (orders)
postgres: applying shop 2 (totals)
"""
    assert run("migrate", shop, **both) == (0, applying, "")
    idle = "mysql: up to date, 2 migrations\npostgres: up to date, 2 migrations\n"
    assert run("migrate", shop, **both) == (0, idle, "")
    assert run("migrate", "--dry-run", shop, **both) == (0, idle, "")
    code, out, err = run("migrate", shop, "--status", **both)
    assert (code, err) == (0, "")
    assert re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d\n", "WHEN\n", out) == pending.replace(
        "pending", "applied WHEN"
    )


def test_a_file_for_another_engine(run: Run, both: dict[str, str], shop: Path) -> None:
    shop.write_text("-- migration 1 a postgres\nCREATE TABLE a (id int);\n")
    nothing = "mysql: nothing to do, the files hold no migration for mysql\n"
    applied = nothing + "postgres: applying shop 1 (a)\n"
    assert run("migrate", shop, **both) == (0, applied, "")
    idle = nothing + "postgres: up to date, 1 migrations\n"
    assert run("migrate", shop, **both) == (0, idle, "")
    assert run("migrate", shop, "--dry-run", **both) == (0, idle, "")


@pytest.mark.parametrize("mysql", ["mariadb", "mysql"])
def test_migrate_alone_applies_the_librarys_own(
    run: Run, database: Callable[[str], str], shop: Path, mysql: str
) -> None:
    url = database(mysql)
    first = f"mysql: applying {infra.read_migrations(infra.SCHEMA, 'mysql')[0]}\n"
    assert first == "mysql: applying schema 1 (phone_accounts)\n"
    code, out, err = run("migrate", DATABASE_URL=url)
    assert (code, err) == (0, "")
    assert out.startswith(first)
    assert run("migrate", shop, DATABASE_URL=url)[0] == 0
    assert (
        "mysql: schema 1 phone_accounts: unknown\n"
        in run("migrate", shop, "--status", DATABASE_URL=url)[1]
    )


@pytest.mark.parametrize("engine", ["mysql", "postgres"])
def test_repair(run: Run, both: dict[str, str], shop: Path, engine: str) -> None:
    url = both[f"{engine.upper()}_URL"]
    shop.write_text(
        f"-- migration 7 a {engine} no-transaction\n"
        "CREATE TABLE a (id INT);\nCREATE TABLE a (id INT);\n"
    )
    code, out, err = run("migrate", shop, DATABASE_URL=url)
    assert (code, out) == (1, f"{engine}: applying shop 7 (a)\n")
    assert err.startswith(
        f"infra: migration shop 7 (a) failed at its statement 2, CREATE TABLE a … ({engine} at "
    )
    assert err.endswith(
        f"): look at the schema, then: infra migrate {shop} --repair 7 --done or --retry\n"
    )

    assert run("migrate", shop, "--status", DATABASE_URL=url) == (
        1,
        f"{engine}: shop 7 a: dirty at statement 2\n",
        "",
    )
    for option in ("--dry-run", "--lock-timeout=1"):
        code, out, err = run("migrate", shop, option, DATABASE_URL=url)
        assert (code, out) == (1, "")
        assert err == (
            "infra: migration shop 7 (a) is dirty: its statement 2 was begun, "
            "and may or may not have taken effect. "
            f"Look at the schema, then: infra migrate {shop} --repair 7 --done "
            "(it has taken effect) or --retry (run "
            "it again)\n"
        )

    which = (
        "infra: --repair needs --done (the statement has taken effect) or --retry (run it again)\n"
    )
    assert run("migrate", shop, "--repair", "7", DATABASE_URL=url) == (2, "", which)
    for option in ("--done", "--retry"):
        expected = (2, "", "infra: --done and --retry belong to --repair NUMBER\n")
        assert run("migrate", shop, option, DATABASE_URL=url) == expected
    absent = f"infra: no migration 8 is dirty: see infra migrate {shop} --status\n"
    assert run("migrate", shop, "--repair", "8", "--done", DATABASE_URL=url) == (1, "", absent)
    absent = "infra: no migration 7 is dirty: see infra migrate --status\n"
    assert run("migrate", "--repair", "7", "--done", DATABASE_URL=url) == (1, "", absent)

    settled = f"{engine}: migration 7 is settled: go on with infra migrate {shop}\n"
    assert run("migrate", shop, "--repair", "7", "--retry", DATABASE_URL=url) == (0, settled, "")
    partial = f"{engine}: shop 7 a: partial at statement 2\n"
    assert run("migrate", shop, "--status", DATABASE_URL=url) == (0, partial, "")
    code, out, err = run("migrate", shop, DATABASE_URL=url)
    assert (code, out) == (1, f"{engine}: applying shop 7 (a)\n")
    assert run("migrate", "--done", "--repair", "7", shop, DATABASE_URL=url) == (0, settled, "")
    assert run("migrate", shop, DATABASE_URL=url) == (
        0,
        f"{engine}: up to date, 1 migrations\n",
        "",
    )


def test_a_renamed_file(run: Run, both: dict[str, str], shop: Path) -> None:
    assert run("migrate", shop, **both)[0] == 0
    new = shop.rename(shop.with_name("orders.sql"))
    advice = f"if the file was renamed: infra migrate {new} --renamed-from shop;"
    code, out, err = run("migrate", new, **both)
    assert (code, out) == (1, "")
    assert advice in err
    took = "{0}: took over 2 records: go on with infra migrate {1}\n"
    done = took.format("mysql", new) + took.format("postgres", new)
    assert run("migrate", new, "--renamed-from", "shop", **both) == (0, done, "")
    code, out, err = run("migrate", new, "--renamed-from", "shop", **both)
    assert (code, out) == (1, "")
    assert "nothing is recorded under the former name 'shop'" in err
    idle = "mysql: up to date, 2 migrations\npostgres: up to date, 2 migrations\n"
    assert run("migrate", new, **both) == (0, idle, "")


def test_repair_finds_the_database_that_is_dirty(
    run: Run, both: dict[str, str], shop: Path
) -> None:
    failing = "CREATE TABLE orders (id int);\n"
    shop.write_text(SHOP + ";\n-- migration 3 again postgres no-transaction\n" + failing)
    assert run("migrate", shop, **both)[0] == 1
    settled = f"postgres: migration 3 is settled: go on with infra migrate {shop}\n"
    assert run("migrate", shop, "--repair", "3", "--done", **both) == (0, settled, "")
    idle = "mysql: up to date, 2 migrations\npostgres: up to date, 3 migrations\n"
    assert run("migrate", shop, **both) == (0, idle, "")


def test_a_failing_transaction(run: Run, database: Callable[[str], str], shop: Path) -> None:
    shop.write_text(
        "-- migration 1 a postgres\nCREATE TABLE a (id int);\n"
        "INSERT INTO a VALUES ('a private value');\n"
    )
    code, out, err = run("migrate", shop, DATABASE_URL=database("postgres"))
    assert (code, out) == (1, "postgres: applying shop 1 (a)\n")
    assert err.startswith(
        "infra: migration shop 1 (a) failed at its statement 2, INSERT INTO a … (postgres at "
    )
    assert err.endswith(
        "(code 22P02)): the whole migration was rolled back; mend it and run again\n"
    )
    assert "private" not in err


def test_a_wrong_file(run: Run, both: dict[str, str], shop: Path) -> None:
    """Nothing is changed, not even by the files before it."""
    wrong = shop.with_name("wrong.sql")
    message = "infra: wrong.sql: the file of migrations cannot be read: FileNotFoundError\n"
    assert run("migrate", shop, wrong, **both) == (2, "", message)
    wrong.write_text("CREATE TABLE wrong (id int);\n")
    message = (
        "infra: wrong.sql: SQL should stand below a line such as: -- migration 1 users mysql\n"
    )
    assert run("migrate", shop, wrong, **both) == (2, "", message)
    wrong.write_text("-- migration 1 a postgres\nSELECT 'a\n")
    message = (
        "infra: wrong.sql, migration 1: a quote or comment that opens in line 2 is never closed\n"
    )
    assert run("migrate", shop, wrong, **both) == (2, "", message)
    assert run("migrate", shop, "--status", **both)[1].count("pending") == 4


def test_migrate_without_a_database(run: Run) -> None:
    message = "infra: no database is set: set MYSQL_URL, POSTGRES_URL or DATABASE_URL\n"
    assert run("migrate", REDIS_URL="redis://127.0.0.1") == (2, "", message)


@pytest.mark.real
@pytest.mark.parametrize("option", [[], ["--status"], ["--dry-run"], ["--repair", "1", "--done"]])
@pytest.mark.parametrize("engine", ["mysql", "postgres"])
def test_migrate_when_the_server_is_down(run: Run, engine: str, option: list[str]) -> None:
    port = free_port()
    code, out, err = run(
        "migrate", *option, DATABASE_URL=f"{engine}://user:hidden@127.0.0.1:{port}/shop"
    )
    assert (code, out) == (1, "")
    assert err.startswith(f"infra: {engine} at 127.0.0.1:{port} could not be reached")
    assert err.count("\n") == 1
    assert "hidden" not in err


@pytest.mark.parametrize("engine", ["mariadb", "mysql", "postgres"])
def test_migrate_while_another_runner_does(
    run: Run, database: Callable[[str], str], shop: Path, engine: str
) -> None:
    url = database(engine)
    found = []
    with infra.create_pool(infra.DatabaseConfig(url=url)) as pool:

        def meanwhile(line: str) -> None:
            found.append(run("migrate", shop, "--lock-timeout", 0, DATABASE_URL=url))

        infra.Migrator(pool, shop, progress=meanwhile).apply()
    assert (
        found
        == [(1, "", "infra: another runner holds the lock of migrations for more than 0 s\n")] * 2
    )


PASSWORD = "p4ss/w%rd-Höhle"


@pytest.fixture(params=["mariadb", "mysql"])
def with_password(
    database: Callable[[str], str],
    service: Callable[[str], str],
    request: pytest.FixtureRequest,
) -> Iterator[str]:
    """The URL of a user who has one."""
    server, url = service(request.param), database(request.param)
    place, name = url.rpartition("@")[2], url.rpartition("/")[2]
    sql(server, f"CREATE USER {name} IDENTIFIED BY '{PASSWORD}'")
    sql(server, f"GRANT ALL ON {name}.* TO {name}")
    yield f"mysql://{name}:p4ss%2Fw%25rd-H%C3%B6hle@{place}"
    sql(server, f"DROP USER {name}")


def test_no_password_is_shown(
    run: Run, with_password: str, shop: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    wrong = with_password.replace("p4ss", "p4ss-of-old")
    failing = shop.with_name("failing.sql")
    failing.write_text("-- migration 1 a mysql\nCREATE TABLE orders (id INT);\n")
    answers = [
        run(*arguments, MYSQL_URL=url)
        for arguments in (
            ["health"],
            ["migrate", shop, "--status"],
            ["migrate", shop, "--dry-run"],
            ["migrate", shop],
            ["migrate", shop, failing],
            ["migrate", failing, "--repair", 1, "--done"],
            ["migrate", shop.with_name("no-such-file.sql")],
        )
        for url in (with_password, wrong)
    ]
    assert [code for code, _, _ in answers] == [0, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 2, 2]
    assert answers[1][1].startswith("mysql    down  mysql at ")
    assert "refused the login: check user, password, database and host (code 1045)" in answers[1][1]
    shown = "".join(out + err for _, out, err in answers) + caplog.text
    for secret in ("p4ss", "w%rd", "w%25rd", "Höhle", "H%C3%B6hle"):
        assert secret not in shown


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(infra.Config, "from_env", interrupted)
    assert infra.main(["health"]) == 130
    assert capsys.readouterr().err == "infra: interrupted\n"


@pytest.mark.real
@pytest.mark.parametrize("seconds", ["nan", "-1", "inf"])
def test_a_lock_timeout_that_is_none(
    seconds: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MYSQL_URL", f"mysql://root@127.0.0.1:{free_port()}/infra")
    assert infra.main(["migrate", "--lock-timeout", seconds]) == 2
    assert "lock_timeout should be a number" in capsys.readouterr().err


# --- a reader that has gone


def unread(*arguments: Any, **environment: str) -> tuple[int, str]:
    """Return exit code and stderr of the command when its stdout is closed, as by ``| head``."""
    reader, writer = os.pipe()
    os.close(reader)
    return writing_to(writer, *arguments, **environment)


def writing_to(writer: int, *arguments: Any, **environment: str) -> tuple[int, str]:
    """Exit code and stderr of the command, whose output goes to that descriptor."""
    env = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    command = [sys.executable, "-m", "infra", *map(str, arguments)]
    try:
        done = subprocess.run(
            command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False,
            cwd=Path(infra.__file__).parent, env=env | environment,
        )  # fmt: skip
    finally:
        os.close(writer)
    return done.returncode, done.stderr


def test_nobody_reads_the_output(both: dict[str, str], shop: Path) -> None:
    for option in ("--dry-run", "--status"):
        assert unread("migrate", shop, option, **both) == (0, "")
    assert unread("health", **both) == (0, "")
    assert unread("migrate", "--help") == (0, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_disk_without_room_for_the_output(run: Run, both: dict[str, str], shop: Path) -> None:
    """The work is done all the same."""
    lost = (2, "infra: the output could not be written: No space left on device\n")
    for arguments in (("health",), ("migrate", shop)):
        assert writing_to(os.open("/dev/full", os.O_WRONLY), *arguments, **both) == lost
    assert run("migrate", shop, "--status", **both)[1].count("applied") == 4


def test_a_migration_goes_on_though_nobody_reads(
    run: Run, both: dict[str, str], shop: Path
) -> None:
    assert unread("migrate", shop, **both) == (0, "")
    assert run("migrate", shop, "--status", **both)[1].count("applied") == 4


def test_status_of_an_edited_migration(
    run: Run, database: Callable[[str], str], shop: Path
) -> None:
    url = database("postgres")
    assert run("migrate", shop, DATABASE_URL=url)[0] == 0
    assert run("migrate", shop, "--status", DATABASE_URL=url)[0] == 0
    shop.write_text(SHOP.replace("id int", "id bigint"))
    code, out, err = run("migrate", shop, "--status", DATABASE_URL=url)
    assert (code, err) == (1, "")
    assert "shop 1 orders: edited\n" in out
    assert "shop 2 totals: applied" in out


# --- move --create

COPY = """\
-- migration 1 words postgres
-- KEY `by_note` (`note`)
CREATE TABLE "words" (
    "id" INTEGER NOT NULL,
    "word" VARCHAR(20) COLLATE "C" NOT NULL DEFAULT 'none',
    "note" VARCHAR(9) COLLATE "C" NULL,
    CONSTRAINT "words_pkey" PRIMARY KEY ("id"),
    CONSTRAINT "words_word_key" UNIQUE ("word")
);

"""
HINT = "-- nothing has changed: --apply creates the table and moves the rows\n"


@pytest.mark.parametrize("name", ["mariadb", "mysql"])
def test_the_table_of_the_target(
    run: Run, database: Callable[[str], str], tmp_path: Path, name: str
) -> None:
    """--create shows it, --apply creates it and moves; a table that exists is refused by name."""
    old, new = database(name), database("postgres")
    sql(
        old,
        "CREATE TABLE words (id INTEGER PRIMARY KEY, word VARCHAR(20) NOT NULL DEFAULT 'none' "
        "UNIQUE, note VARCHAR(9) NULL, KEY by_note (note)) CHARACTER SET utf8mb4 "
        "COLLATE utf8mb4_bin",
    )
    sql(old, "INSERT INTO words (id, word) VALUES (1, 'a'), (2, 'b')")
    command = ["move", "--from", "OLD", "--to", "NEW", "--table", "words"]
    shown = run(*command, "--create", OLD=old, NEW=new)
    assert shown == (0, COPY + HINT, "")
    with infra.create_pool(infra.DatabaseConfig(url=new)) as pool:
        tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        assert pool.fetch_one(tables) == (0,)
        code, out, err = run(*command, "--create", "--apply", OLD=old, NEW=new)
        assert (code, err) == (0, "")
        assert out.startswith(f"{COPY}words: done: 2 read, 2 written (")
        assert pool.fetch_all("SELECT id, word FROM words ORDER BY id") == [(1, "a"), (2, "b")]
        code, out, err = run(*command, "--apply", OLD=old, NEW=new)
        assert (code, out) == (1, COPY)
        assert 'has a table or index of that name already: "words"' in err
        assert pool.fetch_one("SELECT count(*) FROM words") == (2,)
    (tmp_path / "words.sql").write_text(shown[1])
    other = database("postgres")
    assert run("migrate", tmp_path / "words.sql", DATABASE_URL=other)[0] == 0
    assert run(*command, OLD=old, NEW=other)[0] == 0


def test_a_script_has_no_table_to_create(run: Run) -> None:
    for option in ("--create", "--apply"):
        code, out, err = run("move", MOVE_USERS, option)
        assert (code, out) == (2, "")
        assert "give a script, or --table, --from and --to" in err


def test_a_table_that_the_target_cannot_have(run: Run, database: Callable[[str], str]) -> None:
    old, new = database("postgres"), database("mariadb")
    sql(old, "CREATE TABLE words (id INTEGER PRIMARY KEY, tags TEXT[])")
    command = ["move", "--from", "OLD", "--to", "NEW", "--table"]
    for option in ("--create", "--apply"):
        code, out, err = run(*command, "words", option, OLD=old, NEW=new)
        assert (code, out) == (1, "")
        assert err == "infra: tags is text[], which the engine does not have\n"
        code, out, err = run(*command, "absent", option, OLD=old, NEW=new)
        assert (code, out) == (1, "")
        assert '"absent"' in err


MOVE_USERS = Path(__file__).resolve().parents[2] / "examples" / "move_users.py"


@pytest.mark.parametrize("name", ["mariadb", "mysql", "postgres"])
def test_one_database_has_all_repositories(
    run: Run, database: Callable[[str], str], tmp_path: Path, name: str
) -> None:
    """With DATABASE_URL alone."""
    env = {"DATABASE_URL": database(name), "PHONE_HASH_KEY": "k" * 32}
    code, out, err = run("migrate", **env)
    assert (code, err) == (0, "")
    assert "phone_accounts" in out
    assert "benchmark_exchange" in out
    code, out, err = run("health", **env)
    assert (code, err, len(out.splitlines())) == (0, "", 1)
    with infra.Infrastructure.from_env(env) as services:
        services.phone_users.create_for_phone("+14155550100", "customer")
    code, out, err = run("move", MOVE_USERS, "--rejects", tmp_path / "rejects.jsonl", **env)
    assert (code, err) == (0, "")
    with infra.Infrastructure.from_env(env) as services:
        (user,) = services.users.page().items
        draft = infra.Benchmark(
            "sums", "Sums", category="cost", created_by=user.id, tags=("b", "a")
        )
        benchmark = services.benchmarks.create(draft)
        submission = services.submissions.create(
            infra.Submission(benchmark.id, benchmark.version_id, "m", user.id, aggregate_score=0.5)
        )
        (best,) = services.submissions.leaderboard(benchmark.id)
        assert (best.submission_id, best.username) == (submission.id, user.username)
        assert services.benchmarks.find_by_tag("a").items == [benchmark]
