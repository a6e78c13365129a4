"""Tables of one's own: one class carries the rules, and runs on every backend."""

from __future__ import annotations

import uuid
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any, ClassVar

import pytest

import fakes
import infra
from examples import shop
from tests.contract.databases import unchecked, violation


@dataclass(frozen=True)
class Order:
    code: str
    state: str | None = None
    id: uuid.UUID = infra.FILLED


@dataclass(frozen=True)
class Line:
    """Its columns have names that servers reserve, and each kind of value."""

    order_id: uuid.UUID
    rank: int
    key: str
    group: str = ""
    stock: int = 0
    next_id: uuid.UUID | None = None
    total: int | None = None
    price: Decimal | None = None
    weight: float | None = None
    is_new: bool = False
    data: bytes | None = None
    blob: bytes | None = None
    day: date | None = None
    seen_at: datetime | None = None
    meta: dict[str, Any] | None = None
    text: str | None = None
    huge: str | None = None
    id: uuid.UUID = infra.FILLED
    created_at: datetime = infra.FILLED


class Orders(infra.Repository[Order]):
    record, table, resource, sort_fields = Order, "orders", "order", ("code",)
    lengths: ClassVar = {"code": 20, "state": 10}
    formats: ClassVar = {"state": "open|paid|on-hold"}
    ascii = ("code",)
    unique = (("code",),)

    def find_by_code(self, code: str) -> Order | None:
        return self._first("find_by_code", self._checked({"code": code}))


class Lines(infra.Repository[Line]):
    record, table, resource = Line, "lines", "line"
    lengths: ClassVar = {"key": 40, "total": 64, "data": 8, "huge": 20_000}
    scales: ClassVar = {"price": (10, 2), "seen_at": 0}
    folded: ClassVar = {"key_folded": ("key",)}
    unique: ClassVar = {"lines_rank_key": ("order_id", "rank"), "lines_name": ["key"]}
    foreign_keys: ClassVar = {
        "lines_order_id_fkey": infra.ForeignKey(("order_id",), "orders", on_delete="cascade"),
        "lines_next_id_fkey": infra.ForeignKey(("next_id",), "lines", on_delete="set null"),
    }
    checks: ClassVar = {
        "lines_stock_check": infra.Check("stock >= 0", lambda row: row["stock"] >= 0),
        "lines_total_check": infra.Check(
            "total > stock",
            lambda row: None if row["total"] is None else row["total"] > row["stock"],
        ),
    }


class Archived(Orders):
    """The same table under another name."""

    table = "archived"


TABLES = [fakes.Table.of(each) for each in (Orders, Lines)]


def test_a_fake_table_has_the_rules_of_the_class() -> None:
    orders, lines = TABLES
    assert orders.unique == {"orders_code_key": ("code",)}
    pairs: Any = type("Pairs", (Orders,), {"unique": [("code", "state")]})
    assert fakes.Table.of(pairs).unique == {"orders_code_state_key": ("code", "state")}
    assert fakes.Table.of(Archived).unique == {"archived_code_key": ("code",)}
    assert orders.columns["code"] == fakes.Column(str, length=20, ascii=True)
    assert orders.columns["state"].ascii is False
    assert [*orders.checks] == ["orders_state_check"]
    check = orders.checks["orders_state_check"]
    states = ("open", "on-hold", None, "gone", "OPEN")
    assert [check({"state": state}) for state in states] == [True, True, True, False, False]
    assert lines.unique == {"lines_rank_key": ("order_id", "rank"), "lines_name": ("key",)}
    assert lines.foreign_keys == Lines.foreign_keys
    assert [*lines.checks] == ["lines_stock_check", "lines_total_check"]
    assert fakes.ForeignKey is infra.ForeignKey


