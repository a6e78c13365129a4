"""The contract of StorageProvider."""

from __future__ import annotations

import array
import hashlib
import io
import math
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any, ClassVar

import pytest

import infra
from tests.contract import refusals
from tests.contract.backends import StorageBackend, in_threads, on_fake_storage, on_s3
from tests.contract.base import Contract
from tests.contract.regions import OnFakes, OnServers
from tests.contract.texts import Raw as RawBytes
from tests.contract.texts import Text, any_text, plain

Storage = infra.StorageProvider

MIB = 1 << 20
PART = 5 * MIB  # the least that S3 takes
NOBODYS = "test-of-nobody-739182"  # a bucket that is not there

BAD_BUCKETS: list[Any] = [
    "", "ab", "a" * 64, "Bucket", "under_score", "a..b", "-ab", "ab-", ".ab", "ab.", "10.0.0.1",
    "xn--ab", "a/b", "é-é",
    "a b", "abc\n", None, 5, b"abc",
]  # fmt: skip
BAD_KEYS: list[Any] = [
    "", "/", "/a", "a//b", "a//", ".", "..", "./a", "../a", "a/.", "a/..", "a/./b", "a/../b", " a",
    "a ", "a\n", "a\0b",
    "\ud800", "é" * 512 + "x", "x" * 1025, None, 5, b"a", ["a"],
]  # fmt: skip
# What S3 takes, and a path, a URL or a piece of XML would not take as it is.
ODD_KEYS = [
    "a b", "a+b", "a%b", "a%2Fb", "a%2e%2e", "a&b", "a?b=c", "a#b", "a;b", "a=b,c@d:e$f", "a\\b",
    'a"b', "a'b", "a<b>c",
    "a|b", "a^b`c", "{a}[b]~(c)*!", "...", ".a", "a.", "é", "e\u0301", "日本", "😀", "\ufffd",
    "a\tb", "a\x7fb",
    "é" * 120, "+", "%", "&amp;", "sp  ace", "-", "_",
]  # fmt: skip
BAD_DATA: list[Any] = ["text", None, 5, True, ["a"], object, io.BytesIO, io.StringIO("text")]
BAD_TYPES: list[Any] = ["", " a/b", "a/b ", "a\nb", "é", "x" * 256, 5, b"a/b"]
BAD_METADATA: list[Any] = [
    {"a_b": "a"}, {"_": "a"},
    {"é": "a"}, {"": "a"}, {"a b": "a"}, {"a:b": "a"}, {"a!": "a"}, {"a\n": "a"}, {5: "a"},
    {"a": "é"}, {"a": "a\nb"},
    {"a": "a\0"}, {"a": " b"}, {"a": "b "}, {"a": 5}, {"a": None}, {"a": "b", "A": "c"},
    {"a": "x" * 2048},
    [("a", "b")], "a",
]  # fmt: skip
BAD_EXPIRIES: list[Any] = [0, 0.5, -1, 604_801, math.nan, math.inf, True, "60", None]

WITH_A_KEY: dict[str, Callable[[Storage, Any, Any], Any]] = {
    "upload": lambda s, bucket, key: s.upload(bucket, key, b"x"),
    "download": lambda s, bucket, key: s.download(bucket, key),
    "download_to": lambda s, bucket, key: s.download_to(bucket, key, io.BytesIO()),
    "open": lambda s, bucket, key: s.open(bucket, key),
    "get_presigned_url": lambda s, bucket, key: s.get_presigned_url(bucket, key, 60),
    "exists": lambda s, bucket, key: s.exists(bucket, key),
    "get_metadata": lambda s, bucket, key: s.get_metadata(bucket, key),
    "delete": lambda s, bucket, key: s.delete(bucket, key),
    "delete_batch": lambda s, bucket, key: s.delete_batch(bucket, ["good", key]),
    "copy from": lambda s, bucket, key: s.copy(bucket, key, "good-bucket", "good"),
    "copy to": lambda s, bucket, key: s.copy("good-bucket", "good", bucket, key),
}
WITH_A_BUCKET: dict[str, Callable[[Storage, Any], Any]] = {
    "list_objects": lambda s, bucket: s.list_objects(bucket),
    "create_bucket": lambda s, bucket: s.create_bucket(bucket),
    "delete_batch of nothing": lambda s, bucket: s.delete_batch(bucket, []),
    **{
        name: lambda s, bucket, call=call: call(s, bucket, "good")  # type: ignore[misc]
        for name, call in WITH_A_KEY.items()
    },
}
# What an absent bucket, or an object absent from a bucket, is to each method: an answer, or
# NotFoundError's resource.
ABSENT: dict[str, tuple[Any, Any]] = {
    "upload": ("bucket", None),
    "download": ("bucket", "object"),
    "download_to": ("bucket", "object"),
    "open": ("bucket", "object"),
    "exists": (False, False),
    "get_metadata": ("object", "object"),
    "list_objects": ("bucket", []),
    "delete": ("bucket", None),
    "delete_batch": ("bucket", infra.DeleteResult(["good", "absent"], {})),
    "copy from": ("bucket", "object"),
}


