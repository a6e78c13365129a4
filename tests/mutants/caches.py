"""Mutants of the Redis client, codes, cache and event bus."""

from __future__ import annotations

from tests.mutants.edits import Always, Drop, Never, Replace, Text
from tests.mutants.suite import FAKES, INFRA, Mutant, OnFakes, OnServers

CLIENT = ("contract/test_key_value_client.py",)
ON_REDIS = "contract/test_key_value_client.py::TestRedis"
ON_CACHE = "contract/test_cache_provider.py::TestRedis"
CODES = ("contract/test_verification_cache.py",)
CACHE = ("contract/test_cache_provider.py",)
BUS = ("contract/test_event_bus.py", "faults/test_bus.py")
EVENTS = ("unit/test_events.py",)

CLIENTS: list[Mutant] = [
    OnFakes(
        "client: the fake's compare_and_delete does not compare",
        FAKES,
        Replace(
            "FakeRedisClient._compare_and_delete",
            "self._get(key) == value",
            "self._get(key) is not None",
        ),
        CLIENT,
    ),
    OnServers(
        "client: a key is gone as soon as its ttl says",
        INFRA,
        Replace("KeyValueClient._late_expiry", "0.001", "0.0"),
        (f"{ON_CACHE}::test_a_caller_that_waits_as_long_as_it_is_told_is_allowed",),
    ),
    OnServers(
        "client: compare_and_delete does not compare",
        INFRA,
        Text("_COMPARE_AND_DELETE", "redis.call('get',KEYS[1])==ARGV[1]", "true"),
        (f"{ON_REDIS}::test_compare_and_delete",),
    ),
    OnFakes(
        "client: the fake's increment sets the TTL on every call",
        FAKES,
        Replace(
            "FakeRedisClient._increment",
            "value, expiry = entry",
            "value, expiry = entry[0], server._expiry(ttl) if ttl else entry[1]",
        ),
        CLIENT,
    ),
    OnFakes(
        "client: the fake's increment sets no TTL",
        FAKES,
        Replace(
            "FakeRedisClient._increment",
            "total, expiry = amount, server._expiry(ttl)",
            "total, expiry = amount, None",
        ),
        CLIENT,
    ),
    OnServers(
        "client: increment sets the TTL on every call",
        INFRA,
        Replace(
            "RedisClient._increment",
            "('MULTI',), ('SET', key, 0, 'PX', ttl, 'NX'), ('INCRBY', key, amount), ('EXEC',)",
            "('MULTI',), ('INCRBY', key, amount), ('PEXPIRE', key, ttl), ('INCRBY', key, 0),"
            " ('EXEC',)",
        ),
        (f"{ON_REDIS}::test_increment_sets_the_ttl_at_creation_only",),
    ),
    OnServers(
        "client: increment is no transaction",
        INFRA,
        Replace(
            "RedisClient._increment",
            "('MULTI',), ('SET', key, 0, 'PX', ttl, 'NX'), ('INCRBY', key, amount), ('EXEC',)",
            "('SET', key, 0, 'PX', ttl, 'NX'), ('INCRBY', key, amount)",
        ),
        ("faults/test_redis.py::test_a_counter_and_its_expiry_are_created_in_one_transaction",),
    ),
    OnFakes(
        "client: the fake's globs are fnmatch's",
        FAKES,
        Replace(
            "FakeRedisClient._scan",
            "matches = _glob(glob)",
            "from fnmatch import fnmatchcase; matches = lambda key: fnmatchcase(key, glob)",
        ),
        CLIENT,
    ),
    OnFakes(
        "client: the fake's globs see characters instead of bytes",
        FAKES,
        Replace("_match", "name.encode()", 'name.encode("latin-1", "replace")'),
        CLIENT,
    ),
    OnServers(
        "client: dead connections are handed out",
        INFRA,
        Replace(
            "_RedisConnection.is_dead",
            "self._sock is None or bool(self._parser.can_read(0))",
            "False",
        ),
        ("faults/test_redis.py::test_killed_and_restarted_between_calls",),
    ),
    OnServers(
        "client: the deadline is forgotten between replies",
        INFRA,
        Drop(
            "_RedisConnection.read_replies",
            "limit_wait()",
        ),
        ("faults/test_redis.py::test_a_slow_server_does_not_stretch_the_deadline",),
    ),
    OnServers(
        "client: every batch has a deadline of its own",
        INFRA,
        Replace("_RedisTransport.send_each", "self.policy.until()", "None"),
        ("faults/test_redis.py::test_a_slow_server_does_not_stretch_the_deadline",),
    ),
    OnServers(
        "client: a server that loads counts as acted",
        INFRA,
        Replace(
            "_REDIS_ERRORS",
            "_outage('is still loading its data')",
            "_ErrorRule(ConnectionError, 'is still loading its data', retryable=True)",
        ),
        ("faults/test_redis.py::test_a_server_that_loads_its_data_has_not_acted",),
    ),
    OnServers(
        "client: a full node of a cluster is asked again and again",
        INFRA,
        Never("_RedisErrors.check_connection", "self.rule(refusal).error_class is ConnectionError"),
        ("faults/test_cluster.py::test_the_next_node_is_asked_instead_of_a_full_one",),
    ),
    OnServers(
        "client: a full node of a cluster refused the command",
        INFRA,
        Replace("_REDIS_PHRASES", "'max number of clients '", "'max number of clients reached'"),
        ("faults/test_redis.py::test_what_a_refusal_means",),
    ),
    OnServers(
        "client: after a failover the old connection stays",
        INFRA,
        Never("_RedisServer.receive", "len(_refusals(decisive)) < len(decisive)"),
        ("faults/test_redis.py::test_a_failover_in_the_middle_of_a_pipeline",),
    ),
    OnServers(
        "client: after a failover other idle connections stay",
        INFRA,
        Drop(
            "_RedisServer.receive",
            "self._replaced_at = successor.opened_at",
        ),
        ("faults/test_redis.py::test_all_old_connections_go_after_a_failover",),
    ),
    OnServers(
        "client: after a failover each attempt opens a connection",
        INFRA,
        Drop("_RedisServer._stays_demoted", "attempt.final = True"),
        ("faults/test_redis.py::test_a_replica_stays_one",),
    ),
    OnServers(
        "client: a replica's new connection is dropped too",
        INFRA,
        Never("_RedisServer.receive", "was_new"),
        ("faults/test_redis.py::test_a_replica_stays_one",),
    ),
    OnServers(
        "client: a refusal inside a script is not recognized",
        INFRA,
        Never("_RedisErrors.rule", "type(exc) in self._vague"),
        ("faults/test_redis.py::test_writes_after_a_failover",),
    ),
    OnServers(
        "client: what the server's query buffer does not hold is an outage",
        INFRA,
        Never(
            "_RedisConnection.refuses_length",
            "isinstance(found, list) and found and int(found[1]) < length",
        ),
        ("faults/test_redis.py::test_a_value_above_the_limit",),
    ),
    OnServers(
        "client: a script that does not end is a mistake of the caller",
        INFRA,
        Text("_REDIS_QUOTED", "BUSY", "BUSIED"),
        ("faults/test_redis.py::test_what_a_refusal_means",),
    ),
    OnServers(
        "client: a word that is too long is a lost connection",
        INFRA,
        Always("_RedisServer.is_too_large", "length < _LEAST_LIMIT or not attempt.sent"),
        ("faults/test_redis.py::test_a_value_above_the_limit",),
    ),
    OnServers(
        "client: a subscription that is refused for the moment is given up",
        INFRA,
        Never(
            "_Subscriptions.acknowledge",
            "error is not None and error.retryable and is_restoring",
        ),
        ("faults/test_redis.py::test_subscribing_again_waits_for_a_script",),
    ),
    OnServers(
        "client: an interrupted exchange leaves its replies to the next call",
        INFRA,
        Drop("_RedisConnection.send", "self.unread = True"),
        ("faults/test_redis.py::test_an_interrupt_before_a_late_answer",),
    ),
    OnServers(
        "listener: a subscribe in vain forgets earlier ones",
        INFRA,
        Replace("_Subscriptions.conclude", "reasons.remove(command)", "reasons.clear()"),
        ("faults/test_redis.py::test_a_subscribe_in_vain_leaves_earlier_subscriptions",),
    ),
    OnServers(
        "listener: a call that fails to subscribe takes from the others",
        INFRA,
        Always("_Subscriptions.conclude", "not reasons"),
        ("faults/test_bus.py::test_one_subscribes_in_vain_to_what_another_waits_for",),
    ),
    OnServers(
        "listener: a refusal looks acknowledged",
        INFRA,
        Replace("_RedisListener._receive", "isinstance(reply, Exception)", "False"),
        ("faults/test_redis.py::test_a_forbidden_channel",),
    ),
    OnFakes(
        "listener: the fake calls handlers from within handlers",
        FAKES,
        Never("_FakeListener._drain", "self._busy"),
        CLIENT,
    ),
]

