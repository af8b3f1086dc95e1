"""What the fuzz of the command line is made of: all commands, values that nobody should give, and a world in which
nothing is reached.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

from agents.cli.main import UNEXPECTED, cli, run
from agents.workflows.billing.__main__ import main as billing
from streams.errors import SluicegateError

LONG = "9" * 5_000
VALUES = [
    *("", " ", "\n", "\t x", "x", "x" * 201, "x" * 1_001, "x" * 100_000, "é" * 1_000, "café", "名前", "\u202eabc"),
    *("\x1b[31m", "\x00", "\udcff", "b\udce9d", "a\nb", "[/]", "[red]", "%s{}", "*", "~", "..", "/", "-", "--", "-x"),
    *("0", "1", "-1", "1.5", "1_0", "²", "٣", "0x10", "1e400", "nan", "inf", "-inf", "1/3", "1e-999999999", LONG),
    *(str(2**31), str(2**53), str(2**53 + 1), str(2**63 - 1), str(2**63), str(2**64), "-" + str(2**63 + 1)),
    *("65536", "99999", "w@²", f"w@{LONG}", "@", "@1", "a@b@2", "euro", "EUR", "c-zz", "gate,all", "gate,gate", ","),
    *("127.0.0.1:99999", "127.0.0.1:0", "127.0.0.1:x", "[::1]:9", "[::g]:9", "h", "a..b:1", "\udcff:9", "ü.example:9"),
    *("1969-12-31T23:59:59Z", "2026-11-23", "2026-11-23Z", "10000-01-01T00:00Z", "0001-01-01T00:00:00+14:00", "now"),
    *("9999-12-31T23:59:59.999Z", "36500d", "9" * 20 + "d", LONG + "s", "1h30m", "0ms", "-5s", "5 m", "30s,1m,x"),
    *("sqlite://", "sqlite:////dev/full", "postgresql://[::1/x", "mysql://u@h/x", "sha256:", "sha256:0123456789"),
    *("file.svg", "missing.yaml", "/dev/null", "/dev/null/x", "/proc/self/mem", "x/" * 3_000, "x" * 300, "."),
]


class Reached(SluicegateError):
    """Raised in the place of starting a process: input got as far as that."""

    exit_code = 3


class Watch:
    """What was tried while it was watched; nothing of it happens."""

    watching = False
    tried: list[str] = []  # noqa: RUF012 - one process, one hook


def _hook(event: str, arguments: Any) -> None:
    if not Watch.watching:
        return
    if event in ("socket.connect", "socket.getaddrinfo"):
        Watch.tried.append(event)
        if len(Watch.tried) > 1:  # it would be tried for some seconds more
            raise Reached("nobody is there")
        raise ConnectionRefusedError(111, "nobody is there")
    if event == "subprocess.Popen":
        Watch.tried.append(event)
        raise Reached("a process would be started")


sys.addaudithook(_hook)


class Call(NamedTuple):
    """What came of one call."""

    code: int
    out: str
    err: str
    tried: list[str]


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> Call:
    """One call of the program, in a world without a broker."""
    Watch.tried, Watch.watching = [], True
    try:
        code = run(arguments)
    finally:
        Watch.watching = False
    out, err = capsys.readouterr()
    return Call(code, out, err, Watch.tried)


def unexpected(call: Call) -> bool:
    """Whether it ended in any other way than it may: a traceback, the last guard, a code without a meaning."""
    told = call.err + call.out
    return (
        call.code not in (0, 1, 2, 3)
        or any(one in told for one in ("Traceback", UNEXPECTED, "the machine refuses"))
        or (call.code != 0 and not call.err.strip())
        or len(call.err) > 6_000
    )


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ALL = dict(commands())


def parameters() -> Iterator[tuple[tuple[str, ...], click.Parameter]]:
    """Every option that takes a value, and every argument."""
    for path, command in ALL.items():
        for one in command.params:
            if not (isinstance(one, click.Option) and one.is_flag):
                yield path, one
    for one in billing.params:
        if not (isinstance(one, click.Option) and one.is_flag):
            yield ("billing",), one


def example_of(one: click.Parameter) -> str:
    """A value that works."""
    return str(one.type.choices[0]) if isinstance(one.type, click.Choice) else str(one.type.example)  # type: ignore[attr-defined]


def given(path: tuple[str, ...], chosen: click.Parameter, value: str) -> list[str]:
    """The arguments of a call in which one parameter has this value and all that is required has its example."""
    words, positional = list(path), list[str]()
    for one in ALL[path].params:
        if one is not chosen and not one.required:
            continue
        text = value if one is chosen else example_of(one)
        if isinstance(one, click.Option):
            words.append(f"{one.opts[0]}={text}" if one.opts[0].startswith("--") else one.opts[0] + text)
        else:
            positional.append(text)
    return [*words, "--", *positional] if positional else words


POLICY = """\
workflow: billing
version: 3
freshness: {budget: 10m}
boundary: {rules: [{name: small, then: autonomous, limits: {value_minor_at_most: 5000, currency: USD}}]}
"""
DECISION = b'{"id":"d-1","workflow":"billing","entity":"a","action":{"type":"t"},"observed_at_ms":1764000700000}\n'


@contextmanager
def desk(folder: Path) -> Iterator[None]:
    """A working folder in which every example of a file is there, and an environment of nobody's."""
    before = Path.cwd()
    os.chdir(folder)
    (folder / "policies").mkdir(exist_ok=True)
    (folder / "policies" / "billing.yaml").write_text(POLICY)
    (folder / "decisions.ndjson").write_bytes(DECISION)
    (folder / "decision.json").write_bytes(DECISION)
    (folder / "action.json").write_text('{"type": "t"}')
    (folder / "verdict-keys.yaml").write_text("keys: {k: {secret: 'sixteen bytes or more', by: {ana: []}}}")
    try:
        yield
    finally:
        os.chdir(before)
