"""Holds one output against its input, field by field, and says in words where they first differ.

Identifiers are computed here anew from CONTRACT.md; nothing is taken from the gate's own code.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any

from agents.audit.inputs import (
    CUT_BYTES,
    CUT_LENGTHS,
    MARKED,
    NOT_A_DECISION,
    Facts,
    Partition,
    Place,
    Record,
    is_int,
    mark,
)
from agents.audit.scan import Document

SHED = "shed.overload"
POISON = "invalid.poison"
VERBATIM = {
    "commands": "action",
    "reviews": "decision",
    "exceptions": "decision",
    "reevaluations": "decision",
}
"""The member of each output that carries its input's bytes."""


_REQUEST_MARKED = ("workflow", "entity", "value_minor", "currency", "segment")


def difference(
    role: str, record: Record, found: Document, partition: Partition, index: int, source: Place
) -> str | None:
    """Returns what in the output does not fit the input at `index`, or None when all of it does."""
    facts = partition.facts(index)
    if record.partition != source[1]:
        return f"partition {record.partition}, its input came from {source[1]}"
    if mark(record.key) != facts.key_mark:
        return f"its key {record.key!r} is not its input's"
    if found.repeated:
        return "it names a field twice"
    at = f"{source[0]}/{source[1]}/{partition.offsets[index]}"
    if role == "commands":
        return _command(found, facts)
    if role == "reviews":
        return _review(found, facts, at)
    if role == "exceptions":
        return _exception(found, facts, partition.cuts.get(index, {}), at)
    return _request(found, facts, at)


def _command(found: Document, facts: Facts) -> str | None:
    fields = found.fields
    if facts.fault:
        return NOT_A_DECISION[facts.fault]
    if _sha256(found.verbatim) != facts.action_sha256:
        return "its action is not the input's, byte for byte"
    if fields.get("command_id") != f"c-{facts.command_digest.hex()}":
        return f"its command_id {fields.get('command_id')!r} is not that of its root"
    return _marks(fields, facts, MARKED) or _times(fields, facts, "deadline_ms")


def _times(fields: dict[str, Any], facts: Facts, ending: str) -> str | None:
    gated_at_ms, ends_ms, age_ms = (fields.get(name) for name in ("gated_at_ms", ending, "age_ms"))
    if not (is_int(gated_at_ms) and is_int(ends_ms)):
        return f"its gated_at_ms or {ending} is not a time"
    if ends_ms > facts.limit_ms:
        return f"its {ending} {ends_ms} is past its input's own, {facts.limit_ms}"
    age_wanted_ms = max(0, gated_at_ms - facts.observed_at_ms)
    if not is_int(age_ms) or age_ms != age_wanted_ms:
        return f"its age_ms is {age_ms!r}, gated_at_ms less observed_at_ms is {age_wanted_ms}"
    stages_ms = fields.get("stages_ms")
    times_ms = list(stages_ms.values()) if isinstance(stages_ms, dict) else []
    if not all(is_int(time_ms) and time_ms >= 0 for time_ms in times_ms) or sum(times_ms) != age_ms:
        return f"its stages_ms {stages_ms!r} do not add up to its age_ms {age_ms}"
    return None


def _review(found: Document, facts: Facts, at: str) -> str | None:
    fields = found.fields
    if facts.fault:
        return NOT_A_DECISION[facts.fault]
    if fields.get("action_digest") != f"sha256:{facts.action_sha256.hex()}":
        return "its action_digest is not that of its input's action"
    if fields.get("decision") is None:
        return "it carries no decision"
    number = at.rsplit("/", 2)[1]
    if fields.get("review_id") != f"r-{number}-{_digest(f'review:{at}')}":
        return f"its review_id {fields.get('review_id')!r} is not that of its source"
    return _marks(fields, facts, ("workflow", "entity")) or _decision(found, facts)