class Raw(io.RawIOBase):
    """A stream that cannot seek, and gives and takes a few bytes at a time, as a pipe does."""

    def __init__(self, data: bytes = b"", step: int = 1000) -> None:
        self.data, self.step = data, step

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        given, self.data = (
            self.data[: min(len(buffer), self.step)],
            self.data[min(len(buffer), self.step) :],
        )
        buffer[: len(given)] = given
        return len(given)

    def write(self, data: Any) -> int:
        self.data += bytes(data[: self.step])
        return len(data[: self.step])


class Broken(io.BytesIO):
    """Fails when that many bytes have been read."""

    def __init__(self, limit: int) -> None:
        super().__init__(some(limit + 1))
        self.limit = limit

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() >= self.limit:
            raise OSError("the disk is gone")
        return super().read(size)


def some(size: int) -> bytes:
    """Bytes of which no two neighbouring thousands are alike."""
    numbers = array.array("Q", range(size // 8 + 1))
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers.tobytes()[:size]


class StorageProviderContract(Contract):
    port = infra.StorageProvider

    # --- bytes in, bytes out

    def test_a_useless_argument_changes_nothing(self, backend: StorageBackend) -> None:
        storage, bucket = backend.storage, backend.bucket
        storage.upload(bucket, "k", b"data")
        source, target = io.BytesIO(b"unread"), io.BytesIO()

        def state() -> Any:
            return backend.keys(), storage.download(bucket, "k"), source.tell(), target.tell()

        for method, *arguments in (
            (storage.upload, bucket, "k", source, "text/plain", {"a": "b"}),
            (storage.copy, bucket, "k", bucket, "n"),
            (storage.delete_batch, bucket, ["k"]),
            (storage.delete, bucket, "k"),
            (storage.download, bucket, "k"),
            (storage.download_to, bucket, "k", target),
            (storage.open, bucket, "k"),
            (storage.exists, bucket, "k"),
            (storage.get_metadata, bucket, "k"),
            (storage.get_presigned_url, bucket, "k", 60, "GET"),
            (storage.list_objects, bucket, "k", 5),
            (storage.create_bucket, bucket),
        ):
            refusals.check(method, arguments, state)
        for metadata in ({"a": "b", "c": refusals.Useless()}, {"a": "b", refusals.Useless(): "c"}):
            with pytest.raises(infra.ValidationError):
                storage.upload(bucket, "k", source, metadata=metadata)  # type: ignore[arg-type]
        useless: Any = refusals.Useless()
        refusals.check_items([lambda: storage.delete_batch(bucket, ["k", useless])], state)
        refusals.check_iterable(lambda many: storage.delete_batch(bucket, ["k", *many]), state)
        refusals.check_iterable(lambda many: storage.delete_batch(bucket, many), state)

    @any_text
    def test_text_of_any_subclass(self, backend: StorageBackend, text: Text) -> None:
        storage, bucket, key = backend.storage, text(backend.bucket), text("é/k v")
        metadata = {text("Name"): text("a value")}
        for data in (b"data", io.BytesIO(b"data"), RawBytes(b"data"), Raw(b"data")):
            storage.upload(bucket, key, data, text("text/plain"), metadata)  # type: ignore[arg-type]
            found = plain(storage.get_metadata(backend.bucket, "é/k v"))
            assert (found.content_type, found.metadata) == ("text/plain", {"name": "a value"})
            assert storage.download(bucket, key) == b"data"
        assert plain(storage.get_metadata(bucket, key)) == found
        assert plain([each.key for each in storage.list_objects(bucket, text("é/"))]) == ["é/k v"]
        assert storage.exists(bucket, key) is True
        with storage.open(bucket, key) as reader:
            assert reader.read() == b"data"
        storage.download_to(bucket, key, file := io.BytesIO())
        assert file.getvalue() == b"data"
        storage.copy(bucket, key, bucket, text("copy"))
        assert plain(storage.get_metadata(backend.bucket, "copy").metadata) == {"name": "a value"}
        with pytest.raises(infra.ValidationError, match="itself"):
            storage.copy(bucket, text("copy"), backend.bucket, "copy")
        url = plain(storage.get_presigned_url(bucket, key, 60, text("GET")))
        assert backend.fetch(url) == (200, b"data")
        assert plain(storage.delete_batch(bucket, [text("copy")])).deleted == ["copy"]
        storage.delete(bucket, key)
        assert backend.keys() == []
        storage.create_bucket(bucket)

    @any_text
    def test_paths_of_any_subclass(self, backend: StorageBackend, text: Text) -> None:
        path = infra.StoragePath.benchmark_dataset(text("b"), text("1.0.0"), text("é"))
        assert plain(path) == "benchmarks/b/1.0.0/é"

    @pytest.mark.parametrize(
        "data", [b"", b"x", b"\x00\xff\r\n", b"caf\xc3\xa9" * 1000, some(MIB)], ids=len
    )
    def test_bytes_come_back_as_they_were(self, backend: StorageBackend, data: bytes) -> None:
        storage, bucket = backend.storage, backend.bucket
        assert storage.upload(bucket, "k", data) is None  # type: ignore[func-returns-value]
        assert storage.download(bucket, "k") == data
        file = io.BytesIO()
        assert storage.download_to(bucket, "k", file) is None  # type: ignore[func-returns-value]
        assert file.getvalue() == data
        with storage.open(bucket, "k") as reader:
            assert reader.read() == data
        assert storage.exists(bucket, "k") is True
        assert storage.get_metadata(bucket, "k").size == len(data)
        assert [each.size for each in storage.list_objects(bucket)] == [len(data)]

    def test_every_kind_of_bytes(self, backend: StorageBackend) -> None:
        array = bytearray(b"abc")
        numbers = memoryview(b"abcdefgh").cast("I")
        for data, stored in (
            (array, b"abc"), (memoryview(b"abc"), b"abc"), (numbers, b"abcdefgh"),
            (memoryview(b"abcdef")[::2], b"ace"),
            (bytearray(), b""), (memoryview(b""), b""),
        ):  # fmt: skip
            backend.storage.upload(backend.bucket, "k", data)
            array[:1] = b"A"
            assert backend.storage.download(backend.bucket, "k") == stored

    def test_the_last_upload_counts(self, backend: StorageBackend) -> None:
        storage, bucket = backend.storage, backend.bucket
        storage.upload(bucket, "k", b"first", "text/plain", {"a": "b"})
        storage.upload(bucket, "k", b"2")
        assert storage.download(bucket, "k") == b"2"
        found = storage.get_metadata(bucket, "k")
        assert (found.size, found.content_type, found.metadata) == (1, "binary/octet-stream", {})
        assert backend.keys() == ["k"]

    def test_a_file_is_read_from_where_it_is_and_stays_open(self, backend: StorageBackend) -> None:
        storage, bucket = backend.storage, backend.bucket
        file = io.BytesIO(b"skipped, then read")
        file.seek(9)
        storage.upload(bucket, "k", file)
        assert (file.closed, file.tell()) == (False, 18)
        storage.upload(bucket, "end", file)  # at its end there is nothing
        assert (storage.download(bucket, "k"), storage.download(bucket, "end")) == (
            b"then read",
            b"",
        )

    def test_a_stream_that_cannot_seek(self, backend: StorageBackend) -> None:
        stream = Raw(some(100_000))
        backend.storage.upload(backend.bucket, "k", stream)  # type: ignore[arg-type]
        assert not stream.closed
        sink = Raw(step=30_000)
        backend.storage.download_to(backend.bucket, "k", sink)  # type: ignore[arg-type]
        assert (sink.closed, sink.data == some(100_000)) == (False, True)

    def test_a_download_goes_where_the_file_is(self, backend: StorageBackend) -> None:
        backend.storage.upload(backend.bucket, "k", b"new")
        file = io.BytesIO(b"old old old")
        file.seek(4)
        backend.storage.download_to(backend.bucket, "k", file)
        assert (file.getvalue(), file.tell(), file.closed) == (b"old new old", 7, False)

    def test_a_file_that_does_not_say_how_much_it_took(self, backend: StorageBackend) -> None:
        class Silent:
            def __init__(self) -> None:
                self.blocks: list[bytes] = []

            def write(self, data: Any) -> None:
                assert len(self.blocks) < 10, "it does not end"
                self.blocks.append(bytes(data))

        class Busy(Raw):
            answer: Any = None  # as a raw file says that would have to wait

            def write(self, data: Any) -> Any:
                assert not self.data, "it is asked again"
                self.data = b"asked"
                return self.answer

        backend.storage.upload(backend.bucket, "k", some(300_000))
        silent = Silent()
        backend.storage.download_to(backend.bucket, "k", silent)  # type: ignore[arg-type]
        assert b"".join(silent.blocks) == some(300_000)
        for busy in (Busy(), Busy()):
            with pytest.raises(BlockingIOError):
                backend.storage.download_to(backend.bucket, "k", busy)  # type: ignore[arg-type]
            Busy.answer = 0

    def test_what_is_no_binary_file(self, backend: StorageBackend) -> None:
        storage, bucket = backend.storage, backend.bucket
        for data in BAD_DATA:
            with pytest.raises(infra.ValidationError):
                storage.upload(bucket, "k", data)
        for file in ("name", None, 1, True, io.BytesIO, io.StringIO()):
            with pytest.raises(infra.ValidationError):
                storage.download_to(bucket, "k", file)  # type: ignore[arg-type]
        assert backend.keys() == []

    # --- parts

    @pytest.mark.parametrize("as_file", [False, True])
    def test_large_data_goes_in_parts(self, backend: StorageBackend, as_file: bool) -> None:
        storage, bucket, data = backend.connect(part_size=PART), backend.bucket, some(2 * PART + 1)
        file = io.BytesIO(data)
        storage.upload(bucket, "k", file if as_file else data, "text/csv", {"Made-By": "parts"})
        assert (file.closed, file.tell()) == (False, len(data) if as_file else 0)
        assert storage.download(bucket, "k") == data
        found = storage.get_metadata(bucket, "k")
        assert (found.size, found.content_type, found.metadata) == (
            len(data),
            "text/csv",
            {"made-by": "parts"},
        )
        parts = [hashlib.md5(data[at : at + PART]).digest() for at in (0, PART, 2 * PART)]  # noqa: S324
        assert found.etag == hashlib.md5(b"".join(parts)).hexdigest() + "-3"  # noqa: S324
        assert [each.etag for each in storage.list_objects(bucket)] == [found.etag]
        assert backend.uploads() == 0

    def test_what_fits_in_one_part_goes_whole(self, backend: StorageBackend) -> None:
        storage, data = backend.connect(part_size=PART), some(PART)
        storage.upload(backend.bucket, "k", io.BytesIO(data))
        assert storage.get_metadata(backend.bucket, "k").etag == hashlib.md5(data).hexdigest()  # noqa: S324

    def test_a_file_that_fails_leaves_what_was_there(self, backend: StorageBackend) -> None:
        storage, bucket = backend.connect(part_size=PART), backend.bucket
        storage.upload(bucket, "k", b"as it was")
        for limit in (0, PART, 2 * PART):  # before anything is sent, and later
            file = Broken(limit)
            with pytest.raises(OSError, match="the disk is gone"):
                storage.upload(bucket, "k", file)
            assert not file.closed
        assert storage.download(bucket, "k") == b"as it was"
        assert backend.uploads() == 0

    def test_a_file_that_turns_into_text(self, backend: StorageBackend) -> None:
        """As one whose ``read`` wraps another does: the first parts are bytes, and sent."""

        class Turning(io.BytesIO):
            def read(self, size: int | None = -1, /) -> Any:
                return super().read(size) if self.tell() < limit else "text"

        storage, bucket = backend.connect(part_size=PART), backend.bucket
        storage.upload(bucket, "k", b"as it was")
        for limit in (0, PART, 2 * PART):
            with pytest.raises(infra.ValidationError, match="binary mode"):
                storage.upload(bucket, "k", Turning(some(limit + 1)))
        assert storage.download(bucket, "k") == b"as it was"
        assert backend.uploads() == 0

    def test_parts_to_a_bucket_that_is_absent(self, backend: StorageBackend) -> None:
        file = io.BytesIO(some(PART + 1))
        with pytest.raises(infra.NotFoundError) as caught:
            backend.connect(part_size=PART).upload(NOBODYS, "k", file)
        assert (caught.value.resource, file.closed) == ("bucket", False)

    # --- reading as it goes

    def test_open(self, backend: StorageBackend) -> None:
        backend.storage.upload(backend.bucket, "k", b"first line\nsecond line\n" + some(MIB))
        with backend.storage.open(backend.bucket, "k") as reader:
            assert (reader.readable(), reader.writable(), reader.closed) == (True, False, False)
            assert reader.readline() == b"first line\n"
            assert reader.read(6) == b"second"
            assert reader.read() == b" line\n" + some(MIB)
            assert (reader.read(), reader.read(5)) == (b"", b"")
        assert reader.closed
        with pytest.raises(ValueError, match="closed"):
            reader.read(1)

    def test_readers_that_are_closed_early_cost_nothing(self, backend: StorageBackend) -> None:
        backend.storage.upload(backend.bucket, "k", some(MIB))
        for _ in range(50):
            with backend.storage.open(backend.bucket, "k") as reader:
                assert reader.read(10) == some(10)
        assert backend.storage.download(backend.bucket, "k") == some(MIB)

    def test_a_forgotten_reader_warns(self, backend: StorageBackend) -> None:
        backend.storage.upload(backend.bucket, "k", some(MIB))
        reader = backend.storage.open(backend.bucket, "k")
        reader.read(10)
        with pytest.warns(ResourceWarning, match="an object opened for reading was not closed"):
            del reader
        with backend.storage.open(backend.bucket, "k") as reader:
            del reader

    # --- what is known of objects

    def test_metadata(self, backend: StorageBackend) -> None:
        storage, bucket = backend.storage, backend.bucket
        given = {"Answer": "42", "x-Empty": "", "made-by": 'a  "b" <c> & d', "v1.2": "~"}
        storage.upload(bucket, "k", b"hello", "text/plain; charset=utf-8", given)
        found = storage.get_metadata(bucket, "k")
        assert (found.size, found.content_type) == (5, "text/plain; charset=utf-8")
        assert found.etag == "5d41402abc4b2a76b9719d911017c592"
        assert found.metadata == {
            "answer": "42",
            "x-empty": "",
            "made-by": 'a  "b" <c> & d',
            "v1.2": "~",
        }
        assert (found.last_modified.tzinfo, found.last_modified.microsecond) == (timezone.utc, 0)
        (listed,) = storage.list_objects(bucket)
        assert listed == infra.ObjectSummary("k", 5, found.etag, found.last_modified)

    def test_answers_are_copies(self, backend: StorageBackend) -> None:
        storage, bucket, given = backend.storage, backend.bucket, {"a": "b"}
        storage.upload(bucket, "k", b"", metadata=given)
        given["a"] = "c"
        found = storage.get_metadata(bucket, "k").metadata
        found["a"] = "d"
        assert storage.get_metadata(bucket, "k").metadata == {"a": "b"}

    def test_as_much_metadata_as_there_may_be(self, backend: StorageBackend) -> None:
        metadata = {"a": "x" * 1900}
        backend.storage.upload(backend.bucket, "k", b"", metadata=metadata)
        assert backend.storage.get_metadata(backend.bucket, "k").metadata == metadata

    # --- keys

    @pytest.mark.parametrize("key", ODD_KEYS)
    def test_odd_keys(self, backend: StorageBackend, key: str) -> None:
        storage, bucket = backend.storage, backend.bucket
        storage.upload(bucket, key, key.encode(), metadata={"a": "b"})
        assert storage.download(bucket, key) == key.encode()
        assert storage.exists(bucket, key)
        assert backend.keys() == backend.keys(key) == [key]
        assert backend.fetch(storage.get_presigned_url(bucket, key, 60)) == (200, key.encode())
        storage.copy(bucket, key, bucket, "copied")
        assert storage.download(bucket, "copied") == key.encode()
        storage.copy(bucket, "copied", bucket, key + "2")
        assert storage.get_metadata(bucket, key + "2").metadata == {"a": "b"}
        assert storage.delete_batch(bucket, [key, key + "2"]) == infra.DeleteResult(
            [key, key + "2"], {}
        )
        assert backend.keys() == ["copied"]
        storage.upload(bucket, key, b"")
        storage.delete(bucket, key)
        assert not storage.exists(bucket, key)

    def test_a_line_break_in_a_key(self, backend: StorageBackend) -> None:
        for key in ("a\nb", "a\r\nb"):
            backend.storage.upload(backend.bucket, key, b"x")
            assert backend.storage.download(backend.bucket, key) == b"x"
            assert backend.keys() == [key]
            assert backend.storage.delete_batch(backend.bucket, [key]) == infra.DeleteResult(
                [key], {}
            )
        assert backend.keys() == []

    def test_a_character_that_xml_does_not_have(self, backend: StorageBackend) -> None:
        keys = ["a\x01b", "a\x1fb"]
        for key in keys:
            backend.storage.upload(backend.bucket, key, b"x")
        assert backend.keys() == keys
        assert backend.storage.delete_batch(backend.bucket, keys) == infra.DeleteResult(keys, {})
        assert backend.keys() == []

    def test_the_longest_key(self, backend: StorageBackend) -> None:
        for key in ("/".join(["x" * 127] * 8) + "y", "/".join(["é" * 63 + "x"] * 8) + "y"):
            assert len(key.encode()) == 1024
            backend.storage.upload(backend.bucket, key, b"x")
            assert backend.keys(key[:40]) == [key]
            assert backend.storage.download(backend.bucket, key) == b"x"
            backend.storage.delete(backend.bucket, key)
        assert backend.keys() == []

    def test_a_batch_leaves_no_folders(self, backend: StorageBackend) -> None:
        for key in ("a/b/.../c", "a/d"):
            backend.storage.upload(backend.bucket, key, b"x")
        assert backend.keys() == ["a/b/.../c", "a/d"]
        assert backend.storage.delete_batch(backend.bucket, ["a/b/.../c"]).errors == {}
        assert backend.keys() == ["a/d"]

    def test_a_key_and_keys_below_it(self, backend: StorageBackend) -> None:
        for key in ("a", "a/b", "a/b/c", "a/"):
            backend.storage.upload(backend.bucket, key, key.encode())
        assert backend.keys() == ["a", "a/", "a/b", "a/b/c"]
        assert backend.storage.download(backend.bucket, "a/") == b"a/"

    @pytest.mark.parametrize("method", WITH_A_KEY)
    def test_bad_keys(self, backend: StorageBackend, method: str) -> None:
        for key in BAD_KEYS:
            with pytest.raises(infra.ValidationError):
                WITH_A_KEY[method](backend.storage, backend.bucket, key)
        assert backend.keys() == []

    @pytest.mark.parametrize("method", WITH_A_BUCKET)
    def test_bad_buckets(self, backend: StorageBackend, method: str) -> None:
        for bucket in BAD_BUCKETS:
            with pytest.raises(infra.ValidationError):
                WITH_A_BUCKET[method](backend.storage, bucket)

    def test_other_bad_input(self, backend: StorageBackend) -> None:
        storage, bucket = backend.storage, backend.bucket
        for content_type in BAD_TYPES:
            with pytest.raises(infra.ValidationError):
                storage.upload(bucket, "k", b"", content_type)
        for metadata in BAD_METADATA:
            with pytest.raises(infra.ValidationError):
                storage.upload(bucket, "k", b"", metadata=metadata)
        for expires_in in BAD_EXPIRIES:
            with pytest.raises(infra.ValidationError):
                storage.get_presigned_url(bucket, "k", expires_in)
        for method in ("POST", "get", "", None):
            with pytest.raises(infra.ValidationError):
                storage.get_presigned_url(bucket, "k", 60, method)  # type: ignore[arg-type]
        for max_keys in (0, -1, 1.0, True, "1"):
            with pytest.raises(infra.ValidationError):
                storage.list_objects(bucket, None, max_keys)  # type: ignore[arg-type]
        for prefix in (5, 0, b"", b"a", "a\0", "\ud800", "é" * 513):
            with pytest.raises(infra.ValidationError):
                storage.list_objects(bucket, prefix)  # type: ignore[arg-type]
        for keys in ("abc", b"abc", None, 5):
            with pytest.raises(infra.ValidationError):
                storage.delete_batch(bucket, keys)  # type: ignore[arg-type]
        assert backend.keys() == []

    # --- what is absent

    @pytest.mark.parametrize("method", ABSENT)
    def test_what_is_absent(self, backend: StorageBackend, method: str) -> None:
        def call(bucket: str) -> Any:
            if method == "copy from":
                return backend.storage.copy(bucket, "absent", backend.bucket, "k")
            if method == "list_objects":
                return [*backend.storage.list_objects(bucket)]
            if method == "delete_batch":
                return backend.storage.delete_batch(bucket, ["good", "absent"])
            return WITH_A_KEY[method](backend.storage, bucket, "absent")

        for bucket, expected in zip((NOBODYS, backend.bucket), ABSENT[method]):
            if expected in ("bucket", "object"):
                with pytest.raises(infra.NotFoundError) as caught:
                    call(bucket)
                error = caught.value
                operation = method.split()[0]
                assert (error.resource, error.service, error.operation, error.retryable) == (
                    expected, "storage", operation, False,
                )  # fmt: skip
            else:
                assert call(bucket) == expected

    def test_a_list_of_what_is_absent_fails_before_it_is_read(
        self, backend: StorageBackend
    ) -> None:
        with pytest.raises(infra.NotFoundError):
            backend.storage.list_objects(NOBODYS)

    # --- lists

    def test_lists_are_in_the_order_of_bytes(self, backend: StorageBackend) -> None:
        keys = [
            "Z",
            "a",
            "a b",
            "a-b",
            "a.b",
            "a/b",
            "a/b-c",
            "a0",
            "b",
            "é",
            "\uff5e",
            "\ufffd",
            "😀",
            "😀b",
        ]
        for key in reversed(keys[2:]):  # "a" beside "a/b" is for the case above
            backend.storage.upload(backend.bucket, key, b"")
        assert keys == sorted(keys, key=str.encode)
        assert backend.keys() == keys[2:]
        assert backend.keys("") == keys[2:]
        assert backend.keys("a") == ["a b", "a-b", "a.b", "a/b", "a/b-c", "a0"]
        assert backend.keys("a/") == ["a/b", "a/b-c"]
        assert backend.keys("a/b-") == ["a/b-c"]
        assert backend.keys("😀") == ["😀", "😀b"]
        assert (
            backend.keys("/")
            == backend.keys("A")
            == backend.keys("a/b-cd")
            == backend.keys("x/y")
            == []
        )

    def test_max_keys(self, backend: StorageBackend) -> None:
        for key in ("a", "b", "c"):
            backend.storage.upload(backend.bucket, key, b"")
        listed = backend.storage.list_objects(backend.bucket, max_keys=2)
        assert isinstance(listed, Iterator)
        assert [each.key for each in listed] == ["a", "b"]
        assert len([*backend.storage.list_objects(backend.bucket, "b", 5)]) == 1
        assert len([*backend.storage.list_objects(backend.bucket, None, 3)]) == 3

    def test_long_lists_are_whole(self, backend: StorageBackend) -> None:
        storage, bucket = backend.storage, backend.bucket
        keys = [f"{number % 7}-{number:04}é" for number in range(backend.many)]
        with ThreadPoolExecutor(4) as threads:
            assert {*threads.map(lambda key: storage.upload(bucket, key, b""), keys)} == {None}
        assert backend.keys() == sorted(keys)
        assert backend.keys("3-") == [f"3-{number:04}é" for number in range(3, backend.many, 7)]
        for limit in (1000, 1001):
            assert [each.key for each in storage.list_objects(bucket, max_keys=limit)] == sorted(
                keys
            )[:limit]
        self.check_closing(backend)  # here, because so many keys take their time
        assert storage.delete_batch(bucket, iter(keys)) == infra.DeleteResult(keys, {})
        assert backend.keys() == []

    def check_closing(self, backend: StorageBackend) -> None:
        """It ends a list between two pages, and a reader."""
        storage, bucket = backend.connect(), backend.bucket
        storage.upload(bucket, "z", some(MIB))
        with storage.open(bucket, "z") as reader:
            assert reader.read(10) == some(10)
            listed = storage.list_objects(bucket)
            storage.close()
            for name, call in (
                ("open", lambda: reader.read(MIB)),
                ("list_objects", lambda: [*listed]),
            ):
                with pytest.raises(infra.ConnectionError) as caught:
                    call()
                assert (caught.value.operation, caught.value.retryable) == (name, False)
        assert reader.closed
        backend.storage.delete(bucket, "z")

    # --- deleting

    def test_delete(self, backend: StorageBackend) -> None:
        backend.storage.upload(backend.bucket, "k", b"x")
        for _ in range(2):
            assert backend.storage.delete(backend.bucket, "k") is None  # type: ignore[func-returns-value]
        assert backend.keys() == []

    def test_delete_batch(self, backend: StorageBackend) -> None:
        storage, bucket = backend.storage, backend.bucket
        for key in ("a", "b", "c"):
            storage.upload(bucket, key, b"x")
        assert storage.delete_batch(bucket, ["c", "absent", "a", "c"]) == infra.DeleteResult(
            ["c", "absent", "a"], {}
        )
        assert backend.keys() == ["b"]
        assert storage.delete_batch(bucket, []) == infra.DeleteResult([], {})
        assert storage.delete_batch(bucket, {"b": 1}) == infra.DeleteResult(["b"], {})

    def test_keys_that_end_in_a_slash(self, backend: StorageBackend) -> None:
        storage, bucket = backend.storage, backend.bucket
        for key in ("f/", "g/", "h/"):
            storage.upload(bucket, key, b"")
        storage.upload(bucket, "g/in", b"x")
        assert storage.get_metadata(bucket, "f/").size == 0
        assert backend.keys() == ["f/", "g/", "g/in", "h/"]
        storage.delete(bucket, "h/")
        result = storage.delete_batch(bucket, ["f/", "g/", "g/in", "absent/"])
        assert result == infra.DeleteResult(["f/", "g/", "g/in", "absent/"], {})
        assert backend.keys() == []

    # --- copying

    @pytest.mark.parametrize("size", [0, PART, PART + 1])
    def test_copy(self, backend: StorageBackend, size: int) -> None:
        storage, bucket, other = (
            backend.connect(copy_part_size=PART),
            backend.bucket,
            backend.new_bucket(),
        )
        storage.upload(bucket, "a b", some(size), "text/csv", {"Made-By": "hand"})
        assert storage.copy(bucket, "a b", other, "é/c") is None  # type: ignore[func-returns-value]
        storage.copy(bucket, "a b", bucket, "d")
        for place in ((other, "é/c"), (bucket, "d"), (bucket, "a b")):
            found = storage.get_metadata(*place)
            assert (found.size, found.content_type, found.metadata) == (
                size,
                "text/csv",
                {"made-by": "hand"},
            )
            assert storage.download(*place) == some(size)
        assert backend.uploads() == 0
        if size <= PART:
            md5 = hashlib.md5(some(size)).hexdigest()  # noqa: S324
            assert {each.etag for each in storage.list_objects(bucket)} == {md5}
            assert storage.get_metadata(other, "é/c").etag == md5
        else:  # in two parts
            assert storage.get_metadata(other, "é/c").etag[-2:] == "-2"

    def test_copy_what_or_where_it_cannot(self, backend: StorageBackend) -> None:
        storage, bucket = backend.connect(copy_part_size=PART), backend.bucket
        storage.upload(bucket, "small", b"x")
        storage.upload(bucket, "large", some(PART + 1))
        for key in ("small", "large"):
            with pytest.raises(infra.ValidationError):
                storage.copy(bucket, key, bucket, key)
            with pytest.raises(infra.NotFoundError) as caught:
                storage.copy(bucket, key, NOBODYS, "k")
            assert (caught.value.resource, caught.value.operation) == ("bucket", "copy")
        assert backend.keys() == ["large", "small"]

    def test_copy_takes_the_place_of_what_was_there(self, backend: StorageBackend) -> None:
        storage, bucket = backend.storage, backend.bucket
        storage.upload(bucket, "a", b"new")
        storage.upload(bucket, "b", b"old", "text/plain", {"a": "b"})
        storage.copy(bucket, "a", bucket, "b")
        found = storage.get_metadata(bucket, "b")
        assert (storage.download(bucket, "b"), found.content_type, found.metadata) == (
            b"new", "binary/octet-stream", {},
        )  # fmt: skip

    def test_a_copy_is_as_old_as_the_copying(self, backend: StorageBackend) -> None:
        """One that is made at once, and one that is made in parts."""
        storage, bucket = backend.connect(copy_part_size=PART), backend.bucket

        def moment(key: str) -> datetime:
            (listed,) = storage.list_objects(bucket, key)
            assert storage.get_metadata(bucket, key).last_modified == listed.last_modified
            assert listed.last_modified.microsecond == 0
            return listed.last_modified

        sizes, first, copied = (1, PART + 1), {}, {}
        for size in sizes:
            storage.upload(bucket, f"source {size}.", some(size))
            storage.upload(bucket, f"target {size}.", b"")
            first[size] = moment(f"source {size}.")
        backend.pause(1.1)
        for size in sizes:
            storage.copy(bucket, f"source {size}.", bucket, f"target {size}.")
            copied[size] = moment(f"target {size}.")
            assert timedelta(seconds=1) <= copied[size] - first[size] < timedelta(minutes=2)
            assert moment(f"source {size}.") == first[size]  # reading leaves it as it was
        backend.pause(1.1)
        for size in sizes:
            storage.upload(bucket, f"source {size}.", b"")
            assert moment(f"source {size}.") - copied[size] >= timedelta(seconds=1)
            assert moment(f"target {size}.") == copied[size]

    # --- presigned URLs

    def test_presigned_urls(self, backend: StorageBackend) -> None:
        storage, bucket = backend.storage, backend.bucket
        put = storage.get_presigned_url(bucket, "a/é b", 604_800, "PUT")
        assert backend.fetch(put, "PUT", b"by plain HTTP")[0] == 200
        assert storage.download(bucket, "a/é b") == b"by plain HTTP"
        get, head = (
            storage.get_presigned_url(bucket, "a/é b", 1.5, method) for method in ("GET", "HEAD")
        )
        assert backend.fetch(get) == (200, b"by plain HTTP")
        assert backend.fetch(head, "HEAD") == (200, b"")
        assert "X-Amz-Expires=2&" in get
        assert "X-Amz-Expires=604800&" in put
        for _ in range(2):
            assert backend.fetch(
                storage.get_presigned_url(bucket, "a/é b", 60, "DELETE"), "DELETE"
            )[0] in (200, 204)
        assert not storage.exists(bucket, "a/é b")
        assert backend.fetch(get)[0] == 404
        assert backend.fetch(storage.get_presigned_url(NOBODYS, "k", 60))[0] == 404

    def test_presigned_urls_are_for_what_they_say(self, backend: StorageBackend) -> None:
        storage, bucket = backend.storage, backend.bucket
        storage.upload(bucket, "k", b"x")
        storage.upload(bucket, "secret", b"x")
        url = storage.get_presigned_url(bucket, "k", 60)
        for changed, method in (
            (url, "PUT"), (url, "DELETE"), (url, "HEAD"),
            (url.replace("Expires=60", "Expires=600"), "GET"),
            (url.replace("/k?", "/secret?"), "GET"), (f"{url}&more=", "GET"),
        ):  # fmt: skip
            assert backend.fetch(changed, method)[0] == 403, (changed, method)
        assert backend.fetch(url) == (200, b"x")

    # --- buckets, and the provider itself

    def test_create_bucket(self, backend: StorageBackend) -> None:
        bucket = backend.new_bucket()
        backend.storage.upload(bucket, "k", b"x")
        assert backend.storage.create_bucket(bucket) is None  # type: ignore[func-returns-value]
        assert backend.storage.exists(bucket, "k")
        assert backend.keys() == []

    def test_health_check(self, backend: StorageBackend) -> None:
        health = backend.storage.health_check()
        assert health.service == "storage"
        assert health.server
        assert 0 <= health.latency < 10

    def test_times_are_those_of_the_write(self, backend: StorageBackend) -> None:
        backend.storage.upload(backend.bucket, "k", b"x")
        first = backend.storage.get_metadata(backend.bucket, "k").last_modified
        if backend.pause is time.sleep:  # a server
            assert abs(first - datetime.now(timezone.utc)) < timedelta(minutes=2)
        else:
            assert first == datetime(2026, 1, 1, tzinfo=timezone.utc)

    def test_threads_share_it(self, backend: StorageBackend) -> None:
        storage, bucket = backend.connect(), backend.bucket  # not connected yet

        def work(number: int) -> bytes:
            storage.upload(bucket, f"k{number}", str(number).encode())
            storage.upload(bucket, "same", b"abc")
            assert storage.download(bucket, "same") == b"abc"
            return storage.download(bucket, f"k{number}")

        assert in_threads(12, work) == [str(number).encode() for number in range(12)]
        assert len(backend.keys()) == 13

    def test_a_closed_provider(self, backend: StorageBackend) -> None:
        storage, bucket = backend.connect(), backend.bucket
        with storage:
            storage.upload(bucket, "k", b"x")
        storage.close()
        lists: Callable[[Storage, str, str], Any] = lambda s, bucket, _: s.list_objects(bucket)  # noqa: E731
        for call in (*WITH_A_KEY.values(), lists, lambda s, *_: s.health_check()):
            with pytest.raises(infra.ConnectionError) as caught:
                call(storage, bucket, "k")
            assert (caught.value.service, caught.value.retryable) == ("storage", False)
        assert backend.keys() == ["k"]


_ON_FILES = "the gateway keeps objects as files: a file is no folder"
_UNSIGNED = "moto does not look at signatures"


class TestFake(StorageProviderContract):
    backend = on_fake_storage()


class TestFakeRegions(OnFakes, StorageProviderContract):
    """Two fakes as one store. What is owed after a case makes them equal."""


class TestRegions(OnServers, StorageProviderContract):
    """The gateway and moto as one store."""

    differs: ClassVar = {"test_a_key_and_keys_below_it": _ON_FILES}


class TestS3Gateway(StorageProviderContract):
    backend = on_s3("s3")
    differs: ClassVar = {
        "test_a_key_and_keys_below_it": _ON_FILES,
    }


class TestStrictStandIn(StorageProviderContract):
    """Which refuses boto3's newer checksums, and batches without an MD5."""

    backend = on_s3("strict")
    differs: ClassVar = {
        "test_presigned_urls_are_for_what_they_say": "the stand-in does not look at signatures"
    }


class TestMoto(StorageProviderContract):
    backend = on_s3("moto")
    differs: ClassVar = {
        "test_presigned_urls_are_for_what_they_say": _UNSIGNED,
        "test_a_line_break_in_a_key": "moto's routes end at a line break",
    }
