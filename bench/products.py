"""One table as a repository, by hand, with SQLAlchemy's ORM and with peewee.

Every side reads and writes the same table, on a connection that it keeps and that is in autocommit:
each ``create`` is one committed INSERT. Each makes ids and times with the same functions.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import datetime, timezone
from typing import Any, Protocol

import peewee
import playhouse.pool
import sqlalchemy
import sqlalchemy.dialects.mysql
import sqlalchemy.dialects.postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import infra
from bench.database import login, session_of
from bench.measure import Work

FIRST_PAGE = infra.Query(per_page=100)


def now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass(frozen=True)
class Product:
    sku: str
    name: str
    description: str
    stock: int
    id: uuid.UUID = infra.FILLED
    created_at: datetime = infra.FILLED


class Products(infra.Repository[Product]):
    record = Product
    table = "products"
    resource = "product"
    lengths = {"sku": 40, "name": 100}  # noqa: RUF012


#: the code of products that ``create_many`` makes
BULK = "bulk"


def many(count: int) -> list[dict[str, Any]]:
    return [
        {"sku": BULK, "name": f"Product {n}", "description": "For whom it is.", "stock": n}
        for n in range(count)
    ]


NAMES = [field.name for field in fields(Product)]
COLUMNS = ", ".join(NAMES)


class Side(Protocol):
    """One way to read and write the table. Its records have the attributes of a ``Product``."""

    def create(self, sku: str, name: str, description: str, stock: int) -> Any: ...
    def get(self, id: uuid.UUID) -> Any: ...
    def page(self) -> list[Any]: ...


class Writer(Side, Protocol):
    """A side that also handles many products at once, and one that may exist."""

    def create_many(self, count: int) -> list[Any]: ...
    def upsert(self, id: uuid.UUID, stock: int) -> Any: ...

    def iterate(self) -> Iterator[Any]:
        """Return all products one by one, as the side's manual says for a large table."""


class Ours:
    def __init__(self, products: Products) -> None:
        self.products = products

    def create(self, sku: str, name: str, description: str, stock: int) -> Product:
        return self.products.create(Product(sku, name, description, stock))

    def get(self, id: uuid.UUID) -> Product | None:
        return self.products.find_by_id(id)

    def page(self) -> list[Product]:
        return self.products.page(FIRST_PAGE).items

    def create_many(self, count: int) -> list[Product]:
        return self.products.create_many([Product(**values) for values in many(count)])

    def upsert(self, id: uuid.UUID, stock: int) -> Product:
        return self.products.upsert(Product("U-1", "Pan", "", stock, id)).record

    def iterate(self) -> Iterator[Product]:
        return self.products.iterate({})


class ByHand:
    """Send the same statements over the connection that the pool lends."""

    def __init__(self, pool: infra.ConnectionPool) -> None:
        self.raw = session_of(pool)
        self.record = product_of_mysql if pool.engine == "mysql" else product_of_postgres

    def create(self, sku: str, name: str, description: str, stock: int) -> Product:
        product = Product(sku, name, description, stock, infra.new_id(), now())
        with self.raw.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO products ({COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s)",
                (sku, name, description, stock, str(product.id), product.created_at),
            )
        return product

    def get(self, id: uuid.UUID) -> Product | None:
        with self.raw.cursor() as cursor:
            cursor.execute(f"SELECT {COLUMNS} FROM products WHERE id = %s", (str(id),))
            row = cursor.fetchone()
        return self.record(row) if row else None

    def page(self) -> list[Product]:
        with self.raw.cursor() as cursor:
            cursor.execute(
                f"SELECT {COLUMNS} FROM products ORDER BY created_at, id LIMIT %s", (100,)
            )
            return [self.record(row) for row in cursor.fetchall()]


def product_of_postgres(row: tuple[Any, ...]) -> Product:
    return Product(row[0], row[1], row[2], row[3], row[4], row[5])


def product_of_mysql(row: tuple[Any, ...]) -> Product:
    return Product(row[0], row[1], row[2], row[3], uuid.UUID(row[4]), row[5])


class TextId(sqlalchemy.types.UserDefinedType):  # type: ignore[type-arg,unused-ignore]
    """An id as this library stores it on MySQL: SQLAlchemy's Uuid would omit the hyphens."""

    cache_ok = True

    def bind_processor(self, dialect: object) -> Any:
        return str

    def result_processor(self, dialect: object, coltype: object) -> Any:
        return uuid.UUID


class Base(DeclarativeBase):
    pass


class MappedProduct(Base):
    __tablename__ = "products"

    sku: Mapped[str] = mapped_column(sqlalchemy.String(40))
    name: Mapped[str] = mapped_column(sqlalchemy.String(100))
    description: Mapped[str] = mapped_column(sqlalchemy.Text)
    stock: Mapped[int]
    id: Mapped[uuid.UUID] = mapped_column(
        sqlalchemy.Uuid().with_variant(TextId(), "mysql"), primary_key=True, default=infra.new_id
    )
    created_at: Mapped[datetime] = mapped_column(sqlalchemy.DateTime(timezone=True), default=now)


