"""Faults of a cluster: killed and paused nodes, moving slots, lost replies, forks."""

from __future__ import annotations

import contextlib
import functools
import gc
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import infra
from tests import services
from tests.conftest import _or_skip
from tests.contract.backends import (
    Inbox,
    ShiftedClock,
    eventually,
    in_child,
    in_threads,
    raw_redis,
)
from tests.faults.proxy import Listening, Proxy, ScriptedRedis
from tests.faults.test_redis import CALLS, REPEATED, SLACK, refusal_of
from tests.services import RedisCluster


def client_of(cluster: RedisCluster, **options: Any) -> infra.RedisClient:
    return infra.RedisClient(infra.CacheConfig(url=cluster.url, **options))


@pytest.fixture(scope="module")
def running() -> Iterator[RedisCluster]:
    server = _or_skip(lambda: services.private("redis-cluster"))
    assert isinstance(server, RedisCluster)
    yield server
    server.stop()


@pytest.fixture
def cluster(running: RedisCluster) -> Iterator[RedisCluster]:
    """One cluster for all tests of this file; each leaves its nodes and slots as they were."""
    yield running
    for node in running.nodes:  # also after a test that failed half-way
        assert node.process is not None
        node.signal(signal.SIGCONT)
        if node.process.poll() is not None:
            node.start()
    running.wait()
    assert [node.ask("FLUSHALL") for node in running.nodes] == [b"+OK\r\n"] * 3


@pytest.fixture
def raw(cluster: RedisCluster) -> Iterator[list[Any]]:
    """redis-py itself, one for each node."""
    clients = [raw_redis(node.url) for node in cluster.nodes]
    yield clients
    for client in clients:
        client.close()


pytestmark = pytest.mark.real


def slot_of(key: str) -> int:
    from redis.crc import key_slot

    return int(key_slot(key.encode()))


def keys_of(number: int, count: int = 1) -> list[str]:
    """Keys that the node with this number owns."""
    first, last = number * 16384 // 3, (number + 1) * 16384 // 3
    found = (key for key in map("k{}".format, range(100_000)) if first <= slot_of(key) < last)
    return [next(found) for _ in range(count)]


# --- nodes that go


def test_a_node_is_killed_and_comes_back(cluster: RedisCluster, raw: list[Any]) -> None:
    a, b, c = (keys_of(number)[0] for number in range(3))
    # The one of the URL, and the one that channels live on.
    killed, inbox = (
        cluster.nodes[0],
        Inbox(),
    )
    calls: list[Callable[[infra.KeyValueClient], Any]] = [
        lambda client: client.get(a),
        lambda client: client.increment(a),
        lambda client: client.get_many([b, a]),
        lambda client: list(client.scan()),
        lambda client: client.health_check(),
    ]
    with (
        client_of(cluster, deadline=10) as client,
        client.listen(inbox, inbox.on_reconnect) as listener,
        client_of(cluster, deadline=10) as fresh,
        client_of(cluster, deadline=1.5, retries=1000) as persistent,
    ):
        listener.subscribe("c")
        client.set_many({a: "1", b: "2", c: "3"})
        assert persistent.get(a) == "1"
        killed.kill()
        assert (client.get(b), client.increment(c)) == ("2", 4)
        connections = raw[1].info("stats")["total_connections_received"]
        for call in calls:
            with pytest.raises(
                infra.ConnectionError, match=f"redis at 127.0.0.1:{killed.port} could not"
            ) as caught:
                call(client)
            assert caught.value.retryable is True
            assert (client.get(b), client.get(c)) == ("2", "4")
        started = time.monotonic()
        with pytest.raises(infra.InfrastructureError):
            persistent.get(a)
        assert time.monotonic() - started < 1.5 + SLACK
        # It has the URL, and has not learned of other nodes.
        with pytest.raises(infra.ConnectionError):
            fresh.get(b)
        # The listener's, persistent's for the slots, perhaps fresh's.
        assert raw[1].info("stats")["total_connections_received"] <= connections + 3
        inbox.wait_reconnects(1)
        assert client.publish("c", "elsewhere") == 1
        killed.start()
        cluster.wait()
        assert client.get_many([a, b, c]) == {b: "2", c: "4"}
        assert (client.increment(a), client.increment(b), fresh.get(b)) == (1, 3, "3")
        assert sorted(client.scan()) == sorted([a, b, c])
        assert client.health_check().server.endswith("cluster of 3")
        client.publish("c", "again")  # the listener may still be elsewhere, and is not counted then
        assert inbox.wait(2) == [("c", None, "elsewhere"), ("c", None, "again")]


