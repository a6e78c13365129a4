"""The contract of VerificationCache: one class, over every client."""

from __future__ import annotations

import hmac
import logging
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

import fakes
import infra
from tests.contract import refusals
from tests.contract.backends import (
    Between,
    KeyValueBackend,
    fake_key_value_backend,
    in_threads,
    raw_redis,
    real_key_value_backend,
)
from tests.contract.base import Contract
from tests.contract.texts import Text, any_text, plain

PHONE = "+14155550100"
OTHER_PHONE = "+4915112345678"
BAD_PHONES: list[Any] = [
    "",
    "14155550100",
    "+0155550100",
    "+141555501001234567",
    "+1415555010012345",
    "+141555",
    "+1415555010٠",
    "phone",
    None,
    5,
    b"+14155550100",
]
BAD_CODES: list[Any] = [
    "",
    " ",
    " 123456",
    "123456\n",
    "12\0",
    "\ud800",
    None,
    123456,
    b"123456",
    "1" * 65,
]


@dataclass
class VerificationBackend:
    """``cache(**options)`` makes caches that share codes; ``advance`` lets them grow older."""

    redis: KeyValueBackend
    make: Callable[..., infra.VerificationCache]
    key: str = field(default_factory=lambda: secrets.token_hex(32))

    def cache(self, **options: Any) -> infra.VerificationCache:
        return self.make(self.redis.client, self.key, **options)

    def advance(self, seconds: float) -> None:
        self.redis.age(seconds, *self.globs())

    def globs(self) -> list[str]:
        return [
            f"verification:{infra.hash_phone(phone, self.key)}*" for phone in (PHONE, OTHER_PHONE)
        ]

    def stored(self) -> dict[str, str]:
        """Everything that these caches keep."""
        client = self.redis.client
        return client.get_many(
            sorted({name for glob in self.globs() for name in client.scan(glob)})
        )


def refuses_foreign(call: Callable[[], object]) -> None:
    """It says that another program's value is in the way."""
    with pytest.raises(infra.CacheError, match="begin with verification:") as caught:
        call()
    assert (caught.value.service, caught.value.retryable) == ("verification", False)


