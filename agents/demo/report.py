"""The demo's last page: what became of the decisions, how long it took, how much money, the audit's verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from agents.demo.tally import KINDS, PERCENTILES, Tally
from agents.readable import money
from agents.workflows.billing.events import CURRENCY

STAGE_NOTES = {
    "inference": "the trip ended -> the rater decided",
    "producer": "-> sent (the rater's queue is in here)",
    "transport": "-> in the broker",
    "queue": "-> read by the gate",
    "gate": "-> decided",
    "sent to decided": "transport + queue + gate",
    "age": "all of it: what the budget limits",
}
COLORS = {"commands": "green", "reviews": "yellow", "exceptions": "red"}
BREACHES = (
    "missing",
    "duplicates",
    "command_twice",
    "out_of_order",
    "late_commands",
    "altered",
    "unexplained",
)


@dataclass(frozen=True, slots=True)
class Result:
    sent: int
    tally: Tally
    audit: dict[str, Any]

    @property
    def ok(self) -> bool:
        return bool(self.audit.get("ok"))

    def as_dict(self) -> dict[str, Any]:
        tally = self.tally
        return {
            "sent": self.sent,
            "outputs": [
                {
                    "workflow": workflow,
                    "kind": kind,
                    "reason": reason,
                    "count": count,
                    "value_minor": tally.money_minor[workflow, kind, reason],
                }
                for (workflow, kind, reason), count in _in_order(tally)
            ],
            "latency_ms": tally.latency(),
            "money_minor": {
                "currency": CURRENCY,
                "acted_on": tally.acted_minor(),
                "waiting": tally.waiting_minor(),
                "held_back": tally.held_back_minor(),
            },
            "audit": self.audit,
            "ok": self.ok,
        }


def _in_order(tally: Tally) -> list[tuple[tuple[str, str, str], int]]:
    return sorted(tally.counts.items(), key=lambda item: (item[0][0], KINDS.index(item[0][1]), -item[1], item[0][2]))


def show(result: Result, console: Console) -> None:
    console.print()
    console.print(_outputs(result.tally))
    console.print(_latency(result.tally))
    tally = result.tally
    console.print(f"acted on:            [bold green]{money(tally.acted_minor(), CURRENCY)}[/]", highlight=False)
    console.print(f"waiting for people:  [bold yellow]{money(tally.waiting_minor(), CURRENCY)}[/]", highlight=False)
    console.print(
        f"held back:           [bold red]{money(tally.held_back_minor(), CURRENCY)}[/] "
        "(repeats not counted: they ask for the same money again)",
        highlight=False,
    )
    breaches = ", ".join(f"{name} {result.audit.get(name)}" for name in BREACHES)
    verdict = "[bold green]every promise held[/]" if result.ok else "[bold red]A PROMISE WAS BROKEN[/]"
    console.print(
        f"\naudit: {verdict}: {result.audit.get('inputs')} inputs; {breaches}", highlight=False, soft_wrap=True
    )


def _outputs(tally: Tally) -> Table:
    table = Table(title="What became of the decisions", title_justify="left")
    for name in ("workflow", "kind", "reason"):
        table.add_column(name)
    table.add_column("count", justify="right")
    table.add_column("value", justify="right")
    for (workflow, kind, reason), count in _in_order(tally):
        unread = reason.startswith("invalid.")
        value = "unknown" if unread else money(tally.money_minor[workflow, kind, reason], CURRENCY)
        table.add_row(workflow, f"[{COLORS[kind]}]{kind}[/]", reason, str(count), value)
    return table


def _latency(tally: Tally) -> Table:
    table = Table(title="Decision latency of the commands, by stage, in ms", title_justify="left")
    table.add_column("stage")
    for percent in PERCENTILES:
        table.add_column(f"p{percent}", justify="right")
    table.add_column("from -> to")
    for stage, figures in tally.latency().items():
        table.add_row(stage, *(str(figure) for figure in figures.values()), STAGE_NOTES[stage])
    return table
