"""Faults of SMS providers: the known outcome of a message, and that it is never sent twice."""

from __future__ import annotations

import base64
import contextlib
import gc
import io
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import fakes
import infra
from tests import services, twilio
from tests.conftest import SlowCredentials, _or_skip
from tests.contract.backends import (
    MotoAccount,
    eventually,
    in_child,
    in_threads,
    locals_of,
)
from tests.faults.proxy import PROXY_REFUSALS, WRONG_PROXIES, HttpsProxy, Proxy
from tests.services import SERVICES, MotoServer, free_port
from tests.twilio import StandIn, Twilio, response

PHONE, CODE, MESSAGE = "+14155557391", "739182", "tell-nobody 739182"
SLACK = 10.0  # seconds that a busy machine may add to a deadline
LASTING = 1.5  # timeout on a bad day that lasts: until then the request should be with the server
AWS_KEY, AWS_SECRET = "AKIAOFTHETESTS000000", "aws-secret-of-tests"
Row = tuple[twilio.Answer | str, str, str | None, bool, float | None]


def by_twilio(url: str, **changes: Any) -> infra.TwilioSmsService:
    observer, endpoint = changes.pop("observer", None), url
    usual = {
        "api_key": twilio.ACCOUNT,
        "api_secret": twilio.TOKEN,
        "sender": twilio.NUMBER,
        "timeout": 5.0,
    }
    return infra.TwilioSmsService(
        infra.SmsConfig(**{**usual, **changes}), endpoint=endpoint, observer=observer
    )


def by_sns(url: str | None, **changes: Any) -> infra.SnsSmsService:
    observer, endpoint = changes.pop("observer", None), url
    usual = {"api_key": AWS_KEY, "api_secret": AWS_SECRET, "timeout": 5.0}
    return infra.SnsSmsService(
        infra.SmsConfig(**{**usual, **changes}), endpoint=endpoint, observer=observer
    )


@pytest.fixture(params=[by_twilio, pytest.param(by_sns, marks=pytest.mark.real)])
def provider(request: pytest.FixtureRequest) -> Any:
    if request.param is by_sns:
        request.getfixturevalue("no_aws")
    return request.param


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    with StandIn() as server:
        yield server


@pytest.fixture
def certificates() -> Path:
    return _or_skip(services.certificates)


def failure(
    service: infra.SmsService, error: type[infra.InfrastructureError] = infra.SmsError
) -> Any:
    """Return the error that sending raises, within a few seconds."""
    started = time.monotonic()
    with service, pytest.raises(error) as caught:
        service.send_sms(PHONE, MESSAGE)
    config: infra.SmsConfig | None = getattr(service, "config", None)
    assert time.monotonic() - started < (config.timeout if config else 0) + SLACK
    assert (caught.value.service, caught.value.operation) == ("sms", "send_sms")
    return caught.value


# --- answers, and none


SID = f"SM{'0' * 32}"
HTML = "<html>Bad gateway</html>"
LIST = "https://www.twilio.com/docs/api/errors"
TWILIO: dict[str, Row] = {  # answer or method, outcome, code, retryable, retry_after
    "invalid number": (
        Twilio.error(400, 21211, f"Invalid Number: {PHONE}"), "rejected", "21211", False, None
    ),
    "wrong login": (Twilio.error(401, 20003, "Authenticate"), "rejected", "20003", False, None),
    "no such account": (Twilio.error(404, 20404, "not found"), "rejected", "20404", False, None),
    "too many": (
        Twilio.error(429, 20429, "Too Many Requests", "Retry-After: 7"), "rejected", "20429", True,
        7.0
    ),
    "a date": (
        response(429, "", "Retry-After: Mon, 23 Nov 2026 06:42:13 GMT"), "rejected", None, True,
        None
    ),
    "HTML 403": (response(403, HTML), "rejected", None, False, None),
    "half a refusal": (response(400, '{"code": 212'), "rejected", None, False, None),
    "failed": (
        response(201, f'{{"sid": "{SID}", "status": "failed", "error_code": 30007}}'), "rejected",
        "30007", False, None,
    ),
    "error 500": (Twilio.error(500, 20500, "Internal Server Error"), "unknown", None, False, None),
    "HTML 502": (response(502, HTML), "unknown", None, False, None),
    "HTML 200": (response(200, HTML), "unknown", None, False, None),
    "empty": (response(201, ""), "unknown", None, False, None),
    "no length, and cut": (b"HTTP/1.1 201 Created\r\n\r\n", "unknown", None, False, None),
    "headers cut": (b"HTTP/1.1 201 Created\r\nContent-", "unknown", None, False, None),
    "a wait cut": (
        b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nRetry-After: 1", "unknown", None,
        False, None,
    ),
    "elsewhere": (response(302, "", "Location: http://127.0.0.1:1/"), "unknown", None, False, None),
    "half, and cut": (response(201, f'{{"sid": "{SID}', length=500), "unknown", None, False, None),
    "half": (response(201, f'{{"sid": "{SID}'), "unknown", None, False, None),
    "no sid": (response(201, '{"status": "queued"}'), "unknown", None, False, None),
    "an odd sid": (
        response(201, '{"sid": ["SM"], "status": "queued"}'), "unknown", None, False, None
    ),
    "deep": (response(201, "[" * 60000), "unknown", None, False, None),
    "no HTTP": (b"+OK\r\n", "unknown", None, False, None),
    "cut": (b"", "unknown", None, False, None),
    "endless": ("endless", "unknown", None, False, None),
    "slow": ("slow", "unknown", None, False, None),
    "slow headers": ("drip HTTP/1.1 201 Created\r\nX-Drip: ", "unknown", None, False, None),
    "slow body": ('drip HTTP/1.1 201 Created\r\n\r\n{"sid": "', "unknown", None, False, None),
}  # fmt: skip


