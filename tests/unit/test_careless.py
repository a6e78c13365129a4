"""Careless calls: each public callable takes a dozen bad values for each of its parameters.

Each call returns a result or raises one of the library's own errors. ``EXEMPT`` lists the calls
that raise something else, with the reason.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import itertools
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import fakes
import infra
from tests.contract.databases import ENGINES

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
ID = uuid.UUID(int=1)
BAD: Mapping[str, Any] = {
    "None": None,
    "True": True,
    "-1": -1,
    "10**19": 10**19,
    "1.5": 1.5,
    "nan": float("nan"),
    "''": "",
    "half a character": "\ud800",
    "NUL": "\0",
    "bytes": b"\xff",
    "list": [None],
    "dict": {"\0": object()},
    "object": object(),
    "type": int,
    "naive datetime": datetime(2026, 1, 1),
}
NO_DATABASE = infra.DatabaseConfig(url="postgresql://u:p@127.0.0.1:1/db", acquire_timeout=0.1)
NO_REDIS = infra.CacheConfig(url="redis://127.0.0.1:1/0", retries=0, deadline=0.1)
NO_NATS = infra.NatsConfig(url="nats://127.0.0.1:1", retries=0, deadline=0.1)
NO_RABBIT = infra.RabbitMQConfig(url="amqp://127.0.0.1:1", retries=0, deadline=0.1)
TWILIO = infra.SmsConfig(
    provider="twilio", account_sid="a", api_key="k", api_secret="s", sender="i"
)
STORAGE = fakes.FakeStorageProvider()
#: a value that each parameter takes, by its name; a public callable with another one fails the test
GOOD: Mapping[str, Any] = {
    "action": "login", "amount": 1, "applied_at": NOW, "argv": ["--help"], "attempt": lambda a: 1,
    "batch_size": 10, "bucket": "bucket", "benchmark_id": ID, "category": "safety", "channel": "c",
    "channels": ["c"], "code": "123456", "changelog": "c", "changes": {}, "columns": ["id"],
    "data": b"d", "dialect": "mysql", "email": "ada@example.org", "engine": "mysql", "env": {},
    "email_verified": True, "error": infra.CacheError("x", service="x"), "expires_in": 60,
    "factory": lambda: 1, "family": infra.SystemEvent, "fn": lambda: 1, "glob": "*",
    "handler": print, "id": ID, "items": {}, "key": "k", "keys": ["k"], "limit": 10,
    "level": "audited",
    "message": "m", "method": "ping", "model": "m", "name": "name", "now": NOW, "number": 1,
    "on_message": print, "operation": "o", "organization_id": ID, "organization_type": "enterprise",
    "owner_id": ID, "params": [], "password_hash": "h", "path": "file.csv", "paths": [infra.SCHEMA],
    "pattern": "p", "payload": "{}", "phone": "+905321234567", "profile": {}, "reason": "r",
    "role": "admin", "rows": [], "seconds": 1.0, "service": "s", "session_id": "s", "slug": "s",
    "source_bucket": "bucket", "source_key": "k", "target_bucket": "bucket", "target_key": "t",
    "sql": "SELECT 1", "status": "draft", "stem": "schema", "submission_id": ID, "table": "t",
    "tag": "t", "text": "t", "token": "t", "user_id": ID, "user_type": "customer", "username": "u",
    "value": "v", "verification": {}, "verified": True, "version_id": ID, "visibility": "public",
    "where": {}, "who": "w", "window": 60, "row": {}, "file": io.BytesIO(), "done": 1,
    "version": 1, "resend_after": 0, "ttl": 60, "timeout": 1.0, "clock": fakes.FakeClock(NOW),
    "user": infra.User("ada@example.org", "ada"),
    "organization": infra.Organization("Acme", "acme"),
    "benchmark": infra.Benchmark("slug", "name", category="safety", created_by=ID),
    "submission": infra.Submission(benchmark_id=ID, benchmark_version_id=ID, model="m", user_id=ID),
    "record": infra.PhoneUser("f" * 64, "+90"), "config": infra.SmsConfig(), "kind": str,
    "event": infra.SystemEvent.CacheCleared("*"), "sms": infra.MockSmsService(),
    "database": fakes.FakeDatabase("postgres", fakes.POSTGRES_TABLES), "ask": 0, "names": ["n"],
    "cache": fakes.FakeCacheProvider(), "client": fakes.FakeRedisClient(),
    "repository": fakes.FakeUserRepository, "url": "https://storage.example/bucket/k?x=1",
    "rules": fakes.MYSQL_TABLES[0], "tables": fakes.MYSQL_TABLES, "deadline": 1.0, "retries": 0,
    "repeatable": frozenset(), "translate": lambda error, attempt: None, "is_glob": False,
    "source": infra.IterableSource([]), "monotonic": lambda: 0.0, "services": [],
    "pool": infra.create_pool(NO_DATABASE),
    "repositories": infra.UserRepository, "build": lambda services: 1, "records": [],
    "field": "n", "low": 1, "high": 2, "values": [1], "target": (STORAGE, "new", ""),
    "call": infra.Call("redis", "get", "ok", 0.1, 1), "outcome": "ok",
    "group": "g", "events": [], "message_id": "1", "older": 60, "actor": "user:1",
    "subject": "order:1", "stream": "order:1", "expected_version": 0, "fold": lambda state, _: 0,
    "start": 0, "regions": {"eu": STORAGE, "us": fakes.FakeStorageProvider()}, "primary": "eu",
    "outbox": infra.Outbox(fakes.FakeDatabase("mysql", fakes.MYSQL_TABLES)),
}  # fmt: skip
#: the same for one callable, or for one of its class
GOOD_OF: Mapping[str, Mapping[str, Any]] = {
    "ConnectionPool": {"config": NO_DATABASE},
    "create_pool": {"config": NO_DATABASE},
    "DatabaseConfig": {"url": "mysql://u:p@127.0.0.1:1/db"},
    "RedisClient": {"config": NO_REDIS},
    "RedisEventStream": {"client": infra.RedisClient(NO_REDIS)},
    "NatsEventStream": {"config": NO_NATS},
    "RabbitMQEventStream": {"config": NO_RABBIT},
    "TwilioSmsService": {"config": TWILIO},
    "create_sms_service": {"config": TWILIO},
    "Infrastructure": {"config": infra.Config()},
    "QuerySource": {"database": GOOD["pool"], "key": "id"},
    "ObjectMove": {"source": (STORAGE, "old", "")},
    "RowMove": {"target": infra.TableTarget(GOOD["database"], "users")},
    "RepositoryTarget": {"repository": fakes.FakeUserRepository()},
    "table_ddl": {"source": GOOD["pool"]},
    "record": {"data": {}},
    "redact_document": {"data": {}},
    "Table": {"columns": {"id": fakes.Column(uuid.UUID)}},
    "revoke_family": {"family": ID},
    "Observer.watch": {"source": dict},
    "fail_next": {"method": "count"},
    "FakeDatabase.fail_next": {"method": "run"},
    "FakeRedisClient.fail_next": {"method": "get"},
    "FakeCacheProvider.fail_next": {"method": "get"},
    "FakeVerificationCache.fail_next": {"method": "clear"},
    "FakeEventBus.fail_next": {"method": "publish"},
    "FakeEventStream.fail_next": {"method": "append"},
    "FakeStorageProvider.fail_next": {"method": "copy"},
    "FakeSmsService.fail_next": {"method": "send_sms"},
}
#: what is not called: nobody makes it, and what makes it checks the arguments
MADE_BY = {
    "CacheLock": "RedisCacheProvider.lock",
    "Subscription": "RedisEventBus.subscribe",
    "Consumer": "EventStream.consume",
    "Attempt": "CallPolicy.call",
}
#: a callable, its parameter and the exception that goes through: why that is right
EXEMPT: Mapping[tuple[str, str, str], str] = {
    ("main", "argv", "TypeError"): "argparse says which type it takes; nothing has been done",
    ("AuditLog.replay", "fold", "TypeError"): "int is called as a fold: what that raises passes",
}


def fake_services(clock: fakes.FakeClock) -> Iterator[Any]:
    services = fakes.FakeInfrastructure(clock=clock)
    for name in (
        "accounts", "exchange", "phone_users", "tokens", "users", "organizations", "benchmarks",
        "submissions", "redis", "cache", "verification", "bus", "storage", "sms", "stream",
        "outbox", "inbox", "audit", "regions",
    ):  # fmt: skip
        yield getattr(services, name)
    yield services
    yield services.accounts.table("phone_users")
    yield services.cache.lock("careless", ttl=5)
    yield fakes.FakeRedisServer(clock)
    yield fakes.FakeClock(NOW)


def real_services(clock: fakes.FakeClock) -> Iterator[Any]:
    """Give the classes that ask servers; none listens where they are sent."""
    on_mysql = replace(NO_DATABASE, url="mysql://u:p@127.0.0.1:1/db")
    pool = infra.create_pool(NO_DATABASE, clock=clock)
    yield pool
    yield infra.Migrator(pool, infra.SCHEMA)
    for each in (pool, infra.create_pool(on_mysql, clock=clock)):
        classes = ENGINES[each.engine]
        for repository in (
            classes.tokens, classes.users, classes.organizations, classes.benchmarks,
            classes.submissions,
        ):  # fmt: skip
            yield repository(each, clock=clock)
    client = infra.RedisClient(NO_REDIS, clock=clock)
    yield client
    yield infra.RedisCacheProvider(client)
    yield infra.VerificationCache(client)
    yield infra.RedisEventBus(client)
    yield infra.RedisEventStream(client)
    yield infra.Outbox(pool)
    yield infra.AuditLog(pool, key="k" * 32)
    yield infra.MockSmsService()
    yield infra.FailoverSmsService(infra.MockSmsService())
    yield infra.Observer()
    yield infra.CircuitBreaker(clock=clock)


def own(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Give the public classes and functions of a module."""
    for name, value in vars(module).items():
        if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__:
            yield name, value


