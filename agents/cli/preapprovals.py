"""`sluicegate reviews preapprove | revoke | preapprovals`: approvals that a person gives beforehand, and takes back."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from agents.cli.client import quiet_client_logs
from agents.cli.lines import printable
from agents.cli.options import (
    BY,
    KEY_FILE,
    LONG_NAME,
    NAME,
    WHY,
    bootstrap_option,
    by_option,
    output_option,
    prefix_option,
)
from agents.cli.times import Span
from agents.cli.values import CURRENCY, MAGNITUDE, Text
from agents.desk.keys import key_of
from agents.why.telling import clock
from schemas.common import Id
from schemas.published import WHY_CHARS_MAX, Preapproval, preapproval_key
from schemas.verdict import SIGNATURE_HEADER
from streams.errors import ConfigurationError
from streams.governing import Write, unknown_workflow, written
from streams.rulebook import Edition
from streams.runtime.clock import clock_ms
from streams.runtime.policies_topic import change, read_edition
from streams.runtime.settings import Kafka
from streams.signatures import sign

HELD = Text(Id, "holidays")
HOLDS = Span("1s", "365d", "8h", "nobody remembers a longer one")


@click.command(
    epilog="""\b
Example:
  sluicegate reviews preapprove holidays --by ana --key-file ~/.sluicegate-key --workflow billing --segment retail \\
      --value-minor-at-most 20000 --currency USD --for 8h --why "nobody is at the desk tonight"

It counts as ana's approval of each review in its scope that comes until then: where her roles may approve so much, once
for each review, never for what she proposed, and not for what is stale or halted."""
)
@click.argument("identifier", metavar="NAME", type=HELD)
@click.option("--by", type=BY, required=True, envvar="SLUICEGATE_REVIEWER", show_envvar=True, help="Who gives it.")
@click.option("--workflow", type=NAME, required=True, help="The reviews it is for.")
@click.option("--segment", type=LONG_NAME, help="Only this segment.")
@click.option("--action-type", type=LONG_NAME, help="Only actions of this type.")
@click.option("--entity", type=LONG_NAME, help="Only this entity.")
@click.option("--value-minor-at-most", type=MAGNITUDE, help="Only up to this value, by its magnitude.")
@click.option("--currency", type=CURRENCY, help="The currency of that value.")
@click.option("--for", "length_ms", type=HOLDS, required=True, metavar="SPAN", help="How long it holds: 8h, 2d.")
@click.option("--why", type=WHY, required=True, help="The reason; it is kept with it.")
@click.option(
    "--key-file",
    type=KEY_FILE,
    envvar="SLUICEGATE_KEY_FILE",
    show_envvar=True,
    help="A file of lines <key-id>:<secret>.",
)
@click.option("--key-id", type=LONG_NAME, metavar="ID", help="Which of several keys signs.")
@bootstrap_option
@prefix_option
def preapprove(
    identifier: str,
    by: str,
    workflow: str,
    segment: str | None,
    action_type: str | None,
    entity: str | None,
    value_minor_at_most: int | None,
    currency: str | None,
    length_ms: int,
    why: str,
    key_file: Path | None,
    key_id: str | None,
    bootstrap: str,
    prefix: str,
) -> None:
    """Approve beforehand what comes in a scope, for a time."""
    at_ms = clock_ms()
    if (value_minor_at_most is None) != (currency is None):
        raise ConfigurationError("--value-minor-at-most and --currency: give both or neither")
    key = key_of(key_file, key_id)
    given = Preapproval(
        id=identifier,
        workflow=workflow,
        segment=segment,
        action_type=action_type,
        entity=entity,
        value_minor_at_most=value_minor_at_most,
        currency=currency,
        from_ms=at_ms,
        until_ms=at_ms + length_ms,
        by=by,
        why=why,
        at_ms=at_ms,
    )
    write = written(preapproval_key(identifier), given)
    write = write._replace(headers=((SIGNATURE_HEADER, sign(key.id, key.secret, write.value)),))

    def make(edition: Edition) -> list[Write]:
        there = _there(edition).get(identifier)
        if there is not None and not there.revoked and there.until_ms > at_ms:
            raise ConfigurationError(
                f"{identifier!r} holds until {clock(there.until_ms)}: revoke it, or use another name"
            )
        return [write]

    quiet_client_logs()
    before, _ = asyncio.run(change(Kafka(bootstrap, prefix), make))
    if (unknown := unknown_workflow(before, workflow)) is not None:
        print(f"sluicegate: {unknown}", file=sys.stderr)
    print(f"{identifier}: approved beforehand by {by} until {clock(given.until_ms)}")


@click.command(epilog="Example: sluicegate reviews revoke holidays --why 'back at the desk'")
@click.argument("identifier", metavar="NAME", type=HELD)
@click.option("--why", type=WHY, required=True, help="The reason; it is kept with it.")
@by_option
@bootstrap_option
@prefix_option
def revoke(identifier: str, why: str, by: str, bootstrap: str, prefix: str) -> None:
    """Take a pre-approval back: from now on it approves nothing."""

    def make(edition: Edition) -> list[Write]:
        there = _there(edition).get(identifier)
        if there is None:
            known = ", ".join(sorted(_there(edition))) or "none"
            raise ConfigurationError(f"there is no pre-approval {identifier!r}; there are: {known}")
        # nobody's signature is needed to approve less
        ended = msgspec.structs.replace(there, revoked=True, why=f"revoked by {by}: {why}"[:1000], at_ms=clock_ms())
        return [written(preapproval_key(identifier), ended)]

    quiet_client_logs()
    asyncio.run(change(Kafka(bootstrap, prefix), make))
    print(f"{identifier}: revoked")


@click.command(epilog="Example: sluicegate reviews preapprovals --output json | jq '.[] | select(.revoked | not)'")
@bootstrap_option
@prefix_option
@output_option
def preapprovals(bootstrap: str, prefix: str, output: str) -> None:
    """Who has approved what beforehand, and until when."""
    quiet_client_logs()
    there = _there(asyncio.run(read_edition(Kafka(bootstrap, prefix))))
    if output == "json":
        print(json.dumps([msgspec.to_builtins(one) for _, one in sorted(there.items())]))
        return
    table = Table(box=None, header_style="bold")
    for name in ("name", "by", "for", "up to", "until", "why"):
        table.add_column(name, overflow="fold")
    for name, one in sorted(there.items()):
        scope = [one.workflow, *filter(None, (one.segment, one.action_type, one.entity))]
        most = "" if one.value_minor_at_most is None else f"{one.value_minor_at_most} {one.currency} (minor units)"
        ended = "revoked" if one.revoked else clock(one.until_ms) + (" (over)" if one.until_ms <= clock_ms() else "")
        table.add_row(
            printable(name),
            printable(one.by),
            printable(", ".join(scope)),
            most,
            ended,
            printable(one.why, WHY_CHARS_MAX),
        )
    Console().print(table if there else "nothing is approved beforehand")


def _there(edition: Edition) -> dict[str, Preapproval]:
    return {one.preapproval.id: one.preapproval for one in edition.preapprovals.values()}
