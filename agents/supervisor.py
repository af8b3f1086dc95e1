"""The supervisor: one child process per role, started again whenever it ends, for ever and ever more slowly.

No role ends another. A role that fails waits longer each time, unready and by name, while the others work; a hand-over
believes nothing but the broker, so starting again never bends a promise, however often. The worker as a whole ends
only where a first start is refused: its configuration would be refused again, and an address at which no broker ever
answered is most likely wrong. A role that has worked before is past that: its topics or policies were taken away, and
whoever brings them back should find it waiting.

A child that is frozen is killed; the patience for that is counted in this process's own ticks, so that a machine that
slept is not blamed on it. The children end with the supervisor, however that ends: each watches a pipe of which only
the supervisor holds the other end.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from streams.errors import BrokerUnreachable, ConfigurationError, PromiseBroken
from streams.runtime import logs
from streams.runtime.children import PIPE, Process, start
from streams.runtime.metrics_board import FD_VARIABLE, Board
from streams.runtime.metrics_http import Watched

REFUSALS = (ConfigurationError.exit_code, BrokerUnreachable.exit_code)
ENDS_OF_A_STOP = (0, -signal.SIGTERM, -signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a child is waited for. All of it is time of this process, counted in ticks."""

    # before the 1st, 2nd, ... try; then the last one, for ever. Half a minute: whoever mended what was wrong sees it
    # come back while he looks, and a start, some seconds of a processor, does not slow the other roles down
    backoff_s: Sequence[float] = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
    jitter: float = 0.2  # of a wait: workers that failed together do not come back together
    well_reports: int = (
        60  # that it is ready, one a second: after twice the longest wait it has failed for the first time
    )
    silent_s: float = 60.0  # it says something every second, and its own watchdog ends it after 30 s
    starting_s: float = 300.0  # before it says something for the first time: imports, topics, policies, evaluators
    stop_s: float = 15.0  # a drain takes at most 10; then SIGKILL, which loses nothing
    killed_s: float = 5.0  # from a SIGKILL to the end; what takes longer hangs in the kernel, and is left there
    tick_s: float = 0.25

    def wait_s(self, failures: int) -> float:
        """Before the child is started again that failed so often in a row."""
        wait_s = self.backoff_s[min(failures, len(self.backoff_s)) - 1]
        return wait_s * random.uniform(1 - self.jitter, 1 + self.jitter)  # noqa: S311  # no secret


@dataclass(frozen=True, slots=True)
class Child:
    """How a role's process is started."""

    role: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    command: Sequence[str] = (sys.executable, "-m", "agents.worker")


async def supervise(
    children: Sequence[Child],
    limits: Limits | None = None,
    watched: Sequence[Watched] | None = None,
    ready: Callable[[], None] = lambda: None,
) -> int:
    """Runs all children until SIGTERM or SIGINT (0), or until one's first start is refused: its exit code.

    `watched`, one for each child, is kept up to date with what becomes of it, for whoever shows that. `ready` is
    called once, when all of them are for the first time.
    """
    limits, watched = limits or Limits(), watched or [Watched(child.role, Board.make()) for child in children]
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    refused: list[int] = []
    roles = [_Role(child, seen, stop, limits, refused) for child, seen in zip(children, watched, strict=True)]
    tasks = [asyncio.create_task(role.run()) for role in roles]
    telling = asyncio.create_task(_tell(roles, ready))
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    telling.cancel()
    stop.set()  # one was refused, or we were told to stop: the others drain
    codes = [await task for task in tasks]
    return next((code for code in (*refused, *codes) if code), 0)


async def _tell(roles: Sequence[_Role], ready: Callable[[], None]) -> None:
    for role in roles:
        await role.worked.wait()
    ready()


