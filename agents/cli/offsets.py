"""`sluicegate offsets`: how far the workers have read, by group, changelog and log; and which of them is right."""

from __future__ import annotations

import asyncio
import json
from typing import cast

import click

from agents.cli.client import quiet_client_logs
from agents.cli.options import bootstrap_option, output_option, prefix_option
from agents.cli.values import GROUP
from agents.offsets import INPUTS, Offsets, Standing, Truth
from streams.errors import CheckFailed
from streams.runtime.settings import Kafka


@click.group()
def offsets() -> None:
    """How far the workers have read, by all who claim to know it."""


group_option = click.option(
    "--group", type=GROUP, metavar="NAME", help="The consumer group.  [default: <prefix><role>]"
)


@offsets.command(
    epilog="""\b
Examples:
  sluicegate offsets show
  sluicegate offsets show --role gate --output json | jq '.[] | select(.wrong)'

A worker writes the group's offset and the one in its changelog (topic `state`) in one transaction. Where they differ,
somebody else has committed for the group, and the worker reads nothing there until you say which one holds.

Exit codes: 0 all agree, 1 some differ, 3 no broker."""
)
@click.option("--role", type=click.Choice(list(INPUTS)), help="Of this role alone.  [default: of all]")
@group_option
@bootstrap_option
@prefix_option
@output_option
def show(role: str | None, group: str | None, bootstrap: str, prefix: str, output: str) -> None:
    """Show each partition's offsets, and what is wrong with them."""
    quiet_client_logs()
    found = asyncio.run(_show(Kafka(bootstrap, prefix), [role] if role else list(INPUTS), group))
    if output == "json":
        click.echo(json.dumps([one.as_dict() for one in found], indent=2))
    else:
        for one in found:
            click.echo(str(one))
    if wrong := [one for one in found if one.wrong]:
        raise CheckFailed(f"{len(wrong)} of {len(found)} partitions are not read: see what differs above")


async def _show(kafka: Kafka, roles: list[str], group: str | None) -> list[Standing]:
    found = []
    for role in roles:
        async with Offsets(kafka, role, group) as of_role:
            found += await of_role.standing()
    return found


@offsets.command(
    epilog="""\b
Examples:
  sluicegate offsets accept changelog --role gate      where the worker had come to: nothing is skipped or done twice
  sluicegate offsets accept group --role gate          you have reset the group's offset on purpose

Only partitions whose two offsets differ are touched. Workers may run: they look again within ten seconds.

Exit codes: 0 well, 1 what differs is something else, 2 that one says nothing, 3 no broker, 4 it was not written."""
)
@click.argument("truth", type=click.Choice(["changelog", "group"]))
@click.option("--role", type=click.Choice(list(INPUTS)), required=True, help="Whose offsets.")
@group_option
@bootstrap_option
@prefix_option
def accept(truth: str, role: str, group: str | None, bootstrap: str, prefix: str) -> None:
    """Say which of two offsets that differ is right; the other is made to say the same."""
    quiet_client_logs()
    told = asyncio.run(_accept(Kafka(bootstrap, prefix), cast(Truth, truth), role, group))
    for line in told or [f"nothing differs for the role {role}"]:
        click.echo(line)


async def _accept(kafka: Kafka, truth: Truth, role: str, group: str | None) -> list[str]:
    async with Offsets(kafka, role, group) as of_role:
        return await of_role.accept(truth)
