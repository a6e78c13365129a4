"""The transaction blocks of a differential machine: entered, nested and left on fake and real."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

import infra

ON_PURPOSE = infra.ValidationError("on purpose")


class BlockMachine(RuleBasedStateMachine):
    """A machine with the rules ``enter`` and ``leave``.

    A subclass sets ``backends`` and implements ``both`` and ``compare``. All examples may share the
    connection pool of the real backend, because no example leaves a block open, even if it fails.
    """

    backends: tuple[Any, Any]  # the fake, the real one

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[list[Any]] = []  # open blocks: the context manager of each backend
        self.doomed = 0  # the depth of the block that an error has ended; 0 if there is none

    def both(self, call: Callable[[Any], Any]) -> Any:
        """Run the call on both and compare; return the answer, or None after an error."""
        raise NotImplementedError

    def compare(self) -> None:
        """Compare the tables of both."""
        raise NotImplementedError

    def doom(self) -> None:
        """Note that a statement has failed on the server: on Postgres this ends its block."""
        if self.backends[1].database.engine == "postgres" and not self.doomed:
            self.doomed = len(self.blocks)

    def can_enter(self) -> bool:
        return len(self.blocks) < 3

    def has_left(self) -> None:
        """Forget what was true in the block that has ended."""

    @precondition(lambda self: self.can_enter())
    @rule()
    def enter(self) -> None:
        blocks = [backend.database.transaction() for backend in self.backends]
        entered = []

        def begin(backend: Any) -> None:
            block = blocks[self.backends.index(backend)]
            block.__enter__()
            entered.append(block)

        self.both(begin)
        if entered:
            assert len(entered) == 2
            self.blocks.append(blocks)

    @precondition(lambda self: self.blocks)
    @rule(error=st.sampled_from([None, ON_PURPOSE]))
    def leave(self, error: Exception | None) -> None:
        blocks = self.blocks.pop()
        kind = type(error) if error else None
        self.both(lambda b: blocks[self.backends.index(b)].__exit__(kind, error, None))
        if self.doomed > len(self.blocks):
            self.doomed = 0
        self.has_left()

    def teardown(self) -> None:
        try:
            self.compare()
            while self.blocks:
                self.leave(ON_PURPOSE)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Leave the blocks of an example that has failed."""
        while self.blocks:
            for block in self.blocks.pop():
                with contextlib.suppress(infra.InfrastructureError):
                    block.__exit__(infra.ValidationError, ON_PURPOSE, None)
