"""`sluicegate topics`: create what is missing, say what differs."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict

import click

from agents.cli.client import quiet_client_logs
from agents.cli.options import bootstrap_option, output_option, prefix_option
from agents.cli.values import Whole
from streams.errors import CheckFailed
from streams.runtime.topics import BROKERS_DEFAULT, DEFAULT_PARTITIONS, Report
from streams.runtime.topics import apply as apply_topics

PARTITIONS_MAX = 10_000  # of a topic: each is a lane, a producer and a view of its own, shared by so many workers
COPIES_MAX = 32_767  # what the protocol has room for; a cluster with fewer brokers refuses it

EPILOG = """\b
Examples:
  sluicegate topics apply
  sluicegate topics apply --partitions 12 --replication-factor 3
  sluicegate topics apply --prefix staging. --output json

Nothing that exists is changed. What differs (topic, setting, found, expected) is said, and the exit code is then 1: a
longer retention or a greater size than needed does not count as a difference. Also looked at: retention by size
(none), unclean elections (none), copies (more than one on three brokers), min.insync.replicas (2 of 3 copies). An
existing `decisions` topic decides the count of partitions for all data topics; to change it, choose another prefix.
"""


@click.group()
def topics() -> None:
    """Create the topics, or say what differs."""


@topics.command(epilog=EPILOG)
@click.option(
    "--partitions",
    type=Whole(1, PARTITIONS_MAX, 12),
    default=DEFAULT_PARTITIONS,
    show_default=True,
    help="Of each data topic, if `decisions` does not exist yet: the most workers that can share the work.",
)
@click.option(
    "--replication-factor",
    type=Whole(1, COPIES_MAX, 3),
    default=None,
    help="Copies of each new topic.  [default: 3 on three brokers or more, else the broker's own]",
)
@bootstrap_option
@prefix_option
@output_option
def apply(bootstrap: str, prefix: str, partitions: int, replication_factor: int | None, output: str) -> None:
    """Create the topics that are missing, with the settings the gate relies on.

    May be run again at any time, and by several at once.
    """
    quiet_client_logs()
    factor = BROKERS_DEFAULT if replication_factor is None else replication_factor
    report = asyncio.run(apply_topics(bootstrap, prefix, partitions, factor))
    if output == "json":
        click.echo(json.dumps({**asdict(report), "ok": not report.differences}, indent=2))
    else:
        _print(report, partitions)
    if report.differences:
        count = len(report.differences)
        raise CheckFailed(
            f"{count} setting{'s differ' if count > 1 else ' differs'} from what the gate relies on at {bootstrap} "
            "(named above); nothing was changed: alter or remove those topics yourself, or use another prefix"
        )


def _print(report: Report, asked_partitions: int) -> None:
    for topic in report.created:
        click.echo(f"created  {topic}")
    for topic in report.present:
        click.echo(f"present  {topic}")
    for difference in report.differences:
        click.echo(f"differs  {difference}")
    decided = " (an existing `decisions` decides)" if report.partitions != asked_partitions else ""
    click.echo(
        f"{len(report.created)} created, {len(report.present)} already there, {len(report.differences)} differences; "
        f"data topics have {report.partitions} partitions{decided}"
    )
