"""Mutants of observers, circuit breakers, slow calls and figures of pools."""

from __future__ import annotations

from tests.mutants.edits import Always, Drop, Edit, Never, Replace, Text
from tests.mutants.suite import FAKES, INFRA, Mutant, OnFakes, OnServers


def breaker(name: str, edit: Edit) -> Mutant:
    return OnFakes(f"breaker: {name}", INFRA, edit, ("unit/test_breaker.py",))


def observer(name: str, edit: Edit, file: str = INFRA) -> Mutant:
    return OnFakes(f"observer: {name}", file, edit, ("unit/test_observers.py",))


def traces(name: str, edit: Edit, test: str = "unit/test_tracing.py") -> Mutant:
    return OnFakes(f"traces: {name}", INFRA, edit, (test,))


def metrics(name: str, edit: Edit) -> Mutant:
    return OnFakes(f"metrics: {name}", INFRA, edit, ("unit/test_observability.py",))


def on_servers(name: str, edit: Edit, *tests: str) -> Mutant:
    return OnServers(name, INFRA, edit, tuple(f"faults/{test}" for test in tests))


MUTANTS: list[Mutant] = [
    breaker(
        "opens one failure late",
        Replace(
            "CircuitBreaker._settle",
            "self._count >= self._failures",
            "self._count > self._failures",
        ),
    ),
    breaker(
        "an answer does not begin the count again",
        Replace(
            "CircuitBreaker._settle",
            "self._count + 1 if unanswered else 0",
            "self._count + unanswered",
        ),
    ),
    breaker(
        "late results count",
        Replace(
            "CircuitBreaker._settle",
            "unanswered is None or attempt._periods[self] != self._period",
            "unanswered is None",
        ),
    ),
    breaker(
        "a failed call that passed puts the probe off",
        Replace(
            "CircuitBreaker._settle",
            "is_probe or (not was_open and self._count >= self._failures)",
            "self._count >= self._failures",
        ),
    ),
    breaker(
        "a probe that learned nothing stays one while its traceback lives",
        Drop("CircuitBreaker._settle", "self._probe = lambda: None"),
    ),
    breaker(
        "a pause ends only when the clock is exact",
        Replace("CircuitBreaker.retry_after", "left > 1e-06", "left > 0"),
    ),
    breaker(
        "every thread may probe",
        Replace(
            "CircuitBreaker._admit",
            "self.retry_after or self._probe() is not None",
            "self.retry_after",
        ),
    ),
    breaker(
        "a probe that is lost keeps others out",
        Replace("CircuitBreaker._admit", "weakref.ref(attempt)", "lambda: attempt"),
    ),
    breaker(
        "a block inside the probe is refused",
        Replace("CircuitBreaker.__enter__", "attempt is None or attempt not in entered", "True"),
    ),
    breaker(
        "a forked child has its parent's probe",
        Drop("CircuitBreaker.__init__", "_fork_aware.add(self)"),
    ),
    breaker(
        "Ctrl-C is an answer",
        Replace("CircuitBreaker.__exit__", "not isinstance(error, Exception | None)", "False"),
    ),
    breaker(
        "an error that is not retryable counts",
        Replace("_is_unanswered", "is_lost and (not error.retryable)", "False"),
    ),
    breaker(
        "a full pool counts",
        Replace("_UNRELATED", "PoolTimeoutError", "CircuitOpenError"),
    ),
    breaker(
        "its error is retryable",
        Replace("CircuitOpenError", "retryable = False", "retryable = True"),
    ),
    breaker(
        "the attempt that opens it is retried",
        Drop("CallPolicy._settle", "attempt.final = True"),
    ),
    breaker(
        "a deadline before the service was asked counts",
        Replace(
            "CallPolicy._settle",
            "error is failure and isinstance(error, TimeoutError) and (not attempt.sent)",
            "False",
        ),
    ),
    breaker(
        "an answer to the policy does not close it",
        Drop("CallPolicy._answered", "breaker._settle(attempt, False)"),
    ),
    breaker(
        "nothing passes it",
        Replace("CallPolicy.call", "unguarded or operation in _UNGUARDED", "False"),
    ),
    breaker(
        "a lock's release does not pass it",
        Replace("_UNGUARDED", "'compare_and_delete'", "'nothing'"),
    ),
    breaker(
        "a retry that it refuses hides the cause",
        Replace("CallPolicy._more_telling", "isinstance(error, CircuitOpenError)", "False"),
    ),
    breaker(
        "a call is slow by its last attempt",
        Replace(
            "CallPolicy.call",
            "self._log_if_slow(operation, now - began)",
            "self._log_if_slow(operation, now - started)",
            nth=1,
        ),
    ),
    breaker(
        "a listener is a slow call",
        Replace("CallPolicy._log_if_slow", "operation not in _ENDLESS", "True"),
    ),
    breaker(
        "a failed call is never slow",
        Replace("CallPolicy.call", "self._log_if_slow(operation, now - began)", "pass", nth=2),
    ),
    observer(
        "what it raises is logged each time",
        Replace("_Observers._note_failure", "id(observer) not in self._failed", "True"),
    ),
    observer("keeps adapters alive", Replace("_watch", "weakref.ref(adapter)", "lambda: adapter")),
    observer(
        "every key counts as missed",
        Replace("CacheProvider._count_hits", "asked - hits", "asked"),
    ),
    observer(
        "hears of no retry",
        Drop("CallPolicy._log_retry", "_count(self._observer, service, 'retries')"),
    ),
    observer(
        "hears of no handler that a listener calls",
        Replace("Listener._deliver", "_count(self._observer, 'redis', 'handler_errors')", "pass"),
    ),
    observer(
        "hears of no handler that a bus calls",
        Drop("_handle", "_count(observer, service, 'handler_errors')"),
    ),
    observer(
        "hears of no reconnect",
        Drop("Listener._announce_reconnect", "_count(self._observer, 'redis', 'reconnects')"),
    ),
    observer(
        "hears of no moved row",
        Drop(
            "_MoveRun._move_batch",
            "_count(database._observer, database.engine, 'rows_moved', written)",
        ),
    ),
    observer(
        "hears of no moved object",
        Drop("_ObjectRun._transfer", "_count(storage._observer, 'storage', 'rows_moved')"),
    ),
    observer(
        "a move ends while a breaker is open",
        Replace("_MoveRun.execute", "error.retryable or is_open", "error.retryable"),
    ),
    observer(
        "a move asks before the next probe",
        Replace("_MoveRun.execute", "max(pause, getattr(error, 'retry_after', 0.0))", "pause"),
    ),
    observer(
        "from_env drops the clock",
        Replace(
            "Infrastructure.from_env",
            "{'observer': observer, 'clock': clock}",
            "{'observer': observer}",
        ),
    ),
    observer(
        "a bundle does not tell which provider's breaker it is",
        Replace(
            "FailoverSmsService._breakers", "f'{service.provider_name} {name}'.strip()", "name"
        ),
    ),
    observer(
        "a fake tells of a lost reply twice",
        Replace("Faults._report", "error is None and _failing_fakes.get()", "False"),
        FAKES,
    ),
    observer(
        "a fake tells of what was not sent",
        Replace(
            "Faults._reported",
            "(infra.ValidationError, infra.ConfigurationError, infra.SerializationError)",
            "infra.ConfigurationError",
        ),
        FAKES,
    ),
    observer(
        "a fake tells its own names of operations",
        Replace("FakeRedisClient", "_called = _simpler", "_called: Any = {}"),
        FAKES,
    ),
    traces(
        "an attempt that is retried is a span of its own",
        Never("OpenTelemetryObserver.call", "call.retried"),
    ),
    traces("no call tells that it is retried", Replace("CallPolicy.call", "not is_last", "False")),
    traces(
        "an interrupted call's attempts go to the next one",
        Replace("OpenTelemetryObserver.call", "call.attempt > 1", "True"),
    ),
    traces(
        "threads share their attempts",
        Replace("OpenTelemetryObserver.__init__", "threading.local()", "types.SimpleNamespace()"),
    ),
    traces(
        "a span begins with the end of its first attempt",
        Replace(
            "OpenTelemetryObserver.call", "ended - round(first.seconds * 1000000000.0)", "ended"
        ),
    ),
    traces(
        "a span ends whenever it is made",
        Replace("OpenTelemetryObserver.call", "self._end(span, call.outcome, now)", "span.end()"),
    ),
    traces(
        "Postgres is not called as in the conventions",
        Replace("_DB_SYSTEMS", "'postgresql'", "'postgres'"),
    ),
    traces(
        "a port belongs to the address",
        Never("OpenTelemetryObserver._attributes", "host and port.isdecimal()"),
    ),
    traces(
        "a failed span is not marked",
        Drop("OpenTelemetryObserver._end", "span.set_status(self._api.StatusCode.ERROR)"),
    ),
    traces(
        "a status has words",
        Replace(
            "OpenTelemetryObserver._end",
            "span.set_status(self._api.StatusCode.ERROR)",
            "span.set_status(self._api.StatusCode.ERROR, outcome)",
        ),
    ),
    traces(
        "a handler's span has no link",
        Never("OpenTelemetryObserver.handling", "publisher is not None"),
    ),
    traces(
        "a handler's span is not current",
        Drop("OpenTelemetryObserver.handling", "block.__enter__()"),
    ),
    traces(
        "a handler's span stays current",
        Replace(
            "OpenTelemetryObserver.handled",
            "block.__exit__(None, None, None)",
            "vars(self._thread).setdefault('kept', []).append(block)",
        ),
    ),
    traces(
        "an event has no trace",
        Never("_EventWriter.__init__", "observer is not None"),
    ),
    traces(
        "Ctrl-C in a handler leaves its span open",
        Replace("_handle", "BaseException", "Exception"),
    ),
    traces(
        "a traceparent that is given is not used",
        Replace(
            "_EventWriter.__init__",
            "span is not None",
            "span is not None and observer is None",
        ),
        "contract/test_event_bus.py",
    ),
    traces(
        "observers hear of no handler's end",
        Drop("_Observers.handled", "self._tell('handled', message, outcome)"),
        "contract/test_event_bus.py",
    ),
    traces(
        "markers: a span has the message",
        Replace("OpenTelemetryObserver.handling", "'handle'", "message.payload"),
        "unit/test_markers.py",
    ),
    traces(
        "markers: a label has the key",
        Replace(
            "CacheProvider.get",
            "self._count_hits(text is not None)",
            "self._observer.count(self._name(key), 'cache_hits')",
        ),
        "unit/test_markers.py",
    ),
    metrics(
        "failed calls count as successful",
        Replace("PrometheusObserver.call", "call.outcome", "'ok'"),
    ),
    metrics(
        "a retry has the number of its attempt instead of its seconds",
        Replace("PrometheusObserver.call", "call.seconds", "call.attempt"),
    ),
    metrics(
        "a bucket does not have its bound",
        Replace("PrometheusObserver.call", "bisect.bisect_left", "bisect.bisect_right"),
    ),
    metrics(
        "with another prometheus_client no call takes time",
        Replace("_PrometheusMetrics.of_call", "seconds.observe", "abs"),
    ),
    metrics(
        "several rows count as one",
        Replace(
            "PrometheusObserver.count",
            "self._metrics.counts[name].labels(service).inc(amount)",
            "self._metrics.counts[name].labels(service).inc()",
        ),
    ),
    metrics(
        "a misspelt kind of sources",
        Text("_SOURCES", "breaker", "breakers"),
    ),
    metrics(
        "the last pool of a service hides the others",
        Replace("_PrometheusMetrics._totals", "operator.add", "max"),
    ),
    metrics(
        "the longest waits of two pools are added up",
        Replace(
            "_PrometheusMetrics._totals",
            "max if figure == 'longest_wait' else operator.add",
            "operator.add",
        ),
    ),
    metrics(
        "a pool that is gone is asked for ever",
        Drop("_PrometheusMetrics._totals", "self.sources.pop(place, None)"),
    ),
    metrics(
        "the figures of each pool count once for each observer",
        Replace(
            "PrometheusObserver.watch",
            "self._metrics.sources[name, id(source)] = source",
            "self._metrics.sources[name, len(self._metrics.sources)] = source",
        ),
    ),
    metrics(
        "a service ends at its first dot",
        Replace(
            "_PrometheusMetrics._totals", "place[0].rpartition('.')", "place[0].partition('.')"
        ),
    ),
    metrics(
        "waits have no unit",
        Replace(
            "_PrometheusMetrics.collect", "'seconds' if figure == 'longest_wait' else ''", "''"
        ),
    ),
    OnFakes(
        "metrics: those of another version count as ours",
        INFRA,
        Never(
            "PrometheusObserver.__init__",
            "getattr(self._metrics, 'infra_version', None) != __version__",
        ),
        ("unit/test_observability.py::test_a_registry_with_metrics_of_another_version",),
    ),
    metrics(
        "the second observer of a registry is refused",
        Always(
            "PrometheusObserver.__init__",
            "getattr(self._metrics, 'infra_version', None) != __version__",
        ),
    ),
    metrics(
        "the second observer of a registry counts for itself",
        Replace(
            "PrometheusObserver.__init__",
            "self._metrics = registry._names_to_collectors.get(f'{namespace}_calls')",
            "pass",
        ),
    ),
    metrics(
        "a registry is ignored",
        Replace(
            "PrometheusObserver.__init__",
            "client.REGISTRY if registry is None else registry",
            "client.REGISTRY",
        ),
    ),
    metrics(
        "a namespace is not checked",
        Replace(
            "PrometheusObserver.__init__",
            "form.require('namespace', _plain(namespace))",
            "_plain(namespace)",
        ),
    ),
    on_servers(
        "breaker: threads that have waited connect to a dead server",
        Drop("_Sessions.open", "attempt._check_breakers()"),
        "test_breaker.py::test_threads_that_wait_for_a_connection_do_not_ask_a_dead_server",
    ),
    on_servers(
        "breaker: a statement of an open transaction is refused",
        Replace(
            "_SqlStatements._within",
            "self._policy.call(operation, lambda attempt: work(attempt, session), retries=0, "
            "unguarded=True)",
            "self._policy.call(operation, lambda attempt: work(attempt, session), retries=0)",
        ),
        "test_breaker.py::test_what_uses_an_open_connection_goes_on",
    ),
    on_servers(
        "breaker: COMMIT is refused",
        Replace(
            "_Sessions.control",
            "self._policy.call(operation, perform, retries=0, unguarded=True)",
            "self._policy.call(operation, perform, retries=0)",
        ),
        "test_breaker.py::test_what_uses_an_open_connection_goes_on",
    ),
    on_servers(
        "breaker: the rest of a stream is refused",
        Replace(
            "ConnectionPool._stream",
            "functools.partial(self._policy.call, 'stream', retries=0, unguarded=True)",
            "functools.partial(self._policy.call, 'stream', retries=0)",
        ),
        "test_breaker.py::test_what_uses_an_open_connection_goes_on",
    ),
    on_servers(
        "breaker: a message without an answer does not count",
        Replace(
            "TwilioSmsService._translate",
            "self._unknown(f'did not answer{_os_reason(exc)}', unanswered=True)",
            "self._unknown(f'did not answer{_os_reason(exc)}')",
        ),
        "test_breaker.py::test_a_message_without_an_answer_counts",
    ),
    on_servers(
        "breaker: a node that fails closes the others too",
        Replace(
            "CallPolicy._settle",
            "None if is_other and unanswered else unanswered",
            "unanswered",
        ),
        "test_cluster.py::test_each_node_has_a_breaker",
    ),
    on_servers(
        "breaker: a listener asks a dead server",
        Replace(
            "_RedisListener._run",
            "policy.call('listen', self._connect, retries=0)",
            "policy.call('listen', self._connect, retries=0, unguarded=True)",
        ),
        "test_breaker.py::test_a_listener_counts_and_connects_again",
    ),
    on_servers(
        "pool: no connection is opened in advance",
        Never("_SqlStatements.__init__", "config.warm"),
        "test_observers.py::test_a_pool_is_opened_in_advance",
    ),
    on_servers(
        "pool: a wait that fails is not counted",
        Replace("_Pool._wait", "self._history.timed_out += 1", "pass"),
        "test_breaker.py::test_a_full_pool_does_not_count",
    ),
    on_servers(
        "pool: closed connections are not counted",
        Replace("_Pool._close", "self._history.closed += 1", "pass"),
        "test_breaker.py::test_a_full_pool_does_not_count",
    ),
    on_servers(
        "sql: the log has the strings of statements",
        Replace("_log_sql", "''.join(dialect.syntax.code(sql))", "sql"),
        "test_observers.py::test_statements_are_logged_without_what_they_hold",
    ),
    on_servers(
        "markers: the log has the strings of statements",
        Replace("_log_sql", "''.join(dialect.syntax.code(sql))", "sql"),
        "test_markers.py",
    ),
    on_servers(
        "sql: the log has the numbers of statements",
        Replace(
            "_log_sql",
            "_LITERAL_NUMBER.sub('?', ''.join(dialect.syntax.code(sql)))",
            "''.join(dialect.syntax.code(sql))",
        ),
        "test_observers.py::test_statements_are_logged_without_what_they_hold",
    ),
]
