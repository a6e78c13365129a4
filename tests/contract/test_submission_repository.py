"""SubmissionRepository: results, who sees them, and the ranks that come of them."""

from __future__ import annotations

import enum
import math
import sys
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
    ExchangeBackend,
    on_fake_exchange,
    on_real_exchange,
    unchecked,
    violation,
)
from tests.contract.texts import Text, any_text, plain

DAWN = datetime(2026, 1, 1, tzinfo=timezone.utc)  # where a FakeClock starts
NO_DICTS: list[Any] = [[], (), "{}", 1]
NO_SCORES: list[Any] = [True, False, "1", b"1", math.nan, math.inf, -math.inf, 10**400, 1j, [1.0]]


def at(seconds: float) -> datetime:
    return DAWN + timedelta(seconds=seconds)


def numbered(number: int) -> uuid.UUID:
    return uuid.UUID(f"01890000-0000-7000-8000-{number:012}")


def a_user(backend: ExchangeBackend, username: str = "ada") -> infra.User:
    return backend.users.create(infra.User(f"{username}@example.org", username, username.title()))


def a_benchmark(backend: ExchangeBackend, slug: str = "mmlu") -> infra.Benchmark:
    user = backend.users.find_by_username("ada") or a_user(backend)
    return backend.benchmarks.create(
        infra.Benchmark(slug, "MMLU", category="accuracy", created_by=user.id)
    )


def next_version(backend: ExchangeBackend, benchmark: infra.Benchmark) -> infra.Benchmark:
    backend.benchmarks.update(benchmark)
    found = backend.benchmarks.find_by_id(benchmark.id)
    assert found is not None
    return found


def a_draft(
    benchmark: infra.Benchmark, score: Any = None, model: str = "gpt", **fields: Any
) -> infra.Submission:
    """To the benchmark's version, by who made it."""
    return infra.Submission(
        **{
            "benchmark_id": benchmark.id,
            "benchmark_version_id": benchmark.version_id,
            "model": model,
            "user_id": benchmark.created_by,
            "aggregate_score": score,
            **fields,
        }
    )


def sorted_with_none(backend: ExchangeBackend, without: list[Any], values: list[Any]) -> list[Any]:
    """The order by a field that may be None: the smallest on MySQL, the greatest on Postgres."""
    return without + values if backend.database.engine == "mysql" else values + without


def models(page: infra.Page[infra.Submission]) -> list[str]:
    return [each.model for each in page.items]


def ranks(entries: list[infra.LeaderboardEntry]) -> list[tuple[int, str]]:
    return [(each.rank, each.model) for each in entries]


