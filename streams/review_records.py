"""What goes out when a review takes a step: always a followup, which names the review's source and what led to it.

A command's stages are those of the gate; what people took is in the last of them, which ends at `gated_at_ms`.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

import msgspec

from schemas.command import Command
from schemas.common import Source, Stages
from schemas.decision import Decision, Successor
from schemas.exception import ExceptionRecord
from schemas.identifiers import command_id, exception_id, request_id, root_digest
from schemas.reasons import APPROVED
from schemas.reevaluation import Attempt, Reevaluation
from schemas.review import Review
from streams.batch import Refused, Sent
from streams.bounds import bounded
from streams.headers import HeaderSettings, answer_headers, dead_letter_of
from streams.policy import Policy
from streams.review_life import Again, Ended, Issued, Stays, Step
from streams.review_open import Open, decision_of, final_ms

STAGE = "review"
NO_RULE = "no_rule_matched"
_encode = msgspec.json.Encoder().encode


class Occasion(NamedTuple):
    """Why and when: the record that led to the step, the policy in force, and the context that was looked at."""

    caused_by: Source
    now_ms: int
    policy: Policy | None
    context_seen: int | None
    settings: HeaderSettings


def sent(one: Open, step: Step, occasion: Occasion) -> tuple[Sent, str]:
    """The record of a step of this review, and its reason."""
    if isinstance(step, Stays):
        return _told(one, step.review, occasion)
    if isinstance(step, Issued):
        return _command(one, step.review, occasion), APPROVED
    if isinstance(step, Again):
        return _request(one, step, occasion), step.why.reason
    return _exception(one, step, occasion), step.why.reason


def _told(one: Open, review: Review, occasion: Occasion) -> tuple[Sent, str]:
    now = msgspec.structs.replace(review, kind="followup", caused_by=occasion.caused_by)
    headers = answer_headers(
        "reviews", review.review_id, review.entity, review.deadline_ms, one.came, occasion.settings
    )
    return Sent("reviews", review.entity.encode(), _encode(now), headers), review.reasons[0]


def _command(one: Open, review: Review, occasion: Occasion) -> Sent:
    decision = decision_of(review)
    assert occasion.policy is not None, "only a policy in force lets anything run"
    identifier = command_id(root_digest(_root_id(decision)))
    age_ms = max(0, occasion.now_ms - decision.observed_at_ms)
    command = Command(
        command_id=identifier,
        decision_id=decision.id,
        workflow=decision.workflow,
        entity=decision.entity,
        action=decision.action,
        gated_at_ms=occasion.now_ms,
        deadline_ms=review.fresh_until_ms,
        age_ms=age_ms,
        stages_ms=_stages(review.stages_ms, age_ms),
        kind="followup",
        authority="reviewed",
        authority_version=0,
        policy=occasion.policy.name,
        rule=review.rule or NO_RULE,
        reason=APPROVED,
        context_version_seen=occasion.context_seen,
        attempt=review.attempt,
        value_minor=decision.value_minor,
        currency=decision.currency,
        model=decision.model,
        segment=decision.segment,
        review_id=review.review_id,
        caused_by=occasion.caused_by,
        source=review.source,
        clock_adjusted=review.clock_adjusted,
        time_source=review.time_source,
    )
    headers = answer_headers(
        "commands", identifier, decision.entity, review.fresh_until_ms, one.came, occasion.settings
    )
    return Sent("commands", review.entity.encode(), _encode(command), headers)


def _stages(gate: Stages, age_ms: int) -> Stages:
    """The same up to the gate's own, which takes the rest of the age; none where that is less than they sum up to."""
    before_ms = sum(filter(None, (gate.inference, gate.producer, gate.transport, gate.queue)))
    if before_ms > age_ms:
        return Stages(gate=age_ms)  # a modification on a later observation
    return msgspec.structs.replace(gate, gate=age_ms - before_ms)


def _root_id(decision: Decision) -> str:
    return decision.root_id if isinstance(decision, Successor) else decision.id


