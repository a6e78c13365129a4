"""Why a login fails: words of Postgres and libpq, codes of MySQL, a server that speaks German."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import urllib.parse
from collections.abc import Callable, Iterator

import pytest

import infra
from tests.conftest import _note_version, _or_skip
from tests.contract.backends import eventually, locals_of
from tests.faults.proxy import Proxy, Stub
from tests.faults.test_tls import greet
from tests.services import GermanPostgresServer, MariaDbServer, PostgresServer, free_port, private

pytestmark = pytest.mark.real

SECRET = "s3cret-739182"
NO_BACKEND = "is a pooler or proxy that gets no connection to the server behind it: see its log"
NO_ROOM = "has too little memory for another connection at present"
WRONG = "refused the login: user or password is wrong"


def refused(url: str, **options: float) -> tuple[str, str | int | None, bool, int]:
    """The message behind the server's place, the code, ``retryable``, the number of attempts."""
    calls: list[infra.Call] = []
    config = infra.DatabaseConfig(url=url, **options)  # type: ignore[arg-type]
    with (
        infra.create_pool(config, observer=calls.append) as pool,
        pytest.raises(infra.ConnectionError) as caught,
    ):
        pool.execute("SELECT 1")
    error, attempts = caught.value, len(calls)
    assert SECRET not in str(error)
    assert pool.stats().open == 0
    return str(error).partition(" at ")[2].partition(" ")[2], error.code, error.retryable, attempts


# The signal may come where a driver is about to close its socket: Python then closes it, and warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:{}@127.0.0.1:{}/x",
        "postgresql://u:{}@127.0.0.1:{}/x",
        "redis://:{}@127.0.0.1:{}",
        "redis+cluster://:{}@127.0.0.1:{}",
    ],
)
def test_a_signal_during_a_login_leaves_no_password(
    on_alarm: Callable[[BaseException], None], error: type[BaseException], url: str
) -> None:
    def wake(client: socket.socket) -> None:
        if url.startswith("mysql"):
            greet(client)
        client.recv(1)  # the client has sent its login, and waits
        os.kill(os.getpid(), signal.SIGALRM)

    on_alarm(error("time is up"))
    with Stub(wake) as mute:
        url = url.format(SECRET, mute.port)
        with contextlib.ExitStack() as stack, pytest.raises(error) as caught:
            if url.startswith("redis"):
                config = infra.CacheConfig(url, socket_timeout=30.0, deadline=30.0)
                stack.enter_context(infra.RedisClient(config)).get("k")
            pool = infra.create_pool(infra.DatabaseConfig(url, connect_timeout=30.0))
            stack.enter_context(pool).execute("SELECT 1")
    assert SECRET not in locals_of(caught.value)


# --- a real server


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    yield from prepared("postgres", PostgresServer)


@pytest.fixture(scope="module")
def german() -> Iterator[PostgresServer]:
    yield from prepared("postgres-de", GermanPostgresServer)


STATEMENTS = (
    "CREATE ROLE pupil LOGIN PASSWORD 'right-password'",
    "CREATE ROLE nobody_may LOGIN",
    "CREATE ROLE group_only NOLOGIN",
    "CREATE ROLE crowd LOGIN CONNECTION LIMIT 0",
    "CREATE DATABASE closed ALLOW_CONNECTIONS false",
    "CREATE DATABASE others",
    "REVOKE CONNECT ON DATABASE others FROM PUBLIC",
)


def lets_in(url: str) -> bool:
    with infra.create_pool(infra.DatabaseConfig(url=url)) as pool:
        try:
            return pool.fetch_one("SELECT 1") == (1,)
        except infra.ConnectionError:
            return False


def prepared(kind: str, expected: type[PostgresServer]) -> Iterator[PostgresServer]:
    made = _or_skip(lambda: private(kind))
    assert isinstance(made, expected)
    _note_version(kind, made.url)
    try:
        with infra.create_pool(infra.DatabaseConfig(url=made.url)) as pool:
            for statement in STATEMENTS:
                pool.execute(statement)
            rules = made.folder / "data" / "pg_hba.conf"
            usual = rules.read_text()
            lines = "host all pupil all scram-sha-256\nhost all nobody_may all reject\n"
            rules.write_text(lines + usual)
            pool.execute("SELECT pg_reload_conf()")
            question = "SELECT count(*) FROM pg_hba_file_rules WHERE 'pupil' = ANY (user_name)"
            eventually(lambda: pool.fetch_one(question) == (1,))
        url = made.url.replace("postgres@", f"nobody_may:{SECRET}@")
        eventually(lambda: not lets_in(url))  # the first process has read it too
        yield made
    finally:
        made.stop()


