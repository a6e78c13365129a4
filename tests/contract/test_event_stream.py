"""The contract of EventStream, Consumer and DeadLetter."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

import fakes
import infra
from tests.contract.backends import eventually
from tests.contract.base import Contract
from tests.contract.test_event_bus import note
from tests.contract.test_key_value_client import BAD_KEYS

SOON = 0.05  # a pause in seconds
LONG = 3600.0


class Worker:
    """A handler that keeps the notes, and raises as often as told."""

    def __init__(self, *errors: Exception) -> None:
        self.notes: list[str] = []
        self.messages: list[infra.Message] = []
        self._errors = [*errors]

    def __call__(self, message: infra.Message) -> None:
        self.notes.append(message.deserialize(infra.SystemEvent.CacheCleared).pattern)
        self.messages.append(message)
        if self._errors:
            raise self._errors.pop(0)


class StreamBackend:
    """A real backend: ``until`` waits for what its threads do."""

    def __init__(self, stream: infra.EventStream) -> None:
        self.stream = stream
        self.mark = uuid.uuid4().hex[:12]

    def name(self, text: str = "orders") -> str:
        return f"{text}-{self.mark}"

    def until(self, condition: Callable[[], Any]) -> None:
        eventually(condition)

    def pass_time(self, seconds: float) -> None:
        time.sleep(seconds)

    def close(self) -> None:
        self.stream.close()


class FakeBackend(StreamBackend):
    """A fake: ``until`` moves its clock."""

    stream: fakes.FakeEventStream

    def __init__(self, backend: str) -> None:
        self.clock = fakes.FakeClock()
        super().__init__(fakes.FakeEventStream(backend, clock=self.clock))

    def until(self, condition: Callable[[], Any]) -> None:
        for _ in range(1000):
            self.stream.deliver()
            if condition():
                return
            self.clock.advance(SOON / 5)
        raise AssertionError("it did not happen")

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.stream.deliver()


class EventStreamContract(Contract):
    port = infra.EventStream

    # --- delivery

    def test_an_event_is_handled_once(self, backend: StreamBackend) -> None:
        stream, channel, worker = backend.stream, backend.name(), Worker()
        with stream.consume(channel, "mail", worker) as consumer:
            id = stream.append(channel, note("é日本🎉"))
            assert str(uuid.UUID(id)) == id
            backend.until(lambda: worker.notes)
            backend.pass_time(SOON)
        assert worker.notes == ["é日本🎉"]
        message = worker.messages[0]
        assert (message.channel, message.pattern, message.id) == (channel, None, id)
        now = datetime.now(timezone.utc) if message.at.year != 2026 else message.at  # type: ignore
        assert abs(message.at - now) < timedelta(minutes=5)  # type: ignore[operator]
        assert message.traceparent is None
        assert consumer.handler_errors == 0
        assert stream.dead_letters(channel, "mail") == []

    def test_events_wait_for_a_consumer(self, backend: StreamBackend) -> None:
        stream, channel, worker = backend.stream, backend.name(), Worker()
        stream.declare(channel, "mail")
        ids = stream.append_many(channel, [note(number) for number in range(5)])
        with stream.consume(channel, "mail", worker, ordered=True):
            backend.until(lambda: len(worker.notes) == 5)
        assert worker.notes == ["0", "1", "2", "3", "4"]
        assert [message.id for message in worker.messages] == ids

    def test_each_group_gets_each_event(self, backend: StreamBackend) -> None:
        stream, channel, mail, log = backend.stream, backend.name(), Worker(), Worker()
        with stream.consume(channel, "mail", mail), stream.consume(channel, "log", log):
            stream.append(channel, note(1))
            stream.append(channel, note(2))
            backend.until(lambda: len(mail.notes) == len(log.notes) == 2)
        assert (sorted(mail.notes), sorted(log.notes)) == (["1", "2"], ["1", "2"])

    def test_a_group_shares_its_events(self, backend: StreamBackend) -> None:
        stream, channel, one, two = backend.stream, backend.name(), Worker(), Worker()
        with (
            stream.consume(channel, "mail", one, workers=2),
            stream.consume(channel, "mail", two, workers=2),
        ):
            stream.append_many(channel, [note(number) for number in range(40)])
            backend.until(lambda: len(one.notes) + len(two.notes) >= 40)
            backend.pass_time(SOON)
        assert sorted(one.notes + two.notes, key=int) == [str(number) for number in range(40)]

    def test_a_new_group_gets_what_comes(self, backend: StreamBackend) -> None:
        stream, channel, worker = backend.stream, backend.name(), Worker()
        if "unheard" in stream.capabilities:
            stream.append(channel, note("nobody"))
        else:
            with pytest.raises(infra.MessagingError, match="declare") as caught:
                stream.append(channel, note("nobody"))
            assert (caught.value.outcome, caught.value.retryable) == ("rejected", False)
        stream.declare(channel, "mail")
        stream.declare(channel, "mail")
        stream.append(channel, note("1"))
        with stream.consume(channel, "mail", worker):
            backend.until(lambda: worker.notes)
        stream.append(channel, note("2"))
        stream.declare(channel, "mail")
        with stream.consume(channel, "mail", worker):
            backend.until(lambda: len(worker.notes) == 2)
        assert worker.notes == ["1", "2"]

    def test_channels_and_groups_do_not_mix(self, backend: StreamBackend) -> None:
        stream = backend.stream
        names = [
            backend.name(text) for text in ("a", "a:b", "a.b", "a*", "{a}", "A", "a b", "é>/\\")
        ]
        workers = [Worker() for _ in names]
        for name, worker in zip(names, workers):
            stream.consume(name, name, worker)
        for name in names:
            stream.append(name, note(name))
        backend.until(lambda: all(worker.notes for worker in workers))
        assert [worker.notes for worker in workers] == [[name] for name in names]

    def test_a_delayed_event(self, backend: StreamBackend) -> None:
        stream, channel, worker = backend.stream, backend.name(), Worker()
        with stream.consume(channel, "mail", worker):
            stream.append(channel, note("never"), delay=LONG)
            id = stream.append(channel, note("later"), delay=10 * SOON)
            stream.append(channel, note("now"))
            backend.until(lambda: len(worker.notes) == 2)
        assert worker.notes == ["now", "later"]
        assert worker.messages[1].id == id

    def test_nothing_to_append(self, backend: StreamBackend) -> None:
        assert backend.stream.append_many(backend.name(), []) == []

    def test_more_than_a_batch(self, backend: StreamBackend) -> None:
        stream, channel, worker = backend.stream, backend.name(), Worker()
        stream.declare(channel, "mail")
        ids = stream.append_many(channel, [note(number) for number in range(1001)])
        assert len({*ids}) == 1001
        with stream.consume(channel, "mail", worker, ordered=True):
            for count in range(91, 1002, 91):  # a busy machine may be slow, but goes on
                backend.until(lambda count=count: len(worker.notes) >= count)  # type: ignore[misc]
        assert worker.notes == [str(number) for number in range(1001)]

    # --- failures

    def test_a_failure_is_retried(self, backend: StreamBackend) -> None:
        stream, channel = backend.stream, backend.name()
        worker = Worker(ValueError("secret"), OSError())
        with stream.consume(channel, "mail", worker, backoff=SOON) as consumer:
            stream.append(channel, note("1"))
            backend.until(lambda: len(worker.notes) == 3)
            backend.pass_time(SOON)
        assert worker.notes == ["1", "1", "1"]
        assert len({message.id for message in worker.messages}) == 1
        assert consumer.handler_errors == 2
        assert stream.dead_letters(channel, "mail") == []

    def test_retries_end_in_the_dead_letters(self, backend: StreamBackend) -> None:
        stream, channel = backend.stream, backend.name()
        worker = Worker(*(ValueError("secret") for _ in range(3)))
        with stream.consume(channel, "mail", worker, retries=2, backoff=SOON / 5):
            id = stream.append(channel, note("1"))
            backend.until(lambda: stream.dead_letters(channel, "mail"))
            stream.append(channel, note("2"))
            backend.until(lambda: len(worker.notes) == 4)
        assert worker.notes == ["1", "1", "1", "2"]
        [letter] = stream.dead_letters(channel, "mail")
        assert letter.message.id == id
        assert letter.message.deserialize(infra.SystemEvent.CacheCleared).pattern == "1"
        assert (letter.error, letter.failures, letter.deaths) == ("ValueError", 3, 0)
        assert "secret" not in repr(letter)
        assert letter.at.tzinfo == timezone.utc
        assert stream.dead_letters(channel, "other") == []

    def test_no_retries(self, backend: StreamBackend) -> None:
        stream, channel, worker = backend.stream, backend.name(), Worker(KeyError())
        with stream.consume(channel, "mail", worker, retries=0):
            stream.append(channel, note("1"))
            backend.until(lambda: stream.dead_letters(channel, "mail"))
        [letter] = stream.dead_letters(channel, "mail")
        assert (letter.error, letter.failures, letter.deaths) == ("KeyError", 1, 0)

    def test_what_cannot_be_read_is_given_up_at_once(self, backend: StreamBackend) -> None:
        stream, channel, notes = backend.stream, backend.name(), list[str]()

        def handle(message: infra.Message) -> None:
            notes.append(message.payload)
            message.deserialize(infra.UserEvent)

        with stream.consume(channel, "mail", handle, backoff=LONG) as consumer:
            stream.append(channel, note("1"))
            stream.append(channel, infra.UserEvent.Created(uuid.UUID(int=1), "ada"))
            backend.until(lambda: len(notes) == 2)
            backend.until(lambda: stream.dead_letters(channel, "mail"))
        [letter] = stream.dead_letters(channel, "mail")
        assert (letter.error, letter.failures, letter.deaths) == ("SerializationError", 1, 0)
        assert consumer.handler_errors == 1

    def test_another_serialization_error_is_retried(self, backend: StreamBackend) -> None:
        stream, channel = backend.stream, backend.name()
        worker = Worker(infra.SerializationError("of a cache"))
        with stream.consume(channel, "mail", worker, backoff=SOON):
            stream.append(channel, note("1"))
            backend.until(lambda: len(worker.notes) == 2)
        assert stream.dead_letters(channel, "mail") == []

    def test_a_failed_event_blocks_nothing(self, backend: StreamBackend) -> None:
        stream, channel, worker = backend.stream, backend.name(), Worker(ValueError())
        with stream.consume(channel, "mail", worker, backoff=LONG):
            stream.append_many(channel, [note("1"), note("2"), note("3")])
            backend.until(lambda: len(worker.notes) == 3)
        assert worker.notes == ["1", "2", "3"]

    def test_an_ordered_group_waits_for_a_failed_event(self, backend: StreamBackend) -> None:
        stream, channel, worker = backend.stream, backend.name(), Worker(ValueError(), OSError())
        with stream.consume(channel, "mail", worker, ordered=True, workers=3, backoff=SOON):
            stream.append_many(channel, [note("1"), note("2"), note("3")])
            backend.until(lambda: len(worker.notes) == 5)
        assert worker.notes == ["1", "1", "1", "2", "3"]

    def test_an_event_that_was_not_settled_comes_again(self, backend: StreamBackend) -> None:
        stream, channel, worker = backend.stream, backend.name(), Worker()
        first = list[str]()

        def die(message: infra.Message) -> None:
            first.append(message.payload)
            raise SystemExit

        dying = stream.consume(channel, "mail", die, visibility=10 * SOON)
        stream.append(channel, note("1"))
        if isinstance(stream, fakes.FakeEventStream):
            with pytest.raises(SystemExit):
                stream.deliver()
            dying.close()
        dying.join()
        with stream.consume(channel, "mail", worker, visibility=10 * SOON):
            backend.until(lambda: worker.notes)
        assert (worker.notes, len(first)) == (["1"], 1)

    # --- dead letters

    def dead(self, backend: StreamBackend, *texts: str) -> list[infra.DeadLetter]:
        """Make dead letters of group "mail"."""
        stream, channel = backend.stream, backend.name()
        worker = Worker(*(ValueError() for _ in texts))
        with stream.consume(channel, "mail", worker, ordered=True, retries=0):
            stream.append_many(channel, [note(text) for text in texts])
            backend.until(lambda: len(stream.dead_letters(channel, "mail")) == len(texts))
        return stream.dead_letters(channel, "mail")

    def test_dead_letters_are_given_once_more(self, backend: StreamBackend) -> None:
        stream, channel, mail, log = backend.stream, backend.name(), Worker(), Worker()
        stream.declare(channel, "log")
        letters = self.dead(backend, "1", "2", "3")
        assert [letter.message.payload for letter in stream.dead_letters(channel, "mail", 2)] == [
            letter.message.payload for letter in letters[:2]
        ]
        assert stream.retry_dead(channel, "mail", [letters[1].id]) == 1
        assert stream.retry_dead(channel, "mail", [letters[1].id]) == 0
        assert stream.dead_letters(channel, "mail") == [letters[0], letters[2]]
        with stream.consume(channel, "mail", mail), stream.consume(channel, "log", log):
            backend.until(lambda: mail.notes)
            assert stream.retry_dead(channel, "mail") == 2
            backend.until(lambda: len(mail.notes) == 3 and len(log.notes) == 3)
            backend.pass_time(SOON)
        assert (sorted(mail.notes), sorted(log.notes)) == (["1", "2", "3"], ["1", "2", "3"])
        assert mail.notes[0] == "2"
        assert mail.messages[0].id == letters[1].message.id
        assert stream.dead_letters(channel, "mail") == []
        assert stream.retry_dead(channel, "mail") == 0

    def test_dead_letters_are_dropped(self, backend: StreamBackend) -> None:
        stream, channel = backend.stream, backend.name()
        letters = self.dead(backend, "1", "2", "3")
        assert stream.drop_dead(channel, "mail", [letters[0].id, letters[0].id]) == 1
        assert stream.dead_letters(channel, "mail") == letters[1:]
        assert stream.drop_dead(channel, "mail") == 2
        assert stream.drop_dead(channel, "mail") == 0
        assert stream.dead_letters(channel, "mail") == []

    def test_ids_that_no_dead_letter_has(self, backend: StreamBackend) -> None:
        stream, channel = backend.stream, backend.name()
        letters = self.dead(backend, "1")
        unknown = ["no id", "-", "0", "1-1", "999999999"]
        for id in unknown:
            assert stream.retry_dead(channel, "mail", [id]) == 0
        assert stream.drop_dead(channel, "mail", unknown) == 0
        assert stream.dead_letters(channel, "mail") == letters

    # --- capabilities

    def test_history(self, backend: StreamBackend) -> None:
        stream, channel, worker = backend.stream, backend.name(), Worker()
        if "history" not in stream.capabilities:
            with pytest.raises(infra.ConfigurationError, match="history"):
                stream.read(channel)
            return
        assert [*stream.read(channel)] == []
        self.dead(backend, "1")
        stream.retry_dead(channel, "mail")
        with stream.consume(channel, "mail", worker):
            stream.append(channel, note("2"))
            backend.until(lambda: len(worker.notes) == 2)
        found = [*stream.read(channel)]
        texts = [each.deserialize(infra.SystemEvent.CacheCleared).pattern for each in found]
        assert texts == ["1", "2"]

    def test_a_group_of_the_past(self, backend: StreamBackend) -> None:
        stream, channel, worker = backend.stream, backend.name(), Worker()
        if "past" not in stream.capabilities:
            with pytest.raises(infra.ConfigurationError, match="past"):
                stream.declare(channel, "mail", start="all")
            return
        stream.append_many(channel, [note("1"), note("2")])
        stream.declare(channel, "mail", start="all")
        with stream.consume(channel, "mail", worker, ordered=True):
            backend.until(lambda: len(worker.notes) == 2)
        assert worker.notes == ["1", "2"]

    def test_pending(self, backend: StreamBackend) -> None:
        stream, channel, worker = backend.stream, backend.name(), Worker(ValueError())
        if "pending" not in stream.capabilities:
            with pytest.raises(infra.ConfigurationError, match="pending"):
                stream.pending(channel, "mail")
            return
        with pytest.raises(infra.NotFoundError):
            stream.pending(channel, "mail")
        stream.declare(channel, "mail")
        assert stream.pending(channel, "mail") == 0
        stream.append_many(channel, [note("1"), note("2"), note("3")])
        stream.append(channel, note("later"), delay=LONG)
        assert stream.pending(channel, "mail") == 3
        with stream.consume(channel, "mail", worker, backoff=LONG):
            backend.until(lambda: stream.pending(channel, "mail") == 1)
        with pytest.raises(infra.NotFoundError):
            stream.pending(channel, "other")
        many = backend.name("many")
        stream.declare(many, "mail")
        stream.append_many(many, [note(number) for number in range(2000)])
        assert stream.pending(many, "mail") == 2000
        stream.append(many, note("one more"))
        assert stream.pending(many, "mail") == 2001

    def test_trim(self, backend: StreamBackend) -> None:
        stream, channel, worker = backend.stream, backend.name(), Worker()
        if "trim" not in stream.capabilities:
            with pytest.raises(infra.ConfigurationError, match="trim"):
                stream.trim(channel)
            return
        assert stream.trim(channel) == 0
        stream.append(channel, note("0"))
        assert stream.trim(channel) == 0  # a group may come that wants it
        stream.declare(channel, "log")
        stream.declare(channel, "mail")
        stream.append_many(channel, [note("1"), note("2"), note("3")])
        assert stream.trim(channel, older=LONG) == 0
        assert stream.trim(channel) == 1
        with stream.consume(channel, "mail", worker, ordered=True):
            backend.until(lambda: stream.pending(channel, "mail") == 0)
        assert stream.trim(channel) == 0
        log = Worker(ValueError(), ValueError(), ValueError())
        with stream.consume(channel, "log", log, ordered=True, backoff=LONG):
            backend.until(lambda: log.notes)
        assert stream.trim(channel) == 0
        assert stream.pending(channel, "log") == 3

    def test_trim_keeps_what_waits_for_another_try(self, backend: StreamBackend) -> None:
        stream, channel, worker = backend.stream, backend.name(), Worker(ValueError())
        if "trim" not in stream.capabilities:
            return
        with stream.consume(channel, "mail", worker, backoff=LONG):
            stream.append_many(channel, [note("1"), note("2"), note("3")])
            backend.until(lambda: stream.pending(channel, "mail") == 1)
        assert stream.trim(channel) == 0
        assert len([*stream.read(channel)]) == 3

    # --- life

    def test_close_waits_for_the_event_at_work(self, backend: StreamBackend) -> None:
        stream, channel, done = backend.stream, backend.name(), list[str]()

        def handle(message: infra.Message) -> None:
            consumer.close()
            consumer.join(0)
            stream.append(channel, note("2"))
            done.append(message.payload)

        consumer = stream.consume(channel, "mail", handle)
        stream.append(channel, note("1"))
        consumer.join()
        backend.until(lambda: done)
        consumer.close()
        backend.pass_time(SOON)
        assert len(done) == 1
        if "pending" in stream.capabilities:
            assert stream.pending(channel, "mail") == 1

    def test_a_closed_stream(self, backend: StreamBackend) -> None:
        stream, channel = backend.stream, backend.name()
        consumer = stream.consume(channel, "mail", Worker())
        stream.close()
        stream.close()
        consumer.join()
        calls: list[Callable[[], object]] = [
            lambda: stream.append(channel, note(1)),
            lambda: stream.append_many(channel, [note(1)]),
            lambda: stream.declare(channel, "mail"),
            lambda: stream.consume(channel, "mail", Worker()),
            lambda: stream.dead_letters(channel, "mail"),
            lambda: stream.retry_dead(channel, "mail", ["1-1"]),
            lambda: stream.drop_dead(channel, "mail", ["1-1"]),
        ]
        for call in calls:
            with pytest.raises(infra.ConnectionError, match="closed") as caught:
                call()
            assert caught.value.retryable is False

    def test_what_else_a_closed_stream_refuses(self, backend: StreamBackend) -> None:
        stream, channel = backend.stream, backend.name()
        if "history" not in stream.capabilities:
            return
        stream.append(channel, note(1))
        messages = stream.read(channel)
        stream.close()
        calls: list[Callable[[], object]] = [
            lambda: next(messages),
            lambda: stream.read(channel),
            lambda: stream.trim(channel),
            lambda: stream.pending(channel, "mail"),
        ]
        for call in calls:
            with pytest.raises(infra.ConnectionError, match="closed"):
                call()

    def test_health(self, backend: StreamBackend) -> None:
        found = backend.stream.health_check()
        assert found.server
        assert found.latency >= 0

    # --- bad input

    def test_bad_names(self, backend: StreamBackend) -> None:
        stream, channel, some = backend.stream, backend.name(), [note(1)]
        calls: list[Callable[[Any], object]] = [
            lambda bad: stream.declare(bad, "mail"),
            lambda bad: stream.declare(channel, bad),
            lambda bad: stream.append(bad, note(1)),
            lambda bad: stream.append_many(bad, some),
            lambda bad: stream.consume(bad, "mail", print),
            lambda bad: stream.consume(channel, bad, print),
            lambda bad: stream.dead_letters(channel, bad),
            lambda bad: stream.retry_dead(bad, "mail"),
            lambda bad: stream.drop_dead(channel, bad),
        ]
        for call in calls:
            for bad in BAD_KEYS:
                with pytest.raises(infra.ValidationError):
                    call(bad)

    def test_bad_values(self, backend: StreamBackend) -> None:
        stream, channel = backend.stream, backend.name()
        wrong: Any = None
        calls: list[tuple[str, Callable[[], object]]] = [
            ("start", lambda: stream.declare(channel, "mail", start="old")),
            ("start", lambda: stream.declare(channel, "mail", start=wrong)),
            ("event", lambda: stream.append(channel, wrong)),
            ("event", lambda: stream.append(channel, infra.Event())),
            ("delay", lambda: stream.append(channel, note(1), delay=-1)),
            ("delay", lambda: stream.append(channel, note(1), delay=wrong)),
            ("events", lambda: stream.append_many(channel, wrong)),
            ("event", lambda: stream.append_many(channel, [note(1), wrong])),
            ("handler", lambda: stream.consume(channel, "mail", wrong)),
            ("workers", lambda: stream.consume(channel, "mail", print, workers=0)),
            ("ordered", lambda: stream.consume(channel, "mail", print, ordered=wrong)),
            ("retries", lambda: stream.consume(channel, "mail", print, retries=-1)),
            ("backoff", lambda: stream.consume(channel, "mail", print, backoff=0)),
            ("visibility", lambda: stream.consume(channel, "mail", print, visibility=wrong)),
            ("limit", lambda: stream.dead_letters(channel, "mail", 0)),
            ("ids", lambda: stream.retry_dead(channel, "mail", "1")),
            ("id", lambda: stream.drop_dead(channel, "mail", [wrong])),
        ]
        stream.declare(channel, "mail")
        for name, call in calls:
            with pytest.raises(infra.ValidationError, match=name):
                call()
        if "pending" in stream.capabilities:
            assert stream.pending(channel, "mail") == 0
        bad: infra.Event = infra.UserEvent.Created("1", "ada")  # type: ignore[arg-type]
        with pytest.raises(infra.SerializationError):
            stream.append(channel, bad)


class TestFake(EventStreamContract):
    @pytest.fixture
    def backend(self) -> StreamBackend:
        return FakeBackend("redis")


class TestFakeNats(EventStreamContract):
    @pytest.fixture
    def backend(self) -> StreamBackend:
        return FakeBackend("nats")


class TestFakeRabbit(EventStreamContract):
    @pytest.fixture
    def backend(self) -> StreamBackend:
        return FakeBackend("rabbitmq")


class TestRabbit(EventStreamContract):
    @pytest.fixture
    def backend(self, service: Callable[[str], str]) -> Iterator[StreamBackend]:
        config = infra.RabbitMQConfig(url=service("rabbitmq"))
        backend = StreamBackend(infra.RabbitMQEventStream(config))
        backend.stream.BLOCK = SOON  # type: ignore[attr-defined]
        yield backend
        backend.close()


class TestNats(EventStreamContract):
    @pytest.fixture
    def backend(self, service: Callable[[str], str]) -> Iterator[StreamBackend]:
        backend = StreamBackend(infra.NatsEventStream(infra.NatsConfig(url=service("nats"))))
        backend.stream.BLOCK = SOON  # type: ignore[attr-defined]
        yield backend
        backend.close()


class OnRealRedis(EventStreamContract):
    server: str

    @pytest.fixture
    def backend(self, service: Callable[[str], str]) -> Iterator[StreamBackend]:
        config = infra.CacheConfig(url=service(self.server), pool_size=40)
        with infra.RedisClient(config) as client:
            backend = StreamBackend(infra.RedisEventStream(client))
            backend.stream.BLOCK = SOON  # type: ignore[attr-defined]
            yield backend
            backend.close()


class TestRedis(OnRealRedis):
    server = "redis"


class TestRedis62(OnRealRedis):
    server = "redis-6.2"


class TestTls(OnRealRedis):
    server = "redis-tls"


class TestCluster(OnRealRedis):
    server = "redis-cluster"
