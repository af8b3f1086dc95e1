"""`sluicegate reviews preapprove | revoke | preapprovals`: approvals that a person gives beforehand, and takes back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from agents.cli.client import quiet_client_logs
from agents.cli.options import bootstrap_option, by_option, output_option, prefix_option
from agents.desk.keys import key_of
from agents.why.telling import clock
from schemas.published import Preapproval, preapproval_key
from schemas.verdict import SIGNATURE_HEADER
from streams.errors import ConfigurationError
from streams.governing import Write
from streams.rulebook import Edition
from streams.runtime.clock import clock_ms
from streams.runtime.policies_topic import change, read_edition
from streams.runtime.settings import Kafka
from streams.signatures import sign
from streams.terms import duration_ms


@click.command(
    epilog="""\b
Example:
  sluicegate reviews preapprove holidays --by ana --key-file ~/.sluicegate-key --workflow billing --segment retail \\
      --value-minor-at-most 20000 --currency USD --for 8h --why "nobody is at the desk tonight"

It counts as ana's approval of each review in its scope that comes until then: where her roles may approve so much, once
for each review, never for what she proposed, and not for what is stale or halted."""
)
@click.argument("identifier", metavar="NAME")
@click.option("--by", required=True, envvar="SLUICEGATE_REVIEWER", show_envvar=True, help="Who gives it.")
@click.option("--workflow", required=True, help="The reviews it is for.")
@click.option("--segment", help="Only this segment.")
@click.option("--action-type", help="Only actions of this type.")
@click.option("--entity", help="Only this entity.")
@click.option("--value-minor-at-most", type=click.IntRange(min=0), help="Only up to this value, by its magnitude.")
@click.option("--currency", help="The currency of that value.")
@click.option("--for", "length", required=True, metavar="SPAN", help="How long it holds: 8h, 2d.")
@click.option("--why", required=True, help="The reason; it is kept with it.")
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    envvar="SLUICEGATE_KEY_FILE",
    show_envvar=True,
    help="A file of lines <key-id>:<secret>.",
)
@click.option("--key-id", metavar="ID", help="Which of several keys signs.")
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
    length: str,
    why: str,
    key_file: Path | None,
    key_id: str | None,
    bootstrap: str,
    prefix: str,
) -> None:
    """Approve beforehand what comes in a scope, for a time."""
    length_ms, at_ms = duration_ms(length), clock_ms()
    if not length_ms:
        raise ConfigurationError(f"--for: found {length!r}, expected a length of time with its unit, such as 8h or 2d")
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
    value = msgspec.json.encode(given)
    write = Write(preapproval_key(identifier), value, ((SIGNATURE_HEADER, sign(key.id, key.secret, value)),))

    def make(edition: Edition) -> list[Write]:
        there = _there(edition).get(identifier)
        if there is not None and not there.revoked and there.until_ms > at_ms:
            raise ConfigurationError(
                f"{identifier!r} holds until {clock(there.until_ms)}: revoke it, or use another name"
            )
        return [write]

    quiet_client_logs()
    asyncio.run(change(Kafka(bootstrap, prefix), make))
    print(f"{identifier}: approved beforehand by {by} until {clock(given.until_ms)}")


@click.command(epilog="Example: sluicegate reviews revoke holidays --why 'back at the desk'")
@click.argument("identifier", metavar="NAME")
@click.option("--why", required=True, help="The reason; it is kept with it.")
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
        return [Write(preapproval_key(identifier), msgspec.json.encode(ended))]

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
        table.add_row(name, one.by, ", ".join(scope), most, ended, one.why)
    Console().print(table if there else "nothing is approved beforehand")


def _there(edition: Edition) -> dict[str, Preapproval]:
    return {one.preapproval.id: one.preapproval for one in edition.preapprovals.values()}
