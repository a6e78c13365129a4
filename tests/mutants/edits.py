"""Edits of a function's syntax tree. Each kind is one line of data in a list of mutants."""

from __future__ import annotations

import ast
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

ASSIGNMENTS = (ast.Assign, ast.AnnAssign)
NO_BLOCKS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.expr)  # names are their own


class DoesNotApply(Exception):
    """The text names the function and the pattern."""


def equal(first: Any, second: Any) -> bool:
    """Whether two trees say the same: positions, quotes and load or store do not count."""
    if isinstance(first, list):
        return (
            isinstance(second, list)
            and len(first) == len(second)
            and all(map(equal, first, second))
        )
    if not isinstance(first, ast.AST):
        return type(first) is type(second) and bool(first == second)
    names = [name for name in first._fields if name not in ("ctx", "kind", "type_comment")]
    return type(first) is type(second) and all(
        equal(getattr(first, name, None), getattr(second, name, None)) for name in names
    )


def expression(text: str) -> ast.expr | None:
    """The tree of an expression; None if the text is no expression."""
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError:
        return None


def statements(text: str) -> list[ast.stmt]:
    return ast.parse(text).body


def find(module: ast.Module, where: str) -> ast.stmt:
    """The last function or class with that qualified name, else the last assignment."""
    found: ast.AST = module
    for name in where.split("."):
        named = [each for each in children(found) if name in names_of(each)]
        if not named:
            raise DoesNotApply(f"{where} does not exist: nothing is called {name!r}")
        found = max(named, key=lambda each: (not isinstance(each, ASSIGNMENTS), each.lineno))
    assert isinstance(found, ast.stmt)
    return found


def children(parent: ast.AST) -> Iterator[ast.stmt]:
    """Its statements, and those of its blocks (`if`, `with`, …), not of functions or classes."""
    for child in ast.iter_child_nodes(parent):
        if isinstance(child, ast.stmt):
            yield child
        if not isinstance(child, NO_BLOCKS):
            yield from children(child)


def names_of(statement: ast.stmt) -> list[str]:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [statement.name]
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    return [each.id for each in targets if isinstance(each, ast.Name)]


def places(root: ast.AST) -> Iterator[tuple[list[Any], int] | tuple[ast.AST, str]]:
    """Where a node hangs in the tree: a list and an index, or a parent and a field."""
    for parent in ast.walk(root):
        for field, value in ast.iter_fields(parent):
            if isinstance(value, ast.AST):
                yield parent, field
            elif isinstance(value, list):
                for index in range(len(value)):
                    yield value, index


def read(place: Any, key: Any) -> Any:
    return place[key] if isinstance(place, list) else getattr(place, key)


def write(place: Any, key: Any, node: ast.AST) -> None:
    before = read(place, key)
    if hasattr(before, "ctx") and hasattr(node, "ctx"):
        node.ctx = before.ctx
    if isinstance(place, list):
        place[key] = node
    else:
        setattr(place, key, node)


# ---------------------------------------------------------------- edits


@dataclass(frozen=True)
class Edit(ABC):
    """An edit inside the function, class or assignment called ``where``."""

    where: str

    @abstractmethod
    def apply(self, scope: ast.stmt) -> None:
        """Edit the tree in place. Raises DoesNotApply."""

    def only(self, found: list[Any], pattern: str, nth: int | None = None) -> Any:
        """The one place that matches, or the nth of several, counted from 1."""
        if nth is None and len(found) == 1:
            return found[0]
        if nth is not None and 0 < nth <= len(found):
            return found[nth - 1]
        wanted = "once" if nth is None else f"at least {nth} times"
        raise DoesNotApply(f"{self.where} has this {len(found)} times, not {wanted}: {pattern}")


def in_order(node: Any) -> tuple[int, int]:
    """By the node's place in the file; ast.walk has another order."""
    return node.lineno, node.col_offset


def expressions_like(scope: ast.stmt, wanted: ast.expr) -> list[Any]:
    found = [(place, key) for place, key in places(scope) if equal(read(place, key), wanted)]
    return sorted(found, key=lambda each: in_order(read(*each)))


