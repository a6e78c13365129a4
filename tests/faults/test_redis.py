"""Faults of RedisClient: killed, paused and restarted servers, lost replies, forks, threads."""

from __future__ import annotations

import contextlib
import gc
import io
import itertools
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import infra
from tests.contract.backends import (
    WAIT,
    Inbox,
    ShiftedClock,
    eventually,
    in_background,
    in_child,
    in_threads,
    raw_redis,
)
from tests.contract.base import public_names
from tests.faults.proxy import Proxy, ScriptedRedis, Stub
from tests.interrupts import interruptions
from tests.services import RedisServer, Server, free_port

SLACK = 10.0  # seconds that a busy machine may add to a deadline


def client_of(
    url: str,
    clock: infra.Clock | None = None,
    observer: Callable[[infra.Call], None] | None = None,
    **options: Any,
) -> infra.RedisClient:
    return infra.RedisClient(infra.CacheConfig(url=url, **options), clock=clock, observer=observer)


@contextlib.contextmanager
def no_free_connection(server: Server) -> Iterator[tuple[infra.RedisClient, ShiftedClock, Proxy]]:
    """A client of one connection, on which another thread waits for an answer."""
    clock = ShiftedClock()
    with (
        Proxy(server.port) as proxy,
        client_of(
            f"redis://127.0.0.1:{proxy.port}", clock, pool_size=1, deadline=60, socket_timeout=60
        ) as client,
    ):
        proxy.open.clear()
        join = in_background(lambda: client.get("held"))
        eventually(lambda: proxy.kept)
        yield client, clock, proxy
        proxy.open.set()
        join()


@pytest.fixture
def server(private_server: Callable[[str], Server]) -> Server:
    return private_server("redis")


@pytest.fixture
def raw(server: Server) -> Iterator[Any]:
    """redis-py itself, to look at the server from outside."""
    import redis

    with redis.Redis.from_url(server.url) as client:
        yield client


@pytest.mark.parametrize(("owner", "name"), [(socket, "socketpair"), (threading.Thread, "start")])
def test_a_listener_that_cannot_begin_leaves_no_connection(
    server: Server, raw: Any, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    """As when the process has no descriptor or no thread left."""

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError("there is none left")

    with client_of(server.url) as client:
        client.get("k")
        before = {each["id"] for each in raw.client_list()}
        gc.collect()  # what earlier tests have left open
        files = len(os.listdir("/dev/fd"))
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fail)
            with pytest.raises(OSError, match="none left") as caught:
                client.listen(lambda *_: None)
        assert caught.value.__traceback__ is not None  # it keeps the listener alive
        assert len(os.listdir("/dev/fd")) <= files
        eventually(lambda: {each["id"] for each in raw.client_list()} == before)
        with client.listen(lambda *_: None) as listener:
            listener.subscribe("c")


# --- connections that fail


@pytest.mark.real
@pytest.mark.parametrize(
    "call", [lambda c: c.get("k"), lambda c: c.increment("k"), lambda c: c.listen(Inbox())]
)
def test_a_closed_port(call: Callable[[infra.RedisClient], Any]) -> None:
    port = free_port()
    started = time.monotonic()
    with (
        client_of(f"redis://127.0.0.1:{port}") as client,
        pytest.raises(infra.ConnectionError) as caught,
    ):
        call(client)
    assert time.monotonic() - started < 5 + SLACK
    assert (
        str(caught.value) == f"redis at 127.0.0.1:{port} could not be reached: Connection refused"
    )
    assert (caught.value.service, caught.value.retryable) == ("redis", True)
    assert isinstance(caught.value, OSError)


@pytest.mark.real
def test_a_host_with_many_addresses_that_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as full,
        contextlib.ExitStack() as waiting,
    ):
        for _ in range(3):  # the queue is full: further connections wait
            filler = waiting.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        address = (socket.AF_INET, socket.SOCK_STREAM, 0, "", full.getsockname())
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [address] * 100)
        started = time.monotonic()
        client = client_of("redis://many.test", connect_timeout=0.3, deadline=0.6)
        with client, pytest.raises(infra.InfrastructureError):
            client.get("k")
        assert time.monotonic() - started < 0.6 + SLACK


@pytest.mark.real
def test_an_unknown_host() -> None:
    with (
        client_of("redis://no-such-host.invalid", retries=0) as client,
        pytest.raises(infra.ConnectionError, match="host name"),
    ):
        client.get("k")


@pytest.mark.real
def test_what_the_caller_is_handling_is_not_the_cause() -> None:
    with (
        Stub(lambda _: None) as server,  # says nothing
        client_of(f"redis://127.0.0.1:{server.port}", socket_timeout=0.5, retries=0) as client,
    ):
        try:
            raise ConnectionRefusedError(111, "Connection refused")
        except OSError:
            with pytest.raises(infra.TimeoutError, match=r"did not answer in time$"):
                client.get("k")


@pytest.mark.parametrize("operation", ["get", "increment"])
def test_killed_and_restarted_between_calls(server: Server, operation: str) -> None:
    with client_of(server.url) as client:
        client.set("k", "1")
        server.kill()
        server.start()
        assert getattr(client, operation)("k") == (None if operation == "get" else 1)


def test_down_for_a_moment_is_bridged(server: Server) -> None:
    calls: list[infra.Call] = []

    def observer(call: infra.Call) -> None:
        calls.append(call)
        if len(calls) == 3:  # "set", and two attempts that have failed
            server.start()

    with client_of(server.url, deadline=30, retries=100, observer=observer) as client:
        client.set("k", "1")
        server.kill()
        assert client.increment("k") == 1
    assert [call.outcome for call in calls] == ["ok", "ConnectionError", "ConnectionError", "ok"]


def test_paused(server: Server) -> None:
    calls: list[infra.Call] = []
    with (
        client_of(server.url) as client,
        client_of(
            server.url, socket_timeout=0.2, deadline=2, retries=1000, observer=calls.append
        ) as hasty,
    ):
        assert client.increment("k") == 1
        server.pause()
        for call, repeated in (
            (lambda: hasty.get("k"), True),  # until the deadline
            (lambda: hasty.increment("k"), False),  # sent on a new connection, and not answered
        ):
            calls.clear()
            started = time.monotonic()
            with pytest.raises(infra.TimeoutError) as caught:
                call()
            assert time.monotonic() - started < 2 + SLACK
            assert isinstance(caught.value, TimeoutError)
            assert (len(calls) > 1) is repeated
        server.resume()
        eventually(lambda: client.get("k") == "2")  # what timed out took effect, once


def test_paused_after_the_command_was_sent(server: Server) -> None:
    with client_of(server.url, socket_timeout=1.5) as client:
        assert client.increment("k") == 1
        server.pause()
        with pytest.raises(infra.TimeoutError):
            client.increment("k")
        server.resume()
        eventually(lambda: client.get("k") == "2")  # the one that timed out took effect, once


