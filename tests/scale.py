"""How much of the long runs a run does: all under PROVE=1 (`make prove`), else a twentieth."""

from __future__ import annotations

import os

PROVE = os.environ.get("PROVE") == "1"


def scaled(count: int, part: int = 20) -> int:
    return count if PROVE else count // part
