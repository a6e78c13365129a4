"""Test the releases of drivers that the library supports, each against real servers.

All releases run with all suites that use the driver. With ``--short`` only the oldest release of
each driver runs, with one suite.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONTRACT, FAULTS = "tests/contract/test_", "tests/faults/test_"
DATABASE = [f"{CONTRACT}database.py", f"{FAULTS}databases.py", f"{FAULTS}tls.py"]
#: by package: releases, the oldest first; suites that use it, the short one first; -k for pytest
DRIVERS: dict[str, tuple[list[str], list[str], str]] = {
    "PyMySQL": (
        ["1.1.0", "1.1.3"],
        [*DATABASE, f"{CONTRACT}token_repository.py", f"{CONTRACT}phone_user_repository.py"],
        "(mysql or mariadb) and not fake",
    ),
    "psycopg2-binary": (
        ["2.9.6", "2.9.10"],
        [*DATABASE, f"{CONTRACT}user_repository.py", f"{CONTRACT}submission_repository.py"],
        "postgres and not fake",
    ),
    "boto3": (
        ["1.34.0", "1.36.0", "1.40.0"],
        [
            f"{CONTRACT}sms_service.py",
            f"{CONTRACT}storage_provider.py",
            f"{FAULTS}storage.py",
            f"{FAULTS}sms.py",
        ],
        "not fake",
    ),
    "pika": (
        ["1.3.0", "1.4.4"],
        [f"{CONTRACT}event_stream.py", f"{FAULTS}rabbitmq.py"],
        "rabbit and not fake",
    ),
    "prometheus_client": (["0.20.0", "0.26.0"], ["tests/unit/test_observability.py"], ""),
    "redis": (
        ["5.0.0", "5.3.1", "6.4.0", "7.4.1", "8.1.0", "8.1.0 hiredis"],  # hiredis: the parser in C
        [
            f"{CONTRACT}event_bus.py",
            f"{CONTRACT}key_value_client.py",
            f"{CONTRACT}verification_cache.py",
            f"{CONTRACT}cache_provider.py",
            f"{FAULTS}redis.py",
            f"{FAULTS}cache.py",
            f"{FAULTS}bus.py",
            f"{FAULTS}cluster.py",
            f"{FAULTS}tls.py",
        ],
        "not fake and not mysql and not mariadb and not postgres",
    ),
}


def installed(package: str, release: str) -> Path:
    """Return the folder that holds the release and what it needs; the environment keeps it."""
    version, *more = release.split()
    target = ROOT / ".venv" / "releases" / "-".join([package, version, *more])
    if not target.exists():
        part = target.with_name(f"{target.name}.part")  # only a whole folder has the right name
        shutil.rmtree(part, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        # Few of the modules are imported, and these are compiled then.
        options = ["--no-compile", "--target", str(part)]
        subprocess.run([*pip, *options, f"{package}=={version}", *more], check=True)
        part.rename(target)
    return target


def passes(package: str, release: str, suites: list[str], expression: str, processes: int) -> bool:
    """Return whether the chosen tests of the suites pass with that release."""
    target, version = str(installed(package, release)), release.split()[0]
    # PYTHONPATH precedes the environment's packages.
    check = f"import importlib.metadata as m; assert m.version({package!r}) == {version!r}"
    script = f"{check}; import pytest, sys; sys.exit(pytest.main(sys.argv[1:]))"
    spread = ["--numprocesses", str(processes), "--dist", "worksteal"] if processes else []
    options = ["-q", "-p", "no:cacheprovider", "-k", expression, *spread]
    command = [sys.executable, "-c", script, *options, *suites]
    env = {**os.environ, "PYTHONPATH": target}
    return not subprocess.run(command, cwd=ROOT, env=env, check=False).returncode


def main() -> int:
    short = "--short" in sys.argv[1:]
    tested, failed = [], []
    for package, (releases, suites, expression) in DRIVERS.items():
        for release in releases[:1] if short else releases:
            print(f"--- {package} {release}", flush=True)
            tested.append(f"{package} {release}")
            chosen, processes = (suites[:1], 0) if short else (suites, 2)
            if not passes(package, release, chosen, expression, processes):
                failed.append(tested[-1])
    outcome = f"; FAILED: {', '.join(failed)}" if failed else ""
    print(f"releases of drivers tested: {', '.join(tested)}{outcome}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
