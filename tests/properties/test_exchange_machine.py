"""The same operations to the fake exchange and to a server.

Results, error classes, names of constraints, and tables must agree. There are few ids and texts, so
that rows meet. Records have values that are stored, odd ones too, and sometimes one that is
refused. Results are kept and used again, stale by then. Ids that the library draws are counted, for
both alike.
"""

from __future__ import annotations

import enum
import functools
import math
import unicodedata
import uuid
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run

import fakes
import infra
from tests.contract.databases import (
    ExchangeBackend,
    dialect_of,
    empty_exchange,
    fake_exchange,
    migrated,
    real_exchange,
)
from tests.properties.blocks import BlockMachine
from tests.scale import PROVE


class Role(str, enum.Enum):
    OWNER = "owner"
    ADMIN = "admin"


def mostly(usual: Sequence[Any], *odd: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([*usual] * 4 + [*odd])


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels > 1 else []


UTC = timezone.utc
IDS = [uuid.UUID(int=number << 64) for number in range(1, 4)]
# The first that the library draws.
DRAWN = [uuid.UUID(int=9 << 64 | number) for number in range(1, 3)]
GREATEST = uuid.UUID(int=10 << 64)  # of no row, or of one that was there first
ID = mostly([*IDS, *IDS[:2], *DRAWN], GREATEST, None, str(IDS[0]))
NEW_ID = st.sampled_from([*IDS, infra.FILLED, infra.FILLED])
MEMBER_ID = mostly([*IDS[:2], IDS[0]], IDS[2], *DRAWN, None, "a")
BACK = st.integers(0, 3)  # which record of those kept: the last one, or one before
MOMENTS = st.sampled_from(
    [
        None,
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 1, 1, 0, 0, 1, tzinfo=timezone(timedelta(hours=1))),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
    ]
)
NAIVE = datetime(2026, 1, 1)
# As case, composition, patterns and quotes have it; with what nobody sees; and what is no text of
# ours.
TEXTS = [
    "a",
    "A",
    "b",
    "é",
    "e\u0301",
    "É",
    "ß",
    "SS",
    "İ",
    "%",
    "_",
    "a|%",
    "a\\",
    "'\"",
    "😀",
    "\uff5e",
    "a b",
]
INVISIBLE = ["a\u200b", "\u2060b", "a\u00ad", "\x7f", "\x01", "\ufeffa"]
LOOSE = [*TEXTS, *INVISIBLE, "", " ", "a ", " a", "a\n", "\ta", "\u2028"]
NO_TEXT = ["a\0", "\ud800", 1, b"a"]
DOCUMENTS: list[dict[str, Any]] = [
    {},
    {"b": {"c": [1, None, True, 1.5, "é"]}, "a": 1},
    {"a": 1, "b": {}},
    {"a": 1.0, "A": -0.0, "": 10**30},
    {"a": "\\u0000 e\u0301 😀 \u2028 \x7f '\"%s", "e\u0301": [], "é": 5e-324},
    {"a": nested(99)},
]
NO_DOCUMENTS = [
    {"a": math.nan}, {"a": -math.inf}, {"a": (1,)}, {1: 2}, {"a": "\0"}, {"a": "\ud800"},
    {"a": {1}},
    {"a": nested(100)}, [], "{}", None,
]  # fmt: skip
SLUGS = ["a", "b", "a-b", "a1", "x" * 100]
NO_SLUGS = ["A", "a_b", "-a", "a ", "é", "", "x" * 101, "a\n", *NO_TEXT]

Fields = dict[str, st.SearchStrategy[Any]]
Changes = dict[str, Any]


def refusals(**values: Sequence[Any]) -> list[Changes]:
    return [{name: value} for name, each in values.items() for value in each]


def records(record: type, parts: Fields, refused: Sequence[Changes]) -> st.SearchStrategy[Any]:
    """One in five with a value that is refused."""
    spoilt = st.sampled_from([{}] * 4 * len(refused) + [*refused])

    @st.composite
    def made(draw: st.DrawFn) -> Any:
        return record(**{**{name: draw(each) for name, each in parts.items()}, **draw(spoilt)})

    return made()


def changes(parts: Fields, refused: Sequence[Changes]) -> st.SearchStrategy[Changes]:
    """Of one field, mostly: some fields may not be changed together with others."""
    single = [st.fixed_dictionaries({name: values}) for name, values in parts.items()]
    return st.one_of(
        st.just({}), *single, st.fixed_dictionaries({}, optional=parts), st.sampled_from(refused)
    )