def aws_error(status: int, code: str) -> bytes:
    """https://docs.aws.amazon.com/sns/latest/api/CommonErrors.html"""
    error = f"<Type>Sender</Type><Code>{code}</Code><Message>about {PHONE}</Message>"
    space = 'xmlns="http://sns.amazonaws.com/doc/2010-03-31/"'
    return response(
        status,
        f"<ErrorResponse {space}><Error>{error}</Error><RequestId>1</RequestId></ErrorResponse>",
    )


SNS: dict[str, Row] = {
    "throttled": (aws_error(400, "Throttling"), "rejected", "Throttling", True, None),
    "SNS's throttled": (aws_error(429, "Throttled"), "rejected", "Throttled", True, None),
    "bad parameter": (
        aws_error(400, "InvalidParameter"),
        "rejected",
        "InvalidParameter",
        False,
        None,
    ),
    "forbidden": (
        aws_error(403, "AuthorizationError"),
        "rejected",
        "AuthorizationError",
        False,
        None,
    ),
    "a phone as code": (aws_error(400, PHONE), "rejected", None, False, None),
    "error 500": (aws_error(500, "InternalError"), "unknown", None, False, None),
    "error 503": (aws_error(503, "ServiceUnavailable"), "unknown", None, False, None),
    "HTML 502": (response(502, HTML), "unknown", None, False, None),
    "half": (
        response(200, "<PublishResponse><PublishResult><MessageId>1"),
        "unknown",
        None,
        False,
        None,
    ),
    "half, and cut": (
        response(200, "<PublishResponse><Publish", length=500),
        "unknown",
        None,
        False,
        None,
    ),
    "empty": (response(200, ""), "unknown", None, False, None),
    "no id": (
        response(200, "<PublishResponse><PublishResult/></PublishResponse>"),
        "unknown",
        None,
        False,
        None,
    ),
    "a blank id": (
        response(
            200,
            "<PublishResponse><PublishResult><MessageId> "
            "</MessageId></PublishResult></PublishResponse>",
        ),
        "unknown",
        None,
        False,
        None,
    ),
    "HTML 200": (response(200, HTML), "unknown", None, False, None),
    "HTML 200 with an id": (
        response(200, "<html><MessageId>1</MessageId></html>"),
        "unknown",
        None,
        False,
        None,
    ),
    "another answer": (
        response(200, "<a><PublishResult><MessageId>1</MessageId></PublishResult></a>"),
        "unknown",
        None,
        False,
        None,
    ),
    "no HTTP": (b"+OK\r\n", "unknown", None, False, None),
    "cut": (b"", "unknown", None, False, None),
    "slow": ("slow", "unknown", None, False, None),
}


def bad_day(server: StandIn, answer: twilio.Answer | str) -> None:
    if isinstance(answer, str):
        name, _, start = answer.partition(" ")
        answer = server.drip(start.encode()) if name == "drip" else getattr(server, name)
    server.bad_days.append(answer)


def check(service: infra.SmsService, server: StandIn, row: Row) -> None:
    bad_day(server, row[0])
    error = failure(service)
    assert (error.outcome, error.code, error.retryable, error.retry_after) == row[1:]
    # Whatever it means, it is not sent again.
    assert (len(server.requests), server.connections) == (
        1,
        1,
    )
    if not isinstance(row[0], bytes):
        eventually(server.hung_up.is_set if row[0] != "slow" else lambda: True)


@pytest.mark.parametrize("name", TWILIO)
def test_what_twilio_answers(stand_in: StandIn, name: str) -> None:
    lasting = isinstance(TWILIO[name][0], str)
    check(by_twilio(stand_in.url, timeout=LASTING if lasting else 5.0), stand_in, TWILIO[name])


@pytest.mark.parametrize("name", SNS)
def test_what_sns_answers(stand_in: StandIn, no_aws: None, name: str) -> None:
    lasting = isinstance(SNS[name][0], str)
    check(by_sns(stand_in.url, timeout=2 * LASTING if lasting else 5.0), stand_in, SNS[name])


CUT: dict[str, tuple[Callable[..., infra.SmsService], bytes, str, str | None, float | None]] = {
    "twilio, accepted": (
        by_twilio, response(201, f'{{"sid": "{SID}", "status": "queued"}}', "Date: x"), SID, None,
        None,
    ),
    "twilio, refused": (
        by_twilio, Twilio.error(429, 20429, "Too Many Requests", "Retry-After: 120"), "", "20429",
        120.0,
    ),
    "sns, accepted": (
        by_sns,
        response(
            200,
            "<PublishResponse><PublishResult><MessageId>id-12345</MessageId>"
            "</PublishResult></PublishResponse>"
        ),
        "id-12345", None, None,
    ),
    "sns, refused": (by_sns, aws_error(400, "Throttling"), "", "Throttling", None),
}  # fmt: skip


