"""Compare the CPU time of `import infra`, and of `import infra, fakes`, with `import redis`.

Each import runs in a new interpreter, and the interpreters take turns. A process measures the
import alone, in CPU time: its own start and end, and the time of other processes, do not count.

With byte code is the common case: pip compiles what it installs, and the first import compiles a
vendored copy. Without byte code is a vendored copy in a folder that is not writable, or under
PYTHONDONTWRITEBYTECODE=1: every process compiles infra again. redis, which pip has installed, and
the standard library keep their byte code in that comparison too.
"""

from __future__ import annotations

import math
import os
import py_compile
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [str(ROOT)] + [
    entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent
]

import redis

from bench.measure import Bench, Share, arguments

ROUNDS = 20
FILES = ("infra.py", "fakes.py")
PROGRAM = """\
import sys, time
sys.modules["opentelemetry"] = None  # redis-py would import it, if it is installed
started = time.process_time()
import {names}
print(time.process_time() - started)
"""


def copied(folder: Path, *, compiled: bool) -> Path:
    """Copy the two files to the folder, as vendoring does, and return it."""
    folder.mkdir()
    for name in FILES:
        shutil.copy(ROOT / name, folder)
        if compiled:
            py_compile.compile(str(folder / name), doraise=True)
    return folder


def seconds(names: str, folder: Path) -> float:
    """Return the CPU time of the import in a new interpreter that looks into the folder first."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(names=names)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"import {names} failed:\n{done.stderr}")
    return float(done.stdout)


def shares(bench: Bench, compiled: Path, source: Path) -> list[Share]:
    """Take turns, round by round, and return the share of each import."""
    imports = {
        "import infra": ("infra", compiled, 0.8),
        "import infra, fakes": ("infra, fakes", compiled, math.inf),
        "import infra, no byte code": ("infra", source, math.inf),
        "infra, fakes, no byte code": ("infra, fakes", source, math.inf),
    }
    found: dict[str, list[float]] = {title: [] for title in imports}
    for round in range(bench.rounds(ROUNDS) + 1):
        theirs = seconds("redis", compiled)
        for title, (names, folder, _) in imports.items():
            ours = seconds(names, folder)
            if round:  # the first round reads from disk
                found[title].append(ours / theirs)
    return [
        Share(title, statistics.median(found[title]), min(found[title]), max(found[title]), limit)
        for title, (_, _, limit) in imports.items()
    ]


def main() -> int:
    bench = Bench(short=arguments(__doc__).parse_args().short)
    with tempfile.TemporaryDirectory() as parent:
        compiled = copied(Path(parent, "compiled"), compiled=True)
        source = copied(Path(parent, "source"), compiled=False)
        found = shares(bench, compiled, source)
        if list(source.glob("__pycache__")):
            raise RuntimeError("the runs without byte code have written some")
    bench.report_shares(f"Time of an import, divided by that of redis {redis.__version__}", found)
    return int(bench.missed)


if __name__ == "__main__":
    sys.exit(main())
