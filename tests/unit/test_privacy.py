"""Phones, hashes, ids, codes, the clock, the console provider."""

from __future__ import annotations

import hashlib
import hmac
import io
import logging
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

import fakes
import infra
from tests.contract.backends import in_background
from tests.contract.test_verification_cache import BAD_PHONES


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("+14155550100", "+14155550100"),
        ("+1 (415) 555-0100", "+14155550100"),
        (" +49.151.1234.5678 ", "+4915112345678"),
        ("+2902345", "+2902345"),
        ("(+44) 20 7946 0958", "+442079460958"),
        ("+39 (06) 1234 5678", "+390612345678"),  # Italy's numbers keep their 0
        ("+123456789012345", "+123456789012345"),
    ],
)
def test_normalize_phone(given: str, expected: str) -> None:
    assert infra.normalize_phone(given) == expected


@pytest.mark.parametrize(
    "phone",
    [
        *BAD_PHONES,
        "+1234567890123456",
        "+123456",
        "+1/4155550100",
        "+14155550100;ext=5",
        "0014155550100",
        "+1415555010\n0",
        "+44 (0)20 7946 0958",
        "+44(0)2079460958",
        "+44 (0-20) 7946 0958",
        "+44 (0 20) 7946 0958",
        "+44 (00) 20 7946 0958",
        "+49 ( 0 ) 30 901820",
    ],
)
def test_what_is_not_e164(phone: Any) -> None:
    for call in (infra.normalize_phone, infra.mask_phone, infra.hash_phone):
        with pytest.raises(infra.ValidationError, match=r"E\.164") as caught:
            call(phone)
        if phone and phone != 5:
            assert repr(phone) not in str(caught.value).replace("+14155550100", "")


def test_mask_phone() -> None:
    assert infra.mask_phone("+1 415 555-0199") == "***0199"


def test_hash_phone() -> None:
    key = "k" * 32
    number = b"+14155550100"
    assert infra.hash_phone("+1 415 555-0100") == hashlib.sha256(number).hexdigest()
    assert (
        infra.hash_phone("+14155550100", key)
        == hmac.new(key.encode(), number, "sha256").hexdigest()
    )
    assert infra.hash_phone("+14155550100", key.encode()) == infra.hash_phone("+14155550100", key)
    with pytest.raises(infra.ConfigurationError):
        infra.hash_phone("+14155550100", "k" * 31)


def test_new_id() -> None:
    moment = datetime(2026, 1, 1, 12, 30, 0, 123456, tzinfo=timezone.utc)
    clock = fakes.FakeClock(moment)
    first = infra.new_id(clock)
    assert (first.version, first.variant) == (7, "specified in RFC 4122")
    assert first.int >> 80 == 1767270600123
    clock.advance(0.0005)
    assert first < infra.new_id(clock)
    assert len({infra.new_id() for _ in range(1000)}) == 1000
    ids = [infra.new_id(clock) for _ in range(1000)]  # of one moment
    assert sorted({*ids}) == ids
    assert {(id.version, id.variant, id.int >> 64) for id in ids} == {
        (7, first.variant, ids[0].int >> 64)
    }
    assert abs((infra.new_id().int >> 80) / 1000 - datetime.now(timezone.utc).timestamp()) < 60


def test_generate_code() -> None:
    codes = {infra.generate_code() for _ in range(500)}
    assert {len(code) for code in codes} == {6}
    assert all(code.isdecimal() and code.isascii() for code in codes)
    assert len(codes) > 490
    many = [infra.generate_code() for _ in range(3000)]
    for at in range(6):  # every place holds every digit; a right one misses in 1 of 10**136 runs
        assert {code[at] for code in many} == {*"0123456789"}
    assert {len(infra.generate_code(digits)) for digits in (8,)} == {8}
    assert len(infra.generate_code(10)) == 10
    for digits in (5, 11, 6.0, True, None):
        with pytest.raises(infra.ValidationError):
            infra.generate_code(digits)  # type: ignore[arg-type]


