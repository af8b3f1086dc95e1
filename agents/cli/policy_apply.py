"""`sluicegate policy apply | history | show | rollback`: changing what is in force."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table
from ruamel.yaml import YAML

from agents.cli.client import quiet_client_logs
from agents.cli.lines import printable
from agents.cli.options import (
    NAME,
    POLICIES,
    WHY,
    bootstrap_option,
    by_option,
    output_option,
    prefix_option,
    timeout_option,
)
from agents.cli.values import POLICY_NAME, VERSION
from agents.governing import Acknowledged, not_using, put_in_force
from agents.readable import moment
from schemas.policy import PolicyDocument
from schemas.published import WHY_CHARS_MAX, Current, Move, Pending
from streams.errors import CheckFailed, ConfigurationError
from streams.foreign import own, own_json
from streams.governing import Signed, Write, applied, rolled_back
from streams.rulebook import Edition
from streams.runtime import policies
from streams.runtime.clock import clock_ms
from streams.runtime.policies_topic import change, read_edition
from streams.runtime.settings import Kafka

F = TypeVar("F", bound=Callable[..., Any])


def _changing(command: F) -> F:
    """The options of everything that moves a pointer."""
    for option in reversed(
        (
            bootstrap_option,
            prefix_option,
            by_option,
            click.option("--why", type=WHY, required=True, help="The reason; it is kept with the change."),
            click.option(
                "--pending",
                type=click.Choice(["keep", "invalidate", "reevaluate"]),
                default="keep",
                show_default=True,
                help="What becomes of reviews that wait, opened under the version before: they stay, they end as "
                "review.invalidated, or the evaluator is asked again.",
            ),
            click.option(
                "--wait/--no-wait", default=True, show_default=True, help="Wait until all live workers have it."
            ),
            timeout_option,
        )
    ):
        command = option(command)
    return command


@click.command(
    epilog="""\b
Examples:
  sluicegate policy apply policies/ --why "limit raised after the audit of May"
  sluicegate policy apply policies/billing.yaml --why "new card" --pending reevaluate

