"""The backends of contract suites; each test has its own keys, and wipes nothing that is shared."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
import gc
import http.client
import io
import json
import math
import os
import random
import re
import ssl
import sys
import threading
import time
import traceback
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

import fakes
import infra
from tests import twilio

WAIT = 10.0  # seconds that a test waits for another thread before it fails


@dataclass
class KeyValueBackend:
    """``connect()`` makes clients of the same server; ``advance(seconds)`` ages the keys."""

    client: infra.KeyValueClient
    connect: Callable[..., infra.KeyValueClient]
    age: Callable[..., None]
    wait: Callable[[float], None] = time.sleep
    prefix: str = field(default_factory=lambda: f"test:{uuid.uuid4().hex}:")

    def key(self, name: str) -> str:
        return self.prefix + name

    def names(self, glob: str = "*") -> list[str]:
        """This test's keys that match, without the prefix, sorted."""
        return sorted(
            {key.removeprefix(self.prefix) for key in self.client.scan(self.prefix + glob)}
        )

    def advance(self, seconds: float) -> None:
        self.age(seconds, self.prefix + "*")


def raw_redis(url: str) -> Any:
    """redis-py's own client, to look at the server from outside."""
    import redis

    parts = urllib.parse.urlsplit(url)
    tls: dict[str, Any] = {}
    if parts.scheme.startswith("rediss"):
        # redis-py's cluster client resolves "localhost"; the certificate has another name then.
        tls = {
            "ssl": True,
            "ssl_ca_certs": dict(urllib.parse.parse_qsl(parts.query))["sslrootcert"],
            "ssl_check_hostname": False,
        }
    kind: Any = redis.RedisCluster if parts.scheme.endswith("+cluster") else redis.Redis
    return kind(
        host=parts.hostname,
        port=parts.port,
        username=urllib.parse.unquote(parts.username or "") or None,
        password=urllib.parse.unquote(parts.password or "") or None,
        **tls,
    )


@functools.cache
def lasting_raw_redis(url: str) -> Any:
    """Return a client that stays open, because a new one first asks the whole cluster."""
    raw = raw_redis(url)
    atexit.register(raw.close)
    return raw


def grow_older(url: str, seconds: float, *globs: str) -> None:
    """Shorten each key's time to live, because a test cannot move a server's clock.

    A key without any time left gets one millisecond, and really expires.
    """
    raw = lasting_raw_redis(url)
    dying = []
    for key in [key for glob in globs for key in raw.scan_iter(match=glob, count=1000)]:
        left = raw.pttl(key) - math.ceil(seconds * 1000)
        if left > -1 - math.ceil(seconds * 1000):  # it has a time to live at all
            raw.pexpire(key, max(1, left))
            dying += [key] if left <= 0 else []
    deadline = time.monotonic() + WAIT
    while dying and raw.exists(*dying):
        assert time.monotonic() < deadline, "keys did not expire"


def fake_key_value_backend() -> KeyValueBackend:
    clock = fakes.FakeClock()
    server = fakes.FakeRedisServer(clock)
    return KeyValueBackend(
        fakes.FakeRedisClient(server),
        lambda **more: fakes.FakeRedisClient(server, **more),
        lambda seconds, *_: clock.advance(seconds),
        clock.advance,
    )


def real_key_value_backend(
    url: str, clients: list[infra.RedisClient], **options: Any
) -> KeyValueBackend:
    def connect(**more: Any) -> infra.RedisClient:
        clients.append(infra.RedisClient(infra.CacheConfig(url=url, **options), **more))
        return clients[-1]

    return KeyValueBackend(
        connect(), connect, lambda seconds, *globs: grow_older(url, seconds, *globs)
    )


def on_fake_redis() -> Any:
    @pytest.fixture
    def backend(self: object) -> KeyValueBackend:
        return fake_key_value_backend()

    return backend


def on_real_redis(name: str) -> Any:
    @pytest.fixture
    def backend(self: object, service: Callable[[str], str]) -> Iterator[KeyValueBackend]:
        clients: list[infra.RedisClient] = []
        yield real_key_value_backend(service(name), clients)
        for client in clients:
            client.close()

    return backend