CALLS: dict[str, tuple[Callable[[infra.KeyValueClient], Any], str]] = {
    "get": (lambda c: c.get("k"), "get"),
    "get_many": (lambda c: c.get_many(["k"]), "get"),
    "exists": (lambda c: c.exists("k"), "exists"),
    "ttl": (lambda c: c.ttl("k"), "pttl"),
    "set": (lambda c: c.set("k", "1"), "set"),
    "set_with_expiry": (lambda c: c.set_with_expiry("k", "1", 60), "set"),
    "set_many": (lambda c: c.set_many({"k": "1"}), "set"),
    "scan": (lambda c: list(c.scan()), "scan"),
    "set_nx": (lambda c: c.set_nx("k", "1"), "set"),
    "delete": (lambda c: c.delete("k"), "del"),
    "delete_many": (lambda c: c.delete_many(["k"]), "del"),
    "unlink_many": (lambda c: c.unlink_many(["k"]), "unlink"),
    "compare_and_delete": (lambda c: c.compare_and_delete("k", "1"), "eval"),
    "expire": (lambda c: c.expire("k", 5), "pexpire"),
    "increment": (lambda c: c.increment("k", 1, 60), "incrby"),
    "publish": (lambda c: c.publish("k", "1"), "publish"),
    "health_check": (lambda c: c.health_check(), "info"),
}
ASKS_NOBODY = {"close", "listen", "stats"}
REPEATED = {"get", "get_many", "exists", "ttl", "set", "set_with_expiry", "set_many", "scan"}


def test_the_table_of_calls_is_complete() -> None:
    assert set(CALLS) == public_names(infra.KeyValueClient) - ASKS_NOBODY


@pytest.mark.parametrize("method", CALLS)
def test_a_lost_reply(server: Server, raw: Any, method: str) -> None:
    call, command = CALLS[method]
    with Proxy(server.port) as proxy, client_of(f"redis://127.0.0.1:{proxy.port}") as client:
        client.exists("warm")  # the connection stands: the next reply is that of the call
        raw.config_resetstat()
        proxy.swallow = True
        if method in REPEATED:
            call(client)
        else:
            with pytest.raises(infra.ConnectionError) as caught:
                call(client)
            assert caught.value.retryable is True  # for the caller to decide
        times = raw.info("commandstats")[f"cmdstat_{command}"]["calls"]
        assert (proxy.swallowed, times) == (1, 2 if method in REPEATED else 1)


# --- servers that misbehave


def slow(seconds: float, every: int = 1) -> Callable[[list[bytes], Callable[[bytes], None]], None]:
    """Each ``every``-th command takes its time."""
    turns = itertools.count(1)

    def answer(words: list[bytes], send: Callable[[bytes], None]) -> None:
        time.sleep(0 if next(turns) % every else seconds)
        send(b"+OK\r\n")

    return answer


@pytest.mark.real
@pytest.mark.parametrize(
    ("call", "pace"),
    [
        (lambda c: c.get("k"), slow(0.25)),  # AUTH and SELECT take their time too
        (lambda c: c.get_many([str(n) for n in range(20)]), slow(0.08)),
        # Four batches of 0.24 s.
        (
            lambda c: c.get_many([str(n) for n in range(4000)]),
            slow(0.12, 500),
        ),
        (lambda c: c.listen(Inbox()), slow(0.4)),
    ],
)
def test_a_slow_server_does_not_stretch_the_deadline(
    call: Callable[[infra.RedisClient], Any], pace: Any
) -> None:
    with ScriptedRedis(pace) as server:
        started = time.monotonic()
        with (
            client_of(server.url, socket_timeout=0.3, deadline=0.6, retries=1000) as client,
            pytest.raises(infra.TimeoutError),
        ):
            call(client)
        assert time.monotonic() - started < 0.6 + SLACK


@pytest.mark.real
def test_a_slow_call_leaves_no_short_timeout_behind() -> None:
    clock = ShiftedClock()

    def answer(words: list[bytes], send: Callable[[bytes], None]) -> None:
        if words[1] == b"slow":
            clock.ahead += 98.5  # the next wait is cut to what remains: 1.5 s
        elif words[1] == b"late":
            time.sleep(2.5)
        send(b"$1\r\nv\r\n" if words[0] == b"GET" else b"+OK\r\n")

    with (
        ScriptedRedis(answer) as server,
        client_of(server.url, clock, socket_timeout=50, deadline=100, retries=0) as client,
    ):
        assert client.get_many(["slow", "b"]) == {"slow": "v", "b": "v"}
        assert client.get("late") == "v"


@pytest.mark.real
def test_a_server_that_loads_its_data_has_not_acted() -> None:
    answers = iter([b"+OK\r\n", b"+OK\r\n", b"-LOADING Redis is loading the dataset in memory\r\n"])

    def answer(words: list[bytes], send: Callable[[bytes], None]) -> None:
        send(next(answers, b"+OK\r\n" if words[0] in (b"AUTH", b"SELECT") else b":7\r\n"))

    with ScriptedRedis(answer) as server, client_of(server.url) as client:
        assert client.increment("k") == 7
        assert server.commands.count(b"INCRBY") == 2


@pytest.mark.real
@pytest.mark.parametrize("apart", [False, True])
def test_a_reply_nobody_asked_for_is_no_answer_to_the_next_command(apart: bool) -> None:
    said = threading.Event()

    def answer(words: list[bytes], send: Callable[[bytes], None]) -> None:
        if words[0] != b"GET":
            return send(b"+OK\r\n")
        reply, stray = (
            b"$%d\r\nvalue-%s\r\n" % (len(words[1]) + 6, words[1]),
            b"-ERR idle timeout, closing\r\n",
        )
        if words[1] != b"a":
            send(reply)
        else:
            for each in (reply, stray) if apart else (reply + stray,):
                send(each)
            said.set()

    with ScriptedRedis(answer) as server, client_of(server.url) as client:
        assert client.get("a") == "value-a"
        assert said.wait(WAIT)
        eventually(server.has_delivered)
        assert [client.get(name) for name in "bcd"] == ["value-b", "value-c", "value-d"]


def test_a_counter_and_its_expiry_are_created_in_one_transaction(server: Server, raw: Any) -> None:
    with client_of(server.url) as client:
        raw.config_resetstat()
        client.increment("k", 1, 60)
        stats = raw.info("commandstats")
        assert [
            stats[f"cmdstat_{name}"]["calls"] for name in ("multi", "set", "incrby", "exec")
        ] == [1, 1, 1, 1]


# --- what the server refuses


