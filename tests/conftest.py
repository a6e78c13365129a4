"""Fixtures and rules of the whole suite."""

from __future__ import annotations

import gc
import importlib.metadata
import importlib.util
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pytest
from hypothesis import HealthCheck, settings

import infra
from tests import s3_stand_in, services, twilio
from tests.contract.backends import eventually, in_background
from tests.scale import PROVE, scaled

T = TypeVar("T")

pytest_plugins = ["tests.contract.calls"]

settings.register_profile(
    "machines",
    max_examples=scaled(2000),
    stateful_step_count=40,
    deadline=None,
    derandomize=not PROVE,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("machines")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that runs the tests in the background makes them, and what they start, ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

_versions: dict[str, str] = {}
_not_shown: dict[str, str] = {}


def not_shown(what: str, remedy: str) -> NoReturn:
    """Skip what this machine cannot show, even under REQUIRE_SERVICES=1, and name it at the end."""
    _not_shown[what] = remedy
    pytest.skip(f"{what} is not shown on this machine: {remedy}")


def _or_skip(start: Callable[[], T]) -> T:
    """Return the result of ``start``; skip the test, with the remedy, if the server is missing.

    Under REQUIRE_SERVICES=1 the test fails, unless this kind of machine cannot run the server.
    """
    try:
        return start()
    except services.NotHere as reason:
        what, _, remedy = str(reason).partition(": ")
        not_shown(what, remedy)
    except services.Missing as missing:
        if os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def service() -> Iterator[Callable[[str], str]]:
    """Return a function that gives the URL of a server by name; the run shares the server."""

    def url(name: str) -> str:
        found = _or_skip(lambda: services.shared(name))
        _note_version(name, found)
        return found

    yield url
    services.stop_shared()


@pytest.fixture(scope="session")
def database(service: Callable[[str], str]) -> Iterator[Callable[[str], str]]:
    """Return a function that creates a database on a shared server, and returns its URL."""
    made: list[tuple[str, str]] = []

    def url(name: str) -> str:
        server = service(name)
        made.append((server, f"test_{uuid.uuid4().hex[:20]}"))
        sql(server, f"CREATE DATABASE {made[-1][1]}")
        return server.rpartition("/")[0] + "/" + made[-1][1]

    yield url
    for server, made_name in made:
        if server in services.lasting_urls():
            sql(server, f"DROP DATABASE IF EXISTS {made_name}")


@pytest.fixture(scope="session")
def shared_pool(database: object) -> Iterator[Callable[[str], infra.ConnectionPool]]:
    """Return a function that gives the pool of a database: logins would take longer."""
    pools: dict[str, infra.ConnectionPool] = {}

    def pool(url: str) -> infra.ConnectionPool:
        if url not in pools:
            pools[url] = infra.create_pool(infra.DatabaseConfig(url=url))
        return pools[url]

    yield pool
    for made in pools.values():
        made.close()


def sql(url: str, statement: str) -> None:
    """Execute one statement on a new connection."""
    with infra.create_pool(infra.DatabaseConfig(url=url)) as pool:
        pool.execute(statement)


@pytest.fixture
def private_server() -> Iterator[Callable[[str], services.Server]]:
    """Return a function that starts a server of this test, which may kill and pause it."""
    started: list[services.Server] = []

    def start(name: str) -> services.Server:
        server = _or_skip(lambda: services.private(name))
        started.append(server)
        _note_version(name, server.url)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def rabbit_server() -> Iterator[Callable[[], services.RabbitServer]]:
    """Return a function that gives a RabbitMQ to kill and pause, which takes ten seconds to start.

    The tests of a process share it: each leaves it running, and without queues.
    """
    started: list[services.Server] = []

    def start() -> services.RabbitServer:
        if not started:
            started.append(_or_skip(lambda: services.private("rabbitmq")))
            _note_version("rabbitmq", started[0].url)
        server = started[0]
        assert isinstance(server, services.RabbitServer)
        return server

    yield start
    for server in started:
        server.stop()


def _check_flask() -> None:
    if importlib.util.find_spec("flask") is None:
        raise services.Missing("Flask is not installed: pip install flask")


@pytest.fixture(scope="session")
def flask() -> None:
    """Skip the test, or fail it under REQUIRE_SERVICES=1, if Flask is not installed."""
    _or_skip(_check_flask)


@pytest.fixture(scope="session")
def aws_models() -> Iterator[None]:
    """Let all of boto3's clients share the files that describe AWS.

    Each client has a session of its own, which would parse them again: half of the time that it
    takes to make a client.
    """
    if importlib.util.find_spec("botocore") is None:
        yield
        return
    from botocore.loaders import JSONFileLoader, Loader

    load, list_services = JSONFileLoader.load_file, Loader.list_available_services
    files, services_of = dict[str, Any](), dict[tuple[str, ...], list[str]]()

    def load_file(self: Any, file_path: str) -> Any:
        if file_path not in files:
            files[file_path] = load(self, file_path)
        return files[file_path]

    def list_available_services(self: Any, type_name: str) -> list[str]:
        key = (type_name, *self.search_paths)
        if key not in services_of:
            services_of[key] = list_services(self, type_name)
        return services_of[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", load_file)
        patch.setattr(Loader, "list_available_services", list_available_services)
        yield


@pytest.fixture
def no_aws(aws_models: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide this machine's AWS settings and proxies from boto3."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "absent"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        for variable in (name, name.lower()):
            monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def on_alarm() -> Iterator[Callable[[BaseException], None]]:
    """Return a function that sets the error that SIGALRM raises, as a worker's time limit does."""

    def set_error(error: BaseException) -> None:
        def interrupt(*_: Any) -> NoReturn:
            raise error

        signal.signal(signal.SIGALRM, interrupt)

    usual = signal.getsignal(signal.SIGALRM)
    yield set_error
    signal.signal(signal.SIGALRM, usual)


class SlowCredentials:
    """A program that gives boto3 its credentials when the test lets it.

    https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html
    """

    def __init__(self, folder: Path) -> None:
        self.config, program = folder / "config", folder / "program"
        self._asked, self._answer = folder / "asked", folder / "answer"
        program.write_text(
            f"#!/bin/sh\ntouch {self._asked}\n"
            f"for each in $(seq 600); do [ -e {self._answer} ] && break; sleep 0.05; done\n"
            f"cat {self._answer}\n"
        )
        program.chmod(0o700)
        self.config.write_text(f"[default]\ncredential_process = {program}\n")

    def check_closing(self, ask: Callable[[], Any], close: Callable[[], None]) -> None:
        """Assert that ``close`` does not wait for the credentials, and that ``ask`` then raises."""
        asked = in_background(ask)
        try:
            eventually(self._asked.exists)
            assert in_background(close)() is None
        finally:
            given = self.config.with_name("given")
            given.write_text('{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b"}')
            given.rename(self._answer)
        error = asked()
        assert isinstance(error, infra.ConnectionError)
        assert "closed" in str(error)


@pytest.fixture
def slow_credentials(
    no_aws: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> SlowCredentials:
    found = SlowCredentials(tmp_path)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(found.config))
    return found


def s3_config(url: str, **changes: Any) -> infra.S3StorageConfig:
    """Return the configuration for a server of the tests."""
    access_key, secret_key = services.s3_keys()
    usual = {
        "endpoint": url,
        "access_key": access_key,
        "secret_key": secret_key,
        "read_timeout": 10.0,
    }
    return infra.S3StorageConfig(**{**usual, **changes})


@pytest.fixture(scope="session")
def s3(
    service: Callable[[str], str], strict_s3: s3_stand_in.StrictS3
) -> Iterator[Callable[[str], infra.S3StorageProvider]]:
    """Return a function that gives a provider by name.

    Tests share it, because boto3 is slow to make one; each test has its own bucket.
    """
    made: dict[str, infra.S3StorageProvider] = {}

    def provider(name: str) -> infra.S3StorageProvider:
        url = strict_s3.url if name == "strict" else service(name)
        if name not in made:
            made[name] = infra.S3StorageProvider(s3_config(url), keeps_folders=name == "s3")
        return made[name]

    yield provider
    for shared in made.values():
        shared.close()


@pytest.fixture(scope="session")
def strict_s3() -> Iterator[s3_stand_in.StrictS3]:
    """Start the stand-in that all tests share; each has its bucket, and none makes it fail."""
    _versions["strict s3"] = "stand-in"
    with s3_stand_in.StrictS3() as server:
        yield server


@pytest.fixture
def twilio_server() -> Iterator[twilio.Twilio]:
    """Start a stand-in of Twilio for this test."""
    _versions["twilio"] = "stand-in"
    with twilio.Twilio() as server:
        yield server


def _note_version(name: str, url: str) -> None:
    if name == "moto":
        _versions[name] = f"moto {importlib.metadata.version('moto')}"
    if name not in _versions:
        client: infra.KeyValueClient | infra.Database | infra.StorageProvider | infra.EventStream
        if name == "s3":
            client = infra.S3StorageProvider(s3_config(url))
        elif url.startswith("redis"):
            client = infra.RedisClient(infra.CacheConfig(url=url))
        elif url.startswith("nats"):
            client = infra.NatsEventStream(infra.NatsConfig(url=url))
        elif url.startswith("amqp"):
            client = infra.RabbitMQEventStream(infra.RabbitMQConfig(url=url))
        else:
            client = infra.create_pool(infra.DatabaseConfig(url=url))
        with client:
            _versions[name] = client.health_check().server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The long tests first, so that no process waits for another's at the end of the run.
    items.sort(key=lambda item: item.path.parent.name != "properties")
    for item in items:
        if {
            "service",
            "private_server",
            "rabbit_server",
            "database",
            "no_aws",
            "s3",
            "flask",
        } & set(getattr(item, "fixturenames", ())):
            item.add_marker("real")


def pytest_sessionfinish(session: pytest.Session) -> None:
    # A worker process hands its part to the first process, which prints the summary.
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["seen"] = _versions, _not_shown


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    for known, found in zip(
        (_versions, _not_shown), getattr(node, "workeroutput", {}).get("seen", ())
    ):
        known.update(found)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    gc.disable()  # the cases are no garbage
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Exclude the twenty thousand cases from garbage collection, which would scan them again."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    tested = "; ".join(f"{name} = {version}" for name, version in sorted(_versions.items()))
    terminalreporter.write_line(f"servers tested: {tested or 'none (fakes only)'}")
    for what, remedy in sorted(_not_shown.items()):
        terminalreporter.write_line(f"not shown on this machine: {what} ({remedy})")