def test_each_node_has_a_breaker(cluster: RedisCluster) -> None:
    """One node is killed: its keys fail at once, and those of the others are served."""
    keys, clock = [keys_of(number)[0] for number in range(3)], ShiftedClock()
    killed = cluster.nodes[1]
    options: dict[str, Any] = {"breaker_failures": 3, "breaker_reset": 30, "retries": 0}
    config = infra.Config(cache=infra.CacheConfig(url=cluster.url, deadline=10, **options))
    figures: dict[str, Callable[[], Any]] = {}

    class Watching(infra.Observer):
        def watch(self, name: str, source: Callable[[], Any]) -> None:
            figures[name] = source

    with infra.Infrastructure(config, clock=clock, observer=Watching()) as bundle:
        client = bundle.redis
        client.set_many(dict.fromkeys(keys, "1"))
        names = [f"redis 127.0.0.1:{node.port}" for node in cluster.nodes]
        assert bundle.breakers == dict.fromkeys(names, "closed")
        assert figures["redis.breaker"]() == {"closed": 3, "open": 0, "half_open": 0}
        killed.kill()
        for _ in range(3):
            with pytest.raises(infra.ConnectionError, match="could not be reached"):
                client.get_many(keys)
        assert bundle.breakers == {**dict.fromkeys(names, "closed"), names[1]: "open"}
        with Listening(killed.port) as port:
            for call in (lambda: client.get(keys[1]), lambda: client.get_many(keys)):
                with pytest.raises(infra.CircuitOpenError, match=f"127.0.0.1:{killed.port}"):
                    call()
            assert (client.get(keys[0]), client.get(keys[2])) == ("1", "1")
            assert port.connections == 0
        killed.start()
        cluster.wait()
        clock.ahead += 30
        assert bundle.breakers[names[1]] == "half_open"
        assert client.get_many(keys) == {keys[0]: "1", keys[2]: "1"}
        assert bundle.breakers == dict.fromkeys(names, "closed")


def test_a_node_is_paused(cluster: RedisCluster) -> None:
    a, b = keys_of(0)[0], keys_of(1)[0]
    with client_of(cluster, socket_timeout=1, deadline=2) as client:
        client.set_many({a: "1", b: "2"})
        cluster.nodes[0].pause()
        for call in (
            lambda: client.get(a),
            lambda: client.increment(a),
            lambda: client.delete_many([a, b]),
        ):
            started = time.monotonic()
            with pytest.raises(infra.TimeoutError, match=str(cluster.nodes[0].port)):
                call()
            assert time.monotonic() - started < 2 + SLACK
        assert client.increment(b) == 1  # delete_many has reached this node
        cluster.nodes[0].resume()
        eventually(lambda: client.get(a) is None)
        cluster.wait()


def test_the_next_node_is_asked_for_the_slots(cluster: RedisCluster, raw: list[Any]) -> None:
    """The one of the URL is gone after the slots were learned."""
    a, b = keys_of(0)[0], keys_of(1)[0]

    def asked() -> int:
        found = [node.info("commandstats") for node in raw[1:]]
        return sum(
            stats["calls"]
            for each in found
            for name, stats in each.items()
            if name.startswith("cmdstat_cluster")
        )

    with client_of(cluster, deadline=10, retries=1) as client:
        client.set(b, "2")
        cluster.nodes[0].kill()
        with pytest.raises(infra.ConnectionError):
            client.set(a, "1")
        before = asked()
        assert client.get(b) == "2"
        assert asked() == before + 1
        assert client.get(b) == "2"  # the slots are known again
        assert asked() == before + 1
        cluster.nodes[0].start()
        cluster.wait()


# --- slots that move


class Moving:
    """A slot on its way from one node to another: ``begin``, ``move`` its keys, ``end``."""

    def __init__(self, raw: list[Any], slot: int, source: int, target: int) -> None:
        self.slot, self.source, self.target = slot, raw[source], raw[target]
        self.ids = [
            raw[source].execute_command("CLUSTER MYID"),
            raw[target].execute_command("CLUSTER MYID"),
        ]
        self.raw = raw

    def begin(self) -> Moving:
        self.target.execute_command("CLUSTER SETSLOT", self.slot, "IMPORTING", self.ids[0])
        self.source.execute_command("CLUSTER SETSLOT", self.slot, "MIGRATING", self.ids[1])
        return self

    def move(self, *keys: str) -> None:
        port = self.target.connection_pool.connection_kwargs["port"]
        self.source.execute_command("MIGRATE", "127.0.0.1", port, "", 0, 5000, "KEYS", *keys)

    def end(self) -> None:
        for each in (self.target, self.source, *self.raw):
            each.execute_command("CLUSTER SETSLOT", self.slot, "NODE", self.ids[1])


