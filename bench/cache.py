"""RedisClient against bare redis-py, on one private server, one connection each."""

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
    url = services.shared("redis")
    try:
        with (
            infra.RedisClient(infra.CacheConfig(url=url)) as ours,
            redis.Redis.from_url(url, decode_responses=True) as bare,
        ):
            ours.set("key", "value" * 10)
            pairs = {
                "get": (lambda: ours.get("key"), lambda: bare.get("key")),
                "set": (lambda: ours.set("key", "value" * 10), lambda: bare.set("key", "value" * 10)),
            }
            ratios = [
                compare(name, mine, other, target=0.9, rounds=31, number=1000) for name, (mine, other) in pairs.items()
            ]
            title = f"RedisClient, times as fast as redis-py {redis.__version__} on {ours.health_check().server}"
        return report(title, ratios)
    finally:
        services.stop_shared()


if __name__ == "__main__":
    sys.exit(main())
