"""Counters, locks and versions of one's own tables: threads that change one record lose nothing."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, ClassVar

import pytest

import fakes
import infra
from tests.contract.backends import WAIT, in_background, in_threads
from tests.contract.base import Contract
from tests.contract.databases import dialect_of, empty, overlapped, seen_waiting, violation

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Account:
    name: str
    hits: int = 0
    total: int = 0
    balance: Decimal = Decimal("0.00")
    limit: int | None = None
    flag: bool = False
    origin: str = ""
    state: str = "open"
    meta: dict[str, Any] | None = None
    id: int = infra.FILLED
    created_at: datetime = infra.FILLED
    updated_at: datetime = infra.FILLED


class Accounts(infra.Repository[Account]):
    record, table, resource, sort_fields = Account, "accounts", "account", ("name",)
    lengths: ClassVar = {"name": 20, "origin": 20, "state": 10, "total": 64, "secret": 5}
    scales: ClassVar = {"balance": (10, 2), "updated_at": 0}
    hidden: ClassVar = {"secret": str | None}
    column_names: ClassVar = {"hits": "group", "limit": "limit_of"}
    unique = (("name",),)
    checks: ClassVar = {
        "accounts_balance_check": infra.Check("balance >= 0", lambda row: row["balance"] >= 0)
    }
    guarded, kept = ("state",), ("origin",)

    def secret(self, name: str) -> Any:
        return self._rows("secret", ("secret",), {"name": name}, limit=1)[0][0]


@dataclass(frozen=True)
class Place:
    city: str
    street: str
    visits: int = 0
    owner: int = 1
    number: int = 1


class Places(infra.Repository[Place]):
    """A folded column holds two fields, and the key has two columns."""

    record, table, resource, key = Place, "places", "place", ("owner", "number")
    lengths: ClassVar = {"city": 20, "street": 20}
    folded: ClassVar = {"folded": ("city", "street")}
    unique = (("folded",),)
    ids = ()


class OwnUpdate(Places):
    def update(self, record: Place) -> Place:
        return super().update(record)


@dataclass(frozen=True)
class Page:
    text: str
    views: int = 0
    state: str = "draft"
    revision: int = infra.FILLED
    id: uuid.UUID = infra.FILLED
    updated_at: datetime = infra.FILLED


class Pages(infra.Repository[Page]):
    record, table, resource, version = Page, "pages", "page", "revision"
    lengths: ClassVar = {"text": 20, "state": 10}
    column_names: ClassVar = {"revision": "number"}
    unique = (("text",),)

    def publish(self, id: uuid.UUID) -> None:
        self._alter("publish", id, {"state": "public"})


class GuardedPages(Pages):
    guarded = ("state",)


PORTS: list[Any] = [Accounts, Places, Pages]


@dataclass
class Counters:
    database: infra.Database
    dialect: str
    #: makes one whose transactions wait about a second for a lock
    impatient: Callable[[], Counters]
    clock: fakes.FakeClock = field(default_factory=lambda: fakes.FakeClock(NOON))

    def __post_init__(self) -> None:
        self.accounts = Accounts.on(self.database, clock=self.clock)
        self.places = Places.on(self.database, clock=self.clock)
        self.pages = Pages.on(self.database, clock=self.clock)

    def account(self, name: str = "a", **values: Any) -> Account:
        """Store one, and let an hour pass."""
        made = self.accounts.create(Account(name, **values))
        self.clock.advance(3600.5)
        return made


def fake_counters(dialect: str, lock_timeout: float = 30.0) -> Counters:
    tables = map(fakes.Table.of, PORTS)
    database = fakes.FakeDatabase(dialect, tables, lock_timeout=lock_timeout)
    return Counters(database, dialect, lambda: fake_counters(dialect, 1.0))


_made: dict[str, str] = {}


def with_counter_tables(database: Callable[[str], str], name: str) -> str:
    """The URL of this run's database with these tables on that server."""
    if name not in _made:
        _made[name] = database(name)
        with infra.create_pool(infra.DatabaseConfig(url=_made[name])) as pool:
            for statement in infra.split_statements(infra.ddl(PORTS, pool.engine), pool.engine):
                pool.execute(statement)
    return _made[name]


def on_fake_counters(dialect: str) -> Any:
    @pytest.fixture
    def backend(self: object) -> Counters:
        return fake_counters(dialect)

    return backend


def on_real_counters(name: str) -> Any:
    @pytest.fixture
    def backend(self: object, database: Callable[[str], str]) -> Iterator[Counters]:
        url = with_counter_tables(database, name)
        with ExitStack() as stack:

            def counters(**options: Any) -> Counters:
                config = infra.DatabaseConfig(url=url, **options)
                pool = stack.enter_context(infra.create_pool(config))
                return Counters(pool, dialect_of(pool), lambda: counters(query_timeout=2.0))

            found = counters()
            empty(found.database, *(port.table for port in PORTS))
            yield found

    return backend


def later(account: Account, **changes: Any) -> Account:
    """The account as a change an hour after ``NOON`` leaves it; the column holds no fraction."""
    return replace(account, updated_at=NOON + timedelta(hours=1), **changes)


