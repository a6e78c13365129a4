"""Costs of the benchmark exchange on real servers: a fixed number of statements, none by row."""

from __future__ import annotations

import functools
import itertools
import re
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

import infra
from tests.contract.databases import ENGINES, migrated, real_exchange
from tests.faults.proxy import Recording

pytestmark = pytest.mark.real

IN_TRANSACTION = {"begin", "commit", "run"}


class Exchange:
    """One user; ``cost`` counts the statements of a call, without those of transactions."""

    def __init__(self, url: str, proxy: Recording) -> None:
        self.proxy = proxy
        self.calls: list[str] = []
        self.pool = infra.create_pool(infra.DatabaseConfig(url=url), observer=self.see)
        for table in ("submissions", "benchmarks", "organizations", "users"):
            self.pool.execute(f"DELETE FROM {table}")
        classes = ENGINES[self.pool.engine]
        self.benchmarks: infra.BenchmarkRepository = classes.benchmarks(self.pool)
        self.submissions: infra.SubmissionRepository = classes.submissions(self.pool)
        self.organizations: infra.OrganizationRepository = classes.organizations(self.pool)
        self.users: infra.UserRepository = classes.users(self.pool)
        self.user = self.users.create(infra.User("ada@example.org", "ada"))

    def see(self, call: infra.Call) -> None:
        assert (call.outcome, call.attempt) == ("ok", 1)
        self.calls.append(call.operation)

    def draft(self, slug: str, tags: int = 3, cases: int = 3) -> infra.Benchmark:
        names = tuple(f"tag {number:03}" for number in range(tags))
        return infra.Benchmark(
            slug,
            "MMLU",
            category="accuracy",
            created_by=self.user.id,
            tags=names,
            test_cases=[*range(cases)],
        )

    def cost(self, call: Callable[[], Any]) -> tuple[int, Any]:
        self.calls.clear()
        result = call()
        operations = [each for each in self.calls if each not in IN_TRANSACTION]
        assert len({*operations}) == 1  # each statement has the name of the method that was called
        around = [each for each in self.calls if each in IN_TRANSACTION]
        writes_more_than_once = operations[0] in ("create", "update") and len(operations) > 1
        assert around == (["begin", "commit", "run"] if writes_more_than_once else [])
        return len(operations), result


MYSQL, POSTGRES = ["mariadb", "mysql"], ["postgres", "postgres-18"]
on_mysql = pytest.mark.parametrize("exchange", MYSQL, indirect=True)
on_postgres = pytest.mark.parametrize("exchange", POSTGRES, indirect=True)


@pytest.fixture(params=[*MYSQL, *POSTGRES])
def exchange(database: Callable[[str], str], request: pytest.FixtureRequest) -> Iterator[Exchange]:
    url = migrated(database, request.param)
    port = urllib.parse.urlsplit(url).port or 0
    with Recording(port) as proxy:
        made = Exchange(url.replace(f":{port}/", f":{proxy.port}/"), proxy)
        with made.pool:
            yield made


@pytest.mark.parametrize(("tags", "statements"), [(0, 2), (1, 3), (5, 3), (50, 3), (100, 3)])
def test_create_and_update_cost_the_same_whatever_they_hold(
    exchange: Exchange, tags: int, statements: int
) -> None:
    benchmarks = exchange.benchmarks
    cost, made = exchange.cost(lambda: benchmarks.create(exchange.draft("mmlu", tags, tags * 10)))
    assert cost == statements  # the benchmark, its version, its tags
    for _ in range(3):
        cost, _ = exchange.cost(lambda: benchmarks.update(made))
        assert cost == statements + 2  # the number of the version, and old tags are removed
        found = benchmarks.find_by_id(made.id)
        assert found is not None
        assert len(found.tags) == tags
        made = found


