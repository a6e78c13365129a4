"""The error tree, the call policy, the pool: what holds for every adapter."""

from __future__ import annotations

import builtins
import copy
import http.client
import inspect
import logging
import pickle
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest

import fakes
import infra
from infra import _Lease, _Pool
from tests.contract import handlers
from tests.contract.backends import WAIT, eventually, in_background

ERRORS = [
    value
    for value in vars(infra).values()
    if inspect.isclass(value) and issubclass(value, infra.InfrastructureError)
]


@pytest.mark.parametrize("error", ERRORS)
def test_errors_need_only_a_message_and_pickle(error: type[infra.InfrastructureError]) -> None:
    plain = error("what happened")
    assert (str(plain), plain.service, plain.operation) == ("what happened", None, None)
    full = error("what happened", service="redis", operation="get", retryable=True)
    for again in (pickle.loads(pickle.dumps(full)), copy.copy(full)):  # noqa: S301
        assert type(again) is error
        assert (str(again), vars(again)) == (str(full), vars(full))
    assert str(error()) == ""


def test_errors_keep_their_details() -> None:
    errors: list[tuple[infra.InfrastructureError, dict[str, Any]]] = [
        (
            infra.ConflictError("x", constraint="users_email_key", kind="unique"),
            {"constraint": "users_email_key", "kind": "unique"},
        ),
        (
            infra.SmsError("x", outcome="unknown", code="21211", retry_after=5.0),
            {"outcome": "unknown", "code": "21211", "retry_after": 5.0},
        ),
        (infra.NotFoundError("x", resource="bucket"), {"resource": "bucket"}),
        (infra.RateLimitedError("x", retry_after=2.5), {"retry_after": 2.5}),
    ]
    for error, details in errors:
        assert vars(pickle.loads(pickle.dumps(error))) == details  # noqa: S301


@pytest.mark.parametrize(
    "error",
    [http.client.IncompleteRead(b"tell-nobody", 99), ValueError("tell-nobody", {"tell-nobody": 1})],
)
def test_a_scrubbed_cause_can_still_be_shown(error: Exception) -> None:
    vars(error).update(details={"word": "tell-nobody"}, number=7, text="tell-nobody")

    def attempt(_: infra.Attempt) -> None:
        raise error

    policy = infra.CallPolicy(
        "svc", translate=lambda *_: infra.ConnectionError("lost"), clock=fakes.FakeClock(),
        repeatable=frozenset(),
        deadline=5.0, retries=0,
    )  # fmt: skip
    with pytest.raises(infra.ConnectionError) as caught:
        policy.call("get", attempt)
    cause = caught.value.__cause__
    assert type(cause) is type(error)
    assert vars(cause)["number"] == 7
    assert "nobody" not in f"{cause!r} {cause} {vars(cause)}" + "".join(
        traceback.format_exception(caught.value)
    )


def test_errors_are_also_the_builtin_ones() -> None:
    assert issubclass(infra.ConnectionError, builtins.ConnectionError)
    assert issubclass(infra.TimeoutError, builtins.TimeoutError)
    assert issubclass(infra.PoolTimeoutError, infra.TimeoutError)
    assert issubclass(infra.ValidationError, ValueError)
    assert {"ConnectionError", "TimeoutError"}.isdisjoint(infra.__all__)
    assert {error.__name__ for error in ERRORS if error().retryable} == {
        "ConnectionError",
        "PoolTimeoutError",
        "RateLimitedError",
        "TimeoutError",
    }


# --- the call policy


class DriverError(Exception):
    """An error of a driver, whose text quotes everything."""


def policy(clock: infra.Clock | None = None, **options: Any) -> infra.CallPolicy:
    def translate(exc: Exception, attempt: infra.Attempt) -> infra.InfrastructureError | None:
        return infra.ConnectionError("lost") if isinstance(exc, DriverError) else None

    defaults: dict[str, Any] = {"repeatable": frozenset({"get"}), "deadline": 5.0, "retries": 3}
    return infra.CallPolicy(
        "svc", translate=translate, clock=clock or fakes.FakeClock(), **{**defaults, **options}
    )


class Scripted:
    """An attempt that fails ``failures`` times, before or after sending."""

    def __init__(self, failures: int, sent: bool, error: Exception | None = None) -> None:
        self.failures, self.sent, self.calls, self.error = failures, sent, 0, error

    def __call__(self, attempt: infra.Attempt) -> str:
        self.calls += 1
        attempt.sent = self.sent
        if self.calls <= self.failures:
            raise self.error or DriverError("secret row")
        return "answer"