class Holder:
    """A thread with a transaction that has locked a record, until ``release``."""

    def __init__(self, backend: Counters, id: int, work: Callable[[Account], Any]) -> None:
        self._backend, self._id, self._work = backend, id, work
        self._locked, self._released = threading.Event(), threading.Event()
        self._join = in_background(self._run)
        assert self._locked.wait(WAIT)

    def _run(self) -> Any:
        with self._backend.database.transaction():
            account = self._backend.accounts.get(self._id, lock=True)
            assert account is not None
            result = self._work(account)
            self._locked.set()
            assert self._released.wait(WAIT)
        return result

    def release(self) -> Any:
        """Let the transaction end. Return the result of the work, or the exception."""
        self._released.set()
        return self._join()


def nothing(account: Account) -> None:
    """Lock the record only."""


class CounterContract(Contract):
    port = infra.Repository
    #: whether two transactions can hold the locks of two rows at once
    row_locks: ClassVar[bool]
    #: whether a change is checked before it waits for the row: of the row as it is committed
    checks_before_it_waits: ClassVar[bool] = False

    # --- update_fields

    def test_update_fields_changes_these_and_no_other(self, backend: Counters) -> None:
        accounts = backend.accounts
        first, other = backend.account("a", hits=1, limit=5), accounts.create(Account("b"))
        assert accounts.update_fields(first.id, hits=3, limit=None, meta={"a": [1]}) is None  # type: ignore[func-returns-value]
        assert accounts.get(first.id) == later(first, hits=3, limit=None, meta={"a": [1]})
        assert accounts.get(other.id) == other

    def test_update_fields_of_a_hidden_column(self, backend: Counters) -> None:
        account = backend.account("a")
        backend.accounts.update_fields(account.id, secret="word")
        assert backend.accounts.secret("a") == "word"
        assert backend.accounts.get(account.id) == later(account)

    def test_update_fields_of_a_record_that_is_not_there(self, backend: Counters) -> None:
        account = backend.account("a")
        with pytest.raises(infra.NotFoundError, match="no such account") as caught:
            backend.accounts.update_fields(account.id + 1, hits=1)
        assert (caught.value.resource, caught.value.operation) == ("account", "update_fields")
        assert backend.accounts.get(account.id) == account

    def test_update_fields_with_the_same_values_finds_the_record(self, backend: Counters) -> None:
        place = backend.places.create(Place("Ulm", "Weg"))
        backend.places.update_fields((1, 1), visits=0)
        assert backend.places.get((1, 1)) == place

    def test_update_fields_writes_what_a_folded_column_holds(self, backend: Counters) -> None:
        places = backend.places
        places.create(Place("Ulm", "Weg"))
        places.update_fields((1, 1), city="BONN", street="Allee")
        assert places.get((1, 1)) == Place("BONN", "Allee")
        rule = violation(lambda: places.create(Place("Bonn", "ALLEE", number=2)))
        assert rule == ("places_folded_key", "unique")
        with pytest.raises(infra.ValidationError, match="city, street can only be changed toget"):
            places.update_fields((1, 1), city="Ulm")
        with pytest.raises(infra.ValidationError, match="update_fields cannot change folded"):
            places.update_fields((1, 1), folded="ulm")
        assert places.get((1, 1)) == Place("BONN", "Allee")

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({}, "update_fields should get a field to change"),
            ({"id": 2}, "update_fields cannot change id"),
            ({"hits": 1, "state": "shut"}, "update_fields cannot change state"),
            ({"origin": "x"}, "update_fields cannot change origin"),
            ({"updated_at": NOON, "id": 2}, "update_fields cannot change updated_at, id"),
            ({"hits": 1, "nothing": 1}, "accounts has no nothing"),
            ({"group": 1}, "accounts has no group"),
            ({"hits": "1"}, "hits should be a whole number"),
            ({"hits": None}, "hits should be a whole number"),
            ({"balance": Decimal("0.001")}, "balance should have at most 10 digits"),
            ({"name": "x" * 21}, "name "),
        ],
    )
    def test_no_fields_to_update(
        self, backend: Counters, changes: dict[str, Any], words: str
    ) -> None:
        account = backend.account("a")
        with pytest.raises(infra.ValidationError, match=f"^{words}"):
            backend.accounts.update_fields(account.id, **changes)
        assert backend.accounts.get(account.id) == account

    def test_update_fields_keeps_the_rules_of_the_table(self, backend: Counters) -> None:
        account, other = backend.account("a"), backend.account("b")
        accounts = backend.accounts
        below = Decimal("-1.00")
        found = violation(lambda: accounts.update_fields(account.id, hits=1, name="b"))
        assert found == ("accounts_name_key", "unique")
        found = violation(lambda: accounts.update_fields(account.id, hits=1, balance=below))
        assert found == ("accounts_balance_check", "check")
        with pytest.raises(infra.DatabaseError) as caught:
            accounts.update_fields(account.id, hits=2**31)
        assert type(caught.value) is infra.DatabaseError
        assert [accounts.get(each.id) for each in (account, other)] == [account, other]

    @pytest.mark.parametrize("key", ["1", None, (1,), 2**31, 1.0])
    def test_no_key_of_a_counter(self, backend: Counters, key: Any) -> None:
        with pytest.raises(infra.ValidationError, match=r"^id should be"):
            backend.accounts.update_fields(key, hits=1)
        with pytest.raises(infra.ValidationError, match=r"^id should be"):
            backend.accounts.increment(key, "hits")

    def test_an_update_of_its_own_refuses_both(self, backend: Counters) -> None:
        """It may have rules, which the statement would not keep."""
        places = OwnUpdate.on(backend.database)
        place = places.create(Place("Ulm", "Weg"))
        with pytest.raises(
            infra.ConfigurationError, match=r"update_fields would not .* OwnUpdate\.update"
        ):
            places.update_fields((1, 1), visits=1)
        with pytest.raises(
            infra.ConfigurationError, match=r"increment would not .* OwnUpdate\.update"
        ):
            places.increment((1, 1), "visits")
        assert places.get((1, 1)) == place

    # --- increment

    def test_increment(self, backend: Counters) -> None:
        accounts = backend.accounts
        account, other = backend.account("a", hits=5, balance=Decimal("1.50")), backend.account("b")
        assert accounts.increment(account.id, "hits") is None  # type: ignore[func-returns-value]
        assert accounts.get(account.id) == replace(
            account, hits=6, updated_at=NOON + timedelta(hours=2, seconds=1)
        )
        accounts.increment(account.id, "hits", -10)
        accounts.increment(account.id, "total", 2**40)
        accounts.increment(account.id, "balance", Decimal("-1.5"))
        accounts.increment(account.id, "balance", Decimal("99999999.99"))
        found = accounts.get(account.id)
        assert found is not None
        assert (found.hits, found.total, found.balance) == (-4, 2**40, Decimal("99999999.99"))
        assert accounts.get(other.id) == other

    def test_increment_by_nothing_finds_the_record(self, backend: Counters) -> None:
        place = backend.places.create(Place("Ulm", "Weg", 7))
        backend.places.increment((1, 1), "visits", 0)
        assert backend.places.get((1, 1)) == place

    def test_increment_of_a_record_that_is_not_there(self, backend: Counters) -> None:
        backend.places.create(Place("Ulm", "Weg", 7))
        with pytest.raises(infra.NotFoundError, match="no such place") as caught:
            backend.places.increment((1, 2), "visits")
        assert (caught.value.resource, caught.value.operation) == ("place", "increment")
        assert backend.places.get((1, 1)) == Place("Ulm", "Weg", 7)

    def test_increment_below_a_check(self, backend: Counters) -> None:
        account, accounts = backend.account("a", balance=Decimal("1.00")), backend.accounts
        found = violation(lambda: accounts.increment(account.id, "balance", Decimal("-1.01")))
        assert found == ("accounts_balance_check", "check")
        assert accounts.get(account.id) == account
        accounts.increment(account.id, "balance", Decimal(-1))
        assert accounts.get(account.id) == later(account, balance=Decimal("0.00"))

    @pytest.mark.parametrize(
        ("field", "amount"),
        [
            ("hits", 1),
            ("hits", 2**31),
            ("hits", -(2**32)),
            ("hits", 2**63),
            ("hits", 2**65),
            ("total", 1),
            ("total", -(2**63)),
            ("balance", Decimal("0.01")),
        ],
    )
    def test_increment_beyond_the_column(
        self, backend: Counters, field: str, amount: int | Decimal
    ) -> None:
        most = {"hits": 2**31 - 1, "total": 2**63 - 1, "balance": Decimal("99999999.99")}
        if amount < 0:
            most = {"hits": -(2**31), "total": -(2**63)}
        account, accounts = backend.account("a", **most), backend.accounts
        with pytest.raises(infra.DatabaseError, match="does not fit its column") as caught:
            accounts.increment(account.id, field, amount)
        assert type(caught.value) is infra.DatabaseError
        assert caught.value.retryable is False
        assert accounts.get(account.id) == account

    @pytest.mark.parametrize(
        "field",
        ["name", "limit", "flag", "meta", "secret", "nothing", "group", "", "created_at", 1, None],
    )
    def test_no_field_to_increment(self, backend: Counters, field: Any) -> None:
        account = backend.account("a", limit=1)
        words = "^field should name an int or a Decimal of accounts that is never None"
        with pytest.raises(infra.ValidationError, match=words):
            backend.accounts.increment(account.id, field)
        with pytest.raises(infra.ValidationError, match="increment cannot change id"):
            backend.accounts.increment(account.id, "id")
        assert backend.accounts.get(account.id) == account

    @pytest.mark.parametrize(
        ("field", "amount", "words"),
        [
            ("hits", 1.0, "hits should be a whole number"),
            ("hits", True, "hits should be a whole number"),
            ("hits", Decimal(1), "hits should be a whole number"),
            ("hits", None, "hits should be a whole number"),
            ("balance", 1, "balance should be a finite Decimal"),
            ("balance", Decimal("NaN"), "balance should be a finite Decimal"),
            ("balance", Decimal("0.001"), "balance should have at most 10 digits"),
        ],
    )
    def test_no_amount(self, backend: Counters, field: str, amount: Any, words: str) -> None:
        account = backend.account("a")
        with pytest.raises(infra.ValidationError, match=f"^{words}"):
            backend.accounts.increment(account.id, field, amount)
        assert backend.accounts.get(account.id) == account

    def test_threads_that_increment_lose_nothing(self, backend: Counters) -> None:
        account, accounts = backend.account("a", balance=Decimal("80.00")), backend.accounts

        def count(number: int) -> None:
            for _ in range(20):
                with backend.database.transaction():
                    accounts.increment(account.id, "hits")
                    accounts.increment(account.id, "balance", Decimal("-1.00"))

        assert in_threads(4, count) == [None] * 4
        assert accounts.get(account.id) == later(account, hits=80, balance=Decimal("0.00"))

    # --- get with a lock

    def test_a_lock_reads_the_record(self, backend: Counters) -> None:
        account, accounts = backend.account("a", meta={"a": 1}), backend.accounts
        with backend.database.transaction():
            assert accounts.get(account.id, lock=True) == account
            assert accounts.get(account.id, lock=True) == account
            assert accounts.get(account.id + 1, lock=True) is None
            assert accounts.get(account.id, lock=False) == account
            accounts.increment(account.id, "hits")
            assert accounts.get(account.id, lock=True) == later(account, hits=1)
        assert accounts.get(account.id) == later(account, hits=1)

    def test_a_lock_of_a_key_of_two_columns(self, backend: Counters) -> None:
        place = backend.places.create(Place("Ulm", "Weg"))
        with backend.database.transaction():
            assert backend.places.get((1, 1), lock=True) == place

    def test_no_lock_outside_a_transaction(self, backend: Counters) -> None:
        account = backend.account("a")
        with pytest.raises(infra.ValidationError, match=r"^lock should be False outside a trans"):
            backend.accounts.get(account.id, lock=True)
        assert backend.accounts.get(account.id, lock=False) == account

    @pytest.mark.parametrize("lock", [None, 1, "yes"])
    def test_a_lock_is_true_or_false(self, backend: Counters, lock: Any) -> None:
        account = backend.account("a")
        with backend.database.transaction():
            with pytest.raises(infra.ValidationError, match=r"^lock should be True or False"):
                backend.accounts.get(account.id, lock=lock)
            with pytest.raises(infra.ValidationError, match=r"^id should be"):
                backend.accounts.get("1", lock=True)
            assert backend.accounts.get(account.id) == account

    def test_a_writer_waits_for_a_lock(self, backend: Counters) -> None:
        account, accounts = backend.account("a", hits=1), backend.accounts
        holder = Holder(backend, account.id, lambda read: read.hits)
        writer = threading.Thread(target=accounts.increment, args=(account.id, "hits"))
        writer.start()
        writer.join(0.1)
        assert writer.is_alive()
        assert accounts.get(account.id) == account
        assert holder.release() == 1
        writer.join(WAIT)
        assert accounts.get(account.id) == later(account, hits=2)

    def test_a_second_lock_waits_and_reads_what_is_committed(self, backend: Counters) -> None:
        account, accounts = backend.account("a"), backend.accounts
        holder = Holder(
            backend, account.id, lambda read: accounts.update(replace(read, hits=read.hits + 5))
        )

        def lock_too() -> int:
            with backend.database.transaction():
                read = accounts.get(account.id, lock=True)
                assert read is not None
                return read.hits

        second = in_background(lock_too)
        assert accounts.get(account.id) == account  # a read without a lock does not wait
        assert holder.release() == later(account, hits=5)
        assert second() == 5

    def test_a_check_of_a_row_that_a_transaction_changes(self, backend: Counters) -> None:
        """Postgres refuses a sum that would be allowed once the other transaction has ended."""
        account, accounts = backend.account("a", balance=Decimal("1.00")), backend.accounts

        def take() -> None:
            accounts.increment(account.id, "balance", Decimal("-3.00"))

        with backend.database.transaction():
            accounts.increment(account.id, "balance", Decimal("5.00"))
            if self.checks_before_it_waits:
                error = in_background(take)()
                assert isinstance(error, infra.ConflictError)
                assert error.constraint == "accounts_balance_check"
            else:
                join = seen_waiting(backend.database, take)
        if self.checks_before_it_waits:
            take()
        else:
            assert join() is None
        assert accounts.get(account.id) == later(account, balance=Decimal("3.00"))

    def test_a_check_of_a_row_that_a_transaction_has_changed(self, backend: Counters) -> None:
        """It is checked again after the wait."""
        account, accounts = backend.account("a", balance=Decimal("5.00")), backend.accounts

        def take() -> None:
            accounts.increment(account.id, "balance", Decimal("-3.00"))

        error = overlapped(backend.database, take, take)
        assert isinstance(error, infra.ConflictError)
        assert error.constraint == "accounts_balance_check"
        assert accounts.get(account.id) == later(account, balance=Decimal("2.00"))

    def test_an_error_that_ends_the_transaction_releases_its_locks(self, backend: Counters) -> None:
        """On Postgres any error of a statement ends it, on MySQL a refused row does not."""
        account, accounts = backend.account("a", balance=Decimal("1.00")), backend.accounts

        def take(amount: str) -> None:
            accounts.increment(account.id, "balance", Decimal(amount))

        with contextlib.suppress(infra.DatabaseError), backend.database.transaction():
            take("5.00")
            with pytest.raises(infra.ConflictError):
                take("-9.00")
            if backend.database.engine == "postgres":
                assert in_background(lambda: take("-1.00"))() is None
            else:
                join = seen_waiting(backend.database, lambda: take("-1.00"))
        if backend.database.engine == "mysql":
            assert join() is None
        left = {"postgres": "0.00", "mysql": "5.00"}[backend.database.engine]
        assert accounts.get(account.id) == later(account, balance=Decimal(left))

    def test_a_savepoint_of_a_failed_statement_keeps_the_locks(self, backend: Counters) -> None:
        account, accounts = backend.account("a", balance=Decimal("1.00")), backend.accounts

        def take(amount: str) -> None:
            accounts.increment(account.id, "balance", Decimal(amount))

        with backend.database.transaction():
            take("5.00")
            with pytest.raises(infra.ConflictError), backend.database.transaction():
                take("-9.00")
            join = seen_waiting(backend.database, lambda: take("-1.00"))
        assert join() is None
        assert accounts.get(account.id) == later(account, balance=Decimal("5.00"))

    def test_a_rollback_releases_a_lock(self, backend: Counters) -> None:
        account, accounts = backend.account("a"), backend.accounts
        with pytest.raises(ZeroDivisionError), backend.database.transaction():
            assert accounts.get(account.id, lock=True) == account
            raise ZeroDivisionError
        assert in_background(lambda: accounts.increment(account.id, "hits"))() is None
        assert accounts.get(account.id) == later(account, hits=1)

    def test_locks_of_two_rows(self, backend: Counters) -> None:
        """A server locks rows, a fake the whole database."""
        first, second = backend.account("a"), backend.account("b")
        holder = Holder(backend, first.id, nothing)
        done = threading.Event()

        def lock_second() -> None:
            with backend.database.transaction():
                assert backend.accounts.get(second.id, lock=True) == second
            done.set()

        join = in_background(lock_second)
        assert done.wait(WAIT if self.row_locks else 0.1) is self.row_locks
        holder.release()
        assert join() is None
        assert done.is_set()

    def test_a_lock_that_comes_too_late(self, backend: Counters) -> None:
        impatient = backend.impatient()
        account = impatient.account("a")
        holder = Holder(impatient, account.id, nothing)
        with (
            pytest.raises(infra.DatabaseError, match="waited too long for another") as caught,
            impatient.database.transaction(),
        ):
            impatient.accounts.get(account.id, lock=True)
        assert (caught.value.retryable, caught.value.operation) == (True, "get")
        assert type(caught.value) is infra.DatabaseError
        holder.release()
        with impatient.database.transaction():
            assert impatient.accounts.get(account.id, lock=True) == account

    def test_run_repeats_one_of_two_that_lock_in_opposite_order(self, backend: Counters) -> None:
        ids = backend.account("a").id, backend.account("b").id
        both_hold_one, calls = threading.Barrier(2), list[int]()

        def move(number: int) -> None:
            def work() -> None:
                calls.append(number)
                for step, id in enumerate(ids[:: 1 - 2 * number]):
                    account = backend.accounts.get(id, lock=True)
                    assert account is not None
                    if self.row_locks and not step and calls.count(number) == 1:
                        both_hold_one.wait(WAIT)
                    backend.accounts.update(replace(account, hits=account.hits + 1))

            backend.database.run(work)

        assert in_threads(2, move) == [None, None]
        assert (len(calls) > 2) is self.row_locks
        found = [backend.accounts.get(id) for id in ids]
        assert [account.hits for account in found if account] == [2, 2]

    @pytest.mark.parametrize("exist", [True, False])
    def test_run_repeats_one_of_two_that_upsert_in_opposite_order(
        self, backend: Counters, exist: bool
    ) -> None:
        pages, both_hold_one, calls = backend.pages, threading.Barrier(2), list[int]()
        # New keys have names that no case has deleted: MySQL locks the gap behind a deleted one.
        names = ("a", "b") if exist else ("new a", "new b")
        if exist:
            pages.create_many([Page("a"), Page("b")])

        def store(number: int) -> None:
            def work() -> None:
                calls.append(number)
                for step, text in enumerate(names[:: 1 - 2 * number]):
                    pages.upsert(Page(text, views=number + 1), on="pages_text_key")
                    if self.row_locks and not step and calls.count(number) == 1:
                        both_hold_one.wait(WAIT)

            backend.database.run(work)

        assert in_threads(2, store) == [None, None]
        assert (len(calls) > 2) is self.row_locks
        a, b = pages.select(sort="text")
        changes = 3 if exist else 2
        assert (a.text, b.text, a.revision, b.revision) == (*names, changes, changes)
        assert (a.views, b.views) in [(1, 1), (2, 2)]  # those of the later transaction

    def test_threads_that_lock_lose_nothing(self, backend: Counters) -> None:
        account, accounts = backend.account("a"), backend.accounts

        def count(number: int) -> None:
            for _ in range(20):
                with backend.database.transaction():
                    read = accounts.get(account.id, lock=True)
                    assert read is not None
                    accounts.update(replace(read, hits=read.hits + 1))

        assert in_threads(4, count) == [None] * 4
        assert accounts.get(account.id) == later(account, hits=80)

    # --- a version

    def test_create_begins_a_version(self, backend: Counters) -> None:
        pages = backend.pages
        given: list[tuple[Any, int]] = [(infra.FILLED, 1), (None, 1), (7, 7), (0, 0), (-3, -3)]
        for revision, stored in given:
            made = pages.create(Page(f"page {revision}", revision=revision))
            assert pages.get(made.id) == made
            assert (made.revision, type(made.revision)) == (stored, int)

    def test_a_move_begins_versions(self, backend: Counters) -> None:
        ids = [uuid.UUID(int=1), uuid.UUID(int=2)]
        rows = [{"text": "a", "id": ids[0]}, {"text": "b", "revision": 7, "id": ids[1]}]
        move = infra.RowMove(
            uuid.uuid4().hex,
            source=infra.IterableSource(rows),
            target=infra.RepositoryTarget(backend.pages),
            transform=lambda row: Page(**row),
        )
        assert move.run(progress=False).counts.written == 2
        stored = [backend.pages.get(id) for id in ids]
        assert [page.revision for page in stored if page] == [1, 7]
        found = move.verify()
        assert (found.checked, found.different, found.missing) == (2, 0, 0)
        backend.pages.increment(ids[1], "views")
        assert move.verify().different == 1

    def test_update_raises_the_version(self, backend: Counters) -> None:
        pages = backend.pages
        first, other = pages.create(Page("a")), pages.create(Page("b"))
        backend.clock.advance(1)
        changed = pages.update(replace(first, text="c"))
        assert changed == pages.get(first.id)
        assert changed == replace(first, text="c", revision=2, updated_at=NOON + timedelta(0, 1))
        again = pages.update(replace(changed, views=3))
        assert again == pages.get(first.id) == replace(changed, views=3, revision=3)
        assert pages.get(other.id) == other

    def test_update_of_what_has_changed_since(self, backend: Counters) -> None:
        pages = backend.pages
        first = pages.create(Page("a"))
        second = pages.update(replace(first, text="b"))
        for stale in (first, replace(second, revision=3), replace(second, revision=-1)):
            with pytest.raises(infra.ConflictError, match="pages_as_read") as caught:
                pages.update(replace(stale, text="c"))
            assert (caught.value.constraint, caught.value.kind) == ("pages_as_read", "check")
            assert "revision differs from what is stored: read the page again" in str(caught.value)
            assert (caught.value.retryable, caught.value.operation) == (False, "update")
        assert pages.get(first.id) == second
        assert pages.delete(first.id) is True
        with pytest.raises(infra.NotFoundError, match="no such page"):
            pages.update(second)
        assert pages.count() == 0

    def test_a_version_beside_guarded_fields(self, backend: Counters) -> None:
        pages = GuardedPages.on(backend.database)
        made = pages.create(Page("a"))
        words = "one of state, revision differs from what is stored, and update does not change it"
        for stale in (replace(made, state="public"), replace(made, revision=2)):
            with pytest.raises(infra.ConflictError, match=words):
                pages.update(stale)
        assert pages.get(made.id) == made
        assert pages.update(made).revision == 2

    def test_every_change_raises_the_version(self, backend: Counters) -> None:
        pages = backend.pages
        made = pages.create(Page("a"))
        other = pages.create(Page("b"))
        pages.update_fields(made.id, text="c")
        pages.increment(made.id, "views", 5)
        pages.publish(made.id)
        assert pages.get(made.id) == replace(made, text="c", views=5, state="public", revision=4)
        assert pages.get(other.id) == other
        assert violation(lambda: pages.update(made)) == ("pages_as_read", "check")
        assert violation(lambda: pages.update_fields(made.id, text="b"))[0] == "pages_text_key"
        found = pages.get(made.id)
        assert found is not None
        assert found.revision == 4

    def test_changes_by_condition_and_upserts_raise_the_version(self, backend: Counters) -> None:
        pages = backend.pages
        made, other = pages.create(Page("a")), pages.create(Page("b", views=7))
        assert pages.update_where({"text": "a"}, state="public") == 1
        assert pages.get(made.id) == replace(made, state="public", revision=2)
        with pytest.raises(infra.ValidationError, match="update_where cannot change revision"):
            pages.update_where({"text": "a"}, revision=9)
        given = replace(made, views=3, revision=1)
        found = pages.upsert(given, on="pages_text_key")
        assert found == infra.Upserted(replace(made, views=3, revision=3), False)
        assert pages.get(made.id) == found.record
        assert pages.upsert(Page("c")).record.revision == 1
        assert pages.get(other.id) == other

    @pytest.mark.parametrize("revision", [infra.FILLED, None, "1", 1.0, True])
    def test_update_without_the_version_that_was_read(
        self, backend: Counters, revision: Any
    ) -> None:
        made = backend.pages.create(Page("a"))
        with pytest.raises(infra.ValidationError, match=r"^revision should be a whole number"):
            backend.pages.update(replace(made, text="b", revision=revision))
        assert backend.pages.get(made.id) == made

    @pytest.mark.parametrize("revision", ["1", 1.0, True])
    def test_no_version_of_a_new_record(self, backend: Counters, revision: Any) -> None:
        with pytest.raises(infra.ValidationError, match=r"^revision should be a whole number"):
            backend.pages.create(Page("a", revision=revision))
        assert backend.pages.count() == 0

    def test_a_caller_does_not_change_the_version(self, backend: Counters) -> None:
        made = backend.pages.create(Page("a"))
        with pytest.raises(infra.ValidationError, match=r"^update_fields cannot change revision"):
            backend.pages.update_fields(made.id, revision=9)
        with pytest.raises(infra.ValidationError, match=r"^increment cannot change revision"):
            backend.pages.increment(made.id, "revision")
        assert backend.pages.get(made.id) == made

    def test_the_last_version(self, backend: Counters) -> None:
        pages = backend.pages
        made = pages.create(Page("a", revision=2**31 - 1))
        for call in (
            lambda: pages.update(replace(made, text="b")),
            lambda: pages.update_fields(made.id, text="b"),
            lambda: pages.increment(made.id, "views"),
            lambda: pages.update_where({"text": "a"}, views=1),
            lambda: pages.upsert(replace(made, views=1), on="pages_text_key"),
        ):
            with pytest.raises(infra.DatabaseError, match="does not fit its column") as caught:
                call()
            assert type(caught.value) is infra.DatabaseError
        assert pages.get(made.id) == made

    # --- run(conflicts=True)

    def test_run_repeats_a_stale_read(self, backend: Counters) -> None:
        pages, reads = backend.pages, list[int]()
        made = pages.create(Page("a"))

        def read_once_more() -> Page:
            page = pages.get(made.id)
            assert page is not None
            reads.append(page.revision)
            if len(reads) < 3:
                assert in_background(lambda: pages.increment(made.id, "views"))() is None
            return pages.update(replace(page, text=f"text {len(reads)}"))

        stored = backend.database.run(read_once_more, conflicts=True)
        assert stored == pages.get(made.id) == replace(made, text="text 3", views=2, revision=4)
        assert reads == [1, 2, 3]
        reads.clear()
        with pytest.raises(infra.ConflictError, match="pages_as_read"):
            backend.database.run(read_once_more, conflicts=False)
        assert reads == [4]

    def test_run_repeats_no_other_conflict(self, backend: Counters) -> None:
        pages, calls = backend.pages, list[int]()
        pages.create(Page("a"))

        def create() -> None:
            calls.append(1)
            pages.create(Page("b"))
            pages.create(Page("a"))

        found = violation(lambda: backend.database.run(create, conflicts=True))
        assert found == ("pages_text_key", "unique")
        assert (calls, pages.count()) == ([1], 1)

    @pytest.mark.parametrize("constraint", [None, "pages_as_read_check", "as_read"])
    def test_run_repeats_no_conflict_of_the_caller(
        self, backend: Counters, constraint: str | None
    ) -> None:
        calls: list[int] = []

        def fail() -> None:
            calls.append(1)
            raise infra.ConflictError("no", constraint=constraint)

        with pytest.raises(infra.ConflictError, match="no"):
            backend.database.run(fail, conflicts=True)
        assert calls == [1]

    def test_run_gives_a_stale_read_up(self, backend: Counters) -> None:
        """It has read outside of the function, so reading again finds nothing new."""
        calls: list[int] = []

        def fail() -> None:
            calls.append(1)
            raise infra.ConflictError("stale", constraint="pages_as_read")

        with pytest.raises(infra.ConflictError, match="stale"):
            backend.database.run(fail, conflicts=True)
        assert len(calls) == 1001

    def test_run_still_repeats_a_deadlock(self, backend: Counters) -> None:
        calls: list[int] = []

        def work() -> str:
            calls.append(1)
            if len(calls) < 3:
                raise infra.DatabaseError("a deadlock", retryable=True)
            if len(calls) < 5:
                raise infra.ConflictError("stale", constraint="pages_as_read")
            return "done"

        assert backend.database.run(work, conflicts=True) == "done"
        assert len(calls) == 5

    def test_run_in_a_transaction_repeats_nothing(self, backend: Counters) -> None:
        pages, calls = backend.pages, list[int]()
        made = pages.create(Page("a"))

        def work() -> None:
            calls.append(1)
            pages.create(Page("b"))
            pages.update(replace(made, revision=5))

        with backend.database.transaction():
            pages.create(Page("c"))
            with pytest.raises(infra.ConflictError, match="pages_as_read"):
                backend.database.run(work, conflicts=True)
        assert (calls, pages.count()) == ([1], 2)

    @pytest.mark.parametrize("conflicts", [None, 1, "yes"])
    def test_conflicts_is_true_or_false(self, backend: Counters, conflicts: Any) -> None:
        with pytest.raises(infra.ValidationError, match=r"^conflicts should be True or False"):
            backend.database.run(backend.pages.count, conflicts=conflicts)
        assert backend.database.run(backend.pages.count, conflicts=True) == 0

    def test_threads_with_a_version_lose_nothing(self, backend: Counters) -> None:
        pages = backend.pages
        made = pages.create(Page("a"))

        def view() -> None:
            page = pages.get(made.id)
            assert page is not None
            pages.update(replace(page, views=page.views + 1))

        def count(number: int) -> None:
            for _ in range(20):
                backend.database.run(view, conflicts=True)

        assert in_threads(4, count) == [None] * 4
        assert pages.get(made.id) == replace(made, views=80, revision=81)

    # --- what the other methods of a repository do with the same records

    def test_the_other_methods(self, backend: Counters) -> None:
        """Each has its suite; here they see what the methods above have stored."""
        account, accounts = backend.account("a"), backend.accounts
        accounts.increment(account.id, "hits")
        found = later(account, hits=1)
        assert accounts.find_by_id(account.id) == accounts.get(account.id) == found  # type: ignore[arg-type]
        assert accounts.update(found) == found
        assert accounts.page().items == [found]
        assert (accounts.exists(account.id), accounts.count()) == (True, 1)
        assert accounts.delete(account.id) is True
        assert accounts.get(account.id) is None