def runs_like(scope: ast.stmt, wanted: list[ast.stmt]) -> list[tuple[list[Any], int]]:
    """Where those statements follow each other in one block."""
    found = [
        (place, key)
        for place, key in places(scope)
        if isinstance(place, list)
        and isinstance(key, int)
        and equal(place[key : key + len(wanted)], wanted)
    ]
    return sorted(found, key=lambda each: in_order(read(*each)))


@dataclass(frozen=True)
class Replace(Edit):
    """One expression by another, or some statements that follow each other by others."""

    pattern: str
    by: str
    _: KW_ONLY
    nth: int | None = None

    def apply(self, scope: ast.stmt) -> None:
        wanted, by = expression(self.pattern), expression(self.by)
        if wanted is not None and by is not None:
            place, key = self.only(expressions_like(scope, wanted), self.pattern, self.nth)
            write(place, key, by)
        else:
            run = statements(self.pattern)
            block, index = self.only(runs_like(scope, run), self.pattern, self.nth)
            block[index : index + len(run)] = statements(self.by)


@dataclass(frozen=True)
class Drop(Edit):
    """A statement, or some that follow each other; `pass` stands in their place."""

    pattern: str
    _: KW_ONLY
    nth: int | None = None

    def apply(self, scope: ast.stmt) -> None:
        run = statements(self.pattern)
        block, index = self.only(runs_like(scope, run), self.pattern, self.nth)
        block[index : index + len(run)] = [ast.Pass()]


@dataclass(frozen=True)
class Swap(Edit):
    """Two expressions, or two statements, take each other's places."""

    first: str
    second: str

    def apply(self, scope: ast.stmt) -> None:
        found = [self.only(each, text) for text, each in self.places(scope).items()]
        (one, key), (other, other_key) = found
        before = read(one, key)
        write(one, key, read(other, other_key))
        write(other, other_key, before)

    def places(self, scope: ast.stmt) -> dict[str, list[Any]]:
        """Where each of the two stands; an expression cannot take a statement's place."""
        texts = self.first, self.second
        wanted = [each for each in map(expression, texts) if each is not None]
        if len(wanted) == len(texts):
            return {text: expressions_like(scope, each) for text, each in zip(texts, wanted)}
        runs = [statements(text) for text in texts]
        if any(len(run) > 1 for run in runs):
            raise DoesNotApply(f"{self.where}: one statement each can be swapped: {texts}")
        return {text: runs_like(scope, run) for text, run in zip(texts, runs)}


@dataclass(frozen=True)
class Never(Edit):
    """The `if`, `elif`, `while` or conditional expression with this condition: it is False."""

    condition: str
    _: KW_ONLY
    nth: int | None = None
    value: ClassVar[bool] = False

    def apply(self, scope: ast.stmt) -> None:
        wanted = expression(self.condition)
        found = [
            node
            for node in ast.walk(scope)
            if isinstance(node, (ast.If, ast.While, ast.IfExp)) and equal(node.test, wanted)
        ]
        found.sort(key=in_order)
        self.only(found, self.condition, self.nth).test = ast.Constant(self.value)


@dataclass(frozen=True)
class Always(Never):
    """The same: it is True."""

    value: ClassVar[bool] = True


@dataclass(frozen=True)
class Text(Edit):
    """A part of a string (SQL, Lua, a message), also of an f-string's; never of a docstring."""

    old: str
    new: str
    _: KW_ONLY
    nth: int | None = None

    def apply(self, scope: ast.stmt) -> None:
        prose = {id(each.value) for each in ast.walk(scope) if isinstance(each, ast.Expr)}
        found = [
            (node, match.start())
            for node in ast.walk(scope)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
            for match in re.finditer(re.escape(self.old), node.value)
            if id(node) not in prose
        ]
        found.sort(key=lambda each: (in_order(each[0]), each[1]))
        node, start = self.only(found, repr(self.old), self.nth)
        node.value = node.value[:start] + self.new + node.value[start + len(self.old) :]


@dataclass(frozen=True)
class Same(Edit):
    """No edit: shows that the suites pass on code that was written from its tree."""

    def apply(self, scope: ast.stmt) -> None: ...
