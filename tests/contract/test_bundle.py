"""Rows of several tables for a bundle of one's own, on every backend."""

from __future__ import annotations

import uuid
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, ClassVar

import pytest

import fakes
import infra

PHONE = "+14155550100"
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
A, B, C = (uuid.UUID(int=number) for number in (1, 2, 3))


@dataclass(frozen=True)
class Category:
    name: str
    parent_id: uuid.UUID | None = None
    id: uuid.UUID = infra.FILLED


@dataclass(frozen=True)
class Product:
    category_id: uuid.UUID
    name: str
    note: str | None
    price: Decimal = Decimal("1.00")
    stock: int = 0
    labels: list[str] = field(default_factory=lambda: ["new"])
    id: uuid.UUID = infra.FILLED
    created_at: datetime = infra.FILLED


@dataclass(frozen=True)
class Review:
    product_id: uuid.UUID
    user_id: uuid.UUID
    stars: int
    id: uuid.UUID = infra.FILLED


class Categories(infra.Repository[Category]):
    record, table, resource, sort_fields = Category, "categories", "category", ("name",)
    lengths: ClassVar = {"name": 20}
    column_names: ClassVar = {"id": "code", "name": "id"}
    foreign_keys: ClassVar = {
        "categories_parent_id_fkey": infra.ForeignKey(("parent_id",), "categories", ("code",))
    }

    def __init__(self, database: infra.Database, root: str, **options: Any) -> None:
        super().__init__(database, **options)
        self.root = root


class Products(infra.Repository[Product]):
    record, table, resource = Product, "products", "product"
    lengths: ClassVar = {"name": 20, "note": 20}
    scales: ClassVar = {"price": (8, 2)}
    unique = (("name",),)
    foreign_keys: ClassVar = {
        "products_category_id_fkey": infra.ForeignKey(("category_id",), "categories", ("code",))
    }

    def find_by_name(self, name: str) -> Product | None:
        return self._first("find_by_name", self._checked({"name": name}))


class Reviews(infra.Repository[Review]):
    """Has SQL of its own."""

    record, table, resource, sort_fields = Review, "reviews", "review", ("stars",)
    foreign_keys: ClassVar = {
        "reviews_product_id_fkey": infra.ForeignKey(("product_id",), "products"),
        "reviews_user_id_fkey": infra.ForeignKey(("user_id",), "users"),
    }

    @abstractmethod
    def most(self) -> int: ...


class SqlReviews(infra.SqlRepository[Review], Reviews):
    def most(self) -> int:
        row = self.database.fetch_one("SELECT max(stars) FROM reviews")
        assert row is not None
        return int(row[0])


class FakeReviews(fakes.Faults, fakes.FakeRepository[Review], Reviews):
    def most(self) -> int:
        return max(int(row["stars"]) for row in self.database.table("reviews").select())


class Pager(infra.SmsService):
    """A provider of one's own."""

    provider_name = "pager"

    def _send(self, phone: str, message: str, code: str | None) -> str:
        raise infra.SmsError("no pager here", outcome="rejected")


class FakePager(fakes.FakeSmsService, Pager): ...


class Services(infra.Infrastructure):
    tables = (Reviews, Products, Categories)

    @infra.provided
    def categories(self) -> Categories:
        """The tree of categories."""
        return Categories.on(self.exchange, "all", clock=self.clock)

    @infra.provided
    def products(self) -> Products:
        """What the shop sells."""
        return Products.on(self.exchange, clock=self.clock)

    @infra.provided
    def reviews(self) -> Reviews:
        """What buyers say."""
        return SqlReviews(self.exchange, clock=self.clock)

    @infra.provided
    def sms(self) -> Pager:
        """Pages the staff."""
        return Pager()

    @infra.provided
    def archive(self) -> infra.StorageProvider:
        """A second store."""
        config = infra.S3StorageConfig(endpoint="http://127.0.0.1:1")
        return infra.S3StorageProvider(config, clock=self.clock)


class FakeServices(fakes.FakeInfrastructure, Services):
    @infra.provided
    def reviews(self) -> FakeReviews:
        """What buyers say."""
        return FakeReviews(self.exchange, clock=self.clock)

    @infra.provided
    def sms(self) -> FakePager:
        """Pages nobody."""
        return FakePager()

    @infra.provided
    def archive(self) -> fakes.FakeStorageProvider:
        """A second store."""
        return fakes.FakeStorageProvider(clock=self.clock)


