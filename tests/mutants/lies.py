"""Lies: a twin, or code that both run, gives a wrong answer that looks right.

The first list holds the lies that once went unnoticed. The others hold two for each public class,
in the order of fakes.py and then of infra.py. A class without code of its own has none: a record
without defaults, or a fake that only mixes two others together.
"""

from __future__ import annotations

from tests.mutants.edits import Always, Drop, Edit, Never, Replace, Swap, Text
from tests.mutants.suite import FAKES, INFRA, Mutant, OnFakes

UNIT = ("unit/test_fakes.py",)
BY_FUNCTION = ("unit/test_update_by_function.py",)
DATABASE = ("contract/test_database.py",)
TABLES = ("contract/test_database.py", "unit/test_fakes.py")
PHONE_USERS = ("contract/test_phone_user_repository.py",)
TOKENS = ("contract/test_token_repository.py",)
USERS = ("contract/test_user_repository.py",)
ORGANIZATIONS = ("contract/test_organization_repository.py",)
BENCHMARKS = ("contract/test_benchmark_repository.py",)
SUBMISSIONS = ("contract/test_submission_repository.py",)
LOST_UPDATES = ("unit/test_lost_updates.py",)
OWN_TABLES = ("contract/test_own_tables.py",)
CLIENT = ("contract/test_key_value_client.py",)
CACHE = ("contract/test_cache_provider.py",)
CODES = ("contract/test_verification_cache.py",)
STORAGE = ("contract/test_storage_provider.py",)
PATHS = ("unit/test_storage_paths.py",)
BUS = ("contract/test_event_bus.py",)
EVENTS = ("unit/test_events.py",)
SMS = ("contract/test_sms_service.py", "faults/test_sms.py")
ERRORS = ("unit/test_errors_and_policy.py",)
PRIVACY = ("unit/test_privacy.py",)


def fake(name: str, edit: Edit, tests: tuple[str, ...]) -> Mutant:
    return OnFakes(f"lie: {name}", FAKES, edit, tests)


def shared(name: str, edit: Edit, tests: tuple[str, ...]) -> Mutant:
    return OnFakes(f"lie: {name}", INFRA, edit, tests)


UNNOTICED: list[Mutant] = [
    fake(
        "1: globs deliver before the channel",
        Swap(
            "_FakeListener._matches",
            "if channel in self._channels:\n    yield None",
            "yield from (glob for glob, matches in self._globs.items() if matches(channel))",
        ),
        CLIENT,
    ),
    shared(
        "1: the handler that subscribed last is called first",
        Replace(
            "_SubscriptionTable.add",
            "(*self.at(key), subscription)",
            "(subscription, *self.at(key))",
        ),
        BUS,
    ),
    fake(
        "2: unsubscribe ends the glob of that name",
        Replace(
            "_FakeListener._apply",
            "known.pop(name, None)",
            "known.pop(name, None)\nself._globs.pop(name, None)",
        ),
        CLIENT,
    ),
    fake(
        "2: punsubscribe ends the channel of that name",
        Replace(
            "_FakeListener._apply",
            "known.pop(name, None)",
            "known.pop(name, None)\nself._channels.pop(name, None)",
        ),
        CLIENT,
    ),
    shared(
        "2: the end of a subscription by name ends the glob",
        Always("RedisEventBus._leave", "left[0][0]"),
        BUS,
    ),
    fake(
        "3: a savepoint counts what another thread has not committed",
        Replace(
            "FakeDatabase._savepoint",
            "len(self._turns.undo) if self._turns.writer is block else 0",
            "len(self._turns.undo)",
        ),
        DATABASE,
    ),
    fake(
        "3: a savepoint takes back what another thread has not committed",
        Replace(
            "FakeDatabase._savepoint",
            "command == 'ROLLBACK TO SAVEPOINT' and self._turns.writer is block",
            "command == 'ROLLBACK TO SAVEPOINT'",
        ),
        DATABASE,
    ),
    fake(
        "3: a block that has read takes back what another thread has not committed",
        Replace(
            "_WriteTurns.give_up",
            "if self.writer is not block:\n    return\nself.undo_to(0)",
            "if self.writer is not None:\n    self.undo_to(0)\nif self.writer is not block:\n"
            "    return",
        ),
        DATABASE,
    ),
    fake(
        "4: others see the first of two uncommitted updates",
        Replace(
            "_IndexedRows._committed", "before.setdefault(key, row)", "before.__setitem__(key, row)"
        ),
        DATABASE,
    ),
    fake(
        "5: a COMMIT does not notice that the database is down",
        Replace(
            "FakeDatabase._check_connection",
            "block.handle.killed or self._down",
            "block.handle.killed",
        ),
        UNIT,
    ),
    fake(
        "5: a killed connection commits",
        Never("FakeDatabase._end", "command == 'COMMIT'"),
        UNIT,
    ),
    fake(
        "5: a block outlives an outage that it met",
        Drop("FakeDatabase._apply_fault", "self._doom(block, error, outermost=gone)"),
        UNIT,
    ),
    fake(
        "6: a block of Postgres outlives a failed read",
        Replace(
            "FakeDatabase._do_atomically",
            "if block is not None:\n    self._doom(block, error, outermost=block.handle.killed)",
            "if block is not None and write:\n"
            "    self._doom(block, error, outermost=block.handle.killed)",
        ),
        DATABASE,
    ),
    fake(
        "7: a CHECK that is NULL refuses the row",
        Replace("_ConstrainedRows._run_checks", "passes is False", "not passes"),
        DATABASE,
    ),
    fake(
        "8: a denied key is denied in every bucket",
        Replace(
            "FakeStorageProvider._delete_many",
            "(bucket, key) in self.denied",
            "key in {each for _, each in self.denied}",
        ),
        UNIT,
    ),
    fake(
        "8: a denied key of a batch is deleted all the same",
        Always("FakeStorageProvider._delete_many", "key not in refused"),
        UNIT,
    ),
    fake(
        "9: a copy is as old as its source",
        Replace(
            "FakeStorageProvider._copy",
            "replace(found, at=self._clock.now(), part_size=part_size)",
            "replace(found, part_size=part_size)",
        ),
        STORAGE,
    ),
    fake(
        "10: the fake cache has a clock of its own",
        Replace("FakeRedisClient.__init__", "self.server.clock", "infra.SystemClock()"),
        UNIT,
    ),
    shared(
        "10: reset_at is on the computer's clock",
        Replace("CacheProvider.check_rate_limit", "self._clock.now()", "SystemClock().now()"),
        CACHE,
    ),
    shared(
        "11: clear forgets the time between two codes",
        Replace(
            "VerificationCache.clear",
            "self._client.delete(self._keys(phone).code)",
            "keys = self._keys(phone)\n"
            "self._client.delete_many([keys.code, f'{keys.code}:resend'])",
        ),
        CODES,
    ),
    shared(
        "11: clear forgets how many codes were sent",
        Replace(
            "VerificationCache.clear",
            "self._client.delete(self._keys(phone).code)",
            "keys = self._keys(phone)\n"
            "self._client.delete_many([keys.code, f'{keys.code}:window'])",
        ),
        CODES,
    ),
    fake(
        "12: the end of an outage forgets faults",
        Replace("Faults.down", "self._down = value", "self._down, self._faults = value, []"),
        UNIT,
    ),
    fake(
        "12: an outage uses up faults",
        Replace(
            "Faults._take_fault",
            "self._check_reachable(name)",
            "if self._down:\n    self._faults = self._faults[1:]\nself._check_reachable(name)",
        ),
        UNIT,
    ),
]

FAKE_CLOCK: list[Mutant] = [
    fake(
        "FakeClock: time goes by in whole seconds",
        Replace("FakeClock.advance", "round(seconds * 1e9)", "round(seconds) * 10**9"),
        PRIVACY,
    ),
    fake(
        "FakeClock: the time of day has whole milliseconds",
        Replace("FakeClock.now", "self._elapsed // 1000", "self._elapsed // 10**6 * 1000"),
        PRIVACY,
    ),
    fake(
        "FakeClock: a start elsewhere is taken for UTC",
        Replace(
            "FakeClock.__init__", "infra._to_utc(now, 'now')", "now.replace(tzinfo=timezone.utc)"
        ),
        PRIVACY,
    ),
]

FAULTS: list[Mutant] = [
    fake(
        "Faults: once, whatever was asked for",
        Replace("Faults._next_fault", "fault.times -= 1", "fault.times = 0"),
        UNIT,
    ),
    fake(
        "Faults: a fault of SQL waits for ever",
        Replace("Faults.fail_next", "{*self._methods()} - self._unsupported", "self._methods()"),
        ("unit/test_fakes.py::test_faults_of_sql_are_refused",),
    ),
    fake(
        "Faults: the last fault told comes first",
        Replace(
            "Faults.fail_next",
            "[*self._faults, _Fault(method, error, times, after_apply, self)]",
            "[_Fault(method, error, times, after_apply, self), *self._faults]",
        ),
        UNIT,
    ),
    fake(
        "Faults: what is closed may be tried again",
        Replace("Faults._check_reachable", "not self._closed", "True"),
        CLIENT,
    ),
    fake(
        "Faults: all callers share one exception",
        Replace("_Fault.fresh_error", "copy.copy(self.error)", "self.error"),
        UNIT,
    ),
]

