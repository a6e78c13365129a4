"""Side by side: the two take turns, round by round, so that a machine that slows down slows both."""

from __future__ import annotations

import gc
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

Work = Callable[[], object]


@dataclass(frozen=True)
class Ratio:
    """How many times as fast as the other: the median over rounds, and the extremes. ``target`` is the promise."""

    name: str
    median: float
    low: float
    high: float
    target: float


def timed(work: Work, number: int) -> float:
    started = time.perf_counter()
    for _ in range(number):
        work()
    return time.perf_counter() - started


def compare(
    name: str, ours: Work, theirs: Work, *, target: float, rounds: int, number: int, theirs_number: int = 0
) -> Ratio:
    """Runs ``ours`` and ``theirs`` ``number`` times a round, the order swapped every round. ``theirs_number`` shortens
    the slower one's turn."""
    theirs_number = theirs_number or number
    timed(ours, number)
    timed(theirs, theirs_number)
    ratios = []
    gc.disable()
    for turn in range(rounds):
        if turn % 2:
            mine, other = timed(ours, number), timed(theirs, theirs_number)
        else:
            other, mine = timed(theirs, theirs_number), timed(ours, number)
        ratios.append((other / theirs_number) / (mine / number))
    gc.enable()
    return Ratio(name, statistics.median(ratios), min(ratios), max(ratios), target)


def report(title: str, ratios: list[Ratio]) -> int:
    """Prints the table; 1 when a promise is not kept."""
    print(f"{title} (Python {platform.python_version()}, {platform.machine()})")
    print(f"{'':<28}{'median':>9}{'lowest':>9}{'highest':>9}{'promised':>10}")
    for ratio in ratios:
        mark = "" if ratio.median >= ratio.target else "  MISSED"
        print(f"{ratio.name:<28}{ratio.median:>8.2f}x{ratio.low:>8.2f}x{ratio.high:>8.2f}x{ratio.target:>9.2f}x{mark}")
    sys.stdout.flush()
    return int(any(ratio.median < ratio.target for ratio in ratios))
