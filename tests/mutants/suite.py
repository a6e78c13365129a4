"""Define mutants, and run the tests that should notice each of them."""

from __future__ import annotations

import ast
import contextlib
import copy
import functools
import itertools
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tests import services
from tests.mutants.edits import DoesNotApply, Edit, Same, equal, find, names_of

ROOT = Path(__file__).resolve().parent.parent.parent
FAKES, INFRA = "fakes.py", "infra.py"
WORKERS = 2
TIMEOUT = 240.0  # seconds for one mutant's tests
SERVERS = ("redis", "mariadb", "postgres")  # started once for each worker
#: Raised in the mutated file, these mean that the mutant crashes instead of giving a wrong answer.
CRASHES = (
    "AttributeError",
    "ImportError",
    "IndexError",
    "KeyError",
    "NameError",
    "TypeError",
    "UnboundLocalError",
)


@dataclass(frozen=True)
class Mutant:
    """An edit of a file, and the tests that should notice it: node ids of pytest below tests/."""

    name: str
    file: str
    edit: Edit
    tests: tuple[str, ...]
    marker: ClassVar[str | None] = None

    def ids(self) -> list[str]:
        return [f"tests/{each}" for each in self.tests]


class OnFakes(Mutant):
    """A mutant of fakes.py or of code that the twins share: tests without a server notice it."""

    marker = "not real"


class OnServers(Mutant):
    """A mutant of code that only the real adapters run."""