def test_slots_move_under_a_pipeline(cluster: RedisCluster, raw: list[Any]) -> None:
    keys = [key for number in range(3) for key in keys_of(number, 200)]
    moved = keys_of(0, 50)
    with client_of(cluster) as client:
        client.set_many(dict.fromkeys(keys, "1"))
        for key in moved:
            moving = Moving(raw, slot_of(key), 0, 1).begin()
            moving.move(key)
            moving.end()
        for each in raw:
            each.config_resetstat()
        assert client.get_many(keys) == dict.fromkeys(keys, "1")  # MOVED for 50 of them
        calls = [each.info("commandstats")["cmdstat_get"] for each in raw]
        assert [each["calls"] for each in calls] == [150, 250, 200]
        assert [each["rejected_calls"] for each in calls] == [50, 0, 0]
        client.get_many(keys)  # what has moved is known from now on
        assert [each.info("commandstats")["cmdstat_get"]["rejected_calls"] for each in raw] == [
            50,
            0,
            0,
        ]
        for key in moved[:25]:
            moving = Moving(raw, slot_of(key), 1, 0).begin()
            moving.move(key)
            moving.end()
        assert client.increment(moved[0], 1, 60) == 2  # MOVED in MULTI
        assert client.delete_many(keys) == 600
        for key in moved[25:]:
            Moving(raw, slot_of(key), 1, 0).begin().end()
        assert client.get_many(keys) == {}


def test_a_slot_that_is_moving(cluster: RedisCluster, raw: list[Any]) -> None:
    """ASK: some of its keys are here, some there."""
    tag = "{" + keys_of(0)[0] + "}"
    here, there, new = tag + "here", tag + "there", tag + "new"
    with client_of(cluster) as client:
        client.set_many({here: "1", there: "1"})
        moving = Moving(raw, slot_of(tag), 0, 2).begin()
        moving.move(there)
        assert client.get_many([here, there, new]) == {here: "1", there: "1"}
        assert client.increment(there, 1, 60) == 2  # ASK for a MULTI
        assert client.increment(here, 1, 60) == 2
        assert client.increment(new, 5, 60) == 5
        assert raw[2].execute_command("CLUSTER COUNTKEYSINSLOT", slot_of(tag)) == 2
        assert client.compare_and_delete(there, "2") is True
        assert client.set_nx(there, "v", 60) is True
        assert client.delete_many([here, there, new]) == 3
        moving.end()
        assert client.get_many([here, there, new]) == {}
        Moving(raw, slot_of(tag), 2, 0).begin().end()


def test_a_slot_that_nobody_serves(cluster: RedisCluster, raw: list[Any]) -> None:
    import redis

    key, other = keys_of(0)[0], keys_of(1)[0]
    calls: list[Callable[[infra.KeyValueClient], Any]] = [
        lambda client: client.get(key),
        lambda client: client.increment(key),
        lambda client: client.delete_many([other, key]),
    ]
    with client_of(cluster, deadline=10) as client:
        client.set(other, "v")
        for each in raw:
            each.execute_command("CLUSTER DELSLOTS", slot_of(key))
        try:
            for call in calls:
                with pytest.raises(infra.CacheError, match=r"serves? (the|this) key") as caught:
                    call(client)
                assert caught.value.retryable is True
            assert client.get(other) in ("v", None)  # deleted, if the nodes had not heard of it yet
        finally:
            # A ping that was on its way may have told node 0 of the old owner again.
            with contextlib.suppress(redis.ResponseError):
                raw[0].execute_command("CLUSTER DELSLOTS", slot_of(key))
            raw[0].execute_command("CLUSTER ADDSLOTS", slot_of(key))
            raw[0].execute_command("CLUSTER BUMPEPOCH")  # the newest owner wins at each node
            cluster.wait()
        assert client.increment(key) == 1


# --- servers that follow a script


