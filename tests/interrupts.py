"""Exceptions of signal handlers, at each place in turn where one can come."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import infra


def interrupted_at(number: int, work: Callable[[], Any], event: str = "line") -> bool:
    """Run the work, and raise KeyboardInterrupt before the nth line of infra.py that it executes.

    Return whether it was interrupted; False: it has fewer lines. ``event`` "opcode" interrupts
    between any two instructions of the interpreter.
    """
    left = number

    def trace(frame: FrameType, kind: str, _: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename != infra.__file__:
            return None
        frame.f_trace_opcodes = event == "opcode"
        if kind == event:
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    usual = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(usual)
    return left < 0


def interruptions(work: Callable[[], Any], event: str = "line") -> Iterator[int]:
    """Run the work again and again, each time interrupted one step later; the number of the step."""
    number = 0
    while interrupted_at(number, work, event):
        yield number
        number += 1
    assert number > 3, "nothing was interrupted"
