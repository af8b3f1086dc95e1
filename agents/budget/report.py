"""What a replay found, for people and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from agents.budget.advice import Advice, Wish
from agents.budget.recording import Recording
from agents.readable import duration, money
from agents.recorded.topics import told
from streams.budget import Replayed, State, binned_loss

NAMES = {
    State.KEPT: "kept",
    State.DROPPED: "dropped",
    State.ASKED: "reevaluated",
    State.SHOWN: "escalated",
    State.OTHER: "other",
}


def as_row(one: Replayed, span_ms: int) -> dict[str, Any]:
    """One budget as a JSON object: counts, values by currency in minor units, questions a second."""
    mean, peak = one.questions_a_second(span_ms)
    return {
        "budget_ms": one.budget_ms,
        **{name: one.count(state) for state, name in NAMES.items()},
        "value_minor": {name: one.value_minor(state) for state, name in NAMES.items() if state is not State.OTHER},
        "questions": len(one.questions_ms),
        "questions_per_s_mean": round(mean, 4),
        "questions_per_s_peak": peak,
    }


def range_of(recording: Recording) -> dict[str, Any]:
    """What was read, as a JSON object."""
    return {
        "workflow": recording.workflow,
        "from_ms": recording.from_ms,
        "to_ms": recording.to_ms,
        "records": len(recording.inputs),
        "inputs_deleted": recording.gone,
    }


def loss(recording: Recording) -> list[tuple[int, int, float]]:
    """Realised loss against age at action: see `streams.budget.binned_loss`."""
    acted = recording.acted()
    if not acted:
        return []
    (currency, _), *_ = Counter(one.currency for one in acted).most_common(1)  # sums of several would mean nothing
    here = [one for one in acted if one.currency == currency]
    return binned_loss(
        [one.age_ms for one in here], [one.promised_minor for one in here], [one.realised_minor for one in here]
    )


def loss_rows(recording: Recording) -> list[dict[str, Any]]:
    """The same as JSON objects."""
    return [{"age_ms": age_ms, "commands": count, "lost": round(lost, 6)} for age_ms, count, lost in loss(recording)]


def table(rows: Sequence[Replayed], present_ms: int, span_ms: int) -> Table:
    """A row for each budget, the present one marked; what is nothing everywhere has no column."""
    asked = any(one.count(State.ASKED) or len(one.questions_ms) for one in rows)
    shown = any(one.count(State.SHOWN) for one in rows)
    made = Table(box=None, padding=(0, 1), header_style="bold")
    made.add_column("budget", justify="right", no_wrap=True)
    for heading in ("kept", "dropped", *(["asked"] if asked else []), *(["shown"] if shown else [])):
        made.add_column(heading, justify="right", no_wrap=True)
    for heading in ("value kept", "value lost"):
        made.add_column(heading, justify="right")
    if asked:
        made.add_column("questions/s", justify="right", no_wrap=True)
    for one in rows:
        here = one.budget_ms == present_ms
        cells = [f"{'*' if here else ''}{duration(one.budget_ms)}"]
        cells += [f"{one.count(State.KEPT):,}", f"{one.count(State.DROPPED):,}"]
        cells += [f"{one.count(State.ASKED):,}"] if asked else []
        cells += [f"{one.count(State.SHOWN):,}"] if shown else []
        cells += [_value(one, State.KEPT), _value(one, State.DROPPED)]
        if asked:
            mean, peak = one.questions_a_second(span_ms)
            cells.append(f"{mean:.1f} ({peak})")
        made.add_row(*cells, style="bold" if here else None)
    return made


def notes(recording: Recording, looked_at: int, rows: Sequence[Replayed]) -> list[str]:
    """What the reader of the table should know."""
    said = ["* the present budget. kept: a command or a review. dropped: an exception as stale."]
    if any(one.count(State.ASKED) or len(one.questions_ms) for one in rows):
        said.append(
            "asked: put to the evaluator again, its answer not on record. questions/s: mean (most in a second)."
        )
    if any(one.count(State.SHOWN) for one in rows):
        said.append("shown: shown to a person as stale.")
    if rows and (other := rows[0].count(State.OTHER)):
        said.append(f"{other:,} of the {looked_at:,} ended for other reasons, such as a rule that blocks.")
    if recording.gone:
        said.append(f"{recording.gone:,} answers are left out: their decisions are older than retention.")
    return said


def _value(one: Replayed, state: State) -> str:
    return ", ".join(money(amount, name) for name, amount in one.value_minor(state).items() if amount) or "-"


def as_advice(recording: Recording, advice: Advice, wish: Wish) -> dict[str, Any]:
    """The recommendation as a JSON object; shares are of 1."""
    found = advice.recommendation
    return {
        **range_of(recording),
        "keep": float(wish.keep),
        "by": wish.by,
        "currency": advice.currency,
        "budget_ms": found.budget_ms,
        "interval_95_ms": None if found.low_ms is None else [found.low_ms, found.high_ms],
        "interval_method": "percentiles of a block bootstrap over time, seeded",
        "seed": wish.seed,
        "decisions": advice.decisions,
        "decisions_beyond": found.beyond,
        "predicted": {name: round(share, 6) for name, share in asdict(advice.predicted).items()},
        "present_budget_ms": advice.present_ms,
        "present": {name: round(share, 6) for name, share in asdict(advice.present).items()},
    }


def advice_lines(recording: Recording, advice: Advice, wish: Wish) -> list[str]:
    """The recommendation in sentences."""
    found, now, then = advice.recommendation, advice.present, advice.predicted
    what = f"value in {advice.currency}" if advice.currency else "decisions"
    lines = [
        f"{recording.workflow}: budget {_exactly(found.budget_ms)} keeps {then.kept:.2%} of the {what} "
        f"(asked for: {float(wish.keep):.2%}).",
    ]
    if found.low_ms is None or found.high_ms is None:
        lines.append("No interval: the decisions fill too few stretches of the time; take a longer range.")
    else:
        lines.append(
            f"95 % interval: {_exactly(found.low_ms)} to {_exactly(found.high_ms)} (block bootstrap over time, "
            f"seed {wish.seed})."
        )
    late = [f"{share:.2%} {word}" for share, word in _late(advice) if share] or ["nothing"]
    lines.append(f"Predicted of the rest: {', '.join(late)}.")
    lines.append(f"The present budget, {_exactly(advice.present_ms)}, keeps {now.kept:.2%}.")
    lines.append(
        f"From {advice.decisions:,} decisions, {told(recording.from_ms)} to {told(recording.to_ms)}; "
        f"{found.beyond:,} of them need more than the budget."
    )
    return lines


def _late(advice: Advice) -> list[tuple[float, str]]:
    then = advice.predicted
    return [
        (then.dropped, "dropped"),
        (then.reevaluated, "asked again"),
        (then.escalated, "shown to a person as stale"),
        (then.other, "ended otherwise"),
    ]


def _exactly(span_ms: int) -> str:
    """To the millisecond, as a policy can be written: 1m2s345ms."""
    parts = []
    for unit, size_ms in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)):
        number, span_ms = divmod(span_ms, size_ms)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0ms"
