"""Contract of UserRepository: accounts, documents, passwords, and memberships."""

from __future__ import annotations

import enum
import functools
import json
import math
import random
import traceback
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

import fakes
import infra
from tests.contract import refusals
from tests.contract.backends import in_threads
from tests.contract.base import Contract
from tests.contract.databases import (
    ENGINES,
    ExchangeBackend,
    RolledBack,
    on_fake_exchange,
    on_real_exchange,
    overlapped,
    unchecked,
    violation,
)
from tests.contract.texts import Number, Text, any_text, plain

DAWN = datetime(2026, 1, 1, tzinfo=timezone.utc)  # where a FakeClock starts
HASH = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA"

# As Python folds: case, whether accents are composed, and letters that have a form in one case
# only.
ONE_NAME = [
    ("ada", "ADA"),
    ("ADA", "ada"),
    ("straße", "STRASSE"),
    ("STRASSE", "straße"),
    ("jos\u00e9", "jose\u0301"),
    ("jose\u0301", "JOS\u00c9"),
    ("\u03c3\u03b1\u03c2", "\u03a3\u0391\u03a3"),  # a sigma at the end
    ("\u212aelvin", "kelvin"),
    ("\u212bngstrom", "A\u030angstrom"),
    ("\u0130zmir", "i\u0307zmir"),
    ("o\ufb03ce", "OFFICE"),
    ("\u1fb3", "\u0391\u0399"),
    ("q\u0323\u0307", "Q\u0307\u0323"),  # the order of accents
    ("\U00010400", "\U00010428"),
]
TWO_NAMES = [
    ("i", "\u0131"),
    ("I", "\u0130"),
    ("strase", "straße"),
    ("jose", "jos\u00e9"),
    ("oe", "\u00f6"),
    ("A", "\uff21"),  # full width
    ("a", "\u0430"),  # Cyrillic
    ("2", "\u00b2"),
    ("a.b", "ab"),
    ("a%", "ab"),
    ("a_c", "abc"),
]
# Control, format, joiners, fillers, selectors, unassigned, private: names with these look like
# other names.
UNSEEN = (
    "\x01\x7f\u0085\u00ad\u034f\u115f\u17b4\u180b\u180e\u200b\u200d\u202e\u2060\u2800\u3164\ufe0f\ufeff\uffa0\ue000"
    "\U000e0041\U000e0100"
)
BAD_TEXT: list[Any] = [None, 5, b"x", "nul\0", "half \ud83d", "\udc00"]
BAD = [
    *(
        ("email", value)
        for value in [*BAD_TEXT, "", "@", "ada", "ada@", "@x", "a@b@c", "a@@b", "a b@c", "a@b c"]
    ),
    *(
        ("email", value)
        for value in [" a@b", "a@b ", "a@b\n", "a\t@b", "a@\u00a0b", "a\u2003@b", "x" * 253 + "@b"]
    ),
    *(
        (field, f"a{unseen}@b"[: 2 if field == "username" else None])
        for field in ("email", "username")
        for unseen in UNSEEN
    ),
    *(
        ("username", value)
        for value in [*BAD_TEXT, "", " ", "a b", " ab", "ab\n", "a@b", "a\u3000b", "x" * 51]
    ),
    *(("display_name", value) for value in [*BAD_TEXT, "x" * 101]),
    *(("role", value) for value in [*BAD_TEXT, "", "boss", "Admin", "admin\n", "admin|reviewer"]),
    *(("email_verified", value) for value in [None, 0, 1, "yes"]),
    *(("profile", value) for value in [None, [], [["a", 1]], "{}", 5, ()]),
    *(("id", value) for value in [5, "01890000-0000-7000-8000-000000000001", b"0123456789abcdef"]),
    *(("created_at", value) for value in [datetime(2026, 1, 1), date(2026, 1, 1), "2026-01-01", 0]),
    *(
        ("last_active_at", value)
        for value in [datetime(2026, 1, 1), date(2026, 1, 1), "2026-01-01", False]
    ),
]


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 2):
        value = [value]
    return {"a": value}


def circular() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["a"] = [value]
    return value


DOCUMENTS: dict[str, dict[str, Any]] = {
    "empty": {},
    "nested": {
        "a": {"b": [1, {"c": [[], {}]}], "": None},
        "yes": True,
        "no": False,
        "zero": 0,
        "one": 1,
    },
    "numbers": {
        "big": 10**30,
        "least": -(10**30),
        "tenth": 0.1,
        "tiny": 5e-324,
        "huge": 1.7976931348623157e308,
    },
    "zeros": {"minus": -0.0, "float": 0.0, "int": 0, "whole": 1.0, "e": 1e22, "precise": 0.1 + 0.2},
    "unicode": {
        "ключ": "значение",
        "family": "👩‍👩‍👧",
        "e\u0301": "\u00e9",
        "\u00e9": "e\u0301",
        "end": "\U0010ffff",
    },
    "control": {
        "text": "\x01\t\n\r\x1f\x7f\u0085\u2028\ufeff",
        "quotes": "\"'`\\/",
        "percent": "%s %(a)s :a ? $1",
    },
    "escapes": {"text": "\\u0000", "more": "\\\\u0000", "surrogate": "\\ud800", "\\u0000": "\\"},
    "order": {"b": 1, "a": 2, "10": 3, "9": 4, "": 5},
    "deep": nested(50),
    "long": {"text": "x" * 100_000, "list": [*range(1000)]},
}
NO_JSON: dict[str, Callable[[], Any]] = {
    "nan": lambda: {"a": math.nan},
    "infinity": lambda: {"a": [1, {"b": math.inf}]},
    "minus infinity": lambda: {"a": -math.inf},
    "tuple": lambda: {"a": (1, 2)},
    "key of int": lambda: {1: "a"},
    "key of None": lambda: {"a": {None: 1}},
    "key of bool": lambda: {True: 1},
    "key of float": lambda: {"a": [{1.5: 1}]},
    "key of bytes": lambda: {b"a": 1},
    "set": lambda: {"a": {1}},
    "decimal": lambda: {"a": Decimal(1)},
    "bytes": lambda: {"a": b"x"},
    "datetime": lambda: {"a": DAWN},
    "uuid": lambda: {"a": uuid.UUID(int=1)},
    "object": lambda: {"a": object()},
    "circular": circular,
    "too deep": lambda: nested(100_000),
}
NO_TEXT: dict[str, dict[str, Any]] = {
    "nul": {"a": "secret\0"},
    "nul in a key": {"a": [{"secret\0": 1}]},
    "nul behind a backslash": {"a": "secret\\\0"},
    "nul behind two": {"a": "secret\\\\\0"},
    "nul and its escape": {"a": "\\u0000\0secret"},
    "surrogate": {"a": "secret\ud800"},
    "surrogate in a key": {"secret\udfff": 1},
    "two surrogates": {"a": ["secret\ud83d\ude00"]},
}
UPDATES: list[tuple[str, Callable[[infra.UserRepository, uuid.UUID], None]]] = [
    ("update_password", lambda users, who: users.update_password(who, HASH)),
    ("update_profile", lambda users, who: users.update_profile(who, {})),
    ("update_role", lambda users, who: users.update_role(who, "admin")),
    ("update_email_verified", lambda users, who: users.update_email_verified(who)),
    ("update_last_active", lambda users, who: users.update_last_active(who)),
]


def a_user(backend: ExchangeBackend, name: str = "ada", **fields: Any) -> infra.User:
    return backend.users.create(infra.User(f"{name}@example.com", name, **fields))


