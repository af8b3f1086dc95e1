"""`sluicegate worker`: runs roles under the supervisor."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import click

from agents.cli.client import quiet_client_logs
from agents.cli.options import bootstrap_option, prefix_option
from agents.supervisor import Child, supervise
from streams.errors import ConfigurationError
from streams.runtime import policies, topics
from streams.window import IDS_MAX

ROLES = ("gate",)


@click.command(
    epilog="""\b
Examples:
  sluicegate worker --policies policies/      one worker; start more of them, anywhere, to share the partitions

All workers on the same topics belong into one consumer group: two groups at once would decide everything twice.

It ends on SIGTERM or Ctrl-C after the transactions that are under way, within 10 s. What it does not finish the next
owner of the partition does: kill it as you like, nothing is lost and nothing is done twice."""
)
@bootstrap_option
@prefix_option
@click.option("--roles", default="gate", show_default=True, help="What this worker does: gate.")
@click.option(
    "--policies",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    help="A folder with one YAML policy per workflow (see `sluicegate policy check`).",
)
@click.option("--group", help="The consumer group, used as given, with one role.  [default: <prefix><role>]")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder for scratch files of this worker.  [default: a temporary one]",
)
@click.option(
    "--window-ids",
    type=click.IntRange(min=1),
    default=IDS_MAX,
    show_default=True,
    help="How many ids each partition remembers against repeats.",
)
def worker(
    bootstrap: str, prefix: str, roles: str, folder: Path, group: str | None, data: Path | None, window_ids: int
) -> None:
    """Run the gate: every decision becomes a command, a review or an exception, exactly once."""
    wanted = [role.strip() for role in roles.split(",") if role.strip()]
    if not wanted:
        raise ConfigurationError(f"--roles: found nothing, expected {', '.join(ROLES)}")
    for role in wanted:
        if role not in ROLES:
            raise ConfigurationError(f"--roles: found {role!r}, expected {', '.join(ROLES)}")
    if group and len(wanted) != 1:
        raise ConfigurationError("--group names the group of one role; give one role with it")
    # what would refuse every child's start is said once, here
    policies.load(folder)
    quiet_client_logs()
    asyncio.run(topics.require(bootstrap, prefix))
    with tempfile.TemporaryDirectory(prefix="sluicegate-worker-") as scratch:
        children = [
            Child(
                role,
                [
                    f"--bootstrap={bootstrap}",
                    f"--prefix={prefix}",
                    f"--group={group or prefix + role}",
                    f"--policies={folder}",
                    f"--data={data or scratch}",
                    f"--window-ids={window_ids}",
                ],
                {},
            )
            for role in wanted
        ]
        code = asyncio.run(supervise(children))
    sys.exit(code)
