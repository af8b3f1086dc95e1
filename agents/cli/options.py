"""Options that several commands share, spelt and documented once."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_BOOTSTRAP = "127.0.0.1:9092"
DEFAULT_PREFIX = "sluicegate."


def bootstrap_option(command: F) -> F:
    return click.option(
        "--bootstrap",
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


def by_option(command: F) -> F:
    return click.option(
        "--by",
        envvar="SLUICEGATE_BY",
        default=getpass.getuser,
        show_default="who is logged in",
        show_envvar=True,
        help="Who does it; it is kept with the change.",
    )(command)


def timeout_option(command: F) -> F:
    return click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(min=0, max=3600),
        default=30.0,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait for the acknowledgements of all that live.",
    )(command)
