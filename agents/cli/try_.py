"""`sluicegate try`: what would become of these decisions under these policies, without a Kafka."""

from __future__ import annotations

import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import click
import orjson
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from agents.cli.files import RECORD_BYTES_MAX, InputFile, file_name, lines_of, unread
from agents.cli.lines import header_texts, printable
from agents.cli.options import POLICIES, interactive, output_option, prefix_option
from agents.cli.times import Moment, Span
from agents.readable import duration, money
from agents.trial import Clock, Tried, tried
from schemas.topics import name
from streams.errors import ConfigurationError
from streams.foreign import own_json, text_of
from streams.headers import HeaderSettings
from streams.path import Snapshot
from streams.runtime.policies import load

COLORS = {"commands": "green", "reviews": "yellow", "exceptions": "red", "reevaluations": "magenta"}
NAMES = {"commands": "command", "reviews": "review", "exceptions": "exception", "reevaluations": "ask again"}
LONG_BYTES = 4 * 1024 * 1024  # about a second of work: from here on a progress bar is worth its flicker
REASON_CHARS_MAX = 80


@click.command(
    "try",
    epilog="Examples:\n\n"
    "\b\n"
    "  sluicegate try --policies policies/ decisions.ndjson\n"
    "  sluicegate try --policies policies/ --age 30s decisions.ndjson    if each took half a minute\n"
    "  python -m agents.workflows.billing --count 100 | sluicegate try --policies agents/workflows/billing -\n"
    "  sluicegate try --policies policies/ --output json decisions.ndjson | jq -r .value.reason\n\n"
    "The exit code is 0 whatever becomes of the decisions, 2 when a policy is wrong.",
)
@click.argument("file", type=InputFile("decisions.ndjson"))
@click.option(
    "--policies",
    type=POLICIES,
    required=True,
    metavar="DIR",
    help="The folder of policies, one YAML file per workflow.",
)
@click.option(
    "--at",
    "at_ms",
    type=Moment(),
    metavar="TIME",
    help="Decide everything at this time: epoch milliseconds, or 2026-11-23T09:30:00Z.",
)
@click.option(
    "--age",
    "age_ms",
    type=Span(most="36500d", example="90s"),
    metavar="SPAN",
    help="Decide each line so long after its own observation: 250ms, 90s.",
)
@prefix_option
@output_option
def try_(file: IO[bytes], policies: Path, at_ms: int | None, age_ms: int | None, prefix: str, output: str) -> None:
    """Try decisions against policies: FILE holds one a line (NDJSON), `-` is stdin. No Kafka is needed or touched.

    The same path decides as in the gate, repeats included. Its clock is told: without --at or --age each line is
    decided at the newest of its own sent_at_ms, decided_at_ms and observed_at_ms, so that a file of yesterday comes out
    as it would have yesterday. The key is taken to be right (the entity), the topics to be empty: no entity has a
    context. A stale decision that the policy asks about again is shown with the time that is left for an answer; the
    evaluator is not asked.

    With --output json each line is the record that would be sent: its topic, key, value and headers. The lines
    themselves have no headers, so a CloudEvent's attributes and a trace context cannot be tried.
    """
    if at_ms is not None and age_ms is not None:
        raise click.UsageError("--at and --age both say what time it is: give one of them")
    snapshot = load(policies)
    headers = HeaderSettings(group=f"{prefix}gate")  # as `sluicegate worker` calls it
    found = tried(_lines(file), snapshot, Clock(at_ms, age_ms), name(prefix, "decisions"), headers)
    if output == "json":
        for one in found:
            click.echo(_document(one, prefix))
        return
    summary = Summary()
    for one in found:
        body = own_json(one.value)
        summary.add(one, body)
        click.echo(_line(one, body, snapshot))
    summary.show()


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers from 1; a bar on stderr when that takes long and is watched."""
    size_bytes = 0
    try:
        if file.seekable():
            size_bytes = file.seek(0, os.SEEK_END)
            file.seek(0)
    except OSError as error:
        raise unread(file, error) from error
    watched = interactive() and not sys.stdout.isatty() and size_bytes > LONG_BYTES
    with Progress(console=Console(stderr=True), transient=True, disable=not watched) as progress:
        bar = progress.add_task("trying", total=size_bytes)
        for number, line, line_bytes in lines_of(file):
            progress.advance(bar, line_bytes + 1)
            if line_bytes > RECORD_BYTES_MAX:
                raise ConfigurationError(
                    f"line {number} of {file_name(file)} has {line_bytes} bytes, and a record has at most "
                    f"{RECORD_BYTES_MAX}: no gate would ever see it"
                )
            if line.strip():
                yield number, line


def _document(one: Tried, prefix: str) -> bytes:
    key = text_of(one.key)
    # a carriage return can only stand between tokens there, where a space means the same
    value = orjson.Fragment(one.value.replace(b"\r", b" "))
    headers = header_texts(one.headers)
    return orjson.dumps({"topic": name(prefix, one.output), "key": key, "value": value, "headers": headers})


def _reason(body: dict[str, Any]) -> str:
    return ", ".join(body["reasons"]) if "reasons" in body else str(body["reason"])


def _value(body: dict[str, Any]) -> tuple[str, int] | None:
    """Currency and amount, where the decision names both."""
    source = body if "value_minor" in body else body.get("decision") or {}
    value_minor, currency = source.get("value_minor"), source.get("currency")
    return None if value_minor is None or currency is None else (currency, value_minor)


def _line(one: Tried, body: dict[str, Any], policies: Snapshot) -> str:
    what = click.style(f"{NAMES[one.output]:<9}", fg=COLORS[one.output])
    parts = [f"line {one.number:<4} {what}  {_reason(body)}"]
    if rule := body.get("rule"):
        parts.append(f"by {printable(rule, REASON_CHARS_MAX)}")
    policy = policies.by_workflow.get(body["workflow"] or "")
    if policy and (age_ms := body["age_ms"]) is not None:
        budget_ms = body.get("budget_ms") or policy.freshness.of(body.get("segment")).budget_ms
        parts.append(f"age {duration(age_ms)} of {duration(budget_ms)}")
    if one.output == "reevaluations":
        parts.append(f"{duration(body['final_deadline_ms'] - body['gated_at_ms'])} left")
    if value := _value(body):
        parts.append(money(value[1], printable(value[0])))
    who = printable(f"{body['entity'] or ''} {body['decision_id'] or ''}".strip(), REASON_CHARS_MAX)
    parts.append(who or printable(body["detail"]))
    return "  ".join(parts)


class Summary:
    """What became of the lines, by workflow, disposition and reason."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._money_minor: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)

    def add(self, one: Tried, body: dict[str, Any]) -> None:
        kind = (body["workflow"] or "", one.output, _reason(body))
        self._counts[kind] += 1
        if value := _value(body):
            self._money_minor[kind][value[0]] += value[1]

    def show(self) -> None:
        if not self._counts:
            click.echo("no decisions: the input is empty")
            return
        table = Table(title=f"What would become of {self._counts.total()} decisions", title_justify="left")
        for heading in ("workflow", "disposition", "reason"):
            table.add_column(heading)
        table.add_column("count", justify="right")
        table.add_column("value", justify="right")
        for (workflow, output, reason), count in sorted(self._counts.items(), key=lambda item: (item[0][:2], -item[1])):
            sums = self._money_minor[workflow, output, reason]
            value = ", ".join(money(sums[currency], printable(currency)) for currency in sorted(sums))
            color = COLORS[output]
            table.add_row(printable(workflow) or "-", f"[{color}]{output}[/]", reason, str(count), value or "-")
        Console(highlight=False, markup=True).print(table)