class SqlAlchemy:
    """Use one session for all calls, as a script does.

    That takes 10 % (page) to 30 % (get) less CPU than a session for each call or request.
    """

    def __init__(self, pool: infra.ConnectionPool, end: contextlib.ExitStack) -> None:
        url, database = SQLALCHEMY_URLS[pool.engine]
        engine = sqlalchemy.create_engine(
            url,
            connect_args=login(pool, database),
            isolation_level="AUTOCOMMIT",
        )
        end.callback(engine.dispose)
        # Objects stay usable after a commit without being read again.
        self.session = Session(engine, expire_on_commit=False)
        end.callback(self.session.close)
        self.engine = sqlalchemy.create_engine(url, connect_args=login(pool, database))
        end.callback(self.engine.dispose)
        self.insert = SQLALCHEMY_INSERTS[pool.engine]

    def create(self, sku: str, name: str, description: str, stock: int) -> Any:
        product = MappedProduct(sku=sku, name=name, description=description, stock=stock)
        self.session.add(product)
        self.session.commit()
        return product

    def get(self, id: uuid.UUID) -> Any:
        # Without populate_existing an object that is still in use would not be read again.
        return self.session.get(MappedProduct, id, populate_existing=True)

    def page(self) -> list[Any]:
        statement = (
            sqlalchemy.select(MappedProduct)
            .order_by(MappedProduct.created_at, MappedProduct.id)
            .limit(100)
        )
        return list(self.session.scalars(statement))

    def create_many(self, count: int) -> list[Any]:
        products = [MappedProduct(**values) for values in many(count)]
        with Session(self.engine, expire_on_commit=False) as session:
            session.add_all(products)
            session.commit()
        return products

    def upsert(self, id: uuid.UUID, stock: int) -> Any:
        values = {"sku": "U-1", "name": "Pan", "description": "", "stock": stock}
        insert: Any = self.insert(MappedProduct).values(id=id, **values)
        fresh = {"populate_existing": True}
        if hasattr(insert, "on_conflict_do_update"):
            insert = insert.on_conflict_do_update(index_elements=["id"], set_=values)
            return self.session.scalars(
                insert.returning(MappedProduct), execution_options=fresh
            ).one()
        self.session.execute(insert.on_duplicate_key_update(**values))
        return self.get(id)

    def iterate(self) -> Iterator[Any]:
        """Read 1,000 rows at a time from a cursor on the server, in a transaction."""
        statement = sqlalchemy.select(MappedProduct).execution_options(yield_per=1000)
        with Session(self.engine) as session:
            yield from session.scalars(statement)


class HyphenedId(peewee.UUIDField):
    """An id as this library stores it on MySQL: peewee's UUIDField would omit the hyphens."""

    def db_value(self, value: uuid.UUID) -> str:
        return str(value)


class PostgresProduct(peewee.Model):
    sku = peewee.CharField(40)
    name = peewee.CharField(100)
    description = peewee.TextField()
    stock = peewee.IntegerField()
    id = peewee.UUIDField(primary_key=True, default=infra.new_id)
    created_at = peewee.DateTimeField(default=now)

    class Meta:
        table_name = "products"


class MySQLProduct(PostgresProduct):
    id = HyphenedId(primary_key=True, default=infra.new_id)

    class Meta:
        table_name = "products"


class Peewee:
    """Keep the pool's connection for the thread, which is faster than to take one for each call."""

    def __init__(self, pool: infra.ConnectionPool, end: contextlib.ExitStack) -> None:
        kind, self.model = PEEWEE_CLASSES[pool.engine]
        arguments = login(pool, "database")
        database = kind(arguments.pop("database"), max_connections=10, **arguments)
        end.callback(database.close_all)
        self.model.bind(database)
        database.connect()
        self.database, self.returns = database, pool.engine == "postgres"

    def create(self, sku: str, name: str, description: str, stock: int) -> Any:
        return self.model.create(sku=sku, name=name, description=description, stock=stock)

    def get(self, id: uuid.UUID) -> Any:
        return self.model.get_or_none(self.model.id == id)

    def page(self) -> list[Any]:
        model = self.model
        return list(model.select().order_by(model.created_at, model.id).limit(100))

    def create_many(self, count: int) -> list[Any]:
        products = [self.model(**values) for values in many(count)]
        with self.database.atomic():
            self.model.bulk_create(products, batch_size=1000)
        return products

    def upsert(self, id: uuid.UUID, stock: int) -> Any:
        model, values = self.model, {"sku": "U-1", "name": "Pan", "description": ""}
        insert = model.insert(id=id, stock=stock, **values)
        changed = [model.sku, model.name, model.description, model.stock]
        if self.returns:
            insert = insert.on_conflict(conflict_target=[model.id], preserve=changed)
            return next(iter(insert.returning(model).execute()))
        insert.on_conflict(preserve=changed).execute()
        return self.get(id)

    def iterate(self) -> Iterator[Any]:
        """Keep no record. The driver still holds all rows in memory."""
        return iter(self.model.select().iterator())


SQLALCHEMY_INSERTS: dict[str, Any] = {
    "mysql": sqlalchemy.dialects.mysql.insert,
    "postgres": sqlalchemy.dialects.postgresql.insert,
}
SQLALCHEMY_URLS = {
    "mysql": ("mysql+pymysql://", "database"),
    "postgres": ("postgresql+psycopg2://", "dbname"),
}
PEEWEE_CLASSES: dict[str, tuple[Any, Any]] = {
    "mysql": (playhouse.pool.PooledMySQLDatabase, MySQLProduct),
    "postgres": (playhouse.pool.PooledPostgresqlDatabase, PostgresProduct),
}


def shown(record: Any) -> Product:
    """Return the record of any side as ours. SQLAlchemy and peewee read MySQL's times naive."""
    product = Product(*(getattr(record, name) for name in NAMES))
    at = product.created_at
    return product if at.tzinfo else replace(product, created_at=at.replace(tzinfo=timezone.utc))


def of_each(side: Side, id: uuid.UUID) -> dict[str, Work]:
    """Return the calls to measure; ``create`` stores a new product each time."""
    return {
        "create": lambda: side.create("B-7741", "Kettle", "It whistles when it boils.", 12),
        "get": lambda: side.get(id),
        "page of 100": side.page,
    }
