"""The one way to start, signal and await a process of ours: its status has one owner, and a signal never goes astray.

asyncio's own way has two owners. `terminate` looks first whether the child has ended, and takes its status away from
the one that waits for it, who then reports 255. Here a lock is held while a status is taken and while a signal is
sent, so a signal goes to this child or to nobody: until its status is taken, its number is nobody else's.

A child has a session of its own: a terminal's Ctrl-C does not reach it, we end it in order; and what it has started in
that session ends with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

LOOK_S = 0.02  # between two looks whether a child has ended, where the system cannot tell us (it can on Linux)
DEVNULL, PIPE, STDOUT = subprocess.DEVNULL, subprocess.PIPE, subprocess.STDOUT


class Process:
    """A child that was started here, from its start until its status was taken. May be used from several threads."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.pid = process.pid
        self.stdout = process.stdout
        self._process = process
        self._lock = threading.Lock()
        self._ending: int | None = None  # a descriptor that is readable once it has ended
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):  # an old kernel, or a sandbox that refuses it
                self._ending = os.pidfd_open(self.pid)

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        with self._lock:
            if self._process.returncode is None and self._has_ended():
                self._take()
            return self._process.returncode

    def signal(self, number: int) -> bool:
        """Sends a signal to the process, if it has not ended; returns whether it had not."""
        with self._lock:
            if self._process.returncode is not None or self._has_ended():
                return False
            os.kill(self.pid, number)
            return True

    def kill(self) -> None:
        """Sends SIGKILL to it and to all that it has started in its session."""
        with self._lock:
            if self._process.returncode is None:
                self._signal_session(signal.SIGKILL)

    def wait(self, within_s: float | None = None) -> int | None:
        """Its exit code, when it has ended; None when it has not in that time."""
        until_s = None if within_s is None else time.monotonic() + within_s
        while (code := self.code) is None:
            left_s = None if until_s is None else until_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                return None
            self._sleep(left_s)
        return code

    def end(self, within_s: float) -> int:
        """Tells it to end, kills it when it has not in that time, and returns its exit code."""
        self.signal(signal.SIGTERM)
        if (code := self.wait(within_s)) is None:
            self.kill()
            code = self.wait()
        assert code is not None
        return code

    async def ended(self) -> int:
        """Returns its exit code, when it has ended. May be awaited several times, and cancelled."""
        while (code := self.code) is None:
            if (ending := self._copy()) is None:
                await asyncio.sleep(LOOK_S)
                continue
            try:
                await _readable(ending)
            finally:
                os.close(ending)
        return code

    # with the lock held

    def _has_ended(self) -> bool:
        """Whether it has; its status stays where it is, so its number stays its own."""
        if hasattr(os, "waitid"):
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        return self._process.poll() is not None

    def _take(self) -> None:
        self._signal_session(signal.SIGKILL)  # what it has left behind
        self._process.poll()
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._ending is not None:
            os.close(self._ending)
            self._ending = None

    def _signal_session(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # some systems say so of one that has ended
            os.killpg(self.pid, number)

    # without it

    def _copy(self) -> int | None:
        """A descriptor of the caller's own: whoever takes the status closes ours."""
        with self._lock:
            return None if self._ending is None else os.dup(self._ending)

    def _sleep(self, longest_s: float | None) -> None:
        if (ending := self._copy()) is None:
            time.sleep(LOOK_S if longest_s is None else min(LOOK_S, longest_s))
            return
        try:
            poll = select.poll()
            poll.register(ending, select.POLLIN)
            poll.poll(None if longest_s is None else longest_s * 1000)
        finally:
            os.close(ending)


def start(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: int = DEVNULL,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    pass_fds: Sequence[int] = (),
) -> Process:
    """Starts a command in a session of its own. Raises OSError or ValueError when it cannot be started."""
    more: dict[str, Any] = {"stdin": stdin, "stdout": stdout, "stderr": stderr, "pass_fds": pass_fds}
    return Process(subprocess.Popen(command, env=env, cwd=cwd, start_new_session=True, **more))


async def _readable(descriptor: int) -> None:
    loop, came = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, came.set)
    try:
        await came.wait()
    finally:
        loop.remove_reader(descriptor)
