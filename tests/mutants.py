"""`make mutants`: breaks one rule of the code at a time, in a copy; the suite must fail on each. Arguments choose those
whose names begin so."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MUTANTS: list[tuple[str, str, str, str]] = [  # what is broken, file, the text, its replacement
    (
        "fake compare_and_delete: no comparison",
        "fakes.py",
        "same = self._get(key) == value",
        "same = self._get(key) is not None",
    ),
    (
        "real compare_and_delete: no comparison",
        "infra.py",
        "if redis.call('get',KEYS[1])==ARGV[1] then return",
        "if true then return",
    ),
    (
        "codes: no generation",
        "infra.py",
        'generation = f"{_milliseconds(self._code_ttl)}-{secrets.token_hex(8)}"',
        'generation = f"{_milliseconds(self._code_ttl)}-0"',
    ),
    (
        "codes: attempt counted after the comparison",
        "infra.py",
        """        attempt = self._client.increment(self._name(phone, "attempts", generation), ttl=lifetime)
        if attempt > self._max_attempts or not hmac.compare_digest(digest, self._digest(phone, generation, code)):
            return False
""",
        """        used = int(self._client.get(self._name(phone, "attempts", generation)) or 0)
        if used >= self._max_attempts or not hmac.compare_digest(digest, self._digest(phone, generation, code)):
            self._client.increment(self._name(phone, "attempts", generation), ttl=lifetime)
            return False