class Between:
    """A client that does something else just before one of its methods, so many ``times``."""

    def __init__(self, client: Any, method: str, action: Callable[[], Any], times: int = 1) -> None:
        self._client, self._method, self._action, self._times = client, method, action, times

    def __getattr__(self, name: str) -> Any:
        if name == self._method and self._times > 0:
            self._times -= 1
            self._action()
        return getattr(self._client, name)


class Inbox:
    """A handler that keeps its messages; ``wait(n)`` waits for the first n and returns them."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str | None, str]] = []
        self.reconnects = 0
        self._changed = threading.Condition()

    def __call__(self, channel: str, pattern: str | None, payload: str) -> None:
        with self._changed:
            self.messages.append((channel, pattern, payload))
            self._changed.notify_all()

    def on_reconnect(self) -> None:
        with self._changed:
            self.reconnects += 1
            self._changed.notify_all()

    def wait(self, count: int) -> list[tuple[str, str | None, str]]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.messages) >= count, WAIT), (
                f"only {len(self.messages)} came"
            )
            return list(self.messages)

    def wait_reconnects(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.reconnects >= count, WAIT), (
                "no reconnect was announced"
            )


class ShiftedClock(infra.Clock):
    """The computer's clock, ``ahead`` seconds fast, so that no test waits for a deadline."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._haste = threading.local()

    def now(self) -> datetime:
        return datetime.now(timezone.utc) + timedelta(seconds=self.monotonic() - time.monotonic())

    def monotonic(self) -> float:
        haste = vars(self._haste)
        looks = haste["looks"] = haste.get("looks", 0) + 1
        return time.monotonic() + self.ahead + (haste.get("seconds", 0.0) if looks > 1 else 0.0)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    @contextlib.contextmanager
    def haste(self, seconds: float) -> Iterator[None]:
        """Take these seconds from the next call of this thread in the block, once it has begun."""
        vars(self._haste).update(looks=0, seconds=seconds)
        yield
        vars(self._haste).clear()


def eventually(condition: Callable[[], Any], seconds: float = WAIT) -> None:
    """Waits for what the other side does in its own time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


def in_background(work: Callable[[], Any]) -> Callable[[], Any]:
    """Run the work in a thread; return a function that waits for its result or exception."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def join() -> Any:
        thread.join(WAIT)
        assert results, "a thread hangs"
        return results[0]

    return join


def cpu_seconds(work: Callable[[], object], runs: int = 3) -> float:
    """Return the CPU time of the fastest run, without the garbage collector."""
    times = []
    gc.disable()
    try:
        for _ in range(runs):
            started = time.process_time()
            work()
            times.append(time.process_time() - started)
    finally:
        gc.enable()
    return min(times)


def assert_grows_evenly(work: Callable[[int], object], size: int) -> None:
    """Assert that 16 times the size takes at most 96 times as long.

    What grows with the square of the size takes 256 times as long. Where the larger one leaves the
    processor's caches, other programs make it three times slower than the smaller one.
    """
    usual = max(cpu_seconds(functools.partial(work, size)), 0.001)
    assert any(cpu_seconds(functools.partial(work, 16 * size), 1) <= 96 * usual for _ in range(3))


