"""Standing: how a review stands, as a pure function of the set of facts about it.

So it does not matter in which order the topics were read, nor how often: the same facts give the same rows. Where two
records claim the same thing, the one that the broker stored first counts, and ties have an order of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from msgspec import Struct

from schemas.common import TIME_MS_MAX
from schemas.review import Review
from streams.foreign import Reader, Unreadable, own
from streams.runtime.store.facts import Ending, Fact, Said

Row = dict[str, Any]
WAITING, ACCEPTED, REJECTED = "waiting", "accepted", "rejected"
OPEN, ENDED = "open", "ended"

_decode_review = own(Review)
_decode_said = own(Said)
_decode_ending = own(Ending)


class _Proposed(Struct):
    value_minor: int | None = None
    currency: str | None = None
    proposer: str | None = None


_decode_proposed = Reader(_Proposed, again=False)


def standing(facts: Iterable[Fact]) -> tuple[Row | None, list[Row]]:
    """The rows of one review and of its verdicts. No review: only verdicts came, or an ending before it."""
    known = sorted(facts, key=_first)
    verdicts = [_verdict(fact, known) for fact in known if fact.topic == "verdicts"]
    told = [fact for fact in known if fact.topic == "reviews"]
    if not told:
        return None, verdicts
    by_place = {(row["number"], row["position"]): row for row in verdicts}
    row = _review(max(told, key=lambda fact: (fact.number, fact.position)), told[0])
    row["changed_at_ms"] = max(fact.at_ms for fact in known)
    return row | _ending(row, known, by_place), verdicts


def _first(fact: Fact) -> tuple[int, str, int, int]:
    return fact.at_ms, fact.topic, fact.number, fact.position


def _review(newest: Fact, oldest: Fact) -> Row:
    review = _decode_review(newest.text)
    proposed = _proposed(bytes(review.decision))
    return {
        "review_id": review.review_id,
        "number": newest.number,
        "kind": "audit_sample" if review.kind == "audit_sample" else "disposition",
        "state": OPEN,
        "workflow": shown(review.workflow),
        "entity": shown(review.entity),
        "decision_id": shown(review.decision_id),
        "queue": shown(review.queue),
        "reasons": shown(", ".join(review.reasons)),
        "value_minor": proposed.value_minor if _money(proposed.value_minor) else None,
        "currency": shown(proposed.currency),
        "proposer": shown(proposed.proposer),
        "action_digest": shown(review.action_digest),
        "policy": shown(review.policy),
        "rule": shown(review.rule),
        "quorum": min(review.quorum, 2**31 - 1),
        "approvals": len(review.approvals),
        "approved_by": orjson.dumps(review.approvals).decode(),
        "escalated": review.escalated,
        "gated_at_ms": time_ms(review.gated_at_ms),
        "fresh_until_ms": time_ms(review.fresh_until_ms),
        "escalate_at_ms": time_ms(review.escalate_at_ms),
        "deadline_ms": time_ms(review.deadline_ms),
        "opened_at_ms": oldest.at_ms,
        "ended_how": None,
        "ended_id": None,
        "ended_by": None,
        "ended_at_ms": None,
        "ended_detail": None,
        "text": newest.text,
    }


def _ending(row: Row, known: list[Fact], verdicts: Mapping[tuple[int, int], Row]) -> Row:
    ends = [fact for fact in known if fact.topic in ("commands", "exceptions", "reevaluations")]
    if row["kind"] == "audit_sample":
        # nothing waits for the answer to a sample, so nothing follows from it: the answer itself is the end
        answers = [one for one in verdicts.values() if one["result"] != REJECTED]
        if not answers:
            return {}
        first = answers[0]
        how = {"ended_how": "answered", "ended_detail": first["verdict"], "ended_by": first["by"]}
        return {"state": ENDED, "ended_at_ms": first["at_ms"], **how}
    if not ends:
        return {}
    end = _decode_ending(ends[0].text)
    verdict = verdicts.get(ends[0].answers) if ends[0].answers else None
    beforehand = "by a pre-approval" if end.how == "approved" and ends[0].answers is None else None
    return {
        "state": ENDED,
        "ended_how": shown(end.how),
        "ended_id": shown(end.id),
        "ended_by": verdict["by"] if verdict else None,
        "ended_at_ms": ends[0].at_ms,
        "ended_detail": shown(end.detail or beforehand),
    }


def _verdict(fact: Fact, known: list[Fact]) -> Row:
    said = _decode_said(fact.text)
    verdict = said.verdict
    answers = [one for one in known if one.answers == (fact.number, fact.position)]
    refusals = [one for one in answers if one.topic == "rejections"]
    accepted = [one for one in answers if one.topic != "rejections"]
    refused = _decode_ending(refusals[0].text) if refusals and not accepted else None
    return {
        "number": fact.number,
        "position": fact.position,
        "review_id": verdict.review_id,
        "verdict": verdict.verdict,
        "by": shown(verdict.by),
        "key_id": said.key_id,
        "action_digest": shown(verdict.action_digest),
        "note": shown(verdict.note),
        "said_at_ms": time_ms(verdict.at_ms),
        "at_ms": fact.at_ms,
        "result": ACCEPTED if accepted else REJECTED if refused else WAITING,
        "reason": shown(refused.how) if refused else None,
        "detail": shown(refused.detail) if refused else None,
    }


def _proposed(decision: bytes) -> _Proposed:
    found = _decode_proposed(decision)
    return _Proposed() if isinstance(found, Unreadable) else found


def _money(value: int | None) -> bool:
    return value is not None and abs(value) <= 2**53


def shown(text: Any) -> Any:
    """PostgreSQL takes no NUL in a text, and an entity may hold one."""
    return text.replace("\x00", "\N{SYMBOL FOR NULL}") if isinstance(text, str) else text


def time_ms(value: int) -> int:
    """Within what a database column holds: people may write any number."""
    return min(max(value, 0), TIME_MS_MAX)
