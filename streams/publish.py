"""Publish: one output record for each input record, with its reason, policy version and stages."""

from __future__ import annotations

import base64
from functools import lru_cache
from hashlib import sha256

import msgspec

from schemas.common import RAW_BYTES_MAX, Source, Stages
from schemas.decision import Decision, Successor
from schemas.exception import ExceptionRecord
from schemas.identifiers import action_digest, command_id, exception_id, request_id, review_id
from schemas.policy import Duration
from schemas.reasons import WITHIN_BOUNDS
from schemas.reevaluation import Attempt, Reevaluation
from schemas.review import Review
from streams.batch import POISON, Output, Refused, Row, Sent
from streams.bounds import bounded, bounded_key
from streams.command_text import command_text
from streams.freshness import STALE
from streams.headers import HeaderSettings, dead_letter, headers_of
from streams.policy import Policy
from streams.terms import duration_ms

_NULL = msgspec.Raw(b"null")
_encode = msgspec.json.Encoder().encode


def outcome(row: Row) -> tuple[Output, str]:
    """Where this row goes, and its first reason."""
    if row.refused is not None:
        return "exceptions", row.refused.reason
    if row.review_reasons is not None:
        return "reviews", row.review_reasons[0]
    return ("commands", WITHIN_BOUNDS) if row.again is None else ("reevaluations", row.again.reason)


def publish(row: Row, policy: Policy | None, gated_at_ms: int, settings: HeaderSettings) -> tuple[Sent, str]:
    """The record that answers this row, and its first reason."""
    output, reason = outcome(row)
    if output == "exceptions":
        ended = _exception(row, policy, gated_at_ms)
        headers = headers_of(row, output, ended.exception_id, None, settings) + dead_letter(row, settings)
        return Sent(output, bounded_key(row.key), _encode(ended), headers), reason
    assert policy is not None, "only a row with a policy passes the boundary"
    if output == "reviews":
        review = review_of(row, policy, gated_at_ms, row.review_reasons or [])
        headers = headers_of(row, output, review.review_id, review.deadline_ms, settings)
        return Sent(output, row.key, _encode(review), headers), reason
    if output == "reevaluations":
        request = _request(row, policy, gated_at_ms)
        headers = headers_of(row, output, request.request_id, request.final_deadline_ms, settings)
        return Sent(output, row.key, _encode(request), headers), reason
    identifier = command_id(row.root)
    headers = headers_of(row, output, identifier, row.ends_ms, settings)
    return Sent(output, row.key, command_text(row, identifier, policy, gated_at_ms), headers), reason


def review_of(row: Row, policy: Policy, gated_at_ms: int, reasons: list[str]) -> Review:
    """The question to a person about this row, for these reasons."""
    decision = row.decision
    assert decision is not None and reasons
    fresh_until_ms = 0 if reasons == [*STALE] else row.ends_ms
    # an approval that comes later than the attempt's own deadline is asked about again, where somebody can be asked
    deadline_ms = row.ends_ms if policy.evaluator is None else row.final_deadline_ms
    terms = policy.document.review
    if (length_ms := sla_ms(terms.sla)) is not None:
        deadline_ms = min(deadline_ms, gated_at_ms + length_ms)
    return Review(
        review_id=review_id(row.fetched.topic, row.fetched.partition, row.offset),
        kind="disposition",
        decision_id=decision.id,
        workflow=decision.workflow,
        entity=decision.entity,
        reasons=reasons,
        queue=terms.queue or decision.workflow,
        quorum=terms.quorum,
        action_digest=action_digest(bytes(decision.action)),
        gated_at_ms=gated_at_ms,
        fresh_until_ms=fresh_until_ms,
        escalate_at_ms=gated_at_ms + (deadline_ms - gated_at_ms) // 2,
        deadline_ms=deadline_ms,
        on_timeout=terms.on_timeout,
        policy=policy.name,
        rule=row.rule,
        age_ms=row.age_ms,
        stages_ms=Stages(*row.stages),
        attempt=row.attempt,
        decision=msgspec.Raw(row.decision_text),
        caused_by=None,
        source=_source(row),
        context_version_seen=row.context_seen,
        clock_adjusted=list(row.clock_adjusted),
        time_source="broker" if row.fetched.broker_time else "producer",
        exposure_seen=row.exposure_seen,
        final_deadline_ms=row.final_deadline_ms,
        proposer=decision.proposer,
    )