def test_reading_benchmarks(exchange: Exchange) -> None:
    benchmarks = exchange.benchmarks
    made = [benchmarks.create(exchange.draft(f"b-{number}", number % 7)) for number in range(60)]
    for _ in range(15):
        benchmarks.update(benchmarks.find_by_id(made[0].id) or made[0])
    for per_page in (1, 50):
        for query, statements in (
            (infra.Query(per_page=per_page), 1),
            (infra.Query(per_page=per_page, with_total=True), 2),
            (infra.Query(per_page=per_page, page=1000), 1),
            (infra.Query(per_page=per_page, filters={"status": "active"}, with_total=True), 2),
        ):
            assert exchange.cost(lambda: benchmarks.page(query))[0] == statements
            assert (
                exchange.cost(lambda: benchmarks.find_by_category("accuracy", query))[0]
                == statements
            )
            assert exchange.cost(lambda: benchmarks.find_by_tag("tag 000", query))[0] == statements
            assert exchange.cost(lambda: benchmarks.search("mm", query))[0] == statements
    assert len(benchmarks.page().items) == 50
    slug, id = made[6].slug, made[6].id
    for call, statements in (
        (lambda: benchmarks.find_by_id(id), 1),
        (lambda: benchmarks.find_by_id(infra.new_id()), 1),
        (lambda: benchmarks.find_by_slug(slug), 1),
        (lambda: benchmarks.exists_by_slug(slug), 1),
        (lambda: benchmarks.find_version(id, "1.0.0"), 1),
        (lambda: benchmarks.find_version_history(made[0].id), 1),
        (lambda: benchmarks.count(), 1),
        (lambda: benchmarks.update_status(id, "under_review"), 1),
        (lambda: benchmarks.delete(made[0].id), 1),
    ):
        assert exchange.cost(call)[0] == statements


def test_tags_are_whole_if_the_server_has_a_low_limit(database: Callable[[str], str]) -> None:
    """MariaDB before 10.2.4 has 1 kB, and later ones where a configuration says so."""
    url = migrated(database, "mariadb")
    with infra.create_pool(infra.DatabaseConfig(url=url)) as pool:
        (usual,) = pool.fetch_one("SELECT @@GLOBAL.group_concat_max_len") or (0,)
        pool.execute("SET GLOBAL group_concat_max_len = 1024")
        try:
            made = real_exchange(url)
        finally:
            pool.execute("SET GLOBAL group_concat_max_len = %s", (usual,))
    with made.database:
        ada = made.users.create(infra.User("ada@example.org", "ada"))
        tags = tuple(f"{number:03}" + "\U0001f600" * 47 for number in range(100))
        draft = infra.Benchmark("b", "B", category="cost", created_by=ada.id, tags=tags)
        stored = made.benchmarks.create(draft)
        assert made.benchmarks.find_by_id(stored.id) == stored


@pytest.mark.parametrize("rows", [2, 60])
def test_submissions(exchange: Exchange, rows: int) -> None:
    submissions, benchmark = (
        exchange.submissions,
        exchange.benchmarks.create(exchange.draft("mmlu")),
    )
    draft = infra.Submission(benchmark.id, benchmark.version_id, "gpt", exchange.user.id, None, 0.5)
    for number in range(rows):
        lab = exchange.organizations.create(
            infra.Organization("Lab", f"lab-{number}"), exchange.user.id
        )
        made = submissions.create(replace(draft, organization_id=lab.id))
    cost, found = exchange.cost(lambda: submissions.leaderboard(benchmark.id))
    assert (cost, len(found)) == (1, rows)
    cost, found = exchange.cost(lambda: submissions.leaderboard(benchmark.id, benchmark.version_id))
    assert (cost, len(found)) == (1, rows)
    total = infra.Query(with_total=True)
    for call, statements in (
        (lambda: submissions.page(), 1),
        (lambda: submissions.page(total), 2),
        (lambda: submissions.find_for_benchmark(benchmark.id), 1),
        (lambda: submissions.find_for_benchmark(benchmark.id, total, visibility=None), 2),
        (lambda: submissions.find_by_user(exchange.user.id), 1),
        (lambda: submissions.find_by_user(exchange.user.id, total), 2),
        (lambda: submissions.find_best_for_model(benchmark.id, "gpt"), 1),
        (lambda: submissions.exists_for_model_version("gpt", benchmark.version_id), 1),
        (lambda: submissions.find_by_id(made.id), 1),
        (lambda: submissions.count(), 1),
        (lambda: submissions.create(draft), 1),
        (lambda: submissions.update(made), 1),
        (lambda: submissions.update_verification(made.id, "audited", {}), 1),
        (lambda: submissions.update_visibility(made.id, "private"), 1),
        (lambda: submissions.delete(made.id), 1),
    ):
        assert exchange.cost(call)[0] == statements


