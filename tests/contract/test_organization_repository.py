"""Contract of OrganizationRepository: an owner at all times, members, and searches."""

from __future__ import annotations

import enum
import functools
import traceback
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest

import fakes
import infra
from tests.contract.backends import in_threads
from tests.contract.base import Contract
from tests.contract.databases import (
    ExchangeBackend,
    RolledBack,
    on_fake_exchange,
    on_real_exchange,
    overlapped,
    unchecked,
    violation,
)
from tests.contract.test_user_repository import (
    BAD_TEXT,
    DAWN,
    a_user,
    conflict,
    missing,
    roles,
    rule,
)
from tests.contract.texts import Text, any_text, plain

BAD_URLS = [
    *BAD_TEXT[1:], "", "example.com", "//example.com", "ftp://example.com", "javascript:alert(1)",
    "http://",
    "https:/a", "https://a b", " https://a", "https://a\n", "https://a\u00a0b",
    "data:text/html,https://a", "x https://a",
    "https://" + "x" * 1993,
]  # fmt: skip
BAD = [
    *(("name", value) for value in [*BAD_TEXT, "", " ", " Acme", "Acme ", "Acme\n", "\u3000Acme"]),
    ("name", "x" * 201),
    *(("slug", value) for value in [*BAD_TEXT, "", " ", "a b", "a_b", "Acme", "-a", "a-", "a--b"]),
    *(("slug", value) for value in ["a\n", "a/b", "x" * 101, "\u00e9", "\u0661", "a.b", "a%"]),
    *(("description", value) for value in [*BAD_TEXT, "x" * 5001]),
    *(("website", value) for value in BAD_URLS),
    *(("logo_url", value) for value in BAD_URLS),
    *(("organization_type", value) for value in [*BAD_TEXT, "", "bank", "Enterprise"]),
    *(("organization_type", value) for value in ["enterprise\n", "individual|enterprise"]),
    *(("verified", value) for value in [None, 0, 1, "yes"]),
    *(("verification_date", value) for value in [datetime(2026, 1, 1), date(2026, 1, 1)]),
    *(("verification_date", value) for value in ["2026-01-01", False]),
    *(("id", value) for value in [5, "01890000-0000-7000-8000-000000000001"]),
    *(("created_at", value) for value in [datetime(2026, 1, 1), date(2026, 1, 1), "2026-01-01"]),
]  # fmt: skip
TYPES = ["llm_provider", "research_institution", "enterprise", "open_source", "individual"]

# slug, name, description
TEXTS = [
    ("n1", "100% Open", "half_done"),
    ("n2", "Stra\u00dfe", "back\\slash"),
    ("n3", "Caf\u00e9", "p|pe"),
    ("n4", "CAFE\u0301 noir", 'it\'s "quoted"'),
    ("n5", "Rocket \U0001f680", "first line\nsecond\tline"),
    ("n6", "\u0130zmir", "\u03c3\u03b1\u03c2; DROP TABLE x"),
    ("n7", "plain", ""),
]
SEARCHES = [
    ("", ["n1", "n2", "n3", "n4", "n5", "n6", "n7"]),
    ("n", ["n1", "n2", "n3", "n4", "n5", "n6", "n7"]),
    ("n3", ["n3"]),  # the slug
    ("N3", ["n3"]),
    ("plain", ["n7"]),  # the name
    ("PLA", ["n7"]),
    ("lai", ["n7"]),
    ("HALF", ["n1"]),  # the description
    ("second\tLINE", ["n5"]),
    ("line\nsecond", ["n5"]),
    ("%", ["n1"]),
    ("0% o", ["n1"]),
    ("1%n", []),
    ("%%", []),
    ("_", ["n1"]),
    ("__", []),
    ("half.done", []),
    ("h_lf", []),
    ("\\", ["n2"]),
    ("\\s", ["n2"]),
    ("\\\\", []),
    ("\\%", []),
    ("|", ["n3"]),
    ("||", []),
    ("|%", []),
    ("p|p", ["n3"]),
    ("'", ["n4"]),
    ("''", []),
    ('"', ["n4"]),
    ("; drop table", ["n6"]),
    ("%s", []),
    ("%(text)s", []),
    (" ", ["n1", "n4", "n5", "n6"]),
    ("\U0001f680", ["n5"]),
    ("\U0001f681", []),
    ("STRASSE", ["n2"]),
    ("stra\u00dfe", ["n2"]),
    ("\u1e9e", ["n2"]),  # the capital sharp s
    ("caf\u00e9", ["n3", "n4"]),
    ("cafe\u0301", ["n3", "n4"]),
    ("CAF\u00c9 N", ["n4"]),
    ("cafe", []),
    ("\u03a3\u0391\u03a3", ["n6"]),
    ("\u0130", ["n6"]),
    ("izmir", []),
    ("x" * 200, []),
    ("\u0390" * 200, []),  # longer when folded
]


