"""A bundle of one's own: its services, on the real side and on the fake side."""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

import fakes
import infra
from tests.contract.backends import WAIT, in_threads
from tests.contract.test_bundle import (
    Categories,
    Category,
    FakePager,
    FakeReviews,
    FakeServices,
    Pager,
    Products,
    Reviews,
    Services,
)

PHONE = "+14155550100"
CONFIG = infra.Config()


class Client:
    """A client of another library: it has a ``close``, and is of no class of this one."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


class WithClient(infra.Infrastructure):
    built = 0

    @infra.provided
    def client(self) -> Client:
        """Another library's."""
        type(self).built += 1
        return Client()

    @infra.provided
    def name(self) -> str:
        return "a text has nothing to close"


def test_a_service_is_built_on_first_use_and_closed_with_the_bundle() -> None:
    class Counted(WithClient): ...

    with Counted(CONFIG) as services:
        assert Counted.built == 0
        client = services.client
        assert services.client is client
        assert (Counted.built, client.closed, services.name[:6]) == (1, 0, "a text")
    assert client.closed == 1
    assert services.client is client  # as it was left
    unused = Counted(CONFIG)
    unused.close()
    with pytest.raises(infra.ConnectionError, match="the bundle is closed") as caught:
        unused.client  # noqa: B018
    assert (caught.value.service, caught.value.retryable, Counted.built) == ("client", False, 1)


@pytest.mark.parametrize(
    "kind", [WithClient, type("Fake", (fakes.FakeInfrastructure, WithClient), {})]
)
def test_sixteen_threads_get_one_object(kind: Any) -> None:
    for _ in range(20):
        services = kind.from_env({})
        before = WithClient.built
        kind.built = 0
        found = in_threads(16, functools.partial(getattr, services, "client"))
        assert len({id(each) for each in found}) == 1
        assert kind.built == 1
        assert before == WithClient.built or kind is WithClient


def test_a_service_that_cannot_be_built_is_asked_again() -> None:
    class Fails(infra.Infrastructure):
        attempts = 0

        @infra.provided
        def client(self) -> Client:
            self.attempts += 1
            if self.attempts == 1:
                raise infra.ConfigurationError("no client is set")
            return Client()

    services = Fails(CONFIG)
    with pytest.raises(infra.ConfigurationError, match="no client is set"):
        services.client  # noqa: B018
    assert (services.client, services.attempts) == (services.client, 2)


def test_what_is_built_while_the_bundle_closes_is_closed() -> None:
    class Slow(infra.Infrastructure):
        made: Client

        @infra.provided
        def client(self) -> Client:
            self.made = Client()
            self.close()
            return self.made

    services = Slow(CONFIG)
    with pytest.raises(infra.ConnectionError, match="the bundle is closed"):
        services.client  # noqa: B018
    assert services.made.closed == 1


def test_a_service_may_hold_that_of_its_base() -> None:
    class Both(WithClient):
        @infra.provided
        def client(self) -> Client:
            wrapper = Client()
            wrapper.inner = super().client  # type: ignore[attr-defined]
            return wrapper

    with Both(CONFIG) as services:
        inner = services.client.inner  # type: ignore[attr-defined]
        assert inner is not services.client
    assert (inner.closed, services.client.closed) == (1, 1)


