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
        Never("_failing.call", "fault.after_apply"),
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

LACKS = ("faults/test_storage.py::test_an_answer_that_lacks_what_it_should_say",)

ANSWERS: list[Mutant] = [
    OnFakes(
        "answers: the end of the stream ends the headers",
        INFRA,
        Replace("_WholeLines.readline", "line or self._begun", "False"),
        ("faults/test_sms.py::test_what_twilio_answers",),
    ),
    OnServers(
        "storage: boto3's connections take a cut answer",
        INFRA,
        Drop("_aws_client", "_refuse_cut_answers(client)"),
        ("faults/test_storage.py::test_an_answer_cut_after_every_byte",),
    ),
    OnServers(
        "storage: a body may end with the connection",
        INFRA,
        Replace("_check_answer", "not _says_its_end(headers)", "False"),
        ("faults/test_storage.py::test_a_body_that_ends_with_the_connection_is_no_object",),
    ),
    OnServers(
        "storage: an upload needs no ETag, a list no name",
        INFRA,
        Drop("_check_answer", "_check_says(parsed, *needed)"),
        LACKS,
    ),
    OnServers(
        "storage: any XML is an answer",
        INFRA,
        Replace("_check_answer", "found is None or found[1].decode('latin-1') != root", "False"),
        LACKS,
    ),
    OnServers(
        "storage: a web page is an object",
        INFRA,
        Replace(
            "_check_answer",
            "headers.get('content-type', '').lower().startswith('text/html')",
            "False",
        ),
        LACKS,
    ),
    OnServers(
        "storage: what lacks something is not asked for again",
        INFRA,
        Replace("S3StorageProvider._no_answer", "True", "False"),
        LACKS,
    ),
    OnServers(
        "storage: 200 is enough for a deletion",
        INFRA,
        Replace("S3StorageProvider._remove.ask", "status != 204", "False"),
        LACKS,
    ),
    OnServers(
        "storage: 200 is enough for a bucket",
        INFRA,
        Replace("S3StorageProvider._create_bucket.ask", "not named", "False"),
        LACKS,
    ),
    OnServers(
        "storage: a kept connection outlives a failure",
        INFRA,
        Drop("S3StorageProvider._translate", "attempt.note.close()"),
        ("faults/test_storage.py::test_a_store_that_has_moved_is_found",),
    ),
    OnServers(
        "storage: a folder that stays counts as deleted",
        INFRA,
        Replace("S3StorageProvider._remove.ask", "key.endswith('/')", "False"),
        ("faults/test_storage.py::test_a_folder_that_stays_is_not_called_deleted",),
    ),
    OnServers(
        "storage: folders that are emptied stay",
        INFRA,
        Never("S3StorageProvider._delete_many", "self._keeps_folders"),
        ("faults/test_storage.py::test_a_store_that_keeps_folders",),
    ),
    OnFakes(
        "storage: underscores in names of metadata",
        INFRA,
        Text("_METADATA_NAME", "[0-9A-Za-z.-]+", "[0-9A-Za-z._-]+"),
        ("contract/test_storage_provider.py::TestFake::test_other_bad_input",),
    ),
    OnFakes(
        "storage: an endpoint names a bucket",
        INFRA,
        Replace("_S3_ENDPOINT", "not _names_bucket(v)", "True"),
        ("unit/test_configuration.py",),
    ),
    OnFakes(
        "paths: any text is one",
        INFRA,
        Replace(
            "_check_path",
            "not isinstance(text, str) or not text or '\\0' in text",
            "not isinstance(text, str)",
        ),
        ("unit/test_migrations.py::test_what_is_no_path_of_a_file",),
    ),
    OnServers(
        "sms: a kept connection outlives a failure",
        INFRA,
        Drop("SnsSmsService._translate", "attempt.note.close()"),
        ("faults/test_sms.py::test_a_provider_that_has_moved_is_found",),
    ),
    OnServers(
        "sms: any XML is an answer of SNS",
        INFRA,
        Drop("_check_published", "raise _Incomplete"),
        ("faults/test_sms.py::test_what_sns_answers",),
    ),
    OnFakes(
        "sms: a wait that is cut is told",
        INFRA,
        Replace(
            "TwilioSmsService._post",
            "_whole_answers(http.client.HTTPConnection)",
            "http.client.HTTPConnection",
        ),
        ("faults/test_sms.py::test_what_twilio_answers",),
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

MUTANTS: list[Mutant] = [*CALLS, *OBJECTS, *ANSWERS, *MESSAGES]