NAMES = ["a", "A", "é", "e\u0301", "É", "ß", "SS", "%", "'\"\\", "😀"]
EMAILS = [f"{name}@x" for name in NAMES]
EMAIL = mostly(EMAILS, "a\u200b@x", "a", "a@", "a @x", "a@x\n", "x" * 253 + "@x", None)
USERNAME = mostly(NAMES, *INVISIBLE, "", "a b", "a@", "a ", "x" * 51, None)
USER_PARTS: Fields = {
    "email": st.sampled_from([*EMAILS, "x" * 252 + "@x"]),
    "username": st.sampled_from([*NAMES, "x" * 50]),
    "display_name": st.sampled_from([*LOOSE, "x" * 100]),
    "role": st.sampled_from(
        ["anonymous", "registered", "contributor", "reviewer", "admin", Role.ADMIN]
    ),
    "email_verified": st.booleans(),
    "profile": st.sampled_from(DOCUMENTS),
    "created_at": MOMENTS,
    "last_active_at": MOMENTS,
}
USER_REFUSED = refusals(
    id=["a", 1],
    email=["a", "a @x", "x" * 253 + "@x", None, *NO_TEXT],
    username=[*INVISIBLE, "", "a b", "a@", "x" * 51, None, *NO_TEXT],
    display_name=["x" * 101, "x" * 100 + " ", None, *NO_TEXT],
    role=["king", "", "admin ", Role.OWNER, None],
    email_verified=[1, None, "True"],
    profile=NO_DOCUMENTS,
    created_at=[NAIVE, "2026-01-01", datetime.max.replace(tzinfo=timezone(-timedelta(hours=1)))],
)
USER = records(infra.User, {"id": NEW_ID, **USER_PARTS}, USER_REFUSED)
USER_CHANGES = changes(USER_PARTS, USER_REFUSED)
PASSWORD = mostly(["$scrypt$1", "$scrypt$2", None], "", " a", "é" * 255, "x" * 256, *NO_TEXT)
TYPES = ["llm_provider", "research_institution", "individual"]
ORGANIZATION_PARTS: Fields = {
    "name": st.sampled_from([*TEXTS, *INVISIBLE[:3], "x" * 200]),
    "slug": st.sampled_from(SLUGS),
    "description": st.sampled_from([*LOOSE, "😀" * 5000]),
    "website": st.sampled_from([None, "https://x", "http://é/%'\\"]),
    "logo_url": st.sampled_from([None, "https://x"]),
    "organization_type": st.sampled_from(TYPES),
    "verified": st.booleans(),
    "verification_date": MOMENTS,
}
ORGANIZATION_REFUSED = refusals(
    id=["a"],
    name=["", " a", "a\u2028", "x" * 201, None, *NO_TEXT],
    slug=NO_SLUGS,
    description=["x" * 5001, None, *NO_TEXT],
    website=["", "ftp://x", "https://a b", "https://" + "x" * 1993, *NO_TEXT],
    organization_type=["firm", None],
    verified=[0],
    verification_date=[NAIVE],
)
ORGANIZATION = records(
    infra.Organization, {"id": NEW_ID, **ORGANIZATION_PARTS}, ORGANIZATION_REFUSED
)
ORGANIZATION_CHANGES = changes(ORGANIZATION_PARTS, ORGANIZATION_REFUSED)
MEMBER_ROLE = mostly(["member", "admin", "owner", "owner", Role.OWNER], "king", "", None, "owner ")
TAGS = [
    (),
    ("a",),
    ("b", "a"),
    ("A", "a", "a"),
    ("é", "e\u0301", "É"),
    ("%", "_", "'\"\\", "a b"),
    ("x" * 50,),
    ["a"],
]
TAG = mostly(["a", "a", "A", "b", "é", "e\u0301", "%", "_"], "", "a ", "x" * 51, *NO_TEXT)
VERSION = mostly(
    ["1.0.0", "1.1.0", "1.2.0", "2.0.0"],
    "0.0.0",
    "1",
    "1.0.0 ",
    "01.0.0",
    "1.0.1000000000",
    "",
    None,
)
CATEGORIES = ["safety", "cost"]
STATUSES = ["draft", "under_review", "active", "deprecated", "archived"]
BENCHMARK_PARTS: Fields = {
    "slug": st.sampled_from(SLUGS),
    "name": st.sampled_from([*TEXTS, *INVISIBLE[:3], "x" * 200]),
    "description": st.sampled_from(LOOSE),
    "long_description": st.sampled_from(["", "a", "é'%"]),
    "category": st.sampled_from(CATEGORIES),
    "tags": st.sampled_from(TAGS),
    "license": st.sampled_from([None, "MIT", "é"]),
    "created_by": mostly(IDS[:2], IDS[2]),
    "evaluation_criteria": st.sampled_from(DOCUMENTS),
    "execution_config": st.sampled_from(DOCUMENTS),
    "test_cases": st.sampled_from([[], [1, 1.0, None], [DOCUMENTS[1]], nested(100)]),
}
BENCHMARK_REFUSED = refusals(
    slug=NO_SLUGS,
    name=["", "a ", "x" * 201, None, *NO_TEXT],
    description=["x" * 5001, *NO_TEXT],
    long_description=[None, *NO_TEXT],
    category=["speed", None],
    status=["gone", None],
    version=["1", "1.0.0 ", "01.0.0", "1.0.1000000000", None],
    tags=["a", None, ("",), ("a ",), ("x" * 51,), ("\0",), (1,), (("a",),), ("a",) * 101],
    license=["", " a", "x" * 101],
    created_by=[None, "a"],
    evaluation_criteria=NO_DOCUMENTS,
    test_cases=[(), {}, [math.nan], [(1,)], nested(101)],
)
BENCHMARK = records(
    infra.Benchmark,
    {
        "id": NEW_ID,
        "version_id": NEW_ID,
        "status": mostly(["draft"], *STATUSES),
        "version": mostly(["1.0.0"], "0.0.0", "1.2.3", "0.999999999.0", "999999999.0.0"),
        **BENCHMARK_PARTS,
    },
    BENCHMARK_REFUSED,
)
BENCHMARK_CHANGES = changes(
    BENCHMARK_PARTS, [*BENCHMARK_REFUSED, {"version": "1.2.3"}, {"status": "active"}]
)
MODEL = mostly(["a", "A", "é", "e\u0301", "%"], "", " a", "x" * 200, "x" * 201, None, *NO_TEXT)
LEVELS = ["unverified", "community_verified", "platform_verified", "audited"]
VISIBILITIES = ["public", "unlisted", "private"]
SUBMISSION_PARTS: Fields = {
    "model": st.sampled_from(["a", "A", "é", "e\u0301", "%"]),
    "user_id": mostly(IDS[:2], IDS[2]),
    "organization_id": mostly([None, IDS[0]], IDS[2]),
    "aggregate_score": st.sampled_from(
        [None, 1.0, 1.0, 1, 0.0, -0.0, 0.1 + 0.2, -1.5, 5e-324, -1.7e308]
    ),
    "results": st.sampled_from(DOCUMENTS),
    "execution": st.sampled_from(DOCUMENTS[:2]),
    "visibility": mostly(["public"], *VISIBILITIES),
    "verification_level": mostly(["unverified"], *LEVELS),
    "verification": st.sampled_from([None, *DOCUMENTS]),
    "verified_at": MOMENTS,
}
SUBMISSION_REFUSED = refusals(
    model=["", " a", "x" * 201, None, *NO_TEXT],
    user_id=[None, "a"],
    benchmark_id=[None, "a", IDS[2]],
    benchmark_version_id=[None, "a", IDS[2]],
    aggregate_score=[math.nan, math.inf, -math.inf, True, "1", 10**400],
    results=NO_DOCUMENTS,
    verification=NO_DOCUMENTS[:-1],
    visibility=["secret", "", None],
    verification_level=["sure", None],
    verified_at=[NAIVE],
)
SUBMISSION = records(
    infra.Submission,
    {
        "id": NEW_ID,
        "benchmark_id": st.sampled_from(IDS),
        "benchmark_version_id": st.sampled_from(IDS),
    }
    | SUBMISSION_PARTS,
    SUBMISSION_REFUSED,
)
SUBMISSION_CHANGES = changes(SUBMISSION_PARTS, SUBMISSION_REFUSED)
WANTED = mostly([*"aAbéxe", *LOOSE, "ss", "a\na", "|"], "x" * 200, "x" * 201, None, *NO_TEXT)