TABLE_RULES: list[Mutant] = [
    fake("Column: NULL unless told otherwise", Replace("Column.null", "False", "True"), UNIT),
    fake("Column: a length of its own", Replace("Column.length", "None", "255", nth=2), UNIT),
    shared(
        "ForeignKey: cascades unless told otherwise",
        Text("ForeignKey.on_delete", "restrict", "cascade"),
        (*TABLES, *USERS),
    ),
    shared(
        "ForeignKey: NULL unless told otherwise",
        Text("ForeignKey.on_delete", "restrict", "set null"),
        (*TABLES, *SUBMISSIONS),
    ),
    fake(
        "Table: no column is NOT NULL",
        Replace("Table._columns_of", "column.optional", "True"),
        UNIT,
    ),
    fake(
        "Table: MySQL has no length of a folded key",
        Never("_column_type", "size is None and mysql"),
        ("unit/test_folding.py",),
    ),
    fake(
        "Table: no column has a length",
        Replace("Table._columns_of", "(holds.size, None)", "(None, None)"),
        UNIT,
    ),
    shared(
        "TokenRepository: users with tokens stay",
        Text("TokenRepository.foreign_keys", "cascade", "restrict"),
        PHONE_USERS,
    ),
    shared(
        "PhoneUserRepository: a phone may have two users",
        Replace("PhoneUserRepository.unique", "('phone_hash',)", "('phone_hash', 'id')"),
        PHONE_USERS,
    ),
    shared(
        "UserRepository: user names may be taken twice",
        Replace("UserRepository.unique", "('username_folded',)", "('username_folded', 'id')"),
        USERS,
    ),
    shared(
        "SubmissionRepository: a version of any benchmark will do",
        Replace(
            "SubmissionRepository.foreign_keys",
            "ForeignKey(('benchmark_id', 'benchmark_version_id'), 'benchmark_versions', "
            "('benchmark_id', 'id'))",
            "ForeignKey(('benchmark_version_id',), 'benchmark_versions', ('id',))",
        ),
        SUBMISSIONS,
    ),
    shared(
        "Repository: the last text of a format is not checked",
        Replace("_Choice.holds", "self.texts", "self.texts[:-1]"),
        (*BENCHMARKS, *OWN_TABLES),
    ),
    shared(
        "Repository: a format of words is no check of the table",
        Text("_WORDS", ")+", "){99,}"),
        (*BENCHMARKS, *OWN_TABLES),
    ),
    shared(
        "Repository: a check of a format refuses NULL",
        Replace("_Choice.holds", "row[self.column] is None", "False"),
        OWN_TABLES,
    ),
    shared(
        "Repository: a rule may name any column",
        Replace("_Rules._check_columns", "name not in columns", "name is columns"),
        OWN_TABLES,
    ),
    shared(
        "Repository: two constraints may have one name",
        Replace("_Rules._check_names", "names.count(name) > 1", "names.count(name) > 2"),
        OWN_TABLES,
    ),
    shared(
        "Repository: unique keys of a list have the name of the first column",
        Replace("_Rules._unique_keys", "map(port._column, key)", "map(port._column, key[:1])"),
        OWN_TABLES,
    ),
    shared(
        "Repository.on: makes what cannot read its fields elsewhere",
        Replace(
            "Repository.on",
            "{*made.__abstractmethods__, *cls.elsewhere}",
            "{*made.__abstractmethods__}",
        ),
        OWN_TABLES,
    ),
    shared(
        "Repository.on: what it makes has no faults",
        Replace("Repository.on", "database._bases_on", "(database._backend,)"),
        OWN_TABLES,
    ),
    fake(
        "Faults: a class method may be made to fail",
        Replace("Faults._methods", "not isinstance(value, classmethod | staticmethod)", "True"),
        OWN_TABLES,
    ),
    shared(
        "ddl: every column may be NULL",
        Replace(
            "_TableWriter._column",
            "' NULL' if self._columns[name].optional else ' NOT NULL'",
            "' NULL'",
        ),
        OWN_TABLES,
    ),
    shared(
        "ddl: every reference cascades",
        Replace("_TableWriter._foreign_key", "key.on_delete.upper()", "'CASCADE'"),
        OWN_TABLES,
    ),
    shared(
        "ddl: tables come as they are given",
        Replace("ddl", "_parents_first(ports)", "ports"),
        OWN_TABLES,
    ),
    shared(
        "ddl: an index has any size",
        Replace("_TableWriter._key", "used > limit > 0", "False"),
        OWN_TABLES,
    ),
    shared(
        "ddl: a text of ASCII takes four bytes",
        Replace("_TableWriter._key", "name not in self._port.ascii", "True"),
        OWN_TABLES,
    ),
    shared(
        "ddl: a key on MySQL holds any text",
        Replace("_TableWriter._key", "self._syntax.kind(column).startswith('long ')", "False"),
        OWN_TABLES,
    ),
    shared(
        "ddl: a deletion sets what may not be NULL",
        Replace("_TableWriter._foreign_key", "key.on_delete == 'set null'", "False"),
        OWN_TABLES,
    ),
    fake(
        "Table: arguments do not replace the rules of the class",
        Replace(
            "Table.of",
            "{rule: named(key) for rule, key in rules.unique.items()} "
            "| {**infra._MAPPING.check('unique', unique)}",
            "{**infra._MAPPING.check('unique', unique)} "
            "| {rule: named(key) for rule, key in rules.unique.items()}",
        ),
        OWN_TABLES,
    ),
    fake(
        "Table: no text is ASCII only for its class",
        Replace(
            "Table.of",
            "[*named(repository.ascii), *infra._check_many('ascii', ascii)]",
            "[*infra._check_many('ascii', ascii)]",
        ),
        OWN_TABLES,
    ),
]

FAKE_DATABASE: list[Mutant] = [
    fake(
        "FakeDatabase: two updates are taken back in the order of making",
        Replace(
            "_WriteTurns.undo_to",
            "table, key, before, after = self.undo[-1]\ntable._put(key, after, before)\n"
            "del self.undo[-1]",
            "table, key, before, after = self.undo[mark]\ntable._put(key, after, before)\n"
            "del self.undo[mark]",
        ),
        DATABASE,
    ),
    fake(
        "FakeDatabase: half of a statement stays",
        Replace(
            "_WriteTurns._write",
            "self.undo_to(mark)",
            "if block is None:\n    self.undo_to(mark)",
        ),
        DATABASE,
    ),
    fake(
        "FakeDatabase: a rollback takes back what came before the block",
        Never("_WriteTurns._write", "block is None"),
        DATABASE,
    ),
    fake(
        "FakeDatabase: a restart commits",
        Drop("_WriteTurns.give_up", "self.undo_to(0)"),
        UNIT,
    ),
    fake(
        "FakeDatabase: an open block is no connection in use",
        Replace(
            "FakeDatabase.stats",
            "infra.PoolStats(None, len(self._open), len(self._open), 0, len(self._turns.waiters))",
            "infra.PoolStats(None, len(self._open), 0, len(self._open), len(self._turns.waiters))",
        ),
        DATABASE,
    ),
]

FAKE_TABLE: list[Mutant] = [
    fake(
        "FakeTable: a limit counts from the first row",
        Replace(
            "FakeTable._select.work",
            "self._in_order(rows, order_by, end)[offset:end]",
            "self._in_order(rows, order_by, end)[offset:limit]",
        ),
        TABLES,
    ),
    fake(
        "FakeTable: SET NULL checks the other foreign keys of the row",
        Never(
            "_ConstrainedRows._check_parents",
            "old is not None and self._key(old, reference.columns) == value",
        ),
        TABLES,
    ),
    fake(
        "FakeTable: of rows that are equal in the first column, a limit drops some",
        Replace(
            "_IndexedRows._without_later_rows",
            "operator.ge if descending else operator.le",
            "operator.gt if descending else operator.lt",
        ),
        TABLES,
    ),
    fake(
        "FakeTable: a page of a descending order has the smallest values",
        Replace(
            "_IndexedRows._without_later_rows",
            "operator.ge if descending else operator.le",
            "operator.le",
        ),
        TABLES,
    ),
    fake(
        "FakeTable: a limit forgets its offset before it sorts",
        Replace("FakeTable._select.work", "offset + limit", "limit"),
        TABLES,
    ),
    fake(
        "FakeDatabase: a read does not wait for another thread",
        Replace("FakeDatabase._interleaved", "turns.wait()", "pass"),
        LOST_UPDATES,
    ),
    fake(
        "FakeDatabase: a statement does not end the wait of another thread",
        Replace("FakeDatabase._interleaved", "turns.wake_others()", "pass"),
        LOST_UPDATES,
    ),
    fake(
        "FakeTable: an update counts what it changed",
        Replace(
            "FakeTable._change",
            "len(found)",
            "sum(row != {**row, **new} for row in found)",
        ),
        TABLES,
    ),
    fake(
        "FakeTable: another caller comes between an update by a function",
        Replace("FakeTable._update_each", "self._database._atomically(operation, work)", "work()"),
        BY_FUNCTION,
    ),
    fake(
        "FakeTable: a function of an update may change the row itself",
        Replace("FakeTable._changed_values", "changes(self._copy(row))", "changes(row)"),
        BY_FUNCTION,
    ),
    fake(
        "FakeTable: Postgres cuts off white space, as MySQL does",
        Always("_ColumnValues._fit_text", "self._is_mysql"),
        DATABASE,
    ),
    fake(
        "FakeTable: MySQL cuts off blanks only",
        Never("_ColumnValues._fit_text", "self._is_mysql"),
        DATABASE,
    ),
    fake(
        "FakeTable: numbers have 64 bits",
        Replace("_ColumnValues._fit_integer", "column.length or 32", "column.length or 64"),
        TABLES,
    ),
    fake(
        "FakeTable: ON DELETE SET NULL takes the first row only",
        Replace(
            "_ConstrainedRows._on_delete",
            "child._replace(key, before, child._values.fit_row({**before, **nulls}))",
            "child._replace(key, before, child._values.fit_row({**before, **nulls}))\nbreak",
        ),
        TABLES,
    ),
    fake(
        "FakeTable: a row keeps its place in an index",
        Replace("_IndexedRows._put", "(before := self._key(old, columns)) != after", "False"),
        TABLES,
    ),
]