@pytest.mark.parametrize("name", CUT)
def test_an_answer_cut_after_every_byte(stand_in: StandIn, no_aws: None, name: str) -> None:
    """The connection ends in order. Nothing is told that the whole answer does not say."""
    provider, whole, sid, code, retry_after = CUT[name]
    told: list[tuple[str, str | None, float | None]] = []
    headers = whole.index(b"\r\n\r\n") + 4
    with provider(stand_in.url) as service:
        for end in range(len(whole) + 1):
            stand_in.bad_days.append(whole[:end])
            try:
                told.append((service.send_sms(PHONE, MESSAGE), None, None))
            except infra.SmsError as error:
                told.append((error.outcome, error.code, error.retry_after))
    assert len(stand_in.requests) == len(whole) + 1
    assert {*told[:headers]} == {("unknown", None, None)}
    if sid:
        assert {*told[headers:-1]} == {("unknown", None, None)}
        assert told[-1] == (sid, None, None)
    else:  # the status refuses; the code comes later
        known = {("rejected", None, retry_after), ("rejected", code, retry_after)}
        assert {*told[headers:-1]} <= known | {("unknown", None, None)}
        assert told[-1] == ("rejected", code, retry_after)


@pytest.mark.parametrize(
    "day", [response(400, HTML), response(502, HTML), response(200, HTML), b"", b"+OK\r\n"]
)
def test_a_provider_that_has_moved_is_found(
    monkeypatch: pytest.MonkeyPatch, provider: Callable[..., infra.SmsService], day: bytes
) -> None:
    """A connection that is kept ends with a failure, so that the name is looked up anew."""
    kind = AcceptingSns if provider is by_sns else Twilio
    with kind() as there, kind() as here:
        port = there.port

        def look_up(*_: Any, **__: Any) -> Any:
            return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        with provider("http://localhost", timeout=2.0) as service:
            service.send_sms(PHONE, MESSAGE)
            there.keep = True
            there.bad_days.append(day)
            with pytest.raises(infra.SmsError):
                service.send_sms(PHONE, MESSAGE)
            port = here.port
            service.send_sms(PHONE, MESSAGE)
            assert (len(there.requests), len(here.requests)) == (2, 1)


@pytest.mark.parametrize(
    "name", ["invalid number", "half, and cut", "cut", "slow headers", "slow body", "endless"]
)
def test_what_twilio_answers_over_tls(
    certificates: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))
    with StandIn(certificates) as server:
        check(
            by_twilio(server.url, timeout=LASTING if isinstance(TWILIO[name][0], str) else 5.0),
            server,
            TWILIO[name],
        )


def test_cut_before_the_request_was_read(
    stand_in: StandIn, provider: Callable[..., infra.SmsService]
) -> None:
    stand_in.deaf = True
    assert failure(provider(stand_in.url)).outcome == "unknown"
    assert (len(stand_in.requests), stand_in.connections) == (0, 1)


def test_what_errors_say(stand_in: StandIn, no_aws: None) -> None:
    stand_in.bad_days.extend(
        [Twilio.error(400, 21211, PHONE), b"", aws_error(400, "Throttling"), response(502, HTML)]
    )
    services = [
        by_twilio(stand_in.url),
        by_twilio(stand_in.url),
        by_sns(stand_in.url),
        by_twilio(stand_in.url),
    ]
    assert [str(failure(service)) for service in services] == [
        f"twilio refused the message (HTTP 400, code 21211: {LIST}/21211)",
        "twilio did not answer: the message may have been sent",
        "aws_sns refused the message (HTTP 400, Throttling)",
        "twilio gave no usable answer (HTTP 502): the message may have been sent",
    ]


# --- what Twilio's stand-in refuses by itself


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"api_secret": "wrong"}, "20003"),
        ({"account_sid": f"AC{'9' * 32}"}, "20404"),
        ({"sender": "+15005550007"}, "21606"),
        ({"sender": twilio.INVALID}, "21212"),
        ({"sender": f"MG{'9' * 32}"}, "21212"),
    ],
)
def test_settings_that_twilio_refuses(
    twilio_server: Twilio, changes: dict[str, str], code: str
) -> None:
    error = failure(by_twilio(twilio_server.url, **changes))
    assert (error.outcome, error.code, twilio_server.messages) == ("rejected", code, [])


