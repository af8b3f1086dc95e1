"""The one clock of a process.

Who decides by it, a lane, asks `Clock.trouble` first. Heartbeats hold it against the broker's time every few seconds;
records that are read tell how late it is at least.
"""

from __future__ import annotations

import time

from streams.clocks import Clocks, Reading
from streams.runtime.failpoints import shifted_ms


class Clock:
    """This machine's clock, checked."""

    def __init__(self) -> None:
        self._clocks = Clocks()

    def read(self) -> Reading:
        """What it shows, as it is."""
        return Reading(time.time_ns() // 1_000_000 + shifted_ms(), time.monotonic_ns() // 1_000_000)

    def now_ms(self) -> int:
        """Now, in epoch milliseconds."""
        return self._clocks.now_ms(self.read())

    def saw(self, broker_ms: int) -> None:
        """A broker has written something at this time."""
        self._clocks.saw(broker_ms, self.read())

    def compare(self, sent: Reading, broker_ms: int | None) -> None:
        """A record that was sent at that moment is acknowledged, and stands at the broker's time.

        None: the topic keeps its producers' times. Then nothing can be compared, and this clock has to do.
        """
        self._clocks.compare(sent, sent.wall_ms if broker_ms is None else broker_ms, self.read())

    def trouble(self) -> str | None:
        """What is waited for before anything may be decided by it; None: nothing."""
        self.now_ms()
        return self._clocks.trouble

    @property
    def apart(self) -> bool:
        """Whether it and the broker's are known to differ."""
        return self._clocks.apart


CLOCK = Clock()
clock_ms = CLOCK.now_ms
