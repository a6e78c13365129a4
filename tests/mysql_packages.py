"""Oracle MySQL for the tests: Debian packages, unpacked into a cache folder of the project.

Debian 12 and 13 carry no MySQL, the suite "sid" of the same archive does. A private apt, with
lists, cache and an empty dpkg status of its own, fetches the server with libc and every other
library that it needs. Nothing is installed and nothing needs root. The server runs by the dynamic
loader that was fetched along.

The cache holds ``root``, the unpacked packages, and ``data``, an initialised data folder to copy.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

CACHE = Path(__file__).resolve().parent.parent / ".cache"
HOME = CACHE / "mysql-1"  # another number when the recipe changes
SUITE = "sid"
PACKAGES = ["mysql-server-core", "mysql-client-core"]
#: Parts of the packages that no server and no client reads.
UNUSED = [
    "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/perl",
    "usr/lib/x86_64-linux-gnu/perl", "usr/lib/x86_64-linux-gnu/perl-base",
]  # fmt: skip
#: The archive's keys where Debian 12 and 13 keep them. Without the file apt asks its trusted.gpg.d.
KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
#: Read after the machine's own settings, so that proxy, certificates and accounts are its own.
SETTINGS = """
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Architecture "amd64";
APT::Default-Release "";
APT::Get::List-Cleanup "false";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::Cache "{folder}/cache";
Dir::Cache::archives "{folder}/archives";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State "{folder}/state";
Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status";
"""
#: What initialising leaves in the data folder. Servers look no names up: root is not
#: root@localhost.
INITIAL = """CREATE DATABASE infra;
CREATE USER root@'%';
GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;
"""


class Failed(Exception):
    """The packages could not be fetched; the text says why."""


def refusal() -> str:
    """Why the recipe cannot work on this machine; empty if it can."""
    try:
        system = platform.freedesktop_os_release().get("ID", "")
    except OSError:
        system = platform.system()
    machine = platform.machine()
    if system != "debian" or machine != "x86_64":
        return f"Debian packages for x86-64 do not fit this machine ({system}, {machine})"
    missing = [each for each in ("apt-get", "dpkg", "setpriv") if shutil.which(each) is None]
    return f"{' and '.join(missing)} cannot be found" if missing else ""


def is_ready() -> bool:
    return HOME.exists()


def fetch() -> Path:
    """Return the cache folder, filled. One process fetches, others wait for it. Raises Failed."""
    if not is_ready():
        CACHE.mkdir(exist_ok=True)
        with locked(CACHE / "mysql.lock"):
            for abandoned in CACHE.glob("mysql.part-*"):  # by a process that was killed
                shutil.rmtree(abandoned)
            if not is_ready():
                _fill()
    return HOME


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of that file; the system frees it when the process ends."""
    with open(path, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def server(home: Path, data: Path) -> list[str]:
    """The command of a server on that data folder, to be completed with further options."""
    libraries = home / "root/usr/lib/x86_64-linux-gnu"
    options = [
        "--no-defaults", f"--basedir={home / 'root/usr'}", f"--datadir={data}", "--mysqlx=OFF",
        "--disable-log-bin", "--innodb-redo-log-capacity=8M", "--innodb-doublewrite=OFF",
        "--innodb-flush-method=nosync", "--performance-schema=OFF", "--secure-file-priv=",
    ]  # fmt: skip
    return [
        str(libraries / "ld-linux-x86-64.so.2"),
        *("--library-path", str(libraries)),
        str(home / "root/usr/sbin/mysqld"),
        *options,
        *(["--user=root"] if os.getuid() == 0 else []),
    ]


def _fill() -> None:
    """Everything happens under a temporary name: only a whole cache has the right one."""
    print("fetching MySQL for the tests, about 65 MB", file=sys.stderr, flush=True)
    part = Path(tempfile.mkdtemp(prefix="mysql.part-", dir=CACHE))
    try:
        part.chmod(0o755)
        _unpack(_packages(part / "apt"), part / "root")
        shutil.rmtree(part / "apt")
        (part / "initial.sql").write_text(INITIAL)
        _run(
            *server(part, part / "data"), "--initialize-insecure",
            f"--init-file={part / 'initial.sql'}", "--innodb-redo-log-capacity=32M",
        )  # fmt: skip
        (part / "data/auto.cnf").unlink()  # each server gives itself a name
        part.rename(HOME)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _archive() -> str:
    """The address of Debian's archive, as this machine's apt knows it."""
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    described = "$(REPO_URI) $(RELEASE) $(CODENAME) $(COMPONENT)"
    listed = _run("apt-get", "indextargets", "--format", described, "Created-By: Packages")
    for line in listed.splitlines():
        address, *names, component = line.split(" ")
        if codename in names and component == "main":
            return address
    raise Failed(f"apt's sources name no archive with {codename} main")


def _packages(folder: Path) -> list[Path]:
    for each in ("cache", "state", "lists/partial", "archives/partial"):
        (folder / each).mkdir(parents=True)
    (folder / "status").touch()
    options = f" [signed-by={KEYS}]" if KEYS.exists() else ""
    (folder / "sources.list").write_text(f"deb{options} {_archive()} {SUITE} main\n")
    settings = SETTINGS.format(folder=folder)
    if os.getuid() == 0:  # else apt gives up its rights, and then may not write here
        settings += 'APT::Sandbox::User "root";\n'
    (folder / "apt.conf").write_text(settings)
    apt = ["apt-get", "-qq", "-c", str(folder / "apt.conf")]
    _run(*apt, "update")
    _run(*apt, "install", "--download-only", "--no-install-recommends", "-y", *PACKAGES)
    return sorted((folder / "archives").glob("*.deb"))


def _unpack(packages: list[Path], root: Path) -> None:
    for each in packages:
        _run("dpkg", "-x", str(each), str(root))
    for name in UNUSED:
        shutil.rmtree(root / name, ignore_errors=True)


def _run(*command: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        said = (done.stderr + done.stdout).strip().splitlines() or [f"status {done.returncode}"]
        errors = [line for line in said if line.startswith("E:") or "[ERROR]" in line] or said[-1:]
        reason = re.sub(r"//[^/\s@]*@", "//", errors[0])  # a proxy's password is not told
        raise Failed(f"{Path(command[0]).name} failed: {reason}")
    return done.stdout
