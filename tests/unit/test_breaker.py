"""The contract of the circuit breaker, over a FakeClock and without sleeping."""

from __future__ import annotations

import builtins
import contextvars
import copy
import functools
import gc
import logging
import os
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

import fakes
import infra
from tests.contract.backends import in_threads

LOST = infra.ConnectionError("gone")
#: what opens a breaker
UNANSWERED: dict[str, Callable[[], Exception]] = {
    "no connection": lambda: infra.ConnectionError("refused"),
    "a deadline": lambda: infra.TimeoutError("no answer"),
    "the builtin error": lambda: builtins.ConnectionResetError(),
    "the builtin deadline": lambda: builtins.TimeoutError(),
}
#: what shows that the service is there
ANSWERS: dict[str, Callable[[], Exception]] = {
    "a refusal": lambda: infra.DatabaseError("no", code=1146),
    "a lock wait": lambda: infra.DatabaseError("locked", retryable=True),
    "a conflict": lambda: infra.ConflictError("twice"),
    "a full store": lambda: infra.CacheError("OOM", retryable=True),
    "HTTP 503": lambda: infra.StorageError("HTTP 503", retryable=True),
    "a rejected message": lambda: infra.SmsError("rejected"),
    "nothing there": lambda: infra.NotFoundError("none"),
    "the caller's own": lambda: LookupError("mine"),
}
#: what tells nothing about the service
SILENT: dict[str, Callable[[], BaseException]] = {
    "a full pool": lambda: infra.PoolTimeoutError("10 of 10 in use"),
    "query_timeout": lambda: infra.TimeoutError("stopped", retryable=False),
    "a closed client": lambda: infra.ConnectionError("closed", retryable=False),
    "another breaker": lambda: infra.CircuitOpenError("open", retry_after=3.0),
    "a wrong argument": lambda: infra.ValidationError("no"),
    "a wrong setting": lambda: infra.ConfigurationError("no"),
    "a strange value": lambda: infra.SerializationError("no"),
    "Ctrl-C": lambda: KeyboardInterrupt(),
}


@pytest.fixture
def clock() -> fakes.FakeClock:
    return fakes.FakeClock()


@pytest.fixture
def breaker(clock: fakes.FakeClock) -> infra.CircuitBreaker:
    return infra.CircuitBreaker(3, 10.0, clock=clock)


def fail(breaker: infra.CircuitBreaker, error: BaseException = LOST) -> None:
    """Fail a call with the error; the breaker lets it pass."""

    def work() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        breaker.call(work)
    assert caught.value is error


def opened(breaker: infra.CircuitBreaker, failures: int = 3) -> infra.CircuitBreaker:
    for _ in range(failures):
        assert breaker.state == "closed"
        fail(breaker)
    assert breaker.state == "open"
    return breaker


def refused(breaker: infra.CircuitBreaker) -> infra.CircuitOpenError:
    calls: list[int] = []
    with pytest.raises(infra.CircuitOpenError) as caught:
        breaker.call(lambda: calls.append(1))
    assert not calls
    return caught.value