@pytest.mark.parametrize(
    ("operation", "sent", "calls"),
    [("get", False, 3), ("get", True, 3), ("incr", False, 3), ("incr", True, None)],
)
def test_what_is_repeated(operation: str, sent: bool, calls: int | None) -> None:
    attempt = Scripted(2, sent)
    if calls:
        assert policy().call(operation, attempt) == "answer"
        assert attempt.calls == calls
    else:
        with pytest.raises(infra.ConnectionError):
            policy().call(operation, attempt)
        assert attempt.calls == 1


def test_retries_end() -> None:
    attempt = Scripted(100, False)
    with pytest.raises(infra.ConnectionError) as caught:
        policy(retries=3, deadline=1000.0).call("get", attempt)
    assert attempt.calls == 4
    assert (caught.value.service, caught.value.operation) == ("svc", "get")


def test_the_deadline_covers_everything() -> None:
    clock = fakes.FakeClock()
    remaining = []

    def attempt(current: infra.Attempt) -> None:
        remaining.append(round(current.remaining(), 3))
        clock.advance(2)
        raise DriverError

    with pytest.raises(infra.ConnectionError):
        policy(clock, backoff=0.0, retries=100).call("get", attempt)
    assert remaining == [5.0, 3.0, 1.0]
    assert clock.monotonic() == 6.0


@pytest.mark.parametrize(
    ("sent", "expected"), [(False, infra.ConnectionError), (True, infra.TimeoutError)]
)
def test_an_attempt_that_had_no_time_says_less_than_the_one_before(
    sent: bool, expected: type[Exception]
) -> None:
    clock, failures = fakes.FakeClock(), iter([DriverError("refused")])

    def attempt(current: infra.Attempt) -> None:
        for failure in failures:
            raise failure
        clock.advance(5)
        current.sent = sent
        current.remaining()

    with pytest.raises(expected) as caught:
        policy(clock).call("get", attempt)
    assert type(caught.value) is expected
    assert str(caught.value) == ("the deadline passed" if sent else "lost")


def test_pauses_grow_at_random_up_to_a_bound() -> None:
    subject = policy(backoff=0.1, backoff_max=1.0)
    for failures, bound in ((1, 0.1), (2, 0.2), (3, 0.4), (5, 1.0), (5000, 1.0)):
        pauses = [subject.pause(failures) for _ in range(300)]
        assert 0 <= min(pauses) < bound / 3
        assert bound * 2 / 3 < max(pauses) <= bound


def test_refusals_and_mistakes_are_not_repeated() -> None:
    for error, expected in (
        (infra.CacheError("no"), infra.CacheError),
        (KeyError("mistake"), KeyError),
    ):
        attempt = Scripted(1, False, error)
        with pytest.raises(expected):
            policy().call("get", attempt)
        assert attempt.calls == 1


def test_the_drivers_text_is_withheld_and_its_class_kept() -> None:
    row = "a secret"

    def attempt(_: infra.Attempt) -> None:
        try:
            raise ValueError(row)
        except ValueError as inner:
            raise DriverError(1062, f"Duplicate entry {row!r}") from inner

    with pytest.raises(infra.ConnectionError) as caught:
        policy(retries=0).call("get", attempt)
    text = "".join(traceback.format_exception(caught.value))
    assert text.count(row) == 0
    assert "ValueError: " not in text
    assert "DriverError: (1062, '[text withheld]')" in text
    assert caught.value.__context__ is None


def test_no_local_variable_of_a_failed_attempt_is_kept() -> None:
    """Passwords are among them, and what collects errors stores them."""

    def log_in(password: str) -> None:
        try:
            raise ValueError
        except ValueError:
            raise DriverError from None

    def attempt(_: infra.Attempt) -> None:
        password = "tell nobody"
        log_in(password)

    def refused(_: infra.Attempt) -> None:
        password = "tell nobody"
        raise infra.CacheError(f"{len(password)}")

    def broken(_: infra.Attempt) -> None:
        password = "tell nobody"
        "a..b".encode("idna" if password else "")

    def interrupted(_: infra.Attempt) -> None:
        password = "tell nobody"
        raise KeyboardInterrupt(len(password))

    for work in (attempt, refused, broken, interrupted):
        with pytest.raises((infra.InfrastructureError, UnicodeError, KeyboardInterrupt)) as caught:
            policy(retries=1).call("get", work)
        errors = [caught.value, *filter(None, [caught.value.__cause__])]
        names = [
            frame.f_code.co_name
            for error in errors
            for frame, _ in traceback.walk_tb(error.__traceback__)
            if "tell nobody" in map(str, frame.f_locals.values())
        ]
        assert names == []
        where = "".join(traceback.format_exception(caught.value))
        assert f"in {work.__name__}\n" in where  # the lines are known all the same