def _request(found: Document, facts: Facts, at: str) -> str | None:
    fields = found.fields
    if facts.fault:
        return NOT_A_DECISION[facts.fault]
    if fields.get("decision") is None:
        return "it carries no decision"
    number = at.rsplit("/", 2)[1]
    if fields.get("request_id") != f"q-{number}-{_digest(f'reevaluation:{at}')}":
        return f"its request_id {fields.get('request_id')!r} is not that of its source"
    if bytes.fromhex(_digest(f"sluicegate:{fields.get('root_id')}")) != facts.command_digest:
        return f"its root_id {fields.get('root_id')!r} is not its input's"
    for name in ("attempt", "first_observed_at_ms"):
        wanted = getattr(facts, name)
        if not is_int(fields.get(name)) or fields[name] != wanted:
            return f"its {name} is {fields.get(name)!r}, its input's is {wanted}"
    wrong = _marks(fields, facts, _REQUEST_MARKED) or _times(fields, facts, "final_deadline_ms")
    if wrong is None and facts.attempt > 1 and fields["final_deadline_ms"] != facts.limit_ms:
        wrong = f"its final_deadline_ms {fields['final_deadline_ms']} is not that of its root, {facts.limit_ms}"
    if wrong is None and fields["gated_at_ms"] >= fields["final_deadline_ms"]:
        wrong = "it was gated at or past its final_deadline_ms, when nothing could be saved any more"
    return wrong or _attempts(fields.get("attempts"), facts) or _decision(found, facts)


def _attempts(attempts: Any, facts: Facts) -> str | None:
    """The history ends with this attempt; each stands in it once."""
    listed = attempts if isinstance(attempts, list) else []
    numbers = [one["attempt"] for one in listed if isinstance(one, dict) and is_int(one.get("attempt"))]
    if len(numbers) < len(listed) or sorted(set(numbers)) != numbers:
        return "its attempts are not numbered in order, each once"
    if not numbers or numbers[-1] != facts.attempt or listed[-1].get("observed_at_ms") != facts.observed_at_ms:
        return f"its attempts {numbers!r} do not end with its input, attempt {facts.attempt}"
    return None


def _exception(found: Document, facts: Facts, cuts: dict[int, bytes], at: str) -> str | None:
    fields = found.fields
    named = f"exception:{at}:{fields.get('reason')}"
    if fields.get("exception_id") != f"x-{_digest(named)}":
        return f"its exception_id {fields.get('exception_id')!r} is not that of its source and reason"
    if fields.get("raw_sha256") != facts.value_sha256.hex():
        return "its raw_sha256 is not that of its input"
    if not is_int(fields.get("raw_bytes")) or fields["raw_bytes"] != facts.value_bytes:
        return f"its raw_bytes is {fields.get('raw_bytes')!r}, its input has {facts.value_bytes}"
    return _decision(found, facts) or _raw(fields, facts, cuts)


def _decision(found: Document, facts: Facts) -> str | None:
    if found.fields.get("decision") is None:
        return None
    if _sha256(found.verbatim)[:16] != facts.decision_sha256:
        return "its decision is not its input, byte for byte"
    return None


def _raw(fields: dict[str, Any], facts: Facts, cuts: dict[int, bytes]) -> str | None:
    text: Any = fields.get("raw")
    encoded: Any = fields.get("raw_base64")
    if facts.tombstone:
        return None if text is None and encoded is None else "its input is a tombstone and it carries bytes"
    if text is None and encoded is None:
        # what is shed is too much to be carried, and poison must not be: their hashes and lengths are held against
        # their inputs like any other
        lost = facts.value_bytes > 0 and fields.get("decision") is None and fields.get("reason") not in (SHED, POISON)
        return "neither decision nor raw holds its input's bytes" if lost else None
    try:
        data = (
            text.encode()
            if isinstance(text, str)
            else base64.b64decode(encoded if text is None else text, validate=True)
        )
    except (TypeError, ValueError, binascii.Error):
        return "its raw or raw_base64 cannot be read"
    if len(data) == facts.value_bytes:
        same = hashlib.sha256(data).digest() == facts.value_sha256
    elif len(data) in CUT_LENGTHS and facts.value_bytes > CUT_BYTES:
        same = hashlib.sha256(data).digest() == cuts[len(data)]
    else:
        return f"its raw holds {len(data)} of {facts.value_bytes} bytes; it may be cut at {CUT_BYTES} only"
    return None if same else "its raw is not the beginning of its input"


def _marks(fields: dict[str, Any], facts: Facts, names: tuple[str, ...]) -> str | None:
    if fields.get("decision_id") != facts.id:
        return f"its decision_id {fields.get('decision_id')!r} is not its input's"
    for name, wanted in zip(MARKED, facts.marks, strict=True):
        if name in names and mark(fields.get(name)) != wanted:
            return f"its {name} {fields.get(name)!r} is not its input's"
    return None


def _sha256(text: str | None) -> bytes:
    return hashlib.sha256((text or "").encode()).digest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
