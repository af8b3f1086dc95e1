"""`sluicegate policy diff`: what differs between policies, or from what is in force."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from agents.backtest.differences import Difference, differences
from agents.backtest.documents import policies_of, published
from agents.cli.client import quiet_client_logs
from agents.cli.options import POLICIES, bootstrap_option, output_option, prefix_option
from schemas.policy import PolicyDocument
from streams.errors import ConfigurationError
from streams.runtime.policies_topic import read_edition
from streams.runtime.settings import Kafka

DIFFERENT = 1
SIGNS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow"), "moved": ("~", "yellow")}


@click.command(
    epilog="""\b
Examples:
  sluicegate policy diff billing.yaml                      from what is in force
  sluicegate policy diff old/billing.yaml new/billing.yaml
  sluicegate policy diff old/ new/ --output json | jq '.workflows[].differences[].path'

\b
+ added, - removed, ~ changed or moved. What is not written counts with its default, so a line that says the default is
no difference. Exit code 0: the same; 1: they differ; 2: one of them cannot be read."""
)
@click.argument("before", type=POLICIES, metavar="[BEFORE]")
@click.argument("after", type=POLICIES, required=False, metavar="POLICIES")
@bootstrap_option
@prefix_option
@output_option
def diff(before: Path, after: Path | None, bootstrap: str, prefix: str, output: str) -> None:
    """Say field by field what differs between BEFORE and POLICIES, each a file or a folder.

    With one of them alone: what differs from the version that is in force for each of its workflows. Rules, exposure
    limits and approvers are compared by their names, and told as moved where their order changed.
    """
    new = {one.workflow: one.document for one in policies_of(before if after is None else after)}
    if after is None:
        quiet_client_logs()
        old = asyncio.run(_in_force(Kafka(bootstrap, prefix), new))
    else:
        old = {one.workflow: one.document for one in policies_of(before)}
    found = {name: _compared(old.get(name), new.get(name)) for name in sorted({*old, *new})}
    different = any(found.values())
    if output == "json":
        click.echo(json.dumps({"same": not different, "workflows": list(_told(found, old, new))}, indent=2))
    else:
        _show(found, old, new)
    if different:
        sys.exit(DIFFERENT)


async def _in_force(kafka: Kafka, wanted: Mapping[str, PolicyDocument]) -> dict[str, PolicyDocument]:
    """What is in force of these workflows. Raises ConfigurationError where it cannot be read, and BrokerUnreachable."""
    edition = await read_edition(kafka)
    documents, found = published(edition.versions), dict[str, PolicyDocument]()
    for workflow in wanted:
        current = edition.currents.get(workflow)
        if current is None:
            continue
        name = f"{workflow}@{current.version}"
        if name not in documents:
            raise ConfigurationError(
                f"{name} is in force at {kafka.bootstrap}, and this version cannot read it: compare with a file instead"
            )
        found[workflow] = documents[name]
    return found


def _compared(before: PolicyDocument | None, after: PolicyDocument | None) -> list[Difference]:
    if before is None or after is None:
        kind, there = ("added", after) if before is None else ("removed", before)
        whole = f"{there.workflow}@{there.version}" if there is not None else ""
        return [Difference("added", "", None, whole) if kind == "added" else Difference("removed", "", whole, None)]
    return differences(before, after)


def _told(
    found: Mapping[str, list[Difference]], old: Mapping[str, PolicyDocument], new: Mapping[str, PolicyDocument]
) -> Iterator[dict[str, Any]]:
    for workflow, those in found.items():
        yield {
            "workflow": workflow,
            "before": _name(old.get(workflow)),
            "after": _name(new.get(workflow)),
            "differences": [one._asdict() for one in those],
        }


def _name(document: PolicyDocument | None) -> str | None:
    return None if document is None else f"{document.workflow}@{document.version}"


def _show(
    found: Mapping[str, list[Difference]], old: Mapping[str, PolicyDocument], new: Mapping[str, PolicyDocument]
) -> None:
    console = Console(highlight=False)
    for workflow, those in found.items():
        before, after = _name(old.get(workflow)) or "nothing", _name(new.get(workflow)) or "nothing"
        console.print(
            Text(f"{before} -> {after}{'' if those else ': the same'}", style="bold" if those else ""), soft_wrap=True
        )
        for one in those:
            sign, color = SIGNS[one.kind]
            console.print(Text(f"  {sign} {_line(one, workflow)}", style=color), soft_wrap=True)


def _line(one: Difference, workflow: str) -> str:
    path = one.path or f"the workflow {workflow}"
    match one.kind:
        case "added":
            return f"{path}: {_value(one.after)}"
        case "removed":
            return f"{path}: {_value(one.before)}"
        case "moved":
            return f"{path}: moved from place {one.before} to {one.after}"
        case _:
            return f"{path}: {_value(one.before)} -> {_value(one.after)}"


def _value(value: Any) -> str:
    """As YAML has it on one line; what says nothing is left out."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_value(one)}" for name, one in value.items() if one not in _EMPTY) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return value if isinstance(value, str) else json.dumps(value)


_EMPTY: tuple[Any, ...] = (None, {}, [])
