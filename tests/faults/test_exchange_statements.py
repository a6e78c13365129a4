"""Costs of users and organizations of the exchange on a real server: statements and waiting."""

from __future__ import annotations

import itertools
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import infra
from tests.contract.backends import in_threads
from tests.contract.base import public_names
from tests.contract.databases import ENGINES, ExchangeBackend, migrated, real_exchange, seen_waiting
from tests.faults.proxy import Recording

pytestmark = pytest.mark.real


@pytest.fixture
def calls() -> list[infra.Call]:
    return []


@pytest.fixture(params=["mariadb", "mysql", "postgres", "postgres-18"])
def backend(
    request: pytest.FixtureRequest, database: Callable[[str], str], calls: list[infra.Call]
) -> Iterator[ExchangeBackend]:
    found = real_exchange(migrated(database, request.param), calls.append)
    yield found
    found.database.close()


def some_users(backend: ExchangeBackend, count: int) -> list[infra.User]:
    return [
        backend.users.create(infra.User(f"user{number}@x", f"user{number}"))
        for number in range(count)
    ]


def test_filters_make_one_text_in_whichever_order(
    request: pytest.FixtureRequest, database: Callable[[str], str], backend: ExchangeBackend
) -> None:
    """Texts of statements are kept: what callers ask for should not make new ones for ever."""
    url = migrated(database, request.node.callspec.params["backend"])
    port = urllib.parse.urlsplit(url).port or 0
    with (
        Recording(port) as proxy,
        infra.create_pool(
            infra.DatabaseConfig(url=url.replace(f":{port}/", f":{proxy.port}/"))
        ) as pool,
    ):
        page_with_filters(ENGINES[pool.engine].submissions(pool))
    texts = {sent for sent in proxy.requests if b"submissions" in sent}
    assert (len(texts), len(proxy.requests) > 100) == (1, True)


def page_with_filters(submissions: infra.SubmissionRepository) -> None:
    values: dict[str, Any] = dict.fromkeys(submissions.filter_fields, infra.new_id())
    values |= {"model": "m", "verification_level": "audited", "visibility": "public"}
    for names in itertools.permutations(values, 3):
        submissions.page(infra.Query(filters={name: values[name] for name in (*names, *values)}))


def cost_of_verbs(
    cost: Callable[..., None], name: str, repository: infra.Repository[Any], field: str
) -> None:
    """Call the methods that take conditions."""
    some = {field: infra.AnyOf(None, infra.Not("https://none"))}
    cost(f"{name}.select", lambda: repository.select(some), repository.count(some))
    cost(f"{name}.exists_where", lambda: repository.exists_where(some))
    cost(f"{name}.iterate", lambda: [*repository.iterate(some)], repository.count(some))
    cost(f"{name}.delete_where", lambda: repository.delete_where({field: "https://none"}))


