"""What options and arguments may hold. Every type knows its bounds and an example that is within them, and what is
refused says both: one sentence, exit code 2, before anything is tried.

Bounds of what becomes part of a record are those of its schema, which readers use.
"""

from __future__ import annotations

import math
import re
from typing import Any, NoReturn

import click
import msgspec
from msgspec.inspect import Metadata, StrType, type_info

from schemas.common import MONEY_MINOR_MAX, POLICY_VERSION_MAX
from streams.addresses import EXAMPLE, bootstrap_servers

SHOWN_CHARS_MAX = 60  # of what was given: enough to see which it is
GROUP_PREFIX_CHARS_MAX = 200  # Kafka takes longer ones, no tool shows them well; the longest topic name has 249
Parameter = click.Parameter | None
Context = click.Context | None


def shown(value: object) -> str:
    """What was given, in quotes, cut."""
    text = str(value)
    return repr(text if len(text) <= SHOWN_CHARS_MAX else text[: SHOWN_CHARS_MAX - 1] + "…")


class Bounded(click.ParamType):
    """A type that has an example; `wanted` says what is expected in its place."""

    def __init__(self, wanted: str, example: str) -> None:
        self.wanted = wanted
        self.example = example

    def refuse(self, value: object, param: Parameter, ctx: Context) -> NoReturn:
        """The one sentence."""
        self.fail(f"{shown(value)} is not {self.wanted}, such as {self.example}", param, ctx)

    def text_of(self, value: object, param: Parameter, ctx: Context) -> str:
        """The value as a text that can be written as UTF-8: bytes of a command line need not be."""
        text = str(value)
        try:
            text.encode()
        except UnicodeEncodeError:
            self.fail(f"{shown(value)} is not UTF-8 text, such as {self.example}", param, ctx)
        return text


class Text(Bounded):
    """Text within the limits of a schema's type (`Annotated[str, Meta(...)]`), and not blank."""

    name = "text"

    def __init__(self, kind: Any, example: str, wanted: str = "") -> None:
        found = type_info(kind)
        while isinstance(found, Metadata):
            found = found.type
        assert isinstance(found, StrType)
        least, most = max(1, found.min_length or 0), found.max_length
        assert most is not None, "a text without a bound"
        super().__init__(wanted or f"{least} to {most} characters", example)
        self._kind = kind

    def convert(self, value: Any, param: Parameter, ctx: Context) -> str:
        """The text as it was given."""
        text = self.text_of(value, param, ctx)
        try:
            msgspec.convert(text, self._kind)
        except msgspec.ValidationError:
            self._refuse_length(text, param, ctx)
        if not text.strip():
            self._refuse_length(text, param, ctx)
        return text

    def _refuse_length(self, text: str, param: Parameter, ctx: Context) -> NoReturn:
        if self.wanted[0].isdigit():
            told = "empty" if not text.strip() else f"{len(text)} characters"
            self.fail(f"{told}: expected {self.wanted}, such as {self.example!r}", param, ctx)
        self.refuse(text, param, ctx)


class Matching(Bounded):
    """Text that fits a pattern wholly."""

    name = "text"

    def __init__(self, pattern: str, wanted: str, example: str, metavar: str = "text") -> None:
        super().__init__(wanted, example)
        self._pattern = re.compile(pattern)
        self.name = metavar

    def convert(self, value: Any, param: Parameter, ctx: Context) -> str:
        """The text as it was given."""
        text = self.text_of(value, param, ctx)
        if not self._pattern.fullmatch(text):
            self.refuse(text, param, ctx)
        return text


class Whole(click.IntRange):
    """A whole number from `least` to `most`."""

    def __init__(self, least: int, most: int, example: int | None = None) -> None:
        super().__init__(least, most)
        self.example = str(least if example is None else example)

    def convert(self, value: Any, param: Parameter, ctx: Context) -> int:
        """The number."""
        try:
            return int(super().convert(value, param, ctx))
        except click.BadParameter:
            wanted = f"a whole number from {self.min} to {self.max}"
            self.fail(f"{shown(value)} is not {wanted}, such as {self.example}", param, ctx)


class Number(click.FloatRange):
    """A number from `least` to `most`; what is no number (nan) is none."""

    def __init__(self, least: float, most: float, example: str) -> None:
        super().__init__(least, most)
        self.example = example

    def convert(self, value: Any, param: Parameter, ctx: Context) -> float:
        """The number."""
        try:
            number = float(super().convert(value, param, ctx))
        except click.BadParameter:
            number = math.nan
        if not math.isfinite(number):
            wanted = f"a number from {self.min:.12g} to {self.max:.12g}"
            self.fail(f"{shown(value)} is not {wanted}, such as {self.example}", param, ctx)
        return number


class Bootstrap(Bounded):
    """The addresses of a Kafka."""

    name = "addresses"

    def __init__(self) -> None:
        super().__init__("HOST:PORT[,...]", EXAMPLE)

    def convert(self, value: Any, param: Parameter, ctx: Context) -> str:
        """The addresses, made equal."""
        try:
            return bootstrap_servers(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class PolicyName(Bounded):
    """`workflow` or `workflow@version`: the two, without a version None."""

    name = "policy"

    def __init__(self) -> None:
        super().__init__("the name of a workflow, or that and a version", "billing@4")

    def convert(self, value: Any, param: Parameter, ctx: Context) -> tuple[str, int | None]:
        """The workflow and the version."""
        if isinstance(value, tuple):
            return value
        text = self.text_of(value, param, ctx)
        workflow, at, number = text.rpartition("@")
        if not (at and number.isascii() and number.isdigit() and len(number) <= VERSION_DIGITS_MAX):
            workflow, number = text, ""
        if not workflow.strip() or len(workflow) > 200:
            self.refuse(value, param, ctx)
        return workflow, int(number) if number else None


VERSION_DIGITS_MAX = 19
VERSION = Whole(1, POLICY_VERSION_MAX, 4)
POLICY_NAME = PolicyName()
_PRINTABLE = r"[^\x00-\x1f\x7f\s]"
MONEY, MAGNITUDE = Whole(-MONEY_MINOR_MAX, MONEY_MINOR_MAX, 9900), Whole(0, MONEY_MINOR_MAX, 20_000)
CONTEXT_VERSION = Whole(0, 2**53, 17)
PREFIX = Matching(
    r"[A-Za-z0-9._-]{0,200}", "0 to 200 of the characters that topic names have (A-Z a-z 0-9 . _ -)", "sluicegate."
)
GROUP = Matching(
    rf"{_PRINTABLE}{{1,{GROUP_PREFIX_CHARS_MAX}}}",
    f"the name of a consumer group (1 to {GROUP_PREFIX_CHARS_MAX} characters, no spaces)",
    "sluicegate.gate",
)
COMMAND_ID = Matching(r"c-[0-9a-f]{32}", "a command's id (c- and 32 hex digits)", "c-9f86d081884c7d659a2feaa0c55ad015")
CURRENCY = Matching("[A-Z]{3}", "an ISO 4217 code (three capital letters)", "USD")
HOST = Matching(
    r"[A-Za-z0-9._:-]{1,253}|\[[0-9A-Fa-f:.]+\]", "an address or the name of this machine's host", "127.0.0.1"
)
DIGEST = Matching(
    r"sha256:[0-9a-f]{8,64}", "a digest, or its beginning (sha256: and 8 to 64 hex digits)", "sha256:77ab01cd"
)