CASES = {  # user, database, what is said, SQLSTATE
    "wrong password": (f"pupil:{SECRET}", "postgres", WRONG, "28P01"),
    "no password": ("pupil", "postgres", "asks for a password, and the URL has none", None),
    "no such role": ("missing", "postgres", "has no such user (role)", "28000"),
    "no login": (
        "group_only",
        "postgres",
        "does not let this user log in: see ALTER ROLE … LOGIN",
        "28000",
    ),
    "pg_hba": (
        "nobody_may",
        "postgres",
        "refused the login: its pg_hba.conf has no rule that lets in this user, database, address "
        "and encryption (sslmode)",
        "28000",
    ),
    "no such database": ("postgres", "missing", "has no such database", "3D000"),
    "a closed database": (
        "postgres",
        "closed",
        "takes no connections to that database: see ALTER DATABASE … ALLOW_CONNECTIONS",
        "55000",
    ),
    "no right": (
        "crowd_free",
        "others",
        "does not let this user into that database: see GRANT CONNECT",
        "42501",
    ),
}


def url_of(server: PostgresServer, user: str, database: str) -> str:
    return f"postgresql://{user}@127.0.0.1:{server.port}/{database}"


@pytest.mark.parametrize("case", CASES)
def test_what_another_setting_mends_is_tried_once(server: PostgresServer, case: str) -> None:
    user, database, words, code = CASES[case]
    if user == "crowd_free":
        user = "pupil:right-password"
    shown = f"{words} (code {code})" if code else words
    assert refused(url_of(server, user, database)) == (shown, code, False, 1)


def test_too_many_connections_pass(server: PostgresServer) -> None:
    words = "takes no further connections at present (code 53300)"
    assert refused(url_of(server, "crowd", "postgres")) == (words, "53300", True, 4)


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_what_passes_is_retried(host: str) -> None:
    words = {"127.0.0.1": "Connection refused"}.get(host, "host name not found")
    url = f"postgresql://u:{SECRET}@{host}:{free_port()}/d"
    assert refused(url) == (f"could not be reached: {words}", None, True, 4)


def test_another_address_of_the_name_has_no_server(server: PostgresServer) -> None:
    """libpq then tells of both; what the server says counts."""
    url = url_of(server, "missing", "postgres").replace("127.0.0.1", "localhost")
    assert refused(url) == ("has no such user (role) (code 28000)", "28000", False, 1)


UNKNOWN_SETTING = "refused the login: the URL's options name a setting that it does not know"
BAD_VALUE = "refused the login: the URL's options give a setting a value that it cannot have"
NOT_NOW = "refused the login: the URL's options change a setting that this user may not"
UNREADABLE = "cannot read the URL's options: write each as -c name=value"


@pytest.mark.parametrize(
    ("options", "words", "code"),
    [
        ("-c foo=bar", UNKNOWN_SETTING, "42704"),
        ("-c statement_timeout=abc", BAD_VALUE, "22023"),
        ("-c statement_timeout=-5", BAD_VALUE, "22023"),
        ("-c work_mem=1", BAD_VALUE, "22023"),
        ("-c seq_page_cost=-0.5", BAD_VALUE, "22023"),
        ("-c lc_messages=nope", BAD_VALUE, "22023"),
        ("-c datestyle=zz", BAD_VALUE, "22023"),
        ("-c default_transaction_read_only=maybe", BAD_VALUE, "22023"),
        ("-c fsync=off", NOT_NOW, "55P02"),
        ("-c wal_level=logical", NOT_NOW, "55P02"),
        ("--foo", UNREADABLE, "42601"),
        ("-c foo", UNREADABLE, "42601"),
        ("-x 1", UNREADABLE, "42601"),
        (
            "-c role=missing",
            "has no such user (role); the URL's options may be the cause",
            "28000",
        ),
    ],
)
def test_options_that_the_server_refuses(
    server: PostgresServer, options: str, words: str, code: str
) -> None:
    url = f"{url_of(server, 'postgres', 'postgres')}?options={urllib.parse.quote(options)}"
    assert refused(url) == (f"{words} (code {code})", code, False, 1)