class Script:
    """Nodes of a scripted cluster.

    ``owners`` maps shares of the slots to nodes. ``answer(node, words)`` returns a node's reply to
    a command; None is silence, in which further commands may arrive.
    """

    def __init__(self, count: int, answer: Callable[[int, list[bytes]], bytes | None]) -> None:
        self.log: list[tuple[int, bytes]] = []
        self.owners = [*range(count)]
        self._answer = answer
        self.nodes = [
            ScriptedRedis(functools.partial(self._reply, number)) for number in range(count)
        ]
        self.ports = [node.port for node in self.nodes]

    def __enter__(self) -> Script:
        return self

    def __exit__(self, *_: Any) -> None:
        for node in self.nodes:
            node.__exit__()

    def _reply(self, number: int, words: list[bytes], send: Callable[[bytes], None]) -> None:
        if words[0] in (b"AUTH", b"SELECT"):
            return send(b"+OK\r\n")
        self.log.append((number, words[0]))
        answer = self._answer(number, words)
        if answer is None and words[0] == b"CLUSTER":
            answer = self.slots()
        if answer is None and words[0] == b"INFO":
            answer = b"$20\r\nredis_mode:cluster\r\n\r\n"
        if answer is not None and number not in self.mute:
            send(answer)

    mute: frozenset[int] = frozenset()

    def slots(self, host: bytes = b"127.0.0.1") -> bytes:
        count = len(self.owners)
        shares = [
            (n * 16384 // count, (n + 1) * 16384 // count - 1, self.ports[o])
            for n, o in enumerate(self.owners)
        ]
        entry = b"*3\r\n:%d\r\n:%d\r\n*2\r\n$%d\r\n%s\r\n:%d\r\n"
        return b"*%d\r\n" % count + b"".join(
            entry % (*share[:2], len(host), host, share[2]) for share in shares
        )

    def client(self, **options: Any) -> infra.RedisClient:
        url = f"redis+cluster://127.0.0.1:{self.ports[0]}"
        return infra.RedisClient(infra.CacheConfig(url=url, **options))

    def count(self, command: bytes) -> list[int]:
        return [self.log.count((number, command)) for number in range(len(self.nodes))]


def key_in(share: int, shares: int) -> str:
    """A key in that share of the slots."""
    return next(
        key for key in map("k{}".format, range(1000)) if slot_of(key) * shares // 16384 == share
    )


def test_nodes_that_send_us_in_circles() -> None:
    with Script(
        1,
        lambda n, words: (
            b"-MOVED 1 127.0.0.1:%d\r\n" % script.ports[0] if words[0] == b"INCRBY" else None
        ),
    ) as script:
        with (
            script.client(retries=1) as client,
            pytest.raises(infra.CacheError, match="from node to node") as caught,
        ):
            client.increment("k")
        assert (caught.value.retryable, script.count(b"INCRBY")) == (True, [2 * 6])


@pytest.mark.parametrize("host", [b"", b"?", b"localhost"])
def test_how_a_node_may_call_itself(host: bytes) -> None:
    """Without a name it is the node that was asked.

    https://redis.io/docs/latest/commands/cluster-slots/
    """

    def answer(number: int, words: list[bytes]) -> bytes:
        return b":7\r\n" if words[0] == b"INCRBY" else script.slots(host)

    with Script(1, answer) as script, script.client() as client:
        assert client.increment("k") == 7


def test_a_node_that_left_keeps_no_connections() -> None:
    with (
        Script(2, lambda n, words: b":%d\r\n" % n if words[0] == b"INCRBY" else None) as script,
        script.client() as client,
    ):
        stayed, left = script.nodes
        script.owners = [1]
        assert in_threads(4, lambda _: client.increment("k")) == [1] * 4
        assert (len(left.ended), left.connections > 0) == (0, True)
        script.owners = [0]
        client.health_check()  # which asks for the slots
        assert client.increment("k") == 0
        eventually(lambda: len(left.ended) == left.connections)
        found = client.stats()
        assert (found.max_connections, found.open) == (5, stayed.connections)


@pytest.mark.parametrize(
    "goodbye", [b"-CLUSTERDOWN Hash slot not served\r\n", b"-MOVED 1 127.0.0.1:%d\r\n"]
)
def test_a_node_that_left_and_still_runs(goodbye: bytes) -> None:
    """It knows of no slots any more; the others do."""

    def answer(number: int, words: list[bytes]) -> bytes | None:
        if number == 0 and script.owners == [1]:
            return (
                b"*0\r\n"
                if words[0] == b"CLUSTER"
                else goodbye % script.ports[1]
                if b"%d" in goodbye
                else goodbye
            )
        return {b"INCRBY": b":1\r\n", b"PUBLISH": b":1\r\n"}.get(words[0])

    with Script(2, answer) as script, script.client() as client:
        assert (client.increment(key_in(0, 2)), client.increment(key_in(1, 2))) == (1, 1)
        script.owners = [1]
        assert (client.increment(key_in(0, 2)), client.publish("c", "m")) == (1, 1)
        client.health_check()  # which asks for the slots
        assert client.increment(key_in(1, 2)) == 1
        assert script.log[-1] == (1, b"INCRBY")


def test_slots_are_asked_for_again_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        Script(1, lambda n, words: b":1\r\n" if words[0] == b"INCRBY" else None) as script,
        script.client() as client,
    ):
        for _ in range(3):
            client.increment("k")
        assert script.count(b"CLUSTER") == [1]
        real = time.monotonic
        for later, asked in ((30, 1), (61, 2), (91, 2), (123, 3)):  # once a minute
            clock = staticmethod(lambda: real() + later)
            monkeypatch.setattr(infra.SystemClock, "monotonic", clock)
            client.increment("k")
            assert script.count(b"CLUSTER") == [asked]