def test_clocks() -> None:
    clock = fakes.FakeClock()
    assert clock.now() == datetime(2026, 1, 1, tzinfo=timezone.utc)
    clock.advance(1.5)
    clock.sleep(0.5)
    assert (clock.monotonic(), clock.now().second) == (2.0, 2)
    for seconds in (-1, float("nan"), float("inf")):
        with pytest.raises(infra.ValidationError):
            clock.advance(seconds)
    with pytest.raises(infra.ValidationError):
        fakes.FakeClock(datetime(2026, 1, 1))
    clock = fakes.FakeClock()
    clock.advance(0.000_123)
    clock.advance(1e-6)
    assert clock.now() == datetime(2026, 1, 1, 0, 0, 0, 124, timezone.utc)
    assert clock.monotonic() == 0.000_124
    elsewhere = datetime(2026, 1, 1, 6, tzinfo=timezone(timedelta(hours=5)))
    assert str(fakes.FakeClock(elsewhere).now()) == "2026-01-01 01:00:00+00:00"
    system = infra.SystemClock()
    assert system.now().tzinfo is timezone.utc
    assert system.monotonic() <= system.monotonic()
    before, now, after = datetime.now(timezone.utc), system.now(), datetime.now(timezone.utc)
    assert before <= now <= after
    started = time.monotonic()
    system.sleep(0.05)
    assert time.monotonic() - started >= 0.049


def test_the_console_provider(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "infra"):
        sms = infra.create_sms_service(infra.SmsConfig(provider="mock"))
        assert isinstance(sms, infra.MockSmsService)
        sms.send_verification_code("+14155550100", "123456")
        sms.send_sms("+14155550100", "two\nlines")
    assert capsys.readouterr().out == (
        "+----------------------------------+\n"
        "| SMS to ***0100                   |\n"
        "| Your verification code is 123456 |\n"
        "+----------------------------------+\n"
        "+----------------+\n"
        "| SMS to ***0100 |\n"
        "| two            |\n"
        "| lines          |\n"
        "+----------------+\n"
    )
    assert sms.message_count == 2
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    sms.simulate_failure = True
    with pytest.raises(infra.SmsError):
        sms.send_sms("+14155550100", "x")
    assert sms.message_count == 2
    raw = io.BytesIO()
    console = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    infra.MockSmsService(console).send_sms("+14155550100", "é")
    assert rb"| \xe9" in raw.getvalue()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (infra.SmsConfig(), "SMS_PROVIDER.*mock, twilio, aws_sns"),
        (infra.SmsConfig(provider="twilio"), "SmsConfig.api_key .SMS_API_KEY."),
        (
            infra.SmsConfig(provider="aws_sns", api_key="id"),
            "both or none of SMS_API_KEY and SMS_API_SECRET",
        ),
    ],
)
def test_without_a_usable_provider(config: infra.SmsConfig, words: str) -> None:
    with pytest.raises(infra.ConfigurationError, match=words):
        infra.create_sms_service(config)


def test_what_the_console_provider_counts() -> None:
    sms = infra.MockSmsService(io.StringIO())
    ids = {sms.send_sms("+14155550100", "Hello") for _ in range(3)}
    sms.simulate_failure = True
    for _ in range(2):
        with pytest.raises(infra.SmsError):
            sms.send_verification_code("+14155550100", "123456")
    assert (sms.message_count, len(ids)) == (3, 3)


class Interrupted(io.StringIO):
    """While a message is written, another thread sends one."""

    def __init__(self) -> None:
        super().__init__()
        self.sms = infra.MockSmsService(self)
        self.sent: list[Any] = []

    def write(self, text: str) -> int:
        if not self.sent:
            self.sent.append(None)
            self.sent.append(in_background(lambda: self.sms.send_sms("+14155550100", "second"))())
        return super().write(text)


def test_the_console_provider_writes_a_message_at_once_and_holds_no_lock() -> None:
    console = Interrupted()
    first = console.sms.send_sms("+14155550100", "first")
    assert len({*console.sent, first}) == 3
    lines = console.getvalue().splitlines()
    assert [len(lines), lines[2], lines[6]] == [8, "| second         |", "| first          |"]
    assert console.sms.message_count == 2


def test_failover_is_available_while_one_is() -> None:
    first, second = fakes.FakeSmsService(), fakes.FakeSmsService()
    service = infra.FailoverSmsService(first, second)
    assert service.is_available() is True
    first.close()
    assert service.is_available() is True
    service.send_sms("+1 (415) 555-0100", "Hello")
    assert [sent.phone for sent in second.outbox] == ["+14155550100"]
    second.close()
    assert service.is_available() is False
