"""`sluicegate audit`: the promises, checked over whole topics by code that shares nothing with the gate."""

from __future__ import annotations

import asyncio
import json
import logging

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from agents.audit.report import Result
from agents.audit.run import Scope
from agents.audit.run import audit as run_audit
from agents.cli.options import bootstrap_option, interactive, output_option, prefix_option
from agents.cli.values import GROUP
from streams.errors import CheckFailed
from streams.runtime.records import Lenient, install, telling

EPILOG = """\b
Examples:
  sluicegate audit                                    all inputs must be answered
  sluicegate audit --group sluicegate.gate            the workers run: what they have not reached yet is pending
  sluicegate audit --output json | jq .examples       where to look when it is red

\b
What must be 0:
  missing        inputs that no disposition names
  duplicates     further dispositions that name the same input
  command_twice  the same command_id again in a partition, before the first one's deadline
  out_of_order   answers of one key that overtook each other between an input and an output partition
  late_commands  commands gated at or past their deadline
  altered        outputs that do not fit their input: action bytes, identifiers, key, partition, times, lineage
  unexplained    outputs of unknown kind, or whose source is no input (or one the group has not committed), or
                 answers to no request
  unanswered     records on reevaluations that neither a successor nor an exception names in caused_by
  answered_twice further answers to one of them
  misfits        answers that do not fit their request: id, attempt, root, deadlines, entity, key, partition
  ended_twice    further endings of a root over its attempts: commands, and exceptions but for duplicates
  lost           offsets that the broker removed before anybody read them (an upper bound: markers count too), by range

\b
Reported beside it:
  id_reused      a producer gave one id to decisions of two entities, or again after the deadline
  appended_late  commands the broker stored at or past their deadline; an executor refuses them

highest_attempt is for you to hold against max_attempts: the audit reads no policies.

commands, reviews, exceptions and reevaluations count dispositions, by_reason too; later steps count as
followups. Topics are read with read_committed, from the start to the end they had when the audit began;
an open transaction is waited for. Inputs that retention removed after they were answered are
not judged. Whether they were answered, where answers are gone too, only --group can tell.

Exit codes: 0 all hold, 1 a finding (or a transaction that stays open), 2 no such topic, 3 no broker.
"""


@click.command(epilog=EPILOG)
@bootstrap_option
@prefix_option
@output_option
@click.option(
    "--group",
    type=GROUP,
    metavar="NAME",
    help="The gate's consumer group: inputs past its committed offsets are pending, not missing.",
)
@click.option(
    "--reevaluation-group",
    type=GROUP,
    metavar="NAME",
    help="The group that asks again: requests past its committed offsets are pending, not unanswered.  [default: with "
    "--group <prefix>reevaluation]",
)
def audit(bootstrap: str, prefix: str, output: str, group: str | None, reevaluation_group: str | None) -> None:
    """Check that every decision left the gate exactly once, in order, in time and unaltered.

    Reads the inputs (decisions, successors) and the outputs (commands, reviews, exceptions, reevaluations) whole and
    holds them against each other: also that each request to ask again has one answer, and each root one ending.
    It changes nothing and joins no group; it may run beside the gate.
    """
    install(Lenient)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what matters of it becomes one sentence
    result = _with_progress(Scope(bootstrap, prefix, group, reevaluation_group=reevaluation_group, telling=telling))
    if output == "json":
        click.echo(json.dumps(result.as_dict(), indent=2))
    else:
        result.print(Console())
    if not result.ok:
        raise CheckFailed(f"{result.verdict()}; the examples say which records to look at")


def _with_progress(scope: Scope) -> Result:
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not interactive(), transient=True) as bar:
        task = bar.add_task("auditing", total=None)
        return asyncio.run(run_audit(scope, lambda passed, offsets: bar.update(task, completed=passed, total=offsets)))
