"""TLS with the same messages for every server, MySQL's login without TLS, and faults of TLS."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
import traceback
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import infra
from tests.conftest import _or_skip, not_shown
from tests.contract.backends import WAIT, Inbox, eventually, in_child, in_threads, raw_redis
from tests.faults.proxy import Proxy, Stub
from tests.services import (
    SERVICES,
    Missing,
    MySqlServer,
    Server,
    TlsMariaDbServer,
    TlsMySqlServer,
    TlsPostgresServer,
    TlsRedisServer,
    certificates,
)

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")]

SLACK = 5.0  # seconds that a busy machine may add
SECRET = "s3cret-739182"
KINDS = ["mariadb-tls", "mysql-tls", "postgres-tls", "redis-tls", "redis-cluster-tls"]
Service = Callable[[str], str]


@pytest.fixture(autouse=True)
def files() -> Path:
    return _or_skip(certificates)


def at(
    url: str, host: str = "localhost", *, user: str = "", port: int = 0, **options: object
) -> str:
    """The same server by that name, and with those options alone."""
    parts = urllib.parse.urlsplit(url)
    account = user or (f"{parts.username}@" if parts.username else "")
    query = "&".join(f"{name}={value}" for name, value in options.items() if value)
    place = f"{host}:{port or parts.port}"
    return f"{parts.scheme}://{account}{place}{parts.path}?{query}".rstrip("?")


def opened(
    url: str, calls: list[infra.Call] | None = None, **options: Any
) -> infra.RedisClient | infra.ConnectionPool:
    observer = calls.append if calls is not None else None
    if url.startswith("redis"):
        return infra.RedisClient(
            infra.CacheConfig(url=url, **{"deadline": 2, **options}), observer=observer
        )
    config = infra.DatabaseConfig(
        url=url, **{"connect_timeout": 2, "acquire_timeout": 4, **options}
    )
    return infra.create_pool(config, observer=observer)


def cipher(url: str) -> str:
    """Return the cipher that the server reports, or nothing.

    Redis does not report it: its port for TLS speaks nothing else.
    """
    with opened(url) as service:
        if isinstance(service, infra.ConnectionPool):
            mysql = "SHOW STATUS LIKE 'Ssl_cipher'"
            postgres = "SELECT cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            return str(
                service.fetch_all(mysql if service.engine == "mysql" else postgres)[0][-1] or ""
            )
        service.set("tls", "1")
        assert service.get("tls") == "1"
        return urllib.parse.urlsplit(url).scheme.partition("rediss")[1]


def refusal(
    url: str, error: type[infra.InfrastructureError] = infra.ConnectionError, **options: Any
) -> str:
    """The message. One attempt is enough to know, and nothing secret is told."""
    calls: list[infra.Call] = []
    started = time.monotonic()
    with opened(url, calls, **options) as service, pytest.raises(error) as caught:
        service.health_check()
    assert time.monotonic() - started < 4 + SLACK
    if error is infra.ConnectionError:
        assert (type(caught.value), caught.value.retryable, len(calls)) == (
            infra.ConnectionError,
            False,
            1,
        )
    assert SECRET not in "".join(traceback.format_exception(caught.value)) + repr(
        vars(caught.value)
    )
    return str(caught.value)


# --- who is trusted


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_accepted(kind: str, service: Service, files: Path) -> None:
    """The certificate is for "localhost"."""
    url = service(kind)
    for each in (
        url,
        at(url, sslmode="verify-full", sslrootcert=files / "ca.pem"),
        at(url, "127.0.0.1", sslmode="verify-ca", sslrootcert=files / "ca.pem"),
        at(url, "127.0.0.1", sslmode="require"),
    ):
        assert cipher(each), each
    if not kind.startswith("redis"):
        assert not cipher(at(url, sslmode="disable"))
        # PyMySQL before 1.2 does not ask for it by itself.
        assert cipher(at(url)) or kind in (
            "mariadb-tls",
            "mysql-tls",
        )


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_refused(kind: str, service: Service, files: Path) -> None:
    url = service(kind)
    user = f"{urllib.parse.urlsplit(url).username or 'u'}:{SECRET}@"
    other = files / "other.pem"
    # As libpq has it: an authority that is named is asked.
    for mode in (
        "verify-full",
        "verify-ca",
        "require",
    ):
        assert "its certificate was refused (" in refusal(
            at(url, user=user, sslmode=mode, sslrootcert=other)
        )
    told = refusal(
        at(url, "127.0.0.1", user=user, sslmode="verify-full", sslrootcert=files / "ca.pem")
    )
    assert "its certificate was refused (" in told
    assert "another host" in told or "not valid for '127.0.0.1'" in told
    # The system's authorities, or for libpq a file at home.
    told = refusal(at(url, user=user, sslmode="verify-full"))
    assert "its certificate was refused (" in told or "need sslrootcert" in told


@pytest.mark.parametrize("kind", ["mariadb", "mysql", "postgres"])
def test_a_server_without_tls(kind: str, service: Service, files: Path) -> None:
    assert not cipher(service(kind))
    for mode, authority in (("require", ""), ("verify-full", files / "ca.pem")):
        told = refusal(at(service(kind), "127.0.0.1", sslmode=mode, sslrootcert=authority))
        assert "could not be reached: it offers no TLS" in told


def test_redis_without_tls(service: Service) -> None:
    """It takes the handshake for the beginning of a command, and waits for the rest."""
    plain = at(service("redis"), "127.0.0.1", user=f":{SECRET}@")
    schemes = ["rediss", "rediss+cluster"]

    def ask(number: int) -> str:
        url = plain.replace("redis", schemes[number], 1)
        return refusal(url, infra.TimeoutError, connect_timeout=1.5, deadline=3)

    for told in in_threads(len(schemes), ask):
        assert (
            "did not answer in time: it is silent to a TLS handshake, as a port without TLS may be"
            in told
        )


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
def test_a_plain_client_of_redis_over_tls(scheme: str, service: Service) -> None:
    url = at(service("redis-tls"), user=f":{SECRET}@").replace("rediss", scheme, 1)
    with (
        opened(url, deadline=1) as client,
        pytest.raises(infra.ConnectionError, match="ended the connection"),
    ):
        client.health_check()


@pytest.mark.parametrize("scheme", ["mysql", "postgresql", "rediss", "rediss+cluster"])
@pytest.mark.parametrize("option", ["sslrootcert", "sslcert", "sslkey"])
def test_files_are_read_at_once(scheme: str, option: str, files: Path, tmp_path: Path) -> None:
    named: dict[str, Any] = {
        "sslrootcert": files / "ca.pem",
        "sslcert": files / "cert.pem",
        "sslkey": files / "key.pem",
    }
    url = f"{scheme}://u:{SECRET}@localhost:1/{'' if 'redis' in scheme else 'd'}"
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("nothing of the kind\n")
    for path, told in (
        (
            tmp_path / "absent.pem",
            f"^{option} should name a readable PEM file: No such file or directory$",
        ),
        (garbage, f"{option}.*should name PEM files that fit"),
        ("%00", "it holds a NUL"),
    ):
        with pytest.raises(infra.ConfigurationError, match=told) as caught:
            opened(at(url, user=f"u:{SECRET}@", sslmode="require", **{**named, option: path}))
        assert SECRET not in "".join(traceback.format_exception(caught.value))
    opened(at(url, user=f"u:{SECRET}@", sslmode="require", **named)).close()


def test_a_key_with_a_password_is_no_question_at_the_terminal(files: Path, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    words = [
        "openssl",
        "ec",
        "-aes128",
        "-passout",
        "pass:word",
        "-in",
        str(files / "key.pem"),
        "-out",
        str(key),
    ]
    subprocess.run(words, check=True, capture_output=True)
    with pytest.raises(infra.ConfigurationError, match="without a password"):
        opened(f"rediss://localhost?sslcert={files}/cert.pem&sslkey={key}")


class UnchangedMySql(MySqlServer):
    """With the certificates that it makes for itself."""

    tls = ()


@pytest.fixture
def unchanged_mysql() -> Iterator[Server]:
    def start() -> Server:
        return UnchangedMySql(SERVICES["mysql"].find() or "").start()

    server = _or_skip(start)
    yield server
    server.stop()


def test_an_authority_of_ones_own_need_not_be_to_the_letter(
    unchanged_mysql: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.13 is strict by default, and refuses the certificates that MySQL generates."""
    usual = ssl.create_default_context

    def strict(**options: Any) -> ssl.SSLContext:
        context = usual(**options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    url = unchanged_mysql.url
    own = unchanged_mysql.folder / "data" / "ca.pem"
    assert cipher(at(url, "127.0.0.1", sslmode="verify-ca", sslrootcert=own))
    monkeypatch.setenv("SSL_CERT_FILE", str(own))  # the system's authorities are held to it
    told = refusal(at(url, "127.0.0.1", sslmode="verify-ca"))
    assert "its certificate was refused (" in told


# --- who is let in


class StrictRedis(TlsRedisServer):
    """These four want a client certificate, and their own has expired."""

    def options(self) -> dict[str, str]:
        own = {"tls-cert-file": f"{certificates()}/expired.pem", "tls-auth-clients": "yes"}
        return {**super().options(), **own}

    def open(self) -> socket.socket:
        context = ssl._create_unverified_context()  # noqa: S323
        context.load_cert_chain(certificates() / "cert.pem", certificates() / "key.pem")
        return context.wrap_socket(socket.create_connection(("127.0.0.1", self.port), 1))


class StrictMariaDb(TlsMariaDbServer):
    def command(self) -> list[str]:
        return [*super().command(), f"--ssl-cert={certificates()}/expired.pem"]

    def prepare(self) -> None:
        super().prepare()
        with open(self.folder / "init.sql", "a") as script:
            script.write(
                "CREATE USER strict@'127.0.0.1' REQUIRE X509;\n"
                "GRANT ALL ON infra.* TO strict@'127.0.0.1';\n"
            )


class StrictMySql(TlsMySqlServer):
    def command(self) -> list[str]:
        more = [f"--init-file={self.folder}/init.sql", f"--ssl-cert={certificates()}/expired.pem"]
        return [*super().command(), *more]

    def prepare(self) -> None:
        super().prepare()
        (self.folder / "init.sql").write_text(
            "CREATE USER IF NOT EXISTS strict REQUIRE X509;\nGRANT ALL ON infra.* TO strict;\n"
        )


class StrictPostgres(TlsPostgresServer):
    def prepare(self) -> None:
        super().prepare()
        (self.folder / "cert.pem").write_bytes((certificates() / "expired.pem").read_bytes())
        rules = self.folder / "data" / "pg_hba.conf"
        rules.write_text(
            f"hostssl all strict 127.0.0.1/32 trust clientcert=verify-ca\n{rules.read_text()}"
        )

    def command(self) -> list[str]:
        return [*super().command(), "-c", f"ssl_ca_file={certificates()}/ca.pem"]

    def start(self) -> Server:
        super().start()
        with opened(at(super().url, sslmode="require")) as pool:
            assert isinstance(pool, infra.ConnectionPool)
            pool.execute("CREATE USER strict")
        return self


STRICT = {
    "mariadb-tls": StrictMariaDb,
    "mysql-tls": StrictMySql,
    "postgres-tls": StrictPostgres,
    "redis-tls": StrictRedis,
}


@pytest.fixture(scope="module")
def strict() -> Iterator[Callable[[str], str]]:
    """``strict(kind)``: the URL of a server that wants a certificate of the user "strict"."""
    started: dict[str, Server] = {}
    folder = _or_skip(certificates)
    # Unless this openssl can make one of yesterday.
    shutil.copy(folder / "cert.pem", folder / "expired.pem")
    ask = [
        "req",
        "-new",
        "-key",
        "key.pem",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
    ]
    sign = [
        "x509",
        "-req",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca-key.pem",
        "-CAcreateserial",
        "-copy_extensions",
        "copy",
    ]
    asked = subprocess.run(["openssl", *ask], cwd=folder, check=True, capture_output=True).stdout
    signed = subprocess.run(
        ["openssl", *sign, "-days", "-1"], cwd=folder, check=False, capture_output=True, input=asked
    )
    if signed.returncode == 0:
        (folder / "expired.pem").write_bytes(signed.stdout)

    def start(kind: str) -> Server:
        binary = SERVICES[kind].find()
        if binary is None:
            raise Missing(f"no {kind} server: {SERVICES[kind].remedy}")
        return STRICT[kind](binary).start()

    def url(kind: str) -> str:
        if kind not in started:
            started[kind] = _or_skip(lambda: start(kind))
        return started[kind].url

    yield url
    for each in started.values():
        each.stop()


@pytest.mark.parametrize("kind", STRICT)
def test_a_certificate_that_has_expired(kind: str, strict: Service, files: Path) -> None:
    url = strict(kind)
    if (files / "expired.pem").read_bytes() == (files / "cert.pem").read_bytes():
        not_shown("an expired certificate", "an openssl whose x509 takes -days -1")
    told = refusal(at(url, sslmode="verify-full", sslrootcert=files / "ca.pem"))
    assert re.search(r"its certificate was refused \(.*expired\)", told)


@pytest.mark.parametrize("kind", STRICT)
def test_a_client_certificate(kind: str, strict: Service, files: Path) -> None:
    user = "" if kind == "redis-tls" else "strict@"
    url, host = strict(kind), "127.0.0.1"
    key = files / "key.pem"
    assert cipher(
        at(url, host, user=user, sslmode="require", sslcert=files / "cert.pem", sslkey=key)
    )
    told = refusal(at(url, host, user=user, sslmode="require"))
    wanted = "it wants a client certificate: see sslcert and sslkey"
    mysql = kind in ("mariadb-tls", "mysql-tls")
    assert ("refused the login" if mysql else wanted) in told  # those say no more than that
    key = files / "other-key.pem"
    url = at(url, host, user=user, sslmode="require", sslcert=files / "other.pem", sslkey=key)
    if not mysql:
        assert "it refused the client certificate of sslcert" in refusal(url)
        return
    # With TLS 1.3 that is said when PyMySQL already sends on; then it may see no more than an ended
    # connection.
    with opened(url) as pool, pytest.raises(infra.ConnectionError, match="could not be reached"):
        pool.health_check()


# --- on bad days


def mute(connection: socket.socket) -> None:
    connection.recv(1)


def mute_mysql(connection: socket.socket) -> None:
    greet(connection, tls=True)
    connection.recv(4096)


def mute_postgres(connection: socket.socket) -> None:
    connection.recv(8)
    connection.sendall(b"S")


SILENT: list[tuple[str, Callable[[socket.socket], None], str]] = [
    ("rediss", mute, "did not answer in time: it is silent to a TLS handshake"),
    ("rediss+cluster", mute, "did not answer in time: it is silent to a TLS handshake"),
    ("mysql", mute, "did not answer in time"),
    ("mysql", mute_mysql, "did not answer in time: it is silent to a TLS handshake"),
    ("postgresql", mute_postgres, "did not answer in time"),
]


def test_servers_that_fall_silent_in_the_handshake() -> None:
    def ask(number: int) -> str:
        scheme, silence, _ = SILENT[number]
        database = "" if "redis" in scheme else "d"
        options = {"deadline": 3.0} if "redis" in scheme else {"acquire_timeout": 3.0}
        with Stub(silence) as server:
            url = f"{scheme}://u:{SECRET}@127.0.0.1:{server.port}/{database}?sslmode=require"
            return refusal(url, infra.TimeoutError, connect_timeout=1.5, **options)

    for (scheme, _, words), told in zip(SILENT, in_threads(len(SILENT), ask)):
        assert words in str(told), scheme


@pytest.fixture
def server(private_server: Callable[[str], Server]) -> Server:
    return private_server("redis-tls")


def redis(url: str, **options: Any) -> infra.RedisClient:
    client = opened(url, **options)
    assert isinstance(client, infra.RedisClient)
    return client


def test_killed_and_restarted(server: Server) -> None:
    inbox = Inbox()
    with (
        redis(server.url, deadline=10, retries=100) as client,
        client.listen(inbox, inbox.on_reconnect) as listener,
    ):
        listener.subscribe("c")
        client.set("k", "1")
        server.kill()
        server.start()
        assert client.increment("k") == 1
        inbox.wait_reconnects(1)
        assert client.publish("c", "1") == 1
        assert inbox.wait(1) == [("c", None, "1")]


def test_a_lost_reply(server: Server) -> None:
    with (
        Proxy(server.port) as proxy,
        redis(server.url.replace(str(server.port), str(proxy.port))) as client,
    ):
        assert client.increment("k") == 1
        proxy.swallow = True
        with pytest.raises(infra.ConnectionError) as caught:
            client.increment("k")
        assert caught.value.retryable is True  # for the caller to decide
        proxy.swallow = True
        # It was the server's part of the handshake: nothing had been sent.
        assert client.increment("k") == 3
        proxy.swallow = True
        assert client.get("k") == "3"
        assert proxy.swallowed == 3


def test_a_listener_that_threads_change_in_a_flood(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    inbox = Inbox()
    with redis(server.url, deadline=5) as client, client.listen(inbox) as listener:
        listener.subscribe("flood")

        def work(number: int) -> None:
            for turn in range(100):
                if number == 2:
                    # Or 64 records.
                    client.publish("flood", f"{turn} " + "x" * (2**20 if turn % 50 == 7 else 100))
                else:
                    (listener.subscribe if number else listener.unsubscribe)("c")

        assert in_threads(3, work) == [None] * 3
        payloads = [payload for _, _, payload in inbox.wait(100)]
        assert [(int(each.split()[0]), len(each) > 2**20) for each in payloads] == [
            (turn, turn % 50 == 7) for turn in range(100)
        ]
        assert caplog.records == []


def test_a_listener_that_has_just_come(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """The session tickets that a server sends behind the handshake are no message to wait for."""
    with redis(server.url, socket_timeout=2, deadline=10) as client:
        for _ in range(3):
            with client.listen(Inbox()) as listener:
                listener.subscribe("c")
                assert client.publish("c", "1") == 1
    assert caplog.records == []


class OnlyHandshakes(Proxy):
    """Keeps back what the server says once the client has ended its part of the handshake."""

    requests = 0

    def request(self, data: bytes) -> bytes:
        self.requests += 1
        if self.requests > 1:  # the first is the ClientHello
            self.open.clear()
        return data


def test_a_listener_comes_when_the_server_has_answered_it(server: Server) -> None:
    """A reply follows the session tickets, or a refused certificate."""
    authority: Any = {"sslrootcert": certificates() / "ca.pem"}
    with (
        OnlyHandshakes(server.port) as proxy,
        redis(at(server.url, port=proxy.port, **authority), socket_timeout=1, deadline=3) as client,
        pytest.raises(infra.TimeoutError),
    ):
        client.listen(Inbox())


class Stalling(Proxy):
    """While ``going`` is not set, it reads nothing from clients: their sends time out."""

    def __init__(self, target: int) -> None:
        self.going = threading.Event()
        self.going.set()
        super().__init__(target)

    def request(self, data: bytes) -> bytes:
        assert self.going.wait(WAIT)
        return data


def outcome(call: Callable[[], Any]) -> Any:
    """Return the result of the call, or the class of its error."""
    try:
        return call()
    except infra.InfrastructureError as error:
        return type(error)


def in_background(call: Callable[[], Any]) -> Callable[[], Any]:
    """Begins the call in another thread; what is returned waits for its result."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()

    def result() -> Any:
        thread.join(WAIT)
        return results[0]

    return result


def redis_has_hiredis() -> bool:
    from redis.utils import HIREDIS_AVAILABLE

    return bool(HIREDIS_AVAILABLE)


def test_what_a_listener_still_finds_behind_the_end_is_not_taken_for_plain_text(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """It ends the connection itself when it cannot send, and then reads what has come."""
    authority: Any = {"sslrootcert": certificates() / "ca.pem"}
    inbox = Inbox()

    def handler(*message: Any) -> None:
        inbox(*message)
        if len(inbox.messages) > 1:
            return
        for payload in ("1", "2"):  # they stay unread in the socket's buffer
            before = proxy.passed
            client.publish("c", payload)
            eventually(lambda: proxy.passed > before)
        proxy.going.clear()
        listener.subscribe("x" * 2**23)  # from a handler it waits for no answer
        proxy.going.set()

    with (
        redis(server.url) as client,
        Stalling(server.port) as proxy,
        redis(at(server.url, port=proxy.port, **authority), socket_timeout=1) as other,
        other.listen(handler, inbox.on_reconnect) as listener,
    ):
        listener.subscribe("c")
        client.publish("c", "0")
        inbox.wait_reconnects(1)
        payloads = [payload for _, _, payload in inbox.messages]
        if redis_has_hiredis():  # it looks for no more
            assert payloads == ["0", "1", "2"][: len(payloads)]
        else:
            assert payloads == ["0", "1", "2"]
    assert caplog.records[0].outcome == "ConnectionError"  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["redis-tls", "redis-cluster-tls"])
def test_many_threads_and_large_values(kind: str, service: Service) -> None:
    with redis(service(kind), pool_size=3, deadline=30) as client:
        client.delete("sum")

        def work(number: int) -> None:
            for turn in range(20):
                key, value = f"tls:{number}", f"{turn}" * (2**19 if turn == 7 else 10)
                client.set(key, value)
                assert client.get(key) == value
                client.increment("sum")

        assert in_threads(16, work) == [None] * 16
        assert client.get("sum") == str(16 * 20)


def test_forks(service: Service, server: Server) -> None:
    """A child opens connections of its own, and its end is not that of its parent's."""
    inbox = Inbox()
    with contextlib.ExitStack() as stack:
        pools = [
            stack.enter_context(opened(service(kind)))
            for kind in ("mariadb-tls", "mysql-tls", "postgres-tls")
        ]
        client = stack.enter_context(redis(server.url))
        listener = stack.enter_context(client.listen(inbox, inbox.on_reconnect))
        listener.subscribe("c")
        client.set("k", "parent")
        raw = stack.enter_context(raw_redis(server.url))

        def connections() -> set[int]:
            return {int(each["id"]) for each in raw.client_list()}

        clients = connections()

        def who(pool: Any) -> Any:
            return pool.fetch_one(
                "SELECT " + ("CONNECTION_ID()" if pool.engine == "mysql" else "pg_backend_pid()")
            )

        before = [who(pool) for pool in pools]

        def work() -> None:
            assert all(who(pool) != mine for pool, mine in zip(pools, before))
            client.set("k", "child")
            client.close()
            for pool in pools:
                pool.close()

        in_child(work)
        assert [who(pool) for pool in pools] == before
        assert client.get("k") == "child"
        eventually(lambda: connections() == clients)
        assert client.publish("c", "still there") == 1
        assert inbox.wait(1) == [("c", None, "still there")]
        assert inbox.reconnects == 0


# --- caching_sha2_password


def packet(number: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([number]) + payload


def greet(connection: socket.socket, *, tls: bool = False) -> None:
    """Handshake v10, with the flags for the protocol of 4.1, databases, plugins and perhaps TLS."""
    able = 0x8_0000 | 0x8000 | 0x0200 | 0x0008 | 0x0002 | (0x0800 if tls else 0)
    nonce = b"n" * 20
    greeting = b"\x0a8.4.0\0" + struct.pack(
        "<I8sxHBHHB10x", 1, nonce[:8], able & 0xFFFF, 45, 2, able >> 16, 21
    )
    connection.sendall(packet(0, greeting + nonce[8:] + b"\0caching_sha2_password\0"))


def full_login(connection: socket.socket) -> None:
    """Takes no password but in full, gives its key, and then refuses."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048).public_key()
    form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    greet(connection)
    assert b"caching_sha2_password" in connection.recv(4096)
    connection.sendall(packet(2, b"\x01\x04"))
    assert connection.recv(4096) == packet(3, b"\x02")
    connection.sendall(packet(4, b"\x01" + key.public_bytes(*form)))
    if len(encrypted := connection.recv(4096)) == 4 + 256:
        assert SECRET.encode() not in encrypted
        text = b"Access denied for user 'u'@'localhost' (using password: YES)"
        connection.sendall(packet(6, b"\xff" + struct.pack("<H", 1045) + b"#28000" + text))


def test_caching_sha2_password_as_pymysql_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripted server follows PyMySQL's _auth.py and connections.py and the documentation.

    https://dev.mysql.com/doc/dev/mysql-server/latest/page_caching_sha2_authentication_exchanges.html

    The next test uses a real MySQL. A server asks for the full password, right or wrong, until it
    has seen the right one once; so without ``cryptography`` the client cannot tell which it is.
    """
    with Stub(full_login) as server:
        url = f"mysql://u:{SECRET}@127.0.0.1:{server.port}/d"
        assert "refused the login: check user, password" in refusal(url)
        monkeypatch.setattr("pymysql._auth._have_cryptography", False)
        told = refusal(url, infra.ConfigurationError)
        for each in ("caching_sha2_password", "PyMySQL[rsa]", "TLS", "wrong password"):
            assert each in told
    assert server.failures == []


@pytest.mark.parametrize("kind", ["mysql-tls", "mysql"])
def test_caching_sha2_password_on_mysql(
    kind: str, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login without TLS asks for the server's key."""
    url, name = service(kind), f"sha2_{os.getpid()}"
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(opened(url))
        assert isinstance(pool, infra.ConnectionPool)
        stack.callback(pool.execute, f"DROP USER IF EXISTS {name}")
        pool.execute(f"CREATE USER {name} IDENTIFIED WITH caching_sha2_password BY '{SECRET}'")
        parts = urllib.parse.urlsplit(url)
        pool.execute(f"GRANT ALL ON {parts.path[1:]}.* TO {name}")
        host = parts.hostname or ""
        for mode in ("require", "disable") if kind == "mysql-tls" else ("prefer",):
            pool.execute("FLUSH PRIVILEGES")  # the server forgets the passwords that it has seen
            encrypted = cipher(at(url, host, user=f"{name}:{SECRET}@", sslmode=mode))
            assert bool(encrypted) == (mode == "require")
            told = refusal(at(url, host, user=f"{name}:{SECRET}x@", sslmode=mode))
            assert "refused the login" in told
        pool.execute("FLUSH PRIVILEGES")
        monkeypatch.setattr("pymysql._auth._have_cryptography", False)
        told = refusal(
            at(url, host, user=f"{name}:{SECRET}x@", sslmode="disable"), infra.ConfigurationError
        )
        assert "PyMySQL[rsa]" in told
        assert "wrong password" in told