def test_options_that_a_user_may_not_set(server: PostgresServer) -> None:
    user = url_of(server, "pupil:right-password", "postgres")
    words = f"{NOT_NOW} (code 55P02)"
    assert refused(f"{user}?options=-c%20log_statement%3Dall") == (words, "55P02", False, 1)


def test_options_that_a_german_server_refuses(german: PostgresServer) -> None:
    words, *others = refused(f"{url_of(german, 'postgres', 'postgres')}?options=-c%20foo%3Dbar")
    assert words.endswith("; the URL's options may be the cause")
    assert others == [None, False, 1]


WRITES = "takes writes, which the URL's target_session_attrs does not allow"
NO_WRITES = "takes no writes at present, and the URL's target_session_attrs does not allow that"


@pytest.mark.parametrize(
    ("query", "words", "attempts"),
    [
        ("target_session_attrs=read-only", WRITES, 1),
        ("target_session_attrs=standby", WRITES, 1),
        (
            "target_session_attrs=read-write&options=-c%20default_transaction_read_only%3Don",
            NO_WRITES,
            4,  # after a failover the standby becomes a primary
        ),
        (
            "channel_binding=require&sslmode=disable",
            "does not support channel_binding=require: it needs TLS (sslmode=require) and a login "
            "by scram-sha-256",
            1,
        ),
    ],
)
def test_what_the_url_wants_of_the_server(
    server: PostgresServer, query: str, words: str, attempts: int
) -> None:
    url = f"{url_of(server, 'postgres', 'postgres')}?{query}"
    assert refused(url) == (words, None, attempts > 1, attempts)


@pytest.mark.parametrize("case", ["wrong password", "no such role", "no such database"])
def test_a_server_that_speaks_german(german: PostgresServer, case: str) -> None:
    user, database, _, _ = CASES[case]
    words, code, retryable, attempts = refused(url_of(german, user, database))
    assert (code, retryable, attempts) == (None, False, 1)
    assert words == (
        "refused the login, in words that this library does not know: see the server's log, or set "
        "its lc_messages to 'C' (English) to read the reason here"
    )