class VerificationCacheContract(Contract):
    port = infra.VerificationCache

    def test_without_a_code(self, backend: VerificationBackend) -> None:
        cache = backend.cache()
        assert cache.verify_code(PHONE, "123456") is False
        assert cache.get_remaining_attempts(PHONE) == 0
        assert cache.code_exists(PHONE) is False
        assert cache.get_code_ttl(PHONE) is None
        cache.clear(PHONE)
        assert backend.stored() == {}

    def test_a_code_works_once(self, backend: VerificationBackend) -> None:
        cache = backend.cache()
        cache.store_code(PHONE, "123456")
        assert cache.code_exists(PHONE) is True
        assert cache.get_remaining_attempts(PHONE) == 3
        assert 280 < (cache.get_code_ttl(PHONE) or 0) <= 300
        assert cache.verify_code(PHONE, "123456") is True
        assert cache.verify_code(PHONE, "123456") is False
        assert cache.code_exists(PHONE) is False
        assert cache.get_remaining_attempts(PHONE) == 0

    def test_wrong_guesses_count_down(self, backend: VerificationBackend) -> None:
        cache = backend.cache()
        cache.store_code(PHONE, "123456")
        remaining = []
        for guess in ("000000", "1234567", "12345"):
            assert cache.verify_code(PHONE, guess) is False
            remaining.append(cache.get_remaining_attempts(PHONE))
        assert remaining == [2, 1, 0]
        assert cache.verify_code(PHONE, "123456") is False
        assert cache.get_remaining_attempts(PHONE) == 0
        assert cache.code_exists(PHONE) is True

    def test_the_last_attempt_may_be_right(self, backend: VerificationBackend) -> None:
        cache = backend.cache(max_attempts=2)
        cache.store_code(PHONE, "123456")
        assert cache.verify_code(PHONE, "000000") is False
        assert cache.verify_code(PHONE, "123456") is True

    def test_a_code_belongs_to_its_phone(self, backend: VerificationBackend) -> None:
        cache = backend.cache()
        cache.store_code(PHONE, "123456")
        assert cache.verify_code(OTHER_PHONE, "123456") is False
        assert cache.get_remaining_attempts(PHONE) == 3
        assert cache.verify_code("+1 (415) 555-0100", "123456") is True

    def test_another_process_with_the_key_shares_codes(self, backend: VerificationBackend) -> None:
        backend.cache().store_code(PHONE, "123456")
        elsewhere = backend.make(backend.redis.connect(), backend.key)
        assert (
            backend.make(backend.redis.client, "another key".ljust(32)).verify_code(PHONE, "123456")
            is False
        )
        assert elsewhere.verify_code(PHONE, "123456") is True

    def test_a_new_code_replaces_the_old_one(self, backend: VerificationBackend) -> None:
        cache = backend.cache()
        cache.store_code(PHONE, "111111")
        cache.verify_code(PHONE, "000000")
        cache.store_code(PHONE, "222222")
        assert cache.get_remaining_attempts(PHONE) == 3
        assert cache.verify_code(PHONE, "111111") is False
        assert cache.verify_code(PHONE, "222222") is True

    def test_a_code_expires(self, backend: VerificationBackend) -> None:
        cache = backend.cache(code_ttl=60)
        cache.store_code(PHONE, "123456")
        backend.advance(40)
        assert 0 < (cache.get_code_ttl(PHONE) or 0) <= 20
        backend.advance(20)
        assert cache.code_exists(PHONE) is False
        assert cache.verify_code(PHONE, "123456") is False
        assert cache.get_code_ttl(PHONE) is None

    def test_wrong_guesses_do_not_prolong(self, backend: VerificationBackend) -> None:
        cache = backend.cache(code_ttl=60)
        cache.store_code(PHONE, "123456")
        backend.advance(40)
        cache.verify_code(PHONE, "000000")
        assert 0 < (cache.get_code_ttl(PHONE) or 0) <= 20
        backend.advance(20)
        assert cache.verify_code(PHONE, "123456") is False

    @pytest.mark.parametrize("guesser_ttl", [600, 60])
    def test_attempts_count_as_long_as_the_code_lives(
        self, backend: VerificationBackend, guesser_ttl: float
    ) -> None:
        """Also when who guesses has a shorter code_ttl than who stored the code."""
        cache, guesser = backend.cache(code_ttl=600), backend.cache(code_ttl=guesser_ttl)
        cache.store_code(PHONE, "123456")
        assert guesser.verify_code(PHONE, "000000") is False
        assert guesser.verify_code(PHONE, "000000") is False
        backend.advance(590)
        assert guesser.get_remaining_attempts(PHONE) == 1
        assert guesser.verify_code(PHONE, "000000") is False
        assert guesser.verify_code(PHONE, "123456") is False

    def test_nothing_is_left_behind(self, backend: VerificationBackend) -> None:
        cache = backend.cache(code_ttl=60, resend_after=10, max_codes=5, window=100)
        cache.send_code(fakes.FakeSmsService(), PHONE)
        cache.verify_code(PHONE, "wrong")
        assert len(backend.stored()) == 5  # the code, its attempts, the two limits, all guesses
        backend.advance(100)
        assert backend.stored() == {}

    def test_guesses_are_limited_over_all_codes(self, backend: VerificationBackend) -> None:
        cache = backend.cache(max_guesses=5, window=100)
        for _ in range(2):
            cache.store_code(PHONE, "123456")
            assert cache.verify_code(PHONE, "000000") is False
            assert cache.verify_code(PHONE, "000000") is False
        cache.store_code(PHONE, "123456")
        assert cache.get_remaining_attempts(PHONE) == 1
        assert cache.verify_code(PHONE, "000000") is False
        assert cache.get_remaining_attempts(PHONE) == 0
        with pytest.raises(infra.RateLimitedError, match="too many guesses") as caught:
            cache.verify_code(PHONE, "123456")
        assert 90 < caught.value.retry_after <= 100
        cache.store_code(OTHER_PHONE, "123456")
        assert cache.verify_code(OTHER_PHONE, "123456") is True
        backend.advance(100)
        cache.store_code(PHONE, "123456")
        assert cache.get_remaining_attempts(PHONE) == 3
        assert cache.verify_code(PHONE, "123456") is True

    def test_what_is_not_compared_is_no_guess(self, backend: VerificationBackend) -> None:
        """Else anybody could lock a phone out without a code, and 50 guesses at one code."""
        cache = backend.cache(max_guesses=4)
        for _ in range(5):
            assert cache.verify_code(PHONE, "000000") is False
        cache.store_code(PHONE, "123456")
        for _ in range(5):
            assert cache.verify_code(PHONE, "000000") is False
        cache.store_code(PHONE, "123456")
        assert cache.verify_code(PHONE, "123456") is True

    def test_right_guesses_do_not_count(self, backend: VerificationBackend) -> None:
        cache = backend.cache(max_guesses=2)
        for _ in range(4):
            cache.store_code(PHONE, "123456")
            assert cache.verify_code(PHONE, "123456") is True
        cache.store_code(PHONE, "123456")
        assert [cache.verify_code(PHONE, "000000") for _ in range(2)] == [False, False]
        with pytest.raises(infra.RateLimitedError):
            cache.verify_code(PHONE, "123456")

    def test_a_right_guess_counts_though_redis_fails_then(
        self, backend: VerificationBackend, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The code is used up: an error would say that the guess may have been wrong."""
        cache = backend.cache()
        cache.store_code(PHONE, "123456")

        class Failing(Between):
            def compare_and_delete(self, key: str, value: str) -> bool:
                done: bool = backend.redis.client.compare_and_delete(key, value)
                self._times = 1
                return done

        def fail() -> None:
            raise infra.ConnectionError("gone")

        client: Any = Failing(backend.redis.client, "increment", fail, times=0)
        with caplog.at_level(logging.WARNING, "infra"):
            assert backend.make(client, backend.key).verify_code(PHONE, "123456") is True
        assert "a right guess counts as a wrong one: ConnectionError" in caplog.text

    def test_who_is_refused_by_the_window_waits_for_nothing_else(
        self, backend: VerificationBackend
    ) -> None:
        cache = backend.cache(resend_after=300, max_codes=1, window=400)
        sms = fakes.FakeSmsService()
        cache.send_code(sms, PHONE)
        with pytest.raises(infra.RateLimitedError) as caught:  # by both: the longer wait counts
            cache.send_code(sms, PHONE)
        assert 390 < caught.value.retry_after <= 400.001
        backend.advance(350)
        with pytest.raises(infra.RateLimitedError) as caught:
            cache.send_code(sms, PHONE)
        assert 40 < caught.value.retry_after <= 50.001
        backend.advance(50)
        cache.send_code(sms, PHONE)
        assert len(sms.outbox) == 2

    def test_a_guess_beyond_the_limit_costs_no_attempt(self, backend: VerificationBackend) -> None:
        cache = backend.cache(max_guesses=2, window=60, code_ttl=600)
        cache.store_code(PHONE, "111111")
        assert cache.verify_code(PHONE, "0") is False
        assert cache.verify_code(PHONE, "1") is False
        cache.store_code(PHONE, "222222")
        for _ in range(4):
            with pytest.raises(infra.RateLimitedError) as caught:
                cache.verify_code(PHONE, "222222")
        backend.advance(60)
        assert caught.value.retry_after <= 60.001
        assert cache.verify_code(PHONE, "222222") is True

    def test_the_limits_unless_told_otherwise(self, backend: VerificationBackend) -> None:
        cache, sms = backend.cache(), fakes.FakeSmsService()
        for number in range(5):
            assert len(sms.outbox) == number
            cache.send_code(sms, PHONE)
            with pytest.raises(infra.RateLimitedError) as caught:
                cache.send_code(sms, PHONE)
            least, most = (20, 30) if number < 4 else (3400, 3480)  # then the window is full, too
            assert least < caught.value.retry_after <= most + 0.001
            assert cache.verify_code(PHONE, "wrong") is False
            assert cache.verify_code(PHONE, "wrong") is False
            backend.advance(30)
        with pytest.raises(infra.RateLimitedError, match="too many codes") as caught:
            cache.send_code(sms, PHONE)
        assert 3400 < caught.value.retry_after <= 3450.001
        with pytest.raises(infra.RateLimitedError, match="too many guesses"):
            cache.verify_code(PHONE, "wrong")
        assert len(sms.outbox) == 5

    def test_limits_that_are_turned_off(self, backend: VerificationBackend) -> None:
        cache = backend.cache(resend_after=0, max_codes=0, max_guesses=0, max_attempts=20)
        sms = fakes.FakeSmsService()
        for _ in range(7):
            cache.send_code(sms, PHONE)
        assert [cache.verify_code(PHONE, "wrong") for _ in range(12)] == [False] * 12
        assert cache.get_remaining_attempts(PHONE) == 8
        assert len(backend.stored()) == 2  # the code and its attempts

    # --- what other programs store

    @pytest.mark.parametrize(
        "value", ["", "42", "secret", "1-2", "x-0000000000000000:" + "0" * 64, "é:" + "0" * 64]
    )
    def test_a_code_that_another_program_stored(
        self, backend: VerificationBackend, value: str
    ) -> None:
        cache = backend.cache()
        cache.store_code(PHONE, "123456")
        [name] = backend.stored()
        backend.redis.client.set(name, value)
        calls: list[Callable[[], object]] = [
            lambda: cache.verify_code(PHONE, "123456"),
            lambda: cache.get_remaining_attempts(PHONE),
        ]
        for call in calls:
            with pytest.raises(infra.CacheError, match="begin with verification:") as caught:
                call()
            assert (caught.value.service, caught.value.retryable) == ("verification", False)
            assert not value or value not in str(caught.value).replace("verification:", "")
        cache.store_code(PHONE, "123456")
        assert cache.verify_code(PHONE, "123456") is True

    @pytest.mark.parametrize("value", ["secret", "", "007", "1.5", "9" * 19])
    def test_counts_that_another_program_stored(
        self, backend: VerificationBackend, value: str
    ) -> None:
        cache = backend.cache()
        for part in ("attempts", "guesses"):
            cache.store_code(PHONE, "123456")
            cache.verify_code(PHONE, "wrong")
            [name] = [name for name in backend.stored() if part in name]
            backend.redis.client.set(name, value)
            refuses_foreign(lambda: cache.get_remaining_attempts(PHONE))
            refuses_foreign(lambda: cache.verify_code(PHONE, "123456"))
            backend.redis.client.delete(name)

    @pytest.mark.parametrize("value", ["secret", "", "007", "1.5", "9" * 19])
    def test_limits_that_another_program_stored(
        self, backend: VerificationBackend, value: str
    ) -> None:
        cache, sms = backend.cache(), fakes.FakeSmsService()
        cache.send_code(sms, PHONE)
        for part in ("resend", "window"):
            [name] = [name for name in backend.stored() if part in name]
            backend.redis.client.set(name, value)
            refuses_foreign(lambda: cache.send_code(sms, PHONE))
            backend.redis.client.delete(name)
        assert len(sms.outbox) == 1

    @pytest.mark.parametrize(
        ("options", "wait"), [({"resend_after": 30}, 30), ({"max_codes": 1, "window": 50}, 50)]
    )
    def test_a_limit_without_expiry_ends_all_the_same(
        self, backend: VerificationBackend, options: dict[str, Any], wait: float
    ) -> None:
        limits = {"resend_after": 0, "max_codes": 0, **options}
        cache, sms = backend.cache(**limits), fakes.FakeSmsService()
        cache.send_code(sms, PHONE)
        for name in backend.stored():
            backend.redis.client.set(name, "5")
        for _ in range(2):
            with pytest.raises(infra.RateLimitedError) as caught:
                cache.send_code(sms, PHONE)
            assert wait - 5 < caught.value.retry_after <= wait + 0.001
        backend.advance(wait)
        assert cache.send_code(sms, PHONE) == sms.outbox[1].id

    def test_clear(self, backend: VerificationBackend) -> None:
        cache = backend.cache()
        cache.store_code(PHONE, "123456")
        cache.clear(PHONE)
        assert cache.code_exists(PHONE) is False
        assert cache.verify_code(PHONE, "123456") is False

    @pytest.mark.parametrize("end", ["clear", "verify", "store"])
    @pytest.mark.parametrize(
        ("options", "wait"),
        [
            ({"resend_after": 30}, 30),
            ({"resend_after": 0, "max_codes": 1, "window": 50}, 50),
        ],
    )
    def test_the_end_of_a_code_leaves_the_limits_on_sending(
        self, backend: VerificationBackend, end: str, options: dict[str, Any], wait: float
    ) -> None:
        cache, sms = backend.cache(**options), fakes.FakeSmsService()
        cache.send_code(sms, PHONE)
        if end == "clear":
            cache.clear(PHONE)
        elif end == "verify":
            assert cache.verify_code(PHONE, sms.outbox[0].code or "") is True
        else:
            cache.store_code(PHONE, "123456")
        with pytest.raises(infra.RateLimitedError) as caught:
            cache.send_code(sms, PHONE)
        assert wait - 5 < caught.value.retry_after <= wait + 0.001
        assert len(sms.outbox) == 1
        backend.advance(wait)
        cache.send_code(sms, PHONE)
        assert cache.verify_code(PHONE, sms.outbox[1].code or "") is True

    def test_codes_may_be_any_text(self, backend: VerificationBackend) -> None:
        cache = backend.cache()
        for code in ("1", "0" * 64, "Größe-7", "a b"):
            cache.store_code(PHONE, code)
            assert cache.verify_code(PHONE, code) is True

    def test_codes_are_compared_character_by_character(self, backend: VerificationBackend) -> None:
        cache = backend.cache(max_attempts=10)
        cache.store_code(PHONE, "Größe-7")
        for guess in ("größe-7", "GRÖSSE-7", "Gro\u0308ße-7", "Größe-7x", "Größe-", "Größe‐7"):
            assert cache.verify_code(PHONE, guess) is False
        assert cache.verify_code(PHONE, "Größe-7") is True

    # --- concurrency

    @pytest.mark.parametrize(("guess", "successes"), [("000000", 0), ("123456", 1)])
    def test_fifty_threads_guess(
        self,
        backend: VerificationBackend,
        monkeypatch: pytest.MonkeyPatch,
        guess: str,
        successes: int,
    ) -> None:
        cache = backend.cache()
        cache.store_code(PHONE, "123456")
        comparisons = []
        compare = hmac.compare_digest

        def counting(a: str, b: str) -> bool:
            comparisons.append(a)
            return compare(a, b)

        monkeypatch.setattr(hmac, "compare_digest", counting)
        results = in_threads(50, lambda _: cache.verify_code(PHONE, guess))
        assert (results.count(True), results.count(False)) == (successes, 50 - successes)
        assert len(comparisons) == 3 if not successes else 1 <= len(comparisons) <= 3
        assert cache.code_exists(PHONE) is (not successes)

    @pytest.mark.parametrize("method", ["increment", "compare_and_delete"])
    def test_a_code_stored_during_a_guess_survives_it(
        self, backend: VerificationBackend, method: str
    ) -> None:
        cache = backend.cache()
        cache.store_code(PHONE, "111111")
        client: Any = Between(
            backend.redis.client, method, lambda: cache.store_code(PHONE, "222222")
        )
        assert backend.make(client, backend.key).verify_code(PHONE, "111111") is False
        assert cache.get_remaining_attempts(PHONE) == 3
        assert cache.verify_code(PHONE, "222222") is True

    def test_the_same_code_stored_during_a_guess_survives_it(
        self, backend: VerificationBackend
    ) -> None:
        cache = backend.cache()
        cache.store_code(PHONE, "111111")
        client: Any = Between(
            backend.redis.client, "compare_and_delete", lambda: cache.store_code(PHONE, "111111")
        )
        assert backend.make(client, backend.key).verify_code(PHONE, "111111") is False
        assert cache.verify_code(PHONE, "111111") is True

    def test_a_useless_argument_changes_nothing(self, backend: VerificationBackend) -> None:
        cache = backend.cache(resend_after=30, max_codes=5)
        cache.store_code(PHONE, "123456")
        for method, *arguments in (
            (cache.store_code, PHONE, "111111"),
            (cache.verify_code, PHONE, "123456"),
            (cache.send_code, fakes.FakeSmsService(), PHONE),
            (cache.get_remaining_attempts, PHONE), (cache.code_exists, PHONE),
            (cache.get_code_ttl, PHONE), (cache.clear, PHONE),
        ):  # fmt: skip
            refusals.check(method, arguments, backend.stored)

    @any_text
    def test_text_of_any_subclass(self, backend: VerificationBackend, text: Text) -> None:
        cache, sms = backend.make(backend.redis.client, text(backend.key)), fakes.FakeSmsService()
        phone, code = text("+1 415 555-0100"), text("é 12")
        cache.store_code(phone, code)
        assert backend.cache().verify_code(PHONE, "é 12") is True
        backend.cache().store_code(PHONE, "é 12")
        assert [cache.code_exists(phone), cache.get_remaining_attempts(phone)] == [True, 3]
        assert (cache.get_code_ttl(phone) or 0) > 100
        assert cache.verify_code(phone, code) is True
        cache.send_code(sms, phone)
        assert plain(sms.outbox[0].phone) == PHONE
        cache.clear(phone)
        assert backend.cache().code_exists(PHONE) is False

    # --- sending

    @pytest.mark.parametrize(
        "sender",
        [None, "sms", 5, infra.MockSmsService, object()],
        ids=["None", "text", "number", "class", "object"],
    )
    def test_a_service_that_sends_nothing(self, backend: VerificationBackend, sender: Any) -> None:
        """It is refused before a code takes another one's place, and before a limit counts."""
        cache = backend.cache(resend_after=30, max_codes=1)
        cache.store_code(PHONE, "123456")
        before = backend.stored()
        with pytest.raises(infra.ValidationError, match="sms"):
            cache.send_code(sender, PHONE)
        assert backend.stored() == before
        assert cache.send_code(fakes.FakeSmsService(), PHONE) != ""

    def test_a_closed_service_costs_nothing(self, backend: VerificationBackend) -> None:
        """It is asked first: the code that was sent before stays, and no limit is spent."""
        cache, sms = backend.cache(resend_after=60, max_codes=1), fakes.FakeSmsService()
        cache.store_code(PHONE, "123456")
        closed = fakes.FakeSmsService()
        closed.close()
        for service in (closed, infra.FailoverSmsService(closed)):
            with pytest.raises(infra.ConnectionError, match="SMS service is closed") as caught:
                cache.send_code(service, PHONE)
            assert (caught.value.service, caught.value.retryable) == ("sms", False)
        assert cache.verify_code(PHONE, "123456") is True
        cache.send_code(sms, PHONE)
        assert len(sms.outbox) == 1

    def test_send_code(self, backend: VerificationBackend) -> None:
        cache, sms = backend.cache(), fakes.FakeSmsService()
        assert cache.send_code(sms, "+1 415 555 0100") == sms.outbox[0].id
        assert sms.outbox[0].phone == PHONE
        code = sms.outbox[0].code or ""
        assert re.fullmatch(r"\d{6}", code)
        assert cache.verify_code(PHONE, code) is True

    def test_resend_after(self, backend: VerificationBackend) -> None:
        cache, sms = backend.cache(resend_after=30), fakes.FakeSmsService()
        cache.send_code(sms, PHONE)
        with pytest.raises(infra.RateLimitedError) as caught:
            cache.send_code(sms, PHONE)
        assert 10 < caught.value.retry_after <= 30.001
        cache.send_code(sms, OTHER_PHONE)
        assert len(sms.outbox) == 2
        assert cache.verify_code(PHONE, sms.outbox[0].code or "") is True
        backend.advance(30)
        cache.send_code(sms, PHONE)
        assert len(sms.outbox) == 3

    def test_a_caller_that_waits_as_long_as_it_is_told_is_served(
        self, backend: VerificationBackend
    ) -> None:
        refused, words = 0, set[str]()
        while refused < 20:  # the limit's end falls anywhere in a millisecond
            cache, sms = backend.cache(resend_after=0.05, max_codes=0), fakes.FakeSmsService()
            try:
                cache.send_code(sms, PHONE)
                cache.send_code(sms, PHONE)  # a busy machine may take too long for a refusal
            except infra.RateLimitedError as error:
                words.add(str(error).partition(": ")[2])
                refused += 1
                backend.redis.wait(error.retry_after)
                cache.send_code(sms, PHONE)
            backend.redis.wait(0.1)
        assert words == {"try again in 1 s"}  # rounded up: never "0 s"

    def test_a_limit_without_an_end_gets_one(self, backend: VerificationBackend) -> None:
        cache, sms = backend.cache(resend_after=30), fakes.FakeSmsService()
        cache.send_code(sms, PHONE)
        for name in [name for name in backend.stored() if name.endswith(":resend")]:
            backend.redis.client.set(name, "1")
        with pytest.raises(infra.RateLimitedError, match=r"try again in 3[01] s") as caught:
            cache.send_code(sms, PHONE)
        assert 30 <= caught.value.retry_after <= 30.001
        backend.advance(30)
        cache.send_code(sms, PHONE)

    def test_who_asks_too_early_does_not_wait_longer(self, backend: VerificationBackend) -> None:
        cache, sms = backend.cache(resend_after=30), fakes.FakeSmsService()
        cache.send_code(sms, PHONE)
        backend.advance(20)
        for _ in range(2):
            with pytest.raises(infra.RateLimitedError) as caught:
                cache.send_code(sms, PHONE)
            assert 5 < caught.value.retry_after <= 10.001
        backend.advance(10)
        cache.send_code(sms, PHONE)
        assert len(sms.outbox) == 2

    def test_max_codes(self, backend: VerificationBackend) -> None:
        cache, sms = backend.cache(resend_after=0, max_codes=2, window=100), fakes.FakeSmsService()
        cache.send_code(sms, PHONE)
        backend.advance(50)
        cache.send_code(sms, PHONE)
        with pytest.raises(infra.RateLimitedError) as caught:
            cache.send_code(sms, PHONE)
        assert 30 < caught.value.retry_after <= 50.001
        assert len(sms.outbox) == 2
        backend.advance(50)
        cache.send_code(sms, PHONE)

    def test_a_send_that_one_limit_refuses_does_not_count_for_the_other(
        self, backend: VerificationBackend
    ) -> None:
        cache, sms = backend.cache(resend_after=30, max_codes=2, window=200), fakes.FakeSmsService()
        cache.send_code(sms, PHONE)
        for _ in range(3):  # too early: no code of the window is used up
            with pytest.raises(infra.RateLimitedError):
                cache.send_code(sms, PHONE)
        backend.advance(30)
        cache.send_code(sms, PHONE)
        backend.advance(30)
        # The window is full: that, and not the time between two codes, is what to wait for.
        for _ in range(2):
            with pytest.raises(infra.RateLimitedError) as caught:
                cache.send_code(sms, PHONE)
            assert 100 < caught.value.retry_after <= 140.001
        assert len(sms.outbox) == 2
        backend.advance(140)
        cache.send_code(sms, PHONE)

    @pytest.mark.parametrize(
        ("error", "kept"),
        [
            (infra.SmsError("", outcome="rejected"), False),
            (infra.SmsError("", outcome="unknown"), True),
            (infra.TimeoutError(""), True),
            (infra.ConnectionError(""), False),
            (infra.ConfigurationError(""), False),
            (infra.ValidationError(""), False),
            (TimeoutError(""), True),  # the builtin one, as a socket raises it
            (RuntimeError(""), True),  # nobody knows
        ],
    )
    def test_a_failed_send(
        self, backend: VerificationBackend, error: Exception, kept: bool
    ) -> None:
        cache, sms = backend.cache(), fakes.FakeSmsService()
        cache.store_code(PHONE, "111111")
        sms.fail_next("send_verification_code", error, after_apply=True)
        with pytest.raises(type(error)):
            cache.send_code(sms, PHONE)
        assert cache.code_exists(PHONE) is kept
        assert cache.verify_code(PHONE, sms.outbox[0].code or "") is kept

    def test_a_failed_send_leaves_a_newer_code(self, backend: VerificationBackend) -> None:
        cache, sms = backend.cache(), fakes.FakeSmsService()
        sms.fail_next("*", infra.SmsError("refused"))
        service: Any = Between(
            sms, "send_verification_code", lambda: cache.store_code(PHONE, "222222")
        )
        with pytest.raises(infra.SmsError):
            cache.send_code(service, PHONE)
        assert cache.verify_code(PHONE, "222222") is True

    # --- privacy and bad input

    def test_neither_phone_nor_code_is_stored(self, backend: VerificationBackend) -> None:
        cache = backend.cache(resend_after=5, max_codes=5)
        sms = fakes.FakeSmsService()
        cache.send_code(sms, PHONE)
        code = sms.outbox[0].code or ""
        cache.verify_code(PHONE, "wrong")
        dump = repr(backend.stored())
        assert len(backend.stored()) == 5
        assert "4155550100" not in dump
        assert code not in re.sub("[0-9a-f]{16,}", "", dump)
        # Not the plain hash either, which anybody could look up.
        assert infra.hash_phone(PHONE) not in dump

    def test_without_a_key_it_warns_once_and_works(
        self, backend: VerificationBackend, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING, "infra"):
            cache = backend.make(backend.redis.client, None, code_ttl=1)
            cache.store_code(PHONE, "123456")
            assert cache.verify_code(PHONE, "123456") is True
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "PHONE_HASH_KEY" in caplog.text

    def test_bad_phones(self, backend: VerificationBackend) -> None:
        cache = backend.cache()
        for phone in BAD_PHONES:
            for call in (
                lambda p: cache.store_code(p, "123456"),
                lambda p: cache.verify_code(p, "123456"),
                lambda p: cache.send_code(fakes.FakeSmsService(), p),
                cache.get_remaining_attempts,
                cache.code_exists,
                cache.get_code_ttl,
                cache.clear,
            ):
                with pytest.raises(infra.ValidationError):
                    call(phone)  # type: ignore[no-untyped-call, operator, unused-ignore]

    def test_bad_codes(self, backend: VerificationBackend) -> None:
        cache = backend.cache()
        for code in BAD_CODES:
            with pytest.raises(infra.ValidationError):
                cache.store_code(PHONE, code)
        assert backend.stored() == {}
        cache.store_code(PHONE, "123456")
        for code in BAD_CODES:
            with pytest.raises(infra.ValidationError):
                cache.verify_code(PHONE, code)
        assert cache.get_remaining_attempts(PHONE) == 3

    @pytest.mark.parametrize(
        "options",
        [
            {"code_ttl": 0},
            {"code_ttl": -1},
            {"code_ttl": "300"},
            {"max_attempts": 0},
            {"max_attempts": 1.5},
            {"resend_after": -1},
            {"resend_after": 1e11},
            {"max_codes": -1},
            {"max_guesses": -1},
            {"max_guesses": 1.5},
            {"window": 0},
        ],
    )
    def test_bad_options(self, backend: VerificationBackend, options: dict[str, Any]) -> None:
        with pytest.raises(infra.ValidationError):
            backend.cache(**options)

    @pytest.mark.parametrize("key", ["short", b"x" * 31, 5, ""])
    def test_bad_hash_keys(self, backend: VerificationBackend, key: Any) -> None:
        with pytest.raises(infra.ConfigurationError, match="32 bytes"):
            backend.make(backend.redis.client, key)


class TestFake(VerificationCacheContract):
    @pytest.fixture
    def backend(self) -> VerificationBackend:
        return VerificationBackend(fake_key_value_backend(), fakes.FakeVerificationCache)


class OnRealRedis(VerificationCacheContract):
    server: str

    @pytest.fixture
    def backend(self, service: Callable[[str], str]) -> Iterator[VerificationBackend]:
        clients: list[infra.RedisClient] = []
        yield VerificationBackend(
            real_key_value_backend(service(self.server), clients), infra.VerificationCache
        )
        for client in clients:
            client.close()

    @pytest.mark.parametrize("kind", ["list", "bytes"])
    def test_other_types_that_another_program_stored(
        self, backend: VerificationBackend, service: Callable[[str], str], kind: str
    ) -> None:
        cache, sms = backend.cache(), fakes.FakeSmsService()
        cache.send_code(sms, PHONE)
        cache.verify_code(PHONE, "wrong")
        calls: dict[str, list[Callable[[], object]]] = {
            name: [lambda: cache.send_code(sms, PHONE)]
            if "resend" in name or "window" in name
            else [
                lambda: cache.verify_code(PHONE, "wrong"),
                lambda: cache.get_remaining_attempts(PHONE),
            ]
            for name in backend.stored()
        }
        assert len(calls) == 5  # the code, its attempts, guesses, resend and window
        with raw_redis(service(self.server)) as raw:
            for name, refused in calls.items():
                stored = raw.get(name)
                raw.delete(name)
                _ = raw.rpush(name, "secret") if kind == "list" else raw.set(name, b"\xff\xfe")
                for call in refused:
                    refuses_foreign(call)
                raw.delete(name)
                if "resend" not in name and "window" not in name:
                    raw.set(name, stored)


class TestRedis(OnRealRedis):
    server = "redis"


class TestRedis62(OnRealRedis):
    server = "redis-6.2"


class TestCluster(OnRealRedis):
    server = "redis-cluster"