def test_arguments_of_a_fake_table_add_rules_and_replace_them() -> None:
    table = fakes.Table.of(
        Orders,
        ascii=["state"],
        unique={"orders_state_key": ("state",), "orders_code_key": ("code", "state")},
        foreign_keys={"orders_fkey": infra.ForeignKey(("id",), "lines")},
        checks={"orders_state_check": lambda row: False, "orders_check": lambda row: True},
    )
    assert table.columns["state"].ascii is table.columns["code"].ascii is True
    assert table.unique == {"orders_code_key": ("code", "state"), "orders_state_key": ("state",)}
    assert table.foreign_keys == {"orders_fkey": infra.ForeignKey(("id",), "lines")}
    assert [*table.checks] == ["orders_state_check", "orders_check"]
    assert table.checks["orders_state_check"]({"state": "open"}) is False
    with pytest.raises(infra.ConfigurationError, match="orders: ascii should name columns"):
        fakes.Table.of(Orders, ascii=["nothing"])


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"unique": {"k": ("nothing",)}}, "k names no column: nothing"),
        ({"unique": {"k": ("code", 5)}}, "k names no column: 5"),
        ({"unique": {"k": "code"}}, "k should be a tuple of columns"),
        ({"unique": {"k": ()}}, "k should be a tuple of columns"),
        ({"unique": ("code",)}, "unique should be a dict, or a list of tuples of columns"),
        ({"unique": 5}, "unique should be a dict, or a list of tuples of columns"),
        ({"unique": [("nothing",)]}, "orders_nothing_key names no column: nothing"),
        ({"unique": {"k; DROP": ("code",)}}, "k; DROP should be letters, digits and underscores"),
        ({"unique": {"k" * 64: ("code",)}}, "should have at most 63 characters"),
        ({"unique": {"orders_pkey": ("code",)}}, "orders_pkey should be the name of one"),
        ({"unique": {"orders_state_check": ("code",)}}, "orders_state_check should be the name of"),
        ({"foreign_keys": {"k": ("code",)}}, "k should be of class ForeignKey"),
        ({"foreign_keys": ["k"]}, "foreign_keys should be a dict"),
        ({"foreign_keys": {"k": infra.ForeignKey(("no",), "t")}}, "k names no column: no"),
        ({"checks": {"k": lambda row: True}}, "k should be of class Check"),
        ({"checks": 5}, "checks should be a dict"),
        ({"ascii": ("nothing",)}, "ascii names no column: nothing"),
        ({"ascii": "code"}, "ascii should be a list"),
        ({"key": "id"}, "key should be a list"),
        ({"trimmed": "code"}, "trimmed should be a list"),  # a comma is missing
        ({"ids": None}, "ids should be a list"),
        ({"guarded": 5}, "guarded should be a list"),
        ({"lengths": ["code"]}, "lengths should be a dict"),
        ({"hidden": None}, "hidden should be a dict"),
    ],
)
def test_a_wrong_rule_is_refused_with_its_class(rules: dict[str, Any], message: str) -> None:
    with pytest.raises(infra.ConfigurationError, match=message) as caught:
        type("Wrong", (Orders,), rules)
    assert str(caught.value).startswith("Wrong: ")
    abstract: Any = type("Abstract", (infra.Repository,), rules)  # it has no table yet
    with pytest.raises(infra.ConfigurationError, match="Wrong: "):
        type("Wrong", (abstract, Orders), {})


@pytest.mark.parametrize("sources", [("nothing",), ("price",), ("meta",), ()])
def test_a_folded_column_of_no_texts(sources: tuple[str, ...]) -> None:
    wrong: Any = type("Wrong", (Lines,), {"folded": {"key_folded": sources}})
    for call in (fakes.Table.of, lambda port: infra.ddl(port, "postgres")):
        with pytest.raises(infra.ConfigurationError, match="key_folded should hold fields of text"):
            call(wrong)


def test_documents_in_keys() -> None:
    words = "documents are no fields to sort or filter by, nor to guard, nor keys"
    database = fakes.FakeDatabase("mysql", TABLES)
    by_meta: Any = type("Wrong", (Lines,), {"key": ("meta",), "ids": ()})
    with pytest.raises(infra.ConfigurationError, match=words):
        by_meta.on(database)
    unique: Any = type("Wrong", (Lines,), {"unique": {"k": ("rank", "meta")}})
    for port, message in ((by_meta, "primary_key names a doc"), (unique, "k names a document")):
        with pytest.raises(infra.ConfigurationError, match=f"lines: {message}"):
            fakes.Table.of(port)


def test_a_foreign_key_of_unequal_parts() -> None:
    with pytest.raises(infra.ConfigurationError, match="as many columns as the key itself: a, b"):
        infra.ForeignKey(("a", "b"), "orders")
    listed: Any = ["id"]
    assert infra.ForeignKey(listed, "orders", listed) == infra.ForeignKey(("id",), "orders")


