"""Measure two sides in turns, round by round, so that a machine that slows down slows both."""

from __future__ import annotations

import argparse
import contextlib
import gc
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
Work = Callable[[], object]

#: microseconds that ``yardstick`` takes on the machine for which extras are promised
YARD = 8.0
SHORT = """\
Without --short, a missed promise exits 1. With --short the run takes seconds: smaller data, fewer
rounds. It exits 1 at half of a promise, which a busy machine keeps and a real defect does not:
  a ratio   (0.9 times as fast)        must reach half of its target (0.45)
  an extra  (25 microseconds more)     may be twice its limit (50)
  a share   (0.7 of the other's time)  may be twice its limit (1.4)
  a count   (3 statements)             stays as promised: a load does not change it
"""


@dataclass(frozen=True)
class Ratio:
    """Hold how many times as fast as the other side ours is: median, lowest and highest round.

    ``target`` is the promise; 0 means none.
    """

    name: str
    median: float
    low: float
    high: float
    target: float


@dataclass(frozen=True)
class Extra:
    """Hold the microseconds of this thread's CPU for a call, or for each record of its result.

    They are those of the fastest round, which is what the code itself needs. On a slow machine,
    where ``yardstick`` takes longer than ``YARD``, they are divided by ``pace``.

    ``limit`` is the promise: at most so much more than the other side; infinite means none.
    ``pace`` is how many times as long as ``YARD`` the yardstick took, at least 1.
    """

    name: str
    ours: float
    theirs: float
    limit: float
    pace: float


@dataclass(frozen=True)
class Share:
    """Hold our time divided by the other side's: median, lowest and highest round.

    ``limit`` is the promise: the largest share; infinite means none.
    """

    name: str
    median: float
    low: float
    high: float
    limit: float


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Return the parser of a bench's command line, with the option ``--short``."""
    parser = argparse.ArgumentParser(
        description=description,
        epilog=SHORT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--short", action="store_true", help="run for seconds; exit 1 at half of a promise"
    )
    return parser


class _Point:
    def __init__(self, name: str, number: int) -> None:
        self.name, self.number = name, number


def yardstick() -> list[tuple[str, int]]:
    """Do some work of the kind that a client does: calls, attributes, dicts, strings."""
    points = [_Point(f"point {number}", number) for number in range(12)]
    found = {point.name.upper(): (point.name, point.number) for point in points}
    return [found[point.name.upper()] for point in points if isinstance(point, _Point)]


