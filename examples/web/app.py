"""Serve a sign-in by SMS code over HTTP, with the standard library alone.

    curl -d '{"phone": "+14155550100"}' http://127.0.0.1:8000/code
    curl -d '{"phone": "+14155550100", "code": "123456"}' http://127.0.0.1:8000/sign-in
    curl -X POST -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8000/refresh
    curl -X POST -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8000/sign-out

This runs on the fakes and prints the codes. With --real it uses the servers and the SMS provider
that the environment names (REDIS_URL, SMS_PROVIDER, and MYSQL_URL after `python -m infra migrate`).
"""

import argparse
import json
import logging
import math
import signal
import socketserver
import sys
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout too

import fakes
import infra

MONTH = 30 * 86400  # seconds that a token is valid
LONGEST = 1024  # bytes of a body
logger = logging.getLogger("app")


class Refused(Exception):
    """The answer to a request that failed."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] = {}) -> None:
        super().__init__(text)
        self.status, self.headers = status, headers


def refused(error: infra.InfrastructureError) -> Refused:
    """Return the answer for an error of the library."""
    if isinstance(error, infra.ValidationError):
        return Refused(400, str(error))  # it names the argument and does not quote the value
    if isinstance(error, infra.RateLimitedError):
        seconds = str(math.ceil(error.retry_after))
        return Refused(429, "too many requests", {"Retry-After": seconds})
    if isinstance(error, infra.SmsError):
        return Refused(502, "the message may not arrive")
    if error.retryable or isinstance(error, (infra.ConnectionError, infra.TimeoutError)):
        return Refused(503, "try again later")
    return Refused(500, "internal error")


class SignIn:
    """The WSGI application (PEP 3333). Threads share it, as they share `services`."""

    def __init__(self, services: infra.Infrastructure, sms: infra.SmsService) -> None:
        self.services, self.sms = services, sms
        self.paths = {
            "/code": self.code,
            "/sign-in": self.sign_in,
            "/refresh": self.refresh,
            "/sign-out": self.sign_out,
        }

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
        try:
            status, answer = 200, self.answer(environ)
        except Refused as error:
            status, answer = error.status, {"error": str(error)}
            headers.update(error.headers)
        start_response(f"{status} {HTTPStatus(status).phrase}", [*headers.items()])
        return [json.dumps(answer).encode()]

    def answer(self, environ: dict[str, Any]) -> dict[str, Any]:
        path = self.paths.get(environ["PATH_INFO"])
        if path is None:
            raise Refused(404, "no such path")
        if environ["REQUEST_METHOD"] != "POST":
            raise Refused(405, "the method should be POST", {"Allow": "POST"})
        try:
            return path(environ)
        except infra.InfrastructureError as error:
            answer = refused(error)
            if answer.status >= 500:  # the library's messages hold no phone, code or token
                logger.error("%s: %s: %s", path.__name__, type(error).__name__, error)
            raise answer from None

    def code(self, environ: dict[str, Any]) -> dict[str, Any]:
        self.services.verification.send_code(self.sms, body(environ).get("phone", ""))
        return {}

    def sign_in(self, environ: dict[str, Any]) -> dict[str, Any]:
        given, verification = body(environ), self.services.verification
        phone = given.get("phone", "")
        if not verification.verify_code(phone, given.get("code", "")):
            left = verification.get_remaining_attempts(phone)
            raise Refused(403, f"wrong code, {left} attempts left" if left else "ask for a code")
        users = self.services.phone_users
        user = users.find_by_phone(phone) or users.create_for_phone(phone)
        if user.is_blocked:
            raise Refused(403, "this phone is blocked")
        return {"token": self.services.tokens.issue(user.id, ttl=MONTH).token}

    def refresh(self, environ: dict[str, Any]) -> dict[str, Any]:
        # The grace is for two tabs of a browser that refresh at once.
        rotation = self.services.tokens.rotate(token(environ), ttl=MONTH, grace=10)
        if rotation.issued is None:
            raise Refused(401, "sign in again", {"WWW-Authenticate": "Bearer"})
        return {"token": rotation.issued.token}

    def sign_out(self, environ: dict[str, Any]) -> dict[str, Any]:
        found = self.services.tokens.find(token(environ))
        if found is not None:
            self.services.tokens.revoke_family(found.family, "signed out")
        return {}


def body(environ: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON object that the client has sent."""
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if length > LONGEST:
            raise Refused(413, f"the body should have at most {LONGEST} bytes")
        found = json.loads(environ["wsgi.input"].read(max(0, length)))
    except (OSError, RecursionError, ValueError):  # OSError: the client has been silent
        found = None
    if not isinstance(found, dict):
        raise Refused(400, "the body should be a JSON object")
    return found


def token(environ: dict[str, Any]) -> str:
    """Return the token of the header Authorization (RFC 6750)."""
    scheme, _, found = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() != "bearer":
        raise Refused(401, "sign in first", {"WWW-Authenticate": "Bearer"})
    return str(found.strip())


class Server(socketserver.ThreadingMixIn, WSGIServer):
    """A thread for each request. Leaving the `with` block waits for them."""


class Handler(WSGIRequestHandler):
    timeout = 10  # seconds that a client may be silent: it holds a thread


def main() -> None:
    services: infra.Infrastructure
    sms: infra.SmsService
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--real", action="store_true", help="use the environment's servers")
    parser.add_argument("--port", type=int, default=8000, help="0: any free port")
    arguments = parser.parse_args()
    # One bundle for the process, made before the first request: it holds the pools.
    if arguments.real:
        services = infra.Infrastructure.from_env()
        sms = services.sms
    else:
        services = fakes.FakeInfrastructure(infra.SystemClock())
        sms = infra.MockSmsService()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `docker stop` is like Ctrl-C
    with (
        services,
        make_server("127.0.0.1", arguments.port, SignIn(services, sms), Server, Handler) as server,
    ):
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped")


if __name__ == "__main__":
    main()
