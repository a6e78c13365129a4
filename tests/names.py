"""Fail if a module assigns one of its own names twice: in a flat file the second silently wins.

Assignments, classes, functions, imports, and the targets of loops and `with` count. So does
`global` in a function: state that changes belongs to an object. Alternatives (`if` and `else`,
`try` and `except`, the cases of `match`) count once, and so do the overloads of a function. `_`
does not count, and `del` makes a name free again.
"""

from __future__ import annotations

import ast
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("tests", "bench", "examples")
Lines = dict[str, list[int]]  # for each name the lines that assign it


def assigned(statements: Iterable[ast.stmt]) -> Lines:
    """Return the lines that assign each name, on the path that assigns it most often."""
    found: Lines = {}
    for statement in statements:
        if isinstance(statement, ast.Delete):
            for name in targets(statement.targets):
                found.pop(name, None)
        for name, lines in by(statement).items():
            found.setdefault(name, []).extend(lines)
    found.pop("_", None)
    return found


def by(statement: ast.stmt) -> Lines:
    """Return the lines for one statement and the statements inside it."""
    if isinstance(statement, ast.If):
        return most(assigned(statement.body), assigned(statement.orelse))
    if isinstance(statement, ast.Match):
        return most(*(assigned(case.body) for case in statement.cases))
    if isinstance(statement, ast.Try):
        passed = assigned([*statement.body, *statement.orelse])
        tried = most(passed, *(assigned(handler.body) for handler in statement.handlers))
        return joined(tried, assigned(statement.finalbody))
    own = {name: [statement.lineno] for name in names(statement)}
    if isinstance(statement, (ast.For, ast.While)):
        return joined(own, assigned([*statement.body, *statement.orelse]))
    if isinstance(statement, ast.With):
        return joined(own, assigned(statement.body))
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return joined(own, declared_global(statement))
    return own


def names(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that the statement itself assigns."""
    if isinstance(statement, ast.Assign):
        yield from targets(statement.targets)
    elif isinstance(statement, (ast.AugAssign, ast.For)):
        yield from targets([statement.target])
    elif isinstance(statement, ast.AnnAssign):
        if statement.value is not None:
            yield from targets([statement.target])
    elif isinstance(statement, ast.With):
        yield from targets([item.optional_vars for item in statement.items if item.optional_vars])
    elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        if not any(is_overload(decorator) for decorator in statement.decorator_list):
            yield statement.name
    elif isinstance(statement, (ast.Import, ast.ImportFrom)):
        for alias in statement.names:  # `import a.b` and `import a.c` do not disturb each other
            yield alias.asname or alias.name


def targets(expressions: Sequence[ast.expr]) -> Iterator[str]:
    """Yield the names in targets of assignments."""
    for expression in expressions:
        if isinstance(expression, ast.Name):
            yield expression.id
        elif isinstance(expression, (ast.Tuple, ast.List)):
            yield from targets(expression.elts)
        elif isinstance(expression, ast.Starred):
            yield from targets([expression.value])


def is_overload(decorator: ast.expr) -> bool:
    return ast.unparse(decorator).rpartition(".")[2] == "overload"


def declared_global(scope: ast.stmt) -> Lines:
    """Return the `global` declarations inside a function or class."""
    found: Lines = {}
    for node in ast.walk(scope):
        if isinstance(node, ast.Global):
            for name in node.names:
                found.setdefault(name, []).append(node.lineno)
    return found


def most(*alternatives: Lines) -> Lines:
    """Return the longest alternative for each name, because only one of them runs."""
    found: Lines = {}
    for alternative in alternatives:
        for name, lines in alternative.items():
            found[name] = max(found.get(name, []), lines, key=len)
    return found


def joined(first: Lines, second: Lines) -> Lines:
    """Return the lines of two parts that both run."""
    return {name: [*first.get(name, []), *second.get(name, [])] for name in first | second}


def assigned_twice(source: str) -> list[tuple[int, str, int]]:
    """Return line and name of each second assignment, and the line of the one before it."""
    lines = assigned(ast.parse(source).body)
    found = [
        (line, name, earlier)
        for name, at in lines.items()
        for earlier, line in itertools.pairwise(at)
    ]
    return sorted(found)


def modules() -> list[Path]:
    inside = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    return sorted([*ROOT.glob("*.py"), *inside])


def main() -> int:
    count = 0
    for path in modules():
        for line, name, earlier in assigned_twice(path.read_text(encoding="utf-8")):
            print(f"{path.relative_to(ROOT)}:{line}: {name} is assigned again, see line {earlier}")
            count += 1
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main())