class Sources:
    """The two files of a folder and their syntax trees, each read once."""

    def __init__(self, folder: Path = ROOT) -> None:
        self._folder = folder
        self._read: dict[str, tuple[str, ast.Module]] = {}

    def __getitem__(self, file: str) -> tuple[str, ast.Module]:
        if file not in self._read:
            text = (self._folder / file).read_text(encoding="utf-8")
            self._read[file] = text, ast.parse(text)
        return self._read[file]

    def edited(self, file: str, edits: Sequence[Edit]) -> str:
        """Return the file's text after edits of different functions. Raises DoesNotApply."""
        lines = self[file][0].splitlines(keepends=True)
        changes = [self.change(file, edit) for edit in edits]
        for first, last, new in sorted(changes, reverse=True):
            lines[first - 1 : last] = [new]
        return "".join(lines)

    def change(self, file: str, edit: Edit) -> tuple[int, int, str]:
        """Return first and last line of the edited part, and its new text. Raises DoesNotApply."""
        before = find(self[file][1], edit.where)
        after = copy.deepcopy(before)
        edit.apply(after)
        if equal(before, after) and not isinstance(edit, Same):
            raise DoesNotApply(f"{edit.where} is the same after {edit}")
        decorators: list[ast.expr] = getattr(before, "decorator_list", [])
        first = min([before.lineno, *(each.lineno for each in decorators)])
        return first, before.end_lineno or first, unparsed(after, before.col_offset // 4)


def unparsed(node: ast.stmt, depth: int) -> str:
    """Return the statement's text at that depth; indenting it later would change docstrings."""
    nested = node
    for _ in range(depth):
        nested = ast.If(ast.Constant(True), [nested], [])
    text = ast.unparse(ast.fix_missing_locations(ast.Module([nested], [])))
    if not equal(ast.parse(text).body, [nested]):
        raise DoesNotApply(f"{names_of(node)} changes when it is written from its tree")
    return "".join(f"{line}\n" for line in text.splitlines()[depth:])


def check(mutants: Sequence[Mutant]) -> list[str]:
    """Return a line for each reason why a mutant does not apply. Runs no test."""
    sources, wrong = Sources(), []
    for mutant in mutants:
        try:
            sources.change(mutant.file, mutant.edit)
        except (DoesNotApply, SyntaxError) as error:
            wrong.append(f"{mutant.name}: {mutant.file}: {error}")
        wrong += [f"{mutant.name}: no such test: {each}" for each in mutant.tests if unknown(each)]
    names = [mutant.name for mutant in mutants]
    wrong += [f"{name}: two mutants have this name" for name in names if names.count(name) > 1]
    return wrong


@functools.cache
def unknown(test: str) -> bool:
    """Return whether the file is missing, or a class or function that the id names."""
    file, *parts = test.split("::")
    path = ROOT / "tests" / file
    if not path.exists():
        return True
    text = path.read_text(encoding="utf-8") if parts else ""
    names = [part.partition("[")[0] for part in parts]  # without parameters
    return not all(re.search(rf"^ *(class|def) {name}\b", text, re.MULTILINE) for name in names)


# ---------------------------------------------------------------- the run


@dataclass(frozen=True)
class Result:
    ok: bool
    what: str
    seconds: float


class Worker:
    """A copy of the project, and private servers for the mutants that run in it."""

    _numbers = itertools.count(1)  # seconds: Python compiles a source again if its time differs

    def __init__(self, folder: Path, servers: bool) -> None:
        self._sources = Sources()
        self._copy = folder / f"copy-{next(self._numbers)}"
        ignored = [".venv", ".git", ".*_cache", "__pycache__", ".hypothesis", "*.egg-info"]
        ignored.append("data-*")  # the files of servers, whose owner a copy would lose
        shutil.copytree(ROOT, self._copy, ignore=shutil.ignore_patterns(*ignored))
        self._env = {**os.environ, "REQUIRE_SERVICES": "1"}
        self._process: subprocess.Popen[str] | None = None
        self._servers: list[services.Server] = []
        for name in SERVERS if servers else ():
            variable = services.SERVICES[name].variable
            if variable not in os.environ:
                self._servers.append(services.private(name))
                self._env[variable] = self._servers[-1].url

    def close(self) -> None:
        """Stop the tests, which may still run after Ctrl-C, and the servers."""
        self._kill()
        for server in self._servers:
            server.stop()

    def _kill(self) -> None:
        """Kill the running tests and the servers that they started: all are in one session."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def run(self, mutant: Mutant) -> Result:
        """Return whether the tests notice the mutant by a wrong answer."""
        started = time.monotonic()
        with self._edited({mutant.file: [mutant.edit]}):
            code, output = self._pytest(mutant.ids(), mutant.marker)
        ok, what = verdict(code, output)
        return Result(ok, what, time.monotonic() - started)

    def run_unchanged(self, mutants: Sequence[Mutant]) -> Result:
        """Return whether the tests pass if the functions are written from their trees unchanged."""
        started = time.monotonic()
        edits = {file: unchanged(mutants, file) for file in (FAKES, INFRA)}
        with self._edited(edits):
            ids = sorted({each for mutant in mutants for each in mutant.ids()})
            code, output = self._pytest(ids, mutants[0].marker, timeout=4 * TIMEOUT)
        what = "all pass on unchanged code" if code == 0 else f"UNCHANGED CODE FAILS:\n{output}"
        return Result(code == 0, what, time.monotonic() - started)

    @contextlib.contextmanager
    def _edited(self, edits: dict[str, list[Edit]]) -> Iterator[None]:
        for file, of_file in edits.items():
            self._write(file, self._sources.edited(file, of_file))
        try:
            yield
        finally:
            for file in edits:
                self._write(file, self._sources[file][0])

    def _write(self, file: str, text: str) -> None:
        path = self._copy / file
        path.write_text(text, encoding="utf-8")
        moment = 1_000_000_000 + next(self._numbers)
        os.utime(path, (moment, moment))

    def _pytest(
        self, ids: list[str], marker: str | None, timeout: float = TIMEOUT
    ) -> tuple[int | None, str]:
        """Return the exit code, or None after a timeout, and the output."""
        options = ["-q", "-x", "-rf", "--tb=line", "-p", "no:cacheprovider", "-n", "0"]
        chosen = ["-m", marker] if marker else []
        self._process = process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, *chosen, *ids],
            cwd=self._copy,
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self._kill()
            return None, process.communicate()[0]
        return process.returncode, output


def unchanged(mutants: Sequence[Mutant], file: str) -> list[Edit]:
    """Return empty edits of the functions that the mutants edit; a class includes its methods."""
    names = {mutant.edit.where for mutant in mutants if mutant.file == file}
    return [
        Same(name) for name in names if not any(name.startswith(f"{outer}.") for outer in names)
    ]


def verdict(code: int | None, output: str) -> tuple[bool, str]:
    """Return whether a failed test noticed the mutant, and the line that says so."""
    failed = re.search(r"^FAILED tests/(.*?)( - .*)?$", output, re.MULTILINE)
    reason = re.search(r"^\S+\.py:\d+: (.*)", output, re.MULTILINE)
    crash = re.search(rf"/({FAKES}|{INFRA}):\d+: ({'|'.join(CRASHES)})\b.*", output)
    if code is None:
        return False, f"DOES NOT END within {TIMEOUT:g} s"
    if code == 0:
        return False, "NOT NOTICED"
    if code != 1 or failed is None:
        return False, f"THE TESTS DID NOT RUN:\n{output[-2000:]}"
    if crash is not None:
        return False, f"CRASHES instead of a wrong answer: {crash[0]}: {failed[1]}"
    return True, f"{failed[1]}: {reason[1] if reason else ''}"


def drain(tasks: queue.SimpleQueue[Any]) -> None:
    """Remove the remaining tasks, so that no worker takes one after Ctrl-C."""
    with contextlib.suppress(queue.Empty):
        while True:
            tasks.get_nowait()


def run(mutants: Sequence[Mutant]) -> int:
    """Run all mutants, print a line for each, and return 1 if one is not noticed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a mutant may run for ever: end it
    started = time.monotonic()
    tasks: queue.SimpleQueue[tuple[str, Any, Any]] = queue.SimpleQueue()
    for kind in (OnServers, OnFakes):
        of_kind = [each for each in mutants if isinstance(each, kind)]
        if of_kind:
            tasks.put((f"{kind.__name__}: unchanged code", Worker.run_unchanged, of_kind))
    for mutant in sorted(mutants, key=lambda each: isinstance(each, OnFakes)):
        tasks.put((mutant.name, Worker.run, mutant))
    total, done, wrong, lock = tasks.qsize(), itertools.count(1), list[str](), threading.Lock()

    def work(worker: Worker) -> None:
        while True:
            try:
                name, method, argument = tasks.get_nowait()
            except queue.Empty:
                return
            try:
                result = method(worker, argument)
            except Exception as error:
                result = Result(False, f"DID NOT RUN: {type(error).__name__}: {error}", 0)
            with lock:
                if not result.ok:
                    wrong.append(name)
                what = result.what if not result.ok else result.what[:150]
                print(
                    f"{next(done)}/{total} {result.seconds:5.1f} s  {name}\n    {what}", flush=True
                )

    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as closing:
        needed = any(isinstance(each, OnServers) for each in mutants)
        threads = []
        for _ in range(WORKERS):
            worker = Worker(Path(folder), needed)
            closing.callback(worker.close)
            threads.append(threading.Thread(target=work, args=(worker,)))
        closing.callback(drain, tasks)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    print(f"{total - len(wrong)} of {total} as expected, in {minutes} min {seconds} s")
    print("".join(f"FAILED: {name}\n" for name in wrong), end="")
    return bool(wrong)
