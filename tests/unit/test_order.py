"""Sections of infra.py and fakes.py use only what stands above them: they read in order."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import fakes
import infra

ORDER = (
    "errors", "clock", "values", "configuration", "call policy", "sockets", "database",
    "schema migrations", "records", "repositories", "redis", "cache", "verification", "storage",
    "messaging", "sms", "data moves", "outbox and audit", "regions", "observability",
    "infrastructure", "command line",
)  # fmt: skip
#: they bind the others together
LAST = {"infrastructure", "command line"}
BANNER = re.compile(r"^# === ([a-z ]+) =+$")
FILES = {"infra": Path(infra.__file__), "fakes": Path(fakes.__file__)}


class Sections:
    """The sections of a file, by line."""

    def __init__(self, text: str) -> None:
        lines = text.splitlines()
        found = [(at, BANNER.match(line)) for at, line in enumerate(lines, 1)]
        self.begins = [(at, match[1]) for at, match in found if match]
        self.names = ["", *(name for _, name in self.begins)]

    def of(self, line: int) -> str:
        return next((name for at, name in reversed(self.begins) if at <= line), "")


def bound_names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The names that the module's statements bind, and where."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                    yield inner.id, node.lineno


class Uses(ast.NodeVisitor):
    """The names that a module's code takes from the module, and where. Annotations do not count."""

    def __init__(self) -> None:
        self.found: list[tuple[str, int]] = []
        self._locals: list[set[str]] = []

    def visit_Name(self, node: ast.Name) -> None:
        is_local = any(node.id in names for names in self._locals)
        if isinstance(node.ctx, ast.Load) and not is_local:
            self.found.append((node.id, node.lineno))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for decorator in node.decorator_list:
            self.visit(decorator)
        self._visit_function(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._visit_function(node)

    def _visit_function(self, node: ast.FunctionDef | ast.Lambda) -> None:
        for default in [*node.args.defaults, *filter(None, node.args.kw_defaults)]:
            self.visit(default)
        body = node.body if isinstance(node.body, list) else [node.body]
        self._locals.append({*local_names(node)})
        for inner in body:
            self.visit(inner)
        self._locals.pop()


def local_names(function: ast.FunctionDef | ast.Lambda) -> Iterator[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def uses_of_what_stands_below(text: str) -> list[str]:
    sections, tree = Sections(text), ast.parse(text)
    homes = {name: sections.of(line) for name, line in bound_names(tree)}
    uses = Uses()
    uses.visit(tree)
    found = []
    for name, line in uses.found:
        here, home = sections.of(line), homes.get(name, "")
        if here not in LAST and sections.names.index(home) > sections.names.index(here):
            found.append(f"line {line}: {here} uses {name}, which stands below in {home}")
    return found


@pytest.mark.parametrize("file", FILES)
def test_the_order_of_sections(file: str) -> None:
    text = FILES[file].read_text()
    names = [name for _, name in Sections(text).begins]
    known = [name for name in names if name != "faults"]  # the fakes' own
    assert known == [name for name in ORDER if name in known]
    if file == "infra":
        assert known == [*ORDER]
    contents = (infra if file == "infra" else fakes).__doc__ or ""
    assert re.findall(r"^(?!=)(\S[a-z ]*?)  +\S", contents, re.MULTILINE) == names


@pytest.mark.parametrize("file", FILES)
def test_a_section_uses_only_what_stands_above_it(file: str) -> None:
    assert uses_of_what_stands_below(FILES[file].read_text()) == []


def test_a_use_of_something_below_is_found() -> None:
    text = """
# === first =====
def one(two):
    return two, three(lambda four: four)
def other() -> four:
    nearby()
    x: four = four
def nearby(): pass
# === second ====
def two(): pass
def three(): one(1)
def four(): pass
"""
    assert uses_of_what_stands_below(text) == [
        "line 4: first uses three, which stands below in second",
        "line 7: first uses four, which stands below in second",
    ]