def made() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Give the classes and functions, and the methods of classes."""
    for module in (infra, fakes):
        for name, value in own(module):
            if inspect.isabstract(value) or not callable(value) or name in MADE_BY:
                continue
            if not (inspect.isclass(value) and issubclass(value, Exception)):
                yield name, value
            if inspect.isclass(value):
                for each, attribute in vars(value).items():
                    if isinstance(attribute, (classmethod, staticmethod)) and each[0] != "_":
                        yield f"{name}.{each}", getattr(value, each)


def methods(services: Callable[[fakes.FakeClock], Iterator[Any]]) -> Iterator[tuple[str, Any]]:
    """Give the public methods of objects. Each has a clock of its own, which calls may move."""
    for place, _ in enumerate(services(fakes.FakeClock(NOW))):
        subject = next(itertools.islice(services(fakes.FakeClock(NOW)), place, None))
        for each in dir(type(subject)):
            method = inspect.getattr_static(type(subject), each)
            if not each.startswith("_") and callable(method):
                yield f"{type(subject).__name__}.{each}", getattr(subject, each)


def callables() -> Iterator[tuple[str, Callable[..., Any]]]:
    for name, call in itertools.chain(made(), methods(fake_services), methods(real_services)):
        if not inspect.isbuiltin(call):  # time.monotonic, which has no parameters
            yield name, call


def parameters(call: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    found = inspect.signature(call).parameters
    return {
        name: each
        for name, each in found.items()
        if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    }


def needed(call: Callable[..., Any]) -> list[str]:
    return [name for name, each in parameters(call).items() if each.default is each.empty]


def careless(name: str, call: Callable[..., Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Give calls: each with one bad value, and all that is needed besides."""
    good = {each: GOOD.get(each) for each in needed(call)}
    good |= GOOD_OF.get(name) or GOOD_OF.get(name.rpartition(".")[2]) or {}
    for parameter in parameters(call):
        for words, value in BAD.items():
            yield parameter, words, {**good, parameter: value}


