"""Reviews for a person's eyes: the list, and one with everything that is known about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agents.cli.lines import printable
from agents.readable import duration, money
from agents.why.telling import clock
from schemas.decision import Decision
from schemas.identifiers import action_digest
from schemas.reasons import REVIEW_REASONS
from schemas.review import Review
from streams.foreign import Reader, Unreadable, own, own_json
from streams.runtime.store.facts import Fact
from streams.runtime.store.standing import OPEN

Row = dict[str, Any]
ID_CHARS = 14  # of an id in a list: enough to name it by
ACTION_CHARS_MAX = 20_000  # of a pretty printed action: pages, not a book
_decode_review = own(Review)


class _Proposed(Decision, frozen=True, kw_only=True):
    """A decision or a successor: `id` may hold a `~` here."""

    id: str


_decode_decision = Reader(_Proposed, again=False)


def listed(rows: Sequence[Row], count: int, now_ms: int) -> RenderableType:
    """The table of `reviews list`; `count` is how many there are in all."""
    if not rows:
        return Text("no reviews wait for a person")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("id", "workflow", "entity"):
        table.add_column(name, overflow="fold" if name == "id" else "ellipsis", no_wrap=name == "id")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("reasons")
    table.add_column("time left", justify="right", no_wrap=True)
    table.add_column("approved", justify="right", no_wrap=True)
    table.add_column("queue")
    for row in rows:
        texts = [row["review_id"][:ID_CHARS], row["workflow"], row["entity"], value(row), row["reasons"]]
        left, style = _left(row, now_ms)
        cells = [Text(printable(text, 60)) for text in texts]
        table.add_row(*cells, Text(left, style=style), f"{row['approvals']}/{row['quorum']}", printable(row["queue"]))
    rest = count - len(rows)
    return Group(table, Text(f"and {rest} more: see --limit")) if rest > 0 else table


def as_document(row: Row, now_ms: int) -> Row:
    """A review of the list as JSON has it."""
    document = {name: told for name, told in row.items() if name != "text"}
    document["approved_by"] = own_json(row["approved_by"])
    document["reasons"] = row["reasons"].split(", ")
    document["left_ms"] = max(0, row["deadline_ms"] - now_ms) if row["state"] == OPEN else None
    return document


def value(row: Row) -> str:
    """`1,250.50 USD`, or nothing."""
    if row["value_minor"] is None:
        return ""
    return money(row["value_minor"], printable(row["currency"] or "", 3)).strip()


def _left(row: Row, now_ms: int) -> tuple[str, str]:
    if row["state"] != OPEN:
        return str(row["ended_how"]), "dim"
    left_ms = row["deadline_ms"] - now_ms
    if left_ms <= 0:
        return "over", "red"
    if row["escalated"] or now_ms >= row["escalate_at_ms"]:
        return f"{duration(left_ms)} !", "yellow"
    return duration(left_ms), ""


def whole(row: Row, verdicts: Sequence[Row], facts: Sequence[Fact], now_ms: int) -> RenderableType:
    """Everything about one review."""
    review = _decode_review(row["text"])
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in _lines(row, review, now_ms):
        table.add_row(name, Text(printable(text, 1000)))
    happened = Table(box=None, show_header=False, pad_edge=False)
    for at_ms, text in sorted(_happened(row, verdicts, facts)):
        happened.add_row(clock(at_ms), Text(printable(text, 1000)))
    action, digest = _action(review)
    return Group(table, Text("\naction", style="bold"), action, digest, Text("\nso far", style="bold"), happened)


def _lines(row: Row, review: Review, now_ms: int) -> Iterator[tuple[str, str]]:
    sample = ", a sample of what ran already: nothing waits for the answer" if row["kind"] == "audit_sample" else ""
    yield "review", row["review_id"] + sample
    if row["state"] == OPEN:
        left_ms = row["deadline_ms"] - now_ms
        left = f"{duration(left_ms)} left" if left_ms > 0 else "over: it ends when the reviews agent says so"
        yield "stands", f"open{', escalated' if row['escalated'] else ''}; until {clock(row['deadline_ms'])}, {left}"
    else:
        by = f" by {row['ended_by']}" if row["ended_by"] else ""
        yield "stands", f"ended{by}: {row['ended_how']}, {row['ended_id'] or row['ended_detail']}"
    yield "because", "; ".join(f"{reason}: {REVIEW_REASONS.get(reason, 'unknown here')}" for reason in review.reasons)
    yield "under", f"{review.policy}, " + (f"rule {review.rule}" if review.rule else "no rule")
    names = list(review.approvals)
    if row["ended_how"] == "approved" and row["ended_by"]:
        names.append(row["ended_by"])  # the approval that sufficed is in the command alone
    approved = f" ({', '.join(names)})" if names else ""
    yield "approved", f"{len(names)} of {row['quorum']}{approved}, in the queue {review.queue}"
    yield "fresh", _fresh(review, now_ms)
    yield "decision", f"{review.decision_id}, attempt {review.attempt}, of {review.workflow} for {review.entity}"
    yield "value", value(row) or "not said"
    yield from _proposed(review, now_ms)
    stages = msgspec.to_builtins(review.stages_ms)
    told = ", ".join(f"{name} {duration(span)}" for name, span in stages.items())
    yield "age", f"{duration(review.age_ms)} at the gate" + (f": {told}" if told else "")
    if review.context_version_seen is not None:
        yield "context", f"the gate saw version {review.context_version_seen}"


def _fresh(review: Review, now_ms: int) -> str:
    if review.fresh_until_ms == 0:
        return "stale when it came: an approval asks again, only a new observation can run"
    until = f"until {clock(review.fresh_until_ms)}"
    left_ms = review.fresh_until_ms - now_ms
    return f"{until}, {duration(left_ms)} left" if left_ms > 0 else f"{until}: by now an approval asks again"


def _proposed(review: Review, now_ms: int) -> Iterator[tuple[str, str]]:
    decision = _decode_decision(review.decision)
    if isinstance(decision, Unreadable):
        return
    yield "observed", f"{clock(decision.observed_at_ms)}, {duration(max(0, now_ms - decision.observed_at_ms))} ago"
    by = [f"{name} {told}" for name in ("proposer", "model") if (told := getattr(decision, name))]
    yield "proposed by", ", ".join(by) or "nobody says"
    names = ("confidence", "reversible", "segment", "context_version", "attributes")
    said = [(name, getattr(decision, name)) for name in names]
    yield "it says", "; ".join(f"{name.replace('_', ' ')} {told}" for name, told in said if told is not None) or "-"


def _action(review: Review) -> tuple[Text, Text]:
    proposed = _decode_decision(review.decision)
    if isinstance(proposed, Unreadable):
        return Text(printable(bytes(review.decision).decode("utf-8", "replace"), 2000)), Text(review.action_digest)
    action = bytes(proposed.action)
    try:
        pretty = msgspec.json.format(action, indent=2).decode("utf-8", "replace")  # no number is rounded by it
    except (ValueError, RecursionError):
        pretty = action.decode("utf-8", "replace")
    shown = "\n".join(printable(line, 500) for line in pretty[:ACTION_CHARS_MAX].split("\n"))
    if action_digest(action) == review.action_digest:
        return Text(shown), Text(f"{review.action_digest}, as it came", style="dim")
    return Text(shown), Text(f"{review.action_digest} is NOT the digest of this action", style="bold red")


def _happened(row: Row, verdicts: Sequence[Row], facts: Sequence[Fact]) -> Iterator[tuple[int, str]]:
    before: Review | None = None
    for fact in sorted(facts, key=lambda fact: (fact.number, fact.position)):
        if fact.topic == "reviews":
            review = _decode_review(fact.text)
            yield fact.at_ms, _step(review, before)
            before = review
    for one in verdicts:
        note = f", noting: {one['note']}" if one["note"] else ""
        result = f"{one['result']} ({one['reason']}: {one['detail']})" if one["reason"] else one["result"]
        key = f"key {one['key_id']}" if one["key_id"] else "unsigned"
        yield one["at_ms"], f"{one['by']} ({key}) says {one['verdict']}{note}: {result}"
    if row["ended_at_ms"] is not None:
        detail = f": {row['ended_detail']}" if row["ended_detail"] else ""
        yield row["ended_at_ms"], f"ended: {row['ended_how']}{detail}"


def _step(review: Review, before: Review | None) -> str:
    if before is None or review.kind != "followup":
        return f"asked: {', '.join(review.reasons)}"
    steps = ["modified"] if review.action_digest != before.action_digest else []
    steps += ["escalated"] if review.escalated and not before.escalated else []
    steps += [f"approved by {name}" for name in review.approvals if name not in before.approvals]
    return f"{', '.join(steps) or 'told again'}: {len(review.approvals)} of {review.quorum}"
