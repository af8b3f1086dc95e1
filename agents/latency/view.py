"""A snapshot for people (a table that fits 80 columns) and for programs."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agents.cli.lines import printable
from agents.latency.recent import ACTUATION, AGE, OUTPUTS, PERCENTS, SHARE, STAGES, Told
from agents.latency.watch import Snapshot
from agents.readable import duration

NAMES = {AGE: "age at the gate", ACTUATION: "gate to action"}
NAME_CHARS_MAX = 40
LATE_PERMILLE = 1_000


def as_document(snapshot: Snapshot) -> dict[str, Any]:
    """The snapshot as a JSON object; times in milliseconds, shares of 1."""
    lag = snapshot.lag
    return {
        "at_ms": snapshot.at_ms,
        "window_ms": snapshot.window_ms,
        "lag": {
            "group": snapshot.group,
            "waiting_s": None if lag.waiting_ms is None else lag.waiting_ms / 1000,
            "offsets_behind": lag.behind,
            "topic": lag.place[0] if lag.place else None,
            "partition": lag.place[1] if lag.place else None,
        },
        "workflows": {one.workflow: _workflow(one) for one in snapshot.workflows},
    }


def _workflow(one: Told) -> dict[str, Any]:
    named = [f"p{percent}" for percent in PERCENTS]
    shares = one.quantiles.get(SHARE)
    return {
        **{kind: one.counts[kind] for kind in (*OUTPUTS, "receipts", "expired")},
        "unanswered": one.unanswered,
        "stale_share": one.stale_share,
        "expired_share": one.expired_share,
        "latency_ms": {
            series: dict(zip(named, values, strict=True)) for series, values in one.quantiles.items() if series != SHARE
        },
        "budget_used": None if shares is None else dict(zip(named, [share / 1000 for share in shares], strict=True)),
    }


def frame(snapshot: Snapshot) -> RenderableType:
    """What is to be seen now."""
    parts: list[RenderableType] = [Text(_head(snapshot), "bold", no_wrap=True, overflow="ellipsis")]
    if not snapshot.workflows:
        parts.append(Text(f"nothing was decided in the last {duration(snapshot.window_ms)}"))
    for one in snapshot.workflows:
        parts += [Text(), Text(_counts(one), no_wrap=True, overflow="ellipsis"), _stages(one), _ends(one)]
    return Group(*parts)


def _head(snapshot: Snapshot) -> str:
    lag = snapshot.lag
    if lag.waiting_ms is None:
        waiting = f"no gate has read as the group {printable(snapshot.group, NAME_CHARS_MAX)} yet"
    elif not lag.behind:
        waiting = "lag 0 s"
    else:
        number = f", partition {lag.place[1]}" if lag.place else ""
        waiting = f"lag {lag.waiting_ms / 1000:,.1f} s ({lag.behind:,} behind{number})"
    return f"last {duration(snapshot.window_ms)}   {waiting}"


def _counts(one: Told) -> str:
    said = [f"{one.counts[kind]:,} {kind}" for kind in OUTPUTS if one.counts[kind]]
    return f"{printable(one.workflow, NAME_CHARS_MAX)}: {', '.join(said) or 'receipts only'}"


def _stages(one: Told) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim", pad_edge=False)
    table.add_column("", min_width=17, no_wrap=True)
    for percent in PERCENTS:
        table.add_column(f"p{percent}", justify="right", min_width=9, no_wrap=True)
    for series in (*STAGES, AGE, ACTUATION):
        if (values := one.quantiles.get(series)) is not None:
            style = "bold" if series == AGE else None
            table.add_row(f"  {NAMES.get(series, series)}", *map(duration, values), style=style)
    if (shares := one.quantiles.get(SHARE)) is not None:
        cells = [Text(f"{share / 10:.1f} %", "red" if share >= LATE_PERMILLE else "green") for share in shares]
        table.add_row("  of the budget", *cells)
    return table


def _ends(one: Told) -> RenderableType:
    lines = [Text("  " + ", ".join(_shares(one)), no_wrap=True, overflow="ellipsis")]
    if one.unanswered:
        least = "at least " if one.counts["receipts"] else ""
        told = f"  no receipt for {least}{one.unanswered:,} of {one.due:,} commands past their deadline"
        lines.append(Text(told, "red", no_wrap=True, overflow="ellipsis"))
    return Group(*lines)


def _shares(one: Told) -> list[str]:
    said = []
    if one.stale_share is not None:
        said.append(f"stale {one.stale_share:.1%}")
    if one.expired_share is not None and (one.counts["receipts"] or not one.unanswered):
        said.append(f"expired before execution {one.expired_share:.1%} of {one.counts['commands']:,} commands")
    return said
