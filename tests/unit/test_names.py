"""`make check` finds module-level names that are assigned twice; `make bench` runs all benches."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.names import assigned_twice

ROOT = Path(__file__).resolve().parent.parent.parent

TWICE = {
    "assignments": "a = 1\na = 2",
    "one of several targets": "a, b = 1, 2\n[c, *b] = 3, 4",
    "annotated": "b: int = 1\nb: int = 2",
    "augmented": "b = 1\nb += 1",
    "functions": "def b(): ...\ndef b(): ...",
    "coroutines": "async def b(): ...\nasync def b(): ...",
    "classes": "class b: ...\nclass b: ...",
    "an import, then a class": "from c import d as b\nclass b: ...",
    "imports": "import b\nfrom c import b",
    "a default, then perhaps another value": "b = 1\nif c:\n    b = 2",
    "inside one alternative": "if c:\n    b = 1\n    b = 2\nelse:\n    b = 3",
    "behind alternatives": "if c:\n    b = 1\nelse:\n    b = 2\nb = 3",
    "after try": "try:\n    b = 1\nexcept E:\n    pass\nfinally:\n    b = 2",
    "try and its else": "try:\n    b = 1\nexcept E:\n    pass\nelse:\n    b = 2",
    "loops": "for b in c:\n    pass\nfor b in c:\n    pass",
    "inside a loop": "b = 1\nwhile c:\n    b = 2",
    "inside a with block": "b = 1\nwith c as d:\n    b = 2",
    "global": "b = 1\ndef c():\n    global b\n    b = 2",
}
ONCE = {
    "other names": "a = 1\nb = 2",
    "if and else": "if c:\n    b = 1\nelif d:\n    b = 2\nelse:\n    b = 3",
    "try and except": "try:\n    import b\nexcept E:\n    b = None\nexcept F:\n    b = 1",
    "match": "match c:\n    case 1:\n        b = 1\n    case _:\n        b = 2",
    "overloads": (
        "@overload\ndef b(c: int): ...\n@typing.overload\ndef b(c: str): ...\ndef b(c): ..."
    ),
    "a declaration": "b: int\nb = 1",
    "submodules": "import b.c\nimport b.d",
    "names of a function": "def c():\n    b = 1\n    b = 2",
    "attributes of a class": "class C:\n    b = 1\n    b = 2",
    "items and attributes": "b.c = 1\nb.c = 2\nb['d'] = 1\nb['d'] = 2",
    "an underscore": "_ = 1\n_ = 2",
    "after del": "for b in c:\n    pass\ndel b\nfor b in c:\n    pass",
}


@pytest.mark.parametrize("source", TWICE.values(), ids=TWICE)
def test_an_assignment_is_found_that_another_has_lost(source: str) -> None:
    (found,) = assigned_twice(source)
    line, name, earlier = found
    assert name == ("a" if source.startswith("a =") else "b")
    assert earlier < line


@pytest.mark.parametrize("source", ONCE.values(), ids=ONCE)
def test_alternatives_are_one_assignment(source: str) -> None:
    assert assigned_twice(source) == []


def test_the_line_is_that_of_the_second() -> None:
    assert assigned_twice("a = 1\n\nb = 1\na = 2\nb = 2\na = 3") == [
        (4, "a", 1),
        (5, "b", 3),
        (6, "a", 4),
    ]


def test_make_bench_runs_each_bench() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^BENCHES := (.+)$", makefile, re.MULTILINE)
    programs = {
        path.stem
        for path in (ROOT / "bench").glob("*.py")
        if "__main__" in path.read_text(encoding="utf-8")
    }
    assert set(listed.split()) == programs