def test_silent_nodes_hold_nobody_up() -> None:
    """Two of four; the others are asked first, however much time has passed."""
    with (
        Script(4, lambda n, words: b":1\r\n" if words[0] == b"INCRBY" else None) as script,
        script.client(socket_timeout=1, deadline=3) as client,
    ):
        assert [client.increment(key_in(number, 4)) for number in range(4)] == [1] * 4
        script.mute = frozenset([0, 1])

        def fail(silent: int) -> None:
            with pytest.raises(infra.TimeoutError, match=str(script.ports[silent])):
                client.increment(key_in(silent, 4))

        fail(0)
        for silent, number in ((1, 2), (0, 3)):
            fail(silent)  # after which the slots are asked for again
            script.log.clear()
            assert client.increment(key_in(number, 4)) == 1
            asked = script.count(b"CLUSTER")
            assert (asked[:2], sum(asked)) == ([0, 0], 1)


def test_channels_move_on_from_a_silent_node() -> None:
    def answer(number: int, words: list[bytes]) -> bytes | None:
        subscribed = b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"
        return {b"PUBLISH": b":1\r\n", b"SUBSCRIBE": subscribed, b"INCRBY": b":1\r\n"}.get(words[0])

    inbox = Inbox()
    with (
        Script(2, answer) as script,
        script.client(socket_timeout=1, deadline=3) as client,
        client.listen(inbox, inbox.on_reconnect) as listener,
    ):
        listener.subscribe("c")
        assert (client.publish("c", "m"), script.count(b"PUBLISH"), script.count(b"SUBSCRIBE")) == (
            1,
            [1, 0],
            [1, 0],
        )
        script.mute = frozenset([0])
        with pytest.raises(infra.TimeoutError):
            client.publish("c", "m")
        assert (client.publish("c", "m"), script.count(b"PUBLISH")) == (1, [2, 1])
        inbox.wait_reconnects(1)
        assert script.count(b"SUBSCRIBE") == [1, 1]
        script.mute = frozenset()
        assert client.increment(key_in(0, 2)) == 1  # it answers again
        assert (client.publish("c", "m"), script.count(b"PUBLISH")) == (1, [3, 1])


@pytest.mark.parametrize("method", ["delete_many", "get_many"])
def test_what_one_node_has_not_done_another_may_have(method: str) -> None:
    """One node is still loading its data: its part was not done, but the other's was."""

    def answer(number: int, words: list[bytes]) -> bytes | None:
        if number == 1 and script.log.count((1, words[0])) == 1 and words[0] in (b"DEL", b"GET"):
            return b"-LOADING Redis is loading the dataset in memory\r\n"
        return {b"DEL": b":1\r\n", b"GET": b"$1\r\nv\r\n"}.get(words[0])

    keys = [key_in(0, 2), key_in(1, 2)]
    with Script(2, answer) as script, script.client() as client:
        if method == "get_many":
            assert client.get_many(keys) == dict.fromkeys(keys, "v")
        else:
            with pytest.raises(infra.ConnectionError, match="loading"):
                client.delete_many(keys)
            eventually(lambda: script.count(b"DEL") == [1, 1])  # nobody has waited for the other
            assert client.delete(keys[1]) is True


