"""Faults of object stores: refusals, lost replies, cuts, half uploads; and hidden secrets."""

from __future__ import annotations

import gc
import io
import logging
import os
import re
import socket
import subprocess
import sys
import time
import traceback
import urllib.parse
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import fakes
import infra
from tests import services
from tests.conftest import SlowCredentials, _or_skip, s3_config
from tests.contract.backends import eventually, in_child, over_http, remove_bucket
from tests.contract.test_storage_provider import PART, Broken, some
from tests.faults.proxy import PROXY_REFUSALS, WRONG_PROXIES, HttpsProxy, Stub
from tests.s3_stand_in import CUT, LOSE, Refusal, StrictS3
from tests.services import free_port

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("no_aws")]

BUCKET, KEY = "tell-nobody-bucket", "tell-nobody/key"
ACCESS, SECRET = "AKIAOFTHETESTS000000", "aws-secret-of-tests"
SLACK = 10.0  # seconds that a busy machine may add


@pytest.fixture
def stand_in() -> Iterator[StrictS3]:
    with StrictS3() as server:
        server.buckets[BUCKET] = {}
        yield server


@pytest.fixture
def certificates() -> Path:
    return _or_skip(services.certificates)


def provider(server: StrictS3 | str, **options: Any) -> infra.S3StorageProvider:
    """For the stand-in, or a URL."""
    names = {
        "access_key",
        "secret_key",
        "keeps_folders",
        "public_endpoint",
        "connect_timeout",
        "read_timeout",
        "region",
        "endpoint",
    } & options.keys()
    url = server if isinstance(server, str) else server.url
    usual = {"endpoint": url, "access_key": ACCESS, "secret_key": SECRET, "read_timeout": 5.0}
    config = infra.S3StorageConfig(**{**usual, **{name: options.pop(name) for name in names}})
    return infra.S3StorageProvider(config, part_size=PART, copy_part_size=PART, **options)


@pytest.fixture
def storage(stand_in: StrictS3) -> Iterator[infra.S3StorageProvider]:
    with provider(stand_in) as made:
        made.upload(BUCKET, KEY, b"as it was")
        stand_in.asked.clear()
        yield made


class Shared:
    """A stand-in, and a provider, for many cases: boto3 takes its time to make a client. Its clock
    does not wait between attempts."""

    def __init__(self) -> None:
        self.calls: list[infra.Call] = []
        self.stand_in = StrictS3()
        self.storage = provider(
            self.stand_in, clock=fakes.FakeClock(), observer=lambda call: self.calls.append(call)
        )

    def start_again(self) -> None:
        """As they were made, with an object in the bucket."""
        self.stand_in.forget()
        self.stand_in.buckets[BUCKET] = {}
        self.put(KEY, b"as it was")
        self.calls.clear()

    def put(self, key: str, data: bytes) -> None:
        """At once, without a request."""
        headers = {f"x-amz-meta-{each}": METADATA[each] for each in METADATA}
        self.stand_in.put_object(BUCKET, key, {}, headers, data)

    def close(self) -> None:
        self.storage.close()
        self.stand_in.__exit__()


@pytest.fixture(scope="module")
def all_shared() -> Iterator[list[Shared]]:
    made: list[Shared] = []
    yield made
    for each in made:
        each.close()


@pytest.fixture
def shared(no_aws: None, all_shared: list[Shared]) -> Shared:
    if not all_shared:  # here, because no_aws is of one test
        all_shared.append(Shared())
    all_shared[0].start_again()
    return all_shared[0]


# --- answers, and none

