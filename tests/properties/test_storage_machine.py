"""The same operations to the fake and to a real store: answers, errors, objects, lists must agree.

Few keys, so that operations meet. Times are the stores' own and are not compared.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

import fakes
import infra
from tests.contract.backends import over_http, remove_bucket

# No key is the beginning of another up to a slash: the gateway keeps objects as files.
KEYS = st.sampled_from(
    ["a", "b", "a b", "a+%&=", "é😀", "\uff5e", "d/x", "d/y.z", "d/é/x", "d//x", "../x", "x" * 1025]
)
GOOD_KEYS = ["a", "b", "a b", "a+%&=", "é😀", "\uff5e", "d/x", "d/y.z", "d/é/x"]
DATA = st.one_of(
    st.sampled_from([b"", b"v", b"\x00\xff\r\n", b"x" * 70_000]), st.binary(max_size=5)
)
TYPES = st.sampled_from([None, None, "text/plain", "text/html; charset=utf-8", "né"])
METADATA = st.one_of(
    st.none(),
    st.dictionaries(
        st.sampled_from(["a", "A", "made-by", "x_y", "v1.2", "né"]),
        st.sampled_from(["", "v", "two  words", "é", " v", '"<&>"']),
        max_size=2,
    ),
)
PREFIXES = st.one_of(
    st.none(),
    st.sampled_from(["", "a", "a ", "d", "d/", "d/é", "d/é/x", "é", "\uff5e", "none", "A"]),
)
BUCKETS = st.sampled_from([0, 0, 0, 1, 1, 2])  # the last one is not there


class Machine(RuleBasedStateMachine):
    real: infra.S3StorageProvider
    buckets: Sequence[str]  # of the store: of all examples, and empty before each

    def __init__(self) -> None:
        super().__init__()
        self.fake = fakes.FakeStorageProvider(clock=fakes.FakeClock())
        for bucket in self.buckets[:2]:
            self.fake.create_bucket(bucket)

    def teardown(self) -> None:
        for bucket in self.buckets[:2]:
            fake, real = (
                [(each.key, each.etag) for each in storage.list_objects(bucket)]
                for storage in (self.fake, self.real)
            )
            assert self.real.delete_batch(bucket, [key for key, _ in real]).errors == {}
            assert fake == real

    def both(self, call: Callable[[infra.StorageProvider], Any]) -> Any:
        """Runs the call on both and compares; gives the answer, or None after an error."""
        outcomes: list[Any] = []
        for storage in (self.fake, self.real):
            try:
                outcomes.append(call(storage))
            except infra.InfrastructureError as error:
                resource = getattr(error, "resource", None)
                outcomes.append(
                    (type(error), error.service, error.operation, error.retryable, resource)
                )
        assert outcomes[0] == outcomes[1]
        return outcomes[0]

    @initialize()
    def upload_first(self) -> None:
        self.both(lambda s: s.upload(self.buckets[0], "a", b"first", "text/plain", {"a": "b"}))

    @rule(bucket=st.integers(0, 1))
    def create_again(self, bucket: int) -> None:
        self.both(lambda s: s.create_bucket(self.buckets[bucket]))

    @rule(bucket=BUCKETS, key=KEYS, data=DATA, kind=TYPES, metadata=METADATA, as_file=st.booleans())
    def upload(
        self,
        bucket: int,
        key: str,
        data: bytes,
        kind: str | None,
        metadata: dict[str, str] | None,
        as_file: bool,
    ) -> None:
        self.both(
            lambda s: s.upload(
                self.buckets[bucket], key, io.BytesIO(data) if as_file else data, kind, metadata
            )
        )

    @rule(bucket=BUCKETS, key=KEYS)
    def download(self, bucket: int, key: str) -> None:
        self.both(lambda s: s.download(self.buckets[bucket], key))

    @rule(bucket=BUCKETS, key=KEYS, start=st.integers(0, 6))
    def read(self, bucket: int, key: str, start: int) -> None:
        def read(storage: infra.StorageProvider) -> Any:
            file = io.BytesIO(b"before")
            file.seek(start)
            storage.download_to(self.buckets[bucket], key, file)
            with storage.open(self.buckets[bucket], key) as reader:
                return file.getvalue(), reader.read(start), reader.read(1)

        self.both(read)

    @rule(bucket=BUCKETS, key=KEYS)
    def look(self, bucket: int, key: str) -> None:
        def look(storage: infra.StorageProvider) -> Any:
            there = storage.exists(self.buckets[bucket], key)
            found = storage.get_metadata(self.buckets[bucket], key)
            return there, found.size, found.content_type, found.etag, found.metadata

        self.both(look)

    @rule(bucket=BUCKETS, prefix=PREFIXES, most=st.sampled_from([None, 1, 2, 5, 0]))
    def list(self, bucket: int, prefix: str | None, most: int | None) -> None:
        def listed(storage: infra.StorageProvider) -> Any:
            found = storage.list_objects(self.buckets[bucket], prefix, most)
            return [(each.key, each.size, each.etag) for each in found]

        self.both(listed)

    @rule(bucket=BUCKETS, key=KEYS)
    def delete(self, bucket: int, key: str) -> None:
        self.both(lambda s: s.delete(self.buckets[bucket], key))

    # A batch leaves folders there.
    @rule(bucket=BUCKETS, keys=st.lists(st.sampled_from(GOOD_KEYS[:6]), max_size=4))
    def delete_batch(self, bucket: int, keys: list[str]) -> None:  # type: ignore[valid-type]
        self.both(lambda s: s.delete_batch(self.buckets[bucket], keys))

    @rule(bucket=BUCKETS, key=KEYS, to=BUCKETS, name=KEYS)
    def copy(self, bucket: int, key: str, to: int, name: str) -> None:
        self.both(lambda s: s.copy(self.buckets[bucket], key, self.buckets[to], name))

    @rule(
        bucket=BUCKETS,
        key=KEYS,
        method=st.sampled_from(["GET", "HEAD", "PUT", "DELETE", "POST"]),
        data=DATA,
    )
    def presigned(self, bucket: int, key: str, method: str, data: bytes) -> None:
        def fetched(storage: infra.StorageProvider) -> Any:
            url = storage.get_presigned_url(self.buckets[bucket], key, 60, method)
            sent = data if method == "PUT" else b""
            if isinstance(storage, fakes.FakeStorageProvider):
                try:
                    return "answer", storage.fetch(url, method, sent)
                except infra.NotFoundError:
                    return "absent"
            status, body = over_http(url, method, sent)
            assert status in (200, 204, 404)
            return "absent" if status == 404 else ("answer", body)

        self.both(fetched)


def test_fake_and_real_agree(no_aws: None, s3: Callable[[str], infra.S3StorageProvider]) -> None:
    real, buckets = s3("s3"), [f"machine-{uuid.uuid4().hex[:20]}" for _ in range(3)]
    for bucket in buckets[:2]:
        real.create_bucket(bucket)
    machine = type("StorageMachine", (Machine,), {"real": real, "buckets": buckets})
    run_state_machine_as_test(machine, settings=settings())
    for bucket in buckets[:2]:
        remove_bucket(real, bucket)
