"""The files work alone, in a package under another name, and without any driver."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = ("infra.py", "fakes.py", "schema.sql")

BLOCK_DRIVERS = """
import importlib.abc, sys
drivers = {"redis", "pymysql", "psycopg2", "boto3", "botocore", "cryptography", "opentelemetry"}
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in drivers:
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocker())
before = set(sys.modules)
"""
USE = """
imported = {name.partition(".")[0] for name in set(sys.modules) - before}
third_party = imported - set(sys.stdlib_module_names)
assert third_party <= {"infra", "fakes", "pkg"}, third_party
assert not {"ssl", "http", "argparse", "csv", "pathlib"} & (set(sys.modules) - before)
services = fakes.FakeInfrastructure()
services.verification.send_code(services.sms, "+14155550100")
assert services.verification.verify_code("+14155550100", services.sms.outbox[0].code)
services.redis.fail_next("get", infra.TimeoutError)
try:
    services.redis.get("k")
except infra.TimeoutError:
    pass
assert fakes.infra is infra
try:
    infra.RedisClient()
except infra.ConfigurationError as error:
    assert "pip install 'redis" in str(error), error
    assert isinstance(error.__cause__, ImportError)
else:
    raise AssertionError("a driver was found")
try:
    infra.create_sms_service(infra.SmsConfig(provider="aws_sns"))
except infra.ConfigurationError as error:
    assert "pip install 'boto3'" in str(error), error
    assert isinstance(error.__cause__, ImportError)
else:
    raise AssertionError("a driver was found")
try:
    infra.OpenTelemetryObserver()
except infra.ConfigurationError as error:
    assert "pip install 'opentelemetry-api'" in str(error), error
else:
    raise AssertionError("a driver was found")
for url, package in (("mysql://h/d", "PyMySQL[rsa]"), ("postgres://h/d", "psycopg2-binary")):
    try:
        infra.create_pool(infra.DatabaseConfig(url=url))
    except infra.ConfigurationError as error:
        assert f"pip install '{package}" in str(error), error
        assert isinstance(error.__cause__, ImportError)
    else:
        raise AssertionError("a driver was found")
user = services.phone_users.create_for_phone("+14155550100")
assert services.tokens.rotate(services.tokens.issue(user.id, 60).token, 60).outcome == "rotated"
assert infra.SCHEMA.name == "schema.sql" and infra.read_migrations(infra.SCHEMA, "mysql")
for wrong in ("redis://localhost", 5):
    try:
        infra.RedisClient(wrong)
    except infra.ConfigurationError as error:
        assert "CacheConfig" in str(error), error
assert infra.main(["health"]) == 2  # no driver is a matter of configuration, not of health
print("it works")
"""


def run(folder: Path, *command: str, python: str = sys.executable) -> str:
    done = subprocess.run(
        [python, "-W", "error", *command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("place", "imports"),
    [
        (".", "import infra, fakes"),
        ("pkg/_vendor", "from pkg._vendor import fakes, infra"),
    ],
)
def test_copied_files_work_without_drivers(tmp_path: Path, place: str, imports: str) -> None:
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path / place)
    for package in {Path("pkg"), Path("pkg/_vendor")} if place != "." else set():
        (tmp_path / package / "__init__.py").touch()
    assert (
        run(tmp_path, "-c", f"{BLOCK_DRIVERS}\nsys.path.insert(0, '')\n{imports}\n{USE}")
        == "it works\n"
    )
    module = "infra" if place == "." else "pkg._vendor.infra"
    assert run(tmp_path, "-m", module, "--version").startswith("infra 0.")


def test_python_m_infra_is_one_module(tmp_path: Path) -> None:
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path)
    script = (
        "import runpy, sys, atexit\n"
        "sys.argv = ['infra', '--version']\n"
        "try:\n    runpy.run_module('infra', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as done:\n    assert done.code == 0\n"
    )
    run(tmp_path, "-c", script)
    (tmp_path / "probe.py").write_text(
        "import sys, infra\nassert infra is sys.modules['__main__']\nprint('one')\n"
    )
    text = (tmp_path / "infra.py").read_text().replace("sys.exit(main())", "import probe")
    (tmp_path / "infra.py").write_text(text)
    assert run(tmp_path, "-m", "infra") == "one\n"


def test_importing_changes_nothing() -> None:
    script = (
        "import os, sys, logging\n"
        "before = dict(os.environ), logging.getLogger().handlers[:]\n"
        "import infra, fakes\n"
        "assert (dict(os.environ), logging.getLogger().handlers) == before\n"
    )
    run(ROOT, "-c", script)
