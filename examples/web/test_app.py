"""Test the web application over HTTP, on the fakes."""

import http.client
import json
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.serving import make_server

import fakes
import infra
from examples.web.app import create_app

PHONE = "+14155550100"


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    body: dict[str, Any]


class Client:
    def __init__(self, port: int) -> None:
        self.port = port

    def send(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = {}
    ) -> Reply:
        status, found, text = self.exchange(method, path, body, headers)
        return Reply(status, found, json.loads(text))

    def exchange(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = {}
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send a request; return the status, headers and body of the reply."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers))
            reply = connection.getresponse()
            return reply.status, dict(reply.getheaders()), reply.read()
        finally:
            connection.close()

    def post(self, path: str, **fields: Any) -> Reply:
        return self.send("POST", path, json.dumps(fields).encode())

    def refresh(self, token: str) -> Reply:
        return self.post("/refresh", token=token)


@contextmanager
def serving(services: fakes.FakeInfrastructure, registry: CollectorRegistry) -> Iterator[Client]:
    app = create_app(services, services.sms, registry)
    server = make_server("127.0.0.1", 0, app, threaded=True)  # 0: any free port
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield Client(server.server_port)
    finally:
        server.shutdown()
        thread.join()


@pytest.fixture
def clock() -> fakes.FakeClock:
    return fakes.FakeClock()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()  # of this test: the default one lasts as long as the process


@pytest.fixture
def services(
    clock: fakes.FakeClock, registry: CollectorRegistry
) -> Iterator[fakes.FakeInfrastructure]:
    observer = infra.PrometheusObserver(registry)
    with fakes.FakeInfrastructure(clock, observer=observer) as services:
        yield services


@pytest.fixture
def client(services: fakes.FakeInfrastructure, registry: CollectorRegistry) -> Iterator[Client]:
    with serving(services, registry) as client:
        yield client


def code_for(client: Client, services: fakes.FakeInfrastructure, phone: str = PHONE) -> str:
    assert client.post("/code", phone=phone).status == 200
    return services.sms.outbox[-1].code or ""


def token_for(client: Client, services: fakes.FakeInfrastructure, phone: str = PHONE) -> str:
    reply = client.post("/sign-in", phone=phone, code=code_for(client, services, phone))
    assert reply.status == 200
    return str(reply.body["token"])


def test_a_sign_in(client: Client, services: fakes.FakeInfrastructure) -> None:
    code = code_for(client, services)
    reply = client.post("/sign-in", phone="+1 415 555-0100", code=code)
    assert (reply.status, reply.headers["Cache-Control"]) == (200, "no-store")
    assert services.tokens.is_valid(reply.body["token"])
    assert client.post("/sign-in", phone=PHONE, code=code).status == 403  # a code works once


def test_the_second_sign_in_finds_the_user(
    client: Client, services: fakes.FakeInfrastructure, clock: fakes.FakeClock
) -> None:
    first = token_for(client, services)
    clock.advance(30)  # until the phone may have another code
    second = token_for(client, services)
    assert first != second
    assert services.phone_users.count() == 1


def test_three_wrong_guesses_use_a_code_up(
    client: Client, services: fakes.FakeInfrastructure
) -> None:
    code = code_for(client, services)
    replies = [client.post("/sign-in", phone=PHONE, code="wrong") for _ in range(3)]
    assert [(reply.status, reply.body["error"]) for reply in replies] == [
        (403, "wrong code, 2 attempts left"),
        (403, "wrong code, 1 attempts left"),
        (403, "ask for a code"),
    ]
    assert client.post("/sign-in", phone=PHONE, code=code).status == 403


def test_too_many_guesses_and_codes(
    client: Client, services: fakes.FakeInfrastructure, clock: fakes.FakeClock
) -> None:
    code_for(client, services)
    early = client.post("/code", phone=PHONE)
    assert (early.status, early.headers["Retry-After"]) == (429, "30")
    for _ in range(10):
        if services.verification.get_remaining_attempts(PHONE) == 0:
            clock.advance(30)
            code_for(client, services)
        assert client.post("/sign-in", phone=PHONE, code="wrong").status == 403
    reply = client.post("/sign-in", phone=PHONE, code=services.sms.outbox[-1].code)
    assert reply.status == 429  # also for the right code
    assert int(reply.headers["Retry-After"]) == 3600 - 3 * 30


def test_a_code_expires(
    client: Client, services: fakes.FakeInfrastructure, clock: fakes.FakeClock
) -> None:
    code = code_for(client, services)
    clock.advance(300)
    assert client.post("/sign-in", phone=PHONE, code=code).status == 403


def test_a_blocked_phone(client: Client, services: fakes.FakeInfrastructure) -> None:
    user = services.phone_users.create_for_phone(PHONE)
    services.phone_users.update(replace(user, is_blocked=True))
    code = code_for(client, services)
    assert client.post("/sign-in", phone=PHONE, code=code).status == 403
    assert services.tokens.find_by_user(user.id) == []


def test_refresh(client: Client, services: fakes.FakeInfrastructure) -> None:
    first = token_for(client, services)
    reply = client.refresh(first)
    second = reply.body["token"]
    assert (reply.status, reply.headers["Cache-Control"]) == (200, "no-store")
    assert [services.tokens.is_valid(token) for token in (first, second)] == [False, True]
    refused = client.refresh("never issued")
    assert (refused.status, refused.body) == (403, {"error": "sign in again"})


def test_two_tabs_of_a_browser(client: Client, services: fakes.FakeInfrastructure) -> None:
    first = token_for(client, services)
    replies = [client.refresh(first) for _ in range(2)]
    assert [reply.status for reply in replies] == [200, 200]


def test_a_stolen_token(
    client: Client, services: fakes.FakeInfrastructure, clock: fakes.FakeClock
) -> None:
    first = token_for(client, services)
    second = client.refresh(first).body["token"]
    clock.advance(11)  # beyond the grace for two tabs of a browser
    assert client.refresh(first).status == 403
    assert client.refresh(second).status == 403  # the whole family is revoked


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/code", b"", 405),
        ("POST", "/codes", b"{}", 404),
        ("POST", "/code", b"", 400),
        ("POST", "/code", b"phone=1", 400),
        ("POST", "/code", b"[]", 400),
        ("POST", "/code", b"\xff", 400),
        ("POST", "/code", b"[" * 512, 400),  # as deep as the limit allows
        ("POST", "/code", b"[" * 513, 413),
        ("POST", "/code", b'{"phone": "555-0100"}', 400),
        ("POST", "/sign-in", b'{"phone": "+14155550100", "code": 123456}', 400),
        ("POST", "/refresh", b"", 400),
        ("POST", "/refresh", b"{}", 403),
    ],
)
def test_wrong_requests(client: Client, method: str, path: str, body: bytes, status: int) -> None:
    reply = client.send(method, path, body)
    assert reply.status == status
    assert reply.body["error"]
    allowed = {"POST", "OPTIONS"} if status == 405 else {""}
    assert {*reply.headers.get("Allow", "").split(", ")} == allowed


