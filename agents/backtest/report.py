"""What a backtest found, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table

from agents.backtest.estimate import reasons
from agents.backtest.run import Backtest
from agents.readable import money
from agents.recorded.topics import told
from streams.backtest import CATEGORIES, Example, Shape, Sum, Tally, matrix
from streams.policy import Policy

# by whose authority: what moves between these is what a policy is about
GROUPS = {"command": "autonomous", "review": "review", "blocked": "blocked"}
REASON_CHARS_MAX = 60


def as_document(found: Backtest, candidate: Sequence[Policy], against: Sequence[Policy] | None) -> dict[str, Any]:
    """All of it as a JSON object; values are magnitudes in minor units, by currency."""
    asked, tally, why = found.asked, found.tally, reasons(found, candidate)
    return {
        "from_ms": asked.from_ms,
        "to_ms": asked.to_ms,
        "workflow": asked.workflow,
        "candidate": [one.name for one in candidate],
        "against": "recorded" if against is None else [one.name for one in against],
        "estimate": bool(why),
        "estimate_reasons": why,
        **_part(tally, asked.examples_max),
        "command_ids_differ": tally.ids_differ,
        "warmed_up": tally.warmed_up,
        "left_out": tally.left_out,
        "workflows": {name: _part(tally.of(name), 0) for name in tally.workflows},
    }


def _part(tally: Tally, examples_max: int) -> dict[str, Any]:
    sums = matrix(tally.cells, examples_max)
    return {
        "decisions": tally.decisions,
        "agree": tally.decisions - tally.changed,
        "changed": tally.changed,
        "matrix": [{"before": before, "after": after, **_sum(one)} for (before, after), one in sums.items()],
        "moves": [
            {"from": before, "to": after, "count": one.count, "value_minor": one.value_minor}
            for (before, after), one in moves(sums).items()
        ],
    }


def _sum(one: Sum) -> dict[str, Any]:
    told_examples = [_example(example) for example in one.examples]
    row = {"count": one.count, "changed": one.changed, "value_minor": one.value_minor}
    return {**row, "examples": told_examples} if told_examples else row


def _example(one: Example) -> dict[str, Any]:
    return {
        "decision_id": one.decision_id,
        "value_minor": one.value_minor,
        "currency": one.currency,
        "at_ms": one.at_ms,
        "source": {"topic": one.topic, "partition": one.partition, "offset": one.offset},
        "before": _shape(one.before),
        "after": _shape(one.after),
    }


def _shape(shape: Shape) -> dict[str, Any]:
    return {"output": shape.output, "reason": shape.reason, "rule": shape.rule, "policy": shape.policy}


def moves(sums: dict[tuple[str, str], Sum]) -> dict[tuple[str, str], Sum]:
    """What changes between autonomous, review and blocked, and to or from all else (`otherwise`)."""
    found: dict[tuple[str, str], Sum] = {}
    for (before, after), one in sums.items():
        named = GROUPS.get(before, "otherwise"), GROUPS.get(after, "otherwise")
        if named[0] == named[1]:
            continue
        there = found.get(named, Sum(0, 0, {}, ()))
        found[named] = Sum(there.count + one.count, 0, _added(there.value_minor, one.value_minor), ())
    return found


def _added(some: Any, more: Any) -> dict[str, int]:
    return {name: some.get(name, 0) + more.get(name, 0) for name in sorted({*some, *more})}


def headline(found: Backtest, candidate: Sequence[Policy], against: Sequence[Policy] | None) -> str:
    """What was replayed, and how much of it changes."""
    tally, asked = found.tally, found.asked
    before = "what was recorded" if against is None else ", ".join(one.name for one in against)
    share = tally.changed / tally.decisions if tally.decisions else 0.0
    return (
        f"{', '.join(one.name for one in candidate)} against {before}: {tally.decisions:,} decisions from "
        f"{told(asked.from_ms)} to {told(asked.to_ms)}, {tally.changed:,} would change ({share:.2%})"
    )


def table(tally: Tally) -> Table:
    """Before down, after across; what stays in its category is dim, what would leave it stands out."""
    sums = matrix(tally.cells, 0)
    before = [name for name in CATEGORIES if any(pair[0] == name for pair in sums)]
    after = [name for name in CATEGORIES if any(pair[1] == name for pair in sums)]
    made = Table(box=None, padding=(0, 1), header_style="bold")
    made.add_column("before \\ after", no_wrap=True)
    for name in after:
        made.add_column(name, justify="right", no_wrap=True)
    for row in before:
        cells = []
        for column in after:
            one = sums.get((row, column))
            if one is None:
                cells.append("[dim]-[/]")
            elif row == column:
                cells.append(f"[dim]{one.count:,}{f' ({one.changed:,}*)' if one.changed else ''}[/]")
            else:
                cells.append(f"[bold yellow]{one.count:,}[/]")
        made.add_row(row, *cells)
    return made


def move_lines(tally: Tally) -> Iterable[str]:
    """What moves, with its value."""
    sums = matrix(tally.cells, 0)
    if any(one.changed for (before, after), one in sums.items() if before == after):
        yield "* another reason or rule, and the same kind of answer"
    for (before, after), one in moves(sums).items():
        yield f"{before} -> {after}: {one.count:,} decisions, {_values(one)}"


def workflow_lines(tally: Tally) -> Iterable[str]:
    """A line for each workflow, where there are several."""
    if len(tally.workflows) < 2:
        return
    for name in tally.workflows:
        part = tally.of(name)
        yield f"{name}: {part.changed:,} of {part.decisions:,} would change"


def example_lines(tally: Tally, examples_max: int) -> Iterable[str]:
    """Some decisions of each cell that changes."""
    for (before, after), one in matrix(tally.cells, examples_max).items():
        if not one.examples:
            continue
        yield f"{before} -> {after}"
        for example in one.examples:
            worth = ""
            if example.value_minor is not None and example.currency is not None:
                worth = f" {money(example.value_minor, example.currency)}"
            yield f"  {example.decision_id or '(no id)'}{worth}: {_told(example.before)} -> {_told(example.after)}"


def note_lines(found: Backtest, candidate: Sequence[Policy]) -> Iterable[str]:
    """What a reader should know to rely on it."""
    tally, why = found.tally, reasons(found, candidate)
    if tally.ids_differ:
        yield f"{tally.ids_differ:,} commands would have another id: that is a fault of this program, please report it"
    if tally.left_out:
        names = ", ".join(f"{name} ({count:,})" for name, count in sorted(tally.left_out.items()) if count)
        if names:
            yield f"left out, for they have no candidate: {names}"
    if not why:
        yield "exact: this is what the gate would have done, given clock, batches and context as recorded"
    for one in why:
        yield f"estimate: {one}"


def _values(one: Sum) -> str:
    return ", ".join(money(amount, name) for name, amount in one.value_minor.items()) or "no value"


def _told(shape: Shape) -> str:
    rule = f" by {shape.rule}" if shape.rule else ""
    return f"{shape.reason[:REASON_CHARS_MAX]}{rule}"
