"""Sell from a shop: a tree of categories, products in stock, orders with lines. A class is a table.

Set DATABASE_URL to run it on MySQL, MariaDB or Postgres. It makes the tables categories, products,
orders and order_lines there, and drops them at its end. Without the variable it runs on the fake.
All print the same.

    python examples/shop.py             takes products from the stock in one statement
    python examples/shop.py lock        ... locks each product before
    python examples/shop.py version     ... and repeats an order if another one came between
"""

import enum
import os
import sys
import tempfile
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout too

import fakes
import infra


@dataclass(frozen=True)
class Category:
    name: str
    parent_id: uuid.UUID | None = None
    id: uuid.UUID = infra.FILLED


class Categories(infra.Repository[Category]):
    record, table, resource, sort_fields = Category, "categories", "category", ("name",)
    lengths = {"name": 80}
    unique = [("name",)]  # the name of the constraint is categories_name_key
    foreign_keys = {"categories_parent_id_fkey": infra.ForeignKey(("parent_id",), "categories")}
    guarded = ("parent_id",)  # `update` moves no category, so the tree cannot become a circle

    def children(self, category: Category) -> list[Category]:
        return self._select("children", {"parent_id": category.id}, [("name", False)])

    def path(self, category: Category) -> list[Category]:
        """Return the categories from the root of the tree to this one."""
        parent = self._first("path", {"id": category.parent_id})  # None for a root
        return [*self.path(parent), category] if parent else [category]


@dataclass(frozen=True)
class Product:
    name: str
    category_id: uuid.UUID
    price: Decimal
    stock: int = 0
    version: int = 1
    id: uuid.UUID = infra.FILLED


class Products(infra.Repository[Product]):
    record, table, resource, sort_fields = Product, "products", "product", ("price", "name")
    lengths, scales = {"name": 80}, {"price": (10, 2)}
    unique, filter_fields = [("name",)], ("category_id",)
    foreign_keys = {"products_category_id_fkey": infra.ForeignKey(("category_id",), "categories")}
    checks = {"products_stock_check": infra.Check("stock >= 0", lambda row: row["stock"] >= 0)}
    version = "version"  # `update` refuses a product that has changed since it was read


class State(enum.Enum):
    OPEN = "open"
    PAID = "paid"
    SENT = "sent"


@dataclass(frozen=True)
class Order:
    customer: str
    state: State = State.OPEN
    id: uuid.UUID = infra.FILLED
    created_at: datetime = infra.FILLED


class Orders(infra.Repository[Order]):
    record, table, resource = Order, "orders", "order"
    lengths = {"customer": 80}
    guarded = ("state",)  # `pay` changes it

    def pay(self, id: uuid.UUID) -> bool:
        """Return whether the order was open. Of several callers one gets True."""
        unpaid = self._checked({"id": id, "state": State.OPEN})
        return self._change("pay", unpaid, self._checked({"state": State.PAID})) == 1


@dataclass(frozen=True)
class Line:
    order_id: uuid.UUID
    number: int
    product_id: uuid.UUID
    quantity: int
    price: Decimal  # of one, when it was ordered


class Lines(infra.Repository[Line]):
    record, table, resource, sort_fields = Line, "order_lines", "order line", ("number",)
    scales = {"price": (10, 2)}
    key = ("order_id", "number")
    foreign_keys = {
        "order_lines_order_id_fkey": infra.ForeignKey(("order_id",), "orders", on_delete="cascade"),
        "order_lines_product_id_fkey": infra.ForeignKey(("product_id",), "products"),
    }
    checks = {
        "order_lines_quantity_check": infra.Check("quantity > 0", lambda row: row["quantity"] > 0)
    }

    def of_order(self, order: Order) -> list[Line]:
        return self._select("of_order", {"order_id": order.id}, [("number", False)])


PORTS = (Categories, Products, Orders, Lines)
TABLES = [fakes.Table.of(port) for port in PORTS]  # those of the fake


def create_tables(pool: infra.ConnectionPool) -> None:
    """Write the migration and apply it. Your program keeps the file, and adds to it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "example_shop.sql")
        file.write_text(f"-- migration 1 tables {pool.engine}\n" + infra.ddl(PORTS, pool.engine))
        infra.Migrator(pool, file).apply()


def drop_tables(pool: infra.ConnectionPool) -> None:
    for port in reversed(PORTS):
        pool.execute(f"DROP TABLE {port.table}")
    pool.execute("DELETE FROM schema_migrations WHERE source = 'example_shop'")


# Two callers can read the same stock. A read locks nothing, also in a transaction, so the second
# would overwrite what the first has stored. Each of these three ways prevents that.


def take_in_one_statement(products: Products, id: uuid.UUID, quantity: int) -> Product:
    """Let the server subtract. The row is locked from here to the end of the transaction."""
    products.increment(id, "stock", -quantity)
    return found(products.get(id))


def take_with_lock(products: Products, id: uuid.UUID, quantity: int) -> Product:
    """Lock the row before it is read. The second caller waits here for the first."""
    product = found(products.get(id, lock=True))
    return products.update(replace(product, stock=product.stock - quantity))


def take_with_version(products: Products, id: uuid.UUID, quantity: int) -> Product:
    """Lock nothing. `update` refuses the second caller (`products_as_read`), which begins again."""
    product = found(products.get(id))
    return products.update(replace(product, stock=product.stock - quantity))


WAYS = {"increment": take_in_one_statement, "lock": take_with_lock, "version": take_with_version}


def found(product: Product | None) -> Product:
    if product is None:
        raise infra.NotFoundError("no such product", resource="product")
    return product


def take(products: Products, id: uuid.UUID, quantity: int, way: str = "increment") -> Product:
    """Take some of a product's stock. Raise ConflictError `products_stock_check` if it is short."""
    one_way = WAYS[way]
    return products.database.run(lambda: one_way(products, id, quantity), conflicts=True)


