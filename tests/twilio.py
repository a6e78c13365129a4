"""A stand-in for Twilio on loopback, and the HTTP server below it, which tests can make fail.

It follows the published API (https://www.twilio.com/docs/messaging/api,
https://www.twilio.com/docs/api/errors).
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import secrets
import socketserver
import ssl
import sys
import threading
import urllib.parse
from collections import deque
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

ACCOUNT, TOKEN = f"AC{'0a' * 16}", "auth-token-of-tests"
API_KEY, API_SECRET = f"SK{'1b' * 16}", "api-secret-of-tests"
NUMBER, MESSAGING_SERVICE = "+15005550006", f"MG{'2c' * 16}"
INVALID = "+15005550001"  # Twilio's own magic number: as "To" and as "From" never valid

Send = Callable[[bytes], None]
Answer = bytes | Callable[[Send], None]


def response(status: int, body: str, *headers: str, length: int | None = None) -> bytes:
    """All of an HTTP response; ``length`` is what it says of its body if that is not the truth."""
    size = f"Content-Length: {len(body.encode()) if length is None else length}"
    return "\r\n".join(
        [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", size, *headers, "", body]
    ).encode()


class StandIn(socketserver.ThreadingTCPServer):
    """Answer each POST with ``answer``, or with the next of ``bad_days``.

    A bad day is bytes, after which the connection ends, or a function that gets ``send``. If
    ``certificates`` names a folder with cert.pem and key.pem, the server speaks https.
    """

    daemon_threads = True
    request_queue_size = 64
    handler: type[BaseHTTPRequestHandler]

    def __init__(self, certificates: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), self.handler)
        self.port: int = self.socket.getsockname()[1]
        self.url = (
            f"https://localhost:{self.port}" if certificates else f"http://127.0.0.1:{self.port}"
        )
        self.connections = 0
        self.requests: list[dict[str, str]] = []  # the forms that were read to their end
        self.bad_days: deque[Answer] = deque()
        self.deaf = False  # ends each connection before it reads
        self.brief = False  # ends each connection when TLS stands
        self.keep = False  # leaves a connection open after bytes of a bad day, if they are whole
        self.over = threading.Event()  # set at the end: whoever still answers stops
        self.hung_up = threading.Event()  # set when a client did not stay for an answer
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) if certificates else None
        if self._tls and certificates:
            self._tls.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
            self._tls.load_verify_locations(certificates / "ca.pem")
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, path: str, headers: Any, form: dict[str, str]) -> bytes:
        raise AssertionError("a bad day for each request, or a kind of server that says its answer")

    def __exit__(self, *_: Any) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()

    def finish_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        if self._tls and not self.deaf:  # here, because each connection has its thread
            with self._tls.wrap_socket(request, server_side=True) as request:
                if not self.brief:
                    super().finish_request(request, client_address)
        elif not self.deaf:
            super().finish_request(request, client_address)

    def want_certificate(self, *, early: bool) -> None:
        """Require a certificate of each client from now on.

        With TLS 1.2 (``early``) the handshake fails; with 1.3 the client learns it while it sends.
        """
        assert self._tls
        self._tls.verify_mode = ssl.CERT_REQUIRED
        if early:
            self._tls.maximum_version = ssl.TLSVersion.TLSv1_2

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # a client may leave at any time
            raise

    # --- bad days that last: half a minute, for a client that has no end of its own

    def slow(self, send: Send) -> None:
        self.over.wait(30)

    def drip(self, start: bytes) -> Callable[[Send], None]:
        """A byte at a time, each in good time."""

        def answer(send: Send) -> None:
            for byte in itertools.chain(start, itertools.repeat(ord("x"), 600)):
                if self.over.wait(0.05):
                    break
                send(bytes([byte]))

        return answer

    def endless(self, send: Send) -> None:
        send(b"HTTP/1.1 201 Created\r\n\r\n")
        while not self.over.is_set():
            send(b'{"sid": "SM' + b"0" * 65536)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StandIn

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = dict(urllib.parse.parse_qsl(body, strict_parsing=True, keep_blank_values=True))
        self.server.requests.append(form)
        answer: Answer = b""
        if self.server.bad_days:
            answer, self.close_connection = self.server.bad_days.popleft(), not self.server.keep
        else:
            answer = self.server.answer(self.path, self.headers, form)
        try:
            answer(self._send) if callable(answer) else self._send(answer)
        except OSError:
            self.close_connection = True
            self.server.hung_up.set()

    def _send(self, data: bytes) -> None:
        self.wfile.write(data)

    def log_message(self, format: str, *_: Any) -> None:
        pass


StandIn.handler = _Handler


class Twilio(StandIn):
    """The Messages resource of one account; ``messages`` are the accepted ones, as responses."""

    def __init__(self, certificates: Path | None = None) -> None:
        self.messages: list[dict[str, Any]] = []
        super().__init__(certificates)

    @staticmethod
    def error(status: int, code: int, message: str, *headers: str) -> bytes:
        more = f"https://www.twilio.com/docs/errors/{code}"
        found = {"code": code, "message": message, "more_info": more, "status": status}
        return response(status, json.dumps(found), "Content-Type: application/json", *headers)

    def answer(self, path: str, headers: Any, form: dict[str, str]) -> bytes:
        resource = f"/2010-04-01/Accounts/{ACCOUNT}/Messages"
        login = base64.b64decode(headers.get("Authorization", "").removeprefix("Basic ")).decode()
        to, body, sender, service = (
            form.get(name) for name in ("To", "Body", "From", "MessagingServiceSid")
        )
        if path != f"{resource}.json":
            return self.error(404, 20404, f"The requested resource {path} was not found")
        if login not in (f"{ACCOUNT}:{TOKEN}", f"{API_KEY}:{API_SECRET}"):
            return self.error(401, 20003, "Authenticate")
        if not re.fullmatch(r"\+[1-9][0-9]{6,14}", to or "") or to == INVALID:
            return self.error(400, 21211, f"Invalid 'To' Phone Number: {to}")
        if not body:
            return self.error(400, 21602, "Message body is required.")
        if len(body) > 1600:
            return self.error(
                400, 21617, "The concatenated message body exceeds the 1600 character limit"
            )
        if not sender and not service:
            return self.error(400, 21603, "A 'From' phone number is required.")
        if sender == INVALID or service not in (None, MESSAGING_SERVICE):
            return self.error(400, 21212, f"Invalid From Number (caller ID): {sender or service}")
        if sender not in (None, NUMBER):
            return self.error(
                400,
                21606,
                f"The 'From' phone number {sender} is not a valid, SMS-capable inbound number",
            )
        sid, now = f"SM{secrets.token_hex(16)}", formatdate()
        message = {
            "account_sid": ACCOUNT, "api_version": "2010-04-01", "body": body, "date_created": now,
            "date_sent": None, "date_updated": now, "direction": "outbound-api", "error_code": None,
            "error_message": None, "from": sender, "messaging_service_sid": service,
            "num_media": "0", "num_segments": "1", "price": None, "price_unit": "USD", "sid": sid,
            "status": "accepted" if service else "queued", "to": to,
            "uri": f"{resource}/{sid}.json",
            "subresource_uris": {"media": f"{resource}/{sid}/Media.json"},
        }  # fmt: skip
        self.messages.append(message)
        return response(201, json.dumps(message), "Content-Type: application/json")
