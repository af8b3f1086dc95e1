"""`sluicegate halt | resume | recall`: the kill switch."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, TypeVar

import click

from agents.cli.client import quiet_client_logs
from agents.cli.lines import printable
from agents.cli.options import (
    LONG_NAME,
    NAME,
    WHY,
    bootstrap_option,
    by_option,
    output_option,
    prefix_option,
    timeout_option,
)
from agents.cli.values import COMMAND_ID, Matching
from agents.governing import put_in_force
from agents.readable import moment
from schemas.published import WHY_CHARS_MAX, Scope
from streams.errors import CheckFailed, ConfigurationError
from streams.governing import Signed, Write, halted, recalled, resumed, still_stopped, unknown_workflow
from streams.rulebook import Edition
from streams.runtime.clock import clock_ms
from streams.runtime.policies_topic import read_edition
from streams.runtime.settings import Kafka

F = TypeVar("F", bound=Callable[..., Any])


# what other tools have halted must be ended as it stands, whatever it is
AS_HALTED = Matching(r"(?s).{0,10000}", "a part of a scope as `sluicegate halt --list` shows it", "billing")


def _scoped(workflow: click.ParamType, others: click.ParamType) -> Callable[[F], F]:
    def scoped(command: F) -> F:
        for name, kind, what in (
            ("action-type", others, "Only actions of this type."),
            ("model", others, "Only decisions of this model."),
            ("segment", others, "Only this segment."),
            ("workflow", workflow, "Only this workflow."),
        ):
            command = click.option(f"--{name}", type=kind, help=what)(command)
        return command

    return scoped


@click.command(
    epilog="""\b
Examples:
  sluicegate halt --workflow billing --why "double charges since 14:10"
  sluicegate halt --model rater@2026-11-01 --why "wrong surcharge"
  sluicegate halt --everything --why "drill"
  sluicegate halt --list