class TestFakeMySQL(CounterContract):
    row_locks = False
    backend = on_fake_counters("mysql")


class TestFakeMariaDB(CounterContract):
    row_locks = False
    backend = on_fake_counters("mariadb")


class TestFakePostgres(CounterContract):
    row_locks = False
    backend = on_fake_counters("postgres")


class TestMariaDB(CounterContract):
    row_locks = True
    backend = on_real_counters("mariadb")


class TestMySQL(CounterContract):
    row_locks = True
    backend = on_real_counters("mysql")


class TestPostgres(CounterContract):
    row_locks = checks_before_it_waits = True
    backend = on_real_counters("postgres")


class TestPostgres18(CounterContract):
    row_locks = checks_before_it_waits = True
    backend = on_real_counters("postgres-18")


# --- the attribute


@dataclass(frozen=True)
class Draft:
    text: str
    number: int = 1
    other: int | None = None
    flag: bool = True
    id: uuid.UUID = infra.FILLED


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"version": "nothing"}, "name a field of type int that is never None"),
        ({"version": "text"}, "name a field of type int that is never None"),
        ({"version": "other"}, "name a field of type int that is never None"),
        ({"version": "flag"}, "name a field of type int that is never None"),
        ({"version": "apart", "hidden": {"apart": int}}, "name a field of type int that"),
        ({"version": None}, "name a field of type int that is never None"),
        ({"version": ["number"]}, "name a field of type int that is never None"),
        ({"version": "number", "guarded": ("number",)}, "is not in key, guarded or kept"),
        ({"version": "number", "kept": ("number",)}, "is not in key, guarded or kept"),
        ({"version": "number", "key": ("number",), "ids": ()}, "is not in key, guarded or kept"),
    ],
)
def test_no_version(attributes: dict[str, Any], words: str) -> None:
    wanted = {"record": Draft, "table": "drafts", "resource": "draft", **attributes}
    port: Any = type("Drafts", (infra.Repository,), wanted)
    with pytest.raises(infra.ConfigurationError, match=f"Drafts: version should .*{words}"):
        port.on(fakes.FakeDatabase("postgres"))


def test_run_repeats_stale_reads_until_its_deadline() -> None:
    clock = fakes.FakeClock()
    database, calls = fakes.FakeDatabase(clock=clock), list[int]()

    def fail() -> None:
        calls.append(1)
        clock.advance(11)
        raise infra.ConflictError("stale", constraint="pages_as_read")

    with pytest.raises(infra.ConflictError, match="stale"):
        database.run(fail, conflicts=True)
    assert len(calls) == 3


def test_a_sum_of_decimals_is_exact() -> None:
    """On a column without a scale, which only Postgres has."""

    class Sums(Accounts):
        scales: ClassVar = {"updated_at": 0}

    for dialect in ("mysql", "postgres"):
        sums = Sums.on(fakes.FakeDatabase(dialect, [fakes.Table.of(Sums)]))
        made = sums.create(Account("a", balance=Decimal(10**40)))
        sums.increment(made.id, "balance", Decimal("0.01"))
        found = sums.get(made.id)
        assert found is not None
        assert str(found.balance) == f"1{'0' * 40}.01"