def queries(sorts: Sequence[str], filters: Fields) -> st.SearchStrategy[infra.Query]:
    refused = refusals(
        page=[0, -1, True, 1.0, 10**9 + 1, None],
        per_page=[0, 1001, None],
        sort=["id", "nothing", "created_at desc"],
        descending=[1],
        filters=[
            {"id": IDS[0]},
            *({name: value} for name in filters for value in (1.5, None, "a\0")),
        ],
    )
    parts: Fields = {
        "page": mostly([1], 2, 10**9),
        "per_page": st.sampled_from([1, 2, 50]),
        "sort": st.sampled_from(["", *sorts]),
        "descending": st.booleans(),
        "filters": st.one_of(
            st.just({}), *(st.fixed_dictionaries({name: each}) for name, each in filters.items())
        ),
        "with_total": st.booleans(),
    }
    return records(infra.Query, parts, refused)


USERS = queries(
    ["created_at", "updated_at", "username"],
    {"role": USER_PARTS["role"], "email_verified": st.booleans()},
)
ORGANIZATIONS = queries(
    ["created_at", "updated_at", "name"],
    {"organization_type": st.sampled_from(TYPES), "verified": st.booleans()},
)
MEMBERS = queries(["created_at"], {"role": MEMBER_ROLE})
BENCHMARKS = queries(
    ["created_at", "updated_at", "name"],
    {
        "category": st.sampled_from(CATEGORIES),
        "status": st.sampled_from(STATUSES),
        "license": BENCHMARK_PARTS["license"],
        "created_by": st.sampled_from(IDS),
    },
)
SUBMISSIONS = queries(
    ["created_at", "updated_at", "aggregate_score"],
    {
        "benchmark_id": st.sampled_from(IDS),
        "benchmark_version_id": st.sampled_from(IDS),
        "model": SUBMISSION_PARTS["model"],
        "user_id": st.sampled_from(IDS),
        "organization_id": st.sampled_from([None, IDS[0]]),
        "verification_level": st.sampled_from(LEVELS),
        "visibility": st.sampled_from(VISIBILITIES),
    },
)
ALL = infra.Query(per_page=1000)
BY_NAME = infra.Query(per_page=1000, sort="name")
BY_USERNAME = infra.Query(per_page=1000, sort="username")
BY_SCORE = infra.Query(per_page=1000, sort="aggregate_score", descending=True)


