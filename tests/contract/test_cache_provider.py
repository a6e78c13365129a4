"""The contract of RedisCacheProvider, CacheLock and CacheKey: one class, over every client."""

from __future__ import annotations

import copy
import enum
import itertools
import json
import logging
import math
import pickle
import threading
import time
import traceback
import tracemalloc
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

import fakes
import infra
from tests.contract import handlers, refusals
from tests.contract.backends import (
    WAIT,
    Between,
    KeyValueBackend,
    ShiftedClock,
    eventually,
    fake_key_value_backend,
    in_threads,
    real_key_value_backend,
)
from tests.contract.base import Contract
from tests.contract.globs import GLOB_NAMES, GLOBS
from tests.contract.test_key_value_client import BAD_AMOUNTS, BAD_KEYS, BAD_SECONDS
from tests.contract.texts import Number, Odd, Text, any_text, plain

Cache = infra.RedisCacheProvider

VALUES: list[Any] = [
    None, True, False, 0, -1, 2**70, 1.5, -0.0, 1e300, "", " padded ", "é日本🎉", 'quo"te\\',
    "a\nb", [], {},
    [[], {}, None], {"": 0, "é": [1, 2.5, {"deep": [True, "x"]}]}, "x" * 100_000,
]  # fmt: skip
CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)
DEEP: Any = json.loads("[" * 101 + "]" * 101)
NO_JSON: list[Any] = [
    math.nan, math.inf, -math.inf, (1, 2), {1: "a"}, {None: 1}, {1, 2}, b"a", infra.MISSING,
    datetime(2026, 1, 1), [(1,)], {"a": math.nan}, uuid.UUID(int=1), CIRCLE, DEEP, 10**5000,
]  # fmt: skip
NO_TEXT: list[Any] = ["a\0b", ["\0"], {"a\0": 1}, "\ud800", {"a": ["\udfff"]}]
FOREIGN = [
    "",
    "{",
    "'tell nobody'",
    "NaN",
    "[Infinity]",
    "-Infinity",
    "1 2",
    "[1,]",
    "tru",
    "tell nobody",
    "[" * 100_000,
]
BAD_TTLS = [each for each in BAD_SECONDS if each != 0 or isinstance(each, bool)]  # 0: no expiry
BAD_CACHE_KEYS: list[Any] = [*BAD_KEYS, "~", "~lock:k"]

WITH_A_KEY: dict[str, Callable[[Cache, Any], Any]] = {
    "get": lambda c, key: c.get(key),
    "get_many": lambda c, key: c.get_many(["fine", key]),
    "set": lambda c, key: c.set(key, 1),
    "set_many": lambda c, key: c.set_many(dict.fromkeys(["fine", key if key.__hash__ else ""], 1)),
    "set_nx": lambda c, key: c.set_nx(key, 1),
    "delete": lambda c, key: c.delete(key),
    "exists": lambda c, key: c.exists(key),
    "ttl": lambda c, key: c.ttl(key),
    "expire": lambda c, key: c.expire(key, 1),
    "increment": lambda c, key: c.increment(key),
    "get_or_set": lambda c, key: c.get_or_set(key, lambda: 1),
    "lock": lambda c, key: c.lock(key, 1),
    "check_rate_limit": lambda c, key: c.check_rate_limit(key, 1, 1),
}
WITH_A_VALUE: dict[str, Callable[[Cache, Any], Any]] = {
    "set": lambda c, value: c.set("k", value),
    "set_many": lambda c, value: c.set_many({"fine": 1, "k": value}),
    "set_nx": lambda c, value: c.set_nx("k", value),
    "get_or_set": lambda c, value: c.get_or_set("k", lambda: value),
}
WITH_A_TTL: dict[str, Callable[[Cache, Any], Any]] = {
    "set": lambda c, ttl: c.set("k", 1, ttl),
    "set_many": lambda c, ttl: c.set_many({"k": 1}, ttl),
    "set_nx": lambda c, ttl: c.set_nx("k", 1, ttl),
    "increment": lambda c, ttl: c.increment("k", ttl=ttl),
    "get_or_set": lambda c, ttl: c.get_or_set("k", lambda: 1, ttl),
}
#: the answer of a cache that fails open while Redis does not answer, or that it raises all the same
FAILS_OPEN: dict[str, tuple[Callable[[Cache], Any], Any]] = {
    "get": (lambda c: c.get("k", 5), 5),
    "get_many": (lambda c: c.get_many(["k"]), {}),
    "set": (lambda c: c.set("k", 1), None),
    "set_many": (lambda c: c.set_many({"k": 1}), None),
    "delete": (lambda c: c.delete("k"), False),
    "delete_pattern": (lambda c: c.delete_pattern("*"), 0),
    "exists": (lambda c: c.exists("k"), False),
    "ttl": (lambda c: c.ttl("k"), None),
    "expire": (lambda c: c.expire("k", 1), False),
    "get_or_set": (lambda c: c.get_or_set("k", lambda: [1]), [1]),
    "set_nx": (lambda c: c.set_nx("k", 1), infra.CacheError),
    "increment": (lambda c: c.increment("k"), infra.CacheError),
    "lock": (lambda c: c.lock("k", 1).acquire(0), infra.CacheError),
    "check_rate_limit": (lambda c: c.check_rate_limit("k", 1, 1), infra.CacheError),
}


@dataclass
class CacheBackend:
    """Make caches for a test, whose keys have the test's prefix.

    ``cache(**options)`` makes caches that share keys, ``elsewhere`` makes one of another process.
    ``advance`` lets time pass for the keys.
    """

    redis: KeyValueBackend
    make: Callable[..., Cache]

    def cache(self, client: Any = None, prefix: str = "", **options: Any) -> Cache:
        return self.make(client or self.redis.client, self.redis.prefix + prefix, **options)

    def elsewhere(self, **options: Any) -> Cache:
        return self.cache(self.redis.connect(), **options)

    def cut_off(self, **options: Any) -> Cache:
        """One whose client is closed: Redis does not answer it."""
        client = self.redis.connect()
        client.close()
        return self.cache(client, **options)

    def advance(self, seconds: float) -> None:
        self.redis.advance(seconds)


