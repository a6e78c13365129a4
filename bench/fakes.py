"""FakeRedisClient against fakeredis, both as a test would make them, in one process."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [str(ROOT)] + [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]

import fakeredis

import fakes
from bench.measure import compare, report


def main() -> int:
    ours, theirs = fakes.FakeRedisClient(), fakeredis.FakeRedis(decode_responses=True)
    for client in (ours, theirs):
        client.set("key", "value")
    pairs = {
        "get": (lambda: ours.get("key"), lambda: theirs.get("key")),
        "set": (lambda: ours.set("key", "value"), lambda: theirs.set("key", "value")),
        "increment": (lambda: ours.increment("n"), lambda: theirs.incrby("n", 1)),
        "get of an expiring key": (lambda: ours.get("short"), lambda: theirs.get("short")),
    }
    ours.set_with_expiry("short", "value", 600)
    theirs.set("short", "value", px=600_000)
    ratios = [
        compare(name, mine, other, target=25, rounds=21, number=20_000, theirs_number=1000)
        for name, (mine, other) in pairs.items()
    ]
    return report(f"FakeRedisClient, times as fast as fakeredis {importlib.metadata.version('fakeredis')}", ratios)


if __name__ == "__main__":
    sys.exit(main())
