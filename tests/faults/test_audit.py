"""Bad days of the audit log: edits that no fake can make, late commits, killed sealers, rights."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import infra
from tests.contract.backends import WAIT, eventually, in_background, in_threads
from tests.contract.databases import migrated
from tests.contract.test_audit import ENTRIES, KEY, SEALS, AuditBackend, by_hand, problem
from tests.scale import PROVE

pytestmark = pytest.mark.real

ROOT = Path(__file__).resolve().parent.parent.parent
ENGINES = ["mariadb", "mysql", "postgres"]
MANY = 20_000 if PROVE else 2000


@pytest.fixture(params=ENGINES)
def url(request: Any, database: Callable[[str], str]) -> str:
    return migrated(database, request.param)


@pytest.fixture
def backend(url: str) -> Iterator[AuditBackend]:
    with infra.create_pool(infra.DatabaseConfig(url=url)) as pool:
        yield by_hand(pool)


def broken(backend: AuditBackend) -> str:
    """Return a text that the column takes, but that is no JSON object."""
    return "[1]" if backend.database.engine == "postgres" else '{"n": '


def test_a_document_that_cannot_be_read(backend: AuditBackend) -> None:
    log = backend.filled(5, batch=3)
    backend.change(ENTRIES, {"id": 2}, {"data": broken(backend)})
    assert problem(log.verify()) == ("changed", 2)


def test_an_inserted_document_that_cannot_be_read(backend: AuditBackend) -> None:
    log = backend.log(settle=100)
    backend.fill(log, 1, 2)
    backend.insert(ENTRIES, backend.row(20, data=broken(backend)))
    backend.insert(ENTRIES, backend.row(21))
    assert log.seal()[:2] in ("3:", "4:")
    backend.clock.advance(3600)
    log.record("a", "b", "c")
    assert problem(log.verify(log.seal())) in (("inserted", 20), ("", None))


def test_a_transaction_that_is_committed_late(backend: AuditBackend) -> None:
    """A fake has one write turn, so no transaction commits within another."""
    log, added, go = backend.log(), threading.Event(), threading.Event()

    def slow() -> None:
        with backend.database.transaction():
            log.record("slow", "b", "c")
            added.set()
            assert go.wait(WAIT)

    join = in_background(slow)
    assert added.wait(WAIT)
    backend.clock.advance(300)
    log.record("quick", "b", "c")
    assert log.seal().startswith("1:")
    go.set()
    assert join() is None
    head = log.seal()
    assert head.startswith("2:")
    assert log.verify(head).ok


def test_two_appenders_of_one_version(backend: AuditBackend) -> None:
    """The second one waits for the first, and gets its version only if that is rolled back."""
    log, appended, go = backend.log(), threading.Event(), threading.Event()
    event = infra.SystemEvent.CacheCleared("*")

    def slow(fails: bool) -> None:
        with backend.database.transaction():
            log.append("s", event, 0)
            appended.set()
            assert go.wait(WAIT)
            if fails:
                raise ZeroDivisionError

    for fails in (True, False):
        appended.clear()
        go.clear()
        first = in_background(lambda fails=fails: slow(fails))  # type: ignore[misc]
        assert appended.wait(WAIT)
        with pytest.raises(infra.ConflictError, match="no such version"):
            log.append("s", event, 1)  # not committed: for others the stream has no such version
        if fails:
            go.set()
            assert isinstance(first(), ZeroDivisionError)
            continue
        second = in_background(lambda: log.append("s", event, 0))
        go.set()
        assert first() is None
        assert isinstance(second(), infra.ConflictError)
    assert [entry.version for entry in log.history("s")] == [1]


def test_sealers_on_connections_of_their_own(url: str, backend: AuditBackend) -> None:
    log = backend.log(None)
    with backend.database.transaction():
        backend.fill(log, 1, 500)

    def work(number: int) -> str:
        with infra.create_pool(infra.DatabaseConfig(url=url)) as pool:
            sealer = infra.AuditLog(pool, key=KEY, clock=backend.clock)
            sealer.BATCH = 7
            return sealer.seal()

    heads = in_threads(4, work)
    assert [*map(type, heads)] == [str] * 4, heads  # none was refused
    head = backend.log().seal()
    assert head.startswith("500:")
    assert head in heads
    assert backend.log().verify(head).ok


SEALER = """
import infra, sys
with infra.Infrastructure.from_env() as services:
    audit = services.audit
    audit.BATCH = 5
    print("ready", flush=True)
    sys.stdin.readline()
    audit.seal()
