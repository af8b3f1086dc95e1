"""Recorded examples: the topics after a few decisions, made of the Structs' examples."""

from __future__ import annotations

from typing import Any

import orjson
from msgspec import Struct
from msgspec.json import encode
from msgspec.structs import replace

from agents.why.found import Found
from schemas.common import Source
from schemas.examples import COMMAND, DECISION, EXCEPTION, RECEIPT, REEVALUATION, REJECTION, REVIEW, SUCCESSOR
from schemas.identifiers import rejection_id
from schemas.verdict import Verdict

PREFIX = "sluicegate."
SOURCE = REVIEW.source
GATED_MS, DEADLINE_MS = COMMAND.gated_at_ms, COMMAND.deadline_ms


def found(kind: str, position: int, at_ms: int, record: Struct | dict[str, Any], **more: Any) -> Found:
    body = record if isinstance(record, dict) else orjson.loads(encode(record))
    return Found(kind, PREFIX + kind, 2, position, at_ms, body, **more)


def place(kind: str, position: int) -> Source:
    return Source(PREFIX + kind, 2, position)


def proposed(at_ms: int = GATED_MS - 13, **more: Any) -> Found:
    return found("decisions", SOURCE.offset, at_ms, replace(DECISION, **more) if more else DECISION)


def outcome(at_ms: int) -> Found:
    body = {"command_id": COMMAND.command_id, "value_minor": 118000, "currency": "USD", "at_ms": at_ms, "final": True}
    return found("outcomes", 3, at_ms, {**body, "measure": "billed"})


def autonomous() -> list[Found]:
    """Proposed, commanded, executed, paid."""
    return [
        outcome(GATED_MS + 900),
        found("receipts", 1, GATED_MS + 90, RECEIPT),
        found("commands", 5, GATED_MS + 3, COMMAND),
        proposed(),
    ]


def verdict(position: int, at_ms: int, by: str, said: Any = "approve", key_id: str | None = "k1") -> Found:
    body = Verdict(
        review_id=REVIEW.review_id,
        verdict=said,
        action_digest=REVIEW.action_digest,
        by=by,
        at_ms=at_ms,
        note="called them",
    )
    return found("verdicts", position, at_ms, body, key_id=key_id)


def reviewed() -> list[Found]:
    """Asked about, refused to a stranger, approved by ana, commanded; no receipt yet."""
    stranger = place("verdicts", 1)
    refused = replace(
        REJECTION,
        rejection_id=rejection_id(*msg(stranger)),
        reason="verdict.by",
        detail="the key 'k1' may not speak for 'eve'",
        source=stranger,
    )
    made = replace(
        COMMAND,
        kind="followup",
        authority="reviewed",
        review_id=REVIEW.review_id,
        caused_by=place("verdicts", 2),
        reason="approved",
    )
    return [
        found("commands", 9, GATED_MS + 4_000, made),
        # the clock of this partition's leader is behind: what it led to still comes after it
        verdict(2, GATED_MS + 4_100, "ana"),
        found("rejections", 1, GATED_MS + 2_010, refused),
        verdict(1, GATED_MS + 2_000, "eve"),
        found("reviews", 4, GATED_MS + 2, REVIEW),
        proposed(),
    ]


def msg(source: Source) -> tuple[str, int, int]:
    return source.topic, source.partition, source.offset


def asked_again() -> list[Found]:
    """Stale, asked about again, and the second attempt commanded."""
    request = replace(REEVALUATION, source=SOURCE)
    again = replace(SUCCESSOR, caused_by=place("reevaluations", 41))
    late_ms = REEVALUATION.gated_at_ms
    made = replace(
        COMMAND, decision_id=SUCCESSOR.id, attempt=2, gated_at_ms=late_ms + 60, source=place("successors", 6)
    )
    return [
        found("commands", 9, late_ms + 62, made),
        found("successors", 6, late_ms + 40, again),
        found("reevaluations", 41, late_ms + 2, request),
        proposed(),
    ]


def blocked() -> list[Found]:
    return [found("exceptions", 3, GATED_MS + 2, EXCEPTION), proposed()]