def test_a_refusal_names_its_node() -> None:
    refusal = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
    with (
        Script(
            2, lambda n, words: (b"+OK\r\n", refusal)[n] if words[0] == b"SET" else None
        ) as script,
        script.client() as client,
        pytest.raises(infra.CacheError, match=f":{script.ports[1]} is out of memory"),
    ):
        client.set_many({key_in(number, 2): "v" for number in (1, 0)})


def test_a_user_who_may_not_ask_for_the_slots(cluster: RedisCluster, raw: list[Any]) -> None:
    raw[0].execute_command("ACL", "SETUSER", "u", "on", ">p", "~*", "+@all", "-cluster")
    url = cluster.url.replace("://", "://u:p@")
    try:
        with (
            infra.RedisClient(infra.CacheConfig(url=url)) as client,
            pytest.raises(infra.CacheError, match="NOPERM"),
        ):
            client.get("k")
    finally:
        raw[0].execute_command("ACL", "DELUSER", "u")


def test_full_nodes(private_server: Callable[[str], Any]) -> None:
    """They passed for no nodes of a cluster, and a cache that fails open raised."""
    cluster = private_server("redis-cluster")
    raws = [raw_redis(node.url) for node in cluster.nodes]
    for raw in raws:
        raw.config_set("maxclients", 1)
    with client_of(cluster, retries=0) as client, infra.RedisEventBus(client) as bus:
        calls: list[Callable[[], object]] = [
            lambda: client.get("k"),
            lambda: [*client.scan("*")],
            lambda: client.publish("c", "m"),
            lambda: bus.subscribe("c", print),
        ]
        for call in calls:
            assert "takes no more connections" in refusal_of(call)
        cache = infra.RedisCacheProvider(client, fail_open=True)
        assert cache.get_or_set("k", lambda: 7) == 7
        for raw in raws:
            raw.config_set("maxclients", 1000)
        client.set("k", "v")
        assert client.get("k") == "v"
    for raw in raws:
        raw.close()


def test_the_next_node_is_asked_instead_of_a_full_one(monkeypatch: pytest.MonkeyPatch) -> None:
    full = False

    def answer(number: int, words: list[bytes]) -> bytes | None:
        if full and number == 0:
            return b"-ERR max number of clients + cluster connections reached\r\n"
        return {b"GET": b"$1\r\nv\r\n", b"PUBLISH": b":1\r\n"}.get(words[0])

    with Script(2, answer) as script, script.client() as client:
        assert client.get(key_in(1, 2)) == "v"
        full, real = True, time.monotonic
        clock = staticmethod(lambda: real() + 61)  # the slots are asked for again
        monkeypatch.setattr(infra.SystemClock, "monotonic", clock)
        assert client.get(key_in(1, 2)) == "v"
        assert script.count(b"CLUSTER") == [2, 1]
        assert client.publish("c", "m") == 1
        with pytest.raises(infra.ConnectionError, match=f"{script.ports[0]} takes no more"):
            client.get(key_in(0, 2))


@pytest.mark.parametrize("refusal", [b"ERR operation not permitted", b"ERR syntax error"])
def test_a_node_that_refuses_to_name_the_slots_may_be_one(refusal: bytes) -> None:
    """A proxy, or a server with rules of its own, for example."""
    with (
        Script(
            1, lambda n, words: b"-%s\r\n" % refusal if words[0] == b"CLUSTER" else None
        ) as script,
        script.client() as client,
        pytest.raises(infra.CacheError, match=r":\d+ refused the command$") as caught,
    ):
        client.get("k")
    assert caught.value.retryable is False


@pytest.mark.parametrize(
    "refusal",
    [
        b"ERR This instance has cluster support disabled",
        b"ERR unknown command 'CLUSTER', with args beginning with: 'SLOTS' ",
        b"ERR unknown command `CLUSTER`, with args beginning with: `SLOTS`, ",
    ],
)
def test_what_a_server_without_a_cluster_may_say(refusal: bytes) -> None:
    with (
        Script(1, lambda n, words: b"-%s\r\n" % refusal) as script,
        script.client() as client,
        pytest.raises(infra.CacheError, match="use a redis:// URL") as caught,
    ):
        client.get("k")
    assert caught.value.retryable is False


