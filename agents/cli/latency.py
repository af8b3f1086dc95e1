"""`sluicegate latency`: how old decisions are, stage by stage, against their budgets, now."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import aclosing

import click
from rich.console import Console
from rich.live import Live

from agents.cli.client import quiet_client_logs
from agents.cli.options import bootstrap_option, output_option, prefix_option
from agents.cli.times import Span
from agents.cli.values import GROUP
from agents.latency.view import as_document, frame
from agents.latency.watch import Watched, watch
from streams.runtime.records import Lenient, install

LIVE_S, PRINTED_S = 1.0, 10.0  # between snapshots: on a terminal, and where lines scroll by
WIDTH_PLAIN = 80


@click.command(
    epilog="""\b
Examples:
  sluicegate latency                          live, the last five minutes, until Ctrl-C
  sluicegate latency --window 1h --once       one snapshot
  sluicegate latency --once --output json | jq '.workflows.billing.budget_used.p99'

\b
What the rows say:
  inference ... gate   the stages of a decision's age, as its output tells them (see CONTRACT: stages_ms)
  age at the gate      their sum, from the observation to the reading of the clock that decided
  gate to action       from there to the start of the action, from receipts
  of the budget        age by budget; 100 % and more was too late
  lag                  how long the next decision that the gate will read has waited, by the broker's time
  expired              receipts that say `expired`, against the commands of the window
  no receipt           commands past their deadline that nobody has answered: is an executor running?

Percentiles are told to within 3 %, never less than they were. Without a terminal a snapshot is printed every 10 s."""
)
@click.option(
    "--window",
    "window_ms",
    type=Span("1ms", "7d", "5m", "topics keep so long"),
    default="5m",
    show_default=True,
    metavar="SPAN",
    help="How far back it looks.",
)
@click.option("--once", is_flag=True, help="One snapshot, then stop.")
@click.option(
    "--group", type=GROUP, metavar="NAME", help="The gate's consumer group, for the lag.  [default: <prefix>gate]"
)
@bootstrap_option
@prefix_option
@output_option
def latency(window_ms: int, once: bool, group: str | None, bootstrap: str, prefix: str, output: str) -> None:
    """See where time goes: by workflow and stage p50, p95 and p99, the share of the budget used, lag, what expired.

    It reads what the gate and the executors wrote (commands, reviews, exceptions, reevaluations, receipts), joins no
    group and changes nothing. With --output json each snapshot is an object; with --once there is one.
    """
    quiet_client_logs()
    install(Lenient)
    console = Console(highlight=False)
    live = console.is_terminal and not console.is_dumb_terminal and not os.environ.get("CI")
    every_s = LIVE_S if live and output == "text" else PRINTED_S
    watched = Watched(bootstrap, prefix, group or f"{prefix}gate", window_ms, every_s)
    try:
        if live and not once and output == "text":
            asyncio.run(_drawn(watched, console))
        else:
            asyncio.run(_printed(watched, once, output))
    except KeyboardInterrupt:
        return  # the usual way to end it


async def _drawn(watched: Watched, console: Console) -> None:
    with console.status("reading the window") as status:
        async with aclosing(watch(watched)) as snapshots:
            first = await anext(snapshots)
            status.stop()
            with Live(frame(first), console=console, auto_refresh=False, screen=False) as view:
                async for snapshot in snapshots:
                    view.update(frame(snapshot), refresh=True)


async def _printed(watched: Watched, once: bool, output: str) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_PLAIN)
    async with aclosing(watch(watched)) as snapshots:
        async for snapshot in snapshots:
            if output == "json":
                click.echo(json.dumps(as_document(snapshot), indent=2 if once else None))
            else:
                console.print(frame(snapshot))
            sys.stdout.flush()
            if once:
                return