def test_an_answer_at_the_last_moment_costs_no_other_connection_its_life(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No socket that is opened meanwhile may get the descriptor that the timeout shuts down.

    The reply arrives, and http.client closes its side, while the timeout shuts the socket down.
    """
    dup, late, returned = os.dup, threading.Event(), threading.Event()
    strangers: list[tuple[socket.socket, socket.socket]] = []

    def answer(send: twilio.Send) -> None:
        status, _, rest = response(
            201, f'{{"sid": "{SID}", "status": "queued"}}', "Connection: close"
        ).partition(b"\r\n")
        send(status + b"\r\n")
        while not late.wait(0.2):  # so often that no wait for a byte ends in vain, only the whole
            send(b"X-Drip: x\r\n")
        send(rest)

    def slow_dup(descriptor: int) -> int:
        late.set()
        returned.wait(1)  # in vain. A slow machine makes a mistake pass, no more
        strangers.extend(socket.socketpair() for _ in range(10))
        return dup(descriptor)

    monkeypatch.setattr(os, "dup", slow_dup)
    stand_in.bad_days.append(answer)
    with contextlib.suppress(infra.SmsError):  # it may be too late
        by_twilio(stand_in.url, timeout=LASTING).send_sms(PHONE, MESSAGE)
    returned.set()
    eventually(lambda: len(strangers) == 10)
    for one, other in strangers:
        with one, other:
            one.sendall(b"1")
            other.sendall(b"2")
            assert (one.recv(1), other.recv(1)) == (b"2", b"1")


# --- what is known not to have been sent


def test_a_closed_port(provider: Callable[..., infra.SmsService]) -> None:
    calls: list[infra.Call] = []
    error = failure(
        provider(f"http://127.0.0.1:{free_port()}", observer=calls.append), infra.ConnectionError
    )
    assert str(error).endswith(" could not be reached: Connection refused; nothing was sent")
    assert error.retryable is True
    assert [(call.service, call.operation, call.outcome, call.attempt) for call in calls] == [
        ("sms", "send_sms", "ConnectionError", 1),
        ("sms", "send_sms", "ConnectionError", 2),
    ]


def test_a_port_that_opens_in_time(twilio_server: Twilio) -> None:
    port = free_port()
    opened: list[Proxy] = []

    def observer(call: infra.Call) -> None:
        if not opened:
            opened.append(Proxy(twilio_server.port, port))

    service = by_twilio(f"http://127.0.0.1:{port}", observer=observer)
    assert service.send_sms(PHONE, MESSAGE) == twilio_server.messages[0]["sid"]
    assert len(twilio_server.requests) == 1
    opened[0].__exit__()


def test_cut_before_tls_stands(
    certificates: Path, monkeypatch: pytest.MonkeyPatch, provider: Callable[..., infra.SmsService]
) -> None:
    """Nothing was sent, so the next service is asked."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificates / "ca.pem"))
    with StandIn(certificates) as server:
        server.deaf = True
        error = failure(provider(server.url), infra.ConnectionError)
        assert "could not be reached" in str(error)
        assert error.retryable is True
        assert (len(server.requests), server.connections) == (0, 2)
        other = fakes.FakeSmsService()
        with infra.FailoverSmsService(provider(server.url), other) as both:
            both.send_sms(PHONE, MESSAGE)
        assert len(other.outbox) == 1


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("InvalidClientTokenId", "it knows no such key, see SMS_API_KEY or boto3's own"),
        (
            "SignatureDoesNotMatch",
            "the secret key is another one, see SMS_API_SECRET or boto3's own",
        ),
        ("ExpiredToken", "the session token has expired or is another one, see AWS_SESSION_TOKEN"),
    ],
)
def test_which_setting_sns_refuses(stand_in: StandIn, no_aws: None, code: str, hint: str) -> None:
    stand_in.bad_days.append(aws_error(403, code))
    error = failure(by_sns(stand_in.url))
    assert str(error) == f"aws_sns refused the message (HTTP 403, {code}: {hint})"


def test_a_late_answer_of_sns_is_waited_for(stand_in: StandIn, no_aws: None) -> None:
    """As long as the timeout says, less what the connection has taken."""

    def late(send: twilio.Send) -> None:
        stand_in.over.wait(4)
        send(AcceptingSns.answer(stand_in, "", None, {}))  # type: ignore[arg-type]

    stand_in.bad_days.append(late)
    with by_sns(stand_in.url, timeout=7.0) as service:
        assert service.send_sms(PHONE, MESSAGE) == "1"


@pytest.mark.parametrize(
    "day", [Twilio.error(401, 20003, "Authenticate"), response(502, HTML), b"", b"HTTP/1.1 2"]
)
def test_no_local_variable_holds_a_key(
    stand_in: StandIn, provider: Callable[..., infra.SmsService], day: bytes
) -> None:
    stand_in.bad_days.append(day)
    text = locals_of(failure(provider(stand_in.url)))
    login = base64.b64encode(f"{twilio.ACCOUNT}:{twilio.TOKEN}".encode()).decode()
    assert [each for each in (twilio.TOKEN, login, AWS_SECRET) if each in text] == []
    closed = locals_of(failure(provider(f"http://127.0.0.1:{free_port()}"), infra.ConnectionError))
    assert [each for each in (twilio.TOKEN, login, AWS_SECRET) if each in closed] == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_signal_during_the_wait_leaves_no_key(
    stand_in: StandIn,
    provider: Callable[..., infra.SmsService],
    on_alarm: Callable[[BaseException], None],
    error: type[BaseException],
) -> None:
    def wake(send: twilio.Send) -> None:
        os.kill(os.getpid(), signal.SIGALRM)
        stand_in.over.wait(30)

    on_alarm(error("time is up"))
    stand_in.bad_days.append(wake)
    with provider(stand_in.url, timeout=30.0) as service:
        with pytest.raises((error, infra.SmsError)) as caught:  # boto3 takes most for its own
            service.send_sms(PHONE, MESSAGE)
        stand_in.over.set()
    text = locals_of(caught.value)
    login = base64.b64encode(f"{twilio.ACCOUNT}:{twilio.TOKEN}".encode()).decode()
    assert [each for each in (twilio.TOKEN, login, AWS_SECRET) if each in text] == []


# --- proxies