class Waking(fakes.FakeClock):
    """Does something in place of each wait."""

    def __init__(self, action: Callable[[], Any]) -> None:
        super().__init__()
        self.action = action

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.action()


def blocked(action: Callable[[], Any]) -> Callable[[], Any]:
    """The action in a thread; the function returned waits for its end, and gives its result."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(action()))
    thread.start()

    def join() -> Any:
        thread.join(WAIT)
        assert not thread.is_alive(), "a thread hangs"
        return results[0]

    return join


class CacheProviderContract(Contract):
    port = infra.RedisCacheProvider

    # --- values

    def test_an_absent_key(self, backend: CacheBackend) -> None:
        cache = backend.cache()
        assert cache.get("k") is None
        assert cache.get("k", "other") == "other"
        assert cache.get("k", infra.MISSING) is infra.MISSING
        assert cache.get_many(["k"]) == {}
        assert cache.exists("k") is False
        assert cache.ttl("k") is None
        assert cache.expire("k", 5) is False
        assert cache.delete("k") is False
        assert cache.delete_pattern("*") == 0
        assert backend.redis.names() == []

    @pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
    def test_a_value_comes_back_as_it_was(self, backend: CacheBackend, value: Any) -> None:
        cache = backend.cache()
        assert cache.set("k", value) is None  # type: ignore[func-returns-value]
        cache.set_many({"m": value})
        assert cache.set_nx("x", value) is True
        assert repr(cache.get_or_set("o", lambda: value)) == repr(value)
        assert repr(cache.get("k", 5)) == repr(value)
        assert repr(cache.get_many(["k", "m", "x", "o"])) == repr(dict.fromkeys("kmxo", value))
        assert repr(backend.elsewhere().get("k", 5)) == repr(value)
        assert cache.exists("k") is True

    def test_a_cached_none_is_no_miss(self, backend: CacheBackend) -> None:
        cache = backend.cache()
        cache.set("k", None)
        assert cache.get("k", "other") is None
        assert cache.get("k", infra.MISSING) is None
        assert cache.get_many(["k", "l"]) == {"k": None}
        assert cache.get_or_set("k", lambda: 5) is None
        assert copy.deepcopy(infra.MISSING) is infra.MISSING
        assert pickle.loads(pickle.dumps(infra.MISSING)) is infra.MISSING  # noqa: S301
        assert repr(infra.MISSING) == "MISSING"

    def test_what_stands_in_redis(self, backend: CacheBackend) -> None:
        cache, client = backend.cache(), backend.redis.client
        cache.set("k", {"a": [1, None, "é"]})
        assert client.get(backend.redis.key("k")) == '{"a":[1,null,"é"]}'
        client.set(backend.redis.key("l"), ' {"a": 1}\n')
        assert cache.get("l") == {"a": 1}

    def test_values_that_come_out_are_copies(self, backend: CacheBackend) -> None:
        cache, value = backend.cache(), {"a": [1]}
        cache.set("k", value)
        filled = cache.get_or_set("l", lambda: value)
        value["a"].append(2)
        filled["a"].append(3)
        cache.get("k")["a"].append(4)
        assert cache.get_many(["k", "l"]) == {"k": {"a": [1]}, "l": {"a": [1]}}

    def test_text_of_a_subclass_is_plain_text(self, backend: CacheBackend) -> None:
        class Colour(str, enum.Enum):
            RED = "red"

        cache = backend.cache()
        cache.set(Colour.RED, Colour.RED)
        assert cache.get_or_set(Colour.RED, lambda: 5) == cache.get("red") == "red"
        assert type(cache.get("red")) is str
        with cache.lock(Colour.RED, 5):
            assert backend.redis.names() == ["red", "~lock:red"]

    def test_a_useless_argument_changes_nothing(self, backend: CacheBackend) -> None:
        cache, calls = backend.cache(), list[int]()
        cache.set("k", 1, 1000)

        def state() -> Any:
            return backend.redis.names(), cache.get("k"), (cache.ttl("k") or 0) > 500, calls

        for method, *arguments in (
            (cache.set, "k", 2, 5),
            (cache.set_many, {"n": 1}, 5),
            (cache.set_nx, "n", 1, 5),
            (cache.expire, "k", 5),
            (cache.increment, "k", 1, 5),
            (cache.get_or_set, "n", lambda: calls.append(1), 5),
            (cache.lock, "k", 5, 5),
            (cache.check_rate_limit, "n", 5, 5),
            (cache.get_many, ["k"]), (cache.get, "k"), (cache.exists, "k"), (cache.ttl, "k"),
            (cache.delete, "k"), (cache.delete_pattern, "k"),
        ):  # fmt: skip
            refusals.check(method, arguments, state)
        with pytest.raises(infra.SerializationError):
            cache.set_many({"n": 1, "m": refusals.Useless()})
        with pytest.raises(infra.ValidationError):
            cache.get_or_set("n", lambda: calls.append(1), timeout=refusals.Useless())  # type: ignore[arg-type]
        with pytest.raises(infra.SerializationError):
            cache.get_or_set("n", refusals.Useless)
        refusals.check_iterable(cache.get_many, state)
        assert (state(), calls) == ((["k"], 1, True, []), [])

    @any_text
    def test_text_of_any_subclass(self, backend: CacheBackend, text: Text) -> None:
        cache = backend.cache(prefix=text("p:"))
        k, document = text("k"), {text("a"): [text("é v"), {text("b"): text("")}], "n": Number.ONE}
        read = {"a": ["é v", {"b": ""}], "n": 1}
        cache.set(k, document)
        assert backend.redis.names() == ["p:k"]
        assert plain(cache.get(k)) == plain(cache.get("k")) == read
        assert plain(cache.get_many([k, "other"])) == {"k": read}
        assert [cache.exists(k), cache.expire(k, 50), (cache.ttl(k) or 0) > 10] == [True] * 3
        assert [cache.delete(k), cache.set_nx(k, document), cache.set_nx(k, 1)] == [
            True,
            True,
            False,
        ]
        assert plain(cache.get_or_set(k, lambda: 1)) == read
        assert cache.delete_pattern(k) == 1
        assert plain(cache.get_or_set(k, lambda: text("é"))) == "é"
        assert type(cache.get_or_set(text("n"), lambda: Number.ONE)) is int
        cache.set_many({k: text("é"), "m": text("")})
        assert plain(cache.get_many(["k", "m"])) == {"k": "é", "m": ""}
        assert [cache.increment(text("count")), cache.increment("count")] == [1, 2]
        with cache.lock(k, 5):
            assert cache.lock("k", 5).acquire(0) is False
        assert cache.check_rate_limit(text("limit"), 2, 60).remaining == 1
        assert cache.check_rate_limit("limit", 2, 60).remaining == 0

    @any_text
    def test_parts_of_any_subclass(self, backend: CacheBackend, text: Text) -> None:
        made = [
            infra.CacheKey.rate_limit(text("a:b"), text("é")),
            infra.CacheKey.user(text("a b")),
            infra.CacheKey.session(Number.ONE),
        ]
        assert plain(made) == ["ratelimit:a%3Ab:é", "user:a%20b", "session:1"]

    def test_keys_that_are_the_same_text(self, backend: CacheBackend) -> None:
        """One of the two values would be lost."""
        with pytest.raises(infra.SerializationError):
            backend.cache().set("k", {Odd("a"): 1, "a": 2})
        assert backend.redis.names() == []

    @pytest.mark.parametrize("method", WITH_A_VALUE)
    def test_what_json_cannot_say(self, backend: CacheBackend, method: str) -> None:
        cache = backend.cache(fail_open=True)
        for error, values in (
            (infra.SerializationError, NO_JSON),
            (infra.ValidationError, NO_TEXT),
        ):
            for value in values:
                with pytest.raises(error):
                    WITH_A_VALUE[method](cache, value)
        assert backend.redis.names() == []

    @pytest.mark.parametrize("text", FOREIGN, ids=lambda text: text[:20])
    @pytest.mark.parametrize("fail_open", [False, True])
    def test_what_is_no_json_in_redis(
        self, backend: CacheBackend, text: str, fail_open: bool
    ) -> None:
        cache = backend.cache(fail_open=fail_open)
        backend.redis.client.set(backend.redis.key("k"), text)
        cache.set("fine", 1)
        for operation, call in (
            ("get", lambda: cache.get("k")),
            ("get_many", lambda: cache.get_many(["fine", "k"])),
            ("get_or_set", lambda: cache.get_or_set("k", lambda: 1)),
        ):
            with pytest.raises(infra.SerializationError) as caught:
                call()
            assert (caught.value.service, caught.value.operation) == ("cache", operation)
            assert caught.value.__context__ is None
            assert "nobody" not in "".join(traceback.format_exception(caught.value))
        assert backend.redis.client.get(backend.redis.key("k")) == text

    def test_set_replaces_value_and_expiry(self, backend: CacheBackend) -> None:
        cache = backend.cache()
        cache.set("k", 1, 100)
        cache.set("k", 2, 0)
        assert (cache.get("k"), cache.ttl("k")) == (2, math.inf)
        cache.set("k", [3], 50)
        assert cache.get("k") == [3]
        assert 40 < (cache.ttl("k") or 0) <= 50

    def test_set_nx(self, backend: CacheBackend) -> None:
        cache = backend.cache()
        assert cache.set_nx("k", {"a": 1}, 50) is True
        assert cache.set_nx("k", 2, 100) is False
        assert cache.get("k") == {"a": 1}
        assert 40 < (cache.ttl("k") or 0) <= 50

    def test_delete(self, backend: CacheBackend) -> None:
        cache = backend.cache()
        cache.set("k", None)
        assert cache.delete("k") is True
        assert cache.delete("k") is False

    def test_many(self, backend: CacheBackend) -> None:
        cache = backend.cache()
        items = {f"{number:04}": {"n": number} for number in range(2500)}
        cache.set_many(items, 100)
        assert cache.get_many([*items, "absent", "0000"]) == items
        assert list(cache.get_many(iter(["0002", "absent", "0001"]))) == ["0002", "0001"]
        assert 90 < (cache.ttl("2499") or 0) <= 100
        cache.set_many({})
        assert cache.get_many([]) == {}

    def test_many_takes_no_single_one(self, backend: CacheBackend) -> None:
        cache = backend.cache()
        for single in ("abc", b"abc", 5, None):
            for call in (cache.get_many, cache.set_many):
                with pytest.raises(infra.ValidationError):
                    call(single)  # type: ignore[arg-type]

    # --- time to live

    @pytest.mark.parametrize("method", WITH_A_TTL)
    def test_a_ttl_is_the_calls_or_the_caches_own(self, backend: CacheBackend, method: str) -> None:
        for options, ttl, expected in (
            ({}, None, 3600),
            ({}, 0, math.inf),
            ({}, 60, 60),
            ({"default_ttl": 70.5}, None, 70.5),
            ({"default_ttl": 0}, None, math.inf),
            ({"default_ttl": 0}, 80, 80),
        ):
            cache = backend.cache(**options)
            WITH_A_TTL[method](cache, ttl)
            left = cache.ttl("k") or 0
            assert left == expected or expected - 10 < left <= expected
            cache.delete("k")

    @pytest.mark.parametrize("method", WITH_A_TTL)
    def test_times_to_live_are_not_in_whole_seconds(
        self, backend: CacheBackend, method: str
    ) -> None:
        cache = backend.cache()
        for ttl in (60.5, 7.75):
            started = time.monotonic()
            WITH_A_TTL[method](cache, ttl)
            left = cache.ttl("k") or 0.0
            assert ttl - (time.monotonic() - started) - 0.003 <= left <= ttl + 1e-6
            cache.delete("k")

    def test_a_key_lives_until_its_time(self, backend: CacheBackend) -> None:
        cache = backend.cache(default_ttl=100)
        cache.set("k", 1)
        backend.advance(40)
        assert cache.get("k") == 1
        assert cache.expire("k", 80) is True
        assert 70 < (cache.ttl("k") or 0) <= 80
        backend.advance(60)
        assert cache.exists("k") is True
        backend.advance(20)
        assert cache.exists("k") is False
        assert cache.get("k", infra.MISSING) is infra.MISSING

    # --- counters

    def test_increment(self, backend: CacheBackend) -> None:
        cache = backend.cache()
        assert cache.increment("k", ttl=100) == 1
        assert cache.increment("k", 41) == 42
        assert cache.get("k") == 42
        backend.advance(60)
        assert cache.increment("k", -2, ttl=100) == 40
        assert 20 < (cache.ttl("k") or 0) <= 40
        backend.advance(40)
        assert cache.increment("k", ttl=100) == 1
        cache.set("k", 7)
        assert cache.increment("k") == 8

    @pytest.mark.parametrize("value", [None, True, 1.0, "1", [1], {"a": 1}])
    def test_increment_of_what_is_no_whole_number(self, backend: CacheBackend, value: Any) -> None:
        cache = backend.cache(fail_open=True)
        cache.set("k", value)
        with pytest.raises(infra.CacheError) as caught:
            cache.increment("k")
        assert caught.value.retryable is False
        assert repr(cache.get("k", 5)) == repr(value)

    # --- prefixes and patterns

    def test_prefixes_keep_caches_apart(self, backend: CacheBackend) -> None:
        one, other = backend.cache(prefix="1:"), backend.cache(prefix="2:")
        one.set("k", 1)
        other.set("k", 2)
        assert (one.get("k"), other.get("k")) == (1, 2)
        assert backend.redis.names() == ["1:k", "2:k"]
        assert one.delete_pattern("*") == 1
        assert other.get("k") == 2

    @pytest.mark.parametrize("glob", GLOBS)
    def test_delete_pattern_matches_redis_globs(self, backend: CacheBackend, glob: str) -> None:
        cache = backend.cache()
        cache.set_many(dict.fromkeys(GLOB_NAMES))
        assert cache.delete_pattern(glob) == len(GLOBS[glob])
        assert backend.redis.names() == sorted(set(GLOB_NAMES) - set(GLOBS[glob]))

    @pytest.mark.parametrize(
        "prefix", ["*", "?", "[ab]", "[^a]", "a\\", "\\", "]", "^", "{t}*", "é*", "a-[", "[", "\\*"]
    )
    def test_a_prefix_is_no_glob(self, backend: CacheBackend, prefix: str) -> None:
        cache = backend.cache(prefix=prefix)
        others = [
            "a",
            "b",
            "ab",
            "x",
            "xk",
            "*",
            "[ab]",
            "a\\",
            "\\x",
            "\\\\",
            "]x",
            "^x",
            "ax",
            "tk",
            "{t}x",
            "éx",
            "a-x",
        ]
        others = [name for name in others if not name.startswith(prefix)]
        for name in others:
            backend.redis.client.set(backend.redis.key(name), "0")
        cache.set_many({"k": 1, "l": 2, "[kl]": 3})
        assert cache.get("k") == 1
        assert cache.delete_pattern("[kl]") == 2
        assert cache.delete_pattern("*") == 1
        assert backend.redis.names() == sorted(others)

    def test_delete_pattern_of_thousands(self, backend: CacheBackend) -> None:
        cache = backend.cache()
        cache.set_many(
            dict.fromkeys((f"{kind}:{number}" for kind in "ab" for number in range(2500)), 0)
        )
        assert cache.delete_pattern("a:*") == 2500
        assert cache.delete_pattern("a:*") == 0
        assert len(backend.redis.names()) == 2500

    def test_delete_pattern_leaves_locks(self, backend: CacheBackend) -> None:
        cache = backend.cache()
        with cache.lock("k", 60):
            cache.set("k", 1)
            assert cache.delete_pattern("*") == 1
            assert cache.delete_pattern("~*") == 0
            assert cache.get("k") is None
            assert backend.elsewhere().lock("k", 60).acquire(0) is False

    # --- get_or_set

    def test_get_or_set(self, backend: CacheBackend) -> None:
        cache, calls = backend.cache(), []

        def factory() -> Any:
            calls.append(1)
            return {"n": len(calls)}

        assert cache.get_or_set("k", factory, 60) == {"n": 1}
        assert cache.get_or_set("k", factory) == {"n": 1}
        assert backend.elsewhere().get_or_set("k", factory) == {"n": 1}
        assert 50 < (cache.ttl("k") or 0) <= 60
        assert backend.redis.names() == ["k"]  # no lock is left behind
        backend.advance(60)
        assert cache.get_or_set("k", factory) == {"n": 2}

    def test_fifty_threads_on_one_cold_key(self, backend: CacheBackend) -> None:
        client: Any = Between(backend.redis.client, "get", lambda: reads.append(1), times=1000)
        reads: list[int] = []
        calls: list[int] = []
        clock = Waking(lambda: calls.append(1000))  # who waits for another thread asks no clock
        cache = backend.cache(client, clock=clock)

        def factory() -> list[int]:
            calls.append(1)
            eventually(lambda: len(reads) > 50)  # all have asked, and this one twice
            return [7]

        results = in_threads(50, lambda _: cache.get_or_set("k", factory))
        assert results == [[7]] * 50
        assert calls == [1]
        assert len({id(result) for result in results}) == 50

    @pytest.mark.parametrize("failures", [1, 3, 50])
    def test_a_factory_that_raises_holds_up_nobody(
        self, backend: CacheBackend, failures: int
    ) -> None:
        reads: list[int] = []
        client: Any = Between(backend.redis.client, "get", lambda: reads.append(1), times=1000)
        cache, calls = backend.cache(client), []

        def factory() -> int:
            calls.append(1)
            eventually(lambda: len(reads) > 50)
            if len(calls) <= failures:
                raise LookupError(len(calls))
            return 7

        results = in_threads(50, lambda _: cache.get_or_set("k", factory))
        errors = [result for result in results if isinstance(result, Exception)]
        assert sorted(error.args for error in errors) == [
            (number,) for number in range(1, failures + 1)
        ]
        assert {type(error) for error in errors} == {LookupError}
        assert results.count(7) == 50 - failures
        assert len(calls) == min(failures + 1, 50)
        assert backend.redis.names() == (["k"] if failures < 50 else [])

    def test_another_process_fills_the_key(self, backend: CacheBackend) -> None:
        waits, done = threading.Event(), threading.Event()

        def wait() -> None:
            waits.set()
            assert done.wait(WAIT)

        cache, other = backend.cache(), backend.elsewhere(clock=Waking(wait))
        joins: list[Callable[[], Any]] = []

        def factory() -> str:
            joins.append(blocked(lambda: other.get_or_set("k", lambda: "twice")))
            assert waits.wait(WAIT)
            return "once"

        assert cache.get_or_set("k", factory) == "once"
        done.set()
        assert joins[0]() == "once"

    def test_what_was_filled_just_before_the_lock_was_obtained(self, backend: CacheBackend) -> None:
        other = backend.elsewhere()
        client: Any = Between(
            backend.redis.client, "set_nx", lambda: other.get_or_set("k", lambda: "once")
        )
        assert backend.cache(client).get_or_set("k", lambda: "twice") == "once"

    def test_a_process_that_dies_in_its_factory(self, backend: CacheBackend) -> None:
        backend.redis.client.set_with_expiry(backend.redis.key("~fill:k"), "of the dead", 30)
        cache = backend.cache(clock=Waking(lambda: backend.advance(10)))
        assert cache.get_or_set("k", lambda: "mine") == "mine"
        assert backend.redis.names() == ["k"]

    @pytest.mark.parametrize(
        ("retryable", "fail_open"), [(False, False), (True, False), (False, True), (True, True)]
    )
    def test_a_value_that_is_refused_leaves_no_lock(
        self, backend: CacheBackend, retryable: bool, fail_open: bool
    ) -> None:
        """The next call took the lock for another process's, and waited for it."""

        def refuse() -> None:
            raise infra.CacheError("refused on purpose", service="redis", retryable=retryable)

        client: Any = Between(backend.redis.client, "set", refuse)
        clock = Waking(lambda: pytest.fail("it waits for a lock"))
        cache = backend.cache(client, default_ttl=0, fail_open=fail_open, clock=clock)
        if retryable and fail_open:
            assert cache.get_or_set("k", lambda: "mine") == "mine"
        else:
            with pytest.raises(infra.CacheError, match="refused on purpose"):
                cache.get_or_set("k", lambda: "mine")
        assert backend.redis.client.get(backend.redis.key("~fill:k")) is None
        assert cache.get_or_set("k", lambda: "next") == "next"

    def test_get_or_set_waits_its_time_and_then_helps_itself(self, backend: CacheBackend) -> None:
        backend.redis.client.set_with_expiry(backend.redis.key("~fill:k"), "another's", 100)
        cache = backend.cache(clock=(clock := fakes.FakeClock()))
        assert cache.get_or_set("k", lambda: "mine", timeout=5) == "mine"
        assert 5 <= clock.monotonic() < 5.1
        assert backend.redis.client.get(backend.redis.key("~fill:k")) == "another's"
        assert cache.get("k") == "mine"

    def test_a_thread_waits_its_time_and_then_helps_itself(self, backend: CacheBackend) -> None:
        cache, begun, done = backend.cache(), threading.Event(), threading.Event()

        def factory() -> str:
            begun.set()
            assert done.wait(WAIT)
            return "slow"

        join = blocked(lambda: cache.get_or_set("k", factory))
        assert begun.wait(WAIT)
        assert cache.get_or_set("k", lambda: "quick", timeout=0.01) == "quick"
        done.set()
        assert join() == "slow"
        assert cache.get_or_set("k", lambda: "third") == "slow"

    def test_a_factory_may_ask_the_cache(self, backend: CacheBackend) -> None:
        cache = backend.cache(clock=Waking(lambda: pytest.fail("it waits for itself")))
        assert cache.get_or_set("a", lambda: cache.get_or_set("b", lambda: 1) + 1) == 2
        assert cache.get_or_set("k", lambda: [cache.get_or_set("k", lambda: 1)]) == [1]
        assert backend.redis.names() == ["a", "b", "k"]

    def test_a_late_fill_leaves_the_lock_of_the_next(self, backend: CacheBackend) -> None:
        cache, client, fill = backend.cache(), backend.redis.client, backend.redis.key("~fill:k")

        def factory() -> int:
            backend.advance(2)
            assert client.set_nx(fill, "the next one's", 60) is True
            return 1

        assert cache.get_or_set("k", factory, timeout=2) == 1
        assert client.get(fill) == "the next one's"

    # --- locks

    def test_a_lock(self, backend: CacheBackend) -> None:
        cache, lock = backend.cache(), backend.elsewhere().lock("k", 60)
        with cache.lock("k", 60) as mine:
            assert isinstance(mine, infra.CacheLock)
            assert backend.redis.names() == ["~lock:k"]
            assert 50 < (backend.redis.client.ttl(backend.redis.key("~lock:k")) or 0) <= 60
            assert lock.acquire(0) is False
            assert lock.release() is False
            assert cache.lock("l", 60).acquire(0) is True
            cache.set("k", 1)
            assert (cache.get("k"), cache.delete("k")) == (1, True)  # a value is no lock
        assert lock.acquire(0) is True
        assert cache.lock("k", 60).acquire(0) is False
        assert lock.release() is True
        assert lock.release() is False
        assert backend.redis.names() == ["~lock:l"]

    def test_a_lock_that_is_not_free_in_time(self, backend: CacheBackend) -> None:
        backend.elsewhere().lock("tell nobody", 600).acquire()
        clock = fakes.FakeClock()
        cache = backend.cache(clock=clock)
        for timeout in (0, 5, 0.3):
            started = clock.monotonic()
            with (
                pytest.raises(infra.TimeoutError, match="not free within") as caught,
                cache.lock("tell nobody", 60, timeout),
            ):
                pytest.fail("it was obtained")
            assert timeout <= clock.monotonic() - started + 1e-6 < timeout + 0.01
            assert isinstance(caught.value, TimeoutError)
            assert (caught.value.service, caught.value.operation, caught.value.retryable) == (
                "cache",
                "lock",
                True,
            )
            assert "nobody" not in repr(caught.value)

    def test_a_lock_is_waited_for(self, backend: CacheBackend) -> None:
        other = backend.elsewhere().lock("k", 600)
        assert other.acquire() is True
        cache = backend.cache(clock=Waking(other.release))
        with cache.lock("k", 60):
            assert other.acquire(0) is False

    def test_a_lock_whose_owner_died_is_free_after_its_ttl(self, backend: CacheBackend) -> None:
        assert backend.elsewhere().lock("k", 30).acquire() is True
        cache = backend.cache(clock=(clock := Waking(lambda: backend.advance(10))))
        with cache.lock("k", 60):
            assert 0.14 < clock.monotonic() < 0.16  # three waits of 10 s, for all that Redis knows

    def test_a_lock_whose_thread_died_is_free_after_its_ttl(self, backend: CacheBackend) -> None:
        clock = fakes.FakeClock()
        cache = backend.cache(clock=clock)
        assert in_threads(1, lambda _: cache.lock("k", 30).acquire()) == [True]
        assert in_threads(1, lambda _: cache.lock("k", 30).acquire(0.01)) == [False]
        backend.advance(30)
        clock.advance(30)
        assert in_threads(1, lambda _: cache.lock("k", 30).acquire(0)) == [True]

    def test_a_late_owner_does_not_release_the_next_ones_lock(
        self, backend: CacheBackend, caplog: pytest.LogCaptureFixture
    ) -> None:
        late, lock = backend.cache().lock("k", 30), backend.elsewhere().lock("k", 60)
        with late:
            backend.advance(30)
            assert lock.acquire(0) is True
        with backend.cache().lock("early", 60) as early:
            assert early.release() is True  # no reason to warn
        assert [record.levelname for record in caplog.records if record.name == "infra"] == [
            "WARNING"
        ]
        assert backend.cache().lock("k", 60).acquire(0) is False
        assert lock.release() is True

    def test_an_error_under_a_lock_releases_it(self, backend: CacheBackend) -> None:
        cache = backend.cache()
        with pytest.raises(LookupError), cache.lock("k", 60):
            raise LookupError
        assert backend.redis.names() == []

    def test_a_lock_is_not_reentrant(self, backend: CacheBackend) -> None:
        cache = backend.cache(clock=fakes.FakeClock())
        with cache.lock("k", 60):
            assert cache.lock("k", 60).acquire(5) is False
        assert cache.lock("k", 60).acquire(0) is True

    @pytest.mark.parametrize("seconds", [5.0, 11_770_000_000.0])  # the second is the year 2343's
    def test_a_lock_is_waited_for_in_time_while_a_test_has_stopped_time(
        self, backend: CacheBackend, monkeypatch: pytest.MonkeyPatch, seconds: float
    ) -> None:
        """As freezegun does: it replaces ``time.monotonic``, and not the system's clock."""
        cache = backend.cache()
        assert in_threads(1, lambda _: cache.lock("k", 600).acquire()) == [True]
        with monkeypatch.context() as patch:
            patch.setattr(time, "monotonic", lambda: seconds)
            found = blocked(lambda: cache.lock("k", 60).acquire(0.2))
            assert found() is False

    def test_locks_that_are_left_to_expire_leave_nothing_behind(
        self, backend: CacheBackend
    ) -> None:
        clock, numbers = fakes.FakeClock(), itertools.count()
        cache = backend.cache(clock=clock)

        def leave(count: int) -> int:
            """Lets that many locks expire, and returns the bytes that are allocated then."""
            for number in itertools.islice(numbers, count):
                assert cache.lock(f"{number}", 1).acquire(0) is True
                clock.advance(0.1)
                backend.redis.client.delete(backend.redis.key(f"~lock:{number}"))
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            before = leave(500)
            assert leave(2000) - before < 200_000  # 2,000 that are kept take a megabyte
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize("shared", [False, True])
    def test_threads_take_turns(self, backend: CacheBackend, shared: bool) -> None:
        waits: list[int] = []
        cache = backend.cache(clock=Waking(lambda: waits.append(1)))
        one = cache.lock("k", 60, WAIT)

        def work(_: int) -> None:
            for _ in range(10):
                with one if shared else cache.lock("k", 60, WAIT):
                    cache.set("n", cache.get("n", 0) + 1)

        assert in_threads(8, work) == [None] * 8
        assert cache.get("n") == 80
        assert waits == []  # a thread that waits for another asks no clock
        assert backend.redis.names() == ["n"]

    # --- rate limits

    def test_a_rate_limit(self, backend: CacheBackend) -> None:
        cache = backend.cache(clock=(clock := ShiftedClock()))
        now = clock.now()
        found = [cache.check_rate_limit("k", 2, 60) for _ in range(4)]
        assert [each.allowed for each in found] == [True, True, False, False]
        assert [each.remaining for each in found] == [1, 0, 0, 0]
        assert [each.limit for each in found] == [2] * 4
        assert [each.retry_after for each in found[:2]] == [0.0, 0.0]
        assert all(50 < each.retry_after <= 60.001 for each in found[2:])
        for each in found:
            assert each.reset_at.tzinfo is timezone.utc
            assert timedelta(seconds=50) < each.reset_at - now < timedelta(seconds=70)
        assert cache.check_rate_limit("other", 2, 60).remaining == 1
        backend.advance(40)
        # refusals prolong nothing
        assert 10 < cache.check_rate_limit("k", 2, 60).retry_after <= 20.001
        backend.advance(20)
        assert cache.check_rate_limit("k", 2, 60).remaining == 1
        assert cache.get("k") is None
        assert cache.delete("k") is True
        assert cache.delete("k") is False
        assert cache.check_rate_limit("k", 2, 60).remaining == 1

    def test_a_rate_limit_and_a_value_under_one_key(self, backend: CacheBackend) -> None:
        cache = backend.cache()
        cache.set("k", "text", ttl=0)
        assert cache.check_rate_limit("k", 1, 60).allowed is True
        assert (cache.get("k"), cache.ttl("k")) == ("text", math.inf)
        assert cache.delete("k") is True
        assert cache.exists("k") is False
        assert cache.check_rate_limit("k", 1, 60).allowed is True

    def test_delete_pattern_leaves_rate_limits(self, backend: CacheBackend) -> None:
        cache = backend.cache()
        key = infra.CacheKey.rate_limit("ada", "api")
        cache.check_rate_limit(key, 1, 60)
        cache.set(key, 1)
        for glob in ("*", "*ratelimit*", "~*", key):
            assert cache.delete_pattern(glob) == (glob == "*")
            assert cache.check_rate_limit(key, 1, 60).allowed is False
        assert cache.delete(key) is True
        assert cache.check_rate_limit(key, 1, 60).allowed is True

    def test_a_rate_limit_ends_by_the_callers_clock(self, backend: CacheBackend) -> None:
        clock = fakes.FakeClock(datetime(2030, 5, 1, tzinfo=timezone.utc))
        cache = backend.cache(clock=clock)
        first = cache.check_rate_limit("k", 1, 60)
        late = first.reset_at - datetime(2030, 5, 1, 0, 1, tzinfo=timezone.utc)
        assert timedelta() <= late <= timedelta(milliseconds=1)
        clock.advance(3600)
        for number in range(1, 3):
            found = cache.check_rate_limit("k", number, 60)
            left = (found.reset_at - clock.now()).total_seconds()
            assert 50 < left <= 60.001
            assert found.retry_after == (0.0 if found.allowed else pytest.approx(left, abs=1e-5))

    def test_a_caller_that_waits_as_long_as_it_is_told_is_allowed(
        self, backend: CacheBackend
    ) -> None:
        cache, refused = backend.cache(backend.redis.connect()), 0
        for number in itertools.count():  # the window's end falls anywhere in a millisecond
            if refused == 30:
                break
            key = f"k{number}"
            cache.check_rate_limit(key, 1, 0.05)
            found = cache.check_rate_limit(key, 1, 0.05)
            if not found.allowed:  # else this machine was busy
                refused += 1
                backend.redis.wait(found.retry_after)
                assert cache.check_rate_limit(key, 1, 0.05).allowed is True

    def test_a_window_is_counted_by_its_decimal_digits(self, backend: CacheBackend) -> None:
        cache = backend.cache()
        backend.redis.client.set(backend.redis.key("~limit:k"), "5")
        assert 8.05 <= cache.check_rate_limit("k", 5, 8.05).retry_after <= 8.051

    def test_a_window_that_ends_after_the_year_9999(self, backend: CacheBackend) -> None:
        last = datetime.max.replace(tzinfo=timezone.utc)
        cache = backend.cache(clock=fakes.FakeClock(last - timedelta(seconds=60)))
        assert cache.check_rate_limit("k", 1, 3600).reset_at == last

    def test_fifty_threads_at_a_limit_of_ten(self, backend: CacheBackend) -> None:
        cache = backend.cache()
        found = in_threads(50, lambda _: cache.check_rate_limit("k", 10, 60))
        assert sorted(each.remaining for each in found if each.allowed) == list(range(10))
        assert {(each.remaining, each.retry_after > 50) for each in found if not each.allowed} == {
            (0, True)
        }

    def test_a_counter_without_an_end_gets_one(self, backend: CacheBackend) -> None:
        cache = backend.cache()
        client, counter = backend.redis.client, backend.redis.key("~limit:k")
        client.set(counter, "5")
        assert 60 <= cache.check_rate_limit("k", 5, 60).retry_after <= 60.001
        assert 50 < (client.ttl(counter) or 0) <= 60

    def test_a_counter_below_zero_has_an_end_and_promises_no_more_than_the_limit(
        self, backend: CacheBackend
    ) -> None:
        cache = backend.cache(clock=(clock := ShiftedClock()))
        client, counter = backend.redis.client, backend.redis.key("~limit:k")
        client.set(counter, "-5")
        assert [cache.check_rate_limit("k", 2, 60).remaining for _ in range(7)] == [
            2,
            2,
            2,
            2,
            2,
            1,
            0,
        ]
        assert 50 < (client.ttl(counter) or 0) <= 60
        client.set_with_expiry(counter, "-5", 30)
        now = clock.now()
        assert cache.check_rate_limit("k", 2, 60).reset_at - now < timedelta(seconds=40)

    def test_a_window_that_ends_during_the_call(self, backend: CacheBackend) -> None:
        client: Any = Between(backend.redis.client, "ttl", lambda: backend.advance(60))
        cache = backend.cache(client)
        cache.check_rate_limit("k", 1, 60)
        found = cache.check_rate_limit("k", 1, 60)
        assert (found.allowed, found.retry_after) == (False, 0.001)

    # --- Redis that does not answer

    @pytest.mark.parametrize("method", FAILS_OPEN)
    def test_no_answer_is_a_cache_error(self, backend: CacheBackend, method: str) -> None:
        cache = backend.cut_off()
        with pytest.raises(infra.CacheError, match="does not answer") as caught:
            FAILS_OPEN[method][0](cache)
        assert (caught.value.service, caught.value.operation) == ("cache", method)
        assert isinstance(caught.value.__cause__, infra.ConnectionError)
        # A closed client stays closed.
        assert caught.value.retryable is caught.value.__cause__.retryable is False

    @pytest.mark.parametrize("method", FAILS_OPEN)
    def test_failing_open(
        self, backend: CacheBackend, method: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        cache = backend.cut_off(fail_open=True)
        call, expected = FAILS_OPEN[method]
        with caplog.at_level(logging.WARNING, "infra"):
            if expected is infra.CacheError:
                with pytest.raises(infra.CacheError):
                    call(cache)
            else:
                assert call(cache) == expected
        warnings = [(record.levelname, vars(record).get("operation")) for record in caplog.records]
        assert warnings == ([] if expected is infra.CacheError else [("WARNING", method)])

    def test_failing_open_on_one_call_of_the_factory(self, backend: CacheBackend) -> None:
        """Fifty threads, none of which can read: the value goes from hand to hand."""
        looks: Counter[int] = Counter()

        class Counting(fakes.FakeClock):
            def monotonic(self) -> float:
                looks[threading.get_ident()] += 1
                return super().monotonic()

        cache, calls = backend.cut_off(fail_open=True, clock=Counting()), []

        def factory() -> list[int]:
            calls.append(1)
            # A second look is how long to wait: for this thread, which has the lock.
            eventually(lambda: sum(count >= 2 for count in [*looks.values()]) == 50)
            return [7]

        assert in_threads(50, lambda _: cache.get_or_set("k", factory)) == [[7]] * 50
        assert calls == [1]

    # --- bad input

    @pytest.mark.parametrize("method", WITH_A_KEY)
    def test_bad_keys(self, backend: CacheBackend, method: str) -> None:
        for key in BAD_CACHE_KEYS:
            with pytest.raises(infra.ValidationError):
                WITH_A_KEY[method](backend.cache(), key)
        assert backend.redis.names() == []

    @pytest.mark.parametrize("method", WITH_A_TTL)
    def test_bad_ttls(self, backend: CacheBackend, method: str) -> None:
        for ttl in BAD_TTLS:
            with pytest.raises(infra.ValidationError):
                WITH_A_TTL[method](backend.cache(), ttl)
        assert backend.redis.names() == []

    @pytest.mark.parametrize("factory", handlers.SEEN)
    def test_a_factory_that_would_run_nothing_is_refused(
        self, backend: CacheBackend, factory: str
    ) -> None:
        with pytest.raises(infra.ValidationError, match="factory should be a plain function"):
            backend.cache().get_or_set("k", handlers.SEEN[factory])
        assert backend.redis.names() == []

    def test_bad_arguments(self, backend: CacheBackend) -> None:
        cache = backend.cache()
        calls: list[tuple[Callable[[Any], Any], list[Any]]] = [
            (lambda bad: cache.expire("k", bad), BAD_SECONDS),
            (lambda bad: cache.increment("k", bad), BAD_AMOUNTS),
            (cache.delete_pattern, ["", "a\0", "\ud800", 5, None, b"a"]),
            (lambda bad: cache.get_or_set("k", bad), [None, 5, "f"]),
            (lambda bad: cache.get_or_set("k", lambda: 1, timeout=bad), [None, *BAD_TTLS]),
            (lambda bad: cache.lock("k", bad), [None, *BAD_SECONDS]),
            (lambda bad: cache.lock("k", 1, bad), [None, *BAD_TTLS]),
            (lambda bad: cache.lock("k", 1).acquire(bad), BAD_TTLS),
            (lambda bad: cache.check_rate_limit("k", bad, 1), [0, -1, 1.5, True, "1", None]),
            (lambda bad: cache.check_rate_limit("k", 1, bad), [None, *BAD_SECONDS]),
            (
                lambda bad: backend.make(backend.redis.client, bad),
                [" a", "a ", "a\0", "\ud800", 5, None, b"a"],
            ),
            (lambda bad: backend.cache(default_ttl=bad), [None, *BAD_TTLS]),
        ]
        for call, values in calls:
            for bad in values:
                with pytest.raises(infra.ValidationError):
                    call(bad)
        assert backend.redis.names() == []

    # --- keys

    def test_keys_by_scheme(self, backend: CacheBackend) -> None:
        CacheKey = infra.CacheKey  # noqa: N806
        assert CacheKey.benchmark("123") == "benchmark:123"
        assert CacheKey.leaderboard("123") == "leaderboard:123"
        assert CacheKey.user(1) == CacheKey.user("1") == "user:1"  # one key, as documented
        assert CacheKey.user("ada@example.org") == "user:ada@example.org"
        assert CacheKey.session(uuid.UUID(int=5)) == "session:00000000-0000-0000-0000-000000000005"
        assert CacheKey.rate_limit("user1", "api") == "ratelimit:user1:api"
        assert CacheKey.rate_limit("::1", 7) == "ratelimit:%3A%3A1:7"
        assert CacheKey.user("a*b?[c]\\{d}%é ") == "user:a%2Ab%3F%5Bc%5D%5C%7Bd%7D%25é%20"
        parts = [
            "a",
            "a:b",
            "b",
            "*",
            "?",
            "[a]",
            "%2A",
            "%",
            "a%3Ab",
            "\\",
            " a",
            "a ",
            "é",
            "\u00a0",
            "{a}",
            "A",
        ]
        pairs = [CacheKey.rate_limit(one, other) for one in parts for other in parts]
        assert len(set(pairs)) == len(parts) ** 2
        cache = backend.cache()
        cache.set_many({key: key for key in pairs})
        assert cache.get_many(pairs) == {key: key for key in pairs}
        assert cache.delete_pattern(CacheKey.rate_limit("*", "?")) == 1
        for bad in ("", "a\0", "\ud800", None, True, 1.5, b"a"):
            with pytest.raises(infra.ValidationError):
                CacheKey.user(bad)  # type: ignore[arg-type]


class TestFake(CacheProviderContract):
    @pytest.fixture
    def backend(self) -> CacheBackend:
        return CacheBackend(fake_key_value_backend(), fakes.FakeCacheProvider)


class OnRealRedis(CacheProviderContract):
    server: str

    @pytest.fixture
    def backend(self, service: Callable[[str], str]) -> Iterator[CacheBackend]:
        clients: list[infra.RedisClient] = []
        yield CacheBackend(
            real_key_value_backend(service(self.server), clients), infra.RedisCacheProvider
        )
        for client in clients:
            client.close()


class TestRedis(OnRealRedis):
    server = "redis"


class TestRedis62(OnRealRedis):
    server = "redis-6.2"


class TestCluster(OnRealRedis):
    server = "redis-cluster"
