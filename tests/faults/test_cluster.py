"""RedisClient on a Redis Cluster on bad days: nodes killed and paused, slots on the move, replies lost, forks."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import infra
from tests import services
from tests.conftest import _or_skip
from tests.contract.backends import Inbox, eventually, in_child, in_threads, raw_redis
from tests.faults.proxy import Proxy, ScriptedRedis
from tests.faults.test_redis import CALLS, REPEATED, SLACK
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
    """One cluster for all of these tests: each leaves its nodes up and its slots where they were."""
    yield running
    for node in running.nodes:
        assert node.ask("FLUSHALL") == b"+OK\r\n"


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


def test_a_node_is_killed_and_comes_back(cluster: RedisCluster) -> None:
    a, b, c = (keys_of(number)[0] for number in range(3))
    killed, inbox = cluster.nodes[0], Inbox()  # the one of the URL, and the one that channels live on
    calls: list[Callable[[infra.KeyValueClient], Any]] = [
        lambda client: client.get(a),
        lambda client: client.increment(a),
        lambda client: client.get_many([b, a]),
        lambda client: list(client.scan()),
        lambda client: client.health_check(),
    ]
    with (
        client_of(cluster, deadline=0.4, retries=100) as client,
        client.listen(inbox, inbox.on_reconnect) as listener,
        client_of(cluster, deadline=0.4) as fresh,
    ):
        listener.subscribe("c")
        client.set_many({a: "1", b: "2", c: "3"})
        killed.kill()
        assert (client.get(b), client.increment(c)) == ("2", 4)
        for call in calls:
            started = time.monotonic()
            with pytest.raises(infra.ConnectionError, match=f"redis at 127.0.0.1:{killed.port} could not") as caught:
                call(client)
            assert time.monotonic() - started < 0.4 + SLACK
            assert caught.value.retryable is True
            assert (client.get(b), client.get(c)) == ("2", "4")
        with pytest.raises(infra.ConnectionError):  # it has the URL, and has not learned of other nodes
            fresh.get(b)
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


def test_a_node_is_paused(cluster: RedisCluster) -> None:
    a, b = keys_of(0)[0], keys_of(1)[0]
    with client_of(cluster, socket_timeout=0.2, deadline=0.6) as client:
        client.set_many({a: "1", b: "2"})
        cluster.nodes[0].pause()
        for call in (lambda: client.get(a), lambda: client.increment(a), lambda: client.delete_many([a, b])):
            started = time.monotonic()
            with pytest.raises(infra.TimeoutError, match=str(cluster.nodes[0].port)):
                call()
            assert time.monotonic() - started < 0.6 + SLACK
        started = time.monotonic()
        assert client.increment(b) == 1  # delete_many has reached this node
        assert time.monotonic() - started < SLACK
        cluster.nodes[0].resume()
        eventually(lambda: client.get(a) is None)
        cluster.wait()


def test_the_next_node_is_asked_for_the_slots(cluster: RedisCluster) -> None:
    """The one of the URL is gone after the slots were learned."""
    a, b = keys_of(0)[0], keys_of(1)[0]
    with client_of(cluster, deadline=1, retries=1) as client:
        client.set(b, "2")
        cluster.nodes[0].kill()
        with pytest.raises(infra.ConnectionError):
            client.set(a, "1")
        assert client._transport._outdated is True  # type: ignore[attr-defined]
        assert client.get(b) == "2"
        assert client._transport._outdated is False  # type: ignore[attr-defined]
        cluster.nodes[0].start()
        cluster.wait()


# --- slots that move


class Moving:
    """A slot on its way from one node to another: ``begin``, ``move`` its keys, ``end``."""

    def __init__(self, raw: list[Any], slot: int, source: int, target: int) -> None:
        self.slot, self.source, self.target = slot, raw[source], raw[target]
        self.ids = [raw[source].execute_command("CLUSTER MYID"), raw[target].execute_command("CLUSTER MYID")]
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
        assert [each.info("commandstats")["cmdstat_get"]["rejected_calls"] for each in raw] == [50, 0, 0]
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
    key, other = keys_of(0)[0], keys_of(1)[0]
    with client_of(cluster, deadline=0.3) as client:
        client.set(other, "v")
        for each in raw:
            each.execute_command("CLUSTER DELSLOTS", slot_of(key))
        raw[1].config_resetstat()
        for call in (lambda: client.get(key), lambda: client.increment(key), lambda: client.delete_many([other, key])):
            with pytest.raises(infra.CacheError, match="does not serve the key") as caught:
                call()
            assert caught.value.retryable is True
        assert raw[1].info("commandstats")["cmdstat_del"]["calls"] == 1  # it was done, and is not done again
        with client_of(cluster, deadline=0.3) as fresh:  # who asks now which slots there are
            with pytest.raises(infra.CacheError, match="no node of the cluster serves this key"):
                fresh.get(key)
            raw[0].execute_command("CLUSTER ADDSLOTS", slot_of(key))
            cluster.wait()
            assert (client.increment(key), fresh.increment(key)) == (1, 2)


def scripted(slots: Callable[[], bytes], answer: Callable[[list[bytes]], bytes]) -> ScriptedRedis:
    def reply(words: list[bytes], send: Callable[[bytes], None]) -> None:
        if words[0] in (b"AUTH", b"SELECT"):
            send(b"+OK\r\n")
        else:
            send(slots() if words[0] == b"CLUSTER" else answer(words))

    return ScriptedRedis(reply)


def owner_of_all(port: int, host: bytes = b"127.0.0.1") -> bytes:
    return b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$%d\r\n%s\r\n:%d\r\n" % (len(host), host, port)


def of_script(server: ScriptedRedis, **options: Any) -> infra.RedisClient:
    url = server.url.replace("redis://", "redis+cluster://").replace("/1", "")
    return infra.RedisClient(infra.CacheConfig(url=url, **options))


def test_nodes_that_send_us_in_circles() -> None:
    port = 0
    with scripted(lambda: owner_of_all(port), lambda words: b"-MOVED 1 127.0.0.1:%d\r\n" % port) as server:
        port = int(server.url.split(":")[-1].split("/")[0])
        with of_script(server, retries=1) as client:
            with pytest.raises(infra.CacheError, match="from node to node") as caught:
                client.increment("k")
            assert (caught.value.retryable, server.commands.count(b"INCRBY")) == (True, 2 * 6)


@pytest.mark.parametrize("host", [b"", b"?"])
def test_a_node_that_does_not_know_its_name(host: bytes) -> None:
    """Then it is the one that was asked (https://redis.io/docs/latest/commands/cluster-slots/)."""
    port = 0
    with scripted(lambda: owner_of_all(port, host), lambda words: b":7\r\n") as server:
        port = int(server.url.split(":")[-1].split("/")[0])
        with of_script(server) as client:
            assert client.increment("k") == 7


def test_a_node_that_left_keeps_no_connections() -> None:
    ports = [0, 0]
    owner = [1]
    replies: list[Callable[[list[bytes]], bytes]] = [lambda words: b":1\r\n", lambda words: b":2\r\n"]
    with (
        scripted(lambda: owner_of_all(ports[owner[0]]), replies[0]) as first,
        scripted(lambda: owner_of_all(ports[owner[0]]), replies[1]) as second,
        of_script(first) as client,
    ):
        ports[:] = [int(each.url.split(":")[-1].split("/")[0]) for each in (first, second)]
        assert in_threads(4, lambda _: client.increment("k")) == [2] * 4
        assert client._transport.size() >= 2
        gone = client._transport._pool(("127.0.0.1", ports[1]))
        owner[0] = 0
        client._transport._outdated = True  # type: ignore[attr-defined]
        assert client.increment("k") == 1
        assert (gone.size, list(client._transport._pools)) == (0, [("127.0.0.1", ports[0])])  # type: ignore[attr-defined]


# --- what was sent once


def test_lost_replies(cluster: RedisCluster, raw: list[Any]) -> None:
    """One node announces a proxy in its place. (Calls that are about no key are left out.)"""

    def announce(port: int) -> None:
        raw[0].config_set("cluster-announce-port", port)
        found = port or cluster.nodes[0].port
        eventually(lambda: all(f":{found}@".encode() in node.ask("CLUSTER NODES") for node in cluster.nodes))

    with Proxy(cluster.nodes[0].port) as proxy, client_of(cluster) as client:
        announce(proxy.port)
        try:
            renamed: Any = Renamed(client, keys_of(0)[0])
            for number, method in enumerate(sorted(set(CALLS) - {"publish", "scan", "health_check"}), 1):
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
                assert (method, proxy.swallowed, times) == (method, number, 2 if method in REPEATED else 1)
        finally:
            announce(0)


class Renamed:
    """A client on which the key "k", of the table of calls, is another: one that a certain node owns."""

    def __init__(self, client: infra.KeyValueClient, key: str) -> None:
        self._client, self._key = client, key

    def __getattr__(self, name: str) -> Any:
        def call(first: Any, *rest: Any) -> Any:
            renamed: Any = {self._key: "1"} if isinstance(first, dict) else [self._key]
            return getattr(self._client, name)(self._key if isinstance(first, str) else renamed, *rest)

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
        assert client._transport.size() <= 6


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
