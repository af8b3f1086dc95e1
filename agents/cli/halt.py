"""`sluicegate halt | resume | recall`: the kill switch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from agents.cli.client import quiet_client_logs
from agents.cli.options import bootstrap_option, by_option, output_option, prefix_option, timeout_option
from agents.governing import put_in_force
from agents.readable import moment
from schemas.published import Scope
from streams.errors import CheckFailed, ConfigurationError
from streams.governing import Signed, Write, halted, recalled, resumed
from streams.rulebook import Edition
from streams.runtime.clock import clock_ms
from streams.runtime.policies_topic import read_edition
from streams.runtime.settings import Kafka

F = TypeVar("F", bound=Callable[..., Any])


def _scoped(command: F) -> F:
    for name, what in (
        ("action-type", "Only actions of this type."),
        ("model", "Only decisions of this model."),
        ("segment", "Only this segment."),
        ("workflow", "Only this workflow."),
    ):
        command = click.option(f"--{name}", help=what)(command)
    return command


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
@_scoped
@click.option("--everything", is_flag=True, help="All workflows; needed when nothing narrows the scope.")
@click.option("--list", "listing", is_flag=True, help="Show what is halted, and change nothing.")
@click.option("--why", help="The reason; it is shown to everybody whom the halt stops.")
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
    _change(kafka, lambda edition: halted(scope, signed), f"halted: {scope}", timeout_s)


@click.command(epilog="Example: sluicegate resume --workflow billing --why 'fixed in rater@2026-11-02'")
@_scoped
@click.option("--everything", is_flag=True, help="The halt of everything (others stay).")
@click.option("--why", help="The reason; it is recorded.")
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
    """End the halt of exactly this scope."""
    scope = Scope(workflow, segment, model, action_type)
    if scope == Scope() and not everything:
        raise ConfigurationError(
            "nothing says what to resume: name the scope as it was halted; see `sluicegate halt --list`"
        )
    signed = _signed(by, why)
    _change(Kafka(bootstrap, prefix), lambda edition: resumed(edition, scope, signed), f"resumed: {scope}", timeout_s)


@click.command(epilog="Example: sluicegate recall c-0f2c… --why 'wrong customer'")
@click.argument("command_id")
@click.option("--why", help="The reason; the executor tells it in its receipt.")
@bootstrap_option
@prefix_option
@by_option
@timeout_option
def recall(command_id: str, why: str | None, bootstrap: str, prefix: str, by: str, timeout_s: float) -> None:
    """Take back one command: executors of the kit refuse it, unless one has started it already."""
    if not command_id.startswith("c-") or len(command_id) > 200:
        raise ConfigurationError(f"{command_id!r:.210} is no command's id: they begin with c-")
    signed = _signed(by, why)
    _change(
        Kafka(bootstrap, prefix), lambda edition: recalled(command_id, signed), f"recalled: {command_id}", timeout_s
    )


def _signed(by: str, why: str | None) -> Signed:
    if not why or not why.strip():
        raise ConfigurationError("--why is missing: the reason is recorded, and told to everybody whom it concerns")
    return Signed(by, why, clock_ms())


def _change(kafka: Kafka, make: Callable[[Edition], Sequence[Write]], done: str, timeout_s: float) -> None:
    quiet_client_logs()
    _, found = asyncio.run(put_in_force(kafka, make, timeout_s))
    print(done)
    if not found.having and not found.lacking:
        print("no worker and no executor is alive: it is in force when one starts")
        return
    print(f"in force on {found.of_roles()} after {found.seconds:.2f} s")
    if found.lacking:
        names = "\n".join(f"  {beat.worker}" for beat in found.lacking)
        raise CheckFailed(f"it is written, but these have not acknowledged it after {timeout_s:g} s:\n{names}")


def _list(kafka: Kafka, output: str) -> None:
    quiet_client_logs()
    edition = asyncio.run(read_edition(kafka))
    in_force = {scope: one for scope, one in sorted(edition.halts.items(), key=lambda item: item[0].key) if one.halted}
    if output == "json":
        print(
            json.dumps(
                [
                    {**scope._asdict(), "why": one.why, "by": one.by, "at_ms": one.at_ms}
                    for scope, one in in_force.items()
                ]
            )
        )
        return
    for scope, one in in_force.items():
        print(f"{scope}: {one.why} ({one.by}, {moment(one.at_ms)})")
    if not in_force:
        print("nothing is halted")