CATEGORY = {"id": A, "name": "Tea"}
PRODUCT = {"id": B, "category_id": A, "name": "Sencha"}
USER = {"id": C, "email": "ada@example.org", "username": "ada"}


# --- cases: each begins with empty tables


def the_order_of_tables(services: Services) -> None:
    review = Review(B, C, 5)
    rows: Any = {
        "reviews": [review],
        "products": [PRODUCT],
        "users": [USER],
        "categories": [CATEGORY],
    }
    assert services.load(rows) == {"reviews": 1, "products": 1, "users": 1, "categories": 1}
    assert services.reviews.most() == 5
    (stored,) = services.reviews.page().items
    assert stored == replace(review, id=stored.id)
    assert services.users.find_by_id(C) == services.users.find_by_email("ada@example.org")
    assert services.load({}) == {}
    assert services.load({"products": [], "categories": iter(())}) == {
        "products": 0,
        "categories": 0,
    }


def the_order_of_rows(services: Services) -> None:
    """A tree is given leaves first, and one row refers to itself."""
    tree = [
        {"id": A, "name": "Sencha", "parent_id": B},
        {"id": B, "name": "Green", "parent_id": C},
        {"id": C, "name": "Tea", "parent_id": C},
        {"name": "Coffee"},
    ]
    assert services.load({"categories": tree}) == {"categories": 4}
    assert services.categories.find_by_id(A) == Category("Sencha", B, A)
    assert services.categories.find_by_id(C) == Category("Tea", C, C)
    with pytest.raises(infra.ValidationError) as caught:
        circle = [{"id": id_, "name": "x", "parent_id": other} for id_, other in ((A, B), (B, A))]
        services.load({"categories": circle})
    assert str(caught.value) == "categories: rows refer to each other in a circle"


def what_is_filled(services: Services) -> None:
    named = {**PRODUCT, "name": "Matcha", "stock": 3, "note": None, "price": Decimal("2.5")}
    del named["id"]
    record = Product(A, "Genmaicha", "roasted", id=infra.FILLED)
    services.load({"products": [PRODUCT, named, record], "categories": [CATEGORY]})
    assert services.products.find_by_id(B) == Product(
        A, "Sencha", None, Decimal("1.00"), 0, ["new"], B, START
    )
    matcha = services.products.find_by_name("Matcha")
    assert matcha is not None
    assert (matcha.stock, matcha.price, matcha.created_at) == (3, Decimal("2.50"), START)
    assert services.products.find_by_name("Genmaicha") is not None
    updated = services.products.update(replace(matcha, stock=2))
    assert services.products.find_by_id(matcha.id) == updated


def many_rows(services: Services) -> None:
    """More than fit in one statement, the parent of all last."""
    rows = [{"name": f"c{number}", "parent_id": A} for number in range(250)]
    assert services.load({"categories": [*rows, CATEGORY]}) == {"categories": 251}
    assert services.categories.count() == 251


def all_or_none(services: Services) -> None:
    for products, constraint in (
        ([PRODUCT, {**PRODUCT, "id": C}], "products_name_key"),
        ([PRODUCT, {**PRODUCT, "name": "other"}], "products_pkey"),
        ([{**PRODUCT, "category_id": C}], "products_category_id_fkey"),
    ):
        with pytest.raises(infra.ConflictError) as caught:
            services.load({"products": products, "categories": [CATEGORY], "users": [USER]})
        assert caught.value.constraint == constraint
        assert (services.categories.count(), services.products.count()) == (0, 0)
        assert services.users.count() == 0
    with pytest.raises(infra.DatabaseError):
        services.load({"products": [{**PRODUCT, "stock": 2**31}], "categories": [CATEGORY]})
    assert services.categories.count() == 0


def a_block_around_it(services: Services) -> None:
    with pytest.raises(ZeroDivisionError), services.exchange.transaction():
        services.load({"categories": [CATEGORY]})
        assert services.categories.count() == 1
        raise ZeroDivisionError
    assert services.categories.count() == 0