def folded(text: str) -> str:
    """Without differences of case, and of how accents are composed."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


#: == takes no two of one kind for the same that differ
PLAIN = frozenset({str, type(None), uuid.UUID})


#: == takes some that differ for the same: 1 and 1.0, 0.0 and -0.0, the order of a document
LOOSELY_EQUAL = frozenset({float, dict, list})


@functools.cache
def names_of(kind: type) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))


def exact(value: Any) -> Any:
    """Distinguish equal values (1, 1.0 and True; 0.0 and -0.0) and the order of a document."""
    kind = value.__class__
    if kind in PLAIN:
        return kind, value
    if is_dataclass(kind):
        names = names_of(kind)  # type: ignore[arg-type]  # a class is hashable
        return kind, *(exact(getattr(value, name)) for name in names)
    if isinstance(value, (list, tuple)) and any(map(is_dataclass, value)):
        return kind, *map(exact, value)
    return kind, repr(value)


class Draws:
    """In place of ``infra.new_id``."""

    drawn = 0

    def __call__(self, clock: infra.Clock | None = None) -> uuid.UUID:
        self.drawn += 1
        return uuid.UUID(int=DRAWN[0].int - 1 + self.drawn)

    def next(self) -> uuid.UUID:
        return uuid.UUID(int=DRAWN[0].int + self.drawn)


def step(**given: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A rule that a doomed transaction refuses; after two refusals there is no more to see."""
    rules: Any = rule(**given)
    return lambda work: precondition(lambda self: self.refused < 2)(rules(work))


class RestartableClock(fakes.FakeClock):
    """The clock of the real repositories, which all examples share."""

    def restart(self) -> None:
        super().__init__()


