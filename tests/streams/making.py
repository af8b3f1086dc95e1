"""What the tests of the core make again and again: decisions, policies, batches, and what came of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import orjson

from schemas.policy import PolicyDocument
from streams.batch import Decided, Fetched, Input, Row
from streams.memory import Memory
from streams.path import Snapshot, decide
from streams.policy import Policy, compile_policy
from streams.window import Window

NOW_MS = 1_764_000_000_000
BUDGET_MS = 600_000
TOPIC: dict[Input, str] = {"decisions": "t.decisions", "successors": "t.successors"}


def decision(number: int = 1, **fields: Any) -> dict[str, Any]:
    """A decision that runs under `SMALL_AND_SURE`; a field given as `...` is left out."""
    whole = {
        "id": f"d-{number}",
        "workflow": "billing",
        "entity": "acct-17",
        "action": {"type": "invoice.post", "amount": 12.5},
        "observed_at_ms": NOW_MS - 1_000,
        "confidence": 0.93,
        "value_minor": 1_250,
        "currency": "USD",
        "reversible": True,
        **fields,
    }
    return {name: value for name, value in whole.items() if value is not ...}


def successor(root: str = "d-1", attempt: int = 2, **fields: Any) -> dict[str, Any]:
    lineage = {
        "id": f"{root}~{attempt}",
        "root_id": root,
        "attempt": attempt,
        "first_observed_at_ms": NOW_MS - 5_000,
        "final_deadline_ms": NOW_MS + BUDGET_MS,
        "cause": "stale.age",
    }
    return decision(**{**lineage, **fields})


def encoded(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode()


def policy(
    rules: Sequence[dict[str, Any]] = (),
    workflow: str = "billing",
    index: int = 0,
    evaluator: dict[str, Any] | None = None,
    **freshness: Any,
) -> Policy:
    document = msgspec.convert(
        {
            "workflow": workflow,
            "version": 3,
            "freshness": {"budget": "10m", **freshness},
            "boundary": {"rules": list(rules)},
            "evaluator": evaluator,
        },
        PolicyDocument,
    )
    made, problems = compile_policy(document, index)
    assert made is not None, problems
    return made


SMALL_AND_SURE = {
    "name": "small-and-sure",
    "then": "autonomous",
    "limits": {"value_minor_at_most": 5_000, "currency": "USD", "confidence_at_least": 0.8, "reversible": True},
}
BILLING = policy([SMALL_AND_SURE])


def fetched(
    values: Sequence[bytes | dict[str, Any] | None],
    keys: Sequence[bytes | None] | None = None,
    source: Input = "decisions",
    first_offset: int = 0,
    broker_ms: int = NOW_MS - 20,
    read_ms: int = NOW_MS - 5,
    broker_time: bool = True,
    shown_ms: int | None = None,
) -> Fetched:
    as_bytes = [encoded(value) if isinstance(value, dict) else value for value in values]
    if keys is None:
        keys = [value["entity"].encode() if isinstance(value, dict) else b"acct-17" for value in values]
    return Fetched(
        topic=TOPIC[source],
        input=source,
        partition=2,
        offsets=list(range(first_offset, first_offset + len(values))),
        timestamps_ms=[broker_ms] * len(values),
        keys=list(keys),
        values=as_bytes,
        broker_time=broker_time,
        read_ms=read_ms,
        shown_ms=shown_ms,
    )


def row(fields: dict[str, Any] | None = None, source: Input = "decisions", **about: Any) -> Row:
    """A row as `ingest` leaves it, of a decision that must be right."""
    from streams.ingest import ingest

    batch = fetched([fields or decision()], source=source, **about)
    (one,) = ingest([batch], NOW_MS, {"billing": BILLING})
    assert one.decision is not None, one.refused
    return one


def decided(
    batches: Fetched | Sequence[Fetched],
    policies: Sequence[Policy] = (BILLING,),
    window: Window | None = None,
    now_ms: int = NOW_MS,
    memory: Memory | None = None,
) -> Decided:
    """Decides and, as the gate does, keeps what is new."""
    memory = Memory(window) if memory is None else memory
    many = [batches] if isinstance(batches, Fetched) else batches
    found = decide(many, now_ms, Snapshot(policies), memory)
    memory.commit(found.remembered, now_ms)
    return found


def outcomes(found: Decided) -> list[str]:
    """`commands`, `reviews: reasons`, `reevaluations: reason`, or the reason of an exception; one for each input."""
    told = []
    for sent in found.records:
        record = orjson.loads(sent.value)
        if sent.output == "commands":
            told.append("commands")
        else:
            what = ", ".join(record["reasons"]) if sent.output == "reviews" else record["reason"]
            told.append(what if sent.output == "exceptions" else f"{sent.output}: {what}")
    return told


def only(found: Decided) -> dict[str, Any]:
    (sent,) = found.records
    record: dict[str, Any] = orjson.loads(sent.value)
    return record
