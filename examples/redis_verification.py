"""Try verification codes and their limits on a fake Redis and a fake clock, without waiting."""

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout too

import fakes
import infra

PHONE = "+14155550100"


def sign_in(verification: infra.VerificationCache, phone: str, code: str) -> str:
    """Sign in as an application does, over RedisClient or FakeRedisClient."""
    if verification.verify_code(phone, code):
        return "signed in"
    left = verification.get_remaining_attempts(phone)
    return f"wrong code, {left} attempts left" if left else "ask for a new code"


def main() -> None:
    clock = fakes.FakeClock()
    redis = fakes.FakeRedisClient(clock=clock)
    verification = infra.VerificationCache(
        redis,
        key="thirty-two bytes or more of secret",
        code_ttl=300,
        resend_after=30,
        max_codes=3,
        window=3600,
    )
    sms = fakes.FakeSmsService()

    verification.send_code(sms, PHONE)
    try:
        verification.send_code(sms, PHONE)
    except infra.RateLimitedError as error:
        print(f"too early: try again in {math.ceil(error.retry_after)} s")
    print(sign_in(verification, PHONE, "no idea"))
    clock.advance(300)
    print(sign_in(verification, PHONE, sms.outbox[-1].code or ""))

    verification.send_code(sms, PHONE)
    redis.fail_next("compare_and_delete", infra.TimeoutError("no answer"), after_apply=True)
    try:
        sign_in(verification, PHONE, sms.outbox[-1].code or "")
    except infra.TimeoutError:
        used_up = not verification.code_exists(PHONE)
        print(f"Redis did not answer in time. The code is used up nevertheless: {used_up}")

    clock.advance(30)
    verification.send_code(sms, PHONE)
    print(sign_in(verification, PHONE, sms.outbox[-1].code or ""))


if __name__ == "__main__":
    main()