CLUSTERS: list[Mutant] = [
    OnServers(
        "cluster: a move is forgotten",
        INFRA,
        Drop(
            "_ClusterTransport._is_redirected",
            "self._nodes.outdate()",
        ),
        ("faults/test_cluster.py::test_slots_move_under_a_pipeline",),
    ),
    OnServers(
        "cluster: no ASKING",
        INFRA,
        Text("_Batch.words", "ASKING", "PING"),
        ("faults/test_cluster.py::test_a_slot_that_is_moving",),
    ),
    OnServers(
        "cluster: what a redirection left undone looks done",
        INFRA,
        Drop("_ClusterTransport._route", "attempt.sent = len(waiting) < len(batches)"),
        ("faults/test_cluster.py::test_nodes_that_send_us_in_circles",),
    ),
    OnServers(
        "cluster: what others did looks undone",
        INFRA,
        Replace(
            "_RedisErrors.translate",
            "rule.may_have_acted or attempt.shared",
            "rule.may_have_acted",
        ),
        ("faults/test_cluster.py::test_what_one_node_has_not_done_another_may_have",),
    ),
    OnServers(
        "cluster: a node that failed is not told from the others",
        INFRA,
        Drop(
            "_ClusterNodes.report_failure",
            "self._failures[address] = SystemClock.monotonic()",
        ),
        ("faults/test_cluster.py::test_a_node_is_killed_and_comes_back",),
    ),
    OnServers(
        "cluster: slots are learned once",
        INFRA,
        Drop("_ClusterNodes.report_failure", "self.outdate()"),
        ("faults/test_cluster.py::test_the_next_node_is_asked_for_the_slots",),
    ),
    OnServers(
        "cluster: connections in any order",
        INFRA,
        Replace(
            "_ClusterNodes.exchange",
            "sorted(batches, key=lambda batch: batch.node)",
            "list(batches)",
        ),
        ("faults/test_cluster.py::test_many_threads_share_few_connections",),
    ),
]