class TestTheBreaker:
    def test_the_defaults(self) -> None:
        breaker = infra.CircuitBreaker()
        for _ in range(4):
            fail(breaker)
        assert (breaker.state, breaker.retry_after) == ("closed", 0.0)
        fail(breaker)
        assert breaker.state == "open"
        assert 29 < breaker.retry_after <= 30

    def test_the_pause_ends_whatever_the_time(self) -> None:
        """Sums of fractions of a second are not exact."""
        for number in range(300):
            clock = fakes.FakeClock()
            clock.advance(number * 0.013)
            breaker = opened(infra.CircuitBreaker(1, 10.0, clock=clock), 1)
            clock.advance(10)
            assert (breaker.state, breaker.retry_after) == ("half_open", 0.0)

    def test_from_closed_to_open_and_back(
        self, breaker: infra.CircuitBreaker, clock: fakes.FakeClock
    ) -> None:
        assert breaker.call(lambda: "answer") == "answer"
        opened(breaker)
        assert (breaker.retry_after, refused(breaker).retry_after) == (10.0, 10.0)
        clock.advance(9.5)
        assert (breaker.state, breaker.retry_after) == ("open", 0.5)
        assert refused(breaker).retry_after == 0.5
        clock.advance(0.5)
        assert (breaker.state, breaker.retry_after) == ("half_open", 0.0)
        assert breaker.call(lambda: "again") == "again"
        assert (breaker.state, breaker.retry_after) == ("closed", 0.0)
        opened(breaker)  # it counts from the start

    def test_a_probe_without_an_answer_opens_it_for_as_long_again(
        self, breaker: infra.CircuitBreaker, clock: fakes.FakeClock
    ) -> None:
        opened(breaker)
        for _ in range(3):
            clock.advance(10)
            fail(breaker)
            assert (breaker.state, breaker.retry_after) == ("open", 10.0)
            refused(breaker)

    @pytest.mark.parametrize("kind", UNANSWERED)
    def test_what_counts(self, breaker: infra.CircuitBreaker, kind: str) -> None:
        for _ in range(3):
            fail(breaker, UNANSWERED[kind]())
        assert breaker.state == "open"

    @pytest.mark.parametrize("kind", ANSWERS)
    def test_an_answer_begins_the_count_again(
        self, breaker: infra.CircuitBreaker, kind: str, clock: fakes.FakeClock
    ) -> None:
        for _ in range(2):
            fail(breaker)
            fail(breaker)
            fail(breaker, ANSWERS[kind]())
        opened(breaker)
        clock.advance(10)
        fail(breaker, ANSWERS[kind]())
        assert breaker.state == "closed"

    def test_a_result_begins_the_count_again(self, breaker: infra.CircuitBreaker) -> None:
        for _ in range(2):
            fail(breaker)
            fail(breaker)
            breaker.call(lambda: None)
        opened(breaker)

    @pytest.mark.parametrize("kind", SILENT)
    def test_what_changes_nothing(
        self, breaker: infra.CircuitBreaker, kind: str, clock: fakes.FakeClock
    ) -> None:
        for _ in range(5):
            fail(breaker, SILENT[kind]())
        fail(breaker)
        fail(breaker)
        fail(breaker, SILENT[kind]())
        assert breaker.state == "closed"
        fail(breaker)
        assert breaker.state == "open"
        clock.advance(10)
        fail(breaker, SILENT[kind]())  # the probe learned nothing: the next call is one
        assert breaker.state == "half_open"
        breaker.call(lambda: None)
        assert breaker.state == "closed"

    def test_exceptions_of_your_own(self, clock: fakes.FakeClock) -> None:
        breaker = infra.CircuitBreaker(2, clock=clock, unanswered=(LookupError, OSError))
        fail(breaker, KeyError())
        fail(breaker, ValueError())
        fail(breaker, FileNotFoundError())
        fail(breaker, IndexError())
        assert breaker.state == "open"

    def test_one_probe_at_a_time_under_nine_threads(
        self, breaker: infra.CircuitBreaker, clock: fakes.FakeClock
    ) -> None:
        opened(breaker)
        for answers in (False, True):
            clock.advance(10)
            others, probes = threading.Barrier(9), list[int]()

            def probe(answers: bool = answers, others: Any = others, probes: Any = probes) -> None:
                probes.append(1)
                others.wait(30)  # the eight are refused while the probe is under way
                if not answers:
                    raise infra.ConnectionError("gone")

            def call(probe: Any = probe, others: Any = others) -> str:
                try:
                    breaker.call(probe)
                except infra.CircuitOpenError as error:
                    others.wait(30)
                    return f"refused for {error.retry_after}"
                except infra.ConnectionError:
                    return "lost"
                return "answered"

            found = sorted(in_threads(9, lambda _: call()))
            assert found == sorted(["refused for 1.0"] * 8 + ["answered" if answers else "lost"])
            assert probes == [1]
        assert breaker.state == "closed"

    def test_a_probe_that_is_lost_makes_way(
        self, breaker: infra.CircuitBreaker, clock: fakes.FakeClock
    ) -> None:
        """As when Ctrl-C hits between the permission and the call."""
        opened(breaker)
        clock.advance(10)
        lost = contextvars.copy_context()
        lost.run(breaker.__enter__)
        refused(breaker)
        del lost
        gc.collect()
        assert breaker.call(lambda: "next") == "next"

    def test_late_results_change_nothing(
        self, breaker: infra.CircuitBreaker, clock: fakes.FakeClock
    ) -> None:
        """Calls that began before it opened, and end afterwards."""
        calls = [contextvars.copy_context() for _ in range(21)]
        for call in calls:
            call.run(breaker.__enter__)

        def end(count: int, error: Exception | None) -> None:
            for _ in range(count):
                calls.pop().run(breaker.__exit__, type(error), error, None)

        opened(breaker)
        end(1, None)
        assert breaker.state == "open"
        clock.advance(9)
        end(10, LOST)
        assert breaker.retry_after == 1.0
        clock.advance(1)
        breaker.call(lambda: None)
        end(10, LOST)
        assert breaker.state == "closed"

    def test_a_block_whose_end_was_lost(
        self, breaker: infra.CircuitBreaker, clock: fakes.FakeClock
    ) -> None:
        """As when Ctrl-C hits behind ``__enter__``: the thread's next block is the probe."""
        opened(breaker)
        clock.advance(10)
        breaker.__enter__()
        assert breaker.call(lambda: "next") == "next"
        assert breaker.state == "closed"

    def test_a_block(self, breaker: infra.CircuitBreaker, clock: fakes.FakeClock) -> None:
        for _ in range(3):
            with pytest.raises(builtins.ConnectionError), breaker as entered:
                assert entered is breaker
                raise builtins.ConnectionRefusedError
        with pytest.raises(infra.CircuitOpenError), breaker:
            raise AssertionError("refused")
        clock.advance(10)
        with breaker:
            (error,) = in_threads(1, lambda _: breaker.call(print))
            assert isinstance(error, infra.CircuitOpenError)
            with pytest.raises(KeyboardInterrupt), breaker:  # inside the probe
                raise KeyboardInterrupt
        assert breaker.state == "closed"
        with breaker, breaker:
            pass

    def test_blocks_of_several_tasks(
        self, breaker: infra.CircuitBreaker, clock: fakes.FakeClock
    ) -> None:
        import asyncio

        async def call(done: asyncio.Event, error: Exception | None) -> str:
            try:
                with breaker:
                    await done.wait()
                    if error:
                        raise error
            except infra.CircuitOpenError:
                return "refused"
            return "answered"

        async def main() -> list[str]:
            opened(breaker)
            clock.advance(10)
            done = asyncio.Event()
            tasks = [asyncio.ensure_future(call(done, None)) for _ in range(3)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            done.set()
            return [await each for each in tasks]

        assert asyncio.run(main()) == ["answered", "refused", "refused"]
        assert breaker.state == "closed"

    def test_call_runs_what_it_gets(self, breaker: infra.CircuitBreaker) -> None:
        async def later() -> None: ...

        work: list[Any] = [later, lambda: later()]
        with pytest.raises(infra.ValidationError, match="fn should be a plain function"):
            breaker.call(work[0])
        with pytest.raises(infra.ValidationError, match="awaitable"):
            breaker.call(work[1])

    @pytest.mark.parametrize(
        "options",
        [
            {"failures": 0}, {"failures": 1.5}, {"failures": True}, {"reset_after": 0},
            {"reset_after": "1"}, {"clock": 1}, {"service": ""}, {"unanswered": OSError},
            {"unanswered": (1,)}, {"unanswered": (BaseException,)},
        ],
    )  # fmt: skip
    def test_wrong_arguments(self, options: dict[str, Any]) -> None:
        with pytest.raises(infra.ConfigurationError, match=next(iter(options))):
            infra.CircuitBreaker(**options)

    def test_the_log_tells_when_it_opens_and_closes(
        self, breaker: infra.CircuitBreaker, clock: fakes.FakeClock, caplog: Any
    ) -> None:
        opened(breaker)
        refused(breaker)
        clock.advance(10)
        breaker.call(lambda: None)
        breaker.call(lambda: None)
        found = [(each.levelname, each.operation, each.outcome) for each in caplog.records]
        assert found == [("WARNING", "breaker", "open"), ("WARNING", "breaker", "closed")]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_a_forked_child_probes_for_itself(
        self, breaker: infra.CircuitBreaker, clock: fakes.FakeClock
    ) -> None:
        opened(breaker)
        clock.advance(10)
        with breaker:
            child = os.fork()
            if child == 0:
                os._exit(contextvars.Context().run(breaker.call, lambda: 7))
            assert os.waitpid(child, 0)[1] == 7 << 8
            (error,) = in_threads(1, lambda _: breaker.call(print))
            assert isinstance(error, infra.CircuitOpenError)


class TestTheError:
    def test_it_is_a_connection_error_that_is_not_retried(
        self, breaker: infra.CircuitBreaker
    ) -> None:
        error = refused(opened(breaker))
        assert isinstance(error, infra.ConnectionError | builtins.ConnectionError)
        assert (error.retryable, error.service, error.retry_after) == (False, "the service", 10.0)
        assert str(error) == (
            "the service did not answer several times in a row, so nothing was sent: "
            "the next probe is in 10 s"
        )
        for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301
            assert (str(again), vars(again)) == (str(error), vars(error))


class DriverError(Exception):
    pass


class Service:
    """A call policy with a breaker, over a service that a test turns off."""

    def __init__(self, clock: fakes.FakeClock, **options: Any) -> None:
        self.breaker = infra.CircuitBreaker(3, 10.0, clock=clock, service="svc")
        self.down, self.asked, self.calls = True, 0, list[infra.Call]()
        defaults: dict[str, Any] = {"deadline": 5.0, "retries": 0, "backoff": 0.0}
        self.policy = infra.CallPolicy(
            "svc",
            translate=self.translate,
            repeatable=frozenset({"get"}),
            clock=clock,
            breaker=self.breaker,
            observer=self.calls.append,
            **{**defaults, **options},
        )

    @staticmethod
    def translate(exc: Exception, attempt: infra.Attempt) -> infra.InfrastructureError | None:
        return infra.ConnectionError("lost") if isinstance(exc, DriverError) else None

    def attempt(self, current: infra.Attempt) -> str:
        self.asked += 1
        current.sent = True
        if self.down:
            raise DriverError
        return "answer"

    def get(self, operation: str = "get", **options: Any) -> str:
        return self.policy.call(operation, self.attempt, **options)


class TestInTheCallPolicy:
    @pytest.fixture
    def subject(self, clock: fakes.FakeClock) -> Service:
        return Service(clock)

    @pytest.fixture
    def cut_off(self, subject: Service) -> Service:
        for _ in range(3):
            with pytest.raises(infra.ConnectionError, match="lost"):
                subject.get()
        subject.asked = 0
        subject.calls.clear()
        return subject

    def test_an_open_breaker_sends_nothing(self, cut_off: Service) -> None:
        with pytest.raises(infra.CircuitOpenError) as caught:
            cut_off.get()
        assert cut_off.asked == 0
        assert (caught.value.service, caught.value.operation) == ("svc", "get")
        assert cut_off.calls == [infra.Call("svc", "get", "CircuitOpenError", 0.0, 1)]

    def test_a_probe_closes_it(self, cut_off: Service, clock: fakes.FakeClock) -> None:
        cut_off.down = False
        clock.advance(10)
        assert cut_off.get() == "answer"
        assert cut_off.breaker.state == "closed"

    def test_each_attempt_counts_and_the_one_that_opens_it_is_the_last(
        self, clock: fakes.FakeClock
    ) -> None:
        service = Service(clock, retries=9)
        with pytest.raises(infra.ConnectionError, match="lost") as caught:
            service.get()
        assert (service.asked, service.breaker.state) == (3, "open")
        assert type(caught.value) is infra.ConnectionError
        clock.advance(10)
        with pytest.raises(infra.ConnectionError, match="lost"):
            service.get()
        assert service.asked == 4  # one probe, which is not retried

    def test_a_breaker_that_opens_during_the_pause(self) -> None:
        class Clock(fakes.FakeClock):
            def sleep(self, seconds: float) -> None:
                opened(service.breaker, 2)

        service = Service(Clock(), retries=9)
        with pytest.raises(infra.CircuitOpenError) as caught:
            service.get()
        assert service.asked == 1
        assert str(caught.value.__cause__) == "lost"

    @pytest.mark.parametrize("operation", ["health_check", "compare_and_delete"])
    def test_what_passes(self, cut_off: Service, operation: str) -> None:
        with pytest.raises(infra.ConnectionError, match="lost"):
            cut_off.get(operation)
        assert cut_off.breaker.retry_after == 10.0
        cut_off.down = False
        assert cut_off.get(operation) == "answer"
        assert cut_off.breaker.state == "closed"

    def test_what_passes_puts_no_probe_off(self, cut_off: Service, clock: fakes.FakeClock) -> None:
        clock.advance(9)
        with pytest.raises(infra.ConnectionError, match="lost"):
            cut_off.get(unguarded=True)
        assert cut_off.breaker.retry_after == 1.0

    def test_a_deadline_that_passed_before_the_service_was_asked(
        self, clock: fakes.FakeClock
    ) -> None:
        service = Service(clock)

        def wait(current: infra.Attempt, sent: bool) -> None:
            clock.advance(5)
            current.sent = sent
            current.remaining()

        for sent in (False, True):
            assert service.breaker.state == "closed"
            for _ in range(3):
                with pytest.raises(infra.TimeoutError):
                    service.policy.call("get", functools.partial(wait, sent=sent))
        assert service.breaker.state == "open"

    def test_a_mistake_in_the_code_changes_nothing(
        self, cut_off: Service, clock: fakes.FakeClock
    ) -> None:
        def mistake(_: infra.Attempt) -> None:
            raise KeyError

        clock.advance(10)
        with pytest.raises(KeyError) as caught:
            cut_off.policy.call("get", mistake)
        assert cut_off.breaker.state == "half_open"
        cut_off.down = False
        assert cut_off.get() == "answer"
        assert caught.value.__traceback__ is not None  # it keeps the attempt alive


class TestSlowCalls:
    def test_one_warning_with_the_whole_time(
        self, clock: fakes.FakeClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        service = Service(clock, slow=1.0, retries=1)
        service.breaker = infra.CircuitBreaker(9, clock=clock)

        def attempt(_: infra.Attempt) -> None:
            clock.advance(0.75)
            if not service.asked:
                service.asked = 1
                raise DriverError

        service.policy.call("get", attempt)
        (found,) = [each for each in caplog.records if vars(each).get("outcome") == "slow"]
        details = vars(found)
        assert (found.levelno, details["service"], details["operation"]) == (30, "svc", "get")
        assert (details["seconds"], found.getMessage()) == (1.5, "svc get took 1.500 s")

    @pytest.mark.parametrize(
        ("operation", "seconds", "slow"),
        [("get", 1.0, 1.0), ("get", 99.0, 0.0), ("listen", 99.0, 1.0)],
    )
    def test_what_is_not_slow(
        self,
        clock: fakes.FakeClock,
        caplog: pytest.LogCaptureFixture,
        operation: str,
        seconds: float,
        slow: float,
    ) -> None:
        Service(clock, slow=slow).policy.call(operation, lambda _: clock.advance(seconds))
        assert not caplog.records

    def test_a_failed_call(self, clock: fakes.FakeClock, caplog: pytest.LogCaptureFixture) -> None:
        def attempt(_: infra.Attempt) -> None:
            clock.advance(2)
            raise infra.CacheError("no")

        with caplog.at_level(logging.WARNING), pytest.raises(infra.CacheError):
            Service(clock, slow=1.0).policy.call("get", attempt)
        assert [each.getMessage() for each in caplog.records] == ["svc get took 2.000 s"]
