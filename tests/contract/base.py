"""The base of all contract suites."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any, ClassVar

import pytest

import tests.contract


class Contract:
    """Base of a port's suite; a subclass named ``Test…`` runs it against one backend.

    A backend may not drop or replace a case. Where it really differs, it names the case in
    ``differs`` with the reason; the case then has to fail on it, so that a reason that is no longer
    true is noticed.
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
                    f"{cls.__name__} replaces contract cases: {sorted(changed)}; "
                    "declare them in `differs`"
                )
            if unknown := set(cls.differs) - inherited:
                raise TypeError(
                    f"{cls.__name__} declares differences of cases "
                    f"that do not exist: {sorted(unknown)}"
                )


def public_names(port: type) -> set[str]:
    """Methods and properties that users may call, inherited ones included."""
    return {
        name
        for name, value in inspect.getmembers(port)
        if not name.startswith("_") and (inspect.isroutine(value) or isinstance(value, property))
    }


def suites() -> dict[type[Contract], list[type[Contract]]]:
    """Each contract class with the backends that run it."""
    for module in pkgutil.iter_modules(tests.contract.__path__):
        importlib.import_module(f"tests.contract.{module.name}")

    def below(suite: type[Contract]) -> list[type[Contract]]:
        return [each for sub in suite.__subclasses__() for each in (sub, *below(sub))]

    return {
        suite: [each for each in below(suite) if each.__name__.startswith("Test")]
        for suite in Contract.__subclasses__()
        if "<locals>" not in suite.__qualname__  # one that a test made, and Python still remembers
    }
