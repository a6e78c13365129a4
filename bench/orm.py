"""The tables of the benchmark exchange as classes of SQLAlchemy's ORM, and repositories on them."""

from __future__ import annotations

import uuid
from datetime import datetime, timezone
from typing import Any

import sqlalchemy
from sqlalchemy import ForeignKey, String, UniqueConstraint, select
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
    selectinload,
)

import infra


def now() -> datetime:
    return datetime.now(timezone.utc)


class Base(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012
        datetime: sqlalchemy.DateTime(timezone=True),
        dict[str, Any]: sqlalchemy.JSON,
        list[Any]: sqlalchemy.JSON,
    }


class User(Base):
    __tablename__ = "users"
    __table_args__ = (
        UniqueConstraint("email_folded", name="users_email_key"),
        UniqueConstraint("username_folded", name="users_username_key"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=infra.new_id)
    email: Mapped[str] = mapped_column(String(254))
    username: Mapped[str] = mapped_column(String(50))
    display_name: Mapped[str] = mapped_column(String(100), default="")
    role: Mapped[str] = mapped_column(String(20), default="registered")
    email_verified: Mapped[bool] = mapped_column(default=False)
    profile: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)
    last_active_at: Mapped[datetime | None]
    email_folded: Mapped[str]
    username_folded: Mapped[str]
    password_hash: Mapped[str | None] = mapped_column(String(255))


class Organization(Base):
    __tablename__ = "organizations"
    __table_args__ = (UniqueConstraint("slug", name="organizations_slug_key"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=infra.new_id)
    name: Mapped[str] = mapped_column(String(200))
    slug: Mapped[str] = mapped_column(String(100))
    description: Mapped[str] = mapped_column(String(5000), default="")
    website: Mapped[str | None] = mapped_column(String(2000))
    logo_url: Mapped[str | None] = mapped_column(String(2000))
    organization_type: Mapped[str] = mapped_column(String(20), default="individual")
    verified: Mapped[bool] = mapped_column(default=False)
    verification_date: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)
    search_folded: Mapped[str]


class Tag(Base):
    __tablename__ = "benchmark_tags"

    benchmark_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("benchmarks.id", ondelete="CASCADE"), primary_key=True
    )
    tag: Mapped[str] = mapped_column(String(50), primary_key=True)


class Version(Base):
    __tablename__ = "benchmark_versions"
    __table_args__ = (
        UniqueConstraint(
            "benchmark_id", "version", name="benchmark_versions_benchmark_id_version_key"
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=infra.new_id)
    benchmark_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("benchmarks.id", ondelete="CASCADE"))
    version: Mapped[str] = mapped_column(String(30))
    number: Mapped[int] = mapped_column(default=1)
    changelog: Mapped[str] = mapped_column(String(10_000), default="")
    breaking: Mapped[bool] = mapped_column(default=False)
    evaluation_criteria: Mapped[dict[str, Any]] = mapped_column(default=dict)
    execution_config: Mapped[dict[str, Any]] = mapped_column(default=dict)
    test_cases: Mapped[list[Any]] = mapped_column(default=list)
    created_at: Mapped[datetime] = mapped_column(default=now)


class Benchmark(Base):
    __tablename__ = "benchmarks"
    __table_args__ = (UniqueConstraint("slug", name="benchmarks_slug_key"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=infra.new_id)
    slug: Mapped[str] = mapped_column(String(100))
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(String(5000), default="")
    long_description: Mapped[str] = mapped_column(default="")
    category: Mapped[str] = mapped_column(String(20))
    status: Mapped[str] = mapped_column(String(20), default="draft")
    version: Mapped[str] = mapped_column(String(30), default="1.0.0")
    license: Mapped[str | None] = mapped_column(String(100))
    created_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    evaluation_criteria: Mapped[dict[str, Any]] = mapped_column(default=dict)
    execution_config: Mapped[dict[str, Any]] = mapped_column(default=dict)
    test_cases: Mapped[list[Any]] = mapped_column(default=list)
    version_id: Mapped[uuid.UUID] = mapped_column(default=infra.new_id)
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)
    search_folded: Mapped[str]
    tags: Mapped[list[Tag]] = relationship(order_by=Tag.tag, cascade="all, delete-orphan")


class Submission(Base):
    __tablename__ = "submissions"
    __table_args__ = (
        sqlalchemy.Index(
            "submissions_leaderboard_idx", "benchmark_id", sqlalchemy.text("aggregate_score DESC")
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=infra.new_id)
    benchmark_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("benchmarks.id"))
    benchmark_version_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("benchmark_versions.id"))
    model: Mapped[str] = mapped_column(String(200))
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    organization_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("organizations.id"))
    aggregate_score: Mapped[float | None]
    results: Mapped[dict[str, Any]] = mapped_column(default=dict)
    execution: Mapped[dict[str, Any]] = mapped_column(default=dict)
    verification_level: Mapped[str] = mapped_column(String(20), default="unverified")
    verified_at: Mapped[datetime | None]
    verification: Mapped[dict[str, Any] | None] = mapped_column(sqlalchemy.JSON(none_as_null=True))
    visibility: Mapped[str] = mapped_column(String(20), default="public")
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)