def test_no_method_costs_a_statement_for_each_item(
    backend: ExchangeBackend, calls: list[infra.Call]
) -> None:
    users, organizations = backend.users, backend.organizations
    owner, joins, leaves, goes, *members = some_users(backend, 52)
    acme, *_ = [
        organizations.create(infra.Organization("A", f"a{number}"), owner.id)
        for number in range(20)
    ]
    for member in (leaves, *members):
        users.add_to_organization(member.id, acme.id)
    costs: dict[str, int] = {}

    def cost(name: str, call: Callable[[], Any], items: int | None = None) -> None:
        calls.clear()
        result = call()
        costs[name] = len(
            [each for each in calls if each.operation not in ("begin", "commit", "run")]
        )
        if items is not None:
            assert len(result.items if isinstance(result, infra.Page) else result) == items

    total, late, nobody = infra.Query(with_total=True), infra.Query(page=9), infra.new_id()
    mail, id = owner.email, owner.id
    cost(
        "users.create",
        lambda: users.create(infra.User("new@x", "new", profile={"a": [*range(100)]}), "hash"),
    )
    cost("users.find_by_id", lambda: users.find_by_id(id))
    cost("users.get", lambda: users.get(id))
    cost("users.exists", lambda: users.exists(id))
    cost("users.find_by_email", lambda: users.find_by_email(mail))
    cost("users.find_by_username", lambda: users.find_by_username("user0"))
    cost("users.exists_by_email", lambda: users.exists_by_email(mail))
    cost("users.exists_by_username", lambda: users.exists_by_username("user0"))
    cost("users.find_credentials", lambda: users.find_credentials(mail))
    cost("users.update", lambda: users.update(owner))
    cost("users.update_password", lambda: users.update_password(id, "hash"))
    cost("users.update_profile", lambda: users.update_profile(id, {"a": [*range(100)]}))
    cost("users.update_role", lambda: users.update_role(id, "admin"))
    cost("users.update_email_verified", lambda: users.update_email_verified(id))
    cost("users.update_last_active", lambda: users.update_last_active(id))
    cost("users.count", users.count)
    cost("users.page", users.page, 50)
    cost("users.page, empty", lambda: users.page(late), 0)
    cost("users.page, total", lambda: users.page(total), 50)
    cost("users.delete", lambda: users.delete(goes.id))
    cost("users.add_to_organization", lambda: users.add_to_organization(joins.id, acme.id))
    cost(
        "users.update_organization_role",
        lambda: users.update_organization_role(joins.id, acme.id, "admin"),
    )
    cost(
        "users.update_organization_role, owner",
        lambda: users.update_organization_role(joins.id, acme.id, "owner"),
    )
    cost(
        "users.remove_from_organization", lambda: users.remove_from_organization(leaves.id, acme.id)
    )
    cost("users.find_organizations", lambda: users.find_organizations(id), 20)
    cost("users.find_organizations, none", lambda: users.find_organizations(nobody), 0)
    cost("organizations.create", lambda: organizations.create(infra.Organization("New", "new"), id))
    cost("organizations.find_by_id", lambda: organizations.find_by_id(acme.id))
    cost("organizations.get", lambda: organizations.get(acme.id))
    cost("organizations.exists", lambda: organizations.exists(acme.id))
    cost("organizations.find_by_slug", lambda: organizations.find_by_slug("a0"))
    cost("organizations.exists_by_slug", lambda: organizations.exists_by_slug("a0"))
    cost("organizations.update", lambda: organizations.update(acme))
    cost("organizations.verify", lambda: organizations.verify(acme.id))
    cost("organizations.unverify", lambda: organizations.unverify(acme.id))
    cost("organizations.count", organizations.count)
    cost("organizations.page", organizations.page, 21)
    cost("organizations.page, total", lambda: organizations.page(total), 21)
    cost("organizations.find_members", lambda: organizations.find_members(acme.id), 50)
    cost(
        "organizations.find_members, total", lambda: organizations.find_members(acme.id, total), 50
    )
    cost("organizations.find_members, none", lambda: organizations.find_members(nobody), 0)
    cost("organizations.count_members", lambda: organizations.count_members(acme.id))
    cost("organizations.find_by_type", lambda: organizations.find_by_type("individual"), 21)
    cost(
        "organizations.find_by_type, total",
        lambda: organizations.find_by_type("individual", total),
        21,
    )
    cost("organizations.search", lambda: organizations.search("a"), 20)
    cost("organizations.search, total", lambda: organizations.search("a", total), 20)
    for name, repository, field in (
        ("users", users, "display_name"),
        ("organizations", organizations, "website"),
    ):
        cost_of_verbs(cost, name, repository, field)
    cost(
        "organizations.update_where",
        lambda: organizations.update_where({"website": None}, website="https://all"),
    )
    cost(
        "organizations.update_fields",
        lambda: organizations.update_fields(acme.id, website="https://a.example"),
    )
    cost("organizations.delete", lambda: organizations.delete(acme.id))  # its 50 memberships too

    assert {name: count for name, count in costs.items() if count != 1} == {
        "users.page, total": 2,
        "users.update_organization_role": 3,
        "users.update_organization_role, owner": 2,
        "users.remove_from_organization": 3,
        "users.find_organizations": 2,
        "organizations.create": 2,
        "organizations.page, total": 2,
        "organizations.find_members": 2,
        "organizations.find_members, total": 3,
        "organizations.find_by_type, total": 2,
        "organizations.search, total": 2,
    }
    ports = {"users": infra.UserRepository, "organizations": infra.OrganizationRepository}
    methods = {f"{name}.{method}" for name, port in ports.items() for method in public_names(port)}
    # `on` makes the repository; there is no number to increment; `create_many` takes a `create` for
    # each record, and `upsert` is not for these classes, which have a `create` of their own, nor
    # `update_fields` and `update_where` for users, which have an `update` of their own.
    others = ("on", "increment", "create_many", "upsert")
    methods -= {f"{name}.{other}" for name in ports for other in others}
    methods -= {"users.update_fields", "users.update_where"}
    assert {name.split(",")[0] for name in costs} == methods


def test_only_those_who_change_owners_wait_for_each_other(backend: ExchangeBackend) -> None:
    """While one leaves, others join, and members are read; the fake has one writer at a time.

    On MySQL they join when that is done: the foreign key locks the organization.
    """
    users, organizations = backend.users, backend.organizations
    ada, grace, joan = some_users(backend, 3)
    acme = organizations.create(infra.Organization("Acme", "acme"), ada.id)
    other = organizations.create(infra.Organization("Other", "other"), ada.id)
    for place in (acme, other):
        users.add_to_organization(grace.id, place.id, "owner")

    def meanwhile(_: int) -> list[Any]:
        if backend.database.engine == "postgres":
            users.add_to_organization(joan.id, acme.id)
        left = users.remove_from_organization(grace.id, other.id)  # another one's owners
        return [organizations.count_members(acme.id), left]

    def join() -> None:
        users.add_to_organization(joan.id, acme.id)

    joins_later = backend.database.engine == "mysql"
    with backend.database.transaction():
        assert users.remove_from_organization(ada.id, acme.id) is True
        assert in_threads(1, meanwhile) == [[2 if joins_later else 3, True]]
        joined = seen_waiting(backend.database, join) if joins_later else lambda: None
    assert joined() is None
    assert {each.user.username for each in organizations.find_members(acme.id).items} == {
        "user1",
        "user2",
    }
