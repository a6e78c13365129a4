"""Serve a sign-in by SMS code over HTTP with Flask. docs/web.md shows the requests."""

import argparse
import math
from typing import Any

from flask import Flask, abort, request
from flask.typing import ResponseReturnValue as Answer
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from werkzeug.exceptions import HTTPException

import fakes
import infra

MONTH = 30 * 86400  # seconds that a token is valid
NO_STORE = {"Cache-Control": "no-store"}  # a cache may keep neither a token nor a state


def create_app(
    services: infra.Infrastructure, sms: infra.SmsService, registry: CollectorRegistry = REGISTRY
) -> Flask:
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 512  # too short for JSON that is deeper than Python's stack

    @app.post("/code")
    def send_code() -> Answer:
        services.verification.send_code(sms, field("phone"))
        return {}

    @app.post("/sign-in")
    def sign_in() -> Answer:
        phone, users = field("phone"), services.phone_users
        if not services.verification.verify_code(phone, field("code")):
            left = services.verification.get_remaining_attempts(phone)
            abort(403, f"wrong code, {left} attempts left" if left else "ask for a code")
        user = users.find_by_phone(phone) or users.create_for_phone(phone)
        if user.is_blocked:
            abort(403, "this phone is blocked")
        return {"token": services.tokens.issue(user.id, ttl=MONTH).token}, NO_STORE

    @app.post("/refresh")
    def refresh() -> Answer:
        rotation = services.tokens.rotate(field("token"), ttl=MONTH, grace=10)  # two tabs at once
        if rotation.issued is None:
            abort(403, "sign in again")
        return {"token": rotation.issued.token}, NO_STORE

    @app.get("/healthz")
    def health() -> Answer:
        report = services.health(deadline=2)  # shorter than the probe's own timeout
        return report.as_dict(), 200 if report.up else 503, NO_STORE

    @app.get("/metrics")
    def metrics() -> Answer:
        return generate_latest(registry), {"Content-Type": CONTENT_TYPE_LATEST, **NO_STORE}

    @app.errorhandler(infra.ValidationError)
    def invalid(error: infra.ValidationError) -> Answer:
        return {"error": str(error)}, 400

    @app.errorhandler(infra.RateLimitedError)
    def limited(error: infra.RateLimitedError) -> Answer:
        return {"error": str(error)}, 429, {"Retry-After": str(math.ceil(error.retry_after))}

    @app.errorhandler(infra.InfrastructureError)
    def failed(error: infra.InfrastructureError) -> Answer:
        # The library's messages hold no phone, code or token.
        app.logger.error("%s: %s: %s", request.path, type(error).__name__, error)
        return {"error": "the service failed"}, 503 if error.retryable else 500

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Answer:
        headers = {name: value for name, value in error.get_headers() if name != "Content-Type"}
        return {"error": error.description}, error.code or 500, headers

    return app


def field(name: str) -> Any:
    """Return a field of the JSON object that the client has sent."""
    fields = request.get_json(force=True)  # whatever the Content-Type is: curl needs no option
    return fields.get(name, "") if isinstance(fields, dict) else ""


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--real", action="store_true", help="use the servers of the environment")
    parser.add_argument("--port", type=int, default=8000, help="0: any free port")
    options = parser.parse_args()
    real, observer = options.real, infra.PrometheusObserver()
    with (
        infra.Infrastructure.from_env(observer=observer)
        if real
        else fakes.FakeInfrastructure(fakes.RunningClock(), observer=observer)
    ) as services:
        sms = services.sms if real else infra.MockSmsService()
        create_app(services, sms).run(port=options.port, debug=False)
