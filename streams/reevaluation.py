"""Re-evaluation: a stale decision becomes a question, and the answer a successor; or an exception that says why not.

    record on `reevaluations`              -> Pending, or Ended
    Pending and the present context        -> the question's bytes
    Pending and what the evaluator said    -> Sent: a successor, or an exception of the family `reevaluation`

Whatever an evaluator says that is not a decision of this question becomes a record with a reason, never a command; and
so does a record that is no request: somebody else wrote it, and it stops nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from schemas.common import TIME_MS_MAX, VALUE_BYTES_MAX, Source
from schemas.decision import Decision, Successor
from schemas.exception import ExceptionRecord
from schemas.identifiers import exception_id, successor_id
from schemas.reevaluation import Answer, PresentContext, Question, Reevaluation
from streams.batch import Fetched, Refused, Sent
from streams.bounds import bounded, bounded_key
from streams.foreign import Reader, Unreadable
from streams.headers import Came, HeaderSettings, answer_headers, dead_letter_of
from streams.ingest import refusal
from streams.policy import Policy
from streams.publish import carried
from streams.requests import Ended, Request, request_in
from streams.superseding import action_type

FAILED, TIMEOUT, EXHAUSTED = "reevaluation.failed", "reevaluation.timeout", "reevaluation.exhausted"
STAGE = "reevaluation"

_answer = Reader(Answer)
_encode = msgspec.json.Encoder().encode


class Unanswered(Exception):
    """Raised by an evaluator that gives no answer; the message is for a person. `late`: time ran out."""

    def __init__(self, why: str, late: bool = False) -> None:
        super().__init__(why)
        self.late = late


@dataclass(frozen=True, slots=True)
class Pending:
    """A request that can be asked about: by whom, and until when an answer is of use."""

    place: Source
    key: bytes | None
    came: Came
    request: Reevaluation
    decision: Decision
    policy: Policy

    @property
    def id(self) -> str:
        """The successor's: what an evaluator that is asked twice can tell it by."""
        return successor_id(self.request.root_id, self.request.attempt + 1)

    def ended(self, why: Refused) -> Ended:
        return Ended(why, Request(self.request, self.decision))


def pending(fetched: Fetched, index: int, policies: Mapping[str, Policy], now_ms: int) -> Pending | Ended:
    """The request in a record of `reevaluations`, or why nobody can be asked."""
    found = request_in(fetched, index)
    if isinstance(found, Refused):
        return Ended(found, None)
    request, decision = found
    policy = policies.get(request.workflow)
    if request.final_deadline_ms <= now_ms:
        why = Refused(TIMEOUT, f"the final deadline passed {now_ms - request.final_deadline_ms} ms ago, unasked")
    elif policy is None or policy.evaluator is None:
        why = Refused(FAILED, f"no policy with an evaluator is in force for the workflow {request.workflow!r}")
    elif request.attempt >= policy.freshness.max_attempts:
        why = Refused(EXHAUSTED, f"attempt {request.attempt} of {policy.freshness.max_attempts} was the last")
    else:
        place = fetched.place(index)
        return Pending(place, fetched.keys[index], _came(fetched, index), request, decision, policy)
    return Ended(why, found)


def question(asked: Pending, context: PresentContext | None, deadline_ms: int) -> bytes:
    """The body of the question, JSON; `deadline_ms` is when the answer comes too late."""
    request = asked.request
    return _encode(
        Question(
            id=asked.id,
            root_id=request.root_id,
            attempt=request.attempt + 1,
            workflow=request.workflow,
            entity=request.entity,
            reason=request.reason,
            deadline_ms=deadline_ms,
            final_deadline_ms=request.final_deadline_ms,
            decision=request.decision,
            context=context,
        )
    )


