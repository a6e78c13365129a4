"""Send a phone number its code, sign it in, and keep it signed in.

This runs on the fakes; with --real it uses the servers that the environment names (REDIS_URL, and
DATABASE_URL after `python -m infra migrate`). Both print the same to standard output. The messages
that the phone receives go to standard error.
"""

import argparse
import io
import re
import secrets
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout too

import fakes
import infra

PHONE = "+14155550100"


class Phone(io.StringIO):
    """Show on standard error what the console provider writes, and remember it."""

    def write(self, text: str) -> int:
        sys.stderr.write(text)
        return super().write(text)

    def code(self) -> str:
        return str(re.findall(r"code is (\d{6})", self.getvalue())[-1])


def main(services: infra.Infrastructure) -> None:
    phone = Phone()
    sms = infra.MockSmsService(phone)
    # A new key, so that earlier runs do not count. No wait between two codes.
    key = secrets.token_hex(32)
    verification = infra.VerificationCache(services.redis, key, resend_after=0)

    print("1. A phone asks for a code.")
    verification.send_code(sms, PHONE)
    code = phone.code()
    print(f"   It arrived: {len(code)} digits. Valid: {verification.code_exists(PHONE)}")

    print("2. Wrong guesses count down.")
    wrong = f"{(int(code) + 1) % 1_000_000:06}"
    for _ in range(2):
        accepted = verification.verify_code(PHONE, wrong)
        print(f"   Accepted: {accepted}, left: {verification.get_remaining_attempts(PHONE)}")

    print("3. The right code works, once.")
    print(f"   Accepted: {verification.verify_code(PHONE, code)}")
    print(f"   Accepted again: {verification.verify_code(PHONE, code)}")

    print("4. After three wrong guesses even the right code is refused.")
    verification.send_code(sms, PHONE)
    code = phone.code()
    wrong = f"{(int(code) + 1) % 1_000_000:06}"
    guesses = [verification.verify_code(PHONE, guess) for guess in (wrong, wrong, wrong, code)]
    print(f"   Accepted: {guesses}")

    print("5. A code expires.")
    brief = infra.VerificationCache(
        services.redis, key="a key for this example only, 32+", code_ttl=0.2
    )
    brief.store_code(PHONE, "123456")
    print(f"   Valid: {brief.code_exists(PHONE)}")
    services.clock.sleep(0.3)
    exists, accepted = brief.code_exists(PHONE), brief.verify_code(PHONE, "123456")
    print(f"   A moment later: {exists}, accepted: {accepted}")

    print("6. The provider fails: no usable code is left.")
    sms.simulate_failure = True
    try:
        verification.send_code(sms, PHONE)
    except infra.SmsError as error:
        exists = verification.code_exists(PHONE)
        print(f"   {type(error).__name__}: outcome {error.outcome}. Valid: {exists}")

    print(f"   Messages sent: {sms.message_count}")

    print("7. The first sign-in creates the user.")
    users, tokens = services.phone_users, services.tokens
    user = users.find_by_phone(PHONE) or users.create_for_phone(PHONE)
    print(
        f"   Country code: {user.country_code}. Found again: {users.find_by_phone(PHONE) == user}"
    )
    try:
        users.create_for_phone("+1 (415) 555-0100")
    except infra.ConflictError as error:
        print(f"   A second one for this phone: {type(error).__name__}, {error.constraint}")

    print("8. A refresh token is exchanged for the next.")
    first = tokens.issue(user.id, ttl=3600, device=infra.Device(device_name="Ada's phone"))
    rotation = tokens.rotate(first.token, ttl=3600)
    assert rotation.issued is not None
    second = rotation.issued
    old, new = tokens.is_valid(first.token), tokens.is_valid(second.token)
    print(f"   {rotation.outcome}. Valid: the old {old}, the new {new}")

    print("9. Someone uses a copy of the old token: the whole family is revoked.")
    rotation = tokens.rotate(first.token, ttl=3600)
    print(f"   {rotation.outcome}. Valid: the new {tokens.is_valid(second.token)}")
    print(f"   The owner asks: {tokens.rotate(second.token, ttl=3600).outcome}")

    print("10. A token expires, by the clock of the application.")
    short = tokens.issue(user.id, ttl=0.2)
    print(f"   Valid: {tokens.is_valid(short.token)}")
    services.clock.sleep(0.3)
    valid = tokens.is_valid(short.token)
    print(f"   A moment later: {valid}, {tokens.rotate(short.token, ttl=3600).outcome}")

    deleted = users.delete(user.id)
    gone = tokens.find(first.token) is None
    print(f"The user is deleted: {deleted}. So are the user's tokens: {gone}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--real", action="store_true", help="use the servers that the environment names"
    )
    if parser.parse_args().real:
        with infra.Infrastructure.from_env() as real:
            main(real)
    else:
        main(fakes.FakeInfrastructure())
