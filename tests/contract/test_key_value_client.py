"""The contract of KeyValueClient and Listener."""

from __future__ import annotations

import enum
import math
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import infra
from tests.contract import handlers, refusals
from tests.contract.backends import (
    Inbox,
    KeyValueBackend,
    eventually,
    in_threads,
    on_fake_redis,
    on_real_redis,
)
from tests.contract.base import Contract
from tests.contract.globs import GLOB_NAMES, GLOBS
from tests.contract.texts import Text, any_text, plain

Client = infra.KeyValueClient

BAD_KEYS: list[Any] = [
    "",
    " a",
    "a ",
    "\ta",
    "a\n",
    "a\u00a0",
    "a\0b",
    "\ud800",
    5,
    None,
    b"a",
    True,
    ["a"],
]
BAD_VALUES: list[Any] = ["a\0b", "a\udfffb", 5, None, b"a", 1.5, True, ["a"]]
BAD_SECONDS: list[Any] = [0, -1, -0.001, math.nan, math.inf, -math.inf, True, "5", 1e10, 10**400]
BAD_AMOUNTS: list[Any] = [1.0, "1", None, True, 2**63, -(2**63) - 1]

WITH_A_KEY: dict[str, Callable[[Client, Any], Any]] = {
    "get": lambda c, key: c.get(key),
    "get_many": lambda c, key: c.get_many([key]),
    "set": lambda c, key: c.set(key, "v"),
    "set_with_expiry": lambda c, key: c.set_with_expiry(key, "v", 1),
    "set_many": lambda c, key: c.set_many({key: "v"} if key.__hash__ else {5: "v"}),  # type: ignore[dict-item]
    "set_nx": lambda c, key: c.set_nx(key, "v"),
    "delete": lambda c, key: c.delete(key),
    "delete_many": lambda c, key: c.delete_many([key]),
    "unlink_many": lambda c, key: c.unlink_many([key]),
    "compare_and_delete": lambda c, key: c.compare_and_delete(key, "v"),
    "exists": lambda c, key: c.exists(key),
    "ttl": lambda c, key: c.ttl(key),
    "expire": lambda c, key: c.expire(key, 1),
    "increment": lambda c, key: c.increment(key),
    "publish": lambda c, key: c.publish(key, "v"),
}
WITH_A_VALUE: dict[str, Callable[[Client, str, Any], Any]] = {
    "set": lambda c, key, value: c.set(key, value),
    "set_with_expiry": lambda c, key, value: c.set_with_expiry(key, value, 1),
    "set_many": lambda c, key, value: c.set_many({key + "ok": "v", key: value}),
    "set_nx": lambda c, key, value: c.set_nx(key, value),
    "compare_and_delete": lambda c, key, value: c.compare_and_delete(key, value),
    "publish": lambda c, key, value: c.publish(key, value),
}
WITH_SECONDS: dict[str, Callable[[Client, str, Any], Any]] = {
    "set_with_expiry": lambda c, key, seconds: c.set_with_expiry(key, "v", seconds),
    "set_many": lambda c, key, seconds: c.set_many({key: "v"}, seconds),
    "set_nx": lambda c, key, seconds: c.set_nx(key, "v", seconds),
    "expire": lambda c, key, seconds: c.expire(key, seconds),
    "increment": lambda c, key, seconds: c.increment(key, 1, seconds),
}