def test_a_wrong_password(server: Server, raw: Any) -> None:
    raw.config_set("requirepass", "right-secret")
    for url in (
        server.url,
        f"redis://:wrong-secret@127.0.0.1:{server.port}",
        f"redis://u:wrong-secret@127.0.0.1:{server.port}",
    ):
        config = infra.CacheConfig(url=url)
        with (
            infra.RedisClient(config) as client,
            pytest.raises(infra.ConnectionError, match="refused the login") as caught,
        ):
            client.get("k")
        assert caught.value.retryable is False
        shown = "".join(traceback.format_exception(caught.value)) + repr(config) + repr(client)
        assert "secret" not in shown
    with client_of(f"redis://:right%2Dsecret@127.0.0.1:{server.port}/3") as client:
        client.set("k", "v")
    raw.execute_command("AUTH", "right-secret")
    assert raw.execute_command("INFO", "keyspace")["db3"]["keys"] == 1


def test_a_database_that_is_not_there(server: Server) -> None:
    with (
        client_of(server.url + "/99") as client,
        pytest.raises(infra.CacheError, match="refused the command"),
    ):
        client.get("k")


def test_another_type_and_foreign_bytes(server: Server, raw: Any) -> None:
    raw.lpush("list", "x")
    raw.set("bytes", b"\xff\xfe")
    before = raw.info("stats")["total_connections_received"]
    with client_of(server.url) as client:
        for call in (
            lambda: client.get("list"),
            lambda: client.increment("list"),
            lambda: client.increment("list", 1, 5),
        ):
            with pytest.raises(infra.CacheError, match="WRONGTYPE") as refused:
                call()
            assert refused.value.code == "WRONGTYPE"
        for read in (lambda: client.get("bytes"), lambda: client.get_many(["bytes"])):
            with pytest.raises(infra.SerializationError) as caught:
                read()
            assert "xff" not in "".join(traceback.format_exception(caught.value))
        assert client.increment("n") == 1
        # A refusal ends no connection.
        assert raw.info("stats")["total_connections_received"] == before + 1


def test_a_scan_ends_at_a_key_that_is_no_text(server: Server, raw: Any) -> None:
    for number in range(20):
        raw.set(b"\xff%d" % number, 1)
    with client_of(server.url) as client:
        keys = client.scan()
        with pytest.raises(infra.SerializationError) as caught:
            list(keys)
        assert "xff" not in "".join(traceback.format_exception(caught.value))
        assert list(keys) == []


#: what a server says: whether a cache that fails open takes it for an outage (and the caller may
#: try again), and words of the error
REFUSALS: dict[str, tuple[bool, str]] = {
    "-MISCONF Redis is configured to save RDB snapshots": (True, "could not save its data"),
    "-NOREPLICAS Not enough good replicas to write.": (True, "too few replicas"),
    "-BUSY Redis is busy running a script.": (True, "runs a script that does not end"),
    "-UNKILLABLE Sorry the script already executed write commands": (True, "runs a script"),
    "-MASTERDOWN Link with MASTER is down": (True, "has lost its master"),
    "-READONLY You can't write against a read only replica.": (True, "read-only replica"),
    "-LOADING Redis is loading the dataset in memory": (True, "still loading"),
    "-OOM command not allowed when used memory > 'maxmemory'.": (True, "out of memory"),
    "-CLUSTERDOWN The cluster is down": (True, "does not serve the key at present"),
    "-TRYAGAIN Multiple keys request during rehashing of slot": (True, "moving the key"),
    "-ERR max number of clients reached": (True, "takes no more connections"),
    "-ERR max number of clients + cluster connections reached": (True, "takes no more connections"),
    "-ERR Protocol error: invalid bulk length": (False, "proto-max-bulk-len"),
    "-NOPERM this user has no permissions": (False, "does not permit"),
    "-WRONGTYPE Operation against a key": (False, "WRONGTYPE"),
    "-ERR syntax error": (False, "refused the command"),
}


@pytest.mark.real
@pytest.mark.parametrize("reply", REFUSALS)
def test_what_a_refusal_means(reply: str) -> None:
    outage, words = REFUSALS[reply]

    def answer(words: list[bytes], send: Callable[[bytes], None]) -> None:
        send(b"+OK\r\n" if words[0] in (b"AUTH", b"SELECT") else reply.encode() + b"\r\n")

    with ScriptedRedis(answer) as server, client_of(server.url, retries=0) as client:
        cache = infra.RedisCacheProvider(client, fail_open=True)
        calls: list[Callable[[], object]] = [
            lambda: client.get("k"),
            lambda: client.set_many({"a": "1", "b": "2"}),
        ]
        for call in calls:
            with pytest.raises(infra.InfrastructureError, match=words) as caught:
                call()
            assert caught.value.retryable is outage
        if outage:
            cache.set("k", 1)
            assert cache.get("k") is None
        else:
            with pytest.raises(infra.CacheError, match=words):
                cache.set("k", 1)
        with pytest.raises(infra.CacheError):
            cache.set_nx("k", 1)


#: what is no outage that passes: the server, or the URL, has to be changed
STRANGERS = {
    "-DENIED Redis is running in protected mode because protected mode is enabled": "requirepass",
    "HTTP/1.1 400 Bad Request": "is no Redis: check the host and port",
}


@pytest.mark.real
@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
@pytest.mark.parametrize("reply", STRANGERS)
def test_a_server_that_is_not_for_us(reply: str, scheme: str) -> None:
    calls: list[infra.Call] = []

    def answer(words: list[bytes], send: Callable[[bytes], None]) -> None:
        send(reply.encode() + b"\r\n")

    with ScriptedRedis(answer) as server:
        for user in ("", ":password@"):
            url = f"{scheme}://{user}127.0.0.1:{server.port}"
            with client_of(url, observer=calls.append) as client:
                with pytest.raises(infra.ConnectionError, match=STRANGERS[reply]) as caught:
                    client.get("k")
                assert (caught.value.retryable, calls[-1].attempt) == (False, 1)
                assert infra.RedisCacheProvider(client, fail_open=True).get("k", "no") == "no"


def cannot_save(server: Server, raw: Any) -> Callable[[], None]:
    """Snapshots fail from now on: a folder lies where they should go."""
    (server.folder / "dump.rdb").mkdir()
    raw.config_set("save", "3600 1")
    raw.set("x", "1")
    raw.bgsave()
    eventually(lambda: raw.info("persistence")["rdb_last_bgsave_status"] == "err")
    return lambda: None


def run_script(server: Server, raw: Any) -> Callable[[], None]:
    """A script runs until the returned function ends it."""
    assert isinstance(server, RedisServer)
    raw.config_set("lua-time-limit", 1)

    def run() -> None:
        with pytest.raises(Exception, match="killed by user"):
            raw.eval("while true do end", 0)

    def end() -> None:
        server.ask("SCRIPT KILL")
        join()

    join = in_background(run)
    eventually(lambda: server.ask("PING").startswith(b"-BUSY"))
    return end


