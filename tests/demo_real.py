"""Run the demo on private real servers and on the fakes; fail if the transcripts differ."""

from __future__ import annotations

import difflib
import os
import secrets
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests import services

EXAMPLES = [
    "examples/quickstart.py",
    "examples/benchmark_exchange.py",
    "examples/move_users.py",
]
SHOP = "examples/shop.py"  # on one database, that of DATABASE_URL
# service: the variable that the demos read
USED = {
    "redis": "REDIS_URL",
    "mariadb": "MYSQL_URL",
    "postgres": "POSTGRES_URL",
    "s3": "S3_ENDPOINT",
}
ROOT = Path(__file__).resolve().parent.parent


def transcript(example: str, *arguments: str, env: dict[str, str]) -> str:
    """Return what the example prints, and show it while it runs."""
    command = [sys.executable, "-u", example, *arguments]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        sys.exit(f"{example} {' '.join(arguments)} ended with {process.returncode}")
    return "".join(lines)


def compare(example: str, where: str, *arguments: str, env: dict[str, str]) -> None:
    """Run the example on real servers, and on the fakes; end the program if they differ.

    ``arguments`` and ``env``: for the real servers.
    """
    print(f"--- {example} on real servers: {where}", flush=True)
    real = transcript(example, *arguments, env=env)
    print(f"--- {example} on the fakes", flush=True)
    fake = transcript(example, env={**env, "DATABASE_URL": ""})
    difference = [
        *difflib.unified_diff(real.splitlines(), fake.splitlines(), "real", "fake", lineterm="")
    ]
    if difference or not real:
        sys.exit("\n".join(["The transcripts differ:", *difference]))


def main() -> int:
    env = {**os.environ, "PHONE_HASH_KEY": secrets.token_hex(32), "DATABASE_URL": ""}
    env.update(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), services.s3_keys()))
    try:
        env.update((variable, services.shared(name)) for name, variable in USED.items())
    except services.Missing as missing:
        sys.exit(str(missing))
    try:
        subprocess.run([sys.executable, "-m", "infra", "migrate"], cwd=ROOT, env=env, check=True)
        for example in EXAMPLES:
            compare(example, ", ".join(USED), "--real", env=env)
        for name in ("mariadb", "postgres"):
            compare(SHOP, name, env={**env, "DATABASE_URL": env[USED[name]]})
    finally:
        services.stop_shared()
    print("--- the transcripts are equal")
    return 0


if __name__ == "__main__":
    sys.exit(main())