def test_rules_of_one_name() -> None:
    key = infra.ForeignKey(("id",), "lines")
    with pytest.raises(infra.ConfigurationError, match="Wrong: k should be the name of one"):
        type("Wrong", (Orders,), {"unique": {"k": ("code",)}, "foreign_keys": {"k": key}})


@pytest.mark.parametrize(
    ("sql", "holds"), [("", bool), (5, bool), ("a > 0", None), ("a > 0", "a > 0")]
)
def test_wrong_checks(sql: Any, holds: Any) -> None:
    with pytest.raises(infra.ConfigurationError, match="should be"):
        infra.Check(sql, holds)


class Missing(Orders):
    """Has SQL of its own."""

    @abstractmethod
    def totals(self) -> list[int]: ...
    @abstractmethod
    def by_join(self) -> list[int]: ...


class SqlMissing(infra.SqlRepository[Order], Missing):
    def totals(self) -> list[int]:
        return [1]

    def by_join(self) -> list[int]:
        return [2]


class FakeMissing(fakes.FakeRepository[Order], Missing):
    def totals(self) -> list[int]:
        return [1]

    def by_join(self) -> list[int]:
        return [2]


def fake_database(engine: str = "postgres", **options: Any) -> fakes.FakeDatabase:
    return fakes.FakeDatabase(engine, TABLES, **options)


def test_on_a_fake_it_can_fail() -> None:
    orders = Orders.on(fake_database())
    assert isinstance(orders, Orders)
    assert isinstance(orders, fakes.Faults)
    orders.fail_next("find_by_code", infra.TimeoutError)
    with pytest.raises(infra.TimeoutError):
        orders.find_by_code("a")
    assert orders.find_by_code("a") is None
    with pytest.raises(infra.ValidationError, match="there is no method 'on' to fail"):
        orders.fail_next("on", infra.TimeoutError)
    upper = Upper.on(orders.database)
    upper.fail_next("create", infra.TimeoutError)  # type: ignore[attr-defined]
    with pytest.raises(infra.TimeoutError):
        upper.create(Order("a"))
    assert upper.plain("A") == "a"
    orders.down = True
    with pytest.raises(infra.ConnectionError, match="down on purpose"):
        orders.count()
    orders.down = False
    assert orders.count() == 0


def test_on_takes_what_the_constructor_takes() -> None:
    clock = fakes.FakeClock(datetime(2030, 1, 1, tzinfo=timezone.utc))
    database = fake_database()
    order = Orders.on(database).create(Order("a"))
    assert Lines.on(database, clock=clock).create(Line(order.id, 1, "k")).created_at == clock.now()
    phones = fakes.FakeDatabase("mysql", fakes.MYSQL_TABLES)
    users = infra.PhoneUserRepository.on(phones, "k" * 32)
    assert users.create_for_phone("+14155550100") == users.find_by_phone("+14155550100")


def test_a_class_of_a_backend_stays_what_it_is() -> None:
    database = fake_database()
    made = FakeMissing.on(database)
    assert (type(made), made.totals()) == (FakeMissing, [1])
    assert type(Orders.on(database)) is type(Orders.on(database))
    with pytest.raises(infra.ConfigurationError, match="SqlMissing takes a ConnectionPool"):
        SqlMissing.on(database)


def test_what_on_cannot_make() -> None:
    database = fakes.FakeDatabase("postgres", [*fakes.POSTGRES_TABLES, *TABLES])
    for port, names in (
        (Missing, "by_join, totals"),
        (infra.BenchmarkRepository, "tags"),
        (infra.SubmissionRepository, "_ranked"),
    ):
        message = f"{port.__name__}.on has no {names}: write a subclass for each backend"
        with pytest.raises(infra.ConfigurationError, match=message):
            port.on(database)
    wrong: Any = "postgres://localhost"
    with pytest.raises(infra.ConfigurationError, match="should be a ConnectionPool or a Fake"):
        Orders.on(wrong)


