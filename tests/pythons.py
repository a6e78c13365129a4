"""Run the tests that need no server on this machine's other Pythons from 3.10 on, without drivers.

``--short`` runs them on the oldest and the newest one, without the tests of the cache, verification
codes, SMS and migrations.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEEDS = ["pytest>=8", "hypothesis>=6.100", "prometheus_client>=0.20"]
#: tests that give the same on every Python: growth of times, and the check of the mutants
SKIPPED = "not grows_with and not test_mutants"
PARTS = [
    "contract/test_database",
    "contract/test_event_bus",
    "contract/test_storage_provider",
    "unit/test_configuration",
    "unit/test_errors_and_policy",
    "unit/test_events",
]
ASK = "import json, sys; print(json.dumps([sys.version_info[:2], sys.executable]))"


def interpreters() -> dict[tuple[int, int], str]:
    """Return version and path of each Python other than the running one."""
    names = [f"python3.{minor}" for minor in range(10, 20)]
    candidates = [path for name in names if (path := shutil.which(name))]
    candidates += glob.glob(os.path.expanduser("~/.pyenv/versions/3.*/bin/python"))
    found = {}
    for path in candidates:
        answer = subprocess.run([path, "-c", ASK], capture_output=True, text=True, check=False)
        if answer.returncode == 0:  # a shim of a version manager may have no Python
            version, executable = json.loads(answer.stdout)
            if (3, 10) <= tuple(version) != sys.version_info[:2]:
                found[tuple(version)] = executable
    return dict(sorted(found.items()))


def run(version: tuple[int, int], executable: str) -> tuple[str, bool, str]:
    """Run the tests on one Python; return its name, whether they passed, and the output."""
    name = ".".join(map(str, version))
    short = "--short" in sys.argv[1:]
    suites = [f"tests/{part}.py" for part in PARTS] if short else []
    venv = ROOT / ".venv" / f"python-{name}"
    python = venv / "bin" / "python"
    commands = []
    ready = venv / "ready"  # holds what is installed
    if not ready.exists() or ready.read_text() != " ".join(NEEDS):
        install = [
            str(python),
            "-m",
            "pip",
            "--quiet",
            "--disable-pip-version-check",
            "install",
            *NEEDS,
        ]
        commands = [[executable, "-m", "venv", "--clear", str(venv)], install]
    output = ""
    with tempfile.TemporaryDirectory() as cache:
        commands.append(
            [
                str(python),
                "-m",
                "pytest",
                "-q",
                "-m",
                "not real",
                "-k",
                SKIPPED,
                "-o",
                f"cache_dir={cache}",
                *suites,
            ]
        )
        for command in commands:
            done = subprocess.run(
                command,
                cwd=ROOT,
                check=False,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            output += done.stdout
            if done.returncode:
                return name, False, output
    ready.write_text(" ".join(NEEDS))
    return name, True, output


def main() -> int:
    others = interpreters()
    if "--short" in sys.argv[1:]:
        others = {version: others[version] for version in [*others][:1] + [*others][-1:]}
    failed = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for name, passed, output in pool.map(run, others.keys(), others.values()):
            print(f"--- Python {name}, fakes only\n{output}", flush=True)
            if not passed:
                failed.append(name)
    tested = ", ".join(".".join(map(str, version)) for version in others) or "none on this machine"
    print(
        f"other Pythons tested: {tested}" + (f"; FAILED on {', '.join(failed)}" if failed else "")
    )
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