def successor(asked: Pending, said: bytes, context_version: int | None, now_ms: int) -> Successor | Refused:
    """What the answer becomes. `context_version` is that of the context which the question showed."""
    if now_ms >= asked.request.final_deadline_ms:
        return Refused(TIMEOUT, "the answer came after the final deadline")
    if len(said) > VALUE_BYTES_MAX:
        return Refused(FAILED, f"the answer has {len(said)} bytes; at most {VALUE_BYTES_MAX} are read")
    answer = _answer(said)
    if isinstance(answer, Unreadable):
        return Refused(FAILED, f"the answer cannot be read: {answer.why}"[:500])
    if answer.decline is not None:
        return Refused(FAILED, f"the evaluator declines: {answer.decline}")
    if bytes(answer.action) == b"null" or answer.observed_at_ms is None:
        return Refused(FAILED, "the answer has no action, or no observed_at_ms")
    made = _made(asked, answer, context_version)
    wrong = _wrong(asked, answer, now_ms)
    if wrong is None and (found := refusal(_encode(_plain(made)))) is not None:
        wrong = f"the answer would not stand as a decision: {found[1]}"
    if wrong is None and (size_bytes := len(_encode(made))) > VALUE_BYTES_MAX:
        wrong = f"the answer and what goes with it have {size_bytes} bytes; a successor has at most {VALUE_BYTES_MAX}"
    return made if wrong is None else Refused(FAILED, wrong)


def _made(asked: Pending, answer: Answer, context_version: int | None) -> Successor:
    request, before = asked.request, asked.decision
    assert answer.observed_at_ms is not None
    return Successor(
        id=asked.id,
        workflow=request.workflow,
        entity=request.entity,
        action=answer.action,
        observed_at_ms=answer.observed_at_ms,
        decided_at_ms=answer.decided_at_ms,
        confidence=answer.confidence,
        value_minor=answer.value_minor,
        currency=answer.currency,
        model=answer.model,
        proposer=before.proposer if answer.proposer is None else answer.proposer,
        context_version=context_version if answer.context_version is None else answer.context_version,
        expires_at_ms=answer.expires_at_ms,
        reversible=answer.reversible,
        segment=before.segment if answer.segment is None else answer.segment,
        attributes=answer.attributes,
        root_id=request.root_id,
        attempt=request.attempt + 1,
        first_observed_at_ms=request.first_observed_at_ms,
        final_deadline_ms=request.final_deadline_ms,
        cause=request.reason,
        source=request.source,
        caused_by=asked.place,
        attempts=request.attempts,
    )


def _plain(made: Successor) -> Decision:
    """The same as a decision of its root, which is how its fields are checked."""
    fields = {name: getattr(made, name) for name in Decision.__struct_fields__}
    return Decision(**{**fields, "id": made.root_id})


def _wrong(asked: Pending, answer: Answer, now_ms: int) -> str | None:
    """What in the answer does not belong to this question."""
    for name, wanted in (("id", asked.id), ("workflow", asked.request.workflow), ("entity", asked.request.entity)):
        said = getattr(answer, name)
        if said is not None and said != wanted:
            return f"the answer is about the {name} {said!r:.100}, it was asked about {wanted!r:.100}"
    assert answer.observed_at_ms is not None
    if answer.observed_at_ms > min(TIME_MS_MAX, now_ms + asked.policy.freshness.skew_tolerance_ms):
        return f"the answer's observation is {answer.observed_at_ms - now_ms} ms in the future"
    before_ms = asked.decision.observed_at_ms
    # a change of context can be answered from a world that was observed at the same time
    if answer.observed_at_ms < before_ms or (
        answer.observed_at_ms == before_ms and asked.request.reason == "stale.age"
    ):
        return f"the answer rests on an observation that is not later: {answer.observed_at_ms}, before {before_ms}"
    kind = action_type(answer.action)
    allowed = asked.policy.evaluator.action_types if asked.policy.evaluator else None
    if allowed is None:
        allowed = frozenset(filter(None, [action_type(asked.decision.action)]))
    if kind not in allowed and not (kind is None and not allowed):
        return f"the answer proposes the action type {kind!r:.100}, which it may not"
    return None


