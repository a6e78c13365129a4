"""A folded text, as unique keys hold it, is at most three times as long: MySQL's columns are."""

from __future__ import annotations

import sys
import unicodedata

import pytest

import fakes
import infra

LIGATURE = "\ufb03"  # ffi: the fold of one character has three


def decomposed_fold(character: str) -> str:
    """What the character adds to a folded text before that is composed.

    Decomposition and folding work on each character by itself. Composition, which comes last, only
    makes a text shorter.
    """
    folded = unicodedata.normalize("NFD", character).casefold()
    return unicodedata.normalize("NFD", folded)


def composed(text: str) -> bool:
    return len(unicodedata.normalize("NFC", text)) < len(text)


def test_the_fold_of_any_text() -> None:
    characters = [chr(number) for number in range(sys.maxunicode + 1)]
    marks = [each for each in characters if unicodedata.combining(each)]
    longer = {fold for each in characters if len(fold := decomposed_fold(each)) > 3}
    # A vowel, two accents and an iota. At least the first accent is composed with the vowel,
    # whatever stands around: only marks of a lower class can come between, and the vowel is
    # composed with none of those.
    assert {len(fold) for fold in longer} == {4}
    for vowel, accent in {(fold[0], fold[1]) for fold in longer}:
        assert (unicodedata.combining(vowel), composed(vowel + accent)) == (0, True)
        between = [
            each for each in marks if unicodedata.combining(each) < unicodedata.combining(accent)
        ]
        assert not any(composed(vowel + each) for each in between)
    assert len(decomposed_fold(LIGATURE)) == 3


def test_the_longest_folded_columns() -> None:
    """``ddl`` and the fake on MySQL give them a length; Postgres needs none."""
    written = infra.ddl(infra.UserRepository, "mysql")
    assert "`email_folded` VARCHAR(762) NOT NULL" in written
    assert "`username_folded` VARCHAR(150) NOT NULL" in written
    assert '"email_folded" TEXT COLLATE "C" NOT NULL' in infra.ddl(infra.UserRepository, "postgres")
    written = infra.ddl(infra.OrganizationRepository, "mysql")
    assert "`search_folded` LONGTEXT NOT NULL" in written  # in no key
    columns = fakes.Table.of(infra.UserRepository).columns
    assert (columns["email_folded"].key_length, columns["email_folded"].length) == (762, None)


@pytest.mark.parametrize(("dialect", "fits"), [("mysql", False), ("postgres", True)])
def test_a_folded_key_that_is_longer(dialect: str, fits: bool) -> None:
    """Only a bulk insert could store one."""
    database = fakes.FakeDatabase(dialect, fakes.MYSQL_TABLES)
    fakes.FakeUserRepository(database).create(infra.User("ada@x", "ada"))
    (row,) = database.table("users").select()
    row |= {"id": infra.new_id(), "email_folded": "x" * 763, "username_folded": "b"}
    if fits:
        database.insert_many("users", [*row], [[*row.values()]])
    else:
        with pytest.raises(infra.DatabaseError, match="email_folded"):
            database.insert_many("users", [*row], [[*row.values()]])
