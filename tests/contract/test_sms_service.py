"""The contract of SmsService."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

import infra
from tests import twilio
from tests.contract import refusals
from tests.contract.backends import (
    SmsBackend,
    on_failover,
    on_fake_sms,
    on_mock_sms,
    on_sns,
    on_twilio,
)
from tests.contract.base import Contract
from tests.contract.test_verification_cache import BAD_CODES, BAD_PHONES, PHONE
from tests.contract.texts import Text, any_text, plain

BAD_MESSAGES: list[Any] = ["", " \n", "a\0b", "\ud800", None, 5, b"text", "x" * 1601]


class SmsServiceContract(Contract):
    port = infra.SmsService
    name: ClassVar[str]

    def test_send_sms(self, backend: SmsBackend) -> None:
        ids = [
            backend.service.send_sms(PHONE, "Hello"),
            backend.service.send_sms("+1 (415) 555-0100", "é日本\nsecond line"),
        ]
        assert len(set(ids)) == 2
        assert all(isinstance(each, str) and each for each in ids)
        assert backend.texts() == ["Hello", "é日本\nsecond line"]

    def test_send_verification_code(self, backend: SmsBackend) -> None:
        assert backend.service.send_verification_code(PHONE, "123456") != ""
        assert backend.texts() == ["Your verification code is 123456"]

    def test_a_useless_argument_sends_nothing(self, backend: SmsBackend) -> None:
        refusals.check(backend.service.send_sms, [PHONE, "m"], backend.texts)
        refusals.check(backend.service.send_verification_code, [PHONE, "123456"], backend.texts)

    @any_text
    def test_text_of_any_subclass(self, backend: SmsBackend, text: Text) -> None:
        backend.service.send_sms(text(PHONE), text("é message"))
        backend.service.send_verification_code(text(PHONE), text("é12"))
        assert plain(backend.texts()) == ["é message", "Your verification code is é12"]

    def test_the_longest_message(self, backend: SmsBackend) -> None:
        backend.service.send_sms(PHONE, "x" * 1600)
        assert backend.texts() == ["x" * 1600]

    def test_a_refused_message(self, backend: SmsBackend) -> None:
        backend.refuse()
        with pytest.raises(infra.SmsError) as caught:
            backend.service.send_sms(PHONE, "Hello")
        assert caught.value.outcome == "rejected"
        assert backend.texts() == []

    def test_bad_input(self, backend: SmsBackend) -> None:
        for phone in BAD_PHONES:
            with pytest.raises(infra.ValidationError):
                backend.service.send_sms(phone, "Hello")
            with pytest.raises(infra.ValidationError):
                backend.service.send_verification_code(phone, "123456")
        for message in BAD_MESSAGES:
            with pytest.raises(infra.ValidationError):
                backend.service.send_sms(PHONE, message)
        for code in BAD_CODES:
            with pytest.raises(infra.ValidationError):
                backend.service.send_verification_code(PHONE, code)
        assert backend.texts() == []

    def test_what_it_says_of_itself(self, backend: SmsBackend) -> None:
        assert backend.service.provider_name == self.name
        assert backend.service.is_available() is True

    def test_a_closed_service(self, backend: SmsBackend) -> None:
        with backend.service as service:
            service.send_sms(PHONE, "Hello")
        service.close()
        assert service.is_available() is False
        for send in (service.send_sms, service.send_verification_code):
            with pytest.raises(infra.ConnectionError) as caught:
                send(PHONE, "123456")
            assert (caught.value.service, caught.value.retryable) == ("sms", False)
        assert backend.texts() == ["Hello"]


class TestFake(SmsServiceContract):
    name = "fake"
    backend = on_fake_sms()


class TestMock(SmsServiceContract):
    name = "mock"
    backend = on_mock_sms()


class TestTwilio(SmsServiceContract):
    name = "twilio"
    backend = on_twilio()


class TestTwilioWithApiKeyAndMessagingService(SmsServiceContract):
    name = "twilio"
    backend = on_twilio(
        api_key=twilio.API_KEY,
        api_secret=twilio.API_SECRET,
        account_sid=twilio.ACCOUNT,
        sender=twilio.MESSAGING_SERVICE,
    )


class TestSns(SmsServiceContract):
    name = "aws_sns"
    backend = on_sns()


class TestFailover(SmsServiceContract):
    name = "failover"
    backend = on_failover()