class Repository:
    """Open a session for each call; the objects that a call returns are loaded and stay usable."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine

    def session(self) -> Any:
        return Session(self.engine, expire_on_commit=False)


class UserRepository(Repository):
    def create(self, user: infra.User) -> User:
        stored = User(
            email=user.email,
            username=user.username,
            display_name=user.display_name,
            role=user.role,
            email_verified=user.email_verified,
            profile=user.profile,
            email_folded=user.email.casefold(),
            username_folded=user.username.casefold(),
        )
        with self.session() as session:
            session.add(stored)
            session.commit()
        return stored

    def find_by_email(self, email: str) -> User | None:
        with self.session() as session:
            found: User | None = session.scalar(
                select(User).where(User.email_folded == email.casefold())
            )
            return found

    def update(self, user: infra.User) -> User:
        with self.session() as session:
            stored: User | None = session.get(User, user.id)
            if stored is None:
                raise LookupError("no such user")
            stored.email, stored.email_folded = user.email, user.email.casefold()
            stored.username, stored.username_folded = user.username, user.username.casefold()
            stored.display_name, stored.role = user.display_name, user.role
            stored.email_verified, stored.profile = user.email_verified, user.profile
            session.commit()
            return stored


class OrganizationRepository(Repository):
    def create(self, organization: infra.Organization) -> Organization:
        name, slug, description = organization.name, organization.slug, organization.description
        stored = Organization(
            name=name,
            slug=slug,
            description=description,
            search_folded=f"{name}\n{slug}\n{description}".casefold(),
        )
        with self.session() as session:
            session.add(stored)
            session.commit()
        return stored


class BenchmarkRepository(Repository):
    def create(self, benchmark: infra.Benchmark) -> Benchmark:
        stored = Benchmark(
            id=infra.new_id(),
            slug=benchmark.slug,
            name=benchmark.name,
            category=benchmark.category,
            created_by=benchmark.created_by,
            evaluation_criteria=benchmark.evaluation_criteria,
            version_id=infra.new_id(),
            search_folded=f"{benchmark.name}\n{benchmark.slug}\n{benchmark.description}".casefold(),
            tags=[Tag(tag=tag) for tag in benchmark.tags],
        )
        version = Version(
            id=stored.version_id,
            benchmark_id=stored.id,
            version=benchmark.version,
            evaluation_criteria=benchmark.evaluation_criteria,
        )
        with self.session() as session:
            session.add_all([stored, version])
            session.commit()
        return stored

    def find_by_slug(self, slug: str) -> Benchmark | None:
        with self.session() as session:
            statement = (
                select(Benchmark)
                .options(selectinload(Benchmark.tags))
                .where(Benchmark.slug == slug)
            )
            found: Benchmark | None = session.scalar(statement)
            return found

    def page(self, page: int, per_page: int) -> list[Benchmark]:
        with self.session() as session:
            statement = (
                select(Benchmark)
                .options(selectinload(Benchmark.tags))
                .order_by(Benchmark.created_at, Benchmark.id)
                .limit(per_page)
                .offset((page - 1) * per_page)
            )
            return list(session.scalars(statement))


class SubmissionRepository(Repository):
    def create(self, submission: infra.Submission) -> Submission:
        stored = Submission(
            benchmark_id=submission.benchmark_id,
            benchmark_version_id=submission.benchmark_version_id,
            model=submission.model,
            user_id=submission.user_id,
            organization_id=submission.organization_id,
            aggregate_score=submission.aggregate_score,
            results=submission.results,
        )
        with self.session() as session:
            session.add(stored)
            session.commit()
        return stored

    def leaderboard(self, benchmark_id: uuid.UUID, limit: int = 100) -> list[tuple[Any, ...]]:
        statement = (
            select(
                Submission.id,
                Submission.benchmark_version_id,
                Submission.model,
                Submission.aggregate_score,
                Submission.verification_level,
                Submission.created_at,
                Submission.user_id,
                User.username,
                User.display_name,
                Submission.organization_id,
                Organization.name,
            )
            .join(User, User.id == Submission.user_id)
            .outerjoin(Organization, Organization.id == Submission.organization_id)
            .where(
                Submission.benchmark_id == benchmark_id,
                Submission.visibility == "public",
                Submission.aggregate_score.is_not(None),
            )
            .order_by(Submission.aggregate_score.desc(), Submission.created_at, Submission.id)
            .limit(limit)
        )
        with self.session() as session:
            ranked: list[tuple[Any, ...]] = []
            for place, row in enumerate(session.execute(statement), 1):
                tied = ranked and ranked[-1][4] == row.aggregate_score
                ranked.append((ranked[-1][0] if tied else place, *row))
            return ranked
