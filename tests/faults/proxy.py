"""Proxies and stubs of Redis on loopback, which tests make fail."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import termios
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Listening:
    """A port on loopback with a thread for each connection; ``connections`` counts them."""

    def __init__(self, port: int = 0) -> None:
        self.connections = 0
        self._listening = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listening.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self: T) -> T:
        return self

    def __exit__(self, *_: Any) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()  # else it could accept on the next socket that gets the same number
        for each in [self._listening, *self._sockets]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self._sockets.append(client)
                self.connections += 1
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        raise AssertionError("a kind of server says how it serves")


class Proxy(Listening):
    """Forward to ``target``, and lose or delay replies.

    Once ``swallow`` is True, the next reply is dropped and its connection ended. While ``open`` is
    not set, replies are held back; ``kept`` counts those, ``passed`` those that reached clients.
    """

    lingers = False  # True: the end of a client's connection does not come through

    def __init__(self, target: int, port: int = 0) -> None:
        self.target = target
        self.swallow = False
        self.swallowed = 0
        self.open = threading.Event()
        self.open.set()
        self.kept = self.passed = 0
        super().__init__(port)

    def __exit__(self, *_: Any) -> None:
        self.open.set()
        super().__exit__()

    def _serve(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self.target))
        self._sockets.append(server)
        threading.Thread(target=self._pass, args=(server, client, True), daemon=True).start()
        self._pass(client, server, False)

    def request(self, data: bytes) -> bytes | None:
        """Return the part of a request to forward, or None to end the connection."""
        return data

    def _pass(self, source: socket.socket, sink: socket.socket, replies: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not replies:
                    passed = self.request(data)
                    if passed is None:
                        break
                    data = passed
                if replies and self.swallow:
                    self.swallow = False
                    self.swallowed += 1
                    break
                if replies and not self.open.is_set():
                    self.kept += 1
                    self.open.wait()
                sink.sendall(data)
                self.passed += replies
        if self.lingers and not replies:
            return
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class Recording(Proxy):
    """Keeps what clients send, in plain text, in ``requests``."""

    def __init__(self, target: int) -> None:
        self.requests: list[bytes] = []
        super().__init__(target)

    def request(self, data: bytes) -> bytes:
        self.requests.append(data)
        return data


class Stub(Listening):
    """A server that runs ``serve(connection)`` for each, and then keeps it open and silent.

    ``failures`` holds the errors of ``serve``.
    """

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._script = serve
        self.failures: list[Exception] = []
        super().__init__()

    def _serve(self, client: socket.socket) -> None:
        try:
            self._script(client)
        except Exception as error:
            self.failures.append(error)


class HttpsProxy(Stub):
    """Opens tunnels to ``port``, whatever it is asked for; or answers with ``refusal``."""

    def __init__(self, port: int, refusal: bytes = b"") -> None:
        self.asked: list[bytes] = []
        self._target, self._refusal = port, refusal
        super().__init__(self.serve)

    def serve(self, client: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        self.asked.append(head)
        if self._refusal:
            client.sendall(self._refusal)
            return
        with socket.create_connection(("127.0.0.1", self._target)) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n")
            back = threading.Thread(target=self.copy, args=(server, client), daemon=True)
            back.start()
            self.copy(client, server)
            back.join(10)

    @staticmethod
    def copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


#: what such a proxy may say, what that is called, and whether it may pass
PROXY_REFUSALS = [
    (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "refuses the connection (407)", False),
    (b"HTTP/1.1 403 Forbidden\r\n\r\n", "refuses the connection (403)", False),
    (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "refuses the connection (503)", True),
    (b"+OK\r\n\r\n", "refuses the connection (no HTTP)", False),
]
WRONG_PROXIES = [
    "http://proxy:x", " http://127.0.0.1:1", "socks5://proxy", "http://a..b:1", "http://u:p@",
]  # fmt: skip


class ScriptedRedis(Listening):
    """A server that answers each command with what ``answer(words, send)`` sends."""

    def __init__(self, answer: Callable[[list[bytes], Callable[[bytes], None]], None]) -> None:
        self._answer = answer
        self.commands: list[bytes] = []
        self.ended: list[socket.socket] = []  # connections
        super().__init__()
        self.url = f"redis://:password@127.0.0.1:{self.port}/1"

    def has_delivered(self) -> bool:
        """Whether all that was sent is with the clients, read or not."""
        unacknowledged = [
            struct.unpack("i", fcntl.ioctl(each, termios.TIOCOUTQ, bytes(4)))[0]
            for each in self._sockets
            if each.fileno() >= 0
        ]
        return not any(unacknowledged)

    def _serve(self, client: socket.socket) -> None:
        try:
            self._converse(client)
        finally:
            self.ended.append(client)

    def _converse(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            stream = client.makefile("rb")
            # *<number of words>, then for each $<length> and the word.
            while header := stream.readline():
                words = [
                    stream.read(int(stream.readline()[1:]) + 2)[:-2] for _ in range(int(header[1:]))
                ]
                self.commands.append(words[0])
                self._answer(words, client.sendall)