def contract(orders: Orders, lines: Lines) -> None:
    """What both backends do with the rules of the classes."""
    order = orders.create(Order("a-1", "open"))
    assert orders.find_by_code("a-1") == orders.find_by_id(order.id) == order
    line = lines.create(Line(order.id, 1, "K\u00e9y", price=Decimal("1.50"), total=1 << 40))
    full = replace(
        line, weight=0.5, is_new=True, data=b"12345678", blob=b"x" * 99_999, day=date(2026, 1, 2),
        seen_at=datetime(2026, 1, 2, tzinfo=timezone.utc), meta={"a": [1]}, text="t" * 70_000,
        huge="h" * 20_000, group="g",
    )  # fmt: skip
    assert lines.update(full) == lines.find_by_id(line.id)
    other = Line(order.id, 2, "other", next_id=line.id)
    for wrong, rule in (
        (replace(other, rank=1), ("lines_rank_key", "unique")),
        (replace(other, key=line.key), ("lines_name", "unique")),
        (replace(other, order_id=infra.new_id()), ("lines_order_id_fkey", "foreign_key")),
        (replace(other, next_id=infra.new_id()), ("lines_next_id_fkey", "foreign_key")),
        (replace(other, stock=-1), ("lines_stock_check", "check")),
        (replace(other, total=0), ("lines_total_check", "check")),
    ):
        assert violation(lambda wrong=wrong: lines.create(wrong)) == rule  # type: ignore[misc]
    assert violation(lambda: orders.create(Order("a-1"))) == ("orders_code_key", "unique")
    last = lines.create(other)
    assert lines.delete(line.id) is True
    assert lines.find_by_id(last.id) == replace(last, next_id=None)
    assert orders.delete(order.id) is True
    assert lines.count() == 0


class Upper(Orders):
    """Replaces a method that every repository has."""

    @staticmethod
    def plain(text: str) -> str:
        return text.lower()

    def create(self, record: Order) -> Order:
        return super().create(replace(record, code=record.code.upper()))


def methods_of_the_class_come_first(orders: Orders) -> None:
    order = Upper.on(orders.database).create(Order("abc"))
    assert order.code == "ABC"
    assert orders.find_by_code("ABC") == order
    assert orders.delete(order.id) is True


def state_is_checked(orders: Orders) -> None:
    """The database itself refuses a text that the format does not have."""
    assert violation(lambda: unchecked(orders).create(Order("b", "gone"))) == (
        "orders_state_check", "check",
    )  # fmt: skip


@pytest.mark.parametrize("engine", ["mysql", "postgres"])
def test_rules_on_a_fake(engine: str) -> None:
    database = fake_database(engine)
    contract(Orders.on(database), Lines.on(database))
    state_is_checked(Orders.on(database))
    methods_of_the_class_come_first(Orders.on(database))


def created(pool: infra.ConnectionPool, *ports: type[Any]) -> None:
    """Create the tables as a migration does."""
    for statement in infra.split_statements(infra.ddl(ports, pool.engine), pool.engine):
        pool.execute(statement)


SERVERS = ["mariadb", "mysql", "postgres", "postgres-18"]


@pytest.mark.parametrize("name", SERVERS)
def test_rules_on_a_server(database: Callable[[str], str], name: str) -> None:
    with infra.create_pool(infra.DatabaseConfig(url=database(name))) as pool:
        created(pool, Lines, Orders)
        orders = Orders.on(pool)
        assert isinstance(orders, Orders)
        assert isinstance(orders, infra.SqlRepository)
        contract(orders, Lines.on(pool))
        state_is_checked(orders)
        methods_of_the_class_come_first(orders)


def test_the_text_of_a_table() -> None:
    assert (
        infra.ddl(Orders, "postgres")
        == """\
CREATE TABLE "orders" (
    "code" VARCHAR(20) COLLATE "C" NOT NULL,
    "state" VARCHAR(10) COLLATE "C" NULL,
    "id" UUID NOT NULL,
    CONSTRAINT "orders_pkey" PRIMARY KEY ("id"),
    CONSTRAINT "orders_code_key" UNIQUE ("code"),
    CONSTRAINT "orders_state_check" CHECK ("state" IN ('open', 'paid', 'on-hold'))
);
"""
    )
    assert (
        infra.ddl([Orders], "mysql")
        == """\
CREATE TABLE `orders` (
    `code` VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    `state` VARCHAR(10) NULL,
    `id` CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    PRIMARY KEY (`id`),
    CONSTRAINT `orders_code_key` UNIQUE (`code`),
    CONSTRAINT `orders_state_check` CHECK (`state` IN ('open', 'paid', 'on-hold'))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
"""
    )


