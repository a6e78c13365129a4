"""Mutants of the call policy, pools, faults, storage, SMS and the command line."""

from __future__ import annotations

from tests.mutants.edits import Drop, Never, Replace, Swap, Text
from tests.mutants.suite import FAKES, INFRA, Mutant, OnFakes, OnServers

POLICY = ("unit/test_errors_and_policy.py",)
POOL = ("unit/test_errors_and_policy.py", "unit/test_pool.py")
FAULTS = ("unit/test_fakes.py",)
STORAGE = ("contract/test_storage_provider.py",)
ON_STAND_IN = "contract/test_storage_provider.py::TestStrictStandIn"
VENDOR = ("unit/test_vendor_command.py",)
SMS = ("contract/test_sms_service.py", "faults/test_sms.py")

CALLS: list[Mutant] = [
    OnFakes(
        "policy: repeats whatever was sent",
        INFRA,
        Replace(
            "CallPolicy.call",
            "repeatable or operation in self.repeatable or (not current.sent)",
            "True",
        ),
        POLICY,
    ),
    OnFakes(
        "policy: keeps the variables of what failed",
        INFRA,
        Drop("CallPolicy._error_of", "self._forget_variables(failure)"),
        POLICY,
    ),
    OnFakes(
        "policy: keeps the variables of what Ctrl-C has ended",
        INFRA,
        Replace("CallPolicy.call", "BaseException", "Exception"),
        POLICY,
    ),
    OnFakes(
        "configuration: hosts that cannot be encoded",
        INFRA,
        Drop("_is_host", "host.encode('idna')"),
        ("unit/test_configuration.py",),
    ),
    OnServers(
        "aws: a failed handshake counts as a request",
        INFRA,
        Drop("_WholeAnswers.connect", "exc._before_request = True"),
        (
            "faults/test_storage.py::test_cut_before_tls_stands",
            "faults/test_sms.py::test_cut_before_tls_stands",
        ),
    ),
    OnServers(
        "mysql: a password stays where a kill was interrupted",
        INFRA,
        Drop("_MySqlDialect.kill", "traceback.clear_frames(exc.__traceback__)"),
        (
            "faults/test_logins.py::test_a_signal_while_a_statement_is_being_killed_leaves_no_password",
        ),
    ),
    OnServers(
        "https: what a server says before it hangs up is not read",
        INFRA,
        Replace("_WholeAnswers.send", "ssl.SSLEOFError", "EOFError"),
        (
            "faults/test_storage.py::test_a_store_that_ends_the_connection_when_tls_stands",
            "faults/test_sms.py::test_a_provider_that_wants_a_client_certificate",
        ),
    ),
    OnServers(
        "https: hints at settings that are not there",
        INFRA,
        Never("_os_reason", "not has_sslcert"),
        ("faults/test_sms.py::test_a_provider_that_wants_a_client_certificate",),
    ),
    OnServers(
        "aws: plain text goes over a network",
        INFRA,
        Replace("_check_boto3_endpoint", "problem or not _is_private(_Url.parse(url))", "problem"),
        (
            "faults/test_storage.py::test_an_endpoint_of_boto3s_own_settings",
            "faults/test_sms.py::test_an_endpoint_of_boto3s_own_settings",
        ),
    ),
    OnServers(
        "sns: half of the time is for the connection",
        INFRA,
        Replace("_WholeAnswers.getresponse", "attempt.now()", "attempt.now() + 3.5"),
        ("faults/test_sms.py::test_a_late_answer_of_sns_is_waited_for",),
    ),
    OnServers(
        "https: asks a proxy again that has refused",
        INFRA,
        Replace("_is_permanent", "_proxy_refusal(exc)[:1] not in ('', '5')", "False"),
        (
            "faults/test_storage.py::test_a_proxy_that_refuses",
            "faults/test_sms.py::test_a_proxy_that_refuses",
        ),
    ),
    OnServers(
        "aws: takes any proxy",
        INFRA,
        Drop("_aws_client", "_proxy_for(_Url.parse(client.meta.endpoint_url), ('http', 'https'))"),
        (
            "faults/test_storage.py::test_a_proxy_that_cannot_be_used",
            "faults/test_sms.py::test_a_proxy_that_cannot_be_used",
        ),
    ),
    OnServers(
        "twilio: the proxy is asked for hosts that it is not for",
        INFRA,
        Replace("_proxy_for", "not text or urllib.request.proxy_bypass(place)", "not text"),
        ("faults/test_sms.py::test_twilio_goes_through_a_proxy",),
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
        Replace("_Pool._serve", "self._queue[0]()", "self._queue[-1]()"),
        POOL,
    ),
    OnFakes(
        "pool: what is given back passes by the waiters",
        INFRA,
        Drop("_Pool.release", "self._wake()"),
        POLICY,
    ),
    OnFakes(
        "pool: a lost slot stays on the books",
        INFRA,
        Replace(
            "_Pool._open",
            "weakref.ref(lease[0], slots.remove)",
            "weakref.ref(lease[0])",
        ),
        POOL,
    ),
    OnFakes(
        "pool: a newcomer overtakes the waiters",
        INFRA,
        Replace("_Pool.take", "self._queue", "False"),
        POOL,
    ),
    OnFakes(
        "pool: a place is given back twice",
        INFRA,
        Replace("_Pool.release", "lease.pop()", "lease[0]"),
        ("unit/test_errors_and_policy.py::test_giving_back_twice_does_nothing",),
    ),
    OnFakes(
        "faults: the error comes before the work",
        FAKES,
        Never("Faults._raise_fault", "fault.after_apply"),
        FAULTS,
    ),
    OnFakes(
        "faults: one call uses up two",
        FAKES,
        Replace(
            "Faults._next_fault", "not any(fake is self for fake in _failing_fakes.get())", "True"
        ),
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
            "names.update(name for name in dir(cls) "
            "if hasattr(getattr(cls, name, None), '_can_fail'))",
        ),
        FAULTS,
    ),
    OnFakes(
        "faults: MySQL goes on after a timeout without an answer",
        FAKES,
        Replace(
            "FakeDatabase._apply_fault",
            "(infra.ConnectionError, infra.TimeoutError)",
            "infra.ConnectionError",
        ),
        FAULTS,
    ),
    OnFakes(
        "faults: a stopped statement ends the connection",
        FAKES,
        Never(
            "FakeDatabase._apply_fault",
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
            "_s3_client",
            "client.meta.events.register('before-sign.s3.DeleteObjects', _with_md5)",
        ),
        ("faults/test_storage.py::test_one_failing_key_among_a_thousand",),
    ),
    OnServers(
        "storage: a failed upload is not aborted",
        INFRA,
        Drop(
            "_MultipartUpload._abort",
            "self._request('abort_multipart_upload', **self._upload)",
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
        Replace("_s3_refusal", "status == 404 and is_head", "status > 402 and is_head"),
        ("faults/test_storage.py::test_forbidden_is_not_absent",),
    ),
    OnServers(
        "storage: a cut read begins anew",
        INFRA,
        Never("_S3Reader._open", "self._at"),
        ("faults/test_storage.py::test_a_cut_in_the_middle",),
    ),
    OnServers(
        "storage: the first thousand only",
        INFRA,
        Replace("S3StorageProvider._list.ask", "return found, following", "return found, None"),
        (f"{ON_STAND_IN}::test_long_lists_are_whole",),
    ),
    OnServers(
        "storage: errors of a batch are dropped",
        INFRA,
        Replace(
            "_S3Requests._delete_files.ask",
            "{entry.get('Key'): _aws_code(entry) for entry in refused}",
            "{}",
        ),
        ("faults/test_storage.py::test_one_failing_key_among_a_thousand",),
    ),
    OnFakes(
        "storage: the fake's presigned URLs never end",
        FAKES,
        Never(
            "FakeStorageProvider.fetch",
            "self._clock.now() >= infra._later(signed, lifetime)",
        ),
        FAULTS,
    ),
    OnServers(
        "storage: an end whose answer is lost is an error",
        INFRA,
        Replace("_MultipartUpload._complete", "error.resource != 'upload'", "True"),
        ("faults/test_storage.py::test_a_lost_answer_is_asked_for_again",),
    ),
]


