"""Serve a sign-in by SMS code over HTTP with Flask. docs/web.md shows the requests."""

import argparse
import math
from typing import Any

from flask import Flask, abort, make_response, request
from flask.typing import ResponseReturnValue as Answer
from werkzeug.exceptions import HTTPException

import fakes
import infra

MONTH = 30 * 86400  # seconds that a token is valid
NO_STORE = {"Cache-Control": "no-store"}  # a cache may not keep a token
SIGN_IN: Answer = ({"error": "sign in"}, 401, {"WWW-Authenticate": "Bearer"})
STATUSES = {infra.ValidationError: 400, infra.RateLimitedError: 429, infra.SmsError: 502}


def create_app(services: infra.Infrastructure, sms: infra.SmsService) -> Flask:
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 512  # too short for JSON that is deeper than Python's stack

    @app.post("/code")
    def send_code() -> Answer:
        services.verification.send_code(sms, field("phone"))
        return {}

    @app.post("/sign-in")
    def sign_in() -> Answer:
        phone, code = field("phone"), field("code")
        if not services.verification.verify_code(phone, code):
            left = services.verification.get_remaining_attempts(phone)
            abort(403, f"wrong code, {left} attempts left" if left else "ask for a code")
        users = services.phone_users
        user = users.find_by_phone(phone) or users.create_for_phone(phone)
        if user.is_blocked:
            abort(403, "this phone is blocked")
        return {"token": services.tokens.issue(user.id, ttl=MONTH).token}, NO_STORE

    @app.post("/refresh")
    def refresh() -> Answer:
        rotation = services.tokens.rotate(token(), ttl=MONTH, grace=10)  # grace: two tabs at once
        if rotation.issued is None:
            return SIGN_IN
        return {"token": rotation.issued.token}, NO_STORE

    @app.post("/sign-out")
    def sign_out() -> Answer:
        found = services.tokens.find(token())
        if found is not None:
            services.tokens.revoke_family(found.family, "signed out")
        return {}

    @app.errorhandler(infra.InfrastructureError)
    def failed(error: infra.InfrastructureError) -> Answer:
        lost = isinstance(error, (infra.ConnectionError, infra.TimeoutError))
        status = STATUSES.get(type(error), 503 if lost or error.retryable else 500)
        if status >= 500:  # the library's messages hold no phone, code or token
            app.logger.error("%s: %s: %s", request.path, type(error).__name__, error)
            return {"error": "the service failed"}, status
        headers = {}
        if isinstance(error, infra.RateLimitedError):
            headers["Retry-After"] = str(math.ceil(error.retry_after))
        return {"error": str(error)}, status, headers

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Answer:
        headers = {name: value for name, value in error.get_headers() if name != "Content-Type"}
        return {"error": error.description}, error.code or 500, headers

    return app


def field(name: str) -> Any:
    """Return a field of the JSON object that the client has sent."""
    fields = request.get_json(force=True)  # whatever the Content-Type is: curl needs no option
    if not isinstance(fields, dict):
        abort(400, "the body should be a JSON object")
    return fields.get(name, "")


def token() -> str:
    """Return the token of the header Authorization (RFC 6750)."""
    if request.authorization is None or request.authorization.token is None:
        abort(make_response(SIGN_IN))
    return request.authorization.token


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--real", action="store_true", help="use the servers of the environment")
    parser.add_argument("--port", type=int, default=8000, help="0: any free port")
    options = parser.parse_args()
    clock = infra.SystemClock()
    services = infra.Infrastructure.from_env() if options.real else fakes.FakeInfrastructure(clock)
    with services:
        sms = services.sms if options.real else infra.MockSmsService()
        create_app(services, sms).run(port=options.port, debug=False)