VERIFICATION: list[Mutant] = [
    OnFakes(
        "codes: no generation",
        INFRA,
        Replace("VerificationCache._store", "os.urandom(8).hex()", "'0' * 16"),
        CODES,
    ),
    OnFakes(
        "codes: attempt counted after the comparison",
        INFRA,
        Replace(
            "VerificationCache.verify_code",
            """
attempt = self._increment(f"{keys.code}:attempts:{generation}", ttl=lifetime)
if attempt > self._max_attempts:
    return False
""",
            """
used = int(self._client.get(f"{keys.code}:attempts:{generation}") or 0)
if used >= self._max_attempts or not hmac.compare_digest(
    digest, self._digest(keys, generation, code)
):
    self._increment(f"{keys.code}:attempts:{generation}", ttl=lifetime)
    return False
""",
        ),
        CODES,
    ),
    OnFakes(
        "codes: used up by several callers",
        INFRA,
        Replace(
            "VerificationCache.verify_code",
            "self._client.compare_and_delete(keys.code, stored)",
            "self._client.delete(keys.code) or True",
        ),
        CODES,
    ),
    OnFakes(
        "codes: attempts forgotten before the code",
        INFRA,
        Replace("VerificationCache._parts_of", "int(milliseconds) / 1000", "5.0"),
        CODES,
    ),
    OnFakes(
        "codes: guesses count for each code alone",
        INFRA,
        Replace(
            "VerificationCache.verify_code",
            "f'{keys.code}:guesses'",
            "f'{keys.code}:guesses:{self._client.get(keys.code)}'",
        ),
        CODES,
    ),
    OnFakes(
        "codes: a right guess counts as a wrong one",
        INFRA,
        Drop(
            "VerificationCache.verify_code",
            "self._client.increment(guesses, -1, ttl=self._window)",
        ),
        CODES,
    ),
    OnFakes(
        "codes: a count that is another program's is a refused command",
        INFRA,
        Drop("VerificationCache._increment", "if not error.retryable: self._count(name)"),
        CODES,
    ),
    OnServers(
        "codes: bytes of another program are an error of theirs",
        INFRA,
        Replace("VerificationCache._get", "(CacheError, SerializationError)", "CacheError"),
        ("contract/test_verification_cache.py::TestRedis",),
    ),
    OnFakes(
        "codes: a refused window starts the time between codes",
        INFRA,
        Drop("VerificationCache._check_limits", "self._client.delete(resend)"),
        CODES,
    ),
]

