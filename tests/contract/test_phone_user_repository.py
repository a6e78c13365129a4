"""PhoneUserRepository, and what every repository does."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

import fakes
import infra
from tests.contract.backends import in_threads
from tests.contract.base import Contract
from tests.contract.databases import (
    HASH_KEY,
    AccountsBackend,
    on_fake_accounts,
    on_real_accounts,
    unchecked,
    violation,
)
from tests.contract.texts import Text, any_text, plain

PHONE = "+14155550100"
DAWN = datetime(2026, 1, 1, tzinfo=timezone.utc)  # where a FakeClock starts


class PhoneUserRepositoryContract(Contract):
    port = infra.PhoneUserRepository

    def test_many_users(self, backend: AccountsBackend) -> None:
        users = backend.users
        phones = [f"+1415555010{n}" for n in range(3)]
        made = users.create_many(
            infra.PhoneUser(infra.hash_phone(phone, HASH_KEY), "1") for phone in phones
        )
        assert made == [users.find_by_phone(phone) for phone in phones]
        rule = ("phone_users_phone_hash_key", "unique")
        again = replace(made[2], id=infra.new_id())
        assert violation(lambda: users.create_many([again])) == rule
        blocked = users.upsert(replace(again, is_blocked=True), on="phone_users_phone_hash_key")
        assert (blocked.record.id, blocked.created) == (made[2].id, False)
        assert users.find_by_phone(phones[2]) == blocked.record
        assert users.count() == 3

    def test_on_a_database(self, backend: AccountsBackend) -> None:
        user = backend.users.create_for_phone("+14155550100")
        users = infra.PhoneUserRepository.on(backend.database, HASH_KEY)
        assert users.find_by_phone("+14155550100") == user

    def test_a_user_for_a_phone(self, backend: AccountsBackend) -> None:
        users = backend.users
        assert users.find_by_phone(PHONE) is None
        assert users.exists_by_phone(PHONE) is False
        user = users.create_for_phone("+1 (415) 555-0100")
        assert (user.country_code, user.user_type, user.is_verified, user.is_blocked) == (
            "1",
            None,
            False,
            False,
        )
        assert (user.created_at, user.updated_at, user.last_login_at) == (DAWN, DAWN, None)
        assert user.id.version == 7
        assert user.phone_hash == infra.hash_phone(PHONE, HASH_KEY)
        assert users.find_by_phone(PHONE) == users.find_by_phone("+1-415-555-0100") == user
        assert users.find_by_id(user.id) == user
        assert users.exists_by_phone(PHONE) is True

    @any_text
    def test_text_of_any_subclass(self, backend: AccountsBackend, text: Text) -> None:
        phone, users = text("+1 (415) 555-0100"), backend.users
        user = plain(users.create_for_phone(phone, text("worker")))
        assert (user.phone_hash, user.user_type) == (infra.hash_phone(PHONE, HASH_KEY), "worker")
        assert users.find_by_phone(phone) == users.find_by_id(user.id) == user
        assert (users.get(user.id), users.exists(user.id)) == (user, True)
        assert users.exists_by_phone(phone) is True
        assert [users.count(text("worker")), users.count(text("customer"))] == [1, 0]
        changed = plain(users.update(replace(user, country_code=text("49"))))
        assert users.find_by_id(user.id) == changed == replace(user, country_code="49")
        query = infra.Query(sort=text("updated_at"), filters={text("user_type"): text("worker")})
        assert plain(users.page(query).items) == [changed]
        assert infra.hash_phone(phone, text(HASH_KEY)) == infra.hash_phone(PHONE, HASH_KEY)
        assert plain(infra.mask_phone(phone)) == "***0100"

    @pytest.mark.parametrize(
        ("phone", "code"),
        [
            ("+14155550100", "1"),
            ("+79161234567", "7"),
            ("+201001234567", "20"),
            ("+27821234567", "27"),
            ("+447700900123", "44"),
            ("+4915112345678", "49"),
            ("+351912345678", "351"),
            ("+358401234567", "358"),
            ("+8613812345678", "86"),
            ("+85291234567", "852"),
            ("+97150123456", "971"),
            ("+998901234567", "998"),
            ("+420601123456", "420"),
            ("+2348012345678", "234"),
        ],
    )
    def test_the_country_code(self, backend: AccountsBackend, phone: str, code: str) -> None:
        users = backend.users
        assert users.create_for_phone(phone).country_code == code
        found = users.find_by_phone(phone)
        assert found is not None
        assert found.country_code == code

    def test_a_phone_has_one_user(self, backend: AccountsBackend) -> None:
        users = backend.users
        user = users.create_for_phone(PHONE)
        with pytest.raises(infra.ConflictError) as caught:
            users.create_for_phone("+1 415 555 0100", "worker")
        error = caught.value
        assert (error.constraint, error.kind, error.retryable) == (
            "phone_users_phone_hash_key",
            "unique",
            False,
        )
        assert (error.service, error.operation) == (backend.database.engine, "create")
        assert "5550100" not in str(error)
        assert user.phone_hash not in str(error)
        assert users.count() == 1

    def test_one_of_many_at_once_creates_the_user(self, backend: AccountsBackend) -> None:
        results = in_threads(8, lambda _: backend.users.create_for_phone(PHONE))
        created = [each for each in results if isinstance(each, infra.PhoneUser)]
        assert len(created) == 1
        assert [type(each) for each in results].count(infra.ConflictError) == 7
        assert backend.users.find_by_phone(PHONE) == created[0]

    @pytest.mark.parametrize("phone", ["4155550100", "+1415555010x", "", "+0123456789", None, 5])
    def test_a_bad_phone(self, backend: AccountsBackend, phone: Any) -> None:
        users = backend.users
        for call in (users.create_for_phone, users.find_by_phone, users.exists_by_phone):
            with pytest.raises(infra.ValidationError):
                call(phone)
        assert users.count() == 0

    def test_count_by_type(self, backend: AccountsBackend) -> None:
        users = backend.users
        assert users.count() == users.count("worker") == 0
        users.create_for_phone("+14155550101", "worker")
        users.create_for_phone("+14155550102", "worker")
        users.create_for_phone("+14155550103", "customer")
        users.create_for_phone("+14155550104")
        assert (users.count(), users.count("worker"), users.count(user_type="customer")) == (
            4,
            2,
            1,
        )
        with pytest.raises(infra.ValidationError):
            users.count("boss")
        assert users.count({"user_type": infra.Not("worker")}) == 1
        assert users.count({"user_type": "worker", "is_verified": True}) == 0
        with pytest.raises(infra.ValidationError, match="give count either where or user_type"):
            users.count({}, user_type="worker")

    # --- what every repository does

    def test_create_keeps_what_is_given(self, backend: AccountsBackend) -> None:
        users, id = backend.users, uuid.UUID("01890000-0000-7000-8000-000000000001")
        moment = datetime(2020, 2, 29, 23, 59, 59, 999999, tzinfo=timezone(timedelta(hours=-3)))
        given = infra.PhoneUser(
            "ab" * 32, "44", "customer", is_verified=True, is_blocked=True, id=id,
            created_at=moment, updated_at=moment, last_login_at=moment,
        )  # fmt: skip
        stored = users.create(given)
        assert stored == given  # the same moments
        assert stored.created_at.tzinfo is timezone.utc
        assert users.find_by_id(id) == given
        with pytest.raises(infra.ConflictError) as caught:
            users.create(replace(given, phone_hash="cd" * 32))
        assert (caught.value.constraint, caught.value.kind) == ("phone_users_pkey", "unique")

    @pytest.mark.parametrize(
        "changes",
        [
            {"phone_hash": "+14155550100"},  # a raw number cannot be stored
            {"phone_hash": "AB" * 32},
            {"phone_hash": "ab" * 32 + "\n"},
            {"country_code": "1234"},
            {"country_code": "0"},
            {"country_code": None},
            {"user_type": "boss"},
            {"user_type": "worker\0"},
            {"is_verified": None},
            {"is_verified": 1},
            {"is_blocked": "no"},
            {"id": "01890000-0000-7000-8000-000000000001"},
            {"created_at": datetime(2026, 1, 1)},
            {"last_login_at": "2026-01-01"},
        ],
        ids=str,
    )
    def test_bad_values_are_refused_before_anything_is_sent(
        self, backend: AccountsBackend, changes: dict[str, Any]
    ) -> None:
        users = backend.users
        user = users.create_for_phone("+447700900123")
        backend.advance(1)
        with pytest.raises(infra.ValidationError) as caught:
            users.create(replace(infra.PhoneUser("ef" * 32, "1"), **changes))
        assert "+1415" not in str(caught.value)
        with pytest.raises(infra.ValidationError):
            users.update(replace(user, **changes))
        assert users.page().items == [user]

    def test_update(self, backend: AccountsBackend) -> None:
        users = backend.users
        user = users.create_for_phone(PHONE)
        other = users.create_for_phone("+447700900123")
        backend.advance(60)
        login = DAWN + timedelta(seconds=30)
        changed = users.update(
            replace(user, user_type="worker", is_verified=True, last_login_at=login)
        )
        assert changed == replace(
            user,
            user_type="worker",
            is_verified=True,
            last_login_at=login,
            updated_at=DAWN + timedelta(seconds=60),
        )
        assert users.find_by_id(user.id) == changed
        assert users.find_by_id(other.id) == other
        assert users.update(changed) == changed
        assert users.update(replace(changed, user_type=None)).user_type is None
        # What is returned is what is stored.
        moved = users.update(replace(changed, created_at=login))
        assert users.find_by_id(user.id) == moved
        with pytest.raises(infra.ConflictError) as conflict:
            users.update(replace(changed, phone_hash=other.phone_hash))
        assert conflict.value.constraint == "phone_users_phone_hash_key"

    def test_update_of_nobody(self, backend: AccountsBackend) -> None:
        users = backend.users
        user = users.create_for_phone(PHONE)
        with pytest.raises(infra.NotFoundError) as caught:
            users.update(replace(user, id=infra.new_id()))
        assert (caught.value.resource, caught.value.operation) == ("phone user", "update")
        with pytest.raises(infra.ValidationError):
            users.update(infra.PhoneUser("ab" * 32, "1"))
        assert users.page().items == [user]

    def test_what_a_new_record_has(self, backend: AccountsBackend) -> None:
        made = backend.users.create(infra.PhoneUser("ab" * 32, "49"))
        assert made == infra.PhoneUser(
            phone_hash="ab" * 32,
            country_code="49",
            user_type=None,
            is_verified=False,
            is_blocked=False,
            id=made.id,
            created_at=DAWN,
            updated_at=DAWN,
            last_login_at=None,
        )
        assert backend.users.find_by_id(made.id) == made

    def test_the_database_checks_texts_itself(self, backend: AccountsBackend) -> None:
        bad = infra.PhoneUser("ab" * 32, "1", "boss")
        assert violation(lambda: unchecked(backend.users).create(bad)) == (
            "phone_users_user_type_check",
            "check",
        )
        assert unchecked(backend.users).create(replace(bad, user_type=None)).user_type is None
        assert backend.users.count() == 1

    def test_delete(self, backend: AccountsBackend) -> None:
        users = backend.users
        user = users.create_for_phone(PHONE)
        token = backend.tokens.issue(user.id, 60)
        assert users.delete(infra.new_id()) is False
        assert users.delete(user.id) is True
        assert users.delete(user.id) is False
        assert users.find_by_id(user.id) is None
        assert backend.tokens.find(token.token) is None  # deleted with its user
        assert users.count() == 0

    @pytest.mark.parametrize("id", ["01890000-0000-7000-8000-000000000001", None, 5])
    def test_an_id_is_a_uuid(self, backend: AccountsBackend, id: Any) -> None:
        users = backend.users
        for call in (users.find_by_id, users.delete):
            with pytest.raises(infra.ValidationError):
                call(id)

    def test_page(self, backend: AccountsBackend) -> None:
        users = backend.users
        assert users.page() == infra.Page([], 1, 50, None)
        made = []
        for number in range(5):
            made.append(
                users.create_for_phone(
                    f"+1415555010{number}", "worker" if number % 2 else "customer"
                )
            )
            backend.advance(1)
        assert users.page() == infra.Page(made, 1, 50, None)
        assert users.page(infra.Query(per_page=2, with_total=True)) == infra.Page(made[:2], 1, 2, 5)
        assert users.page(infra.Query(page=3, per_page=2)) == infra.Page(made[4:], 3, 2, None)
        assert users.page(infra.Query(page=4, per_page=2, with_total=True)) == infra.Page(
            [], 4, 2, 5
        )
        assert users.page(infra.Query(descending=True)).items == made[::-1]
        workers = infra.Query(filters={"user_type": "worker"}, with_total=True)
        assert users.page(workers) == infra.Page([made[1], made[3]], 1, 50, 2)
        both = infra.Query(filters={"user_type": None, "is_verified": False})
        assert users.page(both).items == []

    def test_equal_sort_values_are_in_the_order_of_ids(self, backend: AccountsBackend) -> None:
        users = backend.users
        made = [users.create_for_phone(f"+1415555010{number}") for number in range(5)]
        in_order = sorted(made, key=lambda user: str(user.id))
        assert users.page(infra.Query(sort="updated_at")).items == in_order
        assert users.page(infra.Query(sort="updated_at", descending=True)).items == in_order[::-1]

    @pytest.mark.parametrize(
        "query",
        [
            {"page": 0},
            {"page": "1"},
            {"page": True},
            {"per_page": 0},
            {"per_page": 1001},
            {"sort": "phone_hash"},
            {"sort": "id; DROP TABLE phone_users"},
            {"filters": {"phone_hash": "ab" * 32}},
            {"filters": {"1 = 1 OR id": "x"}},
            {"filters": {"user_type": 5}},
            {"filters": {"is_verified": None}},
            {"descending": "yes"},
        ],
        ids=str,
    )
    def test_a_bad_query(self, backend: AccountsBackend, query: dict[str, Any]) -> None:
        with pytest.raises(infra.ValidationError):
            backend.users.page(infra.Query(**query))

    def test_it_takes_part_in_a_transaction(self, backend: AccountsBackend) -> None:
        with pytest.raises(ZeroDivisionError), backend.database.transaction():
            backend.users.create_for_phone(PHONE)
            assert backend.users.exists_by_phone(PHONE)
            raise ZeroDivisionError
        assert not backend.users.exists_by_phone(PHONE)

    def test_reprs_show_no_hash(self, backend: AccountsBackend) -> None:
        user = backend.users.create_for_phone(PHONE)
        assert user.phone_hash not in repr(user)


class TestFakeMySQL(PhoneUserRepositoryContract):
    backend = on_fake_accounts("mysql")


class TestFakePostgres(PhoneUserRepositoryContract):
    backend = on_fake_accounts("postgres")


class TestMariaDB(PhoneUserRepositoryContract):
    backend = on_real_accounts("mariadb")


class TestMySQL(PhoneUserRepositoryContract):
    backend = on_real_accounts("mysql")


class TestPostgres(PhoneUserRepositoryContract):
    backend = on_real_accounts("postgres")


def test_the_fake_is_ready_to_use() -> None:
    users = fakes.FakePhoneUserRepository()
    assert users.find_by_phone(PHONE) is None
    users.fail_next("create", infra.TimeoutError, after_apply=True)
    with pytest.raises(infra.TimeoutError):
        users.create(infra.PhoneUser("ab" * 32, "1"))
    assert users.count() == 1
