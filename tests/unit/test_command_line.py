"""python -m infra: what it answers, and its exit codes."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import infra
from tests.conftest import sql
from tests.contract.backends import eventually
from tests.faults.proxy import Proxy, Stub
from tests.services import free_port, s3_keys

Run = Callable[..., tuple[int, str, str]]
VARIABLES = [
    "DATABASE_URL", "MYSQL_URL", "POSTGRES_URL", "REDIS_URL", "DATABASE_MAX_CONNECTIONS",
    "S3_ENDPOINT", "AUDIT_KEY",
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
]  # fmt: skip


SET = (
    "set MYSQL_URL, POSTGRES_URL, DATABASE_URL, REDIS_URL, EVENTS_URL, S3_ENDPOINT or "
    "AWS_ACCESS_KEY_ID"
)


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


COMMANDS = ["audit", "health", "migrate", "move", "vendor"]


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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seal", "--head", f"1:{'0' * 64}"], "--head belongs to --verify"),
        (["--verify", "--head", "1"], "--head belongs to --verify"),
        (["--verify"], "no database is set"),
        ([], "one of the arguments --seal --verify is required"),
        (["--seal", "--verify"], "not allowed with argument"),
    ],
)
def test_wrong_usage_of_audit(run: Run, arguments: list[str], words: str) -> None:
    code, out, err = run("audit", *arguments)
    assert (code, out) == (2, "")
    assert words in err


def test_audit_without_a_key(run: Run) -> None:
    env = {"DATABASE_URL": "mysql://u:p@127.0.0.1:1/db"}
    for option in ("--seal", "--verify"):
        expected = (2, "", "infra: seals need a key (AUDIT_KEY)\n")
        assert run("audit", option, **env) == expected
    assert "(AUDIT_KEY) should be" in run("audit", "--seal", AUDIT_KEY="zq71", **env)[2]


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
        "--check",
        "--json",
        "--new NAME",
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
        ["health", "--wait"],
        ["health", "--wait", "soon"],
        ["migrate", "--check", "--status"],
        ["migrate", "--check", "--dry-run"],
        ["migrate", "--new"],
        ["migrate", "--new", "notes", "--check"],
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


PENDING = r"(, 5 pending)?"  # the tests share these databases
MYSQL_UP = rf"mysql    up    (MariaDB|MySQL) \d+\.\d+\.\d+ +\d+\.\d ms{PENDING}\n"
POSTGRES_UP = rf"postgres up    PostgreSQL \d+\.\d+ +\d+\.\d ms{PENDING}\n"
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


SLACK = 10.0  # seconds that a busy machine may add
SECRET = "s3cr3t-marker"


def test_health_shows_what_is_pending(run: Run, both: dict[str, str], shop: Path) -> None:
    code, out, err = run("health", shop, **both)
    assert (code, err) == (0, "")
    assert [line.partition(" ms")[2] for line in out.splitlines()] == [", 2 pending"] * 2
    assert run("migrate", shop, **both)[0] == 0
    out = run("health", shop, **both)[1]
    assert [line.partition(" ms")[2] for line in out.splitlines()] == ["", ""]
    changed = SHOP.replace("ADD total int", "ADD total bigint").replace("id int", "id bigint")
    shop.write_text(f"{changed};\n-- migration 3 last postgres\n")
    out = run("health", shop, **both)[1]
    assert [line.partition(" ms")[2] for line in out.splitlines()] == [
        "", ", 2 edited, 1 pending"
    ]  # fmt: skip


def test_health_with_a_wrong_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "absent.sql"
    url = f"mysql://u:{SECRET}@127.0.0.1:{free_port()}/shop"
    message = "infra: absent.sql: the file of migrations cannot be read: FileNotFoundError\n"
    assert run("health", file, "--wait", 60, MYSQL_URL=url) == (2, "", message)


def test_health_as_json(run: Run, both: dict[str, str], shop: Path) -> None:
    code, out, err = run("health", shop, "--json", **both)
    assert (code, err, out.count("\n")) == (0, "", 1)
    found = json.loads(out)
    assert [*found] == ["up", "services"]
    assert (found["up"], [*found["services"]]) == (True, ["mysql", "postgres"])
    postgres = found["services"]["postgres"]
    assert 0 < postgres.pop("latency") < SLACK
    assert re.fullmatch(r"PostgreSQL \d+\.\d+", postgres.pop("version"))
    pending = {"source": "shop", "state": "pending", "statement": 0, "applied_at": None}
    assert postgres == {
        "up": True,
        "error": "",
        "reason": "",
        "pool": {
            "max_connections": 10,
            "open": 1,
            "in_use": 0,
            "idle": 1,
            "waiting": 0,
            "longest_wait": 0.0,
            "opened": 1,
            "closed": 0,
            "timed_out": 0,
        },
        "breaker": None,
        "pending": [
            {**pending, "number": 1, "name": "orders"},
            {**pending, "number": 2, "name": "totals"},
        ],
    }


@pytest.mark.real
def test_health_as_json_of_one_that_is_down(run: Run) -> None:
    port = free_port()
    code, out, err = run("health", "--json", REDIS_URL=f"redis://:{SECRET}@127.0.0.1:{port}")
    assert (code, err) == (1, "")
    found = json.loads(out)
    redis = found["services"]["redis"]
    assert (found["up"], redis["up"], redis["error"]) == (False, False, "ConnectionError")
    assert redis["reason"].startswith(f"redis at 127.0.0.1:{port} could not be reached")
    assert SECRET not in out


def test_health_as_json_without_a_driver(
    run: Run, service: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting is of no use."""
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    url = f"postgresql://user:{SECRET}@127.0.0.1:{free_port()}/shop"
    environment = {"POSTGRES_URL": url, "REDIS_URL": service("redis")}
    started = time.monotonic()
    code, out, err = run("health", "--json", "--wait", 30, **environment)
    assert time.monotonic() - started < 5 + SLACK
    assert (code, err) == (2, "")
    services = json.loads(out)["services"]
    assert (services["postgres"]["error"], services["redis"]["up"]) == ("ConfigurationError", True)