PROVIDERS: list[Mutant] = [
    OnFakes(
        "cache: delete_pattern takes rate limits along",
        INFRA,
        Replace("CacheProvider.check_rate_limit", "self._name(key, '~limit:')", "self._name(key)"),
        CACHE,
    ),
    OnFakes(
        "cache: the prefix is a glob",
        INFRA,
        Replace(
            "CacheProvider.delete_pattern",
            r"_GLOB_SIGNS.sub(r'\\\g<0>', self._prefix)",
            "self._prefix",
        ),
        CACHE,
    ),
    OnFakes(
        "cache: delete_pattern takes locks along",
        INFRA,
        Replace(
            "CacheProvider.delete_pattern",
            "(name for name in batch if not name.startswith(own))",
            "batch",
        ),
        CACHE,
    ),
    OnFakes(
        "cache: threads wait at Redis",
        INFRA,
        Always("_LockTurns.begin", "other.owner == turn.owner"),
        CACHE,
    ),
    OnFakes(
        "cache: what was filled meanwhile is filled again",
        INFRA,
        Replace("_Fill.run", "not (turn and self.is_filled())", "True"),
        CACHE,
    ),
    OnFakes(
        "cache: a value that Redis refuses leaves the lock of its key behind",
        INFRA,
        Never(
            "_Fill.run",
            "is_locked and self._outage is not None and self._outage.service != 'cache'",
        ),
        CACHE,
    ),
    OnFakes(
        "cache: a late owner releases the next one's lock",
        INFRA,
        Replace(
            "CacheLock.release",
            "self._ask(self._cache._client.compare_and_delete, self._name, token)",
            "self._ask(self._cache._client.delete, self._name)",
        ),
        CACHE,
    ),
    OnServers(
        "cache: each thread finds out that Redis is away",
        INFRA,
        Drop("CacheLock._acquire", "turn.outage = error"),
        ("faults/test_cache.py::test_a_server_that_is_paused",),
    ),
    OnFakes(
        "cache: set_nx fails open",
        INFRA,
        Replace(
            "CacheProvider.set_nx",
            "self._ask('set_nx', self._client.set_nx, name, text, seconds)",
            "self._try('set_nx', False, self._client.set_nx, name, text, seconds)",
        ),
        CACHE,
    ),
    OnFakes(
        "cache: NaN is read",
        INFRA,
        Replace(
            "_decode_strictly",
            "json.JSONDecoder(parse_constant=_no_constant)",
            "json.JSONDecoder()",
        ),
        CACHE,
    ),
]

BUSES: list[Mutant] = [
    OnFakes(
        "bus: a listener for every handler",
        INFRA,
        Replace(
            "RedisEventBus._listening",
            "listener = self._listener",
            "listener = self._listener = None",
        ),
        BUS,
    ),
    OnFakes(
        "bus: the first that closes unsubscribes all",
        INFRA,
        Replace("_SubscriptionTable.remove", "self.at(key)", "()"),
        BUS,
    ),
    OnServers(
        "bus: the last that leaves does not look whether another has joined",
        INFRA,
        Replace(
            "_Subscriptions.begin",
            "is_needed(*command.subscription)",
            "False",
        ),
        ("faults/test_bus.py::test_who_joins_while_the_last_one_leaves",),
    ),
    OnFakes(
        "bus: globs and channels of one name are one",
        INFRA,
        Replace(
            "RedisEventBus._receive",
            "(pattern is not None, pattern or channel)",
            "(False, pattern or channel)",
        ),
        BUS,
    ),
    OnFakes(
        "bus: a handler that raises ends the round",
        INFRA,
        Replace("_handle", "not isinstance(error, Exception)", "True"),
        BUS,
    ),
    OnFakes(
        "bus: errors quote the payload",
        INFRA,
        Replace("_event_with", "type(error).__name__", "repr(error)"),
        EVENTS,
    ),
    OnFakes(
        "bus: NaN is read",
        INFRA,
        Replace("_no_constant", "raise ValueError", "return 0.0"),
        EVENTS,
    ),
    OnFakes(
        "bus: handlers of the fake are in the transaction",
        FAKES,
        Replace("_as_another_thread", "contextvars.Context().run(work)", "work()"),
        BUS,
    ),
    OnFakes(
        "bus: handlers of the fake wait for their own thread",
        FAKES,
        Never("_WriteTurns._queue", "writer.thread == threading.get_ident()"),
        BUS,
    ),
]

MUTANTS: list[Mutant] = [*CLIENTS, *CLUSTERS, *VERIFICATION, *PROVIDERS, *BUSES]
