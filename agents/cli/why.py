"""`sluicegate why`: the whole story of one decision, from the topics, in the order in which it happened."""

from __future__ import annotations

import asyncio
import sys

import click
import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from agents.cli.client import quiet_client_logs
from agents.cli.lines import printable
from agents.cli.options import IDENTIFIER, bootstrap_option, interactive, output_option, prefix_option
from agents.cli.times import Span
from agents.readable import duration
from agents.why.found import Found
from agents.why.read import Scope, gather
from agents.why.skim import Skimming
from agents.why.story import Entry, Story, stories
from agents.why.telling import clock
from streams.runtime.clock import clock_ms
from streams.runtime.records import install

WIDTH_PLAIN = 120
LINE_CHARS_MAX = 2_000


@click.command(
    epilog="Examples:\n\n"
    "\b\n"
    "  sluicegate why payout-17-1                    a decision, by its producer's id\n"
    "  sluicegate why c-9f86d081884c7d659a2feaa0c55ad015    the command that was acted on\n"
    "  sluicegate why r-2-3fa9c1d05b6e...            a review\n"
    "  sluicegate why payout-17-1 --since 2h         reads only what was stored in the last two hours\n"
    "  sluicegate why payout-17-1 --output json | jq -r '.stories[].conclusion'\n\n"
    "ID is that of a decision (or of a later attempt, payout-17-1~2), a command, a review, an exception or a request "
    "to ask again. Each line has the broker's time, and what came after the one before it. Topics are read whole, so "
    "--since is quicker where they are long. The exit code is 1 where no record names the id."
)
@click.argument("identifier", metavar="ID", type=IDENTIFIER)
@click.option(
    "--since", "since_ms", type=Span(example="2h"), metavar="SPAN", help="Only what was stored in the last SPAN."
)
@bootstrap_option
@prefix_option
@output_option
def why(identifier: str, since_ms: int | None, bootstrap: str, prefix: str, output: str) -> None:
    """Tell the whole story of one decision: what happened, when, who did it and why, and how it stands.

    Who proposed it and on which state of the world, how old it was at each stage, the rule of the policy that decided,
    attempts, what people said and with which key, the command, the receipt, the outcome. It reads the topics, joins no
    group and changes nothing. Where one id names decisions of several entities, all are told.
    """
    quiet_client_logs()
    install(Skimming)
    now_ms = clock_ms()
    records = _gathered(Scope(bootstrap, prefix, 0 if since_ms is None else max(0, now_ms - since_ms)), identifier)
    told = stories(records, now_ms)
    if output == "json":
        document = {"id": identifier, "at_ms": now_ms, "stories": [_document(story) for story in told]}
        click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_PLAIN)
    for story in told:
        _print(story, console)


def _gathered(scope: Scope, identifier: str) -> list[Found]:
    columns = [TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True), disable=not interactive(), transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def progress(what: str, done: int, total: int) -> None:
            bar.update(task, description=f"reading {what}", completed=done, total=total)

        return asyncio.run(gather(scope, identifier, progress))


def _print(story: Story, console: Console) -> None:
    about = ", ".join(filter(None, [story.workflow, story.entity and f"for {story.entity}"]))
    console.print(Text(printable(f"{story.root_id}{f' of {about}' if about else ''}"), style="bold"))
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    before_ms = story.entries[0].found.at_ms
    for entry in story.entries:
        at_ms = entry.found.at_ms
        table.add_row(clock(at_ms), f"+{duration(max(0, at_ms - before_ms))}", _lines(entry))
        before_ms = at_ms
    console.print(table)
    console.print(Text(printable(f"-> {story.conclusion}", LINE_CHARS_MAX), style="bold"), end="\n\n")


def _lines(entry: Entry) -> Text:
    told = entry.told
    text = Text(printable(told.what, LINE_CHARS_MAX))
    text.append(f"\n  {printable(told.who, LINE_CHARS_MAX)}", style="cyan")
    if told.why:
        text.append(f"\n  {printable(told.why, LINE_CHARS_MAX)}")
    for line in told.more:
        text.append(f"\n  {printable(line, LINE_CHARS_MAX)}", style="dim")
    text.append(f"\n  {entry.found.where}", style="dim")
    return text


def _document(story: Story) -> dict[str, object]:
    return {
        "root_id": story.root_id,
        "workflow": story.workflow,
        "entity": story.entity,
        "conclusion": story.conclusion,
        "steps": [
            {
                "at_ms": entry.found.at_ms,
                "topic": entry.found.topic,
                "partition": entry.found.number,
                "offset": entry.found.position,
                "what": entry.told.what,
                "who": entry.told.who,
                "why": entry.told.why,
                "more": entry.told.more,
                "record": entry.found.body,
            }
            for entry in story.entries
        ],
    }