@pytest.mark.parametrize("kind", ["redis", "redis-6.2"])
@pytest.mark.parametrize(
    ("trouble", "words"),
    [(cannot_save, "could not save its data"), (run_script, "runs a script that does not end")],
)
def test_a_server_in_trouble(
    private_server: Callable[[str], Server],
    kind: str,
    trouble: Callable[[Server, Any], Callable[[], None]],
    words: str,
) -> None:
    server = private_server(kind)
    with raw_redis(server.url) as raw, client_of(server.url) as client:
        client.set("k", "1")
        end = trouble(server, raw)
        try:
            for name, write in WRITES.items():
                with pytest.raises(infra.CacheError, match=words) as caught:
                    write(client)
                assert caught.value.retryable is True, name
            cache = infra.RedisCacheProvider(client, fail_open=True)
            cache.set("k", 1)
            assert cache.get_or_set("new", lambda: 7) == 7
            assert cache.delete("k") is False
            for call in (lambda: cache.increment("k"), lambda: cache.check_rate_limit("k", 1, 1)):
                with pytest.raises(infra.CacheError, match=words):
                    call()
        finally:
            end()
        assert client.get("k") == "1"


def refusal_of(call: Callable[[], object]) -> str:
    """Return why a server that takes no more connections refuses the call.

    Redis says so by "best effort" (its networking.c), and ends the connection. On a busy machine
    only the reset has arrived, once.
    """
    for _ in range(5):
        with pytest.raises(infra.ConnectionError) as caught:
            call()
        assert caught.value.retryable is True
        if "reset by peer" not in str(caught.value):
            break
    return str(caught.value)


def test_too_many_clients(server: Server, raw: Any) -> None:
    raw.ping()
    raw.config_set("maxclients", 1)
    for url in (server.url, f"redis://:secret@127.0.0.1:{server.port}/1"):
        with client_of(url, retries=0) as client:
            assert "takes no more connections" in refusal_of(lambda: client.get("k"))
            assert infra.RedisCacheProvider(client, fail_open=True).get("k", "no") == "no"
    raw.config_set("maxclients", 100)
    with client_of(server.url) as client:
        assert client.get("k") is None