def test_run_keeps_the_variables_of_the_callers_own_function() -> None:
    def work() -> None:
        wanted = 5
        raise LookupError(wanted)

    with pytest.raises(LookupError) as caught, fakes.FakeDatabase() as database:
        database.run(work)
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    assert [each.f_locals for each in frames if each.f_code.co_name == "work"] == [{"wanted": 5}]


def test_the_observer_and_the_log_see_each_attempt(caplog: pytest.LogCaptureFixture) -> None:
    clock = fakes.FakeClock()
    seen: list[infra.Call] = []

    def attempt(current: infra.Attempt) -> str:
        clock.advance(0.5)
        if not seen:
            raise DriverError("secret")
        return "answer"

    with caplog.at_level(logging.DEBUG, "infra"):
        assert policy(clock, observer=seen.append, backoff=0.0).call("get", attempt) == "answer"
    assert seen == [
        infra.Call("svc", "get", "ConnectionError", 0.5, 1, retried=True),
        infra.Call("svc", "get", "ok", 0.5, 2),
    ]
    assert [(r.levelname, r.outcome, r.attempt) for r in caplog.records] == [  # type: ignore[attr-defined]
        ("DEBUG", "ConnectionError", 1),
        ("WARNING", "retry", 1),
        ("DEBUG", "ok", 2),
    ]
    assert "secret" not in caplog.text


@pytest.mark.parametrize("observer", handlers.SEEN)
def test_an_observer_that_would_run_nothing_is_refused(observer: str) -> None:
    with pytest.raises(infra.ConfigurationError, match="observer should be a plain function"):
        policy(observer=handlers.SEEN[observer])


@pytest.mark.parametrize("observer", handlers.RETURNING)
def test_an_observer_that_runs_nothing_is_logged(
    caplog: pytest.LogCaptureFixture, observer: str
) -> None:
    assert policy(observer=handlers.RETURNING[observer]).call("get", Scripted(0, True)) == "answer"
    assert "the observer raised" in caplog.text


def test_a_broken_observer_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def observer(_: infra.Call) -> None:
        raise RuntimeError("a mistake")

    assert policy(observer=observer).call("get", Scripted(0, True)) == "answer"
    assert "the observer raised" in caplog.text


# --- the pool


class Resource:
    """Something that can die and be closed."""

    def __init__(self) -> None:
        self.dead = False
        self.closed = False


def pool_of(
    size: int,
    made: list[Resource],
    fail: Callable[[], bool] = lambda: False,
    is_dead: Callable[[Resource], bool] = lambda each: each.dead,
) -> _Pool[Resource]:
    def connect(_: infra.Attempt) -> Resource:
        if fail():
            raise DriverError
        made.append(Resource())
        return made[-1]

    return _Pool(
        "pool",
        size,
        connect=connect,
        disconnect=lambda r: setattr(r, "closed", True),
        is_dead=is_dead,
    )


def soon(seconds: float = WAIT) -> infra.Attempt:
    clock = infra.SystemClock()
    return infra.Attempt(clock.monotonic() + seconds, clock.monotonic)


def take(pool: _Pool[Resource], attempt: infra.Attempt | None = None) -> _Lease[Resource]:
    """A place with a resource in it; on failure it is released, as callers do."""
    place: _Lease[Resource] = _Lease()
    try:
        assert pool.acquire(place, attempt or soon()) is place.resource
    except BaseException:
        pool.release(place, broken=True)
        raise
    return place


def test_the_pool_reuses_and_replaces() -> None:
    made: list[Resource] = []
    pool = pool_of(2, made)
    pool.release(take(pool))
    place = take(pool)
    assert place.resource is made[0]
    made[0].dead = True
    pool.release(place)
    place = take(pool)
    assert (place.resource, made[0].closed, pool.size) == (made[1], True, 1)
    pool.release(place, broken=True)
    assert (made[1].closed, pool.size) == (True, 0)
    pool.release(place)
    assert pool.size == 0  # nothing is given back twice


