"""Text of subclasses of str, which every parameter takes for its plain text."""

from __future__ import annotations

import dataclasses
import enum
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest


class Odd(str):
    """Text that answers wrongly wherever a subclass of str may."""

    __slots__ = ()

    def __str__(self) -> str:
        return "odd"

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return "odd"

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1

    def __len__(self) -> int:
        return 0

    def __contains__(self, part: object) -> bool:
        return True

    def __getitem__(self, at: Any) -> str:
        return "odd"

    def isascii(self) -> bool:
        return True

    def encode(self, *options: Any, **named: Any) -> bytes:
        return b"odd"

    def strip(self, *characters: Any) -> str:
        return "odd"

    def lower(self) -> str:
        return "odd"

    def split(self, *options: Any, **named: Any) -> list[str]:
        return ["odd"]


def member(text: str) -> Any:
    """A member of an enumeration of texts: its own str() and format() are "Word.MEMBER"."""

    class Word(str, enum.Enum):
        MEMBER = text

    return Word.MEMBER


def str_enum_member(text: str) -> Any:
    if sys.version_info < (3, 11):
        return member(text)

    class Word(enum.StrEnum):
        MEMBER = text

    return Word.MEMBER


Text = Callable[[str], Any]
any_text = pytest.mark.parametrize("text", [str, member, str_enum_member, Odd])


class Number(enum.IntEnum):
    ONE = 1


class Raw(bytes):
    def __bytes__(self) -> bytes:
        return b"odd"


def classes(value: Any) -> Iterator[type]:
    """Of each text in the value."""
    if isinstance(value, str):
        yield type(value)
    elif dataclasses.is_dataclass(value):
        for each in dataclasses.fields(value):
            yield from classes(getattr(value, each.name))
    elif isinstance(value, Mapping):
        for item in value.items():
            yield from classes(item)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from classes(each)


def plain(value: Any) -> Any:
    """The value, once it is known that each text in it is plain."""
    assert {*classes(value)} <= {str}
    return value