class SubmissionRepositoryContract(Contract):
    port = infra.SubmissionRepository

    def test_many_submissions(self, backend: ExchangeBackend) -> None:
        benchmark = a_benchmark(backend)
        made = backend.submissions.create_many(a_draft(benchmark, model=name) for name in "abc")
        assert made == [backend.submissions.find_by_id(each.id) for each in made]
        assert [each.model for each in made] == ["a", "b", "c"]
        with pytest.raises(infra.ConfigurationError, match="has guarded fields"):
            backend.submissions.upsert(replace(made[0], model="d"))
        assert backend.submissions.count() == 3

    def test_on_a_database(self, backend: ExchangeBackend) -> None:
        """Each backend ranks in its own way: so it takes the class of the backend."""
        submissions = type(backend.submissions).on(backend.database)
        assert (type(submissions), submissions.count()) == (type(backend.submissions), 0)
        with pytest.raises(infra.ConfigurationError, match="on has no _ranked"):
            infra.SubmissionRepository.on(backend.database)

    @pytest.mark.parametrize("column", ["verification_level", "visibility"])
    def test_the_database_checks_texts_itself(self, backend: ExchangeBackend, column: str) -> None:
        draft = a_draft(a_benchmark(backend), **{column: "secret"})
        assert violation(lambda: unchecked(backend.submissions).create(draft)) == (
            f"submissions_{column}_check",
            "check",
        )
        assert backend.submissions.count() == 0

    def test_others_see_what_is_committed(self, backend: ExchangeBackend) -> None:
        """Scores, and the names that the leaderboard takes from other tables."""
        submissions, benchmark = backend.submissions, a_benchmark(backend)
        user = backend.users.find_by_username("ada")
        assert user is not None
        acme = backend.organizations.create(infra.Organization("Acme", "acme"), user.id)
        first = submissions.create(a_draft(benchmark, 0.5, organization_id=acme.id))

        def board() -> list[tuple[Any, ...]]:
            return [
                (each.model, each.aggregate_score, each.display_name, each.organization_name)
                for each in submissions.leaderboard(benchmark.id)
            ]

        def others() -> Any:
            return in_threads(1, lambda _: (board(), submissions.count()))[0]

        before = ([("gpt", 0.5, "Ada", "Acme")], 1)
        with backend.database.transaction():
            for score in (0.6, 0.7):
                submissions.update(replace(first, aggregate_score=score))
                assert others() == before
            submissions.create(a_draft(benchmark, 0.9, "new"))
            backend.users.update(replace(user, display_name="Lovelace"))
            backend.organizations.update(replace(acme, name="Emca"))
            assert others() == before
            mine = [("new", 0.9, "Lovelace", None), ("gpt", 0.7, "Lovelace", "Emca")]
            assert board() == mine
        assert others() == (mine, 2)

    def test_create(self, backend: ExchangeBackend) -> None:
        submissions, benchmark = backend.submissions, a_benchmark(backend)
        made = submissions.create(
            infra.Submission(
                benchmark.id, benchmark.version_id, "gpt-5 (mini)", benchmark.created_by
            )
        )
        assert (made.benchmark_id, made.benchmark_version_id) == (
            benchmark.id,
            benchmark.version_id,
        )
        assert (made.model, made.user_id, made.organization_id) == (
            "gpt-5 (mini)",
            benchmark.created_by,
            None,
        )
        assert (made.aggregate_score, made.results, made.execution) == (None, {}, {})
        assert (made.verification_level, made.verified_at, made.verification) == (
            "unverified",
            None,
            None,
        )
        assert (made.visibility, made.created_at, made.updated_at) == ("public", DAWN, DAWN)
        assert made.id.version == 7
        assert submissions.find_by_id(made.id) == made
        assert (submissions.get(made.id), submissions.exists(made.id)) == (made, True)
        with backend.database.transaction():
            assert submissions.get(made.id, lock=True) == made
        assert repr(submissions.find_by_id(made.id)) == repr(made)  # of the same types, too
        assert submissions.find_by_id(numbered(1)) is None
        assert submissions.count() == 1

    def test_create_keeps_what_is_given(self, backend: ExchangeBackend) -> None:
        submissions, benchmark, somebody = (
            backend.submissions,
            a_benchmark(backend),
            a_user(backend, "bob"),
        )
        organization = backend.organizations.create(infra.Organization("Lab", "lab"), somebody.id)
        created = datetime(2020, 2, 29, 23, 59, 59, 999999, tzinfo=timezone(timedelta(hours=-3)))
        given = infra.Submission(
            benchmark.id, benchmark.version_id, "😀" * 200, somebody.id, organization.id, 0.875,
            {"a": [1, 2.0]}, {"gpu": "H100"}, "audited", at(-5), {"by": "eve"}, "unlisted",
            numbered(1), created, at(-1),
        )  # fmt: skip
        stored = submissions.create(given)
        assert stored == given
        assert stored.created_at.tzinfo is timezone.utc
        assert repr(submissions.find_by_id(numbered(1))) == repr(stored)
        with pytest.raises(infra.ConflictError) as caught:
            submissions.create(replace(given, model="other"))
        assert (caught.value.constraint, caught.value.kind) == ("submissions_pkey", "unique")
        assert submissions.page().items == [given]

    @pytest.mark.parametrize(
        ("given", "stored"),
        [
            (None, "None"),
            (1, "1.0"),
            (0, "0.0"),
            (-0.0, "0.0"),  # one zero, on every server
            (-17, "-17.0"),
            (0.1 + 0.2, "0.30000000000000004"),
            (0.3, "0.3"),
            (1 / 3, "0.3333333333333333"),
            (2**53 + 1, "9007199254740992.0"),  # the nearest that there is
            (1e16, "1e+16"),
            (5e-324, "5e-324"),
            (-5e-324, "-5e-324"),
            (2.2250738585072014e-308, "2.2250738585072014e-308"),
            (sys.float_info.max, "1.7976931348623157e+308"),
            (-sys.float_info.max, "-1.7976931348623157e+308"),
        ],
        ids=str,
    )
    def test_scores(self, backend: ExchangeBackend, given: Any, stored: str) -> None:
        submissions, benchmark = backend.submissions, a_benchmark(backend)
        made = submissions.create(a_draft(benchmark, given))
        assert repr(made.aggregate_score) == stored
        assert submissions.find_by_id(made.id) == made
        assert repr(submissions.find_by_id(made.id)) == repr(made)
        assert [repr(each.aggregate_score) for each in submissions.leaderboard(benchmark.id)] == (
            [] if given is None else [stored]
        )
        assert (
            repr(submissions.update(replace(made, aggregate_score=given)).aggregate_score) == stored
        )

    @pytest.mark.parametrize(
        "changes",
        [
            *[{"aggregate_score": score} for score in NO_SCORES],
            *[
                {"model": model}
                for model in ("", " gpt", "gpt\n", "x" * 201, "nul\0", "\ud800", None, 5)
            ],
            *[{"verification_level": level} for level in ("", "trusted", "Audited", None)],
            *[
                {"visibility": visibility}
                for visibility in ("", "hidden", "Public", "public ", None)
            ],
            *[{"results": value} for value in [*NO_DICTS, None]],
            *[{"execution": value} for value in [*NO_DICTS, None]],
            *[{"verification": value} for value in NO_DICTS],
            {"benchmark_id": None},
            {"benchmark_version_id": "1.0.0"},
            {"user_id": None},
            {"user_id": "01890000-0000-7000-8000-000000000001"},
            {"organization_id": "lab"},
            {"id": "01890000-0000-7000-8000-000000000001"},
            {"verified_at": datetime(2026, 1, 1)},
            {"created_at": 0},
        ],
        ids=lambda changes: str(changes)[:40].encode("ascii", "backslashreplace").decode(),
    )
    def test_bad_values_are_refused_before_anything_is_sent(
        self, backend: ExchangeBackend, changes: dict[str, Any]
    ) -> None:
        submissions, benchmark = backend.submissions, a_benchmark(backend)
        made = submissions.create(a_draft(benchmark, 1))
        with pytest.raises(infra.ValidationError):
            submissions.create(a_draft(benchmark, **{"score": 2, **changes}))
        with pytest.raises(infra.ValidationError):
            submissions.update(replace(made, **changes))
        assert submissions.page().items == [made]

    def test_what_it_refers_to_is_there(self, backend: ExchangeBackend) -> None:
        submissions, benchmark, other = (
            backend.submissions,
            a_benchmark(backend),
            a_benchmark(backend, "other"),
        )
        made = submissions.create(a_draft(benchmark))
        version, nobody = "submissions_benchmark_version_id_fkey", "submissions_user_id_fkey"
        broken: list[tuple[dict[str, Any], str]] = [
            ({"benchmark_version_id": numbered(1)}, version),
            ({"benchmark_version_id": benchmark.id}, version),
            ({"benchmark_version_id": other.version_id}, version),  # of another benchmark
            ({"benchmark_id": other.id}, version),
            ({"benchmark_id": numbered(1)}, version),
            ({"user_id": numbered(1)}, nobody),
            ({"user_id": benchmark.id}, nobody),
            ({"organization_id": benchmark.created_by}, "submissions_organization_id_fkey"),
        ]
        for changes, constraint in broken:
            calls: dict[str, Callable[[], Any]] = {
                "create": lambda: submissions.create(replace(made, id=infra.FILLED, **changes)),
                "update": lambda: submissions.update(replace(made, **changes)),
            }
            for operation, call in calls.items():
                with pytest.raises(infra.ConflictError) as caught:
                    call()
                error = caught.value
                assert (error.constraint, error.kind) == (constraint, "foreign_key"), changes
                assert (error.service, error.operation, error.retryable) == (
                    backend.database.engine,
                    operation,
                    False,
                )
        assert submissions.page().items == [made]

    def test_a_model_submits_as_often_as_it_likes(self, backend: ExchangeBackend) -> None:
        submissions, benchmark = backend.submissions, a_benchmark(backend)
        made = [submissions.create(a_draft(benchmark, 1)) for _ in range(3)]
        assert len({each.id for each in made}) == submissions.count() == 3

    @pytest.mark.parametrize("id", ["01890000-0000-7000-8000-000000000001", None, 5])
    def test_an_id_is_a_uuid(self, backend: ExchangeBackend, id: Any) -> None:
        submissions = backend.submissions
        calls: list[Callable[[Any], Any]] = [
            submissions.find_by_id,
            submissions.delete,
            submissions.find_for_benchmark,
            submissions.find_by_user,
            submissions.leaderboard,
            lambda bad: submissions.update_verification(bad, "audited"),
            lambda bad: submissions.update_visibility(bad, "private"),
            lambda bad: submissions.find_best_for_model(bad, "gpt"),
            lambda bad: submissions.exists_for_model_version("gpt", bad),
        ]
        if id is not None:  # of all versions
            calls += [
                lambda bad: submissions.leaderboard(numbered(1), bad),
                lambda bad: submissions.find_best_for_model(numbered(1), "gpt", bad),
            ]
        for call in calls:
            with pytest.raises(infra.ValidationError):
                call(id)

    @pytest.mark.parametrize("model", ["", " ", "gpt ", "x" * 201, "nul\0", None, 5])
    def test_a_bad_model(self, backend: ExchangeBackend, model: Any) -> None:
        submissions = backend.submissions
        for call in (
            lambda: submissions.find_best_for_model(numbered(1), model),
            lambda: submissions.exists_for_model_version(model, numbered(1)),
        ):
            with pytest.raises(infra.ValidationError):
                call()

    # --- documents

    @pytest.mark.parametrize(
        "value",
        [
            {},
            {"b": None, "a": [True, False, 1, 1.0, "1", [], {}], "": {"": ""}},
            {"é 日本 😀": "\u2028 \" ' \\ / \n\t % %s %% {} \\u0000 \x7f"},
            {"n": [10**30, -(2**63), 0.1 + 0.2, 5e-324, -0.0, 1e16]},
        ],
        ids=lambda value: str(value)[:20].encode("ascii", "replace").decode(),
    )
    def test_documents_come_back_as_they_were(
        self, backend: ExchangeBackend, value: dict[str, Any]
    ) -> None:
        submissions, benchmark = backend.submissions, a_benchmark(backend)
        made = submissions.create(
            a_draft(benchmark, results=value, execution={"in": value}, verification=value)
        )
        # 1 is not 1.0, nor True, and keys have an order.
        wanted = (
            repr(value),
            repr({"in": value}),
            repr(value),
        )
        for found in (made, submissions.find_by_id(made.id), *submissions.page().items):
            assert found is not None
            assert (repr(found.results), repr(found.execution), repr(found.verification)) == wanted
        submissions.update_verification(made.id, "audited", {"again": value})
        found = submissions.find_by_id(made.id)
        assert found is not None
        assert repr(found.verification) == repr({"again": value})

    def test_documents_are_copies(self, backend: ExchangeBackend) -> None:
        submissions, benchmark, given = backend.submissions, a_benchmark(backend), {"a": [1]}
        made = submissions.create(
            a_draft(benchmark, 1, results=given, execution=given, verification=given)
        )
        given["a"].append(2)
        made.results["a"].append(3)
        for _ in range(2):
            best = submissions.find_best_for_model(benchmark.id, "gpt")
            for each in (submissions.find_by_id(made.id), best, *submissions.page().items):
                assert each is not None
                assert each.results == each.execution == each.verification == {"a": [1]}
                each.results["a"].append(4)
        changed = {"a": [5]}
        submissions.update_verification(made.id, "audited", changed)
        changed["a"].append(6)
        assert submissions.page().items[0].verification == {"a": [5]}

    @pytest.mark.parametrize(
        ("value", "error"),
        [
            (math.nan, infra.SerializationError),
            ((1, 2), infra.SerializationError),
            ({1: "int key"}, infra.SerializationError),
            (DAWN, infra.SerializationError),
            ("nul \0", infra.ValidationError),
            ("\ud800", infra.ValidationError),
        ],
        ids=lambda value: str(value)[:20].encode("ascii", "backslashreplace").decode(),
    )
    @pytest.mark.parametrize("field", ["results", "execution", "verification"])
    def test_what_is_no_document(
        self,
        backend: ExchangeBackend,
        field: str,
        value: Any,
        error: type[infra.InfrastructureError],
    ) -> None:
        submissions, benchmark = backend.submissions, a_benchmark(backend)
        made = submissions.create(a_draft(benchmark))
        document: Any = {"key": value}
        calls: list[Callable[[], Any]] = [
            lambda: submissions.create(a_draft(benchmark, **{field: document})),
            lambda: submissions.update(replace(made, **{field: document})),
            lambda: submissions.update_verification(made.id, "audited", document),
        ]
        for call in calls:
            with pytest.raises(error) as caught:
                call()
            assert type(caught.value) is error
        assert submissions.page().items == [made]

    # --- changes

    def test_update(self, backend: ExchangeBackend) -> None:
        submissions, benchmark, somebody = (
            backend.submissions,
            a_benchmark(backend),
            a_user(backend, "bob"),
        )
        organization = backend.organizations.create(infra.Organization("Lab", "lab"), somebody.id)
        elsewhere = a_benchmark(backend, "elsewhere")
        made, other = (
            submissions.create(a_draft(benchmark, 1)),
            submissions.create(a_draft(benchmark, 2)),
        )
        backend.advance(60)
        edited = replace(
            made, benchmark_id=elsewhere.id, benchmark_version_id=elsewhere.version_id, model="new",
            user_id=somebody.id, organization_id=organization.id, aggregate_score=0.5,
            results={"a": 1}, execution={"b": 2}, created_at=at(-1),
        )  # fmt: skip
        changed = submissions.update(replace(edited, updated_at=at(999)))
        assert changed == replace(edited, updated_at=at(60))
        assert repr(submissions.find_by_id(made.id)) == repr(changed)
        assert submissions.find_by_id(other.id) == other
        assert submissions.update(changed) == changed
        back = submissions.update(replace(made, aggregate_score=None))
        assert back == replace(made, aggregate_score=None, updated_at=at(60))
        assert submissions.find_by_id(made.id) == back

    def test_update_takes_back_nothing_of_what_others_have_changed(
        self, backend: ExchangeBackend
    ) -> None:
        submissions, benchmark = backend.submissions, a_benchmark(backend)
        made = submissions.create(a_draft(benchmark, verification={"by": "nobody"}))

        def late(record: infra.Submission) -> None:
            with pytest.raises(infra.ConflictError) as caught:
                submissions.update(record)
            assert (caught.value.constraint, caught.value.operation) == (
                "submissions_as_read",
                "update",
            )

        submissions.update_verification(made.id, "audited", {"by": "eve"})
        late(replace(made, results={"a": 1}))
        submissions.update_verification(made.id, "unverified", {"by": "eve"})
        submissions.update_visibility(made.id, "private")
        late(replace(made, results={"a": 1}))
        submissions.update_visibility(made.id, "public")
        edited = submissions.update(replace(made, results={"a": 1}))
        stored = replace(made, results={"a": 1}, verification={"by": "eve"})
        assert (
            submissions.find_by_id(made.id) == stored == replace(edited, verification={"by": "eve"})
        )
        for change in (
            {"verification_level": "audited"},
            {"verified_at": at(0)},
            {"visibility": "unlisted"},
        ):
            late(replace(stored, **change))
        assert submissions.find_by_id(made.id) == stored

    def test_update_of_nothing(self, backend: ExchangeBackend) -> None:
        submissions, benchmark = backend.submissions, a_benchmark(backend)
        made = submissions.create(a_draft(benchmark))
        calls: dict[str, Callable[[], Any]] = {
            "update": lambda: submissions.update(replace(made, id=numbered(1))),
            "update_verification": lambda: submissions.update_verification(
                numbered(1), "audited", {}
            ),
            "update_visibility": lambda: submissions.update_visibility(numbered(1), "private"),
        }
        for operation, call in calls.items():
            with pytest.raises(infra.NotFoundError) as caught:
                call()
            assert (caught.value.resource, caught.value.operation) == ("submission", operation)
        with pytest.raises(infra.ValidationError):
            submissions.update(replace(made, id=infra.FILLED))
        assert submissions.page().items == [made]

    def test_update_verification(self, backend: ExchangeBackend) -> None:
        submissions, benchmark = backend.submissions, a_benchmark(backend)
        made, other = (
            submissions.create(a_draft(benchmark, 1)),
            submissions.create(a_draft(benchmark, 2)),
        )
        for seconds, level, verification in (
            (10, "community_verified", {"by": ["eve"]}),
            (20, "platform_verified", {}),
            (30, "audited", None),
            (40, "audited", {"report": "…"}),
        ):
            backend.advance(10)
            submissions.update_verification(made.id, level, verification)
            assert submissions.find_by_id(made.id) == replace(
                made,
                verification_level=level,
                verified_at=at(seconds),
                verification=verification,
                updated_at=at(seconds),
            )
        backend.advance(10)
        submissions.update_verification(made.id, "unverified", {"withdrawn": True})
        assert submissions.find_by_id(made.id) == replace(
            made, verification={"withdrawn": True}, updated_at=at(50)
        )
        submissions.update_verification(made.id, "unverified")
        assert submissions.find_by_id(made.id) == replace(made, updated_at=at(50))
        assert submissions.find_by_id(other.id) == other

    @pytest.mark.parametrize(
        ("level", "verification"),
        [
            *[
                (level, {})
                for level in ("", "trusted", "Audited", "audited ", "audited\0", None, 5)
            ],
            *[("audited", value) for value in NO_DICTS],
        ],
        ids=str,
    )
    def test_a_bad_verification(
        self, backend: ExchangeBackend, level: Any, verification: Any
    ) -> None:
        submissions, benchmark = backend.submissions, a_benchmark(backend)
        made = submissions.create(a_draft(benchmark))
        for id in (made.id, numbered(1)):
            with pytest.raises(infra.ValidationError):
                submissions.update_verification(id, level, verification)
        assert submissions.page().items == [made]

    def test_update_visibility(self, backend: ExchangeBackend) -> None:
        submissions, benchmark = backend.submissions, a_benchmark(backend)
        made, other = (
            submissions.create(a_draft(benchmark, 1)),
            submissions.create(a_draft(benchmark, 2)),
        )
        for number, visibility in enumerate(("private", "unlisted", "public", "public"), 1):
            backend.advance(1)
            submissions.update_visibility(made.id, visibility)
            assert submissions.find_by_id(made.id) == replace(
                made, visibility=visibility, updated_at=at(number)
            )
        assert submissions.find_by_id(other.id) == other
        for bad in ("", "hidden", "Public", "public\0", None, 5):
            for id in (made.id, numbered(1)):
                with pytest.raises(infra.ValidationError):
                    submissions.update_visibility(id, bad)  # type: ignore[arg-type]
        assert submissions.find_by_id(made.id) == replace(made, updated_at=at(4))

    def test_a_useless_argument_changes_nothing(self, backend: ExchangeBackend) -> None:
        submissions, benchmark = backend.submissions, a_benchmark(backend)
        made = submissions.create(a_draft(benchmark, 1))
        for method, *arguments in (
            (submissions.create, a_draft(benchmark, 2)), (submissions.update, made),
            (submissions.update_verification, made.id, "audited", {"a": 1}),
            (submissions.update_visibility, made.id, "private"),
            (submissions.leaderboard, benchmark.id, benchmark.version_id, 5),
            (submissions.find_best_for_model, benchmark.id, "gpt", benchmark.version_id),
            (submissions.find_by_user, made.user_id, infra.Query()),
        ):  # fmt: skip
            refusals.check(method, arguments, lambda: submissions.page().items)

    @any_text
    def test_text_of_any_subclass(self, backend: ExchangeBackend, text: Text) -> None:
        submissions, benchmark = backend.submissions, a_benchmark(backend)
        draft = a_draft(benchmark, 1, text("é"), visibility=text("public"))
        made = plain(submissions.create(draft))
        assert (made.model, made.visibility) == ("é", "public")
        assert plain(submissions.find_by_id(made.id)) == made
        assert plain(submissions.find_best_for_model(benchmark.id, text("é"))) == made
        assert submissions.exists_for_model_version(text("é"), benchmark.version_id) is True
        query = infra.Query(sort=text("updated_at"), filters={text("model"): text("é")})
        found = submissions.find_for_benchmark(benchmark.id, query, visibility=text("public"))
        assert plain(found.items) == submissions.find_by_user(made.user_id, query).items == [made]
        submissions.update_verification(made.id, text("audited"), {text("by"): text("é")})
        submissions.update_visibility(made.id, text("private"))
        changed = plain(submissions.find_by_id(made.id))
        assert (changed.verification_level, changed.verification) == ("audited", {"by": "é"})
        assert changed.visibility == "private"
        assert changed.verified_at == at(0)
        submissions.update_verification(made.id, text("unverified"))
        assert plain(submissions.find_by_id(made.id)).verified_at is None

    def test_texts_may_be_members_of_an_enumeration(self, backend: ExchangeBackend) -> None:
        class Word(str, enum.Enum):
            UNVERIFIED = "unverified"
            PRIVATE = "private"
            GPT = "gpt"
            SCORE = "aggregate_score"

        submissions, benchmark = backend.submissions, a_benchmark(backend)
        made = submissions.create(a_draft(benchmark, 1, model=Word.GPT, visibility=Word.PRIVATE))
        assert (type(made.model), type(made.visibility)) == (str, str)
        submissions.update_verification(made.id, Word.UNVERIFIED)
        assert submissions.exists_for_model_version(Word.GPT, benchmark.version_id) is True
        query = infra.Query(sort=Word.SCORE, filters={"model": Word.GPT})
        assert submissions.find_for_benchmark(
            benchmark.id, query, visibility=Word.PRIVATE
        ).items == [made]

    # --- lists

    def test_find_for_benchmark(self, backend: ExchangeBackend) -> None:
        submissions, benchmark, other = (
            backend.submissions,
            a_benchmark(backend),
            a_benchmark(backend, "other"),
        )
        made = {}
        for number, (model, visibility) in enumerate(
            [
                ("a", "public"),
                ("b", "private"),
                ("c", "unlisted"),
                ("d", "public"),
                ("e", "private"),
            ]
        ):
            made[model] = submissions.create(
                a_draft(benchmark, -number, model, visibility=visibility)
            )
            submissions.create(a_draft(other, number, f"other {model}", visibility=visibility))
            backend.advance(1)
        find = submissions.find_for_benchmark
        assert find(benchmark.id) == infra.Page([made["a"], made["d"]], 1, 50, None)
        assert models(submissions.find_for_benchmark(benchmark.id, visibility="private")) == [
            "b",
            "e",
        ]
        assert models(find(benchmark.id, visibility="unlisted")) == ["c"]
        assert models(find(benchmark.id, visibility=None)) == ["a", "b", "c", "d", "e"]
        query = infra.Query(per_page=2, page=2, descending=True, with_total=True)
        assert find(benchmark.id, query, visibility=None) == infra.Page(
            [made["c"], made["b"]], 2, 2, 5
        )
        assert find(benchmark.id, query) == infra.Page([], 2, 2, 2)
        assert models(find(benchmark.id, infra.Query(sort="aggregate_score"))) == ["d", "a"]
        assert models(find(benchmark.id, infra.Query(filters={"model": "b"}), visibility=None)) == [
            "b"
        ]
        assert models(
            find(benchmark.id, infra.Query(filters={"visibility": "private"}), visibility=None)
        ) == ["b", "e"]
        assert find(numbered(1), infra.Query(with_total=True), visibility=None) == infra.Page(
            [], 1, 50, 0
        )
        calls: list[Callable[[], Any]] = [
            lambda: find(benchmark.id, visibility="hidden"),
            lambda: find(benchmark.id, visibility=""),
            # Which of the two?
            lambda: find(benchmark.id, infra.Query(filters={"visibility": "private"})),
            lambda: find(
                benchmark.id, infra.Query(filters={"benchmark_id": other.id}), visibility=None
            ),
        ]
        for call in calls:
            with pytest.raises(infra.ValidationError):
                call()

    def test_find_by_user(self, backend: ExchangeBackend) -> None:
        submissions, benchmark, other = (
            backend.submissions,
            a_benchmark(backend),
            a_benchmark(backend, "other"),
        )
        somebody = a_user(backend, "bob")
        for model, visibility in (("a", "public"), ("b", "private"), ("c", "unlisted")):
            submissions.create(a_draft(benchmark, None, model, visibility=visibility))
            submissions.create(a_draft(other, None, f"{model} by bob", user_id=somebody.id))
            backend.advance(1)
        assert models(submissions.find_by_user(benchmark.created_by)) == ["a", "b", "c"]
        page = submissions.find_by_user(
            somebody.id, infra.Query(per_page=2, descending=True, with_total=True)
        )
        assert (models(page), page.total) == (["c by bob", "b by bob"], 3)
        private = infra.Query(filters={"visibility": "private"})
        assert models(submissions.find_by_user(benchmark.created_by, private)) == ["b"]
        assert submissions.find_by_user(numbered(1)) == infra.Page([], 1, 50, None)
        with pytest.raises(infra.ValidationError):
            submissions.find_by_user(
                somebody.id, infra.Query(filters={"user_id": benchmark.created_by})
            )

    def test_page(self, backend: ExchangeBackend) -> None:
        submissions, benchmark, other = (
            backend.submissions,
            a_benchmark(backend),
            a_benchmark(backend, "other"),
        )
        somebody = a_user(backend, "bob")
        organization = backend.organizations.create(infra.Organization("Lab", "lab"), somebody.id)
        assert submissions.page() == infra.Page([], 1, 50, None)
        assert submissions.count() == 0
        drafts = [
            a_draft(benchmark, 2, "a"),
            a_draft(benchmark, None, "b", organization_id=organization.id),
            a_draft(other, -1.5, "a", visibility="private"),
            a_draft(other, None, "A", user_id=somebody.id),
            a_draft(benchmark, 0, "%", verification_level="audited", visibility="unlisted"),
        ]
        made = []
        for draft in drafts:
            made.append(submissions.create(draft))
            backend.advance(1)
        assert submissions.count() == 5
        assert submissions.page() == infra.Page(made, 1, 50, None)
        assert submissions.page(infra.Query(per_page=2, with_total=True)) == infra.Page(
            made[:2], 1, 2, 5
        )
        assert submissions.page(infra.Query(page=3, per_page=2)) == infra.Page(made[4:], 3, 2, None)
        assert submissions.page(infra.Query(page=4, per_page=2, with_total=True)) == infra.Page(
            [], 4, 2, 5
        )
        assert submissions.page(infra.Query(descending=True)).items == made[::-1]
        unranked, ranked = [made[1], made[3]], [made[2], made[4], made[0]]
        by_score = sorted_with_none(backend, unranked, ranked)
        assert submissions.page(infra.Query(sort="aggregate_score")).items == by_score
        assert (
            submissions.page(infra.Query(sort="aggregate_score", descending=True)).items
            == by_score[::-1]
        )
        changed = submissions.update(made[1])
        by_change = [made[0], *made[2:], changed]
        assert submissions.page(infra.Query(sort="updated_at")).items == by_change
        assert (
            submissions.page(infra.Query(sort="updated_at", descending=True)).items
            == by_change[::-1]
        )
        for filters, found in (
            ({"benchmark_id": benchmark.id}, ["a", "b", "%"]),
            ({"benchmark_version_id": other.version_id}, ["a", "A"]),
            ({"model": "a"}, ["a", "a"]),
            ({"model": "%"}, ["%"]),
            ({"user_id": somebody.id}, ["A"]),
            ({"organization_id": organization.id}, ["b"]),
            ({"organization_id": None}, ["a", "a", "A", "%"]),
            ({"verification_level": "audited"}, ["%"]),
            ({"visibility": "private"}, ["a"]),
            ({"model": "a", "visibility": "public", "organization_id": None}, ["a"]),
            ({"model": "a", "user_id": somebody.id}, []),
        ):
            page = submissions.page(infra.Query(filters=filters, with_total=True))
            assert (models(page), page.total) == (found, len(found)), filters

    def test_equal_sort_values_are_in_the_order_of_ids(self, backend: ExchangeBackend) -> None:
        submissions, benchmark = backend.submissions, a_benchmark(backend)
        for number in (3, 1, 5, 2, 4):
            submissions.create(
                a_draft(benchmark, None if number > 3 else 7, f"m{number}", id=numbered(number))
            )
        by_id = ["m1", "m2", "m3", "m4", "m5"]
        by_score = sorted_with_none(backend, ["m4", "m5"], ["m1", "m2", "m3"])
        for sort, order in (
            ("created_at", by_id),
            ("updated_at", by_id),
            ("aggregate_score", by_score),
            ("", by_id),
        ):
            query = infra.Query(sort=sort)
            assert models(submissions.page(query)) == order
            backwards = replace(query, descending=True, per_page=2, page=2)
            assert models(submissions.page(backwards)) == order[1:3][::-1]
            found = submissions.find_for_benchmark(benchmark.id, backwards)
            assert models(found) == order[1:3][::-1]

    @pytest.mark.parametrize(
        "query",
        [
            {"page": 0},
            {"page": True},
            {"per_page": 0},
            {"per_page": 1001},
            {"sort": "model"},
            {"sort": "aggregate_score DESC"},
            {"filters": {"aggregate_score": 1.0}},
            {"filters": {"results": {}}},
            {"filters": {"visibility": None}},
            {"filters": {"verification_level": "trusted"}},
            {"filters": {"organization_id": "lab"}},
            {"descending": None},
        ],
        ids=str,
    )
    def test_a_bad_query(self, backend: ExchangeBackend, query: dict[str, Any]) -> None:
        submissions, bad = backend.submissions, infra.Query(**query)
        calls: list[Callable[[], Any]] = [
            lambda: submissions.page(bad),
            lambda: submissions.find_by_user(numbered(1), bad),
            lambda: submissions.find_for_benchmark(numbered(1), bad, visibility=None),
        ]
        for call in calls:
            with pytest.raises(infra.ValidationError):
                call()

    # --- one model

    def test_find_best_for_model(self, backend: ExchangeBackend) -> None:
        submissions, first, other = (
            backend.submissions,
            a_benchmark(backend),
            a_benchmark(backend, "other"),
        )
        second = next_version(backend, first)
        assert submissions.find_best_for_model(first.id, "gpt") is None
        submissions.create(a_draft(first, None))
        assert submissions.find_best_for_model(first.id, "gpt") is None
        low = submissions.create(a_draft(first, -3.5))
        assert submissions.find_best_for_model(first.id, "gpt") == low  # below zero is a score, too
        best = submissions.create(a_draft(first, 0.75))
        newer = submissions.create(a_draft(second, 0.5))
        submissions.create(a_draft(first, 0.9, visibility="private"))
        submissions.create(a_draft(second, 0.9, visibility="unlisted"))
        submissions.create(a_draft(first, 0.9, "GPT"))
        submissions.create(a_draft(first, 0.9, "gpt-2"))
        elsewhere = submissions.create(a_draft(other, 0.95))
        assert submissions.find_best_for_model(first.id, "gpt") == best
        assert repr(submissions.find_best_for_model(first.id, "gpt")) == repr(best)
        assert submissions.find_best_for_model(first.id, "gpt", first.version_id) == best
        assert submissions.find_best_for_model(first.id, "gpt", second.version_id) == newer
        assert submissions.find_best_for_model(other.id, "gpt") == elsewhere
        assert submissions.find_best_for_model(first.id, "gpt", other.version_id) is None
        assert submissions.find_best_for_model(numbered(1), "gpt") is None
        assert submissions.find_best_for_model(first.id, "gp%") is None
        submissions.update_visibility(best.id, "private")
        assert submissions.find_best_for_model(first.id, "gpt") == newer

    def test_of_equally_good_ones_the_earlier_is_the_best(self, backend: ExchangeBackend) -> None:
        submissions, benchmark = backend.submissions, a_benchmark(backend)
        for number, seconds in ((4, 9), (3, 5), (1, 7), (2, 5)):
            submissions.create(a_draft(benchmark, 1, id=numbered(number), created_at=at(seconds)))
        for number in (2, 3, 1, 4):
            best = submissions.find_best_for_model(benchmark.id, "gpt")
            assert best is not None
            assert best.id == numbered(number)
            submissions.delete(best.id)

    def test_exists_for_model_version(self, backend: ExchangeBackend) -> None:
        submissions, first, other = (
            backend.submissions,
            a_benchmark(backend),
            a_benchmark(backend, "other"),
        )
        second = next_version(backend, first)
        for model, visibility in (("a", "public"), ("b", "private"), ("c", "unlisted")):
            submissions.create(a_draft(first, None, model, visibility=visibility))
        for model in ("a", "b", "c"):
            assert submissions.exists_for_model_version(model, first.version_id) is True
            for version_id in (second.version_id, other.version_id, first.id, numbered(1)):
                assert submissions.exists_for_model_version(model, version_id) is False
        for model in ("A", "d", "%", "_"):
            assert submissions.exists_for_model_version(model, first.version_id) is False

    # --- leaderboard

    def test_leaderboard(self, backend: ExchangeBackend) -> None:
        submissions, benchmark, bob = (
            backend.submissions,
            a_benchmark(backend),
            a_user(backend, "bob"),
        )
        organization = backend.organizations.create(infra.Organization("The Lab", "lab"), bob.id)
        low = submissions.create(a_draft(benchmark, 0.5, "low"))
        backend.advance(1)
        high = submissions.create(
            a_draft(
                benchmark,
                0.75,
                "high",
                user_id=bob.id,
                organization_id=organization.id,
                verification_level="audited",
                results={"not": "here"},
            )
        )
        wanted = [
            infra.LeaderboardEntry(
                rank=1,
                submission_id=high.id,
                benchmark_version_id=benchmark.version_id,
                model="high",
                aggregate_score=0.75,
                verification_level="audited",
                created_at=at(1),
                user_id=bob.id,
                username="bob",
                display_name="Bob",
                organization_id=organization.id,
                organization_name="The Lab",
            ),
            infra.LeaderboardEntry(
                rank=2,
                submission_id=low.id,
                benchmark_version_id=benchmark.version_id,
                model="low",
                aggregate_score=0.5,
                verification_level="unverified",
                created_at=DAWN,
                user_id=benchmark.created_by,
                username="ada",
                display_name="Ada",
                organization_id=None,
                organization_name=None,
            ),
        ]
        assert submissions.leaderboard(benchmark.id) == wanted
        assert repr(submissions.leaderboard(benchmark.id, benchmark.version_id)) == repr(wanted)
        backend.users.update(replace(bob, username="robert", display_name="Robert"))
        backend.organizations.update(replace(organization, name="The Labs"))
        (entry, _) = submissions.leaderboard(benchmark.id)
        names = (entry.username, entry.display_name, entry.organization_name)
        assert names == ("robert", "Robert", "The Labs")

    def test_equal_scores_share_a_rank(self, backend: ExchangeBackend) -> None:
        submissions, benchmark = backend.submissions, a_benchmark(backend)
        # In the order of submission; ids and times go their own ways.
        for (
            number,
            score,
            seconds,
        ) in (
            (7, 1, 1),
            (3, 5, 4),
            (5, 5, 3),
            (6, 9, 9),
            (4, 5, 3),
            (2, 1, 1),
            (1, 0, 0),
        ):
            submissions.create(
                a_draft(benchmark, score, f"m{number}", id=numbered(number), created_at=at(seconds))
            )
        wanted = [(1, "m6"), (2, "m4"), (2, "m5"), (2, "m3"), (5, "m2"), (5, "m7"), (7, "m1")]
        for version_id in (None, benchmark.version_id):
            assert ranks(submissions.leaderboard(benchmark.id, version_id)) == wanted
            for limit in (1, 2, 3, 4, 7, 1000):
                assert (
                    ranks(submissions.leaderboard(benchmark.id, version_id, limit))
                    == wanted[:limit]
                )

    def test_two_best(self, backend: ExchangeBackend) -> None:
        submissions, benchmark = backend.submissions, a_benchmark(backend)
        for model, score in (("a", 2.5), ("b", 1), ("c", 2), ("d", 2)):
            submissions.create(a_draft(benchmark, score, model))
            backend.advance(1)
        assert ranks(submissions.leaderboard(benchmark.id)) == [
            (1, "a"),
            (2, "c"),
            (2, "d"),
            (4, "b"),
        ]
        submissions.create(a_draft(benchmark, 2.5, "e"))
        assert ranks(submissions.leaderboard(benchmark.id, limit=3)) == [
            (1, "a"),
            (1, "e"),
            (3, "c"),
        ]

    def test_scores_are_compared_as_they_are(self, backend: ExchangeBackend) -> None:
        submissions, benchmark = backend.submissions, a_benchmark(backend)
        for score in (0.3, -1e-300, 0.1 + 0.2, -0.0, 0, -2, 0.0, 1e300, 5e-324, -(10**300)):
            submissions.create(a_draft(benchmark, score, f"{score:.1e}"))
            backend.advance(1)
        found = [
            (each.rank, repr(each.aggregate_score))
            for each in submissions.leaderboard(benchmark.id)
        ]
        assert found == [
            (1, "1e+300"),
            (2, "0.30000000000000004"),
            (3, "0.3"),
            (4, "5e-324"),
            (5, "0.0"),
            (5, "0.0"),
            (5, "0.0"),
            (8, "-1e-300"),
            (9, "-2.0"),
            (10, "-1e+300"),
        ]

    def test_only_what_is_public_and_scored_is_ranked(self, backend: ExchangeBackend) -> None:
        submissions, benchmark = backend.submissions, a_benchmark(backend)
        submissions.create(a_draft(benchmark, 1, "public"))
        hidden = [
            submissions.create(a_draft(benchmark, 2, "private", visibility="private")),
            submissions.create(a_draft(benchmark, 3, "unlisted", visibility="unlisted")),
        ]
        backend.advance(1)
        unscored = submissions.create(a_draft(benchmark, None, "unscored"))
        version_id = benchmark.version_id
        assert ranks(submissions.leaderboard(benchmark.id)) == [(1, "public")]
        assert ranks(submissions.leaderboard(benchmark.id, version_id)) == [(1, "public")]
        for each in hidden:
            submissions.update_visibility(each.id, "public")
        submissions.update(replace(unscored, aggregate_score=2.0))
        wanted = [(1, "unlisted"), (2, "private"), (2, "unscored"), (4, "public")]
        assert ranks(submissions.leaderboard(benchmark.id)) == wanted
        assert ranks(submissions.leaderboard(benchmark.id, version_id)) == wanted
        submissions.update_visibility(hidden[1].id, "private")
        submissions.update(replace(unscored, aggregate_score=None))
        assert ranks(submissions.leaderboard(benchmark.id)) == [(1, "private"), (2, "public")]
        submissions.delete(hidden[0].id)
        assert ranks(submissions.leaderboard(benchmark.id)) == [(1, "public")]

    def test_versions(self, backend: ExchangeBackend) -> None:
        submissions, first, other = (
            backend.submissions,
            a_benchmark(backend),
            a_benchmark(backend, "other"),
        )
        second = next_version(backend, first)
        third = next_version(backend, second)
        for benchmark, model, score in (
            (first, "a", 1),
            (second, "a", 3),
            (first, "b", 3),
            (second, "b", 2),
            (other, "c", 9),
        ):
            submissions.create(a_draft(benchmark, score, model))
            backend.advance(1)
        found = submissions.leaderboard(first.id)
        assert ranks(found) == [(1, "a"), (1, "b"), (3, "b"), (4, "a")]
        versions = [each.benchmark_version_id for each in found]
        assert versions == [
            second.version_id,
            first.version_id,
            second.version_id,
            first.version_id,
        ]
        assert ranks(submissions.leaderboard(first.id, first.version_id)) == [(1, "b"), (2, "a")]
        assert ranks(submissions.leaderboard(first.id, version_id=second.version_id)) == [
            (1, "a"),
            (2, "b"),
        ]
        assert submissions.leaderboard(first.id, third.version_id) == []
        assert submissions.leaderboard(first.id, other.version_id) == []
        assert submissions.leaderboard(first.id, numbered(1)) == []
        assert submissions.leaderboard(numbered(1)) == []
        assert ranks(submissions.leaderboard(other.id)) == [(1, "c")]

    @pytest.mark.parametrize("limit", [0, -1, 1001, True, "5", 5.0, None])
    def test_a_bad_limit(self, backend: ExchangeBackend, limit: Any) -> None:
        with pytest.raises(infra.ValidationError):
            backend.submissions.leaderboard(numbered(1), limit=limit)

    # --- deletion and transactions

    def test_delete(self, backend: ExchangeBackend) -> None:
        submissions, benchmark = backend.submissions, a_benchmark(backend)
        made, other = (
            submissions.create(a_draft(benchmark, 1)),
            submissions.create(a_draft(benchmark, 2)),
        )
        assert submissions.delete(numbered(1)) is False
        assert submissions.delete(made.id) is True
        assert submissions.delete(made.id) is False
        assert submissions.find_by_id(made.id) is None
        assert submissions.page().items == [other]
        assert submissions.count() == 1

    def test_who_submitted_something_stays(self, backend: ExchangeBackend) -> None:
        submissions, benchmark, somebody = (
            backend.submissions,
            a_benchmark(backend),
            a_user(backend, "bob"),
        )
        organization = backend.organizations.create(
            infra.Organization("Lab", "lab"), benchmark.created_by
        )
        made = submissions.create(
            a_draft(benchmark, user_id=somebody.id, organization_id=organization.id)
        )
        deletions: list[tuple[Callable[[], bool], str]] = [
            (lambda: backend.users.delete(somebody.id), "submissions_user_id_fkey"),
            (
                lambda: backend.organizations.delete(organization.id),
                "submissions_organization_id_fkey",
            ),
            (
                lambda: backend.benchmarks.delete(benchmark.id),
                "submissions_benchmark_version_id_fkey",
            ),
        ]
        for delete, constraint in deletions:
            with pytest.raises(infra.ConflictError) as caught:
                delete()
            error = caught.value
            assert (error.constraint, error.kind, error.operation) == (
                constraint,
                "foreign_key",
                "delete",
            )
            assert (error.service, error.retryable) == (backend.database.engine, False)
        assert submissions.page().items == [made]
        assert [
            each.role for each in backend.organizations.find_members(organization.id).items
        ] == ["owner"]
        submissions.update(replace(made, user_id=benchmark.created_by, organization_id=None))
        assert backend.users.delete(somebody.id) is True
        assert backend.organizations.delete(organization.id) is True
        assert submissions.delete(made.id) is True
        assert backend.benchmarks.delete(benchmark.id) is True

    def test_a_submission_to_a_benchmark_that_goes(self, backend: ExchangeBackend) -> None:
        """One of the two comes first; never is there a submission to nothing."""
        submissions, user = backend.submissions, a_user(backend)
        outcomes = []
        for number in range(20):
            benchmark = a_benchmark(backend, f"b-{number}")

            def work(who: int) -> Any:
                if who == 0:
                    return submissions.create(a_draft(benchmark, 1))
                return backend.benchmarks.delete(benchmark.id)

            created, deleted = in_threads(2, work)
            there = backend.benchmarks.find_by_id(benchmark.id) is not None
            outcomes.append(there)
            if there:
                assert submissions.find_for_benchmark(benchmark.id).items == [created]
                assert isinstance(deleted, infra.ConflictError)
                assert deleted.constraint == "submissions_benchmark_version_id_fkey"
            else:
                assert deleted is True
                assert isinstance(created, infra.ConflictError)
                assert created.constraint == "submissions_benchmark_version_id_fkey"
        assert submissions.find_by_user(user.id, infra.Query(with_total=True)).total == sum(
            outcomes
        )

    def test_it_takes_part_in_a_transaction(self, backend: ExchangeBackend) -> None:
        submissions, benchmark = backend.submissions, a_benchmark(backend)
        made = submissions.create(a_draft(benchmark, 1))
        with pytest.raises(ZeroDivisionError), backend.database.transaction():
            submissions.create(a_draft(benchmark, 2, "new"))
            submissions.update_visibility(made.id, "private")
            assert ranks(submissions.leaderboard(benchmark.id)) == [(1, "new")]
            raise ZeroDivisionError
        assert submissions.page().items == [made]
        assert ranks(submissions.leaderboard(benchmark.id)) == [(1, "gpt")]
        with backend.database.transaction():  # a version and the first submission to it
            version_id = backend.benchmarks.update(benchmark)
            submissions.create(a_draft(benchmark, 3, "new", benchmark_version_id=version_id))
        assert ranks(submissions.leaderboard(benchmark.id, version_id)) == [(1, "new")]


