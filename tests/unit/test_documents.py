"""Python blocks of README.md and docs/ run and pass the type checker; examples run; links work."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import fakes
import infra
from examples import shop
from tests import services

ROOT = Path(__file__).resolve().parent.parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
KEY = "0123456789abcdef0123456789abcdef"


def run(*command: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=ROOT,
        env={
            **os.environ,
            "DATABASE_URL": "",  # none: examples/shop.py takes the fake
            "PHONE_HASH_KEY": KEY,
            "PYTHONPATH": str(ROOT),
            **env,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# --- pages: README.md and docs/


def title(page: Path) -> str:
    return page.name


def program(page: Path) -> str:
    """Return a page's Python blocks as one program, in which each line keeps its number."""
    lines, inside = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            inside = line == "```python"
            line = ""
        lines.append(line if inside else "")
    return "\n".join(lines).strip(" \n") and "\n".join(lines) + "\n"


def saved_program(page: Path, folder: Path) -> Path:
    # With a prefix: a module called "redis" would hide the driver.
    path = folder / f"page_{page.stem.lower()}.py"
    path.write_text(program(page), encoding="utf-8")
    return path


def run_page(page: Path, folder: Path, **env: str) -> None:
    path = saved_program(page, folder)
    run(str(path), **env)
    if "\ndef test_" in program(page):
        run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, str(path), **env)


def needs_server(page: Path) -> bool:
    return bool(re.search(r"os\.environ\[|from_env\((?:observer|\))", program(page)))