def test_twilio_goes_through_a_proxy(
    certificates: Path, monkeypatch: pytest.MonkeyPatch, no_proxies: None
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))
    with Twilio(certificates) as server, HttpsProxy(server.port) as proxy:
        for address, login in (
            (f"127.0.0.1:{proxy.port}", b""),
            (f"http://us%40er:pass@127.0.0.1:{proxy.port}/", b"us@er:pass"),
        ):
            monkeypatch.setenv("HTTPS_PROXY", address)
            with by_twilio(server.url) as service:
                service.send_sms(PHONE, MESSAGE)
            head = proxy.asked.pop()
            place = f"localhost:{server.port}"
            assert head.startswith(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n".encode())
            assert head.count(b"Proxy-Authorization: Basic " + base64.b64encode(login)) == (
                1 if login else 0
            )
        monkeypatch.setenv("NO_PROXY", "example.com,localhost")
        with by_twilio(server.url) as service:
            service.send_sms(PHONE, MESSAGE)
        assert (proxy.asked, len(server.messages)) == ([], 3)


def test_no_proxy_may_name_a_port(
    certificates: Path,
    monkeypatch: pytest.MonkeyPatch,
    provider: Callable[..., infra.SmsService],
    no_proxies: None,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificates / "ca.pem"))
    with StandIn(certificates) as server, HttpsProxy(server.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        for place, asked in ((f"localhost:{server.port}", 0), ("localhost:1", 1)):
            monkeypatch.setenv("NO_PROXY", place)
            server.bad_days.append(response(400, "{}"))
            failure(provider(server.url))
            assert len(proxy.asked) == asked


@pytest.mark.parametrize(("answer", "words", "retryable"), PROXY_REFUSALS)
def test_a_proxy_that_refuses(
    monkeypatch: pytest.MonkeyPatch,
    provider: Callable[..., infra.SmsService],
    no_proxies: None,
    answer: bytes,
    words: str,
    retryable: bool,
) -> None:
    with HttpsProxy(0, answer) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:{AWS_SECRET}@127.0.0.1:{proxy.port}")
        error = failure(provider("https://localhost:1"), infra.ConnectionError)
        assert str(error).endswith(
            f"could not be reached: the proxy of HTTPS_PROXY {words}; nothing was sent"
        )
        assert error.retryable is retryable
        assert len(proxy.asked) == 1 + retryable
        assert AWS_SECRET not in locals_of(error)


@pytest.mark.parametrize("name", WRONG_PROXIES)
def test_a_proxy_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch,
    provider: Callable[..., infra.SmsService],
    no_proxies: None,
    name: str,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", name)
    error = failure(provider("https://localhost:1"), infra.ConfigurationError)
    assert re.match(r"HTTPS_PROXY should be http://.* But it", str(error))
    assert "socket" not in str(error)


def test_twilio_takes_no_proxy_over_tls(monkeypatch: pytest.MonkeyPatch, no_proxies: None) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "https://proxy:3128")
    error = failure(by_twilio("https://localhost:1"), infra.ConfigurationError)
    assert str(error).startswith("HTTPS_PROXY should be http://")


@pytest.mark.parametrize("addresses", [1, 2])
def test_a_server_that_accepts_and_says_nothing(
    monkeypatch: pytest.MonkeyPatch, addresses: int
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = (socket.AF_INET, socket.SOCK_STREAM, 0, "", mute.getsockname())
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [address] * addresses)
        error = failure(by_twilio("https://localhost", timeout=LASTING), infra.ConnectionError)
    assert (
        "could not be reached: it is silent to a TLS handshake, as a port without TLS may be; not"
        in str(error)
    )
    assert error.retryable is True


def test_the_next_address_is_tried(twilio_server: Twilio, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = (free_port(), twilio_server.port)
    found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port)) for port in ports]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    by_twilio("http://localhost").send_sms(PHONE, MESSAGE)
    assert len(twilio_server.messages) == 1


def test_certificates(
    certificates: Path, monkeypatch: pytest.MonkeyPatch, provider: Callable[..., infra.SmsService]
) -> None:
    accepted = (
        "<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>"
    )
    with Twilio(certificates) as server:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", server.port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        for authority, host in (
            ("other", "localhost"),
            ("ca", "elsewhere.test"),
            ("ca", "localhost"),
        ):
            monkeypatch.setenv("SSL_CERT_FILE", str(certificates / f"{authority}.pem"))
            monkeypatch.setenv("AWS_CA_BUNDLE", str(certificates / f"{authority}.pem"))
            url, server.connections = f"https://{host}:{server.port}", 0
            if (authority, host) == ("ca", "localhost"):
                server.bad_days.extend([response(200, accepted)] if provider is by_sns else [])
                with provider(url) as sending:
                    assert sending.send_sms(PHONE, MESSAGE)
                assert len(server.requests) == 1
            else:
                error = failure(provider(url), infra.ConnectionError)
                assert "its certificate was refused" in str(error)
                assert (error.retryable, server.requests, server.connections) == (False, [], 1)


@pytest.mark.parametrize(
    ("early", "kind", "words"),
    [
        (
            True,
            infra.ConnectionError,
            "it refused the handshake, and may want a client certificate",
        ),
        (False, infra.SmsError, "it wants a client certificate"),
    ],
)
def test_a_provider_that_wants_a_client_certificate(
    certificates: Path,
    monkeypatch: pytest.MonkeyPatch,
    provider: Callable[..., infra.SmsService],
    early: bool,
    kind: type[infra.InfrastructureError],
    words: str,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificates / "ca.pem"))
    with StandIn(certificates) as server:
        server.want_certificate(early=early)
        for _ in range(5):  # once a write has failed, what the server said is still to be read
            server.connections = 0
            error = failure(provider(server.url), kind)
            assert f": {words}, for which there is no setting" in str(error)
            assert (error.retryable, server.connections) == (False, 1)


# --- SNS