def an_organization(
    backend: ExchangeBackend, owner: infra.User, name: str = "acme"
) -> infra.Organization:
    return backend.organizations.create(infra.Organization(name, name.lower()), owner.id)


def roles(backend: ExchangeBackend, organization: infra.Organization) -> dict[str, str]:
    return {
        each.user.username: each.role
        for each in backend.organizations.find_members(organization.id).items
    }


def conflict(call: Callable[[], Any]) -> tuple[str | None, str | None, str | None]:
    with pytest.raises(infra.ConflictError) as caught:
        call()
    assert caught.value.service in ENGINES
    assert caught.value.retryable is False
    return caught.value.constraint, caught.value.kind, caught.value.operation


def rule(result: Any) -> Any:
    """The broken rule of a call in another thread."""
    assert isinstance(result, infra.ConflictError), result
    return result.constraint


def missing(call: Callable[[], Any]) -> tuple[str | None, str | None]:
    with pytest.raises(infra.NotFoundError) as caught:
        call()
    return caught.value.resource, caught.value.operation


class UserRepositoryContract(Contract):
    port = infra.UserRepository

    def test_many_users(self, backend: ExchangeBackend) -> None:
        names = ["ada", "ben", "eve"]
        made = backend.users.create_many(infra.User(f"{n}@example.com", n) for n in names)
        assert made == [backend.users.find_by_username(name) for name in names]
        wrong = [infra.User("joe@example.com", "joe"), infra.User("ADA@example.com", "new")]
        rule = ("users_email_key", "unique", "create")
        assert conflict(lambda: backend.users.create_many(wrong)) == rule
        with pytest.raises(infra.ConfigurationError, match="has guarded fields"):
            backend.users.upsert(replace(made[0], display_name="Ada"))
        assert backend.users.count() == 3

    def test_on_a_database(self, backend: ExchangeBackend) -> None:
        user = a_user(backend)
        assert infra.UserRepository.on(backend.database).find_by_id(user.id) == user

    def test_the_database_checks_texts_itself(self, backend: ExchangeBackend) -> None:
        user = a_user(backend)
        organization = an_organization(backend, user)
        bad = infra.User("eve@example.org", "eve", role="boss")
        assert violation(lambda: unchecked(backend.users).create(bad)) == (
            "users_role_check",
            "check",
        )
        other = a_user(backend, "eve")
        columns = ["organization_id", "user_id", "role", "created_at"]
        rows = [(organization.id, other.id, "boss", DAWN)]
        assert violation(
            lambda: backend.database.insert_many("organization_members", columns, rows)
        ) == ("organization_members_role_check", "check")
        assert roles(backend, organization) == {"ada": "owner"}

    def test_a_user(self, backend: ExchangeBackend) -> None:
        users = backend.users
        assert users.find_by_email("ada@example.com") is None
        user = users.create(infra.User("ada@example.com", "ada"))
        assert (user.email, user.username, user.display_name) == ("ada@example.com", "ada", "")
        assert (user.role, user.email_verified, user.profile) == ("registered", False, {})
        assert (user.created_at, user.updated_at, user.last_active_at) == (DAWN, DAWN, None)
        assert user.created_at.tzinfo is timezone.utc
        assert user.id.version == 7
        assert users.find_by_id(user.id) == user
        assert (users.get(user.id), users.exists(user.id)) == (user, True)
        assert users.find_by_email("ada@example.com") == user
        assert users.find_by_username("ada") == user
        assert users.exists_by_email("ada@example.com") is True
        assert users.exists_by_username("ada") is True

    def test_nobody(self, backend: ExchangeBackend) -> None:
        users = backend.users
        a_user(backend)
        assert users.find_by_id(infra.new_id()) is None
        assert users.find_by_email("grace@example.com") is None
        assert users.find_by_username("grace") is None
        assert users.find_credentials("grace@example.com") is None
        assert users.exists_by_email("grace@example.com") is False
        assert users.exists_by_username("grace") is False

    def test_create_keeps_what_is_given(self, backend: ExchangeBackend) -> None:
        users, id = backend.users, uuid.UUID("01890000-0000-7000-8000-000000000001")
        moment = datetime(2020, 2, 29, 23, 59, 59, 999999, tzinfo=timezone(timedelta(hours=-3)))
        given = infra.User(
            "Ada@Example.com", "Ada_Lovelace", "Ada\nLovelace 🧮 ", "reviewer", True, {"a": [1]},
            id=id, created_at=moment, updated_at=moment + timedelta(days=1),
            last_active_at=moment - timedelta(days=1),
        )  # fmt: skip
        stored = users.create(given)
        assert stored == given  # the same moments
        assert {stored.created_at.tzinfo, stored.updated_at.tzinfo} == {timezone.utc}
        assert users.find_by_id(id) == given
        with_same_id = infra.User("grace@example.com", "grace", id=id)
        assert conflict(lambda: users.create(with_same_id)) == ("users_pkey", "unique", "create")
        assert users.page().items == [given]

    @pytest.mark.parametrize(
        "moment", [datetime.min, datetime.max, datetime(1582, 10, 10), datetime(1969, 12, 31)]
    )
    def test_any_moment(self, backend: ExchangeBackend, moment: datetime) -> None:
        user = a_user(backend, last_active_at=moment.replace(tzinfo=timezone.utc))
        assert backend.users.find_by_id(user.id) == user
        assert user.last_active_at == moment.replace(tzinfo=timezone.utc)

    def test_the_longest_values(self, backend: ExchangeBackend) -> None:
        """Lengths count code points, whatever they are in bytes, or as they are folded."""
        users = backend.users
        longest = infra.User("ß" * 252 + "@🚀", "\U0001d160" * 50, "🚀" * 100, "anonymous")
        user = users.create(longest, "x" * 255)
        with pytest.raises(infra.ValidationError):  # equal when folded, but too long for an address
            users.find_by_email("SS" * 252 + "@🚀")
        assert users.find_by_email("ß" * 252 + "@🚀") == user
        assert users.find_by_username("\U0001d160" * 50) == user
        assert users.find_credentials("ß" * 252 + "@🚀") == infra.Credentials(user, "x" * 255)

    def test_an_enumeration_is_stored_as_its_text(self, backend: ExchangeBackend) -> None:
        class Role(str, enum.Enum):
            ADMIN = "admin"

        user = a_user(backend, role=Role.ADMIN, profile=OrderedDict(a=Role.ADMIN))
        assert (type(user.role), type(user.profile), type(user.profile["a"])) == (str, dict, str)
        assert backend.users.find_by_id(user.id) == user
        backend.users.update_role(user.id, Role.ADMIN)
        assert backend.users.page(infra.Query(filters={"role": Role.ADMIN})).items == [user]

    def test_a_useless_argument_changes_nothing(self, backend: ExchangeBackend) -> None:
        users, organizations = backend.users, backend.organizations
        ada, grace = a_user(backend), a_user(backend, "grace")
        acme = an_organization(backend, ada)

        def state() -> Any:
            return users.page().items, roles(backend, acme), organizations.page().items

        for method, *arguments in (
            (users.create, infra.User("new@example.com", "new"), HASH),
            (users.update, ada), (users.delete, grace.id),
            (users.update_password, ada.id, HASH),
            (users.update_profile, ada.id, {"a": 1}),
            (users.update_role, ada.id, "admin"),
            (users.update_email_verified, ada.id, True),
            (users.update_last_active, ada.id),
            (users.add_to_organization, grace.id, acme.id, "member"),
            (users.remove_from_organization, ada.id, acme.id),
            (users.update_organization_role, ada.id, acme.id, "admin"),
            (users.find_organizations, ada.id),
            (organizations.create, infra.Organization("New", "new"), ada.id),
            (organizations.update, acme), (organizations.verify, acme.id),
            (organizations.unverify, acme.id), (organizations.delete, acme.id),
            (organizations.find_members, acme.id, infra.Query()),
        ):  # fmt: skip
            refusals.check(method, arguments, state)
        refusals.check(
            functools.partial(users.update_email_verified, ada.id), [], state, "verified", "email"
        )

    @any_text
    def test_text_of_any_subclass(self, backend: ExchangeBackend, text: Text) -> None:
        users, email, name = backend.users, text("Ada@example.com"), text("Ada")
        profile = {text("a"): [text("é"), Number.ONE]}
        user = users.create(
            infra.User(email, name, text("é"), text("admin"), profile=profile), text(HASH)
        )
        assert plain(user) == plain(users.find_by_id(user.id))
        assert (user.email, user.role, user.profile) == (
            "Ada@example.com", "admin", {"a": ["é", 1]},
        )  # fmt: skip
        assert type(user.profile["a"][1]) is int
        for found in (users.find_by_email(email), users.find_by_username(name)):
            assert plain(found) == user
        assert users.exists_by_email(email) is users.exists_by_username(name) is True
        assert plain(users.find_credentials(email)) == infra.Credentials(user, HASH)
        query = infra.Query(sort=text("username"), filters={text("role"): text("admin")})
        assert plain(users.page(query).items) == [user]
        other = a_user(backend, "Abe")
        assert users.page(infra.Query(sort=text("username"))).items == [other, user]
        changed = plain(users.update(replace(user, username=text("Grace"))))
        assert changed.username == "Grace"
        users.update_password(user.id, text("other"))
        users.update_profile(user.id, {text("b"): text("é")})
        users.update_role(user.id, text("reviewer"))
        users.update_email_verified(user.id, email=email)
        found = plain(users.find_credentials(email))
        assert found == infra.Credentials(
            replace(changed, profile={"b": "é"}, role="reviewer", email_verified=True), "other"
        )

    @any_text
    def test_roles_of_any_subclass(self, backend: ExchangeBackend, text: Text) -> None:
        users, ada, grace = backend.users, a_user(backend), a_user(backend, "grace")
        acme = an_organization(backend, ada)
        users.add_to_organization(grace.id, acme.id, text("admin"))
        users.update_organization_role(grace.id, acme.id, text("member"))
        users.update_organization_role(ada.id, acme.id, text("owner"))  # the only one
        with pytest.raises(infra.ConflictError, match="last_owner"):
            users.update_organization_role(ada.id, acme.id, text("member"))
        assert plain(users.find_organizations(grace.id))[0].role == "member"
        query = infra.Query(filters={text("role"): text("owner")})
        found = plain(backend.organizations.find_members(acme.id, query).items)
        assert [each.user for each in found] == [ada]

    # --- names

    def test_the_longest_names(self, backend: ExchangeBackend) -> None:
        """Folding a ligature makes three letters of it."""
        users, ffi = backend.users, "\ufb03"
        user = users.create(infra.User(ffi * 252 + "@x", ffi * 50))
        assert users.find_by_email(ffi * 252 + "@X") == users.find_by_username(ffi * 50) == user
        last = infra.User(ffi * 251 + "\ufb04@x", ffi * 49 + "\ufb04")
        assert users.create(last).username == last.username
        for taken in (infra.User(user.email, "a"), infra.User("a@x", last.username)):
            assert conflict(lambda: users.create(taken))[1:] == ("unique", "create")

    @pytest.mark.parametrize(("stored", "other"), ONE_NAME)
    def test_one_name(self, backend: ExchangeBackend, stored: str, other: str) -> None:
        users = backend.users
        user = a_user(backend, stored)
        grace = users.create(infra.User("grace@example.org", "grace"))
        assert (user.email, user.username) == (f"{stored}@example.com", stored)
        mail = f"{other}@EXAMPLE.com"
        assert (
            users.find_by_email(mail)
            == users.find_by_username(other)
            == users.find_by_id(user.id)
            == user
        )
        assert users.exists_by_email(mail) is users.exists_by_username(other) is True
        assert users.find_credentials(mail) == infra.Credentials(user, None)
        same_mail, same_name = infra.User(mail, "else"), infra.User("else@example.com", other)
        assert conflict(lambda: users.create(same_mail)) == ("users_email_key", "unique", "create")
        assert conflict(lambda: users.create(same_name)) == (
            "users_username_key",
            "unique",
            "create",
        )
        assert conflict(lambda: users.update(replace(grace, email=mail)))[::2] == (
            "users_email_key",
            "update",
        )
        assert conflict(lambda: users.update(replace(grace, username=other)))[::2] == (
            "users_username_key",
            "update",
        )
        assert users.page().items == sorted([user, grace], key=lambda each: str(each.id))
        changed = users.update(replace(user, email=mail, username=other))  # its own
        assert (changed.email, changed.username) == (mail, other)
        assert (
            users.find_by_email(f"{stored}@example.com")
            == users.find_by_username(stored)
            == changed
        )

    @pytest.mark.parametrize(("first", "second"), TWO_NAMES)
    def test_two_names(self, backend: ExchangeBackend, first: str, second: str) -> None:
        users = backend.users
        user = a_user(backend, first)
        assert (
            users.find_by_email(f"{second}@example.com") is users.find_by_username(second) is None
        )
        assert (
            users.exists_by_email(f"{second}@example.com")
            is users.exists_by_username(second)
            is False
        )
        other = a_user(backend, second)
        assert users.find_by_username(first) == user
        assert users.find_by_email(f"{second}@example.com") == other

    def test_a_conflict_shows_no_row(self, backend: ExchangeBackend) -> None:
        secrets = [
            f"{secret}-{number}" for number, secret in enumerate(("mail", "document", "hash"))
        ]
        for name in ("ada", "grace"):
            user = infra.User(secrets[0] + "@x", name, profile={"a": secrets[1]})
            create = functools.partial(backend.users.create, user, secrets[2])
            if name == "ada":
                create()
        with pytest.raises(infra.ConflictError) as caught:
            create()
        text = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
        assert [secret for secret in secrets if secret in text] == []

    @pytest.mark.parametrize("field", ["email", "username"])
    def test_one_of_many_at_once_gets_the_name(self, backend: ExchangeBackend, field: str) -> None:
        def create(number: int) -> infra.User:
            mixed = "".join(
                random.Random(number).choice((str.upper, str.lower))(each) for each in "adelaide"
            )
            other = f"user{number}"
            return backend.users.create(
                infra.User(
                    f"{mixed if field == 'email' else other}@x",
                    mixed if field == "username" else other,
                )
            )

        results = in_threads(6, create)
        created = [each for each in results if isinstance(each, infra.User)]
        assert len(created) == 1
        assert {rule(each) for each in results if each is not created[0]} == {f"users_{field}_key"}
        assert backend.users.page().items == created

    def test_a_name_that_another_transaction_takes(self, backend: ExchangeBackend) -> None:
        for commit in (False, True):
            name = f"ada-{commit}"
            result = overlapped(
                backend.database,
                lambda: a_user(backend, name),
                lambda: a_user(backend, name.upper(), display_name="second"),
                commit=commit,
            )
            found = backend.users.find_by_username(name)
            assert found is not None
            if commit:
                assert rule(result) in ("users_email_key", "users_username_key")
                assert found.display_name == ""
            else:
                assert found == result
                assert found.display_name == "second"

    @pytest.mark.parametrize(("field", "value"), BAD, ids=ascii)
    def test_bad_values(self, backend: ExchangeBackend, field: str, value: Any) -> None:
        users = backend.users
        user = a_user(backend)
        backend.advance(1)
        bad = {field: value}
        calls: list[Callable[[], infra.User]] = [lambda: users.update(replace(user, **bad))]
        calls.append(
            lambda: users.create(replace(infra.User("grace@example.com", "grace"), **bad), HASH)
        )
        for call in calls:
            with pytest.raises(infra.ValidationError) as caught:
                call()
            message = str(caught.value)
            assert field in message
            assert not (isinstance(value, str) and len(value) > 1 and value in message)
        assert users.page().items == [user]

    @pytest.mark.parametrize("value", [datetime(2026, 1, 1), "2026-01-01"], ids=str)
    def test_a_bad_time_of_the_last_change(self, backend: ExchangeBackend, value: Any) -> None:
        with pytest.raises(infra.ValidationError):
            a_user(backend, updated_at=value)
        assert backend.users.count() == 0

    @pytest.mark.parametrize("value", [*BAD_TEXT, "", "a b"], ids=ascii)
    def test_looking_for_a_bad_name(self, backend: ExchangeBackend, value: Any) -> None:
        users = backend.users
        by_email = users.find_by_email, users.exists_by_email, users.find_credentials
        for call in (*by_email, users.find_by_username, users.exists_by_username):
            with pytest.raises(infra.ValidationError):
                call(value)

    @pytest.mark.parametrize(
        "id", ["01890000-0000-7000-8000-000000000001", None, 5, b"0123456789abcdef"], ids=str
    )
    def test_an_id_is_a_uuid(self, backend: ExchangeBackend, id: Any) -> None:
        users, other = backend.users, infra.new_id()
        calls: list[Callable[[Any], Any]] = [
            users.find_by_id,
            users.delete,
            users.find_organizations,
        ]
        calls += [functools.partial(update, users) for _, update in UPDATES]
        calls += [
            lambda who: users.add_to_organization(who, other),
            lambda who: users.add_to_organization(other, who),
        ]
        calls += [lambda who: users.remove_from_organization(who, other)]
        calls += [lambda who: users.remove_from_organization(other, who)]
        calls += [lambda who: users.update_organization_role(who, other, "owner")]
        calls += [lambda who: users.update_organization_role(other, who, "owner")]
        for call in calls:
            with pytest.raises(infra.ValidationError):
                call(id)

    # --- documents

    @pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
    def test_a_document_comes_back_as_it_was(
        self, backend: ExchangeBackend, document: dict[str, Any]
    ) -> None:
        users = backend.users
        exactly = json.dumps(document)  # 1 is not 1.0, 0.0 is not -0.0, and keys have an order
        user = a_user(backend, profile=document)
        changed = a_user(backend, "grace", profile={"other": 1})
        users.update_profile(changed.id, document)
        edited = users.update(replace(a_user(backend, "joan"), profile=document))
        credentials = users.find_credentials("ada@example.com")
        assert credentials is not None
        found = [user, edited, credentials.user, *users.page().items]
        found += [
            each for each in (users.find_by_id(changed.id), users.find_by_username("ada")) if each
        ]
        assert [json.dumps(each.profile) for each in found] == [exactly] * 8
        assert users.find_by_id(user.id) == user

    def test_documents_are_copies(self, backend: ExchangeBackend) -> None:
        users = backend.users
        given: dict[str, Any] = {"a": [1]}
        user = a_user(backend, profile=given)
        edited = users.update(replace(user, profile=given))
        found = users.find_by_id(user.id)
        assert found is not None
        for each in (
            given,
            user.profile,
            edited.profile,
            found.profile,
            users.page().items[0].profile,
        ):
            each["a"].append(2)
            each["b"] = 1
            again = users.find_by_id(user.id)
            assert again is not None
            assert again.profile == {"a": [1]}
        users.update_profile(user.id, given)
        given.clear()
        assert users.page().items[0].profile == {"a": [1, 2], "b": 1}

    @pytest.mark.parametrize(
        ("make", "error"),
        [
            *(
                pytest.param(make, infra.SerializationError, id=name)
                for name, make in NO_JSON.items()
            ),
            *(
                pytest.param(lambda v=v: v, infra.ValidationError, id=name)
                for name, v in NO_TEXT.items()
            ),
            *(
                pytest.param(lambda v=v: v, infra.ValidationError, id=str(v))
                for v in (None, [], [{"a": 1}], "{}", 5)
            ),
        ],
    )
    def test_a_bad_document(
        self,
        backend: ExchangeBackend,
        make: Callable[[], Any],
        error: type[infra.InfrastructureError],
    ) -> None:
        users = backend.users
        user = a_user(backend, profile={"a": 1})
        backend.advance(1)
        for call in (
            lambda: a_user(backend, "grace", profile=make()),
            lambda: users.update(replace(user, profile=make())),
            lambda: users.update_profile(user.id, make()),
            lambda: users.update_profile(infra.new_id(), make()),
        ):
            with pytest.raises(error) as caught:
                call()
            assert "profile" in str(caught.value)
            assert "secret" not in "".join(traceback.format_exception(caught.value))
        assert users.page().items == [user]

    def test_what_is_stored_can_be_read(self, backend: ExchangeBackend) -> None:
        """The limit of a document's depth is fixed, even if little of Python's stack is left."""
        users = backend.users
        deepest = a_user(backend, profile=nested(100))

        def called_from(depth: int) -> infra.User | None:
            return called_from(depth - 1) if depth else users.find_by_id(deepest.id)

        assert called_from(400) == deepest
        for levels in (101, 500, 950, 985):
            with pytest.raises(infra.SerializationError):
                a_user(backend, "grace", profile=nested(levels))
        wide = {
            "a": [[[index]] for index in range(1000)],
            "b": {str(index): {} for index in range(1000)},
        }
        assert a_user(backend, "joan", profile=wide).profile == wide

    # --- passwords

    def test_credentials(self, backend: ExchangeBackend) -> None:
        users = backend.users
        ada = users.create(infra.User("ada@example.com", "ada"), HASH)
        grace = a_user(backend, "grace")
        assert users.find_credentials("ADA@example.com") == infra.Credentials(ada, HASH)
        assert users.find_credentials("grace@example.com") == infra.Credentials(grace, None)
        backend.advance(60)
        users.update_password(grace.id, "$new$")
        assert users.find_credentials("ada@example.com") == infra.Credentials(ada, HASH)
        grace = replace(grace, updated_at=DAWN + timedelta(seconds=60))
        assert users.find_credentials("grace@example.com") == infra.Credentials(grace, "$new$")
        users.update_password(grace.id, None)
        assert users.find_credentials("grace@example.com") == infra.Credentials(grace, None)

    def test_a_hash_outlives_what_is_changed_beside_it(self, backend: ExchangeBackend) -> None:
        users = backend.users
        ada = users.create(infra.User("ada@example.com", "ada"), HASH)
        changed = users.update(replace(ada, email="ada@example.org", display_name="Ada"))
        users.update_role(ada.id, "admin")
        users.update_last_active(ada.id)
        found = users.find_credentials("ada@example.org")
        assert found == infra.Credentials(replace(changed, role="admin", last_active_at=DAWN), HASH)

    def test_a_hash_is_nowhere_else(self, backend: ExchangeBackend) -> None:
        users = backend.users
        ada = users.create(infra.User("ada@example.com", "ada"), HASH)
        assert HASH not in str(
            [vars(ada), *map(vars, users.page().items), vars(users.find_by_id(ada.id))]
        )
        credentials = users.find_credentials("ada@example.com")
        assert HASH in str(vars(credentials))
        assert HASH not in repr(credentials)
        assert "ada@" not in repr(credentials)
        assert "ada@" not in repr(ada)
        assert "username='ada'" in repr(ada)

    @pytest.mark.parametrize(
        "hash",
        [
            "",
            " ",
            " secret",
            "secret\n",
            "secret\0",
            "secret\ud800",
            "secret" * 43,
            5,
            b"secret",
            True,
        ],
        ids=ascii,
    )
    def test_a_bad_hash(self, backend: ExchangeBackend, hash: Any) -> None:
        users = backend.users
        ada = users.create(infra.User("ada@example.com", "ada"), HASH)
        for call in (
            lambda: users.create(infra.User("grace@example.com", "grace"), hash),
            lambda: users.update_password(ada.id, hash),
        ):
            with pytest.raises(infra.ValidationError) as caught:
                call()
            assert "secret" not in "".join(traceback.format_exception(caught.value))
        assert users.find_credentials("ada@example.com") == infra.Credentials(ada, HASH)
        assert users.count() == 1

    # --- changes

    @pytest.mark.parametrize(
        ("change", "fields"),
        [
            (lambda users, who: users.update_role(who, "contributor"), {"role": "contributor"}),
            (lambda users, who: users.update_email_verified(who), {"email_verified": True}),
            (lambda users, who: users.update_email_verified(who, True), {"email_verified": True}),
            (
                lambda users, who: users.update_email_verified(who, verified=False),
                {"email_verified": False},
            ),
            (
                lambda users, who: users.update_profile(who, {"new": [None]}),
                {"profile": {"new": [None]}},
            ),
            (lambda users, who: users.update_profile(who, {}), {"profile": {}}),
            (lambda users, who: users.update_password(who, HASH), {}),
            (lambda users, who: users.update_password(who, None), {}),
        ],
    )
    def test_a_change(
        self,
        backend: ExchangeBackend,
        change: Callable[[infra.UserRepository, uuid.UUID], None],
        fields: dict[str, Any],
    ) -> None:
        users = backend.users
        ada, grace = (
            a_user(backend, profile={"old": 1}),
            a_user(backend, "grace", profile={"old": 1}),
        )
        backend.advance(1.000001)
        change(users, ada.id)
        moment = DAWN + timedelta(seconds=1, microseconds=1)
        assert users.find_by_id(ada.id) == replace(ada, updated_at=moment, **fields)
        assert users.find_by_id(grace.id) == grace

    def test_the_last_activity_is_no_change(self, backend: ExchangeBackend) -> None:
        users = backend.users
        ada, grace = a_user(backend), a_user(backend, "grace")
        for seconds in (10, 20):
            backend.advance(10)
            users.update_last_active(ada.id)
            assert users.find_by_id(ada.id) == replace(
                ada, last_active_at=DAWN + timedelta(seconds=seconds)
            )
        assert users.find_by_id(grace.id) == grace

    @pytest.mark.parametrize(
        "role", ["anonymous", "registered", "contributor", "reviewer", "admin"]
    )
    def test_the_roles(self, backend: ExchangeBackend, role: str) -> None:
        users = backend.users
        assert a_user(backend, "grace", role=role).role == role
        ada = a_user(backend)
        users.update_role(ada.id, role)
        assert [each.role for each in users.page(infra.Query(filters={"role": role})).items] == [
            role
        ] * 2

    @pytest.mark.parametrize("value", [*BAD_TEXT, "", "boss", "Admin", "owner"], ids=ascii)
    def test_a_bad_role(self, backend: ExchangeBackend, value: Any) -> None:
        users = backend.users
        ada = a_user(backend)
        for id in (ada.id, infra.new_id()):
            with pytest.raises(infra.ValidationError):
                users.update_role(id, value)
        for verified in (None, 1, "True"):
            with pytest.raises(infra.ValidationError):
                users.update_email_verified(ada.id, verified)  # type: ignore[arg-type]
        assert users.page().items == [ada]

    @pytest.mark.parametrize(("operation", "call"), UPDATES)
    def test_a_change_of_nobody(
        self,
        backend: ExchangeBackend,
        operation: str,
        call: Callable[[infra.UserRepository, uuid.UUID], None],
    ) -> None:
        ada = a_user(backend)
        assert missing(lambda: call(backend.users, infra.new_id())) == ("user", operation)
        assert backend.users.page().items == [ada]

    def test_update(self, backend: ExchangeBackend) -> None:
        users = backend.users
        ada, grace = a_user(backend), a_user(backend, "grace")
        backend.advance(60)
        moment = DAWN + timedelta(seconds=60)
        given = infra.User(
            "Countess@Example.com", "countess", "Ada", profile={"a": 1}, id=ada.id, created_at=DAWN,
            updated_at=DAWN - timedelta(days=1),
        )  # fmt: skip
        changed = users.update(given)
        assert changed == replace(given, updated_at=moment)
        assert users.find_by_id(ada.id) == users.find_by_email("COUNTESS@example.com") == changed
        assert users.find_by_username("ada") is users.find_by_email("ada@example.com") is None
        assert users.find_by_id(grace.id) == grace
        assert users.update(changed) == changed
        freed = a_user(backend)  # the old names are free again
        assert users.find_by_username("ada") == freed

    def test_update_takes_back_nothing_of_what_others_have_changed(
        self, backend: ExchangeBackend
    ) -> None:
        users = backend.users
        ada = a_user(backend, role="admin")
        users.update_role(ada.id, "registered")  # by somebody else, since ada was read
        late = "users_as_read", "check", "update"
        assert conflict(lambda: users.update(replace(ada, display_name="Ada"))) == late
        users.update_role(ada.id, "admin")
        users.update_email_verified(ada.id)
        assert conflict(lambda: users.update(replace(ada, display_name="Ada"))) == late
        backend.advance(1)
        users.update_last_active(ada.id)
        verified = replace(ada, email_verified=True)
        edited = users.update(replace(verified, display_name="Ada"))
        assert edited == replace(
            verified, display_name="Ada", updated_at=DAWN + timedelta(seconds=1)
        )
        active = replace(edited, last_active_at=DAWN + timedelta(seconds=1))
        assert users.find_by_id(ada.id) == active
        # These have methods of their own.
        for change in (
            {"role": "reviewer"},
            {"email_verified": False},
        ):
            assert conflict(lambda: users.update(replace(active, **change))) == late
        assert users.find_by_id(ada.id) == active

    @pytest.mark.parametrize(
        ("email", "verified"),
        # ß folds to ss, but as a domain it is another one (RFC 5891): only the very same text is
        # the same address.
        [("ada@example.com", True), ("ADA@Example.com", False), ("ada@example.org", False)],
    )
    def test_another_address_is_not_verified(
        self, backend: ExchangeBackend, email: str, verified: bool
    ) -> None:
        users = backend.users
        ada = a_user(backend, email_verified=True)
        changed = users.update(replace(ada, email=email))
        assert (
            changed
            == users.find_by_id(ada.id)
            == replace(ada, email=email, email_verified=verified)
        )

    def test_an_address_is_verified_that_a_mail_went_to(self, backend: ExchangeBackend) -> None:
        users = backend.users
        ada = a_user(backend)
        # Before the link in the mail is followed.
        users.update(replace(ada, email="else@example.com"))
        late = "users_as_read", "check", "update_email_verified"
        for address in ("ada@example.com", "Else@example.com"):
            assert conflict(lambda: users.update_email_verified(ada.id, email=address)) == late
        backend.advance(1)
        users.update_email_verified(ada.id, email="else@example.com")
        found = users.find_by_id(ada.id)
        assert found is not None
        assert (found.email, found.email_verified) == ("else@example.com", True)
        assert found.updated_at == DAWN + timedelta(seconds=1)
        nobody = missing(
            lambda: users.update_email_verified(infra.new_id(), email="else@example.com")
        )
        assert nobody == ("user", "update_email_verified")
        with pytest.raises(infra.ValidationError):
            users.update_email_verified(ada.id, email="no address")

    def test_update_of_nobody(self, backend: ExchangeBackend) -> None:
        users = backend.users
        ada = a_user(backend)
        assert missing(lambda: users.update(replace(ada, id=infra.new_id()))) == ("user", "update")
        with pytest.raises(infra.ValidationError):
            users.update(infra.User("grace@example.com", "grace"))  # was never stored
        assert (
            missing(lambda: users.update(replace(ada, id=infra.new_id(), email_verified=True)))[0]
            == "user"
        )
        assert users.page().items == [ada]

    @pytest.mark.parametrize("value", [None, "ada", {}, infra.Organization("Ada", "ada")], ids=str)
    def test_what_is_no_user(self, backend: ExchangeBackend, value: Any) -> None:
        for call in (backend.users.create, backend.users.update):
            with pytest.raises(infra.ValidationError):
                call(value)

    def test_delete_and_count(self, backend: ExchangeBackend) -> None:
        users = backend.users
        assert users.count() == 0
        ada, grace = a_user(backend), a_user(backend, "grace")
        assert users.count() == 2
        assert users.delete(infra.new_id()) is False
        assert users.delete(ada.id) is True
        assert users.delete(ada.id) is False
        assert users.find_by_id(ada.id) is None
        assert users.exists_by_email("ada@example.com") is users.exists_by_username("ada") is False
        assert users.page().items == [grace]
        assert a_user(backend).id != ada.id

    def test_who_is_needed_stays(self, backend: ExchangeBackend) -> None:
        users = backend.users
        maker, submitter, member = (
            a_user(backend),
            a_user(backend, "grace"),
            a_user(backend, "joan"),
        )
        organization = an_organization(backend, member)
        benchmark = backend.benchmarks.create(
            infra.Benchmark("b", "B", category="accuracy", created_by=maker.id)
        )
        submission = backend.submissions.create(
            infra.Submission(benchmark.id, benchmark.version_id, "model", submitter.id)
        )
        assert conflict(lambda: users.delete(maker.id)) == (
            "benchmarks_created_by_fkey",
            "foreign_key",
            "delete",
        )
        assert conflict(lambda: users.delete(submitter.id)) == (
            "submissions_user_id_fkey",
            "foreign_key",
            "delete",
        )
        assert conflict(lambda: users.delete(member.id))[:2] == (
            "organization_members_user_id_fkey",
            "foreign_key",
        )
        assert users.count() == 3
        backend.organizations.delete(organization.id)
        backend.submissions.delete(submission.id)
        backend.benchmarks.delete(benchmark.id)
        assert [users.delete(who.id) for who in (maker, submitter, member)] == [True] * 3

    # --- pages

    def test_page(self, backend: ExchangeBackend) -> None:
        users = backend.users
        assert users.page() == infra.Page([], 1, 50, None)
        made = []
        for number in range(5):
            made.append(
                a_user(backend, f"user{number}", role="admin" if number % 2 else "reviewer")
            )
            backend.advance(1)
        assert users.page() == infra.Page(made, 1, 50, None)
        assert users.page(infra.Query(per_page=2, with_total=True)) == infra.Page(made[:2], 1, 2, 5)
        assert users.page(infra.Query(page=3, per_page=2)) == infra.Page(made[4:], 3, 2, None)
        assert users.page(infra.Query(page=4, per_page=2, with_total=True)) == infra.Page(
            [], 4, 2, 5
        )
        assert users.page(infra.Query(page=10**9, per_page=1000)) == infra.Page(
            [], 10**9, 1000, None
        )
        admins = infra.Query(filters={"role": "admin"}, with_total=True, per_page=1)
        assert users.page(admins) == infra.Page([made[1]], 1, 1, 2)
        users.update_email_verified(made[3].id)
        both = infra.Query(filters={"role": "admin", "email_verified": True})
        assert [each.id for each in users.page(both).items] == [made[3].id]
        assert (
            users.page(replace(both, filters={"role": "reviewer", "email_verified": True})).items
            == []
        )

    def test_the_order_of_a_page(self, backend: ExchangeBackend) -> None:
        users = backend.users
        # By code points, not as one writes.
        names = [
            "b",
            "Z",
            "a",
            "\u00e9",
            "\ufffd",
            "🚀",
            "10",
            "9",
            "ab",
        ]
        made = []
        for name in names:
            made.append(a_user(backend, name))
            backend.advance(1)
        for user in reversed(made):
            users.update_role(user.id, "admin")
            backend.advance(1)
        orders = {
            "created_at": names,
            "updated_at": names[::-1],
            "username": ["10", "9", "Z", "a", "ab", "b", "\u00e9", "\ufffd", "🚀"],
            "": names,
        }
        for sort, expected in orders.items():
            for descending in (False, True):
                page = users.page(infra.Query(sort=sort, descending=descending))
                assert [each.username for each in page.items] == (
                    expected[::-1] if descending else expected
                )

    @pytest.mark.parametrize("sort", ["created_at", "updated_at"])
    def test_equal_sort_values_are_in_the_order_of_ids(
        self, backend: ExchangeBackend, sort: str
    ) -> None:
        made = [a_user(backend, f"user{number}") for number in range(6)]
        in_order = sorted(made, key=lambda user: str(user.id))
        for descending, expected in ((False, in_order), (True, in_order[::-1])):
            query = infra.Query(sort=sort, descending=descending, per_page=4)
            assert backend.users.page(query).items == expected[:4]
            assert backend.users.page(replace(query, page=2)).items == expected[4:]

    @pytest.mark.parametrize(
        "query",
        [
            {"page": 0},
            {"page": -1},
            {"page": "1"},
            {"page": True},
            {"page": 1.0},
            {"page": 10**9 + 1},
            {"per_page": 0},
            {"per_page": 1001},
            {"per_page": None},
            {"sort": "email"},
            {"sort": "email_folded"},
            {"sort": "password_hash"},
            {"sort": "id"},
            {"sort": "created_at DESC"},
            {"sort": 5},
            {"descending": 1},
            {"descending": None},
            {"filters": {"email": "ada@example.com"}},
            {"filters": {"password_hash": None}},
            {"filters": {"username_folded": "ada"}},
            {"filters": {"1 = 1 OR role": "x"}},
            {"filters": {"role": "admin", "id": None}},
            {"filters": {"role": "boss"}},
            {"filters": {"role": None}},
            {"filters": {"role": ["admin"]}},
            {"filters": {"email_verified": 1}},
            {"filters": None},
            {"filters": "role"},
            {"filters": {5: "admin"}},
            {"sort": ["username"]},
        ],
        ids=str,
    )
    def test_a_bad_query(self, backend: ExchangeBackend, query: dict[str, Any]) -> None:
        with pytest.raises(infra.ValidationError):
            backend.users.page(infra.Query(**query))

    @pytest.mark.parametrize("query", [None, "page 1", 1, {}], ids=str)
    def test_what_is_no_query(self, backend: ExchangeBackend, query: Any) -> None:
        with pytest.raises(infra.ValidationError):
            backend.users.page(query)

    # --- organizations

    def test_memberships(self, backend: ExchangeBackend) -> None:
        users = backend.users
        ada, grace = a_user(backend), a_user(backend, "grace")
        organization = an_organization(backend, ada)
        backend.advance(60)
        users.add_to_organization(grace.id, organization.id, "admin")
        moment = DAWN + timedelta(seconds=60)
        assert users.find_organizations(ada.id) == [infra.Membership(organization, "owner", DAWN)]
        assert users.find_organizations(grace.id) == [
            infra.Membership(organization, "admin", moment)
        ]
        backend.advance(60)
        users.update_organization_role(grace.id, organization.id, "member")  # joined when it did
        assert users.find_organizations(grace.id) == [
            infra.Membership(organization, "member", moment)
        ]
        assert users.remove_from_organization(grace.id, organization.id) is True
        assert users.remove_from_organization(grace.id, organization.id) is False
        assert users.find_organizations(grace.id) == users.find_organizations(infra.new_id()) == []
        users.add_to_organization(grace.id, organization.id)
        joined = users.find_organizations(grace.id)
        assert joined == [infra.Membership(organization, "member", DAWN + timedelta(seconds=120))]
        assert users.find_by_id(grace.id) == grace  # itself unchanged
        assert backend.organizations.find_by_id(organization.id) == organization

    @pytest.mark.parametrize("role", ["member", "admin", "owner"])
    def test_the_roles_of_members(self, backend: ExchangeBackend, role: str) -> None:
        users = backend.users
        ada, grace, joan = a_user(backend), a_user(backend, "grace"), a_user(backend, "joan")
        organization = an_organization(backend, ada)
        users.add_to_organization(grace.id, organization.id, role)
        users.add_to_organization(joan.id, organization.id)
        users.update_organization_role(joan.id, organization.id, role=role)
        assert roles(backend, organization) == {"ada": "owner", "grace": role, "joan": role}

    @pytest.mark.parametrize(
        "value", [*BAD_TEXT, "", "boss", "Owner", "owner ", "registered"], ids=ascii
    )
    def test_a_bad_role_of_a_member(self, backend: ExchangeBackend, value: Any) -> None:
        users = backend.users
        ada, grace = a_user(backend), a_user(backend, "grace")
        organization = an_organization(backend, ada)
        with pytest.raises(infra.ValidationError):
            users.add_to_organization(grace.id, organization.id, value)
        for who in (ada, grace):
            with pytest.raises(infra.ValidationError):
                users.update_organization_role(who.id, organization.id, value)
        assert roles(backend, organization) == {"ada": "owner"}

    def test_joining_again_or_what_is_absent(self, backend: ExchangeBackend) -> None:
        users = backend.users
        ada, grace = a_user(backend), a_user(backend, "grace")
        organization = an_organization(backend, ada)
        users.add_to_organization(grace.id, organization.id)
        pairs = [
            (grace.id, organization.id),
            (infra.new_id(), organization.id),
            (ada.id, infra.new_id()),
        ]
        assert [conflict(lambda: users.add_to_organization(*pair, "admin")) for pair in pairs] == [
            ("organization_members_pkey", "unique", "add_to_organization"),
            ("organization_members_user_id_fkey", "foreign_key", "add_to_organization"),
            ("organization_members_organization_id_fkey", "foreign_key", "add_to_organization"),
        ]
        assert roles(backend, organization) == {"ada": "owner", "grace": "member"}
        for user, place in pairs[1:]:
            assert users.remove_from_organization(user, place) is False
            for role in ("member", "admin", "owner"):
                call = lambda: users.update_organization_role(user, place, role)  # noqa: E731
                assert missing(call) == ("membership", "update_organization_role")
        assert users.count() == 2

    def test_the_last_owner_stays(self, backend: ExchangeBackend) -> None:
        users = backend.users
        ada, grace = a_user(backend), a_user(backend, "grace")
        organization, other = an_organization(backend, ada), an_organization(backend, ada, "other")
        users.add_to_organization(grace.id, organization.id, "admin")
        users.add_to_organization(grace.id, other.id, "owner")  # an owner elsewhere is none here
        kept = ("organization_members_last_owner", "check")
        for _ in range(2):
            leaves = conflict(lambda: users.remove_from_organization(ada.id, organization.id))
            assert leaves == (*kept, "remove_from_organization")
            for role in ("member", "admin"):
                steps_down = conflict(
                    lambda: users.update_organization_role(ada.id, organization.id, role)
                )
                assert steps_down == (*kept, "update_organization_role")
        users.update_organization_role(ada.id, organization.id, "owner")
        assert roles(backend, organization) == {"ada": "owner", "grace": "admin"}
        users.update_organization_role(grace.id, organization.id, "member")
        users.update_organization_role(grace.id, organization.id, "owner")
        users.update_organization_role(ada.id, organization.id, "admin")
        assert (
            conflict(lambda: users.remove_from_organization(grace.id, organization.id))[0]
            == kept[0]
        )
        assert users.remove_from_organization(ada.id, organization.id) is True
        assert roles(backend, organization) == {"grace": "owner"}

    def test_a_refusal_within_a_transaction(self, backend: ExchangeBackend) -> None:
        """The transaction can go on."""
        users = backend.users
        ada, grace = a_user(backend), a_user(backend, "grace")
        organization = an_organization(backend, ada)
        with backend.database.transaction():
            users.add_to_organization(grace.id, organization.id)
            with pytest.raises(infra.ConflictError):
                users.remove_from_organization(ada.id, organization.id)
            with pytest.raises(infra.ConflictError):
                users.update_organization_role(ada.id, organization.id, "member")
            with pytest.raises(infra.NotFoundError):
                users.update_organization_role(infra.new_id(), organization.id, "member")
            users.update_organization_role(grace.id, organization.id, "owner")
            assert users.remove_from_organization(ada.id, organization.id) is True
        assert roles(backend, organization) == {"grace": "owner"}
        with pytest.raises(RolledBack), backend.database.transaction():
            users.add_to_organization(ada.id, organization.id, "owner")
            users.remove_from_organization(grace.id, organization.id)
            raise RolledBack
        assert roles(backend, organization) == {"grace": "owner"}

    @pytest.mark.parametrize("others", ["leaves", "steps down"])
    def test_of_two_owners_at_once_one_stays(self, backend: ExchangeBackend, others: str) -> None:
        users = backend.users
        ada, grace = a_user(backend), a_user(backend, "grace")
        for number in range(15):
            organization = an_organization(backend, ada, f"round-{number}")
            users.add_to_organization(grace.id, organization.id, "owner")

            def go(who: int) -> Any:
                if who == 0 or others == "leaves":
                    return users.remove_from_organization((ada, grace)[who].id, organization.id)
                return users.update_organization_role(grace.id, organization.id, "member")

            results = in_threads(2, go)
            refused = [each for each in results if isinstance(each, Exception)]
            assert [rule(each) for each in refused] == ["organization_members_last_owner"], results
            assert list(roles(backend, organization).values()).count("owner") == 1

    @pytest.mark.parametrize("commit", [True, False])
    @pytest.mark.parametrize("second", ["leaves", "steps down"])
    @pytest.mark.parametrize("first", ["leaves", "steps down"])
    def test_an_owner_who_goes_waits_for_the_other(
        self, backend: ExchangeBackend, first: str, second: str, commit: bool
    ) -> None:
        users = backend.users
        ada, grace = a_user(backend), a_user(backend, "grace")
        organization = an_organization(backend, ada)
        users.add_to_organization(grace.id, organization.id, "owner")

        def go(who: infra.User, how: str) -> Any:
            if how == "leaves":
                return users.remove_from_organization(who.id, organization.id)
            return users.update_organization_role(who.id, organization.id, "admin")

        result = overlapped(
            backend.database, lambda: go(ada, first), lambda: go(grace, second), commit=commit
        )
        if commit:
            assert rule(result) == "organization_members_last_owner"
            assert roles(backend, organization)["grace"] == "owner"
        else:
            assert result is (True if second == "leaves" else None)
            assert roles(backend, organization)["ada"] == "owner"

    @pytest.mark.parametrize("commit", [True, False])
    @pytest.mark.parametrize("how", ["leaves", "steps down"])
    @pytest.mark.parametrize("waits", ["for both", "for the first"])
    def test_a_new_owner_does_not_slip_away(
        self, backend: ExchangeBackend, waits: str, how: str, commit: bool
    ) -> None:
        """Ada hands over to Grace, who leaves meanwhile: Grace's statements read outdated rows."""
        users = backend.users
        ada, grace = a_user(backend), a_user(backend, "grace")
        organization = an_organization(backend, ada)
        users.add_to_organization(grace.id, organization.id, "admin")

        def name_grace() -> None:
            users.update_organization_role(grace.id, organization.id, "owner")

        def leave() -> None:
            assert users.remove_from_organization(ada.id, organization.id) is True

        def hand_over() -> None:
            name_grace()
            leave()

        def go() -> Any:
            if how == "leaves":
                return users.remove_from_organization(grace.id, organization.id)
            return users.update_organization_role(grace.id, organization.id, "member")

        steps = (hand_over, go) if waits == "for both" else (name_grace, go, leave)
        result = overlapped(backend.database, *steps, commit=commit)
        if commit:
            assert rule(result) == "organization_members_last_owner"
            assert roles(backend, organization) == {"grace": "owner"}
        else:
            assert result is (True if how == "leaves" else None)
            assert roles(backend, organization)["ada"] == "owner"

    @pytest.mark.parametrize("commit", [True, False])
    def test_joining_while_the_user_is_deleted(
        self, backend: ExchangeBackend, commit: bool
    ) -> None:
        users = backend.users
        ada, grace = a_user(backend), a_user(backend, "grace")
        organization = an_organization(backend, ada)
        join = lambda: users.add_to_organization(grace.id, organization.id)  # noqa: E731
        go = lambda: users.delete(grace.id)  # noqa: E731
        result = overlapped(backend.database, go, join, commit=commit)
        if commit:
            assert rule(result) == "organization_members_user_id_fkey"
            assert roles(backend, organization) == {"ada": "owner"}
        else:
            assert result is None
            assert users.remove_from_organization(grace.id, organization.id) is True
            assert overlapped(backend.database, join, go, commit=False) is True
            assert roles(backend, organization) == {"ada": "owner"}

    def test_deleting_while_the_user_joins(self, backend: ExchangeBackend) -> None:
        users = backend.users
        ada, grace = a_user(backend), a_user(backend, "grace")
        organization = an_organization(backend, ada)
        result = overlapped(
            backend.database,
            lambda: users.add_to_organization(grace.id, organization.id),
            lambda: users.delete(grace.id),
        )
        assert rule(result) == "organization_members_user_id_fkey"
        assert roles(backend, organization) == {"ada": "owner", "grace": "member"}

    @pytest.mark.parametrize("commit", [True, False])
    def test_joining_twice_at_once(self, backend: ExchangeBackend, commit: bool) -> None:
        users = backend.users
        ada, grace = a_user(backend), a_user(backend, "grace")
        organization = an_organization(backend, ada)
        result = overlapped(
            backend.database,
            lambda: users.add_to_organization(grace.id, organization.id, "owner"),
            lambda: users.add_to_organization(grace.id, organization.id, "admin"),
            commit=commit,
        )
        assert (rule(result) if commit else result) == (
            "organization_members_pkey" if commit else None
        )
        assert roles(backend, organization) == {
            "ada": "owner",
            "grace": "owner" if commit else "admin",
        }

    def test_find_organizations(self, backend: ExchangeBackend) -> None:
        """By name, by its code points; those of one name by id."""
        users = backend.users
        ada, grace = a_user(backend), a_user(backend, "grace")
        made = {}
        for slug, name in [
            ("z", "alpha"),
            ("y", "\u00c9clair"),
            ("x", "Zeta"),
            ("w", "same"),
            ("v", "same"),
        ]:
            organization = backend.organizations.create(infra.Organization(name, slug), ada.id)
            backend.advance(1)
            users.add_to_organization(
                grace.id, organization.id, "admin" if slug < "y" else "member"
            )
            made[slug] = infra.Membership(
                organization, "admin" if slug < "y" else "member", backend.clock.now()
            )
        an_organization(backend, ada, "not-graces")
        same = sorted([made["w"], made["v"]], key=lambda each: str(each.organization.id))
        assert users.find_organizations(grace.id) == [made["x"], made["z"], *same, made["y"]]
        assert len(users.find_organizations(ada.id)) == 6

    # --- transactions

    def test_it_takes_part_in_a_transaction(self, backend: ExchangeBackend) -> None:
        users = backend.users
        ada = a_user(backend)
        with pytest.raises(RolledBack), backend.database.transaction():
            a_user(backend, "grace")
            users.update_role(ada.id, "admin")
            assert users.exists_by_email("grace@example.com")
            raise RolledBack
        assert users.page().items == [ada]

    def test_bad_values_do_not_end_a_transaction(self, backend: ExchangeBackend) -> None:
        users = backend.users
        with backend.database.transaction():
            ada = a_user(backend)
            with pytest.raises(infra.ValidationError):
                users.update_role(ada.id, "boss")
            with pytest.raises(infra.SerializationError):
                users.update_profile(ada.id, {"a": math.nan})
            with pytest.raises(infra.NotFoundError):
                users.update_role(infra.new_id(), "admin")
        assert users.page().items == [ada]


class TestFakeMySQL(UserRepositoryContract):
    backend = on_fake_exchange("mysql")


class TestFakePostgres(UserRepositoryContract):
    backend = on_fake_exchange("postgres")


class TestMariaDB(UserRepositoryContract):
    backend = on_real_exchange("mariadb")


class TestMySQL(UserRepositoryContract):
    backend = on_real_exchange("mysql")


class TestPostgres(UserRepositoryContract):
    backend = on_real_exchange("postgres")


class TestPostgres18(UserRepositoryContract):
    backend = on_real_exchange("postgres-18")


def test_the_fake_is_ready_to_use() -> None:
    users = fakes.FakeUserRepository()
    assert users.find_by_email("ada@example.com") is None
    users.fail_next("create", infra.TimeoutError, after_apply=True)
    with pytest.raises(infra.TimeoutError):
        users.create(infra.User("ada@example.com", "ada"))
    assert users.exists_by_email("ADA@example.com")  # the work was done, the answer was lost
