"""RedisClient against bare redis-py, on one private server and on a cluster of three, one thread each."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [str(ROOT)] + [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]

import redis

import infra
from bench.measure import compare, report
from tests import services


def main() -> int:
    url, cluster_url = services.shared("redis"), services.shared("redis-cluster")
    host, port = cluster_url.rpartition("/")[2].split(":")
    keys = [f"key:{number}" for number in range(100)]
    try:
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
                "set": (lambda: ours.set("key", "value" * 10), lambda: bare.set("key", "value" * 10), 1000),
                "cluster get": (lambda: cluster.get("key"), lambda: bare_cluster.get("key"), 500),
                "cluster get_many(100)": (
                    lambda: cluster.get_many(keys),
                    lambda: bare_cluster.mget_nonatomic(keys),
                    50,
                ),
            }
            ratios = [
                compare(name, mine, other, target=0.9, rounds=31, number=number)
                for name, (mine, other, number) in pairs.items()
            ]
            title = f"RedisClient, times as fast as redis-py {redis.__version__} on {ours.health_check().server}"
        return report(title, ratios)
    finally:
        services.stop_shared()


if __name__ == "__main__":
    sys.exit(main())