def s3_login(service: Callable[[str], str]) -> dict[str, str]:
    return dict(
        zip(
            ("S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
            (service("s3"), *services.s3_keys()),
        )
    )


WITH_CODE = [page for page in PAGES if program(page)]


@pytest.mark.parametrize("page", [page for page in WITH_CODE if not needs_server(page)], ids=title)
def test_pages_on_fakes(page: Path, tmp_path: Path) -> None:
    run_page(page, tmp_path)


@pytest.mark.parametrize("page", [page for page in WITH_CODE if needs_server(page)], ids=title)
def test_pages_on_servers(
    page: Path,
    service: Callable[[str], str],
    database: Callable[[str], str],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    if "examples.web" in program(page):
        request.getfixturevalue("flask")
    variables = {
        "REDIS_URL": service("redis"),
        "MYSQL_URL": database("mariadb"),
        "POSTGRES_URL": database("postgres"),
        "SMS_PROVIDER": "mock",
    }
    run("-m", "infra", "migrate", **variables)
    if "S3StorageProvider" in program(page):
        variables |= s3_login(service)
    run_page(page, tmp_path, **variables)


def test_pages_pass_the_type_checker(tmp_path: Path) -> None:
    """One page has a planted error: where every type was Any, none would be found."""
    pytest.importorskip("mypy")
    pytest.importorskip("flask")
    planted = tmp_path / "planted.md"
    planted.write_text("# Planted\n\n```python\nimport infra\n\ninfra.new_id().hexx\n```\n")
    paths = [str(saved_program(page, tmp_path)) for page in [*WITH_CODE, planted]]
    command = [sys.executable, "-m", "mypy", "--strict", *paths]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert len(found) == 1, done.stdout + done.stderr
    assert re.search(r'page_planted\.py:6: error: .* no attribute "hexx"', found[0])


def test_the_readme_is_short_and_complete() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 250
    assert len(WITH_CODE) >= 12
    for page in PAGES:
        assert re.findall(r"TODO|XXX|TBD", page.read_text(encoding="utf-8")) == [], page
    linked = {target.partition("#")[0] for target in links(text)}
    assert {f"docs/{page.name}" for page in PAGES[1:]} <= linked


def links(text: str) -> list[str]:
    """Return the targets of a page's links, those of blocks of code apart."""
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=title
)
def test_links_lead_somewhere(page: Path) -> None:
    wrong = []
    for target in links(page.read_text(encoding="utf-8")):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        if not file.exists() or (
            anchor and anchor not in anchors(file.read_text(encoding="utf-8"))
        ):
            wrong.append(target)
    assert wrong == []


def test_every_variable_is_documented() -> None:
    text = (ROOT / "infra.py").read_text(encoding="utf-8")
    section = text[text.index("# === configuration") : text.index("# === call policy")]
    variables = set(re.findall(r'"((?:[A-Z]+_)+[A-Z]+)"', section))
    for names in re.findall(r'"([A-Z_]+(?: [A-Z_]+)+)"', section):
        variables.update(names.split())
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert len(variables) > 20
    assert variables - set(re.findall(r"`([A-Z_]+)`", page)) == set()


def test_every_fake_is_documented() -> None:
    text = (ROOT / "fakes.py").read_text(encoding="utf-8")
    names = set(re.findall(r"^class (Fake\w+)", text, re.MULTILINE))
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert names - set(re.findall(r"\bFake\w+", pages)) == set()


def test_names_in_prose_exist() -> None:
    modules = {"infra": infra, "fakes": fakes}
    for page in PAGES:
        named = re.findall(r"`(infra|fakes)\.(\w+)", page.read_text(encoding="utf-8"))
        wrong = [name for module, name in named if not hasattr(modules[module], name)]
        assert {*wrong} <= {"py"}, page


def test_the_primitives_of_repositories_are_as_documented() -> None:
    page = (ROOT / "docs" / "repositories.md").read_text(encoding="utf-8")
    section = page[page.index("## Primitives") : page.index("## Foreign keys")]
    documented = re.findall(r"^\| `(_\w+)\((.+?)\)` \|", section, re.MULTILINE)
    assert len(documented) >= 12
    for name, arguments in documented:
        signature = inspect.signature(getattr(infra.Repository, name))
        names = re.findall(r"(\w+)(?:=[^,]+)?(?:, |$)", arguments)
        optional = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
        real = [found.name for found in signature.parameters.values() if found.kind not in optional]
        assert names == real[1:], name


def test_the_attributes_of_repositories_are_documented() -> None:
    page = (ROOT / "docs" / "repositories.md").read_text(encoding="utf-8")
    section = page[page.index("## Attributes") : page.index("## Types")]
    rows = re.findall(r"^\| (`.+?`) \|", section, re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    bases = [vars(base).get("__annotations__", {}) for base in infra.Repository.__mro__]
    public = {name for names in bases for name in names if name[0] != "_"}
    assert documented == public


# --- examples


@pytest.mark.parametrize(
    "example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name
)
def test_examples(example: Path) -> None:
    assert run(str(example)) == run(str(example)) != ""


def test_the_quickstart_is_the_same_on_real_servers(
    service: Callable[[str], str], database: Callable[[str], str]
) -> None:
    fake = run("examples/quickstart.py")
    variables = {"REDIS_URL": service("redis"), "MYSQL_URL": database("mariadb")}
    run("-m", "infra", "migrate", **variables)
    for _ in range(2):  # it cleans up after itself
        assert run("examples/quickstart.py", "--real", **variables) == fake
    assert "Accepted: True\n   Accepted again: False" in fake


def test_the_move_is_the_same_on_real_servers(database: Callable[[str], str]) -> None:
    fake = run("examples/move_users.py")
    variables = {"MYSQL_URL": database("mysql"), "POSTGRES_URL": database("postgres")}
    run("-m", "infra", "migrate", **variables)
    for _ in range(2):  # it cleans up after itself
        assert run("examples/move_users.py", "--real", **variables) == fake
    assert "Users: 4" in fake


def test_the_benchmark_exchange_is_the_same_on_real_servers(
    service: Callable[[str], str], database: Callable[[str], str]
) -> None:
    fake = run("examples/benchmark_exchange.py")
    variables = {
        "REDIS_URL": service("redis"),
        "POSTGRES_URL": database("postgres"),
        **s3_login(service),
    }
    run("-m", "infra", "migrate", **variables)
    for _ in range(2):  # it cleans up after itself
        assert run("examples/benchmark_exchange.py", "--real", **variables) == fake
    assert "2. engine-1 by ada\n   2. engine-3 by bob" in fake


@pytest.mark.parametrize("events", ["redis", "nats", "rabbitmq"])
def test_the_orders_are_the_same_on_real_servers(
    service: Callable[[str], str], database: Callable[[str], str], events: str
) -> None:
    fake = run("examples/orders.py")
    name = "postgres" if events == "redis" else "mariadb"
    variables = {"EVENTS_URL": service(events), "DATABASE_URL": database(name)}
    run("-m", "infra", "migrate", **variables)
    for _ in range(2):  # it cleans up after itself
        assert run("examples/orders.py", "--real", **variables) == fake
    assert "Bills: [200, 350, 425]\n   Dead letters: 0\n" in fake


@pytest.mark.parametrize("engine", ["mysql", "postgres"])
def test_the_shop_is_the_same_on_each_fake(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    shop.main(fakes.FakeDatabase(engine, shop.TABLES))
    printed = capsys.readouterr().out
    assert printed == run("examples/shop.py")
    assert "Path: Books > Science > Mathematics\n" in printed
    assert "Total: 59.30. Paid: True, and again: False\n   Stock: [9, 1]\n" in printed
    assert "Product: refused by order_lines_product_id_fkey\n" in printed


@pytest.mark.parametrize("name", ["mariadb", "mysql", "postgres"])
def test_the_shop_is_the_same_on_real_servers(database: Callable[[str], str], name: str) -> None:
    fake, url = run("examples/shop.py"), database(name)
    for _ in range(2):  # it cleans up after itself
        assert run("examples/shop.py", DATABASE_URL=url) == fake


def lines_by_name(path: Path) -> dict[str, int]:
    """Return how many lines each class, function and variable of a program takes, in order.

    Comments and decorators count with what they stand above; blank lines around it do not count.
    """
    text = path.read_text(encoding="utf-8")
    lines, above, sizes = text.splitlines(), 0, {}
    for node in ast.parse(text).body:
        end = node.end_lineno or 0
        name = getattr(node, "name", None) or ast.unparse(getattr(node, "targets", [node])[0])
        sizes[name] = len("\n".join(lines[above:end]).strip().splitlines())
        above = end
    return sizes


def test_a_table_of_the_shop_takes_at_most_25_lines() -> None:
    """That is its classes, and its share of what makes the tables on a server and on the fake."""
    sizes = lines_by_name(ROOT / "examples" / "shop.py")
    shared = sum(sizes[name] for name in ("PORTS", "TABLES", "create_tables", "drop_tables"))
    tables, own = {}, 0.0
    for name, size in sizes.items():
        is_class = isinstance(getattr(shop, name, None), type)
        own += size if is_class else 0  # a record stands above its repository
        if is_class and issubclass(getattr(shop, name), infra.Repository):
            tables[name], own = own + shared / len(shop.PORTS), 0.0
    assert list(tables) == [port.__name__ for port in shop.PORTS]
    assert {name: size for name, size in tables.items() if not 10 < size <= 25} == {}


def test_the_web_example_passes_its_own_tests(flask: None) -> None:
    assert " passed" in run("-m", "pytest", "-q", "-p", "no:cacheprovider", "examples/web")


def first_match(pattern: str, lines: Iterable[str]) -> str:
    matches = (re.search(pattern, line) for line in lines)
    return next(filter(None, matches))[1]


def sign_in_over_http(*arguments: str, **env: str) -> None:
    """Start the web example, sign in with the code that it prints, and stop it with Ctrl-C."""
    command = [sys.executable, "-W", "error", "-m", "examples.web.app", "--port", "0", *arguments]
    key = secrets.token_hex(32)  # a new one: a server that lasts counts the codes of earlier runs
    env = {**os.environ, "PHONE_HASH_KEY": key, **env}
    phone = {"phone": "+14155550100"}
    with subprocess.Popen(
        command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as app:
        assert app.stdout is not None
        assert app.stderr is not None
        try:
            url = first_match(r"Running on (http://127\.0\.0\.1:\d+)", app.stderr)
            assert post(f"{url}/code", phone) == {}
            code = first_match(r"code is (\d+)", app.stdout)
            first = post(f"{url}/sign-in", {**phone, "code": code})["token"]
            second = post(f"{url}/refresh", {"token": first})["token"]
            assert post(f"{url}/healthz")["up"] is True
            assert 'service="redis"' in read(f"{url}/metrics")
        finally:
            app.send_signal(signal.SIGINT)
        _, logged = app.communicate(timeout=60)
    assert app.returncode == 0
    assert '"POST /refresh HTTP/1.1" 200' in logged
    assert not [secret for secret in ("4155550100", code, first, second) if secret in logged]


def post(url: str, body: dict[str, str] | None = None) -> dict[str, Any]:
    """Send the body, or without one a GET."""
    answer: dict[str, Any] = json.loads(
        read(url, None if body is None else json.dumps(body).encode())
    )
    return answer


def read(url: str, data: bytes | None = None) -> str:
    request = urllib.request.Request(url, data)  # noqa: S310 - http, to itself
    straight = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with straight.open(request, timeout=60) as reply:
        return str(reply.read().decode())


def test_the_web_example_on_fakes(flask: None) -> None:
    sign_in_over_http()
    assert "--real" in run("-m", "examples.web.app", "--help")


def test_the_web_example_on_real_servers(
    flask: None, service: Callable[[str], str], database: Callable[[str], str]
) -> None:
    variables = {
        "REDIS_URL": service("redis"),
        "MYSQL_URL": database("mariadb"),
        "SMS_PROVIDER": "mock",
    }
    run("-m", "infra", "migrate", **variables)
    sign_in_over_http("--real", **variables)


def test_the_layout_is_the_one_that_users_know() -> None:
    wanted = {
        "infra.py", "fakes.py", "schema.sql", "setup.py", "README.md", "tests", "examples", "bench",
        "docs", "Makefile", "pyproject.toml", "docker-compose.test.yml", "CHANGELOG.md",
        "CONTRIBUTING.md", "LICENSE", ".ci", ".gitignore", "MANIFEST.in",
    }  # fmt: skip
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    assert {line.split("/")[0] for line in listed.stdout.splitlines()} == wanted


# --- tests, benchmarks and examples use what users can use

#: what a file may import by name, because it tests just that
IMPORTED_BY_NAME = {
    "tests/unit/test_pool.py": {"_Pool", "_Lease"},
    "tests/unit/test_errors_and_policy.py": {"_Pool", "_Lease"},
}
#: names that begin so, and are public all the same
NOT_PRIVATE = {
    *("_asdict", "_fields", "_make", "_replace"),  # of named tuples
    *("_create_unverified_context", "_current_frames", "_exit", "_getframe"),  # of Python
}
BY_TEXT = {"getattr", "setattr", "delattr", "hasattr"}


def is_private(name: object) -> bool:
    return (
        isinstance(name, str)
        and name.startswith("_")
        and not name.startswith("__")
        and name not in NOT_PRIVATE
    )


def is_own(node: ast.expr) -> bool:
    """Whether this is ``self``, ``cls`` or ``super()``."""
    if isinstance(node, ast.Call):
        node = node.func
    return isinstance(node, ast.Name) and node.id in ("self", "cls", "super")


def private_names(source: str, importable: set[str]) -> Iterator[str]:
    """Line and name of each private name of something else that a file uses."""
    for node in ast.walk(ast.parse(source)):
        found: list[object] = []
        if isinstance(node, ast.Attribute) and not is_own(node.value):
            found = [node.attr]
        elif isinstance(node, ast.ImportFrom) and node.module in ("infra", "fakes"):
            found = [each.name for each in node.names if each.name not in importable]
        elif isinstance(node, ast.Call) and len(node.args) >= 2 and not is_own(node.args[0]):
            function, name = node.func, node.args[1]
            called = function.attr if isinstance(function, ast.Attribute) else None
            called = function.id if isinstance(function, ast.Name) else called
            if called in BY_TEXT and isinstance(name, ast.Constant):
                found = [name.value]
        for each in filter(is_private, found):
            yield f"{getattr(node, 'lineno', '')}: {each}"


def test_private_names_are_found() -> None:
    wrong = [
        "infra._x",
        "fakes._X.y",
        "client._pool.size",
        "from infra import _Url",
        "monkeypatch.setattr(infra, '_x', 1)",
        "getattr(client(), '_x')",
        "[each._x for each in y]",
    ]
    fine = [
        "self._x",
        "cls._x",
        "super()._x",
        "row._replace(a=1)",
        "x.__class__",
        "os._exit(1)",
        "_x = 1",
        "from infra import _Pool",
        "setattr(client, 'x', '_y')",
    ]
    assert [len([*private_names(each, {"_Pool"})]) for each in wrong] == [1] * len(wrong)
    assert [[*private_names(each, {"_Pool"})] for each in fine] == [[]] * len(fine)


def test_no_file_touches_private_names() -> None:
    found = {}
    for folder in ("tests", "bench", "examples"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            importable = IMPORTED_BY_NAME.get(name, set())
            uses = [*private_names(path.read_text(encoding="utf-8"), importable)]
            if uses:
                found[name] = uses
    assert found == {}