def test_two_services_may_have_functions_of_one_name() -> None:
    class Lambdas(infra.Infrastructure):
        one = infra.provided(lambda services: 1)
        two = infra.provided(lambda services: 2)

    assert (Lambdas(CONFIG).one, Lambdas(CONFIG).two) == (1, 2)
    services = Lambdas(CONFIG)
    assert (services.one, services.two) == (1, 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_does_not_wait_for_a_thread_of_its_parent() -> None:
    entered, leave = threading.Event(), threading.Event()

    class Slow(infra.Infrastructure):
        @infra.provided
        def client(self) -> Client:
            if threading.current_thread() is thread:
                entered.set()
                leave.wait(WAIT)
            return Client()

    services = Slow(CONFIG)
    thread = threading.Thread(target=lambda: services.client, daemon=True)
    thread.start()
    assert entered.wait(WAIT)
    child = os.fork()
    if child == 0:  # pragma: no cover
        # Not in a new thread: it could have the id of the parent's thread, and so its lock.
        signal.alarm(int(WAIT))
        services.client  # noqa: B018
        os._exit(0)
    leave.set()
    assert os.waitpid(child, 0)[1] == 0
    thread.join(WAIT)


@pytest.mark.parametrize("wrong", [5, None, "products", property(lambda self: 1)])
def test_what_provides_nothing(wrong: Any) -> None:
    with pytest.raises(infra.ConfigurationError, match=r"^build should be a function"):
        infra.provided(wrong)


def test_a_deferred_function_provides_nothing() -> None:
    async def later(services: Any) -> int:
        return 1

    def each(services: Any) -> Any:
        yield 1

    for wrong in (later, each):
        with pytest.raises(infra.ConfigurationError, match=r"^build should be a plain function"):
            infra.provided(wrong)


def test_a_service_has_a_docstring_and_cannot_be_set() -> None:
    assert Services.products.__doc__ == "What the shop sells."
    assert FakeServices.products is Services.products
    services: Any = WithClient(CONFIG)
    with pytest.raises(AttributeError, match="client of WithClient cannot be set"):
        services.client = 5


def test_from_env_returns_the_class() -> None:
    assert type(Services.from_env({})) is Services
    assert type(FakeServices.from_env({})) is FakeServices


# --- the fake side


def sell(services: Services) -> str:
    services.load({"categories": [{"name": "Tea"}]})
    (tea,) = services.categories.page().items
    services.load({"products": [{"category_id": tea.id, "name": "Sencha"}]})
    services.archive.create_bucket("receipts")
    return services.sms.send_sms(PHONE, "sold")


def test_the_fake_bundle() -> None:
    with FakeServices() as services:
        assert sell(services) == services.sms.outbox[0].id
        assert isinstance(services.sms, FakePager)
        assert isinstance(services.sms, Pager)
        assert isinstance(services.reviews, FakeReviews)
        assert isinstance(services.archive, fakes.FakeStorageProvider)
        assert isinstance(services.products, fakes.Faults)
        assert services.categories.root == "all"
        services.products.fail_next("create", infra.DatabaseError)
        with pytest.raises(infra.DatabaseError):
            services.products.create(None)  # type: ignore[arg-type]
    with pytest.raises(infra.ConnectionError, match="closed"):
        services.sms.send_sms(PHONE, "late")


def test_unused_faults_of_own_services() -> None:
    class FakeWithClient(fakes.FakeInfrastructure, WithClient): ...

    with FakeWithClient() as plain:
        assert plain.client.closed == 0  # it is no fake
    with pytest.raises(AssertionError) as caught, FakeServices(engine="postgres") as services:
        services.sms.fail_next("send_sms", infra.SmsError)
        services.exchange.fail_next("run", infra.DatabaseError)
        services.products.fail_next("create", infra.DatabaseError)  # type: ignore[attr-defined]
    assert str(caught.value).partition(": ")[2] == (
        "run of FakeDatabase, send_sms of FakePager, create of Products"
    )


def test_own_services_of_a_fake_bundle_are_built_on_first_use() -> None:
    class Late(fakes.FakeInfrastructure):
        def __init__(self) -> None:
            super().__init__()
            self.sent_before = 2

        @infra.provided
        def sms(self) -> fakes.FakeSmsService:
            sms = fakes.FakeSmsService()
            for _ in range(self.sent_before):
                sms.send_sms(PHONE, "before")
            return sms

    assert len(Late().sms.outbox) == 2


def test_one_database() -> None:
    for engine, name in (("mysql", "mysql"), ("mariadb", "mysql"), ("postgres", "postgres")):
        services = FakeServices(engine=engine)
        assert services.accounts is services.exchange is services.database
        assert (services.exchange.dialect, services.exchange.engine) == (engine, name)
        databases = {services.users.database, services.tokens.database, services.products.database}
        assert databases == {services.exchange}
        phone_user = services.phone_users.create_for_phone(PHONE)
        assert (
            services.tokens.issue(phone_user.id, ttl=60).record.created_at == services.clock.now()
        )
        services.users.create(infra.User("ada@example.org", "ada"))
        with pytest.raises(ZeroDivisionError), services.accounts.transaction():
            services.users.create(infra.User("bob@example.org", "bob"))
            services.phone_users.delete(phone_user.id)
            raise ZeroDivisionError
        assert (services.users.count(), services.phone_users.count()) == (1, 1)
    split = FakeServices()
    assert (split.accounts.engine, split.exchange.engine) == ("mysql", "postgres")
    with pytest.raises(infra.ConfigurationError, match="two databases are set"):
        split.database  # noqa: B018


def test_tables_of_a_fake_bundle() -> None:
    notes = fakes.Table("notes", {"id": fakes.Column(int), "text": fakes.Column(str)})
    services = fakes.FakeInfrastructure(tables=[notes, Categories, Products])
    for database in (services.accounts, services.exchange):
        database.table("notes").insert({"id": 1, "text": "a"})
        assert Products.on(database).count() == 0
        with pytest.raises(infra.DatabaseError, match="reviews"):
            database.table("reviews")
    assert services.load({"categories": [{"name": "Tea"}]}) == {"categories": 1}
    assert services.exchange.table("categories").select()[0]["name"] == "Tea"
    with pytest.raises(infra.ValidationError, match="tables has no notes"):
        services.load({"notes": [{"id": 2, "text": "b"}]})

    class More(FakeServices): ...

    more = More(tables=iter([notes]), engine="mysql")
    more.accounts.table("notes").insert({"id": 1, "text": "a"})
    assert (more.products.count(), more.reviews.count()) == (0, 0)
    assert Services.tables == (Reviews, Products, Categories)


def test_a_table_of_ones_own_takes_the_place_of_the_librarys() -> None:
    class Users(infra.Repository[Category]):
        record, table, resource, sort_fields = Category, "users", "user", ("name",)

    services = fakes.FakeInfrastructure(tables=[Users], engine="mysql")
    assert services.load({"users": [{"name": "ada"}]}) == {"users": 1}
    assert [user.name for user in Users.on(services.exchange).page().items] == ["ada"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tables": 5}, "tables should be a list"),
        ({"tables": "notes"}, "tables should be a list"),
        ({"tables": Products}, "tables should be a list"),
        ({"tables": [5]}, "Table.of takes the class of a repository"),
        ({"tables": [Client]}, "Table.of takes the class of a repository"),
        ({"tables": [infra.Repository]}, "Repository should set record"),
        ({"engine": "oracle"}, "engine should be mysql, mariadb or postgres"),
        ({"engine": 5}, "engine should be mysql, mariadb or postgres"),
        ({"engine": ["mysql"]}, "engine should be mysql, mariadb or postgres"),
    ],
)
def test_wrong_options_of_a_fake_bundle(options: Any, message: str) -> None:
    with pytest.raises((infra.ConfigurationError, infra.ValidationError), match=message):
        fakes.FakeInfrastructure(**options)


