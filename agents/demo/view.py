"""One frame of the live view, drawn from the counts: flow, ages against the budget, reasons, dollars.

It fits 80 columns and 24 rows, and uses what more there is for longer histories and more reasons.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from agents.demo.flow import Flow, sparkline
from agents.demo.receipts import STATUSES
from agents.demo.tally import KINDS, Tally, percentile
from agents.demo.watch import Moment
from agents.readable import money
from agents.workflows.billing.events import CURRENCY

WIDTH_MIN, HEIGHT_MIN = 76, 22
RECENT = 2_000  # decisions that the ages are of: those of the last ten seconds, at the demo's rate
SPENT_PERMILLE = (20, 100, 500, 1000)  # edges of the histogram of age by budget
SPENT_NAMES = ("under 2 %", "2 to 10 %", "10 to 50 %", "50 to 100 %", "too late")
FLOW_KINDS = ("sent", *KINDS, "receipts")
FLOW_NAMES = {"sent": "decisions in"}
COLORS = {"commands": "green", "reviews": "yellow", "exceptions": "red", "receipts": "cyan"}
OTHER_ROWS = 16  # all but the reasons, and the row of the cursor
MONEY_ROWS = 4
REASONS_MIN = 6  # rows are kept for so many, so that the first ones do not move the rest
FLOW_NAME_WIDTH = 12
REASON_BAR_WIDTH = 6
NUMBER_WIDTH = 6


@dataclass(frozen=True, slots=True)
class Screen:
    width: int
    height: int

    @property
    def is_large_enough(self) -> bool:
        return self.width >= WIDTH_MIN and self.height >= HEIGHT_MIN


def totals(moment: Moment, tally: Tally) -> dict[str, int]:
    """By kind of flow, since the beginning."""
    return {
        "sent": moment.sent,
        **{kind: tally.kinds[kind] for kind in KINDS},
        "receipts": tally.receipts.counts.total(),
    }


def frame(moment: Moment, tally: Tally, flow: Flow, screen: Screen) -> RenderableType:
    """What is to be seen now, at most as large as the screen."""
    inner = screen.width // 2 - 4  # a panel's border and padding
    rows = max(MONEY_ROWS, min(max(REASONS_MIN, len(tally.counts)), screen.height - OTHER_ROWS))
    grid = Table.grid(expand=True)
    grid.add_column(ratio=1)
    grid.add_column(ratio=1)
    ages = f"age by budget, last {RECENT:,}"
    grid.add_row(_panel("flow", _flow(moment, tally, flow, inner)), _panel(ages, _ages(tally, inner)))
    grid.add_row(_panel("reasons", _reasons(tally, rows, inner), rows), _panel("dollars", _money(tally), rows))
    return Group(_head(moment, screen.width), grid)


def _panel(title: str, body: RenderableType, rows: int | None = None) -> Panel:
    height = None if rows is None else rows + 2
    return Panel(body, title=title, title_align="left", border_style="dim", padding=(0, 1), height=height)


def _head(moment: Moment, width: int) -> Table:
    head = Table.grid(expand=True, padding=(0, 1))
    head.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    head.add_column(justify="right", no_wrap=True)
    head.add_row(Text(f"Sluicegate: {moment.scene}", "bold"), f"{moment.sent:,} of {moment.count:,} sent")
    head.add_row(ProgressBar(moment.count, moment.sent, width=width - 8), f"{moment.sent * 100 // moment.count} %")
    return head


def _flow(moment: Moment, tally: Tally, flow: Flow, inner: int) -> Group:
    table = _rows("left", "right", "right", "left")
    table.add_row("", "[dim]per s[/]", "[dim]all[/]", "")
    histories = {kind: flow.per_second(kind) for kind in FLOW_KINDS}
    figures = {
        kind: (f"{histories[kind][-1]:,}" if histories[kind] else "-", f"{total:,}")
        for kind, total in totals(moment, tally).items()
    }
    widths = [max(NUMBER_WIDTH, *map(len, column)) for column in zip(*figures.values(), strict=True)]
    left = inner - FLOW_NAME_WIDTH - sum(widths) - 3  # spaces between four columns
    for kind in FLOW_KINDS:
        name = Text(FLOW_NAMES.get(kind, kind), COLORS.get(kind, ""))
        table.add_row(name, *figures[kind], sparkline(histories[kind], left))
    counts = tally.receipts.counts
    statuses = [
        Text("  " + ", ".join(f"{name} {counts[name]:,}" for name in names), "dim", no_wrap=True)
        for names in (STATUSES[:1], STATUSES[1:3], STATUSES[3:])
    ]
    return Group(table, *statuses)


def _ages(tally: Tally, inner: int) -> Group:
    quantiles = _rows("left", "right", "right")
    quantiles.add_row("", "[dim]p50[/]", "[dim]p99[/]")
    for name, shares in (("decided", tally.shares_permille), ("acted on", tally.receipts.shares_permille)):
        quantiles.add_row(name, *_quantiles(shares[-RECENT:]))
    recent = tally.shares_permille[-RECENT:]
    histogram = _rows("left", "right", "left")
    for name, count in zip(SPENT_NAMES, spent(recent), strict=True):
        color = "red" if name == SPENT_NAMES[-1] else "green"
        bar = _bar(count, len(recent), inner - 22)
        histogram.add_row(name, f"{count:,}", f"[{color}]{bar}[/]")
    return Group(quantiles, Text(), histogram)


def spent(shares_permille: Sequence[int]) -> list[int]:
    """How many used how much of their budget, by SPENT_NAMES."""
    counts = [0] * len(SPENT_NAMES)
    for share in shares_permille:
        counts[bisect_right(SPENT_PERMILLE, share)] += 1
    return counts


def _quantiles(shares_permille: Sequence[int]) -> tuple[str, str]:
    if not shares_permille:
        return "-", "-"
    ordered = sorted(shares_permille)
    p50, p99 = (percentile(ordered, percent) / 10 for percent in (50, 99))
    return f"{p50:.1f} %", f"{p99:.1f} %"


def _reasons(tally: Tally, rows: int, inner: int) -> Table:
    found = tally.counts.most_common()
    most = found[0][1] if found else 1
    table = _rows("left", "right", "left")
    table.columns[0].max_width = inner - max(NUMBER_WIDTH, len(f"{most:,}")) - REASON_BAR_WIDTH - 2
    shown = found if len(found) <= rows else found[: rows - 1]
    for (_, kind, reason), count in shown:
        table.add_row(Text(reason, COLORS[kind]), f"{count:,}", f"[dim]{_bar(count, most, REASON_BAR_WIDTH)}[/]")
    if len(found) > len(shown):
        rest = found[len(shown) :]
        table.add_row(f"[dim]{len(rest)} more[/]", f"{sum(count for _, count in rest):,}", "")
    return table


def _money(tally: Tally) -> Table:
    table = _rows("left", "right")
    for name, amount_minor, color in (
        ("acted on", tally.acted_minor(), "green"),
        ("  executed", tally.executed_minor(), "cyan"),
        ("waiting", tally.waiting_minor(), "yellow"),
        ("held back", tally.held_back_minor(), "red"),
    ):
        table.add_row(name, f"[bold {color}]{money(amount_minor, CURRENCY)}[/]")
    return table


def _rows(*justify: str) -> Table:
    table = Table.grid(padding=(0, 1))
    for one in justify:
        if one == "right":
            table.add_column(justify="right", no_wrap=True, min_width=NUMBER_WIDTH)
        else:
            table.add_column(no_wrap=True, overflow="ellipsis")
    return table


def _bar(count: int, whole: int, width: int) -> str:
    """Something is never nothing: at least one mark."""
    return "■" * max(1 if count else 0, count * width // max(1, whole))