def sent_successor(asked: Pending, made: Successor, settings: HeaderSettings) -> Sent:
    """The successor as a record of `successors`."""
    headers = answer_headers("successors", made.id, made.entity, made.final_deadline_ms, asked.came, settings)
    return Sent("successors", bounded_key(asked.key), _encode(made), headers)


def sent_exception(
    fetched: Fetched,
    index: int,
    ended: Ended,
    policies: Mapping[str, Policy],
    now_ms: int,
    settings: HeaderSettings,
) -> tuple[Sent, str]:
    """The ending of the request in this record, a followup with the whole history; and its workflow, or `""`."""
    if ended.request is None:
        return _sent_foreign(fetched, index, ended.why, now_ms, settings), ""
    refused, (request, decision) = ended.why, ended.request
    policy, text = policies.get(request.workflow), bytes(request.decision)
    place, came = fetched.place(index), _came(fetched, index)
    told = ExceptionRecord(
        exception_id=exception_id(place.topic, place.partition, place.offset, refused.reason),
        kind="followup",
        decision_id=request.decision_id,
        workflow=request.workflow,
        entity=request.entity,
        reason=refused.reason,
        stage=STAGE,
        detail=bounded(refused.detail),
        age_ms=max(0, now_ms - decision.observed_at_ms),
        budget_ms=request.budget_ms,
        policy=policy.name if policy else request.policy,
        rule=None,
        attempt=request.attempt,
        first_reason=request.attempts[0].reason,
        fingerprint=None,
        value_minor=request.value_minor,
        currency=request.currency,
        caused_by=place,
        gated_at_ms=now_ms,
        deadline_ms=request.final_deadline_ms,
        final_deadline_ms=request.final_deadline_ms,
        stages_ms=None,
        decision=request.decision,
        raw=None,
        raw_sha256=sha256(text).hexdigest(),
        raw_bytes=len(text),
        source=request.source,
        trace=[*request.attempts],
    )
    own = answer_headers("exceptions", told.exception_id, request.entity, None, came, settings)
    letter = dead_letter_of(request.source, request.attempt, STAGE, refused, came, settings)
    return Sent("exceptions", bounded_key(fetched.keys[index]), _encode(told), own + letter), request.workflow


def _sent_foreign(fetched: Fetched, index: int, refused: Refused, now_ms: int, settings: HeaderSettings) -> Sent:
    """The ending of a record that is no request: it is its own source, for nobody knows what it descends from."""
    value, came = fetched.values[index], _came(fetched, index)
    place = fetched.place(index)
    text, coded = carried(value, refused.reason)
    told = ExceptionRecord(
        exception_id=exception_id(place.topic, place.partition, place.offset, refused.reason),
        kind="followup",
        decision_id=None,
        workflow=None,
        entity=None,
        reason=refused.reason,
        stage=STAGE,
        detail=bounded(refused.detail),
        age_ms=None,
        budget_ms=None,
        policy=None,
        rule=None,
        attempt=None,
        first_reason=refused.reason,
        fingerprint=None,
        value_minor=None,
        currency=None,
        caused_by=place,
        gated_at_ms=now_ms,
        deadline_ms=None,
        final_deadline_ms=None,
        stages_ms=None,
        decision=msgspec.Raw(b"null"),
        raw=text,
        raw_base64=coded,
        raw_sha256=sha256(value or b"").hexdigest(),
        raw_bytes=len(value or b""),
        source=place,
        trace=[],
    )
    own = answer_headers("exceptions", told.exception_id, None, None, came, settings)
    letter = dead_letter_of(place, None, STAGE, refused, came, settings)
    return Sent("exceptions", bounded_key(fetched.keys[index]), _encode(told), own + letter)


def _came(fetched: Fetched, index: int) -> Came:
    return () if fetched.headers is None else fetched.headers[index]