class Machine(BlockMachine):
    real: ExchangeBackend  # of all examples
    dialect: str
    clock: RestartableClock
    draws: Draws

    def __init__(self) -> None:
        super().__init__()
        self.draws.drawn = 0
        self.clock.restart()
        empty_exchange(self.real.database)
        self.backends = fake_exchange(self.dialect), self.real
        self.refused = 0
        self.kept: dict[str, list[Any]] = {}  # records that were answered
        self.seen: Any = None  # what the fake's tables held when both were last compared

    def both(self, call: Callable[[ExchangeBackend], Any], broken: set[str] | None = None) -> Any:
        """Runs the call on both and compares; gives the answer, or None after an error."""
        outcomes: list[tuple[Any, ...]] = []
        answer, drawn = None, self.draws.drawn
        self.refused += not self.sound
        for backend in self.backends:
            self.draws.drawn = drawn
            try:
                answer = call(backend)
                outcomes.append(("answer", exact(answer)))
            except infra.ConflictError as error:
                outcomes.append(
                    ("conflict", error.retryable, error.operation, error.kind, error.constraint)
                )
            except infra.NotFoundError as error:
                outcomes.append(("nothing", error.retryable, error.operation, error.resource))
            except infra.InfrastructureError as error:
                outcomes.append(("error", error.retryable, error.operation, type(error)))
        fake, real = outcomes
        # Of several rules that a row breaks, an engine names whichever it meets first.
        if fake != real and fake[:3] == real[:3] and fake[0] == "conflict" and broken:
            assert {fake[4], real[4]} <= broken
        else:
            assert fake == real
        return answer if fake[0] == "answer" else None

    @property
    def fake(self) -> fakes.FakeDatabase:
        database = self.backends[0].database
        assert isinstance(database, fakes.FakeDatabase)
        return database

    @property
    def sound(self) -> bool:
        """Whether statements are taken: there is no transaction, or it can go on."""
        try:
            self.fake.table("users").select(limit=1)
        except infra.InfrastructureError:
            return False
        return True

    def broken(self, repository: infra.Repository[Any], record: Any, *, new: bool) -> set[str]:
        """The names of the rules that it would break to store the record, so."""
        values = {each.name: getattr(record, each.name) for each in fields(record)}
        for name, sources in repository.folded.items():
            texts = [values[each] for each in sources]
            known = all(isinstance(each, str) for each in texts)
            values[name] = folded("\n".join(texts)) if known else None
        if values["id"] is infra.FILLED:
            values["id"] = self.draws.next()
        return self.broken_by(repository.table, values, new=new)

    def broken_by(self, table_name: str, values: dict[str, Any], *, new: bool) -> set[str]:
        if not self.sound:
            return set()
        table = self.fake.table(table_name)
        rows, key = table.select(), table.rules.primary_key
        others = [row for row in rows if any(row[each] != values[each] for each in key)]
        names = {f"{table_name}_pkey"} if new and len(others) < len(rows) else set()
        for name, columns in table.rules.unique.items():
            if any(all(row[each] == values[each] for each in columns) for row in others):
                names.add(name)
        for name, parent in table.rules.foreign_keys.items():
            wanted = [values[each] for each in parent.columns]
            found = [
                [row[each] for each in parent.target]
                for row in self.fake.table(parent.table).select()
            ]
            if None not in wanted and wanted not in found:
                names.add(name)
        return names

    def remove(self, name: str, id: Any) -> None:
        """Several rules may hold a row: each table that refers to it has one."""
        references = [
            (each.name, rule, reference.columns[-1])
            for each in fakes.POSTGRES_TABLES
            for rule, reference in each.foreign_keys.items()
            if reference.table == name
        ]
        holding = {
            rule
            for child, rule, column in (references if self.sound else [])
            if self.fake.table(child).select({column: id})
        }
        self.both(lambda b: getattr(b, name).delete(id), holding)

    def keep(self, name: str, record: Any) -> None:
        if record is not None:
            self.kept.setdefault(name, []).append(record)

    def again(
        self, name: str, back: int, fresh: bool = False, change: Changes | None = None
    ) -> Any:
        """A record that was kept, as it was then or as it is now, with these changes."""
        kept = self.kept[name]
        record = kept[max(0, len(kept) - 1 - back)]
        now = self.both(lambda b: getattr(b, name).find_by_id(record.id)) if fresh else None
        return replace(now or record, **(change or {}))

    def everything(self, b: ExchangeBackend) -> Any:
        raise NotImplementedError

    def rows(self) -> tuple[Any, str]:
        """Return the rows of all tables of the fake, and what distinguishes equal values in them.

        ``repr`` of all values, which are ids mostly, takes half as long again.
        """
        tables = [self.fake.table(each.name).select() for each in fakes.POSTGRES_TABLES]
        values = (value for rows in tables for row in rows for value in row.values())
        return tables, repr([value for value in values if value.__class__ in LOOSELY_EQUAL])

    @step(seconds=st.sampled_from([0.000001, 0.0015, 1, 3600]))
    def time_passes(self, seconds: float) -> None:
        for backend in self.backends:
            backend.advance(seconds)

    def can_enter(self) -> bool:
        return self.refused < 2 and super().can_enter()

    def has_left(self) -> None:
        self.refused = 0

    def compare(self) -> None:
        """Compare the tables of both, or that both refuse to show them."""
        if self.sound:
            fake, real = (exact(self.everything(backend)) for backend in self.backends)
            assert fake == real
            return
        for backend in self.backends:
            with pytest.raises(infra.DatabaseError):
                backend.users.count()

    @invariant()
    def tables_agree(self) -> None:
        """Compare after each step that changed the fake, and at the end."""
        if self.sound:
            earlier, self.seen = self.seen, self.rows()
            if self.seen == earlier:
                return
        self.compare()


