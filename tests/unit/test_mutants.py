"""The mutants apply to today's code; edits do what they say; an accident is no notice."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from tests.mutants import suite
from tests.mutants.__main__ import MUTANTS
from tests.mutants.edits import (
    Always,
    DoesNotApply,
    Drop,
    Edit,
    Never,
    Replace,
    Same,
    Swap,
    Text,
)

SOURCE = '''
TABLE = {"a": 1}  # layout and comments do not count


class Box:
    """A box that says SELECT."""

    sql = """
        SELECT a FROM t
    """

    @property
    def full(self):
        """A box
            is full."""
        if self.size > 1:
            self.note("x")
            self.count += 1
        return f"{self.size} of {1 + 1}" if self.size else ""

    def inner(self):
        def work():
            return self.size

        return work()
'''
NOTE, COUNT = '            self.note("x")\n', "            self.count += 1\n"
SWAPPED = '            self.count("x")\n            self.note += 1\n'


@pytest.fixture
def sources(tmp_path: Path) -> suite.Sources:
    (tmp_path / "box.py").write_text(SOURCE, encoding="utf-8")
    return suite.Sources(tmp_path)


@pytest.mark.parametrize(
    ("edit", "old", "new"),
    [
        (Replace("Box.full", "self.size > 1", "self.size >= 1"), "size > 1", "size >= 1"),
        (Replace("Box.full", "1", "2", nth=2), "+= 1", "+= 2"),
        (Replace("Box.full", "1", "2", nth=4), "1 + 1", "1 + 2"),
        (Replace("Box.full", "self.size", "7", nth=3), "if self.size else", "if 7 else"),
        (Replace("Box.full", "self.size", "7", nth=1), "if self.size > 1", "if 7 > 1"),
        (
            Replace("Box.full", "self.count += 1", "a = 1; return a"), COUNT.strip(),
            "a = 1; return a"
        ),
        (Replace("Box.inner.work", "self.size", "0"), "return self.size\n", "return 0\n"),
        (Replace("TABLE", "{'a': 1}", "{}"), '{"a": 1}', "{}"),
        (Drop("Box.full", "self.note('x')\nself.count += 1"), NOTE + COUNT, "            pass\n"),
        (Never("Box.full", "self.size > 1"), "if self.size > 1", "if False"),
        (Always("Box.full", "self.size"), '" if self.size else', '" if True else'),
        (Swap("Box.full", "self.note('x')", "self.count += 1"), NOTE + COUNT, COUNT + NOTE),
        (Swap("Box.full", "self.note", "self.count"), NOTE + COUNT, SWAPPED),
        (Text("Box.sql", "a FROM", "b FROM"), "a FROM", "b FROM"),
        (Text("Box", "SELECT", "DELETE"), "        SELECT", "        DELETE"),  # no docstring
        (Text("Box.full", " of ", "/"), " of ", "/"),
    ],
)  # fmt: skip
def test_edits(sources: suite.Sources, edit: Edit, old: str, new: str) -> None:
    assert old in SOURCE
    assert same_code(sources.edited("box.py", [edit]), SOURCE.replace(old, new))


def same_code(first: str, second: str) -> bool:
    return ast.dump(ast.parse(first)) == ast.dump(ast.parse(second))


def test_no_edit_changes_nothing_but_the_layout(sources: suite.Sources) -> None:
    edited = sources.edited("box.py", [Same("Box.full"), Same("TABLE"), Same("Box.inner.work")])
    assert edited != SOURCE
    assert same_code(edited, SOURCE)


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (Replace("Box.full", "self.size", "0"), "Box.full has this 3 times, not once: self.size"),
        (Replace("Box.full", "gone", "0"), "Box.full has this 0 times, not once: gone"),
        (Replace("Box.full", "1", "0", nth=9), "not at least 9 times: 1"),
        (Replace("Box.empty", "1", "0"), "Box.empty does not exist: nothing is called 'empty'"),
        (Replace("Box.full", "self.size > 1", "self.size>1"), "Box.full is the same after"),
        (Drop("Box.full", "return 1"), "Box.full has this 0 times, not once: return 1"),
        (Text("Box.full", "full", ""), "Box.full has this 0 times, not once: 'full'"),
    ],
)
def test_edits_that_do_not_apply(sources: suite.Sources, edit: Edit, why: str) -> None:
    with pytest.raises(DoesNotApply) as caught:
        sources.edited("box.py", [edit])
    assert why in str(caught.value)


def test_all_mutants_apply() -> None:
    assert suite.check(MUTANTS) == []


def test_the_check_of_mutants_can_fail() -> None:
    edit, tests = (
        Replace("Database.run", "gone", "0"),
        ("unit/gone.py", "unit/test_mutants.py::x"),
    )
    mutant = suite.OnFakes("a name", suite.INFRA, edit, tests)
    assert suite.check([mutant, mutant])[:3] == [
        "a name: infra.py: Database.run has this 0 times, not once: gone",
        "a name: no such test: unit/gone.py",
        "a name: no such test: unit/test_mutants.py::x",
    ]
    assert "a name: two mutants have this name" in suite.check([mutant, mutant])


@pytest.mark.parametrize(
    ("code", "output", "ok", "what"),
    [
        (1, "/x/y.py:7: assert 1\nFAILED tests/a.py::b - as…\n", True, "a.py::b: assert 1"),
        (0, "3 passed\n", False, "NOT NOTICED"),
        (5, "no tests ran\n", False, "THE TESTS DID NOT RUN"),
        (2, "ERROR tests/unit/test_a.py - ImportError\n", False, "THE TESTS DID NOT RUN"),
        (1, "ERROR tests/unit/test_a.py::b - at setup\n", False, "THE TESTS DID NOT RUN"),
        (None, "", False, "DOES NOT END"),
        (1, "/x/infra.py:7: NameError: name\nFAILED tests/a.py::b\n", False, "CRASHES"),
        (1, "/x/tests/a.py:7: TypeError: it\nFAILED tests/a.py::b\n", True, "a.py::b"),
    ],
)
def test_verdicts(code: Any, output: str, ok: bool, what: str) -> None:
    noticed, line = suite.verdict(code, output)
    assert noticed is ok
    assert line.startswith(what)
