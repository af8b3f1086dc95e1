"""What the rounds come to: medians, how far they spread, ours as a multiple of the bare loop; a table, and data."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.run import Plan, Run, environment

# figure -> how it is called in the table, and how it is written
ROWS = {
    "events_per_s": ("events/s", "{:,.0f}"),
    "cpu_s_per_million": ("CPU s a million", "{:.1f}"),
    "broker_cpu_s_per_million": ("broker's CPU s a million", "{:.1f}"),
    "peak_rss_mb": ("peak RSS, MB", "{:.0f}"),
    "started_s": ("start to first output, s", "{:.1f}"),
    "p50_ms": ("p50, ms", "{:.1f}"),
    "p90_ms": ("p90, ms", "{:.1f}"),
    "p99_ms": ("p99, ms", "{:.1f}"),
    "max_ms": ("max, ms", "{:.0f}"),
    "cores": ("cores at that rate", "{:.2f}"),
}
QUIET_CORES = 0.3
LATE_MS = 50.0


def summary(plan: Plan, runs: Sequence[Run]) -> dict[str, Any]:
    """Everything, for programs: the plan, the machine, each run, medians by name, ratios of the two."""
    medians = {name: _over(runs, name, statistics.median) for name in plan.names}
    other = medians[plan.names[1]]
    return {
        "plan": asdict(plan),
        "environment": environment(),
        "runs": [asdict(one) for one in runs],
        "medians": medians,
        "ratios": {
            figure: medians[plan.names[0]][figure] / other[figure] if other[figure] else None for figure in ROWS
        },
        "missing": 0,
        "duplicates": 0,
    }


def show(console: Console, plan: Plan, found: dict[str, Any], runs: Sequence[Run]) -> None:
    """The table, and below it what speaks against the figures."""
    lowest, highest = ({name: _over(runs, name, pick) for name in plan.names} for pick in (min, max))
    table = Table(
        title=f"{plan.count:,} decisions a run, latency at {plan.rate_per_s:,}/s for {plan.seconds} s; "
        f"medians of {plan.rounds}; missing 0, duplicates 0",
    )
    table.add_column("", no_wrap=True)
    for name in plan.names:
        table.add_column(name, justify="right", style="bold", no_wrap=True)
        table.add_column("lowest - highest", justify="right", style="dim", no_wrap=True)
    table.add_column("/".join(plan.names), justify="right", no_wrap=True)
    for figure, (title, form) in ROWS.items():
        cells = []
        for name in plan.names:
            cells.append(form.format(found["medians"][name][figure]))
            cells.append(f"{form.format(lowest[name][figure])} - {form.format(highest[name][figure])}")
        ratio = found["ratios"][figure]
        table.add_row(title, *cells, "-" if ratio is None else f"{ratio:.2f}")
    console.print(table)
    for line in doubts(runs):
        console.print(line, highlight=False, soft_wrap=True)


def doubts(runs: Sequence[Run]) -> list[str]:
    """What makes the figures doubtful, a sentence each: others on the machine, a sender that was late."""
    said = []
    if (busy := max(one.throughput.other_cores for one in runs)) > QUIET_CORES:
        said.append(f"Others used up to {busy:.1f} cores of this machine meanwhile: measure again when it is quiet.")
    if (late_ms := max(one.latency.sender_late_ms_max for one in runs)) > LATE_MS:
        said.append(f"The sender was up to {late_ms:.0f} ms late: the machine was too busy to measure latency on.")
    return said


def _over(runs: Sequence[Run], name: str, pick: Any) -> dict[str, float]:
    figures = [one.figures() for one in runs if one.name == name]
    return {figure: pick([one[figure] for one in figures]) for figure in figures[0]}
