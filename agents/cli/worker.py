"""`sluicegate worker`: runs roles under the supervisor."""

from __future__ import annotations

import asyncio
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from agents.cli.client import quiet_client_logs
from agents.cli.files import FilePath
from agents.cli.options import POLICIES, bootstrap_option, prefix_option
from agents.cli.values import GROUP, HOST, Bounded, Context, Number, Parameter, Whole
from agents.supervisor import Child, supervise
from streams.addresses import PORT_MAX
from streams.path import Snapshot
from streams.runtime import logs, policies, topics
from streams.runtime import verdict_keys as keys
from streams.runtime.metrics_board import Board
from streams.runtime.metrics_http import Exporter, Watched
from streams.runtime.policies_topic import seeded
from streams.runtime.settings import COMPRESSIONS, Compression, Kafka
from streams.window import IDS_MAX

ROLES = ("gate", "reevaluation", "reviews", "exposure")
ALL = "all"
METRICS_PORT = 9464  # where exporters of applications are looked for
WINDOW_IDS_MAX = 10_000_000  # about 2 GB a partition number
CAPACITY_MAX = 1_000_000  # no machine decides so many a second


class Roles(Bounded):
    """Roles with commas between them, each once; or all."""

    name = "roles"

    def __init__(self) -> None:
        super().__init__(f"{ALL}, or some of {', '.join(ROLES)} with commas between them, each once", "gate,reviews")

    def convert(self, value: Any, param: Parameter, ctx: Context) -> list[str]:
        """The roles, in the order in which they were given."""
        if isinstance(value, list):
            return value
        wanted = [role.strip() for role in str(value).split(",") if role.strip()]
        if wanted == [ALL]:
            return list(ROLES)
        if not wanted or not {*wanted} <= {*ROLES} or len({*wanted}) < len(wanted):
            self.refuse(value, param, ctx)
        return wanted