class TestFakeMySQL(SubmissionRepositoryContract):
    backend = on_fake_exchange("mysql")


class TestFakePostgres(SubmissionRepositoryContract):
    backend = on_fake_exchange("postgres")


class TestMariaDB(SubmissionRepositoryContract):
    backend = on_real_exchange("mariadb")


class TestMySQL(SubmissionRepositoryContract):
    backend = on_real_exchange("mysql")


class TestPostgres(SubmissionRepositoryContract):
    backend = on_real_exchange("postgres")


class TestPostgres18(SubmissionRepositoryContract):
    backend = on_real_exchange("postgres-18")


def a_fake_exchange() -> tuple[fakes.FakeInfrastructure, infra.Benchmark]:
    services = fakes.FakeInfrastructure()
    user = services.users.create(infra.User("ada@example.org", "ada"))
    draft = infra.Benchmark("mmlu", "MMLU", category="accuracy", created_by=user.id)
    return services, services.benchmarks.create(draft)


def test_the_fake_fails_on_demand() -> None:
    services, benchmark = a_fake_exchange()
    submissions = services.submissions
    submissions.fail_next("create", infra.TimeoutError, after_apply=True)
    with pytest.raises(infra.TimeoutError):
        submissions.create(a_draft(benchmark, 1))
    # The work was done, the answer was lost.
    assert ranks(submissions.leaderboard(benchmark.id)) == [(1, "gpt")]
    submissions.fail_next("leaderboard", infra.TimeoutError)
    with pytest.raises(infra.TimeoutError):
        submissions.leaderboard(benchmark.id)
    services.exchange.down = True
    with pytest.raises(infra.ConnectionError):
        submissions.leaderboard(benchmark.id)
    services.exchange.down = False
    assert submissions.count() == 1