@pytest.mark.real
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_health_of_a_silent_server(run: Run, options: list[str]) -> None:
    """Four of them take no longer than one."""
    with Stub(lambda _: None) as silent:
        place = f"127.0.0.1:{silent.port}"
        started = time.monotonic()
        code, out, err = run(
            "health", *options, MYSQL_URL=f"mysql://u:{SECRET}@{place}/d",
            POSTGRES_URL=f"postgresql://u:{SECRET}@{place}/d", REDIS_URL=f"redis://{place}",
            S3_ENDPOINT=f"http://{place}",
            AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY=SECRET,
        )  # fmt: skip
        assert time.monotonic() - started < 5 + SLACK
    assert (code, err) == (1, "")
    for name in ("mysql", "postgres", "redis", "storage"):
        assert name in out
    assert SECRET not in out


# --- health --wait


@pytest.mark.real
def test_waiting_ends(run: Run) -> None:
    started = time.monotonic()
    code, out, err = run("health", "--wait", 1.5, REDIS_URL=f"redis://127.0.0.1:{free_port()}")
    assert 1.5 <= time.monotonic() - started < 1.5 + SLACK
    assert (code, err) == (1, "")
    assert out.startswith("redis    down  redis at 127.0.0.1:")
    assert out.count("\n") == 1  # the last answer alone


def test_waiting_ends_as_soon_as_all_are_up(run: Run, service: Callable[[str], str]) -> None:
    redis, port = service("redis"), free_port()
    opened: list[Proxy] = []

    def open_later() -> None:
        time.sleep(1)
        opened.append(Proxy(int(re.findall(r":(\d+)", redis)[-1]), port))

    later = threading.Thread(target=open_later)
    later.start()
    started = time.monotonic()
    code, out, err = run(
        "health", "--wait", 120, REDIS_URL=f"redis://127.0.0.1:{port}",
        DATABASE_URL=service("postgres"),
    )  # fmt: skip
    later.join()
    assert 1 <= time.monotonic() - started < 60
    assert (code, err) == (0, "")
    assert re.fullmatch(POSTGRES_UP + REDIS_UP, out)
    with opened[0]:
        pass


def test_waiting_without_need(run: Run, service: Callable[[str], str]) -> None:
    for seconds in (0, 600):
        code, out, err = run("health", "--wait", seconds, REDIS_URL=service("redis"))
        assert (code, err) == (0, "")
        assert re.fullmatch(REDIS_UP, out)


@pytest.mark.real
@pytest.mark.parametrize("seconds", ["nan", "-1", "-inf"])
def test_a_wait_of_no_length(run: Run, seconds: str) -> None:
    """It asks once."""
    code, out, _ = run("health", f"--wait={seconds}", REDIS_URL=f"redis://127.0.0.1:{free_port()}")
    assert (code, out.count("\n")) == (1, 1)


def hang_up(client: Any) -> None:
    client.close()