class KeyValueClientContract(Contract):
    port = infra.KeyValueClient

    # --- single keys

    def test_an_absent_key(self, backend: KeyValueBackend) -> None:
        client, key = backend.client, backend.key("k")
        assert client.get(key) is None
        assert client.exists(key) is False
        assert client.ttl(key) is None
        assert client.delete(key) is False
        assert client.expire(key, 5) is False
        assert client.compare_and_delete(key, "") is False
        assert client.get_many([key]) == {}
        assert client.delete_many([key]) == 0
        assert client.unlink_many([key]) == 0
        assert backend.names() == []

    @pytest.mark.parametrize(
        "value",
        ["v", "", " padded ", "0", "line\nbreak\r\n", "$5\r\nhello", "é日本🎉", "x" * 1_000_000],
    )
    def test_a_value_comes_back_as_written(self, backend: KeyValueBackend, value: str) -> None:
        key = backend.key("k")
        assert backend.client.set(key, value) is None  # type: ignore[func-returns-value]
        assert backend.client.get(key) == value
        assert backend.connect().get(key) == value
        assert backend.client.exists(key) is True
        assert backend.client.ttl(key) == math.inf

    def test_keys_may_hold_any_other_text(self, backend: KeyValueBackend) -> None:
        names = ["a b", "é", "日本:🎉", "a\nb", "{tag}x", "*", "x" * 2000]
        for name in names:
            backend.client.set(backend.key(name), name)
        assert [backend.client.get(backend.key(name)) for name in names] == names
        assert backend.names() == sorted(names)

    def test_text_of_a_subclass_is_stored_as_plain_text(self, backend: KeyValueBackend) -> None:
        class Colour(str, enum.Enum):
            RED = "red"

        client, key = backend.client, backend.key("k")
        client.set_many({key: Colour.RED})
        value = client.get(key)
        assert (type(value), value) == (str, "red")
        assert client.compare_and_delete(key, Colour.RED) is True
        client.set(Colour.RED, "v")
        assert [type(name) for name in client.scan("red")] == [str]
        client.delete(Colour.RED)

    def test_a_useless_argument_changes_nothing(self, backend: KeyValueBackend) -> None:
        client, k, n = backend.client, backend.key("k"), backend.key("n")
        client.set_with_expiry(k, "1", 1000)

        def state() -> Any:
            return backend.names(), client.get(k), (client.ttl(k) or 0) > 500

        for method, *arguments in (
            (client.set, k, "v"),
            (client.set_with_expiry, k, "v", 5),
            (client.set_many, {n: "v"}, 5),
            (client.set_nx, n, "v", 5),
            (client.compare_and_delete, k, "1"),
            (client.expire, k, 5),
            (client.increment, k, 1, 5),
            (client.publish, k, "v"),
            (client.get, k), (client.exists, k), (client.ttl, k), (client.delete, k),
            (client.get_many, [k]), (client.delete_many, [k]), (client.unlink_many, [k]),
            (client.scan, k), (client.listen, print, None),
        ):  # fmt: skip
            refusals.check(method, arguments, state)
        useless: Any = refusals.Useless()
        calls = (
            lambda: client.set_many({n: "v", k: useless}, 5),
            lambda: client.set_many({n: "v", useless: "v"}, 5),
            lambda: client.get_many([n, useless]),
            lambda: client.delete_many([k, useless]),
            lambda: client.unlink_many([k, useless]),
        )
        refusals.check_items(calls, state)
        for of_many in (client.get_many, client.delete_many, client.unlink_many):
            refusals.check_iterable(lambda many, of=of_many: of([k, *many]), state)  # type: ignore[misc]
        inbox = Inbox()
        with client.listen(inbox) as listener:
            for change in (
                listener.subscribe, listener.psubscribe, listener.unsubscribe, listener.punsubscribe
            ):  # fmt: skip
                refusals.check(change, [k, k], lambda: client.publish(k, "m"))
        assert inbox.messages == []

    @any_text
    def test_text_of_any_subclass(self, backend: KeyValueBackend, text: Text) -> None:
        client, key = backend.client, backend.key("k")
        k, v = text(key), text("é v")
        client.set(k, v)
        assert client.get(key) == client.get(k) == "é v"
        assert plain(client.get_many([k])) == {key: "é v"}
        client.set_with_expiry(k, v, 100)
        assert [client.exists(k), client.expire(k, 50), (client.ttl(k) or 0) > 10] == [True] * 3
        assert [client.delete(k), client.set_nx(k, v), client.set_nx(k, v)] == [True, True, False]
        assert plain([*client.scan(k)]) == [key]
        assert client.compare_and_delete(k, text("v")) is False
        assert client.compare_and_delete(k, v) is True
        assert [client.increment(k), client.increment(key)] == [1, 2]
        client.set_many({k: v}, 100)
        assert plain(client.get_many([key])) == {key: "é v"}
        assert client.delete_many([k]) == 1
        client.set_many({k: v})
        assert client.unlink_many([k]) == 1
        assert backend.names() == []

    @any_text
    def test_channels_of_any_subclass(self, backend: KeyValueBackend, text: Text) -> None:
        inbox, channel, glob = Inbox(), backend.key("c"), backend.key("d*")
        with backend.client.listen(inbox) as listener:
            listener.subscribe(text(channel))
            listener.psubscribe(text(glob))
            for name in ("c", "d"):
                assert backend.client.publish(text(backend.key(name)), text("é m")) == 1
            assert plain(inbox.wait(2)) == [
                (channel, None, "é m"),
                (backend.key("d"), glob, "é m"),
            ]
            listener.unsubscribe(text(channel))
            listener.punsubscribe(text(glob))
            for name in ("c", "d"):
                assert backend.client.publish(backend.key(name), "m") == 0

    def test_keys_differ_by_case_and_by_composition(self, backend: KeyValueBackend) -> None:
        backend.client.set_many(
            {backend.key("k"): "1", backend.key("K"): "2", backend.key("é"): "3"}
        )
        assert backend.client.get(backend.key("k")) == "1"
        assert backend.client.get(backend.key("K")) == "2"
        assert backend.client.get(backend.key("e\u0301")) is None

    def test_set_replaces_value_and_expiry(self, backend: KeyValueBackend) -> None:
        client, key = backend.client, backend.key("k")
        client.set_with_expiry(key, "1", 100)
        client.set(key, "2")
        assert (client.get(key), client.ttl(key)) == ("2", math.inf)
        client.set_with_expiry(key, "3", 50)
        client.set_with_expiry(key, "4", 100)
        assert client.get(key) == "4"
        assert 90 < (client.ttl(key) or 0) <= 100

    def test_delete_says_whether_there_was_something(self, backend: KeyValueBackend) -> None:
        key = backend.key("k")
        backend.client.set(key, "v")
        assert backend.client.delete(key) is True
        assert backend.client.delete(key) is False
        assert backend.client.get(key) is None

    def test_set_nx(self, backend: KeyValueBackend) -> None:
        client, key = backend.client, backend.key("k")
        assert client.set_nx(key, "1") is True
        assert client.ttl(key) == math.inf
        assert client.set_nx(key, "2", 50) is False
        assert (client.get(key), client.ttl(key)) == ("1", math.inf)
        client.delete(key)
        assert client.set_nx(key, "3", 50) is True
        assert client.get(key) == "3"
        assert 40 < (client.ttl(key) or 0) <= 50

    def test_compare_and_delete(self, backend: KeyValueBackend) -> None:
        client, key = backend.client, backend.key("k")
        client.set(key, "v")
        for other in ("", "V", "v ", "vv", "é"):
            assert client.compare_and_delete(key, other) is False
        assert client.get(key) == "v"
        assert client.compare_and_delete(key, "v") is True
        assert client.exists(key) is False
        assert client.compare_and_delete(key, "v") is False

    # --- many keys

    def test_get_many(self, backend: KeyValueBackend) -> None:
        a, b, c = map(backend.key, "abc")
        backend.client.set(a, "1")
        backend.client.set(c, "")
        assert backend.client.get_many([c, b, a, a]) == {a: "1", c: ""}
        assert list(backend.client.get_many(iter([c, a]))) == [c, a]
        assert backend.client.get_many([]) == {}

    def test_set_many(self, backend: KeyValueBackend) -> None:
        client, a, b = backend.client, backend.key("a"), backend.key("b")
        client.set_with_expiry(a, "0", 100)
        client.set_many({a: "1", b: "2"})
        assert client.get_many([a, b]) == {a: "1", b: "2"}
        assert client.ttl(a) == math.inf
        client.set_many({a: "3"}, 50)
        assert client.get(a) == "3"
        assert 40 < (client.ttl(a) or 0) <= 50
        assert client.ttl(b) == math.inf
        client.set_many({})

    @pytest.mark.parametrize("method", ["delete_many", "unlink_many"])
    def test_delete_many_counts_what_existed(self, backend: KeyValueBackend, method: str) -> None:
        a, b, c = map(backend.key, "abc")
        backend.client.set_many({a: "1", b: "2"})
        assert getattr(backend.client, method)([a, a, b, c]) == 2
        assert backend.names() == []
        assert getattr(backend.client, method)([]) == 0

    def test_thousands_of_keys(self, backend: KeyValueBackend) -> None:
        items = {backend.key(f"{n:04}"): str(n) for n in range(2500)}
        backend.client.set_many(items)
        assert backend.client.get_many(items) == items
        assert backend.names("*") == [f"{n:04}" for n in range(2500)]
        assert backend.client.delete_many(items) == 2500
        backend.client.set_many(items)
        assert backend.client.unlink_many(iter(items)) == 2500

    @pytest.mark.parametrize("single", ["abc", b"abc", 5, None])
    def test_many_takes_no_single_key(self, backend: KeyValueBackend, single: Any) -> None:
        for name in ("get_many", "delete_many", "unlink_many", "set_many"):
            with pytest.raises(infra.ValidationError):
                getattr(backend.client, name)(single)

    # --- expiry

    def test_an_expired_key_is_absent_everywhere(self, backend: KeyValueBackend) -> None:
        client, key = backend.client, backend.key("k")

        def expired() -> str:
            client.set_with_expiry(key, "1", 10)
            backend.advance(10)
            return key

        assert client.get(expired()) is None
        assert client.exists(expired()) is False
        assert client.ttl(expired()) is None
        assert client.delete(expired()) is False
        assert client.expire(expired(), 5) is False
        assert client.compare_and_delete(expired(), "1") is False
        assert client.get_many([expired()]) == {}
        assert client.delete_many([expired()]) == 0
        assert client.unlink_many([expired()]) == 0
        assert (expired(), backend.names()) == (key, [])
        assert client.set_nx(expired(), "2") is True
        assert (client.get(key), client.ttl(key)) == ("2", math.inf)
        assert client.increment(expired()) == 1
        assert client.ttl(key) == math.inf

    def test_a_key_lives_until_its_time(self, backend: KeyValueBackend) -> None:
        client, key = backend.client, backend.key("k")
        client.set_with_expiry(key, "v", 100)
        backend.advance(40)
        assert client.get(key) == "v"
        assert 40 < (client.ttl(key) or 0) <= 60
        backend.advance(60)
        assert client.get(key) is None

    def test_expire_counts_from_now(self, backend: KeyValueBackend) -> None:
        client, key = backend.client, backend.key("k")
        client.set(key, "v")
        assert client.expire(key, 100) is True
        assert 80 < (client.ttl(key) or 0) <= 100
        backend.advance(50)
        assert client.expire(key, 100) is True
        backend.advance(60)
        assert client.get(key) == "v"
        backend.advance(50)
        assert client.get(key) is None

    def test_durations_round_up_to_milliseconds(self, backend: KeyValueBackend) -> None:
        client, key = backend.client, backend.key("k")
        client.set_with_expiry(key, "v", 0.0001)
        backend.advance(0.001)
        assert client.get(key) is None
        client.set_with_expiry(key, "v", 8.05)  # times 1000 it is more than 8050 as a float
        assert (client.ttl(key) or 0) <= 8.05
        client.set_with_expiry(key, "v", 99.9991)
        assert 80 < (client.ttl(key) or 0) <= 100.0

    @pytest.mark.parametrize(
        "method", ["set_with_expiry", "set_many", "set_nx", "expire", "increment"]
    )
    def test_times_to_live_are_not_in_whole_seconds(
        self, backend: KeyValueBackend, method: str
    ) -> None:
        client, key = backend.client, backend.key("k")
        for seconds in (100.5, 7.75, 30.001):
            client.delete(key)
            if method == "expire":
                client.set_with_expiry(key, "v", 500)
            started = time.monotonic()
            WITH_SECONDS[method](client, key, seconds)
            left = client.ttl(key) or 0.0
            passed = time.monotonic() - started
            # A server rounds the time of each of the two calls to a millisecond.
            assert seconds - passed - 0.003 <= left <= seconds + 1e-6

    def test_set_many_gives_all_keys_the_same_time(self, backend: KeyValueBackend) -> None:
        client, keys = backend.client, [backend.key(name) for name in "abc"]
        client.set(keys[1], "without an end")
        client.set_many(dict.fromkeys(keys, "v"), 50)
        assert all(40 < (client.ttl(key) or 0) <= 50 for key in keys)
        backend.advance(50)
        assert backend.names() == []

    def test_expire_may_shorten_and_prolong(self, backend: KeyValueBackend) -> None:
        client, key = backend.client, backend.key("k")
        client.set_with_expiry(key, "v", 100)
        for seconds in (20, 200, 5):
            assert client.expire(key, seconds) is True
            assert seconds - 4 < (client.ttl(key) or 0) <= seconds
        backend.advance(5)
        assert client.get(key) is None

    def test_a_century_is_the_longest_duration(self, backend: KeyValueBackend) -> None:
        client, key = backend.client, backend.key("k")
        century = 100 * 365 * 86400
        client.set_with_expiry(key, "v", century)
        assert century - 10 < (client.ttl(key) or 0) <= century

    # --- counters

    def test_increment(self, backend: KeyValueBackend) -> None:
        client, key = backend.client, backend.key("k")
        assert client.increment(key) == 1
        assert client.increment(key, 41) == 42
        assert client.increment(key, -50) == -8
        assert client.increment(key, 0) == -8
        assert client.get(key) == "-8"
        assert client.ttl(key) == math.inf
        client.set(key, "10")
        assert client.increment(key) == 11

    def test_increment_sets_the_ttl_at_creation_only(self, backend: KeyValueBackend) -> None:
        client, key = backend.client, backend.key("k")
        assert client.increment(key, 5, ttl=100) == 5
        assert 80 < (client.ttl(key) or 0) <= 100
        backend.advance(60)
        assert client.increment(key, 5, ttl=100) == 10
        assert client.increment(key, 5) == 15
        assert 20 < (client.ttl(key) or 0) <= 40
        backend.advance(40)
        assert client.increment(key, 7, ttl=100) == 7
        assert 80 < (client.ttl(key) or 0) <= 100

    def test_increment_gives_no_ttl_to_a_key_without(self, backend: KeyValueBackend) -> None:
        client, key = backend.client, backend.key("k")
        client.set(key, "1")
        assert client.increment(key, 1, ttl=10) == 2
        assert client.ttl(key) == math.inf

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "a",
            "1.0",
            "1e3",
            "01",
            "+1",
            "-0",
            " 1",
            "1 ",
            "1_000",
            "٣",
            "0x1",
            "--1",
            "-",
            str(2**63),
        ],
    )
    @pytest.mark.parametrize("ttl", [None, 10])
    def test_increment_of_what_is_no_integer(
        self, backend: KeyValueBackend, text: str, ttl: float | None
    ) -> None:
        client, key = backend.client, backend.key("k")
        client.set(key, text)
        with pytest.raises(infra.CacheError, match="holds no whole number of 64 bits") as caught:
            client.increment(key, 1, ttl)
        assert (caught.value.service, caught.value.operation, caught.value.retryable) == (
            "redis",
            "increment",
            False,
        )
        assert (client.get(key), client.ttl(key)) == (text, math.inf)

    def test_increment_stays_within_64_bits(self, backend: KeyValueBackend) -> None:
        client, key = backend.client, backend.key("k")
        assert client.increment(key, 2**63 - 1) == 9223372036854775807
        with pytest.raises(infra.CacheError, match="holds no whole number of 64 bits"):
            client.increment(key)
        assert client.get(key) == "9223372036854775807"
        client.delete(key)
        assert client.increment(key, -(2**63)) == -9223372036854775808
        with pytest.raises(infra.CacheError):
            client.increment(key, -1, ttl=5)
        assert client.ttl(key) == math.inf

    def test_increments_of_many_threads_all_count(self, backend: KeyValueBackend) -> None:
        key = backend.key("k")
        results = in_threads(
            8, lambda _: [backend.client.increment(key, ttl=60) for _ in range(50)]
        )
        assert sorted(total for each in results for total in each) == list(range(1, 401))

    def test_writes_of_many_threads_never_tear_an_increment(self, backend: KeyValueBackend) -> None:
        """While others set multiples of 1000, no increment brings an older value back."""
        client, key = backend.client, backend.key("k")

        def work(number: int) -> list[int]:
            if number:
                return [client.increment(key) for _ in range(200)]
            for turn in range(1, 201):
                client.set(key, str(turn * 1000))
            return []

        totals = in_threads(4, work)
        assert all(mine == sorted(mine) and len(mine) == 200 for mine in totals[1:])
        assert int(client.get(key) or 0) >= 200_000

    def test_threads_that_remove_and_create_take_turns(self, backend: KeyValueBackend) -> None:
        """The thread that creates the key removes it: no two threads hold it at once."""
        client, key = backend.client, backend.key("k")

        def work(number: int) -> int:
            created = 0
            for turn in range(100):
                if client.set_nx(key, f"{number}:{turn}"):
                    created += 1
                    assert client.compare_and_delete(key, f"{number}:{turn}") is True
            return created

        results = in_threads(4, work)
        assert all(isinstance(created, int) for created in results), results
        assert sum(results) > 0
        assert client.get(key) is None

    # --- scan

    @pytest.mark.parametrize("glob", GLOBS)
    def test_scan_matches_redis_globs(self, backend: KeyValueBackend, glob: str) -> None:
        backend.client.set_many({backend.key(name): "v" for name in GLOB_NAMES})
        assert backend.names(glob) == sorted(GLOBS[glob])

    def test_scan_without_a_glob_finds_every_key(self, backend: KeyValueBackend) -> None:
        backend.client.set(backend.key("k"), "v")
        assert backend.key("k") in set(backend.client.scan())

    def test_scan_takes_other_changes_meanwhile(self, backend: KeyValueBackend) -> None:
        backend.client.set_many({backend.key(f"{n}"): "v" for n in range(50)})
        for key in backend.client.scan(backend.key("*")):
            backend.client.delete(key)
        assert backend.names() == []

    @pytest.mark.parametrize("glob", ["", "a\0", "\ud800", 5, None, b"a"])
    def test_scan_refuses_at_the_call(self, backend: KeyValueBackend, glob: Any) -> None:
        with pytest.raises(infra.ValidationError):
            backend.client.scan(glob)

    # --- publish and listen

    def test_messages_arrive_in_order(self, backend: KeyValueBackend) -> None:
        inbox, channel = Inbox(), backend.key("c")
        with backend.client.listen(inbox) as listener:
            assert backend.client.publish(channel, "too early") == 0
            listener.subscribe(channel)
            for payload in ("1", "", "é日本🎉", "a\nb"):
                assert backend.connect().publish(channel, payload) == 1
            assert backend.client.publish(channel + "x", "elsewhere") == 0
            expected = [
                (channel, None, "1"),
                (channel, None, ""),
                (channel, None, "é日本🎉"),
                (channel, None, "a\nb"),
            ]
            assert inbox.wait(4) == expected

    def test_a_channel_and_a_matching_glob_deliver_twice(self, backend: KeyValueBackend) -> None:
        inbox, channel, glob = Inbox(), backend.key("c"), backend.key("[c]")
        with backend.client.listen(inbox) as listener:
            listener.subscribe(channel, channel)
            listener.subscribe(channel)
            listener.psubscribe(glob)
            assert backend.client.publish(channel, "m") == 2
            assert sorted(inbox.wait(2), key=str) == sorted(
                [(channel, None, "m"), (channel, glob, "m")], key=str
            )

    def test_the_channel_delivers_before_the_globs(self, backend: KeyValueBackend) -> None:
        """Redis keeps globs in a hash table: among themselves they have no order."""
        inbox, channel = Inbox(), backend.key("c")
        globs = [backend.key(glob) for glob in ("*", "?", "[c]", "c*")]
        with backend.client.listen(inbox) as listener:
            listener.psubscribe(*globs)
            listener.subscribe(channel)
            for payload in ("1", "2", "3"):
                assert backend.client.publish(channel, payload) == 5
            found = inbox.wait(15)
        for number, payload in enumerate(("1", "2", "3")):
            first, *others = found[5 * number : 5 * number + 5]
            assert first == (channel, None, payload)
            assert sorted(others, key=str) == [(channel, glob, payload) for glob in sorted(globs)]

    def test_every_listener_gets_every_message(self, backend: KeyValueBackend) -> None:
        inboxes, channel = [Inbox(), Inbox(), Inbox()], backend.key("c")
        listeners = [
            backend.client.listen(inboxes[0]),
            backend.client.listen(inboxes[1]),
            backend.connect().listen(inboxes[2]),
        ]
        for listener in listeners:
            listener.subscribe(channel)
        assert backend.client.publish(channel, "m") == 3
        assert [inbox.wait(1) for inbox in inboxes] == [[(channel, None, "m")]] * 3
        for listener in listeners:
            listener.close()
        eventually(lambda: backend.client.publish(channel, "m") == 0)

    def test_unsubscribe(self, backend: KeyValueBackend) -> None:
        inbox, a, b, glob = Inbox(), backend.key("a"), backend.key("b"), backend.key("?")
        with backend.client.listen(inbox) as listener:
            listener.subscribe(a, b)
            listener.psubscribe(glob)
            listener.unsubscribe(a)
            assert backend.client.publish(a, "1") == 1
            listener.punsubscribe(glob, "never subscribed")
            assert backend.client.publish(a, "2") == 0
            assert backend.client.publish(b, "3") == 1
            listener.unsubscribe(b)
            listener.subscribe(a)
            assert backend.client.publish(a, "4") == 1
            listener.psubscribe(glob, b)
            listener.punsubscribe(b, glob)
            assert backend.client.publish(b, "5") == 0
            assert inbox.wait(3) == [(a, glob, "1"), (b, None, "3"), (a, None, "4")]

    def test_a_channel_and_a_glob_of_the_same_name(self, backend: KeyValueBackend) -> None:
        inbox, name = Inbox(), backend.key("a")
        with backend.client.listen(inbox) as listener:
            listener.subscribe(name)
            listener.psubscribe(name)
            listener.unsubscribe(name)
            assert backend.client.publish(name, "1") == 1
            listener.unsubscribe(name)  # it is not subscribed to by name
            assert backend.client.publish(name, "2") == 1
            listener.subscribe(name)
            listener.punsubscribe(name)
            assert backend.client.publish(name, "3") == 1
            listener.punsubscribe(name)
            assert backend.client.publish(name, "4") == 1
            listener.unsubscribe(name)
            assert backend.client.publish(name, "5") == 0
            assert inbox.wait(4) == [
                (name, name, "1"),
                (name, name, "2"),
                (name, None, "3"),
                (name, None, "4"),
            ]

    def test_a_raising_handler_hinders_nobody(
        self, backend: KeyValueBackend, caplog: pytest.LogCaptureFixture
    ) -> None:
        inbox, channel = Inbox(), backend.key("c")

        def handler(name: str, pattern: str | None, payload: str) -> None:
            inbox(name, pattern, payload)
            raise RuntimeError("a handler's mistake")

        with backend.client.listen(handler) as listener:
            listener.subscribe(channel)
            backend.client.publish(channel, "1")
            backend.client.publish(channel, "2")
            assert inbox.wait(2) == [(channel, None, "1"), (channel, None, "2")]
        assert [record.levelname for record in caplog.records if "raised" in record.message] == [
            "WARNING",
            "WARNING",
        ]

    @pytest.mark.parametrize("handler", handlers.SEEN)
    def test_a_handler_that_would_run_nothing_is_refused(
        self, backend: KeyValueBackend, handler: str
    ) -> None:
        lost = handlers.SEEN[handler]
        with pytest.raises(infra.ValidationError, match="on_message should be a plain function"):
            backend.client.listen(lost)
        with pytest.raises(infra.ValidationError, match="on_reconnect should be a plain function"):
            backend.client.listen(Inbox(), lost)

    @pytest.mark.parametrize("handler", handlers.RETURNING)
    def test_a_handler_that_runs_nothing_is_logged(
        self, backend: KeyValueBackend, caplog: pytest.LogCaptureFixture, handler: str
    ) -> None:
        inbox, channel = Inbox(), backend.key("c")

        def lost(name: str, pattern: str | None, payload: str) -> Any:
            inbox(name, pattern, payload)
            return handlers.RETURNING[handler]()

        with backend.client.listen(lost) as listener:
            listener.subscribe(channel)
            backend.client.publish(channel, "1")
            backend.client.publish(channel, "2")
            assert inbox.wait(2) == [(channel, None, "1"), (channel, None, "2")]
        assert len([each for each in caplog.records if "raised" in each.message]) == 2

    def test_a_handler_may_publish_and_subscribe(self, backend: KeyValueBackend) -> None:
        events, a, b = Inbox(), backend.key("a"), backend.key("b")

        def handler(channel: str, pattern: str | None, payload: str) -> None:
            if channel == a:
                listener.subscribe(b)
                backend.client.publish(a + "done", payload)  # nobody listens yet
                listener.unsubscribe(a)
            events(channel, pattern, payload + " begins")
            if payload == "1":
                backend.client.publish(b, "2")
            events(channel, pattern, payload + " ends")

        with backend.client.listen(handler) as listener:
            listener.subscribe(a)
            backend.client.publish(a, "1")
            assert events.wait(4) == [
                (a, None, "1 begins"),
                (a, None, "1 ends"),
                (b, None, "2 begins"),
                (b, None, "2 ends"),
            ]

    def test_a_handler_may_wait_for_another_thread_that_publishes(
        self, backend: KeyValueBackend
    ) -> None:
        inbox, channel, joined = Inbox(), backend.key("c"), []

        def handler(name: str, pattern: str | None, payload: str) -> None:
            if payload == "1":
                helper = threading.Thread(target=lambda: backend.client.publish(channel, "2"))
                helper.start()
                helper.join(10)
                joined.append(not helper.is_alive())
            inbox(name, pattern, payload)

        with backend.client.listen(handler) as listener:
            listener.subscribe(channel)
            backend.client.publish(channel, "1")
            assert inbox.wait(2) == [(channel, None, "1"), (channel, None, "2")]
        assert joined == [True]

    def test_one_message_at_a_time(self, backend: KeyValueBackend) -> None:
        inbox, channel, inside, most = Inbox(), backend.key("c"), [0], [0]

        def handler(name: str, pattern: str | None, payload: str) -> None:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            inbox(name, pattern, payload)
            inside[0] -= 1

        with backend.client.listen(handler) as listener:
            listener.subscribe(channel)
            in_threads(
                4,
                lambda number: [
                    backend.client.publish(channel, f"{number}:{turn}") for turn in range(25)
                ],
            )
            payloads = [payload for _, _, payload in inbox.wait(100)]
        assert most == [1]
        for number in range(4):  # of one publisher, in order
            mine = [payload for payload in payloads if payload.startswith(f"{number}:")]
            assert mine == [f"{number}:{turn}" for turn in range(25)]

    def test_a_handler_may_close_its_listener(self, backend: KeyValueBackend) -> None:
        inbox, channel, closed = Inbox(), backend.key("c"), threading.Event()

        def handler(name: str, pattern: str | None, payload: str) -> None:
            inbox(name, pattern, payload)
            listener.close()
            closed.set()

        listener = backend.client.listen(handler)
        listener.subscribe(channel)
        backend.client.publish(channel, "1")
        assert closed.wait(10)
        listener.close()
        backend.client.publish(channel, "2")
        assert inbox.messages == [(channel, None, "1")]

    def test_a_closed_listener(self, backend: KeyValueBackend) -> None:
        inbox, channel = Inbox(), backend.key("c")
        listener = backend.client.listen(inbox)
        listener.subscribe(channel)
        listener.close()
        listener.close()
        with pytest.raises(infra.ConnectionError):
            listener.subscribe(channel)
        with pytest.raises(infra.ConnectionError):
            listener.punsubscribe(channel)

    def test_closing_the_client_closes_its_listeners(self, backend: KeyValueBackend) -> None:
        client, channel = backend.connect(), backend.key("c")
        listener = client.listen(Inbox())
        listener.subscribe(channel)
        client.close()
        eventually(lambda: backend.client.publish(channel, "m") == 0)
        with pytest.raises(infra.ConnectionError):
            listener.psubscribe(channel)

    def test_listeners_refuse_bad_names(self, backend: KeyValueBackend) -> None:
        with backend.client.listen(Inbox()) as listener:
            for call in (
                listener.subscribe,
                listener.psubscribe,
                listener.unsubscribe,
                listener.punsubscribe,
            ):
                with pytest.raises(infra.ValidationError):
                    call()
                for name in BAD_KEYS:
                    with pytest.raises(infra.ValidationError):
                        call("fine", name)
        for handler in (None, "f"):
            with pytest.raises(infra.ValidationError):
                backend.client.listen(handler)  # type: ignore[arg-type]

    # --- bad input

    @pytest.mark.parametrize("method", WITH_A_KEY)
    def test_bad_keys(self, backend: KeyValueBackend, method: str) -> None:
        for key in BAD_KEYS:
            with pytest.raises(infra.ValidationError):
                WITH_A_KEY[method](backend.client, key)

    @pytest.mark.parametrize("method", WITH_A_VALUE)
    def test_bad_values(self, backend: KeyValueBackend, method: str) -> None:
        for value in BAD_VALUES:
            with pytest.raises(infra.ValidationError):
                WITH_A_VALUE[method](backend.client, backend.key("k"), value)
        assert backend.names() == []

    @pytest.mark.parametrize("method", WITH_SECONDS)
    def test_bad_durations(self, backend: KeyValueBackend, method: str) -> None:
        for seconds in BAD_SECONDS:
            with pytest.raises(infra.ValidationError):
                WITH_SECONDS[method](backend.client, backend.key("k"), seconds)
        assert backend.names() == []

    def test_bad_amounts(self, backend: KeyValueBackend) -> None:
        for amount in BAD_AMOUNTS:
            with pytest.raises(infra.ValidationError):
                backend.client.increment(backend.key("k"), amount)
        assert backend.names() == []

    # --- life

    def test_health_check(self, backend: KeyValueBackend) -> None:
        health = backend.client.health_check()
        assert health.service == "redis"
        assert health.server.startswith(("Redis ", "Valkey ", "FakeRedisClient"))
        assert 0 <= health.latency < 5

    def test_stats(self, backend: KeyValueBackend) -> None:
        client = backend.connect()
        assert (client.stats().open, client.stats().in_use) == (0, 0)  # opened on use
        client.get(backend.key("k"))
        found = client.stats()
        assert (found.in_use, found.waiting) == (0, 0)
        assert 0 <= found.open == found.idle
        if isinstance(client, infra.RedisClient):
            assert found.idle <= (found.max_connections or 0)
        else:
            assert found.max_connections is None  # a fake has no limit
        client.close()
        assert (client.stats().open, client.stats().idle) == (0, 0)

    def test_a_closed_client(self, backend: KeyValueBackend) -> None:
        with backend.connect() as client:
            client.set(backend.key("k"), "v")
        client.close()
        for call in (
            lambda: client.get("k"),
            client.scan,
            client.health_check,
            lambda: client.listen(Inbox()),
        ):
            with pytest.raises(infra.ConnectionError) as caught:
                call()
            assert (caught.value.service, caught.value.retryable) == ("redis", False)
        assert backend.client.get(backend.key("k")) == "v"


class TestFake(KeyValueClientContract):
    backend = on_fake_redis()


class TestRedis(KeyValueClientContract):
    backend = on_real_redis("redis")


class TestRedis62(KeyValueClientContract):
    backend = on_real_redis("redis-6.2")


class TestTls(KeyValueClientContract):
    backend = on_real_redis("redis-tls")


class TestCluster(KeyValueClientContract):
    backend = on_real_redis("redis-cluster")


class TestClusterTls(KeyValueClientContract):
    backend = on_real_redis("redis-cluster-tls")