REFUSALS: dict[str, tuple[Any, type[infra.InfrastructureError], str | None, bool, str]] = {
    "forbidden": (
        Refusal(403, "AccessDenied"), infra.StorageError, "AccessDenied", False,
        "HTTP 403, AccessDenied"
    ),
    "odd request": (
        Refusal(400, "InvalidRequest"), infra.StorageError, "InvalidRequest", False, "HTTP 400"
    ),
    "wrong key": (
        Refusal(403, "SignatureDoesNotMatch"), infra.StorageError, "SignatureDoesNotMatch", False,
        "403"
    ),
    "elsewhere": (
        Refusal(400, "AuthorizationHeaderMalformed"), infra.StorageError, None, False,
        "see AWS_REGION"
    ),
    "slow down": (
        Refusal(503, "SlowDown"), infra.StorageError, "SlowDown", True, "HTTP 503, SlowDown"
    ),
    "internal": (
        Refusal(500, "InternalError"), infra.StorageError, "InternalError", True,
        "HTTP 500, InternalError"
    ),
    "busy": (
        Refusal(409, "OperationAborted"), infra.StorageError, "OperationAborted", True, "HTTP 409"
    ),
    "too many": (
        Refusal(429, "TooManyRequests"), infra.StorageError, "TooManyRequests", True, "HTTP 429"
    ),
    "not made": (
        Refusal(501, "NotImplemented"), infra.StorageError, "NotImplemented", False, "HTTP 501"
    ),
    "a key as code": (
        Refusal(400, "tell-nobody/key"), infra.StorageError, None, False, "(HTTP 400"
    ),
    "no such key": (Refusal(404, "NoSuchKey"), infra.NotFoundError, None, False, "no such object"),
    "HTML 404": (
        b"HTTP/1.1 404 Nowhere\r\nContent-Length: 6\r\n\r\n<html>", infra.StorageError, None, False,
        "S3_"
    ),
    "HTML 502": (
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>", infra.StorageError, None,
        True, "502"
    ),
    "cut": (LOSE, infra.ConnectionError, None, True, "storage ended the connection"),
    "no HTTP": (
        b"+OK\r\n", infra.ConnectionError, None, True, "does not speak HTTP: see S3_ENDPOINT"
    ),
    "half of a header": (
        b"HTTP/1.1 200 OK\r\nDa", infra.ConnectionError, None, True, "ended the connection in the"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_what_answers_mean(shared: Shared, name: str) -> None:
    day, kind, code, retryable, words = REFUSALS[name]
    shared.stand_in.bad_day("list_objects", *[day] * 9)
    with pytest.raises(kind) as caught:
        shared.storage.list_objects(BUCKET)
    error = caught.value
    assert words in str(error)
    assert (error.service, error.operation, error.retryable) == (
        "storage",
        "list_objects",
        retryable,
    )
    if code is not None:
        assert error.code == code
    assert len(shared.calls) == (4 if retryable else 1)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(
    stand_in: StrictS3, storage: infra.S3StorageProvider, status: int
) -> None:
    """As from http to https, by a proxy in front of the store."""
    location = f"Location: https://127.0.0.1:{free_port()}/"
    day = f"HTTP/1.1 {status} Elsewhere\r\n{location}\r\nContent-Length: 0\r\n\r\n".encode()
    for name in ("list_buckets", "head_object", "get_object", "put_object"):
        stand_in.bad_day(name, *[day] * 90)
    for call in (
        storage.exists,
        storage.download,
        lambda b, k: storage.upload(b, k, b""),
        lambda *_: storage.health_check(),
    ):
        with pytest.raises(infra.StorageError, match=f"HTTP {status}"):
            call(BUCKET, KEY)
    assert len(stand_in.asked) == 4


HTML = "<html><body>Welcome</body></html>"
HTTP_200 = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n"
ODD_ANSWERS: dict[str, tuple[str, str, str]] = {
    "no time, but a secret": ("head_object", f"Last-Modified: {SECRET}", ""),
    "no number": ("head_object", f"x-amz-missing-meta: {SECRET}", ""),
    "a page about an object": ("head_object", "Content-Type: text/html", ""),
    "a page for an object": ("get_object", "Content-Type: text/html; charset=utf-8", HTML),
    "a page for an upload": ("put_object", "Content-Type: text/html", HTML),
    "nothing for an upload": ("put_object", "Server: x", ""),
    "nothing for a part": ("upload_part", "Server: x", ""),
    "a page for a part": ("upload_part", "Server: x", HTML),
    "nothing for the end": ("complete_multipart_upload", "Server: x", ""),
    "a page for the end": ("complete_multipart_upload", "Server: x", HTML),
    "nothing for a copy": ("copy_object", "Server: x", ""),
    "a page for a copy": ("copy_object", "Server: x", HTML),
    "nothing for a part of a copy": ("upload_part_copy", "Server: x", ""),
    "no ETag for a part of a copy": ("upload_part_copy", "Server: x", "<CopyPartResult/>"),
    "nothing for a bucket": ("create_bucket", "Server: x", ""),
    "a page for a bucket": ("create_bucket", "Content-Type: text/html", HTML),
    "nothing for a deletion": ("delete_object", "Server: x", ""),
    "a page for a deletion": ("delete_object", "Content-Type: text/html", HTML),
    "nothing for a batch": ("delete_objects", "Server: x", ""),
    "a page for a batch": ("delete_objects", "Server: x", HTML),
    "nothing for a list": ("list_objects", "Server: x", ""),
    "a page for a list": ("list_objects", "Server: x", HTML),
    "a list of no bucket": ("list_objects", "Server: x", "<ListBucketResult/>"),
    "a list of a bucket without a name": (
        "list_objects",
        "Server: x",
        "<ListBucketResult><Name></Name></ListBucketResult>",
    ),
    "another list": ("list_objects", "Server: x", "<a><Name>b</Name></a>"),
    "nothing of an upload": ("create_multipart_upload", "ETag: x", ""),
    "no buckets": ("list_buckets", "Content-Type: text/html", "<html></html>"),
    "nothing": ("list_buckets", "Content-Type: text/html", ""),
    "no size": (
        "list_objects",
        "ETag: x",
        f"<ListBucketResult><Name>b</Name><Contents><Key>{SECRET}</Key></Contents></ListBucketResult>",
    ),
    "no size that is one": (
        "list_objects",
        "ETag: x",
        f"<ListBucketResult><Name>b</Name><Contents><Size>{SECRET}</Size></Contents></ListBucketResult>",
    ),
}
ASKS: dict[str, Callable[[infra.S3StorageProvider], Any]] = {
    "head_object": lambda s: s.exists(BUCKET, KEY),
    "get_object": lambda s: s.download(BUCKET, KEY),
    "put_object": lambda s: s.upload(BUCKET, "new", b"x"),
    "create_multipart_upload": lambda s: s.upload(BUCKET, "new", bytes(PART + 1)),
    "upload_part": lambda s: s.upload(BUCKET, "new", bytes(PART + 1)),
    "complete_multipart_upload": lambda s: s.upload(BUCKET, "new", bytes(PART + 1)),
    "copy_object": lambda s: s.copy(BUCKET, KEY, BUCKET, "new"),
    "upload_part_copy": lambda s: s.copy(BUCKET, "large", BUCKET, "new"),
    "create_bucket": lambda s: s.create_bucket("a-new-one"),
    "delete_object": lambda s: s.delete(BUCKET, KEY),
    "delete_objects": lambda s: s.delete_batch(BUCKET, [KEY]),
    "list_objects": lambda s: s.list_objects(BUCKET),
    "list_buckets": lambda s: s.health_check(),
}


@pytest.mark.parametrize("name", ODD_ANSWERS)
def test_an_answer_that_lacks_what_it_should_say(shared: Shared, name: str) -> None:
    """A server other than S3 answers 200 to everything: it is asked again, as after a loss."""
    operation, header, body = ODD_ANSWERS[name]
    answer = f"HTTP/1.1 200 OK\r\n{header}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    stand_in, storage = shared.stand_in, shared.storage
    shared.put("large", bytes(PART + 1))
    stand_in.bad_day(operation, *[answer] * 4)
    with pytest.raises(infra.StorageError, match=r"gave no usable answer .* S3_ENDPOINT") as caught:
        ASKS[operation](storage)
    assert (caught.value.service, caught.value.retryable) == ("storage", True)
    assert SECRET not in repr(caught.value) + repr(caught.value.__cause__) + repr(
        caught.value.__context__
    )
    assert stand_in.asked.count(operation) == 4
    stand_in.bad_day(operation, answer)
    ASKS[operation](storage)
    assert stand_in.asked.count(operation) >= 6


@pytest.mark.parametrize("header", ["Content-Length", "Last-Modified", "ETag"])
@pytest.mark.parametrize("how", ["get_metadata", "copy"])
def test_a_header_that_is_missing_is_named(stand_in: StrictS3, how: str, header: str) -> None:
    headers = {
        "Content-Length": "9",
        "Last-Modified": "Mon, 23 Nov 2026 06:42:13 GMT",
        "ETag": '"0123456789abcdef0123456789abcdef"',
    }
    lines = "".join(f"{name}: {text}\r\n" for name, text in headers.items() if name != header)
    with provider(stand_in, clock=fakes.FakeClock()) as storage:
        storage.upload(BUCKET, KEY, b"as it was")
        stand_in.bad_day("head_object", *[f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode()] * 5)
        call: Callable[[], Any] = {
            "get_metadata": lambda: storage.get_metadata(BUCKET, KEY),
            "copy": lambda: storage.copy(BUCKET, KEY, BUCKET, "new"),
        }[how]
        with pytest.raises(infra.StorageError, match=rf"\(HTTP 200 without {header}\)") as caught:
            call()
        assert (caught.value.operation, caught.value.retryable) == (how, True)
        assert storage.exists(BUCKET, KEY) is True  # which needs no more than the status


def test_a_store_that_says_neither_where_a_bucket_is_nor_that_something_is_gone(
    stand_in: StrictS3, storage: infra.S3StorageProvider
) -> None:
    def with_200(operation: str) -> bytes:
        getattr(stand_in, operation)("a-new-one", KEY)
        return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

    stand_in.bad_day("create_bucket", lambda _: with_200("create_bucket"))
    storage.create_bucket("a-new-one")
    assert stand_in.asked == ["create_bucket", "list_objects"]
    storage.upload("a-new-one", KEY, b"x")
    stand_in.bad_day("delete_object", lambda _: with_200("delete_object"))
    storage.delete("a-new-one", KEY)
    assert stand_in.asked[3:] == ["delete_object", "head_object"]


def test_credentials_that_may_not_look(
    stand_in: StrictS3, storage: infra.S3StorageProvider
) -> None:
    """AWS says "forbidden" of what is absent, too, to those who may not list the bucket."""
    forbidden = Refusal(403, "AccessDenied")
    storage.upload(BUCKET, "f/", b"")
    stand_in.bad_day("head_object", forbidden, forbidden)
    storage.delete(BUCKET, "f/")
    assert storage.delete_batch(BUCKET, ["f/"]) == infra.DeleteResult(["f/"], {})
    empty = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    stand_in.bad_day("create_bucket", empty)
    stand_in.bad_day("list_objects", forbidden)
    storage.create_bucket("a-new-one")
    stand_in.bad_day("create_bucket", empty)
    stand_in.bad_day("list_objects", b"HTTP/1.1 403 No\r\nContent-Length: 6\r\n\r\n<html>")
    with pytest.raises(infra.StorageError, match="see S3_ENDPOINT"):
        storage.create_bucket("a-new-one")


def test_an_error_with_the_status_of_success(
    stand_in: StrictS3, storage: infra.S3StorageProvider
) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html"""
    body = "<Error><Code>InternalError</Code><Message>again</Message></Error>"
    day = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    storage.upload(BUCKET, "large", some(PART + 1))
    for operation in (
        "complete_multipart_upload",
        "copy_object",
        "upload_part_copy",
        "delete_objects",
    ):
        stand_in.bad_day(operation, *[day] * 4)
        with pytest.raises(infra.StorageError) as caught:
            ASKS[operation](storage)
        assert caught.value.retryable
        stand_in.bad_day(operation, day)
        ASKS[operation](storage)
    assert storage.download(BUCKET, "new") == some(PART + 1)


def answer(status: str, headers: str, body: str = "") -> bytes:
    length = "" if status.startswith("204") else f"Content-Length: {len(body)}\n"
    return f"HTTP/1.1 {status}\n{length}{headers}\n".replace("\n", "\r\n").encode() + body.encode()


OBJECT = (
    'ETag: "21f754de7c49298ea2512402aa10755c"\nLast-Modified: Mon, 23 Nov 2026 06:42:13 GMT\n'
    "Content-Type: a/b\nx-amz-meta-a: 12\nx-amz-meta-b: 67\n"
)
CHUNKED = f"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n{OBJECT}\n".replace("\n", "\r\n").encode()
METADATA = {"a": "12", "b": "67"}
LISTED = "<Key>tell-nobody/key</Key><Size>9</Size><LastModified>2026-11-23T06:42:13Z</LastModified>"
# What each would answer, if its object were whole; the stand-in says a part of it, and does
# nothing.
CUT_ANSWERS: dict[str, tuple[str, bytes, Callable[[Any], Any], Any]] = {
    "download": (
        "get_object", answer("200 OK", OBJECT, "as it was"), lambda s: s.download(BUCKET, KEY),
        b"as it was",
    ),
    "download in chunks": (
        "get_object",
        CHUNKED + b"0000005\r\nas it\r\n000004\r\n was\r\n00000\r\n\r\n",
        lambda s: s.download(BUCKET, KEY),
        b"as it was",
    ),
    "open": (
        "get_object", answer("200 OK", OBJECT, "as it was"), lambda s: read_all(s), b"as it was"
    ),
    "open in chunks": (
        "get_object",
        CHUNKED + b"00000009\r\nas it was\r\n000\r\n\r\n",
        lambda s: read_all(s),
        b"as it was",
    ),
    "exists": ("head_object", answer("404 Not Found", ""), lambda s: s.exists(BUCKET, KEY), True),
    "get_metadata": (
        "head_object",
        answer("200 OK", f"Content-Length: 9\n{OBJECT}").replace(b"Content-Length: 0\r\n", b""),
        lambda s: s.get_metadata(BUCKET, KEY).metadata,
        METADATA,
    ),
    "list_objects": (
        "list_objects",
        answer(
            "200 OK", "",
            f"<ListBucketResult><Name>b</Name><Contents>{LISTED}</Contents></ListBucketResult>"
        ),
        lambda s: [each.key for each in s.list_objects(BUCKET)],
        [KEY],
    ),
    "list_objects until the end": (
        "list_objects",
        b"HTTP/1.1 200 OK\r\n\r\n<ListBucketResult><Name>b</Name></ListBucketResult>",
        lambda s: [each.key for each in s.list_objects(BUCKET)],
        [KEY],
    ),
    "upload": (
        "put_object", answer("200 OK", 'ETag: "1"\n'),
        lambda s: s.upload(BUCKET, KEY, b"new") or s.download(BUCKET, KEY), b"new",
    ),
    "copy": (
        "copy_object", answer("200 OK", "", "<CopyObjectResult><ETag>1</ETag></CopyObjectResult>"),
        lambda s: s.copy(BUCKET, KEY, BUCKET, "new") or s.download(BUCKET, "new"), b"as it was",
    ),
    "delete": (
        "delete_object", answer("204 No Content", "Date: x\n"),
        lambda s: s.delete(BUCKET, KEY) or s.exists(BUCKET, KEY), False,
    ),
    "delete_batch": (
        "delete_objects", answer("200 OK", "", "<DeleteResult></DeleteResult>"),
        lambda s: (s.delete_batch(BUCKET, [KEY]).deleted, s.exists(BUCKET, KEY)), ([KEY], False),
    ),
    "create_bucket": (
        "create_bucket", answer("200 OK", "Location: /a-new-one\n"),
        lambda s: s.create_bucket("a-new-one") or [*s.list_objects("a-new-one")], [],
    ),
    "health_check": (
        "list_buckets",
        answer(
            "200 OK", "Server: x\n", "<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>"
        ),
        lambda s: s.health_check().server, "Strict/1.0",
    ),
}  # fmt: skip


def read_all(storage: infra.S3StorageProvider) -> bytes:
    with storage.open(BUCKET, KEY) as reader:
        return reader.read()


@pytest.mark.parametrize("name", CUT_ANSWERS)
def test_an_answer_cut_after_every_byte(shared: Shared, name: str) -> None:
    """The connection ends in order. The answer is asked for again, and is right."""
    operation, whole, call, expected = CUT_ANSWERS[name]
    for end in range(len(whole)):
        shared.start_again()
        shared.stand_in.bad_day(operation, whole[:end])
        assert call(shared.storage) == expected, whole[:end]
        assert shared.stand_in.asked.count(operation) >= 2 or end == 0, whole[:end]


def test_a_refusal_that_is_cut_is_a_lost_answer(
    stand_in: StrictS3, storage: infra.S3StorageProvider
) -> None:
    """A newer boto3 does not count the bytes of a body: the error would have no code."""
    whole = answer("404 Not Found", "", "<Error><Code>NoSuchKey</Code></Error>")
    for left in (whole[:-37], whole[:-1]):
        for operation in ("get_object", "put_object", "list_objects", "delete_objects"):
            stand_in.asked.clear()
            stand_in.bad_day(operation, left)
            ASKS[operation](storage)
            assert stand_in.asked == [operation] * 2
            storage.upload(BUCKET, KEY, b"as it was")
    stand_in.bad_day("get_object", *[whole[:-1]] * 4)
    with pytest.raises((infra.StorageError, infra.ConnectionError)) as caught:
        storage.download(BUCKET, KEY)
    assert caught.value.retryable
    assert re.search("HTTP 404, cut|ended the connection", str(caught.value))


def test_a_body_that_ends_with_the_connection_is_no_object(stand_in: StrictS3) -> None:
    """Nobody could tell its end from a cut."""
    day = f"HTTP/1.1 200 OK\n{OBJECT}\nas it".replace("\n", "\r\n").encode()
    with provider(stand_in, clock=fakes.FakeClock()) as storage:
        for how in (storage.download, storage.open):
            stand_in.bad_day("get_object", *[day] * 4)
            with pytest.raises(infra.StorageError, match="HTTP 200 without Content-Length"):
                how(BUCKET, KEY)
        stand_in.put_object(BUCKET, KEY, {}, {}, b"as it was")
        stand_in.bad_day("get_object", day)
        assert storage.download(BUCKET, KEY) == b"as it was"


def test_a_page_that_was_stored_is_an_object(storage: infra.S3StorageProvider) -> None:
    storage.upload(BUCKET, KEY, HTML.encode(), "text/html")
    assert storage.download(BUCKET, KEY) == HTML.encode()
    assert storage.get_metadata(BUCKET, KEY).content_type == "text/html"
    assert storage.exists(BUCKET, KEY)


@pytest.mark.parametrize(
    "day", [Refusal(503, "SlowDown"), Refusal(429, "TooMany"), LOSE, b"+OK\r\n", HTTP_200]
)
def test_a_store_that_has_moved_is_found(
    stand_in: StrictS3, monkeypatch: pytest.MonkeyPatch, day: Any
) -> None:
    """After a failure all idle connections are dropped, so that the name is resolved again."""
    with StrictS3() as other, provider("http://store.test", clock=fakes.FakeClock()) as storage:
        port = stand_in.port

        def look_up(*_: Any, **__: Any) -> Any:
            return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        storage.upload(BUCKET, KEY, b"there")
        readers = [storage.open(BUCKET, KEY) for _ in range(5)]
        for each in readers:
            with each:
                assert each.read() == b"there"
        assert stand_in.connections == 5
        other.buckets[BUCKET] = {}
        other.put_object(BUCKET, KEY, {}, {}, b"here")
        port = other.port
        assert storage.download(BUCKET, KEY) == b"there"  # over a connection that is kept
        stand_in.bad_day("head_object", day)
        assert storage.exists(BUCKET, KEY)
        assert (other.asked, stand_in.asked.count("head_object")) == (["head_object"], 1)
        assert storage.download(BUCKET, KEY) == b"here"


def test_an_answer_that_says_absent_keeps_its_connection(
    stand_in: StrictS3, storage: infra.S3StorageProvider
) -> None:
    before = stand_in.connections
    for _ in range(3):
        assert not storage.exists(BUCKET, "absent")
        with pytest.raises(infra.NotFoundError):
            storage.download(BUCKET, "absent")
    assert stand_in.connections == before


def test_a_busy_store_is_asked_again(stand_in: StrictS3, storage: infra.S3StorageProvider) -> None:
    stand_in.bad_day("get_object", Refusal(503, "SlowDown"), Refusal(500, "InternalError"), LOSE)
    assert storage.download(BUCKET, KEY) == b"as it was"
    assert stand_in.asked == ["get_object"] * 4


def test_forbidden_is_not_absent(service: Callable[[str], str], stand_in: StrictS3) -> None:
    with infra.S3StorageProvider(s3_config(service("s3"), secret_key="wrong")) as wrong:
        for call in (wrong.exists, wrong.get_metadata, wrong.download, wrong.open):
            with pytest.raises(infra.StorageError, match="HTTP 403, SignatureDoesNotMatch: the"):
                call("any-bucket", "k")
        with pytest.raises(infra.StorageError, match=r"HTTP 403, SignatureDoesNotMatch: the "):
            wrong.health_check()


@pytest.mark.parametrize("method", ["exists", "get_metadata"])
@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (403, "RequestTimeTooSkewed", "this machine's clock and the store's differ too much"),
        (403, "SignatureDoesNotMatch", "the secret key is another one"),
        (403, "InvalidAccessKeyId", "it knows no such key"),
        (403, "AccessDenied", "HTTP 403, AccessDenied"),
        (400, "ExpiredToken", "the session token has expired or is .* see AWS_SESSION_TOKEN"),
        (403, "InvalidTokenId", "the session token has expired or is .* see AWS_SESSION_TOKEN"),
    ],
)
def test_why_a_question_without_an_answers_body_is_refused(
    stand_in: StrictS3,
    storage: infra.S3StorageProvider,
    method: str,
    status: int,
    code: str,
    words: str,
) -> None:
    stand_in.bad_day("head_object", Refusal(status, code))
    stand_in.bad_day("get_object", Refusal(status, code))
    with pytest.raises(infra.StorageError, match=words) as caught:
        getattr(storage, method)(BUCKET, KEY)
    assert (caught.value.code, caught.value.operation) == (code, method)
    assert stand_in.asked == ["head_object", "get_object"]


@pytest.mark.parametrize(
    "days", [[], [Refusal(404, "NoSuchKey")], [Refusal(416, "InvalidRange")], [LOSE] * 4]
)
def test_a_refusal_that_nothing_explains(
    stand_in: StrictS3, storage: infra.S3StorageProvider, days: list[Any]
) -> None:
    stand_in.bad_day("head_object", Refusal(403, "AccessDenied"))
    stand_in.bad_day("get_object", *days)
    with pytest.raises(infra.StorageError, match=r"^storage refused the request \(HTTP 403\)$"):
        storage.exists(BUCKET, KEY)


def test_cut_before_tls_stands(certificates: Path, no_aws: None) -> None:
    """Nothing was sent, so every operation is tried again."""
    with StrictS3(certificates) as server:
        server.deaf = True
        with provider(server, ca_file=certificates / "ca.pem") as storage:
            with pytest.raises(infra.ConnectionError, match="could not be reached") as caught:
                storage.upload(BUCKET, KEY, b"x")
            assert caught.value.retryable is True
            assert (server.asked, server.connections) == ([], 4)


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_an_endpoint_of_boto3s_own_settings(
    stand_in: StrictS3, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, stand_in.url)
    with provider(stand_in, endpoint=None) as storage:
        storage.upload(BUCKET, KEY, b"x")
        assert storage.delete_batch(BUCKET, [KEY]) == infra.DeleteResult([KEY], {})
    for url in ("http://s3.example.com", f"{stand_in.url}/{SECRET}", SECRET):
        monkeypatch.setenv(variable, url)
        with provider(stand_in, endpoint=None) as storage:
            with pytest.raises(
                infra.ConfigurationError, match=r"^AWS_ENDPOINT_URL .*https"
            ) as caught:
                storage.exists(BUCKET, KEY)
            assert SECRET not in str(caught.value)
        with provider(stand_in) as storage:  # S3_ENDPOINT wins
            assert storage.exists(BUCKET, KEY) is False


def test_nobody_there() -> None:
    with provider(f"http://127.0.0.1:{free_port()}") as storage:
        started = time.monotonic()
        with pytest.raises(
            infra.ConnectionError, match="could not be reached: Connection refused"
        ) as caught:
            storage.exists(BUCKET, KEY)
        assert caught.value.retryable
        assert time.monotonic() - started < 1 + SLACK


def test_a_host_that_does_not_exist() -> None:
    with (
        provider("http://store.invalid") as storage,
        pytest.raises(infra.ConnectionError, match="host name not found"),
    ):
        storage.exists(BUCKET, KEY)


def test_a_store_that_says_nothing() -> None:
    with (
        Stub(lambda _: None) as silent,
        provider(
            f"http://127.0.0.1:{silent.port}", read_timeout=1.0, connect_timeout=0.5
        ) as storage,
    ):
        started = time.monotonic()
        with pytest.raises(infra.TimeoutError, match="did not answer in time"):
            storage.download(BUCKET, KEY)
        assert time.monotonic() - started < 2 * 1.5 + SLACK
        assert silent.connections <= 2  # a third would begin behind the deadline


def test_no_credentials(stand_in: StrictS3, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        provider(
            stand_in,
        ) as full,
        infra.S3StorageProvider(infra.S3StorageConfig(endpoint=stand_in.url)) as storage,
    ):
        for call in (
            storage.download,
            storage.exists,
            lambda b, k: storage.get_presigned_url(b, k, 60),
        ):
            with pytest.raises(
                infra.ConfigurationError, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) as caught:
                call(BUCKET, KEY)
            assert (caught.value.service, caught.value.retryable) == ("storage", False)
        assert stand_in.asked == []
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        assert storage.exists(BUCKET, KEY) is full.exists(BUCKET, KEY) is False  # it looks again


@pytest.mark.parametrize(
    ("env", "options", "words"),
    [
        ({"AWS_PROFILE": "absent"}, {}, "ProfileNotFound"),
        ({}, {"region": "no region"}, "InvalidRegionError"),
        ({}, {"endpoint": "http://under_score:9000"}, "ValueError"),
    ],
)
def test_settings_that_boto3_refuses(
    monkeypatch: pytest.MonkeyPatch, env: dict[str, str], options: dict[str, Any], words: str
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with (
        provider("http://127.0.0.1:1", **options) as storage,
        pytest.raises(infra.ConfigurationError, match=f"as it is set .{words}"),
    ):
        storage.exists(BUCKET, KEY)


@pytest.mark.parametrize("name", ["access_key", "secret_key", "session_token"])
def test_a_key_with_the_line_break_of_its_file(name: str) -> None:
    for wrong in (f"{SECRET}\n", f" {SECRET}", f"{SECRET}\0"):
        with pytest.raises(
            infra.ConfigurationError, match=f"S3StorageConfig.{name} .* without line breaks"
        ) as caught:
            infra.S3StorageConfig(**{"access_key": ACCESS, "secret_key": SECRET, name: wrong})  # type: ignore[arg-type]
        assert SECRET not in str(caught.value)


def test_wrong_arguments() -> None:
    for wrong in ("http://store", {"region": "x"}, 5):
        with pytest.raises(infra.ConfigurationError, match="S3StorageConfig"):
            infra.S3StorageProvider(wrong)  # type: ignore[arg-type]
    for size in (0, PART - 1, (5 << 30) + 1, 1e7, None):
        for name in ("part_size", "copy_part_size"):
            for kind in (infra.S3StorageProvider, fakes.FakeStorageProvider):
                with pytest.raises(infra.ConfigurationError, match=f"^{name}"):
                    kind(**{name: size})  # type: ignore[arg-type]
    for kind in (infra.S3StorageProvider, fakes.FakeStorageProvider):
        with pytest.raises(
            infra.ConfigurationError, match=r"^keeps_folders should be True or False"
        ):
            kind(keeps_folders="yes")  # type: ignore[arg-type]
    for absent in ("/absent.pem", Path("/absent.pem"), "system"):  # the last is sslrootcert's word
        with pytest.raises(infra.ConfigurationError, match=r"^ca_file .* readable PEM file"):
            infra.S3StorageProvider(ca_file=absent)
    with pytest.raises(infra.ConfigurationError, match=r"^ca_file should name PEM files"):
        infra.S3StorageProvider(ca_file=__file__)


def test_a_number_is_no_file_of_certificates() -> None:
    """Python takes one for a descriptor: it would read the file behind it, and close it."""
    descriptor = os.open(os.devnull, os.O_RDONLY)
    try:
        for wrong in (descriptor, b"/ca.pem", "", "a\0b", ["a"], io.BytesIO(), False, True):
            with pytest.raises(infra.ConfigurationError, match=r"^ca_file should be the path"):
                infra.S3StorageProvider(ca_file=wrong)  # type: ignore[arg-type]
            os.fstat(descriptor)
    finally:
        os.close(descriptor)


# --- TLS


def test_over_https(certificates: Path) -> None:
    with (
        StrictS3(certificates) as server,
        provider(server, ca_file=certificates / "ca.pem") as storage,
    ):
        storage.create_bucket(BUCKET)
        storage.upload(BUCKET, KEY, some(PART + 1), metadata={"a": "b"})
        storage.upload(BUCKET, "small", io.BytesIO(b"x"))
        storage.copy(BUCKET, KEY, BUCKET, "copied")
        assert storage.download(BUCKET, "copied") == some(PART + 1)
        with storage.open(BUCKET, KEY) as reader:
            assert reader.read(9) == some(9)
        assert [each.key for each in storage.list_objects(BUCKET)] == ["copied", "small", KEY]
        assert storage.delete_batch(BUCKET, ["copied", "small", KEY]).errors == {}
        assert storage.health_check().server == "Strict/1.0"


def test_certificates_that_are_refused(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with StrictS3(certificates) as server:
        server.buckets[BUCKET] = {}
        elsewhere = server.url.replace("localhost", "127.0.0.1")
        for url, authority in ((server.url, "other"), (elsewhere, "ca"), (server.url, None)):
            ca_file = str(certificates / f"{authority}.pem") if authority else None
            with provider(url, ca_file=ca_file) as storage:
                with pytest.raises(
                    infra.ConnectionError, match="its certificate was refused"
                ) as caught:
                    storage.exists(BUCKET, KEY)
                assert caught.value.retryable is False
        assert server.asked == []
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificates / "ca.pem"))
        with provider(server) as storage:
            assert storage.exists(BUCKET, KEY) is False


@pytest.mark.parametrize(("answer", "words", "retryable"), PROXY_REFUSALS)
def test_a_proxy_that_refuses(
    monkeypatch: pytest.MonkeyPatch, no_proxies: None, answer: bytes, words: str, retryable: bool
) -> None:
    with HttpsProxy(0, answer) as proxy, provider("https://localhost:1") as storage:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(infra.ConnectionError) as caught:
            storage.upload(BUCKET, KEY, b"x")
        text = f"storage could not be reached: the proxy of HTTPS_PROXY {words}"
        assert (str(caught.value), caught.value.retryable) == (text, retryable)
        assert len(proxy.asked) == (4 if retryable else 1)


@pytest.mark.parametrize("name", WRONG_PROXIES)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, no_proxies: None, scheme: str, name: str
) -> None:
    variable = f"{scheme.upper()}_PROXY"
    monkeypatch.setenv(variable, name)
    with (
        provider(f"{scheme}://localhost:1") as storage,
        pytest.raises(infra.ConfigurationError, match=f"^{variable} should be .* But it"),
    ):
        storage.upload(BUCKET, KEY, b"x")


CALLS = {
    "upload": lambda storage: storage.upload(BUCKET, KEY, b"x"),
    "download": lambda storage: storage.download(BUCKET, KEY),
    "exists": lambda storage: storage.exists(BUCKET, KEY),
    "delete_batch": lambda storage: storage.delete_batch(BUCKET, [KEY]),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("early", "words"),
    [
        (True, "could not be reached: it refused the handshake, and may want a client certificate"),
        (False, "ended the connection: it wants a client certificate"),
    ],
)
def test_a_store_that_wants_a_client_certificate(
    certificates: Path, call: str, early: bool, words: str
) -> None:
    with (
        StrictS3(certificates) as server,
        provider(server, ca_file=certificates / "ca.pem") as storage,
    ):
        server.want_certificate(early=early)
        with pytest.raises(infra.ConnectionError) as caught:
            CALLS[call](storage)
        assert str(caught.value) == f"storage {words}, for which there is no setting"
        assert (caught.value.retryable, server.connections) == (False, 1)


@pytest.mark.parametrize("call", CALLS)
def test_a_store_that_ends_the_connection_when_tls_stands(certificates: Path, call: str) -> None:
    with (
        StrictS3(certificates) as server,
        provider(server, ca_file=certificates / "ca.pem") as storage,
    ):
        server.brief = True
        with pytest.raises(infra.ConnectionError, match="storage ended the connection") as caught:
            CALLS[call](storage)
        assert (caught.value.retryable, server.connections) == (True, 4)


# --- answers that are lost

LOST: dict[str, tuple[list[str], Callable[[infra.S3StorageProvider], Any], Any]] = {
    "upload": (["put_object"], lambda s: s.upload(BUCKET, "new", b"x"), None),
    "upload in parts": (
        ["create_multipart_upload", "upload_part", "complete_multipart_upload"],
        lambda s: s.upload(BUCKET, "new", io.BytesIO(some(PART + 1))),
        None,
    ),
    "download": (["get_object"], lambda s: s.download(BUCKET, KEY), b"as it was"),
    "open": (["get_object"], lambda s: s.open(BUCKET, KEY).close(), None),
    "exists": (["head_object"], lambda s: s.exists(BUCKET, KEY), True),
    "get_metadata": (["head_object"], lambda s: s.get_metadata(BUCKET, KEY).size, 9),
    "list_objects": (
        ["list_objects"],
        lambda s: [each.key for each in s.list_objects(BUCKET)],
        [KEY],
    ),
    "delete": (["delete_object"], lambda s: s.delete(BUCKET, KEY), None),
    "delete_batch": (["delete_objects"], lambda s: s.delete_batch(BUCKET, [KEY]).deleted, [KEY]),
    "copy": (["head_object", "copy_object"], lambda s: s.copy(BUCKET, KEY, BUCKET, "new"), None),
    "create_bucket": (["create_bucket"], lambda s: s.create_bucket("a-new-one"), None),
    "health_check": (["list_buckets"], lambda s: s.health_check().server, "Strict/1.0"),
}


@pytest.mark.parametrize("name", LOST)
def test_a_lost_answer_is_asked_for_again(
    stand_in: StrictS3, storage: infra.S3StorageProvider, name: str
) -> None:
    operations, call, expected = LOST[name]
    for operation in operations:
        stand_in.bad_day(operation, LOSE)
    assert call(storage) == expected
    for operation in operations:  # the object in parts is looked at, because the upload is gone
        assert stand_in.asked.count(operation) == (3 if operation == "upload_part" else 2), (
            operation
        )
    # Begun twice, without a part.
    assert len(stand_in.uploads) == ("create_multipart_upload" in operations)
    assert all(parts == {} for _, parts in stand_in.uploads.values())
    if "upload" in name:
        assert storage.download(BUCKET, "new") == (b"x" if name == "upload" else some(PART + 1))


def test_an_upload_whose_end_is_not_known_is_an_error(
    stand_in: StrictS3, storage: infra.S3StorageProvider
) -> None:
    """Somebody has written another object in between, and the upload is gone."""

    def other(server: StrictS3) -> str:
        server.put_object(BUCKET, KEY, {}, {}, b"another")
        server.uploads.clear()
        return LOSE

    stand_in.bad_day("complete_multipart_upload", other, None)
    with pytest.raises(infra.NotFoundError) as caught:
        storage.upload(BUCKET, KEY, some(PART + 1))
    assert caught.value.resource == "upload"
    assert storage.download(BUCKET, KEY) == b"another"


# --- uploads and copies that fail half-way


@pytest.mark.parametrize("operation", ["upload_part", "complete_multipart_upload"])
def test_a_failed_upload_leaves_no_part(
    stand_in: StrictS3, storage: infra.S3StorageProvider, operation: str
) -> None:
    stand_in.bad_day(operation, Refusal(403, "AccessDenied"))
    file = io.BytesIO(some(2 * PART + 1))
    with pytest.raises(infra.StorageError, match="AccessDenied") as caught:
        storage.upload(BUCKET, KEY, file)
    assert (caught.value.operation, file.closed, stand_in.uploads) == ("upload", False, {})
    assert storage.download(BUCKET, KEY) == b"as it was"
    storage.upload(BUCKET, KEY, file)  # what is left of it
    assert file.tell() == 2 * PART + 1


@pytest.mark.parametrize("operation", ["upload_part_copy", "complete_multipart_upload"])
def test_a_failed_copy_leaves_no_part(
    stand_in: StrictS3, storage: infra.S3StorageProvider, operation: str
) -> None:
    storage.upload(BUCKET, "large", some(PART + 1))
    stand_in.bad_day(operation, Refusal(403, "AccessDenied"))
    with pytest.raises(infra.StorageError, match="AccessDenied") as caught:
        storage.copy(BUCKET, "large", BUCKET, KEY)
    assert (caught.value.operation, stand_in.uploads) == ("copy", {})
    assert storage.download(BUCKET, KEY) == b"as it was"


def test_a_copy_of_what_changes_meanwhile(
    stand_in: StrictS3, storage: infra.S3StorageProvider
) -> None:
    storage.upload(BUCKET, "large", some(PART + 1))
    stand_in.bad_day(
        "upload_part_copy",
        None,
        lambda s: s.put_object(BUCKET, "large", {}, {}, some(PART + 2)) and None,
    )
    with pytest.raises(infra.StorageError, match="PreconditionFailed"):
        storage.copy(BUCKET, "large", BUCKET, KEY)
    assert (stand_in.uploads, storage.download(BUCKET, KEY)) == ({}, b"as it was")


def test_a_copy_in_parts_keeps_what_a_copy_keeps(
    stand_in: StrictS3, storage: infra.S3StorageProvider
) -> None:
    storage.upload(BUCKET, "large", some(PART + 1), "text/csv", {"a": "b"})
    stand_in.buckets[BUCKET]["large"].headers["Cache-Control"] = "max-age=60"
    storage.copy(BUCKET, "large", BUCKET, "copied")
    headers = stand_in.buckets[BUCKET]["copied"].headers
    assert (headers["Content-Type"], headers["Cache-Control"]) == ("text/csv", "max-age=60")
    assert storage.get_metadata(BUCKET, "copied").metadata == {"a": "b"}
    assert stand_in.asked.count("upload_part_copy") == 2


def test_an_upload_that_cannot_be_ended_says_so(
    stand_in: StrictS3, storage: infra.S3StorageProvider, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in.bad_day("abort_multipart_upload", Refusal(403, "AccessDenied"))
    with pytest.raises(OSError, match="the disk is gone"):
        storage.upload(BUCKET, KEY, Broken(2 * PART))
    assert "storage upload: an unfinished upload may be left (StorageError)" in caplog.text
    assert len(stand_in.uploads) == 1


class FewParts(infra.S3StorageProvider):
    MOST_PARTS = 2


def test_more_parts_than_there_may_be(stand_in: StrictS3) -> None:
    assert infra.S3StorageProvider.MOST_PARTS == 10_000
    usual = provider(stand_in)
    storage = FewParts(usual.config, part_size=PART, copy_part_size=PART)
    with pytest.raises(infra.StorageError, match="at most 2 parts: give a larger part_size"):
        storage.upload(BUCKET, KEY, some(2 * PART + 1))
    assert stand_in.uploads == {}
    storage.upload(BUCKET, "large", some(2 * PART))
    stand_in.buckets[BUCKET]["large"] = stand_in.buckets[BUCKET]["large"].__class__(
        some(2 * PART + 9), {}, "etag"
    )
    storage.copy(BUCKET, "large", BUCKET, "copied")  # in larger ones
    assert stand_in.asked.count("upload_part_copy") == 2
    assert storage.download(BUCKET, "copied") == some(2 * PART + 9)
    storage.close()


# --- reading what is cut


@pytest.mark.parametrize("how", ["download", "download_to", "open"])
def test_a_cut_in_the_middle(
    stand_in: StrictS3, storage: infra.S3StorageProvider, how: str
) -> None:
    storage.upload(BUCKET, KEY, some(1_000_000))
    stand_in.bad_day("get_object", CUT, CUT, None)
    file = io.BytesIO()
    if how == "download":
        file.write(storage.download(BUCKET, KEY))
    elif how == "download_to":
        storage.download_to(BUCKET, KEY, file)
    else:
        with storage.open(BUCKET, KEY) as reader:
            file.write(reader.read())
    assert file.getvalue() == some(1_000_000)
    assert stand_in.asked.count("get_object") == 3
    assert ("Range" in stand_in.headers_of["get_object"]) is (how != "download")


def test_a_cut_after_which_the_object_is_another(
    stand_in: StrictS3, storage: infra.S3StorageProvider
) -> None:
    storage.upload(BUCKET, KEY, some(1_000_000))
    stand_in.bad_day(
        "get_object", CUT, lambda s: s.put_object(BUCKET, KEY, {}, {}, some(1_000_001)) and None
    )
    with (
        storage.open(BUCKET, KEY) as reader,
        pytest.raises(infra.StorageError, match="PreconditionFailed") as caught,
    ):
        reader.read()
    assert caught.value.operation == "open"


def test_a_store_that_cannot_go_on_in_the_middle(
    stand_in: StrictS3, storage: infra.S3StorageProvider
) -> None:
    storage.upload(BUCKET, KEY, some(1_000_000))
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + some(1_000_000)
    stand_in.bad_day("get_object", CUT, whole)
    with pytest.raises(infra.StorageError, match="cannot go on"):
        storage.download_to(BUCKET, KEY, io.BytesIO())


def test_a_file_that_takes_no_more(storage: infra.S3StorageProvider) -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError("no space left")

    storage.upload(BUCKET, KEY, some(1_000_000))
    file = Full()
    with pytest.raises(OSError, match="no space left"):
        storage.download_to(BUCKET, KEY, file)
    assert not file.closed
    assert storage.download(BUCKET, KEY) == some(1_000_000)


# --- lists and batches


def test_lists_are_lazy(stand_in: StrictS3, storage: infra.S3StorageProvider) -> None:
    fake = fakes.FakeStorageProvider()
    fake.create_bucket(BUCKET)
    for number in range(2500):
        stand_in.put_object(BUCKET, f"{number:04}", {}, {}, b"")
        fake.upload(BUCKET, f"{number:04}", b"")
    storage.delete(BUCKET, KEY)
    for each in (storage, fake):
        listed = each.list_objects(BUCKET)
        first = [next(listed).key for _ in range(1000)]
        each.delete(BUCKET, "2400")  # nobody has asked for it yet
        rest = [found.key for found in listed]
        assert (len(first), len(rest), "2400" in rest) == (1000, 1499, False)
    assert stand_in.asked.count("list_objects") == 3
    assert len([*storage.list_objects(BUCKET, max_keys=1000)]) == 1000
    assert stand_in.asked.count("list_objects") == 4


def test_pages_without_objects_and_lists_without_end(
    stand_in: StrictS3, storage: infra.S3StorageProvider
) -> None:
    def page(token: str) -> bytes:
        body = (
            "<ListBucketResult><Name>b</Name><IsTruncated>true</IsTruncated>"
            f"{token}</ListBucketResult>"
        )
        return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()

    empty = page("<NextContinuationToken>00</NextContinuationToken>")
    stand_in.bad_day("list_objects", empty, None)
    assert [each.key for each in storage.list_objects(BUCKET)] == [KEY]
    stand_in.bad_day("list_objects", empty, empty)
    with pytest.raises(infra.StorageError, match="does not say how to go on"):
        list(storage.list_objects(BUCKET))
    stand_in.bad_day("list_objects", page(""))
    with pytest.raises(infra.StorageError, match="does not say how to go on"):
        list(storage.list_objects(BUCKET))


@pytest.mark.parametrize("real", [False, True])
def test_one_failing_key_among_a_thousand(
    stand_in: StrictS3, storage: infra.S3StorageProvider, real: bool
) -> None:
    fake = fakes.FakeStorageProvider()
    fake.create_bucket(BUCKET)
    fake.denied.add((BUCKET, "0500"))
    stand_in.undeletable.add("0500")
    each: infra.StorageProvider = storage if real else fake
    each.upload(BUCKET, "0500", b"x")
    each.upload(BUCKET, "0999", b"x")
    keys = [f"{number:04}" for number in range(1001)]
    result = each.delete_batch(BUCKET, keys)
    assert result == infra.DeleteResult(
        [key for key in keys if key != "0500"], {"0500": "AccessDenied"}
    )
    assert (each.exists(BUCKET, "0500"), each.exists(BUCKET, "0999")) == (True, False)
    with pytest.raises(infra.StorageError, match=r"\(HTTP 403, AccessDenied\)") as caught:
        each.delete(BUCKET, "0500")
    assert caught.value.code == "AccessDenied"
    if real:
        assert stand_in.asked.count("delete_objects") == 2


def test_a_batch_of_nothing_asks_nobody(
    stand_in: StrictS3, storage: infra.S3StorageProvider
) -> None:
    assert storage.delete_batch(BUCKET, []) == infra.DeleteResult([], {})
    assert stand_in.asked == []


def test_a_store_without_batches(stand_in: StrictS3, storage: infra.S3StorageProvider) -> None:
    stand_in.undeletable.add("b")
    stand_in.bad_day(
        "delete_objects", Refusal(501, "NotImplemented"), Refusal(405, "MethodNotAllowed")
    )
    for _ in range(2):
        result = storage.delete_batch(BUCKET, [KEY, "b", "absent"])
        assert result == infra.DeleteResult([KEY, "absent"], {"b": "AccessDenied"})
    assert stand_in.asked.count("delete_object") == 6


def test_a_batch_whose_errors_name_no_key(
    stand_in: StrictS3, storage: infra.S3StorageProvider
) -> None:
    body = b"<DeleteResult><Error><Code>AccessDenied</Code></Error></DeleteResult>"
    stand_in.bad_day(
        "delete_objects", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    with pytest.raises(infra.StorageError, match="does not say which keys"):
        storage.delete_batch(BUCKET, [KEY])


def test_a_store_that_keeps_folders(
    service: Callable[[str], str], s3: Callable[[str], infra.S3StorageProvider]
) -> None:
    """The gateway's batch leaves folders behind, and reports a folder as deleted that stays."""
    cleaning, bucket = s3("s3"), f"test-{uuid.uuid4().hex[:20]}"
    with infra.S3StorageProvider(cleaning.config) as usual:
        usual.create_bucket(bucket)

        def listed() -> list[str]:
            return [each.key for each in usual.list_objects(bucket)]

        for storage, left in ((usual, ["a/b/", "c/d"]), (cleaning, ["c/d"])):
            for key in ("a/b/1", "a/b/2", "c/d"):
                storage.upload(bucket, key, b"x")
            assert storage.delete_batch(bucket, ["a/b/1", "a/b/2"]).errors == {}
            assert listed() == left
            usual.delete_batch(bucket, left)
            usual.delete_batch(bucket, ["a/b/", "c/"])
            assert listed() == []
            storage.upload(bucket, "f/", b"")
            storage.upload(bucket, "f/in", b"x")
            assert storage.delete_batch(bucket, ["f/in"]).errors == {}
            assert listed() == (["f/"] if storage is usual else [])
            assert storage.delete_batch(bucket, ["f/"]) == infra.DeleteResult(["f/"], {})
            assert listed() == []
        remove_bucket(cleaning, bucket)


@pytest.mark.parametrize("twin", ["gateway", "fake"])
def test_what_is_deleted_of_a_store_that_keeps_folders(request: Any, twin: str) -> None:
    """Those that a batch empties go, and no other."""
    bucket = f"test-{uuid.uuid4().hex[:20]}"
    storage: infra.StorageProvider = (
        fakes.FakeStorageProvider(keeps_folders=True)
        if twin == "fake"
        else request.getfixturevalue("s3")("s3")
    )

    def listed() -> list[str]:
        return [each.key for each in storage.list_objects(bucket)]

    storage.create_bucket(bucket)
    for key in ("f/", "f/in", "g/", "g/h/in", "g/top"):
        storage.upload(bucket, key, b"x" if key[-1] != "/" else b"")
    assert storage.delete_batch(bucket, ["g/h/in"]).errors == {}
    assert listed() == ["f/", "f/in", "g/", "g/top"]
    storage.delete(bucket, "f/")
    assert storage.delete_batch(bucket, ["g/top"]).errors == {}
    assert listed() == ["f/in"]
    assert storage.delete_batch(bucket, ["f/in", "absent/", "never/was"]).errors == {}
    assert listed() == []
    if isinstance(storage, infra.S3StorageProvider):
        remove_bucket(storage, bucket)


def test_what_a_batch_leaves_of_folders(stand_in: StrictS3) -> None:
    """A folder that somebody fills meanwhile is no error, and what holds bytes is no folder."""
    with provider(stand_in, keeps_folders=True) as storage:
        for key in ("f/", "f/in", "full/", "full/in"):
            storage.upload(BUCKET, key, b"x" if key == "full/" else b"")
        stand_in.bad_day("delete_object", b"HTTP/1.1 204 No Content\r\n\r\n")
        assert storage.delete_batch(BUCKET, ["f/in", "full/in"]).errors == {}
        assert [each.key for each in storage.list_objects(BUCKET)] == ["f/", "full/"]
    with provider(stand_in) as usual:
        usual.upload(BUCKET, "f/in", b"")
        usual.delete_batch(BUCKET, ["f/in"])
        assert [each.key for each in usual.list_objects(BUCKET)] == ["f/", "full/"]


@pytest.mark.parametrize("operation", ["delete_object", "list_objects"])
def test_folders_that_may_not_be_removed(stand_in: StrictS3, operation: str) -> None:
    """The objects are deleted: that their folders stay is no error."""
    with provider(stand_in, keeps_folders=True) as storage:
        for key in ("f/", "f/in"):
            storage.upload(BUCKET, key, b"x" if key == "f/in" else b"")
        stand_in.bad_day(operation, Refusal(403, "AccessDenied"))
        assert storage.delete_batch(BUCKET, ["f/in"]) == infra.DeleteResult(["f/in"], {})
        assert [each.key for each in storage.list_objects(BUCKET)] == ["f/"]
    fake = fakes.FakeStorageProvider(keeps_folders=True)
    fake.create_bucket(BUCKET)
    fake.upload(BUCKET, "f/", b"")
    fake.upload(BUCKET, "f/in", b"x")
    fake.denied.add((BUCKET, "f/"))
    assert fake.delete_batch(BUCKET, ["f/in"]) == infra.DeleteResult(["f/in"], {})
    assert [each.key for each in fake.list_objects(BUCKET)] == ["f/"]


def test_folders_of_keys_that_no_batch_can_hold(stand_in: StrictS3) -> None:
    """They go too: of a key that XML cannot say, and where the store has no batches."""
    with provider(stand_in, keeps_folders=True) as storage:
        for key in ("f/", "f/\x01", "g/", "g/in"):
            storage.upload(BUCKET, key, b"" if key.endswith("/") else b"x")
        assert storage.delete_batch(BUCKET, ["f/\x01"]).errors == {}
        assert [each.key for each in storage.list_objects(BUCKET)] == ["g/", "g/in"]
        stand_in.bad_day("delete_objects", Refusal(501, "NotImplemented"))
        assert storage.delete_batch(BUCKET, ["g/in"]).errors == {}
        assert [*storage.list_objects(BUCKET)] == []


def test_a_folder_that_stays_is_not_called_deleted(
    stand_in: StrictS3, storage: infra.S3StorageProvider
) -> None:
    """A store that keeps folders may say that it has deleted one, and keep it."""
    storage.upload(BUCKET, "f/", b"")
    deleted = b"HTTP/1.1 204 No Content\r\n\r\n"
    stand_in.bad_day("delete_object", deleted, deleted)
    assert storage.delete_batch(BUCKET, ["f/", KEY]) == infra.DeleteResult(
        [KEY], {"f/": "FolderNotEmpty"}
    )
    with pytest.raises(infra.StorageError, match="may not be empty") as caught:
        storage.delete(BUCKET, "f/")
    assert (caught.value.code, caught.value.retryable) == ("FolderNotEmpty", False)
    storage.delete(BUCKET, "f/")
    assert [*storage.list_objects(BUCKET)] == []


@pytest.mark.parametrize(
    ("region", "refusals", "sent"),
    [
        ("us-east-1", [], [b""]),
        ("eu-north-1", [], [b"eu-north-1"]),
        ("here", ["InvalidLocationConstraint"], [b"here", b""]),
        ("here", ["InvalidLocationConstraint", "BucketAlreadyOwnedByYou"], [b"here", b""]),
    ],
)
def test_where_a_bucket_is_created(
    stand_in: StrictS3,
    monkeypatch: pytest.MonkeyPatch,
    region: str,
    refusals: list[str],
    sent: list[bytes],
) -> None:
    """A store that knows no regions refuses the location, and is asked once more without it."""
    found, left, create = list[bytes](), [*refusals], stand_in.create_bucket

    def created(bucket: str, *rest: Any) -> Any:
        place = re.search(rb"<LocationConstraint>(.*)</LocationConstraint>", rest[-1])
        found.append(place[1] if place else b"")
        if left:
            raise Refusal(400, left.pop(0))
        return create(bucket, *rest)

    monkeypatch.setattr(stand_in, "create_bucket", created)
    with provider(stand_in, region=region) as storage:
        storage.create_bucket("a-new-one")
    assert found == sent


def test_a_bucket_of_somebody_else(stand_in: StrictS3, storage: infra.S3StorageProvider) -> None:
    storage.create_bucket(BUCKET)
    stand_in.bad_day("create_bucket", Refusal(409, "BucketAlreadyExists"))
    with pytest.raises(infra.StorageError, match="BucketAlreadyExists"):
        storage.create_bucket(BUCKET)


def test_health_without_the_right_to_see_buckets(
    stand_in: StrictS3, storage: infra.S3StorageProvider
) -> None:
    stand_in.bad_day(
        "list_buckets", Refusal(403, "AccessDenied"), Refusal(403, "InvalidAccessKeyId")
    )
    assert storage.health_check().server == "S3 protocol"
    with pytest.raises(infra.StorageError, match="InvalidAccessKeyId"):
        storage.health_check()


# --- presigned URLs


def test_a_presigned_url_ends(
    service: Callable[[str], str], s3: Callable[[str], infra.S3StorageProvider]
) -> None:
    storage, clock = s3("s3"), fakes.FakeClock()
    fake = fakes.FakeStorageProvider(clock=clock)
    bucket = f"test-{int(time.time() * 1e6)}"
    for each in (storage, fake):
        each.create_bucket(bucket)
        each.upload(bucket, "k", b"x")
    url, short = (storage.get_presigned_url(bucket, "k", seconds) for seconds in (60, 1))
    fake_url = fake.get_presigned_url(bucket, "k", 60)
    assert (over_http(url), fake.fetch(fake_url)) == ((200, b"x"), b"x")
    eventually(lambda: over_http(short)[0] == 403)
    clock.advance(59.9)
    assert fake.fetch(fake_url) == b"x"
    clock.advance(0.1)
    with pytest.raises(infra.StorageError, match="HTTP 403, AccessDenied"):
        fake.fetch(fake_url)
    remove_bucket(storage, bucket)


def test_presigned_urls_name_the_host_that_clients_see(stand_in: StrictS3) -> None:
    with provider("http://internal.invalid:9000", public_endpoint=stand_in.url) as storage:
        url = storage.get_presigned_url(BUCKET, "a b", 60)
        assert url.startswith(f"{stand_in.url}/{BUCKET}/a%20b?")
        assert "internal" not in url
        stand_in.put_object(BUCKET, "a b", {}, {}, b"x")
        assert over_http(url) == (200, b"x")
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
        assert query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
        assert query["X-Amz-Credential"].startswith(f"{ACCESS}/")
        assert SECRET not in url


def test_a_public_endpoint_in_front_of_the_gateway(service: Callable[[str], str]) -> None:
    inside = service("s3")
    outside = inside.replace("127.0.0.1", "localhost")
    with infra.S3StorageProvider(s3_config(inside, public_endpoint=outside)) as storage:
        bucket = f"test-{int(time.time() * 1e6)}"
        storage.create_bucket(bucket)
        storage.upload(bucket, "k", b"x")
        url = storage.get_presigned_url(bucket, "k", 60)
        assert url.startswith(outside)
        assert over_http(url) == (200, b"x")
        # It is signed for that host.
        assert over_http(url.replace("localhost", "127.0.0.1"))[0] == 403
        remove_bucket(storage, bucket)


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_presigned_urls_of_aws(method: str) -> None:
    for region, bucket, start in (
        ("eu-north-1", "bkt", "https://bkt.s3.eu-north-1.amazonaws.com/a%20b?"),
        # No certificate is for it.
        (
            "eu-north-1",
            "my.bkt",
            "https://s3.eu-north-1.amazonaws.com/my.bkt/a%20b?",
        ),
        ("us-east-1", "bkt", "https://bkt.s3.amazonaws.com/a%20b?"),
    ):
        config = infra.S3StorageConfig(
            region, access_key=ACCESS, secret_key=SECRET, session_token="a-session"
        )
        with infra.S3StorageProvider(config) as storage:
            url = storage.get_presigned_url(bucket, "a b", 60, method)
        assert url.startswith(start)
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
        assert set(query) == {"X-Amz-Security-Token"} | {
            f"X-Amz-{name}"
            for name in ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature")
        }
        assert (query["X-Amz-Expires"], f"/{region}/s3/" in query["X-Amz-Credential"]) == (
            "60",
            True,
        )


def test_presigned_urls_of_the_fake_can_be_read() -> None:
    fake = fakes.FakeStorageProvider(clock=fakes.FakeClock())
    fake.create_bucket(BUCKET)
    url = fake.get_presigned_url(BUCKET, "a/é b", 90, "PUT")
    parts = urllib.parse.urlsplit(url)
    query = dict(urllib.parse.parse_qsl(parts.query))
    assert (parts.scheme, urllib.parse.unquote(parts.path)) == ("https", "/a/é b")
    assert (query["X-Amz-Expires"], query["X-Amz-Date"], query["method"]) == (
        "90",
        "20260101T000000Z",
        "PUT",
    )
    assert fake.fetch(url, "PUT", b"x", "text/plain") == b""
    assert fake.get_metadata(BUCKET, "a/é b").content_type == "text/plain"
    fake.down = True
    with pytest.raises(infra.ConnectionError):
        fake.fetch(url, "PUT")
    for wrong in ("https://example.com/k", "", url + "&X-Amz-Expires=1000"):
        fake.down = False
        with pytest.raises(infra.StorageError, match="SignatureDoesNotMatch"):
            fake.fetch(wrong, "PUT")


# --- secrets, processes, memory


def test_nothing_secret_is_told(
    stand_in: StrictS3, storage: infra.S3StorageProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "infra")
    calls: list[infra.Call] = []
    told = [repr(storage)]
    for day in (
        LOSE,
        Refusal(403, "AccessDenied"),
        Refusal(500, KEY),
        b"junk",
        Refusal(404, "NoSuchKey"),
    ):
        for operation in (
            "put_object",
            "get_object",
            "head_object",
            "list_objects",
            "delete_objects",
            "copy_object",
        ):
            stand_in.bad_day(operation, *[day] * 4)
        for call in (
            lambda: storage.upload(BUCKET, KEY, b"tell-nobody", metadata={"a": "tell-nobody"}),
            lambda: storage.download(BUCKET, KEY),
            lambda: storage.get_metadata(BUCKET, KEY),
            lambda: [*storage.list_objects(BUCKET, KEY)],
            lambda: storage.delete_batch(BUCKET, [KEY]),
            lambda: storage.copy(BUCKET, KEY, BUCKET, "other"),
        ):
            try:
                call()
            except infra.InfrastructureError as error:
                told += [
                    str(error),
                    repr(error),
                    "".join(traceback.format_exception(error)),
                    repr(error.__cause__),
                ]
    told += [
        caplog.text,
        repr([vars(record) for record in caplog.records if record.name == "infra"]),
        repr(calls),
    ]
    assert len(told) > 50
    # Lines of this file.
    sources = re.sub(r'(?m)^ +.*"tell-nobody.*$|^ +.*BUCKET.*$|^ +[~^]+$', "", "\n".join(told))
    for secret in ("tell-nobody", SECRET, ACCESS, stand_in.url, f":{stand_in.port}"):
        assert secret not in sources


def test_closing_does_not_wait_for_credentials(
    stand_in: StrictS3, slow_credentials: SlowCredentials
) -> None:
    storage = provider(stand_in, access_key=None, secret_key=None)
    slow_credentials.check_closing(lambda: storage.exists(BUCKET, KEY), storage.close)


def test_the_drivers_own_loggers_are_left_alone(storage: infra.S3StorageProvider) -> None:
    storage.download(BUCKET, KEY)
    assert logging.getLogger("botocore").level == logging.NOTSET


def test_a_forgotten_provider_warns(stand_in: StrictS3) -> None:
    held = [provider(stand_in)]
    held[0].exists(BUCKET, KEY)

    def forget() -> None:
        held.clear()
        gc.collect()

    with pytest.warns(ResourceWarning, match="S3StorageProvider was not closed"):
        forget()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unused = provider(stand_in)
        del unused
        gc.collect()


def test_a_forgotten_provider_is_closed_at_once(stand_in: StrictS3) -> None:
    """Nothing that it holds refers to it, so it does not wait for the garbage collector."""
    held = [provider(stand_in)]
    held[0].exists(BUCKET, KEY)
    gc.disable()
    try:
        with pytest.warns(ResourceWarning, match="S3StorageProvider was not closed"):
            held.clear()
    finally:
        gc.enable()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(
    stand_in: StrictS3, storage: infra.S3StorageProvider
) -> None:
    storage.upload(BUCKET, KEY, some(2_000_000))
    with storage.open(BUCKET, KEY) as reader:
        assert reader.read(1000) == some(1000)
        before = stand_in.connections

        def child() -> None:
            assert storage.exists(BUCKET, KEY)
            assert reader.read() == some(2_000_000)[1000:]
            storage.close()

        in_child(child)
        assert stand_in.connections == before + 1
        assert reader.read() == some(2_000_000)[1000:]
    assert storage.download(BUCKET, KEY) == some(2_000_000)


MEMORY = """
import io, resource, sys
sys.path.insert(0, sys.argv[1])
import infra

SIZE = 100 << 20

class Endless(io.RawIOBase):
    left = SIZE
    def read(self, size=-1):
        size = min(size, self.left)
        self.left -= size
        return bytes(size)

class Sink:
    got = 0
    def write(self, data):
        self.got += len(data)
        return len(data)

config = infra.S3StorageConfig("us-east-1", sys.argv[2], None, *sys.argv[3:5])
storage = infra.S3StorageProvider(config)
storage.upload(sys.argv[5], "small", bytes(1000))
storage.download(sys.argv[5], "small")
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = peak()
storage.upload(sys.argv[5], "large", Endless())
uploaded = peak()
sink = Sink()
storage.download_to(sys.argv[5], "large", sink)
assert sink.got == SIZE
storage.close()
print(uploaded - before, peak() - before)
"""


def test_a_hundred_megabytes_in_flat_memory(s3: Callable[[str], infra.S3StorageProvider]) -> None:
    storage = s3("s3")
    bucket = f"test-{int(time.time() * 1e6)}"
    storage.create_bucket(bucket)
    root = str(Path(infra.__file__).parent)
    keys = (storage.config.access_key or "", storage.config.secret_key or "")
    command = [sys.executable, "-c", MEMORY, root, storage.config.endpoint or "", *keys, bucket]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert max(map(int, done.stdout.split())) < 40, done.stdout
    assert storage.get_metadata(bucket, "large").etag.endswith("-13")
    remove_bucket(storage, bucket)
