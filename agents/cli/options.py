"""Options that several commands share, spelt and documented once."""

from __future__ import annotations

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
