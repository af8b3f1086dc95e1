"""`sluicegate demo`: see it happen, with real data, on a broker that is there for as long as the demo."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click
from rich.console import Console

from agents.cli.options import output_option
from agents.demo.replay import Pace
from agents.demo.report import Result, show
from agents.demo.run import POLICIES, DemoConfig, program_name, run
from streams.errors import CheckFailed


@click.command(
    epilog="Examples:\n\n"
    "\b\n"
    "  sluicegate demo                  about a minute, most of it the replay\n"
    "  sluicegate demo --seconds 10 --rate 1000\n"
    "  sluicegate demo --keep           afterwards everything stays, to be looked at, until Ctrl-C\n"
    "  sluicegate demo --output json | jq .latency_ms"
)
@click.option("--seconds", default=30, show_default=True, type=click.IntRange(1, 3600), help="How long to replay.")
@click.option("--rate", default=200, show_default=True, type=click.IntRange(1, 5000), help="Decisions a second.")
@click.option(
    "--keep", is_flag=True, help="Leave broker and worker running until Ctrl-C, and print how to look around."
)
@output_option
def demo(seconds: int, rate: int, keep: bool, output: str) -> None:
    """Real billing decisions through the gate, on a Kafka of its own.

    New York taxi trips of December 2018 to February 2019 become decisions to post invoice lines. Some wait too
    long in the producer's queue, some are over their limit, some are no decisions at all, some come twice. In
    February a surcharge begins that the model does not know: watch the reviews. In the end an independent audit
    says whether each decision got exactly one answer. Exit code 0 only if it did.
    """
    as_json = output == "json"

    def say(line: str) -> None:
        click.echo(line, err=as_json)

    def report(result: Result) -> None:
        if not as_json:
            show(result, Console(width=None if sys.stdout.isatty() else 110))

    result = run(DemoConfig(Pace(rate, seconds), keep), say, report)
    if as_json:
        click.echo(json.dumps(result.as_dict()))
    elif not keep:
        _next_steps()
    if not result.ok:
        raise CheckFailed("the audit found a broken promise; `sluicegate demo --keep` leaves everything to look at")


def _next_steps() -> None:
    program = program_name()
    policies = os.path.relpath(POLICIES) if POLICIES.is_relative_to(Path.cwd()) else POLICIES
    click.echo("\nNext, each line as it is:")
    steps = {
        "demo --keep": "the same, and everything stays to be looked at",
        f"policy check {policies}": "the rules that decided",
        "broker --data ./kafka-data": "a Kafka that keeps its data, for decisions of your own",
    }
    width = max(map(len, steps))
    for step, about in steps.items():
        click.echo(f"  {program} {step:<{width}}  # {about}")
