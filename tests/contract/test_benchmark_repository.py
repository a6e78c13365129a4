"""BenchmarkRepository: benchmarks with their tags, versions and statuses."""

from __future__ import annotations

import enum
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
    ExchangeBackend,
    on_fake_exchange,
    on_real_exchange,
    unchecked,
    violation,
)
from tests.contract.texts import Text, any_text, plain

DAWN = datetime(2026, 1, 1, tzinfo=timezone.utc)  # where a FakeClock starts
STATUSES = ("draft", "under_review", "active", "deprecated", "archived")
MOVES = {
    ("draft", "under_review"),
    ("under_review", "draft"),
    ("under_review", "active"),
    ("active", "deprecated"),
    ("deprecated", "active"),
    ("deprecated", "archived"),
}

NO_DICTS: list[Any] = [[], (), None, "{}", 1]
NO_LISTS: list[Any] = [{}, (), None, "[]", 1]


def at(seconds: float) -> datetime:
    return DAWN + timedelta(seconds=seconds)


def numbered(number: int) -> uuid.UUID:
    return uuid.UUID(f"01890000-0000-7000-8000-{number:012}")


def a_user(backend: ExchangeBackend, username: str = "ada") -> infra.User:
    return backend.users.create(infra.User(f"{username}@example.org", username))


def a_draft(user: infra.User, slug: str = "mmlu", **fields: Any) -> infra.Benchmark:
    return infra.Benchmark(
        **{"slug": slug, "name": "MMLU", "category": "accuracy", "created_by": user.id, **fields}
    )


def a_benchmark(backend: ExchangeBackend, slug: str = "mmlu", **fields: Any) -> infra.Benchmark:
    user = backend.users.find_by_username("ada") or a_user(backend)
    return backend.benchmarks.create(a_draft(user, slug, **fields))


def slugs(page: infra.Page[infra.Benchmark]) -> list[str]:
    return [each.slug for each in page.items]


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


