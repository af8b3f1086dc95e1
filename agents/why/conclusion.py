"""How a decision stands, in one line: done, not done and why, or who has to do something until when. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agents.readable import duration
from agents.why.found import Found, Place, number_of, text_of
from agents.why.telling import against, clock, value_of


def conclusion(ordered: Sequence[Found], now_ms: int) -> str:
    """One line about the records of one root decision, in their order."""
    by_kind: dict[str, list[Found]] = {}
    for one in ordered:
        by_kind.setdefault(one.kind, []).append(one)
    if commands := by_kind.get("commands"):
        return _commanded(commands[0], by_kind, now_ms)
    if waiting := list(_waits(ordered, now_ms)):
        return waiting[-1]
    endings = by_kind.get("exceptions", [])
    own = [one for one in endings if not str(one.body.get("reason")).startswith("duplicate.")] or endings
    if own:
        last = own[-1]
        return f"nothing was done: {last.body.get('reason')} at {clock(last.at_ms)}, {last.body.get('detail')}"
    return "how it ended is no longer on record: the topics keep their records for a time only"


def _commanded(command: Found, by_kind: dict[str, list[Found]], now_ms: int) -> str:
    deadline_ms = number_of(command.body, "deadline_ms") or 0
    receipts = by_kind.get("receipts", [])
    if not receipts:
        recalled = ", and it was taken back" if by_kind.get("policies") else ""
        if now_ms < deadline_ms:
            return f"commanded, may be started until {clock(deadline_ms)}{recalled}; no executor has answered yet"
        return (
            f"commanded, its deadline passed at {clock(deadline_ms)}{recalled}, and no receipt says what became of it"
        )
    receipt = next((one for one in receipts if one.body.get("status") == "executed"), receipts[-1])
    status, body = receipt.body.get("status"), receipt.body
    started_ms = number_of(body, "started_at_ms")
    at_ms = started_ms if started_ms is not None else number_of(body, "at_ms") or receipt.at_ms
    outcomes = by_kind.get("outcomes", [])
    realised = f"; realised {value_of(outcomes[-1].body)}" if outcomes else ""
    if status == "executed":
        return f"executed at {clock(at_ms)}, {against(at_ms, deadline_ms)}{realised}"
    detail = f": {body['detail']}" if text_of(body, "detail") else ""
    return f"commanded, and {status} by its executor at {clock(at_ms)}{detail}{realised}"


def _waits(ordered: Sequence[Found], now_ms: int) -> Iterator[str]:
    """Who has to do something yet, in the order in which it was asked of them."""
    answered = {place for one in ordered if one.body.get("kind") == "disposition" and (place := one.named("source"))}
    caused = {place for one in ordered if (place := one.named("caused_by"))}
    ended = set(_ended_reviews(ordered))
    for one in ordered:
        if one.kind in ("decisions", "successors") and one.place not in answered:
            yield "waits for the gate: it has not decided it yet, or its answer is no longer on record"
        elif one.kind == "reevaluations" and one.place not in caused:
            yield f"waits for its evaluator {_until(number_of(one.body, 'final_deadline_ms'), now_ms)}"
        elif one.kind == "reviews" and one.body.get("kind") == "disposition" and one.named("source") not in ended:
            yield f"waits for a person {_until(number_of(one.body, 'deadline_ms'), now_ms)}"


def _ended_reviews(ordered: Sequence[Found]) -> Iterator[Place]:
    for one in ordered:
        if one.kind in ("commands", "exceptions", "reevaluations") and one.body.get("kind") == "followup":
            place = one.named("source")
            if place is not None:
                yield place


def _until(deadline_ms: int | None, now_ms: int) -> str:
    if deadline_ms is None:
        return "without a deadline on record"
    left_ms = deadline_ms - now_ms
    if left_ms > 0:
        return f"until {clock(deadline_ms)}, {duration(left_ms)} from now"
    return f"until {clock(deadline_ms)}, which has passed: its end is not on record yet"