def test_what_sns_is_asked(stand_in: StandIn, no_aws: None) -> None:
    accepted = (
        "<PublishResponse><PublishResult><MessageId>id-1</MessageId>"
        "</PublishResult></PublishResponse>"
    )
    stand_in.bad_days.extend([response(200, accepted)] * 2)
    with by_sns(stand_in.url, sender="Shop-1") as service:
        assert service.send_verification_code(PHONE, CODE) == "id-1"
    with by_sns(stand_in.url, sender="+15005550006") as service:
        service.send_sms(PHONE, MESSAGE)

    def attribute(number: int, name: str, value: str) -> dict[str, str]:
        entry = f"MessageAttributes.entry.{number}."
        return {
            f"{entry}Name": name,
            f"{entry}Value.DataType": "String",
            f"{entry}Value.StringValue": value,
        }

    usual = {"Action": "Publish", "Version": "2010-03-31", "PhoneNumber": PHONE}
    assert stand_in.requests == [
        {**usual, "Message": f"Your verification code is {CODE}"}
        | attribute(1, "AWS.SNS.SMS.SenderID", "Shop-1")
        | attribute(2, "AWS.SNS.SMS.SMSType", "Transactional"),
        {**usual, "Message": MESSAGE}
        | attribute(1, "AWS.MM.SMS.OriginationNumber", "+15005550006"),
    ]


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SNS"])
def test_an_endpoint_of_boto3s_own_settings(
    no_aws: None, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    with AcceptingSns() as server:
        monkeypatch.setenv(variable, server.url)
        with by_sns(None) as service:
            service.send_sms(PHONE, MESSAGE)
        assert len(server.requests) == 1
        for url in ("http://sns.example.com", f"http://{AWS_SECRET}@localhost", AWS_SECRET):
            monkeypatch.setenv(variable, url)
            error = failure(by_sns(None), infra.ConfigurationError)
            assert str(error).startswith("AWS_ENDPOINT_URL (for one service AWS_ENDPOINT_URL_S3 ")
            assert AWS_SECRET not in str(error)
            with by_sns(server.url) as service:  # an endpoint of the call's own wins
                service.send_sms(PHONE, MESSAGE)
        assert len(server.requests) == 4


def test_moto_over_tls(certificates: Path, no_aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    server = MotoServer(_or_skip(lambda: SERVICES["moto"].find() or ""))
    server.tls = True
    server.start()
    try:
        account = MotoAccount(server.url, str(certificates / "ca.pem"))
        for authority, sent in (("other", []), ("ca", [MESSAGE])):
            monkeypatch.setenv("AWS_CA_BUNDLE", str(certificates / f"{authority}.pem"))
            with infra.SnsSmsService(account.config, endpoint=server.url) as service:
                if sent:
                    service.send_sms(PHONE, MESSAGE)
                else:
                    failure(service, infra.ConnectionError)
            assert account.texts() == sent
    finally:
        server.stop()


@pytest.fixture
def account(no_aws: None, service: Callable[[str], str]) -> MotoAccount:
    return MotoAccount(service("moto"))


def test_what_moto_refuses(account: MotoAccount) -> None:
    account.authorise(0)
    try:
        error = failure(infra.SnsSmsService(account.config, endpoint=account.url))
    finally:
        account.authorise(float("inf"))
    assert (error.outcome, error.code, error.retryable) == ("rejected", "AccessDenied", False)


def test_threads_share_one_client(account: MotoAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3.session

    build, built = boto3.session.Session.client, []

    def count(session: Any, service: str, *arguments: Any, **options: Any) -> Any:
        built.append(service)
        return build(session, service, *arguments, **options)

    monkeypatch.setattr(boto3.session.Session, "client", count)
    with infra.SnsSmsService(account.config, endpoint=account.url) as service:
        ids = in_threads(16, lambda number: service.send_sms(PHONE, f"text {number}"))
    assert len(set(ids)) == 16
    assert sorted(account.texts()) == sorted(f"text {number}" for number in range(16))
    assert built == ["sns"]


class AcceptingSns(StandIn):
    """Accepts each message, and keeps its connections open, which moto does not."""

    def answer(self, path: str, headers: Any, form: dict[str, str]) -> bytes:
        return response(
            200,
            "<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>",
        )


def test_closing_does_not_wait_for_credentials(slow_credentials: SlowCredentials) -> None:
    sms = by_sns("http://127.0.0.1:1", api_key=None, api_secret=None)
    slow_credentials.check_closing(lambda: sms.send_sms(PHONE, MESSAGE), sms.close)


def test_a_fork(no_aws: None) -> None:
    def child() -> None:
        unraised: list[Any] = []
        sys.unraisablehook = unraised.append
        warnings.simplefilter("error")
        service.send_sms(PHONE, "child")
        service.close()
        gc.collect()
        assert unraised == []

    with AcceptingSns() as server, by_sns(server.url) as service:
        service.send_sms(PHONE, "before")
        in_child(child)
        service.send_sms(PHONE, "after")
        assert [request["Message"] for request in server.requests] == ["before", "child", "after"]
        assert server.connections == 2  # the child has not touched its parent's


def test_closing(account: MotoAccount) -> None:
    service = infra.SnsSmsService(account.config, endpoint=account.url)
    service.send_sms(PHONE, MESSAGE)
    service.close()
    gc.collect()  # a socket left open would be a ResourceWarning

    def forget() -> None:
        infra.SnsSmsService(account.config, endpoint=account.url).send_sms(PHONE, MESSAGE)
        gc.collect()

    with pytest.warns(ResourceWarning, match="SnsSmsService was not closed"):
        forget()


# --- settings


def test_no_credentials(no_aws: None) -> None:
    error = failure(
        by_sns("http://127.0.0.1:1", api_key=None, api_secret=None), infra.ConfigurationError
    )
    assert (
        str(error)
        == "aws_sns found no credentials: set SMS_API_KEY and SMS_API_SECRET, or boto3's own"
    )


def test_credentials_that_come_later(account: MotoAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    with by_sns(account.url, api_key=None, api_secret=None) as service:
        with pytest.raises(infra.ConfigurationError):
            service.send_sms(PHONE, MESSAGE)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", account.config.api_key or "")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", account.config.api_secret or "")
        service.send_sms(PHONE, MESSAGE)
    assert account.texts() == [MESSAGE]


@pytest.mark.parametrize(
    ("variables", "changes"),
    [
        ({"AWS_PROFILE": "absent"}, {}),
        ({}, {"region": "no region"}),
        ({}, {"url": "https://under_score:1"}),
    ],
)
def test_settings_of_boto3(
    no_aws: None,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    changes: dict[str, str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    error = failure(by_sns(**{"url": "http://127.0.0.1:1", **changes}), infra.ConfigurationError)
    assert re.match(
        r"aws_sns cannot be used as it is set \((ProfileNotFound|InvalidRegionError|ValueError)\)",
        str(error),
    )


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: by_twilio("http://api.twilio.com"), "https"),
        (lambda: by_twilio("http://127.0.0.1.example.com"), "https"),
        (lambda: by_twilio("ftp://127.0.0.1"), "https://host"),
        (lambda: by_twilio("https://api.twilio.com/2010"), "https://host"),
        (lambda: by_twilio("https://user:word@api.twilio.com"), "https://host"),
        (lambda: by_twilio("api.twilio.com"), "https://host"),
        (lambda: by_twilio("https://api..twilio.com"), "But its host should be"),
        (lambda: by_twilio("https://h", api_key="AC12"), "SMS_API_KEY"),
        (lambda: by_twilio("https://h", account_sid="AC12"), "SMS_ACCOUNT_SID"),
        (lambda: by_twilio("https://h", api_key=twilio.API_KEY), "SMS_ACCOUNT_SID"),
        (lambda: by_twilio("https://h", api_key=None), "SMS_API_KEY"),
        (lambda: by_twilio("https://h", api_secret=None), "SMS_API_SECRET"),
        (lambda: by_twilio("https://h", sender=None), "SMS_FROM"),
        (lambda: infra.FailoverSmsService(), "takes the services"),
        (lambda: infra.FailoverSmsService("twilio"), "takes the services"),  # type: ignore[arg-type]
        (lambda: infra.create_sms_service(infra.SmsConfig()), "SMS_PROVIDER"),
        (lambda: infra.create_sms_service(infra.SmsConfig(provider="twilio")), "SMS_API_KEY"),
    ],
)
def test_wrong_settings(build: Callable[[], Any], text: str) -> None:
    with pytest.raises(infra.ConfigurationError, match=text):
        build()


@pytest.mark.parametrize("wrong", [None, 5, "twilio", {}, infra.Config(), infra.SmsConfig])
def test_what_is_no_configuration(wrong: Any) -> None:
    for build in (infra.TwilioSmsService, infra.SnsSmsService, infra.create_sms_service):
        with pytest.raises(infra.ConfigurationError, match=r"^config should be an SmsConfig"):
            build(wrong)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: by_sns(None, api_key=None), "SMS_API_KEY and SMS_API_SECRET"),
        (lambda: by_sns(None, api_secret=None), "SMS_API_KEY and SMS_API_SECRET"),
        (lambda: by_sns(None, sender="twelve chars"), "SMS_FROM"),
        (lambda: by_sns(None, sender="1234"), "SMS_FROM"),
        (lambda: by_sns("no url"), "endpoint"),
        (lambda: by_sns("https://" + "a" * 64), "But its host should be"),
        (lambda: by_sns("https://sns.example.com/path"), "endpoint"),
        (lambda: by_sns("https://user:word@sns.example.com"), "https://host"),
        (lambda: by_sns("http://sns.example.com"), "should be https: it gets"),
    ],
)
def test_wrong_settings_of_sns(no_aws: None, build: Callable[[], Any], text: str) -> None:
    with pytest.raises(infra.ConfigurationError, match=text):
        build()


