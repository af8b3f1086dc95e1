"""One decision and what may become of it, as the AsyncAPI document shows them: real Structs, ids that hold."""

from __future__ import annotations

from hashlib import sha256

from msgspec import Raw, Struct
from msgspec.json import encode

from schemas.command import Command
from schemas.common import Source, Stages
from schemas.decision import Decision, Successor
from schemas.examples_policies import CURRENT, HALT, HEARTBEAT, PREAPPROVAL, PUBLISHED, RECALL
from schemas.exception import ExceptionRecord
from schemas.identifiers import (
    action_digest,
    command_id,
    exception_id,
    rejection_id,
    request_id,
    review_id,
    root_digest,
    successor_id,
)
from schemas.receipt import Receipt
from schemas.reevaluation import Answer, Attempt, Context, PresentContext, Question, Reevaluation
from schemas.rejection import Rejection
from schemas.review import Review
from schemas.verdict import Verdict

_OBSERVED_MS = 1_764_000_000_000
_GATED_MS = _OBSERVED_MS + 163
_DEADLINE_MS = _OBSERVED_MS + 600_000
_ACTION = b'{"type":"invoice.post","amount":"1250.50"}'
_ACTION_AGAIN = b'{"type":"invoice.post","amount":"1253.00"}'
_STAGES = Stages(inference=120, producer=30, transport=4, queue=7, gate=2)
_SOURCE = Source("sluicegate.decisions", 2, 9917)
_FINAL_MS = _OBSERVED_MS + 1_800_000
# looked at again after 700 s: the budget of 600 s is used up, and the rate card is another one by now
_LATE_MS = _OBSERVED_MS + 700_000
_FIRST_ATTEMPT = Attempt(
    attempt=1,
    observed_at_ms=_OBSERVED_MS,
    gated_at_ms=_LATE_MS,
    reason="stale.age",
    policy="billing@3",
    context_version=41,
    context_version_seen=42,
)