@pytest.mark.real
@pytest.mark.parametrize("serve", [lambda _: None, hang_up], ids=["silent", "ends"])
@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "infra: interrupted\n"),
        (signal.SIGTERM, 130, "infra: interrupted\n"),
    ],
)
@pytest.mark.parametrize("scheme", ["redis", "postgres", "mysql"])
def test_a_signal_ends_the_wait(
    serve: Callable[[Any], None], number: int, code: int, said: str, scheme: str
) -> None:
    """Also if the command is the first process of a container, which SIGTERM ends by a handler."""
    env = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    with Stub(serve) as server:
        variable = "REDIS_URL" if scheme == "redis" else "DATABASE_URL"
        env[variable] = f"{scheme}://u:{SECRET}@127.0.0.1:{server.port}/0"
        command = [sys.executable, "-m", "infra", "health", "--wait", "600", "--json"]
        waiting = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
            cwd=Path(infra.__file__).parent,
        )  # fmt: skip
        try:
            eventually(lambda: server.connections > 0, 60)
            time.sleep(0.2)
            waiting.send_signal(number)
            started = time.monotonic()
            out, err = waiting.communicate(timeout=60)
        finally:
            waiting.kill()
            waiting.wait()
    assert time.monotonic() - started < SLACK
    assert (waiting.returncode, out, err) == (code, "", said)


@pytest.mark.real
def test_waiting_leaves_signals_as_they_were(run: Run) -> None:
    usual = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    assert run("health", "--wait", 0, REDIS_URL=f"redis://127.0.0.1:{free_port()}")[0] == 1
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == usual


@pytest.mark.real
def test_an_output_that_cannot_be_written(tmp_path: Path, service: Callable[[str], str]) -> None:
    file = tmp_path / "read-only"
    file.write_text("as it was")
    lost = (2, "infra: the output could not be written: Bad file descriptor\n")
    for options in ([], ["--json"]):
        writer = os.open(file, os.O_RDONLY)
        assert writing_to(writer, "health", *options, REDIS_URL=service("redis")) == lost
    assert file.read_text() == "as it was"


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


# --- migrate --check and --json


def test_check(run: Run, both: dict[str, str], shop: Path) -> None:
    pending = """\
mysql: shop 1 orders: pending
mysql: shop 2 totals: pending
postgres: shop 1 orders: pending
postgres: shop 2 totals: pending
"""
    assert run("migrate", shop, "--check", **both) == (1, pending, "")
    assert run("migrate", shop, "--check", **both) == (1, pending, "")  # it has changed nothing
    assert run("migrate", shop, DATABASE_URL=both["MYSQL_URL"])[0] == 0
    half = "".join(pending.splitlines(True)[2:])
    assert run("migrate", shop, "--check", **both) == (1, half, "")
    assert run("migrate", shop, **both)[0] == 0
    assert run("migrate", shop, "--check", **both) == (0, "", "")
    edited = shop.read_text().replace("id INT", "id BIGINT")
    shop.write_text(edited)
    said = "mysql: shop 1 orders: edited\n"
    assert run("migrate", shop, "--check", **both) == (1, said, "")


def test_check_counts_the_files_that_are_named(run: Run, both: dict[str, str], shop: Path) -> None:
    """What another file has recorded does not count."""
    assert run("migrate", shop, **both)[0] == 0
    other = shop.with_name("other.sql")
    other.write_text("-- migration 1 a postgres\nCREATE TABLE a (id int);\n")
    pending = "postgres: other 1 a: pending\n"
    assert run("migrate", other, "--check", **both) == (1, pending, "")
    assert run("migrate", other, **both)[0] == 0
    assert run("migrate", other, "--check", **both) == (0, "", "")


@pytest.mark.parametrize("engine", ["mysql", "postgres"])
def test_check_of_a_dirty_migration(
    run: Run, both: dict[str, str], shop: Path, engine: str
) -> None:
    url = both[f"{engine.upper()}_URL"]
    shop.write_text(f"-- migration 7 a {engine} no-transaction\nSELECT 1;\nCREATE TABLE a (b c);\n")
    assert run("migrate", shop, DATABASE_URL=url)[0] == 1
    dirty = f"{engine}: shop 7 a: dirty at statement 2\n"
    assert run("migrate", shop, "--check", DATABASE_URL=url) == (1, dirty, "")
    assert run("migrate", shop, "--repair", 7, "--retry", DATABASE_URL=url)[0] == 0
    partial = f"{engine}: shop 7 a: partial at statement 2\n"
    assert run("migrate", shop, "--check", DATABASE_URL=url) == (1, partial, "")
    assert run("migrate", shop, "--status", DATABASE_URL=url) == (0, partial, "")


