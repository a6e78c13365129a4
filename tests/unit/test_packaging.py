"""What is built installs and is complete, and shows its types in each way of use.

``make test`` checks the ways that differ most; ``make prove PART=versions`` all of them.
"""

from __future__ import annotations

import email
import email.message
import itertools
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import infra
from tests.scale import PROVE
from tests.unit import user_code
from tests.unit.test_vendoring import BLOCK_DRIVERS, FILES, ROOT, USE, run

STUBS = {"infra-stubs/__init__.pyi": "infra.py", "fakes-stubs/__init__.pyi": "fakes.py"}

pytestmark = pytest.mark.real  # it needs `build`, setuptools and the type checkers


def checkout(folder: Path) -> Path:
    """A copy of the files that a checkout holds, without caches and builds."""
    unwanted = (".*", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*unwanted))
    return folder


@dataclass(frozen=True)
class Built:
    sdist: Path
    wheel: Path


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """`python -m build` makes the wheel from the sdist, so the sdist has to be complete."""
    folder = tmp_path_factory.mktemp("build")
    source, out = checkout(folder / "source"), folder / "out"
    command = ["-m", "build", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run(
        [sys.executable, *command], cwd=source, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONWARNINGS": "error"},  # setuptools warns of what is deprecated
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return Built(sdist, wheel)


def environment(folder: Path, *wheels: Path) -> Path:
    """Create a virtual environment, install the wheels, and return its Python."""
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    offline = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    for wheel in wheels:
        command = ["-m", "pip", "--python", str(python), "install", *offline, str(wheel)]
        run(folder, "-W", "default", *command)
    return python


# --- what is built


def test_what_the_sdist_and_the_wheel_hold(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    docs = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    others = {"README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "tests/conftest.py"}
    assert {*FILES, *docs, *others} <= packed
    with zipfile.ZipFile(built.wheel) as archive_:
        installed = {name for name in archive_.namelist() if ".dist-info/" not in name}
        assert installed == {*FILES, *STUBS}
        for name in installed:
            source = STUBS.get(name, name)
            assert archive_.read(name) == (ROOT / source).read_bytes(), name


def test_the_wheel_works_in_a_clean_environment(built: Built, tmp_path: Path) -> None:
    python = environment(tmp_path / "clean", built.wheel)
    script = f"{BLOCK_DRIVERS}\nimport infra, fakes\n{USE}"
    assert run(tmp_path, "-I", "-c", script, python=str(python)) == "it works\n"
    version = subprocess.run(
        [python.parent / "infra", "--version"], capture_output=True, check=True
    )
    assert version.stdout.startswith(b"infra 0.")
    folder = tmp_path / "vendored"
    folder.mkdir()
    run(tmp_path, "-I", "-m", "infra", "vendor", "vendored", python=str(python))
    assert f"equal to version {infra.__version__}" in run(
        tmp_path, "-m", "infra", "vendor", "vendored", "--check", python=str(python)
    )
    checking = [sys.executable, "-m", "infra", "vendor", str(folder), "--check"]
    assert subprocess.run(checking, cwd=ROOT, capture_output=True, check=False).returncode == 0


def metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def test_the_metadata(built: Built) -> None:
    found = metadata(built.wheel)
    assert (found["Name"], found["Version"]) == ("infra-twins", infra.__version__)
    assert found["License-Expression"] == "Apache-2.0"
    assert found["Author"] == "The infra-twins maintainers"
    assert found["Keywords"]
    classifiers = found.get_all("Classifier", [])
    assert {"Typing :: Typed", "Intended Audience :: Developers"} <= {*classifiers}
    pythons = re.findall(
        r"^Programming Language :: Python :: (3\.\d+)$", "\n".join(classifiers), re.M
    )
    (tested,) = re.findall(r"Python (3\.\d+ to 3\.\d+)", (ROOT / "README.md").read_text("utf-8"))
    assert f"{pythons[0]} to {pythons[-1]}" == tested
    assert found["Requires-Python"] == f">={pythons[0]}"


def test_the_page_of_an_index_has_no_link_that_leads_nowhere(built: Built) -> None:
    """An index shows the README without the project's other files."""
    found = metadata(built.wheel)
    assert found["Description-Content-Type"] == "text/markdown"
    page = found.get_payload(decode=True).decode("utf-8")  # type: ignore[union-attr]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\((?!https?:)", page) == []
    code = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
    assert code.findall(page) == code.findall(readme) != []
    linked = re.findall(r"\]\((?!https?:)([^)#\s]+)", code.sub("", readme))
    assert len(linked) > 10
    with tarfile.open(built.sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    for name in linked:
        assert f"`{name}`" in page
        assert name in packed


# --- types in each way of use

FLAT = user_code.IMPORTS
VENDORED = "from app._vendor import fakes, infra"


@dataclass(frozen=True)
class Project:
    folder: Path
    python: Path
    text: str  # of user.py


def project(folder: Path, python: Path, imports: str, more: str = "") -> Project:
    text = user_code.user_file(imports) + more
    folder.mkdir(exist_ok=True)
    (folder / "user.py").write_text(text, encoding="utf-8")
    return Project(folder, python, text)


def vendor(folder: Path) -> None:
    """Make the package app._vendor in the folder."""
    package = folder / "app" / "_vendor"
    package.mkdir(parents=True)
    for each in (package, package.parent):
        (each / "__init__.py").touch()
    assert infra.main(["vendor", str(package)]) == 0


def flat(folder: Path, built: Callable[[], Built]) -> Project:
    (folder / "project").mkdir()
    assert infra.main(["vendor", str(folder / "project")]) == 0
    return project(folder / "project", environment(folder / "venv"), FLAT)


def vendored(folder: Path, built: Callable[[], Built]) -> Project:
    vendor(folder / "project")
    return project(folder / "project", environment(folder / "venv"), VENDORED)


def vendored_and_installed(folder: Path, built: Callable[[], Built]) -> Project:
    vendor(folder / "project")
    return project(folder / "project", environment(folder / "venv", built().wheel), VENDORED)


def from_the_wheel(folder: Path, built: Callable[[], Built]) -> Project:
    """The wheel was built from the sdist."""
    return project(folder / "project", environment(folder / "venv", built().wheel), FLAT)


def editable(folder: Path, built: Callable[[], Built]) -> Project:
    """`pip install -e`, and an edit of the checkout after it."""
    source = checkout(folder / "source")
    script = "from setuptools import build_meta; build_meta.build_editable('..')"
    run(source, "-W", "default", "-c", script)
    (wheel,) = folder.glob("*.whl")
    python = environment(folder / "venv", wheel)
    with (source / "infra.py").open("a", encoding="utf-8") as file:
        file.write("\n\ndef added_later() -> int:\n    return 42\n")
    script = "import infra, fakes; print(infra.added_later(), infra.SCHEMA.exists())"
    assert run(folder, "-I", "-c", script, python=str(python)) == "42 True\n"
    more = "print(infra.added_later().real)\ninfra.added_later().upper()  # wrong: an int\n"
    return project(folder / "project", python, FLAT, more)


WAYS = {
    way.__name__: way for way in (flat, vendored, vendored_and_installed, from_the_wheel, editable)
}
#: The others take a minute more. tests/unit/test_types.py has the flat way with pyright.
USUAL = {("vendored", "mypy"), ("editable", "mypy"), ("from_the_wheel", "pyright")}
CASES = [case for case in itertools.product(WAYS, user_code.CHECKERS) if PROVE or case in USUAL]


@pytest.mark.parametrize(("way", "checker"), CASES)
def test_exactly_the_planted_errors_are_found(
    way: str, checker: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    def built() -> Any:
        return request.getfixturevalue("built")

    user = WAYS[way](tmp_path, built)
    path, expected = user.folder / "user.py", user_code.planted(user.text)
    assert len(expected) > 20
    assert user_code.CHECKERS[checker](path, python=str(user.python)) == expected