@click.command(
    epilog="""\b
Examples:
  sluicegate worker --policies policies/      the first one; publishes the policies
  sluicegate worker                           start more of them, anywhere, to share the partitions
  sluicegate worker --policies policies/ --metrics-port 9465      a second one on the same machine
  curl -s 127.0.0.1:9464/readyz | jq          what each role and partition waits for

One port serves Prometheus at /metrics, and /healthz (the supervisor lives) and /readyz (503 until every role has its
partitions and its policies, and makes progress). It asks for no password and names your workflows, therefore loopback
is the default; in a container, where the scraper comes from outside, use --metrics-host 0.0.0.0.

All workers of a role belong into one consumer group. A second group is refused while a worker of the first one lives.

\b
Verdicts of people count where --verdict-keys names their keys, for example:
  keys:
    desk-1: {secret_env: DESK_1_SECRET, by: {ana: [clerk], bo: [clerk, controller]}}

It ends on SIGTERM or Ctrl-C after the transactions that are under way, within 10 s. What it does not finish the next
owner of the partition does: kill it as you like, nothing is lost and nothing is done twice."""
)
@bootstrap_option
@prefix_option
@click.option(
    "--roles",
    type=Roles(),
    default=ALL,
    show_default=True,
    help="What this worker does, separated by commas: gate; reevaluation (asks the evaluators); reviews (answers "
    "people's verdicts); exposure (leases out what limits leave); or all. Each is a process of its own.",
)
@click.option(
    "--policies",
    "folder",
    type=POLICIES,
    help="A folder with one YAML policy per workflow, published if no policy is in force yet; afterwards policies are "
    "changed with `sluicegate policy apply`.",
)
@click.option(
    "--verdict-keys",
    envvar="SLUICEGATE_VERDICT_KEYS_FILE",
    type=FilePath("verdict-keys.yaml"),
    show_envvar=True,
    help="A YAML file that says which keys may sign verdicts, for whom and in which roles. Without it nobody's verdict "
    "counts, and reviews end at their deadline.",
)
@click.option(
    "--group", type=GROUP, help="The consumer group, used as given, with one role.  [default: <prefix><role>]"
)
@click.option(
    "--data",
    type=FilePath("/var/lib/sluicegate"),
    hidden=True,
    expose_value=False,
    help="Was a folder for scratch files, of which there are none.",
)
@click.option(
    "--window-ids",
    type=Whole(1, WINDOW_IDS_MAX, IDS_MAX),
    default=IDS_MAX,
    show_default=True,
    help="How many ids each partition remembers against repeats.",
)
@click.option(
    "--capacity",
    type=Number(1, CAPACITY_MAX, "500"),
    metavar="PER_S",
    help="Decides at most so many a second, per partition number: what comes after the gate takes no more. With "
    "`freshness.overload` in a policy the rest is shed, least valuable first.  [default: what the machine can]",
)
@click.option(
    "--metrics-port",
    envvar="SLUICEGATE_METRICS_PORT",
    type=Whole(0, PORT_MAX, METRICS_PORT),
    default=METRICS_PORT,
    show_default=True,
    show_envvar=True,
    help="Serves /metrics, /healthz and /readyz; 0 for none. Each worker on a machine needs its own.",
)
@click.option(
    "--metrics-host",
    type=HOST,
    envvar="SLUICEGATE_METRICS_HOST",
    default="127.0.0.1",
    show_default=True,
    show_envvar=True,
    help="The address that the port is opened at.",
)
@click.option(
    "--cloudevents/--no-cloudevents",
    envvar="SLUICEGATE_CLOUDEVENTS",
    default=True,
    show_default=True,
    show_envvar=True,
    help="Whether outputs have CloudEvents headers (ce_*, content-type); they cost about 2 us a record. Trace context "
    "and the headers of dead letters are there in any case.",
)
@click.option(
    "--compression",
    envvar="SLUICEGATE_COMPRESSION",
    type=click.Choice(COMPRESSIONS),
    default="none",
    show_default=True,
    show_envvar=True,
    help="What outputs and changelog are compressed with: less disk and network, more of this process's time. All of "
    "them are read, whatever is set, and whatever a topic's own compression.type is.",
)
@click.option(
    "--log-format",
    envvar="SLUICEGATE_LOG_FORMAT",
    type=click.Choice(["console", "json"]),
    default="console",
    show_default=True,
    show_envvar=True,
    help="Lines for people, or an object a line. A line per event that matters, none per decision.",
)
@click.option(
    "--log-level",
    envvar=logs.LEVEL_VARIABLE,
    type=click.Choice(list(logs.LEVELS)),
    default="info",
    show_default=True,
    show_envvar=True,
    help="Below which nothing is said. `debug` tells of every start, hand-over and stop, partition by partition.",
)
def worker(
    bootstrap: str,
    prefix: str,
    roles: list[str],
    folder: Path | None,
    verdict_keys: Path | None,
    group: str | None,
    window_ids: int,
    capacity: float | None,
    metrics_port: int,
    metrics_host: str,
    cloudevents: bool,
    compression: Compression,
    log_format: str,
    log_level: str,
) -> None:
    """Run the gate: every decision becomes a command, a review or an exception, exactly once."""
    logs.configure("supervisor", log_format, log_level, prefix)
    # what would refuse every child's start is said once, here
    seed = None if folder is None else policies.load(folder)
    if group and len(roles) != 1:
        raise click.BadParameter(
            "it names the group of one role: give one with --roles, such as --roles gate", param_hint="'--group'"
        )
    if verdict_keys is not None:
        keys.read(verdict_keys)
    watched = [Watched(role, Board.make()) for role in roles]
    with Exporter(metrics_host, metrics_port, watched) if metrics_port else nullcontext():
        quiet_client_logs()
        for warning in asyncio.run(topics.require(bootstrap, prefix)).warnings:
            logs.warn(warning)
        if seed is not None:
            _seed(Kafka(bootstrap, prefix), seed)
        children = [
            Child(
                role,
                [
                    f"--bootstrap={bootstrap}",
                    f"--prefix={prefix}",
                    f"--group={group or prefix + role}",
                    f"--window-ids={window_ids}",
                    f"--log-format={log_format}",
                    f"--compression={compression}",
                    f"--log-level={log_level}",
                    *([] if cloudevents else ["--no-cloudevents"]),
                    *([] if verdict_keys is None else [f"--verdict-keys={verdict_keys}"]),
                    *([] if capacity is None else [f"--capacity={capacity}"]),
                ],
                {},
            )
            for role in roles
        ]
        ready = f"ready: {', '.join(roles)}" + (_metrics(metrics_host, metrics_port) if metrics_port else "")
        code = asyncio.run(supervise(children, watched=watched, ready=lambda: logs.say(ready)))
    sys.exit(code)


def _metrics(host: str, port: int) -> str:
    return f"; metrics at http://{f'[{host}]' if ':' in host else host}:{port}/metrics"


def _seed(kafka: Kafka, seed: Snapshot) -> None:
    """Fills an empty topic; one that is not says so, where the folder holds other policies."""
    if (others := asyncio.run(seeded(kafka, [policy.document for policy in seed.by_index]))) is not None:
        logs.warn(others)