@pytest.mark.real
@pytest.mark.parametrize("options", [["--check"], ["--check", "--json"], ["--status", "--json"]])
def test_check_of_a_server_that_is_down(run: Run, options: list[str]) -> None:
    url = f"mysql://user:{SECRET}@127.0.0.1:{free_port()}/shop"
    code, out, err = run("migrate", *options, DATABASE_URL=url)
    assert (code, out) == (1, "")
    assert err.startswith("infra: mysql at 127.0.0.1:")
    assert SECRET not in err


def documents(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_migrate_as_json(run: Run, both: dict[str, str], shop: Path) -> None:
    """A line for each database."""
    orders = {"source": "shop", "number": 1, "name": "orders"}
    totals = {"source": "shop", "number": 2, "name": "totals"}
    rest = {"state": "pending", "statement": 0, "applied_at": None}
    for option, code in (("--check", 1), ("--status", 0)):
        answer = run("migrate", shop, option, "--json", **both)
        assert (answer[0], answer[2]) == (code, "")
        assert documents(answer[1]) == [
            {"engine": engine, "ok": code == 0, "migrations": [orders | rest, totals | rest]}
            for engine in ("mysql", "postgres")
        ]
    assert run("migrate", shop, **both)[0] == 0
    code, out, err = run("migrate", shop, "--check", "--json", **both)
    assert (code, err) == (0, "")
    for line in documents(out):
        assert line["ok"] is True
        assert [each["state"] for each in line["migrations"]] == ["applied", "applied"]
        when = line["migrations"][0]["applied_at"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00", when)


def test_json_of_other_options_is_refused(run: Run, both: dict[str, str], shop: Path) -> None:
    refused = (2, "", "infra: --json belongs to --status or --check\n")
    for options in ([], ["--dry-run"], ["--renamed-from", "old"], ["--new", "more"]):
        assert run("migrate", shop, "--json", *options, **both) == refused
    assert shop.read_text() == SHOP
    assert run("migrate", shop, "--check", **both)[1].count("pending") == 4


# --- migrate --new


def test_new_adds_a_block_for_each_engine(run: Run, shop: Path) -> None:
    """No database has to be set."""
    before = [infra.read_migrations(shop, engine) for engine in ("mysql", "postgres")]
    said = f"{shop}: -- migration 3 add_notes mysql\n{shop}: -- migration 3 add_notes postgres\n"
    assert run("migrate", "--new", "add_notes", shop) == (0, said, "")
    assert shop.read_text() == (
        SHOP + "\n-- migration 3 add_notes mysql\n\n-- migration 3 add_notes postgres\n\n"
    )
    after = [infra.read_migrations(shop, engine) for engine in ("mysql", "postgres")]
    assert [found[:2] for found in after] == before
    assert [str(found[2]) for found in after] == ["shop 3 (add_notes)"] * 2
    assert run("migrate", shop, "--new", "more")[0] == 0
    assert [len(infra.read_migrations(shop, each)) for each in ("mysql", "postgres")] == [4, 4]


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("-- migration 9 a postgres\nSELECT 1", "\n\n-- migration 10 b postgres\n\n"),
        ("-- migration 9 a postgres", "\n\n-- migration 10 b postgres\n\n"),
        ("-- migration 1 a mysql\r\nSELECT 1;\r\n", "\r\n-- migration 2 b mysql\r\n\r\n"),
        ("\ufeff-- migration 1 a mysql\nSELECT 'ö' -- ö", "\n\n-- migration 2 b mysql\n\n"),
        (
            "-- migration 5 a mysql\n-- migration 2 a postgres\n",
            "\n-- migration 6 b mysql\n\n-- migration 6 b postgres\n\n",
        ),
        (
            "-- migration 5 a postgres\n-- migration 2 a mysql\n",
            "\n-- migration 6 b mysql\n\n-- migration 6 b postgres\n\n",
        ),
    ],
)
def test_new_keeps_the_file_as_it_is(run: Run, tmp_path: Path, text: str, block: str) -> None:
    file = tmp_path / "notes.sql"
    file.write_bytes(text.encode())
    before = [infra.read_migrations(file, engine) for engine in ("mysql", "postgres")]
    assert run("migrate", "--new", "b", file)[0] == 0
    assert file.read_bytes() == (text + block).encode()
    after = [infra.read_migrations(file, engine) for engine in ("mysql", "postgres")]
    assert [found[:-1] or found for found in after] == before