@pytest.mark.real
@pytest.mark.parametrize(
    ("info", "name"),
    [
        ("redis_version:7.2.4\r\nvalkey_version:9.1.2\r\nserver_mode:cluster\r\n", "Valkey 9.1.2"),
        ("redis_version:7.2.4\r\nvalkey_version:8.0.1\r\nredis_mode:cluster\r\n", "Valkey 8.0.1"),
        ("redis_version:7.0.15\r\nredis_mode:cluster\r\n", "Redis 7.0.15"),
    ],
)
def test_a_cluster_is_named_as_one(info: str, name: str) -> None:
    """Valkey calls its mode server_mode, Redis redis_mode."""

    def answer(words: list[bytes], send: Callable[[bytes], None]) -> None:
        if words[0] == b"CLUSTER":
            host = b"$9\r\n127.0.0.1\r\n"
            send(b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n%s:%d\r\n" % (host, scripted.port))
        elif words[0] == b"INFO":
            send(b"$%d\r\n%s\r\n" % (len(info), info.encode()))
        else:
            send(b"+OK\r\n")

    with (
        ScriptedRedis(answer) as scripted,
        client_of(f"redis+cluster://127.0.0.1:{scripted.port}") as client,
    ):
        assert client.health_check().server == f"{name}, cluster of 1"


@pytest.mark.parametrize("kind", ["redis", "redis-6.2", "redis-cluster"])
@pytest.mark.parametrize(
    ("limit", "size"),
    [
        ("proto-max-bulk-len", (1 << 20) + 1),
        ("proto-max-bulk-len", 10 << 20),
        ("client-query-buffer-limit", 2 << 20),
        ("client-query-buffer-limit", 10 << 20),
    ],
)
def test_a_value_above_the_limit(
    private_server: Callable[[str], Any], kind: str, limit: str, size: int
) -> None:
    """The server ends the connection while we still send, and says why at the first limit only.
    Whether we met that or its answer made a ConnectionError or a CacheError of it, and some methods
    sent it four times."""
    server, large = private_server(kind), "v" * size
    says_why = limit == "proto-max-bulk-len"
    for node in getattr(server, "nodes", [server]):
        with raw_redis(f"redis://127.0.0.1:{node.port}") as raw:
            raw.config_set(limit, 1 << 20)
    calls: dict[str, Callable[[infra.RedisClient], Any]] = {
        "set": lambda c: c.set("k", large),
        "set_with_expiry": lambda c: c.set_with_expiry("k", large, 60),
        "set_nx": lambda c: c.set_nx("k2", large),
        "set_many": lambda c: c.set_many({"a": "1", "b": large, "d": "1"}),
        "compare_and_delete": lambda c: c.compare_and_delete("k", large),
        "publish": lambda c: c.publish("c", large),
        "get": lambda c: c.get(large),
        "get_many": lambda c: c.get_many(["a", large]),
        "delete": lambda c: c.delete(large),
        "unlink_many": lambda c: c.unlink_many(["a", large]),
        "increment": lambda c: c.increment(large, 1, 60),
        "scan": lambda c: [*c.scan(large)],
        "a cache's set": lambda c: infra.RedisCacheProvider(c, fail_open=True).set("k", large),
        "get_or_set": lambda c: infra.RedisCacheProvider(c).get_or_set("new", lambda: large),
    }
    attempts: list[infra.Call] = []
    with client_of(server.url, observer=attempts.append) as client:
        for name, call in calls.items():
            attempts.clear()
            with pytest.raises(infra.CacheError, match="no key or value of that size") as caught:
                call(client)
            assert (caught.value.retryable, caught.value.service) == (False, "redis"), name
            assert "see its proto-max-bulk-len and client-query-buffer-limit" in str(caught.value)
            assert [each.attempt for each in attempts if each.outcome != "ok"] == [1], name
            if kind != "redis-cluster":  # the server ends the connection, so it is not used again
                assert client.stats().idle == (name == "get_or_set"), name
            client.set("k", "v" * (1 << (20 if says_why else 19)))
        assert [*client.scan("~*")] == []  # no lock is left
        with client.listen(print) as listener:
            if says_why:
                with pytest.raises(infra.CacheError, match="no key or value of that size"):
                    listener.subscribe(large)
            listener.subscribe("c")


def test_a_user_who_may_not_ask_for_the_limits(server: Server, raw: Any) -> None:
    """The first limit is still found; the connection that ends at the second is an outage."""
    raw.execute_command("ACL", "SETUSER", "u", "on", ">p", "~*", "+@all", "-config")
    with client_of(server.url.replace("://", "://u:p@"), retries=0) as client:
        for limit, error in (
            ("client-query-buffer-limit", infra.ConnectionError),
            ("proto-max-bulk-len", infra.CacheError),
        ):
            raw.config_set(limit, 1 << 20)
            with pytest.raises(error):
                client.set("k", "v" * (4 << 20))


def test_subscribing_again_waits_for_a_script(
    server: Server, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A subscription that is refused for the moment is not given up: nobody would make it anew."""
    inbox = Inbox()
    with (
        Proxy(server.port) as proxy,
        client_of(f"redis://127.0.0.1:{proxy.port}", deadline=60) as client,
        client.listen(inbox, inbox.on_reconnect) as listener,
    ):
        listener.subscribe("c")
        end = run_script(server, raw)
        proxy.swallow = True  # the answer to the next command, with the connection
        join = in_background(lambda: listener.subscribe("d"))
        eventually(lambda: len([r for r in caplog.records if "connecting again" in r.message]) >= 3)
        end()
        join()
        assert (client.publish("c", "1"), client.publish("d", "2")) == (1, 1)
        assert inbox.wait(2) == [("c", None, "1"), ("d", None, "2")]


def test_a_full_memory(server: Server, raw: Any) -> None:
    raw.config_set("maxmemory", "1")
    with client_of(server.url) as client:
        for call in (
            lambda: client.set("k", "v"),
            lambda: client.increment("k", 1, 5),
            lambda: client.set_nx("k", "v"),
        ):
            with pytest.raises(infra.CacheError, match=r"out of memory|refused") as caught:
                call()
            assert caught.value.retryable is True
        assert client.get("k") is None


# --- listeners


def test_a_listener_survives_client_kill(server: Server, raw: Any) -> None:
    inbox = Inbox()
    with client_of(server.url) as client, client.listen(inbox, inbox.on_reconnect) as listener:
        listener.subscribe("c")
        listener.psubscribe("p*")
        for times in (1, 2):
            assert raw.client_kill_filter(_type="pubsub") == 1
            inbox.wait_reconnects(times)
            assert (client.publish("c", "1"), client.publish("p1", "2")) == (1, 1)
            assert inbox.wait(2 * times)[-2:] == [("c", None, "1"), ("p1", "p*", "2")]
        assert inbox.reconnects == 2


def test_a_listener_survives_a_restart(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    inbox = Inbox()
    with client_of(server.url) as client, client.listen(inbox, inbox.on_reconnect) as listener:
        listener.subscribe("c")
        server.kill()
        eventually(lambda: len([r for r in caplog.records if "connecting again" in r.message]) >= 2)
        server.start()
        inbox.wait_reconnects(1)
        assert client.publish("c", "1") == 1
        assert inbox.wait(1) == [("c", None, "1")]
        listener.subscribe("d")
        assert client.publish("d", "2") == 1


def test_subscribing_while_the_server_is_away(server: Server) -> None:
    inbox = Inbox()
    with (
        client_of(server.url, deadline=2) as client,
        client.listen(inbox, inbox.on_reconnect) as listener,
    ):
        server.kill()
        with pytest.raises(infra.TimeoutError):
            listener.subscribe("c")
        server.start()
        inbox.wait_reconnects(1)
        listener.subscribe("d")
        eventually(lambda: client.publish("d", "1") == 1)
        assert client.publish("c", "2") == 0  # the call that failed left nothing behind


def test_a_subscribe_in_vain_leaves_earlier_subscriptions(server: Server) -> None:
    inbox = Inbox()
    with (
        client_of(server.url) as client,
        client_of(server.url, deadline=1.5) as hasty,
        hasty.listen(inbox) as listener,
    ):
        listener.subscribe("a")
        server.pause()
        with pytest.raises(infra.TimeoutError):
            listener.subscribe("a", "b")
        with pytest.raises(infra.TimeoutError):
            listener.psubscribe("c*")
        server.resume()
        with raw_redis(server.url) as raw:
            taken_back = {"cmdstat_unsubscribe", "cmdstat_punsubscribe"}
            eventually(lambda: taken_back <= raw.info("commandstats").keys())
        assert [client.publish(channel, "") for channel in ("a", "b", "c")] == [1, 0, 0]


def test_threads_that_change_one_subscription_wait_for_their_own_answer(
    server: Server, caplog: Any
) -> None:
    inbox = Inbox()
    with client_of(server.url, deadline=30) as client, client.listen(inbox) as listener:
        listener.subscribe("bystander")

        def work(number: int) -> None:
            for turn in range(200):
                if number == 2:
                    client.publish("bystander", str(turn))
                else:
                    (listener.subscribe if number else listener.unsubscribe)("c")

        assert in_threads(3, work) == [None] * 3
        assert [payload for _, _, payload in inbox.wait(200)] == [str(turn) for turn in range(200)]
        assert caplog.records == []
        listener.subscribe("c")
        assert client.publish("c", "1") == 1
        listener.unsubscribe("c")
        assert client.publish("c", "1") == 0


def test_a_forbidden_channel(server: Server, raw: Any) -> None:
    calls: list[Callable[[infra.Listener], None]] = [
        lambda x: x.subscribe("ok2", "secret"),
        lambda x: x.psubscribe("s*"),
    ]
    raw.execute_command("ACL", "SETUSER", "u", "on", ">p", "~*", "+@all", "resetchannels", "&ok*")
    inbox = Inbox()
    with (
        client_of(f"redis://u:p@127.0.0.1:{server.port}") as client,
        client.listen(inbox, inbox.on_reconnect) as listener,
    ):
        listener.subscribe("ok1")
        for call in calls:
            with pytest.raises(infra.CacheError) as caught:
                call(listener)
            assert (caught.value.service, caught.value.operation) in (
                ("redis", "subscribe"),
                ("redis", "psubscribe"),
            )
        with pytest.raises(infra.CacheError):
            client.publish("secret", "m")
        assert client.publish("ok1", "1") == 1
        eventually(lambda: client.publish("ok2", "2") == 0)
        # Ends connections that hold the channel.
        raw.execute_command("ACL", "SETUSER", "u", "resetchannels", "&other")
        assert inbox.wait(1)[0] == ("ok1", None, "1")
        inbox.wait_reconnects(1)
        listener.subscribe("other")
        assert client.publish("other", "3") == 1


def test_a_quiet_listener_is_left_alone(
    server: Server, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Two at once: each pings after five seconds of silence, and waits a second for the reply."""
    inbox = Inbox()

    def pings() -> int:
        return int(raw.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"])

    with (
        client_of(server.url, socket_timeout=1) as client,
        client.listen(inbox, inbox.on_reconnect) as unused,
        client.listen(inbox, inbox.on_reconnect) as listener,
    ):
        listener.subscribe("c")
        connected = {each["id"] for each in raw.client_list()}
        eventually(lambda: pings() >= 4, 30)
        assert pings() <= 6  # not one after the other
        for each in (unused, listener):
            each.subscribe("d")  # its answer comes behind that to the PING
        assert client.publish("c", "1") == 1
        assert inbox.wait(1) == [("c", None, "1")]
        assert (inbox.reconnects, caplog.records) == (0, [])
        assert connected <= {each["id"] for each in raw.client_list()}


def test_a_listener_notices_a_dead_peer(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    inbox = Inbox()
    with (
        client_of(server.url) as client,
        client_of(server.url, socket_timeout=0.1) as hasty,
        hasty.listen(inbox, inbox.on_reconnect) as listener,
    ):
        listener.subscribe("c")
        server.pause()
        caplog.clear()
        eventually(lambda: "lost its connection (TimeoutError); connecting again" in caplog.text)
        server.resume()
        inbox.wait_reconnects(1)
        eventually(lambda: client.publish("c", "1") and inbox.messages)
        assert inbox.messages[0] == ("c", None, "1")


@pytest.mark.real
def test_half_a_message_holds_nobody_up() -> None:
    def answer(words: list[bytes], send: Callable[[bytes], None]) -> None:
        if words[0] != b"SUBSCRIBE":
            return send(b"+OK\r\n")
        send(b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n")
        send(b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1000000\r\n")
        while True:
            send(b"x")
            time.sleep(0.02)

    with (
        ScriptedRedis(answer) as server,
        client_of(server.url, deadline=1.5) as client,
    ):
        listener = client.listen(Inbox())
        listener.subscribe("c")
        started = time.monotonic()
        with pytest.raises(infra.TimeoutError):
            listener.subscribe("d")
        listener.close()
        assert time.monotonic() - started < 2 * 1.5 + SLACK


def test_a_message_that_is_not_utf8_is_dropped(
    server: Server, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    inbox = Inbox()
    with client_of(server.url) as client, client.listen(inbox) as listener:
        listener.subscribe("c")
        raw.publish("c", b"\xff\xfe")
        raw.publish("c", "fine")
        assert inbox.wait(1) == [("c", None, "fine")]
    assert "not UTF-8" in caplog.text


def test_a_raising_on_reconnect_hinders_nobody(server: Server, raw: Any) -> None:
    inbox = Inbox()

    def on_reconnect() -> None:
        inbox.on_reconnect()
        raise RuntimeError("a mistake")

    with client_of(server.url) as client, client.listen(inbox, on_reconnect) as listener:
        listener.subscribe("c")
        raw.client_kill_filter(_type="pubsub")
        inbox.wait_reconnects(1)
        client.publish("c", "1")
        inbox.wait(1)


def test_subscribing_again_waits_for_the_server(server: Server) -> None:
    """A handler unsubscribes without waiting, and subscribes again before the reply arrives."""
    inbox, left = Inbox(), threading.Event()

    def handler(channel: str, pattern: str | None, payload: str) -> None:
        listener.unsubscribe("c")
        left.set()
        inbox(channel, pattern, payload)

    with client_of(server.url) as client, client.listen(handler) as listener:
        for turn in range(1, 51):
            listener.subscribe("c")
            assert client.publish("c", str(turn)) == 1
            assert left.wait(WAIT)
            left.clear()
        assert [payload for _, _, payload in inbox.wait(50)] == [str(turn) for turn in range(1, 51)]


def test_a_handler_that_exits_stops_its_listener_cleanly(server: Server, raw: Any) -> None:
    def handler(*_: Any) -> None:
        raise SystemExit

    with client_of(server.url) as client:
        listener = client.listen(handler)
        listener.subscribe("c")
        client.publish("c", "1")
        eventually(lambda: raw.client_list(_type="pubsub") == [])
        with pytest.raises(infra.ConnectionError):
            listener.subscribe("d")


INTERRUPTED: dict[str, Callable[[infra.RedisClient], Any]] = {
    "a new connection": lambda c: c.get("k"),
    "an idle connection": lambda c: c.get("k"),
    "a pipeline": lambda c: c.set_many({"a": "1", "b": "2"}),
    "a transaction": lambda c: c.increment("n", ttl=60),
    "a replica": lambda c: c.set("k", "v"),
}


@pytest.mark.filterwarnings("ignore:unclosed.*:ResourceWarning")  # a socket lost in its birth
@pytest.mark.parametrize(
    ("name", "event"),
    [*((name, "line") for name in INTERRUPTED), ("an idle connection", "opcode")],
)
def test_an_interrupt_anywhere_loses_no_connection(server: Server, name: str, event: str) -> None:
    """In acquire, exchange and release: the next call gets the only connection, intact."""

    def work() -> None:
        with contextlib.suppress(infra.CacheError):
            INTERRUPTED[name](client)

    if name == "a replica":
        demote(server)
    client = client_of(server.url, pool_size=1)
    for _ in interruptions(work, event):
        stats = client.stats()
        assert (stats.in_use, stats.waiting, stats.open <= 1) == (0, 0, True)
        assert client.get("nothing") is None
        assert client.exists("nothing") is False
        assert client.stats() == infra.PoolStats(1, 1, 0, 1, 0)
        if name == "a new connection":
            client.close()
            client = client_of(server.url, pool_size=1)
    client.close()


@pytest.mark.real
def test_an_interrupt_before_a_late_answer() -> None:
    """The next call does not get the answer of the one that was interrupted."""
    late: list[Callable[[bytes], None]] = []
    main = threading.main_thread().ident or 0

    def is_reading() -> bool:
        return "parsers" in sys._current_frames()[main].f_code.co_filename

    def answer(words: list[bytes], send: Callable[[bytes], None]) -> None:
        if words[:2] == [b"GET", b"slow"]:
            late.append(send)
            eventually(is_reading)  # an interrupt that redis-py gets as it sends is another case
            signal.pthread_kill(main, signal.SIGINT)
            return
        if words[0] == b"GET" and late:
            with contextlib.suppress(OSError):  # the connection may have been closed
                late.pop()(b"$4\r\nslow\r\n")
        send(b"$1\r\nv\r\n" if words[0] == b"GET" else b"+OK\r\n")

    with ScriptedRedis(answer) as server, client_of(server.url, pool_size=1) as client:
        assert client.get("k") == "v"
        with pytest.raises(KeyboardInterrupt):
            client.get("slow")
        assert client.get("k") == "v"


def test_listeners_have_connections_of_their_own(server: Server) -> None:
    inbox = Inbox()
    with client_of(server.url, pool_size=1) as client:
        listeners = [client.listen(inbox) for _ in range(3)]
        for listener in listeners:
            listener.subscribe("c")
        assert client.publish("c", "1") == 3


# --- a failover


def demote(server: Server) -> None:
    """Makes it a replica, of a master that does not answer. Its own connections stay."""
    with raw_redis(server.url) as raw:
        raw.replicaof("127.0.0.1", free_port())


@contextlib.contextmanager
def failing_over(
    kind: str, private_server: Callable[[str], Server], **options: Any
) -> Iterator[tuple[infra.RedisClient, Callable[[], None], Server, Server, Proxy]]:
    """A client, a function that fails over, both servers, and the proxy in front of them."""
    old, new = private_server(kind), private_server(kind)

    def fail_over() -> None:
        demote(old)
        proxy.target = new.port

    with (
        Proxy(old.port) as proxy,
        client_of(f"redis://127.0.0.1:{proxy.port}", **options) as client,
    ):
        yield client, fail_over, old, new, proxy


WRITES: dict[str, Callable[[infra.RedisClient], Any]] = {
    "set": lambda c: c.set("k", "2"),
    "set_with_expiry": lambda c: c.set_with_expiry("k", "2", 60),
    "set_many": lambda c: c.set_many({f"k{number}": "2" for number in range(3)}),
    "set_nx": lambda c: c.set_nx("absent", "2"),
    "delete": lambda c: c.delete("k"),
    "delete_many": lambda c: c.delete_many(["k", "other"]),
    "unlink_many": lambda c: c.unlink_many(["k", "other"]),
    "compare_and_delete": lambda c: c.compare_and_delete("k", "1"),
    "expire": lambda c: c.expire("k", 60),
    "increment": lambda c: c.increment("k"),
    "increment in a transaction": lambda c: c.increment("k", ttl=60),
}
AFTERWARDS: dict[str, Any] = {
    "set_nx": True,
    "delete": True,
    "delete_many": 2,
    "unlink_many": 2,
    "compare_and_delete": True,
    "expire": True,
    "increment": 2,
    "increment in a transaction": 2,
}


@pytest.mark.parametrize("kind", ["redis", "redis-6.2"])
def test_writes_after_a_failover(private_server: Callable[[str], Server], kind: str) -> None:
    """Without a retry of the policy: what a replica refuses it has not done."""
    for name, write in WRITES.items():
        with failing_over(kind, private_server, retries=0) as (client, fail_over, old, new, proxy):
            for each in (old, new):
                with raw_redis(each.url) as raw:
                    raw.mset({"k": "1", "other": "1"})
            client.exists("k")
            fail_over()
            assert write(client) == AFTERWARDS.get(name), name
            assert proxy.connections == 2, name
            assert client.stats() == infra.PoolStats(5, 1, 0, 1, 0), name
            client.set("k", "new")
            with raw_redis(new.url) as raw:
                assert raw.get("k") == b"new", name
            for each in (old, new):
                each.kill()


def test_all_old_connections_go_after_a_failover(private_server: Callable[[str], Server]) -> None:
    """Reads would go on to give the old values, without an error."""
    with failing_over("redis", private_server) as (client, fail_over, *_, proxy):
        proxy.open.clear()
        joins = [in_background(lambda: client.exists("k")) for _ in range(5)]
        eventually(lambda: proxy.kept == 5)
        proxy.open.set()
        assert [join() for join in joins] == [False] * 5
        assert client.stats().idle == 5
        client.set("k", "old")
        fail_over()
        client.set("k", "new")
        proxy.open.clear()
        joins = [in_background(lambda: client.get("k")) for _ in range(5)]
        eventually(lambda: proxy.kept == 10)
        proxy.open.set()
        assert [join() for join in joins] == ["new"] * 5


@pytest.mark.parametrize("kind", ["redis", "redis-6.2"])
def test_a_replica_stays_one(private_server: Callable[[str], Server], kind: str) -> None:
    server = private_server(kind)
    with (
        Proxy(server.port) as proxy,
        client_of(f"redis://127.0.0.1:{proxy.port}") as client,
    ):
        client.set("k", "1")
        demote(server)
        for number, (name, write) in enumerate(WRITES.items(), 2):
            with pytest.raises(infra.CacheError) as caught:
                write(client)
            assert str(caught.value).startswith(
                f"redis at 127.0.0.1:{proxy.port} is a read-only replica"
            ), name
            assert (caught.value.retryable, proxy.connections) == (True, number), name
            # The new connection was kept.
            assert client.get("k") == "1"
            assert client.stats() == infra.PoolStats(5, 1, 0, 1, 0), name
            assert proxy.connections == number, name
        with (
            client_of(f"redis://127.0.0.1:{proxy.port}") as fresh,
            pytest.raises(infra.CacheError, match="read-only replica"),
        ):
            fresh.set("k", "2")
        assert proxy.connections == number + 1  # it was new: no other was tried


@pytest.mark.parametrize("setting", ["stale", "replicas"])
def test_other_words_for_a_failover(private_server: Callable[[str], Server], setting: str) -> None:
    """MASTERDOWN from a replica without a master, and NOREPLICAS from a master without one."""
    with failing_over("redis", private_server) as (client, _, old, new, proxy):
        client.set("k", "old")
        with raw_redis(new.url) as raw:
            raw.set("k", "1")
        with raw_redis(old.url) as raw:
            if setting == "stale":
                raw.config_set("replica-serve-stale-data", "no")
                demote(old)
            else:
                raw.config_set("min-replicas-to-write", 1)
        call: Callable[[], Any] = {
            "stale": lambda: client.get("k"),
            "replicas": lambda: client.increment("k"),
        }[setting]
        with pytest.raises(infra.CacheError) as caught:
            call()
        words = {
            "stale": "is a replica that has lost its master",
            "replicas": "has too few replicas to take writes (NOREPLICAS)",
        }
        assert str(caught.value) == f"redis at 127.0.0.1:{proxy.port} {words[setting]}"
        assert (caught.value.retryable, proxy.connections) == (True, 2)
        client.health_check()  # ends no connection: its answer is no refusal
        assert proxy.connections == 2
        proxy.target = new.port
        assert call() == {"stale": "1", "replicas": 2}[setting]
        assert proxy.connections == 3


@pytest.mark.real
def test_a_failover_in_the_middle_of_a_pipeline() -> None:
    """Only what changes nothing when done twice is repeated."""
    refused = b"-READONLY You can't write against a read only replica.\r\n"
    demoted, count = False, 0

    def answer(words: list[bytes], send: Callable[[bytes], None]) -> None:
        nonlocal count
        if words[0] not in (b"SET", b"DEL"):
            return send(b"+OK\r\n")
        count += 1
        if demoted and count == 3:
            return send(refused)
        send(b"+OK\r\n" if words[0] == b"SET" else b":1\r\n")

    with ScriptedRedis(answer) as server, client_of(server.url) as client:
        client.set_many(dict.fromkeys("abcd", "1"))
        demoted, count = True, 0
        client.set_many(dict.fromkeys("abcd", "2"))
        assert count == 8
        eventually(lambda: len(server.ended) == 1)
        count = 0
        with pytest.raises(infra.CacheError, match="read-only replica"):
            client.delete_many([*"abcd"])
        assert count == 4
        client.exists("k")
        eventually(lambda: len(server.ended) == 2)


@pytest.mark.real
def test_a_transaction_that_finds_out_at_its_end() -> None:
    refused = b"-EXECABORT Transaction discarded because of: READONLY You can't write\r\n"
    execs = 0

    def answer(words: list[bytes], send: Callable[[bytes], None]) -> None:
        nonlocal execs
        if words[0] == b"EXEC":
            execs += 1
            return send(refused if execs == 2 else b"*2\r\n$-1\r\n:5\r\n")
        send(b"+OK\r\n" if words[0] in (b"AUTH", b"SELECT", b"MULTI") else b"+QUEUED\r\n")

    with ScriptedRedis(answer) as server, client_of(server.url) as client:
        assert [client.increment("k", ttl=60) for _ in range(2)] == [5, 5]
        assert execs == 3
        eventually(lambda: len(server.ended) == 1)


# --- threads, forks, closing


def test_many_threads_share_few_connections(server: Server, raw: Any) -> None:
    before = raw.info("stats")["total_connections_received"]
    with client_of(server.url, pool_size=5, deadline=30) as client:

        def work(number: int) -> None:
            for turn in range(50):
                key = f"{number}:{turn}"
                client.set(key, key)
                assert client.get(key) == key
                client.increment("sum")

        assert in_threads(32, work) == [None] * 32
        assert client.get("sum") == str(32 * 50)
    assert raw.info("stats")["total_connections_received"] - before <= 5


def test_no_connection_is_free(server: Server) -> None:
    with no_free_connection(server) as (client, clock, proxy):
        assert client.stats() == infra.PoolStats(1, 1, 1, 0, 0)
        with (
            pytest.raises(infra.PoolTimeoutError, match="1 of 1 in use") as caught,
            clock.haste(59),
        ):
            client.get("k")
        assert (caught.value.service, caught.value.operation) == ("redis", "get")
        join = in_background(lambda: client.set("k", "v"))
        eventually(lambda: client.stats().waiting == 1)
        proxy.open.set()
        assert join() is None
        assert client.get("k") == "v"


# Python 3.12 warns of threads; they are the point.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_opens_connections_of_its_own(server: Server) -> None:
    inbox = Inbox()
    with client_of(server.url) as client, client.listen(inbox, inbox.on_reconnect) as listener:
        listener.subscribe("c")
        client.set("k", "parent")

        def work() -> None:
            client.set("k", "child")
            client.close()

        in_child(work)
        assert client.get("k") == "child"
        assert client.publish("c", "still there") == 1
        assert inbox.wait(1) == [("c", None, "still there")]
        assert inbox.reconnects == 0


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_another_thread_builds_a_service(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = infra.Infrastructure(infra.Config(cache=infra.CacheConfig(url=server.url)))
    building, forked = threading.Event(), threading.Event()

    def build(*_: Any, **__: Any) -> infra.SmsService:
        building.set()
        assert forked.wait(6 * WAIT)
        return infra.MockSmsService()

    monkeypatch.setattr(infra, "create_sms_service", build)
    with services:
        join = in_background(lambda: services.sms)
        assert building.wait(WAIT)

        def work() -> None:
            signal.alarm(60)  # ends a child that hangs
            # In its only thread: a new one may have the number of the parent's that builds.
            services.redis.set("k", "child")
            services.close()

        try:
            in_child(work)
        finally:
            forked.set()
        assert isinstance(join(), infra.MockSmsService)
        assert services.redis.get("k") == "child"


def test_a_forgotten_client_warns(server: Server, raw: Any) -> None:
    client = client_of(server.url)
    client.get("k")
    client.listen(Inbox())
    forgotten = [client]
    del client

    def forget() -> None:
        forgotten.clear()
        gc.collect()

    with pytest.warns(ResourceWarning, match="RedisClient was not closed"):
        forget()
    eventually(lambda: len(raw.client_list()) == 1)
    unused = client_of(server.url)
    del unused
    gc.collect()


def test_closing_wakes_who_waits(server: Server) -> None:
    with no_free_connection(server) as (client, *_):
        join = in_background(lambda: client.get("k"))
        eventually(lambda: client.stats().waiting == 1)
        client.close()
        assert type(join()) is infra.ConnectionError
        assert (client.stats().open, client.stats().waiting) == (1, 0)  # one is at work still
    assert client.stats().open == 0


# --- nothing leaks


def test_no_secret_leaves_through_any_door(
    server: Server, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    phone, code, password = "+14155557391", "739182", "tell-nobody-739182"
    texts: list[str] = []

    def collect(call: Callable[[], Any]) -> None:
        try:
            texts.append(repr(call()))
        except Exception as error:
            texts.append("".join(traceback.format_exception(error)) + repr(error))

    sms = infra.MockSmsService(io.StringIO())
    failing = infra.MockSmsService(io.StringIO(), simulate_failure=True)
    with caplog.at_level(logging.DEBUG):
        config = infra.CacheConfig(url=f"redis://:{password}@127.0.0.1:{server.port}")
        raw.config_set("requirepass", password)
        with (
            infra.RedisClient(config) as client,
            client_of(config.url, deadline=0.3, socket_timeout=0.1) as hasty,
        ):
            cache, late = (
                infra.VerificationCache(each, key=f"{password:32}", resend_after=60)
                for each in (client, hasty)
            )
            texts += [repr(config), repr(client), repr(cache), repr(sms), repr(vars(client))]

            def everything(phone: str, code: str, cache: infra.VerificationCache = cache) -> None:
                for service in (sms, failing):
                    collect(lambda: service.send_sms(phone, f"code {code}"))
                    collect(lambda: service.send_verification_code(phone, code))
                    collect(lambda: cache.send_code(service, phone))
                collect(lambda: cache.store_code(phone, code))
                collect(lambda: cache.verify_code(phone, code[:-1] + "0"))
                for call in (cache.get_remaining_attempts, cache.code_exists, cache.get_code_ttl):
                    collect(lambda: call(phone))

            everything(phone, code)
            raw.execute_command("AUTH", password)
            dump = {key: raw.get(key) for key in raw.keys("*")}
            assert len(dump) >= 2
            texts.append(repr(dump))
            collect(lambda: cache.verify_code(phone, code))
            collect(lambda: cache.clear(phone))
            everything(phone + "x", code)  # no phone any more
            everything(phone, code + "\0")
            everything(phone, code + "-z" * 40)
            for key in raw.keys("*"):
                raw.delete(key)
                raw.lpush(key, code)  # every answer is an error now
            everything(phone, code)
            server.pause()
            everything(phone, code, late)
            server.resume()
            server.kill()
            everything(phone, code)
    everything_said = (
        "\n".join(texts) + caplog.text + "".join(repr(vars(record)) for record in caplog.records)
    )
    assert len(texts) > 60
    assert "Traceback" in everything_said
    # Hashes, generations and ids may hold six digits by chance; nothing else is left out of the
    # search.
    hashes = (
        r"\b[0-9a-f]{64}\b|\b\d+-[0-9a-f]{16}\b"
        r"|\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|0x[0-9a-f]+"
    )
    shown = re.sub(hashes, "", everything_said)
    for secret in ("4155557391", code, password):
        assert secret not in shown