# --- what was sent once


def test_lost_replies(cluster: RedisCluster, raw: list[Any]) -> None:
    """One node announces a proxy in its place. (Calls that are about no key are left out.)"""

    def announce(port: int) -> None:
        raw[0].config_set("cluster-announce-port", port)
        found = port or cluster.nodes[0].port
        eventually(
            lambda: all(
                f":{found}@".encode() in node.ask("CLUSTER NODES") for node in cluster.nodes
            )
        )

    with Proxy(cluster.nodes[0].port) as proxy, client_of(cluster) as client:
        announce(proxy.port)
        try:
            renamed: Any = Renamed(client, keys_of(0)[0])
            for number, method in enumerate(
                sorted(set(CALLS) - {"publish", "scan", "health_check"}), 1
            ):
                call, command = CALLS[method]
                renamed.exists("k")  # the connection stands
                raw[0].config_resetstat()
                proxy.swallow = True
                if method in REPEATED:
                    call(renamed)
                else:
                    with pytest.raises(infra.ConnectionError) as caught:
                        call(renamed)
                    assert caught.value.retryable is True
                times = raw[0].info("commandstats")[f"cmdstat_{command}"]["calls"]
                assert (method, proxy.swallowed, times) == (
                    method,
                    number,
                    2 if method in REPEATED else 1,
                )
        finally:
            announce(0)


class Renamed:
    """A client that replaces the key "k" of the table of calls by one that a node owns."""

    def __init__(self, client: infra.KeyValueClient, key: str) -> None:
        self._client, self._key = client, key

    def __getattr__(self, name: str) -> Any:
        def call(first: Any, *rest: Any) -> Any:
            renamed: Any = {self._key: "1"} if isinstance(first, dict) else [self._key]
            return getattr(self._client, name)(
                self._key if isinstance(first, str) else renamed, *rest
            )

        return call


# --- mistakes


def test_a_url_of_the_wrong_kind(cluster: RedisCluster, service: Callable[[str], str]) -> None:
    key = keys_of(1)[0]
    with (
        infra.RedisClient(infra.CacheConfig(url=cluster.nodes[0].url)) as client,
        pytest.raises(infra.CacheError, match=r"use a redis\+cluster:// URL"),
    ):
        client.get(key)
    url = service("redis").replace("redis://", "redis+cluster://")
    with (
        infra.RedisClient(infra.CacheConfig(url=url)) as client,
        pytest.raises(infra.CacheError, match="use a redis:// URL") as caught,
    ):
        client.get(key)
    assert caught.value.retryable is False


# --- threads, forks, closing


def test_many_threads_share_few_connections(cluster: RedisCluster, raw: list[Any]) -> None:
    keys = [keys_of(number)[0] for number in range(3)]
    with client_of(cluster, pool_size=2, deadline=30) as client:

        def work(number: int) -> None:
            for turn in range(20):
                items = {f"{number}:{turn}:{n}": str(n) for n in range(5)}
                client.set_many(items)
                assert client.get_many(items) == items
                client.increment(keys[turn % 3])
                assert client.delete_many(items) == 5

        assert in_threads(16, work) == [None] * 16
        assert sum(int(value) for value in client.get_many(keys).values()) == 16 * 20
        assert client.stats().max_connections == 6
        assert client.stats().open <= 6


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_opens_connections_of_its_own(cluster: RedisCluster) -> None:
    keys = [keys_of(number)[0] for number in range(3)]
    inbox = Inbox()
    with client_of(cluster) as client, client.listen(inbox, inbox.on_reconnect) as listener:
        listener.subscribe("c")
        client.set_many(dict.fromkeys(keys, "parent"))

        def work() -> None:
            assert client.get_many(keys) == dict.fromkeys(keys, "parent")
            client.set_many(dict.fromkeys(keys, "child"))
            client.close()

        in_child(work)
        assert client.get_many(keys) == dict.fromkeys(keys, "child")
        assert client.publish("c", "still there") == 1
        assert inbox.wait(1) == [("c", None, "still there")]
        assert inbox.reconnects == 0


def test_a_forgotten_client_warns(cluster: RedisCluster) -> None:
    forgotten = [client_of(cluster)]
    forgotten[0].set_many({keys_of(1)[0]: "v"})

    def forget() -> None:
        forgotten.clear()
        gc.collect()

    with pytest.warns(ResourceWarning, match="RedisClient was not closed"):
        forget()