"""


def test_a_sealer_that_is_killed(url: str, backend: AuditBackend) -> None:
    log = infra.AuditLog(backend.database, key=KEY)
    with backend.database.transaction():
        for number in range(MANY):
            log.record(f"user:{number}", "a", "s", {"n": number})
    env = {**os.environ, "DATABASE_URL": url, "AUDIT_KEY": KEY}

    def sealed() -> int:
        (found,) = backend.database.fetch_one(f"SELECT count(*) FROM {SEALS}") or (0,)
        return int(found)

    for turn in range(1, 4):
        sealer = subprocess.Popen(
            [sys.executable, "-c", SEALER], cwd=ROOT, env=env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert sealer.stdout is not None
        assert sealer.stdin is not None
        assert sealer.stdout.readline() == "ready\n"
        before = sealed()
        sealer.stdin.write("\n")
        sealer.stdin.flush()
        eventually(lambda before=before: sealed() > before + 10)  # type: ignore[misc]
        sealer.send_signal(signal.SIGKILL)
        sealer.communicate()
        assert log.verify().ok, turn
    assert sealed() < MANY
    head = log.seal()
    assert head.startswith(f"{MANY}:")
    assert log.verify(head).ok
    times = backend.database.fetch_one(f"SELECT count(DISTINCT entry_id) FROM {SEALS}")
    assert times == (MANY + 1,)


def test_sealing_does_not_walk_through_the_table(url: str, backend: AuditBackend) -> None:
    """Sealing one entry more reads those of the last ``settle`` seconds, not all."""
    log = backend.log(settle=60)
    with backend.database.transaction():
        backend.fill(log, 1, 500)
    log.seal()
    calls: list[infra.Call] = []
    log.record("a", "b", "c")
    with infra.create_pool(infra.DatabaseConfig(url=url), observer=calls.append) as pool:
        sealer = infra.AuditLog(pool, key=KEY, settle=60, clock=backend.clock)
        sealer.BATCH = 10
        assert sealer.seal().startswith("501:")
    assert len(calls) < 25  # the table has fifty portions


def statements(engine: str) -> list[str]:
    """Return the GRANT statements of docs/audit.md."""
    text = (ROOT / "docs" / "audit.md").read_text()
    postgres, mysql = re.findall(r"^```sql\n(.*?)^```", text, re.M | re.S)
    return [each for each in (postgres if engine == "postgres" else mysql).split(";\n") if each]


@pytest.fixture
def roles(url: str, backend: AuditBackend) -> Iterator[dict[str, str]]:
    """The URLs of two users that have the rights of docs/audit.md."""
    names = {name: f"{name}_{uuid.uuid4().hex[:8]}" for name in ("app", "sealer")}
    pool, is_mysql = backend.database, backend.database.engine == "mysql"
    name_of_database = url.rpartition("/")[2].partition("?")[0]
    for role in names.values():
        pool.execute(f"CREATE USER {role}" if is_mysql else f"CREATE ROLE {role} LOGIN")
    for statement in statements(pool.engine):
        statement = statement.replace(" shop.", f" {name_of_database}.")
        for name, role in names.items():
            statement = re.sub(rf"\b{name}$", role, statement)
        pool.execute(statement)
    scheme, _, rest = url.partition("://")
    server = rest.rpartition("@")[2]
    yield {name: f"{scheme}://{role}@{server}" for name, role in names.items()}
    for role in names.values():
        if not is_mysql:
            pool.execute(f"DROP OWNED BY {role}")
        pool.execute(f"DROP USER {role}")


def test_rights(backend: AuditBackend, roles: dict[str, str]) -> None:
    """The application can record and read, the sealer seal, and neither anything else."""
    with (
        infra.create_pool(infra.DatabaseConfig(url=roles["app"])) as app,
        infra.create_pool(infra.DatabaseConfig(url=roles["sealer"])) as sealer,
    ):
        log, other = infra.AuditLog(app), infra.AuditLog(sealer, key=KEY)
        log.record("a", "b", "c")
        assert log.append("s", infra.SystemEvent.CacheCleared("*"), 0) == 1
        assert log.append("s", infra.SystemEvent.CacheCleared("*"), 1) == 2
        assert len([*log.history("s")]) == 2
        head = other.seal()
        log.record("a", "b", "c")
        assert other.verify(head).ok
        assert other.seal().startswith("4:")
        refused = [
            (pool, statement)
            for pool in (app, sealer)
            for table in (ENTRIES, SEALS)
            for statement in (
                f"UPDATE {table} SET entry_id = 1"
                if table == SEALS
                else f"UPDATE {table} SET actor = 'x'",
                f"DELETE FROM {table}",
                f"TRUNCATE TABLE {table}",
                f"DROP TABLE {table}",
            )
        ]
        refused += [
            (app, f"INSERT INTO {SEALS} VALUES (9, 9, 'x')"),
            (app, f"SELECT mac FROM {SEALS}"),
            (sealer, f"INSERT INTO {ENTRIES} (actor) VALUES ('x')"),
        ]
        for pool, statement in refused:
            with pytest.raises(infra.DatabaseError) as caught:
                pool.execute(statement)
            assert not isinstance(caught.value, infra.ConflictError), statement
        assert other.verify(head).ok


@pytest.mark.parametrize("url", ["mariadb", "postgres"], indirect=True)
def test_the_command(url: str, backend: AuditBackend) -> None:
    env = {**os.environ, "DATABASE_URL": url, "AUDIT_KEY": KEY}

    def audit(*arguments: str, **more: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "infra", "audit", *arguments],
            cwd=ROOT, env={**env, **more}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    log = infra.AuditLog(backend.database, key=KEY)
    log.record("user:zq71", "a", "s", {"n": 1})
    log.record("user:zq71", "a", "s", {"n": 2})
    code, head, err = audit("--seal")
    assert (code, head[:2], err) == (0, "2:", "")
    expected = f"2 sealed entries checked: all in order, head {head}"
    assert audit("--verify", "--head", head.strip()) == (0, expected, "")
    code, out, err = audit("--seal", AUDIT_KEY="k" * 32)
    assert (code, out, err) == (2, "", "infra: another key made the earlier seals (AUDIT_KEY)\n")
    backend.remove(SEALS, {"position": 2})
    backend.change(ENTRIES, {"id": 2}, {"created_at": backend.clock.now() - timedelta(days=9)})
    cut = "the tail was cut: the chain does not lead to the given head\n"
    assert audit("--verify", "--head", head.strip()) == (1, f"1 sealed entries checked: {cut}", "")
    assert audit("--verify") == (1, "1 sealed entries checked: entry 2 was inserted\n", "")
