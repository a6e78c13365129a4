"""Measure the time and the memory of `split_statements` on 20 MB of hostile text.

Machines differ in speed, so the promise is a share of the time in which
`re.finditer(r"\\w+|\\W", text)` reads 20 MB of short rows once. The memory is the peak, with the
text, divided by `sys.getsizeof` of the text.
"""

from __future__ import annotations

import re
import statistics
import sys
import time
import tracemalloc
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [str(ROOT)] + [
    entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent
]

import infra
from bench.measure import Bench, Share, arguments, timed

ROUNDS = 3
ROW = "INSERT INTO t VALUES (1,'a');\n"
#: engine, beginning, repeated part, end, and the promised share
TEXTS = {
    "short rows": ("mysql", "", ROW, "", 1.0),
    "short rows, Postgres": ("postgres", "", ROW, "", 1.0),
    "one literal": ("mysql", "SELECT '", "a", "'", 1.0),
    "one literal, Postgres": ("postgres", "SELECT '", "a", "'", 1.0),
    "''": ("mysql", "SELECT '", "''", "'", 1.0),
    "'', Postgres": ("postgres", "SELECT '", "''", "'", 1.0),
    "backslashes": ("mysql", "SELECT '", r"\\", "'", 1.0),
    "backslashes, E''": ("postgres", "SELECT E'", r"\\", "'", 1.0),
    "comments": ("mysql", "", "/* a */", "SELECT 1", 1.0),
    "comments, Postgres": ("postgres", "", "-- a\n", "SELECT 1", 1.0),
    "semicolons": ("mysql", "", ";", "", 1.0),
    "dollar signs": ("postgres", "SELECT ", "$1 ", "", 1.0),
}


def peak(text: str, engine: str) -> float:
    """Return the peak memory of a call, with the text, in sizes of the text."""
    tracemalloc.start()
    infra.split_statements(text, engine)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / sys.getsizeof(text) + 1


def main() -> int:
    bench = Bench(short=arguments(__doc__).parse_args().short)
    size = bench.size(20_000_000, 500_000)
    rows = ROW * (size // len(ROW))
    words = re.compile(r"\w+|\W")

    def one_pass() -> None:
        for _ in words.finditer(rows):
            pass

    times, memory = [], []
    for title, (engine, before, part, behind, limit) in TEXTS.items():
        text = before + part * (size // len(part)) + behind

        def ours(text: str = text, engine: str = engine) -> None:
            infra.split_statements(text, engine)

        shares = [
            timed(ours, 1, time.process_time) / timed(one_pass, 1, time.process_time)
            for _ in range(bench.rounds(ROUNDS))
        ]
        times.append(Share(title, statistics.median(shares), min(shares), max(shares), limit))
        factor = peak(text, engine)
        memory.append(Share(title, factor, factor, factor, 5.0))
    megabytes = size / 1_000_000
    bench.report_shares(
        f"{megabytes:g} MB split, divided by one pass of re.finditer over rows", times
    )
    bench.report_shares(f"Memory of {megabytes:g} MB, in sizes of the text", memory)
    return int(bench.missed)


if __name__ == "__main__":
    sys.exit(main())
