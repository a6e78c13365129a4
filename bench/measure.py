"""Side by side: the two take turns, round by round, so that a machine that slows down slows both."""

from __future__ import annotations

import gc
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

Work = Callable[[], object]


@dataclass(frozen=True)
class Ratio:
    """How many times as fast as the other: the median over rounds, and the extremes. ``target`` is the promise; 0:
    none, shown beside the others."""

    name: str
    median: float
    low: float
    high: float
    target: float


@dataclass(frozen=True)
class Extra:
    """Microseconds of this thread's CPU for one call, or for one of the records that a call gives: the least of all
    rounds, which is what the code itself needs. ``limit``: how much more than the other it is promised to be at most;
    infinite: no promise."""

    name: str
    ours: float
    theirs: float
    limit: float


def timed(work: Work, number: int, clock: Callable[[], float] = time.perf_counter) -> float:
    started = clock()
    for _ in range(number):
        work()
    return clock() - started


def compare(
    name: str,
    ours: Work,
    theirs: Work,
    *,
    target: float,
    rounds: int,
    number: int,
    theirs_number: int = 0,
    before: Work = lambda: None,
) -> Ratio:
    """Runs ``ours`` and ``theirs`` ``number`` times a round, the order swapped every round. ``theirs_number`` shortens
    the slower one's turn; ``before`` prepares each turn, untimed."""
    theirs_number = theirs_number or number

    def turn(work: Work, number: int) -> float:
        before()
        return timed(work, number) / number

    turn(ours, number)
    turn(theirs, theirs_number)
    ratios = []
    gc.disable()
    for each in range(rounds):
        if each % 2:
            mine, other = turn(ours, number), turn(theirs, theirs_number)
        else:
            other, mine = turn(theirs, theirs_number), turn(ours, number)
        ratios.append(other / mine)
    gc.enable()
    return Ratio(name, statistics.median(ratios), min(ratios), max(ratios), target)


def extra(
    name: str, ours: Work, theirs: Work, *, limit: float, rounds: int, number: int, records: int = 1
) -> Extra:
    """Runs both ``number`` times a round, in turn; a call gives that many ``records``."""
    times = []
    gc.disable()
    for _ in range(rounds):
        times.append(
            [
                timed(work, number, time.thread_time) / (number * records) * 1e6
                for work in (ours, theirs)
            ]
        )
    gc.enable()
    mine, other = map(min, zip(*times))
    return Extra(name, mine, other, limit)


def report(title: str, ratios: list[Ratio]) -> int:
    """Prints the table; 1 when a promise is not kept."""
    _head(title, "median", "lowest", "highest")
    for ratio in ratios:
        mark = "" if ratio.median >= ratio.target else "  MISSED"
        promised = f"{ratio.target:>9.2f}x" if ratio.target else f"{'-':>10}"
        print(
            f"{ratio.name:<28}{ratio.median:>8.2f}x{ratio.low:>8.2f}x{ratio.high:>8.2f}x{promised}{mark}"
        )
    sys.stdout.flush()
    return int(any(ratio.median < ratio.target for ratio in ratios))


def report_extras(title: str, extras: list[Extra]) -> int:
    """Prints the table; 1 when a promise is not kept."""
    _head(title, "ours", "theirs", "more")
    for each in extras:
        more = each.ours - each.theirs
        mark = "" if more <= each.limit else "  MISSED"
        promised = f"{each.limit:>10.1f}" if math.isfinite(each.limit) else f"{'-':>10}"
        print(f"{each.name:<28}{each.ours:>9.1f}{each.theirs:>9.1f}{more:>9.1f}{promised}{mark}")
    sys.stdout.flush()
    return int(any(each.ours - each.theirs > each.limit for each in extras))


def _head(title: str, *columns: str) -> None:
    print(f"{title} (Python {platform.python_version()}, {platform.machine()})")
    print(f"{'':<28}{''.join(f'{column:>9}' for column in columns)}{'promised':>10}")