@lru_cache(1_024)
def sla_ms(sla: Duration | None) -> int | None:
    """The length of a review as the policy spells it, in milliseconds; None where it does not."""
    return None if sla is None else duration_ms(sla)


def _request(row: Row, policy: Policy, gated_at_ms: int) -> Reevaluation:
    decision, again = row.decision, row.again
    assert decision is not None and again is not None
    lineage = decision if type(decision) is Successor else None
    history = lineage.attempts if lineage else []
    return Reevaluation(
        request_id=request_id(row.fetched.topic, row.fetched.partition, row.offset),
        kind="disposition",
        decision_id=decision.id,
        root_id=lineage.root_id if lineage else decision.id,
        workflow=decision.workflow,
        entity=decision.entity,
        reason=again.reason,
        detail=bounded(again.detail),
        attempt=row.attempt,
        attempts=[*history, attempt_of(row, policy, again.reason, gated_at_ms)],
        first_observed_at_ms=lineage.first_observed_at_ms if lineage else decision.observed_at_ms,
        final_deadline_ms=row.final_deadline_ms,
        gated_at_ms=gated_at_ms,
        age_ms=row.age_ms,
        budget_ms=row.budget_ms,
        stages_ms=Stages(*row.stages),
        policy=policy.name,
        value_minor=decision.value_minor,
        currency=decision.currency,
        segment=decision.segment,
        decision=msgspec.Raw(row.decision_text),
        caused_by=None,
        source=_source(row),
        context_version_seen=row.context_seen,
        clock_adjusted=list(row.clock_adjusted),
        time_source="broker" if row.fetched.broker_time else "producer",
    )


def attempt_of(row: Row, policy: Policy, reason: str, gated_at_ms: int) -> Attempt:
    """This attempt as the ones after it remember it."""
    decision = row.decision
    assert decision is not None
    return Attempt(
        attempt=row.attempt,
        observed_at_ms=decision.observed_at_ms,
        gated_at_ms=gated_at_ms,
        reason=reason,
        policy=policy.name,
        context_version=decision.context_version,
        context_version_seen=row.context_seen,
    )


def _exception(row: Row, policy: Policy | None, gated_at_ms: int) -> ExceptionRecord:
    decision, refused, value = row.decision, row.refused, row.value or b""
    assert refused is not None
    text, coded = (None, None) if decision is not None else carried(row.value, refused.reason)
    history = decision.attempts if type(decision) is Successor else []
    measured = decision is not None and row.stage != "ingest"  # a time that is refused measures nothing
    return ExceptionRecord(
        exception_id=exception_id(row.fetched.topic, row.fetched.partition, row.offset, refused.reason),
        kind="disposition",
        decision_id=decision.id if decision else None,
        workflow=decision.workflow if decision else None,
        entity=decision.entity if decision else None,
        reason=refused.reason,
        stage=row.stage,
        detail=bounded(refused.detail),
        age_ms=row.age_ms if measured else None,
        budget_ms=row.budget_ms or (policy.freshness.own.budget_ms if policy else None),
        policy=policy.name if policy else None,
        rule=row.rule,
        attempt=row.attempt if decision else None,
        first_reason=_first_reason(decision, refused),
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
        context_version_seen=row.context_seen,
        trace=[*history, attempt_of(row, policy, refused.reason, gated_at_ms)] if history and policy else [],
        clock_adjusted=list(row.clock_adjusted),
        time_source="broker" if row.fetched.broker_time else "producer",
        exposure_seen=row.exposure_seen,
    )


def _first_reason(decision: Decision | Successor | None, refused: Refused) -> str:
    if type(decision) is not Successor:
        return refused.reason
    return decision.attempts[0].reason if decision.attempts else decision.cause


def carried(value: bytes | None, reason: str) -> tuple[str | None, str | None]:
    """What an answer shows of a value that is no decision; nothing of a tombstone, and nothing of poison."""
    return (None, None) if value is None or reason == POISON else cut(value)


def cut(value: bytes) -> tuple[str | None, str | None]:
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
    return row.fetched.place(row.index)
