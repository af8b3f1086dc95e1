"""The demo's child processes: each in a session of its own, and each ended by its own id, whatever happened.

There a child does not see the terminal's Ctrl-C: the demo ends them in order, users of the broker first.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from streams.errors import SluicegateError
from streams.runtime.children import STDOUT, Process, start

SLUICEGATE = (sys.executable, "-c", "from agents.cli.main import main; main()")
STOP_S = 20  # the worker drains in a bounded time, which is shorter
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOG_LINES = 15  # of a child that failed, shown


@contextmanager
def running(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> Iterator[Process]:
    """A command, its output in `log`; in the end SIGTERM and, if that is not enough, SIGKILL."""
    with log.open("wb") as output:
        child = start(command, env=environment, stdout=output, stderr=STDOUT)
    try:
        yield child
    finally:
        with deaf_to_signals():
            end(child)


def end(*children: Process) -> None:
    """Returns when the children are gone, and with each what it started in its session."""
    for child in children:
        child.signal(signal.SIGTERM)
    for child in children:
        child.end(STOP_S)


@contextmanager
def deaf_to_signals() -> Iterator[None]:
    """While the demo cleans up, a second Ctrl-C must not leave half of it behind."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM, and SIGHUP of a closed terminal, become a KeyboardInterrupt, so that they too run every `finally`.

    Also where SIGINT was ignored, as in a shell's background; an ignored SIGHUP (nohup) stays ignored.
    """
    numbers = [number for number in ENDING if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def once(arguments: list[str], timeout_s: float) -> subprocess.CompletedProcess[bytes]:
    """Runs `sluicegate ARGUMENTS` to its end."""
    return subprocess.run(
        [*SLUICEGATE, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout_s,
        check=False,
        start_new_session=True,
    )


class ChildFailed(SluicegateError):
    """Raised when a child of the demo ended before its time; says what it said."""

    def __init__(self, what: str, code: int | None, log: Path) -> None:
        self.exit_code = code if code in (1, 2, 3, 4) else 1
        lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        shown = "\n".join(f"  {line}" for line in lines) or "  (it said nothing)"
        super().__init__(f"{what} ended with code {code}; the last lines it wrote:\n{shown}")