@pytest.mark.parametrize(("length", "status"), [("513", 413), ("-1", 400), ("some", 400)])
def test_a_wrong_length(client: Client, length: str, status: int) -> None:
    assert client.send("POST", "/code", headers={"Content-Length": length}).status == status


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (infra.ConnectionError("no route"), 503),
        (infra.TimeoutError("no reply"), 503),
        (infra.ConnectionError("closed", retryable=False), 500),
        (infra.DatabaseError("deadlock", retryable=True), 503),
        (infra.DatabaseError("no such table"), 500),
    ],
)
def test_a_database_that_fails(
    client: Client, services: fakes.FakeInfrastructure, error: Exception, status: int
) -> None:
    code = code_for(client, services)
    services.phone_users.fail_next("find_by_phone", error)
    assert client.post("/sign-in", phone=PHONE, code=code).status == status


def test_redis_is_down(client: Client, services: fakes.FakeInfrastructure) -> None:
    services.redis.down = True
    assert client.post("/code", phone=PHONE).status == 503
    services.redis.down = False
    assert client.post("/code", phone=PHONE).status == 200


def test_health(client: Client) -> None:
    reply = client.send("GET", "/healthz")
    assert (reply.status, reply.headers["Cache-Control"]) == (200, "no-store")
    pool = {
        "max_connections": None, "open": 0, "in_use": 0, "idle": 0, "waiting": 0,
        "longest_wait": 0.0, "opened": 0, "closed": 0, "timed_out": 0,
    }  # fmt: skip
    up = {"up": True, "latency": 0.0, "error": "", "reason": "", "pool": pool, "breaker": None}
    up |= {"pending": None}
    database = {**up, "version": "FakeDatabase", "pending": []}
    assert reply.body == {
        "up": True,
        "services": {
            "mysql": database,
            "postgres": database,
            "redis": {**up, "version": "FakeRedisClient"},
            "storage": {**up, "version": "FakeStorageProvider", "pool": None},
        },
    }
    assert client.post("/healthz").status == 405


