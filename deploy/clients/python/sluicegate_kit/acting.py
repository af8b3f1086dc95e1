"""Runs the user's function: clock and halts are looked at last before it starts, and whatever it does is a status.

A function in a thread cannot be killed, and a coroutine may ignore that it is cancelled. So the time limit ends the
waiting, not the function: the caller gives the command up as `unknown`, and its task is done only when it really ended.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sluicegate_kit.errors import Refuse
from sluicegate_kit.records import Command, Status
from sluicegate_kit.threads import Threads

Act = Callable[[Command], Any]
# asked on the thread that will act; a sentence says why it must not
Halted = Callable[[Command], str | None]


@dataclass(frozen=True)
class Ended:
    """How it ended; `started_at_ms` is None where it was not started."""

    status: Status
    detail: str | None
    started_at_ms: int | None = None


@dataclass
class Begun:
    """A call under way. The task ends when the function does, and raises nothing."""

    command: Command
    started_at_ms: int | None = None
    task: asyncio.Task[Ended] = field(init=False)


class Acting:
    """Calls one function, plain or async, for one command at a time per thread."""

    def __init__(self, act: Act, clock: Callable[[], int], margin_ms: int, halted: Halted) -> None:
        self._act, self._clock, self._margin_ms, self._halted = act, clock, margin_ms, halted
        self._threads: Threads[tuple[Ended, Any]] = Threads("sluicegate-act")
        self.is_async = inspect.iscoroutinefunction(act) or inspect.iscoroutinefunction(type(act).__call__)

    def begin(self, command: Command) -> Begun:
        """Starts it, unless its deadline has come or it is halted."""
        begun = Begun(command)
        begun.task = asyncio.create_task(self._begin(begun))
        return begun

    def give_up(self, begun: Begun) -> None:
        """Asks a coroutine to stop; a function in a thread cannot be asked."""
        if self.is_async:
            begun.task.cancel()

    def close(self) -> None:
        """Lets idle threads end."""
        self._threads.close()

    async def _begin(self, begun: Begun) -> Ended:
        if self.is_async:
            ended, waits_for = self._call(begun)
        else:
            ended, waits_for = await self._threads.run(lambda: self._call(begun))
        if waits_for is None:
            return ended
        try:
            return Ended("executed", _text(await waits_for), begun.started_at_ms)
        except BaseException as error:  # one that was cancelled, too: that is how it ended
            return _raised(error, begun.started_at_ms)

    def _call(self, begun: Begun) -> tuple[Ended, Any]:
        """How it ended, and what is still to be awaited, if it is a coroutine."""
        now_ms, command = self._clock(), begun.command
        if now_ms >= command.deadline_ms - self._margin_ms:
            return Ended("expired", f"not started: {now_ms - command.deadline_ms} ms past its deadline"), None
        if (why := self._halted(command)) is not None:
            return Ended("refused", why), None
        begun.started_at_ms = now_ms
        try:
            result = self._act(command)
        except BaseException as error:  # SystemExit in a thread is no reason to stay silent either
            return _raised(error, now_ms), None
        if inspect.isawaitable(result):
            return Ended("executed", None, now_ms), result
        return Ended("executed", _text(result), now_ms), None


def _text(result: object) -> str | None:
    return result if isinstance(result, str) else None


def _raised(error: BaseException, started_at_ms: int | None) -> Ended:
    if isinstance(error, Refuse):
        return Ended("refused", str(error) or "refused by the executor")
    return Ended("failed", f"{type(error).__name__}: {error}" if str(error) else type(error).__name__, started_at_ms)