@pytest.mark.parametrize("name", SERVERS)
def test_the_tables_of_the_example(database: Callable[[str], str], name: str) -> None:
    """They have the rules of their fakes, and are dropped at the end."""
    with infra.create_pool(infra.DatabaseConfig(url=database(name))) as pool:
        shop.create_tables(pool)
        shop.create_tables(pool)  # changes nothing
        assert [fakes.compare(each, pool) for each in shop.PORTS] == [[], [], [], []]
        shop.drop_tables(pool)
        assert [fakes.compare(each, pool) for each in shop.PORTS] == [
            ["there is no table categories"],
            ["there is no table products"],
            ["there is no table orders"],
            ["there is no table order_lines"],
        ]
        assert pool.fetch_all("SELECT source FROM schema_migrations") == []


@pytest.mark.parametrize("engine", ["mysql", "postgres"])
def test_the_text_of_several_tables(engine: str) -> None:
    """Parents come first, and the text is a migration."""
    text = infra.ddl(iter((Lines, Orders)), engine)
    statements = infra.split_statements(text, engine)
    quote = "`" if engine == "mysql" else '"'
    assert [statement.split(quote)[1] for statement in statements] == ["orders", "lines"]
    (next_id,) = (line for line in text.splitlines() if "lines_next_id_fkey" in line)
    assert next_id.replace(quote, "").strip() == (
        "CONSTRAINT lines_next_id_fkey FOREIGN KEY (next_id) REFERENCES lines (id) "
        "ON DELETE SET NULL,"
    )


@pytest.mark.parametrize(
    ("rules", "mysql", "postgres"),
    [
        ({"unique": [("code", "state")]}, "", ""),
        ({"lengths": {}}, "Wrong: orders_code_key needs a length of code on mysql", ""),
        ({"lengths": {"code": 16_384}}, "orders_code_key needs a length of code", ""),
        ({"lengths": {"code": 3072}}, "", ""),
        (
            {"lengths": {"code": 3073}},
            "orders_code_key takes 3073 bytes, and an index of mysql",
            "",
        ),
        ({"lengths": {"code": 768}, "ascii": ()}, "", ""),
        ({"lengths": {"code": 769}, "ascii": ()}, "orders_code_key takes 3076 bytes", ""),
        ({"lengths": {"code": "9"}}, "code has a length that no", "code has a length that no"),
        ({"lengths": {"code": 0}}, "code has a length that no", "code has a length that no"),
        ({"key": ("nothing",)}, "orders_pkey names no column: nothing", "names no column: nothing"),
        ({"key": ("state",)}, "should not hold state, which", "should not hold state, which"),
        ({"hidden": {"price": Decimal}}, "price needs a scale on mysql", ""),
        ({"hidden": {"n": int}, "lengths": {"code": 5, "n": 8}}, "n has a len", "n has a len"),
        ({"hidden": {"a b": int}}, "a b should be letters", "a b should be letters"),
        (
            {"table": "a;b", "formats": {}, "unique": ()},
            "a;b should be letters, digits",
            "a;b should be letters, digits",
        ),
        (
            {"hidden": {"doc": dict}, "unique": {"k": ("doc",)}},
            "k names a document: doc",
            "k names a document: doc",
        ),
        (
            {"foreign_keys": {"k": infra.ForeignKey(("code",), "t", on_delete="set null")}},
            "k sets code to None, which it may not be",
            "k sets code to None, which it may not be",
        ),
        (
            {"foreign_keys": {"k": infra.ForeignKey(("code",), "t; DROP")}},
            "t; DROP should be letters",
            "t; DROP should be letters",
        ),
        (
            {"foreign_keys": {"k": infra.ForeignKey(("code",), "t", ("i d",))}},
            "i d should be letters",
            "i d should be letters",
        ),
    ],
)
def test_what_no_table_can_hold(rules: dict[str, Any], mysql: str, postgres: str) -> None:
    port = type("Wrong", (Orders,), rules)
    for engine, message in (("mysql", mysql), ("postgres", postgres)):
        if not message:
            assert infra.ddl(port, engine).startswith("CREATE TABLE ")
            continue
        with pytest.raises(infra.ConfigurationError, match=message) as caught:
            infra.ddl(port, engine)
        assert str(caught.value).startswith("Wrong: ")