def bound(call: Callable[..., Any], arguments: Mapping[str, Any]) -> inspect.BoundArguments:
    found = inspect.signature(call).bind_partial()
    found.arguments.update(arguments)
    return found


#: they hold any value: the repository checks it, which knows the field
CONDITIONS: tuple[type, ...] = (
    infra.Above, infra.AtLeast, infra.Below, infra.AtMost, infra.Between, infra.Contains,
    infra.StartsWith, infra.OneOf, infra.Not, infra.AnyOf,
)  # fmt: skip


def is_record(call: Callable[..., Any]) -> bool:
    """Whether it is a class that checks nothing: what stores a record does."""
    held = is_dataclass(call) or call in CONDITIONS
    return inspect.isclass(call) and (held or issubclass(call, tuple))


def raised(call: Callable[..., Any], arguments: Mapping[str, Any]) -> str:
    """Return the name of the exception that the call lets through, if it is none of ours."""
    given = bound(call, arguments)
    try:
        answer = call(*given.args, **given.kwargs)
        if isinstance(answer, Iterator):
            next(answer, None)
        elif hasattr(answer, "__enter__"):
            with answer:
                pass
    except infra.InfrastructureError:
        return ""
    except SystemExit:  # of main
        return ""
    except Exception as error:
        return type(error).__name__
    return ""


def test_careless_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    calls = 0
    missing: set[str] = set()
    found: dict[tuple[str, str, str], str] = {}
    for name, call in callables():
        for parameter, words, arguments in careless(name, call):
            calls += 1
            if error := raised(call, arguments):
                found[name, parameter, error] = words
        if not is_record(call):
            missing |= {f"{name}({each})" for each in needed(call) if each not in GOOD}
    assert calls > 10_000
    assert missing == set(), "GOOD should have a value for these"
    assert {each: found[each] for each in found.keys() - EXEMPT.keys()} == {}
    assert EXEMPT.keys() <= found.keys()  # no entry that is not needed


def test_what_is_kept_is_checked_first() -> None:
    """An object of no use is refused by the constructor that would keep it, not by a later call."""
    kept = []
    for name, call in callables():
        if not inspect.isclass(call) or is_record(call):
            continue
        for parameter, words, arguments in careless(name, call):
            if words == "object":
                given = bound(call, arguments)
                with contextlib.suppress(infra.InfrastructureError):
                    call(*given.args, **given.kwargs)
                    kept.append((name, parameter))
    assert kept == []
