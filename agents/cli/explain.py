"""`sluicegate policy explain`: for one decision every rule tried, what it saw, and which one decided."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import IO, Any, NamedTuple

import click
import msgspec
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.cli.client import quiet_client_logs
from agents.cli.files import InputFile, whole
from agents.cli.lines import printable
from agents.cli.options import IDENTIFIER, POLICIES, bootstrap_option, output_option, prefix_option
from agents.cli.times import Moment
from agents.cli.values import CONTEXT_VERSION
from agents.readable import duration
from agents.why.found import Found
from agents.why.read import Scope, gather
from schemas.common import VALUE_BYTES_MAX
from streams.errors import CheckFailed, ConfigurationError
from streams.explain import Explanation, Seen, Tried
from streams.explain import explain as explained
from streams.foreign import Unreadable, json_of
from streams.path import Snapshot
from streams.policy import Policy
from streams.rulebook import Compiler
from streams.runtime.policies import load
from streams.runtime.policies_topic import read_edition
from streams.runtime.records import Lenient, install
from streams.runtime.settings import Kafka

COLORS = {"holds": "green", "false": "", "unknown": "yellow", "error": "red", "not asked": "dim"}
SIGNS = {"at_least": "at least", "at_most": "at most", "not_in": "not in"}
WIDTH_PLAIN = 120


class Asked(NamedTuple):
    """What is explained, and how the world was when it was decided, as far as that is on record."""

    value: bytes
    now_ms: int | None = None
    context_version: int | None = None
    policy: str | None = None  # that decided it


@click.command(
    epilog="Examples:\n\n"
    "\b\n"
    "  sluicegate policy explain --policies policies/ decision.json\n"
    "  echo '{...}' | sluicegate policy explain --policies policies/ -\n"
    "  sluicegate policy explain --id payout-17-1     a recorded one, at its time, by the version that decided\n"
    "  sluicegate policy explain --policies policies/ --output json decision.json | jq .outcome.reasons\n\n"
    "Without --at a decision from a file is explained at the newest of its own times, a recorded one at the time at "
    "which the gate decided it, with the context version that it saw. The exit code is 0 whatever becomes of the "
    "decision, 1 when no decision has that id, 2 when a policy is wrong."
)
@click.argument("file", type=InputFile("decision.json"), required=False)
@click.option(
    "--id", "identifier", type=IDENTIFIER, metavar="ID", help="A recorded decision, or an attempt of it, payout-17-1~2."
)
@click.option(
    "--policies",
    type=POLICIES,
    metavar="DIR",
    help="A folder of policies, one YAML file per workflow.  [default: those published: for a recorded decision the "
    "version that decided it, else those in force]",
)
@click.option("--at", "at_ms", type=Moment(), metavar="TIME", help="Explain it as at this time.")
@click.option("--context-version", type=CONTEXT_VERSION, help="The version of the entity's context that is there.")
@bootstrap_option
@prefix_option
@output_option
def explain(
    file: IO[bytes] | None,
    identifier: str | None,
    policies: Path | None,
    at_ms: int | None,
    context_version: int | None,
    bootstrap: str,
    prefix: str,
    output: str,
) -> None:
    """Explain one decision: FILE holds it (`-` is stdin), or --id names a recorded one.

    Each rule in its order, what each of its conditions saw, the limits that were broken, freshness, and what goes out.
    The gate's own path decides; what depends on other records (repeats, superseding, exposure) is taken to be empty.
    """
    if (file is None) == (identifier is None):
        raise click.UsageError("give a FILE, or --id of a recorded decision")
    snapshot = None if policies is None else load(policies)
    asked = (
        Asked(whole(file, VALUE_BYTES_MAX, "a decision").strip())
        if file is not None
        else _recorded(Scope(bootstrap, prefix), str(identifier))
    )
    body = _body(asked.value)
    if snapshot is None:
        snapshot = _published(Kafka(bootstrap, prefix), asked.policy)
    now_ms = next((time for time in (at_ms, asked.now_ms) if time is not None), _newest_ms(body))
    seen = next((one for one in (context_version, asked.context_version) if one is not None), None)
    found = explained(asked.value, _policy(snapshot, body), now_ms, seen)
    if output == "json":
        click.echo(orjson.dumps(msgspec.to_builtins(found), option=orjson.OPT_INDENT_2))
    else:
        _print(found, Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_PLAIN))


def _recorded(scope: Scope, identifier: str) -> Asked:
    quiet_client_logs()
    install(Lenient)
    found = asyncio.run(gather(scope, identifier, lambda *_: None))
    inputs = [one for one in found if one.kind in ("decisions", "successors") and one.body.get("id") == identifier]
    if not inputs:
        inputs = [one for one in found if one.kind == "decisions"]
    if not inputs:
        raise CheckFailed(f"no record on decisions or successors has the id {identifier!r}")
    first = min(inputs, key=lambda one: one.at_ms)
    answer = next((one for one in found if _answers(one, first)), None)
    body = first.body.get("data", first.body) if "specversion" in first.body else first.body
    value = orjson.dumps(body)
    if answer is None:
        return Asked(value, first.at_ms)
    return Asked(
        value, answer.body.get("gated_at_ms"), answer.body.get("context_version_seen"), answer.body.get("policy")
    )


def _published(kafka: Kafka, name: str | None) -> Snapshot:
    """The version of this name alone, or the policies in force. Raises ConfigurationError."""
    quiet_client_logs()
    edition, compiler = asyncio.run(read_edition(kafka)), Compiler()
    if name is None:
        return compiler.snapshot(edition)[0]
    workflow, _, version = name.rpartition("@")
    found = compiler.policy(edition, workflow, int(version))
    if isinstance(found, str):
        raise ConfigurationError(f"{name}, which decided it, cannot be used here: {found}; give --policies")
    return Snapshot([found])


def _answers(one: Found, asked: Found) -> bool:
    return one.body.get("kind") == "disposition" and one.named("source") == asked.place


def _body(value: bytes) -> dict[str, Any]:
    body = json_of(value)
    if isinstance(body, Unreadable):
        raise ConfigurationError(f"the decision is not JSON: {body.why}")
    if not isinstance(body, dict):
        raise ConfigurationError("the decision is no JSON object")
    return body


def _newest_ms(body: dict[str, Any]) -> int:
    times = [body.get(name) for name in ("sent_at_ms", "decided_at_ms", "observed_at_ms")]
    return max((time for time in times if type(time) is int), default=0)


def _policy(snapshot: Snapshot, body: dict[str, Any]) -> Policy:
    policy = snapshot.by_workflow.get(str(body.get("workflow")))
    if policy is None:
        known = ", ".join(sorted(snapshot.by_workflow))
        raise ConfigurationError(f"there is no policy for the workflow {body.get('workflow')!r}; there are: {known}")
    return policy


def _print(found: Explanation, console: Console) -> None:
    age = "-" if found.age_ms is None else duration(found.age_ms)
    budget = "" if found.budget_ms is None else f" of {duration(found.budget_ms)}"
    console.print(Text(f"{found.policy}: age {age}{budget}: {printable(found.freshness)}"))
    for number, rules in enumerate(found.steps, start=1):
        title = "rules, in their order" if len(found.steps) == 1 else f"of the chain, {number} of {len(found.steps)}"
        table = Table(title=title, title_justify="left")
        for heading in ("", "rule", "says", "result", "what it saw"):
            table.add_column(heading)
        for rule in rules:
            mark = Text("->" if rule.decided else "", style="bold")
            says = f"{rule.then} (shadow)" if rule.shadow else rule.then
            result = Text(rule.result, style=COLORS[rule.result])
            table.add_row(mark, Text(printable(rule.rule)), says, result, Text("\n".join(_saw(rule))))
        console.print(table)
    outcome = found.outcome
    told = f" by {outcome.rule}" if outcome.rule else ""
    console.print(Text(printable(f"{outcome.output}: {', '.join(outcome.reasons)}{told}"), style="bold"))
    if outcome.detail:
        console.print(Text(printable(outcome.detail)))


def _saw(rule: Tried) -> list[str]:
    lines = [_line(one) for one in rule.seen]
    if rule.cel is not None:
        lines.append(f"cel: {printable(rule.cel)}")
    lines += [f"limit: {reason}" for reason in rule.beyond]
    return lines or ["every decision"]


def _line(one: Seen) -> str:
    asked = ", ".join(f"{SIGNS.get(name, name.strip('_'))} {value!r}" for name, value in one.condition.items())
    why = f" ({', '.join(one.why)})" if one.why else ""
    there = "nothing" if one.value is None else repr(one.value)
    return printable(f"{one.field} = {there}, asked: {asked}: {one.result}{why}")