def many(exchange: Exchange, count: int) -> infra.Benchmark:
    """A benchmark with ``count`` submissions, users, organizations, owners and benchmarks."""
    benchmark = exchange.benchmarks.create(exchange.draft("mmlu"))
    now = infra.SystemClock().now()
    moments = [now + timedelta(seconds=number * 7919 % count) for number in range(count)]
    ids = [infra.new_id() for _ in range(count)]
    numbers, texts = range(count), [*map(str, range(count))]
    visibilities = [
        "unlisted" if number % 100 == 0 else "private" if number % 5 == 0 else "public"
        for number in numbers
    ]

    def fill(table: str, **columns: Iterable[Any]) -> None:
        named = {"id": ids, "created_at": moments, "updated_at": moments[::-1], **columns}
        kept = {name: values for name, values in named.items() if values}
        exchange.pool.insert_many(table, [*kept], zip(*kept.values()))

    same = itertools.repeat
    fill(
        "users", email=texts, username=texts, display_name=same(""), role=same("registered"),
        email_verified=same(True), profile=same({}), email_folded=texts, username_folded=texts,
    )  # fmt: skip
    fill(
        "organizations", name=texts, slug=texts, description=same(""), verified=same(True),
        organization_type=["individual" if number % 100 else "enterprise" for number in numbers],
        search_folded=same(""),
    )  # fmt: skip
    fill(
        "organization_members", organization_id=same(ids[0]), user_id=ids, id=(), updated_at=(),
        role=["owner" if number > count - 3 else "member" for number in numbers],
    )  # fmt: skip
    fill(
        "benchmarks", slug=texts, name=texts, description=same(""), long_description=same(""),
        category=same("cost"), status=same("draft"), version=same("1.0.0"),
        created_by=same(exchange.user.id), evaluation_criteria=same({}), execution_config=same({}),
        test_cases=same([]), version_id=ids, search_folded=same(""),
    )  # fmt: skip
    fill(
        "submissions", benchmark_id=same(benchmark.id),
        benchmark_version_id=same(benchmark.version_id),
        model=[f"m{number % 50}" for number in numbers], user_id=same(exchange.user.id),
        aggregate_score=[float(number * 7919 % count) for number in numbers], results=same({}),
        execution=same({}), verification_level=same("unverified"), visibility=visibilities,
    )  # fmt: skip
    fill("benchmark_tags", benchmark_id=ids, tag=same("a"), id=(), created_at=(), updated_at=())
    analyze = {
        "mysql": "ANALYZE TABLE users, organizations, organization_members, benchmarks, "
        "benchmark_tags, submissions",
        "postgres": "ANALYZE",
    }
    exchange.pool.execute(analyze[exchange.pool.engine])
    return benchmark


def plans(exchange: Exchange, call: Callable[[], Any]) -> list[str]:
    """How the server runs what the call sends, read by read."""
    exchange.proxy.requests.clear()
    call()
    sent = queries(b"".join(exchange.proxy.requests))
    explain = "EXPLAIN (ANALYZE, TIMING OFF, BUFFERS OFF)"
    return [
        "\n".join(line for (line,) in exchange.pool.fetch_all(f"{explain} {sql}"))
        for sql in sent
        if sql.lstrip().startswith("SELECT")
    ]


def queries(requests: bytes) -> list[str]:
    """The texts of simple queries: "Q", the length behind it, the text and a NUL."""
    found, at = [], 0
    while at < len(requests):
        assert requests[at : at + 1] == b"Q"
        end = at + 1 + int.from_bytes(requests[at + 1 : at + 5], "big")
        found.append(requests[at + 5 : end - 1].decode())
        at = end
    return found


def rank_calls(exchange: Exchange) -> list[tuple[Callable[[], Any], str, int]]:
    """Calls that read ranks, each with its index and the number of rows that it returns."""
    submissions, benchmark = exchange.submissions, many(exchange, 5000)
    version = benchmark.version_id
    return [
        (lambda: submissions.leaderboard(benchmark.id, limit=10), "leaderboard_idx", 10),
        (lambda: submissions.leaderboard(benchmark.id, version, limit=10), "leaderboard_idx", 10),
        (lambda: submissions.find_best_for_model(benchmark.id, "m7"), "best_for_model_idx", 1),
    ]


@on_postgres
def test_ranks_are_read_from_an_index(exchange: Exchange) -> None:
    """Of many submissions no more are read than are returned, and none is sorted before that."""
    for call, index, limit in rank_calls(exchange):
        (plan,) = plans(exchange, call)
        ((before, scan),) = [
            lines
            for lines in itertools.pairwise(plan.splitlines())
            if " on submissions" in lines[1]
        ]
        assert index in scan, plan
        assert re.search(rf"actual rows={limit}(\.00)? ", scan), plan
        assert "Limit" in before, plan


