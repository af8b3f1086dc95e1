"""One record in words: what happened, who did it, why, and what else an auditor asks. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agents.readable import duration, money
from agents.why.found import Found, number_of, text_of
from schemas.common import TIME_MS_MAX
from schemas.reasons import COMMAND_REASONS, EXCEPTION_REASONS, REVIEW_REASONS

Body = Mapping[str, Any]
_AGENTS = {"review": "the reviews agent", "reevaluation": "re-evaluation"}


@dataclass(frozen=True)
class Told:
    what: str
    who: str
    why: str | None = None
    more: tuple[str, ...] = ()


def clock(time_ms: int) -> str:
    """A time as people read it, UTC to the millisecond."""
    told_ms = min(max(time_ms, 0), TIME_MS_MAX)
    return f"{datetime.fromtimestamp(told_ms // 1000, UTC):%Y-%m-%d %H:%M:%S}.{told_ms % 1000:03d}Z"


def told(one: Found, result: str | None) -> Told:
    """The record in words. `result`: what became of it, where it is a verdict."""
    if one.kind == "verdicts":
        return _verdict(one, result)
    return _TELLERS[one.kind](one)


def value_of(body: Body) -> str | None:
    """Its money, if it names any."""
    value_minor, currency = number_of(body, "value_minor"), text_of(body, "currency")
    return None if value_minor is None else money(value_minor, currency or "").strip()


def _decision(one: Found) -> Told:
    body = one.body
    who = " by ".join(named for name in ("model", "proposer") if (named := text_of(body, name))) or "its producer"
    attempt = number_of(body, "attempt") or 1
    again = f"attempt {attempt}: " if attempt > 1 else ""
    value, sure = value_of(body), body.get("confidence")
    what = f"{again}proposes {_action(body)}{f', {value}' if value else ''}"
    rests = []
    if (observed_ms := number_of(body, "observed_at_ms")) is not None:
        rests.append(f"rests on what was observed at {clock(observed_ms)}")
    if (version := number_of(body, "context_version")) is not None:
        rests.append(f"context version {version}")
    more = [f"confidence {sure}"] if sure is not None else []
    more += [f"reversible {body['reversible']}"] if "reversible" in body else []
    more += [f"segment {body['segment']}"] if text_of(body, "segment") else []
    more += [f"expires {clock(expires_ms)}"] if (expires_ms := number_of(body, "expires_at_ms")) is not None else []
    cause = text_of(body, "cause")
    why = f"the attempt before it ended: {_meaning(cause)}" if cause else None
    return Told(what, who, why, tuple(filter(None, [", ".join(rests), ", ".join(more)])))


def _command(one: Found) -> Told:
    body = one.body
    until = number_of(body, "deadline_ms")
    what = f"command {body.get('command_id')}" + (f", to be started before {clock(until)}" if until is not None else "")
    if text_of(body, "review_id"):
        what += f", from the review {body['review_id']}"
    return Told(what, f"{_agent(one, 'reviews')} under {_rule(body)}", _meaning(text_of(body, "reason")), _seen(body))


def _review(one: Found) -> Told:
    body = one.body
    reasons = [str(_meaning(reason)) for reason in body.get("reasons") or []]
    until, approvals = number_of(body, "deadline_ms"), body.get("approvals") or []
    ends = f" until {clock(until)}" if until is not None else ""
    if one.body.get("kind") == "followup":
        stands = ["escalated"] if body.get("escalated") else []
        stands += [f"approved by {', '.join(map(str, approvals))}"] if approvals else []
        what = f"the review goes on{ends}: {', '.join(stands) or 'as it was'}, {len(approvals)} of {body.get('quorum')}"
        return Told(what, "the reviews agent", None, (f"action {body.get('action_digest')}",))
    if body.get("kind") == "audit_sample":
        what = f"shown to a person afterwards: review {body.get('review_id')} in {body.get('queue')}"
    else:
        what = f"asks {body.get('quorum')} of {body.get('queue')}{ends}: review {body.get('review_id')}"
    more = [f"action {body.get('action_digest')}"]
    if (fresh_ms := number_of(body, "fresh_until_ms")) is not None:
        more.append(f"fresh until {clock(fresh_ms)}" if fresh_ms else "stale already")
    return Told(what, f"the gate under {_rule(body)}", "; ".join(reasons), (*_seen(body), *more))


def _verdict(one: Found, result: str | None) -> Told:
    body = one.body
    signed = f"signed with the key {one.key_id}" if one.key_id else "unsigned"
    what = f"{body.get('verdict')}: {result or 'nobody has answered it'}"
    more = [f"of the action {body.get('action_digest')}"]
    if body.get("verdict") == "modify":
        value = value_of(body)
        more.append(f"proposes {_action(body)}{f', {value}' if value else ''}")
    return Told(what, f"{body.get('by')}, {signed}", text_of(body, "note"), tuple(more))


def _rejection(one: Found) -> Told:
    return Told("refused what was said", "the reviews agent", _why(one.body), ())


def _reevaluation(one: Found) -> Told:
    body = one.body
    until = number_of(body, "final_deadline_ms")
    what = f"asks the evaluator again after attempt {body.get('attempt')}"
    what += f", until {clock(until)}" if until is not None else ""
    return Told(what, f"{_agent(one, 'reviews')} under {body.get('policy')}", _why(body), _seen(body))


def _exception(one: Found) -> Told:
    body = one.body
    stage = text_of(body, "stage") or ""
    who = _AGENTS.get(stage, _agent(one, "a later step"))
    under = f" under {_rule(body)}" if body.get("policy") else ""
    what = f"ended without an action: {body.get('reason')} (exception {body.get('exception_id')})"
    return Told(what, f"{who}{under}", _why(body), (f"stage {stage}", *_seen(body)))


def _receipt(one: Found) -> Told:
    body = one.body
    started_ms, ends_ms = number_of(body, "started_at_ms"), number_of(body, "deadline_ms")
    more = []
    if started_ms is not None and ends_ms is not None:
        more.append(f"started {clock(started_ms)}, {against(started_ms, ends_ms)}")
    who = f"executor {body['executor']}" if text_of(body, "executor") else "its executor"
    return Told(str(body.get("status")), who, text_of(body, "detail"), tuple(more))


def _outcome(one: Found) -> Told:
    body = one.body
    final = ", final" if body.get("final") else ""
    what = f"realised {value_of(body) or 'nothing that is said'}{final}, revision {body.get('revision', 1)}"
    return Told(what, f"its system of record, measure {body.get('measure', 'not named')}")


def _policy(one: Found) -> Told:
    return Told("the command was taken back", str(one.body.get("by")), text_of(one.body, "why"))


def against(at_ms: int, deadline_ms: int) -> str:
    """How a time stands to its deadline."""
    left_ms = deadline_ms - at_ms
    return f"{duration(left_ms)} before its deadline" if left_ms > 0 else f"{duration(-left_ms)} past its deadline"


def _action(body: Body) -> str:
    action = body.get("action")
    kind = action.get("type") if isinstance(action, dict) else None
    return str(kind) if kind else "an action"


def _agent(one: Found, later: str) -> str:
    named = {"reviews": "the reviews agent"}.get(later, later)
    return named if one.body.get("kind") == "followup" else "the gate"


def _rule(body: Body) -> str:
    rule = text_of(body, "rule")
    return f"{body.get('policy')}, {f'rule {rule}' if rule else 'no rule'}"


def _meaning(reason: str | None) -> str | None:
    if reason is None:
        return None
    known = COMMAND_REASONS | REVIEW_REASONS | EXCEPTION_REASONS
    return f"{reason}: {known[reason]}" if reason in known else reason


def _why(body: Body) -> str:
    reason, detail = text_of(body, "reason"), text_of(body, "detail")
    return f"{reason}: {detail}" if detail else str(_meaning(reason))


def _seen(body: Body) -> tuple[str, ...]:
    return tuple(filter(None, [", ".join(_ages(body)), ", ".join(_attempt(body))]))


def _ages(body: Body) -> Iterator[str]:
    if (age_ms := number_of(body, "age_ms")) is None:
        return
    stages = body.get("stages_ms")
    told = [f"{name} {duration(span)}" for name, span in stages.items()] if isinstance(stages, dict) else []
    yield f"age {duration(age_ms)}" + (f": {', '.join(told)}" if told else "")
    if (budget_ms := number_of(body, "budget_ms")) is not None:
        yield f"budget {duration(budget_ms)}"
    if body.get("clock_adjusted"):
        yield f"bounded times {', '.join(map(str, body['clock_adjusted']))}"


def _attempt(body: Body) -> Iterator[str]:
    if (attempt := number_of(body, "attempt")) is not None:
        yield f"attempt {attempt}"
    if (version := number_of(body, "context_version_seen")) is not None:
        yield f"saw context version {version}"


_TELLERS: Mapping[str, Callable[[Found], Told]] = {
    "decisions": _decision,
    "successors": _decision,
    "commands": _command,
    "reviews": _review,
    "rejections": _rejection,
    "reevaluations": _reevaluation,
    "exceptions": _exception,
    "receipts": _receipt,
    "outcomes": _outcome,
    "policies": _policy,
}
