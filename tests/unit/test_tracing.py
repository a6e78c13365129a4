"""OpenTelemetryObserver: spans of calls and of handlers, read from the SDK's exporter."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

import fakes
import infra
from tests.contract import handlers
from tests.contract.backends import in_background

pytest.importorskip("opentelemetry.sdk")

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

EVENT = infra.SystemEvent.CacheCleared("*")
SECOND = 1_000_000_000


class Traces:
    """An observer, a tracer of the application, and the spans that both have made."""

    def __init__(self) -> None:
        self.provider = TracerProvider()
        self._exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.observer = infra.OpenTelemetryObserver(self.provider)
        self.tracer = self.provider.get_tracer("application")

    def spans(self, name: str = "") -> list[ReadableSpan]:
        """The spans since the last time, in the order of their ends."""
        found = [span for span in self._exporter.get_finished_spans() if name in ("", span.name)]
        self._exporter.clear()
        return found

    def span(self, name: str = "") -> ReadableSpan:
        (found,) = self.spans(name)
        return found


@pytest.fixture
def traces() -> Iterator[Traces]:
    made = Traces()
    yield made
    made.provider.shutdown()


def attributes(found: Any) -> dict[str, Any]:
    """Those of a span or of an event."""
    return dict(found.attributes)


# --- calls


def test_a_call_is_a_span_of_the_conventions_for_databases(traces: Traces) -> None:
    with fakes.FakeRedisClient(observer=traces.observer) as client:
        client.get("k")
    span = traces.span()
    assert (span.name, span.kind) == ("get", SpanKind.CLIENT)
    assert attributes(span) == {
        "db.system.name": "redis",
        "db.operation.name": "get",
        "infra.service": "redis",
        "infra.operation": "get",
        "infra.attempts": 1,
    }
    assert (span.status.status_code, span.status.description) == (StatusCode.UNSET, None)
    assert (list(span.events), list(span.links), span.parent) == ([], [], None)
    scope = span.instrumentation_scope
    assert scope is not None
    assert (scope.name, scope.version) == ("infra", infra.__version__)


@pytest.mark.parametrize(
    ("service", "system"), [("mysql", "mysql"), ("postgres", "postgresql"), ("redis", "redis")]
)
def test_names_of_database_systems(traces: Traces, service: str, system: str) -> None:
    traces.observer.call(infra.Call(service, "execute", "ok", 0.0, 1))
    assert attributes(traces.span())["db.system.name"] == system


def test_other_services_have_no_attributes_of_databases(traces: Traces) -> None:
    with fakes.FakeInfrastructure(observer=traces.observer) as services:
        services.storage.create_bucket("bucket")
        services.sms.send_sms("+14155550100", "m")
    assert [attributes(span) for span in traces.spans()] == [
        {"infra.service": "storage", "infra.operation": "create_bucket", "infra.attempts": 1},
        {"infra.service": "sms", "infra.operation": "send_sms", "infra.attempts": 1},
    ]


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("db.example:5432", {"server.address": "db.example", "server.port": 5432}),
        ("::1:6379", {"server.address": "::1", "server.port": 6379}),
        ("/run/mysql.sock", {"server.address": "/run/mysql.sock"}),
        ("", {}),
    ],
)
def test_the_server(traces: Traces, server: str, expected: dict[str, Any]) -> None:
    traces.observer.call(infra.Call("redis", "get", "ok", 0.0, 1, server=server))
    found = attributes(traces.span())
    assert {name: found[name] for name in found if name.startswith("server")} == expected


def test_a_failed_call_has_the_class_of_its_error_and_no_words(traces: Traces) -> None:
    with fakes.FakeStorageProvider(observer=traces.observer) as storage:
        storage.create_bucket("bucket")
        traces.spans()
        with pytest.raises(infra.NotFoundError):
            storage.download("bucket", "tell-nobody")
    span = traces.span()
    assert attributes(span)["error.type"] == "NotFoundError"
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
    assert list(span.events) == []
    assert "tell-nobody" not in span.to_json()


def test_a_call_stands_below_the_current_span(traces: Traces) -> None:
    with (
        traces.tracer.start_as_current_span("request") as request,
        fakes.FakeRedisClient(observer=traces.observer) as client,
    ):
        client.get("k")
    span = traces.span("get")
    assert span.parent is not None
    assert span.parent.span_id == request.get_span_context().span_id


def test_a_span_lasts_as_long_as_its_attempts_which_are_events(traces: Traces) -> None:
    call = traces.observer.call
    call(infra.Call("redis", "get", "TimeoutError", 0.25, 1, retried=True))
    call(infra.Call("redis", "get", "ConnectionError", 0.5, 2, retried=True))
    assert traces.spans() == []
    call(infra.Call("redis", "get", "ok", 0.125, 3))
    span = traces.span()
    assert [(event.name, attributes(event)) for event in span.events] == [
        ("infra.attempt", {"infra.attempt": 1, "infra.outcome": "TimeoutError"}),
        ("infra.attempt", {"infra.attempt": 2, "infra.outcome": "ConnectionError"}),
        ("infra.attempt", {"infra.attempt": 3, "infra.outcome": "ok"}),
    ]
    assert attributes(span)["infra.attempts"] == 3
    assert "error.type" not in attributes(span)
    assert span.status.status_code is StatusCode.UNSET
    assert (span.start_time, span.end_time) == (
        span.events[0].timestamp - SECOND // 4,
        span.events[2].timestamp,
    )
    assert span.events[0].timestamp <= span.events[1].timestamp <= span.events[2].timestamp


def test_a_real_call_that_is_retried_is_one_span(traces: Traces) -> None:
    config = infra.CacheConfig(url="redis://127.0.0.1:1", retries=2)
    with (
        infra.RedisClient(config, clock=fakes.FakeClock(), observer=traces.observer) as client,
        pytest.raises(infra.ConnectionError),
    ):
        client.get("k")
    span = traces.span()
    assert attributes(span) == {
        "db.system.name": "redis",
        "db.operation.name": "get",
        "server.address": "127.0.0.1",
        "server.port": 1,
        "error.type": "ConnectionError",
        "infra.service": "redis",
        "infra.operation": "get",
        "infra.attempts": 3,
    }
    assert [attributes(event)["infra.attempt"] for event in span.events] == [1, 2, 3]


def test_a_database_tells_its_server(traces: Traces) -> None:
    for url, system in (
        ("mysql://u:p@127.0.0.1:1/d", "mysql"),
        ("postgresql://u:p@127.0.0.1:1/d", "postgresql"),
    ):
        config = infra.DatabaseConfig(url=url, acquire_timeout=0.05)
        with (
            infra.create_pool(config, observer=traces.observer) as pool,
            pytest.raises(infra.InfrastructureError),
        ):
            pool.fetch_one("SELECT 1")
        found = attributes(traces.spans()[-1])
        assert [found[name] for name in ("db.system.name", "server.address", "server.port")] == [
            system,
            "127.0.0.1",
            1,
        ]


def test_a_transaction_that_is_repeated(traces: Traces) -> None:
    """The calls inside each attempt are spans of their own."""
    with fakes.FakeDatabase(
        "postgres", fakes.POSTGRES_TABLES, observer=traces.observer
    ) as database:
        users = fakes.FakeUserRepository(database)
        deadlock = infra.DatabaseError("deadlock", retryable=True)
        users.fail_next("find_by_id", deadlock, times=2)
        database.run(lambda: users.find_by_id(infra.new_id()))
    spans = traces.spans()
    assert [span.name for span in spans] == [
        *("begin", "find_by_id", "rollback") * 2,
        *("begin", "find_by_id", "commit", "run"),
    ]
    outcomes = [attributes(event)["infra.outcome"] for event in spans[-1].events]
    assert outcomes == ["DatabaseError", "DatabaseError", "ok"]
    assert [len(span.events) for span in spans[:-1]] == [0] * 9


def test_an_attempt_of_a_call_that_was_interrupted_belongs_to_no_other(traces: Traces) -> None:
    call = traces.observer.call
    call(infra.Call("redis", "get", "TimeoutError", 0.25, 1, retried=True))
    call(infra.Call("redis", "set", "ok", 0.0, 1))  # Ctrl-C came while it waited
    call(infra.Call("redis", "get", "ok", 0.0, 1))
    assert [(span.name, len(span.events)) for span in traces.spans()] == [("set", 0), ("get", 0)]


def test_threads_keep_their_attempts_apart(traces: Traces) -> None:
    call = traces.observer.call
    call(infra.Call("redis", "get", "TimeoutError", 0.25, 1, retried=True))

    def other() -> None:
        call(infra.Call("redis", "get", "ConnectionError", 0.25, 1, retried=True))
        call(infra.Call("redis", "get", "ok", 0.25, 2))

    in_background(other)()
    call(infra.Call("redis", "get", "ok", 0.25, 2))
    outcomes = [
        [attributes(event)["infra.outcome"] for event in span.events] for span in traces.spans()
    ]
    assert outcomes == [["ConnectionError", "ok"], ["TimeoutError", "ok"]]


# --- events


def test_a_handler_runs_in_a_span_that_links_to_the_publishers(traces: Traces) -> None:
    with fakes.FakeInfrastructure(observer=traces.observer) as services:
        services.bus.subscribe("c", lambda message: services.redis.get("k"))
        with traces.tracer.start_as_current_span("request") as request:
            services.bus.publish("c", EVENT)
    spans = {span.name: span for span in traces.spans()}
    process, published = spans["process"], request.get_span_context()
    assert process.kind is SpanKind.CONSUMER
    assert attributes(process) == {"infra.service": "redis", "infra.operation": "handle"}
    assert process.status.status_code is StatusCode.UNSET
    (link,) = process.links
    assert (link.context.trace_id, link.context.span_id) == (published.trace_id, published.span_id)
    assert link.context.trace_flags.sampled
    assert process.parent is None
    assert process.context.trace_id != published.trace_id
    inner = spans["get"]
    assert inner.parent is not None
    assert inner.parent.span_id == process.context.span_id
    publish = spans["publish"]
    assert publish.parent is not None
    assert publish.parent.span_id == published.span_id


def test_an_event_that_was_published_outside_of_a_span(traces: Traces) -> None:
    messages: list[infra.Message] = []
    with fakes.FakeInfrastructure(observer=traces.observer) as services:
        services.bus.subscribe("c", messages.append)
        services.bus.publish("c", EVENT)
    assert messages[0].traceparent is None
    assert list(traces.span("process").links) == []


def test_the_wire_form_names_the_publishers_span(traces: Traces) -> None:
    messages: list[infra.Message] = []
    own = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    client = fakes.FakeRedisClient(observer=traces.observer)
    with (
        fakes.FakeEventBus(client) as bus,
        fakes.FakeEventBus(client, traceparent=lambda: own) as other,
        traces.tracer.start_as_current_span("request") as request,
    ):
        bus.subscribe("c", messages.append)
        bus.publish("c", EVENT)
        other.publish("c", EVENT)
    context = request.get_span_context()
    expected = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    assert [message.traceparent for message in messages] == [expected, own]
    link = traces.spans("process")[1].links[0]
    assert (link.context.trace_id, link.context.span_id, link.context.is_remote) == (
        0x0AF7651916CD43DD8448EB211C80319C,
        0xB7AD6B7169203331,
        True,
    )


def fail(message: infra.Message) -> None:
    raise ValueError("tell-nobody")


@pytest.mark.parametrize(
    ("handler", "error"),
    [(fail, "ValueError"), (handlers.RETURNING["coroutine"], "ValidationError")],
)
def test_a_handler_that_fails(traces: Traces, handler: Any, error: str) -> None:
    with fakes.FakeInfrastructure(observer=traces.observer) as services:
        services.bus.subscribe("c", handler)
        services.bus.publish("c", EVENT)
        assert services.bus.handler_errors == 1
    span = traces.span("process")
    assert attributes(span)["error.type"] == error
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
    assert list(span.events) == []
    assert "tell-nobody" not in span.to_json()


def test_ctrl_c_in_a_handler_ends_its_span(traces: Traces) -> None:
    def interrupted(message: infra.Message) -> None:
        raise KeyboardInterrupt

    with fakes.FakeInfrastructure(observer=traces.observer) as services:
        services.bus.subscribe("c", interrupted)
        with pytest.raises(KeyboardInterrupt):
            services.bus.publish("c", EVENT)
    assert attributes(traces.span("process"))["error.type"] == "KeyboardInterrupt"
    assert not trace.get_current_span().get_span_context().is_valid


def test_each_handler_has_a_span_of_its_own(traces: Traces) -> None:
    current: list[int] = []

    def handler(message: infra.Message) -> None:
        current.append(trace.get_current_span().get_span_context().span_id)

    with fakes.FakeInfrastructure(observer=traces.observer) as services:
        services.bus.subscribe("c", handler)
        services.bus.subscribe("c", handler)
        services.bus.publish("c", EVENT)
    spans = traces.spans("process")
    assert [span.context.span_id for span in spans] == current
    assert len({*current}) == 2
    assert [span.parent for span in spans] == [None, None]


# --- providers


def test_without_an_sdk_nothing_happens() -> None:
    observer = infra.OpenTelemetryObserver()
    messages: list[infra.Message] = []
    with fakes.FakeInfrastructure(observer=observer) as services:
        services.bus.subscribe("c", messages.append)
        services.bus.publish("c", EVENT)
        services.redis.fail_next("get", infra.TimeoutError)
        with pytest.raises(infra.TimeoutError):
            services.redis.get("k")
    assert observer.traceparent() is None
    assert messages[0].traceparent is None


def test_the_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    with pytest.raises(infra.ConfigurationError, match="pip install 'opentelemetry-api'"):
        infra.OpenTelemetryObserver()


@pytest.mark.parametrize("provider", [5, "x", object(), TracerProvider])
def test_what_is_no_provider(provider: Any) -> None:
    with pytest.raises(infra.ConfigurationError, match="tracer_provider"):
        infra.OpenTelemetryObserver(provider)
