"""Move phone users from their table to the exchange's users.

This runs on the fakes; with --real it uses the servers that the environment names (MYSQL_URL and
POSTGRES_URL, or DATABASE_URL alone, after `python -m infra migrate`). Both print the same. The
command `infra move examples/move_users.py` runs the move alone.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout too

import fakes
import infra

KEY = "0123456789abcdef0123456789abcdef"


def to_user(row: dict[str, Any]) -> infra.User | None:
    """Return the user for a row, or None if the row is blocked: it is not moved."""
    if row["is_blocked"]:
        return None
    name = f"user-{row['phone_hash'][:8]}"
    return infra.User(email=f"{name}@example.com", username=name, display_name=name.title())


def moves(services: infra.Infrastructure) -> Iterable[infra.Move]:
    yield infra.RowMove(
        "example-users",
        version=1,
        source=infra.TableSource(services.accounts, "phone_users"),
        target=infra.RepositoryTarget(services.users),
        transform=to_user,
        batch=2,
    )


def clean_up(services: infra.Infrastructure) -> None:
    for user in services.users.page(infra.Query(per_page=100)).items:
        services.users.delete(user.id)
    for phone_user in services.phone_users.page(infra.Query(per_page=100)).items:
        services.phone_users.delete(phone_user.id)


def outcome(report: infra.MoveReport) -> str:
    """Return the report without its times."""
    return f"{report.counts}; {report.resumed.read} read before; done: {report.done}"


def main(services: infra.Infrastructure) -> None:
    print("1. Five phone users, of whom one is blocked.")
    for number in range(5):
        user = services.phone_users.create_for_phone(f"+1415555010{number}", "customer")
        if number == 3:
            services.phone_users.update(replace(user, is_blocked=True))

    (move,) = moves(services)
    print("2. The rehearsal writes nothing.")
    print(f"   {outcome(move.run(dry_run=True))}")
    print(f"   Users: {services.users.count()}")

    print("3. A run that stops early, and the rest.")
    print(f"   {outcome(move.run(limit=2))}")
    print(f"   {outcome(move.run())}")
    print(f"   Users: {services.users.count()}")

    print("4. A finished move reads nothing.")
    print(f"   {outcome(move.run())}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", action="store_true", help="on the servers of the environment")
    os.environ.setdefault("PHONE_HASH_KEY", KEY)
    bundle = infra.Infrastructure.from_env() if parser.parse_args().real else None
    with tempfile.TemporaryDirectory() as folder, bundle or fakes.FakeInfrastructure() as services:
        os.chdir(folder)  # for the file of rejects
        if services.phone_users.count() or services.users.count():
            sys.exit("this example deletes all users at its end: run it on empty tables")
        try:
            main(services)
        finally:
            clean_up(services)
            if isinstance(services.exchange, infra.ConnectionPool):
                services.exchange.execute("DELETE FROM infra_moves WHERE name = 'example-users'")