def page_calls(exchange: Exchange) -> dict[str, Callable[[], Any]]:
    """Calls that each read a page of ten rows, or fewer, of many."""
    users, organizations = exchange.users, exchange.organizations
    benchmark, submissions = many(exchange, 5000), exchange.submissions
    crowd = organizations.page(infra.Query(per_page=1, sort="name")).items[0]
    calls: dict[str, Callable[[], Any]] = {
        f"{type(each).__name__} {sort} {descending}": functools.partial(
            each.page, infra.Query(per_page=10, sort=sort, descending=descending)
        )
        for each in (users, organizations, exchange.benchmarks, submissions)
        for sort in each.sort_fields
        for descending in (False, True)
    }
    ten = infra.Query(per_page=10)
    for visibility in ("public", "unlisted", "private", None):
        calls[f"submissions {visibility}"] = functools.partial(
            submissions.find_for_benchmark, benchmark.id, ten, visibility=visibility
        )
    calls["by user"] = lambda: submissions.find_by_user(exchange.user.id, ten)
    calls["by category"] = lambda: exchange.benchmarks.find_by_category("cost", ten)
    calls["by type"] = lambda: organizations.find_by_type("enterprise", ten)
    calls["members"] = lambda: organizations.find_members(crowd.id, ten)
    owner = (
        organizations.find_members(crowd.id, infra.Query(filters={"role": "owner"})).items[0].user
    )
    calls["owners"] = lambda: users.remove_from_organization(owner.id, crowd.id)
    rare, late = (
        users.page(infra.Query(per_page=1, sort="username")).items[0],
        infra.SystemClock().now(),
    )
    entry = submissions.create(
        infra.Submission(benchmark.id, benchmark.version_id, "rare", rare.id, created_at=late)
    )
    calls["by a rare user"] = lambda: submissions.find_by_user(rare.id, ten)
    calls["by a rare tag"] = lambda: exchange.benchmarks.find_by_tag("tag 001", ten)
    calls["a model"] = lambda: submissions.exists_for_model_version(
        entry.model, benchmark.version_id
    )
    calls["organizations"] = lambda: users.find_organizations(rare.id)
    return calls


@on_postgres
def test_pages_are_read_from_an_index(exchange: Exchange) -> None:
    """Any order reads only rows up to the page's end; an owner is found among many members."""
    for name, call in page_calls(exchange).items():
        read_by = plans(exchange, call)
        assert read_by, name
        for plan in read_by:
            read = [int(found) for found in re.findall(r"(?:Scan|Index).*actual rows=(\d+)", plan)]
            dropped = [int(found) for found in re.findall(r"Rows Removed by \S+: (\d+)", plan)]
            assert "Seq Scan" not in plan, f"{name}\n{plan}"
            assert sum(read) + sum(dropped) <= 40, f"{name}\n{plan}"


def status(pool: infra.ConnectionPool) -> tuple[int, int]:
    """The rows that the session of MySQL has read, and those that it has sorted."""
    found = dict(pool.fetch_all("SHOW SESSION STATUS"))
    read = sum(int(value) for name, value in found.items() if name.startswith("Handler_read"))
    return read, int(found["Sort_rows"])


def read_and_sorted(pool: infra.ConnectionPool, call: Callable[[], Any]) -> tuple[int, int]:
    with pool.transaction():  # for one session
        first, before = status(pool), status(pool)
        call()
        after = status(pool)
    read, sorted_ = (after[each] - before[each] - (before[each] - first[each]) for each in range(2))
    return read, sorted_


@on_mysql
def test_ranks_are_read_from_an_index_of_mysql(exchange: Exchange) -> None:
    """It sorts only what it returns, because the rows of a subquery have no order."""
    for call, index, limit in rank_calls(exchange):
        read, sorted_ = read_and_sorted(exchange.pool, call)
        assert (read <= 5 * limit, sorted_ <= limit) == (True, True), (index, read, sorted_)


@on_mysql
def test_pages_are_read_from_an_index_of_mysql(exchange: Exchange) -> None:
    """Of few rows that match, MySQL may read and sort all: here the 50 that are unlisted."""
    for name, call in page_calls(exchange).items():
        read, sorted_ = read_and_sorted(exchange.pool, call)
        assert (read <= 100, sorted_ <= 10) == (True, True), (name, read, sorted_)


@on_postgres
def test_what_refers_to_a_row_is_found_by_an_index(exchange: Exchange) -> None:
    """A delete of a row looks for rows that refer to it."""
    without = exchange.pool.fetch_all("""
        SELECT conname FROM pg_constraint
        WHERE contype = 'f' AND connamespace = current_schema()::regnamespace
        AND NOT EXISTS (
            SELECT FROM pg_index WHERE indrelid = conrelid AND indkey[0] = ANY (conkey)
            AND (indpred IS NULL OR pg_get_expr(indpred, indrelid) ~ '^[(][a-z_]+ IS NOT NULL[)]$')
        )""")
    assert without == []
    assert exchange.pool.fetch_all("SELECT count(*) FROM pg_constraint WHERE contype = 'f'") == [
        (9,)
    ]