def test_commands_say_why(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable in ("MYSQL_URL", "DATABASE_URL", "REDIS_URL", "S3_ENDPOINT", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("POSTGRES_URL", url_of(server, f"pupil:{SECRET}", "postgres"))
    said = f"postgres at 127.0.0.1:{server.port} {WRONG} (code 28P01)\n"
    assert (infra.main(["health"]), *capsys.readouterr()) == (1, f"postgres down  {said}", "")
    assert (infra.main(["migrate", "--status"]), *capsys.readouterr()) == (1, "", f"infra: {said}")


# --- what a server can be made to say


def postgres(severity: str, text: str) -> Callable[[socket.socket], None]:
    """A server that answers each login with that error."""

    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        fields = f"S{severity}\0VFATAL\0C99999\0M{text}\0\0".encode()
        connection.sendall(b"E" + struct.pack("!I", len(fields) + 4) + fields)
        connection.close()

    return serve


@pytest.mark.parametrize(
    ("text", "words", "retryable"),
    [
        ("the database system is starting up", "is starting up (code 57P03)", True),
        ("the database system is in recovery mode", "is starting up (code 57P03)", True),
        (
            "the database system is not yet accepting connections",
            "is starting up (code 57P03)",
            True,
        ),
        ("the database system is shutting down", "is shutting down (code 57P03)", True),
        (
            "terminating connection due to administrator command",
            "is shutting down (code 57P03)",
            True,
        ),
        (
            "sorry, too many clients already",
            "takes no further connections at present (code 53300)",
            True,
        ),
        (
            "remaining connection slots are reserved for roles with the SUPERUSER attribute",
            "takes no further connections at present (code 53300)",
            True,
        ),
        ("canceling authentication due to timeout", "ended the login (code 57P02)", True),
        (
            'Peer authentication failed for user "u"',
            "refused the login: see the method in pg_hba.conf for this user (code 28000)",
            False,
        ),
        ("SASL authentication failed", f"{WRONG} (code 28P01)", False),  # PgBouncer
        ("no such database: d", "has no such database (code 3D000)", False),
        ("out of memory", f"{NO_ROOM} (code 53200)", True),
        ("out of shared memory", f"{NO_ROOM} (code 53200)", True),
        (
            "could not fork new process for connection: Resource temporarily unavailable",
            "takes no further connections at present (code 53000)",
            True,
        ),
        (
            "client connections exceeded (max_user_client_connections)",
            "takes no further connections at present (code 53300)",
            True,
        ),
        ("pgbouncer cannot connect to server", NO_BACKEND, True),
        ("query_wait_timeout", NO_BACKEND, True),
        (
            "unsupported startup parameter: options",
            "is a pooler that takes no such options in a URL: see ignore_startup_parameters",
            False,
        ),
        ("client_login_timeout (server down)", NO_BACKEND, True),
        (
            "server login has been failing, cached error: connect failed (server_login_retry)",
            NO_BACKEND,
            True,
        ),
        (
            "server login has been failing, cached error: "
            "FATAL:  password authentication failed for "
            'user "u" (server_login_retry)',
            NO_BACKEND,
            True,
        ),
        # A name may hold words of another row.
        ('database "out of memory" does not exist', "has no such database (code 3D000)", False),
        (
            'role "sorry, too many clients already" does not exist',
            "has no such user (role) (code 28000)",
            False,
        ),
    ],
)  # fmt: skip
def test_words_of_postgres(text: str, words: str, retryable: bool) -> None:
    with Stub(postgres("FATAL", text)) as stub:
        url = f"postgresql://u:{SECRET}@127.0.0.1:{stub.port}/d?sslmode=disable"
        found, _, may_pass, attempts = refused(url, connect_timeout=20.0)
    assert (found, may_pass, attempts) == (words, retryable, 4 if retryable else 1)
    assert not stub.failures


@pytest.mark.parametrize("severity", ["FATAL", "КРИТИЧЕСКАЯ ОШИБКА", "致命错误"])
def test_words_that_nobody_knows(severity: str) -> None:
    with Stub(postgres(severity, "die Datenbank will nicht")) as stub:
        url = f"postgresql://u:{SECRET}@127.0.0.1:{stub.port}/d?sslmode=disable"
        words, code, retryable, attempts = refused(url, connect_timeout=20.0)
    assert ("lc_messages" in words, code, retryable, attempts) == (True, None, False, 1)


def test_a_server_that_cannot_fork() -> None:
    """It says so before it speaks the protocol, and without a severity."""

    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(
            b"Ecould not fork new process for connection: Cannot allocate memory\n\0"
        )
        connection.close()

    with Stub(serve) as stub:
        url = f"postgresql://u:{SECRET}@127.0.0.1:{stub.port}/d?sslmode=disable"
        found = refused(url, connect_timeout=20.0)
    assert found == ("takes no further connections at present", None, True, 4)


def hang_up(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.close()


def test_a_server_that_hangs_up() -> None:
    with Stub(hang_up) as stub:
        url = f"postgresql://u:{SECRET}@127.0.0.1:{stub.port}/d?sslmode=disable"
        found = refused(url, connect_timeout=20.0)
    assert found == ("could not be reached: it ended the connection", None, True, 4)


# --- MySQL gives codes


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariaDbServer]:
    server = _or_skip(lambda: private("mariadb"))
    assert isinstance(server, MariaDbServer)
    with contextlib.closing(infra.create_pool(infra.DatabaseConfig(url=server.url))) as pool:
        for statement in (
            "CREATE USER locked IDENTIFIED BY 'x' ACCOUNT LOCK",
            "CREATE USER expired IDENTIFIED BY 'x' PASSWORD EXPIRE",
            f"CREATE USER known IDENTIFIED BY '{SECRET}'",
            "GRANT ALL ON *.* TO known",
            "CREATE USER tls IDENTIFIED BY 'x' REQUIRE SSL",
            "SET GLOBAL disconnect_on_expired_password = ON",
        ):
            pool.execute(statement)
    yield server
    server.stop()


@pytest.mark.parametrize(
    ("user", "words", "code"),
    [
        ("locked", "has locked this user: see ALTER USER … ACCOUNT UNLOCK (code 4151)", 4151),
        ("expired", "wants a new password for this user: see ALTER USER (code 1862)", 1862),
        (
            "tls",
            "refused the login: check user, password, database and host, or whether "
            "the user has to "
            "come with TLS: sslmode=disable is set (code 1045)",
            1045,
        ),
    ],
)
def test_codes_of_mysql(mariadb: MariaDbServer, user: str, words: str, code: int) -> None:
    url = mariadb.url.replace("root@", f"{user}:x@") + "?sslmode=disable"
    assert refused(url) == (words, code, False, 1)


def mysql(code: int, text: str) -> Callable[[socket.socket], None]:
    """A server that says that instead of its greeting."""

    def serve(connection: socket.socket) -> None:
        answer = b"\xff" + struct.pack("<H", code) + text.encode()
        connection.sendall(struct.pack("<I", len(answer))[:3] + b"\0" + answer)
        connection.close()

    return serve


LOST = "could not be reached, or ended the connection"


@pytest.mark.parametrize(
    ("code", "text", "words", "retryable"),
    [
        (
            1135,
            "Can't create a new thread (errno 11)",
            "takes no further connections at present",
            True,
        ),
        (1041, "Out of memory", NO_ROOM, True),
        (3032, "The server is currently in offline mode", "is in offline mode", True),
        (
            1129,
            "Host '10.0.0.1' is blocked because of many connection errors",
            "has blocked this client's address after failed logins: see FLUSH HOSTS",
            False,
        ),
        (
            1042,
            "Can't get hostname for your address",
            "cannot look up the name of this client's address",
            True,
        ),
        (1043, "Bad handshake", LOST, True),
        (1152, "Aborted connection 1 to db", LOST, True),
        (1158, "Got an error reading communication packets", LOST, True),
        (1159, "Got timeout reading communication packets", LOST, True),
        (
            9001,
            "Max connect timeout reached while reaching hostgroup 0 after 10000ms",
            NO_BACKEND,
            True,
        ),
        (
            1047,
            "WSREP has not yet prepared node for application use",
            "is a node of a cluster that is not ready yet",
            True,
        ),
        (
            1999,
            "a code that nobody knows",
            "refused the login: see its manual or its log for the reason",
            False,
        ),
    ],
)
def test_codes_that_pass(code: int, text: str, words: str, retryable: bool) -> None:
    with Stub(mysql(code, text)) as stub:
        url = f"mysql://u:{SECRET}@127.0.0.1:{stub.port}/d?sslmode=disable"
        found = refused(url, connect_timeout=20.0)
    assert found == (f"{words} (code {code})", code, retryable, 4 if retryable else 1)
    assert not stub.failures


class OnlyOne(Proxy):
    """Forwards the first connection. The next login gets no answer, but SIGALRM."""

    def _serve(self, client: socket.socket) -> None:
        if self.connections == 1:
            super()._serve(client)
            return
        greet(client)
        client.recv(1)
        os.kill(os.getpid(), signal.SIGALRM)


def test_a_signal_while_a_statement_is_being_killed_leaves_no_password(
    mariadb: MariaDbServer, on_alarm: Callable[[BaseException], None]
) -> None:
    on_alarm(KeyboardInterrupt())
    with OnlyOne(mariadb.port) as proxy:
        url = mariadb.url.replace("root@", f"known:{SECRET}@")
        url = url.replace(f":{mariadb.port}", f":{proxy.port}") + "?sslmode=disable"
        config = infra.DatabaseConfig(url, idle_timeout=1.0, connect_timeout=30.0)
        with infra.create_pool(config) as pool, pytest.raises(KeyboardInterrupt) as caught:
            next(pool.stream("SELECT SLEEP(30)"))
        assert proxy.connections == 2
    assert SECRET not in locals_of(caught.value)
