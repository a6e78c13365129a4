"""Send SMS to the console and to a test's outbox, and handle failures."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout too

import fakes
import infra


def remind(sms: infra.SmsService, phone: str) -> str:
    """Send a reminder as an application does, and return what is known about it."""
    try:
        sms.send_sms(phone, "Your appointment is tomorrow at 9:00.")
    except infra.SmsError as error:
        if error.outcome == "rejected":
            return "not sent"
        return "may have been sent: do not send it again automatically"
    except infra.ValidationError:
        return "not a phone number"
    return "sent"


def main() -> None:
    print(remind(infra.create_sms_service(infra.SmsConfig(provider="mock")), "+1 (415) 555-0100"))

    sms = fakes.FakeSmsService()
    print(remind(sms, "+14155550100"), [sent.message for sent in sms.outbox])
    print(remind(sms, "555-0100"))
    sms.fail_next("send_sms", infra.SmsError("refused", outcome="rejected"))
    print(remind(sms, "+14155550100"))
    sms.fail_next("send_sms", infra.SmsError("no answer", outcome="unknown"), after_apply=True)
    print(remind(sms, "+14155550100"), len(sms.outbox))

    try:
        infra.create_sms_service(infra.SmsConfig())
    except infra.ConfigurationError as error:
        print(error)


if __name__ == "__main__":
    main()