@dataclass(slots=True)
class _Role:
    """One role: its lives, one after the other."""

    child: Child
    seen: Watched
    stop: asyncio.Event
    limits: Limits
    refused: list[int]  # the exit codes of first starts that were, in the order in which they ended
    worked: asyncio.Event = field(default_factory=asyncio.Event)  # it was ready once
    _failures: int = 0  # in a row
    # of this life
    _ready_reports: int = 0
    _silent_ticks: int = 0
    _beat: float = 0.0
    _why: str | None = None  # we killed it, or it never began
    _was_told: bool = False  # to end, as all others

    async def run(self) -> int:
        """Lives until it is told to stop, or until its first start is refused; returns an exit code."""
        while not self.stop.is_set():
            code = await self._live()
            if self._was_told:
                return 0 if code in ENDS_OF_A_STOP else _as_exit_code(code)
            if self.stop.is_set():
                return 0  # it ended by itself in the same moment; nobody needs it any more
            if code in REFUSALS and not (self.worked.is_set() or self.seen.restarts):
                self.refused.append(code)
                return code
            if await self._backs_off(code):
                self.seen.restarts += 1
        return 0

    async def _backs_off(self, code: int) -> bool:
        """Waits until it is time for the next life; False when it is told to stop meanwhile."""
        self._failures += 1
        wait_s = self.limits.wait_s(self._failures)
        how = self._why or _how(code)
        often = "" if self._failures == 1 else f" (failure {self._failures} in a row)"
        self.seen.state, self.seen.backing_off = f"{how} and waits to be started again{often}", True
        logs.last_words(f"the {self.child.role} {how}; it is started again in {wait_s:.1f} s{often}")
        try:
            await asyncio.wait_for(self.stop.wait(), wait_s)
        except TimeoutError:
            return True
        return False

    async def _live(self) -> int:
        """One life: its exit code, negative for a signal."""
        self._ready_reports, self._silent_ticks, self._beat, self._why = 0, 0, 0.0, None
        self.seen.board.begin_life()
        try:
            process = self._started()
        except OSError as error:  # no memory, too many processes: the others go on
            self._why = f"could not be started: {error.strerror}"
            return PromiseBroken.exit_code
        self.seen.running = True
        ended = asyncio.create_task(process.ended())
        told = asyncio.create_task(self.stop.wait())
        try:
            while not (ended.done() or told.done()):
                await asyncio.wait((ended, told), timeout=self.limits.tick_s, return_when=asyncio.FIRST_COMPLETED)
                self._look(process)
        finally:
            told.cancel()
        self.seen.running, self.seen.state = False, "is stopping"
        self._was_told = process.signal(signal.SIGTERM)
        return await (self._stopped(process, ended) if self._was_told else ended)

    def _started(self) -> Process:
        fd, child = self.seen.board.fd, self.child
        return start(
            [*child.command, child.role, *child.arguments],
            stdin=PIPE,  # nothing is written to it: its end is ours
            env={**os.environ, **child.environment, "SLUICEGATE_SUPERVISED": "1", FD_VARIABLE: str(fd)},
            pass_fds=(fd,),
        )

    async def _stopped(self, process: Process, ended: asyncio.Task[int]) -> int:
        for patience_s, otherwise in (
            (self.limits.stop_s, f"did not end within {self.limits.stop_s:.0f} s: killed"),
            (self.limits.killed_s, "does not even end when it is killed: it hangs in the kernel, and is left there"),
        ):
            if (await asyncio.wait((ended,), timeout=patience_s))[0]:
                return ended.result()
            logs.last_words(f"the {self.child.role} {otherwise}")
            process.kill()
        ended.cancel()
        return PromiseBroken.exit_code

    def _look(self, process: Process) -> None:
        """Once a tick: is it ready, has it said something?"""
        limits, beat = self.limits, self.seen.board.beat
        self._silent_ticks = self._silent_ticks + 1 if beat == self._beat else 0
        self._beat = beat
        if not self._silent_ticks and self.seen.readiness()["ready"]:
            self._is_ready()
        silent_s, patience_s = self._silent_ticks * limits.tick_s, limits.silent_s if beat else limits.starting_s
        if self._why is None and silent_s >= patience_s:
            self._why = f"was killed because it had said nothing for {silent_s:.0f} s: stopped, or stuck in a call"
            self.seen.state = self._why
            process.kill()

    def _is_ready(self) -> None:
        self._ready_reports += 1
        if self.seen.backing_off and self.worked.is_set():
            logs.say(f"the {self.child.role} is ready again")
        self.seen.backing_off = False
        self.worked.set()
        if self._ready_reports >= self.limits.well_reports:
            self._failures = 0


def _how(code: int) -> str:
    if code < 0:
        names = {number.value: number.name for number in signal.Signals}
        return f"was ended by {names.get(-code, f'signal {-code}')}"
    return f"ended with exit code {code}" if code else "ended, though nobody told it to"


def _as_exit_code(code: int) -> int:
    """Of a child that a signal ended: that of a promise which could not be kept."""
    return code if code >= 0 else PromiseBroken.exit_code
