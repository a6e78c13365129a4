"""Mutants of the call policy, pools, faults, storage and SMS."""

from __future__ import annotations

from tests.mutants.edits import Drop, Never, Replace, Text
from tests.mutants.suite import FAKES, INFRA, Mutant, OnFakes, OnServers

POLICY = ("unit/test_errors_and_policy.py",)
POOL = ("unit/test_errors_and_policy.py", "unit/test_pool.py")
FAULTS = ("unit/test_fakes.py",)
STORAGE = ("contract/test_storage_provider.py",)
ON_STAND_IN = "contract/test_storage_provider.py::TestStrictStandIn"
SMS = ("contract/test_sms_service.py", "faults/test_sms.py")

CALLS: list[Mutant] = [
    OnFakes(
        "policy: repeats whatever was sent",
        INFRA,
        Replace(
            "CallPolicy.call",
            "not current.sent or repeatable or operation in self.repeatable",
            "True",
        ),
        POLICY,
    ),
    OnFakes(
        "policy: quotes the driver",
        INFRA,
        Drop("_scrubbed", "exc.args = (*code, '[text withheld]')"),
        POLICY,
    ),
    OnFakes(
        "pool: the last to wait is served first",
        INFRA,
        Replace("_Pool._grant", "self._queue.popleft()", "self._queue.pop()"),
        POOL,
    ),
    OnFakes(
        "pool: what is given back passes by the waiters",
        INFRA,
        Never("_Pool.release", "self._queue"),
        POOL,
    ),
    OnFakes(
        "faults: the error comes before the work",
        FAKES,
        Never("Faults._suffer", "fault.after_apply"),
        FAULTS,
    ),
    OnFakes(
        "faults: one call uses up two",
        FAKES,
        Never("Faults._next_fault", "any(each is self for each in _suffering.get())"),
        FAULTS,
    ),
    OnFakes(
        "faults: those of a database leave its repositories alone",
        FAKES,
        Never("Faults._take_fault", "fault is None and below is not None and below._armed"),
        FAULTS,
    ),
    OnFakes(
        "faults: those of a database leave its tables alone",
        FAKES,
        Never("FakeDatabase._from_above", "self._armed"),
        FAULTS,
    ),
    OnFakes(
        "faults: a lost COMMIT has stored nothing",
        FAKES,
        Never("FakeDatabase.transaction", "fault.after_apply"),
        FAULTS,
    ),
    OnFakes(
        "faults: a scan goes on in an outage",
        FAKES,
        Never("_failing.call", "result.__class__ is GeneratorType"),
        FAULTS,
    ),
    OnFakes(
        "faults: a fetch cannot fail",
        FAKES,
        Drop(
            "Faults._methods",
            "names.update(name for name in dir(cls) if hasattr(getattr(cls, name, None), '_can_fail'))",
        ),
        FAULTS,
    ),
    OnFakes(
        "faults: MySQL goes on after a timeout without an answer",
        FAKES,
        Replace(
            "FakeDatabase._note_fault",
            "(infra.ConnectionError, infra.TimeoutError)",
            "infra.ConnectionError",
        ),
        FAULTS,
    ),
    OnFakes(
        "faults: a stopped statement ends the connection",
        FAKES,
        Never(
            "FakeDatabase._note_fault",
            "isinstance(error, infra.TimeoutError) and (not error.retryable)",
        ),
        FAULTS,
    ),
]

OBJECTS: list[Mutant] = [
    OnServers(
        "storage: boto3's checksum instead of the MD5",
        INFRA,
        Drop(
            "S3StorageProvider._client",
            "client.meta.events.register('before-sign.s3.DeleteObjects', _with_md5)",
        ),
        ("faults/test_storage.py::test_one_failing_key_among_a_thousand",),
    ),
    OnServers(
        "storage: a failed upload is not aborted",
        INFRA,
        Drop(
            "S3StorageProvider._in_parts",
            "self._call(operation, lambda client: client.abort_multipart_upload(**upload))",
        ),
        (f"{ON_STAND_IN}::test_a_file_that_fails_leaves_what_was_there",),
    ),
    OnFakes(
        "storage: dots in keys",
        INFRA,
        Replace("_check_object_key", "name in ('.', '..')", "False"),
        STORAGE,
    ),
    OnServers(
        "storage: forbidden is absent",
        INFRA,
        Replace("S3StorageProvider._refusal", "status == 404 and bare", "status > 402 and bare"),
        ("faults/test_storage.py::test_forbidden_is_not_absent",),
    ),
    OnServers(
        "storage: a cut read begins anew",
        INFRA,
        Never("_S3Source._open", "self._at"),
        ("faults/test_storage.py::test_a_cut_in_the_middle",),
    ),
    OnServers(
        "storage: the first thousand only",
        INFRA,
        Replace("S3StorageProvider._list", "return found, following", "return found, None"),
        (f"{ON_STAND_IN}::test_long_lists_are_whole",),
    ),
    OnServers(
        "storage: errors of a batch are dropped",
        INFRA,
        Replace(
            "S3StorageProvider._delete_many",
            "{each.get('Key'): _aws_code(each) or '' for each in answer.get('Errors', ())}",
            "{}",
        ),
        ("faults/test_storage.py::test_one_failing_key_among_a_thousand",),
    ),
    OnFakes(
        "storage: the fake's presigned URLs never end",
        FAKES,
        Never(
            "FakeStorageProvider.fetch",
            "self._clock.now() >= signed + timedelta(seconds=int(query['X-Amz-Expires']))",
        ),
        FAULTS,
    ),
    OnServers(
        "storage: an end whose answer is lost is an error",
        INFRA,
        Replace("S3StorageProvider._complete", "error.resource == 'upload'", "False"),
        ("faults/test_storage.py::test_a_lost_answer_is_asked_for_again",),
    ),
]

MESSAGES: list[Mutant] = [
    OnFakes(
        "sms: what is unknown counts as rejected",
        INFRA,
        Text("_RemoteSmsService._unknown", "unknown", "rejected"),
        SMS,
    ),
    OnFakes(
        "sms: failover moves on after any error",
        INFRA,
        Never(
            "FailoverSmsService._send",
            "isinstance(error, SmsError) and error.outcome != 'rejected'",
        ),
        SMS,
    ),
    OnFakes(
        "sms: nothing counts as sent",
        INFRA,
        Replace(
            "TwilioSmsService._post",
            "connection.sock, attempt.sent = raw, True",
            "connection.sock = raw",
        ),
        SMS,
    ),
    OnFakes(
        "sms: nobody watches",
        INFRA,
        Drop("TwilioSmsService._post", "_watchdog.watch(watched)"),
        SMS,
    ),
]

MUTANTS: list[Mutant] = [*CALLS, *OBJECTS, *MESSAGES]
