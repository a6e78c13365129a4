"""A pytest plugin: a method counts as covered when a contract case calls it and gets an answer.

While a case runs on a fake, the public methods of its port, and of the classes that the port hands
out, note each call from outside of infra.py and fakes.py that returns. A mention is no call, nor is
code that never runs, nor a call that only raises; ``REFUSED`` names the exceptions. The run fails
if the cases of a suite leave a method out. A suite is judged only if all its cases ran, so a part
of the tests may be chosen; the summary says how many suites were judged.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

import fakes
import infra
from tests.contract.base import Contract, public_names, suites

Method = tuple[str, str]  # the class that declares it for users, and its name
Suite = tuple[str, str]  # the module and the name of its class

#: The further classes of a port whose public methods its suite has to call.
COMPANIONS: dict[type, tuple[type, ...]] = {
    infra.KeyValueClient: (infra.Listener,),
    infra.RedisCacheProvider: (infra.CacheLock, infra.CacheKey),
    infra.RedisEventBus: (infra.Subscription, infra.Message),
    infra.EventStream: (infra.Consumer,),
    infra.AuditLog: (infra.AuditReport,),
}
#: The methods of a port that its fake refuses: a call that raises ConfigurationError covers them.
REFUSED: dict[type, set[str]] = {
    infra.Database: {"execute", "fetch_one", "fetch_all", "stream"},  # it runs no SQL
    infra.OrganizationRepository: {"create_many", "upsert"},  # each needs an owner
    # upsert would pass their methods by
    infra.UserRepository: {"upsert"},
    infra.BenchmarkRepository: {"upsert"},
    infra.SubmissionRepository: {"upsert"},
}
#: Methods for own tables, which the library's ports inherit unchanged: the suites of the class that
#: declares them call them.
INHERITED: dict[type, set[str]] = {
    infra.Repository: {
        "update_fields",
        "increment",
        "select",
        "exists_where",
        "update_where",
        "delete_where",
        "iterate",
    }
}
_OURS = {infra.__file__, fakes.__file__}

# By the suite's module and name, which processes can tell each other.
CALLED: dict[Suite, set[Method]] = defaultdict(set)
RAN: dict[Suite, set[str]] = defaultdict(set)  # its cases
DESELECTED: set[Suite] = set()  # of which cases, or some of their parameters, were left out


def methods(port: type) -> set[Method]:
    """The public methods and properties that the suite of this port has to call."""
    elsewhere = {
        name
        for base, names in INHERITED.items()
        for name in names
        if base is not port and getattr(port, name, None) is getattr(base, name)
    }
    return {
        (kind.__name__, name)
        for kind in (port, *COMPANIONS.get(port, ()))
        for name in public_names(kind) - elsewhere
    }


names_of = functools.cache(public_names)


def with_subclasses(kind: type) -> list[type]:
    found: list[type[Any]] = [kind]
    for each in found:
        below: list[type[Any]] = each.__subclasses__()
        found += [sub for sub in below if sub not in found]
    return found


def noting(value: Any, note: Callable[[], None], refusals: tuple[type[Exception], ...] = ()) -> Any:
    """The method or property; it notes each call from outside of our two files that returns.

    ``refusals``: errors that count as an answer.
    """
    if isinstance(value, property):
        return property(noting(value.fget, note), value.fset, value.fdel, value.__doc__)
    if isinstance(value, (classmethod, staticmethod)):
        return type(value)(noting(value.__func__, note))

    @functools.wraps(value)
    def method(*args: Any, **kwargs: Any) -> Any:
        try:
            result = value(*args, **kwargs)
        except refusals:
            note()
            raise
        if sys._getframe(1).f_code.co_filename not in _OURS:
            note()
        return result

    return method


@contextmanager
def noted(port: type, called: set[Method]) -> Iterator[None]:
    """Add to ``called`` what is called in the block; the classes are patched only for it.

    What an earlier case has called is not patched again: that took half of the time of all cases.
    """
    changes = []
    for kind in (port, *COMPANIONS.get(port, ())):
        wanted = [name for name in names_of(kind) if (kind.__name__, name) not in called]
        kinds = with_subclasses(kind) if wanted else ()
        for name in wanted:
            note = functools.partial(called.add, (kind.__name__, name))
            refusals = (infra.ConfigurationError,) if name in REFUSED.get(kind, ()) else ()
            general = inspect.getattr_static(kind, name)
            for each in kinds:
                own = next(vars(base)[name] for base in each.__mro__ if name in vars(base))
                # One that inherits it stays as it is: in classes that a case makes of it and of a
                # port, it would hide the port's own method.
                if each is kind or own is not general:
                    changes.append((each, name, noting(own, note, refusals)))
    with ExitStack() as undo:
        for owner, name, value in changes:
            if name in vars(owner):
                undo.callback(setattr, owner, name, vars(owner)[name])
            else:
                undo.callback(delattr, owner, name)
            setattr(owner, name, value)
        yield


def suite_on_fake(item: pytest.Item) -> type[Contract] | None:
    """The suite whose case this is, if it runs on a fake."""
    backend = getattr(item, "cls", None)
    if backend is None or not issubclass(backend, Contract):
        return None
    if not backend.__name__.startswith("TestFake"):
        return None
    suite: type[Contract] = backend.__mro__[backend.__mro__.index(Contract) - 1]
    return suite


def key(suite: type[Contract]) -> Suite:
    return suite.__module__, suite.__name__


def judged() -> dict[Suite, type[Contract]]:
    """The suites of which all cases ran."""
    found = {}
    for suite in RAN.keys() - DESELECTED:
        module, name = suite
        kind: type[Contract] = getattr(importlib.import_module(module), name)
        if RAN[suite] == {case for case in dir(kind) if case.startswith("test_")}:
            found[suite] = kind
    return found


def left_out() -> list[str]:
    """Return the methods that no case of these suites calls.

    A port may have several suites, which share its methods. They are judged when all have run.
    """
    found = judged()
    by_port: dict[type, dict[Suite, type[Contract]]] = defaultdict(dict)
    for suite, kind in sorted(found.items()):
        by_port[kind.port][suite] = kind
    lines = []
    for port, kinds in by_port.items():
        of_port = [kind for kind in suites() if kind.port is port]
        if {key(kind) for kind in of_port} <= kinds.keys():
            names = " and ".join(kind.__name__ for kind in kinds.values())
            called = set[Method]().union(*(CALLED[suite] for suite in kinds))
            lines += [
                f"{names} has no case that calls {owner}.{name}"
                for owner, name in sorted(methods(port) - called)
            ]
    return lines


# ---------------------------------------------------------------- hooks


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    suite = suite_on_fake(item)
    if suite is None:
        return (yield)
    RAN[key(suite)].add(item.originalname)  # type: ignore[attr-defined]
    with noted(suite.port, CALLED[key(suite)]):
        return (yield)


def pytest_deselected(items: list[pytest.Item]) -> None:
    DESELECTED.update(key(suite) for suite in map(suite_on_fake, items) if suite)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        notes = [(suite, [*ran], [*CALLED[suite]]) for suite, ran in RAN.items()]
        session.config.workeroutput["calls"] = notes, [*DESELECTED]
    elif left_out() and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """One of several processes has ended: the first one judges what all of them have seen."""
    notes, deselected = getattr(node, "workeroutput", {}).get("calls", ((), ()))
    for suite, ran, called in notes:
        RAN[tuple(suite)].update(ran)
        CALLED[tuple(suite)].update(map(tuple, called))
    DESELECTED.update(map(tuple, deselected))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if RAN:
        suites = f"{len(judged())} of {len(RAN)} contract suites ran whole on their fakes"
        terminalreporter.write_line(
            f"public methods that no case calls: {len(left_out())} ({suites})"
        )
    for line in left_out():
        terminalreporter.write_line(line, red=True)
