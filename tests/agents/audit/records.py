"""Hand-made records for the audit: inputs, and the outputs that a faithful gate would give them.

Built from CONTRACT.md with the standard library, so that neither the gate nor the audit is asked what is right.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

from agents.audit.inputs import Inputs
from agents.audit.judge import Judge
from agents.audit.lineage import Lineage
from agents.audit.report import BROKEN, REPORTED, Result

DECISIONS, SUCCESSORS, REEVALUATIONS = "t.decisions", "t.successors", "t.reevaluations"
OBSERVED_MS = 1_764_000_000_000
GATED_MS = OBSERVED_MS + 163
DEADLINE_MS = OBSERVED_MS + 600_000
FINAL_MS = OBSERVED_MS + 1_800_000
LATE_MS = OBSERVED_MS + 700_000
ACTION = '{"type": "invoice.post",  "amount": 1.50, "n": 1e2, "who": "\\u0041na"}'


@dataclass(frozen=True)
class Rec:
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = GATED_MS + 5
    timestamp_type: int = 1
    headers: tuple[tuple[str, bytes | None], ...] = ()

    def changed(self, **fields: Any) -> Rec:
        """The same output with some of its fields replaced; the texts of action and decision stay as they are."""
        assert self.value is not None
        fields_before = json.loads(self.value)
        assert set(fields) <= set(fields_before)
        if isinstance(fields_before.get("decision"), dict):
            fields_before["decision"] = Text(decision_text(self.value))
        return replace(self, value=dumps(fields_before | fields))

    def rewritten(self, before: str, after: str) -> Rec:
        assert self.value is not None
        assert before.encode() in self.value
        return replace(self, value=self.value.replace(before.encode(), after.encode()))


def dumps(fields: dict[str, Any]) -> bytes:
    """JSON in which `action` is written as ACTION and a `Text` stands as it is."""
    members = []
    for name, value in fields.items():
        text = value if isinstance(value, Text) else json.dumps(value)
        members.append(f"{json.dumps(name)}:{ACTION if name == 'action' and not isinstance(value, Text) else text}")
    return ("{" + ",".join(members) + "}").encode()


def decision_text(value: bytes) -> str:
    """The decision in an output, as it stands there."""
    text = value.decode()
    start = text.index('"decision":') + len('"decision":')
    return text[start : json.JSONDecoder().raw_decode(text, start)[1]]


class Text(str):
    """JSON text to be put in verbatim."""


def h(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def decision(offset: int, identifier: str | None = None, partition: int = 0, **fields: Any) -> Rec:
    entity = fields.pop("entity", "acct-17")
    body = {
        "id": identifier or f"d-{partition}-{offset}",
        "workflow": "billing",
        "entity": entity,
        "action": None,
        "observed_at_ms": OBSERVED_MS,
        "value_minor": 125050,
        "currency": "USD",
        "segment": "fleet-2",
    }
    return Rec(DECISIONS, partition, offset, entity.encode(), dumps(body | fields))


def raw(offset: int, value: bytes | None, key: bytes | None = b"k", partition: int = 0) -> Rec:
    return Rec(DECISIONS, partition, offset, key, value)


def source(record: Rec) -> dict[str, Any]:
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset}


def at(record: Rec) -> str:
    return f"{record.topic}/{record.partition}/{record.offset}"


def command(record: Rec, offset: int | None = None) -> Rec:
    """The command that a faithful gate makes of a decision; at the input's offset unless told."""
    assert record.value is not None
    given = json.loads(record.value)
    body = {
        "command_id": "c-" + h(f"sluicegate:{given.get('root_id', given['id'])}"),
        "decision_id": given["id"],
        "workflow": given["workflow"],
        "entity": given["entity"],
        "action": None,
        "gated_at_ms": GATED_MS,
        "deadline_ms": DEADLINE_MS,
        "age_ms": GATED_MS - given["observed_at_ms"],
        "stages_ms": {"inference": 120, "producer": 30, "gate": GATED_MS - given["observed_at_ms"] - 150},
        "kind": "disposition",
        "reason": "within_bounds",
        "value_minor": given.get("value_minor"),
        "currency": given.get("currency"),
        "model": given.get("model"),
        "segment": given.get("segment"),
        "caused_by": None,
        "source": source(record),
    }
    return _output("commands", record, body, offset)


def review(record: Rec, offset: int | None = None) -> Rec:
    assert record.value is not None
    given = json.loads(record.value)
    body = {
        "review_id": f"r-{record.partition}-{h('review:' + at(record))}",
        "kind": "disposition",
        "decision_id": given["id"],
        "workflow": given["workflow"],
        "entity": given["entity"],
        "reasons": ["value_over_limit", "irreversible"],
        "action_digest": "sha256:" + hashlib.sha256(ACTION.encode()).hexdigest(),
        "gated_at_ms": GATED_MS,
        "decision": Text(record.value.decode().strip()),
        "source": source(record),
    }
    return _output("reviews", record, body, offset)