@pytest.mark.parametrize("name", ["mariadb", "mysql"])
def test_the_largest_keys(database: Callable[[str], str], name: str) -> None:
    """The longest that ddl accepts are accepted by the server too."""
    with infra.create_pool(infra.DatabaseConfig(url=database(name))) as pool:
        for table, rules in (
            ("ascii_keys", {"lengths": {"code": 3072}}),
            ("text_keys", {"lengths": {"code": 768}, "ascii": ()}),
            ("long_texts", {"lengths": {"code": 1, "state": 16_364}}),
        ):
            created(pool, type("Large", (Orders,), {"table": table, "formats": {}, **rules}))


def test_what_ddl_refuses() -> None:
    key = {"k": infra.ForeignKey(("id",), "orders")}
    one = type("One", (Orders,), {"table": "one", "foreign_keys": key})
    key = {"l": infra.ForeignKey(("id",), "one")}
    other = type("Other", (Orders,), {"foreign_keys": key})
    with pytest.raises(
        infra.ConfigurationError, match="One, Lines, Other: their foreign keys refer"
    ):
        infra.ddl([one, Lines, other], "postgres")
    for wrong in (5, infra.Repository, [Order], "orders"):
        with pytest.raises(infra.InfrastructureError, match=r"ddl takes|should be a list"):
            infra.ddl(wrong, "postgres")
    with pytest.raises(infra.ConfigurationError, match="engine should be mysql or postgres"):
        infra.ddl(Orders, "sqlite")


@pytest.mark.parametrize("name", SERVERS)
def test_compare(database: Callable[[str], str], name: str) -> None:
    """A table made from ddl is equal; each difference is a sentence."""
    with infra.create_pool(infra.DatabaseConfig(url=database(name))) as pool:
        assert fakes.compare(Orders, pool) == ["there is no table orders"]
        created(pool, Lines, Orders)
        assert fakes.compare(Orders, pool) == []
        assert fakes.compare(Lines, pool) == []
        for table in TABLES:
            assert fakes.compare(table, pool) == []
        ascii = " of ASCII" if pool.engine == "mysql" else ""
        for change, differences in CHANGES:
            port = type("Orders", (Orders,), change)
            expected = [sentence.format(ascii=ascii) for sentence in differences]
            assert fakes.compare(port, pool) == expected, change
        wrong = replace(TABLES[1], foreign_keys=OTHER_KEYS, checks={"lines_check": bool})
        assert fakes.compare(wrong, pool) == [
            "lines has no a_fkey, which should be "
            "FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE RESTRICT",
            "lines: lines_next_id_fkey should be FOREIGN KEY (next_id) REFERENCES lines (id) "
            "ON DELETE CASCADE, and is FOREIGN KEY (next_id) REFERENCES lines (id) "
            "ON DELETE SET NULL",
            "lines has no lines_check, which should be CHECK",
            "lines has lines_order_id_fkey too, which is "
            "FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE",
            "lines has lines_stock_check too, which is CHECK",
            "lines has lines_total_check too, which is CHECK",
        ]


OTHER_KEYS = {
    "a_fkey": infra.ForeignKey(("order_id",), "orders"),
    "lines_next_id_fkey": infra.ForeignKey(("next_id",), "lines", on_delete="cascade"),
}
#: rules that differ from the table's, and what compare says of them
CHANGES: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"lengths": {"code": 21, "state": 10}},
        ["orders: code should be text(21){ascii} NOT NULL, and is text(20){ascii} NOT NULL"],
    ),
    (
        {"lengths": {"code": 20}},
        ["orders: state should be text NULL, and is text(10) NULL"],
    ),
    ({"hidden": {"n": int}}, ["orders has no n, which should be integer(32) NOT NULL"]),
    ({"hidden": {"at": datetime}}, ["orders has no at, which should be datetime(6) NOT NULL"]),
    (
        {"hidden": {"state": bool | None}, "lengths": {"code": 20}},
        ["orders: state should be boolean NULL, and is text(10) NULL"],
    ),
    (
        {"hidden": {"state": str}},
        ["orders: state should be text(10) NOT NULL, and is text(10) NULL"],
    ),
    (
        {"elsewhere": ("state",), "formats": {}},
        [
            "orders has state too, which is text(10) NULL",
            "orders has orders_state_check too, which is CHECK",
        ],
    ),
    (
        {"key": ("id", "code")},
        ["orders: orders_pkey should be PRIMARY KEY (id, code), and is PRIMARY KEY (id)"],
    ),
    (
        {"unique": {"orders_code_key": ("code", "state")}},
        ["orders: orders_code_key should be UNIQUE (code, state), and is UNIQUE (code)"],
    ),
    (
        {"unique": {"k": ("code",)}},
        [
            "orders has no k, which should be UNIQUE (code)",
            "orders has orders_code_key too, which is UNIQUE (code)",
        ],
    ),
]