def test_health_of_services_that_fail(client: Client, services: fakes.FakeInfrastructure) -> None:
    services.redis.down = True
    services.accounts.fail_next("health_check", infra.TimeoutError("mysql did not answer in time"))
    reply = client.send("GET", "/healthz")
    assert (reply.status, reply.headers["Cache-Control"]) == (503, "no-store")
    found = reply.body["services"]
    assert (reply.body["up"], [name for name in found if not found[name]["up"]]) == (
        False, ["mysql", "redis"]
    )  # fmt: skip
    assert [(found[name]["error"], found[name]["reason"]) for name in ("mysql", "redis")] == [
        ("TimeoutError", "mysql did not answer in time"),
        ("ConnectionError", "FakeRedisClient is down on purpose"),
    ]
    services.redis.down = False
    assert client.send("GET", "/healthz").status == 200


def test_health_shows_no_secret(client: Client, services: fakes.FakeInfrastructure) -> None:
    code = code_for(client, services)
    token = token_for(client, services, "+14155550101")
    shown = json.dumps(client.send("GET", "/healthz").body)
    assert not [secret for secret in (PHONE[1:], code, token) if secret in shown]


def metrics(client: Client) -> dict[tuple[str, ...], float]:
    """Return what a Prometheus server reads: by the name and the values of the labels."""
    status, headers, text = client.exchange("GET", "/metrics")
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    assert headers["Content-Type"].startswith("text/plain; version=")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_metrics(client: Client, services: fakes.FakeInfrastructure) -> None:
    token_for(client, services)
    services.phone_users.fail_next("find_by_phone", infra.TimeoutError("no reply"))
    code = code_for(client, services, "+14155550101")
    assert client.post("/sign-in", phone="+14155550101", code=code).status == 503
    found = metrics(client)
    assert found["infra_calls_total", "find_by_phone", "ok", "mysql"] == 1
    assert found["infra_calls_total", "find_by_phone", "TimeoutError", "mysql"] == 1
    assert found["infra_calls_total", "send_verification_code", "ok", "sms"] == 2
    assert found["infra_call_seconds_count", "find_by_phone", "mysql"] == 2
    assert found["infra_pool_in_use", "mysql"] == 0
    assert client.post("/metrics").status == 405


def test_metrics_show_no_secret(client: Client, services: fakes.FakeInfrastructure) -> None:
    code = code_for(client, services)
    token = token_for(client, services, "+14155550101")
    shown = client.exchange("GET", "/metrics")[2].decode()
    assert "infra_calls_total" in shown
    assert not [secret for secret in (PHONE[1:], code, token) if secret in shown]


@pytest.mark.parametrize("outcome", ["rejected", "unknown"])
def test_the_message_fails(
    client: Client, services: fakes.FakeInfrastructure, outcome: str
) -> None:
    services.sms.fail_next("send_sms", infra.SmsError("failed", outcome=outcome))
    assert client.post("/code", phone=PHONE).status == 500
    # After "unknown" the message may arrive: its code stays valid.
    assert services.verification.code_exists(PHONE) is (outcome == "unknown")


def test_eight_clients_at_once(client: Client, services: fakes.FakeInfrastructure) -> None:
    """One of eight requests with one code succeeds, and so does each with a code of its own."""
    code = code_for(client, services)
    statuses: list[int] = []
    tokens: list[str] = []

    def work(number: int) -> None:
        statuses.append(client.post("/sign-in", phone=PHONE, code=code).status)
        other = f"+1415555020{number}"
        assert client.post("/code", phone=other).status == 200
        (sent,) = (sms for sms in [*services.sms.outbox] if sms.phone == other)
        tokens.append(client.post("/sign-in", phone=other, code=sent.code).body["token"])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses.count(200) == 1
    assert len(tokens) == 8
    assert all(services.tokens.is_valid(token) for token in tokens)


def test_logs_hold_no_secret(
    services: fakes.FakeInfrastructure,
    registry: CollectorRegistry,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(services, registry) as client:
        code = code_for(client, services)
        services.tokens.fail_next("issue", infra.TimeoutError("no reply"))
        assert client.post("/sign-in", phone=PHONE, code=code).status == 503
    logs = caplog.text + "".join(capfd.readouterr())
    assert "TimeoutError: no reply" in logs
    assert "POST /sign-in" in logs
    assert not [secret for secret in (PHONE, PHONE[1:], code) if secret in logs]