def exception(record: Rec, reason: str = "stale.age", offset: int | None = None) -> Rec:
    """An exception: with the decision for `stale.*`, else with the raw bytes as CONTRACT cuts them."""
    value = record.value or b""
    body: dict[str, Any] = {
        "exception_id": "x-" + h(f"exception:{at(record)}:{reason}"),
        "kind": "disposition",
        "reason": reason,
        "gated_at_ms": GATED_MS,
        "decision": None,
        "raw": None,
        "raw_sha256": hashlib.sha256(value).hexdigest(),
        "raw_bytes": len(value),
        "source": source(record),
    }
    if reason.startswith("stale"):
        body["decision"] = Text(value.decode().strip())
    elif record.value is not None:
        try:
            value.decode()
            body["raw"] = value[: 64 * 1024].decode(errors="ignore")
        except UnicodeDecodeError:
            body["raw_base64"] = base64.b64encode(value[: 64 * 1024]).decode()
    return _output("exceptions", record, body, offset)


def request(record: Rec, offset: int | None = None) -> Rec:
    """The request to ask again that a faithful gate makes of a decision which is past its budget."""
    assert record.value is not None
    given = json.loads(record.value)
    attempt = given.get("attempt", 1)
    gated_ms = given["observed_at_ms"] + 700_000
    history = [{"attempt": number, "observed_at_ms": OBSERVED_MS} for number in range(1, attempt)]
    body = {
        "request_id": f"q-{record.partition}-{h('reevaluation:' + at(record))}",
        "kind": "disposition",
        "decision_id": given["id"],
        "root_id": given.get("root_id", given["id"]),
        **{name: given.get(name) for name in ("workflow", "entity", "value_minor", "currency", "segment")},
        "reason": "stale.age",
        "attempt": attempt,
        "attempts": [*history, {"attempt": attempt, "observed_at_ms": given["observed_at_ms"]}],
        "first_observed_at_ms": given.get("first_observed_at_ms", given["observed_at_ms"]),
        "final_deadline_ms": given.get("final_deadline_ms", FINAL_MS),
        "gated_at_ms": gated_ms,
        "age_ms": 700_000,
        "stages_ms": {"queue": 700_000},
        "decision": Text(record.value.decode().strip()),
        "caused_by": None,
        "source": source(record),
    }
    return _output("reevaluations", record, body, offset)


def successor(asked: Rec, offset: int = 0, **fields: Any) -> Rec:
    """The successor that a faithful re-evaluation makes of an answer to this request."""
    assert asked.value is not None
    given = json.loads(asked.value)
    attempt = given["attempt"] + 1
    body = {
        "id": f"{given['root_id']}~{attempt}",
        **{name: given[name] for name in ("workflow", "entity", "root_id", "value_minor", "currency", "segment")},
        "action": None,
        "observed_at_ms": given["gated_at_ms"] + 8,
        "attempt": attempt,
        "first_observed_at_ms": given["first_observed_at_ms"],
        "final_deadline_ms": given["final_deadline_ms"],
        "cause": given["reason"],
        "source": given["source"],
        "caused_by": source(asked),
    }
    return Rec(SUCCESSORS, asked.partition, offset, asked.key, dumps(body | fields))


def unsaved(asked: Rec, reason: str = "reevaluation.timeout", offset: int = 50) -> Rec:
    """The exception that a faithful re-evaluation makes of a request which comes to nothing."""
    assert asked.value is not None
    given = json.loads(asked.value)
    body = {
        "exception_id": "x-" + h(f"exception:{at(asked)}:{reason}"),
        "kind": "followup",
        **{name: given[name] for name in ("decision_id", "workflow", "entity", "attempt", "source")},
        "reason": reason,
        "gated_at_ms": given["gated_at_ms"] + 2_000,
        "final_deadline_ms": given["final_deadline_ms"],
        "decision": Text(decision_text(asked.value)),
        "caused_by": source(asked),
    }
    return _output("exceptions", asked, body, offset)


def _output(role: str, record: Rec, body: dict[str, Any], offset: int | None) -> Rec:
    number = record.offset if offset is None else offset
    return Rec(f"t.{role}", record.partition, number, record.key, dumps(body))


def judged(
    inputs: list[Rec],
    outputs: list[Rec],
    *,
    committed: dict[tuple[str, int], int] | None = None,
    after: dict[tuple[str, int], int] | None = None,
    answering: dict[tuple[str, int], int] | None = None,
    reach: dict[int, tuple[int, int]] | None = None,
    log_start: int = 0,
    partitions: int = 2,
) -> Result:
    remembered = Inputs({DECISIONS: partitions, SUCCESSORS: partitions}, lineage_topic=SUCCESSORS)
    lineage = Lineage(REEVALUATIONS, DECISIONS, reach)
    for record in inputs:
        remembered.add(record)
        if record.topic == SUCCESSORS:
            lineage.successor(record)
    for partition in remembered.partitions.values():
        partition.log_start = log_start
    judge = Judge(remembered, lineage, committed)
    for record in sorted(outputs, key=lambda one: one.topic != REEVALUATIONS):  # requests are read first
        judge.take(record.topic.removeprefix("t."), record)
    return judge.result(after, answering)


def found(result: Result) -> dict[str, int]:
    """The findings that moved, with their counts."""
    return {name: result.findings[name] for name in (*BROKEN, *REPORTED) if result.findings[name]}
