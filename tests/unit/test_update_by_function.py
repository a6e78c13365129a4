"""FakeTable.update with a function of the row: ``UPDATE … SET stock = stock - 1`` on the fake."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

import fakes
import infra
from tests.contract import handlers

BOOKS = fakes.Table(
    "books",
    {
        "id": fakes.Column(int),
        "stock": fakes.Column(int),
        "code": fakes.Column(str, null=True, length=5),
        "extra": fakes.Column(dict, null=True),
    },
    unique={"books_code_key": ("code",)},
    checks={"books_stock_check": lambda row: row["stock"] >= 0},
)


@pytest.fixture(params=["mysql", "mariadb", "postgres"])
def books(request: pytest.FixtureRequest) -> fakes.FakeTable:
    database = fakes.FakeDatabase(request.param, [BOOKS])
    table = database.table("books")
    for number, stock in enumerate([1, 5, 0], 1):
        table.insert({"id": number, "stock": stock, "code": str(number), "extra": {"n": [number]}})
    return table


def stocks(table: fakes.FakeTable) -> list[int]:
    return [row["stock"] for row in table.select(order_by=["id"])]


def one_less(row: fakes.Row) -> dict[str, int]:
    return {"stock": row["stock"] - 1}


def test_an_update_by_a_function(books: fakes.FakeTable) -> None:
    assert books.update(lambda row: row["stock"] > 0, one_less) == 2
    assert stocks(books) == [0, 4, 0]
    assert books.update({"id": 2}, one_less) == 1
    assert books.update({"id": 9}, one_less) == 0
    assert books.update(None, lambda row: {"extra": {"n": row["extra"]["n"] * 2}}) == 3
    assert books.update(None, lambda row: {}) == 3
    assert books.find(id=2) == {"id": 2, "stock": 3, "code": "2", "extra": {"n": [2, 2]}}


def test_an_update_by_a_function_gives_it_copies(books: fakes.FakeTable) -> None:
    def careless(row: fakes.Row) -> dict[str, Any]:
        row["extra"]["n"].append("changed")
        row.update(stock=99)
        return {}

    before = books.select()
    assert books.update(None, careless) == 3
    assert books.select() == before


def test_an_update_by_a_function_sees_the_table_as_it_was(books: fakes.FakeTable) -> None:
    seen: list[list[int]] = []

    def look(row: fakes.Row) -> dict[str, int]:
        seen.append(stocks(books))
        return {"stock": 7}

    assert books.update(None, look) == 3
    assert seen == [[1, 5, 0]] * 3
    assert stocks(books) == [7, 7, 7]


def test_no_other_caller_comes_between_an_update(books: fakes.FakeTable) -> None:
    """One is left: of two callers exactly one takes it."""
    books.update({"id": 2}, {"stock": 1})
    counts: list[int] = []

    def take(meanwhile: Callable[[], object]) -> None:
        def one_less_slowly(row: fakes.Row) -> dict[str, int]:
            meanwhile()
            return one_less(row)

        def left(row: fakes.Row) -> bool:
            return bool(row["id"] == 2 and row["stock"] > 0)

        counts.append(books.update(left, one_less_slowly))

    other = threading.Thread(target=take, args=(lambda: None,))

    def start_the_other() -> None:
        other.start()
        other.join(0.1)
        assert other.is_alive()  # it waits

    take(start_the_other)
    other.join(10)
    assert sorted(counts) == [0, 1]
    assert stocks(books) == [1, 0, 0]


def test_an_update_by_a_function_that_fails_changes_nothing(books: fakes.FakeTable) -> None:
    def fails(row: fakes.Row) -> dict[str, int]:
        return {"stock": 7 // (row["id"] - 3)}

    wrong: tuple[tuple[Any, type[Exception], str], ...] = (
        (fails, ZeroDivisionError, "by zero"),
        (one_less, infra.ConflictError, "books_stock_check"),
        (lambda row: {"code": "same"}, infra.ConflictError, "books_code_key"),
        (lambda row: {"stock": None}, infra.ConflictError, "books_stock_not_null"),
        (lambda row: {"stock": 2**31}, infra.DatabaseError, 'column "stock"'),
        (lambda row: {"stok": 1}, infra.DatabaseError, '"stok'),
        (lambda row: {"code": {1}}, infra.ValidationError, "should not be of type set"),
        (lambda row: 5, infra.ValidationError, "the result of changes should be a dict"),
        (lambda row: None, infra.ValidationError, "the result of changes should be a dict"),
        (5, infra.ValidationError, "changes should be a dict, or a function that takes a row"),
    )
    before = books.select(order_by=["id"])
    for changes, error, words in wrong:
        with pytest.raises(error, match=words):
            books.update(None, changes)
        assert books.select(order_by=["id"]) == before


@pytest.mark.parametrize("seen", handlers.SEEN)
def test_changes_that_would_run_nothing_are_refused(books: fakes.FakeTable, seen: str) -> None:
    function: Any = handlers.SEEN[seen]
    with pytest.raises(infra.ValidationError, match="changes should be a plain function"):
        books.update({"id": 9}, function)


@pytest.mark.parametrize("made", handlers.RETURNING)
def test_changes_that_have_not_run_are_errors(books: fakes.FakeTable, made: str) -> None:
    function: Any = handlers.RETURNING[made]
    with pytest.raises(infra.ValidationError, match="a function returned"):
        books.update(None, function)
    assert stocks(books) == [1, 5, 0]


def test_an_update_by_a_function_takes_part_in_transactions_and_faults() -> None:
    database = fakes.FakeDatabase("postgres", [BOOKS])
    books = database.table("books")
    books.insert({"id": 1, "stock": 3})
    with pytest.raises(ZeroDivisionError), database.transaction():
        books.update(None, one_less)
        books.update(None, one_less)
        assert stocks(books) == [1]
        raise ZeroDivisionError
    assert stocks(books) == [3]
    database.fail_next("*", infra.TimeoutError, after_apply=True)
    with pytest.raises(infra.TimeoutError):
        books.update(None, one_less)
    assert stocks(books) == [2]
