"""Mutants of event streams, the outbox and the inbox."""

from __future__ import annotations

from tests.mutants.edits import Drop, Edit, Never, Replace, Text
from tests.mutants.suite import FAKES, INFRA, Mutant, OnFakes, OnServers

STREAMS = ("contract/test_event_stream.py",)
OUTBOX = ("contract/test_outbox.py",)


def shared(name: str, edit: Edit, cases: tuple[str, ...] = STREAMS) -> Mutant:
    return OnFakes(f"streams: {name}", INFRA, edit, cases)


def fake(name: str, edit: Edit) -> Mutant:
    return OnFakes(f"streams: {name}", FAKES, edit, STREAMS)


def on_redis(name: str, edit: Edit, case: str) -> Mutant:
    cases = (f"contract/test_event_stream.py::TestRedis::{case}",)
    return OnServers(f"streams: {name}", INFRA, edit, cases)


def on_nats(name: str, edit: Edit, case: str) -> Mutant:
    cases = (f"contract/test_event_stream.py::TestNats::{case}",)
    return OnServers(f"streams: {name}", INFRA, edit, cases)


def on_rabbit(name: str, edit: Edit, case: str) -> Mutant:
    file = "faults/test_rabbitmq.py" if case in RABBIT_FAULTS else "contract/test_event_stream.py"
    cases = (f"{file}::{case}" if case in RABBIT_FAULTS else f"{file}::TestRabbit::{case}",)
    return OnServers(f"rabbitmq: {name}", INFRA, edit, cases)


RABBIT_FAULTS = {
    "test_a_limit_of_the_operator",
    "test_an_alarm",
    "test_an_ordered_group_of_two_processes",
    "test_deleted_queues",
}


def outbox(name: str, edit: Edit) -> Mutant:
    return OnFakes(f"outbox: {name}", INFRA, edit, OUTBOX)


