"""What every contract suite is built on."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from typing import Any, ClassVar

import pytest


class Contract:
    """Base of a port's suite; a subclass named ``Test…`` runs it against one backend.

    A backend may not drop or replace a case. Where it really differs, it names the case in ``differs`` with the reason;
    the case then has to fail on it, so that a reason that is no longer true is noticed.
    """

    port: ClassVar[type]
    differs: ClassVar[dict[str, str]] = {}

    @pytest.fixture
    def backend(self) -> Any:
        raise AssertionError(f"{type(self).__name__} does not say which backend it runs on")

    @pytest.fixture(autouse=True)
    def _known_difference(self, request: pytest.FixtureRequest) -> None:
        reason = self.differs.get(request.node.originalname)
        if reason:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.__name__.startswith("Test"):
            inherited = {
                name for base in cls.__mro__[1:] for name in vars(base) if name.startswith("test_")
            }
            changed = inherited & set(vars(cls))
            if changed:
                raise TypeError(
                    f"{cls.__name__} replaces contract cases: {sorted(changed)}; declare them in `differs`"
                )
            if unknown := set(cls.differs) - inherited:
                raise TypeError(
                    f"{cls.__name__} declares differences of cases that do not exist: {sorted(unknown)}"
                )


def public_names(port: type) -> set[str]:
    """Methods and properties that users may call, inherited ones included."""
    return {
        name
        for name, value in inspect.getmembers(port)
        if not name.startswith("_") and (inspect.isroutine(value) or isinstance(value, property))
    }


def names_used(suite: type) -> set[str]:
    """The attributes that the suite's cases touch on what they test: a client, a repository's users, …"""
    cases = [
        value
        for name, value in inspect.getmembers(suite, inspect.isfunction)
        if name.startswith("test_")
    ]
    trees = [ast.parse(textwrap.dedent(inspect.getsource(case))) for case in cases]
    return {
        node.attr
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and re.search(
            r"\b(client|cache|lock|CacheKey|service|listener|bus|message|database|users|tokens|organizations|benchmarks|"
            r"submissions|storage)$",
            ast.unparse(node.value),
        )
    }