def test_a_stream_that_is_no_text_file() -> None:
    wrong: Any
    for wrong in (1, True, "console", b"console", Path("console"), io.BytesIO(), io.StringIO):
        with pytest.raises(infra.ConfigurationError, match=r"^stream should be a text file"):
            infra.MockSmsService(wrong)
    infra.MockSmsService(io.StringIO()).send_sms(PHONE, MESSAGE)


def test_the_provider_decides(no_aws: None) -> None:
    login = {"api_key": twilio.ACCOUNT, "api_secret": twilio.TOKEN, "sender": twilio.NUMBER}
    kinds = {
        "mock": infra.MockSmsService,
        "twilio": infra.TwilioSmsService,
        "aws_sns": infra.SnsSmsService,
    }
    for provider, kind in kinds.items():
        assert type(infra.create_sms_service(infra.SmsConfig(provider=provider, **login))) is kind  # type: ignore[arg-type]


# --- failover


@pytest.mark.parametrize(
    ("error", "moves_on"),
    [
        (infra.SmsError("refused", outcome="rejected"), True),
        (infra.ConnectionError("not sent"), True),
        (infra.ConfigurationError("not set"), True),
        (infra.SmsError("who knows", outcome="unknown"), False),
        (infra.TimeoutError("who knows"), False),
        (infra.InfrastructureError("who knows"), False),
    ],
)
def test_failover(error: infra.InfrastructureError, moves_on: bool) -> None:
    first, second = fakes.FakeSmsService(), fakes.FakeSmsService()
    first.fail_next("*", error, times=2)
    service = infra.FailoverSmsService(first, second)
    if moves_on:
        ids = [service.send_sms(PHONE, MESSAGE), service.send_verification_code(PHONE, CODE)]
        assert [sent.id for sent in second.outbox] == ids
        assert [sent.code for sent in second.outbox] == [None, CODE]
    else:
        for send in (service.send_sms, service.send_verification_code):
            with pytest.raises(type(error)) as caught:
                send(PHONE, CODE)
            assert str(caught.value) == "who knows"
        assert second.outbox == []


