"""infra vendor: it copies the library, says how copies differ, and loses nobody's edits."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import infra

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = ("infra.py", "fakes.py", "schema.sql")
VERSION = infra.__version__
TYPE_IMPORT = re.compile(r"^if TYPE_CHECKING:.*\n    (.*)$", re.MULTILINE)
STAMP = re.compile(rf"\A(?:#|--) infra vendor {re.escape(VERSION)} sha256:[0-9a-f]{{64}}\n")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return ``run(*arguments)``, which returns exit code, stdout and stderr.

    ``source`` is the folder of a copy whose command runs, instead of the checkout's.
    """

    def run(*arguments: Any, source: Path = ROOT) -> tuple[int, str, str]:
        capsys.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(infra, "__file__", str(source / "infra.py"))
            try:
                code: Any = infra.main(["vendor", *map(str, arguments)])
            except SystemExit as done:  # argparse's way
                code = done.code
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The folder of a package, app/_vendor."""
    folder = tmp_path / "app" / "_vendor"
    folder.mkdir(parents=True)
    for each in (folder, folder.parent):
        (each / "__init__.py").touch()
    return folder


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    folder = tmp_path / "flat"
    folder.mkdir()
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def stored(path: Path) -> tuple[int, int]:
    """Return what changes when the file is written or replaced."""
    return path.stat().st_ino, path.stat().st_mtime_ns


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def report(folder: Path, *states: str) -> str:
    return "".join(f"{folder / name}: {state}\n" for name, state in zip(FILES, states))


def plain(folder: Path) -> str:
    return (
        f"{folder} has no __init__.py: type checkers find the copies as files of a plain folder. "
        "If it should be a package, add an __init__.py and run this again\n"
    )


EQUAL = f"equal to version {VERSION}"


# --- copies


def test_a_package_gets_the_relative_import(run: Run, package: Path) -> None:
    written = f"written, version {VERSION}"
    expected = report(package, written, f"{written}, with a relative import", written)
    assert run(package) == (0, expected, "")
    for name in FILES:
        text = (package / name).read_text(encoding="utf-8")
        assert STAMP.match(text)
        original = (ROOT / name).read_text(encoding="utf-8")
        if name == "fakes.py":
            assert TYPE_IMPORT.findall(text) == ["from . import infra"]
            text = TYPE_IMPORT.sub(lambda found: found[0].replace("from . ", ""), text)
        assert STAMP.sub("", text) == original
    assert sorted(contents(package)) == ["__init__.py", *sorted(FILES)]
    assert infra.read_migrations(package / "schema.sql", "mysql") == infra.read_migrations(
        infra.SCHEMA, "mysql"
    )


def test_a_plain_folder_gets_the_plain_import(run: Run, flat: Path) -> None:
    written = f"written, version {VERSION}"
    assert run(flat) == (0, report(flat, written, written, written) + plain(flat), "")
    for name in FILES:
        text = (flat / name).read_text(encoding="utf-8")
        assert STAMP.sub("", text) == (ROOT / name).read_text(encoding="utf-8")


def test_a_second_run_changes_nothing(run: Run, package: Path) -> None:
    assert run(package)[0] == 0
    before = {path: stored(path) for path in package.iterdir()}
    assert run(package) == (0, report(package, EQUAL, EQUAL, EQUAL), "")
    assert {path: stored(path) for path in package.iterdir()} == before


def test_a_plain_folder_that_becomes_a_package(run: Run, flat: Path) -> None:
    assert run(flat)[1].endswith(plain(flat))
    assert run(flat) == (0, report(flat, EQUAL, EQUAL, EQUAL), "")
    (flat / "__init__.py").touch()
    relative = f"written, version {VERSION}, with a relative import"
    assert run(flat) == (0, report(flat, EQUAL, relative, EQUAL), "")
    assert run(flat, "--check")[0] == 0


def test_copies_are_as_readable_as_other_files(run: Run, flat: Path) -> None:
    assert run(flat)[0] == 0
    (flat / "another").touch()
    modes = {path.stat().st_mode for path in flat.iterdir()}
    assert len(modes) == 1


@pytest.mark.parametrize("kind", ["flat", "package"])
def test_copies_run(run: Run, flat: Path, package: Path, kind: str) -> None:
    folder = flat if kind == "flat" else package
    assert run(folder)[0] == 0
    imports = "import fakes, infra" if kind == "flat" else "from app._vendor import fakes, infra"
    script = (
        f"{imports}\nassert fakes.infra is infra\n"
        f"assert infra.__file__ == {str(folder / 'infra.py')!r}\n"
        "fakes.FakeInfrastructure().redis.set('a', 'b')\nprint('it works')\n"
    )
    place = flat if kind == "flat" else package.parent.parent
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("it works\n", "")


# --- --check


def test_check_of_equal_copies(run: Run, package: Path) -> None:
    assert run(package)[0] == 0
    before = contents(package)
    assert run(package, "--check") == (0, report(package, EQUAL, EQUAL, EQUAL), "")
    assert contents(package) == before


def test_check_changes_nothing(run: Run, package: Path) -> None:
    missing = report(package, "missing", "missing", "missing")
    assert run(package, "--check") == (1, missing, "")
    assert [*contents(package)] == ["__init__.py"]


def test_copies_by_hand_are_equal_in_a_plain_folder(run: Run, flat: Path) -> None:
    for name in FILES:
        shutil.copy(ROOT / name, flat)
    assert run(flat, "--check") == (0, report(flat, EQUAL, EQUAL, EQUAL), "")
    written = f"written, version {VERSION}"
    # with digests now
    assert run(flat) == (
        0,
        report(flat, written, written, written) + plain(flat),
        "",
    )


@pytest.mark.parametrize(("before", "after"), [("flat", "package"), ("package", "flat")])
def test_a_folder_of_the_other_kind(run: Run, package: Path, before: str, after: str) -> None:
    """The copy has the import of a plain folder and stands in a package now, or the reverse."""
    marker = package / "__init__.py"
    if before == "flat":
        marker.unlink()
    assert run(package)[0] == 0
    if after == "package":
        marker.touch()
        state = "its import should be relative, because the folder has an __init__.py"
    else:
        marker.unlink()
        state = "its import should not be relative, because the folder has no __init__.py"
    assert run(package, "--check") == (1, report(package, EQUAL, state, EQUAL), "")
    assert run(package)[0] == 0
    assert run(package, "--check")[0] == 0


def test_line_endings_do_not_count(run: Run, package: Path) -> None:
    assert run(package)[0] == 0
    for name in FILES:
        path = package / name
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    before = contents(package)
    assert run(package, "--check") == (0, report(package, EQUAL, EQUAL, EQUAL), "")
    assert run(package)[0] == 0
    assert contents(package) == before
    # A digest does not depend on them either.
    assert run(package, "--check", source=package)[0] == 0


# --- edits and other versions

EDITED = f"edited since it was copied, version {VERSION}"


def test_an_edited_copy_is_not_replaced(run: Run, package: Path) -> None:
    assert run(package)[0] == 0
    edit(package / "fakes.py", "Dict-backed", "Our dict-backed")
    (package / "infra.py").unlink()
    before = contents(package)
    assert run(package, "--check") == (1, report(package, "missing", EDITED, EQUAL), "")
    message = (
        f"infra: {package / 'fakes.py'}: {EDITED}. Nothing was copied. Keep the edits elsewhere "
        "if you need them, then replace the copies with --force\n"
    )
    assert run(package) == (2, "", message)
    assert contents(package) == before
    code, out, err = run(package, "--force")
    assert (code, err) == (0, "")
    assert f"{package / 'fakes.py'}: written, version {VERSION}, with a relative import" in out
    assert run(package, "--check") == (0, report(package, EQUAL, EQUAL, EQUAL), "")


def test_edits_of_what_vendor_writes_itself_count(run: Run, package: Path) -> None:
    """The digest covers everything but its own line and the form of one import."""
    assert run(package)[0] == 0
    edit(package / "schema.sql", "CREATE TABLE phone_users", "CREATE TABLE phone_users2")
    edit(package / "infra.py", f'__version__ = "{VERSION}"', '__version__ = "9.9.9"')
    edit(package / "fakes.py", "elif __package__:", "elif True:")
    assert run(package, "--check") == (1, report(package, EDITED, EDITED, EDITED), "")


def test_a_copy_by_hand_that_was_edited(run: Run, flat: Path) -> None:
    for name in FILES:
        shutil.copy(ROOT / name, flat)
        with (flat / name).open("a", encoding="utf-8") as file:
            file.write("\n")
    named = f"edited: it says version {VERSION}, and has another text"
    unknown = "no digest and no version: edited, or another file"
    assert run(flat, "--check") == (1, report(flat, named, named, unknown), "")
    code, out, err = run(flat)
    assert (code, out) == (2, "")
    assert err.startswith(f"infra: {flat / 'infra.py'}: {named}; {flat / 'fakes.py'}: {named}; ")


def test_a_file_of_ones_own_with_such_a_name(run: Run, flat: Path) -> None:
    (flat / "infra.py").write_text("HOSTS = ['a', 'b']\n")
    code, out, err = run(flat)
    assert (code, out) == (2, "")
    assert "infra.py: no digest and no version: edited, or another file. Nothing was copied" in err
    assert contents(flat) == {"infra.py": b"HOSTS = ['a', 'b']\n"}


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """The library as version 0.0.7 of it."""
    folder = tmp_path / "older"
    folder.mkdir()
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    for name in ("infra.py", "fakes.py"):
        edit(folder / name, f'__version__ = "{VERSION}"', '__version__ = "0.0.7"')
    return folder


def test_an_older_copy_is_replaced(run: Run, package: Path, older: Path) -> None:
    assert run(package, source=older)[0] == 0
    other = "version 0.0.7, not edited"
    # schema.sql has no version of its own; its digest's line names that of its release.
    assert run(package, "--check") == (1, report(package, other, other, EQUAL), "")
    code, out, err = run(package)
    assert (code, err) == (0, "")
    assert f"{package / 'infra.py'}: written, version {VERSION} (was 0.0.7)\n" in out
    assert run(package, "--check")[0] == 0


def test_an_older_copy_that_was_edited(run: Run, package: Path, older: Path) -> None:
    assert run(package, source=older)[0] == 0
    edit(package / "infra.py", "Plain synchronous", "Our plain")
    other = "version 0.0.7, not edited"
    edited = "edited since it was copied, version 0.0.7"
    assert run(package, "--check") == (1, report(package, edited, other, EQUAL), "")
    assert run(package)[0] == 2


def test_an_older_copy_without_a_digest(run: Run, flat: Path, older: Path) -> None:
    """Nothing tells whether it was edited."""
    shutil.copytree(older, flat, dirs_exist_ok=True)
    other = "version 0.0.7, no digest: it may have been edited"
    assert run(flat, "--check") == (1, report(flat, other, other, EQUAL), "")
    code, out, err = run(flat)
    assert (code, out) == (2, "")
    assert f"infra.py: {other}; " in err
    assert run(flat, "--force")[0] == 0
    assert run(flat, "--check")[0] == 0


def test_another_text_of_the_same_version(run: Run, package: Path, tmp_path: Path) -> None:
    """A checkout between two releases has the last one's version."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in FILES:
        shutil.copy(ROOT / name, checkout)
    edit(checkout / "infra.py", "Plain synchronous", "Plain, synchronous")
    assert run(package, source=checkout)[0] == 0
    another = f"another text of version {VERSION}, not edited since it was copied"
    assert run(package, "--check") == (1, report(package, another, EQUAL, EQUAL), "")
    assert run(package)[0] == 0


