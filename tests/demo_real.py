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
    "examples/orders.py",
]
SHOP = "examples/shop.py"  # on the database of DATABASE_URL, else on the fake
USED = ["redis", "mariadb", "postgres", "s3"]
VARIABLES = {"redis": "REDIS_URL", "s3": "S3_ENDPOINT"}
#: the databases of a run: the variables that name them
DATABASES = [
    {"DATABASE_URL": "mariadb"},
    {"DATABASE_URL": "postgres"},
    {"MYSQL_URL": "mariadb", "POSTGRES_URL": "postgres"},
]
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


def is_equal(real: str, fake: str) -> bool:
    """Return whether the transcripts are equal; if not, show how they differ."""
    lines = difflib.unified_diff(real.splitlines(), fake.splitlines(), "real", "fake", lineterm="")
    difference = list(lines)
    if difference or not real:
        print("\n".join(["The transcripts differ:", *difference]))
        return False
    return True


def main() -> int:
    env = {**os.environ, "PHONE_HASH_KEY": secrets.token_hex(32)}
    env.update(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), services.s3_keys()))
    try:
        urls = {name: services.shared(name) for name in USED}
    except services.Missing as missing:
        sys.exit(str(missing))
    env.update((variable, urls[name]) for name, variable in VARIABLES.items())
    for variable in ("DATABASE_URL", "MYSQL_URL", "POSTGRES_URL"):
        env.pop(variable, None)
    try:
        fakes = {}
        for example in (*EXAMPLES, SHOP):
            print(f"--- {example} on the fakes", flush=True)
            fakes[example] = transcript(example, env=env)
        for databases in DATABASES:
            named = ", ".join(f"{variable} of {name}" for variable, name in databases.items())
            print(f"--- on real servers, with {named}", flush=True)
            real_env = env | {variable: urls[name] for variable, name in databases.items()}
            migrate = [sys.executable, "-m", "infra", "migrate"]
            subprocess.run(migrate, cwd=ROOT, env=real_env, check=True)
            for example, fake in fakes.items():
                if example == SHOP and "DATABASE_URL" not in databases:
                    continue
                print(f"--- {example}", flush=True)
                arguments = [] if example == SHOP else ["--real"]
                if not is_equal(transcript(example, *arguments, env=real_env), fake):
                    return 1
    finally:
        services.stop_shared()
    print("--- the transcripts are equal")
    return 0


if __name__ == "__main__":
    sys.exit(main())