FAKE_REPOSITORIES: list[Mutant] = [
    shared(
        "Repository: a class need not set its resource",
        Replace("_check_declared", "('record', 'table', 'resource')", "('record', 'table')"),
        UNIT,
    ),
    shared(
        "Repository: the message does not name the class that lacks an attribute",
        Replace("_check_declared", "type(repository)", "Repository"),
        UNIT,
    ),
    fake(
        "FakeRepository: equal values are in the order of ids, also of those that descend",
        Replace(
            "FakeRepository._rows",
            "'-' if descending else ''",
            "'-' if descending and name != 'id' else ''",
        ),
        (*DATABASE, *USERS),
    ),
    fake(
        "FakeRepository: only the first of several rows",
        Replace(
            "FakeRepository._insert",
            "self._table._insert(operation, *rows)",
            "self._table._insert(operation, *rows[:1])",
        ),
        BENCHMARKS,
    ),
    fake(
        "FakePhoneUserRepository: every key is the same",
        Replace("FakePhoneUserRepository.__init__", "hash_key", "_TEST_KEY"),
        PHONE_USERS,
    ),
    fake(
        "FakePhoneUserRepository: the computer's clock",
        Replace(
            "FakePhoneUserRepository.__init__",
            "super().__init__(database or _with_schema('mysql', clock), hash_key, clock=clock)",
            "super().__init__(database or _with_schema('mysql', clock), hash_key, "
            "clock=infra.SystemClock())",
        ),
        PHONE_USERS,
    ),
    fake(
        "FakeTokenRepository: the computer's clock",
        Replace(
            "_OwnDatabase.__init__",
            "super().__init__(database, clock=clock)",
            "super().__init__(database, clock=infra.SystemClock())",
        ),
        TOKENS,
    ),
    fake(
        "FakeUserRepository, FakeOrganizationRepository: the computer's clock",
        Replace(
            "_OwnDatabase.__init__",
            "super().__init__(database, clock=clock)",
            "super().__init__(database)",
        ),
        USERS,
    ),
    fake(
        "FakeUserRepository, FakeOrganizationRepository: on another engine",
        Replace(
            "_with_schema",
            "FakeDatabase(engine, MYSQL_TABLES, clock=clock)",
            "FakeDatabase('mysql', MYSQL_TABLES, clock=clock)",
        ),
        UNIT,
    ),
    fake(
        "FakeTokenRepository: on another engine",
        Replace(
            "_with_schema",
            "FakeDatabase(engine, MYSQL_TABLES, clock=clock)",
            "FakeDatabase('postgres', MYSQL_TABLES, clock=clock)",
        ),
        UNIT,
    ),
    fake(
        "FakeRepository: its errors name no engine",
        Replace("FakeRepository.__init__", "database.engine", "'fake'"),
        UNIT,
    ),
    fake(
        "FakeBenchmarkRepository: tags lose their case",
        Replace("FakeBenchmarkRepository._tags_of", "row['tag']", "row['tag'].lower()"),
        BENCHMARKS,
    ),
    fake(
        "FakeBenchmarkRepository: no more than ten tags",
        Replace(
            "FakeBenchmarkRepository._tags_of", "tuple(sorted(names))", "tuple(sorted(names)[:10])"
        ),
        BENCHMARKS,
    ),
    fake(
        "FakeSubmissionRepository: a score of 0 is none",
        Replace(
            "FakeSubmissionRepository._rank",
            "row['aggregate_score'] is not None",
            "row['aggregate_score']",
        ),
        SUBMISSIONS,
    ),
    fake(
        "FakeSubmissionRepository: of equal scores the later comes first",
        Replace(
            "FakeSubmissionRepository._rank",
            "['-aggregate_score', 'created_at', 'id']",
            "['-aggregate_score', '-created_at', '-id']",
        ),
        SUBMISSIONS,
    ),
    fake(
        "FakeSubmissionRepository: the best are chosen before they are sorted",
        Replace(
            "FakeSubmissionRepository._rank",
            "table._in_order(rows, ['-aggregate_score', 'created_at', 'id'], limit)[:limit]",
            "table._in_order(rows[:limit], ['-aggregate_score', 'created_at', 'id'], limit)",
        ),
        SUBMISSIONS,
    ),
]

FAKE_REDIS: list[Mutant] = [
    fake(
        "FakeRedisServer: a second more to live",
        Replace("FakeRedisServer._entry", "self._now()", "self._now() - 1"),
        CLIENT,
    ),
    fake(
        "FakeRedisServer: a lost connection loses the subscriptions",
        Replace(
            "FakeRedisServer.drop_connections",
            "listener._queue.append(None)",
            "listener._queue.append(None)\nlistener._channels.clear()",
        ),
        UNIT,
    ),
    fake(
        "FakeRedisServer: a listener counts once",
        Replace("FakeRedisServer._publish", "len(found)", "bool(found)"),
        CLIENT,
    ),
    fake(
        "Health: of a Redis that is a database",
        Text("FakeRedisClient.health_check", "redis", "mysql"),
        CLIENT,
    ),
    fake(
        "Health: of a store that is S3",
        Replace("FakeStorageProvider.health_check", "'storage'", "'s3'"),
        STORAGE,
    ),
    fake(
        "FakeRedisClient: times to live have whole seconds",
        Replace("FakeRedisServer._expiry", "ttl / 1000", "ttl // 1000"),
        CLIENT,
    ),
    fake(
        "FakeRedisClient: only the first of many expires",
        Replace(
            "FakeRedisClient._set_many",
            "for key, value in pairs:\n    self._set(key, value, ttl)",
            "for key, value in pairs:\n    self._set(key, value, ttl)\n    ttl = None",
        ),
        CLIENT,
    ),
    fake(
        "FakeRedisClient: scan finds what has expired",
        Replace("FakeRedisClient._scan", "self.server._entry(key) is not None", "True"),
        CLIENT,
    ),
    fake(
        "FakeRedisClient: expire never shortens",
        Replace(
            "FakeRedisClient._pexpire",
            "(entry[0], server._expiry(ttl))",
            "(entry[0], max(entry[1] or 0.0, server._expiry(ttl) or 0.0))",
        ),
        CLIENT,
    ),
    fake(
        "Listener: the fake's closed one is still counted",
        Drop(
            "_FakeListener.close",
            "with contextlib.suppress(ValueError):\n    self._server._listeners.remove(self)",
        ),
        CLIENT,
    ),
    fake(
        "FakeCacheProvider: a prefix gets a colon",
        Replace(
            "FakeCacheProvider.__init__",
            "super().__init__(client, prefix, clock=clock, **named)",
            "super().__init__(client, prefix and prefix.rstrip(':') + ':', clock=clock, **named)",
        ),
        CACHE,
    ),
    fake(
        "FakeCacheProvider: down is a miss, also of one that does not fail open",
        Replace(
            "FakeCacheProvider._no_answer",
            "raise infra.ConnectionError('FakeCacheProvider is down on purpose', service='redis')",
            "return None",
        ),
        UNIT,
    ),
    fake(
        "FakeVerificationCache: limits are forgotten",
        Replace(
            "FakeVerificationCache.__init__",
            "super().__init__(client or FakeRedisClient(), key, *limits, **named)",
            "super().__init__(client or FakeRedisClient(), key, *limits[:1], **named)",
        ),
        UNIT,
    ),
    fake(
        "FakeVerificationCache: every key is the same",
        Replace(
            "FakeVerificationCache.__init__",
            "super().__init__(client or FakeRedisClient(), key, *limits, **named)",
            "super().__init__(client or FakeRedisClient(), key and _TEST_KEY, *limits, **named)",
        ),
        CODES,
    ),
]

FAKE_STORAGE: list[Mutant] = [
    fake(
        "FakeStorageProvider: a page begins with the last key of the one before",
        Replace(
            "FakeStorageProvider._list",
            "bisect.bisect(keys, token)",
            "bisect.bisect_left(keys, token)",
        ),
        STORAGE,
    ),
    fake(
        "FakeStorageProvider: a copy has the default type",
        Replace(
            "FakeStorageProvider._copy",
            "replace(found, at=self._clock.now(), part_size=part_size)",
            "replace(found, at=self._clock.now(), part_size=part_size, content_type='text/plain')",
        ),
        STORAGE,
    ),
    fake(
        "FakeStorageProvider: HEAD has a body",
        Replace("FakeStorageProvider.fetch", "method == 'GET'", "method in ('GET', 'HEAD')"),
        STORAGE,
    ),
    fake(
        "FakeStorageProvider: the ETag of parts is that of the whole",
        Always("_Object.etag", "not self.part_size"),
        STORAGE,
    ),
    fake(
        "FakeStorageProvider: a bucket made again is empty",
        Replace(
            "FakeStorageProvider._create_bucket",
            "self._buckets.setdefault(bucket, {})",
            "self._buckets[bucket] = {}",
        ),
        STORAGE,
    ),
    fake(
        "FakeStorageProvider: a URL lives a second longer",
        Replace(
            "FakeStorageProvider.fetch",
            "self._clock.now() >= infra._later(signed, lifetime)",
            "self._clock.now() > infra._later(signed, lifetime)",
        ),
        (*UNIT, *STORAGE, "faults/test_storage.py"),
    ),
]

FAKE_OTHERS: list[Mutant] = [
    fake(
        "FakeEventBus: on_reconnect is lost",
        Replace("FakeEventBus.__init__", "on_reconnect", "None"),
        (*UNIT, *BUS, "properties/test_bus_machine.py"),
    ),
    fake(
        "FakeEventBus: the publisher waits for no handler",
        Replace(
            "_FakeListener._drain",
            "_as_another_thread(deliver or self._announce_reconnect)",
            "if item is None or item[2] != '':\n"
            "    _as_another_thread(deliver or self._announce_reconnect)",
        ),
        CLIENT,
    ),
    fake(
        "FakeSmsService: the newest message comes first",
        Replace("FakeSmsService._send", "self.outbox.append(sent)", "self.outbox.insert(0, sent)"),
        SMS,
    ),
    fake(
        "FakeSmsService: a code is in the text only",
        Replace(
            "FakeSmsService._send",
            "SentSms(f'fake-{infra.new_id()}', phone, message, code)",
            "SentSms(f'fake-{infra.new_id()}', phone, message, None)",
        ),
        (*SMS, *CODES),
    ),
    fake(
        "SentSms: phone and message change places",
        Swap("SentSms", "phone: str", "message: str"),
        (*SMS, *CODES),
    ),
    fake(
        "SentSms: the repr shows the whole number",
        Replace("SentSms.__repr__", "infra.mask_phone(self.phone)", "self.phone"),
        UNIT,
    ),
    fake(
        "FakeInfrastructure: a block may end with unused faults",
        Never("FakeInfrastructure.__exit__", "exc_info[0] is None"),
        UNIT,
    ),
    fake(
        "FakeDatabase: a block may end with unused faults",
        Never("_CloseableFaults.__exit__", "exc_info[0] is None"),
        ("unit/test_fakes.py::test_a_block_of_one_fake_fails_that_ends_with_unused_faults",),
    ),
    shared(
        "RedisClient: down may be set, and changes nothing",
        Never("_FakeOnlyAttribute.__set__", "type(instance).__module__ == __name__"),
        UNIT,
    ),
    fake(
        "FakeSmsService: a fault of send_sms does not reach codes",
        Replace("FakeSmsService._simpler", "{'send_verification_code': 'send_sms'}", "{}"),
        UNIT,
    ),
    shared(
        "VerificationConfig: no time between two codes",
        Replace("VerificationConfig.resend_after", "30.0", "0.0"),
        ("unit/test_configuration.py",),
    ),
    shared(
        "VerificationConfig: one guess more",
        Replace("VerificationConfig.max_guesses", "10", "11"),
        ("unit/test_configuration.py",),
    ),
    fake(
        "FakeInfrastructure: codes are in a Redis of their own",
        Replace(
            "FakeInfrastructure.verification",
            "FakeVerificationCache(self.redis)",
            "FakeVerificationCache(FakeRedisClient(clock=self.clock))",
        ),
        UNIT,
    ),
    fake(
        "FakeInfrastructure: both databases are of one engine",
        Replace(
            "FakeInfrastructure._engines",
            "self._engine or 'postgres'",
            "self._engine or 'mysql'",
        ),
        UNIT,
    ),
    fake(
        "FakeInfrastructure: any clock will do",
        Never("FakeInfrastructure.__init__", "not isinstance(self._fake_clock, FakeClock)"),
        UNIT,
    ),
    fake(
        "FakeInfrastructure: the storage is on the computer's clock",
        Replace(
            "FakeInfrastructure.storage",
            "FakeStorageProvider(clock=self.clock, observer=self.observer)",
            "FakeStorageProvider(observer=self.observer)",
        ),
        UNIT,
    ),
    fake(
        "FakeInfrastructure: tokens are in a database of their own",
        Replace(
            "FakeInfrastructure.tokens",
            "FakeTokenRepository(self.accounts, clock=self.clock)",
            "FakeTokenRepository(clock=self.clock)",
        ),
        UNIT,
    ),
    fake(
        "FakeInfrastructure: events are in a Redis of their own",
        Replace(
            "FakeInfrastructure.bus",
            "FakeEventBus(self.redis, prefix=prefix, clock=self.clock)",
            "FakeEventBus()",
        ),
        UNIT,
    ),
    fake(
        "FakeInfrastructure: submissions are on the computer's clock",
        Replace(
            "FakeInfrastructure.submissions",
            "FakeSubmissionRepository(self.exchange, clock=self.clock)",
            "FakeSubmissionRepository(self.exchange, clock=infra.SystemClock())",
        ),
        UNIT,
    ),
]

