"""`sluicegate budget`: what other freshness budgets would have done to recorded traffic, and which to take."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from agents.budget import picture, report
from agents.budget.advice import Wish, advise
from agents.budget.read import Scope, recorded
from agents.budget.recording import Recording
from agents.budget.replay import Replay
from agents.cli.client import quiet_client_logs
from agents.cli.files import FilePath
from agents.cli.options import LONG_NAME, NAME, POLICIES, bootstrap_option, interactive, output_option, prefix_option
from agents.cli.times import Budgets, Span, When
from agents.cli.values import CURRENCY, Bounded, Whole
from agents.recorded.topics import told
from streams.budget import Replayed, grid
from streams.errors import ConfigurationError
from streams.policy import Policy
from streams.runtime.policies import load
from streams.runtime.records import Lenient, install

F = TypeVar("F", bound=Callable[..., Any])
SEED_MAX = 2**32 - 1  # what generators of random numbers take
_SHARE = re.compile(r"\d{0,3}(\.\d{1,30})?(?<=\d)", re.ASCII)


class Share(Bounded):
    """A share of 1, exactly as it is written: 0.99 is 99/100."""

    name = "share"

    def __init__(self) -> None:
        super().__init__("a share over 0 and at most 1", "0.99")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Fraction:
        """Over 0, at most 1."""
        text = str(value)
        # no exponents: Fraction would make all the digits of 1e-999999999
        share = Fraction(text) if _SHARE.fullmatch(text) else Fraction(0)
        if not 0 < share <= 1:
            self.refuse(value, param, ctx)
        return share


def _common(command: F) -> F:
    for option in (
        output_option,
        prefix_option,
        bootstrap_option,
        click.option("--segment", type=LONG_NAME, metavar="NAME", help="Look at this segment and its budget alone."),
        click.option("--to", "to_ms", type=When(), default="now", show_default=True, metavar="WHEN", help="Its end."),
        click.option(
            "--from",
            "from_ms",
            type=When(),
            default="1d",
            show_default=True,
            metavar="WHEN",
            help="When it was decided: 2h (ago), 2026-11-23T09:30:00Z, or epoch milliseconds.",
        ),
        click.option(
            "--policies",
            type=POLICIES,
            required=True,
            metavar="DIR",
            help="The folder of policies, one YAML file per workflow.",
        ),
        click.option("--workflow", type=NAME, required=True, metavar="NAME", help="The workflow to look at."),
    ):
        command = option(command)
    return command


@click.group()
def budget() -> None:
    """Choose freshness budgets from evidence: recorded traffic, replayed through the gate's own path."""


@budget.command(
    epilog="""\b
Examples:
  sluicegate budget simulate --workflow billing --policies policies/
  sluicegate budget simulate --workflow billing --policies policies/ --from 2h --budget 30s,1m,5m
  sluicegate budget simulate --workflow billing --policies policies/ --plot budgets.svg
  sluicegate budget simulate --workflow billing --policies policies/ --output json | jq '.budgets[].kept'

\b
What is assumed: decisions would have been decided when they were, whatever the budget; what was shed under overload
stays shed. What an evaluator would have said to a question that was never asked is open, and counted as asked. Values
are magnitudes: a refund is not negative.
With outcomes on record, --plot also draws what acting late cost."""
)
@_common
@click.option(
    "--budget",
    "budgets",
    type=Budgets(Span("1ms", "7d", "5m", "topics keep so long")),
    metavar="LIST",
    help="Such as 30s,1m,5m.  [default: 0.1 to 4 x]",
)
@click.option("--plot", type=FilePath("budgets.svg"), metavar="FILE", help="Draw it: a .svg or a .png.")
def simulate(budgets: tuple[int, ...] | None, plot: Path | None, output: str, **about: Any) -> None:
    """Replay recorded decisions under other budgets: kept, dropped, asked again, value, evaluator load.

    The decisions of the range, at the gate's recorded clock readings, go through the same code that decides in the
    gate, once for each budget. It changes nothing and joins no group; it may run beside the gate.
    """
    if plot is not None:
        picture.check(plot)
    asked = _Asked(**about)
    with _progress() as bar:
        recording, replay, present_ms = _prepared(asked, bar)
        # the grid is around the present one; a budget that is named is not second-guessed
        wanted = budgets or grid(present_ms, replay.kept_back_ms + 1)
        passed = _counter(bar, f"replaying {len(wanted)} budgets", replay.records * len(wanted))
        rows = [replay.under(one, passed) for one in wanted]
    span_ms = _span_ms(replay)
    if plot is not None:
        picture.draw(plot, recording, rows, present_ms, span_ms)
    if output == "json":
        told_rows = [report.as_row(one, span_ms) for one in rows]
        document = {**report.range_of(recording), "present_budget_ms": present_ms, "budgets": told_rows}
        click.echo(json.dumps({**document, "loss_by_age": report.loss_rows(recording)}, indent=2))
        return
    _show(recording, replay, rows, present_ms, span_ms)
    if plot is not None:
        click.echo(f"drawn: {plot}")