def test_a_call_takes_one_fault() -> None:
    """Methods share their code."""
    services, benchmark = a_fake_exchange()
    submissions = services.submissions
    made = submissions.create(a_draft(benchmark, 1))
    calls: list[Callable[[], Any]] = [
        lambda: submissions.create(a_draft(benchmark, 2)),
        lambda: submissions.update(replace(made, model="new")),
        lambda: submissions.update_verification(made.id, "audited"),
        lambda: submissions.update_visibility(made.id, "private"),
        lambda: submissions.find_for_benchmark(benchmark.id, infra.Query(with_total=True)),
        lambda: submissions.find_by_user(benchmark.created_by),
        lambda: submissions.find_best_for_model(benchmark.id, "gpt"),
        lambda: submissions.exists_for_model_version("gpt", benchmark.version_id),
        lambda: submissions.leaderboard(benchmark.id),
        lambda: submissions.delete(made.id),
    ]
    submissions.fail_next("*", infra.TimeoutError, times=len(calls))
    for call in calls:
        with pytest.raises(infra.TimeoutError):
            call()
    assert submissions.page().items == [made]


def test_the_fake_is_ready_to_use() -> None:
    submissions = fakes.FakeSubmissionRepository()
    assert submissions.leaderboard(infra.new_id()) == []
    with pytest.raises(infra.ConflictError):
        submissions.create(infra.Submission(infra.new_id(), infra.new_id(), "gpt", infra.new_id()))
