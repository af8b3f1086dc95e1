"""Ctrl-C and SIGTERM: the first asks for an orderly end, the second for one at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def on_signals(call: Callable[[], None]) -> Iterator[None]:
    """Calls it on the loop at each of the signals, and gives their handlers back in the end.

    A thread that is not the main one cannot listen to signals: whoever has that one stops this one.
    """
    loop = asyncio.get_running_loop()
    before = {}
    for number in SIGNALS:
        former = signal.getsignal(number)
        try:
            loop.add_signal_handler(number, call)
        except NotImplementedError:  # a loop that cannot (Windows); the signal itself can be listened to
            with suppress(ValueError):
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(call))
                before[number] = former
        except (ValueError, RuntimeError):
            continue
        else:
            before[number] = former
    try:
        yield
    finally:
        for number, former in before.items():
            with suppress(NotImplementedError):
                loop.remove_signal_handler(number)
            if former is not None:
                signal.signal(number, former)


class Stop:
    """`asked` is done with the first request; `over` with the second, or when the time for the first is up."""

    def __init__(self, within_s: float) -> None:
        self._within_s = within_s
        self._loop = asyncio.get_running_loop()
        self.asked: asyncio.Future[None] = self._loop.create_future()
        self.over: asyncio.Future[None] = self._loop.create_future()

    def __call__(self) -> None:
        if not self.asked.done():
            self.asked.set_result(None)
            self._loop.call_later(self._within_s, self._end)
        else:
            self._end()

    def _end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)