def test_a_failed_connect_gives_its_place_back() -> None:
    failing = [True]
    pool = pool_of(1, [], lambda: failing[0])
    for _ in range(3):
        with pytest.raises(DriverError):
            take(pool)
    failing[0] = False
    assert isinstance(take(pool).resource, Resource)


@pytest.mark.parametrize("broken", [False, True])
def test_waiters_are_served_in_order(broken: bool) -> None:
    made: list[Resource] = []
    pool = pool_of(1, made)
    pool.LOOK_AGAIN = 10 * WAIT  # they are told at once
    held = take(pool)
    order: list[int] = []

    def wait(number: int) -> None:
        place = take(pool, soon(10 * WAIT))
        order.append(number)
        pool.release(place, broken=broken)

    threads = []
    for number in range(5):
        threads.append(threading.Thread(target=wait, args=(number,), daemon=True))
        threads[-1].start()
        eventually(lambda: pool.stats().waiting == number + 1)
    pool.release(held, broken=broken)
    for thread in threads:
        thread.join(WAIT)
    assert order == [0, 1, 2, 3, 4]
    assert len(made) == (6 if broken else 1)


def test_giving_back_twice_does_nothing() -> None:
    pool = pool_of(2, [])
    place = take(pool)
    pool.release(place)
    pool.release(place)
    assert pool.stats().idle == 1
    assert take(pool).resource is not take(pool).resource


def test_nobody_overtakes_a_waiter() -> None:
    pool = pool_of(1, [])
    for _ in range(20):
        held, tried = take(pool), threading.Event()

        def wait() -> bool:
            place = take(pool)
            on_time = tried.wait(WAIT)
            pool.release(place)
            return on_time

        waiting = in_background(wait)
        eventually(lambda: pool.stats().waiting == 1)
        pool.release(held)
        assert pool.take(_Lease()) is None
        tried.set()
        assert waiting() is True


@pytest.mark.parametrize("stopped_at", [None, 5.0, 11_770_000_000.0])
def test_who_waits_too_long_leaves_the_queue(
    monkeypatch: pytest.MonkeyPatch, stopped_at: float | None
) -> None:
    """Also while a test has stopped ``time.monotonic``, as freezegun does."""
    pool = pool_of(1, [])
    held = take(pool)
    clock = infra.SystemClock()
    found: list[Exception] = []

    def wait() -> None:
        try:
            take(pool, infra.Attempt(clock.monotonic() + 1, clock.monotonic))
        except infra.PoolTimeoutError as error:
            found.append(error)

    waiter = threading.Thread(target=wait, daemon=True)
    with monkeypatch.context() as patch:
        if stopped_at is not None:
            patch.setattr(time, "monotonic", lambda: stopped_at)
        waiter.start()
        waiter.join(WAIT)
    assert [str(error) for error in found] == ["pool: no connection became free: 1 of 1 in use"]
    assert pool.stats().waiting == 0
    pool.release(held)
    assert take(pool).resource is not None


@pytest.mark.parametrize("granted", [False, True])
def test_who_is_interrupted_while_waiting_takes_nothing_along(granted: bool) -> None:
    pool = pool_of(1, [])
    held = take(pool)

    class Interrupted(infra.Attempt):
        def remaining(self) -> float:
            if granted:
                pool.release(held)  # at the very moment
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take(pool, Interrupted(0, float))
    pool.release(held)
    assert (pool.stats().waiting, pool.size) == (0, 1)
    assert take(pool).resource is not None


def test_who_is_interrupted_at_the_check_gives_the_place_back() -> None:
    interrupts = iter([True])

    def is_dead(_: Resource) -> bool:
        if next(interrupts, False):
            raise KeyboardInterrupt
        return False

    pool = pool_of(1, [], is_dead=is_dead)
    pool.release(take(pool))
    with pytest.raises(KeyboardInterrupt):
        take(pool)
    assert pool.size == 0
    assert take(pool).resource is not None


def test_a_closed_pool() -> None:
    made: list[Resource] = []
    pool = pool_of(2, made)
    idle, used = take(pool), take(pool)
    pool.release(idle)
    pool.close()
    pool.close()
    assert [resource.closed for resource in made] == [True, False]
    pool.release(used)
    assert [resource.closed for resource in made] == [True, True]
    assert pool.stats() == infra.PoolStats(2, 0, 0, 0, 0)
    with pytest.raises(infra.ConnectionError, match="closed"):
        take(pool)
