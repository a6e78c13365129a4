"""The redis-py releases that RedisClient supports, each against a closed port and a real server."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = [
    "5.0.0",
    "5.3.1",
    "6.4.0",
    "7.4.1",
    "8.1.0",
    "8.1.0 hiredis",
]  # the last with the parser in C
#: what uses redis-py: alone, as a cluster, over TLS and both
SUITES = [
    "tests/contract/test_key_value_client.py",
    "tests/contract/test_verification_cache.py",
    "tests/contract/test_cache_provider.py",
    "tests/contract/test_event_bus.py",
    "tests/faults/test_redis.py",
    "tests/faults/test_cache.py",
    "tests/faults/test_bus.py",
    "tests/faults/test_cluster.py",
    "tests/faults/test_tls.py",
]


def main() -> int:
    failed = []
    for version in VERSIONS:
        print(f"--- redis-py {version}", flush=True)
        with tempfile.TemporaryDirectory() as target:
            pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
            subprocess.run([*pip, "--target", target, *f"redis=={version}".split()], check=True)
            # PYTHONPATH stands before the environment's own redis-py.
            check = f"import redis, sys, pytest; assert redis.__version__ == {version.split()[0]!r}"
            script = f"{check}; sys.exit(pytest.main(sys.argv[1:]))"
            suites = ["-q", "-p", "no:cacheprovider", *SUITES]
            done = subprocess.run(
                [sys.executable, "-c", script, *suites],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": target},
                check=False,
            )
            if done.returncode:
                failed.append(version)
    print(
        f"redis-py tested: {', '.join(VERSIONS)}"
        + (f"; FAILED: {', '.join(failed)}" if failed else "")
    )
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
