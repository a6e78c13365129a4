"""Exceptions of signal handlers, at each place in turn where one can come."""

from __future__ import annotations

import contextlib
import functools
import gc
import linecache
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import infra


@functools.cache
def with_lines(file: str) -> frozenset[int | None]:
    """Return the lines that are of a ``with``: no signal comes between block and end."""
    lines = enumerate(linecache.getlines(file), 1)
    return frozenset(number for number, line in lines if line.lstrip().startswith("with "))


def is_in_destructor(frame: FrameType | None, work: FrameType) -> bool:
    """Return whether a ``__del__`` runs below ``work``.

    Python swallows its exceptions, and the library raises them again by a real signal, which may
    come at any time: another test shows that.
    """
    while frame is not None and frame is not work and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None and frame is not work


@contextlib.contextmanager
def traced(trace: Callable[[FrameType, str, object], Any], event: str) -> Iterator[None]:
    """Let ``trace`` see each line, or with "opcode" each instruction, of this thread."""
    usual = sys.gettrace()
    # Python 3.12 tells of instructions only if a frame has asked for them before settrace().
    sys._getframe().f_trace_opcodes = event == "opcode"
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(usual)


def interrupted_at(
    number: int, work: Callable[[], Any], event: str = "line", *more_files: str
) -> bool:
    """Run the work, and raise KeyboardInterrupt before the nth line of infra.py that it executes.

    Lines of destructors do not count. Return whether it was interrupted; False: it has fewer
    lines. ``event`` "opcode" interrupts between any two instructions of the interpreter.
    """
    left, here = number, sys._getframe()
    left_out = {file: with_lines(file) for file in (infra.__file__, *more_files)}

    def trace(frame: FrameType, kind: str, _: object) -> Any:
        """Choose the calls to look into."""
        if frame.f_code.co_filename not in left_out or is_in_destructor(frame, here):
            return None
        if event == "opcode":
            frame.f_trace_opcodes = True
        return step

    def step(frame: FrameType, kind: str, _: object) -> Any:
        nonlocal left
        if kind == event and frame.f_lineno not in left_out[frame.f_code.co_filename]:
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return step

    try:
        with traced(trace, event):
            work()
    except KeyboardInterrupt:
        return True
    return left < 0


def interruptions(work: Callable[[], Any], event: str = "line", *more_files: str) -> Iterator[int]:
    """Run the work until no step is left, each time interrupted one step later; yield the step."""
    gc.collect()  # else a pool of an earlier test may end meanwhile, and take the interrupt
    number = 0
    while interrupted_at(number, work, event, *more_files):
        yield number
        number += 1
    assert number > 3, "nothing was interrupted"


def handled_at(
    number: int,
    work: Callable[[], Any],
    handler: Callable[[], Any],
    *files: str,
    event: str = "line",
) -> bool:
    """Run the work, and the handler before the nth line of these files that it executes.

    Return whether the handler ran; False: there are fewer lines. ``event`` "opcode" counts
    instructions of the interpreter.
    """
    left = number

    def trace(frame: FrameType, kind: str, _: object) -> Any:
        nonlocal left
        if left < 0 or frame.f_code.co_filename not in files:
            return None
        frame.f_trace_opcodes = event == "opcode"
        if kind == event:
            left -= 1
            if left < 0:
                handler()  # Python traces nothing in here
                sys.settrace(None)
                return None
        return trace

    with traced(trace, event):
        work()
    return left < 0