def an_organization(
    backend: ExchangeBackend, slug: str = "acme", owner: infra.User | None = None, **fields: Any
) -> infra.Organization:
    """Of a new user, if none is given."""
    owner = owner or a_user(backend, f"owner-of-{slug}")
    return backend.organizations.create(
        infra.Organization(**{"name": slug.title(), "slug": slug, **fields}), owner.id
    )


def slugs(page: infra.Page[infra.Organization]) -> list[str]:
    return [each.slug for each in page.items]


class OrganizationRepositoryContract(Contract):
    port = infra.OrganizationRepository

    def test_many_organizations(self, backend: ExchangeBackend) -> None:
        """Each needs an owner."""
        with pytest.raises(infra.ConfigurationError, match="needs more than the organization"):
            backend.organizations.create_many([infra.Organization("Acme", "acme")])
        with pytest.raises(infra.ConfigurationError, match="has guarded fields"):
            backend.organizations.upsert(infra.Organization("Acme", "acme"))
        assert backend.organizations.count() == 0

    def test_on_a_database(self, backend: ExchangeBackend) -> None:
        made = an_organization(backend)
        assert infra.OrganizationRepository.on(backend.database).find_by_id(made.id) == made

    def test_the_database_checks_texts_itself(self, backend: ExchangeBackend) -> None:
        user = a_user(backend)
        bad = infra.Organization("Acme", "acme", organization_type="bank")
        assert violation(lambda: unchecked(backend.organizations).create(bad, user.id)) == (
            "organizations_organization_type_check",
            "check",
        )
        assert backend.organizations.count() == 0

    def test_an_organization(self, backend: ExchangeBackend) -> None:
        organizations, ada = backend.organizations, a_user(backend)
        assert organizations.find_by_slug("acme") is None
        assert organizations.exists_by_slug("acme") is False
        acme = organizations.create(infra.Organization("Acme", "acme"), ada.id)
        assert (acme.name, acme.slug, acme.description) == ("Acme", "acme", "")
        assert (acme.website, acme.logo_url, acme.organization_type) == (None, None, "individual")
        assert (acme.verified, acme.verification_date) == (False, None)
        assert (acme.created_at, acme.updated_at) == (DAWN, DAWN)
        assert acme.created_at.tzinfo is timezone.utc
        assert acme.id.version == 7
        assert organizations.find_by_id(acme.id) == organizations.find_by_slug("acme") == acme
        assert (organizations.get(acme.id), organizations.exists(acme.id)) == (acme, True)
        assert organizations.exists_by_slug("acme") is True
        assert organizations.find_members(acme.id) == infra.Page(
            [infra.Member(ada, "owner", DAWN)], 1, 50, None
        )
        assert organizations.count_members(acme.id) == 1

    def test_what_is_absent(self, backend: ExchangeBackend) -> None:
        organizations = backend.organizations
        an_organization(backend)
        assert organizations.find_by_id(infra.new_id()) is organizations.find_by_slug("acm") is None
        assert organizations.exists_by_slug("acme-2") is False
        nobody = organizations.find_members(infra.new_id(), infra.Query(with_total=True))
        assert nobody == infra.Page([], 1, 50, 0)
        assert organizations.count_members(infra.new_id()) == 0

    def test_create_keeps_what_is_given(self, backend: ExchangeBackend) -> None:
        organizations, ada = backend.organizations, a_user(backend)
        id = uuid.UUID("01890000-0000-7000-8000-000000000001")
        moment = datetime(2020, 2, 29, 23, 59, 59, 999999, tzinfo=timezone(timedelta(hours=-3)))
        given = infra.Organization(
            "Acme & Söhne 🚀", "acme-2-go", " lines\nof text ", "https://例え.jp/ü?q=%20#x",
            "http://a", "llm_provider",
            True, moment, id=id, created_at=moment, updated_at=moment + timedelta(days=1),
        )  # fmt: skip
        stored = organizations.create(given, ada.id)
        assert stored == given  # the same moments
        assert {stored.created_at.tzinfo, stored.updated_at.tzinfo} == {timezone.utc}
        assert organizations.find_by_id(id) == given
        # Joined now.
        assert organizations.find_members(id).items == [infra.Member(ada, "owner", DAWN)]
        again = infra.Organization("Acme", "acme", id=id)
        assert conflict(lambda: organizations.create(again, ada.id)) == (
            "organizations_pkey",
            "unique",
            "create",
        )
        assert organizations.page().items == [given]

    def test_the_longest_values(self, backend: ExchangeBackend) -> None:
        fields = {"name": "🚀" * 200, "description": "\U0001d160" * 5000}
        urls = {"website": "https://" + "ü" * 1992, "logo_url": "https://" + "ü" * 1992}
        acme = an_organization(backend, "a" * 100, a_user(backend), **fields, **urls)
        assert backend.organizations.find_by_slug("a" * 100) == acme
        assert backend.organizations.search("🚀" * 200).items == [acme]

    def test_an_enumeration_is_stored_as_its_text(self, backend: ExchangeBackend) -> None:
        class Kind(str, enum.Enum):
            BANK = "enterprise"

        acme = an_organization(backend, organization_type=Kind.BANK)
        assert type(acme.organization_type) is str
        assert backend.organizations.find_by_type(Kind.BANK).items == [acme]

    @any_text
    def test_text_of_any_subclass(self, backend: ExchangeBackend, text: Text) -> None:
        organizations, ada = backend.organizations, a_user(backend, "ada")
        given = infra.Organization(
            text("Acmé"), text("acme"), text("é"), text("https://é"), text("http://a"),
            text("enterprise"),
        )  # fmt: skip
        acme = plain(organizations.create(given, ada.id))
        assert (acme.name, acme.website) == ("Acmé", "https://é")
        assert plain(organizations.find_by_slug(text("acme"))) == acme
        assert organizations.exists_by_slug(text("acme")) is True
        query = infra.Query(
            sort=text("name"), filters={text("organization_type"): text("enterprise")}
        )
        assert organizations.find_by_type(text("enterprise")).items == [acme]
        assert organizations.search(text("ACMÉ"), query).items == [acme]
        changed = plain(organizations.update(replace(acme, slug=text("acme-2"))))
        assert changed.slug == "acme-2"
        assert plain(organizations.find_by_id(acme.id)) == changed

    def test_a_slug_has_one_organization(self, backend: ExchangeBackend) -> None:
        """A refused one leaves no owner behind; of names there may be several."""
        organizations, ada, grace = backend.organizations, a_user(backend), a_user(backend, "grace")
        acme = an_organization(backend, "acme", ada)
        create = functools.partial(
            organizations.create, infra.Organization("Secret", "acme"), grace.id
        )
        assert conflict(create) == ("organizations_slug_key", "unique", "create")
        with pytest.raises(infra.ConflictError) as caught:
            organizations.create(replace(acme, id=infra.FILLED), grace.id)
        assert "acme" not in str(caught.value)
        assert backend.users.find_organizations(grace.id) == []
        assert organizations.page().items == [acme]
        other = an_organization(backend, "acme-2", grace, name=acme.name)
        rename = functools.partial(organizations.update, replace(other, slug="acme"))
        assert conflict(rename) == ("organizations_slug_key", "unique", "update")

    def test_an_owner_who_is_absent(self, backend: ExchangeBackend) -> None:
        """Nothing is stored."""
        organizations, ada = backend.organizations, a_user(backend)
        acme = infra.Organization("Acme", "acme")
        with pytest.raises(infra.ConflictError) as caught:
            organizations.create(acme, infra.new_id())
        error = caught.value
        assert (error.constraint, error.kind) == (
            "organization_members_user_id_fkey",
            "foreign_key",
        )
        assert (error.service, error.operation) == (backend.database.engine, "create")
        for owner in (None, "01890000-0000-7000-8000-000000000001", 5, ada):
            with pytest.raises(infra.ValidationError):
                organizations.create(acme, owner)  # type: ignore[arg-type]
        assert organizations.count() == 0
        assert organizations.exists_by_slug("acme") is False
        assert organizations.create(acme, ada.id).slug == "acme"

    @pytest.mark.parametrize(("field", "value"), BAD, ids=ascii)
    def test_bad_values(self, backend: ExchangeBackend, field: str, value: Any) -> None:
        organizations, ada = backend.organizations, a_user(backend)
        acme = an_organization(backend, "acme", ada)
        backend.advance(1)
        bad = {field: value}
        calls: list[Callable[[], infra.Organization]] = [
            lambda: organizations.update(replace(acme, **bad))
        ]
        calls.append(
            lambda: organizations.create(
                replace(infra.Organization("Other", "other"), **bad), ada.id
            )
        )
        for call in calls:
            with pytest.raises(infra.ValidationError) as caught:
                call()
            message = str(caught.value)
            assert field in message
            assert not (isinstance(value, str) and len(value) > 2 and value in message)
        assert organizations.page().items == [acme]
        assert organizations.count_members(acme.id) == 1

    @pytest.mark.parametrize("value", [*BAD_TEXT, "", "Acme", "a_b", " acme"], ids=ascii)
    def test_looking_for_a_bad_slug(self, backend: ExchangeBackend, value: Any) -> None:
        organizations = backend.organizations
        for call in (organizations.find_by_slug, organizations.exists_by_slug):
            with pytest.raises(infra.ValidationError):
                call(value)

    @pytest.mark.parametrize(
        "id", ["01890000-0000-7000-8000-000000000001", None, 5, b"0123456789abcdef"], ids=str
    )
    def test_an_id_is_a_uuid(self, backend: ExchangeBackend, id: Any) -> None:
        organizations = backend.organizations
        changes = organizations.verify, organizations.unverify, organizations.delete
        for call in (
            *changes,
            organizations.find_by_id,
            organizations.find_members,
            organizations.count_members,
        ):
            with pytest.raises(infra.ValidationError):
                call(id)

    # --- changes

    def test_update(self, backend: ExchangeBackend) -> None:
        organizations, ada = backend.organizations, a_user(backend)
        acme, other = an_organization(backend, "acme", ada), an_organization(backend, "other", ada)
        backend.advance(60)
        given = infra.Organization(
            "New", "new", "text", "https://new", "http://new/logo", "open_source", id=acme.id,
            created_at=DAWN,
            updated_at=DAWN - timedelta(days=1),
        )  # fmt: skip
        changed = organizations.update(given)
        assert changed == replace(given, updated_at=DAWN + timedelta(seconds=60))
        assert organizations.find_by_id(acme.id) == organizations.find_by_slug("new") == changed
        assert organizations.find_by_slug("acme") is None
        assert organizations.find_by_id(other.id) == other
        assert organizations.update(changed) == changed
        assert organizations.find_members(acme.id).items == [infra.Member(ada, "owner", DAWN)]
        for text, found in (("acme", []), ("TEXT", [changed]), ("new", [changed])):
            assert organizations.search(text).items == found
        emptied = organizations.update(
            replace(changed, website=None, logo_url=None, description="")
        )
        assert organizations.find_by_id(acme.id) == emptied
        assert organizations.search("text").items == []

    def test_update_takes_back_no_verification(self, backend: ExchangeBackend) -> None:
        organizations = backend.organizations
        acme = an_organization(backend)
        organizations.verify(acme.id)  # by somebody else, since acme was read
        late = "organizations_as_read", "check", "update"
        assert conflict(lambda: organizations.update(replace(acme, name="New"))) == late
        verified = organizations.find_by_id(acme.id)
        assert verified is not None
        backend.advance(1)
        edited = organizations.update(replace(verified, name="New"))
        moment = DAWN + timedelta(seconds=1)
        assert edited == replace(
            acme, name="New", verified=True, verification_date=DAWN, updated_at=moment
        )
        for change in (
            {"verified": False},
            {"verification_date": None},
            {"verification_date": moment},
        ):
            assert conflict(lambda: organizations.update(replace(edited, **change))) == late
        assert organizations.find_by_id(acme.id) == edited

    def test_a_folded_column_does_not_go_stale(self, backend: ExchangeBackend) -> None:
        acme, usual = an_organization(backend), type(backend.organizations)

        class Renaming(usual):  # type: ignore[misc, valid-type]
            def rename(self, **changes: Any) -> None:
                self._alter("rename", acme.id, changes)

            def rename_all(self, **changes: Any) -> None:
                self._change("rename_all", {}, changes)

        organizations = Renaming(backend.database, clock=backend.clock)
        for changes in ({"name": "New"}, {"name": "New", "slug": "new"}):
            with pytest.raises(infra.ValidationError, match="search_folded"):
                organizations.rename(**changes)
            with pytest.raises(infra.ValidationError, match="search_folded"):
                organizations.rename_all(**changes)
        assert organizations.search("new").items == []
        organizations.rename(name="New", slug="new", description="")
        assert [each.name for each in organizations.search("new").items] == ["New"]

    def test_what_is_kept_is_searched_as_it_was(self, backend: ExchangeBackend) -> None:
        kept = {"kept": ("name", "slug", "description")}
        organizations: Any = type("Kept", (type(backend.organizations),), kept)(
            backend.database, clock=backend.clock
        )
        acme = an_organization(backend)
        organizations.update(replace(acme, name="Other", slug="other", website="https://acme"))
        assert organizations.search("other").items == []
        assert organizations.search("acme").items == [replace(acme, website="https://acme")]

    def test_update_of_nothing(self, backend: ExchangeBackend) -> None:
        organizations = backend.organizations
        acme = an_organization(backend)
        assert missing(lambda: organizations.update(replace(acme, id=infra.new_id()))) == (
            "organization",
            "update",
        )
        with pytest.raises(infra.ValidationError):
            organizations.update(infra.Organization("Other", "other"))  # was never stored
        assert organizations.page().items == [acme]

    def test_verify(self, backend: ExchangeBackend) -> None:
        organizations = backend.organizations
        acme, other = an_organization(backend), an_organization(backend, "other")
        for seconds in (10, 20):
            backend.advance(10)
            organizations.verify(acme.id)
            moment = DAWN + timedelta(seconds=seconds)
            verified = replace(acme, verified=True, verification_date=moment, updated_at=moment)
            assert organizations.find_by_id(acme.id) == verified
        assert organizations.page(infra.Query(filters={"verified": True})).items == [verified]
        for seconds in (30, 40):
            backend.advance(10)
            organizations.unverify(acme.id)
            assert organizations.find_by_id(acme.id) == replace(
                acme, updated_at=DAWN + timedelta(seconds=seconds)
            )
        assert organizations.find_by_id(other.id) == other
        assert organizations.search("acme").total is None
        assert slugs(organizations.search("acme")) == ["acme"]

    def test_verify_nothing(self, backend: ExchangeBackend) -> None:
        organizations = backend.organizations
        assert missing(lambda: organizations.verify(infra.new_id())) == ("organization", "verify")
        assert missing(lambda: organizations.unverify(infra.new_id())) == (
            "organization",
            "unverify",
        )

    def test_delete_and_count(self, backend: ExchangeBackend) -> None:
        organizations, users = backend.organizations, backend.users
        ada, grace = a_user(backend), a_user(backend, "grace")
        assert organizations.count() == 0
        acme, other = an_organization(backend, "acme", ada), an_organization(backend, "other", ada)
        users.add_to_organization(grace.id, acme.id)
        assert organizations.count() == 2
        assert organizations.delete(infra.new_id()) is False
        assert organizations.delete(acme.id) is True
        assert organizations.delete(acme.id) is False
        assert organizations.find_by_id(acme.id) is None
        assert organizations.count_members(acme.id) == 0  # memberships end with it
        assert users.find_organizations(grace.id) == []
        assert [each.organization for each in users.find_organizations(ada.id)] == [other]
        assert organizations.page().items == [other]
        assert users.delete(grace.id) is True
        assert an_organization(backend, "acme", ada).id != acme.id

    def test_what_submissions_name_stays(self, backend: ExchangeBackend) -> None:
        organizations, ada = backend.organizations, a_user(backend)
        acme = an_organization(backend, "acme", ada)
        benchmark = backend.benchmarks.create(
            infra.Benchmark("b", "B", category="accuracy", created_by=ada.id)
        )
        submission = backend.submissions.create(
            infra.Submission(benchmark.id, benchmark.version_id, "model", ada.id, acme.id)
        )
        expected = ("submissions_organization_id_fkey", "foreign_key", "delete")
        assert conflict(lambda: organizations.delete(acme.id)) == expected
        assert roles(backend, acme) == {"ada": "owner"}
        backend.submissions.delete(submission.id)
        assert organizations.delete(acme.id) is True

    # --- members

    def test_find_members(self, backend: ExchangeBackend) -> None:
        organizations, users = backend.organizations, backend.users
        ada = a_user(backend, "zoe", profile={"a": [1]})
        acme, other = an_organization(backend, "acme", ada), an_organization(backend, "other", ada)
        members = [infra.Member(ada, "owner", DAWN)]
        joining = [a_user(backend, name) for name in ("e", "d", "c", "b")]
        for number, user in enumerate(reversed(joining)):  # neither by name nor by age
            backend.advance(1)
            role = "admin" if number % 2 else "member"
            users.add_to_organization(user.id, acme.id, role)
            members.append(infra.Member(user, role, DAWN + timedelta(seconds=number + 1)))
        users.add_to_organization(joining[0].id, other.id)
        assert organizations.find_members(acme.id) == infra.Page(members, 1, 50, None)
        some = infra.Query(page=2, per_page=2, with_total=True)
        assert organizations.find_members(acme.id, some) == infra.Page(members[2:4], 2, 2, 5)
        assert organizations.find_members(acme.id, replace(some, page=3)).items == members[4:]
        assert organizations.find_members(acme.id, replace(some, page=4)) == infra.Page([], 4, 2, 5)
        admins = infra.Query(filters={"role": "admin"}, with_total=True, per_page=1)
        assert organizations.find_members(acme.id, admins) == infra.Page([members[2]], 1, 1, 2)
        backwards = infra.Query(sort="created_at", descending=True)
        assert organizations.find_members(acme.id, backwards).items == members[::-1]
        assert (organizations.count_members(acme.id), organizations.count_members(other.id)) == (
            5,
            2,
        )
        users.update_role(joining[0].id, "admin")  # members are shown as they are now
        assert organizations.find_members(acme.id).items[-1].user.role == "admin"
        assert users.remove_from_organization(joining[1].id, acme.id)
        assert [each.user.username for each in organizations.find_members(acme.id).items] == [
            "zoe",
            "b",
            "c",
            "e",
        ]
        assert organizations.count_members(acme.id) == 4

    def test_who_joined_at_once_is_in_the_order_of_ids(self, backend: ExchangeBackend) -> None:
        acme = an_organization(backend)
        backend.advance(1)
        joined = [a_user(backend, f"user{number}") for number in range(6)]
        for user in joined:
            backend.users.add_to_organization(user.id, acme.id)
        in_order = [each.username for each in sorted(joined, key=lambda user: str(user.id))]
        found = [
            each.user.username
            for page in (1, 2, 3, 4)
            for each in backend.organizations.find_members(
                acme.id, infra.Query(page=page, per_page=2)
            ).items
        ]
        assert found == ["owner-of-acme", *in_order]

    @pytest.mark.parametrize(
        "query",
        [
            {"page": 0},
            {"per_page": 1001},
            {"sort": "role"},
            {"sort": "username"},
            {"sort": "user_id"},
            {"descending": "no"},
            {"filters": {"role": "boss"}},
            {"filters": {"role": None}},
            {"filters": {"organization_id": infra.new_id()}},  # the method sets it
            {"filters": {"user_id": infra.new_id()}},
            {"filters": {"username": "ada"}},
        ],
        ids=lambda query: ",".join(query),
    )
    def test_a_bad_query_for_members(self, backend: ExchangeBackend, query: dict[str, Any]) -> None:
        acme = an_organization(backend)
        with pytest.raises(infra.ValidationError):
            backend.organizations.find_members(acme.id, infra.Query(**query))

    # --- pages

    def test_page(self, backend: ExchangeBackend) -> None:
        organizations, ada = backend.organizations, a_user(backend)
        assert organizations.page() == infra.Page([], 1, 50, None)
        made = []
        for number in range(5):
            kind = "enterprise" if number % 2 else "open_source"
            made.append(an_organization(backend, f"n{number}", ada, organization_type=kind))
            backend.advance(1)
        assert organizations.page() == infra.Page(made, 1, 50, None)
        assert organizations.page(infra.Query(per_page=2, with_total=True)) == infra.Page(
            made[:2], 1, 2, 5
        )
        assert organizations.page(infra.Query(page=3, per_page=2)) == infra.Page(
            made[4:], 3, 2, None
        )
        assert organizations.page(infra.Query(page=9, with_total=True)) == infra.Page([], 9, 50, 5)
        both = infra.Query(
            filters={"organization_type": "enterprise", "verified": False}, with_total=True
        )
        assert organizations.page(both) == infra.Page([made[1], made[3]], 1, 50, 2)
        organizations.verify(made[1].id)
        assert organizations.page(both) == infra.Page([made[3]], 1, 50, 1)

    def test_the_order_of_a_page(self, backend: ExchangeBackend) -> None:
        organizations, ada = backend.organizations, a_user(backend)
        # By code points, not as one writes.
        names = [
            "b",
            "Z",
            "a b",
            "\u00e9",
            "\ufffd",
            "🚀",
            "10",
            "9",
            "ab",
        ]
        made = []
        for number, name in enumerate(names):
            made.append(an_organization(backend, f"n{number}", ada, name=name))
            backend.advance(1)
        for organization in reversed(made):
            organizations.verify(organization.id)
            backend.advance(1)
        orders = {
            "created_at": names,
            "updated_at": names[::-1],
            "name": ["10", "9", "Z", "a b", "ab", "b", "\u00e9", "\ufffd", "🚀"],
            "": names,
        }
        for sort, expected in orders.items():
            for descending in (False, True):
                query = infra.Query(sort=sort, descending=descending)
                for page in (organizations.page(query), organizations.search("", query)):
                    assert [each.name for each in page.items] == (
                        expected[::-1] if descending else expected
                    )

    @pytest.mark.parametrize("sort", ["created_at", "updated_at", "name"])
    def test_equal_sort_values_are_in_the_order_of_ids(
        self, backend: ExchangeBackend, sort: str
    ) -> None:
        ada = a_user(backend)
        made = [an_organization(backend, f"n{number}", ada, name="same") for number in range(6)]
        in_order = sorted(made, key=lambda each: str(each.id))
        for descending, expected in ((False, in_order), (True, in_order[::-1])):
            query = infra.Query(sort=sort, descending=descending, per_page=4)
            assert backend.organizations.page(query).items == expected[:4]
            assert (
                backend.organizations.find_by_type("individual", replace(query, page=2)).items
                == expected[4:]
            )

    @pytest.mark.parametrize(
        "query",
        [
            {"page": 0},
            {"page": "1"},
            {"per_page": 0},
            {"per_page": 1001},
            {"sort": "slug"},
            {"sort": "search_folded"},
            {"sort": "name; DROP TABLE organizations"},
            {"descending": None},
            {"filters": {"slug": "acme"}},
            {"filters": {"search_folded": "acme"}},
            {"filters": {"organization_type": "bank"}},
            {"filters": {"organization_type": None}},
            {"filters": {"verified": None}},
            {"filters": {"verified": "yes"}},
        ],
        ids=str,
    )
    def test_a_bad_query(self, backend: ExchangeBackend, query: dict[str, Any]) -> None:
        organizations = backend.organizations
        for call in (
            organizations.page,
            functools.partial(organizations.search, "acme"),
            functools.partial(organizations.find_by_type, "individual"),
        ):
            with pytest.raises(infra.ValidationError):
                call(infra.Query(**query))

    # --- search

    def test_find_by_type(self, backend: ExchangeBackend) -> None:
        organizations, ada = backend.organizations, a_user(backend)
        made = {}
        for number, kind in enumerate(TYPES * 2):
            made[number] = an_organization(backend, f"n{number}", ada, organization_type=kind)
            backend.advance(1)
        for number, kind in enumerate(TYPES):
            both = [made[number], made[number + 5]]
            assert organizations.find_by_type(kind) == infra.Page(both, 1, 50, None)
            second = infra.Query(page=2, per_page=1, with_total=True)
            assert organizations.find_by_type(kind, second) == infra.Page(both[1:], 2, 1, 2)
            assert (
                organizations.find_by_type(kind, infra.Query(descending=True)).items == both[::-1]
            )
        organizations.verify(made[1].id)
        verified = infra.Query(filters={"verified": True}, with_total=True)
        assert slugs(organizations.find_by_type("research_institution", verified)) == ["n1"]
        assert organizations.find_by_type("enterprise", verified) == infra.Page([], 1, 50, 0)

    @pytest.mark.parametrize(
        "value", [*BAD_TEXT, "", "bank", "Enterprise", "enterprise "], ids=ascii
    )
    def test_an_unknown_type(self, backend: ExchangeBackend, value: Any) -> None:
        with pytest.raises(infra.ValidationError):
            backend.organizations.find_by_type(value)

    def test_the_type_is_not_to_be_filtered_by_twice(self, backend: ExchangeBackend) -> None:
        organizations = backend.organizations
        for kind in ("enterprise", "individual"):
            with pytest.raises(infra.ValidationError):
                organizations.find_by_type(
                    "individual", infra.Query(filters={"organization_type": kind})
                )

    def test_search(self, backend: ExchangeBackend) -> None:
        """The text is what it is: no sign has a meaning of its own."""
        organizations, ada = backend.organizations, a_user(backend)
        for slug, name, description in TEXTS:
            an_organization(backend, slug, ada, name=name, description=description)
            backend.advance(1)
        found = {text: slugs(organizations.search(text)) for text, _ in SEARCHES}
        assert found == dict(SEARCHES)
        totals = {
            text: organizations.search(text, infra.Query(per_page=1, with_total=True)).total
            for text in found
        }
        assert totals == {text: len(expected) for text, expected in SEARCHES}

    def test_a_page_of_a_search(self, backend: ExchangeBackend) -> None:
        organizations, ada = backend.organizations, a_user(backend)
        made = {}
        for number, name in enumerate(["Lab C", "lab a", "Other", "LAB B", "a lab"]):
            kind = "enterprise" if number % 2 else "open_source"
            made[name] = an_organization(
                backend, f"n{number}", ada, name=name, organization_type=kind
            )
            backend.advance(1)
        by_name = infra.Query(sort="name", per_page=2, with_total=True)
        pages = [
            [each.name for each in organizations.search("lab", replace(by_name, page=n)).items]
            for n in (1, 2, 3)
        ]
        assert pages == [["LAB B", "Lab C"], ["a lab", "lab a"], []]
        assert organizations.search("LAB", by_name) == infra.Page(
            [made["LAB B"], made["Lab C"]], 1, 2, 4
        )
        enterprises = infra.Query(
            filters={"organization_type": "enterprise", "verified": False}, with_total=True
        )
        assert organizations.search("lab", enterprises) == infra.Page(
            [made["lab a"], made["LAB B"]], 1, 50, 2
        )
        organizations.verify(made["lab a"].id)
        assert organizations.search("lab", enterprises) == infra.Page([made["LAB B"]], 1, 50, 1)
        assert organizations.search("", enterprises).total == 1

    @pytest.mark.parametrize("text", [*BAD_TEXT, "x" * 201], ids=ascii)
    def test_a_bad_search(self, backend: ExchangeBackend, text: Any) -> None:
        with pytest.raises(infra.ValidationError) as caught:
            backend.organizations.search(text)
        assert "x" * 201 not in str(caught.value)

    # --- transactions and others

    def test_it_takes_part_in_a_transaction(self, backend: ExchangeBackend) -> None:
        organizations, ada = backend.organizations, a_user(backend)
        acme = an_organization(backend, "acme", ada)
        with pytest.raises(RolledBack), backend.database.transaction():
            other = an_organization(backend, "other", ada)
            organizations.verify(acme.id)
            assert organizations.count_members(other.id) == 1
            raise RolledBack
        assert organizations.page().items == [acme]
        assert organizations.count_members(other.id) == 0
        assert len(backend.users.find_organizations(ada.id)) == 1

    def test_a_refusal_within_a_transaction(self, backend: ExchangeBackend) -> None:
        """The transaction can go on."""
        organizations, ada = backend.organizations, a_user(backend)
        with backend.database.transaction():
            acme = an_organization(backend, "acme", ada)
            with pytest.raises(infra.ConflictError):
                an_organization(backend, "acme", ada)
            with pytest.raises(infra.ConflictError):
                organizations.create(infra.Organization("Other", "other"), infra.new_id())
            with pytest.raises(infra.NotFoundError):
                organizations.verify(infra.new_id())
            other = an_organization(backend, "other", ada)
        assert sorted(slugs(organizations.page())) == ["acme", "other"]
        assert [organizations.count_members(each.id) for each in (acme, other)] == [1, 1]

    def test_a_refusal_shows_no_row(self, backend: ExchangeBackend) -> None:
        ada, secret = a_user(backend), f"secret-{1}"
        organization = infra.Organization("Acme", secret, description=secret + " text")
        backend.organizations.create(organization, ada.id)
        with pytest.raises(infra.ConflictError) as caught:
            backend.organizations.create(organization, ada.id)
        assert secret not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)

    def test_one_of_many_at_once_gets_the_slug(self, backend: ExchangeBackend) -> None:
        ada = a_user(backend)
        results = in_threads(
            6, lambda number: an_organization(backend, "acme", ada, name=f"Acme {number}")
        )
        created = [each for each in results if isinstance(each, infra.Organization)]
        assert len(created) == 1
        assert {rule(each) for each in results if each is not created[0]} == {
            "organizations_slug_key"
        }
        assert backend.organizations.page().items == created
        assert [each.organization for each in backend.users.find_organizations(ada.id)] == created

    @pytest.mark.parametrize("commit", [True, False])
    def test_a_slug_that_another_transaction_takes(
        self, backend: ExchangeBackend, commit: bool
    ) -> None:
        ada, grace = a_user(backend), a_user(backend, "grace")
        result = overlapped(
            backend.database,
            lambda: an_organization(backend, "acme", ada),
            lambda: an_organization(backend, "acme", grace),
            commit=commit,
        )
        found = backend.organizations.find_by_slug("acme")
        assert found is not None
        if commit:
            assert rule(result) == "organizations_slug_key"
            assert backend.users.find_organizations(grace.id) == []
        else:
            assert result == found
        assert roles(backend, found) == {"ada" if commit else "grace": "owner"}

    @pytest.mark.parametrize("commit", [True, False])
    def test_an_owner_who_is_being_deleted(self, backend: ExchangeBackend, commit: bool) -> None:
        ada = a_user(backend)
        result = overlapped(
            backend.database,
            lambda: backend.users.delete(ada.id),
            lambda: an_organization(backend, "acme", ada),
            commit=commit,
        )
        if commit:
            assert rule(result) == "organization_members_user_id_fkey"
            assert backend.organizations.count() == 0
        else:
            assert roles(backend, result) == {"ada": "owner"}

    @pytest.mark.parametrize("commit", [True, False])
    def test_joining_what_is_being_deleted(self, backend: ExchangeBackend, commit: bool) -> None:
        users, grace = backend.users, a_user(backend, "grace")
        acme = an_organization(backend)
        result = overlapped(
            backend.database,
            lambda: backend.organizations.delete(acme.id),
            lambda: users.add_to_organization(grace.id, acme.id),
            commit=commit,
        )
        if commit:
            assert rule(result) == "organization_members_organization_id_fkey"
        else:
            assert result is None
            assert roles(backend, acme) == {"owner-of-acme": "owner", "grace": "member"}

    @pytest.mark.parametrize("commit", [True, False])
    def test_deleting_what_is_being_joined(self, backend: ExchangeBackend, commit: bool) -> None:
        organizations, grace = backend.organizations, a_user(backend, "grace")
        acme = an_organization(backend)
        result = overlapped(
            backend.database,
            lambda: backend.users.add_to_organization(grace.id, acme.id),
            lambda: organizations.delete(acme.id),
            commit=commit,
        )
        assert result is True
        assert organizations.count_members(acme.id) == 0
        assert backend.users.find_organizations(grace.id) == []

    @pytest.mark.parametrize("commit", [True, False])
    def test_leaving_what_is_being_deleted(self, backend: ExchangeBackend, commit: bool) -> None:
        users, ada, grace = backend.users, a_user(backend), a_user(backend, "grace")
        acme = an_organization(backend, "acme", ada)
        users.add_to_organization(grace.id, acme.id, "owner")
        result = overlapped(
            backend.database,
            lambda: backend.organizations.delete(acme.id),
            lambda: users.remove_from_organization(grace.id, acme.id),
            commit=commit,
        )
        assert result is not commit
        assert roles(backend, acme) == ({} if commit else {"ada": "owner"})


class TestFakeMySQL(OrganizationRepositoryContract):
    backend = on_fake_exchange("mysql")


class TestFakePostgres(OrganizationRepositoryContract):
    backend = on_fake_exchange("postgres")


class TestMariaDB(OrganizationRepositoryContract):
    backend = on_real_exchange("mariadb")


class TestMySQL(OrganizationRepositoryContract):
    backend = on_real_exchange("mysql")


class TestPostgres(OrganizationRepositoryContract):
    backend = on_real_exchange("postgres")


class TestPostgres18(OrganizationRepositoryContract):
    backend = on_real_exchange("postgres-18")


def test_the_fake_fails_on_demand() -> None:
    services = fakes.FakeInfrastructure()
    ada = services.users.create(infra.User("ada@example.com", "ada"))
    services.organizations.fail_next("create", infra.TimeoutError, after_apply=True)
    with pytest.raises(infra.TimeoutError):
        services.organizations.create(infra.Organization("Acme", "acme"), ada.id)
    assert services.organizations.exists_by_slug("acme")  # the work was done, the answer was lost
    services.exchange.down = True
    with pytest.raises(infra.ConnectionError):
        services.organizations.count()
    services.exchange.down = False
    assert services.organizations.count() == 1
