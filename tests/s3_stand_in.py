"""A strict store on loopback that speaks the part of S3's protocol that the library uses.

It follows the published API (https://docs.aws.amazon.com/AmazonS3/latest/API/). Like many stores it
refuses the checksums that came with boto3 1.36, and a batch of deletions without an MD5. Tests can
make it fail.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import threading
import urllib.parse
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import format_datetime, formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.twilio import StandIn

LOSE, CUT = "lose", "cut"  # do the work and say nothing; say half of it


@dataclass(frozen=True)
class Stored:
    data: bytes
    headers: dict[str, str]
    etag: str
    time: datetime = field(default_factory=lambda: datetime.now(timezone.utc))


class Refusal(Exception):
    """An HTTP status, and a code."""


class StrictS3(StandIn):
    """The server.

    ``bad_day(operation, …)`` replaces the results of the next requests of that kind: by a Refusal,
    raw bytes, LOSE, CUT, or a function that is called with the server before the work is done.
    ``asked`` holds the requests by name.
    """

    def __init__(self, certificates: Path | None = None) -> None:
        self.buckets: dict[str, dict[str, Stored]] = {}
        self.uploads: dict[str, tuple[dict[str, str], dict[int, bytes]]] = {}
        self.undeletable: set[str] = set()
        self.asked: list[str] = []
        self.headers_of: dict[str, Any] = {}
        self.lock = threading.RLock()
        self._ids = itertools.count(1)
        self._days: dict[str, deque[Any]] = defaultdict(deque)
        super().__init__(certificates)

    def forget(self) -> None:
        """All that it holds, and the bad days to come."""
        for each in (self.buckets, self.uploads, self.undeletable, self.headers_of, self._days):
            each.clear()
        self.asked.clear()

    def bad_day(self, operation: str, *what: Any) -> None:
        self._days[operation].extend(what)

    def next_day(self, operation: str) -> Any:
        days = self._days[operation]
        return days.popleft() if days else None

    def of(self, bucket: str) -> dict[str, Stored]:
        if bucket not in self.buckets:
            raise Refusal(404, "NoSuchBucket")
        return self.buckets[bucket]

    def object(self, bucket: str, key: str) -> Stored:
        if key not in self.of(bucket):
            raise Refusal(404, "NoSuchKey")
        return self.buckets[bucket][key]

    def upload(self, id: str) -> tuple[dict[str, str], dict[int, bytes]]:
        if id not in self.uploads:
            raise Refusal(404, "NoSuchUpload")
        return self.uploads[id]

    # --- operations: bucket, key, query, headers, body -> status, headers, body

    def list_buckets(self, *_: Any) -> Any:
        return 200, {}, "<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>"

    def create_bucket(self, bucket: str, *_: Any) -> Any:
        if bucket in self.buckets:
            raise Refusal(409, "BucketAlreadyOwnedByYou")
        self.buckets[bucket] = {}
        return 200, {"Location": f"/{bucket}"}, ""

    def delete_bucket(self, bucket: str, *_: Any) -> Any:
        if self.of(bucket):
            raise Refusal(409, "BucketNotEmpty")
        del self.buckets[bucket]
        return 204, {}, ""

    def list_multipart_uploads(self, *_: Any) -> Any:
        found = "".join(
            f"<Upload><Key>k</Key><UploadId>{id}</UploadId></Upload>" for id in self.uploads
        )
        return 200, {}, f"<ListMultipartUploadsResult>{found}</ListMultipartUploadsResult>"

    def list_objects(self, bucket: str, _: str, query: dict[str, str], *__: Any) -> Any:
        after, prefix, limit = (
            query.get("continuation-token", ""),
            query["prefix"],
            int(query["max-keys"]),
        )
        keys = sorted(
            key
            for key in self.of(bucket)
            if key.startswith(prefix) and key > bytes.fromhex(after).decode()
        )
        shown = "".join(
            f"<Contents><Key>{urllib.parse.quote(key)}</Key>"
            f"<LastModified>{stored.time.isoformat()}</LastModified>"
            f"<ETag>&quot;{stored.etag}&quot;</ETag><Size>{len(stored.data)}</Size></Contents>"
            for key, stored in [(key, self.buckets[bucket][key]) for key in keys[:limit]]
        )
        truncated = "true" if len(keys) > limit else "false"
        more = f"<IsTruncated>{truncated}</IsTruncated><EncodingType>url</EncodingType>"
        if len(keys) > limit:
            more += (
                f"<NextContinuationToken>{keys[limit - 1].encode().hex()}</NextContinuationToken>"
            )
        return 200, {}, f"<ListBucketResult><Name>{bucket}</Name>{more}{shown}</ListBucketResult>"

    def delete_objects(
        self, bucket: str, _: str, __: dict[str, str], headers: Any, body: bytes
    ) -> Any:
        if headers.get("Content-MD5") != base64.b64encode(hashlib.md5(body).digest()).decode():  # noqa: S324
            raise Refusal(400, "InvalidRequest")
        keys = texts(body, "Key")
        if len(keys) > 1000:
            raise Refusal(400, "MalformedXML")
        objects, errors = self.of(bucket), []
        for key in keys:
            if key in self.undeletable:
                errors.append(f"<Error><Key>{escape(key)}</Key><Code>AccessDenied</Code></Error>")
            else:
                objects.pop(key, None)
        return 200, {}, f"<DeleteResult>{''.join(errors)}</DeleteResult>"

    def put_object(self, bucket: str, key: str, _: Any, headers: Any, body: bytes) -> Any:
        etag = hashlib.md5(body).hexdigest()  # noqa: S324
        self.of(bucket)[key] = Stored(body, kept(headers), etag)
        return 200, {"ETag": f'"{etag}"'}, ""

    def copy_object(self, bucket: str, key: str, _: Any, headers: Any, __: bytes) -> Any:
        source = self.object(*source_of(headers))
        self.of(bucket)[key] = Stored(source.data, source.headers, source.etag)
        return (
            200,
            {},
            f"<CopyObjectResult><ETag>&quot;{source.etag}&quot;</ETag></CopyObjectResult>",
        )

    def get_object(self, bucket: str, key: str, _: Any, headers: Any, __: bytes) -> Any:
        found = self.object(bucket, key)
        if headers.get("If-Match", f'"{found.etag}"') != f'"{found.etag}"':
            raise Refusal(412, "PreconditionFailed")
        known = {
            **found.headers,
            "ETag": f'"{found.etag}"',
            "Last-Modified": format_datetime(found.time, usegmt=True),
        }
        if "Range" in headers:
            start, last = re.findall("bytes=([0-9]+)-([0-9]*)$", headers["Range"])[0]
            size = len(found.data)
            part = found.data[int(start) : int(last or size) + 1]
            end = int(start) + len(part) - 1
            return 206, {**known, "Content-Range": f"bytes {start}-{end}/{size}"}, part
        return 200, known, found.data

    head_object = get_object

    def delete_object(self, bucket: str, key: str, *_: Any) -> Any:
        objects = self.of(bucket)
        if key in self.undeletable:
            raise Refusal(403, "AccessDenied")
        objects.pop(key, None)
        return 204, {}, ""

    def create_multipart_upload(
        self, bucket: str, key: str, _: Any, headers: Any, __: bytes
    ) -> Any:
        self.of(bucket)
        id = str(next(self._ids))
        self.uploads[id] = kept(headers), {}
        return (
            200,
            {},
            f"<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>",
        )

    def upload_part(
        self, bucket: str, key: str, query: dict[str, str], headers: Any, body: bytes
    ) -> Any:
        self.upload(query["uploadId"])[1][int(query["partNumber"])] = body
        return 200, {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}, ""  # noqa: S324

    def upload_part_copy(
        self, bucket: str, key: str, query: dict[str, str], headers: Any, _: bytes
    ) -> Any:
        source = self.object(*source_of(headers))
        if headers["x-amz-copy-source-if-match"] != f'"{source.etag}"':
            raise Refusal(412, "PreconditionFailed")
        first, last = map(int, headers["x-amz-copy-source-range"].removeprefix("bytes=").split("-"))
        if not 0 <= first <= last < len(source.data):
            raise Refusal(400, "InvalidRange")
        _, answer, _ = self.upload_part(bucket, key, query, headers, source.data[first : last + 1])
        return 200, {}, f"<CopyPartResult><ETag>{answer['ETag']}</ETag></CopyPartResult>"

    def complete_multipart_upload(
        self, bucket: str, key: str, query: dict[str, str], _: Any, body: bytes
    ) -> Any:
        headers, parts = self.upload(query["uploadId"])
        numbers = [int(text) for text in texts(body, "PartNumber")]
        if numbers != sorted(parts):
            raise Refusal(400, "InvalidPart")
        if any(len(parts[number]) < 5 << 20 for number in numbers[:-1]):
            raise Refusal(400, "EntityTooSmall")
        md5s = b"".join(hashlib.md5(parts[number]).digest() for number in numbers)  # noqa: S324
        etag = f"{hashlib.md5(md5s).hexdigest()}-{len(numbers)}"  # noqa: S324
        self.of(bucket)[key] = Stored(b"".join(parts[number] for number in numbers), headers, etag)
        del self.uploads[query["uploadId"]]
        return 200, {}, "<CompleteMultipartUploadResult/>"

    def abort_multipart_upload(self, bucket: str, key: str, query: dict[str, str], *_: Any) -> Any:
        self.upload(query["uploadId"])
        del self.uploads[query["uploadId"]]
        return 204, {}, ""


def texts(body: bytes, tag: str) -> list[str]:
    tree = ElementTree.fromstring(body)  # noqa: S314
    return [each.text or "" for each in tree.iter() if each.tag.endswith(f"}}{tag}")]


def kept(headers: Any) -> dict[str, str]:
    names = [
        name
        for name in headers
        if name.lower() == "content-type" or name.lower().startswith("x-amz-meta-")
    ]
    return {
        "Content-Type": "binary/octet-stream",
        **{name: headers[name] for name in [*names, "Cache-Control"] if name in headers},
    }


def source_of(headers: Any) -> tuple[str, str]:
    bucket, _, key = (
        urllib.parse.unquote(headers["x-amz-copy-source"]).removeprefix("/").partition("/")
    )
    return bucket, key


def refuse_what_others_refuse(query: dict[str, str], headers: Any) -> None:
    for name in headers:
        if name.lower().startswith(
            ("x-amz-checksum-", "x-amz-sdk-checksum-", "x-amz-trailer", "transfer-encoding")
        ):
            raise Refusal(400, "InvalidRequest")
    chunked = "aws-chunked" in headers.get("Content-Encoding", "")
    if chunked or headers.get("x-amz-content-sha256", "").startswith("STREAMING"):
        raise Refusal(501, "NotImplemented")
    if (
        not headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256 ")
        and "X-Amz-Signature" not in query
    ):
        raise Refusal(403, "AccessDenied")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = (
        True  # an answer has two parts when the client asks whether it may go on
    )
    server: StrictS3

    def parse_request(self) -> bool:
        parsed = super().parse_request()
        if parsed:
            self.do_GET = self.do_HEAD = self.do_PUT = self.do_POST = self.do_DELETE = self.answer
        return parsed

    def answer(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        bucket, _, key = urllib.parse.unquote(parts.path)[1:].partition("/")
        query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        operation = self.operation(bucket, key, query)
        self.server.asked.append(operation)
        self.server.headers_of[operation] = dict(self.headers)
        day = self.server.next_day(operation)
        if callable(day):
            day = day(self.server)
        try:
            if isinstance(day, Refusal):
                raise day
            refuse_what_others_refuse(query, self.headers)
            if not isinstance(day, bytes):
                with self.server.lock:
                    status, headers, text = getattr(self.server, operation)(
                        bucket, key, query, self.headers, body
                    )
        except Refusal as refusal:
            status, code = refusal.args
            headers, text = (
                {},
                f"<Error><Code>{code}</Code><Message>about {escape(key)}</Message></Error>",
            )
        if day == LOSE or isinstance(day, bytes):
            self.close_connection = True
            self.wfile.write(day if isinstance(day, bytes) else b"")
            return
        data = text if isinstance(text, bytes) else text.encode()
        lines = [f"{name}: {value}" for name, value in headers.items()]
        lines += [
            f"Content-Length: {len(data)}",
            f"Date: {formatdate(usegmt=True)}",
            "Server: Strict/1.0",
        ]
        start = "\r\n".join(
            [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *lines, "", ""]
        ).encode("latin-1")
        if day == CUT:
            self.close_connection, data = True, data[: len(data) // 2]
        self.wfile.write(start + (b"" if self.command == "HEAD" or status == 204 else data))

    def operation(self, bucket: str, key: str, query: dict[str, str]) -> str:
        copying = "x-amz-copy-source" in self.headers
        if not bucket:
            return "list_buckets"
        if not key:
            found: dict[str, Any] = {
                "PUT": "create_bucket", "DELETE": "delete_bucket", "POST": "delete_objects",
                "GET": "list_multipart_uploads" if "uploads" in query else "list_objects",
            }  # fmt: skip
        elif "uploadId" in query:
            found = {
                "PUT": "upload_part_copy" if copying else "upload_part",
                "POST": "complete_multipart_upload",
                "DELETE": "abort_multipart_upload",
            }  # fmt: skip
        else:
            found = {
                "PUT": "copy_object" if copying else "put_object",
                "POST": "create_multipart_upload",
                "GET": "get_object", "HEAD": "head_object", "DELETE": "delete_object",
            }  # fmt: skip
        return str(found[self.command])

    def log_message(self, format: str, *_: Any) -> None:
        pass


StrictS3.handler = _Handler
Day = Callable[[StrictS3], Any]