class BenchmarkRepositoryContract(Contract):
    port = infra.BenchmarkRepository

    def test_many_benchmarks(self, backend: ExchangeBackend) -> None:
        benchmarks, user = backend.benchmarks, a_user(backend)
        drafts = [a_draft(user, "one", tags=("b", "a")), a_draft(user, "two")]
        made = benchmarks.create_many(drafts)
        assert made == [benchmarks.find_by_slug(slug) for slug in ("one", "two")]
        assert made[0].tags == ("a", "b")
        wrong = [a_draft(user, "three"), a_draft(user, "one")]
        assert violation(lambda: benchmarks.create_many(wrong)) == ("benchmarks_slug_key", "unique")
        with pytest.raises(infra.ConfigurationError, match="has guarded fields"):
            benchmarks.upsert(replace(made[0], name="New"))
        assert benchmarks.count() == 2

    def test_on_a_database(self, backend: ExchangeBackend) -> None:
        """Each backend reads the tags in its own way: so it takes the class of the backend."""
        benchmarks = type(backend.benchmarks).on(backend.database)
        assert (type(benchmarks), benchmarks.count()) == (type(backend.benchmarks), 0)
        with pytest.raises(infra.ConfigurationError, match="on has no tags"):
            infra.BenchmarkRepository.on(backend.database)

    def unchanged(
        self, backend: ExchangeBackend, benchmark: infra.Benchmark, versions: int = 1
    ) -> None:
        """The only benchmark is as it was, and so is its history."""
        assert backend.benchmarks.page().items == [benchmark]
        history = backend.benchmarks.find_version_history(benchmark.id)
        assert (len(history), history[0].id) == (versions, benchmark.version_id)

    @pytest.mark.parametrize(("column", "text"), [("status", "gone"), ("category", "speed")])
    def test_the_database_checks_texts_itself(
        self, backend: ExchangeBackend, column: str, text: str
    ) -> None:
        draft = a_draft(a_user(backend), **{column: text})
        assert violation(lambda: unchecked(backend.benchmarks).create(draft)) == (
            f"benchmarks_{column}_check",
            "check",
        )
        assert backend.benchmarks.count() == 0

    def test_others_see_tags_that_are_committed(self, backend: ExchangeBackend) -> None:
        benchmarks, made = backend.benchmarks, a_benchmark(backend, tags=("old", "kept"))
        other = a_benchmark(backend, "other", tags=("old",))

        def seen() -> Any:
            found = benchmarks.find_by_id(made.id)
            assert found is not None
            return (
                found.tags,
                *(sorted(slugs(benchmarks.find_by_tag(tag))) for tag in ("old", "kept", "new")),
                len(benchmarks.find_version_history(made.id)),
            )

        def others() -> Any:
            return in_threads(1, lambda _: seen())[0]

        before: tuple[Any, ...] = (("kept", "old"), ["mmlu", "other"], ["mmlu"], [], 1)
        with backend.database.transaction():
            benchmarks.update(replace(made, tags=("new", "kept")))
            benchmarks.delete(other.id)
            assert others() == before
            assert seen() == (("kept", "new"), [], ["mmlu"], ["mmlu"], 2)
        assert others() == seen() == (("kept", "new"), [], ["mmlu"], ["mmlu"], 2)

    # --- what is created

    def test_create(self, backend: ExchangeBackend) -> None:
        benchmarks, user = backend.benchmarks, a_user(backend)
        assert benchmarks.find_by_slug("mmlu") is None
        assert benchmarks.exists_by_slug("mmlu") is False
        made = benchmarks.create(
            infra.Benchmark("mmlu", "MMLU", category="accuracy", created_by=user.id)
        )
        assert (made.slug, made.name, made.description, made.long_description) == (
            "mmlu",
            "MMLU",
            "",
            "",
        )
        assert (made.category, made.status, made.version) == ("accuracy", "draft", "1.0.0")
        assert (made.tags, made.license, made.created_by) == ((), None, user.id)
        assert (made.evaluation_criteria, made.execution_config, made.test_cases) == ({}, {}, [])
        assert (made.created_at, made.updated_at) == (DAWN, DAWN)
        assert (made.id.version, made.version_id.version) == (7, 7)
        assert made.id != made.version_id
        assert benchmarks.find_by_id(made.id) == benchmarks.find_by_slug("mmlu") == made
        assert repr(benchmarks.find_by_id(made.id)) == repr(made)  # of the same types, too
        assert (benchmarks.get(made.id), benchmarks.exists(made.id)) == (made, True)
        with backend.database.transaction():
            assert benchmarks.get(made.id, lock=True) == made
        assert benchmarks.exists_by_slug("mmlu") is True
        assert benchmarks.find_by_id(made.version_id) is None
        assert benchmarks.count() == 1

    def test_create_keeps_what_is_given(self, backend: ExchangeBackend) -> None:
        benchmarks, user = backend.benchmarks, a_user(backend)
        created = datetime(2020, 2, 29, 23, 59, 59, 999999, tzinfo=timezone(timedelta(hours=-3)))
        given = infra.Benchmark(
            "human-eval-2", "HumanEval’s “2nd” 😀", description="d\n'\"\\%s",
            long_description="# Läng\n", category="cost", status="active", version="3.2.1",
            tags=("code", "python"), license="MIT", created_by=user.id,
            evaluation_criteria={"metric": "pass@1"}, execution_config={"timeout": 1.5},
            test_cases=[{"n": 1}, "two"], id=numbered(1), version_id=numbered(2),
            created_at=created, updated_at=DAWN,
        )  # fmt: skip
        stored = benchmarks.create(given)
        assert stored == given
        assert stored.created_at.tzinfo is timezone.utc
        assert repr(benchmarks.find_by_id(numbered(1))) == repr(stored)
        assert benchmarks.find_version_history(numbered(1)) == [
            infra.BenchmarkVersion(
                numbered(1), "3.2.1", 1, "", False, {"metric": "pass@1"}, {"timeout": 1.5},
                [{"n": 1}, "two"], numbered(2), DAWN,
            )
        ]  # fmt: skip

    def test_the_longest_values(self, backend: ExchangeBackend) -> None:
        benchmarks = backend.benchmarks
        tags = tuple(f"{number:03}" + "😀" * 47 for number in range(100))
        made = a_benchmark(
            backend, "x" * 100, name="😀" * 200, description="é" * 5000,
            long_description="😀" * 100_000, license="l" * 100,
            version="999999999.999999998.999999999", tags=tags,
        )  # fmt: skip
        assert benchmarks.find_by_slug("x" * 100) == made
        assert made.tags == tags
        benchmarks.update(replace(made, name="n"), changelog="😀" * 10_000)
        found = benchmarks.find_by_id(made.id)
        assert found is not None
        assert found.version == "999999999.999999999.0"
        for breaking in (False, True):
            with pytest.raises(infra.ValidationError):  # there is no higher one
                benchmarks.update(found, breaking=breaking)
        self.unchanged(backend, found, versions=2)

    @pytest.mark.parametrize(
        "changes",
        [
            {"slug": slug}
            for slug in (
                "",
                "A",
                "a--b",
                "-a",
                "a-",
                "a b",
                "a_b",
                "é",
                "a\n",
                "a\0",
                "x" * 101,
                None,
                5,
            )
        ]
        + [{"name": name} for name in ("", " x", "x\t", "x" * 201, "nul\0", "\ud800", None)]
        + [
            {"version": version}
            for version in ("1.0", "01.0.0", "1.0.0-rc1", "1.0.0\n", "1.0.1234567890", "", None)
        ]
        + [
            {"description": "x" * 5001},
            {"description": None},
            {"long_description": "x" * 100_001},
            {"category": "speed"},
            {"category": "Accuracy"},
            {"category": None},
            {"status": "gone"},
            {"status": None},
            {"license": ""},
            {"license": "MIT "},
            {"license": "x" * 101},
            {"created_by": None},
            {"created_by": "01890000-0000-7000-8000-000000000001"},
            {"id": "01890000-0000-7000-8000-000000000001"},
            {"version_id": 5},
            {"created_at": datetime(2026, 1, 1)},
        ],
        ids=lambda changes: str(changes)[:40].encode("ascii", "backslashreplace").decode(),
    )
    def test_bad_values_are_refused_before_anything_is_sent(
        self, backend: ExchangeBackend, changes: dict[str, Any]
    ) -> None:
        benchmarks, made = backend.benchmarks, a_benchmark(backend)
        for call in (
            lambda: benchmarks.create(
                replace(made, **{"slug": "new", "id": None, "version_id": None, **changes})
            ),
            lambda: benchmarks.update(replace(made, **changes)),
        ):
            with pytest.raises(infra.ValidationError):
                call()
        self.unchanged(backend, made)

    @pytest.mark.parametrize("value", [None, "mmlu", {}], ids=str)
    def test_what_is_no_benchmark(self, backend: ExchangeBackend, value: Any) -> None:
        for call in (backend.benchmarks.create, backend.benchmarks.update):
            with pytest.raises(infra.ValidationError):
                call(value)

    def test_a_slug_has_one_benchmark(self, backend: ExchangeBackend) -> None:
        benchmarks, user = backend.benchmarks, a_user(backend)
        made = benchmarks.create(a_draft(user))
        with pytest.raises(infra.ConflictError) as caught:
            benchmarks.create(a_draft(user, tags=("new",), id=numbered(1), version_id=numbered(2)))
        error = caught.value
        assert (error.constraint, error.kind, error.retryable) == (
            "benchmarks_slug_key",
            "unique",
            False,
        )
        assert (error.service, error.operation) == (backend.database.engine, "create")
        assert (
            benchmarks.find_by_tag("new").items,
            benchmarks.find_version_history(numbered(1)),
        ) == ([], [])
        with pytest.raises(infra.ConflictError) as taken:
            benchmarks.create(a_draft(user, "other", id=made.id))
        assert taken.value.constraint == "benchmarks_pkey"
        with pytest.raises(infra.ConflictError) as used:
            benchmarks.create(a_draft(user, "other", version_id=made.version_id, tags=("new",)))
        assert used.value.constraint == "benchmark_versions_pkey"
        assert benchmarks.exists_by_slug("other") is False  # the benchmark went with its version
        self.unchanged(backend, made)

    def test_a_benchmark_of_nobody(self, backend: ExchangeBackend) -> None:
        benchmarks, user = backend.benchmarks, a_user(backend)
        nobody = replace(user, id=numbered(9))
        with pytest.raises(infra.ConflictError) as caught:
            benchmarks.create(a_draft(nobody, tags=("a",), id=numbered(1)))
        error = caught.value
        assert (error.constraint, error.kind) == ("benchmarks_created_by_fkey", "foreign_key")
        assert (error.service, error.operation) == (backend.database.engine, "create")
        assert benchmarks.count() == 0
        assert (
            benchmarks.find_version_history(numbered(1)),
            benchmarks.find_by_tag("a").items,
        ) == ([], [])
        made = benchmarks.create(a_draft(user, tags=("a",)))
        with pytest.raises(infra.ConflictError) as changed:
            benchmarks.update(replace(made, created_by=numbered(9), tags=("b",)))
        assert (changed.value.constraint, changed.value.operation) == (
            "benchmarks_created_by_fkey",
            "update",
        )
        self.unchanged(backend, made)

    def test_of_two_publishers_of_a_slug_one_wins(self, backend: ExchangeBackend) -> None:
        benchmarks, user = backend.benchmarks, a_user(backend)
        for number in range(10):
            draft = a_draft(user, f"b-{number}", tags=("t",))
            results = in_threads(2, lambda _: benchmarks.create(draft))
            assert sorted(type(each).__name__ for each in results) == ["Benchmark", "ConflictError"]
            (made,) = [each for each in results if isinstance(each, infra.Benchmark)]
            (error,) = [each for each in results if isinstance(each, infra.ConflictError)]
            assert error.constraint == "benchmarks_slug_key"
            assert benchmarks.find_by_slug(f"b-{number}") == made
        assert benchmarks.count() == 10

    @pytest.mark.parametrize("id", ["01890000-0000-7000-8000-000000000001", None, 5])
    def test_an_id_is_a_uuid(self, backend: ExchangeBackend, id: Any) -> None:
        benchmarks = backend.benchmarks
        for call in (
            benchmarks.find_by_id,
            benchmarks.delete,
            benchmarks.find_version_history,
            lambda bad: benchmarks.find_version(bad, "1.0.0"),
            lambda bad: benchmarks.update_status(bad, "active"),
        ):
            with pytest.raises(infra.ValidationError):
                call(id)

    @pytest.mark.parametrize("slug", ["", "A", "a_b", "nul\0", "x" * 101, None, 5])
    def test_a_bad_slug(self, backend: ExchangeBackend, slug: Any) -> None:
        for call in (backend.benchmarks.find_by_slug, backend.benchmarks.exists_by_slug):
            with pytest.raises(infra.ValidationError):
                call(slug)

    # --- tags

    @pytest.mark.parametrize(
        ("tags", "stored"),
        [
            (("b", "a"), ("a", "b")),
            (["b", "a", "b"], ("a", "b")),
            ([], ()),
            # Code points.
            (
                ("a", "A", "á", "a b", "Z", "😀", "\uffff"),
                ("A", "Z", "a", "a b", "á", "\uffff", "😀"),
            ),
            (("e\u0301", "\u00e9"), ("e\u0301", "\u00e9")),  # composed or not: written just so
            (
                ("10", "9", "%", "'", '"', "\\", "a,b", "{a}"),
                ('"', "%", "'", "10", "9", "\\", "a,b", "{a}"),
            ),
        ],
        ids=str,
    )
    def test_tags_come_back_sorted_each_once(
        self, backend: ExchangeBackend, tags: Any, stored: tuple[str, ...]
    ) -> None:
        benchmarks, made = backend.benchmarks, a_benchmark(backend, tags=tags)
        assert made.tags == stored
        assert benchmarks.find_by_id(made.id) == made
        assert benchmarks.page().items == [made]
        for tag in stored:
            assert benchmarks.find_by_tag(tag).items == [made]

    @pytest.mark.parametrize(
        "tags",
        [
            *[(tag,) for tag in ("", " a", "a\n", "x" * 51, "nul\0", "\ud800", 5, None, b"a")],
            ("a", ""),
            *["abc", None, {"a"}, {"a": 1}, 5, iter("a")],
            *[tuple(f"{number}" for number in range(101)), ["same"] * 101],
        ],
        ids=lambda tags: str(tags)[:20].encode("ascii", "backslashreplace").decode(),
    )
    def test_bad_tags(self, backend: ExchangeBackend, tags: Any) -> None:
        benchmarks, made = backend.benchmarks, a_benchmark(backend, tags=("old",))
        with pytest.raises(infra.ValidationError):
            benchmarks.create(replace(made, slug="new", id=infra.FILLED, tags=tags))
        with pytest.raises(infra.ValidationError):
            benchmarks.update(replace(made, name="New", tags=tags))
        self.unchanged(backend, made)

    def test_tags_with_any_character(self, backend: ExchangeBackend) -> None:
        """MySQL sends them as JSON."""
        numbers = [*range(1, 0xD00), *range(0x2000, 0x2070), *range(0xFDD0, 0xFDF0), 0xFEFF, 0xFFFF]
        numbers += [0x1F600, 0x1FFFF, 0x10FFFF]
        texts = [f"x{chr(number)}x" for number in numbers]
        tags = [f"x{''.join(texts[at : at + 16])}x" for at in range(0, len(texts), 16)]
        for some in (tags[:100], tags[100:200], tags[200:]):
            made = a_benchmark(backend, f"b-{len(backend.benchmarks.page().items)}", tags=some)
            assert made.tags == tuple(sorted(some))
            assert backend.benchmarks.find_by_id(made.id) == made
            assert backend.benchmarks.find_by_tag(some[0]).items == [made]

    def test_update_replaces_tags(self, backend: ExchangeBackend) -> None:
        benchmarks, made = backend.benchmarks, a_benchmark(backend, tags=("a", "b"))
        other = a_benchmark(backend, "other", tags=("a", "b"))
        for tags in (("c", "b"), (), ("z", "z"), ("a",)):
            found = benchmarks.find_by_id(made.id)
            assert found is not None
            benchmarks.update(replace(found, tags=tags))
            changed = benchmarks.find_by_id(made.id)
            assert changed is not None
            assert changed.tags == tuple(sorted({*tags}))
            assert [
                tag for tag in "abcz" if changed in benchmarks.find_by_tag(tag).items
            ] == sorted({*tags})
        assert benchmarks.find_by_id(other.id) == other

    def test_find_by_tag(self, backend: ExchangeBackend) -> None:
        benchmarks, user, somebody = backend.benchmarks, a_user(backend), a_user(backend, "bob")
        made = []
        for number in range(5):
            tags = ("all", f"n{number}", "odd" if number % 2 else "even")
            category = "cost" if number < 2 else "safety"
            made.append(
                benchmarks.create(
                    a_draft(user, f"b-{number}", name=f"{9 - number}", category=category, tags=tags)
                )
            )
            backend.advance(1)
        untagged = benchmarks.create(a_draft(somebody, "plain"))
        assert benchmarks.find_by_tag("all") == infra.Page(made, 1, 50, None)
        assert benchmarks.find_by_tag("odd").items == [made[1], made[3]]
        assert benchmarks.find_by_tag("n4").items == [made[4]]
        query = infra.Query(page=2, per_page=2, with_total=True)
        assert benchmarks.find_by_tag("all", query) == infra.Page(made[2:4], 2, 2, 5)
        by_name = infra.Query(sort="name", per_page=3)
        assert benchmarks.find_by_tag("all", by_name).items == [made[4], made[3], made[2]]
        cheap = infra.Query(filters={"category": "cost"}, descending=True, with_total=True)
        assert benchmarks.find_by_tag("all", cheap) == infra.Page([made[1], made[0]], 1, 50, 2)
        assert benchmarks.find_by_tag("even", cheap) == infra.Page([made[0]], 1, 50, 1)
        theirs = infra.Query(filters={"created_by": somebody.id}, with_total=True)
        assert benchmarks.find_by_tag("all", theirs) == infra.Page([], 1, 50, 0)
        assert benchmarks.find_by_tag("none", infra.Query(with_total=True)) == infra.Page(
            [], 1, 50, 0
        )
        assert benchmarks.find_by_id(untagged.id) == untagged
        benchmarks.delete(made[0].id)
        assert benchmarks.find_by_tag("even").items == [made[2], made[4]]

    def test_find_by_tag_is_literal(self, backend: ExchangeBackend) -> None:
        benchmarks, made = (
            backend.benchmarks,
            a_benchmark(backend, tags=("Code", "50%", "it's", "caf\u00e9")),
        )
        for tag in ("Code", "50%", "it's", "caf\u00e9"):
            assert benchmarks.find_by_tag(tag).items == [made]
        for tag in (
            "code",
            "Cod",
            "Code2",
            "%",
            "50_",
            "5%",
            "it''s",
            "cafe\u0301",
            "x' OR 'a' = 'a",
        ):
            assert benchmarks.find_by_tag(tag).items == []

    @pytest.mark.parametrize("tag", ["", " ", "a ", "x" * 51, "nul\0", None, 5])
    def test_a_bad_tag(self, backend: ExchangeBackend, tag: Any) -> None:
        with pytest.raises(infra.ValidationError):
            backend.benchmarks.find_by_tag(tag)

    # --- versions

    def test_update_publishes_a_version(self, backend: ExchangeBackend) -> None:
        benchmarks = backend.benchmarks
        made = a_benchmark(
            backend, tags=("a",), evaluation_criteria={"metric": "f1"}, test_cases=[1]
        )
        other = a_benchmark(backend, "other")
        backend.advance(60)
        edited = replace(
            made, slug="mmlu-pro", name="MMLU Pro", description="d", long_description="l",
            category="capability", tags=("c", "b"), license="MIT",
            evaluation_criteria={"metric": "em"}, execution_config={"k": [1]}, test_cases=[1, 2],
        )  # fmt: skip
        version_id = benchmarks.update(edited, changelog="harder")
        assert version_id.version == 7
        assert version_id not in (made.id, made.version_id)
        second = benchmarks.find_by_id(made.id)
        assert second == replace(
            edited, version="1.1.0", version_id=version_id, tags=("b", "c"), updated_at=at(60)
        )
        assert benchmarks.find_by_slug("mmlu-pro") == second
        assert benchmarks.exists_by_slug("mmlu") is False
        backend.advance(60)
        third_id = benchmarks.update(replace(second, test_cases=[]), breaking=True)
        third = benchmarks.find_by_id(made.id)
        assert third == replace(
            second, version="2.0.0", version_id=third_id, test_cases=[], updated_at=at(120)
        )
        assert benchmarks.find_version_history(made.id) == [
            infra.BenchmarkVersion(
                made.id, "2.0.0", 3, "", True, {"metric": "em"}, {"k": [1]}, [], third_id, at(120)
            ),
            infra.BenchmarkVersion(
                made.id,
                "1.1.0",
                2,
                "harder",
                False,
                {"metric": "em"},
                {"k": [1]},
                [1, 2],
                version_id,
                at(60),
            ),
            infra.BenchmarkVersion(
                made.id, "1.0.0", 1, "", False, {"metric": "f1"}, {}, [1], made.version_id, DAWN
            ),
        ]
        assert benchmarks.find_by_id(other.id) == other
        assert len(benchmarks.find_version_history(other.id)) == 1

    @pytest.mark.parametrize(
        ("version", "breaking", "next_version"),
        [
            ("1.2.3", False, "1.3.0"),
            ("1.2.3", True, "2.0.0"),
            ("0.0.0", False, "0.1.0"),
            ("0.9.9", True, "1.0.0"),
            ("1.9.0", False, "1.10.0"),
            ("9.99.9", True, "10.0.0"),
        ],
    )
    def test_the_next_version(
        self, backend: ExchangeBackend, version: str, breaking: bool, next_version: str
    ) -> None:
        benchmarks, made = backend.benchmarks, a_benchmark(backend, version=version)
        benchmarks.update(made, breaking=breaking)
        assert [
            (each.version, each.number, each.breaking)
            for each in benchmarks.find_version_history(made.id)
        ] == [
            (next_version, 2, breaking),
            (version, 1, False),
        ]

    def test_history_is_in_the_order_of_versions(self, backend: ExchangeBackend) -> None:
        benchmarks, made = backend.benchmarks, a_benchmark(backend, version="1.7.0")
        for number in range(12):  # the clock stands still
            found = benchmarks.find_by_slug("mmlu")
            assert found is not None
            benchmarks.update(replace(found, test_cases=[number]), breaking=number == 7)
        history = benchmarks.find_version_history(made.id)
        assert [each.version for each in history] == [
            "2.4.0", "2.3.0", "2.2.0", "2.1.0", "2.0.0",
            "1.14.0", "1.13.0", "1.12.0", "1.11.0", "1.10.0", "1.9.0", "1.8.0", "1.7.0",
        ]  # fmt: skip
        assert [each.number for each in history] == [13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]
        assert [each.test_cases for each in history] == [*([n] for n in range(11, -1, -1)), []]

    def test_find_version(self, backend: ExchangeBackend) -> None:
        benchmarks, made = backend.benchmarks, a_benchmark(backend, test_cases=["old"])
        other = a_benchmark(backend, "other", version="1.1.0")
        version_id = benchmarks.update(replace(made, test_cases=["new"]))
        first, second = (
            benchmarks.find_version(made.id, "1.0.0"),
            benchmarks.find_version(made.id, "1.1.0"),
        )
        assert first is not None
        assert second is not None
        assert (first.id, first.test_cases, first.number) == (made.version_id, ["old"], 1)
        assert (second.id, second.test_cases, second.number) == (version_id, ["new"], 2)
        assert [second, first] == benchmarks.find_version_history(made.id)
        assert benchmarks.find_version(made.id, "1.2.0") is None
        assert benchmarks.find_version(other.id, "1.0.0") is None
        assert benchmarks.find_version(numbered(1), "1.0.0") is None
        assert benchmarks.find_version_history(numbered(1)) == []

    @pytest.mark.parametrize("version", ["1.0", "v1.0.0", "", "1.0.0 ", "1.%.0", None, 1])
    def test_a_bad_version(self, backend: ExchangeBackend, version: Any) -> None:
        with pytest.raises(infra.ValidationError):
            backend.benchmarks.find_version(numbered(1), version)

    @pytest.mark.parametrize(
        "options",
        [
            {"changelog": "x" * 10_001},
            {"changelog": "nul\0"},
            {"changelog": None},
            {"breaking": None},
            {"breaking": 1},
        ],
        ids=lambda options: str(options)[:30],
    )
    def test_a_bad_publication(self, backend: ExchangeBackend, options: dict[str, Any]) -> None:
        benchmarks, made = backend.benchmarks, a_benchmark(backend)
        with pytest.raises(infra.ValidationError):
            benchmarks.update(replace(made, name="New"), **options)
        self.unchanged(backend, made)

    def test_who_read_before_somebody_published_is_late(self, backend: ExchangeBackend) -> None:
        benchmarks, made = backend.benchmarks, a_benchmark(backend, tags=("a",))
        benchmarks.update(made)
        current = benchmarks.find_by_id(made.id)
        assert current is not None
        with pytest.raises(infra.ConflictError) as caught:
            benchmarks.update(
                replace(made, name="Late", slug="late", tags=("b",)), changelog="late"
            )
        error = caught.value
        assert (error.constraint, error.kind, error.retryable) == (
            "benchmarks_as_read",
            "check",
            False,
        )
        assert (error.service, error.operation) == (backend.database.engine, "update")
        self.unchanged(backend, current, versions=2)
        benchmarks.update(replace(current, name="In time"))
        assert slugs(benchmarks.search("in time")) == ["mmlu"]

    def test_who_read_before_the_status_moved_is_late(self, backend: ExchangeBackend) -> None:
        benchmarks, made = backend.benchmarks, a_benchmark(backend)
        benchmarks.update_status(made.id, "under_review")
        with pytest.raises(infra.ConflictError) as caught:
            benchmarks.update(replace(made, name="Late"))
        assert caught.value.constraint == "benchmarks_as_read"
        self.unchanged(backend, replace(made, status="under_review"))
        benchmarks.update(replace(made, name="In time", status="under_review"))
        assert len(benchmarks.find_version_history(made.id)) == 2

    @pytest.mark.parametrize(
        "changes",
        [{"version": "1.1.0"}, {"version_id": numbered(5)}, {"status": "active"}],
        ids=lambda c: next(iter(c)),
    )
    def test_update_does_not_take(self, backend: ExchangeBackend, changes: dict[str, Any]) -> None:
        benchmarks, made = backend.benchmarks, a_benchmark(backend)
        with pytest.raises(infra.ConflictError) as caught:
            benchmarks.update(replace(made, name="New", **changes))
        assert caught.value.constraint == "benchmarks_as_read"
        self.unchanged(backend, made)

    def test_update_of_nothing(self, backend: ExchangeBackend) -> None:
        benchmarks, made = backend.benchmarks, a_benchmark(backend, tags=("a",))
        with pytest.raises(infra.NotFoundError) as caught:
            benchmarks.update(replace(made, id=numbered(1), tags=("b",)))
        assert (caught.value.resource, caught.value.operation) == ("benchmark", "update")
        for bad in (replace(made, id=infra.FILLED), replace(made, version_id=infra.FILLED)):
            with pytest.raises(infra.ValidationError):
                benchmarks.update(bad)
        self.unchanged(backend, made)
        assert (
            benchmarks.find_by_tag("b").items,
            benchmarks.find_version_history(numbered(1)),
        ) == ([], [])

    def test_update_to_a_slug_that_is_taken(self, backend: ExchangeBackend) -> None:
        benchmarks, made = backend.benchmarks, a_benchmark(backend, tags=("a",))
        a_benchmark(backend, "taken")
        with pytest.raises(infra.ConflictError) as caught:
            benchmarks.update(replace(made, slug="taken", tags=("b",)))
        error = caught.value
        assert (error.constraint, error.kind, error.operation) == (
            "benchmarks_slug_key",
            "unique",
            "update",
        )
        assert benchmarks.find_by_id(made.id) == made
        assert len(benchmarks.find_version_history(made.id)) == 1
        assert benchmarks.find_by_tag("b").items == []

    def test_update_may_change_when_it_was_created(self, backend: ExchangeBackend) -> None:
        benchmarks, made, somebody = (
            backend.benchmarks,
            a_benchmark(backend),
            a_user(backend, "bob"),
        )
        backend.advance(5)
        version_id = benchmarks.update(
            replace(made, created_at=at(-3600), created_by=somebody.id, updated_at=at(999))
        )
        assert benchmarks.find_by_id(made.id) == replace(
            made,
            created_at=at(-3600),
            created_by=somebody.id,
            updated_at=at(5),
            version="1.1.0",
            version_id=version_id,
        )

    @pytest.mark.parametrize("count", [2, 6])
    def test_of_editors_at_once_one_wins(self, backend: ExchangeBackend, count: int) -> None:
        benchmarks = backend.benchmarks
        current: infra.Benchmark | None = a_benchmark(backend, tags=("t0",))
        for turn in range(1, 8):
            before = current
            assert before is not None

            def work(number: int) -> uuid.UUID:
                return benchmarks.update(
                    replace(before, name=f"by {number}", tags=(f"t{turn}-{number}",))
                )

            results = in_threads(count, work)
            (winner,) = [
                number for number, each in enumerate(results) if isinstance(each, uuid.UUID)
            ]
            late = [each for each in results if isinstance(each, infra.ConflictError)]
            assert [each.constraint for each in late] == ["benchmarks_as_read"] * (count - 1)
            current = benchmarks.find_by_id(before.id)
            assert current == replace(
                before,
                name=f"by {winner}",
                tags=(f"t{turn}-{winner}",),
                version=f"1.{turn}.0",
                version_id=results[winner],
            )
        assert current is not None
        history = benchmarks.find_version_history(current.id)
        assert [(each.version, each.number) for each in history] == [
            (f"1.{n}.0", n + 1) for n in range(7, -1, -1)
        ]

    def test_editors_who_read_again_all_publish(self, backend: ExchangeBackend) -> None:
        benchmarks, made = backend.benchmarks, a_benchmark(backend)

        def work(number: int) -> list[uuid.UUID]:
            published: list[uuid.UUID] = []
            while len(published) < 5:
                found = benchmarks.find_by_id(made.id)
                assert found is not None
                try:
                    edited = replace(
                        found, test_cases=[*found.test_cases, number], tags=(f"by {number}",)
                    )
                    published.append(benchmarks.update(edited))
                except infra.ConflictError as error:
                    if error.constraint != "benchmarks_as_read":
                        raise
            return published

        results = in_threads(4, work)
        assert [len(each) for each in results] == [5] * 4, results
        history = benchmarks.find_version_history(made.id)
        assert [(each.version, each.number) for each in history] == [
            (f"1.{n}.0", n + 1) for n in range(20, -1, -1)
        ]
        assert {each.id for each in history} == {
            made.version_id,
            *(id for each in results for id in each),
        }
        authors = history[0].test_cases
        assert sorted(authors) == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5
        # None was overwritten.
        assert [each.test_cases for each in history] == [authors[:n] for n in range(20, -1, -1)]
        found = benchmarks.find_by_id(made.id)
        assert found is not None
        assert (found.version_id, found.test_cases, found.tags) == (
            history[0].id,
            authors,
            (f"by {authors[-1]}",),
        )

    def test_of_an_editor_and_a_reviewer_at_once_nobody_is_lost(
        self, backend: ExchangeBackend
    ) -> None:
        """Either the status moves first, and the editor is late; or both are there in the end."""
        benchmarks, user = backend.benchmarks, a_user(backend)
        for number in range(10):
            made = benchmarks.create(a_draft(user, f"b-{number}"))

            def work(who: int) -> Any:
                if who == 0:
                    return benchmarks.update(replace(made, name="Edited"))
                return benchmarks.update_status(made.id, "under_review")

            edited, moved = in_threads(2, work)
            found = benchmarks.find_by_id(made.id)
            assert found is not None
            assert (moved, found.status) == (None, "under_review")
            if isinstance(edited, infra.ConflictError):
                assert (edited.constraint, found.version, found.name) == (
                    "benchmarks_as_read",
                    "1.0.0",
                    "MMLU",
                )
            else:
                assert (edited, found.version, found.name) == (found.version_id, "1.1.0", "Edited")

    def test_a_reader_sees_one_version(self, backend: ExchangeBackend) -> None:
        """Name and tags of the same one, while an editor publishes."""
        benchmarks = backend.benchmarks
        made = a_benchmark(backend, name="0", tags=("0",))
        turns = 60 if isinstance(backend.database, infra.ConnectionPool) else 300

        def work(who: int) -> Any:
            if who == 0:
                for number in range(1, turns):
                    found = benchmarks.find_by_id(made.id)
                    assert found is not None
                    benchmarks.update(replace(found, name=str(number), tags=(str(number),)))
                return None
            seen = [benchmarks.find_by_id(made.id) for _ in range(2 * turns)]
            return [each for each in seen if each is None or each.tags != (each.name,)]

        assert in_threads(2, work) == [None, []]

    # --- statuses

    @pytest.mark.parametrize("before", STATUSES)
    def test_moves(self, backend: ExchangeBackend, before: str) -> None:
        benchmarks, user = backend.benchmarks, a_user(backend)
        for status in STATUSES:
            made = benchmarks.create(
                a_draft(user, status.replace("_", "-"), status=before, tags=("a",))
            )
            backend.advance(1)
            if (before, status) in MOVES:
                benchmarks.update_status(made.id, status)
                assert benchmarks.find_by_id(made.id) == replace(
                    made, status=status, updated_at=made.created_at + timedelta(seconds=1)
                )
            else:
                with pytest.raises(infra.ConflictError) as caught:
                    benchmarks.update_status(made.id, status)
                error = caught.value
                assert (error.constraint, error.kind, error.retryable) == (
                    "benchmarks_status_move",
                    "check",
                    False,
                )
                assert (error.service, error.operation) == (
                    backend.database.engine,
                    "update_status",
                )
                assert benchmarks.find_by_id(made.id) == made
            assert [each.id for each in benchmarks.find_version_history(made.id)] == [
                made.version_id
            ]

    def test_the_status_of_nothing(self, backend: ExchangeBackend) -> None:
        benchmarks, made = backend.benchmarks, a_benchmark(backend)
        for status in STATUSES:
            with pytest.raises(infra.NotFoundError) as caught:
                benchmarks.update_status(numbered(1), status)
            assert (caught.value.resource, caught.value.operation) == ("benchmark", "update_status")
        self.unchanged(backend, made)

    @pytest.mark.parametrize(
        "status", ["", "gone", "Active", "active ", "active\0", None, 5, b"active", ["active"]]
    )
    def test_an_unknown_status(self, backend: ExchangeBackend, status: Any) -> None:
        benchmarks, made = backend.benchmarks, a_benchmark(backend, status="under_review")
        for id in (made.id, numbered(1)):
            with pytest.raises(infra.ValidationError):
                benchmarks.update_status(id, status)
        self.unchanged(backend, made)

    def test_a_useless_argument_changes_nothing(self, backend: ExchangeBackend) -> None:
        benchmarks, made = backend.benchmarks, a_benchmark(backend, tags=("a",))
        useless: Any = refusals.Useless()
        user = infra.User("", "", id=made.created_by)

        def state() -> Any:
            return benchmarks.page().items, benchmarks.find_version_history(made.id)

        refusals.check(benchmarks.update, [made], state, "changelog", "breaking")
        refusals.check(benchmarks.update_status, [made.id, "under_review"], state)
        refusals.check(benchmarks.create, [a_draft(user, "new")], state)
        for field in vars(made).keys() - {"updated_at"}:  # which update sets itself
            for call in (benchmarks.create, benchmarks.update):
                draft = replace(made, **{field: useless})
                with pytest.raises((infra.ValidationError, infra.SerializationError)):
                    call(draft)
        unfit: list[Any] = [["b", useless], ["b", "b" * 51], [""]]
        for tags in unfit:
            with pytest.raises(infra.ValidationError):
                benchmarks.update(replace(made, tags=tags))
        assert state()[0] == [made]

    @any_text
    def test_text_of_any_subclass(self, backend: ExchangeBackend, text: Text) -> None:
        benchmarks, user = backend.benchmarks, a_user(backend)
        draft = a_draft(
            user, text("a-b"), name=text("é"), category=text("safety"), tags=[text("y"), text("é")],
            execution_config={text("a"): text("é")}, license=text("MIT"),
        )  # fmt: skip
        made = plain(benchmarks.create(draft))
        assert (made.slug, made.tags, made.execution_config) == ("a-b", ("y", "é"), {"a": "é"})
        assert plain(benchmarks.find_by_slug(text("a-b"))) == made
        assert benchmarks.exists_by_slug(text("a-b")) is True
        query = infra.Query(sort=text("name"), filters={text("status"): text("draft")})
        for found in (
            benchmarks.find_by_category(text("safety"), query),
            benchmarks.find_by_tag(text("é"), query),
            benchmarks.search(text("É"), query),
        ):
            assert plain(found.items) == [made]
        changed = replace(made, description=text("é"), status=text("draft"), version=text("1.0.0"))
        benchmarks.update(changed, changelog=text("é"))
        assert plain(benchmarks.find_version(made.id, text("1.1.0"))).changelog == "é"
        benchmarks.update_status(made.id, text("under_review"))
        assert plain(benchmarks.find_by_id(made.id)).status == "under_review"

    def test_texts_may_be_members_of_an_enumeration(self, backend: ExchangeBackend) -> None:
        class Word(str, enum.Enum):
            ACTIVE = "active"
            REVIEW = "under_review"
            DRAFT = "draft"
            NAME = "name"

        benchmarks = backend.benchmarks
        made = a_benchmark(backend, "active", status=Word.DRAFT, tags=(Word.DRAFT,))
        assert (type(made.status), type(made.tags[0])) == (str, str)
        benchmarks.update_status(made.id, Word.REVIEW)
        with pytest.raises(infra.ConflictError) as caught:
            benchmarks.update_status(made.id, Word.REVIEW)
        assert "under_review" in str(caught.value)
        assert benchmarks.find_by_slug(Word.ACTIVE) == replace(made, status="under_review")
        query = infra.Query(filters={"status": Word.REVIEW}, sort=Word.NAME)
        assert (
            slugs(benchmarks.find_by_tag(Word.DRAFT, query))
            == slugs(benchmarks.search(Word.ACTIVE))
            == ["active"]
        )

    @pytest.mark.parametrize(
        "choices", [("active", "draft"), ("active", "active"), ("draft", "draft")]
    )
    def test_of_two_reviewers_one_wins(
        self, backend: ExchangeBackend, choices: tuple[str, str]
    ) -> None:
        benchmarks, user = backend.benchmarks, a_user(backend)
        for number in range(20):
            made = benchmarks.create(a_draft(user, f"b-{number}", status="under_review"))
            results = in_threads(2, lambda who: benchmarks.update_status(made.id, choices[who]))
            assert sorted(type(each).__name__ for each in results) == ["ConflictError", "NoneType"]
            found = benchmarks.find_by_id(made.id)
            assert found == replace(made, status=choices[results.index(None)])
            (late,) = [each for each in results if isinstance(each, infra.ConflictError)]
            assert late.constraint == "benchmarks_status_move"

    # --- documents

    @pytest.mark.parametrize(
        "value",
        [
            {},
            {"b": None, "a": [True, False, 1, 1.0, "1", [], {}, [[]]], "": {"": ""}},
            {"é 日本 😀": "\u2028 \" ' \\ / \n\t % %s %% {} \\u0000 \x7f"},
            {"n": [10**30, -(2**63), 0.1 + 0.2, 5e-324, 1.7976931348623157e308, -0.0, 1e16]},
            {"deep": nested(90)},
            {"long": "😀" * 50_000},
        ],
        ids=lambda value: str(value)[:20].encode("ascii", "replace").decode(),
    )
    def test_documents_come_back_as_they_were(
        self, backend: ExchangeBackend, value: dict[str, Any]
    ) -> None:
        benchmarks = backend.benchmarks
        made = a_benchmark(
            backend,
            evaluation_criteria=value,
            execution_config={"in": value},
            test_cases=[value, 1],
        )
        # 1 is not 1.0, nor True, and keys have an order.
        wanted = (
            repr(value),
            repr({"in": value}),
            repr([value, 1]),
        )
        for found in (
            made,
            benchmarks.find_by_id(made.id),
            benchmarks.find_version(made.id, "1.0.0"),
        ):
            assert found is not None
            assert (
                repr(found.evaluation_criteria),
                repr(found.execution_config),
                repr(found.test_cases),
            ) == wanted
        benchmarks.update(made)
        assert repr(benchmarks.page().items[0].test_cases) == wanted[2]

    def test_documents_are_copies(self, backend: ExchangeBackend) -> None:
        benchmarks, given = backend.benchmarks, {"a": [1]}
        made = a_benchmark(backend, evaluation_criteria=given, test_cases=[[1]])
        given["a"].append(2)
        made.evaluation_criteria["a"].append(3)
        made.test_cases[0].append(3)
        for _ in range(2):
            found, version = (
                benchmarks.find_by_id(made.id),
                benchmarks.find_version(made.id, "1.0.0"),
            )
            assert found is not None
            assert version is not None
            assert found.evaluation_criteria == version.evaluation_criteria == {"a": [1]}
            assert found.test_cases == version.test_cases == [[1]]
            read: list[Any] = [
                found,
                version,
                *benchmarks.find_version_history(made.id),
                *benchmarks.page().items,
            ]
            for each in read:
                each.evaluation_criteria["a"].append(4)
                each.test_cases[0].append(4)

    @pytest.mark.parametrize(
        ("value", "error"),
        [
            (math.nan, infra.SerializationError),
            (-math.inf, infra.SerializationError),
            ((1, 2), infra.SerializationError),
            ({1: "int key"}, infra.SerializationError),
            ({None: "no key"}, infra.SerializationError),
            ({"set"}, infra.SerializationError),
            (b"bytes", infra.SerializationError),
            (DAWN, infra.SerializationError),
            (nested(100_000), infra.SerializationError),
            ("nul \0", infra.ValidationError),
            ({"nul \0": 1}, infra.ValidationError),
            ("\ud800", infra.ValidationError),
        ],
        ids=lambda value: (
            str(value)[:20].encode("ascii", "backslashreplace").decode()
            if not isinstance(value, list)
            else "deep"
        ),
    )
    @pytest.mark.parametrize("field", ["evaluation_criteria", "execution_config", "test_cases"])
    def test_what_is_no_document(
        self,
        backend: ExchangeBackend,
        field: str,
        value: Any,
        error: type[infra.InfrastructureError],
    ) -> None:
        benchmarks, made = backend.benchmarks, a_benchmark(backend)
        document: Any = [value] if field == "test_cases" else {"key": value}
        for call in (
            lambda: benchmarks.create(
                replace(made, **{"slug": "new", "id": None, field: document})
            ),
            lambda: benchmarks.update(replace(made, **{field: document})),
        ):
            with pytest.raises(error) as caught:
                call()
            assert type(caught.value) is error
        self.unchanged(backend, made)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            (field, value)
            for field in ("evaluation_criteria", "execution_config")
            for value in NO_DICTS
        ]
        + [("test_cases", value) for value in NO_LISTS],
        ids=str,
    )
    def test_a_document_of_another_kind(
        self, backend: ExchangeBackend, field: str, value: Any
    ) -> None:
        benchmarks, made = backend.benchmarks, a_benchmark(backend)
        with pytest.raises(infra.ValidationError):
            benchmarks.create(replace(made, **{"slug": "new", "id": None, field: value}))
        with pytest.raises(infra.ValidationError):
            benchmarks.update(replace(made, **{field: value}))
        self.unchanged(backend, made)

    # --- lists

    def test_search(self, backend: ExchangeBackend) -> None:
        benchmarks, user = backend.benchmarks, a_user(backend)
        for slug, name, description, category in (
            ("alpha", "100% Straße", "", "cost"),
            ("beta-one", "snake_case", r"back\slash | pipe", "cost"),
            ("gamma", 'It\'s "quoted"', "CAF\u00c9 no\u00ebl", "safety"),
            ("delta", "Emoji 😀🚀", "cafe\u0301 İstanbul", "safety"),
        ):
            draft = a_draft(
                user,
                slug,
                name=name,
                description=description,
                category=category,
                long_description="hidden",
            )
            benchmarks.create(draft)
            backend.advance(1)
        every = ["alpha", "beta-one", "gamma", "delta"]
        for text, found in {
            "": every,
            "ALPHA": ["alpha"],
            "a-ONE": ["beta-one"],
            "b-ONE": [],
            "beta-ONE": ["beta-one"],
            "STRASSE": ["alpha"],
            "stra\u00dfe": ["alpha"],
            "%": ["alpha"],
            "100%": ["alpha"],
            "1%": [],
            "_": ["beta-one"],
            "snake_": ["beta-one"],
            "snak_": [],
            "\\": ["beta-one"],
            "\\\\": [],
            "k\\S": ["beta-one"],
            "|": ["beta-one"],
            "||": [],
            "|%": [],
            "'": ["gamma"],
            "''": [],
            "IT'S \"Q": ["gamma"],
            "😀": ["delta"],
            "🚀": ["delta"],
            "😁": [],
            "caf\u00e9": ["gamma", "delta"],
            "cafe\u0301": ["gamma", "delta"],
            "CAFE\u0301": ["gamma", "delta"],
            "cafe": [],  # an accent counts
            "caf": ["gamma", "delta"],
            "\u0130STANBUL": ["delta"],
            "no\u0308": [],
            "NOE\u0308L": ["gamma"],
            "hidden": [],
            " ": every,
            "  ": [],
            "%s": [],
            "%(text)s": [],
            "x' OR '1'='1": [],
        }.items():
            assert slugs(benchmarks.search(text)) == found, text
        query = infra.Query(
            filters={"category": "safety"}, sort="name", descending=True, with_total=True
        )
        page = benchmarks.search("A", query)
        assert (slugs(page), page.total) == (["gamma", "delta"], 2)
        page = benchmarks.search("", infra.Query(per_page=3, page=2, with_total=True))
        assert (slugs(page), page.total) == (["delta"], 4)
        assert benchmarks.search("nowhere", infra.Query(with_total=True)) == infra.Page(
            [], 1, 50, 0
        )

    def test_search_follows_changes(self, backend: ExchangeBackend) -> None:
        benchmarks, made = (
            backend.benchmarks,
            a_benchmark(backend, name="Before", description="old", tags=("t",)),
        )
        assert benchmarks.search("BEFORE").items == [made]  # with its tags
        benchmarks.update(replace(made, slug="later", name="After", description="new"))
        assert [slugs(benchmarks.search(text)) for text in ("before", "old", "mmlu")] == [
            [],
            [],
            [],
        ]
        assert [slugs(benchmarks.search(text)) for text in ("AFTER", "NEW", "LATER")] == [
            ["later"]
        ] * 3
        benchmarks.update_status(made.id, "under_review")
        assert slugs(benchmarks.search("after")) == ["later"]

    @pytest.mark.parametrize("text", ["x" * 201, "nul\0", "\ud800", None, 5], ids=ascii)
    def test_a_bad_search(self, backend: ExchangeBackend, text: Any) -> None:
        assert backend.benchmarks.search("😀" * 200).items == []
        with pytest.raises(infra.ValidationError):
            backend.benchmarks.search(text)

    def test_find_by_category(self, backend: ExchangeBackend) -> None:
        benchmarks = backend.benchmarks
        made = {}
        for category in ("performance", "accuracy", "reliability", "safety", "cost", "capability"):
            made[category] = a_benchmark(backend, category, category=category, tags=(category,))
        for category, benchmark in made.items():
            assert benchmarks.find_by_category(
                category, infra.Query(with_total=True)
            ) == infra.Page([benchmark], 1, 50, 1)
        backend.advance(1)
        later = a_benchmark(backend, "later", category="cost", status="active")
        assert benchmarks.find_by_category("cost").items == [made["cost"], later]
        assert benchmarks.find_by_category(
            "cost", infra.Query(descending=True, per_page=1)
        ).items == [later]
        drafts = infra.Query(filters={"status": "draft"}, with_total=True)
        assert benchmarks.find_by_category("cost", drafts) == infra.Page([made["cost"]], 1, 50, 1)
        for bad in ("speed", "Cost", "", None, 5):
            with pytest.raises(infra.ValidationError):
                benchmarks.find_by_category(bad)  # type: ignore[arg-type]
        with pytest.raises(infra.ValidationError):  # which of the two would it be?
            benchmarks.find_by_category("cost", infra.Query(filters={"category": "safety"}))

    def test_page(self, backend: ExchangeBackend) -> None:
        benchmarks, user, somebody = backend.benchmarks, a_user(backend), a_user(backend, "bob")
        assert benchmarks.page() == infra.Page([], 1, 50, None)
        assert benchmarks.count() == 0
        made = []
        for number, (name, license) in enumerate(
            [("b", "MIT"), ("C", None), ("a", "MIT"), ("é", None), ("B", None)]
        ):
            who = somebody if number == 2 else user
            tags = tuple(f"t{n}" for n in range(number))
            made.append(
                benchmarks.create(
                    a_draft(who, f"s-{number}", name=name, license=license, tags=tags)
                )
            )
            backend.advance(1)
        assert benchmarks.count() == 5
        assert benchmarks.page() == infra.Page(made, 1, 50, None)
        assert benchmarks.page(infra.Query(per_page=2, with_total=True)) == infra.Page(
            made[:2], 1, 2, 5
        )
        assert benchmarks.page(infra.Query(page=3, per_page=2)) == infra.Page(made[4:], 3, 2, None)
        assert benchmarks.page(infra.Query(page=4, per_page=2, with_total=True)) == infra.Page(
            [], 4, 2, 5
        )
        assert benchmarks.page(infra.Query(per_page=1000, page=10**9)).items == []
        by_name = [made[4], made[1], made[2], made[0], made[3]]  # by code point
        assert benchmarks.page(infra.Query(sort="name")).items == by_name
        assert benchmarks.page(infra.Query(sort="name", descending=True)).items == by_name[::-1]
        benchmarks.update_status(made[1].id, "under_review")
        moved = replace(made[1], status="under_review", updated_at=at(5))
        by_change = [made[0], *made[2:], moved]
        assert benchmarks.page(infra.Query(sort="updated_at")).items == by_change
        assert (
            benchmarks.page(infra.Query(sort="updated_at", descending=True)).items
            == by_change[::-1]
        )
        assert benchmarks.page(infra.Query(sort="created_at", descending=True)).items == [
            *made[:1:-1],
            moved,
            made[0],
        ]
        for filters, found in (
            ({"category": "accuracy"}, [made[0], moved, *made[2:]]),
            ({"category": "cost"}, []),
            ({"status": "under_review"}, [moved]),
            ({"license": "MIT"}, [made[0], made[2]]),
            ({"license": None}, [moved, made[3], made[4]]),
            ({"created_by": somebody.id}, [made[2]]),
            ({"license": "MIT", "created_by": user.id, "status": "draft"}, [made[0]]),
        ):
            query = infra.Query(filters=filters, with_total=True)
            assert benchmarks.page(query) == infra.Page(found, 1, 50, len(found)), filters

    def test_equal_sort_values_are_in_the_order_of_ids(self, backend: ExchangeBackend) -> None:
        benchmarks, user = backend.benchmarks, a_user(backend)
        for number in (3, 1, 5, 2, 4):
            benchmarks.create(a_draft(user, f"b-{number}", id=numbered(number), tags=("t",)))
        for sort in ("created_at", "updated_at", "name", ""):
            query = infra.Query(sort=sort)
            assert slugs(benchmarks.page(query)) == ["b-1", "b-2", "b-3", "b-4", "b-5"]
            backwards = replace(query, descending=True, per_page=2, page=2)
            assert (
                slugs(benchmarks.page(backwards))
                == slugs(benchmarks.find_by_tag("t", backwards))
                == ["b-3", "b-2"]
            )

    @pytest.mark.parametrize(
        "query",
        [
            {"page": 0},
            {"page": "1"},
            {"page": True},
            {"page": 10**9 + 1},
            {"per_page": 0},
            {"per_page": 1001},
            {"per_page": 2.0},
            {"sort": "slug"},
            {"sort": "search_folded"},
            {"sort": "name; DROP TABLE benchmarks"},
            {"filters": {"slug": "mmlu"}},
            {"filters": {"tags": ("a",)}},
            {"filters": {"search_folded": "m"}},
            {"filters": {"1 = 1 OR id": "x"}},
            {"filters": {"status": "gone"}},
            {"filters": {"category": None}},
            {"filters": {"created_by": "ada"}},
            {"descending": 1},
            {"filters": None},
        ],
        ids=str,
    )
    def test_a_bad_query(self, backend: ExchangeBackend, query: dict[str, Any]) -> None:
        benchmarks, bad = backend.benchmarks, infra.Query(**query)
        for call in (
            benchmarks.page,
            lambda query: benchmarks.find_by_tag("a", query),
            lambda query: benchmarks.find_by_category("cost", query),
            lambda query: benchmarks.search("a", query),
        ):
            with pytest.raises(infra.ValidationError):
                call(bad)

    # --- deletion and transactions

    def test_delete(self, backend: ExchangeBackend) -> None:
        benchmarks, made = backend.benchmarks, a_benchmark(backend, tags=("a", "b"))
        benchmarks.update(made)
        other = a_benchmark(backend, "other", tags=("a",))
        assert benchmarks.delete(numbered(1)) is False
        assert benchmarks.delete(made.id) is True
        assert benchmarks.delete(made.id) is False
        assert benchmarks.find_by_id(made.id) is None
        assert benchmarks.find_version_history(made.id) == []
        assert benchmarks.find_by_tag("a").items == [other]
        self.unchanged(backend, other)
        # Nothing is left in the way.
        again = a_benchmark(backend, id=made.id, version_id=made.version_id)
        assert again == replace(made, tags=())
        assert [each.version for each in benchmarks.find_version_history(made.id)] == ["1.0.0"]

    def test_what_has_submissions_stays(self, backend: ExchangeBackend) -> None:
        benchmarks, made = backend.benchmarks, a_benchmark(backend, tags=("a",))
        submission = backend.submissions.create(
            infra.Submission(made.id, made.version_id, "gpt", made.created_by)
        )
        benchmarks.update(made)
        with pytest.raises(infra.ConflictError) as caught:
            benchmarks.delete(made.id)
        error = caught.value
        assert (error.constraint, error.kind) == (
            "submissions_benchmark_version_id_fkey",
            "foreign_key",
        )
        assert (error.service, error.operation) == (backend.database.engine, "delete")
        found = benchmarks.find_by_id(made.id)
        assert found is not None
        assert (found.tags, len(benchmarks.find_version_history(made.id))) == (("a",), 2)
        assert backend.submissions.delete(submission.id) is True
        assert benchmarks.delete(made.id) is True

    def test_who_made_a_benchmark_stays(self, backend: ExchangeBackend) -> None:
        benchmarks, made = backend.benchmarks, a_benchmark(backend)
        with pytest.raises(infra.ConflictError) as caught:
            backend.users.delete(made.created_by)
        error = caught.value
        assert (error.constraint, error.kind, error.operation) == (
            "benchmarks_created_by_fkey",
            "foreign_key",
            "delete",
        )
        self.unchanged(backend, made)
        assert benchmarks.delete(made.id) is True
        assert backend.users.delete(made.created_by) is True

    def test_it_takes_part_in_a_transaction(self, backend: ExchangeBackend) -> None:
        benchmarks, made = backend.benchmarks, a_benchmark(backend, tags=("a",))
        with pytest.raises(ZeroDivisionError), backend.database.transaction():
            new = a_benchmark(backend, "new", tags=("b",))
            benchmarks.update(replace(made, tags=("c",)))
            benchmarks.update_status(made.id, "under_review")
            assert slugs(benchmarks.find_by_tag("c")) == ["mmlu"]
            assert benchmarks.find_by_slug("new") == new
            raise ZeroDivisionError
        self.unchanged(backend, made)
        assert (benchmarks.find_by_tag("b").items, benchmarks.find_version_history(new.id)) == (
            [],
            [],
        )
        with backend.database.transaction():
            benchmarks.update_status(made.id, "under_review")
            benchmarks.update(replace(made, status="under_review", tags=("c",)))
        assert slugs(benchmarks.find_by_tag("c")) == ["mmlu"]

    def test_a_refusal_is_not_the_end_of_a_transaction(self, backend: ExchangeBackend) -> None:
        """A call of several statements is atomic, and the caller may go on after a failure."""
        benchmarks, made = backend.benchmarks, a_benchmark(backend, tags=("a",))
        with backend.database.transaction():
            with pytest.raises(infra.ConflictError):
                a_benchmark(backend, tags=("b",))
            with pytest.raises(infra.ConflictError):
                benchmarks.update(replace(made, version="1.5.0"))
            with pytest.raises(infra.NotFoundError):
                benchmarks.update(replace(made, id=numbered(1)))
            with pytest.raises(infra.ConflictError):
                benchmarks.update_status(made.id, "archived")
            other = a_benchmark(backend, "other", tags=("b",))
        assert benchmarks.find_by_tag("b").items == [other]
        assert benchmarks.find_by_id(made.id) == made