class UserMachine(Machine):
    """Users and organizations."""

    def everything(self, b: ExchangeBackend) -> Any:
        users, organizations = b.users.page(BY_USERNAME), b.organizations.page(BY_NAME)
        members = [b.organizations.find_members(each.id, ALL) for each in organizations.items]
        return (
            users,
            organizations,
            members,
            [b.users.find_credentials(each.email) for each in users.items],
        )

    @initialize()
    def seed(self) -> None:
        for id, name in zip(IDS, ["a", "é"]):
            self.create_user(infra.User(f"{name}@x", name, id=id), None)
        self.create_organization(infra.Organization("a", "a", id=IDS[0]), IDS[0])
        self.join(IDS[1], IDS[0], "member")

    @step(user=USER, password=PASSWORD)
    def create_user(self, user: infra.User, password: Any) -> None:
        broken = self.broken(self.backends[0].users, user, new=True)
        self.keep("users", self.both(lambda b: b.users.create(user, password), broken))

    @step(back=BACK, fresh=st.booleans(), change=USER_CHANGES)
    def update_user(self, back: int, fresh: bool, change: Changes) -> None:
        user = self.again("users", back, fresh, change)
        broken = self.broken(self.backends[0].users, user, new=False)
        self.keep("users", self.both(lambda b: b.users.update(user), broken))

    @step(
        id=ID,
        password=PASSWORD,
        profile=mostly(DOCUMENTS, *NO_DOCUMENTS),
        role=mostly(["registered", "admin", Role.ADMIN], "king", None),
        verified=mostly([True, False], 1, None),
    )
    def update_parts(self, id: Any, password: Any, profile: Any, role: Any, verified: Any) -> None:
        self.both(lambda b: b.users.update_password(id, password))
        self.both(lambda b: b.users.update_profile(id, profile))
        self.both(lambda b: b.users.update_role(id, role))
        self.both(lambda b: b.users.update_email_verified(id, verified))

    @step(id=ID)
    def update_last_active(self, id: Any) -> None:
        self.both(lambda b: b.users.update_last_active(id))

    @step(id=ID, name=st.sampled_from(["users", "organizations"]))
    def delete(self, id: Any, name: str) -> None:
        self.remove(name, id)

    @step(id=ID, email=EMAIL, username=USERNAME, query=USERS)
    def find_users(self, id: Any, email: Any, username: Any, query: infra.Query) -> None:
        self.keep("users", self.both(lambda b: b.users.find_by_id(id)))
        self.both(lambda b: b.users.find_by_email(email))
        self.both(lambda b: b.users.exists_by_email(email))
        self.both(lambda b: b.users.find_credentials(email))
        self.both(lambda b: b.users.find_by_username(username))
        self.both(lambda b: b.users.exists_by_username(username))
        self.both(lambda b: (b.users.page(query), b.users.count()))

    @step(organization=ORGANIZATION, owner=ID)
    def create_organization(self, organization: infra.Organization, owner: Any) -> None:
        broken = self.broken(self.backends[0].organizations, organization, new=True)
        self.keep(
            "organizations",
            self.both(lambda b: b.organizations.create(organization, owner), broken),
        )

    @step(back=BACK, fresh=st.booleans(), change=ORGANIZATION_CHANGES)
    def update_organization(self, back: int, fresh: bool, change: Changes) -> None:
        organization = self.again("organizations", back, fresh, change)
        broken = self.broken(self.backends[0].organizations, organization, new=False)
        self.keep(
            "organizations", self.both(lambda b: b.organizations.update(organization), broken)
        )

    @step(id=ID, verify=st.booleans())
    def verify(self, id: Any, verify: bool) -> None:
        self.both(lambda b: b.organizations.verify(id) if verify else b.organizations.unverify(id))

    @step(
        id=ID,
        slug=mostly(SLUGS, *NO_SLUGS),
        text=WANTED,
        type=mostly(TYPES, "firm", None),
        query=ORGANIZATIONS,
    )
    def find_organizations(
        self, id: Any, slug: Any, text: Any, type: Any, query: infra.Query
    ) -> None:
        self.keep("organizations", self.both(lambda b: b.organizations.find_by_id(id)))
        self.both(lambda b: b.organizations.find_by_slug(slug))
        self.both(lambda b: b.organizations.exists_by_slug(slug))
        self.both(lambda b: b.organizations.search(text, query))
        self.both(lambda b: b.organizations.find_by_type(type, query))
        self.both(lambda b: (b.organizations.page(query), b.organizations.count()))

    @step(user=MEMBER_ID, organization=MEMBER_ID, role=MEMBER_ROLE)
    def join(self, user: Any, organization: Any, role: Any) -> None:
        values = {"organization_id": organization, "user_id": user}
        broken = self.broken_by("organization_members", values, new=True)
        self.both(lambda b: b.users.add_to_organization(user, organization, role), broken)

    @step(user=MEMBER_ID, organization=MEMBER_ID, role=MEMBER_ROLE)
    def change_membership(self, user: Any, organization: Any, role: Any) -> None:
        self.both(lambda b: b.users.update_organization_role(user, organization, role))

    @step(user=MEMBER_ID, organization=MEMBER_ID)
    def quit(self, user: Any, organization: Any) -> None:
        self.both(lambda b: b.users.remove_from_organization(user, organization))

    @step(user=MEMBER_ID, organization=MEMBER_ID, query=MEMBERS)
    def find_members(self, user: Any, organization: Any, query: infra.Query) -> None:
        self.both(lambda b: b.organizations.find_members(organization, query))
        self.both(lambda b: b.organizations.count_members(organization))
        self.both(lambda b: b.users.find_organizations(user))


