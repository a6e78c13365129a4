"""Nothing of a caller's reaches metrics, spans, logs or health: markers are sent through all."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import fakes
import infra
from tests.contract.backends import eventually
from tests.unit.test_observers import Recorder

pytest.importorskip("opentelemetry.sdk")

import prometheus_client

from tests.unit.test_tracing import Traces

#: part of each marker that is text; the others are long enough to stand in no time and no id
TEXT = "zq71"
KEY, VALUE, MESSAGE = f"{TEXT}-key", f"{TEXT}-value", f"{TEXT}-message"
EMAIL, NAME = f"{TEXT}@example.org", f"{TEXT}-name"
PHONE, CODE = "+905321237755", "9182736450"
CHANNEL = "orders"  # logs name it


class LogText(logging.Handler):
    """All that records of the logger hold, with tracebacks and the fields of ``extra``."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = logging.Formatter("%(message)s").format(record)
        usual = vars(logging.makeLogRecord({})).keys()
        extra = {name: value for name, value in vars(record).items() if name not in usual}
        self.lines.append(f"{text} {extra!r}")


class Outputs:
    """Observers for a bundle, and what they and the logger have got."""

    def __init__(self) -> None:
        self.traces, self.recorder, self.log = Traces(), Recorder(), LogText()
        self.observers: list[Any] = [self.traces.observer, self.recorder]
        self.health: list[str] = []
        self._registry = prometheus_client.CollectorRegistry()
        self.observers.append(infra.PrometheusObserver(self._registry))

    def ask_health(self, services: infra.Infrastructure) -> None:
        report = services.health()
        self.health.append(f"{report!r} {json.dumps(report.as_dict())}")

    def all(self) -> dict[str, str]:
        """The text of each output, without ids and times, which are not the caller's."""
        spans = [
            (
                *(span.name, dict(span.attributes or {}), span.status.description),
                *((event.name, dict(event.attributes or {})) for event in span.events),
                *(dict(link.attributes or {}) for link in span.links),
            )
            for span in self.traces.spans()
        ]
        figures = [
            (name, source())
            for name, sources in self.recorder.sources.items()
            for source in sources
        ]
        return {
            "spans": repr(spans),
            "metrics": prometheus_client.generate_latest(self._registry).decode(),
            "calls": repr((self.recorder.calls, self.recorder.counts, figures)),
            "logs": "\n".join(self.log.lines),
            "health": "\n".join(self.health),
        }


@pytest.fixture
def outputs() -> Iterator[Outputs]:
    made, logger = Outputs(), logging.getLogger("infra")
    before = logger.level
    logger.addHandler(made.log)
    logger.setLevel(logging.DEBUG)
    yield made
    logger.removeHandler(made.log)
    logger.setLevel(before)
    made.traces.provider.shutdown()


def refused(call: Callable[..., object], *arguments: Any) -> None:
    with pytest.raises(infra.InfrastructureError):
        call(*arguments)


# --- one function for each kind of service


def use_cache(services: infra.Infrastructure) -> None:
    cache, redis = services.cache, services.redis
    cache.set(KEY, VALUE)
    assert cache.get(KEY) == VALUE
    cache.get_many([KEY, f"{KEY}-absent"])
    cache.get_or_set(f"{KEY}-other", lambda: VALUE)
    refused(cache.increment, KEY)
    with cache.lock(f"{KEY}-lock", ttl=5):
        pass
    cache.check_rate_limit(f"{KEY}-limit", 1, 60)
    cache.delete_pattern(f"{KEY}*")
    redis.set(KEY, VALUE)
    refused(redis.increment, KEY)
    redis.compare_and_delete(KEY, VALUE)


def use_accounts(services: infra.Infrastructure, sms: infra.SmsService) -> list[str]:
    """Return the secrets that were made on the way."""
    codes, users, tokens = services.verification, services.phone_users, services.tokens
    codes.store_code(PHONE, CODE)
    assert not codes.verify_code(PHONE, CODE[::-1])
    assert codes.verify_code(PHONE, CODE)
    sms.send_sms(PHONE, MESSAGE)
    sms.send_verification_code(PHONE, CODE)
    user = users.create_for_phone(PHONE)
    refused(users.create_for_phone, PHONE)
    first = tokens.issue(user.id, 60, infra.Device(device_name=NAME)).token
    rotated = tokens.rotate(first, 60).issued
    assert rotated is not None
    tokens.rotate(first, 60)  # a replay, which revokes the family
    return [first, rotated.token, user.phone_hash]