# --- a vendored copy vendors and checks


def test_a_vendored_copy_copies_itself(run: Run, package: Path, flat: Path) -> None:
    assert run(package)[0] == 0
    assert run(flat, "--check", source=package)[0] == 1
    assert run(flat, source=package)[0] == 0
    assert run(flat, "--check")[0] == 0
    text = (flat / "fakes.py").read_text(encoding="utf-8")
    assert STAMP.sub("", text) == (ROOT / "fakes.py").read_text(encoding="utf-8")


def test_a_vendored_copy_checks_itself(run: Run, package: Path) -> None:
    """The digests tell: nothing has to be installed."""
    assert run(package)[0] == 0
    command = [sys.executable, "-m", "app._vendor.infra", "vendor", "app/_vendor", "--check"]
    done = subprocess.run(
        command, cwd=package.parent.parent, capture_output=True, text=True, check=False
    )
    expected = report(Path("app/_vendor"), EQUAL, EQUAL, EQUAL)
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")
    edit(package / "fakes.py", "Dict-backed", "Our dict-backed")
    assert run(package, "--check", source=package) == (1, report(package, EQUAL, EDITED, EQUAL), "")


def test_an_edited_copy_is_no_source(run: Run, package: Path, flat: Path) -> None:
    assert run(package)[0] == 0
    edit(package / "fakes.py", "Dict-backed", "Our dict-backed")
    message = (
        f"infra: {package / 'fakes.py'} was edited since it was copied: run the command of an "
        "unedited copy\n"
    )
    assert run(flat, source=package) == (2, "", message)
    assert run(flat, "--check", source=package) == (2, "", message)
    assert contents(flat) == {}


