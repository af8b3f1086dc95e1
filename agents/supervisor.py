"""The supervisor: one child process per role, started again when it dies, a bounded number of times.

A child that refuses its configuration is not started again: it would refuse it again; nor is one that finds no broker
in its first life, since then most likely the address is wrong. The children end with the supervisor, however that ends:
each watches a pipe of which only the supervisor holds the other end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streams.errors import BrokerUnreachable, ConfigurationError, PromiseBroken
from streams.runtime import logs
from streams.runtime.metrics_board import FD_VARIABLE, Board
from streams.runtime.metrics_http import Watched


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a child may fail."""

    restarts_max: int = 10  # within ...
    restarts_window_s: float = 600.0  # ... so long; more of them is no mishap any more
    backoff_s: Sequence[float] = (0.1, 0.5, 1.0, 2.0, 5.0)  # before the 1st, 2nd, ... restart in that time
    stop_s: float = 15.0  # a drain takes at most 10; then SIGKILL, which loses nothing


@dataclass(frozen=True, slots=True)
class Child:
    """How a role's process is started."""

    role: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    command: Sequence[str] = (sys.executable, "-m", "agents.worker")


async def supervise(
    children: Sequence[Child], limits: Limits | None = None, watched: Sequence[Watched] | None = None
) -> int:
    """Runs all children until SIGTERM or SIGINT (0), or until one cannot go on: its exit code.

    `watched`, one for each child, is kept up to date with what becomes of it, for whoever shows that.
    """
    watched = watched or [Watched(child.role, Board.make()) for child in children]
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    pairs = zip(children, watched, strict=True)
    tasks = [asyncio.create_task(_keep(child, seen, stop, limits or Limits())) for child, seen in pairs]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    stop.set()  # one role gave up, or we were told to stop: the others drain
    codes = [await task for task in tasks]
    return next((code for code in codes if code), 0)


async def _keep(child: Child, seen: Watched, stop: asyncio.Event, limits: Limits) -> int:
    restarts: deque[float] = deque()
    now = asyncio.get_running_loop().time
    while True:
        code = await _run(child, seen, stop, limits.stop_s)
        if stop.is_set():
            return 0 if code in (0, -signal.SIGTERM, -signal.SIGINT) else _as_exit_code(code)
        never_worked = code == BrokerUnreachable.exit_code and not restarts
        if code in (0, ConfigurationError.exit_code) or never_worked:
            return code
        while restarts and restarts[0] < now() - limits.restarts_window_s:
            restarts.popleft()
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        seen.state = how
        if len(restarts) >= limits.restarts_max:
            window_s = limits.restarts_window_s
            logs.last_words(f"the {child.role} {how}, after {len(restarts)} restarts in {window_s:.0f} s: giving up")
            return _as_exit_code(code)
        wait_s = limits.backoff_s[min(len(restarts), len(limits.backoff_s) - 1)]
        restarts.append(now())
        logs.last_words(
            f"the {child.role} {how}; starting it again in {wait_s} s ({len(restarts)} of {limits.restarts_max})"
        )
        try:
            await asyncio.wait_for(stop.wait(), wait_s)
        except TimeoutError:
            seen.restarts += 1
            continue
        return 0


async def _run(child: Child, seen: Watched, stop: asyncio.Event, stop_s: float) -> int:
    """One life of the child: its exit code, negative for a signal."""
    seen.board.begin_life()
    process = await asyncio.create_subprocess_exec(
        *child.command,
        child.role,
        *child.arguments,
        stdin=asyncio.subprocess.PIPE,
        env={**os.environ, **child.environment, "SLUICEGATE_SUPERVISED": "1", FD_VARIABLE: str(seen.board.fd)},
        pass_fds=(seen.board.fd,),
        start_new_session=True,  # the terminal's Ctrl-C reaches the supervisor alone, which tells the children
    )
    seen.running = True
    ended = asyncio.create_task(process.wait())
    told = asyncio.create_task(stop.wait())
    await asyncio.wait((ended, told), return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    seen.running, seen.state = False, "is stopping"
    if not ended.done():
        process.terminate()
        try:
            await asyncio.wait_for(asyncio.shield(ended), stop_s)
        except TimeoutError:
            logs.last_words(f"the {child.role} did not end within {stop_s:.0f} s: killed")
            process.kill()
    return await ended


def _as_exit_code(code: int) -> int:
    """Of a child that a signal ended: that of a promise which could not be kept."""
    return code if code >= 0 else PromiseBroken.exit_code
