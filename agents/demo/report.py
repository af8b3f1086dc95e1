"""The demo's last page: what became of decisions and commands, how long it took, the money, the audit's verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from agents.demo.receipts import STATUSES
from agents.demo.tally import KINDS, PERCENTILES, Tally, percentile
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
STATUS_NOTES = {
    "executed": "",
    "refused": "by a rule of the executor's own",
    "failed": "it raised: not called again, a person decides",
    "expired": "too late when its turn came: not called",
    "unknown": "past its time limit: a person decides",
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
    executes: bool

    @property
    def commands_without_receipt(self) -> int:
        return self.tally.receipts.awaited if self.executes else 0

    @property
    def ok(self) -> bool:
        return bool(self.audit.get("ok")) and not self.commands_without_receipt

    def as_dict(self) -> dict[str, Any]:
        tally, receipts = self.tally, self.tally.receipts
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
            "receipts": [
                {"status": status, "count": receipts.counts[status], "value_minor": receipts.money_minor[status]}
                for status in STATUSES
                if receipts.counts[status]
            ],
            "commands_without_receipt": self.commands_without_receipt,
            "latency_ms": tally.latency(),
            "age_of_budget_permille": {
                name: {f"p{percent}": percentile(sorted(shares), percent) for percent in PERCENTILES}
                for name, shares in (("decided", tally.shares_permille), ("acted_on", receipts.shares_permille))
                if shares
            },
            "money_minor": {
                "currency": CURRENCY,
                "acted_on": tally.acted_minor(),
                "executed": tally.executed_minor(),
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
    if result.executes:
        console.print(_receipts(result))
    console.print(f"acted on:            [bold green]{money(tally.acted_minor(), CURRENCY)}[/]", highlight=False)
    if result.executes:
        console.print(f"  executed:          [bold cyan]{money(tally.executed_minor(), CURRENCY)}[/]", highlight=False)
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


def _receipts(result: Result) -> Table:
    table = Table(title="What the executor made of the commands", title_justify="left")
    for name in ("receipt", "count", "value"):
        table.add_column(name, justify="left" if name == "receipt" else "right")
    table.add_column("")
    receipts = result.tally.receipts
    for status in STATUSES:
        value = money(receipts.money_minor[status], CURRENCY)
        table.add_row(status, str(receipts.counts[status]), value, STATUS_NOTES[status])
    if result.commands_without_receipt:
        table.add_row("[bold red]none[/]", str(result.commands_without_receipt), "", "did not come in time")
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
