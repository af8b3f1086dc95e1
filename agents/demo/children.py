"""The demo's child processes: each in a session of its own, and each ended by its own id, whatever happened.

There a child does not see the terminal's Ctrl-C: the demo ends them in order, users of the broker first.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from streams.errors import SluicegateError

SLUICEGATE = (sys.executable, "-c", "from agents.cli.main import main; main()")
STOP_S = 20  # the worker drains in a bounded time, which is shorter
LOG_LINES = 15  # of a child that failed, shown


@contextmanager
def running(arguments: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`sluicegate ARGUMENTS`, its output in `log`; in the end SIGTERM and, if that is not enough, SIGKILL."""
    with log.open("wb") as output:
        child = subprocess.Popen(
            [*SLUICEGATE, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield child
    finally:
        with deaf_to_signals():
            end(child)


def end(child: subprocess.Popen[bytes]) -> None:
    """Returns when the child is gone, and with it what it started in its session."""
    child.terminate()
    with suppress(subprocess.TimeoutExpired):
        child.wait(STOP_S)
    # whatever is left in its session: nothing, unless it hung or crashed
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


@contextmanager
def deaf_to_signals() -> Iterator[None]:
    """While the demo cleans up, a second Ctrl-C must not leave half of it behind."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM becomes a KeyboardInterrupt, so that it too runs every `finally`; also where SIGINT was ignored."""
    numbers = (signal.SIGINT, signal.SIGTERM)
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
