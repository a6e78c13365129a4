"""TokenRepository: refresh tokens, their families, and the six outcomes of a rotation."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

import fakes
import infra
from tests.contract import refusals
from tests.contract.backends import in_threads
from tests.contract.base import Contract
from tests.contract.databases import (
    AccountsBackend,
    on_fake_accounts,
    on_real_accounts,
    seen_waiting,
)
from tests.contract.texts import Text, any_text, plain

DAWN = datetime(2026, 1, 1, tzinfo=timezone.utc)  # where a FakeClock starts
DAY = 86400.0


def a_user(backend: AccountsBackend, phone: str = "+14155550100") -> infra.PhoneUser:
    return backend.users.create_for_phone(phone)


def issued(rotation: infra.Rotation) -> infra.Issued:
    assert rotation.issued is not None
    return rotation.issued


class TokenRepositoryContract(Contract):
    port = infra.TokenRepository

    def test_many_tokens(self, backend: AccountsBackend) -> None:
        record = backend.tokens.issue(a_user(backend).id, DAY).record
        given = [replace(record, id=infra.new_id(), token_hash=c * 64) for c in "abc"]
        assert backend.tokens.create_many(given) == given
        assert {each.id for each in backend.tokens.page().items} == {
            each.id for each in [record, *given]
        }
        found = backend.tokens.upsert(replace(given[0], device_name="phone"))
        assert found == infra.Upserted(replace(given[0], device_name="phone"), created=False)

    def test_on_a_database(self, backend: AccountsBackend) -> None:
        issued = backend.tokens.issue(a_user(backend).id, 60)
        tokens = infra.TokenRepository.on(backend.database, clock=backend.clock)
        assert tokens.find(issued.token) == issued.record

    def test_a_useless_argument_changes_nothing(self, backend: AccountsBackend) -> None:
        tokens, user = backend.tokens, a_user(backend)
        issue = tokens.issue(user.id, DAY)
        token, family = issue.token, issue.record.family
        for method, *arguments in (
            (tokens.issue, user.id, DAY, infra.Device()),
            (tokens.rotate, token, DAY, 1.0),
            (tokens.revoke, token, "lost"),
            (tokens.revoke_all_for_user, user.id, "lost"),
            (tokens.revoke_family, family, "lost"),
            (tokens.find, token), (tokens.is_valid, token), (tokens.find_by_user, user.id),
            (tokens.create, issue.record), (tokens.update, issue.record),
            (tokens.page, infra.Query()),
        ):  # fmt: skip
            refusals.check(method, arguments, lambda: tokens.page().items)

    @pytest.mark.parametrize("device", [0, "", [], {}, 5, "phone", infra.Device])
    def test_no_device(self, backend: AccountsBackend, device: Any) -> None:
        user = a_user(backend)
        with pytest.raises(infra.ValidationError, match="device should be a Device"):
            backend.tokens.issue(user.id, DAY, device)
        assert backend.tokens.count() == 0

    @any_text
    def test_text_of_any_subclass(self, backend: AccountsBackend, text: Text) -> None:
        tokens, user = backend.tokens, a_user(backend)
        device = infra.Device(text("d"), text("é"), text("::1"), text("agent"))
        issue = plain(tokens.issue(user.id, DAY, device))
        token, record = text(issue.token), issue.record
        assert (record.device_id, record.device_name) == ("d", "é")
        assert tokens.find(token) == tokens.find_by_id(record.id) == record
        assert (tokens.get(record.id), tokens.exists(record.id)) == (record, True)
        assert tokens.is_valid(token) is True
        other = issued(plain(tokens.rotate(token, DAY)))
        assert other.record.device_name == "é"
        query = infra.Query(filters={text("device_id"): text("d")})
        assert tokens.page(query).items == [tokens.find(issue.token), other.record]
        assert tokens.revoke(text(other.token), text("lost")) is True
        for revoke, id in (
            (tokens.revoke_family, tokens.issue(user.id, DAY).record.family),
            (tokens.revoke_all_for_user, tokens.issue(user.id, DAY).record.user_id),
        ):
            assert revoke(id, text("é")) == 1
        reasons = [plain(each).revoke_reason for each in tokens.page().items]
        assert reasons == ["rotated", "lost", "é", "é"]

    @pytest.mark.parametrize("reason", [5, b"lost", "x" * 101, "\0"])
    def test_a_bad_reason(self, backend: AccountsBackend, reason: Any) -> None:
        """It is refused also where there is nothing to revoke."""
        tokens, user = backend.tokens, a_user(backend)
        issue = tokens.issue(user.id, DAY)
        for id in (user.id, issue.record.family, uuid.UUID(int=1)):
            for revoke in (tokens.revoke_family, tokens.revoke_all_for_user):
                with pytest.raises(infra.ValidationError, match="revoke_reason"):
                    revoke(id, reason)
        for token in (issue.token, "unknown"):
            with pytest.raises(infra.ValidationError, match="revoke_reason"):
                tokens.revoke(token, reason)
        assert tokens.find(issue.token) == issue.record

    def test_issue(self, backend: AccountsBackend) -> None:
        tokens, user = backend.tokens, a_user(backend)
        device = infra.Device("device 1", "Ada's phone", "2001:db8::1", "agent/1.0 (日本)")
        first, second = tokens.issue(user.id, DAY, device), tokens.issue(user.id, 0.5)
        record = first.record
        assert record.user_id == user.id
        assert (record.created_at, record.expires_at) == (DAWN, DAWN + timedelta(days=1))
        assert (
            record.last_used_at,
            record.revoked_at,
            record.revoke_reason,
            record.replaced_by,
        ) == (None,) * 4
        assert (record.device_id, record.device_name) == ("device 1", "Ada's phone")
        assert (record.ip_address, record.user_agent) == ("2001:db8::1", "agent/1.0 (日本)")
        assert second.record.expires_at == DAWN + timedelta(seconds=0.5)
        assert second.record.device_id is None
        assert len({record.family, second.record.family, record.id, second.record.id}) == 4
        assert len(first.token) == 43  # 256 bits in base64
        assert tokens.find(first.token) == record
        assert tokens.find_by_id(record.id) == record
        assert tokens.is_valid(first.token) is True

    def test_the_token_itself_is_nowhere(self, backend: AccountsBackend) -> None:
        tokens, user = backend.tokens, a_user(backend)
        new = tokens.issue(user.id, DAY)
        stored = tokens.find(new.token)
        assert stored is not None
        assert new.token not in str(vars(stored))
        assert stored.token_hash not in repr(new)
        assert new.token not in repr(new)
        assert new.token not in repr(tokens.rotate(new.token, DAY))

    def test_a_token_for_nobody(self, backend: AccountsBackend) -> None:
        tokens = backend.tokens
        with pytest.raises(infra.ConflictError) as caught:
            tokens.issue(infra.new_id(), DAY)
        error = caught.value
        assert (error.constraint, error.kind) == ("refresh_tokens_user_id_fkey", "foreign_key")
        assert (error.service, error.operation) == (backend.database.engine, "issue")
        assert tokens.count() == 0

    @pytest.mark.parametrize("ttl", [0, -1, math.nan, math.inf, "60", None, True])
    def test_a_bad_ttl(self, backend: AccountsBackend, ttl: Any) -> None:
        tokens, user = backend.tokens, a_user(backend)
        new = tokens.issue(user.id, DAY)
        for call in (lambda: tokens.issue(user.id, ttl), lambda: tokens.rotate(new.token, ttl)):
            with pytest.raises(infra.ValidationError):
                call()
        assert tokens.page().items == [new.record]

    @pytest.mark.parametrize(
        "device",
        [
            infra.Device(device_id="x" * 256),
            infra.Device(device_name="x" * 256),
            infra.Device(ip_address="x" * 46),
            infra.Device(user_agent="x" * 513),
            infra.Device(user_agent="nul\0"),
            infra.Device(user_agent=5),  # type: ignore[arg-type]
        ],
        ids=str,
    )
    def test_a_bad_device(self, backend: AccountsBackend, device: infra.Device) -> None:
        tokens, user = backend.tokens, a_user(backend)
        with pytest.raises(infra.ValidationError):
            tokens.issue(user.id, DAY, device)
        assert tokens.count() == 0

    @pytest.mark.parametrize("token", [None, 5, b"x", ["x"]])
    def test_a_bad_token(self, backend: AccountsBackend, token: Any) -> None:
        tokens = backend.tokens
        for call in (tokens.find, tokens.is_valid, tokens.revoke, lambda t: tokens.rotate(t, DAY)):
            with pytest.raises(infra.ValidationError):
                call(token)

    # "": of a cookie that is missing; the others are a stranger's
    @pytest.mark.parametrize("token", ["nobody's", "", "nul\0", "x" * 10_000, "\ud800", " "])
    def test_an_unknown_token(self, backend: AccountsBackend, token: str) -> None:
        tokens = backend.tokens
        tokens.issue(a_user(backend).id, DAY)
        assert tokens.find(token) is None
        assert tokens.is_valid(token) is False
        assert tokens.revoke(token) is False
        assert tokens.rotate(token, DAY) == infra.Rotation("unknown", None)

    # --- validity

    def test_expiry_follows_the_clock_of_the_application(self, backend: AccountsBackend) -> None:
        tokens, user = backend.tokens, a_user(backend)
        new = tokens.issue(user.id, 60)
        backend.advance(59.999999)
        assert tokens.is_valid(new.token) is True
        backend.advance(0.000001)
        assert tokens.is_valid(new.token) is False
        assert tokens.find(new.token) == new.record
        assert tokens.find_by_user(user.id) == []
        assert tokens.rotate(new.token, DAY) == infra.Rotation("expired", None)
        assert tokens.find(new.token) == new.record

    def test_revoke(self, backend: AccountsBackend) -> None:
        tokens, user = backend.tokens, a_user(backend)
        new, other = tokens.issue(user.id, DAY), tokens.issue(user.id, DAY)
        backend.advance(10)
        assert tokens.revoke(new.token, "signed out") is True
        assert tokens.revoke(new.token) is False
        moment = DAWN + timedelta(seconds=10)
        assert tokens.find(new.token) == replace(
            new.record, revoked_at=moment, revoke_reason="signed out"
        )
        assert (tokens.is_valid(new.token), tokens.is_valid(other.token)) == (False, True)
        assert tokens.rotate(new.token, DAY) == infra.Rotation("revoked", None)
        assert tokens.is_valid(other.token) is True
        with pytest.raises(infra.ValidationError):
            tokens.revoke(other.token, "x" * 101)

    def test_find_by_user(self, backend: AccountsBackend) -> None:
        tokens, user = backend.tokens, a_user(backend)
        somebody = a_user(backend, "+447700900123")
        made = []
        for _ in range(4):
            made.append(tokens.issue(user.id, 100))
            backend.advance(1)
        tokens.issue(somebody.id, DAY)
        tokens.revoke(made[1].token)
        assert tokens.find_by_user(user.id) == [made[3].record, made[2].record, made[0].record]
        backend.advance(96)
        assert tokens.find_by_user(user.id) == [made[3].record, made[2].record]
        assert tokens.find_by_user(infra.new_id()) == []

    def test_revoke_all_for_user(self, backend: AccountsBackend) -> None:
        tokens, user = backend.tokens, a_user(backend)
        somebody = a_user(backend, "+447700900123")
        made, other = [tokens.issue(user.id, DAY) for _ in range(3)], tokens.issue(somebody.id, DAY)
        tokens.revoke(made[0].token)
        assert tokens.revoke_all_for_user(user.id, "password changed") == 2
        assert tokens.revoke_all_for_user(user.id) == 0
        assert [tokens.is_valid(each.token) for each in (*made, other)] == [
            False,
            False,
            False,
            True,
        ]

    def test_revoke_family(self, backend: AccountsBackend) -> None:
        tokens, user = backend.tokens, a_user(backend)
        first, other = tokens.issue(user.id, DAY), tokens.issue(user.id, DAY)
        second = issued(tokens.rotate(first.token, DAY))
        assert tokens.revoke_family(first.record.family) == 1
        assert tokens.revoke_family(infra.new_id()) == 0
        assert [tokens.is_valid(each.token) for each in (first, second, other)] == [
            False,
            False,
            True,
        ]
        assert tokens.rotate(second.token, DAY).outcome == "revoked"

    def test_a_race_needs_a_valid_token_of_the_family(self, backend: AccountsBackend) -> None:
        """Tokens of the user's other sign-ins do not count."""
        tokens, user = backend.tokens, backend.users.create_for_phone("+14155550100")
        first, other = tokens.issue(user.id, 600), tokens.issue(user.id, 600)
        second = tokens.rotate(first.token, 600)
        assert second.issued is not None
        assert tokens.rotate(first.token, 600, 60).outcome == "raced"
        tokens.revoke_family(first.record.family)
        assert tokens.rotate(first.token, 600, 60) == infra.Rotation("revoked")
        assert tokens.is_valid(other.token) is True
        assert len(tokens.find_by_user(user.id)) == 1

    def test_delete_expired(self, backend: AccountsBackend) -> None:
        tokens, user = backend.tokens, a_user(backend)
        short, revoked, long = (
            tokens.issue(user.id, 10),
            tokens.issue(user.id, 10),
            tokens.issue(user.id, 11),
        )
        tokens.revoke(revoked.token)
        assert tokens.delete_expired() == 0
        backend.advance(10)
        assert tokens.delete_expired() == 2
        assert tokens.delete_expired() == 0
        assert [tokens.find(each.token) for each in (short, revoked, long)] == [
            None,
            None,
            long.record,
        ]
        assert tokens.rotate(short.token, DAY).outcome == "unknown"

    # --- rotation

    def test_rotate(self, backend: AccountsBackend) -> None:
        tokens, user = backend.tokens, a_user(backend)
        first = tokens.issue(user.id, DAY, infra.Device("d", "n", "i", "a"))
        backend.advance(100)
        rotation = tokens.rotate(first.token, 2 * DAY)
        assert rotation.outcome == "rotated"
        second = issued(rotation)
        moment = DAWN + timedelta(seconds=100)
        assert tokens.find(first.token) == replace(
            first.record,
            last_used_at=moment,
            revoked_at=moment,
            revoke_reason="rotated",
            replaced_by=second.record.id,
        )
        assert second.token != first.token
        assert tokens.find(second.token) == second.record
        assert (second.record.family, second.record.user_id) == (first.record.family, user.id)
        assert (second.record.created_at, second.record.expires_at) == (
            moment,
            moment + timedelta(days=2),
        )
        assert (second.record.device_id, second.record.user_agent) == ("d", "a")
        assert (tokens.is_valid(first.token), tokens.is_valid(second.token)) == (False, True)
        assert tokens.rotate(second.token, DAY).outcome == "rotated"

    def test_a_reused_token_ends_its_family(self, backend: AccountsBackend) -> None:
        tokens, user = backend.tokens, a_user(backend)
        first, other = tokens.issue(user.id, DAY), tokens.issue(user.id, DAY)
        second = issued(tokens.rotate(first.token, DAY))
        third = issued(tokens.rotate(second.token, DAY))
        assert tokens.rotate(first.token, DAY) == infra.Rotation("reused", None)
        assert [tokens.is_valid(each.token) for each in (first, second, third, other)] == [
            False
        ] * 3 + [True]
        found = tokens.find(third.token)
        assert found is not None
        assert found.revoke_reason == "reused"
        assert tokens.rotate(third.token, DAY).outcome == "revoked"
        assert tokens.rotate(first.token, DAY).outcome == "reused"

    def test_without_grace_the_same_instant_is_a_reuse(self, backend: AccountsBackend) -> None:
        tokens, user = backend.tokens, a_user(backend)
        first = tokens.issue(user.id, DAY)
        second = issued(tokens.rotate(first.token, DAY))
        assert tokens.rotate(first.token, DAY, grace=0).outcome == "reused"
        assert tokens.is_valid(second.token) is False

    def test_within_grace_a_sibling_is_issued(self, backend: AccountsBackend) -> None:
        tokens, user = backend.tokens, a_user(backend)
        first = tokens.issue(user.id, DAY)
        second = issued(tokens.rotate(first.token, DAY, grace=30))
        backend.advance(30)
        rotation = tokens.rotate(first.token, DAY, grace=30)
        assert rotation.outcome == "raced"
        sibling = issued(rotation)
        assert sibling.record.family == second.record.family == first.record.family
        assert [tokens.is_valid(each.token) for each in (first, second, sibling)] == [
            False,
            True,
            True,
        ]
        found = tokens.find(first.token)
        assert found is not None
        assert found.replaced_by == second.record.id
        backend.advance(0.000001)
        assert tokens.rotate(first.token, DAY, grace=30).outcome == "reused"
        assert [tokens.is_valid(each.token) for each in (second, sibling)] == [False, False]

    def test_grace_does_not_revive_a_family(self, backend: AccountsBackend) -> None:
        """After sign-out or a reuse in the family an old token gives nothing."""
        tokens, user = backend.tokens, a_user(backend)
        first = tokens.issue(user.id, DAY)
        second = issued(tokens.rotate(first.token, DAY))
        tokens.revoke(second.token, "signed out")
        assert tokens.rotate(first.token, DAY, grace=60) == infra.Rotation("revoked", None)
        assert tokens.find_by_user(user.id) == []

    @pytest.mark.parametrize("grace", [-1, math.nan, math.inf, "1", None])
    def test_a_bad_grace(self, backend: AccountsBackend, grace: Any) -> None:
        tokens, user = backend.tokens, a_user(backend)
        new = tokens.issue(user.id, DAY)
        with pytest.raises(infra.ValidationError):
            tokens.rotate(new.token, DAY, grace)
        assert tokens.is_valid(new.token) is True

    def test_rotate_refuses_to_take_part_in_a_transaction(self, backend: AccountsBackend) -> None:
        """A caller that rolls back would undo the answer to a theft."""
        tokens, database = backend.tokens, backend.database
        first = tokens.issue(a_user(backend).id, DAY)
        second = issued(tokens.rotate(first.token, DAY))
        for token in (first.token, second.token, "nobody's"):
            with pytest.raises(ZeroDivisionError), database.transaction():
                with pytest.raises(infra.DatabaseError, match="outside") as caught:
                    tokens.rotate(token, DAY)
                error = caught.value
                assert (error.operation, error.retryable) == ("rotate", False)
                with database.transaction(), pytest.raises(infra.DatabaseError, match="outside"):
                    tokens.rotate(token, DAY, grace=60)
                raise ZeroDivisionError
        with pytest.raises(infra.DatabaseError, match="outside"):
            database.run(lambda: tokens.rotate(first.token, DAY))
        with database.transaction():
            with pytest.raises(infra.DatabaseError, match="outside"):
                tokens.rotate(second.token, DAY)
            assert tokens.is_valid(second.token) is True  # nothing was sent: the block goes on
        assert tokens.find(second.token) == second.record
        with database.transaction():  # those that a caller may want to undo
            tokens.revoke_family(second.record.family)
        assert tokens.rotate(first.token, DAY).outcome == "reused"

    @pytest.mark.parametrize(
        ("count", "grace", "others"), [(2, 0.0, "reused"), (2, 60.0, "raced"), (8, 60.0, "raced")]
    )
    def test_of_many_at_once_one_rotates(
        self, backend: AccountsBackend, count: int, grace: float, others: str
    ) -> None:
        tokens, user = backend.tokens, a_user(backend)
        first = tokens.issue(user.id, DAY)
        rotations = in_threads(count, lambda _: tokens.rotate(first.token, DAY, grace))
        assert sorted(each.outcome for each in rotations) == sorted(
            [others] * (count - 1) + ["rotated"]
        )
        assert len(tokens.find_by_user(user.id)) == (count if grace else 0)

    def test_a_family_that_ends_during_rotations_stays_dead(self, backend: AccountsBackend) -> None:
        tokens, user = backend.tokens, a_user(backend)
        for _ in range(10):
            new = tokens.issue(user.id, DAY)

            def work(number: int) -> Any:
                if number == 0:
                    return tokens.revoke_family(new.record.family)
                return tokens.rotate(new.token, DAY, grace=60).outcome

            results = in_threads(4, work)
            assert isinstance(results[0], int), results
            assert set(results[1:]) <= {"rotated", "raced", "revoked"}
            assert tokens.find_by_user(user.id) == []

    def test_a_family_that_ends_while_it_is_rotated(self, backend: AccountsBackend) -> None:
        """The statement that ends the family has already passed the new token's id.

        That id is below the old token's, which a process with a faster clock issued.
        """
        tokens, user = backend.tokens, a_user(backend)
        ahead = fakes.FakeClock(DAWN + timedelta(seconds=1))
        old = type(tokens)(backend.database, clock=ahead).issue(user.id, DAY)
        ended = list[Callable[[], Any]]()

        class Halfway(fakes.FakeClock):
            """Once the rotation holds the row, another thread ends the family, and waits for it."""

            def now(self) -> datetime:
                if not ended and not tokens.is_valid(old.token):
                    ended.append(
                        seen_waiting(
                            backend.database, lambda: tokens.revoke_family(old.record.family)
                        )
                    )
                return super().now()

        rotation = type(tokens)(backend.database, clock=Halfway(DAWN)).rotate(old.token, DAY)
        assert rotation.outcome == "rotated"
        assert issued(rotation).record.id < old.record.id
        assert [join() for join in ended] == [1]
        assert tokens.find_by_user(user.id) == []

    # --- what every repository does

    def test_records(self, backend: AccountsBackend) -> None:
        tokens, user = backend.tokens, a_user(backend)
        record = infra.RefreshToken(
            user.id, "ab" * 32, infra.new_id(), expires_at=DAWN + timedelta(days=1)
        )
        stored = tokens.create(record)
        assert stored == replace(record, id=stored.id, created_at=DAWN)
        assert tokens.find_by_id(stored.id) == stored
        changed = tokens.update(replace(stored, device_name="new name"))
        assert tokens.find_by_id(stored.id) == changed == replace(stored, device_name="new name")
        assert tokens.page(infra.Query(filters={"user_id": user.id}, with_total=True)).total == 1
        for bad in (replace(record, token_hash="a raw token"), replace(record, expires_at=None)):  # type: ignore[arg-type]
            with pytest.raises(infra.ValidationError):
                tokens.create(bad)
        with pytest.raises(infra.ConflictError) as caught:
            tokens.create(replace(record, id=infra.new_id()))
        assert caught.value.constraint == "refresh_tokens_token_hash_key"
        assert tokens.count() == 1
        assert tokens.delete(stored.id) is True
        assert tokens.delete(stored.id) is False
        assert tokens.find_by_id(stored.id) is None
        with pytest.raises(infra.NotFoundError):
            tokens.update(changed)


class TestFakeMySQL(TokenRepositoryContract):
    backend = on_fake_accounts("mysql")


class TestFakePostgres(TokenRepositoryContract):
    backend = on_fake_accounts("postgres")


class TestMariaDB(TokenRepositoryContract):
    backend = on_real_accounts("mariadb")


class TestMySQL(TokenRepositoryContract):
    backend = on_real_accounts("mysql")


class TestPostgres(TokenRepositoryContract):
    backend = on_real_accounts("postgres")


def test_the_fake_fails_on_demand() -> None:
    services = fakes.FakeInfrastructure()
    user = services.phone_users.create_for_phone("+14155550100")
    new = services.tokens.issue(user.id, DAY)
    services.tokens.fail_next("rotate", infra.TimeoutError, after_apply=True)
    with pytest.raises(infra.TimeoutError):
        services.tokens.rotate(new.token, DAY)
    assert services.tokens.is_valid(new.token) is False  # the work was done, the answer was lost
    services.accounts.down = True
    with pytest.raises(infra.ConnectionError):
        services.tokens.is_valid(new.token)
    services.accounts.down = False
    assert services.tokens.count() == 2
