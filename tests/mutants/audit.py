"""Mutants of the audit log: its entries, seals and streams."""

from __future__ import annotations

from tests.mutants.edits import Drop, Edit, Never, Replace, Text
from tests.mutants.suite import INFRA, Mutant, OnFakes, OnServers

CASES = ("contract/test_audit.py",)


def audit(name: str, edit: Edit) -> Mutant:
    return OnFakes(f"audit: {name}", INFRA, edit, CASES)


MUTANTS: list[Mutant] = [
    # entries
    audit("an actor may be a phone", Never("AuditLog._insert", "redact_document(text) != text")),
    audit(
        "the caller's document is redacted in place",
        Replace("AuditLog._redacted", "_document('data', data).value", "data"),
    ),
    audit("nothing is redacted", Replace("AuditLog._redacted", "self._redact(data)", "data")),
    audit(
        "an error of redact is told in its words",
        Replace("AuditLog._redacted", "type(error).__name__", "str(error)"),
    ),
    audit(
        "values under secret keys are stored",
        Replace("redact_document", "'***' if is_secret else redact_document(value)", "value"),
    ),
    audit(
        "keys that are phones are stored",
        Replace("_redacted_name", "redact_document(name)", "name"),
    ),
    audit(
        "camel case hides a secret",
        Replace("_redacted_name", "_CAMEL_CASE.sub('_', name)", "name"),
    ),
    audit("a part of a word is secret", Text("_SECRET_NAME", r"(?![^\W\d_])", "")),
    audit(
        "lists are not redacted",
        Replace("redact_document", "[*map(redact_document, data)]", "data"),
    ),
    audit(
        "a blank actor",
        Drop("AuditLog.record", "_check_text('actor', actor, blank_ends=False, empty=False)"),
    ),
    audit(
        "an action may be empty", Replace("_AuditRepository.trimmed", "('action', 'subject')", "()")
    ),
    audit(
        "entries begin at their number",
        Replace("AuditLog.entries", "Above(after)", "AtLeast(after)"),
    ),
    audit("an entry's repr shows its data", Replace("AuditEntry.data", "False", "True")),
    # seals
    audit(
        "the mac does not hold the one before",
        Replace(
            "AuditLog._mac",
            "last.mac + _canonical([last.position + 1, *values])",
            "_canonical([last.position + 1, *values])",
        ),
    ),
    audit(
        "the mac does not hold the position",
        Replace("AuditLog._mac", "[last.position + 1, *values]", "[*values]"),
    ),
    *(
        audit(f"the mac does not hold {name}", Replace("AuditLog._mac", name, "None"))
        for name in (
            "entry.actor",
            "entry.action",
            "entry.subject",
            "entry.version",
            "entry.data",
        )
    ),
    audit(
        "the mac does not hold the time",
        Replace("AuditLog._mac", "entry.created_at.isoformat()", "''"),
    ),
    audit("another order of keys is a change", Replace("_canonical", "True", "False")),
    audit(
        "a seal inside a transaction",
        Never("AuditLog.seal", "self._seals.database._current() is not None"),
    ),
    audit(
        "another key goes on with the chain", Never("AuditLog.seal", "self._seals.get(0) != root")
    ),
    audit(
        "entries of the future are sealed",
        Replace(
            "AuditLog.seal",
            "Between(self._settled(), self._clock.now())",
            "AtLeast(self._settled())",
        ),
    ),
    audit(
        "old entries are sealed",
        Replace(
            "AuditLog.seal",
            "Between(self._settled(), self._clock.now())",
            "AtMost(self._clock.now())",
        ),
    ),
    audit(
        "late entries are not sealed",
        Replace("AuditLog._settled", "self._settle", "timedelta(0)"),
    ),
    audit(
        "the newest seal alone tells the time",
        Replace("AuditLog._settled", "self._last_seals(self.BATCH)", "self._last_seals(1)"),
    ),
    audit(
        "sealed entries are sealed again", Replace("AuditLog._unsealed", "id not in sealed", "True")
    ),
    audit(
        "only the first portion is sealed",
        Replace("AuditLog._without_seals", "read(self.BATCH, after=rows[-1])", "[]"),
    ),
    audit("the first seal is taken for the last", Replace("AuditLog._last_seals", "True", "False")),
    audit(
        "a gap in the chain is no matter",
        Never("AuditLog._problem", "seal.position != last.position + 1"),
    ),
    audit(
        "verify takes any key", Replace("AuditLog._problem", "'' if seal == root else 'key'", "''")
    ),
    audit(
        "a removed entry is no matter",
        Replace(
            "AuditLog._problem",
            "'changed' if self._entries.exists(seal.entry_id) else 'removed'",
            "''",
        ),
    ),
    audit(
        "a changed entry is no matter",
        Replace(
            "AuditLog._problem", "'' if seal.mac == self._mac(last, entry) else 'changed'", "''"
        ),
    ),
    audit(
        "the given head is not compared",
        Never("AuditLog._first_problem", "seal.position == end and seal.head != head"),
    ),
    audit(
        "a chain may end before the head", Never("AuditLog._first_problem", "last.position < end")
    ),
    audit("inserted entries are not looked for", Never("AuditLog._first_problem", "ids")),
    audit(
        "entries of a far future are in order",
        Replace(
            "AuditLog._first_problem",
            "Not(Between(self._settled(), until))",
            "Below(self._settled())",
        ),
    ),
    audit(
        "any text is a head",
        Replace(
            "AuditLog.verify",
            "head is not None and (not (_is_text(head) and _HEAD.fullmatch(head)))",
            "False",
        ),
    ),
    audit("a report is always in order", Replace("AuditReport.ok", "not self.problem", "True")),
    # streams
    audit(
        "a gap in a stream is no matter",
        Never("AuditLog.append", "expected_version and (not self._entries.exists_where(last))"),
    ),
    audit(
        "versions begin at 0",
        Replace(
            "AuditLog.append",
            "self._insert(actor, event._type, stream, expected_version + 1, redacted)",
            "self._insert(actor, event._type, stream, expected_version, redacted)",
        ),
    ),
    audit("an event that cannot be read is stored", Never("AuditLog.append", "redacted != data")),
    audit(
        "entries are replayed as events",
        Replace(
            "AuditLog.replay", "{'subject': stream, 'version': AtLeast(1)}", "{'subject': stream}"
        ),
    ),
    audit("a walk pages by the key", Replace("Repository._walk", "by or self.key", "self.key")),
    audit(
        "replay forgets the state",
        Replace(
            "AuditLog.replay",
            "_not_deferred(fold(start, Message(stream, None, _encode(entry.data))))",
            "start",
        ),
    ),
    OnServers(
        "audit: an entry that cannot be read ends verify",
        INFRA,
        Replace("AuditLog._read", "SerializationError", "ZeroDivisionError"),
        ("faults/test_audit.py::test_a_document_that_cannot_be_read",),
    ),
    OnServers(
        "audit: a second sealer fails",
        INFRA,
        Replace("AuditLog._chain", "ConflictError", "ZeroDivisionError"),
        ("faults/test_audit.py::test_sealers_on_connections_of_their_own",),
    ),
]