def test_the_folder_that_the_command_runs_from(run: Run, package: Path) -> None:
    assert run(package)[0] == 0
    before = contents(package)
    for options in ((), ("--force",)):
        code, out, err = run(package, *options, source=package)
        message = (
            f"infra: {package} holds the files that this command runs from: name another folder. "
            "To update these files, run the command of a checkout or an installation\n"
        )
        assert (code, out, err) == (2, "", message)
    assert contents(package) == before


def test_the_checkout_has_nothing_to_compare_with(run: Run, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(ROOT)
    for folder in (ROOT, link):
        message = (
            f"infra: {folder} holds the files that this command runs from, and the first line of "
            "infra.py, fakes.py, schema.sql holds no digest: nothing tells whether they were "
            "edited. Run the command of a checkout or an installation\n"
        )
        assert run(folder, "--check") == (2, "", message)
        assert run(folder)[0] == 2


# --- refusals


def test_a_missing_folder(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "app" / "_vendor"
    message = (
        f"infra: {folder} is not a folder: create it first, with an __init__.py if it should be a "
        "package\n"
    )
    for options in ((), ("--check",)):
        assert run(folder, *options) == (2, "", message)
    assert [*tmp_path.iterdir()] == []
    folder.parent.touch()
    assert run(folder.parent)[0] == 2
    assert run("")[0] == 2  # an unset variable of a shell


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["folder", "link", "broken link", "pipe"])
def test_what_is_no_file(run: Run, flat: Path, tmp_path: Path, name: str, kind: str) -> None:
    path, other = flat / name, tmp_path / "other"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(other)
        if kind == "link":
            shutil.copy(ROOT / name, other)
    for option in ((), ("--force",)):
        code, out, err = run(flat, *option)
        message = f"infra: {path} is not a regular file: move it away, then run this again\n"
        assert (code, out, err) == (2, "", message)
    assert os.listdir(flat) == [name]
    assert path.is_symlink() == ("link" in kind)


def test_links_are_followed_by_check(run: Run, flat: Path, tmp_path: Path) -> None:
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path)
        (flat / name).symlink_to(tmp_path / name)
    assert run(flat, "--check") == (0, report(flat, EQUAL, EQUAL, EQUAL), "")


