"""`sluicegate reviews`: what waits for a person, and how a person answers.

Each command first brings the store up to the topics, so nothing has to run for it but the broker.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import click
import orjson
from rich.console import Console, RenderableType
from rich.live import Live

from agents.cli.desk import Desk, caught_up, desk_options, run
from agents.cli.options import BY, NAME, interactive, output_option
from agents.cli.preapprovals import preapprovals, preapprove, revoke
from agents.cli.values import Whole
from agents.cli.verdicts import REVIEW_ID, approve, modify, reject
from agents.desk.answer import named
from agents.desk.follow import Follower
from agents.desk.view import as_document, listed, whole
from streams.runtime.clock import clock_ms
from streams.runtime.store.reviews import Wanted

LIVE_S, PRINTED_S = 1.0, 10.0  # between snapshots: on a terminal, and where lines scroll by
WIDTH_PLAIN = 120
LIMIT_MAX = 100_000  # lines; a program that wants more asks the store


@click.group(
    epilog="Start with: sluicegate reviews list. What people say is a signed record on `verdicts`; the store is only "
    "for looking, and `sluicegate reviews rebuild` makes it anew."
)
def reviews() -> None:
    """See what waits for a person, and answer it: signed, once, in time.

    A review is bound to the digest of its action and ends by its deadline. The store that these commands read
    (SQLite by default, PostgreSQL by URL) follows the topics; each command reads on first, nothing has to run for it.
    """


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_PLAIN)


def narrowing(command: Callable[..., None]) -> Callable[..., None]:
    """What `list` and `watch` narrow by; the command gets it as `wanted`."""

    @wraps(command)
    def narrowed(
        queue: str | None, workflow: str | None, person: str | None, ended: bool, limit: int, **others: Any
    ) -> None:
        command(wanted=Wanted(queue, workflow, person, ended, limit), **others)

    options = [
        click.option("--queue", type=NAME, metavar="NAME", help="Only this queue."),
        click.option("--workflow", type=NAME, metavar="NAME", help="Only this workflow."),
        click.option(
            "--for", "person", type=BY, metavar="NAME", help="Only what NAME has neither proposed nor approved."
        ),
        click.option("--all", "ended", is_flag=True, help="Those that have ended too."),
        click.option("--limit", type=Whole(1, LIMIT_MAX, 100), default=100, show_default=True, help="At most so many."),
    ]
    told: Callable[..., None] = narrowed
    for option in reversed(options):
        told = option(told)
    return told


@reviews.command(
    "list",
    epilog="Examples:\n\n"
    "\b\n"
    "  sluicegate reviews list                              what is due soonest stands first\n"
    "  sluicegate reviews list --queue billing --for ana    what ana can still answer\n"
    "  sluicegate reviews list --output json | jq -r '.reviews[].review_id'\n\n"
    "Time left ends at the review's deadline; `!` says it is escalated or about to be, `over` that its deadline has "
    "passed and its end is not on record yet. Any beginning of an id that is no other's names a review.",
)
@narrowing
@desk_options
@output_option
def list_(desk: Desk, wanted: Wanted, output: str) -> None:
    """List the reviews that wait for a person, soonest deadline first."""

    async def call() -> None:
        async with caught_up(desk) as follower:
            _print(follower, wanted, output)

    run(call)


def _print(follower: Follower, wanted: Wanted, output: str, indent: int | None = 2) -> None:
    rows, count = follower.store.reviews(wanted)
    at_ms = clock_ms()
    if output == "json":
        documents = [as_document(row, at_ms) for row in rows]
        click.echo(json.dumps({"at_ms": at_ms, "count": count, "reviews": documents}, indent=indent))
    else:
        _console().print(listed(rows, count, at_ms))


@reviews.command(
    epilog="Examples:\n\n"
    "\b\n"
    "  sluicegate reviews show r-2-3fa9c1d0\n"
    "  sluicegate reviews show r-2-3fa9c1d0 --output json | jq .record.decision.action"
)
@click.argument("review_id", metavar="ID", type=REVIEW_ID)
@desk_options
@output_option
def show(desk: Desk, review_id: str, output: str) -> None:
    """Show one review whole: the decision and its action, why it came, its times, what was said so far."""

    async def call() -> None:
        async with caught_up(desk) as follower:
            row, at_ms = named(follower.store, review_id), clock_ms()
            said, facts = follower.store.verdicts(row["review_id"]), follower.store.facts(row["review_id"])
            if output == "json":
                document = as_document(row, at_ms) | {"record": orjson.Fragment(row["text"]), "verdicts": said}
                click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))
            else:
                _console().print(whole(row, said, facts, at_ms))

    run(call)


@reviews.command(
    epilog="Examples:\n\n"
    "\b\n"
    "  sluicegate reviews watch\n"
    "  sluicegate reviews watch --queue billing --for ana\n\n"
    "On a terminal it is drawn anew each second; elsewhere it is printed every 10 s. With --output json each snapshot "
    "is one line. It ends with Ctrl-C."
)
@narrowing
@desk_options
@output_option
def watch(desk: Desk, wanted: Wanted, output: str) -> None:
    """Watch the reviews that wait, as they come and go."""
    console = _console()
    live = output == "text" and console.is_terminal and not console.is_dumb_terminal and not os.environ.get("CI")

    async def call() -> None:
        async with caught_up(desk) as follower:
            if live:
                await _drawn(follower, wanted, console)
            while True:
                _print(follower, wanted, output, indent=None)
                sys.stdout.flush()
                await asyncio.sleep(PRINTED_S)
                await follower.catch_up()

    try:
        run(call)
    except KeyboardInterrupt:
        return  # the usual way to end it


async def _drawn(follower: Follower, wanted: Wanted, console: Console) -> None:
    def frame() -> RenderableType:
        rows, count = follower.store.reviews(wanted)
        return listed(rows[: max(3, console.height - 3)], count, clock_ms())

    with Live(frame(), console=console, auto_refresh=False, screen=False) as view:
        while True:
            await asyncio.sleep(LIVE_S)
            await follower.catch_up()
            view.update(frame(), refresh=True)


@reviews.command(
    epilog="Examples:\n\n"
    "\b\n"
    "  sluicegate reviews rebuild\n"
    "  sluicegate reviews rebuild --store postgresql://desk@db/reviews --yes\n\n"
    "What is older than the topics keep (30 days by default) is then gone from the store: a backup of it has more."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@desk_options
def rebuild(desk: Desk, yes: bool) -> None:
    """Empty the store and make it anew from the topics. Nothing but the store changes."""
    if not yes and interactive():
        click.confirm("Empty the store? What the topics no longer hold is lost", abort=True)

    async def call() -> None:
        async with caught_up(desk, rebuild=True) as follower:
            _, count = follower.store.reviews(Wanted(ended=True))
            click.echo(f"the store holds {count} reviews again, from the topics {desk.prefix}*")

    run(call)


for command in (approve, reject, modify, preapprove, revoke, preapprovals):
    reviews.add_command(command)
