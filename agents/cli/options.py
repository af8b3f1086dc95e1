"""Options that several commands share, spelt and documented once."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import click
from msgspec import Meta

from agents.cli.files import FilePath
from agents.cli.values import PREFIX, Bootstrap, Number, Text
from schemas.common import Id
from schemas.published import By, Why

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_BOOTSTRAP = "127.0.0.1:9092"
DEFAULT_PREFIX = "sluicegate."
BY, WHY = Text(By, "ana"), Text(Why, "double charges since 14:10")
NAME = Text(Id, "billing")
# no schema bounds these; three of them and a workflow fit in a key of `policies`, whatever their characters
LONG_NAME = Text(Annotated[str, Meta(max_length=300)], "retail")
IDENTIFIER = Text(Annotated[str, Meta(max_length=1_000)], "payout-17-1")  # of a decision, or a later attempt
POLICIES = FilePath("policies/")
KEY_FILE = FilePath("~/.sluicegate-key")
SHORT_WAIT = Number(0, 3600, "30")


def bootstrap_option(command: F) -> F:
    return click.option(
        "--bootstrap",
        type=Bootstrap(),
        envvar="SLUICEGATE_BOOTSTRAP",
        default=DEFAULT_BOOTSTRAP,
        show_default=True,
        show_envvar=True,
        metavar="HOST:PORT[,...]",
        help="The Kafka to use.",
    )(command)


def prefix_option(command: F) -> F:
    return click.option(
        "--prefix",
        type=PREFIX,
        metavar="TEXT",
        envvar="SLUICEGATE_PREFIX",
        default=DEFAULT_PREFIX,
        show_default=True,
        show_envvar=True,
        help="What all topic names begin with.",
    )(command)


def output_option(command: F) -> F:
    return click.option(
        "--output",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="For people, or for programs.",
    )(command)


def interactive() -> bool:
    """Whether a person looks at the terminal (then progress bars are drawn, on stderr)."""
    return os.isatty(2) and not os.environ.get("CI")


def who() -> str:
    """Who is logged in: the name, or the number where the machine knows no name for it (as in many containers)."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def by_option(command: F) -> F:
    return click.option(
        "--by",
        type=BY,
        envvar="SLUICEGATE_BY",
        default=who,
        show_default="who is logged in",
        show_envvar=True,
        help="Who does it; it is kept with the change.",
    )(command)


def timeout_option(command: F) -> F:
    return click.option(
        "--timeout",
        "timeout_s",
        type=SHORT_WAIT,
        default=30.0,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait for the acknowledgements of all that live.",
    )(command)