ERROR_CLASSES: list[Mutant] = [
    shared(
        "ConflictError: the rule's name is lost",
        Replace("ConflictError.__init__", "self.constraint = constraint", "self.constraint = None"),
        DATABASE,
    ),
    shared(
        "ConflictError: every rule is a unique one",
        Replace("ConflictError.__init__", "self.kind = kind", "self.kind = kind and 'unique'"),
        DATABASE,
    ),
    shared(
        "InfrastructureError: False does not overrule a class that is retryable",
        Replace("InfrastructureError.__init__", "retryable", "retryable or None"),
        CLIENT,
    ),
    shared(
        "InfrastructureError: does not say the operation",
        Replace("InfrastructureError.__init__", "operation", "None"),
        CLIENT,
    ),
    shared(
        "InfrastructureError: is worth another attempt unless told otherwise",
        Replace("InfrastructureError.retryable", "False", "True"),
        DATABASE,
    ),
    shared(
        "ConnectionError: is of no use to try again",
        Replace("ConnectionError.retryable", "True", "False"),
        ERRORS,
    ),
    shared(
        "TimeoutError: is of no use to try again",
        Replace("TimeoutError.retryable", "True", "False"),
        ERRORS,
    ),
    shared(
        "SmsError: unknown unless told otherwise",
        Text("SmsError.__init__", "rejected", "unknown"),
        (*SMS, *CODES),
    ),
    shared(
        "SmsError: asks for no time to wait",
        Replace("SmsError.__init__", "self.retry_after = retry_after", "self.retry_after = None"),
        (*SMS, *ERRORS),
    ),
    shared(
        "RateLimitedError: is of no use to try again",
        Replace("RateLimitedError.retryable", "True", "False"),
        (*CODES, *ERRORS),
    ),
    shared(
        "RateLimitedError: the time to wait in whole seconds",
        Replace(
            "_RetryLaterError.__init__",
            "self.retry_after = retry_after",
            "self.retry_after = retry_after // 1",
        ),
        (*CODES, *ERRORS),
    ),
    shared(
        "NotFoundError: everything is an object",
        Replace(
            "NotFoundError.__init__",
            "self.resource = resource",
            "self.resource = resource and 'object'",
        ),
        STORAGE,
    ),
    shared(
        "NotFoundError: nothing is a thing",
        Replace("NotFoundError.__init__", "self.resource = resource", "self.resource = None"),
        USERS,
    ),
    shared(
        "InfrastructureError: has no code",
        Replace("InfrastructureError.__init__", "code", "None"),
        UNIT,
    ),
    shared(
        "InfrastructureError: the code in lower case",
        Replace("InfrastructureError.__init__", "code", "code and str(code).lower()"),
        UNIT,
    ),
]

CLOCKS_AND_IDS: list[Mutant] = [
    shared(
        "SystemClock: the time of day has whole seconds",
        Replace(
            "SystemClock.now",
            "datetime.now(timezone.utc)",
            "datetime.now(timezone.utc).replace(microsecond=0)",
        ),
        PRIVACY,
    ),
    shared(
        "SystemClock: sleeps a tenth",
        Replace("SystemClock.sleep", "time.sleep(seconds)", "time.sleep(seconds / 10)"),
        PRIVACY,
    ),
    shared(
        "new_id: of a clock that stands still, ids do not grow",
        Replace("new_id", "last + 1 + (random_bits >> 32)", "value | random_bits >> 3"),
        (*PRIVACY, *USERS),
    ),
    shared(
        "normalize_phone: a 0 in brackets is part of the number",
        Never("normalize_phone", "re.search('\\\\([ .-]*0+[ .)-]', text)"),
        ("unit/test_privacy.py",),
    ),
    fake(
        "FakeStorageProvider: a URL may have a fragment",
        Replace("FakeStorageProvider.fetch", "'#' not in url", "True"),
        UNIT,
    ),
    shared(
        "TokenRepository: an empty token is refused",
        Replace(
            "TokenRepository._of",
            "_plain(token)",
            "_check_text('token', token, empty=False)",
        ),
        ("contract/test_token_repository.py",),
    ),
    shared(
        "normalize_phone: a number may have sixteen digits",
        Text("normalize_phone", "{6,14}", "{6,15}"),
        PRIVACY,
    ),
    shared(
        "mask_phone: five digits",
        Replace("mask_phone", "-4", "-5"),
        (*PRIVACY, *SMS),
    ),
    shared(
        "hash_phone: a number and its spelling differ",
        Replace("hash_phone", "normalize_phone(phone)", "phone"),
        (*PRIVACY, *PHONE_USERS),
    ),
    shared("hash_phone: no key counts", Never("hash_phone", "key is not None"), PRIVACY),
    shared(
        "generate_code: begins with a 0",
        Replace("generate_code", "10 ** digits", "10 ** (digits - 1)"),
        PRIVACY,
    ),
    shared(
        "generate_code: has always six digits",
        Replace(
            "generate_code",
            "f'{secrets.randbelow(10 ** digits):0{digits}}'",
            "f'{secrets.randbelow(10 ** 6):06}'",
        ),
        PRIVACY,
    ),
]

DATABASES: list[Mutant] = [
    shared(
        "Database: run outside a block has no transaction",
        Replace(
            "Database.run.attempt",
            "with self.transaction():\n    return _not_deferred(fn())",
            "return fn()",
        ),
        DATABASE,
    ),
    shared(
        "Database: insert_many counts its last batch only",
        Replace("Database.insert_many", "count += len(batch)", "count = len(batch)"),
        DATABASE,
    ),
    shared(
        "Database: a nested block heals a deadlock of MySQL",
        Replace(
            "_Transactions._doom",
            "block.doom, block.doom_depth = error, 1",
            "block.doom, block.doom_depth = error, block.depth",
        ),
        UNIT,
    ),
    shared(
        "Database: the end of a block that an error ended is silent",
        Never("_Transactions._leave", "error is None and doom is not None"),
        DATABASE,
    ),
    shared(
        "Database: an error in an inner block is never healed",
        Replace("_Transactions._leave", "block.doom = None\nblock.depth -= 1", "block.depth -= 1"),
        DATABASE,
    ),
]

