"""The contract of AuditLog, on each database and on the fake."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, TypeAlias

import pytest

import fakes
import infra
from tests.contract.backends import in_threads
from tests.contract.base import Contract
from tests.contract.databases import migrated

KEY = "0123456789abcdef0123456789abcdef"
OTHER_KEY = KEY[::-1]
NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
ENTRIES, SEALS = "infra_audit", "infra_audit_seals"


class OrderEvent(infra.Event):
    Placed: TypeAlias = "OrderPlaced"
    Rated: TypeAlias = "OrderRated"
    Signed: TypeAlias = "OrderSigned"


@dataclass(frozen=True)
class OrderPlaced(OrderEvent):
    order_id: uuid.UUID
    phone: str = ""


@dataclass(frozen=True)
class OrderRated(OrderEvent):
    score: int


@dataclass(frozen=True)
class OrderSigned(OrderEvent):
    pin: int


@dataclass
class AuditBackend:
    """``insert``, ``change`` and ``remove`` edit a table by hand, behind the log."""

    database: infra.Database
    insert: Callable[[str, dict[str, Any]], object]
    change: Callable[[str, dict[str, Any], dict[str, Any]], object]
    remove: Callable[[str, dict[str, Any]], object]
    clock: fakes.FakeClock = field(default_factory=lambda: fakes.FakeClock(NOON))

    def log(self, key: str | None = KEY, batch: int = 1000, **options: Any) -> infra.AuditLog:
        made = infra.AuditLog(self.database, key=key, clock=self.clock, **options)
        made.BATCH = batch
        return made

    def filled(self, number: int, **options: Any) -> infra.AuditLog:
        """Return a log of so many entries, one a minute, all of them sealed."""
        log = self.log(**options)
        self.fill(log, 1, number)
        log.seal()
        return log

    def fill(self, log: infra.AuditLog, first: int, last: int) -> None:
        for number in range(first, last + 1):
            log.record(f"user:{number}", "order.paid", f"order:{number % 2}", {"n": number})
            self.clock.advance(60)

    def row(self, id: int, **values: Any) -> dict[str, Any]:
        """Return an entry, to be inserted by hand."""
        usual = {"actor": "mallory", "action": "a", "subject": "s", "version": None, "data": None}
        return {"id": id, "created_at": self.clock.now(), **usual, **values}


def problem(report: infra.AuditReport) -> tuple[str, int | None]:
    assert report.ok is (report.problem == "")
    return report.problem, report.entry_id


class AuditContract(Contract):
    port = infra.AuditLog

    def test_what_is_recorded(self, backend: AuditBackend) -> None:
        log = backend.log()
        data = {"é": ["日本🎉", 1.5, None, True, {}]}
        entry = log.record("user:7", "order.paid", "order:1", data)
        assert entry == infra.AuditEntry(1, NOON, "user:7", "order.paid", "order:1", None, data)
        assert log.record("user:8", "order.seen", "order:1").data is None
        first, second = log.entries()
        assert (first, second.id, second.actor, second.data) == (entry, 2, "user:8", None)
        assert "日本" not in repr(first)

    def test_the_transaction_of_the_caller(self, backend: AuditBackend) -> None:
        log = backend.log()
        with backend.database.transaction():
            log.record("a", "b", "kept")
        with pytest.raises(ZeroDivisionError), backend.database.transaction():
            log.record("a", "b", "lost")
            raise ZeroDivisionError
        assert [entry.subject for entry in log.entries()] == ["kept"]

    def test_entries_and_history(self, backend: AuditBackend) -> None:
        log = backend.log(batch=2)
        backend.fill(log, 1, 7)
        assert [entry.id for entry in log.entries(limit=3)] == [1, 2, 3]
        assert [entry.id for entry in log.entries(after=5)] == [6, 7]
        assert log.entries(after=7) == []
        assert [entry.data for entry in log.history("order:1")] == [
            {"n": 1},
            {"n": 3},
            {"n": 5},
            {"n": 7},
        ]
        assert [*log.history("order:2")] == []

    def test_bad_values(self, backend: AuditBackend) -> None:
        log, wrong = backend.log(), None
        calls: list[tuple[str, Callable[[], object]]] = [
            ("actor", lambda: log.record("", "b", "c")),
            ("actor", lambda: log.record(" a", "b", "c")),
            ("actor", lambda: log.record("a" * 256, "b", "c")),
            ("actor", lambda: log.record(5, "b", "c")),  # type: ignore[arg-type]
            ("action", lambda: log.record("a", "", "c")),
            ("action", lambda: log.record("a", "b" * 101, "c")),
            ("subject", lambda: log.record("a", "b", "")),
            ("subject", lambda: log.record("a", "b", "c" * 256)),
            ("subject", lambda: log.record("a", "b", wrong)),  # type: ignore[arg-type]
            ("data", lambda: log.record("a", "b", "c", [1])),  # type: ignore[arg-type]
            ("after", lambda: log.entries(-1)),
            ("limit", lambda: log.entries(0, 0)),
            ("limit", lambda: log.entries(0, 10_001)),
            ("subject", lambda: log.history(wrong)),  # type: ignore[arg-type]
            ("event", lambda: log.append("s", wrong, 0)),  # type: ignore[arg-type]
            ("expected_version", lambda: log.append("s", OrderRated(1), -1)),
            ("subject", lambda: log.append("", OrderRated(1), 0)),
            ("fold", lambda: log.replay("s", wrong, 0)),  # type: ignore[arg-type]
            ("head", lambda: log.verify("5")),
            ("head", lambda: log.verify("5:" + "x" * 64)),
            ("head", lambda: log.verify(5)),  # type: ignore[arg-type]
        ]
        for name, call in calls:
            with pytest.raises(infra.ValidationError, match=name):
                call()
        with pytest.raises(infra.SerializationError, match="data"):
            log.record("a", "b", "c", {"at": NOON})
        options: list[dict[str, Any]] = [{"redact": 5}, {"settle": -1}, {"clock": 5}]
        for bad in options:
            with pytest.raises(infra.ConfigurationError, match=next(iter(bad))):
                infra.AuditLog(backend.database, **bad)
        assert log.entries() == []

    # ---- redaction

    def test_no_phone_in_who_did_what_to_what(self, backend: AuditBackend) -> None:
        log, phone = backend.log(), "+90 532 123 45 67"
        calls: list[Callable[[], object]] = [
            lambda: log.record(phone, "a", "s"),
            lambda: log.record("a", "a", phone),
            lambda: log.record("a", "called +905321234567", "s"),
            lambda: log.record("phone:+90(532)1234567", "a", "s"),
            lambda: log.append(phone, OrderRated(1), 0),
            lambda: log.append("s", OrderRated(1), 0, actor=phone),
        ]
        for call in calls:
            with pytest.raises(infra.ValidationError, match="hold an id, not a phone") as caught:
                call()
            assert "532" not in str(caught.value)
        assert log.entries() == []

    def test_secrets_are_masked(self, backend: AuditBackend) -> None:
        given = {
            "password": "p", "newPassword": "p", "OTPCode": 5, "pin_code": {"a": 1}, "api-key": "k",
            "APIKey": "k", "tokens": ["t"], "Authorization": "Bearer", "cookie2": "c",
            "shipping": "s", "postcodes": "12", "encoded": "e", "spinner": 1, "note": "+1",
            "codec": 2, "called": "+90 532 123-45-67", "+905321234567": "verified",
            "list": [{"secret": None}, ["+905321234567"], 7],
            "text": "from +90 532 123 45 67, to +15550000 or +1234567890123456",
            "german": "+49 (0)30 12345-67",
        }  # fmt: skip
        before = str(given)
        assert backend.log().record("a", "b", "c", given).data == {
            "password": "***", "newPassword": "***", "OTPCode": "***", "pin_code": "***",
            "api-key": "***", "APIKey": "***", "tokens": "***", "Authorization": "***",
            "cookie2": "***", "shipping": "s", "postcodes": "12", "encoded": "e", "spinner": 1,
            "note": "+1", "codec": 2, "called": "***4567",
            "list": [{"secret": "***"}, ["***4567"], 7], "***4567": "verified",
            "text": "from ***4567, to ***0000 or +1234567890123456",
            "german": "***4567",
        }  # fmt: skip
        assert str(given) == before
        assert infra.redact_document({"a": ("+905321234567",)}) == {"a": ("+905321234567",)}

    def test_a_redaction_of_your_own(self, backend: AuditBackend) -> None:
        def redact(data: dict[str, Any]) -> dict[str, Any]:
            data["n"] = data["n"] * 2
            return data

        given = {"n": 2, "token": "t"}
        assert backend.log(redact=redact).record("a", "b", "c", given).data == {
            "n": 4,
            "token": "t",
        }
        assert given["n"] == 2
        assert backend.log(redact=None).record("a", "b", "c", given).data == given
        assert backend.log(redact=lambda data: None).record("a", "b", "c", given).data is None

    def test_a_redaction_that_fails(self, backend: AuditBackend) -> None:
        def fail(data: dict[str, Any]) -> dict[str, Any]:
            raise KeyError(data["n"])

        with pytest.raises(infra.ValidationError, match="redact raised KeyError") as caught:
            backend.log(redact=fail).record("a", "b", "c", {"n": "zq71"})
        assert "zq71" not in str(caught.value)
        assert (caught.value.__context__, caught.value.__cause__) == (None, None)
        for answer, error in ((5, infra.ValidationError), ({"a": {5}}, infra.SerializationError)):
            with pytest.raises(error, match="data"):
                backend.log(redact=lambda data: answer).record("a", "b", "c", {"n": 1})
        assert backend.log().entries() == []

    # ---- seals

    def test_heads(self, backend: AuditBackend) -> None:
        """They are the same on all databases."""
        log = backend.log()
        assert log.seal() == ("0:69001b08c02a0de93a990af405ee815738fa1d9ce955445b32ffca849db47241")
        log.record("user:7", "order.paid", "order:1", {"total": 12.5, "by": "é"})
        assert [log.seal(), log.seal()] == [
            "1:778eebd4979e61ce166efeb5975bb76f7ebf3577793617ff9e55bfe19565e7a5"
        ] * 2
        backend.clock.advance(1.5)
        log.record("user:8", "order.seen", "order:1")
        assert log.seal() == ("2:da875db7286c5455a6a04562140ec604fd476d73f0238945d08efe6098f4ee12")

    def test_seals_in_portions(self, backend: AuditBackend) -> None:
        log = backend.log(batch=3)
        for last in (0, 2, 3, 10):
            backend.fill(log, len(log.entries()) + 1, last)
            head = log.seal()
            assert head.partition(":")[0] == str(last)
            report = log.verify(head)
            assert (report.ok, report.checked, report.head) == (True, last, head)
        assert backend.log().seal() == head

    def test_verify_takes_an_older_head(self, backend: AuditBackend) -> None:
        log = backend.filled(2)
        older = log.seal()
        backend.fill(log, 3, 4)
        assert log.verify(older).ok
        assert log.verify(log.seal()).checked == 4
        assert (
            str(log.verify(older)) == f"4 sealed entries checked: all in order, head {log.seal()}"
        )

    def test_nothing_is_sealed_yet(self, backend: AuditBackend) -> None:
        log = backend.log()
        assert log.verify() == infra.AuditReport(0, "")
        backend.fill(log, 1, 1)
        assert str(log.verify()) == "0 sealed entries checked: all in order, head none"
        assert problem(log.verify("0:" + "0" * 64)) == ("cut", None)

    @pytest.mark.parametrize(
        "changes",
        [
            {"actor": "mallory"},
            {"action": "order.lost"},
            {"subject": "order:2"},
            {"version": 1},
            {"data": {"n": 3, "more": 1}},
            {"data": None},
            {"created_at": NOON + timedelta(microseconds=1)},
            {"id": 50},
        ],
        ids=lambda changes: "-".join(map(str, changes)),
    )
    def test_a_changed_entry(self, backend: AuditBackend, changes: dict[str, Any]) -> None:
        log = backend.filled(5, batch=2)
        backend.change(ENTRIES, {"id": 3}, changes)
        expected = "removed" if "id" in changes else "changed"
        report = log.verify()
        assert problem(report) == (expected, 3)
        assert report.checked == 2
        assert str(report) == f"2 sealed entries checked: entry 3 was {expected}"

    @pytest.mark.parametrize("id", [1, 3, 5])
    def test_a_removed_entry(self, backend: AuditBackend, id: int) -> None:
        log = backend.filled(5, batch=2)
        backend.remove(ENTRIES, {"id": id})
        assert problem(log.verify()) == ("removed", id)
        backend.fill(log, 6, 7)
        log.seal()
        assert problem(log.verify()) == ("removed", id)

    def test_two_entries_that_change_places(self, backend: AuditBackend) -> None:
        log = backend.filled(5)
        backend.change(SEALS, {"position": 2}, {"entry_id": 99})
        backend.change(SEALS, {"position": 3}, {"entry_id": 2})
        backend.change(SEALS, {"position": 2}, {"entry_id": 3})
        assert problem(log.verify()) == ("changed", 3)

    def test_an_inserted_entry(self, backend: AuditBackend) -> None:
        log = backend.log(batch=2)
        backend.fill(log, 1, 3)
        backend.remove(ENTRIES, {"id": 2})  # before it was sealed: an id that was never used
        backend.clock.advance(3600)
        backend.fill(log, 4, 8)
        log.seal()
        assert log.verify().ok
        backend.insert(ENTRIES, backend.row(2, created_at=NOON + timedelta(seconds=90)))
        backend.insert(ENTRIES, backend.row(50, created_at=NOON + timedelta(seconds=95)))
        head = log.seal()
        report = log.verify(head)
        assert problem(report) == ("inserted", 2)
        assert (report.checked, report.head) == (7, head)
        backend.remove(ENTRIES, {"id": 2})
        assert problem(log.verify()) == ("inserted", 50)
        backend.remove(ENTRIES, {"id": 50})
        assert log.verify(head).ok

    def test_an_entry_of_the_future(self, backend: AuditBackend) -> None:
        log = backend.filled(2, settle=100)
        later = backend.clock.now() + timedelta(seconds=100)
        backend.insert(ENTRIES, backend.row(50, created_at=later))
        assert log.seal().startswith("2:")  # else all others would seem to be old
        assert log.verify().ok
        backend.clock.advance(100)
        assert log.seal().startswith("3:")
        backend.insert(ENTRIES, backend.row(51, created_at=later + timedelta(days=1)))
        assert log.seal().startswith("3:")
        assert problem(log.verify()) == ("inserted", 51)

    def test_an_entry_that_is_committed_late(self, backend: AuditBackend) -> None:
        """It has a lesser id, and an older time, than those that are sealed."""
        log = backend.log(settle=600)
        backend.fill(log, 1, 1)
        backend.insert(ENTRIES, backend.row(50))
        log.seal()
        newest = backend.clock.now()
        backend.insert(ENTRIES, backend.row(20, created_at=newest - timedelta(seconds=600)))
        backend.insert(ENTRIES, backend.row(19, created_at=newest - timedelta(seconds=601)))
        head = log.seal()
        assert head.startswith("3:")
        assert problem(log.verify(head)) == ("inserted", 19)
        backend.remove(ENTRIES, {"id": 19})
        assert log.verify(head).ok

    def test_a_cut_tail(self, backend: AuditBackend) -> None:
        log = backend.filled(5, batch=2)
        head = log.seal()
        for id in (5, 4):
            backend.remove(SEALS, {"position": id})
            backend.remove(ENTRIES, {"id": id})
        assert log.verify().ok  # nothing in the database tells
        report = log.verify(head)
        assert problem(report) == ("cut", None)
        assert (report.checked, report.head[:2]) == (3, "3:")
        assert str(report) == (
            "3 sealed entries checked: the tail was cut: the chain does not lead to the given head"
        )
        backend.fill(log, 6, 8)
        log.seal()
        assert log.verify().ok
        assert problem(log.verify(head)) == ("cut", None)

    def test_a_tail_that_is_sealed_again(self, backend: AuditBackend) -> None:
        log = backend.filled(3)
        head = log.seal()
        backend.remove(SEALS, {"position": 3})
        backend.change(ENTRIES, {"id": 3}, {"actor": "mallory"})
        log.seal()
        assert log.verify().ok
        assert problem(log.verify(head)) == ("cut", None)

    def test_changed_seals(self, backend: AuditBackend) -> None:
        log = backend.filled(5)
        backend.change(SEALS, {"position": 3}, {"mac": "0" * 64})
        assert problem(log.verify()) == ("changed", 3)
        backend.remove(SEALS, {"position": 3})
        report = log.verify()
        assert problem(report) == ("unsealed", 4)
        assert str(report) == (
            "2 sealed entries checked: the seal before that of entry 4 was removed"
        )
        for position in range(6):
            backend.remove(SEALS, {"position": position})
        assert log.verify().ok
        backend.insert(SEALS, {"position": 1, "entry_id": 1, "mac": "0" * 64})
        assert problem(log.verify()) == ("unsealed", 1)

    def test_another_key(self, backend: AuditBackend) -> None:
        head = backend.filled(2).seal()
        other = backend.log(OTHER_KEY)
        with pytest.raises(infra.ConfigurationError, match=r"another key .*AUDIT_KEY"):
            other.seal()
        report = other.verify(head)
        assert problem(report) == ("key", None)
        assert str(report) == "0 sealed entries checked: the key is another one"
        assert backend.log(KEY.encode().decode()).verify(head).ok  # the same text
        assert infra.AuditLog(backend.database, key=KEY.encode(), clock=backend.clock).verify().ok

    def test_a_missing_key(self, backend: AuditBackend) -> None:
        log = backend.log(None)
        log.record("a", "b", "c")
        for call in (log.seal, log.verify):
            with pytest.raises(infra.ConfigurationError, match="AUDIT_KEY"):
                call()
        for key in ("k" * 31, b"k" * 31, 5, "\udcff" * 32):
            with pytest.raises(infra.ConfigurationError, match="AUDIT_KEY") as caught:
                backend.log(key)  # type: ignore[arg-type]
            assert "kkk" not in str(caught.value)
        assert KEY not in repr(backend.log()) + repr(vars(backend.log().record("a", "b", "c")))

    def test_seal_inside_a_transaction(self, backend: AuditBackend) -> None:
        log = backend.log()
        with pytest.raises(infra.ValidationError, match="outside"), backend.database.transaction():
            log.seal()
        assert log.verify() == infra.AuditReport(0, "")

    def test_several_sealers_and_writers(self, backend: AuditBackend) -> None:
        log = backend.log(batch=3)

        def work(number: int) -> object:
            for turn in range(10):
                if number < 3:
                    log.seal()
                else:
                    log.record(f"user:{number}", "a", f"s:{turn}")
            return None

        assert in_threads(5, work) == [None] * 5
        head = log.seal()
        assert head.startswith("20:")
        assert (log.verify(head).ok, log.verify().checked) == (True, 20)

    # ---- streams of events

    def test_a_stream(self, backend: AuditBackend) -> None:
        log, order = backend.log(batch=2), OrderPlaced(uuid.UUID(int=1), "***")
        assert log.append("order:1", order, 0, actor="user:7") == 1
        for version in range(1, 5):
            log.append("order:1", OrderRated(version), version)
            log.record("user:7", "seen", "order:1")
        log.append("order:2", OrderRated(9), 0)

        def fold(state: list[object], message: infra.Message) -> list[object]:
            assert message.id is not None
            assert message.at == NOON
            assert (message.channel, message.pattern) == ("order:1", None)
            return [*state, message.deserialize(OrderEvent)]

        rated = [OrderRated(version) for version in range(1, 5)]
        assert log.replay("order:1", fold, list[object]()) == [order, *rated]
        assert log.replay("order:3", fold, list[object]()) == []
        entry = log.entries()[0]
        assert (entry.actor, entry.action, entry.version) == ("user:7", "OrderEvent.Placed", 1)
        assert entry.data is not None
        assert entry.data["order_id"] == "00000000-0000-0000-0000-000000000001"
        assert log.entries(after=1, limit=1)[0].actor == ""
        assert [each.version for each in log.history("order:1")] == [
            1,
            2,
            None,
            3,
            None,
            4,
            None,
            5,
            None,
        ]

    def test_versions_that_are_not_in_the_order_of_ids(self, backend: AuditBackend) -> None:
        """As in a cluster whose nodes make odd and even ids."""
        log = backend.log(redact=None, batch=2)
        log.append("s", OrderRated(1), 0)
        data = {"type": "OrderEvent.Rated", "score": 3}
        backend.insert(ENTRIES, backend.row(30, version=3, data=data))
        backend.insert(ENTRIES, backend.row(40, version=2, data={**data, "score": 2}))
        backend.insert(ENTRIES, backend.row(20, version=4, data={**data, "score": 4}))
        assert self.scores(log) == [1, 2, 3, 4]

    def test_a_version_that_is_taken(self, backend: AuditBackend) -> None:
        log = backend.log(redact=None)
        log.append("s", OrderRated(1), 0)
        log.append("s", OrderRated(2), 1)
        for expected in (0, 1):
            with pytest.raises(infra.ConflictError) as caught:
                log.append("s", OrderRated(3), expected)
            assert caught.value.constraint == "infra_audit_subject_version_key"
            assert caught.value.kind == "unique"
        assert [entry.version for entry in log.history("s")] == [1, 2]

    def test_a_version_that_is_ahead(self, backend: AuditBackend) -> None:
        log = backend.log(redact=None)
        log.append("s", OrderRated(1), 0)
        for stream, expected in (("s", 2), ("s", 9), ("other", 1), ("S", 1)):
            with pytest.raises(infra.ConflictError, match="no such version") as caught:
                log.append(stream, OrderRated(3), expected)
            assert caught.value.constraint == "infra_audit_subject_version_gap"
        assert len(log.entries()) == 1

    def test_events_of_a_transaction(self, backend: AuditBackend) -> None:
        log = backend.log(redact=None)
        with backend.database.transaction():
            log.append("s", OrderRated(1), 0)
            log.append("s", OrderRated(2), 1)
        with pytest.raises(ZeroDivisionError), backend.database.transaction():
            log.append("s", OrderRated(3), 2)
            raise ZeroDivisionError
        assert log.append("s", OrderRated(4), 2) == 3
        assert self.scores(log) == [1, 2, 4]

    @staticmethod
    def scores(log: infra.AuditLog) -> list[int]:
        def fold(scores: list[int], message: infra.Message) -> list[int]:
            return [*scores, message.deserialize(OrderRated).score]

        return log.replay("s", fold, [])

    def test_many_threads_append(self, backend: AuditBackend) -> None:
        log = backend.log(redact=None, batch=3)

        def work(number: int) -> object:
            for _ in range(5):
                while not self.appended(log, number):
                    pass  # another was faster
            return None

        assert in_threads(4, work) == [None] * 4
        assert [entry.version for entry in log.history("s")] == [*range(1, 21)]
        assert sorted(self.scores(log)) == sorted([*range(4)] * 5)

    @staticmethod
    def appended(log: infra.AuditLog, number: int) -> bool:
        version = log.replay("s", lambda version, _: version + 1, 0)
        try:
            log.append("s", OrderRated(number), version)
        except infra.ConflictError:
            return False
        return True

    def test_a_redacted_event(self, backend: AuditBackend) -> None:
        log = backend.log()
        log.append("s", OrderPlaced(uuid.UUID(int=1), "+905321234567"), 0)
        placed = log.replay("s", lambda _, message: message.deserialize(OrderPlaced), None)
        assert placed == OrderPlaced(uuid.UUID(int=1), "***")
        with pytest.raises(infra.SerializationError, match="pin"):
            log.append("s", OrderSigned(1), 1)  # "***" is no number
        with pytest.raises(infra.SerializationError):
            backend.log(redact=lambda data: None).append("s", OrderRated(1), 1)
        assert len(log.entries()) == 1

    def test_a_fold_that_fails(self, backend: AuditBackend) -> None:
        log = backend.log(redact=None)
        log.append("s", OrderRated(1), 0)
        with pytest.raises(ZeroDivisionError):
            log.replay("s", lambda state, message: 1 // 0, 0)
        with pytest.raises(infra.SerializationError):
            log.replay("s", lambda state, message: message.deserialize(OrderPlaced), None)


def fake_backend(dialect: str) -> AuditBackend:
    database = fakes.FakeDatabase(dialect, fakes.MYSQL_TABLES)
    return AuditBackend(
        database,
        lambda table, row: database.table(table).insert(row),
        lambda table, where, changes: database.table(table).update(where, changes),
        lambda table, where: database.table(table).delete(where),
    )


def on_fake(dialect: str) -> Any:
    @pytest.fixture
    def backend(self: object) -> AuditBackend:
        return fake_backend(dialect)

    return backend


def emptied(pool: infra.ConnectionPool) -> None:
    """Empty the tables, and begin with the id 1 again."""
    for table in (ENTRIES, SEALS):
        restart = " RESTART IDENTITY" if pool.engine == "postgres" else ""
        pool.execute(f"TRUNCATE TABLE {table}{restart}")


def by_hand(pool: infra.ConnectionPool) -> AuditBackend:
    def insert(table: str, row: dict[str, Any]) -> object:
        marks = ", ".join(["%s"] * len(row))
        return pool.execute(
            f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", [*row.values()]
        )

    def condition(names: dict[str, Any]) -> str:
        (name,) = names
        return f"WHERE {name} = %s"

    def change(table: str, where: dict[str, Any], changes: dict[str, Any]) -> object:
        settings = ", ".join(f"{name} = %s" for name in changes)
        values = [*changes.values(), *where.values()]
        return pool.execute(f"UPDATE {table} SET {settings} {condition(where)}", values)

    def remove(table: str, where: dict[str, Any]) -> object:
        return pool.execute(f"DELETE FROM {table} {condition(where)}", [*where.values()])

    emptied(pool)
    return AuditBackend(pool, insert, change, remove)


def on_real(name: str) -> Any:
    @pytest.fixture
    def backend(
        self: object, database: Callable[[str], str], shared_pool: Callable[[str], Any]
    ) -> AuditBackend:
        return by_hand(shared_pool(migrated(database, name)))

    return backend


class TestFakeMySQL(AuditContract):
    backend = on_fake("mysql")


class TestFakePostgres(AuditContract):
    backend = on_fake("postgres")


class TestMariaDB(AuditContract):
    backend = on_real("mariadb")


class TestMySQL(AuditContract):
    backend = on_real("mysql")


class TestPostgres(AuditContract):
    backend = on_real("postgres")
