"""Prints billing decisions as NDJSON, to be piped into `sluicegate send -`."""

from __future__ import annotations

import time

import click

from agents.cli.values import Matching, Whole
from agents.workflows.billing.events import Origin, decision, encode
from agents.workflows.billing.trips import trips_through_the_months

WEEK_MS = 7 * 24 * 3_600_000  # no policy lets a decision wait for longer
RUN = Matching(r"[A-Za-z0-9._:-]{0,50}", "0 to 50 letters, digits and . _ : -", "noon")


@click.command(
    epilog="Example: python -m agents.workflows.billing --count 20 | sluicegate send -",
)
@click.option("--count", default=100, show_default=True, type=Whole(1, 10_000_000, 100), help="How many decisions.")
@click.option(
    "--seed", default=1, show_default=True, type=Whole(0, 2**32, 1), help="The same seed makes the same decisions."
)
@click.option("--run", default="", type=RUN, help="Part of every id; another run, other ids.  [default: the time]")
@click.option(
    "--queued-ms",
    default=0,
    show_default=True,
    type=Whole(0, WEEK_MS, 1500),
    help="How long they waited before being sent.",
)
def main(count: int, seed: int, run: str, queued_ms: int) -> None:
    """Real taxi trips as billing decisions, spread over December 2018 to February 2019."""
    now_ms = time.time_ns() // 1_000_000
    origin = Origin(seed=seed, run=run or f"t{now_ms // 1000}")
    for lap, trip in trips_through_the_months(count):
        click.echo(encode(decision(trip, origin, now_ms, lap, queued_ms)))


if __name__ == "__main__":
    main()