class BenchmarkMachine(Machine):
    """Benchmarks and submissions."""

    def everything(self, b: ExchangeBackend) -> Any:
        benchmarks = b.benchmarks.page(BY_NAME)
        histories = [b.benchmarks.find_version_history(each.id) for each in benchmarks.items]
        boards = [b.submissions.leaderboard(each.id) for each in benchmarks.items]
        return benchmarks, histories, boards, b.submissions.page(BY_SCORE)

    @initialize()
    def seed(self) -> None:
        for id, name in zip(IDS, ["a", "b"]):
            self.both(lambda b: b.users.create(infra.User(f"{name}@x", name, id=id)))
        self.both(lambda b: b.organizations.create(infra.Organization("a", "a", id=IDS[0]), IDS[0]))
        self.create_benchmark(
            infra.Benchmark(
                "a",
                "a",
                category="cost",
                created_by=IDS[0],
                id=IDS[0],
                version_id=IDS[0],
                tags=("a",),
            )
        )
        # Three that share a rank, in no order of ids: the first is the greatest. The last is not
        # ranked.
        submission = infra.Submission(IDS[0], IDS[0], "a", IDS[0], aggregate_score=1.0, id=GREATEST)
        self.create_submission(submission, 0, True)
        self.time_passes(1)
        for id in (IDS[1], IDS[0]):
            self.create_submission(replace(submission, id=id, user_id=id), 0, True)
        self.create_submission(replace(submission, id=infra.FILLED, aggregate_score=None), 0, True)

    @step(id=ID, name=mostly(["benchmarks", "submissions"], "users", "organizations"))
    def delete(self, id: Any, name: str) -> None:
        self.remove(name, id)

    @step(benchmark=BENCHMARK)
    def create_benchmark(self, benchmark: infra.Benchmark) -> None:
        broken = self.broken(
            self.backends[0].benchmarks, replace(benchmark, version_id=IDS[0]), new=True
        )
        self.keep("benchmarks", self.both(lambda b: b.benchmarks.create(benchmark), broken))

    @step(
        back=BACK,
        fresh=mostly([True], False),
        change=BENCHMARK_CHANGES,
        changelog=mostly(["", "a", "é'%"], "x" * 10_001, None, *NO_TEXT),
        breaking=mostly([True, False], None, 1),
    )
    def update_benchmark(
        self, back: int, fresh: bool, change: Changes, changelog: Any, breaking: Any
    ) -> None:
        benchmark = self.again("benchmarks", back, fresh, change)
        broken = self.broken(self.backends[0].benchmarks, benchmark, new=False)
        self.both(
            lambda b: b.benchmarks.update(benchmark, changelog=changelog, breaking=breaking), broken
        )

    @step(id=ID, status=mostly(STATUSES, "gone", None, ""))
    def update_status(self, id: Any, status: Any) -> None:
        self.both(lambda b: b.benchmarks.update_status(id, status))

    @step(back=BACK, fresh=st.booleans())
    def move_on(self, back: int, fresh: bool) -> None:
        """To the status after the one that it has, or had."""
        benchmark = self.again("benchmarks", back, fresh)
        status = [*STATUSES[1:], "deprecated"][STATUSES.index(benchmark.status)]
        self.both(lambda b: b.benchmarks.update_status(benchmark.id, status))

    @step(id=ID, back=BACK, version=VERSION, slug=mostly(SLUGS, *NO_SLUGS))
    def find_benchmark(self, id: Any, back: int, version: Any, slug: Any) -> None:
        benchmark = self.again("benchmarks", back)
        self.keep("benchmarks", self.both(lambda b: b.benchmarks.find_by_id(id)))
        self.both(lambda b: b.benchmarks.find_by_slug(slug))
        self.both(lambda b: b.benchmarks.exists_by_slug(slug))
        self.both(lambda b: b.benchmarks.find_version(id, version))
        self.both(lambda b: b.benchmarks.find_version(benchmark.id, benchmark.version))
        self.both(lambda b: b.benchmarks.find_version_history(id))

    @step(category=mostly(CATEGORIES, "speed", None), tag=TAG, text=WANTED, query=BENCHMARKS)
    def find_benchmarks(self, category: Any, tag: Any, text: Any, query: infra.Query) -> None:
        self.both(lambda b: b.benchmarks.find_by_category(category, query))
        self.both(lambda b: b.benchmarks.find_by_tag(tag, query))
        self.both(lambda b: b.benchmarks.search(text, query))
        self.both(lambda b: (b.benchmarks.page(query), b.benchmarks.count()))

    @step(submission=SUBMISSION, back=BACK, known=mostly([True], False))
    def create_submission(self, submission: infra.Submission, back: int, known: bool) -> None:
        if known and submission.benchmark_id in IDS and submission.benchmark_version_id in IDS:
            benchmark = self.again("benchmarks", back)
            submission = replace(
                submission, benchmark_id=benchmark.id, benchmark_version_id=benchmark.version_id
            )
        broken = self.broken(self.backends[0].submissions, submission, new=True)
        self.keep("submissions", self.both(lambda b: b.submissions.create(submission), broken))

    @step(back=BACK, fresh=st.booleans(), change=SUBMISSION_CHANGES)
    def update_submission(self, back: int, fresh: bool, change: Changes) -> None:
        submission = self.again("submissions", back, fresh, change)
        broken = self.broken(self.backends[0].submissions, submission, new=False)
        self.keep("submissions", self.both(lambda b: b.submissions.update(submission), broken))

    @step(back=BACK, to=BACK)
    def move_submission(self, back: int, to: int) -> None:
        """To another version, of its benchmark or not."""
        version_id = self.again("benchmarks", to).version_id
        self.update_submission(back, True, {"benchmark_version_id": version_id})

    @step(
        id=ID,
        level=mostly(LEVELS, "sure", None),
        verification=mostly([None, *DOCUMENTS], *NO_DOCUMENTS),
        visibility=mostly(VISIBILITIES, "secret", None),
    )
    def update_parts(self, id: Any, level: Any, verification: Any, visibility: Any) -> None:
        self.both(lambda b: b.submissions.update_verification(id, level, verification))
        self.both(lambda b: b.submissions.update_visibility(id, visibility))

    @step(
        back=BACK,
        version=mostly([True, False], None),
        limit=mostly([1, 2, 3, 100], 0, 1001, True),
        model=MODEL,
    )
    def rank(self, back: int, version: bool | None, limit: Any, model: Any) -> None:
        """Of one version, of all; None: of one whose id is none."""
        benchmark = self.again("benchmarks", back)
        id: Any = benchmark.version_id if version else None if version is False else "a"
        self.both(lambda b: b.submissions.leaderboard(benchmark.id, id, limit))
        self.both(lambda b: b.submissions.find_best_for_model(benchmark.id, model, id))
        self.both(lambda b: b.submissions.exists_for_model_version(model, benchmark.version_id))

    @step(id=ID, query=SUBMISSIONS, visibility=mostly([None, *VISIBILITIES], "secret", 1))
    def find_submissions(self, id: Any, query: infra.Query, visibility: Any) -> None:
        self.keep("submissions", self.both(lambda b: b.submissions.find_by_id(id)))
        self.both(lambda b: b.submissions.find_for_benchmark(id, query, visibility=visibility))
        self.both(lambda b: b.submissions.find_for_benchmark(id, query))
        self.both(lambda b: b.submissions.find_by_user(id, query))
        self.both(lambda b: (b.submissions.page(query), b.submissions.count()))


@pytest.mark.parametrize("machine", [UserMachine, BenchmarkMachine])
@pytest.mark.parametrize("name", ["mariadb", "mysql", "postgres"])
def test_fake_and_real_agree(
    database: Callable[[str], str],
    name: str,
    machine: type[Machine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draws, clock = Draws(), RestartableClock()
    real = real_exchange(migrated(database, name), clock=clock)
    monkeypatch.setattr(infra, "new_id", draws)
    # A quarter on each engine of MySQL, unless all is to be proven.
    examples = settings().max_examples // (1 if PROVE or name == "postgres" else 4)
    with real.database as pool:
        parts = {"real": real, "dialect": dialect_of(pool), "clock": clock, "draws": draws}
        made = type(machine.__name__, (machine,), parts)
        run(made, settings=settings(max_examples=examples))