REPOSITORIES: list[Mutant] = [
    shared(
        "Repository: the total counts without the filters",
        Replace(
            "_RecordStore._page",
            "self._number(operation, where)",
            "self._number(operation, {})",
        ),
        USERS,
    ),
    shared(
        "Repository: times that are given are overwritten",
        Replace(
            "Repository._filled",
            "value is FILLED or value is None",
            "value is FILLED or value is None or (name == 'created_at' and name in values)",
        ),
        (*USERS, *PHONE_USERS),
    ),
    shared(
        "Repository: a sort field that does not exist is dropped",
        Replace(
            "_RecordSchema._problem", "self.sort_fields is not _RecordSchema.sort_fields", "False"
        ),
        ("unit/test_fakes.py::test_attributes_of_a_repository_that_cannot_be_meant",),
    ),
    shared(
        "Repository: a column of any type has a length",
        Replace(
            "_FieldColumn._can_have_length",
            "self.kind in (str, bytes) and _COUNT.valid(length)",
            "_COUNT.valid(length)",
        ),
        ("unit/test_fakes.py::test_attributes_of_a_repository_that_cannot_be_meant",),
    ),
    shared(
        "Repository: update leaves updated_at",
        Never("Repository._edited", "'updated_at' in values"),
        USERS,
    ),
    shared(
        "Repository: minus zero is kept",
        Replace("_FieldColumn.number", "float(value) + 0.0", "float(value)"),
        SUBMISSIONS,
    ),
    shared(
        "Repository: the second page begins one late",
        Replace(
            "_RecordStore._page",
            "(query.page - 1) * query.per_page",
            "(query.page - 1) * (query.per_page + 1)",
        ),
        USERS,
    ),
    shared(
        "Repository: a descending order is that of the first column only",
        Replace(
            "_RecordStore._order",
            "(name, descending)",
            "(name, descending and name not in self.key)",
        ),
        USERS,
    ),
    shared(
        "Repository: a search trims its text",
        Replace(
            "_RecordStore._search",
            "_folded(_check_text('text', text, longest=200))",
            "_folded(_check_text('text', text, longest=200)).strip()",
        ),
        ORGANIZATIONS,
    ),
    shared("Query: a page has 100 records", Replace("Query.per_page", "50", "100"), USERS),
    shared("Query: the last comes first", Replace("Query.descending", "False", "True"), USERS),
    shared(
        "Page: says that it is the first",
        Replace(
            "_RecordStore._page",
            "Page([*items], query.page, query.per_page, total, last)",
            "Page(items, 1, query.per_page, total, last)",
        ),
        USERS,
    ),
    shared(
        "Page: of members says how many there are on it",
        Replace("OrganizationRepository.find_members", "page.per_page", "len(items)"),
        ORGANIZATIONS,
    ),
    shared(
        "PhoneUser: is verified unless told otherwise",
        Replace("PhoneUser.is_verified", "False", "True"),
        PHONE_USERS,
    ),
    shared(
        "PhoneUser: is a customer unless told otherwise",
        Replace("PhoneUser.user_type", "None", "'customer'", nth=2),
        PHONE_USERS,
    ),
    shared(
        "User: is a contributor unless told otherwise",
        Text("User.role", "registered", "contributor"),
        USERS,
    ),
    shared(
        "User: the e-mail address is verified unless told otherwise",
        Replace("User.email_verified", "False", "True"),
        USERS,
    ),
    shared(
        "Organization: is an enterprise unless told otherwise",
        Text("Organization.organization_type", "individual", "enterprise"),
        ORGANIZATIONS,
    ),
    shared(
        "Organization: is verified unless told otherwise",
        Replace("Organization.verified", "False", "True"),
        ORGANIZATIONS,
    ),
    shared(
        "Benchmark: is active unless told otherwise",
        Text("Benchmark.status", "draft", "active"),
        BENCHMARKS,
    ),
    shared(
        "Benchmark: begins with 0.1.0",
        Text("Benchmark.version", "1.0.0", "0.1.0"),
        BENCHMARKS,
    ),
    shared(
        "Submission: is unlisted unless told otherwise",
        Text("Submission.visibility", "public", "unlisted"),
        SUBMISSIONS,
    ),
    shared(
        "Submission: is verified by the community unless told otherwise",
        Text("Submission.verification_level", "unverified", "community_verified"),
        SUBMISSIONS,
    ),
    shared(
        "PhoneUserRepository: counts all types",
        Replace("PhoneUserRepository.count", "{'user_type': where}", "{}"),
        PHONE_USERS,
    ),
    shared(
        "PhoneUserRepository: the type of a phone's new user is lost",
        Replace(
            "PhoneUserRepository.create_for_phone",
            "PhoneUser(hash_phone(phone, self._hash_key), code, user_type)",
            "PhoneUser(self._hash(phone), code)",
        ),
        PHONE_USERS,
    ),
    shared(
        "PhoneUserRepository: calling codes of one digit have two",
        Text("_CALLING_CODES", "(1|7|2[07]", "(1[2-9]|7|2[07]"),
        PHONE_USERS,
    ),
    shared(
        "TokenRepository: the oldest come first",
        Replace(
            "TokenRepository.find_by_user",
            "[('created_at', True), ('id', True)]",
            "[('created_at', False), ('id', False)]",
        ),
        TOKENS,
    ),
    shared(
        "TokenRepository: what is revoked may be revoked again, for another reason",
        Replace(
            "TokenRepository.revoke", "{**self._of(token), 'revoked_at': None}", "self._of(token)"
        ),
        TOKENS,
    ),
    shared(
        "TokenRepository: a grace ends a moment early",
        Replace(
            "TokenRepository._rotate",
            "now - old.revoked_at > grace",
            "now - old.revoked_at >= grace",
        ),
        TOKENS,
    ),
    shared(
        "TokenRepository: a rotation forgets the device",
        Replace(
            "TokenRepository._rotate",
            "('user_id', 'family', *Device.__annotations__)",
            "('user_id', 'family', 'device_id', 'device_name')",
        ),
        TOKENS,
    ),
    shared(
        "TokenRepository: a token is valid at its last moment",
        Replace(
            "TokenRepository._valid",
            "self._clock.now()",
            "self._clock.now() - timedelta(microseconds=1)",
        ),
        TOKENS,
    ),
    shared(
        "UserRepository: to be active is to be changed",
        Replace(
            "UserRepository.update_last_active",
            "{'last_active_at': self._clock.now()}",
            "dict.fromkeys(('last_active_at', 'updated_at'), self._clock.now())",
        ),
        USERS,
    ),
    shared(
        "UserRepository: organizations in the order of joining",
        Replace(
            "UserRepository.find_organizations",
            "'organization.name'",
            "'joined_at'",
        ),
        USERS,
    ),
    shared(
        "UserRepository: somebody else leaves",
        Replace(
            "UserRepository.remove_from_organization.work",
            "self._members._remove(operation, member) > 0",
            "self._members._remove(operation, member) >= 0",
        ),
        USERS,
    ),
    shared(
        "UserRepository: an address confirmed late counts, whatever it was",
        Replace(
            "UserRepository.update_email_verified",
            "{**identity, 'email': self._checked({'email': email})['email']}",
            "identity",
        ),
        USERS,
    ),
    shared(
        "Credentials: who has no password has an empty one",
        Replace("UserRepository.find_credentials", "rows[0][-1]", "rows[0][-1] or ''"),
        USERS,
    ),
    shared(
        "Credentials: a password that is taken away is another one",
        Replace("UserRepository.update_password", "password_hash", "password_hash or '!'"),
        USERS,
    ),
    shared(
        "Membership: every user is a member, owners too",
        Replace("UserRepository.find_organizations", "member.role", "'member'"),
        USERS,
    ),
    shared(
        "Member: every user is a member, owners too",
        Replace("OrganizationRepository.find_members", "member.role", "'member'"),
        ORGANIZATIONS,
    ),
    shared(
        "Rotation: what was never issued has expired",
        Replace("TokenRepository._rotate", "Rotation('unknown')", "Rotation('expired')"),
        TOKENS,
    ),
    shared(
        "Issued: the record is of no device",
        Replace(
            "TokenRepository._issue",
            "Issued(token, RefreshToken(**values))",
            "Issued(token, RefreshToken(**{**values, 'device_name': None}))",
        ),
        TOKENS,
    ),
    shared(
        "RefreshToken: a family that was reused is just revoked",
        Replace(
            "TokenRepository._rotate",
            "self._revoke_all('rotate', {'family': old.family}, 'reused')",
            "self._revoke_all('rotate', {'family': old.family}, 'revoked')",
        ),
        TOKENS,
    ),
    shared(
        "Device: a new token has none",
        Replace("TokenRepository.issue", "device or Device()", "Device()"),
        TOKENS,
    ),
    shared(
        "Membership: the user joined when the organization began",
        Replace(
            "UserRepository.find_organizations",
            "member.created_at",
            "found[member.organization_id].created_at",
        ),
        USERS,
    ),
    shared(
        "Member: joined when the user was made",
        Replace(
            "OrganizationRepository.find_members",
            "member.created_at",
            "users[member.user_id].created_at",
        ),
        ORGANIZATIONS,
    ),
    shared(
        "BenchmarkVersion: none is breaking",
        Replace(
            "BenchmarkRepository._version",
            "{'changelog': changelog, 'breaking': breaking}",
            "{'changelog': changelog, 'breaking': False}",
        ),
        BENCHMARKS,
    ),
    shared(
        "BenchmarkVersion: the number of the last one twice",
        Replace(
            "BenchmarkRepository.update.work",
            "{**draft, 'number': number}",
            "{**draft, 'number': number + 1}",
        ),
        BENCHMARKS,
    ),
    shared(
        "LeaderboardEntry: the name to show is the user name",
        Swap("LeaderboardEntry", "username: str", "display_name: str"),
        SUBMISSIONS,
    ),
    fake(
        "LeaderboardEntry: of two organizations the name of one",
        Replace(
            "FakeSubmissionRepository._rank",
            "organization[row['organization_id']]",
            "organization[max(filter(None, {row['organization_id'] for row in rows}), "
            "default=None)]",
        ),
        SUBMISSIONS,
    ),
    shared(
        "Rotation: what has expired is revoked",
        Replace("TokenRepository._rotate", "Rotation('expired')", "Rotation('revoked')"),
        TOKENS,
    ),
    shared(
        "Issued: a token lives a second longer",
        Replace(
            "TokenRepository._issue",
            "timedelta(seconds=ttl)",
            "timedelta(seconds=ttl + 1)",
        ),
        TOKENS,
    ),
    shared(
        "RefreshToken: a rotation is no use",
        Replace(
            "TokenRepository._rotate",
            "{'last_used_at': now, 'revoked_at': now, 'revoke_reason': 'rotated', 'replaced_by': "
            "successor}",
            "{'revoked_at': now, 'revoke_reason': 'rotated', 'replaced_by': successor}",
        ),
        TOKENS,
    ),
    shared(
        "Device: name and id change places",
        Swap("Device", "device_id: str | None = None", "device_name: str | None = None"),
        TOKENS,
    ),
    shared(
        "OrganizationRepository: the date of an earlier verification stays",
        Replace(
            "OrganizationRepository.unverify",
            "{'verified': False, 'verification_date': None}",
            "{'verified': False}",
        ),
        ORGANIZATIONS,
    ),
    shared(
        "OrganizationRepository: owners are no members",
        Replace(
            "OrganizationRepository.count_members",
            "self._members._identity(id, 'organization_id')",
            "{**self._members._identity(id, 'organization_id'), 'role': 'member'}",
        ),
        ORGANIZATIONS,
    ),
    shared(
        "OrganizationRepository: who creates one is an admin",
        Replace(
            "OrganizationRepository.create",
            "_Member(values['id'], owner_id, 'owner')",
            "_Member(values['id'], owner_id, 'admin')",
        ),
        ORGANIZATIONS,
    ),
    shared(
        "BenchmarkRepository: a breaking version keeps the minor number",
        Replace(
            "BenchmarkRepository.update",
            "f'{major + 1}.0.0' if breaking else f'{major}.{minor + 1}.0'",
            "f'{major + 1}.{minor}.0' if breaking else f'{major}.{minor + 1}.0'",
        ),
        BENCHMARKS,
    ),
    shared(
        "BenchmarkRepository: the oldest version comes first",
        Replace(
            "BenchmarkRepository.find_version_history", "[('number', True)]", "[('number', False)]"
        ),
        BENCHMARKS,
    ),
    shared(
        "BenchmarkRepository: a version is as old as its benchmark",
        Replace("BenchmarkRepository._version", "values['updated_at']", "values['created_at']"),
        BENCHMARKS,
    ),
    shared(
        "BenchmarkRepository: a move of the status is no change",
        Replace(
            "BenchmarkRepository.update_status",
            "{**self._checked({'status': status}), **self._edit_stamps()}",
            "{**self._checked({'status': status})}",
        ),
        BENCHMARKS,
    ),
    shared(
        "SubmissionRepository: ranks without gaps",
        Replace(
            "SubmissionRepository.leaderboard",
            "rank, last = place, row[3]",
            "rank, last = rank + 1, row[3]",
        ),
        SUBMISSIONS,
    ),
    shared(
        "SubmissionRepository: what is not verified any more keeps its date",
        Replace(
            "SubmissionRepository.update_verification",
            "None if level == 'unverified' else self._clock.now()",
            "self._clock.now()",
        ),
        SUBMISSIONS,
    ),
    shared(
        "SubmissionRepository: of equal scores the latest is the best",
        Replace(
            "SubmissionRepository.find_best_for_model",
            "('created_at', False)",
            "('created_at', True)",
        ),
        SUBMISSIONS,
    ),
    shared(
        "SubmissionRepository: a model's private submissions are none",
        Replace(
            "SubmissionRepository.exists_for_model_version",
            "{'benchmark_version_id': version_id, 'model': model}",
            "{'benchmark_version_id': version_id, 'model': model, 'visibility': 'public'}",
        ),
        SUBMISSIONS,
    ),
]