@budget.command(
    epilog="""\b
Examples:
  sluicegate budget recommend --workflow billing --policies policies/ --keep 0.99
  sluicegate budget recommend --workflow billing --policies policies/ --keep 0.995 --by count --from 2d
  sluicegate budget recommend --workflow billing --policies policies/ --output json | jq .budget_ms

\b
The share is of what some budget would keep: decisions that end for other reasons do not count. The interval is that of
the percentiles of a block bootstrap: whole stretches of time are drawn anew, because ages come in bursts (Kuensch 1989;
blocks that do not overlap: Carlstein 1986). What is predicted comes from a replay under the budget found, and holds
as long as traffic stays as it was."""
)
@_common
@click.option("--keep", type=Share(), default="0.99", show_default=True, metavar="SHARE", help="What is to be kept.")
@click.option(
    "--by",
    type=click.Choice(["value", "count"]),
    default="value",
    show_default=True,
    help="The share of the value (its magnitude), or of the decisions.",
)
@click.option("--currency", type=CURRENCY, metavar="CODE", help="The currency of the value, where there are several.")
@click.option("--seed", type=Whole(0, SEED_MAX, 1), default=0, show_default=True, help="Of the bootstrap.")
def recommend(
    keep: Fraction, by: Literal["value", "count"], currency: str | None, seed: int, output: str, **about: Any
) -> None:
    """Find the smallest budget that keeps a share of the value, with a 95 % confidence interval.

    It changes nothing: write the budget into the policy yourself.
    """
    wish = Wish(keep, by, currency, seed)
    with _progress() as bar:
        recording, replay, present_ms = _prepared(_Asked(**about), bar)
        passed = _counter(bar, "replaying", replay.records * 3)
        advice = advise(replay, wish, present_ms, passed)
    if output == "json":
        click.echo(json.dumps(report.as_advice(recording, advice, wish), indent=2))
    else:
        for line in report.advice_lines(recording, advice, wish):
            click.echo(line)


@dataclass(frozen=True)
class _Asked:
    workflow: str
    policies: Path
    from_ms: int
    to_ms: int
    segment: str | None
    bootstrap: str
    prefix: str


def _prepared(asked: _Asked, bar: Progress) -> tuple[Recording, Replay, int]:
    policy = _policy(asked)
    install(Lenient)
    quiet_client_logs()
    task = bar.add_task("reading", total=None)
    scope = Scope(asked.bootstrap, asked.prefix, asked.workflow, asked.from_ms, asked.to_ms)
    recording = asyncio.run(
        recorded(scope, lambda what, done, total: bar.update(task, description=what, completed=done, total=total))
    )
    bar.remove_task(task)
    replay = Replay(recording, policy, asked.segment)
    if not len(replay):
        where = f"in the segment {asked.segment!r}" if asked.segment else "outside segments with a budget of their own"
        raise ConfigurationError(f"no decision of {asked.workflow!r} in the range is {where}: see --segment")
    return recording, replay, policy.freshness.of(asked.segment).budget_ms


def _policy(asked: _Asked) -> Policy:
    policies = load(asked.policies).by_workflow
    if asked.workflow not in policies:
        raise ConfigurationError(
            f"no policy in {asked.policies} is for the workflow {asked.workflow!r}; there is {', '.join(policies)}"
        )
    return policies[asked.workflow]


def _span_ms(replay: Replay) -> int:
    """From the first decision to the last: what a mean per second is of."""
    return int(replay.at_ms.max() - replay.at_ms.min()) + 1000


def _show(recording: Recording, replay: Replay, rows: list[Replayed], present_ms: int, span_ms: int) -> None:
    console = Console(highlight=False, markup=False)
    console.print(
        f"{recording.workflow}: {len(replay):,} decisions from {told(int(replay.at_ms.min()))} "
        f"to {told(int(replay.at_ms.max()))}",
        soft_wrap=True,
    )
    console.print(report.table(rows, present_ms, span_ms))
    for line in report.notes(recording, len(replay), rows):
        console.print(line, soft_wrap=True)


@contextmanager
def _progress() -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not interactive(), transient=True) as bar:
        yield bar


def _counter(bar: Progress, what: str, total: int) -> Callable[[int], None]:
    task = bar.add_task(what, total=total)
    return lambda count: bar.advance(task, count)