def _attempts(review: Review, decision: Decision, why: Refused, occasion: Occasion) -> Sequence[Attempt]:
    history = decision.attempts if isinstance(decision, Successor) else []
    last = Attempt(
        attempt=review.attempt,
        observed_at_ms=decision.observed_at_ms,
        gated_at_ms=review.gated_at_ms,
        reason=why.reason,
        policy=review.policy,
        context_version=decision.context_version,
        context_version_seen=occasion.context_seen,
    )
    return [*history, last]


def _budget_ms(decision: Decision, occasion: Occasion) -> int | None:
    return None if occasion.policy is None else occasion.policy.freshness.of(decision.segment).budget_ms


def _request(one: Open, step: Again, occasion: Occasion) -> Sent:
    review, why, decision = step.review, step.why, decision_of(step.review)
    assert occasion.policy is not None, "only a policy names an evaluator"
    age_ms, source = max(0, occasion.now_ms - decision.observed_at_ms), review.source
    first_ms = decision.first_observed_at_ms if isinstance(decision, Successor) else decision.observed_at_ms
    request = Reevaluation(
        request_id=request_id(source.topic, source.partition, source.offset),
        kind="followup",
        decision_id=decision.id,
        root_id=_root_id(decision),
        workflow=decision.workflow,
        entity=decision.entity,
        reason=why.reason,
        detail=bounded(why.detail),
        attempt=review.attempt,
        attempts=list(_attempts(review, decision, why, occasion)),
        first_observed_at_ms=first_ms,
        final_deadline_ms=final_ms(review),
        gated_at_ms=occasion.now_ms,
        age_ms=age_ms,
        budget_ms=occasion.policy.freshness.of(decision.segment).budget_ms,
        stages_ms=_stages(review.stages_ms, age_ms),
        policy=occasion.policy.name,
        value_minor=decision.value_minor,
        currency=decision.currency,
        segment=decision.segment,
        decision=review.decision,
        caused_by=occasion.caused_by,
        source=source,
        context_version_seen=occasion.context_seen,
        clock_adjusted=review.clock_adjusted,
        time_source=review.time_source,
    )
    ends_ms = request.final_deadline_ms
    headers = answer_headers("reevaluations", request.request_id, review.entity, ends_ms, one.came, occasion.settings)
    return Sent("reevaluations", review.entity.encode(), _encode(request), headers)


def _exception(one: Open, step: Ended, occasion: Occasion) -> Sent:
    review, why, decision = step.review, step.why, decision_of(step.review)
    text, source = bytes(review.decision), review.source
    lineage = decision.attempts if isinstance(decision, Successor) else []
    ended = ExceptionRecord(
        exception_id=exception_id(source.topic, source.partition, source.offset, why.reason),
        kind="followup",
        decision_id=review.decision_id,
        workflow=review.workflow,
        entity=review.entity,
        reason=why.reason,
        stage=STAGE,
        detail=bounded(why.detail),
        age_ms=max(0, occasion.now_ms - decision.observed_at_ms),
        budget_ms=_budget_ms(decision, occasion),
        policy=review.policy if occasion.policy is None else occasion.policy.name,
        rule=review.rule,
        attempt=review.attempt,
        first_reason=lineage[0].reason if lineage else why.reason,
        fingerprint=None,
        value_minor=decision.value_minor,
        currency=decision.currency,
        caused_by=occasion.caused_by,
        gated_at_ms=occasion.now_ms,
        deadline_ms=review.fresh_until_ms or None,
        final_deadline_ms=final_ms(review),
        stages_ms=None,
        decision=review.decision,
        raw=None,
        raw_sha256=sha256(text).hexdigest(),
        raw_bytes=len(text),
        source=source,
        context_version_seen=occasion.context_seen,
        trace=list(_attempts(review, decision, why, occasion)) if lineage else [],
        clock_adjusted=review.clock_adjusted,
        time_source=review.time_source,
    )
    own = answer_headers("exceptions", ended.exception_id, review.entity, None, one.came, occasion.settings)
    letter = dead_letter_of(source, review.attempt, STAGE, why, one.came, occasion.settings)
    return Sent("exceptions", review.entity.encode(), _encode(ended), own + letter)
