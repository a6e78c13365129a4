"""Every port has a complete suite that runs on its fake and on something real; twins have the same public face."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import fakes
import infra
import tests.contract
from tests.contract.base import Contract, names_used, public_names

SQL_ONLY = {"connection", "execute", "fetch_one", "fetch_all", "stream"}  # statements need a server
TWINS: list[tuple[type, type, set[str]]] = [  # real, fake, and what only one of them has
    (infra.ConnectionPool, fakes.FakeDatabase, SQL_ONLY | {"table", "kill_connections"}),
    (infra.MySQLPhoneUserRepository, fakes.FakePhoneUserRepository, set()),
    (infra.MySQLTokenRepository, fakes.FakeTokenRepository, set()),
    (infra.PostgresUserRepository, fakes.FakeUserRepository, set()),
    (infra.PostgresOrganizationRepository, fakes.FakeOrganizationRepository, set()),
    (infra.PostgresBenchmarkRepository, fakes.FakeBenchmarkRepository, set()),
    (infra.PostgresSubmissionRepository, fakes.FakeSubmissionRepository, set()),
    (infra.RedisClient, fakes.FakeRedisClient, set()),
    (infra.RedisCacheProvider, fakes.FakeCacheProvider, set()),
    (infra.VerificationCache, fakes.FakeVerificationCache, set()),
    (infra.S3StorageProvider, fakes.FakeStorageProvider, {"fetch"}),
    (infra.RedisEventBus, fakes.FakeEventBus, set()),
    (infra.MockSmsService, fakes.FakeSmsService, set()),
    (infra.TwilioSmsService, fakes.FakeSmsService, set()),
    (infra.SnsSmsService, fakes.FakeSmsService, set()),
    (infra.FailoverSmsService, fakes.FakeSmsService, set()),
    (infra.SystemClock, fakes.FakeClock, {"advance"}),
    (infra.Infrastructure, fakes.FakeInfrastructure, set()),
    (infra._RedisListener, fakes._FakeListener, set()),
]
ONLY_FAKES = {"fail_next", "down"}


def suites() -> dict[type[Contract], list[type[Contract]]]:
    """Each contract class with the backends that run it."""
    for module in pkgutil.iter_modules(tests.contract.__path__):
        importlib.import_module(f"tests.contract.{module.name}")

    def below(suite: type[Contract]) -> list[type[Contract]]:
        return [each for sub in suite.__subclasses__() for each in (sub, *below(sub))]

    return {
        suite: [each for each in below(suite) if each.__name__.startswith("Test")]
        for suite in Contract.__subclasses__()
    }


def test_every_port_has_a_suite() -> None:
    assert {suite.port for suite in suites()} == {
        infra.Database,
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
        infra.RedisEventBus,
        infra.SmsService,
    }


def test_every_public_method_has_a_case() -> None:
    for suite in suites():
        wanted = public_names(suite.port)
        if suite.port is infra.KeyValueClient:
            wanted |= public_names(infra.Listener)
        if suite.port is infra.RedisEventBus:
            wanted |= public_names(infra.Subscription) | public_names(infra.Message)
        if suite.port is infra.RedisCacheProvider:
            wanted |= public_names(infra.CacheLock) | public_names(infra.CacheKey)
        assert wanted - names_used(suite) == set(), f"{suite.__name__} has no case for these"


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


@pytest.mark.parametrize(("real", "fake", "extra"), TWINS)
def test_twins_have_the_same_public_face(real: type, fake: type, extra: set[str]) -> None:
    assert public_names(fake) - ONLY_FAKES - extra == public_names(real) - extra
    for name in public_names(real) - extra:
        ours, theirs = inspect.getattr_static(real, name), inspect.getattr_static(fake, name)
        if inspect.isfunction(ours):
            assert inspect.signature(ours) == inspect.signature(theirs), name


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