def use_exchange(services: infra.Infrastructure) -> None:
    users = services.users
    user = users.create(infra.User(EMAIL, NAME, profile={"note": VALUE}), f"{TEXT}-hash")
    refused(users.create, infra.User(EMAIL, f"{NAME}-2"))
    users.find_credentials(EMAIL)
    organization = infra.Organization(NAME, f"{TEXT}-slug")
    services.organizations.create(organization, user.id)
    refused(services.organizations.create, organization, user.id)
    benchmark = infra.Benchmark(KEY, NAME, category="safety", created_by=user.id)
    services.benchmarks.create(benchmark)
    refused(services.benchmarks.create, benchmark)
    with contextlib.suppress(LookupError), services.exchange.transaction():
        users.update_profile(user.id, {"note": VALUE})
        raise LookupError(VALUE)
    services.exchange.run(lambda: users.find_by_email(EMAIL))


def use_storage(services: infra.Infrastructure) -> None:
    storage = services.storage
    for bucket in ("letters", "archive"):
        storage.create_bucket(bucket)
    storage.upload("letters", KEY, VALUE.encode(), metadata={"note": VALUE})
    storage.download("letters", KEY)
    refused(storage.download, "letters", f"{KEY}-absent")
    storage.get_presigned_url("letters", KEY, 60)
    move = infra.ObjectMove("o", source=(storage, "letters", ""), target=(storage, "archive", ""))
    assert move.run().counts.written == 1
    storage.delete_batch("letters", [KEY])


def wrong_family(message: infra.Message) -> None:
    message.deserialize(infra.UserEvent)


def use_stream(services: infra.Infrastructure) -> None:
    stream, outbox = services.stream, services.outbox
    stream.declare(CHANNEL, "mail")
    outbox.add(CHANNEL, infra.SystemEvent.CacheCleared(MESSAGE), key=KEY)
    assert outbox.relay(stream, once=True) == 1
    with stream.consume(CHANNEL, "mail", wrong_family) as consumer:

        def is_dead() -> object:
            consumer.join(0.01)
            return stream.dead_letters(CHANNEL, "mail")

        eventually(is_dead)


def use_audit(services: infra.Infrastructure) -> None:
    audit = infra.AuditLog(services.exchange, key=f"{TEXT}-" * 8)
    audit.record(NAME, "moved", KEY, {"note": VALUE, "phone": PHONE})
    refused(audit.record, PHONE, "moved", KEY)
    refused(audit.append, KEY, infra.SystemEvent.CacheCleared(MESSAGE), 5)
    assert audit.verify(audit.seal()).ok
    refused(infra.AuditLog(services.exchange, key=f"{TEXT}+" * 8).seal)


def use_bus(services: infra.Infrastructure, outputs: Outputs) -> None:
    services.bus.subscribe(CHANNEL, wrong_family)
    with outputs.traces.tracer.start_as_current_span("request"):
        services.bus.publish(CHANNEL, infra.SystemEvent.CacheCleared(MESSAGE))


def use_moves(services: infra.Infrastructure) -> None:
    def to_user(row: dict[str, Any]) -> infra.User:
        if row["username"].endswith("old"):
            raise ValueError(VALUE)
        return infra.User(row["username"] + "@example.org", **row)

    def moved(name: str, *names: str) -> infra.RowMove:
        source = infra.IterableSource([{"username": name} for name in names])
        target = infra.RepositoryTarget(services.users)
        return infra.RowMove(name, source=source, target=target, transform=to_user)

    assert moved("people", f"{NAME}-new").run().counts.written == 1
    refused(moved("again", f"{NAME}-new").run)  # the name is taken
    refused(moved("others", f"{NAME}-old").run)


def use_all(services: infra.Infrastructure, outputs: Outputs) -> list[str]:
    use_cache(services)
    secrets = use_accounts(services, services.sms)
    use_exchange(services)
    use_storage(services)
    use_bus(services, outputs)
    use_stream(services)
    use_audit(services)
    use_moves(services)
    outputs.ask_health(services)
    return secrets


def check(outputs: Outputs, secrets: list[str]) -> None:
    markers = [TEXT, PHONE.removeprefix("+"), CODE, CODE[::-1], *secrets]
    found = outputs.all()
    leaks = {(name, marker) for name, text in found.items() for marker in markers if marker in text}
    assert leaks == set()
    for word in ("health_check", "create", "upload", "publish", "process", "Error"):
        assert word in found["spans"], word  # all was seen
    assert "a handler of channel orders raised" in found["logs"]
    assert "redis" in found["health"]
    assert 'infra_calls_total{operation="publish",outcome="ok",service="redis"}' in found["metrics"]


# --- on the fakes


def test_no_output_of_a_fake_bundle_has_a_marker(outputs: Outputs) -> None:
    with fakes.FakeInfrastructure(observer=outputs.observers) as services:
        secrets = use_all(services, outputs)
        services.redis.down = True
        refused(services.cache.get, KEY)
        refused(services.redis.set, KEY, VALUE)
        outputs.ask_health(services)
        services.redis.down = False
        services.sms.fail_next("send_sms", infra.SmsError)
        refused(services.sms.send_sms, PHONE, MESSAGE)
    check(outputs, secrets)
