"""What the commands of the desk share: which topics and which store, and a store that is up to the topics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from agents.cli.client import quiet_client_logs
from agents.cli.options import bootstrap_option, interactive, prefix_option
from agents.cli.values import Matching
from agents.desk.follow import Follower, following
from streams.runtime.records import Lenient, install

STORE_URL = Matching(
    r"(sqlite|postgres(ql)?)(\+[a-z0-9_]+)?://[^\x00]{0,4000}",
    "the URL of a database, sqlite:///FILE or postgresql://USER@HOST/DATABASE",
    "sqlite:///reviews.db",
)
SHOWN_OFFSETS = 20_000  # a bar for less would only flicker


@dataclass(frozen=True)
class Desk:
    """Which topics, which store."""

    bootstrap: str
    prefix: str
    store: str | None


def desk_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say which desk; the command gets them as `desk`."""

    @wraps(command)
    def at_the_desk(bootstrap: str, prefix: str, store: str | None, **others: Any) -> None:
        command(desk=Desk(bootstrap, prefix, store), **others)

    option = click.option(
        "--store",
        type=STORE_URL,
        envvar="SLUICEGATE_STORE",
        show_envvar=True,
        metavar="URL",
        help="The store of reviews: sqlite:///FILE or postgresql://USER@HOST/DATABASE.  [default: a file for these "
        "topics in $XDG_DATA_HOME/sluicegate, or ~/.local/share/sluicegate]",
    )
    return bootstrap_option(prefix_option(option(at_the_desk)))


@asynccontextmanager
async def caught_up(desk: Desk, rebuild: bool = False) -> AsyncIterator[Follower]:
    columns = [TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()]
    async with following(desk.bootstrap, desk.prefix, desk.store, rebuild) as follower:
        with Progress(*columns, console=Console(stderr=True), disable=not interactive(), transient=True) as bar:
            task = bar.add_task("reading topics", total=None, visible=rebuild)
            await follower.catch_up(
                lambda done, total: bar.update(
                    task, completed=done, total=total, visible=rebuild or total >= SHOWN_OFFSETS
                )
            )
        for sentence in follower.lost:
            click.echo(f"sluicegate: {sentence}", err=True)
        yield follower


def run(call: Callable[[], Coroutine[Any, Any, None]]) -> None:
    quiet_client_logs()
    install(Lenient)
    asyncio.run(call())
