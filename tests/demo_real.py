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


def main() -> int:
    env = {**os.environ, "PHONE_HASH_KEY": secrets.token_hex(32)}
    env.update(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), services.s3_keys()))
    try:
        env.update((variable, services.shared(name)) for name, variable in USED.items())
    except services.Missing as missing:
        sys.exit(str(missing))
    try:
        subprocess.run([sys.executable, "-m", "infra", "migrate"], cwd=ROOT, env=env, check=True)
        for example in EXAMPLES:
            print(f"--- {example} on real servers: {', '.join(USED)}", flush=True)
            real = transcript(example, "--real", env=env)
            print(f"--- {example} on the fakes", flush=True)
            fake = transcript(example, env=env)
            difference = list(
                difflib.unified_diff(
                    real.splitlines(), fake.splitlines(), "real", "fake", lineterm=""
                )
            )
            if difference or not real:
                print("\n".join(["The transcripts differ:", *difference]))
                return 1
    finally:
        services.stop_shared()
    print("--- the transcripts are equal")
    return 0


if __name__ == "__main__":
    sys.exit(main())
