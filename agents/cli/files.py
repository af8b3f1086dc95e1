"""Options and arguments that are files: what cannot be one is refused at once, and nothing is read without a bound."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import click

from agents.cli.values import Context, Parameter, shown
from streams.errors import ConfigurationError

PATH_BYTES_MAX, NAME_BYTES_MAX = 4_095, 255  # of a path and of each name in it, as Linux has them
CHUNK_BYTES = 1 << 20
RECORD_BYTES_MAX = 1_048_576 - 1_024  # of a line: what a broker takes as one record by default, but for its headers


class FilePath(click.Path):
    """A path that can be one; `of` says of what, `example` is one that works."""

    def __init__(self, example: str, file_okay: bool = True) -> None:
        super().__init__(file_okay=file_okay, path_type=Path)
        self.example = example

    def convert(self, value: Any, param: Parameter, ctx: Context) -> Path:
        """The path; that something is there is looked at by who opens it."""
        if (why := _impossible(os.fspath(value))) is not None:
            self.fail(f"{shown(value)} {why}: give a path, such as {self.example}", param, ctx)
        try:
            return Path(os.fsdecode(super().convert(value, param, ctx)))
        except click.BadParameter as error:
            self.fail(f"{error.message.removesuffix('.')}: give a path, such as {self.example}", param, ctx)


class InputFile(click.File):
    """A file that is read, opened; `-` is stdin."""

    def __init__(self, example: str) -> None:
        super().__init__("rb")
        self.example = example

    def convert(self, value: Any, param: Parameter, ctx: Context) -> IO[bytes]:
        """The file, open."""
        if isinstance(value, str | os.PathLike):
            if (why := _impossible(os.fspath(value))) is not None:
                self.fail(f"{shown(value)} {why}: give a file, such as {self.example}", param, ctx)
            if value == "-" and sys.stdin is None:
                self.fail(f"stdin is closed: give a file, such as {self.example}", param, ctx)
            if os.path.isdir(value):
                self.fail(f"{shown(value)} is a folder: give a file, such as {self.example}", param, ctx)
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            self.fail(f"{error.message}: give a file, such as {self.example}", param, ctx)


def _impossible(path: str | bytes) -> str | None:
    """Why no file can have this path."""
    coded = os.fsencode(path)
    if not coded:
        return "is empty"
    if b"\0" in coded:
        return "has a NUL byte in it"
    if len(coded) > PATH_BYTES_MAX or any(len(name) > NAME_BYTES_MAX for name in coded.split(b"/")):
        return f"is too long (a path has at most {PATH_BYTES_MAX} bytes, a name in it {NAME_BYTES_MAX})"
    return None


def file_name(file: IO[bytes]) -> str:
    """What a file is called for people."""
    name = getattr(file, "name", None)
    return name if isinstance(name, str) and name not in ("<stdin>", "-") else "stdin"


def whole(file: IO[bytes], bytes_max: int, what: str) -> bytes:
    """All that is in a file. Raises ConfigurationError for more than `bytes_max`, or where it cannot be read."""
    try:
        text = file.read(bytes_max + 1)
    except OSError as error:
        raise unread(file, error) from error
    if len(text) > bytes_max:
        raise ConfigurationError(f"{file_name(file)} has more than {bytes_max} bytes; {what} has at most so many")
    return text


def unread(file: IO[bytes], error: OSError) -> ConfigurationError:
    """The sentence for a file that cannot be read on."""
    return ConfigurationError(f"{file_name(file)} cannot be read ({error.strerror or error}): give another file")


class Line(NamedTuple):
    """One line without its end. `size_bytes` is more than there are in `text` where it is too long for a record."""

    number: int
    text: bytes
    size_bytes: int


def lines_of(file: IO[bytes], bytes_max: int = RECORD_BYTES_MAX) -> Iterator[Line]:
    """The lines with their numbers from 1. Of one that is too long only the beginning is kept.

    Raises ConfigurationError where the file cannot be read.
    """
    number = 0
    try:
        while first := file.readline(bytes_max + 2):
            number += 1
            passed_bytes = 0
            if not first.endswith(b"\n"):
                passed_bytes = _passed(file)
            text = first.removesuffix(b"\n").removesuffix(b"\r")
            yield Line(number, text[:bytes_max], len(text) + passed_bytes)
    except OSError as error:
        raise unread(file, error) from error


def _passed(file: IO[bytes]) -> int:
    """The bytes up to the end of the line, which are read and let go."""
    count = 0
    while chunk := file.readline(CHUNK_BYTES):
        count += len(chunk.removesuffix(b"\n").removesuffix(b"\r"))
        if chunk.endswith(b"\n"):
            break
    return count