REDIS: list[Mutant] = [
    shared(
        "KeyValueClient: ttl in whole seconds",
        Replace("KeyValueClient.ttl", "milliseconds / 1000", "milliseconds // 1000"),
        CLIENT,
    ),
    shared(
        "KeyValueClient: delete has always deleted",
        Replace(
            "KeyValueClient.delete",
            "self._delete('DEL', [_check_key(key)]) == 1",
            "self._delete('DEL', [_check_key(key)]) >= 0",
        ),
        CLIENT,
    ),
    shared(
        "KeyValueClient: durations are rounded down",
        Replace("_milliseconds", "_whole_milliseconds(seconds)", "max(1, int(seconds * 1000))"),
        UNIT,
    ),
    shared(
        "Listener: only the first of several globs ends",
        Replace("Listener.punsubscribe", "globs", "globs[:1]"),
        CLIENT,
    ),
    shared(
        "Listener: only the first of several channels ends",
        Replace("Listener.unsubscribe", "channels", "channels[:1]"),
        CLIENT,
    ),
    shared(
        "Listener: handlers are told the glob for the channel",
        Replace(
            "Listener._deliver",
            "_notify(f'a handler of channel {channel}', self._on_message, channel, pattern, "
            "payload)",
            "_notify('', self._on_message, pattern or channel, pattern, payload)",
        ),
        CLIENT,
    ),
    shared(
        "RedisCacheProvider: what get_or_set fills lives as long as ever",
        Replace(
            "_Fill.run",
            "self.ask(self._cache._put, self._name, self.text, self._seconds)",
            "self.ask(self._cache._put, self._name, self.text, self._cache._default_ttl)",
        ),
        CACHE,
    ),
    shared(
        "RedisCacheProvider: times to live have whole seconds",
        Replace("CacheProvider._seconds", "ttl or None", "round(ttl) or None"),
        CACHE,
    ),
    shared(
        "RedisCacheProvider: delete_pattern counts its last batch only",
        Replace(
            "CacheProvider.delete_pattern.remove",
            "removed += self._client.unlink_many((name for name in batch if not "
            "name.startswith(own)))",
            "removed = self._client.unlink_many((name for name in batch if not "
            "name.startswith(own)))",
        ),
        CACHE,
    ),
    shared(
        "RedisCacheProvider: increment prolongs",
        Replace(
            "CacheProvider.increment",
            "return self._ask('increment', self._client.increment, self._name(key), amount, "
            "self._seconds(ttl))",
            "total = self._ask('increment', self._client.increment, self._name(key), amount, "
            "self._seconds(ttl))\n"
            "if ttl:\n    self._client.expire(self._name(key), ttl)\nreturn total",
        ),
        CACHE,
    ),
    shared(
        "CacheLock: was always its owner's when released",
        Replace(
            "CacheLock.release",
            "bool(self._ask(self._cache._client.compare_and_delete, self._name, token))",
            "[self._ask(self._cache._client.compare_and_delete, self._name, token)] != []",
        ),
        CACHE,
    ),
    shared(
        "CacheLock: a time to wait given to acquire does not count",
        Replace("CacheLock.acquire", "timeout is None", "timeout is None or timeout > 0"),
        CACHE,
    ),
    shared(
        "CacheLock: waits twice as long between questions",
        Replace("CacheLock.POLL", "0.05", "0.1"),
        CACHE,
    ),
    shared(
        "RateLimit: the last call of a window is refused",
        Replace("CacheProvider.check_rate_limit", "count <= limit", "count < limit"),
        CACHE,
    ),
    shared(
        "RateLimit: the window begins anew with each call",
        Replace(
            "CacheProvider.check_rate_limit",
            "timedelta(seconds=left)",
            "timedelta(seconds=window)",
        ),
        CACHE,
    ),
    shared(
        "RateLimit: a call that is allowed has to wait",
        Replace("CacheProvider.check_rate_limit", "0.0 if allowed else left", "left"),
        CACHE,
    ),
    shared(
        "KeyValueClient: seconds are floats times a thousand",
        Replace(
            "_whole_milliseconds",
            "Decimal(float.__repr__(seconds)).scaleb(3, _DIGITS)",
            "seconds * 1000",
        ),
        CLIENT,
    ),
    shared(
        "CacheKey: a leaderboard is a benchmark",
        Text("CacheKey.leaderboard", "leaderboard", "benchmark"),
        CACHE,
    ),
    shared(
        "CacheKey: the action comes first",
        Replace(
            "CacheKey.rate_limit",
            "_joined_key('ratelimit', who, action)",
            "_joined_key('ratelimit', action, who)",
        ),
        CACHE,
    ),
    shared(
        "CacheKey: a session is a user",
        Text("CacheKey.session", "session", "user"),
        CACHE,
    ),
    shared(
        "VerificationCache: one attempt fewer",
        Replace(
            "VerificationCache.verify_code",
            "attempt > self._max_attempts",
            "attempt >= self._max_attempts",
        ),
        CODES,
    ),
    shared(
        "VerificationCache: a code is left without attempts after one",
        Replace(
            "VerificationCache._left",
            "limit - self._count(counter)",
            "limit - self._count(counter) * limit",
        ),
        CODES,
    ),
    shared(
        "VerificationCache: the window begins anew with each code",
        Replace(
            "VerificationCache._check_limits",
            "if self._max_codes and self._increment(window, ttl=self._window) > "
            "self._max_codes:\n"
            "    self._client.delete(resend)\n    self._refuse({window: self._window})",
            "if self._max_codes and self._increment(window, ttl=self._window) > "
            "self._max_codes:\n"
            "    self._client.delete(resend)\n    self._refuse({window: self._window})\n"
            "if self._max_codes:\n    self._client.expire(window, self._window)",
        ),
        CODES,
    ),
    shared(
        "VerificationCache: codes are the same in any case",
        Replace(
            "VerificationCache._digest",
            "f'code:{keys.number}:{generation}:{code}'",
            "f'code:{keys.number}:{generation}:{code.casefold()}'",
        ),
        CODES,
    ),
]

STORAGE_PORT: list[Mutant] = [
    shared(
        "StorageProvider: deleted keys come back sorted",
        Replace(
            "StorageProvider.delete_batch",
            "DeleteResult([name for name in names if name not in errors], errors)",
            "DeleteResult(sorted((name for name in names if name not in errors)), errors)",
        ),
        STORAGE,
    ),
    shared(
        "StorageProvider: a URL's seconds are rounded down",
        Replace("StorageProvider.get_presigned_url", "math.ceil(expires_in)", "int(expires_in)"),
        STORAGE,
    ),
    shared(
        "StorageProvider: a second page has one too many",
        Replace(
            "StorageProvider.list_objects.pages", "wanted -= len(found)", "wanted -= len(found) - 1"
        ),
        STORAGE,
    ),
    shared(
        "StorageProvider: names of metadata keep their case",
        Replace(
            "_check_metadata",
            "_METADATA_NAME.check('names of metadata', _plain(name)).lower()",
            "_METADATA_NAME.check('names of metadata', _plain(name))",
        ),
        STORAGE,
    ),
    shared(
        "StorageProvider: what fits exactly into one part goes in parts",
        Replace("StorageProvider.upload", "len(first) < 2", "not first"),
        STORAGE,
    ),
    shared(
        "StorageProvider: a copy of exactly one part is in parts",
        Replace(
            "StorageProvider.copy",
            "found.size > self._copy_part_size",
            "found.size >= self._copy_part_size",
        ),
        STORAGE,
    ),
    fake(
        "ObjectSummary: the size is that in characters",
        Replace(
            "FakeStorageProvider._list",
            "len(stored.data)",
            "len(stored.data.decode('utf-8', 'ignore'))",
        ),
        STORAGE,
    ),
    fake(
        "ObjectSummary: has microseconds",
        Replace("_Object.last_modified", "self.at.replace(microsecond=0)", "self.at"),
        STORAGE,
    ),
    fake(
        "ObjectMetadata: is live",
        Replace("FakeStorageProvider._head", "dict(found.metadata)", "found.metadata"),
        STORAGE,
    ),
    fake(
        "ObjectMetadata: the ETag has quotes",
        Replace("FakeStorageProvider._head", "found.etag", "f'\"{found.etag}\"'"),
        STORAGE,
    ),
    shared(
        "DeleteResult: what was given twice comes back twice",
        Replace(
            "StorageProvider.delete_batch",
            "[*dict.fromkeys((_check_object_key(key) for key in _check_many('keys', keys)))]",
            "[_check_object_key(key) for key in _check_many('keys', keys)]",
        ),
        STORAGE,
    ),
    shared(
        "DeleteResult: a key that is refused counts as deleted",
        Replace(
            "StorageProvider.delete_batch",
            "[name for name in names if name not in errors]",
            "names",
        ),
        UNIT,
    ),
    shared(
        "StoragePath: artifacts are results",
        Text("StoragePath.verification_artifacts", "verifications", "submissions"),
        PATHS,
    ),
    shared(
        "StoragePath: versions share their data",
        Replace(
            "StoragePath.benchmark_dataset",
            "StoragePath._joined('benchmarks', benchmark, version, name)",
            "StoragePath._joined('benchmarks', benchmark, version.partition('.')[0], name)",
        ),
        PATHS,
    ),
]