class TestFakeMySQL(BenchmarkRepositoryContract):
    backend = on_fake_exchange("mysql")


class TestFakePostgres(BenchmarkRepositoryContract):
    backend = on_fake_exchange("postgres")


class TestMariaDB(BenchmarkRepositoryContract):
    backend = on_real_exchange("mariadb")


class TestMySQL(BenchmarkRepositoryContract):
    backend = on_real_exchange("mysql")


class TestPostgres(BenchmarkRepositoryContract):
    backend = on_real_exchange("postgres")


class TestPostgres18(BenchmarkRepositoryContract):
    backend = on_real_exchange("postgres-18")


def test_the_fake_fails_on_demand() -> None:
    services = fakes.FakeInfrastructure()
    user = services.users.create(infra.User("ada@example.org", "ada"))
    benchmarks = services.benchmarks
    made = benchmarks.create(a_draft(user, tags=("a",)))
    benchmarks.fail_next("update", infra.TimeoutError, after_apply=True)
    with pytest.raises(infra.TimeoutError):
        benchmarks.update(replace(made, tags=("b",)))
    assert slugs(benchmarks.find_by_tag("b")) == ["mmlu"]  # the work was done, the answer was lost
    assert len(benchmarks.find_version_history(made.id)) == 2
    benchmarks.fail_next("create", infra.TimeoutError)
    with pytest.raises(infra.TimeoutError):
        benchmarks.create(a_draft(user, "new"))
    assert benchmarks.count() == 1
    services.exchange.down = True
    with pytest.raises(infra.ConnectionError):
        benchmarks.find_by_tag("b")
    services.exchange.down = False
    assert benchmarks.exists_by_slug("mmlu") is True


