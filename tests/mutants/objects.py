"""Mutants of the moves of objects."""

from __future__ import annotations

from tests.mutants.edits import Drop, Never, Replace
from tests.mutants.suite import INFRA, Mutant, OnFakes

UNIT = "unit/test_object_moves.py"


def cases(*names: str) -> tuple[str, ...]:
    """The ids of the cases on two fakes."""
    return tuple(f"contract/test_object_moves.py::TestFakeToFake::{name}" for name in names)


MUTANTS: list[Mutant] = [
    OnFakes(
        "objects: one that has changed stays",
        INFRA,
        Replace("_ObjectRun.plan", "new.items() <= old.items()", "True"),
        cases("test_what_has_changed_moves_again"),
    ),
    OnFakes(
        "objects: each moves again",
        INFRA,
        Replace("_ObjectRun.plan", "new.items() <= old.items()", "False"),
        cases("test_a_finished_move_moves_nothing"),
    ),
    OnFakes(
        "objects: two with one new key replace each other",
        INFRA,
        Never("_ObjectRun.plan", "to in planned"),
        cases("test_two_objects_with_one_new_key"),
    ),
    OnFakes(
        "objects: the ETag is not kept",
        INFRA,
        Replace("_ObjectRun.plan", "found.etag", "''"),
        cases("test_the_manifest"),
    ),
    OnFakes(
        "objects: one that is left out is not read",
        INFRA,
        Drop("_ObjectRun.plan", "self._dropped += 1"),
        cases("test_rename_and_leave_out"),
    ),
    OnFakes(
        "objects: manifests move",
        INFRA,
        Replace("_Folder.objects", "_MANIFESTS not in one.key", "True"),
        cases("test_manifests_do_not_move"),
    ),
    OnFakes(
        "objects: a new key may be that of a manifest",
        INFRA,
        Never("_ObjectRun._new_key", "_MANIFESTS in _check_text('the new key', rest)"),
        cases("test_new_keys_that_no_store_takes"),
    ),
    OnFakes(
        "objects: a limit does not count those that were moved",
        INFRA,
        Replace("_ObjectRun.execute", "pending[: self._end]", "planned[: self._end]"),
        cases("test_a_part_and_the_rest"),
    ),
    OnFakes(
        "objects: a part is all",
        INFRA,
        Replace("_ObjectRun.execute", "len(pending) <= self._end", "True"),
        cases("test_a_part_and_the_rest"),
    ),
    OnFakes(
        "objects: the last ones are not in the manifest",
        INFRA,
        Drop("_ObjectRun.execute", "self._write(1)"),
        cases("test_the_manifest"),
    ),
    OnFakes(
        "objects: what ended before an error is forgotten",
        INFRA,
        Replace("_ObjectRun.execute", "self._write(1)", "sys.exc_info()[0] or self._write(1)"),
        (f"{UNIT}::test_what_ended_before_an_error_is_in_the_manifest",),
    ),
    OnFakes(
        "objects: a dry run writes",
        INFRA,
        Never("_ObjectRun._transfer", "self._dry_run"),
        cases("test_dry_run"),
    ),
    OnFakes(
        "objects: Ctrl-C does not stop the others",
        INFRA,
        Never("_ObjectRun._transfer", "self._stop.is_set()"),
        cases("test_ctrl_c"),
    ),
    OnFakes(
        "objects: metadata are lost",
        INFRA,
        Replace("_ObjectRun._transfer", "held.metadata", "{}"),
        cases("test_content_type_and_metadata"),
    ),
    OnFakes(
        "objects: a deleted one counts as written",
        INFRA,
        Replace(
            "_ObjectRun._transfer", "MoveCounts(read=1, missing=1)", "MoveCounts(read=1, written=1)"
        ),
        cases("test_an_object_that_is_deleted_meanwhile"),
    ),
    OnFakes(
        "objects: an absent bucket is a deleted object",
        INFRA,
        Never("_ObjectRun._transfer", "error.resource != 'object'"),
        (f"{UNIT}::test_an_absent_bucket_is_no_deleted_object",),
    ),
    OnFakes(
        "objects: a refusal hides the error of a busy store",
        INFRA,
        Never("_ObjectRun._transfer", "error.retryable"),
        (f"{UNIT}::test_a_store_that_fails_in_the_middle",),
    ),
    OnFakes(
        "objects: another run is not noticed",
        INFRA,
        Never("_ObjectRun._write", "self._find_parts() - self._parts"),
        cases("test_another_run_at_the_same_time"),
    ),
    OnFakes(
        "objects: a part of the manifest for each object",
        INFRA,
        Replace("_ObjectRun._write", "count < least", "False"),
        cases("test_the_manifest"),
    ),
    OnFakes(
        "objects: the manifest is not written in time",
        INFRA,
        Replace("_ObjectRun._write", "now < self._written + move.INTERVAL", "True"),
        (f"{UNIT}::test_the_manifest_is_written_in_time",),
    ),
    OnFakes(
        "objects: a restart keeps the manifest",
        INFRA,
        Never("_ObjectRun._read_manifest", "not self._dry_run"),
        cases("test_a_restart_that_is_stopped_goes_on"),
    ),
    OnFakes(
        "objects: a rehearsed restart removes the manifest",
        INFRA,
        Replace("_ObjectRun._read_manifest", "not self._dry_run", "True"),
        cases("test_dry_run_after_a_part"),
    ),
    OnFakes(
        "objects: verify believes what it finds",
        INFRA,
        Replace("_ObjectRun.compare", "held == sha256", "True"),
        cases("test_verify"),
    ),
    OnFakes(
        "objects: verify knows no objects without an entry",
        INFRA,
        Replace("_ObjectRun.compare", "self._move.source.sha256(one['key'])", "''"),
        cases("test_verify_without_a_manifest"),
    ),
    OnFakes(
        "objects: a target inside the source",
        INFRA,
        Replace("ObjectMove.__init__", "inner.startswith(outer)", "inner == outer"),
        cases("test_the_same_place"),
    ),
]