def in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Run ``work(0)`` … ``work(count-1)`` at once; return results or exceptions, in order."""
    results: list[Any] = [None] * count
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        barrier.wait(WAIT)
        try:
            results[number] = work(number)
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns often: what needs a lock shows it
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "a thread hangs"
    finally:
        sys.setswitchinterval(usual)
    return results


@dataclass
class StorageBackend:
    """A store, and the ``bucket`` of the test.

    ``connect()`` makes providers of the same store with other options. ``fetch(url, method, data)``
    returns status and body of a plain HTTP request. ``pause(seconds)`` advances the store's clock.
    """

    storage: infra.StorageProvider
    connect: Callable[..., infra.StorageProvider]
    fetch: Callable[..., tuple[int, bytes]]
    uploads: Callable[[], int]  # that were begun and neither completed nor aborted
    many: int = 2001  # objects, so that a list has two full pages and a third one
    pause: Callable[[float], None] = time.sleep
    buckets: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.bucket = self.new_bucket()

    def new_bucket(self) -> str:
        """A further one; it goes with the test, too."""
        self.buckets.append(f"test-{uuid.uuid4().hex[:20]}")
        self.storage.create_bucket(self.buckets[-1])
        return self.buckets[-1]

    def keys(self, prefix: str | None = None) -> list[str]:
        return [each.key for each in self.storage.list_objects(self.bucket, prefix)]


@functools.lru_cache
def raw_s3(config: infra.S3StorageConfig) -> Any:
    """boto3's own client, to look at the store from outside."""
    import boto3
    import botocore.config

    client = boto3.session.Session().client(
        "s3",
        region_name=config.region,
        endpoint_url=config.endpoint,
        aws_access_key_id=config.access_key,
        aws_secret_access_key=config.secret_key,
        config=botocore.config.Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    atexit.register(client.close)
    return client


def remove_bucket(storage: infra.S3StorageProvider, bucket: str) -> None:
    """With what is in it."""
    raw = raw_s3(storage.config)
    for upload in raw.list_multipart_uploads(Bucket=bucket).get("Uploads", ()):
        raw.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    assert (
        storage.delete_batch(bucket, [each.key for each in storage.list_objects(bucket)]).errors
        == {}
    )
    # Folders of the gateway, which keeps objects as files.
    for each in storage.list_objects(bucket):
        storage.delete(bucket, each.key)
    raw.delete_bucket(Bucket=bucket)


def over_http(url: str, method: str = "GET", data: bytes = b"") -> tuple[int, bytes]:
    """Straight to the host, whatever proxies there are."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=WAIT)
    try:
        connection.request(method, f"{parts.path}?{parts.query}", data or None)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def on_fake_storage() -> Any:
    @pytest.fixture
    def backend(self: object) -> StorageBackend:
        clock, buckets = fakes.FakeClock(), dict[str, Any]()

        def connect(**options: Any) -> fakes.FakeStorageProvider:
            return fakes.FakeStorageProvider(buckets, clock=clock, **options)

        def fetch(url: str, method: str = "GET", data: bytes = b"") -> tuple[int, bytes]:
            try:
                return 200, storage.fetch(url, method, data)
            except infra.NotFoundError:
                return 404, b""
            except infra.StorageError:
                return 403, b""

        storage = connect()
        return StorageBackend(storage, connect, fetch, lambda: 0, pause=clock.advance)

    return backend


def on_s3(name: str) -> Any:
    """``name`` is a kind of server, or "strict": our stand-in."""

    @pytest.fixture
    def backend(
        self: object, no_aws: None, s3: Callable[[str], infra.S3StorageProvider]
    ) -> Iterator[StorageBackend]:
        opened: list[infra.S3StorageProvider] = []
        storage = s3(name)
        config = storage.config

        def connect(**options: Any) -> infra.S3StorageProvider:
            opened.append(infra.S3StorageProvider(config, keeps_folders=name == "s3", **options))
            return opened[-1]

        def uploads() -> int:
            return len(raw_s3(config).list_multipart_uploads(Bucket=made.bucket).get("Uploads", ()))

        # Slower ones.
        made = StorageBackend(storage, connect, over_http, uploads, 2001 if name == "s3" else 1002)
        yield made
        for each in opened:
            each.close()
        for bucket in made.buckets:
            remove_bucket(storage, bucket)

    return backend


@dataclass
class SmsBackend:
    """``texts()`` gives what was sent; ``refuse()`` makes the provider refuse the next message."""

    service: infra.SmsService
    texts: Callable[[], list[str]]
    refuse: Callable[[], None]


def on_fake_sms() -> Any:
    @pytest.fixture
    def backend(self: object) -> SmsBackend:
        service = fakes.FakeSmsService()
        refusal = infra.SmsError("refused", outcome="rejected")
        return SmsBackend(
            service,
            lambda: [sent.message for sent in service.outbox],
            lambda: service.fail_next("*", refusal),
        )

    return backend


def on_mock_sms() -> Any:
    @pytest.fixture
    def backend(self: object) -> SmsBackend:
        console = io.StringIO()
        service = infra.MockSmsService(console)

        def texts() -> list[str]:
            frames = re.findall(
                r"\+-+\+\n\| SMS to \*\*\*\d{4} *\|\n(.*?)\+-+\+\n", console.getvalue(), re.DOTALL
            )
            return [
                "\n".join(line[2:-2].rstrip() for line in frame.splitlines()) for frame in frames
            ]

        return SmsBackend(service, texts, lambda: setattr(service, "simulate_failure", True))

    return backend


def on_twilio(**changes: Any) -> Any:
    """``changes``: of the usual SmsConfig, with the account's own login and a number."""
    config = infra.SmsConfig(
        provider="twilio", api_key=twilio.ACCOUNT, api_secret=twilio.TOKEN, sender=twilio.NUMBER
    )
    config = dataclasses.replace(config, **changes)

    @pytest.fixture
    def backend(self: object, twilio_server: twilio.Twilio) -> Iterator[SmsBackend]:
        refusal = twilio_server.error(400, 21610, "Attempt to send to unsubscribed recipient")
        with infra.TwilioSmsService(config, endpoint=twilio_server.url) as service:
            yield SmsBackend(
                service,
                lambda: [each["body"] for each in twilio_server.messages],
                lambda: twilio_server.bad_days.append(refusal),
            )

    return backend


def on_sns() -> Any:
    @pytest.fixture
    def backend(self: object, no_aws: None, service: Callable[[str], str]) -> Iterator[SmsBackend]:
        account = MotoAccount(service("moto"))
        with infra.SnsSmsService(account.config, endpoint=account.url) as sns:
            yield SmsBackend(sns, account.texts, lambda: account.authorise(0))
            account.authorise(math.inf)

    return backend


def on_failover() -> Any:
    """The first service refuses whatever it gets."""

    @pytest.fixture
    def backend(self: object) -> SmsBackend:
        fake, refusal = fakes.FakeSmsService(), infra.SmsError("refused", outcome="rejected")
        return SmsBackend(
            infra.FailoverSmsService(
                infra.MockSmsService(io.StringIO(), simulate_failure=True), fake
            ),
            lambda: [sent.message for sent in fake.outbox],
            lambda: fake.fail_next("*", refusal),
        )

    return backend


def locals_of(error: BaseException) -> str:
    """The local variables of the calls that have failed, as services that collect errors store
    them; not those of the caller in the tests."""
    found, left = list[str](), [error]
    for each in left:
        left += [inner for inner in (each.__cause__, each.__context__) if inner is not None]
        for frame, _ in traceback.walk_tb(each.__traceback__):
            if f"{os.sep}tests{os.sep}" not in frame.f_code.co_filename:
                found += [f"{name}={value!r}" for name, value in frame.f_locals.items()]
    return "\n".join(found)


class MotoAccount:
    """An account of the test on moto's server, whose user has no rights.

    That does not matter until ``authorise`` makes moto check all but a number of requests.
    """

    def __init__(self, url: str, cafile: str | None = None) -> None:
        self.url = url
        self._tls = ssl.create_default_context(cafile=cafile) if cafile else None
        self._account = f"{random.randrange(10**12):012}"
        self._ask("/", "Action=CreateUser&UserName=u")
        created = self._ask("/", "Action=CreateAccessKey&UserName=u")
        key, secret = (
            re.findall(f"<{tag}>(.+)</{tag}>", created)[0]
            for tag in ("AccessKeyId", "SecretAccessKey")
        )
        self.config = infra.SmsConfig(provider="aws_sns", api_key=key, api_secret=secret)

    def _ask(self, path: str, data: str | None = None) -> str:
        headers = {
            "x-moto-account-id": self._account,
            "Authorization": "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/iam/aws4_request",
            "Content-Type": "application/x-www-form-urlencoded" if path == "/" else "text/plain",
        }
        request = urllib.request.Request(self.url + path, data.encode() if data else None, headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=WAIT, context=self._tls) as answer:  # noqa: S310
            return str(answer.read().decode())

    def texts(self) -> list[str]:
        found: list[str] = json.loads(self._ask(f"/sms/{self._account}"))
        return found

    def authorise(self, after: float) -> None:
        self._ask("/moto-api/reset-auth", str(after))


def in_child(work: Callable[[], None], meanwhile: Callable[[], object] = int) -> None:
    """Runs the work in a forked child, which has to end well, and ``meanwhile()`` in the parent."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            gc.collect()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    try:
        meanwhile()
    finally:
        status = os.waitpid(child, 0)[1]
    assert status == 0