What is given narrows the scope. From its acknowledgement on no worker issues a command in it (decisions become
exceptions with the reason `halted` and can be redriven), executors of the kit start none that is under way already,
and no review in it can be approved. It survives restarts until `sluicegate resume`."""
)
@_scoped(NAME, LONG_NAME)
@click.option("--everything", is_flag=True, help="All workflows; needed when nothing narrows the scope.")
@click.option("--list", "listing", is_flag=True, help="Show what is halted, and change nothing.")
@click.option("--why", type=WHY, help="The reason; it is shown to everybody whom the halt stops.")
@bootstrap_option
@prefix_option
@by_option
@timeout_option
@output_option
def halt(
    workflow: str | None,
    segment: str | None,
    model: str | None,
    action_type: str | None,
    everything: bool,
    listing: bool,
    why: str | None,
    bootstrap: str,
    prefix: str,
    by: str,
    timeout_s: float,
    output: str,
) -> None:
    """Stop a scope at once, on all workers and executors."""
    kafka, scope = Kafka(bootstrap, prefix), Scope(workflow, segment, model, action_type)
    if listing:
        _list(kafka, output)
        return
    if scope == Scope() and not everything:
        raise ConfigurationError(
            "nothing says what to halt: give --workflow, --segment, --model or --action-type, or "
            "--everything for all of it"
        )
    if scope != Scope() and everything:
        raise ConfigurationError(f"--everything and {scope}: give one of them")
    signed = _signed(by, why)

    def say(before: Edition) -> None:
        print(f"halted: {scope}")
        if (unknown := unknown_workflow(before, scope.workflow)) is not None:
            print(f"sluicegate: {unknown}", file=sys.stderr)

    _change(kafka, lambda edition: halted(scope, signed), say, timeout_s)


@click.command(epilog="Example: sluicegate resume --workflow billing --why 'fixed in rater@2026-11-02'")
@_scoped(AS_HALTED, AS_HALTED)
@click.option("--everything", is_flag=True, help="The halt of everything (others stay).")
@click.option("--why", type=WHY, help="The reason; it is recorded.")
@bootstrap_option
@prefix_option
@by_option
@timeout_option
def resume(
    workflow: str | None,
    segment: str | None,
    model: str | None,
    action_type: str | None,
    everything: bool,
    why: str | None,
    bootstrap: str,
    prefix: str,
    by: str,
    timeout_s: float,
) -> None:
    """End the halt of exactly this scope; what else still stops it is said, with exit code 1 where that is all of it.

    A halt whose key names no scope stops everything, and ends with --everything.
    """
    scope = Scope(workflow, segment, model, action_type)
    if scope == Scope() and not everything:
        raise ConfigurationError(
            "nothing says what to resume: name the scope as it was halted; see `sluicegate halt --list`"
        )
    if scope != Scope() and everything:
        raise ConfigurationError(f"--everything and {scope}: give one of them")
    signed = _signed(by, why)

    def say(before: Edition) -> None:
        print(f"resumed: {scope}")
        for key in before.strange if scope == Scope() else ():
            print(f"resumed: the halt under the key {key}, which names no scope")
        for one in chain(*still_stopped(before, scope)):
            print(f"still halted: {printable(str(one), WHY_CHARS_MAX)}")

    before = _change(Kafka(bootstrap, prefix), lambda edition: resumed(edition, scope, signed), say, timeout_s)
    if still_stopped(before, scope)[0]:
        raise CheckFailed(f"{scope} is resumed, and all of it is still halted by what is named above: resume that too")


@click.command(epilog=f"Example: sluicegate recall {COMMAND_ID.example} --why 'wrong customer'")
@click.argument("command_id", type=COMMAND_ID)
@click.option("--why", type=WHY, help="The reason; the executor tells it in its receipt.")
@bootstrap_option
@prefix_option
@by_option
@timeout_option
def recall(command_id: str, why: str | None, bootstrap: str, prefix: str, by: str, timeout_s: float) -> None:
    """Take back one command: executors of the kit refuse it, unless one has started it already."""
    signed = _signed(by, why)

    def say(before: Edition) -> None:
        print(f"recalled: {command_id}")

    _change(Kafka(bootstrap, prefix), lambda edition: recalled(command_id, signed), say, timeout_s)


def _signed(by: str, why: str | None) -> Signed:
    if why is None:
        raise ConfigurationError(
            "--why is missing: the reason is recorded, and told to everybody whom it concerns, such as --why "
            f"'{WHY.example}'"
        )
    return Signed(by, why, clock_ms())


def _change(
    kafka: Kafka, make: Callable[[Edition], Sequence[Write]], say: Callable[[Edition], None], timeout_s: float
) -> Edition:
    """Writes it, waits, and tells; returns what stood before, which `say` hears once it is written."""
    quiet_client_logs()
    before, _, found = asyncio.run(put_in_force(kafka, make, timeout_s))
    say(before)
    if not found.having and not found.lacking:
        print("no worker and no executor is alive: it is in force when one starts")
        return before
    print(f"in force on {found.of_roles()} after {found.seconds:.2f} s")
    if found.lacking:
        names = "\n".join(f"  {beat.worker}" for beat in found.lacking)
        raise CheckFailed(f"it is written, but these have not acknowledged it after {timeout_s:g} s:\n{names}")
    return before


def _list(kafka: Kafka, output: str) -> None:
    quiet_client_logs()
    edition = asyncio.run(read_edition(kafka))
    in_force = {scope: one for scope, one in sorted(edition.halts.items(), key=lambda item: item[0].key) if one.halted}
    troubles = [trouble for key, trouble in edition.troubles.items() if key.startswith("halt/")]
    for trouble in troubles:
        print(f"sluicegate: {trouble}", file=sys.stderr)
    for key in edition.strange:
        told = f"the halt under the key {key} names no scope, so it stops everything; resume --everything ends it"
        print(told, file=sys.stderr if output == "json" else sys.stdout)
    if output == "json":
        told_halts = [
            {**scope._asdict(), "why": one.why, "by": one.by, "at_ms": one.at_ms} for scope, one in in_force.items()
        ]
        print(json.dumps(told_halts))
        return
    for scope, one in in_force.items():
        print(
            f"{printable(str(scope))}: {printable(one.why, WHY_CHARS_MAX)} ({printable(one.by)}, {moment(one.at_ms)})"
        )
    if not in_force:
        print("nothing is halted")
