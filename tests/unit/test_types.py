"""The type checkers find the errors in a user's file, and no others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.scale import PROVE
from tests.unit import user_code

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.real  # it needs the type checkers
@pytest.mark.parametrize("checker", ["pyright", *(["mypy"] if PROVE else [])])
def test_a_users_file_beside_the_flat_files(checker: str, tmp_path: Path) -> None:
    for name in ("infra.py", "fakes.py"):
        shutil.copy(ROOT / name, tmp_path)
    text = user_code.user_file()
    path = tmp_path / "user.py"
    path.write_text(text, encoding="utf-8")
    assert user_code.CHECKERS[checker](path) == user_code.planted(text)


def test_planted_errors_are_found_by_their_mark() -> None:
    assert user_code.planted("a\nb  # wrong: b\n\nc  # right\nd()  # wrong: d\n") == {2, 5}
    assert len(user_code.planted(user_code.user_file())) >= 25
