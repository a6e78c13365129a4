"""Mutants of stores in several regions."""

from __future__ import annotations

from tests.mutants.edits import Always, Drop, Edit, Never, Replace
from tests.mutants.suite import FAKES, INFRA, Mutant, OnFakes

CASES = "contract/test_regions.py::TestFakePostgres::test_"
UNIT = "unit/test_regions.py::test_"
PROVIDER, RELAY = "MultiRegionStorageProvider", "_RegionRelay"


def mutant(name: str, edit: Edit, *tests: str) -> Mutant:
    return OnFakes(f"regions: {name}", INFRA, edit, tests)


MUTANTS: list[Mutant] = [
    mutant(
        "what is owed is stored after the write only",
        Replace(f"{PROVIDER}._write", "begun = self._owe(places)", "begun = []"),
        f"{UNIT}a_write_of_unknown_end_is_looked_at_later",
    ),
    mutant(
        "a write that has ended is not due",
        Drop(f"{PROVIDER}._write", "self._settle(method, begun)"),
        f"{CASES}a_write_comes_to_the_other_region",
    ),
    mutant(
        "each failed write owes nothing",
        Replace(f"{PROVIDER}._write", "not is_unsure and method != 'delete_batch'", "True"),
        f"{UNIT}a_write_of_unknown_end_is_looked_at_later",
    ),
    mutant(
        "a refused batch owes nothing",
        Replace(f"{PROVIDER}._write", "method != 'delete_batch'", "True"),
        f"{UNIT}a_batch_that_is_refused_may_have_deleted_some",
    ),
    mutant(
        "what is refused is owed",
        Drop(f"{PROVIDER}._write", "self._settle(method, begun, done=False)"),
        f"{CASES}what_the_primary_refuses_is_not_owed",
    ),
    mutant(
        "a lost answer of another provider is a refusal",
        Replace(
            f"{PROVIDER}._write",
            "isinstance(error, (ConnectionError, TimeoutError)) or error.retryable",
            "False",
        ),
        f"{UNIT}a_provider_without_a_call_policy",
    ),
    mutant(
        "a write inside a transaction",
        Drop(f"{PROVIDER}._write", "self._check_outside(method)"),
        f"{CASES}inside_a_transaction",
    ),
    mutant(
        "a lost database fails a write that was done",
        Replace(f"{PROVIDER}._settle", "InfrastructureError", "NotFoundError"),
        f"{UNIT}a_database_that_goes_away_meanwhile",
    ),
    mutant(
        "an unfinished write is looked at once",
        Always(f"{RELAY}._pay", "now >= end"),
        f"{UNIT}it_is_looked_at_ever_less_often_for_a_day",
    ),
    mutant(
        "an unfinished write is looked at at once",
        Replace(f"{PROVIDER}._owe", "now + timedelta(seconds=self.SETTLE)", "now"),
        f"{UNIT}a_write_of_unknown_end_is_looked_at_later",
    ),
    mutant(
        "an unfinished write is looked at for ever",
        Replace(f"{PROVIDER}._owe", "begun + longest", "begun + 10 * longest"),
        f"{CASES}presigned_urls_that_change_something",
    ),
    mutant(
        "the end of a write is put off with its look",
        Replace(
            f"{RELAY}._put_off", "{'id': row.id, 'message_id': row.message_id}", "{'id': row.id}"
        ),
        f"{UNIT}a_write_that_ends_during_a_look",
    ),
    mutant(
        "a copy is not looked at again",
        Replace(f"{PROVIDER}._align", "copied, alive = found, lambda: None", "return"),
        f"{UNIT}a_relay_that_stood_still_leaves_no_old_object",
        f"{UNIT}a_deleted_object_is_not_revived_by_a_relay_that_stood_still",
    ),
    mutant(
        "a relay without its lease leaves what it has copied",
        Replace(f"{PROVIDER}._align", "copied, alive = found, lambda: None", "copied = found"),
        f"{UNIT}a_relay_that_stood_still_leaves_no_old_object",
    ),
    mutant(
        "what is deleted stays in the other region",
        Replace(f"{PROVIDER}._copy_to", "self._ask(region, 'delete', bucket, key)", "pass"),
        f"{CASES}every_kind_of_write",
    ),
    mutant(
        "content types do not count",
        Replace(
            f"{PROVIDER}._copy_to",
            "replace(held, last_modified=found.last_modified) == found",
            "held.etag == found.etag",
        ),
        f"{UNIT}what_is_equal_is_not_copied_again",
    ),
    mutant(
        "what is equal is copied again",
        Replace(
            f"{PROVIDER}._copy_to",
            "replace(held, last_modified=found.last_modified) == found",
            "False",
        ),
        f"{UNIT}what_is_equal_is_not_copied_again",
    ),
    mutant(
        "a region's bucket is not made",
        Drop(f"{PROVIDER}._align", "self._ask(region, 'create_bucket', bucket)", nth=2),
        f"{CASES}the_bucket_comes_too",
    ),
    mutant(
        "a copy does not show that the relay lives",
        Replace(f"{PROVIDER}._copy_to", "alive()", "pass"),
        f"{UNIT}a_relay_of_a_large_object_shows_that_it_lives",
    ),
    mutant(
        "a region that is out is asked for each object",
        Replace(f"{RELAY}._send_batch", "self._out.get(row.channel, 0.0)", "0.0"),
        f"{UNIT}a_region_that_is_out_is_asked_once",
    ),
    mutant(
        "a refused copy is forgotten",
        Replace(
            f"{RELAY}._pay", "self._put_off(row, target.RETRY)", "self._mark(row.bucket, [row])"
        ),
        f"{UNIT}what_a_region_refuses_is_tried_again",
    ),
    mutant(
        "relays take what others with the outbox are owed",
        Replace(f"{PROVIDER}.__init__", "f'{self._name}/{region}'", "f'storage/{region}'"),
        f"{CASES}others_with_the_same_outbox",
    ),
    mutant(
        "the outbox counts what regions are owed",
        Replace("_UNSENT", "Below(Outbox.BUCKETS)", "Not(None)"),
        f"{CASES}beside_the_events_of_the_outbox",
    ),
    mutant(
        "a refusal of the primary asks the others",
        Replace(
            f"{PROVIDER}._read", "self._read_stale and isinstance(error, NotFoundError)", "True"
        ),
        f"{UNIT}what_counts_as_an_outage",
    ),
    mutant(
        "an open breaker is no outage",
        Replace("_is_outage", "isinstance(error, CircuitOpenError)", "False"),
        f"{UNIT}what_counts_as_an_outage",
    ),
    mutant(
        "the last region's error is raised",
        Replace(f"{PROVIDER}._read", "failure or error", "error"),
        f"{CASES}what_no_region_has_while_the_primary_is_out",
    ),
    mutant(
        "what the primary does not have is read elsewhere",
        Replace(f"{PROVIDER}._read", "self._read_stale", "True"),
        f"{CASES}what_the_primary_does_not_have",
    ),
    mutant(
        "writes by URL are not owed",
        Drop(f"{PROVIDER}._presign", "self._owe([place], seconds + 3600)"),
        f"{CASES}presigned_urls_that_change_something",
    ),
    mutant(
        "copies do not have the region's suffix",
        Replace(f"{PROVIDER}._ask", "self._suffixes[region]", "''"),
        f"{CASES}suffixes",
    ),
    mutant(
        "a repair before a former primary has paid",
        Never(
            f"{PROVIDER}.repair",
            "self._events.exists_where("
            "{'channel': f'{self._name}/{self._first}', 'sent_at': None})",
        ),
        f"{CASES}no_repair_before_a_former_primary_has_paid",
    ),
    mutant(
        "a repair owes nothing",
        Drop(f"{PROVIDER}._repair", "self._settle('repair', begun)"),
        f"{CASES}repair",
    ),
    mutant(
        "a repair leaves its manifest",
        Drop(
            f"{PROVIDER}._repair",
            "target.storage.delete_batch(target.bucket, [part.key for part in parts])",
        ),
        f"{CASES}repair",
    ),
    mutant(
        "a repair does not see an older copy",
        Replace(
            f"{PROVIDER}._repair", "mine[key].last_modified > theirs[key].last_modified", "False"
        ),
        f"{UNIT}an_older_copy_with_the_same_bytes",
    ),
    mutant(
        "the same provider twice",
        Replace(f"{PROVIDER}.__init__", "max(2, len(stores))", "1"),
        f"{CASES}wrong_arguments",
    ),
    mutant(
        "stop ends the outbox's own relays",
        Replace(f"{PROVIDER}.__init__", "copy.copy(outbox)", "outbox"),
        f"{CASES}stop_ends_a_relay",
    ),
    mutant(
        "a region takes the settings of one store",
        Replace("_Settings._read", "re.sub('^(?:S3|AWS)_', region, variable)", "variable"),
        f"{UNIT}settings",
    ),
    mutant(
        "a region twice is one",
        Never("Config._regions", "found and len(found) < len(names)"),
        f"{UNIT}wrong_settings",
    ),
    mutant(
        "health asks the regions as one",
        Never("Infrastructure._names_to_ask", "config.regions"),
        f"{UNIT}the_bundle",
    ),
    OnFakes(
        "regions: a fake does not say that a write may have been done",
        FAKES,
        Replace("Faults._raise_fault", "fault.after_apply", "False", nth=1),
        (f"{UNIT}a_write_of_unknown_end_is_looked_at_later",),
    ),
]