MUTANTS: list[Mutant] = [
    shared(
        "a failure is given up one call early",
        Replace(
            "Consumer._handle",
            "event.failures <= task.retries",
            "event.failures < task.retries",
        ),
    ),
    shared(
        "what cannot be read is tried again",
        Replace(
            "Consumer._handle",
            "event.failures <= task.retries and not getattr(error, '_unreadable', False)",
            "event.failures <= task.retries",
        ),
    ),
    shared(
        "each SerializationError is of the payload",
        Replace("SerializationError._unreadable", "False", "True"),
    ),
    shared(
        "the error of a dead letter is its text",
        Replace("Consumer._handle", "type(error).__name__", "str(error)"),
    ),
    shared(
        "errors of handlers are not counted",
        Drop("Consumer._handle", "self.handler_errors += 1"),
    ),
    shared(
        "ids are those of other events",
        Replace(
            "EventStream._append_all",
            "[id for id, _ in written]",
            "[id for id, _ in written[::-1]]",
        ),
    ),
    shared(
        "a batch is all that append_many stores",
        Replace(
            "EventStream._store_all",
            "range(0, len(written), _PIPELINE)",
            "range(0, min(1, len(written)))",
        ),
    ),
    shared(
        "a capability is not asked for",
        Never("EventStream._require", "capability not in self.capabilities"),
    ),
    shared("a closed stream works on", Never("EventStream._ask", "self._closed")),
    shared(
        "no delay",
        Replace(
            "EventStream.append",
            "self._append_all('append', channel, [event], delay)",
            "self._append_all('append', channel, [event])",
        ),
    ),
    shared(
        "pending of an unknown group is None",
        Never("EventStream.pending", "found is None"),
    ),
    shared("a consumer stays at work", Drop("Consumer.close", "self._ending.set()")),
    fake(
        "a failed event never comes again",
        Replace("FakeEventStream._settle", "self._clock.monotonic() + event.pause", "10**9"),
    ),
    fake(
        "an ordered group does not wait",
        Never("FakeEventStream._due", "task.ordered and group.work"),
    ),
    fake(
        "a new group gets the past",
        Replace("FakeEventStream._declare", "0 if past else held.last", "0"),
    ),
    fake(
        "a group of the past gets none of it",
        Replace("FakeEventStream._declare", "0 if past else held.last", "held.last"),
    ),
    fake(
        "a dead letter goes to all groups again",
        Replace(
            "FakeEventStream._bring_back",
            "held.add(letter.message.payload, self._clock.monotonic(), group)",
            "held.add(letter.message.payload, self._clock.monotonic())",
        ),
    ),
    fake(
        "history has what one group gets again",
        Replace("FakeEventStream._read", "event.group is None", "True"),
    ),
    fake(
        "trim deletes what nobody has handled",
        Replace("FakeEventStream._trim", "number < until", "True"),
    ),
    fake(
        "an event is not lost by its consumer",
        Replace("FakeEventStream._next", "task.visibility", "10**6"),
    ),
    on_redis(
        "an ordered group on Redis does not wait",
        Text("_TAKE_SCRIPT", "ordered == '1' and", "false and"),
        "test_an_ordered_group_waits_for_a_failed_event",
    ),
    on_redis(
        "Redis gives a dead letter to all groups again",
        Text("_BRING_BACK_SCRIPT", ", 'group', ARGV[1]", ""),
        "test_dead_letters_are_given_once_more",
    ),
    on_redis(
        "Redis trims what a group still has",
        Text("_TRIM_SCRIPT", "first or group", "group"),
        "test_trim_keeps_what_waits_for_another_try",
    ),
    on_nats(
        "NATS gives a dead letter to all groups again",
        Replace(
            "NatsEventStream._settle_letters",
            "{'Nats-Msg-Id': f'again-{id}', 'Infra-Group': group}",
            "{}",
        ),
        "test_dead_letters_are_given_once_more",
    ),
    on_nats(
        "NATS forgets how often an event has failed",
        Replace("NatsEventStream._settle", "returned + 1", "0"),
        "test_retries_end_in_the_dead_letters",
    ),
    OnServers(
        "streams: a failure on NATS counts although another worker has the event",
        INFRA,
        Never(
            "NatsEventStream._settle",
            "event.error and SystemClock.monotonic() > until",
        ),
        ("faults/test_streams.py::test_a_slow_worker_fails_after_it_has_lost_its_event",),
    ),
    OnServers(
        "streams: an event on NATS may be as large as the server takes",
        INFRA,
        Replace("NatsEventStream.RESERVED", "1000", "0"),
        ("faults/test_streams.py::test_the_largest_event_of_nats",),
    ),
    on_rabbit(
        "a dead letter goes to all groups again",
        Replace(
            "RabbitMQEventStream._letters",
            "self._message(name, '', payload, id)",
            "self._message(self._name(channel), '', payload, id)",
        ),
        "test_dead_letters_are_given_once_more",
    ),
    on_rabbit(
        "it is forgotten how often an event has failed",
        Replace(
            "RabbitMQEventStream._settle",
            "{'failures': event.failures, 'deaths': event.deaths}",
            "{}",
        ),
        "test_retries_end_in_the_dead_letters",
    ),
    on_rabbit(
        "an ordered group does not wait",
        Never("RabbitMQEventStream._settle", "event.pause is not None and task.ordered"),
        "test_an_ordered_group_waits_for_a_failed_event",
    ),
    on_rabbit(
        "an ordered group has several events at a time",
        Replace("RabbitMQEventStream._subscribe", "1 if task.ordered else task.workers", "9"),
        "test_an_ordered_group_waits_for_a_failed_event",
    ),
    on_rabbit(
        "an event without a queue is no error",
        Replace(
            "_RabbitChannel.publish",
            "self.raw.basic_publish(exchange, key, payload, properties, mandatory=True)",
            "self.raw.basic_publish(exchange, key, payload, properties)",
        ),
        "test_a_new_group_gets_what_comes",
    ),
    on_rabbit(
        "a group gets an event in both of its queues",
        Replace(
            "RabbitMQEventStream._make_group",
            "opened.ask('queue_bind', queue=ordered, exchange=rest)",
            "opened.ask('queue_bind', queue=ordered, exchange=name)",
        ),
        "test_a_group_shares_its_events",
    ),
    on_rabbit(
        "all delays share a queue",
        Replace("RabbitMQEventStream._later", "math.ceil(time / step) * step", "3_600_000", nth=1),
        "test_a_delayed_event",
    ),
    on_rabbit(
        "an alarm is not asked for",
        Never("RabbitMQEventStream._publish", "self._is_blocked"),
        "test_an_alarm",
    ),
    on_rabbit(
        "a consumer stays without its queue",
        Drop("_RabbitChannel.__init__", "raw.add_on_cancel_callback(lambda _: raw.close())"),
        "test_deleted_queues",
    ),
    on_rabbit(
        "what the broker gives up is lost",
        Replace(
            "RabbitMQEventStream._make_group",
            "{'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead, **_MOVES}",
            "{}",
        ),
        "test_a_limit_of_the_operator",
    ),
    on_rabbit(
        "the next consumer begins before an event is back",
        Replace("RabbitMQEventStream._unsubscribe", "not task.ordered", "True"),
        "test_an_ordered_group_of_two_processes",
    ),
    on_redis(
        "pending counts one page",
        Replace("RedisEventStream._pending", "following.decode()", "''"),
        "test_pending",
    ),
    outbox("sent events are not marked", Drop("_Relay._send_batch", "self._mark(bucket, sent)")),
    outbox(
        "events are sent in any order",
        Replace(
            "_Relay._send_batch",
            "self._events.select(where, sort='id', limit=self._batch)",
            "self._events.select(where, sort='id', descending=True, limit=self._batch)",
        ),
    ),
    outbox(
        "a failed batch is marked as sent",
        Replace("_Relay._send_batch", "sent += part", "sent += events"),
    ),
    outbox(
        "a lease is never taken over",
        Replace("_Relay._claim", "now - since < self._outbox._lease", "True"),
    ),
    outbox(
        "a lease is taken over at once",
        Replace("_Relay._claim", "beats != lease.beats", "False"),
    ),
    outbox(
        "a lost lease is no matter",
        Never(
            "_Relay._beat",
            "not self._leases.update_where(where, owner=owner, beats=self._beats + 1)",
        ),
    ),
    outbox(
        "sent events are kept for ever",
        Drop("_Relay._tidy", "self._events.delete_where({'sent_at': Below(old)})"),
    ),
    outbox(
        "a relay runs inside a transaction",
        Never("Outbox.relay", "self._events.database._current() is not None"),
    ),
    outbox("keys share no order", Replace("Outbox.add", "_crc32(key or id)", "_crc32(id)")),
    shared(
        "an inbox needs no transaction",
        Never("Inbox.first", "database._current() is None"),
        OUTBOX,
    ),
    shared(
        "each message is the first", Replace("Inbox.first", "return False", "return True"), OUTBOX
    ),
]
