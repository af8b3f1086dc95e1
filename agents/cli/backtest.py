"""`sluicegate policy backtest`: what other policies would have made of recorded decisions."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from agents.backtest import report
from agents.backtest.documents import policies_of
from agents.backtest.read import Asked
from agents.backtest.run import backtest as run
from agents.cli.client import quiet_client_logs
from agents.cli.options import NAME, POLICIES, bootstrap_option, interactive, output_option, prefix_option
from agents.cli.times import When
from agents.cli.values import Whole
from agents.recorded.topics import told
from streams.errors import ConfigurationError

EXAMPLES_MAX = 100  # of each cell
PROCESSES_MAX = 256  # each has the policies and a connection of its own


@click.command(
    epilog="""\b
Examples:
  sluicegate policy backtest policies/ --from 1h
  sluicegate policy backtest billing-4.yaml --from 2026-11-23T08:00:00Z --to 2026-11-23T09:00:00Z
  sluicegate policy backtest new/ --against old/ --from 1d --workflow billing
  sluicegate policy backtest new/ --from 1h --output json | jq '.moves'

\b
What is assumed: the candidate had been in force since before the range; so much is read before it as ids and
observations are remembered. Taken as recorded: the gate's clock and batches, the context it saw, what was shed under
overload, what a halt stopped, what partitions held of exposure limits. An attempt is there only where what led to it
comes out as it did; else it is `absent`.
Where the candidate needs what the recording does not hold, the result is marked as an estimate and says why. Values are
magnitudes, by currency. Workflows without a candidate are left out. The exit code is 0 whatever changes."""
)
@click.argument("policies", type=POLICIES)
@click.option(
    "--from",
    "from_ms",
    type=When(),
    default="1h",
    show_default=True,
    metavar="WHEN",
    help="When it was decided: 2h (ago), 2026-11-23T09:30:00Z, or epoch milliseconds.",
)
@click.option("--to", "to_ms", type=When(), default="now", show_default=True, metavar="WHEN", help="Its end.")
@click.option("--workflow", type=NAME, metavar="NAME", help="Count the decisions of this workflow alone.")
@click.option(
    "--against",
    type=POLICIES,
    default="recorded",
    show_default=True,
    metavar="recorded|PATH",
    help="Compare with what was recorded, or with what these policies would have done.",
)
@click.option(
    "--examples",
    type=Whole(0, EXAMPLES_MAX, 3),
    default=3,
    show_default=True,
    help="How many decisions to show of each change.",
)
@click.option(
    "--processes", type=Whole(1, PROCESSES_MAX, 2), metavar="N", help="How many work at it.  [default: one a core]"
)
@bootstrap_option
@prefix_option
@output_option
def backtest(
    policies: Path,
    from_ms: int,
    to_ms: int,
    workflow: str | None,
    against: Path,
    examples: int,
    processes: int | None,
    bootstrap: str,
    prefix: str,
    output: str,
) -> None:
    """Replay recorded decisions under POLICIES, a file or a folder, and say what would change.

    The decisions of the range go through the gate's own path at the recorded readings of its clock, in the recorded
    batches. It changes nothing and joins no group; it may run beside the gate.
    """
    candidate = policies_of(policies)
    before = None if against == Path("recorded") else policies_of(against)
    known = [one.workflow for one in candidate]
    if workflow is not None and workflow not in known:
        raise ConfigurationError(
            f"no policy in {policies} is for the workflow {workflow!r}; there is {', '.join(known)}"
        )
    quiet_client_logs()
    asked = Asked(bootstrap, prefix, from_ms, to_ms, workflow, examples)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not interactive(), transient=True) as bar:
        task = bar.add_task("replaying", total=None)
        found = run(
            asked, candidate, before, lambda done, total: bar.update(task, completed=done, total=total), processes
        )
    if not found.tally.decisions:
        left = ", ".join(sorted(found.tally.left_out))
        raise ConfigurationError(
            f"nothing of {workflow or ', '.join(known)} was decided between {told(from_ms)} and {told(to_ms)}"
            + (f"; there was {left}: is it one of these?" if left else ": choose another --from or --to")
        )
    if output == "json":
        click.echo(json.dumps(report.as_document(found, candidate, before), indent=2))
        return
    console = Console(highlight=False)
    console.print(escape(report.headline(found, candidate, before)), soft_wrap=True)
    console.print(report.table(found.tally))
    for lines in (
        report.move_lines(found.tally),
        report.workflow_lines(found.tally),
        report.example_lines(found.tally, examples),
        report.note_lines(found, candidate),
    ):
        for line in lines:
            console.print(escape(line), soft_wrap=True)
