"""Threads for what a user's function does. They are daemons: one that hangs does not hold the process back."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class Threads(Generic[T]):
    """As many threads as there were calls at once. A call raises nothing: whatever it does is in what it returns."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._idle = 0  # only the loop's thread counts
        self._count = 0

    async def run(self, call: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def work() -> None:
            result = call()
            with suppress(RuntimeError):  # the loop is gone: it was given up long ago
                loop.call_soon_threadsafe(_answer, answer, result)

        if self._idle == 0:
            self._count += 1
            threading.Thread(target=self._serve, name=f"{self._name}-{self._count}", daemon=True).start()
        else:
            self._idle -= 1
        self._work.put(work)
        try:
            return await answer
        finally:
            self._idle += 1

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            work()

    def close(self) -> None:
        """Lets idle threads end."""
        for _ in range(self._count):
            self._work.put(None)


def _answer(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)