@pytest.mark.parametrize("number", [1, len(FILES)])
@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_cannot_be_written(
    run: Run, flat: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    """Nothing is replaced, not even if it fails at the last file. (Root may write everywhere.)"""
    for name in FILES:
        shutil.copy(ROOT / name, flat)
    before = contents(flat)
    usual = os.fsync
    synced: list[int] = []

    def refused(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == number:
            raise OSError(code, os.strerror(code))
        usual(descriptor)

    monkeypatch.setattr(os, "fsync", refused)
    message = f"infra: {flat} cannot be written: {os.strerror(code)}\n"
    assert run(flat) == (2, "", message)
    assert contents(flat) == before


def test_a_kill_leaves_the_old_or_the_new_file(
    run: Run, flat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is replaced by a rename, and only when all new texts are on the disk."""
    for name in FILES:
        shutil.copy(ROOT / name, flat)
    old, usual = contents(flat), os.replace
    seen: list[dict[str, bytes]] = []

    def replace(source: Any, target: Any) -> None:
        seen.append(contents(flat))
        usual(source, target)

    monkeypatch.setattr(os, "replace", replace)
    assert run(flat)[0] == 0
    new = contents(flat)
    assert len(seen) == 3
    for number, moment in enumerate(seen):
        for index, name in enumerate(FILES):
            assert moment[name] == (new if index < number else old)[name]
        waiting = [data for name, data in moment.items() if name not in FILES]
        assert sorted(waiting) == sorted(new[name] for name in FILES[number:])


def test_an_incomplete_library(run: Run, flat: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(ROOT / "infra.py", alone)
    code, out, err = run(flat, source=alone)
    message = f"infra: {alone / 'fakes.py'} cannot be read: No such file or directory\n"
    assert (code, out, err) == (2, "", message)
    assert contents(flat) == {}


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["a", "--check", "--force"], ["--what"]])
def test_wrong_usage(run: Run, arguments: list[str]) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("usage: infra")