def timed(work: Work, number: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the seconds that ``number`` calls of ``work`` take."""
    started = clock()
    for _ in range(number):
        work()
    return clock() - started


@contextlib.contextmanager
def one_core(*servers: int) -> Iterator[None]:
    """Run this thread and the processes ``servers`` on one core, if the system can.

    Without a server, or with 0, it changes nothing.

    A request to a server on another core costs the client up to twice the CPU: find_by_id took 57
    to 62 microseconds on one core, 67 to 94 where the scheduler decided.
    """
    if not servers or not all(servers) or not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    tasks = [Path(f"/proc/{server}/task") for server in servers]
    threads = [int(thread.name) for task in tasks for thread in task.iterdir()]
    for thread in (0, *threads):
        os.sched_setaffinity(thread, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
        for thread in threads:
            with contextlib.suppress(ProcessLookupError):  # the thread has ended
                os.sched_setaffinity(thread, cores)


class Bench:
    """Run a bench, whole or short, and remember whether it missed a promise.

    A short run takes at most ``SHORT_ROUNDS`` rounds for a ratio or a share, and a quarter of the
    rounds for an extra. Its rounds are as long as others: a shorter one measures the scheduler.
    """

    SHORT_ROUNDS = 7  # odd: the median is a round that was measured

    def __init__(self, *, short: bool = False) -> None:
        self.short = short
        self.missed = False
        self.slack = 2 if short else 1

    def size(self, whole: T, short: T) -> T:
        """Return the size of the data for this run."""
        return short if self.short else whole

    def rounds(self, whole: int) -> int:
        """Return how many rounds of a ratio or a share this run takes."""
        return min(whole, self.SHORT_ROUNDS) if self.short else whole

    def compare(
        self,
        name: str,
        ours: Work,
        theirs: Work,
        *,
        target: float,
        rounds: int,
        number: int,
        theirs_number: int = 0,
        before: Work = lambda: None,
        clock: Callable[[], float] = time.perf_counter,
        collector: bool = False,
    ) -> Ratio:
        """Run ``ours`` and ``theirs`` ``number`` times a round, and swap their order every round.

        ``theirs_number`` shortens the slower side's turn. ``before`` prepares each turn; its time
        does not count. If both sides work in this thread alone, pass ``time.thread_time`` as
        ``clock``: it does not count the time of other processes. ``collector``: leave Python's
        garbage collector on, as it is in a program; in a short turn its time would be chance.
        """
        theirs_number = theirs_number or number

        def turn(work: Work, number: int) -> float:
            before()
            return timed(work, number, clock) / number

        turn(ours, number)
        turn(theirs, theirs_number)
        ratios = []
        if not collector:
            gc.disable()
        for round in range(self.rounds(rounds)):
            if round % 2:
                mine, other = turn(ours, number), turn(theirs, theirs_number)
            else:
                other, mine = turn(theirs, theirs_number), turn(ours, number)
            ratios.append(other / mine)
        gc.enable()
        return Ratio(name, statistics.median(ratios), min(ratios), max(ratios), target)

    def compare_cpu(
        self,
        name: str,
        ours: Work,
        theirs: Work,
        *,
        limit: float,
        rounds: int,
        number: int,
        records: int = 1,
        server: int = 0,
    ) -> Extra:
        """Run both sides ``number`` times a round, in turn; a call returns ``records`` records.

        If both sides query a server, let them share one session, and pass the id of its process as
        ``server``: then all run on one core (see ``one_core``).
        """
        times = []
        gc.disable()
        with one_core(server):
            for _ in range(math.ceil(rounds / 4) if self.short else rounds):
                times.append(
                    [
                        timed(work, number, time.thread_time) / number * 1e6
                        for work in (ours, theirs, yardstick)
                    ]
                )
        gc.enable()
        mine, other, yard = map(min, zip(*times))
        pace = max(1.0, yard / YARD)
        return Extra(name, mine / records / pace, other / records / pace, limit, pace)

    def report(self, title: str, ratios: list[Ratio]) -> None:
        """Print the table of ratios, and remember a missed promise."""
        self._head(title, "median", "lowest", "highest")
        for ratio in ratios:
            target = ratio.target / self.slack
            promised = f"{target:>9.2f}x" if target else f"{'-':>10}"
            figures = f"{ratio.median:>8.2f}x{ratio.low:>8.2f}x{ratio.high:>8.2f}x"
            self._line(ratio.name, figures + promised, kept=ratio.median >= target)

    def report_extras(self, title: str, extras: list[Extra]) -> None:
        """Print the table of extras, and remember a missed promise."""
        paces = ", ".join(f"{extra.pace:.2f}" for extra in extras)
        self._head(
            f"{title}, divided by how slow this machine is ({paces})", "ours", "theirs", "more"
        )
        for extra in extras:
            limit = extra.limit * self.slack
            more = extra.ours - extra.theirs
            promised = f"{limit:>10.1f}" if math.isfinite(limit) else f"{'-':>10}"
            figures = f"{extra.ours:>9.1f}{extra.theirs:>9.1f}{more:>9.1f}"
            self._line(extra.name, figures + promised, kept=more <= limit)

    def report_shares(self, title: str, shares: list[Share]) -> None:
        """Print the table of shares, and remember a missed promise."""
        self._head(title, "median", "lowest", "highest")
        for share in shares:
            limit = share.limit * self.slack
            promised = f"{limit:>10.2f}" if math.isfinite(limit) else f"{'-':>10}"
            figures = f"{share.median:>9.2f}{share.low:>9.2f}{share.high:>9.2f}"
            self._line(share.name, figures + promised, kept=share.median <= limit)

    def miss(self) -> str:
        """Remember a missed promise, and return the mark of its line."""
        self.missed = True
        return "  MISSED"

    def _line(self, name: str, figures: str, *, kept: bool) -> None:
        print(f"{name:<28}{figures}{'' if kept else self.miss()}", flush=True)

    def _head(self, title: str, *columns: str) -> None:
        promised = "half" if self.short else "promised"
        print(f"{title} (Python {platform.python_version()}, {platform.machine()})")
        print(f"{'':<28}{''.join(f'{column:>9}' for column in columns)}{promised:>10}")
        sys.stdout.flush()