MESSAGING: list[Mutant] = [
    shared(
        "RedisEventBus: a handler subscribed twice is called once",
        Replace(
            "_SubscriptionTable.add",
            "(*self.at(key), subscription)",
            "(*(each for each in self.at(key) if each._handler is not subscription._handler), "
            "subscription)",
        ),
        BUS,
    ),
    shared(
        "RedisEventBus: only the first error of a handler counts",
        Replace(
            "RedisEventBus._receive",
            "self.handler_errors += error is not None",
            "self.handler_errors = int(error is not None)",
        ),
        BUS,
    ),
    shared(
        "RedisEventBus: subscribe_many stops at the second channel",
        Replace(
            "RedisEventBus.subscribe_many", "[*dict.fromkeys(names)]", "[*dict.fromkeys(names)][:2]"
        ),
        BUS,
    ),
    shared(
        "RedisEventBus: on_reconnect is not for its listener",
        Replace(
            "RedisEventBus._listening",
            "self._client.listen(self._receive, self._on_reconnect)",
            "self._client.listen(self._receive)",
        ),
        UNIT,
    ),
    shared(
        "Subscription: the end of one ends those of its handler",
        Replace(
            "_SubscriptionTable.remove",
            "self.at(key)",
            "[found for found in self.at(key) if found._handler is not subscription._handler]",
        ),
        BUS,
    ),
    shared(
        "Subscription: its end leaves all channels but the first",
        Replace("_SubscriptionTable.remove", "subscription._keys", "subscription._keys[:1]"),
        BUS,
    ),
    shared(
        "Message: the glob is taken for the channel",
        Replace(
            "RedisEventBus._receive",
            "Message(channel.removeprefix(self._prefix), glob, payload)",
            "Message(glob or channel.removeprefix(self._prefix), glob, payload)",
        ),
        BUS,
    ),
    shared(
        "RedisEventBus: messages show the prefix",
        Replace("RedisEventBus._receive", "channel.removeprefix(self._prefix)", "channel"),
        BUS,
    ),
    shared(
        "RedisEventBus: the prefix is a glob",
        Replace(
            "RedisEventBus._join", "self._glob_prefix if is_glob else self._prefix", "self._prefix"
        ),
        BUS,
    ),
    shared(
        "RedisEventBus: a coroutine that nobody awaits is no error",
        Replace("_handle", "_not_deferred(handler(message))", "handler(message)"),
        BUS,
    ),
    shared(
        "Listener: objects with an async __call__ are handlers",
        Never("_is_deferred", "not (inspect.isroutine(function) or isinstance(function, type))"),
        BUS,
    ),
    shared(
        "Message: events of a family pass for one of its classes",
        Replace(
            "Message._event", "event is None or not issubclass(event, family)", "event is None"
        ),
        EVENTS,
    ),
    shared(
        "Message: the repr shows the payload",
        Replace("Message.payload", "False", "True"),
        EVENTS,
    ),
    shared(
        "Message: an id of 256 characters is read",
        Replace("Message.id", "255", "256"),
        BUS,
    ),
    shared(
        "Message: a member of the envelope that is malformed raises",
        Replace("Message._envelope", "return None", "raise"),
        BUS,
    ),
    shared(
        "Message: the members of an envelope are not checked",
        Replace(
            "Message._envelope",
            "check(name, found.get(name) if isinstance(found, dict) else None)",
            "found.get(name) if isinstance(found, dict) else None",
        ),
        BUS,
    ),
    shared(
        "Message: a traceparent of zeros is one",
        Text("_TRACEPARENT", "(?!0{32})", ""),
        BUS,
    ),
    shared(
        "RedisEventBus: the time of a message is the system's",
        Replace("_EventWriter.write", "clock.now()", "SystemClock().now()"),
        BUS,
    ),
    shared(
        "RedisEventBus: the clock of its client is not used",
        Replace("RedisEventBus.__init__", "getattr(client, '_clock', None)", "None"),
        EVENTS,
    ),
    shared(
        "RedisEventBus: ids are of the system's time",
        Replace("_EventWriter.write", "new_id(clock)", "new_id()"),
        EVENTS,
    ),
    shared(
        "RedisEventBus: all its messages have one id",
        Replace("_EventWriter.write", "new_id(clock)", "uuid.UUID(int=7)"),
        BUS,
    ),
    shared(
        "RedisEventBus: a malformed traceparent is sent",
        Replace("_EventWriter.write", "_TRACEPARENT.check('traceparent', span)", "str(span)"),
        BUS,
    ),
    shared(
        "RedisEventBus: each error of a tracer is logged",
        Always("_EventWriter.write", "not self._span_failed"),
        BUS,
    ),
    fake(
        "FakeEventBus: no traceparent",
        Replace("FakeEventBus.__init__", "traceparent", "None"),
        BUS,
    ),
    fake(
        "FakeEventBus: its clock is always its client's",
        Replace("FakeEventBus.__init__", "clock", "None"),
        BUS,
    ),
    fake(
        "FakeInfrastructure: the bus has its client's clock",
        Replace("FakeInfrastructure.bus", "self.clock", "None"),
        EVENTS,
    ),
    shared(
        "Event: a field may be called _",
        Replace("_event_fields", "{'type', '_'}", "{'type'}"),
        EVENTS,
    ),
    shared(
        "Event: times in whole seconds",
        Replace(
            "_write_moment",
            "_to_utc(value, name).isoformat()",
            "_to_utc(value, name).isoformat(timespec='seconds')",
        ),
        (*EVENTS, *BUS),
    ),
    shared(
        "Event: numbers are read as written by others, whole ones too",
        Replace("_event_float", "float(value)", "value"),
        EVENTS,
    ),
    shared(
        "Event: fields of others are lost without a default",
        Replace("_event_with", "name in found", "name in found and found[name] is not None"),
        (*EVENTS, *BUS),
    ),
    shared(
        "BenchmarkEvent: old and new status change places",
        Swap("_BenchmarkStatusChanged", "old_status: str", "new_status: str"),
        EVENTS,
    ),
    shared(
        "BenchmarkEvent: there is a changelog unless told otherwise",
        Replace("_BenchmarkUpdated.changelog", "''", "'-'"),
        EVENTS,
    ),
    shared(
        "SubmissionEvent: old and new rank change places",
        Swap("_LeaderboardPositionChanged", "old_rank: int | None", "new_rank: int | None"),
        EVENTS,
    ),
    shared(
        "SubmissionEvent: a score of 0 unless told otherwise",
        Replace("_SubmissionCreated.score", "None", "0.0", nth=2),
        EVENTS,
    ),
    shared(
        "UserEvent: old and new role change places",
        Swap("_UserRoleChanged", "old_role: str", "new_role: str"),
        EVENTS,
    ),
    shared(
        "UserEvent: fields of a profile come back sorted",
        Replace(
            "_event_items",
            "[check(name, item) for item in items]",
            "sorted([check(name, item) for item in items])",
        ),
        EVENTS,
    ),
    shared(
        "SystemEvent: a maintenance ends before it starts",
        Swap("_MaintenanceScheduled", "starts_at: datetime", "ends_at: datetime"),
        EVENTS,
    ),
    shared(
        "SystemEvent: service and error change places",
        Swap("_HealthCheckFailed", "service: str", "error: str"),
        EVENTS,
    ),
    shared(
        "EventChannel: a submission's channel is a benchmark's",
        Replace("EventChannel.submission_specific", "cls.SUBMISSION", "cls.BENCHMARK"),
        EVENTS,
    ),
    shared(
        "EventChannel: verifications are submissions",
        Text("EventChannel.VERIFICATION", "events:verification", "events:submission"),
        EVENTS,
    ),
]

SMS_PORT: list[Mutant] = [
    shared(
        "SmsService: the number is sent as it was spelt",
        Replace(
            "SmsService.send_sms",
            "self._send_if_open(number, message, None)",
            "self._send_if_open(phone, message, None)",
        ),
        SMS,
    ),
    shared(
        "SmsService: a closed one is available",
        Replace("SmsService.is_available", "not self._closed", "True"),
        SMS,
    ),
    shared(
        "SmsService: the code is in parts",
        Replace(
            "SmsService.send_verification_code",
            "f'Your verification code is {code}'",
            "f'Your verification code is {code[:3]} {code[3:]}'",
        ),
        SMS,
    ),
    shared(
        "MockSmsService: what it was told to fail counts",
        Replace(
            "MockSmsService._send",
            "raise SmsError('the mock was told to fail', service='sms', operation='send_sms')",
            "self.message_count += 1\nraise SmsError('the mock was told to fail', service='sms')",
        ),
        PRIVACY,
    ),
    shared(
        "MockSmsService: all messages have one id",
        Replace("MockSmsService._send", "f'mock-{new_id()}'", "'mock-0'"),
        SMS,
    ),
    shared(
        "MockSmsService: counts from the start of the program",
        Drop("MockSmsService._send", "self.message_count += 1"),
        PRIVACY,
    ),
    shared(
        "FailoverSmsService: is available when all are",
        Replace("FailoverSmsService.is_available", "any", "all"),
        PRIVACY,
    ),
    shared(
        "FailoverSmsService: the last is asked first",
        Replace("FailoverSmsService._send", "self.services", "self.services[::-1]"),
        SMS,
    ),
    shared(
        "FailoverSmsService: a code is sent as any text",
        Replace(
            "FailoverSmsService._send",
            "service.send_verification_code(phone, code)",
            "service.send_sms(phone, message)",
        ),
        SMS,
    ),
    shared(
        "Infrastructure: what was built last stays open",
        Replace("Infrastructure.close", "[*self._built.values()]", "[*self._built.values()][:-1]"),
        UNIT,
    ),
    shared(
        "Infrastructure: what was built first is closed first",
        Replace("_close_all", "services", "reversed(services)"),
        UNIT,
    ),
]