Each document that is not published yet is published under its version, and put in force. A version never changes: the
same version with other content is refused. Running workers take it over between two batches. Exit code 1 when a
worker did not acknowledge it in time, or cannot use it and goes on with its last good one."""
)
@click.argument("source", metavar="FOLDER|FILE", type=POLICIES)
@_changing
def apply(
    source: Path, bootstrap: str, prefix: str, by: str, why: str, pending: Pending, wait: bool, timeout_s: float
) -> None:
    """Publish policies and put them in force on all workers."""
    documents = [policy.document for policy in policies.load(source).by_index]
    signed = Signed(by, why, clock_ms())

    def make(edition: Edition) -> list[Write]:
        return applied(edition, documents, pending, signed)

    _put_in_force(Kafka(bootstrap, prefix), make, documents, wait, timeout_s)


@click.command(epilog="Example: sluicegate policy rollback billing --why 'refunds went wrong'")
@click.argument("workflow", type=NAME)
@click.option("--to", "version", type=VERSION, help="The version.  [default: the one before]")
@_changing
def rollback(
    workflow: str,
    version: int | None,
    bootstrap: str,
    prefix: str,
    by: str,
    why: str,
    pending: Pending,
    wait: bool,
    timeout_s: float,
) -> None:
    """Put an earlier version of WORKFLOW in force again.

    The one before is that which the present one came after; a version that was left by a rollback is not gone back to.
    Where somebody else changes the policy meanwhile, nothing is done: exit code 2.
    """
    quiet_client_logs()
    kafka, signed = Kafka(bootstrap, prefix), Signed(by, why, clock_ms())
    seen = asyncio.run(read_edition(kafka)).currents.get(workflow)

    def make(edition: Edition) -> list[Write]:
        leaving = None if seen is None else seen.version
        return rolled_back(edition, workflow, version, pending, signed, leaving)[1]

    _put_in_force(kafka, make, None, wait, timeout_s)


def _put_in_force(
    kafka: Kafka,
    make: Callable[[Edition], Sequence[Write]],
    documents: Sequence[PolicyDocument] | None,
    wait: bool,
    timeout_s: float,
) -> None:
    quiet_client_logs()
    found: Acknowledged | None = None
    if wait:
        _, written, found = asyncio.run(put_in_force(kafka, make, timeout_s))
    else:
        _, written = asyncio.run(change(kafka, make))
    moved = {one.workflow: one.version for one in map(_current, written.writes) if one is not None}
    for one in documents or ():
        if one.workflow not in moved:
            print(f"{one.workflow}@{one.version} is in force already")
    for workflow, version in moved.items():
        print(f"{workflow}@{version} is published and current")
    if found is None:
        return
    if not found.having and not found.lacking:
        print("no worker is alive: it is in force when one starts")
        return
    print(f"in force on {found.of_roles()} after {found.seconds:.2f} s")
    wrong = not_using(found, moved)
    wrong += [f"{beat.worker} has not acknowledged it after {timeout_s:g} s" for beat in found.lacking]
    if wrong:
        raise CheckFailed("it is published, but not in force everywhere:\n" + "\n".join(f"  {one}" for one in wrong))


def _current(write: Write) -> Current | None:
    return own(Current)(write.value) if write.key.startswith("current/") else None


@click.command()
@click.argument("workflow", type=NAME, required=False)
@bootstrap_option
@prefix_option
@output_option
def history(workflow: str | None, bootstrap: str, prefix: str, output: str) -> None:
    """Who put which version in force, when and why; of all workflows, or of WORKFLOW."""
    edition = _edition(bootstrap, prefix)
    if workflow is not None and workflow not in edition.currents:
        raise ConfigurationError(f"no policy of the workflow {workflow!r} is in force on {prefix}policies")
    table = Table(box=None, header_style="bold")
    for name in ("policy", "from", "by", "why", "reviews that waited"):
        table.add_column(name, overflow="fold")
    told = []
    for name, current in sorted(edition.currents.items()):
        if workflow not in (None, name):
            continue
        steps: list[Current | Move] = [current, *current.before]
        for at, step in enumerate(steps):
            label = f"{name}@{step.version}" + (" (in force)" if at == 0 else "")
            table.add_row(
                label,
                moment(step.at_ms),
                printable(step.by),
                printable(step.why, WHY_CHARS_MAX),
                step.pending if at + 1 < len(steps) else "",
            )
            told.append(
                {"workflow": name, "version": step.version, "in_force": at == 0, "at_ms": step.at_ms, "by": step.by}
                | {"why": step.why, "pending": step.pending}
            )
    if output == "json":
        print(json.dumps(told))
    else:
        Console().print(table)


@click.command()
@click.argument("policy", metavar="WORKFLOW[@VERSION]", type=POLICY_NAME)
@bootstrap_option
@prefix_option
@output_option
def show(policy: tuple[str, int | None], bootstrap: str, prefix: str, output: str) -> None:
    """Print a policy as it was published, by default the version that is in force."""
    edition = _edition(bootstrap, prefix)
    workflow, version = policy
    if version is None:
        current = edition.currents.get(workflow)
        version = current.version if current else 0
    published = edition.versions.get((workflow, version))
    if published is None:
        there = ", ".join(f"{name}@{one}" for name, one in sorted(edition.versions)) or "none"
        asked = f"{workflow}@{version}" if version else f"a policy of the workflow {workflow!r}"
        raise ConfigurationError(f"{asked} is not published; there are {there}")
    document = own_json(bytes(published.document))
    if output == "json":
        print(json.dumps(document))
        return
    text = io.StringIO()
    YAML(typ="safe").dump(document, text)
    by, why = printable(published.by), printable(published.why, WHY_CHARS_MAX)
    print(f"# {workflow}@{version}, published {moment(published.at_ms)} by {by}: {why}")
    sys.stdout.write(text.getvalue())


def _edition(bootstrap: str, prefix: str) -> Edition:
    quiet_client_logs()
    edition = asyncio.run(read_edition(Kafka(bootstrap, prefix)))
    for trouble in edition.troubles.values():
        print(f"sluicegate: {trouble}", file=sys.stderr)
    return edition
