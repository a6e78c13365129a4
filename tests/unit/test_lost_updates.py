"""examples/shop.py loses no update under concurrency, in each of its ways; without one it would."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

import fakes
import infra
from examples import shop
from examples.shop import Category, Product, Products
from tests.contract.backends import WAIT, in_threads

ENGINES = ["fake mysql", "fake postgres", "mariadb", "mysql", "postgres"]


class NaiveProducts(infra.Repository[Product]):
    """The table without a guard: `update` overwrites what another caller has stored."""

    record, table, resource, scales = Product, "products", "product", Products.scales


@pytest.fixture(params=ENGINES)
def tables(request: pytest.FixtureRequest) -> Iterator[infra.Database]:
    fake, _, engine = request.param.rpartition(" ")
    if fake:
        yield fakes.FakeDatabase(engine, shop.TABLES)
        return
    url = request.getfixturevalue("database")(engine)
    with infra.create_pool(infra.DatabaseConfig(url=url)) as pool:
        shop.create_tables(pool)
        yield pool


def in_stock(database: infra.Database, name: str, stock: int) -> Product:
    """Store a product, and return it."""
    categories = shop.Categories.on(database).page().items
    category = categories[0] if categories else shop.Categories.on(database).create(Category("All"))
    product = Product(name, category.id, Decimal("9.50"), stock)
    return Products.on(database).create(product)


def stored(database: infra.Database, id: uuid.UUID) -> Product:
    product = Products.on(database).find_by_id(id)
    assert product is not None
    return product


def take_one_twice(products: infra.Repository[Product], id: uuid.UUID) -> list[object]:
    """Read one product in two transactions, then let each store one less; return what happened."""
    both_have_read = threading.Barrier(2)

    def take_one(number: int) -> Product:
        with products.database.transaction():
            read = products.find_by_id(id)
            assert read is not None
            both_have_read.wait(WAIT)
            return products.update(replace(read, stock=read.stock - 1))

    return in_threads(2, take_one)


def test_without_a_version_an_update_is_lost(tables: infra.Database) -> None:
    product = in_stock(tables, "Long sums", 10)
    outcomes = take_one_twice(NaiveProducts.on(tables), product.id)
    assert [type(outcome) for outcome in outcomes] == [Product, Product]  # both believe it
    assert stored(tables, product.id) == replace(product, stock=9)


def test_with_a_version_the_later_update_is_refused(tables: infra.Database) -> None:
    product = in_stock(tables, "Long sums", 10)
    outcomes = take_one_twice(Products.on(tables), product.id)
    (refused,) = [outcome for outcome in outcomes if isinstance(outcome, infra.ConflictError)]
    (kept,) = [outcome for outcome in outcomes if isinstance(outcome, Product)]
    assert refused.constraint == "products_as_read"
    assert stored(tables, product.id) == kept == replace(product, stock=9, version=2)
    again = Products.on(tables).update(replace(kept, stock=kept.stock - 1))
    assert stored(tables, product.id) == again == replace(product, stock=8, version=3)


@pytest.mark.parametrize("way", shop.WAYS)
def test_two_threads_that_take_turns_lose_nothing(tables: infra.Database, way: str) -> None:
    product, products = in_stock(tables, "Long sums", 45), Products.on(tables)

    def take_twenty(number: int) -> None:
        for _ in range(20):
            shop.take(products, product.id, 1, way)

    assert in_threads(2, take_twenty) == [None, None]
    assert stored(tables, product.id) == replace(product, stock=5, version=41)


def test_orders_take_what_there_is(tables: infra.Database) -> None:
    """Two threads order the same products in the opposite order, until one product is sold out."""
    sums, proofs = in_stock(tables, "Long sums", 50), in_stock(tables, "Short proofs", 45)
    wishes = [{sums.id: 2, proofs.id: 3}, {proofs.id: 3, sums.id: 2}]

    def order_ten_times(number: int) -> list[str]:
        return [
            shop.outcome(lambda: shop.place_order(tables, "Ada", wishes[number])) for _ in range(10)
        ]

    first, second = in_threads(2, order_ten_times)
    assert sorted(first + second) == (["accepted"] * 15 + ["refused by products_stock_check"] * 5)
    assert [stored(tables, id).stock for id in (sums.id, proofs.id)] == [20, 0]
    orders = shop.Orders.on(tables).page().items
    assert len(orders) == 15
    for order in orders:
        lines = shop.Lines.on(tables).of_order(order)
        assert [line.number for line in lines] == [1, 2]
        assert {line.product_id: line.quantity for line in lines} == wishes[0]


@pytest.mark.parametrize("way", shop.WAYS)
def test_forty_threads_order_what_there_is(tables: infra.Database, way: str) -> None:
    """Each of two products is enough for 25 orders, and 15 are refused, whatever the way."""
    sums, proofs = in_stock(tables, "Long sums", 50), in_stock(tables, "Short proofs", 75)
    wishes = {sums.id: 2, proofs.id: 3}

    def order(number: int) -> str:
        return shop.outcome(lambda: shop.place_order(tables, f"customer {number}", wishes, way))

    outcomes = in_threads(40, order)
    assert sorted(map(str, outcomes)) == (
        ["accepted"] * 25 + ["refused by products_stock_check"] * 15
    )
    assert [stored(tables, id).stock for id in (sums.id, proofs.id)] == [0, 0]
    assert (shop.Orders.on(tables).count(), shop.Lines.on(tables).count()) == (25, 50)


@pytest.mark.parametrize("way", shop.WAYS)
def test_forty_threads_take_the_stock_of_an_interleaving_fake(way: str) -> None:
    database = fakes.FakeDatabase("postgres", shop.TABLES, interleave=True)
    product, products = in_stock(database, "Long sums", 30), Products.on(database)

    def take_one(number: int) -> str:
        return shop.outcome(lambda: shop.take(products, product.id, 1, way))

    outcomes = in_threads(40, take_one)
    assert sorted(map(str, outcomes)) == (
        ["accepted"] * 30 + ["refused by products_stock_check"] * 10
    )
    assert stored(database, product.id).stock == 0


def test_the_program_prints_the_same_in_each_way(capsys: pytest.CaptureFixture[str]) -> None:
    printed = set()
    for way in shop.WAYS:
        shop.main(fakes.FakeDatabase("mysql", shop.TABLES), way)
        printed.add(capsys.readouterr().out)
    (text,) = printed
    assert "Stock: [9, 1]" in text


def test_nobody_takes_a_product_that_is_not_there(tables: infra.Database) -> None:
    products, absent = Products.on(tables), uuid.uuid4()
    for way in shop.WAYS:
        with pytest.raises(infra.NotFoundError, match="no such product"):
            shop.take(products, absent, 1, way)


def count_to_forty(database: infra.Database, take_one: Callable[[uuid.UUID], object]) -> int:
    """Let two threads call ``take_one`` 20 times each, and return how many are left of 40."""
    product = in_stock(database, "Long sums", 40)

    def take_twenty(number: int) -> None:
        for _ in range(20):
            take_one(product.id)

    assert in_threads(2, take_twenty) == [None, None]
    return stored(database, product.id).stock


def left_by_an_unsafe_counter(database: infra.Database) -> int:
    """Let two threads read, subtract and store 20 times each; return how many are left of 40."""
    products = NaiveProducts.on(database)

    def take_one(id: uuid.UUID) -> None:
        with database.transaction():
            read = products.find_by_id(id)
            assert read is not None
            products.update(replace(read, stock=read.stock - 1))

    return count_to_forty(database, take_one)


@pytest.mark.parametrize("engine", ["mysql", "postgres"])
def test_an_unsafe_counter_fails_on_an_interleaving_fake(engine: str) -> None:
    """Both engines together run it a hundred times."""
    left = [
        left_by_an_unsafe_counter(fakes.FakeDatabase(engine, shop.TABLES, interleave=True))
        for _ in range(50)
    ]
    assert min(left) > 0


@pytest.mark.parametrize("engine", ["mysql", "postgres"])
def test_safe_counters_pass_on_an_interleaving_fake(engine: str) -> None:
    database = fakes.FakeDatabase(engine, shop.TABLES, interleave=True)
    products, table = Products.on(database), database.table("products")

    def in_one_statement(id: uuid.UUID) -> None:
        table.update({"id": id}, lambda row: {"stock": row["stock"] - 1})

    assert count_to_forty(database, in_one_statement) == 0
    for way in shop.WAYS:

        def take_one(id: uuid.UUID, way: str = way) -> Product:
            return shop.take(products, id, 1, way)

        table.delete(None)
        assert count_to_forty(database, take_one) == 0


def test_a_read_in_a_transaction_waits_for_a_statement_of_another_thread() -> None:
    """Without the other thread's statements, the waits of 5 ms would take 10 s."""
    database = fakes.FakeDatabase(tables=shop.TABLES, interleave=True)
    products = Products.on(database)
    product = in_stock(database, "Long sums", 40)

    def read(number: int) -> None:
        for _ in range(2000):
            with database.transaction():
                products.find_by_id(product.id)

    started = time.monotonic()
    assert in_threads(2, read) == [None, None]
    assert time.monotonic() - started < 8


@pytest.mark.parametrize("interleave", [None, 1, "yes"])
def test_interleave_is_true_or_false(interleave: Any) -> None:
    for kind in (fakes.FakeDatabase, fakes.FakeInfrastructure):
        with pytest.raises(infra.ConfigurationError, match="interleave should be True or False"):
            kind(interleave=interleave)


def test_the_databases_of_a_bundle_interleave() -> None:
    with fakes.FakeInfrastructure(tables=shop.PORTS, interleave=True) as services:
        assert left_by_an_unsafe_counter(services.exchange) > 0