WRONG: list[tuple[Any, str]] = [
    ([PRODUCT, {**PRODUCT, "flavour": "secret"}], ", row 2: there is no column flavour"),
    ([{**PRODUCT, 5: "secret"}], ", row 1: there is no column 5"),
    ([{"id": B, "name": "secret"}], ", row 1: category_id should be a uuid.UUID"),
    ([{**PRODUCT, "name": None}], ", row 1: name should be text"),
    ([{**PRODUCT, "name": "secret" * 4}], ", row 1: name should have at most 20 characters"),
    ([{**PRODUCT, "stock": "secret"}], ", row 1: stock should be a whole number"),
    (
        [{**PRODUCT, "price": Decimal("1.005")}],
        ", row 1: price should have at most 8 digits, 2 of them behind the point",
    ),
    (
        [{**PRODUCT, "labels": [{"secret"}]}],
        ", row 1: labels should be JSON: dicts with keys of text, lists, text, finite numbers, "
        "True, False and None",
    ),
    (["secret"], ", row 1: the product should be of class Product"),
    ([Category("secret")], ", row 1: the product should be of class Product"),
    (PRODUCT, ", row 1: the product should be of class Product"),
    ("secret", " should be a list or another iterable of them, not a single one"),
    (5, " should be a list or another iterable of them, not a single one"),
]


def wrong_rows(services: Services) -> None:
    for rows, message in WRONG:
        with pytest.raises((infra.ValidationError, infra.SerializationError)) as caught:
            services.load({"products": rows, "categories": [CATEGORY]})
        assert str(caught.value) == f"products{message}"
        assert services.categories.count() == 0
    for table in ("nothing", "infra_moves", None):
        with pytest.raises(infra.ValidationError) as caught:
            services.load({"categories": [CATEGORY], table: [PRODUCT]})  # type: ignore[dict-item]
        assert str(caught.value) == f"{type(services).__name__}.tables has no {table}"
    for wrong in (None, 5, [("categories", [CATEGORY])]):
        with pytest.raises(infra.ValidationError, match="rows should be a dict"):
            services.load(wrong)  # type: ignore[arg-type]
    assert services.categories.count() == 0


def tables_of_the_library(services: Services) -> None:
    benchmark = {
        "id": A, "version_id": B, "slug": "mmlu", "name": "MMLU", "category": "accuracy",
        "created_by": C,
    }  # fmt: skip
    version = {"id": B, "benchmark_id": A, "version": "1.0.0"}
    phone_user = {"phone_hash": "0" * 64, "country_code": "1"}
    counts = services.load(
        {
            "benchmark_tags": [
                {"benchmark_id": A, "tag": "text"},
                {"benchmark_id": A, "tag": "en"},
            ],
            "benchmark_versions": [version],
            "benchmarks": [benchmark],
            "phone_users": [phone_user],
            "users": [{**USER, "password_hash": "$argon2id$"}],
        }
    )
    assert counts["benchmark_tags"] == 2
    found = services.benchmarks.find_by_slug("mmlu")
    assert found is not None
    assert (found.tags, found.version_id) == (("en", "text"), B)
    credentials = services.users.find_credentials("ADA@example.org")
    assert credentials is not None
    assert credentials.password_hash == "$argon2id$"
    assert services.phone_users.count() == 1
    with pytest.raises(infra.ValidationError, match="benchmarks, row 1: should be a dict"):
        services.load(
            {"benchmarks": [infra.Benchmark("m", "M", category="accuracy", created_by=C)]}
        )


CASES = (
    the_order_of_tables, the_order_of_rows, what_is_filled, many_rows, all_or_none,
    a_block_around_it, wrong_rows, tables_of_the_library,
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("engine", ["mysql", "mariadb", "postgres", None])
def test_rows_on_a_fake(case: Callable[[Services], None], engine: str | None) -> None:
    with FakeServices(engine=engine) as services:
        case(services)


@pytest.fixture(scope="module")
def bundle_on(database: Callable[[str], str]) -> Iterator[Callable[[str], Services]]:
    """Return a function that returns the real bundle on that server, whose tables are empty."""
    made: dict[str, Services] = {}

    def bundle(name: str) -> Services:
        if name not in made:
            config = infra.Config.from_env({"DATABASE_URL": database(name)})
            made[name] = Services(config, clock=fakes.FakeClock())
            pool = made[name].exchange
            assert isinstance(pool, infra.ConnectionPool)
            infra.Migrator(pool).apply()
            text = infra.ddl(Services.tables, pool.engine)
            for statement in infra.split_statements(text, pool.engine):
                pool.execute(statement)
        for table in ("reviews", "products", "categories", "benchmarks", "users", "phone_users"):
            if table == "categories":
                made[name].exchange.execute("UPDATE categories SET parent_id = NULL")
            made[name].exchange.execute(f"DELETE FROM {table}")
        return made[name]

    yield bundle
    for services in made.values():
        services.close()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["mariadb", "postgres"])
def test_rows_on_a_server(
    bundle_on: Callable[[str], Services], case: Callable[[Services], None], name: str
) -> None:
    case(bundle_on(name))