def test_a_call_takes_one_fault() -> None:
    """Methods share their code, and update calls several tables."""
    services = fakes.FakeInfrastructure()
    benchmarks = services.benchmarks
    made = benchmarks.create(
        a_draft(services.users.create(infra.User("ada@example.org", "ada")), tags=("a",))
    )
    calls: list[Callable[[], Any]] = [
        lambda: benchmarks.create(
            replace(made, slug="new", id=infra.FILLED, version_id=infra.FILLED)
        ),
        lambda: benchmarks.update(made),
        lambda: benchmarks.update_status(made.id, "under_review"),
        lambda: benchmarks.find_by_tag("a", infra.Query(with_total=True)),
        lambda: benchmarks.find_by_category("accuracy"),
        lambda: benchmarks.search("m"),
        lambda: benchmarks.find_version(made.id, "1.0.0"),
        lambda: benchmarks.find_by_slug("mmlu"),
        lambda: benchmarks.delete(made.id),
    ]
    benchmarks.fail_next("*", infra.TimeoutError, times=len(calls))
    for call in calls:
        with pytest.raises(infra.TimeoutError):
            call()
    assert benchmarks.page().items == [made]


def test_the_fake_is_ready_to_use() -> None:
    benchmarks = fakes.FakeBenchmarkRepository()
    users = fakes.FakeUserRepository(benchmarks.database)
    benchmarks.create(a_draft(users.create(infra.User("ada@example.org", "ada"))))
    assert benchmarks.exists_by_slug("mmlu") is True