def test_failover_when_all_fail_are_closed_or_none_is_left() -> None:
    parts = [fakes.FakeSmsService() for _ in range(3)]
    service = infra.FailoverSmsService(*parts)
    parts[0].fail_next("*", infra.SmsError("first"))
    parts[1].close()
    parts[2].fail_next("*", infra.ConnectionError("last"))
    with pytest.raises(infra.ConnectionError, match="last"):
        service.send_sms(PHONE, MESSAGE)
    service.send_sms(PHONE, MESSAGE)
    parts[0].close()
    service.send_sms(PHONE, MESSAGE)
    assert [len(part.outbox) for part in parts] == [1, 0, 1]
    parts[2].close()
    assert service.is_available() is False
    assert str(failure(service, infra.ConnectionError)) == "no SMS service is available"


def test_failover_closes_all() -> None:
    parts = [fakes.FakeSmsService(), fakes.FakeSmsService()]
    infra.FailoverSmsService(*parts).close()
    assert [part.is_available() for part in parts] == [False, False]


def test_failover_closes_all_even_if_one_fails() -> None:
    class Stuck(fakes.FakeSmsService):
        def close(self) -> None:
            raise OSError("it does not close")

    parts = [fakes.FakeSmsService(), Stuck(), fakes.FakeSmsService()]
    service = infra.FailoverSmsService(*parts)
    with pytest.raises(OSError, match="it does not close"):
        service.close()
    assert [part.is_available() for part in parts] == [False, True, False]
    assert service.is_available() is False


@pytest.mark.parametrize(
    ("answer", "requests"), [(Twilio.error(400, 21610, "unsubscribed"), 1), (b"", 0)]
)
def test_failover_between_servers(
    stand_in: StandIn, twilio_server: Twilio, answer: bytes, requests: int
) -> None:
    stand_in.bad_days.append(answer)
    down = by_twilio(f"http://127.0.0.1:{free_port()}")
    with infra.FailoverSmsService(
        down, by_twilio(stand_in.url), by_twilio(twilio_server.url)
    ) as service:
        if requests:
            assert service.send_sms(PHONE, MESSAGE) == twilio_server.messages[0]["sid"]
        else:
            assert failure(service).outcome == "unknown"
    assert (len(stand_in.requests), len(twilio_server.requests)) == (1, requests)


# --- codes, and secrets


@pytest.mark.parametrize(
    ("answer", "stays"), [(Twilio.error(400, 21211, "no"), False), (response(500, ""), True)]
)
def test_the_code_of_a_failed_message(twilio_server: Twilio, answer: bytes, stays: bool) -> None:
    cache = infra.VerificationCache(fakes.FakeRedisClient(), key="k" * 32, resend_after=0)
    twilio_server.bad_days.append(answer)
    with by_twilio(twilio_server.url) as service:
        with pytest.raises(infra.SmsError):
            cache.send_code(service, PHONE)
        assert cache.code_exists(PHONE) is stays
        assert cache.verify_code(PHONE, twilio_server.requests[0]["Body"][-6:]) is stays
        assert cache.send_code(service, PHONE) == twilio_server.messages[0]["sid"]
    assert cache.verify_code(PHONE, twilio_server.messages[0]["body"][-6:]) is True


def test_no_secret_leaves_through_any_door(
    stand_in: StandIn, caplog: pytest.LogCaptureFixture, provider: Callable[..., infra.SmsService]
) -> None:
    texts: list[str] = []
    login = base64.b64encode(f"{twilio.ACCOUNT}:{twilio.TOKEN}".encode()).decode()
    secrets = [
        PHONE[1:],
        PHONE[-7:],
        CODE,
        "tell-nobody",
        twilio.TOKEN,
        twilio.ACCOUNT,
        login,
        AWS_KEY,
        AWS_SECRET,
    ]

    def collect(call: Callable[[], Any]) -> None:
        try:
            texts.append(repr(call()))
        except Exception as error:
            texts.extend(traceback.format_exception(error))
            chain: list[BaseException | None] = [error]
            for each in chain:
                if each is not None:
                    texts.append(f"{each!r} {each} {vars(each)}")
                    chain += [each.__cause__, each.__context__]

    rows = {**TWILIO, **SNS} if provider is by_twilio else SNS
    # boto3's own loggers show whole requests at DEBUG, to whoever asks for that; ours never do
    with caplog.at_level(logging.DEBUG, logger=None if provider is by_twilio else "infra"):
        for answer, *_ in rows.values():
            sending = provider(stand_in.url, timeout=0.2 if isinstance(answer, str) else 5.0)
            bad_day(stand_in, answer)
            twin = infra.FailoverSmsService(
                sending, infra.MockSmsService(io.StringIO(), simulate_failure=True)
            )
            with sending:
                texts += [repr(sending), str(sending), repr(sending.config), repr(twin)]  # type: ignore[attr-defined]
                collect(lambda: twin.send_sms(PHONE, MESSAGE))
        for url in (f"http://127.0.0.1:{free_port()}", "https://no-such-host.invalid"):
            with provider(url, timeout=0.2) as sending:
                collect(lambda: sending.send_verification_code(PHONE, CODE))
                collect(lambda: sending.send_sms(PHONE + "x", MESSAGE))
                collect(lambda: sending.send_verification_code(PHONE, CODE + "\0"))
    texts += [f"{record.getMessage()} {vars(record)}" for record in caplog.records]
    assert len(texts) > 50
    everything = "\n".join(texts)
    assert [secret for secret in secrets if secret in everything] == []