#: Changes that reach too far, moments, and what others see: harder to notice than those above.
SUBTLE: list[Mutant] = [
    fake(
        "SubmissionRepository: others' leaderboard shows what is not committed",
        Replace(
            "FakeSubmissionRepository._rank",
            "self._table._matching(where)",
            "[each for each in self._table._rows.items() if all(each[1][n] == v for n, v in "
            "where.items())]",
        ),
        SUBMISSIONS,
    ),
    fake(
        "BenchmarkRepository: others see tags that are not committed",
        Replace(
            "FakeBenchmarkRepository._tags_of",
            "self.database.table('benchmark_tags')._matching(wanted)",
            "[each for each in self.database.table('benchmark_tags')._rows.values() if "
            "each['benchmark_id'] in tags]",
        ),
        BENCHMARKS,
    ),
    fake(
        "BenchmarkRepository: others find tags that are not committed",
        Replace(
            "_IndexedRows._chosen",
            "other._table._matching(condition.where)",
            "[each for each in other._table._rows.items()"
            " if each[1]['tag'] == condition.where['tag']]",
        ),
        BENCHMARKS,
    ),
    fake(
        "SubmissionRepository: names of others that are not committed",
        Replace(
            "FakeSubmissionRepository._names",
            "self.database.table(table)._candidates({}, {'id': ids})[0]",
            "[(key, row) for key, row in self.database.table(table)._rows.items()"
            " if key in {*zip(ids)}]",
        ),
        SUBMISSIONS,
    ),
    shared(
        "VerificationCache: who asks too early waits longer",
        Replace(
            "VerificationCache._check_limits",
            "self._refuse(limits)",
            "self._client.expire(resend, self._resend_after)\nself._refuse(limits)",
        ),
        CODES,
    ),
    shared(
        "VerificationCache: who asks too often waits longer",
        Replace(
            "VerificationCache._check_limits",
            "self._refuse({window: self._window})",
            "self._client.expire(window, self._window)\nself._refuse({window: self._window})",
        ),
        CODES,
    ),
    shared(
        "VerificationCache: a right guess ends the time between two codes",
        Replace(
            "VerificationCache.verify_code",
            "used_up = self._client.compare_and_delete(keys.code, stored)",
            "self._client.delete(f'{keys.code}:resend')\n"
            "used_up = self._client.compare_and_delete(keys.code, stored)",
        ),
        CODES,
    ),
    fake(
        "FakeStorageProvider: a PUT by URL forgets its type",
        Replace(
            "FakeStorageProvider.fetch",
            "infra._check_content_type(content_type)",
            "infra._CONTENT_TYPE",
        ),
        UNIT,
    ),
    shared(
        "TokenRepository: revokes everybody's tokens",
        Replace("TokenRepository.revoke_all_for_user", "self._checked({'user_id': user_id})", "{}"),
        TOKENS,
    ),
    shared(
        "TokenRepository: a family that ends takes the user's others along",
        Replace(
            "TokenRepository._rotate",
            "self._revoke_all('rotate', {'family': old.family}, 'reused')",
            "self._revoke_all('rotate', {'user_id': old.user_id}, 'reused')",
        ),
        TOKENS,
    ),
    shared(
        "TokenRepository: any valid token of the user lets a late one race",
        Replace(
            "TokenRepository._rotate",
            "{'family': old.family, **self._valid()}",
            "{'user_id': old.user_id, **self._valid()}",
        ),
        TOKENS,
    ),
    shared(
        "TokenRepository: what is revoked is deleted as if it had expired",
        Replace(
            "TokenRepository.delete_expired",
            "return self._remove('delete_expired', {'expires_at': AtMost(self._clock.now())})",
            "self._remove('delete_expired', {'revoked_at': AtMost(self._clock.now())})\n"
            "return self._remove('delete_expired', {'expires_at': AtMost(self._clock.now())})",
        ),
        TOKENS,
    ),
    shared(
        "UserRepository: who leaves one organization leaves all",
        Replace(
            "UserRepository.remove_from_organization.work",
            "self._members._remove(operation, member)",
            "self._members._remove(operation, {'user_id': user_id})",
        ),
        USERS,
    ),
    shared(
        "UserRepository: a role is that in all organizations",
        Replace(
            "UserRepository.update_organization_role.work",
            "self._members._change(operation, member, change)",
            "self._members._change(operation, {'user_id': user_id}, change)",
        ),
        USERS,
    ),
    shared(
        "UserRepository: an owner of any organization may leave this one",
        Replace(
            "UserRepository._lock_owners",
            "{'organization_id': member['organization_id'], 'role': 'owner'}",
            "{'role': 'owner'}",
        ),
        USERS,
    ),
    shared(
        "BenchmarkRepository: a new version takes all tags away",
        Replace(
            "BenchmarkRepository.update.work",
            "self._tags._remove('update', mine)",
            "self._tags._remove('update', {})",
        ),
        BENCHMARKS,
    ),
    shared(
        "BenchmarkRepository: versions are counted over all benchmarks",
        Replace(
            "BenchmarkRepository.update.work",
            "self._versions._number('update', mine)",
            "self._versions._number('update', {})",
        ),
        BENCHMARKS,
    ),
    shared(
        "BenchmarkRepository: finds the version of any benchmark",
        Replace(
            "BenchmarkRepository.find_version",
            "{'benchmark_id': id, 'version': version}",
            "{'version': version}",
        ),
        BENCHMARKS,
    ),
    shared(
        "SubmissionRepository: finds the model's best at any benchmark",
        Replace(
            "SubmissionRepository._at_version",
            "{'benchmark_id': benchmark_id}",
            "{}",
        ),
        SUBMISSIONS,
    ),
    shared(
        "SubmissionRepository: a model was seen at any version",
        Replace(
            "SubmissionRepository.exists_for_model_version",
            "{'benchmark_version_id': version_id, 'model': model}",
            "{'model': model}",
        ),
        SUBMISSIONS,
    ),
    shared(
        "Repository: one field of all records is changed",
        Replace("Repository._change_one", "self._by_key(key)", "{}"),
        USERS,
    ),
    shared(
        "Repository: an update stores all records",
        Replace(
            "Repository._as_read",
            "{name: values[name] for name in (*self.key, *self._compared)}",
            "{name: values[name] for name in self._compared}",
        ),
        USERS,
    ),
    shared(
        "Repository: a status is that of all benchmarks",
        Replace(
            "BenchmarkRepository.update_status",
            "{**identity, 'status': OneOf(sources)}",
            "{'status': OneOf(sources)}",
        ),
        BENCHMARKS,
    ),
    shared(
        "Repository: an address is confirmed for all users",
        Replace(
            "UserRepository.update_email_verified",
            "{**identity, 'email': self._checked({'email': email})['email']}",
            "{'email_verified': not verified}",
        ),
        USERS,
    ),
    shared(
        "Repository: a page of one filter only",
        Replace(
            "_RecordStore._filters",
            "self._conditions(given)",
            "self._conditions(dict([*given.items()][:1]))",
        ),
        (*USERS, *PHONE_USERS),
    ),
    shared(
        "Repository: a filter of None is none",
        Replace(
            "_RecordStore._filters",
            "self._conditions(given)",
            "self._conditions({name: one for name, one in given.items() if one is not None})",
        ),
        (*USERS, *PHONE_USERS, *SUBMISSIONS),
    ),
    fake(
        "Faults: a fault of one method comes before those of all",
        Replace(
            "Faults._next_fault",
            "next((fault for fault in self._faults if fault.method in names), None)",
            "next((fault for fault in sorted(self._faults, key=lambda one: one.method == '*') if "
            "fault.method in names), None)",
        ),
        UNIT,
    ),
    fake(
        "Faults: the end of an outage opens what was closed",
        Replace("Faults.down", "self._arm()", "self._armed = bool(self._down or self._faults)"),
        UNIT,
    ),
    fake(
        "Faults: a fault opens what a signal handler closed meanwhile",
        Replace(
            "Faults._next_fault",
            "self._arm()",
            "self._armed = bool(self._down or self._closed or self._faults)",
        ),
        UNIT,
    ),
    fake(
        "Faults: a class of errors has no words",
        Replace("Faults.fail_next", "error('failed on purpose')", "error()"),
        UNIT,
    ),
    fake(
        "FakeTable: a NULL of several columns refers to nothing",
        Replace("_IndexedRows._key", "return None", "pass"),
        TABLES,
    ),
    fake(
        "FakeTable: what refers to a row may lose it to another key",
        Replace(
            "_ConstrainedRows._refuse_orphans",
            "before == self._key(row, rule.target)",
            "True",
        ),
        TABLES,
    ),
    fake(
        "FakeTable: a check sees the row as it was",
        Replace(
            "_ConstrainedRows._replace", "self._run_checks(row)", "self._run_checks(old or row)"
        ),
        TABLES,
    ),
    fake(
        "FakeDatabase: a release takes back",
        Replace(
            "FakeDatabase._savepoint",
            "command == 'ROLLBACK TO SAVEPOINT' and self._turns.writer is block",
            "self._turns.writer is block",
        ),
        TABLES,
    ),
    fake(
        "FakeDatabase: closing ends blocks",
        Replace(
            "FakeDatabase._do_atomically",
            "self._down or (self._closed and block is None)",
            "self._down or self._closed",
        ),
        TABLES,
    ),
    fake(
        "FakeRedisClient: a counter loses its time to live with the next call",
        Replace(
            "FakeRedisClient._increment",
            "server._data[key] = (total, expiry)",
            "server._data[key] = (total, None if entry else expiry)",
        ),
        CLIENT,
    ),
    fake(
        "FakeRedisClient: a question mark of scan is no colon",
        Replace("_glob", "_BYTES", "_BYTES - {58}"),
        CLIENT,
    ),
    fake(
        "FakeRedisClient: unlink_many leaves the last",
        Replace(
            "FakeRedisClient._delete",
            "server._data.pop(key, None)",
            "(command, key) == ('UNLINK', keys[-1]) or server._data.pop(key, None)",
        ),
        CLIENT,
    ),
    shared(
        "CacheLock: a lock is another's value",
        Replace("CacheProvider.lock", "self._name(key, '~lock:')", "self._name(key)"),
        CACHE,
    ),
    shared(
        "RedisCacheProvider: a cached None is a miss",
        Replace("CacheProvider.get", "text is None", "text in (None, 'null')"),
        CACHE,
    ),
    shared(
        "RedisCacheProvider: expire counts from the last one",
        Replace(
            "CacheProvider.expire",
            "self._try('expire', False, self._client.expire, name, ttl)",
            "self._try('expire', False, self._client.expire, name, max(ttl, "
            "self._client.ttl(name) or 0))",
        ),
        CACHE,
    ),
    shared(
        "RedisEventBus: a glob's subscribers are told the glob's name for the pattern of another",
        Replace(
            "RedisEventBus.psubscribe",
            "[_check_key(glob, 'glob')]",
            "[_check_key(glob, 'glob'), glob + '*']",
        ),
        BUS,
    ),
    shared(
        "StorageProvider: a prefix ends at its last slash",
        Replace(
            "StorageProvider.list_objects",
            "_check_text('prefix', prefix)",
            "_check_text('prefix', prefix).rpartition('/')[0]",
        ),
        STORAGE,
    ),
    shared(
        "StorageProvider: download_to loses what a file did not take",
        Replace("StorageProvider.download_to", "view[taken:]", "view[len(view):]"),
        STORAGE,
    ),
    shared(
        "StorageProvider: of nothing there is no object",
        Replace(
            "StorageProvider._exists",
            "self._head('exists', place) is not None",
            "getattr(self._head('exists', place), 'size', 0) > 0",
        ),
        STORAGE,
    ),
]

MUTANTS: list[Mutant] = [
    *UNNOTICED,
    *FAKE_CLOCK,
    *FAULTS,
    *TABLE_RULES,
    *FAKE_DATABASE,
    *FAKE_TABLE,
    *FAKE_REPOSITORIES,
    *FAKE_REDIS,
    *FAKE_STORAGE,
    *FAKE_OTHERS,
    *ERROR_CLASSES,
    *CLOCKS_AND_IDS,
    *DATABASES,
    *REPOSITORIES,
    *REDIS,
    *STORAGE_PORT,
    *MESSAGING,
    *SMS_PORT,
    *SUBTLE,
]