def on_fake(port: str, case: str, backend: str = "TestFake") -> tuple[str, ...]:
    return (f"contract/test_{port}.py::{backend}::{case}",)


ANY = "test_text_of_any_subclass"

TEXTS: list[Mutant] = [
    OnFakes(
        "text: a subclass's own str()",
        INFRA,
        Replace("_VALUE_TYPES", "str.__str__", "str"),
        on_fake("user_repository", ANY, "TestFakePostgres"),
    ),
    OnFakes(
        "text: a member stays a member",
        INFRA,
        Drop("_check_text", "text = _plain(text)"),
        on_fake("key_value_client", ANY),
    ),
    OnFakes(
        "text: a content type stays a member",
        INFRA,
        Replace("_check_content_type", "_plain(content_type)", "content_type"),
        on_fake("storage_provider", ANY),
    ),
    OnFakes(
        "text: metadata stay members",
        INFRA,
        Replace("_check_metadata", "_plain(value)", "value"),
        on_fake("storage_provider", ANY),
    ),
    OnFakes(
        "text: a URL for a method that no store knows",
        INFRA,
        Replace("StorageProvider.get_presigned_url", "_plain(method)", "method"),
        on_fake("storage_provider", ANY),
    ),
    OnFakes(
        "text: a bucket is not found by its name",
        INFRA,
        Drop("_check_bucket", "bucket = _plain(bucket)"),
        on_fake("storage_provider", ANY),
    ),
    OnFakes(
        "text: settings stay members",
        INFRA,
        Drop("_Settings.__post_init__", "object.__setattr__(self, setting.name, value)"),
        ("unit/test_configuration.py::test_text_of_any_subclass",),
    ),
    OnFakes(
        "text: a message stays a member",
        INFRA,
        Replace(
            "SmsService.send_sms",
            "(normalize_phone(phone), _check_text('message', message, longest=1600))",
            "(normalize_phone(phone), _check_text('message', message, longest=1600) and message)",
        ),
        on_fake("sms_service", ANY),
    ),
    OnFakes(
        "text: a glob stays a member",
        INFRA,
        Replace(
            "Listener._change",
            "[_check_key(name, 'channel') for name in names]",
            "[name for name in names if _check_key(name, 'channel')]",
        ),
        on_fake("key_value_client", "test_channels_of_any_subclass"),
    ),
    OnFakes(
        "text: a cache gives the caller's keys back",
        INFRA,
        Replace(
            "CacheProvider.get_many",
            "map(_plain, _check_many('keys', keys))",
            "_check_many('keys', keys)",
        ),
        on_fake("cache_provider", ANY),
    ),
    OnFakes(
        "text: a part of a key is no number",
        INFRA,
        Drop("_key_part", "part = _plain(part)"),
        on_fake("cache_provider", "test_parts_of_any_subclass"),
    ),
    OnFakes(
        "text: two keys of a document are one",
        INFRA,
        Never("_plain_document", "len(found) != len(value)"),
        on_fake("cache_provider", "test_keys_that_are_the_same_text"),
    ),
    OnFakes(
        "text: a document is compared by its own ==",
        INFRA,
        Replace("_document", "found == _plain_document(value)", "False"),
        on_fake("cache_provider", ANY),
    ),
    OnFakes(
        "text: a role is compared by its own ==",
        INFRA,
        Replace("UserRepository.update_organization_role.work", "change['role']", "role"),
        on_fake("user_repository", "test_roles_of_any_subclass", "TestFakePostgres"),
    ),
    OnFakes(
        "text: a level is compared by its own ==",
        INFRA,
        Drop("SubmissionRepository.update_verification", "level = _plain(level)"),
        on_fake("submission_repository", ANY, "TestFakePostgres"),
    ),
    OnFakes(
        "text: a filter's name is compared by its own ==",
        INFRA,
        Replace("_RecordStore._filters", "_plain_keys(query.filters)", "{**query.filters}"),
        on_fake("user_repository", ANY, "TestFakePostgres"),
    ),
    OnFakes(
        "text: a sort is compared by its own ==",
        INFRA,
        Replace("_RecordStore._order", "_plain(sort)", "sort"),
        on_fake("user_repository", ANY, "TestFakePostgres"),
    ),
    OnFakes(
        "text: the fake's tables refuse a member of IntEnum",
        FAKES,
        Replace("_ColumnValues._fit", "infra._plain(value)", "value"),
        ("contract/test_database.py", "unit/test_fakes.py"),
    ),
    OnFakes(
        "text: a repository's table keeps its class",
        INFRA,
        Drop(
            "Repository.__init__",
            "self.table, self.resource = _plain(self.table), _plain(self.resource)",
        ),
        on_fake("database", "test_a_table_named_by_any_subclass", "TestFakePostgres"),
    ),
    OnFakes(
        "text: a fake's condition is compared by its own ==",
        FAKES,
        Replace("_IndexedRows._meeting", "infra._plain(value)", "value"),
        ("unit/test_fakes.py::test_tables_take_text_of_any_subclass",),
    ),
    OnFakes(
        "text: a PUT by URL keeps a member",
        FAKES,
        Replace(
            "FakeStorageProvider.fetch", "infra._check_content_type(content_type)", "content_type"
        ),
        ("unit/test_fakes.py::test_a_presigned_put_of_any_subclass",),
    ),
    OnServers(
        "text: a rule is named after a member's class",
        INFRA,
        Replace("Database._target", "_plain(table)", "table"),
        on_fake("database", ANY, "TestMariaDB"),
    ),
    OnServers(
        "text: a named parameter is not found",
        INFRA,
        Replace("_Dialect.convert_named", "_plain(name)", "name"),
        ("faults/test_databases.py::test_statements_of_any_subclass",),
    ),
    OnFakes(
        "first: a limit counts before the service is looked at",
        INFRA,
        Swap(
            "VerificationCache.send_code",
            "if not _sends_codes(sms):\n    raise ValidationError('sms should be an SmsService')",
            "self._check_limits(keys)",
        ),
        on_fake("verification_cache", "test_a_service_that_sends_nothing"),
    ),
    OnFakes(
        "first: a reason is looked at only where there is a token",
        INFRA,
        Replace(
            "TokenRepository._revoke_all",
            "self._revocation(reason)",
            "self._revocation(reason) if self._number(operation, where) else {}",
        ),
        on_fake("token_repository", "test_a_bad_reason", "TestFakeMySQL"),
    ),
    OnFakes(
        "first: what is false is no device",
        INFRA,
        Never("TokenRepository.issue", "not isinstance(device, Device | None)"),
        on_fake("token_repository", "test_no_device", "TestFakeMySQL"),
    ),
    OnServers(
        "first: a text says that a statement is done",
        INFRA,
        Replace(
            "Migrator.repair",
            "type(number) is not int or type(done) is not bool",
            "type(number) is not int",
        ),
        ("faults/test_migrations.py::test_a_repair_of_no_number",),
    ),
    OnServers(
        "first: a listener that cannot begin keeps its connection",
        INFRA,
        Never("_RedisListener._start", "thread.ident is None"),
        ("faults/test_redis.py::test_a_listener_that_cannot_begin_leaves_no_connection",),
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
        Replace("_check_answer", "not (chunked or 'content-length' in headers)", "False"),
        ("faults/test_storage.py::test_a_body_that_ends_with_the_connection_is_no_object",),
    ),
    OnServers(
        "storage: an upload needs no ETag, a list no name",
        INFRA,
        Drop("_check_answer", "_check_has(parsed, needed)"),
        LACKS,
    ),
    OnServers(
        "storage: any XML is an answer",
        INFRA,
        Replace("_check_answer", "found is None or found[1] != root.encode()", "False"),
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
        Replace("_s3_error", "meaning == 'garbled'", "False"),
        LACKS,
    ),
    OnServers(
        "storage: 200 is enough for a deletion",
        INFRA,
        Replace("_S3Requests._delete.ask", "status != 204", "False"),
        LACKS,
    ),
    OnServers(
        "storage: 200 is enough for a bucket",
        INFRA,
        Replace("S3StorageProvider._create_bucket.ask", "not named", "False"),
        LACKS,
    ),
    OnServers(
        "storage: a store without regions gets the location again",
        INFRA,
        Drop("S3StorageProvider._create_bucket", "where.clear()"),
        ("faults/test_storage.py::test_where_a_bucket_is_created",),
    ),
    OnFakes(
        "configuration: one database with and without its port is two",
        INFRA,
        Replace(
            "Config._database_url",
            "parts._replace(scheme=engine, port=parts.port or _PORTS[engine])",
            "parts._replace(scheme=engine)",
        ),
        ("unit/test_configuration.py",),
    ),
    OnFakes(
        "configuration: the default region comes first",
        INFRA,
        Text(
            "S3StorageConfig.region",
            "AWS_REGION AWS_DEFAULT_REGION",
            "AWS_DEFAULT_REGION AWS_REGION",
        ),
        ("unit/test_configuration.py",),
    ),
    OnServers(
        "storage: a kept connection outlives a failure",
        INFRA,
        Drop("_translate_s3", "attempt.note.close()"),
        ("faults/test_storage.py::test_a_store_that_has_moved_is_found",),
    ),
    OnServers(
        "storage: a folder that stays counts as deleted",
        INFRA,
        Replace("_S3Requests._delete.ask", "place['Key'].endswith('/')", "False"),
        ("faults/test_storage.py::test_a_folder_that_stays_is_not_called_deleted",),
    ),
    OnServers(
        "storage: folders that are emptied stay",
        INFRA,
        Never("_S3Requests._delete_many", "self._keeps_folders"),
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
        Never(
            "_s3_endpoint_problem",
            "not problem and _HOST_OF_BUCKET.fullmatch(_Url.parse(value).host)",
        ),
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
            "not _is_unsent(error)",
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

COMMANDS: list[Mutant] = [
    OnFakes(
        "vendor: replaces what was edited",
        INFRA,
        Never("_vendor", "edited and not arguments.force"),
        VENDOR,
    ),
    OnFakes(
        "vendor: says how copies differ, and exits with 0",
        INFRA,
        Replace("_vendor", "int(not all(copied.equal for copied in copies))", "0"),
        VENDOR,
    ),
    OnFakes(
        "vendor: never looks at a digest",
        INFRA,
        Replace("_LibraryFile.__init__", "stamp is not None and stamp[2] != self.digest", "False"),
        VENDOR,
    ),
    OnFakes(
        "vendor: line endings count",
        INFRA,
        Replace(
            "_LibraryFile.__init__",
            "path.read_text('utf-8', 'surrogateescape')",
            "path.read_bytes().decode('utf-8', 'surrogateescape')",
        ),
        VENDOR,
    ),
    OnFakes(
        "vendor: a relative import counts as an edit",
        INFRA,
        Replace("_LibraryFile.__init__", "_TYPE_IMPORT.sub('\\\\1\\\\3', text)", "text"),
        VENDOR,
    ),
    OnFakes(
        "vendor: a package gets the plain import",
        INFRA,
        Replace("_replace_copies", "package and source.relative is not None", "False"),
        VENDOR,
    ),
    OnFakes(
        "vendor: any import is fine in a package",
        INFRA,
        Replace("_copy_in", "found.relative in (None, package)", "True"),
        VENDOR,
    ),
    OnFakes(
        "vendor: a copy without a digest counts as unedited",
        INFRA,
        Replace("_copy_in", "found.edited or not (same or found.stamped)", "found.edited"),
        VENDOR,
    ),
    OnFakes(
        "vendor: replaces links",
        INFRA,
        Replace("_check_targets", "irregular or (path.is_symlink() and not compare)", "irregular"),
        VENDOR,
    ),
    OnFakes(
        "vendor: copies what was edited",
        INFRA,
        Never("_check_sources", "source.edited"),
        VENDOR,
    ),
    OnFakes(
        "vendor: compares the checkout with itself",
        INFRA,
        Replace("_check_sources", "not source.stamped", "False"),
        VENDOR,
    ),
    OnFakes(
        "vendor: copies files onto themselves",
        INFRA,
        Never("_check_sources", "not compare"),
        VENDOR,
    ),
    OnFakes(
        "vendor: a kill leaves half a file",
        INFRA,
        Replace(
            "_write_all", "os.replace(temporary[path], path)", "path.write_bytes(contents[path])"
        ),
        VENDOR,
    ),
    OnFakes(
        "vendor: leaves its temporary files",
        INFRA,
        Drop("_write_all", "end.callback(temporary[path].unlink, missing_ok=True)"),
        VENDOR,
    ),
    OnFakes(
        "command: nothing to do counts as done",
        INFRA,
        Replace("_main", "return 2", "return 0"),
        ("unit/test_command_line.py::test_without_a_command_it_shows_the_help",),
    ),
]

MUTANTS: list[Mutant] = [*CALLS, *OBJECTS, *TEXTS, *ANSWERS, *MESSAGES, *COMMANDS]