def place_order(
    database: infra.Database,
    customer: str,
    quantities: Mapping[uuid.UUID, int],
    way: str = "increment",
) -> Order:
    """Store an order and take its products from the stock: all of it or nothing."""
    products, lines = Products.on(database), Lines.on(database)

    def place() -> Order:
        order = Orders.on(database).create(Order(customer))
        # All orders lock products in the same order, so none waits for another in a circle.
        taken = {id: take(products, id, quantities[id], way) for id in sorted(quantities)}
        for number, (id, quantity) in enumerate(quantities.items(), 1):
            lines.create(Line(order.id, number, id, quantity, taken[id].price))
        return order

    return database.run(place, conflicts=True)  # the whole order, if a read of it was stale


def outcome(call: Callable[[], object]) -> str:
    """Return whether the database accepts the call, or the name of the rule that refuses it."""
    try:
        call()
    except infra.ConflictError as error:
        return f"refused by {error.constraint}"
    return "accepted"


def main(database: infra.Database, way: str = "increment") -> None:
    categories, products = Categories.on(database), Products.on(database)
    orders, lines = Orders.on(database), Lines.on(database)

    print("1. A tree of categories.")
    books = categories.create(Category("Books"))
    science = categories.create(Category("Science", books.id))
    maths = categories.create(Category("Mathematics", science.id))
    categories.create(Category("Novels", books.id))
    print(f"   Children of Books: {[child.name for child in categories.children(books)]}")
    print(f"   Path: {' > '.join(each.name for each in categories.path(maths))}")
    print(f"   Novels again: {outcome(lambda: categories.create(Category('Novels')))}")

    print("2. Products, by price.")
    sums = products.create(Product("Long sums", maths.id, Decimal("24.90"), stock=3))
    proofs = products.create(Product("Short proofs", maths.id, Decimal("9.5"), stock=10))
    products.create(Product("Engines", science.id, Decimal("120")))
    query = infra.Query(filters={"category_id": maths.id}, sort="price", with_total=True)
    page = products.page(query)
    print(f"   {page.total} in Mathematics")
    for product in page.items:
        print(f"   {product.name}: {product.price}, {product.stock} in stock")

    print("3. An order takes its products from the stock.")
    order = place_order(database, "Ada", {sums.id: 2, proofs.id: 1}, way)
    for line in lines.of_order(order):
        print(f"   Line {line.number}: {line.quantity} at {line.price}")
    total = sum(line.quantity * line.price for line in lines.of_order(order))
    print(f"   Is there a line 3: {lines.exists((order.id, 3))}")
    print(f"   Total: {total}. Paid: {orders.pay(order.id)}, and again: {orders.pay(order.id)}")
    print(f"   Stock: {[product.stock for product in products.page(query).items]}")

    print("4. An order of more than there is stores nothing.")
    wishes = {proofs.id: 1, sums.id: 2}
    print(f"   Order: {outcome(lambda: place_order(database, 'Bob', wishes, way))}")
    print(f"   Stock: {[product.stock for product in products.page(query).items]}")
    print(f"   Orders: {orders.count()}, lines: {lines.count()}")

    print("5. An update of what was read before the order would revert the stock.")
    dearer = replace(sums, price=Decimal("29.90"))
    print(f"   Update: {outcome(lambda: products.update(dearer))}")
    print(f"   Stock after taking one more: {take(products, sums.id, 1, way).stock}")

    print("6. Rows that others refer to are deleted last.")
    print(f"   Product: {outcome(lambda: products.delete(sums.id))}")
    print(f"   Category: {outcome(lambda: categories.delete(books.id))}")
    print(f"   Order: {orders.delete(order.id)}, lines left: {lines.count()}")
    print(f"   Product: {products.delete(sums.id)}, products left: {products.count()}")


if __name__ == "__main__":
    url, chosen = os.environ.get("DATABASE_URL"), [*sys.argv[1:], "increment"][0]
    if chosen not in WAYS:
        sys.exit(f"the way should be one of: {', '.join(WAYS)}")
    if url:
        with infra.create_pool(infra.DatabaseConfig(url=url)) as pool:
            create_tables(pool)
            try:
                main(pool, chosen)
            finally:
                drop_tables(pool)
    else:
        main(fakes.FakeDatabase("mysql", TABLES), chosen)
