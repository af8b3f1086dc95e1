"""Publish: one output record for each input record, with its reason, policy version and stages."""

from __future__ import annotations

import base64
from hashlib import sha256

import msgspec

from schemas.common import RAW_BYTES_MAX, Source, Stages
from schemas.decision import Successor
from schemas.exception import ExceptionRecord
from schemas.identifiers import action_digest, command_id, exception_id, review_id
from schemas.reasons import WITHIN_BOUNDS
from schemas.review import Review
from streams.batch import Row, Sent
from streams.command_text import command_text
from streams.headers import HeaderSettings, dead_letter, headers_of
from streams.policy import Policy

_NULL = msgspec.Raw(b"null")
_encode = msgspec.json.Encoder().encode


def publish(row: Row, policy: Policy | None, gated_at_ms: int, settings: HeaderSettings) -> tuple[Sent, str]:
    """The record that answers this row, and its first reason."""
    if row.refused is not None:
        ended = _exception(row, policy, gated_at_ms)
        headers = headers_of(row, "exceptions", ended.exception_id, None, settings) + dead_letter(row, settings)
        return Sent("exceptions", row.key, _encode(ended), headers), row.refused.reason
    assert policy is not None, "only a row with a policy passes the boundary"
    if row.review_reasons is not None:
        review = _review(row, policy, gated_at_ms)
        headers = headers_of(row, "reviews", review.review_id, review.deadline_ms, settings)
        return Sent("reviews", row.key, _encode(review), headers), row.review_reasons[0]
    identifier = command_id(row.root)
    headers = headers_of(row, "commands", identifier, row.ends_ms, settings)
    return Sent("commands", row.key, command_text(row, identifier, policy, gated_at_ms), headers), WITHIN_BOUNDS


def _review(row: Row, policy: Policy, gated_at_ms: int) -> Review:
    decision = row.decision
    assert decision is not None and row.review_reasons
    # nobody can ask again yet, so the review ends with this attempt
    deadline_ms = row.ends_ms
    return Review(
        review_id=review_id(row.fetched.topic, row.fetched.partition, row.offset),
        kind="disposition",
        decision_id=decision.id,
        workflow=decision.workflow,
        entity=decision.entity,
        reasons=row.review_reasons,
        queue=decision.workflow,
        quorum=1,
        action_digest=action_digest(bytes(decision.action)),
        gated_at_ms=gated_at_ms,
        fresh_until_ms=deadline_ms,
        escalate_at_ms=gated_at_ms + (deadline_ms - gated_at_ms) // 2,
        deadline_ms=deadline_ms,
        on_timeout="reject",
        policy=policy.name,
        rule=row.rule,
        age_ms=row.age_ms,
        stages_ms=Stages(*row.stages),
        attempt=row.attempt,
        decision=msgspec.Raw(row.decision_text),
        caused_by=None,
        source=_source(row),
        clock_adjusted=list(row.clock_adjusted),
        time_source="broker" if row.fetched.broker_time else "producer",
    )


def _exception(row: Row, policy: Policy | None, gated_at_ms: int) -> ExceptionRecord:
    decision, refused, value = row.decision, row.refused, row.value or b""
    assert refused is not None
    text, coded = (None, None) if decision is not None or row.value is None else _cut(value)
    measured = decision is not None and row.stage != "ingest"  # a time that is refused measures nothing
    return ExceptionRecord(
        exception_id=exception_id(row.fetched.topic, row.fetched.partition, row.offset, refused.reason),
        kind="disposition",
        decision_id=decision.id if decision else None,
        workflow=decision.workflow if decision else None,
        entity=decision.entity if decision else None,
        reason=refused.reason,
        stage=row.stage,
        detail=refused.detail,
        age_ms=row.age_ms if measured else None,
        budget_ms=policy.budget_ms if policy else None,
        policy=policy.name if policy else None,
        rule=row.rule,
        attempt=row.attempt if decision else None,
        first_reason=decision.cause if isinstance(decision, Successor) else refused.reason,
        fingerprint=None,
        value_minor=decision.value_minor if decision else None,
        currency=decision.currency if decision else None,
        caused_by=None,
        gated_at_ms=gated_at_ms,
        deadline_ms=row.deadline_ms if measured else None,
        final_deadline_ms=row.final_deadline_ms if measured else None,
        stages_ms=Stages(*row.stages) if measured else None,
        decision=msgspec.Raw(row.decision_text) if decision else _NULL,
        raw=text,
        raw_base64=coded,
        raw_sha256=sha256(value).hexdigest(),
        raw_bytes=len(value),
        source=_source(row),
        trace=[],
        clock_adjusted=list(row.clock_adjusted),
        time_source="broker" if row.fetched.broker_time else "producer",
    )


def _cut(value: bytes) -> tuple[str | None, str | None]:
    """At most 64 KiB of an unreadable value: as text, or as base64 where it is not UTF-8."""
    head = value[:RAW_BYTES_MAX]
    try:
        return head.decode(), None
    except UnicodeDecodeError as error:
        # only the cut itself may have gone through a character
        if len(value) > RAW_BYTES_MAX and error.start > RAW_BYTES_MAX - 4 and error.reason == "unexpected end of data":
            return head[: error.start].decode(), None
        return None, base64.b64encode(head).decode()


def _source(row: Row) -> Source:
    return Source(row.fetched.topic, row.fetched.partition, row.offset)