@pytest.mark.parametrize(
    "wrong", [(5,), (Client,), (infra.Repository,), (fakes.Table,), Products, 5, None]
)
def test_wrong_tables_of_a_bundle(wrong: Any) -> None:
    kind: Any = type("Wrong", (infra.Infrastructure,), {"tables": wrong})
    with pytest.raises(infra.ConfigurationError, match="tables should be the classes of repos"):
        kind(CONFIG).load({})


@pytest.mark.parametrize("wrong", [Products, 5, None])
def test_a_fake_bundle_of_one_table_that_is_no_list(wrong: Any) -> None:
    kind: Any = type("Wrong", (fakes.FakeInfrastructure,), {"tables": wrong})
    with pytest.raises(infra.ValidationError, match="tables should be a list"):
        kind()


def test_a_fake_bundle_is_not_down() -> None:
    """A test that sets it there would test nothing."""
    services: Any = FakeServices()
    with pytest.raises(AttributeError, match="FakeServices has no attribute 'down'"):
        services.down = True


def test_the_class_of_a_backend_is_shown_in_the_module_of_its_table() -> None:
    made = Products.on(FakeServices().exchange)
    assert (type(made).__module__, type(made).__name__) == (Products.__module__, "Products")


def test_a_fake_bundle_names_the_fakes_first() -> None:
    """Else the services of the real side would come before the fakes."""
    with pytest.raises(
        infra.ConfigurationError, match="Wrong should name FakeInfrastructure before Services"
    ):
        type("Wrong", (Services, fakes.FakeInfrastructure), {})


def real_sms(_: Any) -> infra.SmsService:
    config = infra.SmsConfig(provider="twilio", api_key=f"AC{0:032}", api_secret="x", sender=PHONE)
    return infra.create_sms_service(config)


def real_redis(_: Any) -> infra.KeyValueClient:
    return infra.RedisClient(infra.CacheConfig(url="redis://127.0.0.1:1"))


@pytest.mark.parametrize(
    "build",
    [real_sms, pytest.param(real_redis, marks=pytest.mark.real)],  # the second needs a driver
)
def test_a_fake_bundle_does_not_build_what_calls_a_server(build: Callable[[Any], Any]) -> None:
    def paging(services: Any) -> Any:
        return build(services)

    kind: Any = type("Own", (infra.Infrastructure,), {"paging": infra.provided(paging)})
    fake: Any = type("FakeOwn", (fakes.FakeInfrastructure, kind), {})
    services = fake()
    for _ in range(2):
        with pytest.raises(
            infra.ConfigurationError, match="FakeOwn should override paging"
        ) as caught:
            services.paging  # noqa: B018
    assert str(caught.value).endswith(("it is a TwilioSmsService", "it is a RedisClient"))
    meant: Any = type("Meant", (fake,), {"paging": infra.provided(build)})
    with meant() as services:
        assert services.paging is services.paging
