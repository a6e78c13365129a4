"""Each port has a complete suite on its fake and on a real backend; twins have the same names."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import fakes
import infra
from tests.contract import calls
from tests.contract.base import Contract, public_names, suites


def listener(module: str) -> type:
    """The class of that module which ``KeyValueClient.listen`` returns; it has no public name."""
    (found,) = [each for each in infra.Listener.__subclasses__() if each.__module__ == module]
    return found


TWINS: list[tuple[type, type, set[str]]] = [  # real, fake, and what only one of them has
    (infra.ConnectionPool, fakes.FakeDatabase, {"connection", "table", "kill_connections"}),
    (infra.MySQLPhoneUserRepository, fakes.FakePhoneUserRepository, set()),
    (infra.PostgresPhoneUserRepository, fakes.FakePhoneUserRepository, set()),
    (infra.MySQLTokenRepository, fakes.FakeTokenRepository, set()),
    (infra.PostgresTokenRepository, fakes.FakeTokenRepository, set()),
    (infra.MySQLUserRepository, fakes.FakeUserRepository, set()),
    (infra.PostgresUserRepository, fakes.FakeUserRepository, set()),
    (infra.MySQLOrganizationRepository, fakes.FakeOrganizationRepository, set()),
    (infra.PostgresOrganizationRepository, fakes.FakeOrganizationRepository, set()),
    (infra.MySQLBenchmarkRepository, fakes.FakeBenchmarkRepository, set()),
    (infra.PostgresBenchmarkRepository, fakes.FakeBenchmarkRepository, set()),
    (infra.MySQLSubmissionRepository, fakes.FakeSubmissionRepository, set()),
    (infra.PostgresSubmissionRepository, fakes.FakeSubmissionRepository, set()),
    (infra.RedisClient, fakes.FakeRedisClient, set()),
    (infra.RedisCacheProvider, fakes.FakeCacheProvider, set()),
    (infra.VerificationCache, fakes.FakeVerificationCache, set()),
    (infra.S3StorageProvider, fakes.FakeStorageProvider, {"fetch"}),
    (infra.RedisEventBus, fakes.FakeEventBus, set()),
    (infra.RedisEventStream, fakes.FakeEventStream, {"deliver"}),
    (infra.NatsEventStream, fakes.FakeEventStream, {"deliver"}),
    (infra.RabbitMQEventStream, fakes.FakeEventStream, {"deliver"}),
    (infra.MockSmsService, fakes.FakeSmsService, set()),
    (infra.TwilioSmsService, fakes.FakeSmsService, set()),
    (infra.SnsSmsService, fakes.FakeSmsService, set()),
    (infra.FailoverSmsService, fakes.FakeSmsService, set()),
    (infra.SystemClock, fakes.FakeClock, {"advance"}),
    (infra.Infrastructure, fakes.FakeInfrastructure, set()),
    (listener("infra"), listener("fakes"), set()),
]
SECRET = "0123456789abcdef0123456789abcdef"
ONLY_FAKES = {"fail_next", "down"}


def test_every_port_has_a_suite() -> None:
    assert {suite.port for suite in suites()} == {
        infra.Database,
        infra.Repository,
        infra.PhoneUserRepository,
        infra.TokenRepository,
        infra.UserRepository,
        infra.OrganizationRepository,
        infra.BenchmarkRepository,
        infra.SubmissionRepository,
        infra.KeyValueClient,
        infra.RedisCacheProvider,
        infra.VerificationCache,
        infra.StorageProvider,
        infra.MultiRegionStorageProvider,
        infra.RedisEventBus,
        infra.SmsService,
        infra.RowMove,
        infra.ObjectMove,
        infra.EventStream,
        infra.Outbox,
        infra.Inbox,
        infra.AuditLog,
    }


def test_every_suite_runs_on_a_fake_and_on_something_else() -> None:
    for suite, backends in suites().items():
        names = [backend.__name__ for backend in backends]
        assert any(name.startswith("TestFake") for name in names), suite.__name__
        assert any(not name.startswith("TestFake") for name in names), suite.__name__


def test_a_case_cannot_be_replaced_in_silence() -> None:
    class Suite(Contract):
        port = object

        def test_it(self) -> None: ...

    with pytest.raises(TypeError, match="replaces contract cases"):
        type("TestX", (Suite,), {"test_it": None})
    with pytest.raises(TypeError, match="do not exist"):
        type("TestX", (Suite,), {"differs": {"test_gone": "why"}})


def test_only_a_call_that_returns_covers_a_method() -> None:
    """`calls.py` fails the run for a method that no case of its suite covers."""
    called: set[tuple[str, str]] = set()
    with calls.noted(infra.KeyValueClient, called), fakes.FakeRedisClient() as client:
        assert [callable(client.exists), client.ttl is None] == [True, False]  # mentions
        with pytest.raises(infra.ValidationError):
            client.get(1)  # type: ignore[arg-type]
        codes = infra.VerificationCache(client, SECRET)  # calls the client, as `with` does
        codes.store_code("+14155550100", "123456")
        assert called == set()
        assert client.get("k") is None
    assert called == {("KeyValueClient", "get")}
    client.close()
    assert called == {("KeyValueClient", "get")}


def test_a_refusal_that_is_wanted_covers_a_method() -> None:
    called: set[tuple[str, str]] = set()
    with calls.noted(infra.Database, called), fakes.FakeDatabase() as database:
        with pytest.raises(infra.ValidationError):
            database.execute("")
        with pytest.raises(infra.ConfigurationError):
            database.fetch_one("SELECT 1")
    assert called == {("Database", "fetch_one")}


class Port:
    def one(self) -> None: ...

    def other(self) -> None: ...


class OfPort:
    port = Port

    def test_one(self) -> None: ...

    def test_other(self) -> None: ...


@pytest.mark.parametrize(
    ("ran", "deselected", "left_out"),
    [
        (["test_one"], [], []),
        (["test_one", "test_other"], [(__name__, "OfPort")], []),
        (["test_one", "test_other"], [], ["OfPort has no case that calls Port.other"]),
    ],
)
def test_what_a_suite_leaves_out(
    monkeypatch: pytest.MonkeyPatch, ran: list[str], deselected: list[Any], left_out: list[str]
) -> None:
    """Nothing is said of a suite that ran in part."""
    suite = __name__, "OfPort"
    monkeypatch.setattr(calls, "CALLED", {suite: {("Port", "one")}})
    monkeypatch.setattr(calls, "RAN", {suite: {*ran}})
    monkeypatch.setattr(calls, "DESELECTED", {*deselected})
    assert calls.left_out() == left_out


def signature(method: Any) -> str:
    """The signature as infra writes it: fakes calls the same class infra.Health."""
    return str(inspect.signature(method)).replace("infra.", "")


@pytest.mark.parametrize(("real", "fake", "extra"), TWINS)
def test_twins_have_the_same_public_face(real: type, fake: type, extra: set[str]) -> None:
    assert public_names(fake) - ONLY_FAKES - extra == public_names(real) - extra
    for name in public_names(real) - extra:
        ours, theirs = inspect.getattr_static(real, name), inspect.getattr_static(fake, name)
        if inspect.isfunction(ours):
            assert signature(ours) == signature(theirs), name


def test_both_files_have_the_same_version_and_export_what_exists() -> None:
    assert infra.__version__ == fakes.__version__
    for module in (infra, fakes):
        assert len(set(module.__all__)) == len(module.__all__)  # ruff keeps it sorted
        assert all(hasattr(module, name) for name in module.__all__)
        own = {
            name
            for name, value in vars(module).items()
            if getattr(value, "__module__", None) == module.__name__
        }
        public = {name for name in own if not name.startswith("_")}
        assert (
            public - set(module.__all__) - {"ConnectionError", "TimeoutError", "E", "R", "T"}
            == set()
        )
