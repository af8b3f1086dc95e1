"""`sluicegate demo`: see it happen, with real data, on a broker that is there for as long as the demo."""

from __future__ import annotations

import json
import sys

import click
from rich.console import Console

from agents.cli.options import output_option
from agents.cli.values import Whole
from agents.demo.live import watch_on_stdout
from agents.demo.replay import Pace
from agents.demo.report import Result, show
from agents.demo.run import DemoConfig, run
from agents.demo.steps import next_steps
from agents.demo.watch import Lines
from streams.errors import CheckFailed


@click.command(
    epilog="Examples:\n\n"
    "\b\n"
    "  sluicegate demo                  about a minute, most of it the replay\n"
    "  sluicegate demo --seconds 10 --rate 1000\n"
    "  sluicegate demo --keep           afterwards everything stays, to be looked at, until Ctrl-C\n"
    "  sluicegate demo --output json | jq .latency_ms"
)
@click.option("--seconds", default=30, show_default=True, type=Whole(1, 3600, 10), help="How long to replay.")
@click.option("--rate", default=200, show_default=True, type=Whole(1, 5000, 1000), help="Decisions a second.")
@click.option("--keep", is_flag=True, help="Leave all of it running until Ctrl-C, and print how to look around.")
@output_option
def demo(seconds: int, rate: int, keep: bool, output: str) -> None:
    """Real billing decisions through the gate, on a Kafka of its own.

    New York taxi trips of December 2018 to February 2019 become decisions to post invoice lines. Some wait too
    long in the producer's queue, some are over their limit, some are no decisions at all, some come twice. In
    February a surcharge begins that the model does not know: watch the reviews. An executor of sluicegate-kit
    acts on the commands, and refuses, fails or hangs now and then. In the end an independent audit says whether
    each decision got exactly one answer. Exit code 0 only if it did, and each command got its receipt.

    On a terminal of at least 76 columns and 22 rows it draws a live view; else, or with CI set, a line a second.
    """
    as_json = output == "json"

    def say(line: str) -> None:
        click.echo(line, err=as_json)

    def report(result: Result) -> None:
        if not as_json:
            show(result, Console(width=None if sys.stdout.isatty() else 110))

    watch = Lines(say) if as_json else watch_on_stdout(say)
    result = run(DemoConfig(Pace(rate, seconds), keep), watch, report)
    if as_json:
        click.echo(json.dumps(result.as_dict()))
    elif not keep:
        _next_steps()
    if not result.ok:
        found = "a command without a receipt" if result.audit.get("ok") else "the audit found a broken promise"
        raise CheckFailed(f"{found}; `sluicegate demo --keep` leaves everything to look at")


def _next_steps() -> None:
    click.echo("\nNext, each line as it is:\n")
    for step in next_steps():
        click.echo(f"  # {step.about}{'' if step.ends else '; until Ctrl-C'}\n  {step.line}")