#: columns that other programs make, and the words of compare; "": an error of the server
FOREIGN = {
    "mysql": {
        "TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin": "text of at most 65535 bytes NULL",
        "TEXT CHARACTER SET latin1 COLLATE latin1_bin": "text(65535) NULL",
        "VARCHAR(9) COLLATE utf8mb4_general_ci": "text(9) NULL COLLATE utf8mb4_general_ci",
        "INTEGER UNSIGNED NULL": "integer(32) without a sign NULL",
        "ENUM('a') CHARACTER SET ascii COLLATE ascii_bin": "text of ASCII of a fixed list NULL",
        "SMALLINT NOT NULL": "integer(16) NOT NULL",
        "DATETIME(3) NULL": "datetime(3) NULL",
        "CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NULL": "UUID NULL",
    },
    "postgres": {
        "TEXT NULL": "text NULL COLLATE default",
        'CHAR(5) COLLATE "C" NOT NULL': "text(5) NOT NULL",
        "JSONB NOT NULL": "JSON NOT NULL",
        "TIMESTAMP NULL": "local moment(6) NULL",
        "NUMERIC(9,3) NULL": "decimal(9,3) NULL",
        "NUMERIC NULL": "decimal NULL",
    },
}


@pytest.mark.parametrize("name", SERVERS)
def test_columns_that_others_have_made(database: Callable[[str], str], name: str) -> None:
    with infra.create_pool(infra.DatabaseConfig(url=database(name))) as pool:
        for number, (sql, words) in enumerate(FOREIGN[pool.engine].items()):
            ending = infra.ddl(Orders, pool.engine).rpartition(")")[2]
            columns = f"id INTEGER NOT NULL, x {sql}, PRIMARY KEY (id)"
            pool.execute(f"CREATE TABLE t{number} ({columns}){ending}")
            table = fakes.Table(f"t{number}", {"id": fakes.Column(int)})
            assert fakes.compare(table, pool) == [f"t{number} has x too, which is {words}"]


@pytest.mark.parametrize("name", ["postgres", "postgres-18"])
def test_unique_indexes_count(database: Callable[[str], str], name: str) -> None:
    with infra.create_pool(infra.DatabaseConfig(url=database(name))) as pool:
        created(pool, Orders)
        pool.execute("CREATE UNIQUE INDEX orders_state_key ON orders (state, code)")
        port = type("Orders", (Orders,), {"unique": [("code",)]})
        assert fakes.compare(port, pool) == [
            "orders has orders_state_key too, which is UNIQUE (state, code)"
        ]
        both = {"orders_code_key": ("code",), "orders_state_key": ("state", "code")}
        assert fakes.compare(type("Orders", (Orders,), {"unique": both}), pool) == []
        pool.execute("DROP INDEX orders_state_key")
        pool.execute("CREATE UNIQUE INDEX open_key ON orders (state) WHERE code > 'a'")
        assert fakes.compare(Orders, pool) == [
            "orders has open_key too, which is UNIQUE with a condition or an expression (state)"
        ]


def test_what_compare_takes() -> None:
    wrong: Any = fake_database()
    with pytest.raises(infra.ConfigurationError, match="compare takes a ConnectionPool"):
        fakes.compare(Orders, wrong)
    with pytest.raises(infra.ConfigurationError, match="takes the class of a repository"):
        fakes.compare(Order, wrong)