DECISION = Decision(
    id="d-7f3a",
    workflow="billing",
    entity="acct-17",
    action=Raw(_ACTION),
    observed_at_ms=_OBSERVED_MS,
    decided_at_ms=_OBSERVED_MS + 120,
    sent_at_ms=_OBSERVED_MS + 150,
    confidence=0.93,
    value_minor=125_050,
    currency="USD",
    model="rater@2026-11-01",
    proposer="rating-service",
    context_version=41,
    reversible=True,
    segment="fleet-2",
    attributes={"vendor": "1"},
)
REEVALUATION = Reevaluation(
    request_id=request_id(_SOURCE.topic, _SOURCE.partition, _SOURCE.offset),
    kind="disposition",
    decision_id=DECISION.id,
    root_id=DECISION.id,
    workflow="billing",
    entity="acct-17",
    reason="stale.age",
    detail="observed 700000 ms ago; the budget is 600000 ms",
    attempt=1,
    attempts=[_FIRST_ATTEMPT],
    first_observed_at_ms=_OBSERVED_MS,
    final_deadline_ms=_FINAL_MS,
    gated_at_ms=_LATE_MS,
    age_ms=700_000,
    budget_ms=600_000,
    stages_ms=Stages(inference=120, producer=30, transport=4, queue=699_844, gate=2),
    policy="billing@3",
    value_minor=125_050,
    currency="USD",
    segment="fleet-2",
    decision=Raw(encode(DECISION)),
    caused_by=None,
    source=_SOURCE,
)
CONTEXT = Context(entity="acct-17", version=42, at_ms=_OBSERVED_MS + 300_000, state={"rate_card": "2019-02"})
QUESTION = Question(
    id=successor_id(REEVALUATION.root_id, 2),
    root_id=REEVALUATION.root_id,
    attempt=2,
    workflow="billing",
    entity="acct-17",
    reason=REEVALUATION.reason,
    deadline_ms=_LATE_MS + 2_000,
    final_deadline_ms=_FINAL_MS,
    decision=REEVALUATION.decision,
    context=PresentContext(CONTEXT.version, CONTEXT.at_ms, Raw(encode(CONTEXT.state))),
)
ANSWER = Answer(
    action=Raw(_ACTION_AGAIN),
    observed_at_ms=_LATE_MS + 8,
    decided_at_ms=_LATE_MS + 31,
    confidence=0.95,
    value_minor=125_300,
    currency="USD",
    model="rater@2026-11-01",
    reversible=True,
)
SUCCESSOR = Successor(
    id=QUESTION.id,
    workflow="billing",
    entity="acct-17",
    action=Raw(_ACTION_AGAIN),
    observed_at_ms=_LATE_MS + 8,
    decided_at_ms=_LATE_MS + 31,
    confidence=0.95,
    value_minor=125_300,
    currency="USD",
    model="rater@2026-11-01",
    proposer="rating-service",
    context_version=CONTEXT.version,
    reversible=True,
    segment="fleet-2",
    root_id=REEVALUATION.root_id,
    attempt=2,
    first_observed_at_ms=_OBSERVED_MS,
    final_deadline_ms=_FINAL_MS,
    cause=REEVALUATION.reason,
    source=_SOURCE,
    caused_by=Source("sluicegate.reevaluations", 2, 41),
    attempts=REEVALUATION.attempts,
)
COMMAND = Command(
    command_id=command_id(root_digest("d-7f3a")),
    decision_id="d-7f3a",
    workflow="billing",
    entity="acct-17",
    action=Raw(_ACTION),
    gated_at_ms=_GATED_MS,
    deadline_ms=_DEADLINE_MS,
    age_ms=163,
    stages_ms=_STAGES,
    kind="disposition",
    authority="autonomous",
    authority_version=0,
    policy="billing@3",
    rule="small-and-sure",
    reason="within_bounds",
    context_version_seen=None,
    attempt=1,
    value_minor=125_050,
    currency="USD",
    model="rater@2026-11-01",
    segment="fleet-2",
    review_id=None,
    caused_by=None,
    source=_SOURCE,
)
REVIEW = Review(
    review_id=review_id(_SOURCE.topic, _SOURCE.partition, _SOURCE.offset),
    kind="disposition",
    decision_id="d-7f3a",
    workflow="billing",
    entity="acct-17",
    reasons=["value_over_limit"],
    queue="billing",
    quorum=1,
    action_digest=action_digest(_ACTION),
    gated_at_ms=_GATED_MS,
    fresh_until_ms=_DEADLINE_MS,
    escalate_at_ms=_GATED_MS + 300_000,
    deadline_ms=_DEADLINE_MS,
    on_timeout="reject",
    policy="billing@3",
    rule="small-and-sure",
    age_ms=163,
    stages_ms=_STAGES,
    attempt=1,
    decision=Raw(encode(DECISION)),
    caused_by=None,
    source=_SOURCE,
)
EXCEPTION = ExceptionRecord(
    exception_id=exception_id(_SOURCE.topic, _SOURCE.partition, _SOURCE.offset, "boundary.blocked"),
    kind="disposition",
    decision_id="d-7f3a",
    workflow="billing",
    entity="acct-17",
    reason="boundary.blocked",
    stage="boundary",
    detail="rule disputed of billing@3 blocks it",
    age_ms=163,
    budget_ms=600_000,
    policy="billing@3",
    rule="disputed",
    attempt=1,
    first_reason="boundary.blocked",
    fingerprint=None,
    value_minor=125_050,
    currency="USD",
    caused_by=None,
    gated_at_ms=_GATED_MS,
    deadline_ms=_DEADLINE_MS,
    final_deadline_ms=_DEADLINE_MS,
    stages_ms=_STAGES,
    decision=Raw(encode(DECISION)),
    raw=None,
    raw_sha256=sha256(encode(DECISION)).hexdigest(),
    raw_bytes=len(encode(DECISION)),
    source=_SOURCE,
    trace=[],
)
RECEIPT = Receipt(
    command_id=COMMAND.command_id,
    workflow="billing",
    entity="acct-17",
    gated_at_ms=_GATED_MS,
    deadline_ms=_DEADLINE_MS,
    status="executed",
    started_at_ms=_GATED_MS + 20,
    at_ms=_GATED_MS + 85,
    executor="erp-2",
)
_FALLING = b'{"entity":"acct-17","version":41,"at_ms":1764000400000,"state":{"rate_card":"2019-01"}}'
_FALLING_AT = Source("sluicegate.context", 2, 1302)
REJECTION = Rejection(
    rejection_id=rejection_id(_FALLING_AT.topic, _FALLING_AT.partition, _FALLING_AT.offset),
    reason="version.falling",
    detail="version 41 of the context of acct-17 comes after version 42",
    raw=_FALLING.decode(),
    raw_sha256=sha256(_FALLING).hexdigest(),
    raw_bytes=len(_FALLING),
    source=_FALLING_AT,
)
VERDICT = Verdict(
    review_id=REVIEW.review_id,
    verdict="approve",
    action_digest=REVIEW.action_digest,
    by="ana",
    at_ms=_GATED_MS + 60_000,
    note="checked against the rate card",
)
# family -> its example
EXAMPLES: dict[str, Struct] = {
    "decision": DECISION,
    "successor": SUCCESSOR,
    "command": COMMAND,
    "review": REVIEW,
    "exception": EXCEPTION,
    "receipt": RECEIPT,
    "reevaluation": REEVALUATION,
    "context": CONTEXT,
    "rejection": REJECTION,
    "question": QUESTION,
    "answer": ANSWER,
    "verdict": VERDICT,
    "halt": HALT,
    "recall": RECALL,
    "heartbeat": HEARTBEAT,
    "published_policy": PUBLISHED,
    "current": CURRENT,
    "preapproval": PREAPPROVAL,
}