def test_new_creates_a_file_for_the_databases_that_are_set(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "notes.sql"
    message = "infra: no database is set: set MYSQL_URL, POSTGRES_URL or DATABASE_URL\n"
    assert run("migrate", "--new", "notes", file) == (2, "", message)
    assert not file.exists()
    url = f"mysql://u:{SECRET}@127.0.0.1:1/d"
    said = f"{file}: -- migration 1 notes mysql\n"
    assert run("migrate", "--new", "notes", file, DATABASE_URL=url) == (0, said, "")
    assert file.read_text() == "-- migration 1 notes mysql\n\n"
    file.write_text("-- tables of the shop\n")
    postgres = f"postgresql://u:{SECRET}@127.0.0.1:1/d"
    assert run("migrate", "--new", "notes", file, MYSQL_URL=url, POSTGRES_URL=postgres)[0] == 0
    assert file.read_text() == (
        "-- tables of the shop\n\n-- migration 1 notes mysql\n\n-- migration 1 notes postgres\n\n"
    )


WRONG_NAME = (
    "infra: --new needs a name that shop.sql does not have yet, of 1 to 100 lower case letters, "
    "digits and underscores\n"
)


@pytest.mark.parametrize(
    "name",
    ["", "Add", "add notes", "add-notes", "ö", "a\nb", "a\n", "a" * 101, "a; DROP TABLE b", "１"],
)
def test_new_refuses_a_wrong_name(run: Run, shop: Path, name: str) -> None:
    assert run("migrate", f"--new={name}", shop) == (2, "", WRONG_NAME)
    assert shop.read_text() == SHOP


def test_new_refuses_a_name_that_the_file_has(run: Run, shop: Path) -> None:
    assert run("migrate", "--new", "totals", shop) == (2, "", WRONG_NAME)
    assert shop.read_text() == SHOP


def test_new_needs_one_file(run: Run, shop: Path) -> None:
    own = infra.SCHEMA.read_bytes()
    for files in ([], [shop, shop.with_name("other.sql")]):
        message = "infra: --new needs one FILE to write to\n"
        assert run("migrate", "--new", "notes", *files) == (2, "", message)
    assert (shop.read_text(), infra.SCHEMA.read_bytes()) == (SHOP, own)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-- migration 1 a mysql\nSELECT 'a", "a quote or comment that opens in line 2 is never"),
        ("-- migration 2 a mysql\n-- migration 1 b mysql\n", "numbers of mysql migrations should"),
        ("CREATE TABLE a (id int)\n", "SQL should stand below a line such as"),
        ("-- migration 999999999 a mysql\n", "--new needs a name"),  # ten digits are no number
    ],
)
def test_new_refuses_a_file_that_is_not_in_order(
    run: Run, tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "notes.sql"
    file.write_text(text)
    code, out, err = run("migrate", "--new", "notes", file)
    assert (code, out) == (2, "")
    assert message in err
    assert file.read_text() == text


def test_new_in_a_place_that_takes_no_file(run: Run, tmp_path: Path) -> None:
    url = {"DATABASE_URL": f"mysql://u:{SECRET}@127.0.0.1:1/d"}
    (tmp_path / "broken").symlink_to(tmp_path / "absent" / "file")
    for file, why in (
        (tmp_path / "absent" / "notes.sql", "cannot be written: No such file or directory"),
        (tmp_path / "broken", "cannot be written: No such file or directory"),
        (tmp_path, "cannot be read: IsADirectoryError"),
    ):
        code, out, err = run("migrate", "--new", "notes", file, **url)
        assert (code, out) == (2, "")
        assert why in err
        assert err.count("\n") == 1


class Unwritable(io.FileIO):
    """A file on a disk that takes ten bytes more."""

    def write(self, data: Any) -> int:
        return super().write(bytes(data)[:10])


def test_new_on_a_full_disk_leaves_the_file_as_it_was(
    run: Run, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = open

    def opened(file: Any, mode: str = "r", *more: Any, **named: Any) -> Any:
        return Unwritable(file, mode) if "a" in mode else usual(file, mode, *more, **named)

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", opened)
        answer = run("migrate", "--new", "notes", shop)
    message = f"infra: {shop} cannot be written: No space left on device\n"
    assert answer == (2, "", message)
    assert shop.read_text() == SHOP


def test_new_in_a_file_that_may_not_be_written(
    run: Run, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write everything: so the system's refusal is simulated."""
    usual = open

    def opened(file: Any, mode: str = "r", *more: Any, **named: Any) -> Any:
        if "a" in mode:
            raise PermissionError(13, "Permission denied", str(file))
        return usual(file, mode, *more, **named)

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", opened)
        answer = run("migrate", "--new", "notes", shop)
    assert answer == (2, "", f"infra: {shop} cannot be written: Permission denied\n")
    assert shop.read_text() == SHOP


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
