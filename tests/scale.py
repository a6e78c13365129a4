"""How much of the long runs a run does: all under PROVE=1 (`make prove`), else a tenth."""

from __future__ import annotations

import os

PROVE = os.environ.get("PROVE") == "1"


def scaled(count: int) -> int:
    return count if PROVE else count // 10