""",
    ),
    (
        "codes: used up without asking who removed it",
        "infra.py",
        "return self._client.compare_and_delete(self._name(phone), stored)",
        "return self._client.delete(self._name(phone)) or True",
    ),
    (
        "fake increment: TTL on every call",
        "fakes.py",
        "value, expiry = entry",
        "value, expiry = entry[0], server._expiry(ttl) if ttl else entry[1]",
    ),
    (
        "fake increment: TTL never",
        "fakes.py",
        "total, expiry = amount, server._expiry(ttl)",
        "total, expiry = amount, None",
    ),
    (
        "real increment: TTL on every call",
        "infra.py",
        '("SET", key, 0, "PX", ttl, "NX"), ("INCRBY", key, amount)',
        '("INCRBY", key, amount), ("PEXPIRE", key, ttl), ("INCRBY", key, 0)',
    ),
    (
        "fake globs: fnmatch",
        "fakes.py",
        "        matches = _glob(glob)\n",
        "        import fnmatch\n        matches = lambda key: fnmatch.fnmatchcase(key, glob)\n",
    ),
    (
        "fake globs: characters instead of bytes",
        "fakes.py",
        "text, at, step, retry_at, retry_step = name.encode(),",
        "text, at, step, retry_at, retry_step = [min(ord(c), 255) for c in name],",
    ),
    (
        "policy: repeats whatever was sent",
        "infra.py",
        "may_repeat = not current.sent or repeatable or operation in self.repeatable",
        "may_repeat = True",
    ),
    ("policy: quotes the driver", "infra.py", 'exc.args = (*code, "[text withheld]")', "pass"),
    (
        "pool: dead connections are handed out",
        "infra.py",
        "return connection._sock is None or bool(connection.can_read(0))",
        "return False",
    ),
    (
        "pool: the last to wait is served first",
        "infra.py",
        "successor = self._queue.popleft()",
        "successor = self._queue.pop()",
    ),
    ("faults: the error comes before the work", "fakes.py", "if fault.after_apply:", "if False:"),
    (
        "codes: attempts forgotten before the code",
        "infra.py",
        'lifetime = int(generation.partition("-")[0]) / 1000',
        "lifetime = 5",
    ),
    (
        "codes: a refused window starts the time between codes",
        "infra.py",
        "self._client.delete(resend)",
        "pass",
    ),
    (
        "real increment: no transaction",
        "infra.py",
        'unit = ("MULTI",), ("SET", key, 0, "PX", ttl, "NX"), ("INCRBY", key, amount), ("EXEC",)',
        'unit = ("SET", key, 0, "PX", ttl, "NX"), ("INCRBY", key, amount)',
    ),
    (
        "deadline: forgotten between replies",
        "infra.py",
        "        self._hurry(connection, attempt)\n        return self.read(connection)",
        "        return self.read(connection)",
    ),
    (
        "deadline: a new one for every batch",
        "infra.py",
        "commands[start : start + _PIPELINE], until=until)",
        "commands[start : start + _PIPELINE])",
    ),
    (
        "loading counts as acted",
        "infra.py",
        '("BusyLoadingError", ConnectionError, True, False,',
        '("BusyLoadingError", ConnectionError, True, True,',
    ),
    (
        "listener: a subscribe in vain forgets earlier ones",
        "infra.py",
        "reasons.remove(change)",
        "reasons.clear()",
    ),
    (
        "listener: a refusal ends the connection",
        "infra.py",
        "error = self._transport.refused(reply) if isinstance(reply, Exception) else None",
        "error = None\n            if isinstance(reply, Exception):\n                raise reply",
    ),
    (
        "fake listener: handlers at once",
        "fakes.py",
        "            if self._busy:\n                return\n",
        "",
    ),
    (
        "databases: a doomed transaction goes on",
        "infra.py",
        """        if block.doom is not None:
            if block.lost""",
        """        if False and block.doom is not None:
            if block.lost""",
    ),
    (
        "databases: MySQL goes on after a deadlock",
        "infra.py",
        'if outermost or (retry and self.engine == "mysql"):',
        "if outermost and not retry:",
    ),
    (
        "databases: an implicit commit goes unnoticed",
        "infra.py",
        "        if not self._dialect.in_transaction(session):\n            ended",
        "        if False:\n            ended",
    ),
    (
        "databases: run repeats whatever failed",
        "infra.py",
        "current.final = not isinstance(error, DatabaseError)",
        "error.retryable = True",
    ),
    (
        "databases: a dead connection is handed out",
        "infra.py",
        "if session.is_readable(0):  # idle, a server has nothing to say but goodbye",
        "if False:",
    ),
    (
        "databases: whatever comes back is lent again",
        "infra.py",
        "        self._pool.release(place, broken=not sound)\n",
        "        self._pool.release(place)\n",
    ),
    (
        "databases: an UPDATE counts what it changed",
        "infra.py",
        "CLIENT.FOUND_ROWS",
        "CLIENT.LONG_FLAG",
    ),
    ("databases: MySQL is not strict", "infra.py", "sql_mode='STRICT_ALL_TABLES,", "sql_mode='"),
    (
        "databases: the first 'for key' names the rule",
        "infra.py",
        '_, marked, name = text.rpartition("for key \'")',
        '_, marked, name = text.partition("for key \'")',
    ),
    ("databases: naive datetimes pass", "infra.py", "    if offset is None:\n", "    if False:\n"),
    (
        "pool: what is given back passes by those who wait",
        "infra.py",
        "        if self._queue:\n            with self._lock:\n                self._serve()\n",
        "",
    ),
    (
        "tokens: the conditional write has no condition",
        "infra.py",
        'self._change("rotate", {"token_hash": digest, **self._valid()}, use)',
        'self._change("rotate", {"token_hash": digest}, use)',
    ),
    (
        "tokens: grace revives a family",
        "infra.py",
        'if not self._change("rotate", {"family": old.family, **self._valid()}, {"last_used_at": now}):',
        "if False:",
    ),
    (
        "tokens: a family's end misses rotations under way",
        "infra.py",
        'while self._number(operation, {**where, "revoked_at": None}):',
        'if self._number(operation, {**where, "revoked_at": None}):',
    ),
    ("migrations: no lock", "infra.py", "while not session.try_lock():", "while False:"),
    (
        "migrations: no record before a statement",
        "infra.py",
        'self._record(session, migration, step, "started")',
        "pass",
    ),
    (
        "migrations: edits pass",
        "infra.py",
        "if checksum != _checksum(each.statements[:done]):",
        "if False:",
    ),
    (
        "fake database: others see what is not committed",
        "fakes.py",
        "if writer is not None and writer is not database._blocks.current:",
        "if False:",
    ),
    (
        "fake database: a savepoint is not rolled back",
        "fakes.py",
        'if command == "ROLLBACK TO SAVEPOINT" and self._writer is block:',
        "if False:",
    ),
    (
        "fake database: blanks at the end count",
        "fakes.py",
        'return value.rstrip(" ") if self._pads and value.__class__ is str else value',
        "return value",
    ),
    ("fake database: no cascade", "fakes.py", 'if rule.on_delete == "cascade":', "if False:"),
    (
        "fake database: writers do not wait",
        "fakes.py",
        "if own or not self._turn.wait_for(lambda: self._writer is None, self._lock_timeout):",
        "if False:",
    ),
    (
        "cluster: a move is forgotten",
        "infra.py",
        "self._outdated = self._outdated or not unit.asking",
        "pass",
    ),
    (
        "cluster: no ASKING",
        "infra.py",
        'return (("ASKING",), *self.commands) if self.asking else',
        "return",
    ),
    (
        "cluster: what a redirection left undone looks done",
        "infra.py",
        "            attempt.sent = len(waiting) < len(units)\n",
        "",
    ),
    (
        "cluster: what others did looks undone",
        "infra.py",
        "attempt.sent = attempt.sent and (acted or attempt.shared)",
        "attempt.sent = attempt.sent and acted",
    ),
    (
        "cluster: one that failed is not told from the others",
        "infra.py",
        "self._failures[address] = ",
        "_ = ",
    ),
    (
        "cluster: slots are learned once",
        "infra.py",
        "            self._outdated = True\n\n    def",
        "\n    def",
    ),
    (
        "cluster: connections in any order",
        "infra.py",
        "nodes = sorted(parts)",
        "nodes = list(parts)",
    ),
    (
        "sms: what is unknown counts as rejected",
        "infra.py",
        'the message may have been sent", outcome="unknown"',
        'the message may have been sent", outcome="rejected"',
    ),
    (
        "sms: failover moves on whatever happened",
        "infra.py",
        'if isinstance(error, SmsError) and error.outcome != "rejected":',
        "if False:",
    ),
    (
        "sms: nothing counts as sent",
        "infra.py",
        "connection.sock, attempt.sent = raw, True",
        "connection.sock = raw",
    ),
    (
        "sms: nobody watches",
        "infra.py",
        "            _watchdog.watch(watched)\n            try:\n                connection",
        "            try:\n                connection",
    ),
    (
        "exchange: the last owner may leave",
        "infra.py",
        'if self._members._rows(operation, ("user_id",), owners, limit=2) == [(who["user_id"],)]:',
        "if False:",
    ),
    (
        "exchange: who leaves does not wait for others",
        "infra.py",
        "        self._organizations._change(operation, place, place)\n",
        "",
    ),
    (
        "exchange: what was read before the last change is stored",
        "infra.py",
        'for name in ("id", *self.guarded)}',
        'for name in ("id",)}',
    ),
    (
        "exchange: any move of a status",
        "infra.py",
        "_OneOf(self.moves[status])",
        "_OneOf([*self.moves])",
    ),
    (
        "exchange: what is kept is stored",
        "infra.py",
        "if name not in self._as_it_is}",
        'if name != "id"}',
    ),
    (
        "exchange: what is kept is folded anew",
        "infra.py",
        "if {*held} <= {*self.kept})}",
        "if not held)}",
    ),
    (
        "exchange: filters in any order",
        "infra.py",
        "for name in self.filter_fields if name in query.filters}",
        "for name in query.filters}",
    ),
    (
        "records: past an __init__ of their own",
        "infra.py",
        "or made_otherwise or not usual or",
        "or made_otherwise or",
    ),
    ("records: past a metaclass", "infra.py", "type(record).__call__ is not type.__call__ or ", ""),
    (
        "records: into a __dict__ beside slots",
        "infra.py",
        'hasattr(record, "__post_init__") or slots or',
        'hasattr(record, "__post_init__") or',
    ),
    (
        "records: update of nothing",
        "infra.py",
        'return changes or {"id": values["id"]}',
        "return changes",
    ),
    ("records: infinite decimals", "infra.py", "Decimal: decimal, dict", "dict"),
    (
        "exchange: another address stays verified",
        "infra.py",
        'stored = {**values, "email_verified": False}',
        "stored = values",
    ),
    (
        "exchange: names that nobody sees",
        "infra.py",
        'visible: ClassVar = ("email", "username")',
        "visible: ClassVar = ()",
    ),
    (
        "exchange: equal scores, different ranks",
        "infra.py",
        "            if row[3] != last:\n",
        "            if True:\n",
    ),
    (
        "exchange: private submissions are ranked",
        "infra.py",
        "AND visibility = 'public' AND",
        "AND",
    ),
    (
        "exchange: private submissions are ranked by the fake",
        "fakes.py",
        'if row["visibility"] == "public" and row["aggregate_score"]',
        'if row["aggregate_score"]',
    ),
    (
        "exchange: accents composed otherwise are another name",
        "infra.py",
        'return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())',
        "return text.casefold()",
    ),
    (
        "exchange: a search has wildcards",
        "infra.py",
        """re.sub("[|%_]", r"|\\g<0>", value.value)""",
        "value.value",
    ),
    ("exchange: tuples pass as JSON", "infra.py", "same = document.value == value", "same = True"),
    (
        "storage: boto3's checksum instead of the MD5",
        "infra.py",
        'client.meta.events.register("before-sign.s3.DeleteObjects", _with_md5)',
        "pass",
    ),
    (
        "storage: a failed upload is not aborted",
        "infra.py",
        "self._call(operation, lambda client: client.abort_multipart_upload(**upload))",
        "pass",
    ),
    (
        "storage: dots in keys",
        "infra.py",
        'if name in (".", "..") or not {"", ".", ".."}.isdisjoint(folders):',
        'if not {"", ".", ".."}.isdisjoint(folders):',
    ),
    (
        "storage: forbidden is absent",
        "infra.py",
        'resource = _S3_ABSENT.get("NoSuchKey" if status == 404 and bare else code or "")',
        'resource = _S3_ABSENT.get("NoSuchKey" if status in (403, 404) and bare else code or "")',
    ),
    (
        "storage: a cut read begins anew",
        "infra.py",
        "if self._at else {}\n",
        "if False else {}\n",
    ),
    (
        "storage: the first thousand only",
        "infra.py",
        "        return found, following\n",
        "        return found, None\n",
    ),
    (
        "storage: errors of a batch are dropped",
        "infra.py",
        'errors = {each.get("Key"): _aws_code(each) or "" for each in answer.get("Errors", ())}',
        "errors = {}",
    ),
    (
        "storage: the fake's presigned URLs never end",
        "fakes.py",
        "if self._clock.now() >= signed +",
        "if self._clock.now() >= signed + timedelta(days=9) +",
    ),
    (
        "storage: an end whose answer is lost is an error",
        "infra.py",
        'known = error.resource == "upload" and',
        'known = error.resource == "never" and',
    ),
    (
        "exchange: documents of the fake are live",
        "fakes.py",
        "infra._decode(value.text)[0] if",
        "value.value if",
    ),
    (
        "bus: a listener for every handler",
        "infra.py",
        "listener = self._listener = self._listener or self._listen()",
        "listener = self._listener = self._listen()",
    ),
    (
        "bus: the first that closes unsubscribes all",
        "infra.py",
        "after = tuple(each for each in before if each is not subscription)",
        "after: tuple[Any, ...] = ()",
    ),
    (
        "bus: who joins does not wait for who leaves",
        "infra.py",
        "with listener._changed:  # nobody joins",
        "with contextlib.nullcontext():  # nobody joins",
    ),
    (
        "bus: globs and channels of one name are one",
        "infra.py",
        "(pattern is not None, pattern or channel)",
        "(False, channel)",
    ),
    ("bus: a raising handler ends the round", "infra.py", "self.handler_errors += 1\n", "raise\n"),
    (
        "bus: errors quote the payload",
        "infra.py",
        'reason = f"{type(error).__name__} when it was made"',
        'reason = f"{error!r} when it was made"',
    ),
    (
        "bus: NaN is read",
        "infra.py",
        "    raise ValueError  # RFC 8259 knows neither NaN nor Infinity",
        "    return 0.0  # type: ignore[return-value]",
    ),
    (
        "bus: handlers of the fake are in the transaction",
        "fakes.py",
        "        blocks.current = None\n    try:",
        "        pass\n    try:",
    ),
    (
        "bus: handlers of the fake wait for their own thread",
        "fakes.py",
        "if own or not self._turn",
        "if not self._turn",
    ),
    (
        "bus: one that fails to subscribe takes from the others",
        "infra.py",
        "            elif not reasons:\n",
        "            else:\n",
    ),
    (
        "cache: the prefix is a glob",
        "infra.py",
        r'_GLOB_SIGNS.sub(r"\\\g<0>", self._prefix)',
        "self._prefix",
    ),
    (
        "cache: delete_pattern takes locks along",
        "infra.py",
        "self._client.unlink_many(name for name in batch if not name.startswith(own))",
        "self._client.unlink_many(batch)",
    ),
    (
        "cache: threads wait at Redis",
        "infra.py",
        "return None if other.owner == turn.owner else other",
        "return None",
    ),
    (
        "cache: what was filled meanwhile is filled again",
        "infra.py",
        "if text is None and not (turn and settled(None)):",
        "if text is None:",
    ),
    (
        "cache: a late owner releases the next one's lock",
        "infra.py",
        "self._cache._client.compare_and_delete, self._name, token)",
        "self._cache._client.delete, self._name)",
    ),
    (
        "cache: each thread finds out that Redis is away",
        "infra.py",
        "            turn.silence = error\n",
        "",
    ),
    (
        "cache: set_nx fails open",
        "infra.py",
        'self._ask("set_nx", self._client.set_nx',
        'self._try("set_nx", False, self._client.set_nx',
    ),
    (
        "cache: NaN is read",
        "infra.py",
        "json.JSONDecoder(parse_constant=_no_constant)",
        "json.JSONDecoder()",
    ),
]


_DATABASES = ["tests/contract/test_database.py", "tests/contract/test_phone_user_repository.py"]
SUITES = {  # of mutants whose name begins so; the others run everything
    "databases": [*_DATABASES, "tests/faults/test_databases.py"],
    "fake database": [
        *_DATABASES,
        "tests/unit/test_fakes.py",
        "tests/contract/test_token_repository.py",
    ],
    "tokens": ["tests/contract/test_token_repository.py"],
    "exchange": [
        *(
            f"tests/contract/test_{each}_repository.py"
            for each in ("user", "organization", "benchmark", "submission")
        ),
        "tests/faults/test_benchmark_statements.py",
        "tests/faults/test_exchange_statements.py",
    ],
    "sms": ["tests/contract/test_sms_service.py", "tests/faults/test_sms.py"],
    "storage": ["tests/faults/test_storage.py", "tests/contract/test_storage_provider.py"],
    "migrations": ["tests/faults/test_migrations.py"],
    "cache": ["tests/contract/test_cache_provider.py", "tests/faults/test_cache.py"],
    "cluster": ["tests/faults/test_cluster.py", "tests/contract/test_key_value_client.py"],
    "listener": ["tests/faults/test_redis.py"],
    "bus": [
        "tests/unit/test_events.py",
        "tests/contract/test_event_bus.py",
        "tests/faults/test_bus.py",
    ],
    "pool": [
        "tests/unit/test_pool.py",
        "tests/faults/test_redis.py",
        "tests/faults/test_databases.py",
    ],
}


def survives(name: str, file: str, text: str, replacement: str) -> bool:
    """Whether the suite passes on a copy with that change."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(
            ROOT,
            copy,
            ignore=shutil.ignore_patterns(".venv", ".git", ".*_cache", ".hypothesis", "*.egg-info"),
        )
        source = (copy / file).read_text(encoding="utf-8")
        if source.count(text) != 1:
            sys.exit(
                f"the text to break stands {source.count(text)} times in {file}, not once: {text!r}"
            )
        (copy / file).write_text(source.replace(text, replacement), encoding="utf-8")
        suites = ["tests/contract", "tests/faults", "tests/unit"]
        if name.split(":")[0] in SUITES:
            suites = SUITES[name.split(":")[0]]
        command = [sys.executable, "-m", "pytest", "-q", "-x", *suites]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):
            sys.exit(f"the suite did not run:\n{done.stdout}{done.stderr}")
        failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
        print(f"    {failed[0][:150] if failed else 'NOTHING FAILED'}")
        return done.returncode == 0


def main() -> int:
    alive = []
    wanted = tuple(sys.argv[1:]) or ""
    chosen = [each for each in MUTANTS if each[0].startswith(wanted)]
    for number, (name, file, text, replacement) in enumerate(chosen, 1):
        print(f"{number}/{len(chosen)} {name}", flush=True)
        if survives(name, file, text, replacement):
            alive.append(name)
    noticed = f"{len(chosen) - len(alive)} of {len(chosen)} noticed"
    print(noticed + "".join(f"\nNOT NOTICED: {name}" for name in alive))
    return bool(alive)


if __name__ == "__main__":
    sys.exit(main())
