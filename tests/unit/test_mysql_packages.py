"""How the tests come by Oracle MySQL, and share one server."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import mysql_packages, services
from tests.contract.backends import eventually

ROOT = Path(mysql_packages.__file__).parent.parent


@pytest.mark.parametrize(("system", "machine"), [("fedora", "x86_64"), ("debian", "aarch64")])
def test_elsewhere_there_are_no_packages(
    system: str, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"ID": system})
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert f"({system}, {machine})" in mysql_packages.refusal()


@pytest.mark.skipif(bool(mysql_packages.refusal()), reason="Debian's packages do not fit")
def test_a_fetch_that_fails_leaves_no_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    apt = tmp_path / "apt-get"
    apt.write_text("#!/bin/sh\necho 'E: http://me:secret@proxy refused' >&2\nexit 100\n")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(mysql_packages, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(mysql_packages, "HOME", tmp_path / "cache" / "mysql")
    with pytest.raises(mysql_packages.Failed) as caught:
        mysql_packages.fetch()
    assert str(caught.value) == "apt-get failed: E: http://proxy refused"
    assert [each.name for each in (tmp_path / "cache").iterdir()] == ["mysql.lock"]


USER = """
import sys
from tests import services
print(services.shared("mysql"), flush=True)
sys.stdin.read()
services.stop_shared()
"""


def test_processes_share_a_server_until_the_last_has_gone(service: Callable[[str], str]) -> None:
    """However they end."""
    service("mysql")  # or this is skipped
    env = {name: value for name, value in os.environ.items() if name != "MYSQL_URL"}
    env |= {"PYTEST_XDIST_TESTRUNUID": os.urandom(8).hex(), "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    users = [
        subprocess.Popen([sys.executable, "-c", USER], env=env, stdin=pipe, stdout=pipe, text=True)
        for _ in range(3)
    ]
    urls = {user.stdout.readline() for user in users if user.stdout}
    assert len(urls) == 1
    port = urllib.parse.urlsplit(urls.pop()).port or 0
    for user in users:
        assert services.answers("127.0.0.1", port)
        user.send_signal(signal.SIGKILL)
        user.communicate()
    eventually(lambda: services.is_free(port))
