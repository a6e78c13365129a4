"""Compare RedisClient with bare redis-py, and RedisCacheProvider with redis-py and json by hand.

RedisClient is compared on one private server and on a cluster of three. Each side has one thread.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [str(ROOT)] + [
    entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent
]

import redis

import infra
from bench.measure import Bench, Ratio, arguments
from tests import services

VALUE = {"id": 4711, "name": "Long sums", "score": 0.5}
MANY = 100_000
FLAT = 1.0  # MB that the peak may grow from 10,000 keys to 100,000


def of_client(bench: Bench, url: str, cluster_url: str) -> None:
    """Report the ratios of RedisClient, on a server and on a cluster."""
    host, port = cluster_url.rpartition("/")[2].split(":")
    keys = [f"key:{number}" for number in range(100)]
    with (
        infra.RedisClient(infra.CacheConfig(url=url)) as ours,
        redis.Redis.from_url(url, decode_responses=True) as bare,
        infra.RedisClient(infra.CacheConfig(url=cluster_url)) as cluster,
        redis.RedisCluster(host, int(port), decode_responses=True) as bare_cluster,
    ):
        for client in (ours, cluster):
            client.set_many({"key": "value" * 10, **dict.fromkeys(keys, "value")})
        pairs = {
            "get": (lambda: ours.get("key"), lambda: bare.get("key"), 1000),
            "set": (
                lambda: ours.set("key", "value" * 10),
                lambda: bare.set("key", "value" * 10),
                1000,
            ),
            "cluster get": (lambda: cluster.get("key"), lambda: bare_cluster.get("key"), 500),
            "cluster get_many(100)": (
                lambda: cluster.get_many(keys),
                lambda: bare_cluster.mget_nonatomic(keys),
                50,
            ),
        }
        ratios = [
            bench.compare(name, mine, other, target=0.9, rounds=31, number=number)
            for name, (mine, other, number) in pairs.items()
        ]
        server = ours.health_check().server
        title = f"RedisClient, times as fast as redis-py {redis.__version__} on {server}"
        bench.report(title, ratios)


def fill(bare: Any, count: int) -> None:
    """Set ``count`` keys by a script on the server, which takes no memory of this process."""
    bare.eval("for n = 1, ARGV[1] do redis.call('set', 'bulk:' .. n, '1') end", 0, count)


def of_cache(bench: Bench, url: str) -> None:
    """Report the ratios of RedisCacheProvider, and the memory that delete_pattern takes."""
    keys = [f"key:{number}" for number in range(100)]
    fewer = bench.size(MANY, MANY // 10)
    with (
        infra.RedisClient(infra.CacheConfig(url=url)) as client,
        redis.Redis.from_url(url, decode_responses=True) as bare,
    ):
        cache = infra.RedisCacheProvider(client)
        peaks = []
        for count in (10_000, MANY):
            fill(bare, count)
            assert cache.delete_pattern("bulk:*") == count
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        cache.set_many({"key": VALUE, **dict.fromkeys(keys, VALUE)})

        def one_by_one() -> None:
            for key in bare.scan_iter("bulk:*", count=1000):
                bare.delete(key)

        ratios: list[Ratio] = [
            bench.compare(
                "get, against json by hand",
                lambda: cache.get("key"),
                lambda: json.loads(str(bare.get("key"))),
                target=0.85,
                rounds=31,
                number=1000,
            ),
            bench.compare(
                "set, against json by hand",
                lambda: cache.set("key", VALUE),
                lambda: bare.set("key", json.dumps(VALUE), px=3_600_000),
                target=0.85,
                rounds=31,
                number=1000,
            ),
            bench.compare(
                "get_many(100), one by one",
                lambda: cache.get_many(keys),
                lambda: [json.loads(str(bare.get(key))) for key in keys],
                target=10,
                rounds=21,
                number=20,
            ),
            bench.compare(
                "delete_pattern, one by one",
                lambda: cache.delete_pattern("bulk:*"),
                one_by_one,
                target=5,
                rounds=5,
                number=1,
                before=lambda: fill(bare, fewer),
            ),
        ]
        bench.report(f"RedisCacheProvider, times as fast as redis-py {redis.__version__}", ratios)
    grown = peaks[1] - peaks[0]
    print(f"delete_pattern of {MANY} keys: peak memory {grown:.1f} MB above that of 10000", end="")
    flat = FLAT * bench.slack
    print(f" (promised {flat})" + ("" if grown <= flat else bench.miss()))


def main() -> int:
    bench = Bench(short=arguments(__doc__).parse_args().short)
    try:
        url = services.shared("redis")
        of_cache(bench, url)  # first: it measures a peak
        of_client(bench, url, services.shared("redis-cluster"))
        return int(bench.missed)
    finally:
        services.stop_shared()


if __name__ == "__main__":
    sys.exit(main())
